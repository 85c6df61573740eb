"""Notifications of UIS, read: the body an administrator wrote, with what UIS put into it.

What happened is said by the constant `event` of our bodies (`channels.voice_uis.templates`). A body without it is told
by the fields it has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import msgspec

from channels import shared_secret, voice
from channels.contract import ParseContext
from channels.fields import Fields
from core.kernel.envelopes import CallDirection, CallEvent, CallOutcome, CallPhase
from webhooks import charsets
from webhooks.errors import Malformed
from webhooks.request import RawRequest

_LONGEST_CALL = 7 * 24 * 3600
_UNREPLACED = re.compile(r"\"?\{\{[^{}]*\}\}\"?")
_LEFT_EMPTY = re.compile(r":\s*(?=[,}\n])")
_PHASES: Mapping[str, CallPhase] = {
    "call_started": "started",
    "call_placed": "started",
    "ringing": "ringing",
    "talk_started": "answered",
    "talk_finished": "left",
    "call_finished": "summary",
    "call_lost": "ended",
    "recording": "recorded",
}
# What an event without our constant is told by: the first of these names that its body has.
_TOLD_BY = (
    ("file_link", "recording"),
    ("total_time_duration", "call_finished"),
    ("employee_ids", "call_lost"),
    ("leg_ids", "talk_started"),
    ("leg_id", "ringing"),
    ("employee_phone_number", "call_placed"),
    ("scenario_name", "call_started"),
)


def said(request: RawRequest) -> Fields:
    """Read a notification, from the body, or of a GET from the query.

    Raises:
        Malformed: it is no JSON, even if placeholders that were not replaced are taken for null.
    """
    text = charsets.clean(request.body.decode("utf-8", "replace")).strip()
    if not text:
        try:
            pairs = parse_qsl(request.query, keep_blank_values=True, max_num_fields=200)
        except ValueError as error:
            raise Malformed(f"The query cannot be read: {error}") from error
        values = {name: value.strip().strip('"') for name, value in pairs if name not in shared_secret.NAMES}
        return Fields({name: None if value in ("", "null") else value for name, value in values.items()})
    for written in (text, _LEFT_EMPTY.sub(":null", _UNREPLACED.sub("null", text))):
        try:
            found = msgspec.json.decode(written)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(found, dict):
            return Fields(found)
        raise Malformed("The body is JSON, but no object. Paste the one shown with the channel")
    raise Malformed("The notification's body is no JSON. Was it edited? Paste the one shown with the channel")


def event(fields: Fields, context: ParseContext, extensions: Mapping[str, str]) -> CallEvent | None:
    """Return what a notification tells of a call; None if that is nothing we know.

    `extensions` are the colleagues' by the ID of the employee; of others the ID is taken.
    """
    call_id, name = fields.id("call_session_id"), _name(fields)
    phase = _PHASES.get(name)
    if not call_id or phase is None:
        return None
    employee = fields.id("employee_id")
    extension = extensions.get(employee) or voice.extension_of(
        voice.first(fields, ("extension", "extension_phone_number")) or employee or fields.text("employee_phone_number")
    )
    contact = voice.number_of(fields.text("contact_phone_number"))
    line = voice.number_of(fields.text("virtual_phone_number"))
    direction = _direction(fields, name)
    happened = _moment(fields, "notification_time", context)
    total, talk = _seconds(fields, "total_time_duration"), _seconds(fields, "talk_time_duration")
    recording = fields.text("file_link").strip()
    is_over, is_final = phase in ("ended", "summary"), phase == "summary"
    outcome = _outcome(fields, name, talk) if is_over else ""
    started_at = _moment(fields, "start_time", context) if is_final else None
    if is_final and started_at is None and happened is not None and total is not None:
        started_at = happened - timedelta(seconds=total)
    return CallEvent(
        call_id=call_id,
        key=key(fields),
        phase=phase,
        leg_id=(extension or fields.id("leg_id")) if phase in ("ringing", "answered", "left") else "",
        occurred_at=happened,
        direction=direction,
        caller=contact if direction == "inbound" else extension if direction == "outbound" else "",
        callee=line if direction == "inbound" else contact if direction == "outbound" else "",
        line=line,
        # Of a call that nobody took it is whoever rang last.
        extension=extension if not is_final or outcome == "answered" else "",
        our_id=fields.id("external_id"),
        outcome=outcome,
        started_at=started_at,
        ended_at=happened if is_final else None,
        talk_seconds=talk if is_final else None,
        wait_seconds=_seconds(fields, "wait_time_duration") if is_over else None,
        recording=recording[:2_000] if phase == "recorded" and recording.startswith(("http://", "https://")) else "",
        recording_id=voice.digest(recording) if phase == "recorded" and recording else "",
        recording_seconds=_seconds(fields, "file_duration") if phase == "recorded" else None,
        detail=fields.text("scenario_name")[:300] if phase in ("started", "summary") else "",
    )


def key(fields: Fields) -> str:
    """Return what tells a notification from the others of its call."""
    name = _name(fields)
    if name == "recording":
        return f"{name}:{voice.digest(fields.text('file_link'))}"
    if name not in ("ringing", "talk_started", "talk_finished"):
        return name[:60]
    legs = fields.id("leg_id") or ",".join(sorted(leg.id() for leg in fields.items("leg_ids")))[:150]
    # Without its legs, a second talk with the same employee is told by its time.
    return f"{name}:{fields.id('employee_id')[:20]}:{legs or voice.digest(fields.text('notification_time'))}"


def _direction(fields: Fields, name: str) -> CallDirection:
    if fields.flag("is_internal"):
        return "internal"
    if told := fields.text("direction").strip().lower():
        return "inbound" if told.startswith("in") else "outbound" if told.startswith("out") else ""
    return "outbound" if name == "call_placed" else "inbound" if name in ("call_started", "call_lost") else ""


def _outcome(fields: Fields, name: str, talk: int | None) -> CallOutcome:
    if name == "call_lost" or fields.flag("is_lost"):
        return "missed"
    return "" if talk is None else "answered" if talk else "missed"


def _seconds(fields: Fields, name: str) -> int | None:
    found = fields.whole(name)
    return found if found is not None and 0 <= found <= _LONGEST_CALL else None


def _moment(fields: Fields, name: str, context: ParseContext) -> datetime | None:
    found = voice.local_moment(fields.text(name), context.time_zone)
    return None if found is None else found.astimezone(UTC)


def _name(fields: Fields) -> str:
    given = fields.text("event").strip().lower()
    if given:
        return given
    if "leg_ids" in fields and "talk_time_duration" in fields:
        return "talk_finished"
    return next((name for field, name in _TOLD_BY if field in fields), "")
