"""Calls: the telephone, ringing and recorded, and the click that has somebody called."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from aiohttp import web
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import ColumnElement, or_, select

from core.kernel.errors import Forbidden, Rejected
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.staff import access, users
from core.staff.access import Reach
from core.staff.teams import TeamMember
from core.staff.users import User
from core.talk import calls
from core.talk.calls import Call as Telephoned
from core.talk.calls import CallRecording
from hub import files_door, telephony
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint, Playback
from hub.api.paging import Filter, Listing, ListQuery
from hub.api.wire import Body, Id, Moment, Page, View, as_id

Direction = Literal["inbound", "outbound", "internal"]
Status = Literal["ringing", "in_progress", "completed", "missed", "busy", "failed", "canceled", "voicemail"]
Outcome = Literal["interested", "call_later", "not_interested", "no_answer", "wrong_number", "solved"]
OUTSIDE: Final = ("inbound", "outbound")
"""The directions that are shown unless somebody asks for calls between colleagues."""


class CallRecordingView(View):
    """Its recording. `available`: there is one, and the caller may hear it, at `url`."""

    available: bool
    url: str | None


class CallStep(View):
    """Something on the way of a call: `phase` is queued, menu, ringing, answered, held, transferred, voicemail, …"""

    at: Moment
    phase: str
    extension: str
    user_id: Id | None
    detail: str


class CallView(View, rename={"from_": "from"}):
    """A telephone call.

    `number` is the other side in E.164, "" where it is hidden, short or none; `from` and `to` are as the provider wrote
    them where that is so. `line` is the number of ours. `user_id` is who talked, else whose call it is. `wait_seconds`
    is the time until somebody answered, or the end. `is_lost`: its end was never heard. `called_back_by` is the call in
    which somebody talked with a person who had rung in vain, `task_id` the task to call them. `trouble`: why a call
    that was asked for was not placed.
    """

    id: Id
    connection_id: Id
    contact_id: Id | None
    deal_id: Id | None
    lead_id: Id | None
    direction: Direction
    from_: str
    to: str
    number: str
    line: str
    user_id: Id | None
    status: Status
    started_at: Moment
    answered_at: Moment | None
    ended_at: Moment | None
    wait_seconds: int | None
    talk_seconds: int | None
    recording: CallRecordingView
    steps: list[CallStep]
    after_hours: bool
    is_lost: bool
    called_back_at: Moment | None
    called_back_by: Id | None
    task_id: Id | None
    outcome: Outcome | None
    note: str
    trouble: str | None
    created_at: Moment
    version: int


class NewCall(Body):
    """Whom to call: a contact or a deal's, at their first number, or at `to`; or a number that is nobody's yet.

    `user_id`: whose phone rings first, the caller's own if left out. `connection_id`: over which telephony.
    """

    contact_id: Id | None = None
    to: Annotated[str, Meta(max_length=60)] = ""
    deal_id: Id | None = None
    connection_id: Id | None = None
    user_id: Id | None = None


class CallChange(Body):
    """What a call came to, and a few words on it. What is left out stays; null empties."""

    outcome: Outcome | UnsetType | None = UNSET
    note: Annotated[str, Meta(max_length=5000)] | UnsetType | None = UNSET


_Concluded = Literal[Outcome, "null"]


def _concluded(wanted: list[str]) -> ColumnElement[bool]:
    chosen = Telephoned.outcome.in_([value for value in wanted if value != "null"])
    return or_(chosen, Telephoned.outcome.is_(None)) if "null" in wanted else chosen


CALLS = Listing(
    "calls",
    unique=Telephoned.id,
    sorts={"started_at": Telephoned.started_at, "created_at": Telephoned.created_at},
    filters={
        "status": paging.one_of(Telephoned.status, Status),
        "direction": Filter(
            list[Direction],
            lambda wanted: Telephoned.direction.in_(wanted),
            "Any of these. Calls between colleagues (`internal`) are listed only if they are asked for.",
        ),
        "user_id": paging.ids(Telephoned.user_id),
        "contact_id": paging.ids(Telephoned.contact_id),
        "deal_id": paging.ids(Telephoned.deal_id),
        "lead_id": paging.ids(Telephoned.lead_id),
        "connection_id": paging.ids(Telephoned.connection_id),
        "line": paging.one_of(Telephoned.line),
        "outcome": Filter(list[_Concluded], _concluded, "Any of these; `null` for calls of which nobody said."),
        "after_hours": paging.flag(lambda: Telephoned.after_hours.is_(True), "Whether it came while we were closed."),
        "called_back": paging.flag(
            lambda: Telephoned.called_back_at.is_not(None),
            "Whether somebody has talked with a person who had rung in vain.",
        ),
        **paging.moments(
            started_at=Telephoned.started_at, ended_at=Telephoned.ended_at, created_at=Telephoned.created_at
        ),
    },
)


async def views(call: Call, rows: Sequence[Telephoned]) -> list[CallView]:
    """Make the views of a page; the recordings of all of them are read at once."""
    recorded = await calls.recordings_of(call.session, [row.id for row in rows])
    return [_view(call, row, recorded.get(row.id, [])) for row in rows]


def _view(call: Call, row: Telephoned, recordings: Sequence[CallRecording]) -> CallView:
    can_be_heard = any(each.file_id is not None for each in recordings) and telephony.may_listen(call.rights, row)
    outbound, inbound = row.direction == "outbound", row.direction == "inbound"
    return CallView(
        id=Id(row.id),
        connection_id=Id(row.connection_id),
        contact_id=as_id(row.contact_id),
        deal_id=as_id(row.deal_id),
        lead_id=as_id(row.lead_id),
        direction=row.direction,  # type: ignore[arg-type]
        from_=(inbound and row.number) or row.caller,
        to=(outbound and row.number) or row.callee,
        number=row.number,
        line=row.line,
        user_id=as_id(row.user_id),
        status=row.status,  # type: ignore[arg-type]
        started_at=row.started_at,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
        wait_seconds=row.wait_seconds,
        talk_seconds=row.talk_seconds,
        recording=CallRecordingView(
            available=can_be_heard, url=f"/api/v1/calls/{row.id}/recording" if can_be_heard else None
        ),
        steps=[
            CallStep(
                at=datetime.fromisoformat(step["at"]),
                phase=step["phase"],
                extension=step["extension"],
                user_id=as_id(step.get("user_id")),
                detail=step["detail"],
            )
            for step in row.steps
        ],
        after_hours=row.after_hours,
        is_lost=row.is_lost,
        called_back_at=row.called_back_at,
        called_back_by=as_id(row.called_back_by),
        task_id=as_id(row.task_id),
        outcome=row.outcome,  # type: ignore[arg-type]
        note=row.note,
        trouble=row.trouble,
        created_at=row.created_at,
        version=row.version,
    )


async def index(call: Call, query: ListQuery) -> Page[CallView]:
    """List calls, the last ones in front. A call is listed from its first ring on."""
    statement = access.narrow(select(Telephoned), call.rights, Telephoned)
    if getattr(query, "direction", UNSET) is UNSET:
        statement = statement.where(Telephoned.direction.in_(OUTSIDE))
    found = await CALLS.page(call.session, statement, query)
    return Page(items=await views(call, found.rows), next=found.next)


async def show(call: Call, call_id: Id) -> CallView:
    """Show a call."""
    return (await views(call, [await records.seen(call, Telephoned, call_id)]))[0]


async def add(call: Call, body: NewCall) -> CallView:
    """Have somebody called: a colleague's phone rings, and once they lift it, the number is called.

    The call is on the list from now on; `status` and `trouble` tell what became of it.
    """
    call.rights.require_change()
    deal = None if body.deal_id is None else await records.seen(call, Deal, body.deal_id)
    contact_id = deal.contact_id if deal is not None else None
    if body.contact_id is not None:
        contact = await records.seen(call, Contact, body.contact_id)
        if contact_id not in (None, contact.id):
            raise Rejected("Deal and contact must be of one person", field="contact_id")
        contact_id = contact.id
    if contact_id is None and not body.to.strip():
        raise Rejected("Say whom to call: a contact, a deal or a number", field="to")
    placed = await telephony.call_up(
        call.session,
        call.hub,
        await _whose_phone(call, body.user_id),
        number=body.to.strip(),
        contact_id=contact_id,
        deal_id=None if deal is None else deal.id,
        connection_id=None if body.connection_id is None else int(body.connection_id),
    )
    return (await views(call, [placed]))[0]


async def _whose_phone(call: Call, user_id: Id | None) -> User:
    """Return whose phone is to ring: the caller's, or for somebody who leads them, a colleague's.

    Raises:
        Forbidden: it is none of the caller's people. Rejected: they do not work here, or have no extension.
    """
    user = await users.for_work(call.session, int(user_id or call.user_id), field="user_id")
    if user.id != call.user_id:
        leads = call.rights.reach is Reach.ALL
        if call.rights.reach is Reach.TEAM:
            places = select(TeamMember.user_id).where(
                TeamMember.user_id == user.id, TeamMember.team_id.in_(call.rights.led_team_ids)
            )
            leads = await call.session.scalar(places.limit(1)) is not None
        if not leads:
            raise Forbidden("Only their head or an administrator may have somebody else's phone call")
    if not user.extension:
        raise Rejected(f"{user.name} has no telephone extension: enter one in their profile", field="user_id")
    return user


async def change(call: Call, call_id: Id, body: CallChange) -> CallView:
    """Say what a call came to."""
    call.rights.require_change()
    row = await records.changing(call, Telephoned, call_id)
    values = {name: value or "" for name, value in records.given(body).items()}
    await calls.conclude(call.session, row, at=call.now, actor_id=call.user_id, **values)
    return (await views(call, [row]))[0]


async def listen(call: Call, call_id: Id) -> Playback:
    """Hear the recording of a call: one's own, or as somebody who leads, another's. 404 for whoever may not.

    It can be played piece by piece (Range). Each listening is written into the audit log, once.
    """
    row = await records.seen(call, Telephoned, call_id)
    stored = await telephony.listen(
        call.session, call.rights, row, at=call.now, client=call.client, method=call.method, piece=call.piece
    )
    name = f"call-{row.started_at:%Y-%m-%d-%H%M}-{row.id}"

    async def write(request: web.Request) -> web.StreamResponse:
        return await files_door.stream(request, call.hub, stored, name)

    return Playback(write)


ENDPOINTS = (
    Endpoint("GET", "/calls", index, listing=CALLS),
    Endpoint("POST", "/calls", add, status=201, refuses=(404,)),
    Endpoint("GET", "/calls/{call_id}", show),
    Endpoint("PATCH", "/calls/{call_id}", change),
    Endpoint("GET", "/calls/{call_id}/recording", listen),
)
