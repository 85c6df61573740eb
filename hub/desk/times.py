"""Times in plain words, Russian and English: “завтра в 10 позвонить”, “call Vera on Friday at 9”.

A time is looked for at the beginning and at the end of what was written; a day at one end and the hour at the other go
together. What is meant:

* a time of day that is over today means tomorrow; a day without a year, or a weekday, is the next one to come
  (today's own only if its hour lies ahead); a weekday that is said to be “next” is that of next week;
* a day without an hour means the morning, unless a part of it is named: noon 12, lunch 13, afternoon 14, evening 18,
  night 21; “today” alone is the first of morning, evening, and an hour from now that lies ahead;
* an hour from 1 to 6 written without a zero in front, without am and without a part of the day is one after noon:
  nobody is called at three at night;
* “in” and “через” count from now: hours and minutes as they pass, days and longer on the calendar at the same hour;
* nothing in the past and nothing more than 366 days ahead is a time. Numbers that are none stay what they are.

When the clocks change (PEP 495), a time that does not exist means the moment they jump, and one that comes twice its
first coming that lies ahead.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from hub.desk import time_words as words

MORNING = time(9)
FURTHEST = timedelta(days=366)
_EVENING = time(18)
_PARTS = {
    "noon": time(12),
    "lunch": time(13),
    "afternoon": time(14),
    "evening": _EVENING,
    "night": time(21),
    "midnight": time(0),
}
_LOOKS_BACK = 14  # words from the end at which a time may begin
_LONGEST = 4000  # characters that are looked at from either end


class Read(NamedTuple):
    """A time that was read, UTC, and the text without its words."""

    at: datetime
    rest: str


@dataclass(frozen=True)
class _Day:
    """Which day: counted from today, a weekday, or a date, whose year may be left out."""

    offset: int | None = None
    weekday: int | None = None
    is_next_week: bool = False
    year: int | None = None
    month: int = 0
    day: int = 0

    def candidates(self, today: date) -> Iterator[date]:
        """Return the days that may be meant, the nearest first."""
        if self.offset is not None:
            yield today + timedelta(days=self.offset)
        elif self.weekday is not None:
            ahead = (self.weekday - today.weekday()) % 7
            if self.is_next_week:
                yield today + timedelta(days=7 - today.weekday() + self.weekday)
            else:
                yield today + timedelta(days=ahead)
                yield today + timedelta(days=ahead + 7)
        else:
            for year in (self.year,) if self.year else (today.year, today.year + 1):
                if self.day <= monthrange(year, self.month)[1]:
                    yield date(year, self.month, self.day)


@dataclass(frozen=True)
class _Span:
    """A length of time from now: `seconds` as they pass, `days` and `months` on the calendar."""

    seconds: float = 0
    days: int = 0
    months: int = 0


@dataclass(frozen=True)
class _Found:
    """What has been read of a time so far; `is_weak` counts only beside something else."""

    day: _Day | None = None
    span: _Span | None = None
    clock: time | None = None
    is_open: bool = False  # the hour may be one after noon as well
    part: str | None = None
    is_weak: bool = False

    def with_(self, other: _Found) -> _Found | None:
        """Return both together; None where they contradict each other."""
        if (self.day or self.span) and (other.day or other.span):
            return None
        if (self.clock and other.clock) or (self.part and other.part):
            return None
        span = self.span or other.span
        if span and span.seconds and (self.clock or other.clock or self.part or other.part):
            return None
        clocked = self if self.clock else other
        return _Found(
            day=self.day or other.day,
            span=span,
            clock=clocked.clock,
            is_open=clocked.is_open,
            part=self.part or other.part,
            is_weak=False,
        )

    @property
    def is_something(self) -> bool:
        """Whether a time has been read that can stand by itself."""
        return not self.is_weak and any((self.day, self.span, self.clock, self.part))


def morning(now: datetime, zone: ZoneInfo, days: int = 1, *, at: time = MORNING) -> datetime:
    """Return nine o'clock local, or another hour, so many days from now, UTC."""
    return _moment(now.astimezone(zone).date() + timedelta(days=days), at, zone, after=None)


def read(text: str, *, now: datetime, zone: ZoneInfo, morning: time = MORNING) -> Read | None:
    """Return the time that a text begins or ends with, and the rest of it; None if it has none. See the module.

    `morning` is the hour of a day that is named without one: when the company opens.
    """
    folded = _folded(text)
    first, begins = _from_start(folded)
    last, ends = _to_end(folded, begins)
    found, rest = None, (begins, ends)
    if first is not None and last is not None and (both := first.with_(last)) is not None:
        found = both
    elif first is not None and first.is_something:
        found, rest = first, (begins, len(text))
    elif last is not None and last.is_something:
        found, rest = last, (0, ends)
    if found is None:
        return None
    at = _resolve(found, now=now.astimezone(UTC), zone=zone, morning=morning)
    if at is None:
        return None
    return Read(at, _tidy(text[rest[0] : rest[1]]))


