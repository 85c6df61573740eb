"""Connections: the configured uses of a channel kind. In the workspace a connection is called a channel."""

from __future__ import annotations

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Text, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Edited, Record
from core.kernel.errors import NotFound, Rejected

CHANGED = "switchyard_connections"
"""The NOTIFY channel on which every node hears that it must read the connections again."""


class Health(StrEnum):
    """How a connection is doing."""

    ACTIVE = "active"
    DEGRADED = "degraded"
    REAUTHORISE = "reauthorise"
    PAUSED = "paused"


class Connection(Base, Record, Edited):
    """One configured use of a channel kind.

    `settings` are the kind's own, without its secrets; those are in `sealed`, encrypted, and never leave the process.
    `key` is the unguessable part of the hook URL; `slug` the readable part of a hosted form's.
    """

    __tablename__ = "connections"
    __table_args__ = (
        Index("uq_connections_key", "key", unique=True),
        Index("uq_connections_slug", "slug", unique=True),
    )

    kind: Mapped[str]
    title: Mapped[str]
    key: Mapped[str]
    slug: Mapped[str | None]
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    sealed: Mapped[bytes | None]
    default_country: Mapped[str | None]
    time_zone: Mapped[str | None]
    pipeline_id: Mapped[int | None] = mapped_column(ForeignKey("pipelines.id", ondelete="SET NULL"))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    make_lead: Mapped[bool] = mapped_column(Boolean, default=True, server_default=text("true"))
    make_deal: Mapped[bool] = mapped_column(Boolean, default=True, server_default=text("true"))
    reply_through: Mapped[int | None] = mapped_column(ForeignKey("connections.id", ondelete="SET NULL"))
    rate_per_minute: Mapped[int] = mapped_column(default=0, server_default="0")
    """Requests a minute it takes before answering 429; 0: any number."""
    health: Mapped[str] = mapped_column(Text, default=Health.ACTIVE, server_default="active")
    paused_because: Mapped[str | None]
    trouble: Mapped[str | None]
    """What is wrong and what to do, while it is degraded or wants to be authorised again."""
    account: Mapped[str | None]
    """What the provider calls our account, in words: `@our_bot`, `+372 5555 1234`."""
    cursor: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """Where its listener has come to."""
    last_received_at: Mapped[datetime | None]
    last_sent_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]


async def add(
    session: AsyncSession,
    *,
    kind: str,
    title: str,
    at: datetime,
    settings: dict[str, Any] | None = None,
    sealed: bytes | None = None,
    actor_id: int | None = None,
    **common: Any,
) -> Connection:
    """Add a connection with a fresh key. The kind's settings have been checked by the channel before.

    Raises:
        Rejected: the title is empty.
    """
    if not title.strip():
        raise Rejected("A title is needed", field="title")
    connection = Connection(
        kind=kind,
        title=title.strip(),
        key=secrets.token_urlsafe(18),
        slug=secrets.token_hex(5),
        settings=settings or {},
        sealed=sealed,
        created_at=at,
        **common,
    )
    session.add(connection)
    await session.flush()
    await announce(session)
    await events.record(
        session, "connection.added", at, actor_id=actor_id, details={"connection_id": connection.id, "kind": kind}
    )
    return connection


async def announce(session: AsyncSession) -> None:
    """Tell every node, once this transaction commits, to read the connections again."""
    await session.execute(text(f"SELECT pg_notify('{CHANGED}', '')"))


async def get(session: AsyncSession, connection_id: int) -> Connection:
    """Return a connection.

    Raises:
        NotFound: there is no such connection.
    """
    connection = await session.get(Connection, connection_id)
    if connection is None:
        raise NotFound("connection", connection_id)
    return connection


async def pause(session: AsyncSession, connection: Connection, because: str) -> None:
    """Stop taking and sending anything until somebody resumes it."""
    connection.paused_because = because
    connection.health = Health.PAUSED
    await announce(session)


async def resume(session: AsyncSession, connection: Connection) -> None:
    """Take and send again."""
    connection.paused_because = connection.trouble = None
    connection.health = Health.ACTIVE
    await announce(session)


async def note_trouble(
    session: AsyncSession, connection: Connection, detail: str, *, health: Health, at: datetime
) -> None:
    """Note that a connection does not work as it should, and what to do. One that somebody paused stays paused."""
    if connection.health == Health.PAUSED or (connection.health == health and connection.trouble == detail[:1000]):
        return
    is_news = connection.health != health
    connection.health, connection.trouble = health, detail[:1000]
    await session.flush()
    await announce(session)
    if is_news:
        await events.record(
            session,
            "connection.trouble",
            at,
            details={
                "connection_id": connection.id,
                "title": connection.title,
                "health": health.value,
                "detail": detail[:500],
            },
        )


async def note_well(session: AsyncSession, connection: Connection, *, at: datetime) -> None:
    """Note that a connection works. Changes nothing where it did all the time, or is paused."""
    if connection.health in (Health.ACTIVE, Health.PAUSED):
        return
    connection.health, connection.trouble = Health.ACTIVE, None
    await session.flush()
    await announce(session)
    await events.record(
        session, "connection.well", at, details={"connection_id": connection.id, "title": connection.title}
    )


async def all_of(session: AsyncSession) -> list[Connection]:
    """Return every connection, oldest first."""
    return list(await session.scalars(select(Connection).order_by(Connection.id)))


async def changed(session: AsyncSession, connection: Connection, *, at: datetime, actor_id: int | None) -> None:
    """Count a change of a connection: every node reads it again, and open pages show it."""
    connection.version += 1
    await session.flush()
    await announce(session)
    await events.record(session, "connection.changed", at, actor_id=actor_id, details={"connection_id": connection.id})
