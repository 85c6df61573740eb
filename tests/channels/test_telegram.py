from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiogram.types import Update
from aiohttp import web
from multipart import MultipartParser, parse_options_header

from channels import registry
from channels.contract import Button, Item, ParseContext, Sender, Tools, Unit
from channels.errors import (
    ChannelError,
    Misconfigured,
    PeerMoved,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
    WindowClosed,
)
from channels.http import Exchange
from channels.telegram.channel import Telegram
from core.kernel.addresses import Address
from core.kernel.envelopes import Changed, Event, IdentityChanged, Incoming, Signal, Trust
from core.kernel.errors import Rejected
from tests.channels.payloads import NOW
from tests.channels.payloads.telegram import (
    BLOCKED,
    BOT,
    DATE,
    DOCUMENT,
    GROUP,
    PHOTO,
    PRESS,
    PRIVATE,
    SECRET,
    SETTINGS,
    TOKEN,
    UPDATES,
    VERA,
    message,
    request,
    update,
)
from tests.channels.provider import Asked, Provider, file, part, tools_for
from webhooks.errors import BadSignature, Malformed, NotConfigured

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
VERA_S = Address("telegram", "110201543:5012345678")
HOOK = "https://hub.example/hooks/k"


def telegram(url: str = "", **settings: Any) -> Telegram:
    made = registry.build("telegram", {**SETTINGS, "base_url": url, **settings})
    assert isinstance(made, Telegram)
    return made


def read(body: dict[str, Any], **settings: Any) -> Sequence[Event]:
    return telegram(**settings).parse(request(body), CONTEXT)


def said(body: dict[str, Any]) -> Incoming:
    (found,) = read(body)
    assert isinstance(found, Incoming)
    return found


# --- settings ---


@pytest.mark.parametrize("token", ["", "AAHdqTcvCH1v", ":AAH", "110201543:", "110201543:AA BB", "1:a/../b", "x:abc"])
def test_what_is_no_token_is_refused_without_being_repeated(token):
    with pytest.raises(Rejected, match="@BotFather") as refusal:
        telegram(token=token)
    assert refusal.value.field == "token"
    assert len(token) < 5 or token not in str(refusal.value)


def test_a_token_copied_with_blanks_around_it_is_understood():
    assert telegram(token=f" {TOKEN}\n").address_of("5") == Address("telegram", "110201543:5")


@pytest.mark.parametrize("secret", ["с кириллицей", "a b", "a" * 257, "a:b"])
def test_a_secret_telegram_would_not_take_is_refused(secret):
    with pytest.raises(Rejected, match="256"):
        telegram(secret_token=secret)


# --- the door ---


def test_only_the_secret_opens_the_door():
    channel = telegram()
    channel.verify(request(update(message=message(text="hi"))), NOW)
    for wrong in (None, "", "b3f0", SECRET + " ", SECRET.upper(), "секрет"):
        with pytest.raises(BadSignature):
            channel.verify(request(update(), wrong), NOW)


def test_the_secret_counts_nowhere_but_in_its_header():
    bare = replace(request(update(), None), query=f"token={SECRET}", suffix=SECRET)
    with pytest.raises(BadSignature):
        telegram().verify(bare, NOW)


def test_without_a_secret_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        telegram(secret_token="").verify(request(update(), ""), NOW)


@pytest.mark.parametrize("body", [b"", b"foo", b"[]", b'{"update_id"'])
def test_what_is_no_update_is_refused_at_the_door(body):
    with pytest.raises(Malformed):
        telegram().verify(replace(request(update()), body=body), NOW)


@pytest.mark.parametrize(
    ("body", "peer"),
    [
        (update(7, message=message(text="a")), "5012345678"),
        (update(7, edited_message=message(1, GROUP, text="a")), "-1001987654321"),
        (update(7, callback_query=PRESS), "5012345678"),
        (update(7, callback_query={"id": "1", "from": VERA, "data": "x", "inline_message_id": "q"}), "5012345678"),
        (update(7, my_chat_member=BLOCKED), "5012345678"),
        (update(7), ""),
    ],
)
def test_an_update_is_told_by_its_number_and_kept_in_order_with_its_chat(body, peer):
    routed = telegram().route(request(body))
    assert (routed.dedupe_key, routed.peer) == ("update:7", peer)


def test_updates_without_a_number_are_told_by_their_content():
    channel = telegram()
    one, other = ({"message": message(text=text)} for text in ("a", "b"))
    assert channel.route(request(one)) == channel.route(request(one)) != channel.route(request(other))


def test_a_press_is_confirmed_in_the_answer_and_nothing_else_is_said():
    channel = telegram()
    answered = channel.acknowledge(request(update(callback_query=PRESS)), "r1")
    assert json.loads(answered.body) == {
        "method": "answerCallbackQuery",
        "callback_query_id": "4382bfdwdsb323b2d9",
    }
    assert channel.acknowledge(request(update(message=message(text="a"))), "r1").body == b"{}"


# --- reading ---


def test_a_message_tells_who_wrote_what_and_when():
    found = said(update(message=message(text="Здравствуйте 👋")))
    assert found.external_id == "5012345678:41"
    assert (found.peer, found.text, found.name) == ("5012345678", "Здравствуйте 👋", "Вера Ильина")
    assert (found.language, found.thread) == ("ru", "")
    assert found.occurred_at == NOW
    (claim,) = found.claims
    assert (claim.address, claim.raw, claim.trust) == (VERA_S, "@vera_i", Trust.ATTESTED)
    assert telegram().address_of(found.peer) == claim.address
    assert telegram().peer_of(claim.address) == found.peer
    assert found.replies_until is None


def test_people_without_names_are_called_by_their_handle_or_nothing():
    assert said(update(message=message(text="a", **{"from": {"id": 5, "username": "kot"}}))).name == "kot"
    nameless = said(update(message=message(text="a", **{"from": {"id": 5}})))
    assert nameless.name == ""
    assert nameless.claims[0].raw == "5"


# Shapes as courier's tests have them: no is_bot, no file_unique_id, `thumb`, a venue with its location twice.
OLD = {"id": 3527065, "first_name": "Nic", "last_name": "Pottier"}
OLD_CHAT = {**OLD, "type": "private"}
VENUE_AT = {"latitude": -2.898944, "longitude": -79.006835}
CARD = {"phone_number": "0788531373", "first_name": "Adolf Taxi"}


