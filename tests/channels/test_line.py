from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from channels.contract import MANY, Button, ParseContext
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.line import Line
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Changed, Claim, Incoming, Signal, Trust
from tests.channels import provider as playing
from tests.channels.payloads import NOW
from tests.channels.payloads.line import GROUP, OLEG, SECRET, TOKEN, VERA, event, message, signed
from tests.channels.provider import Provider
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
PUSH, REPLY = "/v2/bot/message/push", "/v2/bot/message/reply"
SENT = {"sentMessages": [{"id": "461230966842064897", "quoteToken": "IStG5h1Tz7b"}]}
FRESH = {"reply_token": "38ef843b", "reply_until": (NOW + timedelta(seconds=50)).isoformat()}


def line(**settings):
    return Line(Line.Settings(**{"channel_secret": SECRET, "access_token": TOKEN, **settings}))


def read(*events):
    return list(line().parse(signed(list(events)), CONTEXT))


@pytest.fixture
def channel(provider: Provider) -> Line:
    return line(base_url=provider.url)


def test_the_reference_signature_is_accepted():
    request = RawRequest(b'{"events":[]}', headers={"x-line-signature": "hhLAzqf066RkMt3a68MjulCHJ2y7v5/DSOoA7ie0SIA="})
    line(channel_secret="Secret").verify(request, NOW)
    with pytest.raises(BadSignature):
        line().verify(request, NOW)
    with pytest.raises(BadSignature):
        line(channel_secret="Secret").verify(replace(request, headers={}), NOW)


def test_without_a_secret_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        line(channel_secret="").verify(signed([], secret=""), NOW)


def test_a_verification_without_events_is_answered_and_means_nothing():
    request = signed([])
    line().verify(request, NOW)
    assert line().route(request).peer == ""
    assert line().parse(request, CONTEXT) == []
    assert line().acknowledge(request, "r").status == 200


def test_a_text_says_who_wrote_what_and_how_to_answer_for_free():
    (found,) = read(message("text", text="Добрый день", quotedMessageId="77"))
    assert found == Incoming(
        external_id="468530091445570001",
        peer=VERA,
        occurred_at=NOW,
        claims=(Claim(Address("line", VERA), VERA, Trust.ATTESTED),),
        text="Добрый день",
        reply_to="77",
        context={
            "reply_token": "38ef843bde154d9b91c21320ffd17a01",
            "reply_until": "2026-11-20T09:00:50+00:00",
        },
    )


def test_events_of_several_people_in_one_request_are_all_read():
    found = read(message("text", text="раз"), None, {"type": "message"}, message("text", text="два", user=OLEG))
    assert [(one.peer, one.text) for one in found] == [(VERA, "раз"), (OLEG, "два")]
    assert line().route(signed([message("text"), message("text", user=OLEG)])).peer == MANY
    assert line().route(signed([message("text"), event("follow")])).peer == VERA


def test_a_redelivery_has_the_key_of_the_first_delivery():
    first = message("text", text="раз")
    again = {**first, "deliveryContext": {"isRedelivery": True}}
    keys = [line().route(signed([sample])).dedupe_key for sample in (first, again, message("text", number=2))]
    assert keys[0] == keys[1] == first["webhookEventId"] != keys[2]
    two = line().route(signed([first, message("text", number=2)])).dedupe_key
    assert two == line().route(signed([again, message("text", number=2)])).dedupe_key


def test_what_is_said_in_a_group_is_a_conversation_of_its_own_and_answered_there():
    (found,) = read(message("text", text="всем", group=GROUP))
    assert (found.peer, found.thread, found.claims[0].address) == (GROUP, GROUP, Address("line", VERA))


