"""Sending, from an answer in the workspace to the provider and back: each ends as it has to, whatever happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import select, text, update

from core.connections import Connection, Health
from core.kernel.clock import MovableClock
from core.kernel.errors import Conflict, Rejected
from core.kernel.waiting import end
from core.people import contacts
from core.people.contacts import ContactIdentity
from core.talk import outbox
from core.talk.conversations import Conversation, Message, MessageId
from core.talk.outbox import MessagePart, Outgoing, ProviderExchange
from hub import connections, replies, worker
from hub.app import Hub
from hub.sending import Outbox
from tests.channels.provider import Asked, Provider, playing

SENT = {"sid": "SM1", "status": "queued", "error_code": None}
MESSAGES = r"/2010-04-01/Accounts/AC1/Messages\.json"
TOKEN = "a-secret-that-nobody-sees"


@pytest.fixture
async def twilio() -> AsyncIterator[Provider]:
    async with playing() as provider:
        yield provider


@pytest.fixture
async def sms(hub: Hub, twilio: Provider) -> Connection:
    """An SMS channel whose provider is played here."""
    return await add_sms(hub, twilio)


async def add_sms(hub: Hub, twilio: Provider, **common: Any) -> Connection:
    async with hub.database.transaction() as session:
        connection = await connections.create(
            session,
            hub.vault,
            kind="sms_twilio",
            title="SMS",
            settings={
                "account_sid": "AC1",
                "auth_token": TOKEN,
                "sender": "+15550001111",
                "base_url": twilio.url,
            },
            at=hub.clock.now(),
            **common,
        )
    await hub.switchboard.refresh()
    return connection


Answering = Callable[..., Awaitable[Message]]


@pytest.fixture
async def vera(hub: Hub, client: Any, webform: Connection, take_on: Any, drain: Any) -> Conversation:
    """Vera has filled in the website's form."""
    await take_on("Anna")
    form = {"name": "Вера", "phone": "8 (916) 123-45-67", "message": "3 windows"}
    assert (await client.post(f"/hooks/{webform.key}", data=form)).status == 200
    await drain()
    async with hub.database.reading() as session:
        found = await session.scalar(select(Conversation))
    assert found is not None
    return found


@pytest.fixture
async def answer(hub: Hub, vera: Conversation) -> Answering:
    """Answers Vera; what goes wrong with it is raised."""

    async def say(words: str = "Good morning", **more: Any) -> Message:
        async with hub.database.transaction() as session:
            conversation = await session.get_one(Conversation, more.pop("conversation_id", vera.id))
            return await replies.reply(session, hub, conversation, author_id=None, text=words, **more)

    return say


async def message_of(hub: Hub, message_id: int) -> Message:
    async with hub.database.reading() as session:
        return await session.get_one(Message, message_id)


async def all_of(hub: Hub, model: Any) -> list[Any]:
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model)))


async def test_an_answer_to_a_form_goes_by_the_channel_that_reaches_the_customer(hub, sms, twilio, answer, drain, vera):
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    written = await answer("Здравствуйте! Когда удобно?")
    assert written.status == "queued"
    await drain()
    message = await message_of(hub, written.id)
    assert (message.status, message.error_text, message.uncertain) == ("sent", None, False)
    (asked,) = [one for one in twilio.asked if one.method == "POST"]
    assert (asked.form["To"], asked.form["Body"]) == ("+79161234567", "Здравствуйте! Когда удобно?")
    (known,) = await all_of(hub, MessageId)
    assert (known.external_id, known.message_id) == ("SM1", message.id)
    assert await all_of(hub, Outgoing) == []
    assert message.conversation_id != vera.id, "it is said where the customer will answer"


