"""Reading Telegram's updates as what our own people do at the desk.

Facts from https://core.telegram.org/bots/api: `Update`, `Message`, `CallbackQuery`, `ChatMemberUpdated`. A message of a
forum's topic says so (`is_topic_message`); one in General, or in a group that has no topics, does not, whatever its
`message_thread_id`. Every message of a topic that answers no other "answers" the service message that began the topic.
Administrators who hide behind their group are a bot's words to us (`GroupAnonymousBot`): nobody knows who they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from channels.desk_contract import DeskEvent, DeskGone, DeskMoved, DeskPressed, DeskSaid, DeskStarted
from channels.fields import Fields
from channels.telegram.contents import attachments_of, name_of, number_at, one_line, words
from channels.telegram.reading import GROUPS, OUT, START, is_from_a_person, topic_of
from core.kernel.envelopes import Attachment

UPDATES = ("message", "edited_message", "callback_query", "my_chat_member")
"""What we ask Telegram for (`allowed_updates`)."""

_TICKET = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ADDRESSED = re.compile(r"/\w+@(\w+)", re.ASCII)


def lane_of(update: Fields) -> str:
    """Return the chat an update belongs to, and the topic in it: `-100123`, `-100123:7`; "" where it has none."""
    for name in UPDATES:
        found = update.at(name, "message") if name == "callback_query" else update.at(name)
        if chat := number_at(found, "chat", "id"):
            topic = topic_of(found)
            return f"{chat}:{topic}" if topic else chat
    return ""


class DeskReader:
    """Reads updates for one bot, called `handle` ("": that is not known); their events have the key `key`."""

    def __init__(self, handle: str, key: str) -> None:
        self._handle = handle.lower()
        self._key = key

    def events(self, update: Fields) -> Iterator[DeskEvent]:
        """Read one update, which holds one thing that happened; anything unknown is nothing."""
        yield from self._message(update.at("message"))
        yield from self._edit(update.at("edited_message"))
        yield from self._press(update.at("callback_query"))
        yield from self._membership(update.at("my_chat_member"))

    def _message(self, said: Fields) -> Iterator[DeskEvent]:
        chat = number_at(said, "chat", "id")
        if chat and (moved := number_at(said, "migrate_to_chat_id")):
            yield DeskMoved(key=self._key, peer=chat, occurred_at=said.moment("date"), is_private=False, new_chat=moved)
            return
        found = self._said(said, is_edit=False)
        if found is None:
            return
        start = START.fullmatch(found.text)
        ticket = (start[1] or "") if start else ""
        if start and (found.is_private or not ticket):
            yield DeskStarted(
                key=found.key,
                peer=found.peer,
                occurred_at=found.occurred_at,
                person=found.person,
                name=found.name,
                handle=found.handle,
                thread=found.thread,
                is_private=found.is_private,
                ticket=ticket if _TICKET.fullmatch(ticket) else "",
            )
        else:
            yield found

    def _edit(self, said: Fields) -> Iterator[DeskEvent]:
        if said.at("location"):
            return  # somebody who shares where they are walks on
        found = self._said(said, is_edit=True)
        if found is not None:
            yield found

    def _said(self, said: Fields, *, is_edit: bool) -> DeskSaid | None:
        """Read what a person wrote; None for a bot's words, for what merely happened, and for another bot's orders."""
        chat, number = number_at(said, "chat", "id"), number_at(said, "message_id")
        person = number_at(said, "from", "id")
        if not chat or not number or not person or not is_from_a_person(said):
            return None
        text, attachments = _words(said), tuple(_attachments(said, number))
        is_private = _is_private(said)
        if not (text or attachments) or (not is_private and self._is_for_another(text)):
            return None
        return DeskSaid(
            key=self._key,
            peer=chat,
            occurred_at=(said.moment("edit_date") if is_edit else None) or said.moment("date"),
            person=person,
            name=name_of(said.at("from")),
            handle=one_line(said.text("from", "username")),
            thread=topic_of(said),
            is_private=is_private,
            ref=number,
            text=text,
            attachments=attachments,
            reply_to=_answered(said),
            group=said.id("media_group_id")[:100],
            is_edit=is_edit,
        )

    def _is_for_another(self, text: str) -> bool:
        """Tell whether a command names another bot of the group, which an administrator gets to read as well."""
        named = _ADDRESSED.match(text)
        return named is not None and bool(self._handle) and named[1].lower() != self._handle

    def _press(self, said: Fields) -> Iterator[DeskEvent]:
        """Read the press of a button; its time is not told. A post that is too old to be shown has but its number."""
        person, data, press = number_at(said, "from", "id"), said.text("data"), said.id("id")
        post = said.at("message")
        chat, number = number_at(post, "chat", "id"), number_at(post, "message_id")
        if not (person and data and press and chat and number) or said.flag("from", "is_bot"):
            return
        yield DeskPressed(
            key=self._key,
            peer=chat,
            person=person,
            name=name_of(said.at("from")),
            handle=one_line(said.text("from", "username")),
            thread=topic_of(post),
            is_private=_is_private(post),
            ref=number,
            data=data,
            press=press,
        )

    def _membership(self, said: Fields) -> Iterator[DeskEvent]:
        """Read that a person blocked the bot, or that it was put out of a group."""
        chat, kind = number_at(said, "chat", "id"), said.text("chat", "type")
        if not chat or kind not in ("private", *GROUPS) or said.text("new_chat_member", "status") not in OUT:
            return
        yield DeskGone(
            key=self._key,
            peer=chat,
            occurred_at=said.moment("date"),
            person=number_at(said, "from", "id"),
            name=name_of(said.at("from")),
            handle=one_line(said.text("from", "username")),
            is_private=kind == "private",
        )


def _is_private(said: Fields) -> bool:
    return said.text("chat", "type") == "private"


def _answered(said: Fields) -> str:
    """Return the number of the message that is answered; the one that began the topic is not meant by anybody."""
    replied = number_at(said, "reply_to_message", "message_id")
    is_beginning = "forum_topic_created" in said.at("reply_to_message") or replied == topic_of(said)
    return "" if is_beginning else replied


def _is_moving(said: Fields) -> bool:
    """Tell whether a message is a sticker that only Telegram can play, and which it says an emoji for."""
    sticker = said.at("sticker")
    return bool(sticker.text("emoji").strip()) and (sticker.flag("is_animated") or sticker.flag("is_video"))


def _words(said: Fields) -> str:
    return one_line(said.text("sticker", "emoji")) if _is_moving(said) else words(said)[0]


def _attachments(said: Fields, number: str) -> Iterator[Attachment]:
    if not _is_moving(said):
        yield from attachments_of(said, number)
