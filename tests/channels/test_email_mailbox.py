"""Letters come in from a real Dovecot: each one, word for word, once, whatever happens to the server and the line."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from channels.email import imap_syntax
from channels.email.mailbox import BEGINNING, METHOD, Pace, Watch
from channels.email.servers import Login, Server
from channels.errors import ChannelError, Misconfigured, Temporary, Unauthorised
from tests.channels.mailboxes import QUICK, USER, Heard, Line, email, hearing, letter, listening, saying
from tests.channels.payloads import NOW
from tests.peers import dovecot as dovecots
from tests.peers.dovecot import PASSWORDS, Dovecot


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    with dovecots.running() as server:
        yield server


@pytest.fixture
async def heard() -> AsyncIterator[Heard]:
    async with hearing() as made:
        yield made


async def ready(heard: Heard) -> None:
    """Wait until the listener has looked into the mailbox and waits for news."""
    wells = heard.wells
    await heard.until(lambda: heard.wells > wells)


@pytest.mark.parametrize(
    ("security", "port"), [("tls", "imaps"), ("starttls", "imap"), ("none", "imap")], ids=["tls", "starttls", "none"]
)
async def test_a_letter_comes_in_word_for_word_within_two_seconds(dovecot, heard, security, port):
    channel = email(dovecot, imap_security=security, imap_port=getattr(dovecot, port))
    sent = letter(1, body="Добрый день\r\n* 5 EXISTS\r\nA1 OK (done\r\n+ go on\r\n.{17}\r\n\tкириллица 😀")
    async with listening(channel, heard):
        await ready(heard)
        started = time.monotonic()
        dovecot.put(USER, sent)
        await heard.until(lambda: len(heard.letters) == 1)
    assert time.monotonic() - started < 2
    [found] = heard.letters
    assert found.body == sent
    assert found.method == METHOD
    assert found.headers["x-uid"] == str(heard.cursor["uid"])
    assert found.headers["x-uidvalidity"] == str(heard.cursor["uidvalidity"])
    assert found.headers["x-folder"] == "INBOX"
    assert re.fullmatch(r"[ \d]\d-\w{3}-\d{4} [\d:]{8} [+-]\d{4}", found.headers["x-internal-date"])
    assert "Seen" not in "".join(path.name for path in (dovecot.box(USER) / "cur").glob("*:2,*S*"))
    channel.verify(found, NOW)


async def test_a_server_that_cannot_tell_is_asked(heard):
    with dovecots.running(without_idle=True) as dovecot:
        async with listening(email(dovecot), heard):
            await ready(heard)
            dovecot.put(USER, letter())
            await heard.until(lambda: len(heard.letters) == 1)
    assert "asked" in heard.states[-1][1]


async def test_what_lay_in_the_mailbox_before_is_left_alone(dovecot, heard):
    for number in range(3):
        dovecot.put(USER, letter(number))
    async with listening(email(dovecot), heard):
        await ready(heard)
        assert heard.cursor["uid"] == 3
        dovecot.put(USER, letter("new"))
        await heard.until(lambda: len(heard.letters) == 1)
    assert heard.letters[0].body == letter("new")


async def test_old_letters_of_some_days_are_brought_if_asked_for(dovecot, heard):
    for days in (40, 3, 1):
        day = NOW - timedelta(days=days)
        dated = letter(days).replace(b"Sun, 22 Nov 2026", day.strftime("%a, %d %b %Y").encode())
        dovecot.put(USER, dated, at=day.timestamp())
    async with listening(email(dovecot, import_days=5), heard):
        await heard.until(lambda: "since" not in heard.cursor and heard.wells > 0)
    assert [found.body[-7:].split()[-1] for found in heard.letters] == [b"3", b"1"]
    assert heard.cursor["uid"] == 3


async def test_it_goes_on_where_it_had_come_to(dovecot, heard):
    async with listening(email(dovecot), heard):
        await ready(heard)
        dovecot.put(USER, letter(1))
        await heard.until(lambda: len(heard.letters) == 1)
    dovecot.put(USER, letter(2))
    dovecot.put(USER, letter(3))
    async with hearing(cursor=heard.cursor) as again, listening(email(dovecot), again):
        await again.until(lambda: len(again.items) == 2)
        await ready(again)
        assert [found.body for found in again.letters] == [letter(2), letter(3)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_server_that_is_started_anew_while_we_wait_loses_nothing(dovecot, heard, how):
    async with listening(email(dovecot), heard):
        await ready(heard)
        dovecot.end(how)
        await heard.until(lambda: not heard.states[-1][0])
        dovecot.put(USER, letter(1))
        dovecot.start()
        await heard.until(lambda: heard.states[-1][0] and len(heard.letters) == 1)
        dovecot.put(USER, letter(2))
        await heard.until(lambda: len(heard.letters) == 2)
    assert len(heard.items) == 2


async def test_a_line_that_is_dead_without_a_word_is_noticed_and_laid_anew(dovecot, heard):
    pace = Pace(renew=0.4, poll=1, patience=0.6, shortest=0.02, longest=0.2)
    async with Line(dovecot.imaps).laid() as line, listening(email(dovecot, imap_port=line.port, pace=pace), heard):
        await ready(heard)
        line.go_dead()
        dovecot.put(USER, letter(1))
        await heard.until(lambda: len(heard.letters) == 1, 5)
        assert any(not well and "does not answer" in said for well, said in heard.states)
        assert line.opened == 2


async def test_a_rebuilt_mailbox_brings_nothing_twice_and_loses_nothing(dovecot, heard):
    async with listening(email(dovecot), heard):
        await ready(heard)
        for number in range(5):
            dovecot.put(USER, letter(number))
        dovecot.put(USER, letter("nameless", identified=False))
        await heard.until(lambda: len(heard.letters) == 6)
    earlier = heard.cursor["uidvalidity"]
    dovecot.end()
    dovecot.forget_uids(USER)
    dovecot.start()
    dovecot.put(USER, letter("meanwhile"))
    dovecot.put(USER, letter("ancient").replace(b"22 Nov 2026", b"22 Nov 2009"))
    async with listening(email(dovecot), heard):
        await heard.until(lambda: heard.cursor["uidvalidity"] != earlier and "since" not in heard.cursor)
        dovecot.put(USER, letter("later"))
        await heard.until(lambda: any(found.body == letter("later") for found in heard.letters))
    bodies = [found.body for found in heard.letters]
    assert len(bodies) == len(set(bodies)) == 8
    assert letter("meanwhile") in bodies
    assert not any(b"ancient" in body for body in bodies), "what was there before we came is not brought by a rebuild"


async def test_a_rebuild_that_was_interrupted_goes_on_behind_what_is_in(dovecot, heard):
    for number in range(1, 5):
        dated = letter(number).replace(b"22 Nov 2026", b"22 Nov 2009") if number == 3 else letter(number)
        dovecot.put(USER, dated)
    async with listening(email(dovecot), heard):
        await ready(heard)
    interrupted = {**heard.cursor, "uid": 1, "since": "2026-11-19", "until": 4}
    async with hearing(cursor=interrupted) as again, listening(email(dovecot), again):
        await again.until(lambda: "since" not in again.cursor)
        assert [found.body for found in again.letters] == [letter(2), letter(4)]
        assert again.cursor["uid"] == 4
        dovecot.put(USER, letter(5))
        await again.until(lambda: len(again.letters) == 3)


async def test_a_thousand_letters_come_in_within_a_minute(dovecot, heard):
    async with listening(email(dovecot), heard):
        await ready(heard)
        for number in range(1_000):
            dovecot.put(USER, letter(number, body="x" * 3_000))
        started = time.monotonic()
        await heard.until(lambda: len(heard.letters) == 1_000, 60)
    assert time.monotonic() - started < 60
    assert len(heard.items) == 1_000
    assert {found.body for found in heard.letters} == {letter(number, body="x" * 3_000) for number in range(1_000)}


async def test_a_letter_that_the_server_cannot_give_does_not_hold_up_the_others(dovecot, heard):
    channel = email(dovecot)
    async with listening(channel, heard):
        await ready(heard)
        dovecot.put(USER, letter(1))
        await heard.until(lambda: len(heard.letters) == 1)
        dovecot.end()
        for number in (2, 3, 4):
            dovecot.put(USER, letter(number))
        poisoned = next(path for path in (dovecot.box(USER) / "new").glob("*") if path.read_bytes() == letter(3))
        poisoned.chmod(0)
        dovecot.start()
        await heard.until(lambda: any(found.body == letter(4) for found in heard.letters), 30)
    assert [found.body for found in heard.letters] == [letter(1), letter(2), b"", letter(4)]
    assert heard.letters[2].headers["x-problem"]


async def test_of_a_letter_too_large_only_the_beginning_is_brought(dovecot, heard):
    large = letter(1, body="x" * 700_000)
    server = Server("localhost", dovecot.imaps, "tls", dovecot.certificate)
    channel = email(dovecot)
    watch = Watch(server, Login(USER, PASSWORDS[USER]), "INBOX", channel.route, pace=QUICK, most_bytes=500_000)
    async with listening(watch, heard):
        await ready(heard)
        dovecot.put(USER, large)
        dovecot.put(USER, letter(2))
        await heard.until(lambda: len(heard.letters) == 2)
    assert heard.letters[0].body == large[:BEGINNING]
    assert heard.letters[0].headers["x-whole-size"] == str(len(large))
    assert heard.letters[1].body == letter(2)


async def test_a_folder_may_have_any_name(dovecot, heard):
    dovecot.put(USER, letter(0), '&BBIERQQ+BDQETwRJBDgENQ- &- "co"')
    async with listening(email(dovecot, folder='Входящие & "co"'), heard):
        await ready(heard)
        dovecot.put(USER, letter(1), '&BBIERQQ+BDQETwRJBDgENQ- &- "co"')
        await heard.until(lambda: len(heard.letters) == 1)


async def test_a_missing_folder_is_told_with_those_there_are(dovecot, heard):
    dovecot.put(USER, letter(0), "Leads")
    with pytest.raises(Misconfigured, match=r"no folder 'Заявки'.*Leads"):
        await email(dovecot, folder="Заявки").run(heard)


async def test_a_wrong_password_stops_it(dovecot, heard):
    with pytest.raises(Unauthorised, match="user and password") as raised:
        await email(dovecot, password="wrong pass").run(heard)
    assert raised.value.code == "AUTHENTICATIONFAILED"
    assert "wrong pass" not in str(raised.value)
    assert dovecot.log().count("auth failed") <= 1, "a provider locks an account that is tried too often"


async def test_a_password_may_have_any_characters(dovecot, heard):
    odd = 'п"а\\р oль {3}'
    (dovecot.root / "users").write_text(f"{USER}:{odd}\n")
    async with listening(email(dovecot, password=odd), heard):
        await ready(heard)


async def test_a_certificate_nobody_knows_is_not_trusted(dovecot, heard):
    with pytest.raises(Misconfigured, match="certificate"):
        await email(dovecot, certificate="").run(heard)
    assert "imap-login: Info: Login" not in dovecot.log()


async def test_without_encryption_on_offer_no_password_is_sent(heard):
    with dovecots.running(without_tls=True) as dovecot:
        with pytest.raises(Misconfigured, match="STARTTLS"):
            await email(dovecot, imap_security="starttls", imap_port=dovecot.imap).run(heard)
        assert "imap-login: Info: Login" not in dovecot.log()


async def test_a_server_that_is_not_there_is_waited_for(dovecot, heard):
    dovecot.end()
    async with listening(email(dovecot), heard):
        await heard.until(lambda: len(heard.states) >= 3)
        assert not any(well for well, _ in heard.states)
        assert "cannot be reached" in heard.states[0][1]
        dovecot.start()
        await ready(heard)


# --- access tokens ---


@asynccontextmanager
async def token_service(good: set[str], given: list[str]) -> AsyncIterator[TestServer]:
    """Play the provider's token service: tell Dovecot which tokens are good, and give new ones."""

    async def introspect(request: web.Request) -> web.Response:
        token = str((await request.post()).get("token", ""))
        return web.json_response({"active": token in good, "username": USER} if token in good else {"active": False})

    async def renew(request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("refresh_token") != "refresh me" or form.get("client_secret") != "client pass":
            return web.json_response({"error": "invalid_grant", "error_description": "Token revoked"}, status=400)
        return web.json_response({"access_token": given.pop(0), "expires_in": 3600})

    app = web.Application()
    app.router.add_post("/introspect", introspect)
    app.router.add_post("/token", renew)
    async with TestServer(app) as server:
        yield server


async def test_an_access_token_lets_us_in_and_a_refused_one_stops_us_at_once(heard):
    async with token_service({"good-token"}, []) as service:
        with dovecots.running(introspection_url=str(service.make_url("/introspect"))) as dovecot:
            async with listening(email(dovecot, auth="xoauth2", password="good-token"), heard):
                await ready(heard)
            started = time.monotonic()
            with pytest.raises(Unauthorised) as raised:
                await email(dovecot, auth="xoauth2", password="stale-token").run(heard)
    assert time.monotonic() - started < 5
    assert "stale-token" not in str(raised.value)


async def test_a_token_that_is_refused_is_renewed_once(heard):
    given = ["token-1", "token-2"]
    async with token_service({"token-2"}, given) as service:
        with dovecots.running(introspection_url=str(service.make_url("/introspect"))) as dovecot:
            channel = email(
                dovecot,
                auth="xoauth2",
                password="refresh me",
                client_secret="client pass",
                token_url=str(service.make_url("/token")),
            )
            async with listening(channel, heard):
                await ready(heard)
    assert given == []


async def test_a_refresh_token_that_is_no_longer_good_needs_somebody(heard):
    async with token_service(set(), []) as service:
        with dovecots.running(introspection_url=str(service.make_url("/introspect"))) as dovecot:
            channel = email(dovecot, auth="xoauth2", password="revoked one", token_url=str(service.make_url("/token")))
            with pytest.raises(Unauthorised, match="Token revoked"):
                await channel.run(heard)


# --- servers that say odd things ---


def speaking(login: str, *, capabilities: str = "IMAP4rev1 IDLE"):
    def answer(line: str) -> str | None:
        tag, _, rest = line.partition(" ")
        command = rest.split(" ")[0].upper()
        said = {
            "CAPABILITY": f"* CAPABILITY {capabilities}\r\n{tag} OK done\r\n",
            "LOGIN": f"{tag} {login}\r\n",
            "SELECT": f"* 0 EXISTS\r\n* OK [UIDVALIDITY 7] .\r\n* OK [UIDNEXT 1] .\r\n{tag} OK done\r\n",
            "UID": f"* SEARCH\r\n{tag} OK done 1 2 3\r\n",
            "IDLE": f"{tag} NO not here\r\n",
            "LOGOUT": f"* BYE\r\n{tag} OK bye\r\n",
        }
        return said.get(command, f"{tag} OK done\r\n")

    return answer


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("NO [AUTHENTICATIONFAILED] Invalid credentials", Unauthorised),
        ("NO [AUTHORIZATIONFAILED] no", Unauthorised),
        ("NO [ALERT] Application-specific password required", Unauthorised),
        ("NO Login failed", Unauthorised),
        ("BAD Command Argument Error. 12", Unauthorised),
        ("NO [UNAVAILABLE] Temporary authentication failure", Temporary),
        ("NO [LIMIT] one too many", Temporary),
        ("NO Too many simultaneous connections", Temporary),
        ("NO Internal error occurred, try again later", Temporary),
    ],
)
async def test_a_refusal_is_told_from_a_server_that_is_busy(said, expected):
    async with saying("* OK hello", speaking(said)) as port, hearing() as heard:
        with pytest.raises(ChannelError) as raised:
            await email(imap_port=port, imap_security="none", imap_host="127.0.0.1").check(heard.tools)
    assert type(raised.value) is expected
    assert said.split(" ", 1)[1] in str(raised.value)


