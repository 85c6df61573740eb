"""Waiting on our own loop: nothing that is canceled goes on."""

from __future__ import annotations

import asyncio

from core.kernel.waiting import end, woken


async def test_who_waits_is_told_whether_it_came_or_the_time_was_up():
    event = asyncio.Event()
    assert not await woken(event, 0.01)
    asyncio.get_running_loop().call_soon(event.set)
    assert await woken(event, 60)


async def test_being_woken_and_canceled_in_one_moment_is_being_canceled():
    event = asyncio.Event()
    task = asyncio.create_task(woken(event, 60))
    await asyncio.sleep(0)
    event.set()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_what_forgets_that_it_was_canceled_is_told_again():
    told = 0

    async def forgetful() -> None:
        nonlocal told
        while told < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told += 1

    async def obedient() -> None:
        await asyncio.Event().wait()

    async def at_fault() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("while it ended")

    tasks = [asyncio.create_task(one()) for one in (forgetful, obedient, at_fault)]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await end(*tasks, again=0.01)
    assert all(task.done() for task in tasks)
    assert told == 3
    await end()
