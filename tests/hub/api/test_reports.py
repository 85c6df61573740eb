"""Reports over the API: the figures are those one gets by counting by hand, and each leads to its records."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from statistics import mean, median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event

from core.insight.call_figures import DEFINITIONS, midnight
from core.kernel.db import insert_rows
from core.people.contacts import Contact
from core.staff import teams, workspace
from core.staff.teams import TeamMember
from core.staff.users import Role
from core.talk.calls import Call, CallStatus
from core.work import hours_json
from core.work.hours import Schedule
from hub import connections
from hub.app import Hub

MOSCOW = ZoneInfo("Europe/Moscow")
BEGINS, ENDS = datetime(2026, 11, 1, tzinfo=MOSCOW), datetime(2026, 12, 1, tzinfo=MOSCOW)
NOVEMBER = "from=2026-11-01&to=2026-11-30"
GROUPS = ("user", "day", "direction", "outcome", "status", "connection", "line")
HOURS = (540, 1080)  # 9:00 to 18:00


@pytest.fixture
async def people(hub: Hub, take_on) -> list[Any]:
    """A company in Moscow that works from nine to six on weekdays, but not on the fourth, and two of its managers."""
    schedule = Schedule(time_zone="Europe/Moscow", week=((HOURS,),) * 5 + ((), ()), days={date(2026, 11, 4): ()})
    async with hub.database.transaction() as session:
        company = await workspace.get(session)
        company.time_zone, company.schedule = "Europe/Moscow", hours_json.to_json(schedule)
    return [await take_on("Anna"), await take_on("Boris")]


async def connect(hub: Hub, title: str) -> int:
    async with hub.database.transaction() as session:
        made = await connections.create(
            session, hub.vault, kind="voice_http", title=title, settings={"token": "t0ken"}, at=hub.clock.now()
        )
    await hub.switchboard.refresh()
    return made.id


def row(**values: Any) -> dict[str, Any]:
    """A call as it is stored."""
    known = {
        "external_id": None,
        "contact_id": None,
        "direction": "inbound",
        "number": "+79161234567",
        "line": "+74950000001",
        "user_id": None,
        "team_id": None,
        "status": "completed",
        "answered_at": None,
        "ended_at": None,
        "wait_seconds": None,
        "talk_seconds": None,
        "called_back_at": None,
        "outcome": None,
    }
    started = values["started_at"]
    return {**known, **values, "heard_at": started, "created_at": started}


async def keep(hub: Hub, rows: Sequence[dict[str, Any]]) -> None:
    async with hub.database.transaction() as session:
        await insert_rows(session, Call, rows)


def made_up(user_ids: Sequence[int], connection_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Calls of all sorts, in November and around it, always the same."""
    chance = random.Random(7)
    rows = []
    for number in range(400):
        direction = chance.choice(["inbound", "inbound", "outbound", "internal"])
        status = str(chance.choice(list(CallStatus)))
        started = BEGINS - timedelta(days=2) + timedelta(seconds=chance.randrange(34 * 86400))
        wait = None if status == "ringing" else chance.randrange(90)
        talk = chance.choice([None, chance.randrange(900)]) if status == "completed" else 0
        over = None if status in ("ringing", "in_progress") else started + timedelta(seconds=(wait or 0) + (talk or 0))
        called_back = None
        if over is not None and status in ("missed", "voicemail") and direction == "inbound" and chance.random() < 0.7:
            called_back = over + timedelta(seconds=chance.choice([-5, 30, 900, 901, 3600, 20_000, 90_000, 300_000]))
        rows.append(
            row(
                connection_id=chance.choice(connection_ids),
                external_id=f"c{number}",
                direction=direction,
                status=status,
                user_id=chance.choice([None, *user_ids]),
                line=chance.choice(["", "+74950000001", "8 800 & sons"]),
                started_at=started,
                ended_at=over,
                wait_seconds=wait,
                talk_seconds=talk,
                called_back_at=called_back,
                outcome=chance.choice([None, "solved", "call_later"]),
            )
        )
    return rows


def works_on(day: date) -> bool:
    return day.weekday() < 5 and day != date(2026, 11, 4)


def is_same_working_day(call: dict[str, Any]) -> bool:
    """The rule by hand: the day they rang, or if we had closed for that day, the next one on which we open."""
    rang = call["started_at"].astimezone(MOSCOW)
    day = rang.date()
    if not works_on(day) or rang.hour >= 18:
        day += timedelta(days=1)
        while not works_on(day):
            day += timedelta(days=1)
    return bool(call["called_back_at"].astimezone(MOSCOW).date() <= day)


