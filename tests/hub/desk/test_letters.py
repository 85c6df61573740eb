"""The desk by letter: an answer to a notification goes to the customer, once, and nobody else's does."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import select, text, update

from channels.email import quotes
from core.connections import Connection
from core.people.contacts import Contact
from core.sales.leads import Lead
from core.staff.audit import AuditEntry
from core.staff.users import Role, User
from core.talk.attachments import Attachment
from core.talk.conversations import Conversation, Message
from hub import connections, exchange, worker
from hub.app import Hub
from hub.desk import answerable, letters
from hub.settings import Settings
from tests.channels.provider import Provider, playing
from tests.peers.programs import free_ports
from webhooks.deliveries import Delivery
from webhooks.request import RawRequest

SENT = {"sid": "SM1", "status": "queued", "error_code": None}
MESSAGES = r"/2010-04-01/Accounts/AC1/Messages\.json"
MAILBOX = "support@hub.test"
ANNA = "anna@example.com"
LONG = "Добрый день! " + "Нужны три окна в дом, размеры пришлю позже. " * 10
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"


class Inbox:
    """What our own people were sent."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.letters.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        return "250 OK"

    def last(self) -> EmailMessage:
        return self.letters[-1]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def settings(settings: Settings, inbox: Inbox) -> Iterator[Settings]:
    (port,) = free_ports(1)
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield settings.model_copy(
        update={"smtp_url": SecretStr(f"smtp://127.0.0.1:{port}"), "smtp_sender": "Switchyard <crm@hub.test>"}
    )
    controller.stop()


@pytest.fixture
async def twilio() -> AsyncIterator[Provider]:
    async with playing() as provider:
        provider.answers("POST", MESSAGES, status=201, json=SENT)
        yield provider


@pytest.fixture
async def anna(take_on: Any) -> User:
    return await take_on("Anna")


async def connect(hub: Hub, kind: str, title: str, **settings: Any) -> Connection:
    async with hub.database.transaction() as session:
        made = await connections.create(
            session, hub.vault, kind=kind, title=title, settings=settings, at=hub.clock.now()
        )
    await hub.switchboard.refresh()
    return made


@pytest.fixture
async def mailbox(hub: Hub) -> Connection:
    """The company's mailbox; nobody listens to it: letters are put in as the listener would."""
    return await connect(
        hub, "email", "Support", address=MAILBOX, imap_host="127.0.0.1", smtp_host="127.0.0.1", password="p"
    )


@pytest.fixture
async def sms(hub: Hub, twilio: Provider) -> Connection:
    return await connect(
        hub, "sms_twilio", "SMS", account_sid="AC1", auth_token="t" * 12, sender="+15550001111", base_url=twilio.url
    )


@pytest.fixture
async def told(
    hub: Hub, client: Any, webform: Connection, anna: User, mailbox: Connection, sms: Connection, inbox: Inbox
) -> EmailMessage:
    """Вера has filled in the website's form, and Anna has got the letter about it."""
    form = {"name": "Вера", "phone": "8 (916) 123-45-67", "message": "3 windows"}
    assert (await client.post(f"/hooks/{webform.key}", data=form)).status == 200
    await worker.drain(hub)
    return next(letter for letter in inbox.letters if letter["To"] == ANNA)


Answering = Callable[..., Awaitable[int]]


