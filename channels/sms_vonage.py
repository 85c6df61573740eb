"""SMS through Vonage (formerly Nexmo): its SMS API, and what its Messages API brings in.

Reaches   any phone
Set up    API key, API secret and signature secret of the dashboard; there, the hook's address for incoming messages and
          for delivery receipts, any method. Turn on signed webhooks with the method chosen here
Calls us  GET or POST, urlencoded or JSON (SMS API); POST JSON with a token (Messages API). A call without anything is
          the dashboard's own test
Checks    `sig`: MD5 of the sorted parameters and the secret, or an HMAC of them (developer.vonage.com, "Signing
          messages"); or a Bearer token signed with the secret, whose `payload_hash` is that of the body. Without a
          signature secret the connection's shared secret has to come along
Repeats   messageId; a report's state with it. Refused requests are repeated for a day, so a signature may be that old
Quirks    an answer of 200 has one result for every SMS of a long text, and each may fail by itself; the parts of a long
          text come in one by one, in any order, marked `concat`; what we send is told apart by `client-ref`
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from channels import shared_secret, sms, sms_text, vonage_signature
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    ParseContext,
    Part,
    Receipt,
    Routed,
    Sending,
    Tools,
    Unit,
)
from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.fields import Fields, object_of
from channels.sms import Said
from channels.vonage_signature import Method
from core.kernel.addresses import PHONE
from core.kernel.envelopes import Attachment, Event, Status
from webhooks.errors import NotConfigured, Unsupported
from webhooks.request import RawRequest, Reply

API = "https://rest.nexmo.com"

State = Literal["sent", "delivered", "read", "failed"]

_STATES: Mapping[str, State] = {
    "accepted": "sent",
    "buffered": "sent",
    "submitted": "sent",
    "delivered": "delivered",
    "read": "read",
    "expired": "failed",
    "failed": "failed",
    "rejected": "failed",
    "deleted": "failed",
    "undeliverable": "failed",
}
# developer.vonage.com, "SMS API: delivery receipts", err-code
_REASONS = {
    "1": "unknown reason",
    "2": "the phone is off or out of reach",
    "3": "the number is not in use",
    "4": "the subscriber bars such messages",
    "5": "the number was ported and the network is not known",
    "6": "taken for spam",
    "7": "the phone is busy",
    "8": "network error",
    "9": "illegal number",
    "10": "illegal message",
    "11": "no route to it",
    "12": "the phone is out of reach",
    "13": "the user's age forbids it",
    "14": "blocked by the carrier",
    "15": "no funds left on the user's prepaid account",
    "16": "the quota is used up",
}
_NO_SUCH_PEER = {"3", "9"}
_MAY_PASS = {"2", "7", "8", "12"}
# The same, "Troubleshooting SMS": status of each result
_CREDENTIALS = {"4", "14", "32"}
_ACCOUNT = {"8", "9", "11", "15", "23"}
_GONE = {"7", "33"}


class VonageSms(sms.SmsPeers):
    """Receives and sends through Vonage."""

    kind: ClassVar[str] = "sms_vonage"
    title: ClassVar[str] = "SMS: Vonage"
    group: ClassVar[Group] = "sms"
    account = ""
    sending: Sending = Sending(
        text=3200,
        unit=Unit.SMS,
        capabilities=frozenset({Capability.START, Capability.DELIVERY_RECEIPTS}),
        addresses=(PHONE,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        api_key: str = Field(title="API key", description="From the dashboard's API settings.", min_length=1)
        api_secret: SecretStr = Field(title="API secret")
        signature_secret: SecretStr = Field(
            SecretStr(""),
            title="Signature secret",
            description="From the dashboard's API settings. Without it, requests must carry the shared secret.",
        )
        signature_method: Method = Field(
            "md5hash", title="Signature method", description="As chosen in the dashboard's API settings."
        )
        sender: str = Field(title="Sender", description="Your number, or a name of up to 11 letters.", min_length=1)
        per_second: float = sms.per_second(30)

    def __init__(self, settings: Settings) -> None:
        self.sending = replace(self.sending, per_second=settings.per_second)
        self._api = settings.base_url.rstrip("/") or API
        self._key = settings.api_key.strip()
        self._api_secret = settings.api_secret
        self._signature_secret = settings.signature_secret
        self._method = settings.signature_method
        self._shared = settings.secret
        self._sender = settings.sender.strip()

    # --- in ---

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer the dashboard's test, a call without anything."""
        return sms.PLAIN_OK if not request.query and not request.body.strip() else None

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature, the token, or where there is no signature secret the shared one.

        Raises:
            BadSignature: it is missing, old or another's. NotConfigured: there is no secret to check with.
            Malformed: the request cannot be read.
        """
        secret = self._signature_secret.get_secret_value()
        if not secret:
            if not self._shared.get_secret_value():
                raise NotConfigured("This channel has no signature secret yet, so nothing is accepted. Enter it")
            shared_secret.check(request, self._shared)
            return
        vonage_signature.check(request, secret, self._method, now)

    def route(self, request: RawRequest) -> Routed:
        """Tell messages by their id, reports by id and state.

        Raises:
            Malformed: the request cannot be read.
        """
        said = sms.said(request)
        message_id = said.id("messageId", "message_uuid")
        if not message_id:
            return Routed("content:" + sms.digest(request.query, request.body))
        if state := said.text("status"):
            key = f"status:{message_id}:{state}:{said.id('err-code')}"[:200]
            return Routed(key, None, sms.peer_key(said.text("msisdn") or said.text("to")))
        return Routed(f"message:{message_id}"[:200], None, sms.peer_key(said.text("msisdn") or _from(request, said)))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a message, a part of one, or a report.

        Raises:
            Malformed: the request cannot be read. Unsupported: it is of another channel of the account.
        """
        said = sms.said(request)
        if said.id("message_uuid"):
            return _of_messages_api(request, said, context)
        message_id = said.id("messageId")
        if not message_id:
            return []
        if said.text("status") and not said.text("text"):
            return _reported(said, message_id)
        if not said.text("msisdn"):
            return []
        group = ""
        if said.text("concat").lower() == "true" and said.id("concat-ref"):
            group = f"concat:{sms.peer_key(said.text('msisdn'))}:{said.id('to')}:{said.id('concat-ref')}"[:200]
        return sms.received(
            said.text("msisdn"),
            _text(said),
            context,
            external_id=message_id,
            occurred_at=said.moment("message-timestamp"),
            group=group,
            piece=(said.id("concat-part"), said.id("concat-total")),
        )

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer with a bare 200."""
        return sms.PLAIN_OK

    # --- out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part; Vonage makes one SMS or several of it.

        Raises:
            ChannelError: none of them was taken, or we cannot know.
        """
        text = sms.words(part, with_links=True)
        form = {
            "api_key": self._key,
            "api_secret": self._api_secret.get_secret_value(),
            "from": sms.digits_of(self._sender),
            "to": sms.digits_of(part.peer),
            "text": text,
            "type": "text" if sms_text.is_gsm(text) else "unicode",
            "status-report-req": "1",
            "client-ref": part.id,
        }
        if tools.hook_url:
            form["callback"] = f"{tools.hook_url}/status"  # without a query, which their signature might not cover
        answer = await tools.http.call("POST", f"{self._api}/sms/json", form=form)
        if not answer.is_fine:
            raise answer.failure()
        results = list(Fields(answer.object()).items("messages"))
        taken = tuple(
            found.id("message-id") for found in results if found.id("status") == "0" and found.id("message-id")
        )
        refused = [found for found in results if found.id("status") != "0"]
        if not taken:
            if refused:
                raise _refusal(refused[0])
            raise Uncertain(f"Vonage's answer names no message: {answer.text[:200]!r}")
        detail = ""
        if refused:
            why = _refusal(refused[0])
            detail = f"{len(refused)} of {len(results)} SMS of this text were not sent. {why}"
        return Receipt(taken, detail=detail)

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file of an MMS; it lies open for two days.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        return Fetched(*await tools.http.stream(reference))

    async def check(self, tools: Tools) -> Checked:
        """Ask for the balance.

        Raises:
            ChannelError: the account cannot be used.
        """
        query = {"api_key": self._key, "api_secret": self._api_secret.get_secret_value()}
        answer = await tools.http.call("GET", f"{self._api}/account/get-balance", query=query)
        if not answer.is_fine:
            raise answer.failure(
                "" if answer.status not in (401, 403) else "Vonage does not know this API key and secret"
            )
        value = Fields(answer.object()).text("value")
        return Checked("Vonage knows the account", sms.without_empty({"balance": f"{value} EUR" if value else ""}))


