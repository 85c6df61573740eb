"""Notification e-mail through a real SMTP server: handed in once, retried when told to, given up when refused."""

from __future__ import annotations

import email
import email.policy
import socket
import ssl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from sqlalchemy import select, text, update

from core.staff.users import User
from core.work.notifications import Notification
from hub import i18n
from hub.app import open_hub
from hub.worker import drain
from tests.conftest import VERA, add_webform


class Inbox:
    """What a mail server was handed; `answers` are given to the next letters before it takes any."""

    def __init__(self):
        self.letters = []
        self.answers = []
        self.recipient_answers = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.recipient_answers:
            return self.recipient_answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.answers:
            return self.answers.pop(0)
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.letters.append((envelope.mail_from, envelope.rcpt_tos, letter))
        return "250 OK"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _server(inbox, port, **more):
    controller = Controller(inbox, hostname="127.0.0.1", port=port, **more)
    controller.start()
    try:
        yield
    finally:
        controller.stop()


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def port():
    return _free_port()


@pytest.fixture
def settings(settings, port):
    return settings.model_copy(
        update={"smtp_url": SecretStr(f"smtp://127.0.0.1:{port}"), "smtp_sender": "Switchyard <sales@example.com>"}
    )


@pytest.fixture
async def anna(take_on):
    return await take_on("Anna")


@pytest.fixture
async def ask(hub, client, webform, anna):
    async def request(**more):
        assert (await client.post(f"/hooks/{webform.key}", data=VERA | more)).status == 200
        await drain(hub)

    return request


async def _jobs(hub):
    async with hub.database.reading() as session:
        return list(await session.execute(text("SELECT kind, due_at, attempts, error FROM jobs ORDER BY id")))


async def test_a_letter_says_what_happened_and_leads_to_it(hub, ask, inbox, port, anna):
    with _server(inbox, port):
        await ask()
    ((sender, recipients, letter),) = inbox.letters
    assert (sender, recipients) == ("sales@example.com", [anna.email])
    assert letter["Subject"] == f"New request: {VERA['name']}"
    assert letter["From"] == "Switchyard <sales@example.com>"
    assert letter["To"] == anna.email
    assert letter["Date"].datetime == hub.clock.now()
    assert letter["Auto-Submitted"] == "auto-generated"
    assert VERA["message"] in letter.get_content()
    assert "http://127.0.0.1:8080/deals/" in letter.get_content()
    assert await _jobs(hub) == []


async def test_a_repeat_can_be_told_by_its_message_id(hub, ask, inbox, port):
    with _server(inbox, port):
        await ask()
        async with hub.database.transaction() as session:
            notice = (await session.scalars(select(Notification))).one()
            await session.execute(
                text(
                    "INSERT INTO jobs (lane, kind, args, due_at, created_at) "
                    "VALUES ('x', 'mail_notification', "
                    "jsonb_build_object('notification_id', CAST(:id AS bigint)), :now, :now)"
                ),
                {"id": notice.id, "now": hub.clock.now()},
            )
        await drain(hub)
    first, second = (letter["Message-ID"] for _, _, letter in inbox.letters)
    assert first == second
    assert first.endswith("@example.com>")


@pytest.mark.parametrize("where", ["answers", "recipient_answers"])
async def test_a_server_that_asks_to_come_again_is_asked_again(hub, ask, inbox, port, clock, where):
    getattr(inbox, where).append("451 4.7.1 Greylisted, try again later")
    with _server(inbox, port):
        await ask()
        assert inbox.letters == []
        ((_, due_at, attempts, error),) = await _jobs(hub)
        assert due_at > clock.now()
        assert (attempts, "451" in error) == (1, True)
        await drain(hub)
        assert inbox.letters == []
        clock.set(due_at)
        await drain(hub)
    assert len(inbox.letters) == 1
    assert await _jobs(hub) == []


@pytest.mark.parametrize("where", ["answers", "recipient_answers"])
async def test_a_letter_that_is_refused_is_given_up_and_the_reason_kept(hub, ask, inbox, port, clock, where):
    getattr(inbox, where).append("550 5.1.1 No such mailbox")
    with _server(inbox, port):
        await ask()
        ((_, due_at, _, error),) = await _jobs(hub)
        assert due_at is None
        assert "550" in error and "No such mailbox" in error
        await ask(message="a further word")  # and the next one is tried
    assert len(inbox.letters) == 1


