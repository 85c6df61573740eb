from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from channels import registry
from channels.contract import ParseContext, Template
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
    WindowClosed,
)
from core.kernel.addresses import Address
from core.kernel.envelopes import Incoming, Signal, Status
from tests.channels.payloads import NOW
from tests.channels.payloads import sms_twilio as payloads
from tests.channels.provider import file, part, playing, tools_for
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
MESSAGES = f"/2010-04-01/Accounts/{payloads.SETTINGS['account_sid']}/Messages.json"
SENT = {"sid": "SM0000000000000000000000000000000b", "status": "queued", "error_code": None}


def channel(**settings: Any) -> Any:
    return registry.build("sms_twilio", {**payloads.SETTINGS, **settings})


def read(form: dict[str, str], **settings: Any) -> list[Any]:
    return list(channel(**settings).parse(payloads.signed(form), CONTEXT))


# --- signatures; the first three are Twilio's own examples ---

DOCS_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
DOCS_FORM = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
JSON_BODY = b'{"property": "value", "boolean": true}'
JSON_QUERY = "foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"


def documented(signature: str, *, url: str = DOCS_URL, body: bytes = DOCS_FORM, **headers: str) -> RawRequest:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return RawRequest(body, headers={"x-twilio-signature": signature, **names}, query=url.partition("?")[2], url=url)


@pytest.mark.parametrize(
    "request_",
    [
        documented("RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        documented(
            "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s=",
            x_twilio_webhooks_signature_settings="key=KY01,algorithm=HMAC_SHA256",
        ),
        documented("a9nBmqA0ju/hNViExpshrM61xv4=", url=f"https://mycompany.com/myapp.php?{JSON_QUERY}", body=JSON_BODY),
        documented("RSOYDt4T1cUTdK1PDd93/VVr8B8=", url=DOCS_URL.replace(".com/", ".com:8443/")),
    ],
    ids=["sha1", "sha256", "json", "with a port that was not signed"],
)
def test_published_signatures_are_accepted(request_):
    channel(auth_token="12345", shared_key="12345").verify(request_, NOW)


@pytest.mark.parametrize(
    "request_",
    [
        documented("RSOYDt4T1cUTdK1PDd93/VVr8B9="),
        documented(""),
        documented("RSOYDt4T1cUTdK1PDd93/VVr8B8=", body=DOCS_FORM + b"&More=1"),
        documented("RSOYDt4T1cUTdK1PDd93/VVr8B8=", url=DOCS_URL + "&baz=3"),
        documented(
            "a9nBmqA0ju/hNViExpshrM61xv4=", url=f"https://mycompany.com/myapp.php?{JSON_QUERY}", body=JSON_BODY + b" "
        ),
        documented(
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=", x_twilio_webhooks_signature_settings="key=KY01,algorithm=HMAC_SHA256"
        ),
        documented("ключ"),
    ],
)
def test_forged_signatures_are_refused(request_):
    with pytest.raises(BadSignature):
        channel(auth_token="12345", shared_key="12345").verify(request_, NOW)


def test_a_port_that_was_signed_but_is_not_seen_is_tried():
    signed = payloads.signed(payloads.TEXT)
    text = payloads.URL.replace(".example/", ".example:443/")
    written = text + "".join(name + payloads.TEXT[name] for name in sorted(payloads.TEXT))
    made = base64.b64encode(hmac.new(payloads.TOKEN.encode(), written.encode(), hashlib.sha1).digest()).decode()
    channel().verify(replace(signed, headers={**signed.headers, "x-twilio-signature": made}), NOW)


@pytest.mark.parametrize("order", ["ABB", "BAB"], ids=["sorted, once each", "as they came"])
def test_repeated_names_are_signed_one_way_or_the_other(order):
    values = ["A", "B"] if order == "ABB" else list(order)
    written = payloads.URL + "".join("Media" + value for value in values)
    made = base64.b64encode(hmac.new(payloads.TOKEN.encode(), written.encode(), hashlib.sha1).digest()).decode()
    body = "&".join(f"Media={value}" for value in order).encode()
    channel().verify(RawRequest(body, headers={"x-twilio-signature": made}, url=payloads.URL), NOW)


def test_a_shared_key_that_was_not_entered_is_asked_for():
    with pytest.raises(NotConfigured, match="shared key"):
        channel().verify(documented("x", x_twilio_webhooks_signature_settings="algorithm=HMAC_SHA256"), NOW)


# --- reading ---


def test_a_text_comes_from_its_number():
    (event,) = read(payloads.TEXT)
    assert isinstance(event, Incoming)
    assert event.external_id == "SM0123456789abcdef0123456789abcdef"
    assert event.text == "Добрый день, есть ли доставка? 🚚"
    assert event.peer == "+79161234567"
    assert [(claim.address, claim.trust) for claim in event.claims] == [(Address("phone", "+79161234567"), "attested")]
    assert event.replies_until is None


