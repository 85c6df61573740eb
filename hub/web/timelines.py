"""Timelines on pages: the lines of the diary about one record, with the names of those who did it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import defer

from core.kernel.events import TimelineEvent
from core.staff import access
from hub.web import shown
from hub.web.rendering import local_date
from hub.web.shown import Person
from hub.web.visits import Visit

LONGEST = 100
"""Lines a record's page shows at once."""


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """A line of a timeline. `date` is the day it happened on where the reader is."""

    id: int
    kind: str
    at: datetime
    date: date
    actor: Person | None
    user: Person | None
    details: dict[str, Any]


async def of(visit: Visit, **subject: int) -> list[ShownEvent]:
    """Return the last things that happened with a record the person sees (`deal_id=…`), newest first.

    A request and its first message are one event and are told once.
    """
    statement = select(TimelineEvent).options(defer(TimelineEvent.transaction)).filter_by(**subject)
    found = list(
        await visit.session.scalars(
            access.narrow(statement, visit.rights, TimelineEvent).order_by(TimelineEvent.id.desc()).limit(LONGEST)
        )
    )
    names = await shown.people(visit.session, [i for line in found for i in (line.actor_id, line.user_id)])
    told = {line.lead_id for line in found if line.kind == "lead.created"}
    return [
        ShownEvent(
            id=line.id,
            kind=line.kind,
            at=line.at,
            date=local_date(visit.viewer, line.at),
            actor=names.get(line.actor_id),
            user=names.get(line.user_id),
            details=line.details,
        )
        for line in found
        if not (line.kind == "message.received" and line.details.get("is_first") and line.lead_id in told)
    ]
