"""The played Bot API keeps Telegram's rules: what it answers, what it remembers, whom it tells."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from channels import registry
from channels.errors import PeerMoved, RecipientGone, Throttled, Unauthorised, Uncertain
from tests.channels.provider import file, part, tools_for
from tests.peers.botapi.chats import Chat
from tests.peers.botapi.double import BotApi
from tests.peers.botapi.errors import Misused

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


def picture(width: int = 640, height: int = 480) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(made, "PNG")
    return made.getvalue()


@dataclass
class Clock:
    time: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


class Caller:
    """A bot that asks by hand and sees the bare answers."""

    def __init__(self, telegram: BotApi, session: aiohttp.ClientSession, token: str = TOKEN) -> None:
        self.telegram, self.session, self.token = telegram, session, token

    async def ask(self, method: str, **values: Any) -> Any:
        url = f"{self.telegram.url}/bot{self.token}/{method}"
        async with self.session.post(url, json=values) as answer:
            body = await answer.json()
            assert answer.status == (200 if body["ok"] else body["error_code"])
            return body

    async def do(self, method: str, **values: Any) -> Any:
        body = await self.ask(method, **values)
        assert body["ok"], body
        return body["result"]

    async def refusal(self, method: str, **values: Any) -> str:
        body = await self.ask(method, **values)
        assert not body["ok"], body
        return str(body["description"])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def telegram(clock: Clock) -> AsyncIterator[BotApi]:
    async with BotApi(now=clock, retry_pause=0.01).running() as double:
        double.add_bot(TOKEN, "desk_bot", "Desk")
        double.add_user("Vera", "Petrova", "vera", "ru", id=42, phone="+79990001122")
        double.add_user("Owner", id=7)
        yield double


@pytest.fixture
async def bot(telegram: BotApi) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(telegram, session)


@pytest.fixture
def private(telegram: BotApi) -> Chat:
    return telegram.start("vera", "desk_bot").chat


@pytest.fixture
def forum(telegram: BotApi) -> Chat:
    made = telegram.create_group("Desk", 7, is_forum=True)
    telegram.promotes(made, telegram.bot("desk_bot"))
    return made


KEYBOARD = {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}]]}


# --- who may call, and how ---


async def test_tokens_and_methods_are_checked(telegram, bot):
    assert await bot.ask("GETME") == await bot.ask("getMe")
    assert await bot.ask("nothing") == {"ok": False, "error_code": 404, "description": "Not Found: method not found"}
    assert (await bot.ask("sendDice", chat_id=42))["error_code"] == 501
    async with bot.session.get(f"{telegram.url}/bot{TOKEN}/test/getMe") as answer:
        assert (await answer.json())["result"]["username"] == "desk_bot"
    stranger = Caller(telegram, bot.session, "110201543:wrong")
    assert await stranger.ask("getMe") == {"ok": False, "error_code": 401, "description": "Unauthorized"}
    assert (await Caller(telegram, bot.session, "nonsense").ask("getMe"))["error_code"] == 404


async def test_arguments_come_by_query_form_json_and_multipart_alike(telegram, bot, private):
    url = f"{telegram.url}/bot{TOKEN}/sendMessage"
    values = {"chat_id": "42", "text": "hé", "reply_markup": json.dumps(KEYBOARD)}
    multipart = aiohttp.FormData(default_to_multipart=True)
    for name, value in values.items():
        multipart.add_field(name, value)
    for asked in ({"params": values}, {"data": values}, {"json": values}, {"data": multipart}):
        async with bot.session.post(url, **asked) as answer:
            assert (await answer.json())["result"]["text"] == "hé"
    async with bot.session.get(url, params=values) as answer:
        assert (await answer.json())["result"]["reply_markup"] == KEYBOARD
    async with bot.session.post(url, data=b"[1]", headers={"Content-Type": "application/json"}) as answer:
        assert (await answer.json())["error_code"] == 400


async def test_a_sent_message_has_telegrams_shape_and_nothing_that_is_absent(bot, private):
    assert await bot.do("sendMessage", chat_id=42, text=" hello /help ") == {
        "message_id": 2,
        "from": {"id": 110201543, "is_bot": True, "first_name": "Desk", "username": "desk_bot"},
        "chat": {"id": 42, "first_name": "Vera", "last_name": "Petrova", "username": "vera", "type": "private"},
        "date": 1_700_000_000,
        "text": "hello /help",
        "entities": [{"offset": 6, "length": 5, "type": "bot_command"}],
    }


BUTTON = {"text": "x"}


@pytest.mark.parametrize(
    ("method", "values", "said"),
    [
        ("sendMessage", {"text": "x"}, "chat_id is empty"),
        ("sendMessage", {"chat_id": 42}, "message text is empty"),
        ("sendMessage", {"chat_id": 42, "text": " \n"}, "message text is empty"),
        ("sendMessage", {"chat_id": 42, "text": "😀" * 2049}, "message is too long"),
        ("sendMessage", {"chat_id": 999, "text": "x"}, "chat not found"),
        ("sendMessage", {"chat_id": "@nobody", "text": "x"}, "chat not found"),
        ("sendMessage", {"chat_id": 42, "text": "x", "parse_mode": "BBCode"}, "unsupported parse_mode"),
        (
            "sendMessage",
            {"chat_id": 42, "text": "<b>x", "parse_mode": "HTML"},
            "can't parse entities: Can't find end tag corresponding to start tag \"b\"",
        ),
        (
            "sendMessage",
            {"chat_id": 42, "text": "é<q>x</q>", "parse_mode": "HTML"},
            'can\'t parse entities: Unsupported start tag "q" at byte offset 2',
        ),
        (
            "sendMessage",
            {"chat_id": 42, "text": "<b>x</i>", "parse_mode": "html"},
            'can\'t parse entities: Unmatched end tag at byte offset 4, expected "</b>", found "</i>"',
        ),
        (
            "sendMessage",
            {"chat_id": 42, "text": "a.b", "parse_mode": "MarkdownV2"},
            "can't parse entities: Character '.' is reserved and must be escaped with the preceding '\\'",
        ),
        (
            "sendMessage",
            {"chat_id": 42, "text": "*a", "parse_mode": "MarkdownV2"},
            "can't parse entities: Can't find end of Bold entity at byte offset 0",
        ),
        (
            "sendMessage",
            {"chat_id": 42, "text": "x", "reply_parameters": {"message_id": 77}},
            "message to be replied not found",
        ),
        ("sendMessage", {"chat_id": 42, "text": "x", "message_thread_id": 5}, "message thread not found"),
        ("sendMessage", {"chat_id": 42, "text": "x", "reply_markup": []}, "object expected as reply markup"),
        (
            "sendMessage",
            {
                "chat_id": 42,
                "text": "x",
                "reply_markup": {"inline_keyboard": [[{**BUTTON, "callback_data": "é" * 33}]]},
            },
            "BUTTON_DATA_INVALID",
        ),
        (
            "sendMessage",
            {"chat_id": 42, "text": "x", "reply_markup": {"inline_keyboard": [[BUTTON]]}},
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
        (
            "sendMessage",
            {"chat_id": 42, "text": "x", "reply_markup": {"inline_keyboard": [[{**BUTTON, "url": "http://x"}]]}},
            "inline keyboard button URL 'http://x' is invalid: Wrong HTTP URL",
        ),
        ("sendPhoto", {"chat_id": 42}, "there is no photo in the request"),
        ("sendPhoto", {"chat_id": 42, "photo": "AgACwrong"}, "wrong file identifier/HTTP URL specified"),
        ("sendPhoto", {"chat_id": 42, "photo": "https://example.com/a.png"}, "failed to get HTTP URL content"),
        ("sendPhoto", {"chat_id": 42, "photo": "x", "caption": "é" * 1025}, "message caption is too long"),
        ("sendContact", {"chat_id": 42, "first_name": "V"}, "phone number is empty"),
        ("sendLocation", {"chat_id": 42, "latitude": 91, "longitude": 0}, "wrong location specified"),
        ("sendChatAction", {"chat_id": 42, "action": "dancing"}, "wrong parameter action in request"),
        ("editMessageText", {"chat_id": 42, "text": "x"}, "message identifier is not specified"),
        ("editMessageText", {"chat_id": 42, "text": "x", "message_id": 99}, "message to edit not found"),
        ("editMessageText", {"chat_id": 42, "text": "x", "message_id": 1}, "message can't be edited"),
        ("deleteMessage", {"chat_id": 42, "message_id": 99}, "message to delete not found"),
        ("copyMessage", {"chat_id": 42, "from_chat_id": 42, "message_id": 99}, "message to copy not found"),
        ("forwardMessage", {"chat_id": 42, "from_chat_id": 42, "message_id": 99}, "message to forward not found"),
        (
            "answerCallbackQuery",
            {"callback_query_id": "1"},
            "query is too old and response timeout expired or query ID is invalid",
        ),
        ("getFile", {"file_id": "x"}, "wrong file_id or the file is temporarily unavailable"),
        ("createForumTopic", {"chat_id": 42, "name": "x"}, "the chat is not a forum"),
        ("setMyCommands", {"commands": [{"command": "Up", "description": "x"}]}, "BOT_COMMAND_INVALID"),
        (
            "setMessageReaction",
            {"chat_id": 42, "message_id": 1, "reaction": [{"type": "emoji", "emoji": "x"}]},
            "REACTION_INVALID",
        ),
        ("setWebhook", {"url": "ftp://x.example"}, "bad webhook: invalid URL specified"),
        (
            "setWebhook",
            {"url": "https://x.example", "secret_token": "a b"},
            "secret token contains unallowed characters",
        ),
        (
            "sendMediaGroup",
            {"chat_id": 42, "media": [{"type": "photo", "media": "x"}]},
            "wrong number of media in the album: 2-10 are expected",
        ),
        (
            "sendMediaGroup",
            {"chat_id": 42, "media": [{"type": "photo", "media": "x"}, {"type": "document", "media": "x"}]},
            "can't use the media of the specified type in the album",
        ),
    ],
)
async def test_what_is_wrong_is_refused_in_telegrams_words(bot, private, method, values, said):
    assert await bot.ask(method, **values) == {
        "ok": False, "error_code": 400, "description": f"Bad Request: {said}"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("sendMessage", {"entities": [{"type": "text_link", "offset": 0, "length": 1}]}),
        ("sendMessage", {"entities": [{"type": "bold", "offset": "0", "length": 1}]}),
        ("sendMessage", {"reply_parameters": "7"}),
        ("sendMessage", {"link_preview_options": "no"}),
        ("sendMessage", {"reply_markup": {"inline_keyboard": "no"}}),
        ("sendMessage", {"reply_markup": {"inline_keyboard": [[{"text": "x", "web_app": "no"}]]}}),
        ("sendMessage", {"reply_markup": {"inline_keyboard": [[{"text": "x", "url": "http://[x"}]]}}),
        ("sendMessage", {"chat_id": True}),
        ("sendMessage", {"text": "\ud800"}),
        ("sendMediaGroup", {"media": [{"type": []}, {"type": "photo"}]}),
        ("editMessageMedia", {"message_id": 1, "media": []}),
        ("deleteMessages", {"message_ids": [[1]]}),
        ("copyMessages", {"from_chat_id": 42, "message_ids": ["a", 1]}),
        ("setMyCommands", {"commands": [5]}),
        ("setMyCommands", {"commands": [], "scope": {"type": []}}),
        ("getUpdates", {"offset": "x"}),
        ("setWebhook", {"url": "http://[x"}),
        ("setWebhook", {"url": "http://a:99999999"}),
        ("getFile", {"file_id": "BQACé"}),
        ("sendLocation", {"latitude": "nan", "longitude": 1}),
        ("sendPhoto", {"photo": "http://[x"}),
        ("setMessageReaction", {"message_id": 1, "reaction": [{"type": "emoji", "emoji": []}]}),
        ("answerCallbackQuery", {"callback_query_id": [1]}),
    ],
)
async def test_nonsense_is_refused_and_breaks_nothing(bot, private, method, values):
    refused = await bot.ask(method, **{"chat_id": 42, "text": "x", **values})
    assert refused["error_code"] == 400


# --- words ---


@pytest.mark.parametrize(
    ("mode", "given", "text", "entities", "html"),
    [
        ("HTML", "<b>a <i>😀</i></b>&lt;", "a 😀<", [(0, 4, "bold"), (2, 2, "italic")], "<b>a <i>😀</i></b>&lt;"),
        ("HTML", '<a href="https://a.example/?x=1&amp;y">l</a>', "l", [(0, 1, "text_link")], None),
        ("HTML", '<pre><code class="language-py">a</code></pre>', "a", [(0, 1, "pre")], None),
        ("HTML", "<blockquote expandable>q</blockquote>", "q", [(0, 1, "expandable_blockquote")], None),
        ("HTML", "<code>/no</code> /yes", "/no /yes", [(0, 3, "code"), (4, 4, "bot_command")], "<code>/no</code> /yes"),
        ("MarkdownV2", r"*b _i_* __u__ ~s~ \.", "b i u s .",
         [(0, 3, "bold"), (2, 1, "italic"), (4, 1, "underline"), (6, 1, "strikethrough")],
         "<b>b <i>i</i></b> <u>u</u> <s>s</s> ."),
        ("MarkdownV2", "||x|| [l](https://a.example/\\))", "x l", [(0, 1, "spoiler"), (2, 1, "text_link")],
         '<tg-spoiler>x</tg-spoiler> <a href="https://a.example/)">l</a>'),
        ("MarkdownV2", "```py\na=1```", "a=1", [(0, 3, "pre")], '<pre><code class="language-py">a=1</code></pre>'),
        ("MarkdownV2", ">a\n>b\nc", "a\nb\nc", [(0, 3, "blockquote")], "<blockquote>a\nb</blockquote>\nc"),
    ],
)  # fmt: skip
async def test_markup_becomes_text_and_entities(telegram, bot, private, mode, given, text, entities, html):
    sent = await bot.do("sendMessage", chat_id=42, text=given, parse_mode=mode)
    assert sent["text"] == text
    assert [(one["offset"], one["length"], one["type"]) for one in sent["entities"]] == entities
    assert telegram.messages(private)[-1].html == (html or given)


async def test_entities_may_be_given_and_must_lie_within_the_text(telegram, bot, private):
    await bot.do("sendMessage", chat_id=42, text="ab", entities=[{"type": "bold", "offset": 1, "length": 1}])
    assert telegram.messages(private)[-1].html == "a<b>b</b>"
    outside = [{"type": "bold", "offset": 1, "length": 9}]
    assert "outside of the text" in await bot.refusal("sendMessage", chat_id=42, text="ab", entities=outside)


# --- people in private ---


async def test_a_start_with_a_payload_is_a_message_with_a_command(telegram, bot):
    telegram.start("vera", "desk_bot", "spring-1")
    (update,) = await bot.do("getUpdates")
    assert update["message"] == {
        "message_id": 1,
        "from": {
            "id": 42,
            "is_bot": False,
            "first_name": "Vera",
            "last_name": "Petrova",
            "username": "vera",
            "language_code": "ru",
        },
        "chat": {"id": 42, "first_name": "Vera", "last_name": "Petrova", "username": "vera", "type": "private"},
        "date": 1_700_000_000,
        "text": "/start spring-1",
        "entities": [{"offset": 0, "length": 6, "type": "bot_command"}],
    }


async def test_who_did_not_start_or_blocked_or_is_gone_is_not_written_to(telegram, bot, forum):
    telegram.add_member(forum, "vera")
    assert await bot.refusal("sendMessage", chat_id=42, text="x") == (
        "Forbidden: bot can't initiate conversation with a user"
    )
    telegram.start(42, "desk_bot")
    await bot.do("sendMessage", chat_id=42, text="x")
    telegram.blocks(42, "desk_bot")
    assert await bot.ask("sendMessage", chat_id=42, text="x") == {
        "ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"
    }  # fmt: skip
    with pytest.raises(Misused):
        telegram.says(42, "desk_bot", "x")
    telegram.start(42, "desk_bot")
    await bot.do("sendMessage", chat_id=42, text="x")
    telegram.deactivates(42)
    assert await bot.refusal("sendMessage", chat_id=42, text="x") == "Forbidden: user is deactivated"
    changes = [
        (update["my_chat_member"]["old_chat_member"]["status"], update["my_chat_member"]["new_chat_member"]["status"])
        for update in await bot.do("getUpdates", offset=1)
        if "my_chat_member" in update and update["my_chat_member"]["chat"]["type"] == "private"
    ]
    assert changes == [("member", "kicked"), ("kicked", "member")]


async def test_replies_edits_and_deletions_are_seen_by_both_sides(telegram, bot, private):
    asked = telegram.says(42, private, "price?")
    sent = await bot.do("sendMessage", chat_id=42, text="5", reply_parameters={"message_id": asked.id})
    assert sent["reply_to_message"]["text"] == "price?"
    assert telegram.messages(private)[-1].reply_to == asked.id
    telegram.edits(42, private, asked, "the price? #now")
    update = (await bot.do("getUpdates"))[-1]["edited_message"]
    assert update["edit_date"] == 1_700_000_000 and update["entities"][0]["type"] == "hashtag"
    telegram.deletes(42, private, asked)
    assert "message to be replied not found" in await bot.refusal(
        "sendMessage", chat_id=42, text="6", reply_to_message_id=asked.id
    )
    sent = await bot.do(
        "sendMessage", chat_id=42, text="6", reply_to_message_id=asked.id, allow_sending_without_reply=True
    )
    assert "reply_to_message" not in sent
    await bot.do("deleteMessage", chat_id=42, message_id=sent["message_id"])
    assert [one.text for one in telegram.messages(private)] == ["/start", "5"]


async def test_an_edit_that_changes_nothing_is_refused(telegram, bot, private):
    sent = await bot.do("sendMessage", chat_id=42, text="<b>a</b>", parse_mode="HTML", reply_markup=KEYBOARD)
    place = {"chat_id": 42, "message_id": sent["message_id"]}
    same = {**place, "text": "*a*", "parse_mode": "MarkdownV2", "reply_markup": KEYBOARD}
    assert await bot.refusal("editMessageText", **same) == (
        "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as "
        "a current content and reply markup of the message"
    )
    assert "no caption in the message" in await bot.refusal("editMessageCaption", **place, caption="x")
    await bot.do("editMessageText", **place, text="b")
    shown = telegram.messages(private)[-1]
    assert (shown.text, shown.buttons, shown.is_edited) == ("b", [], True)
    assert "message is not modified" in await bot.refusal("editMessageReplyMarkup", **place)
    await bot.do("editMessageReplyMarkup", **place, reply_markup=KEYBOARD)
    assert telegram.messages(private)[-1].buttons == [["Yes"]]


async def test_a_press_waits_for_its_answer_and_is_too_old_later(telegram, bot, private, clock):
    sent = await bot.do("sendMessage", chat_id=42, text="sure?", reply_markup=KEYBOARD)
    press = telegram.presses(42, private, sent["message_id"], label="Yes")
    update = (await bot.do("getUpdates"))[-1]["callback_query"]
    assert (update["data"], update["message"]["text"], update["from"]["id"]) == ("yes", "sure?", 42)
    await bot.do("answerCallbackQuery", callback_query_id=update["id"], text="Done", show_alert=True)
    assert await press.wait() == {"show_alert": True, "text": "Done"}
    with pytest.raises(Misused, match="no such button"):
        telegram.presses(42, private, sent["message_id"], data="no")
    clock.time += 3600
    assert "query is too old" in await bot.refusal("answerCallbackQuery", callback_query_id=update["id"])


async def test_keyboards_of_people_are_shown_and_taken_away(telegram, bot, private):
    asks = {"keyboard": [[{"text": "My phone", "request_contact": True}]], "resize_keyboard": True}
    sent = await bot.do("sendMessage", chat_id=42, text="phone?", reply_markup=asks)
    assert "reply_markup" not in sent and telegram.messages(private)[-1].keyboard == asks
    card = telegram.sends_contact(42, private)
    assert card.data["contact"] == {
        "phone_number": "+79990001122", "first_name": "Vera", "last_name": "Petrova", "user_id": 42
    }  # fmt: skip
    assert "user_id" not in telegram.sends_contact(42, private, phone_number="+1", first_name="Al").data["contact"]
    await bot.do("sendMessage", chat_id=42, text="thanks", reply_markup={"remove_keyboard": True})
    assert telegram.messages(private)[-1].keyboard == {"remove_keyboard": True}


async def test_reactions_go_both_ways(telegram, bot, private):
    await bot.do("getUpdates", allowed_updates=["message_reaction"])
    sent = await bot.do("sendMessage", chat_id=42, text="ok")
    telegram.reacts(42, private, sent["message_id"], "👍")
    telegram.reacts(42, private, sent["message_id"])
    first, second = [u["message_reaction"] for u in (await bot.do("getUpdates")) if "message_reaction" in u]
    assert first["new_reaction"] == second["old_reaction"] == [{"type": "emoji", "emoji": "👍"}]
    assert first["old_reaction"] == second["new_reaction"] == []
    await bot.do("setMessageReaction", chat_id=42, message_id=1, reaction=[{"type": "emoji", "emoji": "👀"}])
    assert list(telegram.messages(private)[0].reactions.values()) == [[{"type": "emoji", "emoji": "👀"}]]


# --- files ---


async def test_files_go_up_and_down_and_again_by_their_id(telegram, bot, private):
    form = aiohttp.FormData()
    form.add_field("chat_id", "42")
    form.add_field("caption", "<i>look</i>")
    form.add_field("parse_mode", "HTML")
    form.add_field("photo", picture(), filename="p.png")
    async with bot.session.post(f"{telegram.url}/bot{TOKEN}/sendPhoto", data=form) as answer:
        sent = (await answer.json())["result"]
    assert [(size["width"], size["height"]) for size in sent["photo"]] == [(320, 240), (640, 480)]
    seen = telegram.messages(private)[-1]
    assert (seen.kind, seen.content, seen.html) == ("photo", picture(), "<i>look</i>")
    kept = sent["photo"][-1]["file_id"]
    again = await bot.do("sendPhoto", chat_id=42, photo=kept)
    assert again["photo"][-1]["file_unique_id"] == sent["photo"][-1]["file_unique_id"]
    assert "can't use file of type Photo as Document" in await bot.refusal("sendDocument", chat_id=42, document=kept)
    found = await bot.do("getFile", file_id=kept)
    async with bot.session.get(f"{telegram.url}/file/bot{TOKEN}/{found['file_path']}") as answer:
        assert await answer.read() == picture()
    async with bot.session.get(f"{telegram.url}/file/bot1:x/{found['file_path']}") as answer:
        assert answer.status == 404
    telegram.add_bot("555:other", "other_bot")
    other = Caller(telegram, bot.session, "555:other")
    assert "wrong file_id" in await other.refusal("getFile", file_id=kept)


@pytest.mark.parametrize(("content", "said"), [
    (b"no picture", "IMAGE_PROCESS_FAILED"),
    (picture(2100, 100), "PHOTO_INVALID_DIMENSIONS"),
    (b"", "file must be non-empty"),
    (bytes(10 * 1024 * 1024 + 1), "is too big for a photo; the maximum size is 10485760 bytes"),
])  # fmt: skip
async def test_what_is_no_photo_is_not_taken_for_one(telegram, bot, private, content, said):
    form = aiohttp.FormData({"chat_id": "42"})
    form.add_field("photo", io.BytesIO(content), filename="p.png")
    async with bot.session.post(f"{telegram.url}/bot{TOKEN}/sendPhoto", data=form) as answer:
        assert said in (await answer.json())["description"]


async def test_large_files_are_kept_from_bots_and_too_large_ones_refused(telegram, bot, private):
    message = await telegram.sends(42, private, "document", bytes(20 * 1024 * 1024 + 1), name="large.bin")
    shown = (await bot.do("getUpdates"))[-1]["message"]["document"]
    assert shown["file_size"] == 20 * 1024 * 1024 + 1 == len(telegram.messages(private)[-1].content)
    assert await bot.refusal("getFile", file_id=shown["file_id"]) == "Bad Request: file is too big"
    assert message.id == 2
    form = aiohttp.FormData({"chat_id": "42"})
    form.add_field("document", io.BytesIO(bytes(52 * 1024 * 1024)), filename="huge.bin")
    async with bot.session.post(f"{telegram.url}/bot{TOKEN}/sendDocument", data=form) as answer:
        assert await answer.json() == {"ok": False, "error_code": 413, "description": "Request Entity Too Large"}


async def test_every_kind_of_file_is_sent_from_an_address_and_seen(telegram, bot, private):
    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=picture(100, 100), content_type="image/png")

    app = web.Application()
    app.router.add_get("/{name}", serve)
    async with TestServer(app) as server:
        url = str(server.make_url("/a.png")).replace("localhost", "127.0.0.1")
        for kind in ("photo", "document", "voice", "audio", "video", "video_note", "sticker", "animation"):
            sent = await bot.do("send" + kind.title().replace("_", ""), chat_id=42, **{kind: url})
            assert kind in sent and telegram.messages(private)[-1].kind == kind
        place = {"chat_id": 42, "message_id": sent["message_id"]}
        swapped = await bot.do("editMessageMedia", **place, media={"type": "photo", "media": url, "caption": "new"})
        assert "animation" not in swapped and swapped["caption"] == "new"
    await bot.do("sendVenue", chat_id=42, latitude=40.18, longitude=44.51, title="Office", address="Abovyan 1")
    await bot.do("sendLocation", chat_id=42, latitude=40.18, longitude=44.51)
    assert [one.kind for one in telegram.messages(private)][-2:] == ["venue", "location"]


async def test_albums_bear_one_group_id_both_ways(telegram, bot, private):
    form = aiohttp.FormData({"chat_id": "42"})
    media = [{"type": "photo", "media": "attach://a", "caption": "c"}, {"type": "photo", "media": "attach://b"}]
    form.add_field("media", json.dumps(media))
    for name in "ab":
        form.add_field(name, picture(), filename=f"{name}.png")
    async with bot.session.post(f"{telegram.url}/bot{TOKEN}/sendMediaGroup", data=form) as answer:
        sent = (await answer.json())["result"]
    assert len(sent) == 2 and len({one["media_group_id"] for one in sent}) == 1
    await telegram.sends_album(42, private, [{"kind": "photo", "content": picture()}] * 3)
    came = [u["message"]["media_group_id"] for u in await bot.do("getUpdates") if "photo" in u["message"]]
    assert len(came) == 3 and len(set(came)) == 1 and came[0] != sent[0]["media_group_id"]


async def test_copies_hide_where_they_come_from_and_forwards_say_it(telegram, bot, private):
    said = telegram.says(42, private, "word")
    where = {"chat_id": 42, "from_chat_id": 42, "message_id": said.id}
    copied = await bot.do("copyMessage", **where)
    assert copied == {"message_id": said.id + 1}
    forwarded = await bot.do("forwardMessage", **where)
    assert forwarded["forward_origin"]["sender_user"]["id"] == 42 and forwarded["text"] == "word"
    assert "forward_origin" not in telegram.messages(private)[-2].data


# --- groups and topics ---


async def test_topics_live_and_die_with_their_service_messages(telegram, bot, forum):
    made = await bot.do("createForumTopic", chat_id=forum.id, name="Vera", icon_color=0xFFD67E)
    topic = {"chat_id": forum.id, "message_thread_id": made["message_thread_id"]}
    assert made == {"message_thread_id": topic["message_thread_id"], "name": "Vera", "icon_color": 0xFFD67E}
    sent = await bot.do("sendMessage", **topic, text="hello")
    assert sent["is_topic_message"] and sent["message_thread_id"] == topic["message_thread_id"]
    assert "forum_topic_created" in sent["reply_to_message"]
    await bot.do("editForumTopic", **topic, name="Vera P.")
    assert await bot.refusal("editForumTopic", **topic, name="Vera P.") == "Bad Request: TOPIC_NOT_MODIFIED"
    await bot.do("closeForumTopic", **topic)
    assert await bot.refusal("closeForumTopic", **topic) == "Bad Request: TOPIC_NOT_MODIFIED"
    await bot.do("reopenForumTopic", **topic)
    kinds = [one.kind for one in telegram.messages(forum, topic["message_thread_id"])]
    assert kinds == ["forum_topic_created", "text", "forum_topic_edited", "forum_topic_closed", "forum_topic_reopened"]
    told = [next(n for n in u["message"] if n.startswith("forum_topic")) for u in await bot.do("getUpdates")
            if "message" in u and any(name.startswith("forum_topic") for name in u["message"])]  # fmt: skip
    assert told == [kind for kind in kinds if kind != "text"]
    await bot.do("deleteForumTopic", **topic)
    assert telegram.messages(forum, topic["message_thread_id"]) == []
    assert await bot.refusal("sendMessage", **topic, text="x") == "Bad Request: message thread not found"
    assert await bot.refusal("closeForumTopic", **topic) == "Bad Request: TOPIC_ID_INVALID"


@pytest.mark.parametrize(("values", "said"), [
    ({"name": ""}, "TOPIC_TITLE_EMPTY"),
    ({"name": "x" * 129}, "TOPIC_TITLE_TOO_LONG"),
    ({"name": "x", "icon_color": 1}, "invalid icon color specified"),
])  # fmt: skip
async def test_topics_need_a_name_and_one_of_six_colours(bot, forum, values, said):
    assert await bot.refusal("createForumTopic", chat_id=forum.id, **values) == f"Bad Request: {said}"


async def test_rights_are_needed_for_topics(telegram, bot):
    group = telegram.create_group("Desk", 7, is_forum=True)
    topic = telegram.create_topic(7, group, "By hand")
    assert await bot.refusal("createForumTopic", chat_id=group.id, name="x") == "Bad Request: chat not found"
    telegram.add_member(group, telegram.bot("desk_bot"))
    assert "not enough rights to create a topic" in await bot.refusal("createForumTopic", chat_id=group.id, name="x")
    telegram.promotes(group, telegram.bot("desk_bot"), can_manage_topics=False)
    assert "not enough rights to create a topic" in await bot.refusal("createForumTopic", chat_id=group.id, name="x")
    telegram.closes_topic(7, group, topic)
    where = {"chat_id": group.id, "message_thread_id": topic.id}
    assert await bot.refusal("sendMessage", **where, text="x") == "Bad Request: TOPIC_CLOSED"
    telegram.promotes(group, telegram.bot("desk_bot"))
    await bot.do("sendMessage", **where, text="x")
    assert "TOPIC_NOT_MODIFIED" in await bot.refusal("closeForumTopic", **where)
    telegram.reopens_topic(7, group, topic)
    telegram.renames_topic(7, group, topic, "Other")
    telegram.deletes_topic(7, group, topic)
    assert await bot.refusal("sendMessage", **where, text="x") == "Bad Request: message thread not found"


async def test_general_has_methods_of_its_own_and_no_number(telegram, bot, forum):
    await bot.do("sendMessage", chat_id=forum.id, text="to all")
    assert [one.text for one in telegram.messages(forum, 1) if one.kind == "text"] == ["to all"]
    assert "message thread not found" in await bot.refusal(
        "sendMessage", chat_id=forum.id, message_thread_id=1, text="x"
    )
    await bot.do("editGeneralForumTopic", chat_id=forum.id, name="All")
    await bot.do("hideGeneralForumTopic", chat_id=forum.id)
    assert "TOPIC_NOT_MODIFIED" in await bot.refusal("hideGeneralForumTopic", chat_id=forum.id)
    await bot.do("unhideGeneralForumTopic", chat_id=forum.id)
    await bot.do("reopenGeneralForumTopic", chat_id=forum.id)
    await bot.do("closeGeneralForumTopic", chat_id=forum.id)
    assert await bot.do("getForumTopicIconStickers") == []
    kinds = [one.kind for one in telegram.messages(forum, 1)]
    assert kinds[-5:] == [
        "forum_topic_edited", "general_forum_topic_hidden", "general_forum_topic_unhidden",
        "forum_topic_reopened", "forum_topic_closed",
    ]  # fmt: skip


async def test_people_write_in_topics_and_the_bot_sees_where(telegram, bot, forum):
    telegram.add_member(forum, "vera")
    topic = telegram.create_topic(7, forum, "T")
    said = telegram.says("vera", forum, "hi", thread=topic.id)
    telegram.says(7, forum, "answer", reply_to=said)
    first, second = [u["message"] for u in (await bot.do("getUpdates"))[-2:]]
    assert first["message_thread_id"] == second["message_thread_id"] == topic.id
    assert second["reply_to_message"]["message_id"] == said.id
    telegram.closes_topic(7, forum, topic)
    with pytest.raises(Misused, match="closed"):
        telegram.says("vera", forum, "hi", thread=topic.id)


async def test_a_group_that_gets_topics_keeps_its_messages_in_general(telegram, bot):
    group = telegram.create_group("Desk", 7)
    telegram.promotes(group, telegram.bot("desk_bot"))
    await bot.do("sendMessage", chat_id=group.id, text="before")
    assert "the chat is not a forum" in await bot.refusal("createForumTopic", chat_id=group.id, name="x")
    telegram.sets_forum(group, True)
    await bot.do("createForumTopic", chat_id=group.id, name="x")
    await bot.do("sendMessage", chat_id=group.id, text="after")
    assert [one.text for one in telegram.messages(group, 1) if one.kind == "text"] == ["before", "after"]


async def test_privacy_mode_hides_what_is_not_meant_for_the_bot(telegram, bot):
    group = telegram.create_group("Talk", 7)
    telegram.add_member(group, telegram.bot("desk_bot"))
    telegram.says(7, group, "among us")
    telegram.says(7, group, "/help")
    telegram.says(7, group, "/help@other_bot")
    telegram.says(7, group, "/help@Desk_Bot")
    sent = await bot.do("sendMessage", chat_id=group.id, text="?")
    telegram.says(7, group, "yes", reply_to=sent["message_id"])
    texts = [u["message"]["text"] for u in await bot.do("getUpdates") if "text" in u.get("message", {})]
    assert texts == ["/help", "/help@Desk_Bot", "yes"]


async def test_a_bot_learns_what_becomes_of_it_in_a_group(telegram, bot, forum):
    assert (await bot.do("getChatMember", chat_id=forum.id, user_id=110201543))["can_manage_topics"] is True
    assert {one["status"] for one in await bot.do("getChatAdministrators", chat_id=forum.id)} == {
        "creator", "administrator"
    }  # fmt: skip
    assert await bot.do("getChatMemberCount", chat_id=forum.id) == 2
    assert (await bot.do("getChat", chat_id=forum.id))["is_forum"] is True
    telegram.removes(forum, telegram.bot("desk_bot"))
    assert await bot.refusal("sendMessage", chat_id=forum.id, text="x") == (
        "Forbidden: bot was kicked from the supergroup chat"
    )
    telegram.add_member(forum, telegram.bot("desk_bot"))
    await bot.do("leaveChat", chat_id=forum.id)
    assert await bot.refusal("sendMessage", chat_id=forum.id, text="x") == (
        "Forbidden: bot is not a member of the supergroup chat"
    )
    statuses = [u["my_chat_member"]["new_chat_member"]["status"] for u in await bot.do("getUpdates")
                if "my_chat_member" in u]  # fmt: skip
    assert statuses == ["member", "administrator", "kicked", "member", "left"]


async def test_a_group_that_moved_says_where_to(telegram, bot):
    group = telegram.create_group("Small", 7, kind="group")
    telegram.add_member(group, telegram.bot("desk_bot"))
    moved = telegram.migrates(group)
    assert await bot.ask("sendMessage", chat_id=group.id, text="x") == {
        "ok": False,
        "error_code": 400,
        "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "parameters": {"migrate_to_chat_id": moved.id},
    }
    await bot.do("sendMessage", chat_id=moved.id, text="x")
    messages = [u["message"] for u in await bot.do("getUpdates") if "message" in u]
    assert [(m["chat"]["id"], m.get("migrate_to_chat_id"), m.get("migrate_from_chat_id")) for m in messages[-2:]] == [
        (group.id, moved.id, None),
        (moved.id, None, group.id),
    ]


async def test_pins_are_shown_and_need_a_right(telegram, bot, forum):
    sent = await bot.do("sendMessage", chat_id=forum.id, text="rules")
    await bot.do("pinChatMessage", chat_id=forum.id, message_id=sent["message_id"])
    assert (await bot.do("getChat", chat_id=forum.id))["pinned_message"]["text"] == "rules"
    assert telegram.messages(forum)[-1].kind == "pinned_message"
    await bot.do("unpinChatMessage", chat_id=forum.id)
    assert "message to unpin not found" in await bot.refusal("unpinChatMessage", chat_id=forum.id)
    telegram.demotes(forum, telegram.bot("desk_bot"))
    assert "not enough rights to manage pinned messages" in await bot.refusal(
        "pinChatMessage", chat_id=forum.id, message_id=sent["message_id"]
    )


async def test_bots_delete_what_is_theirs_within_two_days_and_administrators_anything(telegram, bot, forum, clock):
    telegram.add_member(forum, "vera")
    theirs = telegram.says("vera", forum, "spam")
    sent = await bot.do("sendMessage", chat_id=forum.id, text="mine")
    telegram.demotes(forum, telegram.bot("desk_bot"))
    where = {"chat_id": forum.id}
    assert "message can't be deleted" in await bot.refusal("deleteMessage", **where, message_id=theirs.id)
    clock.time += 49 * 3600
    assert "can't be deleted for everyone" in await bot.refusal("deleteMessage", **where, message_id=sent["message_id"])
    telegram.promotes(forum, telegram.bot("desk_bot"))
    await bot.do("deleteMessages", **where, message_ids=[theirs.id, sent["message_id"], 9999])
    assert not [one for one in telegram.messages(forum) if one.kind == "text"]


async def test_commands_are_kept_by_scope_and_language(telegram, bot):
    up = [{"command": "up", "description": "Go up"}]
    await bot.do("setMyCommands", commands=up)
    await bot.do("setMyCommands", commands=[], scope={"type": "chat", "chat_id": 42}, language_code="ru")
    assert telegram.commands("desk_bot") == {"default": up, "chat:42/ru": []}
    assert await bot.do("getMyCommands") == up and await bot.do("getMyCommands", language_code="ru") == []
    await bot.do("deleteMyCommands")
    assert await bot.do("getMyCommands") == []
    assert "Can't find field" in await bot.refusal("getMyCommands", scope={"type": "chat"})


# --- updates ---


async def test_updates_vanish_once_confirmed_and_a_negative_offset_skips(telegram, bot, private):
    for number in range(4):
        telegram.says(42, private, str(number))
    first = await bot.do("getUpdates", limit=2)
    assert [u["update_id"] for u in first] == [100000001, 100000002]
    assert (await bot.do("getUpdates", limit=2)) == first
    assert [u["message"]["text"] for u in await bot.do("getUpdates", offset=100000004)] == ["2", "3"]
    assert [u["message"]["text"] for u in await bot.do("getUpdates", offset=-1)] == ["3"]
    assert [u["message"]["text"] for u in await bot.do("getUpdates")] == ["3"]
    assert await bot.do("getUpdates", offset=100000006) == []


async def test_updates_are_forgotten_after_a_day(telegram, bot, private, clock):
    clock.time += 24 * 3600 + 1
    telegram.says(42, private, "new")
    assert [u["message"]["text"] for u in await bot.do("getUpdates")] == ["new"]


async def test_a_poll_waits_for_something_and_another_ends_it(telegram, bot, private):
    await bot.do("getUpdates", offset=-1)
    await bot.do("getUpdates", offset=100000002)
    queue = telegram.bot("desk_bot").queue
    polls = queue.polls
    waiting = asyncio.create_task(bot.ask("getUpdates", timeout=30))
    async with asyncio.timeout(5):
        while queue.polls == polls:
            await queue.changed.wait()
    telegram.says(42, private, "now")
    assert (await waiting)["result"][0]["message"]["text"] == "now"
    polls = queue.polls
    waiting = asyncio.create_task(bot.ask("getUpdates", offset=100000003, timeout=30))
    async with asyncio.timeout(5):
        while queue.polls == polls:
            await queue.changed.wait()
    assert await bot.do("getUpdates") == []
    assert await waiting == {
        "ok": False,
        "error_code": 409,
        "description": "Conflict: terminated by other getUpdates request; "
        "make sure that only one bot instance is running",
    }


async def test_only_the_kinds_that_are_wanted_come(telegram, bot, private):
    await bot.do("getUpdates", offset=100000002, allowed_updates=["edited_message"])
    said = telegram.says(42, private, "a")
    telegram.edits(42, private, said, "b")
    (update,) = await bot.do("getUpdates")
    assert "edited_message" in update
    assert (await bot.do("getWebhookInfo"))["allowed_updates"] == ["edited_message"]


@dataclass
class Receiver:
    """A webhook: answers with the next of `answers`, else 200."""

    url: str
    came: list[tuple[str, dict[str, Any]]]
    answers: list[web.Response]


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    receiver = Receiver("", [], [])

    async def take(request: web.Request) -> web.Response:
        receiver.came.append((request.headers.get("X-Telegram-Bot-Api-Secret-Token", ""), await request.json()))
        return receiver.answers.pop(0) if receiver.answers else web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver


async def test_a_webhook_is_called_with_its_secret_until_it_takes_the_update(telegram, bot, private, hook):
    hook.answers = [web.Response(status=500), web.Response(status=302, headers={"Location": "/"})]
    await bot.do("setWebhook", url=hook.url, secret_token="s-1_A", max_connections=3)
    await telegram.settled("desk_bot")
    assert [(secret, update["message"]["text"]) for secret, update in hook.came] == [("s-1_A", "/start")] * 3
    info = await bot.do("getWebhookInfo")
    assert info["url"] == hook.url and info["pending_update_count"] == 0 and info["max_connections"] == 3
    assert info["last_error_message"] == "Wrong response from the webhook: 302 Found"
    assert info["last_error_date"] == 1_700_000_000
    assert await bot.ask("getUpdates") == {
        "ok": False,
        "error_code": 409,
        "description": "Conflict: can't use getUpdates method while webhook is active; "
        "use deleteWebhook to delete the webhook first",
    }
    for number in range(20):
        telegram.says(42, private, str(number))
    await telegram.settled("desk_bot")
    assert [update["message"]["text"] for _, update in hook.came[3:]] == [str(number) for number in range(20)]
    await bot.do("deleteWebhook")
    telegram.says(42, private, "after")
    assert (await bot.do("getUpdates"))[0]["message"]["text"] == "after"


async def test_the_answer_to_a_webhook_may_hold_a_call(telegram, bot, private, hook):
    hook.answers = [web.json_response({"method": "sendMessage", "chat_id": 42, "text": "from the answer"})]
    await bot.do("setWebhook", url=hook.url)
    shown = await telegram.wait_for_messages("desk_bot", user=42)
    assert shown[0].text == "from the answer"


async def test_a_webhook_can_drop_what_waits_and_is_refused_by_the_book_where_told(telegram, bot, private, hook):
    await bot.do("setWebhook", url=hook.url, drop_pending_updates=True)
    assert (await bot.do("getWebhookInfo"))["pending_update_count"] == 0
    async with BotApi(allow_http=False).running() as strict:
        strict.add_bot(TOKEN, "desk_bot")
        caller = Caller(strict, bot.session)
        assert "An HTTPS URL must be provided" in await caller.refusal("setWebhook", url=hook.url)
        assert "only on ports 80, 88, 443 or 8443" in await caller.refusal("setWebhook", url="https://a.example:99/")
        assert await caller.do("setWebhook", url="") is True


# --- breaking ---


async def test_limits_answer_429_with_the_seconds_to_wait(telegram, bot, private, clock):
    telegram.rate_limit(2, 10, chat="desk_bot", user=42)
    for _ in range(2):
        await bot.do("sendMessage", chat_id=42, text="x")
    clock.time += 3.5
    assert await bot.ask("sendMessage", chat_id=42, text="x") == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 7",
        "parameters": {"retry_after": 7},
    }
    clock.time += 7
    await bot.do("sendMessage", chat_id=42, text="x")


async def test_the_documented_flood_limits_hold_when_switched_on(bot, clock):
    async with BotApi(now=clock, has_flood_limits=True).running() as double:
        double.add_bot(TOKEN, "desk_bot")
        double.add_user("Vera", id=42)
        double.start(42, "desk_bot")
        group = double.create_group("G", 42)
        double.add_member(group, double.bot("desk_bot"))
        caller = Caller(double, bot.session)
        await caller.do("sendMessage", chat_id=42, text="x")
        assert (await caller.ask("sendMessage", chat_id=42, text="x"))["parameters"] == {"retry_after": 1}
        for _ in range(20):
            await caller.do("sendMessage", chat_id=group.id, text="x")
        assert (await caller.ask("sendMessage", chat_id=group.id, text="x"))["parameters"] == {"retry_after": 60}


async def test_calls_fail_and_connections_are_cut_as_told(telegram, bot, private):
    telegram.fail_next("sendMessage", 502, "Bad Gateway")
    assert (await bot.ask("sendMessage", chat_id=42, text="x"))["error_code"] == 502
    for after in (False, True):
        telegram.drop_next("sendMessage", after_processing=after)
        with pytest.raises(aiohttp.ClientError):
            await bot.ask("sendMessage", chat_id=42, text=str(after))
    assert [one.text for one in telegram.messages(private)] == ["/start", "True"]
    assert [call.error for call in telegram.calls("sendMessage")] == [502, 0]


# --- driven from elsewhere, and in numbers ---


async def test_another_program_drives_it_over_http(telegram, bot):
    async def drive(what: str, **given: Any) -> Any:
        async with bot.session.post(f"{telegram.url}/double/{what}", json=given) as answer:
            return answer.status, await answer.json()

    assert (await drive("add_user", first_name="Ann", id=50))[1]["first_name"] == "Ann"
    assert (await drive("start", user=50, bot=TOKEN, payload="p"))[1]["message_id"] == 1
    await bot.do("sendMessage", chat_id=50, text="hello", reply_markup=KEYBOARD)
    _, (shown,) = await drive("wait_for_messages", chat=110201543, user=50, text="hell")
    assert shown["html"] == "hello" and shown["buttons"] == [["Yes"]]
    _, press = await drive("presses", user=50, chat=110201543, message=shown["id"], data="yes")
    await bot.do("answerCallbackQuery", callback_query_id=press["id"], text="k")
    assert (await drive("answer", press=press["id"]))[1] == {"show_alert": False, "text": "k"}
    await drive("reacts", user=50, chat=110201543, message=shown["id"], emoji=["👍"])
    _, photo = await drive("sends", user=50, chat=110201543, kind="document", content="aGV5", name="a.txt")
    _, messages = await drive("messages", chat=110201543, user=50)
    unique = messages[-1]["files"][0]["unique_id"]
    async with bot.session.get(f"{telegram.url}/double/file/{unique}") as answer:
        assert await answer.read() == b"hey"
    await drive("deletes", user=50, chat=110201543, messages=[photo["message_id"]])
    assert (await drive("calls", method="answerCallbackQuery"))[1][0]["arguments"]["text"] == "k"
    assert (await drive("says", user=50, chat=404, text="x"))[0] == 422
    assert (await drive("wait_for_messages", chat=110201543, user=50, text="no", timeout=0.01))[0] == 408
    assert (await drive("running"))[0] == 404


async def test_a_thousand_topics_and_a_hundred_thousand_messages_are_no_burden(telegram, bot, forum):
    """What a message costs does not grow with how many there are; the time is this process's own."""
    topics = [telegram.create_topic(7, forum, f"T{number}") for number in range(1000)]
    taken = []
    for _ in range(10):
        started = time.process_time()
        for number in range(10_000):
            telegram.says(7, forum, "text", thread=topics[number % 1000].id)
        taken.append(time.process_time() - started)
    assert taken[-1] < 10 * taken[0]
    assert len(telegram.messages(forum, topics[500].id)) == 101
    started = time.process_time()
    for topic in topics[:100]:
        await bot.do("sendMessage", chat_id=forum.id, message_thread_id=topic.id, text="quick")
    assert (await bot.do("getWebhookInfo"))["pending_update_count"] > 100_000
    assert time.process_time() - started < 30


