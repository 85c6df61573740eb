from __future__ import annotations

import pytest

from channels.email import automatic, letters
from channels.email.automatic import Bounce
from tests.channels.payloads import bounces
from tests.channels.payloads.letters import letter

OURS = "<hub.17.0.-.aaaaaaaaaaaaaaaa@hub.example>"

# One sample is a person's letter that once confused a detector, one an automatic answer.
NO_BOUNCES = {"groupwise_03.txt": None, "qmail_08.txt": "reply"}


def kind(raw: bytes) -> str | None:
    found = automatic.kind_of(letters.read(raw), raw)
    return found.kind if found else None


def plain(head: str, body: str = "words") -> bytes:
    return f"To: sales@hub.example\nDate: Tue, 5 May 2026 12:30:00 +0300\n{head}\n\n{body}\n".encode()


@pytest.mark.parametrize("sample", sorted(bounces.EXPECTED))
def test_real_bounces_are_recognised_and_say_whom_they_are_about(sample: str) -> None:
    raw = (bounces.HERE / sample).read_bytes()
    assert kind(raw) == NO_BOUNCES.get(sample, "bounce")
    found = {bounce.recipient: bounce.action for bounce in automatic.bounces(raw)}
    if sample == "simple_42.txt":  # its address was blotted out by who published it, as `david...@`
        assert found == {"david...@gmail.com": "failed"}
    else:
        assert found == bounces.EXPECTED[sample]


def test_there_are_as_many_samples_as_were_copied() -> None:
    assert sorted(bounces.EXPECTED) == sorted(path.name for path in bounces.HERE.glob("*.txt"))
    assert len(bounces.EXPECTED) > 110


def test_a_delivery_status_is_read_per_recipient() -> None:
    unknown = "550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in virtual mailbox table"
    spam = "550 5.7.1 Message rejected as spam, recipient does not exist in whitelist"
    assert automatic.bounces(letter("postfix_bounce")) == [
        Bounce("nobody@example.com", "failed", "5.1.1", True, True, unknown, OURS),
        Bounce("full@example.com", "failed", "5.2.2", True, False, "552 5.2.2 Mailbox full", OURS),
        Bounce(
            "later@example.com",
            "delayed",
            "4.4.1",
            False,
            False,
            "connect to mail.example.com: Connection timed out",
            OURS,
        ),
        Bounce(
            "read@example.com", "delivered", "2.0.0", False, False, "This is the mail system at host mx.example.", OURS
        ),
        Bounce("policy@example.com", "failed", "5.7.1", True, False, spam, OURS),
    ]


def test_a_bounce_of_gmail_says_it_in_a_header_and_in_words() -> None:
    [bounce] = automatic.bounces(letter("gmail_bounce"))
    assert (bounce.recipient, bounce.status, bounce.is_dead) == ("nobody@example.com", "5.1.1", True)
    assert bounce.message_id == OURS


@pytest.mark.parametrize(
    ("sample", "status", "is_dead"),
    [
        ("dsn_01.txt", "5.0.0", False),  # "recipient reached disk quota"
        ("dsn_02.txt", "4.4.7", False),  # given up after days
        ("dsn_10.txt", "5.0.0", True),  # "User unknown"
        ("dsn_14.txt", "5.1.1", True),
        ("simple_09.txt", "", False),  # "quota exceeded"
        ("simple_11.txt", "", True),  # "not listed in Domino Directory"
        ("yahoo_02.txt", "", False),  # "This account is over quota"
        ("yahoo_03.txt", "", True),  # "This account has been disabled or discontinued"
        ("bounce_03.txt", "", False),  # a version, 2.0.13, is no status
        ("qmail_03.txt", "5.1.1", True),
        ("simple_41.txt", "", False),  # "mailbox unavailable" may be for an hour
    ],
)
def test_only_addresses_that_do_not_exist_are_dead(sample: str, status: str, is_dead: bool) -> None:
    [bounce] = automatic.bounces((bounces.HERE / sample).read_bytes())
    assert (bounce.action, bounce.status, bounce.is_final, bounce.is_dead) == ("failed", status, True, is_dead)


def test_each_recipient_has_its_own_words() -> None:
    found = automatic.bounces((bounces.HERE / "yahoo_10.txt").read_bytes())
    assert [bounce.recipient for bounce in found] == ["userx@example.com", "usery@example.com", "userz@example.com"]
    assert all("usery" not in bounce.diagnostic for bounce in found if bounce.recipient != "usery@example.com")


