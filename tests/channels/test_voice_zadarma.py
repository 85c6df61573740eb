from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from channels import registry
from channels.contract import Advice, Consulter, Dial, Dialled, Dialler, Fetcher, ParseContext, Telephone
from channels.errors import Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from core.kernel.envelopes import CallEvent
from tests.channels.payloads import NOW
from tests.channels.payloads import voice_zadarma as payloads
from tests.channels.payloads.voice_zadarma import ONE, posted
from tests.channels.provider import playing, tools_for
from webhooks.errors import BadSignature, Malformed, NotConfigured, Unsupported
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
STARTED = datetime(2026, 11, 20, 8, 15, 30, tzinfo=UTC)
SETTINGS = {**payloads.SETTINGS, "api_key": "8a8e91d214fb728889c7"}


def channel(**settings: Any) -> Any:
    return registry.build("voice_zadarma", {**payloads.SETTINGS, **settings})


def read(form: dict[str, str], **more: bool) -> list[Any]:
    request = posted(form, **more)
    channel().verify(request, NOW)
    return list(channel().parse(request, CONTEXT))


def test_it_is_a_telephone_that_dials_asks_and_keeps_recordings():
    assert all(isinstance(channel(), protocol) for protocol in (Telephone, Dialler, Consulter, Fetcher))
    assert channel(call_back_minutes=7).rules.call_back_minutes == 7


# --- genuine or not ---


def test_a_known_signature_is_accepted():
    form = "event=NOTIFY_START&caller_id=380442222222&called_did=380443333333&call_start=2026-10-20+11%3A15%3A30"
    signature = "MmI2ZDE1Nzg0MDEwNGYyYTMzMzM3ZDAyNDRmMmU3ODY1YTUzYWQ4Yg=="
    request = RawRequest(form.encode(), headers={"signature": signature})
    channel().verify(request, NOW)
    with pytest.raises(BadSignature):
        channel().verify(replace(request, body=request.body.replace(b"22", b"23", 1)), NOW)
    with pytest.raises(BadSignature, match="no signature"):
        channel().verify(RawRequest(form.encode()), NOW)
    with pytest.raises(NotConfigured):
        channel(api_secret="").verify(request, NOW)


@pytest.mark.parametrize("form", [payloads.ANSWER, payloads.OUT_END, payloads.RECORD, payloads.IVR, payloads.SMS])
def test_every_event_has_a_signature_of_its_own(form):
    request = posted(form)
    channel().verify(request, NOW)
    with pytest.raises(BadSignature):
        channel().verify(replace(request, headers={"signature": payloads.signature("something else")}), NOW)
    other = {**form, "event": "NOTIFY_RECORD" if form["event"] != "NOTIFY_RECORD" else "NOTIFY_START"}
    with pytest.raises(BadSignature):
        channel().verify(replace(posted(other), headers=request.headers), NOW)


def test_the_signature_is_over_what_was_sent_and_not_over_what_is_kept():
    decomposed = {**payloads.SMS, "result": '{"text":"Й\r\n\x01"}'}
    channel().verify(posted(decomposed), NOW)
    channel().verify(posted(decomposed, wrong_boundary=True), NOW)


def test_an_event_that_is_documented_nowhere_is_signed_like_another_and_breaks_nothing():
    (event,) = read(payloads.INTERNAL_END)
    assert (event.phase, event.extension, event.leg_id, event.detail) == ("left", "101", "101", "answered")
    with pytest.raises(BadSignature):
        channel().verify(replace(posted(payloads.INTERNAL_END), headers={"signature": payloads.signature("")}), NOW)
    with pytest.raises(BadSignature):
        empty = posted({"event": "NOTIFY_NEW"})
        channel().verify(empty, NOW)


def test_a_multipart_whose_header_names_another_boundary_is_read():
    assert read(payloads.START, wrong_boundary=True) == read(payloads.START)
    with pytest.raises(Malformed):
        channel().verify(RawRequest(b"--", headers={"signature": "x"}), NOW)


# --- entering the address ---


def test_the_echo_is_given_back_word_for_word_and_nothing_else_is():
    reply = channel().handshake(RawRequest(method="GET", query="zd_echo=aB3-9z"))
    assert (reply.body, reply.status, reply.content_type.partition(";")[0]) == (b"aB3-9z", 200, "text/plain")
    assert channel().handshake(RawRequest(method="GET", query="zd_echo=%0d%0aSet-Cookie:x")) is None
    assert channel().handshake(RawRequest(method="GET", query="zd_echo=" + "x" * 300)) is None
    assert channel().handshake(RawRequest(method="POST", query="zd_echo=1")) is None
    assert channel().handshake(RawRequest(method="GET", query="number=1&" * 60)) is None


