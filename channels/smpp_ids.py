"""One message, two names: what the provider's answer calls it, and what its receipt does.

Many SMS centres give the id in hexadecimal where they take a message and in decimal where they report on it, or the
other way round, or with zeros in front. Which it is shows as soon as a receipt names a message that was sent over this
line; until then every reading is offered.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

_MOST_REMEMBERED = 20_000
_LONGEST_NUMBER = 20  # digits; longer ids are no numbers
_SAME, _FROM_DECIMAL, _FROM_HEXADECIMAL = "same", "decimal", "hexadecimal"


def plain(given: str) -> str:
    """Return the spelling under which an id is kept: lower case, no zeros in front."""
    return given.strip().lower().lstrip("0") or given.strip()[:1]


def spellings(named: str) -> list[str]:
    """Return every id that a receipt may mean, as it is written first."""
    return list(dict.fromkeys(_readings(named).values()))


def _readings(named: str) -> dict[str, str]:
    bare = plain(named)
    found = {_SAME: bare} if bare else {}
    if re.fullmatch(r"[0-9]+", bare) and len(bare) <= _LONGEST_NUMBER:
        found[_FROM_DECIMAL] = f"{int(bare):x}"
    if re.fullmatch(r"[0-9a-f]+", bare) and len(bare) <= _LONGEST_NUMBER:
        found[_FROM_HEXADECIMAL] = str(int(bare, 16))
    return found


class Ids:
    """The ids of what was sent over this line lately, and how receipts spell them."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._spelling = ""

    def recall(self, cursor: Mapping[str, Any]) -> None:
        """Take up what an earlier process learned."""
        found = cursor.get("ids")
        self._spelling = found if found in (_SAME, _FROM_DECIMAL, _FROM_HEXADECIMAL) else ""

    def learned(self) -> dict[str, str] | None:
        """Return what is to be known to the next process; None for nothing yet."""
        return {"ids": self._spelling} if self._spelling else None

    def sent(self, given: str) -> str:
        """Note the id of something sent, and return it as it is kept."""
        kept = plain(given)
        self._sent[kept] = None
        if len(self._sent) > _MOST_REMEMBERED:
            self._sent.popitem(last=False)
        return kept

    def knows(self, named: str) -> bool:
        """Tell whether a receipt's id can be one of something sent over this line."""
        return any(reading in self._sent for reading in _readings(named).values())

    def named(self, named: str) -> list[str]:
        """Return the ids a receipt may mean: one where it is known or learned, else every reading."""
        readings = _readings(named)
        fitting = [how for how, reading in readings.items() if reading in self._sent]
        if self._spelling not in fitting and len({readings[how] for how in fitting}) == 1:
            self._spelling = fitting[0]
        if self._spelling in readings and (self._spelling in fitting or not fitting):
            return [readings[self._spelling]]
        return list(dict.fromkeys(readings[how] for how in fitting or readings))
