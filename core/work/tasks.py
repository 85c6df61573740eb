"""Tasks: what somebody has to do, by when, and the steps that follow when nobody does it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, Text, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Edited, Record
from core.kernel.errors import NotFound, Rejected
from core.sales import leads


class TaskStatus(StrEnum):
    """Where a task stands. Overdue is not a status: it is derived from `due_at`."""

    TODO = "todo"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    CANCELED = "canceled"


class TaskKind(StrEnum):
    """What sort of doing it is."""

    CALL = "call"
    MESSAGE = "message"
    MEETING = "meeting"
    VISIT = "visit"
    DOCUMENT = "document"
    OTHER = "other"


OPEN_STATUSES = (TaskStatus.TODO, TaskStatus.IN_PROGRESS)
_OPEN = text("status IN ('todo', 'in_progress')")


class Task(Base, Record, Edited):
    """Something to do by `due_at`. `breached_at` is when the deadline passed with the task undone; it stays for
    reports.

    `completed_by_proof` says what showed that it was done (`call:<id>`, `message:<id>`); None when a person said so.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        Index("ix_tasks_assignee_id_due_at", "assignee_id", "due_at", "id", postgresql_where=_OPEN),
        Index(
            "ix_tasks_unassigned",
            "team_id",
            "due_at",
            postgresql_where=text("assignee_id IS NULL AND completed_at IS NULL"),
        ),
        Index("ix_tasks_due_at", "due_at", "id", postgresql_where=_OPEN),
        Index("ix_tasks_deal_id", "deal_id", "id"),
        Index("ix_tasks_contact_id", "contact_id", "id"),
    )

    title: Mapped[str]
    kind: Mapped[str] = mapped_column(Text, default=TaskKind.OTHER, server_default="other")
    status: Mapped[str] = mapped_column(Text, default=TaskStatus.TODO, server_default="todo")
    priority: Mapped[str] = mapped_column(Text, default="normal", server_default="normal")
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    contact_id: Mapped[int | None]
    deal_id: Mapped[int | None]
    lead_id: Mapped[int | None]
    conversation_id: Mapped[int | None]
    stage_rule_id: Mapped[int | None]
    due_at: Mapped[datetime | None]
    breached_at: Mapped[datetime | None]
    escalated_to: Mapped[list[int]] = mapped_column(default=list, server_default="{}")
    completed_at: Mapped[datetime | None]
    completed_by: Mapped[int | None]
    completed_by_proof: Mapped[str | None]
    note: Mapped[str] = mapped_column(Text, default="", server_default="")

    def is_overdue(self, now: datetime) -> bool:
        """Whether the deadline has passed and the task is still to be done."""
        return self.status in OPEN_STATUSES and self.due_at is not None and self.due_at <= now


class StepAction(StrEnum):
    """What happens when a step of a task falls due."""

    REMIND = "remind"  # the assignee
    BREACH = "breach"  # the deadline has passed: note it, tell the assignee
    NEXT = "next"  # tell and add the next one in the team
    HEAD = "head"  # tell the head


