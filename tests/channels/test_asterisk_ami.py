from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from channels.asterisk_ami import Ami, Message
from channels.errors import Misconfigured, Temporary, Unauthorised, Uncertain, Undeliverable
from tests.peers import asterisk, certificates, programs
from tests.peers.asterisk import Asterisk

BANNER = b"Asterisk Call Manager/5.0.4\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def exchange() -> Iterator[Asterisk]:
    with asterisk.running() as one:
        yield one


@asynccontextmanager
async def line_to(exchange: Asterisk, port: int = 0, **changed: Any) -> AsyncIterator[Ami]:
    said: dict[str, Any] = {
        "username": "hub",
        "secret": asterisk.SECRET,
        "events": ("call", "dialplan", "cdr"),
        **changed,
    }
    ami = await Ami.connect("127.0.0.1", port or exchange.ami_port, **said)
    try:
        yield ami
    finally:
        await ami.close()


async def heard(ami: Ami, name: str, count: int = 1, **fields: str) -> list[Message]:
    """Return all events up to that one."""
    found: list[Message] = []
    async with asyncio.timeout(15):
        async for event in ami.events():
            found.append(event)
            if event.name == name and all(event.get(key) == value for key, value in fields.items()):
                count -= 1
                if not count:
                    break
    return found


def trusting(certificate: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificate)


# --- logging in ---


async def test_whoever_knows_the_password_is_let_in(exchange):
    async with line_to(exchange) as ami:
        assert ami.version.startswith("5.")
        assert (await ami.action("Ping")).get("Ping") == "Pong"


async def test_it_speaks_tls(exchange):
    async with line_to(exchange, exchange.ami_tls_port, tls=trusting(exchange.certificate)) as ami:
        assert (await ami.action("Ping")).name == "Success"


async def test_a_certificate_nobody_vouches_for_ends_it(exchange):
    with pytest.raises(Temporary, match="certificate") as raised:
        async with line_to(exchange, exchange.ami_tls_port, tls=ssl.create_default_context()):
            pass
    assert raised.value.code == "tls"


@pytest.mark.parametrize(
    "said",
    [
        {"secret": "wrong"},
        {"username": "nobody"},
        {"secret": "x\r\n\r\nAction: Ping"},
        {"username": "hub\r\nSecret: x"},
    ],
)
async def test_whoever_does_not_know_it_is_not(exchange, said):
    with pytest.raises(Unauthorised) as raised:
        async with line_to(exchange, **said):
            pass
    assert "wrong" not in str(raised.value)


async def test_where_nobody_listens_it_is_tried_again():
    (port,) = programs.free_ports(1)
    with pytest.raises(Temporary, match="cannot be reached"):
        await Ami.connect("127.0.0.1", port, username="hub", secret="x")


async def test_the_password_does_not_go_in_clear_where_a_challenge_is_refused():
    sent: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        await answer(reader, writer, sent, "Response: Error", "Message: Must specify AuthType")
        sent.append(await reader.read())

    async with hostile(serve) as port:
        with pytest.raises(Misconfigured, match="TLS"):
            await Ami.connect("127.0.0.1", port, username="hub", secret="the secret")
    assert b"the secret" not in b"".join(sent)


async def test_over_tls_it_does():
    sent: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        await answer(reader, writer, sent, "Response: Error", "Message: Must specify AuthType")
        await answer(reader, writer, sent, "Response: Success")
        await answer(reader, writer, sent, "Response: Goodbye")

    certificate, key = certificates.for_localhost()
    async with hostile(serve, tls=(certificate, key)) as port:
        ami = await Ami.connect("127.0.0.1", port, username="hub", secret="the secret", tls=trusting(certificate))
        await ami.close()
    assert b"Secret: the secret\r\n" in sent[1]


# --- actions ---


async def test_refusals_say_who_has_to_do_something(exchange):
    async with line_to(exchange) as ami:
        with pytest.raises(Undeliverable, match="No such channel"):
            await ami.action("Hangup", Channel="PJSIP/nobody")
        with pytest.raises(Misconfigured, match="unknown command"):
            await ami.action("Juggle")
    async with line_to(exchange, username="reader") as ami:
        with pytest.raises(Misconfigured, match="Permission denied"):
            await ami.action("Originate", Channel="PJSIP/101", Context="internal", Exten="102", Priority=1)


async def test_many_actions_at_once_get_their_own_answers(exchange):
    async with line_to(exchange) as ami:
        answers = await asyncio.gather(
            *(ami.action("Getvar", Variable=f"GLOBAL(N{number})") for number in range(50)),
            *(ami.action("Command", Command="core show version") for _ in range(5)),
        )
    assert [answer.get("Variable") for answer in answers[:50]] == [f"GLOBAL(N{number})" for number in range(50)]
    assert all("Asterisk 16" in answer.get("Output") for answer in answers[50:])


