"""Binotel's requests, read: forms with PHP brackets or JSON, and what each tells of a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from channels import voice
from channels.fields import Fields, json_of
from core.kernel.envelopes import CallDirection, CallEvent, CallOutcome, CallPhase
from webhooks.errors import Malformed
from webhooks.request import RawRequest

_LONGEST_CALL = 7 * 24 * 3600
_DEEPEST = 6
_PHASES: Mapping[str, CallPhase] = {
    "receivedTheCall": "started",
    "answeredTheCall": "answered",
    "transferredTheCall": "transferred",
    "hangupTheCall": "ended",
    "apiCallCompleted": "summary",
}
_TALKED = frozenset(("ANSWER", "TRANSFER", "SUCCESS"))
_OUTCOMES: Mapping[str, CallOutcome] = {
    "BUSY": "busy",
    "NOANSWER": "missed",
    "CANCEL": "canceled",
    "CONGESTION": "failed",
    "CHANUNAVAIL": "failed",
    "VM": "missed",  # the answering machine heard nothing
    "VM-SUCCESS": "voicemail",
}
_UNRECORDED = frozenset(("none", "no", "not-recorded", "disabled", "off", "failed", "error"))


def said(request: RawRequest) -> Fields:
    """Read a request.

    Raises:
        Malformed: it is neither JSON nor a form.
    """
    if request.body.lstrip()[:1] == b"{":
        return json_of(request)
    if not request.body.strip():
        raise Malformed("The request has no body")
    return Fields(_nested(voice.form_of(request)))


def _nested(form: Mapping[str, str]) -> dict[str, Any]:
    """Take PHP's brackets apart: `callDetails[employeeData][name]` lies at these three names."""
    found: dict[str, Any] = {}
    for name, value in form.items():
        path = [name.partition("[")[0], *re.findall(r"\[([^\[\]]*)\]", name)][:_DEEPEST]
        place = found
        for step in path[:-1]:
            inner = place.setdefault(step, {})
            if not isinstance(inner, dict):
                inner = place[step] = {}
            place = inner
        place.setdefault(path[-1], value)
    return found


def details(fields: Fields) -> Fields:
    """Return what a request tells of the call: apiCallCompleted has it within, sometimes under the call's own id."""
    found = fields.at("callDetails")
    if "generalCallID" in found or not found.keys():
        return found if "generalCallID" in found else fields
    inner = found.at(found.keys()[0])
    return inner if "generalCallID" in inner else found


def kind(fields: Fields) -> str:
    """Return what a request is; some integrations send no requestType, and are told by what they hold."""
    if given := fields.id("requestType"):
        return given
    if "callDetails" in fields:
        return "apiCallCompleted"
    if not fields.id("generalCallID"):
        return ""
    return "hangupTheCall" if "disposition" in fields or "billsec" in fields else "receivedTheCall"


def company(fields: Fields) -> str:
    """Return the company a request is about; "" where it does not say."""
    return fields.id("companyID") or details(fields).id("companyID")


def call_of(fields: Fields) -> str:
    """Return the id of the whole call."""
    return details(fields).id("generalCallID")


def key(fields: Fields) -> str:
    """Return what tells an event from the others of its call."""
    name = kind(fields)[:40]
    return name if name in ("hangupTheCall", "apiCallCompleted") else f"{name}:{_extension(details(fields))[:60]}"


def events(fields: Fields) -> list[CallEvent]:
    """Read a request; [] for one that tells of no call."""
    name, call = kind(fields), details(fields)
    call_id, phase = call.id("generalCallID"), _PHASES.get(name)
    disposition = call.text("disposition").strip().upper()
    if not call_id or phase is None or disposition.startswith("SMS"):
        return []
    extension = _extension(call)
    direction = _direction(call)
    other = voice.number_of(voice.first(call, ("externalNumber", "srcNumber")))
    line = voice.number_of(
        call.text("pbxNumberData", "number").strip() or voice.first(call, ("pbxNumber", "didNumber", "did"))
    )
    if name == "receivedTheCall" and direction == "inbound" and extension:
        phase = "ringing"
    if name == "apiCallCompleted" and disposition == "ONLINE":
        phase = "started"  # it goes on
    is_over, is_final = phase in ("ended", "summary"), phase == "summary"
    talk, wait = _seconds(call, "billsec"), _seconds(call, "waitsec")
    outcome = _outcome(disposition, talk) if is_over else ""
    started_at = call.moment("startTime")
    found = [
        CallEvent(
            call_id=call_id,
            key=key(fields) if disposition != "ONLINE" else f"{name}:online",
            phase=phase,
            leg_id=extension if phase in ("ringing", "answered") else "",
            direction=direction,
            caller=extension if direction == "outbound" else other if direction == "inbound" else "",
            callee=other if direction == "outbound" else line if direction == "inbound" else "",
            line=line,
            # Of a call that nobody took it is whoever rang last.
            extension=extension if not is_final or outcome == "answered" else "",
            outcome=outcome,
            started_at=started_at,
            answered_at=_after(started_at, wait) if is_final and talk and wait is not None else None,
            ended_at=_after(started_at, (wait or 0) + talk) if is_final and talk is not None else None,
            talk_seconds=talk if is_over else None,
            wait_seconds=wait if is_final else None,
            detail=disposition[:40] if is_over and disposition != "ANSWER" else "",
        )
    ]
    if is_final and _is_recorded(call, disposition, talk):
        found.append(
            CallEvent(
                call_id=call_id,
                key="recording",
                phase="recorded",
                recording=call_id,
                recording_id=call_id,
                recording_seconds=talk,
            )
        )
    return found


def _extension(call: Fields) -> str:
    found = voice.first(call, ("internalNumber", "extNumber"))
    return voice.extension_of(found or call.text("employeeData", "extNumber"))


def _direction(call: Fields) -> CallDirection:
    return {"0": "inbound", "1": "outbound"}.get(call.text("callType").strip(), "")  # type: ignore[return-value]


def _outcome(disposition: str, talk: int | None) -> CallOutcome:
    if disposition in _TALKED:
        return "answered" if talk else "missed"
    return _OUTCOMES.get(disposition, "answered" if talk and not disposition else "")


def _is_recorded(call: Fields, disposition: str, talk: int | None) -> bool:
    is_said_not_to_be = call.text("recordingStatus").strip().lower() in _UNRECORDED
    return not is_said_not_to_be and bool(talk) and (disposition in _TALKED or disposition == "VM-SUCCESS")


def _seconds(call: Fields, name: str) -> int | None:
    found = call.whole(name)
    return found if found is not None and 0 <= found <= _LONGEST_CALL else None


def _after(moment: datetime | None, seconds: int) -> datetime | None:
    return None if moment is None else moment + timedelta(seconds=seconds)
