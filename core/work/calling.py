"""Calling: what is heard of a telephone call becomes a person, a lead, and work for whoever has to call back.

A call that comes in opens what any request opens, but for nobody yet: whoever answers looks after it, and only when
nobody did is it routed and somebody given the task to call back. What follows from a call's end is done once, and
undone where a late word of the provider turns out to say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import addresses, events, jobs, locks
from core.kernel.addresses import PHONE
from core.kernel.db import insert_rows
from core.kernel.envelopes import CallEvent, CallRules
from core.kernel.errors import Rejected
from core.people.moving import HOLD_STILL
from core.staff.users import User
from core.talk import call_folding, calls
from core.talk.call_folding import LOST, Heard, Picture
from core.talk.calls import Call, CallRecording, CallStatus, HeardEvent, RecordingState
from core.work import call_outcomes, callers

_MOST_EVENTS = 2000  # of one call; what a PBX gone mad says beyond is not kept
_DIAL_IS_FRESH = timedelta(minutes=5)
_SILENT_FOR = timedelta(hours=4)


class Line(NamedTuple):
    """The connection a call came over, as far as calling needs it; its words for tasks in the company's language."""

    id: int
    kind: str
    title: str
    rules: CallRules
    country: str = ""
    pipeline_id: int | None = None
    team_id: int | None = None
    owner_id: int | None = None
    make_lead: bool = True
    make_deal: bool = True
    call_back: str = "Call back"
    rang_in_vain: str = "Rang in vain"


class HeardCall(NamedTuple):
    """One event of one delivery."""

    delivery_id: int | None
    received_at: datetime
    line: Line
    event: CallEvent


async def hear(session: AsyncSession, batch: Sequence[HeardCall], *, now: datetime) -> list[dict[str, Any]]:
    """Note what happened to calls, and do what follows; return what became of each event, for its delivery's record.

    An event that was heard before changes nothing; events of a call may come in any order. Safe to call from several
    nodes at once: a call, and a person who rings, is looked after by one of them at a time.
    """
    keys = {f"call:{each.line.id}:{each.event.call_id}" for each in batch}
    for each in batch:
        for written in (each.event.caller, each.event.callee):
            if number := callers.readable(written, each.line.country, each.line.rules):
                keys.add(f"{PHONE}:{number}")
    await session.execute(text(HOLD_STILL))
    await _lock(session, keys)
    fresh = await _keep(session, batch)
    extensions = await callers.extensions(session)
    told: dict[tuple[int, str], dict[str, Any]] = {}
    for each in batch:
        place = (each.line.id, each.event.call_id)
        if place in told:
            continue
        if not any(key[:2] == place for key in fresh):
            told[place] = {"kind": "call.repeated", "external_id": each.event.call_id}
            continue
        call = await _unfold(session, each.line, each.event.call_id, extensions, now=now)
        told[place] = {"kind": f"call.{call.status}", "call_id": str(call.id)} | {
            name: str(value) for name, value in calls.subjects(call).items() if value is not None
        }
    return [told[each.line.id, each.event.call_id] for each in batch]


async def _lock(session: AsyncSession, keys: set[str]) -> None:
    await session.execute(
        text("SELECT pg_advisory_xact_lock(k) FROM unnest(CAST(:keys AS bigint[])) AS k"), {"keys": locks.keys_of(keys)}
    )


async def _keep(session: AsyncSession, batch: Sequence[HeardCall]) -> set[tuple[int, str, str]]:
    """Store events; return those that are new."""
    rows = {
        (each.line.id, each.event.call_id, each.event.key[:300]): {
            "connection_id": each.line.id,
            "external_id": each.event.call_id,
            "key": each.event.key[:300],
            "event": msgspec.to_builtins(each.event),
            "received_at": each.received_at,
            "delivery_id": each.delivery_id,
        }
        for each in batch
    }
    kept = await insert_rows(
        session,
        HeardEvent,
        list(rows.values()),
        suffix="ON CONFLICT DO NOTHING RETURNING connection_id, external_id, key",
    )
    return {(row.connection_id, row.external_id, row.key) for row in kept}


async def _unfold(
    session: AsyncSession, line: Line, external_id: str, extensions: Mapping[str, User], *, now: datetime
) -> Call:
    """Fold all that is known of a call, and bring its record to what that says."""
    rows = await session.scalars(
        select(HeardEvent)
        .where(HeardEvent.connection_id == line.id, HeardEvent.external_id == external_id)
        .order_by(HeardEvent.received_at)
        .limit(_MOST_EVENTS)
    )
    heard = [Heard(msgspec.convert(row.event, CallEvent), row.received_at) for row in rows]

    def is_internal(number: str) -> bool:
        return callers.is_internal(number, line.rules, extensions)

    picture = call_folding.fold(heard, is_internal=is_internal)
    call = await _record_of(session, line, external_id, heard, picture, extensions, now=now)
    if (
        call.direction == "outbound" and picture.direction != "outbound"
    ):  # asked for by us: the PBX may see it otherwise
        picture = call_folding.fold(heard, is_internal=is_internal, direction="outbound")
    await _bring(session, line, call, picture, extensions, now=now)
    return call


