"""Urlencoded fields (application/x-www-form-urlencoded of the WHATWG URL standard), read within limits."""

from __future__ import annotations

from urllib.parse import parse_qsl

from webhooks.errors import Malformed

MOST_FIELDS = 500
_MOST_ESCAPES = 100_000
"""Reading a million of them takes a second, in which nothing else happens."""


def pairs(
    written: str, *, most: int = MOST_FIELDS, encoding: str = "utf-8", errors: str = "replace"
) -> list[tuple[str, str]]:
    """Return names and values in order, empty ones included.

    Raises:
        Malformed: there are too many of them, or too many escaped characters.
    """
    if written.count("%") > _MOST_ESCAPES:
        raise Malformed(f"The request's fields have too many escaped characters: {_MOST_ESCAPES} are taken")
    try:
        return parse_qsl(written, keep_blank_values=True, max_num_fields=most, encoding=encoding, errors=errors)
    except ValueError as error:
        raise Malformed(f"The request has too many fields: {most} are taken") from error
