"""Calls of an Asterisk, over its manager interface (AMI); recordings from a shared folder or by ARI.

Reaches   any phone, through your Asterisk (16 and later; FreePBX and the like too)
Set up    a user in manager.conf with `read = call,agent,dialplan,dtmf` and `write = call,originate,reporting`, and
          `timestampevents = yes`. Recordings: MixMonitor in the dialplan, and the folder it writes to where the hub can
          read it; or ARI, for what lies in Asterisk's own folder `recording`. The guide has a dialplan to paste
Calls us  never: the listener holds the line. The dialplan may ask who rings (CURL of the hook's address, /lookup)
Checks    the line itself, which only somebody who knows the password can be at the other end of; over TLS its
          certificate too. Requests by HTTP are refused, except for the question who rings, which carries the secret
Repeats   Asterisk tells nothing twice. Every event that matters is kept with what it means in its call
Quirks    Asterisk tells nothing again either: when the line was down, what ended meanwhile is said to have ended when
          the line broke, and was answered only if that was known before; a call that began and ended meanwhile is never
          heard of. "Up" is not answered: a queue, a menu and a voicemail are up at once. A call ends with the last
          channel of its Linkedid, not with the first; where two calls are joined, channels go over to the older one.
          Calls we ask for are named by us (ChannelId), so that their events are known from the first one on
Source    docs.asterisk.org, "Asterisk Manager Interface (AMI)", "Asterisk REST Interface (ARI)"; how it behaves was
          seen at Asterisk 16.28. Never run against FreePBX, chan_sip or DAHDI: what is done for them is from memory
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import ClassVar
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator

from channels import asterisk_events, asterisk_recipes, asterisk_recordings, voice
from channels.asterisk_ami import Ami, Value
from channels.asterisk_channels import Plan, plan
from channels.asterisk_line import Access, Line
from channels.contract import (
    Checked,
    Dial,
    Dialled,
    Fetched,
    Group,
    Listening,
    ParseContext,
    Routed,
    Tools,
)
from channels.errors import Misconfigured, Temporary, Uncertain, Undeliverable
from channels.fields import Fields, object_of
from core.kernel.envelopes import Event
from webhooks.errors import Refused, Unsupported
from webhooks.request import RawRequest, Reply

_RINGS_FOR = 30  # seconds
_FAILS_WITHIN = 1.5  # seconds, where a phone cannot be rung at all
_EXTENSION = re.compile(r"[0-9]{1,15}|[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_WORD = re.compile(r"[A-Za-z0-9_.-]*")


def templates(hook_url: str) -> tuple[asterisk_recipes.Recipe, ...]:
    """Return what goes into which file of Asterisk's; `hook_url` is our address with its token."""
    return asterisk_recipes.templates(hook_url)


