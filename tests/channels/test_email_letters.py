from __future__ import annotations

import time
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.email import automatic, headers, html, letters, mime, quotes, threads
from channels.email.headers import Mailbox
from tests.channels.payloads import bounces
from tests.channels.payloads.letters import HERE, letter

SAMPLES = sorted(path.stem for path in HERE.glob("*.eml"))


def everything(raw: bytes) -> letters.Letter:
    """Read a letter in every way the channel does."""
    read = letters.read(raw)
    for file in read.attachments:
        content = letters.read_part(raw, file.part)
        assert content is not None and len(content) == file.size
        assert file.name and "/" not in file.name and "\\" not in file.name
    assert read.identity
    # what a database, JSON and a page can take
    for text in (read.text, read.html, read.subject, read.sender.name, read.identity, *map(str, read.attachments)):
        assert "\0" not in text
        text.encode()
    assert "\n" not in read.subject and len(read.subject) <= 500
    folded = quotes.fold(read.text, read.html)
    assert bool(folded.own) == bool(read.text.strip())
    automatic.kind_of(read, raw)
    automatic.bounces(raw)
    automatic.complaint(raw)
    html.safe(read.html)
    assert threads.place(b"key", read).thread
    return read


# --- what letters say ---


def test_a_reply_is_read_with_its_sender_its_words_and_what_it_answers() -> None:
    read = everything(letter("gmail_reply_ru"))
    assert read.sender == Mailbox("vera@example.com", "Вера Петрова")
    assert read.author == read.sender
    assert read.to == (Mailbox("sales@hub.example", "Отдел продаж"),)
    assert read.delivered == ("sales@hub.example",)
    assert read.subject == "Re: Счёт 17"
    assert read.date == datetime(2026, 5, 5, 9, 30, tzinfo=UTC)
    assert read.identity == read.message_id == "<CAF=one@mail.example.com>"
    assert read.in_reply_to == ("<first@hub.example>",)
    assert read.references == ("<root@hub.example>", "<first@hub.example>")
    assert read.text.startswith("Спасибо, оплатим завтра.\n\nвт, 5 мая")
    assert 'class="gmail_quote' in read.html
    assert read.attachments == ()


def test_a_picture_in_the_words_is_an_inline_file_and_latin_1_has_its_dashes() -> None:
    raw = letter("outlook_reply")
    read = everything(raw)
    assert read.text.startswith("We agree – please send")
    assert read.attachments == (letters.Enclosure("image001.png", "image/png", 8, 2, "image001.png@01D", True),)
    assert letters.read_part(raw, 2) == b"\x89PNG\r\n\x1a\n"


def test_invitations_tnef_forwarded_letters_and_names_of_every_spelling_are_files() -> None:
    raw = letter("calendar_and_tnef")
    read = everything(raw)
    assert read.text == "Shall we meet?"
    assert [(file.name, file.content_type) for file in read.attachments] == [
        ("invite.ics", "text/calendar"),
        ("winmail.dat", "application/ms-tnef"),
        ("Счёт.pdf", "application/pdf"),
        ("Счёт (2).pdf", "application/pdf"),
        ("Forwarded-earlier.eml", "message/rfc822"),
    ]
    assert letters.read_part(raw, read.attachments[1].part) == b"\x78\x9f\x3e\x22"
    assert letters.read_part(raw, read.attachments[3].part) == b"%PDF-"  # its padding is missing
    assert read.to == ()
    assert read.cc == (Mailbox("vera@example.com", ""), Mailbox("ivan@example.org", "Ivan, the Great"))
    assert read.date is None and read.message_id == "" and read.identity.startswith("hash:")


def test_a_form_of_a_website_is_the_visitors_letter() -> None:
    read = everything(letter("site_form"))
    assert read.sender.address == "noreply@site.example"
    assert read.author == Mailbox("vera@example.com", "Vera")
    assert read.text == "Имя: Вера\nТелефон: +7 916 123-45-67"


def test_a_google_group_hands_on_a_persons_letter() -> None:
    read = everything(letter("google_group"))
    assert read.original == "vera@example.com"
    assert read.author == Mailbox("vera@example.com", "Vera Petrova")