class EscalationStep(Base):
    """One thing that will happen if the task is still open at `due_at`.

    A step is done once: `due_at` is cleared and `done_at` set in the transaction that tells people. A finished task
    clears the `due_at` of its steps. `told` keeps who was told.
    """

    __tablename__ = "escalation_steps"
    __table_args__ = (
        Index("ix_escalation_steps_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_escalation_steps_task_id", "task_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    task_id: Mapped[int]
    position: Mapped[int] = mapped_column(SmallInteger)
    action: Mapped[str]
    due_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    told: Mapped[list[int]] = mapped_column(default=list, server_default="{}")


async def get(session: AsyncSession, task_id: int) -> Task:
    """Return a task.

    Raises:
        NotFound: there is no such task.
    """
    task = await session.get(Task, task_id)
    if task is None:
        raise NotFound("task", task_id)
    return task


def _subjects(task: Task) -> dict[str, int | None]:
    return {
        "task_id": task.id,
        "contact_id": task.contact_id,
        "deal_id": task.deal_id,
        "lead_id": task.lead_id,
        "conversation_id": task.conversation_id,
    }


async def add(
    session: AsyncSession,
    *,
    title: str,
    at: datetime,
    kind: TaskKind = TaskKind.OTHER,
    due_at: datetime | None = None,
    assignee_id: int | None = None,
    team_id: int | None = None,
    contact_id: int | None = None,
    deal_id: int | None = None,
    lead_id: int | None = None,
    conversation_id: int | None = None,
    priority: str = "normal",
    note: str = "",
    actor_id: int | None = None,
    call_id: int | None = None,
) -> Task:
    """Give somebody something to do. A deadline brings the step that notes when it is missed.

    `call_id` is the call that asks for it: it is told of like any task, though a lead began with the same call.

    Raises:
        Rejected: there is no title.
    """
    if not title.strip():
        raise Rejected("A title is needed", field="title")
    task = Task(
        title=title.strip(),
        kind=kind,
        priority=priority,
        due_at=due_at,
        assignee_id=assignee_id,
        team_id=team_id,
        contact_id=contact_id,
        deal_id=deal_id,
        lead_id=lead_id,
        conversation_id=conversation_id,
        note=note,
        created_at=at,
    )
    session.add(task)
    await session.flush()  # the steps and the diary need the id
    if due_at is not None:
        session.add(EscalationStep(task_id=task.id, position=0, action=StepAction.BREACH, due_at=due_at))
    await events.record(
        session,
        "task.created",
        at,
        user_id=assignee_id,
        actor_id=actor_id,
        details={"title": task.title, "due_at": due_at, **({} if call_id is None else {"call_id": call_id})},
        **_subjects(task),
    )
    return task


async def complete(
    session: AsyncSession, task: Task, *, at: datetime, actor_id: int | None, proof: str | None = None
) -> bool:
    """Note that a task is done, by somebody's word or by proof. Its steps will not happen any more.

    A lead that was new is being worked on from then on.

    Returns False, and changes nothing, if it is done already.

    Raises:
        Rejected: it was canceled.
    """
    if task.status == TaskStatus.DONE:
        return False
    if task.status == TaskStatus.CANCELED:
        raise Rejected("The task was canceled")
    task.status, task.completed_at, task.completed_by, task.completed_by_proof = TaskStatus.DONE, at, actor_id, proof
    task.version += 1
    await _drop_steps(session, task)
    await events.record(
        session,
        "task.completed",
        at,
        actor_id=actor_id,
        user_id=task.assignee_id,
        details={"title": task.title, "proof": proof},
        **_subjects(task),
    )
    if task.lead_id is not None:
        await leads.start_work(session, task.lead_id, at=at, actor_id=actor_id)
    return True


async def cancel(session: AsyncSession, task: Task, *, at: datetime, actor_id: int | None) -> None:
    """Note that a task need not be done any more. Nothing happens if it is over already."""
    if task.status not in OPEN_STATUSES:
        return
    task.status, task.completed_at = TaskStatus.CANCELED, at
    task.version += 1
    await _drop_steps(session, task)
    await events.record(
        session,
        "task.canceled",
        at,
        actor_id=actor_id,
        user_id=task.assignee_id,
        details={"title": task.title},
        **_subjects(task),
    )


async def _drop_steps(session: AsyncSession, task: Task) -> None:
    await session.execute(
        update(EscalationStep)
        .where(EscalationStep.task_id == task.id, EscalationStep.due_at.is_not(None))
        .values(due_at=None)
    )


async def postpone(session: AsyncSession, task: Task, *, to: datetime, at: datetime, actor_id: int | None) -> None:
    """Give a task a later deadline. Steps that have not happened move by as much as the deadline does.

    A deadline that was already missed stays noted in `breached_at`; the new one is watched afresh.

    Raises:
        Rejected: the task is over, or the new time has passed.
    """
    if task.status not in OPEN_STATUSES:
        raise Rejected(
            "The task is done already" if task.status == TaskStatus.DONE else "The task was canceled already"
        )
    if to <= at:
        raise Rejected("The new time must lie ahead", field="due_at")
    before, task.due_at = task.due_at, to
    task.version += 1
    steps = list(
        await session.scalars(
            select(EscalationStep).where(EscalationStep.task_id == task.id).order_by(EscalationStep.position)
        )
    )
    for step in steps:
        if step.due_at is not None:
            step.due_at = step.due_at + (to - before) if before is not None else to
    if not any(step.action == StepAction.BREACH and step.due_at is not None for step in steps):
        session.add(EscalationStep(task_id=task.id, position=len(steps), action=StepAction.BREACH, due_at=to))
    await events.record(
        session,
        "task.postponed",
        at,
        actor_id=actor_id,
        user_id=task.assignee_id,
        details={"from": before, "to": to, "title": task.title},
        **_subjects(task),
    )


async def change(session: AsyncSession, task: Task, *, at: datetime, actor_id: int | None, **values: Any) -> None:
    """Change how a task is described: title, kind, priority, note, status between todo and in_progress.

    Raises:
        Rejected: the title would be empty, or the task is over and its status would change.
    """
    if "title" in values:
        values["title"] = values["title"].strip()
        if not values["title"]:
            raise Rejected("A title is needed", field="title")
    changed = {key: value for key, value in values.items() if getattr(task, key) != value}
    if "status" in changed and task.status not in OPEN_STATUSES:
        raise Rejected(
            "The task is done already" if task.status == TaskStatus.DONE else "The task was canceled already",
            field="status",
        )
    if not changed:
        return
    for key, value in changed.items():
        setattr(task, key, value)
    task.version += 1
    await events.record(
        session,
        "task.changed",
        at,
        actor_id=actor_id,
        user_id=task.assignee_id,
        details={"title": task.title, "fields": sorted(changed)},
        **_subjects(task),
    )


async def assign(session: AsyncSession, task: Task, *, to: int | None, at: datetime, actor_id: int | None) -> None:
    """Give a task to somebody, or to nobody."""
    if task.assignee_id == to:
        return
    before, task.assignee_id = task.assignee_id, to
    task.version += 1
    await events.record(
        session,
        "task.assigned",
        at,
        actor_id=actor_id,
        user_id=to,
        details={"from": before, "title": task.title},
        **_subjects(task),
    )


async def open_calls_to(session: AsyncSession, contact_id: int) -> list[Task]:
    """Return the open tasks to call a contact: what an answered call of some length proves done."""
    return list(
        await session.scalars(
            select(Task)
            .where(Task.contact_id == contact_id, Task.kind == TaskKind.CALL, Task.status.in_(OPEN_STATUSES))
            .order_by(Task.due_at, Task.id)
        )
    )
