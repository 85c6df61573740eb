"""The diary: what happened, written by the transaction in which it happened. There is no other bus.

The timeline, notifications, live pages, automation, outbound webhooks and reports all read it. A reader keeps a cursor
(transaction id, event id) and is shown only transactions that every older one has finished before, so that two
overlapping transactions can never make it miss a row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, DateTime, FetchedValue, Index, SmallInteger, Text, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from core.kernel.db import Base, insert_rows, record_ids

CHANNEL = "switchyard_diary"
"""The NOTIFY channel on which a node hears that the diary has grown."""


class TransactionId(UserDefinedType[int]):
    """PostgreSQL's xid8."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the SQL type."""
        return "xid8"


class TimelineEvent(Base):
    """One line of the diary.

    The ids say whose timelines it appears on; none of them is a foreign key, since the diary outlives what it tells of.
    `details` holds what a reader needs without asking again. `caused_by` and `depth` let rules stop a loop.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_transaction", "transaction", "id"),
        Index("ix_events_contact", "contact_id", "id", postgresql_where=text("contact_id IS NOT NULL")),
        Index("ix_events_deal", "deal_id", "id", postgresql_where=text("deal_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, record_ids, server_default=record_ids.next_value(), primary_key=True)
    transaction: Mapped[int] = mapped_column(
        TransactionId(), server_default=text("pg_current_xact_id()"), server_onupdate=FetchedValue()
    )
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    kind: Mapped[str] = mapped_column(Text)
    contact_id: Mapped[int | None]
    deal_id: Mapped[int | None]
    lead_id: Mapped[int | None]
    task_id: Mapped[int | None]
    conversation_id: Mapped[int | None]
    message_id: Mapped[int | None]
    actor_id: Mapped[int | None]
    """The user who did it; None for the hub itself and for customers."""
    user_id: Mapped[int | None]
    """The user it concerns most: the new owner, the assignee, the one who was told."""
    details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    caused_by: Mapped[int | None]
    depth: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")


class Cursor(Base):
    """How far a lasting reader of the diary has come."""

    __tablename__ = "cursors"

    reader: Mapped[str] = mapped_column(Text, primary_key=True)
    transaction: Mapped[int] = mapped_column(TransactionId(), server_default=text("'0'::xid8"))
    event_id: Mapped[int] = mapped_column(BigInteger, server_default="0")


_SUBJECTS = (
    "contact_id",
    "deal_id",
    "lead_id",
    "task_id",
    "conversation_id",
    "message_id",
    "actor_id",
    "user_id",
    "caused_by",
)


def line(
    kind: str, at: datetime, *, details: Mapping[str, Any] | None = None, **subjects: int | None
) -> dict[str, Any]:
    """Make a row for `write`: what happened, when, and to what (contact_id=…, deal_id=…, user_id=…)."""
    row: dict[str, Any] = {"at": at, "kind": kind, "details": details or {}}
    for name in _SUBJECTS:
        row[name] = subjects.get(name)
    return row


async def write(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add lines to the diary and, once the transaction commits, wake its readers."""
    if not rows:
        return
    await insert_rows(session, TimelineEvent, rows)
    connection = await session.connection()
    await connection.exec_driver_sql(f"SELECT pg_notify('{CHANNEL}', '')")


async def record(
    session: AsyncSession, kind: str, at: datetime, *, details: Mapping[str, Any] | None = None, **subjects: int | None
) -> None:
    """Write one line. See `line`."""
    await write(session, [line(kind, at, details=details, **subjects)])


class Position(NamedTuple):
    """A place in the diary."""

    transaction: int
    event_id: int


async def end(session: AsyncSession) -> Position:
    """Return the place after everything that is certain now; a live reader starts here."""
    boundary = await session.scalar(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))
    return Position(int(boundary or 0), 0)


_READ = text(
    """
    SELECT id, transaction::text::bigint AS transaction, at, kind, contact_id, deal_id, lead_id, task_id,
           conversation_id, message_id, actor_id, user_id, details, caused_by, depth
    FROM events
    WHERE (transaction, id) > (CAST(CAST(:transaction AS text) AS xid8), :event_id)
      AND transaction < CAST(CAST(:boundary AS text) AS xid8)
      AND (CAST(:kinds AS text[]) IS NULL OR kind = ANY(CAST(:kinds AS text[])))
    ORDER BY transaction, id LIMIT :limit
    """
)


async def read_after(
    session: AsyncSession, position: Position, *, kinds: Collection[str] | None = None, limit: int = 500
) -> tuple[list[Any], Position]:
    """Return the lines after a place and the place to read on from.

    They come in an order in which none can appear later before one already read. With `kinds` only those are returned;
    the place moves past the others all the same.
    """
    boundary = await end(session)
    found = list(
        await session.execute(
            _READ,
            {
                "transaction": str(position.transaction),
                "event_id": position.event_id,
                "boundary": str(boundary.transaction),
                "kinds": None if kinds is None else list(kinds),
                "limit": limit,
            },
        )
    )
    if len(found) == limit:
        return found, Position(found[-1].transaction, found[-1].id)
    return found, max(boundary, position)


async def is_behind(session: AsyncSession, reader: str) -> bool:
    """Say whether committed lines wait for an older transaction to end before `take` can show them to this reader."""
    statement = text(
        "SELECT EXISTS (SELECT FROM events WHERE transaction >= pg_snapshot_xmin(pg_current_snapshot()) "
        "AND (transaction, id) > (SELECT transaction, event_id FROM cursors WHERE reader = :reader))"
    )
    return bool(await session.scalar(statement, {"reader": reader}))


async def take(
    session: AsyncSession, reader: str, *, kinds: Collection[str] | None = None, limit: int = 500
) -> tuple[list[Any], bool]:
    """Return the next lines for a lasting reader and move its cursor, in the caller's transaction.

    The second value says whether more may be waiting. The cursor is locked until the caller commits, so of several
    nodes one reads at a time; the others get an empty list.
    """
    held = await _hold(session, reader)
    if held is None and await session.scalar(select(Cursor.reader).where(Cursor.reader == reader)) is None:
        # Only then: on a row that another node has in hand, even ON CONFLICT DO NOTHING waits until that commits.
        await session.execute(
            text("INSERT INTO cursors (reader) VALUES (:reader) ON CONFLICT DO NOTHING"), {"reader": reader}
        )
        held = await _hold(session, reader)
    if held is None:
        return [], False
    rows, position = await read_after(session, held, kinds=kinds, limit=limit)
    if position != held:
        await session.execute(
            text(
                "UPDATE cursors SET transaction = CAST(CAST(:transaction AS text) AS xid8), event_id = :event_id "
                "WHERE reader = :reader"
            ),
            {"transaction": str(position.transaction), "event_id": position.event_id, "reader": reader},
        )
    return rows, len(rows) == limit


async def _hold(session: AsyncSession, reader: str) -> Position | None:
    statement = (
        select(literal_column("transaction::text::bigint", BigInteger), Cursor.event_id)
        .select_from(Cursor)
        .where(Cursor.reader == reader)
        .with_for_update(skip_locked=True)
    )
    row = (await session.execute(statement)).first()
    return None if row is None else Position(row[0], row[1])
