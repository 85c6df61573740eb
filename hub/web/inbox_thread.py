"""The thread: everything said with one contact, over whichever channel, and what became of it, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from html import unescape
from typing import Any

from aiohttp import web
from sqlalchemy import func, or_, select
from sqlalchemy.orm import defer

from core.kernel.errors import NotFound
from core.kernel.events import TimelineEvent
from core.people import contacts
from core.people.contacts import Contact
from core.staff import access
from core.talk import attachments
from core.talk.attachments import Attachment, FileState, StoredFile
from core.talk.conversations import Conversation, Direction, Message
from core.talk.outbox import ProviderExchange
from hub.web import inbox_list, shown, shown_calls
from hub.web.rendering import local_date
from hub.web.shown import Person
from hub.web.visits import RENDERER, Visit
from hub.web.words import N_

LONGEST = 200
"""Messages a thread shows at once; older ones are behind a link."""

_MOST = 1000  # that a thread grows to while its page stays open
DIARY = (
    "conversation.assigned",
    "conversation.resolved",
    "conversation.reopened",
    "conversation.snoozed",
    "conversation.woken",
    "contact.unreachable",
    "contact.reachable",
    "contact.moved",
)
"""What of the diary stands between the messages."""

_CONTENT_ID = re.compile(r'src="cid:([^"]*)"')
_REMOTE = ' data-src="'


@dataclass(frozen=True, slots=True)
class File:
    """A file of a message. `url` is empty until it is here; `preview` is empty where there is none."""

    id: int
    name: str
    kind: str
    size: int
    url: str
    preview: str
    state: str
    error: str
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class Quoted:
    """The message that another one answers."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message of the thread. `date` is the day it was said on where the reader is; `at` when that was.

    has_letter  it is HTML, shown in a frame of its own; has_remote: with pictures that lie elsewhere
    may_retry, may_cancel  what the reader can do about it now
    """

    id: int
    conversation_id: int
    direction: str
    private: bool
    text: str
    has_letter: bool
    has_remote: bool
    quoted: str
    subject: str
    fields: Mapping[str, Any]
    pictures: Sequence[File]
    files: Sequence[File]
    author: Person | None
    status: str
    uncertain: bool
    error: str
    dropped: Sequence[str]
    earlier: Sequence[Mapping[str, Any]]
    reactions: Mapping[str, Any]
    is_automatic: bool
    is_template: bool
    send_at: datetime | None
    seen_at: datetime | None
    edited_at: datetime | None
    deleted_at: datetime | None
    reply_to: Quoted | None
    channel: Any
    may_retry: bool
    may_cancel: bool
    date: date
    at: datetime

    @property
    def key(self) -> tuple[bool, datetime, int]:
        """Where it stands in the thread: what goes out later comes last."""
        return self.status == "scheduled", self.at, self.id


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the diary between messages."""

    id: int
    kind: str
    actor: Person | None
    user: Person | None
    details: Mapping[str, Any]
    until: datetime | None
    date: date
    at: datetime

    @property
    def key(self) -> tuple[bool, datetime, int]:
        """Where it stands in the thread."""
        return False, self.at, self.id


async def thread(visit: Visit, conversation_id: int) -> web.Response:
    """Show the thread anew: `?from=` is the first message it holds, `?before=` asks for what was said before one."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id)
    values = await thread_of(visit, found)
    template = "inbox/_earlier.html" if visit.is_partial and "before" in visit.request.query else "inbox/_thread.html"
    return visit.page(template, conversation_id=found.id, list_query=inbox_list.asked(visit).query, **values)


async def thread_of(visit: Visit, conversation: Conversation) -> dict[str, Any]:
    """Return what the thread of a conversation's contact shows."""
    session = visit.session
    before, start = _asked(visit, "before"), _asked(visit, "from")
    statement = (
        select(
            Message, Message.html.is_not(None).label("is_letter"), func.strpos(Message.html, _REMOTE).label("remote")
        )
        .options(defer(Message.html), defer(Message.pieces))
        .where(Message.contact_id == conversation.contact_id)
        .order_by(Message.id.desc())
        .limit((_MOST if start else LONGEST) + 1)
    )
    if before:
        statement = statement.where(Message.id < before)
    elif start:
        statement = statement.where(Message.id >= start)
    rows = list(await session.execute(access.narrow(statement, visit.rights, Message)))
    has_earlier = len(rows) > LONGEST if not start else True
    rows = rows[: _MOST if start else LONGEST][::-1]
    messages = await _messages(visit, conversation, rows)
    oldest = min((message.id for message in messages), default=0)
    if start:
        older = select(Message.id).where(Message.contact_id == conversation.contact_id, Message.id < oldest).limit(1)
        has_earlier = bool(oldest and await session.scalar(access.narrow(older, visit.rights, Message)))
    since = min((message.at for message in messages), default=conversation.created_at) if has_earlier else None
    lines = await _lines(visit, conversation, since=since, before=before)
    calls = await shown_calls.of_thread(visit, conversation.contact_id, since=since, before=before, limit=LONGEST)
    return {
        "contact_id": conversation.contact_id,
        "items": sorted([*messages, *lines, *calls], key=lambda item: item.key),
        "oldest": oldest,
        "has_earlier": has_earlier,
        "is_earlier": bool(before),
        "unread_from": _asked(visit, "unread") or _first_unread(conversation, messages),
        "wrote": next((message.id for message in reversed(messages) if message.direction == Direction.INBOUND), 0),
    }


