"""Call outcomes: what an answered call settles, and what a missed one asks for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import addresses, events, jobs
from core.people.contacts import Contact
from core.sales import leads, pipelines
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import workspace
from core.staff.workspace import Workspace
from core.talk import calls
from core.talk.calls import IN_VAIN, Call, CallStatus
from core.work import hours_json, routing, stage_tasks, tasks
from core.work.hours import Schedule
from core.work.routing_conditions import Request
from core.work.tasks import EscalationStep, StepAction, Task, TaskKind

if TYPE_CHECKING:
    from core.work.calling import Line

AFTER_HOURS = "call.after_hours"
"""The job that tells somebody who rang after hours when they will be called."""

_PROVES_WITHIN = timedelta(days=1)
"""A task to call that is due later than this is for another day: today's call does not do it."""

_CALLED_BACK_WITHIN = timedelta(days=14)


async def answered(session: AsyncSession, call: Call, *, user_id: int | None, at: datetime) -> None:
    """Note that somebody talks with a caller: what nobody looked after yet is theirs from now on."""
    if user_id is None or call.contact_id is None:
        return
    if call.lead_id is not None:
        lead = await session.get(Lead, call.lead_id, with_for_update=True)
        if lead is not None and lead.owner_id is None and lead.status in leads.OPEN_STATUSES:
            await routing.take(session, lead, user_id=user_id, at=at, actor_id=user_id)
        if lead is not None:
            await leads.start_work(session, lead.id, at=at, actor_id=user_id)
    contact = await session.get(Contact, call.contact_id, with_for_update=True)
    if contact is not None and contact.owner_id is None:
        contact.owner_id = user_id
        contact.version += 1
    if call.deal_id is not None:
        await session.execute(
            update(Deal)
            .where(Deal.id == call.deal_id, Deal.owner_id.is_(None))
            .values(owner_id=user_id, version=Deal.version + 1)
        )
    await session.flush()


async def settle(session: AsyncSession, line: Line, call: Call, *, now: datetime, is_news: bool) -> None:
    """Do what follows from a call's end. What a later word of the provider changes is done anew, or taken back.

    `is_news`: how it ended was not known before; else only its length was corrected, or who it was became known.
    """
    call.settled_at = now
    await session.flush()
    company = await workspace.get(session)
    schedule = hours_json.from_json(company.schedule)
    call.after_hours = not schedule.is_open(call.started_at)
    in_vain = call.direction == "inbound" and call.status in IN_VAIN
    proves = call.status == CallStatus.COMPLETED and (call.talk_seconds or 0) >= line.rules.proof_seconds
    if in_vain:
        await _missed(session, line, call, company, schedule, now=now)
    elif call.task_id is not None:  # it was taken for missed, wrongly
        task = await session.get(Task, call.task_id, with_for_update=True)
        if task is not None:
            await tasks.cancel(session, task, at=now, actor_id=None)
        call.task_id = None
    if call.lead_id is not None and call.direction == "inbound":
        await _enter_first_stage(session, call, now=now, was_talked=proves or in_vain)
    if proves:
        await _proved(session, call, now=now)
    kind = {CallStatus.COMPLETED: "call.completed", CallStatus.VOICEMAIL: "call.voicemail"}.get(
        CallStatus(call.status), "call.missed" if in_vain else "call.unanswered"
    )
    user_id = call.user_id
    if in_vain and call.task_id is not None:
        task = await session.get(Task, call.task_id)
        user_id = task.assignee_id if task is not None else user_id
    call.version += 1
    await session.flush()
    if not is_news:
        return
    await events.record(
        session,
        kind,
        now,
        user_id=user_id,
        details=calls.details(call, task_id=call.task_id, after_hours=call.after_hours or None),
        **calls.subjects(call),
    )


async def _enter_first_stage(session: AsyncSession, call: Call, *, now: datetime, was_talked: bool) -> None:
    """Run the first stage's rules for a deal that this very call opened.

    Tasks to call are left out where the call itself was that, or has its own task to call back.
    """
    lead = await session.get_one(Lead, call.lead_id)
    deal = None if call.deal_id is None else await session.get(Deal, call.deal_id)
    if deal is None or not deal.is_open or deal.lead_id != lead.id:
        return
    if lead.connection_id != call.connection_id or lead.created_at < call.created_at:
        return
    if await session.scalar(
        select(Task.id).where(Task.deal_id == deal.id).where(Task.id != (call.task_id or 0)).limit(1)
    ):
        return
    stage = await pipelines.stage(session, deal.stage_id)
    await stage_tasks.enter(session, deal, stage, at=now, except_kinds=(TaskKind.CALL,) if was_talked else ())


