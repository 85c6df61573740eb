"""Who and what there is in the played Telegram: people, chats, topics, messages, files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
GENERAL = 1
"""The topic every forum has. Messages in it name no topic: https://core.telegram.org/api/forum#forum-topics."""

RIGHTS = (
    "is_anonymous",
    "can_manage_chat",
    "can_delete_messages",
    "can_manage_video_chats",
    "can_restrict_members",
    "can_promote_members",
    "can_change_info",
    "can_invite_users",
    "can_post_stories",
    "can_edit_stories",
    "can_delete_stories",
    "can_pin_messages",
    "can_manage_topics",
    "can_manage_tags",
    "can_send_welcome_messages",
)
"""https://core.telegram.org/bots/api#chatmemberadministrator, as far as groups have them."""


class Pulse:
    """Wakes whoever waits for something to have changed."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        self._rung.set()
        self._rung = asyncio.Event()

    def wait(self) -> Coroutine[Any, Any, bool]:
        """Wait for the next ring after this call, even if the waiting itself begins later."""
        return self._rung.wait()


@dataclass(eq=False)
class User:
    """A person, or what people see of a bot."""

    id: int
    first_name: str
    last_name: str = ""
    username: str = ""
    language_code: str = ""
    phone: str = ""
    is_bot: bool = False
    is_premium: bool = False
    is_deactivated: bool = False
    photos: list[list[Json]] = field(default_factory=list)

    def json(self) -> Json:
        """Return a `User`; what is absent is not in it."""
        found: Json = {"id": self.id, "is_bot": self.is_bot, "first_name": self.first_name}
        for name in ("last_name", "username", "language_code"):
            if value := getattr(self, name):
                found[name] = value
        return {**found, "is_premium": True} if self.is_premium else found


@dataclass(eq=False)
class Member:
    """Somebody's place in a group."""

    user: User
    status: str = "member"
    rights: frozenset[str] = frozenset()

    def may(self, right: str) -> bool:
        """Say whether they have a right of administrators."""
        return self.status == "creator" or (self.status == "administrator" and right in self.rights)

    def json(self, *, topics: bool = True) -> Json:
        """Return a `ChatMember`."""
        found: Json = {"user": self.user.json(), "status": self.status}
        if self.status == "creator":
            found["is_anonymous"] = False
        elif self.status == "administrator":
            found["can_be_edited"] = False
            found |= {right: right in self.rights for right in RIGHTS if topics or right != "can_manage_topics"}
        elif self.status == "kicked":
            found["until_date"] = 0
        return found


@dataclass(eq=False)
class Topic:
    """A topic of a forum."""

    id: int
    name: str
    icon_color: int
    icon_custom_emoji_id: str = ""
    by: int = 0
    is_closed: bool = False
    is_hidden: bool = False


@dataclass(eq=False)
class Message:
    """A message. `data` is the `Message` of the documentation, as everybody in the chat gets it.

    `keyboard` is what it put in place of people's own keyboard, or that it took one away.
    """

    id: int
    chat: Chat
    author: User
    data: Json
    thread: int
    is_service: bool = False
    keyboard: Json | None = None
    reactions: dict[int, list[Json]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What it says: its text or caption."""
        return str(self.data.get("text", self.data.get("caption", "")))


@dataclass(eq=False)
class Chat:
    """A chat: of a person and a bot, or a group. Messages are found by number and by topic, without any search."""

    id: int
    kind: str
    title: str = ""
    username: str = ""
    user: User | None = None
    is_forum: bool = False
    is_started: bool = False
    is_blocked: bool = False
    moved_to: int | None = None
    members: dict[int, Member] = field(default_factory=dict)
    topics: dict[int, Topic] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    threads: dict[int, dict[int, Message]] = field(default_factory=dict)
    pinned: dict[int, Message] = field(default_factory=dict)
    actions: list[tuple[int, str]] = field(default_factory=list)
    changed: Pulse = field(default_factory=Pulse)
    last_id: int = 0
    screen: Callable[[Chat, int | None], list[Any]] | None = None

    def seen(self, thread: int | None = None) -> list[Any]:
        """Return the messages as people see them (`Seen`), oldest first; of one topic if given, General being 1."""
        assert self.screen is not None
        return self.screen(self, thread)

    async def wait_for(
        self, predicate: Callable[[list[Any]], Any], *, thread: int | None = None, timeout: float = 10.0
    ) -> list[Any]:
        """Return the messages once `predicate` says yes to them.

        Raises:
            TimeoutError: it did not within `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while not predicate(found := self.seen(thread)):
                await self.changed.wait()
        return found

    @property
    def is_private(self) -> bool:
        """Whether it is a person's chat with a bot."""
        return self.kind == "private"

    def json(self) -> Json:
        """Return a `Chat`."""
        if self.user is not None:
            person = self.user.json()
            names: Json = {name: person[name] for name in ("first_name", "last_name", "username") if name in person}
            return {"id": self.id, **names, "type": "private"}
        found: Json = {"id": self.id, "title": self.title, "type": self.kind}
        if self.username:
            found["username"] = self.username
        return {**found, "is_forum": True} if self.is_forum else found

    def member(self, user_id: int) -> Member | None:
        """Return somebody's place, if they are in the group now."""
        found = self.members.get(user_id)
        return found if found and found.status not in ("left", "kicked") else None

    def add(self, message: Message) -> None:
        """Show a message."""
        self.messages[message.id] = message
        self.threads.setdefault(message.thread, {})[message.id] = message
        self.changed.ring()

    def remove(self, message: Message) -> None:
        """Take a message away."""
        self.messages.pop(message.id, None)
        self.threads.get(message.thread, {}).pop(message.id, None)
        self.pinned.pop(message.id, None)
        self.changed.ring()


@dataclass(eq=False)
class StoredFile:
    """A file's bytes, and what is known of them."""

    unique_id: str
    kind: str
    content: bytes
    name: str = ""
    mime_type: str = ""
    details: Json = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where it is to be fetched, below `/file/bot<token>/`."""
        suffix = "." + self.name.rpartition(".")[2] if "." in self.name else ""
        folder = {"photo": "photos", "document": "documents", "voice": "voice", "audio": "music"}.get(self.kind)
        return f"{folder or self.kind + 's'}/file_{self.unique_id}{suffix}"


@dataclass(eq=False)
class Press:
    """A press of a button, and what the bot answered to it."""

    id: str
    user: User
    message: Message
    data: str
    bot_id: int
    at: float
    answer: Json | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, timeout: float = 10.0) -> Json:
        """Return the bot's answer: `{"text": …, "show_alert": …, "url": …}`, what is absent not in it.

        Raises:
            TimeoutError: it did not answer.
        """
        async with asyncio.timeout(timeout):
            await self.answered.wait()
        assert self.answer is not None
        return self.answer
