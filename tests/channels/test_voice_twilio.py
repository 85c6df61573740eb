from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest
from aiohttp import web

from channels import registry
from channels.contract import Checker, Dial, Dialler, Fetcher, Installer, ParseContext
from channels.errors import Misconfigured, Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from core.kernel.envelopes import CallEvent
from core.kernel.errors import Rejected
from tests.channels.payloads import NOW
from tests.channels.payloads import voice_twilio as payloads
from tests.channels.payloads.voice_twilio import ACCOUNT, CALLS, CUSTOMER, LINE, OFFICE, OURS, VERA, came_in, signed
from tests.channels.provider import playing, tools_for
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
API = f"/2010-04-01/Accounts/{ACCOUNT}"
DIAL = Dial("77", "101", CUSTOMER)


def channel(**settings: Any) -> Any:
    return registry.build("voice_twilio", {**payloads.SETTINGS, **settings})


def read(request: RawRequest, **settings: Any) -> list[Any]:
    return list(channel(**settings).parse(request, CONTEXT))


def whole(name: str) -> list[Any]:
    return [event for request in CALLS[name] for event in read(request)]


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-20T{clock}+00:00").astimezone(UTC)


# --- who may call us; the first three are Twilio's own examples ---

DOCS_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
DOCS_FORM = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
JSON_URL = DOCS_URL + "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
JSON_BODY = b'{"property": "value", "boolean": true}'
SHARED = {"x-twilio-webhooks-signature-settings": "key=KY01,algorithm=HMAC_SHA256"}


def documented(signature: str, url: str = DOCS_URL, body: bytes = DOCS_FORM, **headers: str) -> RawRequest:
    return RawRequest(body, headers={"x-twilio-signature": signature, **headers}, query=url.partition("?")[2], url=url)