@pytest.mark.parametrize(
    ("number", "date", "what", "text", "files"),
    [
        (41, 1454119029, {"text": "Hello World"}, "Hello World", []),
        (
            44,
            1454119668,
            {
                "sticker": {
                    "width": 436,
                    "height": 512,
                    "thumb": {"file_id": "AAQDABNW", "file_size": 2510},
                    "file_id": "BQADAwADRQADyIsGAAHtBskMy6GoLAI",
                    "file_size": 38440,
                }
            },
            "",
            [("sticker_44.webp", "image/webp", 38440, "BQADAwADRQADyIsGAAHtBskMy6GoLAI", "sticker")],
        ),
        (
            85,
            1493843318,
            {"photo": PHOTO, "caption": "Photo Caption"},
            "Photo Caption",
            [("photo_85.jpg", "image/jpeg", 104737, "AgACAgIAAxkBAAIBc-y", "image")],
        ),
        (
            86,
            1493843364,
            {"video": {"duration": 1, "mime_type": "video/mp4", "file_id": "BAADAQ", "file_size": 257507}},
            "",
            [("video_86.mp4", "video/mp4", 257507, "BAADAQ", "video")],
        ),
        (
            91,
            1493844646,
            {"voice": {"duration": 1, "mime_type": "audio/ogg", "file_id": "AwADAQ", "file_size": 4288}},
            "",
            [("voice_91.ogg", "audio/ogg", 4288, "AwADAQ", "voice")],
        ),
        (
            92,
            1493845100,
            {
                "document": {
                    "file_name": "TabFig2015prel.xls",
                    "mime_type": "application/vnd.ms-excel",
                    "file_id": "BQADAQ",
                    "file_size": 4540928,
                }
            },
            "",
            [("TabFig2015prel.xls", "application/vnd.ms-excel", 4540928, "BQADAQ", "file")],
        ),
        (
            94,
            1493845244,
            {"location": {"latitude": -2.890287, "longitude": -79.004333}},
            "https://maps.google.com/?q=-2.890287,-79.004333",
            [],
        ),
        (
            95,
            1493845520,
            {
                "location": VENUE_AT,
                "venue": {"location": VENUE_AT, "title": "Cuenca", "address": "Provincia del Azuay"},
            },
            "Cuenca, Provincia del Azuay\nhttps://maps.google.com/?q=-2.898944,-79.006835",
            [],
        ),
        (96, 1493845755, {"contact": CARD}, "Adolf Taxi (0788531373)", []),
        (
            97,
            1493845755,
            {"web_app_data": {"data": '{"first_name": "Bob"}', "button_text": "Register"}},
            "Register",
            [],
        ),
        (98, 1493845755, {"web_app_data": {"data": "bob,32", "button_text": "Register"}}, "bob,32", []),
    ],
)
def test_what_a_public_suite_sends_comes_out(number, date, what, text, files):
    found = said(update(message={"message_id": number, "from": OLD, "chat": OLD_CHAT, "date": date, **what}))
    assert (found.external_id, found.text, found.name) == (f"3527065:{number}", text, "Nic Pottier")
    assert found.occurred_at == datetime.fromtimestamp(date, UTC)
    assert [claim.address.value for claim in found.claims] == ["110201543:3527065"]
    assert [(one.name, one.content_type, one.size, one.reference, one.kind) for one in found.attachments] == files


@pytest.mark.parametrize(
    ("what", "file_id", "kind", "name", "content_type"),
    [
        ({"video_note": {"file_id": "N"}}, "N", "video", "video_note_41.mp4", "video/mp4"),
        (
            {
                "animation": {"file_id": "A", "mime_type": "video/mp4", "file_name": "cat.mp4"},
                "document": {"file_id": "A", "mime_type": "video/mp4", "file_name": "cat.mp4"},
            },
            "A",
            "video",
            "cat.mp4",
            "video/mp4",
        ),
        ({"audio": {"file_id": "M", "title": "x"}}, "M", "audio", "audio_41.mp3", "audio/mpeg"),
        (
            {"sticker": {"file_id": "S", "is_animated": True}},
            "S",
            "sticker",
            "sticker_41.tgs",
            "application/x-tgsticker",
        ),
        ({"sticker": {"file_id": "S", "is_video": True}}, "S", "sticker", "sticker_41.webm", "video/webm"),
        (
            {"document": {**DOCUMENT, "file_name": "../../etc/passwd"}},
            "BQACAgIAAxkBAAIBdA",
            "file",
            "passwd",
            "application/vnd.ms-excel",
        ),
    ],
)
def test_every_kind_of_file_comes_with_what_is_needed_to_fetch_it(what, file_id, kind, name, content_type):
    (found,) = said(update(message=message(**what))).attachments
    assert (found.reference, found.kind, found.name, found.content_type) == (file_id, kind, name, content_type)


def test_the_pieces_of_an_album_name_their_album():
    found = [
        said(update(number, message=message(number, photo=PHOTO, media_group_id="13520"))) for number in range(1, 11)
    ]
    assert {one.group for one in found} == {"5012345678:13520"}
    assert len({one.external_id for one in found}) == 10


def test_a_deep_link_says_where_somebody_came_from():
    found = said(update(message=message(text="/start dXRtX3NvdXJjZT12aw")))
    assert found.text == "/start dXRtX3NvdXJjZT12aw"
    assert found.attribution.reference == "dXRtX3NvdXJjZT12aw"
    in_group = said(update(message=message(1, GROUP, text="/start@shop_bot spring")))
    assert in_group.attribution.reference == "spring"
    assert said(update(message=message(text="/started x"))).attribution.reference is None


def test_a_bare_start_opens_the_chat_and_says_nothing():
    (found,) = read(update(message=message(text="/start")))
    assert isinstance(found, Signal)
    assert (found.kind, found.peer, found.name, found.claims[0].address) == (
        "started",
        "5012345678",
        "Вера Ильина",
        VERA_S,
    )


@pytest.mark.parametrize("written", ["79161234567", "+79161234567", "+7 916 123 45 67"])
def test_a_phone_is_believed_where_telegram_says_it_is_the_sender_s_own(written):
    own = {"phone_number": written, "first_name": "Вера", "user_id": VERA["id"]}
    found = said(update(message=message(contact=own)))
    assert [claim.address for claim in found.claims] == [VERA_S, Address("phone", "+79161234567")]
    assert found.claims[1].trust is Trust.ATTESTED
    assert written in found.text


@pytest.mark.parametrize("user_id", [None, 42])
def test_somebody_else_s_card_is_only_words(user_id):
    card = {"phone_number": "+79161234567", "first_name": "Муж"} | ({"user_id": user_id} if user_id else {})
    found = said(update(message=message(contact=card)))
    assert [claim.address for claim in found.claims] == [VERA_S]
    assert found.text == "Муж (+79161234567)"


def test_an_answer_names_what_it_answers_and_quotes():
    found = said(
        update(message=message(text="Да", reply_to_message=message(40), quote={"text": "белая?", "is_manual": True}))
    )
    assert (found.reply_to, found.quoted) == ("5012345678:40", "белая?")


@pytest.mark.parametrize(
    ("how", "source"),
    [
        ({"forward_origin": {"type": "user", "sender_user": {"id": 9, "first_name": "Олег"}}}, "Олег"),
        ({"forward_origin": {"type": "hidden_user", "sender_user_name": "Олег П."}}, "Олег П."),
        ({"forward_origin": {"type": "channel", "chat": {"id": -1, "title": "Скидки"}, "message_id": 3}}, "Скидки"),
        ({"forward_from": {"id": 9, "first_name": "Олег"}}, "Олег"),
        ({"forward_from_chat": {"id": -1, "title": "Скидки"}}, "Скидки"),
    ],
)
def test_forwarded_words_say_whose_they_were(how, source):
    assert said(update(message=message(text="см.", **how))).fields == {"forwarded_from": source}


def test_a_group_is_a_conversation_of_its_own_and_each_topic_too():
    found = said(update(message=message(7, GROUP, text="Привет", reply_to_message=message(5, GROUP))))
    assert (found.peer, found.thread, found.subject) == (
        "-1001987654321",
        "group:-1001987654321",
        "Кухня на Лесной",
    )
    assert found.claims[0].address == VERA_S
    assert found.reply_to == "-1001987654321:5"
    beginning = {**message(3, GROUP), "forum_topic_created": {"name": "Замер"}}
    topic = message(8, GROUP, text="Тут", message_thread_id=3, is_topic_message=True, reply_to_message=beginning)
    found = said(update(message=topic))
    assert (found.thread, found.reply_to) == ("group:-1001987654321:3", "")