# --- reading ---


def _text(said: Said) -> str:
    if said.text("type") == "binary" and (data := said.text("data")):
        try:
            found = bytes.fromhex(data).decode()
        except ValueError:
            return f"[{data[:1_000]}]"
        return found if found.isprintable() else f"[{data[:1_000]}]"
    return said.text("text")


def _reported(said: Said, message_id: str) -> list[Event]:
    status = _STATES.get(said.text("status").lower())
    if status is None:
        return []
    code = said.id("err-code") if status == "failed" else ""
    code = "" if code == "0" else code
    return [
        Status(
            status=status,
            external_id=message_id,
            our_id=said.id("client-ref"),
            peer=sms.peer_named(said.text("msisdn")),
            occurred_at=sms.short_moment(said.text("scts")) or said.moment("message-timestamp"),
            error_code=code,
            error_text=_REASONS.get(code, ""),
            is_final=code not in _MAY_PASS,
            is_dead=code in _NO_SUCH_PEER,
        )
    ]


def _from(request: RawRequest, said: Said) -> str:
    """Return whom a message of the Messages API is from; its first version nests the number."""
    return said.text("from") or (object_of(request).text("from", "number") if request.body[:1] == b"{" else "")


def _of_messages_api(request: RawRequest, said: Said, context: ParseContext) -> list[Event]:
    """Read what the Messages API calls us with (developer.vonage.com, "Messages API: webhooks")."""
    fields = object_of(request)
    channel = fields.text("channel") or fields.text("from", "type")
    if channel not in ("", "sms", "mms", "rcs"):
        raise Unsupported(f"This is a {channel[:40]} message of the same Vonage account, and this channel is for SMS")
    message_id, when = fields.id("message_uuid"), fields.moment("timestamp")
    if state := fields.text("status"):
        status = _STATES.get(state)
        if status is None:
            return []
        is_failed = status == "failed"
        code = fields.id("error", "title") or fields.id("error", "code")
        return [
            Status(
                status=status,
                external_id=message_id,
                our_id=fields.id("client_ref"),
                peer=sms.peer_named(fields.text("to") or fields.text("to", "number")),
                occurred_at=when,
                error_code=code if is_failed else "",
                error_text=(fields.text("error", "detail") or fields.text("error", "reason")) if is_failed else "",
            )
        ]
    attachments = []
    for kind in ("image", "audio", "video", "file", "vcard"):
        if url := fields.text(kind, "url") or fields.text("message", "content", kind, "url"):
            kept = kind if kind != "vcard" else "file"
            attachments.append(
                Attachment(fields.text(kind, "name")[:200], "", 0, reference=url[:2_000], kind=kept)  # type: ignore[arg-type]
            )
    text = fields.text("text") or fields.text("message", "content", "text")
    caption = next((fields.text(kind, "caption") for kind in ("image", "video") if fields.text(kind, "caption")), "")
    return sms.received(
        _from(request, said),
        text or caption,
        context,
        external_id=message_id,
        occurred_at=when,
        attachments=attachments,
    )


# --- errors ---


def _refusal(result: Fields) -> ChannelError:
    """Return what a result of an SMS that was not taken means."""
    code = result.id("status")
    text = f"Vonage says: {result.text('error-text') or 'nothing more'} ({code or 'no status'})"
    if code == "1":
        wait = re.search(r"\[\s*(\d+)\s*\]", result.text("error-text"))
        return Throttled(text, int(wait[1][:6]) / 1000 if wait else None, code=code)
    if code == "10":
        return Throttled(text, code=code)
    if code == "5":
        return Temporary(text, code=code)
    if code in _CREDENTIALS:
        return Unauthorised(f"{text}. Check the API key and secret", code=code)
    if code in _ACCOUNT:
        return Misconfigured(f"{text}. See Vonage's dashboard", code=code)
    if code in _GONE:
        return RecipientGone(text, code=code)
    return Undeliverable(text, code=code)
