"""Folding: what happened to a call, in whatever order it was heard, is one picture of it.

Providers tell of a call out of order, twice, or not at all. So nothing is counted up event by event: all that is known
is folded anew each time, and the same events give the same picture whichever came first. What a provider says last and
for good (`summary`) outweighs what was put together from the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from core.kernel.envelopes import CallEvent

LOST = "lost"
"""The key of the end that is noted where none was ever heard. A real one outweighs it."""

_RANKS = {
    phase: rank
    for rank, phase in enumerate(
        (
            *("started", "queued", "menu", "ringing", "answered", "held", "resumed", "transferred", "left"),
            *("voicemail", "ended", "summary", "recorded"),
        )
    )
}
_STEPS = frozenset(("queued", "menu", "ringing", "answered", "held", "resumed", "transferred", "voicemail"))
_MOST_STEPS = 100
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Heard(NamedTuple):
    """An event, and when we heard of it: what counts where the provider does not say when it was."""

    event: CallEvent
    received_at: datetime

    @property
    def at(self) -> datetime:
        """When it happened, as well as we know."""
        return self.event.occurred_at or self.received_at


class Recorded(NamedTuple):
    """A recording there is. `seconds` is None where the provider does not say."""

    id: str
    reference: str
    seconds: int | None


class Picture(NamedTuple):
    """A call as far as it is known.

    status         ringing, in_progress, completed, missed, busy, failed, canceled, voicemail. A call that came in and
                   that nobody took is missed, whatever the line says of it
    answered_by    the extension that answered first; talks: the one that talked last, after transfers
    rang           every extension that rang, in order; rings: those that ring now
    wait_seconds   until somebody answered, or the end; talk_seconds: None where the end was never heard
    steps          for the timeline: {"at", "phase", "extension", "detail"}, in order
    """

    direction: str
    caller: str
    callee: str
    line: str
    status: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    is_over: bool
    is_lost: bool
    wait_seconds: int | None
    talk_seconds: int | None
    answered_by: str
    talks: str
    rang: tuple[str, ...]
    rings: tuple[str, ...]
    steps: tuple[dict[str, Any], ...]
    recordings: tuple[Recorded, ...]

    @property
    def number(self) -> str:
        """The other side's number, as it was written."""
        return self.callee if self.direction == "outbound" else self.caller


def fold(heard: Sequence[Heard], *, is_internal: Callable[[str], bool], direction: str = "") -> Picture:
    """Return the picture that these events of one call give. `is_internal` tells an extension from a number.

    `direction` is what is known of it beforehand: of a call we asked for.
    """
    known = sorted(heard, key=_order)
    events = [each.event for each in known]
    summary = next((event for event in reversed(events) if event.phase == "summary"), None)
    spoken = ([summary] if summary is not None else []) + events
    caller = _first(event.caller for event in spoken)
    callee = _first(event.callee for event in spoken)
    way = direction or _direction(_first(event.direction for event in spoken), caller, callee, is_internal)
    line = _first(event.line for event in spoken)
    if not line and way == "inbound" and callee and not is_internal(callee):
        line = callee

    ends = [each for each in known if each.event.phase in ("ended", "summary")]
    heard_ends = [each for each in ends if each.event.key != LOST]
    is_lost = bool(ends) and not heard_ends
    is_over = bool(ends)
    outcome = _outcome(summary, heard_ends)
    answers = [each for each in known if each.event.phase == "answered"]
    is_answered = outcome == "answered" or (
        bool(answers) and (summary is None or summary.outcome in ("", "voicemail")) and outcome != "voicemail"
    )
    started_at = _started(known, summary)
    ended_at = None
    if is_over:
        ended_at = summary.ended_at if summary is not None else None
        ended_at = ended_at or max(each.event.ended_at or each.at for each in (heard_ends or ends))
        ended_at = max(ended_at, started_at)
    answered_at = _answered(summary, answers, ended_at) if is_answered else None
    if answered_at is not None:
        answered_at = max(answered_at, started_at)
    summed_up_by = summary.extension if summary is not None and is_answered else ""
    return Picture(
        direction=way,
        caller=caller,
        callee=callee,
        line=line,
        status=_status(way, outcome, events, is_over=is_over, is_answered=is_answered),
        started_at=started_at,
        answered_at=answered_at,
        ended_at=ended_at,
        is_over=is_over,
        is_lost=is_lost,
        wait_seconds=_waited(summary, started_at, answered_at, ended_at),
        talk_seconds=None if is_lost or ended_at is None else _talked(events, answered_at, ended_at),
        answered_by=_first(each.event.extension for each in answers) or summed_up_by,
        talks=_first(each.event.extension for each in reversed(answers)) or summed_up_by,
        rang=tuple(dict.fromkeys(e.extension for e in events if e.phase == "ringing" and e.extension)),
        rings=() if is_over else _rings(known),
        steps=_steps(known),
        recordings=_recordings(events),
    )