def test_a_business_chat_is_kept_apart_and_answered_through_its_account_within_a_day():
    found = said(update(business_message=message(12, text="Есть белая?", business_connection_id="Jq5m")))
    assert found.external_id == "Jq5m:5012345678:12"
    assert found.thread == "business:Jq5m"
    assert found.replies_until == NOW + timedelta(hours=24)
    assert not found.is_ours


def test_what_the_owner_writes_in_a_business_chat_is_ours():
    owner = {"id": 77, "is_bot": False, "first_name": "Ольга"}
    found = said(update(business_message=message(13, text="Есть", business_connection_id="Jq5m", **{"from": owner})))
    assert found.is_ours
    assert (found.claims[0].address, found.name, found.peer) == (VERA_S, "Вера Ильина", "5012345678")


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (
            {"text": "см. здесь", "entities": [{"type": "text_link", "url": "https://a.example/"}]},
            "см. здесь\nhttps://a.example/",
        ),
        ({"poll": {"question": "Цвет?", "options": [{"text": "белый"}, {"text": "серый"}]}}, "Цвет?\n– белый\n– серый"),
        ({"checklist": {"title": "Замер", "tasks": [{"id": 1, "text": "стена"}]}}, "Замер\n– стена"),
        ({"dice": {"emoji": "🎲", "value": 5}}, "🎲 5"),
        ({"story": {"id": 4, "chat": {"id": 9, "username": "vera_i"}}}, "https://t.me/vera_i/s/4"),
    ],
)
def test_what_is_said_otherwise_than_in_words_is_put_into_words(what, text):
    assert said(update(message=message(**what))).text == text


@pytest.mark.parametrize(
    "body",
    [
        update(),
        update(channel_post=message(text="news", **{"from": None})),
        update(message=message(text="beep", **{"from": {**BOT, "id": 8}})),
        update(message=message(1, GROUP, text="post", is_automatic_forward=True)),
        update(message=message(1, {"id": -5, "type": "channel"}, text="post")),
        update(message=message(1, GROUP, new_chat_members=[VERA])),
        update(message=message(1, GROUP, new_chat_title="Другое")),
        update(message=message(1, GROUP, migrate_from_chat_id=-400)),
        update(message="text"),
        update(message=message(None, text="no id")),
        update(inline_query={"id": "1", "from": VERA}),
        update(something_new={"id": 1}),
        update(callback_query={**PRESS, "data": None}),
        update(edited_channel_post=message(text="x")),
    ],
)
def test_what_is_nothing_to_us_is_no_event(body):
    assert read(body) == []


@pytest.mark.parametrize(
    ("body", "external_id"),
    [
        (update(edited_message=message(41, text="Теперь так", edit_date=DATE + 5)), "5012345678:41"),
        (update(edited_message=message(41, photo=PHOTO, caption="Теперь так", edit_date=DATE + 5)), "5012345678:41"),
        (
            update(
                edited_business_message=message(
                    41, text="Теперь так", edit_date=DATE + 5, business_connection_id="Jq5m"
                )
            ),
            "Jq5m:5012345678:41",
        ),
    ],
)
def test_changed_words_replace_the_old_ones(body, external_id):
    assert read(body) == [
        Changed(
            peer="5012345678",
            occurred_at=NOW + timedelta(seconds=5),
            external_id=external_id,
            change="edited",
            text="Теперь так",
        )
    ]


def test_messages_deleted_in_a_business_chat_are_told_one_by_one():
    gone = {"business_connection_id": "Jq5m", "chat": PRIVATE, "message_ids": [4, "x", 5]}
    found = read(update(deleted_business_messages=gone))
    assert [(one.external_id, one.change) for one in found if isinstance(one, Changed)] == [
        ("Jq5m:5012345678:4", "deleted"),
        ("Jq5m:5012345678:5", "deleted"),
    ]


@pytest.mark.parametrize(
    ("signs", "text"),
    [
        ([{"type": "emoji", "emoji": "👍"}], "👍"),
        ([], ""),
        ([{"type": "custom_emoji", "custom_emoji_id": "5"}, {"type": "paid"}], "🙂⭐"),
    ],
)
def test_a_reaction_is_a_change_of_the_message_it_stands_at(signs, text):
    (found,) = read(
        update(
            message_reaction={
                "chat": PRIVATE,
                "message_id": 140,
                "user": VERA,
                "date": DATE,
                "old_reaction": [],
                "new_reaction": signs,
            }
        )
    )
    assert isinstance(found, Changed)
    assert (found.external_id, found.change, found.text) == ("5012345678:140", "reaction", text)


def test_a_press_says_what_stood_on_the_button_and_what_it_stands_for():
    found = said(update(callback_query=PRESS))
    assert (found.text, found.fields, found.reply_to) == ("Завтра 🙂", {"payload": "slot:2"}, "5012345678:140")
    assert found.external_id == "callback:4382bfdwdsb323b2d9"
    assert found.claims[0].address == VERA_S
    assert said(update(callback_query={**PRESS, "message": None})).text == "slot:2"


def test_a_press_in_a_topic_stays_there():
    pressed = {**PRESS["message"], "chat": GROUP, "message_thread_id": 3, "is_topic_message": True}
    found = said(update(callback_query={**PRESS, "message": pressed}))
    assert (found.peer, found.thread) == ("-1001987654321", "group:-1001987654321:3")


@pytest.mark.parametrize(
    ("chat", "before", "now", "kind", "address"),
    [
        (PRIVATE, "member", "kicked", "gone", "110201543:5012345678"),
        (PRIVATE, "kicked", "member", "opted_in", "110201543:5012345678"),
        (GROUP, "administrator", "left", "gone", "110201543:-1001987654321"),
        (GROUP, "left", "member", "opted_in", "110201543:-1001987654321"),
    ],
)
def test_who_blocks_the_bot_is_gone_and_who_comes_back_may_be_written_to(chat, before, now, kind, address):
    change = {
        **BLOCKED,
        "chat": chat,
        "old_chat_member": {"user": BOT, "status": before},
        "new_chat_member": {"user": BOT, "status": now},
    }
    (found,) = read(update(my_chat_member=change))
    assert isinstance(found, Signal)
    assert (found.kind, found.peer, found.claims[0].address.value) == (kind, str(chat["id"]), address)


def test_being_made_an_administrator_means_nothing():
    change = {**BLOCKED, "chat": GROUP, "new_chat_member": {"user": BOT, "status": "administrator"}}
    assert read(update(my_chat_member=change)) == []


def test_a_group_that_moved_is_known_by_its_new_number():
    (found,) = read(
        update(message=message(9, {"id": -400, "type": "group", "title": "x"}, migrate_to_chat_id=-1001987654321))
    )
    assert isinstance(found, IdentityChanged)
    assert found.old.address == Address("telegram", "110201543:-400")
    assert found.new.address == Address("telegram", "110201543:-1001987654321")
    assert (found.peer, found.new_peer) == ("-400", "-1001987654321")


