"""Lists: sorted by a column and the id, filtered by field, and walked by cursor (keyset), never by OFFSET.

A cursor says after which row to go on. It holds that row's sort key and id, so a page costs the same wherever it is,
and rows that come or go meanwhile neither repeat nor hide others. Records without a value in the sorted column come
last, in both directions. An index serves a nullable column's descending order only if it says `NULLS LAST` as well.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, get_origin

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import ColumnElement, Select, and_, literal, or_, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from hub.api.problems import FieldError, invalid
from hub.api.wire import Id, Moment

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CHOICES = 100
"""How many values of one filter may be asked for at once."""

Sortable = InstrumentedAttribute[Any] | ColumnElement[Any]


class ListQuery(msgspec.Struct, kw_only=True):
    """What every list may be asked."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="How many items a page holds at most.")] = DEFAULT_LIMIT
    cursor: Annotated[str, Meta(max_length=2000, description="`next` of the page before.")] | UnsetType = UNSET
    sort: str = ""


class Filter(NamedTuple):
    """One filter: the type of its parameter, what it says in SQL, and in words."""

    kind: Any
    condition: Callable[[Any], ColumnElement[bool]]
    description: str


class Slice(NamedTuple):
    """The rows of one page, and the cursor of the next; None at the end."""

    rows: list[Any]
    next: str | None


def ids(column: Sortable) -> Filter:
    """`?owner_id=7&owner_id=8&owner_id=null`: any of these; null is for records that have none."""

    def condition(wanted: list[Id | None]) -> ColumnElement[bool]:
        chosen = column.in_([int(value) for value in wanted if value is not None])
        return or_(chosen, column.is_(None)) if None in wanted else chosen

    return Filter(list[Id | None], condition, "Any of these ids; `null` for records that have none.")


def one_of(column: Sortable, kind: Any = str) -> Filter:
    """`?status=open&status=pending`: any of these. `kind` is str, a Literal or a StrEnum."""
    return Filter(list[kind], lambda wanted: column.in_([str(value) for value in wanted]), "Any of these.")


def since(column: Sortable) -> Filter:
    """`?created_at_from=…`: at that moment or later."""
    return Filter(Moment, lambda moment: column >= moment, "At this moment or later.")


def before(column: Sortable) -> Filter:
    """`?created_at_to=…`: before that moment, so that ranges can be put end to end."""
    return Filter(Moment, lambda moment: column < moment, "Before this moment.")


def flag(condition: Callable[[], ColumnElement[bool]], description: str) -> Filter:
    """`?unread=true`: those for which it holds; false: those for which it does not."""
    return Filter(bool, lambda wanted: condition() if wanted else ~condition(), description)


def matching(kind: Any, condition: Callable[[Any], ColumnElement[bool]], description: str) -> Filter:
    """Filter by anything else, such as a tag or an address; called with what was asked."""
    return Filter(kind, condition, description)


def moments(**columns: Sortable) -> dict[str, Filter]:
    """Make the pair of filters `<name>_from` and `<name>_to` for each column."""
    pairs = {f"{name}_from": since(column) for name, column in columns.items()}
    return pairs | {f"{name}_to": before(column) for name, column in columns.items()}


