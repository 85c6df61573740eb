"""The test stand: one PostgreSQL server, the floors and the hub on it, and the numbers of the forms already posted."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import processes, subject
from tests.bench.load import Plan, Report, post_forms
from tests.bench.pgbench import MESSAGE_STATEMENTS, STATEMENTS, Floor
from tests.bench.postgres import Server
from tests.bench.results import progress
from tests.bench.subject import Hub

QUIET_WINDOW = 0.5
QUIET_SHARE = 0.1
"""The stand is quiet when hub and PostgreSQL together use less than this share of one core for so many seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure: rounds, seconds of each load, leads stored in each round, posts at a fixed rate."""

    rounds: int = 3
    seconds: float = 4
    leads: int = 20_000
    posts: int = 500


@dataclass(slots=True)
class Stand:
    """Everything a measure needs."""

    server: Server
    folder: Path
    options: Options
    floors_url: str
    leads_floor: Floor
    messages_floor: Floor
    hub: Hub
    next_number: int = 1
    leads: int = 0
    """How many leads the hub should hold by now."""

    async def post(self, plan: Plan) -> Report:
        """Post forms nobody posted before, after PostgreSQL has written out what came earlier.

        Raises:
            RuntimeError: requests were refused or broken off.
        """
        await self.server.settle()
        report = await post_forms(dataclasses.replace(plan, start=self.next_number))
        self.next_number = report.next_number
        if report.refused:
            progress(f"  refused, by status: {report.refused}")
        return report

    async def start_hub(self) -> float:
        """Start the hub, set up first if it is new; return the seconds it took to be ready."""
        if self.hub.process is not None:
            return 0.0
        if not self.hub.hook_url:
            progress("setting up the hub")
            await self.hub.set_up()
        seconds = await self.hub.start()
        progress(f"hub ready after {seconds:.2f} s")
        return seconds

    async def restart_hub(self) -> float:
        """Start the hub anew on its database; return the seconds it took to be ready."""
        await self.start_hub()
        await self.hub.stop()
        return await self.start_hub()

    def cpu_seconds(self) -> float:
        """Return the CPU that the hub and PostgreSQL have used so far."""
        return self.server.cpu_seconds() + processes.cpu_seconds(self.hub.pid)

    async def quiet(self, patience: float = 120) -> None:
        """Wait until hub and PostgreSQL have done what was left to do."""
        before = self.cpu_seconds()
        for _ in range(round(patience / QUIET_WINDOW)):
            await asyncio.sleep(QUIET_WINDOW)
            now = self.cpu_seconds()
            if now - before < QUIET_SHARE * QUIET_WINDOW:
                return
            before = now
        progress(f"  still busy after {patience:.0f} s")

    @asynccontextmanager
    async def floor(self, kind: str) -> AsyncIterator[FloorServer]:
        """Have a bare server run while the block does."""
        server = FloorServer(kind, subject.free_port(), self.floors_url)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


@dataclass(slots=True)
class FloorServer:
    """A bare server in a process of its own."""

    kind: str
    port: int
    database_url: str
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        arguments = ("-m", "tests.bench.floors", self.kind, str(self.port), self.database_url)
        self.process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
        await subject.ready(self.port, self.process)

    async def stop(self) -> None:
        """End it."""
        assert self.process is not None, "the floor was not started"
        await processes.stop(self.process)


@asynccontextmanager
async def prepared(server: Server, folder: Path, options: Options, wrapper: tuple[str, ...]) -> AsyncIterator[Stand]:
    """Make the databases, and end and drop everything afterwards. `wrapper` is what the hub is started under."""
    floors_url = await server.make_database("switchyard_floors")
    stored_url = await server.make_database("switchyard_floor_leads")
    leads_floor, messages_floor = Floor(stored_url, STATEMENTS), Floor(stored_url, MESSAGE_STATEMENTS)
    await leads_floor.prepare()
    hub = Hub(server, folder / "hub", subject.free_port(), wrapper=wrapper)
    hub.folder.mkdir()
    try:
        yield Stand(server, folder, options, floors_url, leads_floor, messages_floor, hub)
    finally:
        await hub.stop()
        for name in ("switchyard_floors", "switchyard_floor_leads", hub.database):
            await server.drop_database(name)
