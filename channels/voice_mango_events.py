"""Reads what Mango Office tells of calls: legs as they come and go, the summary, recordings, keys pressed.

An event of a leg does not say which way the call goes: that is concluded from who has an extension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from channels import voice
from channels.fields import LONGEST_ID, Fields
from core.kernel.envelopes import CallDirection, CallEvent, CallOutcome, CallPhase, Event
from webhooks.errors import Unsupported

FINE = 1000
"""The code of success, of results and of recordings."""

_DIRECTIONS: Mapping[int | None, CallDirection] = {0: "internal", 1: "inbound", 2: "outbound"}
_LONGEST_CALL = timedelta(days=30)


def _count(said: Fields) -> int:
    seq = said.whole("seq") or 0
    return seq if 0 < seq < 2**31 else 0


def _who(said: Fields, side: str) -> tuple[str, str]:
    """Return the number of a side (its extension where it has none), and its extension."""
    extension = voice.extension_of(said.text(side, "extension"))
    return voice.number_of(said.text(side, "number")) or extension, extension


def _moment(said: Fields, name: str) -> datetime | None:
    return said.moment(name) if (said.whole(name) or 0) > 0 else None


def _leg(said: Fields) -> list[Event]:
    """Read events/call: a phone, a queue or a menu and what it does."""
    (caller, by), (callee, to) = _who(said, "from"), _who(said, "to")
    leg, seq, state = said.id("call_id"), _count(said), said.text("call_state").lower()
    place, transfer = said.text("location").lower(), said.id("transfer")
    direction: CallDirection = ""
    if said.text("callback_initiator"):
        direction = "outbound"
    elif not by and (to or place in ("ivr", "queue")):
        direction = "inbound"
    elif by and not to:
        direction = "outbound"
    elif by and to and not said.id("from", "taken_from_call_id"):
        direction = "internal"
    phase = _phase(state, place, by, to)
    if phase is None:
        raise Unsupported(f"call_state {said.id('call_state')[:60]!r} is none we know")
    event = CallEvent(
        call_id=said.id("entry_id"),
        key=f"{leg}:{seq or voice.digest(repr(said.value))}"[:LONGEST_ID],
        phase=phase,
        leg_id=leg,
        seq=seq,
        occurred_at=_moment(said, "timestamp"),
        direction=direction,
        caller=caller,
        callee=callee,
        line=voice.number_of(said.text("to", "line_number") or said.text("from", "line_number")),
        extension="" if phase in ("menu", "queued") else to or by,
        our_id=said.id("command_id"),
        detail=_words(
            said.text("to", "acd_group") if phase == "queued" else "",
            f"{transfer} transfer" if transfer else "",
            said.text("disconnect_reason"),
        ),
    )
    if phase != "left" or not transfer:
        return [event]
    return [event, msgspec.structs.replace(event, key=f"{event.key}:transfer", phase="transferred", extension="")]


def _phase(state: str, place: str, by: str, to: str) -> CallPhase | None:
    if state == "disconnected":
        return "left"
    if state == "onhold":
        return "held"
    if state not in ("appeared", "connected"):
        return None
    if place == "ivr":
        return "menu"
    if place == "queue":
        return "queued"
    if state == "connected":
        return "answered"
    return "ringing" if to else "started"


def _summary(said: Fields) -> list[Event]:
    """Read events/summary: the end of a call, and what holds of it."""
    (caller, by), (callee, to) = _who(said, "from"), _who(said, "to")
    direction = _DIRECTIONS.get(said.whole("call_direction"), "")
    answered, ended = _moment(said, "talk_time"), _moment(said, "end_time")
    was_answered, reason = said.whole("entry_result") == 1, said.whole("disconnect_reason") or 0
    outcome: CallOutcome = "answered" if was_answered else "missed"
    if not was_answered and direction != "inbound" and (2000 <= reason < 4000 or reason >= 5000):
        outcome = "failed"
    started = _moment(said, "create_time")
    answered = answered if was_answered else None
    return [
        CallEvent(
            call_id=said.id("entry_id"),
            key="summary",
            phase="summary",
            occurred_at=ended,
            direction=direction,
            caller=caller,
            callee=callee,
            line=voice.number_of(said.text("line_number")),
            extension=by if direction == "outbound" else to or by,
            our_id=said.id("command_id"),
            outcome=outcome,
            started_at=started,
            answered_at=answered,
            ended_at=ended,
            talk_seconds=_between(answered, ended) if was_answered else 0,
            wait_seconds=_between(started, answered or ended),
            detail=said.text("disconnect_reason")[:20],
        )
    ]


def _between(start: datetime | None, end: datetime | None) -> int | None:
    if start is None or end is None or not start <= end <= start + _LONGEST_CALL:
        return None
    return int((end - start).total_seconds())


def _recorded(said: Fields) -> list[Event]:
    """Read that a recording is done (events/recording) or stored (events/record/added): the same one of two sources."""
    recording, state = said.id("recording_id"), said.text("recording_state").lower()
    code = said.whole("completion_code")
    if not recording or state not in ("", "completed"):
        return []
    if code not in (None, FINE) or said.text("recipient").lower() == "mail":
        return []  # too short, or sent by mail: there is nothing to fetch
    return [
        CallEvent(
            call_id=said.id("entry_id"),
            key=f"recorded:{recording}"[:LONGEST_ID],
            phase="recorded",
            leg_id=said.id("call_id"),
            occurred_at=_moment(said, "timestamp"),
            extension=voice.extension_of(said.text("extension")),
            recording=recording,
            recording_id=recording,
        )
    ]


def _pressed(said: Fields) -> list[Event]:
    leg = said.id("call_id")
    unique = said.text("seq") or voice.digest(repr(said.value))
    return [
        CallEvent(
            call_id=said.id("entry_id"),
            key=f"dtmf:{leg}:{unique}"[:LONGEST_ID],
            phase="menu",
            leg_id=leg,
            seq=_count(said),
            occurred_at=_moment(said, "timestamp"),
            caller=voice.number_of(said.text("from_number")),
            line=voice.number_of(said.text("line_number")),
            detail=said.text("dtmf")[:100],
        )
    ]


def refused(said: Fields) -> list[Event]:
    """Read what became of a callback: one that was taken is told by its own events."""
    our_id, code = said.id("command_id"), said.whole("result")
    if not our_id or code in (None, FINE):
        return []
    return [
        CallEvent(
            call_id=our_id,
            key="result/callback",
            phase="summary",
            direction="outbound",
            our_id=our_id,
            outcome="failed",
            talk_seconds=0,
            detail=f"{code}",
        )
    ]


def _words(*parts: str) -> str:
    return ", ".join(part for part in parts if part)[:300]


READERS: Final[Mapping[str, Callable[[Fields], list[Event]]]] = {
    "events/call": _leg,
    "events/summary": _summary,
    "events/recording": _recorded,
    "events/record/added": _recorded,
    "events/dtmf": _pressed,
}
"""What reads the event that a path names; each wants an entry_id to be there."""
