"""Fitting messages to channels: every part is within what the channel takes, and nothing written is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels import registry, rendering, sms_text
from channels.contract import Button, Capability, Media, Sender, Sending, Template, Unit
from channels.rendering import FileToSend, length, render, split
from core.kernel.errors import Rejected
from tests.channels.test_contract import build, senders

PLAIN = Sending(text=100)
FAMILY = "👨‍👩‍👧‍👦"
UNITS = list(Unit)


def carried(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("kind", senders())
@pytest.mark.parametrize("words", ["слово ", "word ", "😀", "Ա", "x"])
def test_4100_characters_go_over_every_channel_in_parts_that_it_takes(kind, words):
    channel = build(kind)
    assert isinstance(channel, Sender)
    text = (words * 4_100)[:4_100]
    found = render(channel.sending, text=text)
    for part in found.parts:
        assert 0 < length(part.text, channel.sending.unit) <= channel.sending.text
        part.text.encode()  # no half of a character
    assert carried("".join(part.text for part in found.parts)) == carried(text)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("cluster", ["😀", FAMILY, "é", "👍🏽", "🇦🇲", "1️⃣", "€"])
def test_what_people_see_as_one_character_is_cut_nowhere(unit, cluster):
    sending = Sending(text=100, unit=unit)
    for before in range(60, 101):
        pieces = split("x" * before + cluster * 12, sending)
        assert all(length(piece, unit) <= 100 for piece in pieces)
        together = "".join(pieces)
        assert together == "x" * before + cluster * 12
        for piece in pieces:
            rest = piece.lstrip("x")
            assert rest.replace(cluster, "") == "", "a piece holds whole clusters only"


def test_two_hundred_cyrillic_letters_are_three_sms():
    text = "ы" * 200
    found = render(Sending(text=1_600, unit=Unit.SMS), text=text)
    assert [part.text for part in found.parts] == [text]
    measured = rendering.measure(text, Sending(text=1_600, unit=Unit.SMS))
    assert (measured.encoding, measured.segments, measured.parts) == ("ucs2", 3, 1)
    assert [len(piece) for piece in sms_text.split(text)] == [67, 67, 66]


def test_a_text_is_cut_at_a_paragraph_a_line_a_sentence_or_a_word():
    sending = Sending(text=40)
    assert split("First paragraph is here.\n\nThe second one is too.", sending) == [
        "First paragraph is here.",
        "The second one is too.",
    ]
    assert split("One sentence stands here. Another one follows it.", sending)[0] == "One sentence stands here."
    assert split("a word " * 10, sending)[0] == "a word a word a word a word a word a"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400), st.sampled_from(UNITS), st.integers(20, 90))
def test_no_text_loses_anything_but_blanks(text, unit, most):
    text = text.encode("utf-8", "ignore").decode()
    pieces = split(text.strip(), Sending(text=most, unit=unit))
    assert carried("".join(pieces)) == carried(text)
    assert all(piece for piece in pieces)


FILES = Sending(
    text=100,
    caption=20,
    album=3,
    media={
        "image": Media(1_000, ("image/jpeg",)),
        "video": Media(1_000),
        "file": Media(5_000),
        "audio": Media(1_000, caption=0),
    },
)


def a_file(number: int = 1, kind: str = "image", size: int = 500, link: str = "", **more: str) -> FileToSend:
    content_type = more.get("content_type", {"image": "image/jpeg"}.get(kind, "application/pdf"))
    return FileToSend(number, f"f{number}", content_type, size, kind, link)  # type: ignore[arg-type]


def test_a_short_text_goes_under_the_picture_a_long_one_after_it():
    short = render(FILES, text="under it", files=[a_file()])
    assert [(part.text, part.file_ids) for part in short.parts] == [("under it", (1,))]
    long = render(FILES, text="x" * 21, files=[a_file()])
    assert [(part.text, part.file_ids) for part in long.parts] == [("", (1,)), ("x" * 21, ())]


def test_what_takes_no_caption_gets_none():
    found = render(FILES, text="listen", files=[a_file(kind="audio", content_type="audio/mpeg")])
    assert [(part.text, part.file_ids) for part in found.parts] == [("", (1,)), ("listen", ())]


def test_pictures_go_together_as_far_as_the_channel_takes_them_in_order():
    files = [a_file(n) for n in range(1, 6)] + [a_file(6, "file"), a_file(7, "file")]
    found = render(FILES, text="all of them", files=files)
    assert [part.file_ids for part in found.parts] == [(1, 2, 3), (4, 5), (6, 7), ()]
    assert found.parts[-1].text == "all of them"


def test_a_picture_too_large_for_one_goes_as_a_file_and_beyond_that_as_a_link():
    assert render(FILES, files=[a_file(size=2_000)]).dropped == ()
    found = render(FILES, text="see", files=[a_file(size=9_000, link="https://hub.example/f/1")])
    assert [part.text for part in found.parts] == ["see\nf1: https://hub.example/f/1"]
    assert "sent as a link" in found.dropped[0]
    with pytest.raises(Rejected, match="SWITCHYARD_PUBLIC_URL"):
        render(FILES, files=[a_file(size=9_000)])


def test_a_picture_that_is_only_too_large_is_said_to_be_that():
    choosy = Sending(media={"image": Media(1_000_000, ("image/jpeg",)), "file": Media(5_000_000, ("application/pdf",))})
    found = render(choosy, files=[a_file(size=1_500_000, link="https://hub.example/f/1")])
    assert "larger than the 1 MB" in found.dropped[0]


def test_buttons_become_numbered_lines_where_there_are_none():
    found = render(PLAIN, text="When?", buttons=[Button("Today"), Button("Tomorrow")])
    assert [part.text for part in found.parts] == ["When?\n\n1. Today\n2. Tomorrow"]
    assert found.dropped
    able = Sending(text=100, capabilities=frozenset({Capability.BUTTONS}))
    kept = render(able, text="When?", buttons=[Button("Today")])
    assert kept.parts[0].buttons == (Button("Today"),)
    assert not kept.dropped


def test_a_subject_and_a_layout_stay_with_channels_that_have_them():
    found = render(PLAIN, text="x", subject="Offer", html="<b>x</b>")
    assert (found.parts[0].subject, found.parts[0].html, found.dropped) == ("", "", ("Subject: Offer",))
    letters = Sending(text=100, capabilities=frozenset({Capability.SUBJECT, Capability.HTML}))
    kept = render(letters, text="x", subject="Offer", html="<b>x</b>")
    assert (kept.parts[0].subject, kept.parts[0].html, kept.dropped) == ("Offer", "<b>x</b>", ())


def test_a_template_goes_alone_and_only_where_there_are_some():
    with pytest.raises(Rejected, match="no templates"):
        render(PLAIN, text="x", template=Template("hello", "en"))
    able = Sending(text=10, capabilities=frozenset({Capability.TEMPLATES}))
    assert render(able, text="x" * 99, template=Template("hello", "en")).parts[0].template == Template("hello", "en")


def test_nothing_makes_no_parts():
    assert render(PLAIN, text=" \n ").parts == ()


def test_every_sender_names_how_it_counts():
    assert registry.KINDS.keys() >= {"telegram", "whatsapp", "sms_twilio", "email"}
