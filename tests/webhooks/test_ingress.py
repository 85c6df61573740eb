"""Ingress: durable before acknowledged, together, once, and no request at the cost of another."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from core.kernel.clock import MovableClock
from hub.database import plain_url
from tests.conftest import MONDAY_TEN
from webhooks.errors import Malformed
from webhooks.ingress import Ingress, Overloaded
from webhooks.request import RawRequest

MINUTE = timedelta(seconds=60)


class Counted:
    """A pool that counts the statements which pass, and can be held up."""

    def __init__(self, pool):
        self._pool = pool
        self.statements = 0
        self.open = asyncio.Event()
        self.open.set()

    @asynccontextmanager
    async def lend(self):
        async with self._pool.acquire(timeout=5) as connection:
            await self.open.wait()

            class Rows:
                async def fetch(_, query, *arguments):
                    self.statements += 1
                    return await connection.fetch(query, *arguments)

            yield Rows()


@pytest.fixture
async def pool(database_url):
    async with asyncpg.create_pool(plain_url(database_url), min_size=1, max_size=4) as opened:
        yield opened


@pytest.fixture
def clock():
    return MovableClock(MONDAY_TEN)


@pytest.fixture
def counted(pool):
    return Counted(pool)


@pytest.fixture
async def ingress(counted, clock):
    made = Ingress(counted.lend, clock, most_requests=100, most_bytes=1_000_000)
    yield made
    await made.close()


def _node(pool, clock):
    return Ingress(Counted(pool).lend, clock, most_requests=10_000, most_bytes=100_000_000)


async def _stored(pool, what="count(*)"):
    return await pool.fetchval(f"SELECT {what} FROM deliveries")


async def test_requests_that_come_together_are_written_together(ingress, counted, pool):
    accepted = await asyncio.gather(
        *(ingress.accept(1, RawRequest(body=b"%d" % n), dedupe_key=str(n)) for n in range(64))
    )
    assert await _stored(pool) == 64
    assert len({one.reference for one in accepted}) == 64
    assert counted.statements <= 3


async def test_nothing_is_acknowledged_before_it_is_durable(ingress, counted, pool):
    counted.open.clear()
    waiting = asyncio.create_task(ingress.accept(1, RawRequest(body=b"hello"), dedupe_key="k"))
    _, undone = await asyncio.wait({waiting}, timeout=0.05)
    assert undone == {waiting}
    assert await _stored(pool) == 0
    counted.open.set()
    accepted = await waiting
    assert await _stored(pool, "max(reference)") == accepted.reference
    assert await _stored(pool, "(array_agg(body))[1]") == b"hello"


async def test_repeats_get_the_first_ones_reference_within_a_batch_and_across_batches_and_nodes(ingress, pool, clock):
    together = await asyncio.gather(*(ingress.accept(1, RawRequest(), dedupe_key="same") for _ in range(5)))
    later = await ingress.accept(1, RawRequest(), dedupe_key="same")
    elsewhere = await _node(pool, clock).accept(1, RawRequest(), dedupe_key="same")
    other = await ingress.accept(2, RawRequest(), dedupe_key="same")
    assert {one.reference for one in (*together, later, elsewhere)} == {together[0].reference}
    assert sorted(one.is_repeat for one in together) == [False, True, True, True, True]
    assert later.is_repeat and elsewhere.is_repeat and not other.is_repeat
    assert await _stored(pool) == 2


@pytest.mark.parametrize(("after", "is_repeat"), [(0, True), (59.9, True), (60.0, False), (60.1, False)])
async def test_equal_content_is_a_repeat_for_a_minute_on_every_node(ingress, pool, clock, after, is_repeat):
    first = await ingress.accept(1, RawRequest(), dedupe_key="content", repeat_within=MINUTE)
    clock.advance(timedelta(seconds=after))
    second = await _node(pool, clock).accept(1, RawRequest(), dedupe_key="content", repeat_within=MINUTE)
    assert (second.is_repeat, second.reference == first.reference) == (is_repeat, is_repeat)
    again = await ingress.accept(1, RawRequest(), dedupe_key="content", repeat_within=MINUTE)
    assert (again.is_repeat, again.reference) == (True, second.reference)
    assert await _stored(pool) == 1 + (not is_repeat)


async def test_a_key_whose_time_has_passed_is_taken_again_by_one_of_many_nodes(pool, clock):
    nodes = [_node(pool, clock) for _ in range(4)]
    for round_number in range(1, 6):
        asked = [node.accept(1, RawRequest(), dedupe_key="c", repeat_within=MINUTE) for node in nodes for _ in range(3)]
        accepted = await asyncio.gather(*asked)
        assert sum(not one.is_repeat for one in accepted) == 1
        assert len({one.reference for one in accepted}) == 1
        assert await pool.fetchval("SELECT count(*) FROM deliveries WHERE reference = $1", accepted[0].reference) == 1
        assert await _stored(pool) == round_number
        clock.advance(MINUTE)


async def test_a_key_given_up_by_a_node_that_died_then_is_stored_by_the_next(ingress, pool, clock):
    await ingress.accept(1, RawRequest(), dedupe_key="c", repeat_within=MINUTE)
    # as it is between the two statements of a node that was killed there
    await pool.execute("UPDATE deliveries SET dedupe_key = 'c#1', repeat_until = NULL")
    accepted = await ingress.accept(1, RawRequest(), dedupe_key="c", repeat_within=MINUTE)
    assert accepted.is_repeat is False
    assert await pool.fetchval("SELECT count(*) FROM deliveries WHERE reference = $1", accepted.reference) == 1


async def test_two_nodes_that_are_sent_the_same_requests_in_another_order_refuse_none(pool, clock):
    nodes = [_node(pool, clock) for _ in range(2)]
    keys = [f"k{n}" for n in range(300)]
    for round_number in range(4):
        asked = [nodes[0].accept(round_number, RawRequest(), dedupe_key=key) for key in keys]
        asked += [nodes[1].accept(round_number, RawRequest(), dedupe_key=key) for key in reversed(keys)]
        accepted = await asyncio.gather(*asked)
        assert sum(not one.is_repeat for one in accepted) == len(keys)
    assert await _stored(pool) == 4 * len(keys)


async def test_a_full_buffer_refuses_by_count_and_recovers(pool, clock):
    counted = Counted(pool)
    ingress = Ingress(counted.lend, clock, most_requests=3, most_bytes=1_000_000)
    counted.open.clear()
    under_way = asyncio.create_task(ingress.accept(1, RawRequest(), dedupe_key="0"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(ingress.accept(1, RawRequest(), dedupe_key=str(n))) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    assert ingress.waiting == 3
    with pytest.raises(Overloaded) as refused:
        await ingress.accept(1, RawRequest(), dedupe_key="4")
    assert refused.value.retry_after > 0
    counted.open.set()
    await asyncio.gather(under_way, *waiting)
    await ingress.accept(1, RawRequest(), dedupe_key="4")
    assert await _stored(pool) == 5


async def test_a_full_buffer_refuses_by_bytes(pool, clock):
    counted = Counted(pool)
    ingress = Ingress(counted.lend, clock, most_requests=100, most_bytes=1000)
    counted.open.clear()
    under_way = asyncio.create_task(ingress.accept(1, RawRequest(body=b"x" * 900), dedupe_key="0"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = asyncio.create_task(ingress.accept(1, RawRequest(body=b"x" * 900), dedupe_key="1"))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await ingress.accept(1, RawRequest(body=b"x" * 200), dedupe_key="2")
    small = asyncio.create_task(ingress.accept(1, RawRequest(body=b"x" * 50), dedupe_key="3"))
    counted.open.set()
    await asyncio.gather(under_way, waiting, small)
    assert await _stored(pool) == 3


async def test_a_request_the_database_refuses_harms_no_neighbour(ingress, counted, pool):
    counted.open.clear()
    asked = [asyncio.create_task(ingress.accept(1, RawRequest(), dedupe_key="zero"))]
    await asyncio.sleep(0)
    poisoned = "broken\x00key"  # PostgreSQL keeps no NUL in a text
    for key in ["a", "b", poisoned, "c"]:
        asked.append(asyncio.create_task(ingress.accept(1, RawRequest(), dedupe_key=key)))
    await asyncio.sleep(0)
    counted.open.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Accepted"] * 3 + ["Malformed", "Accepted"]
    assert await _stored(pool) == 4
    with pytest.raises(Malformed):
        await ingress.accept(1, RawRequest(), dedupe_key=poisoned)


@pytest.mark.parametrize("text", ["a\x00b", "C:\\u0000", "\\\\u0000", "\\\x00", "x\\\\\x00\x00\\u0000"])
async def test_what_a_header_says_is_kept_but_for_what_cannot_be(ingress, pool, text):
    await ingress.accept(1, RawRequest(headers={"x-odd": text}), dedupe_key="k")
    assert await _stored(pool, "max(request->'headers'->>'x-odd')") == text.replace("\x00", "")


async def test_secrets_in_headers_are_not_kept(ingress, pool):
    headers = {"authorization": "Bearer secret", "cookie": "a=secret", "x-kept": "yes"}
    await ingress.accept(1, RawRequest(headers=headers), dedupe_key="k")
    kept = await _stored(pool, "max(request::text)")
    assert "secret" not in kept and "yes" in kept


async def test_a_database_that_goes_away_is_an_overload_and_comes_back_by_itself(ingress, pool):
    await ingress.accept(1, RawRequest(), dedupe_key="before")
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    outcomes = []
    for number in range(20):
        try:
            outcomes.append(await ingress.accept(1, RawRequest(), dedupe_key=f"k{number}"))
        except Overloaded as refused:
            outcomes.append(refused)
    assert not isinstance(outcomes[-1], Overloaded)
    assert await _stored(pool) == 1 + sum(not isinstance(outcome, Overloaded) for outcome in outcomes)


async def test_a_database_that_is_not_there_at_all_is_an_overload(clock):
    @asynccontextmanager
    async def nobody():
        connection = await asyncpg.connect("postgresql://nobody@127.0.0.1:1/none", timeout=2)
        yield connection

    ingress = Ingress(nobody, clock, most_requests=10, most_bytes=1000)
    asked = [ingress.accept(1, RawRequest(), dedupe_key=str(n)) for n in range(4)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Overloaded}
    assert ingress.waiting == 0


async def test_a_client_that_hangs_up_disturbs_nobody(ingress, counted, pool):
    counted.open.clear()
    asked = [asyncio.create_task(ingress.accept(1, RawRequest(), dedupe_key=str(n))) for n in range(6)]
    await asyncio.sleep(0)
    asked[0].cancel()
    asked[3].cancel()
    counted.open.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 2
    await ingress.close()
    assert await _stored(pool) == 6  # it had been sent, so it is kept


async def test_closing_waits_for_what_was_taken(counted, clock, pool):
    ingress = Ingress(counted.lend, clock, most_requests=100, most_bytes=1000)
    asked = [asyncio.create_task(ingress.accept(1, RawRequest(), dedupe_key=str(n))) for n in range(10)]
    await asyncio.sleep(0)
    await ingress.close()
    assert await _stored(pool) == 10
    await asyncio.gather(*asked)
