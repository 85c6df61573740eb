"""Letters go out through a real Postfix, and through servers that say no in every way there is."""

from __future__ import annotations

import base64
import email as parsing
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from channels.contract import Tools
from channels.email import letters, outgoing
from channels.email.mailbox import Pace
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.http import Exchange
from core.kernel.addresses import Address
from core.kernel.envelopes import Status
from tests.channels import mailboxes
from tests.channels.mailboxes import CONTEXT, USER, Saying, hearing, listening, saying
from tests.channels.payloads import NOW
from tests.channels.provider import file, part, tools_for
from tests.peers.dovecot import PASSWORDS, Dovecot
from tests.peers.postfix import Postfix

SALES = "sales@hub.test"


@pytest.fixture
async def noted() -> AsyncIterator[tuple[Tools, list[Exchange]]]:
    async with tools_for("http://127.0.0.1", secrets=(PASSWORDS[USER], "wrong pass")) as made:
        yield made


def mailbox(dovecot: Dovecot, postfix: Postfix, **settings: Any) -> mailboxes.Email:
    return mailboxes.email(dovecot, **{"smtp_port": postfix.smtps, "smtp_security": "tls", **settings})


def read(raw: bytes) -> Any:
    return parsing.message_from_bytes(raw, policy=email.policy.default)


# --- a real server ---


@pytest.mark.parametrize(("security", "port"), [("tls", "smtps"), ("starttls", "smtp")])
async def test_a_letter_arrives_as_it_was_written(dovecot, postfix, noted, security, port):
    tools, exchanges = noted
    channel = mailbox(dovecot, postfix, smtp_security=security, smtp_port=getattr(postfix, port), sender_name="Отдел")
    async with hearing() as heard, listening(mailboxes.email(dovecot, address=SALES, password="sales pass"), heard):
        await heard.until(lambda: heard.wells > 0)
        receipt = await channel.send(
            part(
                "Добрый день!\n\n.\n..точки\nСтрока " + "очень " * 400 + "длинная",
                peer=SALES,
                html="<p>Добрый <b>день</b></p>",
                subject="Предложение — 5 %",
                files=(file(b"%PDF \x00\xff\r\n.\r\n" * 2_000, name="Договор №5.pdf"), file(b"x", name="a/b\r\nc.txt")),
            ),
            tools,
        )
        await heard.until(lambda: len(heard.letters) == 1)
    found = read(heard.letters[0].body)
    assert found["Message-ID"].strip("<>") == receipt.external_ids[0]
    assert found["Subject"] == "Предложение — 5 %"
    assert found["From"] == f"Отдел <{USER}>"
    assert found["To"] == SALES
    words = found.get_body(("plain",)).get_content().replace("\r\n", "\n")
    assert words.startswith("Добрый день!\n\n.\n..точки\nСтрока очень") and words.rstrip().endswith("очень длинная")
    assert found.get_body(("html",)).get_content().strip() == "<p>Добрый <b>день</b></p>"
    first, second = found.iter_attachments()
    assert (first.get_filename(), first.get_content()) == ("Договор №5.pdf", b"%PDF \x00\xff\r\n.\r\n" * 2_000)
    assert "\n" not in second.get_filename()
    [exchange] = exchanges
    assert exchange.status == 250 and "queued" in exchange.answered
    assert f"RCPT TO:<{SALES}>" in exchange.sent
    assert PASSWORDS[USER] not in repr(exchange)
    assert receipt.detail == exchange.answered


@pytest.mark.parametrize(
    ("peer", "expected", "code"),
    [
        ("gone@hub.test", RecipientGone, "5.1.1"),
        ("full@hub.test", Undeliverable, "5.2.2"),
        ("policy@hub.test", Undeliverable, "5.7.1"),
        ("grey@hub.test", Temporary, "4.7.1"),
        ("not an address", Undeliverable, "address"),
    ],
)
async def test_what_the_server_says_of_a_recipient_is_told_apart(dovecot, postfix, noted, peer, expected, code):
    tools, exchanges = noted
    with pytest.raises(expected) as raised:
        await mailbox(dovecot, postfix).send(part("Hello", peer=peer), tools)
    assert type(raised.value) is expected
    assert raised.value.code == code
    if code[0] in "45":
        assert exchanges[0].status == {"5.1.1": 550, "5.2.2": 552, "5.7.1": 554, "4.7.1": 451}[code]
    if isinstance(raised.value, Temporary):
        assert raised.value.retry_after == 300


