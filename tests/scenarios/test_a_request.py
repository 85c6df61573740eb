"""Scenario A: a website request is never forgotten, through the real door, database, queue and mail server."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import select

from core.people.contacts import Contact, ContactIdentity
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Stage
from core.staff import absences
from core.staff.users import Role
from core.talk.conversations import Message
from core.work.notifications import Notification
from core.work.tasks import Task
from tests.conftest import VERA


async def _all(hub, model):
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def test_a_request_becomes_a_contact_a_lead_a_deal_and_a_task(client, hub, webform, take_on, drain, clock):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    async with hub.database.transaction() as session:
        await absences.add(
            session, user_id=boris.id, starts_at=clock.now(), ends_at=clock.now() + timedelta(days=7), at=clock.now()
        )

    answer = await client.post(f"/hooks/{webform.key}", data=VERA)
    assert answer.status == 200
    assert (await answer.json())["ok"] is True
    await drain()

    (contact,) = await _all(hub, Contact)
    identities = {(i.scheme, i.value, i.raw) for i in await _all(hub, ContactIdentity)}
    (lead,) = await _all(hub, Lead)
    (deal,) = await _all(hub, Deal)
    (task,) = await _all(hub, Task)
    (message,) = await _all(hub, Message)
    assert contact.name == "Вера Соколова"
    assert ("phone", "+79161234567", "8 (916) 123-45-67") in identities
    assert (lead.source, lead.attribution) == ("google", {"utm_source": "google", "utm_campaign": "spring"})
    assert message.text == "3 windows, quote please"
    async with hub.database.reading() as session:
        assert (await session.get(Stage, deal.stage_id)).name == "First call"
    assert (task.title, task.kind, task.assignee_id) == ("Call back", "call", anna.id)
    assert task.due_at == clock.now() + timedelta(minutes=15)
    assert lead.routing["reason"] == "only_available"
    assert [entry[:2] for entry in lead.routing["order"] if isinstance(entry, list)] == [[boris.id, "absent"]]
    assert [(n.user_id, n.kind) for n in await _all(hub, Notification)] == [(anna.id, "lead.created")]


async def test_a_double_click_is_one_deal(client, hub, webform, take_on, drain):
    await take_on("Anna")
    first = await (await client.post(f"/hooks/{webform.key}", data=VERA)).json()
    second = await (await client.post(f"/hooks/{webform.key}", data=VERA)).json()
    await drain()
    assert first == second
    assert len(await _all(hub, Lead)) == len(await _all(hub, Deal)) == len(await _all(hub, Message)) == 1


async def test_an_hour_later_she_joins_her_open_deal(client, hub, webform, take_on, drain, clock):
    await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    clock.advance(timedelta(hours=1))
    await client.post(f"/hooks/{webform.key}", data=VERA | {"landing_page": "https://example.com/prices"})
    await drain()
    assert len(await _all(hub, Contact)) == len(await _all(hub, Deal)) == len(await _all(hub, Lead)) == 1
    assert len(await _all(hub, Message)) == 2
    assert len(await _all(hub, Task)) == 1


async def test_twenty_posts_of_one_new_person_at_once_are_one_contact_and_one_deal(
    client, hub, webform, take_on, drain
):
    await take_on("Anna")
    posts = [client.post(f"/hooks/{webform.key}", data=VERA | {"message": f"window {n}"}) for n in range(20)]
    assert {answer.status for answer in await asyncio.gather(*posts)} == {200}
    await drain()
    assert len(await _all(hub, Contact)) == len(await _all(hub, Deal)) == len(await _all(hub, Lead)) == 1
    assert len(await _all(hub, Message)) == 20


async def test_when_nobody_calls_the_head_hears_of_it_once(client, hub, webform, take_on, drain, clock):
    anna, kirill = await take_on("Anna"), await take_on("Kirill", Role.HEAD)
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    for _ in range(4):
        clock.advance(timedelta(minutes=5))
        await drain()
    (task,) = await _all(hub, Task)
    assert task.breached_at == task.due_at
    assert task.escalated_to == [kirill.id]
    told = [(n.user_id, n.kind) for n in await _all(hub, Notification)]
    assert told.count((kirill.id, "task.escalated")) == 1
    assert told.count((anna.id, "task.reminder")) == 1
    assert told.count((anna.id, "task.overdue")) == 1