@pytest.fixture
async def answer(hub: Hub, mailbox: Connection) -> Answering:
    """Puts an answer to a notification into the mailbox, as its listener would; returns the delivery."""
    numbers = iter(range(1, 1_000))

    async def write(
        notice: EmailMessage, body: str = "", *headers: str, sender: str = ANNA, to: str = "", number: int = 0
    ) -> int:
        number = number or next(numbers)
        quoted = "".join(f"> {line}\n" for line in notice.get_content().splitlines())
        fields = [
            f"From: Анна <{sender}>",
            f"To: {to or notice['Reply-To']}",
            f"Message-ID: <{number}@example.com>",
            "Subject: Re: x",
            *headers,
        ]
        if not any(field.startswith("Content-Type") for field in fields):
            fields.append("Content-Type: text/plain; charset=utf-8")
            body = f"{body}\n\n23.11.2026 13:00, Switchyard пишет:\n{quoted}"
        whole = ("\n".join(fields) + "\n\n" + body).replace("\n", "\r\n").encode()
        accepted = await hub.ingress.accept(
            mailbox.id, RawRequest(method="IMAP", body=whole), dedupe_key=f"id:{number}"
        )
        await worker.drain(hub)
        async with hub.database.reading() as session:
            found = await session.scalar(select(Delivery.id).where(Delivery.reference == accepted.reference))
        assert found is not None
        return found

    return write


async def all_of(hub: Hub, model: Any) -> list[Any]:
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


def sent(twilio: Provider) -> list[tuple[str, str]]:
    return [(asked.form["To"], asked.form["Body"]) for asked in twilio.asked if asked.method == "POST"]


async def refusals(hub: Hub) -> list[AuditEntry]:
    return [entry for entry in await all_of(hub, AuditEntry) if entry.action == "desk.letter_refused"]


# --- the notification ---


async def test_a_notification_says_at_its_top_where_an_answer_goes(told):
    assert told["Reply-To"].startswith("support+desk.") and told["Reply-To"].endswith("@hub.test")
    assert len(told["Reply-To"].partition("@")[0]) <= 64
    lines = [line for line in told.get_content().splitlines() if line]
    assert lines[0] == quotes.MARKER
    assert lines[1].startswith("Answer to this letter and it goes to Вера by SMS.")


async def test_letters_about_one_conversation_are_one_thread_and_hold_all_the_customer_said(
    hub, told, client, webform, inbox
):
    form = {"name": "Вера", "phone": "8 (916) 123-45-67", "message": LONG}
    assert (await client.post(f"/hooks/{webform.key}", data=form)).status == 200
    await worker.drain(hub)
    assert inbox.last()["To"] == ANNA and inbox.last() is not told
    assert LONG.strip() in inbox.last().get_content().replace("\n", " ")
    assert inbox.last()["References"] == told["References"]
    assert told["References"].startswith("<conversation-")
    assert inbox.last()["Message-ID"] != told["Message-ID"]


async def test_the_reader_is_told_in_their_language_where_it_is_translated(hub, told, client, webform, inbox, anna):
    async with hub.database.transaction() as session:
        await session.execute(update(User).where(User.id == anna.id).values(language="ru"))
    assert (await client.post(f"/hooks/{webform.key}", data={"phone": "89161234567", "message": "x"})).status == 200
    await worker.drain(hub)
    from hub import i18n

    russian = i18n.translator_for("ru")("Answer to this letter and it goes to %(name)s by %(channel)s.")
    assert russian % {"name": "Вера", "channel": "SMS"} in inbox.last().get_content().replace("\n", " ")


async def test_without_a_mailbox_it_says_where_else_to_answer(hub, client, webform, anna, sms, inbox):
    assert (await client.post(f"/hooks/{webform.key}", data={"phone": "89161234567", "message": "x"})).status == 200
    await worker.drain(hub)
    (conversation,) = await all_of(hub, Conversation)
    assert inbox.last()["Reply-To"] is None
    assert f"Answer here: http://127.0.0.1:8080/conversations/{conversation.id}" in inbox.last().get_content()
    assert quotes.MARKER not in inbox.last().get_content()


async def test_without_a_way_to_the_customer_there_is_no_address_to_answer_at(
    hub, client, webform, anna, inbox, mailbox
):
    assert (await client.post(f"/hooks/{webform.key}", data={"phone": "89161234567", "message": "x"})).status == 200
    await worker.drain(hub)
    assert inbox.last()["Reply-To"] is None