def test_a_plain_version_that_only_sends_to_the_other_gives_way_to_it() -> None:
    assert everything(letter("newsletter")).text == (
        "Spring\n\nEverything half price, see our shop <https://news.example/spring>."
    )


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_can_be_read_in_every_way_even_cut_short(sample: str) -> None:
    raw = letter(sample)
    for end in range(0, len(raw), max(len(raw) // 40, 1)):
        everything(raw[:end])
    everything(raw.replace(b"\n", b"\r\n"))
    everything(raw.replace(b"\n", b"\r"))


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_ends_of_lines_change_nothing(sample: str) -> None:
    raw = letter(sample)
    one, other = letters.read(raw), letters.read(raw.replace(b"\n", b"\r\n"))
    assert (one.text, one.identity, one.subject, [file.name for file in one.attachments]) == (
        other.text,
        other.identity,
        other.subject,
        [file.name for file in other.attachments],
    )


def test_letters_of_the_standard_library_are_read_as_they_were_meant() -> None:
    made = EmailMessage()
    made["From"] = "Вера Петрова <vera@example.com>"
    made["Subject"] = "Тема: " + "ж" * 300
    made["Message-ID"] = "<made@example.com>"
    made.set_content("Привет!\n")
    made.add_alternative("<p>Привет!</p>", subtype="html")
    made.add_attachment(b"\0\1\2" * 1000, maintype="application", subtype="pdf", filename="Договор № 5.pdf")
    raw = made.as_bytes()
    read = everything(raw)
    assert read.sender == Mailbox("vera@example.com", "Вера Петрова")
    assert read.subject == "Тема: " + "ж" * 300
    assert (read.text, read.html.strip()) == ("Привет!", "<p>Привет!</p>")
    assert [(file.name, file.size) for file in read.attachments] == [("Договор № 5.pdf", 3000)]
    assert letters.read_part(raw, read.attachments[0].part) == b"\0\1\2" * 1000
    assert letters.read_part(raw, 99) is None


# --- charsets ---


@pytest.mark.parametrize(
    ("declared", "charset"),
    [
        ("us-ascii", "utf-8"),
        ("us-ascii", "cp1251"),
        ("iso-8859-1", "utf-8"),
        ("windows-1251", "utf-8"),
        ("koi8-r", "koi8-r"),
        ("utf-8", "cp1251"),
        ("X-UNKNOWN", "cp1251"),
        ("ansi_x3.110-1983", "utf-8"),
        ("unicode_escape", "utf-8"),
        ('"', "utf-8"),
        ("utf-16", "utf-16"),
        ("", "koi8-r"),
    ],
)
def test_words_are_read_whatever_charset_is_claimed_for_them(declared: str, charset: str) -> None:
    words = "Добрый день! Пришлите, пожалуйста, договор и счёт на оплату."
    head = f"Subject: x\nContent-Type: text/plain; charset={declared}\nContent-Transfer-Encoding: 8bit\n\n".encode()
    assert everything(head + words.encode(charset)).text == words


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"=?utf-8?B?0J/RgNC40LLQtdGC?=", "Привет"),
        # torn inside of a letter
        (b"=?utf-8?B?0J/RgNC40LLQtdE=?= =?utf-8?B?gg==?=", "Привет"),
        (b"=?utf-8?Q?=D0=9F=D1?=\n =?utf-8?Q?=80=D0=B8?=", "При"),
        (b"=?koi8-r?B?8NLJ18XU?= =?utf-8?B?IQ==?=", "Привет!"),
        (b"=?windows-1251?Q?=CF=F0=E8=E2=E5=F2?=, Vera", "Привет, Vera"),
        (b"=?utf-8*ru?B?0J/RgNC40LLQtdGC?=", "Привет"),
        (b"=?X-UNKNOWN?Q?=D0=9F=D1=80=D0=B8?=", "При"),
        (b"=?ansi_x3.110-1983?Q?Hello_there?=", "Hello there"),
        (b"=?utf-8?Q?with blanks inside?=", "with blanks inside"),
        (b'"=?utf-8?Q?quoted?="', '"quoted"'),
        (b"=?utf-8?B?0J/RgNC40LLQtdG?=", "Приве\ufffd"),
        ("Привет".encode(), "Привет"),
        ("Привет, нужен договор".encode("cp1251"), "Привет, нужен договор"),
        (b"one\r\n two\r\n\tthree", "one two three"),
        (b"=?utf-8?Q?line=0D=0ABcc:_x@example.com?=", "line Bcc: x@example.com"),
        (b"=?utf-8?Q?nul=00_bell=07?=", "nul bell"),
        (b"=?broken", "=?broken"),
        (b"", ""),
    ],
)
def test_subjects_are_decoded_on_one_line(raw: bytes, said: str) -> None:
    assert letters.read(b"Subject: " + raw + b"\n\nwords").subject == said


