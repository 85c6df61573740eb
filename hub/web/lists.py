"""Lists on pages: filters that live in the address, and pages that go on where the one before ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Select

from core.kernel.errors import Rejected
from hub.api.paging import Listing, Slice
from hub.api.problems import Problem
from hub.web.visits import Visit

PAGE = 50
"""Rows on a page."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter to click on. `count` is how many it would show, None where that is not counted."""

    text: str
    url: str
    active: bool
    count: int | None = None


def chips(visit: Visit, name: str, choices: Sequence[tuple[str, str]], *, standard: str = "") -> list[Chip]:
    """Make one filter's chips: (value, text in the person's language). `standard` is the value that holds without any.

    A chip keeps the other filters; clicking on the one that is on goes back to the standard.
    """
    current = visit.request.query.get(name, standard)
    made = []
    for value, text in choices:
        active = value == current
        made.append(Chip(text, address(visit, {name: standard if active else value}, {name: standard}), active))
    return made


def address(visit: Visit, changes: Mapping[str, str], standards: Mapping[str, str] | None = None) -> str:
    """Return the address of this list with other filters, from its first page on."""
    kept = {name: value for name, value in visit.request.query.items() if name != "cursor"} | dict(changes)
    query = {name: value for name, value in kept.items() if value and value != (standards or {}).get(name, "")}
    return visit.request.path + (f"?{urlencode(query)}" if query else "")


def one_of(visit: Visit, name: str, values: Sequence[str]) -> str:
    """Return a filter of the address if it is one of the values, else the first of them."""
    given = visit.request.query.get(name, "")
    return given if given in values else values[0]


async def page(
    visit: Visit, listing: Listing, statement: Select[*tuple[Any, ...]], *, sort: str, limit: int = PAGE
) -> Slice:
    """Return the page of rows the address asks for, and the cursor of the next.

    Raises:
        Rejected: the cursor is not one of this list.
    """
    query = listing.query(sort=sort, limit=limit)
    if cursor := visit.request.query.get("cursor"):
        query.cursor = cursor
    try:
        return await listing.page(visit.session, statement, query)
    except Problem as refusal:
        raise Rejected("This page of the list is not there any more: begin again from the first") from refusal
