"""Calls through UIS, CoMagic and CallGear, whose notifications have the body that you write into them.

Reaches   any phone
Set up    in the cabinet, under notifications, one HTTP notification for each event, by POST to the hook's address with
          its token; its body is pasted from `templates`. For calls from the workspace also a key of the Call API
Calls us  POST of that body, JSON in which UIS replaces `{{name}}` by a JSON value; a GET with the same names works too
Checks    the token, in the query's `token`, the end of the path, or as password of basic authentication in the URL: UIS
          signs nothing
Repeats   call_session_id, the event and its legs
Quirks    a body edited by hand may be no JSON: placeholders that were not replaced and values left empty read as null.
          Moments have no zone: they are the account's, so the connection's has to be the same. A colleague is told by
          the ID of the employee; `employees` says whose extension that is. The names of placeholders are from bodies in
          use; which values come quoted is not known. Call API as documented (v4.0), Data API from memory
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import ClassVar, NamedTuple

from pydantic import Field, SecretStr, field_validator

from channels import form_files, shared_secret, voice
from channels import voice_uis_events as uis_events
from channels.contract import Checked, Dial, Dialled, Fetched, Group, ParseContext, Routed, Tools
from channels.errors import ChannelError, Misconfigured, Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from channels.fields import Fields
from channels.http import Answer
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, Malformed, NotConfigured, Unsupported
from webhooks.request import RawRequest, Reply

CALL_API, DATA_API = "https://callapi.uiscom.ru", "https://dataapi.uiscom.ru"

_EMPLOYEE = re.compile(r"(\S{1,60})\s*=\s*([0-9]{1,15})")
_ALWAYS = ("call_session_id", "notification_time", "virtual_phone_number", "contact_phone_number")
_EMPLOYEES = ("employee_id", "employee_full_name")
_NOTIFICATIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "call_started": ("Входящий звонок на виртуальный номер / Inbound call on a virtual phone number", ()),
    "call_placed": ("Исходящий звонок / Outbound call", (*_EMPLOYEES, "employee_phone_number")),
    "ringing": ("Ожидание ответа / Waiting for the answer", (*_EMPLOYEES, "external_id", "direction", "leg_id")),
    "talk_started": ("Начало разговора / Talk started", (*_EMPLOYEES, "external_id", "direction", "leg_ids")),
    "talk_finished": (
        "Завершение разговора / Talk finished",
        (*_EMPLOYEES, "external_id", "direction", "leg_ids", "talk_time_duration"),
    ),
    "call_finished": (
        "Завершение звонка / Call finished",
        (
            *(*_EMPLOYEES, "external_id", "direction", "call_source", "scenario_name"),
            *("talk_time_duration", "total_time_duration", "wait_time_duration"),
        ),
    ),
    "call_lost": ("Потерянный звонок / Lost call", ("scenario_name", "wait_time_duration", "employee_ids")),
    "recording": (
        "Завершение записи разговора / Call recording completed",
        (*_EMPLOYEES, "file_link", "file_duration"),
    ),
}


class Notification(NamedTuple):
    """A notification to set up in the cabinet: its type there (in Russian and English), where to, and its body."""

    event: str
    name: str
    method: str
    url: str
    body: str


def templates(hook_url: str) -> tuple[Notification, ...]:
    """Return the notifications that tell us all there is to know; `hook_url` is our address with its token."""
    found = []
    for event, (name, more) in _NOTIFICATIONS.items():
        lines = [f'  "event": "{event}"', *(f'  "{field}": {{{{{field}}}}}' for field in (*_ALWAYS, *more))]
        found.append(Notification(event, name, "POST", hook_url, "{\n" + ",\n".join(lines) + "\n}"))
    return tuple(found)


class UisVoice(voice.Consulted):
    """Hears of calls from UIS and places them through its Call API."""

    kind: ClassVar[str] = "voice_uis"
    title: ClassVar[str] = "Telephony: UIS, CoMagic, CallGear"
    group: ClassVar[Group] = "telephony"
    account = ""

    class Settings(voice.VoiceSettings):
        """What an administrator fills in."""

        token: SecretStr = Field(
            SecretStr(""),
            title="Token",
            description="Notifications carry it in the address (?token=…).",
            json_schema_extra={"made": True},
        )
        api_token: SecretStr = Field(
            SecretStr(""),
            title="API key",
            description="To call from the workspace: a key of a user who may use the Call API and the Data API.",
        )
        line: str = Field(
            "",
            title="Virtual number",
            description="The number of yours that customers see when you call them, with its country: 74993720692.",
        )
        employees: tuple[str, ...] = Field(
            (),
            title="Employees",
            description="Which extension is which employee of UIS, one a line: 101 = 25. A check of the channel shows "
            "their IDs. Without a line here, the ID is the extension.",
        )

        @field_validator("employees")
        @classmethod
        def _name_employees(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
            given = tuple(line.strip() for line in lines if line.strip())
            for line in given:
                if not _EMPLOYEE.fullmatch(line):
                    raise ValueError(f"{line[:80]!r} is not like 101 = 25, an extension and the ID of an employee")
            return given

    def __init__(self, settings: Settings) -> None:
        base = settings.base_url.rstrip("/").removesuffix("/v4.0")
        self._call_api = base or CALL_API
        self._data_api = base.replace("//callapi.", "//dataapi.") or DATA_API
        self._token = settings.token
        self._secret = settings.secret
        self._api_token = settings.api_token
        self._line = re.sub(r"[^0-9]", "", settings.line)
        found = [pair for line in settings.employees if (pair := _EMPLOYEE.fullmatch(line)) is not None]
        self._ids = {pair[1]: pair[2] for pair in found}
        self._extensions = {pair[2]: pair[1] for pair in found}
        self.rules = settings.rules

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the token.

        Raises:
            BadSignature, NotConfigured: the request does not carry it, or there is none to compare with.
        """
        with suppress(BadSignature, NotConfigured):
            if self.check_question(request):
                return
        shared_secret.check(request, self._token)  # who may report may ask, too

    def route(self, request: RawRequest) -> Routed:
        """Tell notifications by the call, the event and its legs; a body that cannot be read is kept all the same."""
        try:
            fields = uis_events.said(request)
        except Malformed:
            return Routed("unread:" + voice.digest(request.query, request.body))
        call_id = fields.id("call_session_id")
        if not call_id:
            return Routed("other:" + voice.digest(request.query, request.body))
        return Routed(f"call:{call_id}:{uis_events.key(fields)}"[:250], None, call_id)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a notification.

        Raises:
            Malformed: the body is no JSON. Unsupported: it tells of no call, or of an event we do not know.
        """
        fields = uis_events.said(request)
        event = uis_events.event(fields, context, self._extensions)
        if event is None:
            raise Unsupported("No call_session_id with a known event is in it. Use the bodies shown with the channel")
        return [event]

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing more than that it is kept."""
        return voice.ok()

    # --- out ---

    async def dial(self, dial: Dial, tools: Tools) -> Dialled:
        """Have the employee's phone ring, and the customer called once they pick up.

        Raises:
            ChannelError: it was not done, or we cannot know.
        """
        employee = self._ids.get(dial.extension, dial.extension)
        if not employee.isdecimal() or len(employee) > 15:
            raise Undeliverable(f"Whose extension is {dial.extension[:60]!r}? Add it to the employees: 101 = 25")
        params = {
            "first_call": "employee",
            "switch_at_once": True,
            "direction": "out",
            "contact": re.sub(r"[^0-9]", "", dial.number),
            "external_id": dial.id,
            "employee": {"id": int(employee)},
        }
        if line := re.sub(r"[^0-9]", "", dial.line) or self._line:
            params["virtual_phone_number"] = line
        result = await self._ask(f"{self._call_api}/v4.0", "start.employee_call", dial.id, params, tools)
        call_id = result.id("data", "call_session_id")
        if not call_id:
            raise Uncertain("UIS took the call but gave it no number, so nobody knows what became of it")
        return Dialled(call_id)

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a recording by its address, which may not be one of the own network.

        Raises:
            Temporary: try again. Undeliverable: it is gone or refused for good.
        """
        return await form_files.fetch(reference, tools)

    async def check(self, tools: Tools) -> Checked:
        """Ask the Data API for the employees, with the IDs that `employees` wants.

        Raises:
            ChannelError: the key does not work.
        """
        if not self._api_token.get_secret_value():
            return Checked("Calls are heard of. Calling from the workspace needs an API key")
        params = {"limit": 100, "fields": ["id", "full_name", "extension"]}
        result = await self._ask(f"{self._data_api}/v2.0", "get.employees", "check", params, tools, repeatable=True)
        shown = []
        for employee in result.items("data"):
            extension = employee.text("extension", "extension_phone_number")
            shown.append(f"{extension or '—'} = {employee.id('id')} ({employee.text('full_name')})")
        return Checked("UIS knows the key", {"employees": "; ".join(shown)[:2_000]} if shown else {})

    async def _ask(
        self, url: str, method: str, name: str, params: Mapping[str, object], tools: Tools, *, repeatable: bool = False
    ) -> Fields:
        """Make a JSON-RPC call and return its result."""
        token = self._api_token.get_secret_value()
        if not token:
            raise Misconfigured("UIS places calls for whoever has an API key: enter one in the channel's settings")
        body = {"jsonrpc": "2.0", "id": name, "method": method, "params": {"access_token": token, **params}}
        answer = await tools.http.call("POST", url, json=body, repeatable=repeatable)
        try:
            said = Fields(answer.object())
        except Uncertain:
            if not answer.is_fine:
                raise answer.failure() from None
            raise
        if said.at("error"):
            raise _error(said, answer)
        if not answer.is_fine:
            raise answer.failure()
        return said.at("result")


def _error(said: Fields, answer: Answer) -> ChannelError:
    """Return what a refusal means, by the groups of codes and the mnemonics of the Call API's documentation."""
    code, data = said.whole("error", "code"), said.at("error", "data")
    mnemonic = data.text("mnemonic")
    text = f"UIS says: {said.text('error', 'message') or 'nothing more'} ({mnemonic or code})"
    name = mnemonic or str(code)
    if code == -32029:
        limits = next((found for at in (data, said.at("error"), said) if (found := at.at("metadata", "limits"))), data)
        wait = limits.whole("day_reset" if limits.whole("day_remaining") == 0 else "minute_reset")
        return Throttled(text, wait if wait is not None else answer.retry_after, code=name)
    if code == -32001:
        return Unauthorised(f"{text}. Enter a key that is valid", code=name)
    if code == -32007 or data.text("field") == "virtual_phone_number":
        return Misconfigured(f"{text}. Check the virtual number in the channel's settings", code=name)
    if code in (-32003, -32008, -32009):
        return Misconfigured(f"{text}. See the permissions and allowed addresses of the Call API in UIS", code=name)
    if code == -32603:
        return Temporary(text, answer.retry_after, code=name)
    if mnemonic == "employee_not_found":
        return Undeliverable(f"{text}. Name the employee's ID in the channel's settings: 101 = 25", code=name)
    return Undeliverable(text, code=name)
