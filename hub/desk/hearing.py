"""Hearing: what our people write and press at the desk is done, once, under their own rights.

What is done is done in the caller's transaction, which takes it off the queue as well (hub.desk.working): once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import (
    Card,
    DeskEvent,
    DeskGone,
    DeskMoved,
    DeskPressed,
    DeskSaid,
    DeskStarted,
    Place,
)
from core.kernel.errors import DomainError
from core.staff import access
from hub import files
from hub.app import Hub
from hub.connections import Live
from hub.desk import answering, commands, linking, places, posts, presses, questions, telling, topics
from hub.desk.doing import Answer, Doing
from hub.desk.reader import Reader, reader_for
from hub.desk.records import DeskPost, DeskTopic, post_named
from hub.files import Kept

log = structlog.get_logger(__name__)

_TELLS_STRANGERS_EVERY = timedelta(hours=1)


class TooEarly(Exception):
    """It answers a post that is being posted just now: who is quick answers before its id is noted."""


async def do(
    session: AsyncSession, hub: Hub, live: Live, event: DeskEvent, kept: Sequence[tuple[str, str, Kept]] = ()
) -> Answer:
    """Do what somebody did at the desk, in the caller's transaction; return what a press is answered."""
    now = hub.clock.now()
    if isinstance(event, DeskMoved):
        await places.moved(session, live.id, event.peer, event.new_chat)
        return Answer()
    if isinstance(event, DeskGone):
        await linking.reach(session, live.id, event.peer, is_reachable=False)
        if not event.is_private:
            await topics.forget(session, live.id, event.peer, at=now)
        return Answer()
    if isinstance(event, DeskStarted):
        await _started(session, hub, live, event)
        return Answer()
    who = await linking.linked(session, live.id, event.person)
    if who is None:
        return await _stranger(session, hub, live, event)
    link, user = who
    if event.is_private and not link.is_reachable:
        link.is_reachable = True
    topic_id = None
    conversation_id = None
    if not event.is_private and event.thread:
        topic = await session.scalar(
            select(DeskTopic).where(
                DeskTopic.connection_id == live.id, DeskTopic.chat == event.peer, DeskTopic.thread == event.thread
            )
        )
        if topic is not None:
            topic_id, conversation_id = topic.id, topic.conversation_id
    answered = event.reply_to if isinstance(event, DeskSaid) else getattr(event, "ref", "")
    # In this order: a post that is noted in between is found then, and one whose id is not known yet is waited for.
    is_under_way = bool(answered) and await _is_being_posted(session, live.id, event.peer)
    about = await post_named(session, live.id, event.peer, answered)
    if about is None and event.is_private and event.thread:
        about = await post_named(session, live.id, event.peer, event.thread)
    if about is None and is_under_way:
        raise TooEarly
    doing = Doing(
        session=session,
        hub=hub,
        live=live,
        link=link,
        user=user,
        rights=await access.of(session, user),
        reader=await reader_for(session, user, now=now),
        event=event,
        now=now,
        about=about,
        topic_id=topic_id,
        conversation_id=conversation_id or (about.conversation_id if about is not None else None),
    )
    answer = Answer()
    try:
        async with session.begin_nested():
            doing.files = [row.id for row in await files.uploaded(session, kept, author_id=user.id, at=now)]
            if isinstance(event, DeskPressed):
                answer = await presses.press(doing, event.data, more=commands.EXTRA_VERBS)
            elif isinstance(event, DeskSaid):
                await _said(doing, event)
            await posts.add(session, doing.posts)
    except DomainError as error:  # undone; said in its own words
        doing.posts.clear()
        why = error.said(doing.text)
        answer = Answer(why, is_alert=True)
        if isinstance(event, DeskSaid):
            doing.say(Card(title="🚫 " + doing.text("Not done"), lines=(why,)))
            await posts.add(session, doing.posts)
    return answer


