"""Tasks: what somebody has to do, by when."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import and_, select, true

from core.kernel.errors import Rejected
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import access, users
from core.talk.conversations import Conversation
from core.work import tasks
from core.work.tasks import OPEN_STATUSES, Task, TaskKind, TaskStatus
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Body, Id, Moment, Page, View, as_id

Kind = Literal["call", "message", "meeting", "visit", "document", "other"]
Status = Literal["todo", "in_progress", "done", "canceled"]
Priority = Literal["low", "normal", "high", "urgent"]
Title = Annotated[str, Meta(min_length=1, max_length=300)]
Text = Annotated[str, Meta(max_length=10_000)]


class TaskView(View):
    """Something to do by `due_at`. `breached_at` is when the deadline passed with it undone, and stays.

    `completed_by_proof` says what showed that it was done (`call:<id>`); null when a person said so.
    """

    id: Id
    title: str
    kind: Kind
    status: Status
    priority: Priority
    assignee_id: Id | None
    contact_id: Id | None
    deal_id: Id | None
    lead_id: Id | None
    conversation_id: Id | None
    due_at: Moment | None
    overdue: bool
    breached_at: Moment | None
    escalated_to: list[Id]
    note: str
    completed_at: Moment | None
    completed_by: Id | None
    completed_by_proof: str | None
    created_at: Moment
    version: int


class NewTask(Body):
    """A task. Without `assignee_id` it is the caller's own; null leaves it to their team."""

    title: Title
    kind: Kind = "other"
    priority: Priority = "normal"
    due_at: Moment | None = None
    assignee_id: Id | UnsetType | None = UNSET
    contact_id: Id | None = None
    deal_id: Id | None = None
    lead_id: Id | None = None
    conversation_id: Id | None = None
    note: Text = ""


class TaskChange(Body):
    """What is to change; what is left out stays. Done, canceled and postponed it becomes by its sub-resources."""

    title: Title | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    status: Literal["todo", "in_progress"] | UnsetType = UNSET
    assignee_id: Id | UnsetType | None = UNSET
    due_at: Moment | UnsetType = UNSET
    note: Text | UnsetType = UNSET


class Postponement(Body):
    """The new deadline. What follows a missed one moves by as much."""

    due_at: Moment


class Assignment(Body):
    """To whom it goes; null: to nobody for now."""

    assignee_id: Id | None


TASKS = Listing(
    "tasks",
    unique=Task.id,
    sorts={"due_at": Task.due_at, "created_at": Task.created_at},
    default="due_at",
    filters={
        "status": paging.one_of(Task.status, Status),
        "kind": paging.one_of(Task.kind, Kind),
        "priority": paging.one_of(Task.priority, Priority),
        # compared by `index`, which knows the time
        "overdue": paging.matching(bool, lambda _: true(), "Whether the deadline has passed with it undone."),
        "assignee_id": paging.ids(Task.assignee_id),
        "contact_id": paging.ids(Task.contact_id),
        "deal_id": paging.ids(Task.deal_id),
        "lead_id": paging.ids(Task.lead_id),
        "conversation_id": paging.ids(Task.conversation_id),
        **paging.moments(due_at=Task.due_at, created_at=Task.created_at, completed_at=Task.completed_at),
    },
)


def view(call: Call, task: Task) -> TaskView:
    """Make the view of a task as it stands now."""
    return TaskView(
        id=Id(task.id),
        title=task.title,
        kind=task.kind,  # type: ignore[arg-type]
        status=task.status,  # type: ignore[arg-type]
        priority=task.priority,  # type: ignore[arg-type]
        assignee_id=as_id(task.assignee_id),
        contact_id=as_id(task.contact_id),
        deal_id=as_id(task.deal_id),
        lead_id=as_id(task.lead_id),
        conversation_id=as_id(task.conversation_id),
        due_at=task.due_at,
        overdue=task.is_overdue(call.now),
        breached_at=task.breached_at,
        escalated_to=[Id(user_id) for user_id in task.escalated_to or ()],
        note=task.note or "",
        completed_at=task.completed_at,
        completed_by=as_id(task.completed_by),
        completed_by_proof=task.completed_by_proof,
        created_at=task.created_at,
        version=task.version,
    )


async def index(call: Call, query: ListQuery) -> Page[TaskView]:
    """List tasks, those due first in front."""
    statement = access.narrow(select(Task), call.rights, Task)
    if (overdue := getattr(query, "overdue", UNSET)) is not UNSET:
        passed = and_(Task.status.in_(OPEN_STATUSES), Task.due_at.is_not(None), Task.due_at <= call.now)
        statement = statement.where(passed if overdue else ~passed)
    found = await TASKS.page(call.session, statement, query)
    return Page(items=[view(call, row) for row in found.rows], next=found.next)


