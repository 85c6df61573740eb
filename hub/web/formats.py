"""How names, spans of time and phones are written, apart from any page.

Babel and phonenumbers are imported when they are first needed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from babel import Locale

HUES = 12


def initials(name: str) -> str:
    """Return the first letters of the first and the last word of a name.

    >>> initials("Вера Павловна Соколова")
    'ВС'
    """
    letters = [w[0] for w in name.split() if w[0].isalnum()]
    return "".join(letters[:1] + letters[1:][-1:]).upper()


def hue(record_id: Any) -> int:
    """Return the number of a person's colour; neighbours in the order of ids get colours far apart."""
    return int(str(record_id) if str(record_id).isdigit() else 0) * 5 % HUES


def duration(seconds: float) -> tuple[int, str, Literal["short", "long"]]:
    """Cut a span to one unit: how many, of what, and how long to write it. `static/times.js` does the same."""
    span = abs(int(seconds))
    if span < 2 * 3600:
        return span // 60, "minute", "short"
    if span < 2 * 86400:
        return span // 3600, "hour", "short"
    return span // 86400, "day", "long"


def soon_seconds(due_at: datetime, since: datetime | None) -> float:
    """Return how long before a deadline it turns amber: a quarter of its time, an hour where the start is unknown."""
    if since is None or since >= due_at:
        return timedelta(hours=1).total_seconds()
    return (due_at - since).total_seconds() / 4


def phone(value: str) -> str:
    """Write a number as it is dialled from abroad, grouped; what is no number stays as it is."""
    import phonenumbers

    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException:
        return value
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL))


def locale_name(language: str, country: str) -> str:
    """Return the locale whose formats a person reads best: their language as their country writes it.

    English outside the countries that CLDR knows an English for is written the European way, with a 24-hour clock.
    """
    from babel import localedata

    for name in (f"{language}_{country}", language if language != "en" or not country else "en_150"):
        if localedata.exists(name):
            return name
    return "en_150"


@lru_cache(maxsize=32)
def parsed_locale(language: str, country: str) -> Locale:
    """Return that locale, read once."""
    from babel import Locale

    return Locale.parse(locale_name(language, country))


def stopwatch(seconds: int) -> str:
    """Write how long somebody talked, as a telephone shows it. `static/calls.js` does the same.

    >>> stopwatch(3912)
    '1:05:12'
    """
    minutes, rest = divmod(max(0, seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
