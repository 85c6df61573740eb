"""Facebook Messenger, for a Page; and what Instagram's messages have in common with it.

Reaches   people who wrote to the Page within the last 24 hours; 7 days where Meta allows answers by a human agent
Set up    as `channels.meta` says, for the object `page`: the fields messages, messaging_postbacks, messaging_referrals,
          message_deliveries, message_reads, message_reactions, message_edits, message_echoes, standby. Subscribe the
          Page to the app (Messenger → API setup). The access token is the Page's, with pages_messaging
Calls us  POST: several messages of several Pages in one request
Checks    see `channels.meta`
Repeats   a message's `mid`. What we send carries the part's id, which its echo repeats: that echo is news of the part
          and no message. Any other echo was written elsewhere (Business Suite, another app) and is kept as ours
Quirks    ids of people are given out for each Page anew, so an address is `<page>:<id>`. A read mark names a moment,
          not a message. A thumbs-up is a sticker, told as 👍. Addresses of files run out: they are fetched at once, and
          without the token. Names may be refused, so that nothing waits for them
Source    Meta, "Messenger Platform"; the limits of files are from memory
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from channels import rendering
from channels.contract import (
    Capability,
    Checked,
    Fetched,
    Group,
    Media,
    OutgoingFile,
    Part,
    Profile,
    Receipt,
    Sending,
    Tools,
)
from channels.errors import ChannelError, Temporary, Uncertain, WindowClosed
from channels.fields import Fields
from channels.messenger_events import MESSENGER, OUR_MARK, WINDOW
from channels.meta import MetaApp, MetaSettings, check_page, part_of_path
from channels.uploads import form_with
from core.kernel.addresses import Address

HUMAN_WINDOW = timedelta(days=7)
MOST_ANSWERS = 13
_MB = 1_000_000
_LONGEST_TITLE, _LONGEST_PAYLOAD = 20, 1_000
ATTACHMENT_TYPES = {
    "image": "image",
    "audio": "audio",
    "voice": "audio",
    "video": "video",
    "file": "file",
    "sticker": "image",
}


class PageSettings(MetaSettings):
    """What Messenger and Instagram want to know beyond what every channel of Meta's does."""

    human_agent: bool = Field(
        False,
        title="Answers by a human agent for 7 days",
        description="Only if Meta has granted the app the Human Agent feature; else answers go for 24 hours.",
        json_schema_extra={"advanced": True},
    )


