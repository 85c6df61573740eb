"""Amounts as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.desk import amounts


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("120 000", 12_000_000),
        ("120\u00a0000 ₽", 12_000_000),
        ("120k", 12_000_000),
        ("120К", 12_000_000),
        ("120 тыс.", 12_000_000),
        ("1,5 млн", 150_000_000),
        ("1.5m", 150_000_000),
        ("1.250 млн", 125_000_000),
        ("€1,200.50", 120_050),
        ("1 200,50 руб", 120_050),
        ("1.200", 120_000),
        ("1,5", 150),
        ("about 5000 or so", 500_000),
        ("0", 0),
        ("a lot", None),
        ("", None),
        ("-5", None),
        ("10%", None),
        ("1.2.3", None),
        ("10 20", None),
        ("100 000 - 150 000", None),
        ("+7 916 123-45-67", None),
        ("999999999999999999", None),
    ],
)
def test_an_amount_is_read_in_hundredths_if_it_is_one(text: str, minor: int | None) -> None:
    assert amounts.read(text) == minor


@given(st.text(alphabet="0123456789 .,kкмлнтыс-%\u00a0", max_size=40))
def test_whatever_is_written_an_amount_is_none_or_within_what_can_be_kept(text: str) -> None:
    minor = amounts.read(text)
    assert minor is None or 0 <= minor <= amounts.MOST


@given(st.integers(0, 10**12))
def test_a_whole_number_is_itself_however_it_is_grouped(number: int) -> None:
    for text in (str(number), f"{number:,}".replace(",", " "), f"{number:,}", f"{number:,}".replace(",", ".")):
        assert amounts.read(text) == number * 100
