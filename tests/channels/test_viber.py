from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from channels.contract import Button, ParseContext, Tools
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.viber import Viber
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Claim, Incoming, Signal, Status, Trust
from tests.channels import provider as playing
from tests.channels.payloads import NOW
from tests.channels.payloads.viber import TOKEN, USER, event, message, signed
from tests.channels.provider import Provider
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
SAID_AT = datetime(2016, 12, 7, 20, 21, 52, 807_000, tzinfo=UTC)
OK = {"status": 0, "status_message": "ok", "message_token": 5741311803571721087}


def viber(**settings):
    return Viber(Viber.Settings(**{"auth_token": TOKEN, "sender_name": "Шторы", **settings}))


def read(request: RawRequest):
    return list(viber().parse(request, CONTEXT))


def read_message(kind: str, **more) -> Incoming:
    (found,) = read(signed(message(kind, **more)))
    assert isinstance(found, Incoming)
    return found


@pytest.fixture
def channel(provider: Provider) -> Viber:
    return viber(base_url=provider.url)


def test_the_published_signature_is_accepted():
    body = (
        b'{"event":"unsubscribed","timestamp":1516678387902,"user_id":"KMMqtlNTDxIm/5bZhdQ5uA==",'
        b'"message_token":5136431130449316903}'
    )
    signature = "d84d8648b402a2737838fea4da41d903d1af1aed92466b1758828ad27e31a9f9"
    viber().verify(RawRequest(body, headers={"x-viber-content-signature": signature}), NOW)
    with pytest.raises(BadSignature):
        viber().verify(RawRequest(body, headers={"x-viber-content-signature": signature[:-1] + "8"}), NOW)
    with pytest.raises(BadSignature):
        viber().verify(RawRequest(body), NOW)


def test_without_a_token_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        viber(auth_token="").verify(signed(message("text", text="x"), token=""), NOW)


def test_a_text_says_who_wrote_what_and_when():
    assert read_message("text", text="Добрый день") == Incoming(
        external_id="4987381189870374001",
        peer=USER,
        occurred_at=SAID_AT,
        claims=(Claim(Address("viber", USER), USER, Trust.ATTESTED),),
        name="Вера Петрова",
        language="ru",
        text="Добрый день",
    )


@pytest.mark.parametrize(
    ("kind", "more", "attachment"),
    [
        (
            "picture",
            {"media": "https://m.example/a.jpg", "file_name": "a.jpg", "text": "вот"},
            Attachment("a.jpg", "image/jpeg", 0, reference="https://m.example/a.jpg", kind="image"),
        ),
        (
            "video",
            {"media": "https://m.example/v", "size": 7},
            Attachment("", "video/mp4", 7, reference="https://m.example/v", kind="video"),
        ),
        (
            "file",
            {"media": "https://m.example/f", "size": "9", "file_name": "счёт.pdf"},
            Attachment("счёт.pdf", "", 9, reference="https://m.example/f"),
        ),
        (
            "sticker",
            {"sticker_id": 40133},
            Attachment(
                "", "image/png", 0, reference="https://viber.github.io/docs/img/stickers/40133.png", kind="sticker"
            ),
        ),
    ],
)
def test_files_come_by_their_address(kind, more, attachment):
    found = read_message(kind, **more)
    assert found.attachments == (attachment,)
    assert found.text == more.get("text", "")


@pytest.mark.parametrize(
    ("kind", "more", "text"),
    [
        ("url", {"media": "https://shop.example"}, "https://shop.example"),
        ("url", {"media": "https://shop.example", "text": "вот это"}, "вот это\nhttps://shop.example"),
        ("location", {"location": {"lat": 1.2, "lon": -1.3}}, "https://maps.google.com/?q=1.2,-1.3"),
        ("contact", {"contact": {"name": "Алекс", "phone_number": "+12067799191"}}, "Алекс: +12067799191"),
        ("hologram", {}, "[hologram]"),
        ("picture", {}, "[picture]"),
    ],
)
def test_what_is_no_file_reads_as_text(kind, more, text):
    found = read_message(kind, **more)
    assert (found.text, found.attachments, len(found.claims)) == (text, (), 1)


