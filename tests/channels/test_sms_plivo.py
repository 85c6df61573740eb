from __future__ import annotations

from dataclasses import replace
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
from tests.channels.payloads import sms_plivo as payloads
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
ACCOUNT = f"/v1/Account/{payloads.SETTINGS['auth_id']}/"


def channel(**settings: Any) -> Any:
    return registry.build("sms_plivo", {**payloads.SETTINGS, **settings})


def read(form: dict[str, str], **more: str) -> list[Any]:
    return list(channel().parse(payloads.signed(form, **more), CONTEXT))


# --- signatures; the values were made by Plivo's own library ---

URL = "https://hub.example.com/hooks/plivo/ch1"
NONCE = "05429567804466091622"
BODY = (
    b"From=14155550100&MessageUUID=7a242edc-2f57-11e7-98c9-06ab0bf64327&Text=hi&To=14155550199&TotalAmount=0"
    b"&TotalRate=0&Type=sms&Units=1"
)
V3 = "6JgooNS+R2JuBtC4iOdSwyN+TyrlsaTxsa+ZohuvAvw="
V2 = "gHmjrrtSRVeDhbUXGZcy9y8X0MfQJpYX5ZTktmO7pIs="
WITH_QUERY = RawRequest(
    "MessageUUID=m1&Text=Привет+%26+co&From=14155550100".encode(),
    headers={
        "x-plivo-signature-v3": f"b3RoZXI=, {'Ir4Kqg1fwwOUzg4Emu4hDufRzJzeSFYFMzCiawk+Zvo='}",
        "x-plivo-signature-v3-nonce": NONCE,
    },
    query="part=184467.0&a=b%20c",
    url=f"{URL}?part=184467.0&a=b%20c",
)
GOT = RawRequest(
    method="GET",
    headers={
        "x-plivo-signature-v3": "edo5iseWj155zd9dTrcj5vARIz1nlzkhy69MWTC7x1I=",
        "x-plivo-signature-v3-nonce": NONCE,
    },
    query="Text=Hi+x&From=14155550100",
    url=f"{URL}?Text=Hi+x&From=14155550100",
)


def posted(version: str, signature: str, body: bytes = BODY) -> RawRequest:
    name = f"x-plivo-signature-{version}"
    return RawRequest(body, headers={name: signature, f"x-plivo-signature-{version[-2:]}-nonce": NONCE}, url=URL)


@pytest.mark.parametrize(
    "request_",
    [posted("v3", V3), posted("ma-v3", V3), posted("v2", V2), WITH_QUERY, GOT],
    ids=["v3", "of the main account", "v2", "with a query", "GET"],
)
def test_known_signatures_are_accepted(request_):
    channel(auth_token="MA_TOKEN_0123456789").verify(request_, NOW)


@pytest.mark.parametrize(
    "request_",
    [
        posted("v3", V3, BODY + b"&Extra=1"),
        posted("v3", V2),
        posted("v2", V3),
        replace(GOT, url=f"{URL}?Text=Other"),
        replace(WITH_QUERY, url=URL),
        RawRequest(BODY, url=URL),
    ],
)
def test_forged_signatures_are_refused(request_):
    with pytest.raises(BadSignature):
        channel(auth_token="MA_TOKEN_0123456789").verify(request_, NOW)


def test_the_older_signature_can_be_forbidden():
    with pytest.raises(BadSignature):
        channel(auth_token="MA_TOKEN_0123456789", only_v3=True).verify(posted("v2", V2), NOW)
    with pytest.raises(NotConfigured):
        channel(auth_token="").verify(posted("v3", V3), NOW)


# --- reading ---


def test_a_message_and_its_pictures():
    (event,) = read(payloads.TEXT)
    assert isinstance(event, Incoming)
    assert (event.external_id, event.text, event.peer) == (
        "7a242edc-2f57-11e7-98c9-06ab0bf64327",
        "Kas homme sobib? Õhtul",
        "+37255512345",
    )
    (event,) = read(payloads.MEDIA)
    assert [(found.kind, found.reference[-7:]) for found in event.attachments] == [("image", "Media/1")]


@pytest.mark.parametrize(
    ("sender", "address"),
    [("60124361111", ("phone", "+60124361111")), ("2020", ("sms_sender", "2020")), ("MTN", ("sms_sender", "MTN"))],
)
def test_senders_of_every_sort(sender, address):
    (event,) = read({**payloads.TEXT, "From": sender})
    assert event.claims[0].address == address
    assert channel().address_of(event.peer) == address