def test_a_complaint_says_who_complained_of_which_letter() -> None:
    raw = letter("complaint")
    assert kind(raw) == "complaint"
    assert automatic.complaint(raw) == automatic.Complaint(
        "vera@example.com", "abuse", "<hub.18.0.-.bbbbbbbbbbbbbbbb@hub.example>"
    )
    assert automatic.complaint(letter("postfix_bounce")) is None


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("gmail_reply_ru", None),
        ("outlook_reply", None),
        ("calendar_and_tnef", None),
        ("site_form", None),
        ("google_group", None),
        ("vacation", "reply"),
        ("read_receipt", "reply"),
        ("newsletter", "newsletter"),
        ("gmail_bounce", "bounce"),
        ("postfix_bounce", "bounce"),
        ("complaint", "complaint"),
    ],
)
def test_samples_are_told_apart(sample: str, expected: str | None) -> None:
    assert kind(letter(sample)) == expected


@pytest.mark.parametrize(
    "head",
    [
        "From: v@example.com\nAuto-Submitted: auto-replied",
        'From: v@example.com\nAuto-Submitted: auto-replied; owner-email="v@example.com"',
        "From: v@example.com\nX-Autoreply: yes",
        "From: v@example.com\nX-Autorespond: 1",
        "From: v@example.com\nPrecedence: auto_reply",
        "From: v@example.com\nX-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent",
        "From: v@example.com\nReturn-Path: <>",
        "From: v@example.com\nSubject: Automatic reply: Invoice",
        "From: v@example.com\nSubject: =?utf-8?B?0JDQstGC0L7QvtGC0LLQtdGCOiDRgdGH0ZHRgg==?=",
        "From: v@example.com\nSubject: Out of Office Re: Invoice",
    ],
)
def test_answers_of_programs_are_recognised(head: str) -> None:
    assert kind(plain(head, "I am back on Monday; your letter is not returned.")) == "reply"


@pytest.mark.parametrize(
    "head",
    [
        "From: shop@example.com\nAuto-Submitted: auto-generated",
        "From: shop@example.com\nPrecedence: bulk",
        "From: shop@example.com\nPrecedence: Junk",
        "From: shop@example.com\nList-Unsubscribe: <mailto:x@example.com>",
        "From: shop@example.com\nList-Id: <x.example.com>",
        "From: shop@example.com\nX-Auto-Response-Suppress: All",
        "From: no-reply@example.com",
        "From: Do Not Reply <donotreply@example.com>\nReply-To: noreply@example.com",
        "From: postmaster@example.com\nSubject: News of your mailhost",
    ],
)
def test_letters_to_many_and_notices_are_recognised(head: str) -> None:
    assert kind(plain(head)) == "newsletter"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("From: v@example.com\nAuto-Submitted: no", "words"),
        ("From: v@example.com\nX-Auto-Response-Suppress: DR, RN", "words"),
        ("From: noreply@site.example\nReply-To: v@example.com\nX-Auto-Response-Suppress: All", "a form"),
        ("From: www@site.example\nReply-To: v@example.com\nAuto-Submitted: auto-generated", "a form"),
        ("From: v@example.com\nSubject: Delivery failure of my order", "The parcel was returned. My mailbox is 17."),
        ("From: mail@example.com\nSubject: Question", "Can you deliver? It was not delivered."),
        ("From: admin@example.com\nSubject: Returned goods", "They were returned."),
        ("From: v@example.com\nSubject: Fwd: Undelivered Mail Returned to Sender", "What does this mean?"),
        ("From: v@example.com\nSubject: Undelivered Mail Returned to Sender\nIn-Reply-To: <a@b>", "What is it?"),
        ("From: v@example.com\nSubject: Out of stock?", "words"),
        ("From: v@example.com\nX-Mailer: PHPMailer", "words"),
    ],
)
def test_letters_of_people_stay_letters_of_people(head: str, body: str) -> None:
    assert kind(plain(head, body)) is None


def test_an_answer_of_ours_that_came_back_by_words_alone_names_our_letter() -> None:
    raw = plain(
        "From: MAILER-DAEMON@mx.example\nReturn-Path: <>\nSubject: failure notice\nMessage-ID: <own@mx.example>",
        "Hi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to deliver your message to the "
        "following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n"
        "<nobody@example.com>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n"
        f"--- Below this line is a copy of the message.\n\nMessage-ID: {OURS}\nSubject: Invoice\n",
    )
    assert kind(raw) == "bounce"
    [bounce] = automatic.bounces(raw)
    assert (bounce.recipient, bounce.is_dead, bounce.message_id) == ("nobody@example.com", True, OURS)


def test_a_bounce_without_a_recipient_is_a_bounce_all_the_same() -> None:
    raw = plain("From: MAILER-DAEMON@mx.example\nSubject: Mail delivery failed", "It could not be delivered.")
    assert kind(raw) == "bounce"
    assert automatic.bounces(raw) == []
