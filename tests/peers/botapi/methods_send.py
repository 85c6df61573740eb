"""Methods that send: words, files, albums, places, people."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from tests.peers.botapi import media
from tests.peers.botapi.calls import Call, Methods
from tests.peers.botapi.chats import Chat, Json, Message
from tests.peers.botapi.errors import bad
from tests.peers.botapi.world import World

MOST_IN_ALBUM = 10
_ACTIONS = {
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "upload_document",
    "choose_sticker",
    "find_location",
    "record_video_note",
    "upload_video_note",
}


async def send_message(call: Call) -> Json:
    """https://core.telegram.org/bots/api#sendmessage."""
    chat = call.chat()
    return call.shown(call.send(chat, call.words()))


async def _send_file(call: Call, kind: str) -> Json:
    """https://core.telegram.org/bots/api#sendphoto and its like."""
    chat = call.chat()
    thread = call.thread(chat)
    caption = {} if kind in ("sticker", "video_note") else call.caption()
    file = await media.given(call, kind)
    content = {**media.shown(file, call.arguments.values), **caption}
    content |= _flags(call.arguments.flag, kind, caption)
    return call.shown(call.send(chat, content, thread=thread))


def _flags(flag: Any, kind: str, caption: Json) -> Json:
    found: Json = {}
    if kind in ("photo", "video", "animation"):
        if flag("has_spoiler"):
            found["has_media_spoiler"] = True
        if caption and flag("show_caption_above_media"):
            found["show_caption_above_media"] = True
    return found


async def send_media_group(call: Call) -> list[Json]:
    """https://core.telegram.org/bots/api#sendmediagroup: 2-10; documents and music only among their own kind."""
    chat = call.chat()
    items = call.arguments.object("media")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise bad("can't parse media: expected an Array of InputMedia")
    if not 2 <= len(items) <= MOST_IN_ALBUM:
        raise bad("wrong number of media in the album: 2-10 are expected" if items else "there are no messages to send")
    kinds = {str(item.get("type")) for item in items}
    if not kinds <= {"photo", "video", "audio", "document"} or (len(kinds) > 1 and kinds != {"photo", "video"}):
        raise bad("can't use the media of the specified type in the album")
    if call.arguments.object("reply_markup"):
        raise bad("reply markup is not allowed in media groups")
    thread = call.thread(chat)
    contents = []
    for item in items:
        file = await media.given(call, item["type"], item.get("media") or "")
        contents.append({**media.shown(file, item), **call.caption(item)})
    group = str(13_000_000_000_000_000 + secrets.randbits(40))
    return [call.shown(call.send(chat, {"media_group_id": group, **content}, thread=thread)) for content in contents]


def location(call: Call) -> Json:
    """Return a `Location` of the arguments."""
    found = {name: call.arguments.decimal(name) for name in ("latitude", "longitude")}
    if not (-90 <= found["latitude"] <= 90 and -180 <= found["longitude"] <= 180):
        raise bad("wrong location specified")
    return found


async def send_location(call: Call) -> Json:
    """https://core.telegram.org/bots/api#sendlocation."""
    chat = call.chat()
    place = location(call)
    if period := call.arguments.whole("live_period"):
        if not (60 <= period <= 86400 or period == 0x7FFFFFFF):
            raise bad("wrong live location period specified")
        place["live_period"] = period
    return call.shown(call.send(chat, {"location": place}))


async def send_venue(call: Call) -> Json:
    """https://core.telegram.org/bots/api#sendvenue."""
    chat = call.chat()
    venue = {
        "location": location(call),
        "title": call.arguments.text("title"),
        "address": call.arguments.text("address"),
    }
    if not venue["title"] or not venue["address"]:
        raise bad("venue title and address must be non-empty")
    return call.shown(call.send(chat, {"location": venue["location"], "venue": venue}))


