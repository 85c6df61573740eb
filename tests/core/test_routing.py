"""Routing over the database: turns that survive restarts and two nodes, who is there, and who waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from core.connections import Connection
from core.kernel.errors import NotFound
from core.people.contacts import Contact
from core.sales import deals
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import absences, teams
from core.staff.teams import Team, TeamMember
from core.staff.users import Role, User
from core.staff.workspace import Workspace
from core.talk.conversations import Conversation
from core.work import routing
from core.work.routing_conditions import Request
from core.work.routing_rules import RoutingRule
from core.work.tasks import Task
from hub import worker
from hub.app import open_hub
from hub.exchange import Exchange
from tests.conftest import MONDAY_TEN, add_webform

WEEKDAYS = {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}


async def _all(hub, model):
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def _change(hub, model, record, **values):
    async with hub.database.transaction() as session:
        await session.execute(update(model).where(model.id == record.id).values(**values))


async def _away(hub, user, *, days=7):
    async with hub.database.transaction() as session:
        now = hub.clock.now()
        return await absences.add(session, user_id=user.id, starts_at=now, ends_at=now + timedelta(days=days), at=now)


async def _post(client, connection, *phones, drain=None, **more):
    for phone in phones:
        answer = await client.post(
            f"/hooks/{connection.key}", data={"phone": phone, "message": f"from {phone}", **more}
        )
        assert answer.status == 200
        if drain:
            await drain()


def _phones(count, start=0):
    return [f"+7916{1000000 + start + n}" for n in range(count)]


async def _owners(hub):
    return [lead.owner_id for lead in await _all(hub, Lead)]


async def test_turns_go_round_and_survive_a_restart(
    client, hub, webform, take_on, drain, settings, database_url, clock
):
    people = [await take_on(name) for name in ("Anna", "Boris", "Clara")]
    await _post(client, webform, *_phones(4), drain=drain)
    async with open_hub(settings, database_url, clock=clock) as restarted:
        await _post(client, webform, *_phones(5, 100))
        await worker.drain(restarted)
    owners = await _owners(hub)
    assert owners[:3] == [person.id for person in people]
    assert Counter(owners) == {person.id: 3 for person in people}


async def test_two_nodes_at_once_share_out_evenly(client, hub, webform, take_on, settings, database_url, clock):
    people = [await take_on(name) for name in ("Anna", "Boris", "Clara")]
    await _post(client, webform, *_phones(100))

    async def work(node):
        exchange = Exchange(node.database, node.switchboard, node.clock, batch=7)
        while await exchange.work(node.worker_id):
            pass

    async with open_hub(settings, database_url, clock=clock) as other:
        await asyncio.gather(work(hub), work(other))
    counts = Counter(await _owners(hub))
    assert set(counts) == {person.id for person in people}
    assert max(counts.values()) - min(counts.values()) <= 1


async def test_a_turn_is_given_away_by_one_node_at_a_time(hub, take_on):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    request = Request(connection_id=1, kind="webform", at=MONDAY_TEN)
    async with hub.database.reading() as one, hub.database.reading() as two:
        router = await routing.open_router(one, at=MONDAY_TEN)
        other = asyncio.create_task(routing.open_router(two, at=MONDAY_TEN))
        done, _ = await asyncio.wait({other}, timeout=0.2)
        assert not done
        assert router.choose(request, contact_owner_id=None).user_id == anna.id
        await router.close(one)
        await one.commit()
        assert (await asyncio.wait_for(other, 5)).choose(request, contact_owner_id=None).user_id == boris.id


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"is_active": False}, "inactive"),
        ({"presence": "on_leave"}, "absent"),
        ({"presence": "off_shift"}, "off_shift"),
        ({"capacity": 0}, "full"),
        ({"schedule": {"time_zone": "Asia/Vladivostok", "week": WEEKDAYS}}, "off_shift"),
    ],
)
async def test_whoever_cannot_take_it_is_passed_over_and_it_is_said_why(
    client, hub, webform, take_on, drain, how, code
):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    await _change(hub, User, anna, **how)
    await _post(client, webform, *_phones(2), drain=drain)
    assert await _owners(hub) == [boris.id, boris.id]
    explanation = (await _all(hub, Lead))[0].routing
    assert [entry[:2] for entry in explanation["order"] if isinstance(entry, list)] == [[anna.id, code]]


async def test_capacity_counts_open_deals_also_within_a_batch(client, hub, webform, take_on, drain):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    await _change(hub, User, anna, capacity=2)
    await _post(client, webform, *_phones(8))
    await drain()
    await _post(client, webform, *_phones(2, 100), drain=drain)
    assert Counter(await _owners(hub)) == {anna.id: 2, boris.id: 8}


async def test_on_a_holiday_nobody_is_there_and_the_request_waits(client, hub, webform, take_on, drain, clock):
    await take_on("Anna")
    async with hub.database.transaction() as session:
        await session.execute(
            update(Workspace).values(
                schedule={"time_zone": "Europe/Moscow", "week": WEEKDAYS, "holidays_country": "RU"}
            )
        )
    clock.set(datetime(2027, 1, 7, 9, 0, tzinfo=UTC))
    await _post(client, webform, *_phones(1), drain=drain)
    (lead,) = await _all(hub, Lead)
    assert (lead.owner_id, lead.routing["reason"]) == (None, "nobody_available")
    (task,) = await _all(hub, Task)
    assert task.due_at > clock.now() + timedelta(hours=20)


async def test_the_owner_of_a_known_contact_comes_first_and_costs_no_turn(client, hub, webform, take_on, drain, clock):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    await _post(client, webform, *_phones(1), drain=drain)
    async with hub.database.transaction() as session:
        (deal,) = list(await session.scalars(select(Deal)))
        await deals.win(session, deal, at=clock.now(), actor_id=anna.id)
    clock.advance(timedelta(hours=2))
    await _post(client, webform, *_phones(1), *_phones(1, 100), drain=drain)
    assert await _owners(hub) == [anna.id, anna.id, boris.id]
    assert (await _all(hub, Lead))[1].routing["reason"] == "owner"


async def test_when_the_owner_is_away_somebody_stands_in_and_the_contact_stays_theirs(
    client, hub, webform, take_on, drain, clock
):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    await _post(client, webform, *_phones(1), drain=drain)
    async with hub.database.transaction() as session:
        (deal,) = list(await session.scalars(select(Deal)))
        await deals.win(session, deal, at=clock.now(), actor_id=anna.id)
    await _away(hub, anna)
    clock.advance(timedelta(hours=2))
    await _post(client, webform, *_phones(1), drain=drain)
    _, lead = await _all(hub, Lead)
    (contact,) = await _all(hub, Contact)
    assert (lead.owner_id, contact.owner_id) == (boris.id, anna.id)
    assert lead.routing["owner"][:2] == [anna.id, "absent"]


async def test_a_connection_may_have_its_own_person_and_its_own_team(client, hub, take_on, drain):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    async with hub.database.transaction() as session:
        session.add(team := Team(name="Repairs", created_at=MONDAY_TEN))
        await session.flush()
        session.add(TeamMember(team_id=team.id, user_id=boris.id))
    of_team = await add_webform(hub, team_id=team.id)
    of_anna = await add_webform(hub, owner_id=anna.id)
    await _post(client, of_team, *_phones(2), drain=drain)
    await _post(client, of_anna, *_phones(2, 100), drain=drain)
    assert await _owners(hub) == [boris.id, boris.id, anna.id, anna.id]
    assert {lead.team_id for lead in (await _all(hub, Lead))[:2]} == {team.id}
    await _away(hub, anna)
    await _away(hub, boris)
    await _post(client, of_team, *_phones(1, 200), drain=drain)
    waiting = (await _all(hub, Lead))[-1]
    assert (waiting.owner_id, waiting.team_id) == (None, team.id)


async def test_a_rule_decides_before_the_connection(client, hub, webform, take_on, drain):
    await take_on("Anna")
    olga = await take_on("Olga", Role.SPECIALIST)
    async with hub.database.transaction() as session:
        session.add(
            RoutingRule(
                title="Paid", position=1, conditions={"source": ["google"]}, user_id=olga.id, created_at=MONDAY_TEN
            )
        )
    await _post(client, webform, *_phones(1), drain=drain, utm_source="google")
    (lead,) = await _all(hub, Lead)
    assert (lead.owner_id, lead.routing["reason"]) == (olga.id, "rule_person")


# --- nobody there ---


async def test_what_waited_is_offered_oldest_first_with_all_that_hangs_on_it(
    client, hub, webform, take_on, drain, clock
):
    anna = await take_on("Anna")
    await _away(hub, anna, days=1)
    await _post(client, webform, *_phones(3), drain=drain)
    leads = await _all(hub, Lead)
    assert {lead.owner_id for lead in leads} == {None}
    due = [task.due_at for task in await _all(hub, Task)]
    assert due == [clock.now() + timedelta(minutes=15)] * 3  # the deadline runs
    assert await worker.offer_waiting(hub) == 0
    clock.advance(timedelta(days=1, seconds=1))
    async with hub.database.transaction() as session:
        assert await routing.offer_waiting(session, at=clock.now(), limit=2) == 2
    assert await _owners(hub) == [anna.id, anna.id, None]
    assert await worker.offer_waiting(hub) == 1
    assert await worker.offer_waiting(hub) == 0
    assert {deal.owner_id for deal in await _all(hub, Deal)} == {anna.id}
    assert {task.assignee_id for task in await _all(hub, Task)} == {anna.id}
    assert [task.due_at for task in await _all(hub, Task)] == due
    assert {contact.owner_id for contact in await _all(hub, Contact)} == {anna.id}
    assert {talk.assignee_id for talk in await _all(hub, Conversation)} == {anna.id}


async def test_two_nodes_offer_each_waiting_lead_once(
    client, hub, webform, take_on, drain, clock, settings, database_url
):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    for person in (anna, boris):
        await _away(hub, person, days=1)
    await _post(client, webform, *_phones(20))
    await drain()
    clock.advance(timedelta(days=2))
    async with open_hub(settings, database_url, clock=clock) as other:
        given = await asyncio.gather(worker.offer_waiting(hub), worker.offer_waiting(other))
        given.append(await worker.offer_waiting(hub))
    assert sum(given) == 20
    assert Counter(await _owners(hub)) == {anna.id: 10, boris.id: 10}


async def test_leads_nobody_can_take_do_not_hide_those_somebody_can(client, hub, webform, take_on, drain):
    anna = await take_on("Anna")
    async with hub.database.transaction() as session:
        session.add(empty := Team(name="Nobody", created_at=MONDAY_TEN))
    of_nobody = await add_webform(hub, team_id=empty.id)
    absence = await _away(hub, anna)
    await _post(client, of_nobody, *_phones(5))
    await _post(client, webform, *_phones(1, 100))
    await drain()
    async with hub.database.transaction() as session:
        await absences.cancel(session, absence.id, at=hub.clock.now())
        assert await routing.offer_waiting(session, at=hub.clock.now(), limit=3) == 1
    assert await _owners(hub) == [None] * 5 + [anna.id]


async def test_what_waited_is_offered_by_the_same_rules(client, hub, take_on, drain, clock):
    """The kind of channel, the language, the phone's country and the channel's own person count then as before."""
    anna, boris, clara = [await take_on(name) for name in ("Anna", "Boris", "Clara")]
    await _change(hub, User, anna, languages=["de"], territories=["DE"])
    await _change(hub, User, boris, languages=["ru"], territories=["RU"])
    await _change(hub, User, clara, languages=["ru"], territories=["RU"])
    plain, of_clara = await add_webform(hub), await add_webform(hub, owner_id=clara.id)
    for person in (anna, boris, clara):
        await _away(hub, person, days=1)
    await _post(client, plain, "+4930901820", drain=drain, language="de")
    await _post(client, of_clara, "+79161234567", drain=drain)
    await _post(client, plain, "+79161234568", drain=drain, language="ru")
    assert await _owners(hub) == [None] * 3
    clock.advance(timedelta(days=2))
    assert await worker.offer_waiting(hub) == 3
    assert await _owners(hub) == [anna.id, clara.id, boris.id]


async def test_a_waiting_lead_of_somebodys_customer_goes_to_them(client, hub, webform, take_on, drain, clock):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    for person in (anna, boris):
        await _away(hub, person, days=1)
    await _post(client, webform, *_phones(1), drain=drain)
    async with hub.database.transaction() as session:
        await session.execute(update(Contact).values(owner_id=boris.id))
    clock.advance(timedelta(days=2))
    assert await worker.offer_waiting(hub) == 1
    assert await _owners(hub) == [boris.id]


async def test_the_channel_of_a_waiting_lead_may_have_gone(client, hub, webform, take_on, drain, clock):
    anna = await take_on("Anna")
    await _away(hub, anna, days=1)
    await _post(client, webform, *_phones(1), drain=drain)
    async with hub.database.transaction() as session:
        await session.execute(update(Lead).values(connection_id=None))
        assert await session.scalar(select(Connection.id)) is not None
    clock.advance(timedelta(days=2))
    assert await worker.offer_waiting(hub) == 1


async def test_a_team_is_found_however_it_is_written_and_the_message_names_those_there_are(hub):
    async with hub.database.reading() as session:
        assert (await teams.by_name(session, " sALES ")).name == "Sales"
        with pytest.raises(NotFound, match="Sales"):
            await teams.by_name(session, "Sails")