async def show(call: Call, task_id: Id) -> TaskView:
    """Show a task."""
    return view(call, await records.seen(call, Task, task_id))


async def add(call: Call, body: NewTask) -> TaskView:
    """Give somebody something to do. A deadline brings the notice when it is missed.

    A task on a deal, lead or conversation is on its contact as well.
    """
    call.rights.require_change()
    deal = await records.referred(call, Deal, body.deal_id, field="deal_id") if body.deal_id else None
    lead = await records.referred(call, Lead, body.lead_id, field="lead_id") if body.lead_id else None
    talk = (
        await records.referred(call, Conversation, body.conversation_id, field="conversation_id")
        if body.conversation_id
        else None
    )
    contact = await records.referred(call, Contact, body.contact_id, field="contact_id") if body.contact_id else None
    about = {subject.contact_id for subject in (deal, lead, talk) if subject} | ({contact.id} if contact else set())
    if len(about) > 1:
        raise Rejected("Deal, lead, conversation and contact must be of one person", field="contact_id")
    assignee_id = call.user_id if body.assignee_id is UNSET else body.assignee_id
    if assignee_id is not None:
        await users.for_work(call.session, assignee_id, field="assignee_id")
    task = await tasks.add(
        call.session,
        title=body.title,
        kind=TaskKind(body.kind),
        priority=body.priority,
        due_at=body.due_at,
        assignee_id=assignee_id,
        team_id=next((each.team_id for each in (deal, lead, talk) if each), next(iter(call.rights.team_ids), None)),
        contact_id=next(iter(about), None),
        deal_id=body.deal_id,
        lead_id=body.lead_id or (deal.lead_id if deal else None),
        conversation_id=body.conversation_id,
        note=body.note,
        at=call.now,
        actor_id=call.user_id,
    )
    return view(call, task)


async def change(call: Call, task_id: Id, body: TaskChange) -> TaskView:
    """Change a task."""
    task = await records.changing(call, Task, task_id)
    values = records.given(body)
    if "assignee_id" in values:
        await _assign(call, task, values.pop("assignee_id"))
    if "due_at" in values and values["due_at"] != task.due_at:
        await tasks.postpone(call.session, task, to=values["due_at"], at=call.now, actor_id=call.user_id)
    values.pop("due_at", None)
    await tasks.change(call.session, task, at=call.now, actor_id=call.user_id, **values)
    return view(call, task)


async def complete(call: Call, task_id: Id) -> TaskView:
    """Complete a task: it is done. A new lead it belongs to is being worked on from then on."""
    task = await records.changing(call, Task, task_id)
    await tasks.complete(call.session, task, at=call.now, actor_id=call.user_id)
    return view(call, task)


async def cancel(call: Call, task_id: Id) -> TaskView:
    """Cancel a task: it need not be done any more."""
    task = await records.changing(call, Task, task_id)
    if task.status == TaskStatus.DONE:
        raise Rejected("The task is already done")
    await tasks.cancel(call.session, task, at=call.now, actor_id=call.user_id)
    return view(call, task)


async def postpone(call: Call, task_id: Id, body: Postponement) -> TaskView:
    """Postpone a task."""
    task = await records.changing(call, Task, task_id)
    await tasks.postpone(call.session, task, to=body.due_at, at=call.now, actor_id=call.user_id)
    return view(call, task)


async def assign(call: Call, task_id: Id, body: Assignment) -> TaskView:
    """Give a task to somebody."""
    task = await records.changing(call, Task, task_id)
    await _assign(call, task, body.assignee_id)
    return view(call, task)


async def _assign(call: Call, task: Task, to: int | None) -> None:
    if to == task.assignee_id:
        return
    call.rights.require_assign(task.assignee_id)
    if to is not None:
        await users.for_work(call.session, to, field="assignee_id")
    await tasks.assign(call.session, task, to=None if to is None else int(to), at=call.now, actor_id=call.user_id)


ENDPOINTS = (
    Endpoint("GET", "/tasks", index, listing=TASKS),
    Endpoint("POST", "/tasks", add, status=201),
    Endpoint("GET", "/tasks/{task_id}", show),
    Endpoint("PATCH", "/tasks/{task_id}", change),
    Endpoint("POST", "/tasks/{task_id}/completion", complete),
    Endpoint("POST", "/tasks/{task_id}/cancellation", cancel),
    Endpoint("POST", "/tasks/{task_id}/postponement", postpone),
    Endpoint("POST", "/tasks/{task_id}/assignment", assign),
)
