"""Calls through Twilio's Programmable Voice.

Reaches   any phone, SIP phones and Twilio's own clients
Set up    account SID and auth token of the console. With `ring` filled in, our hook is the number's voice URL and rings
          these phones; without it, have your own TwiML name the hook as statusCallback, action and
          recordingStatusCallback. Saving sets up the number in `caller_id`
Calls us  POST urlencoded: the voice URL, status callbacks of the call and of each phone rung, the end of `<Dial>`, and
          recordings. What a request is, its fields say
Checks    `X-Twilio-Signature`, as for SMS (channels/twilio_signature.py)
Repeats   CallSid with its CallStatus; RecordingSid. A call asked for twice is placed twice: there is no idempotency key
Quirks    `completed` says only that a line was open: whether somebody talked is told by the phones rung (ParentCallSid)
          and by DialCallStatus. An answer other than TwiML would be an error to the caller. Recordings lie behind our
          credentials. Field names of callbacks are from memory, the signature is from Twilio's own libraries
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from channels import sms, twilio_signature, voice
from channels import voice_twilio_calls as calls
from channels.contract import Checked, Dial, Dialled, Fetched, Group, ParseContext, Routed, Tools
from channels.errors import ChannelError, Misconfigured, Throttled, Unauthorised, Uncertain, Undeliverable
from channels.fields import Fields
from channels.http import Answer
from channels.twilio_account import CREDENTIALS, Account
from core.kernel.envelopes import Event
from webhooks.request import RawRequest, Reply

# https://www.twilio.com/docs/api/errors
_THROTTLED = {"20429"}
_CREDENTIALS = CREDENTIALS | {"10001"}
_CALLER_WRONG = {"21210", "21212", "21213", "21603", "21606"}
_FORBIDDEN = {
    "21215": "Calls to this country are not allowed: see “Voice geographic permissions” in Twilio's console",
    "21216": "Twilio does not place calls to this number",
}


class TwilioVoice(voice.Consulted):
    """Hears of calls and places them through Twilio."""

    kind: ClassVar[str] = "voice_twilio"
    title: ClassVar[str] = "Telephony: Twilio"
    group: ClassVar[Group] = "telephony"
    account = ""

    class Settings(voice.VoiceSettings):
        """What an administrator fills in."""

        account_sid: str = Field(title="Account SID", description="From the console; it begins with AC.", min_length=1)
        auth_token: SecretStr = Field(title="Auth token", description="From the console, beside the account SID.")
        caller_id: str = Field(
            "",
            title="Number",
            description="Your Twilio number (+…): customers see it when they are called, and saving sets it up. Empty: "
            "the account's first one is shown.",
        )
        ring: tuple[str, ...] = Field(
            (),
            title="Phones to ring",
            description="Who is rung when somebody calls, all at once: +14155550123, client:vera or sip:101@…, one a "
            "line, at most ten; “101 = ” before it names the colleague's extension. Empty: your own TwiML answers.",
        )
        ring_seconds: int = Field(
            25,
            title="Ring for, seconds",
            description="After that the caller is told nothing more, and the call is missed.",
            ge=5,
            le=600,
            json_schema_extra={"advanced": True},
        )
        record: bool = Field(
            False,
            title="Record conversations",
            description="Of calls that are rung or placed from here. Tell people, where the law wants it.",
        )
        shared_key: SecretStr = Field(
            SecretStr(""),
            title="Shared key",
            description="Only if the account signs its webhooks with a shared key (SHA-256).",
            json_schema_extra={"advanced": True},
        )

        @field_validator("ring")
        @classmethod
        def _are_phones(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
            given = tuple(line.strip() for line in lines if line.strip())
            for line in given:
                if calls.phone_of(line) is None:
                    raise ValueError(f"{line[:80]!r} is no phone: write +14155550123, client:vera or sip:101@…")
            if len(given) > calls.MOST_PHONES:
                raise ValueError(f"Twilio rings at most {calls.MOST_PHONES} phones at once")
            return given

    def __init__(self, settings: Settings) -> None:
        self._account = Account(settings.account_sid, settings.auth_token, settings.base_url, _error)
        self._token = settings.auth_token
        self._shared_key = settings.shared_key
        self._secret = settings.secret
        self._caller_id = re.sub(r"[^+0-9]", "", settings.caller_id)
        self._phones = tuple(phone for line in settings.ring if (phone := calls.phone_of(line)) is not None)
        self._seconds = settings.ring_seconds
        self._records = settings.record
        self.rules = settings.rules

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature.

        Raises:
            BadSignature: it is missing or another's. NotConfigured: the secret it was made with is not entered.
            Malformed: the body cannot be read.
        """
        if self.check_question(request):
            return
        twilio_signature.check(request, self._token, self._shared_key)

    def route(self, request: RawRequest) -> Routed:
        """Tell callbacks by the call and what became of it; those of one call keep their order.

        Raises:
            Malformed: the body cannot be read.
        """
        said = sms.said(request)
        key = calls.key_of(said) or voice.digest(request.query, request.body)
        return Routed(f"call:{key}"[:250], None, calls.call_of(said))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a callback.

        Raises:
            Malformed: the body cannot be read.
        """
        return calls.events(sms.said(request), self._phones)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Have a call that came in ring our phones; to anything else, TwiML that does nothing."""
        said = sms.said(request)
        if not (self._phones and calls.asks_what_to_do(said)) or calls.whose(said.text("From"), self._phones):
            return Reply(calls.EMPTY, content_type="text/xml")
        told = calls.Told(request.url.partition("?")[0], seconds=self._seconds, records=self._records)
        twiml = calls.dial([phone.address for phone in self._phones], told)
        return Reply(twiml.encode("utf-8", "replace"), content_type="text/xml")

    # --- out ---

    async def dial(self, dial: Dial, tools: Tools) -> Dialled:
        """Have the colleague's phone ring; once they pick up, the customer is called and shown our number.

        Raises:
            ChannelError: it was not done, or we cannot know.
        """
        to = self._address_of(dial.extension)
        number = calls.phone_of(dial.number)
        if number is None:
            raise Undeliverable(f"{dial.number[:60]!r} is no number that can be called")
        line = re.sub(r"[^+0-9]", "", dial.line) or self._caller_id or await self._first_number(tools)
        query = calls.reports(dial=dial.id, extension=dial.extension, number=dial.number)
        told = calls.Told(tools.hook_url, query, line, self._seconds, self._records)
        form = [("To", to), ("From", line), ("Twiml", calls.dial([number.address], told))]
        form.append(("Timeout", str(self._seconds)))
        if tools.hook_url:
            form += [("StatusCallback", f"{tools.hook_url}?{query}"), ("StatusCallbackMethod", "POST")]
            form += [("StatusCallbackEvent", event) for event in calls.EVENTS]
        answer = await tools.http.call(
            "POST", self._account.url("Calls.json"), form=form, headers=self._account.headers
        )
        if not answer.is_fine:
            raise _error(answer)
        sid = Fields(answer.object()).id("sid")
        if not sid:
            raise Uncertain("Twilio took the call but gave it no id, so nobody knows what became of it")
        return Dialled(sid)

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a recording, as MP3. Our credentials go to Twilio alone, not to the store it redirects to.

        Raises:
            Unauthorised: our credentials do not open it. Temporary: try again. Undeliverable: it is gone.
        """
        url = reference
        is_theirs = self._account.is_theirs(reference)
        if is_theirs:
            path = urlsplit(reference).path
            url = self._account.api + path + ("" if path.endswith((".mp3", ".wav")) else ".mp3")
        try:
            chunks, content_type, size = await tools.http.stream(
                url, headers=self._account.headers if is_theirs else None
            )
        except Undeliverable as error:
            if is_theirs and error.code in ("401", "403"):
                raise Unauthorised(
                    "Twilio does not open the recording to us. Check the account SID and the auth token",
                    code=error.code,
                ) from error
            raise
        return Fetched(chunks, content_type, size, urlsplit(url).path.rpartition("/")[2])

    async def check(self, tools: Tools) -> Checked:
        """Ask for the account and its balance.

        Raises:
            ChannelError: the account cannot be used.
        """
        return await self._account.check(tools)

    async def setup(self, tools: Tools) -> str:
        """Have the number report to us and, where phones to ring are named, ask us what to do with calls.

        Raises:
            ChannelError: Twilio does not let us; the message says what to do by hand.
        """
        number = await self._account.number(self._caller_id, tools) if self._caller_id else None
        wanted = {"StatusCallback": tools.hook_url, "StatusCallbackMethod": "POST"}
        if self._phones:
            wanted |= {"VoiceUrl": tools.hook_url, "VoiceMethod": "POST"}
        if number is None:
            what = "“A call comes in” and “Call status changes”" if self._phones else "“Call status changes”"
            return f"Enter {tools.hook_url} in Twilio's console, at the number under {what}, method POST"
        if all(number.text(_said_as(name)) == value for name, value in wanted.items()):
            return f"{self._caller_id} already reports to us"
        await self._account.change(number, wanted, tools)
        if self._phones:
            return f"{self._caller_id} now rings the phones named here, and reports to us"
        return f"{self._caller_id} now reports its calls to us; who is rung is left as it was"

    async def teardown(self, tools: Tools) -> None:
        """Take our address off the number, where it is there.

        Raises:
            ChannelError: it could not be done.
        """
        number = await self._account.number(self._caller_id, tools) if self._caller_id else None
        if number is None:
            return
        ours = {
            name: "" for name in ("VoiceUrl", "StatusCallback") if number.text(_said_as(name)) == tools.hook_url != ""
        }
        if ours:
            await self._account.change(number, ours, tools)

    def _address_of(self, extension: str) -> str:
        for phone in self._phones:
            if phone.extension == extension:
                return phone.address
        found = calls.phone_of(extension)
        if found is None:
            raise Undeliverable(
                f"Twilio has no phone called {extension[:60]!r}: write it as +…, client:… or sip:…, or name it among "
                f"the phones to ring: {extension[:60]} = sip:…"
            )
        return found.address

    async def _first_number(self, tools: Tools) -> str:
        numbers = await self._account.get(self._account.url("IncomingPhoneNumbers.json"), tools, {"PageSize": "1"})
        found = numbers.text("incoming_phone_numbers", 0, "phone_number")
        if not found:
            raise Misconfigured("The Twilio account has no number to call from. Enter one in the connection's settings")
        return found


def _said_as(parameter: str) -> str:
    """Return a parameter's name as answers have it: `VoiceUrl` is `voice_url`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", parameter).lower()


def _error(answer: Answer) -> ChannelError:
    """Return what a refusal means; it is `{"code": 21215, "message": …}` where it comes from the API itself."""
    try:
        said = Fields(answer.json())
    except Uncertain:
        return answer.failure()
    code = said.id("code")
    text = f"Twilio says: {said.text('message') or 'nothing more'} ({code or answer.status})"
    if code in _FORBIDDEN:
        return Undeliverable(f"{_FORBIDDEN[code]}. {text}", code=code)
    if code in _THROTTLED or answer.status == 429:
        return Throttled(text, answer.retry_after, code=code)
    if code in _CREDENTIALS:
        return Unauthorised(f"{text}. Check the account SID and the auth token", code=code)
    if code in _CALLER_WRONG:
        return Misconfigured(f"{text}. Check the number in the connection's settings", code=code)
    return answer.failure(text, code=code)