# --- who ---


@pytest.mark.parametrize(
    ("raw", "boxes"),
    [
        ("Vera <Vera@Example.com>", [("vera@example.com", "Vera")]),
        (
            '"Petrova, Vera" <vera@example.com>, x@example.com',
            [("vera@example.com", "Petrova, Vera"), ("x@example.com", "")],
        ),
        ("Petrova, Vera <vera@example.com>", [("vera@example.com", "Petrova Vera")]),
        ("vera@example.com (Vera)", [("vera@example.com", "Vera")]),
        ("=?utf-8?B?0JLQtdGA0LAsINCe0J7Qng==?= <vera@example.com>", [("vera@example.com", "Вера, ООО")]),
        ("=?utf-8?Q?Vera_=3Cvera=40example=2Ecom=3E?=", [("vera@example.com", "Vera")]),
        ("undisclosed-recipients:;", []),
        (
            "Team: a@example.com, B <b@example.com>; c@example.com",
            [("a@example.com", ""), ("b@example.com", "B"), ("c@example.com", "")],
        ),
        ("<vera@example.com", [("vera@example.com", "")]),
        ("<<vera@example.com>>", [("vera@example.com", "")]),
        ("vera@example.com vera", [("vera@example.com", "vera")]),
        ("a..b@docomo.example", [("a..b@docomo.example", "")]),
        ("вера@пример.рф", [("вера@xn--e1afmkfd.xn--p1ai", "")]),
        ('<"">', [("", "")]),
        ("<>", [("", "")]),
        ("Vera", [("", "Vera")]),
        ("", []),
        (",,;:,<", [("", "")]),
        ('"\\"Vera\\"" <vera@example.com>', [("vera@example.com", "Vera")]),
        ("vera@example.com <vera@example.com>", [("vera@example.com", "")]),
    ],
)
def test_addresses_of_every_shape_are_read(raw: str, boxes: list[tuple[str, str]]) -> None:
    value = raw.encode().decode("ascii", "surrogateescape")
    assert headers.mailboxes(value) == [Mailbox(*box) for box in boxes]


@pytest.mark.parametrize(
    ("head", "sender"),
    [
        (b"From:\nSender: s@example.com", "s@example.com"),
        (b'From: "" <>\nReturn-Path: <r@example.com>', "r@example.com"),
        (b"From: nobody", ""),
        (b"X: y", ""),
    ],
)
def test_a_letter_without_a_from_is_from_whom_can_be_told(head: bytes, sender: str) -> None:
    assert everything(head + b"\n\nwords").sender.address == sender


def test_a_reply_to_that_cannot_be_read_is_none() -> None:
    read = everything(b'From: Vera <vera@example.com>\nReply-To: <"">\n\nwords')
    assert (read.reply_to, read.author) == ("", Mailbox("vera@example.com", "Vera"))


# --- ids and dates ---


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("<a@b> <c@d>", ("<a@b>", "<c@d>")),
        ("<a@b><c@d>,<a@b>", ("<a@b>", "<c@d>")),
        ("<a\n @b>", ("<a@b>",)),
        ("a@b", ("<a@b>",)),
        ("Your letter of Monday", ()),
        ("<>", ()),
        ("<" + "x" * 400 + "@b>", ("<" + "x" * 248 + ">",)),
    ],
)
def test_ids_are_found_in_whatever_form(raw: str, found: tuple[str, ...]) -> None:
    assert headers.identifiers(raw) == found


def test_of_very_many_references_the_root_and_the_latest_are_kept() -> None:
    kept = headers.identifiers(" ".join(f"<{number}@x>" for number in range(5000)))
    assert (len(kept), kept[0], kept[-1]) == (200, "<0@x>", "<4999@x>")


@pytest.mark.parametrize(
    ("raw", "date"),
    [
        ("Tue, 5 May 2026 12:30:00 +0300", datetime(2026, 5, 5, 9, 30, tzinfo=UTC)),
        ("5 May 2026 12:30 GMT (comment)", datetime(2026, 5, 5, 12, 30, tzinfo=UTC)),
        ("Tue, 5 May 2026 12:30:00 -0000", datetime(2026, 5, 5, 12, 30, tzinfo=UTC)),
        ("", None),
        ("yesterday", None),
        ("Tue, 5 May 0026 12:30:00 +9999", None),
        ("Tue, 99 May 2026 12:30:00 +0300", None),
        ("Fri, 31 Dec 9999 23:59:59 -1200", None),
    ],
)
def test_dates_are_utc_or_none(raw: str, date: datetime | None) -> None:
    assert headers.date(raw) == date


