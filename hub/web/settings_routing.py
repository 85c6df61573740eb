"""Routing rules: who gets what, with their conditions in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.connections import Connection
from core.kernel.errors import Rejected
from core.staff import access
from core.staff.teams import Team
from core.staff.users import User
from core.work import routing_rules
from core.work.routing_rules import RoutingRule
from hub.web.settings_forms import Fields, Refused, note, require_version, saved, sheet, tried
from hub.web.visits import Visit
from hub.web.words import N_

HERE = "/settings/routing"
_TYPED = ("title", "connection_id", "source", "language", "country", "hours", "field_name", "field_value", "target")
_TERRITORY = re.compile(r"[A-Z]{2}|\+[0-9]{1,15}")
_CALLED = {"fields": "field_value", "team_id": "target", "user_id": "target"}


@dataclass(frozen=True, slots=True)
class Target:
    """Who gets it."""

    name: str
    team: bool


@dataclass(frozen=True, slots=True)
class ShownRule:
    """A rule in the list."""

    id: int
    title: str
    position: int
    conditions_text: list[str]
    target: Target
    is_active: bool
    version: int


async def index(visit: Visit) -> web.StreamResponse:
    """List the rules in the order in which they are asked."""
    teams = await _names(visit, select(Team.id, Team.name))
    people = await _names(visit, select(User.id, User.name))
    channels = await _names(visit, select(Connection.id, Connection.title))
    shown = [
        ShownRule(
            id=rule.id,
            title=rule.title,
            position=rule.position,
            conditions_text=in_words(visit, rule.conditions, channels),
            target=(
                Target(teams.get(rule.team_id, ""), True)
                if rule.team_id is not None
                else Target(people.get(rule.user_id or 0, ""), False)
            ),
            is_active=rule.is_active,
            version=rule.version,
        )
        for rule in await routing_rules.in_order(visit.session)
    ]
    default_team = await visit.session.scalar(select(Team).order_by(Team.id).limit(1))  # as core.work.routing has it
    return visit.page("settings/routing.html", rules=shown, default_team=default_team)


def in_words(visit: Visit, conditions: Mapping[str, Any], channels: Mapping[int, str]) -> list[str]:
    """Return what a rule asks, a sentence for each condition."""
    said = []
    either = visit.translate(N_(" or "))
    for name, pattern in (
        ("connection_id", N_("over %(values)s")),
        ("kind", N_("channels of the kind %(values)s")),
        ("source", N_("from %(values)s")),
        ("language", N_("in the language %(values)s")),
        ("country", N_("phone from %(values)s")),
    ):
        if values := conditions.get(name):
            texts = [channels.get(value, f"#{value}") if name == "connection_id" else str(value) for value in values]
            said.append(visit.translate(pattern) % {"values": either.join(texts)})
    for field, values in conditions.get("fields", {}).items():
        said.append(visit.translate(N_("%(field)s is %(value)s")) % {"field": field, "value": either.join(values)})
    if hours := conditions.get("hours"):
        said.append(visit.translate(N_("in working hours") if hours == "in" else N_("after hours")))
    return said


async def blank(visit: Visit) -> web.StreamResponse:
    """Show the form for a new rule."""
    return await _form(visit, None, {**dict.fromkeys(_TYPED, ""), "is_active": True})


async def show(visit: Visit, rule_id: int) -> web.StreamResponse:
    """Show a rule as a form."""
    rule = await access.fetch(visit.session, visit.rights, RoutingRule, rule_id)
    asked = rule.conditions
    field: tuple[str, list[str]] = next(iter(asked.get("fields", {}).items()), ("", []))
    values = {
        "title": rule.title,
        "connection_id": next(iter(asked.get("connection_id", ())), ""),
        "source": ", ".join(asked.get("source", ())),
        "language": ", ".join(asked.get("language", ())),
        "country": ", ".join(asked.get("country", ())),
        "hours": asked.get("hours", ""),
        "field_name": field[0],
        "field_value": ", ".join(field[1]),
        "target": f"team:{rule.team_id}" if rule.team_id is not None else f"user:{rule.user_id}",
        "is_active": rule.is_active,
    }
    return await _form(visit, rule, values)


async def add(visit: Visit) -> web.StreamResponse:
    """Add a rule; it is asked last."""
    try:
        values = await _read(visit, {})
        made = routing_rules.add(visit.session, at=visit.hub.clock.now(), actor_id=visit.user.id, **values)
        rule = await tried(visit, made, fields=_CALLED)
    except Refused as refused:
        return await _form(visit, None, _typed(visit), refused)
    note(visit, "routing_rule.added", "routing_rule", rule.id)
    return saved(visit, HERE, N_("The next request goes by it"))


async def change(visit: Visit, rule_id: int) -> web.StreamResponse:
    """Change a rule."""
    rule = await _locked(visit, rule_id)

    async def put() -> None:
        require_version(visit, rule)
        await routing_rules.change(visit.session, rule, at=visit.hub.clock.now(), actor_id=visit.user.id, **values)

    try:
        values = await _read(visit, rule.conditions)
        await tried(visit, put(), fields=_CALLED)
    except Refused as refused:
        await visit.session.refresh(rule)
        return await _form(visit, rule, _typed(visit), refused)
    note(visit, "routing_rule.changed", "routing_rule", rule.id)
    return saved(visit, HERE, N_("The next request goes by it"))


async def move(visit: Visit, rule_id: int) -> web.StreamResponse:
    """Have a rule asked earlier or later."""
    rule = await _locked(visit, rule_id)
    step = {"-1": -1, "1": 1}.get(visit.field("by"))
    if step is None:
        raise Rejected(visit.translate(N_("Choose one of the list")), field="by")
    await routing_rules.move(visit.session, rule, by=step, at=visit.hub.clock.now(), actor_id=visit.user.id)
    note(visit, "routing_rule.changed", "routing_rule", rule.id, {"fields": ["position"]})
    return visit.done(HERE)


async def remove(visit: Visit, rule_id: int) -> web.StreamResponse:
    """Forget a rule."""
    rule = await _locked(visit, rule_id)
    note(visit, "routing_rule.removed", "routing_rule", rule.id, {"title": rule.title})
    await routing_rules.remove(visit.session, rule, at=visit.hub.clock.now(), actor_id=visit.user.id)
    return saved(visit, HERE, N_("Removed"))


async def _locked(visit: Visit, rule_id: int) -> RoutingRule:
    return await access.fetch(visit.session, visit.rights, RoutingRule, rule_id, change=True, lock=True)


async def _names(visit: Visit, statement: Any) -> dict[int, str]:
    return {row[0]: row[1] for row in await visit.session.execute(statement)}


async def _read(visit: Visit, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule's values. What the form cannot show of its conditions `before` is kept.

    Raises:
        Refused: something is wrong.
    """
    fields = Fields(visit)
    title = fields.text("title", required=True)
    conditions: dict[str, Any] = {name: fields.words(name) for name in ("source", "language", "country")}
    conditions["country"] = [value.upper() for value in conditions["country"]]
    conditions["kind"] = before.get("kind", [])
    conditions["hours"] = fields.one_of("hours", ("", "in", "after"))
    conditions["connection_id"] = await _channels(visit, fields, before.get("connection_id", []))
    for country in conditions["country"]:
        if not _TERRITORY.fullmatch(country):
            fields.wrong("country", N_("Write countries or beginnings of numbers with commas: RU, +7495"))
    name, accepted = fields.text("field_name"), fields.words("field_value")
    if accepted and not name:
        fields.wrong("field_name", N_("Name the field"))
    if name and not accepted:
        fields.wrong("field_value", N_("Name what it has to be, several with commas"))
    kept = list(before.get("fields", {}).items())[1:]
    conditions["fields"] = dict([(name, accepted)] if name else []) | dict(kept)
    kind, _, number = visit.field("target").partition(":")
    if kind not in ("team", "user") or not (number.isascii() and number.isdigit() and len(number) < 19):
        fields.wrong("target", N_("Choose who gets it"))
    fields.check()
    return {
        "title": title,
        "conditions": {key: value for key, value in conditions.items() if value},
        "team_id": int(number) if kind == "team" else None,
        "user_id": int(number) if kind == "user" else None,
        "is_active": fields.ticked("is_active"),
    }


