"""How a bot gets its updates: it asks (getUpdates), or is called (setWebhook). Both read the same queue.

https://core.telegram.org/bots/api#getting-updates, https://core.telegram.org/bots/webhooks.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.peers.botapi.chats import Json, Pulse
from tests.peers.botapi.errors import conflict

KINDS = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
)
ASKED_FOR = ("chat_member", "message_reaction", "message_reaction_count")
"""What comes only to a bot that named it in `allowed_updates`."""

KEPT = 24 * 3600
LONGEST_WAIT = 60.0


@dataclass(eq=False)
class Hook:
    """A webhook that is set."""

    url: str
    secret: str = ""
    connections: int = 40
    last_error: str = ""
    last_error_at: int = 0


@dataclass(eq=False)
class Queue:
    """One bot's updates that it has not confirmed yet, in order of `update_id`."""

    now: Callable[[], float]
    next_id: int = 100_000_001
    pending: dict[int, tuple[Json, int, float]] = field(default_factory=dict)
    allowed: tuple[str, ...] = ()
    hook: Hook | None = None
    changed: Pulse = field(default_factory=Pulse)
    polls: int = 0
    _why: str = ""

    def add(self, kind: str, content: Json, lane: int) -> None:
        """Add an update, if the bot wants such. `lane` is the chat it is of."""
        wanted = kind in self.allowed if self.allowed else kind not in ASKED_FOR
        if not wanted:
            return
        number, self.next_id = self.next_id, self.next_id + 1
        self.pending[number] = ({"update_id": number, kind: content}, lane, self.now())
        self.changed.ring()

    def allow(self, given: Any) -> None:
        """Remember which sorts are wanted: an empty list is the usual ones, None changes nothing."""
        if isinstance(given, list):
            self.allowed = tuple(kind for kind in map(str, given) if kind in KINDS)

    def forget_old(self) -> None:
        """Drop what nobody fetched for a day."""
        limit = self.now() - KEPT
        while self.pending and (first := next(iter(self.pending.items())))[1][2] < limit:
            del self.pending[first[0]]

    def interrupt(self, why: str) -> None:
        """End whoever is polling with a conflict."""
        self.polls += 1
        self._why = why
        self.changed.ring()

    async def fetch(self, offset: int, limit: int, timeout: int) -> list[Json]:
        """Return updates, waiting up to `timeout` seconds for the first.

        Raises:
            Refused: a webhook is set, or somebody else began to poll meanwhile.
        """
        if self.hook:
            raise conflict(
                "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
            )
        self.interrupt("terminated by other getUpdates request; make sure that only one bot instance is running")
        mine = self.polls
        self.forget_old()
        if offset < 0:
            offset = max(self.next_id + offset, min(self.pending, default=self.next_id))
        if offset:
            while self.pending and (first := next(iter(self.pending))) < offset:
                del self.pending[first]
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while not self.pending and (left := until - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self.changed.wait()
            except TimeoutError:
                break
            if self.polls != mine:
                raise conflict(self._why)
        found: list[Json] = []
        for update, _, _ in self.pending.values():
            found.append(update)
            if len(found) >= limit:
                break
        return found


Answering = Callable[[Json], Awaitable[None]]


class Courier:
    """Brings one bot's updates to its webhook, until each was taken.

    An update is tried again, later and later, until the answer is a 2xx. Those of one chat go one after another.
    """

    def __init__(self, queue: Queue, hook: Hook, session: aiohttp.ClientSession, answered: Answering, pause: float):
        self._queue, self._hook, self._session, self._answered, self._pause = queue, hook, session, answered, pause
        self._lanes: dict[int, deque[int]] = {}
        self._seen = 0
        self._places = asyncio.Semaphore(hook.connections)
        self._tasks: set[asyncio.Task[None]] = set()
        self._main = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop calling."""
        tasks = [self._main, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            end = self._queue.next_id
            first = next(iter(self._queue.pending), end)
            for number in range(max(self._seen + 1, first), end):
                self._seen = number
                if number not in self._queue.pending:
                    continue
                lane = self._queue.pending[number][1]
                if lane in self._lanes:
                    self._lanes[lane].append(number)
                else:
                    self._lanes[lane] = deque([number])
                    task = asyncio.create_task(self._serve(lane))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            await self._queue.changed.wait()

    async def _serve(self, lane: int) -> None:
        waiting = self._lanes[lane]
        while waiting:
            pause = self._pause
            while (held := self._queue.pending.get(waiting[0])) is not None:
                async with self._places:
                    trouble = await self._bring(held[0])
                if not trouble:
                    self._queue.pending.pop(waiting[0], None)
                    self._queue.changed.ring()
                    break
                self._hook.last_error, self._hook.last_error_at = trouble, int(self._queue.now())
                self._queue.changed.ring()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_WAIT)
            waiting.popleft()
        del self._lanes[lane]

    async def _bring(self, update: Json) -> str:
        """Call once. Return what went wrong, or nothing."""
        headers = {"Content-Type": "application/json"}
        if self._hook.secret:
            headers["X-Telegram-Bot-Api-Secret-Token"] = self._hook.secret
        try:
            async with self._session.post(
                self._hook.url,
                data=json.dumps(update, ensure_ascii=False).encode(),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(60),
            ) as answer:
                body = await answer.read()
                if not 200 <= answer.status < 300:
                    return f"Wrong response from the webhook: {answer.status} {answer.reason or ''}".rstrip()
        except aiohttp.ClientConnectorError:
            return "Connection refused"
        except TimeoutError:
            return "Read timeout expired"
        except aiohttp.ClientError as error:
            return f"Connection failed: {type(error).__name__}"
        try:
            call = json.loads(body) if body.strip() else None
        except ValueError:
            return ""
        if isinstance(call, dict) and call.get("method"):
            await self._answered(call)
        return ""
