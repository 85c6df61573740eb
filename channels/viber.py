"""Viber bots.

Reaches   people who wrote to the bot or subscribed to it, by the id Viber gave them for this bot
Set up    enter the bot's token (Viber Admin Panel); "Set up" registers the hook by itself
Calls us  POST /hooks/<connection>, JSON, one event a request; registering calls us at once with `event: webhook`
Checks    `X-Viber-Content-Signature`: hex HMAC-SHA256 of the raw body under the token
Repeats   Viber repeats what was not answered with 200. `message_token` with the event and the user tells them; it is a
          64-bit number, so it is handled as text, and reports of what became of a message carry the message's own
Quirks    the answer to `conversation_started` may be the one message allowed before somebody subscribes: `welcome`.
          Viber fetches files itself, so it needs a public address of them. Only a picture has a caption. `delivered`
          is reported for incoming messages too. Errors come with status 200

Source: developers.viber.com/docs/api/rest-bot-api; what the statuses there mean to us is in `channels.viber_messages`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field, SecretStr

from channels import fields
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    Media,
    ParseContext,
    Part,
    Profile,
    Receipt,
    Routed,
    Sending,
    Tools,
)
from channels.errors import Misconfigured, Throttled, Uncertain, Undeliverable
from channels.fields import Fields
from channels.shared_secret import same
from channels.viber_messages import NO_ADDRESS, file_message, keyboard, read_message, refusal
from core.kernel.addresses import Address
from core.kernel.envelopes import Attribution, Claim, Event, Signal, Status, Trust
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest, Reply

API = "https://chatapi.viber.com"
_EVENTS = ("delivered", "seen", "failed", "subscribed", "unsubscribed", "conversation_started")
_NAMELESS = "Bot"
_MOST_FILE = 50 * 1024 * 1024


class Viber:
    """Receives and sends as one bot."""

    kind: ClassVar[str] = "viber"
    title: ClassVar[str] = "Viber"
    group: ClassVar[Group] = "messenger"
    account = ""
    sending: ClassVar[Sending] = Sending(
        text=7000,
        media={
            "image": Media(1024 * 1024, ("image/jpeg",), caption=768),
            "video": Media(26 * 1024 * 1024, ("video/mp4",)),
            "audio": Media(_MOST_FILE),
            "voice": Media(_MOST_FILE),
            "file": Media(_MOST_FILE),
        },
        per_second=50,
        capabilities=frozenset({Capability.BUTTONS, Capability.DELIVERY_RECEIPTS, Capability.READ_RECEIPTS}),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in.

        auth_token   the bot's token, which also signs what Viber sends
        sender_name  whom people see as the author; empty: the bot's own name
        welcome      what to say to somebody who opens the chat for the first time; empty: nothing
        """

        auth_token: SecretStr = Field(title="Token of the bot", description="From the Viber Admin Panel.")
        sender_name: str = Field(
            "",
            max_length=28,
            title="Name of the sender",
            description="Shown above our messages, at most 28 characters. Empty: the bot's own name.",
            json_schema_extra={"advanced": True},
        )
        welcome: str = Field(
            "",
            max_length=7000,
            title="Welcome",
            description="Sent when somebody opens the chat for the first time, before they subscribe.",
            json_schema_extra={"advanced": True},
        )

    def __init__(self, settings: Settings) -> None:
        self._token = settings.auth_token.get_secret_value()
        self._welcome = settings.welcome
        self._sender = settings.sender_name
        self._api = settings.base_url.rstrip("/") or API

    # --- what comes in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature.

        Raises:
            BadSignature: it is missing or wrong. NotConfigured: there is no token to check it with.
        """
        if not self._token:
            raise NotConfigured("This Viber channel has no token yet, so nothing is accepted. Enter it in its settings")
        expected = hmac.new(self._token.encode(), request.body, hashlib.sha256).hexdigest()
        if not same(request.headers.get("x-viber-content-signature", "").strip().lower(), expected):
            raise BadSignature("The request is not signed with this bot's token. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell events apart by kind, token and user.

        Raises:
            Malformed: the body is no JSON object.
        """
        event = fields.object_of(request)
        name, token, peer = event.id("event"), event.id("message_token"), _peer(event)
        if not token:
            token = hashlib.blake2b(request.body, digest_size=16).hexdigest()
        key = f"{name}:{token}:{peer}"
        if len(key) > fields.LONGEST_ID:
            key = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return Routed(key, None, peer)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the event; one we have no use for is none.

        Raises:
            Malformed: the body is no JSON object.
        """
        event = fields.object_of(request)
        name, peer, at = event.text("event"), _peer(event), event.moment("timestamp")
        if not peer:
            return []
        claim = Claim(Address(self.kind, peer), peer, Trust.ATTESTED)
        if name == "message":
            found = read_message(event, claim, context)
            return [found] if found is not None else []
        if name in ("delivered", "seen", "failed"):
            return _status(event, name, peer)
        if name == "conversation_started":
            return [
                Signal(
                    kind="started",
                    peer=peer,
                    occurred_at=at,
                    claims=(claim,),
                    name=event.text("user", "name"),
                    attribution=Attribution(reference=event.text("context")[:2_000] or None),
                )
            ]
        if name == "subscribed":
            person = event.text("user", "name")
            return [Signal(kind="opted_in", peer=peer, occurred_at=at, claims=(claim,), name=person)]
        if name == "unsubscribed":
            return [Signal(kind="gone", peer=peer, occurred_at=at, claims=(claim,))]
        return []

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer 200; to somebody who opens the chat with the welcome, if there is one."""
        if self._welcome and fields.object_of(request).text("event") == "conversation_started":
            message: dict[str, Any] = {"type": "text", "text": self._welcome, "tracking_data": reference}
            if self._sender:
                message["sender"] = {"name": self._sender}
            return Reply(json.dumps(message).encode())
        return Reply(b'{"status":0}')

    # --- what goes out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a text, or one file.

        Raises:
            ChannelError: as in `channels.contract.Sender`.
        """
        message: dict[str, Any] = {
            "receiver": part.peer,
            "tracking_data": part.id,
            "sender": {"name": await self._name(tools)},
            **(file_message(part.files[0], part.text) if part.files else {"type": "text", "text": part.text}),
        }
        if part.buttons:
            message["keyboard"] = keyboard(part)
        answer = await self._call("send_message", message, tools)
        token = answer.id("message_token")
        if not token:
            return Receipt((), detail="Viber gave the message no number, so what becomes of it will not be known")
        return Receipt((token,))

    def peer_of(self, address: Address) -> str | None:
        """Return the id behind a Viber address; nobody is reached by their phone."""
        return address.value if address.scheme == self.kind else None

    def address_of(self, peer: str) -> Address:
        """Return the address of somebody with this id."""
        return Address(self.kind, peer)

    # --- the rest ---

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file; Viber keeps it for an hour at a public address.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        chunks, content_type, size = await tools.http.stream(reference)
        return Fetched(chunks, content_type, size)

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask who somebody is. Viber answers twice in 12 hours for one person; beyond that it is not told.

        Raises:
            ChannelError: as in `send`.
        """
        try:
            answer = await self._call("get_user_details", {"id": peer}, tools, repeatable=True)
        except (Undeliverable, Throttled):
            return None
        return Profile(answer.text("user", "name"), answer.text("user", "language"))

    async def check(self, tools: Tools) -> Checked:
        """Ask for the bot's account, and whether Viber calls us.

        Raises:
            ChannelError: the token is wrong, the account is blocked, or Viber is away.
        """
        account = await self._call("get_account_info", {}, tools, repeatable=True)
        webhook = account.text("webhook")
        detail = f"The bot {account.text('name')} is connected."
        if tools.hook_url and webhook != tools.hook_url:
            detail = f"{detail} But Viber calls {webhook or 'nobody'}, not us: set the channel up to receive messages."
        facts = {
            "name": account.text("name"),
            "uri": account.text("uri"),
            "subscribers": account.text("subscribers_count"),
            "webhook": webhook,
        }
        return Checked(detail, {name: value for name, value in facts.items() if value})

    async def setup(self, tools: Tools) -> str:
        """Tell Viber to call us. It does so before it answers, so the hub has to be reachable by then.

        Raises:
            ChannelError: as in `check`; Misconfigured also where Viber cannot reach the address.
        """
        if not tools.hook_url:
            raise Misconfigured(f"Viber cannot be told where to call, since {NO_ADDRESS}")
        wanted = {"url": tools.hook_url, "event_types": list(_EVENTS), "send_name": True, "send_photo": False}
        await self._call("set_webhook", wanted, tools, repeatable=True)
        return f"Viber calls {tools.hook_url} now."

    async def teardown(self, tools: Tools) -> None:
        """Tell Viber to call us no more, unless it calls somebody else by now.

        Raises:
            ChannelError: as in `check`.
        """
        account = await self._call("get_account_info", {}, tools, repeatable=True)
        if account.text("webhook") == tools.hook_url:
            await self._call("set_webhook", {"url": ""}, tools, repeatable=True)

    async def _name(self, tools: Tools) -> str:
        """Return the sender's name, which every message needs; the bot's own is asked for once.

        Where Viber does not tell it, a message goes all the same, under a plain name.
        """
        if not self._sender:
            try:
                account = await self._call("get_account_info", {}, tools, repeatable=True)
            except (Undeliverable, Uncertain):
                return _NAMELESS
            self._sender = account.text("name")[:28] or _NAMELESS
        return self._sender

    async def _call(self, method: str, message: Mapping[str, Any], tools: Tools, *, repeatable: bool = False) -> Fields:
        """Call a method of the API.

        Raises:
            ChannelError: by the status inside the answer.
        """
        headers = {"X-Viber-Auth-Token": self._token}
        url = f"{self._api}/pa/{method}"
        answer = await tools.http.call("POST", url, json=message, headers=headers, repeatable=repeatable)
        if not answer.is_fine:
            raise answer.failure()
        found = Fields(answer.object())
        status = found.whole("status")
        if status is None:
            raise Uncertain(f"Viber's answer makes no sense: {answer.text[:200]!r}")
        if status != 0:
            raise refusal(status, tools.http.masked(found.text("status_message"))[:200])
        return found


# --- reading ---


def _peer(event: Fields) -> str:
    return event.id("sender", "id") or event.id("user", "id") or event.id("user_id")


def _status(event: Fields, name: str, peer: str) -> Sequence[Event]:
    token = event.id("message_token")
    if not token:
        return []
    at = event.moment("timestamp")
    if name == "failed":
        said = event.text("desc")[:500]
        return [Status(status="failed", external_id=token, peer=peer, occurred_at=at, error_text=said)]
    return [Status(status="read" if name == "seen" else "delivered", external_id=token, peer=peer, occurred_at=at)]
