"""Working hours: when people work, and how long a deadline given in working minutes really is.

A `Schedule` is a week of opening hours on the wall clock of one time zone, with public holidays and single days that
differ. It counts the real minutes that pass while it is open; an opening is a half-open interval, so a company that
closes at 18:00 is closed at 18:00.

When the clocks change (IANA time zone database, PEP 495):

* a time that does not exist that day means the moment the clocks jump;
* a time that comes twice means its first coming, for opening and for closing alike;
* minutes are counted as they pass: a night shift is an hour longer in autumn and an hour shorter in spring.

Hours that cross midnight belong to the day on which they begin: on a day off nobody begins a night shift, and the
shift begun the evening before is worked to its end.

Public holidays come from the library `holidays`. Weekend days that a government declares working days are not taken
from it, because nobody can guess their hours: they are written into `days`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo

from core.kernel.errors import Rejected

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HORIZON_DAYS = 3660
"""How far any search looks, in days: ten years. What is not found by then is treated as never."""

Interval = tuple[int, int]
"""Minutes after local midnight, from and until. Above 1440 "until" lies in the next day."""

Absence = tuple[datetime, datetime | None]
"""From and until, aware; None means without a known end."""

_DAY = 1440
_ANY_YEAR = date(2025, 1, 1)


@dataclass(frozen=True)
class Schedule:
    """When somebody works. A value: two schedules with the same hours are equal.

    It remembers the days it has worked out, so keep the object for as long as its row stays the same.

    time_zone              IANA name; all hours are on its wall clock
    week                   seven days from Monday, each its intervals in order
    holidays_country       ISO 3166 code whose public holidays are free; "" for none
    holidays_subdivision   ISO 3166-2 part of the country; "" for the holidays of the whole country
    days                   single days that differ from the week and from the holidays; () is a day off
    always_open            round the clock; everything above is then kept but not looked at

    Raises:
        Rejected: the time zone is unknown, an interval is impossible, or no weekday has opening hours.
    """

    time_zone: str = "UTC"
    week: tuple[tuple[Interval, ...], ...] = ((),) * 7
    holidays_country: str = ""
    holidays_subdivision: str = ""
    days: Mapping[date, tuple[Interval, ...]] = field(default_factory=dict, hash=False)
    always_open: bool = False
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _has_night: bool = field(init=False, repr=False, compare=False)
    _known: dict[int, tuple[tuple[datetime, datetime], ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse hours that cannot be meant."""
        object.__setattr__(self, "_zone", _zone(self.time_zone))
        object.__setattr__(self, "_known", {})
        object.__setattr__(self, "days", MappingProxyType(dict(self.days)))
        if len(self.week) != 7:
            raise Rejected("A week has seven days", field="week")
        for name, intervals in zip(WEEKDAYS, self.week, strict=True):
            _check_intervals(intervals, f"week.{name}")
        for day, intervals in self.days.items():
            _check_intervals(intervals, f"days.{day.isoformat()}")
        nights = any(end > _DAY for intervals in (*self.week, *self.days.values()) for _, end in intervals)
        object.__setattr__(self, "_has_night", nights)
        if not self.always_open and not any(self.week):
            raise Rejected("These hours never open: give at least one weekday opening hours", field="week")

    def validate(self) -> None:
        """Check what needs the calendar of holidays. Call it before storing; the first call may take 0.3 s.

        Raises:
            Rejected: the library has no holidays for the country or its part.
        """
        if self.holidays_country:
            _public_holidays(self.holidays_country, self.holidays_subdivision, _ANY_YEAR.year)
        elif self.holidays_subdivision:
            raise Rejected("Name the country before its region", field="holidays_country")

    def is_open(self, at: datetime) -> bool:
        """Say whether it is open at that moment."""
        if self.always_open:
            return True
        at = _utc(at)
        today = at.astimezone(self._zone).toordinal()
        # The next day too: where the clocks go back over midnight, a date is shown again after it has ended.
        return any(opens <= at < closes for ordinal in (today, today + 1) for opens, closes in self._openings(ordinal))

    def next_opening(self, at: datetime) -> datetime | None:
        """Return the first open moment from `at` on, which is `at` itself when it is open; None if there is none."""
        at = _utc(at)
        if self.always_open:
            return at
        today = at.astimezone(self._zone).toordinal()
        for ordinal in range(today, today + HORIZON_DAYS):
            for opens, closes in self._openings(ordinal):
                if closes > at:
                    return max(opens, at)
        return None

    def add(self, start: datetime, minutes: float) -> datetime:
        """Return the moment when so many working minutes have passed since `start`: a deadline, in UTC.

        From a closed moment the count begins at the next opening. No minutes give `start`, or the next opening.
        A count that runs out exactly at closing time ends at closing time, not at the next opening.

        Raises:
            Rejected: the moment lies more than ten years ahead, or `minutes` is negative.
        """
        start, left = _utc(start), _span(minutes)
        if self.always_open:
            return start + left
        today = start.astimezone(self._zone).toordinal()
        for ordinal in range(today, today + HORIZON_DAYS):
            for opens, closes in self._openings(ordinal):
                if closes <= start:
                    continue
                begins = max(opens, start)
                if left <= closes - begins:
                    return begins + left
                left -= closes - begins
        raise Rejected("These hours do not open long enough in ten years to reach the deadline", field="minutes")

    def subtract(self, end: datetime, minutes: float) -> datetime:
        """Return the latest moment from which so many working minutes remain until `end`: a reminder, in UTC.

        No minutes give `end`, or the last closing before it. A count that runs out exactly at an opening ends there.

        Raises:
            Rejected: the moment lies more than ten years back, or `minutes` is negative.
        """
        end, left = _utc(end), _span(minutes)
        if self.always_open:
            return end - left
        today = end.astimezone(self._zone).toordinal() + 1
        for ordinal in range(today, today - HORIZON_DAYS, -1):
            for opens, closes in reversed(self._openings(ordinal)):
                if opens >= end:
                    continue
                ends = min(closes, end)
                if left <= ends - opens:
                    return ends - left
                left -= ends - opens
        raise Rejected("These hours were not open long enough in ten years", field="minutes")

    def minutes_between(self, begin: datetime, end: datetime) -> float:
        """Return the working minutes from `begin` to `end`; negative when `end` is the earlier one."""
        begin, end = _utc(begin), _utc(end)
        if end < begin:
            return -self.minutes_between(end, begin)
        if self.always_open:
            return (end - begin) / timedelta(minutes=1)
        passed = timedelta()
        first, last = begin.astimezone(self._zone).toordinal(), end.astimezone(self._zone).toordinal() + 1
        for ordinal in range(first, last + 1):
            for opens, closes in self._openings(ordinal):
                if closes > begin and opens < end:
                    passed += min(closes, end) - max(opens, begin)
        return passed / timedelta(minutes=1)

    def _openings(self, ordinal: int) -> tuple[tuple[datetime, datetime], ...]:
        """Return the openings that fall on a day of the calendar, in UTC and in order."""
        known = self._known.get(ordinal)
        if known is not None:
            return known
        spans = [(start, min(end, _DAY)) for start, end in self._begun_on(ordinal)]
        if self._has_night:
            spans += [(0, end - _DAY) for _, end in self._begun_on(ordinal - 1) if end > _DAY]
        merged: list[Interval] = []
        for start, end in sorted(spans):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        openings = self._in_utc(date.fromordinal(ordinal), merged) if merged else ()
        if len(self._known) > 2 * HORIZON_DAYS:  # somebody counts through decades; do not keep them all
            self._known.clear()
        self._known[ordinal] = openings
        return openings

    def _in_utc(self, day: date, intervals: list[Interval]) -> tuple[tuple[datetime, datetime], ...]:
        midnight = _moment(day, 0, self._zone)
        if _moment(day, _DAY, self._zone) - midnight == timedelta(days=1):  # nearly always: no change of the clocks
            return tuple((midnight + timedelta(minutes=a), midnight + timedelta(minutes=b)) for a, b in intervals)
        moments = [(_moment(day, a, self._zone), _moment(day, b, self._zone)) for a, b in intervals]
        return tuple((opens, closes) for opens, closes in moments if opens < closes)

    def _begun_on(self, ordinal: int) -> tuple[Interval, ...]:
        day = date.fromordinal(ordinal)
        special = self.days.get(day)
        if special is not None:
            return special
        if self.holidays_country and day in _public_holidays(
            self.holidays_country, self.holidays_subdivision, day.year
        ):
            return ()
        return self.week[day.weekday()]


