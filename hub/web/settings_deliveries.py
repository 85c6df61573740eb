"""Deliveries: what came in and could not be understood, word for word, and having it read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import case, func, null, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.connections import Connection
from core.kernel.errors import Conflict
from core.staff import access
from hub import exchange
from hub.web.settings_forms import note
from hub.web.visits import Visit
from hub.web.words import N_
from webhooks import forms
from webhooks.deliveries import Delivery, DeliveryState
from webhooks.errors import WebhookError

PAGE = 50
_AT_ONCE = 1000
_GLANCED_AT = 20_000  # bytes of a body that are read for its summary
_SHOWN = 200_000  # bytes of a body that are shown on its page
_TROUBLE = (DeliveryState.FAILED.value, DeliveryState.DEAD.value)
_SAYS_NOTHING = ("utm_", "_", "csrf", "submission", "redirect", "referrer", "landing_page", "gclid", "yclid", "trap")


@dataclass(frozen=True, slots=True)
class ShownDelivery:
    """A request from outside in a list."""

    id: int
    connection: Connection | None
    state: str
    received_at: datetime
    attempts: int
    error: str | None
    summary: str


async def last_of(visit: Visit, connection: Connection) -> list[ShownDelivery]:
    """Return what came over a connection last."""
    rows = await _rows(visit.session, Delivery.connection_id == connection.id, limit=20)
    return [_shown(visit, row, {connection.id: connection}) for row in rows]


async def index(visit: Visit) -> web.StreamResponse:
    """List what could not be understood, the last in front."""
    visit.rights.require_manage()
    cursor = visit.request.query.get("cursor", "")
    conditions: list[Any] = [Delivery.state.in_(_TROUBLE)]
    if cursor.isascii() and cursor.isdigit() and len(cursor) < 19:
        conditions.append(Delivery.id < int(cursor))
    rows = await _rows(visit.session, *conditions, limit=PAGE + 1)
    known = {row.id: row for row in await visit.session.scalars(select(Connection))}
    following = str(rows[PAGE - 1].id) if len(rows) > PAGE else None
    return visit.page(
        "settings/deliveries.html", deliveries=[_shown(visit, row, known) for row in rows[:PAGE]], next=following
    )


async def show(visit: Visit, delivery_id: int) -> web.StreamResponse:
    """Show a request word for word, with what became of it."""
    delivery = await access.fetch(visit.session, visit.rights, Delivery, delivery_id)
    connection = await visit.session.get(Connection, delivery.connection_id)
    live = visit.hub.switchboard.by_id(delivery.connection_id)
    body = delivery.body if live is None else live.masked_bytes(delivery.body)
    kept = delivery.request
    query = f"?{kept['query']}" if kept.get("query") else ""
    head = [f"{kept.get('method', '')} {kept.get('path', '')}{query}"]
    head += [f"{name}: {value}" for name, value in kept.get("headers", {}).items()]
    return visit.page(
        "settings/delivery.html",
        delivery=delivery,
        connection=connection,
        summary=_summary(body[:_GLANCED_AT], kept),
        client=str(kept.get("client", "")),
        head="\n".join(head),
        body=_readable(body[:_SHOWN]),
        size=len(delivery.body),
        is_cut=len(delivery.body) > _SHOWN,
    )


async def replay(visit: Visit, delivery_id: int) -> web.StreamResponse:
    """Have one request read again."""
    delivery = await access.fetch(visit.session, visit.rights, Delivery, delivery_id, change=True)
    if not await exchange.replay(visit.session, [delivery.id], now=visit.hub.clock.now()):
        raise Conflict(visit.translate(N_("It waits for its turn already; there is nothing to try again yet")))
    note(visit, "delivery.replayed", "delivery", delivery.id)
    return visit.done("/settings/deliveries", N_("It is being read again"))


async def replay_all(visit: Visit) -> web.StreamResponse:
    """Have everything that could not be understood read again."""
    visit.rights.require_manage()
    statement = select(Delivery.id).where(Delivery.state.in_(_TROUBLE)).order_by(Delivery.id)
    ids = list(await visit.session.scalars(statement))
    count = 0
    for start in range(0, len(ids), _AT_ONCE):
        count += await exchange.replay(visit.session, ids[start : start + _AT_ONCE], now=visit.hub.clock.now())
    note(visit, "delivery.replayed", "delivery", None, {"count": count})
    return visit.done("/settings/deliveries", N_("All of it is being read again"))


async def _rows(session: AsyncSession, *conditions: Any, limit: int) -> Sequence[Any]:
    small = func.octet_length(Delivery.body) <= _GLANCED_AT
    statement = (
        select(
            Delivery.id,
            Delivery.connection_id,
            Delivery.state,
            Delivery.received_at,
            Delivery.attempts,
            Delivery.error,
            Delivery.request,
            case((small, Delivery.body), else_=null()).label("body"),
        )
        .where(*conditions)
        .order_by(Delivery.id.desc())
        .limit(limit)
    )
    return list(await session.execute(statement))


def _shown(visit: Visit, row: Any, known: dict[int, Connection]) -> ShownDelivery:
    live = visit.hub.switchboard.by_id(row.connection_id)
    return ShownDelivery(
        id=row.id,
        connection=known.get(row.connection_id),
        state=row.state,
        received_at=row.received_at,
        attempts=row.attempts,
        error=row.error,
        summary="" if row.body is None else _summary(live.masked_bytes(row.body) if live else row.body, row.request),
    )


def _summary(body: bytes, request: dict[str, Any]) -> str:
    """Return what a request says in one line: its first fields, or the beginning of its text."""
    headers = request.get("headers", {})
    try:
        form = forms.decode(body, str(headers.get("content-type", "")), str(request.get("query", "")))
    except WebhookError:
        return " ".join(_readable(body[:400]).split())[:120]
    said = [value for name, value in form.fields if value.strip() and not name.lower().startswith(_SAYS_NOTHING)]
    return " · ".join(" ".join(value.split())[:60] for value in said[:3])


def _readable(body: bytes) -> str:
    """Return a body as text; what is none stands as its bytes would in a listing."""
    return "".join(
        character if character.isprintable() or character in "\r\n\t" else "\ufffd"
        for character in body.decode("utf-8", "replace")
    )
