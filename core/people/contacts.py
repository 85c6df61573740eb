"""Contacts: the people who get in touch, whichever way they come."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Text, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Edited, Record
from core.kernel.errors import NotFound


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
