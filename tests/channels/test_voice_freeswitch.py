from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from channels import registry
from channels.contract import (
    Consulter,
    Dial,
    Dialler,
    Fetcher,
    Item,
    Listener,
    ParseContext,
    Telephone,
    Tools,
)
from channels.errors import Misconfigured, Temporary, Unauthorised, Uncertain, Undeliverable
from core.kernel.envelopes import CallEvent
from tests.channels.esl_server import EslServer, Peer, serving
from tests.channels.payloads import NOW
from tests.channels.payloads import voice_freeswitch as payloads
from tests.channels.payloads.voice_freeswitch import (
    AT,
    CUSTOMER,
    IN,
    LINE,
    OUT,
    RECORDING,
    A,
    B,
    C,
    brought,
    end,
    event,
)
from tests.channels.provider import playing, tools_for
from webhooks.errors import BadSignature, Malformed, NotConfigured, Unsupported
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
START = datetime.fromtimestamp(AT, UTC)
SETTINGS = {**payloads.SETTINGS, "answer_within": 5}


def channel(**settings: Any) -> Any:
    return registry.build("voice_freeswitch", {**SETTINGS, **settings})


def read(said: dict[str, Any]) -> list[Any]:
    return list(channel().parse(brought(said), CONTEXT))


def seconds(number: int) -> datetime:
    return START + timedelta(seconds=number)


def test_it_is_a_telephone_that_listens_dials_asks_and_keeps_recordings():
    protocols = (Telephone, Listener, Dialler, Consulter, Fetcher)
    assert all(isinstance(channel(), protocol) for protocol in protocols)


# --- genuine or not ---


def test_a_record_carries_the_secret_as_a_password():
    for request in (payloads.record(payloads.RECORD), payloads.record(payloads.RECORD, as_form=True)):
        channel().verify(request, NOW)
        with pytest.raises(BadSignature):
            channel().verify(replace(request, headers={}), NOW)
        with pytest.raises(BadSignature):
            channel().verify(replace(request, headers={"authorization": payloads.basic("wrong")}), NOW)
        with pytest.raises(BadSignature):
            channel().verify(replace(request, headers={"authorization": payloads.basic("ClueCon-0123")}), NOW)
    with pytest.raises(NotConfigured):
        channel(secret="").verify(payloads.record(payloads.RECORD), NOW)


def test_a_dialplan_may_ask_who_rings():
    question = RawRequest(method="GET", suffix="lookup", query=f"number=79161234567&token={payloads.SECRET}")
    channel().verify(question, NOW)
    assert channel().asked(question) == "79161234567"


# --- reading ---


def test_a_call_comes():
    assert read(payloads.ANSWERED[0]) == [
        CallEvent(
            call_id=A,
            key=f"started:{A}",
            phase="started",
            occurred_at=START,
            started_at=START,
            direction="inbound",
            caller=CUSTOMER,
            callee=LINE,
            line=LINE,
        )
    ]


def test_phases_of_a_whole_call():
    found = [told for said in payloads.ANSWERED for told in read(said)]
    assert [(told.phase, told.leg_id, told.extension) for told in found] == [
        ("started", "", ""),
        ("ringing", B, "101"),
        ("ringing", C, "102"),
        ("answered", B, "101"),
        ("answered", B, "101"),
        ("left", C, "102"),
        ("held", B, "101"),
        ("resumed", B, "101"),
        ("recorded", "", ""),
        ("left", B, "101"),
        ("summary", "", ""),
    ]
    assert {told.call_id for told in found} == {A}
    assert found[3].key == found[4].key, "two events tell of the same answer"
    assert found[-1] == CallEvent(
        call_id=A,
        key=f"ended:{A}",
        phase="summary",
        occurred_at=seconds(137),
        direction="inbound",
        caller=CUSTOMER,
        callee=LINE,
        line=LINE,
        outcome="answered",
        started_at=START,
        answered_at=seconds(12),
        ended_at=seconds(137),
        talk_seconds=125,
        wait_seconds=12,
        detail="NORMAL_CLEARING",
    )


