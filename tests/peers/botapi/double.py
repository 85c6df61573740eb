"""The played Telegram as one object: `async with BotApi().running() as telegram`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
from aiohttp import web

from tests.peers.botapi.chats import Json, StoredFile
from tests.peers.botapi.control import Control
from tests.peers.botapi.faults import Faults
from tests.peers.botapi.groups import Groups
from tests.peers.botapi.people import Where, Who, Whom
from tests.peers.botapi.seen import Seen, all_seen
from tests.peers.botapi.server import Asked, Server
from tests.peers.botapi.world import World


class BotApi(Groups):
    """Telegram on this machine: bots call `url`, people do what the methods here say.

    now               the time in unix seconds; a test may move it
    allow_http        a webhook may be http and on any port, so that it can be on this machine
    has_flood_limits  a message a second in a private chat, 20 a minute in a group, 30 a second over all
    retry_pause       seconds before a webhook that failed is called again; it doubles
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        allow_http: bool = True,
        has_flood_limits: bool = False,
        retry_pause: float = 1.0,
    ) -> None:
        super().__init__(World(now))
        self.world.screen = partial(all_seen, self.world)
        self.url = ""
        self.faults = Faults(now, has_flood_limits=has_flood_limits)
        self._session: aiohttp.ClientSession | None = None
        self.server = Server(
            self.world, self.faults, self._open_session, allow_http=allow_http, retry_pause=retry_pause
        )

    def _open_session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "enter running() first"
        return self._session

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[BotApi]:
        """Serve at `url` on 127.0.0.1 for the length of the block; on a free port, unless one is given."""
        app = self.server.application()
        app.add_routes(Control(self).routes())
        # who polls is not waited for when it ends
        runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        assert site._server is not None
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as self._session:
            try:
                yield self
            finally:
                for bot in self.world.bots.values():
                    if bot.courier:
                        await bot.courier.stop()
                    bot.queue.interrupt("the server ends")
                await runner.cleanup()

    # --- breaking ---

    def rate_limit(
        self, count: int, per: float, *, bot: Whom | None = None, chat: Where | None = None, user: Who | None = None
    ) -> None:
        """Allow only `count` messages within `per` seconds, of a bot, into a chat, or of a bot into a chat."""
        self.faults.rate_limit(
            self.bot(bot) if bot is not None else None,
            self.chat(chat, user) if chat is not None else None,
            count,
            per,
        )

    def lift_limits(self) -> None:
        """Take away what `rate_limit` set."""
        self.faults.lift_limits()

    def fail_next(
        self,
        method: str,
        error_code: int = 500,
        description: str = "Internal Server Error",
        parameters: Json | None = None,
    ) -> None:
        """Refuse the next call of a method, `*` for any."""
        self.faults.fail_next(method, error_code, description, parameters)

    def drop_next(self, method: str, *, after_processing: bool) -> None:
        """Cut the connection of the next call of a method: after it was done, or instead."""
        self.faults.drop_next(method, after_processing)

    # --- looking ---

    def messages(self, chat: Where, thread: int | None = None, *, user: Who | None = None) -> list[Seen]:
        """Return a chat's messages as people see them, of one topic if given (1: General); a bot's need a user."""
        return self.chat(chat, user).seen(thread)

    def calls(self, method: str = "", *, bot: Whom | None = None) -> list[Asked]:
        """Return what bots asked, oldest first: of one method, of one bot."""
        token = self.bot(bot).token if bot is not None else ""
        return [
            one
            for one in self.server.asked
            if (not method or one.method.lower() == method.lower()) and (not token or one.bot == token)
        ]

    def commands(self, bot: Whom) -> dict[str, list[Json]]:
        """Return the commands a bot offers, by scope, and by `scope/language` where one was named."""
        kept = self.bot(bot).commands
        return {f"{scope}/{language}" if language else scope: list(them) for (scope, language), them in kept.items()}

    def file(self, unique_id: str) -> StoredFile:
        """Return a file by its `file_unique_id`."""
        return self.world.files[unique_id]

    async def wait_for_messages(
        self,
        chat: Where,
        *,
        count: int = 1,
        text: str = "",
        thread: int | None = None,
        user: Who | None = None,
        timeout: float = 10.0,
    ) -> list[Seen]:
        """Return a chat's messages of bots, once there are `count` that hold `text`.

        Raises:
            TimeoutError: there were not within `timeout` seconds.
        """

        def found(messages: list[Any]) -> list[Seen]:
            return [one for one in messages if one.is_bot and not one.is_service and text in one.text]

        shown = await self.chat(chat, user).wait_for(
            lambda messages: len(found(messages)) >= count, thread=thread, timeout=timeout
        )
        return found(shown)

    async def wait_for_calls(
        self, method: str, *, count: int = 1, bot: Whom | None = None, timeout: float = 10.0
    ) -> list[Asked]:
        """Return what bots asked of a method, once they did `count` times.

        Raises:
            TimeoutError: they did not within `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while len(found := self.calls(method, bot=bot)) < count:
                await self.server.changed.wait()
        return found
