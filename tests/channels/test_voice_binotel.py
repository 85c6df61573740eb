from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from channels import registry
from channels.contract import Advice, Checker, Consulter, Dial, Dialler, Fetcher, ParseContext
from channels.errors import Misconfigured, Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from core.kernel.envelopes import CallEvent
from core.kernel.errors import Rejected
from tests.channels.payloads import NOW
from tests.channels.payloads import voice_binotel as payloads
from tests.channels.payloads.voice_binotel import CALLS, CUSTOMER, LINE, SECRET, TOKEN, asks, completed, posted, told
from tests.channels.provider import tools_for
from webhooks.errors import BadSignature, Malformed, NotConfigured, Refused, Unsupported
from webhooks.request import RawRequest

CONTEXT = ParseContext("UA", "Europe/Kyiv", NOW)
DIAL = Dial("77", "901", "+380501234567")
CALL = "/calls/internal-number-to-external-number.json"
RECORD = "/stats/call-record.json"
EMPLOYEES = "/settings/list-of-employees.json"
STARTED = datetime(2026, 11, 20, 7, 40, tzinfo=UTC)


def channel(**settings: Any) -> Any:
    return registry.build("voice_binotel", {**payloads.SETTINGS, **settings})


def read(request: RawRequest, **settings: Any) -> list[Any]:
    return list(channel(**settings).parse(request, CONTEXT))


def whole(name: str) -> list[Any]:
    return [event for request in CALLS[name] for event in read(request)]


# --- who may call us ---


@pytest.mark.parametrize("query", ["", "token=another", "token="])
def test_forged_and_unsigned_requests_are_told(query):
    for request in (payloads.REQUESTS[0], asks()):
        with pytest.raises(BadSignature):
            channel().verify(replace(request, query=query), NOW)


def test_without_a_token_nothing_is_taken():
    with pytest.raises(NotConfigured):
        channel(token="").verify(payloads.REQUESTS[0], NOW)


@pytest.mark.parametrize("client", ["194.88.218.7", "194.88.219.67", "::ffff:194.88.218.7"])
def test_the_addresses_that_are_allowed_are(client):
    channel().verify(replace(payloads.REQUESTS[0], client=client), NOW)


@pytest.mark.parametrize("client", ["194.88.219.68", "8.8.8.8", "", "::1", "nobody"])
def test_other_addresses_are_not_unless_nobody_listed_any(client):
    request = replace(payloads.REQUESTS[0], client=client)
    with pytest.raises(Refused, match="address"):
        channel().verify(request, NOW)
    channel(addresses=[]).verify(request, NOW)


@pytest.mark.parametrize("name", ["companyID", "callDetails[companyID]"])
def test_another_company_s_calls_are_refused(name):
    request = posted({"requestType": "receivedTheCall", "generalCallID": "1", name: "1"})
    with pytest.raises(Refused, match="another company"):
        channel().verify(request, NOW)
    channel(company_id="").verify(request, NOW)


def test_addresses_that_are_none_are_refused_in_the_settings():
    with pytest.raises(Rejected, match="no IP address"):
        channel(addresses=["binotel.ua"])


# --- what is told of calls ---


def test_every_kind_of_request_says_exactly_this():
    common: dict[str, Any] = {
        "call_id": "829711662",
        "direction": "inbound",
        "caller": CUSTOMER,
        "callee": LINE,
        "line": LINE,
    }
    received, rings, answered, hung_up, summary, recorded, *_ = whole("answered")
    assert received == CallEvent(key="receivedTheCall:", phase="started", **common)
    assert rings == CallEvent(key="receivedTheCall:901", phase="ringing", leg_id="901", extension="901", **common)
    assert answered == CallEvent(key="answeredTheCall:901", phase="answered", leg_id="901", extension="901", **common)
    assert hung_up == CallEvent(
        call_id="829711662", key="hangupTheCall", phase="ended", outcome="answered", talk_seconds=95
    )
    assert summary == CallEvent(
        key="apiCallCompleted",
        phase="summary",
        extension="901",
        outcome="answered",
        started_at=STARTED,
        answered_at=STARTED + timedelta(seconds=12),
        ended_at=STARTED + timedelta(seconds=107),
        talk_seconds=95,
        wait_seconds=12,
        **common,
    )
    assert recorded == CallEvent(
        call_id="829711662",
        key="recording",
        phase="recorded",
        recording="829711662",
        recording_id="829711662",
        recording_seconds=95,
    )