async def test_a_list_comes_whole(exchange):
    async with line_to(exchange) as ami:
        empty = await ami.action("CoreShowChannels")
        assert (empty.items, empty.get("ListItems")) == ((), "0")
        exchange.call(asterisk.DESK_101, seconds=30)
        await heard(ami, "BridgeEnter", BridgeNumChannels="2")
        full = await ami.action("CoreShowChannels")
        exchange.hang_up()
        assert sorted(item.get("Channel").split("-")[0] for item in full.items) == ["PJSIP/101", "PJSIP/trunk"]
        await heard(ami, "Hangup", 2)


@pytest.mark.parametrize(
    "headers",
    [
        {"Channel": "x\r\n\r\nAction: Command\r\nCommand: core stop now"},
        {"Channel": "x\nVariable: y"},
        {"Channel": "x\0"},
        {"Variable": ["fine", "not\rfine"]},
        {"Variable": {"NAME": "a,SHELL=b"}},
        {"Variable": {"NAME": 'a"b'}},
        {"Variable": {"NAME)=x,CDR(y": "z"}},
        {"Chan nel: x\r\n": "y"},
        {"Channel": "ы" * 600},
        {"Variable": ["x"] * 200},
    ],
)
async def test_what_could_be_taken_for_something_else_is_never_sent(exchange, headers):
    async with line_to(exchange) as ami:
        with pytest.raises(Undeliverable):
            await ami.action("Originate", **headers)
        assert (await ami.action("Ping")).name == "Success"


async def test_channel_variables_arrive_as_they_were_said(exchange):
    async with line_to(exchange) as ami:
        await ami.action(
            "Originate",
            Channel="PJSIP/101",
            Context="outbound",
            Exten="79161234560",
            Priority=1,
            Async=True,
            ChannelId="switchyard-1",
            Variable={"HUB": "a=b; Мария", "__KIND": "click"},
        )
        events = await heard(ami, "DialEnd", DestUniqueid="switchyard-1")
        exchange.hang_up()
        await heard(ami, "Hangup", Uniqueid="switchyard-1")
    told = {event.get("Variable"): event.get("Value") for event in events}
    assert (told["HUB"], told["__KIND"]) == ("a=b; Мария", "click")


# --- events ---


async def test_a_call_is_told_in_the_order_it_happens(exchange):
    async with line_to(exchange, events=("call",)) as ami:
        exchange.call(asterisk.DESK_101, name="Мария", seconds=0.2)
        events = await heard(ami, "Hangup", 2)
    told = [
        event.name for event in events if event.name in ("Newchannel", "DialBegin", "DialEnd", "BridgeEnter", "Hangup")
    ]
    assert told == [
        *("Newchannel", "Newchannel", "DialBegin", "DialEnd"),
        *("BridgeEnter", "BridgeEnter", "Hangup", "Hangup"),
    ]
    assert len({event.get("Linkedid") for event in events if event.get("Linkedid")}) == 1
    assert events[0].get("CallerIDName") == "Мария"
    assert "VarSet" not in {event.name for event in events}


async def test_whoever_wants_no_events_gets_none(exchange):
    async with line_to(exchange) as talking, line_to(exchange, events=()) as quiet:
        exchange.call(asterisk.DESK_101, seconds=0.2)
        await heard(talking, "Hangup", 2)
        await quiet.action("Ping")
        await quiet.close()
        assert [event async for event in quiet.events()] == []


# --- lines that break ---


async def test_an_asterisk_that_was_killed_is_noticed_and_comes_back(exchange):
    async with line_to(exchange) as ami:
        exchange.end_office()
        with pytest.raises(Temporary, match="down"):
            await heard(ami, "nothing")
        with pytest.raises(Temporary):
            await ami.action("Ping")
    exchange.restart()
    async with line_to(exchange) as ami:
        assert (await ami.action("Ping")).name == "Success"


async def test_a_line_that_carries_nothing_any_more_is_noticed(exchange):
    stopped = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", exchange.ami_port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(4096):
                if not stopped.is_set():
                    sink.write(data)

        try:
            await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))
        finally:
            other_writer.close()

    async with hostile(serve) as port, line_to(exchange, port, answer_within=1, ping_every=0.1) as ami:
        assert (await ami.action("Ping")).name == "Success"
        stopped.set()
        waiting = asyncio.create_task(ami.action("CoreShowChannels"))
        with pytest.raises(Temporary, match="no sign of life"):
            await heard(ami, "nothing")
        with pytest.raises(Uncertain):
            await waiting


def test_a_silent_line_is_noticed_within_fifteen_seconds():
    defaults = Ami.connect.__kwdefaults__
    assert defaults["answer_within"] + defaults["ping_every"] < 15


