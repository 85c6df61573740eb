"""Progress: what people do with leads and deals, together with what follows from it in tasks.

`core.sales` knows what may become of a lead or deal; tasks lie above it. Pages, API and bots call these.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.kernel.errors import Rejected
from core.people.contacts import Contact
from core.sales import deals, leads, pipelines
from core.sales.deals import Deal
from core.sales.leads import Lead, LeadStatus
from core.sales.pipelines import Category, Stage, StageRule
from core.staff import workspace
from core.work import hours_json, stage_tasks, tasks
from core.work.tasks import OPEN_STATUSES, EscalationStep, StepAction, Task, TaskStatus


async def move(session: AsyncSession, deal: Deal, stage: Stage, *, at: datetime, actor_id: int | None) -> bool:
    """Take a deal to another stage: what it asks for on entry is made a task; closing the deal ends such tasks.

    Returns False, and changes nothing, if the deal is there already.

    Raises:
        Rejected: the stage belongs to another pipeline.
    """
    if not await deals.move(session, deal, stage, at=at, actor_id=actor_id):
        return False
    await _entered(session, deal, at=at, actor_id=actor_id)
    return True


async def win(session: AsyncSession, deal: Deal, *, at: datetime, actor_id: int | None) -> None:
    """Close a deal as won.

    Raises:
        Rejected: it is closed already.
    """
    await deals.win(session, deal, at=at, actor_id=actor_id)
    await _entered(session, deal, at=at, actor_id=actor_id)


async def lose(session: AsyncSession, deal: Deal, *, at: datetime, reason: str, actor_id: int | None) -> None:
    """Close a deal as lost, for a stated reason.

    Raises:
        Rejected: it is closed already, or no reason is given.
    """
    await deals.lose(session, deal, at=at, reason=reason, actor_id=actor_id)
    await _entered(session, deal, at=at, actor_id=actor_id)


async def open_deal(session: AsyncSession, deal: Deal, *, at: datetime, actor_id: int | None) -> None:
    """Run the first stage's rules for a deal that was opened by hand."""
    await stage_tasks.enter(session, deal, await pipelines.stage(session, deal.stage_id), at=at, actor_id=actor_id)


async def hand_over(session: AsyncSession, deal: Deal, *, to: int | None, at: datetime, actor_id: int | None) -> None:
    """Give a deal to somebody with the open tasks its owner had on it, or to nobody."""
    before = deal.owner_id
    if before == to:
        return
    await deals.assign(session, deal, to=to, at=at, actor_id=actor_id)
    for task in await _open_tasks(session, Task.deal_id == deal.id):
        if task.assignee_id == before:
            await tasks.assign(session, task, to=to, at=at, actor_id=actor_id)


async def disqualify(
    session: AsyncSession, lead: Lead, *, at: datetime, status: LeadStatus, reason: str, actor_id: int | None
) -> None:
    """Close a lead as unqualified or junk; its open deal is lost for the same reason, and what was to be done is off.

    Raises:
        Rejected: the lead is closed already.
    """
    await leads.disqualify(session, lead, at=at, status=status, reason=reason, actor_id=actor_id)
    deal = None if lead.deal_id is None else await session.get(Deal, lead.deal_id, with_for_update=True)
    if deal is not None and deal.is_open:
        await lose(session, deal, at=at, reason=reason.strip() or status.value, actor_id=actor_id)
    for task in await _open_tasks(session, Task.lead_id == lead.id):
        await tasks.cancel(session, task, at=at, actor_id=actor_id)


async def convert(
    session: AsyncSession,
    lead: Lead,
    *,
    title: str,
    currency: str,
    at: datetime,
    actor_id: int | None,
    amount: int | None = None,
    pipeline_id: int | None = None,
) -> Deal:
    """Say that a lead is worth working on: its open deal, or else a new one, goes on from here.

    Raises:
        Rejected: the lead is closed already, or the pipeline has no open stage.
    """
    if lead.status not in leads.OPEN_STATUSES:
        raise Rejected("The lead is closed already")
    deal = None if lead.deal_id is None else await session.get(Deal, lead.deal_id, with_for_update=True)
    if deal is None or not deal.is_open:
        deal = await deals.add(
            session,
            title=title,
            contact_id=lead.contact_id,
            stage=await first_stage(session, pipeline_id),
            currency=currency,
            amount=amount,
            lead_id=lead.id,
            owner_id=lead.owner_id,
            team_id=lead.team_id,
            source=lead.source,
            at=at,
            actor_id=actor_id,
        )
        await open_deal(session, deal, at=at, actor_id=actor_id)
    await leads.convert(session, lead, at=at, deal_id=deal.id, actor_id=actor_id)
    return deal


