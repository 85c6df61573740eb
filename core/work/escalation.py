"""Escalation: when nobody acts, somebody hears of it, once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.staff import absences
from core.staff.teams import TeamMember
from core.staff.users import Presence, User, heads_for
from core.work.tasks import OPEN_STATUSES, EscalationStep, StepAction, Task

_NOT_GIVEN_WORK = (Presence.AWAY, Presence.OFF_SHIFT, Presence.ON_LEAVE)


async def run_due(session: AsyncSession, *, now: datetime, limit: int = 200) -> int:
    """Do the steps that have fallen due, in the caller's transaction; return how many there were.

    A step and what it tells are one transaction and a step is locked by whoever does it, so each happens once, however
    many nodes look and whenever one of them dies. Steps of a task that is over only disappear.
    """
    steps = list(
        await session.scalars(
            select(EscalationStep)
            .where(EscalationStep.due_at <= now)
            .order_by(EscalationStep.due_at, EscalationStep.task_id, EscalationStep.position)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    )
    if not steps:
        return 0
    ids = {step.task_id for step in steps}
    # A task that somebody is just finishing is left for the next look: they wait for its steps, so we must not wait.
    found = await session.scalars(
        select(Task).where(Task.id.in_(ids)).order_by(Task.id).with_for_update(skip_locked=True)
    )
    tasks = {task.id: task for task in found}
    busy = set(await session.scalars(select(Task.id).where(Task.id.in_(ids - tasks.keys()))))
    steps = [step for step in steps if step.task_id not in busy]
    lines: list[dict[str, Any]] = []
    for step in steps:
        task = tasks.get(step.task_id)
        step.due_at = None
        if task is None or task.status not in OPEN_STATUSES:
            continue
        step.done_at = now
        lines.extend(await _do(session, step, task, now))
    await session.flush()  # the diary is written past the ORM
    await events.write(session, lines)
    return len(steps)


async def _do(session: AsyncSession, step: EscalationStep, task: Task, now: datetime) -> list[dict[str, Any]]:
    match StepAction(step.action):
        case StepAction.REMIND:
            told = [task.assignee_id] if task.assignee_id is not None else await heads_for(session, task.team_id)
            kind = "task.reminder"
        case StepAction.BREACH:
            task.breached_at = task.breached_at or task.due_at
            task.version += 1
            if task.assignee_id is not None:
                told = [task.assignee_id]
            else:  # unless a step of its own tells the head
                told = [] if await _has_step(session, task, StepAction.HEAD) else await heads_for(session, task.team_id)
            kind = "task.overdue"
        case StepAction.NEXT:
            following = await _next_in_team(session, task, now)
            if following is None:
                return []
            task.escalated_to = [*task.escalated_to, following]
            task.assignee_id = following
            task.version += 1
            told, kind = [following], "task.escalated"
        case StepAction.HEAD:
            told = [i for i in await heads_for(session, task.team_id) if i not in task.escalated_to]
            task.escalated_to = [*task.escalated_to, *told]
            task.version += 1
            kind = "task.escalated"
    step.told = [user_id for user_id in told if user_id is not None]
    addressed: list[int | None] = [*step.told] or [None]
    return [_line(kind, step, task, now, user_id) for user_id in addressed]


def _line(kind: str, step: EscalationStep, task: Task, now: datetime, user_id: int | None) -> dict[str, Any]:
    return events.line(
        kind,
        now,
        task_id=task.id,
        contact_id=task.contact_id,
        deal_id=task.deal_id,
        lead_id=task.lead_id,
        conversation_id=task.conversation_id,
        user_id=user_id,
        details={"title": task.title, "due_at": task.due_at, "assignee_id": task.assignee_id, "step": step.action},
    )


async def _has_step(session: AsyncSession, task: Task, action: StepAction) -> bool:
    return (
        await session.scalar(
            select(EscalationStep.id).where(EscalationStep.task_id == task.id, EscalationStep.action == action).limit(1)
        )
    ) is not None


async def _next_in_team(session: AsyncSession, task: Task, now: datetime) -> int | None:
    """Return the available colleague whose turn is next and who was not asked before; None if there is none."""
    if task.team_id is None:
        return None
    asked = {task.assignee_id, *task.escalated_to}
    members = list(
        await session.execute(
            select(TeamMember.user_id)
            .join(User, User.id == TeamMember.user_id)
            .where(
                TeamMember.team_id == task.team_id,
                TeamMember.leads.is_(False),
                User.is_active.is_(True),
                User.presence.not_in(_NOT_GIVEN_WORK),
            )
            .order_by(TeamMember.turn, TeamMember.user_id)
        )
    )
    candidates = [row.user_id for row in members if row.user_id not in asked]
    away = await absences.current(session, candidates, now)
    return next((user_id for user_id in candidates if user_id not in away), None)
