"""Calls of a Zadarma PBX.

Reaches   any phone, through the PBX of a Zadarma account
Set up    key and secret from the cabinet, Settings → Integrations and API → Keys; there, under Notifications, enter the
          hook's address and tick all events of calls. The connection's time zone must be the account's, for Zadarma
          writes moments without one (`check` shows it)
Calls us  POST of a form, sometimes multipart under a boundary that its header does not name; GET ?zd_echo=… when the
          address is entered
Checks    Signature: base64 of the hex HMAC-SHA1, under the secret, of a few fields; which ones depends on the event.
          Length and outcome of a call are not among them
Repeats   by all fields of the request; events of a call by their name, phone and start. Whether Zadarma tries again
          after an error is not known to us
Quirks    what we answer to NOTIFY_START is a command: nothing, or whom to put the caller through to. NOTIFY_END says
          "answered" of a menu, too: without an extension nobody knows whether a person did. Recordings are ready some
          40 seconds after the call, under links that expire. Callbacks carry no id of ours
Sources   Zadarma's own PHP library (user-api-v1) for signatures, events and requests. NOTIFY_INTERNAL_END is documented
          nowhere, and that NUMBER_LOOKUP asks who rings is unconfirmed: it is answered and not kept
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from pydantic import Field, SecretStr

from channels import shared_secret, voice, voice_forms
from channels.contract import Advice, Checked, Dial, Dialled, Fetched, Group, ParseContext, Routed, Tools
from channels.errors import ChannelError, Temporary, Unauthorised, Uncertain, Undeliverable
from channels.fields import LONGEST_ID, Fields
from channels.http import Answer
from core.kernel.envelopes import CallDirection, CallEvent, CallOutcome, CallPhase, Event
from webhooks.errors import BadSignature, Malformed, NotConfigured, Unsupported
from webhooks.request import RawRequest, Reply

API = "https://api.zadarma.com"

_LOOKUP = "NUMBER_LOOKUP"
_RECORDING_DUE = 40.0  # seconds after a call until its recording can be had
_RETURN_AFTER = 20  # seconds the manager's phone rings before the caller goes back to the menu
_LONGEST_CALL = 30 * 86_400  # seconds; what says more is no length
_ECHO = re.compile(r"[\x21-\x7e]{1,200}")
_EXTENSION = re.compile(r"[0-9]{3,5}")  # a shorter "redirect" names a scenario of the PBX, not a phone
_RECORDING = re.compile(r"(?:pbx:)?[\w.:-]{1,200}", re.ASCII)

_CALLED = ("caller_id", "called_did", "call_start")
_DIALLED = ("internal", "destination", "call_start")
_RESULT = ("result",)
_SIGNED: Mapping[str, tuple[str, ...]] = {
    "NOTIFY_START": _CALLED,
    "NOTIFY_INTERNAL": _CALLED,
    "NOTIFY_END": _CALLED,
    "NOTIFY_IVR": _CALLED,
    "NOTIFY_ANSWER": ("caller_id", "destination", "call_start"),
    "NOTIFY_OUT_START": _DIALLED,
    "NOTIFY_OUT_END": _DIALLED,
    "NOTIFY_RECORD": ("pbx_call_id", "call_id_with_rec"),
    "SMS": _RESULT,
    _LOOKUP: _RESULT,
    "CALL_TRACKING": _RESULT,
}
"""What the signature of each event is made of; an event that is not here may be signed like any of them."""

_PHASES: Mapping[str, CallPhase] = {
    "NOTIFY_START": "started",
    "NOTIFY_INTERNAL": "ringing",
    "NOTIFY_INTERNAL_END": "left",
    "NOTIFY_ANSWER": "answered",
    "NOTIFY_IVR": "menu",
    "NOTIFY_END": "summary",
    "NOTIFY_OUT_START": "started",
    "NOTIFY_OUT_END": "summary",
    "NOTIFY_RECORD": "recorded",
}
_OUTCOMES: Mapping[str, CallOutcome] = {
    "answered": "answered",
    "busy": "busy",
    "cancel": "canceled",
    "no answer": "missed",
    "failed": "failed",
    "no money": "failed",
    "unallocated number": "failed",
    "no limit": "failed",
    "no day limit": "failed",
    "line limit": "failed",
    "no money, no limit": "failed",
}


class ZadarmaVoice(voice.Consulted):
    """Hears of the calls of a Zadarma PBX, places calls and fetches their recordings."""

    kind: ClassVar[str] = "voice_zadarma"
    title: ClassVar[str] = "Telephony: Zadarma"
    group: ClassVar[Group] = "telephony"
    account = ""

    class Settings(voice.VoiceSettings):
        """What an administrator fills in."""

        api_key: str = Field(title="Key", description="Of the API, from Settings → Integrations and API.", min_length=1)
        api_secret: SecretStr = Field(title="Secret", description="It stands beside the key.")

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key.strip()
        self._signing = settings.api_secret
        self._secret = settings.secret
        self._api = settings.base_url.strip().rstrip("/") or API
        self.rules = settings.rules

    # --- in ---

    def handshake(self, request: RawRequest) -> Reply | None:
        """Repeat what Zadarma sends when our address is entered."""
        if request.method != "GET":
            return None
        try:
            echo = dict(parse_qsl(request.query, max_num_fields=50)).get("zd_echo", "")
        except ValueError:
            return None
        if not _ECHO.fullmatch(echo):
            return None
        return Reply(echo.encode(), content_type="text/plain; charset=utf-8")

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature.

        Raises:
            BadSignature, NotConfigured: it is not genuine, or we have no secret to tell. Malformed: it is no form.
        """
        if not self._looks_up(request) and self.check_question(request):
            return
        secret = self._signing.get_secret_value()
        if not secret:
            raise NotConfigured("This channel has no API secret yet, so nothing is accepted. Enter it in its settings")
        given = request.headers.get("signature", "").strip()
        if not given:
            raise BadSignature("The request carries no signature. Nothing was stored")
        said = voice_forms.exact(request)
        names = _SIGNED.get(said.get("event", b"").decode("utf-8", "replace").strip())
        for signed in [names] if names else dict.fromkeys(_SIGNED.values()):
            text = b"".join(said.get(name, b"") for name in signed)
            if text and shared_secret.same(given, _signature(secret, text)):
                return
        raise BadSignature("The signature is not right. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell requests by all they say; those of one call keep their order.

        Raises:
            Malformed: it is no form.
        """
        said = Fields(voice.form_of(request))
        key = voice.digest(*(f"{name}={said.text(name)}" for name in sorted(said.keys())))
        return Routed(f"{said.id('event')[:40]}:{key}", None, said.id("pbx_call_id"))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read an event, and the recording that the end of a call may name.

        Raises:
            Malformed: it is no form, or names no call. Unsupported: it is no event of a call.
        """
        said = Fields(voice.form_of(request))
        name = said.id("event")
        phase = _PHASES.get(name)
        if phase is None:
            raise Unsupported(f"{name[:60] or 'A request without an event'} tells of no call")
        if not said.id("pbx_call_id"):
            raise Malformed(f"{name} has no pbx_call_id")
        if phase == "recorded":
            return [_recorded(said)]
        events = [_event(said, name, phase, context)]
        if phase == "summary" and said.flag("is_recorded") and said.id("call_id_with_rec"):
            events.append(_recorded(said))
        return events

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing: JSON would be a command."""
        return voice.ok()

    # --- who rings ---

    def asked(self, request: RawRequest) -> str | None:
        """Return the number that rings, where Zadarma waits for our word on it."""
        if super().is_question(request) and not self._looks_up(request):
            return super().asked(request)
        said = _form(request)
        if said.id("event") == "NOTIFY_START":
            return voice.number_of(said.text("caller_id"))
        if said.id("event") != _LOOKUP:
            return None
        try:
            result = Fields(msgspec.json.decode(said.text("result")))
        except (msgspec.DecodeError, RecursionError):
            result = Fields(None)
        found = (said.text("caller_id"), result.text("number"), result.text("caller_id"), result.text(0, "number"))
        return voice.number_of(next((number for number in found if number), ""))

    def is_question(self, request: RawRequest) -> bool:
        """Whether the request only asks. A call's start is kept as well."""
        return self._looks_up(request) or super().is_question(request)

    def advise(self, request: RawRequest, advice: Advice) -> Reply:
        """Have the caller put through to their own manager, and shown by name; else say nothing."""
        if super().is_question(request) and not self._looks_up(request):
            return super().advise(request, advice)
        if not _EXTENSION.fullmatch(advice.extension):
            return voice.ok()
        said = {"redirect": advice.extension, "return_timeout": _RETURN_AFTER, "caller_name": advice.name}
        return Reply(msgspec.json.encode({name: value for name, value in said.items() if value}))

    def _looks_up(self, request: RawRequest) -> bool:
        return b"NUMBER_LOOKUP" in request.body and _form(request).id("event") == _LOOKUP

    # --- out ---

    async def dial(self, dial: Dial, tools: Tools) -> Dialled:
        """Ask for a callback: the colleague's phone rings, then the number is called. `line` cannot be chosen.

        Raises:
            ChannelError: it was not done, or we cannot know.
        """
        query = {"from": dial.extension, "to": dial.number.lstrip("+"), "sip": dial.extension}
        await self._ask("/v1/request/callback/", query, tools, does=True)
        return Dialled()

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Ask for a link to a recording, and open it.

        Raises:
            Temporary: it is not there yet, or not just now. Undeliverable: it is gone.
        """
        if not _RECORDING.fullmatch(reference):
            raise Undeliverable("This names no recording")
        name = "pbx_call_id" if reference.startswith("pbx:") else "call_id"
        try:
            said = await self._ask("/v1/pbx/record/request/", {name: reference.removeprefix("pbx:")}, tools)
        except Undeliverable as error:
            if error.code == "410":
                raise
            # What Zadarma says of a recording that is not ready yet is not known, so every refusal may be that.
            raise Temporary(str(error), _RECORDING_DUE, code=error.code) from error
        link = said.text("link") or said.text("links", 0)
        if not link:
            raise Temporary("Zadarma has no link to the recording yet", _RECORDING_DUE)
        chunks, content_type, size = await tools.http.stream(link)
        return Fetched(chunks, content_type, size, f"{reference.removeprefix('pbx:')}.mp3")

    async def check(self, tools: Tools) -> Checked:
        """Ask for the balance, and for the time zone in which calls are told.

        Raises:
            ChannelError: the account cannot be used.
        """
        said = await self._ask("/v1/info/balance/", {}, tools)
        facts = {"balance": f"{said.text('balance')} {said.text('currency')}".strip()}
        try:
            facts["time zone"] = (await self._ask("/v1/info/timezone/", {}, tools)).text("timezone")
        except Unauthorised:
            raise
        except ChannelError:
            pass  # worth showing, not worth failing for
        return Checked("Zadarma knows the account", {name: value for name, value in facts.items() if value})

    async def _ask(self, path: str, query: Mapping[str, str], tools: Tools, *, does: bool = False) -> Fields:
        """Make a signed request. `does`: it has something happen, so that it is never repeated by itself.

        Raises:
            ChannelError: as `dial`; where nothing is done, an answer that makes no sense is Temporary.
        """
        asked = urlencode(sorted(query.items()))
        text = path + asked + hashlib.md5(asked.encode(), usedforsecurity=False).hexdigest()
        signature = _signature(self._signing.get_secret_value(), text.encode())
        answer = await tools.http.call(
            "GET",
            self._api + path + (f"?{asked}" if asked else ""),
            headers={"Authorization": f"{self._key}:{signature}"},
            once=does,
        )
        try:
            said = Fields(answer.object())
        except Uncertain as error:
            if not answer.is_fine:
                raise answer.failure() from error
            if does:
                raise
            raise Temporary(str(error)) from error
        if not answer.is_fine or said.text("status") != "success":
            raise _error(answer, said)
        return said


def _error(answer: Answer, said: Fields) -> ChannelError:
    """Return what a refusal means: `{"status": "error", "message": …}`, under a status of 200 or another."""
    message = said.text("message")[:200]
    text = f"Zadarma says: {message or 'nothing more'} ({answer.status})"
    if answer.is_fine and "authoriz" in message.lower():
        return Unauthorised(f"{text}. Check key and secret", code=str(answer.status))
    if answer.is_fine:
        return Undeliverable(text, code=str(answer.status))
    return answer.failure(text)


def _signature(secret: str, text: bytes) -> str:
    """Return base64 of the hex HMAC-SHA1: PHP's `hash_hmac` gives hex, and Zadarma encodes that."""
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha1).hexdigest().encode()).decode()


