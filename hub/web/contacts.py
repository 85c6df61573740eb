"""Contacts on pages: the list with its search, one contact with all that is known, and the forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import func, or_, select

from core.connections import Connection
from core.kernel import addresses
from core.kernel.errors import Conflict, NotFound, Rejected, Stale
from core.people import contacts
from core.people.contacts import Contact, ContactIdentity, DuplicateCandidate
from core.sales.deals import Deal, Outcome
from core.sales.leads import Lead
from core.staff import access
from core.talk.conversations import Conversation
from core.work.tasks import OPEN_STATUSES, Task
from hub.api.paging import Listing
from hub.web import contact_merging, lists, shown, timelines
from hub.web.changes import changing, chosen_person, colleagues
from hub.web.shown import Known, Person
from hub.web.visits import Visit, form_errors
from hub.web.words import N_

CONTACTS = Listing("contacts", unique=Contact.id, sorts={"created_at": Contact.created_at})
_NEIGHBOURS = 20
"""Deals, requests and conversations a contact's page shows at most, newest first."""


@dataclass(frozen=True, slots=True)
class ShownContact:
    """A contact in the list."""

    id: int
    name: str
    company_name: str
    identities: Sequence[ContactIdentity]
    owner: Person | None
    open_deals: int
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class ContactPage:
    """A contact as its own page shows it."""

    id: int
    name: str
    company_name: str
    identities: Sequence[ContactIdentity]
    tags: Sequence[str]
    custom: Mapping[str, Any]
    language: str | None
    owner: Person | None
    first_source: str | None
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Somebody who may be the same person, and what makes us think so."""

    id: int
    contact: Known
    reason: str


@dataclass(frozen=True, slots=True)
class ShownConversation:
    """A conversation of which the title is enough. `kind` is its channel's."""

    id: int
    title: str
    kind: str = ""


async def index(visit: Visit) -> web.Response:
    """List contacts, the newest first: `?q=…&owner=me`."""
    text = visit.request.query.get("q", "").strip()[:200]
    statement = access.narrow(select(Contact), visit.rights, Contact)
    if text:
        statement = statement.where(contacts.found_by(text, visit.company.country))
    if visit.request.query.get("owner") == "me":
        statement = statement.where(Contact.owner_id == visit.user.id)
    found = await lists.page(visit, CONTACTS, statement, sort="-created_at")
    return visit.page(
        "contacts/_list.html" if visit.is_partial else "contacts/contacts.html",
        contacts=await rows(visit, found.rows),
        next=found.next,
        q=text,
        filters=lists.chips(visit, "owner", [("me", visit.translate(N_("Mine")))]),
    )


async def rows(visit: Visit, found: Sequence[Contact]) -> list[ShownContact]:
    """Make what lists show of contacts; addresses, owners and open deals are read at once."""
    ids = [contact.id for contact in found]
    known: dict[int, list[ContactIdentity]] = {}
    for identity in await contacts.identities_of(visit.session, ids):
        known.setdefault(identity.contact_id, []).append(identity)
    counts: dict[int, int] = {}
    if ids:
        statement = (
            select(Deal.contact_id, func.count())
            .where(Deal.contact_id.in_(ids), Deal.outcome == Outcome.OPEN)
            .group_by(Deal.contact_id)
        )
        counts = {row[0]: row[1] for row in await visit.session.execute(access.narrow(statement, visit.rights, Deal))}
    owners = await shown.people(visit.session, [contact.owner_id for contact in found])
    return [
        ShownContact(
            id=contact.id,
            name=contact.name,
            company_name=contact.company_name,
            identities=known.get(contact.id, []),
            owner=owners.get(contact.owner_id),
            open_deals=counts.get(contact.id, 0),
            created_at=contact.created_at,
            version=contact.version,
        )
        for contact in found
    ]


