"""The worker: every loop that runs beside the web, each ended together and none able to stop another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import text

from channels.errors import Temporary, Undeliverable
from core.kernel import events, jobs
from core.kernel.jobs import Failure
from core.kernel.waiting import end, woken
from core.people.contacts import PROFILE
from core.people.merging import MERGE_ATTESTED
from core.staff import presence
from core.talk import calls, conversations, statuses, viewings
from core.talk.attachments import FETCH
from core.talk.outbox import outbox_queue
from core.work import call_outcomes, escalation, routing
from hub import care, fetching, mail, metrics, notices, sending_outcomes, telephony
from hub.app import Hub
from hub.connections import SETUP
from hub.database import finished
from hub.desk import digests, letters, refusals, telling
from hub.desk.posting import Poster, forget_old
from hub.desk.records import posts_queue, updates_queue
from hub.desk.working import Hearer
from hub.exchange import BATCH, Exchange
from hub.lanes import LaneWorker
from hub.listeners import Listeners
from hub.sending import Outbox
from hub.understanding import ENRICH

log = structlog.get_logger(__name__)

JOBS_AT_ONCE = 20
_FINISHES_WITHIN = 5.0  # seconds
_IDLE = 1.0  # seconds to the next look when nothing woke us
_BUSY_DOOR = 10  # requests in one step aside: 500 a second
_STEP_ASIDE = 0.02  # seconds
_STEPS_ASIDE = 25
_KEEP_IDEMPOTENCY = timedelta(days=2)
_KEEP_EXCHANGES = timedelta(days=14)
_KEEP_UNSENT = timedelta(days=2)
_KEEP_POSTS = timedelta(days=90)

Handler = Callable[..., Awaitable[None]]


HANDLERS: dict[str, Handler] = {
    notices.MAIL: mail.send_notification,
    letters.ANSWER: letters.answer,
    refusals.REFUSAL: refusals.tell_refused,
    FETCH: fetching.fetch_attachment,
    PROFILE: fetching.ask_name,
    MERGE_ATTESTED: fetching.merge_attested,
    ENRICH: fetching.enrich,
    SETUP: care.set_up,
    calls.FETCH: telephony.fetch_recording,
    calls.PLACE: telephony.place_call,
    call_outcomes.AFTER_HOURS: telephony.tell_after_hours,
}
"""What each kind of job does. A handler bears being repeated."""


@asynccontextmanager
async def running(hub: Hub, *, works: bool = True, listens: bool = True) -> AsyncIterator[None]:
    """Run the loops for the length of the block: those every node needs, with `works` the worker's own, with `listens`
    the lines kept open to providers.
    """
    listeners = Listeners(hub)
    outbox = Outbox(hub, runs=listeners.runs)
    loops: list[Coroutine[Any, Any, None]] = [
        hub.signals.run(),
        hub.live.run(),
        _forever("connections", lambda: _refresh(hub), hub.connections_changed, 30),
    ]
    if listens:
        loops.append(listeners.run())
    if works or listens:
        # a listener's process sends too: some channels send over the line it holds
        loops.append(outbox.run(hub.sending_waits))
    if works:
        loops += [
            _forever("snoozed", lambda: wake_snoozed(hub), None, _IDLE),
            _deliveries(hub),
            _forever("recovery", lambda: recover(hub), None, 2),
            JobRunner(hub).run(hub.work_waits),
            _forever("notices", lambda: take_notices(hub), hub.diary_grew, _IDLE),
            _forever("deadlines", lambda: run_deadlines(hub), None, _IDLE),
            _forever("waiting", lambda: offer_waiting(hub), None, 5),
            _forever("presence", lambda: come_back(hub), None, 5),
            _forever("digests", lambda: digests.give_due(hub), None, 30),
            _forever("desk", lambda: tell_desk(hub), hub.desk_news, _IDLE),
            Hearer(hub).run(hub.desk_waits),
            Poster(hub).run(hub.posts_wait),
            _forever("silent calls", lambda: telephony.end_silent(hub), None, 60),
            _forever("sweep", lambda: _sweep(hub), None, 3600),
        ]
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        await end(*tasks)


async def _forever(
    name: str, work: Callable[[], Awaitable[int | bool]], wakes: asyncio.Event | None, every: float
) -> None:
    """Do a piece of work again and again: at once while there is more, else when woken or after `every` seconds."""
    while True:
        if wakes is not None:
            wakes.clear()
        try:
            if await finished(work()):
                continue
        except Exception:
            log.exception("loop_failed", loop=name)
            await asyncio.sleep(_IDLE)
            continue
        if wakes is None:
            await asyncio.sleep(every)
        else:
            await woken(wakes, every)


async def _deliveries(hub: Hub) -> None:
    """Work off deliveries, but let requests at the door become durable first: for at most half a second a round.

    While there is much to do, the next batch is claimed and read while PostgreSQL writes the one before.
    """
    exchange = Exchange(hub.database, hub.switchboard, hub.clock)
    under_way: set[asyncio.Task[None]] = set()
    taken = hub.ingress.taken

    async def work() -> int:
        nonlocal taken
        for _ in range(_STEPS_ASIDE):
            before, taken = taken, hub.ingress.taken
            if taken - before < _BUSY_DOOR:
                break
            await asyncio.sleep(_STEP_ASIDE)
        rows = await exchange.claim(hub.worker_id)
        if len(rows) < BATCH and not under_way:
            await exchange.settle(rows)
        elif rows:
            task = asyncio.create_task(exchange.settle(rows))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            if len(under_way) > 1:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        return len(rows)

    try:
        await _forever("deliveries", work, hub.delivered, _IDLE)
    finally:
        await asyncio.gather(*under_way, return_exceptions=True)


async def recover(hub: Hub) -> int:
    """Free what dead workers had in hand; return how many rows that was."""
    async with hub.database.transaction() as session:
        now = hub.clock.now()
        freed = await Exchange(hub.database, hub.switchboard, hub.clock).queue.recover(session, now=now)
        freed += await jobs.jobs_queue().recover(session, now=now)
        freed += await outbox_queue().recover(session, now=now)
        freed += await posts_queue().recover(session, now=now)
        freed += await updates_queue().recover(session, now=now)
    if freed:
        log.warning("work_recovered", rows=freed)
        hub.delivered.set()
        hub.work_waits.set()
        hub.sending_waits.set()
        hub.desk_waits.set()
        hub.posts_wait.set()
    return 0


class JobRunner:
    """Does the jobs of the queue, lanes side by side and each in order: a file that takes its time to come holds up no
    call that somebody wants placed.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._queue = jobs.jobs_queue()
        self._lanes = LaneWorker(hub, self._queue, self._lane, at_once=JOBS_AT_ONCE, finishes=_FINISHES_WITHIN)

    async def run(self, woken: asyncio.Event) -> None:
        """Do jobs until canceled; what has been begun is finished."""
        await self._lanes.run(woken, look_every=_IDLE)

    async def work(self) -> int:
        """Do what is due; return how many jobs that was."""
        return await self._lanes.work()

    async def _lane(self, rows: Sequence[Any]) -> None:
        """Do the jobs of one lane; what is behind one that failed is given back and waits with it."""
        hub, queue = self._hub, self._queue
        for number, row in enumerate(rows):
            failure = await self._do(row)
            async with hub.database.transaction() as session:
                if failure is None:
                    await jobs.finish(session, row.id, row.attempts)
                    continue
                log.warning("job_postponed", job_id=row.id, kind=row.kind, error=failure.error)
                if not failure.is_final:
                    await queue.release(session, rows[number + 1 :], now=hub.clock.now())
                await queue.fail(session, [failure], now=hub.clock.now())
                if not failure.is_final:
                    return

    async def _do(self, row: Any) -> Failure | None:
        failure: Failure | None = None
        try:
            handler = HANDLERS.get(row.kind)
            if handler is None:
                raise Undeliverable(f"Nobody knows how to do a job of kind {row.kind}")
            await handler(self._hub, **row.args)
        except Temporary as error:
            failure = Failure(row.id, row.attempts, str(error), retry_after=error.retry_after)
        except Undeliverable as error:
            failure = Failure(row.id, row.attempts, str(error), is_final=True)
        except Exception as error:  # the job is kept and tried again; nobody else suffers
            log.exception("job_failed", job_id=row.id, kind=row.kind, attempts=row.attempts)
            failure = Failure(row.id, row.attempts, f"{type(error).__name__}: {error}")
        metrics.JOBS.labels(row.kind, "failed" if failure else "done").inc()
        return failure


