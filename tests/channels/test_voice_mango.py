from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from channels import registry
from channels.contract import Consulter, Dial, Dialled, Dialler, Fetcher, ParseContext, Telephone
from channels.errors import Misconfigured, Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from core.kernel.envelopes import CallEvent
from tests.channels.payloads import NOW
from tests.channels.payloads import voice_mango as payloads
from tests.channels.payloads.voice_mango import AT, CUSTOMER, KEY, LINE, ONE, PHONE, SALT, leg, posted, summary, taken
from tests.channels.provider import Provider, playing, tools_for
from webhooks.errors import BadSignature, Malformed, NotConfigured, Unsupported
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
START = datetime.fromtimestamp(AT, UTC)


def channel(**settings: Any) -> Any:
    return registry.build("voice_mango", {**payloads.SETTINGS, **settings})


def read(request: RawRequest) -> list[Any]:
    channel().verify(request, NOW)
    return list(channel().parse(request, CONTEXT))


def seconds(number: int) -> datetime:
    return START + timedelta(seconds=number)


def test_it_is_a_telephone_that_dials_asks_and_keeps_recordings():
    assert all(isinstance(channel(), protocol) for protocol in (Telephone, Dialler, Consulter, Fetcher))


# --- genuine or not ---

KNOWN = (
    '{"entry_id":"MzQ1Mzc1MzUxMzoxNjE=","call_id":"MToxMDA3MTYxNToxNjE6Nzc2MTY1NjA4OjE=","timestamp":1513707786,'
    '"seq":1,"call_state":"Appeared","location":"ivr","from":{"number":"79990000761"},'
    '"to":{"number":"74990000495","line_number":"74990000495"}}'
)
SIGN = "de0c56808d12a44f927d74a2e63ee30b366c1a769eed53b330efbb321fba4e45"


def known(**changes: str) -> RawRequest:
    form = {"vpbx_api_key": KEY, "sign": SIGN, "json": KNOWN, **changes}
    return RawRequest(urlencode(form).encode(), suffix="events/call")


def test_a_known_signature_is_accepted():
    channel().verify(known(), NOW)
    channel().verify(known(sign=SIGN.upper()), NOW)


@pytest.mark.parametrize(
    "request_",
    [
        known(json=KNOWN.replace("761", "762")),
        known(sign=""),
        known(sign=SIGN[:-1] + "0"),
        known(vpbx_api_key=KEY[:-1] + "0"),
        known(vpbx_api_key=""),
        RawRequest(b"json=%7B%7D", suffix="events/call"),
    ],
)
def test_what_was_changed_or_is_of_another_pbx_is_refused(request_):
    with pytest.raises(BadSignature):
        channel().verify(request_, NOW)


def test_without_a_key_for_signatures_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        channel(api_salt="").verify(known(), NOW)


def test_the_signature_is_over_what_was_sent_and_not_over_what_is_kept():
    (event,) = read(posted("events/dtmf", '{"entry_id":"1","call_id":"2","seq":1,\r\n"dtmf":"Й\\u0000"}'))
    assert event.detail == "Й", "kept in one piece, without what a database cannot keep"


def test_the_empty_request_that_tries_the_address_is_answered_and_not_kept():
    assert channel().handshake(RawRequest()).body == b""
    assert channel().handshake(known()) is None
    assert channel().handshake(RawRequest(method="GET")) is None
    with pytest.raises(BadSignature):
        channel().verify(RawRequest(), NOW)


# --- reading ---


def test_a_call_comes_into_the_menu():
    (event,) = read(known())
    assert event == CallEvent(
        call_id="MzQ1Mzc1MzUxMzoxNjE=",
        key="MToxMDA3MTYxNToxNjE6Nzc2MTY1NjA4OjE=:1",
        phase="menu",
        leg_id="MToxMDA3MTYxNToxNjE6Nzc2MTY1NjA4OjE=",
        seq=1,
        occurred_at=datetime(2017, 12, 19, 18, 23, 6, tzinfo=UTC),
        direction="inbound",
        caller="79990000761",
        callee="74990000495",
        line="74990000495",
    )


def test_phases_of_a_whole_call():
    events = [event for request in payloads.CALLS["answered"] for event in read(request)]
    assert [(event.phase, event.leg_id, event.extension) for event in events] == [
        ("menu", "menu", ""),
        ("menu", "menu", ""),
        ("menu", "menu", ""),
        ("queued", "queue", ""),
        ("ringing", "leg-101", "101"),
        ("ringing", "leg-102", "102"),
        ("answered", "leg-101", "101"),
        ("left", "leg-102", "102"),
        ("held", "leg-101", "101"),
        ("answered", "leg-101", "101"),
        ("left", "leg-101", "101"),
        ("summary", "", "101"),
        ("recorded", "leg-101", "101"),
        ("recorded", "", ""),
    ]
    assert {event.direction for event in events if event.phase not in ("recorded", "menu")} == {"inbound"}
    assert (events[2].detail, events[3].detail, events[7].detail) == ("2", "900", "1131")