async def _channels(visit: Visit, fields: Fields, before: list[int]) -> list[int]:
    chosen = fields.record_id("connection_id")
    if chosen is None:
        return []
    if before and chosen == before[0]:
        return before  # of several, which the API can set, the form shows the first
    if await visit.session.get(Connection, chosen) is None:
        fields.wrong("connection_id", N_("Choose one of the list"))
    return [chosen]


def _typed(visit: Visit) -> dict[str, Any]:
    return {name: visit.field(name) for name in _TYPED} | {"is_active": bool(visit.field("is_active"))}


async def _form(
    visit: Visit, rule: RoutingRule | None, values: dict[str, Any], refused: Refused | None = None
) -> web.Response:
    teams = await visit.session.execute(select(Team.id, Team.name).order_by(Team.name))
    people = await visit.session.execute(
        select(User.id, User.name).where(User.is_active.is_(True)).order_by(User.name, User.id)
    )
    channels = await visit.session.execute(select(Connection.id, Connection.title).order_by(Connection.title))
    team = visit.translate(N_("Team %(name)s"))
    return sheet(
        visit,
        "settings/_rule.html",
        N_("Rule") if rule else N_("New rule"),
        refused=refused,
        rule=rule,
        values=values,
        connections=[tuple(row) for row in channels],
        targets=[
            *((f"team:{row.id}", team % {"name": row.name}) for row in teams),
            *((f"user:{row.id}", row.name) for row in people),
        ],
    )