async def enter_lead(
    session: AsyncSession,
    contact: Contact,
    *,
    message: str,
    currency: str,
    owner_id: int | None,
    team_id: int | None,
    at: datetime,
    actor_id: int | None,
    source: str = "manual",
    connection_id: int | None = None,
    pipeline_id: int | None = None,
    title: str = "",
    has_deal: bool = True,
    runs_rules: bool = True,
    details: Mapping[str, Any] | None = None,
) -> Lead:
    """Enter a request that came some other way, with the deal and the tasks it would have got.

    `runs_rules`: the first stage's rules make their tasks at once; else the caller has them run once it is known who
    looks after the deal. `details` go into the diary's line.
    """
    lead = Lead(
        contact_id=contact.id,
        connection_id=connection_id,
        source=source,
        message=message.strip(),
        owner_id=owner_id,
        team_id=team_id,
        created_at=at,
    )
    session.add(lead)
    await session.flush()  # the deal and the diary need the id
    deal = None
    if has_deal:
        deal = await deals.add(
            session,
            title=title or ": ".join(part for part in (contact.name, message.strip()[:60]) if part) or "?",
            contact_id=contact.id,
            stage=await first_stage(session, pipeline_id),
            currency=currency,
            lead_id=lead.id,
            owner_id=owner_id,
            team_id=team_id,
            source=lead.source,
            at=at,
            actor_id=actor_id,
        )
        lead.deal_id = deal.id
    await events.record(
        session,
        "lead.created",
        at,
        contact_id=contact.id,
        lead_id=lead.id,
        deal_id=lead.deal_id,
        user_id=owner_id,
        actor_id=actor_id,
        details={
            "name": contact.name,
            "text": message.strip()[:160],
            "source": lead.source,
            "team_id": team_id,
            **(details or {}),
        },
    )
    if deal is not None and runs_rules:
        await open_deal(session, deal, at=at, actor_id=actor_id)
    return lead


async def reopen(session: AsyncSession, task: Task, *, at: datetime, actor_id: int | None) -> bool:
    """Take back that a task is over. What was still to happen to it if nobody acts is planned again.

    Returns False, and changes nothing, if it is open. The times of a stage rule's steps are counted anew and moved by
    as much as the deadline was; those of a rule that is gone stay dropped, all but the deadline itself.
    """
    if task.status in OPEN_STATUSES:
        return False
    task.status = TaskStatus.TODO
    task.completed_at = task.completed_by = task.completed_by_proof = None
    task.version += 1
    planned: dict[int, datetime] = {}
    rule = None if task.stage_rule_id is None else await session.get(StageRule, task.stage_rule_id)
    if rule is not None and task.due_at is not None:
        schedule = hours_json.from_json((await workspace.get(session)).schedule)
        due_at = schedule.add(task.created_at, rule.due_minutes)
        rows = stage_tasks.step_rows(rule, schedule, task_id=task.id, at=task.created_at, due_at=due_at)
        planned = {row["position"]: row["due_at"] + (task.due_at - due_at) for row in rows}
    undone = EscalationStep.task_id == task.id, EscalationStep.done_at.is_(None)
    for step in await session.scalars(select(EscalationStep).where(*undone)):
        step.due_at = task.due_at if step.action == StepAction.BREACH else planned.get(step.position)
    await events.record(
        session,
        "task.reopened",
        at,
        task_id=task.id,
        contact_id=task.contact_id,
        deal_id=task.deal_id,
        lead_id=task.lead_id,
        conversation_id=task.conversation_id,
        actor_id=actor_id,
        user_id=task.assignee_id,
        details={"title": task.title},
    )
    return True


async def first_stage(session: AsyncSession, pipeline_id: int | None) -> Stage:
    """Return where new deals of a pipeline begin; None asks the default one.

    Raises:
        Rejected: the pipeline has no open stage.
    """
    wanted = pipeline_id or (await pipelines.default(session)).id
    for stage in await pipelines.stages_of(session, wanted):
        if stage.category == Category.OPEN:
            return stage
    raise Rejected("The pipeline has no open stage to begin in: add one in the settings", field="pipeline_id")


async def _entered(session: AsyncSession, deal: Deal, *, at: datetime, actor_id: int | None) -> None:
    await session.flush()  # tasks are written past the ORM
    if not deal.is_open:
        by_rule = Task.stage_rule_id.is_not(None)
        for task in await _open_tasks(session, Task.deal_id == deal.id, by_rule):
            await tasks.cancel(session, task, at=at, actor_id=actor_id)
    await stage_tasks.enter(session, deal, await pipelines.stage(session, deal.stage_id), at=at, actor_id=actor_id)


async def _open_tasks(session: AsyncSession, *conditions: ColumnElement[bool]) -> list[Task]:
    statement = select(Task).where(Task.status.in_(OPEN_STATUSES), *conditions)
    return list(await session.scalars(statement.order_by(Task.id).with_for_update()))