def test_a_letter_without_an_id_is_known_again_by_what_it_says() -> None:
    first = letters.read(b"Received: by one\nFrom: v@example.com\nDate: Tue, 5 May 2026 12:30:00 +0300\n\nwords\n")
    again = letters.read(b"From: v@example.com\r\nDate: Tue, 5 May 2026  12:30:00 +0300\r\nX: y\r\n\r\nwords")
    other = letters.read(b"From: v@example.com\nDate: Tue, 5 May 2026 12:30:00 +0300\n\nother words\n")
    assert first.identity == again.identity != other.identity


# --- bodies ---


def test_wrapped_lines_are_joined_within_one_depth_of_quotes() -> None:
    raw = b"Content-Type: text/plain; format=flowed\n\nOne \ntwo\n> three \n> four\nfive\n-- \nVera\n"
    assert letters.read(raw).text == "One two\n> three four\nfive\n-- \nVera"


@pytest.mark.parametrize(
    ("encoding", "body", "content"),
    [
        ("base64", b"SGVs\nbG8=", b"Hello"),
        ("BASE64 ", b"SGVsbG8", b"Hello"),
        ("base64", b"SGVs*bG8=", b"Hello"),
        ("base64", b"SGU=\nbGxv", b"Hello"),
        ("base64", b"SGVsbG8=\n____\nA list's footer", b"Hello"),
        ("quoted-printable", b"He=6C=\nlo=ZZ", b"Hello=ZZ"),
        ("x-uuencode", b"begin 644 x\n%2&5L;&\\ \n`\nend\n", b"Hello"),
        ("binary", b"Hello", b"Hello"),
        ("nonsense", b"Hello", b"Hello"),
    ],
)
def test_transfer_encodings_are_undone_in_whatever_state(encoding: str, body: bytes, content: bytes) -> None:
    raw = f"Content-Type: application/x; name=x\nContent-Transfer-Encoding: {encoding}\n\n".encode() + body
    assert letters.read_part(raw, 0) == content


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nwords",  # no end
        b"Content-Type: multipart/mixed; boundary=wrong\n\n--b\nContent-Type: text/plain\n\nwords\n--b--",
        b"Content-Type: multipart/mixed\n\n--b\nContent-Type: text/plain\n\nwords\n--b--",
        b"Content-Type: multipart/mixed; boundary=b\n\nwords",
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nwords\n--b--",
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nwords\n--b  \n\n--b--",
        b"Content-Type: nonsense\n\nwords",
        b"Content-Type: \n\nwords",
        b"From vera Tue May 5 2026\nSubject: x\n\nwords",
        b"\xef\xbb\xbf\r\nSubject: x\n\nwords",
        b"Subject: x\nbroken in the middle\nTo: y@example.com\n\nwords",
        b"Content-Type: text/plain; name=message.txt\n\nwords",
    ],
)
def test_broken_frames_do_not_lose_the_words(raw: bytes) -> None:
    assert everything(raw).text.strip() == "words"


def test_pieces_of_text_around_a_picture_are_one_text() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nbefore\n--b\nContent-Type: image/png\n\nx\n"
        b"--b\n\nafter\n--b\nContent-Type: text/html\n\n<p>footer</p>\n--b--"
    )
    read = everything(raw)
    assert read.text == "before\n\nafter\n\nfooter"
    assert read.html == "<div>before</div>\n<div>after</div>\n<p>footer</p>"
    assert [file.name for file in read.attachments] == ["image.png"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("..\\..\\windows\\x.exe", "x.exe"),
        ("/etc/passwd", "passwd"),
        ("a\x07b.txt", "ab.txt"),
        ("...", "application.bin"),
        ("", "application.bin"),
        ("x" * 400 + ".pdf", "x" * 147 + ".pdf"),
        ("photo\u202egpj.exe", "photogpj.exe"),
    ],
)
def test_names_of_files_are_made_harmless(given: str, kept: str) -> None:
    raw = b'Content-Type: application/octet-stream\nContent-Disposition: attachment; filename="' + given.encode()
    assert [file.name for file in everything(raw + b'"\n\nx').attachments] == [kept]


# --- torture ---


