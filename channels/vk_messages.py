"""What VK calls events, read into ours (see `channels.vk`).

A message is known as `<peer>_<number within the conversation>`: sending names that number, answers and edits name it
too, and `id`, which is counted per community, is 0 in group chats. Only where it is missing `id` stands in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from channels.contract import ParseContext
from channels.fields import LONGEST_ID, Fields
from core.kernel import addresses
from core.kernel.addresses import EMAIL, PHONE, Address
from core.kernel.envelopes import Attachment, Attribution, Changed, Claim, Event, Incoming, MediaKind, Signal, Trust

KIND = "vk"
FIRST_CHAT = 2_000_000_000
"""Peers from here on are group chats."""

_DEEPEST = 3
_MOST_ATTACHMENTS = 50
_LANGUAGES = {0: "ru", 1: "uk", 2: "be", 3: "en", 4: "es", 5: "fi", 6: "de", 7: "it", 97: "kk"}
_DOCUMENTS: Mapping[int, MediaKind] = {3: "image", 4: "image", 5: "audio", 6: "video"}
_NAMES = ("first_name", "patronymic_name", "last_name")


def message_of(event: Fields) -> Fields:
    """Return the message of an event, in the shape before API 5.103 (the object itself) or since."""
    found = event.at("object")
    return found.at("message") if found.at("message") else found


def id_of(message: Fields) -> str:
    """Return by what a message is known; "" if by nothing."""
    number = message.whole("conversation_message_id")
    if number:
        return f"{_peer(message)}_{number}"[:LONGEST_ID]
    whole = message.whole("id")
    return str(whole)[:LONGEST_ID] if whole else ""


def peer_of(event: Fields) -> str:
    """Return whom an event is about; "" if nobody."""
    if event.text("type") in ("message_new", "message_reply", "message_edit"):
        return _peer(message_of(event))
    found = event.at("object")
    if event.text("type") == "message_typing_state":
        return found.id("from_id")
    return found.id("peer_id") or found.id("user_id")


def read_event(event: Fields, context: ParseContext) -> Event | None:
    """Read an event; None for one we have no use for."""
    kind, peer, found = event.text("type"), peer_of(event), event.at("object")
    if kind == "lead_forms_new":
        return _lead(found, context)
    if peer in ("", "0"):
        return None
    if kind == "message_new":
        return _message(message_of(event), found.at("client_info"), peer)
    if kind == "message_reply":
        return _message(message_of(event), Fields(None), peer, is_ours=True)
    if kind == "message_edit":
        message = message_of(event)
        known_as, text = id_of(message), _text(message)
        at = message.moment("update_time") or message.moment("date")
        changed = Changed(external_id=known_as, change="edited", text=text, peer=peer, occurred_at=at)
        return changed if known_as else None
    if kind == "message_event":
        return _pressed(found, peer)
    claims = (_claim(peer),)
    if kind == "message_allow":
        key = Attribution(reference=found.text("key")[:2_000] or None)
        return Signal(kind="opted_in", peer=peer, claims=claims, attribution=key)
    if kind == "message_deny":
        return Signal(kind="opted_out", peer=peer, claims=claims)
    if kind == "message_typing_state":
        return Signal(kind="typing", peer=peer, claims=claims)
    return None


def _claim(person: str) -> Claim:
    return Claim(Address(KIND, person), person, Trust.ATTESTED)


def _peer(message: Fields) -> str:
    return message.id("peer_id") or message.id("from_id") or message.id("user_id")


def _text(message: Fields) -> str:
    return message.text("text") or message.text("body")


def _message(message: Fields, client: Fields, peer: str, *, is_ours: bool = False) -> Event | None:
    author = peer if is_ours else message.id("from_id") or message.id("user_id") or peer
    origin = Attribution(
        reference=message.text("ref")[:2_000] or None, utm_source=message.text("ref_source")[:2_000] or None
    )
    at, payload = message.moment("date"), _payload(message.at("payload"))
    if not is_ours and message.at("payload") and _is_start(message.at("payload")):
        return Signal(kind="started", peer=peer, occurred_at=at, claims=(_claim(author),), attribution=origin)
    lines: list[str] = []
    attachments: list[Attachment] = []
    quoted: list[str] = []
    _gather(message, lines, attachments)
    for forwarded in _forwarded(message, _DEEPEST):
        quoted.append(_text(forwarded))
        _gather(forwarded, quoted, attachments)
    quoted = [line for line in quoted if line]
    text = "\n".join(filter(None, (_text(message), *lines)))
    if not (text or attachments or quoted or payload):
        return None  # somebody was invited, a title was changed
    return Incoming(
        external_id=id_of(message),
        peer=peer,
        occurred_at=at,
        claims=(_claim(author),),
        thread=peer if (message.whole("peer_id") or 0) >= FIRST_CHAT else "",
        text=text or ("" if attachments or quoted else payload),
        quoted="\n".join(quoted),
        language=_LANGUAGES.get(client.whole("lang_id") or 0, "") if "lang_id" in client else "",
        reply_to=_reply_to(message, peer),
        fields={"payload": payload} if payload not in ("", text) else {},
        attachments=tuple(attachments[:_MOST_ATTACHMENTS]),
        attribution=origin,
        is_ours=is_ours,
    )


def _reply_to(message: Fields, peer: str) -> str:
    answered = message.at("reply_message")
    if not answered:
        return ""
    number = answered.whole("conversation_message_id")
    return f"{peer}_{number}"[:LONGEST_ID] if number else id_of(answered)


def _forwarded(message: Fields, deep: int) -> Iterator[Fields]:
    if deep:
        for forwarded in message.items("fwd_messages"):
            yield forwarded
            yield from _forwarded(forwarded, deep - 1)


def _gather(message: Fields, lines: list[str], attachments: list[Attachment]) -> None:
    """Add what hangs on a message: files, and lines for what is none."""
    for one in message.items("attachments"):
        kind = one.text("type")
        file = _file(kind, one.at(kind)) if kind else None
        if file is not None:
            attachments.append(file)
        elif line := _line(kind, one.at(kind)):
            lines.append(line)
    place = message.at("geo", "coordinates")
    if place:
        pair = (place.text("latitude"), place.text("longitude"))
        found = ",".join(pair if all(pair) else place.text().split()[:2])
        lines += [
            line
            for line in (message.text("geo", "place", "title"), f"https://maps.google.com/?q={found}" if found else "")
            if line
        ]


def _file(kind: str, thing: Fields) -> Attachment | None:
    """Read an attachment that is a file of its own; None for one that is not."""
    if kind == "photo":
        url = _largest(thing.items("sizes")) or thing.text("orig_photo", "url")
        return Attachment("", "image/jpeg", 0, reference=url, kind="image") if url else None
    if kind == "sticker":
        url = _largest(thing.items("images"))
        return Attachment("", "image/png", 0, reference=url, kind="sticker") if url else None
    if kind == "audio_message":
        url = thing.text("link_mp3")
        if url:
            return Attachment("", "audio/mpeg", 0, reference=url, kind="voice")
        url = thing.text("link_ogg")
        return Attachment("", "audio/ogg", 0, reference=url, kind="voice") if url else None
    if kind == "graffiti":
        url = thing.text("url")
        return Attachment("", "image/png", 0, reference=url, kind="image") if url else None
    if kind == "doc":
        url, title, extension = thing.text("url"), thing.text("title"), thing.id("ext")
        if extension and not title.lower().endswith(f".{extension.lower()}"):
            title = f"{title or 'file'}.{extension}"
        sort = _DOCUMENTS.get(thing.whole("type") or 0, "file")
        size = max(0, thing.whole("size") or 0)
        return Attachment(title, "", size, reference=url, kind=sort) if url else None
    return None


def _largest(sizes: Iterator[Fields]) -> str:
    """Return the address of the size with the largest area."""
    area = {
        url: max(0, size.whole("width") or 0) * max(0, size.whole("height") or 0)
        for size in sizes
        if (url := size.text("url"))
    }
    return max(area, key=lambda url: area[url]) if area else ""


def _line(kind: str, thing: Fields) -> str:
    """Describe an attachment that is no file of its own, with a link where there is one."""
    whose = f"{thing.id('owner_id') or thing.id('to_id')}_{thing.id('id')}"
    if kind == "video":
        return f"{thing.text('title')} https://vk.com/video{whose}".strip()
    if kind == "wall":
        return f"{thing.text('text')[:500]} https://vk.com/wall{whose}".strip()
    if kind == "market":
        price = thing.text("price", "text")
        return " ".join(filter(None, (thing.text("title"), price, f"https://vk.com/product{whose}")))
    if kind == "link":
        return f"{thing.text('title')} {thing.text('url')}".strip()
    if kind == "audio":
        name = " – ".join(filter(None, (thing.text("artist"), thing.text("title"))))
        return f"{name} {thing.text('url')}".strip()
    return f"[{kind[:50]}]" if kind else ""


def _payload(payload: Fields) -> str:
    """Return what a button held, as text; JSON within text is how VK passes it on."""
    value = payload.value
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return payload.text()[:1_000]
    if isinstance(value, dict | list):
        return Fields(msgspec.json.encode(value).decode()).text()[:1_000] if value else ""
    return Fields(value).text()[:1_000]


def _is_start(payload: Fields) -> bool:
    """Tell whether it is VK's own button "Start", which a new chat shows."""
    value = payload.value
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False
    return Fields(value).text("command") == "start"