def test_a_phone_that_is_taken_is_told_with_all_who_talk():
    (event,) = read(leg(ONE, "l", 2, "Connected", "abonent", to=taken(101)))
    assert (event.caller, event.callee, event.line) == (CUSTOMER, PHONE, LINE)
    assert (event.seq, event.occurred_at) == (2, seconds(2))


def test_a_transfer_is_told_beside_the_leg_that_left():
    left, transferred = read(payloads.CALLS["transferred"][2])
    assert (left.phase, left.extension, left.detail) == ("left", "101", "blind transfer, 1100")
    assert (transferred.phase, transferred.extension, transferred.leg_id) == ("transferred", "", left.leg_id)
    assert left.key != transferred.key


def test_a_call_of_ours_is_known_by_the_command():
    appeared, connected, left, end, _ = [e for request in payloads.CALLS["outbound"] for e in read(request)]
    assert [event.our_id for event in (appeared, connected, left)] == ["d-1"] * 3
    assert (appeared.phase, appeared.direction, appeared.extension, appeared.callee) == (
        "started",
        "outbound",
        "101",
        CUSTOMER,
    )
    assert (connected.phase, connected.extension) == ("answered", "101")
    assert (end.direction, end.extension, end.outcome) == ("outbound", "101", "answered")


@pytest.mark.parametrize(
    ("more", "direction"),
    [
        ({"to": taken(101), "command_id": "other"}, "inbound"),
        ({"to": taken(101), "callback_initiator": "API"}, "outbound"),
        ({"from_": payloads.COLLEAGUE, "to": taken(102)}, "internal"),
        ({"from_": {**payloads.COLLEAGUE, "taken_from_call_id": "x"}, "to": taken(102)}, ""),
        ({"from_": {"number": "anonymous"}, "to": {"number": LINE}}, ""),
    ],
)
def test_which_way_a_call_goes_is_concluded_where_it_can_be(more, direction):
    (event,) = read(leg(ONE, "l", 1, "Appeared", "abonent", **more))
    assert event.direction == direction


def test_the_summary_tells_the_moment_of_the_answer():
    (event,) = read(posted("events/summary", summary(ONE)))
    assert event == CallEvent(
        call_id=ONE,
        key="summary",
        phase="summary",
        occurred_at=seconds(137),
        direction="inbound",
        caller=CUSTOMER,
        callee=PHONE,
        line=LINE,
        extension="101",
        outcome="answered",
        started_at=START,
        answered_at=seconds(12),
        ended_at=seconds(137),
        talk_seconds=125,
        wait_seconds=12,
        detail="1110",
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"talk_time": 0, "entry_result": 0}, ("missed", None, 0, 137)),
        ({"talk_time": 0, "entry_result": 0, "disconnect_reason": 2100}, ("missed", None, 0, 137)),
        ({"talk_time": 0, "entry_result": 0, "call_direction": 2}, ("missed", None, 0, 137)),
        ({"talk_time": 0, "entry_result": 0, "call_direction": 2, "disconnect_reason": 3210}, ("failed", None, 0, 137)),
        ({"talk_time": 0, "entry_result": 0, "call_direction": 2, "disconnect_reason": 5001}, ("failed", None, 0, 137)),
        ({"talk_time": AT + 12, "entry_result": 0}, ("missed", None, 0, 137)),
        ({"end_time": 0}, ("answered", seconds(12), None, 12)),
        ({"talk_time": "x", "end_time": AT - 5}, ("answered", None, None, None)),
        ({"talk_time": 4_000_000_000, "end_time": 4_100_000_000}, ("answered", None, None, None)),
    ],
)
def test_how_a_call_ended(more, expected):
    (event,) = read(posted("events/summary", summary(ONE, **more)))
    answered = event.answered_at if event.answered_at is None or event.answered_at < NOW else None
    assert (event.outcome, answered, event.talk_seconds, event.wait_seconds) == expected


def test_a_recording_that_is_done_and_one_that_is_stored_are_the_same():
    (done,), (stored,) = (
        read(posted("events/recording", payloads.RECORDING)),
        read(posted("events/record/added", payloads.ADDED)),
    )
    assert (done.key, done.recording, done.recording_id) == (stored.key, stored.recording, stored.recording_id)
    assert (done.phase, done.recording) == ("recorded", payloads.RECORDING["recording_id"])


