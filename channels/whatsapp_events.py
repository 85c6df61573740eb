"""What WhatsApp tells of a number: messages and changes to them; `channels.whatsapp_reports` reads the rest.

Meta's own hook and 360dialog's carry the same objects, so this reads them for both. Nothing here raises: what is not
what it should be reads as absent, and what nobody knows becomes no event.

Source    Meta, "WhatsApp Cloud API: Webhooks" (messages, edit, revoke, smb_message_echoes), and the public payloads of
          open-source gateways. The 72 hours after an advertisement are from memory
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from channels import whatsapp_reports
from channels.fields import Fields
from channels.whatsapp_reports import said
from core.kernel import addresses
from core.kernel.addresses import PHONE, Address
from core.kernel.envelopes import (
    Attachment,
    Attribution,
    Changed,
    Claim,
    Event,
    IdentityChanged,
    Incoming,
    MediaKind,
    Signal,
    Trust,
)

SCHEME = "whatsapp"
WINDOW = timedelta(hours=24)
WINDOW_AFTER_AD = timedelta(hours=72)
_MEDIA: dict[str, MediaKind] = {
    "image": "image",
    "audio": "audio",
    "voice": "voice",
    "video": "video",
    "document": "file",
    "sticker": "sticker",
}
_ENDINGS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "audio/ogg": ".ogg",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/aac": ".aac",
    "audio/amr": ".amr",
    "video/mp4": ".mp4",
    "video/3gpp": ".3gp",
    "application/pdf": ".pdf",
}


def read(document: Fields, kind: str, received_at: datetime) -> Iterator[Event]:
    """Read every change of every entry. `kind` begins the accounts; "": all events are the called connection's."""
    seen: set[tuple[str, str]] = set()
    for entry in document.items("entry"):
        for change in entry.items("changes"):
            value = change.at("value")
            number = value.id("metadata", "phone_number_id")
            account = f"{kind}:{number}" if kind and number else ""
            names = _names(value)
            for name, is_ours in (("messages", False), ("message_echoes", True)):
                for message in value.items(name):
                    key = (account, message.id("id"))
                    if key[1] and key in seen:
                        continue
                    seen.add(key)
                    event = _message(message, account, names, received_at, is_ours)
                    if event is not None:
                        yield event
            for status in value.items("statuses"):
                yield from whatsapp_reports.status(status, account)
            for error in value.items("errors"):
                yield whatsapp_reports.problem(error, account)
            yield from whatsapp_reports.account_news(change.text("field"), value, entry.id("id"))


def peers(document: Fields) -> Iterator[str]:
    """Name whom the events are about, cheaply, for the order in which requests are worked off."""
    for entry in document.items("entry"):
        for change in entry.items("changes"):
            for message in change.items("value", "messages"):
                yield message.id("from") or message.id("from_user_id")
            for message in change.items("value", "message_echoes"):
                yield message.id("to") or message.id("to_user_id")
            for status in change.items("value", "statuses"):
                yield status.id("recipient_id") or status.id("recipient_user_id")


def claims_of(number: str, user: str = "") -> tuple[Claim, ...]:
    """Return the addresses of somebody: the WhatsApp id, the phone it is, and the id within our business.

    `number` is kept as it is, though Brazil, Mexico and Argentina dial other digits: answers go to it.
    """
    found = []
    if number:
        found.append(Claim(Address(SCHEME, number), number, Trust.ATTESTED))
        if is_number(number) and (phone := addresses.phone(f"+{number}", "")):
            found.append(Claim(Address(PHONE, phone), number, Trust.ATTESTED))
    if user and user != number:
        found.append(Claim(Address(SCHEME, user), user, Trust.ATTESTED))
    return tuple(found)


def is_number(peer: str) -> bool:
    """Tell a phone's digits from an id within our business (`US.1234`), which somebody without a number has."""
    return peer.isascii() and peer.isdigit()