def test_a_record_tells_the_same_end_as_the_event():
    (told,) = read(payloads.ANSWERED[-1])
    for request in (payloads.record(payloads.RECORD), payloads.record(payloads.RECORD, as_form=True)):
        assert list(channel().parse(request, CONTEXT)) == [told]


def test_a_menu_that_picks_up_answers_nothing():
    assert read(payloads.ANSWERED[1]) == []
    (told,) = read(end("m", 30, answered=1, **IN))
    assert (told.phase, told.outcome, told.talk_seconds) == ("ended", "", None)
    (told,) = read(end("m", 30, answered=1, variable_last_app="voicemail", **IN))
    assert (told.phase, told.outcome, told.talk_seconds) == ("summary", "voicemail", 0)


def test_early_sound_is_no_answer():
    joined = payloads.ANSWERED[5]
    assert [told.phase for told in read(joined)] == ["answered"]
    assert read({**joined, "Other-Leg-Channel-Answered-Time": "0"}) == []
    assert read({**joined, "Caller-Channel-Answered-Time": "0"}) == []


@pytest.mark.parametrize(
    ("cause", "who", "outcome"),
    [
        ("ORIGINATOR_CANCEL", IN, "missed"),
        ("NO_ANSWER", IN, "missed"),
        ("ORIGINATOR_CANCEL", OUT, "canceled"),
        ("NO_ANSWER", OUT, "missed"),
        ("USER_BUSY", OUT, "busy"),
        ("UNALLOCATED_NUMBER", OUT, "failed"),
        ("GATEWAY_DOWN", OUT, "failed"),
    ],
)
def test_how_a_call_that_nobody_took_ended(cause, who, outcome):
    (told,) = read(end("x", 30, cause=cause, **who))
    assert (told.phase, told.outcome, told.talk_seconds, told.answered_at) == ("summary", outcome, 0, None)


def test_a_blind_transfer_is_told_with_where_it_goes():
    left, transferred = read(payloads.TRANSFERRED[3])
    assert (left.phase, left.extension, left.leg_id) == ("left", "101", "t2")
    assert (transferred.phase, transferred.extension, transferred.detail) == ("transferred", "102", "")
    outside = {**payloads.TRANSFERRED[3], "variable_sip_refer_to": "<sip:79035556677@pbx>"}
    assert [(told.extension, told.detail) for told in read(outside)][1] == ("", "79035556677")


def test_a_colleague_calls_a_customer():
    started, answered, left, summary = [told for said in payloads.OUTBOUND for told in read(said)]
    assert (started.direction, started.extension, started.caller, started.callee, started.line) == (
        "outbound",
        "101",
        "101",
        CUSTOMER,
        "",
    )
    assert (answered.phase, answered.extension, answered.leg_id) == ("answered", "101", "o2")
    assert left.phase == "left"
    assert (summary.direction, summary.outcome, summary.talk_seconds) == ("outbound", "answered", 125)
    (inner,) = read(event("CHANNEL_CREATE", "i1", 0, **{**OUT, "Caller_Destination_Number": "102"}))
    assert inner.direction == "internal"


def test_a_call_of_ours_is_known_and_not_answered_by_the_colleague():
    ours = {
        "Caller_Caller_ID_Number": CUSTOMER,
        "Caller_Destination_Number": "101",
        "variable_dialed_user": "101",
        "variable_switchyard_id": "d-1",
    }
    (started,) = read(event("CHANNEL_CREATE", "p1", 0, **ours))
    assert (started.our_id, started.direction, started.extension, started.callee) == (
        "d-1",
        "outbound",
        "101",
        CUSTOMER,
    )
    assert read(event("CHANNEL_ANSWER", "p1", 3, **ours)) == []
    (ended,) = read(end("p1", 30, answered=3, joined=3, **ours))
    assert (ended.our_id, ended.phase, ended.outcome) == ("d-1", "ended", "")


def test_a_leg_finds_its_call_by_whatever_points_to_it():
    said = payloads.event("CHANNEL_ANSWER", B, 1, B, variable_dialed_user="101")
    assert read({**said, "variable_originating_leg_uuid": A})[0].call_id == A
    assert read({**said, "variable_call_uuid": A})[0].call_id == A
    assert read({**said, "Other-Type": "originator", "Other-Leg-Unique-ID": A})[0].call_id == A
    assert read(said) == [], "it is the first"


