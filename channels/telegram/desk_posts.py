"""Cards of the desk as Telegram's messages. Importing this takes seconds: see `channels.telegram.bot`.

What stands out does so by entities, which name places in the text (https://core.telegram.org/bots/api#messageentity):
words of people go as they are, and no markup can trip over them. Previews of links are off, or Telegram would open
addresses of the workspace and of whatever a customer wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from aiogram.methods import AnswerCallbackQuery, EditMessageText, SendMessage
from aiogram.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    MessageEntity,
    ReplyParameters,
)

from channels.contract import Button, OutgoingFile, Sending, Unit
from channels.desk_contract import Card, Key, Place
from channels.errors import ChannelError, RecipientGone, Uncertain, Undeliverable
from channels.fields import Fields
from channels.rendering import length, split
from channels.telegram.bot import MOST_UPLOAD
from channels.telegram.calls import Api, Unfit
from channels.telegram.contents import number_at
from channels.telegram.desk_topics import change_topic, in_a_topic
from channels.telegram.sending import Piece, albums, data_of, form_of, send_batch

LONGEST_ANSWER = 200
"""Letters that may be said in passing: https://core.telegram.org/bots/api#answercallbackquery."""

_LIMIT = Sending(text=4096, unit=Unit.UTF16)
_OF_THE_PLACE = ("thread", "topic")
_MISSING = ("message to edit not found", "message_id_invalid")


@dataclass(frozen=True, slots=True)
class Text:
    """The text of one message, and what in it stands out."""

    text: str
    entities: list[MessageEntity]


# --- posting ---


async def post(api: Api, place: Place, card: Card, files: Sequence[OutgoingFile], reply_to: str) -> tuple[str, ...]:
    """Post a card and its files, and return the ids of all messages; a closed topic is opened again for it.

    Raises:
        PlaceGone: the topic is no more. Uncertain: some of it went and some did not, or nobody knows. ChannelError:
        nothing of it went.
    """
    try:
        return await _post(api, place, card, files, reply_to)
    except Undeliverable as error:
        if not place.thread or "topic_closed" not in str(error).lower():
            raise
    await change_topic(api, place, is_open=True)
    return await _post(api, place, card, files, reply_to)


async def _post(api: Api, place: Place, card: Card, files: Sequence[OutgoingFile], reply_to: str) -> tuple[str, ...]:
    texts, keyboard = _texts(card), _keyboard(card.keys)
    contents: list[Text | list[Piece]] = [*texts, *_batches(files, is_last_alone=bool(keyboard and not texts))]
    if not contents:
        raise Undeliverable("There is nothing to post: no words, no files", code="empty")
    ids: list[str] = []
    position = 0
    while position < len(contents):
        content, common = contents[position], _where(place)
        if position == 0 and reply_to.isdecimal():
            common["reply_parameters"] = ReplyParameters(message_id=int(reply_to), allow_sending_without_reply=True)
        if keyboard and position + 1 == (len(texts) or len(contents)):
            common["reply_markup"] = keyboard
        if card.is_quiet or ids:
            common["disable_notification"] = True  # one sound for all of it
        try:
            with in_a_topic():
                found = await _one(api, content, common)
        except ChannelError as error:
            if isinstance(error, Unfit) and not isinstance(content, Text):
                contents[position : position + 1] = _simpler(content)
                continue
            if not ids:
                raise
            raise Uncertain(
                f"{len(ids)} messages of it were posted, then something failed: {error}", code=error.code
            ) from error
        ids += _ids(found)
        position += 1
    return tuple(ids)


def _where(place: Place) -> dict[str, Any]:
    topic = {"message_thread_id": int(place.thread)} if place.thread.isdecimal() else {}
    return {"chat_id": place.chat, **topic}


async def _one(api: Api, content: Text | list[Piece], common: dict[str, Any]) -> Fields:
    """Post one message, or one album.

    Raises:
        Unfit: Telegram does not take these files. ChannelError: it was not posted, or nobody knows.
    """
    if isinstance(content, Text):
        options = LinkPreviewOptions(is_disabled=True)
        return await api(
            SendMessage(text=content.text, entities=content.entities, link_preview_options=options, **common)
        )
    if content[0].file.size > MOST_UPLOAD:
        raise Unfit("Telegram takes files of up to 50 MB from bots", code="too_large")
    try:
        return await send_batch(api, content, "", common)
    except RecipientGone:
        raise
    except Undeliverable as error:
        if any(sign in str(error).lower() for sign in _OF_THE_PLACE):
            raise
        raise Unfit(str(error), code=error.code) from error


def _simpler(content: list[Piece]) -> list[Text | list[Piece]]:
    """Return what to post instead of files Telegram does not take: each alone, or where it is to be had."""
    if len(content) > 1:
        return [[piece] for piece in content]
    file = content[0].file
    return [Text(f"{file.name[-200:]} ({_shown_size(file.size)})\n{file.url}".strip(), [])]


