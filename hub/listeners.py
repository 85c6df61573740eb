"""Listeners: lines kept open to providers that do not call us. Each runs in exactly one process of all.

Who runs one holds an advisory lock in PostgreSQL, which drops it within moments of that process's death; another takes
over where the last one had come to, for the cursor is stored with what was found.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import structlog
from sqlalchemy import text

from channels.contract import Channel, Item, Listener, Tools
from channels.errors import ChannelError, Misconfigured, Unauthorised
from core import connections
from core.connections import Health
from core.kernel import jobs
from core.kernel.db import json_text
from core.kernel.waiting import end
from hub.app import Hub
from hub.connections import Live
from hub.database import plain_url
from hub.web_client import tools_for
from webhooks import ingress
from webhooks.deliveries import Delivery
from webhooks.ingress import Found

log = structlog.get_logger(__name__)

_LOCKS = 0x5359
"""The first key of the advisory locks; the second is the connection's id."""

_LOOK_EVERY = 2.0  # seconds
_STOPS_WITHIN = 10.0  # seconds
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 300.0
_LASTED = 60.0  # a listener that ran so long starts again without the wait of earlier failures


class _Ear:
    """What one listener is handed: `Listening` of the contract."""

    def __init__(self, hub: Hub, live: Live, cursor: Mapping[str, Any]) -> None:
        self._hub, self._live = hub, live
        self.cursor = cursor
        self.tools: Tools = tools_for(hub.web, live, now=hub.clock.now, public_url=hub.public_url)
        self._was: tuple[Health, str] | None = None
        self._notes: set[asyncio.Task[None]] = set()

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        """Store items and cursor in one transaction."""
        now = self._hub.clock.now()
        found = [Found(item.request, item.routed.dedupe_key, item.routed.peer) for item in items]
        async with self._hub.database.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("SELECT 1")
            driver: Any = (await connection.get_raw_connection()).driver_connection
            if found:
                await ingress.keep(driver, self._live.id, found, now=now)
            if cursor is not None:
                await session.execute(
                    text("UPDATE connections SET cursor = CAST(:cursor AS jsonb) WHERE id = :id"),
                    {"cursor": json_text(dict(cursor)), "id": self._live.id},
                )
            if found:
                await jobs.wake(session, Delivery.__tablename__)
        if cursor is not None:
            self.cursor = dict(cursor)
        if found:
            self._hub.delivered.set()

    def is_well(self, detail: str = "") -> None:
        """Note that the line stands."""
        self._told(Health.ACTIVE, "")

    def is_ill(self, detail: str) -> None:
        """Note that it does not, and that the listener tries again by itself."""
        self._told(Health.DEGRADED, detail)

    def _told(self, health: Health, detail: str) -> None:
        if self._was == (health, detail):
            return
        self._was = (health, detail)
        task = asyncio.get_running_loop().create_task(note_health(self._hub, self._live, health, detail))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)


async def note_health(hub: Hub, live: Live, health: Health, detail: str) -> None:
    """Note how a connection does; a database that is away just now is no reason to stop listening."""
    try:
        async with hub.database.transaction() as session:
            row = await connections.get(session, live.id)
            if health is Health.ACTIVE:
                await connections.note_well(session, row, at=hub.clock.now())
            else:
                await connections.note_trouble(session, row, live.masked(detail), health=health, at=hub.clock.now())
    except Exception:
        log.warning("health_not_noted", connection_id=live.id, exc_info=True)


class Listeners:
    """Runs the listeners of this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._running: dict[int, tuple[Channel, asyncio.Task[None]]] = {}
        self._locks: asyncpg.Connection[Any] | None = None

    def runs(self, connection_id: int) -> bool:
        """Whether this process holds a connection's line."""
        return connection_id in self._running

    async def run(self) -> None:
        """Look after the listeners until canceled."""
        try:
            while True:
                try:
                    await self.look()
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    log.warning("listeners_without_database", error=str(error)[:200])
                    await self._stop_all()
                except Exception:
                    log.exception("loop_failed", loop="listeners")
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            await self._stop_all()
            if self._locks is not None:
                self._locks.terminate()

    async def look(self) -> None:
        """Start what ought to run and nobody runs, stop what ought not to."""
        wanted = {
            live.id: live
            for live in self._hub.switchboard.live()
            if isinstance(live.channel, Listener) and live.paused_because is None and live.health != Health.REAUTHORISE
        }
        locks = await self._open_locks() if wanted or self._running else None
        for connection_id, (channel, task) in list(self._running.items()):
            live = wanted.get(connection_id)
            if live is None or live.channel is not channel or task.done():
                await self._stop(connection_id)
        for connection_id, live in wanted.items():
            if connection_id not in self._running and locks is not None and await self._take(locks, connection_id):
                task = asyncio.create_task(self._listen(live))
                self._running[connection_id] = (live.channel, task)

    async def _open_locks(self) -> asyncpg.Connection[Any]:
        """Return the line that holds our locks. A new one holds none: whatever ran under the old one is stopped."""
        if self._locks is None or self._locks.is_closed():
            await self._stop_all()
            self._locks = await asyncpg.connect(
                plain_url(self._hub.url), server_settings={"application_name": "switchyard listeners"}
            )
        return self._locks

    async def _take(self, locks: asyncpg.Connection[Any], connection_id: int) -> bool:
        return bool(await locks.fetchval("SELECT pg_try_advisory_lock($1, $2)", _LOCKS, connection_id % 2147483647))

    async def _stop(self, connection_id: int) -> None:
        _, task = self._running.pop(connection_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOPS_WITHIN):
                await end(task, again=_STOPS_WITHIN / 2)
        if self._locks is not None and not self._locks.is_closed():
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._locks.execute("SELECT pg_advisory_unlock($1, $2)", _LOCKS, connection_id % 2147483647)

    async def _stop_all(self) -> None:
        for connection_id in list(self._running):
            await self._stop(connection_id)

    async def _listen(self, live: Live) -> None:
        """Run one listener again and again, after a growing wait where it fails."""
        wait = _FIRST_WAIT
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            channel = live.channel
            assert isinstance(channel, Listener)
            try:
                async with self._hub.database.reading() as session:
                    row = await connections.get(session, live.id)
                    cursor = dict(row.cursor)
                await channel.run(_Ear(self._hub, live, cursor))
            except Unauthorised as error:
                log.warning("listener_unauthorised", connection_id=live.id, kind=live.kind)
                await note_health(self._hub, live, Health.REAUTHORISE, str(error))
                return
            except Misconfigured as error:
                await note_health(self._hub, live, Health.DEGRADED, str(error))
                wait = _LONGEST_WAIT
            except ChannelError as error:
                log.info("listener_failed", connection_id=live.id, kind=live.kind, error=live.masked(str(error)))
                await note_health(self._hub, live, Health.DEGRADED, str(error))
            except Exception as error:
                log.exception("listener_failed", connection_id=live.id, kind=live.kind)
                await note_health(
                    self._hub, live, Health.DEGRADED, f"The listener failed ({type(error).__name__}) and starts again"
                )
            if loop.time() - started > _LASTED:
                wait = _FIRST_WAIT
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, _LONGEST_WAIT)
