"""Scenario E: e-mail, properly. A real Dovecot and a real Postfix; Vera writes from her mailbox, Anna answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from channels.email import letters
from core.connections import Connection
from core.people.contacts import Contact, ContactIdentity
from core.sales.leads import Lead
from core.talk.conversations import Conversation, Message
from hub import connections, replies, worker
from hub.app import Hub
from hub.listeners import Listeners
from tests.peers.dovecot import PASSWORDS, Dovecot
from tests.peers.postfix import Postfix

US = "support@hub.test"
VERA = "sales@hub.test"  # a second mailbox on the same server plays Vera's


@pytest.fixture
async def mailbox(hub: Hub, take_on: Any, dovecot: Dovecot, postfix: Postfix) -> AsyncIterator[Connection]:
    """Our mailbox, connected and listened to."""
    await take_on("Anna")
    async with listened_to(hub, dovecot, postfix) as connection:
        yield connection


@pytest.fixture
async def whole_mailbox(hub: Hub, take_on: Any, dovecot: Dovecot, postfix: Postfix) -> AsyncIterator[Connection]:
    """The same, with the folder of what is sent: our copies go there, and colleagues' own letters are read there."""
    await take_on("Anna")
    dovecot.put(US, letter(900, "To: the bank <bank@example.com>", body="From before"), "Sent")
    async with listened_to(hub, dovecot, postfix, sent_folder="Sent", sent_watched="Sent") as connection:
        yield connection


@asynccontextmanager
async def listened_to(hub: Hub, dovecot: Dovecot, postfix: Postfix, **settings: Any) -> AsyncIterator[Connection]:
    async with hub.database.transaction() as session:
        connection = await connections.create(
            session,
            hub.vault,
            kind="email",
            title="Support",
            settings={
                "address": US,
                "password": PASSWORDS[US],
                "imap_host": "localhost",
                "imap_port": dovecot.imaps,
                "smtp_host": "localhost",
                "smtp_port": postfix.smtps,
                "smtp_security": "tls",
                "certificate": dovecot.certificate,
                **settings,
            },
            at=hub.clock.now(),
        )
    await hub.switchboard.refresh()
    listeners = Listeners(hub)
    running = asyncio.create_task(listeners.run())

    async def it_stands() -> bool:
        async with hub.database.reading() as session:
            cursor = (await session.get_one(Connection, connection.id)).cursor
        return "uidvalidity" in cursor and bool(cursor.get("others")) == bool(settings.get("sent_watched"))

    await until(it_stands)
    yield connection
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


def letter(number: int, *headers: str, body: str = "3 windows, quote please", subject: str = "Windows") -> bytes:
    head = [
        f"From: Vera Sokolova <{VERA}>",
        f"To: {US}",
        f"Subject: {subject}",
        f"Message-ID: <vera{number}@example.com>",
        "Date: Mon, 23 Nov 2026 09:00:00 +0000",
        "Content-Type: text/plain; charset=utf-8",
        *headers,
    ]
    return ("\r\n".join(head) + f"\r\n\r\n{body}\r\n").encode()


async def said(hub: Hub) -> list[Message]:
    await worker.drain(hub)
    async with hub.database.reading() as session:
        return list(await session.scalars(select(Message).order_by(Message.id)))


async def rows(hub: Hub, model: Any) -> list[Any]:
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def test_a_letter_becomes_work_is_answered_and_the_answer_to_that_comes_into_the_same_conversation(
    hub: Hub, mailbox: Connection, dovecot: Dovecot
):
    dovecot.put(US, letter(1))

    async def it_came() -> bool:
        return len(await said(hub)) == 1

    await until(it_came)
    (contact,) = await rows(hub, Contact)
    (conversation,) = await rows(hub, Conversation)
    (lead,) = await rows(hub, Lead)
    assert (contact.name, conversation.subject, lead.message) == ("Vera Sokolova", "Windows", "3 windows, quote please")
    before = len(dovecot.letters(VERA))
    async with hub.database.transaction() as session:
        opened = await session.get_one(Conversation, conversation.id)
        answer = await replies.reply(session, hub, opened, author_id=None, text="Добрый день! Когда измерить окна?")

    async def vera_has_it() -> bool:
        await worker.drain(hub)
        return len(dovecot.letters(VERA)) == before + 1

    await until(vera_has_it)
    received = letters.read(dovecot.letters(VERA)[-1])
    assert (received.subject, received.in_reply_to[0].strip("<>")) == ("Re: Windows", "vera1@example.com")
    assert "Когда измерить окна?" in received.text
    ours = f"<{received.message_id.strip('<>')}>"
    quoted = "Завтра в 10.\r\n\r\n23.11.2026 13:00, Support пишет:\r\n> Добрый день! Когда измерить окна?"
    dovecot.put(US, letter(2, f"In-Reply-To: {ours}", f"References: <vera1@example.com> {ours}", body=quoted))

    async def the_answer_came() -> bool:
        return len(await said(hub)) == 3

    await until(the_answer_came)
    last = (await said(hub))[-1]
    assert (last.text, last.conversation_id, last.reply_to_id) == ("Завтра в 10.", conversation.id, answer.id)
    assert "Когда измерить окна?" in (last.quoted or "")
    assert len(await rows(hub, Contact)) == len(await rows(hub, Conversation)) == len(await rows(hub, Lead)) == 1