def test_a_recording_is_named_by_its_path():
    (told,) = read(payloads.ANSWERED[9])
    assert (told.phase, told.recording, told.recording_seconds) == ("recorded", RECORDING, 125)
    assert read({**payloads.ANSWERED[9], "Record-File-Path": ""}) == []


def test_what_is_no_event_of_a_call_is_of_no_use():
    with pytest.raises(Unsupported):
        read({"Event-Name": "RELOADXML"})
    with pytest.raises(Malformed):
        read({"Event-Name": "CHANNEL_ANSWER"})
    for body in (b"", b"[]", b"\xff\xfe", b"{", b"cdr=1"):
        with pytest.raises(Malformed):
            channel().parse(RawRequest(body, method="ESL"), CONTEXT)


def test_bytes_that_are_no_text_in_a_name_do_not_cost_the_event():
    request = brought(payloads.ANSWERED[0])
    broken = replace(request, body=request.body[:-1] + b',"Caller-Caller-ID-Name":"\xd0Anna\xff"}')
    assert channel().parse(broken, CONTEXT) == channel().parse(request, CONTEXT)
    assert channel().route(broken).peer == A


@pytest.mark.parametrize("name", payloads.CALLS)
def test_whole_calls_are_told_by_one_id_and_keep_their_order(name):
    requests = payloads.CALLS[name]
    assert len({channel().route(request).peer for request in requests}) == 1
    assert len({channel().route(request).dedupe_key for request in requests}) == len(requests)


# --- the line ---


@dataclass
class Ear:
    """What the hub hands a listener, as far as it matters here."""

    tools: Tools
    cursor: Mapping[str, Any] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    broken: Exception | None = None

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        if self.broken is not None:
            raise self.broken
        self.items += items
        self.changed.set()

    def is_well(self, detail: str = "") -> None:
        self.health.append(f"well: {detail}")
        self.changed.set()

    def is_ill(self, detail: str) -> None:
        self.health.append(f"ill: {detail}")
        self.changed.set()

    async def has(self, number: int) -> list[Item]:
        async with asyncio.timeout(10):
            while len(self.items) < number:
                self.changed.clear()
                await self.changed.wait()
        return self.items


@asynccontextmanager
async def listening(server: EslServer, **settings: Any) -> AsyncIterator[tuple[Ear, asyncio.Task[None]]]:
    async with tools_for("http://127.0.0.1") as (tools, _):
        ear = Ear(tools)
        task = asyncio.create_task(channel(port=server.port, **settings).run(ear))
        try:
            yield ear, task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Temporary, Misconfigured, RuntimeError):
                await task


async def ended(task: asyncio.Task[None]) -> BaseException:
    async with asyncio.timeout(10):
        await asyncio.wait({task})
    error = task.exception()
    assert error is not None
    return error


async def peer_of(server: EslServer) -> Peer:
    async with asyncio.timeout(10):
        return await server.peers.get()


async def test_every_event_of_a_call_is_kept_word_for_word():
    async with serving() as server, listening(server) as (ear, _):
        peer = await peer_of(server)
        await peer.tell({"Event-Name": "HEARTBEAT", "Event-Info": "System Ready"})
        spaced = b'{ "Event-Name":"CHANNEL_CREATE",\n "Unique-ID":"u-1", "Caller-Caller-ID-Name":"\xd0\xff" }'
        await peer.tell(spaced)
        for said in payloads.ANSWERED:
            await peer.tell(said)
        items = await ear.has(len(payloads.ANSWERED) + 1)
        assert items[0].request.body == spaced
        assert [item.request.body for item in items[1:]] == [request.body for request in payloads.CALLS["answered"]]
        for item in items:
            channel().verify(item.request, NOW)
            assert item.routed == channel().route(item.request)
    assert server.told[:2] == [
        "auth ClueCon-0123",
        "event json CHANNEL_CREATE CHANNEL_ANSWER CHANNEL_BRIDGE CHANNEL_HOLD CHANNEL_UNHOLD CHANNEL_HANGUP_COMPLETE "
        "RECORD_STOP HEARTBEAT",
    ]
    assert [said.partition(":")[0] for said in ear.health] == ["well"]