def counted_by_hand(calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def rounded(count: Any, values: Sequence[float]) -> float | None:
        return round(count(values), 1) if values else None

    inbound = [call for call in calls if call["direction"] == "inbound"]
    in_vain = [call for call in inbound if call["status"] in ("missed", "voicemail")]
    back = [call for call in in_vain if call["called_back_at"] is not None]
    until = [
        max(0.0, (call["called_back_at"] - (call["ended_at"] or call["started_at"])).total_seconds()) for call in back
    ]
    waited = [call["wait_seconds"] for call in inbound if call["wait_seconds"] is not None]
    completed = [call for call in calls if call["status"] == "completed"]
    talked = [call["talk_seconds"] for call in completed if call["talk_seconds"] is not None]
    vain_out = ("missed", "busy", "failed", "canceled", "voicemail")
    return {
        "calls": len(calls),
        "by_direction": {way: sum(call["direction"] == way for call in calls) for way in ("inbound", "outbound")},
        "by_status": {str(status): sum(call["status"] == status for call in calls) for status in CallStatus},
        "missed": sum(call["status"] == "missed" for call in inbound),
        "voicemail": sum(call["status"] == "voicemail" for call in inbound),
        "unanswered": sum(call["direction"] == "outbound" and call["status"] in vain_out for call in calls),
        "called_back": len(back),
        "called_back_within_seconds": {
            "median": rounded(median, until),
            "within_15_minutes": sum(seconds <= 900 for seconds in until),
            "within_1_hour": sum(seconds <= 3600 for seconds in until),
            "same_working_day": sum(is_same_working_day(call) for call in back),
        },
        "wait_seconds": {"average": rounded(mean, waited), "median": rounded(median, waited)},
        "talk_seconds": {"sum": sum(talked), "average": rounded(mean, talked)},
    }


KEYS: dict[str, Any] = {
    "user": lambda call: None if call["user_id"] is None else str(call["user_id"]),
    "day": lambda call: call["started_at"].astimezone(MOSCOW).date().isoformat(),
    "direction": lambda call: call["direction"],
    "outcome": lambda call: call["outcome"],
    "status": lambda call: call["status"],
    "connection": lambda call: str(call["connection_id"]),
    "line": lambda call: call["line"],
}


@pytest.mark.parametrize("group", GROUPS)
async def test_the_figures_are_those_one_counts_by_hand(hub, api, take_on, people, group):
    titles = {str(user.id): user.name for user in people}
    ids = [await connect(hub, "PBX"), await connect(hub, "Branch")]
    titles |= {str(ids[0]): "PBX", str(ids[1]): "Branch"}
    calls = made_up([user.id for user in people], ids)
    await keep(hub, calls)
    within = [c for c in calls if BEGINS <= c["started_at"] < ENDS and c["direction"] != "internal"]
    assert len(within) > 200
    me = await api(await take_on("Olga", Role.OWNER))
    report = await me.get(f"/reports/calls?{NOVEMBER}&group={group}")
    totals = {name: value for name, value in report["totals"].items() if name != "calls_url"}
    assert totals == counted_by_hand(within)
    key_of = KEYS[group]
    expected = {key: counted_by_hand([c for c in within if key_of(c) == key]) for key in map(key_of, within)}
    found = {each.pop("key"): each for each in report["rows"]}
    assert found.keys() == expected.keys()
    for key, figures in found.items():
        url, title = figures.pop("calls_url"), figures.pop("title")
        assert figures == expected[key], key
        assert title == (titles.get(key) if group in ("user", "connection") else key)
        listed = await me.items(url.removeprefix("/api/v1") + "&limit=200")
        assert len(listed) == figures["calls"], url
    assert (report["group"], report["time_zone"], report["is_cut"]) == (group, "Europe/Moscow", False)
    assert (report["from"], report["to"]) == ("2026-10-31T21:00:00Z", "2026-11-30T21:00:00Z")


async def test_every_figure_is_defined_in_words(api, people):
    report = await (await api(people[0])).get("/reports/calls")
    told: set[str] = set()
    for name, value in report["totals"].items():
        inner = value if isinstance(value, dict) and not name.startswith("by_") else None
        told |= {f"{name}.{part}" for part in inner} if inner else {name}
    told -= {"calls_url"} | {name for name in told if name in report["definitions"]}
    assert told == set()
    assert report["definitions"] == DEFINITIONS
    assert report["rows"] == []
    assert (report["totals"]["calls"], report["totals"]["wait_seconds"]) == (0, {"average": None, "median": None})


async def test_a_report_counts_what_its_reader_may_see(hub, api, take_on, people):
    anna, boris = people
    pbx = await connect(hub, "PBX")
    async with hub.database.transaction() as session:
        other = teams.Team(name="Partners", created_at=hub.clock.now())
        contact = Contact(name="Vera", owner_id=anna.id, tags=[], custom={}, created_at=hub.clock.now())
        session.add_all([other, contact])
        await session.flush()
        sales = await teams.by_name(session, "Sales")
    at = hub.clock.now() - timedelta(hours=1)
    await keep(
        hub,
        [
            row(connection_id=pbx, external_id="1", user_id=anna.id, started_at=at),
            row(connection_id=pbx, external_id="2", user_id=boris.id, started_at=at),
            row(connection_id=pbx, external_id="3", team_id=sales.id, started_at=at, status="missed"),
            row(connection_id=pbx, external_id="4", team_id=other.id, started_at=at, status="missed"),
            row(connection_id=pbx, external_id="5", contact_id=contact.id, started_at=at, status="missed"),
        ],
    )
    hers, others = await take_on("Kirill", Role.HEAD), await take_on("Pavel", Role.HEAD)
    async with hub.database.transaction() as session:
        session.add(TeamMember(team_id=sales.id, user_id=hers.id, leads=True))
        session.add(TeamMember(team_id=other.id, user_id=others.id, leads=True))
    fedor = await take_on("Fedor", Role.SPECIALIST)
    expected = ((anna, 3), (boris, 2), (hers, 4), (others, 1), (fedor, 0), (await take_on("Viktor", Role.VIEWER), 5))
    for reader, calls in expected:
        me = await api(reader)
        report = await me.get("/reports/calls?group=user")
        assert report["totals"]["calls"] == calls == len(await me.items("/calls")), reader.name


async def test_a_report_asks_the_database_once(hub, api, people):
    pbx = await connect(hub, "PBX")
    await keep(hub, made_up([user.id for user in people], [pbx]))
    me = await api(people[0])
    asked: list[str] = []
    event.listen(
        hub.database.engine.sync_engine, "before_cursor_execute", lambda _c, _k, statement, *_: asked.append(statement)
    )
    await me.get(f"/reports/calls?{NOVEMBER}&group=user")
    assert len([statement for statement in asked if "FROM calls" in statement]) == 1


async def test_a_report_there_is_not_names_those_there_are(api, people):
    answer = await (await api(people[0])).send("GET", "/reports/sales")
    assert (answer.status, answer.json["type"]) == (404, "urn:switchyard:problem:not-found")
    assert "calls" in answer.json["detail"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-11-10&to=2026-11-09", "to"),
        ("from=2026-11-10T10:00:00Z&to=2026-11-10T10:00:00Z", "to"),
        ("from=2025-01-01&to=2026-01-02", "to"),
        ("from=yesterday", "from"),
        ("from=0001-01-01", "from"),
        ("to=9999-12-31", "to"),
        ("to=2026-11-10T10:00:00", "to"),
        ("from=1700000000", "from"),
        ("group=week", "group"),
        ("since=2026-11-10", "since"),
    ],
)
async def test_a_question_that_cannot_be_meant_is_refused(api, people, query, field):
    answer = await (await api(people[0])).send("GET", f"/reports/calls?{query}")
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, field)


