"""Live pages: tells each open browser, over server-sent events, which kinds of things it shows have changed.

What is sent are kinds and ids, never content: the browser fetches what it shows again, under its own rights.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import structlog
from sqlalchemy import select, text

from core.kernel import events
from core.kernel.events import Position, TimelineEvent
from core.staff import access
from core.staff.access import Reach, Rights
from hub import metrics
from hub.database import Database

log = structlog.get_logger(__name__)

TOLD = "switchyard_told"
"""The NOTIFY channel that names, by their ids with commas, people who have a new notification."""

_LOOK_CLOSELY_AFTER = 0.25
_MOST_WAITING = 100


class Stream:
    """One open browser, which hears of what comes after `since` in the diary.

    What it missed because it was slow is replaced by "everything changed".
    """

    def __init__(self, rights: Rights, since: Position) -> None:
        self.rights = rights
        self.since = since
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self.unsure: list[int] = []
        self.looking: asyncio.Task[None] | None = None

    def push(self, event: str, data: dict[str, Any]) -> None:
        """Queue an event for the browser."""
        frame = f"event: {event}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(b'event: changed\ndata: {"kinds":["*"]}\n\n')

    async def frames(self, *, beat: float = 20.0) -> AsyncIterator[bytes]:
        """Yield what is to be sent; a comment every `beat` seconds keeps proxies from hanging up."""
        yield b"retry: 2000\n\n"
        while True:
            try:
                async with asyncio.timeout(beat):
                    frame = await self._queue.get()
            except TimeoutError:
                frame = b": still here\n\n"
            yield frame


class Live:
    """Reads the diary as it grows and tells the streams of this node."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._streams: set[Stream] = set()
        self._grown = asyncio.Event()

    def wake(self, _payload: str = "") -> None:
        """Note that the diary has grown."""
        self._grown.set()

    def told(self, payload: str) -> None:
        """Note that people have new notifications."""
        ids = {int(part) for part in payload.split(",") if part.isdigit()}
        for stream in self._streams:
            if not payload or stream.rights.user_id in ids:
                stream.push("told", {"kinds": ["notification"]})

    @asynccontextmanager
    async def stream(self, rights: Rights, after: Position | None = None) -> AsyncIterator[Stream]:
        """Lend a stream for as long as a browser stays connected; it hears what came `after`, else what is to come."""
        async with self._database.reading() as session:
            now = await events.end(session)
        stream = Stream(rights, now if after is None else min(after, now))
        self._streams.add(stream)
        metrics.STREAMS.inc()
        try:
            # Whatever was written before the stream could be heard of; what is told twice does no harm.
            await self._catch_up(stream)
            yield stream
        finally:
            self._streams.discard(stream)
            metrics.STREAMS.dec()
            if stream.looking is not None:
                stream.looking.cancel()

    async def run(self) -> None:
        """Follow the diary until canceled."""
        position: Position | None = None
        self._grown.set()
        while True:
            await self._grown.wait()
            self._grown.clear()
            try:
                if position is None:
                    async with self._database.reading() as session:
                        position = await events.end(session)
                position = await self._follow(position)
            except Exception:  # a page that is not live must not end the process
                log.exception("live_failed")
                await asyncio.sleep(1)
                self._grown.set()

    async def _catch_up(self, stream: Stream) -> None:
        async with self._database.reading() as session:
            lines, _ = await events.read_after(session, stream.since)
        self._tell(stream, lines)

    async def _follow(self, position: Position) -> Position:
        while True:
            async with self._database.reading() as session:
                if not self._streams:
                    end = await events.end(session)
                    if not self._streams:  # otherwise one was opened meanwhile, and takes what it has not heard
                        return end
                lines, position = await events.read_after(session, position)
                if not lines:
                    if await is_behind(session, position):
                        # Committed, but an older transaction is still under way: look again in a moment.
                        asyncio.get_running_loop().call_later(0.02, self._grown.set)
                    return position
            for stream in self._streams:
                self._tell(stream, lines)

    def _tell(self, stream: Stream, lines: Sequence[Any]) -> None:
        rights = stream.rights
        lines = [line for line in lines if line.transaction >= stream.since.transaction]
        if not lines:
            return
        if rights.reach is Reach.ALL:
            stream.push("changed", _summary(lines))
            return
        mine = [line for line in lines if rights.user_id in (line.user_id, line.actor_id)]
        if mine:
            stream.push("changed", _summary(mine))
        stream.unsure.extend(line.id for line in lines if rights.user_id not in (line.user_id, line.actor_id))
        if stream.unsure and stream.looking is None:
            stream.looking = asyncio.create_task(self._look_closely(stream))

    async def _look_closely(self, stream: Stream) -> None:
        """Ask the database which of other people's events this person may know of: a moment later, for many at once."""
        await asyncio.sleep(_LOOK_CLOSELY_AFTER)
        ids, stream.unsure = stream.unsure[-2000:], []
        stream.looking = None
        async with self._database.reading() as session:
            table = TimelineEvent
            found = list(
                await session.execute(
                    select(table.kind, table.contact_id, table.deal_id, table.lead_id, table.task_id).where(
                        table.id.in_(ids), access.visible(stream.rights, table)
                    )
                )
            )
        if found:
            stream.push("changed", _summary(found))


async def is_behind(session: Any, position: Position) -> bool:
    """Whether there is more after a place, though it may not be certain yet. Ids alone do not tell that."""
    return bool(
        await session.scalar(
            text(
                "SELECT EXISTS (SELECT FROM events "
                "WHERE (transaction, id) > (CAST(CAST(:transaction AS text) AS xid8), :id))"
            ),
            {"transaction": str(position.transaction), "id": position.event_id},
        )
    )


def _summary(lines: Sequence[Any]) -> dict[str, Any]:
    """Return which kinds of records changed and which ones, at most fifty of each."""
    ids: dict[str, list[str]] = {}
    kinds: set[str] = set()
    for line in lines:
        kinds.add(line.kind.partition(".")[0])
        for noun in ("contact", "deal", "lead", "task"):
            value = getattr(line, f"{noun}_id")
            if value is not None:
                kinds.add(noun)
                found = ids.setdefault(noun, [])
                if len(found) < 50 and str(value) not in found:
                    found.append(str(value))
    return {"kinds": sorted(kinds), "ids": ids}
