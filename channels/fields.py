"""Reading what providers send, whatever it turns out to be: no missing key, odd type or hostile value raises.

A provider's documentation says what a field is; what arrives may differ. So a field that is not what it should be reads
as absent, and one odd event never costs the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from webhooks import charsets
from webhooks.errors import Malformed
from webhooks.request import RawRequest

LONGEST_ID = 200
"""Characters of an id that are kept; providers' own are shorter."""

_EARLIEST, _LATEST = 946_684_800, 4_102_444_800  # the years 2000 and 2100


class Fields:
    """A JSON value to be read by paths: `fields.text("message", "from", "id")`."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __contains__(self, name: str) -> bool:
        return isinstance(self.value, dict) and name in self.value

    def at(self, *path: str | int) -> Fields:
        """Return what lies at a path; an empty value where there is nothing."""
        found = self.value
        for step in path:
            if isinstance(step, str) and isinstance(found, dict):
                found = found.get(step)
            elif isinstance(step, int) and isinstance(found, list) and -len(found) <= step < len(found):
                found = found[step]
            else:
                return Fields(None)
        return Fields(found)

    def items(self, *path: str | int) -> Iterator[Fields]:
        """Yield the elements of a list; nothing where there is none."""
        found = self.at(*path).value
        if isinstance(found, list):
            for item in found:
                yield Fields(item)

    def text(self, *path: str | int) -> str:
        """Return a text (a number reads as its digits), without what a database cannot keep; "" where there is none."""
        found = self.at(*path).value
        if isinstance(found, str):
            return charsets.clean(found)
        if isinstance(found, bool) or not isinstance(found, int | float):
            return ""
        return str(found) if abs(found) < 10**30 else ""

    def id(self, *path: str | int) -> str:
        """Return an id: a text on one line, cut to what an id may be."""
        return "".join(self.text(*path).split())[:LONGEST_ID]

    def whole(self, *path: str | int) -> int | None:
        """Return a whole number, also one that is written as text; None where there is none."""
        found = self.at(*path).value
        if isinstance(found, bool):
            return None
        if isinstance(found, int):
            return found
        if isinstance(found, float) and found.is_integer() and abs(found) < 2**53:
            return int(found)
        if isinstance(found, str) and len(found) < 25 and found.strip().lstrip("-").isdecimal():
            return int(found)
        return None

    def flag(self, *path: str | int) -> bool:
        """Return whether it says yes: true, 1, "true", "1" or "yes"."""
        found = self.at(*path).value
        return found is True or found == 1 or (isinstance(found, str) and found.lower() in ("true", "1", "yes"))

    def moment(self, *path: str | int) -> datetime | None:
        """Return a moment given in seconds or milliseconds since 1970 or as RFC 3339 text; None where there is none."""
        number = self.whole(*path)
        if number is not None:
            seconds = number / 1000 if number >= 10**11 else float(number)
            return datetime.fromtimestamp(seconds, UTC) if _EARLIEST <= seconds <= _LATEST else None
        return moment_of(self.text(*path))

    def keys(self) -> list[str]:
        """Return the names of an object, in order."""
        return list(self.value) if isinstance(self.value, dict) else []


def moment_of(written: str) -> datetime | None:
    """Read an RFC 3339 / ISO 8601 moment, UTC where it names no zone; None if it is none."""
    try:
        found = datetime.fromisoformat(written.strip())
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    try:
        return found.astimezone(UTC) if 2000 <= found.year <= 2100 else None
    except OverflowError:
        return None


def json_of(request: RawRequest) -> Fields:
    """Read a request's body as JSON, whatever its content type says.

    Raises:
        Malformed: it is none.
    """
    try:
        return Fields(msgspec.json.decode(request.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is no JSON: {str(error)[:200]}") from error


def object_of(request: RawRequest) -> Fields:
    """Read a request's body as a JSON object.

    Raises:
        Malformed: it is none.
    """
    found = json_of(request)
    if not isinstance(found.value, dict):
        raise Malformed("The body is JSON, but no object")
    return found
