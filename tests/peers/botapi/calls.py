"""A call of a bot, and what nearly every method asks of its arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.peers.botapi import markup
from tests.peers.botapi.arguments import Arguments
from tests.peers.botapi.chats import GENERAL, Chat, Json, Member, Message, User
from tests.peers.botapi.entities import Entity, from_html, trimmed, units, unparsable, with_found
from tests.peers.botapi.errors import bad, forbidden, moved, unplayed
from tests.peers.botapi.markdown import from_markdown
from tests.peers.botapi.world import Bot, World

MOST_TEXT = 4096
MOST_CAPTION = 1024


@dataclass
class Call:
    """One call. The methods raise `Refused` with what Telegram answers where an argument is wrong.

    `answered` makes the call that a webhook's answer holds.
    """

    world: World
    bot: Bot
    arguments: Arguments
    session: aiohttp.ClientSession
    answered: Callable[[Json], Awaitable[None]]
    allow_http: bool
    retry_pause: float

    # --- chats ---

    def chat(self, name: str = "chat_id", *, writes: bool = True) -> Chat:
        """Return the chat that is meant, if the bot may look at it; `writes`: or write to it."""
        given = self.arguments.text(name).strip()
        if not given:
            raise bad(f"{name} is empty")
        found = self._find(given)
        if found.is_private:
            self._check_private(found, writes)
        else:
            self._check_group(found)
        return found

    def group(self) -> Chat:
        """Return the group that is meant."""
        found = self.chat()
        if found.is_private:
            raise bad("method is available only for supergroups and channels")
        return found

    def _find(self, given: str) -> Chat:
        if given.startswith("@"):
            named = self.world.names.get(given[1:].lower())
            if not isinstance(named, Chat):
                raise bad("chat not found")
            return named
        try:
            number = int(given)
        except ValueError:
            raise bad("chat not found") from None
        if group := self.world.groups.get(number):
            if self.bot.id not in group.members:
                raise bad("chat not found")
            return group
        user = self.world.users.get(number)
        if user is None:
            raise bad("chat not found")
        if user.is_bot:
            raise bad("chat not found") if user.id == self.bot.id else forbidden("bot can't send messages to bots")
        found = self.world.private.get((self.bot.id, number))
        if found is None and number not in self.bot.met:
            raise bad("chat not found")
        return found or self.world.private_chat(self.bot, user)

    def _check_private(self, chat: Chat, writes: bool) -> None:
        assert chat.user is not None
        if not writes:
            return
        if chat.user.is_deactivated:
            raise forbidden("user is deactivated")
        if chat.is_blocked:
            raise forbidden("bot was blocked by the user")
        if not chat.is_started:
            raise forbidden("bot can't initiate conversation with a user")

    def _check_group(self, chat: Chat) -> None:
        if chat.moved_to:
            raise moved(chat.moved_to)
        status = chat.members[self.bot.id].status
        if status == "kicked":
            raise forbidden(f"bot was kicked from the {chat.kind} chat")
        if status == "left":
            raise forbidden(f"bot is not a member of the {chat.kind} chat")

    def me(self, chat: Chat) -> Member:
        """Return the bot's own place in a chat."""
        return chat.members[self.bot.id]

    def user(self) -> User:
        """Return the person that `user_id` means."""
        if "user_id" not in self.arguments:
            raise bad("invalid user_id specified")
        found = self.world.users.get(self.arguments.whole("user_id"))
        if found is None:
            raise bad("user not found")
        return found

    # --- messages ---

    def message(self, chat: Chat, what_for: str) -> Message:
        """Return the message that `message_id` means. `what_for`: "edit", "delete", … is in Telegram's words."""
        if "message_id" not in self.arguments:
            raise bad("message identifier is not specified")
        found = chat.messages.get(self.arguments.whole("message_id"))
        if found is None:
            raise bad(f"message to {what_for} not found")
        return found

    def thread(self, chat: Chat) -> int:
        """Return the topic to write to, 0 for General or where there are none; closed ones are for administrators."""
        given = self.arguments.whole("message_thread_id")
        if not given:
            replied = self._replied(chat)
            given = replied.thread if replied and chat.is_forum and replied.thread > GENERAL else 0
        if not given:
            if chat.is_forum and chat.topics[GENERAL].is_closed and not self.me(chat).may("can_manage_topics"):
                raise bad("TOPIC_CLOSED")
            return 0
        if not chat.is_forum or given == GENERAL:
            raise bad("message thread not found")
        topic = self.world.topic_of(chat, given)
        if topic.is_closed and topic.by != self.bot.id and not self.me(chat).may("can_manage_topics"):
            raise bad("TOPIC_CLOSED")
        return given

    def _reply_parameters(self) -> Json:
        given = self.arguments.object("reply_parameters")
        if given is not None and not isinstance(given, dict):
            raise bad("object expected as reply parameters")
        if not given:
            return {
                "message_id": self.arguments.whole("reply_to_message_id"),
                "allow_sending_without_reply": self.arguments.flag("allow_sending_without_reply"),
            }
        return given

    def _replied(self, chat: Chat) -> Message | None:
        number = self._reply_parameters().get("message_id")
        return chat.messages.get(int(str(number))) if str(number or "").isdecimal() else None

    def reply(self, chat: Chat) -> Message | None:
        """Return the message that is replied to."""
        given = self._reply_parameters()
        if not given.get("message_id"):
            return None
        if "chat_id" in given and str(given["chat_id"]) != str(chat.id):
            raise unplayed("a reply to a message of another chat")
        found = self._replied(chat)
        if found is None and given.get("allow_sending_without_reply") is not True:
            raise bad("message to be replied not found")
        if found is not None and (quote := given.get("quote")) and str(quote) not in found.text:
            raise bad("QUOTE_TEXT_INVALID")
        return found

    def markup(self, chat: Chat) -> Json | None:
        """Return the keyboard."""
        return markup.checked(self.arguments.object("reply_markup"), is_private=chat.is_private)

    # --- words ---

    def formatted(self, name: str, entities: str, given: Json | None = None) -> tuple[str, list[Entity]]:
        """Return a text and its entities, of the arguments or of an object `given` in them."""
        source = Arguments(given) if given is not None else self.arguments
        text, mode = source.text(name), source.text("parse_mode").lower()
        if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise bad("strings must be encoded in UTF-8")
        if mode == "html":
            text, found = from_html(text)
        elif mode == "markdownv2":
            text, found = from_markdown(text)
        elif mode == "markdown":
            raise unplayed("the old parse mode Markdown")
        elif mode:
            raise bad("unsupported parse_mode")
        else:
            found = self._given(text, source.object(entities))
        text, found = trimmed(text, found)
        found = [shown for one in with_found(text, found) if (shown := self._shown(one))]
        return text, found

    def _given(self, text: str, given: Any) -> list[Entity]:
        if given is None:
            return []
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise bad("can't parse entities: expected an Array of MessageEntity")
        for one in given:
            start, length = one.get("offset"), one.get("length")
            if not isinstance(start, int) or not isinstance(length, int) or not isinstance(one.get("type"), str):
                raise unparsable('Field "offset", "length" or "type" is missing or wrong')
            if start < 0 or length < 0 or start + length > units(text):
                raise bad("entity beginning or end is outside of the text: ENTITY_BOUNDS_INVALID")
            if one["type"] == "text_link" and not one.get("url"):
                raise unparsable('Can\'t find field "url"')
        return [dict(one) for one in given if one["length"]]

    def _shown(self, one: Entity) -> Entity | None:
        if one["type"] == "text_mention":
            named = one.get("user")
            number = one.pop("user_id", None) or (named.get("id") if isinstance(named, dict) else None)
            person = self.world.users.get(number) if isinstance(number, int) else None
            return {**one, "user": person.json()} if person and person.id in self.bot.met else None
        return one

    def words(self) -> Json:
        """Return `text` and `entities` of a message of words."""
        text, found = self.formatted("text", "entities")
        if not text:
            raise bad("message text is empty")
        if units(text) > MOST_TEXT:
            raise bad("message is too long")
        options = self.arguments.object("link_preview_options")
        if options is not None and not isinstance(options, dict):
            raise bad("object expected as link preview options")
        if self.arguments.flag("disable_web_page_preview"):
            options = {"is_disabled": True}
        shown: Json = {"text": text, **({"entities": found} if found else {})}
        return {**shown, "link_preview_options": options} if options else shown

    def caption(self, given: Json | None = None) -> Json:
        """Return `caption` and `caption_entities`, which may be absent."""
        text, found = self.formatted("caption", "caption_entities", given)
        if units(text) > MOST_CAPTION:
            raise bad("message caption is too long")
        if not text:
            return {}
        return {"caption": text, **({"caption_entities": found} if found else {})}

    # --- what comes of it ---

    def send(self, chat: Chat, content: Json, *, thread: int | None = None) -> Message:
        """Write a message, with reply, topic and keyboard as the arguments say."""
        place = self.thread(chat) if thread is None else thread
        reply, keyboard = self.reply(chat), self.markup(chat)
        if keyboard and "inline_keyboard" in keyboard:
            content = {**content, "reply_markup": keyboard}
        if self.arguments.flag("protect_content"):
            content = {**content, "has_protected_content": True}
        message = self.world.post(chat, self.bot.user, content, thread=place, reply_to=reply)
        if keyboard and "inline_keyboard" not in keyboard:
            message.keyboard = keyboard
        return message

    def shown(self, message: Message) -> Json:
        """Return a message as the bot gets it."""
        found: Json = self.world.seen_by(self.bot, message.data)
        return found

    def needs(self, chat: Chat, right: str, words: str) -> None:
        """Refuse what only administrators with a right may."""
        if not self.me(chat).may(right):
            raise bad(words)


Method = Callable[[Call], Awaitable[Any]]
Methods = dict[str, Method]
