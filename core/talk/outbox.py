"""The outbox: what is to be said, kept until it is said. A row here and the message are one transaction.

A message is cut into parts, each within what the channel can carry, before anything is sent. Each part knows how far
it has come, so that whoever dies in the middle, none is lost and none is said twice: a part that was `sending` when
its sender died may have gone, and is sent again only where the provider tells repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, Table, Text, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events, jobs
from core.kernel.db import Base
from core.kernel.errors import Conflict, Rejected
from core.kernel.jobs import LaneQueue
from core.talk.attachments import Attachment
from core.talk.conversations import Conversation, ConversationStatus, Direction, Episode, Message, MessageId
from core.talk.pace import Pace

LONGEST_TEXT = 20_000
"""Letters of a message we take; channels cut it to their size."""

KEEPS_TRYING = timedelta(hours=24)
"""How long a message is tried; an answer that comes a day late is worse than a failure somebody sees."""

LEASE = timedelta(minutes=5)


class PartState(StrEnum):
    """How far a part of a message has come."""

    WAITING = "waiting"
    SENDING = "sending"  # its request is being made, or was when the sender died
    SENT = "sent"
    UNCERTAIN = "uncertain"
    FAILED = "failed"


class Outgoing(Base):
    """A message in the queue (core.kernel.jobs): one lane a conversation, so that answers keep their order."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_outbox_lane", "lane", "id", postgresql_where=text("due_at IS NOT NULL")),
        Index("uq_outbox_message_id", "message_id", unique=True),
        Index("ix_outbox_connection_id", "connection_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    lane: Mapped[str]
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    connection_id: Mapped[int]
    due_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    error: Mapped[str | None]


class MessagePart(Base):
    """One call to the provider. `content` is {"text", "html", "subject", "file_ids", "buttons", "template"}."""

    __tablename__ = "message_parts"

    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    content: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(Text, default=PartState.WAITING, server_default="waiting")
    sent_at: Mapped[datetime | None]


class ProviderExchange(Base):
    """What was said to a provider about a message, and what it answered; secrets masked."""

    __tablename__ = "provider_exchanges"
    __table_args__ = (
        Index("ix_provider_exchanges_message_id", "message_id", "id"),
        Index("ix_provider_exchanges_connection_id", "connection_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    connection_id: Mapped[int]
    message_id: Mapped[int | None]
    at: Mapped[datetime]
    method: Mapped[str]
    url: Mapped[str]
    sent: Mapped[str]
    status: Mapped[int | None] = mapped_column(Integer)
    answered: Mapped[str]
    problem: Mapped[str]
    took: Mapped[int] = mapped_column(Integer)


def outbox_queue() -> LaneQueue:
    """Return the queue of what is to be sent."""
    table = Outgoing.__table__
    assert isinstance(table, Table)
    return LaneQueue(table, ("message_id", "connection_id", "expires_at"), lease=LEASE)


class Planned(NamedTuple):
    """A part as the channel's rendering made it; files by the ids of attachments."""

    text: str = ""
    html: str = ""
    subject: str = ""
    file_ids: tuple[int, ...] = ()
    buttons: tuple[tuple[str, str], ...] = ()
    template: Mapping[str, Any] | None = None

    def content(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return {
            "text": self.text,
            "html": self.html,
            "subject": self.subject,
            "file_ids": list(self.file_ids),
            "buttons": [list(button) for button in self.buttons],
            "template": None if self.template is None else dict(self.template),
        }


async def say(
    session: AsyncSession,
    conversation: Conversation,
    *,
    text: str,
    parts: Sequence[Planned],
    at: datetime,
    author_id: int | None,
    html: str | None = None,
    subject: str | None = None,
    files: Sequence[Attachment] = (),
    template: Mapping[str, Any] | None = None,
    dropped: Sequence[str] = (),
    reply_to_id: int | None = None,
    send_at: datetime | None = None,
    is_automatic: bool = False,
) -> Message:
    """Have something said in a conversation, now or at `send_at`. It is on its way once the caller commits.

    Whoever waited is answered: the conversation's clock stops, unless this goes later or a program says it.

    Raises:
        Rejected: there is nothing to say, it is too long, or `send_at` is past or more than a year away.
    """
    if not parts:
        raise Rejected("Say something", field="text")
    if len(text) > LONGEST_TEXT:
        raise Rejected("A message has at most %(most)s letters", most=LONGEST_TEXT, field="text")
    if send_at is not None and not at < send_at <= at + timedelta(days=366):
        raise Rejected("Choose a time from now on, within a year", field="send_at")
    if conversation.status == ConversationStatus.RESOLVED:
        session.add(Episode(conversation_id=conversation.id, opened_at=at))
        conversation.status = ConversationStatus.OPEN
        await session.flush()
    episode_id = await session.scalar(
        select(Episode.id).where(Episode.conversation_id == conversation.id, Episode.resolved_at.is_(None))
    )
    message = Message(
        conversation_id=conversation.id,
        contact_id=conversation.contact_id,
        connection_id=conversation.connection_id,
        episode_id=episode_id,
        direction=Direction.OUTBOUND,
        author_id=author_id,
        text=text.strip(),
        html=html,
        subject=subject,
        template=None if template is None else dict(template),
        dropped=list(dropped) or None,
        reply_to_id=reply_to_id,
        is_automatic=is_automatic,
        status="queued" if send_at is None else "scheduled",
        send_at=send_at,
        occurred_at=at,
        created_at=at,
    )
    session.add(message)
    await session.flush()
    for position, file in enumerate(files):
        file.message_id, file.position = message.id, position
    session.add_all(
        MessagePart(message_id=message.id, position=position, content=part.content(), state=PartState.WAITING)
        for position, part in enumerate(parts)
    )
    due_at = send_at or at
    session.add(
        Outgoing(
            lane=f"{conversation.connection_id}:{conversation.id}" if send_at is None else f"later:{message.id}",
            message_id=message.id,
            connection_id=conversation.connection_id,
            due_at=due_at,
            expires_at=due_at + KEEPS_TRYING,
        )
    )
    if send_at is None:
        answered(conversation, message, at=at)
        if not is_automatic and conversation.assignee_id is None and author_id is not None:
            conversation.assignee_id = author_id  # whoever answers first looks after it
    conversation.version += 1
    await session.flush()
    await jobs.wake(session, Outgoing.__tablename__)
    await _tell(session, "message.queued" if send_at is None else "message.scheduled", message, conversation, at)
    return message


def answered(conversation: Conversation, message: Message, *, at: datetime) -> None:
    """Note that something was said: a list shows it, and, unless a program said it, nobody waits any more."""
    conversation.last_message_at = at
    conversation.last_message_text = " ".join(message.text.split())[:160]
    if not message.is_automatic:
        conversation.waiting_since, conversation.unread = None, 0


async def _tell(
    session: AsyncSession, kind: str, message: Message, conversation: Conversation, at: datetime, **details: Any
) -> None:
    await events.record(
        session,
        kind,
        at,
        contact_id=message.contact_id,
        conversation_id=message.conversation_id,
        message_id=message.id,
        actor_id=message.author_id,
        user_id=conversation.assignee_id,
        details={"text": " ".join(message.text.split())[:160], **details},
    )


async def retry(session: AsyncSession, message: Message, *, at: datetime) -> None:
    """Send a message that failed, or may not have gone, once more: what of it has gone stays gone.

    Raises:
        Conflict: it did not fail.
    """
    if (
        message.direction != Direction.OUTBOUND
        or message.private
        or not (message.status == "failed" or message.uncertain)
    ):
        raise Conflict("Only a message that failed can be sent again")
    await session.execute(
        update(MessagePart)
        .where(MessagePart.message_id == message.id, MessagePart.state != PartState.SENT)
        .values(state=PartState.WAITING)
    )
    # what the provider took and then failed to deliver goes again too, under a new id
    undelivered = await session.scalars(
        delete(MessageId)
        .where(MessageId.message_id == message.id, MessageId.status == "failed")
        .returning(MessageId.position)
    )
    await session.execute(
        update(MessagePart)
        .where(MessagePart.message_id == message.id, MessagePart.position.in_(set(undelivered)))
        .values(state=PartState.WAITING)
    )
    message.status, message.uncertain, message.error_code, message.error_text = "queued", False, None, None
    await session.execute(delete(Outgoing).where(Outgoing.message_id == message.id))
    session.add(
        Outgoing(
            lane=f"{message.connection_id}:{message.conversation_id}",
            message_id=message.id,
            connection_id=message.connection_id,
            due_at=at,
            expires_at=at + KEEPS_TRYING,
        )
    )
    await session.flush()
    await jobs.wake(session, Outgoing.__tablename__)
    await events.record(
        session,
        "message.retried",
        at,
        contact_id=message.contact_id,
        conversation_id=message.conversation_id,
        message_id=message.id,
    )


async def cancel(session: AsyncSession, message: Message, *, at: datetime, actor_id: int | None) -> None:
    """Take back a message that has not been sent yet.

    Raises:
        Conflict: it is on its way, or has gone.
    """
    row = await session.scalar(
        select(Outgoing).where(Outgoing.message_id == message.id).with_for_update(skip_locked=True)
    )
    untouched = not await session.scalar(
        select(func.count()).where(MessagePart.message_id == message.id, MessagePart.state != PartState.WAITING)
    )
    if row is None or not untouched or message.status not in ("scheduled", "queued") or row.attempts:
        raise Conflict("It is too late to take it back: it is on its way, or has gone")
    await session.delete(row)
    message.status = "canceled"
    await session.flush()
    await events.record(
        session,
        "message.canceled",
        at,
        contact_id=message.contact_id,
        conversation_id=message.conversation_id,
        message_id=message.id,
        actor_id=actor_id,
    )


async def hurry(session: AsyncSession, connection_id: int, *, at: datetime) -> int:
    """Let all that waits for a connection be tried now, as when it was mended; return how many messages that is."""
    await session.execute(update(Pace).where(Pace.connection_id == connection_id).values(paused_until=None, failures=0))
    moved = await session.execute(
        text(
            "UPDATE outbox o SET due_at = :at FROM messages m WHERE m.id = o.message_id AND m.status <> 'scheduled' "
            "AND o.connection_id = :connection_id AND o.due_at > :at AND o.error IS NOT NULL RETURNING o.id"
        ),
        {"at": at, "connection_id": connection_id},
    )
    count = len(list(moved))
    if count:
        await jobs.wake(session, Outgoing.__tablename__)
    return count
