"""Lost reasons: why deals are lost, as the company words it."""

from __future__ import annotations

from msgspec import UNSET, UnsetType
from sqlalchemy import select

from core.kernel.errors import Rejected
from core.sales.pipelines import LostReason
from core.staff import access
from hub.api import records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.resources.pipelines import Name, Position
from hub.api.wire import Body, Id, Page, View


class LostReasonView(View):
    """Why deals are lost, as the company words it."""

    id: Id
    name: str
    position: int


class NewLostReason(Body):
    """A reason."""

    name: Name
    position: Position = 0


class LostReasonChange(Body):
    """What is to change; what is left out stays. Deals keep the words they were lost with."""

    name: Name | UnsetType = UNSET
    position: Position | UnsetType = UNSET


LOST_REASONS = Listing(
    "lost reasons", unique=LostReason.id, sorts={"position": LostReason.position}, default="position"
)


def _reason_view(reason: LostReason) -> LostReasonView:
    return LostReasonView(id=Id(reason.id), name=reason.name, position=reason.position)


async def list_reasons(call: Call, query: ListQuery) -> Page[LostReasonView]:
    """List the reasons why deals are lost."""
    found = await LOST_REASONS.page(call.session, access.narrow(select(LostReason), call.rights, LostReason), query)
    return Page(items=[_reason_view(row) for row in found.rows], next=found.next)


async def show_reason(call: Call, reason_id: Id) -> LostReasonView:
    """Show a reason."""
    return _reason_view(await records.seen(call, LostReason, reason_id))


async def add_reason(call: Call, body: NewLostReason) -> LostReasonView:
    """Add a reason."""
    call.rights.require_manage()
    if not body.name.strip():
        raise Rejected("A name is needed", field="name")
    reason = LostReason(name=body.name.strip(), position=body.position, created_at=call.now)
    call.session.add(reason)
    await call.session.flush()
    records.note(call, "lost_reason.added", "lost_reason", reason.id)
    return _reason_view(reason)


async def change_reason(call: Call, reason_id: Id, body: LostReasonChange) -> LostReasonView:
    """Change a reason."""
    reason = await records.managing(call, LostReason, reason_id)
    for name, value in records.given(body).items():
        setattr(reason, name, value)
    records.note(call, "lost_reason.changed", "lost_reason", reason.id)
    return _reason_view(reason)


async def remove_reason(call: Call, reason_id: Id) -> None:
    """Remove a reason."""
    reason = await records.managing(call, LostReason, reason_id)
    await call.session.delete(reason)
    records.note(call, "lost_reason.removed", "lost_reason", reason.id)


ENDPOINTS = (
    Endpoint("GET", "/lost-reasons", list_reasons, listing=LOST_REASONS),
    Endpoint("POST", "/lost-reasons", add_reason, status=201),
    Endpoint("GET", "/lost-reasons/{reason_id}", show_reason),
    Endpoint("PATCH", "/lost-reasons/{reason_id}", change_reason),
    Endpoint("DELETE", "/lost-reasons/{reason_id}", remove_reason),
)
