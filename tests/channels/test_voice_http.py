from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from channels import registry
from channels.contract import MANY, Advice, Consulter, Dial, Dialler, Fetcher, ParseContext
from channels.errors import Misconfigured, Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from core.kernel.envelopes import CallEvent
from tests.channels.payloads import NOW
from tests.channels.payloads import voice_http as payloads
from tests.channels.payloads.voice_http import CALLS, CUSTOMER, LINE, SIGNING, TOKEN, form, posted, said, signed
from tests.channels.provider import tools_for
from webhooks.errors import BadSignature, Malformed, NotConfigured, Unsupported
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
DIAL = Dial("77", "101", CUSTOMER, LINE)


def channel(**settings: Any) -> Any:
    return registry.build("voice_http", {**payloads.SETTINGS, **settings})


def read(request: RawRequest) -> list[Any]:
    return list(channel().parse(request, CONTEXT))


def whole(name: str) -> list[Any]:
    return [event for request in CALLS[name] for event in read(request)]


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-20T{clock}+00:00").astimezone(UTC)


# --- who may call us ---


def test_a_signature_or_the_token_lets_in():
    event = said("c1", "started", "08:00:00")
    channel().verify(signed(event), NOW)
    prefixed = signed(event)
    made = "sha256=" + prefixed.headers["x-signature"].upper()
    channel().verify(replace(prefixed, headers={"x-signature": made}), NOW)
    bare = replace(posted(event), query="")
    for more in (
        {"query": f"token={TOKEN}"},
        {"suffix": TOKEN},
        {"headers": {"authorization": f"Bearer {TOKEN}"}},
        {"headers": {"x-token": TOKEN}},
    ):
        channel().verify(replace(bare, **more), NOW)


def test_forged_and_unsigned_requests_are_told():
    event = said("c1", "started", "08:00:00")
    for request in (
        replace(signed(event), body=b'{"call_id": "c1", "event": "ended"}'),
        signed(event, "another secret"),
        replace(signed(event), headers={"x-signature": ""}),
        replace(signed(event, "another"), query=f"token={TOKEN}"),  # a wrong signature is not mended by the token
        replace(posted(event), query=""),
        replace(posted(event), query="token=another"),
        replace(posted(event), query=f"token={SIGNING}"),
    ):
        with pytest.raises(BadSignature):
            channel().verify(request, NOW)


def test_without_any_secret_nothing_is_taken():
    for request in (posted({}), signed({})):
        with pytest.raises(NotConfigured):
            channel(token="", secret="").verify(request, NOW)
    with pytest.raises(NotConfigured):
        channel(token="").verify(posted({}), NOW)


# --- what is told of calls ---


def test_every_field_is_read():
    events = whole("answered")
    common = {"call_id": "c1", "direction": "inbound", "caller": CUSTOMER, "callee": LINE, "line": LINE}
    assert events[0] == CallEvent(key="e1:started:", phase="started", occurred_at=at("08:00:00"), **common)
    assert events[2] == CallEvent(
        call_id="c1", key="e3:queued:", phase="queued", occurred_at=at("08:00:10"), detail="Отдел продаж"
    )
    assert events[4] == CallEvent(
        call_id="c1",
        key="e5:answered:101",
        phase="answered",
        leg_id="l1",
        seq=2,
        extension="101",
        occurred_at=at("08:00:20"),
    )
    assert events[5] == CallEvent(
        key="e6:ended:", phase="ended", occurred_at=at("08:01:50"), outcome="answered", talk_seconds=90, **common
    )
    assert events[6] == CallEvent(
        call_id="c1",
        key="e7:recorded:",
        phase="recorded",
        occurred_at=at("08:02:05"),
        recording=payloads.RECORD,
        recording_id="r1",
        recording_seconds=90,
    )


def test_a_call_that_nobody_took():
    assert [(event.phase, event.outcome, event.wait_seconds) for event in whole("missed")] == [
        ("started", "", None),
        ("ringing", "", None),
        ("ended", "missed", 31),
    ]


def test_a_call_that_was_put_through_to_somebody_else():
    assert [(event.phase, event.extension) for event in whole("transferred")] == [
        ("started", ""),
        ("answered", "101"),
        ("held", "101"),
        ("transferred", "102"),
        ("answered", "102"),
        ("summary", ""),
    ]


def test_a_call_we_asked_for_says_our_id():
    assert {event.our_id for event in whole("outbound")} == {"77"}
    assert (whole("outbound")[0].direction, whole("outbound")[0].callee) == ("outbound", CUSTOMER)


def test_events_may_come_together_and_in_a_list_as_well():
    several = [said("c5", "started", "08:40:00"), {"nonsense": 1}, 7, said("c6", "ended", "08:41:00")]
    for body in (several, {"events": several}):
        assert [event.call_id for event in read(posted(body))] == ["c5", "c6"]
    with pytest.raises(Malformed, match="at most 500"):
        channel().route(posted([said("c1", "started", "08:00:00")] * 501))


