"""What a call was given: by query, form, JSON or multipart, all the same: https://core.telegram.org/bots/api#making-requests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from aiohttp import web

from tests.peers.botapi.errors import Refused, bad


def address(url: str) -> SplitResult | None:
    """Return the parts of a web address; None if it is none."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_one else None


@dataclass
class Upload:
    """A file that came in a call."""

    name: str
    content_type: str
    content: bytes


@dataclass
class Arguments:
    """The arguments of one call. A number may come as text, an object as JSON text; both are read alike."""

    values: dict[str, Any] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) not in (None, "") or name in self.uploads

    def text(self, name: str, default: str = "") -> str:
        """Return a text as it was given."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if isinstance(value, str) else json.dumps(value)

    def whole(self, name: str, default: int = 0) -> int:
        """Return a whole number.

        Raises:
            Refused: it is none. Telegram takes it for 0; a mistake is easier to find like this.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return default
        try:
            if isinstance(value, bool | float | dict | list):
                raise ValueError
            return int(value)
        except ValueError:
            raise bad(f'parameter "{name}" must be an Integer') from None

    def flag(self, name: str, default: bool = False) -> bool:
        """Return yes or no: `true`, `yes` and `1` are yes."""
        if name not in self:
            return default
        return self.text(name).strip().lower() in ("true", "yes", "1")

    def decimal(self, name: str) -> float:
        """Return a number.

        Raises:
            Refused: it is none.
        """
        try:
            return float(self.text(name))
        except ValueError:
            raise bad(f'parameter "{name}" must be a Float') from None

    def object(self, name: str) -> Any:
        """Return what was given as JSON; None if nothing was.

        Raises:
            Refused: it is no JSON.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise bad(f"can't parse {name.replace('_', ' ')} JSON object") from None

    def wholes(self, name: str) -> list[int]:
        """Return a list of 1 to 100 whole numbers.

        Raises:
            Refused: it is none.
        """
        given = self.object(name)
        if not isinstance(given, list) or not given or not all(type(one) is int for one in given):
            raise bad("message identifiers are not specified")
        if len(given) > 100:
            raise bad("too many message identifiers specified")
        return given

    def shown(self) -> dict[str, Any]:
        """Return the arguments for whoever looks: JSON read, files by name and size."""
        found: dict[str, Any] = {}
        for name, value in self.values.items():
            found[name] = value
            if isinstance(value, str) and value[:1] in ("{", "["):
                try:
                    found[name] = json.loads(value)
                except (ValueError, RecursionError):
                    found[name] = value
        for name, upload in self.uploads.items():
            found[name] = {"file_name": upload.name, "mime_type": upload.content_type, "file_size": len(upload.content)}
        return found


async def read(request: web.Request) -> Arguments:
    """Read a request.

    Raises:
        Refused: it is larger than the 50 MB a bot may send, or no JSON where JSON was announced.
    """
    found = Arguments(dict(request.query))
    try:
        if request.content_type == "application/json":
            body = await request.read()
            given = json.loads(body) if body.strip() else {}
            if not isinstance(given, dict):
                raise ValueError
            found.values.update(given)
        elif request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
            for name, value in (await request.post()).items():
                if isinstance(value, web.FileField):
                    content = value.file.read()
                    value.file.close()
                    found.uploads[name] = Upload(value.filename, value.content_type, content)
                else:
                    found.values[name] = value.decode() if isinstance(value, bytes | bytearray) else value
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, "Request Entity Too Large") from None
    except (ValueError, RecursionError):
        raise bad("can't parse JSON object" if "json" in request.content_type else "can't parse the request") from None
    return found
