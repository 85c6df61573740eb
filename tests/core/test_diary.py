"""The diary: no reader ever misses a line or reads one twice, however transactions overlap."""

from __future__ import annotations

import asyncio
import random

import pytest
from sqlalchemy import text

from core.kernel import events
from tests.conftest import MONDAY_TEN


async def _write(session, *kinds):
    await events.write(session, [events.line(kind, MONDAY_TEN, contact_id=1) for kind in kinds])


async def _take(database, reader="test", **more):
    async with database.transaction() as session:
        lines, _ = await events.take(session, reader, **more)
        return [line.kind for line in lines]


async def test_lines_of_a_transaction_come_in_the_order_written(database):
    async with database.transaction() as session:
        await _write(session, "a", "b")
        await _write(session, "c")
    assert await _take(database) == ["a", "b", "c"]
    assert await _take(database) == []


async def test_nothing_is_written_by_a_transaction_that_is_undone(database):
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as session:
            await _write(session, "never")
            raise ZeroDivisionError
    assert await _take(database) == []


async def test_an_older_transaction_that_commits_later_is_not_missed(database):
    async with database.reading() as older:
        await _write(older, "older")
        async with database.transaction() as newer:
            await _write(newer, "newer")
        assert await _take(database) == []  # the newer one waits: reading on past the older would lose it
        await older.commit()
    assert await _take(database) == ["older", "newer"]


async def test_a_transaction_that_wrote_nothing_yet_may_still_write(database):
    async with database.reading() as older:
        await older.execute(text("SELECT pg_current_xact_id()"))
        async with database.transaction() as newer:
            await _write(newer, "newer")
        await _write(older, "older")
        await older.commit()
    assert await _take(database) == ["older", "newer"]


async def test_a_live_reader_goes_by_the_same_order(database):
    async with database.reading() as session:
        position = await events.end(session)
    async with database.reading() as older:
        await _write(older, "older")
        async with database.transaction() as newer:
            await _write(newer, "newer")
        async with database.reading() as session:
            lines, position = await events.read_after(session, position)
            assert lines == []
        await older.commit()
    async with database.reading() as session:
        lines, position = await events.read_after(session, position)
        assert [line.kind for line in lines] == ["older", "newer"]
        assert (await events.read_after(session, position))[0] == []


async def test_two_readers_at_once_do_not_take_the_same_lines(database):
    async with database.transaction() as session:
        await _write(session, *[f"k{n}" for n in range(30)])
    await _take(database, limit=1)
    async with database.reading() as first:
        lines, more = await events.take(first, "test", limit=10)
        assert (len(lines), more) == (10, True)
        assert await _take(database) == []  # another node holds the cursor
        await first.rollback()  # and dies
    assert await _take(database, limit=10) == [line.kind for line in lines]
    assert len(await _take(database)) == 19


async def test_each_reader_has_a_place_of_its_own(database):
    async with database.transaction() as session:
        await _write(session, "a")
    assert await _take(database, "one") == ["a"]
    assert await _take(database, "two") == ["a"]


async def test_a_reader_of_some_kinds_passes_the_others(database):
    async with database.transaction() as session:
        await _write(session, "a", "b", "a", "b", "a")
    assert await _take(database, kinds=["a"], limit=2) == ["a", "a"]
    assert await _take(database, kinds=["a"], limit=2) == ["a"]
    assert await _take(database, kinds=["a"]) == []


@pytest.mark.parametrize("seed", range(3))
async def test_many_overlapping_writers_and_readers_lose_and_double_nothing(database, seed):
    chance = random.Random(seed)
    written: list[str] = []
    taken: list[str] = []
    writing = True

    async def write(writer):
        for number in range(15):
            kinds = [f"{writer}.{number}.{n}" for n in range(chance.randrange(1, 4))]
            async with database.reading() as session:
                for kind in kinds:
                    await _write(session, kind)
                    await asyncio.sleep(chance.random() * 0.004)
                if chance.random() < 0.2:
                    await session.rollback()
                else:
                    await session.commit()
                    written.extend(kinds)

    async def _rest():
        lines = await _take(database, limit=chance.randrange(1, 8))
        taken.extend(lines)
        return lines

    async def follow():
        while writing:
            await _rest()
            await asyncio.sleep(0.001)

    readers = [asyncio.create_task(follow()), asyncio.create_task(follow())]
    await asyncio.gather(*(write(n) for n in range(4)))
    writing = False
    await asyncio.gather(*readers)
    while await _rest():
        pass
    assert sorted(taken) == sorted(written)
    for writer in range(4):  # what one transaction wrote stays in its order
        mine = [kind for kind in taken if kind.startswith(f"{writer}.")]
        assert mine == sorted(mine, key=lambda kind: [int(part) for part in kind.split(".")])