def test_pictures_are_named_for_later():
    (event,) = read(payloads.MEDIA)
    assert event.text == ""
    assert [(found.reference[-4:], found.kind, found.content_type) for found in event.attachments] == [
        ("ME01", "image", "image/jpeg"),
        ("ME02", "file", "application/pdf"),
    ]


def test_whatsapp_is_an_address_of_its_own_and_has_a_window():
    (event,) = read(payloads.WHATSAPP)
    assert event.peer == "whatsapp:+37255512345"
    assert [claim.address for claim in event.claims] == [
        ("whatsapp", "37255512345"),
        ("phone", "+37255512345"),
        ("whatsapp", "EE.1234"),
    ]
    assert event.name == "Õnne Mägi"
    assert event.reply_to == "SM00000000000000000000000000000001"
    assert event.replies_until == NOW + timedelta(hours=24)


def test_whatsapp_without_a_number_or_a_prefix_is_still_whatsapp():
    (hidden,) = read(
        {**payloads.WHATSAPP, "From": "whatsapp:US.1234", "WaId": "", "ExternalUserId": "whatsapp:US.1234"}
    )
    assert [claim.address for claim in hidden.claims] == [("whatsapp", "US.1234")]
    assert channel().address_of(hidden.peer) == ("whatsapp", "US.1234")
    (bare,) = read({**payloads.TEXT, "From": "+14133881111"}, sender="whatsapp:+14155550199")
    assert bare.claims[0].address == ("whatsapp", "14133881111")


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (
            {"Body": "QmFubm9uIEV4cGxhaW5zIFRoZSBXb3JsZCAuLi4K4oCcVGhlIENhbXAgb2YgdGhlIFNhaW50c+KA"},
            "Bannon Explains The World ...\n“The Camp of the Saints",
        ),
        (
            {"Body": base64.b64encode("Здравствуйте, когда привезут мой заказ номер восемь?".encode()).decode()},
            "Здравствуйте, когда привезут мой заказ номер восемь?",
        ),
        ({"Body": "A" * 64}, "A" * 64),
        ({"Body": "QmFubm9u"}, "QmFubm9u"),
        ({"Body": "   "}, ""),
        ({"Body": "", "ButtonText": "Confirm"}, "Confirm"),
        ({"Body": "A text", "ButtonText": "Confirm"}, "A text"),
        ({"From": "whatsapp:+14155550100", "Body": "A text", "ButtonText": "Confirm"}, "Confirm"),
        ({"Latitude": "55.75", "Longitude": "37.61", "Address": "Москва", "Body": ""}, "Москва\n55.75, 37.61"),
    ],
)
def test_bodies_read_as_they_were_written(form, text):
    assert read({**payloads.TEXT, **form})[0].text == text


@pytest.mark.parametrize(("word", "kind"), [("СТОП", "opted_out"), ("Stop.", "opted_out"), ("start", "opted_in")])
def test_a_stop_is_a_signal_and_a_message(word, kind):
    message, signal = read({**payloads.TEXT, "Body": word})
    assert message.text == word
    assert isinstance(signal, Signal)
    assert (signal.kind, signal.peer) == (kind, "+79161234567")
    assert signal.claims == message.claims


@pytest.mark.parametrize(
    ("sender", "address"),
    [
        ("384387", ("sms_sender", "384387")),
        ("MyBank", ("sms_sender", "MyBank")),
        ("+14133881111", ("phone", "+14133881111")),
    ],
)
def test_short_codes_and_names_are_no_phones(sender, address):
    (event,) = read({**payloads.TEXT, "From": sender})
    assert event.claims[0].address == address
    assert channel().address_of(event.peer) == address


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("queued", "", ("sent", "", True, False)),
        ("sent", "", ("sent", "", True, False)),
        ("delivered", "0", ("delivered", "", True, False)),
        ("read", "", ("read", "", True, False)),
        ("undelivered", "30003", ("failed", "30003", False, False)),
        ("failed", "30008", ("failed", "30008", False, False)),
        ("undelivered", "30006", ("failed", "30006", True, True)),
        ("canceled", "", ("failed", "", True, False)),
    ],
)
def test_reports_become_states(state, code, expected):
    (event,) = read({**payloads.DELIVERED, "MessageStatus": state, "ErrorCode": code})
    assert isinstance(event, Status)
    assert (event.status, event.error_code, event.is_final, event.is_dead) == expected
    assert event.external_id == "SM0000000000000000000000000000000a"


