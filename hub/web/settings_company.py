"""The company: its name, where it works, its money and language, and whether contacts are merged by themselves."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from core import connections
from core.staff import workspace
from core.staff.workspace import Workspace
from hub.i18n import LANGUAGES
from hub.web import places
from hub.web.settings_forms import Fields, Refused, note, require_version, tried
from hub.web.visits import Visit
from hub.web.words import N_

HERE = "/settings/company"
_TYPED = ("name", "country", "currency", "time_zone", "language")


async def show(visit: Visit) -> web.StreamResponse:
    """Show the company as a form."""
    values = {name: getattr(visit.company, name) for name in _TYPED}
    return await _form(visit, {**values, "merges_attested": visit.company.merges_attested})


async def save(visit: Visit) -> web.StreamResponse:
    """Take what was changed. What exists already stays as it was written down, its currency and language included."""
    company = await visit.session.get(Workspace, 1, with_for_update=True, populate_existing=True)
    assert company is not None  # the visit has read it
    changed: list[str] = []

    async def put() -> None:
        require_version(visit, company)
        changed.extend(workspace.change(company, **given))

    try:
        given = _read(visit)
        await tried(visit, put())
    except Refused as refused:
        await visit.session.refresh(company)
        typed = {name: visit.field(name) for name in _TYPED}
        return await _form(visit, {**typed, "merges_attested": bool(visit.field("merges_attested"))}, refused)
    if changed:
        note(visit, "workspace.changed", "workspace", 1, {"fields": changed})
        await connections.announce(visit.session)  # they read phones and write tasks as the company says
    if visit.is_partial:
        return visit.done(HERE, N_("Saved"))
    return visit.go(HERE + "?saved=yes")


def _read(visit: Visit) -> dict[str, Any]:
    """Return what was typed.

    Raises:
        Refused: something is wrong; every field that is says so.
    """
    fields, before = Fields(visit), visit.company
    given: dict[str, Any] = {
        "name": fields.text("name", required=True),
        "country": fields.one_of("country", (*dict(places.countries("en")), before.country)),
        "currency": fields.one_of("currency", (*dict(places.currencies("en")), before.currency)),
        "time_zone": fields.one_of("time_zone", tuple(dict(places.time_zones(before.time_zone)))),
        "language": fields.one_of("language", tuple(LANGUAGES)),
        "merges_attested": fields.ticked("merges_attested"),
    }
    fields.check()
    return given


async def _form(visit: Visit, values: dict[str, Any], refused: Refused | None = None) -> web.Response:
    return visit.page(
        "settings/company.html",
        status=refused.status if refused else 200,
        values=values,
        errors=refused.errors if refused else {},
        form_error=refused.said if refused else "",
        countries=places.countries(visit.viewer.language),
        currencies=places.currencies(visit.viewer.language),
        time_zones=places.time_zones(values["time_zone"]),
        version=visit.company.version,
        saved=visit.request.query.get("saved") == "yes" and refused is None,
    )
