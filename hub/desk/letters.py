"""Letters: a colleague's answer to a notification by e-mail goes to the customer, once; what is refused is told.

A letter to such an address (`hub.desk.answerable`) is noted by whoever reads deliveries and never seen by intake. A job
brings its files and decides, in one transaction with the answer and with the memory of the letter, so that whoever
stops on whichever line, and however often the letter comes, the customer is written to once.

That a letter is the colleague's is believed if three things agree: the seal of the address, From, and that our mail
server has nothing against it. A stranger with somebody's address learns nothing: only the colleague is told, at the
address we know, and at most once an hour.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Parted
from channels.email.desk import DeskLetter
from channels.errors import Undeliverable
from core.kernel import addresses, jobs
from core.kernel.errors import DomainError
from core.staff import access, audit
from core.staff.users import User
from core.talk import conversations
from core.talk.conversations import Conversation, Message
from hub import files, replies
from hub.app import Hub
from hub.desk import answerable, answering, posts
from hub.desk.answerable import Named
from hub.desk.answering import NOTE_SIGNS
from hub.desk.records import DeskPost, name_post, post_named
from hub.desk.refusals import REFUSED, Refusal, refuse
from hub.files import Kept
from webhooks.deliveries import Delivery, request_of

ANSWER = "desk.letter"
"""The job that does what a letter says."""

_CHAT = "letters"


class Answered(NamedTuple):
    """An answer of a delivery, and the mailbox it came to."""

    connection_id: int
    delivery_id: int
    event: DeskLetter


def _(message: str) -> str:
    return message


async def note(session: AsyncSession, answered: Sequence[Answered], *, at: datetime) -> list[dict[str, Any]]:
    """Have answers done once the caller commits; return what to note at the deliveries. Programs' are left alone."""
    for item in answered:
        if not item.event.is_automatic:
            await jobs.enqueue(
                session,
                ANSWER,
                at=at,
                lane=f"{ANSWER}:{item.event.token}",
                unique_key=f"{ANSWER}:{_digest(item.event)}",
                connection_id=item.connection_id,
                delivery_id=item.delivery_id,
                event=msgspec.to_builtins(item.event),
            )
    return [{"kind": f"{ANSWER}_ignored" if item.event.is_automatic else ANSWER} for item in answered]


async def answer(hub: Hub, *, connection_id: int, delivery_id: int, event: dict[str, object]) -> None:
    """Do what a letter says: send its words, note them, or refuse them.

    Raises:
        Temporary: the store takes no files just now.
    """
    letter = msgspec.convert(event, DeskLetter)
    named = answerable.opened(hub.settings.secret_key(), letter.token)
    if named is None:
        async with hub.database.transaction() as session:
            audit.note(session, REFUSED, at=hub.clock.now(), details={"why": "forged", "from": letter.sender})
            await _tell_delivery(session, delivery_id, {"kind": REFUSED, "why": "forged"})
        return
    kept: Sequence[tuple[str, str, Kept]] = ()
    lost = ""
    async with hub.database.reading() as session:
        user = await session.get(User, named.user_id)
        is_fit = user is not None and await _refusal(session, hub, letter, named, user) is None
    if is_fit and letter.attachments:
        try:
            kept = await _files(hub, letter, connection_id, delivery_id)
        except Undeliverable as error:
            lost = str(error)
    async with hub.database.transaction() as session:
        await _decide(session, hub, letter, named, Answered(connection_id, delivery_id, letter), kept, lost)


async def _decide(
    session: AsyncSession,
    hub: Hub,
    letter: DeskLetter,
    named: Named,
    origin: Answered,
    kept: Sequence[tuple[str, str, Kept]],
    lost: str,
) -> None:
    """Send or refuse, unless that was done already."""
    # One letter of a colleague's at a time: the same one may lie in two mailboxes.
    user = await session.get(User, named.user_id, with_for_update={"key_share": True})
    place = await session.scalar(select(Conversation.connection_id).where(Conversation.id == named.conversation_id))
    place = place if place is not None else origin.connection_id
    told: dict[str, Any] = {"conversation_id": str(named.conversation_id)}
    if await post_named(session, place, _CHAT, _digest(letter)) is not None:
        await _tell_delivery(session, origin.delivery_id, {"kind": "desk.letter_repeated", **told})
        return
    refusal: Refusal | None = Refusal("gone", "", {}, is_theirs=False)
    message_id = None
    if user is not None:
        refusal = await _refusal(session, hub, letter, named, user, lock=True)
        if refusal is None and lost:
            refusal = Refusal("files", lost, {})
        if refusal is None:
            try:
                async with session.begin_nested():
                    message_id = (await _do(session, hub, letter, named, user, kept)).id
            except DomainError as error:  # undone; said in its own words
                values = {name: str(value) for name, value in error.values.items()}
                refusal = Refusal("rejected", error.message, values)
    if refusal is not None:
        await refuse(session, hub, refusal, named, user, letter=letter, digest=_digest(letter))
        told = {"kind": REFUSED, "why": refusal.code, **told}
    else:
        told = {"kind": "desk.letter_answered", "message_id": str(message_id), **told}
    await _remember(session, hub, letter, named, place, message_id)
    await _tell_delivery(session, origin.delivery_id, told)