def _order(heard: Heard) -> tuple[Any, ...]:
    event = heard.event
    # A provider that tells no times is taken by the place it gives, or by the order in which calls go.
    return (event.occurred_at is not None, event.occurred_at or _BEGINNING, event.seq, _RANKS[event.phase], event.key)


def _first(values: Any) -> str:
    return next((value for value in values if value), "")


def _direction(said: str, caller: str, callee: str, is_internal: Callable[[str], bool]) -> str:
    calls_inside, called_inside = bool(caller) and is_internal(caller), bool(callee) and is_internal(callee)
    if said == "internal" or (calls_inside and called_inside):
        return "internal"
    return said or ("outbound" if calls_inside else "inbound")


def _outcome(summary: CallEvent | None, ends: Sequence[Heard]) -> str:
    if summary is not None and summary.outcome:
        return summary.outcome
    return _first(each.event.outcome for each in reversed(ends))


def _status(way: str, outcome: str, events: Sequence[CallEvent], *, is_over: bool, is_answered: bool) -> str:
    if not is_over:
        return "in_progress" if is_answered else "ringing"
    if is_answered:
        return "completed"
    if outcome == "voicemail" or any(event.phase == "voicemail" for event in events):
        return "voicemail"
    return "missed" if way == "inbound" else outcome or "missed"


def _started(known: Sequence[Heard], summary: CallEvent | None) -> datetime:
    if summary is not None and summary.started_at is not None:
        return summary.started_at
    told = [each.event.started_at for each in known if each.event.started_at is not None]
    happened = [each.event.occurred_at for each in known if each.event.occurred_at is not None]
    return min(told or happened or [each.received_at for each in known])


def _answered(summary: CallEvent | None, answers: Sequence[Heard], ended_at: datetime | None) -> datetime | None:
    if summary is not None and summary.answered_at is not None:
        return summary.answered_at
    if answers:
        return answers[0].event.answered_at or answers[0].at
    if ended_at is None:
        return None
    return ended_at - timedelta(seconds=(summary.talk_seconds or 0) if summary is not None else 0)


def _waited(
    summary: CallEvent | None, started_at: datetime, answered_at: datetime | None, ended_at: datetime | None
) -> int | None:
    if summary is not None and summary.wait_seconds is not None:
        return max(0, summary.wait_seconds)
    until = answered_at or ended_at
    return None if until is None else max(0, round((until - started_at).total_seconds()))


def _talked(events: Sequence[CallEvent], answered_at: datetime | None, ended_at: datetime) -> int:
    if answered_at is None:
        return 0
    for event in reversed(events):
        if event.phase in ("ended", "summary") and event.talk_seconds is not None:
            return max(0, event.talk_seconds)
    return max(0, round((ended_at - answered_at).total_seconds()))


def _rings(known: Sequence[Heard]) -> tuple[str, ...]:
    """Return who rings now: phones whose last word was that they ring, and that nobody has answered since."""
    last: dict[str, tuple[str, str, int]] = {}
    answered = -1
    for place, each in enumerate(known):
        event = each.event
        if event.phase == "answered":
            answered = place
        if event.phase in ("ringing", "answered", "left"):
            last[event.leg_id or event.extension] = (event.phase, event.extension, place)
    found = [ext for phase, ext, place in last.values() if phase == "ringing" and ext and place > answered]
    return tuple(dict.fromkeys(found))


def _steps(known: Sequence[Heard]) -> tuple[dict[str, Any], ...]:
    steps: list[dict[str, Any]] = []
    seen: set[tuple[str, str, str, datetime]] = set()
    for each in known:
        event = each.event
        same = (event.phase, event.extension, event.detail, each.at)
        if event.phase in _STEPS and same not in seen and len(steps) < _MOST_STEPS:
            seen.add(same)
            steps.append(
                {
                    "at": each.at.isoformat(),
                    "phase": event.phase,
                    "extension": event.extension,
                    "detail": event.detail,
                }
            )
    return tuple(steps)


def _recordings(events: Sequence[CallEvent]) -> tuple[Recorded, ...]:
    found: dict[str, Recorded] = {}
    for event in events:
        if event.recording:
            name = event.recording_id or event.recording
            found[name[:200]] = Recorded(name[:200], event.recording, event.recording_seconds)
    return tuple(found.values())