def test_a_stop_is_a_signal_as_well():
    assert [type(event).__name__ for event in read({**payloads.TEXT, "Text": "LÕPETA"})] == ["Incoming", "Signal"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({}, ("db3ce55a-7f1d-11e1-8ea7-1231380bc196", "delivered", "", True, False)),
        ({"ParentMessageUUID": "", "status": "sent"}, ("part-2", "sent", "", True, False)),
        ({"Status": "undelivered", "ErrorCode": "300"}, ("db3ce55a", "failed", "300", False, False)),
        ({"Status": "rejected", "ErrorCode": "50"}, ("db3ce55a", "failed", "50", True, True)),
        ({"Status": "read"}, ("db3ce55a", "read", "", True, False)),
    ],
)
def test_reports_become_states_of_the_whole_message(form, expected):
    given = {name: value for name, value in payloads.DELIVERED.items() if not (name == "Status" and "status" in form)}
    (event,) = read({**given, **form}, suffix="status", query="part=184467.0")
    assert isinstance(event, Status)
    assert event.external_id.startswith(expected[0])
    assert (event.status, event.error_code, event.is_final, event.is_dead) == expected[1:]
    assert (event.our_id, event.peer) == ("184467.0", "+37255512345")


def test_a_report_of_an_opt_out_is_a_signal_too():
    status, signal = read({**payloads.DELIVERED, "Status": "failed", "ErrorCode": "200"})
    assert (status.status, signal.kind, signal.peer) == ("failed", "opted_out", "+37255512345")


@pytest.mark.parametrize("form", [{"a": "b"}, {"MessageUUID": "1"}, {"MessageUUID": "1", "Status": "UNKNOWN"}])
def test_what_says_nothing_makes_no_event(form):
    assert read(form) == []


def test_each_part_s_report_is_a_request_of_its_own():
    keys = {channel().route(payloads.signed({**payloads.DELIVERED, "MessageUUID": uuid})).dedupe_key for uuid in "ab"}
    assert len(keys) == 2


# --- sending ---


async def test_a_text_goes_and_all_its_ids_are_kept(provider, tools):
    provider.answers("POST", f"{ACCOUNT}Message/", status=202, json={"message_uuid": ["a1", "a2"], "api_id": "x"})
    sender = channel(base_url=provider.url)
    receipt = await sender.send(part("Tere ☺", peer="+37255512345", files=(file(),)), tools)
    assert receipt.external_ids == ("a1", "a2")
    (asked,) = provider.asked
    assert asked.json == {
        "src": "14155550199",
        "dst": "37255512345",
        "type": "sms",
        "text": "Tere ☺\nhttps://hub.example/files/abc",
        "url": "https://hub.example/hooks/k/status?part=184467.0",
        "method": "POST",
    }
    assert asked.headers["authorization"].startswith("Basic TUFNWkE0")
    await sender.send(part("Look", peer="+14133881111", files=(file(),)), tools)
    assert provider.asked[1].json["media_urls"] == ["https://hub.example/files/abc"]
    assert provider.asked[1].json["type"] == "mms"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"error": "authentication failed"}, Unauthorised),
        (400, {"error": "src is invalid"}, Undeliverable),
        (400, {"error": "recipient has opted out"}, RecipientGone),
        (402, {"error": "insufficient credit"}, Misconfigured),
        (429, {"error": "too many"}, Throttled),
        (500, {"error": "oops"}, Temporary),
        (202, {"missing": "x"}, Uncertain),
        (200, {"error": "not allowed"}, Undeliverable),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, status, body, error):
    provider.answers("POST", f"{ACCOUNT}Message/", status=status, json=body, headers={"Retry-After": "4"})
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).send(part("x", peer="+37255512345"), tools)
    assert type(raised.value) is error
    assert status != 429 or raised.value.retry_after == 4


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", f"{ACCOUNT}Message/")
    async with tools_for(provider.url, secrets=(payloads.TOKEN,)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).send(part("x", peer="+37255512345"), tools)
    assert exchanges
    assert payloads.TOKEN not in repr(exchanges)


async def test_a_check_shows_the_account(provider, tools):
    provider.answers("GET", ACCOUNT, json={"name": "Shop", "cash_credits": "92.1"})
    assert (await channel(base_url=provider.url).check(tools)).facts == {"account": "Shop", "balance": "92.1"}


async def test_our_credentials_go_to_plivo_s_files_alone(provider, tools):
    provider.answers("GET", "/1", body=b"PNG", content_type="image/png")
    await channel(base_url=provider.url).fetch_media(f"{provider.url}/1", tools)
    await channel().fetch_media(f"{provider.url}/1", tools)
    assert ["authorization" in asked.headers for asked in provider.asked] == [True, False]
