"""The doctor's look at the desk: whether our people's messengers work, and how many of them are reached there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import connections
from core.connections import Health
from core.staff.users import User
from hub.commands.checkup import Finding, Verdict
from hub.desk.records import DeskLink, DeskPost

_STUCK = 600  # seconds


async def examine(session: AsyncSession, now: datetime) -> AsyncIterator[Finding]:
    """Look at each messenger that is connected and well; where none is, there is nothing to say."""
    for row in await connections.all_of(session):
        if not row.kind.startswith("desk_") or row.health != Health.ACTIVE:
            continue  # trouble is told of all connections alike
        counted = await session.execute(
            select(DeskLink.is_reachable, func.count())
            .join(User, User.id == DeskLink.user_id)
            .where(DeskLink.connection_id == row.id, User.is_active)
            .group_by(DeskLink.is_reachable)
        )
        numbers = {is_reachable: number for is_reachable, number in counted}
        linked, blocked = sum(numbers.values()), numbers.get(False, 0)
        oldest = await session.scalar(select(func.min(DeskPost.due_at)).where(DeskPost.connection_id == row.id))
        if oldest is not None and (now - oldest).total_seconds() > _STUCK:
            minutes = (now - oldest).total_seconds() / 60
            yield Finding(
                "desk",
                Verdict.FAIL,
                f"{row.title}: something to post has waited for {minutes:.0f} min",
                "Does a worker run? Start one: switchyard serve",
            )
        elif not linked:
            yield Finding(
                "desk",
                Verdict.WARN,
                f"{row.title}: nobody is linked",
                "Everybody follows the link in their profile, under “Your messenger”",
            )
        elif blocked:
            yield Finding(
                "desk", Verdict.WARN, f"{row.title}: {linked} linked, {blocked} of them blocked the bot", "Tell them"
            )
        else:
            seen = "not asked yet" if row.checked_at is None else f"asked {row.checked_at:%Y-%m-%d %H:%M} UTC"
            yield Finding("desk", Verdict.OK, f"{row.title}: {linked} linked; the messenger was {seen}")
