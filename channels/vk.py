"""VK communities (Callback API).

Reaches   people who wrote to the community or allowed it to write, by their VK number; chats it was added to
Set up    enter the community's number and a key with the rights for messages, photos, files and management. "Set up"
          tells the string to confirm with, and once that is entered registers the hook by itself
Calls us  POST /hooks/<connection>, JSON, one event a request
Checks    `secret` in the body is ours, and `group_id` is this community. VK signs nothing
Repeats   VK repeats until it is answered `ok`, for events we have no use for as well. `event_id` tells repeats
Quirks    before VK trusts an address it asks it for the confirmation string, sometimes without the secret: that
          question is answered by the community's number alone, as the string opens nothing. Errors of the API come with
          status 200. `random_id` makes VK recognise a message it was sent before, for about an hour. What our side
          writes in VK's own pages, and what the hub sent itself, comes back as `message_reply`

Source: dev.vk.com/api/callback/getting-started and …/reference/objects/message; older shapes of events are read too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from channels import fields, vk_messages
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
from channels.errors import Misconfigured, Undeliverable
from channels.fields import Fields
from channels.shared_secret import same
from channels.vk_sending import VERSION, Api
from core.kernel.addresses import Address
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, Malformed, NotConfigured, Refused
from webhooks.request import RawRequest, Reply

API = "https://api.vk.com"
_EVENTS = (
    "message_new",
    "message_reply",
    "message_edit",
    "message_allow",
    "message_deny",
    "message_event",
    "message_typing_state",
    "lead_forms_new",
)
_MOST_DOCUMENT = 200 * 1024 * 1024
_TITLE = "Switchyard"  # VK shows it in the community's list; at most 14 characters


class Vk:
    """Receives and sends as one community."""

    kind: ClassVar[str] = vk_messages.KIND
    title: ClassVar[str] = "VK"
    group: ClassVar[Group] = "messenger"
    sending: ClassVar[Sending] = Sending(
        text=4096,
        caption=4096,
        media={
            "image": Media(50 * 1024 * 1024, ("image/jpeg", "image/png", "image/gif")),
            "voice": Media(_MOST_DOCUMENT, ("audio/ogg",)),
            "video": Media(_MOST_DOCUMENT),  # as a file: a community cannot upload videos
            "file": Media(_MOST_DOCUMENT),
        },
        album=10,
        per_second=20,
        capabilities=frozenset({Capability.BUTTONS, Capability.REPLY_TO}),
        retries_safely=True,
    )

    class Settings(ChannelSettings):
        """What an administrator fills in.

        group_id      the community's number
        access_token  a key of the community
        secret        what VK repeats in every event
        confirmation  what VK wants to hear before it trusts our address
        """

        group_id: str = Field(title="Number of the community", description="227000001, or club227000001.")
        access_token: SecretStr = Field(
            title="Key of the community", description="Manage, API usage, Access tokens: messages, photos, files."
        )
        secret: SecretStr = Field(
            SecretStr(""),
            max_length=50,
            title="Secret key",
            description="Enter the same in VK: Manage, API usage, Callback API. “Set up” does it by itself.",
            json_schema_extra={"made": True},
        )
        confirmation: str = Field(
            "",
            title="String that the server must return",
            description="VK shows it under Manage, API usage, Callback API.",
        )

        @field_validator("group_id", mode="before")
        @classmethod
        def _read_number(cls, given: object) -> str:
            number = str(given).strip().rpartition("/")[2].lstrip("-").removeprefix("club").removeprefix("public")
            if not (number.isascii() and number.isdecimal() and len(number) <= 18):
                raise ValueError("it is a number, such as 227000001; VK shows it in the community's address")
            return number

    def __init__(self, settings: Settings) -> None:
        self._group = settings.group_id
        self._secret = settings.secret.get_secret_value()
        self._confirmation = settings.confirmation.strip()
        self._api = Api(settings.base_url.rstrip("/") or API, settings.access_token.get_secret_value())

    @property
    def account(self) -> str:
        """The community."""
        return f"{self.kind}:{self._group}"

    # --- what comes in ---

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer VK's question for the confirmation string.

        Raises:
            BadSignature, Refused: it is about another community, or carries another secret.
            NotConfigured: the string is not known here yet.
        """
        try:
            event = fields.object_of(request)
        except Malformed:
            return None
        if event.text("type") != "confirmation":
            return None
        if not (event.text("group_id") or event.text("secret")):
            raise Refused("The question names neither the community nor the secret, so it is not answered")
        self._check_group(event)
        if self._secret and "secret" in event and not same(event.text("secret"), self._secret):
            raise BadSignature("VK carries another secret than this channel's settings hold. Enter the same in both")
        if not self._confirmation:
            raise NotConfigured(
                "VK asks for the string to confirm this address with, and it is not entered yet. Copy it from Manage, "
                "API usage, Callback API of the community into this channel's settings, then confirm again"
            )
        return Reply(self._confirmation.encode(), content_type="text/plain")

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the secret and the community.

        Raises:
            BadSignature: the secret is missing or wrong. Refused: it is about another community.
            NotConfigured: there is no secret to compare with. Malformed: the body is no JSON object.
        """
        if not self._secret:
            raise NotConfigured("This VK channel has no secret key yet, so nothing is accepted. Enter one")
        event = fields.object_of(request)
        if not same(event.text("secret"), self._secret):
            raise BadSignature("The event does not carry this channel's secret key. Nothing was stored")
        self._check_group(event)

    def _check_group(self, event: Fields) -> None:
        if event.text("group_id") not in ("", self._group):  # who knows the secret need not name the community
            raise Refused(f"The event is about another community than {self._group}. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell events apart by their id, else by what they are about.

        Raises:
            Malformed: the body is no JSON object.
        """
        event = fields.object_of(request)
        peer = vk_messages.peer_of(event)
        if event.id("event_id"):
            return Routed(f"event:{event.id('event_id')}"[: fields.LONGEST_ID], None, peer)
        kind, known_as = event.text("type"), vk_messages.id_of(vk_messages.message_of(event))
        if kind in ("message_new", "message_reply") and known_as:
            content = f"{kind}\n{known_as}".encode()
        else:
            content = request.body
        return Routed(hashlib.blake2b(content, digest_size=16).hexdigest(), None, peer)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the event; one we have no use for is none.

        Raises:
            Malformed: the body is no JSON object.
        """
        found = vk_messages.read_event(fields.object_of(request), context)
        return [] if found is None else [found]

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer `ok`: anything else is repeated, and after a while VK gives the address up."""
        return Reply(b"ok", content_type="text/plain")

    # --- what goes out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Upload the files and send the message.

        Raises:
            ChannelError: as in `channels.contract.Sender`.
        """
        return await self._api.send(part, tools)

    def peer_of(self, address: Address) -> str | None:
        """Return the number behind a VK address."""
        return address.value if address.scheme == self.kind else None

    def address_of(self, peer: str) -> Address:
        """Return the address of somebody with this number."""
        return Address(self.kind, peer)

    # --- the rest ---

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file; VK keeps them at public addresses.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        chunks, content_type, size = await tools.http.stream(reference)
        return Fetched(chunks, content_type, size)

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask who somebody is; None for chats and communities.

        Raises:
            ChannelError: as in `send`.
        """
        if not peer.isdecimal() or int(peer) >= vk_messages.FIRST_CHAT:
            return None
        try:
            found = await self._api.call("users.get", tools, {"user_ids": peer})
        except Undeliverable:
            return None
        name = " ".join(filter(None, (found.text(0, "first_name"), found.text(0, "last_name"))))
        return Profile(name) if name else None

    async def check(self, tools: Tools) -> Checked:
        """Ask for the community, and whether VK calls us.

        Raises:
            ChannelError: the key is wrong, or VK is away.
        """
        found = await self._api.call("groups.getById", tools, {})  # whose the key is
        group = found.at("groups", 0) or found.at(0)
        if group.text("id") != self._group:
            raise Misconfigured(f"The key belongs to another community than {self._group}. Enter its own")
        facts = {"name": group.text("name"), "address": f"https://vk.com/{group.text('screen_name')}"}
        detail = f"The community {group.text('name')} is connected."
        try:
            server = await self._server(tools)
        except (Misconfigured, Undeliverable):
            return Checked(f"{detail} The key lacks the right to see whether VK calls us.", facts)
        if tools.hook_url and not server:
            detail = f"{detail} But VK does not call us: set the channel up to receive messages."
        elif server and server.text("status") != "ok":
            detail = f"{detail} But VK does not reach us: its Callback API says “{server.text('status')}”."
        return Checked(detail, {**facts, "callback": server.text("status") or "none"})

    async def setup(self, tools: Tools) -> str:
        """Tell VK to call us, with our secret and for the events we read.

        Raises:
            ChannelError: as in `check`; Misconfigured while the confirmation string is not entered.
        """
        if not (tools.hook_url and self._secret):
            raise Misconfigured(
                "The hub needs a public address and a secret key: set SWITCHYARD_PUBLIC_URL, save again"
            )
        group = {"group_id": self._group}
        code = (await self._api.call("groups.getCallbackConfirmationCode", tools, group)).text("code")
        if code != self._confirmation:
            raise Misconfigured(f"Enter {code} as the string that the server must return, save, and set up again")
        server = await self._server(tools)
        wanted = {**group, "url": tools.hook_url, "title": _TITLE, "secret_key": self._secret}
        number = server.id("id")
        if number:
            await self._api.call("groups.editCallbackServer", tools, {**wanted, "server_id": number})
        else:
            number = (await self._api.call("groups.addCallbackServer", tools, wanted)).id("server_id")
        chosen = {**dict.fromkeys(_EVENTS, "1"), **group, "server_id": number, "api_version": VERSION}
        await self._api.call("groups.setCallbackSettings", tools, chosen)
        return f"VK calls {tools.hook_url} now."

    async def teardown(self, tools: Tools) -> None:
        """Tell VK to call us no more.

        Raises:
            ChannelError: as in `check`.
        """
        server = await self._server(tools)
        if server:
            arguments = {"group_id": self._group, "server_id": server.id("id")}
            await self._api.call("groups.deleteCallbackServer", tools, arguments)

    async def _server(self, tools: Tools) -> Fields:
        """Return what VK knows of our address; nothing where it does not."""
        found = await self._api.call("groups.getCallbackServers", tools, {"group_id": self._group})
        ours = (server for server in found.items("items") if server.text("url") == tools.hook_url)
        return next(ours, Fields(None))
