from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from channels import registry, voice_uis
from channels.contract import Checker, Dial, Dialler, Fetcher, ParseContext, TemplateSource
from channels.errors import Misconfigured, Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from core.kernel.envelopes import CallEvent
from core.kernel.errors import Rejected
from tests.channels.payloads import NOW
from tests.channels.payloads import voice_uis as payloads
from tests.channels.payloads.voice_uis import API_TOKEN, CALLS, CUSTOMER, LINE, TOKEN, posted, told
from tests.channels.provider import tools_for
from webhooks.errors import BadSignature, Malformed, NotConfigured, Unsupported
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
DIAL = Dial("77", "101", "+79161234567")
CALL_API, DATA_API = "/v4.0", "/v2.0"


def channel(**settings: Any) -> Any:
    return registry.build("voice_uis", {**payloads.SETTINGS, **settings})


def read(request: RawRequest, **settings: Any) -> Any:
    (event,) = channel(**settings).parse(request, CONTEXT)
    return event


def whole(name: str) -> list[Any]:
    return [read(request) for request in CALLS[name]]


def at(clock: str) -> datetime:
    """Return a moment of the samples: they are written in Moscow's time."""
    hour, _, rest = clock.partition(":")
    return datetime.fromisoformat(f"2026-11-20T{int(hour) - 3:02}:{rest}+00:00").astimezone(UTC)


# --- who may call us ---


def test_the_token_is_taken_wherever_a_cabinet_lets_one_write_it():
    basic = "Basic " + base64.b64encode(f"uis:{TOKEN}".encode()).decode()
    for more in ({}, {"query": "", "suffix": TOKEN}, {"query": "", "headers": {"authorization": basic}}):
        channel().verify(replace(payloads.REQUESTS[0], **more), NOW)


@pytest.mark.parametrize("query", ["", "token=another", "token="])
def test_forged_and_unsigned_requests_are_told(query):
    with pytest.raises(BadSignature):
        channel().verify(replace(payloads.REQUESTS[0], query=query), NOW)


def test_without_a_token_nothing_is_taken():
    with pytest.raises(NotConfigured):
        channel(token="").verify(payloads.REQUESTS[0], NOW)


def test_whoever_asks_who_rings_carries_the_token_or_the_secret_for_it():
    asks = RawRequest(method="GET", query="number=79161234567&token=l00k-up-s3cret", suffix="lookup")
    channel().verify(asks, NOW)
    channel().verify(replace(asks, query=f"number=79161234567&token={TOKEN}"), NOW)
    with pytest.raises(BadSignature):
        channel().verify(replace(asks, suffix=""), NOW)
    assert channel().asked(asks) == "79161234567"
    with pytest.raises(BadSignature):
        channel().verify(replace(asks, query="number=1"), NOW)


# --- what is told of calls ---


def test_every_kind_of_notification_says_exactly_this():
    common: dict[str, Any] = {"call_id": "206597836", "line": LINE}
    inbound = {**common, "direction": "inbound", "caller": CUSTOMER, "callee": LINE}
    assert whole("answered") == [
        CallEvent(key="call_started", phase="started", occurred_at=at("11:15:30.120"), **inbound),
        CallEvent(
            key="ringing:2345:287866221",
            phase="ringing",
            leg_id="101",
            extension="101",
            occurred_at=at("11:15:32"),
            **inbound,
        ),
        CallEvent(
            key="talk_started:2345:287866220,287866221",
            phase="answered",
            leg_id="101",
            extension="101",
            occurred_at=at("11:15:45"),
            **inbound,
        ),
        CallEvent(
            key="talk_finished:2345:287866220,287866221",
            phase="left",
            leg_id="101",
            extension="101",
            occurred_at=at("11:17:15"),
            **inbound,
        ),
        CallEvent(
            key="call_finished",
            phase="summary",
            extension="101",
            occurred_at=at("11:17:16"),
            started_at=at("11:15:30"),
            ended_at=at("11:17:16"),
            outcome="answered",
            talk_seconds=90,
            wait_seconds=15,
            detail="Рабочее время",
            **inbound,
        ),
        CallEvent(
            key=f"recording:{whole('answered')[5].recording_id}",
            phase="recorded",
            extension="101",
            occurred_at=at("11:17:40"),
            recording=payloads.RECORD,
            recording_id=whole("answered")[5].recording_id,
            recording_seconds=90,
            **common,
        ),
    ]