async def run_deadlines(hub: Hub) -> int:
    """Do the reminders, breaches and escalations that have fallen due; return how many."""
    async with hub.database.transaction() as session:
        return await escalation.run_due(session, now=hub.clock.now())


async def wake_snoozed(hub: Hub) -> int:
    """Bring back the conversations whose time has come; return how many."""
    async with hub.database.transaction() as session:
        return await conversations.wake_due(session, now=hub.clock.now())


async def offer_waiting(hub: Hub) -> int:
    """Give leads that wait for somebody to whoever is there by now; return how many."""
    async with hub.database.transaction() as session:
        return await routing.offer_waiting(session, at=hub.clock.now())


async def come_back(hub: Hub) -> int:
    """Make those available who said until when they are away, once that has passed; return how many."""
    async with hub.database.transaction() as session:
        return await presence.come_back(session, now=hub.clock.now())


async def take_notices(hub: Hub) -> bool:
    """Tell people what the diary holds for them; say whether there is more."""
    async with hub.database.transaction() as session:
        return await notices.take(session, now=hub.clock.now(), has_mail=hub.settings.mail_server() is not None)


async def tell_desk(hub: Hub) -> bool:
    """Write down what people are to be told in their messengers; say whether there is more."""
    async with hub.database.transaction() as session:
        return await telling.take(session, hub)


