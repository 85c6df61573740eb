"""Deals: sales we are trying to make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select

from core.kernel.errors import Rejected
from core.people.contacts import Company, Contact
from core.sales import deals
from core.sales.deals import Deal
from core.sales.pipelines import Pipeline, Stage
from core.staff import access, users, workspace
from core.work import progress
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.resources import timeline
from hub.api.wire import Body, Custom, Id, Moment, Money, Page, View, as_id

Title = Annotated[str, Meta(min_length=1, max_length=300)]
Outcome = Literal["open", "won", "lost"]


class StageName(View):
    """Where a deal stands, in words."""

    name: str
    category: Outcome


class DealView(View):
    """A sale we are trying to make. `amount` is null while nobody knows."""

    id: Id
    title: str
    contact_id: Id
    company_id: Id | None
    lead_id: Id | None
    pipeline_id: Id
    stage_id: Id
    stage: StageName
    outcome: Outcome
    amount: Money | None
    owner_id: Id | None
    source: str | None
    lost_reason: str | None
    custom: dict[str, Any]
    stage_entered_at: Moment
    created_at: Moment
    closed_at: Moment | None
    version: int


class Worth(Money, frozen=True, forbid_unknown_fields=True):
    """What a deal is worth: not less than nothing."""

    def __post_init__(self) -> None:
        """Refuse what is less than nothing."""
        if self.amount < 0:
            raise ValueError("A deal is not worth less than nothing")


class NewDeal(Body):
    """A deal entered by hand. Without a stage it begins in the first of its pipeline; without that, of the default one.

    Without `owner_id` it is the caller's own; null leaves it to their team.
    """

    title: Title
    contact_id: Id
    pipeline_id: Id | None = None
    stage_id: Id | None = None
    company_id: Id | None = None
    amount: Worth | None = None
    owner_id: Id | UnsetType | None = UNSET
    source: Annotated[str, Meta(max_length=100)] | None = None
    custom: Custom = msgspec.field(default_factory=dict)


class DealChange(Body):
    """What is to change; what is left out stays."""

    title: Title | UnsetType = UNSET
    amount: Worth | UnsetType | None = UNSET
    company_id: Id | UnsetType | None = UNSET
    owner_id: Id | UnsetType | None = UNSET
    custom: Custom | UnsetType = UNSET


class Move(Body):
    """Where it goes."""

    stage_id: Id


class Loss(Body):
    """Why it was lost; the company's own words are under /lost-reasons."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class Assignment(Body):
    """To whom it goes; null: to nobody for now."""

    owner_id: Id | None


DEALS = Listing(
    "deals",
    unique=Deal.id,
    sorts={
        "created_at": Deal.created_at,
        "stage_entered_at": Deal.stage_entered_at,
        "closed_at": Deal.closed_at,
        "amount": Deal.amount,
        "title": Deal.title,
    },
    filters={
        "q": paging.matching(str, lambda text: Deal.title.icontains(text, autoescape=True), "Part of the title."),
        "outcome": paging.one_of(Deal.outcome, Outcome),
        "contact_id": paging.ids(Deal.contact_id),
        "company_id": paging.ids(Deal.company_id),
        "lead_id": paging.ids(Deal.lead_id),
        "owner_id": paging.ids(Deal.owner_id),
        "pipeline_id": paging.ids(Deal.pipeline_id),
        "stage_id": paging.ids(Deal.stage_id),
        "source": paging.one_of(Deal.source),
        **paging.moments(created_at=Deal.created_at, closed_at=Deal.closed_at),
    },
)


async def views(call: Call, rows: Sequence[Deal]) -> list[DealView]:
    """Make the views of a page; the stages of all of them are read at once."""
    found = await call.session.execute(
        select(Stage.id, Stage.name, Stage.category).where(Stage.id.in_({row.stage_id for row in rows}))
    )
    stages = {row.id: StageName(name=row.name, category=row.category) for row in found}
    return [
        DealView(
            id=Id(row.id),
            title=row.title,
            contact_id=Id(row.contact_id),
            company_id=as_id(row.company_id),
            lead_id=as_id(row.lead_id),
            pipeline_id=Id(row.pipeline_id),
            stage_id=Id(row.stage_id),
            stage=stages[row.stage_id],
            outcome=row.outcome,  # type: ignore[arg-type]
            amount=None if row.amount is None else Money(amount=row.amount, currency=row.currency),
            owner_id=as_id(row.owner_id),
            source=row.source,
            lost_reason=row.lost_reason,
            custom=row.custom,
            stage_entered_at=row.stage_entered_at,
            created_at=row.created_at,
            closed_at=row.closed_at,
            version=row.version,
        )
        for row in rows
    ]


async def _view(call: Call, deal: Deal) -> DealView:
    await call.session.flush()
    return (await views(call, [deal]))[0]


async def index(call: Call, query: ListQuery) -> Page[DealView]:
    """List deals."""
    found = await DEALS.page(call.session, access.narrow(select(Deal), call.rights, Deal), query)
    return Page(items=await views(call, found.rows), next=found.next)


