"""Calls of a FreeSWITCH, heard on its event socket. Never run against a real FreeSWITCH: see Sources.

Reaches   any phone, through your FreeSWITCH
Set up    in event_socket.conf.xml let the socket listen where the hub can reach it, choose a password, and allow the
          hub's address (apply-inbound-acl). Better still, let mod_json_cdr post its records to the hook's address as
          well (url, and cred as any name and the secret): they come again after an outage, events of the socket do not
Calls us  POST of JSON, or of a form with the JSON as `cdr`, from mod_json_cdr. Events come over the line that the
          listener holds, each kept word for word
Checks    the line by its password; a posted record by the secret, as password of HTTP basic authentication
Repeats   a leg begins, is answered and ends once; its end is the same whether the line or mod_json_cdr tells it
Quirks    what happens while the line is down is told by mod_json_cdr alone. Recordings are files on the PBX: to be kept
          here, they have to be served over HTTP. To place a call, the colleague's phone is called, and then sent to the
          number in the dialplan's context
Sources   FreeSWITCH's documentation of mod_event_socket, mod_json_cdr, originate and channel variables, and memory. No
          package of it could be had, so that names of variables and what legs look like are unconfirmed
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import PurePosixPath
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr

from channels import freeswitch_esl, shared_secret, voice, voice_forms, voice_freeswitch_events
from channels.contract import Checked, Dial, Dialled, Fetched, Group, Item, Listening, ParseContext, Routed, Tools
from channels.errors import ChannelError, Misconfigured, Temporary, Uncertain, Undeliverable
from channels.fields import Fields
from channels.freeswitch_esl import HEARTBEAT, Line, Lost, Unanswered
from core.kernel.envelopes import Event
from webhooks.errors import Malformed, Unsupported
from webhooks.request import RawRequest, Reply

METHOD = "ESL"
"""What marks a request that the listener made of an event."""

_CALLS = uuid.UUID("6f3f2a52-3a6e-4f0b-8a5c-2f5d5a1c7e90")  # makes our ids of calls into FreeSWITCH's
_EXTENSION = re.compile(r"[\w.+*#-]{1,60}", re.ASCII)
_NUMBER = re.compile(r"\+?[0-9*#]{1,40}", re.ASCII)
_ID = re.compile(r"[\w.:/=+-]{1,200}", re.ASCII)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f{}\[\]<>|]")
_JOB_WITHIN = 5.0  # seconds in which FreeSWITCH says that a call cannot be placed at all
_LATER = ("NORMAL_TEMPORARY_FAILURE", "NETWORK_OUT_OF_ORDER", "SWITCH_CONGESTION", "GATEWAY_DOWN")


class FreeSwitchVoice(voice.Consulted):
    """Hears of the calls of a FreeSWITCH over a line that its listener holds, and places calls."""

    kind: ClassVar[str] = "voice_freeswitch"
    title: ClassVar[str] = "Telephony: FreeSWITCH"
    group: ClassVar[Group] = "telephony"
    account = ""

    class Settings(voice.VoiceSettings):
        """What an administrator fills in."""

        host: str = Field(title="Host", description="Of FreeSWITCH's event socket.", min_length=1)
        port: int = Field(8021, title="Port", ge=1, le=65_535)
        password: SecretStr = Field(title="Password", description="Of the event socket (event_socket.conf.xml).")
        secret: SecretStr = Field(
            SecretStr(""),
            title="Shared secret",
            description="mod_json_cdr sends it as the password of its `cred`, and a dialplan that asks who rings as "
            "`token`. A web server that keeps recordings is shown it as the password of “switchyard”.",
            json_schema_extra={"made": True, "advanced": True},
        )
        endpoint: str = Field(
            "user/{extension}",
            title="How a colleague's phone is dialled",
            description="{extension} is their extension.",
            pattern=r"^[\w.:/@%{}-]{1,200}$",
            json_schema_extra={"advanced": True},
        )
        context: str = Field(
            "default",
            title="Context of the dialplan",
            description="Where the number is dialled once the colleague has answered.",
            pattern=r"^[\w.-]{1,60}$",
            json_schema_extra={"advanced": True},
        )
        numbers: Literal["digits", "plus"] = Field(
            "digits",
            title="Numbers",
            description="How your dialplan wants them.",
            json_schema_extra={"advanced": True},
        )
        base_url: str = Field(
            "",
            title="Address of recordings",
            description="Where a web server of yours serves the folder of recordings. Leave empty to keep none here.",
            json_schema_extra={"advanced": True},
        )
        recordings_folder: str = Field(
            "/var/lib/freeswitch/recordings",
            title="Folder of recordings",
            description="On the PBX; the address of recordings stands for it.",
            json_schema_extra={"advanced": True},
        )
        silence: float = Field(
            45,
            title="Seconds of silence",
            description="After which FreeSWITCH is asked for a sign of life. By itself it gives one every 20 seconds.",
            gt=0,
            le=600,
            json_schema_extra={"advanced": True},
        )
        answer_within: float = Field(
            15, title="Seconds to wait for an answer", gt=0, le=120, json_schema_extra={"advanced": True}
        )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._secret = settings.secret
        self._where = f"{settings.host}:{settings.port}"
        self.rules = settings.rules

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Take what the listener brought, and what carries the secret.

        Raises:
            BadSignature, NotConfigured: it does not carry it, or there is none.
        """
        if request.method == METHOD or self.check_question(request):
            return
        shared_secret.check(request, self._secret)

    def route(self, request: RawRequest) -> Routed:
        """Tell requests by their content; those of one call keep their order."""
        try:
            call = voice_freeswitch_events.call_of(_event(request))
        except Malformed:
            call = ""
        return Routed(f"esl:{voice.digest(request.body)}", None, call)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read an event of the socket, or a record of mod_json_cdr.

        Raises:
            Malformed: it is neither. Unsupported: it is an event of something else.
        """
        event = _event(request)
        if event.text("Event-Name") not in voice_freeswitch_events.WANTED:
            raise Unsupported(f"{event.id('Event-Name')[:60] or 'What has no Event-Name'} tells of no call")
        if not event.id("Unique-ID"):
            raise Malformed("The event names no channel")
        return voice_freeswitch_events.read(event, self.rules.internal_digits)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing; mod_json_cdr reads the status alone."""
        return voice.ok()

    # --- the line ---

    async def run(self, listening: Listening) -> None:
        """Hold the line until it breaks, and keep what comes. Who called it calls it again.

        Raises:
            Unauthorised, Misconfigured: we are not let in. Temporary: the line broke, or cannot be had just now.
        """
        try:
            async with self._opened() as line:
                answer = await line.ask(" ".join(("event json", *voice_freeswitch_events.WANTED, HEARTBEAT)))
                if not answer.reply.startswith("+OK"):
                    raise Misconfigured(f"FreeSWITCH does not tell of calls: {answer.reply[:200]}")
                listening.is_well(f"Listening to {self._where}")
                await line.follow(lambda events: self._keep(events, listening), silence=self._settings.silence)
        except Temporary as error:
            listening.is_ill(str(error))
            raise

    async def _keep(self, events: Sequence[bytes], listening: Listening) -> None:
        """Make events durable, word for word. What cannot be read is kept as well, for somebody to look at."""
        items = []
        for event in events:
            if freeswitch_esl.event_of(event).text("Event-Name") == HEARTBEAT:
                continue
            headers = {"content-type": "application/json"}
            request = RawRequest(event, method=METHOD, headers=headers, client=self._settings.host)
            items.append(Item(request, self.route(request)))
        if items:
            await listening.deliver(items)

    def _opened(self) -> AbstractAsyncContextManager[Line]:
        settings = self._settings
        return freeswitch_esl.opened(
            settings.host,
            settings.port,
            settings.password.get_secret_value(),
            answer_within=settings.answer_within,
        )

    # --- out ---

    async def dial(self, dial: Dial, tools: Tools) -> Dialled:
        """Have the colleague's phone called, and then sent to the number, over a line of its own.

        Raises:
            ChannelError: it was not done, or we cannot know.
        """
        call, command = self._command(dial)
        async with self._opened() as line:
            heard = await line.ask("event json BACKGROUND_JOB CHANNEL_CREATE")
            if not heard.reply.startswith("+OK"):
                raise Misconfigured(f"FreeSWITCH does not tell of calls: {heard.reply[:200]}")
            reply = ""
            try:
                reply = (await line.ask(command)).reply
            except (Lost, Unanswered) as error:
                if isinstance(error, Lost) and not error.was_written:
                    raise
                raise Uncertain(f"FreeSWITCH broke off before it answered ({error})", code="broken") from error
            finally:
                tools.http.note("ESL", f"esl://{self._where}", command, status=None, answered=reply)
            if not reply.startswith("+OK"):
                raise _refusal(reply)
            job = reply.partition("Job-UUID:")[2].strip()
            try:
                async with asyncio.timeout(_JOB_WITHIN):
                    await _placed(line, job, call)
            except (TimeoutError, Lost):
                pass  # it was taken, and its own events tell how it goes on
        return Dialled(call)

    def _command(self, dial: Dial) -> tuple[str, str]:
        """Return the id a call will have, and the command that places it.

        Raises:
            Undeliverable: something of it is no number, and could be read as a command.
        """
        number, line = dial.number, dial.line
        if not (_EXTENSION.fullmatch(dial.extension) and _NUMBER.fullmatch(number) and _ID.fullmatch(dial.id)):
            raise Undeliverable("FreeSWITCH is given digits only: this extension or number has something else in it")
        if line and not _NUMBER.fullmatch(line):
            raise Undeliverable("FreeSWITCH is given digits only: the line to show has something else in it")
        if self._settings.numbers == "digits":
            number, line = number.lstrip("+"), line.lstrip("+")
        call = str(uuid.uuid5(_CALLS, dial.id))
        variables = {
            "origination_uuid": call,
            voice_freeswitch_events.OURS: dial.id,
            "origination_caller_id_number": number,
            "origination_caller_id_name": number,
        }
        if line:
            variables["effective_caller_id_number"] = line
        endpoint = self._settings.endpoint.replace("{extension}", dial.extension)
        return call, f"bgapi originate {_assigned(variables)}{endpoint} {number} XML {self._settings.context}"

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a recording where a web server serves the folder it lies in.

        Raises:
            Temporary: not just now. Undeliverable: it is gone, or no address of recordings was entered.
        """
        base = self._settings.base_url.strip().rstrip("/")
        if not base:
            raise Undeliverable("The recording lies on the PBX: enter the address of recordings to have it here")
        path, folder = PurePosixPath(reference), PurePosixPath(self._settings.recordings_folder)
        inner = path.relative_to(folder) if path.is_relative_to(folder) else PurePosixPath(path.name)
        if not inner.name or ".." in inner.parts or _UNSAFE.search(str(inner)):
            raise Undeliverable("This names no recording")
        secret = self._secret.get_secret_value()
        chunks, content_type, size = await tools.http.stream(
            f"{base}/{quote(str(inner))}", auth=("switchyard", secret) if secret else None
        )
        return Fetched(chunks, content_type, size, inner.name)

    async def check(self, tools: Tools) -> Checked:
        """Ask FreeSWITCH how it is.

        Raises:
            Unauthorised, Misconfigured: we are not let in. Temporary: not just now.
        """
        async with self._opened() as line:
            said = (await line.ask("api status")).reply
        lines = [" ".join(found.split()) for found in said.splitlines() if found.strip()]
        return Checked(f"The event socket at {self._where} answers", {"status": " · ".join(lines[:2])[:200]})


def _event(request: RawRequest) -> Fields:
    """Return the event in a request, or the record as one.

    Raises:
        Malformed: there is none.
    """
    body = request.body
    if body.lstrip()[:1] != b"{":
        body = voice_forms.exact(request).get("cdr", b"")
    found = freeswitch_esl.event_of(body)
    if not isinstance(found.value, dict):
        raise Malformed("There is no JSON of an event or of a call's record in it")
    if "Event-Name" not in found and isinstance(found.at("variables").value, dict):
        return voice_freeswitch_events.of_record(found)
    return found


def _assigned(variables: Mapping[str, str]) -> str:
    """Write variables of a channel: commas would end a value, and are escaped.

    Raises:
        Undeliverable: a value has what cannot be escaped, and could be read as a command.
    """
    if any(_UNSAFE.search(value) for value in variables.values()):
        raise Undeliverable("A value has line breaks or brackets in it, which FreeSWITCH would take for commands")
    escaped = {name: re.sub(r"([\\,'\"])", r"\\\1", value) for name, value in variables.items()}
    return "{" + ",".join(f"{name}={value}" for name, value in escaped.items()) + "}"


async def _placed(line: Line, job: str, call: str) -> None:
    """Wait until the call exists.

    Raises:
        ChannelError: it could not be placed. Lost: the line broke.
    """
    while True:
        event = freeswitch_esl.event_of(await line.event())
        name = event.text("Event-Name")
        if name == "CHANNEL_CREATE" and event.id("Unique-ID") == call:
            return
        if name == "BACKGROUND_JOB" and event.text("Job-UUID") == job:
            said = event.text("_body").strip()
            if said.startswith("+OK"):
                return
            raise _refusal(said)


def _refusal(said: str) -> ChannelError:
    """Return what `-ERR <cause>` of an originate means."""
    cause = said.removeprefix("-ERR").strip()[:100]
    text = f"FreeSWITCH did not place the call: {cause or 'it gave no reason'}"
    if cause in _LATER:
        return Temporary(text, code=cause)
    if "command not found" in cause.lower() or said.startswith("-USAGE"):
        return Misconfigured(text)
    return Undeliverable(text, code=cause)