def test_people_of_another_bot_are_not_to_be_reached():
    channel = telegram()
    assert channel.peer_of(Address("telegram", "999:5012345678")) is None
    assert channel.peer_of(Address("phone", "+79161234567")) is None


@pytest.mark.parametrize("one", UPDATES, ids=lambda one: next(name for name in one if name != "update_id"))
def test_the_samples_are_such_as_another_reader_understands_too(one):
    understood = Update.model_validate(one)
    assert understood.update_id == one["update_id"]
    assert understood.event_type in one


# --- what a call costs ---


@pytest.mark.parametrize(
    "doing",
    [
        "c.verify(r, now)",
        "c.route(r)",
        "c.parse(r, ParseContext('RU', 'UTC', now))",
        "c.acknowledge(r, 'x')",
    ],
)
def test_taking_messages_in_imports_no_aiogram(doing):
    code = (
        "import sys; from datetime import datetime, UTC; now = datetime.now(UTC)\n"
        "from channels import registry; from channels.contract import ParseContext\n"
        "from webhooks.request import RawRequest\n"
        "c = registry.build('telegram', {'token': '123:ABC', 'secret_token': 's'})\n"
        "r = RawRequest(b'{\"update_id\": 1}', headers={'x-telegram-bot-api-secret-token': 's'})\n"
        f"{doing}\nprint([name for name in sys.modules if name.startswith('aiogram')])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_where_aiogram_is_missing_it_is_said_what_to_install():
    code = (
        "import asyncio, sys; sys.modules['aiogram'] = None\n"
        "from channels import registry; from channels.errors import Misconfigured\n"
        "c = registry.build('telegram', {'token': '123:ABC'})\n"
        "try: asyncio.run(c.check(None))\n"
        "except Misconfigured as error: print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "switchyard[telegram]" in printed


# --- sending ---


def path(method: str) -> str:
    return f"/bot{re.escape(TOKEN)}/{method}"


def sent(number: int, chat: int = 42, **more: Any) -> dict[str, Any]:
    return {"message_id": number, "chat": {"id": chat, "type": "private"}, "date": DATE, **more}


def answer(provider: Provider, method: str, result: Any, *, once: bool = False) -> None:
    provider.answers("POST", path(method), json={"ok": True, "result": result}, once=once)


def refuse(provider: Provider, method: str, code: int, words: str, *, once: bool = False, **parameters: Any) -> None:
    body = {"ok": False, "error_code": code, "description": words}
    if parameters:
        body["parameters"] = parameters
    provider.answers("POST", path(method), status=code, json=body, once=once)


@pytest.fixture
async def spoken(provider: Provider) -> AsyncIterator[tuple[Tools, list[Exchange]]]:
    async with tools_for(provider.url, secrets=(TOKEN, SECRET)) as made:
        yield made


@pytest.fixture
def masked(spoken: tuple[Tools, list[Exchange]]) -> Tools:
    return spoken[0]


def parts_of(asked: Asked) -> tuple[dict[str, str], dict[str, tuple[str, str, bytes]]]:
    """Read a form with files: its values, and its files by field as name, type and content."""
    _, options = parse_options_header(asked.headers["content-type"])
    values, files = {}, {}
    for one in MultipartParser(io.BytesIO(asked.body), options["boundary"]):
        if one.filename is None:
            values[one.name] = one.value
        else:
            files[one.name] = (one.filename, one.content_type, one.raw)
        one.close()
    return values, files


def methods(provider: Provider) -> list[str]:
    return [asked.path.rpartition("/")[2] for asked in provider.asked]


async def test_words_go_as_they_are(provider, masked):
    answer(provider, "sendMessage", {"message_id": 133})
    text = "1 * 2 * 3 <b>не жирно</b> _и_ [нет](ссылки) 😀"
    receipt = await telegram(provider.url).send(part(text), masked)
    assert receipt.external_ids == ("42:133",)
    (asked,) = provider.asked
    assert asked.form == {"chat_id": "42", "text": text}


async def test_an_answer_marks_what_it_answers_and_survives_its_deletion(provider, masked):
    answer(provider, "sendMessage", sent(133))
    await telegram(provider.url).send(part("да", reply_to="42:17"), masked)
    assert json.loads(provider.asked[0].form["reply_parameters"]) == {
        "message_id": 17,
        "allow_sending_without_reply": True,
    }


@pytest.mark.parametrize(
    "more",
    [
        {"reply_to": "43:17"},
        {"reply_to": "callback:4382bfdw"},
        {"reply_to": "42:17", "is_first": False},
        {"reply_to": ""},
    ],
)
async def test_only_a_message_of_this_chat_is_answered_and_only_once(provider, masked, more):
    answer(provider, "sendMessage", sent(133))
    await telegram(provider.url).send(part("да", **more), masked)
    assert "reply_parameters" not in provider.asked[0].form


@pytest.mark.parametrize(
    ("peer", "thread", "place"),
    [
        ("42", "", {}),
        ("42", "topic:3", {"message_thread_id": "3"}),
        ("-100", "group:-100", {}),
        ("-100", "group:-100:3", {"message_thread_id": "3"}),
        ("42", "business:Jq5m", {"business_connection_id": "Jq5m"}),
    ],
)
async def test_an_answer_goes_where_the_question_came_from(provider, masked, peer, thread, place):
    answer(provider, "sendMessage", {"message_id": 133})
    await telegram(provider.url).send(part("да", peer=peer, thread=thread), masked)
    assert provider.asked[0].form == {"chat_id": peer, "text": "да", **place}


async def test_messages_of_a_business_account_are_numbered_apart(provider, masked):
    answer(provider, "sendMessage", sent(133))
    receipt = await telegram(provider.url).send(part("да", thread="business:Jq5m", reply_to="Jq5m:42:17"), masked)
    assert json.loads(provider.asked[0].form["reply_parameters"])["message_id"] == 17
    assert receipt.external_ids == ("Jq5m:42:133",)
    echo = message(133, text="да", business_connection_id="Jq5m", chat={"id": 42, "type": "private"})
    assert said(update(business_message=echo)).external_id == "Jq5m:42:133"


async def test_buttons_stand_one_a_row_and_bring_their_payload_back(provider, masked):
    answer(provider, "sendMessage", sent(133))
    long = "Да, перезвоните мне, пожалуйста, завтра 😀"
    buttons = (Button("Завтра", "slot:2"), Button(long))
    await telegram(provider.url).send(part("Когда?", buttons=buttons), masked)
    (first,), (second,) = json.loads(provider.asked[0].form["reply_markup"])["inline_keyboard"]
    assert first == {"text": "Завтра", "callback_data": "slot:2"}
    assert second["text"] == long
    assert long.startswith(second["callback_data"])
    assert 60 < len(second["callback_data"].encode()) <= 64
    pressed = {**PRESS, "data": second["callback_data"], "message": {"reply_markup": {"inline_keyboard": [[second]]}}}
    assert said(update(callback_query=pressed)).text == long


async def test_a_payload_telegram_would_not_take_is_refused_before_it_is_sent(provider, masked):
    with pytest.raises(Undeliverable, match="64 bytes"):
        await telegram(provider.url).send(part("Когда?", buttons=(Button("a", "я" * 33),)), masked)
    assert provider.asked == []


async def test_an_empty_message_is_refused_before_it_is_sent(provider, masked):
    with pytest.raises(Undeliverable, match="nothing to send"):
        await telegram(provider.url).send(part(" \n"), masked)
    assert provider.asked == []


MB = 1024 * 1024


@pytest.mark.parametrize(
    ("kind", "content_type", "method", "field_name"),
    [
        ("image", "image/jpeg", "sendPhoto", "photo"),
        ("image", "image/svg+xml", "sendDocument", "document"),
        ("image", "image/gif", "sendDocument", "document"),
        ("video", "video/mp4", "sendVideo", "video"),
        ("video", "video/x-msvideo", "sendDocument", "document"),
        ("voice", "audio/ogg; codecs=opus", "sendVoice", "voice"),
        ("audio", "audio/mpeg", "sendAudio", "audio"),
        ("audio", "audio/flac", "sendDocument", "document"),
        ("file", "application/pdf", "sendDocument", "document"),
        ("file", "image/jpeg", "sendDocument", "document"),
        ("sticker", "image/webp", "sendPhoto", "photo"),
    ],
)
async def test_a_file_goes_up_as_what_telegram_shows_best(provider, masked, kind, content_type, method, field_name):
    answer(provider, method, sent(133))
    content = bytes(range(256)) * 300
    upload = file(content, name='Смета "кухня"\r\n.bin', content_type=content_type, kind=kind)
    receipt = await telegram(provider.url).send(part("Вот", files=(upload,)), masked)
    assert receipt.external_ids == ("42:133",)
    assert methods(provider) == [method]
    values, files = parts_of(provider.asked[0])
    ((name, found),) = files.items()
    assert values == {"chat_id": "42", "caption": "Вот", field_name: f"attach://{name}"}
    assert (found[0], found[2]) == ("Смета _кухня_.bin", content)


async def test_a_picture_too_large_for_a_photo_goes_as_a_document(provider, masked):
    answer(provider, "sendDocument", sent(133))
    big = file(b"\xff" * (10 * MB + 1), name="a.jpg", content_type="image/jpeg", kind="image")
    await telegram(provider.url).send(part(files=(big,)), masked)
    assert methods(provider) == ["sendDocument"]


@pytest.mark.parametrize(
    ("kind", "content_type", "method", "words"),
    [
        ("image", "image/png", "sendPhoto", "Bad Request: PHOTO_INVALID_DIMENSIONS"),
        ("image", "image/png", "sendPhoto", "Bad Request: IMAGE_PROCESS_FAILED"),
        ("voice", "audio/ogg", "sendVoice", "Bad Request: VOICE_MESSAGES_FORBIDDEN"),
    ],
)
async def test_what_telegram_does_not_take_as_such_goes_once_more_as_a_document(
    provider, masked, kind, content_type, method, words
):
    refuse(provider, method, 400, words)
    answer(provider, "sendDocument", sent(134))
    one = file(b"abc", name="a.png", content_type=content_type, kind=kind)
    receipt = await telegram(provider.url).send(part("Вот", files=(one,), reply_to="42:1"), masked)
    assert methods(provider) == [method, "sendDocument"]
    assert receipt.external_ids == ("42:134",)
    values, files = parts_of(provider.asked[1])
    assert values["caption"] == "Вот"
    assert [content for _, _, content in files.values()] == [b"abc"]


def picture(number: int) -> Any:
    return file(b"jpg %d" % number, name=f"{number}.jpg", content_type="image/jpeg", kind="image")


VIDEO = file(b"mp4", name="v.mp4", content_type="video/mp4", kind="video")
PDF = file(b"pdf", name="d.pdf")
SONG = file(b"mp3", name="m.mp3", content_type="audio/mpeg", kind="audio")
VOICE = file(b"ogg", name="v.ogg", content_type="audio/ogg", kind="voice")


async def test_an_album_is_one_call_with_one_caption_and_all_its_ids(provider, masked):
    answer(provider, "sendMediaGroup", [sent(number) for number in range(1, 11)])
    files = (*[picture(number) for number in range(9)], VIDEO)
    receipt = await telegram(provider.url).send(part("Кухни", files=files, reply_to="42:17"), masked)
    assert receipt.external_ids == tuple(f"42:{number}" for number in range(1, 11))
    (asked,) = provider.asked
    values, uploads = parts_of(asked)
    media = json.loads(values["media"])
    assert [one["type"] for one in media] == ["photo"] * 9 + ["video"]
    assert [one.get("caption") for one in media] == ["Кухни"] + [None] * 9
    contents = [uploads[one["media"].removeprefix("attach://")][2] for one in media]
    assert contents == [*(b"jpg %d" % number for number in range(9)), b"mp4"]
    assert json.loads(values["reply_parameters"])["message_id"] == 17


async def test_what_may_not_share_an_album_goes_in_several(provider, masked):
    numbers = iter(range(1, 100))

    def group(asked: Asked) -> web.Response:
        media = json.loads(parts_of(asked)[0]["media"])
        return web.json_response({"ok": True, "result": [sent(next(numbers)) for _ in media]})

    provider.does("POST", path("sendMediaGroup"), group)
    for method in ("sendAudio", "sendVoice"):
        provider.does("POST", path(method), lambda _: web.json_response({"ok": True, "result": sent(next(numbers))}))
    files = (picture(1), VIDEO, PDF, PDF, SONG, VOICE, VOICE)
    receipt = await telegram(provider.url).send(part("Всё", files=files), masked)
    assert methods(provider) == ["sendMediaGroup", "sendMediaGroup", "sendAudio", "sendVoice", "sendVoice"]
    assert receipt.external_ids == tuple(f"42:{number}" for number in range(1, 8))
    captions = [
        b"\xd0\x92\xd1\x81\xd1\x91" in asked.body or b"\\u0412\\u0441\\u0451" in asked.body for asked in provider.asked
    ]
    assert captions == [True, False, False, False, False]


async def test_an_album_telegram_refuses_as_pictures_goes_as_documents(provider, masked):
    answer(provider, "sendMediaGroup", [sent(3), sent(4)])
    words = 'Bad Request: failed to send message #2 with the error message "PHOTO_INVALID_DIMENSIONS"'
    refuse(provider, "sendMediaGroup", 400, words, once=True)
    receipt = await telegram(provider.url).send(part(files=(picture(1), picture(2))), masked)
    assert receipt.external_ids == ("42:3", "42:4")
    first, second = (json.loads(parts_of(asked)[0]["media"]) for asked in provider.asked)
    assert [one["type"] for one in first] == ["photo", "photo"]
    assert [one["type"] for one in second] == ["document", "document"]


async def test_buttons_stand_below_the_last_file_with_the_words(provider, masked):
    answer(provider, "sendMediaGroup", [sent(1), sent(2)])
    answer(provider, "sendPhoto", sent(3))
    files = (picture(1), picture(2), picture(3))
    receipt = await telegram(provider.url).send(part("Какая?", files=files, buttons=(Button("1"),)), masked)
    assert receipt.external_ids == ("42:1", "42:2", "42:3")
    album, last = (parts_of(asked)[0] for asked in provider.asked)
    assert "caption" not in album["media"]
    assert last["caption"] == "Какая?"
    assert "inline_keyboard" in last["reply_markup"]


async def test_files_of_which_only_some_went_are_not_sent_again(provider, masked):
    answer(provider, "sendPhoto", sent(1))
    refuse(provider, "sendDocument", 500, "Internal Server Error")
    with pytest.raises(Uncertain, match="1 of 2 files went"):
        await telegram(provider.url).send(part(files=(picture(1), PDF)), masked)


def test_what_is_declared_is_what_telegram_allows():
    channel = telegram()
    assert isinstance(channel, Sender)
    sending = channel.sending
    assert (sending.text, sending.unit, sending.caption, sending.album) == (4096, Unit.UTF16, 1024, 10)
    assert {rule.most_bytes for rule in sending.media.values()} == {50 * MB}
    assert not sending.retries_safely


@pytest.mark.parametrize(
    ("code", "words", "parameters", "error"),
    [
        (400, "Bad Request: message text is empty", {}, Undeliverable),
        (400, "Bad Request: not enough rights to send text messages to the chat", {}, Undeliverable),
        (400, "Bad Request: chat not found", {}, RecipientGone),
        (400, "Bad Request: PEER_ID_INVALID", {}, RecipientGone),
        (400, "Bad Request: BUSINESS_PEER_USAGE_MISSING", {}, WindowClosed),
        (401, "Unauthorized", {}, Unauthorised),
        (403, "Forbidden: bot was blocked by the user", {}, RecipientGone),
        (403, "Forbidden: user is deactivated", {}, RecipientGone),
        (403, "Forbidden: bot can't initiate conversation with a user", {}, RecipientGone),
        (403, "Forbidden: bot was kicked from the supergroup chat", {}, RecipientGone),
        (404, "Not Found", {}, Misconfigured),
        (409, "Conflict: something", {}, Temporary),
        (413, "Request Entity Too Large", {}, Undeliverable),
        (429, "Too Many Requests: retry after 5", {"retry_after": 5}, Throttled),
        (500, "Internal Server Error", {}, Temporary),
        (502, "Bad Gateway", {}, Temporary),
    ],
)
async def test_each_refusal_says_what_happens_next(provider, spoken, code, words, parameters, error):
    tools, exchanges = spoken
    refuse(provider, "sendMessage", code, words, **parameters)
    with pytest.raises(error) as refusal:
        await telegram(provider.url).send(part("a"), tools)
    assert type(refusal.value) is error
    assert refusal.value.code == str(code)
    assert words in str(refusal.value) or error is WindowClosed
    assert [exchange.status for exchange in exchanges] == [code]
    if error is Throttled:
        assert refusal.value.retry_after == 5
    if error is RecipientGone:
        assert refusal.value.opted_out == ("blocked" in words)


async def test_a_group_that_became_a_supergroup_has_moved(provider, masked):
    refuse(
        provider,
        "sendMessage",
        400,
        "Bad Request: group chat was upgraded to a supergroup chat",
        migrate_to_chat_id=-1001987654321,
    )
    with pytest.raises(PeerMoved) as moved:
        await telegram(provider.url).send(part("a", peer="-400"), masked)
    assert moved.value.new_peer == "-1001987654321"


async def test_a_wait_is_taken_from_the_header_where_the_body_names_none(provider, masked):
    provider.answers("POST", path("sendMessage"), status=429, body="slow down", headers={"Retry-After": "7"})
    with pytest.raises(Throttled) as refusal:
        await telegram(provider.url).send(part("a"), masked)
    assert refusal.value.retry_after == 7


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (
            200,
            '{"ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}',
            RecipientGone,
        ),
        (200, '{"ok": false}', Undeliverable),
        (200, "{}", Uncertain),
        (200, "invalid", Uncertain),
        (200, '{"ok": true, "result": {}}', Uncertain),
        (200, '{"ok": true}', Uncertain),
        (502, "<html>Bad Gateway</html>", Temporary),
    ],
)
async def test_an_answer_that_is_none_is_never_taken_for_yes(provider, masked, status, body, error):
    provider.answers("POST", path("sendMessage"), status=status, body=body)
    with pytest.raises(error) as refusal:
        await telegram(provider.url).send(part("a"), masked)
    assert type(refusal.value) is error


