"""Asking a running hub, and other servers, whether they are there."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

_PATIENCE = 5.0
"""Seconds to wait for an answer."""


class Answer(NamedTuple):
    """What a server said; `status` is None if nobody answered, and `text` then says why.

    `date` is the server's clock as it put it in the answer, None where it did not.
    """

    status: int | None
    text: str
    date: datetime | None = None

    def json(self) -> dict[str, Any]:
        """Return the answer's JSON object; {} where it is none."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


async def asked(url: str) -> Answer:
    """GET a URL and return what came back, whatever it was."""
    return await asyncio.to_thread(_ask, url)


def _ask(url: str) -> Answer:
    # Proxies of the environment are for the world outside; the hub is ours.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_PATIENCE) as answer:
            return Answer(answer.status, answer.read(100_000).decode(errors="replace"), _date(answer.headers["Date"]))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(100_000).decode(errors="replace"), _date(error.headers["Date"]))
    except (OSError, ValueError) as error:
        return Answer(None, str(getattr(error, "reason", error)))


def _date(header: str | None) -> datetime | None:
    try:
        return None if header is None else parsedate_to_datetime(header)
    except ValueError:
        return None
