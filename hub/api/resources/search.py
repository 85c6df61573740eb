"""Search: contacts, deals, leads and conversations by what somebody remembers of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, or_, select

from core.kernel import addresses
from core.kernel.db import Base
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import access, workspace
from core.talk.conversations import Conversation
from hub.api.endpoints import Call, Endpoint
from hub.api.resources.contacts import matching
from hub.api.wire import Id, Moment, Page, View

_FOUND_BY_CONTACT = 200


class SearchQuery(msgspec.Struct, kw_only=True):
    """What to look for."""

    q: Annotated[str, Meta(min_length=1, max_length=200, description="Words, a phone number or an e-mail address.")]
    limit: Annotated[int, Meta(ge=1, le=50, description="How many of each kind at most.")] = 10


class Found(View):
    """Something that was found. Its record is at `/<kind>s/<id>`."""

    kind: Literal["contact", "deal", "lead", "conversation"]
    id: Id
    title: str
    detail: str
    contact_id: Id
    created_at: Moment


async def search(call: Call, query: SearchQuery) -> Page[Found]:
    """Search everything the caller may see, by words, phone number or e-mail address."""
    text = query.q.strip()
    if not text:
        return Page(items=[], next=None)
    number = addresses.phone(text, (await workspace.get(call.session)).country)
    by_contact = matching(number or text)
    statement = access.narrow(select(Contact), call.rights, Contact).where(by_contact)
    contacts = list(await call.session.scalars(statement.order_by(Contact.id.desc()).limit(_FOUND_BY_CONTACT)))
    theirs = [contact.id for contact in contacts]
    items = [
        Found(
            kind="contact",
            id=Id(contact.id),
            title=contact.name,
            detail=contact.company_name,
            contact_id=Id(contact.id),
            created_at=contact.created_at,
        )
        for contact in contacts[: query.limit]
    ]
    for deal in await _look(call, query, Deal, Deal.contact_id.in_(theirs), Deal.title, text):
        items.append(_found("deal", deal, deal.title, deal.source or ""))
    for lead in await _look(call, query, Lead, Lead.contact_id.in_(theirs), Lead.message, text):
        items.append(_found("lead", lead, lead.message[:160], lead.source))
    either = or_(Conversation.contact_id.in_(theirs), Conversation.subject.icontains(text, autoescape=True))
    for talk in await _look(call, query, Conversation, either, Conversation.last_message_text, text):
        items.append(_found("conversation", talk, talk.subject, talk.last_message_text))
    return Page(items=items, next=None)


async def _look(
    call: Call, query: SearchQuery, model: type[Base], by_contact: ColumnElement[bool], column: Any, text: str
) -> list[Any]:
    statement = access.narrow(select(model), call.rights, model)
    statement = statement.where(or_(by_contact, column.icontains(text, autoescape=True)))
    key = model.__table__.c.id
    return list(await call.session.scalars(statement.order_by(key.desc()).limit(query.limit)))


def _found(kind: Literal["deal", "lead", "conversation"], record: Any, title: str, detail: str) -> Found:
    return Found(
        kind=kind,
        id=Id(record.id),
        title=title,
        detail=detail,
        contact_id=Id(record.contact_id),
        created_at=record.created_at,
    )


ENDPOINTS = (Endpoint("GET", "/search", search),)
