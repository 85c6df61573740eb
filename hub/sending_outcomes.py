"""What becomes of a part once its channel has answered: noted, tried again, given up, or left uncertain."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Part, Receipt, Sender
from channels.errors import (
    ChannelError,
    Misconfigured,
    PeerMoved,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.http import Exchange
from core import connections
from core.connections import Connection, Health
from core.kernel import events, jobs
from core.kernel.db import insert_rows
from core.kernel.jobs import Failure, LaneQueue
from core.talk import changes, outbox, pace, statuses
from core.talk.conversations import Conversation, Message, MessageId
from core.talk.outbox import MessagePart, Outgoing, PartState, ProviderExchange
from hub import metrics
from hub.app import Hub
from hub.connections import Live

_STOPS_AFTER = 3  # refusals of our credentials in a row
_BREAKS_AFTER = 5  # failures to reach the provider in a row
_BREAK = 15.0  # seconds of the first break; each further one is twice as long
_LONGEST_BREAK = 600.0
_WAITS_FOR_SETTINGS = 600.0  # seconds between two looks at a connection whose settings are wrong


_REMEMBERED = timedelta(minutes=30)
"""How long providers that recognise a repeat are trusted to; some keep it in memory, and for no longer."""


def is_young(expires_at: datetime, now: datetime) -> bool:
    """Whether a message was first due so lately that its provider still recognises a repeat."""
    return now < expires_at - outbox.KEEPS_TRYING + _REMEMBERED


class Next(NamedTuple):
    """A part that is ours to send now."""

    live: Live
    sender: Sender
    part: Part
    position: int


class Wait(NamedTuple):
    """Not now: try again after so many seconds. It counts as no attempt."""

    seconds: float
    reason: str = ""


class Outcomes:
    """Notes outcomes. Everything here is within the caller's transaction."""

    def __init__(self, hub: Hub, queue: LaneQueue) -> None:
        self._hub = hub
        self._queue = queue

    async def note(
        self,
        session: AsyncSession,
        row: Any,
        found: Next,
        outcome: Receipt | ChannelError,
        exchanges: Sequence[Exchange],
    ) -> bool | None:
        """Note what became of a part. None: go on with the next; True: the message is done with; False: it waits."""
        now = self._hub.clock.now()
        await _keep_exchanges(session, found, exchanges, now)
        held = await session.scalar(
            select(Outgoing).where(Outgoing.id == row.id, Outgoing.attempts == row.attempts).with_for_update()
        )
        message = await session.get_one(Message, row.message_id, with_for_update=True)
        part = await session.get_one(MessagePart, (message.id, found.position))
        if isinstance(outcome, Receipt):
            await self._sent(session, message, part, found, outcome)
            if held is None:
                raise jobs.Lost(f"message {message.id}")
            held.error = None
            return None
        if held is None:
            raise jobs.Lost(f"message {message.id}")
        metrics.SENT.labels(found.live.kind, type(outcome).__name__).inc()
        code, said = outcome.code, found.live.masked(str(outcome))
        if isinstance(outcome, Uncertain):
            if found.sender.sending.retries_safely and is_young(row.expires_at, now):
                part.state = PartState.WAITING
                return await self._later(session, row, held, message, found, said, None)
            part.state = PartState.UNCERTAIN
            message.uncertain, message.error_code, message.error_text = True, code or "uncertain", said
            return None
        if isinstance(outcome, PeerMoved):
            part.state = PartState.WAITING
            conversation = await session.get_one(Conversation, message.conversation_id, with_for_update=True)
            if conversation.peer == outcome.new_peer:
                await self.fail(session, held, message, code or "moved", said)
                return True
            await changes.moved_peer(
                session,
                found.live.id,
                old=(conversation.peer, found.sender.address_of(conversation.peer)),
                new=(outcome.new_peer, found.sender.address_of(outcome.new_peer)),
                now=now,
            )
            return None
        if isinstance(outcome, Undeliverable):
            part.state = PartState.FAILED
            if isinstance(outcome, RecipientGone):
                address = found.sender.address_of(found.part.peer)
                because = "opted_out" if outcome.opted_out else "gone"
                await changes.block(session, address, because=because, at=now)
            await self.fail(session, held, message, code or "refused", said)
            return True
        part.state = PartState.WAITING
        if isinstance(outcome, Throttled):
            wait = outcome.retry_after if outcome.retry_after is not None else 5.0
            await pace.pause(session, found.live.id, until=now + timedelta(seconds=wait))
            await self.postpone(session, row, Wait(wait, said))
            message.error_text = said
            return False
        if isinstance(outcome, Misconfigured):
            failures = await pace.count_failure(session, found.live.id, now=now)
            refused = isinstance(outcome, Unauthorised)
            if failures >= _STOPS_AFTER or not refused:
                connection = await connections.get(session, found.live.id)
                health = Health.REAUTHORISE if refused else Health.DEGRADED
                await connections.note_trouble(session, connection, said, health=health, at=now)
            if refused:
                return await self._later(session, row, held, message, found, said, None)
            # whoever mends the settings finds it waiting; it counts as no attempt
            message.status, message.error_text = "queued", said[:1000]
            await self.postpone(session, row, Wait(_WAITS_FOR_SETTINGS, said))
            return False
        assert isinstance(outcome, Temporary)
        if outcome.code in ("unreachable", "") or outcome.code.startswith("5"):
            await self._count_outage(session, found, said)
        return await self._later(session, row, held, message, found, said, outcome.retry_after)

    async def _sent(
        self, session: AsyncSession, message: Message, part: MessagePart, found: Next, receipt: Receipt
    ) -> None:
        """Note that a part has gone, under which ids, and whatever was said of them before we knew."""
        now = self._hub.clock.now()
        part.state, part.sent_at = PartState.SENT, now
        message.error_code = message.error_text = None
        metrics.SENT.labels(found.live.kind, "sent").inc()
        ids = list(dict.fromkeys(external_id for external_id in receipt.external_ids if external_id))
        rows = [
            {
                "connection_id": found.live.id,
                "external_id": external_id,
                "message_id": message.id,
                "position": part.position,
                "status": receipt.status,
            }
            for external_id in ids
        ]
        await session.flush()
        await insert_rows(session, MessageId, rows, suffix="ON CONFLICT DO NOTHING")
        if receipt.context:
            conversation = await session.get_one(Conversation, message.conversation_id, with_for_update=True)
            conversation.context = dict(receipt.context)
        if receipt.detail:
            message.dropped = [*(message.dropped or ()), found.live.masked(receipt.detail)]
        if ids:
            await statuses.take_early(session, found.live.id, ids, message_id=message.id, now=now)
        if await pace.count_success(session, found.live.id) or found.live.health != Health.ACTIVE:
            await connections.note_well(session, await connections.get(session, found.live.id), at=now)
        if found.sender.sending.per_peer:
            await session.execute(
                text("UPDATE outbox SET due_at = greatest(due_at, :after) WHERE lane = :lane AND id <> :id"),
                {
                    "after": now + timedelta(seconds=found.sender.sending.per_peer),
                    "lane": f"{found.live.id}:{message.conversation_id}",
                    "id": message.id,
                },
            )

    async def finish(
        self, session: AsyncSession, held: Outgoing, message: Message, parts: Sequence[MessagePart], live: Live
    ) -> None:
        """Note that all of a message has gone, or may have."""
        now = self._hub.clock.now()
        await session.delete(held)
        if message.status in ("queued", "sending", "scheduled"):
            message.status, message.sent_at = "sent", now
        await session.execute(update(Connection).where(Connection.id == live.id).values(last_sent_at=now))
        conversation = await session.get_one(Conversation, message.conversation_id, with_for_update=True)
        if message.send_at is not None:
            outbox.answered(conversation, message, at=now)
        conversation.version += 1
        await session.flush()
        await events.record(
            session,
            "message.uncertain" if message.uncertain else "message.sent",
            now,
            contact_id=message.contact_id,
            conversation_id=message.conversation_id,
            message_id=message.id,
            user_id=message.author_id,
            details={"text": " ".join(message.text.split())[:160], "error": message.error_text},
        )
        await statuses.settle(session, [message.id], said={}, now=now)

    async def fail(self, session: AsyncSession, held: Outgoing, message: Message, code: str, said: str) -> None:
        """Give a message up; its author is told."""
        now = self._hub.clock.now()
        await session.execute(
            update(MessagePart)
            .where(MessagePart.message_id == message.id, MessagePart.state == PartState.SENDING)
            .values(state=PartState.FAILED)
        )
        message.status, message.error_code, message.error_text = "failed", code, said[:1000]
        await session.delete(held)
        conversation = await session.get_one(Conversation, message.conversation_id, with_for_update=True)
        conversation.version += 1
        if conversation.last_inbound_at is not None and conversation.waiting_since is None and not message.is_automatic:
            conversation.waiting_since = conversation.last_inbound_at  # nobody has heard the answer: they wait still
        await session.flush()
        await events.record(
            session,
            "message.failed",
            now,
            contact_id=message.contact_id,
            conversation_id=message.conversation_id,
            message_id=message.id,
            user_id=message.author_id or conversation.assignee_id,
            details={"text": " ".join(message.text.split())[:160], "error": said[:300], "code": code},
        )

    async def _later(
        self,
        session: AsyncSession,
        row: Any,
        held: Outgoing,
        message: Message,
        found: Next,
        said: str,
        retry_after: float | None,
    ) -> bool:
        """Put a message back for later; or give it up when it was tried often enough. True: it is done with."""
        now = self._hub.clock.now()
        message.error_text = said[:1000]
        message.status = "queued"
        await session.flush()
        failure = Failure(row.id, row.attempts, said, retry_after)
        given_up = await self._queue.fail(session, [failure], now=now)
        if given_up:
            await session.refresh(held)
            await self.fail(session, held, message, "gave_up", said)
            return True
        return False

    async def _count_outage(self, session: AsyncSession, found: Next, said: str) -> None:
        """Let a connection rest whose provider cannot be reached, the longer the more often."""
        now = self._hub.clock.now()
        failures = await pace.count_failure(session, found.live.id, now=now)
        if failures < _BREAKS_AFTER:
            return
        rest = min(_LONGEST_BREAK, _BREAK * 2 ** (failures - _BREAKS_AFTER)) * random.uniform(0.8, 1.2)
        await pace.pause(session, found.live.id, until=now + timedelta(seconds=rest))
        connection = await connections.get(session, found.live.id)
        await connections.note_trouble(session, connection, said, health=Health.DEGRADED, at=now)

    async def postpone(self, session: AsyncSession, row: Any, wait: Wait) -> None:
        """Give a row back untouched, to be looked at again after a while; what is behind it waits with it."""
        due_at = self._hub.clock.now() + timedelta(seconds=max(0.05, wait.seconds))
        await session.flush()
        await self._queue.release(session, [row], now=due_at)
        if wait.reason:
            await session.execute(
                text("UPDATE outbox SET error = :error WHERE id = :id"), {"error": wait.reason[:1000], "id": row.id}
            )
        await session.execute(
            text("UPDATE outbox SET due_at = :due_at WHERE lane = :lane AND id > :id AND due_at < :due_at"),
            {"due_at": due_at, "lane": row.lane, "id": row.id},
        )


async def _keep_exchanges(session: AsyncSession, found: Next, exchanges: Sequence[Exchange], now: datetime) -> None:
    await insert_rows(
        session,
        ProviderExchange,
        [
            {
                "connection_id": found.live.id,
                "message_id": found.part.message_id,
                "at": now,
                "method": exchange.method,
                "url": exchange.url,
                "sent": exchange.sent,
                "status": exchange.status,
                "answered": exchange.answered,
                "problem": exchange.problem,
                "took": exchange.took,
            }
            for exchange in exchanges
        ],
    )


async def forget_exchanges(session: AsyncSession, *, before: datetime) -> None:
    """Drop the log of what was said to providers before a moment."""
    await session.execute(delete(ProviderExchange).where(ProviderExchange.at < before))
