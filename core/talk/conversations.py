"""Conversations: all that is said with one contact over one connection, cut into episodes that end when resolved."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, Text, false, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Edited, Record
from core.kernel.errors import Rejected


class ConversationStatus(StrEnum):
    """Where a conversation stands."""

    OPEN = "open"
    PENDING = "pending"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class Direction(StrEnum):
    """Which way a message goes."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    SYSTEM = "system"


class Conversation(Base, Record, Edited):
    """Contact × connection × thread.

    peer             the other side as the provider writes it: whom an answer goes to; "" where nobody can be answered
    context          what the channel wants back with the next answer
    replies_until    until when the provider lets us write freely; None: it sets no limit
    waiting_since    when the customer began to wait for our answer, None if nobody waits
    snoozed_until    when a snoozed one comes back by itself
    last_inbound_at  when the customer last said something here
    """

    __tablename__ = "conversations"
    __table_args__ = (
        Index("uq_conversations_contact_id", "contact_id", "connection_id", "thread", unique=True),
        Index("ix_conversations_assignee_id", "assignee_id", "status"),
        Index("ix_conversations_status", "status", "last_message_at", "id"),
        Index("ix_conversations_waiting", "waiting_since", "id", postgresql_where=text("waiting_since IS NOT NULL")),
        Index("ix_conversations_snoozed", "snoozed_until", postgresql_where=text("snoozed_until IS NOT NULL")),
        Index("ix_conversations_peer", "connection_id", "peer"),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"))
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id"))
    thread: Mapped[str] = mapped_column(Text, default="", server_default="")
    subject: Mapped[str] = mapped_column(Text, default="", server_default="")
    status: Mapped[str] = mapped_column(Text, default=ConversationStatus.OPEN, server_default="open")
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    peer: Mapped[str] = mapped_column(Text, default="", server_default="")
    context: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    replies_until: Mapped[datetime | None]
    waiting_since: Mapped[datetime | None]
    snoozed_until: Mapped[datetime | None]
    last_inbound_at: Mapped[datetime | None]
    last_message_at: Mapped[datetime]
    last_message_text: Mapped[str] = mapped_column(Text, default="", server_default="")
    unread: Mapped[int] = mapped_column(Integer, default=0, server_default="0")


class Episode(Base):
    """One stretch of a conversation, from the first word until it is resolved. At most one is open."""

    __tablename__ = "episodes"
    __table_args__ = (
        Index("uq_episodes_open", "conversation_id", unique=True, postgresql_where=text("resolved_at IS NULL")),
        Index("ix_episodes_conversation_id", "conversation_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    opened_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]


class Message(Base):
    """Something that was said. `external_id` is the provider's, unique within the connection: a repeat changes nothing.

    fields         what a form said beyond its message
    html           a letter as safe HTML; None where `text` says all
    quoted         what was quoted below the words, folded away
    group_key      the provider's name of the album, or of the long SMS, that several of its messages make up here
    pieces         the texts of such a long SMS by their number, until all are there
    status         outgoing: scheduled queued sending sent delivered read failed canceled; it only moves forward
    uncertain      the connection broke after the request was written: it may have been sent
    error_code, error_text  why it failed, or what it waits for
    dropped        what the channel could not carry, in words
    earlier        its wordings before it was edited: [{"text", "until"}]
    reactions      emoji → how often
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("uq_messages_external", "connection_id", "external_id", unique=True),
        Index("ix_messages_conversation_id", "conversation_id", "id"),
        Index("ix_messages_contact_id", "contact_id", "id"),
        Index("ix_messages_group_key", "connection_id", "group_key", postgresql_where=text("group_key IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    contact_id: Mapped[int]
    connection_id: Mapped[int]
    episode_id: Mapped[int | None]
    delivery_id: Mapped[int | None]
    external_id: Mapped[str | None]
    direction: Mapped[str]
    private: Mapped[bool] = mapped_column(Boolean, default=False, server_default=text("false"))
    author_id: Mapped[int | None]
    text: Mapped[str]
    html: Mapped[str | None]
    quoted: Mapped[str | None]
    subject: Mapped[str | None]
    fields: Mapped[dict[str, Any] | None]
    group_key: Mapped[str | None]
    pieces: Mapped[dict[str, Any] | None]
    reply_to_id: Mapped[int | None]
    is_automatic: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    status: Mapped[str] = mapped_column(Text, default="delivered", server_default="delivered")
    uncertain: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    error_code: Mapped[str | None]
    error_text: Mapped[str | None]
    template: Mapped[dict[str, Any] | None]
    dropped: Mapped[list[Any] | None]
    earlier: Mapped[list[Any] | None]
    reactions: Mapped[dict[str, Any] | None]
    send_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    occurred_at: Mapped[datetime]
    created_at: Mapped[datetime]


class MessageId(Base):
    """A provider's id of a message, or of one of the pieces it made of it, unique within the connection.

    `position` is the part of ours it stands for, `status` how far that has come.
    """

    __tablename__ = "message_ids"
    __table_args__ = (Index("ix_message_ids_message_id", "message_id"),)

    connection_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    external_id: Mapped[str] = mapped_column(Text, primary_key=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    status: Mapped[str] = mapped_column(Text, default="sent", server_default="sent")


async def note(
    session: AsyncSession, conversation: Conversation, *, text: str, at: datetime, author_id: int
) -> Message:
    """Write down something for colleagues only. Nobody outside ever sees it.

    Raises:
        Rejected: there is no text.
    """
    if not text.strip():
        raise Rejected("Say something", field="text")
    episode_id = await session.scalar(
        select(Episode.id).where(Episode.conversation_id == conversation.id, Episode.resolved_at.is_(None))
    )
    written = Message(
        conversation_id=conversation.id,
        contact_id=conversation.contact_id,
        connection_id=conversation.connection_id,
        episode_id=episode_id,
        direction=Direction.OUTBOUND,
        private=True,
        author_id=author_id,
        text=text.strip(),
        status="delivered",
        occurred_at=at,
        created_at=at,
    )
    session.add(written)
    await session.flush()
    await events.record(
        session,
        "conversation.noted",
        at,
        contact_id=conversation.contact_id,
        conversation_id=conversation.id,
        message_id=written.id,
        actor_id=author_id,
        user_id=conversation.assignee_id,
        details={"text": " ".join(written.text.split())[:160]},
    )
    return written


async def assign(
    session: AsyncSession, conversation: Conversation, *, to: int | None, at: datetime, actor_id: int | None
) -> None:
    """Give a conversation to somebody, or to nobody."""
    if conversation.assignee_id == to:
        return
    before, conversation.assignee_id = conversation.assignee_id, to
    conversation.version += 1
    await _tell(session, "conversation.assigned", conversation, at=at, actor_id=actor_id, details={"from": before})


async def resolve(session: AsyncSession, conversation: Conversation, *, at: datetime, actor_id: int | None) -> bool:
    """End the episode: all is said for now, and nobody waits. The next message begins another one.

    Returns False, and changes nothing, if it is resolved already.
    """
    if conversation.status == ConversationStatus.RESOLVED:
        return False
    conversation.status, conversation.waiting_since, conversation.unread = ConversationStatus.RESOLVED, None, 0
    conversation.snoozed_until = None
    conversation.version += 1
    await session.execute(
        update(Episode)
        .where(Episode.conversation_id == conversation.id, Episode.resolved_at.is_(None))
        .values(resolved_at=at)
    )
    await _tell(session, "conversation.resolved", conversation, at=at, actor_id=actor_id)
    return True


async def reopen(session: AsyncSession, conversation: Conversation, *, at: datetime, actor_id: int | None) -> bool:
    """Take a resolved conversation up again. Returns False, and changes nothing, if it is open."""
    if conversation.status == ConversationStatus.OPEN:
        return False
    if conversation.status == ConversationStatus.RESOLVED:
        session.add(Episode(conversation_id=conversation.id, opened_at=at))
    conversation.status, conversation.snoozed_until = ConversationStatus.OPEN, None
    conversation.version += 1
    await _tell(session, "conversation.reopened", conversation, at=at, actor_id=actor_id)
    return True


async def snooze(
    session: AsyncSession, conversation: Conversation, *, until: datetime, at: datetime, actor_id: int | None
) -> None:
    """Put a conversation aside until a moment; it comes back then, or when the customer writes.

    Raises:
        Rejected: the moment is past, or more than a year away.
    """
    if not at < until <= at + timedelta(days=366):
        raise Rejected("Choose a time from now on, within a year", field="until")
    if conversation.status == ConversationStatus.RESOLVED:
        session.add(Episode(conversation_id=conversation.id, opened_at=at))
    conversation.status, conversation.snoozed_until = ConversationStatus.SNOOZED, until
    conversation.version += 1
    await _tell(
        session, "conversation.snoozed", conversation, at=at, actor_id=actor_id, details={"until": until.isoformat()}
    )


async def wake(session: AsyncSession, conversation: Conversation, *, at: datetime, actor_id: int | None) -> bool:
    """Take a snoozed conversation up again. Returns False, and changes nothing, if it is not snoozed."""
    if conversation.status != ConversationStatus.SNOOZED:
        return False
    conversation.status, conversation.snoozed_until = ConversationStatus.OPEN, None
    conversation.version += 1
    await _tell(session, "conversation.woken", conversation, at=at, actor_id=actor_id)
    return True


async def wake_due(session: AsyncSession, *, now: datetime, limit: int = 200) -> int:
    """Take up the snoozed conversations whose time has come; return how many."""
    rows = await session.scalars(
        select(Conversation)
        .where(Conversation.snoozed_until <= now)
        .order_by(Conversation.snoozed_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    count = 0
    for conversation in rows:
        if not await wake(session, conversation, at=now, actor_id=None):
            conversation.snoozed_until = None
        count += 1
    return count


async def read(session: AsyncSession, conversation: Conversation, *, at: datetime, actor_id: int) -> bool:
    """Note that somebody who looks after it has seen what is new. Returns False, and changes nothing, if all was."""
    if not conversation.unread:
        return False
    conversation.unread = 0
    await _tell(session, "conversation.read", conversation, at=at, actor_id=actor_id)
    return True


async def _tell(
    session: AsyncSession,
    kind: str,
    conversation: Conversation,
    *,
    at: datetime,
    actor_id: int | None,
    details: dict[str, Any] | None = None,
) -> None:
    await events.record(
        session,
        kind,
        at,
        contact_id=conversation.contact_id,
        conversation_id=conversation.id,
        actor_id=actor_id,
        user_id=conversation.assignee_id,
        details=details,
    )
