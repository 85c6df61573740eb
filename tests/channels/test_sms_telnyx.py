from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

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
from tests.channels.payloads import sms_telnyx as payloads
from tests.channels.payloads.sms_telnyx import event, signed
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)


def channel(**settings: Any) -> Any:
    return registry.build("sms_telnyx", {**payloads.SETTINGS, **settings})


def read(kind: str, payload: dict[str, Any], query: str = "") -> list[Any]:
    return list(channel().parse(signed(event(kind, payload), query=query), CONTEXT))


KNOWN = RawRequest(
    b'{"data":{"event_type":"message.received"}}',
    headers={
        "telnyx-timestamp": "1760948130",
        "telnyx-signature-ed25519": (
            "nF1D3NN/ZhzbU2YRBzR3SKeE/k3rFb3vlv3r7Vow/pvrL6gjhlqtx8RTFKUP19wjYyTZffLUcy4h7iMHFFEABw=="
        ),
    },
)
SIGNED_AT = datetime.fromtimestamp(1760948130, UTC)
PUBLIC_KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="


@pytest.mark.parametrize("age", [-299, 0, 300])
def test_a_known_signature_is_accepted_for_five_minutes(age):
    channel(public_key=PUBLIC_KEY).verify(KNOWN, SIGNED_AT + timedelta(seconds=age))


@pytest.mark.parametrize(
    ("request_", "age"),
    [
        (KNOWN, 301),
        (KNOWN, -301),
        (replace(KNOWN, body=KNOWN.body + b" "), 0),
        (replace(KNOWN, headers={**KNOWN.headers, "telnyx-timestamp": "1760948131"}), 0),
        (replace(KNOWN, headers={**KNOWN.headers, "telnyx-timestamp": "soon"}), 0),
        (replace(KNOWN, headers={**KNOWN.headers, "telnyx-signature-ed25519": "YQ=="}), 0),
        (replace(KNOWN, headers={**KNOWN.headers, "telnyx-signature-ed25519": "я"}), 0),
        (replace(KNOWN, headers={"telnyx-timestamp": "1760948130"}), 0),
    ],
)
def test_what_is_old_or_changed_is_refused(request_, age):
    with pytest.raises(BadSignature):
        channel(public_key=PUBLIC_KEY).verify(request_, SIGNED_AT + timedelta(seconds=age))


@pytest.mark.parametrize("key", ["", "YQ==", "not base64!"])
async def test_a_key_that_is_none_is_asked_for(tools, key):
    with pytest.raises(NotConfigured, match="public key"):
        channel(public_key=key).verify(KNOWN, SIGNED_AT)
    with pytest.raises(Misconfigured, match="public key"):
        await channel(public_key=key).check(tools)


def test_a_message_and_its_pictures():
    (found,) = read("message.received", payloads.TEXT)
    assert isinstance(found, Incoming)
    assert (found.external_id, found.text, found.peer) == (
        "84cca175-9755-4859-b67f-4730d7f58aa3",
        "Živjo, ali še velja? 😊",
        "+38640123456",
    )
    assert found.occurred_at == datetime(2026, 11, 20, 8, 59, 40, 522_000, tzinfo=UTC)
    (found,) = read("message.received", payloads.MEDIA)
    assert [(item.reference, item.kind, item.size) for item in found.attachments] == [
        ("https://media.telnyx.com/1.jpg", "image", 102_400)
    ]


def test_a_stop_is_a_signal_as_well():
    found = read("message.received", {**payloads.TEXT, "text": "ODJAVA"})
    assert [type(item).__name__ for item in found] == ["Incoming", "Signal"]


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("sent", "", ("sent", "", True, False)),
        ("delivered", "", ("delivered", "", True, False)),
        ("delivery_unconfirmed", "", ("sent", "", True, False)),
        ("delivery_failed", "40003", ("failed", "40003", False, False)),
        ("delivery_failed", "40001", ("failed", "40001", True, True)),
        ("sending_failed", "40008", ("failed", "40008", True, False)),
    ],
)
def test_reports_become_states(state, code, expected):
    errors = [{"code": code, "title": "why", "detail": "so"}] if code else []
    to = [{"phone_number": "+38640123456", "status": state}]
    (found,) = read("message.finalized", {**payloads.FINALIZED, "to": to, "errors": errors}, "part=184467.0")
    assert isinstance(found, Status)
    assert (found.status, found.error_code, found.is_final, found.is_dead) == expected
    assert (found.our_id, found.external_id, found.peer) == (
        "184467.0",
        "ac012cbf-5e09-46af-a69a-7c0e2d90993c",
        "+38640123456",
    )
    assert found.error_text == ("why so" if code else "")


