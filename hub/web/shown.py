"""Records as pages show them: with the names of their people, and each kind of neighbour read in one query for all
rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from core.people.contacts import Contact, ContactIdentity
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Stage
from core.staff import access, users
from core.staff.access import Rights
from core.work.tasks import OPEN_STATUSES, Task
from hub.web.visits import Visit

ROTS_AFTER = timedelta(days=14)
"""How long a deal may stand in an open stage until the board marks it."""


@dataclass(frozen=True, slots=True)
class Person:
    """A colleague, or a contact of whom the name is enough."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Known:
    """A contact with the addresses the person may see."""

    id: int
    name: str
    identities: Sequence[ContactIdentity]


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units."""

    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class ShownLead:
    """A lead in a list. `due_at` is the next deadline of what is to be done about it."""

    id: int
    contact: Person
    message: str
    source: str
    status: str
    owner: Person | None
    due_at: datetime | None
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class ShownTask:
    """A task in a list. `phone` is a number to call about it."""

    id: int
    title: str
    kind: str
    status: str
    priority: str
    due_at: datetime | None
    overdue: bool
    created_at: datetime
    completed_at: datetime | None
    escalated_to: Sequence[int]
    version: int
    assignee: Person | None
    contact: Person | None
    deal: ShownTitle | None
    phone: str


@dataclass(frozen=True, slots=True)
class ShownTitle:
    """A deal of which the title is enough."""

    id: int
    title: str


@dataclass(frozen=True, slots=True)
class ShownDeal:
    """A deal in a list or on the board."""

    id: int
    title: str
    contact: Person
    amount: Money | None
    owner: Person | None
    outcome: str
    stage: Stage
    stage_entered_at: datetime
    days_in_stage: int
    rotting: bool
    next_task: Task | None
    version: int


async def people(session: AsyncSession, ids: Iterable[int | None]) -> dict[int | None, Person]:
    """Return several colleagues at once. Nobody has the id None, so that `found.get(owner_id)` is right for it."""
    return {user_id: Person(user_id, name) for user_id, name in (await users.names(session, ids)).items()}


async def known(visit: Visit, contact_id: int) -> Known:
    """Return a contact of a record the person sees: the name, and the addresses if they may see the contact itself."""
    name = await visit.session.scalar(select(Contact.name).where(Contact.id == contact_id))
    statement = select(ContactIdentity).where(ContactIdentity.contact_id == contact_id).order_by(ContactIdentity.id)
    found = await visit.session.scalars(access.narrow(statement, visit.rights, ContactIdentity))
    return Known(contact_id, name or "", list(found))


def due_of_lead() -> Any:
    """Return the next deadline of a lead's tasks, for the statement that selects the lead."""
    about = or_(Task.lead_id == Lead.id, and_(Task.deal_id.is_not(None), Task.deal_id == Lead.deal_id))
    return (
        select(func.min(Task.due_at))
        .where(Task.contact_id == Lead.contact_id, about, Task.status.in_(OPEN_STATUSES))
        .correlate(Lead)
        .scalar_subquery()
    )


LEAD_COLUMNS = (
    Lead.id,
    Lead.contact_id,
    Lead.message,
    Lead.source,
    Lead.status,
    Lead.owner_id,
    Lead.created_at,
    Lead.version,
    Contact.name,
)


def leads_of(rights: Rights, *, with_due: bool = False) -> Any:
    """Return the statement for the leads a person may see, as `lead_rows` takes them."""
    columns = (*LEAD_COLUMNS, due_of_lead().label("due_at")) if with_due else LEAD_COLUMNS
    return access.narrow(select(*columns).join(Contact, Contact.id == Lead.contact_id), rights, Lead)


async def lead_rows(session: AsyncSession, rows: Sequence[Any]) -> list[ShownLead]:
    """Make what lists show of leads; their owners are read at once."""
    owners = await people(session, [row[5] for row in rows])
    return [
        ShownLead(
            id=row[0],
            contact=Person(row[1], row[8]),
            message=row[2],
            source=row[3],
            status=row[4],
            owner=owners.get(row[5]),
            created_at=row[6],
            version=row[7],
            due_at=row[9] if len(row) > 9 else None,
        )
        for row in rows
    ]


