"""Mattermost: people who write to our bot, on a server of one's own.

Reaches   everybody with an account on the server: in direct and group channels, and elsewhere by naming the bot
Set up    make a bot account in the System Console (Integrations) and enter its access token here; nothing else is
          needed, since we keep a line open. For public channels one may add an outgoing webhook with the hook's
          address, and enter its token as the secret; buttons need a secret too, and a server that may reach the hook
Calls us  POST: an outgoing webhook as JSON or urlencoded, or a pressed button
Checks    the webhook's `token`; for buttons a proof we put into each. The line itself is ours
Repeats   a post has one id, however often and whichever way it comes
Quirks    `pending_post_id` makes a post once only, but is remembered for just half a minute: so what may have been
          posted is tried again at once, and never later. An answer can only be tied to the first post of a thread

From Mattermost's API reference v4, "Outgoing webhooks", "Interactive messages"; the half minute is
`PendingPostIDsCacheTTL` in the server's source.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from channels import mattermost_posts
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    Listening,
    Media,
    ParseContext,
    Part,
    Profile,
    Receipt,
    Routed,
    Sending,
    Tools,
)
from channels.errors import ChannelError
from channels.mattermost_line import Line
from channels.mattermost_posts import SCHEME, proof
from channels.mattermost_server import Server, quoted
from channels.shared_secret import same
from core.kernel.addresses import Address
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest, Reply

_FILE = Media(50 * 1024 * 1024)  # servers take 100 MB by default; a file is held in memory while it is sent


class Mattermost:
    """Speaks with people on a Mattermost server."""

    kind: ClassVar[str] = "mattermost"
    title: ClassVar[str] = "Mattermost"
    group: ClassVar[Group] = "messenger"
    account = ""
    sending: ClassVar[Sending] = Sending(
        text=16_383,
        caption=16_383,
        media={kind: _FILE for kind in ("image", "audio", "voice", "video", "sticker", "file")},
        album=10,
        per_second=10,
        capabilities=frozenset({Capability.BUTTONS, Capability.REPLY_TO, Capability.START}),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        url: str = Field(title="Address of the server", description="Such as https://chat.example.com.")
        token: SecretStr = Field(
            title="Access token of the bot", description="System Console or Integrations, Bot Accounts."
        )
        secret: SecretStr = Field(
            SecretStr(""),
            title="Token of the outgoing webhook",
            description="Only for outgoing webhooks, which show it when they are made, and for buttons.",
            json_schema_extra={"advanced": True},
        )

        @field_validator("url")
        @classmethod
        def _read_url(cls, setting: str) -> str:
            setting = setting.strip().rstrip("/").removesuffix("/api/v4")
            if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", setting):
                raise ValueError("it is no address such as https://chat.example.com")
            return setting

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.secret
        self._server = Server(settings.base_url.rstrip("/") or settings.url, settings.token)

    # --- what comes in ---

    async def run(self, listening: Listening) -> None:
        """Keep a line to the server and hand over what is said there.

        Raises:
            Unauthorised, Misconfigured: nothing will come of it.
        """
        await Line(self._server, listening).keep()

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check that an outgoing webhook carries its token, and a pressed button our proof.

        Raises:
            BadSignature, NotConfigured, Malformed: it does not.
        """
        secret = self._secret.get_secret_value()
        if not secret:
            raise NotConfigured(
                "This channel has no secret, so it takes nothing here: it listens by itself. For an outgoing webhook, "
                "enter that webhook's token as the secret"
            )
        fields = mattermost_posts.read(request)
        button = fields.at("context")
        made = proof(secret, button.text("text"), button.text("payload"))
        is_ours = bool(button) and not fields.text("event") and same(button.text("proof"), made)
        if not is_ours and not same(fields.text("token"), secret):
            raise BadSignature("The request does not carry the outgoing webhook's token. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell what the request is a repeat of and where it was said.

        Raises:
            Malformed: it cannot be read.
        """
        return mattermost_posts.route(request)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read what was heard on the line, or came by a webhook.

        Raises:
            Malformed: it cannot be read.
        """
        return mattermost_posts.events(mattermost_posts.read(request))

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing: words in the answer to a webhook would be posted."""
        return Reply(b"{}")

    # --- what goes out ---

    def peer_of(self, address: Address) -> str | None:
        """Return `@<user id>`: writing there opens the direct channel."""
        return f"@{address.value}" if address.scheme == SCHEME else None

    def address_of(self, peer: str) -> Address:
        """Return the address of a peer: a person as `@<user id>`, or a channel by its id."""
        return Address(SCHEME, peer.removeprefix("@"))

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send one part: a post, with files.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        channel = part.peer
        if channel.startswith("@"):
            channel = await self._server.direct_channel(channel[1:], tools)
        post: dict[str, Any] = {"channel_id": channel, "message": part.text, "pending_post_id": self._number(part)}
        if root := await self._root(part, tools):
            post["root_id"] = root
        if part.files:
            post["file_ids"] = [await self._server.upload(file, channel, tools) for file in part.files]
        if part.buttons:
            post |= self._buttons(part, tools)
        return Receipt(((await self._server.post(post, tools)).id("id"),))

    def _number(self, part: Part) -> str:
        """Return what makes a post once only: its number, told apart from those of others who write to this server."""
        token = self._server.token.get_secret_value().encode()
        return f"{hashlib.blake2b(token, digest_size=8).hexdigest()}:{part.id}"

    async def _root(self, part: Part, tools: Tools) -> str:
        """Return the first post of the thread that a part belongs to; "" for none."""
        if part.thread or not (part.reply_to and part.is_first):
            return part.thread
        with suppress(ChannelError):  # what is gone is not answered to, but the answer goes
            found = await self._server.call("GET", f"/posts/{quoted(part.reply_to.partition(':')[0])}", tools)
            return found.id("root_id") or found.id("id")
        return ""

    def _buttons(self, part: Part, tools: Tools) -> dict[str, Any]:
        """Return buttons as Mattermost knows them; as words where a pressed one could not tell us so."""
        secret = self._secret.get_secret_value()
        if not secret or not tools.hook_url:
            choices = "\n".join(f"• {button.text}" for button in part.buttons)
            return {"message": f"{part.text}\n\n{choices}".strip()}
        actions = [
            {
                "id": f"answer{number}",
                "type": "button",
                "name": button.text,
                "integration": {
                    "url": tools.hook_url,
                    "context": {
                        "text": button.text,
                        "payload": button.payload,
                        "proof": proof(secret, button.text, button.payload),
                    },
                },
            }
            for number, button in enumerate(part.buttons)
        ]
        return {"props": {"attachments": [{"actions": actions}]}}

    # --- what can be asked ---

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file.

        Raises:
            Temporary, Undeliverable: as in the contract.
        """
        url = f"{self._server.address}/api/v4/files/{quoted(reference)}"
        return Fetched(*await tools.http.stream(url, headers=self._server.headers))

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask who a person, or the other one in a direct channel, is; None for channels of several.

        Raises:
            ChannelError: the server would not say.
        """
        user = peer.removeprefix("@")
        if user == peer:
            channel = await self._server.call("GET", f"/channels/{quoted(peer)}", tools)
            both = channel.id("name").split("__")
            if channel.text("type") != "D" or len(both) != 2:
                return None
            us = (await self._server.me(tools)).id("id")
            user = both[0] if both[1] == us else both[1]
        found = await self._server.call("GET", f"/users/{quoted(user)}", tools)
        name = " ".join(word for word in (found.text("first_name"), found.text("last_name")) if word)
        return Profile(name or found.text("nickname") or found.text("username"), found.text("locale"))

    async def check(self, tools: Tools) -> Checked:
        """Ask the server whose token this is.

        Raises:
            ChannelError: it is of no use.
        """
        found = await self._server.me(tools)
        name = f"@{found.text('username')}"
        kind = "a bot" if found.flag("is_bot") else "a person's account, not a bot"
        return Checked(f"Mattermost knows us as {name}, {kind}", {"user": name, "id": found.id("id")})