def test_a_card_under_the_sender_s_own_name_tells_their_phone():
    found = read_message("contact", contact={"name": "вера петрова", "phone_number": "79161234567"})
    assert found.claims[1:] == (Claim(Address("phone", "+79161234567"), "79161234567", Trust.TYPED),)


def test_the_deep_link_that_opened_the_chat_is_kept():
    (found,) = read(signed(event("conversation_started", context="spring sale")))
    assert isinstance(found, Signal)
    assert (found.kind, found.attribution.reference, found.name, found.peer) == (
        "started",
        "spring sale",
        "Вера Петрова",
        USER,
    )


@pytest.mark.parametrize(("name", "kind"), [("subscribed", "opted_in"), ("unsubscribed", "gone")])
def test_coming_and_going_are_signals(name, kind):
    (found,) = read(signed(event(name)))
    assert isinstance(found, Signal)
    assert (found.kind, found.peer, found.claims[0].address) == (kind, USER, Address("viber", USER))


@pytest.mark.parametrize(
    ("name", "status", "said"), [("delivered", "delivered", ""), ("seen", "read", ""), ("failed", "failed", "why")]
)
def test_reports_carry_the_64_bit_number_of_our_message(name, status, said):
    assert read(signed(event(name, message_token=18446744073709551615, desc=said))) == [
        Status(status=status, external_id="18446744073709551615", peer=USER, occurred_at=SAID_AT, error_text=said)
    ]


@pytest.mark.parametrize(
    "sample",
    [{"event": "webhook", "message_token": 1}, event("unheard_of"), {"event": None}, message("text")],
)
def test_what_means_nothing_to_us_is_no_event_and_no_error(sample):
    assert read(signed(sample)) == []
    assert viber().acknowledge(signed(sample), "r").status == 200


def test_two_events_of_one_message_are_no_repeats_of_each_other():
    keys = {viber().route(signed(event(name))).dedupe_key for name in ("message", "delivered", "seen", "failed")}
    assert len(keys) == 4
    assert viber().route(signed(event("seen"))).peer == USER


def test_the_answer_to_an_opened_chat_is_the_welcome_where_there_is_one():
    request = signed(event("conversation_started"))
    answer = viber(welcome="Рады вам!").acknowledge(request, "ref1")
    assert json.loads(answer.body) == {
        "type": "text",
        "text": "Рады вам!",
        "tracking_data": "ref1",
        "sender": {"name": "Шторы"},
    }
    assert json.loads(viber().acknowledge(request, "ref1").body) == {"status": 0}
    assert json.loads(viber(welcome="Рады вам!").acknowledge(signed(event("seen")), "r").body) == {"status": 0}


async def test_a_text_is_sent_with_its_buttons(provider, tools, channel):
    provider.answers("POST", "/pa/send_message", json=OK)
    part = playing.part("Подойдёт?", peer=USER, buttons=(Button("Да & нет", "yes"), Button("Позже")))
    receipt = await channel.send(part, tools)
    assert receipt.external_ids == ("5741311803571721087",)
    (asked,) = provider.asked
    assert asked.headers["x-viber-auth-token"] == TOKEN
    assert asked.json == {
        "receiver": USER,
        "tracking_data": "184467.0",
        "sender": {"name": "Шторы"},
        "type": "text",
        "text": "Подойдёт?",
        "keyboard": {
            "Type": "keyboard",
            "DefaultHeight": False,
            "Buttons": [
                {
                    "Columns": 6,
                    "Rows": 1,
                    "ActionType": "reply",
                    "ActionBody": body,
                    "Text": text,
                    "TextSize": "regular",
                }
                for body, text in (("yes", "Да &amp; нет"), ("Позже", "Позже"))
            ],
        },
    }


