"""The hub under test, as a black box: its commands, its URLs, and the tables named like its words.

Nothing here imports the hub. `Hub.start` runs `switchyard serve` with a state folder and a database of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from tests.bench import processes
from tests.bench.postgres import Server

EMAIL, PASSWORD = "anna@example.com", "correct horse battery staple"
SWITCHYARD = Path(sys.executable).with_name("switchyard")
PATIENCE = 120.0
"""Seconds a hub may take to become ready, or to get one more lead stored, before the bench gives up."""


@dataclass(slots=True)
class Hub:
    """One hub: where it runs and what it is asked through."""

    server: Server
    folder: Path
    port: int
    database: str = "switchyard_bench"
    wrapper: tuple[str, ...] = ()
    """What the server is started under, as a profiler is."""
    hook_url: str = ""
    process: asyncio.subprocess.Process | None = None
    _environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self.process is not None, "the hub was not started"
        return self.process.pid

    async def set_up(self) -> None:
        """Make its database, one manager and one website form."""
        database_url = await self.server.make_database(self.database)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SWITCHYARD_")},
            "SWITCHYARD_DATABASE_URL": database_url,
            "SWITCHYARD_STATE_DIR": str(self.folder),
            "SWITCHYARD_PUBLIC_URL": self.url,
            "SWITCHYARD_LOG_FORMAT": "json",
        }
        await self.run("migrate")
        user = ("user", "add", EMAIL, "--name", "Anna", "--role", "manager", "--password-stdin")
        await self.run(*user, given=f"{PASSWORD}\n".encode())
        made = await self.run("connection", "add", "webform", "--title", "Bench", "--set", "rate_per_minute=0")
        found = re.search(rb"\{.*\}", made, re.DOTALL)
        assert found, f"connection add printed {made!r}"
        answer: dict[str, Any] = msgspec.json.decode(found[0])
        # the printed URL is the public one, which is ours; only its path is used, so that nothing leads elsewhere
        self.hook_url = f"{self.url}/hooks/{answer['key']}"

    async def connect_sms(self, send_url: str) -> str:
        """Connect an HTTP SMS gateway at an address; return the URL at which it delivers."""
        given = ("send_url=" + send_url, "per_second=1000", "token=bench-token-of-the-gateway")
        settings = [part for pair in given for part in ("--set", pair)]
        made = await self.run("connection", "add", "sms_http", "--title", "SMS", *settings)
        found = re.search(rb"\{.*\}", made, re.DOTALL)
        assert found, f"connection add printed {made!r}"
        return f"{self.url}/hooks/{msgspec.json.decode(found[0])['key']}/bench-token-of-the-gateway"

    async def make_token(self) -> str:
        """Make a token for the API."""
        made = await self.run("token", "create", "--user", EMAIL, "--name", "bench", "--json")
        found = re.search(rb"\{.*\}", made, re.DOTALL)
        assert found, f"token create printed {made!r}"
        return str(msgspec.json.decode(found[0])["token"])

    async def run(self, *arguments: str, given: bytes = b"") -> bytes:
        """Run a subcommand and return what it printed.

        Raises:
            RuntimeError: it failed; its words are in the message.
        """
        process = await asyncio.create_subprocess_exec(
            SWITCHYARD,
            *arguments,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate(given)
        if process.returncode:
            raise RuntimeError(f"switchyard {' '.join(arguments)} failed: {errors.decode(errors='replace')[-2000:]}")
        return output

    async def start(self) -> float:
        """Serve, wait until it is ready, and return how many seconds that took."""
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.wrapper,
                *(() if self.wrapper else (sys.executable,)),
                SWITCHYARD,
                "serve",
                "--host",
                "127.0.0.1",
                "--port",
                str(self.port),
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        await ready(self.port, self.process)
        return time.perf_counter() - began

    async def stop(self) -> None:
        """End it if it runs."""
        if self.process is not None:
            await processes.stop(self.process)
            self.process = None

    def last_words(self) -> str:
        """Return the end of what it wrote to its log."""
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    @property
    def _log(self) -> Path:
        return self.folder.with_suffix(".log")

    async def count(self, table: str) -> int:
        """Count the rows of a table."""
        async with self.reading() as connection:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[asyncpg.Connection]:
        """Open a connection to its database."""
        connection = await asyncpg.connect(self.server.database_url(self.database), ssl=False)
        try:
            yield connection
        finally:
            await connection.close()

    async def stored(self, table: str, wanted: int, known_before: int = 0) -> float:
        """Wait until a table has so many rows and return the moment it did, seconds since the epoch.

        It asks seldom while many are missing and often towards the end, since counting costs what is measured.

        Raises:
            RuntimeError: no further row was stored for `PATIENCE` seconds, or there are more than there should be.
        """
        async with self.reading() as connection:
            began, last, progress = time.perf_counter(), known_before, time.perf_counter()
            while True:
                count = int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
                now = time.perf_counter()
                if count == wanted:
                    return time.time()
                if count > wanted:
                    raise RuntimeError(f"{table} has {count} rows where {wanted} should be")
                if count > last:
                    last, progress = count, now
                elif now - progress > PATIENCE:
                    raise RuntimeError(f"{table} has {count} of {wanted} rows and no more come")
                rate = (count - known_before) / max(now - began, 0.001)
                await asyncio.sleep(min(max((wanted - count) / max(rate, 1.0) / 2, 0.01), 0.5))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def ready(port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until `/readyz` answers 200.

    Raises:
        RuntimeError: the process ended, or was not ready in time.
    """
    until = time.perf_counter() + PATIENCE
    while time.perf_counter() < until:
        if process.returncode is not None:
            raise RuntimeError(f"The server ended with {process.returncode} before it was ready")
        if await answers(port):
            return
        await asyncio.sleep(0.01)
    raise RuntimeError(f"The server was not ready within {PATIENCE:.0f} s")


async def answers(port: int) -> bool:
    """Say whether `/readyz` answers 200 now."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return b" 200 " in await asyncio.wait_for(reader.readline(), 5)
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
