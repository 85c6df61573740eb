"""Leads: requests that nobody has qualified yet, with where they came from and why they went to whom they went."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Edited, Record
from core.kernel.errors import NotFound, Rejected


class LeadStatus(StrEnum):
    """Where a lead stands."""

    NEW = "new"
    WORKING = "working"
    CONVERTED = "converted"
    UNQUALIFIED = "unqualified"
    JUNK = "junk"


OPEN_STATUSES = (LeadStatus.NEW, LeadStatus.WORKING)


class Lead(Base, Record, Edited):
    """A request. `attribution` is of its first touch; `fields` all that the form said beyond the known fields.

    `routing` is the explanation of why its owner was chosen, as core.work.routing_choice words it.
    """

    __tablename__ = "leads"
    __table_args__ = (
        Index("ix_leads_contact_id", "contact_id", "id"),
        Index("ix_leads_owner_id", "owner_id", "id"),
        Index("ix_leads_team_id", "team_id", "id", postgresql_where=text("owner_id IS NULL")),
        Index("ix_leads_status", "status", "id"),
        Index("ix_leads_created_at", "created_at", "id"),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"))
    connection_id: Mapped[int | None]
    status: Mapped[str] = mapped_column(Text, default=LeadStatus.NEW, server_default="new")
    source: Mapped[str]
    attribution: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    fields: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    message: Mapped[str] = mapped_column(Text, default="", server_default="")
    consent: Mapped[str | None]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    deal_id: Mapped[int | None]
    routing: Mapped[dict[str, Any] | None]
    closed_at: Mapped[datetime | None]
    closed_because: Mapped[str | None]


async def get(session: AsyncSession, lead_id: int) -> Lead:
    """Return a lead.

    Raises:
        NotFound: there is no such lead.
    """
    lead = await session.get(Lead, lead_id)
    if lead is None:
        raise NotFound("lead", lead_id)
    return lead


async def disqualify(
    session: AsyncSession, lead: Lead, *, at: datetime, status: LeadStatus, reason: str, actor_id: int | None
) -> None:
    """Close a lead as unqualified or junk, for a stated reason. Its deal, if open, is the caller's to lose.

    Raises:
        Rejected: the lead is closed already, or the status does not close it.
    """
    if status not in (LeadStatus.UNQUALIFIED, LeadStatus.JUNK):
        raise Rejected("A lead is disqualified as 'unqualified' or 'junk'", field="status")
    if lead.status not in OPEN_STATUSES:
        raise Rejected("The lead is closed already")
    lead.status, lead.closed_at, lead.closed_because = status, at, reason.strip() or None
    lead.version += 1
    await events.record(
        session,
        "lead.disqualified",
        at,
        lead_id=lead.id,
        contact_id=lead.contact_id,
        deal_id=lead.deal_id,
        actor_id=actor_id,
        details={"status": status, "reason": lead.closed_because},
    )


async def start_work(session: AsyncSession, lead_id: int, *, at: datetime, actor_id: int | None) -> bool:
    """Note that somebody has begun to work on a new lead. Returns False, and changes nothing, if it is not new."""
    lead = await session.get(Lead, lead_id, with_for_update=True)
    if lead is None or lead.status != LeadStatus.NEW:
        return False
    lead.status = LeadStatus.WORKING
    lead.version += 1
    await events.record(
        session,
        "lead.working",
        at,
        lead_id=lead.id,
        contact_id=lead.contact_id,
        deal_id=lead.deal_id,
        actor_id=actor_id,
        user_id=lead.owner_id,
    )
    return True


async def convert(session: AsyncSession, lead: Lead, *, at: datetime, deal_id: int, actor_id: int | None) -> None:
    """Note that a lead became a deal somebody works on.

    Raises:
        Rejected: the lead is closed already.
    """
    if lead.status not in OPEN_STATUSES:
        raise Rejected("The lead is closed already")
    lead.status, lead.closed_at, lead.deal_id = LeadStatus.CONVERTED, at, deal_id
    lead.version += 1
    await events.record(
        session,
        "lead.converted",
        at,
        lead_id=lead.id,
        contact_id=lead.contact_id,
        deal_id=deal_id,
        actor_id=actor_id,
    )
