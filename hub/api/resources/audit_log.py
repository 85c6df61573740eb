"""The audit log: who signed in, changed the settings, took data out."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from core.staff import access
from core.staff.audit import AuditEntry
from hub.api import paging
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Id, Moment, Page, View, as_id


class AuditEntryView(View):
    """One thing somebody did, or tried to do. `client` is the address it came from."""

    id: Id
    action: str
    user_id: Id | None
    entity: str | None
    entity_id: Id | None
    client: str
    details: dict[str, Any]
    created_at: Moment


AUDIT_LOG = Listing(
    "audit log",
    unique=AuditEntry.id,
    sorts={"created_at": AuditEntry.created_at},
    filters={
        "action": paging.one_of(AuditEntry.action),
        "user_id": paging.ids(AuditEntry.user_id),
        "entity": paging.one_of(AuditEntry.entity),
        "entity_id": paging.ids(AuditEntry.entity_id),
        **paging.moments(created_at=AuditEntry.created_at),
    },
)


async def index(call: Call, query: ListQuery) -> Page[AuditEntryView]:
    """List what was done, the last in front."""
    call.rights.require_manage()
    found = await AUDIT_LOG.page(call.session, access.narrow(select(AuditEntry), call.rights, AuditEntry), query)
    items = [
        AuditEntryView(
            id=Id(row.id),
            action=row.action,
            user_id=as_id(row.user_id),
            entity=row.entity,
            entity_id=as_id(row.entity_id),
            client=row.client,
            details=row.details,
            created_at=row.created_at,
        )
        for row in found.rows
    ]
    return Page(items=items, next=found.next)


ENDPOINTS = (Endpoint("GET", "/audit-log", index, listing=AUDIT_LOG, administrative=True),)