@pytest.mark.parametrize(
    ("file", "sent"),
    [
        (
            {"kind": "image", "name": "a.jpg", "content_type": "image/jpeg"},
            {"type": "picture", "text": "", "media": "https://hub.example/files/abc"},
        ),
        (
            {"kind": "video", "name": "a.mp4", "content_type": "video/mp4"},
            {"type": "video", "text": "", "media": "https://hub.example/files/abc", "size": 3},
        ),
        (
            {"kind": "voice", "name": "a.ogg", "content_type": "audio/ogg"},
            {"type": "file", "media": "https://hub.example/files/abc", "size": 3, "file_name": "a.ogg"},
        ),
    ],
)
async def test_files_are_sent_by_their_public_address(provider, tools, channel, file, sent):
    provider.answers("POST", "/pa/send_message", json=OK)
    await channel.send(playing.part(peer=USER, files=(playing.file(b"abc", **file),)), tools)
    body = provider.asked[0].json
    assert {name: body.get(name) for name in sent} == sent
    assert set(body) == {"receiver", "tracking_data", "sender", *sent}


async def test_without_a_public_address_the_author_is_told_how_to_get_one(provider, tools, channel):
    with pytest.raises(Undeliverable, match="SWITCHYARD_PUBLIC_URL"):
        await channel.send(playing.part(peer=USER, files=(playing.file(url=""),)), tools)
    assert provider.asked == []


async def test_the_bot_s_own_name_is_asked_for_once_and_signs_its_messages(provider, tools):
    channel = viber(base_url=provider.url, sender_name="")
    provider.answers("POST", "/pa/get_account_info", json={"status": 0, "name": "Бот магазина штор и карнизов"})
    provider.answers("POST", "/pa/send_message", json=OK)
    await channel.send(playing.part("1", peer=USER), tools)
    await channel.send(playing.part("2", peer=USER), tools)
    assert [asked.path for asked in provider.asked] == [
        "/pa/get_account_info",
        "/pa/send_message",
        "/pa/send_message",
    ]
    assert provider.asked[1].json["sender"] == {"name": "Бот магазина штор и карнизов"[:28]}


async def test_a_name_that_cannot_be_had_holds_no_message_up(provider, tools):
    provider.answers("POST", "/pa/send_message", json=OK)
    await viber(base_url=provider.url, sender_name="").send(playing.part("1", peer=USER), tools)
    assert provider.asked[-1].json["sender"] == {"name": "Bot"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (1, Misconfigured),
        (2, Unauthorised),
        (3, Undeliverable),
        (5, RecipientGone),
        (6, RecipientGone),
        (7, Misconfigured),
        (8, Unauthorised),
        (9, Misconfigured),
        (10, Misconfigured),
        (11, Undeliverable),
        (12, Throttled),
        (13, Undeliverable),
        (15, Unauthorised),
        (21, Undeliverable),
        (24, Undeliverable),
        (99, Temporary),
        ("5", RecipientGone),
    ],
)
async def test_a_status_inside_an_answer_of_200_is_an_error(provider, tools, channel, status, expected):
    provider.answers("POST", "/pa/send_message", json={"status": status, "status_message": "because"})
    with pytest.raises(expected, match="because") as caught:
        await channel.send(playing.part("x", peer=USER), tools)
    assert type(caught.value) is expected
    assert caught.value.code == str(status)
    if status == 6:
        assert caught.value.opted_out


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": 429, "headers": {"Retry-After": "7"}}, Throttled),
        ({"status": 401}, Unauthorised),
        ({"status": 502}, Temporary),
        ({"body": "<html>"}, Uncertain),
        ({"json": {"ok": True}}, Uncertain),
    ],
)
async def test_answers_of_no_status_go_by_http(provider, tools, channel, answer, expected):
    provider.answers("POST", "/pa/send_message", **answer)
    with pytest.raises(expected) as caught:
        await channel.send(playing.part("x", peer=USER), tools)
    assert type(caught.value) is expected
    if expected is Throttled:
        assert caught.value.retry_after == 7


async def test_a_message_that_got_no_number_is_sent_all_the_same(provider, tools, channel):
    provider.answers("POST", "/pa/send_message", json={"status": 0})
    receipt = await channel.send(playing.part("x", peer=USER), tools)
    assert receipt.external_ids == ()
    assert "not be known" in receipt.detail


