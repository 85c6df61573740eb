from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

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
from tests.channels.payloads import sms_vonage as payloads
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature, NotConfigured, Unsupported
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)


def channel(**settings: Any) -> Any:
    return registry.build("sms_vonage", {**payloads.SETTINGS, **settings})


def read(request: RawRequest) -> list[Any]:
    return list(channel().parse(request, CONTEXT))


# --- signatures ---

VECTOR = {
    "msisdn": "447700900001",
    "to": "447700900000",
    "messageId": "0A0000000123ABCD1",
    "text": "A & B = C",
    "type": "text",
    "keyword": "A",
    "api-key": "abcd1234",
    "message-timestamp": "2026-10-20 08:15:30",
    "timestamp": "1760948130",
    "nonce": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
}
SIGNED_AT = datetime.fromtimestamp(1760948130, UTC)
MD5HASH = "3c49e596718307c8ac12c4d4caa69105"
SHA256 = "a7ad349ab77031926040ff68eec440081cce5fa574451f28688e1f454e9322ce"


@pytest.mark.parametrize(("method", "sig"), [("md5hash", MD5HASH), ("sha256", SHA256), ("md5hash", MD5HASH.upper())])
@pytest.mark.parametrize("way", ["GET", "POST", "JSON"])
def test_known_signatures_are_accepted_however_they_come(method, sig, way):
    given = {**VECTOR, "sig": sig}
    body = {"GET": b"", "POST": urlencode(given).encode(), "JSON": json.dumps(given).encode()}[way]
    request = RawRequest(body, way if way == "GET" else "POST", query=urlencode(given) if way == "GET" else "")
    channel(signature_method=method).verify(request, SIGNED_AT)
    with pytest.raises(BadSignature):
        channel(signature_method="sha512").verify(request, SIGNED_AT)


@pytest.mark.parametrize("method", ["md5", "sha1", "sha512"])
def test_the_other_methods_are_hmacs_of_the_same(method):
    text = "".join(f"&{name}={VECTOR[name]}" for name in sorted(VECTOR)).replace("A & B = C", "A _ B _ C")
    sig = hmac.new(payloads.SECRET.encode(), text.encode(), getattr(hashlib, method)).hexdigest()
    channel(signature_method=method).verify(RawRequest(query=urlencode({**VECTOR, "sig": sig})), SIGNED_AT)


@pytest.mark.parametrize(
    ("change", "now"),
    [
        ({"text": "other"}, SIGNED_AT),
        ({"sig": ""}, SIGNED_AT),
        ({"more": "1"}, SIGNED_AT),
        ({}, SIGNED_AT + timedelta(hours=26)),
        ({}, SIGNED_AT - timedelta(minutes=6)),
    ],
)
def test_what_was_changed_or_is_too_old_is_refused(change, now):
    with pytest.raises(BadSignature):
        channel().verify(RawRequest(query=urlencode({**VECTOR, "sig": MD5HASH, **change})), now)


def test_a_repeat_within_the_day_that_vonage_tries_is_still_taken():
    channel().verify(RawRequest(query=urlencode({**VECTOR, "sig": MD5HASH})), SIGNED_AT + timedelta(hours=24))


@pytest.mark.parametrize(
    "request_",
    [
        payloads.with_token(payloads.MESSAGE, payload_hash="0" * 64),
        payloads.with_token(payloads.MESSAGE, payload_hash=None),
        payloads.with_token(payloads.MESSAGE, iat=int(NOW.timestamp()) - 301),
        payloads.with_token(payloads.MESSAGE, iat=None),
        replace(
            payloads.with_token(payloads.MESSAGE),
            headers={"authorization": f"Bearer {payloads.token({'iat': 1}, secret='other')}"},
        ),
        replace(
            payloads.with_token(payloads.MESSAGE),
            headers={"authorization": f"Bearer {payloads.token({'iat': 1}, algorithm='none')}"},
        ),
        replace(payloads.with_token(payloads.MESSAGE), headers={"authorization": "Bearer a.b.c"}),
    ],
)
def test_tokens_that_are_not_for_this_body_now_are_refused(request_):
    with pytest.raises(BadSignature):
        channel().verify(request_, NOW)