async def _refusal(
    session: AsyncSession, hub: Hub, letter: DeskLetter, named: Named, user: User, *, lock: bool = False
) -> Refusal | None:
    """Return why a letter to a genuine address may not be answered with, before anything is tried."""
    if not user.is_active:
        return Refusal("dismissed", "", {})
    if not letter.sender or letter.sender != (addresses.email(user.email) or user.email):
        message = _("A letter to your address for answers came from %(sender)s and not from yours.")
        return Refusal("sender", message, {"sender": letter.sender or "?"}, is_theirs=False)
    if letter.failed_check:
        message = _("A letter in your name came from a server that may not write for you (%(check)s).")
        return Refusal("origin", message, {"check": letter.failed_check}, is_theirs=False)
    if hub.clock.now() >= named.until:
        return Refusal("expired", _("The notification is too old to be answered by e-mail."), {})
    if letter.is_cut:
        return Refusal("size", _("Your letter is too large."), {})
    rights = await access.of(session, user)
    try:
        await access.fetch(session, rights, Conversation, named.conversation_id, change=True, lock=lock)
    except DomainError:
        return Refusal("rights", _("You may not answer in this conversation any more."), {})
    if not letter.text and not letter.attachments:
        return Refusal("empty", _("No words of yours were found: write them above everything that is quoted."), {})
    return None


# --- what is done ---


async def _do(
    session: AsyncSession, hub: Hub, letter: DeskLetter, named: Named, user: User, kept: Sequence[tuple[str, str, Kept]]
) -> Message:
    """Answer the customer, or note it for colleagues.

    Raises:
        DomainError: it cannot be done; the message says why.
    """
    now = hub.clock.now()
    rights = await access.of(session, user)
    conversation = await access.fetch(session, rights, Conversation, named.conversation_id, change=True, lock=True)
    uploaded = await files.uploaded(session, kept, author_id=user.id, at=now)
    if letter.text.startswith(NOTE_SIGNS):
        noted = await conversations.note(session, conversation, text=letter.text[2:], at=now, author_id=user.id)
        for position, file in enumerate(uploaded):
            file.message_id, file.position = noted.id, position
        return noted
    message = await replies.reply(
        session,
        hub,
        conversation,
        author_id=user.id,
        text=letter.text,
        attachment_ids=[file.id for file in uploaded],
    )
    await answering.take_what_is_nobodys(session, conversation, user_id=user.id, at=now)
    return message


async def _files(hub: Hub, letter: DeskLetter, connection_id: int, delivery_id: int) -> Sequence[tuple[str, str, Kept]]:
    """Bring a letter's files to where files are kept, before anything is decided.

    Raises:
        Temporary: the store does not take them just now. Undeliverable: they cannot be had.
    """
    async with hub.database.reading() as session:
        delivery = await session.get(Delivery, delivery_id)
    live = hub.switchboard.by_id(connection_id)
    if delivery is None or live is None or not isinstance(live.channel, Parted):
        raise Undeliverable(_("The files of your letter cannot be read any more."))
    request = request_of(delivery.request, delivery.body)
    found = []
    for item in letter.attachments:
        content = await asyncio.to_thread(live.channel.read_part, request, item.part)
        if content is None:
            raise Undeliverable(_("The files of your letter cannot be read any more."))
        kept = await hub.files.keep(files.once(content), name=item.name, declared=item.content_type)
        found.append((item.name, item.kind, kept))
    return found


# --- what is remembered and told ---


def _digest(letter: DeskLetter) -> str:
    """Stand for a letter to one address, whichever mailbox it came to."""
    said = f"{letter.token} {letter.key}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(said, digest_size=16).hexdigest()


async def _remember(
    session: AsyncSession, hub: Hub, letter: DeskLetter, named: Named, place: int, message_id: int | None
) -> None:
    """Note that a letter was dealt with, for as long as posts are remembered: longer than its address is good."""
    now = hub.clock.now()
    post = DeskPost(
        lane=posts.lane_of(place, _CHAT),
        connection_id=place,
        chat=_CHAT,
        purpose="letter",
        user_id=named.user_id,
        conversation_id=named.conversation_id,
        message_id=message_id,
        due_at=None,
        posted_at=now,
        created_at=now,
    )
    session.add(post)
    await session.flush()
    await name_post(session, post, [_digest(letter)])


async def _tell_delivery(session: AsyncSession, delivery_id: int, told: dict[str, Any]) -> None:
    delivery = await session.scalar(select(Delivery).where(Delivery.id == delivery_id).with_for_update())
    if delivery is None:
        return
    events = list(delivery.events or [])
    waiting = next((number for number, item in enumerate(events) if item.get("kind") == ANSWER), None)
    if waiting is None:
        events.append(told)
    else:
        events[waiting] = told
    delivery.events = events
