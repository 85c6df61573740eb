from __future__ import annotations

from typing import Any

from channels.desk_matrix_events import MET, PARTED, SAID, item
from channels.fields import Fields
from tests.channels.payloads import NOW
from webhooks.request import RawRequest

TOKEN = "syt_ZGVzaw_ekmXEnuRAQNQgCRGWwmA_3gBJHS"
BOT = "@desk:example.com"
VERA = "@vera:example.com"
ROOM = "!636q39766251:example.com"
SETTINGS = {"homeserver": "https://matrix.example.com", "user_id": BOT, "access_token": TOKEN}
IS_SIGNED = False  # nothing comes but by the line

MOMENT = int(NOW.timestamp() * 1000) - 1_500


def event(kind: str, content: dict[str, Any], name: str = "$143273582443PhrSn", **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "content": content,
        "event_id": name,
        "sender": VERA,
        "origin_server_ts": MOMENT,
        "unsigned": {"age": 71, "membership": "join"},
        **more,
    }


def message(body: str = "Здравствуйте! Завтра 😀", name: str = "$143273582443PhrSn", **more: Any) -> dict[str, Any]:
    return event("m.room.message", {"msgtype": "m.text", "body": body, **more}, name)


def brought(
    found: dict[str, Any], kind: str = SAID, *, is_private: bool = True, person: str = VERA, name: str = "Вера"
) -> RawRequest:
    """What the line makes of an event."""
    made = item(kind, Fields(found), room=ROOM, us=BOT, person=person, name=name, is_private=is_private)
    return made.request


IN_THREAD = {
    "rel_type": "m.thread",
    "event_id": "$card",
    "is_falling_back": True,
    "m.in_reply_to": {"event_id": "$last"},
}
IMAGE = message(
    "Вот такой",
    "$image",
    msgtype="m.image",
    filename="торт.png",
    url="mxc://example.com/JWEIFJgwEIhweiWJE",
    info={"mimetype": "image/png", "size": 31037},
    **{"m.relates_to": IN_THREAD},
)
EDIT = message(
    "* Послезавтра",
    "$edit",
    **{
        "m.new_content": {"msgtype": "m.text", "body": "Послезавтра"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$143273582443PhrSn"},
    },
)
JOINED = event("m.room.member", {"membership": "join", "displayname": "Вера"}, "$join", state_key=VERA)
KICKED = event("m.room.member", {"membership": "leave"}, "$kick", state_key=BOT)

REQUESTS = [
    brought(message()),
    brought(IMAGE, is_private=False),
    brought(EDIT),
    brought(message("link abcdefgh-12345678", "$link")),
    brought(JOINED, MET),
    brought(KICKED, PARTED, person="", name=""),
]
