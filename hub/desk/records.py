"""What the desk keeps: who is linked, what was posted where and stands for what, and what came in and waits.

`desk_posts` is queue and memory in one: a row is written by the transaction that decides on a post, claimed like any
queue (core.kernel.jobs), and stays, so that an answer to it finds the conversation, and a change of what it shows finds
the post. `desk_updates` is the queue of what people did there; a row is deleted by the transaction that does it.
`desk_digests` has a row for each digest, so that none is given twice.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, Table, Text, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Record
from core.kernel.jobs import LaneQueue

LEASE = timedelta(minutes=2)


class DeskLink(Base, Record):
    """A colleague's account in a messenger. `chat` is where they are told things; `settings` are their choices.

    `is_reachable` turns false when the messenger takes nothing for them any more: they blocked the bot.
    """

    __tablename__ = "desk_links"
    __table_args__ = (
        Index("uq_desk_links_person", "connection_id", "person", unique=True),
        Index("uq_desk_links_user", "connection_id", "user_id", unique=True),
        Index("ix_desk_links_user_id", "user_id"),
    )

    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    person: Mapped[str]
    chat: Mapped[str]
    name: Mapped[str] = mapped_column(Text, default="", server_default="")
    handle: Mapped[str] = mapped_column(Text, default="", server_default="")
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    is_reachable: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())


class DeskTicket(Base):
    """A one-time word that links whoever says it to a bot; kept as its digest."""

    __tablename__ = "desk_tickets"
    __table_args__ = (Index("ix_desk_tickets_user_id", "user_id"),)

    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class DeskTeamChat(Base, Record):
    """A group in which a team works: every conversation of theirs is a topic. `trouble` says why it cannot be used.

    `team_id` None: conversations of all teams that have no group of their own.
    """

    __tablename__ = "desk_team_chats"
    __table_args__ = (Index("uq_desk_team_chats_chat", "connection_id", "chat", unique=True),)

    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    chat: Mapped[str]
    title: Mapped[str] = mapped_column(Text, default="", server_default="")
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"))
    trouble: Mapped[str | None]


class DeskTopic(Base, Record):
    """A conversation's topic in a team's group. `thread` is None until it is made, and again when it is gone.

    `name` and `is_open` are what the messenger was last told; what they should be is worked out anew each time.
    """

    __tablename__ = "desk_topics"
    __table_args__ = (
        Index("uq_desk_topics_conversation", "connection_id", "chat", "conversation_id", unique=True),
        Index("uq_desk_topics_thread", "connection_id", "chat", "thread", unique=True),
        Index("ix_desk_topics_conversation_id", "conversation_id"),
    )

    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    chat: Mapped[str]
    thread: Mapped[str | None]
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text, default="", server_default="")
    is_open: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())


class DeskPost(Base, Record):
    """A post of ours, or (`theirs`) one of a colleague's that stands for something.

    purpose   what it shows, and by which function of hub.desk.cards it is made: lead, message, task, call, said,
              state, … ; `edit` changes the post `target_id`, `topic` brings a topic to what it should be
    what      what else is needed to make it: the words of a `said`
    user_id   for whom it is; None in a group
    reply_to  the post it answers: its ref, or "" for the last one about the same conversation in this chat
    refs      the messenger's ids of it, once it was posted
    shown     a digest of what was last shown, so that nothing is edited in vain
    """

    __tablename__ = "desk_posts"
    __table_args__ = (
        Index("ix_desk_posts_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_desk_posts_lane", "lane", "id", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_desk_posts_conversation_id", "conversation_id", "id"),
        Index("ix_desk_posts_message_id", "message_id", postgresql_where=text("message_id IS NOT NULL")),
        Index("ix_desk_posts_lead_id", "lead_id", postgresql_where=text("lead_id IS NOT NULL")),
        Index("ix_desk_posts_task_id", "task_id", postgresql_where=text("task_id IS NOT NULL")),
        Index("ix_desk_posts_call_id", "call_id", postgresql_where=text("call_id IS NOT NULL")),
        Index("ix_desk_posts_target_id", "target_id", postgresql_where=text("target_id IS NOT NULL")),
    )

    lane: Mapped[str]
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    chat: Mapped[str]
    topic_id: Mapped[int | None] = mapped_column(ForeignKey("desk_topics.id", ondelete="CASCADE"))
    thread: Mapped[str] = mapped_column(Text, default="", server_default="")
    purpose: Mapped[str]
    what: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    user_id: Mapped[int | None]
    conversation_id: Mapped[int | None]
    message_id: Mapped[int | None]
    lead_id: Mapped[int | None]
    task_id: Mapped[int | None]
    deal_id: Mapped[int | None]
    call_id: Mapped[int | None]
    target_id: Mapped[int | None]
    reply_to: Mapped[str] = mapped_column(Text, default="", server_default="")
    refs: Mapped[list[str]] = mapped_column(default=list, server_default="{}")
    shown: Mapped[str] = mapped_column(Text, default="", server_default="")
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    error: Mapped[str | None]
    posted_at: Mapped[datetime | None]


class DeskRef(Base):
    """Which post a messenger's id names."""

    __tablename__ = "desk_refs"
    __table_args__ = (Index("ix_desk_refs_post_id", "post_id"),)

    connection_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chat: Mapped[str] = mapped_column(Text, primary_key=True)
    ref: Mapped[str] = mapped_column(Text, primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("desk_posts.id", ondelete="CASCADE"))


