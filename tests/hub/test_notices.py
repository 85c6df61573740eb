"""Notices: each thing reaches the right person once, and nobody is told what they did themselves."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, update

from core.sales import deals, leads
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff.users import Role, User
from core.work import routing, tasks
from core.work.notifications import Notification, latest, mark_read, unread_count
from core.work.tasks import Task
from hub.wording import HEADLINES, word
from hub.worker import take_notices
from tests.conftest import VERA, add_webform


async def _told(hub):
    async with hub.database.reading() as session:
        rows = await session.execute(select(Notification.user_id, Notification.kind).order_by(Notification.id))
        return [tuple(row) for row in rows]


async def _one(session, model):
    return (await session.scalars(select(model))).one()


@pytest.fixture
async def anna(take_on):
    return await take_on("Anna")


@pytest.fixture
async def asked(client, webform, anna, drain):
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()


async def test_a_new_request_is_told_once_though_it_is_many_lines_of_the_diary(hub, anna, asked, drain):
    assert await _told(hub) == [(anna.id, "lead.created")]
    await drain()
    assert len(await _told(hub)) == 1


async def test_a_further_message_is_told_to_the_owner(client, hub, webform, anna, asked, drain):
    await client.post(f"/hooks/{webform.key}", data=VERA | {"message": "still there?"})
    await drain()
    assert await _told(hub) == [(anna.id, "lead.created"), (anna.id, "message.received")]


async def test_a_request_nobody_can_take_is_told_to_the_heads(client, hub, webform, take_on, drain):
    head, other = await take_on("Kirill", Role.HEAD), await take_on("Lev", Role.HEAD)
    await take_on("Olga", Role.OWNER)
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    assert sorted(await _told(hub)) == sorted([(head.id, "lead.created"), (other.id, "lead.created")])


@pytest.mark.parametrize("by_themselves", [True, False])
async def test_ones_own_doing_is_no_news(hub, anna, asked, take_on, drain, clock, by_themselves):
    boris, head = await take_on("Boris"), await take_on("Kirill", Role.HEAD)
    actor = boris if by_themselves else head
    async with hub.database.transaction() as session:
        lead, deal, task = await _one(session, Lead), await _one(session, Deal), await _one(session, Task)
        await routing.take(session, lead, user_id=boris.id, at=clock.now(), actor_id=actor.id)
        await deals.assign(session, deal, to=anna.id, at=clock.now(), actor_id=anna.id)
        await tasks.assign(session, task, to=anna.id, at=clock.now(), actor_id=anna.id)
        await tasks.add(session, title="Measure", at=clock.now(), assignee_id=boris.id, actor_id=actor.id)
    await drain()
    expected = [] if by_themselves else [(boris.id, "lead.assigned"), (boris.id, "task.created")]
    assert (await _told(hub))[1:] == expected


async def test_what_concerns_nobody_is_told_to_nobody(hub, anna, asked, drain, clock):
    async with hub.database.transaction() as session:
        lead, deal = await _one(session, Lead), await _one(session, Deal)
        await deals.win(session, deal, at=clock.now(), actor_id=anna.id)
        assert lead.status == leads.LeadStatus.CONVERTED
    await drain()
    assert len(await _told(hub)) == 1


async def test_somebody_who_left_is_told_nothing(client, hub, webform, anna, asked, drain):
    async with hub.database.transaction() as session:
        await session.execute(update(User).values(is_active=False))
    await client.post(f"/hooks/{webform.key}", data=VERA | {"message": "hello?"})
    await drain()
    assert len(await _told(hub)) == 1


async def test_a_reader_that_dies_in_the_middle_tells_it_again_and_once(client, hub, webform, anna, drain, clock):
    from hub import notices
    from hub.exchange import Exchange

    await client.post(f"/hooks/{webform.key}", data=VERA)
    await Exchange(hub.database, hub.switchboard, clock).work(1)
    with pytest.raises(ZeroDivisionError):
        async with hub.database.transaction() as session:
            await notices.take(session, now=clock.now(), has_mail=True)
            raise ZeroDivisionError
    assert await _told(hub) == []
    await asyncio.gather(*(take_notices(hub) for _ in range(4)))
    await drain()
    assert await _told(hub) == [(anna.id, "lead.created")]


async def test_reading_marks_only_ones_own(client, hub, anna, asked, take_on, clock):
    boris = await take_on("Boris")
    async with hub.database.transaction() as session:
        (mine,) = await latest(session, anna.id)
        await mark_read(session, boris.id, at=clock.now(), ids=[mine.id])
        assert await unread_count(session, anna.id) == 1
        await mark_read(session, anna.id, at=clock.now())
        assert await unread_count(session, anna.id) == 0


async def test_a_notice_carries_what_its_wording_needs(hub, anna, asked):
    async with hub.database.reading() as session:
        (notice,) = await latest(session, anna.id)
    words = word(notice.kind, notice.details, {"deal_id": notice.deal_id}, lambda text: text)
    assert words.headline == f"New request: {VERA['name']}"
    assert words.detail == VERA["message"]
    assert words.path == f"/deals/{notice.deal_id}"


@pytest.mark.parametrize("kind", HEADLINES)
def test_every_kind_can_be_worded_with_nothing_known(kind):
    words = word(kind, {}, {}, lambda text: text or "Content-Type: text/plain")
    assert words.headline
    assert "%" not in words.headline and "Content-Type" not in words.headline
    assert words.path == "/"


async def test_a_channel_of_nobodys_makes_no_noise(client, hub, anna, drain):
    quiet = await add_webform(hub, make_lead=False)
    await client.post(f"/hooks/{quiet.key}", data=VERA)
    await drain()
    assert await _told(hub) == []
