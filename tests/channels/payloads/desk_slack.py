from __future__ import annotations

import json
from typing import Any

from tests.channels.payloads import slack
from tests.channels.payloads.slack import FILES, STAMP, event, form, message
from webhooks.request import RawRequest

SETTINGS = slack.SETTINGS
IS_SIGNED = True

CARD = "1548261231.000200"
PRESSED: dict[str, Any] = {
    **slack.PRESSED,
    "actions": [
        {
            "action_id": "key_0_0",
            "block_id": "=qXel",
            "text": {"type": "plain_text", "text": "Взять", "emoji": True},
            "value": "take:17",
            "type": "button",
            "action_ts": STAMP,
        }
    ],
    "response_url": "https://hooks.slack.com/actions/T123ABC456/1/x",
}
CHANGED = {
    **slack.CHANGED,
    "message": {**slack.CHANGED["message"], "thread_ts": CARD},  # type: ignore[dict-item]
}


def pressed(**more: Any) -> RawRequest:
    """A pressed button, as Slack tells it."""
    return form({"payload": json.dumps({**PRESSED, **more})})


REQUESTS = [
    message(thread_ts=CARD),
    message(subtype="file_share", text="", files=FILES, thread_ts=CARD),
    message(channel="C2147483705", channel_type="channel", thread_ts=CARD, text="<@U0BOT> перезвоните ему"),
    message(text="link abcdefgh-12345678"),
    event(CHANGED),
    pressed(),
    form(slack.COMMAND),
    event({"type": "member_left_channel", "user": "U0BOT", "channel": "C2147483705", "event_ts": STAMP}),
]
