"""Live pages: whoever may see it hears of it, nobody else does, and a broken line mends itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from sqlalchemy import text

from core.kernel import events, jobs
from core.kernel.events import Position
from core.people.contacts import Contact
from core.staff import access, users
from core.staff.teams import TeamMember
from core.staff.users import Role
from core.work import tasks
from hub.live import _MOST_WAITING, Stream
from tests.conftest import MONDAY_TEN, VERA


@pytest.fixture
async def running(hub):
    """The loops that carry signals to streams, as every node runs them."""
    loops = [asyncio.create_task(hub.signals.run()), asyncio.create_task(hub.live.run())]
    await asyncio.sleep(0.05)  # `run` has taken its place in the diary once it waits
    yield
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


async def _rights(hub, user):
    async with hub.database.reading() as session:
        return await access.of(session, await users.get(session, user.id))


class Browser:
    def __init__(self, frames):
        self._frames = frames
        self._coming = None

    async def next(self, *, within=5.0):
        """Return the next event's name and data."""
        while True:
            self._coming = self._coming or asyncio.ensure_future(anext(self._frames))
            done, _ = await asyncio.wait({self._coming}, timeout=within)
            if not done:
                raise TimeoutError
            frame, self._coming = self._coming.result(), None
            if frame.startswith(b"event: "):
                name, data = frame.strip().split(b"\n")
                return name[7:].decode(), msgspec.json.decode(data[6:])

    async def silent(self, seconds=0.6):
        try:
            return await self.next(within=seconds)
        except TimeoutError:
            return None

    async def close(self):
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait({self._coming})


@asynccontextmanager
async def _browser(hub, user):
    async with hub.live.stream(await _rights(hub, user)) as stream:
        frames = stream.frames()
        assert (await anext(frames)).startswith(b"retry:")
        browser = Browser(frames)
        yield browser
        await browser.close()


async def _contact(hub, owner, *, team_id=None):
    async with hub.database.transaction() as session:
        session.add(
            contact := Contact(
                name="Vera", owner_id=owner.id if owner else None, team_id=team_id, created_at=MONDAY_TEN
            )
        )
        await session.flush()
        await events.record(session, "contact.created", MONDAY_TEN, contact_id=contact.id)
    return contact.id


async def test_a_manager_hears_of_their_own_and_not_of_others(hub, running, take_on):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    async with _browser(hub, anna) as browser:
        await _contact(hub, boris)
        assert await browser.silent() is None
        mine = await _contact(hub, anna)
        name, data = await browser.next()
        assert name == "changed"
        assert "contact" in data["kinds"]
        assert data["ids"]["contact"] == [str(mine)]


async def test_a_manager_hears_of_what_is_free_in_their_team(hub, running, take_on):
    anna = await take_on("Anna")
    team = (await _rights(hub, anna)).team_ids[0]
    async with _browser(hub, anna) as browser:
        free = await _contact(hub, None, team_id=team)
        assert (await browser.next())[1]["ids"]["contact"] == [str(free)]


async def test_a_leader_hears_of_their_team_and_not_of_another(hub, running, take_on):
    leader, anna, olga = (
        await take_on("Kirill", Role.HEAD),
        await take_on("Anna"),
        await take_on("Olga", Role.SPECIALIST),
    )
    team = (await _rights(hub, anna)).team_ids[0]
    async with hub.database.transaction() as session:
        session.add(TeamMember(team_id=team, user_id=leader.id, leads=True))
    async with _browser(hub, leader) as browser:
        await _contact(hub, olga)
        assert await browser.silent() is None
        theirs = await _contact(hub, anna)
        assert (await browser.next())[1]["ids"]["contact"] == [str(theirs)]


async def test_an_owner_hears_of_everything_at_once(hub, running, take_on):
    owner, boris = await take_on("Olga", Role.OWNER), await take_on("Boris")
    async with _browser(hub, owner) as browser:
        other = await _contact(hub, boris)
        assert (await browser.next(within=2))[1]["ids"]["contact"] == [str(other)]


async def test_a_line_that_commits_late_is_heard_of_without_a_further_sign(hub, running, take_on):
    owner = await take_on("Olga", Role.OWNER)
    async with _browser(hub, owner) as browser, hub.database.reading() as older:
        await older.execute(text("SELECT pg_current_xact_id()"))
        first = await _contact(hub, None)
        assert await browser.silent(0.2) is None
        await older.rollback()
        assert (await browser.next(within=2))[1]["ids"]["contact"] == [str(first)]


