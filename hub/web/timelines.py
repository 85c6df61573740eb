"""Timelines on pages: the lines of the diary about one record, with the names of those who did it, and its calls.

What happened during a call is many lines of the diary, and one entry here: the call itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import defer

from core.connections import Connection
from core.kernel.events import TimelineEvent
from core.staff import access
from core.talk.conversations import Conversation
from hub.web import shown, shown_calls
from hub.web.rendering import local_date
from hub.web.shown import Person
from hub.web.shown_calls import ShownCall
from hub.web.visits import Visit

LONGEST = 100
"""Lines a record's page shows at once."""


UNTOLD = frozenset(
    {
        "message.sent",
        "message.delivered",
        "message.read",
        "message.retried",
        "message.grown",
        "message.file_fetched",
        "message.automatic",
        "conversation.read",
    }
)
"""What the conversation itself shows, and nobody looks for in a diary."""


@dataclass(frozen=True, slots=True)
class Channel:
    """The channel something was said on."""

    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """A line of a timeline. `date` is the day it happened on where the reader is; `channel` the one it was said on."""

    id: int
    kind: str
    at: datetime
    date: date
    actor: Person | None
    user: Person | None
    details: dict[str, Any]
    conversation_id: int | None
    channel: Channel | None


async def of(visit: Visit, **subject: int) -> list[ShownEvent | ShownCall]:
    """Return the last things that happened with a record the person sees (`deal_id=…`), newest first.

    A request and its first message are one event and are told once.
    """
    statement = select(TimelineEvent).options(defer(TimelineEvent.transaction)).filter_by(**subject)
    statement = statement.where(TimelineEvent.kind.not_in(UNTOLD), TimelineEvent.kind.not_like("call.%"))
    found = list(
        await visit.session.scalars(
            access.narrow(statement, visit.rights, TimelineEvent).order_by(TimelineEvent.id.desc()).limit(LONGEST)
        )
    )
    names = await shown.people(visit.session, [i for line in found for i in (line.actor_id, line.user_id)])
    channels = await _channels(visit, {line.conversation_id for line in found if line.conversation_id is not None})
    told = {line.lead_id for line in found if line.kind == "lead.created"}
    lines: list[ShownEvent | ShownCall] = [
        ShownEvent(
            id=line.id,
            kind=line.kind,
            at=line.at,
            date=local_date(visit.viewer, line.at),
            actor=names.get(line.actor_id),
            user=names.get(line.user_id),
            details=line.details,
            conversation_id=line.conversation_id,
            channel=channels.get(line.conversation_id),
        )
        for line in found
        if not (line.kind == "message.received" and line.details.get("is_first") and line.lead_id in told)
    ]
    since = found[-1].at if len(found) == LONGEST else None  # what was before is not on the page
    calls = await shown_calls.of(visit, limit=LONGEST, since=since, **subject)
    return sorted([*lines, *calls], key=lambda each: each.at, reverse=True)[:LONGEST] if calls else lines


async def _channels(visit: Visit, conversation_ids: set[int]) -> dict[int | None, Channel]:
    if not conversation_ids:
        return {}
    statement = (
        select(Conversation.id, Connection.kind, Connection.title)
        .join(Connection, Connection.id == Conversation.connection_id)
        .where(Conversation.id.in_(conversation_ids))
    )
    return {row.id: Channel(row.kind, row.title) for row in await visit.session.execute(statement)}