def _shown_size(size: int) -> str:
    return f"{size / 2**20:.1f} MB" if size >= 2**20 else f"{size / 2**10:.1f} KB"


def _batches(files: Sequence[OutgoingFile], *, is_last_alone: bool) -> list[list[Piece]]:
    """Put files together that one call can take; an album bears no buttons, and what is too large goes in no call."""
    found: list[list[Piece]] = []
    together: list[Piece] = []
    for position, file in enumerate(files):
        piece = Piece(file, form_of(file))
        if file.size > MOST_UPLOAD or (is_last_alone and position + 1 == len(files)):
            found += [*albums(together), [piece]]
            together = []
        else:
            together.append(piece)
    return [*found, *albums(together)]


def _ids(found: Fields) -> list[str]:
    """Return the ids of what was posted.

    Raises:
        Uncertain: Telegram said yes, but not to what.
    """
    messages = list(found.items()) if isinstance(found.value, list) else [found]
    ids = [number for message in messages if (number := number_at(message, "message_id"))]
    if not ids:
        raise Uncertain("Telegram took the message, but did not say which it is", code="unreadable")
    return ids


# --- changing, answering ---


async def edit(api: Api, place: Place, ref: str, card: Card) -> None:
    """Change a message to the card, or to its beginning where it is too long for one message.

    Raises:
        ChannelError: it was not done.
    """
    texts = _texts(card)
    if not texts or not ref.isdecimal():
        raise Undeliverable("There is nothing to change it to, or it is no post", code="empty")
    try:
        await api(
            EditMessageText(
                chat_id=place.chat,
                message_id=int(ref),
                text=texts[0].text,
                entities=texts[0].entities,
                link_preview_options=LinkPreviewOptions(is_disabled=True),
                reply_markup=_keyboard(card.keys),
            )
        )
    except Undeliverable as error:
        told = str(error).lower()
        if "message is not modified" not in told and not any(sign in told for sign in _MISSING):
            raise


async def confirm(api: Api, press: str, text: str, *, is_alert: bool) -> None:
    """Answer a press.

    Raises:
        ChannelError: it came too late, or was not done.
    """
    said = text if len(text) <= LONGEST_ANSWER else text[: LONGEST_ANSWER - 1] + "…"
    await api(AnswerCallbackQuery(callback_query_id=press, text=said or None, show_alert=is_alert))


# --- a card in Telegram's terms ---


def _texts(card: Card) -> list[Text]:
    """Return the card's texts, cut to what a message holds; title and footer stand out in whichever they are."""
    shown = _with_plain_addresses(card)
    text = shown.plain()
    styles = [("bold", 0, len(shown.title))] if shown.title else []
    if shown.footer and text != shown.footer:
        styles.append(("italic", len(text) - len(shown.footer), len(text)))
    found: list[Text] = []
    end = 0
    for piece in split(text, _LIMIT) if text.strip() else []:
        start = text.index(piece, end)
        end = start + len(piece)
        found.append(Text(piece, [made for style in styles if (made := _entity(piece, start, *style))]))
    return found


def _entity(piece: str, start: int, style: str, first: int, last: int) -> MessageEntity | None:
    """Return what of the text from `first` to `last` is in a piece that starts at `start`, as Telegram counts."""
    inside, until = max(first - start, 0), min(last - start, len(piece))
    if inside >= until:
        return None
    offset = length(piece[:inside], Unit.UTF16)
    return MessageEntity(type=style, offset=offset, length=length(piece[inside:until], Unit.UTF16))


def _keyboard(rows: Sequence[Sequence[Key]]) -> InlineKeyboardMarkup | None:
    found = [[button for key in row if (button := _button(key))] for row in rows]
    found = [row for row in found if row]
    return InlineKeyboardMarkup(inline_keyboard=found) if found else None


def _button(key: Key) -> InlineKeyboardButton | None:
    if not key.text.strip():
        return None
    if key.data:
        return InlineKeyboardButton(text=key.text, callback_data=data_of(Button(key.text, key.data)))
    return InlineKeyboardButton(text=key.text, url=key.url) if _is_taken(key.url) else None


def _is_taken(url: str) -> bool:
    """Tell whether Telegram puts an address under a button: it refuses a message with one whose host has no dot."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and ("." in host.strip(".") or ":" in host)


def _with_plain_addresses(card: Card) -> Card:
    """Write the addresses that no button may have (http://localhost:8080) below the other lines."""
    plain = [
        f"{key.text}: {key.url}"
        for row in card.keys
        for key in row
        if key.url and not key.data and not _is_taken(key.url)
    ]
    return replace(card, lines=(*card.lines, *plain)) if plain else card
