"""Messages as the people in a chat see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.peers.botapi.chats import Chat, Json, Message, StoredFile
from tests.peers.botapi.entities import to_html
from tests.peers.botapi.world import World

_SERVICE = (
    "forum_topic_created",
    "forum_topic_edited",
    "forum_topic_closed",
    "forum_topic_reopened",
    "general_forum_topic_hidden",
    "general_forum_topic_unhidden",
    "new_chat_members",
    "left_chat_member",
    "group_chat_created",
    "supergroup_chat_created",
    "migrate_to_chat_id",
    "migrate_from_chat_id",
    "pinned_message",
)
_FILES = ("animation", "document", "audio", "video", "video_note", "voice", "sticker")


@dataclass(frozen=True)
class Seen:
    """One message on a person's screen.

    html      the text or caption with its entities, as `parse_mode` HTML would have it
    buttons   the labels of the inline keyboard, row by row
    keyboard  what takes the place of the person's own keyboard: a ReplyKeyboardMarkup, or that it is removed
    kind      "text", "photo", "document", …; for service messages their field: "forum_topic_created"
    thread    the topic, 1 for General, 0 where there are none
    data      the whole `Message`; file ids in it are no bot's
    """

    id: int
    author: str
    author_id: int
    is_bot: bool
    text: str
    html: str
    entities: list[Json]
    kind: str
    files: list[StoredFile]
    buttons: list[list[str]]
    keyboard: Json | None
    reply_to: int | None
    is_edited: bool
    is_service: bool
    is_pinned: bool
    reactions: dict[int, list[Json]]
    thread: int
    data: Json

    @property
    def content(self) -> bytes:
        """The bytes of its file."""
        (file,) = self.files
        return file.content

    def json(self) -> Json:
        """Return it for a program in another process; a file's bytes are at `/double/file/<unique_id>`."""
        files = [
            {"unique_id": f.unique_id, "kind": f.kind, "name": f.name, "mime_type": f.mime_type, "size": len(f.content)}
            for f in self.files
        ]
        return {**vars(self), "files": files, "reactions": {str(who): given for who, given in self.reactions.items()}}


def seen(world: World, message: Message) -> Seen:
    """Return a message as people see it."""
    data = message.data
    entities: list[Json] = data.get("entities") or data.get("caption_entities") or []
    kind = next((name for name in _SERVICE if name in data), "")
    files = _files(world, data)
    plain = ("venue", "location", "contact", "text")
    kind = kind or (files[0].kind if files else next((name for name in plain if name in data), ""))
    reply = data.get("reply_to_message")
    rows = data.get("reply_markup", {}).get("inline_keyboard", [])
    return Seen(
        id=message.id,
        author=message.author.first_name,
        author_id=message.author.id,
        is_bot=message.author.is_bot,
        text=message.text,
        html=to_html(message.text, entities),
        entities=entities,
        kind=kind,
        files=files,
        buttons=[[button["text"] for button in row] for row in rows],
        keyboard=message.keyboard,
        reply_to=reply["message_id"] if reply and "forum_topic_created" not in reply else None,
        is_edited="edit_date" in data,
        is_service=message.is_service,
        is_pinned=message.id in message.chat.pinned,
        reactions=dict(message.reactions),
        thread=message.thread,
        data=dict(data),
    )


def _files(world: World, data: Json) -> list[StoredFile]:
    if "photo" in data:
        return [world.files[data["photo"][-1]["file_unique_id"]]]
    found: Any = next((data[name] for name in _FILES if name in data), None)
    return [world.files[found["file_unique_id"]]] if found else []


def all_seen(world: World, chat: Chat, thread: int | None) -> list[Seen]:
    """Return a chat's messages, oldest first; of one topic if `thread` is given (1: General)."""
    messages = chat.messages if thread is None else chat.threads.get(thread, {})
    return [seen(world, message) for message in messages.values()]