async def test_whoever_may_only_look_gets_no_address_to_answer_at(hub, told, client, webform, inbox, anna):
    async with hub.database.transaction() as session:
        await session.execute(update(User).where(User.id == anna.id).values(role=Role.VIEWER))
    assert (await client.post(f"/hooks/{webform.key}", data={"phone": "89161234567", "message": "x"})).status == 200
    await worker.drain(hub)
    assert inbox.last()["To"] == ANNA and inbox.last()["Reply-To"] is None


# --- the answer ---


async def test_an_answer_goes_to_the_customer_in_own_words_and_makes_no_customer_of_the_colleague(
    hub, told, answer, twilio, anna
):
    delivery_id = await answer(told, "Добрый день, Вера!\nЗавтра в 10?\n\n-- \nАнна Петрова\nМенеджер")
    assert sent(twilio) == [("+79161234567", "Добрый день, Вера!\nЗавтра в 10?")]
    message = (await all_of(hub, Message))[-1]
    assert (message.author_id, message.status) == (anna.id, "sent")
    assert len(await all_of(hub, Contact)) == len(await all_of(hub, Lead)) == 1
    async with hub.database.reading() as session:
        delivery = await session.get_one(Delivery, delivery_id)
    assert [event["kind"] for event in delivery.events] == ["desk.letter_answered"]
    assert "Менеджер".encode() in delivery.body, "the original stays"


async def test_it_goes_once_however_often_it_comes(hub, told, answer, twilio, mailbox):
    delivery_id = await answer(told, "Yes", number=7)
    assert await answer(told, "Yes", number=7) == delivery_id
    async with hub.database.transaction() as session:
        assert await exchange.replay(session, [delivery_id], now=hub.clock.now()) == 1
    await worker.drain(hub)
    second = await connect(
        hub, "email", "Sales", address="sales@hub.test", imap_host="127.0.0.1", smtp_host="127.0.0.1", password="p"
    )
    async with hub.database.reading() as session:
        body = (await session.get_one(Delivery, delivery_id)).body
    await hub.ingress.accept(second.id, RawRequest(method="IMAP", body=body), dedupe_key="id:7")
    await worker.drain(hub)
    assert [words for _, words in sent(twilio)] == ["Yes"]
    assert await refusals(hub) == []


async def test_a_worker_that_dies_after_the_answer_does_it_no_second_time(hub, told, answer, twilio):
    delivery_id = await answer(told, "Yes", number=7)
    event = {"key": "7@example.com", "token": told["Reply-To"][13:45], "sender": ANNA, "text": "Yes"}
    async with hub.database.reading() as session:
        connection_id = (await session.get_one(Delivery, delivery_id)).connection_id
    await letters.answer(hub, connection_id=connection_id, delivery_id=delivery_id, event=event)
    await worker.drain(hub)
    assert len(sent(twilio)) == 1
    await letters.answer(hub, connection_id=connection_id, delivery_id=delivery_id, event=event | {"key": "8@x"})
    await worker.drain(hub)
    assert len(sent(twilio)) == 2, "another letter is another answer"


async def test_whoever_answers_first_looks_after_what_is_nobodys(hub, told, answer, anna):
    async with hub.database.transaction() as session:
        await session.execute(update(Lead).values(owner_id=None))
    await answer(told, "Yes")
    (lead,) = await all_of(hub, Lead)
    assert lead.owner_id == anna.id


@pytest.mark.parametrize("sign", ["//", "!!"])
def test_signs_of_a_note_are_those_of_the_messenger(sign):
    from hub.desk.answering import NOTE_SIGNS

    assert sign in NOTE_SIGNS


async def test_what_begins_with_two_strokes_is_for_colleagues_only(hub, told, answer, twilio, anna):
    await answer(told, "// цена 300, не меньше\nвторая строка")
    message = (await all_of(hub, Message))[-1]
    assert (message.private, message.text) == (True, "цена 300, не меньше\nвторая строка")
    assert message.author_id == anna.id
    assert sent(twilio) == []