def test_a_call_that_nobody_took():
    found = [(event.phase, event.extension, event.outcome, event.wait_seconds) for event in whole("missed")]
    assert found == [
        ("started", "", "", None),
        ("ringing", "101", "", None),
        ("ended", "", "missed", 32),
        ("summary", "", "missed", 32),
    ]


def test_a_call_that_was_put_through_to_somebody_else():
    found = [(event.phase, event.extension) for event in whole("transferred")]
    assert found == [
        ("started", ""),
        ("ringing", "101"),
        ("answered", "101"),
        ("ringing", "102"),
        ("answered", "102"),
        ("left", "102"),
        ("summary", "102"),
    ]


def test_a_call_we_asked_for_says_our_id():
    placed, talk, finished = whole("outbound")
    for event in (placed, talk, finished):
        assert (event.direction, event.caller, event.callee, event.extension) == ("outbound", "101", CUSTOMER, "101")
    assert (placed.our_id, talk.our_id, finished.our_id) == ("", "77", "77")
    assert (finished.outcome, finished.talk_seconds) == ("answered", 60)


def test_without_a_list_of_employees_their_id_is_the_extension():
    assert read(CALLS["answered"][1], employees=[]).extension == "2345"


def test_moments_are_those_of_the_account_s_zone():
    (event,) = channel().parse(CALLS["missed"][0], CONTEXT._replace(time_zone="Asia/Yekaterinburg"))
    assert event.occurred_at == datetime(2026, 11, 20, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("more", "phase"),
    [
        ({"scenario_name": None}, "started"),
        ({"employee_phone_number": "101"}, "started"),
        ({"leg_id": 5}, "ringing"),
        ({"leg_ids": [5, 6]}, "answered"),
        ({"leg_ids": [5, 6], "talk_time_duration": 4}, "left"),
        ({"total_time_duration": 4, "talk_time_duration": 4, "direction": "in"}, "summary"),
        ({"wait_time_duration": 4, "employee_ids": []}, "ended"),
        ({"file_link": payloads.RECORD}, "recorded"),
    ],
)
def test_a_body_without_our_constant_is_told_by_its_fields(more, phase):
    body = {"notification_mnemonic": "x", "call_session_id": 7, "contact_phone_number": CUSTOMER, **more}
    assert read(posted(json.dumps(body))).phase == phase


def test_placeholders_that_were_not_replaced_and_empty_values_cost_nothing_else():
    body = '{"event": "ringing", "call_session_id": 7, "leg_id": {{leg_id}}, "employee_id": , "scenario": "{{x}}",\n'
    event = read(posted(body + ' "contact_phone_number": "79161234567", "direction": "in"}'))
    assert (event.phase, event.caller, event.extension) == ("ringing", CUSTOMER, "")


@pytest.mark.parametrize("body", ["{", "[]", '"x"', "event=ringing", '{"call_session_id": 7'])
def test_a_body_that_is_no_json_is_kept_and_explained(body):
    assert channel().route(posted(body)).dedupe_key.startswith("unread:")
    with pytest.raises(Malformed, match="Paste the one shown"):
        read(posted(body))


@pytest.mark.parametrize("body", ['{"event": "ringing"}', '{"event": "chat_started", "call_session_id": 7}', "{}"])
def test_what_tells_of_no_call_is_ignored_with_a_reason(body):
    with pytest.raises(Unsupported, match="call_session_id"):
        read(posted(body))


def test_a_get_says_the_same():
    query = f"token={TOKEN}&event=call_lost&call_session_id=7&contact_phone_number=%2279161234567%22&employee_ids=null"
    request = RawRequest(method="GET", query=query)
    channel().verify(request, NOW)
    assert (read(request).phase, read(request).caller, read(request).call_id) == ("ended", CUSTOMER, "7")


