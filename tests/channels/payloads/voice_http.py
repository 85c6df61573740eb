from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from webhooks.request import RawRequest

TOKEN = "t0ken-of-the-pbx"
SIGNING = "s1gn1ng-s3cret"
LINE, CUSTOMER = "+74951045771", "+79161234567"
SETTINGS = {"token": TOKEN, "secret": SIGNING, "dial_url": "http://127.0.0.1:9/dial"}


def posted(value: Any, **more: Any) -> RawRequest:
    """An event with the token."""
    body = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    return RawRequest(body, headers={"content-type": "application/json"}, query=f"token={TOKEN}", **more)


def signed(value: Any, secret: str = SIGNING) -> RawRequest:
    """An event with the signature, and no token."""
    body = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    made = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return RawRequest(body, headers={"content-type": "application/json", "x-signature": made})


def form(**fields: str) -> RawRequest:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return RawRequest(urlencode(fields).encode(), headers=headers, query=f"token={TOKEN}")


IN = {"direction": "inbound", "from": CUSTOMER, "to": LINE, "line": LINE}
OUT = {"direction": "outbound", "from": "101", "to": CUSTOMER, "line": LINE, "dial_id": "77"}
RECORD = "https://pbx.example/recordings/c1.mp3"


def said(call: str, event: str, at: str, **more: Any) -> dict[str, Any]:
    return {"call_id": call, "event": event, "at": f"2026-11-20T{at}Z", **more}


CALLS = {
    "answered": [
        signed(said("c1", "started", "08:00:00", id="e1", **IN)),
        signed(said("c1", "menu", "08:00:02", id="e2", detail="нажал 1")),
        signed(said("c1", "queued", "08:00:10", id="e3", detail="Отдел продаж")),
        signed(said("c1", "ringing", "08:00:11", id="e4", extension="101", leg_id="l1", seq=1)),
        signed(said("c1", "answered", "08:00:20", id="e5", extension="101", leg_id="l1", seq=2)),
        signed(said("c1", "ended", "08:01:50", id="e6", outcome="answered", talk_seconds=90, **IN)),
        signed(
            said("c1", "recorded", "08:02:05", id="e7", recording_url=RECORD, recording_id="r1", recording_seconds=90)
        ),
    ],
    "missed": [
        posted(said("c2", "started", "08:10:00", **IN)),
        posted(said("c2", "ringing", "08:10:01", extension="101")),
        posted(said("c2", "missed", "08:10:31", wait_seconds=31, **IN)),
    ],
    "transferred": [
        posted(said("c3", "started", "08:20:00", **IN)),
        posted(said("c3", "answered", "08:20:05", extension="PJSIP/101-0000002a")),
        posted(said("c3", "held", "08:20:30", extension="101")),
        posted(said("c3", "transferred", "08:20:40", extension="102")),
        posted(said("c3", "answered", "08:20:45", extension="102")),
        posted(said("c3", "summary", "08:22:00", outcome="answered", talk_seconds=115, **IN)),
    ],
    "outbound": [
        posted(said("c4", "started", "08:30:00", extension="101", **OUT)),
        posted(said("c4", "answered", "08:30:15", extension="101", dial_id="77")),
        posted(said("c4", "ended", "08:31:15", outcome="answered", talk_seconds=60, **OUT)),
    ],
}

REQUESTS = [
    *(request for requests in CALLS.values() for request in requests),
    posted({"events": [said("c5", "started", "08:40:00", **IN), said("c6", "started", "08:40:01", **IN)]}),
    form(event="hangup", uniqueid="1795165169.42", src="79161234567", dst="101", disposition="NO ANSWER", billsec="0"),
]
