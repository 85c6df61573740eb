"""Canned replies: wordings kept for what is said often."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import or_, select

from core.staff.teams import Team
from core.talk import canned
from core.talk.canned import CannedReply
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Body, Id, Moment, Page, View, as_id

Shortcut = Annotated[str, Meta(min_length=1, max_length=41, description="One word; typing / and it brings the text.")]
Words = Annotated[str, Meta(min_length=1, max_length=20_000, description="May hold {name}, {full_name} and {me}.")]
Title = Annotated[str, Meta(max_length=200)]


class CannedReplyView(View):
    """A wording kept for later; without a team it is everybody's."""

    id: Id
    shortcut: str
    title: str
    text: str
    team_id: Id | None
    created_at: Moment
    version: int


class NewCannedReply(Body):
    """A wording to keep."""

    shortcut: Shortcut
    text: Words
    title: Title = ""
    team_id: Id | None = None


class CannedReplyChange(Body):
    """What is to change; what is left out stays."""

    shortcut: Shortcut | UnsetType = UNSET
    text: Words | UnsetType = UNSET
    title: Title | UnsetType = UNSET
    team_id: Id | UnsetType | None = UNSET


CANNED_REPLIES = Listing(
    "canned-replies",
    unique=CannedReply.id,
    sorts={"shortcut": CannedReply.shortcut, "created_at": CannedReply.id},
    default="shortcut",
    filters={"team_id": paging.ids(CannedReply.team_id)},
)


def _view(row: CannedReply) -> CannedReplyView:
    return CannedReplyView(
        id=Id(row.id),
        shortcut=row.shortcut,
        title=row.title,
        text=row.text,
        team_id=as_id(row.team_id),
        created_at=row.created_at,
        version=row.version,
    )


async def index(call: Call, query: ListQuery) -> Page[CannedReplyView]:
    """List the canned replies the caller may use."""
    statement = select(CannedReply)
    if not call.rights.may_manage:
        teams = [int(team) for team in call.rights.team_ids]
        statement = statement.where(or_(CannedReply.team_id.is_(None), CannedReply.team_id.in_(teams)))
    found = await CANNED_REPLIES.page(call.session, statement, query)
    return Page(items=[_view(row) for row in found.rows], next=found.next)


async def show(call: Call, reply_id: Id) -> CannedReplyView:
    """Show a canned reply."""
    return _view(await canned.get(call.session, int(reply_id)))


async def add(call: Call, body: NewCannedReply) -> CannedReplyView:
    """Keep a wording."""
    call.rights.require_change()
    team_id = await _team(call, body.team_id)
    row = await canned.add(
        call.session,
        shortcut=body.shortcut,
        text=body.text,
        title=body.title,
        team_id=team_id,
        at=call.now,
        actor_id=call.user_id,
    )
    return _view(row)


async def change(call: Call, reply_id: Id, body: CannedReplyChange) -> CannedReplyView:
    """Word a canned reply anew."""
    call.rights.require_change()
    row = await canned.get(call.session, int(reply_id))
    call.expects(row)
    values = records.given(body)
    if "team_id" in values:
        values["team_id"] = await _team(call, values["team_id"])
    before = {"shortcut": row.shortcut, "text": row.text, "title": row.title, "team_id": row.team_id}
    await canned.change(call.session, row, at=call.now, actor_id=call.user_id, **{**before, **values})
    return _view(row)


async def remove(call: Call, reply_id: Id) -> None:
    """Forget a canned reply."""
    call.rights.require_change()
    await call.session.delete(await canned.get(call.session, int(reply_id)))


async def _team(call: Call, team_id: int | None) -> int | None:
    return None if team_id is None else (await records.referred(call, Team, team_id, field="team_id")).id


ENDPOINTS = (
    Endpoint("GET", "/canned-replies", index, listing=CANNED_REPLIES),
    Endpoint("POST", "/canned-replies", add, status=201, refuses=(409,)),
    Endpoint("GET", "/canned-replies/{reply_id}", show),
    Endpoint("PATCH", "/canned-replies/{reply_id}", change, refuses=(409,)),
    Endpoint("DELETE", "/canned-replies/{reply_id}", remove),
)
