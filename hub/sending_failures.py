"""What becomes of a part that has not gone: it is tried again, given up, left uncertain, or waits for somebody."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

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
from core.connections import Health
from core.kernel import events, jobs
from core.kernel.jobs import Failure, LaneQueue
from core.talk import changes, pace
from core.talk.conversations import Conversation, Message
from core.talk.outbox import MessagePart, Outgoing, PartState
from hub import metrics
from hub.app import Hub
from hub.sending_outcomes import Next, Wait, is_young, keep_exchanges

_STOPS_AFTER = 3  # refusals of our credentials in a row
_BREAKS_AFTER = 5  # failures to reach the provider in a row
_BREAK = 15.0  # seconds of the first break; each further one is twice as long
_LONGEST_BREAK = 600.0
_WAITS_FOR_SETTINGS = 600.0  # seconds between two looks at a connection whose settings are wrong


class Failures:
    """Notes why parts have not gone. Everything here is within the caller's transaction."""

    def __init__(self, hub: Hub, queue: LaneQueue) -> None:
        self._hub = hub
        self._queue = queue

    async def note(
        self,
        session: AsyncSession,
        row: Any,
        found: Next,
        outcome: ChannelError,
        exchanges: Sequence[Exchange],
    ) -> bool | None:
        """Note why a part has not gone. None: go on with the next; True: the message is done with; False: it waits."""
        now = self._hub.clock.now()
        await keep_exchanges(session, [(found, exchanges)], now)
        held = await session.scalar(
            select(Outgoing).where(Outgoing.id == row.id, Outgoing.attempts == row.attempts).with_for_update()
        )
        if held is None:
            raise jobs.Lost(f"message {row.message_id}")
        message = await session.get_one(Message, row.message_id, with_for_update=True)
        part = await session.get_one(MessagePart, (message.id, found.position))
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
            await self.postpone(session, [(row, Wait(wait, said))])
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
            await self.postpone(session, [(row, Wait(_WAITS_FOR_SETTINGS, said))])
            return False
        assert isinstance(outcome, Temporary)
        if outcome.code in ("unreachable", "") or outcome.code.startswith("5"):
            await self._count_outage(session, found, said)
        return await self._later(session, row, held, message, found, said, outcome.retry_after)

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

    async def postpone(self, session: AsyncSession, waits: Sequence[tuple[Any, Wait]]) -> None:
        """Give rows back untouched, to be looked at again after a while; what is behind them in a lane waits too."""
        if not waits:
            return
        await session.flush()
        now, connection = self._hub.clock.now(), await session.connection()
        ids = [row.id for row, _ in waits]
        due = [now + timedelta(seconds=max(0.05, wait.seconds)) for _, wait in waits]
        await connection.exec_driver_sql(
            "UPDATE outbox q SET due_at = v.due_at, attempts = q.attempts - 1, error = coalesce(v.error, q.error) "
            "FROM unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::text[]) AS v(id, attempts, due_at, error) "
            "WHERE q.id = v.id AND q.attempts = v.attempts AND q.due_at IS NOT NULL",
            (ids, [row.attempts for row, _ in waits], due, [wait.reason[:1000] or None for _, wait in waits]),
        )
        await connection.exec_driver_sql(
            "UPDATE outbox q SET due_at = v.due_at FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) "
            "AS v(lane, id, due_at) WHERE q.lane = v.lane AND q.id > v.id AND q.due_at < v.due_at",
            ([row.lane for row, _ in waits], ids, due),
        )
