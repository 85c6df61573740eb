"""The worker's loops: that they end when they are told to."""

from __future__ import annotations

import asyncio

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


def _waited_for(event: asyncio.Event) -> bool:
    return bool(event._waiters)
