"""What a Telegram message holds: its words, also where it says them otherwise, and its files.

The keys are those of https://core.telegram.org/bots/api#message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from channels.fields import Fields
from core.kernel.envelopes import Attachment, MediaKind

# key → kind, extension and type where Telegram does not say them
_FILES: Mapping[str, tuple[MediaKind, str, str]] = {
    "video": ("video", ".mp4", "video/mp4"),
    "video_note": ("video", ".mp4", "video/mp4"),
    "animation": ("video", ".mp4", "video/mp4"),
    "voice": ("voice", ".ogg", "audio/ogg"),
    "audio": ("audio", ".mp3", "audio/mpeg"),
    "document": ("file", "", "application/octet-stream"),
}


def number_at(said: Fields, *path: str) -> str:
    """Return an id, which with Telegram is a whole number of at most 52 bits; "" where there is none."""
    found = said.whole(*path)
    return str(found) if found and abs(found) < 2**63 else ""


def one_line(text: str) -> str:
    """Put a name on one line and keep it to what is a name."""
    return " ".join(text.split())[:300]


def name_of(person: Fields) -> str:
    """Return the name of a person, or their handle where they gave none."""
    return one_line(f"{person.text('first_name')} {person.text('last_name')}") or one_line(person.text("username"))


def words(said: Fields) -> tuple[str, dict[str, str]]:
    """Return what a message says in words, also where it says it otherwise, and what is to be told beside it."""
    fields: dict[str, str] = {}
    lines = [said.text("text") or said.text("caption")]
    for name in ("entities", "caption_entities"):
        lines += [url for item in said.items(name) if (url := item.text("url")) and url not in lines[0]]
    if place := _place(said):
        lines.append(place)
    if said.at("contact"):
        lines.append(_card(said.at("contact")))
    if data := said.text("web_app_data", "data"):
        label = said.text("web_app_data", "button_text")
        is_object = _is_object(data)
        lines.append(label if label and is_object else data)
        if is_object:
            fields["payload"] = data
    if said.at("poll"):
        lines += [said.text("poll", "question"), *(f"– {item.text('text')}" for item in said.items("poll", "options"))]
    if said.at("checklist"):
        tasks = said.items("checklist", "tasks")
        lines += [said.text("checklist", "title"), *(f"– {item.text('text')}" for item in tasks)]
    if said.at("dice"):
        lines.append(f"{said.text('dice', 'emoji')} {said.text('dice', 'value')}".strip())
    if (teller := said.id("story", "chat", "username")) and (story := number_at(said, "story", "id")):
        lines.append(f"https://t.me/{teller}/s/{story}")
    if source := _source(said):
        fields["forwarded_from"] = source
    return "\n".join(line for line in lines if line.strip()), fields


def _place(said: Fields) -> str:
    """Return a place as its name, address and a link to a map; a venue carries its location twice."""
    found = []
    for name in ("latitude", "longitude"):
        value = said.at("location", name).value
        if value is None:
            value = said.at("venue", "location", name).value
        if isinstance(value, bool) or not isinstance(value, int | float) or not -180 <= value <= 180:
            return ""
        found.append(f"{value:.6f}".rstrip("0").rstrip("."))
    called = ", ".join(text for key in ("title", "address") if (text := one_line(said.text("venue", key))))
    return "\n".join(line for line in (called, f"https://maps.google.com/?q={','.join(found)}") if line)


def _card(contact: Fields) -> str:
    name, phone = name_of(contact), one_line(contact.text("phone_number"))
    return f"{name} ({phone})" if name and phone else name or phone


def _is_object(data: str) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _source(said: Fields) -> str:
    """Return whose words were forwarded, as Telegram writes it since 2023 and before."""
    origin = said.at("forward_origin")
    return (
        name_of(origin.at("sender_user"))
        or one_line(origin.text("sender_user_name"))
        or one_line(origin.text("sender_chat", "title"))
        or one_line(origin.text("chat", "title"))
        or name_of(said.at("forward_from"))
        or one_line(said.text("forward_sender_name"))
        or one_line(said.text("forward_from_chat", "title"))
    )


def attachments_of(said: Fields, number: str) -> Iterator[Attachment]:
    """Yield the files of a message. `number` of the message names those that have no name of their own."""
    sizes = [item for item in said.items("photo") if item.id("file_id")]
    if sizes:
        largest = max(sizes, key=lambda size: (_pixels(size), size.whole("file_size") or 0))
        yield _attachment(largest, "image", f"photo_{number}.jpg", "image/jpeg")
    if sticker := said.at("sticker"):
        extension, content_type = ".webp", "image/webp"
        if sticker.flag("is_animated"):
            extension, content_type = ".tgs", "application/x-tgsticker"
        elif sticker.flag("is_video"):
            extension, content_type = ".webm", "video/webm"
        if sticker.id("file_id"):
            yield _attachment(sticker, "sticker", f"sticker_{number}{extension}", content_type)
    for key, (kind, extension, content_type) in _FILES.items():
        found = said.at(key)
        if not found.id("file_id") or (key == "document" and said.at("animation")):
            continue  # an animation is told twice, for old bots also as a document
        name = one_line(re.split(r"[\\/]", found.text("file_name"))[-1])[-200:] or f"{key}_{number}{extension}"
        yield _attachment(found, kind, name, found.id("mime_type")[:100].lower() or content_type)


def _pixels(size: Fields) -> int:
    return (size.whole("width") or 0) * (size.whole("height") or 0)


def _attachment(found: Fields, kind: MediaKind, name: str, content_type: str) -> Attachment:
    size = found.whole("file_size") or 0
    return Attachment(
        name=name,
        content_type=content_type,
        size=size if 0 < size < 2**53 else 0,
        reference=found.id("file_id"),
        kind=kind,
    )
