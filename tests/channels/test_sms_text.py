from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import sms_text

FAMILY = "👨‍👩‍👧‍👦"
FLAG = "🇦🇲"
THUMB = "👍🏽"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("gsm", 0, 1)),
        ("a" * 160, ("gsm", 160, 1)),
        ("a" * 161, ("gsm", 161, 2)),
        ("a" * 306, ("gsm", 306, 2)),
        ("a" * 307, ("gsm", 307, 3)),
        ("€" * 80, ("gsm", 160, 1)),
        ("€" * 81, ("gsm", 162, 2)),
        ("a" * 152 + "€" * 77, ("gsm", 306, 3)),  # the pair does not fit the first part's last place
        ("я" * 70, ("ucs2", 70, 1)),
        ("я" * 71, ("ucs2", 71, 2)),
        ("я" * 134, ("ucs2", 134, 2)),
        ("я" * 200, ("ucs2", 200, 3)),
        ("😀" * 35, ("ucs2", 70, 1)),
        ("😀" * 67, ("ucs2", 134, 3)),  # 33 whole ones a part, not 33 and a half
        ("ç", ("ucs2", 1, 1)),
        ("Ç", ("gsm", 1, 1)),
        ("{}[]~|^\\€\f", ("gsm", 20, 1)),
    ],
)
def test_a_text_counts_as_a_phone_bill_counts_it(text, expected):
    assert sms_text.units(text) == expected


def test_the_alphabet_has_127_characters_and_ten_more_behind_an_escape():
    assert [sms_text.units(sms_text.from_gsm(bytes([code]))) for code in range(128) if code != 0x1B] == [
        ("gsm", 1, 1)
    ] * 127
    assert sms_text.from_gsm(bytes.fromhex("1b0a1b141b281b291b2f1b3c1b3d1b3e1b401b65")) == "\f^{}\\[~]|€"


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"\x00\x02", "@$"), (b"\x1b\x61", "a"), (b"\x1b\x1b", " "), (b"a\x1b", "a"), (b"\xff", "\ufffd")],
)
def test_odd_gsm_bytes_read_as_something(data, text):
    assert sms_text.from_gsm(data) == text


@given(st.text(st.sampled_from("aZ@€[~Ññ\n àΩ"), max_size=40))
def test_gsm_bytes_read_as_they_were_written(text):
    assert sms_text.from_gsm(sms_text.to_gsm(text)) == text


def test_what_is_not_gsm_is_not_written_as_gsm():
    with pytest.raises(ValueError, match="я"):
        sms_text.to_gsm("яблоко")


@pytest.mark.parametrize(
    "visible", [FAMILY, FLAG, THUMB, "e\u0301", "❤️", "한", "🏴\U000e0067\U000e0062\U000e007f", "\r\n"]
)
@pytest.mark.parametrize("before", range(55, 72))
def test_what_people_see_as_one_character_is_never_cut(visible, before):
    pieces = sms_text.split("я" * before + visible + "я" * 30)
    assert "".join(pieces) == "я" * before + visible + "я" * 30
    assert sum(piece.count(visible) for piece in pieces) == 1
    assert all(sms_text.units(piece).units <= 67 for piece in pieces)


@pytest.mark.parametrize("text", [FLAG * 3, FAMILY * 2, "яe\u0301😀"])
def test_neighbours_are_not_taken_for_one(text):
    assert len(list(sms_text.graphemes(text))) == {FLAG * 3: 3, FAMILY * 2: 2}.get(text, 3)


def test_a_character_longer_than_an_sms_is_cut_between_its_marks():
    zalgo = "я" + "\u0301" * 200
    pieces = sms_text.split(zalgo)
    assert "".join(pieces) == zalgo
    assert max(len(piece) for piece in pieces) == 67


@given(
    st.text(st.sampled_from(["a", "я", "€", " ", "\n", "😀", "\u0301", "\u200d", "[", "\r", "🇦"]), max_size=400),
    st.integers(10, 200),
    st.booleans(),
)
def test_pieces_give_the_text_again_and_keep_within_the_limit(text, most, at_words):
    pieces = sms_text.split(text, most, at_words=at_words)
    assert "".join(pieces) == text
    assert all(sms_text.units(piece).units <= most for piece in pieces)
    assert text == "" or all(pieces)
    for piece in pieces:
        piece.encode("utf-16-be")


@given(st.text(max_size=400))
def test_the_parts_counted_are_the_parts_made(text):
    measured = sms_text.units(text)
    parts = sms_text.split(text)
    assert len(parts) == measured.parts
    assert "".join(parts) == text


def test_separate_messages_are_cut_behind_a_word():
    assert sms_text.split("Добрый день, Вера Ильинична", 14, at_words=True) == ["Добрый день, ", "Вера Ильинична"]
    assert sms_text.split("a" * 30, 20, at_words=True) == ["a" * 20, "a" * 10]


@pytest.mark.parametrize(
    ("text", "plainer"),
    [
        ("“It’s 5 – 6 o’clock…”", "\"It's 5 - 6 o'clock...\""),
        ("10\u00a0000\u202f€", "10 000 €"),
        ("cafe\u0301", "café"),
        ("a\u200bb\ufeff\u00ad", "ab"),
        ("line\u2028line", "line\nline"),
        ("«Да» – нет", "«Да» – нет"),
        ("“Great” 👍", "“Great” 👍"),
        ("õun’", "õun’"),
        ("plain", "plain"),
    ],
)
def test_typographic_characters_become_plain_only_where_that_saves_parts(text, plainer):
    assert sms_text.plain(text) == plainer


@pytest.mark.parametrize(
    "text",
    [
        "STOP",
        " stop. ",
        "Stop!",
        "«СТОП»",
        "Стоп",
        "CTOП",
        "отписаться",
        "ՍՏՈՊ",
        "Դադարեցնել։",
        "LÕPETA",
        "lopeta",
        "STOPP",
        "Odjava",
        "PREKLIČI",
        "preklici",
        "opt-out",
        "UNSUBSCRIBE",
        "Стоп смс",
        "Stop\n",
        "не беспокоить",
    ],
)
def test_a_stop_is_understood_in_every_language(text):
    assert sms_text.is_stop(text)
    assert not sms_text.is_start(text)


@pytest.mark.parametrize("text", ["START", "Старт", "ստարտ", "alusta", "Začni", "zacni!", "UNSTOP", "подписаться"])
def test_so_is_its_taking_back(text):
    assert sms_text.is_start(text)
    assert not sms_text.is_stop(text)


@pytest.mark.parametrize(
    "text", ["", "Stop by tomorrow", "стопка бумаги", "Please do not stop", "yes", "да", "👍", "s t o p", "stop " * 20]
)
def test_words_within_a_sentence_are_no_stop(text):
    assert not sms_text.is_stop(text)
    assert not sms_text.is_start(text)
