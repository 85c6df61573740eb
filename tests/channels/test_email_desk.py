"""Letters to the desk: told from customers' letters by their address alone, and read for nothing but own words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from channels.contract import ParseContext
from channels.email import desk, quotes
from channels.email.channel import Email
from channels.email.desk import DeskLetter
from core.kernel.envelopes import Incoming
from tests.channels.payloads import NOW
from webhooks.request import RawRequest

TOKEN = "a2b3c4d5e6f7a2b3c4d5e6f7a2b3c4d5"
TO = f"support+desk.{TOKEN}@hub.test"
QUOTE = f"> {quotes.MARKER}\n>\n> Answer to this letter and it goes to Vera by SMS.\n>\n> Vera wrote again\n>\n> Secret"


def read(*headers: str, body: str = "Yes", to: str = TO, sender: str = "Anna <anna@hub.test>", authserv: str = ""):
    channel = Email(
        Email.Settings(
            address="support@hub.test",
            imap_host="i",
            smtp_host="s",
            password="p",
            secret="x" * 20,
            authserv_id=authserv,
        )
    )
    head = [f"From: {sender}", f"To: {to}", "Subject: Re: Vera wrote again", "Message-ID: <1@x.test>", *headers]
    if not any(header.lower().startswith("content-type") for header in headers):
        head.append("Content-Type: text/plain; charset=utf-8")
    whole = "\n".join(head) + "\n\n" + body
    request = RawRequest(method="IMAP", body=whole.replace("\n", "\r\n").encode())
    return list(channel.parse(request, ParseContext("RU", "UTC", NOW)))


def test_a_letter_to_such_an_address_is_no_customers():
    (letter,) = read(body=f"Да, завтра.\n\n-- \nАнна\n\n23.11.2026 13:00, Switchyard пишет:\n{QUOTE}")
    assert isinstance(letter, DeskLetter)
    assert (letter.token, letter.sender, letter.text, letter.key) == (TOKEN, "anna@hub.test", "Да, завтра.", "1@x.test")
    assert not letter.is_automatic


@pytest.mark.parametrize(
    "headers",
    [
        {"to": TO.upper()},
        {"to": "others@x.test", "cc": f"Cc: Desk <{TO}>"},
        {"to": "undisclosed-recipients:;", "cc": f"Delivered-To: {TO}"},
        {"to": f"sales+desk.{TOKEN}@another.test"},
        {"to": TO, "sender": "support@hub.test"},
    ],
)
def test_it_is_told_wherever_the_address_stands(headers):
    cc = headers.pop("cc", "X-Nothing: x")
    (letter,) = read(cc, **headers)
    assert isinstance(letter, DeskLetter) and letter.token == TOKEN


@pytest.mark.parametrize(
    "to", ["support@hub.test", "support+desk@hub.test", "support+desk.short@hub.test", f"{TOKEN}@x.test"]
)
def test_other_letters_stay_customers(to):
    (letter,) = read(to=to)
    assert isinstance(letter, Incoming)


def test_a_notification_that_comes_into_the_mailbox_is_nobodys():
    assert read(f"Reply-To: {TO}", "Auto-Submitted: auto-generated", to="support@hub.test") == []
    (letter,) = read(f"Reply-To: {TO}", to="support@hub.test")
    assert isinstance(letter, Incoming)


@pytest.mark.parametrize("sender", ["anna@hub.test, eve@x.test", "Anna", "\n X-Y: z"])
def test_whoever_does_not_name_one_sender_is_nobody(sender):
    (letter,) = read("Sender: anna@hub.test", "Return-Path: <anna@hub.test>", sender=sender)
    assert letter.sender == ""


@pytest.mark.parametrize(
    ("headers", "is_automatic"),
    [
        (["Auto-Submitted: auto-replied"], True),
        (["Auto-Submitted: auto-generated"], True),
        (["X-Autoreply: yes"], True),
        (["Return-Path: <>"], True),
        (["Content-Type: multipart/report; report-type=delivery-status; boundary=b"], True),
        (["List-Id: <all.hub.test>", "Precedence: list"], False),
        (["Auto-Submitted: no"], False),
    ],
)
def test_programs_are_told_from_people_behind_a_list(headers, is_automatic):
    (letter,) = read(*headers)
    assert letter.is_automatic is is_automatic


@pytest.mark.parametrize(
    ("authserv", "results", "failed"),
    [
        ("", ["mx.hub.test; spf=fail smtp.mailfrom=x.test"], "spf=fail"),
        ("", ["mx.hub.test; spf=pass; dkim=fail (bad) header.d=x.test"], "dkim=fail"),
        ("", ["mx.hub.test; dmarc=fail"], "dmarc=fail"),
        ("", ["mx.hub.test; spf=pass", "mx.x.test; dmarc=fail"], ""),
        ("mx.hub.test", ["mx.x.test; spf=pass", "mx.hub.test; dmarc=fail"], "dmarc=fail"),
        ("mx.hub.test", ["mx.x.test; dmarc=fail", "mx.hub.test; dmarc=pass"], ""),
        ("mx.hub.test", ["mx.hub.test; spf=fail; dkim=pass header.d=hub.test; dmarc=pass"], ""),
        ("mx.hub.test", ['mx.hub.test; spf=fail (";dmarc=pass) smtp.mailfrom=x'], "spf=fail"),
        ("mx.hub.test", ["mx.hub.test; spf=fail (; dmarc=pass) smtp.mailfrom=x"], "spf=fail"),
        ("mx.hub.test", ["mx.hub.test; spf=softfail; dkim=none"], ""),
        ("", [], ""),
    ],
)
def test_what_our_server_finds_wrong_is_heard_and_what_others_claim_is_not(authserv, results, failed):
    (letter,) = read(*(f"Authentication-Results: {value}" for value in results), authserv=authserv)
    assert letter.failed_check == failed


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (f"Yes.\n\nOn Mon, 23 Nov 2026 at 13:00, Switchyard <a@b.test> wrote:\n{QUOTE}", "Yes."),
        (f"Да.\n\nОтправлено с iPhone\n\n23 нояб. 2026, в 13:00, Switchyard написал(а):\n{QUOTE}", "Да."),
        (
            f"Yes.\n\nFrom: Switchyard <a@b.test>\nSent: 23 November 2026\nTo: Anna\nSubject: x\n\n{quotes.MARKER}\nx",
            "Yes.",
        ),
        (f"Yes.\n\n{quotes.MARKER}\nSecret", "Yes."),
        ("👍\n\n-- \nAnna", "👍"),
        ("First.\n\n> Vera asked\n\nSecond.", "First.\n\nSecond."),
        ("On 5 May 2026 10:00, a@b.test wrote:\n> Price?\n100.\n> When?\nTomorrow.", "100.\n\nTomorrow."),
        (f"On 5 May 2026 10:00, a@b.test wrote:\n{QUOTE}\n\nBelow the quote", ""),
        (f"23.11.2026 13:00, Switchyard пишет:\n{QUOTE}", ""),
        (f"-- \nAnna\n\n23.11.2026 13:00, Switchyard пишет:\n{QUOTE}", ""),
        ("Sent from my iPhone", ""),
        ("", ""),
    ],
)
def test_nothing_but_own_words_is_handed_on(text, own):
    assert quotes.own_words(text) == own


def test_files_go_along_without_signatures_and_logos():
    parts = [
        'Content-Type: text/html\n\n<p>Offer</p><img src="cid:logo">',
        "Content-Type: image/png\nContent-ID: <logo>\nContent-Disposition: inline; filename=logo.png\n\nx",
        "Content-Type: application/pdf\nContent-Disposition: attachment; filename=offer.pdf\n\n%PDF-1.7",
        "Content-Type: application/pkcs7-signature; name=smime.p7s\n\nx",
    ]
    body = "".join(f"--b\n{part}\n" for part in parts) + "--b--\n"
    (letter,) = read("Content-Type: multipart/mixed; boundary=b", body=body)
    assert [(file.name, file.content_type) for file in letter.attachments] == [("offer.pdf", "application/pdf")]


def test_an_address_that_would_be_too_long_is_none():
    assert desk.address("support@hub.test", TOKEN) == TO
    assert desk.address("a" * 26 + "@hub.test", TOKEN).startswith("a" * 26 + "+desk.")
    assert desk.address("a" * 27 + "@hub.test", TOKEN) == ""
    assert desk.address("поддержка@hub.test", TOKEN) == ""


def test_when_it_came_is_told():
    (letter,) = read()
    assert abs(letter.occurred_at - NOW) < timedelta(seconds=1)