def with_file(told: EmailMessage, words: str) -> str:
    pdf = PDF.decode()
    return f"--b\nContent-Type: text/plain\n\n{words}\n--b\n" + (
        f"Content-Type: application/pdf; name=offer.pdf\nContent-Disposition: attachment\n\n{pdf}\n--b--\n"
    )


@pytest.mark.parametrize("words", ["Here it is", "", "// keep this"])
async def test_files_go_along(hub, told, answer, words):
    await answer(told, with_file(told, words), "Content-Type: multipart/mixed; boundary=b")
    message = (await all_of(hub, Message))[-1]
    (file,) = [row for row in await all_of(hub, Attachment) if row.message_id == message.id]
    assert (file.name, file.content_type, file.state) == ("offer.pdf", "application/pdf", "stored")
    assert (message.text, message.private) == (words.removeprefix("// "), words.startswith("//"))


# --- what is refused ---


async def nothing_happened(hub: Hub, twilio: Provider) -> None:
    assert sent(twilio) == []
    assert len(await all_of(hub, Message)) == len(await all_of(hub, Contact)) == 1


@pytest.mark.parametrize(
    ("why", "written"),
    [
        ("sender", {"sender": "eve@example.com"}),
        ("sender", {"sender": "anna@example.com.evil.test"}),
        ("origin", {"headers": ["Authentication-Results: mx.hub.test; dmarc=fail header.from=example.com"]}),
        ("origin", {"headers": ["Authentication-Results: mx.hub.test; spf=fail"]}),
        ("expired", {"days": 16}),
        ("rights", {"taken": True}),
        ("empty", {"body": ""}),
        ("empty", {"body": "-- \nАнна"}),
        ("rejected", {"paused": True}),
        ("size", {"headers": []}),
    ],
)
async def test_what_is_refused_sends_nothing_and_is_told_to_the_colleague_alone(
    hub, told, answer, twilio, inbox, clock, take_on, sms, why, written, mailbox, anna
):
    if written.get("taken"):
        boris = await take_on("Boris")
        async with hub.database.transaction() as session:
            await session.execute(update(Conversation).values(assignee_id=boris.id))
            await session.execute(update(Contact).values(owner_id=boris.id))
    if written.get("paused"):
        async with hub.database.transaction() as session:
            await session.execute(
                update(Connection).where(Connection.id == sms.id).values(paused_because="Its password is wrong")
            )
        await hub.switchboard.refresh()
    if days := written.get("days"):
        async with hub.database.transaction() as session:
            await session.execute(text("DELETE FROM escalation_steps"))
        clock.advance(timedelta(days=days))
        await worker.drain(hub)
    before = len(inbox.letters)
    if why == "size":
        body = f"From: {ANNA}\r\nTo: {told['Reply-To']}\r\nMessage-ID: <1@x>\r\n\r\nYes".encode()
        request = RawRequest(method="IMAP", body=body, headers={"x-whole-size": "50000000"})
        await hub.ingress.accept(mailbox.id, request, dedupe_key="id:1")
        await worker.drain(hub)
    else:
        await answer(told, written.get("body", "Yes"), *written.get("headers", ()), sender=written.get("sender", ANNA))
    await nothing_happened(hub, twilio)
    (entry,) = await refusals(hub)
    assert (entry.user_id, entry.details["why"]) == (anna.id, why)
    (letter,) = inbox.letters[before:]
    assert (letter["To"], letter["Subject"]) == (ANNA, "Nothing was sent to Вера")
    assert letter["Reply-To"] is None and letter["Auto-Submitted"] == "auto-generated"
    if why not in ("sender", "origin"):
        assert letter["In-Reply-To"] == ("<1@x>" if why == "size" else "<1@example.com>")
    else:
        assert letter["In-Reply-To"] == told["In-Reply-To"], "a stranger's letter is no part of the thread"