# --- those who are no Asterisk ---


@pytest.mark.parametrize(
    ("greeting", "why"),
    [
        (b"220 mail.example.com ESMTP\r\n", "does not speak AMI"),
        (b"x" * 200_000, "speaks AMI"),
        (b"", "does not speak AMI"),
    ],
)
async def test_whoever_greets_as_something_else_is_left(greeting, why):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)

    async with hostile(serve) as port:
        with pytest.raises(Temporary, match=why):
            await Ami.connect("127.0.0.1", port, username="hub", secret="x", answer_within=5)


async def test_whoever_does_not_greet_is_left_in_time():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with hostile(serve) as port:
        with pytest.raises(Temporary):
            await Ami.connect("127.0.0.1", port, username="hub", secret="x", answer_within=0.1)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"x" * 200_000,
        b"Event: Newchannel\r\nChannel: " + b"x" * 200_000,
        b"Event: Newchannel\r\n" + b"Channel: x\r\n" * 30_000,
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"Event: x\r\n\r\n" * 10_002,
    ],
)
async def test_whoever_sends_nonsense_is_left(nonsense):
    async with friendly_until(nonsense) as port:
        ami = await Ami.connect("127.0.0.1", port, username="hub", secret="x")
        try:
            with pytest.raises(Uncertain, match="no AMI"):
                await ami.action("Ping")
            with pytest.raises(Temporary, match="no AMI"):
                await heard(ami, "nothing")
        finally:
            await ami.close()


async def test_a_list_without_an_end_is_left():
    items = b"Event: CoreShowChannel\r\nActionID: switchyard-3\r\n\r\n" * 50_001
    async with friendly_until(
        b"Response: Success\r\nActionID: switchyard-3\r\nEventList: start\r\n\r\n" + items
    ) as port:
        ami = await Ami.connect("127.0.0.1", port, username="hub", secret="x")
        try:
            with pytest.raises(Uncertain, match="list without an end"):
                await ami.action("CoreShowChannels")
        finally:
            await ami.close()


async def test_odd_events_are_read_as_far_as_they_can_be():
    odd = (
        b"\r\n\r\nEvent: Odd\r\nName: \xff\xfe\xd0\x9c\r\nno colon\r\nEmpty:\r\nTwice: 1\r\nTwice: 2\r\n"
        b"Event: Other\r\nActionID: switchyard-3\r\nResponse: Success\r\nTime: 1:2\r\n\r\n"
    )
    async with friendly_until(odd) as port:
        ami = await Ami.connect("127.0.0.1", port, username="hub", secret="x", answer_within=1)
        try:
            asked = asyncio.create_task(ami.action("Ping"))
            (event,) = await heard(ami, "Odd")
            assert event.fields == {
                "Name": "��М",
                "Empty": "",
                "Twice": "1\n2",
                "Event": "Other",
                "ActionID": "switchyard-3",
                "Response": "Success",
                "Time": "1:2",
            }
            with pytest.raises(Uncertain, match="has not answered Ping"):
                await asked
        finally:
            await ami.close()


async def test_an_action_whose_line_breaks_may_have_been_done():
    async with friendly_until(None) as port:
        ami = await Ami.connect("127.0.0.1", port, username="hub", secret="x")
        try:
            with pytest.raises(Uncertain, match="closed"):
                await ami.action("Originate", Channel="PJSIP/101")
            with pytest.raises(Temporary):
                await ami.action("Originate", Channel="PJSIP/101")
        finally:
            await ami.close()


# --- servers of our own ---


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: list[bytes], *lines: str) -> None:
    action = await reader.readuntil(b"\r\n\r\n")
    sent.append(action)
    number = next(line for line in action.split(b"\r\n") if line.startswith(b"ActionID")).decode()
    writer.write("".join(f"{line}\r\n" for line in [lines[0], number, *lines[1:], ""]).encode())


@asynccontextmanager
async def hostile(serve: Serve, tls: tuple[str, str] | None = None) -> AsyncIterator[int]:
    """Serve whoever connects, for the length of the block."""
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w") as both:
            both.write("".join(tls))
            both.flush()
            context.load_cert_chain(both.name)
    tasks: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def friendly_until(nonsense: bytes | None) -> AsyncIterator[int]:
    """Let anybody in, and answer the first action with this; None hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent: list[bytes] = []
        writer.write(BANNER)
        await answer(reader, writer, sent, "Response: Success", "Challenge: 1")
        await answer(reader, writer, sent, "Response: Success", "Message: Authentication accepted")
        await reader.readuntil(b"\r\n\r\n")
        if nonsense is not None:
            writer.write(nonsense)
            await reader.read()

    async with hostile(serve) as port:
        yield port