async def test_a_repeated_drain_sends_nothing_twice(hub, sms, twilio, answer, drain):
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    await answer()
    await drain()
    await drain()
    assert len([one for one in twilio.asked if one.method == "POST"]) == 1


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (400, {"code": 21211, "message": "Invalid 'To' number", "status": 400}, "21211"),
        (400, {"code": 21610, "message": "unsubscribed", "status": 400}, "21610"),
    ],
)
async def test_what_the_provider_refuses_fails_with_its_reason_and_can_be_sent_again(
    hub, sms, twilio, answer, drain, status, said, expected
):
    twilio.answers("POST", MESSAGES, status=status, json=said)
    written = await answer()
    await drain()
    message = await message_of(hub, written.id)
    assert (message.status, message.error_code) == ("failed", expected)
    assert message.error_text
    async with hub.database.transaction() as session:
        await session.execute(update(ContactIdentity).values(blocked_because=None, blocked_at=None))
        await outbox.retry(session, await session.get_one(Message, written.id), at=hub.clock.now())
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    await drain()
    assert (await message_of(hub, written.id)).status == "sent"


async def test_who_has_said_stop_is_not_written_to(hub, sms, twilio, answer, drain):
    twilio.answers("POST", MESSAGES, status=400, json={"code": 21610, "message": "unsubscribed", "status": 400})
    await answer()
    await drain()
    (blocked,) = [row for row in await all_of(hub, ContactIdentity) if row.blocked_because]
    assert (blocked.scheme, blocked.blocked_because) == ("phone", "opted_out")
    with pytest.raises(Rejected, match="asked not to be written"):
        await answer("Are you sure?")


async def test_a_provider_that_is_too_busy_holds_the_whole_channel_as_long_as_it_says(
    hub, sms, twilio, answer, drain, clock
):
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    twilio.answers(
        "POST", MESSAGES, status=429, json={"code": 20429, "message": "slow"}, headers={"Retry-After": "7"}, once=True
    )
    written = await answer()
    await drain()
    assert (await message_of(hub, written.id)).status in ("queued", "sending")
    clock.advance(timedelta(seconds=6))
    await drain()
    assert len([one for one in twilio.asked if one.method == "POST"]) == 1
    clock.advance(timedelta(seconds=2))
    await drain()
    assert (await message_of(hub, written.id)).status == "sent"


async def test_a_broken_provider_is_tried_again_later_and_later(hub, sms, twilio, answer, drain, clock):
    twilio.answers("POST", MESSAGES, status=503, body="down")
    written = await answer()
    await drain()
    message = await message_of(hub, written.id)
    assert (message.status, bool(message.error_text)) == ("queued", True)
    for seconds in (6, 31, 121):
        clock.advance(timedelta(seconds=seconds))
        await drain()
    assert len([one for one in twilio.asked if one.method == "POST"]) == 4
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    clock.advance(timedelta(minutes=11))
    await drain()
    assert (await message_of(hub, written.id)).status == "sent"


async def test_a_message_that_nobody_took_for_a_day_has_failed(hub, sms, twilio, answer, drain, clock):
    twilio.answers("POST", MESSAGES, status=503, body="down")
    written = await answer()
    await drain()
    clock.advance(timedelta(hours=25))
    await drain()
    message = await message_of(hub, written.id)
    assert (message.status, message.error_code) == ("failed", "expired")


async def test_a_connection_cut_after_the_request_was_written_leaves_it_uncertain_and_unsent_again(
    hub, sms, twilio, answer, drain, clock
):
    twilio.breaks("POST", MESSAGES)
    written = await answer()
    await drain()
    message = await message_of(hub, written.id)
    assert (message.status, message.uncertain) == ("sent", True)
    assert "may have gone" in (message.error_text or "")
    clock.advance(timedelta(hours=1))
    await drain()
    assert len([one for one in twilio.asked if one.method == "POST"]) == 1


async def test_a_delivery_report_settles_what_was_uncertain(hub, client, sms, twilio, answer, drain):
    callbacks: list[str] = []

    def take(asked: Asked) -> Any:
        callbacks.append(asked.form["StatusCallback"])
        raise ConnectionResetError

    twilio.does("POST", MESSAGES, take)
    written = await answer()
    await drain()
    assert len(callbacks) == 1
    query = callbacks[0].partition("?")[2]
    assert f"{written.id}.0" in query.replace("%2E", ".")


