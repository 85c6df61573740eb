"""Stage rules: what a stage asks for when a deal enters it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select

from core.kernel.errors import Rejected
from core.sales.pipelines import Stage, StageRule
from core.staff import access, users
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.resources.tasks import Kind, Priority
from hub.api.wire import Body, Id, Moment, Page, View, as_id

Minutes = Annotated[int, Meta(ge=1, le=525_600, description="Working minutes.")]


class Escalation(Body):
    """What happens when nobody acts: `after` working minutes past the deadline, to the next in the team or the head."""

    to: Literal["next", "head"]
    after: Annotated[int, Meta(ge=0, le=525_600)] = 0


class StageRuleView(View):
    """On entering a stage somebody gets a task; `assignee_id` null: the deal's owner."""

    id: Id
    stage_id: Id
    title: str
    kind: Kind
    priority: Priority
    due_minutes: int
    reminder_minutes: int | None
    escalation: list[Escalation]
    assignee_id: Id | None
    created_at: Moment


class NewStageRule(Body):
    """A task that entering a stage makes."""

    stage_id: Id
    title: Annotated[str, Meta(min_length=1, max_length=300)]
    due_minutes: Minutes
    kind: Kind = "other"
    priority: Priority = "normal"
    reminder_minutes: Minutes | None = None
    escalation: Annotated[tuple[Escalation, ...], Meta(max_length=10)] = ()
    assignee_id: Id | None = None


class StageRuleChange(Body):
    """What is to change; what is left out stays. Tasks that exist keep their deadlines."""

    title: Annotated[str, Meta(min_length=1, max_length=300)] | UnsetType = UNSET
    due_minutes: Minutes | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    reminder_minutes: Minutes | UnsetType | None = UNSET
    escalation: Annotated[tuple[Escalation, ...], Meta(max_length=10)] | UnsetType = UNSET
    assignee_id: Id | UnsetType | None = UNSET


STAGE_RULES = Listing(
    "stage rules",
    unique=StageRule.id,
    sorts={"id": StageRule.id},
    default="id",
    filters={"stage_id": paging.ids(StageRule.stage_id)},
)


def _rule_view(rule: StageRule) -> StageRuleView:
    return StageRuleView(
        id=Id(rule.id),
        stage_id=Id(rule.stage_id),
        title=rule.title,
        kind=rule.kind,  # type: ignore[arg-type]
        priority=rule.priority,  # type: ignore[arg-type]
        due_minutes=rule.due_minutes,
        reminder_minutes=rule.reminder_minutes,
        escalation=[Escalation(to=step["to"], after=int(step.get("after", 0))) for step in rule.escalation],
        assignee_id=as_id(rule.assignee_id),
        created_at=rule.created_at,
    )


async def list_rules(call: Call, query: ListQuery) -> Page[StageRuleView]:
    """List what stages ask for on entry."""
    found = await STAGE_RULES.page(call.session, access.narrow(select(StageRule), call.rights, StageRule), query)
    return Page(items=[_rule_view(row) for row in found.rows], next=found.next)


async def show_rule(call: Call, rule_id: Id) -> StageRuleView:
    """Show what a stage asks for on entry."""
    return _rule_view(await records.seen(call, StageRule, rule_id))


async def add_rule(call: Call, body: NewStageRule) -> StageRuleView:
    """Have a stage ask for a task on entry."""
    call.rights.require_manage()
    stage = await records.referred(call, Stage, body.stage_id, field="stage_id")
    values = records.given(body) | {"escalation": _steps(body.escalation), "stage_id": stage.id}
    await _check_rule(call, values["due_minutes"], values["reminder_minutes"], values["assignee_id"])
    rule = StageRule(**values, created_at=call.now)
    call.session.add(rule)
    await call.session.flush()
    records.note(call, "stage_rule.added", "stage_rule", rule.id)
    return _rule_view(rule)


async def change_rule(call: Call, rule_id: Id, body: StageRuleChange) -> StageRuleView:
    """Change what a stage asks for on entry."""
    rule = await records.managing(call, StageRule, rule_id)
    values = records.given(body)
    if body.escalation is not UNSET:
        values["escalation"] = _steps(body.escalation)
    await _check_rule(
        call,
        values.get("due_minutes", rule.due_minutes),
        values.get("reminder_minutes", rule.reminder_minutes),
        values.get("assignee_id"),
    )
    for name, value in values.items():
        setattr(rule, name, value)
    records.note(call, "stage_rule.changed", "stage_rule", rule.id, {"fields": sorted(values)})
    return _rule_view(rule)


async def remove_rule(call: Call, rule_id: Id) -> None:
    """Have a stage ask for it no more. Tasks that exist stay."""
    rule = await records.managing(call, StageRule, rule_id)
    await call.session.delete(rule)
    records.note(call, "stage_rule.removed", "stage_rule", rule.id)


def _steps(escalation: tuple[Escalation, ...]) -> list[dict[str, object]]:
    return [{"after": step.after, "to": step.to} for step in escalation]


async def _check_rule(call: Call, due: int, reminder: int | None, assignee_id: int | None) -> None:
    if reminder is not None and reminder >= due:
        raise Rejected("The reminder must come before the deadline", field="reminder_minutes")
    if assignee_id is not None:
        await users.for_work(call.session, assignee_id, field="assignee_id")


ENDPOINTS = (
    Endpoint("GET", "/stage-rules", list_rules, listing=STAGE_RULES),
    Endpoint("POST", "/stage-rules", add_rule, status=201),
    Endpoint("GET", "/stage-rules/{rule_id}", show_rule),
    Endpoint("PATCH", "/stage-rules/{rule_id}", change_rule),
    Endpoint("DELETE", "/stage-rules/{rule_id}", remove_rule),
)
