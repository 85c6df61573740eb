"""Notifications: what the caller must hear of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from core.staff import access
from core.work import notifications
from core.work.notifications import Notification
from hub import wording
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Id, Moment, Page, View, as_id
from hub.i18n import translator_for


class NotificationView(View):
    """One thing the caller is told, worded in their language."""

    id: Id
    kind: str
    headline: str
    detail: str
    path: str
    contact_id: Id | None
    deal_id: Id | None
    lead_id: Id | None
    task_id: Id | None
    created_at: Moment
    read_at: Moment | None


NOTIFICATIONS = Listing(
    "notifications",
    unique=Notification.id,
    sorts={"created_at": Notification.id},  # ids grow with time, and the index is by them
    filters={
        "unread": paging.flag(lambda: Notification.read_at.is_(None), "Whether it was not looked at yet."),
        "kind": paging.one_of(Notification.kind),
    },
)


def _view(call: Call, row: Notification) -> NotificationView:
    subjects = {name: getattr(row, name) for name in ("contact_id", "deal_id", "lead_id", "task_id")}
    details: dict[str, Any] = row.details
    words = wording.word(row.kind, details, subjects, translator_for(call.actor.user.language))
    return NotificationView(
        id=Id(row.id),
        kind=row.kind,
        headline=words.headline,
        detail=words.detail,
        path=words.path,
        created_at=row.created_at,
        read_at=row.read_at,
        **{name: as_id(value) for name, value in subjects.items()},
    )


async def index(call: Call, query: ListQuery) -> Page[NotificationView]:
    """List what the caller was told, the last in front."""
    statement = access.narrow(select(Notification), call.rights, Notification)
    found = await NOTIFICATIONS.page(call.session, statement, query)
    return Page(items=[_view(call, row) for row in found.rows], next=found.next)


async def show(call: Call, notification_id: Id) -> NotificationView:
    """Show a notification."""
    return _view(call, await records.seen(call, Notification, notification_id))


async def mark_read(call: Call, notification_id: Id) -> NotificationView:
    """Note that the caller has seen a notification."""
    row = await records.seen(call, Notification, notification_id)
    await notifications.mark_read(call.session, call.user_id, at=call.now, ids=[row.id])
    await call.session.refresh(row)
    return _view(call, row)


async def mark_all_read(call: Call) -> None:
    """Note that the caller has seen all their notifications."""
    await notifications.mark_read(call.session, call.user_id, at=call.now)


ENDPOINTS = (
    Endpoint("GET", "/notifications", index, listing=NOTIFICATIONS),
    Endpoint("POST", "/notifications/read", mark_all_read),
    Endpoint("GET", "/notifications/{notification_id}", show),
    Endpoint("POST", "/notifications/{notification_id}/read", mark_read),
)