async def test_a_server_that_refuses_to_let_us_wait_is_asked_instead(heard):
    async with saying("* OK hello", speaking("OK in")) as port:
        channel = email(imap_port=port, imap_security="none", imap_host="127.0.0.1")
        async with listening(channel, heard):
            await heard.until(lambda: heard.wells >= 3)
    assert [said for well, said in heard.states if not well] == ["127.0.0.1 does not let us wait for letters"]


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        ("* BYE overloaded", lambda line: None),
        ("HTTP/1.1 400 Bad Request", lambda line: None),
        ("* OK hello", lambda line: None),
        ("* OK hello", lambda line: line.split()[0] + " OK nothing\r\n"),
        ("* OK hello", lambda line: "X999 OK what?\r\n"),
        ("* OK hello", lambda line: "* " + "(" * 5_000 + "\r\n" + "* 1 EXPUNGE\r\n" * 5_000),
    ],
    ids=["bye", "http", "hangs up", "says nothing", "wrong tag", "a flood"],
)
async def test_a_server_that_makes_no_sense_is_tried_again(heard, greeting, answer, caplog):
    async with saying(greeting, answer) as port:
        pace = Pace(patience=0.5, shortest=0.02, longest=0.05)
        channel = email(imap_port=port, imap_security="none", imap_host="127.0.0.1", pace=pace)
        async with listening(channel, heard):
            await heard.until(lambda: len(heard.states) >= 2)
    assert not any(well for well, _ in heard.states)
    assert PASSWORDS[USER] not in caplog.text


