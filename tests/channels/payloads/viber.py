from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from webhooks.request import RawRequest

TOKEN = "44b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"
SETTINGS = {"auth_token": TOKEN}
IS_SIGNED = True

USER = "xy5/5y6O81+/kbWHpLhBoA=="


def signed(event: dict[str, Any] | bytes, token: str = TOKEN) -> RawRequest:
    """Make a request as Viber would."""
    body = event if isinstance(event, bytes) else json.dumps(event, ensure_ascii=False).encode()
    signature = hmac.new(token.encode(), body, hashlib.sha256).hexdigest()
    return RawRequest(
        body, headers={"content-type": "application/json", "x-viber-content-signature": signature}, path="/hooks/k"
    )


def event(name: str, **more: Any) -> dict[str, Any]:
    """Make an event about the one user of these samples."""
    who: dict[str, Any] = {"user_id": USER}
    if name == "message":
        who = {"sender": {"id": USER, "name": "Вера Петрова", "language": "ru", "country": "RU", "api_version": 10}}
    elif name in ("subscribed", "conversation_started"):
        who = {"user": {"id": USER, "name": "Вера Петрова", "language": "ru", "country": "RU", "api_version": 10}}
    token = {"message_token": 4987381189870374001}
    return {"event": name, "timestamp": 1481142112807, "chat_hostname": "SN-9_", **token, **who, **more}


def message(kind: str, **more: Any) -> dict[str, Any]:
    """Make an incoming message of a type."""
    return event("message", message={"type": kind, "tracking_data": "t", **more}, silent=False)


REQUESTS = [
    signed(sample)
    for sample in (
        message("text", text="Здравствуйте! Сколько стоит доставка? 🚚"),
        message("picture", text="вот", media="https://dl-media.viber.com/1/a.jpg", file_name="a.jpg", size=10_000),
        message("video", media="https://dl-media.viber.com/1/v.mp4", size=1_000_000, duration=14),
        message("file", media="https://dl-media.viber.com/1/я.pdf", file_name="счёт.pdf", size=4_000),
        message("sticker", sticker_id=40133),
        message("contact", contact={"name": "Вера Петрова", "phone_number": "+79161234567"}),
        message("location", location={"lat": 55.7512, "lon": 37.6184}),
        message("url", media="https://shop.example/p/7"),
        event("conversation_started", type="open", context="spring sale", subscribed=False),
        event("subscribed"),
        event("unsubscribed"),
        event("delivered"),
        event("seen"),
        event("failed", desc="failure description"),
        {"event": "webhook", "timestamp": 1481142112807, "message_token": 241256543215, "chat_hostname": "SN-1_"},
        event("unheard_of"),
    )
]
