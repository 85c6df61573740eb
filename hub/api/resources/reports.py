"""Reports: figures over records, with what each of them means, and the address of the records it is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Meta, UnsetType

from core.insight import call_figures
from core.insight.call_figures import Figures, Group
from core.kernel.errors import NotFound, Rejected
from core.staff import workspace
from core.work import hours_json
from hub.api.endpoints import Call, Endpoint
from hub.api.wire import Moment, View

Within = tuple[datetime, datetime]

_USUAL: Final = timedelta(days=30)

Bound = Annotated[
    str,
    Meta(
        max_length=40,
        description="A moment (RFC 3339), or a day (2026-11-30) of the workspace's time zone, which counts whole: "
        "`from` is its beginning and `to` its end.",
        examples=["2026-11-01"],
    ),
]


class ReportQuery(msgspec.Struct, kw_only=True, rename={"from_": "from"}):
    """What to count. Without `to` until now, without `from` from 30 days before that; at most 366 days."""

    from_: Bound | UnsetType = UNSET
    to: Bound | UnsetType = UNSET
    group: Annotated[Group, Meta(description="What the calls of one row have in common.")] = "day"


class CalledBack(View):
    """How soon those who rang in vain were called back: the median in seconds, and how many within which time."""

    median: float | None
    within_15_minutes: int
    within_1_hour: int
    same_working_day: int


class WaitSeconds(View):
    """How long those who rang us waited."""

    average: float | None
    median: float | None


class TalkSeconds(View):
    """How long was talked."""

    sum: int
    average: float | None


class CallFigures(View):
    """The figures of some calls; `definitions` of the report say what each means. `calls_url` lists these calls."""

    calls: int
    by_direction: dict[str, int]
    by_status: dict[str, int]
    missed: int
    voicemail: int
    unanswered: int
    called_back: int
    called_back_within_seconds: CalledBack
    wait_seconds: WaitSeconds
    talk_seconds: TalkSeconds
    calls_url: str


class CallRow(CallFigures):
    """The figures of what has `key` in common: an id, a day, a word; null for what has none. `title` is its name."""

    key: str | None
    title: str | None


class CallReport(View, rename={"from_": "from"}):
    """Figures by `group`, rows without calls left out, and of all of them together.

    `is_cut`: there are more rows than are told; `totals` are of all of them even so.
    """

    name: str
    from_: Moment
    to: Moment
    time_zone: str
    group: Group
    rows: list[CallRow]
    totals: CallFigures
    is_cut: bool
    definitions: dict[str, str]


async def show(call: Call, name: str, query: ReportQuery) -> CallReport:
    """Show a report. There is one so far: `calls`.

    It counts what the caller may see. `definitions` say what each figure means; each row's `calls_url` lists the calls
    it is made of.
    """
    if name not in REPORTS:
        raise NotFound(f"report of this name; there are: {', '.join(sorted(REPORTS))}")
    return await REPORTS[name](call, query)


async def _calls(call: Call, query: ReportQuery) -> CallReport:
    company = await workspace.get(call.session)
    zone = ZoneInfo(company.time_zone)
    ends = call.now if query.to is UNSET else _moment(query.to, zone, is_end=True, field="to")
    begins = ends - _USUAL if query.from_ is UNSET else _moment(query.from_, zone, is_end=False, field="from")
    counted = await call_figures.count(
        call.session,
        call.rights,
        begins=begins,
        ends=ends,
        group=query.group,
        time_zone=company.time_zone,
        schedule=hours_json.from_json(company.schedule),
    )
    within = (begins, ends)
    return CallReport(
        name="calls",
        from_=begins,
        to=ends,
        time_zone=company.time_zone,
        group=query.group,
        rows=[
            CallRow(
                key=row.key,
                title=row.title,
                **_members(row, _address(*_filter(query.group, row.key, within, zone))),
            )
            for row in counted.rows
        ],
        totals=CallFigures(**_members(counted.totals, _address(within))),
        is_cut=counted.is_cut,
        definitions=call_figures.DEFINITIONS,
    )


def _moment(written: str, zone: ZoneInfo, *, is_end: bool, field: str) -> datetime:
    try:
        if len(written) == 10:
            day = date.fromisoformat(written)
            found = call_figures.midnight(day + timedelta(days=is_end), zone)
        else:
            found = msgspec.convert(written, Moment).astimezone(UTC)
    except (ValueError, OverflowError):  # msgspec's errors are ValueErrors
        raise Rejected("Give a day such as 2026-11-30 or a moment such as 2026-11-30T10:00:00Z", field=field) from None
    if not 2000 <= found.year <= 2100:
        raise Rejected("Give a day of this century", field=field)
    return found


def _filter(group: Group, key: str | None, within: Within, zone: ZoneInfo) -> tuple[Within, dict[str, str]]:
    """Return the time and the filter of `GET /calls` that choose the calls of one row."""
    if group != "day":
        name = {"user": "user_id", "connection": "connection_id"}.get(group, group)
        return within, {name: "null" if key is None else key}
    day = date.fromisoformat(key or "")
    begins, ends = (call_figures.midnight(each, zone) for each in (day, day + timedelta(days=1)))
    return (max(begins, within[0]), min(ends, within[1])), {}


def _address(within: Within, more: dict[str, str] | None = None) -> str:
    begins, ends = (moment.isoformat().replace("+00:00", "Z") for moment in within)
    return "/api/v1/calls?" + urlencode({"started_at_from": begins, "started_at_to": ends, **(more or {})})


def _members(found: Figures, calls_url: str) -> dict[str, Any]:
    return {
        "calls": found.calls,
        "by_direction": found.by_direction,
        "by_status": found.by_status,
        "missed": found.missed,
        "voicemail": found.voicemail,
        "unanswered": found.unanswered,
        "called_back": found.called_back,
        "called_back_within_seconds": CalledBack(
            median=found.called_back_median,
            within_15_minutes=found.within_15_minutes,
            within_1_hour=found.within_1_hour,
            same_working_day=found.same_working_day,
        ),
        "wait_seconds": WaitSeconds(average=found.wait_average, median=found.wait_median),
        "talk_seconds": TalkSeconds(sum=found.talk_sum, average=found.talk_average),
        "calls_url": calls_url,
    }


REPORTS: Final[dict[str, Callable[[Call, ReportQuery], Awaitable[CallReport]]]] = {"calls": _calls}

ENDPOINTS = (Endpoint("GET", "/reports/{name}", show),)
