from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest
from pydantic import ValidationError

from channels.contract import Button, ParseContext
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
from channels.vk import Vk
from channels.vk_sending import keyboard, random_id
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Attribution, Changed, Claim, Incoming, Signal, Trust
from tests.channels import provider as playing
from tests.channels.payloads import NOW
from tests.channels.payloads.vk import GROUP, LEAD, PHOTO, SECRET, SETTINGS, TOKEN, VERA, message, new, posted
from tests.channels.provider import Provider
from webhooks.errors import BadSignature, Malformed, NotConfigured, Refused
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
PEER = str(VERA)
CLAIM = Claim(Address("vk", PEER), PEER, Trust.ATTESTED)
SEND = "/method/messages.send"
SENT = {"response": [{"peer_id": VERA, "message_id": 106, "conversation_message_id": 43}]}


def vk(**settings):
    return Vk(Vk.Settings(**{**SETTINGS, **settings}))


def read(request: RawRequest):
    (found,) = vk().parse(request, CONTEXT)
    return found


@pytest.fixture
def channel(provider: Provider) -> Vk:
    return vk(base_url=provider.url)


@pytest.mark.parametrize("given", ["227000001", " club227000001 ", "-227000001", "https://vk.com/public227000001"])
def test_the_community_s_number_is_taken_as_people_copy_it(given):
    assert vk(group_id=given).account == "vk:227000001"


def test_a_name_is_no_number():
    with pytest.raises(ValidationError, match="number"):
        vk(group_id="shtory_tver")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (posted("message_new", {}, secret=None), BadSignature),
        (posted("message_new", {}, secret="aB3dEfGh1jKm"), BadSignature),
        (posted("message_new", {}, group_id=227000002), Refused),
        (RawRequest(b"secret=aB3dEfGh1jKl"), Malformed),
    ],
)
def test_events_that_are_not_for_us_are_refused(request_, expected):
    with pytest.raises(expected):
        vk().verify(request_, NOW)


def test_the_secret_alone_is_enough_where_the_community_is_not_named():
    request = posted("message_new", {"message": {"id": 7, "from_id": VERA, "text": "Здравствуйте"}}, group_id=None)
    vk().verify(request, NOW)
    found = read(request)
    assert (found.external_id, found.peer, found.text) == ("7", PEER, "Здравствуйте")


def test_without_a_secret_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        vk(secret="").verify(posted("message_new", {}, secret=""), NOW)


@pytest.mark.parametrize("secret", [SECRET, None])
def test_the_question_for_the_confirmation_string_is_answered_with_it_alone(secret):
    answer = vk().handshake(posted("confirmation", None, secret=secret))
    assert answer is not None
    assert (answer.body, answer.content_type, answer.status) == (b"a1b2c3d4", "text/plain", 200)


@pytest.mark.parametrize(
    ("settings", "request_", "expected"),
    [
        ({}, posted("confirmation", None, secret="guessed"), BadSignature),
        ({}, posted("confirmation", None, group_id=1), Refused),
        ({}, posted("confirmation", None, group_id=None, secret=None), Refused),
        ({"confirmation": ""}, posted("confirmation", None), NotConfigured),
    ],
)
def test_the_confirmation_string_is_told_to_nobody_else(settings, request_, expected):
    with pytest.raises(expected):
        vk(**settings).handshake(request_)


@pytest.mark.parametrize("request_", [new("x"), RawRequest(b"\xff"), RawRequest(b"[]")])
def test_other_requests_are_no_question(request_):
    assert vk().handshake(request_) is None


def test_everything_is_acknowledged_with_two_letters():
    for request in (new("x"), posted("wall_post_new", {"id": 1}), posted("", None)):
        reply = vk().acknowledge(request, "r")
        assert (reply.body, reply.content_type) == (b"ok", "text/plain")


