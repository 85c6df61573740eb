"""Channels: the list with their health, which kinds there are, and the page of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from sqlalchemy import func, select

from core import connections
from core.connections import Connection, Health
from core.sales.leads import Lead
from core.staff import access
from core.talk.outbox import ProviderExchange
from core.talk.templates import MessageTemplate
from hub import care, channel_forms, channel_upkeep
from hub import connections as configured
from hub.care import Finding
from hub.channel_forms import GROUPS
from hub.web import settings_deliveries, settings_desk, telephony_guides
from hub.web.channel_guides import GROUP_TITLES, guide_of, is_called
from hub.web.settings_channel_secrets import is_public
from hub.web.settings_forms import note
from hub.web.snippet import snippet
from hub.web.visits import Visit
from hub.web.words import N_

_SAID_BELOW = (
    N_("Ready. Its provider cannot be asked: send something to see it work"),
    N_("Something came over this channel, which would lose where it came from. Pause it instead"),
)
"""What the hub says of channels, for the catalogues."""
_EXCHANGES = 10
_TEMPLATES = 200


@dataclass(frozen=True, slots=True)
class ShownConnection:
    """A channel in the list."""

    id: int
    kind: str
    kind_title: str
    title: str
    health: str
    trouble: str | None
    account: str | None
    last_received_at: datetime | None
    leads_today: int
    version: int


@dataclass(frozen=True, slots=True)
class OfferedKind:
    """A kind that can be connected."""

    kind: str
    title: str
    needs: str


@dataclass(frozen=True, slots=True)
class OfferedGroup:
    """Kinds of one sort."""

    title: str
    kinds: Sequence[OfferedKind]


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
            kind_title=visit.translate(channel_forms.form_of(row.kind).title),
            title=row.title,
            health=str(row.health),
            trouble=row.paused_because or (visit.translate(row.trouble) if row.trouble else None),
            account=row.account,
            last_received_at=row.last_received_at,
            leads_today=leads.get(row.id, 0),
            version=row.version,
        )
        for row in await connections.all_of(visit.session)
    ]
    return visit.page("settings/channels.html", connections=shown)


async def kinds(visit: Visit) -> web.StreamResponse:
    """Show what can be connected: all of it, or what is looked for."""
    wanted = visit.request.query.get("q", "").strip()[:100]
    forms = await asyncio.to_thread(channel_forms.all_forms)
    groups = []
    for group in GROUPS:
        offered = []
        for form in forms:
            title, needs = visit.translate(form.title), visit.translate(guide_of(form.kind).needs)
            said = f"{title} {form.title} {form.kind} {needs} {visit.translate(GROUP_TITLES[group])}".casefold()
            if form.group == group and all(word in said for word in wanted.casefold().split()):
                offered.append(OfferedKind(form.kind, title, needs))
        if offered:
            groups.append(OfferedGroup(visit.translate(GROUP_TITLES[group]), offered))
    return visit.page("settings/channel_new.html", groups=groups, wanted=wanted)


async def show(visit: Visit, connection_id: int, *, finding: Finding | None = None) -> web.StreamResponse:
    """Show a channel: how it does, what to paste where, and what was said over it last."""
    connection = await access.fetch(visit.session, visit.rights, Connection, connection_id)
    hub = visit.hub
    if connection.paused_because is None and hub.switchboard.by_id(connection.id) is None:
        await hub.switchboard.refresh()  # added a moment ago: its address has to work when it is shown
    hook_url = f"{hub.public_url}/hooks/{connection.key}"
    pasted = connection.kind in ("webform", "widget")
    form = channel_forms.form_of(connection.kind)
    exchanges = await visit.session.scalars(
        select(ProviderExchange)
        .where(ProviderExchange.connection_id == connection.id)
        .order_by(ProviderExchange.id.desc())
        .limit(_EXCHANGES)
    )
    templates = await visit.session.scalars(
        select(MessageTemplate)
        .where(MessageTemplate.connection_id == connection.id)
        .order_by(MessageTemplate.is_usable.desc(), MessageTemplate.name, MessageTemplate.language)
        .limit(_TEMPLATES)
    )
    return visit.page(
        "settings/channel.html",
        path=f"/settings/channels/{connection.id}",
        connection=connection,
        kind_title=visit.translate(form.title),
        trouble=visit.translate(connection.trouble) if connection.trouble else None,
        hook_url=hook_url if is_called(connection.kind, connection.settings) else None,
        is_public=is_public(hook_url) or pasted,
        form_url=f"{hub.public_url}/f/{connection.slug}" if connection.kind == "webform" and connection.slug else None,
        snippet=snippet(connection, hub.public_url) if pasted else None,
        folders=_folders(connection),
        steps=[visit.translate(step) for step in guide_of(connection.kind).steps],
        samples=[
            sample._replace(title=visit.translate(sample.title))
            for sample in telephony_guides.samples(connection, hook_url)
        ],
        secrets=[
            {"name": field.name, "title": visit.translate(field.title)}
            for field in form.fields
            if field.is_made and not field.is_advanced
        ],
        has_templates=_has(visit, connection, "templates"),
        templates=list(templates),
        sends=_has(visit, connection, "send"),
        exchanges=list(exchanges),
        deliveries=await settings_deliveries.last_of(visit, connection),
        finding=finding,
        desk=await settings_desk.shown(visit, connection),
    )


def _has(visit: Visit, connection: Connection, ability: str) -> bool:
    live = visit.hub.switchboard.by_id(connection.id)
    return live is not None and hasattr(live.channel, ability)


def _folders(connection: Connection) -> dict[str, str] | None:
    """Return which folders of a mailbox are read and written; None where there is no mailbox."""
    if connection.kind != "email":
        return None
    names = (connection.settings.get(name, "") for name in ("folder", "sent_watched"))
    return {"watched": ", ".join(filter(None, names)), "sent": connection.settings.get("sent_folder", "")}


async def pause(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Stop a channel."""
    connection = await _locked(visit, connection_id)
    because = visit.translate(N_("Paused by %(name)s")) % {"name": visit.user.name}
    await connections.pause(visit.session, connection, because)
    await connections.changed(visit.session, connection, at=visit.hub.clock.now(), actor_id=visit.user.id)
    note(visit, "connection.paused", "connection", connection.id)
    return visit.done(f"/settings/channels/{connection.id}", N_("Paused: senders are told to come again later"))