async def _missed(
    session: AsyncSession, line: Line, call: Call, company: Workspace, schedule: Schedule, *, now: datetime
) -> None:
    """See that somebody calls back: one task per person, however often they rang."""
    if call.contact_id is None:
        return
    await session.refresh(call, ["task_id"])
    if call.task_id is not None:
        return
    when = call.ended_at or now
    waiting = await tasks.open_calls_to(session, call.contact_id)
    line_said = f" ({call.line})" if call.line else ""
    note = f"{line.rang_in_vain} {call.started_at.astimezone(ZoneInfo(company.time_zone)):%Y-%m-%d %H:%M}{line_said}"
    if waiting:
        asked = select(Call.id).where(Call.contact_id == call.contact_id, Call.task_id == waiting[0].id)
        call.task_id = None if await session.scalar(asked.limit(1)) is None else waiting[0].id
        waiting[0].note = f"{waiting[0].note}\n{note}".strip()[-2000:]
        waiting[0].version += 1
    else:
        owner_id, team_id = await _choose(session, line, call, now=now)
        is_open = schedule.is_open(when)
        opening = None if is_open else schedule.next_opening(when)
        task = await tasks.add(
            session,
            title=line.call_back,
            kind=TaskKind.CALL,
            at=now,
            due_at=opening or schedule.add(when, line.rules.call_back_minutes),
            assignee_id=owner_id,
            team_id=team_id,
            contact_id=call.contact_id,
            deal_id=call.deal_id,
            lead_id=call.lead_id,
            priority="high",
            note=note,
            call_id=call.id,
        )
        session.add(EscalationStep(task_id=task.id, position=1, action=StepAction.HEAD, due_at=task.due_at))
        call.task_id = task.id
    await session.flush()
    if call.after_hours and line.rules.after_hours_text and call.number:
        opens_at = schedule.next_opening(when)
        if opens_at is not None:
            await jobs.enqueue(
                session,
                AFTER_HOURS,
                at=now,
                lane=f"after_hours:{call.contact_id}",
                unique_key=f"{AFTER_HOURS}:{line.id}:{call.number}:{opens_at:%Y-%m-%d %H:%M}",
                call_id=call.id,
                opens_at=opens_at.isoformat(),
            )


async def _choose(session: AsyncSession, line: Line, call: Call, *, now: datetime) -> tuple[int | None, int | None]:
    """Choose who calls back: the contact's manager if they can, else whoever is next, who gets what is nobody's."""
    contact = await session.get_one(Contact, call.contact_id)
    router = await routing.open_router(session, at=now)
    chosen = router.choose(
        Request(
            connection_id=line.id,
            kind=line.kind,
            source=line.kind,
            language=contact.language or "",
            country=(addresses.country(call.number) or "") if router.needs_country else "",
            phone=call.number,
            at=now,
            in_hours=router.in_hours,
            user_id=line.owner_id,
            team_id=line.team_id,
        ),
        contact_owner_id=contact.owner_id,
    )
    await router.close(session)
    lead = None if call.lead_id is None else await session.get(Lead, call.lead_id, with_for_update=True)
    if chosen.user_id is not None and lead is not None and lead.owner_id is None and lead.status in leads.OPEN_STATUSES:
        lead.team_id = lead.team_id or chosen.team_id
        await routing.take(session, lead, user_id=chosen.user_id, at=now, actor_id=None, explanation=chosen.explanation)
    return chosen.user_id, chosen.team_id or call.team_id


async def _proved(session: AsyncSession, call: Call, *, now: datetime) -> None:
    """Let a conversation of some length close the tasks to call this person, and count as calling back."""
    if call.contact_id is None:
        return
    latest = (call.ended_at or now) + _PROVES_WITHIN
    for task in await tasks.open_calls_to(session, call.contact_id):
        if task.created_at <= now and (task.due_at is None or task.due_at <= latest):
            await tasks.complete(session, task, at=now, actor_id=call.user_id, proof=f"call:{call.id}")
    await session.execute(
        update(Call)
        .where(
            Call.contact_id == call.contact_id,
            Call.direction == "inbound",
            Call.status.in_(IN_VAIN),
            Call.called_back_at.is_(None),
            Call.id != call.id,
            Call.ended_at <= call.ended_at,
            Call.started_at > call.started_at - _CALLED_BACK_WITHIN,
        )
        .values(called_back_at=call.answered_at, called_back_by=call.id, version=Call.version + 1)
    )
