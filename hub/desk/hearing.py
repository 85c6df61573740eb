"""Hearing: what our people write and press at the desk is done, once, under their own rights.

Each thing is a row of `desk_updates`; doing it and deleting the row are one transaction, so that whoever stops on
whichever line, an answer is given once. Only what a press came to is said outside, in passing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Fetcher
from channels.desk_contract import (
    Card,
    DeskEvent,
    DeskGone,
    DeskMoved,
    DeskPressed,
    DeskSaid,
    DeskStarted,
    Messenger,
    Place,
)
from channels.errors import ChannelError, Misconfigured, Temporary, Undeliverable
from core.kernel import jobs
from core.kernel.errors import DomainError
from core.kernel.jobs import Failure
from core.staff import access
from core.talk.attachments import Attachment, FileState
from hub import files
from hub.app import Hub
from hub.connections import Live
from hub.database import finished
from hub.desk import answering, commands, linking, places, posts, presses, questions, telling, topics, updates
from hub.desk.doing import Answer, Doing
from hub.desk.reader import Reader, reader_for
from hub.desk.records import DeskPost, DeskTopic, DeskUpdate, post_named, updates_queue
from hub.files import Kept
from hub.web_client import tools_for

log = structlog.get_logger(__name__)

AT_ONCE = 20
_LOOKS_AGAIN = 0.5
_MOST_FILE = 50_000_000  # bytes
_TELLS_STRANGERS_EVERY = timedelta(hours=1)


class Hearer:
    """Works off `desk_updates`: chats side by side, each in order."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._queue = updates_queue()
        self._in_hand: set[int] = set()
        self._doing: set[asyncio.Task[None]] = set()

    async def run(self, woken: asyncio.Event) -> None:
        """Do what people want until canceled; what has been begun is finished."""
        try:
            while True:
                woken.clear()
                if len(self._doing) >= AT_ONCE:
                    await asyncio.wait(self._doing, return_when=asyncio.FIRST_COMPLETED)
                    continue
                try:
                    if await finished(self._start(AT_ONCE - len(self._doing))):
                        continue
                except Exception:
                    log.exception("loop_failed", loop="desk")
                    await asyncio.sleep(1)
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), _LOOKS_AGAIN)
        finally:
            if self._doing:
                await asyncio.wait(self._doing, timeout=5)
            for task in self._doing:
                task.cancel()

    async def work(self) -> int:
        """Do what is due; return how many things that was."""
        count = await self._start(AT_ONCE)
        if self._doing:
            await asyncio.wait(self._doing)
        return count

    async def _start(self, most: int) -> int:
        hub = self._hub
        async with hub.database.transaction() as session:
            rows = await self._queue.claim(
                session, worker_id=hub.worker_id, now=hub.clock.now(), limit=most, in_hand=self._in_hand
            )
        self._in_hand.update(row.id for row in rows)
        lanes: dict[str, list[Any]] = {}
        for row in rows:
            lanes.setdefault(row.lane, []).append(row)
        for lane in lanes.values():
            task = asyncio.get_running_loop().create_task(self._lane(lane))
            self._doing.add(task)
            task.add_done_callback(self._doing.discard)
        return len(rows)

    async def _lane(self, rows: Sequence[Any]) -> None:
        try:
            for number, row in enumerate(rows):
                if not await self._one(row):
                    async with self._hub.database.transaction() as session:
                        await self._queue.release(session, rows[number + 1 :], now=self._hub.clock.now())
                    return
        except jobs.Lost:
            log.warning("desk_update_lost", updates=[row.id for row in rows])
        except Exception:  # the database is away: the lease brings them back
            log.exception("desk_update_not_noted", updates=[row.id for row in rows])
        finally:
            self._in_hand.difference_update(row.id for row in rows)

    async def _one(self, row: Any) -> bool:
        hub = self._hub
        live = hub.switchboard.by_id(row.connection_id)
        event = updates.event_of(row)
        try:
            if live is None or not isinstance(live.channel, Messenger):
                raise Undeliverable("The desk is not connected any more")
            kept = await self._files(live, event) if isinstance(event, DeskSaid) and event.attachments else []
            answer = await finished(self._do(row, live, event, kept))
        except jobs.Lost:
            raise
        except Undeliverable as error:
            await self._failed(row, Failure(row.id, row.attempts, str(error), is_final=True))
            return True
        except ChannelError as error:
            await self._failed(row, Failure(row.id, row.attempts, str(error)))
            return False
        except Exception as error:  # kept, and tried again
            log.exception("desk_update_failed", update_id=row.id)
            await self._failed(row, Failure(row.id, row.attempts, f"{type(error).__name__}: {error}"))
            if isinstance(event, DeskPressed):
                await self._confirm(live, event, Answer("Something went wrong. It is tried again", is_alert=True))
            return False
        if isinstance(event, DeskPressed):
            await self._confirm(live, event, answer)
        return True

    async def _failed(self, row: Any, failure: Failure) -> None:
        async with self._hub.database.transaction() as session:
            await self._queue.fail(session, [failure], now=self._hub.clock.now())

    async def _confirm(self, live: Live | None, event: DeskPressed, answer: Answer) -> None:
        """Say in passing what a press came to; if that fails, the changed card says it as well."""
        if live is None or not isinstance(live.channel, Messenger) or not event.press:
            return
        tools = tools_for(self._hub.web, live, now=self._hub.clock.now, public_url=self._hub.public_url)
        try:
            await asyncio.wait_for(
                live.channel.confirm(event.press, tools, text=answer.text[:200], is_alert=answer.is_alert), 10
            )
        except (ChannelError, TimeoutError) as error:
            log.info("press_not_confirmed", error=str(error)[:200])

    async def _files(self, live: Live, event: DeskSaid) -> list[tuple[str, str, Kept]]:
        """Bring the files somebody sent to where files are kept, before anything is decided.

        Raises:
            Temporary: they cannot be had just now. Undeliverable: never.
        """
        if not isinstance(live.channel, Fetcher):
            return []
        tools = tools_for(self._hub.web, live, now=self._hub.clock.now, public_url=self._hub.public_url)
        found: list[tuple[str, str, Kept]] = []
        for item in event.attachments:
            try:
                fetched = await live.channel.fetch_media(item.reference, tools)
                kept = await self._hub.files.keep(
                    fetched.chunks,
                    name=item.name or fetched.name,
                    declared=fetched.content_type or item.content_type,
                    most=_MOST_FILE,
                )
            except Misconfigured as error:
                raise Temporary(str(error), 60) from error
            found.append((item.name or fetched.name or "file", item.kind, kept))
        return found

    async def _do(self, row: Any, live: Live, event: DeskEvent, kept: Sequence[tuple[str, str, Kept]]) -> Answer:
        """Do one thing and take it off the queue, in one transaction."""
        hub = self._hub
        async with hub.database.transaction() as session:
            gone = await session.execute(
                delete(DeskUpdate)
                .where(DeskUpdate.id == row.id, DeskUpdate.attempts == row.attempts)
                .returning(DeskUpdate.id)
            )
            if gone.first() is None:
                raise jobs.Lost(f"desk update {row.id}")
            return await do(session, hub, live, event, kept)


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
            await topics.forget(session, live.id, event.peer)
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
    about = await post_named(session, live.id, event.peer, answered)
    if about is None and event.is_private and event.thread:
        about = await post_named(session, live.id, event.peer, event.thread)
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
            doing.files = await _uploaded(session, kept, user.id, hub)
            if isinstance(event, DeskPressed):
                answer = await presses.press(doing, event.data)
            elif isinstance(event, DeskSaid):
                await _said(doing, event)
            await posts.add(session, doing.posts)
    except DomainError as error:  # undone; said in its own words
        doing.posts.clear()
        answer = Answer(doing.text(str(error)), is_alert=True)
        if isinstance(event, DeskSaid):
            doing.say(Card(title="🚫 " + doing.text("Not done"), lines=(doing.text(str(error)),)))
            await posts.add(session, doing.posts)
    return answer


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


async def _uploaded(session: AsyncSession, kept: Sequence[tuple[str, str, Kept]], user_id: int, hub: Hub) -> list[int]:
    ids = []
    for name, kind, found in kept:
        stored = await files.note(session, found, at=hub.clock.now())
        row = Attachment(
            author_id=user_id,
            name=name[:255],
            content_type=stored.content_type,
            size=stored.size,
            kind=kind if kind != "file" else files.kind_of(stored.content_type),
            state=FileState.STORED,
            file_id=stored.id,
            created_at=hub.clock.now(),
        )
        session.add(row)
        await session.flush()
        ids.append(row.id)
    return ids


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
