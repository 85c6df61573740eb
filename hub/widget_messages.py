"""What a visitor of the chat widget may see: their own conversation, as it was really sent to them, and nothing else.

A message of ours is there once it is sent, so one written for later shows when its time comes, not where its number
stands. Notes to colleagues are never shown, nor what is still on its way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel.envelopes import Status
from core.staff import users
from core.talk import attachments, statuses
from core.talk.attachments import FileState, StoredFile
from core.talk.conversations import Conversation, Direction, Message, MessageId
from core.talk.outbox import MessagePart
from core.talk.statuses import Reported
from hub.files import LINK_LASTS, Files

PAGE = 50
"""Messages a window begins with, and gets at a time when its visitor scrolls up."""

MOST_MISSED = 200
"""What was missed beyond these is not caught up with: the window begins anew with the last page."""

_STATES = ("sent", "delivered", "read")


class Visitor(NamedTuple):
    """Whose messages: somebody on one connection."""

    connection_id: int
    peer: str


class Batch(NamedTuple):
    """Messages in order.

    is_whole  these replace what the window has; otherwise they come to it
    has_more  there are earlier ones
    """

    messages: list[dict[str, Any]]
    is_whole: bool
    has_more: bool


class Reader:
    """Reads the messages of visitors; one for each piece of work."""

    def __init__(self, session: AsyncSession, files: Files, *, now: datetime, shows_names: bool) -> None:
        self._session = session
        self._files = files
        self._now = now
        self._shows_names = shows_names

    async def latest(self, visitor: Visitor, *, before: int | None = None) -> Batch:
        """Return the last page, or the last one before a message."""
        wanted = _of(visitor)
        if before is not None:
            edge = await self._place(visitor, [before])
            if edge is None:
                return Batch([], is_whole=False, has_more=False)
            wanted = wanted.where(tuple_(_AT, Message.id) < tuple_(*edge))
        rows = list(await self._session.execute(wanted.order_by(_AT.desc(), Message.id.desc()).limit(PAGE + 1)))
        shown = await self._shown(rows[:PAGE][::-1])
        return Batch(shown, is_whole=before is None, has_more=len(rows) > PAGE)

    async def missed(self, visitor: Visitor, have: Collection[int]) -> Batch:
        """Return what a window that has some messages lacks, and those of them that were changed since.

        Places in time may be taken late, by what was committed late. So all that came after the oldest message named
        is looked through, not only what came after the newest.
        """
        edge = await self._place(visitor, have) if have else None
        if edge is None:
            return await self.latest(visitor)
        wanted = _of(visitor).where(
            tuple_(_AT, Message.id) >= tuple_(*edge),
            or_(Message.id.not_in(list(have)), Message.edited_at.is_not(None), Message.deleted_at.is_not(None)),
        )
        rows = list(await self._session.execute(wanted.order_by(_AT, Message.id).limit(MOST_MISSED + 1)))
        if len(rows) > MOST_MISSED:
            return await self.latest(visitor)
        return Batch(await self._shown(rows), is_whole=False, has_more=False)

    async def these(self, visitor: Visitor, ids: Collection[int]) -> list[dict[str, Any]]:
        """Return those of some messages that the visitor may see."""
        wanted = _of(visitor).where(Message.id.in_(list(ids))).order_by(_AT, Message.id)
        return await self._shown(list(await self._session.execute(wanted)))

    async def _place(self, visitor: Visitor, ids: Collection[int]) -> tuple[datetime, int] | None:
        """Return where the oldest of some messages stands; None if none of them is the visitor's."""
        wanted = _of(visitor).where(Message.id.in_(list(ids))).order_by(_AT, Message.id).limit(1)
        found = (await self._session.execute(wanted)).first()
        return None if found is None else (found.at, found.id)

    async def _shown(self, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
        ours = [row.id for row in rows if row.direction == Direction.OUTBOUND]
        parts: dict[int, list[dict[str, Any]]] = {}
        for message_id, content in await self._session.execute(
            select(MessagePart.message_id, MessagePart.content)
            .where(MessagePart.message_id.in_(ours))
            .order_by(MessagePart.message_id, MessagePart.position)
        ):
            parts.setdefault(message_id, []).append(content)
        enclosed = await attachments.of_messages(self._session, [row.id for row in rows])
        file_ids = {file.file_id for files in enclosed.values() for file in files if file.file_id is not None}
        stored = {
            file.id: file for file in await self._session.scalars(select(StoredFile).where(StoredFile.id.in_(file_ids)))
        }
        authors = {row.author_id for row in rows if row.author_id is not None} if self._shows_names else set()
        names = await users.names(self._session, authors) if authors else {}
        return [self._one(row, parts.get(row.id), enclosed.get(row.id, ()), stored, names) for row in rows]

    def _one(
        self,
        row: Row[Any],
        parts: Sequence[dict[str, Any]] | None,
        enclosed: Iterable[attachments.Attachment],
        stored: dict[int, StoredFile],
        names: dict[int, str],
    ) -> dict[str, Any]:
        is_ours = row.direction == Direction.OUTBOUND
        text, sent_files = row.text, None
        if is_ours and parts and row.edited_at is None:
            # what was sent is what its parts say: buttons and files may have been written out
            text = "\n".join(part.get("text", "") for part in parts if part.get("text"))
            sent_files = {file_id for part in parts for file_id in part.get("file_ids", ())}
        shown: dict[str, Any] = {"id": row.id, "ours": is_ours, "text": text, "at": row.at.isoformat()}
        if is_ours:
            shown["state"] = row.status
            shown["name"] = next(iter(names.get(row.author_id, "").split()), "")
        else:
            shown["key"] = (row.external_id or "").partition(":")[2]
        if row.deleted_at is not None:
            return {**shown, "text": "", "gone": True}
        files = [
            self._file(file, stored.get(file.file_id or 0))
            for file in enclosed
            if sent_files is None or file.id in sent_files
        ]
        return {**shown, "files": files} if files else shown

    def _file(self, file: attachments.Attachment, stored: StoredFile | None) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": file.name, "size": file.size, "state": file.state}
        if file.state == FileState.STORED and stored is not None:
            shown["ticket"] = self._files.ticket(file.id, until=self._now + LINK_LASTS)
            if stored.preview is not None:
                shown |= {"width": stored.width, "height": stored.height}
        return shown


_AT = func.coalesce(Message.sent_at, Message.created_at).label("at")


def _of(visitor: Visitor) -> Select[*tuple[Any, ...]]:
    """Select what a visitor may see, without order."""
    return (
        select(
            Message.id,
            Message.direction,
            Message.external_id,
            Message.text,
            Message.status,
            Message.author_id,
            Message.edited_at,
            Message.deleted_at,
            _AT,
        )
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(
            Conversation.connection_id == visitor.connection_id,
            Conversation.peer == visitor.peer,
            Message.private.is_(False),
            or_(
                Message.direction == Direction.INBOUND,
                and_(Message.direction == Direction.OUTBOUND, Message.status.in_(_STATES)),
            ),
        )
    )


async def is_seen(session: AsyncSession, visitor: Visitor) -> bool:
    """Whether one of ours has seen all that the visitor said."""
    unread = await session.scalar(
        select(func.sum(Conversation.unread)).where(
            Conversation.connection_id == visitor.connection_id, Conversation.peer == visitor.peer
        )
    )
    return unread == 0


async def note_received(session: AsyncSession, visitor: Visitor, received: dict[int, str], *, at: datetime) -> None:
    """Note which of our messages have come to a visitor (`delivered`), and which they have had before their eyes
    (`read`). What is not theirs is passed over.
    """
    rows = await session.execute(
        select(MessageId.external_id, MessageId.message_id)
        .join(Message, Message.id == MessageId.message_id)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(
            MessageId.connection_id == visitor.connection_id,
            MessageId.message_id.in_(list(received)),
            Conversation.connection_id == visitor.connection_id,
            Conversation.peer == visitor.peer,
            Message.direction == Direction.OUTBOUND,
            Message.private.is_(False),
        )
    )
    reported = [
        Reported(
            visitor.connection_id,
            Status(
                status="read" if received[row.message_id] == "read" else "delivered",
                external_id=row.external_id,
                peer=visitor.peer,
                occurred_at=at,
            ),
            at,
        )
        for row in rows
    ]
    await statuses.apply(session, reported, now=at)
