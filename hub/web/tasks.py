"""Tasks on pages: the list by urgency, the form, and what is done with one click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from sqlalchemy import Select, select

from core.kernel.errors import Conflict, Rejected, Stale
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.staff import access, users
from core.work import hours_json, progress, tasks
from core.work.tasks import OPEN_STATUSES, Task, TaskKind, TaskStatus
from hub.api.paging import Listing
from hub.web import lists, shown, typed
from hub.web.changes import changing, chosen_person, colleagues
from hub.web.rendering import day_begins
from hub.web.shown import ShownTask
from hub.web.visits import Visit, form_errors
from hub.web.words import LABELS, N_

OPEN = Listing("open_tasks", unique=Task.id, sorts={"due_at": Task.due_at}, default="due_at")
OVER = Listing("tasks_that_are_over", unique=Task.id, sorts={"id": Task.id}, default="-id")

_DUE = ("open", "overdue", "today", "whenever", "done")
_WHO = ("me", "all", "nobody")
_MORNING = 10  # o'clock, where nobody says when the day begins


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks under one heading."""

    id: str
    title: str
    bad: bool
    tasks: list[ShownTask]


async def index(visit: Visit) -> web.Response:
    """List tasks, the most urgent first: `?due=open|overdue|today|whenever|done&who=me|all|nobody`."""
    due, who = lists.one_of(visit, "due", _DUE), lists.one_of(visit, "who", _WHO)
    statement = _due(visit, access.narrow(select(Task), visit.rights, Task), due)
    if who != "all":
        statement = statement.where(Task.assignee_id == (visit.user.id if who == "me" else None))
    if due == "done":
        found = await lists.page(visit, OVER, statement, sort="-id")
    else:
        found = await lists.page(visit, OPEN, statement, sort="due_at")
    say = visit.translate
    by_due = [
        ("open", say(N_("To do"))),
        ("overdue", say(N_("Overdue"))),
        ("today", say(N_("Today"))),
        ("whenever", say(N_("Without a deadline"))),
        ("done", say(N_("Done"))),
    ]
    by_who = [("me", say(N_("Mine"))), ("all", say(N_("Everybody's"))), ("nobody", say(N_("Nobody's yet")))]
    return visit.page(
        "tasks/_list.html" if visit.is_partial else "tasks/tasks.html",
        groups=_grouped(visit, await shown.task_rows(visit, found.rows)),
        next=found.next,
        filters=[
            *lists.chips(visit, "due", by_due, standard="open"),
            *lists.chips(visit, "who", by_who, standard="me"),
        ],
    )


def _due(visit: Visit, statement: Select[Any], due: str) -> Select[Any]:
    now = visit.viewer.now
    if due == "done":
        return statement.where(Task.status.not_in(OPEN_STATUSES))
    statement = statement.where(Task.status.in_(OPEN_STATUSES))
    if due == "overdue":
        return statement.where(Task.due_at <= now)
    if due == "today":
        return statement.where(Task.due_at > now, Task.due_at < day_begins(visit.viewer, days=1))
    if due == "whenever":
        return statement.where(Task.due_at.is_(None))
    return statement


def _grouped(visit: Visit, rows: list[ShownTask]) -> list[Group]:
    tomorrow, say = day_begins(visit.viewer, days=1), visit.translate
    groups = [
        Group("overdue", say(N_("Overdue")), True, []),
        Group("today", say(N_("Today")), False, []),
        Group("later", say(N_("Later")), False, []),
        Group("whenever", say(N_("Without a deadline")), False, []),
        Group("over", say(N_("Done")), False, []),
    ]
    for task in rows:
        if task.status not in OPEN_STATUSES:
            place = 4
        elif task.due_at is None:
            place = 3
        elif task.overdue:
            place = 0
        else:
            place = 1 if task.due_at < tomorrow else 2
        groups[place].tasks.append(task)
    return groups


@dataclass(frozen=True, slots=True)
class TaskForm:
    """A task as its sheet shows it above the form."""

    id: int
    status: str
    due_at: datetime | None
    created_at: datetime
    version: int
    contact: Any
    deal: Any
    phone: str