async def test_a_letter_too_large_for_the_server_is_never_sent(dovecot, postfix, noted):
    with pytest.raises(Undeliverable, match="too large") as raised:
        await mailbox(dovecot, postfix).send(part("See", peer=SALES, files=(file(b"x" * 1_000_000),)), noted[0])
    assert raised.value.code == "5.3.4"


async def test_a_wrong_password_is_told_and_not_shown(dovecot, postfix, noted):
    tools, exchanges = noted
    with pytest.raises(Unauthorised, match="535") as raised:
        await mailbox(dovecot, postfix, password="wrong pass").send(part("Hello", peer=SALES), tools)
    assert "wrong pass" not in f"{raised.value} {exchanges}"
    assert exchanges[0].status == 535


async def test_a_certificate_nobody_knows_is_not_trusted(dovecot, postfix, noted):
    for settings in ({}, {"smtp_security": "starttls", "smtp_port": postfix.smtp}):
        with pytest.raises(Misconfigured, match="certificate"):
            await mailbox(dovecot, postfix, certificate="", **settings).send(part("Hello", peer=SALES), noted[0])


async def test_addresses_in_other_letters_are_written_where_the_server_can(dovecot, postfix, noted):
    peer = "поддержка@hub.test"
    receipt = await mailbox(dovecot, postfix).send(part("Привет", peer=peer), noted[0])
    assert receipt.status == "sent"


async def test_a_real_bounce_comes_back_as_a_failure_of_what_was_sent(dovecot, postfix, noted):
    channel = mailbox(dovecot, postfix)
    async with hearing() as heard, listening(channel, heard):
        await heard.until(lambda: heard.wells > 0)
        receipt = await channel.send(part("Hello", peer="nobody@bounce.test"), noted[0])
        await heard.until(lambda: len(heard.letters) == 1)
    [told] = channel.parse(heard.letters[0], CONTEXT)
    assert isinstance(told, Status)
    assert (told.status, told.peer, told.our_id) == ("failed", "nobody@bounce.test", "184467.0")
    assert told.external_id == receipt.external_ids[0]
    assert told.is_final
    assert told.error_code.startswith("5.")
    assert "550" in told.error_text or "500" in told.error_text, told.error_text


async def test_a_copy_is_kept_in_the_folder_of_sent_letters(dovecot, postfix, noted):
    channel = mailbox(dovecot, postfix, sent_folder="Отправленные")
    before = len(dovecot.letters(USER, "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"))
    receipt = await channel.send(part("Hello", peer=SALES), noted[0])
    letters = dovecot.letters(USER, "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-")
    assert len(letters) == before + 1
    assert receipt.external_ids[0].encode() in b"".join(letters)
    assert any(":2,S" in path.name for path in dovecot.box(USER, "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-").glob("cur/*"))


async def test_a_copy_that_cannot_be_kept_does_not_unsend_the_letter(dovecot, postfix, noted):
    channel = mailbox(dovecot, postfix, sent_folder="Sent", imap_port=1)
    receipt = await channel.send(part("Hello", peer=SALES), noted[0])
    assert receipt.status == "sent"
    assert "no copy could be put into Sent" in receipt.detail


async def test_a_check_signs_in_to_both_servers_and_sends_nothing(dovecot, postfix, noted):
    tools, _ = noted
    found = await mailbox(dovecot, postfix).check(tools)
    assert USER in found.detail
    assert found.facts["Largest letter sent"] == "1 MB"
    assert found.facts["New letters"] == "are told at once"
    with pytest.raises(Misconfigured, match="folder"):
        await mailbox(dovecot, postfix, folder="Nowhere").check(tools)
    with pytest.raises(Temporary, match="cannot be reached"):
        await mailbox(dovecot, postfix, smtp_port=1).check(tools)


# --- servers that say no ---


def speaking(said: dict[str, str], *, offers: str = "AUTH PLAIN") -> Saying:
    """Answer SMTP's commands; `said` replaces the answers to some, DATA is the answer to the letter itself."""
    state = {"in letter": False}
    usual = {
        "EHLO": "250-hello\r\n250 " + offers,
        "AUTH": "235 2.7.0 in",
        "MAIL": "250 fine",
        "RCPT": "250 fine",
        "RSET": "250 fine",
        "QUIT": "221 bye",
        "DATA": "250 2.0.0 taken",
    }

    def answer(line: str) -> str | None:
        if state["in letter"]:
            if line != ".":
                return None if said.get("BODY") == "hang up" else ""
            state["in letter"] = False
            found = {**usual, **said}["DATA"]
        elif line.upper() == "DATA":
            state["in letter"] = True
            found = "354 go on"
        else:
            found = {**usual, **said}.get(line.split(" ")[0].upper(), "500 what?")
        return {"hang up": None, "silence": ""}.get(found, f"{found}\r\n")

    return answer