async def show(visit: Visit, contact_id: int) -> web.Response:
    """Show a contact."""
    session, rights = visit.session, visit.rights
    try:
        contact = await access.fetch(session, rights, Contact, contact_id)
    except NotFound:
        if (moved := await contact_merging.successor(visit, contact_id)) is None:
            raise
        return moved
    owners = await shown.people(session, [contact.owner_id])
    deals = select(Deal).where(Deal.contact_id == contact.id).order_by(Deal.id.desc()).limit(_NEIGHBOURS)
    leads = shown.leads_of(rights).where(Lead.contact_id == contact.id).order_by(Lead.id.desc()).limit(_NEIGHBOURS)
    tasks = select(Task).where(Task.contact_id == contact.id, Task.status.in_(OPEN_STATUSES))
    open_tasks = await session.scalars(access.narrow(tasks, rights, Task).order_by(Task.due_at, Task.id))
    return visit.page(
        "contacts/contact.html",
        contact=ContactPage(
            id=contact.id,
            name=contact.name,
            company_name=contact.company_name,
            identities=await contacts.identities_of(session, [contact.id]),
            tags=contact.tags,
            custom=contact.custom,
            language=contact.language,
            owner=owners.get(contact.owner_id),
            first_source=contact.first_source,
            created_at=contact.created_at,
            version=contact.version,
        ),
        deals=await shown.deal_rows(
            visit, list(await session.scalars(access.narrow(deals, rights, Deal))), next_tasks=False
        ),
        leads=await shown.lead_rows(session, list(await session.execute(leads))),
        tasks=await shown.task_rows(visit, list(open_tasks)),
        conversations=await conversations_of(visit, contact.id),
        duplicates=await _duplicates(visit, contact.id),
        merges=await contact_merging.of_contact(visit, contact.id),
        events=await timelines.of(visit, contact_id=contact.id),
        note_url=f"/contacts/{contact.id}/notes" if rights.may_change else "",
    )


async def conversations_of(visit: Visit, contact_id: int) -> list[ShownConversation]:
    """Return what is said with a contact, the last to be heard of first, called by its subject or its channel."""
    statement = (
        select(Conversation.id, Conversation.subject, Connection.title, Connection.kind)
        .join(Connection, Connection.id == Conversation.connection_id)
        .where(Conversation.contact_id == contact_id)
        .order_by(Conversation.last_message_at.desc(), Conversation.id)
        .limit(_NEIGHBOURS)
    )
    found = await visit.session.execute(access.narrow(statement, visit.rights, Conversation))
    return [ShownConversation(row.id, row.subject or row.title, row.kind) for row in found]


async def _duplicates(visit: Visit, contact_id: int) -> list[Duplicate]:
    statement = select(DuplicateCandidate).where(
        or_(DuplicateCandidate.contact_id == contact_id, DuplicateCandidate.other_id == contact_id),
        DuplicateCandidate.dismissed.is_(False),
    )
    found = await visit.session.scalars(
        access.narrow(statement, visit.rights, DuplicateCandidate).order_by(DuplicateCandidate.id).limit(5)
    )
    reasons = {"shared_request": visit.translate(N_("One request named the phone of one and the e-mail of the other."))}
    return [
        Duplicate(
            candidate.id,
            await shown.known(
                visit, candidate.other_id if candidate.contact_id == contact_id else candidate.contact_id
            ),
            reasons.get(candidate.reason, candidate.reason),
        )
        for candidate in found
    ]