async def test_a_connection_cut_after_the_request_leaves_it_uncertain(provider, tools, channel):
    provider.breaks("POST", "/pa/send_message")
    with pytest.raises(Uncertain):
        await channel.send(playing.part("x", peer=USER), tools)


async def test_the_token_is_in_no_exchange_and_no_error(provider):
    provider.answers("POST", "/pa/.*", json={"status": 2, "status_message": f"invalid {TOKEN}"})
    async with playing.tools_for(provider.url, secrets=(TOKEN,)) as (tools, exchanges):
        with pytest.raises(Unauthorised) as caught:
            await viber(base_url=provider.url).send(playing.part("x", peer=USER), tools)
    assert TOKEN not in str(exchanges)
    assert TOKEN not in str(caught.value)


async def test_the_check_names_the_bot_and_who_is_called(provider, tools, channel):
    account = {"status": 0, "name": "Шторы", "uri": "shtory", "subscribers_count": 35, "webhook": tools.hook_url}
    provider.answers("POST", "/pa/get_account_info", json=account)
    checked = await channel.check(tools)
    assert checked.facts == {"name": "Шторы", "uri": "shtory", "subscribers": "35", "webhook": tools.hook_url}
    assert "But" not in checked.detail
    provider.answers("POST", "/pa/get_account_info", json={**account, "webhook": ""})
    assert "nobody" in (await channel.check(tools)).detail


async def test_setting_up_registers_the_hook_and_taking_down_removes_only_ours(provider, tools, channel):
    provider.answers("POST", "/pa/set_webhook", json={"status": 0})
    assert tools.hook_url in await channel.setup(tools)
    assert provider.asked[0].json == {
        "url": tools.hook_url,
        "event_types": ["delivered", "seen", "failed", "subscribed", "unsubscribed", "conversation_started"],
        "send_name": True,
        "send_photo": False,
    }
    provider.answers("POST", "/pa/get_account_info", json={"status": 0, "webhook": "https://other.example/"})
    await channel.teardown(tools)
    assert len(provider.asked) == 2
    provider.answers("POST", "/pa/get_account_info", json={"status": 0, "webhook": tools.hook_url})
    await channel.teardown(tools)
    assert provider.asked[-1].json == {"url": ""}


async def test_setting_up_needs_an_address_that_viber_can_reach(provider, tools, channel):
    with pytest.raises(Misconfigured, match="SWITCHYARD_PUBLIC_URL"):
        await channel.setup(replace(tools, hook_url=""))
    provider.answers("POST", "/pa/set_webhook", json={"status": 1, "status_message": "invalidUrl"})
    with pytest.raises(Misconfigured, match="certificate"):
        await channel.setup(tools)


async def test_a_profile_is_asked_for_by_the_id_and_may_be_refused(provider, tools: Tools, channel):
    provider.answers("POST", "/pa/get_user_details", json={"status": 0, "user": {"name": "Вера", "language": "ru"}})
    assert await channel.profile(USER, tools) == ("Вера", "ru")
    assert provider.asked[0].json == {"id": USER}
    provider.answers("POST", "/pa/get_user_details", json={"status": 12, "status_message": "tooManyRequests"})
    assert await channel.profile(USER, tools) is None


async def test_a_file_is_fetched_from_where_viber_says_it_lies(provider, tools, channel):
    provider.answers("GET", "/1/a.jpg", body=b"jpeg", content_type="image/jpeg")
    fetched = await channel.fetch_media(f"{provider.url}/1/a.jpg", tools)
    assert (b"".join([chunk async for chunk in fetched.chunks]), fetched.content_type, fetched.size) == (
        b"jpeg",
        "image/jpeg",
        4,
    )
    with pytest.raises(Undeliverable):
        await channel.fetch_media(f"{provider.url}/1/gone.jpg", tools)


def test_addresses_and_peers_agree():
    assert viber().address_of(USER) == Address("viber", USER)
    assert viber().peer_of(Address("viber", USER)) == USER
    assert viber().peer_of(Address("phone", "+79161234567")) is None
