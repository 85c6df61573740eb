from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import urlencode

from webhooks.request import RawRequest

SECRET = "0123456789abcdef0123"
SETTINGS = {"api_key": "8a8e91d214fb728889c7key", "api_secret": SECRET, "secret": "asks-who-rings"}

FORM = "application/x-www-form-urlencoded"
_CALLED = ("caller_id", "called_did", "call_start")
_DIALLED = ("internal", "destination", "call_start")
SIGNED = {
    "NOTIFY_ANSWER": ("caller_id", "destination", "call_start"),
    "NOTIFY_OUT_START": _DIALLED,
    "NOTIFY_OUT_END": _DIALLED,
    "NOTIFY_RECORD": ("pbx_call_id", "call_id_with_rec"),
    "SMS": ("result",),
    "NUMBER_LOOKUP": ("result",),
    "CALL_TRACKING": ("result",),
}


def signature(text: str) -> str:
    made = hmac.new(SECRET.encode(), text.encode(), hashlib.sha1).hexdigest()
    return base64.b64encode(made.encode()).decode()


def posted(form: dict[str, str], *, wrong_boundary: bool = False) -> RawRequest:
    """Sign a form as Zadarma does; as a multipart whose header names another boundary, if wanted."""
    text = "".join(form.get(name, "") for name in SIGNED.get(form.get("event", ""), _CALLED))
    headers = {"content-type": FORM, "signature": signature(text)}
    if not wrong_boundary:
        return RawRequest(urlencode(form).encode(), headers=headers)
    lines = []
    for name, value in form.items():
        lines += ["------------------------5f1a", f'Content-Disposition: form-data; name="{name}"', "", value]
    body = "\r\n".join([*lines, "------------------------5f1a--", ""])
    headers["content-type"] = "multipart/form-data; boundary=------------------------another"
    return RawRequest(body.encode(), headers=headers)


def _in(event: str, call: str, start: str = "2026-11-20 11:15:30", **more: str) -> dict[str, str]:
    given = {"event": event, "call_start": start, "pbx_call_id": call}
    return {**given, "caller_id": "79161234567", "called_did": "74951112233", **more}


def _out(event: str, call: str, **more: str) -> dict[str, str]:
    given = {"event": event, "call_start": "2026-11-20 11:40:00", "pbx_call_id": call, "internal": "101"}
    return {**given, "destination": "79035556677", "caller_id": "74951112233", **more}


ONE, TWO, THREE, FOUR = "in_394b269d3ae9043550ea60e0", "in_7f2e", "in_88aa", "out_dcb22bcd4e78fa4b627aa2e0"

START = _in("NOTIFY_START", ONE)
INTERNAL = _in("NOTIFY_INTERNAL", ONE, internal="101")
ANSWER = {
    "event": "NOTIFY_ANSWER",
    "caller_id": "79161234567",
    "destination": "101",
    "call_start": "2026-11-20 11:15:30",
    "pbx_call_id": ONE,
    "internal": "101",
}
END = _in(
    "NOTIFY_END",
    ONE,
    internal="101",
    duration="125",
    disposition="answered",
    status_code="16",
    is_recorded="1",
    call_id_with_rec="1763626530.92858",
)
RECORD = {"event": "NOTIFY_RECORD", "pbx_call_id": ONE, "call_id_with_rec": "1763626530.92858"}
IVR = _in("NOTIFY_IVR", ONE, wait_dtmf='{"name":"menu","digits":"2","default_behaviour":""}')
INTERNAL_END = _in("NOTIFY_INTERNAL_END", ONE, internal="101", disposition="answered")
MISSED = _in("NOTIFY_END", TWO, duration="0", disposition="cancel", status_code="16", is_recorded="0")
OUT_START = _out("NOTIFY_OUT_START", FOUR)
OUT_END = _out(
    "NOTIFY_OUT_END", FOUR, duration="61", disposition="answered", is_recorded="1", call_id_with_rec="1763628000.1"
)
LOOKUP = {"event": "NUMBER_LOOKUP", "result": '{"number":"79161234567","mcc":"250","description":"МТС, й"}'}
SMS = {"event": "SMS", "result": '{"caller_id":"79161234567","caller_did":"74951112233","text":"Привет, й"}'}
SPEECH = {"event": "SPEECH_RECOGNITION", "pbx_call_id": ONE, "call_id_with_rec": "1763626530.92858", "result": "{}"}

CALLS = {
    "answered": [posted(form) for form in (START, IVR, INTERNAL, ANSWER, INTERNAL_END, END, RECORD)],
    "missed": [
        posted(_in("NOTIFY_START", TWO)),
        posted(_in("NOTIFY_INTERNAL", TWO, internal="101")),
        posted(_in("NOTIFY_INTERNAL_END", TWO, internal="101", disposition="no answer")),
        posted(MISSED),
    ],
    "transferred": [
        posted(_in("NOTIFY_START", THREE)),
        posted(_in("NOTIFY_INTERNAL", THREE, internal="101")),
        posted({**ANSWER, "pbx_call_id": THREE}),
        posted(_in("NOTIFY_INTERNAL", THREE, internal="102")),
        posted({**ANSWER, "pbx_call_id": THREE, "internal": "102", "destination": "102"}),
        posted(_in("NOTIFY_INTERNAL_END", THREE, internal="101", disposition="answered")),
        posted(_in("NOTIFY_END", THREE, internal="102", duration="200", disposition="answered", is_recorded="0")),
    ],
    "outbound": [
        posted(OUT_START),
        posted({**ANSWER, "pbx_call_id": FOUR, "caller_id": "74951112233", "destination": "79035556677"}),
        posted(OUT_END),
        posted({"event": "NOTIFY_RECORD", "pbx_call_id": FOUR, "call_id_with_rec": "1763628000.1"}),
    ],
}

REQUESTS = [*CALLS["answered"], posted(MISSED, wrong_boundary=True), *CALLS["outbound"]]