async def test_a_status_that_comes_before_the_answer_waits_for_it(hub, sms, twilio, answer, drain):
    from core.kernel.envelopes import Status
    from core.talk import statuses
    from core.talk.statuses import Reported

    early = Status(status="delivered", external_id="SM1")
    async with hub.database.transaction() as session:
        await statuses.apply(session, [Reported(sms.id, early, hub.clock.now())], now=hub.clock.now())
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    written = await answer()
    await drain()
    message = await message_of(hub, written.id)
    assert (message.status, message.delivered_at) == ("delivered", hub.clock.now())


@pytest.mark.parametrize(
    ("reports", "ends"),
    [
        (["delivered", "sent"], "delivered"),
        (["read", "delivered", "sent"], "read"),
        (["failed"], "failed"),
        (["failed", "delivered"], "delivered"),
        (["delivered", "failed"], "delivered"),
        (["sent", "sent"], "sent"),
    ],
)
async def test_statuses_only_move_forward(hub, sms, twilio, answer, drain, reports, ends):
    from core.kernel.envelopes import Status
    from core.talk import statuses
    from core.talk.statuses import Reported

    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    written = await answer()
    await drain()
    for report in reports:
        said = Status(status=report, external_id="SM1", error_text="absent subscriber")
        async with hub.database.transaction() as session:
            await statuses.apply(session, [Reported(sms.id, said, hub.clock.now())], now=hub.clock.now())
    message = await message_of(hub, written.id)
    assert message.status == ends
    assert message.error_text == ("absent subscriber" if ends == "failed" else None)


async def test_a_sender_that_died_in_the_middle_leaves_word_and_nothing_is_sent_twice(hub, sms, twilio, answer, drain):
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    written = await answer()
    async with hub.database.transaction() as session:  # as a sender leaves it that was killed during the call
        await session.execute(update(MessagePart).values(state="sending"))
        await session.execute(update(Message).where(Message.id == written.id).values(status="sending"))
    await drain()
    message = await message_of(hub, written.id)
    assert (message.status, message.uncertain, message.error_code) == ("sent", True, "interrupted")
    assert [one for one in twilio.asked if one.method == "POST"] == []


async def test_two_senders_send_a_message_once(hub, sms, twilio, answer):
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    for number in range(5):
        await answer(f"message {number}")
    first, second = Outbox(hub), Outbox(hub)
    while await first.work() or await second.work():
        pass
    assert [one.form["Body"] for one in twilio.asked if one.method == "POST"] == [f"message {n}" for n in range(5)]


async def test_a_crowd_is_written_to_at_once_and_each_fares_by_themselves(hub, sms, twilio, clock):
    """More conversations than are in hand at once, two messages each: some numbers are refused, one breaks the line."""
    refused, broken = {3, 77, 140}, 41

    def taking(asked: Asked) -> web.StreamResponse:
        number = int(asked.form["To"][-4:])
        if number in refused:
            return web.json_response({"code": 21211, "message": "Invalid", "status": 400}, status=400)
        return web.json_response({**SENT, "sid": f"SM{number}.{asked.form['Body']}"}, status=201)

    twilio.does("POST", MESSAGES, taking)
    crowd: dict[int, list[int]] = {}
    async with hub.database.transaction() as session:
        for number in range(150):
            phone = f"+7916555{number:04d}"
            guest = await contacts.add(session, identities=[("phone", phone)], at=hub.clock.now())
            crowd[number] = [
                (
                    await replies.write_to(
                        session, hub, contact_id=guest.id, connection_id=sms.id, number=phone, text=words
                    )
                ).id
                for words in ("one", "two")
            ]
        # what is wrong with one is wrong with it alone: a part that nobody can read
        await session.execute(
            update(MessagePart)
            .where(MessagePart.message_id == crowd[broken][0])
            .values(content={"buttons": [[1, 2, 3]]})
        )
    sender = Outbox(hub)
    working = asyncio.create_task(sender.run(asyncio.Event(), look_every=0.05))
    async with asyncio.timeout(60):
        while await _count_due(hub) > 2:
            clock.advance(timedelta(seconds=1))
            await asyncio.sleep(0.05)
    await end(working)
    bodies: dict[int, list[str]] = {}
    for one in twilio.asked:
        bodies.setdefault(int(one.form["To"][-4:]), []).append(one.form["Body"])
    assert all(bodies[number] == ["one", "two"] for number in range(150) if number != broken)
    states = {message.id: message.status for message in await all_of(hub, Message)}
    for number, ids in crowd.items():
        wanted = "failed" if number in refused else "queued" if number == broken else "sent"
        assert [states[message_id] for message_id in ids] == [wanted, wanted], number


