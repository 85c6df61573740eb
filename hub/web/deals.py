"""Deals on pages: the board or the table, one deal, and what moves it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import ColumnElement, select

from core.kernel.errors import Conflict, Rejected, Stale
from core.sales import deals, pipelines
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Category, LostReason, Pipeline, Stage
from core.staff import access, users
from core.work import progress
from core.work.tasks import OPEN_STATUSES, Task
from hub.api.paging import Listing
from hub.web import board, lists, shown, timelines, typed
from hub.web.changes import changing, chosen_person, colleagues
from hub.web.contacts import conversations_of, recognise
from hub.web.rendering import amount_value
from hub.web.shown import Known, Money, Person
from hub.web.visits import Visit, form_errors
from hub.web.words import N_

DEALS = Listing("deals", unique=Deal.id, sorts={"created_at": Deal.created_at})

_OUTCOMES = ("open", "won", "lost", "all")


@dataclass(frozen=True, slots=True)
class DealPage:
    """A deal as its own page shows it. `asked` is what the request said that it came from."""

    id: int
    title: str
    contact: Known
    lead_id: int | None
    pipeline: Pipeline
    stage: Stage
    outcome: str
    amount: Money | None
    owner: Person | None
    source: str | None
    lost_reason: str | None
    asked: str
    created_at: datetime
    version: int


async def index(visit: Visit) -> web.Response:
    """Show deals: `?view=board|table&pipeline=…&owner=me|nobody`, the table also `&outcome=…&stage=…`."""
    view = lists.one_of(visit, "view", ("board", "table"))
    every = list(await visit.session.scalars(select(Pipeline).order_by(Pipeline.is_default.desc(), Pipeline.id)))
    wanted = visit.request.query.get("pipeline", "")
    pipeline = next((each for each in every if str(each.id) == wanted), None) or await pipelines.default(visit.session)
    conditions: list[ColumnElement[bool]] = []
    owner = visit.request.query.get("owner")
    if owner in ("me", "nobody"):
        conditions.append(Deal.owner_id == (visit.user.id if owner == "me" else None))
    say = visit.translate
    common: dict[str, Any] = {
        "view": view,
        "pipelines": every,
        "pipeline": pipeline,
        "views": {name: lists.address(visit, {"view": name}, {"view": "board"}) for name in ("board", "table")},
        "filters": lists.chips(visit, "owner", [("me", say(N_("Mine"))), ("nobody", say(N_("Nobody's yet")))]),
    }
    if view == "board":
        stages = await pipelines.stages_of(visit.session, pipeline.id)
        columns = await board.columns(visit, stages, *conditions) if stages else []
        return visit.page("deals/_board.html" if visit.is_partial else "deals/deals.html", columns=columns, **common)
    outcome = lists.one_of(visit, "outcome", _OUTCOMES)
    by_outcome = [
        ("open", say(N_("Open"))),
        ("won", say(N_("Won"))),
        ("lost", say(N_("Lost"))),
        ("all", say(N_("All"))),
    ]
    common["filters"] = [*lists.chips(visit, "outcome", by_outcome, standard="open"), *common["filters"]]
    statement = access.narrow(select(Deal).where(Deal.pipeline_id == pipeline.id, *conditions), visit.rights, Deal)
    if outcome != "all":
        statement = statement.where(Deal.outcome == outcome)
    if stage_id := typed.record_id(visit.request.query.get("stage", ""), field="stage"):
        statement = statement.where(Deal.stage_id == stage_id)
    found = await lists.page(visit, DEALS, statement, sort="-created_at")
    return visit.page(
        "deals/_table.html" if visit.is_partial else "deals/deals.html",
        deals=await shown.deal_rows(visit, found.rows),
        next=found.next,
        **common,
    )


async def show(visit: Visit, deal_id: int) -> web.Response:
    """Show a deal."""
    session, rights = visit.session, visit.rights
    deal = await access.fetch(session, rights, Deal, deal_id)
    stages = await pipelines.stages_of(session, deal.pipeline_id)
    owners = await shown.people(session, [deal.owner_id])
    tasks = select(Task).where(Task.deal_id == deal.id, Task.status.in_(OPEN_STATUSES)).order_by(Task.due_at, Task.id)
    asked = select(Lead.id, Lead.message).where(Lead.id == deal.lead_id)
    lead = (await session.execute(access.narrow(asked, rights, Lead))).first()
    return visit.page(
        "deals/deal.html",
        deal=DealPage(
            id=deal.id,
            title=deal.title,
            contact=await shown.known(visit, deal.contact_id),
            lead_id=lead.id if lead else None,
            pipeline=await session.get_one(Pipeline, deal.pipeline_id),
            stage=next(stage for stage in stages if stage.id == deal.stage_id),
            outcome=deal.outcome,
            amount=_worth(deal),
            owner=owners.get(deal.owner_id),
            source=deal.source,
            lost_reason=deal.lost_reason,
            asked=lead.message if lead else "",
            created_at=deal.created_at,
            version=deal.version,
        ),
        stages=stages,
        tasks=await shown.task_rows(visit, list(await session.scalars(access.narrow(tasks, rights, Task)))),
        conversations=await conversations_of(visit, deal.contact_id),
        people=await colleagues(visit, owner_id=deal.owner_id),
        events=await timelines.of(visit, deal_id=deal.id),
        note_url=f"/deals/{deal.id}/notes" if rights.may_change else "",
    )


def _worth(deal: Deal) -> Money | None:
    return None if deal.amount is None else Money(deal.amount, deal.currency)


async def move(visit: Visit, deal_id: int) -> web.Response:
    """Take a deal to another stage. A lost deal needs a reason, so its sheet is opened instead."""
    deal = await changing(visit, Deal, deal_id)
    stage_id = typed.record_id(visit.field("stage_id"), field="stage_id")
    stage = await access.fetch(visit.session, visit.rights, Stage, stage_id or 0)
    if stage.category == Category.LOST and deal.is_open:
        return visit.ask(f"/deals/{deal.id}/lose")
    await progress.move(visit.session, deal, stage, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done(f"/deals/{deal.id}")


async def win(visit: Visit, deal_id: int) -> web.Response:
    """Close a deal as won."""
    deal = await changing(visit, Deal, deal_id)
    await progress.win(visit.session, deal, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done(f"/deals/{deal.id}", N_("Won. Well done"))


async def ask_why(visit: Visit, deal_id: int) -> web.Response:
    """Show the form that asks why a deal was lost."""
    deal = await access.fetch(visit.session, visit.rights, Deal, deal_id, change=True)
    return await _lose_form(visit, deal, "")


async def lose(visit: Visit, deal_id: int) -> web.Response:
    """Close a deal as lost, for a reason from the list or in other words."""
    deal = await access.fetch(visit.session, visit.rights, Deal, deal_id, change=True)
    reason = visit.field("other_reason") or visit.field("reason")
    try:
        async with visit.session.begin_nested():
            deal = await changing(visit, Deal, deal_id)
            await progress.lose(visit.session, deal, at=visit.viewer.now, reason=reason[:500], actor_id=visit.user.id)
    except (Rejected, Conflict, Stale) as refusal:
        await visit.session.refresh(deal)  # what was undone is read again
        return await _lose_form(visit, deal, reason, refusal)
    return visit.done(f"/deals/{deal.id}", N_("Closed as lost"))


async def _lose_form(
    visit: Visit, deal: Deal, reason: str, refusal: Rejected | Conflict | Stale | None = None
) -> web.Response:
    errors, form_error = form_errors(refusal, visit.translate)
    found = await visit.session.scalars(select(LostReason.name).order_by(LostReason.position, LostReason.id))
    return visit.sheet(
        "deals/_lose.html",
        visit.translate(N_("Why was it lost?")),
        deal=deal,
        lost_reasons=list(found),
        values={"reason": reason},
        errors=errors,
        form_error=form_error,
    )


async def assign(visit: Visit, deal_id: int) -> web.Response:
    """Give a deal to somebody, with the open tasks its owner had on it."""
    deal = await changing(visit, Deal, deal_id)
    to = await chosen_person(visit, "user_id", deal.owner_id)
    await progress.hand_over(visit.session, deal, to=to, at=visit.viewer.now, actor_id=visit.user.id)
    still_visible = await visit.session.scalar(
        access.narrow(select(Deal.id), visit.rights, Deal).where(Deal.id == deal.id)
    )
    return visit.done(f"/deals/{deal.id}", N_("It was handed over")) if still_visible else visit.go("/deals")


_NEW_FIELDS = ("title", "amount", "contact_name", "phone", "email", "stage_id", "owner_id")


async def new(visit: Visit) -> web.Response:
    """Show the form for a new deal."""
    visit.rights.require_change()
    first = await progress.first_stage(visit.session, None)
    values = {name: "" for name in _NEW_FIELDS} | {"stage_id": str(first.id), "owner_id": str(visit.user.id)}
    return await _form(visit, None, values)


async def add(visit: Visit) -> web.Response:
    """Open a deal by hand, with a person who is known already or a new one."""
    visit.rights.require_change()
    values = {name: visit.field(name) for name in _NEW_FIELDS}
    currency = visit.company.currency
    try:
        async with visit.session.begin_nested():
            if not values["title"]:
                raise Rejected(visit.translate(N_("Say what it is about")), field="title")
            amount = typed.amount(values["amount"], currency)
            stage_id = typed.record_id(values["stage_id"], field="stage_id")
            first = await progress.first_stage(visit.session, None)
            stage = await access.fetch(visit.session, visit.rights, Stage, stage_id) if stage_id else first
            owner_id = typed.record_id(values["owner_id"], field="owner_id") or visit.user.id
            await users.for_work(visit.session, owner_id, field="owner_id")
            contact = await _person(visit, values)
            deal = await deals.add(
                visit.session,
                title=values["title"][:300],
                contact_id=contact,
                stage=stage,
                currency=currency,
                amount=amount,
                owner_id=owner_id,
                team_id=next(iter(visit.rights.team_ids), None),
                at=visit.viewer.now,
                actor_id=visit.user.id,
            )
            await progress.open_deal(visit.session, deal, at=visit.viewer.now, actor_id=visit.user.id)
    except (Rejected, Conflict) as refusal:
        return await _form(visit, None, values, refusal)
    return visit.go(f"/deals/{deal.id}")


async def _person(visit: Visit, values: Mapping[str, str]) -> int:
    """Return the contact a new deal is with; a refusal of the name is put to the form's own field."""
    try:
        found = await recognise(visit, name=values["contact_name"], phone=values["phone"], email=values["email"])
    except Rejected as refusal:
        field = "contact_name" if refusal.field == "name" else refusal.field
        raise refusal.about(field) from refusal
    return found.id


