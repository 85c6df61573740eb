from __future__ import annotations

import json
from typing import Any

from webhooks.request import RawRequest

SETTINGS = {"api_key": "0123456789abcdef-3c1f-4a5b-8c9d", "sender": "+447700900000"}


def posted(*results: Any, **more: Any) -> RawRequest:
    value = {"results": list(results), "messageCount": len(results), "pendingMessageCount": 0, **more}
    return RawRequest(json.dumps(value, ensure_ascii=False).encode(), headers={"content-type": "application/json"})


TEXT = {
    "messageId": "817790313235066447",
    "from": "385916242493",
    "to": "447700900000",
    "text": "QUIZ Точный ответ: Париж 🗼",
    "cleanText": "Точный ответ: Париж 🗼",
    "keyword": "QUIZ",
    "receivedAt": "2026-11-20T08:59:39.220+0000",
    "smsCount": 1,
    "price": {"pricePerMessage": 0, "currency": "EUR"},
    "callbackData": "callbackData",
}
MEDIA = {
    "messageId": "817790313235066448",
    "from": "385916242493",
    "message": [
        {"contentType": "application/smil", "value": "<smil/>"},
        {"contentType": "text/plain", "value": "Вот фото"},
        {"contentType": "image/jpeg", "url": "https://api.infobip.com/mms/1/media/1"},
    ],
}
DELIVERED = {
    "messageId": "184467.0-0a1b2c3d",
    "to": "385916242493",
    "sentAt": "2026-11-20T08:59:39.220+0000",
    "doneAt": "2026-11-20T08:59:41.220+0000",
    "smsCount": 1,
    "status": {"groupId": 3, "groupName": "DELIVERED", "id": 5, "name": "DELIVERED_TO_HANDSET", "description": "ok"},
    "error": {"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR", "permanent": False},
}
EXPIRED = {
    "messageId": "12347",
    "to": "385916242494",
    "status": {"groupId": 4, "groupName": "EXPIRED", "id": 15, "name": "EXPIRED_EXPIRED", "description": "Expired"},
    "error": {"groupId": 1, "id": 27, "name": "EC_ABSENT_SUBSCRIBER", "description": "Absent", "permanent": False},
}

REQUESTS = [posted(TEXT), posted(TEXT, MEDIA), posted(DELIVERED, EXPIRED), posted(messageCount=0)]