async def _count_due(hub: Hub) -> int:
    async with hub.database.reading() as session:
        return int(await session.scalar(text("SELECT count(*) FROM outbox")) or 0)


async def test_credentials_that_are_refused_again_and_again_stop_the_channel_and_nothing_is_lost(
    hub, sms, twilio, answer, drain, clock
):
    twilio.answers("POST", MESSAGES, status=401, json={"code": 20003, "message": "Authenticate"})
    written = await answer()
    for _ in range(3):
        await drain()
        clock.advance(timedelta(minutes=3))
    async with hub.database.reading() as session:
        connection = await session.get_one(Connection, sms.id)
        assert connection.health == Health.REAUTHORISE
        assert connection.trouble
    await hub.switchboard.refresh()
    asked = len(twilio.asked)
    clock.advance(timedelta(minutes=30))
    await drain()
    assert len(twilio.asked) == asked, "nobody is asked again with credentials that are refused"
    assert (await message_of(hub, written.id)).status == "queued"
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    async with hub.database.transaction() as session:
        row = await session.get_one(Connection, sms.id)
        row.health = Health.ACTIVE
        await outbox.hurry(session, sms.id, at=hub.clock.now())
    await hub.switchboard.refresh()
    await drain()
    assert (await message_of(hub, written.id)).status == "sent"


async def test_what_is_said_to_a_provider_is_kept_without_the_secrets(hub, sms, twilio, answer, drain):
    twilio.answers("POST", MESSAGES, status=201, json={**SENT, "echo": TOKEN})
    await answer()
    await drain()
    (exchange,) = await all_of(hub, ProviderExchange)
    assert (exchange.method, exchange.status) == ("POST", 201)
    everything = json.dumps([exchange.url, exchange.sent, exchange.answered, exchange.problem])
    assert TOKEN not in everything
    assert "Good morning" in exchange.sent.replace("+", " ")


async def test_a_message_for_later_goes_when_its_time_has_come_and_can_be_taken_back(
    hub, sms, twilio, answer, drain, clock
):
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    later = hub.clock.now() + timedelta(hours=2)
    first, second = await answer("later", send_at=later), await answer("never", send_at=later)
    await drain()
    assert [one for one in twilio.asked if one.method == "POST"] == []
    assert (await message_of(hub, first.id)).status == "scheduled"
    async with hub.database.transaction() as session:
        message = await session.get_one(Message, second.id)
        await outbox.cancel(session, message, at=hub.clock.now(), actor_id=None)
    clock.advance(timedelta(hours=2, seconds=1))
    await drain()
    assert [one.form["Body"] for one in twilio.asked if one.method == "POST"] == ["later"]
    assert (await message_of(hub, second.id)).status == "canceled"
    with pytest.raises(Conflict):
        async with hub.database.transaction() as session:
            await outbox.cancel(session, await session.get_one(Message, first.id), at=hub.clock.now(), actor_id=None)


async def test_while_a_channel_is_paused_what_is_written_waits(hub, sms, twilio, answer, drain, clock):
    from core import connections as stored

    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    written = await answer()
    async with hub.database.transaction() as session:
        await stored.pause(session, await session.get_one(Connection, sms.id), "Holiday")
    await hub.switchboard.refresh()
    await drain()
    assert (await message_of(hub, written.id)).status == "queued"
    with pytest.raises(Rejected, match="Holiday"):
        await answer("another")
    async with hub.database.transaction() as session:
        await stored.resume(session, await session.get_one(Connection, sms.id))
        await outbox.hurry(session, sms.id, at=hub.clock.now())
    await hub.switchboard.refresh()
    await drain()
    assert (await message_of(hub, written.id)).status == "sent"


async def test_nobody_can_be_answered_who_left_no_address_that_a_channel_reaches(hub, answer):
    with pytest.raises(Rejected, match="no way to answer"):
        await answer()


