"""Telegram, through a bot of the company's.

Reaches   whoever wrote to the bot first, groups it was put into, and the chats of a business account it was given
Set up    @BotFather makes a bot and shows its token; "Set up" then tells Telegram where to call us. A hub that cannot
          be reached from outside fetches instead (`mode` polling)
Calls us  POST /hooks/<connection> with one `Update` in JSON; any 2xx will do. An answer may hold one call: a button's
          press is confirmed in it, of which nobody needs the result
Checks    the header X-Telegram-Bot-Api-Secret-Token, which is the secret we gave when we registered the hook
Repeats   `update_id`, for a week: after one without updates Telegram may count from anywhere. Order is not kept
          between calls, and updates lie ready for 24 hours
Quirks    message ids are unique within a chat only. There are no delivery or read marks. The address of a file holds
          the token, so files are fetched here and the address goes nowhere. Bots get files of up to 20 MB and send up
          to 50. A bare /start is `started`; one with a payload (t.me/<bot>?start=spring) is a message, since it says
          where somebody comes from. A person's phone is believed only where Telegram says that the card is their own

Rules: https://core.telegram.org/bots/api and https://core.telegram.org/bots/faq (how much, how fast).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from channels.contract import Capability, Group, Media, ParseContext, Part, Receipt, Sending, Tools, Unit
from channels.fields import object_of
from channels.telegram import reading
from channels.telegram.bot import MOST_UPLOAD, TelegramBot
from core.kernel.addresses import Address
from core.kernel.envelopes import Event
from webhooks.errors import Malformed
from webhooks.request import RawRequest, Reply


class Telegram(TelegramBot):
    """A bot's chats with people and in groups."""

    kind: ClassVar[str] = "telegram"
    title: ClassVar[str] = "Telegram"
    group: ClassVar[Group] = "messenger"
    account = ""
    sending: ClassVar[Sending] = Sending(
        text=4096,
        unit=Unit.UTF16,
        caption=1024,
        media={kind: Media(MOST_UPLOAD) for kind in ("image", "audio", "voice", "video", "sticker", "file")},
        album=10,
        per_second=30,
        per_peer=1,
        capabilities=frozenset({Capability.BUTTONS, Capability.REPLY_TO}),
    )

    # --- what comes in ---

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read an update; one of a sort we know nothing of is no event.

        Raises:
            Malformed: it is no JSON object.
        """
        return list(reading.Reader(self._bot_id, context.default_country).events(object_of(request)))

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say that it was stored; a button's press is confirmed, or the button would go on spinning."""
        with suppress(Malformed):
            if pressed := object_of(request).id("callback_query", "id"):
                call = {"method": "answerCallbackQuery", "callback_query_id": pressed}
                return Reply(json.dumps(call).encode())
        return Reply(b"{}")

    # --- what goes out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send words, files and buttons. Telegram recognises no repeats.

        Raises:
            ChannelError: it was not sent, or not all of it, or we cannot know.
        """
        api = await self._api(tools)
        from channels.telegram.sending import send

        return await send(api, part)

    def peer_of(self, address: Address) -> str | None:
        """Return the chat of somebody this bot knows; other bots' people are not to be reached."""
        bot, _, user = address.value.partition(":")
        return user if address.scheme == reading.SCHEME and bot == self._bot_id and user else None

    def address_of(self, peer: str) -> Address:
        """Return the address of a chat: in private ones its id is the person's."""
        return Address(reading.SCHEME, f"{self._bot_id}:{peer}")