@pytest.mark.parametrize("files", [(), (PDF,)])
async def test_a_connection_cut_after_the_request_leaves_it_open_whether_it_went(provider, spoken, files):
    tools, exchanges = spoken
    provider.breaks("POST", path("send.*"))
    with pytest.raises(Uncertain):
        await telegram(provider.url).send(part("a", files=files), tools)
    assert len(provider.asked) == 1
    assert exchanges[0].status is None
    assert exchanges[0].problem


async def test_a_server_that_is_not_there_has_sent_nothing(masked):
    async with contextlib.AsyncExitStack() as stack:
        listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        stack.push_async_callback(listening.wait_closed)
        port = listening.sockets[0].getsockname()[1]
        listening.close()
        with pytest.raises(Temporary) as refusal:
            await telegram(f"http://127.0.0.1:{port}").send(part("a"), masked)
        assert refusal.value.code == "unreachable"
        assert TOKEN not in str(refusal.value)


async def test_the_token_is_seen_nowhere(provider, spoken):
    tools, exchanges = spoken
    refuse(provider, "sendMessage", 400, f"Bad Request: no such bot {TOKEN}")
    answer(provider, "getFile", {"file_path": "photos/file_1.jpg"})
    answer(provider, "setWebhook", True)
    answer(provider, "getWebhookInfo", {"url": "", "pending_update_count": 0})
    channel = telegram(provider.url)
    with pytest.raises(ChannelError) as refused:
        await channel.send(part("a"), tools)
    with pytest.raises(ChannelError) as missing:
        await channel.fetch_media("AgAC", tools)
    await channel.setup(tools)
    assert [asked.path for asked in provider.asked][1] == f"/bot{TOKEN}/getFile"
    assert len(exchanges) == 5
    shown = f"{exchanges} {refused.value} {missing.value} {channel!r}"
    assert TOKEN not in shown
    assert SECRET not in shown
    assert "sendMessage" in shown


