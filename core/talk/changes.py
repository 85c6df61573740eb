"""What people do beside saying something: they edit, delete and react; they allow, forbid, block and move."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.kernel.addresses import EMAIL, PHONE, Address
from core.kernel.envelopes import Changed, Claim, IdentityChanged, Signal, Trust
from core.people.contacts import Contact, ContactIdentity, folded
from core.talk import referrals
from core.talk.conversations import Message, MessageId

_MOST_EARLIER = 50


async def apply(session: AsyncSession, connection_id: int, change: Changed, *, now: datetime) -> int | None:
    """Note that a message was edited, deleted or reacted to; return its id, None if we do not know it.

    What it said before is kept. Doing it twice changes nothing.
    """
    message = await _message(session, connection_id, change.external_id)
    if message is None:
        return None
    at = change.occurred_at or now
    if change.change == "edited":
        if message.text == change.text or (message.edited_at is not None and at < message.edited_at):
            return message.id
        message.earlier = [*(message.earlier or ()), {"text": message.text, "until": at.isoformat()}][-_MOST_EARLIER:]
        message.text, message.edited_at = change.text, at
    elif change.change == "deleted":
        if message.deleted_at is not None:
            return message.id
        message.deleted_at = at
    else:
        reactions = {change.text: 1} if change.text else {}
        if (message.reactions or {}) == reactions:
            return message.id
        message.reactions = reactions or None
    await session.flush()
    await events.record(
        session,
        f"message.{'reacted' if change.change == 'reaction' else change.change}",
        now,
        contact_id=message.contact_id,
        conversation_id=message.conversation_id,
        message_id=message.id,
        details={"text": " ".join(change.text.split())[:160]},
    )
    return message.id


async def _message(session: AsyncSession, connection_id: int, external_id: str) -> Message | None:
    own = select(Message).where(Message.connection_id == connection_id, Message.external_id == external_id)
    found = await session.scalar(own.with_for_update())
    if found is not None:
        return found
    named = (
        select(Message)
        .join(MessageId, MessageId.message_id == Message.id)
        .where(MessageId.connection_id == connection_id, MessageId.external_id == external_id)
    )
    return await session.scalar(named.with_for_update(of=Message))


_BLOCKS = {"opted_out": "opted_out", "gone": "gone"}


async def heed(session: AsyncSession, connection_id: int, signal: Signal, *, now: datetime) -> None:
    """Heed what a person did without words: who forbids us to write, or is gone, is not written to."""
    if signal.kind == "started" and signal.peer:
        given = {
            name: value for name in signal.attribution.__struct_fields__ if (value := getattr(signal.attribution, name))
        }
        if given:
            await referrals.keep(session, connection_id, signal.peer, given, signal.occurred_at or now)
    elif signal.kind in _BLOCKS:
        for claim in signal.claims[:1]:
            await block(session, claim.address, because=_BLOCKS[signal.kind], at=signal.occurred_at or now)
    if signal.kind in ("opted_in", "started"):
        for claim in signal.claims[:1]:
            await unblock(session, claim.address, now=now)


async def block(session: AsyncSession, address: Address, *, because: str, at: datetime) -> bool:
    """Note that nothing may, or can, be sent to an address: `opted_out`, `gone` or `dead`.

    Returns False, and changes nothing, if nobody has it or it was noted before.
    """
    identity = await session.scalar(
        select(ContactIdentity)
        .where(ContactIdentity.scheme == address.scheme, ContactIdentity.value == address.value)
        .with_for_update()
    )
    if identity is None or identity.blocked_because == because:
        return False
    identity.blocked_at, identity.blocked_because = at, because
    await session.flush()
    await events.record(
        session,
        "contact.unreachable",
        at,
        contact_id=identity.contact_id,
        details={"scheme": address.scheme, "address": identity.raw, "because": because},
    )
    return True


async def unblock(session: AsyncSession, address: Address, *, now: datetime) -> bool:
    """Note that an address may be written to again. Returns False if it could be all the time."""
    identity = await _blocked(session, address)
    if identity is None:
        return False
    await _lift(session, identity, now)
    return True


async def heard_from(session: AsyncSession, address: Address, *, at: datetime, now: datetime) -> bool:
    """Note that somebody wrote from an address after it was blocked: who writes to us can be written to.

    What stays is an opt-out from mail or SMS: there, only the word for it takes it back. Messengers let nobody write
    who has blocked us.
    """
    identity = await _blocked(session, address)
    if identity is None or identity.blocked_at is None or identity.blocked_at > at:
        return False
    if identity.blocked_because == "opted_out" and identity.scheme in (EMAIL, PHONE):
        return False
    await _lift(session, identity, now)
    return True


async def _blocked(session: AsyncSession, address: Address) -> ContactIdentity | None:
    found: ContactIdentity | None = await session.scalar(
        select(ContactIdentity)
        .where(
            ContactIdentity.scheme == address.scheme,
            ContactIdentity.value == address.value,
            ContactIdentity.blocked_at.is_not(None),
        )
        .with_for_update()
    )
    return found


async def _lift(session: AsyncSession, identity: ContactIdentity, now: datetime) -> None:
    identity.blocked_at = identity.blocked_because = None
    await session.flush()
    await events.record(
        session,
        "contact.reachable",
        now,
        contact_id=identity.contact_id,
        details={"scheme": identity.scheme, "address": identity.raw},
    )


_MOVE_PEER = text(
    "UPDATE conversations SET peer = :new, version = version + 1 "
    "WHERE connection_id = :connection_id AND peer = :old RETURNING id"
)


async def move(session: AsyncSession, connection_id: int, change: IdentityChanged, *, now: datetime) -> None:
    """Follow somebody to their new address. The old one is forgotten; it is not theirs any more.

    If the new one belongs to another contact already, both stay as they are.
    """
    if change.new_peer and change.peer:
        await session.execute(_MOVE_PEER, {"connection_id": connection_id, "old": change.peer, "new": change.new_peer})
    await _rename(session, change.old.address, change.new, now=now)


async def moved_peer(
    session: AsyncSession, connection_id: int, *, old: tuple[str, Address], new: tuple[str, Address], now: datetime
) -> None:
    """Follow a peer whose new name the provider told us when we wrote to the old one. Each is peer and address."""
    await session.execute(_MOVE_PEER, {"connection_id": connection_id, "old": old[0], "new": new[0]})
    await _rename(session, old[1], Claim(new[1], new[1].value, Trust.ATTESTED), now=now)


async def _rename(session: AsyncSession, address: Address, claim: Claim, *, now: datetime) -> None:
    old = await session.scalar(
        select(ContactIdentity)
        .where(ContactIdentity.scheme == address.scheme, ContactIdentity.value == address.value)
        .with_for_update()
    )
    taken = await session.scalar(
        select(ContactIdentity.id).where(
            ContactIdentity.scheme == claim.address.scheme, ContactIdentity.value == claim.address.value
        )
    )
    if old is None or taken is not None:
        return
    before = old.raw
    old.scheme, old.value, old.raw = claim.address.scheme, claim.address.value, claim.raw
    old.trust, old.blocked_at, old.blocked_because = claim.trust.value, None, None
    contact = await session.get_one(Contact, old.contact_id)
    contact.search = f"{contact.search} {folded(old.value)}".strip()
    contact.version += 1
    await session.flush()
    await events.record(
        session, "contact.moved", now, contact_id=old.contact_id, details={"from": before, "to": old.raw}
    )
