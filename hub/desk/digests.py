"""Digests: in the morning what waits for somebody and what is due, in the evening, for heads, what was missed.

Each is given once a person and day, whatever restarts: the row of `desk_digests` and the posts are one transaction. A
digest comes at its time on the person's own clock, on days they work; one that nobody could give for hours is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import delete, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import Messenger, Place
from core.staff import access, workspace
from core.staff.absences import Absence
from core.staff.teams import TeamMember
from core.staff.users import Presence, Role, User
from core.work import hours, hours_json
from core.work.hours import Schedule
from hub.app import Hub
from hub.desk import choices, digest_cards, posts, times
from hub.desk.cards import Desk
from hub.desk.reader import reader_for
from hub.desk.records import DeskDigest, DeskLink

log = structlog.get_logger(__name__)

KINDS = {"morning": digest_cards.morning, "evening": digest_cards.evening}
"""What each kind of digest says; None: nothing."""

LATEST = timedelta(hours=3)
"""How late a digest may come, as when the hub was away; after that nobody wants it."""

_KEEP = timedelta(days=30)


class _Due(NamedTuple):
    user_id: int
    kind: str
    day: date


async def give_due(hub: Hub) -> int:
    """Give the digests whose time has come; return how many were due, those with nothing to say included."""
    now = hub.clock.now()
    async with hub.database.reading() as session:
        due = await _due(session, now)
    given = 0
    for each in due:
        try:
            async with hub.database.transaction() as session:
                given += await _give(session, hub, each, now)
        except Exception:  # tried again at the next look; nobody else waits for it
            log.exception("digest_failed", user_id=each.user_id, kind=each.kind)
    return given


async def heads(session: AsyncSession) -> set[int]:
    """Return who is told in the evening what was missed: heads and leaders of teams, else the owners."""
    leads = select(TeamMember.user_id).where(TeamMember.leads)
    for who in (or_(User.role == Role.HEAD, User.id.in_(leads)), User.role == Role.OWNER):
        if found := set(await session.scalars(select(User.id).where(User.is_active, who))):
            return found
    return set()


async def _due(session: AsyncSession, now: datetime) -> list[_Due]:
    rows = await session.execute(
        select(User, DeskLink)
        .join(DeskLink, DeskLink.user_id == User.id)
        .where(User.is_active, User.presence != Presence.ON_LEAVE, DeskLink.is_reachable)
        .order_by(User.id, DeskLink.id)
    )
    links: dict[int, list[DeskLink]] = {}
    people: dict[int, User] = {}
    for user, link in rows:
        people[user.id] = user
        links.setdefault(user.id, []).append(link)
    if not people:
        return []
    company = await workspace.get(session)
    usual = hours_json.from_json(company.schedule)
    told_in_the_evening = await heads(session)
    nearby = timedelta(days=3)
    given = {
        (row.user_id, row.kind, row.day)
        for row in await session.execute(
            select(DeskDigest.user_id, DeskDigest.kind, DeskDigest.day).where(DeskDigest.made_at > now - nearby)
        )
    }
    away: dict[int, list[hours.Absence]] = {}
    for absence in await session.scalars(
        select(Absence).where(
            Absence.user_id.in_(people), Absence.ends_at > now - nearby, Absence.starts_at < now + nearby
        )
    ):
        away.setdefault(absence.user_id, []).append((absence.starts_at, absence.ends_at))
    found = []
    for user in people.values():
        reader = await reader_for(session, user, now=now)
        chosen = choices.of(links[user.id])
        schedule = usual if user.schedule is None else hours_json.from_json(user.schedule)
        wanted = {"morning": chosen.morning, "evening": chosen.evening if user.id in told_in_the_evening else None}
        for kind, at in wanted.items():
            for days in (0, -1):  # one of late in the evening may be given after midnight
                if at is None:
                    continue
                falls_due = times.morning(now, reader.zone, days=days, at=at)
                day = now.astimezone(reader.zone).date() + timedelta(days=days)
                if not falls_due <= now < falls_due + LATEST or (user.id, kind, day) in given:
                    continue
                if all(link.created_at > falls_due for link in links[user.id]):
                    continue  # they are linked only since then
                begins, ends = (times.morning(now, reader.zone, days=days + more, at=time()) for more in (0, 1))
                if _works_between(schedule, away.get(user.id, ()), begins, ends):
                    found.append(_Due(user.id, kind, day))
    return found


def _works_between(schedule: Schedule, absences: Sequence[hours.Absence], begins: datetime, ends: datetime) -> bool:
    opens = hours.available_from(schedule, absences, begins)
    return opens is not None and opens < ends


async def _give(session: AsyncSession, hub: Hub, due: _Due, now: datetime) -> int:
    first = await session.execute(
        text(
            "INSERT INTO desk_digests (user_id, kind, day, made_at) VALUES (:user_id, :kind, :day, :now) "
            "ON CONFLICT DO NOTHING RETURNING user_id"
        ),
        {**due._asdict(), "now": now},
    )
    if first.first() is None:
        return 0  # another node was faster
    user = await session.get_one(User, due.user_id)
    links = list(
        await session.scalars(
            select(DeskLink).where(DeskLink.user_id == user.id, DeskLink.is_reachable).order_by(DeskLink.id)
        )
    )
    desk = Desk(session, hub, await reader_for(session, user, now=now))
    digest = await KINDS[due.kind](desk, user, await access.of(session, user))
    if digest.is_empty and not choices.of(links).tells_of_nothing:
        return 1
    fresh = []
    for link in links:
        live = hub.switchboard.by_id(link.connection_id)
        has_buttons = live is None or not isinstance(live.channel, Messenger) or live.channel.abilities.buttons
        card = digest.card(desk, has_buttons=has_buttons)
        fresh.append(posts.said(link.connection_id, Place(link.chat), card, at=now, user_id=user.id))
    await posts.add(session, fresh)
    return 1


async def forget_old(session: AsyncSession, *, now: datetime) -> None:
    """Forget which digests were given long ago."""
    await session.execute(delete(DeskDigest).where(DeskDigest.made_at < now - _KEEP))
