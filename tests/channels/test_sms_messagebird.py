from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from channels import registry
from channels.contract import ParseContext
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from core.kernel.envelopes import Incoming, Status
from tests.channels.payloads import NOW
from tests.channels.payloads import sms_messagebird as payloads
from tests.channels.payloads.sms_messagebird import MEDIA, SHORT_CODE, STATUS, TEXT, URL, asked, signed, token
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
SECONDS = int(NOW.timestamp())


def channel(**settings: Any) -> Any:
    return registry.build("sms_messagebird", {**payloads.SETTINGS, **settings})


def read(request: RawRequest) -> list[Any]:
    return list(channel().parse(request, CONTEXT))


# --- tokens ---


@pytest.mark.parametrize(
    "request_",
    [
        signed(TEXT),
        signed(TEXT, query="a=1", url_hash=hashlib.sha256(URL.encode()).hexdigest()),
        signed(TEXT, query="a=1"),
        signed(TEXT, nbf=None),
        signed(TEXT, exp=SECONDS - 1),
    ],
    ids=["plain", "address without query", "address with query", "no nbf", "a second late"],
)
def test_tokens_for_this_request_are_accepted(request_):
    channel().verify(request_, NOW)


def with_token(written: str) -> RawRequest:
    return replace(signed(TEXT), headers={"messagebird-signature-jwt": written})


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_longer_hashes_are_accepted(algorithm):
    channel().verify(with_token(token(payloads.claims(signed(TEXT).body, URL), algorithm=algorithm)), NOW)


@pytest.mark.parametrize(
    "request_",
    [
        signed(TEXT, exp=None),
        signed(TEXT, exp=SECONDS - 2),
        signed(TEXT, nbf=SECONDS + 2),
        signed(TEXT, iss="Somebody"),
        signed(TEXT, url_hash="0" * 64),
        signed(TEXT, url_hash=None),
        signed(TEXT, payload_hash="0" * 64),
        signed(TEXT, payload_hash=None),
        with_token(token(payloads.claims(signed(TEXT).body, URL), algorithm="none")),
        with_token(token(payloads.claims(signed(TEXT).body, URL), algorithm="RS256")),
        with_token(token(payloads.claims(signed(TEXT).body, URL), key="other")),
        with_token("a.b.c"),
        with_token("..."),
        with_token("я.я.я"),
        replace(signed(TEXT), headers={}),
    ],
)
def test_tokens_that_are_not_are_refused(request_):
    with pytest.raises(BadSignature):
        channel().verify(request_, NOW)


def test_a_missing_key_is_asked_for():
    with pytest.raises(NotConfigured, match="signing key"):
        channel(signing_key="").verify(signed(TEXT), NOW)


def test_what_is_unsigned_is_taken_as_a_state_and_never_as_a_message():
    channel().verify(asked(**STATUS), NOW)
    forged = asked(**STATUS, body="hello", originator="37491123456")
    with pytest.raises(BadSignature):
        channel().verify(forged, NOW)
    assert read(forged) == []
    assert read(asked(id="1", originator="37491123456", body="x")) == []
    with pytest.raises(BadSignature):
        channel().verify(replace(asked(**STATUS), method="POST"), NOW)


@pytest.mark.parametrize("form", [{}, {"id": "b6aa", "recipient": "37491123456"}])
def test_the_dashboard_s_test_of_the_address_is_answered(form):
    answer = channel().handshake(asked(**form))
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"OK")


@pytest.mark.parametrize("request_", [asked(**STATUS), asked(originator="37491123456", body="x"), signed(TEXT)])
def test_a_state_or_a_message_is_no_test(request_):
    assert channel().handshake(request_) is None


# --- reading ---


def test_of_repeated_names_the_last_counts():
    (event,) = read(signed(TEXT))
    assert isinstance(event, Incoming)
    assert (event.external_id, event.text, event.peer) == (
        "3b53c137369242138120d6b0b2122607",
        "Բարև ձեզ",
        "+37491123456",
    )
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 29, tzinfo=UTC)


def test_short_codes_call_things_differently():
    (event,) = read(signed(SHORT_CODE))
    assert (event.external_id, event.text, event.peer) == (
        "4b53c137369242138120d6b0b2122607",
        "Test again",
        "+18885551515",
    )
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 29, tzinfo=UTC)


def test_the_id_goes_before_other_names_of_it():
    (event,) = read(signed([("id", "1"), ("message_id", "2"), ("originator", "37491123456"), ("body", "x")]))
    assert isinstance(event, Incoming)
    assert event.external_id == "1"


def test_pictures_are_named_in_any_case():
    (event,) = read(signed(MEDIA))
    assert [found.reference[-5:] for found in event.attachments] == ["1.jpg", "2.jpg"]
    (event,) = read(signed([*MEDIA[:2], ("mediaUrls[]", '["https://x.example/3.jpg", 4, "file:///etc/passwd"]')]))
    assert [found.reference for found in event.attachments] == ["https://x.example/3.jpg"]