def place(latitude: str, longitude: str, *words: str) -> str:
    """Write a place so that a person can read and open it."""
    lines = [word for word in dict.fromkeys(words) if word]
    where = f"{latitude},{longitude}" if latitude and longitude else ""
    if where:
        lines.append(f"https://www.google.com/maps?q={where}")
    return "📍 " + "\n".join(lines) if lines else ""


# --- messages ---


def _names(value: Fields) -> dict[str, str]:
    names: dict[str, str] = {}
    for contact in value.items("contacts"):
        name = contact.text("profile", "name").strip() or contact.text("profile", "username").strip()
        for key in (contact.id("wa_id"), contact.id("user_id")):
            if key and name:
                names[key] = " ".join(name.split())[:300]
    return names


def _message(
    message: Fields, account: str, names: dict[str, str], received_at: datetime, is_ours: bool
) -> Event | None:
    if message.id("group_id"):
        return None
    side = "to" if is_ours else "from"
    number, user = message.id(side), message.id(f"{side}_user_id")
    peer = number or user
    if not peer:
        return None
    occurred_at = message.moment("timestamp")
    claims = claims_of(number, user) if number else claims_of(user)
    kind = message.text("type")
    if kind == "reaction":
        return _changed(message, account, peer, "reaction", message.id("reaction", "message_id"))
    if kind == "edit":
        return _changed(message, account, peer, "edited", message.id("edit", "original_message_id"))
    if kind == "revoke":
        return _changed(message, account, peer, "deleted", message.id("revoke", "original_message_id"))
    if kind == "system":
        return _new_identity(message, account, peer, occurred_at)
    name = names.get(number) or names.get(user) or ""
    referral = message.at("referral")
    attribution = _attribution(referral)
    if kind == "request_welcome":
        return Signal(
            account=account,
            peer=peer,
            occurred_at=occurred_at,
            kind="started",
            claims=claims,
            name=name,
            attribution=attribution,
        )
    text, attachment, fields = _content(message, kind)
    if title := referral.text("headline").strip():
        fields["ad_title"] = title
    window = WINDOW_AFTER_AD if referral else WINDOW
    return Incoming(
        account=account,
        peer=peer,
        occurred_at=occurred_at,
        external_id=message.id("id") or _made_id(message),
        claims=claims,
        name=name,
        text=text,
        reply_to=message.id("context", "id"),
        replies_until=None if is_ours else (occurred_at or received_at) + window,
        fields=fields,
        attachments=(attachment,) if attachment else (),
        attribution=attribution,
        is_ours=is_ours,
    )


def _content(message: Fields, kind: str) -> tuple[str, Attachment | None, dict[str, str]]:
    """Return the words of a message, its file, and what else it says."""
    if kind in _MEDIA:
        media = message.at(kind)
        return media.text("caption"), _attachment(media, kind), {}
    if kind == "button":
        text, payload = message.text("button", "text"), message.text("button", "payload")
        return text, None, {"payload": payload} if payload and payload != text else {}
    if kind == "interactive":
        return _answer(message.at("interactive"))
    if kind == "location":
        there = message.at("location")
        words = place(there.text("latitude"), there.text("longitude"), there.text("name"), there.text("address"))
        return words, None, {}
    if kind == "contacts":
        return "\n\n".join(filter(None, map(_card, message.items("contacts")))), None, {}
    if kind == "order":
        return _order(message.at("order")), None, {}
    if kind == "text" or message.text("text", "body"):
        return message.text("text", "body"), None, {}
    reason = next((said(error) for error in message.items("errors")), "")
    what = kind if kind and kind not in ("unsupported", "unknown") else "message"
    return f"[unsupported {what[:40]}: see it on the phone]" + (f" {reason}" if reason else ""), None, {}


