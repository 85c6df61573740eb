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

Importing aiogram takes seconds and 150 MB, so that only what talks to Telegram does it, and in a thread the first time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

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
    Receipt,
    Routed,
    Sending,
    Tools,
    Unit,
)
from channels.errors import Misconfigured, Temporary, Undeliverable
from channels.fields import Fields, object_of
from channels.shared_secret import same
from channels.telegram import reading
from core.kernel.addresses import Address
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, Malformed, NotConfigured
from webhooks.request import RawRequest, Reply

if TYPE_CHECKING:
    from channels.telegram.calls import Api

API = "https://api.telegram.org"

HEADER = "x-telegram-bot-api-secret-token"
MOST_UPLOAD = 50 * 1024 * 1024
MOST_DOWNLOAD = 20 * 1024 * 1024
_RECENT = timedelta(minutes=15)


class Telegram:
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
    pause: ClassVar[float] = 1.0
    """Seconds the listener waits after a first trouble."""

    class Settings(ChannelSettings):
        """What an administrator fills in.

        token         of the bot, as @BotFather shows it; what is before the colon is the bot's id
        mode          whether Telegram calls us, or we fetch
        secret_token  what Telegram says in every call to prove itself
        """

        token: SecretStr = Field(
            title="Token of the bot",
            description="@BotFather shows it when it makes the bot, and later by /token: 123456789:AAE…",
        )
        mode: Literal["webhook", "polling"] = Field(
            "webhook",
            title="How messages come",
            description="webhook: Telegram calls this hub, which needs a public https address. "
            "polling: this hub asks Telegram, from anywhere.",
        )
        secret_token: SecretStr = Field(
            SecretStr(""),
            title="Secret token",
            description="1 to 256 Latin letters, digits, _ and -. Telegram repeats it in every call.",
            json_schema_extra={"made": True},
        )

        @field_validator("token")
        @classmethod
        def _read_token(cls, given: SecretStr) -> SecretStr:
            token = given.get_secret_value().strip()
            if not re.fullmatch(r"[0-9]{1,20}:[^\s/?#%{}]+", token):
                raise ValueError("a token is a number, a colon and about 35 letters: copy it whole from @BotFather")
            return SecretStr(token)

        @field_validator("secret_token")
        @classmethod
        def _read_secret(cls, given: SecretStr) -> SecretStr:
            if not re.fullmatch(r"[A-Za-z0-9_-]{0,256}", given.get_secret_value()):
                raise ValueError("Telegram takes 1 to 256 Latin letters, digits, _ and -")
            return given

    def __init__(self, settings: Settings) -> None:
        self._token = settings.token.get_secret_value()
        self._bot_id = self._token.partition(":")[0]
        self._secret = settings.secret_token.get_secret_value()
        self._is_polling = settings.mode == "polling"
        self._base_url = (settings.base_url or API).rstrip("/")

    # --- what comes in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check that Telegram says our secret, and that it is an update.

        Raises:
            NotConfigured: we have no secret. BadSignature: it is another, or none. Malformed: it is no JSON object.
        """
        if not self._secret:
            raise NotConfigured(
                "This connection has no secret token, so nothing is accepted. Enter one in its settings, then Set up"
            )
        if not same(request.headers.get(HEADER, ""), self._secret):
            raise BadSignature(
                "The request does not carry this connection's secret token. Nothing was stored. If it came from "
                "Telegram, press Set up, so that Telegram learns the token"
            )
        object_of(request)

    def route(self, request: RawRequest) -> Routed:
        """Tell updates apart by their number, and people by their chat.

        Raises:
            Malformed: it is no JSON object.
        """
        update = object_of(request)
        number = update.whole("update_id")
        if number is None or abs(number) >= 2**63:
            key = "content:" + hashlib.blake2b(request.body, digest_size=16).hexdigest()
        else:
            key = f"update:{number}"
        return Routed(key, timedelta(days=7), reading.chat_of(update))

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

    async def run(self, listening: Listening) -> None:
        """Fetch updates for ever, if that is how they come; where Telegram calls us there is nothing to do but wait.

        Raises:
            Unauthorised, Misconfigured: the bot's token is not taken. ChannelError: Telegram refuses for good.
        """
        if not self._is_polling:
            await asyncio.Event().wait()
        api = await self._api(listening.tools)
        from channels.telegram.listening import listen

        await listen(api, listening, self._bot_id, self.route, self.pause)

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

    # --- files ---

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file by its id. Where it lies is known for an hour and is asked for each time.

        Raises:
            Undeliverable: it is too large for a bot, or gone. Temporary: try again.
        """
        api = await self._api(tools)
        from aiogram.methods import GetFile

        try:
            found = await api(GetFile(file_id=reference))
        except Undeliverable as error:
            if "too big" in str(error).lower():
                raise Undeliverable(_too_large(), code=error.code) from error
            raise
        if (found.whole("file_size") or 0) > MOST_DOWNLOAD and self._base_url == API:
            raise Undeliverable(_too_large(), code="too_large")
        path = found.text("file_path")
        if not path:
            raise Temporary("Telegram does not say where the file lies", code="no_path")
        if path.startswith("/"):
            raise Undeliverable(
                "The Bot API server runs with --local and keeps files on its own disk. Start it without, and ask again",
                code="local",
            )
        chunks, content_type, size = await tools.http.stream(api.file_url(path))
        is_known = content_type != "application/octet-stream"  # said of everything
        return Fetched(chunks, content_type if is_known else "", size)

    # --- set up and check ---

    async def setup(self, tools: Tools) -> str:
        """Tell Telegram where to call us and by what secret we know it. Telegram takes the same again for nothing new,
        and does not say which secret it has, so that it is always told.

        Raises:
            Misconfigured: there is no address Telegram could call, or no secret. ChannelError: Telegram cannot be had.
        """
        api = await self._api(tools)
        from aiogram.methods import DeleteWebhook, GetWebhookInfo, SetWebhook

        before = ""
        with suppress(Undeliverable, Misconfigured):  # only to be told; what is wrong shows again below
            before = (await api(GetWebhookInfo())).text("url")
        if self._is_polling:
            if before:
                await api(DeleteWebhook(drop_pending_updates=False))
            return "This hub asks Telegram for messages by itself; there is nothing to register."
        if "://" not in tools.hook_url:
            raise Misconfigured(
                "Nobody knows at which public address this hub is reached. Set SWITCHYARD_PUBLIC_URL, or choose polling"
            )
        if not self._secret:
            raise Misconfigured("This connection has no secret token. Enter one in its settings")
        try:
            await api(
                SetWebhook(
                    url=tools.hook_url,
                    secret_token=self._secret,
                    allowed_updates=list(reading.UPDATES),
                    drop_pending_updates=False,
                )
            )
        except Undeliverable as error:
            raise Misconfigured(
                f"{error}. Telegram calls https addresses on port 443, 80, 88 or 8443 only; where there is none, "
                "choose polling",
                code=error.code,
            ) from error
        replaced = f" It called {before} before." if before and before != tools.hook_url else ""
        return f"Telegram now calls {tools.hook_url}.{replaced}"

    async def teardown(self, tools: Tools) -> None:
        """Tell Telegram not to call us any more, unless it calls somebody else by now.

        Raises:
            ChannelError: it could not be done.
        """
        api = await self._api(tools)
        from aiogram.methods import DeleteWebhook, GetWebhookInfo

        if tools.hook_url and (await api(GetWebhookInfo())).text("url") == tools.hook_url:
            await api(DeleteWebhook(drop_pending_updates=False))

    async def check(self, tools: Tools) -> Checked:
        """Ask who the bot is, and whether its updates come to us.

        Raises:
            Unauthorised: the token is not valid. Misconfigured: Telegram calls somebody else. Temporary: it cannot
            reach us just now, or we cannot reach it.
        """
        api = await self._api(tools)
        from aiogram.methods import GetMe, GetWebhookInfo

        bot, hook = await api(GetMe()), await api(GetWebhookInfo())
        called, waiting = hook.text("url"), hook.whole("pending_update_count") or 0
        problem, at = hook.text("last_error_message"), hook.moment("last_error_date")
        if not self._is_polling and called != tools.hook_url:
            raise Misconfigured(
                f"Telegram calls {called or 'nobody'} instead of {tools.hook_url or 'this hub'}. Set up changes that"
            )
        if not self._is_polling and waiting and problem and at and tools.now() - at < _RECENT:
            raise Temporary(f"Telegram does not get through to this hub: {problem}. {waiting} updates wait there")
        facts = _facts(bot, hook)
        handle = facts.get("bot", f"The bot {self._bot_id}")
        if self._is_polling:
            says = "a webhook is set, which the listener removes" if called else "this hub fetches its messages"
        else:
            says = "Telegram brings its messages here"
        return Checked(f"{handle} answers; {says}.", facts)

    async def _api(self, tools: Tools) -> Api:
        """Return the way to Telegram, once aiogram is there.

        Raises:
            Misconfigured: it is not installed.
        """
        try:
            await asyncio.to_thread(_load)
        except ModuleNotFoundError as error:
            raise Misconfigured(
                f"Telegram needs the package aiogram, which is not installed ({error}). Install switchyard[telegram]"
            ) from error
        from channels.telegram.calls import Api

        return Api(self._token, self._base_url, tools.http)


def _load() -> None:
    """Import what needs aiogram; in a thread, since for these seconds nothing else would be done."""
    for name in ("calls", "sending", "listening"):
        import_module(f"channels.telegram.{name}")


def _too_large() -> str:
    return (
        "The file is larger than the 20 MB that Telegram gives to bots. It is kept in the chat only: ask for it in "
        "another way, or use a Bot API server of your own"
    )


def _facts(bot: Fields, hook: Fields) -> dict[str, str]:
    """Return what is worth showing of a bot and its hook."""
    found = {
        "bot": f"@{bot.text('username')}" if bot.text("username") else "",
        "name": bot.text("first_name"),
        "id": bot.text("id"),
        "reads all of a group": "yes" if bot.flag("can_read_all_group_messages") else "no",
        "hook": hook.text("url"),
        "updates waiting": hook.text("pending_update_count"),
        "last problem": hook.text("last_error_message"),
    }
    at = hook.moment("last_error_date")
    if found["last problem"] and at:
        found["last problem"] += f" ({at:%Y-%m-%d %H:%M} UTC)"
    return {name: value for name, value in found.items() if value}
