from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from webhooks.request import RawRequest

SETTINGS = {"secret": "typeform_secret"}
IS_SIGNED = True

_QUESTIONS = [
    ("n", "first", "short_text", "First name", "text", "text", "Vera"),
    ("l", "last", "short_text", "Фамилия", "text", "text", "Орлова"),
    ("e", "0a1b", "email", "Where do we write?", "email", "email", "vera@example.com"),
    ("p", "0a1c", "phone_number", "And call?", "phone_number", "phone_number", "+79161234567"),
    ("t", "0a1d", "long_text", "Anything else?", "text", "text", "Кухня, 12 м²\nи стол"),
    ("q", "0a1e", "number", "How many rooms?", "number", "number", 3),
    ("b", "0a1f", "yes_no", "New house?", "boolean", "boolean", True),
    ("d", "0a20", "date", "When?", "date", "date", "2026-12-01"),
    ("u", "0a21", "website", "Your site", "url", "url", "https://vera.example/page.pdf"),
    ("f", "0a22", "file_upload", "Plan", "file_url", "file_url", "https://api.typeform.com/forms/x/files/plan%20a.png"),
    ("c", "0a23", "multiple_choice", "Style", "choice", "choice", {"label": "Loft", "ref": "r"}),
    ("o", "0a24", "multiple_choice", "Colour", "choice", "choice", {"other": "зелёный"}),
    ("s", "0a25", "picture_choice", "Parts", "choices", "choices", {"labels": ["Table", "Shelf"], "other": "Lamp"}),
    (
        *("m", "0a26", "payment", "Deposit", "payment", "payment"),
        {"amount": "$10.00", "last4": "4242", "name": "V ORLOVA", "success": True},
    ),
    ("g", "0a27", "legal", "I agree to be called", "boolean", "boolean", True),
    ("v", "0a28", "video", "Say it", "multi_format", "multi_format", {"video_url": "https://x.example/v"}),
]

RESPONSE: dict[str, Any] = {
    "event_id": "01HEVENT",
    "event_type": "form_response",
    "form_response": {
        "form_id": "lT4Z3j",
        "token": "a3a12ec67a1365927098a606107fac15",
        "landed_at": "2026-11-20T08:55:00Z",
        "submitted_at": "2026-11-20T08:59:50Z",
        "hidden": {"utm_source": "newsletter", "gclid": "g-1", "plan": "pro"},
        "calculated": {"score": 9},
        "variables": [
            {"key": "winning", "type": "text", "text": "Loft"},
            {"key": "sum", "type": "number", "number": 5},
        ],
        "definition": {
            "id": "lT4Z3j",
            "title": "Vera Ltd. contact form",
            "fields": [{"id": q[0], "ref": q[1], "type": q[2], "title": q[3]} for q in _QUESTIONS],
        },
        "answers": [{"type": q[4], q[5]: q[6], "field": {"id": q[0], "ref": q[1], "type": q[2]}} for q in _QUESTIONS],
    },
}


def typeform(body: Any, secret: str = "typeform_secret") -> RawRequest:
    raw = json.dumps(body).encode()
    signature = base64.b64encode(hmac.digest(secret.encode(), raw, hashlib.sha256)).decode()
    return RawRequest(raw, headers={"content-type": "application/json", "typeform-signature": f"sha256={signature}"})


REQUESTS = [
    typeform(RESPONSE),
    typeform({"event_id": "01HTWO", "event_type": "form_response", "form_response": {"token": "t2", "answers": []}}),
]
