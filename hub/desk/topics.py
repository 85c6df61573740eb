"""Topics: a team's group, in which every conversation is a topic, named after who it is with and how it stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import jobs
from core.people.contacts import Contact
from core.sales.deals import Deal, Outcome
from core.sales.pipelines import Stage
from core.staff import users
from core.talk.conversations import Conversation, ConversationStatus
from hub.app import Hub
from hub.desk import cards, posts
from hub.desk.cards import Desk
from hub.desk.reader import reader_for
from hub.desk.records import DeskLink, DeskPost, DeskTeamChat, DeskTopic

_LONGEST = 120  # letters of a topic's name; Telegram takes 128


class Wanted(NamedTuple):
    """What a topic should be called, and whether it should be open."""

    name: str
    is_open: bool


async def chat_for(session: AsyncSession, team_id: int | None) -> DeskTeamChat | None:
    """Return the group a team works in: its own, else that of all; None if there is none that can be used.

    It stays in use until the caller commits: what is to be posted there is seen by whoever then finds it gone.
    """
    rows = list(
        await session.scalars(
            select(DeskTeamChat)
            .where(DeskTeamChat.trouble.is_(None))
            .order_by(DeskTeamChat.id)
            .with_for_update(read=True)
        )
    )
    own = next((row for row in rows if team_id is not None and row.team_id == team_id), None)
    return own or next((row for row in rows if row.team_id is None), None)


async def topic_of(session: AsyncSession, conversation: Conversation, *, at: datetime) -> DeskTopic | None:
    """Return the topic a conversation has in its team's group, noted to be made; None where its team has no group."""
    chat = await chat_for(session, conversation.team_id)
    if chat is None:
        return None
    found: DeskTopic | None = await session.scalar(
        select(DeskTopic).where(
            DeskTopic.connection_id == chat.connection_id,
            DeskTopic.chat == chat.chat,
            DeskTopic.conversation_id == conversation.id,
        )
    )
    if found is None:
        found = DeskTopic(
            connection_id=chat.connection_id,
            chat=chat.chat,
            thread=None,
            conversation_id=conversation.id,
            name="",
            is_open=True,
            created_at=at,
        )
        session.add(found)
        await session.flush()
    return found


async def conversation_behind(session: AsyncSession, connection_id: int, chat: str, thread: str) -> int | None:
    """Return the conversation a topic is about; None for a topic of people's own."""
    if not thread:
        return None
    found: int | None = await session.scalar(
        select(DeskTopic.conversation_id).where(
            DeskTopic.connection_id == connection_id, DeskTopic.chat == chat, DeskTopic.thread == thread
        )
    )
    return found


async def is_team_chat(session: AsyncSession, connection_id: int, chat: str) -> bool:
    """Whether a chat is a team's group."""
    found = select(DeskTeamChat.id).where(DeskTeamChat.connection_id == connection_id, DeskTeamChat.chat == chat)
    return await session.scalar(found) is not None


async def wanted(session: AsyncSession, hub: Hub, topic: DeskTopic) -> Wanted:
    """Return what a topic should be: named after the person, the deal's stage and who looks after it."""
    conversation = await session.get_one(Conversation, topic.conversation_id)
    contact = await session.get_one(Contact, conversation.contact_id)
    desk = Desk(session, hub, await reader_for(session, None, now=hub.clock.now()))
    parts = [await cards.name_of(desk, contact)]
    deal = await session.scalar(
        select(Deal)
        .where(Deal.contact_id == contact.id)
        .order_by((Deal.outcome == Outcome.OPEN).desc(), Deal.id.desc())
        .limit(1)
    )
    if deal is not None:
        stage = await session.get(Stage, deal.stage_id)
        sign = {"won": "✅ ", "lost": "✖ "}.get(deal.outcome, "")
        if stage is not None:
            parts.append(sign + desk.reader.text(stage.name))
    if conversation.assignee_id is not None:
        staff = await users.names(session, {conversation.assignee_id})
        parts.append(staff.get(conversation.assignee_id, "").split(" ")[0])
    name = " · ".join(" ".join(part.split()) for part in parts if part.strip())[:_LONGEST]
    return Wanted(name or "…", conversation.status != ConversationStatus.RESOLVED)


