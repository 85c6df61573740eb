from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from tests.channels.payloads import NOW
from webhooks.request import RawRequest

SECRET = "my_signature_secret_0123456789ab"
URL = "https://hub.example/hooks/k3y"
SETTINGS = {
    "api_key": "abcd1234",
    "api_secret": "9cXq7tLmZ2pRvB4k",
    "signature_secret": SECRET,
    "sender": "+447700900000",
}
IS_SIGNED = True  # of those with a body; the others are signed over their query

TEXT = {
    "msisdn": "447700900001",
    "to": "447700900000",
    "messageId": "0A0000000123ABCD1",
    "text": "Ողջույն & բարև = 1",
    "type": "unicode",
    "keyword": "ՈՂՋՈՒՅՆ",
    "api-key": "abcd1234",
    "message-timestamp": "2026-11-20 08:59:30",
    "timestamp": str(int(NOW.timestamp()) - 30),
    "nonce": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
}
CONCAT = {**TEXT, "messageId": "0B01", "text": "начало ", "concat": "true", "concat-ref": "17", "concat-part": "1"}
CONCAT["concat-total"] = "2"
DELIVERED = {
    "msisdn": "447700900001",
    "to": "447700900000",
    "network-code": "23410",
    "messageId": "0A0000001200002A",
    "price": "0.03330000",
    "status": "delivered",
    "scts": "2611200858",
    "err-code": "0",
    "client-ref": "184467.0",
    "timestamp": TEXT["timestamp"],
    "nonce": "bbbbbbbb-bbbb-cccc-dddd-0123456789ab",
}


def with_sig(form: dict[str, str], *, secret: str = SECRET) -> dict[str, str]:
    text = "".join(f"&{name}={form[name].replace('&', '_').replace('=', '_')}" for name in sorted(form))
    return {**form, "sig": hashlib.md5((text + secret).encode()).hexdigest()}


def asked(form: dict[str, str]) -> RawRequest:
    query = urlencode(with_sig(form))
    return RawRequest(b"", "GET", query=query, url=f"{URL}?{query}")


def posted(form: dict[str, str]) -> RawRequest:
    body = urlencode(with_sig(form)).encode()
    return RawRequest(body, headers={"content-type": "application/x-www-form-urlencoded"}, url=URL)


def token(claims: dict[str, Any], *, secret: str = SECRET, algorithm: str = "HS256") -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    text = f"{part(json.dumps({'typ': 'JWT', 'alg': algorithm}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{text}.{part(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


def with_token(value: Any, **claims: Any) -> RawRequest:
    body = json.dumps(value, ensure_ascii=False).encode()
    given = {
        "iss": "Vonage",
        "iat": int(NOW.timestamp()),
        "jti": "e92cf079-362d-4813-ab40-bbdd938bdc6d",
        "api_key": "abcd1234",
        "payload_hash": hashlib.sha256(body).hexdigest(),
        **claims,
    }
    headers = {"content-type": "application/json", "authorization": f"Bearer {token(given)}"}
    return RawRequest(body, headers=headers, url=URL)


MESSAGE = {
    "channel": "sms",
    "message_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
    "to": "447700900000",
    "from": "447700900001",
    "timestamp": "2026-11-20T08:59:31Z",
    "text": "Zdravo! 👋",
    "message_type": "text",
    "sms": {"num_messages": "1", "keyword": "ZDRAVO!"},
}
REJECTED = {
    "message_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ac",
    "to": "447700900001",
    "from": "447700900000",
    "timestamp": "2026-11-20T08:59:32.000Z",
    "status": "rejected",
    "client_ref": "184467.0",
    "error": {"type": "https://developer.nexmo.com/api-errors", "title": 1430, "detail": "Carrier rejected"},
    "channel": "sms",
}

REQUESTS = [asked(TEXT), asked(CONCAT), asked(DELIVERED), with_token(MESSAGE), with_token(REJECTED)]