@pytest.mark.parametrize(
    ("fields", "phase", "outcome"),
    [
        ({"event": "call.ringing"}, "ringing", ""),
        ({"event": "CALL_STARTED"}, "started", ""),
        ({"type": "call", "status": "in-progress"}, "answered", ""),
        ({"type": "incoming", "status": "answered"}, "answered", ""),
        ({"event": "call.missed"}, "ended", "missed"),
        ({"event": "hangup", "disposition": "BUSY"}, "ended", "busy"),
        ({"event": "completed"}, "ended", ""),
        ({"event": "no-answer"}, "ended", "missed"),
        ({"event": "cancelled"}, "ended", "canceled"),
        ({"event": "cdr", "result": "voicemail"}, "summary", "voicemail"),
    ],
)
def test_usual_other_names_are_understood(fields, phase, outcome):
    (event,) = read(posted({"linkedid": "1795165169.42", **fields}))
    assert (event.call_id, event.phase, event.outcome) == ("1795165169.42", phase, outcome)


def test_a_form_says_the_same():
    (event,) = read(payloads.REQUESTS[-1])
    assert (event.call_id, event.caller, event.callee) == ("1795165169.42", "79161234567", "101")
    assert (event.phase, event.outcome, event.talk_seconds) == ("ended", "missed", 0)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-20T11:00:00+03:00", at("08:00:00")),
        ("2026-11-20 11:00:00", at("08:00:00")),  # the connection's zone
        (1795161600, at("08:00:00")),
        ("1795161600", at("08:00:00")),
        (1795161600.75, at("08:00:00")),
        (1795161600000, at("08:00:00")),
        ("yesterday", None),
        (-1, None),
        ("9999-12-31T23:59:59-12:00", None),
        (2**80, None),
    ],
)
def test_moments_are_read_as_pbxs_write_them(written, moment):
    (event,) = read(posted({"call_id": "c1", "event": "started", "at": written}))
    assert event.occurred_at == moment
    assert moment is None or event.occurred_at.utcoffset() == moment.utcoffset()


def test_odd_values_are_left_out():
    (event,) = read(
        posted(
            {
                **said("c" * 5_000, "ended", "08:00:00"),
                **{"talk_seconds": 2**70, "wait_seconds": -1, "seq": 2**63, "recording_seconds": "x"},
                **{"recording_url": "file:///etc/passwd", "from": ["x"], "detail": "d" * 5_000},
            }
        )
    )
    assert (event.talk_seconds, event.wait_seconds, event.seq, event.recording_seconds) == (None, None, 0, None)
    assert (event.recording, event.caller, len(event.detail), len(event.call_id)) == ("", "", 300, 200)


@pytest.mark.parametrize("body", [{"event": "started"}, {"call_id": "1"}, {"call_id": "1", "event": "news"}, [7]])
def test_what_tells_of_no_call_is_ignored_with_a_reason(body):
    with pytest.raises(Unsupported, match="call_id"):
        read(posted(body))


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b"[1,"])
def test_what_cannot_be_read_is_malformed(body):
    with pytest.raises(Malformed):
        channel().route(posted(body))


def test_a_repeat_is_told_and_no_two_words_of_a_call_are_the_same():
    for name, requests in CALLS.items():
        routed = [channel().route(request) for request in requests]
        assert len({each.dedupe_key for each in routed}) == len(routed), name
        assert len({each.peer for each in routed}) == 1
        assert len({event.key for event in whole(name)}) == len(requests)
    assert channel().route(CALLS["missed"][0]) == channel().route(
        posted(said("c2", "started", "08:10:00", **payloads.IN))
    )
    assert channel().route(payloads.REQUESTS[-2]).peer == MANY


def test_long_ids_neither_break_a_key_nor_make_two_requests_one():
    first, second = (channel().route(posted(said("c" * 900, event, "08:00:00"))) for event in ("started", "ended"))
    assert first.dedupe_key != second.dedupe_key
    assert max(map(len, (*first[::2], *second[::2]))) <= 255


def test_events_with_the_id_of_their_call_are_not_taken_for_one():
    keys = {
        read(posted({"id": "9", "call_id": "9", "event": event, "extension": extension}))[0].key
        for event, extension in (("ringing", "101"), ("ringing", "102"), ("answered", "101"), ("answered", "101"))
    }
    assert len(keys) == 3


def test_the_answer_says_that_it_is_kept():
    assert json.loads(channel().acknowledge(posted({}), "r1").body) == {"ok": True, "reference": "r1"}


# --- who rings ---


def test_a_dialplan_asks_who_rings_with_the_token():
    asks = RawRequest(method="GET", query=f"number=+79161234567&token={TOKEN}", suffix="lookup")
    channel().verify(asks, NOW)
    assert channel().is_question(asks)
    assert channel().asked(asks) == CUSTOMER
    assert channel().asked(posted({})) is None
    for query in ("number=1", f"number=1&token={SIGNING}"):
        with pytest.raises(BadSignature):
            channel().verify(replace(asks, query=query), NOW)
    channel(token="").verify(replace(asks, query=f"number=1&token={SIGNING}"), NOW)