def test_a_report_of_an_opt_out_is_a_signal_too():
    payload = {**payloads.FINALIZED, "to": [{"phone_number": "+38640123456", "status": "sending_failed"}]}
    status, signal = read("message.finalized", {**payload, "errors": [{"code": "40300"}]})
    assert (status.status, signal.kind, signal.peer) == ("failed", "opted_out", "+38640123456")


def test_every_recipient_s_state_is_told_and_an_odd_one_costs_no_other():
    to = [{"status": "delivered"}, {"phone_number": "+38640123456", "status": "huh"}, None, {"status": "sent"}]
    found = read("message.sent", {**payloads.FINALIZED, "to": to})
    assert [item.status for item in found] == ["delivered", "sent"]


@pytest.mark.parametrize("kind", ["call.initiated", "message.updated", ""])
def test_other_events_are_none(kind):
    assert read(kind, payloads.FINALIZED) == []


def test_a_repeat_has_the_event_s_id():
    again = signed(event("message.received", payloads.TEXT), at=int(NOW.timestamp()) + 60)
    assert channel().route(payloads.REQUESTS[0]) == channel().route(again)


async def test_a_text_goes_with_a_callback_that_names_it(provider, tools):
    provider.answers("POST", "/v2/messages", json={"data": {"id": "m1"}})
    sender = channel(base_url=provider.url, messaging_profile_id="p1")
    assert (await sender.send(part("Živjo", peer="+38640123456", files=(file(),)), tools)).external_ids == ("m1",)
    (asked,) = provider.asked
    assert asked.json == {
        "from": "+14155550199",
        "to": "+38640123456",
        "messaging_profile_id": "p1",
        "text": "Živjo\nhttps://hub.example/files/abc",
        "webhook_url": "https://hub.example/hooks/k/status?part=184467.0",
        "use_profile_webhooks": False,
    }
    assert asked.headers["authorization"] == f"Bearer {payloads.SETTINGS['api_key']}"
    await sender.send(part("Look", peer="+14133881111", files=(file(),)), tools)
    assert provider.asked[1].json["media_urls"] == ["https://hub.example/files/abc"]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "40300", RecipientGone),
        (400, "40310", RecipientGone),
        (400, "40008", Undeliverable),
        (400, "40305", Misconfigured),
        (402, "20100", Misconfigured),
        (401, "10009", Unauthorised),
        (403, "20002", Unauthorised),
        (429, "10011", Throttled),
        (500, "", Temporary),
        (200, "40302", Undeliverable),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, status, code, error):
    body = {"errors": [{"code": code, "title": "why", "detail": "so"}]}
    provider.answers("POST", "/v2/messages", status=status, json=body, headers={"Retry-After": "2"})
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).send(part("x", peer="+38640123456"), tools)
    assert type(raised.value) is error
    assert getattr(raised.value, "opted_out", False) == (code == "40300")
    assert status != 429 or raised.value.retry_after == 2


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", "/v2/messages")
    secret = payloads.SETTINGS["api_key"]
    async with tools_for(provider.url, secrets=(secret,)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).send(part("x", peer="+38640123456"), tools)
        provider.answers("POST", "/v2/messages", json={"data": {}})
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).send(part("x", peer="+38640123456"), tools)
    assert len(exchanges) == 2
    assert secret not in repr(exchanges)


async def test_the_profile_is_pointed_to_us_and_back(provider, tools):
    state = {"webhook_url": ""}

    def change(asked: Any) -> web.Response:
        state["webhook_url"] = asked.json["webhook_url"]
        return web.json_response({"data": state})

    provider.does("PATCH", "/v2/messaging_profiles/p1", change)
    provider.does("GET", "/v2/messaging_profiles/p1", lambda _: web.json_response({"data": state}))
    sender = channel(base_url=provider.url, messaging_profile_id="p1")
    await sender.setup(tools)
    await sender.setup(tools)
    assert state["webhook_url"] == "https://hub.example/hooks/k"
    await sender.teardown(tools)
    assert state["webhook_url"] == ""
    await sender.teardown(tools)
    assert "portal" in await channel().setup(tools)


async def test_a_check_shows_the_balance_and_a_picture_is_fetched(provider, tools):
    provider.answers("GET", "/v2/balance", json={"data": {"balance": "300.00", "currency": "USD"}})
    assert (await channel(base_url=provider.url).check(tools)).facts == {"balance": "300.00 USD"}
    provider.answers("GET", "/1.jpg", body=b"JPEG", content_type="image/jpeg")
    fetched = await channel().fetch_media(f"{provider.url}/1.jpg", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"JPEG"