@pytest.mark.parametrize(
    "request_",
    [
        documented("RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        documented("033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s=", **SHARED),
        documented("a9nBmqA0ju/hNViExpshrM61xv4=", JSON_URL, JSON_BODY),
    ],
    ids=["sha1", "sha256", "json"],
)
def test_published_signatures_are_accepted(request_):
    channel(auth_token="12345", shared_key="12345").verify(request_, NOW)


@pytest.mark.parametrize(
    "request_",
    [
        documented("RSOYDt4T1cUTdK1PDd93/VVr8B9="),
        documented(""),
        documented("RSOYDt4T1cUTdK1PDd93/VVr8B8=", body=DOCS_FORM + b"&More=1"),
        documented("RSOYDt4T1cUTdK1PDd93/VVr8B8=", DOCS_URL + "&dial=1"),
        RawRequest(DOCS_FORM, url=DOCS_URL),
    ],
)
def test_forged_and_unsigned_requests_are_told(request_):
    with pytest.raises(BadSignature):
        channel(auth_token="12345").verify(request_, NOW)


def test_a_shared_key_that_was_not_entered_is_asked_for():
    with pytest.raises(NotConfigured, match="shared key"):
        channel(shared_key="").verify(documented("x", **SHARED), NOW)


def test_whoever_asks_who_rings_carries_the_secret():
    asks = RawRequest(method="GET", query="number=+79161234567&token=l00k-up-s3cret", suffix="lookup")
    channel().verify(asks, NOW)
    assert channel().asked(asks) == CUSTOMER
    with pytest.raises(BadSignature):
        channel().verify(replace(asks, query="number=1&token=no"), NOW)


# --- what is told of calls ---


def test_a_call_that_came_in_and_was_answered():
    found = [(event.phase, event.extension, event.leg_id, event.occurred_at) for event in whole("answered")]
    assert found == [
        ("started", "", "", None),
        ("ringing", "oleg", payloads.ANSWERED_2, at("08:40:02")),
        ("ringing", "101", payloads.ANSWERED_1, at("08:40:02")),
        ("answered", "101", payloads.ANSWERED_1, at("08:40:12")),
        ("left", "oleg", payloads.ANSWERED_2, at("08:40:12")),
        ("left", "101", payloads.ANSWERED_1, at("08:41:57")),
        ("summary", "", "", None),
        ("ended", "", "", at("08:41:58")),
        ("recorded", "", "", None),
    ]
    assert {event.call_id for event in whole("answered")} == {payloads.ANSWERED}


def test_every_kind_of_callback_says_exactly_this():
    events = whole("answered")
    common = {"call_id": payloads.ANSWERED, "direction": "inbound", "caller": CUSTOMER, "callee": LINE, "line": LINE}
    assert events[0] == CallEvent(key=f"{payloads.ANSWERED}:ringing", phase="started", **common)
    assert events[2] == CallEvent(
        call_id=payloads.ANSWERED,
        key=f"{payloads.ANSWERED_1}:ringing",
        phase="ringing",
        leg_id=payloads.ANSWERED_1,
        seq=2,
        occurred_at=at("08:40:02"),
        caller=CUSTOMER,
        extension="101",
    )
    assert events[6] == CallEvent(
        key=f"{payloads.ANSWERED}:dial:{payloads.ANSWERED_1}",
        phase="summary",
        outcome="answered",
        talk_seconds=105,
        **common,
    )
    assert events[7] == CallEvent(
        key=f"{payloads.ANSWERED}:completed", phase="ended", seq=1, occurred_at=at("08:41:58"), **common
    )
    assert events[8] == CallEvent(
        call_id=payloads.ANSWERED,
        key=f"{payloads.RECORDING}:completed",
        phase="recorded",
        recording=f"https://api.twilio.com{API}/Recordings/{payloads.RECORDING}",
        recording_id=payloads.RECORDING,
        recording_seconds=105,
    )


def test_a_call_that_nobody_took():
    found = [(event.phase, event.extension, event.outcome, event.detail) for event in whole("missed")]
    assert found == [
        ("started", "", "", ""),
        ("ringing", "101", "", ""),
        ("left", "101", "", "no-answer"),
        ("summary", "", "missed", "no-answer"),
        ("ended", "", "", ""),
    ]


def test_a_call_we_asked_for_carries_our_id_in_every_word():
    events = whole("outbound")
    assert {(event.our_id, event.direction, event.caller, event.callee, event.line) for event in events} == {
        ("77", "outbound", "101", CUSTOMER, LINE)
    }
    assert [(event.phase, event.extension) for event in events] == [
        ("started", ""),
        ("ringing", "101"),
        ("ringing", ""),  # the customer's phone; that the colleague picked theirs up answers nothing
        ("answered", "101"),
        ("left", "101"),
        ("summary", ""),
        ("ended", ""),
    ]
    assert events[-2].talk_seconds == 60


def test_a_word_that_was_left_is_voicemail_and_a_recording():
    assert [event.phase for event in whole("voicemail")] == ["started", "ended", "voicemail", "recorded"]


@pytest.mark.parametrize(
    ("status", "outcome"), [("busy", "busy"), ("no-answer", "missed"), ("failed", "failed"), ("canceled", "canceled")]
)
def test_how_a_call_ended_is_said_as_twilio_says_it(status, outcome):
    (ended,) = read(signed(payloads.reported(came_in("CA9", status), "08:00:00", 3)))
    (summary,) = read(signed(came_in("CA9", "in-progress", DialCallStatus=status)))
    assert (ended.phase, ended.outcome, summary.phase, summary.outcome) == ("ended", outcome, "summary", outcome)


def test_a_call_we_asked_for_whose_colleague_does_not_pick_up_was_never_placed():
    (event,) = read(signed(payloads.reported(payloads.OUT | {"CallStatus": "no-answer"}, "08:00:00", 2), query=OURS))
    assert (event.phase, event.outcome, event.detail) == ("ended", "canceled", "no-answer")


def test_a_menu_that_picks_up_answers_nothing():
    assert read(signed(payloads.reported(came_in("CA9", "in-progress"), "08:00:00", 1))) == []


def test_a_colleague_who_calls_from_an_app_calls_out():
    (event,) = read(signed(came_in("CA9", source="client:oleg") | {"To": "+4930901820"}))
    assert (event.direction, event.caller, event.callee) == ("outbound", "oleg", "+4930901820")


def test_a_recording_that_the_end_of_dial_names_is_the_same_one():
    (told,) = [event for event in whole("answered") if event.phase == "recorded"]
    form = came_in(payloads.ANSWERED, "in-progress", DialCallSid=payloads.ANSWERED_1, DialCallStatus="completed")
    _, again = read(signed(form | {"RecordingUrl": told.recording, "RecordingDuration": "105"}))
    assert again == told


@pytest.mark.parametrize("status", ["in-progress", "absent", "failed"])
def test_a_recording_that_is_none_makes_no_event(status):
    assert read(signed(payloads.recording("CA9", "RE9", 5) | {"RecordingStatus": status})) == []


@pytest.mark.parametrize(
    "odd",
    [
        "yesterday",
        "Fri, 99 Nov 2026 08:00:00",
        "Fri, 20 Nov 1901 08:00:00 +1400",
        "Fri, 31 Dec 9999 23:59:59 -1400",
        "",
    ],
)
def test_odd_moments_and_numbers_are_left_out(odd):
    form = payloads.reported(came_in("CA9", "busy"), "08:00:00", 1) | {"Timestamp": odd, "SequenceNumber": "9" * 22}
    (event,) = read(signed(form))
    assert (event.occurred_at, event.seq) == (None, 0)
    (summary,) = read(signed(came_in("CA9", DialCallStatus="completed", DialCallDuration="9" * 20)))
    assert summary.talk_seconds is None


def test_a_repeat_is_told_and_no_two_words_of_a_call_are_the_same():
    for name, requests in CALLS.items():
        routed = [channel().route(request) for request in requests]
        assert len({each.dedupe_key for each in routed}) == len(routed), name
        assert len({each.peer for each in routed}) == 1
        keys = [event.key for event in whole(name)]
        assert len(set(keys)) == len(keys)


# --- what Twilio is told ---


def twiml(request: RawRequest, **settings: Any) -> ElementTree.Element:
    reply = channel(**settings).acknowledge(request, "r1")
    assert (reply.status, reply.content_type) == (200, "text/xml")
    return ElementTree.fromstring(reply.body)


def test_a_call_that_comes_in_rings_the_phones_named_and_reports_on_each():
    (dial,) = twiml(CALLS["answered"][0])
    assert dial.attrib == {
        "answerOnBridge": "true",
        "timeout": "25",
        "action": payloads.URL,
        "record": "record-from-answer-dual",
        "recordingStatusCallback": payloads.URL,
    }
    assert [(noun.tag, noun.text) for noun in dial] == [("Sip", VERA), ("Client", "oleg"), ("Number", OFFICE)]
    for noun in dial:
        assert noun.attrib == {
            "statusCallback": payloads.URL,
            "statusCallbackEvent": "initiated ringing answered completed",
        }


def test_nothing_is_rung_where_nobody_is_named_nor_recorded_unasked():
    assert len(twiml(CALLS["answered"][0], ring=[])) == 0
    assert "record" not in twiml(CALLS["answered"][0], record=False)[0].attrib


@pytest.mark.parametrize("request_", [*CALLS["answered"][1:], *CALLS["outbound"]])
def test_every_report_is_answered_with_twiml_that_does_nothing(request_):
    assert len(twiml(request_)) == 0


def test_a_colleague_who_calls_out_does_not_ring_the_others():
    assert len(twiml(signed(came_in("CA9", source="client:oleg")))) == 0


@pytest.mark.parametrize("line", ["nobody", "101 = 5", "client:a b", "sip:", 'client:"><Say>'])
def test_what_is_no_phone_is_refused_in_the_settings(line):
    with pytest.raises(Rejected, match="is no phone"):
        channel(ring=[line])


def test_more_phones_than_twilio_rings_are_refused_in_the_settings():
    with pytest.raises(Rejected, match="at most 10"):
        channel(ring=[f"client:c{number}" for number in range(11)])


# --- calls we ask for ---


async def test_a_call_is_asked_for_as_documented(provider, tools):
    provider.answers("POST", f"{API}/Calls.json", status=201, json={"sid": "CA77", "status": "queued"})
    placed = await channel(base_url=provider.url).dial(DIAL, tools)
    assert placed.call_id == "CA77"
    (asked,) = provider.asked
    form = parse_qs(asked.body.decode())
    told = ElementTree.fromstring(form.pop("Twiml")[0])
    back = f"https://hub.example/hooks/k?{OURS}"
    assert form == {
        "To": [VERA],
        "From": [LINE],
        "Timeout": ["25"],
        "StatusCallback": [back],
        "StatusCallbackMethod": ["POST"],
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
    }
    assert (told[0].attrib["callerId"], told[0].attrib["action"]) == (LINE, back)
    assert [(noun.tag, noun.text, noun.attrib["statusCallback"]) for noun in told[0]] == [("Number", CUSTOMER, back)]
    given = f"{ACCOUNT}:{payloads.TOKEN}"
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(given.encode()).decode()


@pytest.mark.parametrize(
    ("extension", "to"),
    [("oleg", "client:oleg"), (OFFICE, OFFICE), ("sip:900@shop.example", "sip:900@shop.example"), ("101", VERA)],
)
async def test_an_extension_is_the_phone_it_names(provider, tools, extension, to):
    provider.answers("POST", f"{API}/Calls.json", status=201, json={"sid": "CA77"})
    await channel(base_url=provider.url).dial(Dial("77", extension, CUSTOMER, "+14155550100"), tools)
    assert (provider.asked[0].form["To"], provider.asked[0].form["From"]) == (to, "+14155550100")


async def test_a_phone_or_number_that_twilio_cannot_have_is_explained(provider, tools):
    with pytest.raises(Undeliverable, match="no phone called '102'"):
        await channel(base_url=provider.url).dial(Dial("1", "102", CUSTOMER), tools)
    with pytest.raises(Undeliverable, match="no number"):
        await channel(base_url=provider.url).dial(Dial("1", "101", "anonymous"), tools)
    assert provider.asked == []


async def test_without_a_number_of_ours_the_first_of_the_account_is_shown(provider, tools):
    numbers = {"incoming_phone_numbers": [{"phone_number": "+14155550111"}]}
    provider.answers("GET", f"{API}/IncomingPhoneNumbers.json", json=numbers)
    provider.answers("POST", f"{API}/Calls.json", status=201, json={"sid": "CA77"})
    await channel(base_url=provider.url, caller_id="").dial(DIAL, tools)
    assert provider.asked[1].form["From"] == "+14155550111"
    provider.answers("GET", f"{API}/IncomingPhoneNumbers.json", json={"incoming_phone_numbers": []})
    with pytest.raises(Misconfigured, match="no number"):
        await channel(base_url=provider.url, caller_id="").dial(DIAL, tools)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, 20003, Unauthorised),
        (404, 20404, Unauthorised),
        (403, 0, Unauthorised),
        (429, 20429, Throttled),
        (400, 21210, Misconfigured),
        (400, 21213, Misconfigured),
        (400, 21211, Undeliverable),
        (400, 21214, Undeliverable),
        (400, 21215, Undeliverable),
        (400, 21216, Undeliverable),
        (500, 20500, Temporary),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, status, code, error):
    provider.answers(
        "POST", f"{API}/Calls.json", status=status, json={"code": code, "message": "why"}, headers={"Retry-After": "7"}
    )
    with pytest.raises(error, match="why") as raised:
        await channel(base_url=provider.url).dial(DIAL, tools)
    assert type(raised.value) is error
    assert error is not Throttled or raised.value.retry_after == 7