def is_working(schedule: Schedule, absences: Iterable[Absence], at: datetime) -> bool:
    """Say whether a person works at that moment; pass the company's schedule for somebody without their own."""
    return schedule.is_open(at) and not any(_covers(absence, at) for absence in absences)


def available_from(schedule: Schedule, absences: Iterable[Absence], at: datetime) -> datetime | None:
    """Return the first moment from `at` on when a person is at work and not absent; None if that is not known."""
    absences = tuple(absences)
    opening = schedule.next_opening(at)
    while opening is not None:
        absence = next((absence for absence in absences if _covers(absence, opening)), None)
        if absence is None:
            return opening
        # Every round leaves one absence behind for good, so this ends.
        opening = None if absence[1] is None else schedule.next_opening(absence[1])
    return None


def _utc(at: datetime) -> datetime:
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        raise ValueError("Working hours need an aware datetime")
    return at.astimezone(UTC)


def _span(minutes: float) -> timedelta:
    if not 0 <= minutes <= HORIZON_DAYS * _DAY:  # false for NaN too
        raise Rejected("Give a number of minutes from 0 to ten years", field="minutes")
    return timedelta(minutes=minutes)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: a folder of the database, such as "America"
        raise Rejected(
            "There is no time zone “%(name)s”; use a name like Europe/Tallinn", name=name, field="time_zone"
        ) from None


