"""Notifications on pages: the bell, the panel behind it, and having read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from core.staff import access
from core.work import notifications
from core.work.notifications import Notification
from hub import wording
from hub.web.visits import Visit
from hub.web.words import N_
from hub.wording import Wording


@dataclass(frozen=True, slots=True)
class ShownNotification:
    """A notification in the reader's words. `url` notes that it was read and goes on to what it is about."""

    id: int
    kind: str
    text: str
    detail: str
    url: str
    read_at: datetime | None
    created_at: datetime


def _words(visit: Visit, note: Notification) -> Wording:
    subjects: dict[str, Any] = {name: getattr(note, name) for name in ("contact_id", "deal_id", "lead_id", "task_id")}
    return wording.word(note.kind, note.details, subjects, visit.translate)


async def index(visit: Visit) -> web.Response:
    """Show the last notifications."""
    notes = []
    for note in await notifications.latest(visit.session, visit.user.id):
        words = _words(visit, note)
        notes.append(
            ShownNotification(
                note.id,
                note.kind,
                words.headline,
                words.detail,
                f"/notifications/{note.id}",
                note.read_at,
                note.created_at,
            )
        )
    return visit.page("_notifications.html" if visit.is_partial else "notifications.html", notifications=notes)


async def bell(visit: Visit) -> web.Response:
    """Show the bell anew."""
    return visit.page("_bell.html")


async def follow(visit: Visit, notification_id: int) -> web.Response:
    """Note that a notification was read, and go to what it is about."""
    note = await access.fetch(visit.session, visit.rights, Notification, notification_id)
    await notifications.mark_read(visit.session, visit.user.id, at=visit.viewer.now, ids=[note.id])
    return visit.go(_words(visit, note).path)


async def read_all(visit: Visit) -> web.Response:
    """Note that all of them were read."""
    await notifications.mark_read(visit.session, visit.user.id, at=visit.viewer.now)
    return visit.done("/notifications", N_("All read"))
