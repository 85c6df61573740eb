"""Scenario D in Slack, over the hub's own door: the thread of a card is the conversation, a press closes the lead."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import select

from core.kernel.clock import MovableClock
from core.sales.leads import Lead
from core.staff.users import User
from core.talk.conversations import Message
from hub import connections
from hub.desk import linking
from tests.channels.payloads import NOW, slack
from tests.channels.payloads.desk_slack import pressed
from tests.channels.provider import Asked, Provider, playing
from webhooks.request import RawRequest

CHAT = "D024BE91L"
ANNA, STRANGER = "U2147483697", "U0000000001"
ACCEPTED = {"messages": [{"messageId": "m1", "status": {"groupName": "PENDING"}}]}


class Slack:
    """The provider as Anna sees it: her chat with the bot, post by post."""

    def __init__(self, provider: Provider, client: Any, key: str, drain: Any) -> None:
        self._provider, self._client, self._key, self._drain = provider, client, key, drain
        self._stamps = (f"{int(NOW.timestamp())}.{number:06}" for number in itertools.count(1))
        self.posts: dict[str, dict[str, Any]] = {}
        provider.does("POST", "/chat.postMessage", self._posted)
        provider.does("POST", "/chat.update", self._changed)
        provider.answers("POST", "/chat.postEphemeral", json={"ok": True})

    def _posted(self, asked: Asked) -> web.Response:
        stamp = next(self._stamps)
        self.posts[stamp] = asked.json
        return web.json_response({"ok": True, "channel": CHAT, "ts": stamp})

    def _changed(self, asked: Asked) -> web.Response:
        self.posts[asked.json["ts"]].update(asked.json)
        return web.json_response({"ok": True})

    def shows(self, words: str) -> tuple[str, dict[str, Any]]:
        """Return the newest post with these words, and its stamp."""
        for stamp, post in reversed(self.posts.items()):
            if words in post["text"]:
                return stamp, post
        raise AssertionError(f"{words!r} is nowhere: {[post['text'] for post in self.posts.values()]}")

    async def tells(self, request: RawRequest) -> int:
        """Bring a request of Slack's to our door, have everything done, and return the status."""
        answer = await self._client.post(f"/hooks/{self._key}", data=request.body, headers=request.headers)
        await self._drain()
        return int(answer.status)

    async def says(self, text: str, *, thread: str = "", person: str = ANNA) -> None:
        """Write in the chat, or in the thread of a post."""
        stamp = next(self._stamps)
        said = {"type": "message", "channel": CHAT, "channel_type": "im", "user": person, "text": text, "ts": stamp}
        under = {"thread_ts": thread} if thread else {}
        assert await self.tells(slack.event({**said, "event_ts": stamp, **under}, event_id=f"Ev{stamp}")) == 200

    async def presses(self, stamp: str, verb: str, *, person: str = ANNA) -> None:
        """Press the button of a post that does this."""
        [value] = [value for value in self.values_of(stamp) if value.partition(":")[0] == verb]
        key = {"action_id": "k", "block_id": "b", "type": "button", "value": value, "action_ts": next(self._stamps)}
        message = {"bot_id": "B0001", "type": "message", "user": "U0BOT", "ts": stamp}
        who = {"id": person, "username": "x", "name": "x", "team_id": "T123ABC456"}
        request = pressed(actions=[key], message=message, user=who, trigger_id=next(self._stamps))
        assert await self.tells(request) == 200

    def values_of(self, stamp: str) -> list[str]:
        """Return what the buttons of a post bring back."""
        rows = [block["elements"] for block in self.posts[stamp].get("blocks", ()) if block["type"] == "actions"]
        return [key["value"] for row in rows for key in row if "value" in key]


@pytest.fixture
def clock() -> MovableClock:
    """The moment at which the requests are signed."""
    return MovableClock(NOW)


@pytest.fixture
async def sms() -> AsyncIterator[Provider]:
    async with playing() as provider:
        provider.answers("POST", "/.*", json=ACCEPTED)
        yield provider


@pytest.fixture
async def anna(take_on) -> User:
    return await take_on("Anna")