async def resume(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Let a channel take and send again; what waited for it is sent now."""
    connection = await _locked(visit, connection_id)
    await channel_upkeep.resume(
        visit.session, visit.hub.vault, connection, at=visit.hub.clock.now(), actor_id=visit.user.id
    )
    note(visit, "connection.resumed", "connection", connection.id)
    return visit.done(f"/settings/channels/{connection.id}", N_("It takes requests again"))


async def check(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Ask the provider of a channel whether all is well, without sending anything to anybody."""
    connection = await access.fetch(visit.session, visit.rights, Connection, connection_id, change=True)
    reason = configured.trouble(visit.hub.vault, connection)
    if reason is None and connection.health == Health.PAUSED:
        reason = N_("It is paused. Resume it to take requests again")
    if reason is not None:
        finding = Finding(False, reason, {}, Health(connection.health))
    else:
        await visit.session.commit()  # a provider may take its time, and no transaction is to wait for it
        finding = await _asked(visit, connection_id)
    if visit.is_partial:
        return visit.page("settings/_finding.html", finding=_worded(visit, finding))
    async with visit.hub.database.transaction() as session:
        return await show(replace(visit, session=session), connection_id, finding=_worded(visit, finding))


async def _asked(visit: Visit, connection_id: int) -> Finding:
    await visit.hub.switchboard.refresh()
    live = visit.hub.switchboard.by_id(connection_id)
    if live is None:
        return Finding(False, N_("Its settings cannot be used. Edit them"), {}, Health.DEGRADED)
    return await care.look_at(visit.hub, live)


def _worded(visit: Visit, finding: Finding) -> Finding:
    return finding._replace(detail=visit.translate(finding.detail))


async def remove(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Remove a channel over which nothing came yet, and take our hook back from its provider."""
    connection = await _locked(visit, connection_id)
    live = visit.hub.switchboard.by_id(connection_id)
    await channel_upkeep.remove(visit.session, connection)
    note(visit, "connection.removed", "connection", connection_id, {"title": connection.title})
    await visit.session.commit()
    if live is not None:
        await care.say_farewell(visit.hub, live)
    return visit.go("/settings/channels")


async def _locked(visit: Visit, connection_id: int) -> Connection:
    found: Any = await access.fetch(visit.session, visit.rights, Connection, connection_id, change=True, lock=True)
    connection: Connection = found
    return connection
