"""SMS and MMS through Telnyx.

Reaches   any phone; MMS in North America
Set up    an API key, the account's public key, and a number that belongs to a messaging profile. The profile's webhook
          is the hook's address; with its id in the settings, saving sets it
Calls us  POST JSON, one event each: `message.received`, `message.sent`, `message.finalized`
Checks    `telnyx-signature-ed25519` over the timestamp, a bar and the body, at most 5 minutes old (as Telnyx's own
          libraries have it)
Repeats   the event's id. There is no idempotency key
Quirks    states stand in `to[]`, one for each recipient; events of a message come in any order; links to pictures
          expire
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar, Literal
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, SecretStr

from channels import sms
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
from channels.fields import Fields, object_of
from channels.http import Answer
from core.kernel.addresses import PHONE
from core.kernel.envelopes import Attachment, Event, Status
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest, Reply

API = "https://api.telnyx.com"
OLDEST = timedelta(seconds=300)

_STATES: Mapping[str, Literal["sent", "delivered", "read", "failed"]] = {
    "queued": "sent",
    "sending": "sent",
    "sent": "sent",
    "delivery_unconfirmed": "sent",
    "delivered": "delivered",
    "read": "read",
    "sending_failed": "failed",
    "delivery_failed": "failed",
    "expired": "failed",
}
# developers.telnyx.com, "Messaging error codes"
_OPTED_OUT = {"40300"}
_NO_SUCH_PEER = {"40310", "40001", "40009"}
_SENDER_WRONG = {"40305", "40306", "40307", "40013", "40312"}
_THROTTLED = {"10011", "40011", "40014", "40318", "40333"}
_MAY_PASS = {"40003", "40004", "40005", "40006", "40007", "40011", "40014", "40100", "50101"}
_FUNDS = {"20100", "40315"}


class TelnyxSms(sms.SmsPeers):
    """Receives and sends through Telnyx."""

    kind: ClassVar[str] = "sms_telnyx"
    title: ClassVar[str] = "SMS: Telnyx"
    group: ClassVar[Group] = "sms"
    account = ""
    sending: Sending = Sending(
        text=670,  # ten parts of UCS-2
        unit=Unit.SMS,
        caption=400,  # where MMS does not go, the files' addresses come below
        media={
            "image": Media(1_000_000),
            "audio": Media(1_000_000),
            "voice": Media(1_000_000),
            "video": Media(1_000_000),
            "file": Media(1_000_000),
        },
        album=2,
        capabilities=frozenset({Capability.START, Capability.DELIVERY_RECEIPTS}),
        addresses=(PHONE,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        api_key: SecretStr = Field(title="API key", description="From the portal, under API keys; it begins with KEY.")
        public_key: str = Field(
            title="Public key", description="From the portal, under API keys; what webhooks are checked with."
        )
        sender: str = Field(title="Sender", description="Your number, or a name where those are allowed.", min_length=1)
        messaging_profile_id: str = Field(
            "",
            title="Messaging profile",
            description="Its id. Needed if the sender is a name, and for us to set the profile's webhook.",
            json_schema_extra={"advanced": True},
        )
        per_second: float = sms.per_second(6)

    def __init__(self, settings: Settings) -> None:
        self.sending = replace(self.sending, per_second=settings.per_second)
        self._api = settings.base_url.rstrip("/") or API
        self._key = settings.api_key
        self._public_key = settings.public_key.strip()
        self._sender = settings.sender.strip()
        self._profile = settings.messaging_profile_id.strip()

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature and its age.

        Raises:
            BadSignature: it is missing, old or another's. NotConfigured: the public key is missing or is none.
        """
        key = self._ed25519()
        stamp = request.headers.get("telnyx-timestamp", "").strip()
        made = Fields(stamp).moment() if stamp.isdecimal() else None
        if made is None or abs(now - made) > OLDEST:
            raise BadSignature("The request was signed too long ago, or our clock is wrong. Nothing was stored")
        try:
            signature = base64.b64decode(request.headers.get("telnyx-signature-ed25519", ""), validate=True)
            key.verify(signature, stamp.encode() + b"|" + request.body)
        except (binascii.Error, ValueError, InvalidSignature):
            raise BadSignature("The signature is not Telnyx's. Check the public key. Nothing was stored") from None

    def route(self, request: RawRequest) -> Routed:
        """Tell events by their id.

        Raises:
            Malformed: the body is no JSON object.
        """
        data = object_of(request).at("data")
        peer = data.text("payload", "from", "phone_number")
        if data.text("event_type") != "message.received":
            peer = data.text("payload", "to", 0, "phone_number")
        key = data.id("id")
        return Routed(f"event:{key}" if key else "content:" + sms.digest(request.body), None, sms.peer_key(peer))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a message or the states of one.

        Raises:
            Malformed: the body is no JSON object.
        """
        data = object_of(request).at("data")
        kind, payload = data.text("event_type"), data.at("payload")
        when = data.moment("occurred_at")
        message_id = payload.id("id")
        if not message_id:
            return []
        if kind == "message.received":
            return sms.received(
                payload.text("from", "phone_number"),
                payload.text("text"),
                context,
                external_id=message_id,
                occurred_at=payload.moment("received_at") or when,
                attachments=[
                    Attachment(
                        "",
                        media.text("content_type")[:100],
                        max(0, media.whole("size") or 0),
                        reference=media.text("url")[:2_000],
                        kind=sms.media_kind(media.text("content_type")),
                    )
                    for media in payload.items("media")
                    if media.text("url")
                ],
            )
        if kind not in ("message.sent", "message.finalized"):
            return []
        events: list[Event] = []
        for recipient in payload.items("to"):
            events += _reported(payload, recipient, message_id, sms.our_part(request), when)
        return events

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer with a bare 200."""
        return sms.PLAIN_OK

    def _ed25519(self) -> Ed25519PublicKey:
        try:
            if self._public_key:
                return Ed25519PublicKey.from_public_bytes(base64.b64decode(self._public_key, validate=True))
        except (binascii.Error, ValueError):
            pass
        raise NotConfigured(
            "This channel has no public key of Telnyx's (44 characters, from the portal's page on API keys), so "
            "nothing is accepted. Enter it in its settings"
        )

    # --- out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part as one message.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        body: dict[str, object] = {"from": self._sender, "to": part.peer}
        if self._profile:
            body["messaging_profile_id"] = self._profile
        if part.files and sms.carries_media(part.peer):
            body |= {"text": sms.words(part), "media_urls": sms.media_urls(part), "type": "MMS"}
        else:
            body["text"] = sms.words(part, with_links=True)
        if callback := sms.status_url(tools, part):
            body |= {"webhook_url": callback, "use_profile_webhooks": False}
        answer = await tools.http.call("POST", f"{self._api}/v2/messages", json=body, headers=self._headers)
        if not answer.is_fine:
            raise _error(answer)
        said = Fields(answer.object())
        message_id = said.id("data", "id")
        if not message_id:
            if said.at("errors"):
                raise _error(answer)
            raise Uncertain(f"Telnyx's answer names no message: {answer.text[:200]!r}")
        return Receipt((message_id,))

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file of an MMS.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        return Fetched(*await tools.http.stream(reference))

    async def check(self, tools: Tools) -> Checked:
        """Ask for the balance.

        Raises:
            ChannelError: the account cannot be used.
        """
        self._check_key()
        answer = await tools.http.call("GET", f"{self._api}/v2/balance", headers=self._headers)
        if not answer.is_fine:
            raise _error(answer)
        data = Fields(answer.object()).at("data")
        balance = f"{data.text('balance')} {data.text('currency')}".strip()
        return Checked("Telnyx knows the key", sms.without_empty({"balance": balance}))

    async def setup(self, tools: Tools) -> str:
        """Point the messaging profile to us.

        Raises:
            ChannelError: Telnyx does not let us; the message says what to do by hand.
        """
        if not self._profile:
            return f"Enter {tools.hook_url} in Telnyx's portal, as the webhook of the number's messaging profile"
        await self._point(tools.hook_url, tools)
        return "The messaging profile now sends its messages to us"

    async def teardown(self, tools: Tools) -> None:
        """Take our address off the profile, if it is there.

        Raises:
            ChannelError: it could not be done.
        """
        if not self._profile:
            return
        answer = await tools.http.call("GET", self._profile_url, headers=self._headers)
        if not answer.is_fine:
            raise _error(answer)
        if Fields(answer.object()).text("data", "webhook_url") == tools.hook_url:
            await self._point("", tools)

    async def _point(self, url: str, tools: Tools) -> None:
        body = {"webhook_url": url, "webhook_api_version": "2"}
        answer = await tools.http.call("PATCH", self._profile_url, json=body, headers=self._headers, repeatable=True)
        if not answer.is_fine:
            raise _error(answer)

    def _check_key(self) -> None:
        try:
            self._ed25519()
        except NotConfigured as error:
            raise Misconfigured(str(error)) from None

    @property
    def _profile_url(self) -> str:
        return f"{self._api}/v2/messaging_profiles/{quote(self._profile, safe='')}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"}


