"""The audit log, page by page, narrowed to a person or a kind of record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from sqlalchemy import select

from core.staff import access, users
from core.staff.audit import AuditEntry
from core.staff.users import User
from hub.api.resources.audit_log import AUDIT_LOG
from hub.web import lists
from hub.web.shown import Person
from hub.web.visits import Visit

_ENTITIES = (
    "absence",
    "connection",
    "deal",
    "delivery",
    "pipeline",
    "routing_rule",
    "stage_rule",
    "team",
    "token",
    "user",
    "workspace",
)


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """One thing somebody did, or tried to do."""

    id: int
    action: str
    user: Person | None
    entity: str | None
    entity_id: int | None
    client: str
    details: str
    created_at: datetime


async def index(visit: Visit) -> web.StreamResponse:
    """Show a page of the log, the last in front."""
    query = visit.request.query
    statement = access.narrow(select(AuditEntry), visit.rights, AuditEntry)
    user_id, entity = query.get("user", ""), query.get("entity", "")
    if user_id.isascii() and user_id.isdigit() and len(user_id) < 19:
        statement = statement.where(AuditEntry.user_id == int(user_id))
    if entity in _ENTITIES:
        statement = statement.where(AuditEntry.entity == entity)
    elif entity == "session":
        statement = statement.where(AuditEntry.action.startswith("session."))
    found = await lists.page(visit, AUDIT_LOG, statement, sort="-created_at")
    names = await users.names(visit.session, [row.user_id for row in found.rows])
    entries = [
        ShownEntry(
            id=row.id,
            action=row.action,
            user=None if row.user_id is None else Person(row.user_id, names.get(row.user_id, f"#{row.user_id}")),
            entity=row.entity,
            entity_id=row.entity_id,
            client=row.client,
            details=_told(row.details),
            created_at=row.created_at,
        )
        for row in found.rows
    ]
    people = await visit.session.execute(select(User.id, User.name).order_by(User.name, User.id))
    return visit.page(
        "settings/audit.html",
        entries=entries,
        next=found.next,
        people=[tuple(row) for row in people],
        entities=["session", *_ENTITIES],
        values={"user": user_id, "entity": entity},
        here=lists.address(visit, {}),
    )


def _told(details: dict[str, object]) -> str:
    parts = []
    for name, value in details.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        parts.append(text if name == "fields" else f"{name}: {text}")
    return " · ".join(part for part in parts if part)[:300]
