"""Listeners: one process of all holds a line; what it finds is durable with its cursor; another takes over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from core.connections import Connection, Health
from core.talk.conversations import Message
from hub import connections, worker
from hub.app import Hub, open_hub
from hub.listeners import Listeners
from tests.channels.provider import Asked, Provider, playing
from webhooks.deliveries import Delivery


class Bot:
    """Plays the Bot API for one bot that is polled: gives each update until it is confirmed by a higher offset."""

    def __init__(self, provider: Provider) -> None:
        self.updates: list[dict[str, Any]] = []
        self.polled = 0
        self.is_revoked = False
        provider.does("POST", r"/bot123:ABC/getUpdates", self.give)
        for method in ("deleteWebhook", "setWebhook"):
            provider.answers("POST", rf"/bot123:ABC/{method}", json={"ok": True, "result": True})
        provider.answers("POST", r"/bot123:ABC/getMe", json={"ok": True, "result": {"id": 123, "is_bot": True}})
        provider.answers("POST", r"/bot123:ABC/getWebhookInfo", json={"ok": True, "result": {"url": ""}})

    def give(self, asked: Asked) -> Any:
        from aiohttp import web

        self.polled += 1
        if self.is_revoked:
            said = {"ok": False, "error_code": 401, "description": "Unauthorized"}
            return web.json_response(said, status=401)
        offset = int((asked.json if asked.body.startswith(b"{") else asked.form).get("offset", 0) or 0)
        waiting = [update for update in self.updates if update["update_id"] >= offset]
        return web.json_response({"ok": True, "result": waiting[:2]})

    def says(self, *words: str) -> None:
        for text_ in words:
            number = len(self.updates) + 1
            vera = {"id": 777, "is_bot": False, "first_name": "Vera"}
            message = {
                "message_id": number,
                "from": vera,
                "chat": {"id": 777, "type": "private"},
                "date": 1_795_000_000 + number,
                "text": text_,
            }
            self.updates.append({"update_id": number, "message": message})


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    async with playing() as provider:
        made = Bot(provider)
        made.url = provider.url  # type: ignore[attr-defined]
        yield made


@pytest.fixture
async def telegram(hub: Hub, bot: Bot, take_on: Any) -> Connection:
    await take_on("Anna")
    async with hub.database.transaction() as session:
        connection = await connections.create(
            session,
            hub.vault,
            kind="telegram",
            title="Telegram",
            settings={"token": "123:ABC", "mode": "polling", "base_url": bot.url},  # type: ignore[attr-defined]
            at=hub.clock.now(),
        )
    await hub.switchboard.refresh()
    return connection


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def words(hub: Hub) -> list[str]:
    await worker.drain(hub)
    async with hub.database.reading() as session:
        return list(await session.scalars(select(Message.text).order_by(Message.id)))


async def cursor_of(hub: Hub, connection_id: int) -> dict[str, Any]:
    async with hub.database.reading() as session:
        return dict((await session.get_one(Connection, connection_id)).cursor)


async def test_what_a_listener_finds_is_understood_once_and_in_order(hub: Hub, bot: Bot, telegram: Connection):
    bot.says("one", "two", "three")
    listeners = Listeners(hub)
    running = asyncio.create_task(listeners.run())
    try:

        async def all_are_there() -> bool:
            return await words(hub) == ["one", "two", "three"]

        await until(all_are_there)
        bot.says("four")

        async def the_last_too() -> bool:
            return (await words(hub))[-1] == "four"

        await until(the_last_too)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert await words(hub) == ["one", "two", "three", "four"]
    assert json.dumps(await cursor_of(hub, telegram.id)) != "{}"


async def test_another_process_takes_over_where_the_first_had_come_to(
    hub: Hub, settings: Any, database_url: str, clock: Any, bot: Bot, telegram: Connection
):
    bot.says("one")
    first = Listeners(hub)
    running = asyncio.create_task(first.run())
    async with open_hub(settings, database_url, clock=clock, public_url="http://127.0.0.1:8080") as other_hub:
        second = Listeners(other_hub)
        also = asyncio.create_task(second.run())
        try:

            async def one_runs() -> bool:
                return await words(hub) == ["one"]

            await until(one_runs)
            assert [first.runs(telegram.id), second.runs(telegram.id)].count(True) == 1
            holder, task = (first, running) if first.runs(telegram.id) else (second, also)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            bot.says("two")

            async def the_other_goes_on() -> bool:
                return await words(hub) == ["one", "two"]

            await until(the_other_goes_on)
            assert not holder.runs(telegram.id)
        finally:
            for task in (running, also):
                task.cancel()
            await asyncio.gather(running, also, return_exceptions=True)


async def test_a_database_that_kills_our_line_stops_nothing_for_long(hub: Hub, bot: Bot, telegram: Connection):
    listeners = Listeners(hub)
    running = asyncio.create_task(listeners.run())
    try:
        bot.says("one")

        async def it_runs() -> bool:
            return await words(hub) == ["one"]

        await until(it_runs)
        async with hub.database.transaction() as session:
            await session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'switchyard listeners' AND datname = current_database()"
                )
            )
        bot.says("two")

        async def it_goes_on() -> bool:
            return await words(hub) == ["one", "two"] and listeners.runs(telegram.id)

        await until(it_goes_on)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_token_that_was_revoked_stops_the_line_and_says_so(hub: Hub, bot: Bot, telegram: Connection):
    bot.is_revoked = True
    listeners = Listeners(hub)
    running = asyncio.create_task(listeners.run())
    try:

        async def it_wants_authorising() -> bool:
            async with hub.database.reading() as session:
                return (await session.get_one(Connection, telegram.id)).health == Health.REAUTHORISE

        await until(it_wants_authorising)
        await hub.switchboard.refresh()

        async def it_stands_still() -> bool:
            return not listeners.runs(telegram.id)

        await until(it_stands_still)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_found_twice_is_stored_once(hub: Hub, telegram: Connection):
    from channels.contract import Item, Routed
    from hub.listeners import _Ear
    from webhooks.request import RawRequest

    live = hub.switchboard.by_id(telegram.id)
    assert live is not None
    ear = _Ear(hub, live, {})
    item = Item(RawRequest(b"{}", method="LISTEN"), Routed("update:1", None, "777"))
    await ear.deliver([item], {"offset": 1})
    await ear.deliver([item, item], {"offset": 2})
    async with hub.database.reading() as session:
        assert len(list(await session.scalars(select(Delivery)))) == 1
    assert (await cursor_of(hub, telegram.id))["offset"] == 2