async def test_listening_ends_at_once_when_it_is_told_to(dovecot, heard):
    task = asyncio.create_task(email(dovecot).run(heard))
    await ready(heard)
    before = asyncio.all_tasks()
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 0.5
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) < len(before)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("INBOX", "INBOX"),
        ("Входящие", "&BBIERQQ+BDQETwRJBDgENQ-"),
        ("Tom & Jerry", "Tom &- Jerry"),
        ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("😀", "&2D3eAA-"),
    ],
)
def test_names_of_folders_are_spelled_as_imap_does(name, spelled):
    assert imap_syntax.in_utf7(name) == spelled
    assert imap_syntax.from_utf7(spelled) == name


@pytest.mark.parametrize("spelled", ["&AAA", "&&-", "&!!!-", "&AA-"])
def test_a_folder_that_is_spelled_wrongly_is_shown_somehow(spelled):
    assert isinstance(imap_syntax.from_utf7(spelled), str)


def test_what_is_asked_of_letters_is_found_in_any_order():
    lines = [
        b"1 FETCH (BODY[] {3}",
        bytearray(b"abc"),
        b' UID 7 INTERNALDATE "22-Nov-2026 10:00:00 +0000")',
        b"2 FETCH (FLAGS (\\Seen))",
        b'3 FETCH (UID 9 BODY[] "")',
        b"4 FETCH (UID 10 BODY[] NIL RFC822.SIZE 5)",
    ]
    found = imap_syntax.found(lines)
    assert [(letter.uid, letter.size, letter.body) for letter in found] == [(7, 0, b"abc"), (9, 0, b""), (10, 5, None)]
    assert found[0].date == "22-Nov-2026 10:00:00 +0000"


