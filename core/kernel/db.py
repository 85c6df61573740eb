"""Tables in general: the declarative base, the shared record sequence, and multi-row writes for the hot path.

The ORM serves pages and the API. Where thousands of rows a second pass (ingress, intake, the queue) rows are plain
dicts and are written with `insert_rows`: one statement per table and batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar

import msgspec
from sqlalchemy import BigInteger, Date, DateTime, Integer, MetaData, SmallInteger, String, Table, Text
from sqlalchemy import Sequence as DatabaseSequence
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

record_ids = DatabaseSequence("record_ids", metadata=(metadata := MetaData(naming_convention=NAMING)))
"""One sequence numbers every record, so that an id names one thing in logs and a batch needs one round trip for all."""


class Base(DeclarativeBase):
    """The base of every table."""

    metadata = metadata
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        datetime: DateTime(timezone=True),
        date: Date,
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(Text),
        list[int]: ARRAY(BigInteger),
    }


class Record:
    """What every record that people name has: an id of its own and the moment it was made (UTC)."""

    id: Mapped[int] = mapped_column(BigInteger, record_ids, server_default=record_ids.next_value(), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Edited:
    """A record that people edit: `version` grows with every change, so that a stale edit is noticed."""

    version: Mapped[int] = mapped_column(Integer, default=1, server_default="1")


async def reserve_ids(session: AsyncSession, count: int) -> list[int]:
    """Take `count` fresh record ids, in growing order."""
    connection = await session.connection()
    rows = await connection.exec_driver_sql("SELECT nextval('record_ids') FROM generate_series(1, $1::int)", (count,))
    return [row[0] for row in rows]


_DIALECT: Any = postgresql.dialect()  # type: ignore[no-untyped-call]


@lru_cache(maxsize=256)
def _insert_statement(table: Table, columns: tuple[str, ...], suffix: str) -> str:
    arrays, picks = [], []
    for number, name in enumerate(columns, 1):
        kind = table.c[name].type
        sql = _array_element(kind)
        arrays.append(f"${number}::{sql}[]")
        if isinstance(kind, JSONB):
            picks.append(f"r.{name}::jsonb")
        elif isinstance(kind, ARRAY):
            # unnest flattens arrays of arrays, so an array column travels as its text form
            picks.append(f"r.{name}::{kind.compile(dialect=_DIALECT)}")
        else:
            picks.append(f"r.{name}")
    names = ", ".join(columns)
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {', '.join(picks)} "  # noqa: S608 - names are our own columns
        f"FROM unnest({', '.join(arrays)}) AS r({names}) {suffix}"
    )


def _array_element(kind: Any) -> str:
    if isinstance(kind, JSONB | ARRAY | String):
        return "text"
    if isinstance(kind, BigInteger):
        return "bigint"
    if isinstance(kind, SmallInteger):
        return "smallint"
    return str(kind.compile(dialect=_DIALECT))


_encode_json = msgspec.json.Encoder(enc_hook=str).encode


def json_text(value: Any) -> str | None:
    """Write a value as JSON text for a jsonb column; None stays NULL."""
    return None if value is None else _encode_json(value).decode()


def _array_text(values: Sequence[Any] | None) -> str | None:
    if values is None:
        return None
    quoted = ('"' + str(v).replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values)
    return "{" + ",".join(quoted) + "}"


async def insert_rows(
    session: AsyncSession,
    model: type[Base],
    rows: Sequence[Mapping[str, Any]],
    *,
    suffix: str = "",
) -> list[Any]:
    """Insert many rows at once, whatever their number, in the session's transaction.

    All rows must have the same keys. jsonb columns take any JSON-able value. Without a `suffix` the rows travel as a
    binary COPY, which costs a third of an INSERT on both sides; with one (ON CONFLICT, RETURNING) they are one INSERT,
    and what it returns comes back as rows.
    """
    if not rows:
        return []
    table = model.__table__
    assert isinstance(table, Table)
    columns = tuple(rows[0])
    connection = await session.connection()
    if not suffix:
        await _copy(connection, table, columns, rows)
        return []
    arrays: list[list[Any]] = []
    for name in columns:
        kind = table.c[name].type
        values = [row[name] for row in rows]
        if isinstance(kind, JSONB):
            values = [json_text(value) for value in values]
        elif isinstance(kind, ARRAY):
            values = [_array_text(value) for value in values]
        arrays.append(values)
    result = await connection.exec_driver_sql(_insert_statement(table, columns, suffix), tuple(arrays))
    return list(result) if result.returns_rows else []


async def _copy(
    connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: Sequence[Mapping[str, Any]]
) -> None:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():
        # SQLAlchemy begins with its first statement; what goes past it before that would be committed by itself.
        await connection.exec_driver_sql("SELECT 1")
    json_columns = _json_columns(table, columns)
    # By name, since the order of keys is whoever made the row's.
    records = (
        [tuple(json_text(row[name]) if name in json_columns else row[name] for name in columns) for row in rows]
        if json_columns or len(columns) == 1
        else list(map(itemgetter(*columns), rows))
    )
    await driver.copy_records_to_table(table.name, records=records, columns=columns)


@lru_cache(maxsize=256)
def _json_columns(table: Table, columns: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name in columns if isinstance(table.c[name].type, JSONB))
