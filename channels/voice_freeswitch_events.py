"""Reads what FreeSWITCH tells of channels: events of its event socket, and records of mod_json_cdr as the same.

A channel is one leg. The one that began the call gives it its name; the others point back to it. FreeSWITCH does not
know whose phone a leg is: it is a colleague's where it belongs to a user of the directory or its number is short.

From FreeSWITCH's documentation of channel variables and from memory. Never run against a real FreeSWITCH.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from channels import voice
from channels.fields import LONGEST_ID, Fields
from core.kernel.envelopes import CallDirection, CallEvent, CallOutcome, CallPhase, Event

OURS = "switchyard_id"
"""The variable of a channel that holds our id of the call."""

WANTED = (
    "CHANNEL_CREATE",
    "CHANNEL_ANSWER",
    "CHANNEL_BRIDGE",
    "CHANNEL_HOLD",
    "CHANNEL_UNHOLD",
    "CHANNEL_HANGUP_COMPLETE",
    "RECORD_STOP",
)

_HANDED_ON = ("BLIND_TRANSFER", "ATTENDED_TRANSFER")
_IN_VAIN = (
    *("NO_ANSWER", "NO_USER_RESPONSE", "ORIGINATOR_CANCEL", "NORMAL_CLEARING", "PROGRESS_TIMEOUT"),
    *("ALLOTTED_TIMEOUT", "LOSE_RACE", "PICKED_OFF"),
)
_EARLIEST, _LATEST = 946_684_800, 4_102_444_800  # the years 2000 and 2100
_LONGEST_CALL = 30 * 86_400  # seconds; what says more is no length
_REFERRED = re.compile(r"sips?:[^>;?\s]+", re.IGNORECASE)


def of_record(record: Fields) -> Fields:
    """Return a record of mod_json_cdr as the event of its channel's end."""
    variables = record.at("variables").value
    told: dict[str, Any] = {"Event-Name": "CHANNEL_HANGUP_COMPLETE"}
    if isinstance(variables, dict):
        for name, value in variables.items():
            told[f"variable_{name}"] = unquote(value) if isinstance(value, str) else value
    flow = record.at("callflow")
    profile = flow.at(-1, "caller_profile") or flow.at("caller_profile")  # the last one is the first that was made
    told["Unique-ID"] = told.get("variable_uuid")
    told["Caller-Caller-ID-Number"] = profile.text("caller_id_number")
    told["Caller-Destination-Number"] = profile.text("destination_number")
    told["Caller-Callee-ID-Number"] = profile.text("callee_id_number")
    return Fields(told)


def call_of(event: Fields) -> str:
    """Return which call a channel belongs to: the id of the channel that began it."""
    own = event.id("Unique-ID")
    call = event.id("variable_call_uuid") or event.id("Channel-Call-UUID")
    if call and call != own:
        return call
    origin = event.id("Other-Leg-Unique-ID") if event.text("Other-Type").lower() == "originator" else ""
    return event.id("variable_originating_leg_uuid") or origin or call or own


def read(event: Fields, digits: int) -> list[Event]:
    """Read an event. `digits` is how long an extension may be."""
    name = event.text("Event-Name")
    if not event.id("Unique-ID") or name not in WANTED:
        return []
    leg = _Leg(event, digits)
    if name == "CHANNEL_CREATE":
        return leg.created()
    if name == "CHANNEL_ANSWER":
        return [] if leg.is_first else [leg.told("answered", extension=leg.extension or leg.other)]
    if name == "CHANNEL_BRIDGE":
        return leg.bridged()
    if name in ("CHANNEL_HOLD", "CHANNEL_UNHOLD"):
        phase: CallPhase = "held" if name == "CHANNEL_HOLD" else "resumed"
        return [leg.told(phase, key=f"{phase}:{leg.id}:{event.id('Event-Date-Timestamp')}")]
    if name == "RECORD_STOP":
        return leg.recorded()
    return leg.ended()


