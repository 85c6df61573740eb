"""SMS, MMS and WhatsApp through Twilio's Messaging API.

Reaches   any phone; MMS where the network carries it; WhatsApp if the sender is `whatsapp:+…`
Set up    account SID and auth token of the console, and a sender. Saving sets the number's webhook; that of a messaging
          service or a WhatsApp sender is set in the console: the hook's address, method POST
Calls us  POST urlencoded, for messages and for states (the address of these names our part)
Checks    `X-Twilio-Signature`: HMAC over the URL and the sorted parameters, SHA-1 with the auth token, or SHA-256 with
          the shared key where `X-Twilio-Webhooks-Signature-Settings` says so; of JSON the query's `bodySHA256`
          (twilio.com/docs/usage/webhooks/webhooks-security, and Twilio's own validators for repeated names and ports)
Repeats   MessageSid, with its state. A message sent twice is sent twice: there is no idempotency key
Quirks    joined messages sometimes come as base64; a text/plain answer would be sent to the customer, so it is TwiML;
          files lie behind our credentials and redirect to a store that must not see them
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import Field, SecretStr

from channels import sms, sms_twilio_said, twilio_signature
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    KnownTemplate,
    Media,
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
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
    WindowClosed,
)
from channels.fields import Fields
from channels.http import Answer
from channels.sms import Said
from channels.sms_twilio_said import NO_SUCH_PEER, OPTED_OUT, PREFIX, USER_ID
from channels.twilio_account import CREDENTIALS, Account
from core.kernel import addresses
from core.kernel.addresses import PHONE, Address
from core.kernel.envelopes import Claim, Event, Trust
from webhooks.request import RawRequest, Reply

CONTENT_API = "https://content.twilio.com"
WHATSAPP = "whatsapp"
WINDOW = timedelta(hours=24)

_TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
_CONTENT_SID = re.compile(r"HX[0-9a-f]{32}")
# https://www.twilio.com/docs/api/errors
_WINDOW_CLOSED = {"63016"}
_THROTTLED = {"20429", "14107", "21611", "30001", "63018"}
_SENDER_WRONG = {"21212", "21603", "21606", "21659", "21660", "21703", "30002", "63007"}


class TwilioSms(sms.SmsPeers):
    """Receives and sends through Twilio."""

    kind: ClassVar[str] = "sms_twilio"
    title: ClassVar[str] = "SMS: Twilio"
    group: ClassVar[Group] = "sms"
    account = ""
    sending: Sending = Sending(
        text=1600,
        unit=Unit.SMS,
        caption=1400,  # where MMS does not go, the file's address comes below
        media={
            "image": Media(5_000_000),
            "audio": Media(5_000_000),
            "voice": Media(5_000_000),
            "video": Media(5_000_000),
            "file": Media(5_000_000),
        },
        album=1,  # all that WhatsApp takes
        per_peer=0.2,
        capabilities=frozenset(
            {Capability.START, Capability.DELIVERY_RECEIPTS, Capability.READ_RECEIPTS, Capability.TEMPLATES}
        ),
        addresses=(PHONE,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        account_sid: str = Field(title="Account SID", description="From the console; it begins with AC.", min_length=1)
        auth_token: SecretStr = Field(title="Auth token", description="From the console, beside the account SID.")
        sender: str = Field(
            title="Sender",
            description="Your number (+…), a short code, a name, a messaging service (MG…) or whatsapp:+….",
            min_length=1,
        )
        shared_key: SecretStr = Field(
            SecretStr(""),
            title="Shared key",
            description="Only if the account signs its webhooks with a shared key (SHA-256).",
            json_schema_extra={"advanced": True},
        )
        per_second: float = sms.per_second(10)

    def __init__(self, settings: Settings) -> None:
        self.sending = replace(self.sending, per_second=settings.per_second)
        self._account = Account(settings.account_sid, settings.auth_token, settings.base_url, _error)
        self._content_api = settings.base_url.rstrip("/") or CONTENT_API
        self._token = settings.auth_token
        self._shared_key = settings.shared_key
        self._sender = settings.sender.strip()

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature.

        Raises:
            BadSignature: it is missing or another's. NotConfigured: the secret it was made with is not entered.
            Malformed: the body cannot be read.
        """
        twilio_signature.check(request, self._token, self._shared_key)

    def route(self, request: RawRequest) -> Routed:
        """Tell messages by their sid, reports by sid and state.

        Raises:
            Malformed: the body cannot be read.
        """
        said = sms.said(request)
        sid = said.id("MessageSid", "SmsMessageSid", "SmsSid")
        if not sid:
            return Routed("content:" + sms.digest(request.query, request.body))
        if state := sms_twilio_said.state(said):
            key = f"status:{sid}:{state}:{said.id('ErrorCode')}"[:200]
            return Routed(key, None, sms.peer_key(said.text("To")))
        return Routed(f"message:{sid}"[:200], None, sms.peer_key(said.text("From")))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a message or a report.

        Raises:
            Malformed: the body cannot be read.
        """
        said = sms.said(request)
        if state := sms_twilio_said.state(said):
            return sms_twilio_said.reported(said, state, sms.our_part(request))
        sid = said.id("MessageSid", "SmsMessageSid", "SmsSid")
        if not sid or not said.text("From"):
            return []
        claims, peer = self._claims(said, context)
        is_whatsapp = bool(claims) and claims[0].address.scheme == WHATSAPP
        return sms.received(
            said.text("From"),
            sms_twilio_said.text(said),
            context,
            external_id=sid,
            claims=claims,
            peer=peer,
            name=" ".join(said.text("ProfileName").split())[:300],
            attachments=sms_twilio_said.attachments(said),
            reply_to=said.id("OriginalRepliedMessageSid"),
            attribution=sms_twilio_said.attribution(said),
            replies_until=context.received_at + WINDOW if is_whatsapp else None,
        )

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer with TwiML that does nothing; any other text would go to the customer."""
        return Reply(_TWIML, 200, "text/xml")

    def _claims(self, said: Said, context: ParseContext) -> tuple[list[Claim], str]:
        """Return by what the sender is known on WhatsApp; nothing for a plain SMS, which `sms.received` reads."""
        raw = said.text("From")
        if not (raw.startswith(PREFIX) or "WaId" in said or self._sender.startswith(PREFIX)):
            return [], ""
        value = raw.removeprefix(PREFIX).strip()
        user = said.text("ExternalUserId").removeprefix(PREFIX).strip()
        number = None if USER_ID.fullmatch(value) else addresses.phone(value, context.default_country)
        claims = []
        if number:
            claims.append(Claim(Address(WHATSAPP, number.lstrip("+")), raw[:60], Trust.ATTESTED))
            claims.append(Claim(Address(PHONE, number), raw[:60], Trust.ATTESTED))
        for name in dict.fromkeys((value, user)):
            if USER_ID.fullmatch(name):
                claims.append(Claim(Address(WHATSAPP, name[:60]), name[:60], Trust.ATTESTED))
        return claims, PREFIX + (number or value)[:60] if claims else ""

    # --- out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part as one message.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        to = PREFIX + part.peer if self._sender.startswith(PREFIX) and ":" not in part.peer else part.peer
        form = [("To", to)]
        if self._sender.startswith("MG"):
            form.append(("MessagingServiceSid", self._sender))
        else:
            form.append(("From", self._sender))
        if part.template is not None:
            found = _CONTENT_SID.search(part.template.name)
            if found is None:
                raise Undeliverable(f"{part.template.name!r} is no template of Twilio: its name holds an HX… id")
            values = {str(place): value for place, value in enumerate(part.template.values, 1)}
            form += [("ContentSid", found[0]), ("ContentVariables", json.dumps(values, ensure_ascii=False))]
        elif part.files and (to.startswith(PREFIX) or sms.carries_media(to)):
            form += [("Body", sms.words(part)), *(("MediaUrl", url) for url in sms.media_urls(part))]
        else:
            form.append(("Body", sms.words(part, with_links=True)))
        if callback := sms.status_url(tools, part):
            form.append(("StatusCallback", callback))
        answer = await tools.http.call(
            "POST", self._account.url("Messages.json"), form=form, headers=self._account.headers
        )
        if not answer.is_fine:
            raise _error(answer)
        said = Fields(answer.object())
        sid, code = said.id("sid"), said.id("error_code")
        if said.text("status") in ("failed", "undelivered") or (code and not sid):
            raise _meaning(code, said.text("error_message"), answer)
        if not sid:
            raise Uncertain("Twilio took the message but gave it no id, so nobody knows what became of it")
        return Receipt((sid,))

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file of a message. Our credentials go to Twilio alone, not to the store it redirects to.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        headers = self._account.headers if self._account.is_theirs(reference) else None
        chunks, content_type, size = await tools.http.stream(reference, headers=headers)
        return Fetched(chunks, content_type, size)

    async def check(self, tools: Tools) -> Checked:
        """Ask for the account and its balance.

        Raises:
            ChannelError: the account cannot be used.
        """
        return await self._account.check(tools)

    async def setup(self, tools: Tools) -> str:
        """Point the number's webhook for messages to us.

        Raises:
            ChannelError: Twilio does not let us; the message says what to do by hand.
        """
        number = await self._number(tools)
        if number is None:
            return f"Enter {tools.hook_url} in Twilio's console, as the address for incoming messages, method POST"
        if number.text("sms_url") == tools.hook_url and number.text("sms_method") == "POST":
            return f"{self._sender} already points to us"
        await self._account.change(number, {"SmsUrl": tools.hook_url, "SmsMethod": "POST"}, tools)
        return f"{self._sender} now sends its messages to us"

    async def teardown(self, tools: Tools) -> None:
        """Take our address off the number, if it is there.

        Raises:
            ChannelError: it could not be done.
        """
        number = await self._number(tools)
        if number is not None and number.text("sms_url") == tools.hook_url:
            await self._account.change(number, {"SmsUrl": "", "SmsMethod": "POST"}, tools)

    async def templates(self, tools: Tools) -> Sequence[KnownTemplate]:
        """List the content templates of the account.

        Raises:
            ChannelError: as in `send`.
        """
        url = f"{self._content_api}/v1/ContentAndApprovals"
        listed = await self._account.get(url, tools, {"PageSize": "200"})
        found = []
        for content in listed.items("contents"):
            types = content.at("types")
            body = next((types.text(name, "body") for name in types.keys() if types.text(name, "body")), "")  # noqa: SIM118
            state = content.text("approval_requests", "status")
            found.append(
                KnownTemplate(
                    f"{content.text('friendly_name')} {content.id('sid')}",
                    content.text("language"),
                    body,
                    content.text("approval_requests", "category"),
                    state in ("approved", "") or not self._sender.startswith(PREFIX),
                )
            )
        return found

    def peer_of(self, address: Address) -> str | None:
        """Return a number; on WhatsApp with the prefix Twilio wants."""
        if address.scheme == WHATSAPP:
            return PREFIX + (address.value if USER_ID.fullmatch(address.value) else "+" + address.value)
        found = super().peer_of(address)
        return PREFIX + found if found and self._sender.startswith(PREFIX) else found

    def address_of(self, peer: str) -> Address:
        """Return the WhatsApp account, or the phone."""
        if peer.startswith(PREFIX):
            return Address(WHATSAPP, peer.removeprefix(PREFIX).removeprefix("+"))
        return super().address_of(peer)

    async def _number(self, tools: Tools) -> Fields | None:
        """Ask for our number; None for senders that are none, or not of this account."""
        if not self._sender.startswith("+"):
            return None
        return await self._account.number(self._sender, tools)


