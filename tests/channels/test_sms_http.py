from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from channels import registry
from channels.contract import ParseContext
from channels.errors import Misconfigured, Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from core.kernel.envelopes import Incoming, Status
from core.kernel.errors import Rejected
from tests.channels.payloads import NOW
from tests.channels.payloads import sms_http as payloads
from tests.channels.payloads.sms_http import TOKEN, asked, posted
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)


def channel(**settings: Any) -> Any:
    return registry.build("sms_http", {**payloads.SETTINGS, **settings})


def read(request: RawRequest, **settings: Any) -> list[Any]:
    return list(channel(**settings).parse(request, CONTEXT))


# --- in ---


@pytest.mark.parametrize(
    "request_",
    [
        asked("from=1"),
        RawRequest(query="from=1", suffix=TOKEN),
        RawRequest(query="from=1", suffix=f"{TOKEN}/status"),
        RawRequest(query="from=1", headers={"authorization": f"Bearer {TOKEN}"}),
    ],
)
def test_the_token_comes_along_somewhere(request_):
    channel().verify(request_, NOW)
    with pytest.raises(BadSignature):
        channel(token="another-token").verify(request_, NOW)
    with pytest.raises(NotConfigured):
        channel(token="").verify(request_, NOW)


def test_kannel_s_message_of_raw_ucs_2():
    (event,) = read(asked(payloads.KANNEL))
    assert isinstance(event, Incoming)
    assert (event.external_id, event.text, event.peer) == ("asdf-1", "Добрый день 👋", "+79161234567")
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 29, tzinfo=UTC)


def test_names_of_all_sorts_are_known():
    (event,) = read(asked(payloads.PLAIN))
    assert (event.external_id, event.text, event.peer) == ("asdf-2", "Join", "+2349067554729")
    (event,) = read(posted(payloads.JASMIN))
    assert (event.external_id, event.text, event.peer) == ("1001", "événement", "+2349067554729")
    form = b'--b\r\nContent-Disposition: form-data; name="phone"\r\n\r\n8 (916) 123-45-67\r\n'
    form += b'--b\r\nContent-Disposition: form-data; name="msg"\r\n\r\n\xd0\xaf\r\n--b--\r\n'
    (event,) = read(RawRequest(form, headers={"content-type": "multipart/form-data; boundary=b"}))
    assert (event.text, event.peer) == ("Я", "+79161234567")


def test_names_of_one_s_own():
    fields = {"field_from": "absender", "field_text": "inhalt", "field_id": "nr"}
    (event,) = read(asked("absender=37255512345&inhalt=Tere&nr=7&id=8"), **fields)
    assert (event.external_id, event.text, event.peer) == ("7", "Tere", "+37255512345")


@pytest.mark.parametrize(
    ("written", "settings", "text"),
    [
        ("coding=2&text=" + quote("你好".encode("utf-16-be")), {}, "你好"),
        ("coding=2&text=OK+4", {}, "OK 4"),
        ("coding=8&text=" + quote("Բարև".encode("utf-16-be")), {}, "Բարև"),
        ("coding=2&text=" + quote("Привет"), {}, "Привет"),
        ("coding=2&charset=utf-8&text=" + quote("Привет"), {}, "Привет"),
        ("charset=UTF-16BE&text=" + quote("Привет".encode("utf-16-be")), {}, "Привет"),
        ("coding=0&text=" + quote("Õhtul @ 5$"), {}, "Õhtul @ 5$"),
        ("coding=0&text=%00%02+5", {}, "@$ 5"),
        ("coding=0&text=%5bpfel", {"alphabet": "gsm"}, "Äpfel"),
        ("coding=0&text=%1be", {}, "€"),
        ("charset=windows-1251&text=" + quote("Привет".encode("cp1251")), {}, "Привет"),
        ("text=" + quote("Когда откроетесь".encode("cp1251")), {}, "Когда откроетесь"),
        ("coding=1&text=caf%e9", {}, "café"),
        ("coding=8&content=&hex-content=041f0440", {}, "Пр"),
        ("text=", {}, ""),
    ],
)
def test_texts_are_read_in_the_coding_of_the_air(written, settings, text):
    (event,) = read(asked(f"from=%2B79161234567&id=1&{written}"), **settings)
    assert event.text == text


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"\x05\x00\x03\xab\x02\x01", ("concat:79161234567:24453:171", {"concat_part": "1", "concat_parts": "2"})),
        (
            b"\x0b\x05\x04\x0b\x84\x23\xf0\x08\x04\x01\x02\x03\x02",
            ("concat:79161234567:24453:258", {"concat_part": "2", "concat_parts": "3"}),
        ),
        (b"\x05\x00\x03\xab\x02\x03", ("", {})),
        (b"\x05\x00", ("", {})),
    ],
)
def test_parts_of_a_long_text_name_their_whole_and_their_place(header, expected):
    (event,) = read(asked(f"from=%2B79161234567&to=24453&text=x&id=1&udh={quote(header)}"))
    assert (event.group, event.context) == expected


