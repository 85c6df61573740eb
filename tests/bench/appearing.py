"""P6: from the post to the task on a manager's screen, at fifty posts a second, in a real Chromium.

The page notes the moment at which each name first stands in its document. The floor is a bare server whose page is told
through NOTIFY and server-sent events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page

from tests.bench import subject
from tests.bench.load import Plan, percentile
from tests.bench.results import Result, Rounds, progress
from tests.bench.stand import Stand
from tests.peers import chromium

RATE = 50.0
CLIENTS = 16
PATIENCE = 20.0
"""Seconds after the last post until a name that is not on the page counts as never shown."""

BARE = "bare aiohttp + asyncpg, NOTIFY and server-sent events"

WATCH = r"""
window.seen = {};
const note = node => {
  for (const match of (node.textContent || "").matchAll(/Bench(\d{10})/g)) {
    if (!(match[1] in seen)) seen[match[1]] = performance.timeOrigin + performance.now();
  }
};
new MutationObserver(records => {
  for (const record of records) {
    if (record.type === "characterData") note(record.target);
    else record.addedNodes.forEach(note);
  }
}).observe(document, {childList: true, subtree: true, characterData: true});
"""


async def measure(stand: Stand) -> list[Result]:
    """Measure P6."""
    await stand.start_hub()
    rounds = Rounds()
    async with browser() as page, stand.floor("notice") as floor:
        for number in range(stand.options.rounds):
            progress(f"appearing, round {number + 1}")
            await page.goto(floor.url)
            await _watch(stand, rounds, page, "P6_floor", f"{floor.url}/hooks")
            await sign_in(page, stand.hub.url)
            before = stand.next_number
            await _watch(stand, rounds, page, "P6", stand.hub.hook_url)
            stand.leads += stand.next_number - before
            await stand.hub.stored("leads", stand.leads)
    return [
        rounds.result("P6", "ms", "P6_floor", f"{BARE}, p50"),
        rounds.result("P6_p99", "ms", "P6_floor_p99", f"{BARE}, p99"),
        rounds.result("P6_shown", "share"),
        rounds.result("P6_floor", "ms"),
        rounds.result("P6_floor_p99", "ms"),
    ]


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """Have a page of a real browser.

    Raises:
        RuntimeError: there is no Chromium.
    """
    async with chromium.running() as started:
        yield await started.new_page(viewport={"width": 1280, "height": 800})


async def sign_in(page: Page, url: str) -> None:
    """Open My day as the manager, signing in if need be."""
    await page.goto(url)
    password = page.locator("input[type=password]")
    if await password.count():
        await page.locator("input[type=email], input[name=email]").first.fill(subject.EMAIL)
        await password.first.fill(subject.PASSWORD)
        async with page.expect_navigation():
            await password.first.press("Enter")
        await page.goto(url)


async def _watch(stand: Stand, rounds: Rounds, page: Page, name: str, url: str) -> None:
    await page.evaluate(WATCH)
    ahead = await _page_clock_ahead(page)
    plan = Plan(url, clients=CLIENTS, rate=RATE, requests=stand.options.posts)
    report = await stand.post(plan)
    until = time.perf_counter() + PATIENCE
    while True:
        seen: dict[str, Any] = await page.evaluate("window.seen")
        missing = [number for number in report.sent_at if f"{number:010d}" not in seen]
        if not missing or time.perf_counter() > until:
            break
        await asyncio.sleep(0.2)
    delays = sorted(
        seen[key] - ahead - 1000 * sent for number, sent in report.sent_at.items() if (key := f"{number:010d}") in seen
    )
    if not delays:
        raise RuntimeError(f"{name}: none of {len(report.sent_at)} names came to stand on {page.url}")
    rounds.add(name, percentile(delays, 0.5))
    rounds.add(f"{name}_p99", percentile(delays, 0.99))
    rounds.add(f"{name}_shown", len(delays) / len(report.sent_at))


async def _page_clock_ahead(page: Page) -> float:
    """Return by how many ms the page's clock is ahead of ours, from the quickest of some exchanges."""
    tries = []
    for _ in range(20):
        before = time.time()
        there = await page.evaluate("performance.timeOrigin + performance.now()")
        after = time.time()
        tries.append((after - before, there - 500 * (before + after)))
    return float(min(tries)[1])