async def check(session: AsyncSession, conversation_ids: set[int], *, at: datetime) -> None:
    """Have the topics of these conversations brought to what they should be, unless that waits to be done already."""
    if not conversation_ids:
        return
    waits = exists(
        select(DeskPost.id).where(
            DeskPost.topic_id == DeskTopic.id,
            DeskPost.purpose == "topic",
            DeskPost.due_at.is_not(None),
            DeskPost.attempts == 0,
        )
    )
    rows = await session.scalars(
        select(DeskTopic)
        .where(DeskTopic.conversation_id.in_(conversation_ids), DeskTopic.thread.is_not(None), ~waits)
        .order_by(DeskTopic.id)
    )
    await posts.add(session, [posts.to_topic(topic, "topic", at=at) for topic in rows])


async def lost(session: AsyncSession, topic_id: int) -> None:
    """Note that a topic is no more: the next post makes another one."""
    await session.execute(update(DeskTopic).where(DeskTopic.id == topic_id).values(thread=None))


async def hold(session: AsyncSession, connection_id: int, chat: str) -> DeskTeamChat | None:
    """Return a team's group with nothing new coming into it until the caller commits; None if the chat is none."""
    found: DeskTeamChat | None = await session.scalar(
        select(DeskTeamChat)
        .where(DeskTeamChat.connection_id == connection_id, DeskTeamChat.chat == chat)
        .with_for_update()
    )
    return found


async def unusable(session: AsyncSession, group: DeskTeamChat, because: str, *, at: datetime) -> None:
    """Note that nothing can be posted in a group that the caller holds: what waits there goes to people instead."""
    group.trouble = because[:500]
    waiting = await _waiting(session, group.connection_id, group.chat)
    await bring_elsewhere(session, waiting, because, at=at)


async def forget(session: AsyncSession, connection_id: int, chat: str, *, at: datetime) -> None:
    """Work in a group no more; its topics stay as they are, and what waits to be posted there goes to people."""
    if await hold(session, connection_id, chat) is not None:
        waiting = await _waiting(session, connection_id, chat)
        await bring_elsewhere(session, waiting, "The group is not worked in any more", at=at)
    for model in (DeskTopic, DeskTeamChat):
        await session.execute(delete(model).where(model.connection_id == connection_id, model.chat == chat))


async def _waiting(session: AsyncSession, connection_id: int, chat: str) -> Sequence[DeskPost]:
    found = (
        select(DeskPost)
        .where(
            DeskPost.connection_id == connection_id,
            DeskPost.chat == chat,
            DeskPost.topic_id.is_not(None),
            DeskPost.due_at.is_not(None),
            DeskPost.target_id.is_(None),
            DeskPost.purpose != "topic",
        )
        .order_by(DeskPost.id)
        .with_for_update()
    )
    return (await session.scalars(found)).all()


async def bring_elsewhere(session: AsyncSession, waiting: Sequence[DeskPost], because: str, *, at: datetime) -> None:
    """Give up posts of topics: what customers said in them is told to whoever looks after it, else to heads."""
    fresh: list[DeskPost] = []
    for row in waiting:
        row.due_at, row.error = None, because[:500]
        conversation = None if row.conversation_id is None else await session.get(Conversation, row.conversation_id)
        if conversation is None or row.purpose not in ("message", "lead"):
            continue
        links: Sequence[DeskLink] = ()
        if conversation.assignee_id is not None:
            links = await _reachable(session, [conversation.assignee_id])
        if not links:
            links = await _reachable(session, await users.heads_for(session, conversation.team_id))
        subjects = {name: getattr(row, name) for name in ("conversation_id", "message_id", "lead_id")}
        fresh += [posts.to_link(link, row.purpose, at=at, **subjects) for link in links]
    await posts.add(session, fresh)
    await jobs.wake(session, DeskPost.__tablename__)


async def _reachable(session: AsyncSession, user_ids: Sequence[int]) -> Sequence[DeskLink]:
    found = select(DeskLink).where(DeskLink.user_id.in_(user_ids), DeskLink.is_reachable).order_by(DeskLink.id)
    return (await session.scalars(found)).all()
