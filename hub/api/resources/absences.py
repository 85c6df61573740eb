"""Absences: who is away, from when until when."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import exists, select

from core.kernel.errors import Forbidden
from core.staff import absences, access, users
from core.staff.absences import Absence
from core.staff.access import Reach
from core.staff.teams import TeamMember
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Body, Id, Moment, Page, View


class AbsenceView(View):
    """Somebody is away from `starts_at` until `ends_at`, the end not included. Meanwhile they are given no work."""

    id: Id
    user_id: Id
    starts_at: Moment
    ends_at: Moment
    reason: str
    created_at: Moment


class NewAbsence(Body):
    """An absence. Without `user_id` it is the caller's own."""

    starts_at: Moment
    ends_at: Moment
    user_id: Id | UnsetType = UNSET
    reason: Annotated[str, Meta(max_length=500)] = ""


ABSENCES = Listing(
    "absences",
    unique=Absence.id,
    sorts={"starts_at": Absence.starts_at, "ends_at": Absence.ends_at},
    filters={
        "user_id": paging.ids(Absence.user_id),
        **paging.moments(starts_at=Absence.starts_at, ends_at=Absence.ends_at),
    },
)


def _view(absence: Absence) -> AbsenceView:
    return AbsenceView(
        id=Id(absence.id),
        user_id=Id(absence.user_id),
        starts_at=absence.starts_at,
        ends_at=absence.ends_at,
        reason=absence.reason,
        created_at=absence.created_at,
    )


async def index(call: Call, query: ListQuery) -> Page[AbsenceView]:
    """List absences, past ones included."""
    found = await ABSENCES.page(call.session, access.narrow(select(Absence), call.rights, Absence), query)
    return Page(items=[_view(row) for row in found.rows], next=found.next)


async def show(call: Call, absence_id: Id) -> AbsenceView:
    """Show an absence."""
    return _view(await records.seen(call, Absence, absence_id))


async def add(call: Call, body: NewAbsence) -> AbsenceView:
    """Note that somebody will be away: everybody for themselves, heads for their teams."""
    user_id = call.user_id if body.user_id is UNSET else int(body.user_id)
    await _check(call, user_id)
    await users.for_work(call.session, user_id, field="user_id")
    absence = await absences.add(
        call.session,
        user_id=user_id,
        starts_at=body.starts_at,
        ends_at=body.ends_at,
        reason=body.reason,
        at=call.now,
        actor_id=call.user_id,
    )
    records.note(call, "absence.added", "absence", absence.id)
    return _view(absence)


async def cancel(call: Call, absence_id: Id) -> None:
    """Cancel an absence: somebody is back early, or never left."""
    call.rights.require_change()
    absence = await records.seen(call, Absence, absence_id)
    await _check(call, absence.user_id)
    await absences.cancel(call.session, absence.id, at=call.now, actor_id=call.user_id)
    records.note(call, "absence.canceled", "absence", absence.id)


async def _check(call: Call, user_id: int) -> None:
    call.rights.require_change()
    if user_id == call.user_id or call.rights.reach is Reach.ALL:
        return
    led = exists().where(TeamMember.user_id == user_id, TeamMember.team_id.in_(call.rights.led_team_ids))
    if not await call.session.scalar(select(led)):
        raise Forbidden("Only they themselves, their head or an administrator may note somebody's absence")


ENDPOINTS = (
    Endpoint("GET", "/absences", index, listing=ABSENCES),
    Endpoint("POST", "/absences", add, status=201),
    Endpoint("GET", "/absences/{absence_id}", show),
    Endpoint("DELETE", "/absences/{absence_id}", cancel),
)
