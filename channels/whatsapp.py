"""WhatsApp, by Meta's own Cloud API.

Reaches   anybody with WhatsApp who wrote within the last 24 hours (72 after an advertisement), and with an approved
          template anybody at all
Set up    as `channels.meta` says, for the object `whatsapp_business_account`: the field `messages`, and for news of the
          account `account_update`, `phone_number_quality_update`, `message_template_status_update`. The access token is
          a system user's with whatsapp_business_messaging (and whatsapp_business_management, for templates)
Calls us  POST: messages and what became of ours; several of several numbers in one request
Checks    see `channels.meta`
Repeats   a message's id (`wamid.…`); what we send carries the part's id, which its statuses repeat
Quirks    somebody with a username may have no phone: then the id within our business (`US.1234`) is the peer.
          A WhatsApp id is the number to answer to, though Brazil, Mexico and Argentina dial other digits. Group
          messages are left out. Media are fetched by id with the token, at an address good for five minutes. Somebody
          who wants no marketing can still be answered: WhatsApp itself stops the marketing (131050)
Source    Meta, "WhatsApp Cloud API"
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import aiohttp
from pydantic import Field

from channels.contract import Checked, Fetched, Group, KnownTemplate, Part, Receipt, Sending, Tools
from channels.errors import Misconfigured, Undeliverable
from channels.fields import Fields
from channels.meta import MetaApp, MetaSettings, part_of_path
from channels.whatsapp_events import SCHEME
from channels.whatsapp_sending import SENDING, deliver, known_templates
from core.kernel.addresses import PHONE, Address

_AGENT = "switchyard"  # lookaside.fbsbx.com refuses to give files to nobody in particular
_MOST_PAGES = 10


class WhatsApp:
    """What Meta's own WhatsApp and 360dialog's have in common: whom they reach, and how."""

    group: ClassVar[Group] = "messenger"
    sending: ClassVar[Sending] = SENDING

    def peer_of(self, address: Address) -> str | None:
        """Return the WhatsApp id, for a phone its digits: they are the same but in a few countries."""
        if address.scheme == PHONE:
            return address.value.lstrip("+")
        return address.value if address.scheme == SCHEME else None

    def address_of(self, peer: str) -> Address:
        """Return the address somebody writes from."""
        return Address(SCHEME, peer)

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send one part.

        Raises:
            ChannelError: it was not sent, or nobody knows.
        """
        return await deliver(part, tools, self.post)

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Ask where a file lies, and open it there with our credentials.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        try:
            found = await self.look_up(part_of_path(reference), tools)
        except Misconfigured as error:
            if error.code != "100/33":
                raise
            raise Undeliverable(
                "WhatsApp has this file no more: it keeps files for a month", code=error.code
            ) from error
        url = self.file_address(found.text("url"))
        if not url:
            raise Undeliverable("WhatsApp names no address for this file")
        chunks, content_type, size = await tools.http.stream(url, headers={**self.credentials(), "User-Agent": _AGENT})
        return Fetched(chunks, found.text("mime_type") or content_type, size or found.whole("file_size") or 0)

    @abstractmethod
    async def post(
        self, path: str, tools: Tools, *, json: object = None, body: aiohttp.FormData | None = None
    ) -> Fields:
        """Post to the number's own part of the API.

        Raises:
            ChannelError: what the provider said.
        """
        ...

    @abstractmethod
    async def look_up(self, path: str, tools: Tools) -> Fields:
        """Get something from the API.

        Raises:
            ChannelError: what the provider said.
        """
        ...

    def file_address(self, url: str) -> str:
        """Return where a file that Meta names is to be fetched."""
        return url

    @abstractmethod
    def credentials(self) -> dict[str, str]:
        """Return the headers by which the provider knows us."""
        ...


class CloudWhatsApp(MetaApp, WhatsApp):
    """WhatsApp through Meta's Cloud API."""

    kind: ClassVar[str] = "whatsapp"
    title: ClassVar[str] = "WhatsApp"

    class Settings(MetaSettings):
        """What an administrator fills in."""

        phone_number_id: str = Field(
            min_length=1,
            title="Phone number ID",
            description="In the app, under WhatsApp → API setup; it is not the phone number.",
        )
        business_account_id: str = Field(
            "",
            title="WhatsApp Business account ID",
            description="Needed only to list the approved templates.",
            json_schema_extra={"advanced": True},
        )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._number = part_of_path(settings.phone_number_id)
        self._business = part_of_path(settings.business_account_id)
        self.account = f"{SCHEME}:{settings.phone_number_id}"

    async def post(
        self, path: str, tools: Tools, *, json: object = None, body: aiohttp.FormData | None = None
    ) -> Fields:
        """Post to `/<phone number id>/<path>`.

        Raises:
            ChannelError: what Meta said.
        """
        # an upload twice is a file too many at Meta's, which nobody sees
        is_upload = body is not None
        return await self.graph("POST", f"{self._number}/{path}", tools, json=json, body=body, repeatable=is_upload)

    async def look_up(self, path: str, tools: Tools) -> Fields:
        """Get something from the Graph API.

        Raises:
            ChannelError: what Meta said.
        """
        return await self.graph("GET", path, tools)

    async def check(self, tools: Tools) -> Checked:
        """Ask Meta for the number.

        Raises:
            ChannelError: it is not ours, or the token is no good.
        """
        query = {"fields": "verified_name,display_phone_number,quality_rating"}
        found = await self.graph("GET", self._number, tools, query=query)
        number, name = found.text("display_phone_number"), found.text("verified_name")
        facts = {"number": number, "name": name, "quality": found.text("quality_rating")}
        shown = {key: value for key, value in facts.items() if value}
        return Checked(f"WhatsApp number {number or self._number} answers", shown)

    async def templates(self, tools: Tools) -> Sequence[KnownTemplate]:
        """List the templates of the business account.

        Raises:
            Misconfigured: the settings do not name it. ChannelError: what Meta said.
        """
        if not self._business:
            raise Misconfigured("Enter the WhatsApp Business account ID in this channel's settings to list templates")
        templates: list[KnownTemplate] = []
        after = ""
        for _ in range(_MOST_PAGES):
            query = {"limit": "100", **({"after": after} if after else {})}
            found = await self.graph("GET", f"{self._business}/message_templates", tools, query=query)
            templates += known_templates(found)
            after = found.text("paging", "cursors", "after") if found.text("paging", "next") else ""
            if not after:
                break
        return templates