@pytest.mark.parametrize("request_", [new("Добрый день"), posted("message_new", message("Добрый день"))])
def test_a_text_is_read_in_either_shape(request_):
    found = read(request_)
    assert msgspec.structs.replace(found, language="") == Incoming(
        external_id="123456_42", peer=PEER, occurred_at=NOW, claims=(CLAIM,), text="Добрый день"
    )


def test_the_language_of_the_person_s_client_is_told():
    assert read(new("x")).language == "ru"


@pytest.mark.parametrize(
    ("attachment", "expected"),
    [
        (
            PHOTO,
            Attachment("", "image/jpeg", 0, reference="https://sun9.userapi.com/w.jpg", kind="image"),
        ),
        (
            {"type": "audio_message", "audio_message": {"link_mp3": "https://u/a.mp3", "link_ogg": "https://u/a.ogg"}},
            Attachment("", "audio/mpeg", 0, reference="https://u/a.mp3", kind="voice"),
        ),
        (
            {"type": "doc", "doc": {"title": "План", "ext": "pdf", "size": 7, "type": 1, "url": "https://vk.com/d"}},
            Attachment("План.pdf", "", 7, reference="https://vk.com/d"),
        ),
        (
            {"type": "doc", "doc": {"title": "кот.GIF", "ext": "gif", "type": 3, "url": "https://vk.com/d"}},
            Attachment("кот.GIF", "", 0, reference="https://vk.com/d", kind="image"),
        ),
        (
            {"type": "graffiti", "graffiti": {"url": "https://u/g.png"}},
            Attachment("", "image/png", 0, reference="https://u/g.png", kind="image"),
        ),
        (
            {
                "type": "sticker",
                "sticker": {
                    "images": [
                        {"url": "https://u/64.png", "width": 64, "height": 64},
                        {"url": "https://u/512.png", "width": 512, "height": 512},
                    ]
                },
            },
            Attachment("", "image/png", 0, reference="https://u/512.png", kind="sticker"),
        ),
    ],
)
def test_files_come_by_their_address(attachment, expected):
    found = read(new(attachments=[attachment]))
    assert (found.attachments, found.text) == ((expected,), "")


@pytest.mark.parametrize(
    ("attachment", "text"),
    [
        ({"type": "video", "video": {"id": 5, "owner_id": -7, "title": "Монтаж"}}, "Монтаж https://vk.com/video-7_5"),
        ({"type": "wall", "wall": {"id": 5, "to_id": -7, "text": "Акция"}}, "Акция https://vk.com/wall-7_5"),
        (
            {"type": "market", "market": {"id": 5, "owner_id": -7, "title": "Рулонная", "price": {"text": "1 990 ₽"}}},
            "Рулонная 1 990 ₽ https://vk.com/product-7_5",
        ),
        ({"type": "link", "link": {"url": "https://shop.example", "title": "Сайт"}}, "Сайт https://shop.example"),
        ({"type": "audio", "audio": {"artist": "А", "title": "Б", "url": ""}}, "А – Б"),
        ({"type": "money_transfer", "money_transfer": {}}, "[money_transfer]"),
    ],
)
def test_what_is_no_file_reads_as_a_line(attachment, text):
    assert read(new("Смотрите", attachments=[attachment])).text == f"Смотрите\n{text}"


@pytest.mark.parametrize(
    ("geo", "text"),
    [
        ({"coordinates": {"latitude": -9.65, "longitude": -35.7}}, "https://maps.google.com/?q=-9.65,-35.7"),
        ({"coordinates": "56.85 35.9", "place": {"title": "Тверь"}}, "Тверь\nhttps://maps.google.com/?q=56.85,35.9"),
    ],
)
def test_a_place_reads_as_text(geo, text):
    assert read(new(geo=geo)).text == text


