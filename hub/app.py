"""The composition root: the one place where things are made and connected."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from core.connections import CHANGED
from core.kernel.clock import Clock, SystemClock
from core.kernel.events import CHANNEL as DIARY
from core.kernel.jobs import WAKE
from core.kernel.secrets import Vault
from hub import schema
from hub.connections import Switchboard
from hub.database import Database, open_database, plain_url
from hub.files import Files, open_files
from hub.live import TOLD, Live
from hub.settings import Settings
from hub.signals import Signals
from hub.web_client import Web, open_web
from webhooks.ingress import Ingress


@dataclass(frozen=True)
class Hub:
    """Everything the application runs on.

    Made once and handed to web handlers, jobs and loops. It stops there: `core`, `channels` and `webhooks` are given
    only the part they need.
    """

    settings: Settings
    clock: Clock
    database: Database
    url: str
    vault: Vault
    switchboard: Switchboard
    ingress: Ingress
    live: Live
    signals: Signals
    worker_id: int
    work_waits: asyncio.Event
    delivered: asyncio.Event
    diary_grew: asyncio.Event
    sending_waits: asyncio.Event
    desk_waits: asyncio.Event
    posts_wait: asyncio.Event
    desk_news: asyncio.Event
    connections_changed: asyncio.Event
    public_url: str
    files: Files
    web: Web


def _setter(event: asyncio.Event) -> Callable[[str], None]:
    return lambda _payload: event.set()


def _waker(queues: Mapping[str, asyncio.Event]) -> Callable[[str], None]:
    def wake(queue: str) -> None:
        for event in [queues[queue]] if queue in queues else queues.values():
            event.set()

    return wake


@asynccontextmanager
async def open_hub(
    settings: Settings, database_url: str, *, clock: Clock | None = None, public_url: str | None = None
) -> AsyncIterator[Hub]:
    """Open what the hub needs, in order, and close it in reverse. The database must be migrated."""
    schema.load()
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(database_url, pool_size=settings.pool_size))
        pool = await stack.enter_async_context(
            asyncpg.create_pool(
                plain_url(database_url),
                min_size=1,
                max_size=2,
                command_timeout=30,  # a database that hangs must not hang the door: whoever posts is told to come again
                server_settings={"application_name": "switchyard ingress", "jit": "off"},
            )
        )
        vault = Vault(settings.secret_key())
        switchboard = Switchboard(database, vault, base_urls=settings.provider_urls())
        await switchboard.refresh()
        worker_id = int.from_bytes(os.urandom(4), "big") % 2147483646 + 1
        signals = Signals(database_url, worker_id=worker_id)
        live = Live(database)
        work_waits, delivered = asyncio.Event(), asyncio.Event()
        diary_grew, connections_changed = asyncio.Event(), asyncio.Event()
        sending_waits, desk_waits, posts_wait, desk_news = (asyncio.Event() for _ in range(4))
        queues = {
            "jobs": work_waits,
            "deliveries": delivered,
            "outbox": sending_waits,
            "desk_updates": desk_waits,
            "desk_posts": posts_wait,
        }
        signals.on(WAKE, _waker(queues))
        signals.on(DIARY, _setter(desk_news))
        signals.on(DIARY, _setter(diary_grew))
        signals.on(DIARY, live.wake)
        signals.on(TOLD, live.told)
        signals.on(CHANGED, _setter(connections_changed))
        await signals.open()
        stack.push_async_callback(signals.close)
        ingress = Ingress(
            _lend(pool),
            clock,
            most_requests=settings.ingress_buffer_requests,
            most_bytes=settings.ingress_buffer_bytes,
            on_stored=delivered.set,
        )
        stack.push_async_callback(ingress.close)
        yield Hub(
            settings=settings,
            clock=clock,
            database=database,
            url=database_url,
            vault=vault,
            switchboard=switchboard,
            ingress=ingress,
            live=live,
            signals=signals,
            worker_id=worker_id,
            work_waits=work_waits,
            delivered=delivered,
            diary_grew=diary_grew,
            sending_waits=sending_waits,
            desk_waits=desk_waits,
            posts_wait=posts_wait,
            desk_news=desk_news,
            connections_changed=connections_changed,
            public_url=public_url or settings.public_url or "",
            files=await asyncio.to_thread(open_files, settings),
            web=await stack.enter_async_context(open_web()),
        )


def _lend(pool: asyncpg.Pool[Any]) -> Any:
    return lambda: pool.acquire(timeout=5)
