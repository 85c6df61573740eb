"""The values of the REST API as they travel: ids, money, times, pages, and the bases of bodies and views."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar, overload

import msgspec
from msgspec import Meta

ID_PATTERN = "^[1-9][0-9]{0,17}$"
"""At most 18 digits, so that every id that passes fits PostgreSQL's bigint."""

_is_id = re.compile(ID_PATTERN, re.ASCII).fullmatch


class Id(int):
    """A record's id: an integer to us, a string of digits on the wire, as JavaScript rounds large numbers."""

    __slots__ = ()


@overload
def as_id(value: int) -> Id: ...
@overload
def as_id(value: None) -> None: ...
def as_id(value: int | None) -> Id | None:
    """Make a column's value an id for a view; None stays None."""
    return None if value is None else Id(value)


Moment = Annotated[datetime, Meta(tz=True)]
"""A point in time. Any offset is accepted and made UTC; answers are always UTC, written with Z (RFC 3339)."""

MinorUnits = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
"""Cents, kopecks, …; kept within what JavaScript can count exactly."""

Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", examples=["EUR"])]
"""An ISO 4217 code."""


Custom = Annotated[dict[str, Any], Meta(max_length=200, description="Fields of the company's own, by name.")]

Language = Annotated[str, Meta(pattern="^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35, examples=["en"])]
"""A BCP 47 tag."""

Tags = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=60)], ...], Meta(max_length=100)]


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The base of request bodies. A member we do not know is refused: a misspelt one must not be dropped silently."""


class View(msgspec.Struct, kw_only=True):
    """The base of answers. A view with an integer `version` is given an ETag by the dispatcher."""


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An amount in minor units (cents) with its currency."""

    amount: MinorUnits
    currency: Currency


T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], kw_only=True):
    """A part of a list; `next` is the cursor of the part that follows, null at the end."""

    items: list[T]
    next: str | None


def parse_id(text: str) -> Id | None:
    """Read an id as it stands in a path; None if this cannot be one."""
    return Id(text) if _is_id(text) else None


def decode_hook(kind: type, value: Any) -> Any:
    """Read what msgspec has no own notion of."""
    if kind is Id:
        if isinstance(value, str) and _is_id(value):
            return Id(value)
        raise ValueError("Expected an id: a string of digits")
    raise TypeError(f"{kind} does not travel")


def encode_hook(value: Any) -> Any:
    """Write what msgspec has no own notion of."""
    if isinstance(value, Id):
        return int.__repr__(value)
    raise TypeError(f"{type(value)} does not travel")


def schema_hook(kind: type) -> dict[str, Any]:
    """Describe what msgspec has no own notion of, for OpenAPI."""
    if kind is Id:
        return {"type": "string", "pattern": ID_PATTERN, "examples": ["1042"]}
    raise TypeError(f"{kind} does not travel")


encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=encode_hook).encode
"""Write an answer as JSON."""