class AsteriskVoice(voice.Consulted):
    """Hears of calls from an Asterisk, and places calls through it."""

    kind: ClassVar[str] = "voice_asterisk"
    title: ClassVar[str] = "Telephony: Asterisk"
    group: ClassVar[Group] = "telephony"
    account = ""

    class Settings(voice.VoiceSettings):
        """What an administrator fills in."""

        ami_host: str = Field(title="AMI host", description="Of your Asterisk's manager interface.", min_length=1)
        ami_port: int = Field(5038, title="AMI port", description="Usually 5038, or 5039 for TLS.", ge=1, le=65_535)
        ami_user: str = Field(title="AMI user", min_length=1, max_length=80)
        ami_secret: SecretStr = Field(title="AMI secret")
        tls: bool = Field(False, title="TLS", description="Whether the AMI port wants an encrypted connection.")
        certificate: str = Field(
            "",
            title="Certificate to trust",
            description="PEM. Only where Asterisk's own is signed by nobody known.",
            json_schema_extra={"advanced": True},
        )
        originate_context: str = Field(
            "",
            title="Context for outgoing calls",
            description="The dialplan context in which colleagues dial out, such as from-internal. Calls placed from "
            "here go through it.",
            max_length=80,
        )
        trunk: str = Field(
            "",
            title="Trunks",
            description="Names of the endpoints that lead outside, set apart by commas: customers call over them.",
            max_length=500,
        )
        recordings_dir: str = Field(
            "",
            title="Folder of recordings",
            description="Where the hub can read what MixMonitor writes, such as /var/spool/asterisk/monitor.",
            max_length=400,
        )
        ari_url: str = Field(
            "",
            title="ARI address",
            description="Such as http://pbx:8088. For recordings, where there is no folder that the hub can read.",
            json_schema_extra={"advanced": True},
        )
        ari_user: str = Field("", title="ARI user", max_length=80, json_schema_extra={"advanced": True})
        ari_password: SecretStr = Field(SecretStr(""), title="ARI password", json_schema_extra={"advanced": True})

        @field_validator("originate_context")
        @classmethod
        def _is_context(cls, value: str) -> str:
            if not _WORD.fullmatch(value.strip()):
                raise ValueError("A context is letters, digits, dots, hyphens and underscores")
            return value.strip()

        @field_validator("ari_url")
        @classmethod
        def _is_address(cls, value: str) -> str:
            if value.strip() and not value.strip().startswith(("http://", "https://")):
                raise ValueError("The address begins with http:// or https://")
            return value.strip()

        @field_validator("recordings_dir")
        @classmethod
        def _is_folder(cls, value: str) -> str:
            if value.strip() and not value.strip().startswith("/"):
                raise ValueError("The folder is named from the root on: /var/spool/asterisk/monitor")
            return value.strip()

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._secret = settings.secret
        self._access = Access(
            settings.ami_host,
            settings.ami_port,
            settings.ami_user,
            settings.ami_secret,
            settings.tls,
            settings.certificate,
        )
        address = (settings.ari_url or settings.base_url.strip()).rstrip("/")
        self._ari = address if not address or address.endswith("/ari") else f"{address}/ari"
        self.rules = settings.rules

    # --- what came over the line, read ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Take what the listener brought, and questions that carry the secret.

        Raises:
            BadSignature, NotConfigured: a question does not carry it. Refused: anything else came by HTTP. Malformed:
            it is nothing that the listener makes.
        """
        if self.check_question(request):
            return
        if request.method != asterisk_events.METHOD:
            raise Refused("Asterisk posts nothing here: the hub holds a line to it. Only …/lookup answers")
        object_of(request)

    def route(self, request: RawRequest) -> Routed:
        """Tell events by all they say; those of one call keep their order.

        Raises:
            Malformed: it is nothing that the listener makes.
        """
        return asterisk_events.routed(request)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read an event by the notes it was kept with.

        Raises:
            Malformed: it is nothing that the listener makes. Unsupported: it says nothing that we can use.
        """
        events = list(asterisk_events.read(request, self._reference))
        if not events:
            raise Unsupported("Nothing in it is of use here")
        return events

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing."""
        return voice.ok()

    def _reference(self, path: str) -> str:
        return asterisk_recordings.reference_of(path, self._settings.recordings_dir, has_ari=bool(self._ari))

    # --- the line ---

    async def run(self, listening: Listening) -> None:
        """Hold the line: follow calls, and open it again when it breaks.

        Raises:
            Unauthorised, Misconfigured: Asterisk does not let us in.
        """
        await Line(self._access, self._plan(listening.tools), listening).keep()

    def _plan(self, tools: Tools) -> Plan:
        return plan(self._settings.trunk, self.rules.internal_digits, tools.hook_url)

    # --- out ---

    async def dial(self, dial: Dial, tools: Tools) -> Dialled:
        """Have the colleague's phone ring, then send it into the dialplan to call the number.

        Raises:
            Undeliverable: the phone cannot be rung, or these are no numbers. Misconfigured: no context or trunk is set,
            or the AMI user may not place calls. Temporary: Asterisk cannot be reached. Uncertain: it did not answer.
        """
        number = ("+" if dial.number.startswith("+") else "") + re.sub(r"[^0-9]", "", dial.number)
        if not 2 <= len(number) <= 20 or re.sub(r"[0-9 ().+-]", "", dial.number):
            raise Undeliverable(f"{dial.number[:40]!r} is no number to call")
        if not _EXTENSION.fullmatch(dial.extension):
            raise Undeliverable(f"{dial.extension[:40]!r} is no extension of Asterisk")
        call_id = self._plan(tools).own_id(dial.id)
        ami = await self._access.open("call")
        try:
            try:
                order = await self._originate(ami, dial, number, call_id)
            except Uncertain as error:
                raise Temporary(str(error)) from error
            await ami.action("Originate", **order)
            await self._look_after(ami, dial.extension, call_id)
        finally:
            await ami.close()
        return Dialled(call_id)

    async def _originate(self, ami: Ami, dial: Dial, number: str, call_id: str) -> dict[str, Value]:
        context, trunk = self._settings.originate_context, self._settings.trunk.split(",")[0].strip()
        to: dict[str, Value]
        if context:
            to = {"Context": context, "Exten": number.removeprefix("+"), "Priority": 1}
        elif _WORD.fullmatch(trunk) and trunk:
            to = {"Application": "Dial", "Data": f"PJSIP/{number.removeprefix('+')}@{trunk}"}
        else:
            raise Misconfigured("Enter the context in which colleagues dial out, in the channel's settings")
        shown = re.sub(r"[^0-9+]", "", dial.line) or dial.extension
        return {
            **to,
            "Channel": await self._phone(ami, dial.extension, context),
            # the number where the phone shows a name; the dialplan sees a call of the colleague's
            "CallerID": f'"{number}" <{shown}>',
            "Timeout": _RINGS_FOR * 1000,
            "Async": True,
            "ChannelId": call_id,
            "Variable": {"__SWITCHYARD_ID": dial.id},
        }

    @staticmethod
    async def _phone(ami: Ami, extension: str, context: str) -> str:
        """Return what rings a phone: its endpoint, or the dialplan where PJSIP knows none of that name.

        Raises:
            Undeliverable: neither knows it.
        """
        ways = [f"PJSIP/{extension}", *([f"Local/{extension}@{context}"] if context else [])]
        for way in ways:
            try:
                said = await ami.action("Getvar", Variable=f"DEVICE_STATE({way})")
            except (Undeliverable, Misconfigured):
                return ways[0]  # this user may not ask
            if said.get("Value") != "INVALID":
                return way
        raise Undeliverable(f"The phone {extension} cannot be rung: Asterisk knows none of that name")

    @staticmethod
    async def _look_after(ami: Ami, extension: str, call_id: str) -> None:
        """Wait until the phone rings or is known not to. An AMI user who hears no calls is not told: so be it.

        Raises:
            Undeliverable: it cannot be rung.
        """
        with suppress(TimeoutError, Temporary):
            async with asyncio.timeout(_FAILS_WITHIN):
                async for event in ami.events():
                    if event.get("Uniqueid") != call_id:
                        continue
                    if event.name == "Newchannel":
                        return
                    if event.name == "OriginateResponse" and event.get("Response") == "Failure":
                        raise Undeliverable(f"The phone {extension} cannot be rung: is it switched on and registered?")

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a recording: a file in the folder, or one that ARI has.

        Raises:
            Temporary: it is not there yet. Undeliverable: nothing was recorded, or it is gone. Misconfigured: the
            folder or ARI is not set, or not to be read.
        """
        if not reference.startswith(asterisk_recordings.ARI):
            if not self._settings.recordings_dir:
                raise Misconfigured("Enter the folder of recordings in the channel's settings")
            return await asterisk_recordings.open_file(self._settings.recordings_dir, reference)
        if not self._ari:
            raise Misconfigured("Enter the address of ARI in the channel's settings")
        name = quote(reference.removeprefix(asterisk_recordings.ARI), safe="")
        about = await tools.http.call("GET", f"{self._ari}/recordings/stored/{name}", auth=self._ari_user())
        if about.status == 404:
            raise Temporary("ARI has no such recording yet", 20.0, code="404")
        if not about.is_fine:
            raise about.failure()
        ending = Fields(about.object()).text("format") or "wav"
        chunks, kind, size = await tools.http.stream(
            f"{self._ari}/recordings/stored/{name}/file", auth=self._ari_user()
        )
        if 0 < size <= 44 and ending.startswith("wav"):
            await chunks.aclose()  # type: ignore[attr-defined]
            raise Undeliverable("Nothing was recorded")
        return Fetched(chunks, kind, size, f"{reference.rpartition('/')[2].removeprefix('ari:')}.{ending}")

    def _ari_user(self) -> tuple[str, str]:
        return self._settings.ari_user, self._settings.ari_password.get_secret_value()

    async def check(self, tools: Tools) -> Checked:
        """Log in, and look whether ARI and the folder of recordings can be used.

        Raises:
            Unauthorised, Misconfigured: something has to be changed. Temporary: Asterisk cannot be reached.
        """
        facts: dict[str, str] = {}
        ami = await self._access.open()
        try:
            facts["ami"] = ami.version
            with suppress(Misconfigured, Undeliverable):  # this user may not ask: the line works all the same
                about = await ami.action("CoreSettings")
                facts["version"] = about.get("AsteriskVersion")
                status = await ami.action("CoreStatus")
                facts["up since"] = f"{status.get('CoreStartupDate')} {status.get('CoreStartupTime')}".strip()
                facts["calls"] = status.get("CoreCurrentCalls")
        except Uncertain as error:
            raise Temporary(str(error)) from error
        finally:
            await ami.close()
        if self._ari:
            answer = await tools.http.call(
                "GET", f"{self._ari}/asterisk/info", query={"only": "system"}, auth=self._ari_user()
            )
            if not answer.is_fine:
                raise answer.failure(f"ARI answers {answer.status}: look at its address, user and password")
            facts["ari"] = Fields(answer.object()).text("system", "version")
        if self._settings.recordings_dir:
            await asyncio.to_thread(asterisk_recordings.check_folder, self._settings.recordings_dir)
            facts["recordings"] = self._settings.recordings_dir
        version = facts.get("version") or f"with AMI {ami.version}"
        return Checked(f"Asterisk {version} lets us in", {name: value for name, value in facts.items() if value})
