"""Methods that change what was sent: edit, delete, pin, react, answer a press."""

from __future__ import annotations

from typing import Any

from tests.peers.botapi import media
from tests.peers.botapi.calls import Call, Methods
from tests.peers.botapi.chats import Chat, Json, Message
from tests.peers.botapi.errors import bad, unplayed

NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current content "
    "and reply markup of the message"
)
EXPIRED = "query is too old and response timeout expired or query ID is invalid"
ANSWERED_WITHIN = 15 * 60
"""Seconds within which a press can be answered. The documentation gives no number; this is generous."""

DELETABLE_FOR = 48 * 3600
_EMOJI_WORDS = """
❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡
🥱 🥴 😍 🐳 ❤‍🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈
😴 😭 🤓 👻 👨‍💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿
🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷‍♂ 🤷 🤷‍♀ 😡
"""
EMOJI = _EMOJI_WORDS.split()
"""https://core.telegram.org/bots/api#reactiontypeemoji."""

_MEDIA = ("photo", "document", "audio", "video", "animation")


def _editable(call: Call) -> tuple[Chat, Message]:
    if "inline_message_id" in call.arguments:
        raise unplayed("a message sent by inline mode")
    chat = call.chat()
    message = call.message(chat, "edit")
    if message.author.id != call.bot.id or message.is_service or "forward_origin" in message.data:
        raise bad("message can't be edited")
    return chat, message


def _change(call: Call, message: Message, content: Json, replaced: tuple[str, ...], *, marks: bool = True) -> Json:
    keyboard = call.markup(message.chat)
    if keyboard and "inline_keyboard" not in keyboard:
        raise bad("message can't be edited: only an inline keyboard is allowed")
    new = {name: value for name, value in message.data.items() if name not in (*replaced, "reply_markup")}
    new |= content
    if keyboard:
        new["reply_markup"] = keyboard
    if new == message.data:
        raise bad(NOT_MODIFIED)
    message.data.clear()
    message.data.update(new)
    if marks:
        message.data["edit_date"] = call.world.date()
    message.chat.changed.ring()
    return call.shown(message)


async def edit_message_text(call: Call) -> Json:
    """https://core.telegram.org/bots/api#editmessagetext."""
    _, message = _editable(call)
    words = call.words()
    if "text" not in message.data:
        raise bad("there is no text in the message to edit")
    return _change(call, message, words, ("text", "entities", "link_preview_options"))


async def edit_message_caption(call: Call) -> Json:
    """https://core.telegram.org/bots/api#editmessagecaption."""
    _, message = _editable(call)
    if not any(kind in message.data for kind in (*_MEDIA, "voice")):
        raise bad("there is no caption in the message to edit")
    return _change(call, message, call.caption(), ("caption", "caption_entities"))


async def edit_message_reply_markup(call: Call) -> Json:
    """https://core.telegram.org/bots/api#editmessagereplymarkup."""
    _, message = _editable(call)
    return _change(call, message, {}, (), marks=False)


async def edit_message_media(call: Call) -> Json:
    """https://core.telegram.org/bots/api#editmessagemedia."""
    _, message = _editable(call)
    given = call.arguments.object("media")
    if not isinstance(given, dict) or given.get("type") not in _MEDIA:
        raise bad("can't parse InputMedia: type is missing or not allowed")
    if not any(kind in message.data for kind in (*_MEDIA, "text")):
        raise bad("there is no media in the message to edit")
    album = message.data.get("media_group_id")
    if album and given["type"] not in (
        ("photo", "video") if {"photo", "video"} & message.data.keys() else message.data
    ):
        raise bad("can't use the media of the specified type in the album")
    file = await media.given(call, given["type"], given.get("media") or "")
    content = {**media.shown(file, given), **call.caption(given)}
    return _change(call, message, content, (*_MEDIA, "text", "entities", "caption", "caption_entities"))


# --- delete ---


def _check_deletable(call: Call, message: Message) -> None:
    """https://core.telegram.org/bots/api#deletemessage."""
    chat, rights = message.chat, call.me(message.chat)
    if not chat.is_private and rights.may("can_delete_messages"):
        return
    if call.world.now() - message.data["date"] > DELETABLE_FOR:
        raise bad("message can't be deleted for everyone")
    if message.author.id != call.bot.id and not chat.is_private:
        raise bad("message can't be deleted")


