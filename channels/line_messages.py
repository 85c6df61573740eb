"""What LINE calls messages: reading theirs, writing ours (see `channels.line`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from channels.contract import Button, OutgoingFile, Part
from channels.errors import Undeliverable
from channels.fields import LONGEST_ID, Fields
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Changed, Claim, Event, Incoming, MediaKind, Signal, Trust

KIND = "line"
_REPLY_WITHIN = timedelta(seconds=50)  # LINE says about a minute
_STICKERS = "https://stickershop.line-scdn.net/stickershop/v1/sticker/{}/android/sticker.png"
_FILES: Mapping[str, tuple[MediaKind, str]] = {
    "image": ("image", "image/jpeg"),
    "video": ("video", "video/mp4"),
    "audio": ("voice", "audio/mp4"),
    "file": ("file", ""),
}
_MOST_BUTTONS = 13
_LONGEST_LABEL = 20


def peer_of(event: Fields) -> str:
    """Return whom an answer to an event goes to: the group or room it came from, else the person."""
    source = event.at("source")
    return source.id("groupId") or source.id("roomId") or source.id("userId")


def read_event(event: Fields) -> Event | None:
    """Read one event; None for one we have no use for."""
    peer, at, kind = peer_of(event), event.moment("timestamp"), event.text("type")
    if not peer:
        return None
    if kind == "message":
        return _message(event, peer) if event.text("message", "type") else None
    if kind == "postback":
        # LINE sends what the button holds, not what stood on it
        data, moment = event.text("postback", "data"), event.at("postback", "params")
        chosen = next((text for name in ("datetime", "date", "time") if (text := moment.text(name))), "")
        return _incoming(event, peer, event.id("webhookEventId"), "\n".join(filter(None, (data, chosen))))
    if kind == "unsend" and (unsent := event.id("unsend", "messageId")):
        return Changed(external_id=unsent, change="deleted", peer=peer, occurred_at=at)
    if kind == "follow":
        return Signal(kind="opted_in", peer=peer, occurred_at=at, claims=_claims(event))
    if kind in ("unfollow", "leave"):
        return Signal(kind="gone", peer=peer, occurred_at=at, claims=_claims(event))
    return None


def _claims(event: Fields) -> tuple[Claim, ...]:
    person = event.id("source", "userId")
    return (Claim(Address(KIND, person), person, Trust.ATTESTED),) if person else ()


def _message(event: Fields, peer: str) -> Incoming:
    message = event.at("message")
    kind, number = message.text("type"), message.id("id")
    text, attachments = message.text("text"), []
    if kind in _FILES:
        sort, content_type = _FILES[kind]
        reference = f"{kind}:{number}"
        if message.text("contentProvider", "type") == "external":
            reference = message.text("contentProvider", "originalContentUrl")
        size = max(0, message.whole("fileSize") or 0)
        attachments.append(Attachment(message.text("fileName"), content_type, size, reference=reference, kind=sort))
    elif kind == "sticker":
        sticker = message.id("stickerId")
        if sticker.isdecimal():
            attachments.append(Attachment("", "image/png", 0, reference=_STICKERS.format(sticker), kind="sticker"))
    elif kind == "location":
        latitude, longitude = message.text("latitude"), message.text("longitude")
        place = f"https://maps.google.com/?q={latitude},{longitude}" if latitude and longitude else ""
        text = "\n".join(filter(None, (message.text("title"), message.text("address"), place)))
    return _incoming(
        event,
        peer,
        number,
        text or ("" if attachments else f"[{kind[:50]}]"),
        attachments=tuple(attachments),
        reply_to=message.id("quotedMessageId"),
        group=message.id("imageSet", "id"),
    )


def _incoming(event: Fields, peer: str, external_id: str, text: str, **more: Any) -> Incoming:
    claims, at = _claims(event), event.moment("timestamp")
    context = {}
    if at is not None and (token := event.text("replyToken")):
        context = {"reply_token": token[:LONGEST_ID], "reply_until": (at + _REPLY_WITHIN).isoformat()}
    thread = "" if peer == event.id("source", "userId") else peer
    return Incoming(
        external_id=external_id,
        peer=peer,
        occurred_at=at,
        claims=claims,
        thread=thread,
        text=text,
        context=context,
        **more,
    )


def messages_of(part: Part) -> list[dict[str, Any]]:
    """Write a part as the messages it becomes: its pictures, then its text with the buttons under it.

    Raises:
        Undeliverable: LINE has no way to get a file.
    """
    messages = [_file(file) for file in part.files]
    if part.text:
        messages.append({"type": "text", "text": part.text})
    if part.buttons and messages:
        items = [{"type": "action", "action": _action(button)} for button in part.buttons[:_MOST_BUTTONS]]
        messages[-1]["quickReply"] = {"items": items}
    return messages


def _file(file: OutgoingFile) -> dict[str, Any]:
    if not file.url:
        raise Undeliverable(
            f"{file.name} was not sent: LINE fetches files itself, and the hub has no public address. "
            "Set SWITCHYARD_PUBLIC_URL"
        )
    if file.kind == "image" and file.url.startswith("https://"):
        return {"type": "image", "originalContentUrl": file.url, "previewImageUrl": file.url}
    return {"type": "text", "text": f"{file.name}\n{file.url}"}


def _action(button: Button) -> dict[str, str]:
    label = button.text[:_LONGEST_LABEL]
    if button.payload and button.payload != button.text:
        return {"type": "postback", "label": label, "data": button.payload[:300], "displayText": button.text[:300]}
    return {"type": "message", "label": label, "text": button.text[:300]}