def test_forwarded_messages_are_quoted_and_their_files_kept():
    inner = {"from_id": 8, "text": "глубже"}
    found = read(
        new("см.", fwd_messages=[{"from_id": 7, "text": "раз", "attachments": [PHOTO], "fwd_messages": [inner]}])
    )
    assert (found.text, found.quoted, len(found.attachments)) == ("см.", "раз\nглубже", 1)


def test_an_answer_names_the_message_as_our_sending_did():
    answered = {"id": 104, "conversation_message_id": 41, "from_id": -int(GROUP)}
    assert read(new("да", reply_message=answered)).reply_to == "123456_41"


def test_a_button_says_its_label_and_what_it_held():
    found = read(new("Да", payload='"yes"'))
    assert (found.text, found.fields) == ("Да", {"payload": "yes"})
    assert read(new("Да", payload='"Да"')).fields == {}
    assert read(new("Да", payload="{broken")).fields == {"payload": "{broken"}


def test_the_button_start_opens_the_chat_with_where_it_was_linked_from():
    found = read(new("Начать", payload='{"command":"start"}', ref="spring", ref_source="banner"))
    assert found == Signal(
        kind="started",
        peer=PEER,
        occurred_at=NOW,
        claims=(CLAIM,),
        attribution=Attribution(reference="spring", utm_source="banner"),
    )


def test_where_a_message_was_linked_from_is_kept():
    assert read(new("x", ref="spring")).attribution == Attribution(reference="spring")


def test_a_group_chat_is_a_conversation_of_its_own_and_answered_there():
    found = read(new("всем", peer_id=2_000_000_003, id=0))
    assert (found.peer, found.thread, found.external_id) == ("2000000003", "2000000003", "2000000003_42")
    assert found.claims == (CLAIM,)


def test_what_our_side_wrote_in_vk_is_ours_and_known_by_the_same_id_as_our_sending():
    found = read(posted("message_reply", message("Да", from_id=-int(GROUP), conversation_message_id=43)))
    assert (found.is_ours, found.external_id, found.peer, found.claims) == (True, "123456_43", PEER, (CLAIM,))


def test_an_edit_tells_the_new_words():
    found = read(posted("message_edit", message("исправлено")))
    assert found == Changed(external_id="123456_42", change="edited", text="исправлено", peer=PEER, occurred_at=NOW)


@pytest.mark.parametrize(
    ("kind", "found", "signal"),
    [
        ("message_allow", {"user_id": VERA, "key": "popup"}, "opted_in"),
        ("message_deny", {"user_id": VERA}, "opted_out"),
        ("message_typing_state", {"state": "typing", "from_id": VERA, "to_id": -int(GROUP)}, "typing"),
    ],
)
def test_coming_going_and_typing_are_signals(kind, found, signal):
    read_as = read(posted(kind, found))
    assert (read_as.kind, read_as.peer, read_as.claims) == (signal, PEER, (CLAIM,))


def test_a_button_that_only_calls_back_says_what_it_held():
    pressed = {"user_id": VERA, "peer_id": VERA, "event_id": "9f", "payload": "yes", "conversation_message_id": 41}
    assert read(posted("message_event", pressed)) == Incoming(
        external_id="event_9f", peer=PEER, claims=(CLAIM,), text="yes", reply_to="123456_41"
    )
    assert read(posted("message_event", {**pressed, "payload": {"a": 1}})).text == '{"a":1}'


def test_a_lead_form_is_a_form_with_the_addresses_typed_there():
    found = read(posted("lead_forms_new", LEAD))
    assert (found.external_id, found.is_form, found.peer, found.name) == ("lead_4", True, PEER, "Вера Петрова")
    assert found.claims == (
        CLAIM,
        Claim(Address("phone", "+79161234567"), "8 (916) 123-45-67", Trust.TYPED),
        Claim(Address("email", "vera@example.com"), "vera@example.com", Trust.TYPED),
    )
    assert (found.subject, found.fields, found.attribution.ad) == ("Замер", {"Комнаты": "кухня, зал"}, "1234")


