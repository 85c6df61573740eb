"""Posts: writes down what is to be posted, where, and what has to be shown anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import Card, Place
from core.kernel import jobs
from hub.desk.records import DeskLink, DeskPost, DeskTopic

SHOWS_STATE = ("lead", "task", "message", "mirror", "state", "call", "deal", "handed")
"""Purposes whose posts show something that changes, and are changed with it."""


def lane_of(connection_id: int, chat: str, topic_id: int | None = None) -> str:
    """Return the lane of a chat, or of one topic in it: what is in one is posted in order."""
    return f"{connection_id}:{chat}:{topic_id or ''}"


def to_link(link: DeskLink, purpose: str, *, at: datetime, **values: Any) -> DeskPost:
    """Make a post for one colleague."""
    return DeskPost(
        lane=lane_of(link.connection_id, link.chat),
        connection_id=link.connection_id,
        chat=link.chat,
        purpose=purpose,
        user_id=link.user_id,
        due_at=at,
        created_at=at,
        **values,
    )


def to_topic(topic: DeskTopic, purpose: str, *, at: datetime, **values: Any) -> DeskPost:
    """Make a post in a conversation's topic."""
    values.setdefault("conversation_id", topic.conversation_id)
    return DeskPost(
        lane=lane_of(topic.connection_id, topic.chat, topic.id),
        connection_id=topic.connection_id,
        chat=topic.chat,
        topic_id=topic.id,
        purpose=purpose,
        due_at=at,
        created_at=at,
        **values,
    )


def said(
    connection_id: int,
    place: Place,
    card: Card,
    *,
    at: datetime,
    topic_id: int | None = None,
    user_id: int | None = None,
    reply_to: str = "",
    what: dict[str, Any] | None = None,
    **subjects: Any,
) -> DeskPost:
    """Make a post of words that are known already: what a command answers, a question to whoever pressed a button.

    `what` is kept with it, for whoever answers it.
    """
    return DeskPost(
        lane=lane_of(connection_id, place.chat, topic_id),
        connection_id=connection_id,
        chat=place.chat,
        thread="" if topic_id is not None else place.thread,
        topic_id=topic_id,
        purpose="said",
        what={**(what or {}), "card": msgspec.to_builtins(_as_dict(card))},
        user_id=user_id,
        reply_to=reply_to,
        due_at=at,
        created_at=at,
        **subjects,
    )


def _as_dict(card: Card) -> dict[str, Any]:
    return {
        "title": card.title,
        "lines": list(card.lines),
        "words": card.words,
        "footer": card.footer,
        "keys": [[list(key) for key in row] for row in card.keys],
        "is_quiet": card.is_quiet,
    }


async def add(session: AsyncSession, posts: Sequence[DeskPost]) -> None:
    """Have posts posted once the caller commits."""
    if not posts:
        return
    session.add_all(posts)
    await session.flush()
    await jobs.wake(session, DeskPost.__tablename__)


_REFRESH = text(
    """
    INSERT INTO desk_posts (lane, connection_id, chat, topic_id, thread, purpose, target_id, user_id, conversation_id,
                            due_at, created_at)
    SELECT p.lane, p.connection_id, p.chat, p.topic_id, p.thread, 'edit', p.id, p.user_id, p.conversation_id, :at, :at
    FROM desk_posts p
    WHERE p.purpose = ANY(:purposes) AND (p.posted_at IS NOT NULL OR p.attempts > 0) AND p.error IS NULL
      AND (p.lead_id = ANY(:leads) OR p.task_id = ANY(:tasks) OR p.message_id = ANY(:messages)
           OR p.call_id = ANY(:calls))
      AND NOT EXISTS (SELECT FROM desk_posts e WHERE e.target_id = p.id AND e.purpose = 'edit'
                      AND e.due_at IS NOT NULL AND e.attempts = 0)
    ORDER BY p.id
    """
)


async def refresh(
    session: AsyncSession,
    *,
    at: datetime,
    leads: Sequence[int] = (),
    tasks: Sequence[int] = (),
    messages: Sequence[int] = (),
    calls: Sequence[int] = (),
) -> None:
    """Have the posts about these records show them as they are now. One that waits already does so anyway."""
    if not (leads or tasks or messages or calls):
        return
    await session.execute(
        _REFRESH,
        {
            "at": at,
            "purposes": list(SHOWS_STATE),
            "leads": list(leads),
            "tasks": list(tasks),
            "messages": list(messages),
            "calls": list(calls),
        },
    )
    await jobs.wake(session, DeskPost.__tablename__)