# --- reading ---


def test_the_start_of_a_call():
    assert read(payloads.START) == [
        CallEvent(
            call_id=ONE,
            key="NOTIFY_START",
            phase="started",
            occurred_at=STARTED,
            started_at=STARTED,
            direction="inbound",
            caller="79161234567",
            callee="74951112233",
            line="74951112233",
        )
    ]


def test_a_phone_that_rings_and_one_that_is_taken():
    (rings,) = read(payloads.INTERNAL)
    assert (rings.phase, rings.extension, rings.leg_id, rings.occurred_at) == ("ringing", "101", "101", None)
    (taken,) = read(payloads.ANSWER)
    assert (taken.phase, taken.extension, taken.direction, taken.caller) == ("answered", "101", "inbound", rings.caller)
    (bare,) = read({**payloads.ANSWER, "internal": ""})
    assert bare.extension == "101"
    (again,) = read({**payloads.INTERNAL, "call_start": "2026-11-20 11:16:00"})
    assert rings.key != again.key


def test_a_menu_answers_nothing():
    (event,) = read(payloads.IVR)
    assert (event.phase, event.detail) == ("menu", "2")
    (other,) = read({**payloads.IVR, "wait_dtmf": "", "wait_dtmf[digits]": "3"})
    assert (other.detail, other.key == event.key) == ("3", False)


def test_the_end_says_all_and_names_the_recording():
    end, recorded = read(payloads.END)
    assert end == CallEvent(
        call_id=ONE,
        key="NOTIFY_END",
        phase="summary",
        direction="inbound",
        caller="79161234567",
        callee="74951112233",
        line="74951112233",
        extension="101",
        outcome="answered",
        started_at=STARTED,
        talk_seconds=125,
        detail="answered",
    )
    assert recorded == CallEvent(
        call_id=ONE,
        key="recorded:1763626530.92858",
        phase="recorded",
        recording="1763626530.92858",
        recording_id="1763626530.92858",
    )
    assert read(payloads.RECORD) == [recorded]


def test_an_end_that_only_a_menu_may_have_answered_decides_nothing():
    (event,) = read({**payloads.END, "internal": "", "is_recorded": "0"})
    assert (event.phase, event.outcome, event.talk_seconds) == ("ended", "", None)


@pytest.mark.parametrize(
    ("form", "disposition", "expected"),
    [
        (payloads.MISSED, "cancel", ("summary", "missed", 0)),
        (payloads.MISSED, "no answer", ("summary", "missed", 0)),
        (payloads.MISSED, "Busy", ("summary", "busy", 0)),
        (payloads.MISSED, "something new", ("ended", "", None)),
        ({**payloads.OUT_END, "is_recorded": "0"}, "cancel", ("summary", "canceled", 0)),
        ({**payloads.OUT_END, "is_recorded": "0"}, "no money, no limit", ("summary", "failed", 0)),
    ],
)
def test_how_a_call_ends(form, disposition, expected):
    (event,) = read({**form, "disposition": disposition})
    assert (event.phase, event.outcome, event.talk_seconds) == expected


def test_a_call_out():
    (start,) = read(payloads.OUT_START)
    assert (start.direction, start.caller, start.callee, start.line, start.extension) == (
        "outbound",
        "101",
        "79035556677",
        "74951112233",
        "101",
    )
    (hidden,) = read({**payloads.OUT_START, "caller_id": "0"})
    assert hidden.line == ""
    (taken,) = list(channel().parse(payloads.CALLS["outbound"][1], CONTEXT))
    assert (taken.phase, taken.direction, taken.extension, taken.callee) == (
        "answered",
        "outbound",
        "101",
        start.callee,
    )


@pytest.mark.parametrize("form", [payloads.SMS, payloads.LOOKUP, payloads.SPEECH, {"event": "CALL_TRACKING"}])
def test_what_is_no_call_is_of_no_use(form):
    with pytest.raises(Unsupported):
        channel().parse(posted(form), CONTEXT)


def test_an_event_without_a_call_is_malformed():
    with pytest.raises(Malformed):
        channel().parse(posted({**payloads.START, "pbx_call_id": ""}), CONTEXT)


