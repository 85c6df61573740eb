"""Channels: the form of each kind, drawn from its settings class, and what is typed into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from sqlalchemy import select

from channels import registry
from core import connections
from core.connections import Connection
from core.kernel.errors import HubError
from core.sales.pipelines import Pipeline
from core.staff import access
from core.staff.teams import Team
from core.staff.users import User
from hub import channel_forms, channel_upkeep, i18n
from hub import connections as configured
from hub.channel_forms import FormField, KindForm
from hub.web import places, settings_channel_secrets
from hub.web.channel_guides import CHOICES, guide_of, is_called
from hub.web.settings_channel_secrets import hint
from hub.web.settings_forms import Fields, Refused, note, require_version, tried
from hub.web.visits import Visit
from hub.web.words import N_

PROPOSED_RATE = 600
"""Requests a minute that a form added here takes, unless somebody says otherwise: it stops floods, not visitors."""

_SAID_BELOW = (
    N_("This is needed"),
    N_("That is too long"),
    N_("Choose one of the list"),
    N_("This is not written as it should be"),
    N_("Write a number"),
    N_("Write a number from %(ge)s on"),
    N_("Write a number above %(gt)s"),
    N_("Write a number up to %(le)s"),
    N_("Write a number below %(lt)s"),
)
"""What `hub.channel_forms` says of a field, for the catalogues."""

_COMMON = (
    "title",
    "pipeline_id",
    "team_id",
    "owner_id",
    "becomes",
    "default_country",
    "time_zone",
    "rate_per_minute",
    "reply_through",
)
_RESERVED = frozenset({*_COMMON, "kind", "version", "csrf_token"})
_BECOMES = ("deal", "lead", "conversation")
"""What a request makes, most first."""


@dataclass(frozen=True, slots=True)
class ShownField:
    """A setting of the kind on its form, in the person's language. `is_set`: a secret that is kept already."""

    name: str
    title: str
    hint: str
    kind: str
    is_required: bool
    is_made: bool
    is_advanced: bool
    is_long: bool
    is_set: bool
    value: Any
    choices: Sequence[tuple[str, str]]


async def blank(visit: Visit, kind: str) -> web.StreamResponse:
    """Show the form for a new channel."""
    form = channel_forms.form_of(kind)
    common = dict.fromkeys(_COMMON, "") | {"becomes": "deal"}
    if form.group == "form":
        common["rate_per_minute"] = str(PROPOSED_RATE)
    return await _form(visit, form, None, common, {})


async def add(visit: Visit) -> web.StreamResponse:
    """Connect a channel. What was made at random for it is shown this once."""
    form = channel_forms.form_of(visit.field("kind") or "webform")
    try:
        common, own = await _read(visit, form, None)
        connection: Connection = await tried(
            visit,
            configured.create(
                visit.session,
                visit.hub.vault,
                kind=form.kind,
                settings=own,
                at=visit.hub.clock.now(),
                actor_id=visit.user.id,
                **common,
            ),
        )
    except Refused as refused:
        return await _form(visit, form, None, _typed(visit), _typed_own(visit, form), refused)
    note(visit, "connection.added", "connection", connection.id, {"kind": form.kind})
    kept = {**connection.settings, **channel_upkeep.opened(visit.hub.vault, connection)}
    shown = channel_forms.made_at_random(form, own, kept)
    if shown and is_called(form.kind, connection.settings):
        return settings_channel_secrets.once(visit, connection, shown, is_new=True)
    return visit.go(f"/settings/channels/{connection.id}")


