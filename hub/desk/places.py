"""Places: where in a chat a post stands, when somebody wants quiet, and what happens when a chat gets another id."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import Abilities, Card, Place
from hub.desk.posts import lane_of
from hub.desk.reader import Reader
from hub.desk.records import DeskLink, DeskPost, DeskTeamChat


async def within(session: AsyncSession, post: DeskPost, place: Place, abilities: Abilities) -> tuple[Place, str]:
    """Return the thread a post belongs into and the post it answers: what was last posted there about the same
    conversation, so that all of it hangs together.
    """
    if post.reply_to:
        if abilities.threads and not place.thread:
            return Place(place.chat, await _root(session, post) or post.reply_to), ""
        return place, post.reply_to
    if post.topic_id is not None or post.conversation_id is None:
        return place, ""
    if abilities.threads:
        return Place(place.chat, place.thread or await _root(session, post)), ""
    return place, await _neighbour(session, post, newest=True)


async def _root(session: AsyncSession, post: DeskPost) -> str:
    return await _neighbour(session, post, newest=False)


async def _neighbour(session: AsyncSession, post: DeskPost, *, newest: bool) -> str:
    if post.conversation_id is None:
        return ""
    order = DeskPost.id.desc() if newest else DeskPost.id
    refs = await session.scalar(
        select(DeskPost.refs)
        .where(
            DeskPost.conversation_id == post.conversation_id,
            DeskPost.connection_id == post.connection_id,
            DeskPost.chat == post.chat,
            DeskPost.topic_id.is_(None),
            DeskPost.posted_at.is_not(None),
            DeskPost.purpose.in_(("lead", "message", "handed", "theirs", "mirror")),
            DeskPost.id != post.id,
            DeskPost.refs != [],
        )
        .order_by(order)
        .limit(1)
    )
    return refs[0] if refs else ""


async def is_quiet_now(session: AsyncSession, post: DeskPost, card: Card, reader: Reader) -> Card:
    """Return the card, without a sound in the hours in which whoever it is for wants quiet."""
    if post.user_id is None or card.is_quiet:
        return card
    chosen = await session.scalar(
        select(DeskLink.settings).where(DeskLink.connection_id == post.connection_id, DeskLink.user_id == post.user_id)
    )
    if not is_within(chosen or {}, reader.now.astimezone(reader.zone)):
        return card
    return Card(card.title, card.lines, card.words, card.footer, card.keys, is_quiet=True)


def is_within(settings: dict[str, Any], local: datetime) -> bool:
    """Whether a local moment lies in the quiet hours of somebody's settings: `quiet`: ["22:00", "08:00"]."""
    hours = settings.get("quiet") or ()
    try:
        begins, ends = (time.fromisoformat(str(hour)) for hour in hours)
    except ValueError:
        return False
    now = local.time()
    return begins <= now < ends if begins <= ends else now >= begins or now < ends


async def moved(session: AsyncSession, connection_id: int, old: str, new: str) -> None:
    """Note that a chat has another id: a Telegram group that became a supergroup. All that waits for it follows."""
    for model in (DeskLink, DeskTeamChat):
        await session.execute(
            update(model).where(model.connection_id == connection_id, model.chat == old).values(chat=new)
        )
    values = {"connection_id": connection_id, "old": old, "new": new}
    await session.execute(
        text("UPDATE desk_topics SET chat = :new WHERE connection_id = :connection_id AND chat = :old"), values
    )
    await session.execute(
        text(
            "UPDATE desk_posts SET chat = :new, lane = :lane || coalesce(topic_id::text, '') "
            "WHERE connection_id = :connection_id AND chat = :old"
        ),
        {**values, "lane": lane_of(connection_id, new)},
    )