async def _refresh(hub: Hub) -> int:
    await hub.switchboard.refresh()
    return 0


async def _sweep(hub: Hub) -> int:
    """Forget what is of no use any more."""
    now = hub.clock.now()
    async with hub.database.transaction() as session:
        await session.execute(text("DELETE FROM sessions WHERE expires_at < :now"), {"now": now})
        await session.execute(
            text("DELETE FROM idempotency_keys WHERE created_at < :before"), {"before": now - _KEEP_IDEMPOTENCY}
        )
        await session.execute(text("DELETE FROM claims WHERE ids = '{}'"))
        await statuses.forget_early(session, now=now)
        await sending_outcomes.forget_exchanges(session, before=now - _KEEP_EXCHANGES)
        await session.execute(text("DELETE FROM viewings WHERE at < :before"), {"before": now - viewings.FRESH})
        await session.execute(
            text("DELETE FROM attachments WHERE message_id IS NULL AND created_at < :before"),
            {"before": now - _KEEP_UNSENT},
        )
        await forget_old(session, before=now - _KEEP_POSTS)
        await digests.forget_old(session, now=now)
        forgotten = await telephony.forget_recordings(session, now=now)
    for path in forgotten:
        await hub.files.forget(path)
    return 0


async def drain(hub: Hub) -> None:
    """Do everything that is due now, as a worker would, and return when nothing is left. For tests and the demo."""
    exchange = Exchange(hub.database, hub.switchboard, hub.clock)
    runner = JobRunner(hub)
    outbox, hearer, poster = Outbox(hub), Hearer(hub), Poster(hub)
    while (
        await exchange.work(hub.worker_id)
        or await run_deadlines(hub)
        or await take_notices(hub)
        or await runner.work()
        or await outbox.work()
        or await hearer.work()
        or await come_back(hub)
        or await digests.give_due(hub)
        or await tell_desk(hub)
        or await poster.work()
        or await wake_snoozed(hub)
        or await _waits_for_others(hub)
    ):
        pass


async def _waits_for_others(hub: Hub) -> bool:
    """Whether the diary holds something back until an older transaction, of whatever database, has ended."""
    async with hub.database.reading() as session:
        behind = await events.is_behind(session, notices.READER) or await events.is_behind(session, telling.READER)
    if behind:
        await asyncio.sleep(0.01)
    return behind
