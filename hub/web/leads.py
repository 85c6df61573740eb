"""Leads on pages: the list, one lead with why it went to whom it went, and what may be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.connections import Connection
from core.kernel.errors import Conflict, Rejected
from core.sales.deals import Deal
from core.sales.leads import OPEN_STATUSES, Lead, LeadStatus
from core.staff import access, users
from core.staff.teams import Team
from core.work import progress, routing, routing_sentences
from core.work.routing_rules import RoutingRule
from core.work.tasks import OPEN_STATUSES as OPEN_TASKS
from core.work.tasks import Task
from hub.api.paging import Listing
from hub.web import lists, shown, timelines
from hub.web.changes import changing, chosen_person, colleagues
from hub.web.contacts import recognise
from hub.web.shown import Known, Person, ShownTitle
from hub.web.visits import RENDERER, Visit, form_errors
from hub.web.words import N_

LEADS = Listing("leads", unique=Lead.id, sorts={"created_at": Lead.created_at})

CLOSED = (LeadStatus.CONVERTED, LeadStatus.UNQUALIFIED, LeadStatus.JUNK)
_STATUSES = {
    "open": OPEN_STATUSES,
    "new": (LeadStatus.NEW,),
    "working": (LeadStatus.WORKING,),
    "closed": CLOSED,
    "all": (),
}


@dataclass(frozen=True, slots=True)
class LeadPage:
    """A lead as its own page shows it."""

    id: int
    contact: Known
    message: str
    source: str
    status: str
    owner: Person | None
    deal: ShownTitle | None
    fields: Mapping[str, Any]
    attribution: Mapping[str, Any]
    consent: str | None
    connection: Connection | None
    closed_because: str | None
    created_at: datetime
    version: int


async def index(visit: Visit) -> web.Response:
    """List leads, the newest first: `?status=open|new|working|closed|all&owner=me|nobody`."""
    status = lists.one_of(visit, "status", tuple(_STATUSES))
    statement = shown.leads_of(visit.rights)
    if wanted := _STATUSES[status]:
        statement = statement.where(Lead.status.in_(wanted))
    owner = visit.request.query.get("owner")
    if owner in ("me", "nobody"):
        statement = statement.where(Lead.owner_id == (visit.user.id if owner == "me" else None))
    found = await lists.page(visit, LEADS, statement, sort="-created_at")
    say = visit.translate
    by_status = [
        ("open", say(N_("Open"))),
        ("new", say(N_("New"))),
        ("working", say(N_("In progress"))),
        ("closed", say(N_("Closed"))),
        ("all", say(N_("All"))),
    ]
    by_owner = [("me", say(N_("Mine"))), ("nobody", say(N_("Nobody's yet")))]
    return visit.page(
        "leads/_list.html" if visit.is_partial else "leads/leads.html",
        leads=await shown.lead_rows(visit.session, found.rows),
        next=found.next,
        filters=[*lists.chips(visit, "status", by_status, standard="open"), *lists.chips(visit, "owner", by_owner)],
    )


async def show(visit: Visit, lead_id: int) -> web.Response:
    """Show a lead."""
    lead = await access.fetch(visit.session, visit.rights, Lead, lead_id)
    session = visit.session
    owners = await shown.people(session, [lead.owner_id])
    connection = None if lead.connection_id is None else await session.get(Connection, lead.connection_id)
    deal = None
    if lead.deal_id is not None:
        row = await session.execute(
            access.narrow(select(Deal.id, Deal.title).where(Deal.id == lead.deal_id), visit.rights, Deal)
        )
        deal = next((ShownTitle(found.id, found.title) for found in row), None)
    tasks = select(Task).where(Task.contact_id == lead.contact_id, Task.lead_id == lead.id, Task.status.in_(OPEN_TASKS))
    open_tasks = await session.scalars(access.narrow(tasks, visit.rights, Task).order_by(Task.due_at, Task.id))
    return visit.page(
        "leads/lead.html",
        lead=LeadPage(
            id=lead.id,
            contact=await shown.known(visit, lead.contact_id),
            message=lead.message,
            source=lead.source,
            status=lead.status,
            owner=owners.get(lead.owner_id),
            deal=deal,
            fields=lead.fields,
            attribution=lead.attribution,
            consent=lead.consent,
            connection=connection,
            closed_because=lead.closed_because,
            created_at=lead.created_at,
            version=lead.version,
        ),
        tasks=await shown.task_rows(visit, list(open_tasks)),
        why=await _why(visit, lead),
        events=await timelines.of(visit, contact_id=lead.contact_id, lead_id=lead.id),
        note_url=f"/leads/{lead.id}/notes" if visit.rights.may_change else "",
        people=await colleagues(visit, owner_id=lead.owner_id) if lead.status in OPEN_STATUSES else [],
    )


async def _why(visit: Visit, lead: Lead) -> list[str]:
    """Return why the lead went to whom it went, in the reader's language and time."""
    if not lead.routing:
        return []

    async def called(label: Any) -> dict[int, str]:
        rows = await visit.session.execute(select(label.class_.id, label))
        return {row[0]: row[1] for row in rows}

    names = routing_sentences.Names(
        users=await users.names(visit.session, routing_sentences.users_in(lead.routing)),
        teams=await called(Team.name),
        rules=await called(RoutingRule.title),
        connections=await called(Connection.title),
    )
    renderer = visit.request.app[RENDERER]
    return routing_sentences.sentences(
        lead.routing,
        names=names,
        show_time=lambda moment: renderer.moment(visit.viewer, moment),
        translate=visit.translate,
    )


