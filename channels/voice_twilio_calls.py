"""What Twilio says of a call, and what it is told to do: its callbacks read, and TwiML written.

A call has a parent (the one that came in, or that we asked for) and a child for every phone that `<Dial>` rings.
Whether anybody talked is told by the children and by the end of `<Dial>` alone: a parent that a menu picked up is
`completed`, too. As twilio.com/docs/voice/twiml/dial, …/twiml/number and …/api/call-resource tell it, from memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from channels import voice
from channels.sms import Said
from core.kernel.envelopes import CallEvent, CallOutcome, CallPhase

EMPTY = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
"""TwiML that does nothing: a call that has nothing else to do ends."""

EVENTS = ("initiated", "ringing", "answered", "completed")
MOST_PHONES = 10
"""Phones that one `<Dial>` rings at once."""

_NAMED = re.compile(r"([\w.-]+)\s*=\s*(.+)")
_NUMBER = re.compile(r"\+?[0-9][0-9 ().-]{4,24}")
_CLIENT = re.compile(r"client:[^\s<>&\"']{1,256}", re.IGNORECASE)
_SIP = re.compile(r"sips?:[^\s<>\"']{1,255}", re.IGNORECASE)
_LONGEST_CALL = 7 * 24 * 3600
_OVER = frozenset(("completed", "busy", "no-answer", "failed", "canceled"))
_OUTCOMES: Mapping[str, CallOutcome] = {
    "completed": "answered",
    "answered": "answered",
    "no-answer": "missed",
    "busy": "busy",
    "failed": "failed",
    "canceled": "canceled",
}


class Phone(NamedTuple):
    """A phone of ours: what it is called in the workspace, and what Twilio dials (`+…`, `client:…`, `sip:…`)."""

    extension: str
    address: str


def phone_of(line: str) -> Phone | None:
    """Read a phone, `+14155550123`, `client:vera`, `sip:101@…`, or one with its extension: `101 = sip:vera@…`.

    None if it is none.
    """
    written = " ".join(line.split())
    named = _NAMED.fullmatch(written)
    address = named[2] if named else written
    if _NUMBER.fullmatch(address):
        address = re.sub(r"[^+0-9]", "", address)
    elif not (_CLIENT.fullmatch(address) or _SIP.fullmatch(address)):
        return None
    return Phone(named[1] if named else bare(address), address)


def bare(address: str) -> str:
    """Return what Twilio calls a party without its kind: `client:vera` is `vera`, `sip:101@acme` is `101`."""
    return voice.extension_of(re.sub(r"^client:", "", voice.number_of(address), flags=re.IGNORECASE))


def whose(address: str, phones: Sequence[Phone]) -> str:
    """Return the extension of a phone of ours by what Twilio calls it; "" if it is none."""
    said = bare(address).lower()
    return next((phone.extension for phone in phones if said and bare(phone.address).lower() == said), "")


# --- what it says ---


def call_of(said: Said) -> str:
    """Return the id of the whole call: the parent's."""
    return said.id("ParentCallSid") or said.id("CallSid")


def key_of(said: Said) -> str:
    """Return what tells a callback from the others of its call; "" for a request that is none."""
    sid = said.id("CallSid")
    if (recording := _recording_id(said)) and not said.text("DialCallStatus"):
        return f"{recording}:{said.id('RecordingStatus').lower() or 'completed'}"
    if status := said.id("DialCallStatus").lower():
        return f"{sid}:dial:{said.id('DialCallSid') or status}"
    status = said.id("CallStatus").lower()
    return f"{sid}:{status}" if sid and status else ""


def asks_what_to_do(said: Said) -> bool:
    """Whether Twilio wants to know what to do with a call that came in: the voice URL."""
    is_report = any(name in said for name in ("CallbackSource", "SequenceNumber", "DialCallStatus", "ParentCallSid"))
    return (
        bool(said.id("CallSid"))
        and not is_report
        and not _recording_id(said)
        and said.text("Direction").lower() == "inbound"
        and said.text("CallStatus").lower() in ("ringing", "in-progress")
    )


def events(said: Said, phones: Sequence[Phone]) -> list[CallEvent]:
    """Read a callback; [] for one that says nothing new."""
    call_id = call_of(said)
    if not call_id:
        return []
    if said.text("DialCallStatus"):
        return [_dialled(said, call_id, phones), *_recorded(said, call_id)]
    if _recording_id(said):
        return _recorded(said, call_id)
    event = _of_child(said, call_id, phones) if said.id("ParentCallSid") else _of_parent(said, call_id, phones)
    return [event] if event is not None else []


def _of_parent(said: Said, call_id: str, phones: Sequence[Phone]) -> CallEvent | None:
    status, ours = said.text("CallStatus").lower(), said.id("dial")
    phase: CallPhase
    outcome: CallOutcome = ""
    if status in ("queued", "initiated", "ringing"):
        phase = "ringing" if ours and status == "ringing" else "started"
    elif status in _OVER:
        phase = "ended"
        # Of a call we asked for, the parent is the colleague's phone: nobody called the customer yet.
        outcome = "" if status == "completed" else "canceled" if ours and status != "failed" else _OUTCOMES[status]
    else:
        return None  # picked up, by whomever
    caller, callee, line, way = _parties(said, phones)
    return CallEvent(
        call_id=call_id,
        key=key_of(said),
        phase=phase,
        leg_id=call_id if phase == "ringing" else "",
        seq=_seq(said),
        occurred_at=_moment(said),
        direction="inbound" if way == "inbound" else "outbound",
        caller=caller,
        callee=callee,
        line=line,
        extension=said.id("extension") if ours and phase == "ringing" else "",
        our_id=ours,
        outcome=outcome,
        detail=status if outcome else "",
    )


