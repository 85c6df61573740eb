"""Intake: whoever gets in touch is one person, one lead and one deal, however often and in whatever spelling."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from sqlalchemy import select, text, update

from core import intake
from core.intake import Received, Source
from core.kernel.addresses import Address
from core.kernel.clock import MovableClock
from core.kernel.envelopes import Claim, Incoming, Trust
from core.people.contacts import Contact, ContactIdentity, DuplicateCandidate
from core.sales import deals
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Pipeline, Stage
from core.staff.users import User
from core.talk import changes
from core.talk.conversations import Conversation, Episode, Message
from core.work.tasks import Task, complete
from hub import exchange
from hub.app import open_hub
from hub.exchange import Exchange
from tests.conftest import MONDAY_TEN, VERA, add_webform
from webhooks.deliveries import Delivery
from webhooks.request import RawRequest


async def _all(hub, model):
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def _counts(hub, *models):
    return [len(await _all(hub, model)) for model in models]


@pytest.fixture
def post(hub, drain):
    """Puts a form into ingress as the door would."""
    numbers = iter(range(10**6))

    async def send(connection, *, then_drain=True, into=None, **fields):
        request = RawRequest(
            body=urlencode(fields).encode(),
            headers={"content-type": "application/x-www-form-urlencoded"},
            client="10.0.0.1",
        )
        live = hub.switchboard.by_id(connection.id)
        await (into or hub).ingress.accept(
            connection.id, request, dedupe_key=f"t{next(numbers)}", peer=live.channel.route(request).peer
        )
        if then_drain:
            await drain()

    return send


@asynccontextmanager
async def _second_node(settings, database_url):
    async with open_hub(settings, database_url, clock=MovableClock(MONDAY_TEN), public_url="http://x") as opened:
        yield opened


async def _work(*hubs, batch=400):
    """Let every node work at once until nothing is due."""

    async def until_idle(hub):
        worker = Exchange(hub.database, hub.switchboard, hub.clock, batch=batch)
        idle = 0
        while idle < 3:
            idle = 0 if await worker.work(hub.worker_id) else idle + 1
            await asyncio.sleep(0.005)

    await asyncio.gather(*(until_idle(hub) for hub in hubs))


# --- who it is ---


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"phone": "8 (916) 123-45-67"}, {"phone": "+79161234567"}),
        ({"phone": "+7 916 123 45 67"}, {"phone": "89161234567"}),
        ({"phone": "9161234567"}, {"phone": "tel:+7-916-123-45-67"}),
        ({"email": "Vera@Example.com"}, {"email": "vera@example.COM "}),
        ({"phone": "89161234567", "email": "vera@example.com"}, {"email": "VERA@example.com"}),
        ({"phone": "89161234567", "email": "vera@example.com"}, {"phone": "+7 (916) 1234567"}),
    ],
)
async def test_one_person_in_two_spellings_is_one_contact(hub, webform, take_on, post, first, second):
    await take_on("Anna")
    await post(webform, name="Vera", message="one", **first)
    await post(webform, name="Vera", message="two", **second)
    assert await _counts(hub, Contact, Lead, Deal, Conversation, Message, Task) == [1, 1, 1, 1, 2, 1]
    identities = await _all(hub, ContactIdentity)
    assert len({(i.scheme, i.value) for i in identities}) == len(identities) == len(first)
    assert identities[0].raw == next(iter(first.values())).strip()


async def test_addresses_of_two_people_are_noted_and_never_merged(hub, webform, take_on, post):
    await take_on("Anna")
    await post(webform, name="Vera", phone="89161234567")
    await post(webform, name="Boris", email="boris@example.com")
    await post(webform, name="Who", email="boris@example.com", phone="+79161234567", message="both")
    vera, boris = await _all(hub, Contact)
    (pair,) = await _all(hub, DuplicateCandidate)
    assert (pair.contact_id, pair.other_id, pair.reason) == (vera.id, boris.id, "shared_request")
    assert [message.contact_id for message in await _all(hub, Message)] == [vera.id, boris.id, vera.id]
    assert {(i.value, i.contact_id) for i in await _all(hub, ContactIdentity)} == {
        ("+79161234567", vera.id),
        ("boris@example.com", boris.id),
    }
    await post(webform, email="boris@example.com", phone="+79161234567", message="again")
    assert await _counts(hub, DuplicateCandidate) == [1]


async def test_in_one_batch_too(hub, webform, take_on, post, drain):
    await take_on("Anna")
    await post(webform, then_drain=False, name="Vera", phone="89161234567")
    await post(webform, then_drain=False, name="Boris", email="boris@example.com")
    await post(webform, then_drain=False, email="boris@example.com", phone="89161234567", message="both")
    await post(webform, then_drain=False, phone="+79161234567", message="Vera again")
    await drain()
    assert await _counts(hub, Contact, Deal, DuplicateCandidate, Message) == [2, 2, 1, 4]


async def test_somebody_without_any_address_is_a_contact_of_their_own_each_time(hub, webform, take_on, post):
    await take_on("Anna")
    await post(webform, message="hello")
    await post(webform, message="hello again")
    assert await _counts(hub, Contact, ContactIdentity, Lead, Deal) == [2, 0, 2, 2]


@pytest.mark.parametrize("together", [False, True])
async def test_a_name_given_later_is_kept_and_found(hub, webform, take_on, post, drain, together):
    await take_on("Anna")
    await post(webform, then_drain=not together, phone="89161234567", message="call me")
    await post(webform, then_drain=not together, phone="89161234567", name="Вера Ёлкина", message="it is me")
    await post(webform, then_drain=not together, phone="89161234567", name="Somebody Else", message="me too")
    await drain()
    (contact,) = await _all(hub, Contact)
    assert contact.name == "Вера Ёлкина"
    assert "вера елкина" in contact.search
    assert "+79161234567" in contact.search


async def test_a_new_address_of_a_known_person_is_added_and_found(hub, webform, take_on, post):
    await take_on("Anna")
    await post(webform, name="Vera", phone="89161234567")
    await post(webform, phone="89161234567", email="Vera@Example.com", message="my e-mail")
    await post(webform, email="vera@example.com", message="from my e-mail")
    (contact,) = await _all(hub, Contact)
    assert "vera@example.com" in contact.search
    assert await _counts(hub, ContactIdentity, Deal) == [2, 1]


# --- what it becomes ---


async def test_another_pipeline_is_another_deal(hub, webform, take_on, post):
    await take_on("Anna")
    async with hub.database.transaction() as session:
        session.add(pipeline := Pipeline(name="Repairs", created_at=MONDAY_TEN))
        await session.flush()
        session.add(Stage(pipeline_id=pipeline.id, name="Asked", position=0, created_at=MONDAY_TEN))
    repairs = await add_webform(hub, pipeline_id=pipeline.id)
    await post(webform, name="Vera", phone="89161234567")
    await post(repairs, name="Vera", phone="89161234567", message="broken")
    await post(repairs, phone="89161234567", message="still broken")
    sales, repair = await _all(hub, Deal)
    assert sales.pipeline_id != repair.pipeline_id == pipeline.id
    assert await _counts(hub, Contact, Lead) == [1, 2]
    assert [message.text for message in await _all(hub, Message)] == ["", "broken", "still broken"]


async def test_a_connection_may_make_leads_without_deals(hub, take_on, post):
    await take_on("Anna")
    webform = await add_webform(hub, make_deal=False)
    await post(webform, name="Vera", phone="89161234567")
    await post(webform, phone="89161234567", message="and?")
    assert await _counts(hub, Contact, Lead, Deal, Task, Message) == [1, 1, 0, 0, 2]


async def test_a_connection_may_make_no_leads(hub, take_on, post):
    await take_on("Anna")
    webform = await add_webform(hub, make_lead=False)
    await post(webform, name="Vera", phone="89161234567")
    assert await _counts(hub, Contact, Conversation, Message, Lead, Deal, Task) == [1, 1, 1, 0, 0, 0]


async def test_a_further_request_makes_a_task_when_nobody_has_one(hub, webform, take_on, post, clock):
    anna = await take_on("Anna")
    await post(webform, name="Vera", phone="89161234567")
    async with hub.database.transaction() as session:
        (task,) = list(await session.scalars(select(Task)))
        await complete(session, task, at=clock.now(), actor_id=anna.id)
    clock.advance(timedelta(hours=2))
    await post(webform, phone="89161234567", message="one more thing")
    await post(webform, phone="89161234567", message="and another")
    first, second = await _all(hub, Task)
    assert (second.title, second.assignee_id, second.deal_id) == ("Answer the new request", anna.id, first.deal_id)
    assert second.due_at == clock.now() + timedelta(minutes=15)
    assert await _counts(hub, Deal, Lead) == [1, 1]


async def test_a_request_for_somebody_who_left_reaches_somebody_who_is_there(hub, webform, take_on, post, clock):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    await post(webform, name="Vera", phone="89161234567")
    (task,) = await _all(hub, Task)
    gone, left = (anna, boris) if task.assignee_id == anna.id else (boris, anna)
    async with hub.database.transaction() as session:
        await session.execute(update(User).where(User.id == gone.id).values(is_active=False))
        await complete(session, await session.get(Task, task.id), at=clock.now(), actor_id=gone.id)
    await post(webform, phone="89161234567", message="hello?")
    assert [task.assignee_id for task in await _all(hub, Task)] == [gone.id, left.id]


async def test_a_closed_deal_is_followed_by_a_new_one(hub, webform, take_on, post, clock):
    anna = await take_on("Anna")
    await post(webform, name="Vera", phone="89161234567")
    async with hub.database.transaction() as session:
        (deal,) = list(await session.scalars(select(Deal)))
        await deals.win(session, deal, at=clock.now(), actor_id=anna.id)
    await post(webform, phone="89161234567", message="windows again")
    assert await _counts(hub, Contact, Lead, Deal, Conversation) == [1, 2, 2, 1]


async def test_a_resolved_conversation_begins_a_new_episode(hub, webform, take_on, post, clock):
    await take_on("Anna")
    await post(webform, name="Vera", phone="89161234567")
    async with hub.database.transaction() as session:
        await session.execute(update(Episode).values(resolved_at=clock.now()))
        await session.execute(update(Conversation).values(status="resolved", waiting_since=None, unread=0))
    await post(webform, phone="89161234567", message="back again")
    (talk,) = await _all(hub, Conversation)
    assert (talk.status, talk.unread, talk.last_message_text) == ("open", 1, "back again")
    assert talk.waiting_since == clock.now()
    assert await _counts(hub, Episode) == [2]


async def test_the_customer_waits_since_their_first_unanswered_word(hub, webform, take_on, post, drain, clock):
    await take_on("Anna")
    await post(webform, name="Vera", phone="89161234567")
    async with hub.database.transaction() as session:
        await session.execute(update(Conversation).values(waiting_since=None))
    began = clock.now()
    await post(webform, then_drain=False, phone="89161234567", message="one")
    clock.advance(timedelta(minutes=3))
    await post(webform, then_drain=False, phone="89161234567", message="two")
    await drain()
    (talk,) = await _all(hub, Conversation)
    assert (talk.waiting_since, talk.last_message_text, talk.unread) == (began, "two", 3)


@pytest.mark.parametrize(
    ("scheme", "because", "is_lifted"),
    [
        ("telegram", "gone", True),
        ("vk", "opted_out", True),
        ("phone", "dead", True),
        ("phone", "opted_out", False),
        ("email", "opted_out", False),
    ],
)
async def test_who_writes_again_can_be_written_to_unless_they_took_themselves_off(
    hub, post, scheme, because, is_lifted
):
    connection = await add_webform(hub)
    live = hub.switchboard.by_id(connection.id)
    address = Address(scheme, {"phone": "+79120000001", "email": "vera@example.com"}.get(scheme, "7"))

    async def say(external_id):
        event = Incoming(
            text="?", peer="7", external_id=external_id, claims=(Claim(address, address.value, Trust.ATTESTED),)
        )
        async with hub.database.transaction() as session:
            await intake.receive(session, [Received(1, hub.clock.now(), live.source, event)], now=hub.clock.now())

    await say("1")
    async with hub.database.transaction() as session:
        await changes.block(session, address, because=because, at=hub.clock.now())
    await say("1")
    (identity,) = await _all(hub, ContactIdentity)
    assert identity.blocked_because == because, "a repeat says nothing new"
    await say("2")
    (identity,) = await _all(hub, ContactIdentity)
    assert (identity.blocked_because is None) == is_lifted


# --- at once, again, and gone wrong ---


async def test_twenty_requests_of_a_new_person_on_two_nodes_are_one_contact(
    hub, webform, take_on, post, settings, database_url
):
    await take_on("Anna")
    async with _second_node(settings, database_url) as other:
        for number in range(20):
            fields = {"phone": "89161234567"} if number % 2 else {"phone": "89161234567", "email": "vera@example.com"}
            await post(webform, then_drain=False, into=(hub, other)[number % 2], message=str(number), **fields)
        async with hub.database.transaction() as session:  # each in a lane of its own: no help from the queue's order
            await session.execute(text("UPDATE deliveries SET lane = lane || id"))
        await _work(hub, other)
    assert await _counts(hub, Contact, ContactIdentity, Lead, Deal, Task, Conversation, Message) == [
        1,
        2,
        1,
        1,
        1,
        1,
        20,
    ]
    assert {delivery.state for delivery in await _all(hub, Delivery)} == {"processed"}


async def test_two_addresses_of_a_known_person_at_once_on_two_nodes_open_one_deal(
    hub, webform, take_on, post, settings, database_url
):
    await take_on("Anna")
    async with hub.database.transaction() as session:
        for number in range(12):
            session.add(contact := Contact(name=f"P{number}", created_at=MONDAY_TEN))
            await session.flush()
            for scheme, value in (("phone", f"+791612300{number:02}"), ("email", f"p{number}@example.com")):
                session.add(
                    ContactIdentity(
                        contact_id=contact.id,
                        scheme=scheme,
                        value=value,
                        raw=value,
                        trust="typed",
                        created_at=MONDAY_TEN,
                    )
                )
    async with _second_node(settings, database_url) as other:
        for number in range(12):
            await post(webform, then_drain=False, phone=f"+791612300{number:02}", message="by phone")
            await post(webform, then_drain=False, email=f"p{number}@example.com", message="by e-mail")
        await _work(hub, other, batch=6)
    assert await _counts(hub, Contact, Deal, Lead, Message) == [12, 12, 12, 24]


async def _poison(hub):
    """Have the database itself refuse a message, whoever writes it."""
    async with hub.database.transaction() as session:
        await session.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "IF NEW.text = 'poison' THEN RAISE EXCEPTION 'poisoned'; END IF; RETURN NEW; END $$"
            )
        )
        await session.execute(
            text("CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()")
        )


async def test_a_poisoned_request_leaves_its_forty_nine_neighbours_alone(hub, webform, take_on, post, drain, clock):
    await take_on("Anna")
    await _poison(hub)
    for number in range(50):
        message = "poison" if number == 20 else "fine"
        await post(webform, then_drain=False, email=f"p{number}@example.com", message=message)
    await drain()
    deliveries = await _all(hub, Delivery)
    assert [d.state for d in deliveries].count("processed") == 49
    assert (deliveries[20].state, "poisoned" in deliveries[20].error) == ("failed", True)
    assert await _counts(hub, Contact, Lead, Deal) == [49, 49, 49]
    for _ in range(10):
        clock.advance(timedelta(hours=4))
        await drain()
    dead = (await _all(hub, Delivery))[20]
    assert (dead.state, dead.due_at) == ("dead", None)
    async with hub.database.transaction() as session:
        await session.execute(text("DROP TRIGGER refuse ON messages"))
        assert await exchange.replay(session, [dead.id], now=clock.now()) == 1
    await drain()
    assert (await _all(hub, Delivery))[20].state == "processed"
    assert await _counts(hub, Contact, Lead, Deal) == [50, 50, 50]


async def test_what_one_person_says_after_a_poisoned_word_waits_for_it(hub, webform, take_on, post, drain, clock):
    await take_on("Anna")
    await _poison(hub)
    for message in ("first", "poison", "third"):
        await post(webform, then_drain=False, phone="89161234567", message=message)
    await post(webform, then_drain=False, phone="89161234568", message="somebody else")
    await drain()
    assert [message.text for message in await _all(hub, Message)] == ["first", "somebody else"]
    assert [delivery.state for delivery in await _all(hub, Delivery)] == [
        "processed",
        "failed",
        "received",
        "processed",
    ]
    async with hub.database.transaction() as session:
        await session.execute(text("DROP TRIGGER refuse ON messages"))
    clock.advance(timedelta(seconds=5))
    await drain()
    assert [message.text for message in await _all(hub, Message)] == ["first", "somebody else", "poison", "third"]


async def test_a_replay_of_what_was_understood_changes_nothing(hub, webform, take_on, post, drain, clock):
    await take_on("Anna")
    await post(webform, **VERA)
    models = (Contact, ContactIdentity, Lead, Deal, Task, Conversation, Message)
    (before,) = await _all(hub, Delivery)
    known = [await _all(hub, model) for model in models]
    clock.advance(timedelta(minutes=2))
    async with hub.database.transaction() as session:
        assert await exchange.replay(session, [before.id], now=clock.now()) == 1
    await drain()
    (after,) = await _all(hub, Delivery)
    assert (after.state, after.events, after.body) == ("processed", before.events, before.body)
    assert [[vars(row) | {"_sa_instance_state": 0} for row in await _all(hub, model)] for model in models] == [
        [vars(row) | {"_sa_instance_state": 0} for row in rows] for rows in known
    ]


async def test_a_number_with_a_territory_to_it_is_understood(hub, webform, take_on, post):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    async with hub.database.transaction() as session:
        await session.execute(update(User).where(User.id == anna.id).values(territories=["RU"]))
        await session.execute(update(User).where(User.id == boris.id).values(territories=["DE"]))
    for number, phone in enumerate(["+79161234567", "+4930901820", "+79161234568", "+800 1234 5678"]):
        await post(webform, name=f"P{number}", phone=phone)
    owners = [lead.owner_id for lead in await _all(hub, Lead)]
    assert owners[:3] == [anna.id, boris.id, anna.id]
    assert owners[3] is not None


# --- two nodes in the same moment, step by step ---


def _received(webform, number, *claims):
    source = Source(webform.id, "webform", "Website")
    event = Incoming(
        external_id=f"e{number}", text="hello", claims=tuple(Claim(a, a.value, Trust.TYPED) for a in claims)
    )
    return [Received(number, MONDAY_TEN, source, event)]


async def _one_after_the_other(hub, first, second):
    """Let a second node begin while the first has not committed; return what became of both events."""
    async with hub.database.reading() as one, hub.database.reading() as two:
        (early,) = await intake.receive(one, first, now=MONDAY_TEN)
        late = asyncio.create_task(intake.receive(two, second, now=MONDAY_TEN))
        done, _ = await asyncio.wait({late}, timeout=0.2)
        assert not done
        await one.commit()
        (result,) = await asyncio.wait_for(late, 5)
        await two.commit()
    return early, result


async def test_a_node_waits_for_another_that_meets_the_same_person(hub, webform, take_on):
    await take_on("Anna")
    phone = Address("phone", "+79161234567")
    early, late = await _one_after_the_other(hub, _received(webform, 1, phone), _received(webform, 2, phone))
    assert (early.contact_id, early.deal_id) == (late.contact_id, late.deal_id)


async def test_a_node_waits_for_another_that_has_the_same_person_by_another_address(hub, webform, take_on):
    await take_on("Anna")
    phone, mail = Address("phone", "+79161234567"), Address("email", "vera@example.com")
    async with hub.database.transaction() as session:
        session.add(contact := Contact(name="Vera", created_at=MONDAY_TEN))
        await session.flush()
        for address in (phone, mail):
            session.add(
                ContactIdentity(
                    contact_id=contact.id, scheme=address.scheme, value=address.value, raw="", trust="typed",
                    created_at=MONDAY_TEN,
                )
            )  # fmt: skip
    early, late = await _one_after_the_other(hub, _received(webform, 1, phone), _received(webform, 2, mail))
    assert early.deal_id == late.deal_id is not None
    assert await _counts(hub, Deal, Lead, Task) == [1, 1, 1]
