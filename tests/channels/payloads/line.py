from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from webhooks.request import RawRequest

SECRET = "8c570fa6dd201bb328f1c1eac23a96d8"
TOKEN = "line-access-token-0123456789"
SETTINGS = {"channel_secret": SECRET, "access_token": TOKEN}
IS_SIGNED = True

VERA = "U4af4980629f1d2e3a4b5c6d7e8f90011"
OLEG = "U8189cf6745fc0d808977bdb0b9f22995"
GROUP = "Ca56f94637c0f1e2d3c4b5a697887766"


def signed(events: list[Any], secret: str = SECRET) -> RawRequest:
    """Make a request as LINE would."""
    body = json.dumps({"destination": "Ubot", "events": events}, ensure_ascii=False).encode()
    signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    return RawRequest(body, headers={"content-type": "application/json; charset=utf-8", "x-line-signature": signature})


def event(kind: str, *, user: str = VERA, group: str = "", number: int = 1, **more: Any) -> dict[str, Any]:
    """Make an event."""
    source = {"type": "group", "groupId": group, "userId": user} if group else {"type": "user", "userId": user}
    return {
        "type": kind,
        "mode": "active",
        "timestamp": 1_795_165_200_000,  # payloads.NOW
        "source": source,
        "webhookEventId": f"01FZ74A0TDDPYRVKNK77XKC{number:03}",
        "deliveryContext": {"isRedelivery": False},
        **more,
    }


def message(kind: str, *, user: str = VERA, group: str = "", number: int = 1, **more: Any) -> dict[str, Any]:
    """Make an event of a message."""
    content = {"id": f"46853009144557{number:04}", "type": kind, **more}
    return event(
        "message", user=user, group=group, number=number, replyToken=f"38ef843bde154d9b91c21320ffd17a{number:02}"
    ) | {"message": content}


REQUESTS = [
    signed(events)
    for events in (
        [message("text", text="Здравствуйте! こんにちは", quoteToken="q")],
        [message("text", text="раз", number=1), message("text", text="два", user=OLEG, number=2)],
        [message("image", contentProvider={"type": "line"}, imageSet={"id": "E005D41A", "index": 1, "total": 2})],
        [message("video", duration=60000, contentProvider={"type": "external", "originalContentUrl": "https://e/v"})],
        [message("audio", duration=6000, contentProvider={"type": "line"})],
        [message("file", fileName="счёт.pdf", fileSize=2138)],
        [message("location", title="Офис", address="Тверь", latitude=35.687574, longitude=139.72922)],
        [message("sticker", packageId="1", stickerId="52002734", stickerResourceType="STATIC", keywords=["Hi"])],
        [message("text", text="всем привет", group=GROUP)],
        [event("postback", postback={"data": "yes", "params": {"datetime": "2026-12-25T01:00"}}, replyToken="r")],
        [event("unsend", unsend={"messageId": "468530091445570001"})],
        [event("follow", follow={"isUnblocked": False}, replyToken="r"), event("unfollow", number=2)],
        [event("beacon", beacon={"hwid": "d41d8cd98f"})],
        [],
    )
]