async def test_what_is_no_json_is_kept_for_somebody_to_look_at():
    async with serving() as server, listening(server) as (ear, _):
        await (await peer_of(server)).tell(b"\x00\xffnonsense")
        (item,) = await ear.has(1)
    assert item.request.body == b"\x00\xffnonsense"
    with pytest.raises(Malformed):
        channel().parse(item.request, CONTEXT)


async def test_frames_may_come_in_pieces_and_many_at_once():
    async with serving() as server, listening(server) as (ear, _):
        peer = await peer_of(server)
        body = json.dumps(payloads.ANSWERED[0]).encode()
        frame = b"Content-Length: %d\r\nContent-Type: text/event-json\r\n\r\n%b" % (len(body), body)
        for at in range(0, len(frame), 7):
            await peer.write(frame[at : at + 7])
            await asyncio.sleep(0)
        await peer.write(frame * 300)
        await ear.has(301)


async def test_a_wrong_password_needs_an_administrator():
    async with serving() as server, listening(server, password="wrong-password") as (ear, task):
        error = await ended(task)
    assert type(error) is Unauthorised
    assert "wrong-password" not in str(error)
    assert not ear.health


async def test_an_address_that_is_not_allowed_needs_an_administrator():
    async with serving() as server:
        server.greeting = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"
        async with listening(server) as (_, task):
            error = await ended(task)
    assert type(error) is Misconfigured
    assert "apply-inbound-acl" in str(error)


async def test_events_that_are_refused_need_an_administrator():
    async with serving() as server:
        server.does("event", lambda peer, _: peer.reply("-ERR no keywords supplied"))
        async with listening(server) as (_, task):
            assert type(await ended(task)) is Misconfigured


async def test_a_line_that_breaks_is_told_and_what_it_brought_is_kept():
    async with serving() as server, listening(server) as (ear, task):
        peer = await peer_of(server)
        for said in payloads.ANSWERED:
            await peer.tell(said)
        peer.writer.close()
        error = await ended(task)
        assert type(error) is Temporary
        assert len(ear.items) == len(payloads.ANSWERED)
    assert [said.partition(":")[0] for said in ear.health] == ["well", "ill"]


async def test_a_session_that_freeswitch_ends_is_over():
    async with serving() as server, listening(server) as (_, task):
        peer = await peer_of(server)
        await peer.frame("text/disconnect-notice", "Disconnected, goodbye.\n")
        assert "ended the session" in str(await ended(task))


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\xfe\n\n",
        b"X" * 100_000,
        b"X-Header: 1\n" * 100_000,
        b"\n" * 100_000,
        b"Content-Type: text/event-json\nContent-Length: 99999999\n\n",
        b"Content-Type: text/event-json\nContent-Length: -1\n\n",
        "Content-Type: text/event-json\nContent-Length: \u0663\n\n".encode(),
    ],
    ids=["another protocol", "bytes", "endless line", "endless headers", "nothing", "too long", "negative", "digits"],
)
@pytest.mark.parametrize("when", ["first", "later"])
async def test_what_is_no_event_socket_ends_the_line_and_nothing_else(garbage, when):
    async with serving() as server:
        if when == "first":
            server.greeting = garbage
        async with listening(server) as (ear, task):
            if when == "later":
                await (await peer_of(server)).write(garbage)
            error = await ended(task)
    assert type(error) is Temporary
    assert "no frame" in str(error) or "no event socket" in str(error)
    assert ear.health[-1].startswith("ill")


async def test_whoever_says_nothing_at_all_is_not_waited_for():
    async with serving() as server:
        server.greeting = b""
        async with listening(server, answer_within=0.5) as (_, task):
            error = await ended(task)
    assert type(error) is Temporary
    assert "ask for the password" in str(error)


async def test_a_line_that_is_silent_is_asked_for_a_sign_of_life():
    asked = asyncio.Event()

    async def answer(peer: Peer, command: str) -> None:
        if server.told.count("api status") > 2:
            asked.set()
        await peer.frame("api/response", "UP\n")

    async with serving() as server:
        server.does("api", answer)
        async with listening(server, silence=0.02) as (ear, task):
            async with asyncio.timeout(10):
                await asked.wait()
            assert not task.done()
            await (await peer_of(server)).tell(payloads.ANSWERED[0])
            await ear.has(1)


