"""Stage rules: the task that a stage gives as a deal enters it."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.kernel.errors import NotFound
from core.sales import stages
from core.sales.pipelines import Stage, StageRule
from core.staff import access
from core.staff.users import User
from core.work.tasks import TaskKind
from hub.web.settings_forms import Fields, Refused, note, saved, sheet, tried
from hub.web.visits import Visit
from hub.web.words import N_

HERE = "/settings/pipelines"
_TYPED = (
    "title",
    "kind",
    "due_minutes",
    "reminder_minutes",
    "escalate_next",
    "escalate_head",
    "assignee_id",
    "priority",
)
_PRIORITIES = ("low", "normal", "high", "urgent")


async def blank(visit: Visit) -> web.StreamResponse:
    """Show the form for one more task of a stage."""
    stage = await _stage(visit, visit.request.query.get("stage", ""))
    proposed = {"kind": "call", "priority": "normal", "due_minutes": "15", "escalate_head": "0"}
    values = dict.fromkeys(_TYPED, "") | proposed
    return await _form(visit, None, stage, values)


async def show(visit: Visit, rule_id: int) -> web.StreamResponse:
    """Show a stage's task as a form."""
    rule = await access.fetch(visit.session, visit.rights, StageRule, rule_id)
    stage = await access.fetch(visit.session, visit.rights, Stage, rule.stage_id)
    late = {step["to"]: step.get("after", 0) for step in reversed(rule.escalation)}
    values = {
        "title": rule.title,
        "kind": rule.kind,
        "due_minutes": rule.due_minutes,
        "reminder_minutes": "" if rule.reminder_minutes is None else rule.reminder_minutes,
        "escalate_next": late.get("next", ""),
        "escalate_head": late.get("head", ""),
        "assignee_id": rule.assignee_id or "",
        "priority": rule.priority,
    }
    return await _form(visit, rule, stage, values)


async def add(visit: Visit) -> web.StreamResponse:
    """Have a stage give one more task."""
    stage = await _stage(visit, visit.field("stage_id"))
    try:
        values = _read(visit, [])
        made = stages.add_rule(visit.session, stage, at=visit.hub.clock.now(), actor_id=visit.user.id, **values)
        rule = await tried(visit, made)
    except Refused as refused:
        return await _form(visit, None, stage, _typed(visit), refused)
    note(visit, "stage_rule.added", "stage_rule", rule.id)
    return saved(visit, HERE, N_("The next deal that enters the stage gets it"))


async def change(visit: Visit, rule_id: int) -> web.StreamResponse:
    """Change a stage's task. Those given already keep their deadlines."""
    rule = await access.fetch(visit.session, visit.rights, StageRule, rule_id, change=True, lock=True)
    stage = await access.fetch(visit.session, visit.rights, Stage, rule.stage_id)
    try:
        values = _read(visit, rule.escalation)
        made = stages.change_rule(visit.session, rule, at=visit.hub.clock.now(), actor_id=visit.user.id, **values)
        await tried(visit, made)
    except Refused as refused:
        await visit.session.refresh(rule)
        return await _form(visit, rule, stage, _typed(visit), refused)
    note(visit, "stage_rule.changed", "stage_rule", rule.id)
    return saved(visit, HERE, N_("The next deal that enters the stage gets it"))


async def remove(visit: Visit, rule_id: int) -> web.StreamResponse:
    """Have a stage give it no more."""
    rule = await access.fetch(visit.session, visit.rights, StageRule, rule_id, change=True, lock=True)
    note(visit, "stage_rule.removed", "stage_rule", rule.id, {"title": rule.title})
    await stages.remove_rule(visit.session, rule, at=visit.hub.clock.now(), actor_id=visit.user.id)
    return saved(visit, HERE, N_("Removed"))


async def _stage(visit: Visit, typed: str) -> Stage:
    if not (typed.isascii() and typed.isdigit() and len(typed) < 19):
        raise NotFound("stage")
    return await access.fetch(visit.session, visit.rights, Stage, int(typed))


def _read(visit: Visit, before: list[Any]) -> dict[str, Any]:
    """Return a rule's values. Of several steps to the same one `before`, the form changes the first and keeps the rest.

    Raises:
        Refused: something is wrong.
    """
    fields = Fields(visit)
    steps: list[dict[str, Any]] = []
    for name, to in (("escalate_next", "next"), ("escalate_head", "head")):
        late = fields.number(name)
        if late is not None:
            steps.append({"after": late, "to": to})
        steps.extend([step for step in before if step["to"] == to][1:])
    values = {
        "title": fields.text("title", most=300, required=True),
        "kind": fields.one_of("kind", tuple(kind.value for kind in TaskKind)),
        "priority": fields.one_of("priority", _PRIORITIES) if visit.field("priority") else "normal",
        "due_minutes": fields.number("due_minutes", least=1, required=True),
        "reminder_minutes": fields.number("reminder_minutes", least=1),
        "assignee_id": fields.record_id("assignee_id"),
        "escalation": sorted(steps, key=lambda step: int(step["after"])),
    }
    fields.check()
    return values


def _typed(visit: Visit) -> dict[str, Any]:
    return {name: visit.field(name) for name in _TYPED}


async def _form(
    visit: Visit, rule: StageRule | None, stage: Stage, values: dict[str, Any], refused: Refused | None = None
) -> web.Response:
    people = await visit.session.execute(
        select(User.id, User.name).where(User.is_active.is_(True)).order_by(User.name, User.id)
    )
    return sheet(
        visit,
        "settings/_stage_rule.html",
        N_("Task of a stage"),
        refused=refused,
        rule=rule,
        stage=stage,
        values=values,
        people=[tuple(row) for row in people],
    )