async def edit(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Show the form of a channel."""
    connection = await access.fetch(visit.session, visit.rights, Connection, connection_id)
    common = {
        "title": connection.title,
        "pipeline_id": connection.pipeline_id or "",
        "team_id": connection.team_id or "",
        "owner_id": connection.owner_id or "",
        "becomes": _BECOMES[0 if connection.make_lead and connection.make_deal else 1 if connection.make_lead else 2],
        "default_country": connection.default_country or "",
        "time_zone": connection.time_zone or "",
        "rate_per_minute": connection.rate_per_minute,
        "reply_through": connection.reply_through or "",
    }
    return await _form(visit, channel_forms.form_of(connection.kind), connection, common, connection.settings)


async def change(visit: Visit, connection_id: int) -> web.StreamResponse:
    """Change a channel. Every node uses it anew at once, and its provider is told what it has to know."""
    connection = await access.fetch(visit.session, visit.rights, Connection, connection_id, change=True, lock=True)
    form = channel_forms.form_of(connection.kind)

    async def put() -> None:
        require_version(visit, connection)
        channel_upkeep.reconfigure(visit.hub.vault, connection, own)
        for name, value in common.items():
            setattr(connection, name, value)
        await channel_upkeep.changed(visit.session, connection, at=visit.hub.clock.now(), actor_id=visit.user.id)

    try:
        common, own = await _read(visit, form, connection)
        await tried(visit, put())
    except Refused as refused:
        await visit.session.refresh(connection)
        return await _form(visit, form, connection, _typed(visit), _typed_own(visit, form), refused)
    note(visit, "connection.changed", "connection", connection.id, {"fields": sorted([*common, *own])})
    return visit.go(f"/settings/channels/{connection.id}")


# --- reading ---


async def _read(visit: Visit, form: KindForm, connection: Connection | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings every connection has, and the kind's own.

    Raises:
        Refused: something is wrong.
    """
    fields = Fields(visit)
    common = await _read_common(visit, fields, connection)
    own = {}
    for field in form.fields:
        given, value = _own(visit, field, is_new=connection is None)
        if given:
            own[field.name] = value
    settings = registry.settings_class(form.kind)
    if connection is None:
        values = {name: value for name, value in configured.completed(form.kind, own).items() if value is not None}
        own = {name: value for name, value in own.items() if value is not None}
    else:
        values = channel_upkeep.merged(visit.hub.vault, connection, own)
    for name, (sentence, numbers) in channel_forms.wrongs(settings, values).items():
        fields.errors.setdefault(_input(name), _filled(visit.translate(sentence), numbers))
    fields.check()
    return common, own


def _filled(sentence: str, numbers: dict[str, Any]) -> str:
    try:
        return sentence % numbers
    except (KeyError, ValueError, TypeError):
        return sentence


def _input(name: str) -> str:
    """Return what the input of a kind's setting is called: like the setting, unless every channel has one so called."""
    return f"own_{name}" if name in _RESERVED else name


def _own(visit: Visit, field: FormField, *, is_new: bool) -> tuple[bool, Any]:
    """Return whether a field says something, and what; None for the setting's default."""
    name = _input(field.name)
    if field.kind == "box":
        return True, bool(visit.field(name))
    if field.kind == "secret":
        if visit.field(f"clear_{name}") and not field.is_required and not is_new:
            return True, None
        typed = visit.field(name).replace("\0", "")
        return bool(typed), typed
    if name not in visit.form:
        return False, None
    typed = str(visit.form.get(name, "")).replace("\0", "").replace("\r\n", "\n")
    value = typed.splitlines() if field.kind == "lines" else channel_forms.from_text(field, typed)
    if field.kind == "lines":
        return True, [line.strip() for line in value if line.strip()]
    return True, value if value != "" else None


async def _read_common(visit: Visit, fields: Fields, connection: Connection | None) -> dict[str, Any]:
    becomes = fields.one_of("becomes", _BECOMES) if visit.field("becomes") else "deal"
    common: dict[str, Any] = {
        "title": fields.text("title", required=True),
        "pipeline_id": fields.record_id("pipeline_id"),
        "team_id": fields.record_id("team_id"),
        "owner_id": fields.record_id("owner_id"),
        "make_lead": becomes != "conversation",
        "make_deal": becomes == "deal",
        "default_country": visit.field("default_country") or None,
        "time_zone": visit.field("time_zone") or None,
        "rate_per_minute": fields.number("rate_per_minute", most=10_000_000) or 0,
        "reply_through": fields.record_id("reply_through"),
    }
    if common["default_country"] not in {None, *dict(places.countries("en"))}:
        fields.wrong("default_country", N_("Choose one of the list"))
    if common["time_zone"] not in {None, *dict(places.time_zones())}:
        fields.wrong("time_zone", N_("Choose one of the list"))
    known: tuple[tuple[str, type[Any]], ...] = (
        ("pipeline_id", Pipeline),
        ("team_id", Team),
        ("owner_id", User),
        ("reply_through", Connection),
    )
    for name, model in known:
        if common[name] is None:
            continue
        found = await visit.session.get(model, common[name])
        if found is None or (name == "owner_id" and not found.is_active and common[name] != _owner(connection)):
            fields.wrong(name, N_("Choose one of the list"))
    if connection is not None and common["reply_through"] == connection.id:
        common["reply_through"] = None
    return common


def _owner(connection: Connection | None) -> int | None:
    return None if connection is None else connection.owner_id


def _typed(visit: Visit) -> dict[str, Any]:
    return {name: visit.field(name) for name in _COMMON}


def _typed_own(visit: Visit, form: KindForm) -> dict[str, Any]:
    """Return what was typed, for showing it again; secrets stay away."""
    typed: dict[str, Any] = {}
    for field in form.fields:
        name = _input(field.name)
        if field.kind == "box":
            typed[field.name] = bool(visit.field(name))
        elif field.kind != "secret" and name in visit.form:
            typed[field.name] = str(visit.form.get(name, ""))
    return typed


# --- showing ---


async def _form(
    visit: Visit,
    form: KindForm,
    connection: Connection | None,
    common: dict[str, Any],
    own: dict[str, Any],
    refused: Refused | None = None,
) -> web.Response:
    kept = _kept(visit, connection)
    errors = refused.errors if refused else {}
    fields = [_shown(visit, field, own, is_set=field.name in kept) for field in form.fields]
    pipelines = await visit.session.execute(select(Pipeline.id, Pipeline.name).order_by(Pipeline.id))
    teams = await visit.session.execute(select(Team.id, Team.name).order_by(Team.name))
    owner = _owner(connection)
    people = await visit.session.execute(
        select(User.id, User.name).where(User.is_active.is_(True) | (User.id == owner)).order_by(User.name)
    )
    return visit.page(
        "settings/channel_form.html",
        status=refused.status if refused else 200,
        connection=connection,
        kind=form.kind,
        kind_title=visit.translate(form.title),
        steps=[visit.translate(step) for step in guide_of(form.kind).steps],
        fields=[field for field in fields if not field.is_advanced],
        advanced=[field for field in fields if field.is_advanced],
        advanced_is_open=any(field.is_advanced and field.name in errors for field in fields),
        common_is_open=any(name in errors for name in _COMMON if name != "title"),
        values=common,
        errors=errors,
        form_error=refused.said if refused else "",
        pipelines=[tuple(row) for row in pipelines],
        teams=[tuple(row) for row in teams],
        people=[tuple(row) for row in people],
        others=await _ways_to_answer(visit, connection),
        countries=places.countries(visit.viewer.language),
        zones=places.time_zones(),
    )


def _kept(visit: Visit, connection: Connection | None) -> set[str]:
    """Return the secrets that are set; none where they cannot be opened any more and have to be entered again."""
    if connection is None:
        return set()
    try:
        return {name for name, value in channel_upkeep.opened(visit.hub.vault, connection).items() if value}
    except HubError:
        return set()


def _shown(visit: Visit, field: FormField, own: dict[str, Any], *, is_set: bool) -> ShownField:
    value = own.get(field.name, field.default)
    if isinstance(value, list | tuple):
        value = "\n".join(str(line) for line in value)
    return ShownField(
        name=_input(field.name),
        title=visit.translate(field.title),
        hint=hint(visit, field),
        kind=field.kind,
        is_required=field.is_required,
        is_made=field.is_made,
        is_advanced=field.is_advanced,
        is_long=field.is_long,
        is_set=is_set,
        value="" if value is None or field.kind == "secret" else value,
        choices=[(choice, _in_words(visit, choice)) for choice in field.choices],
    )


def _in_words(visit: Visit, choice: str) -> str:
    if choice in CHOICES:
        return visit.translate(CHOICES[choice])
    return i18n.LANGUAGES.get(choice, choice) or "—"


async def _ways_to_answer(visit: Visit, connection: Connection | None) -> list[tuple[int, str]]:
    """Return the other channels over which something can be said, for answers to what comes over this one."""
    rows = await connections.all_of(visit.session)
    return [
        (row.id, row.title)
        for row in rows
        if (connection is None or row.id != connection.id) and hasattr(registry.channel_class(row.kind), "send")
    ]