def test_a_lead_of_nobody_vk_names_has_only_what_was_typed():
    found = read(posted("lead_forms_new", {**LEAD, "user_id": 0}))
    assert (found.peer, found.claims[0].address.scheme) == ("", "phone")


@pytest.mark.parametrize(
    "request_",
    [
        posted("wall_post_new", {"id": 1}),
        posted("message_new", None),
        posted("message_edit", {"peer_id": 5}),
        new(action={"type": "chat_invite_user", "member_id": 5}),
        posted("message_event", {"user_id": VERA, "peer_id": VERA, "payload": {}}),
    ],
)
def test_what_says_nothing_is_no_event(request_):
    assert vk().parse(request_, CONTEXT) == []


def test_repeats_are_told_by_the_event_s_id_else_by_the_message():
    assert vk().route(new("x", event_id="e9")) == ("event:e9", None, PEER)
    without = [
        vk().route(new(text, event_id="", conversation_message_id=n)) for text, n in (("x", 1), ("y", 1), ("x", 2))
    ]
    assert without[0] == without[1] != without[2]
    edits = {vk().route(posted("message_edit", message(text), event_id="")).dedupe_key for text in "ab"}
    assert len(edits) == 2


async def test_a_text_is_sent_under_a_number_that_stays_the_same(provider, tools, channel):
    provider.answers("POST", SEND, json=SENT)
    part = playing.part("Да & нет", peer=PEER)
    receipt = await channel.send(part, tools)
    assert receipt.external_ids == ("123456_43",)
    await channel.send(part, tools)
    assert provider.asked[0].form == {
        "peer_ids": PEER,
        "random_id": str(random_id(part.number)),
        "message": "Да & нет",
        "access_token": TOKEN,
        "v": "5.199",
    }
    assert provider.asked[0].form == provider.asked[1].form
    assert channel.sending.retries_safely


def test_numbers_fold_into_31_bits_and_are_never_none():
    numbers = [0, 1, 2**31, 2**62, 2**63 - 1, 8_123_456_789_012_345, 8_123_456_789_012_346]
    folded = [random_id(number) for number in numbers]
    assert all(0 < number < 2**31 for number in folded)
    assert folded[-1] != folded[-2]


async def test_an_answer_is_sent_as_one(provider, tools, channel):
    provider.answers("POST", SEND, json=SENT)
    await channel.send(playing.part("Да", peer=PEER, reply_to="123456_41"), tools)
    assert json.loads(provider.asked[0].form["forward"]) == {
        "peer_id": VERA,
        "conversation_message_ids": [41],
        "is_reply": True,
    }
    await channel.send(playing.part("Да", peer=PEER, reply_to="event_9f"), tools)
    await channel.send(playing.part("Да", peer=PEER, reply_to="123456_41", is_first=False), tools)
    assert all("forward" not in asked.form for asked in provider.asked[1:])


async def test_buttons_come_back_with_what_they_hold(provider, tools, channel):
    provider.answers("POST", SEND, json=SENT)
    await channel.send(playing.part("?", peer=PEER, buttons=(Button("Да", "yes"), Button("Нет"))), tools)
    sent = json.loads(provider.asked[0].form["keyboard"])
    assert sent["inline"] is True
    assert [button["action"] for row in sent["buttons"] for button in row] == [
        {"type": "text", "label": "Да", "payload": '"yes"'},
        {"type": "text", "label": "Нет", "payload": '"Нет"'},
    ]


def test_many_buttons_stand_side_by_side_in_place_of_the_keyboard():
    made = json.loads(keyboard(tuple(Button(str(number)) for number in range(25))))
    assert (made["inline"], made["one_time"], [len(row) for row in made["buttons"]]) == (False, True, [3] * 8 + [1])


