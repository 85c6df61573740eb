"""Updates: what people did in a messenger, written down by whoever reads deliveries, to be done by the desk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import DeskEvent, DeskGone, DeskMoved, DeskPressed, DeskSaid, DeskStarted
from core.kernel import jobs
from core.kernel.db import insert_rows
from hub.desk.records import DeskUpdate

_EVENTS: Mapping[str, type[DeskEvent]] = {
    kind.__name__: kind for kind in (DeskSaid, DeskPressed, DeskStarted, DeskGone, DeskMoved)
}


class Noted(NamedTuple):
    """A desk event of a delivery."""

    connection_id: int
    delivery_id: int | None
    event: DeskEvent


async def note(session: AsyncSession, noted: Sequence[Noted], *, at: datetime) -> list[dict[str, Any]]:
    """Write down what people did, to be done in the order of each chat; return what to note at the delivery."""
    rows = [
        {
            "lane": f"{item.connection_id}:{item.event.peer}:{item.event.thread}",
            "connection_id": item.connection_id,
            "kind": type(item.event).__name__,
            "event": msgspec.to_builtins(item.event),
            "delivery_id": item.delivery_id,
            "due_at": at,
            "created_at": at,
        }
        for item in noted
    ]
    await insert_rows(session, DeskUpdate, rows)
    await jobs.wake(session, DeskUpdate.__tablename__)
    return [{"kind": f"desk.{type(item.event).__name__.removeprefix('Desk').lower()}"} for item in noted]


def event_of(row: Any) -> DeskEvent:
    """Return what a row of the queue says was done."""
    return msgspec.convert(row.event, _EVENTS[row.kind])
