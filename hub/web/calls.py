"""Calls on pages: the list with those to call back on top, click to call, what a call came to, its recording."""

from __future__ import annotations

import mimetypes
from datetime import timedelta
from typing import Any

from aiohttp import web
from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.orm import aliased

from core.kernel import addresses
from core.kernel.addresses import PHONE
from core.kernel.errors import DomainError, Forbidden, NotFound, Rejected
from core.people.contacts import Contact, ContactIdentity
from core.sales.deals import Deal
from core.staff import access
from core.staff.access import Reach
from core.talk import calls
from core.talk.calls import IN_VAIN, UNDER_WAY, Call
from core.work.tasks import OPEN_STATUSES, Task
from hub import auth, files_door, telephony
from hub.api.paging import Listing
from hub.hooks import HUB, client_of
from hub.web import formats, lists, shown_calls, typed
from hub.web.changes import colleagues
from hub.web.rendering import day_begins
from hub.web.visits import Visit, guest, problem
from hub.web.words import N_

CALLS = Listing("calls", unique=Call.id, sorts={"started_at": Call.started_at})

_SHOWN = ("back", "in", "out", "all")
_PERIODS = {"today": 0, "week": -6, "month": -29}  # the day it begins with, counted from today
_TWICE = timedelta(seconds=10)  # a second click within that means the same call


def waits() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which somebody who rang waits to be called back.

    Nobody has talked to them since, and the task to do so is open. A hidden number cannot be called.
    """
    task = aliased(Task)
    is_open = exists(select(task.id).where(task.id == Call.task_id, task.status.in_(OPEN_STATUSES)))
    return (
        Call.direction == "inbound",
        Call.status.in_(IN_VAIN),
        Call.called_back_at.is_(None),
        Call.number != "",
        or_(Call.task_id.is_(None), is_open),
    )


async def index(visit: Visit) -> web.Response:
    """List calls, the last on top: `?show=back|in|out|all&who=me|<user>&period=today|week|month`."""
    what, who = lists.one_of(visit, "show", _SHOWN), visit.request.query.get("who", "")
    statement: Select[Any] = access.narrow(select(Call).where(Call.direction != "internal"), visit.rights, Call)
    statement = _of(_kind(statement, what), visit, who)
    if (period := visit.request.query.get("period", "")) in _PERIODS:
        statement = statement.where(Call.started_at >= day_begins(visit.viewer, days=_PERIODS[period]))
    found = await lists.page(visit, CALLS, statement, sort="-started_at")
    say = visit.translate
    by_kind = [
        ("back", say(N_("To call back"))),
        ("in", say(N_("Incoming"))),
        ("out", say(N_("Outgoing"))),
        ("all", say(N_("All"))),
    ]
    by_period = [("today", say(N_("Today"))), ("week", say(N_("7 days"))), ("month", say(N_("30 days")))]
    people = await colleagues(visit, new=True) if visit.rights.reach in (Reach.ALL, Reach.TEAM) else []
    return visit.page(
        "calls/_list.html" if visit.is_partial else "calls/calls.html",
        calls=await shown_calls.rows(visit, found.rows),
        next=found.next,
        filters=[
            *lists.chips(visit, "show", by_kind, standard="back"),
            *lists.chips(visit, "who", [("me", say(N_("Mine")))]),
            *lists.chips(visit, "period", by_period),
        ],
        what=what,
        who=who,
        people=[(user_id, name) for user_id, name in people if user_id != visit.user.id],
        kept={name: value for name, value in visit.request.query.items() if name in ("show", "period")},
        is_filtered=bool(who or period),
        has_telephone=any(live.line is not None for live in visit.hub.switchboard.live()),
    )


def _kind(statement: Select[Any], what: str) -> Select[Any]:
    if what == "back":
        return statement.where(*waits())
    if what in ("in", "out"):
        return statement.where(Call.direction == ("inbound" if what == "in" else "outbound"))
    return statement


def _of(statement: Select[Any], visit: Visit, who: str) -> Select[Any]:
    """Keep the calls somebody had, or has to answer with one of their own."""
    if who == "me":
        user_id = visit.user.id
    elif who.isascii() and who.isdigit() and len(who) < 19:
        user_id = int(who)
    else:
        return statement
    to_do = exists(select(Task.id).where(Task.id == Call.task_id, Task.assignee_id == user_id))
    return statement.where(or_(Call.user_id == user_id, and_(Call.user_id.is_(None), to_do)))


def missed_of(user_id: int) -> Select[Any]:
    """Return the statement for the ids of calls that somebody has to answer with one of their own."""
    # By the contact, for which calls have an index.
    theirs = and_(Call.contact_id == Task.contact_id, Call.task_id == Task.id)
    mine = Task.assignee_id == user_id, Task.status.in_(OPEN_STATUSES)
    return select(Call.id).join(Task, theirs).where(*mine, *waits())


async def show(visit: Visit, call_id: int) -> web.StreamResponse:
    """Show a call where it belongs, on its contact's timeline; by itself where there is none."""
    call = await access.fetch(visit.session, visit.rights, Call, call_id)
    if call.contact_id is not None and await _sees(visit, call.contact_id):
        return visit.go(f"/contacts/{call.contact_id}#call-{call.id}")
    return visit.page("calls/call.html", call=(await shown_calls.rows(visit, [call]))[0])


