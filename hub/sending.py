"""The sender: takes what is due from the outbox, hands it to its channel, and notes what became of it.

Nothing is sent within a transaction. That a part is being sent is committed before its request is made, so that a
sender that dies leaves word: what was `sending` may have gone, and goes again only where the provider tells repeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

import structlog
from sqlalchemy import select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from channels import rendering
from channels.contract import Button, Capability, OutgoingFile, Part, Receipt, Sender, Template
from channels.errors import (
    ChannelError,
    Uncertain,
)
from channels.http import Exchange
from core.connections import Health
from core.kernel import jobs
from core.kernel.envelopes import MediaKind
from core.kernel.jobs import Failure
from core.people.contacts import ContactIdentity
from core.talk import outbox, pace
from core.talk.attachments import Attachment, StoredFile
from core.talk.conversations import Conversation, Message, MessageId
from core.talk.outbox import MessagePart, Outgoing, PartState
from hub import sending_outcomes
from hub.app import Hub
from hub.connections import Live
from hub.files import FETCH_LASTS
from hub.lanes import LaneWorker
from hub.sending_failures import Failures
from hub.sending_outcomes import Next, Outcomes, Sent, Wait
from hub.together import Together
from hub.web.words import N_
from hub.web_client import tools_for

log = structlog.get_logger(__name__)

AT_ONCE = 60
"""Conversations a process sends to side by side."""

_LONGEST = 120.0  # seconds one part may take
_FINISHES_WITHIN = 20.0  # seconds
_WAITS_FOR_MENDING = timedelta(minutes=1)


class _Done(NamedTuple):
    """Nothing is left to do for a row."""


class _Held(NamedTuple):
    """A row that is ours, with the message and its parts in their order."""

    outgoing: Outgoing
    message: Message
    conversation: Conversation
    parts: list[MessagePart]


class _Ready(NamedTuple):
    """A part that goes as soon as its connection may send."""

    held: _Held
    part: MessagePart
    next: Next


class Outbox:
    """Works off what is to be sent. `runs` tells whether this process holds a connection's listener."""

    def __init__(self, hub: Hub, *, runs: Callable[[int], bool] = lambda _: True) -> None:
        self._hub = hub
        self._runs = runs
        self._queue = outbox.outbox_queue()
        self._outcomes, self._failures = Outcomes(hub), Failures(hub, self._queue)
        self._begin: Together[Any, Next | Wait | _Done] = Together(hub.database, self._begin_all)
        self._note_sent: Together[Sent, bool | None] = Together(hub.database, self._outcomes.note_sent)
        self._lanes = LaneWorker(hub, self._queue, self._send_in_order, at_once=AT_ONCE, finishes=_FINISHES_WITHIN)

    async def run(self, woken: asyncio.Event, *, look_every: float = 1.0) -> None:
        """Send until canceled. A provider that takes its time holds up its own conversations and no others.

        What is being sent when it is canceled may finish: a message cut short would be one that may have gone.
        """
        await self._lanes.run(woken, look_every=look_every)

    async def work(self) -> int:
        """Claim what is due and send it; return how many messages that was."""
        return await self._lanes.work()

    async def _send_in_order(self, rows: Sequence[Any]) -> None:
        """Send one conversation's messages in order; what is behind one that has to wait waits with it."""
        for number, row in enumerate(rows):
            try:
                is_over = await self._message(row)
            except jobs.Lost:
                log.warning("message_lost_to_another_sender", message_id=row.message_id)
                return
            except Exception as error:  # a fault of ours: kept, and tried again
                log.exception("sending_failed", message_id=row.message_id)
                await self._again(row, f"{type(error).__name__}: {error}", behind=rows[number + 1 :])
                return
            if not is_over:
                await self._give_back(rows[number + 1 :])
                return

    async def _message(self, row: Any) -> bool:
        """Send the parts of one message that have not gone; False if it has to wait."""
        while True:
            found = await self._begin(row)
            if isinstance(found, Wait):
                return False
            if isinstance(found, _Done):
                return True
            exchanges: list[Exchange] = []
            outcome = await self._send(found, exchanges)
            if isinstance(outcome, Receipt):
                is_over = await self._note_sent(Sent(row, found, outcome, exchanges))
            else:
                async with self._hub.database.transaction() as session:
                    is_over = await self._failures.note(session, row, found, outcome, exchanges)
            if is_over is not None:
                return is_over

    # --- before ---

    async def _begin_all(self, session: AsyncSession, rows: Sequence[Any]) -> list[Next | Wait | _Done | Exception]:
        """Find the next part of each message and note that it is being sent; or why it is not."""
        if any(self._live(row) is None for row in rows):
            await self._hub.switchboard.refresh()
        held = await self._hold(session, rows)
        blocked = await self._blocked(session, held.values())
        found: dict[int, Next | Wait | _Done | Exception] = {}
        ready: dict[int, list[_Ready]] = {}
        for row in rows:
            if row.id not in held:
                found[row.id] = jobs.Lost(f"message {row.message_id}")
                continue
            next_ = await self._judge(session, row, held[row.id], blocked)
            if isinstance(next_, _Ready):
                ready.setdefault(next_.next.live.id, []).append(next_)
            else:
                found[row.id] = next_
        await session.flush()
        for connection_id in sorted(ready):
            found |= await self._take_turns(session, ready[connection_id])
        await self._failures.postpone(session, [(row, wait) for row in rows if isinstance(wait := found[row.id], Wait)])
        return [found[row.id] for row in rows]

    def _live(self, row: Any) -> Live | None:
        """Return the connection that a row goes over; None if there is none that can send."""
        live = self._hub.switchboard.by_id(row.connection_id)
        return live if live is not None and live.sender is not None else None

    async def _hold(self, session: AsyncSession, rows: Sequence[Any]) -> dict[int, _Held]:
        """Return the rows that are ours still, locked, with what they are about."""
        attempts = {row.id: row.attempts for row in rows}
        taken = await session.execute(
            select(Outgoing, Message, Conversation)
            .join(Message, Message.id == Outgoing.message_id)
            .join(Conversation, Conversation.id == Message.conversation_id)
            .where(Outgoing.id.in_(attempts), Outgoing.due_at.is_not(None))
            .order_by(Conversation.id)
            .with_for_update()
        )
        held = {
            outgoing.id: _Held(outgoing, message, conversation, [])
            for outgoing, message, conversation in taken
            if outgoing.attempts == attempts[outgoing.id]
        }
        by_message = {one.message.id: one for one in held.values()}
        parts = select(MessagePart).where(MessagePart.message_id.in_(by_message)).order_by(MessagePart.position)
        for part in await session.scalars(parts):
            by_message[part.message_id].parts.append(part)
        return held

    async def _blocked(self, session: AsyncSession, held: Iterable[_Held]) -> dict[tuple[str, str], str]:
        """Return why addresses of ours must not be written to, by scheme and value."""
        addresses = set()
        for one in held:
            live = self._live(one.outgoing)
            if live is not None and live.sender is not None:
                address = live.sender.address_of(one.conversation.peer)
                addresses.add((address.scheme, address.value))
        if not addresses:
            return {}
        rows = await session.execute(
            select(ContactIdentity.scheme, ContactIdentity.value, ContactIdentity.blocked_because).where(
                tuple_(ContactIdentity.scheme, ContactIdentity.value).in_(addresses),
                ContactIdentity.blocked_because.is_not(None),
            )
        )
        return {(scheme, value): because for scheme, value, because in rows if because}

    async def _judge(
        self, session: AsyncSession, row: Any, held: _Held, blocked: Mapping[tuple[str, str], str]
    ) -> _Ready | Wait | _Done:
        """Find what of a message goes next, if anything does."""
        now = self._hub.clock.now()
        outgoing, message, conversation, parts = held
        if message.status in ("canceled", "failed"):
            await session.delete(outgoing)
            return _Done()
        live = self._live(row)
        if row.expires_at <= now:
            because = outgoing.error or "the channel did not take it"
            await self._failures.fail(session, outgoing, message, "expired", f"It was tried for a day: {because}")
            return _Done()
        if live is None or live.sender is None:
            return Wait(_WAITS_FOR_MENDING.total_seconds(), N_("The channel cannot be used just now"))
        if (reason := _stopped(live)) is not None:
            return Wait(_WAITS_FOR_MENDING.total_seconds(), reason)
        if live.sender.sending.from_listener and not self._runs(live.id):
            return Wait(2.0)
        is_young = sending_outcomes.is_young(row.expires_at, now)
        if not _settle_interrupted(message, live.sender, parts, is_young=is_young):
            await self._outcomes.finish(session, [(outgoing, message, conversation)])
            return _Done()
        part = next(part for part in parts if part.state == PartState.WAITING)
        if (refusal := _refusal(live.sender, conversation, part, blocked, now)) is not None:
            await self._failures.fail(session, outgoing, message, *refusal)
            return _Done()
        made = await self._part(session, live.sender, message, conversation, part)
        return _Ready(held, part, Next(live, live.sender, made, part.position))

    async def _take_turns(self, session: AsyncSession, ready: Sequence[_Ready]) -> dict[int, Next | Wait]:
        """Note of as many parts of one connection as may go now that they are being sent; the others wait."""
        first, now = ready[0].next, self._hub.clock.now()
        per_second = first.sender.sending.per_second
        granted, wait = await pace.take_turns(session, first.live.id, len(ready), per_second=per_second, now=now)
        found: dict[int, Next | Wait] = {}
        for number, one in enumerate(ready):
            outgoing, message, conversation, _ = one.held
            if number >= granted:
                turns = (number - granted) / per_second if per_second else 0.0
                found[outgoing.id] = Wait(wait + turns, outgoing.error or "")
                continue
            one.part.state = PartState.SENDING
            if message.status in ("queued", "scheduled"):
                message.status = "sending"
                conversation.version += 1
            found[outgoing.id] = one.next
        return found

    async def _part(
        self, session: AsyncSession, sender: Sender, message: Message, conversation: Conversation, part: MessagePart
    ) -> Part:
        """Make what the channel is handed."""
        content = part.content
        reply_to = ""
        if message.reply_to_id is not None and part.position == 0:
            reply_to = await _external_id(session, message.reply_to_id, message.connection_id)
        template = content.get("template")
        return Part(
            id=f"{message.id}.{part.position}",
            number=(message.id << 10 | part.position & 0x3FF) & 0x7FFF_FFFF_FFFF_FFFF,
            message_id=message.id,
            peer=conversation.peer,
            thread=conversation.thread,
            text=content.get("text", ""),
            html=content.get("html", ""),
            subject=content.get("subject", "") or ("" if conversation.context else conversation.subject),
            files=tuple([await self._file(session, sender, file_id) for file_id in content.get("file_ids", ())]),
            buttons=tuple(Button(*button) for button in content.get("buttons", ())),
            template=None
            if template is None
            else Template(template["name"], template["language"], tuple(template["values"])),
            reply_to=reply_to,
            is_first=part.position == 0,
            is_automatic=message.is_automatic,
            context=dict(conversation.context),
        )

    async def _file(self, session: AsyncSession, sender: Sender, attachment_id: int) -> OutgoingFile:
        hub = self._hub
        row = await session.get_one(Attachment, attachment_id)
        stored = await session.get_one(StoredFile, row.file_id)
        url = ""
        if hub.settings.public_url:
            ticket = hub.files.ticket(row.id, until=hub.clock.now() + FETCH_LASTS)
            url = f"{hub.public_url}/files/shared/{ticket}"

        def read() -> AsyncIterator[bytes]:
            return hub.files.read(stored.path)

        kind = rendering.kind_for(sender.sending, cast("MediaKind", row.kind), stored.content_type, stored.size)
        return OutgoingFile(row.name, stored.content_type, stored.size, kind, url, read)

    # --- the call ---

    async def _send(self, found: Next, exchanges: list[Exchange]) -> Receipt | ChannelError:
        hub = self._hub
        tools = tools_for(hub.web, found.live, now=hub.clock.now, public_url=hub.public_url, note=exchanges.append)
        try:
            async with asyncio.timeout(_LONGEST):
                return await found.sender.send(found.part, tools)
        except ChannelError as error:
            return error
        except TimeoutError:
            return Uncertain(N_("The provider did not answer in time, so it may have gone"), code="timeout")
        except Exception as error:  # a fault in a channel: what it had done by then nobody knows
            log.exception("channel_failed", kind=found.live.kind, message_id=found.part.message_id)
            return Uncertain(f"The channel failed ({type(error).__name__})", code="fault")

    async def _give_back(self, rows: Sequence[Any]) -> None:
        if not rows:
            return
        async with self._hub.database.transaction() as session:
            head = await session.scalar(
                text("SELECT max(due_at) FROM outbox WHERE lane = :lane AND id < :id"),
                {"lane": rows[0].lane, "id": rows[0].id},
            )
            await self._queue.release(session, rows, now=head or self._hub.clock.now())

    async def _again(self, row: Any, said: str, *, behind: Sequence[Any]) -> None:
        async with self._hub.database.transaction() as session:
            await self._queue.release(session, behind, now=self._hub.clock.now())
            given_up = await self._queue.fail(session, [Failure(row.id, row.attempts, said)], now=self._hub.clock.now())
            if given_up:
                held = await session.get_one(Outgoing, row.id)
                message = await session.get_one(Message, row.message_id, with_for_update=True)
                await self._failures.fail(session, held, message, "fault", said)