def test_without_a_signature_secret_the_shared_one_has_to_come_along():
    unsigned = RawRequest(b"msisdn=447700900001&messageId=1&text=x", query="token=s3cr3t-t0ken")
    channel(signature_secret="", secret="s3cr3t-t0ken").verify(unsigned, NOW)
    with pytest.raises(BadSignature):
        channel(signature_secret="", secret="other-t0ken").verify(unsigned, NOW)
    with pytest.raises(NotConfigured):
        channel(signature_secret="").verify(unsigned, NOW)


def test_the_dashboards_own_test_is_answered_and_kept_nowhere():
    assert channel().handshake(RawRequest(method="GET")).status == 200
    assert channel().handshake(RawRequest(b"a=1")) is None


# --- reading ---


def test_a_message_comes_from_its_number():
    (event,) = read(payloads.asked(payloads.TEXT))
    assert isinstance(event, Incoming)
    assert event.external_id == "0A0000000123ABCD1"
    assert event.text == "Ողջույն & բարև = 1"
    assert event.claims[0].address == ("phone", "+447700900001")
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 30, tzinfo=UTC)
    assert event.group == ""


@pytest.mark.parametrize("make", [payloads.asked, payloads.posted])
def test_parts_of_a_long_text_name_their_whole_and_their_place(make):
    (first,) = read(make(payloads.CONCAT))
    (second,) = read(make({**payloads.CONCAT, "messageId": "0B02", "text": "стоп", "concat-part": "2"}))
    assert first.group == second.group == "concat:447700900001:447700900000:17"
    assert [event.context for event in (first, second)] == [
        {"concat_part": "1", "concat_parts": "2"},
        {"concat_part": "2", "concat_parts": "2"},
    ]
    (other,) = read(make({**payloads.CONCAT, "msisdn": "447700900002"}))
    assert other.group != first.group


def test_the_messages_api_is_understood_in_both_versions():
    (event,) = read(payloads.with_token(payloads.MESSAGE))
    assert (event.text, event.peer, event.external_id) == (
        "Zdravo! 👋",
        "+447700900001",
        "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
    )
    older = {
        "message_uuid": "m1",
        "from": {"type": "sms", "number": "447700900001"},
        "message": {"content": {"type": "text", "text": "Zdravo"}},
    }
    (event,) = read(payloads.with_token(older))
    assert (event.text, event.peer) == ("Zdravo", "+447700900001")
    picture = {
        **payloads.MESSAGE,
        "channel": "mms",
        "text": "",
        "image": {"url": "https://x.example/1", "name": "1.jpg"},
    }
    (event,) = read(payloads.with_token(picture))
    assert [(found.reference, found.kind) for found in event.attachments] == [("https://x.example/1", "image")]


def test_another_channel_of_the_account_is_said_to_be_ignored():
    with pytest.raises(Unsupported, match="whatsapp"):
        read(payloads.with_token({**payloads.MESSAGE, "channel": "whatsapp"}))


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("accepted", "0", ("sent", "", True, False)),
        ("buffered", "0", ("sent", "", True, False)),
        ("delivered", "0", ("delivered", "", True, False)),
        ("expired", "0", ("failed", "", True, False)),
        ("failed", "6", ("failed", "6", True, False)),
        ("failed", "2", ("failed", "2", False, False)),
        ("rejected", "3", ("failed", "3", True, True)),
        ("deleted", "99", ("failed", "99", True, False)),
    ],
)
def test_reports_become_states(state, code, expected):
    (event,) = read(payloads.asked({**payloads.DELIVERED, "status": state, "err-code": code}))
    assert isinstance(event, Status)
    assert (event.status, event.error_code, event.is_final, event.is_dead) == expected
    assert (event.external_id, event.our_id, event.peer) == ("0A0000001200002A", "184467.0", "+447700900001")
    assert event.occurred_at == datetime(2026, 11, 20, 8, 58, tzinfo=UTC)


def test_a_report_of_the_messages_api_tells_why():
    (event,) = read(payloads.with_token(payloads.REJECTED))
    assert (event.status, event.our_id, event.error_code, event.error_text) == (
        "failed",
        "184467.0",
        "1430",
        "Carrier rejected",
    )


@pytest.mark.parametrize("form", [{"a": "b"}, {"messageId": "1", "status": "unexpected"}, {"messageId": "1"}])
def test_what_says_nothing_makes_no_event(form):
    assert read(payloads.asked(form)) == []


