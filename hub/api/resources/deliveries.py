"""Deliveries: every request from outside, kept word for word, with what became of it."""

from __future__ import annotations

import base64
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import defer

from core.kernel.errors import Conflict
from core.staff import access
from hub import exchange
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Id, Moment, Page, View
from webhooks.deliveries import Delivery

State = Literal["received", "processed", "ignored", "failed", "dead"]


class DeliveryView(View):
    """A raw request and what it was understood to be. `dead`: not tried again unless somebody replays it."""

    id: Id
    connection_id: Id
    state: State
    received_at: Moment
    attempts: int
    error: str | None
    reference: str
    events: list[Any]


class RawRequestView(View):
    """The request as it came in. `body` is its text if it is UTF-8, else null; `body_base64` is always all of it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    client: str
    body: str | None
    body_base64: str


class DeliveryWithRequestView(DeliveryView):
    """A delivery, word for word."""

    request: RawRequestView


DELIVERIES = Listing(
    "deliveries",
    unique=Delivery.id,
    sorts={"received_at": Delivery.id},  # ids grow with time, and the index is by them
    filters={
        "state": paging.one_of(Delivery.state, State),
        "connection_id": paging.ids(Delivery.connection_id),
        "reference": paging.one_of(Delivery.reference),
        **paging.moments(received_at=Delivery.received_at),
    },
)


def _members(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": Id(delivery.id),
        "connection_id": Id(delivery.connection_id),
        "state": delivery.state,
        "received_at": delivery.received_at,
        "attempts": delivery.attempts,
        "error": delivery.error,
        "reference": delivery.reference,
        "events": delivery.events or [],
    }


async def index(call: Call, query: ListQuery) -> Page[DeliveryView]:
    """List deliveries, the last ones in front."""
    call.rights.require_manage()
    statement = select(Delivery).options(defer(Delivery.body), defer(Delivery.request))
    found = await DELIVERIES.page(call.session, access.narrow(statement, call.rights, Delivery), query)
    return Page(items=[DeliveryView(**_members(row)) for row in found.rows], next=found.next)


async def show(call: Call, delivery_id: Id) -> DeliveryWithRequestView:
    """Show a delivery with the request it was."""
    call.rights.require_manage()
    delivery = await records.seen(call, Delivery, delivery_id)
    live = call.hub.switchboard.by_id(delivery.connection_id)
    return _whole(delivery, delivery.body if live is None else live.masked_bytes(delivery.body))


def _whole(delivery: Delivery, body: bytes) -> DeliveryWithRequestView:
    kept = delivery.request
    try:
        text: str | None = body.decode()
    except UnicodeDecodeError:
        text = None
    request = RawRequestView(
        method=str(kept.get("method", "")),
        path=str(kept.get("path", "")),
        query=str(kept.get("query", "")),
        headers={str(name): str(value) for name, value in kept.get("headers", {}).items()},
        client=str(kept.get("client", "")),
        body=text,
        body_base64=base64.b64encode(body).decode(),
    )
    return DeliveryWithRequestView(**_members(delivery), request=request)


async def replay(call: Call, delivery_id: Id) -> DeliveryView:
    """Replay a delivery: it is read again as if it had just come in. What was made of it is not made twice."""
    call.rights.require_manage()
    delivery = await records.seen(call, Delivery, delivery_id)
    if not await exchange.replay(call.session, [delivery.id], now=call.now):
        raise Conflict("The delivery waits for its turn or is being worked on; there is nothing to replay yet")
    records.note(call, "delivery.replayed", "delivery", delivery.id)
    await call.session.refresh(delivery)
    return DeliveryView(**_members(delivery))


ENDPOINTS = (
    Endpoint("GET", "/deliveries", index, listing=DELIVERIES, administrative=True),
    Endpoint("GET", "/deliveries/{delivery_id}", show, administrative=True),
    Endpoint("POST", "/deliveries/{delivery_id}/replay", replay, administrative=True, refuses=(409,)),
)
