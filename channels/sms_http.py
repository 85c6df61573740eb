"""SMS through any gateway that speaks HTTP: Kannel, Jasmin, a local operator.

Reaches   what the gateway reaches
Set up    Kannel: `send_url` is its sendsms address (http://…:13013/cgi-bin/sendsms), user and password those of its
          sendsms-user; in its sms-service `get-url = "<hook>?token=<token>&from=%p&to=%P&text=%b&ts=%T&coding=%c&udh=%u
          &id=%I"` and `max-messages = 0`, or it sends our empty answer to the customer. Others: write `send_url` (and
          `body`) with {to} {to_digits} {from} {text} {hex} {coding} {user} {password} {id} {dlr_url} in their places;
          for Jasmin, `reply` is ACK/Jasmin
Calls us  GET or POST, the fields in the query, urlencoded, as a form or as JSON, under the usual names or those
          that the settings say
Checks    the token must come along: as `token`, at the end of the path, or by HTTP authentication
Repeats   the gateway's id; without one, the same content within 5 minutes
Quirks    texts come as raw bytes in the coding of the air (UCS-2, GSM); reports may come before our request is
          answered, so the address they go to holds our own id (Kannel user's guide, "SMS-service", "Delivery reports")
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator
from pydantic.config import JsonDict

from channels import shared_secret, sms, sms_http_said, sms_text
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Group,
    ParseContext,
    Part,
    Receipt,
    Routed,
    Sending,
    Tools,
    Unit,
)
from channels.errors import ChannelError, Misconfigured, Undeliverable
from channels.fields import Fields
from channels.http import Answer
from channels.sms_http_said import ID, STATES, STATUS, TEXT, TIME, TO, Raw, State
from core.kernel.addresses import PHONE
from core.kernel.envelopes import Event, Status
from webhooks.request import RawRequest, Reply

REPEAT_WITHIN = timedelta(minutes=5)

_ADVANCED: JsonDict = {"advanced": True}
_PLACE = re.compile(r"\{([a-z_]+)\}")
_JASMIN_ID = r'(?i)^\s*success\s+"([^"]+)"'
_NOT_DONE = re.compile(r"\s*(?:error|err\b|fail|reject|invalid|denied)", re.IGNORECASE)
_STATES: tuple[State, ...] = ("sent", "delivered", "read", "failed")


class HttpSms(sms.SmsPeers):
    """Receives and sends through a gateway of one's own choice."""

    kind: ClassVar[str] = "sms_http"
    title: ClassVar[str] = "SMS: Kannel or another gateway"
    group: ClassVar[Group] = "sms"
    account = ""
    sending: Sending = Sending(
        text=670,  # ten parts of UCS-2, what Kannel takes unless told otherwise
        unit=Unit.SMS,
        capabilities=frozenset({Capability.START, Capability.DELIVERY_RECEIPTS}),
        addresses=(PHONE,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in; without placeholders in `send_url` and `body`, the gateway is a Kannel."""

        send_url: str = Field(
            title="Address to send to",
            description="Kannel's sendsms address, or any with {to}, {from}, {text}, {user}, {password}, {dlr_url}.",
            min_length=8,
        )
        user: str = Field("", title="User")
        password: SecretStr = Field(SecretStr(""), title="Password")
        token: SecretStr = Field(
            SecretStr(""),
            title="Token",
            description="The gateway has to repeat it: ?token=… behind the hook's address.",
            json_schema_extra={"made": True},
        )
        sender: str = Field("", title="Sender", description="Your number, short code or name.")
        method: Literal["GET", "POST"] = Field("GET", title="Method", json_schema_extra=_ADVANCED)
        body: str = Field(
            "",
            title="Body",
            description="For POST: JSON, or name={text}&… with the same placeholders.",
            json_schema_extra=_ADVANCED,
        )
        headers: tuple[str, ...] = Field(
            (), title="Headers", description="One a line: Name: value", json_schema_extra=_ADVANCED
        )
        success: str = Field(
            "",
            title="What a good answer looks like",
            description="A regular expression. Empty: a status of 200 to 299 that does not begin with an error.",
            json_schema_extra=_ADVANCED,
        )
        message_id: str = Field(
            _JASMIN_ID,
            title="Where the answer has the id",
            description="A regular expression whose first group is the id.",
            json_schema_extra=_ADVANCED,
        )
        number_format: Literal["plus", "digits"] = Field(
            "plus",
            title="Numbers are written",
            description="With a plus, or digits alone.",
            json_schema_extra=_ADVANCED,
        )
        dlr_mask: int = Field(31, title="Kannel's dlr-mask", ge=0, le=63, json_schema_extra=_ADVANCED)
        check_url: str = Field(
            "", title="Address to test with", description="Answers 200 if all is well.", json_schema_extra=_ADVANCED
        )
        field_from: str = Field("", title="Field of the sender", json_schema_extra=_ADVANCED)
        field_text: str = Field("", title="Field of the text", json_schema_extra=_ADVANCED)
        field_id: str = Field("", title="Field of the id", json_schema_extra=_ADVANCED)
        field_status: str = Field("", title="Field of a report's status", json_schema_extra=_ADVANCED)
        status_values: tuple[str, ...] = Field(
            (),
            title="What statuses mean",
            description="One a line: their word = delivered, sent, read or failed.",
            json_schema_extra=_ADVANCED,
        )
        alphabet: str = Field(
            "",
            title="Alphabet of incoming texts",
            description="gsm, utf-8, windows-1251, …; empty: found out. UCS-2 is always understood.",
            json_schema_extra=_ADVANCED,
        )
        reply: str = Field(
            "", title="Answer to the gateway", description="ACK/Jasmin for Jasmin.", json_schema_extra=_ADVANCED
        )
        per_second: float = sms.per_second(10)

        @field_validator("success", "message_id")
        @classmethod
        def _read_pattern(cls, value: str) -> str:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from None
            return value

    def __init__(self, settings: Settings) -> None:
        self.sending = replace(self.sending, per_second=settings.per_second)
        self._settings = settings
        self._token = settings.token if settings.token.get_secret_value() else settings.secret
        self._from = (settings.field_from, *sms_http_said.FROM) if settings.field_from else sms_http_said.FROM
        self._text = (settings.field_text,) if settings.field_text else TEXT
        self._id = (settings.field_id,) if settings.field_id else ID
        self._status = (settings.field_status,) if settings.field_status else STATUS
        self._states = {**STATES, **_meanings(settings.status_values)}

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the token.

        Raises:
            BadSignature: the request does not carry it. NotConfigured: there is none.
        """
        shared_secret.check(request, self._token)

    def route(self, request: RawRequest) -> Routed:
        """Tell messages by the gateway's id, reports by id and status; without an id by what they say.

        Raises:
            Malformed: the request cannot be read.
        """
        raw = sms_http_said.read(request)
        message_id, peer = raw.id(*self._id), sms.peer_key(raw.text(*self._from))
        if self._is_report(request, raw):
            part = sms.our_part(request)
            marks = sms.digest(message_id, part, self._state_word(raw), raw.text("err"))
            return Routed(f"status:{marks}", None, sms.peer_key(raw.text(*TO)))
        if message_id:
            return Routed("message:" + sms.digest(message_id, peer), None, peer)
        return Routed("content:" + sms.digest(request.query, request.body), REPEAT_WITHIN, peer)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a message or a report.

        Raises:
            Malformed: the request cannot be read.
        """
        raw = sms_http_said.read(request)
        if self._is_report(request, raw):
            return self._reported(request, raw)
        said = raw.text(*self._from)
        if not said or not (raw.has(*self._text) or raw.has("hex-content", "binary")):
            return []
        reference, part, parts = sms_http_said.piece_of(raw.bytes("udh"))
        group = f"concat:{sms.peer_key(said)}:{raw.id(*TO)}:{reference}"[:200] if reference else ""
        return sms.received(
            said,
            sms_http_said.text_of(raw, self._text, self._settings.alphabet),
            context,
            external_id=raw.id(*self._id),
            is_international=False,
            occurred_at=Fields(raw.text(*TIME)).moment(),
            group=group,
            piece=(part, parts),
        )

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer as the settings say; a Kannel might send any words to the customer."""
        return Reply(self._settings.reply.encode(), 200, "text/plain")

    def _is_report(self, request: RawRequest, raw: Raw) -> bool:
        """Tell whether it is a report: it has a status, and either names our part or holds no message."""
        if not self._state_word(raw):
            return False
        return bool(sms.our_part(request)) or raw.has("message_status") or not raw.has(*self._text)

    def _state_word(self, raw: Raw) -> str:
        if word := raw.id(*self._status).lower():
            return word
        if not raw.has("dlvrd", "err"):
            return ""
        return "delivrd" if raw.text("dlvrd").strip("0") else "undeliv" if raw.text("err").strip("0") else ""

    def _reported(self, request: RawRequest, raw: Raw) -> list[Event]:
        word, our_id = self._state_word(raw), sms.our_part(request)
        status = self._states.get(word)
        external_id = raw.id(*self._id) or our_id
        if status is None or not external_id:
            return []
        is_failed = status == "failed"
        error = raw.id("err", "error_code", "smsc_error")
        return [
            Status(
                status=status,
                external_id=external_id,
                our_id=our_id,
                peer=sms.peer_named(raw.text(*TO)) if our_id else "",
                occurred_at=sms.short_moment(raw.text("donedate")) or Fields(raw.text(*TIME)).moment(),
                error_code=(error if error.strip("0") else word) if is_failed else "",
                error_text=raw.text("answer", "reason", "error")[:500] if is_failed else "",
            )
        ]

    # --- out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part as one message.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        settings = self._settings
        values = self._values(part, tools)
        url, body = settings.send_url, settings.body
        if not _PLACE.search(url + body):
            url = f"{url}{'&' if '?' in url else '?'}{self._kannel_query(values, part, tools)}"
        else:
            url = _filled(url, values, lambda value: quote(value, safe=""))
        headers = dict(_header(_filled(line, values, str)) for line in settings.headers if ":" in line)
        content: bytes | None = None
        if body:
            is_json = body.lstrip()[:1] in ("{", "[")
            escape: Callable[[str], str] = _in_json if is_json else lambda value: quote(value, safe="")
            content = _filled(body, values, escape).encode()
            usual = "application/json" if is_json else "application/x-www-form-urlencoded"
            headers.setdefault("Content-Type", usual)
        method = "POST" if body else settings.method
        answer = await _call(tools, method, url, content, headers)
        self._check_answer(answer)
        found = re.search(settings.message_id, answer.text) if settings.message_id else None
        message_id = Fields(found[1] if found and found.re.groups else "").id()
        return Receipt((message_id or part.id,))

    async def check(self, tools: Tools) -> Checked:
        """Call the address to test with, if there is one.

        Raises:
            ChannelError: the gateway does not answer as it should.
        """
        if not self._token.get_secret_value():
            raise Misconfigured("This channel has no token, so it takes no messages. Enter one in its settings")
        if not self._settings.check_url:
            return Checked("The settings are complete; whether the gateway takes them, the first message will show")
        values = {"user": self._settings.user, "password": self._settings.password.get_secret_value()}
        url = _filled(self._settings.check_url, values, lambda value: quote(value, safe=""))
        answer = await tools.http.call("GET", url)
        if not answer.is_fine:
            raise answer.failure()
        return Checked("The gateway answers", {"answer": tools.http.masked(answer.text)[:200].strip()})

    def _values(self, part: Part, tools: Tools) -> dict[str, str]:
        """Return what placeholders stand for."""
        text = sms.words(part, with_links=True)
        is_gsm = sms_text.is_gsm(text)
        token = quote(self._token.get_secret_value(), safe="")
        digits = sms.digits_of(part.peer)
        return {
            "to": part.peer if self._settings.number_format == "plus" else digits,
            "to_digits": digits,
            "from": self._settings.sender,
            "text": text,
            "hex": (sms_text.to_gsm(text) if is_gsm else text.encode("utf-16-be")).hex(),
            "coding": "0" if is_gsm else "2",
            "user": self._settings.user,
            "password": self._settings.password.get_secret_value(),
            "id": part.id,
            "dlr_url": sms.status_url(tools, part, token=token),
        }

    def _kannel_query(self, values: dict[str, str], part: Part, tools: Tools) -> str:
        """Return the query of Kannel's sendsms (Kannel user's guide, "Using the HTTP interface to send SMS")."""
        given: dict[str, str | bytes] = {"username": values["user"], "password": values["password"]}
        if values["from"]:
            given["from"] = values["from"]
        given["to"] = values["to"]
        if values["coding"] == "2":
            given |= {"coding": "2", "charset": "UTF-16BE", "text": values["text"].encode("utf-16-be")}
        else:
            given |= {"charset": "UTF-8", "text": values["text"]}
        if values["dlr_url"] and self._settings.dlr_mask:
            # Kannel reads % in it as an escape of its own, so ours are doubled; its %d is the status
            own = values["dlr_url"].replace("%", "%%")
            given |= {"dlr-mask": str(self._settings.dlr_mask), "dlr-url": f"{own}&status=%d&answer=%A"}
        return "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())

    def _check_answer(self, answer: Answer) -> None:
        """Raise what an answer means, unless it is a good one."""
        said = answer.text[:200].strip()
        if not answer.is_fine:
            raise _failure(answer, said)
        pattern = self._settings.success
        if re.search(pattern, answer.text) if pattern else not _NOT_DONE.match(answer.text):
            return
        raise Undeliverable(f"The gateway says: {said or 'nothing'}", code=str(answer.status))


def _failure(answer: Answer, said: str) -> ChannelError:
    """Return what a status of failure means; Kannel and others use 403 for a number, too."""
    if re.search(r"not routable|do not try again", said, re.IGNORECASE):
        return Undeliverable(f"The gateway says: {said}", code=str(answer.status))
    return answer.failure(f"The gateway says: {said or 'nothing'} ({answer.status})")


async def _call(tools: Tools, method: str, url: str, content: bytes | None, headers: dict[str, str]) -> Answer:
    """Make the request, which sends, even if it is a GET.

    Raises:
        Temporary: it did not reach the gateway. Uncertain: it may have been done.
    """
    return await tools.http.call(method, url, body=content, headers=headers, once=True)


def _filled(template: str, values: dict[str, str], escape: Callable[[str], str]) -> str:
    """Put values into their places; a place of another name stays as it is."""
    return _PLACE.sub(lambda found: escape(values[found[1]]) if found[1] in values else found[0], template)


def _in_json(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), " ".join(value.split())


def _meanings(lines: Sequence[str]) -> dict[str, State]:
    found: dict[str, State] = {}
    for line in lines:
        word, _, meaning = line.rpartition("=")
        for state in _STATES:
            if meaning.strip().lower() == state:
                found[word.strip().lower()] = state
    return found
