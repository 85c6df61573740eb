"""Who has a conversation open just now, so that two people do not answer at once without knowing."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Boolean, delete, false, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base

FRESH = timedelta(seconds=45)
"""A page that is open says so every 20 seconds."""


class Viewing(Base):
    """Somebody has a conversation open. `is_writing`: there is something in their composer."""

    __tablename__ = "viewings"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012 - what is lost with a crash is a minute old

    conversation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    is_writing: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    at: Mapped[datetime]


async def note(session: AsyncSession, conversation_id: int, user_id: int, *, is_writing: bool, at: datetime) -> None:
    """Note that somebody has it open now."""
    values = {"is_writing": is_writing, "at": at}
    await session.execute(
        insert(Viewing)
        .values(conversation_id=conversation_id, user_id=user_id, **values)
        .on_conflict_do_update(index_elements=["conversation_id", "user_id"], set_=values)
    )


async def leave(session: AsyncSession, conversation_id: int, user_id: int) -> None:
    """Note that somebody closed it."""
    await session.execute(delete(Viewing).where(Viewing.conversation_id == conversation_id, Viewing.user_id == user_id))


async def others(session: AsyncSession, conversation_id: int, user_id: int, *, now: datetime) -> list[Viewing]:
    """Return who else has it open."""
    rows = await session.scalars(
        select(Viewing)
        .where(Viewing.conversation_id == conversation_id, Viewing.user_id != user_id, Viewing.at > now - FRESH)
        .order_by(Viewing.user_id)
    )
    return list(rows)