async def test_a_whole_leap_year_fits(api, people):
    report = await (await api(people[0])).get("/reports/calls?from=2024-01-01&to=2024-12-31")
    assert (report["from"], report["to"]) == ("2023-12-31T21:00:00Z", "2024-12-31T21:00:00Z")


async def test_without_times_it_is_the_last_thirty_days(api, people):
    report = await (await api(people[0])).get("/reports/calls")
    assert (report["from"], report["to"], report["group"]) == ("2026-10-24T10:00:00Z", "2026-11-23T10:00:00Z", "day")


async def test_a_token_needs_the_scope_of_reports(api, people):
    assert (await (await api(people[0], "calls:read")).send("GET", "/reports/calls")).status == 403
    assert (await (await api(people[0], "reports:read")).send("GET", "/reports/calls")).status == 200


@pytest.mark.parametrize(
    ("day", "zone", "begins"),
    [
        (date(2026, 11, 23), "Europe/Moscow", datetime(2026, 11, 22, 21, tzinfo=UTC)),
        (date(2018, 11, 4), "America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),  # no midnight: 24:00 is 1:00
        (date(2018, 2, 18), "America/Sao_Paulo", datetime(2018, 2, 18, 3, tzinfo=UTC)),  # 24:00 is 23:00 once more
        (date(2026, 11, 1), "America/Havana", datetime(2026, 11, 1, 4, tzinfo=UTC)),  # midnight comes twice
    ],
)
def test_a_day_begins_when_the_clocks_first_show_it(day, zone, begins):
    assert midnight(day, ZoneInfo(zone)) == begins
