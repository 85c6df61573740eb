"""What a letter means: a customer's words, our own side's, or what became of a letter we sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from channels import registry
from channels.contract import Receiver
from channels.email import outgoing, threads
from channels.email.channel import Email
from core.kernel.addresses import Address
from core.kernel.envelopes import Event, Incoming, Signal, Status, Trust
from core.kernel.errors import Rejected
from tests.channels import mailboxes
from tests.channels.mailboxes import CONTEXT, USER
from tests.channels.payloads import NOW
from tests.channels.payloads import email as samples
from tests.channels.payloads.email import OURS, request
from tests.channels.provider import part
from webhooks.errors import Malformed, Refused
from webhooks.request import RawRequest


def channel(**settings: Any) -> Email:
    return mailboxes.email(**settings)


def parsed(letter: str | bytes, *, settings: dict[str, Any] | None = None, **headers: str) -> list[Event]:
    return list(channel(**(settings or {})).parse(request(letter, **headers), CONTEXT))


def incoming(letter: str | bytes, **more: Any) -> Incoming:
    [event] = parsed(letter, **more)
    assert isinstance(event, Incoming)
    return event


def with_header(letter: str, *lines: str) -> str:
    return "".join(f"{line}\n" for line in lines) + letter


def test_a_letter_is_its_sender_s_own_words():
    found = incoming(samples.PLAIN)
    assert found.external_id == "1@example.com"
    assert found.claims[0].address == Address("email", "vera@example.com")
    assert (found.peer, found.name, found.subject) == ("vera@example.com", "Вера", "Цена")
    assert found.text.strip() == "Сколько стоит доставка?"
    assert found.occurred_at == datetime(2026, 11, 20, 8, 59, tzinfo=UTC)
    assert (found.is_ours, found.is_automatic, found.reply_to) == (False, False, "")
    assert found.context == {"message_id": "<1@example.com>", "references": "<1@example.com>", "subject": "Цена"}


def test_an_answer_finds_its_letter_its_conversation_and_its_files():
    email = channel()
    [found] = email.parse(request(samples.ANSWER), CONTEXT)
    assert isinstance(found, Incoming)
    assert found.reply_to == OURS.strip("<>")
    assert found.thread == "", "we wrote first, in the usual conversation"
    assert found.text.strip() == "Yes, please."
    assert "Shall we send it?" in found.quoted
    assert "<b>please</b>" in found.html and "script" not in found.html
    [file] = found.attachments
    assert (file.name, file.content_type, file.size) == ("plan.pdf", "application/pdf", 9)
    assert email.read_part(request(samples.ANSWER), file.part) == b"%PDF-1.7\n"
    assert email.read_part(request(samples.ANSWER), 99) is None


async def test_letters_that_answer_one_another_stay_in_one_conversation():
    """Vera writes, we answer, she answers, we answer again: one thread, told by any of the letters."""
    email = channel()
    first = incoming(samples.PLAIN)
    assert first.thread
    sent: list[str] = []
    context = dict(first.context)
    for number in (1, 2):
        answer = replace(
            part("Да", peer=first.peer, thread=first.thread, context=context), id=f"{number}.0", message_id=number
        )

        composed = await outgoing.compose(answer, address=USER, name="", key=samples.SECRET.encode(), now=NOW)
        sent.append(composed.message_id)
        reply = (
            f"From: Vera <vera@example.com>\nTo: {USER}\nSubject: Re: {first.subject}\n"
            f"Message-ID: <r{number}@example.com>\nIn-Reply-To: {composed.message_id}\n"
            f"References: {composed.context['references']}\n\nOk\n"
        )
        [found] = email.parse(request(reply), CONTEXT)
        assert isinstance(found, Incoming)
        assert found.thread == first.thread
        assert found.reply_to == composed.message_id.strip("<>")
        context = dict(found.context)
    assert context["references"].split() == [
        "<1@example.com>",
        sent[0],
        "<r1@example.com>",
        sent[1],
        "<r2@example.com>",
    ]


def test_a_bounce_is_a_failure_of_what_we_sent():
    [found] = parsed(samples.BOUNCE)
    assert isinstance(found, Status)
    assert (found.status, found.our_id, found.external_id) == ("failed", "184467.0", OURS.strip("<>"))
    assert (found.peer, found.error_code, found.is_final, found.is_dead) == ("nobody@example.com", "5.1.1", True, True)
    assert "no such user" in found.error_text


def test_a_letter_that_is_only_late_has_not_failed():
    assert parsed(samples.DELAYED) == []


def test_a_bounce_that_does_not_say_of_what_is_kept_for_somebody_to_look_at():
    nameless = samples.BOUNCE.replace(f"Message-ID: {OURS}\n", "")
    found = incoming(nameless)
    assert found.is_automatic
    assert "could not be delivered" in found.text


@pytest.mark.parametrize(
    "line",
    ["Auto-Submitted: auto-replied", "Precedence: bulk", "List-Unsubscribe: <https://x.example/u>", "X-Autoreply: yes"],
)
def test_what_a_program_wrote_waits_for_nobody(line):
    assert incoming(with_header(samples.PLAIN, line)).is_automatic


def test_out_of_office_is_kept_and_answers_nothing():
    found = incoming(samples.AWAY)
    assert found.is_automatic
    assert found.text.strip() == "I am on holiday."


def test_a_complaint_is_believed_only_of_a_letter_that_was_ours():
    report = (
        "From: fbl@example.com\nTo: support@hub.test\nSubject: complaint\nMessage-ID: <c@example.com>\n"
        'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nThis is a report.\n"
        "--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\n"
        "Original-Rcpt-To: vera@example.com\n\n"
        "--b\nContent-Type: message/rfc822\n\n"
        f"From: support@hub.test\nTo: vera@example.com\nMessage-ID: {OURS}\n\nHello\n--b--\n"
    )
    [found] = parsed(report)
    assert isinstance(found, Signal)
    assert (found.kind, found.peer) == ("opted_out", "vera@example.com")
    forged = report.replace(OURS, OURS.replace("184467", "184468"))
    assert incoming(forged).is_automatic


def test_a_letter_from_our_own_address_is_ours():
    found = incoming(samples.OUR_OWN)
    assert found.is_ours
    assert not found.is_automatic
    assert (found.peer, found.claims[0].address.value) == ("vera@example.com", "vera@example.com")
    assert found.external_id == "5@phone.hub.test"


def test_a_copy_of_what_we_sent_has_the_id_under_which_we_know_it():
    returned = samples.OUR_OWN.replace("<5@phone.hub.test>", OURS)
    found = incoming(returned)
    assert found.is_ours
    assert found.external_id == OURS.strip("<>")


@pytest.mark.parametrize("to", [USER, f"{USER}, sales@hub.test"])
def test_a_website_s_form_is_its_visitor_s_though_it_comes_from_our_address(to):
    form = samples.OUR_OWN.replace("To: Vera <vera@example.com>", f"To: {to}\nReply-To: ivan@example.com")
    found = incoming(form)
    assert not found.is_ours
    assert (found.peer, found.claims[0].address.value) == ("ivan@example.com", "ivan@example.com")


def test_a_letter_from_us_to_us_makes_nobody_of_our_own_address():
    found = incoming(samples.OUR_OWN.replace("To: Vera <vera@example.com>", f"To: {USER}"))
    assert not found.is_ours
    assert found.claims == ()


def test_a_mailing_list_is_nobody():
    letter = samples.PLAIN.replace("To: support@hub.test", "To: list@lists.example")
    found = incoming(
        with_header(
            letter,
            "List-Id: <list.lists.example>",
            "List-Post: <mailto:list@lists.example>",
            "Reply-To: list@lists.example",
        )
    )
    assert found.claims[0].address.value == "vera@example.com"
    assert found.is_automatic


# --- whom to believe ---


@pytest.mark.parametrize(
    ("results", "trust"),
    [
        (["mx.hub.test; dmarc=pass header.from=example.com"], Trust.VERIFIED),
        (["mx.hub.test 1; spf=fail; dkim=pass (good key) header.d=example.com"], Trust.VERIFIED),
        (["MX.hub.test; dkim=pass header.i=@example.com; spf=pass"], Trust.VERIFIED),
        (["mx.hub.test; dkim=pass header.d=spam.example"], Trust.TYPED),
        (["mx.hub.test; dkim=pass header.d=ample.com"], Trust.TYPED),
        (["mx.hub.test; dkim=fail header.d=example.com"], Trust.TYPED),
        (["mx.hub.test; spf=pass smtp.mailfrom=example.com"], Trust.TYPED),
        (["mx.hub.test (dmarc=pass); none"], Trust.TYPED),
        (['mx.hub.test; spf=pass smtp.mailfrom="a; dmarc=pass"@evil.example'], Trust.TYPED),
        (['mx.hub.test; spf=pass smtp.mailfrom="a\\"; dmarc=pass; "@evil.example'], Trust.TYPED),
        (["mx.hub.test; spf=pass (evil (x); dmarc=pass; y) smtp.helo=x"], Trust.TYPED),
        (["mx.hub.test; spf=pass (evil; dmarc=pass; y smtp.helo=x"], Trust.TYPED),
        (["evil.example; dmarc=pass"], Trust.TYPED),
        (["mx.hub.test.evil.example; dmarc=pass"], Trust.TYPED),
        ([], Trust.TYPED),
    ],
)
def test_a_sender_is_verified_only_by_our_own_mail_server(results, trust):
    letter = with_header(samples.PLAIN, *(f"Authentication-Results: {result}" for result in results))
    found = incoming(letter, settings={"authserv_id": "mx.hub.test"})
    assert found.claims[0].trust is trust
    assert incoming(letter).claims[0].trust is Trust.TYPED, "without the name of the server nobody is believed"


def test_whom_answers_go_to_is_not_verified_by_who_sent_the_letter():
    letter = with_header(
        samples.PLAIN, "Authentication-Results: mx.hub.test; dmarc=pass", "Reply-To: other@example.net"
    )
    found = incoming(letter, settings={"authserv_id": "mx.hub.test"})
    assert found.claims[0].address.value == "other@example.net"
    assert found.claims[0].trust is Trust.TYPED


# --- repeats, odd letters, the door ---


def test_a_letter_is_known_again_by_its_message_id_wherever_it_lies():
    email = channel()
    first = email.route(request(samples.PLAIN))
    moved = email.route(request(samples.PLAIN.replace("Received: from", "Received: later from"), x_uid="900"))
    assert first == moved
    assert first.peer == "vera@example.com"
    assert email.route(request(samples.AWAY)).dedupe_key != first.dedupe_key


def test_a_letter_without_message_id_is_known_again_by_what_it_says():
    email = channel()
    nameless = samples.PLAIN.replace("Message-ID: <1@example.com>\n", "")
    first = email.route(request(nameless))
    assert first == email.route(request(with_header(nameless, "X-Spam-Status: no"), x_uid="9"))
    assert first != email.route(request(nameless.replace("доставка", "оплата")))
    assert incoming(nameless).external_id == incoming(nameless, x_uid="9").external_id != ""


def test_a_folded_message_id_is_one():
    folded = samples.PLAIN.replace("Message-ID: <1@example.com>", "Message-ID:\n <1@example.com>")
    assert channel().route(request(folded)) == channel().route(request(samples.PLAIN))


def test_a_letter_that_the_server_would_not_give_is_told():
    empty = replace(request(b""), headers={**request(b"").headers, "x-problem": "localhost said NO"})
    with pytest.raises(Malformed, match=r"localhost said NO.*still lies in the mailbox"):
        channel().parse(empty, CONTEXT)
    assert channel().route(empty) != channel().route(replace(empty, headers={**empty.headers, "x-uid": "2"}))


def test_a_letter_cut_short_says_so_and_keeps_no_half_file():
    cut = samples.ANSWER[: samples.ANSWER.index("--b--")]
    found = incoming(cut, x_whole_size=str(41 * 2**20))
    assert "Yes, please." in found.text
    assert "Only the beginning of this letter (41 MB) was taken" in found.text
    assert found.attachments == ()


def test_a_date_from_the_future_is_not_believed():
    found = incoming(samples.PLAIN.replace("20 Nov 2026 11:59", "20 Nov 2036 11:59"))
    assert found.occurred_at == datetime(2026, 11, 20, 8, 59, 30, tzinfo=UTC)


def test_identifiers_of_any_length_can_be_kept():
    long = "<" + "a" * 600 + "@example.com>"
    found = incoming(samples.PLAIN.replace("<1@example.com>", long))
    assert 0 < len(found.external_id) <= 250
    answer = incoming(samples.AWAY.replace("<4@example.com>", f"<5@x>\nIn-Reply-To: {long}"))
    assert answer.reply_to == found.external_id


@pytest.mark.parametrize(
    "more",
    [
        {"method": "POST"},
        {"url": "https://hub.example/hooks/k"},
        {"path": "/hooks/k"},
        {"client": "203.0.113.7"},
    ],
)
def test_nobody_can_post_letters_over_http(more):
    with pytest.raises(Refused):
        channel().verify(replace(request(samples.PLAIN), **more), NOW)


@pytest.mark.parametrize(
    "body", [b"", b"\x00" * 100, b"From: \xff\xfe\r\n\r\n", b"garbage", b"\r\n\r\n", b":\r\n:\r\n"]
)
def test_any_bytes_make_a_letter(body):
    email = channel()
    [found] = email.parse(RawRequest(body, "IMAP"), CONTEXT)
    assert isinstance(found, Incoming)
    assert found.external_id
    assert found.occurred_at == NOW


def test_its_settings_are_checked_before_anything_is_tried():
    for wrong in (
        {"address": "nobody"},
        {"imap_port": 0},
        {"imap_security": "ssl3"},
        {"imap_host": ""},
        {"user": "a\r\nb"},
    ):
        with pytest.raises((ValidationError, Rejected)):
            registry.build("email", {**samples.SETTINGS, **wrong})
    assert isinstance(registry.build("email", samples.SETTINGS), Receiver)


def test_a_conversation_cannot_be_entered_by_guessing():
    guessed = threads.message_id(b"another secret", "184467.0", "hub.test", "abc")
    found = incoming(samples.ANSWER.replace(OURS, guessed))
    assert found.thread != "abc"