def _reported(payload: Fields, recipient: Fields, message_id: str, our_id: str, when: datetime | None) -> list[Event]:
    status = _STATES.get(recipient.text("status"))
    if status is None:
        return []
    is_failed = status == "failed"
    code = payload.id("errors", 0, "code") if is_failed else ""
    raw_peer = recipient.text("phone_number")
    text = " ".join(filter(None, (payload.text("errors", 0, "title"), payload.text("errors", 0, "detail"))))
    events: list[Event] = [
        Status(
            status=status,
            external_id=message_id,
            our_id=our_id,
            peer=sms.peer_named(raw_peer),
            occurred_at=when,
            error_code=code,
            error_text=text[:500] if is_failed else "",
            is_final=code not in _MAY_PASS,
            is_dead=code in _NO_SUCH_PEER,
        )
    ]
    return events + (sms.opted_out(raw_peer, when) if code in _OPTED_OUT else [])


def _error(answer: Answer) -> ChannelError:
    """Return what a refusal means: `{"errors": [{"code": "40300", "title": …, "detail": …}]}`."""
    try:
        first = Fields(answer.json()).at("errors", 0)
    except Uncertain:
        first = Fields(None)
    code = first.id("code")
    why = " ".join(filter(None, (first.text("title"), first.text("detail")))) or answer.text[:200].strip()
    text = f"Telnyx says: {why or 'nothing more'} ({code or answer.status})"
    if code in _OPTED_OUT:
        return RecipientGone(f"They answered STOP, so nothing may go to them. {text}", code=code, opted_out=True)
    if code in _NO_SUCH_PEER:
        return RecipientGone(text, code=code)
    if code in _THROTTLED or answer.status == 429:
        return Throttled(text, answer.retry_after, code=code)
    if code in _FUNDS or code in _SENDER_WRONG:
        return Misconfigured(f"{text}. See Telnyx's portal", code=code)
    if code == "10009" or code.startswith("20") or answer.status in (401, 403):
        return Unauthorised(f"{text}. Check the API key", code=code)
    return answer.failure(text, code=code)