class _Leg:
    """One channel, as an event describes it."""

    def __init__(self, event: Fields, digits: int) -> None:
        self._event = event
        self._digits = digits
        self.id = event.id("Unique-ID")
        self.call = call_of(event)
        self.is_first = self.call == self.id
        self.our_id = event.id(f"variable_{OURS}")
        self._caller = voice.number_of(event.text("Caller-Caller-ID-Number"))
        self._callee = voice.number_of(event.text("Caller-Destination-Number"))
        is_caller = self.is_first and not self.our_id
        user = event.text("variable_user_name" if is_caller else "variable_dialed_user")
        callee_id = voice.number_of(event.text("Caller-Callee-ID-Number"))
        numbers = (self._caller,) if is_caller else (self._callee, callee_id)
        self.extension = voice.extension_of(user) or self._short(*numbers)
        self.other = self._short(
            voice.number_of(event.text("Other-Leg-Caller-ID-Number"))
            if event.text("Other-Type").lower() == "originator"
            else voice.number_of(event.text("Other-Leg-Destination-Number"))
        )

    def _short(self, *numbers: str) -> str:
        return next((n for n in numbers if n.isascii() and n.isdecimal() and len(n) <= self._digits), "")

    def told(self, phase: CallPhase, *, key: str = "", extension: str | None = None, **more: Any) -> CallEvent:
        """Return an event of this leg."""
        values: dict[str, Any] = {
            "call_id": self.call,
            "key": (key or f"{phase}:{self.id}")[:LONGEST_ID],
            "phase": phase,
            "leg_id": "" if self.is_first else self.id,
            "occurred_at": _moment(self._event, "Event-Date-Timestamp"),
            "extension": self.extension if extension is None else extension,
            "our_id": self.our_id,
        }
        return CallEvent(**{**values, **more})

    def created(self) -> list[Event]:
        """A call begins, or a phone rings."""
        if self.is_first:
            return [
                self.told("started", started_at=_moment(self._event, "Caller-Channel-Created-Time"), **self._ends())
            ]
        return [self.told("ringing")] if self.extension else []

    def _ends(self) -> dict[str, Any]:
        """Who calls whom, which the first leg alone knows."""
        if self.our_id:  # the colleague's phone was called first, and shown the customer's number
            return {"direction": "outbound", "caller": self.extension, "callee": self._caller}
        direction: CallDirection = "inbound"
        if self.extension:
            direction = "internal" if self._short(self._callee) else "outbound"
        # A dialplan that sends the caller on to an extension makes that the number they called.
        line = self._callee if direction == "inbound" and not self._short(self._callee) else ""
        return {"direction": direction, "caller": self._caller, "callee": self._callee, "line": line}

    def bridged(self) -> list[Event]:
        """Two legs are joined: they talk, if both were answered, for early sound is joined as well."""
        event = self._event
        if not (_moment(event, "Other-Leg-Channel-Answered-Time") and _moment(event, "Caller-Channel-Answered-Time")):
            return []
        is_later = event.text("Other-Type").lower() == "originator"
        leg, there = (self.id, self.extension) if is_later else (event.id("Other-Leg-Unique-ID"), self.other)
        extension = there or (self.other if is_later else self.extension)
        return [self.told("answered", key=f"answered:{leg}", leg_id=leg, extension=extension)]

    def ended(self) -> list[Event]:
        """A leg is over, or the call."""
        event = self._event
        cause = (event.id("Hangup-Cause") or event.id("variable_hangup_cause"))[:60]
        if cause in _HANDED_ON:
            found = _REFERRED.search(event.text("variable_sip_refer_to")[:500])
            to = voice.extension_of(found[0]) if found else ""
            is_short = bool(self._short(to))
            return [
                self.told("left", detail=cause),
                self.told("transferred", extension=to if is_short else "", detail="" if is_short else to),
            ]
        if not self.is_first:
            return [self.told("left", detail=cause)]
        answered, joined = _moment(event, "variable_answer_epoch"), _moment(event, "variable_bridge_epoch")
        started = _moment(event, "variable_start_epoch") or _moment(event, "Caller-Channel-Created-Time")
        ended = _moment(event, "variable_end_epoch") or _moment(event, "Caller-Channel-Hangup-Time")
        ends, talked, outcome = self._ends(), None, _outcome(event, cause)
        if answered is None:
            if outcome == "missed" and cause == "ORIGINATOR_CANCEL" and ends["direction"] != "inbound":
                outcome = "canceled"
        elif joined is not None and not self.our_id:
            talked, outcome = max(answered, joined), "answered"
        phase: CallPhase = "summary" if outcome else "ended"
        seconds = _between(talked, ended) if talked else None
        return [
            self.told(
                phase,
                key=f"ended:{self.id}",
                occurred_at=ended or _moment(event, "Event-Date-Timestamp"),
                outcome=outcome,
                started_at=started,
                answered_at=talked,
                ended_at=ended,
                talk_seconds=0 if outcome not in ("", "answered") else seconds,
                wait_seconds=_between(started, talked or ended) if outcome in ("answered", "missed") else None,
                detail=cause,
                **ends,
            )
        ]

    def recorded(self) -> list[Event]:
        """A recording is there."""
        path = self._event.text("Record-File-Path")[:1_000]
        if not path:
            return []
        seconds = self._event.whole("variable_record_seconds")
        return [
            self.told(
                "recorded",
                key=f"recorded:{voice.digest(path)}",
                recording=path,
                recording_id=voice.digest(path),
                recording_seconds=seconds if seconds is not None and 0 <= seconds <= _LONGEST_CALL else None,
            )
        ]


def _outcome(event: Fields, cause: str) -> CallOutcome:
    """Return how a call ended that nobody talked in; "" where a menu picked up, for others know better."""
    if _moment(event, "variable_answer_epoch") is not None:
        last = event.text("variable_last_app") or event.text("variable_current_application")
        return "voicemail" if last.lower() == "voicemail" else ""
    if cause == "USER_BUSY":
        return "busy"
    return "missed" if cause in _IN_VAIN else "failed"


def _moment(event: Fields, name: str) -> datetime | None:
    """Return a moment in seconds or microseconds since 1970; 0 is none."""
    number = event.whole(name)
    if number is None:
        return None
    seconds = number / 1_000_000 if number >= 10**13 else number
    return datetime.fromtimestamp(seconds, UTC) if _EARLIEST <= seconds <= _LATEST else None


def _between(start: datetime | None, end: datetime | None) -> int | None:
    if start is None or end is None:
        return None
    seconds = int((end - start).total_seconds())
    return seconds if 0 <= seconds <= _LONGEST_CALL else None
