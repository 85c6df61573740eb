"""The workspace itself: the company's name, country, currency, time zone, language, and its business hours."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import phonenumbers
from msgspec import UNSET, Meta, UnsetType

from core import connections
from core.kernel.errors import Rejected
from core.staff import workspace
from core.staff.workspace import Workspace
from core.work import hours_json
from hub.api import records
from hub.api.endpoints import Call, Endpoint
from hub.api.wire import Body, Currency, Language, View

Hours = tuple[tuple[str, str], ...]
Day = Annotated[Hours, Meta(max_length=20, examples=[[["09:00", "18:00"]]])]


class WorkspaceView(View):
    """What holds for everybody unless a person, team or connection says otherwise.

    `merges_attested`: contacts are merged at once where a provider vouches that their addresses are one person's, as
    when somebody shares their own phone number in a messenger; otherwise they are offered in `/duplicates`.
    """

    name: str
    country: str
    currency: str
    time_zone: str
    language: str
    merges_attested: bool
    version: int


class WorkspaceChange(Body):
    """What is to change; what is left out stays."""

    name: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", examples=["EE"])] | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    time_zone: Annotated[str, Meta(min_length=1, max_length=60, examples=["Europe/Tallinn"])] | UnsetType = UNSET
    language: Language | UnsetType = UNSET
    merges_attested: bool | UnsetType = UNSET


class BusinessHoursView(View):
    """When the company works; deadlines are counted in these minutes. Always open until somebody sets them."""

    always_open: bool
    time_zone: str
    week: dict[str, list[list[str]]]
    holidays_country: str
    holidays_subdivision: str
    days: dict[str, list[list[str]]]
    version: int


class BusinessHours(Body):
    """When the company works. Days are `mon` … `sun`, each a list of from and until; `days` are those that differ.

    Hours end at 24:00 at the latest; an end before the start lies in the next day.
    """

    always_open: bool = False
    time_zone: Annotated[str, Meta(max_length=60)] | UnsetType = UNSET
    week: dict[str, Day] = msgspec.field(default_factory=dict)
    holidays_country: Annotated[str, Meta(max_length=3)] = ""
    holidays_subdivision: Annotated[str, Meta(max_length=10)] = ""
    days: dict[str, Day] = msgspec.field(default_factory=dict)


def _view(company: Workspace) -> WorkspaceView:
    return WorkspaceView(
        name=company.name,
        country=company.country,
        currency=company.currency,
        time_zone=company.time_zone,
        language=company.language,
        merges_attested=company.merges_attested,
        version=company.version,
    )


def _hours_view(company: Workspace) -> BusinessHoursView:
    written: dict[str, Any] = hours_json.to_json(hours_json.from_json(company.schedule))
    return BusinessHoursView(**written, version=company.version)


async def _locked(call: Call) -> Workspace:
    call.rights.require_manage()
    company = await call.session.get(Workspace, 1, with_for_update=True)
    if company is None:
        company = await workspace.get(call.session)
    call.expects(company)
    return company


async def show(call: Call) -> WorkspaceView:
    """Show the workspace."""
    return _view(await workspace.get(call.session))


async def change(call: Call, body: WorkspaceChange) -> WorkspaceView:
    """Change the workspace."""
    company = await _locked(call)
    values = records.given(body)
    if values.get("country", "RU") not in phonenumbers.SUPPORTED_REGIONS:
        raise Rejected("That is no country code such as RU or EE (ISO 3166)", field="country")
    if "time_zone" in values:
        hours_json.from_json({"always_open": True, "time_zone": values["time_zone"].strip() or "?"})
    if changed := workspace.change(company, **values):
        records.note(call, "workspace.changed", "workspace", 1, {"fields": changed})
        await connections.announce(call.session)  # they read phones and write tasks as the company says
    return _view(company)


async def show_hours(call: Call) -> BusinessHoursView:
    """Show the business hours."""
    return _hours_view(await workspace.get(call.session))


async def set_hours(call: Call, body: BusinessHours) -> BusinessHoursView:
    """Set the business hours. Deadlines that are running stay as they are."""
    company = await _locked(call)
    schedule = hours_json.from_json(
        {
            "always_open": body.always_open,
            "time_zone": company.time_zone if body.time_zone is UNSET else body.time_zone,
            "week": body.week,
            "holidays_country": body.holidays_country,
            "holidays_subdivision": body.holidays_subdivision,
            "days": body.days,
        }
    )
    company.schedule = hours_json.to_json(schedule)
    company.version += 1
    records.note(call, "business_hours.changed", "workspace", 1)
    return _hours_view(company)


ENDPOINTS = (
    Endpoint("GET", "/workspace", show),
    Endpoint("PATCH", "/workspace", change, administrative=True),
    Endpoint("GET", "/business-hours", show_hours),
    Endpoint("PUT", "/business-hours", set_hours, administrative=True),
)