async def test_a_picture_is_uploaded_for_its_peer_and_attached(provider, tools, channel):
    provider.answers(
        "POST", "/method/photos.getMessagesUploadServer", json={"response": {"upload_url": f"{provider.url}/up?a=1"}}
    )
    provider.answers("POST", "/up", json={"server": 109876, "photo": '[{"photo":"x"}]', "hash": "zxc"})
    provider.answers(
        "POST",
        "/method/photos.saveMessagesPhoto",
        json={"response": [{"id": 77, "owner_id": -227000001, "access_key": "kk"}]},
    )
    provider.answers("POST", SEND, json=SENT)
    picture = playing.file(b"jpeg bytes", name='я "1".jpg', content_type="image/jpeg", kind="image", url="")
    await channel.send(playing.part("вот", peer=PEER, files=(picture,)), tools)
    place, upload, save, send = provider.asked
    assert place.form["peer_id"] == PEER
    assert upload.query == {"a": "1"}
    assert int(upload.headers["content-length"]) == len(upload.body)
    assert 'name="photo"; filename="я 1.jpg"'.encode() in upload.body
    assert b"\r\n\r\njpeg bytes\r\n" in upload.body
    assert (save.form["server"], save.form["photo"], save.form["hash"]) == ("109876", '[{"photo":"x"}]', "zxc")
    assert (send.form["attachment"], send.form["message"]) == ("photo-227000001_77_kk", "вот")


@pytest.mark.parametrize(
    ("file", "kind", "saved"),
    [
        ({"name": "о.pdf"}, "doc", {"type": "doc", "doc": {"id": 5, "owner_id": 9}}),
        (
            {"name": "a.ogg", "content_type": "audio/ogg", "kind": "voice"},
            "audio_message",
            {"type": "audio_message", "audio_message": {"id": 5, "owner_id": 9}},
        ),
        ({"name": "о.pdf"}, "doc", [{"id": 5, "owner_id": 9}]),
    ],
)
async def test_other_files_are_uploaded_as_documents_and_voice_as_voice(provider, tools, channel, file, kind, saved):
    provider.answers(
        "POST", "/method/docs.getMessagesUploadServer", json={"response": {"upload_url": f"{provider.url}/up"}}
    )
    provider.answers("POST", "/up", json={"file": "abc|def"})
    provider.answers("POST", "/method/docs.save", json={"response": saved})
    provider.answers("POST", SEND, json=SENT)
    await channel.send(playing.part(peer=PEER, files=(playing.file(**file),)), tools)
    place, _, save, send = provider.asked
    assert (place.form["type"], place.form["peer_id"]) == (kind, PEER)
    assert (save.form["file"], save.form["title"]) == ("abc|def", file["name"])
    assert send.form["attachment"] == "doc9_5"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"json": {"error": "bad extension"}}, Undeliverable),
        ({"status": 413}, Undeliverable),
        ({"status": 502}, Temporary),
    ],
)
async def test_a_file_that_cannot_be_uploaded_is_not_sent(provider, tools, channel, answer, expected):
    provider.answers(
        "POST", "/method/docs.getMessagesUploadServer", json={"response": {"upload_url": f"{provider.url}/up"}}
    )
    provider.answers("POST", "/up", **answer)
    with pytest.raises(expected, match="offer"):
        await channel.send(playing.part("вот", peer=PEER, files=(playing.file(),)), tools)
    assert all(asked.path != SEND for asked in provider.asked)


ERRORS = [
    (5, Unauthorised),
    (6, Throttled),
    (7, Misconfigured),
    (9, Throttled),
    (10, Temporary),
    (14, Temporary),
    (15, Undeliverable),
    (18, RecipientGone),
    (27, Unauthorised),
    (29, Throttled),
    (100, Undeliverable),
    (900, RecipientGone),
    (901, RecipientGone),
    (902, RecipientGone),
    (911, Undeliverable),
    (912, Misconfigured),
    (914, Undeliverable),
    (936, RecipientGone),
    (945, RecipientGone),
    (950, WindowClosed),
]


