from __future__ import annotations

from urllib.parse import quote, urlencode

from webhooks.request import RawRequest

TOKEN = "t0kent0kent0ken"
SETTINGS = {
    "send_url": "http://127.0.0.1:13013/cgi-bin/sendsms",
    "user": "hub",
    "password": "kpass-kpass",
    "token": TOKEN,
    "sender": "24453",
}


def asked(written: str) -> RawRequest:
    return RawRequest(method="GET", query=f"token={TOKEN}&{written}")


def posted(written: str) -> RawRequest:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return RawRequest(written.encode(), headers=headers, query=f"token={TOKEN}")


CYRILLIC = "Добрый день 👋"
KANNEL = (
    "from=%2B79161234567&to=24453&text="
    + quote(CYRILLIC.encode("utf-16-be"))
    + "&ts=1795165169&coding=2&udh=&id=asdf-1"
)
PLAIN = urlencode({"sender": "+2349067554729", "message": "Join", "ts": "1493735509", "id": "asdf-2", "to": "24453"})
JASMIN = "content=%05v%05nement&coding=0&From=2349067554729&To=2349067554711&id=1001"
DELIVERED = "part=184467.0&status=1&answer=ACK%2F"

REQUESTS = [
    asked(KANNEL),
    asked(PLAIN),
    posted(JASMIN),
    asked(DELIVERED),
    RawRequest(b'{"from": "+79161234567", "text": "hi", "id": 5}', query=f"token={TOKEN}"),
]