def _of_child(said: Said, call_id: str, phones: Sequence[Phone]) -> CallEvent | None:
    status, ours, to = said.text("CallStatus").lower(), said.id("dial"), said.text("To")
    phase: CallPhase
    if status == "ringing":
        phase = "ringing"
    elif status == "in-progress":
        phase = "answered"
    elif status in _OVER:
        phase = "left"
    else:
        return None
    extension = said.id("extension") if ours else whose(to, phones) or bare(to)
    return CallEvent(
        call_id=call_id,
        key=key_of(said),
        phase=phase,
        leg_id=said.id("CallSid"),
        seq=_seq(said),
        occurred_at=_moment(said),
        direction="outbound" if ours else "",
        caller=said.id("extension") if ours else voice.number_of(said.text("From")),
        callee=voice.number_of(said.text("number") or to) if ours else "",
        line=voice.number_of(said.text("From")) if ours else "",
        # While the customer's phone rings, no colleague's does.
        extension="" if ours and phase == "ringing" else extension,
        our_id=ours,
        detail=status if phase == "left" and status != "completed" else "",
    )


def _dialled(said: Said, call_id: str, phones: Sequence[Phone]) -> CallEvent:
    caller, callee, line, way = _parties(said, phones)
    status = said.text("DialCallStatus").lower()
    return CallEvent(
        call_id=call_id,
        key=key_of(said),
        phase="summary",
        direction="inbound" if way == "inbound" else "outbound",
        caller=caller,
        callee=callee,
        line=line,
        our_id=said.id("dial"),
        outcome=_OUTCOMES.get(status, ""),
        talk_seconds=_seconds(said, "DialCallDuration"),
        detail=status if _OUTCOMES.get(status) != "answered" else "",
    )


def _recorded(said: Said, call_id: str) -> list[CallEvent]:
    name, url = _recording_id(said), said.text("RecordingUrl").strip()
    if not name or not url or said.text("RecordingStatus").lower() not in ("completed", ""):
        return []
    found = CallEvent(
        call_id=call_id,
        key=f"{name}:completed",
        phase="recorded",
        our_id=said.id("dial"),
        recording=url[:2_000],
        recording_id=name,
        recording_seconds=_seconds(said, "RecordingDuration"),
    )
    if said.text("RecordingSource") != "RecordVerb":
        return [found]
    return [CallEvent(call_id=call_id, key=f"{name}:voicemail", phase="voicemail"), found]


def _parties(said: Said, phones: Sequence[Phone]) -> tuple[str, str, str, str]:
    """Return who calls, who is called, the number of ours, and the way the parent goes."""
    source, to = voice.number_of(said.text("From")), voice.number_of(said.text("To"))
    if said.id("dial"):
        return said.id("extension"), voice.number_of(said.text("number")), source, "outbound"
    if said.text("Direction").lower() != "inbound":
        return "", to, source, "outbound"
    if own := whose(source, phones):
        return own, bare(to), "", "outbound"  # a colleague calls from an app or a SIP phone
    return source, to, to, "inbound"


def _recording_id(said: Said) -> str:
    return said.id("RecordingSid") or said.id("RecordingUrl").rpartition("/")[2].partition(".")[0]


def _seq(said: Said) -> int:
    number = said.whole("SequenceNumber")
    return number + 1 if number is not None and 0 <= number < 10_000 else 0


def _seconds(said: Said, name: str) -> int | None:
    found = said.whole(name)
    return found if found is not None and 0 <= found <= _LONGEST_CALL else None


def _moment(said: Said) -> datetime | None:
    """Read a moment as RFC 2822 writes it: `Fri, 20 Nov 2026 08:58:00 +0000`."""
    try:
        found = parsedate_to_datetime(said.text("Timestamp"))
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return found if 2000 <= found.year <= 2100 else None


# --- what it is told ---


class Told(NamedTuple):
    """How phones are to be rung.

    hook       where to report; "" nowhere
    query      what reports carry back, `dial=…`
    caller_id  the number to show; "" the caller's own
    seconds    how long it rings
    """

    hook: str
    query: str = ""
    caller_id: str = ""
    seconds: int = 25
    records: bool = False


def dial(addresses: Sequence[str], told: Told) -> str:
    """Write TwiML that rings phones until one answers, and reports on each of them, the end and the recording."""
    url = told.hook + (f"?{told.query}" if told.query else "") if told.hook else ""
    about = {"answerOnBridge": "true", "timeout": str(told.seconds), "callerId": told.caller_id, "action": url}
    if told.records:
        about |= {"record": "record-from-answer-dual", "recordingStatusCallback": url}
    reports = {"statusCallback": url, "statusCallbackEvent": " ".join(EVENTS) if url else ""}
    nouns = "".join(_noun(address, reports) for address in addresses[:MOST_PHONES])
    return f'<?xml version="1.0" encoding="UTF-8"?><Response><Dial{_written(about)}>{nouns}</Dial></Response>'


def reports(**fields: str) -> str:
    """Return the query that reports on a call of ours carry back."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items() if value)


def _noun(address: str, about: Mapping[str, str]) -> str:
    kind, _, rest = address.partition(":")
    if kind.lower() == "client":
        return f"<Client{_written(about)}>{escape(rest)}</Client>"
    noun = "Sip" if kind.lower() in ("sip", "sips") else "Number"
    return f"<{noun}{_written(about)}>{escape(address)}</{noun}>"


def _written(about: Mapping[str, str]) -> str:
    return "".join(f" {name}={quoteattr(value)}" for name, value in about.items() if value)
