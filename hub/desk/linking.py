"""Linking: a colleague and their account in a messenger are brought together by a word that works once."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import DeskEvent
from core.kernel import events
from core.staff import audit
from core.staff.users import User
from hub.desk.records import DeskLink, DeskTicket

LASTS = timedelta(minutes=30)
_MOST_WAITING = 10  # tickets of one person; the oldest is forgotten


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "replace")).hexdigest()


async def make_ticket(session: AsyncSession, user_id: int, *, at: datetime) -> str:
    """Return a word that links whoever says it to a bot within half an hour, once."""
    ticket = secrets.token_urlsafe(18)
    session.add(DeskTicket(digest=_digest(ticket), user_id=user_id, created_at=at, expires_at=at + LASTS))
    await session.flush()
    newest = (
        select(DeskTicket.digest)
        .where(DeskTicket.user_id == user_id)
        .order_by(DeskTicket.created_at.desc(), DeskTicket.digest)
        .limit(_MOST_WAITING)
    )
    await session.execute(delete(DeskTicket).where(DeskTicket.user_id == user_id, DeskTicket.digest.not_in(newest)))
    return ticket


async def redeem(
    session: AsyncSession, ticket: str, event: DeskEvent, *, connection_id: int, at: datetime
) -> User | None:
    """Link whoever said a word to its colleague; None if it is wrong, used or too old, or they do not work here.

    An account that was linked to somebody else is theirs no more, and an account of the colleague's that was linked
    before is linked no more. What they chose for their other accounts holds for this one.
    """
    row = await session.get(DeskTicket, _digest(ticket), with_for_update=True)
    if row is None or row.used_at is not None or row.expires_at <= at:
        return None
    user = await session.get(User, row.user_id)
    if user is None or not user.is_active:
        return None
    row.used_at = at
    kept = list(
        await session.scalars(
            select(DeskLink).where(DeskLink.user_id == user.id).order_by(DeskLink.id).with_for_update()
        )
    )
    await session.execute(
        delete(DeskLink).where(
            DeskLink.connection_id == connection_id,
            (DeskLink.person == event.person) | (DeskLink.user_id == user.id),
        )
    )
    link = DeskLink(
        connection_id=connection_id,
        user_id=user.id,
        person=event.person,
        chat=event.peer,
        name=event.name[:200],
        handle=event.handle[:200],
        settings=next((dict(other.settings) for other in reversed(kept) if other.settings), {}),
        is_reachable=True,
        created_at=at,
    )
    session.add(link)
    await session.flush()
    audit.note(session, "desk.linked", at=at, user_id=user.id, entity="connection", entity_id=connection_id,
               details={"name": link.name, "handle": link.handle})  # fmt: skip
    await events.record(session, "desk.linked", at, user_id=user.id, actor_id=user.id)
    return user


async def linked(session: AsyncSession, connection_id: int, person: str) -> tuple[DeskLink, User] | None:
    """Return whose account it is; None for somebody who is not linked, or does not work here any more."""
    row = (
        await session.execute(
            select(DeskLink, User)
            .join(User, User.id == DeskLink.user_id)
            .where(DeskLink.connection_id == connection_id, DeskLink.person == person, User.is_active)
        )
    ).first()
    return None if row is None else (row[0], row[1])


async def of_user(session: AsyncSession, user_id: int) -> list[DeskLink]:
    """Return a colleague's accounts, oldest first."""
    return list(await session.scalars(select(DeskLink).where(DeskLink.user_id == user_id).order_by(DeskLink.id)))


async def unlink(session: AsyncSession, link: DeskLink, *, at: datetime, actor_id: int | None) -> None:
    """Take a colleague's account away from them, at once: a phone was lost, say. What it still said is not done."""
    audit.note(session, "desk.unlinked", at=at, user_id=actor_id, entity="user", entity_id=link.user_id,
               details={"name": link.name, "handle": link.handle})  # fmt: skip
    await events.record(session, "desk.unlinked", at, user_id=link.user_id, actor_id=actor_id)
    await session.delete(link)


async def reach(session: AsyncSession, connection_id: int, chat: str, *, is_reachable: bool) -> None:
    """Note that somebody blocked the bot, or came back."""
    await session.execute(
        update(DeskLink)
        .where(DeskLink.connection_id == connection_id, DeskLink.chat == chat)
        .values(is_reachable=is_reachable)
    )
