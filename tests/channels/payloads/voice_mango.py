from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

from webhooks.request import RawRequest

KEY = "k1y2z3a4b5c6d7e8f9g0h1i2j3k4l5m6"
SALT = "s9t8u7v6w5x4y3z2a1b0c9d8e7f6g5h4"
SETTINGS = {"api_key": KEY, "api_salt": SALT, "secret": "asks-who-rings"}


def signed(content: str) -> str:
    return hashlib.sha256((KEY + content + SALT).encode()).hexdigest()


def posted(suffix: str, said: dict[str, Any] | str) -> RawRequest:
    content = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    form = {"vpbx_api_key": KEY, "sign": signed(content), "json": content}
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return RawRequest(urlencode(form).encode(), headers=headers, suffix=suffix)


CUSTOMER, LINE, PHONE = "79161234567", "74951112233", "sip:user101@vpbx400.mangosip.ru"
AT = 1763625600  # 2025-11-20 08:00:00 UTC


def leg(entry: str, call: str, seq: int, state: str, place: str, **more: Any) -> RawRequest:
    """Post events/call of an inbound call, unless `from_` and `to` say otherwise."""
    said = {
        "entry_id": entry,
        "call_id": call,
        "timestamp": AT + seq,
        "seq": seq,
        "call_state": state,
        "location": place,
        "from": more.pop("from_", {"number": CUSTOMER}),
        "to": more.pop("to", {"number": LINE, "line_number": LINE}),
        **more,
    }
    return posted("events/call", said)


def taken(extension: int) -> dict[str, Any]:
    return {"extension": extension, "number": f"sip:user{extension}@vpbx400.mangosip.ru", "line_number": LINE}


def summary(entry: str, **more: Any) -> dict[str, Any]:
    return {
        "entry_id": entry,
        "call_direction": 1,
        "from": {"number": CUSTOMER},
        "to": {"extension": "101", "number": PHONE},
        "line_number": LINE,
        "create_time": AT,
        "forward_time": AT + 5,
        "talk_time": AT + 12,
        "end_time": AT + 137,
        "entry_result": 1,
        "disconnect_reason": 1110,
        **more,
    }


ONE, TWO, THREE, FOUR = "MzQ1Mzc1MzUxMzoxNjE=", "MzQ1Mzc1MzUxNDoxNjE=", "MzQ1Mzc1MzUxNToxNjE=", "MzQ1Mzc1MzUxNjoxNjE="
COMING = {"number": CUSTOMER, "taken_from_call_id": "menu"}
COLLEAGUE = {"extension": 101, "number": PHONE}

DTMF = {
    "entry_id": ONE,
    "call_id": "menu",
    "seq": 2,
    "timestamp": AT + 3,
    "dtmf": "2",
    "location": "ivr.2",
    "initiator": CUSTOMER,
    "from_number": CUSTOMER,
    "to_number": LINE,
    "line_number": LINE,
}
RECORDING = {
    "recording_id": "MToxMDEyODIxOToyMDIzMDU5NDk5Mjow",
    "recording_state": "Completed",
    "seq": 2,
    "entry_id": ONE,
    "call_id": "leg-101",
    "extension": "101",
    "timestamp": AT + 137,
    "completion_code": 1000,
    "recipient": "Cloud",
}
ADDED = {
    "entry_id": ONE,
    "product_id": 400012345,
    "user_id": 400054321,
    "recording_id": RECORDING["recording_id"],
    "timestamp": AT + 190,
}

CALLS = {
    "answered": [
        leg(ONE, "menu", 1, "Appeared", "ivr"),
        leg(ONE, "menu", 2, "Connected", "ivr"),
        posted("events/dtmf", DTMF),
        leg(ONE, "queue", 1, "Appeared", "queue", from_=COMING, to={"number": LINE, "acd_group": "900"}),
        leg(ONE, "leg-101", 1, "Appeared", "abonent", from_=COMING, to=taken(101)),
        leg(ONE, "leg-102", 1, "Appeared", "abonent", from_=COMING, to=taken(102)),
        leg(ONE, "leg-101", 2, "Connected", "abonent", from_=COMING, to=taken(101)),
        leg(ONE, "leg-102", 2, "Disconnected", "abonent", from_=COMING, to=taken(102), disconnect_reason=1131),
        leg(ONE, "leg-101", 3, "OnHold", "abonent", from_=COMING, to=taken(101)),
        leg(ONE, "leg-101", 4, "Connected", "abonent", from_=COMING, to=taken(101)),
        leg(ONE, "leg-101", 5, "Disconnected", "abonent", from_=COMING, to=taken(101), disconnect_reason=1110),
        posted("events/summary", summary(ONE)),
        posted("events/recording", RECORDING),
        posted("events/record/added", ADDED),
    ],
    "missed": [
        leg(TWO, "leg-101-b", 1, "Appeared", "abonent", to=taken(101)),
        leg(TWO, "leg-101-b", 2, "Disconnected", "abonent", to=taken(101), disconnect_reason=1110),
        posted("events/summary", summary(TWO, talk_time=0, forward_time=0, end_time=AT + 30, entry_result=0)),
    ],
    "transferred": [
        leg(THREE, "leg-101-c", 1, "Appeared", "abonent", to=taken(101)),
        leg(THREE, "leg-101-c", 2, "Connected", "abonent", to=taken(101)),
        leg(THREE, "leg-101-c", 3, "Disconnected", "abonent", to=taken(101), transfer="blind", disconnect_reason=1100),
        leg(THREE, "leg-102-c", 1, "Appeared", "abonent", from_=COMING, to=taken(102)),
        leg(THREE, "leg-102-c", 2, "Connected", "abonent", from_=COMING, to=taken(102)),
        leg(THREE, "leg-102-c", 3, "Disconnected", "abonent", from_=COMING, to=taken(102), disconnect_reason=1110),
        posted("events/summary", summary(THREE, to={"extension": "102", "number": "sip:user102@x"})),
    ],
    "outbound": [
        leg(FOUR, "leg-out", 1, "Appeared", "abonent", from_=COLLEAGUE, to={"number": CUSTOMER}, command_id="d-1"),
        leg(FOUR, "leg-out", 2, "Connected", "abonent", from_=COLLEAGUE, to={"number": CUSTOMER}, command_id="d-1"),
        leg(FOUR, "leg-out", 3, "Disconnected", "abonent", from_=COLLEAGUE, to={"number": CUSTOMER}, command_id="d-1"),
        posted(
            "events/summary",
            summary(FOUR, call_direction=2, to={"number": CUSTOMER}, **{"from": COLLEAGUE}),
        ),
        posted("events/record/added", {**ADDED, "entry_id": FOUR, "recording_id": "MTo0"}),
    ],
}

REQUESTS = [
    *CALLS["answered"],
    CALLS["missed"][-1],
    *CALLS["outbound"],
    posted("result/callback", {"command_id": "d-1", "result": 1000}),
    posted("result/callback", {"command_id": "d-2", "result": 3100}),
]