def _asked(visit: Visit, name: str) -> int:
    given = visit.request.query.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0


def _first_unread(conversation: Conversation, messages: Sequence[ShownMessage]) -> int:
    """Return the first message of the conversation that nobody has read, 0 if all were."""
    theirs = [
        message.id
        for message in messages
        if message.direction == Direction.INBOUND and message.conversation_id == conversation.id
    ]
    unread = theirs[-conversation.unread :] if conversation.unread else []
    return unread[0] if unread else 0


async def _messages(visit: Visit, conversation: Conversation, rows: Sequence[Any]) -> list[ShownMessage]:
    session = visit.session
    found: list[Message] = [row[0] for row in rows]
    ids = [message.id for message in found]
    files = await _files(visit, ids)
    authors = await shown.people(session, [message.author_id for message in found])
    channels = await inbox_list.channels_of(visit, {message.connection_id for message in found})
    name = await session.scalar(select(contacts.called()).where(Contact.id == conversation.contact_id))
    customer = Person(conversation.contact_id, name or visit.translate(N_("No name yet")))
    answered = await _answered(visit, found)
    may_change = visit.rights.may_change
    made = []
    for message, is_letter, remote in rows:
        own = [file for content_id, file in files.get(message.id, ()) if not (is_letter and content_id)]
        at = message.send_at if message.status == "scheduled" and message.send_at else message.occurred_at
        is_ours = message.direction == Direction.OUTBOUND and not message.private
        made.append(
            ShownMessage(
                id=message.id,
                conversation_id=message.conversation_id,
                direction=message.direction,
                private=message.private,
                text=message.text,
                has_letter=is_letter,
                has_remote=bool(remote),
                quoted=message.quoted or "",
                subject=message.subject or "",
                fields=message.fields or {},
                pictures=[file for file in own if file.kind in ("image", "sticker") and file.preview],
                files=[file for file in own if file.kind not in ("image", "sticker") or not file.preview],
                author=customer if message.direction == Direction.INBOUND else authors.get(message.author_id),
                status=message.status,
                uncertain=message.uncertain,
                error=visit.translate(message.error_text) if message.error_text else "",
                dropped=[str(said) for said in message.dropped or ()],
                earlier=[each for each in message.earlier or () if isinstance(each, dict)],
                reactions=message.reactions or {},
                is_automatic=message.is_automatic,
                is_template=message.template is not None,
                send_at=message.send_at,
                seen_at=message.read_at or message.delivered_at or message.sent_at,
                edited_at=message.edited_at,
                deleted_at=message.deleted_at,
                reply_to=answered.get(message.reply_to_id),
                channel=channels[message.connection_id],
                may_retry=may_change and is_ours and (message.status == "failed" or message.uncertain),
                may_cancel=may_change and is_ours and message.status == "scheduled",
                date=local_date(visit.viewer, at),
                at=at,
            )
        )
    return made


async def _answered(visit: Visit, found: Iterable[Message]) -> dict[int | None, Quoted]:
    wanted = {message.reply_to_id for message in found if message.reply_to_id is not None}
    if not wanted:
        return {}
    statement = select(Message.id, func.left(Message.text, 120).label("text")).where(Message.id.in_(wanted))
    return {
        row.id: Quoted(row.id, row.text)
        for row in await visit.session.execute(access.narrow(statement, visit.rights, Message))
    }


async def _files(visit: Visit, ids: Sequence[int]) -> dict[int, list[tuple[str | None, File]]]:
    """Return the files of messages, each with its content id, by which a letter names it."""
    found = await attachments.of_messages(visit.session, ids)
    wanted = {row.file_id for rows in found.values() for row in rows if row.file_id is not None}
    stored = {
        row.id: row
        for row in await visit.session.execute(
            select(StoredFile.id, StoredFile.size, StoredFile.preview, StoredFile.width, StoredFile.height).where(
                StoredFile.id.in_(wanted)
            )
        )
    }
    return {
        message_id: [(row.content_id, _file(row, stored.get(row.file_id))) for row in rows]
        for message_id, rows in found.items()
    }


