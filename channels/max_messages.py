"""What MAX calls updates, read into ours (see `channels.max`).

A person in their own dialogue is a peer by their number, as `max:<number>` is their address; a group is `chat:<id>`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

from channels.contract import ParseContext
from channels.fields import LONGEST_ID, Fields
from channels.shared_secret import same
from core.kernel import addresses
from core.kernel.addresses import PHONE, Address
from core.kernel.envelopes import Attachment, Attribution, Changed, Claim, Event, Incoming, MediaKind, Signal, Trust
from webhooks import charsets

KIND = "max"
CHAT = "chat:"
VIDEO = "video:"

_FILES: Mapping[str, MediaKind] = {
    "image": "image",
    "video": "video",
    "audio": "voice",  # recordings; a piece of music comes as a file
    "file": "file",
    "sticker": "sticker",
}
_GONE = frozenset({"bot_stopped", "dialog_removed", "bot_removed"})
_PHONE = re.compile(r"^(?:item\d+\.)?TEL[^:\r\n]{0,200}:([^\r\n]{1,100})", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(r"^FN[^:\r\n]{0,200}:([^\r\n]{1,300})", re.IGNORECASE | re.MULTILINE)


def peer_of(update: Fields) -> str:
    """Return whom an update is about; "" if nobody."""
    kind = update.text("update_type")
    message = update.at("message")
    if kind == "message_callback":
        return _group(message.at("recipient")) or update.id("callback", "user", "user_id")
    if message:
        return _group(message.at("recipient")) or _other_side(message)
    chat = update.id("chat_id")
    if chat.startswith("-") or kind == "bot_removed":
        return CHAT + chat
    return update.id("user", "user_id") or update.id("user_id")


def repeat_of(update: Fields) -> str:
    """Return what makes two deliveries of an update the same."""
    kind = update.text("update_type")
    if kind == "message_created" and update.id("message", "body", "mid"):
        about = update.id("message", "body", "mid")
    elif kind == "message_callback" and update.id("callback", "callback_id"):
        about = update.id("callback", "callback_id")
    else:
        known_as = update.id("message_id") or update.id("message", "body", "mid")
        about = f"{known_as}:{update.id('chat_id')}:{peer_of(update)}:{update.id('timestamp')}"
    key = f"{kind}:{about}"
    return key if len(key) <= LONGEST_ID else hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def read_update(update: Fields, context: ParseContext, token: str) -> Event | None:
    """Read an update; None for one we have no use for. `token` is the bot's, for proofs made with it."""
    kind, peer, at = update.text("update_type"), peer_of(update), update.moment("timestamp")
    if peer in ("", CHAT):
        return None
    if kind == "message_created":
        return _message(update, peer, context, token)
    if kind == "message_callback":
        return _pressed(update, peer)
    if kind == "message_edited":
        body = update.at("message", "body")
        if not body.id("mid"):
            return None
        return Changed(external_id=body.id("mid"), change="edited", text=body.text("text"), peer=peer, occurred_at=at)
    if kind == "message_removed":
        mid = update.id("message_id")
        return Changed(external_id=mid, change="deleted", peer=peer, occurred_at=at) if mid else None
    person = update.at("user")
    if kind == "bot_started":
        origin = Attribution(reference=update.text("payload")[:2_000] or None)
        claims, name = _claims(person), _name(person)
        return Signal(kind="started", peer=peer, occurred_at=at, claims=claims, name=name, attribution=origin)
    if kind in _GONE:
        claims = () if peer.startswith(CHAT) else _claims(person)
        return Signal(kind="gone", peer=peer, occurred_at=at, claims=claims)
    return None


def _group(recipient: Fields) -> str:
    """Return the peer that a message's place is; "" for a dialogue with one person."""
    if recipient.text("chat_type") in ("", "dialog"):
        return ""
    return CHAT + recipient.id("chat_id")


def _other_side(message: Fields) -> str:
    if message.flag("sender", "is_bot"):
        return message.id("recipient", "user_id")
    return message.id("sender", "user_id")


def _claims(person: Fields) -> tuple[Claim, ...]:
    number = person.id("user_id")
    return (Claim(Address(KIND, number), number, Trust.ATTESTED),) if number else ()


def _name(person: Fields) -> str:
    parts = (person.text("first_name"), person.text("last_name"))
    return " ".join(part for part in parts if part) or person.text("name")