def _form(request: RawRequest) -> Fields:
    try:
        return Fields(voice.form_of(request))
    except Malformed:
        return Fields(None)


def _event(said: Fields, name: str, phase: CallPhase, context: ParseContext) -> CallEvent:
    call_id, written = said.id("pbx_call_id"), said.text("call_start")
    internal = voice.extension_of(said.text("internal") or said.text("last_internal"))
    caller, destination = voice.number_of(said.text("caller_id")), voice.number_of(said.text("destination"))
    did = voice.number_of(said.text("called_did"))
    direction: CallDirection = "outbound" if name.startswith("NOTIFY_OUT") or call_id.startswith("out_") else "inbound"
    if direction == "outbound":
        line = "" if caller in ("0", internal) else caller
        caller, callee = internal or caller, destination
    else:
        line, callee = did, did or destination
        if phase == "answered" and not internal and _EXTENSION.fullmatch(destination):
            internal = destination
    outcome, talk = _end(said, direction, internal) if phase == "summary" else ("", None)
    if phase == "summary" and not outcome:
        phase = "ended"
    started = voice.local_moment(written, context.time_zone)
    more = {"NOTIFY_IVR": _pressed(said), "NOTIFY_INTERNAL_END": said.text("disposition")}
    key = f"{name}:{internal}:{written}" if phase in ("ringing", "answered", "left") else name
    return CallEvent(
        call_id=call_id,
        key=f"{key}:{voice.digest(*_all(said))}" if phase == "menu" else key[:LONGEST_ID],
        phase=phase,
        leg_id=internal if phase in ("ringing", "answered", "left") else "",
        occurred_at=started if phase == "started" else None,
        direction=direction,
        caller=caller,
        callee=callee,
        line=line,
        extension=internal,
        outcome=outcome,
        started_at=started if phase in ("started", "summary", "ended") else None,
        talk_seconds=talk,
        detail=more.get(name, said.text("disposition") if phase in ("summary", "ended") else "")[:300],
    )


