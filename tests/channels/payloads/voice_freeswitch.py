from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

from webhooks.request import RawRequest

SECRET = "cdr-secret-0123456789"
SETTINGS = {"host": "127.0.0.1", "password": "ClueCon-0123", "secret": SECRET}

AT = 1763625600  # 2025-11-20 08:00:00 UTC
CUSTOMER, LINE = "79161234567", "74951112233"
A, B, C, D = (f"{letter * 8}-1111-4222-8333-444455556666" for letter in "abcd")
RECORDING = "/var/lib/freeswitch/recordings/2025-11-20/aaaaaaaa.wav"


def event(name: str, leg: str, second: int, call: str = "", **more: Any) -> dict[str, Any]:
    """Make an event of a leg; `_` in the names of headers stands for a dash, but in variables."""
    headers = {name if name.startswith("variable") else name.replace("_", "-"): value for name, value in more.items()}
    return {
        "Event-Name": name,
        "Core-UUID": "9f1c0f9e-core",
        "Event-Date-Timestamp": str((AT + second) * 1_000_000),
        "Event-Sequence": str(1000 + second),
        "Unique-ID": leg,
        "Channel-Call-UUID": call or leg,
        **headers,
    }


def brought(said: dict[str, Any]) -> RawRequest:
    """Make a request of an event, as the listener does."""
    return RawRequest(
        json.dumps(said, ensure_ascii=False).encode(),
        method="ESL",
        headers={"content-type": "application/json"},
        client="127.0.0.1",
    )


IN = {"Caller_Caller_ID_Number": CUSTOMER, "Caller_Destination_Number": LINE, "Call_Direction": "inbound"}
TO_101 = {
    "Caller_Caller_ID_Number": CUSTOMER,
    "Caller_Destination_Number": "101",
    "variable_dialed_user": "101",
    "Other_Type": "originator",
    "Other_Leg_Unique_ID": A,
    "Other_Leg_Caller_ID_Number": CUSTOMER,
}
TO_102 = {**TO_101, "Caller_Destination_Number": "102", "variable_dialed_user": "102"}


def end(
    leg: str, second: int, *, answered: int = 0, joined: int = 0, cause: str = "NORMAL_CLEARING", **more: Any
) -> Any:
    return event(
        "CHANNEL_HANGUP_COMPLETE",
        leg,
        second,
        Hangup_Cause=cause,
        variable_start_epoch=str(AT),
        variable_answer_epoch=str(AT + answered) if answered else "0",
        variable_bridge_epoch=str(AT + joined) if joined else "0",
        variable_end_epoch=str(AT + second),
        **more,
    )