# --- the folder of what colleagues send ---


def words(heard: Heard) -> list[str]:
    return [request.headers["x-folder"] for request in heard.letters]


async def test_two_folders_keep_a_place_each_and_nothing_of_them_comes_twice(dovecot):
    dovecot.put(USER, letter("lay-there"), "Sent")
    channel = email(dovecot, sent_watched="Sent")
    async with hearing() as heard:
        async with listening(channel, heard):
            await heard.until(lambda: "uidvalidity" in heard.cursor and "Sent" in heard.cursor.get("others", {}))
            dovecot.put(USER, letter("in-1"))
            dovecot.put(USER, letter("out-1"), "Sent")
            await heard.until(lambda: len(heard.letters) == 2)
        dovecot.put(USER, letter("out-2"), "Sent")
        dovecot.put(USER, letter("in-2"))
        async with listening(channel, heard):
            await heard.until(lambda: len(heard.letters) == 4)
        assert sorted(words(heard)) == ["INBOX", "INBOX", "Sent", "Sent"]
        assert words(heard)[2:] == ["INBOX", "Sent"], "what somebody wrote comes before the answer"
        assert len(heard.items) == 4
        async with listening(email(dovecot), heard):
            dovecot.put(USER, letter("in-3"))
            await heard.until(lambda: len(heard.letters) == 5)
        async with listening(channel, heard):
            dovecot.put(USER, letter("out-3"), "Sent")
            await heard.until(lambda: len(heard.letters) == 6)
        assert len(heard.items) == 6, "a folder that was not read for a while is gone on with where it was left"


@pytest.mark.parametrize("folder", ["INBOX", "inbox"])
def test_what_comes_in_cannot_be_what_was_sent(folder):
    with pytest.raises(ValueError, match="another folder"):
        email(sent_watched=folder)


async def test_a_folder_of_sent_letters_that_is_not_there_keeps_nobody_from_reading_what_comes(dovecot):
    channel = email(dovecot, sent_watched="Gesendet")
    async with hearing() as heard:
        async with listening(channel, heard):
            await heard.until(lambda: any("Gesendet" in said for well, said in heard.states if not well))
            dovecot.put(USER, letter("still-read"))
            await heard.until(lambda: len(heard.letters) == 1)
            assert heard.states[-1][0] is False
            dovecot.put(USER, letter("made-now"), "Gesendet")
            await heard.until(lambda: heard.states[-1][0])
        with pytest.raises(Misconfigured, match=r"Nowhere.*Gesendet"):
            await email(dovecot, sent_watched="Nowhere").check(heard.tools)