def _end(said: Fields, direction: CallDirection, internal: str) -> tuple[CallOutcome, int | None]:
    """Return how a call ended and how long it was talked; "" where only a menu may have answered."""
    outcome = _OUTCOMES.get(said.text("disposition").strip().lower(), "")
    if not outcome:
        return "", None
    if outcome == "answered":
        if direction == "inbound" and not internal:
            return "", None
        seconds = said.whole("duration")
        return outcome, seconds if seconds is not None and 0 <= seconds <= _LONGEST_CALL else None
    if outcome == "canceled" and direction == "inbound":
        outcome = "missed"  # the caller gave up
    return outcome, 0


def _recorded(said: Fields) -> CallEvent:
    call_id, recording = said.id("pbx_call_id"), said.id("call_id_with_rec")
    recording = recording or f"pbx:{call_id}"[:LONGEST_ID]
    return CallEvent(
        call_id=call_id,
        key=f"recorded:{recording}"[:LONGEST_ID],
        phase="recorded",
        recording=recording,
        recording_id=recording,
    )


def _pressed(said: Fields) -> str:
    """Return what was pressed in a menu; `wait_dtmf` is an object, as JSON or in PHP's brackets."""
    try:
        found = Fields(msgspec.json.decode(said.text("wait_dtmf"))).text("digits")
    except (msgspec.DecodeError, RecursionError):
        found = ""
    return found or said.text("wait_dtmf[digits]") or said.text("ivr_saydigits")


def _all(said: Fields) -> list[str]:
    return [f"{name}={said.text(name)}" for name in sorted(said.keys())]