@pytest.mark.parametrize(
    "more",
    [
        {"recording_state": "Started"},
        {"recording_state": "Continued"},
        {"completion_code": 4002},
        {"recipient": "Mail"},
        {"recording_id": ""},
    ],
)
def test_a_recording_that_cannot_be_had_is_not_told(more):
    assert read(posted("events/recording", {**payloads.RECORDING, **more})) == []


def test_the_result_of_a_callback_is_told_where_it_failed():
    assert read(posted("result/callback", {"command_id": "d-1", "result": 1000})) == []
    assert read(posted("result/callback", {"result": 3100})) == []
    assert read(posted("result/recording/start", {"command_id": "d-1", "result": 3100})) == []
    (event,) = read(posted("result/callback", {"command_id": "d-1", "result": 3100}))
    assert (event.our_id, event.phase, event.outcome, event.detail) == ("d-1", "summary", "failed", "3100")


@pytest.mark.parametrize(
    "suffix", ["events/sms", "events/record/tagged", "", "events", "events/../call", "EVENTS/call"]
)
def test_what_is_no_event_of_a_call_is_of_no_use(suffix):
    with pytest.raises(Unsupported):
        read(posted(suffix, summary(ONE)))


def test_the_address_may_be_of_any_depth():
    (event,) = read(posted("mango/vpbx/events/summary/", summary(ONE)))
    assert event.phase == "summary"


@pytest.mark.parametrize("said", ["", "[]", "{", '{"call_id":"1"}'])
def test_what_names_no_call_is_malformed(said):
    with pytest.raises(Malformed):
        read(posted("events/call", said))


def test_a_state_nobody_knows_is_of_no_use():
    with pytest.raises(Unsupported):
        read(leg(ONE, "l", 1, "Dreaming", "abonent"))


@pytest.mark.parametrize("seq", [-1, 2**31, "x", None])
def test_an_odd_count_is_none(seq):
    (event,) = read(posted("events/dtmf", {**payloads.DTMF, "seq": seq}))
    assert event.seq == 0


@pytest.mark.parametrize("name", payloads.CALLS)
def test_whole_calls_are_told_by_one_id_and_every_event_by_a_key(name):
    requests = payloads.CALLS[name]
    events = [event for request in requests for event in read(request)]
    assert len({event.call_id for event in events}) == 1
    assert {channel().route(request).peer for request in requests} == {events[0].call_id}
    assert len({channel().route(request).dedupe_key for request in requests}) == len(requests)
    assert len({event.key for event in events}) == len({(event.key, event.phase) for event in events})
    assert len({event.key for event in events}) >= len(events) - 1, "only a recording is told twice"


def test_a_dialplan_may_ask_who_rings():
    question = RawRequest(method="GET", suffix="lookup", query="number=79161234567&token=asks-who-rings")
    channel().verify(question, NOW)
    assert channel().asked(question) == "79161234567"


# --- the way out ---

DIAL = Dial("d-1", "101", "+79161234567", "+74951112233")
CALLBACK = "/vpbx/commands/callback"


async def test_a_callback_is_asked_for_as_documented():
    async with playing() as provider, tools_for(provider.url, secrets=(SALT,)) as (tools, exchanges):
        provider.answers("POST", CALLBACK, json={"result": 1000})
        made = await channel(base_url=provider.url + "/").dial(DIAL, tools)
        assert made == Dialled("")
        form = provider.asked[0].form
        assert form["json"] == (
            '{"command_id":"d-1","from":{"extension":"101"},"to_number":"79161234567","line_number":"74951112233"}'
        )
        assert form["sign"] == payloads.signed(form["json"])
        assert form["vpbx_api_key"] == KEY
        await channel(base_url=provider.url).dial(DIAL._replace(line=""), tools)
        assert "line_number" not in json.loads(provider.asked[1].form["json"])
    assert SALT not in str(exchanges)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {"result": 2100}, Misconfigured),
        (200, {"result": 3100, "message": "bad"}, Undeliverable),
        (200, {"result": 4001}, Undeliverable),
        (200, {"result": 5001}, Temporary),
        (200, {}, Uncertain),
        (200, None, Uncertain),
        (401, {"result": 3100}, Unauthorised),
        (403, None, Unauthorised),
        (429, None, Throttled),
        (503, None, Temporary),
    ],
)
async def test_what_refusals_of_a_callback_mean(status, body, error):
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("POST", CALLBACK, status=status, json=body, body="?")
        with pytest.raises(error) as raised:
            await channel(base_url=provider.url).dial(DIAL, tools)
    assert type(raised.value) is error


