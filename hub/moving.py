"""Giving a conversation to another contact, with the address it came from, whichever surface it is asked on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from core.people import moving
from core.people.contacts import Contact
from core.talk.conversations import Conversation
from hub.app import Hub


def address_of(hub: Hub, conversation: Conversation) -> tuple[str, str] | None:
    """Return scheme and value of the address on the other side of a conversation; None where the channel names none."""
    live = hub.switchboard.by_id(conversation.connection_id)
    if live is None or live.sender is None or not conversation.peer:
        return None
    address = live.sender.address_of(conversation.peer)
    return address.scheme, address.value


async def move_conversation(
    session: AsyncSession,
    hub: Hub,
    conversation: Conversation,
    to: Contact,
    *,
    with_address: bool,
    at: datetime,
    actor_id: int,
) -> None:
    """Give a conversation to another contact; with its address, what comes from there next is theirs, too.

    Whoever locks records before calls `core.people.moving.begin` first.

    Raises:
        Rejected: it is theirs already.
    """
    address = address_of(hub, conversation) if with_address else None
    await moving.reassign(session, conversation.id, to=to, at=at, actor_id=actor_id, address=address)
    await session.refresh(conversation)