# --- errors ---


def _error(answer: Answer) -> ChannelError:
    """Return what a refusal means; it is `{"code": 21610, "message": …}` where it comes from the API itself."""
    try:
        said = Fields(answer.json())
    except Uncertain:
        return answer.failure()
    return _meaning(said.id("code"), said.text("message"), answer)


def _meaning(code: str, message: str, answer: Answer) -> ChannelError:
    text = f"Twilio says: {message or 'nothing more'} ({code or answer.status})"
    if code in OPTED_OUT:
        return RecipientGone(f"They answered STOP, so nothing may go to them. {text}", code=code, opted_out=True)
    if code in NO_SUCH_PEER:
        return RecipientGone(text, code=code)
    if code in _WINDOW_CLOSED:
        return WindowClosed(f"More than 24 hours since their last message: send a template. {text}", code=code)
    if code in _THROTTLED or answer.status == 429:
        return Throttled(text, answer.retry_after, code=code)
    if code in CREDENTIALS:
        return Unauthorised(f"{text}. Check the account SID and the auth token", code=code)
    if code in _SENDER_WRONG:
        return Misconfigured(f"{text}. Check the sender in the connection's settings", code=code)
    if answer.is_fine:
        return Undeliverable(text, code=code)
    return answer.failure(text, code=code)
