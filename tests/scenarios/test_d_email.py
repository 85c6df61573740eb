"""Scenario D by e-mail: a real Dovecot and a real Postfix; Anna answers a notification, Vera gets an SMS.

Anna's mailbox is on the same server; what she sends goes through Postfix like anybody's.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Any
from urllib.parse import quote

import aiosmtplib
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update

from core.connections import Connection
from core.people.contacts import Contact
from core.sales.leads import Lead
from core.staff import users
from core.staff.audit import AuditEntry
from core.staff.users import Role, User
from core.talk.conversations import Message
from hub import connections, exchange, worker
from hub.app import Hub, open_hub
from hub.listeners import Listeners
from hub.settings import Settings
from tests.channels.provider import Provider, playing
from tests.peers.dovecot import PASSWORDS, Dovecot
from tests.peers.postfix import Postfix
from webhooks.deliveries import Delivery

US = "support@hub.test"
ANNA = "sales@hub.test"
MESSAGES = r"/2010-04-01/Accounts/AC1/Messages\.json"
WORDS = "Добрый день, Вера!\n\nПриедем завтра в 10, замер бесплатный."
SIGNATURE = "\n\n-- \nАнна Петрова\nОтдел продаж, +7 495 000-00-00"


@pytest.fixture
def settings(settings: Settings, postfix: Postfix, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "authority.pem").write_text(postfix.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    url = f"smtps://{quote(US, safe='')}:{quote(PASSWORDS[US])}@localhost:{postfix.smtps}"
    return settings.model_copy(update={"smtp_url": SecretStr(url), "smtp_sender": f"Switchyard <{US}>"})


@pytest.fixture
async def twilio() -> AsyncIterator[Provider]:
    """Plays the provider of SMS: what it is sent, Vera reads."""
    async with playing() as provider:
        provider.answers("POST", MESSAGES, status=201, json={"sid": "SM1", "status": "queued", "error_code": None})
        yield provider


@pytest.fixture
async def anna(hub: Hub) -> User:
    async with hub.database.transaction() as session:
        return await users.add(session, email=ANNA, name="Anna", role=Role.MANAGER, at=hub.clock.now(), language="ru")


@pytest.fixture
async def office(
    hub: Hub, anna: User, twilio: Provider, dovecot: Dovecot, postfix: Postfix
) -> AsyncIterator[Connection]:
    """The company's mailbox, listened to, and its SMS."""
    async with hub.database.transaction() as session:
        mailbox = await connections.create(
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
                "certificate": dovecot.certificate,
            },
            at=hub.clock.now(),
        )
        await connections.create(
            session,
            hub.vault,
            kind="sms_twilio",
            title="SMS",
            settings={
                "account_sid": "AC1",
                "auth_token": "told-to-twilio-alone",
                "sender": "+15550001111",
                "base_url": twilio.url,
            },
            at=hub.clock.now(),
        )
    await hub.switchboard.refresh()
    listening = asyncio.create_task(Listeners(hub).run())

    async def it_stands() -> bool:
        async with hub.database.reading() as session:
            return bool((await session.get_one(Connection, mailbox.id)).cursor)

    await until(it_stands)
    yield mailbox
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


@pytest.fixture
async def notice(hub: Hub, client: Any, webform: Connection, office: Connection, dovecot: Dovecot) -> EmailMessage:
    """Vera has filled in the website's form; the letter about it, as it lies in Anna's mailbox."""
    before = mail_of(dovecot)
    form = {"name": "Вера", "phone": "8 (916) 123-45-67", "message": "Нужны 3 окна"}
    assert (await client.post(f"/hooks/{webform.key}", data=form)).status == 200
    return (await news(hub, dovecot, before))[0]


def mail_of(dovecot: Dovecot) -> set[bytes]:
    """Return what lies in Anna's mailbox, from whichever test."""
    return set(dovecot.letters(ANNA))


async def news(hub: Hub, dovecot: Dovecot, before: set[bytes]) -> list[EmailMessage]:
    """Wait until there is more in Anna's mailbox, and return that."""

    async def it_came() -> bool:
        await worker.drain(hub)
        return mail_of(dovecot) > before

    await until(it_came)
    found = [email.message_from_bytes(raw, policy=email.policy.default) for raw in mail_of(dovecot) - before]
    return found  # type: ignore[return-value]


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def write(
    postfix: Postfix, notice: EmailMessage, words: str, *, sender: str = ANNA, identifier: str = "", **headers: str
) -> bytes:
    """Answer the letter as a mail program does, through Postfix; return what was sent."""
    quoted = "".join(f"> {line}\n" for line in notice.get_content().splitlines())
    letter = EmailMessage()
    letter["From"], letter["To"] = f"Анна Петрова <{sender}>", notice["Reply-To"]
    letter["Subject"] = f"Re: {notice['Subject']}"
    letter["Message-ID"] = identifier or make_msgid(domain="hub.test")
    letter["In-Reply-To"] = letter["References"] = notice["Message-ID"]
    for name, value in headers.items():
        letter[name.replace("_", "-")] = value
    letter.set_content(f"{words}\n\nпн, 23 нояб. 2026 г. в 13:00, Switchyard <{US}>:\n{quoted}")
    context = ssl.create_default_context(cadata=postfix.certificate)
    await aiosmtplib.send(
        letter,
        hostname="localhost",
        port=postfix.smtps,
        use_tls=True,
        tls_context=context,
        username=ANNA,
        password=PASSWORDS[ANNA],
    )
    return letter.as_bytes()