def lenient(text: str, *, now: datetime, zone: ZoneInfo, morning: time = MORNING) -> Read | None:
    """Read what answers the question when: `read`, or else a bare length (“2 h”), minutes (“15”) or an hour (“до 18”).

    All of the text has to be of the time.
    """
    said = text.strip()
    if re.fullmatch(r"[0-9]{1,4}", said):
        said += " min"
    bare = re.sub(r"^(?:до|к|на|until|till|to|by|for|@)\s+", "", said, flags=re.IGNORECASE)
    for spelled in (said, f"in {bare}", f"at {bare}"):
        found = read(spelled, now=now, zone=zone, morning=morning)
        if found is not None and not found.rest:
            return found
    return None


def _folded(text: str) -> str:
    """Return the text in lower case, ё as е, each character at its place."""
    low = (character.casefold() for character in text)
    folded = "".join(new if len(new) == 1 else old for new, old in zip(low, text, strict=True))
    return folded.replace("ё", "е")


def _tidy(text: str) -> str:
    return text.strip(" \t\n,;:—–-").strip()


def _from_start(text: str) -> tuple[_Found | None, int]:
    begins = re.match(r"\W*", text)
    return _sequence(text[:_LONGEST], begins.end() if begins and "@" not in begins[0] else 0)


def _to_end(text: str, begins: int) -> tuple[_Found | None, int]:
    """Return the longest time that reaches the end, and where it begins."""
    whole = len(text.rstrip(" \t\n.,;!?…"))
    places = [match.start() for match in words.WORD.finditer(text, max(begins, whole - _LONGEST), whole)]
    for place in places[-_LOOKS_BACK:]:
        found, end = _sequence(text, place)
        if found is not None and end >= whole:
            return found, place
    return None, len(text)


def _sequence(text: str, place: int) -> tuple[_Found | None, int]:
    """Read elements one after another from a place; return what they say together and where they end."""
    found: _Found | None = None
    end = place
    while True:
        between = words.BETWEEN.match(text, end)
        start = between.end() if between else end
        for stop, element in sorted(_elements(text, start), key=lambda item: -item[0]):
            joined = element if found is None else found.with_(element)
            if joined is not None:
                found, end = joined, stop
                break
        else:
            return found, end


def _elements(text: str, place: int) -> Iterator[tuple[int, _Found]]:
    """Return what can be read at a place, each with where it ends."""
    if match := words.SPAN.match(text, place):
        yield match.end(), _Found(span=_span(match["span"]))
    if match := words.DAY.match(text, place):
        yield match.end(), _Found(day=_Day(offset=words.DAYS[_spaced(match["day"])]))
    if match := words.NEXT_WEEK.match(text, place):
        yield match.end(), _Found(day=_Day(weekday=0, is_next_week=True))
    if match := words.WEEKDAY.match(text, place):
        is_next = match["next"] is not None
        is_weak = match["weekday"] in words.SHORT_WEEKDAYS and match["towards"] is None and not is_next
        day = _Day(weekday=words.WEEKDAYS[match["weekday"]], is_next_week=is_next)
        yield match.end(), _Found(day=day, is_weak=is_weak)
    for pattern in words.DATES:
        if (match := pattern.match(text, place)) and (date_ := _date(match)) is not None:
            yield match.end(), date_
    for pattern in words.CLOCKS:
        if (match := pattern.match(text, place)) and (clock := _clock(match)) is not None:
            yield match.end(), clock
    for pattern in words.WEAK_CLOCKS:
        if (match := pattern.match(text, place)) and (clock := _clock(match)) is not None:
            yield match.end(), replace(clock, is_weak=True)
    if match := words.PART.match(text, place):
        said = _spaced(match["part"])
        today = _Day(offset=0) if said in words.TONIGHT else None
        yield match.end(), _Found(day=today, part=words.PARTS[said], is_weak=said in words.WEAK_PARTS)


def _spaced(said: str) -> str:
    return " ".join(said.split())


def _date(match: re.Match[str]) -> _Found | None:
    said = match.groupdict()
    day = int(said["day"])
    month = words.MONTHS.get(said["month"]) or (int(said["month"]) if said["month"].isdigit() else 0)
    year = int(said["year"]) if said["year"] else None
    if year is not None and year < 100:
        year += 2000
    if not 1 <= month <= 12 or not 1 <= day <= monthrange(year or 2024, month)[1]:
        return None
    is_weak = said["month"].isdigit() and year is None and len(said["day"]) == 1  # “3.11” may be a version
    return _Found(day=_Day(year=year, month=month, day=day), is_weak=is_weak)


