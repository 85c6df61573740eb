"""Calls through Binotel.

Reaches   any phone
Set up    ask Binotel's support to send API PUSH, API CALL SETTINGS and API CALL COMPLETED to the hook's address with
          its token, and for a key and a secret of the REST API
Calls us  POST of a form with PHP brackets (`callDetails[billsec]`), or JSON: receivedTheCall, answeredTheCall,
          transferredTheCall, hangupTheCall as a call goes on, apiCallCompleted when it is over, and apiCallSettings,
          which asks who rings
Checks    the token, in the query's `token` or the end of the path; the company, where the request names one; on demand
          the sender's address. Binotel signs nothing
Repeats   generalCallID with the event and its extension. apiCallCompleted comes again, up to seven times within 38
          hours, until it is answered {"status": "success"}
Quirks    numbers are national (`0501234567`). No request says who asked for a call: only the answer to ours names it. A
          recording's address is good for minutes, so it is asked for when it is fetched. Fields are as public handlers
          read them, errors as Binotel lists them; what transferredTheCall holds, and what call-record says of a
          recording that is not ready, is from memory
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from channels import shared_secret, voice
from channels import voice_binotel_events as binotel_events
from channels.contract import Advice, Checked, Dial, Dialled, Fetched, Group, ParseContext, Routed, Tools
from channels.errors import ChannelError, Misconfigured, Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from channels.fields import Fields
from channels.http import Answer
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, Malformed, NotConfigured, Refused, Unsupported
from webhooks.request import RawRequest, Reply

API = "https://api.binotel.com/api/4.0"

_SUCCESS = b'{"status":"success"}'
_LONGEST_NAME = 43  # of what its notice in the browser shows
_NOT_YET = 60.0  # seconds after which a recording is asked for again
_RINGS = 60.0  # seconds: the answer comes once the colleague has picked up
_WRONG_DATA, _TROUBLE, _THROTTLED, _COMPANY, _CREDENTIALS = "104", "105", "106", "120", "121"


class BinotelVoice(voice.Consulted):
    """Hears of calls from Binotel, tells it who rings, and places calls through it."""

    kind: ClassVar[str] = "voice_binotel"
    title: ClassVar[str] = "Telephony: Binotel"
    group: ClassVar[Group] = "telephony"
    account = ""

    class Settings(voice.VoiceSettings):
        """What an administrator fills in."""

        token: SecretStr = Field(
            SecretStr(""),
            title="Token",
            description="Binotel's requests carry it in the address (?token=…).",
            json_schema_extra={"made": True},
        )
        company_id: str = Field(
            "",
            title="Company ID",
            description="Requests that name another company are refused.",
        )
        api_key: str = Field("", title="API key", description="From Binotel's support: to call, and for recordings.")
        api_secret: SecretStr = Field(
            SecretStr(""), title="API secret", description="From Binotel's support, with the API key."
        )
        line: str = Field(
            "",
            title="Number",
            description="The number of yours that customers see when you call them. Empty: the colleague's usual one.",
            json_schema_extra={"advanced": True},
        )
        addresses: tuple[str, ...] = Field(
            (),
            title="Addresses of Binotel's servers",
            description="Requests from elsewhere are refused: IP addresses or networks (194.88.218.0/24), one a line. "
            "Empty: from anywhere, since the token is the proof.",
            json_schema_extra={"advanced": True},
        )

        @field_validator("addresses")
        @classmethod
        def _are_addresses(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
            given = tuple(line.strip() for line in lines if line.strip())
            for line in given:
                try:
                    ipaddress.ip_network(line, strict=False)
                except ValueError:
                    raise ValueError(f"{line[:80]!r} is no IP address and no network") from None
            return given

    def __init__(self, settings: Settings) -> None:
        self._api = settings.base_url.rstrip("/") or API
        self._token = settings.token
        self._secret = settings.secret
        self._company = settings.company_id.strip()
        self._key, self._api_secret = settings.api_key.strip(), settings.api_secret
        self._line = settings.line
        self._networks = tuple(ipaddress.ip_network(line, strict=False) for line in settings.addresses)
        self.rules = settings.rules

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the token, where the request comes from, and whose company it is about.

        Raises:
            BadSignature, NotConfigured: it does not carry the token, or there is none to compare with. Refused: it is
            from elsewhere, or about another company. Malformed: the body cannot be read.
        """
        if super().is_question(request):
            try:
                shared_secret.check(request, self._secret)
            except (BadSignature, NotConfigured):
                shared_secret.check(request, self._token)  # who may report may ask, too
            return
        shared_secret.check(request, self._token)
        if self._networks and not self._is_from_binotel(request.client):
            raise Refused("This address is none of those that are allowed for Binotel's servers. Nothing was stored")
        company = binotel_events.company(binotel_events.said(request)) if self._company else ""
        if company and company != self._company:
            raise Refused("The request is about another company than this channel's. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell events by the call and what happened; those of one call keep their order.

        Raises:
            Malformed: the body cannot be read.
        """
        fields = binotel_events.said(request)
        call_id = binotel_events.call_of(fields)
        if not call_id:
            return Routed("other:" + voice.digest(request.query, request.body))
        return Routed(f"call:{call_id}:{binotel_events.key(fields)}"[:250], None, call_id)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read an event.

        Raises:
            Malformed: the body cannot be read. Unsupported: it tells of no call, or of nothing we know.
        """
        found = binotel_events.events(binotel_events.said(request))
        if not found:
            raise Unsupported("No generalCallID with a requestType we know is in it")
        return found

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say what keeps Binotel from sending it again."""
        return Reply(_SUCCESS)

    # --- who rings ---

    def is_question(self, request: RawRequest) -> bool:
        """Whether the request only asks who rings."""
        return super().is_question(request) or binotel_events.kind(_read(request)) == "apiCallSettings"

    def asked(self, request: RawRequest) -> str | None:
        """Return the number a request asks about; None for one that asks nothing."""
        if super().is_question(request):
            return super().asked(request)
        fields = _read(request)
        if binotel_events.kind(fields) != "apiCallSettings":
            return None
        return voice.number_of(fields.text("externalNumber"))

    def advise(self, request: RawRequest, advice: Advice) -> Reply:
        """Say who rings and, of a call that comes in, whose phone shall ring; nothing of somebody unknown."""
        if super().is_question(request):
            return super().advise(request, advice)
        if not advice.is_known:
            return self.acknowledge(request, "")
        known = {"name": advice.name[:_LONGEST_NAME], "description": advice.manager[:_LONGEST_NAME]}
        if advice.url:
            known |= {"linkToCrmUrl": advice.url, "linkToCrmTitle": "Switchyard"}
        if advice.extension and _read(request).id("callType") != "1":
            known["assignedToEmployeeNumber"] = advice.extension
        said = {"customerData": {name: value for name, value in known.items() if value}}
        return Reply(voice.compact(said).encode())

    # --- out ---

    async def dial(self, dial: Dial, tools: Tools) -> Dialled:
        """Have the extension ring, and the customer called once it is picked up.

        Raises:
            ChannelError: it was not done, or we cannot know.
        """
        params = {"internalNumber": dial.extension, "externalNumber": _national(dial.number)}
        if line := _national(dial.line or self._line):
            params["pbxNumber"] = line
        said = await self._ask("calls/internal-number-to-external-number", params, tools, timeout=_RINGS)
        call_id = said.id("generalCallID")
        if not call_id:
            raise Uncertain("Binotel took the call but gave it no number, so nobody knows what became of it")
        return Dialled(call_id)

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Ask where the recording of a call is, and open it.

        Raises:
            Temporary: it is not there yet. Undeliverable: it is gone. ChannelError: as in `dial`.
        """
        try:
            said = await self._ask("stats/call-record", {"generalCallID": reference}, tools, repeatable=True)
        except Undeliverable as error:
            if error.code != _WRONG_DATA:
                raise
            # So it answers for a recording that is still being uploaded, too.
            raise Temporary(str(error), _NOT_YET, code=error.code) from error
        url = said.text("url").strip()
        if not url:
            raise Temporary("Binotel has not got the recording ready yet", _NOT_YET)
        chunks, content_type, size = await tools.http.stream(url)
        return Fetched(chunks, content_type, size, f"{reference}.mp3")

    async def check(self, tools: Tools) -> Checked:
        """Ask for the employees.

        Raises:
            ChannelError: key and secret do not work.
        """
        if not self._key:
            return Checked("Calls are heard of. Calling and recordings need an API key and its secret")
        said = await self._ask("settings/list-of-employees", {}, tools, repeatable=True)
        listed = said.at("listOfEmployees")
        employees = [listed.at(name) for name in listed.keys()] or list(listed.items())  # noqa: SIM118
        shown = [
            f"{employee.text('endpointData', 'internalNumber') or employee.text('extNumber')} {employee.text('name')}"
            for employee in employees
        ]
        facts = {"employees": "; ".join(" ".join(each.split()) for each in shown)[:2_000]} if shown else {}
        return Checked("Binotel knows the key", facts)

    async def _ask(
        self,
        method: str,
        params: Mapping[str, Any],
        tools: Tools,
        *,
        repeatable: bool = False,
        timeout: float = 30.0,
    ) -> Fields:
        secret = self._api_secret.get_secret_value()
        if not (self._key and secret):
            raise Misconfigured("Binotel answers to an API key and its secret: enter them in the channel's settings")
        body = {"key": self._key, "secret": secret, **params}
        answer = await tools.http.call(
            "POST", f"{self._api}/{method}.json", json=body, repeatable=repeatable, timeout=timeout
        )
        try:
            said = Fields(answer.object())
        except Uncertain:
            if not answer.is_fine:
                raise answer.failure() from None
            raise
        if not answer.is_fine or said.text("status") != "success":
            raise _error(said, answer)
        return said

    def _is_from_binotel(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _read(request: RawRequest) -> Fields:
    with suppress(Malformed):
        return binotel_events.said(request)
    return Fields(None)


def _national(number: str) -> str:
    """Return a number as Binotel writes it: Ukrainian ones national (`0501234567`), others with their country."""
    digits = re.sub(r"[^0-9]", "", number)
    return "0" + digits[3:] if digits.startswith("380") and len(digits) == 12 else digits


def _error(said: Fields, answer: Answer) -> ChannelError:
    """Return what a refusal means, by Binotel's list of errors for its REST API."""
    code = said.id("code")
    text = f"Binotel says: {said.text('message') or 'nothing more'} ({code or answer.status})"
    if code == _THROTTLED or answer.status == 429:
        return Throttled(text, answer.retry_after, code=code)
    if code == _CREDENTIALS:
        return Unauthorised(f"{text}. Check the API key and its secret", code=code)
    if code == _COMPANY:
        return Misconfigured(text, code=code)
    if code == _TROUBLE:
        return Temporary(text, answer.retry_after, code=code)
    return Undeliverable(text, code=code) if answer.is_fine else answer.failure(text, code=code)
