"""Answerable: at which address a notification is answered by letter, and what the notification says of that.

The address holds who answers, in which conversation and until when, sealed under a key of the settings: nothing is
stored, and a later letter of the same day has the same address. What it opens is one conversation, for one colleague,
and only to letters from their own address (`hub.desk.letters`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.email.channel import Email
from core.kernel.errors import DomainError
from core.kernel.events import TimelineEvent
from core.people.contacts import Contact
from core.staff import access
from core.staff.users import User
from core.talk import attachments
from core.talk.conversations import Conversation, Message
from core.work.notifications import Notification
from hub import replies
from hub.app import Hub
from hub.desk import cards
from hub.desk.cards import Desk
from hub.desk.reader import reader_for

LASTS = timedelta(days=14)
"""How long an address can be answered at; the day on which that ends is its last."""

_KINDS = ("lead", "message", "task", "conversation")
_EPOCH = date(2020, 1, 1)
_MAC = 8  # bytes: whoever guesses needs a letter for each attempt


class Named(NamedTuple):
    """Whom an address is for. `until`: it is spoilt from then on."""

    user_id: int
    conversation_id: int
    until: datetime


class Answerable(NamedTuple):
    """What a notification says of a conversation.

    root     the part of a Message-ID before the @ by which mail programs put letters about it together
    address  where it can be answered; "" if it cannot
    name     what the customer is called
    channel  by what an answer goes
    words    what the customer said, whole; files: what they sent with it
    """

    conversation_id: int
    root: str
    address: str = ""
    name: str = ""
    channel: str = ""
    words: str = ""
    files: tuple[str, ...] = ()


def sealed(secret_key: bytes, user_id: int, conversation_id: int, *, at: datetime) -> str:
    """Return the token of an address: 32 small letters and digits, since hosts change the case of addresses."""
    last_day = ((at + LASTS).astimezone(UTC).date() - _EPOCH).days
    said = user_id.to_bytes(5, "big") + conversation_id.to_bytes(5, "big") + last_day.to_bytes(2, "big")
    return base64.b32encode(said + _mac(secret_key, said)).decode("ascii").lower()


def opened(secret_key: bytes, token: str) -> Named | None:
    """Return what a token of ours says, spoilt or not; None for a forged one."""
    try:
        whole = base64.b32decode(token.upper().encode("ascii", "replace"))
    except binascii.Error:
        return None
    said = whole[:-_MAC]
    if len(said) != 12 or not hmac.compare_digest(whole[-_MAC:], _mac(secret_key, said)):
        return None
    last_day = _EPOCH + timedelta(days=int.from_bytes(said[10:], "big"))
    until = datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC) + timedelta(days=1)
    return Named(int.from_bytes(said[:5], "big"), int.from_bytes(said[5:10], "big"), until)


def _mac(secret_key: bytes, said: bytes) -> bytes:
    key = hmac.digest(secret_key, b"switchyard desk letters", "sha256")
    return hmac.digest(key, said, "sha256")[:_MAC]


def root_of(conversation: Conversation) -> str:
    """Return what stands before the @ in the Message-ID that all letters about a conversation refer to."""
    return f"conversation-{conversation.id}.{conversation.created_at:%Y%m%d%H%M%S}"


async def about(session: AsyncSession, hub: Hub, notification: Notification, user: User) -> Answerable | None:
    """Return what a notification can say of the conversation it is about; None if it is about none of theirs."""
    if notification.kind.partition(".")[0] not in _KINDS or notification.contact_id is None:
        return None
    line = await session.get(TimelineEvent, notification.event_id)
    conversation = await _conversation(session, notification, line)
    if conversation is None:
        return None
    try:
        rights = await access.of(session, user)
        await access.fetch(session, rights, Conversation, conversation.id, change=True)
    except DomainError:
        return None
    words = ""
    files: tuple[str, ...] = ()
    if notification.kind == "message.received" and line is not None and line.message_id is not None:
        words, files = await _said(session, line.message_id, conversation.id)
    told = Answerable(conversation.id, root_of(conversation), words=words, files=files)
    try:
        route = await replies.choose(session, hub, conversation)
    except DomainError:
        return told
    if route.problem or route.needs_template:
        return told
    token = sealed(hub.settings.secret_key(), user.id, conversation.id, at=hub.clock.now())
    reader = await reader_for(session, user, now=hub.clock.now())
    contact = await session.get_one(Contact, conversation.contact_id)
    name = await cards.name_of(Desk(session, hub, reader), contact)
    return told._replace(address=_address(hub, conversation, token), name=name, channel=route.live.title)


async def _conversation(
    session: AsyncSession, notification: Notification, line: TimelineEvent | None
) -> Conversation | None:
    conversation_id = line.conversation_id if line is not None else notification.details.get("conversation_id")
    if conversation_id is not None:
        return await session.get(Conversation, conversation_id)
    latest: Conversation | None = await session.scalar(
        select(Conversation)
        .where(Conversation.contact_id == notification.contact_id)
        .order_by(Conversation.last_message_at.desc(), Conversation.id.desc())
        .limit(1)
    )
    return latest


async def _said(session: AsyncSession, message_id: int, conversation_id: int) -> tuple[str, tuple[str, ...]]:
    message = await session.get(Message, message_id)
    if message is None or message.conversation_id != conversation_id or message.deleted_at is not None:
        return "", ()
    files = (await attachments.of_messages(session, [message_id])).get(message_id, [])
    return message.text, tuple(file.name for file in files)


def _address(hub: Hub, conversation: Conversation, token: str) -> str:
    """Choose the mailbox: the conversation's own, else one known to take plus addresses, else the oldest."""
    found: list[tuple[bool, bool, int, str]] = []
    for live in hub.switchboard.live():
        mailbox = live.channel
        if isinstance(mailbox, Email) and live.paused_because is None and (address := mailbox.desk_address(token)):
            found.append((live.id != conversation.connection_id, not mailbox.takes_plus, live.id, address))
    return min(found)[-1] if found else ""
