"""Connections: the configured uses of a channel kind; in the workspace they are called channels."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import msgspec
import phonenumbers
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select

from channels import registry
from core import connections
from core.connections import Connection
from core.kernel.errors import HubError, Rejected
from core.sales.pipelines import Pipeline
from core.staff import access, users
from core.staff.teams import Team
from hub import care, channel_forms, channel_upkeep
from hub import connections as configured
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Body, Id, Moment, Page, View, as_id
from hub.channel_forms import KindForm

Health = Literal["active", "degraded", "reauthorise", "paused"]
Title = Annotated[str, Meta(min_length=1, max_length=200)]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$", examples=["RU"])]
Zone = Annotated[str, Meta(min_length=1, max_length=60)]
Rate = Annotated[int, Meta(ge=0, le=10_000_000, description="Requests a minute it takes; 0: any number.")]
Settings = Annotated[dict[str, Any], Meta(description="The kind's own, secrets included; see /connections/kinds.")]


class ConnectionView(View):
    """A configured use of a channel kind. Secrets are never told: `secrets` names those that are set."""

    id: Id
    kind: str
    title: str
    key: str
    hook_url: str
    form_url: str | None
    settings: dict[str, Any]
    secrets: list[str]
    default_country: str | None
    time_zone: str | None
    pipeline_id: Id | None
    team_id: Id | None
    owner_id: Id | None
    make_lead: bool
    make_deal: bool
    reply_through: Id | None
    rate_per_minute: int
    health: Health
    paused_because: str | None
    trouble: str | None
    account: str | None
    last_received_at: Moment | None
    last_sent_at: Moment | None
    checked_at: Moment | None
    created_at: Moment
    version: int


class NewConnection(Body):
    """A channel."""

    kind: Annotated[str, Meta(max_length=40)]
    title: Title
    settings: Settings = msgspec.field(default_factory=dict)
    default_country: Country | None = None
    time_zone: Zone | None = None
    pipeline_id: Id | None = None
    team_id: Id | None = None
    owner_id: Id | None = None
    make_lead: bool = True
    make_deal: bool = True
    reply_through: Id | None = None
    rate_per_minute: Rate = 0


class ConnectionChange(Body):
    """What is to change; what is left out stays, secrets included. A setting that is null gets its default back."""

    title: Title | UnsetType = UNSET
    settings: Settings | UnsetType = UNSET
    default_country: Country | UnsetType | None = UNSET
    time_zone: Zone | UnsetType | None = UNSET
    pipeline_id: Id | UnsetType | None = UNSET
    team_id: Id | UnsetType | None = UNSET
    owner_id: Id | UnsetType | None = UNSET
    make_lead: bool | UnsetType = UNSET
    make_deal: bool | UnsetType = UNSET
    reply_through: Id | UnsetType | None = UNSET
    rate_per_minute: Rate | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class KindSetting(View):
    """A setting of a kind.

    `type` is text, secret, choice (one of `choices`), box (true or false), lines (several texts) or number. `made`: a
    secret of your own choice, made at random where none is given. `advanced`: few people need it.
    """

    name: str
    title: str
    description: str
    type: str
    secret: bool
    required: bool
    made: bool
    advanced: bool
    default: Any
    choices: list[str]


class Kind(View):
    """A kind of channel there is."""

    kind: str
    title: str
    group: str
    settings: list[KindSetting]


class Check(View):
    """What the provider says: `detail` tells how it is, or what is wrong and what to do; `facts` are worth showing."""

    ok: bool
    health: Health
    detail: str
    facts: dict[str, str]


CONNECTIONS = Listing(
    "connections",
    unique=Connection.id,
    sorts={"id": Connection.id, "title": Connection.title},
    default="id",
    filters={"kind": paging.one_of(Connection.kind), "health": paging.one_of(Connection.health, Health)},
)


def _view(call: Call, connection: Connection) -> ConnectionView:
    try:
        opened = channel_upkeep.opened(call.hub.vault, connection)
        secrets = sorted(name for name, value in opened.items() if value)
    except HubError:  # sealed under another key: /check says so
        secrets = []
    base = call.hub.public_url
    return ConnectionView(
        id=Id(connection.id),
        kind=connection.kind,
        title=connection.title,
        key=connection.key,
        hook_url=f"{base}/hooks/{connection.key}",
        form_url=f"{base}/f/{connection.slug}" if connection.slug and connection.kind == "webform" else None,
        settings=connection.settings,
        secrets=secrets,
        default_country=connection.default_country,
        time_zone=connection.time_zone,
        pipeline_id=as_id(connection.pipeline_id),
        team_id=as_id(connection.team_id),
        owner_id=as_id(connection.owner_id),
        make_lead=connection.make_lead,
        make_deal=connection.make_deal,
        reply_through=as_id(connection.reply_through),
        rate_per_minute=connection.rate_per_minute,
        health=str(connection.health),  # type: ignore[arg-type]
        paused_because=connection.paused_because,
        trouble=connection.trouble,
        account=connection.account,
        last_received_at=connection.last_received_at,
        last_sent_at=connection.last_sent_at,
        checked_at=connection.checked_at,
        created_at=connection.created_at,
        version=connection.version,
    )


async def index(call: Call, query: ListQuery) -> Page[ConnectionView]:
    """List connections."""
    call.rights.require_manage()
    found = await CONNECTIONS.page(call.session, access.narrow(select(Connection), call.rights, Connection), query)
    return Page(items=[_view(call, row) for row in found.rows], next=found.next)


async def kinds(call: Call) -> Page[Kind]:
    """List the kinds of channels there are, with their settings."""
    forms = await asyncio.to_thread(channel_forms.all_forms)
    return Page(items=[_kind(form) for form in forms], next=None)


def _kind(form: KindForm) -> Kind:
    settings = [
        KindSetting(
            name=field.name,
            title=field.title,
            description=field.description,
            type=field.kind,
            secret=field.kind == "secret",
            required=field.is_required,
            made=field.is_made,
            advanced=field.is_advanced,
            default=field.default,
            choices=list(field.choices),
        )
        for field in form.fields
    ]
    return Kind(kind=form.kind, title=form.title, group=form.group, settings=settings)


async def show(call: Call, connection_id: Id) -> ConnectionView:
    """Show a connection."""
    call.rights.require_manage()
    return _view(call, await records.seen(call, Connection, connection_id))


async def add(call: Call, body: NewConnection) -> ConnectionView:
    """Connect a channel. Point the sender at its `hook_url`.

    Secrets of your own choice (`made` in /connections/kinds) are made at random where you give none, and like all
    others never told: give those that have to be entered at the provider.
    """
    call.rights.require_manage()
    if body.kind not in registry.KINDS:
        raise Rejected(f"There is no kind {body.kind!r}; see /connections/kinds", field="kind")
    common = records.given(body)
    for name in ("kind", "title", "settings"):
        common.pop(name)
    await _check_common(call, common)
    connection = await configured.create(
        call.session,
        call.hub.vault,
        kind=body.kind,
        title=body.title,
        settings=body.settings,
        at=call.now,
        actor_id=call.user_id,
        **common,
    )
    records.note(call, "connection.added", "connection", connection.id, {"kind": body.kind})
    await call.session.flush()
    return _view(call, connection)


async def change(call: Call, connection_id: Id, body: ConnectionChange) -> ConnectionView:
    """Change a connection. Every node uses it anew at once."""
    connection = await records.managing(call, Connection, connection_id)
    values = records.given(body)
    fields = sorted(values)
    if "settings" in values:
        channel_upkeep.reconfigure(call.hub.vault, connection, values.pop("settings"))
    paused = values.pop("paused", None)
    await _check_common(call, values)
    if values.get("reply_through") == connection.id:
        raise Rejected("A connection that replies through itself needs no such setting", field="reply_through")
    if "title" in values:
        values["title"] = values["title"].strip()
        if not values["title"]:
            raise Rejected("A title is needed", field="title")
    for name, value in values.items():
        setattr(connection, name, value)
    if paused is True:
        await connections.pause(call.session, connection, f"Paused by {call.actor.user.name}")
        await connections.changed(call.session, connection, at=call.now, actor_id=call.user_id)
    elif paused is False and connection.paused_because is not None:
        await channel_upkeep.resume(call.session, call.hub.vault, connection, at=call.now, actor_id=call.user_id)
    else:
        await channel_upkeep.changed(call.session, connection, at=call.now, actor_id=call.user_id)
    records.note(call, "connection.changed", "connection", connection.id, {"fields": fields})
    return _view(call, connection)


async def _check_common(call: Call, values: dict[str, Any]) -> None:
    country, zone = values.get("default_country"), values.get("time_zone")
    if country is not None and country not in phonenumbers.SUPPORTED_REGIONS:
        raise Rejected("That is no country code such as RU or EE (ISO 3166)", field="default_country")
    if zone is not None and zone not in available_timezones():
        raise Rejected("That is no time zone such as Europe/Moscow", field="time_zone")
    for name, model in (("pipeline_id", Pipeline), ("team_id", Team), ("reply_through", Connection)):
        wanted = values.get(name)
        if wanted is not None and await call.session.get(model, wanted) is None:
            raise Rejected("There is no such record", field=name)
    if values.get("owner_id") is not None:
        await users.for_work(call.session, values["owner_id"], field="owner_id")


async def remove(call: Call, connection_id: Id) -> None:
    """Remove a connection over which nothing came yet. One that was used is paused instead, so that nothing is lost."""
    connection = await records.managing(call, Connection, connection_id)
    live = call.hub.switchboard.by_id(connection.id)
    await channel_upkeep.remove(call.session, connection)
    records.note(call, "connection.removed", "connection", connection.id)
    await call.session.commit()  # the provider may take its time, and no transaction is to wait for it
    if live is not None:
        await care.say_farewell(call.hub, live)


async def check(call: Call, connection_id: Id) -> Check:
    """Ask the provider of a connection whether all is well. Nothing is sent to anybody.

    The answer comes within half a minute. What is found is kept as the connection's `health` and `trouble`.
    """
    call.rights.require_manage()
    connection = await records.seen(call, Connection, connection_id)
    health: Any = str(connection.health)
    if (reason := configured.trouble(call.hub.vault, connection)) is not None:
        return Check(ok=False, health=health, detail=reason, facts={})
    if connection.paused_because is not None:
        detail = f"{connection.paused_because}. Resume it to take requests again"
        return Check(ok=False, health=health, detail=detail, facts={})
    await call.session.commit()  # the provider may take its time, and no transaction is to wait for it
    await call.hub.switchboard.refresh()
    live = call.hub.switchboard.by_id(connection_id)
    if live is None:
        return Check(ok=False, health="degraded", detail="It cannot be used: look at its settings", facts={})
    finding = await care.look_at(call.hub, live)
    found: Any = str(finding.health)
    return Check(ok=finding.is_well, health=found, detail=finding.detail, facts=finding.facts)


ENDPOINTS = (
    Endpoint("GET", "/connections", index, listing=CONNECTIONS, administrative=True),
    Endpoint("POST", "/connections", add, status=201, administrative=True),
    Endpoint("GET", "/connections/kinds", kinds),
    Endpoint("GET", "/connections/{connection_id}", show, administrative=True),
    Endpoint("PATCH", "/connections/{connection_id}", change, administrative=True),
    Endpoint("DELETE", "/connections/{connection_id}", remove, administrative=True, refuses=(409,)),
    Endpoint("POST", "/connections/{connection_id}/check", check, administrative=True, commits=True),
)
