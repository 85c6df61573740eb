"""MAX bots.

Reaches   people who started the bot, by their MAX number, and groups it was added to (as an administrator)
Set up    enter the bot's token (business.max.ru, Chat bots, Integration); "Set up" registers the hook by itself
Calls us  POST /hooks/<connection>, JSON, one update a request; over HTTPS at port 443 with a certificate of a known
          authority only. Or `mode` polling: we ask, which needs no address but is slower, and MAX keeps updates briefly
Checks    `X-Max-Bot-Api-Secret` is the secret we registered the hook with
Repeats   anything but 200 is repeated for 8 hours, then MAX gives the hook up. The message's `mid`, or the press's
          `callback_id`, tells repeats
Quirks    a hook and polling exclude each other. The token goes without "Bearer". A file is prepared after its upload:
          until then sending it fails with `attachment.not.ready`. MAX reports nothing of what became of our messages.
          The API's certificate may be of the Russian Trusted CA, which the system then has to know

Source: dev.max.ru/docs-api, and the OpenAPI description it is made of (0.0.32).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec
from pydantic import Field, SecretStr, field_validator

from channels import fields, max_messages
from channels.contract import (
    MANY,
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    Item,
    Listening,
    Media,
    ParseContext,
    Part,
    Receipt,
    Routed,
    Sending,
    Tools,
)
from channels.errors import Misconfigured, Temporary, Uncertain, Undeliverable
from channels.fields import Fields
from channels.max_sending import Api
from channels.shared_secret import same
from core.kernel.addresses import Address
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest, Reply

API = "https://platform-api2.max.ru"
_UPDATES = (
    "message_created",
    "message_callback",
    "message_edited",
    "message_removed",
    "bot_started",
    "bot_stopped",
    "bot_removed",
    "dialog_removed",
)
_SECRET = re.compile(r"[A-Za-z0-9_-]{5,256}")
_POLL = 30
_LONGEST_WAIT = 60.0
_MEGABYTE = 1024 * 1024
_QUALITIES = ("mp4_1080", "mp4_720", "mp4_480", "mp4_360", "mp4_240", "mp4_144")


class Max:
    """Receives and sends as one bot."""

    kind: ClassVar[str] = max_messages.KIND
    title: ClassVar[str] = "MAX"
    group: ClassVar[Group] = "messenger"
    account = ""
    sending: ClassVar[Sending] = Sending(
        text=4000,
        caption=4000,
        media={
            "image": Media(
                50 * _MEGABYTE,
                ("image/jpeg", "image/png", "image/gif", "image/tiff", "image/bmp", "image/heic"),
            ),
            "video": Media(250 * _MEGABYTE, ("video/mp4", "video/quicktime", "video/x-matroska", "video/webm")),
            "audio": Media(256 * _MEGABYTE),
            "voice": Media(256 * _MEGABYTE),
            "file": Media(4096 * _MEGABYTE),
        },
        per_second=30,
        capabilities=frozenset({Capability.BUTTONS, Capability.REPLY_TO}),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in.

        token   the bot's token
        secret  what MAX repeats with every update
        mode    whether MAX calls us or we ask
        """

        token: SecretStr = Field(title="Token of the bot", description="business.max.ru: Chat bots, Integration.")
        secret: SecretStr = Field(
            SecretStr(""),
            title="Secret",
            description="MAX repeats it with every update. 5 to 256 letters, digits, - and _.",
            json_schema_extra={"made": True},
        )
        mode: Literal["webhook", "polling"] = Field(
            "webhook",
            title="How updates come",
            description="webhook: MAX calls the hub. polling: the hub asks MAX; for a hub that cannot be reached.",
            json_schema_extra={"advanced": True},
        )

        @field_validator("secret")
        @classmethod
        def _check_secret(cls, given: SecretStr) -> SecretStr:
            if given.get_secret_value() and not _SECRET.fullmatch(given.get_secret_value()):
                raise ValueError("MAX takes 5 to 256 Latin letters, digits, - and _")
            return given

    def __init__(self, settings: Settings) -> None:
        self._token = settings.token.get_secret_value()
        self._secret = settings.secret.get_secret_value()
        self._is_polling = settings.mode == "polling"
        self._api = Api(settings.base_url.rstrip("/") or API, self._token)

    # --- what comes in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the secret.

        Raises:
            BadSignature: it is missing or wrong. NotConfigured: there is none to compare with.
        """
        if not self._secret:
            raise NotConfigured(
                "This MAX channel has no secret yet, so nothing is accepted. Enter one, set it up again"
            )
        if not same(request.headers.get("x-max-bot-api-secret", "").strip(), self._secret):
            raise BadSignature("The request does not carry this channel's secret. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell updates apart by what they are about.

        Raises:
            Malformed: the body is no JSON object.
        """
        updates = list(_updates(fields.object_of(request)))
        peers = {peer for update in updates if (peer := max_messages.peer_of(update))}
        keys = [max_messages.repeat_of(update) for update in updates]
        key = keys[0] if len(keys) == 1 else hashlib.blake2b("\n".join(keys).encode(), digest_size=16).hexdigest()
        return Routed(key, None, MANY if len(peers) > 1 else "".join(peers))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the update; one we have no use for is none.

        Raises:
            Malformed: the body is no JSON object.
        """
        updates = _updates(fields.object_of(request))
        read = (max_messages.read_update(update, context, self._token) for update in updates)
        return [event for event in read if event is not None]

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer 200."""
        return Reply(b"OK", content_type="text/plain")

    async def run(self, listening: Listening) -> None:
        """Ask for updates, where the settings say so; where MAX calls us there is nothing to do.

        Raises:
            ChannelError: it is of no use to go on.
        """
        if not self._is_polling:
            await asyncio.get_running_loop().create_future()
        marker, wait = Fields(dict(listening.cursor)).whole("marker"), 1.0
        while True:
            query = {"limit": "100", "timeout": str(_POLL), "types": ",".join(_UPDATES)}
            if marker is not None:
                query["marker"] = str(marker)
            try:
                found = await self._api.call("GET", "/updates", listening.tools, query=query, timeout=_POLL + 15)
            except (Temporary, Uncertain) as error:
                listening.is_ill(str(error))
                asked = error.retry_after if isinstance(error, Temporary) else None
                await asyncio.sleep(wait if asked is None else asked)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            wait = 1.0
            items = [self._item(update) for update in found.items("updates") if update]
            following = found.whole("marker")
            if items or (following is not None and following != marker):
                marker = marker if following is None else following
                await listening.deliver(items, {"marker": marker})
            listening.is_well()

    def _item(self, update: Fields) -> Item:
        """Make an update that was asked for into the request MAX would have sent."""
        headers = {"content-type": "application/json"}
        request = RawRequest(msgspec.json.encode(update.value), headers=headers)
        return Item(request, Routed(max_messages.repeat_of(update), None, max_messages.peer_of(update)))

    # --- what goes out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Upload the file and send the message.

        Raises:
            ChannelError: as in `channels.contract.Sender`.
        """
        return await self._api.send(part, tools)

    def peer_of(self, address: Address) -> str | None:
        """Return the number behind a MAX address."""
        return address.value if address.scheme == self.kind else None

    def address_of(self, peer: str) -> Address:
        """Return the address of somebody with this number."""
        return Address(self.kind, peer)

    # --- the rest ---

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file; where a video lies has to be asked for.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        url = reference
        if reference.startswith(max_messages.VIDEO):
            token = quote(reference.removeprefix(max_messages.VIDEO), safe="")
            video = await self._api.call("GET", f"/videos/{token}", tools)
            url = next((found for quality in _QUALITIES if (found := video.text("urls", quality))), "")
            if not url:
                raise Undeliverable("MAX does not give this video away")
        chunks, content_type, size = await tools.http.stream(url)
        return Fetched(chunks, content_type, size)

    async def check(self, tools: Tools) -> Checked:
        """Ask for the bot, and whether MAX calls us.

        Raises:
            ChannelError: the token is wrong, or MAX is away.
        """
        bot = await self._api.call("GET", "/me", tools)
        name = bot.text("first_name") or bot.text("name")
        called = await self._called(tools)
        facts = {"name": name, "username": bot.text("username"), "id": bot.id("user_id"), "webhook": ", ".join(called)}
        detail = f"The bot {name} is connected."
        if self._is_polling and called:
            detail = f"{detail} But MAX calls {', '.join(called)}, so polling gets nothing: remove that."
        elif not self._is_polling and tools.hook_url and tools.hook_url not in called:
            detail = f"{detail} But MAX does not call us: set the channel up to receive messages."
        return Checked(detail, {label: value for label, value in facts.items() if value})

    async def setup(self, tools: Tools) -> str:
        """Tell MAX to call us; where we ask, to call us no more.

        The list of hooks does not tell their secrets, so ours is registered anew each time, which changes nothing else.

        Raises:
            ChannelError: as in `check`; Misconfigured where the address is none MAX takes.
        """
        if self._is_polling:
            await self.teardown(tools)
            return "The hub asks MAX for updates; there is nothing to register."
        if not (tools.hook_url.startswith("https://") and self._secret):
            raise Misconfigured(
                f"MAX calls only https addresses, with a secret; ours is {tools.hook_url or 'unknown'}. "
                "Set SWITCHYARD_PUBLIC_URL, and see that the channel has a secret"
            )
        wanted = {"url": tools.hook_url, "update_types": list(_UPDATES), "secret": self._secret}
        try:
            await self._api.call("POST", "/subscriptions", tools, json=wanted, repeatable=True)
        except Undeliverable as error:
            raise Misconfigured(f"MAX does not take the address {tools.hook_url}. {error}", code=error.code) from error
        others = [url for url in await self._called(tools) if url != tools.hook_url]
        said = f"MAX calls {tools.hook_url} now."
        return f"{said} It also calls {', '.join(others)}." if others else said

    async def teardown(self, tools: Tools) -> None:
        """Tell MAX to call us no more.

        Raises:
            ChannelError: as in `check`.
        """
        if tools.hook_url and tools.hook_url in await self._called(tools):
            query = {"url": tools.hook_url}
            await self._api.call("DELETE", "/subscriptions", tools, query=query, repeatable=True)

    async def _called(self, tools: Tools) -> list[str]:
        """Return the addresses MAX calls."""
        found = await self._api.call("GET", "/subscriptions", tools)
        return [url for one in found.items("subscriptions") if (url := one.text("url"))]


def _updates(found: Fields) -> Iterator[Fields]:
    """Yield the updates of a request: itself, or a list as polling has it."""
    if "updates" in found:
        yield from found.items("updates")
    else:
        yield found
