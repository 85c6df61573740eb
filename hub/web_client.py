"""The hub's own way out: two HTTP clients for all channels, opened once, and the tools each connection is handed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

import aiohttp

from channels.contract import Tools
from channels.http import Exchange, Http
from hub.connections import Live
from webhooks.guard import guarded_connector


class Web(NamedTuple):
    """`plain` goes where our code and the connections' settings say; `guarded` refuses the own network; `once` opens a
    line for each request, for those that must not be repeated.
    """

    plain: aiohttp.ClientSession
    guarded: aiohttp.ClientSession
    once: aiohttp.ClientSession


_AGENT = {"User-Agent": "Switchyard"}


@asynccontextmanager
async def open_web() -> AsyncIterator[Web]:
    """Open the clients. Idle lines are kept so briefly that no provider has closed one when it is used again."""
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=200, keepalive_timeout=5),
            headers=_AGENT,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as plain,
        aiohttp.ClientSession(
            connector=guarded_connector(), headers=_AGENT, cookie_jar=aiohttp.DummyCookieJar()
        ) as guarded,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=50, force_close=True),
            headers=_AGENT,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as once,
    ):
        yield Web(plain, guarded, once)


def tools_for(
    web: Web,
    live: Live,
    *,
    now: Callable[[], datetime],
    public_url: str,
    note: Callable[[Exchange], None] | None = None,
) -> Tools:
    """Return what a connection's channel needs to talk to its provider; `note` gets every exchange, secrets masked."""
    http = Http(web.plain, web.guarded, once=web.once, secrets=live.secrets, trusted=live.trusted, note=note)
    return Tools(http=http, now=now, hook_url=f"{public_url}/hooks/{live.key}", default_country=live.default_country)
