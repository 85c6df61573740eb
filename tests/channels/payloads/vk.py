from __future__ import annotations

import json
from typing import Any

from webhooks.request import RawRequest

GROUP, SECRET, TOKEN = "227000001", "aB3dEfGh1jKl", "vk1.a.0123456789abcdef"
SETTINGS = {"group_id": GROUP, "access_token": TOKEN, "secret": SECRET, "confirmation": "a1b2c3d4"}
VERA = 123456


def posted(kind: str, found: Any, *, event_id: str = "e1f2", secret: str | None = SECRET, **more: Any) -> RawRequest:
    """Make a request as VK would."""
    event = {"group_id": int(GROUP), "type": kind, "event_id": event_id, "v": "5.199", "object": found, **more}
    if secret is not None:
        event["secret"] = secret
    body = json.dumps(event, ensure_ascii=False).encode()
    return RawRequest(body, headers={"content-type": "application/json"}, path="/hooks/k")


def message(text: str = "", **more: Any) -> dict[str, Any]:
    """Make a message as VK writes it since API 5.80."""
    return {
        "date": 1795165200,  # payloads.NOW
        "from_id": VERA,
        "id": 105,
        "out": 0,
        "version": 10000310,
        "attachments": [],
        "conversation_message_id": 42,
        "fwd_messages": [],
        "important": False,
        "is_hidden": False,
        "peer_id": VERA,
        "random_id": 0,
        "text": text,
        **more,
    }


def new(text: str = "", *, event_id: str = "e1f2", **more: Any) -> RawRequest:
    """Make the request for a new message as VK does since API 5.103."""
    client = {"button_actions": ["text"], "keyboard": True, "inline_keyboard": True, "lang_id": 0}
    return posted("message_new", {"message": message(text, **more), "client_info": client}, event_id=event_id)


SIZES = [
    {"type": "s", "url": "https://sun9.userapi.com/s.jpg", "width": 60, "height": 75},
    {"type": "w", "url": "https://sun9.userapi.com/w.jpg", "width": 1620, "height": 2160},
    {"type": "x", "url": "https://sun9.userapi.com/x.jpg", "width": 483, "height": 604},
]
PHOTO = {"type": "photo", "photo": {"id": 1, "owner_id": VERA, "sizes": SIZES, "access_key": "k"}}
LEAD = {
    "lead_id": 4,
    "group_id": int(GROUP),
    "user_id": VERA,
    "form_id": 7,
    "form_name": "Замер",
    "ad_id": 1234,
    "answers": [
        {"key": "first_name", "question": "Имя", "answer": "Вера"},
        {"key": "last_name", "question": "Фамилия", "answer": "Петрова"},
        {"key": "phone_number", "question": "Телефон", "answer": "8 (916) 123-45-67"},
        {"key": "email", "question": "Почта", "answer": "vera@example.com"},
        {"key": "custom_0", "question": "Комнаты", "answer": [{"key": "a", "value": "кухня"}, {"value": "зал"}]},
    ],
}

REQUESTS = [
    new("Здравствуйте! Сколько стоит? 🪟"),
    new("вот", attachments=[PHOTO, {"type": "doc", "doc": {"title": "План", "ext": "pdf", "url": "https://vk.com/d"}}]),
    new(attachments=[{"type": "audio_message", "audio_message": {"link_mp3": "https://psv4.userapi.com/a.mp3"}}]),
    new(geo={"type": "point", "coordinates": {"latitude": 56.85, "longitude": 35.9}}),
    new("Да", payload='"yes"', ref="spring", ref_source="banner"),
    new("да", reply_message={"id": 104, "conversation_message_id": 41, "from_id": -int(GROUP), "text": "?"}),
    new(fwd_messages=[{"date": 1795165100, "from_id": 7, "text": "раз", "attachments": [PHOTO]}]),
    posted("message_new", message("старый вид")),
    posted("message_reply", message("Ответ из VK", from_id=-int(GROUP), out=1, conversation_message_id=43)),
    posted("message_edit", message("исправлено", update_time=1795165260)),
    posted("message_allow", {"user_id": VERA, "key": "popup"}),
    posted("message_deny", {"user_id": VERA}),
    posted("message_event", {"user_id": VERA, "peer_id": VERA, "event_id": "9f", "payload": {"a": 1}}),
    posted("message_typing_state", {"state": "typing", "from_id": VERA, "to_id": -int(GROUP)}),
    posted("lead_forms_new", LEAD),
    posted("wall_post_new", {"id": 1}),
]
