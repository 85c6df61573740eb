"""Notes: what colleagues write down about a person or a deal. Only the diary keeps them; no customer sees one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.kernel.errors import Rejected

LONGEST = 10_000
"""Characters a note may have."""


async def add(
    session: AsyncSession,
    *,
    text: str,
    contact_id: int,
    at: datetime,
    author_id: int,
    deal_id: int | None = None,
    lead_id: int | None = None,
) -> None:
    """Write a note about a contact, and about a deal or lead of theirs.

    Raises:
        Rejected: there is no text, or too much of it.
    """
    if not text.strip():
        raise Rejected("Say something", field="text")
    if len(text) > LONGEST:
        raise Rejected(
            "A note has at most %(most)s characters; this one has %(length)s",
            most=LONGEST,
            length=len(text),
            field="text",
        )
    await events.record(
        session,
        "note.added",
        at,
        contact_id=contact_id,
        deal_id=deal_id,
        lead_id=lead_id,
        actor_id=author_id,
        details={"text": text.strip()},
    )
