"""SMS and MMS through Plivo.

Reaches   any phone; MMS in North America
Set up    auth ID and auth token of the console, and a number. There, give the number an application whose message URL
          is the hook's address, method POST
Calls us  POST or GET, urlencoded, for messages and for states
Checks    `X-Plivo-Signature-V3` (several are possible: the account's and a subaccount's): HMAC-SHA256 of the address,
          the sorted parameters and a nonce; else `X-Plivo-Signature-V2`, of the address and the nonce (as Plivo's own
          libraries make them). A V2 alone does not cover the parameters; it is taken, since older applications send
          nothing else, unless the settings say no
Repeats   MessageUUID, with its state. There is no idempotency key
Quirks    a long text is one `message_uuid` and several reports, whose ParentMessageUUID is that one; names are written
          in either case
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, quote

from pydantic import Field, SecretStr

from channels import shared_secret, sms
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
from channels.errors import ChannelError, Misconfigured, RecipientGone, Throttled, Unauthorised, Uncertain
from channels.fields import Fields
from channels.http import Answer, origin_of
from channels.sms import Said
from core.kernel.addresses import PHONE
from core.kernel.envelopes import Attachment, Event, Status
from webhooks.errors import BadSignature, Malformed, NotConfigured
from webhooks.request import RawRequest, Reply

API = "https://api.plivo.com"

_STATES: Mapping[str, Literal["sent", "delivered", "read", "failed"]] = {
    "queued": "sent",
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "undelivered": "failed",
    "failed": "failed",
    "rejected": "failed",
}
# plivo.com/docs, "Messaging error codes"
_OPTED_OUT = {"200"}
_NO_SUCH_PEER = {"30", "40", "50"}
_MAY_PASS = {"20", "80", "300", "420"}
_EMPTY = b"<Response></Response>"


class PlivoSms(sms.SmsPeers):
    """Receives and sends through Plivo."""

    kind: ClassVar[str] = "sms_plivo"
    title: ClassVar[str] = "SMS: Plivo"
    group: ClassVar[Group] = "sms"
    account = ""
    sending: Sending = Sending(
        text=737,  # eleven parts of UCS-2
        unit=Unit.SMS,
        caption=300,  # where MMS does not go, the files' addresses come below
        media={
            "image": Media(5_000_000),
            "audio": Media(5_000_000),
            "voice": Media(5_000_000),
            "video": Media(5_000_000),
            "file": Media(5_000_000),
        },
        album=3,
        capabilities=frozenset({Capability.START, Capability.DELIVERY_RECEIPTS}),
        addresses=(PHONE,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        auth_id: str = Field(title="Auth ID", description="From the console's overview.", min_length=1)
        auth_token: SecretStr = Field(title="Auth token", description="From the console's overview.")
        sender: str = Field(title="Sender", description="Your number, or a name where those are allowed.", min_length=1)
        only_v3: bool = Field(
            False,
            title="Only signatures of version 3",
            description="Refuse requests signed in the older way, which covers the address alone.",
            json_schema_extra={"advanced": True},
        )
        per_second: float = sms.per_second(5)

    def __init__(self, settings: Settings) -> None:
        self.sending = replace(self.sending, per_second=settings.per_second)
        self._api = settings.base_url.rstrip("/") or API
        self._id = settings.auth_id.strip()
        self._token = settings.auth_token
        self._sender = settings.sender.strip()
        self._only_v3 = settings.only_v3

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature.

        Raises:
            BadSignature: it is missing or another's. NotConfigured: there is no auth token.
            Malformed: the request cannot be read.
        """
        token = self._token.get_secret_value()
        if not token:
            raise NotConfigured("This channel has no auth token to check Plivo's signatures with. Enter it")
        headers = request.headers
        for name in ("x-plivo-signature-v3", "x-plivo-signature-ma-v3"):
            if headers.get(name):
                signed = signed_v3(request, headers.get("x-plivo-signature-v3-nonce", ""))
                _compare(headers[name], signed, token)
                return
        for name in ("x-plivo-signature-v2", "x-plivo-signature-ma-v2"):
            if headers.get(name) and not self._only_v3:
                signed = request.url.partition("?")[0] + headers.get("x-plivo-signature-v2-nonce", "")
                _compare(headers[name], signed, token)
                return
        raise BadSignature("The request carries no signature of Plivo's that is taken. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell messages by their id, reports by id and state.

        Raises:
            Malformed: the request cannot be read.
        """
        said = sms.said(request)
        message_id = said.id("MessageUUID")
        if not message_id:
            return Routed("content:" + sms.digest(request.query, request.body))
        if state := said.text("Status"):
            return Routed(f"status:{message_id}:{state}"[:200], None, sms.peer_key(said.text("To")))
        return Routed(f"message:{message_id}"[:200], None, sms.peer_key(said.text("From")))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a message or a report.

        Raises:
            Malformed: the request cannot be read.
        """
        said = sms.said(request)
        if state := said.text("Status"):
            return _reported(said, state.lower(), sms.our_part(request))
        message_id = said.id("MessageUUID")
        if not message_id or not said.text("From"):
            return []
        return sms.received(
            said.text("From"),
            said.text("Text", "Body"),
            context,
            external_id=message_id,
            attachments=_attachments(said),
        )

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer with XML that does nothing: text could be sent on."""
        return Reply(_EMPTY, 200, "text/xml")

    # --- out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part as one message.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        body: dict[str, object] = {"src": sms.digits_of(self._sender), "dst": sms.digits_of(part.peer), "type": "sms"}
        if part.files and sms.carries_media(part.peer):
            body |= {"type": "mms", "text": sms.words(part), "media_urls": sms.media_urls(part)}
        else:
            body["text"] = sms.words(part, with_links=True)
        if callback := sms.status_url(tools, part):
            body |= {"url": callback, "method": "POST"}
        answer = await tools.http.call("POST", self._url("Message/"), json=body, headers=self._headers)
        if not answer.is_fine:
            raise _error(answer)
        said = Fields(answer.object())
        ids = tuple(found.id() for found in said.items("message_uuid") if found.id())
        if not ids:
            if said.text("error"):
                raise _error(answer)
            raise Uncertain(f"Plivo's answer names no message: {answer.text[:200]!r}")
        return Receipt(ids)

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file of an MMS; our credentials go to Plivo alone.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        is_theirs = origin_of(reference) in (origin_of(self._api), origin_of(API))
        return Fetched(*await tools.http.stream(reference, headers=self._headers if is_theirs else None))

    async def check(self, tools: Tools) -> Checked:
        """Ask for the account and its credits.

        Raises:
            ChannelError: the account cannot be used.
        """
        answer = await tools.http.call("GET", self._url(""), headers=self._headers)
        if not answer.is_fine:
            raise _error(answer)
        account = Fields(answer.object())
        facts = {"account": account.text("name"), "balance": account.text("cash_credits")}
        return Checked("Plivo knows the account", sms.without_empty(facts))

    @property
    def _headers(self) -> dict[str, str]:
        return sms.basic(self._id, self._token.get_secret_value())

    def _url(self, resource: str) -> str:
        return f"{self._api}/v1/Account/{quote(self._id, safe='')}/{resource}"


# --- signatures ---


def signed_v3(request: RawRequest, nonce: str) -> str:
    """Return what a signature of version 3 is made over.

    The address; behind a `?` the sorted query; of a POST with parameters these too, sorted and without any separator,
    behind the `?` and, if there was a query, a `.`. At the end `.` and the nonce.

    Raises:
        Malformed: the request cannot be read.
    """
    address, _, query = request.url.partition("?")
    try:
        asked = parse_qsl(query, keep_blank_values=True, max_num_fields=500)
    except ValueError as error:
        raise Malformed(f"The request's query cannot be read: {str(error)[:200]}") from error
    sent = [] if request.method == "GET" else sms.body_parameters(request)
    written = "&".join(f"{name}={value}" for name, value in sorted(asked))
    if sent:
        written += ("." if written else "") + "".join(name + value for name, value in sorted(sent))
    return f"{address}{'?' if written else ''}{written}.{nonce}"


def _compare(given: str, signed: str, token: str) -> None:
    made = hmac.new(token.encode(), signed.encode("utf-8", "replace"), hashlib.sha256).digest()
    expected = base64.b64encode(made).decode()
    if not any(shared_secret.same(found.strip(), expected) for found in given.split(",")):
        raise BadSignature(
            "The signature is not that of this account. Check the auth token, and that Plivo calls the very address "
            "shown in the connection's settings. Nothing was stored"
        )


# --- reading ---


def _reported(said: Said, state: str, our_id: str) -> list[Event]:
    status = _STATES.get(state)
    message_id = said.id("ParentMessageUUID", "MessageUUID")
    if status is None or not (message_id or our_id):
        return []
    code = said.id("ErrorCode") if status == "failed" else ""
    code = "" if code == "000" else code
    peer = said.text("To")
    events: list[Event] = [
        Status(
            status=status,
            external_id=message_id,
            our_id=our_id,
            peer=sms.peer_named(peer),
            error_code=code,
            is_final=code not in _MAY_PASS,
            is_dead=code in _NO_SUCH_PEER,
        )
    ]
    return events + (sms.opted_out(peer) if code in _OPTED_OUT else [])


def _attachments(said: Said) -> list[Attachment]:
    found = []
    for place in range(20):
        if url := said.text(f"Media{place}"):
            content_type = said.text(f"MediaContentType{place}").lower()[:100]
            found.append(Attachment("", content_type, 0, reference=url[:2_000], kind=sms.media_kind(content_type)))
    return found


# --- errors ---


def _error(answer: Answer) -> ChannelError:
    """Return what a refusal means; it is `{"error": …}` where it comes from the API itself."""
    try:
        said = Fields(answer.json()).text("error")
    except Uncertain:
        said = ""
    text = f"Plivo says: {said or answer.text[:200].strip() or 'nothing more'} ({answer.status})"
    code = str(answer.status)
    if answer.status in (401, 403):
        return Unauthorised(f"{text}. Check the auth ID and the auth token", code=code)
    if answer.status == 402:
        return Misconfigured(f"{text}. The account has no credit", code=code)
    if answer.status == 429:
        return Throttled(text, answer.retry_after, code=code)
    if "opted out" in said.lower():
        return RecipientGone(text, code=code, opted_out=True)
    return answer.failure(text)