@pytest.mark.parametrize("body", ["{}", "[]", "<html>"])
async def test_an_answer_without_an_id_leaves_it_uncertain(provider, tools, body):
    provider.answers("POST", f"{API}/Calls.json", status=201, body=body)
    with pytest.raises(Uncertain):
        await channel(base_url=provider.url).dial(DIAL, tools)


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", f"{API}/Calls.json")
    async with tools_for(provider.url, secrets=(payloads.TOKEN,)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).dial(DIAL, tools)
    assert exchanges
    assert payloads.TOKEN not in repr(exchanges)


# --- recordings, the account, the number ---


async def test_a_recording_is_fetched_with_credentials_that_go_no_further(provider, tools):
    (recorded,) = [event for event in whole("answered") if event.phase == "recorded"]
    async with playing() as store:
        store.answers("GET", "/blob", body=b"ID3", content_type="audio/mpeg")
        moved = {"Location": f"{store.url}/blob"}
        path = f"{API}/Recordings/{payloads.RECORDING}.mp3"
        provider.does("GET", path, lambda _: web.Response(status=302, headers=moved))
        fetched = await channel(base_url=provider.url).fetch_media(recorded.recording, tools)
        assert b"".join([chunk async for chunk in fetched.chunks]) == b"ID3"
        assert (fetched.content_type, fetched.name) == ("audio/mpeg", f"{payloads.RECORDING}.mp3")
        assert "authorization" in provider.asked[0].headers
        assert "authorization" not in store.asked[0].headers


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, Unauthorised), (404, Undeliverable), (410, Undeliverable), (429, Temporary), (503, Temporary)],
)
async def test_a_recording_that_is_not_to_be_had_says_what_happens_next(provider, tools, status, error):
    provider.answers("GET", ".*", status=status)
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).fetch_media(f"https://api.twilio.com{API}/Recordings/RE1", tools)
    assert type(raised.value) is error