async def _record_of(
    session: AsyncSession,
    line: Line,
    external_id: str,
    heard: Sequence[Heard],
    picture: Picture,
    extensions: Mapping[str, User],
    *,
    now: datetime,
) -> Call:
    """Return the record of a call: the one there is, the one that was asked for by us, else a new one."""
    mine = Call.connection_id == line.id
    found = await session.scalar(select(Call).where(mine, Call.external_id == external_id).with_for_update())
    ours = next((each.event.our_id for each in heard if each.event.our_id.startswith("dial-")), "")
    if ours.removeprefix("dial-").isdecimal():
        named = Call.id == min(int(ours.removeprefix("dial-")), 2**63 - 1)
        asked = await session.scalar(select(Call).where(mine, named, Call.external_id.is_(None)).with_for_update())
        if asked is not None and found is not None:  # its first events did not say that it is ours
            await session.delete(found)
            await session.flush()
        found = asked or found
    if found is not None and found.external_id is not None:
        return found
    if found is None and picture.direction == "outbound":
        user = extensions.get(_who_calls(picture))
        number = callers.readable(picture.callee, line.country, line.rules)
        if user is not None and number:
            found = await session.scalar(
                select(Call)
                .where(
                    mine,
                    Call.external_id.is_(None),
                    Call.direction == "outbound",
                    Call.user_id == user.id,
                    Call.number == number,
                    Call.created_at > now - _DIAL_IS_FRESH,
                )
                .order_by(Call.id)
                .limit(1)
                .with_for_update()
            )
    if found is None:
        found = Call(
            connection_id=line.id,
            external_id=external_id,
            direction=picture.direction,
            team_id=line.team_id,
            status=CallStatus.RINGING,
            ringing=[],
            rang=[],
            steps=[],
            started_at=picture.started_at,
            heard_at=now,
            created_at=now,
        )
        session.add(found)
    found.external_id = external_id
    await session.flush()
    return found


def _who_calls(picture: Picture) -> str:
    """Return the extension of the colleague who calls out, as far as a picture tells."""
    return picture.talks or picture.answered_by or (picture.rang[0] if picture.rang else "") or picture.caller


async def _bring(
    session: AsyncSession, line: Line, call: Call, picture: Picture, extensions: Mapping[str, User], *, now: datetime
) -> None:
    """Bring a call's record to what is known now, and do what follows from the difference."""
    was_answered, was_rung = call.answered_at is not None, set(call.rang)
    before, had = call.status, (call.talk_seconds, call.contact_id)
    call.direction, call.status, call.heard_at = picture.direction, picture.status, now
    call.caller, call.callee = picture.caller or call.caller, picture.callee or call.callee
    call.line = picture.line or call.line
    call.started_at, call.answered_at, call.ended_at = picture.started_at, picture.answered_at, picture.ended_at
    call.wait_seconds, call.talk_seconds, call.is_lost = picture.wait_seconds, picture.talk_seconds, picture.is_lost
    call.ringing = callers.users_of(picture.rings, extensions)
    call.rang = callers.users_of(picture.rang, extensions)
    call.steps = [
        {**step, "user_id": user.id if (user := extensions.get(step["extension"])) else None} for step in picture.steps
    ]
    call.version += 1
    if call.direction == "internal":
        await session.flush()
        return
    if call.direction == "outbound":
        dialling = extensions.get(_who_calls(picture))
        call.user_id = dialling.id if dialling is not None else call.user_id
    elif (talker := extensions.get(picture.talks)) is not None:
        call.user_id = talker.id
    await callers.identify(session, line, call, now=now)
    lines = []
    for rung in call.ringing:
        if rung not in was_rung:
            lines.append(_line("call.ringing", call, now, user_id=rung))
    if before == CallStatus.RINGING and not lines and not call.is_over and not call.rang and not was_answered:
        lines.append(_line("call.started", call, now))
    if call.answered_at is not None and not was_answered:
        answered_by = extensions.get(picture.answered_by)
        user_id = answered_by.id if answered_by is not None else call.user_id
        await call_outcomes.answered(session, call, user_id=user_id, at=now)
        lines.append(_line("call.answered", call, now, user_id=user_id))
    for recording in picture.recordings:
        await _note_recording(session, line, call, recording, now=now)
    await session.flush()
    await events.write(session, lines)
    if call.is_over:
        is_news = before != call.status or call.settled_at is None
        if is_news or (call.talk_seconds, call.contact_id) != had:
            await call_outcomes.settle(session, line, call, now=now, is_news=is_news)