_FIELDS = ("title", "kind", "due_at", "assignee_id", "priority", "deal_id", "contact_id", "note")


async def new(visit: Visit) -> web.Response:
    """Show the form for a new task: `?deal=…` or `?contact=…` says what it is about."""
    visit.rights.require_change()
    values = {
        "title": "",
        "kind": "call",
        "due_at": "",
        "assignee_id": str(visit.user.id),
        "priority": "normal",
        "deal_id": visit.request.query.get("deal", ""),
        "contact_id": visit.request.query.get("contact", ""),
        "note": "",
    }
    return await _form(visit, None, values)


async def add(visit: Visit) -> web.Response:
    """Give somebody something to do."""
    visit.rights.require_change()
    values = {name: visit.field(name) for name in _FIELDS}
    try:
        async with visit.session.begin_nested():
            deal, contact = await _about(visit, values)
            owner = deal or contact
            to = typed.record_id(values["assignee_id"], field="assignee_id")
            if to is not None:
                await users.for_work(visit.session, to, field="assignee_id")
            task = await tasks.add(
                visit.session,
                title=values["title"][:300],
                kind=TaskKind(_known(visit, "task_kind", "kind", values)),
                priority=_known(visit, "priority", "priority", values),
                due_at=typed.moment(values["due_at"], visit.viewer.time_zone, field="due_at"),
                assignee_id=to,
                team_id=owner.team_id if owner else next(iter(visit.rights.team_ids), None),
                contact_id=deal.contact_id if deal else (contact.id if contact else None),
                deal_id=deal.id if deal else None,
                lead_id=deal.lead_id if deal else None,
                note=values["note"][:10_000],
                at=visit.viewer.now,
                actor_id=visit.user.id,
            )
    except (Rejected, Conflict) as refusal:
        return await _form(visit, None, values, refusal)
    return visit.done(_place(task), N_("The task was added"))


def _place(task: Task) -> str:
    """Return the page of what a task is about, to go back to where there are no scripts."""
    if task.deal_id:
        return f"/deals/{task.deal_id}"
    return f"/contacts/{task.contact_id}" if task.contact_id else "/tasks"


def _known(visit: Visit, vocabulary: str, field: str, values: Mapping[str, str]) -> str:
    if values[field] not in LABELS[vocabulary]:
        raise Rejected(visit.translate(N_("Choose one of the list")), field=field)
    return values[field]


async def _about(visit: Visit, values: Mapping[str, str]) -> tuple[Deal | None, Contact | None]:
    """Return the deal or contact a task is about, which the person must see."""
    if deal_id := typed.record_id(values["deal_id"], field="deal_id"):
        return await access.fetch(visit.session, visit.rights, Deal, deal_id), None
    if contact_id := typed.record_id(values["contact_id"], field="contact_id"):
        return None, await access.fetch(visit.session, visit.rights, Contact, contact_id)
    return None, None


async def show(visit: Visit, task_id: int) -> web.Response:
    """Show a task, with its form for who may change it."""
    task = await access.fetch(visit.session, visit.rights, Task, task_id)
    return await _form(visit, task, _values(visit, task))


def _values(visit: Visit, task: Task) -> dict[str, str]:
    local = task.due_at.astimezone(ZoneInfo(visit.viewer.time_zone)) if task.due_at else None
    return {
        "title": task.title,
        "kind": task.kind,
        "due_at": local.strftime("%Y-%m-%dT%H:%M") if local else "",
        "assignee_id": str(task.assignee_id or ""),
        "priority": task.priority,
        "deal_id": "",
        "contact_id": "",
        "note": task.note,
    }


