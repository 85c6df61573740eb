from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.channels.payloads import NOW
from webhooks.request import RawRequest

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
URL = "https://hub.example/hooks/k3y"
SETTINGS = {
    "api_key": "KEY0123456789ABCDEF_abcdefghij",
    "public_key": base64.b64encode(KEY.public_key().public_bytes_raw()).decode(),
    "sender": "+14155550199",
}
IS_SIGNED = True


def signed(event: Any, *, at: int = int(NOW.timestamp()), query: str = "") -> RawRequest:
    body = json.dumps(event, ensure_ascii=False).encode()
    headers = {
        "content-type": "application/json",
        "telnyx-signature-ed25519": base64.b64encode(KEY.sign(f"{at}|".encode() + body)).decode(),
        "telnyx-timestamp": str(at),
    }
    return RawRequest(body, headers=headers, query=query, url=URL + (f"?{query}" if query else ""))


def event(kind: str, payload: dict[str, Any], event_id: str = "b301ed3f-1490-491f-995f-6e64e69674d4") -> Any:
    return {
        "data": {
            "event_type": kind,
            "id": event_id,
            "occurred_at": "2026-11-20T08:59:41.000Z",
            "payload": payload,
            "record_type": "event",
        },
        "meta": {"attempt": 1, "delivered_to": URL},
    }


TEXT = {
    "direction": "inbound",
    "id": "84cca175-9755-4859-b67f-4730d7f58aa3",
    "from": {"phone_number": "+38640123456", "carrier": "A1", "line_type": "Wireless"},
    "to": [{"phone_number": "+14155550199", "status": "webhook_delivered"}],
    "text": "Živjo, ali še velja? 😊",
    "media": [],
    "type": "SMS",
    "parts": 1,
    "encoding": "UCS-2",
    "received_at": "2026-11-20T08:59:40.522+00:00",
    "errors": [],
}
MEDIA = {
    **TEXT,
    "id": "94cca175-9755-4859-b67f-4730d7f58aa3",
    "type": "MMS",
    "text": "",
    "media": [{"url": "https://media.telnyx.com/1.jpg", "content_type": "image/jpeg", "sha256": "00", "size": 102_400}],
}
FINALIZED = {
    "direction": "outbound",
    "id": "ac012cbf-5e09-46af-a69a-7c0e2d90993c",
    "from": {"phone_number": "+14155550199"},
    "to": [{"phone_number": "+38640123456", "status": "delivered"}],
    "errors": [],
}

REQUESTS = [
    signed(event("message.received", TEXT)),
    signed(event("message.received", MEDIA, "c")),
    signed(event("message.finalized", FINALIZED, "d"), query="part=184467.0"),
]