def _clock(match: re.Match[str]) -> _Found | None:
    said = match.groupdict()
    part = words.OF_THE_DAY.get(said.get("part") or "")
    spelled = "1" if said.get("one") else said.get("hour") or said.get("bare") or ""
    hour = words.WHOLE[spelled] if spelled in words.WHOLE else int(spelled)
    half = (said.get("half") or "")[:1]
    if half and not 1 <= hour <= 12:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 23:
        return None
    is_open = not half and part is None and not spelled.startswith("0")
    return _Found(clock=time(hour, int(said.get("minute") or 0)), is_open=is_open, part=part)


def _span(said: str) -> _Span:
    seconds, days, months = 0.0, 0.0, 0
    half = words.AND_A_HALF.search(said)
    for match in words.PIECE.finditer(said[: half.start()] if half else said):
        unit = "minutes" if match["half"] else words.UNITS[match["unit"] or match["alone"]]
        count = 30.0 if match["half"] else 1.0
        if match["count"]:
            spelled = _spaced(match["count"])
            count = words.COUNTS[spelled] if spelled in words.COUNTS else float(spelled.replace(",", "."))
        if half and match.end() == half.start():
            count += 0.5
        if unit == "minutes":
            seconds += count * 60
        elif unit == "hours":
            seconds += count * 3600
        elif unit in ("days", "weeks"):
            days += count * (7 if unit == "weeks" else 1)
        elif count == int(count):
            months += int(count) * (12 if unit == "years" else 1)
        else:
            days += count * (365 if unit == "years" else 30)
    return _Span(seconds + (days % 1) * 86400, int(days), months)


def _resolve(found: _Found, *, now: datetime, zone: ZoneInfo, morning: time) -> datetime | None:
    """Return the moment that is meant; None for one in the past or too far away."""
    local = now.astimezone(zone)
    if found.span is not None:
        at = _after(found, local, morning)
    else:
        day = found.day or _Day(offset=0)
        days = list(day.candidates(local.date()))
        if found.day is None:
            days.append(local.date() + timedelta(days=1))
        clock = _time_of(found, morning)
        moments = (_moment(each, clock, zone, after=now) for each in days if abs((each - local.date()).days) < 800)
        at = next((moment for moment in moments if moment > now), None)
        if at is None and day.offset == 0 and found.clock is None:
            at = _later_today(found, local, morning)
    return at if at is not None and now < at <= now + FURTHEST else None


def _later_today(found: _Found, local: datetime, morning: time) -> datetime | None:
    """Return when “today” is, or the evening that has begun: this evening if it is to come, else in an hour."""
    if found.part is None:
        evening = _moment(local.date(), _EVENING, _zone_of(local), after=local)
        if evening > local:
            return evening
    elif found.part != "evening":
        return None
    soon = local.astimezone(UTC) + timedelta(hours=1)
    return soon if soon.astimezone(local.tzinfo).date() == local.date() else None


def _zone_of(local: datetime) -> ZoneInfo:
    assert isinstance(local.tzinfo, ZoneInfo)
    return local.tzinfo


def _after(found: _Found, local: datetime, morning: time) -> datetime | None:
    span = found.span
    assert span is not None
    if span.days > 400 or span.months > 13 or span.seconds > 400 * 86400:
        return None
    zone = _zone_of(local)
    if not span.days and not span.months:
        return local.astimezone(UTC) + timedelta(seconds=span.seconds)
    years, month = divmod(local.month - 1 + span.months, 12)
    year = local.year + years
    day = date(year, month + 1, min(local.day, monthrange(year, month + 1)[1])) + timedelta(days=span.days)
    clock = _time_of(found, morning) if found.clock or found.part else local.time()
    return _moment(day, clock, zone, after=None) + timedelta(seconds=span.seconds)


def _time_of(found: _Found, morning: time) -> time:
    """Return the time of day that is meant."""
    clock = found.clock
    if clock is None:
        return _PARTS.get(found.part or "", morning)
    hour = clock.hour
    if found.part in ("afternoon", "evening", "noon", "lunch") and 1 <= hour < 12:
        hour += 12 if found.part != "afternoon" or hour < 8 else 0
    elif found.part == "night" and (hour == 12 or 8 <= hour < 12):
        hour = (hour + 12) % 24
    elif found.part is None and found.is_open and 1 <= hour <= 6:
        hour += 12
    return clock.replace(hour=hour)


def _moment(day: date, clock: time, zone: ZoneInfo, *, after: datetime | None) -> datetime:
    """Return a local time as UTC. One that comes twice is its first coming, unless that is not `after`."""
    wall = datetime.combine(day, clock.replace(tzinfo=None, fold=0))
    early, late = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early > late:  # the clocks jump over it: between the two readings lies the jump
        return _jump(late, early, zone)
    return late if after is not None and early <= after else early


def _jump(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment between the two at which the offset of a zone changes, to the second."""
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle <= low:
            break
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)
