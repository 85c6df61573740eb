"""What messengers of the desk do alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.desk_contract import Card, Key
from channels.desk_posts import addresses, asking, pieces, runs, ticket_of


@given(
    title=st.text("аb 😀\n", max_size=20),
    words=st.text("ж 😀\n&x\u0301", max_size=400),
    most=st.integers(10, 60),
)
def test_pieces_are_short_enough_and_the_original_together(title, words, most):
    card = Card(title=title, words=words)
    found = pieces(card, most)
    assert all(len(piece.text.encode("utf-16-le")) // 2 <= most for piece in found)
    joined = "".join(piece.text for piece in found)
    assert joined == card.plain() or joined.split() == card.plain().split()
    assert sum(piece.bold for piece in found) <= len(title)


def test_pieces_end_with_a_line_or_else_a_word():
    lines = [piece.text for piece in pieces(Card(words="один два\nтри четыре пять"), 14)]
    assert lines == ["один два\n", "три четыре ", "пять"]
    assert [piece.text for piece in pieces(Card(words="а" * 25), 10)] == ["а" * 10, "а" * 10, "а" * 5]
    family = "👨\u200d👩\u200d👧"
    assert [piece.text for piece in pieces(Card(words="а" * 7 + family), 10)] == ["а" * 7, family]


def test_a_title_is_bold_as_far_as_it_reaches():
    assert [piece.bold for piece in pieces(Card(title="Заявка от Веры", words="да"), 10)] == [10, 4]
    assert [piece.bold for piece in pieces(Card(lines=("Без заглавия",)), 100)] == [0]


def test_nothing_makes_no_post():
    assert pieces(Card(), 100) == []
    assert pieces(Card(words=" \n "), 100) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("см. https://a.example/x, да", [("см. ", False), ("https://a.example/x", True), (", да", False)]),
        ("(http://a.example)", [("(", False), ("http://a.example", True), (")", False)]),
        ("https://a.example", [("https://a.example", True)]),
        ("нет", [("нет", False)]),
        ("", []),
    ],
)
def test_addresses_are_told_from_words(text, found):
    assert list(runs(text)) == found


def test_what_links_is_understood_as_it_is_asked_for():
    assert ticket_of(asking("Ab_-12345678")) == "Ab_-12345678"
    assert ticket_of("/link Ab_-12345678") == "Ab_-12345678"
    for text in ("link", "link 1234567", "link abcdefgh ijk", "hyperlink abcdefgh1", f"link {'a' * 65}"):
        assert ticket_of(text) == ""


def test_the_addresses_of_keys_are_lines():
    keys = ((Key("Открыть", url="https://hub.example"), Key("Взять", "take:1")), (Key("Звонить", url="tel:+7"),))
    assert addresses(keys) == "Открыть: https://hub.example\nЗвонить: tel:+7"
    assert addresses(keys, is_web=False) == "Звонить: tel:+7"