def test_a_call_that_nobody_took():
    assert [(event.phase, event.extension, event.outcome) for event in whole("missed")] == [
        ("ringing", "901", ""),
        ("ended", "", "missed"),
        ("summary", "", "missed"),
    ]
    assert whole("missed")[-1].answered_at is None


def test_a_call_that_was_put_through_to_somebody_else():
    assert [(event.phase, event.extension) for event in whole("transferred")] == [
        ("ringing", "901"),
        ("answered", "901"),
        ("transferred", "902"),
        ("answered", "902"),
        ("summary", "902"),
        ("recorded", ""),
    ]
    assert (whole("transferred")[4].outcome, whole("transferred")[4].detail) == ("answered", "TRANSFER")


def test_a_call_that_goes_out():
    placed, *_, summary, _ = whole("outbound")
    assert (placed.phase, placed.direction, placed.caller, placed.callee) == ("started", "outbound", "901", CUSTOMER)
    assert (summary.direction, summary.talk_seconds) == ("outbound", 60)


@pytest.mark.parametrize(
    ("disposition", "seconds", "outcome", "is_recorded"),
    [
        ("ANSWER", 5, "answered", True),
        ("ANSWER", 0, "missed", False),
        ("TRANSFER", 5, "answered", True),
        ("BUSY", 0, "busy", False),
        ("NOANSWER", 0, "missed", False),
        ("CANCEL", 0, "canceled", False),
        ("CONGESTION", 0, "failed", False),
        ("CHANUNAVAIL", 0, "failed", False),
        ("VM", 3, "missed", False),
        ("VM-SUCCESS", 9, "voicemail", True),
        ("answer", 5, "answered", True),
        ("NEWS", 5, "", False),
    ],
)
def test_how_a_call_ended(disposition, seconds, outcome, is_recorded):
    summary, *more = read(completed(7, disposition, seconds, start=payloads.START, wait=1))
    assert (summary.outcome, summary.talk_seconds, bool(more)) == (outcome, seconds, is_recorded)


def test_a_call_that_goes_on_is_not_over_and_an_sms_is_no_call():
    (event,) = read(completed(7, "ONLINE", 5, start=payloads.START, wait=1))
    assert (event.phase, event.outcome) == ("started", "")
    with pytest.raises(Unsupported):
        read(completed(7, "SMS-SENDING-SUCCESS", 0, start=payloads.START, wait=0))


def test_json_says_the_same_and_a_missing_type_is_told_by_what_is_there():
    details = {"generalCallID": 7, "callType": 0, "disposition": "ANSWER", "billsec": 5, "externalNumber": CUSTOMER}
    for body in (
        {"requestType": "apiCallCompleted", "callDetails": details},
        {"callDetails": {"7": details}},
    ):
        summary, _ = read(replace(payloads.REQUESTS[0], body=json.dumps(body).encode()))
        assert (summary.phase, summary.call_id, summary.caller) == ("summary", "7", CUSTOMER)
    (ended,) = read(posted({"generalCallID": "7", "billsec": "0", "disposition": "BUSY"}))
    (rings,) = read(posted({"generalCallID": "7", "callType": "0", "extNumber": "901", "srcNumber": CUSTOMER}))
    assert (ended.phase, ended.outcome) == ("ended", "busy")
    assert (rings.phase, rings.extension, rings.caller) == ("ringing", "901", CUSTOMER)


@pytest.mark.parametrize("form", [{"requestType": "apiCallSettings", "externalNumber": "1"}, {"requestType": "news"}])
def test_what_tells_of_no_call_is_ignored_with_a_reason(form):
    with pytest.raises(Unsupported, match="generalCallID"):
        read(posted(form))


def test_what_cannot_be_read_is_malformed():
    for body in (b"", b"{", b"{}["):
        with pytest.raises(Malformed):
            read(replace(payloads.REQUESTS[0], body=body))


def test_odd_brackets_and_numbers_cost_nothing_else():
    form = {"callDetails": "x", "callDetails[a][b][c][d][e][f][g][h]": "1", "callDetails[generalCallID]": "7"}
    (event,) = read(posted({**form, "requestType": "hangupTheCall", "billsec": "9" * 20, "generalCallID": "8"}))
    assert event.talk_seconds is None