class Listing:
    """How one kind of record is listed: what it may be sorted and filtered by.

    `unique` is the id that breaks ties. `sorts` are the columns or expressions a caller may sort by; the first one,
    falling, is what they get when they do not ask, unless `default` says otherwise. `filters` are the parameters.
    """

    def __init__(
        self,
        name: str,
        *,
        unique: Sortable,
        sorts: Mapping[str, Sortable],
        filters: Mapping[str, Filter] | None = None,
        default: str | None = None,
    ) -> None:
        self.name = name
        self.unique = unique
        self.sorts = dict(sorts)
        self.filters = dict(filters or {})
        self.default = default or "-" + next(iter(self.sorts))
        self.query = self._make_query()

    def _make_query(self) -> type[ListQuery]:
        choices = tuple(f"{sign}{key}" for key in self.sorts for sign in ("", "-"))
        either: Any = Literal.__getitem__(choices)
        order = Annotated[either, Meta(description="By what; with `-` from the last to the first.")]
        members: list[Any] = [("sort", order, self.default)]
        for key, each in self.filters.items():
            most = MAX_CHOICES if get_origin(each.kind) is list else None
            kind: Any = Annotated[each.kind, Meta(description=each.description, max_length=most)]
            members.append((key, kind | UnsetType, UNSET))
        query: Any = msgspec.defstruct(f"{self.name.title()}Query", members, bases=(ListQuery,), kw_only=True)
        return query  # type: ignore[no-any-return]  # defstruct promises no more than a Struct

    async def page(self, session: AsyncSession, statement: Select[Any], query: ListQuery) -> Slice:
        """Return the page of the statement's rows that was asked for.

        The statement brings what its rows are and whose they may be seen; filters, order and limit are added here. Rows
        of a statement that selects one thing are that thing, else they are tuples.

        Raises:
            Problem: 422, the cursor is not one of this list in this order.
        """
        descending = query.sort.startswith("-")
        key = self.sorts[query.sort.removeprefix("-")]
        width = len(statement.column_descriptions)
        for name, each in self.filters.items():
            if (wanted := getattr(query, name)) is not UNSET:
                statement = statement.where(each.condition(wanted))
        if query.cursor is not UNSET:
            value, last_id = _read_cursor(query.cursor, self.name, query.sort, key)
            statement = statement.where(self._after(key, value, last_id, descending=descending))
        order = [key.desc() if descending else key.asc(), self.unique.desc() if descending else self.unique.asc()]
        if _is_nullable(key):
            order[0] = order[0].nulls_last()
        rows = list(
            await session.execute(
                statement.add_columns(key.label("_key"), self.unique.label("_id"))
                .order_by(None)
                .order_by(*order)
                .limit(query.limit + 1)
            )
        )
        shown = rows[: query.limit]
        following = None
        if len(rows) > query.limit:
            following = _write_cursor(self.name, query.sort, shown[-1][-2], shown[-1][-1])
        return Slice([row[0] if width == 1 else tuple(row[:width]) for row in shown], following)

    def _after(self, key: Sortable, value: Any, last_id: int, *, descending: bool) -> ColumnElement[bool]:
        further_id = self.unique < last_id if descending else self.unique > last_id
        if value is None:
            return and_(key.is_(None), further_id)
        place = tuple_(key, self.unique)
        last = tuple_(literal(value, key.type), literal(last_id, self.unique.type))
        further = place < last if descending else place > last
        return or_(further, key.is_(None)) if _is_nullable(key) else further


def _is_nullable(key: Sortable) -> bool:
    return bool(getattr(key, "nullable", getattr(getattr(key, "expression", None), "nullable", True)))


def _write_cursor(name: str, sort: str, value: Any, last_id: int) -> str:
    payload = msgspec.msgpack.encode([value, last_id])
    return base64.urlsafe_b64encode(_checksum(name, sort, payload) + payload).rstrip(b"=").decode()


def _read_cursor(cursor: str, name: str, sort: str, key: Sortable) -> tuple[Any, int]:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if raw[:6] != _checksum(name, sort, raw[6:]):
            raise ValueError(cursor)
        value, last_id = msgspec.msgpack.decode(raw[6:], type=tuple[Any, int])
        return value if value is None else msgspec.convert(value, _python_type(key)), last_id
    except (ValueError, binascii.Error):  # msgspec's errors are ValueErrors
        message = "Is not a cursor of this list in this order; begin again without one"
        raise invalid([FieldError("cursor", message)]) from None


def _python_type(key: Sortable) -> type:
    kind: type = key.type.python_type
    return datetime if issubclass(kind, datetime) else kind


def _checksum(name: str, sort: str, payload: bytes) -> bytes:
    """Bind a cursor to its list and order. No secret: a forged cursor only begins the caller's own list elsewhere."""
    return hashlib.blake2b(f"{name} {sort} ".encode() + payload, digest_size=6).digest()