def test_a_stop_is_a_signal_as_well():
    found = read(signed([*TEXT, ("body", "ՍՏՈՊ")]))
    assert [type(item).__name__ for item in found] == ["Incoming", "Signal"]


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("scheduled", "", ("sent", "", True, False)),
        ("sent", "0", ("sent", "", True, False)),
        ("delivered", "", ("delivered", "", True, False)),
        ("expired", "27", ("failed", "27", False, False)),
        ("delivery_failed", "1", ("failed", "1", True, True)),
        ("delivery_failed", "103", ("failed", "103", True, True)),
    ],
)
def test_reports_become_states_and_silence_nobody_by_a_number_that_anyone_could_write(state, code, expected):
    (event,) = read(asked(**{**STATUS, "status": state, "statusErrorCode": code}))
    assert isinstance(event, Status)
    assert (event.status, event.error_code, event.is_final, event.is_dead) == expected
    assert (event.external_id, event.our_id) == ("e8077d803532c0b5937c639b60216938", "184467.0")


def test_a_signed_report_of_an_opt_out_is_a_signal_too():
    report = asked(**{**STATUS, "status": "delivery_failed", "statusErrorCode": "103"})
    written = token(payloads.claims(b"", report.url))
    status, signal = read(replace(report, headers={"messagebird-signature-jwt": written}))
    assert (status.status, signal.kind, signal.peer) == ("failed", "opted_out", "+37491123456")


@pytest.mark.parametrize("request_", [signed([("a", "b")]), asked(**{**STATUS, "status": "expiryttd"})])
def test_what_says_nothing_makes_no_event(request_):
    assert read(request_) == []


# --- sending ---

SENT = {"id": "efa6405d518d4c0c88cce11f7db775fb", "recipients": {"items": [{"status": "sent"}]}}


async def test_a_text_goes_with_our_reference(provider, tools):
    provider.answers("POST", "/messages", status=201, json=SENT)
    provider.answers("POST", "/mms", status=201, json=SENT)
    sender = channel(base_url=provider.url)
    receipt = await sender.send(part("Բարև ☺", peer="+37491123456", files=(file(),)), tools)
    assert receipt.external_ids == ("efa6405d518d4c0c88cce11f7db775fb",)
    await sender.send(part("Look", peer="+18885551515", files=(file(),)), tools)
    text, mms = provider.asked
    assert text.json == {
        "recipients": ["37491123456"],
        "originator": "14155550199",
        "reference": "184467.0",
        "body": "Բարև ☺\nhttps://hub.example/files/abc",
        "datacoding": "auto",
        "reportUrl": "https://hub.example/hooks/k/status",
    }
    assert text.headers["authorization"] == f"AccessKey {payloads.SETTINGS['access_key']}"
    assert mms.path == "/mms"
    assert mms.json["mediaUrls"] == ["https://hub.example/files/abc"]


@pytest.mark.parametrize(
    ("status", "code", "parameter", "error"),
    [
        (401, 2, "access_key", Unauthorised),
        (422, 9, "recipients", RecipientGone),
        (422, 10, "originator", Misconfigured),
        (422, 10, "body", Undeliverable),
        (422, 25, None, Misconfigured),
        (422, 103, None, RecipientGone),
        (404, 20, None, Undeliverable),
        (429, 0, None, Throttled),
        (500, 99, None, Temporary),
        (200, 25, None, Misconfigured),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, status, code, parameter, error):
    body = {"errors": [{"code": code, "description": "why", "parameter": parameter}]}
    provider.answers("POST", "/messages", status=status, json=body, headers={"Retry-After": "2"})
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).send(part("x", peer="+37491123456"), tools)
    assert type(raised.value) is error
    assert getattr(raised.value, "opted_out", False) == (code == 103)


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", "/messages")
    secret = payloads.SETTINGS["access_key"]
    async with tools_for(provider.url, secrets=(secret,)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).send(part("x", peer="+37491123456"), tools)
        provider.answers("POST", "/messages", status=201, json={})
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).send(part("x", peer="+37491123456"), tools)
    assert len(exchanges) == 2
    assert secret not in repr(exchanges)


async def test_a_check_shows_the_balance_and_our_key_goes_to_them_alone(provider, tools):
    provider.answers("GET", "/balance", json={"payment": "prepaid", "type": "credits", "amount": 9.2})
    assert (await channel(base_url=provider.url).check(tools)).facts == {"balance": "9.2 credits"}
    provider.answers("GET", "/1.jpg", body=b"JPEG", content_type="image/jpeg")
    await channel().fetch_media(f"{provider.url}/1.jpg", tools)
    await channel(base_url=provider.url).fetch_media(f"{provider.url}/1.jpg", tools)
    assert ["authorization" in found.headers for found in provider.asked[1:]] == [False, True]