@asynccontextmanager
async def server(
    said: dict[str, str], *, greeting: str = "220 hello", offers: str = "AUTH PLAIN", **settings: Any
) -> AsyncIterator[mailboxes.Email]:
    async with saying(greeting, speaking(said, offers=offers)) as port:
        yield mailboxes.email(
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_security=settings.pop("security", "none"),
            **settings,
        )


@pytest.mark.parametrize(
    ("said", "expected", "code"),
    [
        ({"AUTH": "535 5.7.8 bad credentials"}, Unauthorised, "535"),
        ({"AUTH": "534 5.7.9 application-specific password required"}, Unauthorised, "534"),
        ({"AUTH": "454 4.7.0 temporary authentication failure"}, Temporary, "4.7.0"),
        ({"AUTH": "454 4.7.0 Too many login attempts"}, Throttled, "4.7.0"),
        ({"AUTH": "hang up"}, Temporary, "broken"),
        ({"MAIL": "553 5.7.1 Sender address rejected: not owned by auth user"}, Misconfigured, "5.7.1"),
        ({"MAIL": "530 5.7.0 Authentication required"}, Unauthorised, "530"),
        ({"MAIL": "552 5.3.4 Message size exceeds fixed limit"}, Undeliverable, "5.3.4"),
        ({"MAIL": "421 4.3.0 shutting down"}, Temporary, "4.3.0"),
        ({"MAIL": "550 5.4.5 Daily user sending quota exceeded"}, Throttled, "5.4.5"),
        ({"MAIL": "hang up"}, Temporary, "broken"),
        ({"RCPT": "550 no such user"}, RecipientGone, "550"),
        ({"RCPT": "550 mailbox unavailable"}, Undeliverable, "550"),
        ({"RCPT": "550 5.1.10 RecipientNotFound"}, RecipientGone, "5.1.10"),
        ({"RCPT": "551 user not local"}, RecipientGone, "551"),
        ({"RCPT": "554 5.7.1 Relay access denied"}, Misconfigured, "5.7.1"),
        ({"RCPT": "550 5.7.1 blocked by policy"}, Undeliverable, "5.7.1"),
        ({"RCPT": "452 4.2.2 over quota"}, Temporary, "4.2.2"),
        ({"RCPT": "450 4.2.0 Greylisted, see http://example"}, Temporary, "4.2.0"),
        ({"RCPT": "hang up"}, Temporary, "broken"),
        ({"DATA": "554 5.7.1 spam"}, Undeliverable, "5.7.1"),
        ({"DATA": "552 5.2.3 too large"}, Undeliverable, "5.2.3"),
        ({"DATA": "451 4.3.0 try again"}, Temporary, "4.3.0"),
        ({"DATA": "421 4.7.28 rate limit exceeded"}, Throttled, "4.7.28"),
        ({"DATA": "hang up"}, Uncertain, "broken"),
    ],
    ids=lambda value: next(iter(value.items())).__str__() if isinstance(value, dict) else None,
)
async def test_what_a_server_says_decides_what_happens_next(noted, said, expected, code):
    tools, exchanges = noted
    async with server(said) as channel:
        with pytest.raises(expected) as raised:
            await channel.send(part("Hello", peer="vera@example.com"), tools)
    assert type(raised.value) is expected
    assert raised.value.code == code
    assert len(exchanges) == 1
    spoken = next(iter(said.values()))
    assert exchanges[0].status == (None if spoken == "hang up" else int(spoken[:3]))


@pytest.mark.parametrize("greeting", ["554 no service", "421 too many connections", "hello?"])
async def test_a_server_that_does_not_talk_to_us_is_tried_again(noted, greeting):
    async with server({}, greeting=greeting) as channel:
        with pytest.raises(Temporary):
            await channel.send(part("Hello", peer="vera@example.com"), noted[0])


@pytest.mark.parametrize("said", ["silence", "what?", "hang up"])
async def test_after_the_letter_all_but_a_clear_word_may_mean_anything(noted, said):
    tools, exchanges = noted
    async with server({"DATA": said}, pace=Pace(patience=2, acceptance=0.3)) as channel:
        with pytest.raises(Uncertain, match="may have gone"):
            await channel.send(part("Hello", peer="vera@example.com"), tools)
    assert exchanges[0].status is None