def _settle_interrupted(message: Message, sender: Sender, parts: Sequence[MessagePart], *, is_young: bool) -> bool:
    """Decide about a part whose sender died: it goes again where that is safe, else it may have gone.

    Returns whether anything is left to send.
    """
    for part in parts:
        if part.state != PartState.SENDING:
            continue
        if sender.sending.retries_safely and is_young:
            part.state = PartState.WAITING
        else:
            part.state = PartState.UNCERTAIN
            message.uncertain = True
            message.error_code = "interrupted"
            message.error_text = N_("The hub stopped while it was being sent, so it may have gone")
    return any(part.state == PartState.WAITING for part in parts)


def _stopped(live: Live) -> str | None:
    """Return why nothing goes over a connection until somebody acts; None if it may."""
    if live.paused_because is not None:
        return f"The channel is paused: {live.paused_because}"
    if live.health == Health.REAUTHORISE:
        return N_("The channel has to be authorised again: enter its credentials in its settings")
    return None


def _refusal(
    sender: Sender,
    conversation: Conversation,
    part: MessagePart,
    blocked: Mapping[tuple[str, str], str],
    now: datetime,
) -> tuple[str, str] | None:
    """Return code and words of why a part must not be sent; None if it may."""
    has_template = part.content.get("template") is not None
    window, until = sender.sending.window, conversation.replies_until
    if window is not None and not has_template and (until is None or until <= now):
        return "window_closed", (
            N_("The time in which this channel lets us answer freely is over: send one of its templates")
            if Capability.TEMPLATES in sender.sending.capabilities
            else N_("The time in which this channel lets us answer freely is over: answer on another channel")
        )
    address = sender.address_of(conversation.peer)
    because = blocked.get((address.scheme, address.value))
    if because == "opted_out":
        return "opted_out", N_("They have asked not to be written to here")
    if because == "dead":
        return "dead", N_("This address takes nothing: what was sent came back")
    return None


async def _external_id(session: AsyncSession, message_id: int, connection_id: int) -> str:
    """Return what a provider calls a message that is answered; "" if it is another provider's."""
    message = await session.get(Message, message_id)
    if message is None or message.connection_id != connection_id:
        return ""
    if message.external_id is not None:
        return "" if message.external_id.startswith("delivery:") else message.external_id
    found = await session.scalar(
        select(MessageId.external_id).where(MessageId.message_id == message_id).order_by(MessageId.position).limit(1)
    )
    return found or ""
