from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from tests.channels.payloads import NOW
from webhooks.request import RawRequest

KEY = "PlLrKaqvZNRR5zAjm42ZT6q1SQxgbbGd"
URL = "https://hub.example/hooks/k3y"
SETTINGS = {"access_key": "live_gshuPaZoeEG6ovbc8M79w0Qyk", "signing_key": KEY, "sender": "+14155550199"}
IS_SIGNED = True  # what has a body


def token(claims: dict[str, Any], *, key: str = KEY, algorithm: str = "HS256") -> str:
    def part(value: Any) -> str:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    text = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}"
    made = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}.get(algorithm, "sha256")
    return f"{text}.{part(hmac.new(key.encode(), text.encode(), made).digest())}"


def claims(body: bytes, url: str, **more: Any) -> dict[str, Any]:
    given = {
        "iss": "MessageBird",
        "nbf": int(NOW.timestamp()) - 1,
        "exp": int(NOW.timestamp()) + 60,
        "jti": "e92cf079-362d-4813-ab40-bbdd938bdc6d",
        "url_hash": hashlib.sha256(url.encode()).hexdigest(),
        "payload_hash": hashlib.sha256(body).hexdigest() if body else None,
        **more,
    }
    return {name: value for name, value in given.items() if value is not None}


def signed(form: list[tuple[str, str]], *, query: str = "", **more: Any) -> RawRequest:
    body = urlencode(form).encode()
    url = URL + (f"?{query}" if query else "")
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "messagebird-signature-jwt": token(claims(body, url, **more)),
    }
    return RawRequest(body, headers=headers, query=query, url=url)


def asked(**form: str) -> RawRequest:
    query = urlencode(form)
    return RawRequest(method="GET", query=query, url=f"{URL}?{query}")


TEXT = [
    ("receiver", "14155550199"),
    ("sender", "37491123456"),
    ("body", "старое"),
    ("date_utc", "1795165169"),
    ("reference", "1"),
    ("id", "b6aae1b5dfb2427a8f7ea6a717ba31a9"),
    ("id", "3b53c137369242138120d6b0b2122607"),
    ("recipient", "14155550199"),
    ("originator", "37491123456"),
    ("body", "Բարև ձեզ"),
    ("createdDatetime", "2026-11-20T08:59:29+00:00"),
    ("mms", "false"),
]
SHORT_CODE = [
    ("shortcode", "51515"),
    ("sender", "18885551515"),
    ("message", "Test again"),
    ("mid", "4b53c137369242138120d6b0b2122607"),
    ("receive_datetime", "20261120085929"),
    ("body", "Test 3"),
]
MEDIA = [
    ("originator", "18885551515"),
    ("message_id", "5b53c137369242138120d6b0b2122607"),
    ("mediaURLs", "https://media.messagebird.com/1.jpg"),
    ("mediaURLs", "https://media.messagebird.com/2.jpg"),
    ("CreatedDatetime", "2026-11-20T08:59:29+00:00"),
]
STATUS = {
    "datacoding": "plain",
    "id": "e8077d803532c0b5937c639b60216938",
    "recipient": "37491123456",
    "reference": "184467.0",
    "status": "delivered",
    "statusDatetime": "2026-11-20T08:59:30+00:00",
}

REQUESTS = [signed(TEXT), signed(SHORT_CODE), signed(MEDIA), asked(**STATUS)]