async def test_a_dismissed_colleague_sends_nothing_and_is_told_nothing(hub, told, answer, twilio, inbox, anna):
    async with hub.database.transaction() as session:
        await session.execute(update(User).where(User.id == anna.id).values(is_active=False))
    before = len(inbox.letters)
    await answer(told, "Yes")
    await nothing_happened(hub, twilio)
    assert inbox.letters[before:] == []
    assert [entry.details["why"] for entry in await refusals(hub)] == ["dismissed"]


async def test_a_made_up_address_opens_nothing_and_nobody_is_told(hub, told, answer, twilio, inbox):
    token = told["Reply-To"][13:45]
    forged = ("a" if token[0] != "a" else "b") + token[1:]
    before = len(inbox.letters)
    await answer(told, "Yes", to=told["Reply-To"].replace(token, forged))
    await nothing_happened(hub, twilio)
    assert inbox.letters[before:] == []
    assert [entry.details["why"] for entry in await refusals(hub)] == ["forged"]


async def test_of_strangers_the_colleague_is_told_once_an_hour_and_of_their_own_each_time(
    hub, told, answer, twilio, inbox, clock
):
    async with hub.database.transaction() as session:
        await session.execute(text("DELETE FROM escalation_steps"))
    before = len(inbox.letters)

    async def told_of(sender: str, body: str) -> int:
        await answer(told, body, sender=sender)
        return len(inbox.letters) - before

    assert await told_of("eve@example.com", "Yes") == 1
    assert await told_of("eve@example.com", "Yes") == 1
    assert await told_of(ANNA, "") == 2
    assert await told_of(ANNA, "") == 3
    clock.advance(timedelta(minutes=59))
    assert await told_of("mallory@example.com", "Yes") == 3
    clock.advance(timedelta(minutes=2))
    assert await told_of("mallory@example.com", "Yes") == 4
    assert len(await refusals(hub)) == 6, "all are in the audit log"
    await nothing_happened(hub, twilio)


@pytest.mark.parametrize("header", ["Auto-Submitted: auto-replied", "X-Autoreply: yes", "Return-Path: <>"])
async def test_an_out_of_office_answers_nobody_and_is_told_to_nobody(hub, told, answer, twilio, inbox, header):
    before = len(inbox.letters)
    await answer(told, "I am away until Monday", header)
    await nothing_happened(hub, twilio)
    assert inbox.letters[before:] == []
    assert await refusals(hub) == []


async def test_a_refused_letter_that_is_read_again_is_told_no_second_time(hub, told, answer, inbox):
    delivery_id = await answer(told, "")
    before = len(inbox.letters)
    async with hub.database.transaction() as session:
        await exchange.replay(session, [delivery_id], now=hub.clock.now())
    await worker.drain(hub)
    assert inbox.letters[before:] == []
    assert len(await refusals(hub)) == 1


# --- addresses ---

KEY = b"k" * 32
AT = datetime(2026, 11, 23, 10, tzinfo=UTC)


@given(st.integers(1, 2**40 - 1), st.integers(1, 2**40 - 1))
def test_an_address_says_who_and_in_which_conversation(user_id, conversation_id):
    token = answerable.sealed(KEY, user_id, conversation_id, at=AT)
    assert len(token) == 32 and token.isalnum() and token == token.lower() and token.isascii()
    assert answerable.opened(KEY, token) == (user_id, conversation_id, datetime(2026, 12, 8, tzinfo=UTC))
    assert answerable.opened(b"another key" * 3, token) is None


@given(st.integers(0, 31), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_an_address_with_one_letter_changed_opens_nothing(position, letter):
    token = answerable.sealed(KEY, 17, 4711, at=AT)
    changed = token[:position] + letter + token[position + 1 :]
    assert (answerable.opened(KEY, changed) is None) == (changed != token)


@given(st.text(max_size=40))
def test_anything_may_stand_in_an_address(token):
    assert answerable.opened(KEY, token) is None