def _message(update: Fields, peer: str, context: ParseContext, token: str) -> Event | None:
    message = update.at("message")
    recipient, sender, body = message.at("recipient"), message.at("sender"), message.at("body")
    if recipient.text("chat_type") == "channel" or not (peer.startswith(CHAT) or sender):
        return None
    is_group, is_bot = peer.startswith(CHAT), sender.flag("is_bot")
    lines: list[str] = []
    attachments: list[Attachment] = []
    claims = list(_claims(sender))
    if is_bot and not is_group:
        claims = [Claim(Address(KIND, peer), peer, Trust.ATTESTED)]
    for attached in body.items("attachments"):
        _read_attachment(attached, lines, attachments)
        if attached.text("type") == "contact":
            claims += _own_phone(attached.at("payload"), sender, context, token)
    quoted: list[str] = []
    link = message.at("link")
    if link.text("type") == "forward":
        quoted.append(link.text("message", "text"))
        for attached in link.items("message", "attachments"):
            _read_attachment(attached, quoted, attachments)
    text = "\n".join(filter(None, (body.text("text"), *lines)))
    if not (text or attachments or any(quoted)):
        return None
    return Incoming(
        external_id=body.id("mid"),
        peer=peer,
        occurred_at=message.moment("timestamp") or update.moment("timestamp"),
        claims=tuple(claims),
        name="" if is_bot and not is_group else _name(sender),
        thread=peer if is_group else "",
        text=text,
        quoted="\n".join(line for line in quoted if line),
        language=update.text("user_locale")[:20],
        reply_to=link.id("message", "mid") if link.text("type") == "reply" else "",
        attachments=tuple(attachments),
        is_ours=is_bot and not is_group,
        is_automatic=is_bot and is_group,
    )


def _pressed(update: Fields, peer: str) -> Event:
    """Read the press of a button; what stood on it is found in the message it hangs on."""
    callback, body = update.at("callback"), update.at("message", "body")
    payload = callback.text("payload")
    label = ""
    for attached in body.items("attachments"):
        for row in attached.items("payload", "buttons"):
            for button in row.items():
                if payload and button.text("payload") == payload:
                    label = label or button.text("text")
    text = label or payload
    return Incoming(
        external_id=callback.id("callback_id"),
        peer=peer,
        occurred_at=callback.moment("timestamp") or update.moment("timestamp"),
        claims=_claims(callback.at("user")),
        name=_name(callback.at("user")),
        thread=peer if peer.startswith(CHAT) else "",
        text=text,
        language=update.text("user_locale")[:20],
        reply_to=body.id("mid"),
        fields={"payload": payload} if payload not in ("", text) else {},
    )


def _read_attachment(attached: Fields, lines: list[str], attachments: list[Attachment]) -> None:
    """Add what hangs on a message: a file, or a line for what is none."""
    kind, payload = attached.text("type"), attached.at("payload")
    if kind in _FILES:
        reference = payload.text("url")
        if kind == "video" and payload.text("token"):
            reference = VIDEO + payload.text("token")  # `url` is a page to watch it on
        size, name = max(0, attached.whole("size") or 0), attached.text("filename")
        if reference:
            attachments.append(Attachment(name, "", size, reference=reference, kind=_FILES[kind]))
        if attached.text("transcription"):
            lines.append(attached.text("transcription"))
    elif kind == "contact":
        card = _card(payload)
        name = _found(_NAME, card) or _name(payload.at("max_info"))
        lines.append(": ".join(filter(None, (name, _found(_PHONE, card)))))
    elif kind == "location":
        latitude, longitude = attached.text("latitude"), attached.text("longitude")
        if latitude and longitude:
            lines.append(f"https://maps.google.com/?q={latitude},{longitude}")
    elif kind == "share":
        lines += [attached.text("title"), payload.text("url")]
    elif kind and kind != "inline_keyboard":
        lines.append(f"[{kind[:50]}]")


def _card(payload: Fields) -> str:
    """Return a contact's vCard with real ends of lines, however MAX escaped them."""
    card: Any = payload.at("vcf_info").value
    return card.replace("\\r\\n", "\r\n") if isinstance(card, str) else ""


def _found(pattern: re.Pattern[str], card: str) -> str:
    found = pattern.search(card)
    return charsets.clean(found[1].strip()) if found else ""


def _own_phone(payload: Fields, sender: Fields, context: ParseContext, token: str) -> list[Claim]:
    """Return the phone on a card if it is the sender's own; anybody's card may be sent on.

    MAX vouches for it where the button "share my number" was pressed: `hash` is then HMAC-SHA256 of the card under the
    bot's token.
    """
    card, owner = _card(payload), payload.id("max_info", "user_id")
    typed = _found(_PHONE, card)
    number = addresses.phone(typed if typed.startswith(("+", "8")) else f"+{typed}", context.default_country)
    if not number or owner not in ("", sender.id("user_id")):
        return []
    proof = hmac.new(token.encode(), card.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    is_proved = bool(token) and same(payload.text("hash").lower(), proof)
    if not (is_proved or owner):
        return []
    return [Claim(Address(PHONE, number), typed, Trust.ATTESTED if is_proved else Trust.TYPED)]
