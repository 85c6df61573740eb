"""Presence: somebody says whether they can be given work, and comes back by themselves when they said until when."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel.errors import Rejected
from core.staff import users
from core.staff.users import Presence, User


async def be(
    session: AsyncSession,
    user: User,
    presence: Presence,
    *,
    at: datetime,
    until: datetime | None = None,
    actor_id: int | None = None,
) -> None:
    """Note what somebody says of themselves, or is said of them; `until` (UTC): from then on they are available again.

    Nothing but this, somebody's word, changes a presence: to work, here or in a messenger, is none. What was said last
    counts: without `until` an earlier one is forgotten.

    Raises:
        Rejected: `until` is not ahead, or somebody is to be available until some time.
    """
    if until is not None and until <= at:
        raise Rejected("That time has passed already", field="until")
    if until is not None and presence == Presence.AVAILABLE:
        raise Rejected("Say until when you are away, not until when you are here", field="until")
    await users.change(session, user, at=at, actor_id=actor_id, presence=Presence(presence), presence_until=until)


async def come_back(session: AsyncSession, *, now: datetime, limit: int = 200) -> int:
    """Make those available whose time has come, in the caller's transaction; return how many there were.

    A row is locked by whoever does it, and says itself that it is to be done, so it is done once.
    """
    due = list(
        await session.scalars(
            select(User)
            .where(User.presence_until <= now)
            .order_by(User.presence_until)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    )
    for user in due:
        await be(session, user, Presence.AVAILABLE, at=now)
    return len(due)