async def _is_being_posted(session: AsyncSession, connection_id: int, chat: str) -> bool:
    """Whether a post into a chat is under way, whose id nobody knows yet."""
    under_way = select(DeskPost.id).where(
        DeskPost.connection_id == connection_id,
        DeskPost.chat == chat,
        DeskPost.due_at.is_not(None),
        DeskPost.attempts > 0,
        DeskPost.purpose.not_in(("edit", "topic")),
    )
    return await session.scalar(under_way.limit(1)) is not None


async def _said(doing: Doing, event: DeskSaid) -> None:
    """Tell a command from the answer to a question, a note, and what is for the customer."""
    text = event.text.strip()
    if event.is_edit:
        await answering.correct(doing, event)
        return
    if text.startswith("/") and not text.startswith("//"):
        await commands.run(doing, text)
        return
    if doing.about is not None and doing.about.what.get("ask"):
        await questions.answer(doing, doing.about, text)
        return
    if not event.is_private and doing.topic_id is None:
        return  # people talking among themselves
    await answering.answer(doing, event, text)


async def _started(session: AsyncSession, hub: Hub, live: Live, event: DeskStarted) -> None:
    """Link somebody who brings a ticket, and say what can be done here; tell anybody else how to link."""
    now = hub.clock.now()
    place = Place(event.peer, event.thread)
    if event.ticket and event.is_private:
        user = await linking.redeem(session, event.ticket, event, connection_id=live.id, at=now)
        if user is not None:
            reader = await reader_for(session, user, now=now)
            await telling.begin(session)
            await posts.add(
                session, [posts.said(live.id, place, commands.welcome(reader, user), at=now, user_id=user.id)]
            )
            return
    who = await linking.linked(session, live.id, event.person)
    if who is not None:
        if event.is_private:
            who[0].is_reachable = True  # whoever had blocked the bot and opens it again
        reader = await reader_for(session, who[1], now=now)
        await posts.add(
            session, [posts.said(live.id, place, commands.welcome(reader, who[1]), at=now, user_id=who[1].id)]
        )
        return
    reader = await reader_for(session, None, now=now)
    _ = reader.text
    used = _("This link does not work (any more).") if event.ticket else _("You are not linked.")
    await posts.add(session, [posts.said(live.id, place, how_to_link(reader, used, hub), at=now)])


def how_to_link(reader: Reader, problem: str, hub: Hub) -> Card:
    """Say how somebody who is not linked becomes it; nothing else."""
    _ = reader.text
    where = f"{hub.public_url}/profile" if hub.settings.public_url else _("your profile in Switchyard")
    return Card(title=f"🔒 {problem}", lines=(_("Open %(where)s and follow the link there.", where=where),))


async def _stranger(session: AsyncSession, hub: Hub, live: Live, event: DeskEvent) -> Answer:
    """Somebody who is not linked gets nothing, and is told how to link; in a group once an hour."""
    now = hub.clock.now()
    reader = await reader_for(session, None, now=now)
    problem = reader.text("You are not linked, so nothing was done.")
    if isinstance(event, DeskPressed):
        return Answer(problem, is_alert=True)
    if not isinstance(event, DeskSaid) or event.is_edit:
        return Answer()
    topic_id = None
    if not event.is_private:
        topic = await session.scalar(
            select(DeskTopic).where(
                DeskTopic.connection_id == live.id, DeskTopic.chat == event.peer, DeskTopic.thread == event.thread
            )
        )
        if topic is None or not event.thread:
            return Answer()
        topic_id = topic.id
        told = select(func.count()).where(
            DeskPost.connection_id == live.id,
            DeskPost.chat == event.peer,
            DeskPost.topic_id == topic.id,
            DeskPost.what["stranger"].astext == event.person,
            DeskPost.created_at > now - _TELLS_STRANGERS_EVERY,
        )
        if await session.scalar(told):
            return Answer()
    await posts.add(
        session,
        [
            posts.said(
                live.id,
                Place(event.peer, event.thread),
                how_to_link(reader, problem, hub),
                at=now,
                topic_id=topic_id,
                reply_to=event.ref,
                what={"stranger": event.person},
            )
        ],
    )
    return Answer()
