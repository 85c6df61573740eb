"""Methods about the topics of forums: https://core.telegram.org/bots/api#createforumtopic and what follows."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.peers.botapi import topics
from tests.peers.botapi.calls import Call, Methods
from tests.peers.botapi.chats import GENERAL, Chat, Json, Topic
from tests.peers.botapi.errors import bad


def _forum(call: Call) -> Chat:
    chat = call.chat()
    if not chat.is_forum:
        raise bad("the chat is not a forum")
    return chat


def _topic(call: Call, what: str, right: str = "can_manage_topics") -> tuple[Chat, Topic]:
    """Return the topic that is meant. A bot may always change what it made itself, but not delete it."""
    chat, number = _forum(call), call.arguments.whole("message_thread_id")
    if number == GENERAL or number not in chat.topics:
        raise bad("TOPIC_ID_INVALID")
    topic = chat.topics[number]
    if right != "can_manage_topics" or topic.by != call.bot.id:
        call.needs(chat, right, f"not enough rights to {what} the topic")
    return chat, topic


def _general(call: Call) -> tuple[Chat, Topic]:
    chat = _forum(call)
    call.needs(chat, "can_manage_topics", "not enough rights to edit the topic")
    return chat, chat.topics[GENERAL]


async def create_forum_topic(call: Call) -> Json:
    """https://core.telegram.org/bots/api#createforumtopic."""
    chat = _forum(call)
    call.needs(chat, "can_manage_topics", "not enough rights to create a topic")
    color, emoji = call.arguments.whole("icon_color"), call.arguments.text("icon_custom_emoji_id")
    topic = topics.create(call.world, chat, call.bot.user, call.arguments.text("name"), color, emoji)
    found: Json = {"message_thread_id": topic.id, "name": topic.name, "icon_color": topic.icon_color}
    return {**found, "icon_custom_emoji_id": emoji} if emoji else found


async def edit_forum_topic(call: Call) -> bool:
    """https://core.telegram.org/bots/api#editforumtopic: an empty name stays as it is, an empty icon is taken away."""
    chat, topic = _topic(call, "edit")
    icon = call.arguments.values.get("icon_custom_emoji_id")
    name = call.arguments.text("name")
    topics.edit(call.world, chat, call.bot.user, topic, name or None, None if icon is None else str(icon))
    return True


async def _close(call: Call, is_closed: bool) -> bool:
    """https://core.telegram.org/bots/api#closeforumtopic, #reopenforumtopic."""
    chat, topic = _topic(call, "close" if is_closed else "reopen")
    topics.close(call.world, chat, call.bot.user, topic, is_closed)
    return True


async def delete_forum_topic(call: Call) -> bool:
    """https://core.telegram.org/bots/api#deleteforumtopic."""
    chat, topic = _topic(call, "delete", "can_delete_messages")
    topics.delete(chat, topic)
    return True


async def unpin_all_forum_topic_messages(call: Call) -> bool:
    """https://core.telegram.org/bots/api#unpinallforumtopicmessages."""
    chat, topic = _topic(call, "unpin messages in", "can_pin_messages")
    _unpin(chat, topic.id)
    return True


async def unpin_all_general_forum_topic_messages(call: Call) -> bool:
    """https://core.telegram.org/bots/api#unpinallgeneralforumtopicmessages."""
    chat = _forum(call)
    call.needs(chat, "can_pin_messages", "not enough rights to manage pinned messages in the chat")
    _unpin(chat, GENERAL)
    return True


def _unpin(chat: Chat, thread: int) -> None:
    for message in [one for one in chat.pinned.values() if one.thread == thread]:
        del chat.pinned[message.id]
    chat.changed.ring()


async def edit_general_forum_topic(call: Call) -> bool:
    """https://core.telegram.org/bots/api#editgeneralforumtopic."""
    chat, topic = _general(call)
    topics.edit(call.world, chat, call.bot.user, topic, topics.name_of(call.arguments.text("name")), None)
    return True


async def _close_general(call: Call, is_closed: bool) -> bool:
    """https://core.telegram.org/bots/api#closegeneralforumtopic, #reopengeneralforumtopic."""
    chat, topic = _general(call)
    topics.close(call.world, chat, call.bot.user, topic, is_closed)
    return True


async def _hide_general(call: Call, is_hidden: bool) -> bool:
    """https://core.telegram.org/bots/api#hidegeneralforumtopic, #unhidegeneralforumtopic."""
    chat, _ = _general(call)
    topics.hide(call.world, chat, call.bot.user, is_hidden)
    return True


async def get_forum_topic_icon_stickers(call: Call) -> list[Any]:
    """https://core.telegram.org/bots/api#getforumtopiciconstickers. There are none here."""
    return []


METHODS: Methods = {
    "createForumTopic": create_forum_topic,
    "editForumTopic": edit_forum_topic,
    "closeForumTopic": partial(_close, is_closed=True),
    "reopenForumTopic": partial(_close, is_closed=False),
    "deleteForumTopic": delete_forum_topic,
    "unpinAllForumTopicMessages": unpin_all_forum_topic_messages,
    "unpinAllGeneralForumTopicMessages": unpin_all_general_forum_topic_messages,
    "editGeneralForumTopic": edit_general_forum_topic,
    "closeGeneralForumTopic": partial(_close_general, is_closed=True),
    "reopenGeneralForumTopic": partial(_close_general, is_closed=False),
    "hideGeneralForumTopic": partial(_hide_general, is_hidden=True),
    "unhideGeneralForumTopic": partial(_hide_general, is_hidden=False),
    "getForumTopicIconStickers": get_forum_topic_icon_stickers,
}