async def test_what_a_colleague_answers_from_another_mail_program_stands_in_the_conversation(
    hub: Hub, whole_mailbox: Connection, dovecot: Dovecot
):
    dovecot.put(US, letter(10))

    async def it_came() -> bool:
        return len(await said(hub)) == 1

    await until(it_came)
    (conversation,) = await rows(hub, Conversation)
    assert conversation.waiting_since is not None
    dovecot.put(US, sent(11, "The Bank <bank@example.com>", body="Please close the account"), "Sent")
    outlook = ("In-Reply-To: <vera10@example.com>", "References: <vera10@example.com>")
    quoted = "Tomorrow at ten.\r\n\r\nOn Mon, 23 Nov 2026 at 09:00, Vera Sokolova wrote:\r\n> 3 windows, quote please"
    dovecot.put(US, sent(12, f"Vera <{VERA}>", *outlook, body=quoted), "Sent")

    async def the_answer_came() -> bool:
        return len(await said(hub)) == 2

    await until(the_answer_came)
    answer = (await said(hub))[-1]
    assert (answer.direction, answer.text, answer.status) == ("outbound", "Tomorrow at ten.", "sent")
    assert answer.conversation_id == conversation.id
    (conversation,) = await rows(hub, Conversation)
    assert conversation.waiting_since is None, "she has been answered"
    assert len(await rows(hub, Contact)) == len(await rows(hub, Lead)) == 1, "the bank is none of our business"

    async with hub.database.transaction() as session:
        opened = await session.get_one(Conversation, conversation.id)
        await replies.reply(session, hub, opened, author_id=None, text="And bring the plan, please")

    async def a_copy_lies_there() -> bool:
        await worker.drain(hub)
        return any(b"bring the plan" in copy for copy in dovecot.letters(US, "Sent"))

    await until(a_copy_lies_there)
    dovecot.put(US, letter(13, body="I will", subject="Re: Windows"))

    async def she_answered() -> bool:
        return any(message.text == "I will" for message in await said(hub))

    await until(she_answered)
    dovecot.put(US, sent(14, f"Vera <{VERA}>", *outlook, body="Until tomorrow"), "Sent")

    async def the_last_came() -> bool:
        return any(message.text == "Until tomorrow" for message in await said(hub))

    await until(the_last_came)
    words = [message.text for message in await said(hub)]
    assert words.count("And bring the plan, please") == 1, "our own copy is no news"


def sent(number: int, to: str, *headers: str, body: str) -> bytes:
    """Return a letter as a colleague's mail program leaves it among those sent, from an alias of the mailbox."""
    head = [
        "From: Anna <anna.alias@hub.test>",
        f"To: {to}",
        "Subject: Re: Windows",
        f"Message-ID: <anna{number}@outlook.example>",
        "Date: Mon, 23 Nov 2026 09:30:00 +0000",
        "Content-Type: text/plain; charset=utf-8",
        *headers,
    ]
    return ("\r\n".join(head) + f"\r\n\r\n{body}\r\n").encode()


async def test_machines_make_no_leads_and_a_bounce_marks_the_message_and_the_address(
    hub: Hub, mailbox: Connection, dovecot: Dovecot
):
    dovecot.put(US, letter(3, "Auto-Submitted: auto-replied", subject="Out of office"))
    dovecot.put(US, letter(4, "List-Unsubscribe: <mailto:x@example.com>", "Precedence: bulk", subject="Our news"))

    async def both_came() -> bool:
        return len(await said(hub)) == 2

    await until(both_came)
    assert await rows(hub, Lead) == []
    assert {message.is_automatic for message in await said(hub)} == {True}
    async with hub.database.transaction() as session:
        stranger = Contact(name="Nobody", search="nobody", created_at=hub.clock.now())
        session.add(stranger)
        await session.flush()
        session.add(
            ContactIdentity(
                contact_id=stranger.id,
                scheme="email",
                value="nobody@bounce.test",
                raw="nobody@bounce.test",
                trust="typed",
                created_at=hub.clock.now(),
            )
        )
        talk = Conversation(
            contact_id=stranger.id,
            connection_id=mailbox.id,
            peer="nobody@bounce.test",
            context={},
            last_message_at=hub.clock.now(),
            created_at=hub.clock.now(),
        )
        session.add(talk)
        await session.flush()
        sent = await replies.reply(session, hub, talk, author_id=None, text="Hello?", subject="Hello")

    async def it_came_back() -> bool:
        await worker.drain(hub)
        async with hub.database.reading() as session:
            return (await session.get_one(Message, sent.id)).status == "failed"

    await until(it_came_back)
    (address,) = [row for row in await rows(hub, ContactIdentity) if row.value == "nobody@bounce.test"]
    assert address.blocked_because in ("dead", None), "a real bounce says whether the address exists"
    assert await rows(hub, Lead) == []


async def test_a_hundred_letters_through_a_server_that_is_killed_come_once_each(
    hub: Hub, mailbox: Connection, dovecot: Dovecot, clock: Any
):
    for number in range(100, 150):
        dovecot.put(US, letter(number, subject=f"Letter {number}"))
    import signal

    await asyncio.to_thread(dovecot.end, signal.SIGKILL)
    await asyncio.to_thread(dovecot.start)
    for number in range(150, 200):
        dovecot.put(US, letter(number, subject=f"Letter {number}"))

    async def all_came() -> bool:
        clock.advance(timedelta(seconds=1))
        return len(await said(hub)) >= 100

    await until(all_came, seconds=60)
    subjects = sorted(message.subject for message in await said(hub))
    assert subjects == sorted(f"Letter {number}" for number in range(100, 200))
    (contact,) = await rows(hub, Contact)
    assert contact.name == "Vera Sokolova"
