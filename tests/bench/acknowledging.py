"""P1, P2: how many posts a second are acknowledged, durably, against bare servers that do nothing else.

The hub works while it is posted to: nothing is switched off, and what it acknowledged must become exactly one lead
each.
"""

from __future__ import annotations

from tests.bench.load import Plan, Report
from tests.bench.results import Result, Rounds, progress
from tests.bench.stand import Stand

CLIENTS = 64
COPIES = 20
WARM_UP = 0.5
MADE_ONCE = ("contacts", "leads", "deals", "tasks")

COMMIT = "bare aiohttp + asyncpg, commit per request, 64 clients"
GROUP = "bare aiohttp + asyncpg, group commit, 64 clients"


async def measure(stand: Stand) -> list[Result]:
    """Measure P1, P2 and the same with each request coming twenty times."""
    await stand.start_hub()
    rounds = Rounds()
    async with stand.floor("commit") as commit, stand.floor("group") as group:
        for number in range(stand.options.rounds):
            progress(f"acknowledging, round {number + 1}")
            await _post(stand, rounds, "P1_floor", f"{commit.url}/hooks")
            await _post(stand, rounds, "P2_floor", f"{group.url}/hooks")
            await _post_to_hub(stand, rounds, "P1")
            await _post_to_hub(stand, rounds, "P1_repeat", COPIES)
            rounds.add("P2", rounds.samples["P1"][-1])
    return [
        rounds.result("P1", "posts/s", "P1_floor", COMMIT),
        rounds.result("P2", "posts/s", "P2_floor", GROUP),
        rounds.result("P1_repeat", "posts/s", "P1_floor", COMMIT),
        rounds.result("P1_p50", "ms", "P1_floor_p50", COMMIT),
        rounds.result("P1_p99", "ms", "P1_floor_p99", COMMIT),
        rounds.result("P1_floor", "posts/s"),
        rounds.result("P2_floor", "posts/s"),
        rounds.result("P1_load_cpu", "ms/post"),
    ]


async def _post(stand: Stand, rounds: Rounds, name: str, url: str, copies: int = 1) -> Report:
    plan = Plan(url, clients=CLIENTS, seconds=stand.options.seconds, warm_up=WARM_UP, copies=copies)
    report = await stand.post(plan)
    rounds.add(name, report.rate)
    rounds.add(f"{name}_p50", report.p50)
    rounds.add(f"{name}_p99", report.p99)
    rounds.add(f"{name}_load_cpu", report.cpu)
    return report


async def _post_to_hub(stand: Stand, rounds: Rounds, name: str, copies: int = 1) -> None:
    before, first = stand.leads, stand.next_number
    report = await _post(stand, rounds, name, stand.hub.hook_url, copies)
    different = report.next_number - first
    if report.refused:
        # what was refused may have been stored, what was acknowledged must have been
        await stand.quiet()
        stand.leads = await stand.hub.count("leads")
        if not report.acknowledged // copies <= stand.leads - before <= different:
            raise RuntimeError(f"{report.acknowledged} acknowledged posts made {stand.leads - before} leads")
    else:
        stand.leads += different
        await stand.hub.stored("leads", stand.leads, before)
        await stand.quiet()
    counts = {table: await stand.hub.count(table) for table in MADE_ONCE}
    if set(counts.values()) != {stand.leads}:
        raise RuntimeError(f"{stand.leads} different requests were acknowledged and made {counts}")
