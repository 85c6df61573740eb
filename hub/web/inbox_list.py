"""The list of the inbox: which conversations it shows, in which order, and how many there are of each sort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, func, select, true

from core.connections import Connection
from core.people import contacts
from core.people.contacts import Contact
from core.staff import access
from core.talk.conversations import Conversation, ConversationStatus
from hub.api.paging import Listing
from hub.web import lists, shown
from hub.web.lists import Chip
from hub.web.shown import Person
from hub.web.visits import Visit
from hub.web.words import N_

CONVERSATIONS = Listing(
    "inbox",
    unique=Conversation.id,
    sorts={
        "last_message_at": Conversation.last_message_at,
        "waiting_since": Conversation.waiting_since,
        "snoozed_until": Conversation.snoozed_until,
    },
)

COUNTED = 100
"""A tab's number stops here: nobody needs to know by how many more, and counting them all would cost."""

LONGEST = 200
"""Rows the list grows to in place; what comes after them is a page of its own."""

_VIEWS = {
    "mine": N_("Mine"),
    "unassigned": N_("Unassigned"),
    "open": N_("All open"),
    "waiting": N_("Unanswered"),
    "snoozed": N_("On hold"),
    "resolved": N_("All resolved"),
}
_STANDARD = "open"
_SORTS = {"waiting": "waiting_since", "snoozed": "snoozed_until"}


@dataclass(frozen=True, slots=True)
class Channel:
    """A connection as a conversation's row and messages name it."""

    id: int
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class ShownConversation:
    """A conversation in the list."""

    id: int
    contact: Person
    channel: Channel
    subject: str
    words: str
    status: str
    assignee: Person | None
    unread: int
    waiting_since: datetime | None
    snoozed_until: datetime | None
    last_message_at: datetime
    version: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What the list shows, as its address says it."""

    view: str
    channel: int | None
    text: str
    shown: int

    @property
    def query(self) -> str:
        """The part of an address that brings the same list, with its question mark; "" for the standard one."""
        given = {
            "view": "" if self.view == _STANDARD else self.view,
            "channel": self.channel or "",
            "q": self.text,
            "shown": "" if self.shown == lists.PAGE else self.shown,
        }
        said = urlencode({name: value for name, value in given.items() if value})
        return f"?{said}" if said else ""


def asked(visit: Visit) -> Asked:
    """Read from the address what the list is to show."""
    query = visit.request.query
    view, channel, shown_rows = query.get("view", ""), query.get("channel", ""), query.get("shown", "")
    return Asked(
        view if view in _VIEWS else _STANDARD,
        int(channel) if channel.isascii() and channel.isdigit() and len(channel) < 19 else None,
        query.get("q", "").strip()[:200],
        min(LONGEST, int(shown_rows)) if shown_rows in ("100", "150", "200") else lists.PAGE,
    )


async def listed(visit: Visit, *, selected: int = 0) -> dict[str, Any]:
    """Return what the list of conversations shows."""
    wanted = asked(visit)
    statement = select(Conversation, contacts.called().label("name")).join(
        Contact, Contact.id == Conversation.contact_id
    )
    statement = access.narrow(statement, visit.rights, Conversation)
    if wanted.text:  # whoever looks for somebody wants them wherever they are
        statement = statement.where(contacts.found_by(wanted.text, visit.company.country))
    else:
        statement = statement.where(_of_view(visit, wanted.view))
    if wanted.channel is not None:
        statement = statement.where(Conversation.connection_id == wanted.channel)
    sort = "-last_message_at" if wanted.text else _SORTS.get(wanted.view, "-last_message_at")
    found = await lists.page(visit, CONVERSATIONS, statement, sort=sort, limit=wanted.shown)
    return {
        "conversations": await shown_rows(visit, found.rows),
        "next": found.next,
        "grows_to": min(LONGEST, wanted.shown + lists.PAGE) if wanted.shown < LONGEST else 0,
        "is_later_page": "cursor" in visit.request.query,
        "tabs": await _tabs(visit, wanted),
        "channels": await _channels(visit),
        "asked": wanted,
        "list_query": wanted.query,
        "list_path": visit.viewer.path if "cursor" in visit.request.query else "",
        "selected": selected,
        "counted": COUNTED,
    }


def _of_view(visit: Visit, view: str) -> ColumnElement[bool]:
    is_open = Conversation.status.in_((ConversationStatus.OPEN, ConversationStatus.PENDING))
    conditions: dict[str, ColumnElement[bool]] = {
        "mine": is_open & (Conversation.assignee_id == visit.user.id),
        "unassigned": is_open & Conversation.assignee_id.is_(None),
        "open": is_open,
        "waiting": Conversation.waiting_since.is_not(None),
        "snoozed": Conversation.status == ConversationStatus.SNOOZED,
        "resolved": Conversation.status == ConversationStatus.RESOLVED,
    }
    return conditions.get(view, true())


async def _tabs(visit: Visit, wanted: Asked) -> list[Chip]:
    """Return the tabs with how many conversations each would show, all counted in one statement."""
    own = access.narrow(select(Conversation.id), visit.rights, Conversation)
    if wanted.channel is not None:
        own = own.where(Conversation.connection_id == wanted.channel)
    counts = [
        select(func.count()).select_from(own.where(_of_view(visit, view)).limit(COUNTED).subquery()).scalar_subquery()
        for view in _VIEWS
        if view != "resolved"
    ]
    numbers = [*(await visit.session.execute(select(*counts))).one(), None]
    return [
        Chip(
            visit.translate(words),
            "/inbox" + Asked(view, wanted.channel, "", lists.PAGE).query,
            view == wanted.view and not wanted.text,
            number,
        )
        for (view, words), number in zip(_VIEWS.items(), numbers, strict=True)
    ]


async def _channels(visit: Visit) -> list[Channel]:
    found = await visit.session.execute(
        select(Connection.id, Connection.kind, Connection.title).order_by(Connection.title, Connection.id)
    )
    return [Channel(row.id, row.kind, row.title) for row in found]


async def shown_rows(visit: Visit, found: Sequence[Any]) -> list[ShownConversation]:
    """Make what the list shows of conversations; channels and people are read at once."""
    channels = await channels_of(visit, {row.connection_id for row, _ in found})
    people = await shown.people(visit.session, [row.assignee_id for row, _ in found])
    return [
        ShownConversation(
            id=row.id,
            contact=Person(row.contact_id, name),
            channel=channels[row.connection_id],
            subject=row.subject,
            words=row.last_message_text,
            status=row.status,
            assignee=people.get(row.assignee_id),
            unread=row.unread,
            waiting_since=row.waiting_since,
            snoozed_until=row.snoozed_until,
            last_message_at=row.last_message_at,
            version=f"{row.version}.{row.unread}.{row.last_message_at:%d%H%M%S}",
        )
        for row, name in found
    ]


async def channels_of(visit: Visit, ids: set[int]) -> dict[int, Channel]:
    """Return several connections at once."""
    if not ids:
        return {}
    found = await visit.session.execute(
        select(Connection.id, Connection.kind, Connection.title).where(Connection.id.in_(ids))
    )
    return {row.id: Channel(row.id, row.kind, row.title) for row in found}