# --- files ---


async def test_a_file_is_fetched_by_its_id(provider, masked):
    content = b"\xff\xd8" + bytes(200_000)
    answer(provider, "getFile", {"file_id": "AgAC", "file_size": len(content), "file_path": "photos/file 1.jpg"})
    provider.answers("GET", f"/file/bot{re.escape(TOKEN)}/photos/file 1.jpg", body=content, content_type="image/jpeg")
    fetched = await telegram(provider.url).fetch_media("AgAC", masked)
    assert (fetched.content_type, fetched.size) == ("image/jpeg", len(content))
    assert b"".join([chunk async for chunk in fetched.chunks]) == content
    assert provider.asked[0].form == {"file_id": "AgAC"}


async def test_a_type_that_says_nothing_is_left_out(provider, masked):
    answer(provider, "getFile", {"file_path": "documents/file_2.pdf"})
    provider.answers("GET", "/file/.*", body=b"%PDF", content_type="application/octet-stream")
    fetched = await telegram(provider.url).fetch_media("AgAC", masked)
    assert fetched.content_type == ""
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"%PDF"


@pytest.mark.parametrize(
    ("code", "words", "error", "says"),
    [
        (400, "Bad Request: file is too big", Undeliverable, "20 MB"),
        (400, "Bad Request: wrong file_id or the file is temporarily unavailable", Temporary, "unavailable"),
        (400, "Bad Request: invalid file_id", Undeliverable, "invalid"),
        (401, "Unauthorized", Unauthorised, "@BotFather"),
        (500, "Internal Server Error", Temporary, "Internal"),
    ],
)
async def test_why_a_file_cannot_be_had_is_told(provider, masked, code, words, error, says):
    refuse(provider, "getFile", code, words)
    with pytest.raises(error, match=says):
        await telegram(provider.url).fetch_media("AgAC", masked)


