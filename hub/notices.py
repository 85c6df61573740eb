"""Notices: reads the diary and tells people what concerns them, in the workspace and by e-mail, each thing once.

Another way to reach people (the desk in a messenger) is another job queued here beside the mail.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events, jobs
from core.kernel.db import insert_rows
from core.people.contacts import Contact
from core.staff import users
from core.staff.users import User
from core.work.notifications import Notification
from hub import metrics
from hub.live import TOLD

READER = "notices"
MAIL = "mail_notification"

_OWN_DOING_IS_NO_NEWS = frozenset({"lead.created", "lead.assigned", "task.created", "task.assigned", "deal.assigned"})
_TOLD = (
    frozenset(
        {
            "lead.created",
            "message.received",
            "message.failed",
            "message.uncertain",
            "conversation.woken",
            "connection.trouble",
            "task.reminder",
            "task.overdue",
            "task.escalated",
        }
    )
    | _OWN_DOING_IS_NO_NEWS
)
MAILED = frozenset(
    {
        "lead.created",
        "lead.assigned",
        "task.assigned",
        "task.overdue",
        "task.escalated",
        "message.received",
        "message.failed",
        "connection.trouble",
    }
)
"""What is also sent by e-mail unless the person switched it off in their profile (`settings.mail = false`)."""


async def take(session: AsyncSession, *, now: datetime, has_mail: bool) -> bool:
    """Read on in the diary and write, in the same transaction, what people must be told; say if there is more."""
    lines, more = await events.take(session, READER, kinds=_TOLD)
    wanted = [(line, user_id) for line in lines for user_id in await _addressees(session, line)]
    if not wanted:
        return more
    contact_names = await _contact_names(session, {line.contact_id for line, _ in wanted if line.contact_id})
    people = await _people(session, {user_id for _, user_id in wanted})
    staff = await users.names(session, {line.details.get("assignee_id") for line, _ in wanted})
    rows = [
        {
            "user_id": user_id,
            "event_id": line.id,
            "kind": line.kind,
            "contact_id": line.contact_id,
            "deal_id": line.deal_id,
            "lead_id": line.lead_id,
            "task_id": line.task_id,
            "details": _details(line, contact_names, staff),
            "created_at": now,
        }
        for line, user_id in wanted
        if user_id in people
    ]
    written = await insert_rows(
        session, Notification, rows, suffix="ON CONFLICT (user_id, event_id) DO NOTHING RETURNING id, user_id, kind"
    )
    metrics.NOTIFICATIONS.labels("workspace").inc(len(written))
    if has_mail:
        await jobs.enqueue_many(
            session,
            [
                jobs.new_job(MAIL, at=now, lane=f"mail:{row.user_id}", notification_id=row.id)
                for row in written
                if row.kind in MAILED and people[row.user_id].settings.get("mail", True)
            ],
        )
    told = ",".join(str(user_id) for user_id in sorted({row.user_id for row in written}))
    if told:
        names = told if len(told) < 7900 else ""  # a notification holds 8000 bytes; "" means that anybody may be told
        await session.execute(text(f"SELECT pg_notify('{TOLD}', :told)"), {"told": names})
    return more


async def _addressees(session: AsyncSession, line: Any) -> list[int]:
    if line.kind not in _TOLD:
        return []
    if line.kind == "message.received" and line.details.get("is_first"):
        return []  # the lead's own notice says it
    if line.kind == "lead.created" and line.details.get("call_id"):
        return []  # whoever is rung sees it; whoever is to call back is told of that
    if line.kind == "task.created" and line.lead_id is not None and not line.details.get("call_id"):
        return []  # likewise
    if line.kind in _OWN_DOING_IS_NO_NEWS and line.actor_id is not None and line.user_id == line.actor_id:
        return []
    if line.user_id is not None:
        return [line.user_id]
    if line.kind == "connection.trouble":
        return await users.administrators(session)
    if line.kind in ("lead.created", "task.reminder"):
        return await users.heads_for(session, line.details.get("team_id"))
    return []


async def _contact_names(session: AsyncSession, ids: set[int]) -> dict[int, str]:
    rows = await session.execute(select(Contact.id, Contact.name).where(Contact.id.in_(ids)))
    return {row.id: row.name for row in rows}


async def _people(session: AsyncSession, ids: set[int]) -> dict[int, User]:
    found = await session.scalars(select(User).where(User.id.in_(ids), User.is_active.is_(True)))
    return {user.id: user for user in found}


def _details(line: Any, contact_names: Mapping[int, str], staff: Mapping[int, str]) -> dict[str, Any]:
    details = {
        key: line.details[key]
        for key in ("text", "title", "due_at", "source", "error", "detail", "connection_id")
        if line.details.get(key)
    }
    if line.conversation_id is not None and line.kind.partition(".")[0] in ("message", "conversation"):
        details["conversation_id"] = line.conversation_id
    if name := contact_names.get(line.contact_id or 0):
        details["name"] = name
    if assignee := staff.get(line.details.get("assignee_id") or 0):
        details["assignee"] = assignee
    return details
