from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from channels.mattermost_posts import proof
from tests.channels.payloads import NOW
from webhooks.request import RawRequest

SECRET = "xr3j5x3p4pfk7kk6ck7b4e6ghh"
SETTINGS = {"url": "https://chat.example.com", "token": "m1xq6aqb5p8zjgw8tbsbnnkmda", "secret": SECRET}

US = "b" * 26
BOB = "u" * 26
DIRECT = "d" * 26
TOWN = "t" * 26
POST = "p" * 26
MOMENT = int(NOW.timestamp() * 1000) - 1_500


def post(message: str = "Здравствуйте! Сколько стоит торт? 😀", **more: Any) -> dict[str, Any]:
    return {
        "id": POST,
        "create_at": MOMENT,
        "update_at": MOMENT,
        "edit_at": 0,
        "delete_at": 0,
        "user_id": BOB,
        "channel_id": DIRECT,
        "root_id": "",
        "message": message,
        "type": "",
        "props": {},
        "metadata": {},
        **more,
    }


def said(found: dict[str, Any], *, where: str = "D", event: str = "posted", **more: Any) -> dict[str, Any]:
    """An event as the WebSocket tells it: the post is JSON within JSON."""
    data = {
        "channel_display_name": "@bob",
        "channel_name": f"{US}__{BOB}",
        "channel_type": where,
        "post": json.dumps(found, ensure_ascii=False),
        "sender_name": "@bob",
        "set_online": True,
        "team_id": "",
        **more,
    }
    return {"event": event, "data": data, "broadcast": {"channel_id": found["channel_id"]}, "seq": 1}


def hook(fields: dict[str, str], *, is_json: bool = True) -> RawRequest:
    if is_json:
        return RawRequest(json.dumps(fields).encode(), headers={"content-type": "application/json"})
    return RawRequest(urlencode(fields).encode(), headers={"content-type": "application/x-www-form-urlencoded"})


HOOKED = {
    "token": SECRET,
    "team_id": "gtqrgimsc3fdm8bf7zaqgjz1wa",
    "team_domain": "shop",
    "channel_id": TOWN,
    "channel_name": "town-square",
    "timestamp": str(MOMENT),
    "user_id": BOB,
    "user_name": "bob",
    "post_id": POST,
    "text": "#заказ два торта & чай",
    "trigger_word": "#заказ",
    "file_ids": f"{'f' * 26},{'g' * 26}",
}

PRESSED = {
    "user_id": BOB,
    "user_name": "bob",
    "channel_id": DIRECT,
    "channel_name": f"{US}__{BOB}",
    "team_id": "",
    "team_domain": "",
    "post_id": POST,
    "trigger_id": "bWd0Nm5hcTRvZjh0dTg2bXVjaWRzc3F3eHc6" * 8,
    "type": "button",
    "data_source": "",
    "context": {"text": "Да, верно", "payload": "confirm:17", "proof": proof(SECRET, "Да, верно", "confirm:17")},
}

FILES = {
    "files": [
        {"id": "f" * 26, "name": "торт.png", "extension": "png", "size": 31037, "mime_type": "image/png"},
        {"id": "g" * 26, "name": "голос.ogg", "extension": "ogg", "size": 9000, "mime_type": "audio/ogg"},
    ]
}

REQUESTS = [
    hook(HOOKED),
    hook(HOOKED, is_json=False),
    RawRequest(json.dumps(PRESSED).encode(), headers={"content-type": "application/json"}),
]