async def test_a_letter_that_was_cut_before_its_end_was_not_sent(noted):
    async with server({"BODY": "hang up"}) as channel:
        with pytest.raises(Temporary, match="before it had the letter"):
            await channel.send(part("See", peer="vera@example.com", files=(file(b"x" * 8_000_000),)), noted[0])


async def test_without_encryption_on_offer_no_password_is_sent(noted):
    heard: list[str] = []
    speak = speaking({})

    def listen(line: str) -> str | bytes | None:
        heard.append(line)
        return speak(line)

    async with saying("220 hello", listen) as port:
        channel = mailboxes.email(smtp_host="127.0.0.1", smtp_port=port, smtp_security="starttls")
        with pytest.raises(Misconfigured, match="STARTTLS"):
            await channel.send(part("Hello", peer="vera@example.com"), noted[0])
    assert not any(line.upper().startswith(("AUTH", "MAIL")) for line in heard)


async def test_a_server_without_sign_in_is_used_only_in_the_clear_network_it_was_meant_for(noted):
    async with server({}, offers="PIPELINING") as channel:
        assert (await channel.send(part("Hello", peer="vera@example.com"), noted[0])).status == "sent"
    async with server({}, offers="AUTH GSSAPI") as channel:
        with pytest.raises(Misconfigured, match="no way to sign in"):
            await channel.send(part("Hello", peer="vera@example.com"), noted[0])


async def test_other_letters_in_an_address_need_a_server_that_knows_them(noted):
    async with server({}) as channel:
        with pytest.raises(Undeliverable, match="Latin letters"):
            await channel.send(part("Hello", peer="поддержка@пример.рф"), noted[0])


@pytest.mark.parametrize(
    ("token", "said", "expected"), [("good", "235 in", None), ("stale", "334 eyJzdGF0dXMiOiI0MDEifQ==", Unauthorised)]
)
async def test_an_access_token_signs_in_and_is_not_shown(noted, token, said, expected):
    tools, exchanges = noted
    spoken: list[str] = []
    speak = speaking({"AUTH": said, "": "535 5.7.8 no"}, offers="AUTH PLAIN XOAUTH2")

    def listen(line: str) -> str | bytes | None:
        spoken.append(line)
        return speak(line)

    async with saying("220 hello", listen) as port:
        channel = mailboxes.email(
            smtp_host="127.0.0.1", smtp_port=port, smtp_security="none", auth="xoauth2", password=f"{token}-token"
        )
        sending = channel.send(part("Hello", peer="vera@example.com"), tools)
        if expected is None:
            assert (await sending).status == "sent"
        else:
            with pytest.raises(expected, match="535"):
                await sending
    [word] = [line.split()[2] for line in spoken if line.startswith("AUTH XOAUTH2 ")]
    assert base64.b64decode(word) == f"user={USER}\1auth=Bearer {token}-token\1\1".encode()
    assert f"{token}-token" not in repr(exchanges) and word not in repr(exchanges)


# --- what is written ---


async def written(**more: Any) -> tuple[bytes, outgoing.Composed]:
    settings = {"address": USER, "name": "", "key": b"key", "now": NOW}
    settings |= {name: more.pop(name) for name in ("name", "replies_by_plus") if name in more}
    letter = await outgoing.compose(part(more.pop("text", "Hello"), peer="vera@example.com", **more), **settings)
    with closing(letter):
        raw = letter.whole()
        assert letter.size == len(raw)
        return raw, letter


async def composed(**more: Any) -> tuple[Any, outgoing.Composed]:
    raw, letter = await written(**more)
    return read(raw), letter


async def test_every_attempt_has_the_same_message_id(noted):
    first, again, other = [await composed(thread=thread) for thread in ("t1", "t1", "t2")]
    assert first[1].message_id == again[1].message_id != other[1].message_id
    assert first[1].message_id.endswith("@hub.test>")


async def test_an_answer_says_what_it_answers():
    context = {"message_id": "<c@x>", "references": "<a@x> <b@x>", "subject": "RE: Re: Отв: Цена"}
    found, letter = await composed(context=context)
    assert found["Subject"] == "Re: Цена"
    assert found["In-Reply-To"] == "<c@x>"
    assert found["References"].split() == ["<a@x>", "<b@x>", "<c@x>"]
    assert letter.context == {
        "message_id": letter.message_id,
        "references": f"<a@x> <b@x> <c@x> {letter.message_id}",
        "subject": "Re: Цена",
    }
    chosen, _ = await composed(context=context, reply_to="b@x", subject="New")
    assert (chosen["In-Reply-To"], chosen["Subject"]) == ("<b@x>", "New")
    assert chosen["References"].split() == ["<a@x>", "<b@x>"]


