"""Routing rules: which requests go to which team or person."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import func, select

from core.kernel.errors import Rejected
from core.staff import access, users
from core.staff.teams import Team
from core.work.routing_conditions import conditions_from_json, conditions_to_json
from core.work.routing_rules import RoutingRule
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Body, Id, Moment, Page, View, as_id

Title = Annotated[str, Meta(min_length=1, max_length=200)]
Position = Annotated[int, Meta(ge=0, le=1_000_000)]
Conditions = Annotated[
    dict[str, Any],
    Meta(
        description="All must hold; each lists what it accepts: connection_id, kind, source, language, country, "
        "fields, hours (in, after).",
        examples=[{"kind": ["webform"], "country": ["RU", "+374"], "fields": {"city": ["Tallinn"]}, "hours": "after"}],
    ),
]


class RoutingRuleView(View):
    """Of those whose conditions all hold the first by position decides; it names a team or a person."""

    id: Id
    title: str
    position: int
    conditions: dict[str, Any]
    team_id: Id | None
    user_id: Id | None
    is_active: bool
    created_at: Moment
    version: int


class NewRoutingRule(Body):
    """A rule for a team or a person. Without a position it comes last."""

    title: Title
    conditions: Conditions = msgspec.field(default_factory=dict)
    team_id: Id | None = None
    user_id: Id | None = None
    position: Position | None = None
    is_active: bool = True


class RoutingRuleChange(Body):
    """What is to change; what is left out stays. Naming a person takes it from the team, and the other way round."""

    title: Title | UnsetType = UNSET
    conditions: Conditions | UnsetType = UNSET
    team_id: Id | UnsetType = UNSET
    user_id: Id | UnsetType = UNSET
    position: Position | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


ROUTING_RULES = Listing(
    "routing rules",
    unique=RoutingRule.id,
    sorts={"position": RoutingRule.position},
    default="position",
    filters={
        "is_active": paging.flag(lambda: RoutingRule.is_active.is_(True), "Whether it counts."),
        "team_id": paging.ids(RoutingRule.team_id),
        "user_id": paging.ids(RoutingRule.user_id),
    },
)


def _view(rule: RoutingRule) -> RoutingRuleView:
    return RoutingRuleView(
        id=Id(rule.id),
        title=rule.title,
        position=rule.position,
        conditions=rule.conditions,
        team_id=as_id(rule.team_id),
        user_id=as_id(rule.user_id),
        is_active=rule.is_active,
        created_at=rule.created_at,
        version=rule.version,
    )


async def index(call: Call, query: ListQuery) -> Page[RoutingRuleView]:
    """List routing rules, in the order in which they are asked."""
    call.rights.require_manage()
    found = await ROUTING_RULES.page(call.session, access.narrow(select(RoutingRule), call.rights, RoutingRule), query)
    return Page(items=[_view(row) for row in found.rows], next=found.next)


async def show(call: Call, rule_id: Id) -> RoutingRuleView:
    """Show a routing rule."""
    call.rights.require_manage()
    return _view(await records.seen(call, RoutingRule, rule_id))


async def add(call: Call, body: NewRoutingRule) -> RoutingRuleView:
    """Add a routing rule."""
    call.rights.require_manage()
    if (body.team_id is None) == (body.user_id is None):
        raise Rejected("Name either a team or a person", field="team_id")
    await _check_target(call, body.team_id, body.user_id)
    last = await call.session.scalar(select(func.max(RoutingRule.position)))
    rule = RoutingRule(
        title=_title(body.title),
        conditions=conditions_to_json(conditions_from_json(body.conditions)),
        team_id=body.team_id,
        user_id=body.user_id,
        position=body.position if body.position is not None else 0 if last is None else last + 1,
        is_active=body.is_active,
        created_at=call.now,
    )
    call.session.add(rule)
    await call.session.flush()
    records.note(call, "routing_rule.added", "routing_rule", rule.id)
    return _view(rule)


async def change(call: Call, rule_id: Id, body: RoutingRuleChange) -> RoutingRuleView:
    """Change a routing rule."""
    rule = await records.managing(call, RoutingRule, rule_id)
    values = records.given(body)
    if "team_id" in values and "user_id" in values:
        raise Rejected("Name either a team or a person", field="team_id")
    await _check_target(call, values.get("team_id"), values.get("user_id"))
    if "team_id" in values:
        rule.user_id = None
    if "user_id" in values:
        rule.team_id = None
    if "conditions" in values:
        values["conditions"] = conditions_to_json(conditions_from_json(values["conditions"]))
    if "title" in values:
        values["title"] = _title(values["title"])
    for name, value in values.items():
        setattr(rule, name, value)
    rule.version += 1
    records.note(call, "routing_rule.changed", "routing_rule", rule.id, {"fields": sorted(values)})
    return _view(rule)


async def remove(call: Call, rule_id: Id) -> None:
    """Remove a routing rule."""
    rule = await records.managing(call, RoutingRule, rule_id)
    await call.session.delete(rule)
    records.note(call, "routing_rule.removed", "routing_rule", rule.id)


def _title(text: str) -> str:
    if not text.strip():
        raise Rejected("A title is needed", field="title")
    return text.strip()


async def _check_target(call: Call, team_id: int | None, user_id: int | None) -> None:
    if team_id is not None and await call.session.get(Team, int(team_id)) is None:
        raise Rejected("There is no such team", field="team_id")
    if user_id is not None:
        await users.for_work(call.session, user_id, field="user_id")


ENDPOINTS = (
    Endpoint("GET", "/routing-rules", index, listing=ROUTING_RULES, administrative=True),
    Endpoint("POST", "/routing-rules", add, status=201, administrative=True),
    Endpoint("GET", "/routing-rules/{rule_id}", show, administrative=True),
    Endpoint("PATCH", "/routing-rules/{rule_id}", change, administrative=True),
    Endpoint("DELETE", "/routing-rules/{rule_id}", remove, administrative=True),
)