@pytest.mark.parametrize(
    ("result", "error"), [({}, Temporary), ({"file_path": "/var/lib/telegram-bot-api/x/photo.jpg"}, Undeliverable)]
)
async def test_a_file_that_lies_nowhere_we_can_ask_is_not_asked_for(provider, masked, result, error):
    answer(provider, "getFile", result)
    with pytest.raises(error):
        await telegram(provider.url).fetch_media("AgAC", masked)
    assert methods(provider) == ["getFile"]


@pytest.mark.parametrize(("status", "error"), [(404, Undeliverable), (502, Temporary)])
async def test_a_download_that_fails_says_whether_to_try_again(provider, masked, status, error):
    answer(provider, "getFile", {"file_path": "photos/a.jpg"})
    provider.answers("GET", "/file/.*", status=status)
    with pytest.raises(error):
        await telegram(provider.url).fetch_media("AgAC", masked)


# --- set up and check ---


async def test_telegram_is_told_where_to_call_and_what_to_say(provider, masked):
    answer(provider, "getWebhookInfo", {"url": "https://old.example/bot", "pending_update_count": 0})
    answer(provider, "setWebhook", True)
    told = await telegram(provider.url).setup(masked)
    assert HOOK in told
    assert "https://old.example/bot" in told
    form = provider.asked[1].form
    assert (form["url"], form["secret_token"], form["drop_pending_updates"]) == (HOOK, SECRET, "false")
    assert {"message", "callback_query", "my_chat_member", "message_reaction"} < set(
        json.loads(form["allowed_updates"])
    )


async def test_setting_up_again_changes_nothing(provider, masked):
    answer(provider, "getWebhookInfo", {"url": HOOK, "pending_update_count": 0})
    answer(provider, "setWebhook", True)
    channel = telegram(provider.url)
    assert await channel.setup(masked) == await channel.setup(masked) == f"Telegram now calls {HOOK}."
    assert provider.asked[1].form == provider.asked[3].form


async def test_a_server_that_tells_nothing_of_hooks_is_told_ours_all_the_same(provider, masked):
    refuse(provider, "getWebhookInfo", 404, "Not Found")
    answer(provider, "setWebhook", True)
    assert await telegram(provider.url).setup(masked) == f"Telegram now calls {HOOK}."


async def test_an_address_telegram_would_not_call_is_explained(provider, masked):
    answer(provider, "getWebhookInfo", {"url": ""})
    refuse(provider, "setWebhook", 400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
    with pytest.raises(Misconfigured, match="polling"):
        await telegram(provider.url).setup(masked)


@pytest.mark.parametrize(
    ("settings", "hook_url", "says"),
    [
        ({}, "", "SWITCHYARD_PUBLIC_URL"),
        ({}, "/hooks/k", "SWITCHYARD_PUBLIC_URL"),
        ({"secret_token": ""}, HOOK, "secret"),
    ],
)
async def test_nothing_is_registered_without_an_address_and_a_secret(provider, masked, settings, hook_url, says):
    answer(provider, "getWebhookInfo", {"url": ""})
    with pytest.raises(Misconfigured, match=says):
        await telegram(provider.url, **settings).setup(replace(masked, hook_url=hook_url))
    assert methods(provider) == ["getWebhookInfo"]


async def test_a_hub_that_fetches_takes_the_hook_away(provider, masked):
    answer(provider, "getWebhookInfo", {"url": HOOK})
    answer(provider, "deleteWebhook", True)
    await telegram(provider.url, mode="polling").setup(masked)
    assert methods(provider) == ["getWebhookInfo", "deleteWebhook"]


@pytest.mark.parametrize(
    ("called", "asked"),
    [
        (HOOK, ["getWebhookInfo", "deleteWebhook"]),
        ("https://other.example/", ["getWebhookInfo"]),
        ("", ["getWebhookInfo"]),
    ],
)
async def test_only_our_own_hook_is_taken_away(provider, masked, called, asked):
    answer(provider, "getWebhookInfo", {"url": called})
    answer(provider, "deleteWebhook", True)
    await telegram(provider.url).teardown(masked)
    assert methods(provider) == asked


async def test_a_bot_that_works_is_called_by_its_name(provider, masked):
    answer(provider, "getMe", {**BOT, "can_read_all_group_messages": False})
    answer(
        provider,
        "getWebhookInfo",
        {
            "url": HOOK,
            "pending_update_count": 3,
            "last_error_date": DATE - 86_400,
            "last_error_message": "Connection timed out",
        },
    )
    found = await telegram(provider.url).check(masked)
    assert "@shop_bot" in found.detail
    assert found.facts == {
        "bot": "@shop_bot",
        "name": "Магазин",
        "id": "110201543",
        "reads all of a group": "no",
        "hook": HOOK,
        "updates waiting": "3",
        "last problem": "Connection timed out (2026-11-19 09:00 UTC)",
    }


@pytest.mark.parametrize(
    ("hook", "error", "says"),
    [
        ({"url": ""}, Misconfigured, "nobody"),
        ({"url": "https://other.example/"}, Misconfigured, "https://other.example/"),
        (
            {
                "url": HOOK,
                "pending_update_count": 3,
                "last_error_date": DATE - 60,
                "last_error_message": "Wrong response from the webhook: 401 Unauthorized",
            },
            Temporary,
            "401 Unauthorized. 3 updates wait",
        ),
    ],
)
async def test_a_hook_that_does_not_reach_us_is_a_failed_check(provider, masked, hook, error, says):
    answer(provider, "getMe", BOT)
    answer(provider, "getWebhookInfo", hook)
    with pytest.raises(error, match=says):
        await telegram(provider.url).check(masked)


async def test_a_revoked_token_is_a_failed_check(provider, masked):
    refuse(provider, "getMe", 401, "Unauthorized")
    with pytest.raises(Unauthorised, match="@BotFather"):
        await telegram(provider.url).check(masked)


async def test_a_hub_that_fetches_needs_no_hook(provider, masked):
    answer(provider, "getMe", BOT)
    answer(provider, "getWebhookInfo", {"url": "", "pending_update_count": 0})
    found = await telegram(provider.url, mode="polling").check(masked)
    assert "fetches" in found.detail


# --- polling ---


class Impatient(Telegram):
    pause = 0.01


@dataclass
class Ears:
    """What the hub hands a listener: keeps what is delivered, and the cursor as a database would."""

    tools: Tools
    cursor: Mapping[str, Any] = field(default_factory=dict)
    delivered: list[Item] = field(default_factory=list)
    ill: list[str] = field(default_factory=list)
    well: int = 0
    fails: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the database is away")
        self.delivered += items
        self.cursor = dict(cursor or self.cursor)
        self.changed.set()

    def is_well(self, detail: str = "") -> None:
        self.well += 1
        self.changed.set()

    def is_ill(self, detail: str) -> None:
        self.ill.append(detail)
        self.changed.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def texts(self) -> list[str]:
        return [json.loads(item.request.body)["message"]["text"] for item in self.delivered]


@dataclass
class Queue:
    """A Bot API with updates lying ready: it forgets what lies before the offset it is asked with."""

    waiting: list[dict[str, Any]]
    has_webhook: bool = True

    def play(self, provider: Provider) -> None:
        provider.does("POST", path("deleteWebhook"), self.delete)
        provider.does("POST", path("getUpdates"), self.give)
        answer(provider, "answerCallbackQuery", True)

    def delete(self, asked: Asked) -> web.Response:
        self.has_webhook = False
        assert asked.form == {"drop_pending_updates": "false"}, "what waits there is ours to read"
        return web.json_response({"ok": True, "result": True})

    def give(self, asked: Asked) -> web.Response:
        if self.has_webhook:
            words = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook first"
            return web.json_response({"ok": False, "error_code": 409, "description": words}, status=409)
        offset = int(asked.form.get("offset", "0"))
        self.waiting = [one for one in self.waiting if one["update_id"] >= offset]
        return web.json_response({"ok": True, "result": self.waiting[:100]})


def impatient(url: str) -> Impatient:
    return Impatient(Telegram.Settings(**{**SETTINGS, "base_url": url, "mode": "polling"}))


@contextlib.asynccontextmanager
async def running(channel: Telegram, ears: Ears) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(channel.run(ears))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ChannelError, ConnectionError):
            await task


