"""Contacts, their addresses and their timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import ColumnElement, and_, exists, select, true

from core.kernel import addresses
from core.people import contacts
from core.people.contacts import Company, Contact, ContactIdentity, folded
from core.staff import access, users, workspace
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.resources import timeline
from hub.api.wire import Body, Custom, Id, Language, Moment, Page, Tags, View, as_id

Name = Annotated[str, Meta(max_length=300)]
Scheme = Literal["phone", "email"]


class IdentityView(View):
    """An address by which a contact is known. `value` is canonical: E.164 for a phone."""

    id: Id
    scheme: str
    value: str
    trust: Literal["guessed", "typed", "verified", "attested"]
    connection_id: Id | None


class ContactView(View):
    """A person who got in touch."""

    id: Id
    name: str
    owner_id: Id | None
    company_id: Id | None
    company_name: Annotated[str, Meta(description="What a form said; `company_id` is what somebody chose.")]
    language: str | None
    identities: list[IdentityView]
    tags: list[str]
    custom: dict[str, Any]
    first_source: str | None
    created_at: Moment
    version: int


class NewIdentity(Body):
    """An address. A phone may be spelled in any way; without a country it is one of the workspace's country."""

    scheme: Scheme
    value: Annotated[str, Meta(min_length=1, max_length=320)]


class NewContact(Body):
    """A contact entered by hand. Without `owner_id` it is the caller's own; null leaves it to their team."""

    name: Name = ""
    identities: Annotated[tuple[NewIdentity, ...], Meta(max_length=20)] = ()
    owner_id: Id | UnsetType | None = UNSET
    company_id: Id | None = None
    language: Language | None = None
    tags: Tags = ()
    custom: Custom = msgspec.field(default_factory=dict)


class ContactChange(Body):
    """What is to change; what is left out stays."""

    name: Name | UnsetType = UNSET
    owner_id: Id | UnsetType | None = UNSET
    company_id: Id | UnsetType | None = UNSET
    language: Language | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    custom: Custom | UnsetType = UNSET


def matching(text: str) -> ColumnElement[bool]:
    """Return the condition under which a contact is found by these words, each anywhere in name, company, addresses."""
    return and_(true(), *(Contact.search.contains(word, autoescape=True) for word in folded(text).split()[:10]))


def _known_as(scheme: str, value: str) -> ColumnElement[bool]:
    return exists(
        select(ContactIdentity.id).where(
            ContactIdentity.contact_id == Contact.id, ContactIdentity.scheme == scheme, ContactIdentity.value == value
        )
    )


def _phone(text: str) -> ColumnElement[bool]:
    # a plus sign that was not escaped arrives as a blank
    return _known_as("phone", addresses.phone("+" + text.strip().lstrip("+"), "") or "")


Words = Annotated[str, Meta(max_length=200)]

CONTACTS = Listing(
    "contacts",
    unique=Contact.id,
    sorts={"created_at": Contact.created_at, "name": Contact.name},
    filters={
        "q": paging.matching(Words, matching, "Words of the name, company or an address."),
        "owner_id": paging.ids(Contact.owner_id),
        "company_id": paging.ids(Contact.company_id),
        "tag": paging.matching(list[str], lambda tags: Contact.tags.contains(tags), "With all of these tags."),
        "language": paging.one_of(Contact.language),
        "first_source": paging.one_of(Contact.first_source),
        "phone": paging.matching(Words, _phone, "With this phone number, `+` and the country in front."),
        "email": paging.matching(
            Words, lambda text: _known_as("email", addresses.email(text) or ""), "With this e-mail address."
        ),
        **paging.moments(created_at=Contact.created_at),
    },
)

IDENTITIES = Listing(
    "identities",
    unique=ContactIdentity.id,
    sorts={"id": ContactIdentity.id},
    default="id",
    filters={
        "contact_id": paging.ids(ContactIdentity.contact_id),
        "scheme": paging.one_of(ContactIdentity.scheme),
        "value": paging.one_of(ContactIdentity.value),
    },
)


class ContactIdentityView(IdentityView):
    """An address with the contact it belongs to."""

    contact_id: Id
    raw: Annotated[str, Meta(description="The spelling that first came.")]
    created_at: Moment


class NewContactIdentity(NewIdentity):
    """An address for a contact."""

    contact_id: Id


async def views(call: Call, rows: Sequence[Contact]) -> list[ContactView]:
    """Make the views of a page, with the addresses of all of them read at once."""
    known: dict[int, list[IdentityView]] = {}
    for identity in await contacts.identities_of(call.session, [row.id for row in rows]):
        known.setdefault(identity.contact_id, []).append(
            IdentityView(
                id=Id(identity.id),
                scheme=identity.scheme,
                value=identity.value,
                trust=identity.trust,  # type: ignore[arg-type]
                connection_id=as_id(identity.connection_id),
            )
        )
    return [
        ContactView(
            id=Id(row.id),
            name=row.name,
            owner_id=as_id(row.owner_id),
            company_id=as_id(row.company_id),
            company_name=row.company_name,
            language=row.language,
            identities=known.get(row.id, []),
            tags=row.tags,
            custom=row.custom,
            first_source=row.first_source,
            created_at=row.created_at,
            version=row.version,
        )
        for row in rows
    ]


