"""SMS and MMS through MessageBird (now Bird), its classic REST API.

Reaches   any phone; MMS in the United States
Set up    a live access key, the signing key of the dashboard, and a number. There, a flow or the number's webhook
          forwards messages to the hook's address, by POST
Calls us  POST urlencoded for messages, GET for states
Checks    `MessageBird-Signature-JWT`: a token signed with the signing key, whose `payload_hash` is that of the body and
          `url_hash` that of the address, with its query or without; `exp` and `nbf` must hold (MessageBird's own
          libraries). States come unsigned: they are taken as states only, and say nothing but of ids we know
Repeats   the message's id; a state with its name. There is no idempotency key
Quirks    fields are called differently for short codes, and in either case; `id` may come twice, the last counts
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal

import msgspec
from pydantic import Field, SecretStr

from channels import shared_secret, signed_tokens, sms
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    Media,
    ParseContext,
    Part,
    Receipt,
    Routed,
    Sending,
    Tools,
    Unit,
)
from channels.errors import ChannelError, Misconfigured, RecipientGone, Temporary, Unauthorised, Uncertain
from channels.fields import Fields
from channels.http import Answer, origin_of
from channels.sms import Said
from core.kernel.addresses import PHONE
from core.kernel.envelopes import Attachment, Event, Status
from webhooks import charsets
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest, Reply

API = "https://rest.messagebird.com"
LEEWAY = timedelta(seconds=1)

_HEADER = "messagebird-signature-jwt"
_STATES: Mapping[str, Literal["sent", "delivered", "failed"]] = {
    "scheduled": "sent",
    "buffered": "sent",
    "sent": "sent",
    "delivered": "delivered",
    "expired": "failed",
    "delivery_failed": "failed",
}
_STOPPED = "103"  # the carrier or MessageBird has them down as opted out
_NO_SUCH_PEER = {"1", "5", "9", "12", _STOPPED}  # unknown or illegal subscriber
_MAY_PASS = {"6", "27", "31", "32", "34", "36"}
_TELLING = ("status", "originator", "sender", "body", "message", "payload")
_MEDIA = ("mediaurls", "mediaurls[]", "mediaurl")


class MessageBirdSms(sms.SmsPeers):
    """Receives and sends through MessageBird."""

    kind: ClassVar[str] = "sms_messagebird"
    title: ClassVar[str] = "SMS: MessageBird"
    group: ClassVar[Group] = "sms"
    account = ""
    sending: Sending = Sending(
        text=603,  # nine parts of UCS-2
        unit=Unit.SMS,
        caption=350,  # where MMS does not go, the files' addresses come below
        media={"image": Media(1_000_000), "audio": Media(1_000_000), "video": Media(1_000_000)},
        album=2,
        capabilities=frozenset({Capability.START, Capability.DELIVERY_RECEIPTS}),
        addresses=(PHONE,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        access_key: SecretStr = Field(
            title="Access key", description="A live key, from the dashboard's developer pages."
        )
        signing_key: SecretStr = Field(
            title="Signing key", description="From the dashboard's developer settings; what webhooks are checked with."
        )
        sender: str = Field(title="Sender", description="Your number, or a name of up to 11 letters.", min_length=1)
        per_second: float = sms.per_second(20)

    def __init__(self, settings: Settings) -> None:
        self.sending = replace(self.sending, per_second=settings.per_second)
        self._api = settings.base_url.rstrip("/") or API
        self._access_key = settings.access_key
        self._signing_key = settings.signing_key
        self._sender = settings.sender.strip()

    # --- in ---

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer the dashboard's test of the address: an unsigned GET that holds neither a state nor a message."""
        if request.method != "GET" or request.body.strip() or not _is_unsigned(request):
            return None
        said = sms.said(request)
        return None if any(said.text(name) for name in _TELLING) else Reply(b"OK", 200, "text/plain")

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the token; a GET that is a state and nothing else may come without.

        Raises:
            BadSignature: it is missing, expired, for another request or another's. NotConfigured: no signing key.
            Malformed: the request cannot be read.
        """
        if _is_unsigned(request):
            if _is_report(request, sms.said(request)):
                return
            raise BadSignature("The request carries no MessageBird-Signature-JWT. Nothing was stored")
        key = self._signing_key.get_secret_value()
        if not key:
            raise NotConfigured("This channel has no signing key yet, so nothing is accepted. Enter it in its settings")
        claims = signed_tokens.read(request.headers[_HEADER], key)
        starts, ends = claims.moment("nbf"), claims.moment("exp")
        if claims.text("iss") != "MessageBird":
            raise BadSignature("The request's token is not from MessageBird. Nothing was stored")
        if ends is None or now > ends + LEEWAY or (starts is not None and now < starts - LEEWAY):
            raise BadSignature("The request's token has expired, or our clock is wrong. Nothing was stored")
        address = claims.text("url_hash").lower()
        spellings = (request.url, request.url.partition("?")[0])
        if not any(shared_secret.same(address, _sha256(url.encode("utf-8", "replace"))) for url in spellings):
            raise BadSignature("The request's token is for another address than the one shown in the settings")
        content = claims.text("payload_hash").lower()
        if (request.body or content) and not shared_secret.same(content, _sha256(request.body)):
            raise BadSignature("The request's token is for another body. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell messages by their id, states by id and name.

        Raises:
            Malformed: the request cannot be read.
        """
        said = sms.said(request)
        if _is_report(request, said):
            key = f"status:{said.id('id')}:{said.id('recipient')}:{said.text('status')}:{said.id('statusErrorCode')}"
            return Routed(key[:200], None, sms.peer_key(said.text("recipient")))
        message_id = _message_id(said)
        key = f"message:{message_id}" if message_id else "content:" + sms.digest(request.query, request.body)
        return Routed(key[:200], None, sms.peer_key(said.text("originator", "sender")))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a message or a state. What came unsigned is never read as a message.

        Raises:
            Malformed: the request cannot be read.
        """
        said = sms.said(request)
        if _is_report(request, said):
            return _reported(said, is_signed=not _is_unsigned(request))
        message_id = _message_id(said)
        if _is_unsigned(request) or not message_id or not said.text("originator", "sender"):
            return []
        names = ("message", "body") if "shortcode" in said else ("body", "message", "payload")
        return sms.received(
            said.text("originator", "sender"),
            said.text(*names),
            context,
            external_id=message_id,
            occurred_at=_moment(said),
            attachments=_attachments(request),
        )

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer OK, as MessageBird asks for."""
        return Reply(b"OK", 200, "text/plain")

    # --- out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part as one message.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        body: dict[str, object] = {
            "recipients": [sms.digits_of(part.peer)],
            "originator": sms.digits_of(self._sender),
            "reference": part.id,
        }
        resource = "messages"
        if part.files and part.peer.startswith("+1"):
            resource = "mms"
            body |= {"body": sms.words(part), "mediaUrls": sms.media_urls(part)}
        else:
            body |= {"body": sms.words(part, with_links=True), "datacoding": "auto"}
            if tools.hook_url:
                body["reportUrl"] = f"{tools.hook_url}/status"
        answer = await tools.http.call("POST", f"{self._api}/{resource}", json=body, headers=self._headers)
        if not answer.is_fine:
            raise _error(answer)
        said = Fields(answer.object())
        message_id = said.id("id")
        if not message_id:
            if said.at("errors"):
                raise _error(answer)
            raise Uncertain(f"MessageBird's answer names no message: {answer.text[:200]!r}")
        return Receipt((message_id,))

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file of an MMS; our key goes to MessageBird alone.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        is_theirs = origin_of(reference) in (origin_of(self._api), origin_of(API))
        return Fetched(*await tools.http.stream(reference, headers=self._headers if is_theirs else None))

    async def check(self, tools: Tools) -> Checked:
        """Ask for the balance.

        Raises:
            ChannelError: the account cannot be used.
        """
        answer = await tools.http.call("GET", f"{self._api}/balance", headers=self._headers)
        if not answer.is_fine:
            raise _error(answer)
        said = Fields(answer.object())
        balance = f"{said.text('amount')} {said.text('type')}".strip()
        return Checked("MessageBird knows the key", sms.without_empty({"balance": balance}))

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"AccessKey {self._access_key.get_secret_value()}"}


