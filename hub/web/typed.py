"""What people type into forms: amounts of money, moments, choices. Each is read in their own way of writing it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from core.kernel.errors import Rejected

_LARGEST = 10**15  # minor units
_WRONG_AMOUNT = "Write an amount such as 1250.50"


def amount(text: str, currency: str, *, field: str = "amount") -> int | None:
    """Read an amount in major units as minor ones: "1 234,50", "1,234.50" and "1234.5" are the same; "" is None.

    Raises:
        Rejected: it is no amount, less than nothing, or has more decimals than the currency.
    """
    from babel.numbers import get_currency_precision

    digits = get_currency_precision(currency)
    plain = re.sub(r"[\s'’]", "", text)
    if not plain:
        return None
    if not re.fullmatch(r"[0-9.,]*[0-9][0-9.,]*", plain) or len(plain) > 40:
        raise Rejected(_WRONG_AMOUNT, field=field)
    if re.fullmatch(r"\d{1,3}([.,]\d{3})+", plain) and digits != 3:
        plain = re.sub(r"[.,]", "", plain)  # thousands: nobody writes three decimals of a currency with two
    else:
        whole, point, decimals = plain.replace(",", ".").rpartition(".")
        plain = f"{whole.replace('.', '') or '0'}.{decimals}" if point else decimals
    value = Decimal(plain).scaleb(digits)
    if value >= _LARGEST or value != value.to_integral_value():
        raise Rejected(_WRONG_AMOUNT, field=field)
    return int(value)


def moment(text: str, time_zone: str, *, field: str) -> datetime | None:
    """Read what `<input type="datetime-local">` sends, in the reader's time zone, as UTC; "" is None.

    Raises:
        Rejected: it is no date with a time.
    """
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(time_zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Rejected("Choose a day and a time", field=field) from None


def record_id(text: str, *, field: str) -> int | None:
    """Read the id of a chosen record; "" is None.

    Raises:
        Rejected: it is no id.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Rejected("Choose one of the list", field=field)
    return int(text)
