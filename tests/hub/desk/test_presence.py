"""Presence: somebody says that they are away, and until when; a messenger in the pocket counts as being there."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from channels.desk_contract import DeskStarted
from core.kernel.errors import Rejected
from core.kernel.events import TimelineEvent
from core.sales.leads import Lead
from core.staff import absences, presence
from core.staff.users import Presence, User
from hub import connections, worker
from hub.desk import linking
from hub.desk.records import DeskLink
from hub.widget_line import Lines
from tests.conftest import VERA

TWO_HOURS = timedelta(hours=2)


async def be(hub: Any, user: User, what: Presence, **more: Any) -> None:
    async with hub.database.transaction() as session:
        found = await session.get_one(User, user.id)
        await presence.be(session, found, what, at=hub.clock.now(), actor_id=user.id, **more)


async def presence_of(hub: Any, user: User) -> str:
    async with hub.database.reading() as session:
        return str((await session.get_one(User, user.id)).presence)


async def changes_of(hub: Any, user: User) -> int:
    theirs = TimelineEvent.user_id == user.id, TimelineEvent.kind == "user.changed"
    async with hub.database.reading() as session:
        return int(await session.scalar(select(func.count()).where(*theirs)) or 0)


async def test_who_said_until_when_is_back_by_themselves_once(hub, clock, take_on, drain):
    anna = await take_on("Anna")
    await be(hub, anna, Presence.AWAY, until=clock.now() + TWO_HOURS)
    clock.advance(TWO_HOURS - timedelta(seconds=1))
    await drain()
    assert (await presence_of(hub, anna), await changes_of(hub, anna)) == ("away", 1)
    clock.advance(timedelta(seconds=1))
    done = await asyncio.gather(*(worker.come_back(hub) for _ in range(4)))
    assert sum(done) == 1
    assert (await presence_of(hub, anna), await changes_of(hub, anna)) == ("available", 2)
    await be(hub, anna, Presence.AWAY)
    clock.advance(timedelta(days=2))
    await drain()
    assert await presence_of(hub, anna) == "away", "until she says so, this time"


async def test_what_was_said_last_counts(hub, clock, take_on, drain, client, token_of):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    for user in (anna, boris):
        await be(hub, user, Presence.AWAY, until=clock.now() + TWO_HOURS)
    await be(hub, anna, Presence.AVAILABLE)
    await be(hub, anna, Presence.BUSY)
    answer = await client.patch("/api/v1/me", json={"presence": "off_shift"}, headers=await token_of(boris))
    assert answer.status == 200
    clock.advance(TWO_HOURS)
    await drain()
    assert (await presence_of(hub, anna), await presence_of(hub, boris)) == ("busy", "off_shift")


async def test_a_time_that_makes_no_sense_is_refused(hub, clock, take_on):
    anna = await take_on("Anna")
    with pytest.raises(Rejected, match="passed"):
        await be(hub, anna, Presence.AWAY, until=clock.now())
    with pytest.raises(Rejected, match="until when you are away"):
        await be(hub, anna, Presence.AVAILABLE, until=clock.now() + TWO_HOURS)


async def test_a_request_that_waited_is_theirs_once_they_are_back(hub, clock, take_on, drain, client, webform):
    anna = await take_on("Anna")
    await be(hub, anna, Presence.OFF_SHIFT, until=clock.now() + TWO_HOURS)
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()

    async def owner() -> int | None:
        async with hub.database.reading() as session:
            return (await session.scalar(select(Lead))).owner_id

    await worker.offer_waiting(hub)
    assert await owner() is None
    clock.advance(TWO_HOURS)
    await drain()
    await worker.offer_waiting(hub)
    assert await owner() == anna.id


@pytest.fixture
async def linked(hub, take_on) -> User:
    anna = await take_on("Anna")
    async with hub.database.transaction() as session:
        row = await connections.create(
            session,
            hub.vault,
            kind="desk_matrix",
            title="Desk",
            settings={"homeserver": "http://127.0.0.1:9", "user_id": "@desk:example.com", "access_token": "t"},
            at=hub.clock.now(),
        )
        event = DeskStarted(key="s", peer="!room", person="@anna:example.com", name="Anna")
        ticket = await linking.make_ticket(session, anna.id, at=hub.clock.now())
        assert await linking.redeem(session, ticket, event, connection_id=row.id, at=hub.clock.now())
    return anna


@pytest.mark.parametrize("because", ["", "away", "absent", "blocked", "left"])
async def test_visitors_are_told_that_somebody_is_there_who_has_only_a_messenger(hub, clock, linked, because):
    async with hub.database.transaction() as session:
        user = await session.get_one(User, linked.id)
        link = await session.scalar(select(DeskLink))
        if because == "away":
            await presence.be(session, user, Presence.AWAY, at=clock.now())
        elif because == "absent":
            await absences.add(
                session, user_id=user.id, starts_at=clock.now(), ends_at=clock.now() + TWO_HOURS, at=clock.now()
            )
        elif because == "blocked":
            link.is_reachable = False
        elif because == "left":
            user.is_active = False
    assert (await Lines(hub).here())["online"] is (because == "")