ANSWERED = [
    event("CHANNEL_CREATE", A, 0, Caller_Channel_Created_Time=str(AT * 1_000_000), **IN),
    event("CHANNEL_ANSWER", A, 1, **IN),
    event("CHANNEL_CREATE", B, 4, A, **TO_101),
    event("CHANNEL_CREATE", C, 4, A, **TO_102),
    event("CHANNEL_ANSWER", B, 12, A, **TO_101),
    event(
        "CHANNEL_BRIDGE",
        A,
        12,
        Other_Type="originatee",
        Other_Leg_Unique_ID=B,
        Other_Leg_Destination_Number="101",
        Other_Leg_Channel_Answered_Time=str((AT + 12) * 1_000_000),
        Caller_Channel_Answered_Time=str((AT + 1) * 1_000_000),
        **IN,
    ),
    event("CHANNEL_HANGUP_COMPLETE", C, 12, A, Hangup_Cause="LOSE_RACE", **TO_102),
    event("CHANNEL_HOLD", B, 40, A, **TO_101),
    event("CHANNEL_UNHOLD", B, 50, A, **TO_101),
    event("RECORD_STOP", A, 137, Record_File_Path=RECORDING, variable_record_seconds="125", **IN),
    event("CHANNEL_HANGUP_COMPLETE", B, 137, A, Hangup_Cause="NORMAL_CLEARING", **TO_101),
    end(A, 137, answered=1, joined=12, **IN),
]
MISSED = [
    event("CHANNEL_CREATE", D, 0, **IN),
    event("CHANNEL_CREATE", "b2", 2, D, **{**TO_101, "Other_Leg_Unique_ID": D}),
    event("CHANNEL_HANGUP_COMPLETE", "b2", 30, D, Hangup_Cause="ORIGINATOR_CANCEL", **TO_101),
    end(D, 30, cause="ORIGINATOR_CANCEL", **IN),
]
TRANSFERRED = [
    event("CHANNEL_CREATE", "t1", 0, **IN),
    event("CHANNEL_CREATE", "t2", 1, "t1", **TO_101),
    event("CHANNEL_ANSWER", "t2", 5, "t1", **TO_101),
    event(
        "CHANNEL_HANGUP_COMPLETE",
        "t2",
        60,
        "t1",
        Hangup_Cause="BLIND_TRANSFER",
        variable_sip_refer_to="<sip:102@pbx.example;user=phone>",
        **TO_101,
    ),
    event("CHANNEL_CREATE", "t3", 61, "t1", **TO_102),
    event("CHANNEL_ANSWER", "t3", 65, "t1", **TO_102),
    event("CHANNEL_HANGUP_COMPLETE", "t3", 137, "t1", Hangup_Cause="NORMAL_CLEARING", **TO_102),
    end("t1", 137, answered=1, joined=65, **IN),
]
OUT = {"Caller_Caller_ID_Number": "101", "Caller_Destination_Number": CUSTOMER, "variable_user_name": "101"}
TO_CUSTOMER = {
    "Caller_Caller_ID_Number": LINE,
    "Caller_Destination_Number": CUSTOMER,
    "Other_Type": "originator",
    "Other_Leg_Unique_ID": "o1",
    "Other_Leg_Caller_ID_Number": "101",
}
OUTBOUND = [
    event("CHANNEL_CREATE", "o1", 0, **OUT),
    event("CHANNEL_CREATE", "o2", 1, "o1", **TO_CUSTOMER),
    event("CHANNEL_ANSWER", "o2", 12, "o1", **TO_CUSTOMER),
    event("CHANNEL_HANGUP_COMPLETE", "o2", 137, "o1", Hangup_Cause="NORMAL_CLEARING", **TO_CUSTOMER),
    end("o1", 137, answered=12, joined=12, **OUT),
]

CALLS = {
    "answered": [brought(said) for said in ANSWERED],
    "missed": [brought(said) for said in MISSED],
    "transferred": [brought(said) for said in TRANSFERRED],
    "outbound": [brought(said) for said in OUTBOUND],
}

RECORD: dict[str, Any] = {
    "core-uuid": "9f1c0f9e-core",
    "channel_data": {"state": "CS_REPORTING", "direction": "inbound"},
    "variables": {
        "uuid": A,
        "call_uuid": A,
        "hangup_cause": "NORMAL_CLEARING",
        "start_epoch": str(AT),
        "answer_epoch": str(AT + 1),
        "bridge_epoch": str(AT + 12),
        "end_epoch": str(AT + 137),
        "last_app": "bridge",
        "sip_from_display": "%D0%90%D0%BD%D0%BD%D0%B0",
    },
    "callflow": [
        {"caller_profile": {"caller_id_number": CUSTOMER, "destination_number": "101"}},
        {"caller_profile": {"caller_id_number": CUSTOMER, "destination_number": LINE}},
    ],
}


def basic(password: str = SECRET) -> str:
    return "Basic " + base64.b64encode(f"freeswitch:{password}".encode()).decode()


def record(said: dict[str, Any], *, as_form: bool = False) -> RawRequest:
    """Post a record as mod_json_cdr does, plain or with `encode` on."""
    content = json.dumps(said)
    headers = {"authorization": basic(), "content-type": "application/json"}
    if not as_form:
        return RawRequest(content.encode(), headers=headers, query=f"uuid=a_{A}")
    headers["content-type"] = "application/x-www-form-urlencoded"
    return RawRequest(urlencode({"cdr": content}, quote_via=quote).encode(), headers=headers, query=f"uuid=a_{A}")


REQUESTS = [*CALLS["answered"], CALLS["missed"][-1], *CALLS["outbound"], record(RECORD), record(RECORD, as_form=True)]
