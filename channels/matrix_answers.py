"""What a Matrix homeserver's answers mean.

From the Matrix specification, Client-Server API, "Standard error response" and "Common error codes".
"""

from __future__ import annotations

import re

import msgspec

from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Undeliverable,
)
from channels.fields import Fields
from channels.http import Answer

_CODE = re.compile(r"[A-Z][A-Z0-9_.]{1,80}")
_TOKEN = frozenset({"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_UNAUTHORIZED"})
_ADMINISTRATOR = frozenset({"M_RESOURCE_LIMIT_EXCEEDED", "M_CONSENT_NOT_GIVEN", "M_EXCLUSIVE", "M_UNRECOGNIZED"})
_GONE = frozenset({"M_NOT_FOUND", "M_USER_DEACTIVATED", "M_GUEST_ACCESS_FORBIDDEN"})
# M_FORBIDDEN means all sorts of things; only the words tell them apart, and every homeserver has its own.
_OUTSIDE = re.compile(r"not (?:in|joined|invited|a member)|not been invited|no membership|banned|left the room", re.I)


def read(answer: Answer) -> Fields:
    """Return what the homeserver answered.

    Raises:
        ChannelError: it refused; its words are not repeated, only its code.
    """
    if answer.is_fine:
        return Fields(answer.object())
    found = said(answer)
    code = found.id("errcode")
    raise _failure(code if _CODE.fullmatch(code) else "", found, answer)


def said(answer: Answer) -> Fields:
    """Return what an answer says, whatever its status; nothing where that cannot be read."""
    try:
        return Fields(msgspec.json.decode(answer.body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Fields(None)


def _failure(code: str, found: Fields, answer: Answer) -> ChannelError:
    if answer.status == 429 or code == "M_LIMIT_EXCEEDED":
        told = found.whole("retry_after_ms")
        wait = answer.retry_after if answer.retry_after is not None or told is None else max(0, told) / 1000
        return Throttled("The homeserver says we write too fast", wait, code=code or "429")
    if code in _TOKEN or answer.status == 401:
        return Unauthorised(
            "The homeserver does not know our token. Add the registration to it, and restart it", code=code or "401"
        )
    if answer.status >= 500:
        return Temporary(f"The homeserver is in trouble: it answered {answer.status}", answer.retry_after, code=code)
    if code in _ADMINISTRATOR:
        return Misconfigured(f"The homeserver does not let us do this ({code}). Ask whoever runs it", code=code)
    if code == "M_FORBIDDEN" and _OUTSIDE.search(found.text("error")):
        return RecipientGone("We are not in this room any more, so nobody there can be written to", code=code)
    if code in _GONE:
        return RecipientGone(f"The homeserver knows no such room or person: {code}", code=code)
    if not code and answer.status in (403, 404, 405):
        return Misconfigured(
            f"There seems to be no Matrix homeserver at this address: it answered {answer.status}",
            code=str(answer.status),
        )
    return Undeliverable(f"The homeserver refused it: {code or answer.status}", code=code or str(answer.status))