@pytest.fixture
async def desk(hub, client, drain, anna) -> AsyncIterator[Slack]:
    """Anna's chat, linked to her."""
    async with playing() as provider:
        async with hub.database.transaction() as session:
            given = {**slack.SETTINGS, "base_url": provider.url}
            connection = await connections.create(
                session, hub.vault, kind="desk_slack", title="Slack desk", settings=given, at=NOW
            )
            ticket = await linking.make_ticket(session, anna.id, at=NOW)
        await hub.switchboard.refresh()
        chat = Slack(provider, client, connection.key, drain)
        await chat.says(f"link {ticket}")
        chat.shows("Anna")
        yield chat


@pytest.fixture
async def writes(hub, client, drain, sms) -> Any:
    """Lets the customer write an SMS: `await writes("m-1", "Three windows")`."""
    async with hub.database.transaction() as session:
        given = {"api_key": "key-key-key", "sender": "Windows", "base_url": sms.url}
        gate = await connections.create(
            session, hub.vault, kind="sms_infobip", title="SMS", settings=given, at=NOW, default_country="RU"
        )
    await hub.switchboard.refresh()

    async def write(message_id: str, text: str) -> None:
        said = {"results": [{"messageId": message_id, "from": "79161234567", "to": "Windows", "text": text}]}
        answer = await client.post(f"/hooks/{gate.key}", json=said)
        assert answer.status == 200
        await drain()

    return write


def sent(sms: Provider) -> list[str]:
    """Return the texts that went to the customer, in order."""
    messages = [json.loads(asked.body)["messages"][0] for asked in sms.asked if asked.method == "POST"]
    return [str(message.get("content", message).get("text", "")) for message in messages]


async def test_a_lead_is_answered_in_the_thread_of_its_card_and_closed_by_a_press(desk, writes, sms, session, anna):
    await writes("m-1", "Three windows, please")
    card, _ = desk.shows("Three windows, please")
    lead = await session.scalar(select(Lead))
    assert lead.owner_id == anna.id
    await desk.says("Which size?", thread=card)
    assert sent(sms) == ["Which size?"]
    await writes("m-2", "140 x 150")
    _, answer = desk.shows("140 x 150")
    assert answer["thread_ts"] == card, "in the same thread"
    await desk.says("//Wants it by Friday", thread=card)
    await desk.says("!call", thread=card)
    await desk.presses(card, "junk")
    await session.refresh(lead)
    assert lead.status == "junk"
    assert not any(value.startswith("junk:") for value in desk.values_of(card)), "the card shows what it came to"
    assert sent(sms) == ["Which size?"], "neither the note nor the command went out"


async def test_the_same_request_twice_and_a_forged_one_send_nothing_more(desk, writes, sms, session):
    await writes("m-1", "Three windows, please")
    card, _ = desk.shows("Three windows, please")
    said = {"type": "message", "channel": CHAT, "channel_type": "im", "user": ANNA, "text": "Yes", "thread_ts": card}
    stamp = f"{int(NOW.timestamp())}.900000"
    genuine = slack.event({**said, "ts": stamp, "event_ts": stamp}, event_id="Ev900")
    assert await desk.tells(genuine) == 200
    assert await desk.tells(genuine) == 200
    forged = slack.signed(genuine.body.replace(b"Yes", b"No!"), "application/json", secret="guessed")
    assert await desk.tells(forged) in (401, 403)
    assert sent(sms) == ["Yes"]
    outbound = select(Message.text).where(Message.direction == "outbound")
    assert list(await session.scalars(outbound)) == ["Yes"]


async def test_whoever_is_not_linked_can_neither_answer_nor_press(desk, writes, sms, session):
    await writes("m-1", "Three windows, please")
    card, _ = desk.shows("Three windows, please")
    before = (await session.scalar(select(Lead))).status
    await desk.says("I am Anna", thread=card, person=STRANGER)
    await desk.presses(card, "junk", person=STRANGER)
    lead = await session.scalar(select(Lead).execution_options(populate_existing=True))
    assert (sent(sms), lead.status) == ([], before)
