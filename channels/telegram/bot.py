"""A Telegram bot, whoever writes to it: its settings, its door, its files, and telling Telegram where to call us.

What the kinds of connection over a bot share; each reads updates and writes in its own way.

Importing aiogram takes seconds and 150 MB, so that only what talks to Telegram does it, and in a thread the first time.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from channels.contract import ChannelSettings, Checked, Fetched, Listening, Routed, Tools
from channels.errors import Misconfigured, Temporary, Undeliverable
from channels.fields import Fields, object_of
from channels.shared_secret import same
from channels.telegram import reading
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

if TYPE_CHECKING:
    from channels.telegram.calls import Api

API = "https://api.telegram.org"

HEADER = "x-telegram-bot-api-secret-token"
MOST_UPLOAD = 50 * 1024 * 1024
MOST_DOWNLOAD = 20 * 1024 * 1024
_RECENT = timedelta(minutes=15)


class TelegramBot:
    """A bot as Telegram knows it.

    updates          what we ask Telegram for (`allowed_updates`)
    answers_presses  that a button stops spinning once the press is stored; else whoever reads it answers
    names_bot        that requests end with the bot's user name (`RawRequest.suffix`), for whoever has to know it
    pause            seconds the listener waits after a first trouble
    """

    updates: ClassVar[tuple[str, ...]] = reading.UPDATES
    answers_presses: ClassVar[bool] = True
    names_bot: ClassVar[bool] = False
    pause: ClassVar[float] = 1.0

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
        return Routed(key, timedelta(days=7), self._lane(update))

    def _lane(self, update: Fields) -> str:
        """Return whose update it is: those of one chat keep their order."""
        return reading.chat_of(update)

    async def run(self, listening: Listening) -> None:
        """Fetch updates for ever, if that is how they come; where Telegram calls us there is nothing to do but wait.

        Raises:
            Unauthorised, Misconfigured: the bot's token is not taken. ChannelError: Telegram refuses for good.
        """
        if not self._is_polling:
            await asyncio.Event().wait()
        api = await self._api(listening.tools)
        from channels.telegram.listening import listen

        await listen(
            api,
            listening,
            self._bot_id,
            self.route,
            self.pause,
            updates=self.updates,
            answers_presses=self.answers_presses,
            names_bot=self.names_bot,
        )

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
        hook = await self._hook(api, tools)
        try:
            await api(
                SetWebhook(
                    url=hook,
                    secret_token=self._secret,
                    allowed_updates=list(self.updates),
                    drop_pending_updates=False,
                )
            )
        except Undeliverable as error:
            raise Misconfigured(
                f"{error}. Telegram calls https addresses on port 443, 80, 88 or 8443 only; where there is none, "
                "choose polling",
                code=error.code,
            ) from error
        replaced = f" It called {before} before." if before and before != hook else ""
        return f"Telegram now calls {hook}.{replaced}"

    async def _hook(self, api: Api, tools: Tools) -> str:
        """Return the address Telegram is to call."""
        if not self.names_bot:
            return tools.hook_url
        from aiogram.methods import GetMe

        return f"{tools.hook_url}/{(await api(GetMe())).id('username')}"

    async def teardown(self, tools: Tools) -> None:
        """Tell Telegram not to call us any more, unless it calls somebody else by now.

        Raises:
            ChannelError: it could not be done.
        """
        api = await self._api(tools)
        from aiogram.methods import DeleteWebhook, GetWebhookInfo

        if tools.hook_url and self._is_ours((await api(GetWebhookInfo())).text("url"), tools):
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
        if not self._is_polling and not self._is_ours(called, tools):
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
        more, known = self._remarks(bot)
        return Checked(f"{handle} answers; {says}.{more}", {**facts, **known})

    def _is_ours(self, hook: str, tools: Tools) -> bool:
        return hook == tools.hook_url or (self.names_bot and hook.rpartition("/")[0] == tools.hook_url)

    def _remarks(self, bot: Fields) -> tuple[str, Mapping[str, str]]:
        """Return what a check is to say beside, of what Telegram tells about the bot, and the facts of it."""
        return "", {}

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
