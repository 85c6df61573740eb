"""Conversations: all that is said with one contact over one connection, cut into episodes that end when resolved."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, Text, select, text, update
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
    """Contact × connection × thread. `waiting_since` is when the customer began to wait for our answer, None if nobody
    waits.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        Index("uq_conversations_contact_id", "contact_id", "connection_id", "thread", unique=True),
        Index("ix_conversations_assignee_id", "assignee_id", "status"),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"))
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id"))
    thread: Mapped[str] = mapped_column(Text, default="", server_default="")
    subject: Mapped[str] = mapped_column(Text, default="", server_default="")
    status: Mapped[str] = mapped_column(Text, default=ConversationStatus.OPEN, server_default="open")
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    waiting_since: Mapped[datetime | None]
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

    `fields` keeps what a form said beyond its message; `attachments` describes the files, which still lie in the
    delivery.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("uq_messages_external", "connection_id", "external_id", unique=True),
        Index("ix_messages_conversation_id", "conversation_id", "id"),
        Index("ix_messages_contact_id", "contact_id", "id"),
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
    fields: Mapped[dict[str, Any] | None]
    attachments: Mapped[list[Any] | None]
    status: Mapped[str] = mapped_column(Text, default="delivered", server_default="delivered")
    occurred_at: Mapped[datetime]
    created_at: Mapped[datetime]


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
    conversation.status = ConversationStatus.OPEN
    conversation.version += 1
    await _tell(session, "conversation.reopened", conversation, at=at, actor_id=actor_id)
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