# --- reading ---


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_unsigned(request: RawRequest) -> bool:
    return not request.headers.get(_HEADER, "").strip()


def _is_report(request: RawRequest, said: Said) -> bool:
    """Tell whether it is a state: a GET that names one and holds no text."""
    is_bare = request.method == "GET" and not request.body.strip()
    return is_bare and bool(said.text("status") and said.id("id")) and not said.text("body", "message", "payload")


def _message_id(said: Said) -> str:
    return said.id("mid", "id", "message_id")


def _moment(said: Said) -> datetime | None:
    written = said.text("createdDatetime", "receive_datetime", "date_utc")
    if len(written) == 14 and written.isdecimal():
        try:
            return datetime.strptime(written, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None
    return said.moment("createdDatetime", "receive_datetime", "date_utc")


def _attachments(request: RawRequest) -> list[Attachment]:
    found: dict[str, None] = {}
    for name, value in sms.parameters(request):
        if name.lower().partition("[")[0] not in _MEDIA:
            continue
        for url in _listed(value) if value.startswith("[") else [value]:
            if url.startswith(("http://", "https://")):
                found[charsets.clean(url)[:2_000]] = None
    return [Attachment("", "", 0, reference=url) for url in list(found)[:20]]


def _listed(value: str) -> list[str]:
    try:
        return [item.text() for item in Fields(msgspec.json.decode(value)).items()]
    except (msgspec.DecodeError, RecursionError):
        return []


def _reported(said: Said, *, is_signed: bool) -> list[Event]:
    status = _STATES.get(said.text("status").lower())
    if status is None:
        return []
    code = said.id("statusErrorCode") if status == "failed" else ""
    code = "" if code == "0" else code
    when = said.moment("statusDatetime")
    reason = "They answered STOP" if code == _STOPPED else said.text("statusReason")
    events: list[Event] = [
        Status(
            status=status,
            external_id=said.id("id"),
            our_id=said.id("reference"),
            peer=sms.peer_named(said.text("recipient")),
            occurred_at=when,
            error_code=code,
            error_text=reason[:500] if status == "failed" else "",
            is_final=code not in _MAY_PASS,
            is_dead=code in _NO_SUCH_PEER,
        )
    ]
    # a state that anybody could have sent must not silence somebody whose number is merely in it
    return events + (sms.opted_out(said.text("recipient"), when) if code == _STOPPED and is_signed else [])


# --- errors ---


def _error(answer: Answer) -> ChannelError:
    """Return what a refusal means: `{"errors": [{"code": 25, "description": …, "parameter": …}]}`."""
    try:
        first = Fields(answer.json()).at("errors", 0)
    except Uncertain:
        first = Fields(None)
    code, parameter = first.id("code"), first.text("parameter")
    why = first.text("description") or answer.text[:200].strip()
    text = f"MessageBird says: {why or 'nothing more'} ({code or answer.status})"
    if code == "2":
        return Unauthorised(f"{text}. Check the access key", code=code)
    if code == "25":
        return Misconfigured(f"{text}. The account has no credit", code=code)
    if code in ("9", "10") and parameter == "originator":
        return Misconfigured(f"{text}. Check the sender in the connection's settings", code=code)
    if code == _STOPPED:
        return RecipientGone(f"They answered STOP, so nothing may go to them. {text}", code=code, opted_out=True)
    if code in ("9", "10") and parameter.startswith("recipient"):
        return RecipientGone(text, code=code)
    if code in ("98", "99"):
        return Temporary(text, answer.retry_after, code=code)
    return answer.failure(text, code=code)
