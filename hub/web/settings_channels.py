"""Channels: the list with their health, adding a web form, and the page of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from sqlalchemy import func, select

from channels import registry
from core import connections
from core.connections import Connection, Health
from core.kernel.errors import NotFound, Rejected
from core.sales.leads import Lead
from core.sales.pipelines import Pipeline
from core.staff import access
from core.staff.teams import Team
from hub import connections as configured
from hub.web import places, settings_deliveries
from hub.web.settings_forms import Fields, Refused, note, require_version, tried
from hub.web.snippet import snippet
from hub.web.visits import Visit
from hub.web.words import N_

PROPOSED_RATE = 600
"""Requests a minute that a form added here takes, unless somebody says otherwise: it stops floods, not visitors."""

_ABOUT = {
    "webform": N_("A form on your own site, or a ready page of ours. Takes a minute."),
}


@dataclass(frozen=True, slots=True)
class ShownConnection:
    """A channel in the list."""

    id: int
    kind: str
    title: str
    health: str
    paused_because: str | None
    last_received_at: datetime | None
    leads_today: int
    version: int


async def index(visit: Visit) -> web.StreamResponse:
    """List the channels."""
    today = (
        visit.hub.clock.now()
        .astimezone(ZoneInfo(visit.viewer.time_zone))
        .replace(hour=0, minute=0, second=0, microsecond=0)
    )
    counted = await visit.session.execute(
        select(Lead.connection_id, func.count()).where(Lead.created_at >= today).group_by(Lead.connection_id)
    )
    leads = {row[0]: row[1] for row in counted}
    shown = [
        ShownConnection(
            id=row.id,
            kind=row.kind,
            title=row.title,
            health=str(row.health),
            paused_because=row.paused_because,
            last_received_at=row.last_received_at,
            leads_today=leads.get(row.id, 0),
            version=row.version,
        )
        for row in await connections.all_of(visit.session)
    ]
    return visit.page("settings/channels.html", connections=shown)


async def kinds(visit: Visit) -> web.StreamResponse:
    """Show what can be connected."""
    offered = [
        {"kind": kind, "title": registry.channel_class(kind).title, "about": visit.translate(_ABOUT[kind])}
        for kind in sorted(registry.KINDS)
        if kind in _ABOUT
    ]
    return visit.page("settings/channel_new.html", kinds=offered)


async def blank(visit: Visit, kind: str) -> web.StreamResponse:
    """Show the form for a new channel."""
    if kind != "webform":
        raise NotFound("kind of channel")
    values = {
        "title": "",
        "allowed_origins": "",
        "redirects": "",
        "pipeline_id": "",
        "team_id": "",
        "default_country": "",
        "rate_per_minute": PROPOSED_RATE,
    }
    return await _form(visit, None, values)


async def add(visit: Visit) -> web.StreamResponse:
    """Connect a channel."""
    try:
        title, settings, common = await _read(visit)
        connection = await tried(
            visit,
            configured.create(
                visit.session,
                visit.hub.vault,
                kind="webform",
                title=title,
                settings=settings,
                at=visit.hub.clock.now(),
                actor_id=visit.user.id,
                **common,
            ),
        )
    except Refused as refused:
        return await _form(visit, None, _typed(visit), refused)
    note(visit, "connection.added", "connection", connection.id, {"kind": "webform"})
    return visit.go(f"/settings/channels/{connection.id}")


async def show(visit: Visit, connection_id: int, *, checked: dict[str, Any] | None = None) -> web.StreamResponse:
    """Show a channel: its addresses, what to paste, and what came in last."""
    connection = await access.fetch(visit.session, visit.rights, Connection, connection_id)
    hub = visit.hub
    if connection.paused_because is None and hub.switchboard.by_id(connection.id) is None:
        await hub.switchboard.refresh()  # added a moment ago: its address has to work when it is shown
    base = hub.public_url
    is_form = connection.kind == "webform"
    return visit.page(
        "settings/channel.html",
        connection=connection,
        hook_url=f"{base}/hooks/{connection.key}",
        form_url=f"{base}/f/{connection.slug}" if is_form and connection.slug else None,
        snippet=snippet(connection, base) if is_form else None,
        deliveries=await settings_deliveries.last_of(visit, connection),
        checked=checked,
    )


async def edit(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Show the form of a channel."""
    connection = await access.fetch(visit.session, visit.rights, Connection, connection_id)
    values = {
        "title": connection.title,
        "allowed_origins": "\n".join(connection.settings.get("allowed_origins", ())),
        "redirects": "\n".join(connection.settings.get("redirects", ())),
        "pipeline_id": connection.pipeline_id or "",
        "team_id": connection.team_id or "",
        "default_country": connection.default_country or "",
        "rate_per_minute": connection.rate_per_minute,
    }
    return await _form(visit, connection, values)


