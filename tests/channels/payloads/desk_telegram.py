from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.channels.payloads.telegram import (
    BLOCKED,
    BOT,
    DATE,
    DOCUMENT,
    GROUP,
    PHOTO,
    SECRET,
    TOKEN,
    VERA,
    message,
    update,
)
from tests.channels.payloads.telegram import request as bare
from webhooks.request import RawRequest

SETTINGS = {"token": TOKEN, "secret_token": SECRET}
HANDLE = "shop_bot"

IN_TOPIC: dict[str, Any] = {"message_thread_id": 3, "is_topic_message": True}
BEGINNING = {
    "message_id": 3,
    "from": BOT,
    "chat": GROUP,
    "date": DATE - 600,
    "message_thread_id": 3,
    "is_topic_message": True,
    "forum_topic_created": {"name": "Вера Ильина", "icon_color": 7322096},
}
PRESS = {
    "id": "4382bfdwdsb323b2d9",
    "from": VERA,
    "message": {"message_id": 140, "from": BOT, "chat": GROUP, "date": DATE - 60, "text": "Новый лид", **IN_TOPIC},
    "chat_instance": "-3842",
    "data": "take:17",
}


def request(body: Any, secret: str | None = SECRET, handle: str = HANDLE) -> RawRequest:
    """Make Telegram's request to the hook of the bot `handle`."""
    return replace(bare(body, secret), suffix=handle)


UPDATES = [
    update(message=message(text="/start aB3_-xyz90")),
    update(174114371, message=message(42, text="/mine")),
    update(174114372, message=message(43, GROUP, text="Добрый день 👋", reply_to_message=BEGINNING, **IN_TOPIC)),
    update(174114373, message=message(44, GROUP, text="Заметка", reply_to_message={"message_id": 40, "date": DATE})),
    update(174114374, edited_message=message(43, GROUP, text="Добрый вечер", edit_date=DATE + 9, **IN_TOPIC)),
    update(174114375, message=message(45, photo=PHOTO, caption="Кухня", media_group_id="13520")),
    update(174114376, message=message(46, document=DOCUMENT, media_group_id="13520")),
    update(174114377, message=message(47, location={"latitude": 55.753544, "longitude": 37.621202})),
    update(174114378, callback_query=PRESS),
    update(174114379, my_chat_member=BLOCKED),
    update(174114380, message={"message_id": 9, "chat": {**GROUP, "type": "group"}, "migrate_to_chat_id": -1002}),
    update(174114381, message=message(48, GROUP, text="/won@other_bot")),
    update(174114382, poll={"id": "1"}),
]
REQUESTS = [request(one) for one in UPDATES]