@pytest.mark.parametrize("name", payloads.CALLS)
def test_whole_calls_are_told_by_one_id_and_every_event_by_a_key(name):
    requests = payloads.CALLS[name]
    for request in requests:
        channel().verify(request, NOW)
    events = [event for request in requests for event in channel().parse(request, CONTEXT)]
    assert len({event.call_id for event in events}) == 1
    assert {channel().route(request).peer for request in requests} == {events[0].call_id}
    assert len({channel().route(request).dedupe_key for request in requests}) == len(requests)
    told = {(event.key, event.phase) for event in events}
    assert len(told) == len({event.key for event in events})
    assert events[-1].phase in ("summary", "recorded")


def test_a_repeat_is_known_though_its_boundary_differs():
    one, two = posted(payloads.MISSED), posted(payloads.MISSED, wrong_boundary=True)
    assert channel().route(one) == channel().route(two)


def test_the_acknowledgement_is_no_command():
    assert channel().acknowledge(posted(payloads.START), "r1").body == b""


# --- who rings ---


def test_a_start_asks_and_is_kept_and_a_lookup_only_asks():
    start, lookup = posted(payloads.START), posted(payloads.LOOKUP)
    assert (channel().asked(start), channel().is_question(start)) == ("79161234567", False)
    channel().verify(lookup, NOW)
    assert (channel().asked(lookup), channel().is_question(lookup)) == ("79161234567", True)
    assert channel().asked(posted({**payloads.LOOKUP, "result": "[["})) == ""
    assert channel().asked(posted(payloads.END)) is None
    with pytest.raises(BadSignature):
        channel().verify(replace(lookup, headers={}, query="token=asks-who-rings"), NOW)


@pytest.mark.parametrize(
    "body",
    [b"", b"--", b"--x\r\n\r\n", b"NUMBER_LOOKUP", b"&" * 2000, b"event=NUMBER_LOOKUP&result=%ff[[", b"\xff\x00"],
)
def test_whatever_comes_can_be_asked_whether_it_asks(body):
    request = RawRequest(body, suffix="x")
    assert channel().asked(request) in (None, "")
    assert channel().is_question(request) in (True, False)
    assert channel().advise(request, Advice()).body == b""


def test_the_caller_is_put_through_to_their_manager_by_zadarma_s_words():
    start = posted(payloads.START)
    known = Advice(is_known=True, name="Анна", extension="102", manager="Olga")
    assert channel().advise(start, known).body == '{"redirect":"102","return_timeout":20,"caller_name":"Анна"}'.encode()
    for advice in (Advice(), Advice(is_known=True, name="Anna"), Advice(is_known=True, extension="blacklist")):
        assert channel().advise(start, advice).body == b"", "nothing that is taken for a command"
    assert channel().advise(start, Advice(is_known=True, extension="1")).body == b"", "1 is a scenario, not a phone"


def test_a_dialplan_may_ask_as_well():
    question = RawRequest(method="GET", suffix="lookup", query="number=79161234567&token=asks-who-rings")
    channel().verify(question, NOW)
    assert channel().asked(question) == "79161234567"
    assert b'"known":true' in channel().advise(question, Advice(is_known=True)).body
    with pytest.raises(BadSignature):
        channel().verify(replace(question, query="number=1"), NOW)


# --- the way out ---

DIAL = Dial("d-1", "100", "+67200000000")
CALLBACK = "/v1/request/callback/"


async def test_a_callback_is_asked_for_as_documented():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("GET", CALLBACK, json={"status": "success", "from": 100, "to": 67200000000, "time": 1})
        made = await channel(**SETTINGS, base_url=provider.url).dial(DIAL, tools)
    (asked,) = provider.asked
    assert made == Dialled("")
    assert asked.query == {"from": "100", "to": "67200000000", "sip": "100"}
    key, _, signature = asked.headers["authorization"].partition(":")
    assert (key, signature) == ("8a8e91d214fb728889c7", API_SIGNATURE)


def by_the_book(secret: str, path: str, query: str) -> str:
    text = path + query + hashlib.md5(query.encode()).hexdigest()
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).hexdigest().encode()).decode()


API_SIGNATURE = by_the_book(payloads.SECRET, CALLBACK, "from=100&sip=100&to=67200000000")