async def send_contact(call: Call) -> Json:
    """https://core.telegram.org/bots/api#sendcontact."""
    chat = call.chat()
    names = ("phone_number", "first_name", "last_name", "vcard")
    contact = {name: call.arguments.text(name) for name in names if call.arguments.text(name)}
    if "phone_number" not in contact:
        raise bad("phone number is empty")
    if "first_name" not in contact:
        raise bad("first name is empty")
    return call.shown(call.send(chat, {"contact": contact}))


async def send_chat_action(call: Call) -> bool:
    """https://core.telegram.org/bots/api#sendchataction."""
    chat, action = call.chat(), call.arguments.text("action").lower()
    if action not in _ACTIONS:
        raise bad("wrong parameter action in request")
    call.thread(chat)
    chat.actions.append((call.bot.id, action))
    chat.changed.ring()
    return True


# --- copies ---

_KEPT = (
    "text",
    "entities",
    "link_preview_options",
    "caption",
    "caption_entities",
    "location",
    "venue",
    "contact",
    "has_media_spoiler",
    *media.KINDS,
)


def _original(call: Call, what_for: str, number: int | None = None) -> Message:
    source = call.chat("from_chat_id", writes=False)
    if number is None:
        return call.message(source, what_for)
    if (found := source.messages.get(number)) is None:
        raise bad(f"message to {what_for} not found")
    return found


def _content(message: Message, what_for: str) -> Json:
    if message.is_service:
        raise bad(f"message can't be {'copied' if what_for == 'copy' else 'forwarded'}")
    if message.data.get("has_protected_content"):
        raise bad(f"message can't be {'copied' if what_for == 'copy' else 'forwarded'}")
    return {name: message.data[name] for name in _KEPT if name in message.data}


async def copy_message(call: Call) -> Json:
    """https://core.telegram.org/bots/api#copymessage."""
    chat = call.chat()
    content = _content(_original(call, "copy"), "copy")
    if "caption" in call.arguments.values and "text" not in content:
        content = {name: value for name, value in content.items() if not name.startswith("caption")}
        content |= call.caption()
    return {"message_id": call.send(chat, content).id}


def _origin(world: World, message: Message) -> Json:
    if "forward_origin" in message.data:
        return {"forward_origin": message.data["forward_origin"]}
    origin = {"type": "user", "sender_user": message.author.json(), "date": message.data["date"]}
    return {"forward_origin": origin}


def _forward(call: Call, chat: Chat, message: Message) -> Message:
    content = {**_origin(call.world, message), **_content(message, "forward")}
    return call.world.post(chat, call.bot.user, content, thread=call.thread(chat))


async def forward_message(call: Call) -> Json:
    """https://core.telegram.org/bots/api#forwardmessage."""
    return call.shown(_forward(call, call.chat(), _original(call, "forward")))


async def _several(call: Call, what_for: str) -> list[Json]:
    """https://core.telegram.org/bots/api#copymessages, #forwardmessages: 1-100, in rising order, lost ones skipped."""
    chat, numbers = call.chat(), call.arguments.wholes("message_ids")
    if numbers != sorted(set(numbers)):
        raise bad("message identifiers must be in a strictly increasing order")
    source = call.chat("from_chat_id", writes=False)
    found = [message for number in numbers if (message := source.messages.get(number)) and not message.is_service]
    if not found:
        raise bad(f"there are no messages to {what_for}")
    if what_for == "forward":
        return [{"message_id": _forward(call, chat, message).id} for message in found]
    return [{"message_id": call.send(chat, _content(message, "copy")).id} for message in found]


METHODS: Methods = {
    "sendMessage": send_message,
    "sendMediaGroup": send_media_group,
    "sendLocation": send_location,
    "sendVenue": send_venue,
    "sendContact": send_contact,
    "sendChatAction": send_chat_action,
    "copyMessage": copy_message,
    "forwardMessage": forward_message,
    "copyMessages": partial(_several, what_for="copy"),
    "forwardMessages": partial(_several, what_for="forward"),
    **{"send" + kind.title().replace("_", ""): partial(_send_file, kind=kind) for kind in media.KINDS},
}
