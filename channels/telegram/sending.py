"""Writing a part as Telegram's messages. Importing this takes seconds: see `channels.telegram`.

Files go up as bytes, each as what Telegram shows best: photos and videos, music, voice notes, and anything else as a
document. An album holds photos and videos together, or documents, or music, two to ten of them
(https://core.telegram.org/bots/api#sendmediagroup); voice notes go one by one. What Telegram does not take as a photo
or a video goes once more as a document. Words are sent as they are, without markup: text of people is full of
characters that Telegram's markup trips over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from aiogram.methods import (
    SendAudio,
    SendDocument,
    SendMediaGroup,
    SendMessage,
    SendPhoto,
    SendVideo,
    SendVoice,
    TelegramMethod,
)
from aiogram.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaAudio,
    InputMediaDocument,
    InputMediaPhoto,
    InputMediaVideo,
    ReplyParameters,
)

from channels.contract import Button, OutgoingFile, Part, Receipt
from channels.errors import ChannelError, Uncertain, Undeliverable
from channels.fields import Fields
from channels.telegram.calls import Api, Unfit, Upload
from channels.telegram.reading import message_key, place_of

LARGEST_PHOTO = 10 * 1024 * 1024
MOST_IN_ALBUM = 10
LONGEST_DATA = 64
"""Bytes that may come back from a button."""

_PHOTOS = ("image/jpeg", "image/jpg", "image/png", "image/webp")
_VIDEOS = ("video/mp4",)
_MUSIC = ("audio/mpeg", "audio/mp3", "audio/mp4", "audio/x-m4a", "audio/m4a")
_VOICES = ("audio/ogg", "audio/opus", *_MUSIC)

_SENDS: dict[str, type[TelegramMethod[Any]]] = {
    "photo": SendPhoto,
    "video": SendVideo,
    "audio": SendAudio,
    "voice": SendVoice,
    "document": SendDocument,
}
_IN_ALBUM: dict[str, Any] = {
    "photo": InputMediaPhoto,
    "video": InputMediaVideo,
    "audio": InputMediaAudio,
    "document": InputMediaDocument,
}


class Piece(NamedTuple):
    """A file, and what Telegram is to take it for."""

    file: OutgoingFile
    form: str


async def send(api: Api, part: Part) -> Receipt:
    """Send a part: one call, or several where its files do not fit into one album.

    Raises:
        Uncertain: some of it went and some did not, or nobody knows. ChannelError: nothing of it went.
    """
    batches = _batches(part)
    ids: list[str] = []
    for position, batch in enumerate(batches or [[]]):
        is_last = position + 1 >= len(batches)
        has_text = is_last if part.buttons else position == 0  # words stand where the buttons are
        common: dict[str, Any] = {"chat_id": part.peer, **_place(part)}
        if part.reply_to and part.is_first and position == 0 and (replied := _replied(part)):
            common["reply_parameters"] = ReplyParameters(message_id=replied, allow_sending_without_reply=True)
        if part.buttons and is_last:
            common["reply_markup"] = _keyboard(part.buttons)
        try:
            found = await send_batch(api, batch, part.text if has_text else "", common)
        except ChannelError as error:
            if not ids:
                raise
            raise Uncertain(
                f"{len(ids)} of {len(part.files)} files went, then something failed: {error}. "
                "Look at what is missing in the chat and send only that",
                code=error.code,
            ) from error
        ids += _ids(found, part)
    return Receipt(tuple(ids))


async def send_batch(api: Api, batch: Sequence[Piece], text: str, common: dict[str, Any]) -> Fields:
    """Send what one call can take: words, a file, an album. What Telegram does not take as it is goes as a document.

    Raises:
        ChannelError: it was not sent, or we cannot know.
    """
    if not batch:
        if not text.strip():
            raise Undeliverable("There is nothing to send: no words, no files", code="empty")
        return await api(SendMessage(text=text, **common))
    try:
        return await api(_method(batch, text, common))
    except Unfit:
        return await api(_method([Piece(piece.file, "document") for piece in batch], text, common))


def _method(batch: Sequence[Piece], text: str, common: dict[str, Any]) -> TelegramMethod[Any]:
    caption = text or None
    if len(batch) == 1:
        file, form = batch[0]
        return _SENDS[form](**{form: Upload(file)}, caption=caption, **common)
    media = [
        _IN_ALBUM[form](media=Upload(file), caption=caption if position == 0 else None)
        for position, (file, form) in enumerate(batch)
    ]
    return SendMediaGroup(media=media, **common)


def _batches(part: Part) -> list[list[Piece]]:
    """Put files together that one call can take, in their order. An album bears no buttons: the last file does."""
    pieces = [Piece(file, form_of(file)) for file in part.files]
    alone = pieces[-1:] if part.buttons else []
    together = pieces[: len(pieces) - len(alone)]
    return [*albums(together), *([alone] if alone else [])]


def albums(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Put files that follow each other together as far as one call can take them."""
    for _, alike in groupby(pieces, key=lambda piece: "visual" if piece.form in ("photo", "video") else piece.form):
        run = list(alike)
        most = 1 if run[0].form == "voice" else MOST_IN_ALBUM
        yield from (run[start : start + most] for start in range(0, len(run), most))


def form_of(file: OutgoingFile) -> str:
    """Return what a file is best sent as: https://core.telegram.org/bots/api#sendphoto and the following."""
    kind = file.content_type.partition(";")[0].strip().lower()
    if file.kind in ("image", "sticker") and kind in _PHOTOS and file.size <= LARGEST_PHOTO:
        return "photo"
    if file.kind == "video" and kind in _VIDEOS:
        return "video"
    if file.kind == "voice" and kind in _VOICES:
        return "voice"
    if file.kind == "audio" and kind in _MUSIC:
        return "audio"
    return "document"


def _place(part: Part) -> dict[str, Any]:
    business, topic = place_of(part.thread)
    found = {"business_connection_id": business or None, "message_thread_id": topic}
    return {name: value for name, value in found.items() if value is not None}


def _replied(part: Part) -> int | None:
    """Return the number of the message that is answered, if it is one of this chat."""
    chat, _, number = part.reply_to.rpartition(":")
    return int(number) if number.isdecimal() and chat.rpartition(":")[2] == part.peer else None


def _keyboard(buttons: Sequence[Button]) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(
        inline_keyboard=[[InlineKeyboardButton(text=button.text, callback_data=data_of(button))] for button in buttons]
    )


def data_of(button: Button) -> str:
    """Return what a button brings back.

    Where it has no payload its words are cut to fit: they are read from the button itself when it is pressed.

    Raises:
        Undeliverable: the payload is too long, and half of one is of no use.
    """
    if len(button.payload.encode()) > LONGEST_DATA:
        raise Undeliverable(
            f"The payload of the button {button.text!r} is longer than the {LONGEST_DATA} bytes Telegram takes",
            code="payload",
        )
    return button.payload or button.text.encode()[:LONGEST_DATA].decode("utf-8", "ignore")


def _ids(found: Fields, part: Part) -> list[str]:
    """Return the ids of what was sent.

    Raises:
        Uncertain: Telegram said yes, but not to what.
    """
    messages = list(found.items()) if isinstance(found.value, list) else [found]
    business, _ = place_of(part.thread)
    ids = [
        message_key(str(message.whole("chat", "id") or part.peer), number, business)
        for message in messages
        if (number := message.whole("message_id"))
    ]
    if not ids:
        raise Uncertain("Telegram took the message, but did not say which it is", code="unreadable")
    return ids