async def test_a_recording_elsewhere_is_fetched_without_credentials_and_not_from_the_own_network(tools):
    async with playing() as other:
        with pytest.raises(Undeliverable):
            await channel().fetch_media(f"http://127.0.0.1:{other.url.rpartition(':')[2]}/x", tools)
        assert all("authorization" not in asked.headers for asked in other.asked)


async def test_a_check_shows_the_account(provider, tools):
    provider.answers("GET", f"{API}.json", json={"friendly_name": "Shop", "status": "active", "type": "Full"})
    provider.answers("GET", f"{API}/Balance.json", json={"balance": "12.5", "currency": "USD"})
    checked = await channel(base_url=provider.url).check(tools)
    assert checked.facts == {"account": "Shop", "type": "Full", "balance": "12.5 USD"}
    provider.answers("GET", f"{API}.json", json={"status": "suspended"})
    with pytest.raises(Misconfigured, match="suspended"):
        await channel(base_url=provider.url).check(tools)
    provider.answers("GET", f"{API}.json", status=401, json={"code": 20003})
    with pytest.raises(Unauthorised):
        await channel(base_url=provider.url).check(tools)


HOOK = "https://hub.example/hooks/k"


@pytest.mark.parametrize("rings", [True, False])
async def test_saving_points_the_number_to_us_but_leaves_alone_who_is_rung(provider, tools, rings):
    number = {"sid": "PN1", "voice_url": "https://theirs.example", "status_callback": ""}
    provider.answers("GET", f"{API}/IncomingPhoneNumbers.json", json={"incoming_phone_numbers": [number]})
    provider.answers("POST", f"{API}/IncomingPhoneNumbers/PN1.json", json={})
    made = channel(base_url=provider.url, **({} if rings else {"ring": []}))
    assert LINE in await made.setup(tools)
    wanted = {"StatusCallback": HOOK, "StatusCallbackMethod": "POST"}
    if rings:
        wanted |= {"VoiceUrl": HOOK, "VoiceMethod": "POST"}
    assert provider.asked[0].query == {"PhoneNumber": LINE}
    assert provider.asked[1].form == wanted


