"""What becomes of a part that has gone: under which ids its provider knows it, and whether that was all of the message.

What becomes of one that has not is in `hub.sending_failures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Part, Receipt, Sender
from channels.http import Exchange
from core import connections
from core.connections import Connection, Health
from core.kernel import events, jobs
from core.kernel.db import insert_rows
from core.talk import outbox, pace, statuses
from core.talk.conversations import Conversation, Message, MessageId
from core.talk.outbox import MessagePart, Outgoing, PartState, ProviderExchange
from hub import metrics
from hub.app import Hub
from hub.connections import Live

_NOTES_SENDING_EVERY = timedelta(seconds=5)
"""How exact `Connection.last_sent_at` is: one row, for which whatever is sent over it would wait otherwise."""

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


class Sent(NamedTuple):
    """A part that its provider has taken. `row` is the claimed one."""

    row: Any
    found: Next
    receipt: Receipt
    exchanges: Sequence[Exchange]


class Outcomes:
    """Notes what has gone. Everything here is within the caller's transaction."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def note_sent(self, session: AsyncSession, sent: Sequence[Sent]) -> list[bool | Exception | None]:
        """Note that parts have gone, each of another message; and what was said of them before we knew their ids.

        Returns of each what `Failures.note` returns, or that another sender has taken its row over.
        """
        now = self._hub.clock.now()
        await keep_exchanges(session, [(one.found, one.exchanges) for one in sent], now)
        attempts = {one.row.id: one.row.attempts for one in sent}
        rows = await session.scalars(
            select(Outgoing).where(Outgoing.id.in_(attempts)).order_by(Outgoing.id).with_for_update()
        )
        held = {row.id: row for row in rows if row.attempts == attempts[row.id]}
        messages = {
            message.id: (message, conversation)
            for message, conversation in await session.execute(
                select(Message, Conversation)
                .join(Conversation, Conversation.id == Message.conversation_id)
                .where(Message.id.in_([one.row.message_id for one in sent]))
                .order_by(Conversation.id)
                .with_for_update()
            )
        }
        parts: dict[int, list[MessagePart]] = {}
        for part in await session.scalars(select(MessagePart).where(MessagePart.message_id.in_(messages))):
            parts.setdefault(part.message_id, []).append(part)
        for one in sent:
            message, conversation = messages[one.row.message_id]
            part = next(part for part in parts[message.id] if part.position == one.found.position)
            part.state, part.sent_at = PartState.SENT, now
            message.error_code = message.error_text = None
            if one.receipt.context:
                conversation.context = dict(one.receipt.context)
            if one.receipt.detail:
                message.dropped = [*(message.dropped or ()), one.found.live.masked(one.receipt.detail)]
            metrics.SENT.labels(one.found.live.kind, "sent").inc()
        await session.flush()
        await self._name(session, sent, now)
        await self._keep_apart(session, sent, messages, now)
        over: list[bool | Exception | None] = []
        done: list[tuple[Outgoing, Message, Conversation]] = []
        for one in sent:
            row = held.get(one.row.id)
            if row is None:
                over.append(jobs.Lost(f"message {one.row.message_id}"))
                continue
            row.error = None
            is_over = all(
                part.state not in (PartState.WAITING, PartState.SENDING) for part in parts[one.row.message_id]
            )
            if is_over:
                done.append((row, *messages[one.row.message_id]))
            over.append(True if is_over else None)
        await self.finish(session, done)
        return over

    async def _name(self, session: AsyncSession, sent: Sequence[Sent], now: datetime) -> None:
        """Note by which ids providers know what has gone, and that they can be reached."""
        names: dict[tuple[int, str], dict[str, Any]] = {}
        for one in sent:
            for external_id in filter(None, one.receipt.external_ids):
                names[one.found.live.id, external_id] = {
                    "connection_id": one.found.live.id,
                    "external_id": external_id,
                    "message_id": one.row.message_id,
                    "position": one.found.position,
                    "status": one.receipt.status,
                }
        await insert_rows(session, MessageId, list(names.values()), suffix="ON CONFLICT DO NOTHING")
        for live in {one.found.live.id: one.found.live for one in sent}.values():
            ids = [external_id for connection_id, external_id in names if connection_id == live.id]
            if ids:
                await statuses.take_early(session, live.id, ids, now=now)
            if await pace.count_success(session, live.id) or live.health != Health.ACTIVE:
                await connections.note_well(session, await connections.get(session, live.id), at=now)

    async def _keep_apart(
        self,
        session: AsyncSession,
        sent: Sequence[Sent],
        messages: Mapping[int, tuple[Message, Conversation]],
        now: datetime,
    ) -> None:
        """Let what else goes to the same peers wait as long as their channel asks."""
        lanes = [
            (
                f"{one.found.live.id}:{messages[one.row.message_id][1].id}",
                one.row.id,
                now + timedelta(seconds=one.found.sender.sending.per_peer),
            )
            for one in sent
            if one.found.sender.sending.per_peer
        ]
        if lanes:
            await (await session.connection()).exec_driver_sql(
                "UPDATE outbox q SET due_at = greatest(q.due_at, v.after) "
                "FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS v(lane, id, after) "
                "WHERE q.lane = v.lane AND q.id <> v.id AND q.due_at IS NOT NULL",
                tuple(list(column) for column in zip(*lanes, strict=True)),
            )

    async def finish(self, session: AsyncSession, done: Sequence[tuple[Outgoing, Message, Conversation]]) -> None:
        """Note that all of each message has gone, or may have."""
        if not done:
            return
        now = self._hub.clock.now()
        for _, message, conversation in done:
            if message.status in ("queued", "sending", "scheduled"):
                message.status, message.sent_at = "sent", now
            if message.send_at is not None:
                outbox.answered(conversation, message, at=now)
            conversation.version += 1
        await session.flush()
        await session.execute(delete(Outgoing).where(Outgoing.id.in_([held.id for held, _, _ in done])))
        await session.execute(
            update(Connection)
            .where(
                Connection.id.in_({message.connection_id for _, message, _ in done}),
                (Connection.last_sent_at <= now - _NOTES_SENDING_EVERY).is_not(False),
            )
            .values(last_sent_at=now)
        )
        await events.write(
            session,
            [
                events.line(
                    "message.uncertain" if message.uncertain else "message.sent",
                    now,
                    contact_id=message.contact_id,
                    conversation_id=message.conversation_id,
                    message_id=message.id,
                    user_id=message.author_id,
                    details={"text": " ".join(message.text.split())[:160], "error": message.error_text},
                )
                for _, message, _ in done
            ],
        )
        await statuses.settle(session, [message.id for _, message, _ in done], said={}, now=now)


async def keep_exchanges(session: AsyncSession, kept: Sequence[tuple[Next, Sequence[Exchange]]], now: datetime) -> None:
    """Keep what was said to providers about parts, and what they answered."""
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
            for found, exchanges in kept
            for exchange in exchanges
        ],
    )


async def forget_exchanges(session: AsyncSession, *, before: datetime) -> None:
    """Drop the log of what was said to providers before a moment."""
    await session.execute(delete(ProviderExchange).where(ProviderExchange.at < before))
