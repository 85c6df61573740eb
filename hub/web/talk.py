"""Conversations on pages, and notes for the team on anything that has a timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.connections import Connection
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import access
from core.talk import attachments, conversations, notes
from core.talk.attachments import Attachment
from core.talk.conversations import Conversation, Direction, Message
from hub.web import shown
from hub.web.rendering import local_date
from hub.web.shown import Person
from hub.web.visits import Visit
from hub.web.words import N_

LONGEST = 200
"""Messages a thread shows at once, the last ones."""


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message. `date` is the day it was said on where the reader is."""

    id: int
    direction: str
    private: bool
    text: str
    fields: Mapping[str, Any]
    attachments: Sequence[Any]
    author: Person | None
    status: str
    error: None
    date: date
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ShownConversation:
    """A conversation as its page shows it."""

    id: int
    contact: Person
    connection: Connection
    subject: str
    status: str


async def show(visit: Visit, conversation_id: int) -> web.Response:
    """Show a conversation."""
    session = visit.session
    found = await access.fetch(session, visit.rights, Conversation, conversation_id)
    contact = await shown.known(visit, found.contact_id)
    connection = await session.get_one(Connection, found.connection_id)
    newest = select(Message).where(Message.conversation_id == found.id).order_by(Message.id.desc()).limit(LONGEST)
    messages = list(await session.scalars(access.narrow(newest, visit.rights, Message)))[::-1]
    files = await attachments.of_messages(session, [message.id for message in messages])
    authors = await shown.people(session, [message.author_id for message in messages])
    customer = Person(found.contact_id, contact.name or visit.translate(N_("No name yet")))
    return visit.page(
        "talk/_thread.html" if visit.is_partial else "talk/conversation.html",
        conversation=ShownConversation(
            found.id, Person(contact.id, contact.name), connection, found.subject, found.status
        ),
        note_url=f"/conversations/{found.id}/notes" if visit.rights.may_change else "",
        messages=[
            ShownMessage(
                id=message.id,
                direction=message.direction,
                private=message.private,
                text=message.text,
                fields=message.fields or {},
                attachments=[_file(file) for file in files.get(message.id, ())],
                author=customer if message.direction == Direction.INBOUND else authors.get(message.author_id),
                status=message.status,
                error=None,
                date=local_date(visit.viewer, message.created_at),
                created_at=message.created_at,
            )
            for message in messages
        ],
    )


def _file(file: Attachment) -> dict[str, Any]:
    return {"name": file.name, "size": file.size, "url": f"/files/{file.id}?download=1"}


async def note_on_conversation(visit: Visit, conversation_id: int) -> web.Response:
    """Write a note for the team into a conversation."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id, change=True)
    await conversations.note(
        visit.session, found, text=visit.field("text")[: notes.LONGEST], at=visit.viewer.now, author_id=visit.user.id
    )
    return visit.done(f"/conversations/{found.id}", N_("Noted"))


async def note_on_deal(visit: Visit, deal_id: int) -> web.Response:
    """Write a note for the team on a deal."""
    deal = await access.fetch(visit.session, visit.rights, Deal, deal_id, change=True)
    return await _note(visit, f"/deals/{deal.id}", contact_id=deal.contact_id, deal_id=deal.id)


async def note_on_lead(visit: Visit, lead_id: int) -> web.Response:
    """Write a note for the team on a lead."""
    lead = await access.fetch(visit.session, visit.rights, Lead, lead_id, change=True)
    return await _note(visit, f"/leads/{lead.id}", contact_id=lead.contact_id, lead_id=lead.id, deal_id=lead.deal_id)


async def note_on_contact(visit: Visit, contact_id: int) -> web.Response:
    """Write a note for the team on a contact."""
    contact = await access.fetch(visit.session, visit.rights, Contact, contact_id, change=True)
    return await _note(visit, f"/contacts/{contact.id}", contact_id=contact.id)


async def _note(
    visit: Visit, place: str, *, contact_id: int, deal_id: int | None = None, lead_id: int | None = None
) -> web.Response:
    await notes.add(
        visit.session,
        text=visit.field("text"),
        contact_id=contact_id,
        deal_id=deal_id,
        lead_id=lead_id,
        at=visit.viewer.now,
        author_id=visit.user.id,
    )
    return visit.done(place, N_("Noted"))