def test_what_is_known_is_said_as_json_or_as_a_line():
    asks = RawRequest(method="GET", query="number=1", suffix="lookup")
    advice = Advice(True, "Вера | Иванова", "101", "Олег", "ru", "5", "https://hub.example/contacts/5")
    assert json.loads(channel().advise(asks, advice).body) == {
        "known": True,
        "name": "Вера | Иванова",
        "extension": "101",
        "manager": "Олег",
        "language": "ru",
        "contact_id": "5",
        "url": "https://hub.example/contacts/5",
    }
    plain = replace(asks, query="number=1&format=plain")
    assert channel().advise(plain, advice).body.decode() == "101|Вера Иванова|Олег|ru|5"
    assert channel().advise(plain, Advice()).body == b"||||"


# --- calls we ask for ---


async def test_a_call_is_asked_for_with_token_and_signature(provider, tools):
    provider.answers("POST", "/dial", json={"call_id": "c77"})
    assert (await channel(dial_url=f"{provider.url}/dial").dial(DIAL, tools)).call_id == "c77"
    (asked,) = provider.asked
    assert asked.json == {"id": "77", "extension": "101", "number": CUSTOMER, "line": LINE}
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["x-signature"] == hmac.new(SIGNING.encode(), asked.body, hashlib.sha256).hexdigest()
    assert asked.headers["content-type"] == "application/json"


async def test_without_a_signing_secret_the_token_is_enough_and_base_url_will_do(provider, tools):
    provider.answers("POST", "/dial", status=204)
    made = channel(secret="", dial_url="", base_url=f"{provider.url}/dial")
    assert (await made.dial(DIAL, tools)).call_id == ""
    assert "x-signature" not in provider.asked[0].headers


async def test_without_an_address_it_says_what_is_missing(tools):
    with pytest.raises(Misconfigured, match="address that places calls"):
        await channel(dial_url="").dial(DIAL, tools)


@pytest.mark.parametrize("body", ["", "ok", "[]", "{}", "\xff"])
async def test_an_answer_that_names_no_call_is_fine(provider, tools, body):
    provider.answers("POST", "/dial", body=body.encode("latin-1"))
    assert (await channel(dial_url=f"{provider.url}/dial").dial(DIAL, tools)).call_id == ""


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, '{"error": "no such extension"}', Undeliverable),
        (200, '{"error": {"message": "no such extension"}}', Undeliverable),
        (200, '{"ok": false, "message": "no such extension"}', Undeliverable),
        (400, "no such extension", Undeliverable),
        (401, "", Unauthorised),
        (403, "", Unauthorised),
        (429, "", Throttled),
        (500, "", Temporary),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, status, body, error):
    provider.answers("POST", "/dial", status=status, body=body, headers={"Retry-After": "7"})
    with pytest.raises(error, match="no such extension" if body else None) as raised:
        await channel(dial_url=f"{provider.url}/dial").dial(DIAL, tools)
    assert type(raised.value) is error
    assert error is not Throttled or raised.value.retry_after == 7


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", "/dial")
    async with tools_for(provider.url, secrets=(TOKEN, SIGNING)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(dial_url=f"{provider.url}/dial").dial(DIAL, tools)
        with pytest.raises(Temporary):
            await channel(dial_url="http://127.0.0.1:1/dial").dial(DIAL, tools)
    assert exchanges
    assert not any(secret in repr(exchanges) for secret in (TOKEN, SIGNING))


# --- recordings ---


async def test_a_recording_is_fetched_by_its_address(provider, tools):
    provider.answers("GET", "/rec/c1.mp3", body=b"ID3", content_type="audio/mpeg")
    fetched = await channel().fetch_media(f"{provider.url}/rec/c1.mp3", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"ID3"
    assert (fetched.content_type, fetched.name) == ("audio/mpeg", "c1.mp3")
    assert "authorization" not in provider.asked[0].headers


@pytest.mark.parametrize(("status", "error"), [(404, Undeliverable), (429, Temporary), (503, Temporary)])
async def test_a_recording_that_is_not_to_be_had_says_what_happens_next(provider, tools, status, error):
    provider.answers("GET", ".*", status=status)
    with pytest.raises(error):
        await channel().fetch_media(f"{provider.url}/rec/c1.mp3", tools)


async def test_a_recording_does_not_lie_in_the_own_network(tools):
    with pytest.raises(Undeliverable, match="own network"):
        await channel().fetch_media("http://127.0.0.1:1/rec.mp3", tools)


def test_it_is_what_the_hub_asks_for():
    made = channel(after_hours_text=" Мы закрыты до {time} ")
    assert all(isinstance(made, protocol) for protocol in (Dialler, Fetcher, Consulter))
    assert made.rules.after_hours_text == "Мы закрыты до {time}"


def test_a_form_without_a_call_is_no_event():
    with pytest.raises(Unsupported):
        read(form(event="started"))