# --- our own channel ---


async def test_the_projects_own_telegram_channel_works_against_it(telegram, hook):
    telegram.world.now = lambda: datetime.now(UTC).timestamp()
    settings = {"token": TOKEN, "secret_token": "s3cret", "base_url": telegram.url}
    channel = registry.build("telegram", settings)
    async with tools_for(telegram.url, secrets=(TOKEN,), hook_url=hook.url) as (tools, _):
        assert hook.url in await channel.setup(tools)
        checked = await channel.check(tools)
        assert checked.facts["bot"] == "@desk_bot" and checked.facts["hook"] == hook.url
        chat = telegram.start(42, "desk_bot").chat
        await telegram.settled("desk_bot")
        assert hook.came[0][0] == "s3cret"
        receipt = await channel.send(part("a < b", peer="42"), tools)
        assert receipt.external_ids == ("42:2",)
        image = file(picture(), name="p.png", content_type="image/png", kind="image")
        await channel.send(part("look", peer="42", files=(image,)), tools)
        text, photo = telegram.messages(chat)[-2:]
        assert (text.text, photo.kind, photo.text, photo.content) == ("a < b", "photo", "look", picture())
        message = await telegram.sends(42, chat, "document", b"content", name="offer.pdf", mime_type="application/pdf")
        await telegram.settled("desk_bot")
        fetched = await channel.fetch_media(hook.came[-1][1]["message"]["document"]["file_id"], tools)
        assert b"".join([chunk async for chunk in fetched.chunks]) == b"content" and message.id
        group = telegram.create_group("Small", 7, kind="group")
        telegram.add_member(group, telegram.bot("desk_bot"))
        moved = telegram.migrates(group)
        with pytest.raises(PeerMoved) as caught:
            await channel.send(part("x", peer=str(group.id)), tools)
        assert caught.value.new_peer == str(moved.id)
        telegram.fail_next("sendMessage", 429, "Too Many Requests: retry after 3", {"retry_after": 3})
        with pytest.raises(Throttled):
            await channel.send(part("x", peer="42"), tools)
        telegram.drop_next("sendMessage", after_processing=True)
        with pytest.raises(Uncertain):
            await channel.send(part("x", peer="42"), tools)
        telegram.blocks(42, "desk_bot")
        with pytest.raises(RecipientGone):
            await channel.send(part("x", peer="42"), tools)
        stranger = registry.build("telegram", {**settings, "token": "110201543:other"})
        with pytest.raises(Unauthorised):
            await stranger.check(tools)
