"""Notes for the team on anything that has a timeline."""

from __future__ import annotations

from aiohttp import web

from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import access
from core.talk import conversations, notes
from core.talk.conversations import Conversation
from hub.web.visits import Visit
from hub.web.words import N_


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
