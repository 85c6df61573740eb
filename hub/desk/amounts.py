"""Amounts as people type them: “120 000”, “120k”, “1,5 млн”, “€1,200.50”."""

from __future__ import annotations

import re
from decimal import Decimal

MOST = 10**15
"""The largest amount that is taken, in minor units; more is a slip of the finger."""

_TIMES = {
    **dict.fromkeys(("k", "к", "т", "тыс", "тысяч", "тысяча", "тысячи", "thousand"), 1_000),
    **dict.fromkeys(("m", "м", "mln", "млн", "лям", "миллион", "миллиона", "миллионов", "million"), 1_000_000),
    **dict.fromkeys(("млрд", "bn", "billion", "миллиард", "миллиарда", "миллиардов"), 1_000_000_000),
}
_BLANK = r"[ \u00a0\u202f'’_]"
_AMOUNT = re.compile(
    rf"(?<![\w.,-])(?P<number>[0-9](?:[0-9]|{_BLANK}(?=[0-9]{{3}}(?![0-9]))|[.,](?=[0-9]))*)"
    rf"(?:\s*(?P<times>{'|'.join(sorted(_TIMES, key=len, reverse=True))})(?!\w)\.?)?(?![0-9%])",
    re.IGNORECASE,
)
_LOOKS_AT = 200  # characters


def read(text: str) -> int | None:
    """Return the one amount a text names, in minor units (hundredths); None if it names none, or several.

    A point or comma before one or two last digits divides, and before three it groups thousands, unless “млн” or the
    like follows: “1.250” is a thousand and a quarter of one, “1,250 млн” a million and a quarter.
    """
    text = text[:_LOOKS_AT]
    found = list(_AMOUNT.finditer(text))
    if len(found) != 1 or any(map(str.isdigit, text[: found[0].start()] + text[found[0].end() :])):
        return None  # of a telephone number, a range or “5 м2” no part is an amount
    times = _TIMES.get((found[0]["times"] or "").lower(), 1)
    number = _number(re.sub(_BLANK, "", found[0]["number"]), is_scaled=times > 1)
    if number is None:
        return None
    minor = int(number * times * 100)
    return minor if 0 <= minor <= MOST else None


def _number(written: str, *, is_scaled: bool) -> Decimal | None:
    whole, _, last = written.replace(",", ".").rpartition(".")
    if not whole:
        return Decimal(last) if len(last) <= 18 else None
    groups = whole.split(".")
    if len(written) > 24 or not all(len(group) == 3 for group in groups[1:]):
        return None
    if len(last) == 3 and not (is_scaled and len(groups) == 1):
        return Decimal("".join((*groups, last)))
    if len(last) <= 2 or is_scaled:
        return Decimal(f"{''.join(groups)}.{last}")
    return None