async def test_answering_ends_the_wait_and_a_failure_brings_it_back(hub, sms, twilio, answer, drain, vera, client):
    twilio.answers("POST", MESSAGES, status=400, json={"code": 21211, "message": "Invalid", "status": 400})
    written = await answer()
    async with hub.database.transaction() as session:
        conversation = await session.get_one(Conversation, written.conversation_id)
        conversation.last_inbound_at = hub.clock.now()
    await drain()
    async with hub.database.reading() as session:
        conversation = await session.get_one(Conversation, written.conversation_id)
    assert conversation.waiting_since is not None, "the customer has heard nothing yet"


async def test_a_hundred_messages_to_one_channel_keep_its_pace(hub, sms, twilio, answer, clock: MovableClock):
    """The bucket holds one second's allowance and fills evenly, for all senders together."""
    from core.talk import pace

    live = hub.switchboard.by_id(sms.id)
    assert live is not None
    gone = 0
    async with hub.database.transaction() as session:
        for _ in range(100):
            gone += (await pace.take_turns(session, sms.id, 1, per_second=10, now=clock.now()))[0]
            clock.advance(timedelta(milliseconds=20))
    assert gone in range(28, 32), "ten at once, and then ten a second for two seconds"
    clock.advance(timedelta(seconds=1))
    async with hub.database.transaction() as session:
        assert await pace.take_turns(session, sms.id, 25, per_second=10, now=clock.now()) == (10, 0.1)
        clock.advance(timedelta(seconds=0.25))
        assert await pace.take_turns(session, sms.id, 25, per_second=10, now=clock.now()) == (2, 0.05)


async def test_dead_workers_give_back_what_they_had_in_hand(hub, sms, twilio, answer, drain):
    twilio.answers("POST", MESSAGES, status=201, json=SENT)
    written = await answer()
    async with hub.database.transaction() as session:
        await session.execute(
            text("UPDATE outbox SET due_at = :later"), {"later": hub.clock.now() + timedelta(minutes=5)}
        )
        await session.execute(
            text("INSERT INTO claims (worker_id, queue, ids) SELECT 4242, 'outbox', array_agg(id) FROM outbox")
        )
    await worker.recover(hub)
    await drain()
    assert (await message_of(hub, written.id)).status == "sent"


async def test_a_slow_provider_holds_up_nobody_else_and_is_let_finish_when_the_hub_stops(
    hub, sms, twilio, answer, client, webform
):
    """The first answer hangs; the second, to somebody else, goes; and stopping waits for the first."""
    held = asyncio.Event()

    def slow(asked: Asked) -> Any:
        if "slow" in asked.form["Body"]:
            return _Held(held)
        return web.json_response({**SENT, "sid": "SM2"}, status=201)

    twilio.does("POST", MESSAGES, slow)
    form = {"name": "Igor", "phone": "8 (916) 765-43-21", "message": "doors"}
    assert (await client.post(f"/hooks/{webform.key}", data=form)).status == 200
    await worker.drain(hub)
    async with hub.database.reading() as session:
        igor = (await session.scalars(select(Conversation).order_by(Conversation.id.desc()))).first()
    assert igor is not None
    first = await answer("slow")
    second = await answer("quick", conversation_id=igor.id)
    sending = asyncio.create_task(Outbox(hub).run(asyncio.Event(), look_every=0.05))
    async with asyncio.timeout(20):
        while (await message_of(hub, second.id)).status != "sent":
            await asyncio.sleep(0.02)
    assert (await message_of(hub, first.id)).status == "sending"
    sending.cancel()
    held.set()
    await asyncio.gather(sending, return_exceptions=True)
    message = await message_of(hub, first.id)
    assert (message.status, message.uncertain) == ("sent", False)


class _Held(web.Response):
    """An answer that comes when it is let go."""

    def __init__(self, held: asyncio.Event) -> None:
        super().__init__(status=201, text=json.dumps(SENT), content_type="application/json")
        self._held = held

    async def prepare(self, request: Any) -> Any:
        await self._held.wait()
        return await super().prepare(request)
