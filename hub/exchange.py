"""The exchange: takes deliveries off the queue, has their channel read them and hands them to intake, in batches.

What intake makes of a batch and the settling of its deliveries are one transaction, and the settling checks that the
batch is still ours. So a delivery is understood exactly once, whoever dies when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import jobs
from core.kernel.clock import Clock
from core.kernel.db import json_text
from core.kernel.envelopes import Event
from core.kernel.jobs import Failure, LaneQueue
from hub.connections import Switchboard
from hub.database import Database
from hub.understanding import Heard, understand
from webhooks.deliveries import Delivery, DeliveryState, request_of
from webhooks.errors import Unsupported, WebhookError

log = structlog.get_logger(__name__)

BATCH = 400
"""Deliveries understood in one transaction. What a batch costs by itself (some 10 ms) is then 25 µs of each."""

_TAKE_BREATH = 50
_SMALL_BODY = 64 * 1024  # bytes
_SMALL_BODIES = text("SELECT id, body FROM deliveries WHERE id = ANY(:ids) AND octet_length(body) <= :most")
_NOTE_EVERY = timedelta(seconds=15)
_NOTE_USE = text(
    "UPDATE connections c SET last_received_at = v.at "
    "FROM unnest(CAST(:ids AS bigint[]), CAST(:moments AS timestamptz[])) AS v(id, at) "
    "WHERE c.id = v.id AND (c.last_received_at IS NULL OR c.last_received_at < v.at)"
)
_BODY = text("SELECT body FROM deliveries WHERE id = :id")
LEASE = timedelta(seconds=60)


class _Read(NamedTuple):
    """A delivery and what its channel made of it; `state` is set where there is nothing for intake to do."""

    row: Any
    events: Sequence[Event] = ()
    state: DeliveryState | None = None
    error: str | None = None


class Exchange:
    """Works off the deliveries of all connections."""

    def __init__(self, database: Database, switchboard: Switchboard, clock: Clock, *, batch: int = BATCH) -> None:
        self._database = database
        self._batch = batch
        self._switchboard = switchboard
        self._clock = clock
        table = Delivery.__table__
        assert isinstance(table, Table)
        self.queue = LaneQueue(table, ("connection_id", "received_at", "request"), lease=LEASE)
        self._in_hand: set[int] = set()
        self._noted: dict[int, datetime] = {}

    async def work(self, worker_id: int) -> int:
        """Claim a batch and work it off; return how many deliveries it had, 0 if nothing was due."""
        rows = await self.claim(worker_id)
        await self.settle(rows)
        return len(rows)

    async def claim(self, worker_id: int) -> list[Any]:
        """Take what is due, at most a batch of deliveries, for the length of a lease."""
        async with self._database.transaction() as session:
            rows = await self.queue.claim(
                session, worker_id=worker_id, now=self._clock.now(), limit=self._batch, in_hand=self._in_hand
            )
        self._in_hand.update(row.id for row in rows)
        return rows

    async def settle(self, rows: Sequence[Any]) -> None:
        """Read claimed deliveries and have intake understand them. Two batches may be settled side by side."""
        if not rows:
            return
        try:
            if any(self._switchboard.by_id(row.connection_id) is None for row in rows):
                await self._switchboard.refresh()  # added a moment ago, on another node
            await self._settle(await self._read_all(rows))
            await self._note_use(rows)
        finally:
            self._in_hand.difference_update(row.id for row in rows)

    async def _note_use(self, rows: Sequence[Any]) -> None:
        """Note when each connection last brought something: apart from the batch, and to the quarter of a minute."""
        latest: dict[int, datetime] = {}
        for row in rows:
            noted = self._noted.get(row.connection_id)
            if noted is None or row.received_at - noted > _NOTE_EVERY:
                latest[row.connection_id] = max(row.received_at, latest.get(row.connection_id, row.received_at))
        if not latest:
            return
        self._noted |= latest
        async with self._database.transaction() as session:
            await session.execute(_NOTE_USE, {"ids": list(latest), "moments": list(latest.values())})

    async def _read_all(self, rows: Sequence[Any]) -> list[_Read]:
        """Have each delivery read by its channel. Large bodies are fetched one at a time, so that a batch fits in
        memory.
        """
        async with self._database.reading() as session:
            small = await session.execute(_SMALL_BODIES, {"ids": [row.id for row in rows], "most": _SMALL_BODY})
            bodies = {row.id: row.body for row in small}
        read: list[_Read] = []
        for number, row in enumerate(rows, 1):
            if row.id in bodies:
                read.append(self._read(row, bodies[row.id]))
            else:
                async with self._database.reading() as session:
                    body = await session.scalar(_BODY, {"id": row.id})
                # Pure, and long enough to keep everybody else waiting.
                read.append(await asyncio.to_thread(self._read, row, body or b""))
            if number % _TAKE_BREATH == 0:
                await asyncio.sleep(0)  # the door and the pages share this event loop
        return read

    def _read(self, row: Any, body: bytes) -> _Read:
        live = self._switchboard.by_id(row.connection_id)
        if live is None:
            problem = "The channel was removed or cannot be used; replay after mending it"
            return _Read(row, state=DeliveryState.DEAD, error=problem)
        if live.receiver is None:
            return _Read(row, state=DeliveryState.DEAD, error=f"A channel of kind {live.kind} receives no requests")
        try:
            found = live.receiver.parse(request_of(row.request, body), live.context(row.received_at))
        except Unsupported as error:
            return _Read(row, state=DeliveryState.IGNORED, error=str(error))
        except WebhookError as error:
            return _Read(row, state=DeliveryState.DEAD, error=str(error))
        except Exception as error:  # a fault of ours: the request is kept, to be replayed once it is mended
            log.exception("delivery_unreadable", delivery_id=row.id, connection_id=row.connection_id)
            problem = f"Could not be read ({type(error).__name__}); replay after an update"
            return _Read(row, state=DeliveryState.DEAD, error=problem)
        return _Read(row, events=found) if found else _Read(row, state=DeliveryState.IGNORED)

    async def _settle(self, batch: Sequence[_Read], behind: Sequence[Any] = ()) -> bool:
        """Understand and settle a batch in one transaction; False if that failed.

        A batch that fails is undone and each delivery tried alone, so that one harms no other. What is `behind` a
        failed one in its lane is given back and waits with it, so that one person's messages keep their order.
        """
        try:
            async with self._database.transaction() as session:
                outcomes = await self._understand(session, batch)
                await _mark(session, batch, outcomes)
        except jobs.Lost:
            log.warning("batch_lost", deliveries=len(batch))
        except Exception as error:  # whatever it was, it is noted at the delivery
            if len(batch) == 1:
                await self._fail(batch[0], error, behind)
            else:
                log.warning("batch_failed", deliveries=len(batch), error=repr(error)[:500])
                await self._settle_one_by_one(batch)
            return False
        return True

    async def _settle_one_by_one(self, batch: Sequence[_Read]) -> None:
        held: set[str] = set()
        for number, read in enumerate(batch):
            lane = read.row.lane
            if lane in held:
                continue
            behind = [later.row for later in batch[number + 1 :] if later.row.lane == lane]
            if not await self._settle([read], behind):
                held.add(lane)

    async def _understand(self, session: AsyncSession, batch: Sequence[_Read]) -> list[list[dict[str, Any]]]:
        heard: list[Heard] = []
        for read in batch:
            live = self._switchboard.by_id(read.row.connection_id)
            if live is None:
                continue
            heard.extend(Heard(read.row.id, read.row.received_at, live, event) for event in read.events)
        told = await understand(session, self._switchboard, heard, now=self._clock.now()) if heard else []
        by_delivery: dict[int, list[dict[str, Any]]] = {}
        for item, said in zip(heard, told, strict=True):
            by_delivery.setdefault(item.delivery_id, []).append(said)
        return [by_delivery.get(read.row.id, []) for read in batch]

    async def _fail(self, read: _Read, error: Exception, behind: Sequence[Any]) -> None:
        log.error("delivery_failed", delivery_id=read.row.id, attempts=read.row.attempts, exc_info=error)
        failure = Failure(read.row.id, read.row.attempts, f"{type(error).__name__}: {error}")
        async with self._database.transaction() as session:
            await self.queue.release(session, behind, now=self._clock.now())
            given_up = await self.queue.fail(session, [failure], now=self._clock.now())
            await session.execute(
                text("UPDATE deliveries SET state = :state WHERE id = :id AND attempts = :attempts"),
                {
                    "id": read.row.id,
                    "attempts": read.row.attempts,
                    "state": DeliveryState.DEAD if given_up else DeliveryState.FAILED,
                },
            )


_MARK = """
UPDATE deliveries d SET state = v.state, due_at = NULL, error = v.error,
       events = CASE WHEN v.is_known THEN coalesce(d.events, v.events::jsonb) ELSE v.events::jsonb END
FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::bool[])
     AS v(id, attempts, state, error, events, is_known)
WHERE d.id = v.id AND d.attempts = v.attempts AND d.due_at IS NOT NULL
RETURNING d.id
"""


async def _mark(session: AsyncSession, batch: Sequence[_Read], outcomes: Sequence[Sequence[dict[str, Any]]]) -> None:
    """Note what became of each delivery. A replay that found everything known leaves what was noted the first time.

    Raises:
        Lost: a delivery was taken over by another worker; nothing of the batch may stay.
    """
    columns = (
        [read.row.id for read in batch],
        [read.row.attempts for read in batch],
        [(read.state or DeliveryState.PROCESSED).value for read in batch],
        [read.error for read in batch],
        [json_text(list(results) or None) for results in outcomes],
        [bool(results) and all(told["kind"] == "message.repeated" for told in results) for results in outcomes],
    )
    marked = list(await (await session.connection()).exec_driver_sql(_MARK, columns))
    if len(marked) != len(batch):
        raise jobs.Lost(f"{len(batch) - len(marked)} deliveries")


async def replay(session: AsyncSession, ids: Sequence[int], *, now: datetime) -> int:
    """Have deliveries read again as if they had just come in; return how many will be.

    What was made of them the first time is not made twice: their messages are recognised.
    """
    rows = await session.execute(
        text(
            "UPDATE deliveries SET state = 'received', due_at = :now, attempts = 0, error = NULL "
            "WHERE id = ANY(:ids) AND (due_at IS NULL OR state = 'failed') RETURNING id"
        ),
        {"ids": list(ids), "now": now},
    )
    count = len(list(rows))
    if count:
        await jobs.wake(session, Delivery.__tablename__)
    return count