async def dismiss_duplicate(visit: Visit, duplicate_id: int) -> web.Response:
    """Note that two contacts are two people."""
    candidate = await changing(visit, DuplicateCandidate, duplicate_id)
    await contacts.keep_apart(visit.session, candidate, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done(f"/contacts/{candidate.contact_id}", N_("Noted: two people"))


async def recognise(visit: Visit, *, name: str, phone: str, email: str) -> Contact:
    """Return the contact somebody means in a form: one they may see who has the phone or e-mail, else a new one.

    Raises:
        Rejected: nothing was typed, or an address cannot be read.
        Conflict: an address belongs to a contact who is none of the person's business.
    """
    given = [(scheme, raw) for scheme, raw in (("phone", phone), ("email", email)) if raw]
    if not name and not given:
        raise Rejected(visit.translate(N_("Give a name, a phone or an e-mail")), field="name")
    for scheme, raw in given:
        value = addresses.phone(raw, visit.company.country) if scheme == "phone" else addresses.email(raw)
        if value is None:
            wrong = N_("This is not a phone number") if scheme == "phone" else N_("This is not an e-mail address")
            raise Rejected(visit.translate(wrong), field=scheme)
        statement = select(Contact).join(ContactIdentity, ContactIdentity.contact_id == Contact.id)
        statement = statement.where(ContactIdentity.scheme == scheme, ContactIdentity.value == value)
        if found := await visit.session.scalar(access.narrow(statement, visit.rights, Contact)):
            return found
        if await contacts.is_taken(visit.session, scheme, value):
            hers = N_("A colleague looks after the person with this address. Ask them, or your head")
            raise Rejected(visit.translate(hers), field=scheme)
    return await contacts.add(
        visit.session,
        at=visit.viewer.now,
        name=name[:300],
        owner_id=visit.user.id,
        team_id=next(iter(visit.rights.team_ids), None),
        identities=given,
        country=visit.company.country,
        actor_id=visit.user.id,
    )


_NEW_FIELDS = ("name", "company_name", "phone", "email", "tags", "owner_id")


async def new(visit: Visit) -> web.Response:
    """Show the form for a new contact."""
    visit.rights.require_change()
    return await _form(visit, None, {name: "" for name in _NEW_FIELDS} | {"owner_id": str(visit.user.id)})


async def add(visit: Visit) -> web.Response:
    """Enter a contact by hand."""
    visit.rights.require_change()
    values = {name: visit.field(name) for name in _NEW_FIELDS}
    try:
        async with visit.session.begin_nested():
            contact = await contacts.add(
                visit.session,
                at=visit.viewer.now,
                name=values["name"][:300],
                company_name=values["company_name"][:300],
                owner_id=await chosen_person(visit, "owner_id", None),
                team_id=next(iter(visit.rights.team_ids), None),
                tags=values["tags"].split(","),
                identities=[(scheme, values[scheme]) for scheme in ("phone", "email") if values[scheme]],
                country=visit.company.country,
                actor_id=visit.user.id,
            )
    except (Rejected, Conflict) as refusal:
        return await _form(visit, None, values, refusal)
    return visit.go(f"/contacts/{contact.id}")


async def edit(visit: Visit, contact_id: int) -> web.Response:
    """Show the form of a contact."""
    contact = await access.fetch(visit.session, visit.rights, Contact, contact_id, change=True)
    values = {
        "name": contact.name,
        "company_name": contact.company_name,
        "tags": ", ".join(contact.tags),
        "owner_id": str(contact.owner_id or ""),
    }
    return await _form(visit, contact, values)


async def change(visit: Visit, contact_id: int) -> web.Response:
    """Change what is known of a contact."""
    contact = await access.fetch(visit.session, visit.rights, Contact, contact_id, change=True)
    values = {name: visit.field(name) for name in ("name", "company_name", "tags", "owner_id")}
    try:
        async with visit.session.begin_nested():
            contact = await changing(visit, Contact, contact_id)
            if "owner_id" in visit.form:
                to = await chosen_person(visit, "owner_id", contact.owner_id)
                await contacts.assign(visit.session, contact, to=to, at=visit.viewer.now, actor_id=visit.user.id)
            await contacts.change(
                visit.session,
                contact,
                at=visit.viewer.now,
                actor_id=visit.user.id,
                name=values["name"][:300],
                company_name=values["company_name"][:300],
                tags=values["tags"].split(","),
            )
    except (Rejected, Conflict, Stale) as refusal:
        await visit.session.refresh(contact)  # what was undone is read again
        return await _form(visit, contact, values, refusal)
    return visit.done(f"/contacts/{contact.id}", N_("Saved"))


async def _form(
    visit: Visit,
    contact: Contact | None,
    values: Mapping[str, str],
    refusal: Rejected | Conflict | Stale | None = None,
) -> web.Response:
    errors, form_error = form_errors(refusal, visit.translate)
    people = await colleagues(visit, owner_id=contact.owner_id if contact else None, new=contact is None)
    return visit.sheet(
        "contacts/_form.html",
        visit.translate(N_("Edit the contact") if contact else N_("New contact")),
        contact=contact,
        values=values,
        people=people,
        errors=errors,
        form_error=form_error,
    )