async def show(call: Call, deal_id: Id) -> DealView:
    """Show a deal."""
    return await _view(call, await records.seen(call, Deal, deal_id))


async def add(call: Call, body: NewDeal) -> DealView:
    """Open a deal. What its stage asks for on entry is made a task."""
    call.rights.require_change()
    contact = await records.referred(call, Contact, body.contact_id, field="contact_id")
    owner_id = call.user_id if body.owner_id is UNSET else body.owner_id
    if owner_id is not None:
        await users.for_work(call.session, owner_id, field="owner_id")
    if body.company_id is not None:
        await records.referred(call, Company, body.company_id, field="company_id")
    deal = await deals.add(
        call.session,
        title=body.title,
        contact_id=contact.id,
        stage=await _begins_in(call, body),
        currency=body.amount.currency if body.amount else (await workspace.get(call.session)).currency,
        amount=body.amount.amount if body.amount else None,
        company_id=body.company_id,
        owner_id=owner_id,
        team_id=next(iter(call.rights.team_ids), None),
        source=body.source,
        custom=body.custom,
        at=call.now,
        actor_id=call.user_id,
    )
    await progress.open_deal(call.session, deal, at=call.now, actor_id=call.user_id)
    return await _view(call, deal)


async def _begins_in(call: Call, body: NewDeal) -> Stage:
    if body.stage_id is None:
        if body.pipeline_id is not None:
            await records.referred(call, Pipeline, body.pipeline_id, field="pipeline_id")
        return await progress.first_stage(call.session, body.pipeline_id)
    stage = await records.referred(call, Stage, body.stage_id, field="stage_id")
    if body.pipeline_id not in (None, stage.pipeline_id):
        raise Rejected("That stage belongs to another pipeline", field="stage_id")
    return stage


async def change(call: Call, deal_id: Id, body: DealChange) -> DealView:
    """Change a deal."""
    deal = await records.changing(call, Deal, deal_id)
    values = records.given(body)
    if "amount" in values:
        worth = values.pop("amount")
        values |= {"amount": None} if worth is None else {"amount": worth.amount, "currency": worth.currency}
    if values.get("company_id") is not None:
        await records.referred(call, Company, values["company_id"], field="company_id")
    if "owner_id" in values:
        await _hand_over(call, deal, values.pop("owner_id"))
    await deals.change(call.session, deal, at=call.now, actor_id=call.user_id, **values)
    return await _view(call, deal)


async def assign(call: Call, deal_id: Id, body: Assignment) -> DealView:
    """Give a deal to somebody, with the open tasks its owner had on it."""
    deal = await records.changing(call, Deal, deal_id)
    await _hand_over(call, deal, body.owner_id)
    return await _view(call, deal)


async def _hand_over(call: Call, deal: Deal, to: int | None) -> None:
    if to == deal.owner_id:
        return
    call.rights.require_assign(deal.owner_id)
    if to is not None:
        await users.for_work(call.session, to, field="owner_id")
    await progress.hand_over(call.session, deal, to=None if to is None else int(to), at=call.now, actor_id=call.user_id)


async def move(call: Call, deal_id: Id, body: Move) -> DealView:
    """Move a deal to another stage of its pipeline. A won or lost stage closes it, an open one reopens it."""
    deal = await records.changing(call, Deal, deal_id)
    stage = await records.referred(call, Stage, body.stage_id, field="stage_id")
    await progress.move(call.session, deal, stage, at=call.now, actor_id=call.user_id)
    return await _view(call, deal)


async def win(call: Call, deal_id: Id) -> DealView:
    """Win a deal."""
    deal = await records.changing(call, Deal, deal_id)
    await progress.win(call.session, deal, at=call.now, actor_id=call.user_id)
    return await _view(call, deal)


async def lose(call: Call, deal_id: Id, body: Loss) -> DealView:
    """Lose a deal, for a stated reason."""
    deal = await records.changing(call, Deal, deal_id)
    await progress.lose(call.session, deal, at=call.now, reason=body.reason, actor_id=call.user_id)
    return await _view(call, deal)


async def show_timeline(call: Call, deal_id: Id, query: ListQuery) -> Page[timeline.EventView]:
    """List what happened with a deal."""
    return await timeline.page(call, query, deal_id=(await records.seen(call, Deal, deal_id)).id)


ENDPOINTS = (
    Endpoint("GET", "/deals", index, listing=DEALS),
    Endpoint("POST", "/deals", add, status=201),
    Endpoint("GET", "/deals/{deal_id}", show),
    Endpoint("PATCH", "/deals/{deal_id}", change),
    Endpoint("GET", "/deals/{deal_id}/timeline", show_timeline, listing=timeline.TIMELINE),
    Endpoint("POST", "/deals/{deal_id}/stage", move),
    Endpoint("POST", "/deals/{deal_id}/win", win),
    Endpoint("POST", "/deals/{deal_id}/loss", lose),
    Endpoint("POST", "/deals/{deal_id}/assignment", assign),
)
