from __future__ import annotations

import json
from typing import Any

from channels.desk_mattermost_posts import proof
from tests.channels.payloads.mattermost import BOB, DIRECT, POST, TOWN, US
from webhooks.request import RawRequest

TOKEN = "m1xq6aqb5p8zjgw8tbsbnnkmda"
SETTINGS = {"url": "https://chat.example.com", "token": TOKEN}
IS_SIGNED = False  # the proof covers what a button brings back, not the body


def pressed(data: str = "take:17", *, thread: str = "", channel: str = DIRECT, **more: Any) -> RawRequest:
    """A pressed button, as the server tells it."""
    body = {
        "user_id": BOB,
        "user_name": "bob",
        "channel_id": channel,
        "channel_name": f"{US}__{BOB}" if channel == DIRECT else "sales",
        "team_id": "",
        "team_domain": "",
        "post_id": POST,
        "trigger_id": "bWd0Nm5hcTRvZjh0dTg2bXVjaWRzc3F3eHc6" * 8,
        "type": "button",
        "data_source": "",
        "context": {"data": data, "thread": thread, "proof": proof(TOKEN, channel, thread, data)},
        **more,
    }
    return RawRequest(json.dumps(body).encode(), headers={"content-type": "application/json"})


REQUESTS = [pressed(), pressed("won:8", thread="r" * 26, channel=TOWN)]