@pytest.mark.parametrize(
    ("kind", "more", "attachment"),
    [
        (
            "image",
            {"contentProvider": {"type": "line"}},
            Attachment("", "image/jpeg", 0, reference="image:468530091445570001", kind="image"),
        ),
        (
            "video",
            {"contentProvider": {"type": "external", "originalContentUrl": "https://e.example/v.mp4"}},
            Attachment("", "video/mp4", 0, reference="https://e.example/v.mp4", kind="video"),
        ),
        (
            "audio",
            {"contentProvider": {"type": "line"}},
            Attachment("", "audio/mp4", 0, reference="audio:468530091445570001", kind="voice"),
        ),
        (
            "file",
            {"fileName": "счёт.pdf", "fileSize": 2138},
            Attachment("счёт.pdf", "", 2138, reference="file:468530091445570001"),
        ),
        (
            "sticker",
            {"stickerId": "52002734"},
            Attachment(
                "",
                "image/png",
                0,
                reference="https://stickershop.line-scdn.net/stickershop/v1/sticker/52002734/android/sticker.png",
                kind="sticker",
            ),
        ),
    ],
)
def test_files_come_by_reference(kind, more, attachment):
    (found,) = read(message(kind, **more))
    assert (found.attachments, found.text) == ((attachment,), "")


def test_pictures_sent_together_belong_together():
    (found,) = read(message("image", imageSet={"id": "E005D41A7288F41B65", "index": 2, "total": 2}))
    assert found.group == "E005D41A7288F41B65"


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (
            message("location", title="Офис", address="Тверь", latitude=35.6, longitude=139.7),
            "Офис\nТверь\nhttps://maps.google.com/?q=35.6,139.7",
        ),
        (message("hologram"), "[hologram]"),
        (event("postback", postback={"data": "yes", "params": {"date": "2026-12-25"}}), "yes\n2026-12-25"),
    ],
)
def test_places_and_choices_read_as_text(sample, text):
    (found,) = read(sample)
    assert found.text == text


def test_the_id_of_a_choice_is_that_of_its_event():
    (found,) = read(event("postback", postback={"data": "yes"}))
    assert found.external_id == "01FZ74A0TDDPYRVKNK77XKC001"


def test_what_was_taken_back_is_deleted():
    assert read(event("unsend", unsend={"messageId": "325708"})) == [
        Changed(external_id="325708", change="deleted", peer=VERA, occurred_at=NOW)
    ]


@pytest.mark.parametrize(("name", "kind"), [("follow", "opted_in"), ("unfollow", "gone"), ("leave", "gone")])
def test_coming_and_going_are_signals(name, kind):
    (found,) = read(event(name))
    assert isinstance(found, Signal)
    assert (found.kind, found.peer) == (kind, VERA)


def test_a_message_without_a_message_means_nothing():
    assert read(event("message")) == []


@pytest.mark.parametrize("name", ["beacon", "accountLink", "memberJoined", "videoPlayComplete", "join", "", None])
def test_other_events_mean_nothing(name):
    assert read(event(name)) == []


async def test_a_fresh_token_is_replied_with_and_then_forgotten(provider, tools, channel):
    provider.answers("POST", REPLY, json=SENT)
    receipt = await channel.send(playing.part("Да", peer=VERA, context=FRESH), tools)
    assert receipt.external_ids == ("461230966842064897",)
    assert receipt.context == {"reply_token": "", "reply_until": ""}
    (asked,) = provider.asked
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert "x-line-retry-key" not in asked.headers, "LINE refuses replies that have one"
    assert asked.json == {"replyToken": "38ef843b", "messages": [{"type": "text", "text": "Да"}]}


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"reply_token": "", "reply_until": ""},
        {"reply_token": "x", "reply_until": "yesterday"},
        {"reply_token": "x", "reply_until": NOW.isoformat()},
    ],
)
async def test_without_a_fresh_token_it_is_pushed_under_the_same_key_every_time(provider, tools, channel, context):
    provider.answers("POST", PUSH, json=SENT)
    part = playing.part("Да", peer=VERA, context=context)
    assert (await channel.send(part, tools)).external_ids == ("461230966842064897",)
    await channel.send(part, tools)
    await channel.send(replace(part, id="184467.1"), tools)
    assert provider.asked[0].json == {"to": VERA, "messages": [{"type": "text", "text": "Да"}]}
    keys = [asked.headers["x-line-retry-key"] for asked in provider.asked]
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[0]) == 36


async def test_a_token_that_is_used_up_is_followed_by_a_push(provider, tools, channel):
    provider.answers("POST", REPLY, status=400, json={"message": "Invalid reply token"})
    provider.answers("POST", PUSH, json=SENT)
    receipt = await channel.send(playing.part("Да", peer=VERA, context=FRESH), tools)
    assert [asked.path for asked in provider.asked] == [REPLY, PUSH]
    assert receipt.context["reply_token"] == ""


