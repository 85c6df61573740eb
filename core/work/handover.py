"""Handing over everything open that somebody has, as when they leave."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.people import contacts
from core.people.contacts import Contact
from core.sales.deals import Deal, Outcome
from core.sales.leads import OPEN_STATUSES as OPEN_LEADS
from core.sales.leads import Lead
from core.talk import conversations
from core.talk.conversations import Conversation
from core.work import progress, routing, tasks
from core.work.tasks import OPEN_STATUSES as OPEN_TASKS
from core.work.tasks import Task


class OpenWork(NamedTuple):
    """How much somebody has open."""

    deals: int
    leads: int
    tasks: int


async def open_work(session: AsyncSession, user_id: int) -> OpenWork:
    """Count what somebody has open."""
    conditions = (
        (Deal.owner_id == user_id, Deal.outcome == Outcome.OPEN),
        (Lead.owner_id == user_id, Lead.status.in_(OPEN_LEADS)),
        (Task.assignee_id == user_id, Task.status.in_(OPEN_TASKS)),
    )
    return OpenWork(
        *[int(await session.scalar(select(func.count()).where(*condition)) or 0) for condition in conditions]
    )


async def hand_over_all(
    session: AsyncSession, user_id: int, *, to: int, at: datetime, actor_id: int | None
) -> OpenWork:
    """Give somebody else every open deal, lead and task a person has, their contacts and conversations too.

    Returns what there was. The caller has checked that `to` works here.
    """
    before = await open_work(session, user_id)
    for lead in await session.scalars(
        select(Lead).where(Lead.owner_id == user_id, Lead.status.in_(OPEN_LEADS)).order_by(Lead.id)
    ):
        await routing.take(session, lead, user_id=to, at=at, actor_id=actor_id)
    for deal in await session.scalars(
        select(Deal).where(Deal.owner_id == user_id, Deal.outcome == Outcome.OPEN).order_by(Deal.id)
    ):
        await progress.hand_over(session, deal, to=to, at=at, actor_id=actor_id)
    for task in await session.scalars(
        select(Task).where(Task.assignee_id == user_id, Task.status.in_(OPEN_TASKS)).order_by(Task.id)
    ):
        await tasks.assign(session, task, to=to, at=at, actor_id=actor_id)
    for contact in await session.scalars(select(Contact).where(Contact.owner_id == user_id).order_by(Contact.id)):
        await contacts.assign(session, contact, to=to, at=at, actor_id=actor_id)
    for conversation in await session.scalars(
        select(Conversation).where(Conversation.assignee_id == user_id).order_by(Conversation.id)
    ):
        await conversations.assign(session, conversation, to=to, at=at, actor_id=actor_id)
    await session.flush()
    return before
