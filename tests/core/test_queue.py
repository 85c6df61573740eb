"""The lane queue: nothing lost, nothing doubled, order kept, and nobody starved, whoever dies when."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from core.kernel import jobs
from core.kernel.jobs import BACK_OFF, Failure, Lost
from hub.database import open_database
from hub.signals import Signals
from hub.worker import drain
from webhooks.deliveries import Delivery

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
LEASE = timedelta(seconds=60)


def _deliveries():
    return jobs.LaneQueue(Delivery.__table__, ("connection_id",), lease=LEASE)


async def _put(database, *lanes, at=NOW, due_at=None):
    async with database.transaction() as session:
        await jobs.enqueue_many(session, [jobs.new_job("work", at=at, lane=lane, due_at=due_at) for lane in lanes])


async def _claim(database, *, worker=1, now=NOW, limit=10, queue=None):
    async with database.transaction() as session:
        return await (queue or jobs.jobs_queue()).claim(session, worker_id=worker, now=now, limit=limit)


async def _finish(database, row):
    async with database.transaction() as session:
        await jobs.finish(session, row.id, row.attempts)


async def _fail(database, row, *, now=NOW, **more):
    async with database.transaction() as session:
        return await jobs.jobs_queue().fail(session, [Failure(row.id, row.attempts, "no", **more)], now=now)


async def _rows(database, what="*", table="jobs"):
    async with database.reading() as session:
        return list(await session.execute(text(f"SELECT {what} FROM {table} ORDER BY id")))


async def test_a_batch_is_claimed_with_one_call_and_in_order(database):
    await _put(database, "a", "b", "a", "c", "a")
    rows = await _claim(database)
    assert len(rows) == 5
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert {row.attempts for row in rows} == {1}
    assert await _claim(database, worker=2) == []


async def test_a_small_batch_takes_the_heads_of_lanes_and_never_skips_one(database):
    await _put(database, *(["a"] * 5 + ["b"] * 5))
    order = {row.id: row.lane for row in await _rows(database)}
    rows = await _claim(database, limit=4)
    assert len(rows) == 4
    for lane in "ab":
        mine = [row.id for row in rows if row.lane == lane]
        assert mine == [i for i in order if order[i] == lane][: len(mine)]


async def test_a_lane_that_is_being_worked_on_is_left_alone_by_others(database):
    await _put(database, "a", "a")
    (first,) = await _claim(database, limit=1)
    assert await _claim(database, worker=2) == []
    await _finish(database, first)
    assert len(await _claim(database, worker=2)) == 1


async def test_a_failing_head_holds_back_its_lane_and_no_other(database):
    await _put(database, "a", "a", "b")
    first, second, _ = await _claim(database)
    async with database.transaction() as session:
        await jobs.jobs_queue().release(session, [second], now=NOW)
    await _fail(database, first)
    await _put(database, "a", "c")
    assert [row.lane for row in await _claim(database, now=NOW + timedelta(seconds=1))] == ["c"]
    again = await _claim(database, now=NOW + timedelta(seconds=BACK_OFF[0]))
    assert [row.id for row in again if row.lane == "a"][:2] == [first.id, second.id]


async def test_attempts_are_further_and_further_apart_and_end(database):
    await _put(database, "a")
    now, waits = NOW, []
    for _ in range(len(BACK_OFF) + 1):
        (row,) = await _claim(database, now=now)
        given_up = await _fail(database, row, now=now)
        (left,) = await _rows(database, "due_at, attempts, error")
        if left.due_at is None:
            assert given_up == [row.id]
            break
        assert given_up == []
        waits.append(int((left.due_at - now).total_seconds()))
        assert await _claim(database, now=left.due_at - timedelta(milliseconds=1)) == []
        now = left.due_at
    assert waits == list(BACK_OFF)
    assert (left.due_at, left.attempts, left.error) == (None, len(BACK_OFF) + 1, "no")
    assert await _claim(database, now=now + timedelta(days=365)) == []


async def test_a_dead_row_lets_those_behind_it_go_on(database):
    await _put(database, "a", "a")
    (first,) = await _claim(database, limit=1)
    assert await _fail(database, first, is_final=True) == [first.id]
    assert len(await _claim(database)) == 1


async def test_a_provider_may_say_when_to_come_again(database):
    await _put(database, "a")
    (row,) = await _claim(database)
    await _fail(database, row, retry_after=77)
    assert (await _rows(database, "due_at"))[0].due_at == NOW + timedelta(seconds=77)


async def test_a_lease_that_ran_out_is_taken_over_and_the_late_one_is_told(database):
    await _put(database, "a")
    (late,) = await _claim(database)
    (taken,) = await _claim(database, worker=2, now=NOW + timedelta(minutes=5))
    assert (taken.id, taken.attempts) == (late.id, 2)
    with pytest.raises(Lost):
        await _finish(database, late)
    assert await _fail(database, late) == []
    (row,) = await _rows(database, "attempts, error, due_at")
    assert (row.attempts, row.error) == (2, None)
    await _finish(database, taken)
    assert await _rows(database) == []


async def test_a_late_failure_does_not_postpone_the_lane_of_its_successor(database):
    await _put(database, "a", "a")
    (late,) = await _claim(database, limit=1)
    later = NOW + timedelta(minutes=5)
    (taken,) = await _claim(database, worker=2, now=later, limit=1)
    await _fail(database, late, now=later)
    await _finish(database, taken)
    assert len(await _claim(database, now=later)) == 1


async def test_giving_back_what_another_worker_has_taken_changes_nothing(database):
    await _put(database, "a")
    (late,) = await _claim(database)
    later = NOW + timedelta(minutes=5)
    (taken,) = await _claim(database, worker=2, now=later)
    async with database.transaction() as session:
        await jobs.jobs_queue().release(session, [late], now=later)
    await _finish(database, taken)


async def test_a_timer_is_not_due_before_its_time(database):
    await _put(database, "a", due_at=NOW + timedelta(hours=1))
    assert await _claim(database, now=NOW + timedelta(minutes=59, seconds=59)) == []
    assert len(await _claim(database, now=NOW + timedelta(hours=1))) == 1


async def test_one_unique_key_is_queued_once_until_it_is_over(database):
    async def ask():
        async with database.transaction() as session:
            await jobs.enqueue(session, "work", at=NOW, unique_key="report", which=1)

    await ask()
    await ask()
    (row,) = await _claim(database)
    await _finish(database, row)
    await ask()
    (row,) = await _claim(database)
    assert await _fail(database, row, is_final=True) == [row.id]
    await ask()
    assert len(await _claim(database)) == 1, "what died long ago must not stand in the way for ever"


async def test_nothing_is_queued_by_a_transaction_that_is_undone(database):
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as session:
            await jobs.enqueue(session, "work", at=NOW)
            raise ZeroDivisionError
    assert await _rows(database) == []


async def test_idle_workers_are_woken_at_the_commit(database, database_url):
    heard: asyncio.Queue[float] = asyncio.Queue()
    signals = Signals(database_url)
    signals.on(jobs.WAKE, lambda _: heard.put_nowait(time.perf_counter()))
    await signals.open()
    try:
        waits = []
        for _ in range(5):
            async with database.transaction() as session:
                await jobs.enqueue(session, "work", at=NOW)
                assert heard.empty()
                committing = time.perf_counter()
            waits.append(await asyncio.wait_for(heard.get(), 5) - committing)
        assert min(waits) < 0.05
    finally:
        await signals.close()


# --- order and completeness with several workers ---


@pytest.mark.parametrize("seed", range(6))
async def test_two_workers_keep_the_order_of_every_lane_and_do_everything_once(database_url, seed):
    chance = random.Random(seed)
    done: list[tuple[str, int]] = []
    async with open_database(database_url, pool_size=6) as database:
        lanes = [f"lane{chance.randrange(7)}" for _ in range(120)]
        await _put(database, *lanes[:60])
        expected = {row.id: row.lane for row in await _rows(database)}
        now = NOW

        async def work(worker):
            queue = jobs.jobs_queue()
            while True:
                async with database.transaction() as session:
                    rows = await queue.claim(session, worker_id=worker, now=now, limit=chance.randrange(1, 12))
                held: dict[str, list] = {}
                for row in rows:
                    held.setdefault(row.lane, []).append(row)
                for lane in held.values():
                    for number, row in enumerate(lane):
                        await asyncio.sleep(chance.random() * 0.002)
                        async with database.transaction() as session:
                            if row.attempts < 3 and chance.random() < 0.2:
                                await queue.release(session, lane[number + 1 :], now=now)
                                await queue.fail(
                                    session, [Failure(row.id, row.attempts, "again", retry_after=0)], now=now
                                )
                                break
                            await jobs.finish(session, row.id, row.attempts)
                        done.append((row.lane, row.id))
                if not rows:
                    async with database.reading() as session:
                        if await queue.next_due(session) is None and len(expected) == 120:
                            return
                    await asyncio.sleep(0.002)

        async def add():
            nonlocal now
            await _put(database, *lanes[60:])
            expected.update({row.id: row.lane for row in await _rows(database)})
            while len(done) < 120:
                await asyncio.sleep(0.005)
                now += timedelta(seconds=2)  # what was postponed falls due

        await asyncio.wait_for(asyncio.gather(work(1), work(2), add()), 60)
    assert sorted(i for _, i in done) == sorted(expected)
    for lane in set(lanes):
        mine = [i for name, i in done if name == lane]
        assert mine == sorted(mine)


async def test_a_lane_with_ten_thousand_rows_starves_no_other(database):
    await _put(database, *["crowd"] * 10_000)
    await _put(database, "alone", at=NOW + timedelta(seconds=1))
    later = NOW + timedelta(seconds=2)
    lanes = {row.lane for row in await _claim(database, now=later, limit=20)}
    if "alone" not in lanes:
        lanes |= {row.lane for row in await _claim(database, worker=2, now=later, limit=20)}
    assert "alone" in lanes


async def test_many_crowded_lanes_that_are_being_worked_on_hide_no_other(database):
    await _put(database, *[f"crowd{n % 30}" for n in range(6_000)])
    await _put(database, *[f"small{n}" for n in range(40)], at=NOW + timedelta(seconds=1))
    later, seen = NOW + timedelta(seconds=2), set()
    for worker in range(1, 4):
        queue = jobs.jobs_queue()
        for _ in range(5):  # none of them finishes anything
            seen |= {row.lane for row in await _claim(database, worker=worker, now=later, limit=20, queue=queue)}
    assert len({lane for lane in seen if lane.startswith("small")}) == 40


async def test_a_failed_lane_does_not_fill_the_window(database, hub):
    """A mail server that is down: each job fails, those behind it wait with it, and other work goes on."""
    await _put(database, *[f"nobody{n}" for n in range(12) for _ in range(40)], at=hub.clock.now())
    await drain(hub)
    now = hub.clock.now()
    async with database.reading() as session:
        due = await session.scalar(text("SELECT count(*) FROM jobs WHERE due_at <= :now"), {"now": now})
        dead = await session.scalar(text("SELECT count(*) FROM jobs WHERE due_at IS NULL"))
    assert (due, dead) == (0, 480)  # an unknown kind is given up at once, with its error


async def test_the_claim_uses_the_partial_indexes_among_a_hundred_thousand_finished_rows(database):
    async with database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO deliveries"
                " (connection_id, dedupe_key, reference, lane, state, received_at, due_at, request, body)"
                " SELECT 1, 'k' || n, 'r' || n, 'lane' || n % 40000, 'processed',"
                " CAST(:now AS timestamptz), NULL, '{}', ''"
                " FROM generate_series(1, 100000) n"
            ),
            {"now": NOW},
        )
        await session.execute(
            text(
                "INSERT INTO deliveries"
                " (connection_id, dedupe_key, reference, lane, received_at, due_at, request, body)"
                " SELECT 1, 'w' || n, 'w' || n, 'lane' || n % 15000, CAST(:now AS timestamptz), :now, '{}', ''"
                " FROM generate_series(1, 20000) n"
            ),
            {"now": NOW},
        )
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE deliveries"))
    queue = _deliveries()
    async with database.transaction() as session:
        began = time.perf_counter()
        rows = await queue.claim(session, worker_id=1, now=NOW, limit=200)
        took = time.perf_counter() - began
        used = (
            await session.execute(
                text("SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'deliveries'")
            )
        ).one()
    assert 200 <= len(rows) <= 250
    assert used.seq_scan == 0
    assert used.idx_tup_fetch < 10_000
    assert took < 1


# --- dead workers ---

_HOLDS_AND_DIES = """
import asyncio, sys
from datetime import datetime
from core.kernel import jobs
from hub.database import open_database
from hub.signals import Signals
from hub import schema