async def change(visit: Visit, task_id: int) -> web.Response:
    """Change a task: what it is, by when, whose."""
    task = await access.fetch(visit.session, visit.rights, Task, task_id, change=True)
    before = _values(visit, task)
    values = {name: visit.field(name) for name in _FIELDS}
    now, actor_id = visit.viewer.now, visit.user.id
    try:
        async with visit.session.begin_nested():
            task = await changing(visit, Task, task_id)
            if "assignee_id" in visit.form:
                to = await chosen_person(visit, "assignee_id", task.assignee_id)
                await tasks.assign(visit.session, task, to=to, at=now, actor_id=actor_id)
            # Compared as it was typed: the field knows no seconds, and an untouched deadline is not a new one.
            if values["due_at"] != before["due_at"]:
                due_at = typed.moment(values["due_at"], visit.viewer.time_zone, field="due_at")
                if due_at is None:
                    raise Rejected(visit.translate(N_("A deadline can be moved but not taken away")), field="due_at")
                await tasks.postpone(visit.session, task, to=due_at, at=now, actor_id=actor_id)
            await tasks.change(
                visit.session,
                task,
                at=now,
                actor_id=actor_id,
                title=values["title"][:300],
                kind=_known(visit, "task_kind", "kind", values),
                priority=_known(visit, "priority", "priority", values),
                note=values["note"][:10_000],
            )
    except (Rejected, Conflict, Stale) as refusal:
        await visit.session.refresh(task)  # what was undone is read again
        return await _form(visit, task, values, refusal)
    return visit.done("/tasks", N_("Saved"))


async def _form(
    visit: Visit, task: Task | None, values: Mapping[str, str], refusal: Rejected | Conflict | Stale | None = None
) -> web.Response:
    errors, form_error = form_errors(refusal, visit.translate)
    about, head = "", None
    if task is None:
        deal, contact = await _about(visit, values)
        about = deal.title if deal else (contact.name if contact else "")
    else:
        row = (await shown.task_rows(visit, [task]))[0]
        head = TaskForm(
            task.id, task.status, task.due_at, task.created_at, task.version, row.contact, row.deal, row.phone
        )
    return visit.sheet(
        "tasks/_form.html",
        visit.translate(N_("Task") if task else N_("New task")),
        task=head,
        values=values,
        people=await colleagues(visit, owner_id=task.assignee_id if task else None, new=task is None),
        about=about,
        errors=errors,
        form_error=form_error,
    )


async def complete(visit: Visit, task_id: int) -> web.Response:
    """Tick a task off. It can be taken back."""
    task = await changing(visit, Task, task_id)
    await tasks.complete(visit.session, task, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done("/tasks", N_("Done"), undo=f"/tasks/{task.id}/reopening")


async def reopen(visit: Visit, task_id: int) -> web.Response:
    """Take back that a task is over."""
    task = await changing(visit, Task, task_id)
    await progress.reopen(visit.session, task, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done("/tasks", N_("It is to be done again"))


async def cancel(visit: Visit, task_id: int) -> web.Response:
    """Note that a task need not be done. It can be taken back."""
    task = await changing(visit, Task, task_id)
    if task.status == TaskStatus.DONE:
        raise Rejected(visit.translate(N_("The task is done already")))
    await tasks.cancel(visit.session, task, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done("/tasks", N_("Canceled"), undo=f"/tasks/{task.id}/reopening")


async def postpone(visit: Visit, task_id: int) -> web.Response:
    """Move a task to later: `until=tomorrow`, or a moment."""
    task = await changing(visit, Task, task_id)
    if visit.field("until") == "tomorrow":
        to = _tomorrow(visit)
    else:
        chosen = typed.moment(visit.field("until"), visit.viewer.time_zone, field="until")
        if chosen is None:
            raise Rejected(visit.translate(N_("Choose a day and a time")), field="until")
        to = chosen
    await tasks.postpone(visit.session, task, to=to, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done("/tasks", N_("Moved to tomorrow") if visit.field("until") == "tomorrow" else N_("Moved"))


def _tomorrow(visit: Visit) -> datetime:
    """Return when work begins on the next working day; ten o'clock where the company never closes."""
    morning = day_begins(visit.viewer, days=1)
    schedule = hours_json.from_json(visit.company.schedule)
    opening = morning if schedule.is_open(morning) else schedule.next_opening(morning)
    if opening is None or opening == morning:
        local = morning.astimezone(ZoneInfo(visit.viewer.time_zone)) + timedelta(hours=_MORNING)
        return local.astimezone(UTC)
    return opening