def test_a_report_names_our_part_and_its_moment():
    (event,) = channel().parse(payloads.REQUESTS[3], CONTEXT)
    assert event.our_id == "184467.0"
    assert event.occurred_at == datetime(2026, 11, 20, 8, 58, tzinfo=UTC)
    assert event.peer == "+79161234567"


def test_a_report_of_an_opt_out_is_a_signal_too():
    status, signal = read({**payloads.DELIVERED, "MessageStatus": "failed", "ErrorCode": "21610"})
    assert status.status == "failed"
    assert (signal.kind, signal.peer) == ("opted_out", "+79161234567")


@pytest.mark.parametrize("form", [{"MessageSid": "SM1"}, {"MessageSid": "SM1", "MessageStatus": "huh"}, {"a": "b"}])
def test_what_says_nothing_makes_no_event(form):
    assert read(form) == []


def test_each_state_is_a_request_of_its_own_and_a_repeat_is_not():
    routed = [
        channel().route(payloads.signed({**payloads.DELIVERED, "MessageStatus": state})).dedupe_key
        for state in ("sent", "delivered", "delivered")
    ]
    assert routed[0] != routed[1] == routed[2]
    assert channel().route(payloads.signed(payloads.TEXT)).peer == "79161234567"


def test_the_answer_is_twiml_that_says_nothing_to_the_customer():
    reply = channel().acknowledge(payloads.REQUESTS[0], "r")
    assert (reply.content_type, reply.body) == ("text/xml", b'<?xml version="1.0" encoding="UTF-8"?><Response/>')


# --- sending ---


async def test_a_text_goes_with_a_callback_that_names_it(provider, tools):
    provider.answers("POST", MESSAGES, status=201, json=SENT)
    receipt = await channel(base_url=provider.url).send(part("It’s “ready”", peer="+79161234567"), tools)
    assert receipt.external_ids == ("SM0000000000000000000000000000000b",)
    (asked,) = provider.asked
    assert asked.form == {
        "To": "+79161234567",
        "From": "+14155550199",
        "Body": 'It\'s "ready"',
        "StatusCallback": "https://hub.example/hooks/k/status?part=184467.0",
    }
    given = f"{payloads.SETTINGS['account_sid']}:{payloads.TOKEN}"
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(given.encode()).decode()


async def test_a_messaging_service_and_pictures(provider, tools):
    provider.answers("POST", MESSAGES, status=201, json=SENT)
    sender = channel(base_url=provider.url, sender="MG01")
    picture = file(kind="image", content_type="image/png")
    await sender.send(part("Look", peer="+14133881111", files=(picture, picture)), tools)
    await sender.send(part("Look", peer="+79161234567", files=(picture,)), tools)
    mms, link = provider.asked
    assert mms.body.decode().count("MediaUrl=https%3A%2F%2Fhub.example%2Ffiles%2Fabc") == 2
    assert mms.form["MessagingServiceSid"] == "MG01"
    assert "From" not in mms.form
    assert link.form["Body"] == "Look\nhttps://hub.example/files/abc"
    assert "MediaUrl" not in link.form


async def test_a_file_without_an_address_is_explained(tools):
    with pytest.raises(Undeliverable, match="SWITCHYARD_PUBLIC_URL"):
        await channel().send(part("x", peer="+14133881111", files=(file(url=""),)), tools)


async def test_whatsapp_and_its_templates(provider, tools):
    provider.answers("POST", MESSAGES, status=201, json=SENT)
    sender = channel(base_url=provider.url, sender="whatsapp:+14155550199")
    template = Template(f"order_ready HX{'0' * 32}", "ru", ("Вера", "8"))
    assert sender.peer_of(Address("phone", "+37255512345")) == "whatsapp:+37255512345"
    await sender.send(part(peer="whatsapp:+37255512345", template=template), tools)
    form = provider.asked[0].form
    assert (form["To"], form["From"]) == ("whatsapp:+37255512345", "whatsapp:+14155550199")
    assert form["ContentSid"] == f"HX{'0' * 32}"
    assert json.loads(form["ContentVariables"]) == {"1": "Вера", "2": "8"}


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, 21610, RecipientGone),
        (400, 21211, RecipientGone),
        (400, 21614, RecipientGone),
        (400, 21408, Undeliverable),
        (400, 21617, Undeliverable),
        (400, 63016, WindowClosed),
        (400, 21606, Misconfigured),
        (401, 20003, Unauthorised),
        (404, 20404, Unauthorised),
        (429, 20429, Throttled),
        (400, 63018, Throttled),
        (500, 20500, Temporary),
        (503, 0, Temporary),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, status, code, error):
    provider.answers("POST", MESSAGES, status=status, json={"code": code, "message": "why", "status": status})
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).send(part("x", peer="+79161234567"), tools)
    assert type(raised.value) is error
    assert getattr(raised.value, "opted_out", False) == (code == 21610)
    assert "why" in str(raised.value)