def test_a_repeat_is_told_and_no_two_words_of_a_call_are_the_same():
    for name, requests in CALLS.items():
        routed = [channel().route(request) for request in requests]
        assert len({each.dedupe_key for each in routed}) == len(routed), name
        assert len({each.peer for each in routed}) == 1
        assert len({event.key for event in whole(name)}) == len(requests)
    again = told("ringing", 206597836, "11:15:33", **payloads.VERA, leg_id=287866221)
    assert channel().route(again) == channel().route(CALLS["answered"][1])


def test_odd_numbers_are_left_out():
    event = read(told("call_finished", 7, "never", talk_time_duration=2**70, wait_time_duration=-1))
    assert (event.occurred_at, event.talk_seconds, event.wait_seconds, event.outcome) == (None, None, None, "")


def test_the_answer_is_empty():
    reply = channel().acknowledge(payloads.REQUESTS[0], "r1")
    assert (reply.status, reply.body) == (200, b"")


# --- the bodies to paste ---


def test_there_is_a_body_for_every_event_and_each_says_which():
    found = voice_uis.templates("https://hub.example/hooks/k?token=t")
    assert {each.event for each in found} == {
        *("call_started", "call_placed", "ringing", "talk_started", "talk_finished"),
        *("call_finished", "call_lost", "recording"),
    }
    for each in found:
        assert (each.method, each.url) == ("POST", "https://hub.example/hooks/k?token=t")
        assert f'"event": "{each.event}"' in each.body
        assert '"call_session_id": {{call_session_id}}' in each.body
        assert each.name
    assert not isinstance(channel(), TemplateSource), "these are no templates of messages"


@pytest.mark.parametrize("line", ["101", "101 = Vera", "= 5"])
def test_employees_are_an_extension_and_an_id(line):
    with pytest.raises(Rejected, match="101 = 25"):
        channel(employees=[line])


# --- calls we ask for ---


async def test_a_call_is_asked_for_as_documented(provider, tools):
    provider.answers(
        "POST", CALL_API, json={"jsonrpc": "2.0", "id": "77", "result": {"data": {"call_session_id": 237859081}}}
    )
    assert (await channel(base_url=provider.url).dial(DIAL, tools)).call_id == "237859081"
    assert provider.asked[0].json == {
        "jsonrpc": "2.0",
        "id": "77",
        "method": "start.employee_call",
        "params": {
            "access_token": API_TOKEN,
            "first_call": "employee",
            "switch_at_once": True,
            "direction": "out",
            "virtual_phone_number": LINE,
            "contact": "79161234567",
            "external_id": "77",
            "employee": {"id": 2345},
        },
    }
    await channel(base_url=provider.url).dial(Dial("78", "900", "+79161234567", "+74990000000"), tools)
    assert provider.asked[1].json["params"]["employee"] == {"id": 900}
    assert provider.asked[1].json["params"]["virtual_phone_number"] == "74990000000"


async def test_what_is_missing_is_explained_before_anything_is_asked(provider, tools):
    with pytest.raises(Misconfigured, match="API key"):
        await channel(base_url=provider.url, api_token="").dial(DIAL, tools)
    with pytest.raises(Undeliverable, match="Whose extension is 'vera'"):
        await channel(base_url=provider.url).dial(Dial("1", "vera", "+79161234567"), tools)
    assert provider.asked == []