async def read(hub: Hub, count: int) -> list[str]:
    """Wait until so many answers have been dealt with; return what became of them."""
    kinds: list[str] = []

    async def they_are() -> bool:
        await worker.drain(hub)
        async with hub.database.reading() as session:
            rows = await session.scalars(select(Delivery.events).order_by(Delivery.id))
        kinds[:] = [
            event["kind"] for events in rows for event in events or () if event["kind"].startswith("desk.letter_")
        ]
        return len(kinds) >= count

    await until(they_are)
    return kinds


def heard(twilio: Provider) -> list[tuple[str, str]]:
    return [(asked.form["To"], asked.form["Body"]) for asked in twilio.asked if asked.method == "POST"]


async def rows(hub: Hub, model: Any) -> list[Any]:
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def test_anna_answers_from_her_mailbox_and_vera_reads_exactly_her_words_once(
    hub: Hub,
    settings: Settings,
    database_url: str,
    notice: EmailMessage,
    office: Connection,
    anna: User,
    dovecot: Dovecot,
    postfix: Postfix,
    twilio: Provider,
):
    assert "Нужны 3 окна" in notice.get_content()
    sent = await write(postfix, notice, WORDS + SIGNATURE, identifier="<answer-1@hub.test>")
    assert await read(hub, 1) == ["desk.letter_answered"]
    assert heard(twilio) == [("+79161234567", WORDS)]

    dovecot.put(US, sent)  # it is delivered once more, and then another letter comes behind it
    await write(postfix, notice, "Ещё одно: захватите паспорт.")
    assert await read(hub, 2) == ["desk.letter_answered"] * 2

    async with open_hub(settings, database_url, clock=hub.clock, public_url=hub.public_url) as restarted:
        async with restarted.database.transaction() as session:
            ids = list(await session.scalars(select(Delivery.id).where(Delivery.connection_id == office.id)))
            await exchange.replay(session, ids, now=hub.clock.now())
        await worker.drain(restarted)
    assert [words for _, words in heard(twilio)] == [WORDS, "Ещё одно: захватите паспорт."]
    assert len(await rows(hub, Contact)) == len(await rows(hub, Lead)) == 1
    assert [message.author_id for message in await rows(hub, Message)] == [None, anna.id, anna.id]


async def test_whoever_has_the_address_but_is_not_anna_is_refused_and_only_anna_hears_of_it(
    hub: Hub, notice: EmailMessage, dovecot: Dovecot, postfix: Postfix, twilio: Provider
):
    before = mail_of(dovecot)
    await write(postfix, notice, "Отдайте задаток мне", sender="eve@hub.test")
    await write(postfix, notice, "Отдайте задаток мне", sender="eve@hub.test")
    assert await read(hub, 2) == ["desk.letter_refused"] * 2
    (told,) = await news(hub, dovecot, before)
    assert "eve@hub.test" in told.get_content()
    assert "задаток" not in told.get_content()
    assert dovecot.letters("eve@hub.test") == []
    assert heard(twilio) == []
    assert len(await rows(hub, Contact)) == len(await rows(hub, Message)) == 1
    assert [entry.details["why"] for entry in await rows(hub, AuditEntry) if entry.action == "desk.letter_refused"] == [
        "sender",
        "sender",
    ]


async def test_an_address_that_is_too_old_sends_nothing_and_anna_is_told(
    hub: Hub, clock: Any, notice: EmailMessage, dovecot: Dovecot, postfix: Postfix, twilio: Provider
):
    async with hub.database.transaction() as session:
        await session.execute(text("DELETE FROM escalation_steps"))
    clock.advance(timedelta(days=15))
    before = mail_of(dovecot)
    await write(postfix, notice, WORDS)
    assert await read(hub, 1) == ["desk.letter_refused"]
    (told,) = await news(hub, dovecot, before)
    assert f"{hub.public_url}/conversations/" in told.get_content()
    assert heard(twilio) == []


async def test_a_dismissed_colleague_and_an_out_of_office_answer_nobody(
    hub: Hub, notice: EmailMessage, anna: User, dovecot: Dovecot, postfix: Postfix, twilio: Provider
):
    before = mail_of(dovecot)
    await write(postfix, notice, "Меня нет до понедельника", Auto_Submitted="auto-replied")
    assert await read(hub, 1) == ["desk.letter_ignored"]
    async with hub.database.transaction() as session:
        await session.execute(update(User).where(User.id == anna.id).values(is_active=False))
    await write(postfix, notice, WORDS)
    assert await read(hub, 2) == ["desk.letter_ignored", "desk.letter_refused"]
    assert heard(twilio) == []
    assert len(await rows(hub, Message)) == 1
    assert mail_of(dovecot) == before
