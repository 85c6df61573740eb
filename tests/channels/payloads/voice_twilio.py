from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import urlencode

from webhooks.request import RawRequest

TOKEN = "5f2c6a1e9b7d4c38a0e1f2d3c4b5a697"
URL = "https://hub.example/hooks/k3y"
ACCOUNT = "AC0123456789abcdef0123456789abcdef"
LINE, CUSTOMER, OFFICE = "+14155550199", "+79161234567", "+14155550123"
SETTINGS = {
    "account_sid": ACCOUNT,
    "auth_token": TOKEN,
    "secret": "l00k-up-s3cret",
    "shared_key": "sh4red-k3y-sh4red",
    "caller_id": LINE,
    "ring": ["101 = sip:vera@shop.sip.twilio.com", "client:oleg", OFFICE],
    "record": True,
}
IS_SIGNED = True


def signed(form: dict[str, str], *, query: str = "", token: str = TOKEN) -> RawRequest:
    url = URL + (f"?{query}" if query else "")
    text = url + "".join(name + form[name] for name in sorted(form))
    signature = base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()
    return RawRequest(
        urlencode(form).encode(),
        headers={"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature},
        query=query,
        url=url,
    )


def came_in(call: str, status: str = "ringing", *, source: str = CUSTOMER, **more: str) -> dict[str, str]:
    """The parent of a call from outside: what the voice URL is sent."""
    return {
        "CallSid": call,
        "AccountSid": ACCOUNT,
        "From": source,
        "To": LINE,
        "CallStatus": status,
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
        "Caller": source,
        "Called": LINE,
        "FromCity": "",
        "FromCountry": "RU",
        "ToCountry": "US",
        **more,
    }


def reported(form: dict[str, str], at: str, seq: int, **more: str) -> dict[str, str]:
    """A status callback: with its time, and its place among those of its leg."""
    return {
        **form,
        "Timestamp": f"Fri, 20 Nov 2026 {at} +0000",
        "SequenceNumber": str(seq),
        "CallbackSource": "call-progress-events",
        **more,
    }


def leg(call: str, sid: str, to: str, status: str, *, source: str = CUSTOMER) -> dict[str, str]:
    """A phone that `<Dial>` rings."""
    return {
        "CallSid": sid,
        "ParentCallSid": call,
        "AccountSid": ACCOUNT,
        "From": source,
        "To": to,
        "CallStatus": status,
        "Direction": "outbound-dial",
        "ApiVersion": "2010-04-01",
    }


def recording(call: str, sid: str, seconds: int, *, source: str = "DialVerb") -> dict[str, str]:
    return {
        "AccountSid": ACCOUNT,
        "CallSid": call,
        "RecordingSid": sid,
        "RecordingUrl": f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Recordings/{sid}",
        "RecordingStatus": "completed",
        "RecordingDuration": str(seconds),
        "RecordingChannels": "2",
        "RecordingStartTime": "Fri, 20 Nov 2026 08:40:12 +0000",
        "RecordingSource": source,
    }


VERA = "sip:vera@shop.sip.twilio.com"
# Calls, and their legs.
ANSWERED, MISSED, PLACED, SPOKEN = (f"CA{number:032x}" for number in (1, 2, 3, 4))
ANSWERED_1, ANSWERED_2, MISSED_1, PLACED_1 = (f"CA{number:032x}" for number in (11, 12, 21, 31))
RECORDING = f"RE{1:032x}"
OURS = "dial=77&extension=101&number=%2B79161234567"
OUT = {**came_in(PLACED, source=LINE), "To": VERA, "Called": VERA, "Direction": "outbound-api"}

CALLS = {
    "answered": [
        signed(came_in(ANSWERED)),
        signed(reported(leg(ANSWERED, ANSWERED_1, VERA, "initiated"), "08:40:01", 0)),
        signed(reported(leg(ANSWERED, ANSWERED_2, "client:oleg", "ringing"), "08:40:02", 1)),
        signed(reported(leg(ANSWERED, ANSWERED_1, VERA, "ringing"), "08:40:02", 1)),
        signed(reported(leg(ANSWERED, ANSWERED_1, VERA, "in-progress"), "08:40:12", 2)),
        signed(reported(leg(ANSWERED, ANSWERED_2, "client:oleg", "canceled"), "08:40:12", 2)),
        signed(reported(leg(ANSWERED, ANSWERED_1, VERA, "completed"), "08:41:57", 3, CallDuration="105")),
        signed(
            came_in(ANSWERED, "in-progress", DialCallSid=ANSWERED_1, DialCallStatus="completed", DialCallDuration="105")
            | {"DialBridged": "true"}
        ),
        signed(reported(came_in(ANSWERED, "completed"), "08:41:58", 0, CallDuration="118", Duration="2")),
        signed(recording(ANSWERED, RECORDING, 105)),
    ],
    "missed": [
        signed(came_in(MISSED)),
        signed(reported(leg(MISSED, MISSED_1, VERA, "ringing"), "08:50:02", 1)),
        signed(reported(leg(MISSED, MISSED_1, VERA, "no-answer"), "08:50:27", 2, CallDuration="0")),
        signed(came_in(MISSED, "in-progress", DialCallSid=MISSED_1, DialCallStatus="no-answer")),
        signed(reported(came_in(MISSED, "completed"), "08:50:28", 0, CallDuration="27", Duration="1")),
    ],
    "outbound": [
        signed(reported(OUT | {"CallStatus": "initiated"}, "08:55:00", 0), query=OURS),
        signed(reported(OUT | {"CallStatus": "ringing"}, "08:55:01", 1), query=OURS),
        signed(reported(OUT | {"CallStatus": "in-progress"}, "08:55:05", 2), query=OURS),
        signed(reported(leg(PLACED, PLACED_1, CUSTOMER, "ringing", source=LINE), "08:55:08", 1), query=OURS),
        signed(reported(leg(PLACED, PLACED_1, CUSTOMER, "in-progress", source=LINE), "08:55:15", 2), query=OURS),
        signed(reported(leg(PLACED, PLACED_1, CUSTOMER, "completed", source=LINE), "08:56:15", 3), query=OURS),
        signed(
            OUT
            | {
                "CallStatus": "in-progress",
                "DialCallSid": PLACED_1,
                "DialCallStatus": "completed",
                "DialCallDuration": "60",
            },
            query=OURS,
        ),
        signed(reported(OUT | {"CallStatus": "completed"}, "08:56:16", 3, CallDuration="71"), query=OURS),
    ],
    "voicemail": [
        signed(came_in(SPOKEN)),
        signed(reported(came_in(SPOKEN, "completed"), "08:58:40", 0, CallDuration="38")),
        signed(recording(SPOKEN, f"RE{2:032x}", 21, source="RecordVerb")),
    ],
}

REQUESTS = [request for requests in CALLS.values() for request in requests]
