"""Calls from any PBX or script that can post JSON when something happens.

Reaches   any phone, through your PBX
Set up    have the PBX post what happens to the hook's address. Fields, all but the first two optional: `event`
          (started, queued, menu, ringing, answered, held, resumed, transferred, left, voicemail, ended, recorded),
          `call_id`, `id` (of the event), `leg_id`, `seq`, `direction` (inbound, outbound), `from`, `to`, `line`,
          `extension`, `at` (RFC 3339, or seconds since 1970), `outcome` (answered, missed, busy, failed, canceled,
          voicemail), `started_at`, `answered_at`, `ended_at`, `talk_seconds`, `wait_seconds`, `recording_url`,
          `dial_id` (of a call that we asked for), `detail`; or a list of such objects under `events`, at most 500.
          Usual other names (`caller`, `internal`, `duration`, …) are understood
Calls us  POST JSON or a form
Checks    X-Signature, the hex HMAC-SHA256 of the raw body under the signing secret; a request without that header
          must carry the token, in the query's `token`, the end of the path or as Bearer
Repeats   `id` with event and extension; without one an event is told by all it says
Quirks    a call that ends with `outcome` "" is judged by whether somebody answered. To place calls, `dial_url` gets a
          POST of {"id", "extension", "number", "line"} and may answer {"call_id": …}
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

import msgspec
from pydantic import Field, SecretStr

from channels import form_files, shared_secret, voice
from channels.contract import MANY, Dial, Dialled, Fetched, Group, ParseContext, Routed, Tools
from channels.errors import Misconfigured, Undeliverable
from channels.fields import LONGEST_ID, Fields, json_of
from core.kernel.envelopes import CallDirection, CallEvent, CallOutcome, CallPhase, Event
from webhooks.errors import Malformed, Unsupported
from webhooks.request import RawRequest, Reply

_MOST_EVENTS = 500
_CALL = ("call_id", "callid", "call_session_id", "linkedid", "uniqueid", "uuid", "session_id")
_EVENT = ("event", "phase", "status", "state", "type")
_WAY = ("direction", "call_direction", "type")
_FROM = ("from", "caller", "caller_id", "from_number", "src", "source", "phone")
_TO = ("to", "callee", "called", "to_number", "dst", "destination")
_LINE = ("line", "did", "called_did", "virtual_number", "trunk")
_EXTENSION = ("extension", "internal", "internal_number", "agent", "operator", "user")
_MOMENT = ("at", "timestamp", "time", "occurred_at")
_RECORDING = ("recording_url", "record_url", "recording", "record", "file_link")
_TALK = ("talk_seconds", "talk_time", "billsec", "duration")
_WAIT = ("wait_seconds", "wait_time", "waitsec")
_LONGEST_CALL = 7 * 24 * 3600
_LONGEST_ADDRESS = 2_000

_PHASES: Mapping[str, CallPhase] = {
    **{name: "started" for name in ("started", "start", "new", "initiated", "incoming", "created", "outgoing")},
    **{name: "queued" for name in ("queued", "queue", "enqueued", "waiting")},
    **{name: "menu" for name in ("menu", "ivr", "dtmf")},
    **{name: "ringing" for name in ("ringing", "ring", "dialing", "alerting", "call.ringing")},
    **{name: "answered" for name in ("answered", "answer", "connected", "talking", "in_progress", "in-progress", "up")},
    **{name: "held" for name in ("held", "hold", "on_hold")},
    **{name: "resumed" for name in ("resumed", "unhold", "resume")},
    **{name: "transferred" for name in ("transferred", "transfer")},
    **{name: "left" for name in ("left", "leg_ended")},
    **{name: "voicemail" for name in ("voicemail",)},
    **{name: "recorded" for name in ("recorded", "recording", "record", "recording_ready")},
    **{name: "summary" for name in ("summary", "cdr")},
    **{
        name: "ended"
        for name in (
            *("ended", "end", "hangup", "completed", "finished", "disconnected", "closed", "terminated"),
            *("missed", "no_answer", "no-answer", "noanswer", "unanswered", "busy", "failed", "canceled", "cancelled"),
        )
    },
}
_OUTCOMES: Mapping[str, CallOutcome] = {
    **{name: "answered" for name in ("answered", "answer", "completed", "success")},
    **{name: "missed" for name in ("missed", "no_answer", "no-answer", "noanswer", "no answer", "unanswered", "lost")},
    **{name: "busy" for name in ("busy",)},
    **{name: "failed" for name in ("failed", "error", "congestion", "chanunavail")},
    **{name: "canceled" for name in ("canceled", "cancelled", "cancel")},
    **{name: "voicemail" for name in ("voicemail", "vm")},
}
_DIRECTIONS: Mapping[str, CallDirection] = {
    **{name: "inbound" for name in ("inbound", "in", "incoming")},
    **{name: "outbound" for name in ("outbound", "out", "outgoing")},
    **{name: "internal" for name in ("internal", "local")},
}


class HttpVoice(voice.Consulted):
    """Hears of calls from whatever can post."""

    kind: ClassVar[str] = "voice_http"
    title: ClassVar[str] = "Telephony: any PBX (HTTP)"
    group: ClassVar[Group] = "telephony"
    account = ""

    class Settings(voice.VoiceSettings):
        """What an administrator fills in."""

        token: SecretStr = Field(
            SecretStr(""),
            title="Token",
            description="Requests that are not signed carry it in the address (?token=…).",
            json_schema_extra={"made": True},
        )
        secret: SecretStr = Field(
            SecretStr(""),
            title="Signing secret",
            description="For a PBX that can sign: X-Signature is then the hex HMAC-SHA256 of the body.",
            json_schema_extra={"advanced": True},
        )
        dial_url: str = Field(
            "",
            title="Address that places calls",
            description="A POST of {id, extension, number, line} there has the colleague's phone ring, then calls "
            "the number. Leave empty if your PBX cannot.",
            json_schema_extra={"advanced": True},
        )

    def __init__(self, settings: Settings) -> None:
        self._token = settings.token
        self._signing = settings.secret
        # A dialplan cannot sign: whoever asks who rings carries the token.
        self._secret = settings.token if settings.token.get_secret_value() else settings.secret
        self._dial_url = settings.dial_url.strip() or settings.base_url.strip()
        self.can_dial = bool(self._dial_url)
        self.rules = settings.rules

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature, or where there is no signing secret the token.

        Raises:
            BadSignature, NotConfigured: it is not genuine, or there is nothing to tell that by.
        """
        if self.check_question(request):
            return
        given, secret = request.headers.get("x-signature", ""), self._signing.get_secret_value()
        if not (given and secret):
            shared_secret.check(request, self._token, header="x-token")
            return
        expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
        voice.signed_hex(given.strip().removeprefix("sha256="), expected)

    def route(self, request: RawRequest) -> Routed:
        """Tell requests by what they say; those of one call keep their order.

        Raises:
            Malformed: the body is neither JSON nor a form.
        """
        said = _said(request)
        calls = {_call_id(fields) for fields in said}
        peer = calls.pop() if len(calls) == 1 else MANY
        return Routed("call:" + voice.digest(request.body), None, peer)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read every event of a request.

        Raises:
            Malformed: the body is neither JSON nor a form. Unsupported: no event of it is one we know.
        """
        said = _said(request)
        events = [event for fields in said if (event := _event(fields, context)) is not None]
        if said and not events:
            raise Unsupported("No event with a call_id and a known name is in it")
        return events

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say that it is kept."""
        return Reply(msgspec.json.encode({"ok": True, "reference": reference}))

    # --- out ---

    async def dial(self, dial: Dial, tools: Tools) -> Dialled:
        """Ask the PBX to place a call.

        Raises:
            ChannelError: it was not done, or we cannot know.
        """
        if not self._dial_url:
            raise Misconfigured("This PBX has no address that places calls: enter one in the channel's settings")
        headers = {}
        body = {"id": dial.id, "extension": dial.extension, "number": dial.number, "line": dial.line}
        if token := self._token.get_secret_value():
            headers["Authorization"] = f"Bearer {token}"
        if secret := self._signing.get_secret_value():
            content = msgspec.json.encode(body)
            headers["X-Signature"] = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
            answer = await tools.http.call(
                "POST", self._dial_url, body=content, headers={**headers, "Content-Type": "application/json"}
            )
        else:
            answer = await tools.http.call("POST", self._dial_url, json=body, headers=headers)
        if not answer.is_fine:
            raise answer.failure()
        try:
            said = Fields(msgspec.json.decode(answer.body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Dialled()
        if said.at("error") or said.at("ok").value is False or said.at("success").value is False:
            why = voice.first(said, ("error", "message", "detail")) or said.text("error", "message") or answer.text
            raise Undeliverable(f"The PBX does not place the call: {why.strip()[:200]}")
        return Dialled(said.id("call_id"))

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a recording by its address, which may not be one of the own network.

        Raises:
            Temporary: try again. Undeliverable: it is gone or refused for good.
        """
        return await form_files.fetch(reference, tools)


def _said(request: RawRequest) -> list[Fields]:
    """Return the events of a request, as objects.

    Raises:
        Malformed: it is neither JSON nor a form, or holds too many events.
    """
    if request.body.lstrip()[:1] in (b"{", b"["):
        found = json_of(request)
        listed = list(found.items("events")) or list(found.items())
        if len(listed) > _MOST_EVENTS:
            raise Malformed(f"The request holds {len(listed)} events: send at most {_MOST_EVENTS} at once")
        return listed or ([found] if found.value else [])
    if not request.body.strip():
        raise Malformed("The request has no body: post the event as JSON")
    return [Fields(voice.form_of(request))]


def _event(fields: Fields, context: ParseContext) -> CallEvent | None:
    call_id = _call_id(fields)
    names = [voice.first(fields, (name,)).lower().removeprefix("call.").removeprefix("call_") for name in _EVENT]
    name = next((name for name in names if name in _PHASES), "")
    if not call_id or not name:
        return None
    phase = _PHASES[name]
    said = voice.first(fields, ("outcome", "disposition", "result")).lower()
    outcome = _OUTCOMES.get(said, "") or ("" if name in ("completed", "ended") else _OUTCOMES.get(name, ""))
    own_id = fields.id("event_id") or (fields.id("id") if voice.first(fields, _CALL) else "")
    recording = voice.first(fields, _RECORDING)
    if not recording.startswith(("http://", "https://")) or len(recording) > _LONGEST_ADDRESS:
        recording = ""
    is_over = phase in ("ended", "summary")
    extension = voice.extension_of(voice.first(fields, _EXTENSION))
    seq = _whole(fields, ("seq", "sequence"))
    return CallEvent(
        call_id=call_id,
        # Some give every event of a call the same id.
        key=f"{own_id}:{name}:{extension}" if own_id else _fingerprint(name, fields),
        phase=phase,
        leg_id=fields.id("leg_id") or extension,
        seq=seq or 0,
        occurred_at=_moment(fields, _MOMENT, context),
        direction=next((way for key in _WAY if (way := _DIRECTIONS.get(fields.text(key).strip().lower()))), ""),
        caller=voice.number_of(voice.first(fields, _FROM)),
        callee=voice.number_of(voice.first(fields, _TO)),
        line=voice.number_of(voice.first(fields, _LINE)),
        extension=extension,
        our_id=fields.id("our_id") or fields.id("dial_id"),
        outcome=outcome if is_over else "",
        started_at=_moment(fields, ("started_at",), context),
        answered_at=_moment(fields, ("answered_at",), context),
        ended_at=_moment(fields, ("ended_at",), context),
        talk_seconds=_whole(fields, _TALK) if is_over else None,
        wait_seconds=_whole(fields, _WAIT) if is_over else None,
        recording=recording,
        recording_id=fields.id("recording_id") or (voice.digest(recording) if recording else ""),
        recording_seconds=_whole(fields, ("recording_seconds",)),
        detail=fields.text("detail")[:300],
    )


def _call_id(fields: Fields) -> str:
    found = "".join(voice.first(fields, _CALL).split())[:LONGEST_ID]
    return found or (fields.id("id") if "event" in fields else "")


def _whole(fields: Fields, names: Sequence[str]) -> int | None:
    """Return the first of these that is a whole number, if it is one that a call can have."""
    found = next((number for name in names if (number := fields.whole(name)) is not None), None)
    return found if found is not None and 0 <= found <= _LONGEST_CALL else None


def _moment(fields: Fields, names: Sequence[str], context: ParseContext) -> datetime | None:
    """Return the first of these that is a moment: seconds since 1970, with a fraction or without, or written out."""
    for name in names:
        written = fields.text(name).strip()
        if re.fullmatch(r"[0-9]{9,13}(\.[0-9]{1,9})?", written):
            if (found := Fields(int(written.partition(".")[0])).moment()) is not None:
                return found
        elif written and (found := voice.local_moment(written, context.time_zone)) is not None:
            return found.astimezone(UTC)
    return None


def _fingerprint(name: str, fields: Fields) -> str:
    return voice.digest(name, *(f"{key}={fields.text(key)}" for key in sorted(fields.keys())))
