"""The calls of this moment, on every page: whose phone rings sees who it is, who talks can note what it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web
from sqlalchemy import ColumnElement, or_, select

from core.kernel.errors import NotFound
from core.kernel.events import TimelineEvent
from core.people.contacts import Contact
from core.sales.deals import Deal, Outcome
from core.staff import access
from core.talk.calls import UNDER_WAY, Call
from core.talk.conversations import Message
from hub.web import shown, shown_calls
from hub.web.shown import Person, ShownDeal
from hub.web.shown_calls import ShownCall
from hub.web.visits import Visit

_STAYS = timedelta(minutes=30)  # how long a call that has ended waits to be put away
_MOST = 5
_REMEMBERED = 30  # calls that were put away


@dataclass(frozen=True, slots=True)
class Words:
    """What was said last: a message or a note, and by whom; `author` is None for the contact themselves."""

    text: str
    author: Person | None
    at: datetime


@dataclass(frozen=True, slots=True)
class PresentCall:
    """A call of this moment.

    state      rings, dials (we call them), talks, over
    may_open   the person may see the contact's own page
    manager    who looks after the contact
    last_call  the call before this one, if it was later than the last message
    """

    call: ShownCall
    state: str
    contact: Person | None
    may_open: bool
    manager: Person | None
    deal: ShownDeal | None
    last_message: Words | None
    last_call: ShownCall | None
    last_note: Words | None


async def ringing(visit: Visit) -> web.Response:
    """Show the person's calls of this moment: `?keep=` names those on which a note is being written."""
    found = await _found(visit)
    present = [await _present(visit, call, state) for call, state in found]
    return visit.page("calls/_ringing.html", present=present)


async def put_away(visit: Visit, call_id: int) -> web.Response:
    """Take a call that is over from the person's pages."""
    found = await visit.session.scalar(select(Call.id).where(Call.id == call_id, _involves(visit)))
    if found is None:
        raise NotFound("call", call_id)
    settings = visit.user.settings
    visit.user.settings = {**settings, "put_away": [*_put_away(visit), call_id][-_REMEMBERED:]}
    return visit.done(f"/calls/{call_id}")


def _put_away(visit: Visit) -> list[int]:
    kept = visit.user.settings.get("put_away", [])
    return [each for each in kept if isinstance(each, int)] if isinstance(kept, list) else []


def _involves(visit: Visit) -> ColumnElement[bool]:
    return or_(Call.user_id == visit.user.id, Call.rang.contains([visit.user.id]))


async def _found(visit: Visit) -> list[tuple[Call, str]]:
    """Return the calls to show with their states: what rings first, then what is talked, then what is over."""
    session, me, now = visit.session, visit.user.id, visit.viewer.now
    told = Call.direction != "internal"
    mine = or_(Call.ringing.contains([me]), Call.user_id == me)
    under_way = select(Call).where(Call.status.in_(UNDER_WAY), mine, told).order_by(Call.id).limit(_MOST)
    last = select(Call).where(Call.user_id == me, told).order_by(Call.id.desc()).limit(_MOST)
    away, kept = set(_put_away(visit)), _kept(visit)
    states: dict[int, tuple[Call, str]] = {}
    for call in await session.scalars(under_way):
        if me in call.ringing:
            states[call.id] = call, "rings"
        elif call.answered_at is not None:
            states[call.id] = call, "talks"
        elif call.direction == "outbound":
            states[call.id] = call, "dials"
    for call in await session.scalars(last):
        ours = call.answered_at is not None or call.direction == "outbound"
        if call.is_over and ours and call.id not in away and call.ended_at and call.ended_at > now - _STAYS:
            states[call.id] = call, "over"
    if unfinished := kept - states.keys() - away:
        for call in await session.scalars(select(Call).where(Call.id.in_(unfinished), _involves(visit))):
            states[call.id] = call, "over" if call.is_over else "elsewhere"
    order = ("rings", "dials", "talks", "elsewhere", "over")
    return sorted(states.values(), key=lambda each: (order.index(each[1]), each[0].id))[:_MOST]


def _kept(visit: Visit) -> set[int]:
    given = visit.request.query.getall("keep", [])[:_MOST]
    return {int(each) for each in given if each.isascii() and each.isdigit() and len(each) < 19}


async def _present(visit: Visit, call: Call, state: str) -> PresentCall:
    session, rights = visit.session, visit.rights
    row = (await shown_calls.rows(visit, [call]))[0]
    contact = None if call.contact_id is None else await session.get(Contact, call.contact_id)
    if contact is None:
        return PresentCall(row, state, None, False, None, None, None, None, None)
    seen = access.narrow(select(Contact.id).where(Contact.id == contact.id), rights, Contact)
    may_open = await session.scalar(seen) is not None
    managers = await shown.people(session, [contact.owner_id])
    message, before = await _last_message(visit, contact.id), await _last_call(visit, call)
    if message is not None and before is not None:
        message, before = (message, None) if message.at > before.at else (None, before)
    return PresentCall(
        call=row,
        state=state,
        contact=Person(contact.id, contact.name),
        may_open=may_open,
        manager=managers.get(contact.owner_id),
        deal=await _deal(visit, call),
        last_message=message,
        last_call=before,
        last_note=await _last_note(visit, contact.id),
    )


async def _deal(visit: Visit, call: Call) -> ShownDeal | None:
    """Return the open deal the call is about, else the contact's newest one."""
    statement = select(Deal).where(Deal.contact_id == call.contact_id, Deal.outcome == Outcome.OPEN)
    statement = statement.order_by((Deal.id == call.deal_id).desc().nulls_last(), Deal.id.desc()).limit(1)
    found = list(await visit.session.scalars(access.narrow(statement, visit.rights, Deal)))
    return next(iter(await shown.deal_rows(visit, found, next_tasks=False)), None)


async def _last_message(visit: Visit, contact_id: int) -> Words | None:
    statement = (
        select(Message.text, Message.author_id, Message.direction, Message.occurred_at)
        .where(Message.contact_id == contact_id, Message.private.is_(False), Message.text != "")
        .order_by(Message.id.desc())
        .limit(1)
    )
    row = (await visit.session.execute(access.narrow(statement, visit.rights, Message))).first()
    if row is None:
        return None
    authors = await shown.people(visit.session, [row.author_id])
    return Words(row.text, authors.get(row.author_id), row.occurred_at)


async def _last_call(visit: Visit, call: Call) -> ShownCall | None:
    statement = select(Call).where(
        Call.contact_id == call.contact_id, Call.id != call.id, Call.direction != "internal", Call.id < call.id
    )
    statement = access.narrow(statement, visit.rights, Call).order_by(Call.id.desc()).limit(1)
    return next(iter(await shown_calls.rows(visit, list(await visit.session.scalars(statement)))), None)


async def _last_note(visit: Visit, contact_id: int) -> Words | None:
    statement = (
        select(TimelineEvent.at, TimelineEvent.actor_id, TimelineEvent.details)
        .where(
            TimelineEvent.contact_id == contact_id,
            TimelineEvent.kind.in_(("note.added", "conversation.noted")),
        )
        .order_by(TimelineEvent.id.desc())
        .limit(1)
    )
    row = (await visit.session.execute(access.narrow(statement, visit.rights, TimelineEvent))).first()
    if row is None or not row.details.get("text"):
        return None
    authors = await shown.people(visit.session, [row.actor_id])
    return Words(str(row.details["text"]), authors.get(row.actor_id), row.at)
