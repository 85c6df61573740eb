"""The other side: what people do in their app, for tests to make them do it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

from tests.peers.botapi import media
from tests.peers.botapi.arguments import Upload
from tests.peers.botapi.chats import GENERAL, Chat, Json, Message, Press, User
from tests.peers.botapi.entities import Entity, with_found
from tests.peers.botapi.errors import Misused, Refused
from tests.peers.botapi.world import Bot, World

Who = User | int | str
Whom = Bot | int | str
Where = Chat | Bot | int | str
Which = Message | int

_NAMES = {
    "photo": "photo.png",
    "voice": "voice.ogg",
    "audio": "song.mp3",
    "video": "film.mp4",
    "animation": "dance.mp4",
}


class People:
    """What people do. Somebody is meant by the object, the number or the username; a chat also by its bot."""

    def __init__(self, world: World) -> None:
        self.world = world

    # --- who and where is meant ---

    def user(self, who: Who) -> User:
        """Return a person."""
        if isinstance(who, User):
            return who
        found = self.world.names.get(who.lstrip("@").lower()) if isinstance(who, str) else self.world.users.get(who)
        if not isinstance(found, User):
            raise Misused(f"nobody is {who}")
        return found

    def bot(self, whom: Whom) -> Bot:
        """Return a bot, by its token as well."""
        if isinstance(whom, Bot):
            return whom
        if isinstance(whom, str) and whom in self.world.bots:
            return self.world.bots[whom]
        found = self.world.bots_by_id.get(self.user(whom).id)
        if found is None:
            raise Misused(f"{whom} is no bot")
        return found

    def chat(self, where: Where, user: Who | None = None) -> Chat:
        """Return a chat: a group, or what `user` and the bot `where` have together."""
        if isinstance(where, Chat):
            return where
        if isinstance(where, str) and isinstance(named := self.world.names.get(where.lstrip("@").lower()), Chat):
            return named
        if isinstance(where, int) and where in self.world.groups:
            return self.world.groups[where]
        bot = self.bot(where)
        if user is None:
            raise Misused("whose chat with the bot? Name the user")
        return self.world.private_chat(bot, self.user(user))

    def message(self, chat: Chat, which: Which) -> Message:
        """Return a message."""
        found = which if isinstance(which, Message) else chat.messages.get(which)
        if found is None or found.id not in chat.messages:
            raise Misused("there is no such message in the chat (any more)")
        return found

    def _writable(self, who: Who, where: Where, thread: int) -> tuple[User, Chat]:
        user = self.user(who)
        chat = self.chat(where, user)
        if chat.is_private and (not chat.is_started or chat.is_blocked):
            raise Misused("this person has not pressed Start, or has blocked the bot")
        member = chat.member(user.id)
        if member is None or chat.moved_to:
            raise Misused("this person is not in the group (any more)")
        if thread and (not chat.is_forum or thread not in chat.topics):
            raise Misused("there is no such topic (any more)")
        topic = chat.topics.get(thread or GENERAL)
        if topic and topic.is_closed and not member.may("can_manage_topics"):
            raise Misused("the topic is closed for this person")
        return user, chat

    def _post(self, who: Who, where: Where, content: Json, thread: int, reply_to: Which | None) -> Message:
        user, chat = self._writable(who, where, thread)
        replied = self.message(chat, reply_to) if reply_to is not None else None
        place = replied.thread if replied and not thread and chat.is_forum else thread
        return self.world.post(chat, user, content, thread=0 if place == GENERAL else place, reply_to=replied)

    # --- joining, starting, blocking ---

    def add_bot(
        self, token: str, username: str, first_name: str = "", *, reads_all: bool = False, can_join_groups: bool = True
    ) -> Bot:
        """Make a bot as @BotFather does. `reads_all`: its privacy mode is off."""
        return self.world.add_bot(token, username, first_name, reads_all=reads_all, can_join_groups=can_join_groups)

    def add_user(
        self,
        first_name: str,
        last_name: str = "",
        username: str = "",
        language_code: str = "",
        *,
        id: int = 0,
        phone: str = "",
        is_premium: bool = False,
    ) -> User:
        """Let a person join Telegram."""
        number = id or self.world.new_id("user")
        made = User(number, first_name, last_name, username, language_code, phone, is_premium=is_premium)
        return self.world.add_user(made)

    def start(self, user: Who, bot: Whom, payload: str = "") -> Message:
        """Press Start (t.me/<bot>?start=payload): `/start payload` is written; one who had blocked unblocks."""
        found = self.chat(self.bot(bot), user)
        if len(payload) > 64 or (not payload.replace("_", "").replace("-", "").isalnum() and payload):
            raise Misused("a payload is up to 64 of A-Z, a-z, 0-9, _ and -")
        if found.is_blocked:
            self.unblocks(user, bot)
        found.is_started = True
        return self.says(user, found, f"/start {payload}".strip())

    def blocks(self, user: Who, bot: Whom) -> None:
        """Stop and block a bot."""
        found = self.chat(self.bot(bot), user)
        self.world.change_member(found, self.bot(bot).user, self.user(user), "kicked")
        found.is_blocked = True

    def unblocks(self, user: Who, bot: Whom) -> None:
        """Let a bot write again."""
        found = self.chat(self.bot(bot), user)
        found.is_blocked = False
        self.world.change_member(found, self.bot(bot).user, self.user(user), "member")

    def deactivates(self, user: Who) -> None:
        """Delete a person's account."""
        self.user(user).is_deactivated = True

    # --- writing ---

    def says(
        self,
        user: Who,
        chat: Where,
        text: str,
        *,
        thread: int = 0,
        reply_to: Which | None = None,
        entities: Sequence[Entity] = (),
    ) -> Message:
        """Write words. Commands, links and the like become entities by themselves."""
        found = with_found(text, [dict(one) for one in entities])
        content: Json = {"text": text, **({"entities": found} if found else {})}
        return self._post(user, chat, content, thread, reply_to)

    async def sends(
        self,
        user: Who,
        chat: Where,
        kind: str,
        content: bytes,
        *,
        caption: str = "",
        name: str = "",
        mime_type: str = "application/octet-stream",
        thread: int = 0,
        reply_to: Which | None = None,
        group: str = "",
        **details: Any,
    ) -> Message:
        """Send a file as a photo, document, voice, audio, video, video_note, sticker or animation."""
        if kind not in media.KINDS:
            raise Misused(f"files are sent as one of {', '.join(media.KINDS)}")
        try:
            file = await media.stored(self.world, kind, Upload(name or _NAMES.get(kind, "file"), mime_type, content))
        except Refused as refusal:
            raise Misused(str(refusal)) from None
        found = with_found(caption, [])
        said: Json = {**({"media_group_id": group} if group else {}), **media.shown(file, details)}
        if caption:
            said |= {"caption": caption, **({"caption_entities": found} if found else {})}
        return self._post(user, chat, said, thread, reply_to)

    async def sends_album(
        self, user: Who, chat: Where, items: Sequence[Json], *, thread: int = 0, reply_to: Which | None = None
    ) -> list[Message]:
        """Send several files as one: items are the arguments of `sends`, `kind` and `content` among them."""
        group = str(13_000_000_000_000_000 + secrets.randbits(40))
        return [await self.sends(user, chat, **item, thread=thread, reply_to=reply_to, group=group) for item in items]

    def sends_location(self, user: Who, chat: Where, latitude: float, longitude: float, *, thread: int = 0) -> Message:
        """Send a place."""
        return self._post(user, chat, {"location": {"latitude": latitude, "longitude": longitude}}, thread, None)

    def sends_contact(
        self,
        user: Who,
        chat: Where,
        *,
        phone_number: str = "",
        first_name: str = "",
        of: Who | None = None,
        thread: int = 0,
        reply_to: Which | None = None,
    ) -> Message:
        """Send somebody's card; their own, with their number and id, if nothing else is said."""
        person = self.user(of if of is not None else user)
        is_own = not phone_number or of is not None
        card: Json = {"phone_number": phone_number or person.phone, "first_name": first_name or person.first_name}
        if not card["phone_number"]:
            raise Misused("this person has no phone")
        if is_own:
            card |= {**({"last_name": person.last_name} if person.last_name else {}), "user_id": person.id}
        return self._post(user, chat, {"contact": card}, thread, reply_to)

    def edits(self, user: Who, chat: Where, message: Which, text: str) -> None:
        """Change the words or the caption of a message of one's own."""
        found = self.message(self.chat(chat, user), message)
        if found.author.id != self.user(user).id:
            raise Misused("people edit their own messages")
        name, entities = ("text", "entities") if "text" in found.data else ("caption", "caption_entities")
        found.data[name] = text
        found.data.pop(entities, None)
        if made := with_found(text, []):
            found.data[entities] = made
        self.world.edited(found)

    def deletes(self, user: Who, chat: Where, *messages: Which) -> None:
        """Delete messages for everybody. Bots are not told."""
        found = self.chat(chat, user)
        for one in messages:
            found.remove(self.message(found, one))

    # --- pressing, reacting ---

    def presses(
        self, user: Who, chat: Where, message: Which, *, data: str | None = None, label: str | None = None
    ) -> Press:
        """Press a button under a message, meant by its data or its label. What the bot answers comes to the `Press`."""
        person, found = self.user(user), self.chat(chat, user)
        pressed = self.message(found, message)
        rows = pressed.data.get("reply_markup", {}).get("inline_keyboard", [])
        buttons = [button for row in rows for button in row if "callback_data" in button]
        button = next((one for one in buttons if data == one["callback_data"] or label == one["text"]), None)
        if button is None:
            raise Misused(f"no such button; there are {[one['text'] for one in buttons]}")
        bot = self.world.bots_by_id[pressed.author.id]
        number = str(secrets.randbits(62) | 1 << 61)
        press = Press(number, person, pressed, button["callback_data"], bot.id, self.world.now())
        self.world.presses[number] = press
        content = {
            "id": number,
            "from": person.json(),
            "message": pressed.data,
            "chat_instance": str(found.id * 7_919),
            "data": press.data,
        }
        bot.met.add(person.id)
        self.world.tell(bot, "callback_query", content, found)
        return press

    async def answer(self, press: Press | str, timeout: float = 10.0) -> Json:
        """Return what the bot answered to a press, once it did.

        Raises:
            TimeoutError: it did not.
        """
        found = press if isinstance(press, Press) else self.world.presses[press]
        return await found.wait(timeout)

    def reacts(self, user: Who, chat: Where, message: Which, *emoji: str) -> None:
        """Put reactions to a message in place of those one had put. In groups only administrators are told."""
        person, found = self.user(user), self.chat(chat, user)
        reacted = self.message(found, message)
        old = reacted.reactions.get(person.id, [])
        new: list[Json] = [{"type": "emoji", "emoji": one} for one in emoji]
        reacted.reactions[person.id] = new
        content = {
            "chat": found.json(),
            "message_id": reacted.id,
            "user": person.json(),
            "date": self.world.date(),
            "old_reaction": old,
            "new_reaction": new,
        }
        for bot in self.world.bots_in(found):
            if found.is_private or found.members[bot.id].status == "administrator":
                self.world.tell(bot, "message_reaction", content, found)
        found.changed.ring()

    async def settled(self, bot: Whom, timeout: float = 10.0) -> None:
        """Wait until a bot has taken all its updates.

        Raises:
            TimeoutError: it did not within `timeout` seconds.
        """
        queue = self.bot(bot).queue
        async with asyncio.timeout(timeout):
            while queue.pending:
                await queue.changed.wait()
