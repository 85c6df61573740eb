"""What Viber calls messages: reading theirs, writing ours, and what its refusals mean (see `channels.viber`)."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from channels.contract import OutgoingFile, ParseContext, Part
from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Undeliverable,
)
from channels.fields import Fields
from core.kernel import addresses
from core.kernel.addresses import PHONE, Address
from core.kernel.envelopes import Attachment, Claim, Incoming, MediaKind, Trust

NO_ADDRESS = "the hub has no public address. Set SWITCHYARD_PUBLIC_URL, then set the channel up again"
_STICKERS = "https://viber.github.io/docs/img/stickers/{}.png"
_FILES: Mapping[str, tuple[MediaKind, str]] = {
    "picture": ("image", "image/jpeg"),
    "video": ("video", "video/mp4"),
    "file": ("file", ""),
}


def read_message(event: Fields, claim: Claim, context: ParseContext) -> Incoming | None:
    """Read what somebody wrote, None if that is nothing; `claim` is the address it came from."""
    message, sender = event.at("message"), event.text("sender", "name")
    lines, attachments, claims = [message.text("text")], [], [claim]
    kind, media = message.text("type"), message.text("media").strip()
    if kind in _FILES and media:
        sort, content_type = _FILES[kind]
        size = max(0, message.whole("size") or 0)
        attachments.append(Attachment(message.text("file_name"), content_type, size, reference=media, kind=sort))
    elif kind == "sticker":
        number = message.id("sticker_id")
        url = media or (_STICKERS.format(number) if number.isdecimal() else "")
        if url:
            attachments.append(Attachment("", "image/png", 0, reference=url, kind="sticker"))
    elif kind == "contact":
        name, phone = message.text("contact", "name"), message.text("contact", "phone_number")
        lines.append(": ".join(filter(None, (name, phone))))
        # The button "share my phone" looks like a card of anybody: only one under the sender's own name is theirs.
        number = addresses.phone(phone, context.default_country) or ""
        if number and sender and name.strip().casefold() == sender.strip().casefold():
            claims.append(Claim(Address(PHONE, number), phone, Trust.TYPED))
    elif kind == "location":
        latitude, longitude = message.text("location", "lat"), message.text("location", "lon")
        if latitude and longitude:
            lines += [message.text("location", "address"), f"https://maps.google.com/?q={latitude},{longitude}"]
    elif media:
        lines.append(media)
    text = "\n".join(line for line in lines if line)
    if kind == "text" and not text:
        return None
    return Incoming(
        external_id=event.id("message_token"),
        peer=claim.address.value,
        occurred_at=event.moment("timestamp"),
        claims=tuple(claims),
        name=sender,
        language=event.text("sender", "language")[:20],
        text=text or ("" if attachments else f"[{kind[:50]}]"),
        attachments=tuple(attachments),
    )


def file_message(file: OutgoingFile, text: str) -> dict[str, Any]:
    """Write a message of one file.

    Raises:
        Undeliverable: Viber has no way to get it, or no place for the text.
    """
    if not file.url:
        raise Undeliverable(f"{file.name} was not sent: Viber fetches files itself, and {NO_ADDRESS}")
    if file.kind == "image":
        return {"type": "picture", "text": text, "media": file.url}
    if file.kind == "video":
        return {"type": "video", "text": text, "media": file.url, "size": file.size}
    if text:
        raise Undeliverable(f"{file.name} was not sent: Viber takes no text together with a file")
    return {"type": "file", "media": file.url, "size": file.size, "file_name": file.name[-256:]}


def keyboard(part: Part) -> dict[str, Any]:
    """Lay the buttons out one a row; their text is read as HTML by Viber."""
    return {
        "Type": "keyboard",
        "DefaultHeight": False,
        "Buttons": [
            {
                "Columns": 6,
                "Rows": 1,
                "ActionType": "reply",
                "ActionBody": button.payload or button.text,
                "Text": html.escape(button.text, quote=False),
                "TextSize": "regular",
            }
            for button in part.buttons
        ],
    }


def refusal(status: int, said: str) -> ChannelError:
    """Return what a status other than 0 means."""
    code = str(status)
    if status in (2, 8, 15):
        return Unauthorised(
            f"Viber does not take the bot's token ({said}). Enter the token of the bot again", code=code
        )
    if status in (7, 9):
        return Misconfigured(f"Viber has blocked or suspended the bot ({said}). Ask Viber's support", code=code)
    if status in (1, 10):
        return Misconfigured(
            f"Viber cannot call us ({said}). See that the hub is reachable over HTTPS from the internet, with a "
            "certificate of a known authority, and set the channel up again",
            code=code,
        )
    if status == 12:
        return Throttled(f"Viber says we are too fast ({said})", 10, code=code)
    if status == 5:
        return RecipientGone(f"This person is not on Viber any more ({said})", code=code)
    if status == 6:
        return RecipientGone(
            f"This person has not subscribed to the bot, or left it ({said})", code=code, opted_out=True
        )
    if status in (23, 24):
        return Undeliverable(f"Viber's paid allowance for writing first is used up ({said}). Top it up", code=code)
    if status in (3, 4, 11, 13, 14, 16, 17, 18, 19, 20, 21, 22):
        return Undeliverable(f"Viber refuses the message: {said}", code=code)
    return Temporary(f"Viber failed: {status} {said}".strip(), code=code)
