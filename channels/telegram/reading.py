"""Reading Telegram's updates into events.

Facts from https://core.telegram.org/bots/api: `Update`, `Message`, `CallbackQuery`, `ChatMemberUpdated`. Message
ids are unique within a chat only, so ours are `<chat>:<message id>`; those of a business account's chats, which have
ids of their own for the same people, `<business connection>:<chat>:<message id>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from channels.fields import Fields
from channels.telegram.contents import attachments_of, name_of, number_at, one_line, words
from core.kernel import addresses
from core.kernel.addresses import PHONE, Address
from core.kernel.envelopes import (
    Attribution,
    Changed,
    Claim,
    Event,
    IdentityChanged,
    Incoming,
    Signal,
    Trust,
)

SCHEME = "telegram"

UPDATES = (
    "message",
    "edited_message",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "callback_query",
    "my_chat_member",
    "message_reaction",
)
"""What we ask Telegram for (`allowed_updates`). Reactions come only when they are named."""

BUSINESS_WINDOW = timedelta(hours=24)
"""How long a business account's bot may answer: https://core.telegram.org/method/messages.sendMessage."""

GROUPS = ("group", "supergroup")
OUT = ("kicked", "left")
START = re.compile(r"/start(?:@\w+)?(?:\s+(\S+))?\s*", re.ASCII)


def message_key(chat: str, number: str | int, business: str = "") -> str:
    """Name a message as we keep it."""
    return f"{business}:{chat}:{number}" if business else f"{chat}:{number}"


def chat_of(update: Fields) -> str:
    """Return the chat an update belongs to, whatever it is; "" where it has none."""
    for name in UPDATES:
        for path in (("chat", "id"), ("message", "chat", "id"), ("from", "id")):
            if found := number_at(update, name, *path):
                return found
    return ""


def place_of(thread: str) -> tuple[str, int | None]:
    """Return the business account and the topic that a conversation's answers go through."""
    sort, _, rest = thread.partition(":")
    if sort == "business":
        return rest, None
    topic = rest if sort == "topic" else rest.partition(":")[2]
    return "", int(topic) if topic.isdecimal() else None