async def test_a_push_that_was_accepted_before_counts_as_sent(provider, tools, channel):
    provider.answers(
        "POST",
        PUSH,
        status=409,
        json={"message": "The retry key is already accepted", **SENT},
        headers={"x-line-accepted-request-id": "123e4567"},
    )
    receipt = await channel.send(playing.part("Да", peer=VERA), tools)
    assert receipt.external_ids == ("461230966842064897",)
    assert "123e4567" in receipt.detail


async def test_a_cut_push_may_be_tried_again_and_a_cut_reply_may_not(provider, tools, channel):
    provider.breaks("POST", ".*")
    with pytest.raises(Temporary):
        await channel.send(playing.part("Да", peer=VERA), tools)
    with pytest.raises(Uncertain):
        await channel.send(playing.part("Да", peer=VERA, context=FRESH), tools)
    provider.answers("POST", ".*", status=500)
    with pytest.raises(Temporary):
        await channel.send(playing.part("Да", peer=VERA), tools)
    with pytest.raises(Uncertain):
        await channel.send(playing.part("Да", peer=VERA, context=FRESH), tools)
    assert channel.sending.retries_safely is False


async def test_pictures_and_their_text_go_together_and_have_ids_of_their_own(provider, tools, channel):
    provider.answers("POST", PUSH, json={"sentMessages": [{"id": "1"}, {"id": "2"}, {"id": "3"}]})
    picture = playing.file(name="a.jpg", content_type="image/jpeg", kind="image")
    plain = playing.file(name="b.jpg", content_type="image/jpeg", kind="image", url="http://hub.example/b")
    part = playing.part(
        "Выбирайте", peer=VERA, files=(picture, plain), buttons=(Button("Синяя", "7"), Button("Никакая"))
    )
    assert (await channel.send(part, tools)).external_ids == ("1", "2", "3")
    url = "https://hub.example/files/abc"
    assert provider.asked[0].json["messages"] == [
        {"type": "image", "originalContentUrl": url, "previewImageUrl": url},
        {"type": "text", "text": "b.jpg\nhttp://hub.example/b"},
        {
            "type": "text",
            "text": "Выбирайте",
            "quickReply": {
                "items": [
                    {
                        "type": "action",
                        "action": {"type": "postback", "label": "Синяя", "data": "7", "displayText": "Синяя"},
                    },
                    {"type": "action", "action": {"type": "message", "label": "Никакая", "text": "Никакая"}},
                ]
            },
        },
    ]


async def test_without_a_public_address_the_author_is_told_how_to_get_one(provider, tools, channel):
    picture = playing.file(kind="image", url="")
    with pytest.raises(Undeliverable, match="SWITCHYARD_PUBLIC_URL"):
        await channel.send(playing.part(peer=VERA, files=(picture,)), tools)
    assert provider.asked == []


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (400, {"message": "A message (messages[0]) in the request body is invalid"}, Undeliverable),
        (400, {"message": "The property, 'to', in the request body is invalid (line: -, column: -)"}, RecipientGone),
        (401, {"message": "Authentication failed"}, Unauthorised),
        (403, {"message": "The request body has 1 error"}, Misconfigured),
        (429, {"message": "The API rate limit has been exceeded. Try again later."}, Throttled),
        (429, {"message": "You have reached your monthly limit."}, Undeliverable),
        (500, {"message": "Internal server error"}, Temporary),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, channel, status, said, expected):
    provider.answers("POST", PUSH, status=status, json=said, headers={"Retry-After": "3"})
    with pytest.raises(expected) as caught:
        await channel.send(playing.part("Да", peer=VERA), tools)
    assert type(caught.value) is expected
    if expected is Throttled:
        assert caught.value.retry_after == 3


async def test_an_answer_of_200_without_ids_is_sent_all_the_same(provider, tools, channel):
    provider.answers("POST", PUSH, body="ok")
    assert (await channel.send(playing.part("Да", peer=VERA), tools)).external_ids == ()