async def test_a_line_that_is_half_dead_is_given_up():
    async def hold(peer: Peer, command: str) -> None:
        await asyncio.Event().wait()

    async with serving() as server:
        server.does("api", hold)
        async with listening(server, silence=0.02, answer_within=1) as (ear, task):
            error = await ended(task)
    assert type(error) is Temporary
    assert "no answer" in str(error)
    assert ear.health[-1].startswith("ill")


async def test_what_cannot_be_kept_ends_the_line_so_that_somebody_hears_of_it():
    async with serving() as server, listening(server) as (ear, task):
        ear.broken = RuntimeError("the database is away")
        await (await peer_of(server)).tell(payloads.ANSWERED[0])
        assert await ended(task) is ear.broken


async def test_nobody_at_the_other_end_is_a_passing_trouble():
    async with serving() as server:
        port = server.port
    async with listening(EslServer(port=port)) as (ear, task):
        assert type(await ended(task)) is Temporary
    assert "cannot be reached" in ear.health[0]


# --- the way out ---

DIAL = Dial("184467", "101", "+79161234567", "+74951112233")
JOB = "7f4db78a-17d7-11dd-b7a0-db4edd065621"


def takes(*events: dict[str, Any]) -> Any:
    """Make an answer to bgapi: the job is taken, and then these events come."""

    async def answer(peer: Peer, command: str) -> None:
        await peer.frame("command/reply", Reply_Text=f"+OK Job-UUID: {JOB}", Job_UUID=JOB)
        for said in events:
            await peer.tell(said)

    return answer


def job(body: str) -> dict[str, Any]:
    return {"Event-Name": "BACKGROUND_JOB", "Job-UUID": JOB, "_body": body, "Content-Length": str(len(body))}


async def dialled(server: EslServer, dial: Dial = DIAL, **settings: Any) -> tuple[str, list[Any]]:
    async with tools_for("http://127.0.0.1", secrets=("ClueCon-0123",)) as (tools, exchanges):
        made = await channel(port=server.port, **settings).dial(dial, tools)
    return made.call_id, exchanges


async def test_a_call_is_placed_in_the_background_and_named_beforehand():
    async with serving() as server:
        other = job("-ERR USER_BUSY")
        server.does("bgapi", takes({**other, "Job-UUID": "another"}, job("+OK 1\n")))
        call, exchanges = await dialled(server)
        assert server.told == [
            "auth ClueCon-0123",
            "event json BACKGROUND_JOB CHANNEL_CREATE",
            f"bgapi originate {{origination_uuid={call},switchyard_id=184467,origination_caller_id_number=79161234567,"
            "origination_caller_id_name=79161234567,effective_caller_id_number=74951112233}"
            "user/101 79161234567 XML default",
        ]
        server.does("bgapi", takes(event("CHANNEL_CREATE", "other", 0), event("CHANNEL_CREATE", call, 0)))
        assert (await dialled(server))[0] == call
        await dialled(server, DIAL._replace(line=""), numbers="plus", endpoint="sofia/internal/{extension}%pbx")
        assert server.told[-1].endswith("}sofia/internal/101%pbx +79161234567 XML default")
        assert "effective" not in server.told[-1]
    assert "ClueCon" not in str(exchanges)
    assert "originate" in exchanges[0].sent