def texts(*numbers: int) -> list[dict[str, Any]]:
    return [update(number, message=message(number, text=f"№ {number}")) for number in numbers]


async def test_fetched_updates_are_what_telegram_would_have_brought(provider, masked):
    queue = Queue(texts(500, 501))
    queue.play(provider)
    channel, ears = impatient(provider.url), Ears(masked)
    async with running(channel, ears):
        await ears.until(lambda: len(ears.delivered) == 2)
    assert methods(provider)[:2] == ["deleteWebhook", "getUpdates"]
    first = ears.delivered[0]
    assert json.loads(first.request.body) == texts(500)[0]
    assert first.routed == channel.route(request(texts(500)[0]))
    (event,) = channel.parse(first.request, CONTEXT)
    assert isinstance(event, Incoming)
    assert event.text == "№ 500"
    asked = provider.asked[1].form
    assert "offset" not in asked
    assert "my_chat_member" in json.loads(asked["allowed_updates"])
    assert int(asked["timeout"]) > 0
    assert ears.well > 0
    assert ears.cursor == {"bot": "110201543", "offset": 502}


async def test_after_a_restart_it_goes_on_where_it_was(provider, masked):
    queue = Queue(texts(*range(1, 251)))
    queue.play(provider)
    first = Ears(masked)
    async with running(impatient(provider.url), first):
        await first.until(lambda: len(first.delivered) >= 100)
    queue.waiting += texts(251)
    second = Ears(masked, first.cursor)
    async with running(impatient(provider.url), second):
        await second.until(lambda: len(first.delivered) + len(second.delivered) >= 251)
    assert first.texts + second.texts == [f"№ {number}" for number in range(1, 252)]


async def test_what_could_not_be_stored_is_brought_again(provider, masked):
    Queue(texts(1, 2)).play(provider)
    ears = Ears(masked, fails=1)
    async with running(impatient(provider.url), ears) as task:
        with pytest.raises(ConnectionError):
            await task
    assert ears.cursor == {}
    async with running(impatient(provider.url), ears):
        await ears.until(lambda: ears.texts == ["№ 1", "№ 2"])


async def test_the_cursor_of_another_bot_is_not_taken_over(provider, masked):
    Queue(texts(1)).play(provider)
    ears = Ears(masked, {"bot": "999", "offset": 5000})
    async with running(impatient(provider.url), ears):
        await ears.until(lambda: ears.texts == ["№ 1"])


async def test_a_press_is_confirmed_after_it_was_stored(provider, masked):
    Queue([update(9, callback_query=PRESS)]).play(provider)
    ears = Ears(masked)
    async with running(impatient(provider.url), ears):
        await ears.until(lambda: ears.well >= 2)
    (confirmed,) = [asked for asked in provider.asked if asked.path.endswith("answerCallbackQuery")]
    assert confirmed.form == {"callback_query_id": "4382bfdwdsb323b2d9"}


async def test_a_press_that_cannot_be_confirmed_stops_nothing(provider, masked):
    Queue([update(9, callback_query=PRESS)]).play(provider)
    refuse(provider, "answerCallbackQuery", 400, "Bad Request: query is too old and response timeout expired")
    ears = Ears(masked)
    async with running(impatient(provider.url), ears):
        await ears.until(lambda: ears.well >= 2)
    assert len(ears.delivered) == 1


async def test_two_that_fetch_get_in_each_other_s_way_and_it_says_so(provider, masked):
    Queue(texts(1)).play(provider)
    words = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
    refuse(provider, "getUpdates", 409, words, once=True)
    ears = Ears(masked)
    async with running(impatient(provider.url), ears):
        await ears.until(lambda: ears.texts == ["№ 1"])
    assert len(ears.ill) == 1
    assert "Only one can" in ears.ill[0]


async def test_a_hook_somebody_set_meanwhile_is_taken_away_again(provider, masked):
    queue = Queue([])
    queue.play(provider)
    ears = Ears(masked)
    async with running(impatient(provider.url), ears):
        await ears.until(lambda: ears.well > 0)
        queue.has_webhook = True
        queue.waiting = texts(1)
        await ears.until(lambda: ears.texts == ["№ 1"])
    assert "webhook is active" in ears.ill[0]


@pytest.mark.parametrize("trouble", ["502", "cut", "nonsense", "not json"])
async def test_brief_troubles_mend_themselves(provider, masked, trouble):
    Queue(texts(1)).play(provider)
    if trouble == "cut":
        provider.breaks("POST", path("getUpdates"), once=True)
    elif trouble == "502":
        provider.answers("POST", path("getUpdates"), status=502, body="<html>", once=True)
    elif trouble == "nonsense":
        answer(provider, "getUpdates", {}, once=True)
    else:
        provider.answers("POST", path("getUpdates"), body="hello", once=True)
    ears = Ears(masked)
    async with running(impatient(provider.url), ears):
        await ears.until(lambda: ears.texts == ["№ 1"])
    assert len(ears.ill) == 1
    assert TOKEN not in ears.ill[0]


async def test_a_hook_that_could_not_be_taken_away_is_tried_again(provider, masked):
    Queue(texts(1)).play(provider)
    refuse(provider, "deleteWebhook", 502, "Bad Gateway", once=True)
    ears = Ears(masked)
    async with running(impatient(provider.url), ears):
        await ears.until(lambda: ears.texts == ["№ 1"])
    assert methods(provider)[:3] == ["deleteWebhook", "deleteWebhook", "getUpdates"]
    assert "Bad Gateway" in ears.ill[0]


async def test_a_revoked_token_ends_the_listening(provider, masked):
    refuse(provider, "deleteWebhook", 401, "Unauthorized")
    with pytest.raises(Unauthorised):
        await impatient(provider.url).run(Ears(masked))


async def test_where_telegram_calls_us_the_listener_asks_nothing(provider, masked):
    ears = Ears(masked)
    async with running(telegram(provider.url), ears) as task:
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done
    assert provider.asked == []
    assert task.cancelled()
