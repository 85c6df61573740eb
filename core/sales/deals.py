"""Deals: sales we are trying to make, and what entering a stage sets going."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Edited, Record
from core.kernel.errors import NotFound, Rejected
from core.sales import leads, pipelines
from core.sales.pipelines import Category, Stage


class Outcome(StrEnum):
    """How a deal ended, if it did."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Deal(Base, Record, Edited):
    """A sale we are trying to make. `amount` is in minor units of `currency`; None where nobody knows yet."""

    __tablename__ = "deals"
    __table_args__ = (
        CheckConstraint("amount >= 0", name="amount_not_negative"),
        CheckConstraint("(outcome = 'open') = (closed_at IS NULL)", name="closed_at"),
        Index("ix_deals_contact_id", "contact_id", "id"),
        Index("ix_deals_stage_id", "stage_id", "id", postgresql_where=text("outcome = 'open'")),
        Index("ix_deals_owner_id", "owner_id", "id"),
        Index("ix_deals_team_id", "team_id", "id", postgresql_where=text("owner_id IS NULL")),
        Index("ix_deals_created_at", "created_at", "id"),
    )

    title: Mapped[str]
    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"))
    company_id: Mapped[int | None]
    lead_id: Mapped[int | None]
    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id"))
    stage_id: Mapped[int] = mapped_column(ForeignKey("stages.id"))
    outcome: Mapped[str] = mapped_column(Text, default=Outcome.OPEN, server_default="open")
    amount: Mapped[int | None]
    currency: Mapped[str]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    source: Mapped[str | None]
    custom: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    lost_reason: Mapped[str | None]
    stage_entered_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]

    @property
    def is_open(self) -> bool:
        """Whether the deal can still be won or lost."""
        return self.outcome == Outcome.OPEN


async def get(session: AsyncSession, deal_id: int) -> Deal:
    """Return a deal.

    Raises:
        NotFound: there is no such deal.
    """
    deal = await session.get(Deal, deal_id)
    if deal is None:
        raise NotFound("deal", deal_id)
    return deal


async def open_of(session: AsyncSession, contact_id: int) -> Sequence[Deal]:
    """Return a contact's open deals, newest first."""
    return list(
        await session.scalars(
            select(Deal).where(Deal.contact_id == contact_id, Deal.outcome == Outcome.OPEN).order_by(Deal.id.desc())
        )
    )


async def add(
    session: AsyncSession,
    *,
    title: str,
    contact_id: int,
    stage: Stage,
    currency: str,
    at: datetime,
    amount: int | None = None,
    company_id: int | None = None,
    lead_id: int | None = None,
    owner_id: int | None = None,
    team_id: int | None = None,
    source: str | None = None,
    custom: Mapping[str, Any] | None = None,
    actor_id: int | None = None,
) -> Deal:
    """Open a deal in a stage. The stage's entry rules are the caller's to run (core.work.stage_tasks.enter).

    Raises:
        Rejected: there is no title, or the stage is one of closed deals.
    """
    if not title.strip():
        raise Rejected("A title is needed", field="title")
    if stage.category != Category.OPEN:
        raise Rejected("A deal begins in an open stage; win or lose it afterwards", field="stage_id")
    deal = Deal(
        title=title.strip(),
        contact_id=contact_id,
        company_id=company_id,
        lead_id=lead_id,
        pipeline_id=stage.pipeline_id,
        stage_id=stage.id,
        amount=amount,
        currency=currency,
        owner_id=owner_id,
        team_id=team_id,
        source=source,
        custom=dict(custom or {}),
        stage_entered_at=at,
        created_at=at,
    )
    session.add(deal)
    await session.flush()
    await events.record(
        session,
        "deal.created",
        at,
        contact_id=contact_id,
        deal_id=deal.id,
        lead_id=lead_id,
        user_id=owner_id,
        actor_id=actor_id,
        details={"stage_id": stage.id},
    )
    return deal


async def change(session: AsyncSession, deal: Deal, *, at: datetime, actor_id: int | None, **values: Any) -> None:
    """Change what is known of a deal: title, amount, currency, company_id, custom.

    Raises:
        Rejected: the title would be empty.
    """
    if "title" in values:
        values["title"] = values["title"].strip()
        if not values["title"]:
            raise Rejected("A title is needed", field="title")
    changed = {key: value for key, value in values.items() if getattr(deal, key) != value}
    if not changed:
        return
    for key, value in changed.items():
        setattr(deal, key, value)
    deal.version += 1
    await events.record(
        session,
        "deal.changed",
        at,
        deal_id=deal.id,
        contact_id=deal.contact_id,
        lead_id=deal.lead_id,
        actor_id=actor_id,
        user_id=deal.owner_id,
        details={"fields": sorted(changed)},
    )