async def test_a_callback_whose_answer_never_came_may_have_been_placed():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.breaks("POST", CALLBACK)
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).dial(DIAL, tools)
    assert len(provider.asked) == 1


def test_the_known_signature_of_a_link_is_made_by_this_rule():
    known_sign = "574ea97706caa1fc0875251e4f8a8d85c92555268d60818c9467d8688ec18803"
    assert link_sign("1760948130", "REC1") == known_sign


def link_sign(expires: str, recording: str) -> str:
    return hashlib.sha256((KEY + expires + recording + SALT).encode()).hexdigest()


RECORDING = "MTox+/Q=="
LINK = r"/vpbx/queries/recording/link/.*"
POST = "/vpbx/queries/recording/post"


async def fetched(provider: Provider, tools: Any, reference: str = RECORDING) -> tuple[bytes, str]:
    found = await channel(base_url=provider.url).fetch_media(reference, tools)
    return b"".join([chunk async for chunk in found.chunks]), found.content_type


async def test_a_recording_is_opened_by_a_link_that_we_sign_by_our_clock():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("GET", LINK, body=b"ID3 sound", content_type="audio/mpeg")
        assert await fetched(provider, tools, "REC1") == (b"ID3 sound", "audio/mpeg")
        await fetched(provider, tools)
    expires = str(int((NOW + timedelta(minutes=10)).timestamp()))
    path = f"/vpbx/queries/recording/link/REC1/play/{KEY}/{expires}/{link_sign(expires, 'REC1')}"
    assert provider.asked[0].path == path
    assert provider.asked[1].path.endswith(link_sign(expires, RECORDING))
    assert f"/link/{RECORDING}/play/" in provider.asked[1].path


@pytest.mark.parametrize(("status", "content_type"), [(403, "text/plain"), (404, "text/html"), (200, "text/html")])
async def test_where_links_are_not_allowed_the_recording_is_asked_for(status, content_type):
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("GET", LINK, status=status, body=b"<p>Not allowed", content_type=content_type)
        provider.answers("POST", POST, status=302, headers={"Location": f"{provider.url}/files/1"})
        provider.answers("GET", "/files/1", body=b"ID3 sound", content_type="audio/mp3")
        assert await fetched(provider, tools) == (b"ID3 sound", "audio/mp3")
        form = provider.asked[1].form
        assert json.loads(form["json"]) == {"recording_id": RECORDING, "action": "download"}
        assert form["sign"] == payloads.signed(form["json"])
        provider.answers("POST", POST, body=b"ID3 whole", content_type="audio/mp3")
        assert await fetched(provider, tools) == (b"ID3 whole", "audio/mp3")


@pytest.mark.parametrize(
    ("link", "post", "error"),
    [
        (404, 404, Temporary),
        (404, 204, Temporary),
        (403, 200, Temporary),
        (403, 401, Unauthorised),
        (410, 200, Undeliverable),
        (404, 410, Undeliverable),
        (503, 302, Temporary),
        (404, 429, Throttled),
    ],
)
async def test_what_it_means_that_a_recording_is_not_to_be_had(link, post, error):
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("GET", LINK, status=link)
        provider.answers("POST", POST, status=post)
        with pytest.raises(error) as raised:
            await fetched(provider, tools)
    assert type(raised.value) is error


async def test_a_link_into_the_own_network_is_not_followed():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("GET", LINK, status=404)
        provider.answers("POST", POST, status=302, headers={"Location": "http://127.0.0.1:1/secret"})
        with pytest.raises(Undeliverable):
            await fetched(provider, tools)


async def test_a_check_tells_the_balance():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("POST", "/vpbx/account/balance", json={"result": 1000, "balance": 512.5, "currency": "RUB"})
        assert (await channel(base_url=provider.url).check(tools)).facts == {"balance": "512.5 RUB"}
        assert provider.asked[0].form["sign"] == payloads.signed("{}")
        provider.answers("POST", "/vpbx/account/balance", status=401, body="no")
        with pytest.raises(Unauthorised):
            await channel(base_url=provider.url).check(tools)


async def test_dialling_waits_while_the_provider_cannot_be_reached():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        unreachable = provider.url
    async with tools_for(unreachable) as (tools, _):
        with pytest.raises(Temporary):
            await channel(base_url=unreachable).dial(DIAL, tools)


def test_what_is_kept_is_verified_by_the_same_bytes():
    request = payloads.REQUESTS[0]
    with pytest.raises(BadSignature):
        channel().verify(replace(request, body=request.body.replace(b"Appeared", b"Connected")), NOW)
