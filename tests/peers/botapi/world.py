"""The state of the played Telegram: who is there, who sees what, and which updates that makes."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.peers.botapi.chats import GENERAL, Chat, Json, Member, Message, Press, StoredFile, Topic, User
from tests.peers.botapi.errors import Misused, bad
from tests.peers.botapi.updates import Courier, Queue

_FILE_ID = '"file_id": "'


@dataclass(eq=False)
class Bot:
    """A bot: who it is, what it was told, what waits for it."""

    token: str
    user: User
    queue: Queue
    reads_all: bool = False
    can_join_groups: bool = True
    met: set[int] = field(default_factory=set)
    commands: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    courier: Courier | None = None
    last_private_id: int = 0

    @property
    def id(self) -> int:
        """The number before the colon of its token."""
        return self.user.id


class World:
    """All there is. `now` is the time in unix seconds, which a test may move."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.users: dict[int, User] = {}
        self.bots: dict[str, Bot] = {}
        self.bots_by_id: dict[int, Bot] = {}
        self.groups: dict[int, Chat] = {}
        self.private: dict[tuple[int, int], Chat] = {}
        self.names: dict[str, User | Chat] = {}
        self.files: dict[str, StoredFile] = {}
        self.paths: dict[str, StoredFile] = {}
        self.presses: dict[str, Press] = {}
        self.screen: Callable[[Chat, int | None], list[Any]] | None = None
        self.numbers = itertools.count(1)

    def date(self) -> int:
        """Return the time as Telegram writes it."""
        return int(self.now())

    # --- who is there ---

    def add_bot(
        self, token: str, username: str, first_name: str, *, reads_all: bool = False, can_join_groups: bool = True
    ) -> Bot:
        """Make a bot."""
        number, colon, secret = token.partition(":")
        if not number.isdecimal() or not colon or not secret:
            raise Misused("a token is a number, a colon and a secret: 110201543:AAH…")
        user = User(int(number), first_name or username, username=username, is_bot=True)
        self._enter(user)
        bot = Bot(token, user, Queue(self.now), reads_all, can_join_groups)
        self.bots[token] = self.bots_by_id[bot.id] = bot
        return bot

    def _enter(self, user: User) -> None:
        name = user.username.lower()
        if user.id in self.users or (name and name in self.names):
            raise Misused(f"{user.username or user.id} is there already")
        self.users[user.id] = user
        if name:
            self.names[name] = user

    def add_user(self, user: User) -> User:
        """Let a person join Telegram."""
        self._enter(user)
        return user

    def add_group(self, chat: Chat) -> Chat:
        """Let there be a group."""
        self.groups[chat.id] = chat
        chat.screen = self.screen
        if chat.username:
            self.names[chat.username.lower()] = chat
        if chat.is_forum:
            chat.topics[GENERAL] = Topic(GENERAL, "General", 0x6FB9F0)
        return chat

    def new_id(self, kind: str) -> int:
        """Return a number for a new user, group or supergroup."""
        number = next(self.numbers)
        return {"user": 5_000_000_000 + number, "group": -4_000_000_000 - number}.get(kind, -1_002_000_000_000 - number)

    def private_chat(self, bot: Bot, user: User) -> Chat:
        """Return the chat of a person and a bot; one that nobody has started is made."""
        key = (bot.id, user.id)
        if key not in self.private:
            self.private[key] = Chat(user.id, "private", user=user, screen=self.screen)
            self.private[key].members = {user.id: Member(user), bot.id: Member(bot.user)}
        return self.private[key]

    # --- files ---

    def keep(self, kind: str, content: bytes, name: str, mime_type: str, **details: Any) -> StoredFile:
        """Keep a file."""
        made = StoredFile(secrets.token_urlsafe(11), kind, content, name, mime_type, details)
        self.files[made.unique_id] = made
        self.paths[made.path] = made
        return made

    def file_by(self, bot: Bot, file_id: str) -> StoredFile | None:
        """Return a file by the id it has for this bot; None if no such is."""
        try:
            owner, _, unique = (
                base64.urlsafe_b64decode(file_id[4:] + "=" * (-len(file_id[4:]) % 4)).decode().partition("|")
            )
        except ValueError:
            return None
        return self.files.get(unique) if owner == str(bot.id) and file_id.startswith("BQAC") else None

    def seen_by(self, bot: Bot, value: Any) -> Any:
        """Return a copy as a bot gets it: file ids are each bot's own (https://core.telegram.org/bots/api#file)."""
        written = json.dumps(value)  # by far the quickest copy; a quotation mark within a text is written as \\"
        if _FILE_ID in written:
            head, *rest = written.split(_FILE_ID)
            for part in rest:
                unique_id, mark, tail = part.partition('"')
                head += _FILE_ID + file_id(bot, unique_id) + mark + tail
            written = head
        return json.loads(written)

    # --- what happens ---

    def bots_in(self, chat: Chat) -> list[Bot]:
        """Return the bots that are in a chat."""
        return [
            bot for number in chat.members if (bot := self.bots_by_id.get(number)) and chat.member(number) is not None
        ]

    def tell(self, bot: Bot, kind: str, content: Json, chat: Chat) -> None:
        """Give a bot an update."""
        bot.queue.add(kind, self.seen_by(bot, content), chat.id)

    def post(
        self,
        chat: Chat,
        author: User,
        content: Json,
        *,
        thread: int = 0,
        reply_to: Message | None = None,
        is_service: bool = False,
    ) -> Message:
        """Put a message into a chat and tell the bots that may read it. `thread` 0 is no topic, or General."""
        number = self._next_id(chat)
        data: Json = {"message_id": number, "from": author.json(), "chat": chat.json(), "date": self.date()}
        if thread > GENERAL:
            data |= {"message_thread_id": thread, "is_topic_message": True}
        shown = reply_to or (chat.messages.get(thread) if thread > GENERAL else None)
        if shown is not None:
            data["reply_to_message"] = {name: value for name, value in shown.data.items() if name != "reply_to_message"}
        message = Message(number, chat, author, {**data, **content}, self.thread_of(chat, thread), is_service)
        chat.add(message)
        for bot in self.bots_in(chat):
            if self.reads(bot, message, reply_to):
                bot.met.add(author.id)
                self.tell(bot, "message", message.data, chat)
        return message

    def thread_of(self, chat: Chat, thread: int) -> int:
        """Return under which number a topic's messages are kept."""
        return (thread or GENERAL) if chat.is_forum else 0

    def _next_id(self, chat: Chat) -> int:
        """Number a message: in private chats each bot counts through all of them, groups count by themselves."""
        if chat.is_private:
            (bot,) = self.bots_in(chat)
            bot.last_private_id += 1
            return bot.last_private_id
        chat.last_id += 1
        return chat.last_id

    def reads(self, bot: Bot, message: Message, reply_to: Message | None = None) -> bool:
        """Say whether a bot gets a message: https://core.telegram.org/bots/features#privacy-mode.

        Its own words do not come back to it, what it did to the chat does; bots do not read bots.
        """
        chat = message.chat
        if message.is_service:
            return True
        if message.author.is_bot:
            return False
        member = chat.members[bot.id]
        if chat.is_private or bot.reads_all or member.status == "administrator":
            return True
        if reply_to is not None and reply_to.author.id == bot.id:
            return True
        for one in message.data.get("entities", []):
            if one["type"] == "bot_command" and one["offset"] == 0:
                addressed = message.text[: one["length"]].partition("@")[2].lower()
                return addressed in ("", bot.user.username.lower())
        return False

    def edited(self, message: Message, *, shows_date: bool = True) -> None:
        """Tell the bots that a person changed a message."""
        if shows_date:
            message.data["edit_date"] = self.date()
        for bot in self.bots_in(message.chat):
            if not message.author.is_bot and self.reads(bot, message):
                self.tell(bot, "edited_message", message.data, message.chat)
        message.chat.changed.ring()

    def change_member(
        self, chat: Chat, user: User, by: User, status: str, rights: frozenset[str] = frozenset()
    ) -> None:
        """Change somebody's place in a chat and tell the bots (`my_chat_member`, `chat_member`)."""
        old = chat.members.get(user.id) or Member(user, "left")
        new = Member(user, status, rights)
        content: Json = {
            "chat": chat.json(),
            "from": by.json(),
            "date": self.date(),
            "old_chat_member": old.json(topics=chat.kind == "supergroup"),
            "new_chat_member": new.json(topics=chat.kind == "supergroup"),
        }
        chat.members[user.id] = new
        for bot in {*self.bots_in(chat), *([self.bots_by_id[user.id]] if user.id in self.bots_by_id else [])}:
            bot.met |= {by.id, user.id}
            if bot.id == user.id:
                self.tell(bot, "my_chat_member", content, chat)
            elif chat.members[bot.id].status == "administrator":
                self.tell(bot, "chat_member", content, chat)
        chat.changed.ring()

    def topic_of(self, chat: Chat, thread: int) -> Topic:
        """Return a topic that is there.

        Raises:
            Refused: "message thread not found".
        """
        found = chat.topics.get(thread)
        if found is None:
            raise bad("message thread not found")
        return found

    def migrate(self, chat: Chat, by: User) -> Chat:
        """Make a supergroup of a group; the group is left behind with the number of the new one."""
        made = self.add_group(Chat(self.new_id("supergroup"), "supergroup", chat.title))
        made.members = {number: Member(one.user, one.status, one.rights) for number, one in chat.members.items()}
        self.post(chat, by, {"migrate_to_chat_id": made.id}, is_service=True)
        chat.moved_to = made.id
        self.post(made, by, {"migrate_from_chat_id": chat.id}, is_service=True)
        return made


def file_id(bot: Bot, unique_id: str) -> str:
    """Return what a bot knows a file by."""
    return "BQAC" + base64.urlsafe_b64encode(f"{bot.id}|{unique_id}".encode()).decode().rstrip("=")
