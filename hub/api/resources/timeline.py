"""Timelines: the lines of the diary about one record, latest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import defer

from core.kernel.events import TimelineEvent
from core.staff import access, users
from hub.api import paging
from hub.api.endpoints import Call
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Id, Moment, Page, View, as_id


class Person(View):
    """A colleague."""

    id: Id
    name: str


class EventView(View):
    """Something that happened. `actor` did it (null: the hub, or a customer); `user` is whom it concerns."""

    id: Id
    at: Moment
    kind: str
    contact_id: Id | None
    deal_id: Id | None
    lead_id: Id | None
    task_id: Id | None
    conversation_id: Id | None
    message_id: Id | None
    actor: Person | None
    user: Person | None
    details: dict[str, Any]


TIMELINE = Listing(
    "timeline",
    unique=TimelineEvent.id,
    sorts={"id": TimelineEvent.id},
    filters={"kind": paging.one_of(TimelineEvent.kind), **paging.moments(at=TimelineEvent.at)},
)


async def page(call: Call, query: ListQuery, **subject: int) -> Page[EventView]:
    """Return a page of the diary about a record (`deal_id=…`) that the caller has been found to see."""
    statement = select(TimelineEvent).options(defer(TimelineEvent.transaction)).filter_by(**subject)
    found = await TIMELINE.page(call.session, access.narrow(statement, call.rights, TimelineEvent), query)
    names = await users.names(call.session, [i for row in found.rows for i in (row.actor_id, row.user_id)])

    def person(user_id: int | None) -> Person | None:
        return None if user_id is None else Person(id=Id(user_id), name=names.get(user_id, ""))

    items = [
        EventView(
            id=Id(row.id),
            at=row.at,
            kind=row.kind,
            contact_id=as_id(row.contact_id),
            deal_id=as_id(row.deal_id),
            lead_id=as_id(row.lead_id),
            task_id=as_id(row.task_id),
            conversation_id=as_id(row.conversation_id),
            message_id=as_id(row.message_id),
            actor=person(row.actor_id),
            user=person(row.user_id),
            details=row.details,
        )
        for row in found.rows
    ]
    return Page(items=items, next=found.next)