async def assign(visit: Visit, lead_id: int) -> web.Response:
    """Give a lead to somebody, or take it (`user_id=me`), with the deal and the tasks that hang on it."""
    lead = await changing(visit, Lead, lead_id)
    if lead.owner_id is not None and visit.field("user_id") == "me" and lead.owner_id != visit.user.id:
        raise Conflict(visit.translate(N_("Somebody else was faster and took it")))
    to = await chosen_person(visit, "user_id", lead.owner_id)
    if to is None:
        raise Rejected(visit.translate(N_("Choose somebody")), field="user_id")
    if to != lead.owner_id:
        await routing.take(visit.session, lead, user_id=to, at=visit.viewer.now, actor_id=visit.user.id)
    told = N_("It is yours now") if to == visit.user.id else N_("It was handed over")
    still_visible = await visit.session.scalar(
        access.narrow(select(Lead.id), visit.rights, Lead).where(Lead.id == lead.id)
    )
    return visit.done(f"/leads/{lead.id}", told) if still_visible else visit.go("/leads")


async def convert(visit: Visit, lead_id: int) -> web.Response:
    """Make a deal of a lead, and go there."""
    lead = await changing(visit, Lead, lead_id)
    contact = await shown.known(visit, lead.contact_id)
    deal = await progress.convert(
        visit.session,
        lead,
        title=": ".join(part for part in (contact.name, lead.message[:60]) if part) or visit.translate(N_("New deal")),
        currency=visit.company.currency,
        at=visit.viewer.now,
        actor_id=visit.user.id,
    )
    return visit.go(f"/deals/{deal.id}")


async def disqualify(visit: Visit, lead_id: int) -> web.Response:
    """Close a lead as no lead."""
    lead = await changing(visit, Lead, lead_id)
    try:
        status = LeadStatus(visit.field("status"))
    except ValueError:
        raise Rejected(visit.translate(N_("Choose what it is instead of a lead")), field="status") from None
    await progress.disqualify(
        visit.session,
        lead,
        at=visit.viewer.now,
        status=status,
        reason=visit.field("reason")[:1000],
        actor_id=visit.user.id,
    )
    return visit.done(f"/leads/{lead.id}", N_("Closed. Its deal and its tasks are closed with it"))


_FIELDS = ("name", "phone", "email", "message")


async def new(visit: Visit) -> web.Response:
    """Show the form for a request that came some other way."""
    visit.rights.require_change()
    return _form(visit, {name: "" for name in _FIELDS})


async def add(visit: Visit) -> web.Response:
    """Enter a request that came some other way; it is the person's own."""
    visit.rights.require_change()
    values = {name: visit.field(name) for name in _FIELDS}
    try:
        async with visit.session.begin_nested():
            contact = await recognise(visit, name=values["name"], phone=values["phone"], email=values["email"])
            lead = await progress.enter_lead(
                visit.session,
                contact,
                message=values["message"][:10_000],
                currency=visit.company.currency,
                owner_id=visit.user.id,
                team_id=next(iter(visit.rights.team_ids), None),
                at=visit.viewer.now,
                actor_id=visit.user.id,
            )
    except (Rejected, Conflict) as refusal:
        return _form(visit, values, refusal)
    return visit.go(f"/leads/{lead.id}")


def _form(visit: Visit, values: Mapping[str, str], refusal: Rejected | Conflict | None = None) -> web.Response:
    errors, form_error = form_errors(refusal, visit.translate)
    return visit.sheet(
        "leads/_form.html", visit.translate(N_("New lead")), values=values, errors=errors, form_error=form_error
    )
