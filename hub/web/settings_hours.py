"""Working hours: the week as people write it, public holidays, and single days that differ."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from aiohttp import web

from core.kernel.errors import Rejected
from core.staff.workspace import Workspace
from core.work import hours_json
from core.work.hours import WEEKDAYS
from hub.web import places
from hub.web.settings_forms import Fields, Refused, note, require_version, tried
from hub.web.visits import Visit
from hub.web.words import N_

HERE = "/settings/hours"
_PROPOSED = ["09:00-18:00"] * 5 + ["", ""]
_HOW = N_("Write hours as 09:00-18:00, with a comma between several")
_SPAN = re.compile(r"(\d{1,2})(?:[:.](\d\d))?\s*[-–—]\s*(\d{1,2})(?:[:.](\d\d))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Holiday:
    """A public holiday that is coming."""

    date: date
    name: str


async def show(visit: Visit) -> web.StreamResponse:
    """Show the hours as a form. Until somebody sets them, the usual week is proposed."""
    written: dict[str, Any] = hours_json.to_json(hours_json.from_json(visit.company.schedule))
    week = [_text(written["week"][day]) for day in WEEKDAYS]
    values = {
        "always_open": written["always_open"],
        "time_zone": written["time_zone"],
        "holidays_country": written["holidays_country"],
        "week": week if any(week) else _PROPOSED,
        "days": "\n".join(f"{day} {_text(spans)}".strip() for day, spans in written["days"].items()),
    }
    return await _form(visit, values)


async def save(visit: Visit) -> web.StreamResponse:
    """Set the hours. Deadlines that are running stay as they are."""
    company = await visit.session.get(Workspace, 1, with_for_update=True, populate_existing=True)
    assert company is not None  # the visit has read it

    async def put() -> None:
        require_version(visit, company)
        company.schedule = hours_json.to_json(hours_json.from_json(given))
        company.version += 1

    try:
        given = _read(visit, hours_json.to_json(hours_json.from_json(company.schedule)))
        await tried(visit, put(), fields={"days.": "days", "week": "week_0", "holidays_sub": "holidays_country"})
    except Refused as refused:
        await visit.session.refresh(company)
        return await _form(visit, _typed(visit), refused)
    note(visit, "business_hours.changed", "workspace", 1)
    if visit.is_partial:
        return visit.done(HERE, N_("Saved"))
    return visit.go(HERE + "?saved=yes")


def _read(visit: Visit, before: dict[str, Any]) -> dict[str, Any]:
    """Return the hours in their written form.

    Raises:
        Refused: something is wrong; every field that is says so.
    """
    fields = Fields(visit)
    week: dict[str, list[list[str]]] = {}
    for number, day in enumerate(WEEKDAYS):
        name = f"week_{number}"
        try:
            week[day] = _spans(fields.text(name, most=200))
            hours_json.from_json({"always_open": True, "week": {day: week[day]}})
        except Rejected as error:
            fields.wrong(name, _reason(error.message))
    days: dict[str, list[list[str]]] = {}
    for line in fields.lines("days", most=2000):
        day, _, hours = line.partition(" ")
        try:
            days[day] = _spans(hours)
            hours_json.from_json({"always_open": True, "days": {day: days[day]}})
        except Rejected:
            fields.wrong("days", N_("Write a day as 2026-12-31, and its hours after it: 2026-12-31 09:00-14:00"))
    country = visit.field("holidays_country")
    given = {
        "always_open": fields.ticked("always_open"),
        "time_zone": visit.field("time_zone"),
        "week": week,
        "holidays_country": country,
        "holidays_subdivision": before["holidays_subdivision"] if country == before["holidays_country"] else "",
        "days": days,
    }
    for name in ("time_zone", "holidays_country"):
        try:
            hours_json.from_json({"always_open": True, name: given[name] or None})
        except Rejected:
            fields.wrong(name, N_("Choose one of the list"))
    if not given["always_open"] and not fields.errors and not any(week.values()):
        fields.wrong("week_0", N_("Give at least one day its hours, or work round the clock"))
    fields.check()
    return given


def _spans(text: str) -> list[list[str]]:
    """Read hours as people write them: `09:00-13:00, 14:00-18:00`, `9-18`.

    Raises:
        Rejected: they are none.
    """
    found = []
    for part in re.split(r"[,;]", text):
        if not part.strip():
            continue
        match = _SPAN.fullmatch(part.strip())
        if match is None:
            raise Rejected(_HOW)
        hour, minute, until, until_minute = match.groups()
        found.append([f"{int(hour):02}:{minute or '00'}", f"{int(until):02}:{until_minute or '00'}"])
    return found


def _reason(message: str) -> str:
    """Return what is wrong with a day's hours as it can be translated."""
    return message if message.startswith(("Hours of one day", "Hours that end")) else _HOW


def _text(spans: list[list[str]]) -> str:
    return ", ".join(f"{start}-{end}" for start, end in spans)


def _typed(visit: Visit) -> dict[str, Any]:
    return {
        "always_open": bool(visit.field("always_open")),
        "time_zone": visit.field("time_zone"),
        "holidays_country": visit.field("holidays_country"),
        "week": [visit.field(f"week_{number}") for number in range(7)],
        "days": visit.field("days"),
    }


async def _form(visit: Visit, values: dict[str, Any], refused: Refused | None = None) -> web.Response:
    company = visit.company
    # The library takes 0.2 s to import: beside the event loop, so that nobody else waits.
    known = await asyncio.to_thread(_holiday_countries, visit.viewer.language)
    today = visit.hub.clock.now().date()
    coming = await asyncio.to_thread(_coming, values["holidays_country"], visit.viewer.language, today)
    return visit.page(
        "settings/hours.html",
        status=refused.status if refused else 200,
        values=values,
        errors=refused.errors if refused else {},
        form_error=refused.said if refused else "",
        saved=visit.request.query.get("saved") == "yes" and refused is None,
        time_zones=places.time_zones(values["time_zone"]),
        countries=known,
        version=company.version,
        next_holidays=coming,
    )


@lru_cache(maxsize=8)
def _holiday_countries(language: str) -> places.Choices:
    import holidays

    supported = holidays.list_supported_countries()
    return [(code, name) for code, name in places.countries(language) if code in supported]


@lru_cache(maxsize=64)
def _coming(country: str, language: str, today: date) -> tuple[Holiday, ...]:
    """Return the next public holidays of a country, named in the reader's language where that is known."""
    import holidays

    if country not in holidays.list_supported_countries():
        return ()
    calendar = holidays.country_holidays(country, years=today.year)
    spoken = next((tag for tag in calendar.supported_languages if tag.startswith(language)), None)
    found = holidays.country_holidays(country, years=(today.year, today.year + 1), language=spoken)
    ahead = sorted((day, name) for day, name in found.items() if today <= day <= today + timedelta(days=365))
    return tuple(Holiday(day, name) for day, name in ahead[:5])
