"""What Asterisk 16 said of real calls, event by event (the JSON files beside this), and the requests made of that."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from channels import asterisk_events
from channels.asterisk_calls import Calls
from channels.asterisk_channels import plan
from webhooks.request import RawRequest

SETTINGS = {
    "ami_host": "127.0.0.1",
    "ami_user": "hub",
    "ami_secret": "ami-secret",
    "originate_context": "internal",
    "trunk": "trunk",
    "recordings_dir": "/var/spool/asterisk/monitor",
    "ari_url": "http://127.0.0.1:8088",
    "ari_user": "hub",
    "ari_password": "ari-password",
    "secret": "asks-who-rings",
}

HEARD = datetime(2026, 11, 30, 1, 50, tzinfo=UTC)
LOGS: dict[str, list[dict[str, str]]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("*.json"))
}
"""name of a call → its events, as they came over the line."""


def requests_of(events: list[dict[str, str]], calls: Calls | None = None) -> list[RawRequest]:
    """Make of events what the listener would."""
    calls = calls or Calls(plan("trunk", 5, "https://hub.example/hooks/k"))
    requests = []
    for number, event in enumerate(events, 1):
        fields = {name: value for name, value in event.items() if name != "Event"}
        if notes := calls.take(event["Event"], fields):
            requests.append(
                asterisk_events.kept(event["Event"], fields, notes, number=number, now=HEARD, host="127.0.0.1")
            )
    return requests


CALLS = {name: requests_of(events) for name, events in LOGS.items()}
REQUESTS = [request for name in ("queue", "blind_transfer", "voicemail", "outbound") for request in CALLS[name]]