# --- sending ---


def results(*found: dict[str, str]) -> dict[str, Any]:
    return {"message-count": str(len(found)), "messages": list(found)}


async def test_a_text_goes_with_its_type_and_reference(provider, tools):
    provider.answers("POST", "/sms/json", json=results({"status": "0", "message-id": "1002"}))
    sender = channel(base_url=provider.url)
    await sender.send(part("Hello “you”", peer="+250788383383"), tools)
    receipt = await sender.send(part("Привет", peer="+250788383383", files=(file(),)), tools)
    assert receipt.external_ids == ("1002",)
    plain, unicode = (asked.form for asked in provider.asked)
    assert plain == {
        "api_key": "abcd1234",
        "api_secret": "9cXq7tLmZ2pRvB4k",
        "from": "447700900000",
        "to": "250788383383",
        "text": 'Hello "you"',
        "type": "text",
        "status-report-req": "1",
        "client-ref": "184467.0",
        "callback": "https://hub.example/hooks/k/status",
    }
    assert (unicode["type"], unicode["text"]) == ("unicode", "Привет\nhttps://hub.example/files/abc")


async def test_every_part_of_a_long_text_is_looked_at(provider, tools):
    sender = channel(base_url=provider.url)
    taken = [{"status": "0", "message-id": "1"}, {"status": "0", "message-id": "2"}]
    provider.answers("POST", "/sms/json", json=results(*taken))
    assert await sender.send(part("x" * 200, peer="+250788383383"), tools) == (("1", "2"), "sent", {}, "")
    provider.answers("POST", "/sms/json", json=results(taken[0], {"status": "9", "error-text": "Quota"}))
    receipt = await sender.send(part("x" * 200, peer="+250788383383"), tools)
    assert receipt.external_ids == ("1",)
    assert "1 of 2 SMS" in receipt.detail
    assert "Quota" in receipt.detail


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("1", Throttled),
        ("5", Temporary),
        ("4", Unauthorised),
        ("14", Unauthorised),
        ("9", Misconfigured),
        ("15", Misconfigured),
        ("7", RecipientGone),
        ("33", RecipientGone),
        ("3", Undeliverable),
        ("6", Undeliverable),
        ("29", Undeliverable),
    ],
)
async def test_an_error_inside_a_success_says_what_happens_next(provider, tools, code, error):
    provider.answers("POST", "/sms/json", json=results({"status": code, "error-text": "please wait [ 250 ] and retry"}))
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).send(part("x", peer="+250788383383"), tools)
    assert type(raised.value) is error
    assert raised.value.code == code
    if code == "1":
        assert raised.value.retry_after == 0.25


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, "Invalid API token", Unauthorised),
        (429, "slow down", Throttled),
        (503, "", Temporary),
        (400, "Error", Undeliverable),
        (200, "<html>", Uncertain),
        (200, "{}", Uncertain),
    ],
)
async def test_other_answers(provider, tools, status, body, error):
    provider.answers("POST", "/sms/json", status=status, body=body, headers={"Retry-After": "3"})
    with pytest.raises(error):
        await channel(base_url=provider.url).send(part("x", peer="+250788383383"), tools)


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", "/sms/json")
    secret = payloads.SETTINGS["api_secret"]
    async with tools_for(provider.url, secrets=(secret,)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).send(part("x", peer="+250788383383"), tools)
        provider.answers("GET", "/account/get-balance", status=401, body="no")
        with pytest.raises(Unauthorised):
            await channel(base_url=provider.url).check(tools)
    assert len(exchanges) == 2
    assert secret not in repr(exchanges)


async def test_a_check_shows_the_balance(provider, tools):
    provider.answers("GET", "/account/get-balance", json={"value": 10.28, "autoReload": False})
    assert (await channel(base_url=provider.url).check(tools)).facts == {"balance": "10.28 EUR"}


async def test_a_picture_is_fetched(provider, tools):
    provider.answers("GET", "/1.jpg", body=b"JPEG", content_type="image/jpeg")
    fetched = await channel().fetch_media(f"{provider.url}/1.jpg", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"JPEG"
    assert fetched.content_type == "image/jpeg"
