"""What is done together: in few transactions, and nobody fails for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from hub.together import Together


@pytest.fixture
async def ledger(database):
    """A table in which each number may stand once."""
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE ledger (number int PRIMARY KEY, batch int)"))
    batches: list[int] = []

    async def write(session, numbers: Sequence[int]):
        batches.append(len(numbers))
        for number in numbers:
            await session.execute(
                text("INSERT INTO ledger VALUES (:number, :batch)"), {"number": number, "batch": len(batches)}
            )
        return [LookupError("told to be missing") if number == 404 else number * 2 for number in numbers]

    return Together(database, write), batches


async def written(database) -> list[int]:
    async with database.reading() as session:
        return list(await session.scalars(text("SELECT number FROM ledger ORDER BY number")))


async def test_what_is_asked_for_at_once_is_done_in_few_transactions_and_told_to_whoever_asked(database, ledger):
    together, batches = ledger
    assert await asyncio.gather(*(together(number) for number in range(120))) == [n * 2 for n in range(120)]
    assert await written(database) == list(range(120))
    assert sum(batches) == 120
    assert len(batches) < 10
    assert await together(500) == 1000


async def test_one_that_cannot_be_done_fails_alone(database, ledger):
    together, _ = ledger
    await together(7)
    results = await asyncio.gather(*(together(number) for number in (6, 7, 8, 404)), return_exceptions=True)
    assert results[0::2] == [12, 16]
    assert "duplicate key" in str(results[1])
    assert isinstance(results[3], LookupError), "it was done, and what came of it is an error"
    assert await written(database) == [6, 7, 8, 404]


async def test_a_database_that_is_away_is_found_out_once(database):
    tries = 0

    async def do(session, numbers: Sequence[int]):
        nonlocal tries
        tries += 1
        victim = await session.scalar(text("SELECT pg_backend_pid()"))
        async with database.reading() as other:
            await other.execute(text("SELECT pg_terminate_backend(:victim)"), {"victim": victim})
        await session.execute(text("SELECT 1"))
        return list(numbers)

    together = Together(database, do)
    results = await asyncio.gather(*(together(number) for number in range(5)), return_exceptions=True)
    assert tries == 1
    assert all(isinstance(result, Exception) for result in results)


async def test_who_leaves_while_it_is_done_takes_nobody_along(database, ledger):
    together, _ = ledger
    first, second = (asyncio.create_task(together(number)) for number in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 4
    assert first.cancelled()
    assert await written(database) == [1, 2]
