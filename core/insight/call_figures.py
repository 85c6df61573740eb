"""Call figures: how many calls, how long people waited and talked, and how soon those who rang in vain were called."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Subquery,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from core.connections import Connection
from core.kernel.errors import Rejected
from core.staff import access
from core.staff.access import Rights
from core.staff.users import User
from core.talk.calls import IN_VAIN, UNDER_WAY, Call, CallStatus
from core.work.hours import Schedule

Group = Literal["user", "day", "direction", "outcome", "status", "connection", "line"]

LONGEST: Final = timedelta(days=366)
MOST_ROWS: Final = 2000
DIRECTIONS: Final = ("inbound", "outbound")
SOON: Final = timedelta(minutes=15)
LATER: Final = timedelta(hours=1)
_LOOKS_AHEAD: Final = 32
"""Days beyond the last call in which its working day is looked for; a longer closure is no working day."""

DEFINITIONS: Final = {
    "calls": "Calls that came in or went out and began from `from` until before `to`; not those between colleagues.",
    "by_direction": "The calls by where they came from: inbound, outbound.",
    "by_status": "The calls by how far they have come or how they ended.",
    "missed": "Calls that came in and that nobody took, without those that ended at voicemail.",
    "voicemail": "Calls that came in and that ended at voicemail.",
    "unanswered": "Calls that went out and have ended without anybody at the other side taking them.",
    "called_back": "Missed calls and voicemail after which somebody talked with the person, whoever of both rang: an "
    "answered call at least as long as the channel's settings ask for a conversation.",
    "called_back_within_seconds.median": "From the end of a missed call or voicemail until that conversation began, in "
    "seconds: half of those called back were called sooner. Null if none was.",
    "called_back_within_seconds.within_15_minutes": "How many were called back no later than 15 minutes after.",
    "called_back_within_seconds.within_1_hour": "How many were called back no later than an hour after, those within "
    "15 minutes included.",
    "called_back_within_seconds.same_working_day": "How many were called back on the working day on which they rang: "
    "before its midnight; who rang after the last closing time of a day, or on a day off, before that of the next "
    "working day.",
    "wait_seconds.average": "How long those who rang us waited, in seconds: until somebody took the call, else until "
    "it ended. Null if nobody rang.",
    "wait_seconds.median": "Half of those who rang us waited less than this.",
    "talk_seconds.sum": "How long was talked in all completed calls, in and out, in seconds. A call whose end was "
    "never heard counts as no time.",
    "talk_seconds.average": "The same, for one completed call whose end was heard.",
    "days": "A day is one of the workspace's time zone.",
}
"""What each figure means, in words, by its name in the answer."""


class Figures(NamedTuple):
    """The figures of some calls; `DEFINITIONS` says what each means. `key` is what they have in common, as text."""

    key: str | None
    title: str | None
    calls: int
    by_direction: dict[str, int]
    by_status: dict[str, int]
    missed: int
    voicemail: int
    unanswered: int
    called_back: int
    called_back_median: float | None
    within_15_minutes: int
    within_1_hour: int
    same_working_day: int
    wait_average: float | None
    wait_median: float | None
    talk_sum: int
    talk_average: float | None


class Counted(NamedTuple):
    """Figures row by row, those of all of them together, and whether there are more rows than are told."""

    rows: list[Figures]
    totals: Figures
    is_cut: bool


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the moment at which a day begins on the clocks of a zone, in UTC, whatever the clocks do that night."""
    wall = datetime.combine(day, time(), tzinfo=zone)
    comings = sorted(wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    # PEP 495: of a midnight that does not exist, or comes twice, one of the two may still show the day before.
    return next((moment for moment in comings if moment.astimezone(zone).date() >= day), comings[-1])


async def count(
    session: AsyncSession,
    rights: Rights,
    *,
    begins: datetime,
    ends: datetime,
    group: Group,
    time_zone: str,
    schedule: Schedule,
) -> Counted:
    """Count the calls somebody may see that began from `begins` until before `ends`, in one question to the database.

    Days are of `time_zone`; `schedule` tells working days from others.

    Raises:
        Rejected: the end is not after the beginning, or more than 366 days lie between; `field` is `to`.
    """
    if ends <= begins:
        raise Rejected("The end must be after the beginning", field="to")
    if ends - begins > LONGEST + timedelta(hours=1):  # an hour: the clocks may have been put back
        raise Rejected("At most %(days)s days at once", days=LONGEST.days, field="to")
    days = _days(_closings(schedule, begins, ends, ZoneInfo(time_zone)))
    seen = (
        select(
            _key(group, time_zone).label("key"),
            Call.direction,
            Call.status,
            Call.called_back_at,
            Call.wait_seconds,
            Call.talk_seconds,
            func.coalesce(Call.ended_at, Call.started_at).label("over_at"),
            days.c.over[func.width_bucket(Call.started_at, days.c.closed) + 1].label("day_ends"),
        )
        .select_from(Call)
        .join(days, true())
        .where(
            access.visible(rights, Call),
            Call.direction.in_(DIRECTIONS),
            Call.started_at >= begins,
            Call.started_at < ends,
        )
        .subquery()
    )
    is_total = func.grouping(seen.c.key)
    counted = (
        select(is_total.label("is_total"), seen.c.key, *_figures(seen.c))
        .group_by(func.grouping_sets(tuple_(seen.c.key), tuple_()))
        .order_by(is_total.desc(), seen.c.key.asc().nulls_last())
        .limit(MOST_ROWS + 2)
        .subquery()
    )
    statement = select(counted, _title(group, counted.c.key).label("title"))
    found = (
        await session.execute(statement.order_by(counted.c.is_total.desc(), counted.c.key.asc().nulls_last()))
    ).all()
    rows = [_row(row) for row in found[1:]]
    return Counted(rows[:MOST_ROWS], _row(found[0]), len(rows) > MOST_ROWS)


def _closings(schedule: Schedule, begins: datetime, ends: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """Return the last closing time and the midnight that follows it, for each working day there is."""
    found = []
    day, last = begins.astimezone(zone).date(), ends.astimezone(zone).date() + timedelta(days=_LOOKS_AHEAD)
    while day <= last:
        opened, day = midnight(day, zone), day + timedelta(days=1)
        over = midnight(day, zone)
        closed = schedule.subtract(over, 0)
        if closed > opened:
            found.append((closed, over))
    return found


def _days(closings: list[tuple[datetime, datetime]]) -> Subquery:
    """Return the working days as one row of two arrays.

    A call's working day is the first one whose last closing is after it: `width_bucket` counts those that are not.
    """
    moments = ARRAY(DateTime(timezone=True))
    closed, over = ([each[place] for each in closings] for place in (0, 1))
    return select(literal(closed, moments).label("closed"), literal(over, moments).label("over")).subquery()


def _key(group: Group, time_zone: str) -> ColumnElement[Any]:
    keys: dict[str, ColumnElement[Any]] = {
        "user": cast(Call.user_id, Text),
        "day": func.to_char(func.timezone(time_zone, Call.started_at), "YYYY-MM-DD"),
        "direction": cast(Call.direction, Text),
        "outcome": cast(Call.outcome, Text),
        "status": cast(Call.status, Text),
        "connection": cast(Call.connection_id, Text),
        "line": cast(Call.line, Text),
    }
    return keys[group]


def _title(group: Group, key: ColumnElement[Any]) -> ColumnElement[Any]:
    if group == "user":
        return select(User.name).where(User.id == cast(key, BigInteger)).scalar_subquery()
    if group == "connection":
        return select(Connection.title).where(Connection.id == cast(key, BigInteger)).scalar_subquery()
    return key


def _figures(call: Any) -> list[ColumnElement[Any]]:
    inbound, outbound = call.direction == "inbound", call.direction == "outbound"
    called_back = and_(inbound, call.status.in_(IN_VAIN), call.called_back_at.is_not(None))
    until = case((called_back, func.greatest(func.extract("epoch", call.called_back_at - call.over_at), 0)))
    waited = case((inbound, call.wait_seconds))
    completed = call.status == CallStatus.COMPLETED

    def how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count().filter(condition)

    return [
        func.count().label("calls"),
        *(how_many(call.direction == way).label(f"is_{way}") for way in DIRECTIONS),
        *(how_many(call.status == status).label(f"is_{status}") for status in CallStatus),
        how_many(and_(inbound, call.status == CallStatus.MISSED)).label("missed"),
        how_many(and_(inbound, call.status == CallStatus.VOICEMAIL)).label("voicemail"),
        how_many(and_(outbound, ~or_(completed, call.status.in_(UNDER_WAY)))).label("unanswered"),
        how_many(called_back).label("called_back"),
        func.percentile_cont(0.5).within_group(until).label("called_back_median"),
        how_many(until <= SOON.total_seconds()).label("within_15_minutes"),
        how_many(until <= LATER.total_seconds()).label("within_1_hour"),
        how_many(and_(called_back, call.called_back_at < call.day_ends)).label("same_working_day"),
        func.avg(waited).label("wait_average"),
        func.percentile_cont(0.5).within_group(waited).label("wait_median"),
        func.coalesce(func.sum(call.talk_seconds).filter(completed), 0).label("talk_sum"),
        func.avg(call.talk_seconds).filter(completed).label("talk_average"),
    ]


def _row(row: Any) -> Figures:
    return Figures(
        key=row.key,
        title=row.title,
        calls=row.calls,
        by_direction={way: getattr(row, f"is_{way}") for way in DIRECTIONS},
        by_status={status.value: getattr(row, f"is_{status}") for status in CallStatus},
        missed=row.missed,
        voicemail=row.voicemail,
        unanswered=row.unanswered,
        called_back=row.called_back,
        called_back_median=_rounded(row.called_back_median),
        within_15_minutes=row.within_15_minutes,
        within_1_hour=row.within_1_hour,
        same_working_day=row.same_working_day,
        wait_average=_rounded(row.wait_average),
        wait_median=_rounded(row.wait_median),
        talk_sum=int(row.talk_sum),
        talk_average=_rounded(row.talk_average),
    )


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 1)