def _moment(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """Return when the clocks show that time of that day, in UTC."""
    wall = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minute)
    moment = wall.astimezone(UTC)
    later = wall.replace(fold=1).astimezone(UTC)
    if later >= moment:
        return moment  # fold 0: the only coming, or the first of two
    # PEP 495 section "Times that do not exist": with fold 1 the earlier of two moments around the jump.
    before, after = later, moment
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // timedelta(seconds=2) * timedelta(seconds=1)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


@lru_cache(maxsize=512)
def _public_holidays(country: str, subdivision: str, year: int) -> frozenset[date]:
    import holidays  # 0.2 s and 14 MB: only companies that name a country pay for it

    try:
        found = holidays.country_holidays(country, subdiv=subdivision or None, years=year, expand=False)
    except NotImplementedError:
        known = country in holidays.list_supported_countries()
        name, missing = ("subdivision", subdivision) if known and subdivision else ("country", country)
        raise Rejected("No public holidays are known for “%(name)s”", name=missing, field=f"holidays_{name}") from None
    return frozenset(day for day in found if day.year == year)


def _covers(absence: Absence, at: datetime) -> bool:
    return absence[0] <= at and (absence[1] is None or at < absence[1])


def _check_intervals(intervals: tuple[Interval, ...], name: str) -> None:
    latest = 0
    for start, end in intervals:
        if not 0 <= start < _DAY or not start < end <= 2 * _DAY or end - start > _DAY:
            raise Rejected("Hours run from a time of day to a later one, for at most 24 hours", field=name)
        if end - start == _DAY and start:
            raise Rejected("Write the whole day as 00:00 to 24:00", field=name)
        if start < latest:
            raise Rejected("Hours of one day follow each other and do not overlap", field=name)
        latest = end
