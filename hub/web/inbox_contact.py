"""The third pane of the inbox: who it is one talks with, and what else goes on with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import or_, select

from core.connections import Connection
from core.kernel.events import TimelineEvent
from core.people.contacts import Contact, ContactIdentity, DuplicateCandidate
from core.sales.deals import Deal, Outcome
from core.staff import access
from core.talk.conversations import Conversation
from core.work.tasks import OPEN_STATUSES, Task
from hub.web import shown
from hub.web.shown import Person
from hub.web.visits import Visit

_MOST = 8
"""Deals, conversations and notes shown at most; the contact's own page has all."""


@dataclass(frozen=True, slots=True)
class ShownContact:
    """A contact beside their conversation. `may_open`: the person may see the contact's own page."""

    id: int
    name: str
    company_name: str
    tags: Sequence[str]
    custom: dict[str, Any]
    language: str | None
    owner: Person | None
    identities: Sequence[ContactIdentity]
    may_open: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OtherConversation:
    """Another conversation with the same contact."""

    id: int
    kind: str
    title: str
    status: str
    last_message_at: datetime


@dataclass(frozen=True, slots=True)
class ShownNote:
    """A note on the contact."""

    id: int
    text: str
    author: Person | None
    at: datetime


async def pane(visit: Visit, conversation_id: int) -> web.Response:
    """Show the contact of a conversation anew."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id)
    return visit.page("inbox/_contact.html", conversation_id=found.id, **await pane_of(visit, found))


async def pane_of(visit: Visit, conversation: Conversation) -> dict[str, Any]:
    """Return what the pane shows of a conversation's contact, no more than the person may see."""
    session, rights = visit.session, visit.rights
    contact = await session.get_one(Contact, conversation.contact_id)
    may_open = await session.scalar(access.narrow(select(Contact.id), rights, Contact).where(Contact.id == contact.id))
    identities = select(ContactIdentity).where(ContactIdentity.contact_id == contact.id).order_by(ContactIdentity.id)
    deals = select(Deal).where(Deal.contact_id == contact.id, Deal.outcome == Outcome.OPEN)
    tasks = select(Task).where(Task.contact_id == contact.id, Task.status.in_(OPEN_STATUSES))
    owners = await shown.people(session, [contact.owner_id])
    open_deals = await session.scalars(access.narrow(deals, rights, Deal).order_by(Deal.id.desc()).limit(_MOST))
    open_tasks = await session.scalars(
        access.narrow(tasks, rights, Task).order_by(Task.due_at.asc().nulls_last(), Task.id).limit(_MOST)
    )
    return {
        "contact": ShownContact(
            id=contact.id,
            name=contact.name,
            company_name=contact.company_name,
            tags=contact.tags,
            custom=contact.custom if may_open else {},
            language=contact.language,
            owner=owners.get(contact.owner_id),
            identities=list(await session.scalars(access.narrow(identities, rights, ContactIdentity))),
            may_open=bool(may_open),
            created_at=contact.created_at,
        ),
        "deals": await shown.deal_rows(visit, list(open_deals), next_tasks=False),
        "tasks": await shown.task_rows(visit, list(open_tasks), phones=False),
        "others": await _others(visit, conversation),
        "duplicates": await _duplicates(visit, contact.id) if may_open else [],
        "notes": await _notes(visit, contact.id),
    }


async def _others(visit: Visit, conversation: Conversation) -> list[OtherConversation]:
    statement = (
        select(
            Conversation.id,
            Conversation.subject,
            Conversation.status,
            Conversation.last_message_at,
            Connection.kind,
            Connection.title,
        )
        .join(Connection, Connection.id == Conversation.connection_id)
        .where(Conversation.contact_id == conversation.contact_id, Conversation.id != conversation.id)
        .order_by(Conversation.last_message_at.desc(), Conversation.id)
        .limit(_MOST)
    )
    found = await visit.session.execute(access.narrow(statement, visit.rights, Conversation))
    return [
        OtherConversation(row.id, row.kind, row.subject or row.title, row.status, row.last_message_at) for row in found
    ]


async def _duplicates(visit: Visit, contact_id: int) -> list[Person]:
    statement = select(DuplicateCandidate).where(
        or_(DuplicateCandidate.contact_id == contact_id, DuplicateCandidate.other_id == contact_id),
        DuplicateCandidate.dismissed.is_(False),
    )
    found = await visit.session.scalars(
        access.narrow(statement, visit.rights, DuplicateCandidate).order_by(DuplicateCandidate.id).limit(3)
    )
    ids = [row.other_id if row.contact_id == contact_id else row.contact_id for row in found]
    names = await visit.session.execute(select(Contact.id, Contact.name).where(Contact.id.in_(ids)))
    return [Person(row.id, row.name) for row in names]


async def _notes(visit: Visit, contact_id: int) -> list[ShownNote]:
    statement = (
        select(TimelineEvent.id, TimelineEvent.at, TimelineEvent.actor_id, TimelineEvent.details)
        .where(TimelineEvent.contact_id == contact_id, TimelineEvent.kind == "note.added")
        .order_by(TimelineEvent.id.desc())
        .limit(5)
    )
    found = list(await visit.session.execute(access.narrow(statement, visit.rights, TimelineEvent)))
    authors = await shown.people(visit.session, [row.actor_id for row in found])
    return [ShownNote(row.id, str(row.details.get("text", "")), authors.get(row.actor_id), row.at) for row in found]