async def test_throttling_says_for_how_long(provider, tools):
    provider.answers("POST", MESSAGES, status=429, body="busy", headers={"Retry-After": "7"})
    with pytest.raises(Throttled) as raised:
        await channel(base_url=provider.url).send(part("x", peer="+79161234567"), tools)
    assert raised.value.retry_after == 7


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"sid": "SM1", "status": "failed", "error_code": 30006, "error_message": "landline"}, RecipientGone),
        ({"sid": "SM1", "status": "failed", "error_code": 30007}, Undeliverable),
        ({"status": "queued"}, Uncertain),
        ([], Uncertain),
    ],
)
async def test_an_error_inside_a_success_is_an_error(provider, tools, body, error):
    provider.answers("POST", MESSAGES, status=201, json=body)
    with pytest.raises(error):
        await channel(base_url=provider.url).send(part("x", peer="+79161234567"), tools)


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", MESSAGES)
    async with tools_for(provider.url, secrets=(payloads.TOKEN,)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).send(part("x", peer="+79161234567"), tools)
    assert exchanges
    assert payloads.TOKEN not in repr(exchanges)


async def test_a_file_is_fetched_with_credentials_that_go_no_further(provider, tools):
    async with playing() as store:
        store.answers("GET", "/blob", body=b"JPEG", content_type="image/jpeg")
        moved = {"Location": f"{store.url}/blob"}
        provider.does("GET", "/media", lambda _: web.Response(status=302, headers=moved))
        fetched = await channel(base_url=provider.url).fetch_media(f"{provider.url}/media", tools)
        assert b"".join([chunk async for chunk in fetched.chunks]) == b"JPEG"
        assert fetched.content_type == "image/jpeg"
        assert "authorization" in provider.asked[0].headers
        assert "authorization" not in store.asked[0].headers


async def test_a_file_that_is_gone_or_no_address_is_given_up(provider, tools):
    for reference in (f"{provider.url}/gone", "cat.jpg"):
        with pytest.raises(Undeliverable):
            await channel(base_url=provider.url).fetch_media(reference, tools)


async def test_a_check_shows_the_account(provider, tools):
    account = f"/2010-04-01/Accounts/{payloads.SETTINGS['account_sid']}"
    provider.answers("GET", f"{account}.json", json={"friendly_name": "Shop", "status": "active", "type": "Full"})
    provider.answers("GET", f"{account}/Balance.json", json={"balance": "12.5", "currency": "USD"})
    checked = await channel(base_url=provider.url).check(tools)
    assert checked.facts == {"account": "Shop", "type": "Full", "balance": "12.5 USD"}
    provider.answers("GET", f"{account}.json", json={"status": "suspended"})
    with pytest.raises(Misconfigured, match="suspended"):
        await channel(base_url=provider.url).check(tools)


async def test_setting_up_twice_changes_nothing_and_can_be_taken_back(provider, tools):
    numbers = f"/2010-04-01/Accounts/{payloads.SETTINGS['account_sid']}/IncomingPhoneNumbers"
    state = {"sid": "PN01", "sms_url": "", "sms_method": "POST"}

    def change(asked: Any) -> web.Response:
        state["sms_url"] = asked.form["SmsUrl"]
        return web.json_response(state)

    provider.does("GET", f"{numbers}.json", lambda _: web.json_response({"incoming_phone_numbers": [state]}))
    provider.does("POST", f"{numbers}/PN01.json", change)
    sender = channel(base_url=provider.url)
    await sender.setup(tools)
    await sender.setup(tools)
    assert state["sms_url"] == "https://hub.example/hooks/k"
    assert [asked.method for asked in provider.asked] == ["GET", "POST", "GET"]
    await sender.teardown(tools)
    assert state["sms_url"] == ""
    assert "method POST" in await channel(base_url=provider.url, sender="MG01").setup(tools)


async def test_templates_are_listed(provider, tools):
    content = {
        "sid": f"HX{'0' * 32}",
        "friendly_name": "order_ready",
        "language": "ru",
        "types": {"twilio/text": {"body": "Заказ {{1}} готов"}},
        "approval_requests": {"status": "approved", "category": "UTILITY"},
    }
    provider.answers("GET", "/v1/ContentAndApprovals", json={"contents": [content]})
    (known,) = await channel(base_url=provider.url, sender="whatsapp:+1").templates(tools)
    assert known == (f"order_ready HX{'0' * 32}", "ru", "Заказ {{1}} готов", "UTILITY", True)