@pytest.mark.parametrize("sample", sorted(bounces.EXPECTED))
def test_real_letters_of_mail_servers_are_read(sample: str) -> None:
    raw = (bounces.HERE / sample).read_bytes()
    read = everything(raw)
    assert read.text or read.attachments


def test_the_letters_cpython_tests_its_own_reader_with_are_read() -> None:
    package = pytest.importorskip("test.test_email", reason="this Python comes without its own tests")
    paths = sorted((Path(package.__file__).parent / "data").glob("msg_*.txt"))
    assert len(paths) > 40
    for path in paths:
        everything(path.read_bytes())


DEEP = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000)) + b"\nwords"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"Subject: x\n\n" + b"a" * 2_000_000, id="one line of 2 MB"),
        pytest.param(b"X: y\n" * 200_000 + b"\nwords", id="200,000 headers"),
        pytest.param(b"Subject: " + b"=?utf-8?q?a?= " * 100_000 + b"\n\nwords", id="a header of encoded words"),
        pytest.param(b"To: " + b'(<"' * 300_000 + b"\n\nwords", id="open brackets"),
        pytest.param(b"To: " + b"a@b.example, " * 100_000 + b"\n\nwords", id="recipients"),
        pytest.param(b"References: " + b"<a@b> " * 200_000 + b"\n\nwords", id="references"),
        pytest.param(b"Content-Type: x/y" + b'; a="' * 100_000 + b"\n\nwords", id="parameters"),
        pytest.param(DEEP, id="3,000 levels"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 10_000, id="one boundary for all levels"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 100_000, id="100,000 parts"),
        pytest.param(b"Subject: x\n\n" + b"> a\n" * 200_000, id="200,000 quoted lines"),
        pytest.param(b"Subject: x\n\n" + b"On 5 May 2026 a@b.c wrote:\n> x\ny\n" * 20_000, id="20,000 quotes"),
        pytest.param(b"Subject: x\n\n" + b"From: x\n" * 100_000, id="100,000 headers quoted"),
        pytest.param(b"Content-Type: text/html\n\n" + b"<div " * 200_000, id="open tags"),
        pytest.param(b"Content-Type: text/html\n\n" + b"<div>" * 200_000, id="200,000 levels of HTML"),
        pytest.param(b"Content-Type: text/html\n\n" + b"&" * 500_000, id="entities"),
        pytest.param(
            b"Content-Type: text/html\n\n<p>" + b"".join(b"<b id=%d>" % n for n in range(20_000)) + b"<p>x" * 50_000,
            id="formatting that multiplies",
        ),
    ],
)
def test_letters_made_to_hurt_are_read_within_seconds(raw: bytes) -> None:
    started = time.process_time()
    everything(raw)
    assert time.process_time() - started < 10


def test_a_thousand_letters_are_read_within_seconds() -> None:
    raws = [letter(sample) for sample in SAMPLES] * (1000 // len(SAMPLES))
    started = time.process_time()
    for raw in raws:
        letters.read(raw)
    assert time.process_time() - started < 5


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_a_letter(raw: bytes) -> None:
    everything(raw)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_a_damaged_letter_is_a_letter(sample: str, data: st.DataObject) -> None:
    raw = bytearray(letter(sample))
    for _ in range(data.draw(st.integers(1, 12))):
        start = data.draw(st.integers(0, len(raw)))
        end = min(start + data.draw(st.integers(0, 40)), len(raw))
        raw[start:end] = data.draw(st.binary(max_size=20))
    everything(bytes(raw))


HEADER_PIECES = st.one_of(
    st.sampled_from(
        ["=?utf-8?B?", "=?koi8-r?Q?", "?=", "example.com", "\r\n ", "*0*", "utf-8''", "%D0", "name", "boundary"]
    ),
    st.sampled_from(["May", "2026", "+9999", "12:30", "\udcff", "é"]),
    st.sampled_from('"<>()\\,;:@= *\0 a5'),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(HEADER_PIECES, max_size=30).map("".join))
def test_any_header_is_read_somehow(value: str) -> None:
    raw = value.encode("utf-8", "surrogateescape")
    names = (b"From", b"To", b"Subject", b"Date", b"Message-ID", b"References", b"Content-Type", b"Content-Disposition")
    everything(b"".join(name + b": " + raw + b"\n" for name in names) + b"\nwords")


def test_parts_keep_their_numbers_however_they_are_nested() -> None:
    raw = letter("outlook_reply")
    assert [part.number for part in mime.read(raw).leaves()] == [0, 1, 2]