def test_the_signature_of_requests_is_the_known_one():
    query = "from=73919100000&predicted=predicted&sip=100&to=67200000000"
    known = "ODE1NGRlMGQ1ZmY3NDVmY2M1Njc2MzNkMTEyNTRjNGE1ODZhYjJlYQ=="
    assert by_the_book("8a8e91d214fb728889c7", CALLBACK, query) == known


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"status": "error", "message": "Not authorized"}, Unauthorised),
        (200, {"status": "error", "message": "Not authorized"}, Unauthorised),
        (200, {"status": "error", "message": "Wrong number"}, Undeliverable),
        (400, {"status": "error", "message": "Wrong parameters"}, Undeliverable),
        (429, {"status": "error", "message": "You exceeded the rate limit"}, Throttled),
        (500, None, Temporary),
        (200, None, Uncertain),
    ],
)
async def test_what_refusals_of_a_callback_mean(status, body, error):
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("GET", CALLBACK, status=status, json=body, body="<html>", headers={"Retry-After": "7"})
        with pytest.raises(error) as raised:
            await channel(base_url=provider.url).dial(DIAL, tools)
    assert type(raised.value) is error
    if error is Throttled:
        assert raised.value.retry_after == 7


async def test_a_callback_whose_answer_never_came_may_have_been_placed_and_is_asked_for_once():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.breaks("GET", CALLBACK)
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).dial(DIAL, tools)
    assert len(provider.asked) == 1


async def test_a_recording_is_fetched_by_a_link_that_is_asked_for():
    async with playing() as provider, tools_for(provider.url) as (tools, exchanges):
        link = f"{provider.url}/files/1.mp3?expires=1"
        provider.answers("GET", "/v1/pbx/record/request/", json={"status": "success", "link": link})
        provider.answers("GET", "/files/1.mp3", body=b"ID3 sound", content_type="audio/mpeg")
        fetched = await channel(base_url=provider.url).fetch_media("1763626530.92858", tools)
        assert b"".join([chunk async for chunk in fetched.chunks]) == b"ID3 sound"
        assert (fetched.content_type, fetched.name) == ("audio/mpeg", "1763626530.92858.mp3")
        assert provider.asked[0].query == {"call_id": "1763626530.92858"}
        assert "authorization" not in provider.asked[1].headers
        provider.answers("GET", "/v1/pbx/record/request/", json={"status": "success", "links": [link]})
        await channel(base_url=provider.url).fetch_media("pbx:" + ONE, tools)
        assert provider.asked[2].query == {"pbx_call_id": ONE}
    assert all(payloads.SECRET not in str(exchange) for exchange in exchanges)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {"status": "error", "message": "not found"}, Temporary),
        (200, {"status": "success", "links": []}, Temporary),
        (404, {"status": "error"}, Temporary),
        (410, {"status": "error", "message": "deleted"}, Undeliverable),
        (401, {"status": "error"}, Unauthorised),
        (200, None, Temporary),
    ],
)
async def test_a_recording_that_is_not_there_is_waited_for(status, body, error):
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("GET", "/v1/pbx/record/request/", status=status, json=body, body="?")
        with pytest.raises(error) as raised:
            await channel(base_url=provider.url).fetch_media("1.1", tools)
    assert type(raised.value) is error


async def test_a_link_that_is_dead_or_leads_inside_is_not_followed():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        for link in (f"{provider.url}/gone", "http://127.0.0.1:1/x", "file:///etc/passwd"):
            provider.answers("GET", "/v1/pbx/record/request/", json={"status": "success", "link": link})
            with pytest.raises(Undeliverable):
                await channel(base_url=provider.url).fetch_media("1.1", tools)
        with pytest.raises(Undeliverable):
            await channel(base_url=provider.url).fetch_media("../x?y", tools)


async def test_a_check_tells_balance_and_time_zone():
    async with playing() as provider, tools_for(provider.url) as (tools, _):
        provider.answers("GET", "/v1/info/balance/", json={"status": "success", "balance": 10.34, "currency": "USD"})
        assert (await channel(base_url=provider.url).check(tools)).facts == {"balance": "10.34 USD"}
        provider.answers("GET", "/v1/info/timezone/", json={"status": "success", "timezone": "UTC+3"})
        checked = await channel(base_url=provider.url).check(tools)
        assert checked.facts == {"balance": "10.34 USD", "time zone": "UTC+3"}
        provider.answers("GET", "/v1/info/balance/", status=401, json={"status": "error", "message": "Not authorized"})
        with pytest.raises(Unauthorised):
            await channel(base_url=provider.url).check(tools)