async def test_while_the_server_is_down_letters_wait_in_their_order(hub, ask, inbox, port, clock):
    await ask()
    for number in range(3):
        await ask(message=f"word {number}")
    jobs = await _jobs(hub)
    assert [row.attempts for row in jobs] == [1, 0, 0, 0]
    with _server(inbox, port):
        clock.set(max(row.due_at for row in jobs))
        await drain(hub)
    bodies = [letter.get_content() for _, _, letter in inbox.letters]
    assert len(bodies) == 4
    assert [next((n for n in range(3) if f"word {n}" in body), None) for body in bodies] == [None, 0, 1, 2]


async def test_whoever_switched_it_off_gets_none(hub, ask, inbox, port, anna):
    async with hub.database.transaction() as session:
        await session.execute(update(User).where(User.id == anna.id).values(settings={"mail": False}))
    with _server(inbox, port):
        await ask()
    assert inbox.letters == []
    assert await _jobs(hub) == []


async def test_whoever_left_meanwhile_gets_none(hub, ask, inbox, port, anna, clock):
    await ask()  # the server is down
    async with hub.database.transaction() as session:
        await session.execute(update(User).where(User.id == anna.id).values(is_active=False))
    with _server(inbox, port):
        clock.advance(timedelta(minutes=1))
        await drain(hub)
    assert inbox.letters == []
    assert await _jobs(hub) == []


async def test_the_reader_is_written_to_in_their_language(hub, ask, inbox, port, anna):
    async with hub.database.transaction() as session:
        await session.execute(update(User).where(User.id == anna.id).values(language="ru"))
    with _server(inbox, port):
        await ask()
    ((_, _, letter),) = inbox.letters
    russian = i18n.translator_for("ru")("New request: %(name)s")
    assert letter["Subject"] == russian % {"name": VERA["name"]}
    if any((i18n.LOCALES / "ru").rglob("*.[pm]o")):
        assert not letter["Subject"].startswith("New request")


async def test_a_name_cannot_write_headers(hub, ask, inbox, port):
    with _server(inbox, port):
        await ask(name="Vera\r\nBcc: everybody@example.com", phone="89167777777", email="")
    ((_, recipients, letter),) = inbox.letters
    assert letter["Bcc"] is None
    assert len(recipients) == 1


# --- sign-in and encryption ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


def _checks(username, password):
    def check(server, session, envelope, mechanism, data):
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (username, password)
        return AuthResult(success=good, handled=good)

    return check


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("password", ["right", "wrong"])
async def test_with_tls_and_a_password(
    settings, database_url, clock, inbox, port, certificate, scheme, password, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))  # the operator's own authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    auth = {
        "authenticator": _checks(b"hub@x", b"right"),
        "auth_required": scheme == "smtp",
        "auth_require_tls": scheme == "smtp",
    }
    url = SecretStr(f"{scheme}://hub%40x:{password}@localhost:{port}")
    with_tls = settings.model_copy(update={"smtp_url": url})

    class Starting(Controller):
        def factory(self):
            return SMTP(self.handler, tls_context=context, require_starttls=True, **auth)

    class Encrypted(Controller):
        def factory(self):
            return SMTP(self.handler, **auth)

    maker = Starting if scheme == "smtp" else Encrypted
    controller = maker(inbox, hostname="127.0.0.1", port=port, **({} if scheme == "smtp" else {"ssl_context": context}))
    controller.start()
    try:
        async with open_hub(with_tls, database_url, clock=clock, public_url="http://x") as hub:
            from core.staff import users
            from core.staff.users import Role
            from webhooks.request import RawRequest

            async with hub.database.transaction() as session:
                await users.add(session, email="anna@example.com", name="Anna", role=Role.MANAGER, at=clock.now())
            webform = await add_webform(hub)
            await hub.ingress.accept(webform.id, RawRequest(body=b'{"email": "v@example.com"}'), dedupe_key="k")
            await drain(hub)
            jobs = await _jobs(hub)
    finally:
        controller.stop()
    if password == "right":
        assert (len(inbox.letters), jobs) == (1, [])
    else:
        assert inbox.letters == []
        assert jobs[0].due_at > clock.now()  # whoever mends the password need not replay anything