async def delete_message(call: Call) -> bool:
    """https://core.telegram.org/bots/api#deletemessage."""
    chat = call.chat()
    message = call.message(chat, "delete")
    _check_deletable(call, message)
    chat.remove(message)
    return True


async def delete_messages(call: Call) -> bool:
    """https://core.telegram.org/bots/api#deletemessages: 1-100, what is not found is skipped."""
    chat, numbers = call.chat(), call.arguments.wholes("message_ids")
    found = [message for number in numbers if (message := chat.messages.get(number))]
    for message in found:
        _check_deletable(call, message)
    for message in found:
        chat.remove(message)
    return True


# --- press, pin, react ---


async def answer_callback_query(call: Call) -> bool:
    """https://core.telegram.org/bots/api#answercallbackquery."""
    press = call.world.presses.get(call.arguments.text("callback_query_id"))
    if press is None or press.bot_id != call.bot.id or call.world.now() - press.at > ANSWERED_WITHIN:
        raise bad(EXPIRED)
    text = call.arguments.text("text")
    if len(text) > 200:
        raise bad("MESSAGE_TOO_LONG")
    answer: Json = {"show_alert": call.arguments.flag("show_alert")}
    answer |= {name: said for name in ("text", "url") if (said := call.arguments.text(name))}
    if press.answer is None:  # people see the first
        press.answer = answer
    press.answered.set()
    press.message.chat.changed.ring()
    return True


def _may_pin(call: Call, chat: Chat) -> None:
    if not chat.is_private:
        call.needs(chat, "can_pin_messages", "not enough rights to manage pinned messages in the chat")


async def pin_chat_message(call: Call) -> bool:
    """https://core.telegram.org/bots/api#pinchatmessage."""
    chat = call.chat()
    message = call.message(chat, "pin")
    _may_pin(call, chat)
    if message.is_service:
        raise bad("message can't be pinned")
    if message.id in chat.pinned:
        return True
    chat.pinned[message.id] = message
    shown = {name: value for name, value in message.data.items() if name != "reply_to_message"}
    thread = message.data.get("message_thread_id", 0)
    call.world.post(chat, call.bot.user, {"pinned_message": shown}, thread=thread, is_service=True)
    return True


async def unpin_chat_message(call: Call) -> bool:
    """https://core.telegram.org/bots/api#unpinchatmessage: without a number, the newest of those that are pinned."""
    chat = call.chat()
    _may_pin(call, chat)
    if "message_id" in call.arguments:
        chat.pinned.pop(call.message(chat, "unpin").id, None)
    elif chat.pinned:
        del chat.pinned[max(chat.pinned)]
    else:
        raise bad("message to unpin not found")
    chat.changed.ring()
    return True


async def unpin_all_chat_messages(call: Call) -> bool:
    """https://core.telegram.org/bots/api#unpinallchatmessages."""
    chat = call.chat()
    _may_pin(call, chat)
    chat.pinned.clear()
    chat.changed.ring()
    return True


async def set_message_reaction(call: Call) -> bool:
    """https://core.telegram.org/bots/api#setmessagereaction: bots set one, and get no update of what they set."""
    chat = call.chat()
    message = call.message(chat, "react")
    given: Any = call.arguments.object("reaction") or []
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise bad("can't parse reaction types JSON object")
    if len(given) > 1:
        raise bad("REACTIONS_TOO_MANY")
    for one in given:
        if one.get("type") == "paid":
            raise bad("REACTION_INVALID")
        if one.get("type") == "emoji" and one.get("emoji") not in EMOJI:
            raise bad("REACTION_INVALID")
        if one.get("type") not in ("emoji", "custom_emoji"):
            raise bad("invalid reaction type specified")
    message.reactions[call.bot.id] = given
    if not given:
        del message.reactions[call.bot.id]
    chat.changed.ring()
    return True


METHODS: Methods = {
    "editMessageText": edit_message_text,
    "editMessageCaption": edit_message_caption,
    "editMessageReplyMarkup": edit_message_reply_markup,
    "editMessageMedia": edit_message_media,
    "deleteMessage": delete_message,
    "deleteMessages": delete_messages,
    "answerCallbackQuery": answer_callback_query,
    "pinChatMessage": pin_chat_message,
    "unpinChatMessage": unpin_chat_message,
    "unpinAllChatMessages": unpin_all_chat_messages,
    "setMessageReaction": set_message_reaction,
}