async def test_saving_again_changes_nothing_and_leaving_takes_only_ours_away(provider, tools):
    number = {"sid": "PN1", "voice_url": HOOK, "voice_method": "POST", "status_callback": HOOK}
    number |= {"status_callback_method": "POST"}
    provider.answers("GET", f"{API}/IncomingPhoneNumbers.json", json={"incoming_phone_numbers": [number]})
    provider.answers("POST", f"{API}/IncomingPhoneNumbers/PN1.json", json={})
    made = channel(base_url=provider.url)
    assert "already" in await made.setup(tools)
    assert len(provider.asked) == 1
    number["voice_url"] = "https://theirs.example"
    provider.answers("GET", f"{API}/IncomingPhoneNumbers.json", json={"incoming_phone_numbers": [number]})
    await made.teardown(tools)
    assert provider.asked[-1].form == {"StatusCallback": ""}


async def test_a_number_that_is_not_ours_to_change_is_set_up_by_hand(provider, tools):
    provider.answers("GET", f"{API}/IncomingPhoneNumbers.json", json={"incoming_phone_numbers": []})
    assert HOOK in await channel(base_url=provider.url).setup(tools)
    assert HOOK in await channel(base_url=provider.url, caller_id="").setup(tools)


def test_it_is_what_the_hub_asks_for():
    made = channel(call_back_minutes=5)
    assert all(isinstance(made, protocol) for protocol in (Dialler, Fetcher, Checker, Installer))
    assert made.rules.call_back_minutes == 5