async def edit(visit: Visit, deal_id: int) -> web.Response:
    """Show the form of a deal."""
    deal = await access.fetch(visit.session, visit.rights, Deal, deal_id, change=True)
    return await _form(visit, deal, {"title": deal.title, "amount": amount_value(_worth(deal))})


async def change(visit: Visit, deal_id: int) -> web.Response:
    """Change what a deal is about and what it is worth."""
    deal = await access.fetch(visit.session, visit.rights, Deal, deal_id, change=True)
    values = {name: visit.field(name) for name in ("title", "amount")}
    try:
        async with visit.session.begin_nested():
            deal = await changing(visit, Deal, deal_id)
            amount = typed.amount(values["amount"], deal.currency)
            await deals.change(
                visit.session,
                deal,
                at=visit.viewer.now,
                actor_id=visit.user.id,
                title=values["title"][:300],
                amount=amount,
            )
    except (Rejected, Conflict, Stale) as refusal:
        await visit.session.refresh(deal)  # what was undone is read again
        return await _form(visit, deal, values, refusal)
    return visit.done(f"/deals/{deal.id}", N_("Saved"))


async def _form(
    visit: Visit, deal: Deal | None, values: Mapping[str, str], refusal: Rejected | Conflict | Stale | None = None
) -> web.Response:
    errors, form_error = form_errors(refusal, visit.translate)
    choices: Sequence[tuple[int, str]] = []
    if deal is None:
        every = await pipelines.stages_of(visit.session, (await pipelines.default(visit.session)).id)
        choices = [(stage.id, stage.name) for stage in every if stage.category == Category.OPEN]
    return visit.sheet(
        "deals/_form.html",
        visit.translate(N_("Edit the deal") if deal else N_("New deal")),
        deal=deal,
        values=values,
        stages=choices,
        people=await colleagues(visit, new=True) if deal is None else [],
        currency=deal.currency if deal else visit.company.currency,
        errors=errors,
        form_error=form_error,
    )
