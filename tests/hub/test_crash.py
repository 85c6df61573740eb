"""From outside: servers are killed at any moment under a load of posts, and nothing acknowledged is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from sqlalchemy import text

ROOT = Path(__file__).parents[2]


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`switchyard serve` as an operator runs it."""

    def __init__(self, settings, database_url, folder):
        self.port = _free_port()
        self.process = None
        self._log = folder / f"serve-{self.port}.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SWITCHYARD_")},
            "SWITCHYARD_DATABASE_URL": database_url,
            "SWITCHYARD_STATE_DIR": str(settings.state_dir),
            "PYTHONPATH": str(ROOT),
        }

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def start(self, client):
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "hub", "serve", "--port", str(self.port),
                cwd=self._log.parent, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(600):
            assert self.process.returncode is None, self._log.read_text()[-3000:]
            try:
                async with client.get(f"{self.url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(f"It does not get ready: {self._log.read_text()[-3000:]}")

    async def kill(self):
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def _servers(count, settings, database_url, folder):
    servers = [Server(settings, database_url, folder) for _ in range(count)]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:
        try:
            yield client, servers
        finally:
            for server in servers:
                await server.kill()


async def _post(client, server, key, number):
    """Post as a new person; True if it was acknowledged."""
    data = {"submission_id": f"s{number}", "email": f"p{number}@example.com", "name": f"P{number}", "message": "hello"}
    try:
        async with client.post(f"{server.url}/hooks/{key}", data=data) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _settled(hub, *, within):
    """Wait until no delivery waits any more; return how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        async with hub.database.reading() as session:
            waiting = await session.scalar(text("SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL"))
        if not waiting:
            return loop.time() - began
        assert loop.time() - began < within, f"{waiting} deliveries still wait"
        await asyncio.sleep(0.05)


_PEOPLE = """
SELECT i.value, count(DISTINCT c.id) AS contacts, count(DISTINCT l.id) AS leads, count(DISTINCT d.id) AS deals,
       count(DISTINCT t.id) AS tasks, count(DISTINCT m.id) AS messages
FROM identities i JOIN contacts c ON c.id = i.contact_id LEFT JOIN leads l ON l.contact_id = c.id
LEFT JOIN deals d ON d.contact_id = c.id LEFT JOIN tasks t ON t.contact_id = c.id
LEFT JOIN messages m ON m.contact_id = c.id GROUP BY i.value
"""


async def _check(hub, acknowledged):
    async with hub.database.reading() as session:
        people = {row.value: tuple(row)[1:] for row in await session.execute(text(_PEOPLE))}
        contacts = await session.scalar(text("SELECT count(*) FROM contacts"))
        states = Counter(await session.scalars(text("SELECT state FROM deliveries")))
    lost = [number for number in acknowledged if f"p{number}@example.com" not in people]
    assert lost == []
    assert {counts for counts in people.values()} == {(1, 1, 1, 1, 1)}
    assert contacts == len(people)
    assert set(states) == {"processed"}


async def test_killed_at_any_moment_it_loses_and_doubles_nothing(
    hub, webform, take_on, settings, database_url, tmp_path
):
    chance = random.Random(20261123)
    await take_on("Anna")
    await take_on("Boris")
    acknowledged: set[int] = set()
    numbers = iter(range(10**6))
    done = False
    async with _servers(1, settings, database_url, tmp_path) as (client, (server,)):

        async def load():
            while not done:
                number = next(numbers)
                if await _post(client, server, webform.key, number):
                    acknowledged.add(number)
                else:
                    await asyncio.sleep(0.05)

        await server.start(client)
        clients = [asyncio.create_task(load()) for _ in range(8)]
        for _ in range(4):
            before = len(acknowledged)
            while len(acknowledged) < before + 20:
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.random() * 0.4)
            await server.kill()
            await server.start(client)
        done = True
        await asyncio.gather(*clients)
        await _settled(hub, within=15)
    assert len(acknowledged) > 80
    await _check(hub, acknowledged)


async def test_of_two_servers_one_is_killed_and_the_other_does_its_work_too(
    hub, webform, take_on, settings, database_url, tmp_path
):
    await take_on("Anna")
    acknowledged: set[int] = set()
    async with _servers(2, settings, database_url, tmp_path) as (client, servers):
        await asyncio.gather(*(server.start(client) for server in servers))

        async def post(number):
            if await _post(client, servers[number % 2], webform.key, number):
                acknowledged.add(number)

        load = asyncio.gather(*(post(number) for number in range(300)))
        while len(acknowledged) < 60:
            await asyncio.sleep(0.005)
        await servers[0].kill()
        await load
        assert await _settled(hub, within=10) < 10
    assert len(acknowledged) >= 150
    await _check(hub, acknowledged)
    async with hub.database.reading() as session:
        live = await session.scalar(text("SELECT count(*) FROM claims WHERE ids <> '{}'"))
    assert live <= 4  # what the dead one held was given up with it