def _line(kind: str, call: Call, at: datetime, *, user_id: int | None = None, **more: Any) -> dict[str, Any]:
    return events.line(kind, at, user_id=user_id, details=calls.details(call, **more), **calls.subjects(call))


async def _note_recording(
    session: AsyncSession, line: Line, call: Call, recording: call_folding.Recorded, *, now: datetime
) -> None:
    """Note that there is a recording, and have it fetched; once for each."""
    days = line.rules.keep_recordings_days
    rows = await insert_rows(
        session,
        CallRecording,
        [
            {
                "call_id": call.id,
                "external_id": recording.id,
                "reference": recording.reference,
                "seconds": recording.seconds,
                "state": RecordingState.PENDING.value,
                "created_at": now,
                "expires_at": now + timedelta(days=days) if days else None,
            }
        ],
        suffix="ON CONFLICT (call_id, external_id) DO NOTHING RETURNING id",
    )
    for row in rows:
        await jobs.enqueue(session, calls.FETCH, at=now, lane=f"recording:{call.id}", recording_id=row.id)


async def place(
    session: AsyncSession,
    line: Line,
    *,
    user: User,
    number: str,
    contact_id: int | None = None,
    deal_id: int | None = None,
    at: datetime,
) -> Call:
    """Have a colleague's phone ring and then a number called. The call is on the timeline from now on.

    Raises:
        Rejected: the colleague has no extension, or the number cannot be read.
    """
    if not user.extension:
        raise Rejected(
            "You have no telephone extension: enter one in your profile, or ask an administrator", field="user"
        )
    read = addresses.phone(number, line.country)
    if read is None:
        raise Rejected("“%(raw)s” cannot be read as a phone number", raw=number[:60], field="to")
    call = Call(
        connection_id=line.id,
        external_id=None,
        contact_id=contact_id,
        deal_id=deal_id,
        direction="outbound",
        number=read,
        caller=user.extension,
        callee=read,
        user_id=user.id,
        team_id=line.team_id,
        status=CallStatus.RINGING,
        ringing=[],
        rang=[],
        steps=[],
        started_at=at,
        heard_at=at,
        created_at=at,
    )
    session.add(call)
    await session.flush()
    await callers.identify(session, line, call, now=at)
    await session.flush()
    await jobs.enqueue(session, calls.PLACE, at=at, lane=f"dial:{user.id}", call_id=call.id)
    await events.write(session, [_line("call.dialled", call, at, user_id=user.id)])
    return call


async def placed(session: AsyncSession, call: Call, external_id: str, *, now: datetime) -> bool:
    """Note what the provider calls a call it was asked for. Events that came before that are taken over.

    Returns whether there are such events: the caller then lets them be folded anew (`refold`).
    """
    if not external_id or call.external_id is not None:
        return False
    other = await session.scalar(
        select(Call).where(Call.connection_id == call.connection_id, Call.external_id == external_id).with_for_update()
    )
    if other is not None:
        await session.delete(other)
        await session.flush()
    call.external_id = external_id
    call.version += 1
    await session.flush()
    heard = select(func.count()).where(
        HeardEvent.connection_id == call.connection_id, HeardEvent.external_id == external_id
    )
    return bool(await session.scalar(heard))


async def refold(session: AsyncSession, line: Line, external_id: str, *, now: datetime) -> None:
    """Fold a call anew from what was heard of it."""
    await _lock(session, {f"call:{line.id}:{external_id}"})
    await _unfold(session, line, external_id, await callers.extensions(session), now=now)


async def fail(session: AsyncSession, call: Call, trouble: str, *, now: datetime) -> None:
    """Note that a call we asked for was not placed, and why. Nothing happens if it was, after all."""
    if call.external_id is not None or call.is_over:
        return
    call.status, call.ended_at, call.settled_at, call.trouble = CallStatus.FAILED, now, now, trouble[:500]
    call.talk_seconds = 0
    call.version += 1
    await session.flush()
    await events.write(session, [_line("call.failed", call, now, user_id=call.user_id, error=trouble[:300])])


async def end_silent(session: AsyncSession, lines: Mapping[int, Line], *, now: datetime, limit: int = 100) -> int:
    """End the calls whose end was never heard, four hours after their last word; return how many that was."""
    silent = list(
        await session.scalars(
            select(Call)
            .where(Call.status.in_(calls.UNDER_WAY), Call.heard_at < now - _SILENT_FOR)
            .order_by(Call.heard_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    )
    for call in silent:
        line = lines.get(call.connection_id)
        if call.external_id is None or line is None:
            call.status, call.ended_at, call.settled_at, call.is_lost = CallStatus.FAILED, now, now, True
            call.trouble = call.trouble or "The PBX never said what became of it"
            continue
        event = CallEvent(
            call_id=call.external_id,
            key=LOST,
            phase="ended",
            occurred_at=call.heard_at,
            detail="its end was never heard",
        )
        await hear(session, [HeardCall(None, now, line, event)], now=now)
    return len(silent)