class DeskDigest(Base):
    """A digest that somebody was given, or for which there was nothing to say: one a kind and day, whatever restarts.

    `kind` is one of hub.desk.digests.KINDS, `day` the day on their own calendar.
    """

    __tablename__ = "desk_digests"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    made_at: Mapped[datetime]


class DeskUpdate(Base):
    """Something one of our people did in a messenger, to be done; `kind` and `event` are a `DeskEvent`."""

    __tablename__ = "desk_updates"
    __table_args__ = (
        Index("ix_desk_updates_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_desk_updates_lane", "lane", "id", postgresql_where=text("due_at IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    lane: Mapped[str]
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    kind: Mapped[str]
    event: Mapped[dict[str, Any]]
    delivery_id: Mapped[int | None]
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    error: Mapped[str | None]
    created_at: Mapped[datetime]


def posts_queue() -> LaneQueue:
    """Return the queue of what is to be posted: one lane a chat or topic, so that posts keep their order."""
    table = DeskPost.__table__
    assert isinstance(table, Table)
    return LaneQueue(table, ("connection_id", "chat"), lease=LEASE)


def updates_queue() -> LaneQueue:
    """Return the queue of what people did: one lane a chat or topic."""
    table = DeskUpdate.__table__
    assert isinstance(table, Table)
    return LaneQueue(table, ("connection_id", "kind", "event", "delivery_id"), lease=LEASE)


async def post_named(session: AsyncSession, connection_id: int, chat: str, ref: str) -> DeskPost | None:
    """Return the post that a messenger's id names; None if it is none that stands for anything."""
    if not ref:
        return None
    found: DeskPost | None = await session.scalar(
        select(DeskPost)
        .join(DeskRef, DeskRef.post_id == DeskPost.id)
        .where(DeskRef.connection_id == connection_id, DeskRef.chat == chat, DeskRef.ref == ref)
    )
    return found


async def name_post(session: AsyncSession, post: DeskPost, refs: list[str]) -> None:
    """Note by which ids a messenger knows a post."""
    post.refs = [*post.refs, *refs]
    for ref in refs:
        await session.execute(
            text(
                "INSERT INTO desk_refs (connection_id, chat, ref, post_id) VALUES (:connection_id, :chat, :ref, :post) "
                "ON CONFLICT (connection_id, chat, ref) DO UPDATE SET post_id = excluded.post_id"
            ),
            {"connection_id": post.connection_id, "chat": post.chat, "ref": ref, "post": post.id},
        )


async def links_of(session: AsyncSession, user_ids: set[int]) -> list[DeskLink]:
    """Return the links of people by which they can be told something, oldest first."""
    rows = await session.scalars(
        select(DeskLink).where(DeskLink.user_id.in_(user_ids), DeskLink.is_reachable).order_by(DeskLink.id)
    )
    return list(rows)