async def task_rows(visit: Visit, tasks: Sequence[Task], *, phones: bool = True) -> list[ShownTask]:
    """Make what lists show of tasks; people, contacts, deals and phones are read at once."""
    if not tasks:
        return []
    session, now = visit.session, visit.viewer.now
    contact_ids = {task.contact_id for task in tasks if task.contact_id is not None}
    deal_ids = {task.deal_id for task in tasks if task.deal_id is not None}
    assignees = await people(session, [task.assignee_id for task in tasks])
    contacts: dict[int | None, Person] = {}
    if contact_ids:
        for row in await session.execute(select(Contact.id, Contact.name).where(Contact.id.in_(contact_ids))):
            contacts[row.id] = Person(row.id, row.name)
    titles: dict[int | None, ShownTitle] = {}
    if deal_ids:
        for row in await session.execute(select(Deal.id, Deal.title).where(Deal.id.in_(deal_ids))):
            titles[row.id] = ShownTitle(row.id, row.title)
    numbers = await _phones(visit, {task.contact_id for task in tasks if task.kind == "call"}) if phones else {}
    return [
        ShownTask(
            id=task.id,
            title=task.title,
            kind=task.kind,
            status=task.status,
            priority=task.priority,
            due_at=task.due_at,
            overdue=task.is_overdue(now),
            created_at=task.created_at,
            completed_at=task.completed_at,
            escalated_to=task.escalated_to,
            version=task.version,
            assignee=assignees.get(task.assignee_id),
            contact=contacts.get(task.contact_id),
            deal=titles.get(task.deal_id),
            phone=numbers.get(task.contact_id, ""),
        )
        for task in tasks
    ]


async def _phones(visit: Visit, contact_ids: set[int | None]) -> dict[int | None, str]:
    wanted = {contact_id for contact_id in contact_ids if contact_id is not None}
    if not wanted:
        return {}
    statement = (
        select(ContactIdentity.contact_id, ContactIdentity.value)
        .where(ContactIdentity.contact_id.in_(wanted), ContactIdentity.scheme == "phone")
        .order_by(ContactIdentity.id.desc())  # the oldest is left standing
    )
    rows = await visit.session.execute(access.narrow(statement, visit.rights, ContactIdentity))
    return {row.contact_id: row.value for row in rows}


async def deal_rows(visit: Visit, deals: Sequence[Deal], *, next_tasks: bool = True) -> list[ShownDeal]:
    """Make what lists and the board show of deals; contacts, owners, stages and next tasks are read at once."""
    if not deals:
        return []
    session, now = visit.session, visit.viewer.now
    owners = await people(session, [deal.owner_id for deal in deals])
    names = {
        row.id: row.name
        for row in await session.execute(
            select(Contact.id, Contact.name).where(Contact.id.in_({deal.contact_id for deal in deals}))
        )
    }
    stages = {
        stage.id: stage
        for stage in await session.scalars(select(Stage).where(Stage.id.in_({deal.stage_id for deal in deals})))
    }
    following = await _next_tasks(visit, [deal.id for deal in deals if deal.is_open]) if next_tasks else {}
    return [
        ShownDeal(
            id=deal.id,
            title=deal.title,
            contact=Person(deal.contact_id, names.get(deal.contact_id, "")),
            amount=None if deal.amount is None else Money(deal.amount, deal.currency),
            owner=owners.get(deal.owner_id),
            outcome=deal.outcome,
            stage=stages[deal.stage_id],
            stage_entered_at=deal.stage_entered_at,
            days_in_stage=max(0, (now - deal.stage_entered_at).days),
            rotting=deal.is_open and now - deal.stage_entered_at > ROTS_AFTER,
            next_task=following.get(deal.id),
            version=deal.version,
        )
        for deal in deals
    ]


async def _next_tasks(visit: Visit, deal_ids: Sequence[int]) -> dict[int | None, Task]:
    """Return for each deal the open task that is due first; one without a deadline comes last."""
    statement = (
        select(Task)
        .where(Task.deal_id.in_(deal_ids), Task.status.in_(OPEN_STATUSES))
        .ext(distinct_on(Task.deal_id))
        .order_by(Task.deal_id, Task.due_at.asc().nulls_last(), Task.id)
    )
    return {task.deal_id: task for task in await visit.session.scalars(access.narrow(statement, visit.rights, Task))}
