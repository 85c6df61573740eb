"""Lanes at work: takes what is due off a queue, and has it done, lanes side by side and each in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from core.kernel import jobs
from core.kernel.jobs import LaneQueue
from core.kernel.waiting import woken
from hub.app import Hub
from hub.database import finished

log = structlog.get_logger(__name__)

_AFTER_TROUBLE = 1.0  # seconds
_GATHERS = 0.03
"""Seconds between two claims while more than half is in hand: one claim costs as much for one row as for fifty."""


class LaneWorker:
    """Works a queue off. One lane that takes its time, or waits for somebody outside, holds up no other.

    do         what is done with the rows of one lane, in order. What it raises is noted, and the lease brings the rows
               back: the database was away, or another worker has them
    at_once    how many rows are in hand at most
    finishes   for how many seconds what has been begun may go on when the worker is canceled
    """

    def __init__(
        self,
        hub: Hub,
        queue: LaneQueue,
        do: Callable[[Sequence[Any]], Awaitable[None]],
        *,
        at_once: int,
        finishes: float,
    ) -> None:
        self._hub, self._queue, self._do = hub, queue, do
        self._at_once, self._finishes = at_once, finishes
        self._in_hand: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wakes = asyncio.Event()

    async def run(self, wakes: asyncio.Event, *, look_every: float) -> None:
        """Work until canceled: at once when woken, else every `look_every` seconds."""
        self._wakes = wakes
        try:
            while True:
                wakes.clear()
                while len(self._tasks) >= self._at_once:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                if len(self._tasks) > self._at_once // 2:
                    await asyncio.sleep(_GATHERS)
                try:
                    if await finished(self._start(self._at_once - len(self._tasks))):
                        continue
                except Exception:
                    log.exception("loop_failed", loop=self._queue.name)
                    await asyncio.sleep(_AFTER_TROUBLE)
                await woken(wakes, look_every)
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._finishes)
            for task in self._tasks:
                task.cancel()

    async def work(self) -> int:
        """Do what is due; return how many rows that was."""
        count = await self._start(self._at_once)
        if self._tasks:
            await asyncio.wait(self._tasks)
        return count

    async def _start(self, most: int) -> int:
        """Claim what is due and begin on it; return how many rows that was."""
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
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(rows)

    async def _lane(self, rows: Sequence[Any]) -> None:
        try:
            await self._do(rows)
        except jobs.Lost:
            log.warning("row_lost_to_another_worker", queue=self._queue.name, ids=[row.id for row in rows])
        except Exception:  # the database is away: the lease brings them back
            log.exception("work_not_noted", queue=self._queue.name, ids=[row.id for row in rows])
        finally:
            self._in_hand.difference_update(row.id for row in rows)
            if len(rows) > 1:  # of so busy a lane more may wait, and nobody else tells of it
                self._wakes.set()
