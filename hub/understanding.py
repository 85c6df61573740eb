"""Understanding: what channels report is handed to whichever part of the core it concerns, all in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Sender
from channels.desk_contract import DeskEvent
from channels.email.desk import DeskLetter
from core import connections, intake
from core.connections import Health
from core.intake import Received, Result
from core.kernel import jobs
from core.kernel.envelopes import CallEvent, Changed, Event, IdentityChanged, Incoming, Pending, Problem, Signal, Status
from core.talk import changes, statuses
from core.talk.statuses import Reported
from core.work import calling
from core.work.calling import HeardCall
from hub import metrics
from hub.connections import Live, Switchboard
from hub.desk import letters as desk_letters
from hub.desk import updates as desk_updates
from hub.desk.letters import Answered
from hub.desk.updates import Noted

log = structlog.get_logger(__name__)

ENRICH = "delivery.enrich"
"""The job that asks a provider for what it only told the existence of."""


class Heard(NamedTuple):
    """One event of one delivery, and the connection it came over."""

    delivery_id: int
    received_at: datetime
    live: Live
    event: Event


async def understand(
    session: AsyncSession, switchboard: Switchboard, heard: Sequence[Heard], *, now: datetime
) -> list[dict[str, Any]]:
    """Make of each event what it means; return what became of each, in order, for the delivery's own record.

    What people say comes first, then what became of what we said, so that an edit finds its message. An event for an
    account that is none of ours is noted and harms no other.
    """
    told: list[dict[str, Any]] = [{} for _ in heard]
    talked: list[tuple[int, Received]] = []
    reported: list[tuple[int, Reported]] = []
    rung: list[tuple[int, HeardCall]] = []
    desked: list[tuple[int, Noted]] = []
    answered: list[tuple[int, Answered]] = []
    rest: list[tuple[int, Heard, Live]] = []
    for number, item in enumerate(heard):
        live = _addressee(switchboard, item)
        if live is None:
            told[number] = {"kind": "unknown_account", "account": item.event.account}
        elif isinstance(item.event, Incoming):
            talked.append((number, Received(item.delivery_id, item.received_at, live.source, item.event)))
        elif isinstance(item.event, Status):
            reported.append((number, Reported(live.id, item.event, item.received_at)))
        elif isinstance(item.event, CallEvent):
            if live.line is None:
                told[number] = {"kind": "unread"}
            else:
                rung.append((number, HeardCall(item.delivery_id, item.received_at, live.line, item.event)))
        elif isinstance(item.event, DeskEvent):
            desked.append((number, Noted(live.id, item.delivery_id, item.event)))
        elif isinstance(item.event, DeskLetter):
            answered.append((number, Answered(live.id, item.delivery_id, item.event)))
        else:
            rest.append((number, item, live))
    if desked:
        noted = await desk_updates.note(session, [done for _, done in desked], at=now)
        for (number, _), said in zip(desked, noted, strict=True):
            told[number] = said
    if answered:
        noted = await desk_letters.note(session, [letter for _, letter in answered], at=now)
        for (number, _), said in zip(answered, noted, strict=True):
            told[number] = said
    if rung:
        for (number, _), said in zip(
            rung, await calling.hear(session, [call for _, call in rung], now=now), strict=True
        ):
            told[number] = said
    if talked:
        results = await intake.receive(session, [received for _, received in talked], now=now)
        metrics.LEADS.inc(sum(1 for result in results if result.lead_id is not None and not result.is_repeat))
        for (number, _), result in zip(talked, results, strict=True):
            told[number] = _told(result)
    if reported:
        await statuses.apply(session, [report for _, report in reported], now=now)
        for number, report in reported:
            status = report.status
            told[number] = {"kind": f"message.{status.status}", "external_id": status.external_id or status.our_id}
            if status.is_dead and status.peer:
                live = switchboard.by_id(report.connection_id)
                if live is not None and isinstance(live.channel, Sender):
                    address = live.channel.address_of(status.peer)
                    await changes.block(session, address, because="dead", at=status.occurred_at or now)
    for number, item, live in rest:
        told[number] = await _rest(session, item, live, now=now)
    return told


def _addressee(switchboard: Switchboard, heard: Heard) -> Live | None:
    """Return the connection an event is for: the one whose hook was called, unless it names another account.

    That has to be one of the same app (`app` of a channel, where hooks are shared): the request was checked with the
    secret of the hook that was called, which says nothing for the accounts of other apps.
    """
    account = heard.event.account
    if not account or account == heard.live.account:
        return heard.live
    found = switchboard.by_account(account)
    return found if found is not None and _app_of(found) == _app_of(heard.live) else None


def _app_of(live: Live) -> str:
    return str(getattr(live.channel, "app", ""))


async def _rest(session: AsyncSession, heard: Heard, live: Live, *, now: datetime) -> dict[str, Any]:
    event = heard.event
    if isinstance(event, Changed):
        message_id = await changes.apply(session, live.id, event, now=now)
        return {
            "kind": f"message.{event.change}",
            "external_id": event.external_id,
            **({} if message_id is None else {"message_id": str(message_id)}),
        }
    if isinstance(event, Signal):
        await changes.heed(session, live.id, event, now=now)
        return {"kind": f"signal.{event.kind}"}
    if isinstance(event, IdentityChanged):
        await changes.move(session, live.id, event, now=now)
        return {"kind": "contact.moved"}
    if isinstance(event, Problem):
        await complain(session, live, event.detail, is_auth=event.kind == "auth", now=now)
        return {"kind": f"problem.{event.kind}", "detail": event.detail}
    if isinstance(event, Pending):
        await jobs.enqueue(
            session,
            ENRICH,
            at=now,
            lane=f"enrich:{live.id}",
            unique_key=f"{ENRICH}:{live.id}:{event.external_id}"[:500],
            connection_id=live.id,
            delivery_id=heard.delivery_id,
            received_at=heard.received_at.isoformat(),
            event=msgspec.to_builtins(event),
        )
        return {"kind": "pending", "reference": event.reference}
    log.warning("event_without_a_reader", event=type(event).__name__)
    return {"kind": "unread"}


async def complain(session: AsyncSession, live: Live, detail: str, *, is_auth: bool, now: datetime) -> None:
    """Note at a connection what its provider says is wrong."""
    row = await connections.get(session, live.id)
    await connections.note_trouble(
        session, row, detail, health=Health.REAUTHORISE if is_auth else Health.DEGRADED, at=now
    )


def _told(result: Result) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": "message.repeated" if result.is_repeat else "message.received"}
    for name in ("contact_id", "conversation_id", "message_id", "lead_id", "deal_id"):
        if (value := getattr(result, name)) is not None:
            told[name] = str(value)
    return told
