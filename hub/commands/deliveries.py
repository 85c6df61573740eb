"""`switchyard delivery`: what came in, word for word, and having it read again."""

from __future__ import annotations

import argparse
import base64
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.connections import Connection
from core.kernel.errors import NotFound
from core.staff import audit
from hub.commands.workplace import CLIENT, CLOCK, moment, say, show, table, workplace
from hub.settings import Settings
from webhooks.deliveries import Delivery

_ROW = 16  # bytes a line of the dump
_AT_ONCE = 1000


async def list_all(settings: Settings, options: argparse.Namespace) -> int:
    """Show what came in, newest first."""
    statement = (
        select(
            Delivery.id,
            Delivery.connection_id,
            Connection.title,
            Delivery.state,
            Delivery.received_at,
            Delivery.attempts,
            Delivery.error,
            Delivery.events,
            Delivery.reference,
            func.length(Delivery.body).label("size"),
        )
        .outerjoin(Connection, Connection.id == Delivery.connection_id)
        .order_by(Delivery.id.desc())
        .limit(options.limit)
    )
    if options.state:
        statement = statement.where(Delivery.state == options.state)
    async with workplace(settings) as database, database.reading() as session:
        rows = list(await session.execute(statement))
    if options.json:
        show([_item(row) for row in rows])
        return 0
    table(
        ("ID", "RECEIVED", "CHANNEL", "STATE", "TRIES", "BYTES", "ERROR"),
        [
            (
                row.id,
                moment(row.received_at),
                row.title or f"{row.connection_id} (deleted)",
                row.state,
                row.attempts,
                row.size,
                (row.error or "")[:100],
            )
            for row in rows
        ],
        nothing=f"No delivery is {options.state}" if options.state else "Nothing has come in yet",
    )
    return 0


def _item(row: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "connection_id": str(row.connection_id),
        "state": row.state,
        "received_at": row.received_at,
        "attempts": row.attempts,
        "error": row.error,
        "events": row.events or [],
        "reference": row.reference,
    }


async def show_one(settings: Settings, options: argparse.Namespace) -> int:
    """Show a request as it came in, and what became of it."""
    async with workplace(settings) as database, database.reading() as session:
        delivery = await session.get(Delivery, options.id)
        if delivery is None:
            raise NotFound("delivery", options.id)
        connection = await session.get(Connection, delivery.connection_id)
    text = _as_text(delivery.body)
    if options.json:
        body = {"body": text} if text is not None else {"body_base64": base64.b64encode(delivery.body).decode()}
        show({**_item(delivery), "due_at": delivery.due_at, "request": delivery.request, **body})
        return 0
    request = delivery.request
    print(f"Delivery {delivery.id}, reference {delivery.reference}")
    print(f"Received  {moment(delivery.received_at)} from {request.get('client') or 'an unknown address'}")
    print(f"Channel   {delivery.connection_id}, {connection.title if connection else 'deleted meanwhile'}")
    print(f"State     {delivery.state} after {delivery.attempts} tries", end="")
    print(f", next try {moment(delivery.due_at)}" if delivery.due_at else "")
    if delivery.error:
        print(f"Error     {delivery.error}")
    for event in delivery.events or ():
        print("Became    " + ", ".join(f"{name} {value}" for name, value in event.items()))
    query = f"?{request['query']}" if request.get("query") else ""
    print(f"\n{request.get('method', '')} {request.get('path', '')}{query}")
    for name, value in request.get("headers", {}).items():
        print(f"{name}: {value}")
    print()
    print(_dump(delivery.body) if text is None else text)
    return 0


def _as_text(body: bytes) -> str | None:
    """Return a body that is text a terminal can show; None for any other."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter in "\r\n\t" for letter in text) else None


def _dump(body: bytes) -> str:
    lines = []
    for offset in range(0, len(body), _ROW):
        row = body[offset : offset + _ROW]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:08x}  {row.hex(' '):<{_ROW * 3 - 1}}  {letters}")
    return "\n".join(lines)


async def replay(settings: Settings, options: argparse.Namespace) -> int:
    """Have requests read again; the worker of a running hub does it."""
    from hub import exchange

    async with workplace(settings) as database, database.transaction() as session:
        ids = await _of_state(session, options.state) if options.state else await _known(session, options.ids)
        count = 0
        for start in range(0, len(ids), _AT_ONCE):
            count += await exchange.replay(session, ids[start : start + _AT_ONCE], now=CLOCK.now())
        for delivery_id in ids if not options.state else ():
            audit.note(
                session, "delivery.replayed", at=CLOCK.now(), entity="delivery", entity_id=delivery_id, client=CLIENT
            )
        if options.state and count:
            details = {"state": options.state, "count": count}
            audit.note(session, "delivery.replayed", at=CLOCK.now(), client=CLIENT, details=details)
    if options.json:
        show({"replayed": count})
    else:
        print(f"{count} to be read again")
        if count:
            say("A running hub does it at once; see `switchyard delivery list`")
        elif options.ids:
            say("They wait to be read already")
    return 0


async def _of_state(session: AsyncSession, state: str) -> list[int]:
    return list(await session.scalars(select(Delivery.id).where(Delivery.state == state).order_by(Delivery.id)))


async def _known(session: AsyncSession, ids: list[int]) -> list[int]:
    """Return the ids if there are deliveries of all of them.

    Raises:
        NotFound: there is none of one of them; nothing is replayed.
    """
    found = set(await session.scalars(select(Delivery.id).where(Delivery.id.in_(ids))))
    for delivery_id in ids:
        if delivery_id not in found:
            raise NotFound("delivery", delivery_id)
    return ids
