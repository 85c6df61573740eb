"""One person, several contacts: the sheets that merge two and give a conversation to another, and taking them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from sqlalchemy import func, select

from core.kernel.errors import Conflict, NotFound, Rejected, Stale
from core.people import contacts, merging, moving
from core.people.contacts import Contact, ContactIdentity
from core.sales.deals import Deal, Outcome
from core.staff import access
from core.talk.conversations import Conversation
from hub import moving as conversations
from hub.web import shown
from hub.web import typed as reading
from hub.web.changes import changing
from hub.web.shown import Person
from hub.web.visits import Visit, form_errors
from hub.web.words import N_

_MOST = 8
"""Contacts that a search in a sheet shows."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two contacts who are to be one."""

    id: int
    name: str
    company_name: str
    owner: Person | None
    identities: Sequence[ContactIdentity]
    tags: Sequence[str]
    conversations: int
    open_deals: int
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Merged:
    """Somebody who was put into a contact and can be taken out again."""

    id: int
    name: str
    reason: str
    actor: Person | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A contact that a search in a sheet found."""

    id: int
    name: str
    company_name: str
    identities: Sequence[ContactIdentity]


async def of_contact(visit: Visit, contact_id: int) -> list[Merged]:
    """Return who was merged into a contact and can be taken out again, the last one first."""
    records = await merging.of_contact(visit.session, contact_id)
    actors = await shown.people(visit.session, [record.actor_id for record in records])
    return [
        Merged(
            record.id,
            str(record.gone.get("name") or ""),
            record.reason,
            actors.get(record.actor_id),
            record.created_at,
        )
        for record in records
    ]


async def ask(visit: Visit, contact_id: int) -> web.Response:
    """Show the sheet that merges: first whom with (`?q=…`), then both side by side (`?other=…`)."""
    await access.fetch(visit.session, visit.rights, Contact, contact_id, change=True)
    other = reading.record_id(visit.request.query.get("other", ""), field="other")
    return await _ask(visit, contact_id, other)


async def _ask(
    visit: Visit, contact_id: int, other_id: int | None, refusal: Rejected | Conflict | Stale | None = None
) -> web.Response:
    text = visit.request.query.get("q", "").strip()[:200]
    errors, form_error = form_errors(refusal, visit.translate)
    return visit.sheet(
        "contacts/_merge.html",
        visit.translate(N_("Merge contacts")),
        kept=await _side(visit, contact_id),
        gone=None if other_id is None else await _side(visit, other_id),
        q=text,
        found=await _search(visit, text, without=contact_id) if other_id is None else [],
        errors=errors,
        form_error=form_error or next(iter(errors.values()), ""),
    )


async def merge(visit: Visit, contact_id: int) -> web.Response:
    """Merge another contact into this one."""
    await moving.begin(visit.session)
    other_id = reading.record_id(visit.field("other_id"), field="other_id")
    if other_id is None:
        raise NotFound("contact")
    try:
        if other_id == contact_id:
            raise Rejected(visit.translate(N_("That is the same contact")))
        async with visit.session.begin_nested():
            kept = await changing(visit, Contact, contact_id)
            gone = await access.fetch(visit.session, visit.rights, Contact, other_id, change=True)
            if visit.field("other_version") not in ("", str(gone.version)):
                raise Stale(visit.translate(N_("Somebody changed one of them meanwhile. Look again, then merge")))
            await merging.merge(
                visit.session, kept, gone, reason="by_hand", at=visit.viewer.now, actor_id=visit.user.id
            )
    except (Rejected, Conflict, Stale) as refusal:
        return await _ask(visit, contact_id, other_id, refusal)
    return visit.go(f"/contacts/{contact_id}")


async def undo(visit: Visit, merge_id: int) -> web.Response:
    """Take two contacts apart again."""
    await moving.begin(visit.session)
    record = await merging.get(visit.session, merge_id)
    part_of = await merging.now_part_of(visit.session, record.kept_id)
    await access.fetch(visit.session, visit.rights, Contact, part_of or record.kept_id, change=True)
    if part_of is not None:
        first = N_("The contact it was put into was itself merged with another one since. Undo that first")
        raise Conflict(visit.translate(first))
    if record.undone_at is not None:
        raise Conflict(visit.translate(N_("This was undone already")))
    await changing(visit, Contact, record.kept_id)
    await merging.undo(visit.session, record, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done(f"/contacts/{record.kept_id}", N_("They are two people again"))


async def successor(visit: Visit, contact_id: int) -> web.Response | None:
    """Lead from a contact that was merged to the one it is part of; None if it was not, or they may not see that."""
    part_of = await merging.now_part_of(visit.session, contact_id)
    if part_of is None:
        return None
    statement = access.narrow(select(Contact.id), visit.rights, Contact).where(Contact.id == part_of)
    if await visit.session.scalar(statement) is None:
        return None
    # a redirect for htmx, too: a page that shows the one that went goes on as the one that stayed
    return web.Response(status=303, headers={"Location": f"/contacts/{part_of}"})


async def ask_whose(visit: Visit, conversation_id: int) -> web.Response:
    """Show the sheet that gives a conversation to another person: `?q=…`."""
    conversation = await access.fetch(visit.session, visit.rights, Conversation, conversation_id, change=True)
    return await _ask_whose(visit, conversation)


async def _ask_whose(visit: Visit, conversation: Conversation, refusal: Rejected | None = None) -> web.Response:
    text = visit.request.query.get("q", "").strip()[:200]
    errors, form_error = form_errors(refusal, visit.translate)
    owner = await visit.session.scalar(select(Contact.name).where(Contact.id == conversation.contact_id))
    address = conversations.address_of(visit.hub, conversation)
    identity = None
    if address is not None:
        identity = await visit.session.scalar(
            select(ContactIdentity).where(
                ContactIdentity.scheme == address[0],
                ContactIdentity.value == address[1],
                ContactIdentity.contact_id == conversation.contact_id,
            )
        )
    return visit.sheet(
        "contacts/_move.html",
        visit.translate(N_("Move to another person")),
        conversation_id=conversation.id,
        contact_name=owner or "",
        identity=identity,
        q=text,
        found=await _search(visit, text, without=conversation.contact_id),
        errors=errors,
        form_error=form_error or next(iter(errors.values()), ""),
    )


async def move(visit: Visit, conversation_id: int) -> web.Response:
    """Give a conversation to another person."""
    await moving.begin(visit.session)
    conversation = await changing(visit, Conversation, conversation_id)
    await access.fetch(visit.session, visit.rights, Contact, conversation.contact_id)
    to = reading.record_id(visit.field("contact_id"), field="contact_id")
    if to is None:
        return await _ask_whose(visit, conversation, Rejected(visit.translate(N_("Choose a person"))))
    contact = await access.fetch(visit.session, visit.rights, Contact, to, change=True)
    if contact.id == conversation.contact_id:
        return await _ask_whose(visit, conversation, Rejected(visit.translate(N_("It is theirs already"))))
    await conversations.move_conversation(
        visit.session,
        visit.hub,
        conversation,
        contact,
        with_address=visit.field("with_address") == "yes",
        at=visit.viewer.now,
        actor_id=visit.user.id,
    )
    return visit.go(f"/conversations/{conversation.id}")


async def _search(visit: Visit, text: str, *, without: int) -> list[Found]:
    if not text:
        return []
    statement = select(Contact).where(contacts.found_by(text, visit.company.country), Contact.id != without)
    rows = list(
        await visit.session.scalars(
            access.narrow(statement, visit.rights, Contact).order_by(Contact.id.desc()).limit(_MOST)
        )
    )
    known: dict[int, list[ContactIdentity]] = {}
    for identity in await contacts.identities_of(visit.session, [row.id for row in rows]):
        known.setdefault(identity.contact_id, []).append(identity)
    return [Found(row.id, row.name, row.company_name, known.get(row.id, [])) for row in rows]


async def _side(visit: Visit, contact_id: int) -> Side:
    session, rights = visit.session, visit.rights
    contact = await access.fetch(session, rights, Contact, contact_id)
    talks = select(func.count()).select_from(Conversation).where(Conversation.contact_id == contact.id)
    deals = select(func.count()).select_from(Deal).where(Deal.contact_id == contact.id, Deal.outcome == Outcome.OPEN)
    owners = await shown.people(session, [contact.owner_id])
    return Side(
        id=contact.id,
        name=contact.name,
        company_name=contact.company_name,
        owner=owners.get(contact.owner_id),
        identities=await contacts.identities_of(session, [contact.id]),
        tags=contact.tags,
        conversations=await session.scalar(access.narrow(talks, rights, Conversation)) or 0,
        open_deals=await session.scalar(access.narrow(deals, rights, Deal)) or 0,
        created_at=contact.created_at,
        version=contact.version,
    )
