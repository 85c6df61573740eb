"""The worker's loops: that they end when they are told to, and that none waits for another."""

from __future__ import annotations

import asyncio

from core.kernel import jobs
from hub import worker


async def test_a_worker_that_is_woken_in_the_moment_it_is_stopped_stops(hub):
    wakes = (
        hub.work_waits,
        hub.delivered,
        hub.diary_grew,
        hub.sending_waits,
        hub.desk_waits,
        hub.posts_wait,
        hub.desk_news,
        hub.connections_changed,
    )
    async with asyncio.timeout(20):
        async with worker.running(hub):
            while any(event.is_set() or not _waited_for(event) for event in wakes):
                await asyncio.sleep(0.01)
            for event in wakes:  # and nothing of the loop's own between this and the end
                event.set()


async def test_a_job_that_takes_its_time_holds_up_no_other(hub, monkeypatch):
    begun, goes_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def fetch(_hub) -> None:
        begun.set()
        await goes_on.wait()

    async def place(_hub) -> None:
        done.set()

    monkeypatch.setitem(worker.HANDLERS, "test.fetch", fetch)
    monkeypatch.setitem(worker.HANDLERS, "test.place", place)

    async def enqueue(kind: str) -> None:
        async with hub.database.transaction() as session:
            await jobs.enqueue(session, kind, at=hub.clock.now())

    async with worker.running(hub), asyncio.timeout(20):
        await enqueue("test.fetch")
        await begun.wait()
        await enqueue("test.place")
        await done.wait()
        goes_on.set()


async def test_what_comes_for_one_queue_wakes_nobody_who_looks_after_another(hub):
    waits = {
        "jobs": hub.work_waits,
        "deliveries": hub.delivered,
        "outbox": hub.sending_waits,
        "desk_updates": hub.desk_waits,
        "desk_posts": hub.posts_wait,
    }
    async with asyncio.timeout(20):
        for queue, event in waits.items():
            for each in waits.values():
                each.clear()
            async with hub.database.transaction() as session:
                await jobs.wake(session, queue)
            await event.wait()
            assert [name for name, each in waits.items() if each.is_set()] == [queue]
        async with hub.database.transaction() as session:
            await jobs.wake(session, "")
        for event in waits.values():
            await event.wait()


def _waited_for(event: asyncio.Event) -> bool:
    return bool(event._waiters)
