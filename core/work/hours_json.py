"""The written form of working hours: what the API takes and the database keeps.

    {"always_open": false, "time_zone": "Europe/Moscow", "week": {"mon": [["09:00", "18:00"]], …},
     "holidays_country": "RU", "holidays_subdivision": "",
     "days": {"2026-12-31": [["09:00", "14:00"]], "2027-01-09": []}}

Hours end at "24:00" at the latest; an end before the start lies in the next day. Every key may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from core.kernel.errors import Rejected
from core.work.hours import WEEKDAYS, Interval, Schedule

_DAY = 1440
_MOST_DAYS = 2000
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


def from_json(data: object) -> Schedule:
    """Read a schedule as the API and the database write it, and check it.

    Raises:
        Rejected: something is wrong with it; `field` says where, such as `week.mon` or `days.2026-12-31`.
    """
    given = _mapping(data, "hours")
    unknown = set(given) - {"always_open", "time_zone", "week", "days", "holidays_country", "holidays_subdivision"}
    if unknown:
        raise Rejected("Working hours have no setting “%(name)s”", name=min(unknown), field=min(unknown))
    always_open = given.get("always_open", False)
    if not isinstance(always_open, bool):
        raise Rejected("Say true or false", field="always_open")
    week = _mapping(given.get("week"), "week")
    if strange := set(week) - set(WEEKDAYS):
        raise Rejected(
            "“%(name)s” is not a weekday; use %(names)s", name=min(strange), names=", ".join(WEEKDAYS), field="week"
        )
    days = _mapping(given.get("days"), "days")
    if len(days) > _MOST_DAYS:
        raise Rejected("At most %(most)s single days can be set; remove those long past", most=_MOST_DAYS, field="days")
    schedule = Schedule(
        time_zone=_text(given, "time_zone") or "UTC",
        week=tuple(_intervals(week.get(name), f"week.{name}") for name in WEEKDAYS),
        holidays_country=_text(given, "holidays_country").upper(),
        holidays_subdivision=_text(given, "holidays_subdivision"),
        days={_date(day): _intervals(hours, f"days.{day}") for day, hours in days.items()},
        always_open=always_open,
    )
    schedule.validate()
    return schedule


def to_json(schedule: Schedule) -> dict[str, Any]:
    """Write a schedule in the form that `from_json` reads."""
    return {
        "always_open": schedule.always_open,
        "time_zone": schedule.time_zone,
        "week": {name: _clocks(intervals) for name, intervals in zip(WEEKDAYS, schedule.week, strict=True)},
        "holidays_country": schedule.holidays_country,
        "holidays_subdivision": schedule.holidays_subdivision,
        "days": {day.isoformat(): _clocks(intervals) for day, intervals in sorted(schedule.days.items())},
    }


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise Rejected("An object is expected here", field=name)
    return value


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Rejected("Text is expected here", field=name)
    return (value or "").strip()


def _date(text: str) -> date:
    try:
        if re.fullmatch(r"[12]\d{3}-\d\d-\d\d", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise Rejected("“%(text)s” is not a day of the calendar; write it as 2026-12-31", text=text, field="days")


def _intervals(value: object, name: str) -> tuple[Interval, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise Rejected("A list of hours is expected, such as [[“09:00”, “18:00”]]", field=name)
    return tuple(sorted(_interval(item, name) for item in value))


def _interval(value: object, name: str) -> Interval:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise Rejected("Hours are a pair: from and until", field=name)
    start, end = (_minute(text, name) for text in value)
    if start == end:
        raise Rejected("Hours that end when they begin are unclear; write the whole day as 00:00 to 24:00", field=name)
    return start, end if end > start else end + _DAY


def _minute(text: object, name: str) -> int:
    if text == "24:00":
        return _DAY
    match = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Rejected("“%(text)s” is not a time of day; write it as 09:00", text=text, field=name)
    return int(match[1]) * 60 + int(match[2])


def _clocks(intervals: tuple[Interval, ...]) -> list[list[str]]:
    def clock(minute: int) -> str:
        minute = minute if minute <= _DAY else minute - _DAY
        return f"{minute // 60:02}:{minute % 60:02}"

    return [[clock(start), clock(end)] for start, end in intervals]