@pytest.mark.parametrize(
    ("sender", "address"),
    [
        ("89161234567", ("phone", "+79161234567")),
        ("9161234567", ("phone", "+79161234567")),
        ("24453", ("sms_sender", "24453")),
        ("MyBank", ("sms_sender", "MyBank")),
    ],
)
def test_senders_of_every_sort(sender, address):
    (event,) = read(asked(f"from={sender}&text=x"))
    assert event.claims[0].address == address


def test_a_stop_is_a_signal_as_well():
    assert [type(event).__name__ for event in read(asked("from=79161234567&text=STOP"))] == ["Incoming", "Signal"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("part=184467.0&status=1", ("delivered", "184467.0", "184467.0", "")),
        ("part=184467.0&status=2&answer=NACK", ("failed", "184467.0", "184467.0", "2")),
        ("part=184467.0&status=4", ("sent", "184467.0", "184467.0", "")),
        ("part=184467.0&status=8&text=", ("sent", "184467.0", "184467.0", "")),
        ("part=184467.0&status=16", ("failed", "184467.0", "184467.0", "16")),
        ("id=12345&status=4", ("sent", "12345", "", "")),
        ("id=external1&dlvrd=1", ("delivered", "external1", "", "")),
        ("id=external1&dlvrd=001&message_status=DELIVRD&text=first+words", ("delivered", "external1", "", "")),
        ("id=external1&dlvrd=001&message_status=ACCEPTD", ("sent", "external1", "", "")),
        ("id=external1&message_status=EXPIRED&err=027", ("failed", "external1", "", "027")),
        ("id=external1&err=1", ("failed", "external1", "", "1")),
    ],
)
def test_reports_become_states(written, expected):
    (event,) = read(asked(written))
    assert isinstance(event, Status)
    assert (event.status, event.external_id, event.our_id, event.error_code) == expected


def test_words_of_one_s_own_for_states():
    settings = {"field_status": "zustand", "status_values": ["Zugestellt = delivered", "weg=failed", "nonsense"]}
    (event,) = read(asked("id=1&zustand=ZUGESTELLT"), **settings)
    assert event.status == "delivered"


@pytest.mark.parametrize("written", ["", "id=1&status=66", "status=1", "from=1", "text=x", "id=1&err=0&dlvrd=0"])
def test_what_says_nothing_makes_no_event(written):
    assert read(asked(written)) == []


def test_repeats_are_known_by_id_or_for_a_while_by_content():
    route = channel().route
    assert route(asked(payloads.KANNEL)).repeat_within is None
    assert route(asked("from=79161234567&text=x&id=1")) == route(asked("from=79161234567&text=y&id=1"))
    assert route(asked("from=79161234567&text=x")) != route(asked("from=79161234567&text=y"))
    assert route(asked("from=79161234567&text=x")).repeat_within is not None
    assert route(asked("part=1&status=8")).dedupe_key != route(asked("part=1&status=1")).dedupe_key


def test_the_answer_is_empty_or_what_the_settings_say():
    assert channel().acknowledge(asked(""), "r").body == b""
    assert channel(reply="ACK/Jasmin").acknowledge(asked(""), "r").body == b"ACK/Jasmin"


# --- out ---

ACCEPTED = "0: Accepted for delivery"


async def test_kannel_works_out_of_the_box(provider, tools):
    provider.answers("GET", "/cgi-bin/sendsms", status=202, body=ACCEPTED)
    sender = channel(send_url=f"{provider.url}/cgi-bin/sendsms?auth=foo")
    receipt = await sender.send(part("“Hi” & bye", peer="+250788383383", files=(file(),)), tools)
    assert receipt.external_ids == ("184467.0",)
    (sent,) = provider.asked
    assert sent.query == {
        "auth": "foo",
        "username": "hub",
        "password": "kpass-kpass",
        "from": "24453",
        "to": "+250788383383",
        "charset": "UTF-8",
        "text": '"Hi" & bye\nhttps://hub.example/files/abc',
        "dlr-mask": "31",
        "dlr-url": f"https://hub.example/hooks/k/status?part=184467.0&token={TOKEN}&status=%d&answer=%A",
    }


async def test_other_letters_go_to_kannel_as_raw_utf_16(provider, tools):
    provider.answers("GET", "/sendsms", status=202, body=ACCEPTED)
    await channel(send_url=f"{provider.url}/sendsms").send(part("Привет ☺", peer="+250788383383"), tools)
    assert provider.asked[0].query["coding"] == "2"
    assert provider.asked[0].query["charset"] == "UTF-16BE"


async def test_a_report_finds_its_part_by_the_address_we_gave(provider, tools):
    provider.answers("GET", "/sendsms", status=202, body=ACCEPTED)
    sender = channel(send_url=f"{provider.url}/sendsms")
    await sender.send(part("x", peer="+250788383383"), tools)
    called = provider.asked[0].query["dlr-url"].replace("%d", "1").replace("%A", "ACK").replace("%%", "%")
    report = RawRequest(method="GET", query=called.partition("?")[2])
    sender.verify(report, NOW)
    (event,) = sender.parse(report, CONTEXT)
    assert (event.status, event.our_id) == ("delivered", "184467.0")


