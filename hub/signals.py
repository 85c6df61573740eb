"""Signals: one connection on which this node listens to PostgreSQL, and by whose lock others see that it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import structlog

from core.kernel.jobs import WORKER_LOCKS
from hub.database import plain_url

log = structlog.get_logger(__name__)

Heard = Callable[[str], None]
"""Called with a notification's payload; must not block."""


class Signals:
    """Listens for as long as the process runs, and comes back by itself when PostgreSQL was away."""

    def __init__(self, url: str, *, worker_id: int | None = None) -> None:
        self._url = plain_url(url)
        self._worker_id = worker_id
        self._heard: dict[str, list[Heard]] = {}
        self._connection: asyncpg.Connection[Any] | None = None
        self._lost = asyncio.Event()

    def on(self, channel: str, heard: Heard) -> None:
        """Have `heard` called with each notification of a channel. To be said before `open`."""
        self._heard.setdefault(channel, []).append(heard)

    async def open(self) -> None:
        """Connect, take the lock that shows we live, and listen."""
        self._lost.clear()
        connection = await asyncpg.connect(self._url, server_settings={"application_name": "switchyard signals"})
        try:
            connection.add_termination_listener(lambda _: self._lost.set())
            if self._worker_id is not None:
                await connection.execute("SELECT pg_advisory_lock($1, $2)", WORKER_LOCKS, self._worker_id % 2147483647)
            for channel in self._heard:
                await connection.add_listener(channel, self._dispatch)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    async def run(self) -> None:
        """Stay connected until canceled. After a break everybody is woken, since something may have been missed."""
        while True:
            await self._lost.wait()
            log.warning("signals_lost")
            while True:
                try:
                    await self.open()
                    break
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(1)
            log.info("signals_back")
            for heard in [h for listeners in self._heard.values() for h in listeners]:
                heard("")

    async def close(self) -> None:
        """Stop listening and give the lock back."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close()

    def _dispatch(self, _connection: Any, _process: int, channel: str, payload: object) -> None:
        for heard in self._heard.get(channel, ()):
            heard(str(payload))
