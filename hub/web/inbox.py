"""The inbox: who has written, what was said with each of them, and what is known of them, side by side."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.people import contacts
from core.people.contacts import Contact
from core.staff import access
from core.talk.conversations import Conversation
from hub.web import inbox_composer, inbox_contact, inbox_list, inbox_thread
from hub.web.changes import colleagues
from hub.web.visits import Visit


async def index(visit: Visit) -> web.Response:
    """Show the inbox with no conversation chosen: `?view=…&channel=…&q=…`."""
    return visit.page("inbox/inbox.html", conversation=None, **await inbox_list.listed(visit))


async def rows(visit: Visit) -> web.Response:
    """Show the list alone; `at` is the conversation that is chosen beside it."""
    at = visit.request.query.get("at", "")
    selected = int(at) if at.isascii() and at.isdigit() else 0
    return visit.page("inbox/_list.html", **await inbox_list.listed(visit, selected=selected))


async def show(visit: Visit, conversation_id: int) -> web.Response:
    """Show the inbox with a conversation chosen; for scripts, what stands beside the list."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id)
    values = await desk(visit, found)
    if visit.is_partial:
        return visit.page("inbox/_desk.html", **values)
    return visit.page("inbox/inbox.html", **{**await inbox_list.listed(visit, selected=found.id), **values})


async def desk(visit: Visit, found: Conversation) -> dict[str, Any]:
    """Return everything about one conversation: its head, thread, composer and contact."""
    return {
        **await head_of(visit, found),
        **await inbox_thread.thread_of(visit, found),
        **await inbox_composer.composer_of(visit, found),
        **await inbox_contact.pane_of(visit, found),
    }


async def head(visit: Visit, conversation_id: int) -> web.Response:
    """Show anew who looks after a conversation, and what may be done with it."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id)
    return visit.page("inbox/_head.html", **await head_of(visit, found))


async def head_of(visit: Visit, found: Conversation) -> dict[str, Any]:
    """Return what the head of a conversation shows."""
    name = await visit.session.scalar(select(contacts.called()).where(Contact.id == found.contact_id))
    made = await inbox_list.shown_rows(visit, [(found, name or "")])
    return {
        "conversation": made[0],
        "people": await colleagues(visit, owner_id=found.assignee_id),
        "may_take": visit.rights.may_assign(found.assignee_id) and found.assignee_id != visit.user.id,
        "list_query": inbox_list.asked(visit).query,
    }
