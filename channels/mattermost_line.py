"""The line to Mattermost: a WebSocket that tells of new posts, and the fetching of those it missed.

The line is opened first and what was posted since the cursor fetched then, so that nothing falls between. What comes
both ways is one item, by its key. Events are numbered: where a number is left out, something was lost, and is fetched.

From Mattermost's API reference, "WebSocket", and `GET /channels/{id}/posts?since=`, which returns what was posted,
edited or deleted after a moment of the server's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import msgspec

from channels.contract import Item, Listening, Routed
from channels.errors import ChannelError, Misconfigured, Temporary, Unauthorised, Undeliverable
from channels.fields import Fields
from channels.mattermost_posts import CHANGES, DIRECT, REACTIONS, REMOVED, item, post_of, route
from channels.mattermost_server import Server, quoted
from webhooks.request import RawRequest

HEARTBEAT = 30.0
"""Seconds between pings; a line that answers none is dead."""

OVERLAP = 60_000
"""Milliseconds by which fetching begins before the cursor: posts become visible a little after their time stamp."""

_LONGEST_WAIT = 60.0
_PATIENCE = 20.0
_STOOD = 5.0  # seconds; a line that lasted no longer counts as one that failed
_MOST_POSTS = 1_000  # that `since` returns
_PAGE = 200


class Line:
    """One connection's line, mended whenever it breaks.

    `hears_all`: everything said in the bot's channels is for us, except by ourselves, and so is being put out of one.
    """

    def __init__(
        self,
        server: Server,
        listening: Listening,
        *,
        hears_all: bool = False,
        routing: Callable[[RawRequest], Routed] = route,
    ) -> None:
        self._server = server
        self._listening = listening
        self._hears_all = hears_all
        self._routing = routing
        since = Fields(dict(listening.cursor)).whole("since")
        self._since = int(listening.tools.now().timestamp() * 1000) if since is None else since
        self._is_new = since is None
        self._us = self._mention = ""
        self._types: dict[str, str] = {}
        self._heard: set[str] = set()

    async def keep(self) -> None:
        """Listen until cancelled; a line that broke is opened again at once, then later and later.

        Raises:
            Unauthorised, Misconfigured: nothing will come of it.
        """
        failures = 0
        while True:
            opened = asyncio.get_running_loop().time()
            try:
                await self._listen()
                self._listening.is_ill("The line to Mattermost broke off; it is being opened again")
            except Misconfigured:
                raise
            except ChannelError as error:
                self._listening.is_ill(str(error))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                said = self._listening.tools.http.masked(str(error))[:200]
                self._listening.is_ill(f"Mattermost cannot be reached: {said or type(error).__name__}")
            stood = asyncio.get_running_loop().time() - opened > _STOOD
            failures = 1 if stood else failures + 1
            if failures > 1:
                await asyncio.sleep(min(_LONGEST_WAIT, 2.0 ** (failures - 2)))

    async def _listen(self) -> None:
        """Open the line and follow it until it breaks."""
        tools = self._listening.tools
        who = await self._server.me(tools)
        self._us, self._mention = who.id("id"), f"@{who.id('username')}"
        address = self._server.address.replace("http", "ws", 1) + "/api/v4/websocket"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                address, heartbeat=HEARTBEAT, timeout=aiohttp.ClientWSTimeout(ws_close=5), max_msg_size=16 * 1024 * 1024
            ) as line,
        ):
            async with asyncio.timeout(_PATIENCE):
                early = await self._introduce(line)
            if self._is_new:
                await self._listening.deliver([], {"since": self._since})
                self._is_new = False
            await self._catch_up()
            self._listening.is_well(f"Listening as {self._mention}")
            expected: int | None = None
            for said in early:
                expected = await self._take(said, expected)
            async for message in line:
                if message.type is aiohttp.WSMsgType.TEXT:
                    expected = await self._take(_decoded(message.data), expected)

    async def _introduce(self, line: aiohttp.ClientWebSocketResponse) -> list[Fields]:
        """Tell who we are and wait until that is taken; return the events that came meanwhile."""
        token = self._server.token.get_secret_value()
        await line.send_json({"seq": 1, "action": "authentication_challenge", "data": {"token": token}})
        early: list[Fields] = []
        async for message in line:
            said = _decoded(message.data) if message.type is aiohttp.WSMsgType.TEXT else Fields(None)
            if said.whole("seq_reply") == 1:
                if said.text("status") == "OK":
                    return early
                raise Unauthorised("Mattermost does not take the token on its WebSocket. Enter a new one")
            early.append(said)
        raise Temporary("Mattermost closed the line before it said whether it takes the token")

    async def _take(self, said: Fields, expected: int | None) -> int | None:
        """Keep an event, and fetch what was lost before it; return the number the next one should have."""
        number = said.whole("seq") if said.text("event") else None
        if number is not None and expected is not None and number != expected:
            await self._catch_up()
        found = self._item(said)
        if found is not None:
            await self._deliver([found], changed_at(post_of(said)))
        return expected if number is None else number + 1

    def _item(self, said: Fields) -> Item | None:
        kind, data = said.text("event"), said.at("data")
        if not isinstance(data.value, dict):
            return None
        if kind == "posted":
            post = post_of(said)
            channel, where = post.id("channel_id"), data.text("channel_type")
            self._types[channel] = where
            if not self._is_for_us(post, where, _listed(data.text("mentions"))):
                return None
            self._heard.add(channel)
            return self._made(kind, data.value, channel)
        if kind in CHANGES or (kind in REACTIONS and not self._hears_all):
            post = post_of(said)
            channel = said.id("broadcast", "channel_id") or post.id("channel_id")
            if self._hears_all and not self._is_for_us(post, "", ()):
                return None
            if self._hears_all or self._types.get(channel, "") in DIRECT or channel in self._heard:
                return self._made(kind, data.value, channel)
        if kind == REMOVED and self._hears_all and said.id("broadcast", "user_id") == self._us:
            when = int(self._listening.tools.now().timestamp() * 1000)  # one can be put out again
            return self._made(kind, {"at": when, "channel_type": ""}, data.id("channel_id"))
        return None

    def _made(self, kind: str, data: dict[str, Any], channel: str) -> Item:
        """Make an item; where everything is heard it says what sort of channel it was said in, as posts do not."""
        if self._hears_all:
            data = {**data, "channel_type": self._types.get(channel, "")}
        return item(kind, self._us, data, channel, routing=self._routing)

    def _is_for_us(self, post: Fields, where: str, mentioned: Iterable[Any]) -> bool:
        if self._hears_all:
            return post.id("user_id") != self._us
        return where in DIRECT or self._is_meant(post, mentioned)

    def _is_meant(self, post: Fields, mentioned: Iterable[Any]) -> bool:
        """Tell whether a post in a channel of many is for us: it names our bot, or our bot wrote it."""
        words = post.text("message").lower().split()
        named = any(word.strip(".,:;!?()") == self._mention.lower() for word in words)
        return self._us in mentioned or named or post.id("user_id") == self._us

    async def _catch_up(self) -> None:
        """Fetch what was posted, edited and deleted since the cursor, in all channels of ours.

        The cursor moves on only when all are done: it stands for every channel.
        """
        since, newest = self._since - OVERLAP, self._since
        for channel in (await self._server.call("GET", "/users/me/channels", self._listening.tools)).items():
            name, where = channel.id("id"), channel.text("type")
            self._types[name] = where
            is_quiet = (channel.whole("last_post_at") or 0) <= since and not self._is_edited(channel, since)
            if not name or is_quiet:
                continue
            try:
                posts = await self._posts(name, since)
            except Undeliverable:
                continue  # we were taken out of it meanwhile
            items = [made for post in posts if (made := self._missed(post, where, since)) is not None]
            if items:
                self._heard.add(name)
                await self._listening.deliver(items, {"since": self._since})
                newest = max(newest, *(changed_at(post) for post in posts))
        if newest > self._since:
            await self._listening.deliver([], {"since": newest})
            self._since = newest

    async def _posts(self, channel: str, since: int) -> list[Fields]:
        """Fetch what was changed in a channel after a moment, oldest first; by pages where there is very much."""
        tools, path = self._listening.tools, f"/channels/{quoted(channel)}/posts"
        found = await self._server.call("GET", path, tools, query={"since": str(since)})
        posts = {post.id(): found.at("posts", post.id()) for post in found.items("order")}
        page = 0
        while len(posts) >= _MOST_POSTS:
            query = {"page": str(page), "per_page": str(_PAGE)}
            found = await self._server.call("GET", path, tools, query=query)
            more = {post.id(): found.at("posts", post.id()) for post in found.items("order")}
            posts |= more
            page += 1
            if len(more) < _PAGE or any((post.whole("create_at") or 0) <= since for post in more.values()):
                break
        return sorted(posts.values(), key=lambda post: post.whole("create_at") or 0)

    @staticmethod
    def _is_edited(channel: Fields, since: int) -> bool:
        """Tell whether a channel may hold edits we missed; its last post's time does not tell of them."""
        return channel.text("type") in DIRECT and (channel.whole("last_post_at") or 0) > since - 7 * 86_400_000

    def _missed(self, post: Fields, where: str, since: int) -> Item | None:
        channel = post.id("channel_id")
        if not post.id("id") or not self._is_for_us(post, where, ()):
            return None
        data = {"post": post.value, "channel_type": where}
        is_new, is_deleted = (post.whole("create_at") or 0) > since, bool(post.whole("delete_at"))
        if is_deleted:
            return None if is_new else self._made("post_deleted", data, channel)
        if is_new:
            return self._made("posted", data, channel)
        return self._made("post_edited", data, channel) if (post.whole("edit_at") or 0) > since else None

    async def _deliver(self, items: list[Item], moment: int) -> None:
        since = max(self._since, moment)
        await self._listening.deliver(items, {"since": since})
        self._since = since


def changed_at(post: Fields) -> int:
    """Return when a post was last changed, by the server's clock; 0 where it does not say."""
    return max(post.whole("update_at") or 0, post.whole("create_at") or 0)


def _decoded(text: str) -> Fields:
    try:
        return Fields(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        return Fields(None)


def _listed(text: str) -> list[Any]:
    found = _decoded(text).value
    return found if isinstance(found, list) else []