async def move(
    session: AsyncSession, deal: Deal, stage: Stage, *, at: datetime, actor_id: int | None, reason: str = ""
) -> bool:
    """Take a deal to another stage of its pipeline; a won or lost stage closes it, an open one reopens it.

    `reason` says why it is lost.

    The stage's entry rules are the caller's to run (core.work.stage_tasks.enter), since tasks lie above deals.
    Returns False, and changes nothing, if the deal is there already.

    Raises:
        Rejected: the stage belongs to another pipeline.
    """
    if stage.pipeline_id != deal.pipeline_id:
        raise Rejected("That stage belongs to another pipeline", field="stage_id")
    if stage.id == deal.stage_id:
        return False
    before, was = deal.stage_id, deal.outcome
    deal.stage_id, deal.stage_entered_at = stage.id, at
    deal.version += 1
    if stage.category == Category.OPEN:
        deal.outcome, deal.closed_at, deal.lost_reason = Outcome.OPEN, None, None
    else:
        deal.outcome, deal.closed_at, deal.lost_reason = Outcome(stage.category), at, reason or None
    common = {"deal_id": deal.id, "contact_id": deal.contact_id, "lead_id": deal.lead_id}
    await events.record(
        session,
        "deal.stage_changed",
        at,
        actor_id=actor_id,
        user_id=deal.owner_id,
        details={"from": before, "to": stage.id, "stage": stage.name},
        **common,
    )
    if deal.outcome != was:
        kind = {"won": "deal.won", "lost": "deal.lost"}.get(deal.outcome, "deal.reopened")
        details = {"reason": reason} if reason else {}
        await events.record(session, kind, at, actor_id=actor_id, user_id=deal.owner_id, details=details, **common)
    if deal.lead_id is not None:
        lead = await session.get(leads.Lead, deal.lead_id)
        if lead is not None and lead.status in leads.OPEN_STATUSES:
            await leads.convert(session, lead, at=at, deal_id=deal.id, actor_id=actor_id)
    return True


def _closed(deal: Deal) -> Rejected:
    return Rejected("The deal is won already" if deal.outcome == "won" else "The deal is lost already")


async def _closing_stage(session: AsyncSession, deal: Deal, category: Category) -> Stage:
    for stage in await pipelines.stages_of(session, deal.pipeline_id):
        if stage.category == category:
            return stage
    raise Rejected(
        "The pipeline has no stage for deals that are won: add one in the settings first"
        if category == Category.WON
        else "The pipeline has no stage for deals that are lost: add one in the settings first"
    )


async def win(session: AsyncSession, deal: Deal, *, at: datetime, actor_id: int | None) -> None:
    """Close a deal as won.

    Raises:
        Rejected: it is closed already.
    """
    if not deal.is_open:
        raise _closed(deal)
    await move(session, deal, await _closing_stage(session, deal, Category.WON), at=at, actor_id=actor_id)


async def lose(session: AsyncSession, deal: Deal, *, at: datetime, reason: str, actor_id: int | None) -> None:
    """Close a deal as lost, for a stated reason.

    Raises:
        Rejected: it is closed already, or no reason is given.
    """
    if not deal.is_open:
        raise _closed(deal)
    if not reason.strip():
        raise Rejected("Say why the deal was lost", field="reason")
    stage = await _closing_stage(session, deal, Category.LOST)
    await move(session, deal, stage, at=at, actor_id=actor_id, reason=reason.strip())


async def assign(session: AsyncSession, deal: Deal, *, to: int | None, at: datetime, actor_id: int | None) -> None:
    """Give a deal to somebody, or to nobody."""
    if deal.owner_id == to:
        return
    before, deal.owner_id = deal.owner_id, to
    deal.version += 1
    await events.record(
        session,
        "deal.assigned",
        at,
        deal_id=deal.id,
        contact_id=deal.contact_id,
        lead_id=deal.lead_id,
        actor_id=actor_id,
        user_id=to,
        details={"from": before},
    )