@pytest.mark.parametrize(
    ("code", "mnemonic", "field", "error"),
    [
        (-32001, "access_token_invalid", None, Unauthorised),
        (-32001, "access_token_expired", None, Unauthorised),
        (-32002, "contact_in_blacklist", None, Undeliverable),
        (-32003, "ip_not_whitelisted", None, Misconfigured),
        (-32007, "virtual_phone_number_not_found", None, Misconfigured),
        (-32602, "required_parameter_missed", "virtual_phone_number", Misconfigured),
        (-32008, "component_disabled", None, Misconfigured),
        (-32009, "account_inactive", None, Misconfigured),
        (-32029, "limit_exceeded", None, Throttled),
        (-32602, "employee_not_found", None, Undeliverable),
        (-32602, "invalid_parameter_value", "contact", Undeliverable),
        (-32603, "internal_error", None, Temporary),
    ],
)
async def test_an_error_inside_a_success_says_what_happens_next(provider, tools, code, mnemonic, field, error):
    limits = {"limits": {"day_remaining": 10, "minute_remaining": 0, "minute_reset": 17, "day_reset": 9000}}
    data = {"mnemonic": mnemonic, "field": field, "metadata": limits}
    provider.answers(
        "POST", CALL_API, json={"jsonrpc": "2.0", "id": "77", "error": {"code": code, "message": "why", "data": data}}
    )
    with pytest.raises(error, match="why") as raised:
        await channel(base_url=provider.url).dial(DIAL, tools)
    assert type(raised.value) is error
    assert error is not Throttled or raised.value.retry_after == 17


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, "no", Unauthorised),
        (403, "{}", Unauthorised),
        (429, "slow", Throttled),
        (500, "oops", Temporary),
        (502, "{}", Temporary),
        (200, "<html>", Uncertain),
        (200, "[]", Uncertain),
        (200, '{"result": {"data": {}}}', Uncertain),
        (200, '{"result": null}', Uncertain),
    ],
)
async def test_other_answers_say_what_happens_next(provider, tools, status, body, error):
    provider.answers("POST", CALL_API, status=status, body=body, headers={"Retry-After": "7"})
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).dial(DIAL, tools)
    assert type(raised.value) is error
    assert error is not Throttled or raised.value.retry_after == 7


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", CALL_API)
    async with tools_for(provider.url, secrets=(API_TOKEN,)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).dial(DIAL, tools)
    assert exchanges
    assert API_TOKEN not in repr(exchanges)


# --- recordings, the account ---


async def test_a_recording_is_fetched_by_its_address(provider, tools):
    provider.answers("GET", "/system/media/talk/1/abc/", body=b"ID3", content_type="audio/mpeg")
    fetched = await channel().fetch_media(f"{provider.url}/system/media/talk/1/abc/", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"ID3"
    assert fetched.content_type == "audio/mpeg"
    assert "authorization" not in provider.asked[0].headers


@pytest.mark.parametrize(("status", "error"), [(404, Undeliverable), (403, Undeliverable), (503, Temporary)])
async def test_a_recording_that_is_not_to_be_had_says_what_happens_next(provider, tools, status, error):
    provider.answers("GET", ".*", status=status)
    with pytest.raises(error):
        await channel().fetch_media(f"{provider.url}/gone", tools)
    with pytest.raises(Undeliverable):
        await channel().fetch_media("gone", tools)


async def test_a_check_shows_the_employees_ids(provider, tools):
    employees = [
        {"id": 2345, "full_name": "Вера Иванова", "extension": {"extension_phone_number": "101"}},
        {"id": 2346, "full_name": "Олег Петров", "extension": None},
    ]
    provider.answers("POST", DATA_API, json={"jsonrpc": "2.0", "id": "check", "result": {"data": employees}})
    checked = await channel(base_url=provider.url).check(tools)
    assert checked.facts == {"employees": "101 = 2345 (Вера Иванова); — = 2346 (Олег Петров)"}
    assert provider.asked[0].json["method"] == "get.employees"
    provider.answers("POST", DATA_API, json={"error": {"code": -32001, "message": "why"}})
    with pytest.raises(Unauthorised):
        await channel(base_url=provider.url).check(tools)


async def test_a_check_without_a_key_says_what_it_would_be_for(provider, tools):
    checked = await channel(base_url=provider.url, api_token="").check(tools)
    assert "API key" in checked.detail
    assert provider.asked == []


def test_it_is_what_the_hub_asks_for():
    made = channel(proof_seconds=40)
    assert all(isinstance(made, protocol) for protocol in (Dialler, Fetcher, Checker))
    assert made.rules.proof_seconds == 40