async def test_jasmin_by_placeholders(provider, tools):
    provider.answers("GET", "/send", body='Success "07033084-5cfd-4812-90a4-e4d24ffb6e3d"')
    url = (
        "/send?to={to_digits}&from={from}&hex-content={hex}&coding={coding}&dlr=yes&dlr-url={dlr_url}&username={user}"
        "&password={password}&x={unknown}"
    )
    sender = channel(send_url=provider.url + url, password="p&w d", reply="ACK/Jasmin")
    receipt = await sender.send(part("Привет", peer="+250788383383"), tools)
    assert receipt.external_ids == ("07033084-5cfd-4812-90a4-e4d24ffb6e3d",)
    assert provider.asked[0].query == {
        "to": "250788383383",
        "from": "24453",
        "hex-content": "041f04400438043204350442",
        "coding": "2",
        "dlr": "yes",
        "dlr-url": f"https://hub.example/hooks/k/status?part=184467.0&token={TOKEN}",
        "username": "hub",
        "password": "p&w d",
        "x": "{unknown}",
    }


async def test_a_body_of_json_or_of_a_form_and_headers(provider, tools):
    provider.answers("POST", "/send", json={"message": {"id": "m-1"}})
    settings = {
        "send_url": f"{provider.url}/send",
        "headers": ["Authorization: Key {password}", "nonsense"],
        "message_id": r'"id":\s*"([^"]+)"',
        "number_format": "digits",
    }
    sender = channel(body='{"to": "{to}", "text": "{text}", "ref": "{id}"}', **settings)
    receipt = await sender.send(part('Say "да"\nok', peer="+250788383383"), tools)
    assert receipt.external_ids == ("m-1",)
    assert provider.asked[0].json == {"to": "250788383383", "text": 'Say "да"\nok', "ref": "184467.0"}
    assert provider.asked[0].headers["authorization"] == "Key kpass-kpass"
    assert provider.asked[0].headers["content-type"] == "application/json"
    await channel(body="to={to}&text={text}", **settings).send(part("a&b=я", peer="+250788383383"), tools)
    assert provider.asked[1].form == {"to": "250788383383", "text": "a&b=я"}
    assert provider.asked[1].headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (403, "Authorization failed for sendsms", Unauthorised),
        (403, "Not routable. Do not try again.", Undeliverable),
        (401, "1: Unknown channel", Unauthorised),
        (400, "Missing receiver", Undeliverable),
        (503, "Temporal failure, try again later.", Temporary),
        (429, "slow", Throttled),
        (200, 'Error "No route found"', Undeliverable),
        (200, "FAILED: no credit", Undeliverable),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, status, body, error):
    provider.answers("GET", "/sendsms", status=status, body=body, headers={"Retry-After": "2"})
    with pytest.raises(error) as raised:
        await channel(send_url=f"{provider.url}/sendsms").send(part("x", peer="+250788383383"), tools)
    assert type(raised.value) is error
    assert body[:4] in str(raised.value)
    assert status != 429 or raised.value.retry_after == 2


async def test_a_good_answer_may_be_described(provider, tools):
    provider.answers("GET", "/sendsms", body="result=accepted")
    sender = channel(send_url=f"{provider.url}/sendsms", success="result=ok")
    with pytest.raises(Undeliverable, match="result=accepted"):
        await sender.send(part("x", peer="+250788383383"), tools)
    await channel(send_url=f"{provider.url}/sendsms", success="accepted").send(part("x", peer="+2507883"), tools)


def test_a_pattern_that_is_none_is_refused_when_it_is_entered():
    with pytest.raises(Rejected, match="regular expression"):
        channel(success="(")


async def test_a_cut_connection_leaves_it_uncertain_even_for_a_get_and_no_secret_is_noted(provider):
    provider.breaks("GET", "/sendsms")
    secrets = ("kpass-kpass", TOKEN)
    async with tools_for(provider.url, secrets=secrets) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(send_url=f"{provider.url}/sendsms").send(part("x", peer="+250788383383"), tools)
        assert len(provider.asked) == 1, "it may have gone, so it is not asked for again"
        with pytest.raises(Temporary):
            await channel(send_url="http://127.0.0.1:9/sendsms").send(part("x", peer="+250788383383"), tools)
    assert len(exchanges) == 2
    assert not any(secret in repr(exchanges) for secret in secrets)


async def test_a_check_calls_the_address_for_it(provider, tools):
    provider.answers("GET", "/balance", body="12.50")
    checked = await channel(check_url=f"{provider.url}/balance?p={{password}}").check(tools)
    assert checked.facts == {"answer": "12.50"}
    assert provider.asked[0].query == {"p": "kpass-kpass"}
    provider.answers("GET", "/balance", status=401)
    with pytest.raises(Unauthorised):
        await channel(check_url=f"{provider.url}/balance").check(tools)
    assert (await channel().check(tools)).facts == {}
    with pytest.raises(Misconfigured, match="token"):
        await channel(token="").check(tools)
