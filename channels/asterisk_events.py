"""Events of Asterisk as they are kept: word for word, with the notes that `channels.asterisk_calls` gave them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import get_args

import msgspec

from channels import voice
from channels.asterisk_channels import Note, said
from channels.contract import Routed
from channels.fields import Fields, moment_of, object_of
from core.kernel.envelopes import CallDirection, CallEvent, CallOutcome, CallPhase
from webhooks.errors import Malformed
from webhooks.request import RawRequest

METHOD = "AMI"
"""What marks a request that the listener made of an event."""

_MOST_NOTES = 200
_LONGEST_VALUE = 2_000
_PHASES: Mapping[str, CallPhase] = {phase: phase for phase in get_args(CallPhase)}
_OUTCOMES: Mapping[str, CallOutcome] = {outcome: outcome for outcome in get_args(CallOutcome)}
_DIRECTIONS: Mapping[str, CallDirection] = {direction: direction for direction in get_args(CallDirection)}


def kept(
    name: str, fields: Mapping[str, str], notes: Sequence[Note], *, number: int, now: datetime, host: str
) -> RawRequest:
    """Make a request of an event. `number` is its place among all of this connection, `now` when it was heard."""
    body = {
        "Event": name,
        **{field: value[:_LONGEST_VALUE] for field, value in fields.items()},
        "Switchyard-Number": number,
        "Switchyard-Heard": now.isoformat(),
        "Switchyard-Notes": list(notes),
    }
    return RawRequest(
        msgspec.json.encode(body), method=METHOD, headers={"content-type": "application/json"}, client=host
    )


def routed(request: RawRequest) -> Routed:
    """Tell events by all they say; those of one call keep their order.

    Raises:
        Malformed: it is nothing that the listener makes.
    """
    first = object_of(request).at("Switchyard-Notes", 0)
    return Routed(f"ami:{voice.digest(request.body)}", None, first.id("call_id"))


def moment(fields: Mapping[str, str]) -> datetime | None:
    """Return when an event was by Asterisk's clock; None where `timestampevents` is not switched on."""
    written = said(fields, "Timestamp")
    try:
        found = datetime.fromtimestamp(float(written), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found if 2000 <= found.year <= 2100 else None


def read(request: RawRequest, reference: Callable[[str], str]) -> Iterator[CallEvent]:
    """Read an event. `reference` tells by what a recording can be had, of the path that Asterisk gives; "": by nothing.

    Raises:
        Malformed: it is nothing that the listener makes.
    """
    body = object_of(request)
    notes = body.at("Switchyard-Notes")
    if not isinstance(notes.value, list):
        raise Malformed("The event has no notes")
    number = max(0, min(body.whole("Switchyard-Number") or 0, 2**53))
    at = moment({"Timestamp": body.text("Timestamp")}) or moment_of(body.text("Switchyard-Heard"))
    for note in list(notes.items())[:_MOST_NOTES]:
        event = _event(note, number, at, reference)
        if event is not None:
            yield event


def _event(note: Fields, number: int, at: datetime | None, reference: Callable[[str], str]) -> CallEvent | None:
    call_id, phase, leg_id = note.id("call_id"), _PHASES.get(note.text("means")), note.id("leg_id")
    if not call_id or phase is None:
        return None
    path, place = note.text("file"), ""
    if phase == "recorded" and not (place := reference(path)):
        return None
    at = moment_of(note.text("at")) or at
    when = "" if at is None else f"{at.timestamp():.6f}"
    return CallEvent(
        call_id=call_id,
        key=f"{phase}:{leg_id}:{number}:{when}" + (f":{voice.digest(path)}" if path else ""),
        phase=phase,
        leg_id=leg_id,
        seq=number,
        occurred_at=at,
        direction=_DIRECTIONS.get(note.text("direction"), ""),
        caller=voice.number_of(note.text("caller")),
        callee=voice.number_of(note.text("callee")),
        line=voice.number_of(note.text("line")),
        extension=voice.number_of(note.text("extension")),
        our_id=note.id("our_id"),
        outcome=_OUTCOMES.get(note.text("outcome"), ""),
        recording=place,
        recording_id=place[:200],
        detail=note.text("detail")[:300],
    )