class Reader:
    """Reads updates for one bot. `country` is whose numbers are written without a country."""

    def __init__(self, bot_id: str, country: str) -> None:
        self._bot_id = bot_id
        self._country = country

    def events(self, update: Fields) -> Iterator[Event]:
        """Read one update, which holds one thing that happened; anything unknown is nothing."""
        yield from self._message(update.at("message"))
        yield from self._message(update.at("business_message"))
        for name in ("edited_message", "edited_business_message"):
            yield from self._edit(update.at(name))
        yield from self._deletions(update.at("deleted_business_messages"))
        yield from self._press(update.at("callback_query"))
        yield from self._membership(update.at("my_chat_member"))
        yield from self._reaction(update.at("message_reaction"))

    # --- messages ---

    def _message(self, said: Fields) -> Iterator[Event]:
        chat, number = number_at(said, "chat", "id"), number_at(said, "message_id")
        if not chat or not number:
            return
        if moved := number_at(said, "migrate_to_chat_id"):
            yield IdentityChanged(
                peer=chat,
                occurred_at=said.moment("date"),
                old=self._claim(chat),
                new=self._claim(moved),
                new_peer=moved,
            )
            return
        sender = number_at(said, "from", "id")
        if not sender or not is_from_a_person(said):
            return
        business = _business(said)
        is_ours = bool(business) and sender != chat
        name = name_of(said.at("chat")) if is_ours else name_of(said.at("from"))
        claims = [self._claim(chat, said.at("chat")) if is_ours else self._claim(sender, said.at("from"))]
        text, fields = words(said)
        if said.at("contact") and (own := self._own_phone(said, sender)):
            claims.append(own)
        attachments = tuple(attachments_of(said, number))
        if not text and not attachments:
            return  # somebody joined, a title changed, and the like
        start = START.fullmatch(text)
        if start and not start[1] and not is_ours:
            yield Signal(peer=chat, occurred_at=said.moment("date"), kind="started", claims=tuple(claims), name=name)
            return
        occurred_at = said.moment("date")
        replied = number_at(said, "reply_to_message", "message_id")
        if "forum_topic_created" in said.at("reply_to_message"):
            replied = ""  # every message of a topic "answers" the topic's beginning
        album = said.id("media_group_id")[:100]
        yield Incoming(
            external_id=message_key(chat, number, business),
            peer=chat,
            occurred_at=occurred_at,
            claims=tuple(claims),
            name=name,
            text=text,
            quoted=said.text("quote", "text") if said.flag("quote", "is_manual") else "",
            subject=one_line(said.text("chat", "title")),
            thread=_thread(said),
            language=said.id("from", "language_code")[:20],
            reply_to=message_key(chat, replied, business) if replied else "",
            group=message_key(chat, album, business) if album else "",
            replies_until=occurred_at + BUSINESS_WINDOW if business and occurred_at else None,
            fields=fields,
            attachments=attachments,
            attribution=Attribution(reference=start[1][:200]) if start and start[1] else Attribution(),
            is_ours=is_ours,
        )

    def _edit(self, said: Fields) -> Iterator[Event]:
        chat, number = number_at(said, "chat", "id"), number_at(said, "message_id")
        if chat and number and is_from_a_person(said):
            yield Changed(
                peer=chat,
                occurred_at=said.moment("edit_date") or said.moment("date"),
                external_id=message_key(chat, number, _business(said)),
                change="edited",
                text=words(said)[0],
            )

    def _deletions(self, said: Fields) -> Iterator[Event]:
        chat, business = number_at(said, "chat", "id"), _business(said)
        for item in said.items("message_ids"):
            if chat and business and (number := number_at(item)):
                yield Changed(peer=chat, external_id=message_key(chat, number, business), change="deleted")

    # --- what is done without writing ---

    def _press(self, said: Fields) -> Iterator[Event]:
        """Read the press of a button; its time is not told."""
        sender, data = number_at(said, "from", "id"), said.text("data")
        if not sender or not data or not said.id("id") or said.flag("from", "is_bot"):
            return
        message = said.at("message")
        chat = number_at(message, "chat", "id") or sender
        label = _label(message, data)
        number = number_at(message, "message_id")
        yield Incoming(
            external_id=f"callback:{said.id('id')[:100]}",
            peer=chat,
            claims=(self._claim(sender, said.at("from")),),
            name=name_of(said.at("from")),
            text=label or data,
            subject=one_line(message.text("chat", "title")),
            thread=_thread(message),
            language=said.id("from", "language_code")[:20],
            reply_to=message_key(chat, number, _business(message)) if number else "",
            fields={"payload": data} if label and label != data else {},
        )

    def _membership(self, said: Fields) -> Iterator[Event]:
        """Read what became of the bot: blocked or unblocked by a person, put into a group or out of it."""
        chat, kind = number_at(said, "chat", "id"), said.text("chat", "type")
        before, now = said.text("old_chat_member", "status"), said.text("new_chat_member", "status")
        if not chat or kind not in ("private", *GROUPS):
            return
        if now in OUT:
            meant = "gone"
        elif now in ("member", "administrator") and before in OUT:
            meant = "opted_in"
        else:
            return
        person = said.at("from") if kind == "private" else said.at("chat")
        yield Signal(
            peer=chat,
            occurred_at=said.moment("date"),
            kind="gone" if meant == "gone" else "opted_in",
            claims=(self._claim(chat, person),),
            name=name_of(person) or one_line(said.text("chat", "title")),
        )

    def _reaction(self, said: Fields) -> Iterator[Event]:
        chat, number = number_at(said, "chat", "id"), number_at(said, "message_id")
        if chat and number and said.at("user") and not said.flag("user", "is_bot"):
            signs = [
                item.text("emoji")[:20] or {"paid": "⭐"}.get(item.text("type"), "🙂")
                for item in said.items("new_reaction")
            ]
            yield Changed(
                peer=chat,
                occurred_at=said.moment("date"),
                external_id=message_key(chat, number),
                change="reaction",
                text="".join(signs[:10]),
            )

    # --- who ---

    def _claim(self, user: str, described: Fields | None = None) -> Claim:
        handle = one_line(described.text("username")) if described else ""
        return Claim(Address(SCHEME, f"{self._bot_id}:{user}"), f"@{handle}" if handle else user, Trust.ATTESTED)

    def _own_phone(self, said: Fields, sender: str) -> Claim | None:
        """Return the sender's own number. Telegram puts `user_id` to a contact by itself; others' are only words."""
        written = said.text("contact", "phone_number").strip()
        if number_at(said, "contact", "user_id") != sender or not written:
            return None
        number = addresses.phone("+" + written.lstrip("+"), "") or addresses.phone(written, self._country)
        return Claim(Address(PHONE, number), written, Trust.ATTESTED) if number else None


# --- pieces of a message ---


def _business(said: Fields) -> str:
    return said.id("business_connection_id")[:100]


def is_from_a_person(said: Fields) -> bool:
    """Tell whether somebody wrote it: no bot, no channel, no post that a linked channel put into its group."""
    return not (
        said.flag("from", "is_bot") or said.flag("is_automatic_forward") or said.text("chat", "type") == "channel"
    )


def topic_of(said: Fields) -> str:
    """Return the topic of a message; "" for General and where there are none."""
    return number_at(said, "message_thread_id") if said.flag("is_topic_message") else ""


def _thread(said: Fields) -> str:
    """Tell conversations of one person apart: their own chat, each group, each topic, each business account.

    `place_of` reads from it where an answer has to go.
    """
    topic = topic_of(said)
    if business := _business(said):
        return f"business:{business}"
    if said.text("chat", "type") in GROUPS:
        group = f"group:{number_at(said, 'chat', 'id')}"
        return f"{group}:{topic}" if topic else group
    return f"topic:{topic}" if topic else ""


def _label(message: Fields, data: str) -> str:
    for row in message.items("reply_markup", "inline_keyboard"):
        for button in row.items():
            if button.text("callback_data") == data:
                return one_line(button.text("text"))
    return ""
