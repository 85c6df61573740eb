"""Scenario D in Matrix, on a real homeserver: the manager's whole job without a button in sight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import select

from core.connections import Connection
from core.sales.leads import Lead
from core.staff import users
from core.staff.users import Role, User
from hub import connections, worker
from hub.app import Hub, open_hub
from hub.desk import linking
from hub.http import make_app
from hub.settings import Settings
from tests.channels.provider import Asked, Provider, playing
from tests.peers import synapse
from tests.peers.synapse import Person

NO_SERVICE = (
    "{id: none, as_token: as-0123456789, hs_token: hs-0123456789, sender_localpart: none, url: null, "
    "namespaces: {users: [], aliases: [], rooms: []}}"
)
ACCEPTED = {"messages": [{"messageId": "m1", "status": {"groupName": "PENDING"}}]}


class Room:
    """Anna's room with the bot, as she sees it."""

    def __init__(self, anna: Person, bot: str) -> None:
        self.anna, self.bot, self.id = anna, bot, ""

    async def of_bot(self) -> list[dict[str, Any]]:
        return [event for event in await self.anna.sees(self.id) if event["sender"] == self.bot]

    async def shows(self, words: str) -> dict[str, Any]:
        """Return the bot's post with these words, once it is there."""
        async with asyncio.timeout(60):
            while True:
                for event in reversed(await self.of_bot()):
                    if words in event["content"].get("body", ""):
                        return event
                await asyncio.sleep(0.1)

    async def answers(self, root: dict[str, Any], words: str) -> str:
        """Write in the thread of a post."""
        relation = root["content"].get("m.relates_to", {})
        thread = relation["event_id"] if relation.get("rel_type") == "m.thread" else root["event_id"]
        content = {
            "msgtype": "m.text",
            "body": words,
            "m.relates_to": {"rel_type": "m.thread", "event_id": thread, "is_falling_back": True},
        }
        return await self.anna.says(self.id, content)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


@pytest.fixture
async def sms() -> AsyncIterator[Provider]:
    async with playing() as provider:
        provider.answers("POST", "/.*", json=ACCEPTED)
        provider.answers("GET", "/.*", json={"balance": 1, "currency": "EUR"})
        yield provider


def sent(provider: Provider) -> list[str]:
    """Return the texts that went to the customer, in order."""

    def text(asked: Asked) -> str:
        [message] = asked.json["messages"]
        return str(message.get("content", message).get("text", ""))

    return [text(asked) for asked in provider.asked if asked.method == "POST"]


async def test_a_lead_is_answered_in_its_thread_taken_and_closed_by_typing(tmp_path, database_url, sms):
    settings = Settings(state_dir=tmp_path / "state", database_url=database_url)
    (tmp_path / "synapse").mkdir()
    async with (
        synapse.running(tmp_path / "synapse", NO_SERVICE) as server,
        aiohttp.ClientSession() as browser,
        open_hub(settings, database_url) as hub,
    ):
        bot = await synapse.person(server, browser, "desk", "Switchyard")
        anna_there = await synapse.person(server, browser, "anna", "Anna")
        anna, key = await _set_up(hub, server.url, bot, sms.url)
        async with worker.running(hub):
            room = Room(anna_there, bot.user)
            room.id = await anna_there.makes_room(invite=bot.user, preset="trusted_private_chat", is_direct=True)
            async with hub.database.transaction() as session:
                ticket = await linking.make_ticket(session, anna.id, at=hub.clock.now())
            await anna_there.says(room.id, {"msgtype": "m.text", "body": f"link {ticket}"})
            await room.shows("Hello, Anna")
            await _writes(hub, key, "m-1", "Three windows, please")
            card = await room.shows("Three windows, please")
            await room.answers(card, "Which size?")
            await until(lambda: sent(sms) == ["Which size?"])
            await _writes(hub, key, "m-2", "140 x 150")
            answer = await room.shows("140 x 150")
            assert answer["content"]["m.relates_to"]["rel_type"] == "m.thread", "in the same thread"
            assert answer["content"]["m.relates_to"]["event_id"] == card["event_id"]
            await room.answers(card, "//Wants it by Friday")
            await room.shows("Noted")
            await room.answers(card, "!junk")
            async with asyncio.timeout(60):
                while True:
                    async with hub.database.reading() as session:
                        lead = await session.scalar(select(Lead))
                    if lead is not None and lead.status == "junk":
                        break
                    await asyncio.sleep(0.1)
    assert sent(sms) == ["Which size?"], "neither the note nor the command went out"


async def _set_up(hub: Hub, homeserver: str, bot: Person, sms_url: str) -> tuple[User, str]:
    now = hub.clock.now()
    async with hub.database.transaction() as session:
        anna = await users.add(session, email="anna@example.com", name="Anna", role=Role.MANAGER, at=now)
        given = {"homeserver": homeserver, "user_id": bot.user, "access_token": bot.token}
        await connections.create(session, hub.vault, kind="desk_matrix", title="Matrix desk", settings=given, at=now)
        gate: Connection = await connections.create(
            session,
            hub.vault,
            kind="sms_infobip",
            title="SMS",
            settings={"api_key": "key-key-key", "sender": "Windows", "base_url": sms_url},
            at=now,
            default_country="RU",
        )
    await hub.switchboard.refresh()
    return anna, gate.key


async def _writes(hub: Hub, key: str, message_id: str, text: str) -> None:
    """Let the customer write an SMS, through the real door."""
    said = {"results": [{"messageId": message_id, "from": "79161234567", "to": "Windows", "text": text}]}
    async with TestClient(TestServer(make_app(hub))) as client:
        answer = await client.post(f"/hooks/{key}", json=said)
        assert answer.status == 200, await answer.text()
