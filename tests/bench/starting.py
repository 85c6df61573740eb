"""P10: the time from the command to `/readyz` on a database that has been in use, against a bare server's start."""

from __future__ import annotations

import time

from tests.bench.load import Plan
from tests.bench.results import Result, Rounds, progress
from tests.bench.stand import Stand

LEADS = 2_000
BARE = "bare aiohttp + asyncpg, 16 connections"


async def measure(stand: Stand) -> list[Result]:
    """Measure P10."""
    await stand.start_hub()
    if not stand.leads:
        stand.leads = LEADS
        await stand.post(Plan(stand.hub.hook_url, requests=LEADS))
        await stand.hub.stored("leads", LEADS)
        await stand.quiet()
    rounds = Rounds()
    for number in range(stand.options.rounds):
        progress(f"starting, round {number + 1}")
        began = time.perf_counter()
        async with stand.floor("commit"):
            rounds.add("P10_floor", time.perf_counter() - began)
        rounds.add("P10", await stand.restart_hub())
    return [rounds.result("P10", "s", "P10_floor", BARE), rounds.result("P10_floor", "s")]
