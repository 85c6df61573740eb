"""Scenario C: whichever way somebody writes, they are one person; and who was taken for one can be two again.

Everything comes through the real door, signed as its provider signs it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from importlib import import_module

import pytest
from sqlalchemy import func, select

from channels import registry
from channels.contract import ParseContext, Receiver
from core.kernel.envelopes import CallEvent, Incoming
from core.people import merging
from core.people.contacts import Contact, ContactIdentity, DuplicateCandidate
from core.sales.deals import Deal
from core.staff import workspace
from core.talk.conversations import Conversation, Message
from core.work.tasks import Task
from hub import connections
from hub.exchange import Exchange
from tests.channels.payloads import sms_twilio, telegram
from tests.conftest import VERA

NOWHERE = "http://127.0.0.1:9"
PHONE = "+79161234567"
SHARED = {"phone_number": "79161234567", "first_name": "Вера", "user_id": telegram.VERA["id"]}


@pytest.fixture
def all_of(hub):
    async def read(model):
        async with hub.database.reading() as session:
            return list(await session.scalars(select(model).order_by(model.id)))

    return read


async def _connect(hub, kind, settings, **common):
    async with hub.database.transaction() as session:
        made = await connections.create(
            session, hub.vault, kind=kind, title=kind, settings=settings, at=hub.clock.now(), **common
        )
    await hub.switchboard.refresh()
    return made


@pytest.fixture
async def bot(hub):
    return await _connect(hub, "telegram", {**telegram.SETTINGS, "base_url": NOWHERE})


@pytest.fixture
def writes(client, bot, drain):
    """Vera writes to the bot, as Telegram would report it."""
    numbers = iter(range(1, 10_000))

    async def send(**what):
        number = next(numbers)
        request = telegram.request(telegram.update(number, message=telegram.message(number, **what)))
        answer = await client.post(f"/hooks/{bot.key}", data=request.body, headers=dict(request.headers))
        assert answer.status == 200, await answer.text()
        await drain()

    return send


@pytest.fixture
def asks(client, webform, drain):
    """Vera sends the website's form."""

    async def send(**more):
        answer = await client.post(f"/hooks/{webform.key}", data={**VERA, **more})
        assert answer.status == 200
        await drain()

    return send


async def test_an_sms_from_the_number_of_a_request_is_the_same_persons(hub, client, asks, drain, take_on, all_of):
    await take_on("Anna")
    await asks()
    (vera,) = await all_of(Contact)
    twilio = await _connect(hub, "sms_twilio", {**sms_twilio.SETTINGS, "base_url": NOWHERE})
    url = str(client.make_url(f"/hooks/{twilio.key}"))
    form = {**sms_twilio.TEXT, "From": PHONE, "Body": "Это снова Вера"}
    request = sms_twilio.signed(form)
    forged = await client.post(f"/hooks/{twilio.key}", data=request.body, headers=dict(request.headers))
    assert forged.status in (401, 403), "the signature is of another address"
    headers = dict(request.headers) | {"x-twilio-signature": _signature(url, form)}
    answer = await client.post(f"/hooks/{twilio.key}", data=request.body, headers=headers)
    assert answer.status == 200, await answer.text()
    await drain()
    assert [contact.id for contact in await all_of(Contact)] == [vera.id]
    said = {message.text: message for message in await all_of(Message)}
    assert said["Это снова Вера"].contact_id == vera.id
    kinds = {talk.connection_id for talk in await all_of(Conversation) if talk.contact_id == vera.id}
    assert len(kinds) == 2, "a conversation on each channel, one person"
    assert len(await all_of(Deal)) == 1, "it joins her open deal"


def _signature(url, form):
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(sms_twilio.TOKEN.encode(), text.encode(), hashlib.sha1).digest()).decode()


async def test_a_number_she_shares_in_telegram_offers_the_website_contact_and_merges_nobody(
    asks, writes, take_on, all_of
):
    await take_on("Anna")
    await asks()
    await writes(text="Здравствуйте")
    website, account = await all_of(Contact)
    await writes(text=None, contact=SHARED)
    assert [contact.id for contact in await all_of(Contact)] == [website.id, account.id]
    (pair,) = await all_of(DuplicateCandidate)
    assert (pair.contact_id, pair.other_id, pair.dismissed) == (website.id, account.id, False)
    owners = {(identity.scheme, identity.contact_id) for identity in await all_of(ContactIdentity)}
    assert owners == {("phone", website.id), ("email", website.id), ("telegram", account.id)}


