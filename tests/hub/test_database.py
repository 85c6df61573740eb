"""The way to the database gives its connections back whole, whoever is cut short."""

from __future__ import annotations

import asyncio
import logging

import pytest
from sqlalchemy import text

from hub.database import open_database


@pytest.mark.parametrize("kind", ["reading", "transaction"])
@pytest.mark.parametrize("steps", range(12))
async def test_who_is_canceled_leaves_no_connection_half_closed(database_url, caplog, steps, kind):
    """One connection more than the pool keeps is closed when it is given back: that takes a moment, and may be cut."""
    caplog.set_level(logging.ERROR)
    async with open_database(database_url, pool_size=1) as database:
        opened, go = asyncio.Event(), asyncio.Event()

        async def one_too_many() -> None:
            async with getattr(database, kind)() as session:
                await session.execute(text("SELECT 1"))
                opened.set()
                await go.wait()

        before = asyncio.all_tasks()
        async with database.reading() as first:
            await first.execute(text("SELECT 1"))
            task = asyncio.create_task(one_too_many())
            await opened.wait()
        go.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert asyncio.all_tasks() <= before, "somebody still closes a connection, and nobody waits for it"
    assert not caplog.records
