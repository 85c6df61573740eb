"""What the exchange and its people do is what the tests of telephony rely on."""

from __future__ import annotations

import array
import asyncio
import math
import wave
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from channels.asterisk_ami import Ami, Message
from tests.peers import asterisk
from tests.peers.asterisk import Asterisk


@pytest.fixture(scope="module")
def exchange() -> Iterator[Asterisk]:
    with asterisk.running() as one:
        yield one


@pytest.fixture
async def ami(exchange: Asterisk) -> AsyncIterator[Ami]:
    line = await Ami.connect(
        "127.0.0.1",
        exchange.ami_port,
        username="hub",
        secret=asterisk.SECRET,
        events=("call", "agent", "dialplan"),
    )
    for desk in ("101", "102", "103"):
        exchange.desk(desk, "answers")
    yield line
    await line.close()


async def whole_call(ami: Ami) -> list[Message]:
    """Return the events of the next call, until none of its channels is left."""
    events: list[Message] = []
    channels: set[str] = set()
    async with asyncio.timeout(20):
        async for event in ami.events():
            events.append(event)
            if event.name == "Newchannel":
                channels.add(event.get("Uniqueid"))
            elif event.name == "Hangup":
                channels.discard(event.get("Uniqueid"))
                if not channels:
                    return events
    raise AssertionError("no call")


def ends(events: list[Message]) -> dict[str, str]:
    """Return how calling each desk or trunk ended."""
    return {
        event.get("DestChannel").partition("-")[0]: event.get("DialStatus")
        for event in events
        if event.name == "DialEnd" and event.get("DestChannel").startswith("PJSIP/")
    }


def loudness(exchange: Asterisk, linkedid: str) -> float:
    with wave.open(str(exchange.recordings / f"{linkedid}.wav")) as recording:
        samples = array.array("h", recording.readframes(recording.getnframes()))
    return math.sqrt(sum(sample * sample for sample in samples) / max(1, len(samples)))


async def test_what_was_said_is_recorded(exchange, ami):
    exchange.call(asterisk.DESK_101, seconds=0.5)
    events = await whole_call(ami)
    assert ends(events) == {"PJSIP/101": "ANSWER"}
    (recorded,) = (event for event in events if event.get("Variable") == "MIXMONITOR_FILENAME")
    assert recorded.get("Value") == str(exchange.recordings / f"{events[0].get('Linkedid')}.wav")
    async with asyncio.timeout(5):
        while loudness(exchange, events[0].get("Linkedid")) < 1_000:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("does", "status"), [("busy", "BUSY"), ("declines", "NOANSWER"), ("rings", "CANCEL"), ("answers", "ANSWER")]
)
async def test_a_desk_does_what_it_is_told(exchange, ami, does, status):
    exchange.desk("101", does)
    exchange.call(asterisk.DESK_101, seconds=0.1, gives_up_after=1)
    assert ends(await whole_call(ami)) == {"PJSIP/101": status}


@pytest.mark.parametrize("number", [asterisk.GROUP, asterisk.QUEUE])
async def test_of_a_group_one_desk_gets_the_call(exchange, ami, number):
    exchange.desk("101", "rings")
    exchange.call(number, seconds=0.6)
    assert ends(await whole_call(ami)) == {"PJSIP/101": "CANCEL", "PJSIP/102": "ANSWER"}


@pytest.mark.parametrize(
    ("digit", "status"), [("0", "ANSWER"), ("1", "BUSY"), ("2", "CANCEL"), ("3", "CONGESTION"), ("7", "ANSWER")]
)
async def test_who_is_called_does_what_the_last_digit_says(exchange, ami, digit, status):
    exchange.call(f"+7916123456{digit}", caller="103", seconds=0.1, gives_up_after=1)
    events = await whole_call(ami)
    assert ends(events) == {"PJSIP/trunk": status}
    assert events[0].get("CallerIDName") == "Вера"


async def test_a_menu_leads_to_a_desk(exchange, ami):
    exchange.call(asterisk.MENU, digits="1", seconds=0.5)
    assert ends(await whole_call(ami)) == {"PJSIP/101": "ANSWER"}


@pytest.mark.parametrize(
    ("does", "told"),
    [("transfers", "BlindTransfer"), ("consults", "AttendedTransfer"), ("introduces", "AttendedTransfer")],
)
async def test_a_desk_passes_the_call_on(exchange, ami, does, told):
    exchange.desk("101", does)
    exchange.call(asterisk.DESK_101, seconds=5 if does == "consults" else 2)
    events = await whole_call(ami)
    assert ends(events) == {"PJSIP/101": "ANSWER", "PJSIP/102": "ANSWER"}
    assert [event.get("Result") for event in events if event.name == told] == ["Success"]


async def test_the_machine_records_who_finds_nobody(exchange, ami):
    exchange.desk("101", "rings")
    exchange.call(asterisk.MACHINE, seconds=2)
    events = await whole_call(ami)
    assert ends(events) == {"PJSIP/101": "NOANSWER"}
    assert loudness(exchange, events[0].get("Linkedid")) > 1_000


async def test_its_dialplan_asks_who_is_calling():
    async def name(request: web.Request) -> web.Response:
        return web.Response(text=f"Мария {request.query['number']}")

    app = web.Application()
    app.router.add_get("/name", name)
    async with TestServer(app, host="127.0.0.1") as server:
        with asterisk.running(lookup_url=f"{server.make_url('/name')}?number=") as exchange:
            ami = await Ami.connect(
                "127.0.0.1", exchange.ami_port, username="hub", secret=asterisk.SECRET, events=("call",)
            )
            exchange.call(asterisk.DESK_101, caller="+79161234567", seconds=0.1)
            events = await whole_call(ami)
            await ami.close()
    (asked,) = (event for event in events if event.name == "DialBegin")
    assert asked.get("CallerIDName") == "Мария +79161234567"


async def test_it_has_what_recipes_need(exchange):
    assert "func_curl.so" in exchange.command("module show like func_curl")
    assert "res_agi.so" in exchange.command("module show like res_agi")
    said = {"Authorization": aiohttp.encode_basic_auth("hub", asterisk.SECRET)}
    async with (
        aiohttp.ClientSession(headers=said) as session,
        session.get(f"http://127.0.0.1:{exchange.http_port}/ari/asterisk/info") as answer,
    ):
        assert (await answer.json())["system"]["version"].startswith("16.")
