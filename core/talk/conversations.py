"""Conversations: all that is said with one contact over one connection, cut into episodes that end when resolved."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Edited, Record


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
    """Contact × connection × thread. `waiting_since` is when the customer began to wait for our answer, None if nobody waits."""

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

    `fields` keeps what a form said beyond its message; `attachments` describes the files, which still lie in the delivery.
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
