"""What entering a stage sets going: its rules make tasks with deadlines on the working-hours clock."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.kernel.db import insert_rows, reserve_ids
from core.sales.deals import Deal
from core.sales.pipelines import Stage, StageRule
from core.staff import workspace
from core.work import hours_json
from core.work.hours import Schedule
from core.work.tasks import EscalationStep, StepAction, Task, TaskStatus


def task_row(
    rule: StageRule,
    schedule: Schedule,
    *,
    task_id: int,
    at: datetime,
    assignee_id: int | None,
    team_id: int | None,
    contact_id: int,
    deal_id: int | None,
    lead_id: int | None,
    conversation_id: int | None = None,
    title: str | None = None,
) -> dict[str, Any]:
    """Make the row of a rule's task. The deadline is counted in working minutes from `at`."""
    return {
        "id": task_id,
        "title": title or rule.title,
        "kind": rule.kind,
        "status": TaskStatus.TODO.value,
        "priority": rule.priority,
        "assignee_id": assignee_id,
        "team_id": team_id,
        "contact_id": contact_id,
        "deal_id": deal_id,
        "lead_id": lead_id,
        "conversation_id": conversation_id,
        "stage_rule_id": rule.id,
        "due_at": schedule.add(at, rule.due_minutes),
        "created_at": at,
    }


def step_rows(
    rule: StageRule, schedule: Schedule, *, task_id: int, at: datetime, due_at: datetime
) -> list[dict[str, Any]]:
    """Make the rows of all that happens if nobody does the task: a reminder, the breach, the escalation."""
    steps: list[tuple[str, datetime]] = []
    if rule.reminder_minutes is not None and rule.reminder_minutes < rule.due_minutes:
        steps.append((StepAction.REMIND.value, schedule.add(at, rule.reminder_minutes)))
    steps.append((StepAction.BREACH.value, due_at))
    for step in rule.escalation:
        after = int(step.get("after", 0))
        steps.append((str(step["to"]), due_at if after == 0 else schedule.add(at, rule.due_minutes + after)))
    return [
        {"task_id": task_id, "position": position, "action": action, "due_at": moment}
        for position, (action, moment) in enumerate(steps)
    ]


def created_line(row: dict[str, Any], *, actor_id: int | None = None) -> dict[str, Any]:
    """Make the diary's line for a task made from a row."""
    return events.line(
        "task.created",
        row["created_at"],
        task_id=row["id"],
        contact_id=row["contact_id"],
        deal_id=row["deal_id"],
        lead_id=row["lead_id"],
        conversation_id=row["conversation_id"],
        user_id=row["assignee_id"],
        actor_id=actor_id,
        details={"title": row["title"], "due_at": row["due_at"]},
    )


async def enter(
    session: AsyncSession,
    deal: Deal,
    stage: Stage,
    *,
    at: datetime,
    actor_id: int | None = None,
    except_kinds: Collection[str] = (),
) -> list[int]:
    """Run a stage's entry rules for a deal that has just come in; return the ids of the tasks made.

    Rules whose tasks are of `except_kinds` are left out: what they ask for has been done already.
    """
    found = await session.scalars(select(StageRule).where(StageRule.stage_id == stage.id).order_by(StageRule.id))
    rules = [rule for rule in found if rule.kind not in except_kinds]
    if not rules:
        return []
    schedule = hours_json.from_json((await workspace.get(session)).schedule)
    ids = await reserve_ids(session, len(rules))
    task_rows, steps, lines = [], [], []
    for rule, task_id in zip(rules, ids, strict=True):
        row = task_row(
            rule,
            schedule,
            task_id=task_id,
            at=at,
            assignee_id=rule.assignee_id or deal.owner_id,
            team_id=deal.team_id,
            contact_id=deal.contact_id,
            deal_id=deal.id,
            lead_id=None,
        )
        task_rows.append(row)
        steps.extend(step_rows(rule, schedule, task_id=task_id, at=at, due_at=row["due_at"]))
        lines.append(created_line(row, actor_id=actor_id))
    await insert_rows(session, Task, task_rows)
    await insert_rows(session, EscalationStep, steps)
    await events.write(session, lines)
    return ids