def _pressed(found: Fields, peer: str) -> Event | None:
    """Read the press of a button that only calls back and says nothing in the chat."""
    payload, number = _payload(found.at("payload")), found.whole("conversation_message_id")
    if not payload:
        return None
    return Incoming(
        external_id=f"event_{found.id('event_id')}"[:LONGEST_ID] if found.id("event_id") else "",
        peer=peer,
        claims=(_claim(found.id("user_id") or peer),),
        thread=peer if (found.whole("peer_id") or 0) >= FIRST_CHAT else "",
        text=payload,
        reply_to=f"{peer}_{number}"[:LONGEST_ID] if number else "",
    )


def _lead(found: Fields, context: ParseContext) -> Event:
    """Read a filled-in lead form; what is typed there is prefilled by VK but may be changed."""
    person = found.id("user_id")
    claims = [_claim(person)] if person not in ("", "0") else []
    names: dict[str, str] = {}
    answers: dict[str, Any] = {}
    for answer in found.items("answers"):
        key, given = answer.text("key"), _answer(answer)
        if key in _NAMES:
            names[key] = given
            continue
        phone = addresses.phone(given, context.default_country) if key == "phone_number" else None
        mail = addresses.email(given) if key == "email" else None
        if phone:
            claims.append(Claim(Address(PHONE, phone), given, Trust.TYPED))
        elif mail:
            claims.append(Claim(Address(EMAIL, mail), given, Trust.TYPED))
        else:
            answers[answer.text("question") or key or "?"] = given
    number = found.id("lead_id")
    return Incoming(
        external_id=f"lead_{number}" if number else "",
        peer=person if person != "0" else "",
        claims=tuple(claims),
        name=" ".join(filter(None, (names.get(name, "") for name in _NAMES))),
        subject=found.text("form_name"),
        fields=answers,
        attribution=Attribution(ad=found.id("ad_id") or None),
        is_form=True,
    )


def _answer(answer: Fields) -> str:
    """Return an answer, whether it is a text, a list of them, or a list of choices."""
    single = answer.text("answer") or answer.text("answer", "value")
    several = (one.text() or one.text("value") for one in answer.items("answer"))
    return single or ", ".join(filter(None, several))
