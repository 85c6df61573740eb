"""The PostgreSQL server that both the hub and the floors run on, with a fresh database for each.

The embedded one, in a folder of its own, unless `SWITCHYARD_DATABASE_URL` names another on this machine.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from hub import embedded
from tests.bench import processes
from tests.bench.results import progress


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: the URL of its maintenance database and the process id of its postmaster."""

    url: str
    postmaster: int

    def database_url(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    async def make_database(self, name: str) -> str:
        """Make a database, in place of one of that name, and return its URL."""
        await self.drop_database(name)
        await self.execute(f'CREATE DATABASE "{name}"')
        return self.database_url(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database if it exists, whoever is connected to it."""
        await self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def execute(self, statement: str) -> None:
        """Run one statement on the maintenance database."""
        connection = await asyncpg.connect(self.url, ssl=False)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def settle(self) -> None:
        """Write everything out, so that no measure pays for what the one before left behind."""
        await self.execute("CHECKPOINT")

    def cpu_seconds(self) -> float:
        """Return the CPU of all its processes so far."""
        return processes.cpu_seconds(self.postmaster)


def plain(url: str) -> str:
    """Return a URL as asyncpg reads it: without SQLAlchemy's driver name and its way to say `ssl`."""
    parts = urlsplit(url)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name != "ssl"]
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(options)))


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Server]:
    """Have a server run while the block does."""
    given = os.environ.get("SWITCHYARD_DATABASE_URL")
    if given:
        yield await _server(plain(given))
        return
    async with embedded.running(folder, say=progress) as url:
        yield await _server(plain(url))


async def _server(url: str) -> Server:
    connection = await asyncpg.connect(url, ssl=False)
    try:
        return Server(url, processes.parent(connection.get_server_pid()))
    except FileNotFoundError:
        raise RuntimeError("The PostgreSQL in SWITCHYARD_DATABASE_URL runs elsewhere; its CPU cannot be seen") from None
    finally:
        await connection.close()
