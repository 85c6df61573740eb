"""WhatsApp through 360dialog, which hands Meta's own objects on and takes them.

Reaches   as `channels.whatsapp`
Set up    in 360dialog's Hub: the API key of the number, and the hook's address as its webhook. `setup` enters the
          address by itself
Calls us  POST, as Meta does; one number a key, so everything is for the connection whose hook it is
Checks    360dialog signs nothing: the hook's address is the secret, and with `secret` set requests have to carry that
          too (as the query's `token`, or in the header Authorization, which 360dialog sends if told to)
Repeats   as `channels.whatsapp`
Quirks    media are named by Meta's address and fetched at 360dialog's with the same path, or the key would not do
Source    360dialog, "Messaging API", and what open-source integrations call. That the webhook is read and set at
          /v1/configs/webhook is from memory
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import ConfigDict, Field, SecretStr

from channels import shared_secret, whatsapp_events
from channels.contract import ChannelSettings, Checked, KnownTemplate, ParseContext, Routed, Tools
from channels.errors import Misconfigured, Undeliverable
from channels.fields import Fields, object_of
from channels.http import TIMEOUT
from channels.meta import UPLOAD_TIMEOUT, found_in, routed
from channels.whatsapp import WhatsApp
from channels.whatsapp_sending import known_templates
from core.kernel.envelopes import Event
from webhooks.request import RawRequest, Reply

HOME = "https://waba-v2.360dialog.io"
_WEBHOOK = "v1/configs/webhook"


class DialogWhatsApp(WhatsApp):
    """WhatsApp through 360dialog."""

    kind: ClassVar[str] = "whatsapp_360dialog"
    title: ClassVar[str] = "WhatsApp (360dialog)"

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, str_strip_whitespace=True)

        api_key: SecretStr = Field(title="API key", description="Of the number, from 360dialog's Hub.")
        phone_number_id: str = Field(
            "",
            title="Phone number ID",
            description="Only needed if several numbers call one hook.",
            json_schema_extra={"advanced": True},
        )

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key
        self._secret = settings.secret
        self._home = (settings.base_url or HOME).rstrip("/")
        self.account = f"{self.kind}:{settings.phone_number_id}" if settings.phone_number_id else ""

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the shared secret, where there is one.

        Raises:
            BadSignature: the request does not carry it.
        """
        shared_secret.check(request, self._secret, header="x-secret", optional=True)

    def route(self, request: RawRequest) -> Routed:
        """Tell repeats by their bytes, and whose the request is if it is about one person.

        Raises:
            Malformed: it is no JSON object.
        """
        return routed(request, whatsapp_events.peers(object_of(request)))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read every event.

        Raises:
            Malformed: it is no JSON object.
        """
        document = object_of(request)
        return list(whatsapp_events.read(document, self.kind if self.account else "", context.received_at))

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say that it came."""
        return Reply(b"EVENT_RECEIVED", content_type="text/plain")

    async def post(
        self, path: str, tools: Tools, *, json: object = None, body: aiohttp.FormData | None = None
    ) -> Fields:
        """Post to `/<path>`: the key tells the number.

        Raises:
            ChannelError: what 360dialog, or Meta behind it, said.
        """
        return await self._ask("POST", path, tools, json=json, body=body)

    async def look_up(self, path: str, tools: Tools) -> Fields:
        """Get something from 360dialog.

        Raises:
            ChannelError: what it said.
        """
        return await self._ask("GET", path, tools)

    def file_address(self, url: str) -> str:
        """Return 360dialog's address for a file that Meta names."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return ""
        query = f"?{parts.query}" if parts.query else ""
        return f"{self._home}{parts.path}{query}" if parts.path else ""

    def credentials(self) -> dict[str, str]:
        """Return the header with the key."""
        return {"D360-API-KEY": self._key.get_secret_value()}

    async def check(self, tools: Tools) -> Checked:
        """Ask whether the key is good, and which address 360dialog calls.

        Raises:
            ChannelError: the key is no good, or 360dialog cannot be reached.
        """
        await self._ask("GET", "message_templates", tools, query={"limit": "1"})
        try:
            url = await self._called(tools)
        except Undeliverable:
            return Checked("360dialog takes the key; it does not tell which address it calls")
        if url == tools.hook_url:
            return Checked("360dialog takes the key and calls this channel's hook", {"webhook": url})
        return Checked(
            "360dialog takes the key, but calls another address: messages do not come here", {"webhook": url or "none"}
        )

    async def setup(self, tools: Tools) -> str:
        """Have 360dialog call our hook.

        Raises:
            Misconfigured: 360dialog does not take the address. ChannelError: as in `check`.
        """
        content: dict[str, object] = {"url": tools.hook_url}
        try:
            if secret := self._secret.get_secret_value():
                content["headers"] = {"Authorization": f"Bearer {secret}"}
            elif await self._called(tools) == tools.hook_url:
                return "360dialog already calls this channel's hook"
            await self._ask("POST", _WEBHOOK, tools, json=content)
        except Undeliverable as error:
            raise Misconfigured(
                f"360dialog does not take the hook's address from us ({error}). Enter {tools.hook_url} as the number's "
                "webhook in 360dialog's Hub",
                code=error.code,
            ) from error
        return "360dialog now calls this channel's hook"

    async def teardown(self, tools: Tools) -> None:
        """Leave 360dialog as it is: an address can only be replaced by another, and ours refuses once it is gone."""

    async def templates(self, tools: Tools) -> Sequence[KnownTemplate]:
        """List the templates of the number's account.

        Raises:
            ChannelError: what 360dialog said.
        """
        return known_templates(await self._ask("GET", "message_templates", tools, query={"limit": "250"}))

    async def _called(self, tools: Tools) -> str:
        return (await self._ask("GET", _WEBHOOK, tools)).text("url")

    async def _ask(
        self,
        method: str,
        path: str,
        tools: Tools,
        *,
        json: object = None,
        body: aiohttp.FormData | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Fields:
        answer = await tools.http.call(
            method,
            f"{self._home}/{path}",
            json=json,
            body=body,
            query=query,
            headers=self.credentials(),
            timeout=UPLOAD_TIMEOUT if body is not None else TIMEOUT,
            repeatable=body is not None,
        )
        return found_in(answer, tools)