def test_a_repeat_is_told_and_no_two_words_of_a_call_are_the_same():
    first, again = CALLS["answered"][-2:]
    assert channel().route(first) == channel().route(again)
    assert read(first) == read(again)
    for name, requests in CALLS.items():
        different = requests[:-1] if name == "answered" else requests
        routed = [channel().route(request) for request in different]
        assert len({each.dedupe_key for each in routed}) == len(different), name
        assert len({each.peer for each in routed}) == 1
        keys = [event.key for request in different for event in read(request)]
        assert len(set(keys)) == len(keys)


def test_the_answer_is_what_keeps_binotel_from_repeating():
    reply = channel().acknowledge(payloads.REQUESTS[0], "r1")
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "success"})


# --- who rings ---

KNOWN = Advice(True, "Ірина Коваль", "901", "Віра Мельник", "uk", "5", "https://hub.example/contacts/5")


def test_binotel_asks_who_rings_and_that_is_not_kept():
    channel().verify(asks(), NOW)
    assert channel().is_question(asks())
    assert channel().asked(asks()) == CUSTOMER
    for request in (told("receivedTheCall", 7), replace(asks(), body=b"{")):
        assert not channel().is_question(request)
        assert channel().asked(request) is None


def test_a_known_caller_is_named_and_put_through_to_their_manager():
    said = json.loads(channel().advise(asks(), KNOWN).body)
    assert said == {
        "customerData": {
            "name": "Ірина Коваль",
            "description": "Віра Мельник",
            "linkToCrmUrl": "https://hub.example/contacts/5",
            "linkToCrmTitle": "Switchyard",
            "assignedToEmployeeNumber": "901",
        }
    }
    assert "assignedToEmployeeNumber" not in json.loads(channel().advise(asks("1"), KNOWN).body)["customerData"]
    alone = json.loads(channel().advise(asks(), KNOWN._replace(extension="", url="", manager="")).body)
    assert alone == {"customerData": {"name": "Ірина Коваль"}}


def test_nothing_is_said_of_somebody_unknown():
    assert channel().advise(asks(), Advice()) == channel().acknowledge(asks(), "")


def test_any_pbx_may_ask_as_well():
    question = RawRequest(method="GET", query="number=0501234567&token=l00k-up-s3cret", suffix="lookup")
    channel().verify(question, NOW)
    channel().verify(replace(question, query=f"number=0501234567&token={TOKEN}"), NOW)
    with pytest.raises(BadSignature):
        channel().verify(replace(question, suffix=""), NOW)
    assert channel().asked(question) == CUSTOMER
    assert json.loads(channel().advise(question, KNOWN).body)["extension"] == "901"
    with pytest.raises(BadSignature):
        channel().verify(replace(question, query="number=1"), NOW)


# --- calls we ask for ---


@pytest.mark.parametrize(
    ("number", "written"),
    [("+380501234567", "0501234567"), ("+77011234567", "77011234567"), ("+380 (50) 123-45-67", "0501234567")],
)
async def test_a_call_is_asked_for_as_documented(provider, tools, number, written):
    provider.answers("POST", CALL, json={"status": "success", "generalCallID": 829712000})
    assert (await channel(base_url=provider.url).dial(Dial("77", "901", number), tools)).call_id == "829712000"
    assert provider.asked[0].json == {
        "key": "a1b2c3-key",
        "secret": SECRET,
        "internalNumber": "901",
        "externalNumber": written,
    }


async def test_the_line_to_show_is_the_call_s_or_the_usual_one(provider, tools):
    provider.answers("POST", CALL, json={"status": "success", "generalCallID": 1})
    made = channel(base_url=provider.url, line=LINE)
    await made.dial(DIAL, tools)
    await made.dial(DIAL._replace(line="+380443334024"), tools)
    assert [asked.json["pbxNumber"] for asked in provider.asked] == [LINE, "0443334024"]


