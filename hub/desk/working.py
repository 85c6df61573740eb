"""Working: takes what our people did at the desk off its queue, and has it done by `hub.desk.hearing`.

Each thing is a row of `desk_updates`; doing it and deleting the row are one transaction, so that whoever stops on
whichever line, an answer is given once. Only what a press came to is said outside, in passing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete

from channels.contract import Fetcher
from channels.desk_contract import DeskEvent, DeskPressed, DeskSaid, Messenger
from channels.errors import ChannelError, Misconfigured, Temporary, Undeliverable
from core.kernel import jobs
from core.kernel.jobs import Failure
from hub.app import Hub
from hub.connections import Live
from hub.database import finished
from hub.desk import hearing, updates
from hub.desk.doing import Answer
from hub.desk.hearing import TooEarly
from hub.desk.records import DeskUpdate, updates_queue
from hub.files import Kept
from hub.lanes import LaneWorker
from hub.web_client import tools_for

log = structlog.get_logger(__name__)

AT_ONCE = 20
_LOOKS_AGAIN = 0.5
_FINISHES_WITHIN = 5.0  # seconds
_MOST_FILE = 50_000_000  # bytes
_A_MOMENT = timedelta(seconds=0.2)


class Hearer:
    """Works off `desk_updates`: chats side by side, each in order."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._queue = updates_queue()
        self._lanes = LaneWorker(hub, self._queue, self._lane, at_once=AT_ONCE, finishes=_FINISHES_WITHIN)

    async def run(self, woken: asyncio.Event) -> None:
        """Do what people want until canceled; what has been begun is finished."""
        await self._lanes.run(woken, look_every=_LOOKS_AGAIN)

    async def work(self) -> int:
        """Do what is due; return how many things that was."""
        return await self._lanes.work()

    async def _lane(self, rows: Sequence[Any]) -> None:
        """Do what was done in one chat or topic in order; what is behind one that has to wait waits with it."""
        for number, row in enumerate(rows):
            if not await self._one(row):
                async with self._hub.database.transaction() as session:
                    await self._queue.release(session, rows[number + 1 :], now=self._hub.clock.now())
                return

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
        except TooEarly:
            async with hub.database.transaction() as session:
                await self._queue.release(session, [row], now=hub.clock.now() + _A_MOMENT)
            return False
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
            async with asyncio.timeout(10):
                await live.channel.confirm(event.press, tools, text=answer.text[:200], is_alert=answer.is_alert)
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
            return await hearing.do(session, hub, live, event, kept)