def _attachment(media: Fields, kind: str) -> Attachment | None:
    reference = media.id("id")
    if not reference:
        return None
    content_type = media.text("mime_type")[:200]
    plain = content_type.partition(";")[0].strip().lower()
    is_voice = kind == "audio" and media.flag("voice")
    name = media.text("filename").strip()[:200] or f"{kind}{_ENDINGS.get(plain, '')}"
    size = media.whole("file_size") or 0
    return Attachment(name, content_type, max(0, size), reference=reference, kind="voice" if is_voice else _MEDIA[kind])


def _answer(interactive: Fields) -> tuple[str, None, dict[str, str]]:
    """Read a pressed button, a chosen row or a filled-in flow."""
    kind = interactive.text("type")
    chosen = interactive.at(kind)
    fields: dict[str, str] = {}
    if kind == "nfm_reply":
        try:
            answers = Fields(msgspec.json.decode(chosen.text("response_json")))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            answers = Fields(None)
        for name in answers.keys():  # noqa: SIM118 - Fields is no mapping
            answered = answers.text(name) or ", ".join(item.text() for item in answers.items(name))
            if answered and name != "flow_token":
                fields[Fields(name).text()[:200]] = answered
        return chosen.text("body") or chosen.text("name"), None, fields
    text, payload = chosen.text("title") or chosen.text("text"), chosen.text("id")
    if payload and payload != text:
        fields["payload"] = payload
    return text, None, fields


def _card(contact: Fields) -> str:
    """Write a shared contact, a line for each way to reach it."""
    name = contact.text("name", "formatted_name") or contact.text("name", "first_name")
    lines = [f"👤 {name}".rstrip(), contact.text("org", "company")]
    lines += [phone.text("phone") or phone.text("wa_id") for phone in contact.items("phones")]
    lines += [mail.text("email") for mail in contact.items("emails")]
    lines += [link.text("url") for link in contact.items("urls")]
    return "\n".join(line for line in lines if line)


def _order(order: Fields) -> str:
    lines = [order.text("text")]
    for item in order.items("product_items"):
        price = f"{item.text('item_price')} {item.text('currency')}".strip()
        lines.append(f"🛒 {item.text('quantity') or '1'} × {item.text('product_retailer_id')} {price}".rstrip())
    return "\n".join(line for line in lines if line)


def _attribution(referral: Fields) -> Attribution:
    """Read what the person had clicked on: an advertisement, or a post with a button."""
    if not referral:
        return Attribution()
    return Attribution(
        ad=referral.id("source_id") or None,
        reference=referral.text("ctwa_clid")[:2_000] or referral.text("ref")[:2_000] or None,
        referrer=referral.text("source_url")[:2_000] or None,
    )


def _changed(
    message: Fields, account: str, peer: str, change: Literal["edited", "deleted", "reaction"], external_id: str
) -> Changed | None:
    if not external_id:
        return None
    text = message.text("reaction", "emoji")
    if change == "edited":
        inner = message.at("edit", "message")
        text = inner.text("text", "body") or inner.text(inner.text("type"), "caption")
    return Changed(
        account=account,
        peer=peer,
        occurred_at=message.moment("timestamp"),
        external_id=external_id,
        change=change,
        text=text,
    )


def _new_identity(message: Fields, account: str, peer: str, occurred_at: datetime | None) -> Event | None:
    """Read that a person changed their number, or got another id within our business."""
    system = message.at("system")
    kind = system.text("type")
    if kind in ("user_changed_number", "customer_changed_number"):
        old, new = peer, system.id("wa_id") or system.id("new_wa_id")
    elif kind == "user_changed_user_id":
        old, new = system.id("previous_user_id") or peer, system.id("user_id")
    else:
        return None
    if not new or new == old:
        return None
    return IdentityChanged(
        account=account,
        peer=old,
        occurred_at=occurred_at,
        old=claims_of(old)[0],
        new=claims_of(new)[0],
        new_peer=new,
    )


def _made_id(message: Fields) -> str:
    """Make an id for a message that has none, the same at every reading."""
    return hashlib.blake2b(msgspec.json.encode(message.value), digest_size=16).hexdigest()