async def index(call: Call, query: ListQuery) -> Page[ContactView]:
    """List contacts."""
    text = getattr(query, "q", UNSET)
    if text is not UNSET and (number := addresses.phone(text, await _country(call))):
        query = msgspec.structs.replace(query, q=number)
    found = await CONTACTS.page(call.session, access.narrow(select(Contact), call.rights, Contact), query)
    return Page(items=await views(call, found.rows), next=found.next)


async def show(call: Call, contact_id: Id) -> ContactView:
    """Show a contact."""
    return (await views(call, [await records.seen(call, Contact, contact_id)]))[0]


async def add(call: Call, body: NewContact) -> ContactView:
    """Enter a contact."""
    call.rights.require_change()
    owner_id = call.user_id if body.owner_id is UNSET else body.owner_id
    if owner_id is not None:
        await users.for_work(call.session, owner_id, field="owner_id")
    await _check_company(call, body.company_id)
    contact = await contacts.add(
        call.session,
        at=call.now,
        name=body.name,
        owner_id=None if owner_id is None else int(owner_id),
        team_id=next(iter(call.rights.team_ids), None),
        company_id=body.company_id,
        language=body.language,
        tags=body.tags,
        custom=body.custom,
        identities=[(identity.scheme, identity.value) for identity in body.identities],
        country=await _country(call),
        actor_id=call.user_id,
    )
    return (await views(call, [contact]))[0]


async def change(call: Call, contact_id: Id, body: ContactChange) -> ContactView:
    """Change a contact."""
    contact = await records.changing(call, Contact, contact_id)
    values = records.given(body)
    if "owner_id" in values:
        await _assign(call, contact, values.pop("owner_id"))
    await _check_company(call, values.get("company_id"))
    await contacts.change(call.session, contact, at=call.now, actor_id=call.user_id, **values)
    return (await views(call, [contact]))[0]


async def _assign(call: Call, contact: Contact, to: int | None) -> None:
    if to == contact.owner_id:
        return
    call.rights.require_assign(contact.owner_id)
    if to is not None:
        await users.for_work(call.session, to, field="owner_id")
    await contacts.assign(call.session, contact, to=to, at=call.now, actor_id=call.user_id)


async def show_timeline(call: Call, contact_id: Id, query: ListQuery) -> Page[timeline.EventView]:
    """List what happened with a contact."""
    contact = await records.seen(call, Contact, contact_id)
    return await timeline.page(call, query, contact_id=contact.id)


async def list_identities(call: Call, query: ListQuery) -> Page[ContactIdentityView]:
    """List the addresses of contacts."""
    statement = access.narrow(select(ContactIdentity), call.rights, ContactIdentity)
    found = await IDENTITIES.page(call.session, statement, query)
    return Page(items=[_with_contact(row) for row in found.rows], next=found.next)


async def show_identity(call: Call, identity_id: Id) -> ContactIdentityView:
    """Show an address."""
    return _with_contact(await records.seen(call, ContactIdentity, identity_id))


async def add_identity(call: Call, body: NewContactIdentity) -> ContactIdentityView:
    """Add an address to a contact."""
    call.rights.require_change()
    contact = await records.referred(call, Contact, body.contact_id, field="contact_id")
    identity = await contacts.add_identity(
        call.session,
        contact,
        scheme=body.scheme,
        raw=body.value,
        at=call.now,
        country=await _country(call),
        actor_id=call.user_id,
    )
    return _with_contact(identity)


async def remove_identity(call: Call, identity_id: Id) -> None:
    """Remove an address from its contact."""
    identity = await records.seen(call, ContactIdentity, identity_id)
    contact = await records.changing(call, Contact, identity.contact_id)
    await contacts.remove_identity(call.session, contact, identity, at=call.now, actor_id=call.user_id)


def _with_contact(identity: ContactIdentity) -> ContactIdentityView:
    return ContactIdentityView(
        id=Id(identity.id),
        contact_id=Id(identity.contact_id),
        scheme=identity.scheme,
        value=identity.value,
        raw=identity.raw,
        trust=identity.trust,  # type: ignore[arg-type]
        connection_id=as_id(identity.connection_id),
        created_at=identity.created_at,
    )


async def _country(call: Call) -> str:
    return (await workspace.get(call.session)).country


async def _check_company(call: Call, company_id: int | None) -> None:
    if company_id is not None:
        await records.referred(call, Company, company_id, field="company_id")


ENDPOINTS: Iterable[Endpoint] = (
    Endpoint("GET", "/contacts", index, listing=CONTACTS),
    Endpoint("POST", "/contacts", add, status=201, refuses=(409,)),
    Endpoint("GET", "/contacts/{contact_id}", show),
    Endpoint("PATCH", "/contacts/{contact_id}", change),
    Endpoint("GET", "/contacts/{contact_id}/timeline", show_timeline, listing=timeline.TIMELINE),
    Endpoint("GET", "/identities", list_identities, listing=IDENTITIES),
    Endpoint("POST", "/identities", add_identity, status=201, refuses=(409,)),
    Endpoint("GET", "/identities/{identity_id}", show_identity),
    Endpoint("DELETE", "/identities/{identity_id}", remove_identity),
)