async def change(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Change a channel. Every node uses it anew at once."""
    connection = await _locked(visit, connection_id)

    async def put() -> None:
        require_version(visit, connection)
        configured.reconfigure(visit.hub.vault, connection, settings)
        connection.title = title
        for name, value in common.items():
            setattr(connection, name, value)
        await connections.changed(visit.session, connection, at=visit.hub.clock.now(), actor_id=visit.user.id)

    try:
        title, settings, common = await _read(visit)
        await tried(visit, put())
    except Refused as refused:
        await visit.session.refresh(connection)
        return await _form(visit, connection, _typed(visit), refused)
    note(visit, "connection.changed", "connection", connection.id, {"fields": sorted([*common, *settings, "title"])})
    return visit.go(f"/settings/channels/{connection.id}")


async def pause(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Stop a channel."""
    connection = await _locked(visit, connection_id)
    because = visit.translate(N_("Paused by %(name)s")) % {"name": visit.user.name}
    await connections.pause(visit.session, connection, because)
    return await _switched(visit, connection, "connection.paused", N_("Paused: senders are told to come again later"))


async def resume(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Let a channel take and send again."""
    connection = await _locked(visit, connection_id)
    if (reason := configured.trouble(visit.hub.vault, connection)) is not None:
        raise Rejected(reason)
    await connections.resume(visit.session, connection)
    return await _switched(visit, connection, "connection.resumed", N_("It takes requests again"))


async def _switched(visit: Visit, connection: Connection, action: str, message: str) -> web.StreamResponse:
    await connections.changed(visit.session, connection, at=visit.hub.clock.now(), actor_id=visit.user.id)
    note(visit, action, "connection", connection.id)
    return visit.done(f"/settings/channels/{connection.id}", message)


async def check(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Check that a channel could take a request now, without sending one."""
    connection = await access.fetch(visit.session, visit.rights, Connection, connection_id)
    reason = configured.trouble(visit.hub.vault, connection)
    if reason is None and connection.health == Health.PAUSED:
        reason = visit.translate(N_("It is paused. Resume it to take requests again"))
    if not visit.is_partial:
        return await show(visit, connection_id, checked={"ok": reason is None, "detail": reason})
    if reason is not None:
        raise Rejected(reason)
    return visit.done(f"/settings/channels/{connection.id}", N_("Everything is in order: it can take requests"))


async def _locked(visit: Visit, connection_id: int) -> Connection:
    return await access.fetch(visit.session, visit.rights, Connection, connection_id, change=True, lock=True)


async def _read(visit: Visit) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the title, the kind's own settings and those of every connection.

    Raises:
        Refused: something is wrong.
    """
    fields = Fields(visit)
    title = fields.text("title", required=True)
    settings = {name: fields.lines(name) for name in ("allowed_origins", "redirects")}
    for name, lines in settings.items():  # one at a time, so that both are told
        try:
            configured.split_secrets("webform", {name: lines})
        except Rejected as error:
            fields.wrong(name, _reason(str(error), name))
    country = visit.field("default_country") or None
    if country is not None and country not in dict(places.countries("en")):
        fields.wrong("default_country", N_("Choose one of the list"))
    common: dict[str, Any] = {
        "pipeline_id": fields.record_id("pipeline_id"),
        "team_id": fields.record_id("team_id"),
        "default_country": country,
        "rate_per_minute": fields.number("rate_per_minute", most=10_000_000) or 0,
    }
    for name, model in (("pipeline_id", Pipeline), ("team_id", Team)):
        if common[name] is not None and await visit.session.get(model, common[name]) is None:
            fields.wrong(name, N_("Choose one of the list"))
    fields.check()
    return title, settings, common


def _reason(message: str, name: str) -> str:
    """Return what is wrong with a list of addresses as it can be translated; anything else as it was said."""
    if "origin" in message and name == "allowed_origins":
        return N_("Write each site as https://www.example.com, one a line")
    if "address" in message and name == "redirects":
        return N_("Write each page in full, https://www.example.com/thanks, one a line")
    return message


def _typed(visit: Visit) -> dict[str, Any]:
    names = ("title", "allowed_origins", "redirects", "pipeline_id", "team_id", "default_country", "rate_per_minute")
    return {name: visit.field(name) for name in names}


async def _form(
    visit: Visit, connection: Connection | None, values: dict[str, Any], refused: Refused | None = None
) -> web.Response:
    pipelines = await visit.session.execute(select(Pipeline.id, Pipeline.name).order_by(Pipeline.id))
    teams = await visit.session.execute(select(Team.id, Team.name).order_by(Team.name))
    return visit.page(
        "settings/webform.html",
        status=refused.status if refused else 200,
        connection=connection,
        values=values,
        errors=refused.errors if refused else {},
        form_error=refused.said if refused else "",
        pipelines=[tuple(row) for row in pipelines],
        teams=[tuple(row) for row in teams],
        countries=places.countries(visit.viewer.language),
    )