async def test_where_the_company_wants_it_she_is_one_person_at_once_and_can_be_two_again(
    hub, asks, writes, take_on, all_of
):
    await take_on("Anna")
    async with hub.database.transaction() as session:
        (await workspace.get(session)).merges_attested = True
    await asks()
    await writes(text="Здравствуйте")
    website, account = await all_of(Contact)
    await writes(text=None, contact=SHARED)
    (vera,) = await all_of(Contact)
    assert vera.id == website.id
    assert {row.contact_id for model in (Conversation, Message, Deal, Task) for row in await all_of(model)} == {vera.id}
    await writes(text="Есть вопрос")
    assert len(await all_of(Contact)) == 1

    async with hub.database.transaction() as session:
        (record,) = await merging.of_contact(session, vera.id)
        assert record.reason == "attested"
        await merging.undo(session, record, at=hub.clock.now(), actor_id=None)
    assert [contact.id for contact in await all_of(Contact)] == [website.id, account.id]
    said = {message.text: message.contact_id for message in await all_of(Message)}
    assert said["Здравствуйте"] == said["Есть вопрос"] == account.id
    assert said[VERA["message"]] == website.id
    await writes(text=None, contact=SHARED)
    assert len(await all_of(Contact)) == 2, "what somebody took apart no rule puts together again"
    await writes(text="И ещё")
    assert (await all_of(Message))[-1].contact_id == account.id


async def test_somebody_elses_card_is_no_word_of_the_provider(hub, asks, writes, take_on, all_of):
    await take_on("Anna")
    async with hub.database.transaction() as session:
        (await workspace.get(session)).merges_attested = True
    await asks()
    await writes(text=None, contact={**SHARED, "user_id": 42})
    assert len(await all_of(Contact)) == 2
    assert {(row.scheme, row.contact_id) for row in await all_of(ContactIdentity)} >= {
        ("phone", (await all_of(Contact))[0].id)
    }


def _receivers():
    return [
        kind
        for kind in registry.KINDS
        if isinstance(registry.build(kind, import_module(f"tests.channels.payloads.{kind}").SETTINGS), Receiver)
    ]


def _people(events):
    """Count whom events are from: those who share an address are one; of those without any, each is somebody new.

    Behind a call there is one customer, whatever legs and events it has.
    """
    groups = []
    for event in events:
        if isinstance(event, Incoming) and not event.is_ours:
            mine = {str(claim.address) for claim in event.claims} or {f"nobody {len(groups)}"}
            mine = mine.union(*(group for group in groups if group & mine))
            groups = [group for group in groups if not group & mine] + [mine]
    return len(groups) + len({event.call_id for event in events if isinstance(event, CallEvent)})


@pytest.mark.parametrize("kind", _receivers())
async def test_an_unknown_address_makes_one_new_contact_and_a_known_one_none(hub, kind):
    payloads = import_module(f"tests.channels.payloads.{kind}")
    connection = await _connect(hub, kind, payloads.SETTINGS, default_country="RU")
    channel = hub.switchboard.by_id(connection.id).channel
    context = ParseContext("RU", "Europe/Moscow", hub.clock.now())
    for turn in range(2):  # the second time the same requests come as others: their senders are known
        for number, request in enumerate(payloads.REQUESTS):
            before = await _count(hub)
            routed = channel.route(request)
            await hub.ingress.accept(connection.id, request, dedupe_key=f"{turn}.{number}", peer=routed.peer)
            exchange = Exchange(hub.database, hub.switchboard, hub.clock, batch=400)
            while await exchange.work(hub.worker_id):
                pass
            events = channel.parse(request, context)
            if turn:
                events = [event for event in events if isinstance(event, Incoming) and not event.claims]
            assert await _count(hub) - before <= _people(events), request


async def _count(hub):
    async with hub.database.reading() as session:
        return await session.scalar(select(func.count()).select_from(Contact))