async def test_the_token_is_in_no_exchange_and_no_error(provider):
    provider.answers("POST", PUSH, status=401, json={"message": f"bad {TOKEN}"})
    async with playing.tools_for(provider.url, secrets=(TOKEN, SECRET)) as (tools, exchanges):
        with pytest.raises(Unauthorised) as caught:
            await line(base_url=provider.url).send(playing.part("x", peer=VERA), tools)
    assert TOKEN not in f"{exchanges} {caught.value}"


async def test_a_picture_is_fetched_with_the_token(provider, tools, channel):
    provider.answers("GET", "/v2/bot/message/468/content", body=b"jpeg", content_type="image/jpeg")
    fetched = await channel.fetch_media("image:468", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"jpeg"
    assert (fetched.content_type, fetched.size) == ("image/jpeg", 4)
    assert provider.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_video_in_the_making_is_waited_for(provider, tools, channel):
    content, transcoding = "/v2/bot/message/468/content", "/v2/bot/message/468/content/transcoding"
    provider.answers("GET", transcoding, json={"status": "failed"})
    provider.answers("GET", transcoding, json={"status": "processing"}, once=True)
    with pytest.raises(Temporary):
        await channel.fetch_media("video:468", tools)
    with pytest.raises(Undeliverable):
        await channel.fetch_media("video:468", tools)
    provider.answers("GET", transcoding, json={"status": "succeeded"})
    provider.answers("GET", content, body=b"mp4")
    fetched = await channel.fetch_media("video:468", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"mp4"


async def test_a_file_elsewhere_is_fetched_without_the_token(provider, tools, channel):
    provider.answers("GET", "/v.mp4", body=b"mp4")
    fetched = await channel.fetch_media(f"{provider.url}/v.mp4", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"mp4"
    assert "authorization" not in provider.asked[0].headers
    with pytest.raises(Undeliverable):
        await channel.fetch_media("image:../../info", tools)
    assert provider.asked[-1].path != "/v2/bot/info"


async def test_profiles_of_people_and_groups(provider, tools, channel):
    provider.answers("GET", f"/v2/bot/profile/{VERA}", json={"displayName": "Вера", "language": "ru"})
    provider.answers("GET", f"/v2/bot/group/{GROUP}/summary", json={"groupName": "Соседи"})
    assert await channel.profile(VERA, tools) == ("Вера", "ru")
    assert await channel.profile(GROUP, tools) == ("Соседи", "")
    assert await channel.profile(OLEG, tools) is None
    assert await channel.profile("Ra8dbf4673c", tools) is None


HOOK = "/v2/bot/channel/webhook/endpoint"


async def test_the_check_names_the_account_and_says_who_is_called(provider, tools, channel):
    provider.answers("GET", "/v2/bot/info", json={"displayName": "Шторы", "basicId": "@216ru"})
    provider.answers("GET", HOOK, json={"endpoint": tools.hook_url, "active": True})
    checked = await channel.check(tools)
    assert checked.facts == {"name": "Шторы", "id": "@216ru", "webhook": tools.hook_url}
    assert "But" not in checked.detail
    provider.answers("GET", HOOK, json={"endpoint": tools.hook_url, "active": False})
    assert "Use webhook" in (await channel.check(tools)).detail
    provider.answers("GET", HOOK, status=404, json={"message": "no endpoint"})
    assert "nobody" in (await channel.check(tools)).detail
    provider.answers("GET", "/v2/bot/info", status=401, json={"message": "Authentication failed"})
    with pytest.raises(Unauthorised):
        await channel.check(tools)


async def test_setting_up_registers_the_hook_once(provider, tools, channel):
    provider.answers("GET", HOOK, json={"endpoint": tools.hook_url, "active": True})
    provider.answers("GET", HOOK, json={"endpoint": "https://old.example/", "active": True}, once=True)
    provider.answers("PUT", HOOK, json={})
    assert tools.hook_url in await channel.setup(tools)
    await channel.setup(tools)
    (put,) = [asked for asked in provider.asked if asked.method == "PUT"]
    assert put.json == {"endpoint": tools.hook_url}
    with pytest.raises(Misconfigured, match="https"):
        await channel.setup(replace(tools, hook_url="http://hub.example/hooks/k"))


def test_addresses_and_peers_agree():
    assert line().address_of(VERA) == Address("line", VERA)
    assert line().peer_of(Address("line", VERA)) == VERA
    assert line().peer_of(Address("email", "a@b.example")) is None
