"""Absences: who is away, from when until when, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Record
from core.kernel.errors import NotFound, Rejected


class Absence(Base, Record):
    """Somebody is away from `starts_at` until `ends_at` (UTC, the end not included)."""

    __tablename__ = "absences"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="ends_after_start"),
        Index("ix_absences_user_id_ends_at", "user_id", "ends_at"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text, default="", server_default="")


async def add(
    session: AsyncSession,
    *,
    user_id: int,
    starts_at: datetime,
    ends_at: datetime,
    at: datetime,
    reason: str = "",
    actor_id: int | None = None,
) -> Absence:
    """Note that somebody will be away; from then on they are given no work.

    Raises:
        Rejected: it ends before it starts.
    """
    if ends_at <= starts_at:
        raise Rejected("The absence must end after it starts", field="ends_at")
    absence = Absence(user_id=user_id, starts_at=starts_at, ends_at=ends_at, reason=reason.strip(), created_at=at)
    session.add(absence)
    await session.flush()
    await events.record(session, "absence.added", at, user_id=user_id, actor_id=actor_id)
    return absence


async def cancel(session: AsyncSession, absence_id: int, *, at: datetime, actor_id: int | None = None) -> None:
    """Forget an absence: somebody is back early or never left.

    Raises:
        NotFound: there is no such absence.
    """
    absence = await session.get(Absence, absence_id)
    if absence is None:
        raise NotFound("absence", absence_id)
    await session.delete(absence)
    await events.record(session, "absence.canceled", at, user_id=absence.user_id, actor_id=actor_id)


async def current(session: AsyncSession, user_ids: Iterable[int], at: datetime) -> dict[int, Absence]:
    """Return who of these people is away now; of several overlapping absences, the one that ends last."""
    rows = await session.scalars(
        select(Absence)
        .where(Absence.user_id.in_(list(user_ids)), Absence.starts_at <= at, Absence.ends_at > at)
        .order_by(Absence.ends_at)
    )
    return {row.user_id: row for row in rows}