class Conversing(MetaApp):
    """What the messages of a Page and of an Instagram account have in common."""

    kind: ClassVar[str]
    sending: ClassVar[Sending]

    def __init__(self, settings: PageSettings, owner: str) -> None:
        super().__init__(settings)
        self._owner = owner
        self._human_agent = settings.human_agent
        self.account = f"{self.kind}:{owner}"

    def peer_of(self, address: Address) -> str | None:
        """Return somebody's id if it is one given out for our account."""
        owner, _, peer = address.value.partition(":")
        return peer if address.scheme == self.kind and owner == self._owner and peer else None

    def address_of(self, peer: str) -> Address:
        """Return the address somebody writes from."""
        return Address(self.kind, f"{self._owner}:{peer}")

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send one part.

        Raises:
            ChannelError: it was not sent, or nobody knows.
        """
        attached = [await self.attachment(file, tools) for file in part.files]
        sent: list[str] = []
        for message in messages(part, attached, self.sending):
            if mark := self._mark(part):
                message["metadata"] = mark
            try:
                sent.append(await self._say(message, part, tools))
            except ChannelError as error:
                if not sent:
                    raise
                raise Uncertain(
                    f"The first {len(sent)} of the messages it takes went, the next did not: {error}", code=error.code
                ) from error
        return Receipt(tuple(sent))

    @abstractmethod
    async def attachment(self, file: OutgoingFile, tools: Tools) -> dict[str, Any]:
        """Make a file ready to be sent.

        Raises:
            ChannelError: Meta does not take it.
        """
        ...

    async def uploaded(self, file: OutgoingFile, tools: Tools, more: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Bring a file to Meta and return what sends it.

        Raises:
            ChannelError: Meta does not take it.
        """
        form = form_with(file, "filedata")
        kind = ATTACHMENT_TYPES[file.kind]
        form.add_field("message", f'{{"attachment":{{"type":"{kind}","payload":{{"is_reusable":true}}}}}}')
        for name, value in (more or {}).items():
            form.add_field(name, value)
        # doing it twice leaves a file nobody sees
        found = await self.graph("POST", "me/message_attachments", tools, body=form, repeatable=True)
        attachment = found.id("attachment_id")
        if not attachment:
            raise Temporary(f"Meta took {file.name} but gave no id for it. Nothing was sent")
        return {"type": kind, "payload": {"attachment_id": attachment}}

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file at the address its message named.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        chunks, content_type, size = await tools.http.stream(reference)
        return Fetched(chunks, content_type, size)

    async def who(self, peer: str, fields: str, tools: Tools) -> Fields | None:
        """Ask about a person; None if Meta will not say, which it need not.

        Raises:
            Temporary: try again. Unauthorised: the token is no good.
        """
        try:
            return await self.graph("GET", part_of_path(peer), tools, query={"fields": fields})
        except Temporary:
            raise
        except ChannelError as error:
            if error.code.partition("/")[0] in ("0", "102", "190"):
                raise
            return None

    def _mark(self, part: Part) -> str:
        """Return what the echo of a part is to repeat; "" where echoes repeat nothing."""
        return ""

    async def _say(self, message: dict[str, Any], part: Part, tools: Tools) -> str:
        said: dict[str, Any] = {
            "messaging_type": "RESPONSE",
            "recipient": {"id": part.peer},
            "message": message,
        }
        try:
            found = await self.graph("POST", "me/messages", tools, json=said)
        except WindowClosed:
            if not self._human_agent or part.is_automatic:
                raise
            said = {**said, "messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
            found = await self.graph("POST", "me/messages", tools, json=said)
        mid = found.id("message_id")
        if not mid:
            raise Uncertain("Meta answered without the id of the message, so it may have gone or not")
        return mid

    def _windows(self) -> Mapping[str, timedelta]:
        return {self.account: HUMAN_WINDOW} if self._human_agent else {}


def messages(part: Part, attached: list[dict[str, Any]], sending: Sending) -> list[dict[str, Any]]:
    """Write a part as messages: files first, or the answers to choose from would vanish."""
    found: list[dict[str, Any]] = [{"attachment": attachment} for attachment in attached]
    text, buttons = part.text, part.buttons
    if len(buttons) > MOST_ANSWERS:
        lines = "\n".join(f"{number}. {button.text}" for number, button in enumerate(buttons, 1))
        text, buttons = f"{text}\n\n{lines}".strip(), ()
    found += [{"text": piece} for piece in rendering.split(text, sending)]
    if buttons and found:
        found[-1]["quick_replies"] = [
            {
                "content_type": "text",
                "title": button.text[:_LONGEST_TITLE],
                "payload": (button.payload or button.text)[:_LONGEST_PAYLOAD],
            }
            for button in buttons
        ]
    return found


class Messenger(Conversing):
    """Messages of a Facebook Page."""

    kind: ClassVar[str] = MESSENGER
    title: ClassVar[str] = "Facebook Messenger"
    group: ClassVar[Group] = "messenger"
    sending: ClassVar[Sending] = Sending(
        text=2000,
        media={
            "image": Media(8 * _MB, ("image/jpeg", "image/png", "image/gif", "image/webp")),
            "audio": Media(25 * _MB),
            "voice": Media(25 * _MB),
            "video": Media(25 * _MB),
            "file": Media(25 * _MB),
        },
        window=WINDOW,
        capabilities=frozenset({Capability.BUTTONS, Capability.DELIVERY_RECEIPTS, Capability.READ_RECEIPTS}),
    )

    class Settings(PageSettings):
        """What an administrator fills in."""

        page_id: str = Field(min_length=1, title="Page ID", description="In the Page's About section, or the app.")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.page_id)

    async def attachment(self, file: OutgoingFile, tools: Tools) -> dict[str, Any]:
        """Upload a file.

        Raises:
            ChannelError: Meta does not take it.
        """
        return await self.uploaded(file, tools)

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask for somebody's name.

        Raises:
            Temporary, Unauthorised: as in `send`.
        """
        found = await self.who(peer, "first_name,last_name,name", tools)
        if found is None:
            return None
        names = f"{found.text('first_name')} {found.text('last_name')}".split() or found.text("name").split()
        return Profile(" ".join(names)[:300]) if names else None

    async def check(self, tools: Tools) -> Checked:
        """Ask Meta whose token it is.

        Raises:
            ChannelError: it is not the Page's, or no good.
        """
        return await check_page(self, self._owner, tools)

    def _mark(self, part: Part) -> str:
        return f"{OUR_MARK}{part.id}"
