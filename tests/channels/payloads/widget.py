from __future__ import annotations

import json
from typing import Any

from channels.widget import Widget
from webhooks.request import RawRequest

SECRET = "a-key-for-passes-of-visitors"
SETTINGS: dict[str, Any] = {"allowed_origins": "https://shop.example", "secret": SECRET, "colour": "#2F9E44"}
VISITOR = "Zm9vYmFyYmF6cXV4MTIzNA"
PASS = Widget(Widget.Settings(**SETTINGS)).pass_of(VISITOR)

SAID: dict[str, Any] = {
    "visitor": VISITOR,
    "id": "0f5a9a52-3a0e-4a0c-9d3b-0c8a3a1f7b10",
    "text": "Есть ли доставка в Тверь?",
    "language": "ru",
    "page": "https://shop.example/windows",
    "marks": {
        "landing_page": "https://shop.example/?utm_source=google&utm_medium=cpc",
        "referrer": "https://g.example",
    },
}


def said(**more: Any) -> RawRequest:
    """A message over the socket, as the hub makes it into a request."""
    headers = {"authorization": f"Bearer {PASS}", "origin": "https://shop.example", "content-type": "application/json"}
    return RawRequest(json.dumps({**SAID, **more}).encode(), "WIDGET", headers, url="https://hub.example/w/k/socket")


def enclosed(*files: tuple[str, str, bytes], **more: Any) -> RawRequest:
    """A message with files, as the browser posts it."""
    record = json.dumps({**SAID, "text": "", **more}, ensure_ascii=False).encode()
    body = b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\n' + record + b"\r\n"
    for name, content_type, content in files:
        head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {content_type}'
        body += head.encode() + b"\r\n\r\n" + content + b"\r\n"
    headers = {**said().headers, "content-type": "multipart/form-data; boundary=b"}
    return RawRequest(body + b"--b--\r\n", "POST", headers, url="https://hub.example/w/k/files")


REQUESTS = [
    said(),
    said(id="11111111-aaaa", text="Call me", name="Вера", phone="8 916 123-45-67", email="vera@example.com"),
    said(id="22222222-aaaa", text="😀" * 50, marks=None, page=""),
    enclosed(("план.pdf", "application/pdf", b"%PDF-1.7"), ("a.png", "image/png", b"\x89PNG\r\n"), id="33333333-aaaa"),
]
