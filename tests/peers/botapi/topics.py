"""What becomes of topics, whoever does it: the rules and the service messages.

https://core.telegram.org/bots/api#createforumtopic and what follows; https://core.telegram.org/api/forum.
"""

from __future__ import annotations

from tests.peers.botapi.chats import GENERAL, Chat, Json, Topic, User
from tests.peers.botapi.errors import bad
from tests.peers.botapi.world import World

COLORS = (0x6FB9F0, 0xFFD67E, 0xCB86DB, 0x8EEE98, 0xFF93B2, 0xFB6F5F)
LONGEST_NAME = 128


def name_of(given: str) -> str:
    """Return a topic's name: 1-128 characters. Telegram's own server may cut a longer one; here it is refused.

    Raises:
        Refused: it is empty or too long.
    """
    name = given.strip()
    if not name:
        raise bad("TOPIC_TITLE_EMPTY")
    if len(name) > LONGEST_NAME:
        raise bad("TOPIC_TITLE_TOO_LONG")
    return name


def create(world: World, chat: Chat, by: User, name: str, color: int = 0, emoji: str = "") -> Topic:
    """Make a topic. Its number is that of the service message that says so.

    Raises:
        Refused: it is no forum, or the name or the colour is none.
    """
    if not chat.is_forum:
        raise bad("the chat is not a forum")
    if color and color not in COLORS:
        raise bad("invalid icon color specified")
    topic = Topic(chat.last_id + 1, name_of(name), color or COLORS[0], emoji, by.id)
    chat.topics[topic.id] = topic
    said: Json = {"name": topic.name, "icon_color": topic.icon_color}
    if emoji:
        said["icon_custom_emoji_id"] = emoji
    world.post(chat, by, {"forum_topic_created": said}, thread=topic.id, is_service=True)
    return topic


def edit(world: World, chat: Chat, by: User, topic: Topic, name: str | None, emoji: str | None) -> None:
    """Rename a topic or change its icon.

    Raises:
        Refused: nothing changes.
    """
    said: Json = {}
    if name and name_of(name) != topic.name:
        said["name"] = topic.name = name_of(name)
    if emoji is not None and emoji != topic.icon_custom_emoji_id:
        said["icon_custom_emoji_id"] = topic.icon_custom_emoji_id = emoji
    if not said:
        raise bad("TOPIC_NOT_MODIFIED")
    world.post(chat, by, {"forum_topic_edited": said}, thread=_place(topic), is_service=True)


def close(world: World, chat: Chat, by: User, topic: Topic, is_closed: bool) -> None:
    """Close a topic, or open it again.

    Raises:
        Refused: it is so already.
    """
    if topic.is_closed == is_closed:
        raise bad("TOPIC_NOT_MODIFIED")
    topic.is_closed = is_closed
    kind = "forum_topic_closed" if is_closed else "forum_topic_reopened"
    world.post(chat, by, {kind: {}}, thread=_place(topic), is_service=True)


def hide(world: World, chat: Chat, by: User, is_hidden: bool) -> None:
    """Hide General, which closes it, or show it again.

    Raises:
        Refused: it is so already.
    """
    topic = chat.topics[GENERAL]
    if topic.is_hidden == is_hidden:
        raise bad("TOPIC_NOT_MODIFIED")
    topic.is_hidden = is_hidden
    topic.is_closed = topic.is_closed or is_hidden
    kind = "general_forum_topic_hidden" if is_hidden else "general_forum_topic_unhidden"
    world.post(chat, by, {kind: {}}, is_service=True)


def delete(chat: Chat, topic: Topic) -> None:
    """Delete a topic and all its messages. Nobody is told: there is no update of it."""
    for message in list(chat.threads.get(topic.id, {}).values()):
        chat.remove(message)
    chat.threads.pop(topic.id, None)
    del chat.topics[topic.id]
    chat.changed.ring()


def _place(topic: Topic) -> int:
    return 0 if topic.id == GENERAL else topic.id
