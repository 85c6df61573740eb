"""My day: everything that waits for one person, the most urgent on top.

It has three live regions with addresses of their own. The new leads are read on every change, by two statements on
indexes whatever else is waiting; counters and tasks follow at their own pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web
from sqlalchemy import ColumnElement, Select, func, literal, select, union_all

from core.sales.leads import OPEN_STATUSES as OPEN_LEADS
from core.sales.leads import Lead, LeadStatus
from core.staff import access
from core.staff.access import Reach
from core.work.tasks import OPEN_STATUSES, Task
from hub.web import calls, shown
from hub.web.rendering import day_begins
from hub.web.shown import ShownLead, ShownTask
from hub.web.visits import Visit

SHOWN = 20
"""Rows of a section; the rest is behind its “show all”."""

COUNTED = 1000
"""A counter stops here: nobody needs to know by how many more, and counting them all would cost."""

_LATER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Section:
    """One heading of the day with its first rows. `all_url` leads to the rest, None where there is none."""

    rows: Sequence[Any]
    all_url: str | None


@dataclass(frozen=True, slots=True)
class Counters:
    """How much waits, each at most `COUNTED`."""

    overdue: int
    today: int
    new_leads: int
    unassigned: int
    missed_calls: int


async def day(visit: Visit) -> web.Response:
    """Show my day."""
    return visit.page(
        "day/day.html",
        counters=await _counters(visit),
        counted=COUNTED,
        **await _leads(visit),
        **await _queue(visit),
    )


async def counters(visit: Visit) -> web.Response:
    """Show the counters of my day anew."""
    return visit.page("day/_counters.html", counters=await _counters(visit), counted=COUNTED)


async def queue(visit: Visit) -> web.Response:
    """Show the tasks of my day anew."""
    return visit.page("day/_queue.html", **await _queue(visit))


async def leads(visit: Visit) -> web.Response:
    """Show the new leads of my day anew."""
    return visit.page("day/_leads.html", **await _leads(visit))


def _mine(visit: Visit) -> Select[Any]:
    statement = select(Task).where(Task.assignee_id == visit.user.id, Task.status.in_(OPEN_STATUSES))
    return access.narrow(statement, visit.rights, Task)


def new_of_mine(visit: Visit) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions under which a lead is new and the person's own."""
    return Lead.owner_id == visit.user.id, Lead.status == LeadStatus.NEW


def nobodys() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions under which a lead waits for somebody."""
    return Lead.owner_id.is_(None), Lead.status.in_(OPEN_LEADS)


async def _counters(visit: Visit) -> Counters:
    now, tomorrow = visit.viewer.now, day_begins(visit.viewer, days=1)
    tasks = _mine(visit).with_only_columns(Task.id)
    own = access.narrow(select(Lead.id), visit.rights, Lead)
    parts = (
        tasks.where(Task.due_at <= now),
        tasks.where(Task.due_at > now, Task.due_at < tomorrow),
        own.where(*new_of_mine(visit)),
        own.where(*nobodys()),
        calls.missed_of(visit.user.id),
    )
    counts = [select(func.count()).select_from(part.limit(COUNTED).subquery()).scalar_subquery() for part in parts]
    row = (await visit.session.execute(select(*counts))).one()
    return Counters(*row)


async def _leads(visit: Visit) -> dict[str, Any]:
    newest = shown.leads_of(visit.rights, with_due=True).order_by(Lead.id.desc()).limit(SHOWN + 1)
    oldest = shown.leads_of(visit.rights, with_due=True).order_by(Lead.id).limit(SHOWN + 1)
    mine = list(await visit.session.execute(newest.where(*new_of_mine(visit))))
    waiting = list(await visit.session.execute(oldest.where(*nobodys())))
    return {
        "new_leads": _section(await shown.lead_rows(visit.session, mine), "/leads?owner=me&status=new"),
        "unassigned": _section(await shown.lead_rows(visit.session, waiting), "/leads?owner=nobody"),
    }


async def _queue(visit: Visit) -> dict[str, Any]:
    """Return the tasks of the day by section: one statement finds them, one reads them."""
    now, tomorrow = visit.viewer.now, day_begins(visit.viewer, days=1)
    mine = _mine(visit)
    sections = {
        "overdue": mine.where(Task.due_at <= now),
        "today": mine.where(Task.due_at > now, Task.due_at < tomorrow),
        "later": mine.where(Task.due_at >= tomorrow, Task.due_at < tomorrow + _LATER),
        "whenever": mine.where(Task.due_at.is_(None)),
    }
    if visit.rights.reach in (Reach.ALL, Reach.TEAM):
        sections["of_others"] = _told_to(visit, now)
    found = union_all(
        *(
            select(
                statement.with_only_columns(Task.id, literal(name).label("section"))
                .order_by(Task.due_at, Task.id)
                .limit(SHOWN + 1)
                .subquery()
            )
            for name, statement in sections.items()
        )
    ).subquery()
    rows = await visit.session.execute(
        select(Task, found.c.section).join(found, found.c.id == Task.id).order_by(Task.due_at, Task.id)
    )
    tasks: list[Task] = []
    names: list[str] = []
    for task, name in rows:
        tasks.append(task)
        names.append(name)
    ready = await shown.task_rows(visit, tasks)
    urls = {
        "overdue": "/tasks?due=overdue",
        "today": "/tasks?due=today",
        "later": "/tasks",
        "whenever": "/tasks?due=whenever",
        "of_others": "/tasks?due=overdue&who=all",
    }
    return {
        section: _section([task for task, name in zip(ready, names, strict=True) if name == section], url)
        for section, url in urls.items()
    }


def _told_to(visit: Visit, now: datetime) -> Select[Any]:
    """Return the late tasks of others that the person was told of."""
    statement = select(Task).where(
        Task.status.in_(OPEN_STATUSES),
        Task.due_at <= now,
        Task.escalated_to.contains([visit.user.id]),
        Task.assignee_id.is_distinct_from(visit.user.id),
    )
    return access.narrow(statement, visit.rights, Task)


def _section(rows: Sequence[ShownLead] | Sequence[ShownTask], all_url: str) -> Section:
    return Section(rows[:SHOWN], all_url if len(rows) > SHOWN else None)
