from __future__ import annotations

import json
from typing import Any

from channels.voice_uis import templates
from webhooks.request import RawRequest

TOKEN = "uis-t0ken-uis-t0ken"
API_TOKEN = "2fRN4g217ca0b4224a67988aff3e584f9"
LINE, CUSTOMER = "74951045771", "79161234567"
SETTINGS = {
    "token": TOKEN,
    "api_token": API_TOKEN,
    "secret": "l00k-up-s3cret",
    "line": LINE,
    "employees": ["101 = 2345", "102 = 2346"],
}
BODIES = {each.event: each.body for each in templates("")}


def posted(body: str) -> RawRequest:
    return RawRequest(body.encode(), headers={"content-type": "application/json"}, query=f"token={TOKEN}")


def told(event: str, call: int, at: str, **values: Any) -> RawRequest:
    """A notification as UIS makes it of our body: every placeholder becomes a JSON value, null where there is none."""
    known = {
        "call_session_id": call,
        "notification_time": f"2026-11-20 {at}",
        "virtual_phone_number": LINE,
        "contact_phone_number": CUSTOMER,
        **values,
    }
    body = BODIES[event]
    for name, value in known.items():
        body = body.replace(f"{{{{{name}}}}}", json.dumps(value, ensure_ascii=False))
    for piece in body.split("{{")[1:]:
        body = body.replace("{{" + piece.partition("}}")[0] + "}}", "null")
    return posted(body)


VERA = {"employee_id": 2345, "employee_full_name": "Вера Иванова"}
OLEG = {"employee_id": 2346, "employee_full_name": "Олег Петров"}
RECORD = "https://app.uiscom.ru/system/media/talk/206597836/8f14e45fceea167a5a36dedd4bea2543/"
IN, OUT = {"direction": "in"}, {"direction": "out"}

CALLS = {
    "answered": [
        told("call_started", 206597836, "11:15:30.120"),
        told("ringing", 206597836, "11:15:32", **VERA, **IN, leg_id=287866221),
        told("talk_started", 206597836, "11:15:45", **VERA, **IN, leg_ids=[287866220, 287866221]),
        told("talk_finished", 206597836, "11:17:15", **VERA, **IN, leg_ids=[287866220, 287866221]),
        told(
            *("call_finished", 206597836, "11:17:16"),
            **(VERA | IN),
            talk_time_duration=90,
            wait_time_duration=15,
            total_time_duration=106,
            scenario_name="Рабочее время",
        ),
        told("recording", 206597836, "11:17:40", **VERA, file_link=RECORD, file_duration=90),
    ],
    "missed": [
        told("call_started", 206597900, "12:00:00"),
        told("ringing", 206597900, "12:00:02", **VERA, **IN, leg_id=287866300),
        told("call_lost", 206597900, "12:00:32", wait_time_duration=32, employee_ids=[2345]),
        told("call_finished", 206597900, "12:00:32", **VERA, **IN, talk_time_duration=0, wait_time_duration=32),
    ],
    "transferred": [
        told("call_started", 206598000, "12:10:00"),
        told("ringing", 206598000, "12:10:01", **VERA, **IN, leg_id=1),
        told("talk_started", 206598000, "12:10:05", **VERA, **IN, leg_ids=[0, 1]),
        told("ringing", 206598000, "12:10:30", **OLEG, **IN, leg_id=2),
        told("talk_started", 206598000, "12:10:35", **OLEG, **IN, leg_ids=[0, 2]),
        told("talk_finished", 206598000, "12:12:00", **OLEG, **IN, leg_ids=[0, 2], talk_time_duration=85),
        told("call_finished", 206598000, "12:12:00", **OLEG, **IN, talk_time_duration=115, total_time_duration=120),
    ],
    "outbound": [
        told("call_placed", 206599000, "13:00:00", **VERA, employee_phone_number="101"),
        told("talk_started", 206599000, "13:00:20", **VERA, **OUT, external_id="77", leg_ids=[8, 9]),
        told(
            *("call_finished", 206599000, "13:01:20"),
            **(VERA | OUT),
            external_id="77",
            talk_time_duration=60,
            total_time_duration=80,
        ),
    ],
}

REQUESTS = [request for requests in CALLS.values() for request in requests]
