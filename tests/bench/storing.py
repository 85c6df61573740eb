"""P3, P5, P9: leads stored end to end, against pgbench; the CPU of each; the memory of the process that does it.

A lead is stored when it can be read in the database. CPU counts until everything that a lead sets off has been done.
"""

from __future__ import annotations

import asyncio

from tests.bench import processes
from tests.bench.load import Plan
from tests.bench.results import Result, Rounds, progress
from tests.bench.stand import Stand

CLIENTS = 64
REST = 3.0
"""Seconds after which a process that has just started is at rest."""

BARE = "bare aiohttp + asyncpg, commit per request"


async def measure(stand: Stand) -> list[Result]:
    """Measure P3, P5 and P9."""
    rounds = Rounds()
    floor = stand.leads_floor
    await stand.restart_hub()
    await asyncio.sleep(REST)
    at_rest = processes.memory(stand.hub.pid)
    rounds.add("P9", at_rest.proportional)
    rounds.add("P9_resident", at_rest.resident)
    await _bare_memory(stand, rounds)
    for number in range(stand.options.rounds):
        progress(f"storing, round {number + 1}")
        await _floor(stand, rounds, "floor", "simple")
        await _floor(stand, rounds, "floor_prepared", "prepared")
        await _store(stand, rounds)
    results = [
        rounds.result("P3", "leads/s", "P3_floor", floor.title),
        rounds.result("P5", "ms/lead", "P5_floor", f"{floor.title}: client and PostgreSQL"),
        rounds.result("P9", "MB", "P9_floor", BARE),
        rounds.result("P9_loaded", "MB"),
        rounds.result("P9_resident", "MB"),
        rounds.result("P9_loaded_resident", "MB"),
        rounds.result("P3_prepared", "leads/s", "P3_floor_prepared", f"{floor.title}, prepared statements"),
        rounds.result("P3_posts", "posts/s"),
        rounds.result("P3_floor", "leads/s"),
        rounds.result("P3_floor_prepared", "leads/s"),
        rounds.result("P5_hub", "ms/lead"),
        rounds.result("P5_postgresql", "ms/lead", "P5_floor_postgresql", f"{floor.title}: PostgreSQL"),
        rounds.result("P5_floor", "ms/lead"),
    ]
    return results


async def _bare_memory(stand: Stand, rounds: Rounds) -> None:
    async with stand.floor("commit") as bare:
        await asyncio.sleep(REST)
        assert bare.process is not None, "the floor was not started"
        rounds.add("P9_floor", processes.memory(bare.process.pid).proportional)


async def _floor(stand: Stand, rounds: Rounds, name: str, protocol: str) -> None:
    await stand.server.settle()
    before = stand.server.cpu_seconds()
    measured = await stand.leads_floor.measure(stand.options.seconds, protocol)
    server = 1000 * (stand.server.cpu_seconds() - before) / measured.stored
    rounds.add(f"P3_{name}", measured.rate)
    rounds.add(f"P5_{name}", server + measured.client_cpu)
    rounds.add(f"P5_{name}_postgresql", server)


async def _store(stand: Stand, rounds: Rounds) -> None:
    wanted = stand.options.leads
    before, stand.leads = stand.leads, stand.leads + wanted
    hub_before, server_before = processes.cpu_seconds(stand.hub.pid), stand.server.cpu_seconds()
    async with processes.peak_memory(stand.hub.pid) as peak:
        stored = asyncio.create_task(stand.hub.stored("leads", stand.leads, before))
        report = await stand.post(Plan(stand.hub.hook_url, clients=CLIENTS, requests=wanted))
        seconds = await stored - report.began
        await stand.quiet()
    rounds.add("P3", wanted / seconds)
    rounds.add("P3_prepared", wanted / seconds)
    rounds.add("P3_posts", report.rate)
    hub = 1000 * (processes.cpu_seconds(stand.hub.pid) - hub_before) / wanted
    server = 1000 * (stand.server.cpu_seconds() - server_before) / wanted
    rounds.add("P5", hub + server)
    rounds.add("P5_hub", hub)
    rounds.add("P5_postgresql", server)
    rounds.add("P9_loaded", peak.proportional)
    rounds.add("P9_loaded_resident", peak.resident)