async def test_the_id_of_a_call_is_a_value_and_nothing_more():
    async with serving() as server:
        server.does("bgapi", takes(job("+OK")))
        for name in ("a,b", "a\nb", "a}b", "a'b", ""):
            with pytest.raises(Undeliverable):
                await dialled(server, DIAL._replace(id=name))
    assert server.told == []


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "79161234567\n\nbgapi system reboot"},
        {"number": "&system(reboot)"},
        {"number": "7916 XML public"},
        {"number": "+7916}user/102"},
        {"number": "\u0667\u0669"},
        {"number": ""},
        {"extension": "101\r\n"},
        {"extension": "101,user/102"},
        {"extension": "101|102"},
        {"extension": "101 &park"},
        {"line": "1,x=2"},
        {"line": "1\n"},
    ],
)
async def test_what_could_be_read_as_a_command_is_never_written(changes):
    async with serving() as server:
        with pytest.raises(Undeliverable):
            await dialled(server, DIAL._replace(**changes))
    assert server.told == []


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("-ERR USER_NOT_REGISTERED\n", Undeliverable),
        ("-ERR UNALLOCATED_NUMBER", Undeliverable),
        ("-ERR GATEWAY_DOWN", Temporary),
        ("-ERR SWITCH_CONGESTION", Temporary),
        ("-ERR originate command not found!", Misconfigured),
        ("-USAGE: <call url> <exten>", Misconfigured),
        ("", Undeliverable),
    ],
)
async def test_what_it_means_that_a_call_was_not_placed(said, error):
    async with serving() as server:
        server.does("bgapi", takes(job(said)))
        with pytest.raises(error) as raised:
            await dialled(server)
        assert type(raised.value) is error
        server.does("bgapi", lambda peer, _: peer.reply("-ERR USER_NOT_REGISTERED"))
        with pytest.raises(Undeliverable):
            await dialled(server)


async def test_a_line_that_breaks_before_the_answer_leaves_us_in_doubt():
    async def cut(peer: Peer, command: str) -> None:
        peer.writer.close()

    async def hold(peer: Peer, command: str) -> None:
        await asyncio.Event().wait()

    async with serving() as server:
        server.does("bgapi", cut)
        with pytest.raises(Uncertain):
            await dialled(server)
        server.does("bgapi", hold)
        with pytest.raises(Uncertain):
            await dialled(server, answer_within=1)


async def test_a_line_that_breaks_after_the_answer_has_placed_the_call():
    async def take(peer: Peer, command: str) -> None:
        await takes()(peer, command)
        peer.writer.close()

    async with serving() as server:
        server.does("bgapi", take)
        assert (await dialled(server))[0]


async def test_a_call_cannot_be_placed_without_a_line():
    async with serving() as server:
        with pytest.raises(Unauthorised):
            await dialled(server, password="wrong")
        port = server.port
    with pytest.raises(Temporary):
        await dialled(EslServer(port=port))


async def test_a_password_of_two_lines_is_never_written():
    async with serving() as server:
        with pytest.raises(Misconfigured):
            await dialled(server, password="ClueCon-0123\n\nbgapi system reboot")
    assert server.told == []


async def test_a_check_tells_how_freeswitch_is():
    async with serving() as server, tools_for("http://127.0.0.1") as (tools, _):
        checked = await channel(port=server.port).check(tools)
        assert checked.facts == {"status": "UP 0 years, 3 days, 1 hour · FreeSWITCH (Version 1.10.12) is ready"}
        with pytest.raises(Unauthorised):
            await channel(port=server.port, password="wrong").check(tools)


async def test_a_recording_is_fetched_from_the_web_server_that_has_the_folder():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("GET", "/rec/2025-11-20/aaaaaaaa.wav", body=b"RIFF", content_type="audio/x-wav")
        served = channel(base_url=f"{provider.url}/rec/")
        fetched = await served.fetch_media(RECORDING, tools)
        assert b"".join([chunk async for chunk in fetched.chunks]) == b"RIFF"
        assert (fetched.name, fetched.content_type) == ("aaaaaaaa.wav", "audio/x-wav")
        assert provider.asked[0].headers["authorization"].startswith("Basic ")
        provider.answers("GET", "/rec/b c.wav", body=b"RIFF")
        await served.fetch_media("/elsewhere/b c.wav", tools)
        assert provider.asked[1].path == "/rec/b c.wav"
        for path in ("/var/lib/freeswitch/recordings/../../secret", "", "/", "/var/lib/freeswitch/recordings"):
            with pytest.raises(Undeliverable):
                await served.fetch_media(path, tools)
        with pytest.raises(Undeliverable, match="address of recordings"):
            await channel().fetch_media(RECORDING, tools)
        provider.answers("GET", "/rec/.*", status=503)
        with pytest.raises(Temporary):
            await served.fetch_media(RECORDING, tools)