async def main(url, worker, now):
    schema.load()
    signals = Signals(url, worker_id=worker)
    signals.on(jobs.WAKE, lambda _: None)
    await signals.open()
    async with open_database(url, pool_size=2) as database:
        async with database.transaction() as session:
            rows = await jobs.jobs_queue().claim(session, worker_id=worker, now=now, limit=3)
        print(len(rows), flush=True)
        await asyncio.Event().wait()  # until it is killed

asyncio.run(main(sys.argv[1], int(sys.argv[2]), datetime.fromisoformat(sys.argv[3])))
"""


async def _recovered(database, now):
    async with database.transaction() as session:
        return await jobs.jobs_queue().recover(session, now=now)


async def test_what_a_killed_process_held_is_free_at_once_and_the_living_keep_theirs(database, database_url):
    alive = Signals(database_url, worker_id=77)
    await alive.open()
    await _put(database, "a", "b", "c", "d")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDS_AND_DIES, database_url, "66", NOW.isoformat(), cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"3\n"
        (mine,) = await _claim(database, worker=77)
        later = NOW + timedelta(seconds=1)
        assert await _recovered(database, later) == 0
        process.kill()
        await process.wait()

        async def until_freed():
            freed = 0
            while freed < 3:
                freed += await _recovered(database, later)
                await asyncio.sleep(0.02)
            return freed

        assert await asyncio.wait_for(until_freed(), 5) == 3
        again = await _claim(database, worker=77, now=later)
        assert len(again) == 3
        assert mine.id not in {row.id for row in again}
        await _finish(database, mine)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await alive.close()


async def test_what_a_dead_worker_had_finished_is_not_freed(database):
    await _put(database, "a", "b")
    first, _ = await _claim(database, worker=5)  # nobody holds this worker's lock
    await _finish(database, first)
    assert await _recovered(database, NOW + timedelta(seconds=1)) == 1
    assert await _recovered(database, NOW + timedelta(seconds=1)) == 0