@pytest.mark.parametrize(("number", "expected"), ERRORS)
@pytest.mark.parametrize("shape", ["whole", "recipient"])
async def test_an_error_inside_an_answer_of_200_is_an_error(provider, tools, channel, number, expected, shape):
    if shape == "whole":
        answer = {"error": {"error_code": number, "error_msg": "because", "request_params": []}}
    else:
        error = {"code": number, "description": "because"}
        answer = {"response": [{"peer_id": VERA, "message_id": 0, "error": error}]}
    provider.answers("POST", SEND, json=answer)
    with pytest.raises(expected, match="because") as caught:
        await channel.send(playing.part("x", peer=PEER), tools)
    assert type(caught.value) is expected
    assert caught.value.code == str(number)
    assert getattr(caught.value, "opted_out", False) == (number in (901, 902))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": 429, "headers": {"Retry-After": "4"}}, Throttled),
        ({"status": 401}, Unauthorised),
        ({"status": 503}, Temporary),
        ({"body": "<html>"}, Uncertain),
        ({"json": {}}, Uncertain),
        ({"json": {"response": []}}, Uncertain),
    ],
)
async def test_answers_without_a_code_go_by_http(provider, tools, channel, answer, expected):
    provider.answers("POST", SEND, **answer)
    with pytest.raises(expected) as caught:
        await channel.send(playing.part("x", peer=PEER), tools)
    assert type(caught.value) is expected


async def test_a_gateway_s_plain_number_is_the_message_s_id(provider, tools, channel):
    provider.answers("POST", SEND, json={"response": 12345})
    assert (await channel.send(playing.part("x", peer=PEER), tools)).external_ids == ("12345",)


async def test_a_connection_cut_after_the_request_leaves_it_uncertain(provider, tools, channel):
    provider.breaks("POST", SEND)
    with pytest.raises(Uncertain):
        await channel.send(playing.part("x", peer=PEER), tools)


async def test_the_key_is_in_no_exchange_and_no_error(provider):
    error = {"error_code": 5, "error_msg": f"invalid {TOKEN}", "request_params": [{"key": "k", "value": TOKEN}]}
    provider.answers("POST", SEND, json={"error": error})
    async with playing.tools_for(provider.url, secrets=(TOKEN, SECRET)) as (tools, exchanges):
        with pytest.raises(Unauthorised) as caught:
            await vk(base_url=provider.url).send(playing.part("x", peer=PEER), tools)
    assert TOKEN not in f"{exchanges} {caught.value}"


