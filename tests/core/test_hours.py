"""Working hours: opening times, deadlines in working minutes, and the two nights when the clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.kernel.errors import Rejected
from core.work.hours import WEEKDAYS, Schedule, available_from, is_working
from core.work.hours_json import from_json, to_json

OFFICE = [["09:00", "13:00"], ["14:00", "18:00"]]


def hours(
    zone: str = "Europe/Moscow", opening: Any = OFFICE, on: tuple[str, ...] = WEEKDAYS[:5], **more: Any
) -> Schedule:
    return from_json({"time_zone": zone, "week": {day: opening for day in on}, **more})


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "minutes", "deadline"),
    [
        ("2026-06-15 10:00", 15, "2026-06-15 10:15"),
        ("2026-06-15 12:55", 15, "2026-06-15 14:10"),  # over lunch
        ("2026-06-15 12:45", 15, "2026-06-15 13:00"),  # due exactly at closing
        ("2026-06-15 13:00", 15, "2026-06-15 14:15"),  # closed at closing time
        ("2026-06-15 06:00", 15, "2026-06-15 09:15"),
        ("2026-06-19 17:50", 15, "2026-06-22 09:05"),  # over the weekend
        ("2026-06-20 12:00", 0, "2026-06-22 09:00"),
        ("2026-06-15 10:00", 0, "2026-06-15 10:00"),
        ("2026-06-15 09:00", 8 * 60 * 5, "2026-06-19 18:00"),
        ("2026-06-15 10:00", 0.5, "2026-06-15 10:00:30"),
        ("2026-06-11 17:50", 15, "2026-06-15 09:05"),  # 12 June is Russia Day, a Friday
        ("2026-12-30 17:50", 15, "2027-01-11 09:05"),  # the long holidays, with days moved by decree
    ],
)
def test_a_deadline_counts_only_working_minutes(start: str, minutes: float, deadline: str) -> None:
    schedule = hours(holidays_country="RU")
    assert schedule.add(at(start, "Europe/Moscow"), minutes) == at(deadline, "Europe/Moscow")


def test_a_reminder_comes_five_working_minutes_before_the_deadline() -> None:
    schedule = hours()
    start = at("2026-06-15 12:55", "Europe/Moscow")
    deadline = schedule.add(start, 15)
    assert schedule.add(start, 10) == schedule.subtract(deadline, 5) == at("2026-06-15 14:05", "Europe/Moscow")
    assert schedule.subtract(deadline, 12) == at("2026-06-15 12:58", "Europe/Moscow")
    assert schedule.subtract(at("2026-06-22 08:00", "Europe/Moscow"), 0) == at("2026-06-19 18:00", "Europe/Moscow")


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [("08:59:59", False), ("09:00", True), ("12:59:59", True), ("13:00", False), ("17:59", True), ("18:00", False)],
)
def test_an_opening_includes_its_first_moment_and_not_its_last(moment: str, is_open: bool) -> None:
    assert hours().is_open(at(f"2026-06-15 {moment}", "Europe/Moscow")) is is_open


def test_the_next_opening_of_an_open_moment_is_that_moment() -> None:
    schedule = hours()
    assert schedule.next_opening(at("2026-06-15 10:01", "Europe/Moscow")) == at("2026-06-15 10:01", "Europe/Moscow")
    assert schedule.next_opening(at("2026-06-15 13:00", "Europe/Moscow")) == at("2026-06-15 14:00", "Europe/Moscow")
    assert schedule.next_opening(at("2026-06-19 18:00", "Europe/Moscow")) == at("2026-06-22 09:00", "Europe/Moscow")


def test_always_open_counts_every_minute_and_looks_at_nothing_else() -> None:
    schedule = Schedule(always_open=True)
    moment = at("2026-01-01 03:00")
    assert schedule.is_open(moment)
    assert schedule.next_opening(moment) == moment
    assert schedule.add(moment, 15) == at("2026-01-01 03:15")
    assert schedule.subtract(moment, 15) == at("2026-01-01 02:45")
    assert schedule.minutes_between(moment, at("2026-01-03 03:00")) == 2880


def test_minutes_between_are_negative_backwards() -> None:
    schedule = hours()
    begin, end = at("2026-06-19 17:00", "Europe/Moscow"), at("2026-06-22 10:30", "Europe/Moscow")
    assert schedule.minutes_between(begin, end) == 150
    assert schedule.minutes_between(end, begin) == -150


@pytest.mark.parametrize(
    ("zone", "country", "day", "is_open"),
    [
        ("Asia/Yerevan", "AM", "2026-09-21", False),  # Independence Day
        ("Asia/Yerevan", "AM", "2026-09-22", True),
        ("Asia/Yerevan", "", "2026-09-21", True),
        ("Europe/Moscow", "RU", "2026-11-04", False),  # Unity Day
        ("Europe/Tallinn", "EE", "2026-02-24", False),  # Independence Day
        ("America/New_York", "US", "2026-11-26", False),  # Thanksgiving
    ],
)
def test_public_holidays_are_free(zone: str, country: str, day: str, is_open: bool) -> None:
    assert hours(zone, holidays_country=country).is_open(at(f"{day} 10:00", zone)) is is_open


def test_a_region_may_have_holidays_of_its_own() -> None:
    day = at("2026-03-31 10:00", "America/Los_Angeles")  # Cesar Chavez Day, California
    assert hours("America/Los_Angeles", holidays_country="US").is_open(day)
    assert not hours("America/Los_Angeles", holidays_country="US", holidays_subdivision="CA").is_open(day)


def test_single_days_override_the_week_and_the_holidays() -> None:
    schedule = hours(
        holidays_country="RU",
        days={"2026-06-12": [["10:00", "12:00"]], "2026-06-13": OFFICE, "2026-06-16": []},
    )
    assert schedule.minutes_between(at("2026-06-12", "Europe/Moscow"), at("2026-06-13", "Europe/Moscow")) == 120
    assert schedule.is_open(at("2026-06-13 09:30", "Europe/Moscow"))  # a Saturday worked
    assert schedule.next_opening(at("2026-06-16 00:00", "Europe/Moscow")) == at("2026-06-17 09:00", "Europe/Moscow")


def test_a_night_shift_belongs_to_the_day_on_which_it_begins() -> None:
    schedule = hours("Asia/Yerevan", [["22:00", "06:00"]], ("fri", "sun"), days={"2026-06-21": []})
    assert schedule.is_open(at("2026-06-20 05:59", "Asia/Yerevan"))  # Friday's shift, on Saturday morning
    assert not schedule.is_open(at("2026-06-20 06:00", "Asia/Yerevan"))
    assert not schedule.is_open(at("2026-06-20 22:00", "Asia/Yerevan"))
    assert not schedule.is_open(at("2026-06-22 01:00", "Asia/Yerevan"))  # Sunday was a day off
    assert schedule.is_open(at("2026-06-29 01:00", "Asia/Yerevan"))  # Monday morning, Sunday's shift
    assert schedule.add(at("2026-06-19 23:00", "Asia/Yerevan"), 120) == at("2026-06-20 01:00", "Asia/Yerevan")


def test_hours_that_meet_at_midnight_are_one_opening() -> None:
    schedule = hours("Europe/Tallinn", [["00:00", "24:00"]], WEEKDAYS)
    assert schedule.add(at("2026-06-15 23:50", "Europe/Tallinn"), 20) == at("2026-06-16 00:10", "Europe/Tallinn")
    assert schedule.subtract(at("2026-06-16 00:10", "Europe/Tallinn"), 20) == at("2026-06-15 23:50", "Europe/Tallinn")


@pytest.mark.parametrize(
    ("zone", "opening", "begin", "end", "minutes"),
    [
        # the night of the change: 7, 8 and 9 real hours behind the same 22:00 to 06:00
        ("Europe/Tallinn", ["22:00", "06:00"], "2026-03-28 12:00", "2026-03-29 12:00", 7 * 60),
        ("Europe/Tallinn", ["22:00", "06:00"], "2026-10-24 12:00", "2026-10-25 12:00", 9 * 60),
        ("America/New_York", ["22:00", "06:00"], "2026-03-07 12:00", "2026-03-08 12:00", 7 * 60),
        ("America/New_York", ["22:00", "06:00"], "2026-10-31 12:00", "2026-11-01 12:00", 9 * 60),
        ("Asia/Yerevan", ["22:00", "06:00"], "2026-03-28 12:00", "2026-03-29 12:00", 8 * 60),
        ("Europe/Moscow", ["22:00", "06:00"], "2026-10-24 12:00", "2026-10-25 12:00", 8 * 60),
        # edges that do not exist that night (New York jumps from 02:00 to 03:00): the jump itself
        ("America/New_York", ["02:30", "04:00"], "2026-03-08 00:00", "2026-03-08 12:00", 60),
        ("America/New_York", ["01:00", "02:30"], "2026-03-08 00:00", "2026-03-08 12:00", 60),
        ("America/New_York", ["02:10", "02:50"], "2026-03-08 00:00", "2026-03-08 12:00", 0),
        # edges that come twice (01:00 to 02:00 in New York): their first coming
        ("America/New_York", ["01:30", "03:00"], "2026-11-01 00:00", "2026-11-01 12:00", 150),
        ("America/New_York", ["00:00", "01:30"], "2026-11-01 00:00", "2026-11-01 12:00", 90),
        # midnight itself comes twice, or not at all
        ("America/Havana", ["00:00", "24:00"], "2026-11-01 00:00", "2026-11-02 00:00", 25 * 60),
        ("America/Havana", ["00:00", "24:00"], "2026-03-08 01:00", "2026-03-09 00:00", 23 * 60),
        # a date that was left out of the calendar
        ("Pacific/Apia", ["09:00", "18:00"], "2011-12-29 12:00", "2011-12-31 12:00", 9 * 60),
    ],
)
def test_real_minutes_are_counted_when_the_clocks_change(
    zone: str, opening: list[str], begin: str, end: str, minutes: int
) -> None:
    assert hours(zone, [opening], WEEKDAYS).minutes_between(at(begin, zone), at(end, zone)) == minutes


def test_an_opening_stays_at_nine_on_the_wall_through_both_changes() -> None:
    schedule = hours("Europe/Tallinn")
    assert schedule.next_opening(at("2026-03-27 20:00")) == at("2026-03-30 06:00")  # UTC+3
    assert schedule.next_opening(at("2026-10-23 20:00")) == at("2026-10-26 07:00")  # UTC+2 from 25 October


def test_a_night_that_comes_twice_over_midnight_is_open_throughout() -> None:
    # St. John's put its clocks back at 00:01, to 23:01 of the day before (until 2011).
    schedule = hours("America/St_Johns", [["23:30", "00:30"]], WEEKDAYS)
    second = at("2010-11-06 23:40", "America/St_Johns", fold=1)
    assert schedule.is_open(second)
    assert schedule.next_opening(second) == second
    first = at("2010-11-06 23:30", "America/St_Johns")
    assert (schedule.minutes_between(first, second), schedule.subtract(second, 70)) == (70, first)


def test_a_week_without_hours_is_refused() -> None:
    with pytest.raises(Rejected, match="never open") as refusal:
        from_json({"week": {"mon": []}, "days": {"2026-12-31": OFFICE}})
    assert refusal.value.field == "week"


def test_a_deadline_that_short_hours_never_reach_is_refused() -> None:
    schedule = Schedule(week=((),) * 6 + (((540, 600),),))
    with pytest.raises(Rejected, match="ten years"):
        schedule.add(at("2026-06-15 10:00"), 60 * 24 * 365)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ([], "hours"),
        ({"colour": 1}, "colour"),
        ({"always_open": "yes"}, "always_open"),
        ({"time_zone": "Moscow"}, "time_zone"),
        ({"time_zone": "America"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"time_zone": 3}, "time_zone"),
        ({"week": []}, "week"),
        ({"week": {"monday": OFFICE}}, "week"),
        ({"week": {"mon": "09:00-18:00"}}, "week.mon"),
        ({"week": {"tue": [["09:00"]]}}, "week.tue"),
        ({"week": {"tue": [["9:00", "18:00"]]}}, "week.tue"),
        ({"week": {"tue": [["09:00", "24:01"]]}}, "week.tue"),
        ({"week": {"tue": [["24:00", "09:00"]]}}, "week.tue"),
        ({"week": {"tue": [["09:00", None]]}}, "week.tue"),
        ({"week": {"tue": [["09:00", "09:00"]]}}, "week.tue"),
        ({"week": {"tue": [["09:00", "13:00"], ["12:00", "18:00"]]}}, "week.tue"),
        ({"days": {"2026-02-30": []}}, "days"),
        ({"days": {"tomorrow": []}}, "days"),
        ({"days": {"2026-12-31": [["09:00", "25:00"]]}}, "days.2026-12-31"),
        (
            {
                "days": {f"2{year:03}-01-01": [] for year in range(1000)}
                | {f"2{year:03}-01-02": [] for year in range(1000)}
                | {"2000-05-05": []}
            },
            "days",
        ),
        ({"holidays_country": "XX"}, "holidays_country"),
        ({"holidays_country": "RU", "holidays_subdivision": "ZZ"}, "holidays_subdivision"),
        ({"holidays_subdivision": "CA"}, "holidays_country"),
    ],
)
def test_bad_hours_are_refused_with_the_name_of_the_field(data: Any, field: str) -> None:
    good = {"week": {"mon": OFFICE}}
    with pytest.raises(Rejected) as refusal:
        from_json(good | data if isinstance(data, dict) else data)
    assert refusal.value.field == field


def test_hours_survive_being_written_and_read() -> None:
    data = {
        "always_open": False,
        "time_zone": "Europe/Tallinn",
        "week": {
            "mon": OFFICE,
            "tue": [["00:00", "24:00"]],
            "wed": [["22:00", "06:00"]],
            "thu": [["18:00", "24:00"]],
            "fri": [],
            "sat": [],
            "sun": [],
        },
        "holidays_country": "EE",
        "holidays_subdivision": "",
        "days": {"2026-12-31": [["09:00", "14:00"]], "2027-01-09": []},
    }
    schedule = from_json(data)
    assert to_json(schedule) == data
    assert from_json(to_json(schedule)) == schedule
    assert hash(from_json(data)) == hash(schedule)


def test_a_schedule_cannot_be_changed_behind_its_back() -> None:
    days = {date(2026, 6, 16): ()}
    schedule = Schedule(week=(((540, 1080),),) * 7, days=days)
    days.clear()
    assert not schedule.is_open(at("2026-06-16 10:00"))


@pytest.mark.parametrize("minutes", [-1, float("nan"), 10_000_000])
def test_a_deadline_out_of_reach_is_refused(minutes: float) -> None:
    for schedule in (Schedule(always_open=True), hours()):
        with pytest.raises(Rejected) as refusal:
            schedule.add(at("2026-06-15 10:00"), minutes)
        assert refusal.value.field == "minutes"


def test_a_naive_moment_is_a_mistake_of_the_programmer() -> None:
    with pytest.raises(ValueError, match="aware"):
        hours().is_open(datetime(2026, 6, 15, 10, 0))


def test_somebody_on_leave_works_again_at_the_first_opening_after_it() -> None:
    schedule = hours()
    leave = [
        (at("2026-06-15 00:00", "Europe/Moscow"), at("2026-06-19 18:00", "Europe/Moscow")),
        (at("2026-06-22 09:00", "Europe/Moscow"), at("2026-06-22 14:00", "Europe/Moscow")),
    ]
    monday = at("2026-06-15 10:00", "Europe/Moscow")
    assert is_working(schedule, [], monday)
    assert not is_working(schedule, leave, monday)
    assert not is_working(schedule, [], at("2026-06-15 20:00", "Europe/Moscow"))
    assert available_from(schedule, leave, monday) == at("2026-06-22 14:00", "Europe/Moscow")
    assert available_from(schedule, [], monday) == monday
    assert available_from(schedule, [(monday, None)], monday) is None
    assert not is_working(schedule, [(monday, None)], at("2027-06-15 10:00", "Europe/Moscow"))


ZONES = ["Europe/Tallinn", "America/New_York", "Asia/Yerevan", "Europe/Moscow", "America/Havana", "Australia/Lord_Howe"]
# weekends around both changes of the zones above, and an ordinary week
WEEKENDS = [
    date(2026, 3, 6),
    date(2026, 3, 27),
    date(2026, 4, 3),
    date(2026, 6, 12),
    date(2026, 10, 2),
    date(2026, 10, 23),
    date(2026, 10, 30),
]
SPAN = 6 * 1440


@st.composite
def days_hours(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    edges = sorted(draw(st.sets(st.integers(0, 2000), max_size=6)))
    pairs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False) if a < 1440 and b - a < 1440]
    return tuple(pairs)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    week = tuple(draw(days_hours()) for _ in range(7))
    week = week if any(week) else (((540, 1080),),) * 7
    days = draw(
        st.dictionaries(
            st.sampled_from([day + timedelta(days=n) for day in WEEKENDS for n in range(4)]), days_hours(), max_size=6
        )
    )
    return Schedule(time_zone=draw(st.sampled_from(ZONES)), week=week, days=days)


moments = st.builds(
    lambda day, seconds: datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds),
    st.sampled_from(WEEKENDS),
    st.integers(0, 3 * 86400),
)


@cache
def wall_clock(zone: str, start: datetime) -> list[datetime]:
    """What a clock that is never put back shows, minute by minute: it stands still till time has caught up."""
    shown, latest = [], datetime.min
    for minute in range(-2 * 1440, SPAN):
        moment = start + timedelta(minutes=minute)
        latest = max(latest, moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None))
        shown.append(latest)
    return shown[2 * 1440 :]


def naive_model(schedule: Schedule, start: datetime) -> list[bool]:
    """Minute by minute: open or not, by reading the wall clock and the hours of that day and the day before."""

    def is_open(shown: datetime) -> bool:
        minute = shown.hour * 60 + shown.minute
        today, before = shown.date(), shown.date() - timedelta(days=1)
        of_today = schedule.days.get(today, schedule.week[today.weekday()])
        of_before = schedule.days.get(before, schedule.week[before.weekday()])
        return any(a <= minute < b for a, b in of_today) or any(a <= minute + 1440 < b for a, b in of_before)

    return [is_open(shown) for shown in wall_clock(schedule.time_zone, start)]


@settings(max_examples=60, deadline=None)
@given(schedules(), st.sampled_from(WEEKENDS), st.integers(0, 3 * 1440), st.integers(1, 1500))
def test_it_agrees_with_a_clock_read_minute_by_minute(schedule: Schedule, day: date, offset: int, minutes: int) -> None:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    model = naive_model(schedule, begin)
    assert [schedule.is_open(begin + timedelta(minutes=n)) for n in range(0, SPAN, 7)] == model[::7]
    start = begin + timedelta(minutes=offset)
    assert schedule.minutes_between(start, begin + timedelta(minutes=SPAN)) == sum(model[offset:])
    worked = [n for n in range(offset, SPAN) if model[n]]
    if worked:
        assert schedule.next_opening(start) == begin + timedelta(minutes=worked[0])
    if len(worked) >= minutes:
        assert schedule.add(start, minutes) == begin + timedelta(minutes=worked[minutes - 1] + 1)


@settings(max_examples=150, deadline=None)
@given(schedules(), moments, st.integers(0, 6000))
def test_as_many_minutes_lie_between_start_and_deadline_as_were_given(
    schedule: Schedule, start: datetime, minutes: int
) -> None:
    deadline = schedule.add(start, minutes)
    assert schedule.minutes_between(start, deadline) == minutes
    just_before = deadline - timedelta(microseconds=1)
    assert schedule.is_open(deadline) or schedule.is_open(just_before)
    if minutes:
        assert schedule.minutes_between(schedule.subtract(deadline, minutes), deadline) == minutes


@settings(max_examples=150, deadline=None)
@given(schedules(), moments, st.integers(0, 6000), st.integers(0, 10_000), st.integers(0, 6000))
def test_a_later_start_or_more_minutes_never_give_an_earlier_deadline(
    schedule: Schedule, start: datetime, minutes: int, later: int, more: int
) -> None:
    deadline = schedule.add(start, minutes)
    assert schedule.add(start + timedelta(seconds=later), minutes) >= deadline
    assert schedule.add(start, minutes + more) >= deadline
