from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from webhooks.request import RawRequest

TOKEN, SECRET = "f9LHodD0cOL5NY7All_9xJRh5ZhPw6bRvq_0Adm8", "hub-secret_0123456789"
SETTINGS = {"token": TOKEN, "secret": SECRET}

VERA = 123456789
DIALOG = {"chat_id": 182182182, "chat_type": "dialog", "user_id": 229229229}
GROUP = {"chat_id": -70801090403050, "chat_type": "chat"}
PERSON = {"user_id": VERA, "first_name": "Вера", "last_name": "Петрова", "is_bot": False, "name": "Вера Петрова"}
BOT = {"user_id": 229229229, "first_name": "Шторы", "username": "shtory_bot", "is_bot": True, "name": "Шторы"}
AT = 1_795_165_200_000  # payloads.NOW


def posted(update: Any, secret: str = SECRET) -> RawRequest:
    """Make a request as MAX would."""
    headers = {"content-type": "application/json; charset=utf-8", "x-max-bot-api-secret": secret}
    return RawRequest(json.dumps(update, ensure_ascii=False).encode(), headers=headers, path="/hooks/k")


def update(kind: str, **more: Any) -> dict[str, Any]:
    """Make an update."""
    return {"update_type": kind, "timestamp": AT, **more}


def message(
    text: str | None = None,
    *attachments: dict[str, Any],
    kind: str = "message_created",
    mid: str = "mid.000000000adf429c019d47d58f2b3d9e",
    sender: dict[str, Any] = PERSON,
    recipient: dict[str, Any] = DIALOG,
    **more: Any,
) -> dict[str, Any]:
    """Make an update of a message."""
    body = {"mid": mid, "seq": 116328147937082782, "text": text, "attachments": list(attachments)}
    written = {"sender": sender, "recipient": recipient, "timestamp": AT, "body": body, **more}
    return update(kind, message=written, user_locale="ru")


def contact(phone: str = "79161234567", *, whose: dict[str, Any] | None = PERSON, proof: str | None = None) -> Any:
    """Make a contact card; `proof` is the hash MAX makes where the person shared their own number."""
    card = f"BEGIN:VCARD\r\nVERSION:3.0\r\nTEL;TYPE=cell:{phone}\r\nFN:Вера Петрова\r\nEND:VCARD\r\n"
    proof = hmac.new(TOKEN.encode(), card.encode(), hashlib.sha256).hexdigest() if proof is None else proof
    return {"type": "contact", "payload": {"vcf_info": card, "hash": proof, "max_info": whose}}


BUTTONS = {"type": "inline_keyboard", "payload": {"buttons": [[{"type": "callback", "text": "Да", "payload": "yes"}]]}}
PRESSED = {
    **message("Подойдёт?", BUTTONS, kind="message_callback", sender=BOT, recipient={**DIALOG, "user_id": VERA}),
    "callback": {"timestamp": AT, "callback_id": "f9LHodD0cOJf4_DkJGeq8BkD", "user": PERSON, "payload": "yes"},
}
IMAGE = {"type": "image", "payload": {"photo_id": 1, "token": "t", "url": "https://i.oneme.ru/i?r=1"}}

REQUESTS = [
    posted(sample)
    for sample in (
        message("Здравствуйте! Сколько стоит? 🪟"),
        message("вот", IMAGE),
        message(None, {"type": "video", "payload": {"url": "https://m.ok.ru/v", "token": "vt"}, "duration": 5}),
        message(None, {"type": "audio", "payload": {"url": "https://a.oneme.ru/a", "token": "at"}}),
        message(None, {"type": "file", "filename": "счёт.pdf", "size": 9, "payload": {"url": "https://f/f"}}),
        message(
            None, {"type": "sticker", "payload": {"url": "https://s/s.png", "code": "c1"}, "width": 1, "height": 1}
        ),
        message(None, contact()),
        message(None, {"type": "location", "latitude": 56.85, "longitude": 35.9}),
        message("см.", link={"type": "forward", "message": {"mid": "mid.1", "text": "раз", "attachments": [IMAGE]}}),
        message("да", link={"type": "reply", "message": {"mid": "mid.2", "text": "?"}, "sender": BOT}),
        message("всем", recipient=GROUP),
        message("исправлено", kind="message_edited"),
        PRESSED,
        update("message_removed", message_id="mid.1", chat_id=182182182, user_id=VERA),
        update("bot_started", chat_id=182182182, user=PERSON, payload="spring", user_locale="ru"),
        update("bot_stopped", chat_id=182182182, user=PERSON),
        update("dialog_removed", chat_id=182182182, user=PERSON),
        update("bot_removed", chat_id=-70801090403050, user=PERSON, is_channel=False),
        update("dialog_muted", chat_id=182182182, user=PERSON, muted_until=AT),
        {"updates": [message("раз"), message("два", mid="mid.9")], "marker": 25493970},
    )
]
