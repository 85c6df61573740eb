"""Times in plain words: what is one, what is none, and what the clocks' changes do to them."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.desk import times

MOSCOW = ZoneInfo("Europe/Moscow")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)  # a Monday, one in the afternoon in Moscow


def _read(text: str, now: datetime = NOW, zone: ZoneInfo = MOSCOW) -> tuple[str, str] | None:
    found = times.read(text, now=now, zone=zone)
    return None if found is None else (f"{found.at.astimezone(zone):%Y-%m-%d %H:%M}", found.rest)


@pytest.mark.parametrize(
    ("text", "at", "rest"),
    [
        ("завтра в 10", "2026-11-24 10:00", ""),
        ("завтра в 10:30 позвонить", "2026-11-24 10:30", "позвонить"),
        ("через 2 часа", "2026-11-23 15:00", ""),
        ("через два часа", "2026-11-23 15:00", ""),
        ("через полчаса", "2026-11-23 13:30", ""),
        ("через 15 минут", "2026-11-23 13:15", ""),
        ("через полтора часа", "2026-11-23 14:30", ""),
        ("через 1,5 часа", "2026-11-23 14:30", ""),
        ("через час с половиной", "2026-11-23 14:30", ""),
        ("через 2 часа 30 минут", "2026-11-23 15:30", ""),
        ("через час позвонить Вере", "2026-11-23 14:00", "позвонить Вере"),
        ("через неделю", "2026-11-30 13:00", ""),
        ("через месяц", "2026-12-23 13:00", ""),
        ("через 2 дня в 10", "2026-11-25 10:00", ""),
        ("в пятницу в 9", "2026-11-27 09:00", ""),
        ("в понедельник в 9", "2026-11-30 09:00", ""),
        ("в понедельник в 15", "2026-11-23 15:00", ""),
        ("в следующий вторник", "2026-12-01 09:00", ""),
        ("пт 10:00", "2026-11-27 10:00", ""),
        ("до пятницы", "2026-11-27 09:00", ""),
        ("сегодня вечером", "2026-11-23 18:00", ""),
        ("сегодня", "2026-11-23 18:00", ""),
        ("завтра утром", "2026-11-24 09:00", ""),
        ("завтра вечером в 7", "2026-11-24 19:00", ""),
        ("послезавтра", "2026-11-25 09:00", ""),
        ("25 декабря в 14:00", "2026-12-25 14:00", ""),
        ("25.12 14:00", "2026-12-25 14:00", ""),
        ("25.12.2026", "2026-12-25 09:00", ""),
        ("5 марта", "2027-03-05 09:00", ""),
        ("в 18", "2026-11-23 18:00", ""),
        ("в 12", "2026-11-24 12:00", ""),
        ("в пять", "2026-11-23 17:00", ""),
        ("в 03:30", "2026-11-24 03:30", ""),
        ("в 7 вечера", "2026-11-23 19:00", ""),
        ("в 3 дня позвонить", "2026-11-23 15:00", "позвонить"),
        ("в час дня", "2026-11-24 13:00", ""),
        ("18:30", "2026-11-23 18:30", ""),
        ("завтра позвонить Вере в 10", "2026-11-24 10:00", "позвонить Вере"),
        ("позвонить Вере — завтра!", "2026-11-24 09:00", "позвонить Вере"),
        ("встреча 5 декабря 2026 года в 15:00", "2026-12-05 15:00", "встреча"),
        ("in 2 hours", "2026-11-23 15:00", ""),
        ("in half an hour", "2026-11-23 13:30", ""),
        ("in an hour and a half", "2026-11-23 14:30", ""),
        ("in 20 min", "2026-11-23 13:20", ""),
        ("tomorrow 10:00", "2026-11-24 10:00", ""),
        ("tomorrow at 10am", "2026-11-24 10:00", ""),
        ("tomorrow 10:00 call", "2026-11-24 10:00", "call"),
        ("10 pm", "2026-11-23 22:00", ""),
        ("12 am", "2026-11-24 00:00", ""),
        ("at 3", "2026-11-23 15:00", ""),
        ("on Friday at 9", "2026-11-27 09:00", ""),
        ("next monday", "2026-11-30 09:00", ""),
        ("day after tomorrow at noon", "2026-11-25 12:00", ""),
        ("tonight", "2026-11-23 18:00", ""),
        ("in the morning", "2026-11-24 09:00", ""),
        ("Dec 25 2pm", "2026-12-25 14:00", ""),
        ("25 December", "2026-12-25 09:00", ""),
        ("the 5th of December", "2026-12-05 09:00", ""),
        ("noon", "2026-11-24 12:00", ""),
        ("call Vera tomorrow at 10", "2026-11-24 10:00", "call Vera"),
        ("ЗАВТРА В 10", "2026-11-24 10:00", ""),
    ],
)
def test_a_time_in_words_is_read_and_the_rest_is_left(text: str, at: str, rest: str) -> None:
    assert _read(text) == (at, rest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3 windows",
        "комната 10",
        "отпуск 3 дня",
        "скидка до 10",
        "скидка 10%",
        "в 10% случаев",
        "увеличить в 10 раз",
        "100 км в час",
        "цена 10.50 руб",
        "1.2 млн",
        "Python 3.11",
        "+7 916 123-45-67",
        "good morning",
        "enjoy the sun",
        "ready in minutes",
        "31.02",
        "31 ноября",
        "25.12.2025",
        "today at 9",
        "сегодня в 9",
        "через 400 дней",
        "2028-01-01",
        "in 99999 months",
        "99:99",
    ],
)
def test_what_is_no_time_ahead_within_a_year_is_not_taken_for_one(text: str) -> None:
    assert _read(text) is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2 часа", "2026-11-23 15:00"),
        ("час", "2026-11-23 14:00"),
        ("15", "2026-11-23 13:15"),
        ("до 18", "2026-11-23 18:00"),
        ("until 15:00", "2026-11-23 15:00"),
        ("for 2 hours", "2026-11-23 15:00"),
        ("завтра в 11", "2026-11-24 11:00"),
    ],
)
def test_what_answers_when_may_be_shorter(text: str, at: str) -> None:
    found = times.lenient(text, now=NOW, zone=MOSCOW)
    assert found is not None
    assert f"{found.at.astimezone(MOSCOW):%Y-%m-%d %H:%M}" == at


@pytest.mark.parametrize("text", ["whenever", "2 windows", "tomorrow or so", ""])
def test_what_answers_when_must_be_a_time_and_nothing_else(text: str) -> None:
    assert times.lenient(text, now=NOW, zone=MOSCOW) is None


def test_a_day_without_an_hour_is_when_the_company_opens() -> None:
    found = times.read("tomorrow", now=NOW, zone=MOSCOW, morning=time(8, 30))
    assert found is not None
    assert found.at == datetime(2026, 11, 24, 5, 30, tzinfo=UTC)


def test_an_evening_that_has_begun_is_an_hour_from_now_and_one_that_is_over_is_none() -> None:
    assert _read("сегодня вечером", NOW.replace(hour=16)) == ("2026-11-23 20:00", "")
    assert _read("сегодня вечером", NOW.replace(hour=20, minute=30)) is None


def test_an_hour_that_the_clocks_jump_over_is_the_moment_they_jump() -> None:
    before = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    found = times.read("завтра в 02:30", now=before, zone=BERLIN)
    assert found is not None
    assert found.at == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def test_an_hour_that_comes_twice_is_its_first_coming_that_lies_ahead() -> None:
    before = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)
    first, between = times.read("завтра в 02:30", now=before, zone=BERLIN), datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
    second = times.read("в 02:30", now=between, zone=BERLIN)
    assert first is not None
    assert second is not None
    assert (first.at.hour, second.at.hour) == (0, 1)


def test_hours_pass_as_they_do_and_days_keep_the_hour_when_the_clocks_change() -> None:
    before = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    assert _read("через 24 часа", before, BERLIN) == ("2026-03-29 14:00", "")
    assert _read("через 1 день", before, BERLIN) == ("2026-03-29 13:00", "")


def test_the_morning_is_nine_o_clock_of_the_local_day() -> None:
    assert times.morning(NOW, MOSCOW) == datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
    assert times.morning(datetime(2026, 11, 23, 22, 0, tzinfo=UTC), MOSCOW) == datetime(2026, 11, 25, 6, 0, tzinfo=UTC)


WORDS = """
завтра в до через на 10 3 2 10:30 99 99999 25.12 31.02 29 февраля декабря час часа полчаса пятницу пт следующий вторник
утром вечером дня ночи полдень месяц лет год недель 2028 2027-02-29 сегодня in at on next monday tomorrow today noon
midnight am pm half an hour and a week December 25 may the İstanbul ſun ё @ , — ٣ …
"""


@given(
    st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS.split()), max_size=9).map(" ".join)),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]).map(ZoneInfo),
)
def test_whatever_is_written_what_is_read_lies_ahead_and_within_a_year(
    text: str, now: datetime, zone: ZoneInfo
) -> None:
    found = times.read(text, now=now, zone=zone)
    if found is not None:
        assert now < found.at <= now + timedelta(days=366)
        assert found.at.tzinfo is UTC
        assert len(found.rest) <= len(text)