async def test_without_credentials_nothing_is_asked(provider, tools):
    for missing in ({"api_key": ""}, {"api_secret": ""}):
        with pytest.raises(Misconfigured, match="API key"):
            await channel(base_url=provider.url, **missing).dial(DIAL, tools)
    assert provider.asked == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("102", Undeliverable),
        ("103", Undeliverable),
        ("104", Undeliverable),
        ("105", Temporary),
        ("106", Throttled),
        ("120", Misconfigured),
        ("121", Unauthorised),
        ("150", Undeliverable),
        ("151", Undeliverable),
    ],
)
async def test_an_error_inside_a_success_says_what_happens_next(provider, tools, code, error):
    provider.answers("POST", CALL, json={"status": "error", "code": code, "message": "why"})
    with pytest.raises(error, match="why") as raised:
        await channel(base_url=provider.url).dial(DIAL, tools)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, "no", Unauthorised),
        (403, '{"status": "error", "message": "why"}', Unauthorised),
        (429, "slow", Throttled),
        (500, "oops", Temporary),
        (502, '{"status": "error"}', Temporary),
        (200, "<html>", Uncertain),
        (200, "[]", Uncertain),
        (200, '{"status": "success"}', Uncertain),
    ],
)
async def test_other_answers_say_what_happens_next(provider, tools, status, body, error):
    provider.answers("POST", CALL, status=status, body=body, headers={"Retry-After": "7"})
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).dial(DIAL, tools)
    assert type(raised.value) is error
    assert error is not Throttled or raised.value.retry_after == 7


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", CALL)
    async with tools_for(provider.url, secrets=(SECRET,)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).dial(DIAL, tools)
    assert exchanges
    assert SECRET not in repr(exchanges)


# --- recordings, the account ---


async def test_a_recording_is_asked_for_and_fetched_where_it_is_now(provider, tools):
    provider.answers("POST", RECORD, json={"status": "success", "url": f"{provider.url}/rec/1.mp3?sig=x"})
    provider.answers("GET", "/rec/1.mp3", body=b"ID3", content_type="audio/mpeg")
    fetched = await channel(base_url=provider.url).fetch_media("829711662", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"ID3"
    assert (fetched.content_type, fetched.name) == ("audio/mpeg", "829711662.mp3")
    assert provider.asked[0].json == {"key": "a1b2c3-key", "secret": SECRET, "generalCallID": "829711662"}
    assert provider.asked[1].query == {"sig": "x"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": "success", "url": ""}, Temporary),
        ({"status": "error", "code": "104", "message": "Wrong data"}, Temporary),
        ({"status": "error", "code": "103"}, Undeliverable),
        ({"status": "error", "code": "121"}, Unauthorised),
        ({"status": "error", "code": "106"}, Throttled),
        ({"status": "success", "url": "gone"}, Undeliverable),
    ],
)
async def test_a_recording_that_is_not_to_be_had_says_what_happens_next(provider, tools, answer, error):
    provider.answers("POST", RECORD, json=answer)
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).fetch_media("829711662", tools)
    assert type(raised.value) is error
    assert error is not Temporary or raised.value.retry_after == 60


async def test_a_recording_does_not_lie_in_the_own_network(provider, tools):
    provider.answers("POST", RECORD, json={"status": "success", "url": "http://127.0.0.1:1/rec.mp3"})
    with pytest.raises(Undeliverable, match="own network"):
        await channel(base_url=provider.url).fetch_media("829711662", tools)


async def test_a_check_shows_the_employees(provider, tools):
    employees = {
        "1": {"name": "Віра Мельник", "endpointData": {"internalNumber": "901"}},
        "2": {"name": "Олег", "extNumber": "902"},
    }
    provider.answers("POST", EMPLOYEES, json={"status": "success", "listOfEmployees": employees})
    checked = await channel(base_url=provider.url).check(tools)
    assert checked.facts == {"employees": "901 Віра Мельник; 902 Олег"}
    provider.answers("POST", EMPLOYEES, json={"status": "error", "code": "121", "message": "wrong"})
    with pytest.raises(Unauthorised):
        await channel(base_url=provider.url).check(tools)


async def test_a_check_without_a_key_says_what_it_would_be_for(provider, tools):
    assert "API key" in (await channel(base_url=provider.url, api_key="").check(tools)).detail
    assert provider.asked == []


def test_it_is_what_the_hub_asks_for():
    made = channel(internal_digits=3)
    assert all(isinstance(made, protocol) for protocol in (Dialler, Fetcher, Checker, Consulter))
    assert made.rules.internal_digits == 3
