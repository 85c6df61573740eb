"""Contacts: the people who get in touch, whichever way they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, ForeignKey, Index, Text, and_, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import addresses, events
from core.kernel.db import Base, Edited, Record
from core.kernel.envelopes import Trust
from core.kernel.errors import Conflict, NotFound, Rejected

PROFILE = "contact.profile"
"""The job that asks a provider for the name of somebody it did not name."""


class Company(Base, Record, Edited):
    """An organisation that contacts work for."""

    __tablename__ = "companies"

    name: Mapped[str]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    custom: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")


class Contact(Base, Record, Edited):
    """A person who got in touch.

    `company_name` is what a form said; `company_id` a company somebody chose. `first_source` is how they first came
    (`google`, `webform`, …). `search` is the folded text that search looks in: name, company and addresses.
    """

    __tablename__ = "contacts"
    __table_args__ = (
        Index("ix_contacts_owner_id", "owner_id", "id"),
        Index("ix_contacts_team_id", "team_id", "id", postgresql_where=text("owner_id IS NULL")),
        Index("ix_contacts_created_at", "created_at", "id"),
        Index("ix_contacts_search", "search", postgresql_using="gin", postgresql_ops={"search": "gin_trgm_ops"}),
    )

    name: Mapped[str] = mapped_column(Text, default="", server_default="")
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    company_id: Mapped[int | None] = mapped_column(ForeignKey("companies.id", ondelete="SET NULL"))
    company_name: Mapped[str] = mapped_column(Text, default="", server_default="")
    language: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(default=list, server_default="{}")
    custom: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    first_source: Mapped[str | None]
    search: Mapped[str] = mapped_column(Text, default="", server_default="")


class ContactIdentity(Base):
    """An address by which a contact is known. An address belongs to one contact.

    `value` is canonical (see core.kernel.addresses), `raw` the spelling that first came and is never rewritten.
    """

    __tablename__ = "identities"
    __table_args__ = (
        Index("uq_identities_scheme_value", "scheme", "value", unique=True),
        Index("ix_identities_contact_id", "contact_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"))
    scheme: Mapped[str]
    value: Mapped[str]
    raw: Mapped[str]
    trust: Mapped[str]
    connection_id: Mapped[int | None]
    blocked_at: Mapped[datetime | None]
    blocked_because: Mapped[str | None]
    """`opted_out` (they want nothing from us), `gone` (they blocked us or left), `dead` (it takes nothing)."""
    created_at: Mapped[datetime]


class DuplicateCandidate(Base, Record):
    """Two contacts who may be one person; somebody has to look. The smaller id comes first."""

    __tablename__ = "duplicate_candidates"
    __table_args__ = (Index("uq_duplicate_candidates_pair", "contact_id", "other_id", unique=True),)

    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"))
    other_id: Mapped[int] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"), index=True)
    reason: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    dismissed: Mapped[bool] = mapped_column(Boolean, default=False, server_default=text("false"))


async def get(session: AsyncSession, contact_id: int) -> Contact:
    """Return a contact.

    Raises:
        NotFound: there is no such contact.
    """
    contact = await session.get(Contact, contact_id)
    if contact is None:
        raise NotFound("contact", contact_id)
    return contact


def folded(*parts: str | None) -> str:
    """Return the text that search compares: lower case, ё as е, one space between words."""
    return " ".join(" ".join(p for p in parts if p).casefold().replace("ё", "е").split())


def called() -> ColumnElement[str]:
    """Return what a contact is called in a list: their name, else their phone number or e-mail address, else ""."""
    address = (
        select(ContactIdentity.value)
        .where(ContactIdentity.contact_id == Contact.id, ContactIdentity.scheme.in_((addresses.PHONE, addresses.EMAIL)))
        .order_by(ContactIdentity.scheme.desc(), ContactIdentity.id)
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(func.nullif(Contact.name, ""), address, "")


def found_by(text: str, country: str) -> ColumnElement[bool]:
    """Return the condition under which a contact is found by what somebody typed.

    A phone number in any spelling, or a part of one, is looked for by its digits; anything else as words, each anywhere
    in name, company and addresses. `country` is the ISO code that numbers without a country are taken to be from.
    """
    if number := addresses.phone(text, country):
        return Contact.search.contains(number, autoescape=True)
    digits = "".join(character for character in text if character.isdigit())
    if len(digits) >= 3 and not any(character.isalpha() or character == "@" for character in text):
        return Contact.search.contains(digits, autoescape=True)
    return and_(true(), *(Contact.search.contains(word, autoescape=True) for word in folded(text).split()[:10]))


async def add(
    session: AsyncSession,
    *,
    at: datetime,
    name: str = "",
    owner_id: int | None = None,
    team_id: int | None = None,
    company_id: int | None = None,
    company_name: str = "",
    language: str | None = None,
    tags: Iterable[str] = (),
    custom: Mapping[str, Any] | None = None,
    identities: Iterable[tuple[str, str]] = (),
    country: str = "",
    actor_id: int | None = None,
) -> Contact:
    """Enter a contact by hand. `identities` are pairs of scheme and spelling, read as in `add_identity`.

    Raises:
        Rejected: there is neither a name nor an address, or an address cannot be read.
        Conflict: an address belongs to another contact.
    """
    given = list(identities)
    if not name.strip() and not given:
        raise Rejected("A name or an address is needed", field="name")
    contact = Contact(
        name=name.strip(),
        owner_id=owner_id,
        team_id=team_id,
        company_id=company_id,
        company_name=company_name.strip(),
        language=language,
        tags=_tidy(tags),
        custom=dict(custom or {}),
        first_source="manual",
        created_at=at,
    )
    session.add(contact)
    await session.flush()  # the addresses need the id
    await events.record(session, "contact.created", at, contact_id=contact.id, user_id=owner_id, actor_id=actor_id)
    for scheme, raw in given:
        await _attach(session, contact, scheme, raw, country=country, at=at)
    await refresh_search(session, contact)
    return contact


async def change(session: AsyncSession, contact: Contact, *, at: datetime, actor_id: int | None, **values: Any) -> None:
    """Change what is known of a contact: name, company_id, company_name, language, tags, custom.

    Raises:
        Rejected: neither a name nor an address would be left.
    """
    if "tags" in values:
        values["tags"] = _tidy(values["tags"])
    if "name" in values:
        values["name"] = values["name"].strip()
    changed = {key: value for key, value in values.items() if getattr(contact, key) != value}
    if not changed:
        return
    if changed.get("name") == "" and not await identities_of(session, [contact.id]):
        raise Rejected("A contact without an address needs a name", field="name")
    for key, value in changed.items():
        setattr(contact, key, value)
    contact.version += 1
    await refresh_search(session, contact)
    await events.record(
        session,
        "contact.changed",
        at,
        contact_id=contact.id,
        user_id=contact.owner_id,
        actor_id=actor_id,
        details={"fields": sorted(changed)},
    )


async def assign(
    session: AsyncSession, contact: Contact, *, to: int | None, at: datetime, actor_id: int | None
) -> None:
    """Give a contact to somebody, or to nobody."""
    if contact.owner_id == to:
        return
    before, contact.owner_id = contact.owner_id, to
    contact.version += 1
    await events.record(
        session,
        "contact.assigned",
        at,
        contact_id=contact.id,
        user_id=to,
        actor_id=actor_id,
        details={"from": before},
    )


async def identities_of(session: AsyncSession, contact_ids: Iterable[int]) -> list[ContactIdentity]:
    """Return the addresses of several contacts at once, oldest first."""
    wanted = list(contact_ids)
    if not wanted:
        return []
    return list(
        await session.scalars(
            select(ContactIdentity).where(ContactIdentity.contact_id.in_(wanted)).order_by(ContactIdentity.id)
        )
    )


async def is_taken(session: AsyncSession, scheme: str, value: str) -> bool:
    """Whether an address, in its canonical spelling, belongs to anybody."""
    statement = select(ContactIdentity.id).where(ContactIdentity.scheme == scheme, ContactIdentity.value == value)
    return await session.scalar(statement) is not None


async def keep_apart(
    session: AsyncSession, candidate: DuplicateCandidate, *, at: datetime, actor_id: int | None
) -> None:
    """Note that two contacts who looked alike are two people."""
    if candidate.dismissed:
        return
    candidate.dismissed = True
    for one, other in ((candidate.contact_id, candidate.other_id), (candidate.other_id, candidate.contact_id)):
        await events.record(
            session, "contact.kept_apart", at, contact_id=one, actor_id=actor_id, details={"other_id": other}
        )


async def add_identity(
    session: AsyncSession,
    contact: Contact,
    *,
    scheme: str,
    raw: str,
    at: datetime,
    country: str = "",
    actor_id: int | None = None,
) -> ContactIdentity:
    """Note another address of a contact, as a colleague typed it. Addresses of messengers come with their messages.

    `country` is the ISO code that phone numbers without a country are taken to be from.

    Raises:
        Rejected: it is no phone number or e-mail address.
        Conflict: it belongs to another contact.
    """
    identity = await _attach(session, contact, scheme, raw, country=country, at=at)
    contact.version += 1
    await refresh_search(session, contact)
    await events.record(
        session,
        "contact.identity_added",
        at,
        contact_id=contact.id,
        actor_id=actor_id,
        details={"scheme": identity.scheme, "value": identity.value},
    )
    return identity


async def remove_identity(
    session: AsyncSession, contact: Contact, identity: ContactIdentity, *, at: datetime, actor_id: int | None
) -> None:
    """Forget an address of a contact; whoever writes from it next is somebody new.

    Raises:
        Rejected: nothing would be left to know the contact by.
    """
    others = [each for each in await identities_of(session, [contact.id]) if each.id != identity.id]
    if not others and not contact.name:
        raise Rejected("It is all that is known of this contact. Give the contact a name or another address first")
    await session.delete(identity)
    contact.version += 1
    await refresh_search(session, contact)
    await events.record(
        session,
        "contact.identity_removed",
        at,
        contact_id=contact.id,
        actor_id=actor_id,
        details={"scheme": identity.scheme, "value": identity.value},
    )


async def refresh_search(session: AsyncSession, contact: Contact) -> None:
    """Make the text that search looks in anew: name, company and addresses."""
    await session.flush()
    company = None if contact.company_id is None else await session.get(Company, contact.company_id)
    values = [identity.value for identity in await identities_of(session, [contact.id])]
    contact.search = folded(contact.name, contact.company_name, company.name if company else None, *values)


async def _attach(
    session: AsyncSession, contact: Contact, scheme: str, raw: str, *, country: str, at: datetime
) -> ContactIdentity:
    if scheme == addresses.PHONE:
        value = addresses.phone(raw, country)
    elif scheme == addresses.EMAIL:
        value = addresses.email(raw)
    else:
        raise Rejected("By hand a phone or an e-mail address can be added (scheme phone or email)", field="scheme")
    if value is None:
        raise Rejected(
            "“%(raw)s” cannot be read as a phone number"
            if scheme == addresses.PHONE
            else "“%(raw)s” cannot be read as an e-mail address",
            raw=raw[:100],
            field="value",
        )
    if await is_taken(session, scheme, value):
        raise Conflict("The address %(value)s belongs to a contact already", value=value)
    identity = ContactIdentity(
        contact_id=contact.id, scheme=scheme, value=value, raw=raw, trust=Trust.TYPED, connection_id=None, created_at=at
    )
    session.add(identity)
    await session.flush()
    return identity


def _tidy(tags: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