def _file(row: Attachment, stored: Any) -> File:
    is_here = row.state == FileState.STORED and stored is not None
    return File(
        id=row.id,
        name=row.name,
        kind=row.kind,
        size=stored.size if is_here else row.size,
        url=f"/files/{row.id}" if is_here else "",
        preview=f"/files/{row.id}/preview" if is_here and stored.preview else "",
        state=row.state,
        error=row.error or "",
        width=stored.width if is_here else None,
        height=stored.height if is_here else None,
    )


async def _lines(visit: Visit, conversation: Conversation, *, since: datetime | None, before: int) -> list[Line]:
    statement = (
        select(TimelineEvent)
        .options(defer(TimelineEvent.transaction))
        .where(TimelineEvent.contact_id == conversation.contact_id, TimelineEvent.kind.in_(DIARY))
        .order_by(TimelineEvent.id.desc())
        .limit(LONGEST)
    )
    if since is not None:
        statement = statement.where(TimelineEvent.at >= since)
    if before:  # what came later stands in the part of the thread that is on the page already
        until = select(Message.occurred_at).where(Message.id == before).scalar_subquery()
        statement = statement.where(TimelineEvent.at < until)
    # Whoever sees a conversation sees what became of it, even where the contact itself is hidden once it is resolved.
    theirs = select(Conversation.id).where(Conversation.contact_id == conversation.contact_id)
    seen = TimelineEvent.conversation_id.in_(access.narrow(theirs, visit.rights, Conversation))
    statement = statement.where(or_(seen, access.visible(visit.rights, TimelineEvent)))
    found = list(await visit.session.scalars(statement))
    names = await shown.people(visit.session, [i for line in found for i in (line.actor_id, line.user_id)])
    return [
        Line(
            id=line.id,
            kind=line.kind,
            actor=names.get(line.actor_id),
            user=names.get(line.user_id),
            details=line.details,
            until=_moment(line.details.get("until")),
            date=local_date(visit.viewer, line.at),
            at=line.at,
        )
        for line in found
    ]


def _moment(written: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(written) if isinstance(written, str) else None
    except ValueError:
        return None


async def letter(visit: Visit, message_id: int) -> web.Response:
    """Show a letter as its sender laid it out, in a document that can do nothing: no script, no form, no address of
    ours, and with nothing from elsewhere unless `?pictures=1` asks for it: a picture tells its sender it was seen.
    """
    message = await access.fetch(visit.session, visit.rights, Message, message_id)
    if message.html is None:
        raise NotFound("letter")
    rows = (await attachments.of_messages(visit.session, [message.id])).get(message.id, [])
    inline = {row.content_id: row.id for row in rows if row.content_id and row.state == FileState.STORED}

    def own(found: re.Match[str]) -> str:
        attachment_id = inline.get(unescape(found[1]))
        return f'src="/files/{attachment_id}"' if attachment_id is not None else 'src="data:,"'

    html = _CONTENT_ID.sub(own, message.html)
    with_pictures = visit.request.query.get("pictures") == "1"
    if with_pictures:
        html = html.replace(_REMOTE, ' src="')
    elsewhere = " https: http:" if with_pictures else ""
    sheet = visit.request.app[RENDERER].static_url("letter.css")
    return web.Response(
        text=f'<!doctype html><html><head><meta charset="utf-8"><title>{message.id}</title>'
        f'<link rel="stylesheet" href="{sheet}"></head><body>{html}</body></html>',
        content_type="text/html",
        headers={
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:{elsewhere}; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
                "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox"
            ),
            "X-Frame-Options": "SAMEORIGIN",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "private, no-store",
        },
    )


async def exchanges(visit: Visit, message_id: int) -> web.Response:
    """Show what was said to the provider about a message and what it answered, to those who may touch channels."""
    visit.rights.require_manage()
    message = await access.fetch(visit.session, visit.rights, Message, message_id)
    found = await visit.session.scalars(
        select(ProviderExchange)
        .where(ProviderExchange.message_id == message.id)
        .order_by(ProviderExchange.id.desc())
        .limit(20)
    )
    return visit.sheet(
        "inbox/_exchanges.html",
        visit.translate(N_("What was said to the provider")),
        exchanges=list(found),
        conversation_id=message.conversation_id,
    )
