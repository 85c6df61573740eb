from __future__ import annotations

import json
from typing import Any

from tests.channels.payloads import NOW
from webhooks.request import RawRequest

HS_TOKEN = "hs-abcdef0123456789"
SETTINGS = {
    "homeserver": "https://matrix.example.com",
    "as_token": "as-abcdef0123456789",
    "hs_token": HS_TOKEN,
    "user_prefix": "switchyard_",
}
IS_SIGNED = False  # a token, not a signature: it does not cover the body

ROOM = "!636q39766251:example.com"
BOB = "@bob:other.example"
BOT = "@switchyard:example.com"
MOMENT = int(NOW.timestamp() * 1000) - 1_500


def transaction(*events: dict[str, Any], number: str = "35", **more: Any) -> RawRequest:
    body = json.dumps({"events": list(events), **more}, ensure_ascii=False).encode()
    suffix = f"_matrix/app/v1/transactions/{number}"
    return RawRequest(
        body,
        "PUT",
        {"content-type": "application/json", "authorization": f"Bearer {HS_TOKEN}", "user-agent": "Synapse/1.163.2"},
        f"/hooks/key/{suffix}",
        "",
        suffix,
        f"https://hub.example/hooks/key/{suffix}",
    )


def event(kind: str, content: dict[str, Any], name: str = "$143273582443PhrSn", **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "content": content,
        "event_id": name,
        "room_id": ROOM,
        "sender": BOB,
        "user_id": BOB,
        "origin_server_ts": MOMENT,
        "unsigned": {"age": 71},
        "age": 71,
        **more,
    }


def message(
    body: str = "Здравствуйте! Сколько стоит торт? 😀", name: str = "$143273582443PhrSn", **more: Any
) -> dict[str, Any]:
    return event("m.room.message", {"msgtype": "m.text", "body": body, **more}, name)


IMAGE = message(
    "Такой, пожалуйста",
    "$image",
    msgtype="m.image",
    filename="торт.png",
    url="mxc://other.example/JWEIFJgwEIhweiWJE",
    info={"mimetype": "image/png", "size": 31037, "w": 394, "h": 398},
)
VOICE = message(
    "Voice message",
    "$voice",
    **{
        "msgtype": "m.audio",
        "url": "mxc://other.example/ffed755USFFxlgbQYZGtryd",
        "info": {"mimetype": "audio/ogg", "size": 9000, "duration": 2140},
        "org.matrix.msc3245.voice": {},
    },
)
INVITE = event(
    "m.room.member",
    {"membership": "invite", "is_direct": True, "displayname": "switchyard"},
    "$invite",
    state_key=BOT,
)
EDIT = message(
    "* Сколько стоят два?",
    "$edit",
    **{
        "m.new_content": {"msgtype": "m.text", "body": "Сколько стоят два?"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$143273582443PhrSn"},
    },
)
REACTION = event(
    "m.reaction",
    {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$ours", "key": "👍"}},
    "$reaction",
)
REDACTION = event("m.room.redaction", {"reason": "ошибка"}, "$redaction", redacts="$143273582443PhrSn")
ENCRYPTED = event("m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgAEnACgA"}, "$encrypted")
RECEIPT = {"type": "m.receipt", "room_id": ROOM, "content": {"$ours": {"m.read": {BOB: {"ts": MOMENT}}}}}
TYPING = {"type": "m.typing", "room_id": ROOM, "content": {"user_ids": [BOB]}}

REQUESTS = [
    transaction(message()),
    transaction(IMAGE, VOICE, ENCRYPTED, number="36"),
    transaction(INVITE, number="37"),
    transaction(EDIT, REACTION, REDACTION, number="38"),
    transaction(ephemeral=[RECEIPT, TYPING], number="39"),
    transaction(message(name="$a"), {**message(name="$b"), "room_id": "!other:example.com"}, number="40"),
]
