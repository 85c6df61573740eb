"""Posting: takes what is to be posted off its queue, makes it, and hands it to the messenger.

Nothing is said inside a transaction: a post is made from the records in one, said outside, and noted in another.
Whoever stops in between says it again: a manager would rather see a customer's words twice than not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, cast

import structlog
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import OutgoingFile, Tools
from channels.desk_contract import Card, Messenger, Place, PlaceGone, Topics
from channels.errors import ChannelError, Misconfigured, PeerMoved, RecipientGone, Temporary, Throttled, Undeliverable
from core.kernel import jobs
from core.kernel.envelopes import MediaKind
from core.kernel.jobs import Failure
from core.staff.users import User
from core.talk.attachments import Attachment, FileState, StoredFile
from hub.app import Hub
from hub.connections import Live
from hub.desk import cards, linking, places, topics
from hub.desk.cards import Desk, Shown
from hub.desk.reader import reader_for
from hub.desk.records import DeskPost, DeskTopic, name_post, posts_queue
from hub.files import FETCH_LASTS
from hub.lanes import LaneWorker
from hub.web_client import tools_for

log = structlog.get_logger(__name__)

AT_ONCE = 40
_LONGEST = 60.0  # seconds a messenger is waited for
_FILES_WAIT = timedelta(seconds=30)
_LOOKS_AGAIN = 0.5
_FINISHES_WITHIN = 5.0


class _Ready(NamedTuple):
    """What is to be said, and where; `of` is the post it shows (an edit's target)."""

    live: Live
    messenger: Messenger
    place: Place
    card: Card
    files: tuple[OutgoingFile, ...]
    reply_to: str
    of: int
    edits: str = ""
    digest: str = ""


class _Wait(NamedTuple):
    """It is not time yet."""

    seconds: float


class _Nothing(NamedTuple):
    """There is nothing to say: what it was about is gone, or shows so already."""

    because: str = ""


class Poster:
    """Works off `desk_posts`: chats side by side, each in order."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._queue = posts_queue()
        self._lanes = LaneWorker(hub, self._queue, self._lane, at_once=AT_ONCE, finishes=_FINISHES_WITHIN)
        self._paused: dict[int, float] = {}  # connection → monotonic moment until which its messenger wants quiet

    async def run(self, woken: asyncio.Event) -> None:
        """Post until canceled; what is being said then may be finished."""
        await self._lanes.run(woken, look_every=_LOOKS_AGAIN)

    async def work(self) -> int:
        """Post what is due; return how many posts that was."""
        return await self._lanes.work()

    async def _lane(self, rows: Sequence[Any]) -> None:
        """Say the posts of one chat or topic in order; what is behind one that has to wait waits with it."""
        for number, row in enumerate(rows):
            if not await self._one(row):
                await self._later(rows[number + 1 :], 0)
                return

    async def _later(self, rows: Sequence[Any], seconds: float) -> None:
        """Give rows back as if they had not been claimed, not to be taken before some seconds are over."""
        if not rows:
            return
        async with self._hub.database.transaction() as session:
            at = self._hub.clock.now() + timedelta(seconds=seconds)
            await self._queue.release(session, rows, now=at)

    async def _one(self, row: Any) -> bool:
        """Say one post; False if it has to wait, and what is behind it in its lane with it."""
        quiet = self._paused.get(row.connection_id, 0.0) - time.monotonic()
        if quiet > 0:
            await self._later([row], quiet)
            return False
        try:
            found = await self._prepare(row)
            if isinstance(found, _Wait):
                await self._later([row], found.seconds)
                return False
            if isinstance(found, _Nothing):
                await self._done(row, None, (), found.because)
                return True
            async with asyncio.timeout(_LONGEST):
                refs = await self._say(found)
        except ChannelError as error:
            return await self._failed(row, error)
        except TimeoutError:
            return await self._failed(row, Temporary("The messenger did not answer in time"))
        except Exception as error:  # a fault of ours: kept, tried again, and in the end given up
            log.exception("desk_post_failed", post_id=row.id)
            return await self._failed(row, Temporary(f"{type(error).__name__}: {error}"))
        await self._done(row, found, refs, "")
        return True

    # --- before ---

    async def _prepare(self, row: Any) -> _Ready | _Wait | _Nothing:
        hub = self._hub
        live = hub.switchboard.by_id(row.connection_id)
        if live is None:
            await hub.switchboard.refresh()
            live = hub.switchboard.by_id(row.connection_id)
        if live is None or not isinstance(live.channel, Messenger):
            return _Nothing("The desk is not connected any more")
        if live.paused_because is not None:
            return _Wait(30)
        async with hub.database.reading() as session:
            post = await session.get(DeskPost, row.id)
            if post is None or post.due_at is None or post.attempts != row.attempts:
                raise jobs.Lost(f"desk post {row.id}")
            if post.purpose == "topic":
                topic = await session.get_one(DeskTopic, post.topic_id)
                wanted = await topics.wanted(session, hub, topic)
        if post.purpose == "topic":
            await self._bring_topic(live, topic, wanted)
            return _Nothing()
        place = await self._place(live, post)
        if place is None:
            return _Nothing("Its topic is not wanted any more")
        async with hub.database.reading() as session:
            of = post if post.target_id is None else await session.get(DeskPost, post.target_id)
            if of is None or (post.target_id is not None and not of.refs):
                return _Nothing()
            user = None if of.user_id is None else await session.get(User, of.user_id)
            if of.user_id is not None and (user is None or not user.is_active):
                return _Nothing("They do not work here any more")
            desk = Desk(session, hub, await reader_for(session, user, now=hub.clock.now()))
            shown = await cards.MAKERS[of.purpose](desk, of)
            if shown is None:
                return _Nothing("What it was about is no more")
            digest = hashlib.blake2b(repr(shown.card).encode("utf-8", "replace"), digest_size=12).hexdigest()
            if post.target_id is not None:
                if digest == of.shown or not live.channel.abilities.edits:
                    return _Nothing()
                shown_at = place if of.topic_id is not None else Place(of.chat, of.thread)
                return _Ready(live, live.channel, shown_at, shown.card, (), "", of.id, of.refs[0], digest)
            waits = [file for file in shown.files if file.state == FileState.PENDING]
            if waits and hub.clock.now() - post.created_at < _FILES_WAIT:
                return _Wait(0.5)
            files = tuple([file for one in shown.files if (file := await self._file(session, one)) is not None])
            card = await places.is_quiet_now(session, of, shown.card, desk.reader)
            place, reply_to = await places.within(session, of, place, live.channel.abilities)
        return _Ready(live, live.channel, place, _with_missing(card, shown, files), files, reply_to, of.id, "", digest)

    async def _place(self, live: Live, post: DeskPost) -> Place | None:
        """Return where a post goes; its topic is made, or made again, if it is not there."""
        if post.topic_id is None:
            return Place(post.chat, post.thread)
        async with self._hub.database.reading() as session:
            topic = await session.get(DeskTopic, post.topic_id)
            if topic is None:
                return None
            wanted = await topics.wanted(session, self._hub, topic)
        if topic.thread is None:
            await self._bring_topic(live, topic, wanted)
        return Place(topic.chat, topic.thread or "")

    async def _bring_topic(self, live: Live, topic: DeskTopic, wanted: topics.Wanted) -> None:
        """Bring a topic to what it should be: make it, rename it, close or re-open it."""
        hub, channel = self._hub, live.channel
        if not isinstance(channel, Topics):
            raise Undeliverable(f"{live.title} has no topics")
        tools = self._tools(live)
        if topic.thread is None:
            thread = await channel.open_topic(topic.chat, wanted.name, tools)
            topic.thread, topic.name, topic.is_open = thread, wanted.name, True
        elif (wanted.name, wanted.is_open) != (topic.name, topic.is_open):
            await channel.change_topic(
                Place(topic.chat, topic.thread),
                tools,
                name=wanted.name if wanted.name != topic.name else None,
                is_open=wanted.is_open if wanted.is_open != topic.is_open else None,
            )
            topic.name, topic.is_open = wanted.name, wanted.is_open
        else:
            return
        async with hub.database.transaction() as session:
            await session.execute(
                update(DeskTopic)
                .where(DeskTopic.id == topic.id)
                .values(thread=topic.thread, name=topic.name, is_open=topic.is_open)
            )

    async def _file(self, session: AsyncSession, row: Attachment) -> OutgoingFile | None:
        if row.file_id is None:
            return None
        hub = self._hub
        stored = await session.get_one(StoredFile, row.file_id)
        url = ""
        if hub.settings.public_url:
            url = f"{hub.public_url}/files/shared/{hub.files.ticket(row.id, until=hub.clock.now() + FETCH_LASTS)}"

        def read() -> AsyncIterator[bytes]:
            return hub.files.read(stored.path)

        return OutgoingFile(row.name, stored.content_type, stored.size, cast(MediaKind, row.kind), url, read)

    def _tools(self, live: Live) -> Tools:
        return tools_for(self._hub.web, live, now=self._hub.clock.now, public_url=self._hub.public_url)

    # --- the call, and after ---

    async def _say(self, found: _Ready) -> tuple[str, ...]:
        tools = self._tools(found.live)
        if found.edits:
            await found.messenger.edit(found.place, found.edits, found.card, tools)
            return ()
        return await found.messenger.post(found.place, found.card, tools, files=found.files, reply_to=found.reply_to)

    async def _done(self, row: Any, found: _Ready | None, refs: tuple[str, ...], because: str) -> None:
        async with self._hub.database.transaction() as session:
            post = await self._held(session, row)
            if post.target_id is not None or post.purpose == "topic":
                if found is not None:
                    await session.execute(update(DeskPost).where(DeskPost.id == found.of).values(shown=found.digest))
                await session.delete(post)
                return
            post.due_at, post.error = None, because or None
            if found is not None:
                post.posted_at, post.shown = self._hub.clock.now(), found.digest
                if post.topic_id is None:
                    post.thread = found.place.thread
                await name_post(session, post, list(refs))

    async def _held(self, session: AsyncSession, row: Any) -> DeskPost:
        post: DeskPost | None = await session.scalar(
            select(DeskPost).where(DeskPost.id == row.id, DeskPost.attempts == row.attempts).with_for_update()
        )
        if post is None or post.due_at is None:
            raise jobs.Lost(f"desk post {row.id}")
        return post

    async def _failed(self, row: Any, error: ChannelError) -> bool:
        """Note why a post was not said, and decide what happens; False if its lane has to wait."""
        hub = self._hub
        if isinstance(error, Throttled):
            wait = error.retry_after or 1.0
            self._paused[row.connection_id] = max(self._paused.get(row.connection_id, 0.0), time.monotonic() + wait)
            await self._later([row], wait)
            return False
        log.info("desk_post_refused", post_id=row.id, error=str(error)[:200], kind=type(error).__name__)
        async with hub.database.transaction() as session:
            now = hub.clock.now()
            # the group before the post, as everybody who takes both does
            group = (
                await topics.hold(session, row.connection_id, row.chat) if isinstance(error, RecipientGone) else None
            )
            post = await self._held(session, row)
            if isinstance(error, PlaceGone) and post.topic_id is not None and row.attempts < 5:
                await topics.lost(session, post.topic_id)
                post.due_at, post.attempts = now, post.attempts
                await jobs.wake(session, DeskPost.__tablename__)
                return False
            if isinstance(error, PeerMoved):
                await places.moved(session, post.connection_id, post.chat, error.new_peer)
                post.due_at = now
                await jobs.wake(session, DeskPost.__tablename__)
                return False
            if isinstance(error, RecipientGone) and post.target_id is None:
                await linking.reach(session, post.connection_id, post.chat, is_reachable=False)
                if group is not None:
                    await topics.unusable(session, group, str(error), at=now)
            if isinstance(error, Undeliverable):
                if post.target_id is not None or post.purpose == "topic":
                    await session.delete(post)
                elif post.topic_id is not None and post.due_at is not None:
                    await topics.bring_elsewhere(session, [post], str(error), at=now)
                else:
                    post.due_at, post.error = None, str(error)[:500]
                return True
            again = 60.0 if isinstance(error, Misconfigured) else getattr(error, "retry_after", None)
            failure = Failure(row.id, row.attempts, str(error), retry_after=again)
            await self._queue.fail(session, [failure], now=now)
        return False


def _with_missing(card: Card, shown: Shown, files: Sequence[OutgoingFile]) -> Card:
    """Return the card with the names of the files that could not be had."""
    missing = [file.name for file in shown.files if file.file_id is None]
    if not missing:
        return card
    footer = "\n".join(part for part in (card.footer, *(f"📎 {name} ⚠️" for name in missing)) if part)
    return Card(card.title, card.lines, card.words, footer, card.keys, card.is_quiet)


async def forget_old(session: AsyncSession, *, before: Any) -> None:
    """Forget posts that nobody will answer any more."""
    await session.execute(text("DELETE FROM desk_posts WHERE created_at < :before"), {"before": before})