async def test_a_file_is_fetched_from_where_vk_says_it_lies(provider, tools, channel):
    provider.answers("GET", "/w.jpg", body=b"jpeg", content_type="image/jpeg")
    fetched = await channel.fetch_media(f"{provider.url}/w.jpg", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"jpeg"
    assert (fetched.content_type, fetched.size) == ("image/jpeg", 4)


async def test_a_person_s_name_is_asked_for_and_a_chat_s_is_not(provider, tools, channel):
    provider.answers(
        "POST", "/method/users.get", json={"response": [{"id": VERA, "first_name": "Вера", "last_name": "Петрова"}]}
    )
    assert await channel.profile(PEER, tools) == ("Вера Петрова", "")
    assert provider.asked[0].form["user_ids"] == PEER
    for peer in ("2000000003", "-7", "x"):
        assert await channel.profile(peer, tools) is None
    assert len(provider.asked) == 1
    provider.answers("POST", "/method/users.get", json={"response": []})
    assert await channel.profile(PEER, tools) is None


GROUPS = {"response": {"groups": [{"id": int(GROUP), "name": "Шторы", "screen_name": "shtory"}], "profiles": []}}


async def test_the_check_names_the_community_and_whether_vk_calls_us(provider, tools, channel):
    provider.answers("POST", "/method/groups.getById", json=GROUPS)
    servers = "/method/groups.getCallbackServers"
    provider.answers("POST", servers, json={"response": {"count": 0, "items": []}})
    checked = await channel.check(tools)
    assert checked.facts == {"name": "Шторы", "address": "https://vk.com/shtory", "callback": "none"}
    assert "does not call us" in checked.detail
    server = {"id": 1, "url": tools.hook_url, "status": "failed"}
    provider.answers("POST", servers, json={"response": {"count": 1, "items": [server]}})
    assert "failed" in (await channel.check(tools)).detail
    provider.answers("POST", servers, json={"response": {"count": 1, "items": [{**server, "status": "ok"}]}})
    assert "But" not in (await channel.check(tools)).detail
    provider.answers("POST", servers, json={"error": {"error_code": 7, "error_msg": "denied"}})
    assert "right" in (await channel.check(tools)).detail


async def test_a_key_of_another_community_is_told_from_ours(provider, tools, channel):
    provider.answers("POST", "/method/groups.getById", json={"response": [{"id": 5, "name": "Чужая"}]})
    with pytest.raises(Misconfigured, match="another community"):
        await channel.check(tools)


async def test_setting_up_adds_the_address_once_and_chooses_the_events(provider, tools, channel):
    code = {"response": {"code": "a1b2c3d4"}}
    provider.answers("POST", "/method/groups.getCallbackConfirmationCode", json=code)
    provider.answers("POST", "/method/groups.getCallbackServers", json={"response": {"count": 0, "items": []}})
    provider.answers("POST", "/method/groups.addCallbackServer", json={"response": {"server_id": 3}})
    provider.answers("POST", "/method/groups.(editCallbackServer|setCallbackSettings)", json={"response": 1})
    assert tools.hook_url in await channel.setup(tools)
    add, choose = provider.asked[2:]
    assert {name: add.form[name] for name in ("group_id", "url", "title", "secret_key")} == {
        "group_id": GROUP,
        "url": tools.hook_url,
        "title": "Switchyard",
        "secret_key": SECRET,
    }
    assert (choose.form["server_id"], choose.form["message_new"], choose.form["api_version"]) == ("3", "1", "5.199")
    known = {"response": {"count": 1, "items": [{"id": 3, "url": tools.hook_url, "status": "ok"}]}}
    provider.answers("POST", "/method/groups.getCallbackServers", json=known)
    await channel.setup(tools)
    assert [asked.path.rpartition(".")[2] for asked in provider.asked[4:]] == [
        "getCallbackConfirmationCode",
        "getCallbackServers",
        "editCallbackServer",
        "setCallbackSettings",
    ]


async def test_setting_up_tells_the_string_to_enter_first(provider, tools, channel):
    provider.answers("POST", "/method/groups.getCallbackConfirmationCode", json={"response": {"code": "ffff0000"}})
    with pytest.raises(Misconfigured, match="ffff0000"):
        await channel.setup(tools)
    with pytest.raises(Misconfigured, match="SWITCHYARD_PUBLIC_URL"):
        await channel.setup(replace(tools, hook_url=""))


async def test_taking_down_removes_only_our_address(provider, tools, channel):
    servers = "/method/groups.getCallbackServers"
    other = {"id": 2, "url": "https://other.example/"}
    provider.answers("POST", servers, json={"response": {"items": [other]}})
    await channel.teardown(tools)
    assert len(provider.asked) == 1
    provider.answers("POST", servers, json={"response": {"items": [other, {"id": 3, "url": tools.hook_url}]}})
    provider.answers("POST", "/method/groups.deleteCallbackServer", json={"response": 1})
    await channel.teardown(tools)
    assert provider.asked[-1].form["server_id"] == "3"


def test_addresses_and_peers_agree():
    assert vk().address_of(PEER) == Address("vk", PEER)
    assert vk().peer_of(Address("vk", PEER)) == PEER
    assert vk().peer_of(Address("phone", "+79161234567")) is None
