"""Notifications: what somebody here must hear of. Written from the diary; shown in the workspace, sent by e-mail."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Text, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base


class Notification(Base):
    """One thing one person is told, once: unique by the event it tells of.

    `kind` is the event's; `title` and `body` are worded when shown, from `details`, in the reader's language.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        Index("uq_notifications_event", "user_id", "event_id", unique=True),
        Index("ix_notifications_user_id", "user_id", "id"),
        Index("ix_notifications_contact_id", "contact_id", postgresql_where=text("contact_id IS NOT NULL")),
        Index("ix_notifications_unread", "user_id", postgresql_where=text("read_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    event_id: Mapped[int]
    kind: Mapped[str] = mapped_column(Text)
    contact_id: Mapped[int | None]
    deal_id: Mapped[int | None]
    lead_id: Mapped[int | None]
    task_id: Mapped[int | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]


async def unread_count(session: AsyncSession, user_id: int) -> int:
    """Return how many notifications somebody has not looked at."""
    return int(
        await session.scalar(
            select(func.count())
            .select_from(Notification)
            .where(Notification.user_id == user_id, Notification.read_at.is_(None))
        )
        or 0
    )


async def latest(session: AsyncSession, user_id: int, *, limit: int = 50) -> list[Notification]:
    """Return somebody's notifications, newest first."""
    return list(
        await session.scalars(
            select(Notification).where(Notification.user_id == user_id).order_by(Notification.id.desc()).limit(limit)
        )
    )


async def mark_read(session: AsyncSession, user_id: int, *, at: datetime, ids: list[int] | None = None) -> None:
    """Note that somebody has seen these of their notifications, or all of them."""
    statement = update(Notification).where(Notification.user_id == user_id, Notification.read_at.is_(None))
    if ids is not None:
        statement = statement.where(Notification.id.in_(ids))
    await session.execute(statement.values(read_at=at))
