"""P4: messages of people who are known, stored end to end, against pgbench. P7: answers sent to a provider on this
machine, against a bare aiohttp client that posts the same.

The channel is an HTTP SMS gateway, whose limit of messages a second is set far beyond what is measured. Answers are
written beforehand to be sent at one moment, as a campaign's are; the provider says when the first and the last came.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import aiohttp

from tests.bench.load import Plan
from tests.bench.pgbench import PEOPLE
from tests.bench.results import Result, Rounds, progress
from tests.bench.stand import FloorServer, Stand
from tests.bench.subject import Hub

ANSWERS = 1_000
AT_ONCE = 20
"""Requests under way at once, of the bare client as of the hub."""
TOKENS = 5
"""Programs that write the answers: each may make so many calls a minute."""
BARE = f"bare aiohttp client, {AT_ONCE} requests at once"


async def measure(stand: Stand) -> list[Result]:
    """Measure P4 and P7."""
    rounds = Rounds()
    async with stand.floor("provider") as provider:
        await stand.start_hub()
        hub = stand.hub
        hook = await hub.connect_sms(f"{provider.url}/send?to={{to}}&text={{text}}&id={{id}}")
        tokens = [await hub.make_token() for _ in range(TOKENS)]
        progress(f"{PEOPLE} people write for the first time")
        before = await hub.count("messages")
        await stand.post(Plan(hook, requests=PEOPLE, what="text"))
        await hub.stored("messages", before + PEOPLE, before)
        await stand.quiet()
        for number in range(stand.options.rounds):
            progress(f"talking, round {number + 1}")
            await _floor_of_messages(stand, rounds)
            await _messages(stand, rounds, hook)
            await _floor_of_answers(provider, rounds)
            await _answers(hub, provider, rounds, tokens)
            await stand.quiet()
    return [
        rounds.result("P4", "messages/s", "P4_floor", stand.messages_floor.title),
        rounds.result("P7", "answers/s", "P7_floor", BARE),
        rounds.result("P4_floor", "messages/s"),
        rounds.result("P7_floor", "answers/s"),
    ]


async def _floor_of_messages(stand: Stand, rounds: Rounds) -> None:
    await stand.server.settle()
    rounds.add("P4_floor", (await stand.messages_floor.measure(stand.options.seconds)).rate)


async def _messages(stand: Stand, rounds: Rounds, hook: str) -> None:
    wanted = stand.options.leads
    before = await stand.hub.count("messages")
    stored = asyncio.create_task(stand.hub.stored("messages", before + wanted, before))
    report = await stand.post(Plan(hook, requests=wanted, what="text"))
    rounds.add("P4", wanted / (await stored - report.began))
    await stand.quiet()


async def _floor_of_answers(provider: FloorServer, rounds: Rounds) -> None:
    async with aiohttp.ClientSession() as session:
        await session.post(f"{provider.url}/count")
        left = iter(range(ANSWERS))

        async def client() -> None:
            for number in left:
                async with session.get(
                    f"{provider.url}/send", params={"to": "+79160000000", "text": "Tomorrow at ten", "id": number}
                ) as answer:
                    await answer.read()

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        rounds.add("P7_floor", await _rate(session, provider))


async def _answers(hub: Hub, provider: FloorServer, rounds: Rounds, tokens: list[str]) -> None:
    async with hub.reading() as connection:
        ids = [
            row["id"]
            for row in await connection.fetch(
                "SELECT c.id FROM conversations c JOIN connections o ON o.id = c.connection_id "
                "WHERE o.kind = 'sms_http' ORDER BY c.id LIMIT $1",
                ANSWERS,
            )
        ]
    send_at = datetime.now(UTC) + timedelta(seconds=60)
    async with aiohttp.ClientSession() as session:
        await session.post(f"{provider.url}/count")

        async def write(token: str, mine: list[int]) -> None:
            for conversation_id in mine:
                url = f"{hub.url}/api/v1/conversations/{conversation_id}/messages"
                said = {"text": "Tomorrow at ten", "send_at": send_at.isoformat()}
                while True:
                    async with session.post(url, json=said, headers={"Authorization": f"Bearer {token}"}) as answer:
                        if answer.status < 300:
                            break
                        if answer.status != 429:
                            raise RuntimeError(f"An answer was not taken: {answer.status} {await answer.text()}")
                        wait = float(answer.headers.get("Retry-After", "1"))
                    await asyncio.sleep(wait)

        await asyncio.gather(*(write(token, ids[number::TOKENS]) for number, token in enumerate(tokens)))
        if datetime.now(UTC) >= send_at:
            raise RuntimeError("Writing the answers took longer than they had to wait")
        until = time.perf_counter() + 60 + ANSWERS / 10
        while (await _counted(session, provider))["count"] < len(ids):
            if time.perf_counter() > until:
                raise RuntimeError(f"Of {len(ids)} answers came {await _counted(session, provider)}")
            await asyncio.sleep(0.5)
        rounds.add("P7", await _rate(session, provider))


async def _counted(session: aiohttp.ClientSession, provider: FloorServer) -> dict[str, float]:
    async with session.get(f"{provider.url}/count") as answer:
        found: dict[str, float] = await answer.json()
        return found


async def _rate(session: aiohttp.ClientSession, provider: FloorServer) -> float:
    """Return how many came a second between the first and the last."""
    seen = await _counted(session, provider)
    return (seen["count"] - 1) / (seen["last"] - seen["first"])
