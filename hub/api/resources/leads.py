"""Leads: requests that nobody has qualified yet, with where they came from and why they went to whom they went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta
from sqlalchemy import select

from core.connections import Connection
from core.people.contacts import Contact
from core.sales.leads import Lead, LeadStatus
from core.sales.pipelines import Pipeline
from core.staff import access, users, workspace
from core.staff.teams import Team
from core.work import progress, routing, routing_sentences
from core.work.routing_rules import RoutingRule
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.resources import timeline
from hub.api.wire import Body, Id, Moment, Money, Page, View, as_id

Status = Literal["new", "working", "converted", "unqualified", "junk"]


class Explanation(View):
    """Why the lead went to whom it went: a code for programs and sentences for people, the decision first."""

    reason: str
    sentences: list[str]


class LeadView(View):
    """A request. `attribution` is of its first touch: utm_source, …, referrer, landing_page."""

    id: Id
    contact_id: Id
    status: Status
    source: str
    connection_id: Id | None
    attribution: dict[str, Any]
    fields: dict[str, Any]
    message: str
    owner_id: Id | None
    deal_id: Id | None
    routing: Explanation | None
    closed_at: Moment | None
    closed_because: str | None
    created_at: Moment
    version: int


class Conversion(Body):
    """What the deal is called and worth, if the lead has none yet, and the pipeline it goes through."""

    title: Annotated[str, Meta(min_length=1, max_length=300)] | None = None
    pipeline_id: Id | None = None
    amount: Money | None = None


class Disqualification(Body):
    """Why nothing will come of it."""

    status: Literal["unqualified", "junk"] = "unqualified"
    reason: Annotated[str, Meta(max_length=1000)] = ""


class Assignment(Body):
    """To whom it goes."""

    owner_id: Id


LEADS = Listing(
    "leads",
    unique=Lead.id,
    sorts={"created_at": Lead.created_at},
    filters={
        "status": paging.one_of(Lead.status, Status),
        "source": paging.one_of(Lead.source),
        "contact_id": paging.ids(Lead.contact_id),
        "owner_id": paging.ids(Lead.owner_id),
        "connection_id": paging.ids(Lead.connection_id),
        "deal_id": paging.ids(Lead.deal_id),
        "utm_campaign": paging.one_of(Lead.attribution["utm_campaign"].astext),
        **paging.moments(created_at=Lead.created_at, closed_at=Lead.closed_at),
    },
)


async def views(call: Call, rows: Sequence[Lead]) -> list[LeadView]:
    """Make the views of a page; the names in all explanations are read at once."""
    told = [row.routing for row in rows if row.routing]
    names = await _names(call, told) if told else routing_sentences.Names()
    return [
        LeadView(
            id=Id(row.id),
            contact_id=Id(row.contact_id),
            status=row.status,  # type: ignore[arg-type]
            source=row.source,
            connection_id=as_id(row.connection_id),
            attribution=row.attribution,
            fields=row.fields,
            message=row.message,
            owner_id=as_id(row.owner_id),
            deal_id=as_id(row.deal_id),
            routing=None
            if not row.routing
            else Explanation(
                reason=str(row.routing["reason"]), sentences=routing_sentences.sentences(row.routing, names=names)
            ),
            closed_at=row.closed_at,
            closed_because=row.closed_because,
            created_at=row.created_at,
            version=row.version,
        )
        for row in rows
    ]


async def _names(call: Call, told: Sequence[dict[str, Any]]) -> routing_sentences.Names:
    async def of(column: Any, label: Any) -> dict[int, str]:
        return {row[0]: row[1] for row in await call.session.execute(select(column, label))}

    return routing_sentences.Names(
        users=await users.names(call.session, {i for each in told for i in routing_sentences.users_in(each)}),
        teams=await of(Team.id, Team.name),
        rules=await of(RoutingRule.id, RoutingRule.title),
        connections=await of(Connection.id, Connection.title),
    )


async def index(call: Call, query: ListQuery) -> Page[LeadView]:
    """List leads."""
    found = await LEADS.page(call.session, access.narrow(select(Lead), call.rights, Lead), query)
    return Page(items=await views(call, found.rows), next=found.next)


async def show(call: Call, lead_id: Id) -> LeadView:
    """Show a lead."""
    return (await views(call, [await records.seen(call, Lead, lead_id)]))[0]


async def convert(call: Call, lead_id: Id, body: Conversion) -> LeadView:
    """Convert a lead: it is worth working on, as a deal.

    The deal it has goes on; a lead without one gets one.
    """
    lead = await records.changing(call, Lead, lead_id)
    if body.pipeline_id is not None:
        await records.referred(call, Pipeline, body.pipeline_id, field="pipeline_id")
    contact = await call.session.get(Contact, lead.contact_id)
    name = contact.name if contact else ""
    currency = (await workspace.get(call.session)).currency
    await progress.convert(
        call.session,
        lead,
        title=body.title or ": ".join(part for part in (name, lead.message[:60]) if part) or "New deal",
        amount=body.amount.amount if body.amount else None,
        currency=body.amount.currency if body.amount else currency,
        pipeline_id=body.pipeline_id,
        at=call.now,
        actor_id=call.user_id,
    )
    return (await views(call, [lead]))[0]


async def disqualify(call: Call, lead_id: Id, body: Disqualification) -> LeadView:
    """Disqualify a lead. Its open deal is lost with it, and what was to be done is off."""
    lead = await records.changing(call, Lead, lead_id)
    await progress.disqualify(
        call.session,
        lead,
        at=call.now,
        status=LeadStatus(body.status),
        reason=body.reason,
        actor_id=call.user_id,
    )
    return (await views(call, [lead]))[0]


async def assign(call: Call, lead_id: Id, body: Assignment) -> LeadView:
    """Give a lead to somebody, with the deal and the tasks that hang on it."""
    lead = await records.changing(call, Lead, lead_id)
    call.rights.require_assign(lead.owner_id)
    await users.for_work(call.session, body.owner_id, field="owner_id")
    if lead.owner_id != body.owner_id:
        await routing.take(call.session, lead, user_id=int(body.owner_id), at=call.now, actor_id=call.user_id)
    return (await views(call, [lead]))[0]


async def show_timeline(call: Call, lead_id: Id, query: ListQuery) -> Page[timeline.EventView]:
    """List what happened with a lead."""
    return await timeline.page(call, query, lead_id=(await records.seen(call, Lead, lead_id)).id)


ENDPOINTS = (
    Endpoint("GET", "/leads", index, listing=LEADS),
    Endpoint("GET", "/leads/{lead_id}", show),
    Endpoint("GET", "/leads/{lead_id}/timeline", show_timeline, listing=timeline.TIMELINE),
    Endpoint("POST", "/leads/{lead_id}/conversion", convert),
    Endpoint("POST", "/leads/{lead_id}/disqualification", disqualify),
    Endpoint("POST", "/leads/{lead_id}/assignment", assign),
)