async def test_a_quiet_diary_is_not_asked_again_and_again(hub, running, take_on):
    """Lines of overlapping transactions are not in the order of their ids; that alone is no reason to look again."""
    owner = await take_on("Olga", Role.OWNER)
    async with _browser(hub, owner) as browser:
        async with hub.database.reading() as older, hub.database.reading() as newer:
            await older.execute(text("SELECT pg_current_xact_id()"))
            await events.record(newer, "contact.created", MONDAY_TEN, contact_id=1)
            await events.record(older, "contact.created", MONDAY_TEN, contact_id=2)
            await newer.commit()
            await older.commit()
        seen = []
        while len(seen) < 2:
            seen += (await browser.next())[1]["ids"]["contact"]
        hub.live.wake()
        assert await browser.silent(0.2) is None
        looks = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"

        async def count():
            async with hub.database.reading() as session:
                await session.execute(text("SELECT pg_stat_force_next_flush()"))
            async with hub.database.reading() as session:
                await session.execute(text("SELECT pg_stat_clear_snapshot()"))
                return await session.scalar(text(looks))

        before = await count()
        assert await browser.silent(1.2) is None
        assert await count() - before < 15


async def test_a_new_notification_is_told_to_its_reader_alone(hub, running, client, webform, take_on, drain):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    async with _browser(hub, anna) as hers, _browser(hub, boris) as his:
        await client.post(f"/hooks/{webform.key}", data=VERA)
        await drain()
        heard = [await hers.next()]
        while heard[-1][0] != "told":
            heard.append(await hers.next())
        assert heard[-1] == ("told", {"kinds": ["notification"]})
        assert await his.silent(0.5) is None


async def test_ones_own_doing_in_another_window_is_heard(hub, running, take_on, clock):
    anna = await take_on("Anna")
    async with _browser(hub, anna) as browser:
        async with hub.database.transaction() as session:
            await tasks.add(session, title="Call", at=clock.now(), assignee_id=anna.id, actor_id=anna.id)
        assert "task" in (await browser.next())[1]["kinds"]


async def test_a_browser_that_is_slow_is_told_to_read_everything_again(hub, take_on):
    stream = Stream(await _rights(hub, await take_on("Anna")), Position(0, 0))
    for number in range(_MOST_WAITING + 1):
        stream.push("changed", {"kinds": ["deal"], "ids": {"deal": [str(number)]}})
    browser = Browser(stream.frames())
    assert await browser.next() == ("changed", {"kinds": ["*"]})
    assert await browser.silent(0.05) is None
    await browser.close()


async def test_a_stream_stays_open_by_beats(hub, take_on):
    frames = Stream(await _rights(hub, await take_on("Anna")), Position(0, 0)).frames(beat=0.02)
    assert [await anext(frames), await anext(frames)] == [b"retry: 2000\n\n", b": still here\n\n"]


async def test_signals_come_back_by_themselves_and_wake_everybody(hub, running, take_on):
    owner = await take_on("Olga", Role.OWNER)
    async with _browser(hub, owner) as browser:
        hub.work_waits.clear()
        hub.delivered.clear()
        async with hub.database.reading() as session:
            killed = await session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'switchyard signals' AND datname = current_database()"
                )
            )
            assert len(list(killed)) == 1
        await asyncio.wait_for(hub.work_waits.wait(), 5)
        await asyncio.wait_for(hub.delivered.wait(), 5)
        contact = await _contact(hub, None)
        while (heard := await browser.next())[1].get("ids", {}).get("contact") != [str(contact)]:
            assert heard
        async with hub.database.transaction() as session:  # and others see again that this node lives
            assert await jobs.jobs_queue().recover(session, now=MONDAY_TEN) == 0
            held = await session.scalar(
                text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = CAST(:key AS int)::oid"),
                {"key": jobs.WORKER_LOCKS},
            )
            assert held == 1


async def test_what_is_followed_survives_a_broken_database_connection(hub, running, take_on):
    owner = await take_on("Olga", Role.OWNER)
    async with _browser(hub, owner) as browser:
        async with hub.database.reading() as session:
            await session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        contact = None
        while contact is None:
            try:
                contact = await _contact(hub, None)
            except Exception:
                await asyncio.sleep(0.05)
        while (heard := await browser.next())[1].get("ids", {}).get("contact") != [str(contact)]:
            assert heard