async def _sees(visit: Visit, contact_id: int) -> bool:
    found = select(Contact.id).where(Contact.id == contact_id)
    return await visit.session.scalar(access.narrow(found, visit.rights, Contact)) is not None


# --- click to call ---


async def place(visit: Visit) -> web.StreamResponse:
    """Have the person's own phone ring and then a number called. What is in the way is said with the way out of it."""
    visit.rights.require_change()
    number = visit.field("number")
    contact_id = typed.record_id(visit.field("contact_id"), field="contact_id")
    deal_id = typed.record_id(visit.field("deal_id"), field="deal_id")
    try:
        if contact_id is not None:
            await access.fetch(visit.session, visit.rights, Contact, contact_id)
            if number and not await _is_theirs(visit, contact_id, number):
                contact_id = None  # it is whose number it is
        if deal_id is not None:
            deal = await access.fetch(visit.session, visit.rights, Deal, deal_id)
            deal_id = deal_id if deal.contact_id == contact_id else None
        call = await _just_placed(visit, number)
        if call is None:
            async with visit.session.begin_nested():
                call = await telephony.call_up(
                    visit.session, visit.hub, visit.user, number=number, contact_id=contact_id, deal_id=deal_id
                )
    except Rejected as refusal:
        return _refused(visit, refusal)
    said = visit.translate(N_("Your phone %(extension)s rings, then we call %(number)s"))
    values = {"extension": visit.user.extension or "", "number": formats.phone(call.number)}
    return visit.done(f"/calls/{call.id}", said % values)


async def _is_theirs(visit: Visit, contact_id: int, number: str) -> bool:
    theirs = ContactIdentity.contact_id == contact_id, ContactIdentity.scheme == PHONE
    found = select(ContactIdentity.id).where(*theirs, ContactIdentity.value == number)
    return await visit.session.scalar(found) is not None


async def _just_placed(visit: Visit, number: str) -> Call | None:
    """Return the call that a first click of two has asked for."""
    read = addresses.phone(number, visit.company.country) if number else None
    if read is None:
        return None
    same = Call.user_id == visit.user.id, Call.number == read, Call.direction == "outbound"
    fresh = Call.status.in_(UNDER_WAY), Call.created_at > visit.viewer.now - _TWICE
    found: Call | None = await visit.session.scalar(select(Call).where(*same, *fresh).order_by(Call.id.desc()).limit(1))
    return found


def _refused(visit: Visit, refusal: Rejected) -> web.Response:
    """Say what is in the way of a call, and where it is put right."""
    link, text = "", ""
    if refusal.field == "user":
        said = N_("Nobody knows which phone is yours: enter your extension in your profile, then calls begin with it")
        link, text = "/profile#extension", N_("To your profile")
    elif refusal.field == "connection_id":
        said = N_("No telephone is connected that places calls. Ask an administrator to connect one")
        if visit.rights.may_manage:
            said = N_("No telephone is connected that places calls")
            link, text = "/settings/channels/new?q=voice", N_("Connect one")
    elif refusal.field == "to":
        said = N_("This cannot be read as a phone number: correct it on the contact, with the country's code")
    else:
        said = str(refusal)
    return visit.refuse(visit.translate(said), link=link, link_text=visit.translate(text) if text else "")


# --- what it came to ---


async def conclude(visit: Visit, call_id: int) -> web.StreamResponse:
    """Note what a call came to, or a few words on it. Whoever's phone it rang at may, too."""
    visit.rights.require_change()
    call = await _own_or_seen(visit, call_id)
    await calls.conclude(
        visit.session,
        call,
        at=visit.viewer.now,
        actor_id=visit.user.id,
        outcome=visit.field("outcome") if "outcome" in visit.form else None,
        note=visit.field("note") if "note" in visit.form else None,
    )
    return visit.done(f"/calls/{call.id}", N_("Noted"))


async def _own_or_seen(visit: Visit, call_id: int) -> Call:
    involved = or_(Call.user_id == visit.user.id, Call.rang.contains([visit.user.id]))
    found: Call | None = await visit.session.scalar(
        select(Call)
        .where(Call.id == call_id, or_(involved, access.visible(visit.rights, Call)))
        .with_for_update(of=Call)
    )
    if found is None:
        raise NotFound("call", call_id)
    return found


# --- recordings ---


async def recording(request: web.Request) -> web.StreamResponse:
    """Play a recording to whoever may hear it, or the part of it a player asks for. Listening is written down once.

    It is not streamed within a transaction: an hour of speech would hold a connection to the database for as long.
    """
    hub = request.app[HUB]
    try:
        async with hub.database.transaction() as session:
            who = await auth.signed_in(session, hub, request)
            if who is None:
                raise Forbidden("Sign in to hear this")
            call = await access.fetch(session, who.rights, Call, int(request.match_info["call_id"]))
            stored = await telephony.listen(
                session,
                who.rights,
                call,
                at=hub.clock.now(),
                client=client_of(request, hub.settings),
                method=request.method,
                piece=request.headers.get("Range", ""),
            )
    except DomainError as error:
        return problem(request, guest(request), error)
    ending = mimetypes.guess_extension(stored.content_type) or ""
    return await files_door.stream(request, hub, stored, f"call-{call.id}{ending}")