async def test_of_many_references_the_first_and_the_last_are_kept():
    known = [f"<{number}@x>" for number in range(60)]
    found, letter = await composed(context={"message_id": known[-1], "references": " ".join(known)})
    written = found["References"].split()
    assert len(written) == 20
    assert (written[0], written[-1]) == (known[0], known[-1])
    assert len(letter.context["references"].split()) == 20


async def test_long_identifiers_are_not_broken():
    long = "<" + "a" * 200 + "@mail.example.com>"
    _, letter = await composed(context={"message_id": long, "references": long})
    assert f"In-Reply-To: {long}\r\n".encode() in letter.whole()
    assert f"References: {long}\r\n".encode() in letter.whole()


@pytest.mark.parametrize("bad", ["a\r\nBcc: spy@example.com", "a\nX: y", "a\x00b", "a\u2028b\x85c", "\ud800"])
async def test_nothing_that_is_said_can_become_a_header_of_its_own(bad):
    raw, _ = await written(
        subject=bad,
        name=bad,
        text=bad,
        context={"message_id": f"<{bad}@x>", "references": bad},
        reply_to=bad,
        files=(file(b"x", name=bad, content_type=bad),),
    )
    found = read(raw)
    assert found["Bcc"] is None and found["X"] is None
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert raw.isascii()


async def test_a_program_s_letter_says_so():
    alone, _ = await composed(is_automatic=True)
    answer, _ = await composed(is_automatic=True, context={"message_id": "<a@x>"})
    person, _ = await composed()
    assert (alone["Auto-Submitted"], answer["Auto-Submitted"]) == ("auto-generated", "auto-replied")
    assert alone["X-Auto-Response-Suppress"] == "All"
    assert person["Auto-Submitted"] is None


async def test_answers_may_be_asked_to_an_address_that_tells_the_conversation():
    found, _ = await composed(replies_by_plus=True, thread="abc")
    assert found["Reply-To"].startswith("support+")
    assert found["From"] == USER


async def test_a_letter_without_a_subject_gets_one():
    found, _ = await composed(text="Здравствуйте!\nВаш заказ готов")
    assert found["Subject"] == "Здравствуйте! Ваш заказ готов"


@pytest.mark.parametrize(
    "subject",
    [
        "Окно на кухне не закрывается, и подоконник помещается ни на волос шире старого, когда придёт мастер",
        "Short",
        "A subject of plain letters that goes on for longer than seventy-eight characters, as people like to write",
        "Ответ: 😀 " * 20,
    ],
)
async def test_a_long_subject_arrives_as_it_was_written(subject):
    raw, _ = await written(text="x", subject=subject)
    assert letters.read(raw).subject.removeprefix("Re: ") == " ".join(subject.split())


@pytest.mark.parametrize("kind", ["message/rfc822", "multipart/mixed", "", "nonsense", "text/html; charset=x"])
async def test_a_file_of_any_kind_arrives_byte_for_byte(kind):
    found, _ = await composed(files=(file(b"From: a\r\n\r\nb \xff", name="a.eml", content_type=kind),))
    [attached] = found.iter_attachments()
    assert attached.get_payload(decode=True) == b"From: a\r\n\r\nb \xff"
    assert attached.get_filename() == "a.eml"


@pytest.mark.parametrize(
    "sizes", [(0,), (1, 56), (57, 58), (57 * 1024,), (57 * 1024 + 1, 0, 3), (1_500_000, 1_200_000)]
)
async def test_files_of_any_size_arrive_byte_for_byte(sizes):
    contents = [bytes(index % 251 for index in range(size)) for size in sizes]
    found, _ = await composed(files=tuple(file(content, name=f"{len(content)}.bin") for content in contents))
    assert [attached.get_payload(decode=True) for attached in found.iter_attachments()] == contents


async def test_more_files_than_a_letter_carries_are_refused():
    with pytest.raises(Undeliverable, match="25 MB"):
        await composed(files=(file(b"x" * 13_500_000), file(b"y" * 13_500_000)))


def test_whoever_has_an_address_can_be_written_to():
    channel = mailboxes.email()
    assert channel.peer_of(Address("email", "vera@example.com")) == "vera@example.com"
    assert channel.peer_of(Address("phone", "+79161234567")) is None
    assert channel.address_of("Vera@Example.com") == Address("email", "vera@example.com")
