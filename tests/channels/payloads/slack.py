from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from tests.channels.payloads import NOW
from webhooks.request import RawRequest

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SETTINGS = {"signing_secret": SECRET, "bot_token": "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy"}
IS_SIGNED = True

STAMP = f"{int(NOW.timestamp()) - 2}.000200"


def signed(body: bytes, content_type: str, at: int = int(NOW.timestamp()), secret: str = SECRET) -> RawRequest:
    made = hmac.new(secret.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": content_type,
        "x-slack-request-timestamp": str(at),
        "x-slack-signature": f"v0={made}",
        "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
    }
    return RawRequest(body, headers=headers)


def event(inner: dict[str, Any], *, event_id: str = "Ev08MFMKH6") -> RawRequest:
    outer = {
        "token": "XXYYZZ",
        "team_id": "T123ABC456",
        "api_app_id": "A123ABC456",
        "event": inner,
        "type": "event_callback",
        "authorizations": [
            {"enterprise_id": None, "team_id": "T123ABC456", "user_id": "U0BOT", "is_bot": True},
        ],
        "event_context": "EC123ABC456",
        "event_id": event_id,
        "event_time": int(NOW.timestamp()) - 2,
    }
    return signed(json.dumps(outer).encode(), "application/json")


def message(**more: Any) -> RawRequest:
    said = {
        "type": "message",
        "channel": "D024BE91L",
        "user": "U2147483697",
        "text": "Здравствуйте! Цена &lt; 100 &amp; доставка? <https://shop.example/a?b=1|тут>",
        "ts": STAMP,
        "event_ts": STAMP,
        "channel_type": "im",
    }
    return event({**said, **more})


def form(fields: dict[str, str]) -> RawRequest:
    return signed(urlencode(fields).encode(), "application/x-www-form-urlencoded")


FILES = [
    {
        "id": "F0S43P1CZ",
        "name": "договор №5.pdf",
        "title": "договор",
        "mimetype": "application/pdf",
        "filetype": "pdf",
        "size": 144538,
        "mode": "hosted",
        "url_private": "https://files.slack.com/files-pri/T123ABC456-F0S43P1CZ/dogovor.pdf",
        "url_private_download": "https://files.slack.com/files-pri/T123ABC456-F0S43P1CZ/download/dogovor.pdf",
    },
    {
        "id": "F0S43P1D0",
        "name": "audio_message.m4a",
        "mimetype": "audio/mp4",
        "subtype": "slack_audio",
        "size": 9000,
        "mode": "hosted",
        "url_private": "https://files.slack.com/files-tmb/T123ABC456-F0S43P1D0/audio_message.m4a",
    },
    {"id": "F0S43P1D1", "mode": "file_access", "file_access": "check_file_info", "size": 0},
    {"id": "F0S43P1D2", "mode": "external", "url_private": "https://docs.example/d/1", "name": "Смета"},
    {"id": "F0S43P1D3", "mode": "tombstone"},
]

PRESSED = {
    "type": "block_actions",
    "user": {"id": "U2147483697", "username": "vera", "name": "vera", "team_id": "T123ABC456"},
    "api_app_id": "A123ABC456",
    "container": {"type": "message", "message_ts": "1548261231.000200", "channel_id": "D024BE91L"},
    "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
    "team": {"id": "T123ABC456", "domain": "workspace"},
    "channel": {"id": "D024BE91L", "name": "directmessage"},
    "message": {
        "bot_id": "B0001",
        "type": "message",
        "text": "Подтвердить?",
        "user": "U0BOT",
        "ts": "1548261231.000200",
    },
    "actions": [
        {
            "action_id": "answer_0",
            "block_id": "=qXel",
            "text": {"type": "plain_text", "text": "Да, верно", "emoji": True},
            "value": "confirm:17",
            "type": "button",
            "action_ts": STAMP,
        }
    ],
}

COMMAND = {
    "token": "XXYYZZ",
    "team_id": "T123ABC456",
    "channel_id": "C2147483705",
    "channel_name": "general",
    "user_id": "U2147483697",
    "user_name": "vera",
    "command": "/order",
    "text": "два торта &amp; чай",
    "response_url": "https://hooks.slack.com/commands/1234/5678",
    "trigger_id": "13345224609.738474920.8088930838d88f008e0",
}

CHANGED = {
    "type": "message",
    "subtype": "message_changed",
    "hidden": True,
    "channel": "D024BE91L",
    "channel_type": "im",
    "ts": STAMP,
    "event_ts": STAMP,
    "message": {
        "type": "message",
        "user": "U2147483697",
        "text": "Goodbye &amp; thanks",
        "edited": {"user": "U2147483697", "ts": STAMP},
        "ts": "1652635099.971779",
    },
    "previous_message": {"type": "message", "user": "U2147483697", "text": "Hello", "ts": "1652635099.971779"},
}

DELETED = {
    "type": "message",
    "subtype": "message_deleted",
    "channel": "D024BE91L",
    "channel_type": "im",
    "ts": STAMP,
    "event_ts": STAMP,
    "deleted_ts": "1652635099.971779",
    "previous_message": {"type": "message", "user": "U2147483697", "text": "Hello", "ts": "1652635099.971779"},
}

REACTION = {
    "type": "reaction_added",
    "user": "U2147483697",
    "reaction": "thumbsup",
    "item_user": "U0BOT",
    "item": {"type": "message", "channel": "D024BE91L", "ts": "1652635099.971779"},
    "event_ts": STAMP,
}

REQUESTS = [
    message(),
    message(subtype="file_share", text="", files=FILES),
    message(
        channel="C2147483705", channel_type="channel", thread_ts="1482960137.003543", text="<@U0BOT> сколько стоит?"
    ),
    event(CHANGED),
    event(DELETED),
    event(REACTION),
    form({"payload": json.dumps(PRESSED)}),
    form(COMMAND),
]
