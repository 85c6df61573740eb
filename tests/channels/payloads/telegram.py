from __future__ import annotations

import json
from typing import Any

from tests.channels.payloads import NOW
from webhooks.request import RawRequest

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
SECRET = "b3f0_Zk-made-by-us"
SETTINGS = {"token": TOKEN, "secret_token": SECRET}

DATE = int(NOW.timestamp())
VERA: dict[str, Any] = {
    "id": 5012345678,
    "is_bot": False,
    "first_name": "Вера",
    "last_name": "Ильина",
    "username": "vera_i",
    "language_code": "ru",
}
PRIVATE = {"id": 5012345678, "first_name": "Вера", "last_name": "Ильина", "username": "vera_i", "type": "private"}
GROUP = {"id": -1001987654321, "title": "Кухня на Лесной", "type": "supergroup", "is_forum": True}
BOT = {"id": 110201543, "is_bot": True, "first_name": "Магазин", "username": "shop_bot"}


def message(number: int = 41, chat: dict[str, Any] = PRIVATE, **more: Any) -> dict[str, Any]:
    """Make a message of Vera's; a field that is None is left out."""
    whole = {"message_id": number, "from": VERA, "chat": chat, "date": DATE, **more}
    return {name: value for name, value in whole.items() if value is not None}


def update(number: int = 174114370, **what: Any) -> dict[str, Any]:
    return {"update_id": number, **what}


def request(body: Any, secret: str | None = SECRET) -> RawRequest:
    """Make Telegram's request. It escapes what is not ASCII."""
    headers = {"content-type": "application/json"}
    if secret is not None:
        headers["x-telegram-bot-api-secret-token"] = secret
    return RawRequest(json.dumps(body).encode(), headers=headers)


PHOTO = [
    {"file_id": "AgACAgIAAxkBAAIBc-s", "file_unique_id": "AQADs", "file_size": 1140, "width": 51, "height": 90},
    {"file_id": "AgACAgIAAxkBAAIBc-y", "file_unique_id": "AQADy", "file_size": 104737, "width": 720, "height": 1280},
    {"file_id": "AgACAgIAAxkBAAIBc-x", "file_unique_id": "AQADx", "file_size": 57833, "width": 450, "height": 800},
]
DOCUMENT = {
    "file_name": "Замер кухни.xls",
    "mime_type": "application/vnd.ms-excel",
    "file_id": "BQACAgIAAxkBAAIBdA",
    "file_unique_id": "AgADdA",
    "file_size": 4540928,
}
PRESS = {
    "id": "4382bfdwdsb323b2d9",
    "from": VERA,
    "message": {
        "message_id": 140,
        "from": BOT,
        "chat": PRIVATE,
        "date": DATE - 60,
        "text": "Когда удобно?",
        "reply_markup": {
            "inline_keyboard": [
                [{"text": "Сегодня", "callback_data": "slot:1"}],
                [{"text": "Завтра 🙂", "callback_data": "slot:2"}],
            ]
        },
    },
    "chat_instance": "-3842",
    "data": "slot:2",
}
BLOCKED = {
    "chat": PRIVATE,
    "from": VERA,
    "date": DATE,
    "old_chat_member": {"user": BOT, "status": "member"},
    "new_chat_member": {"user": BOT, "status": "kicked", "until_date": 0},
}

UPDATES = [
    update(message=message(text="Здравствуйте 👋 сколько стоит?")),
    update(174114371, message=message(42, photo=PHOTO, caption="Вот кухня", media_group_id="13520")),
    update(174114372, message=message(43, document=DOCUMENT)),
    update(
        174114373, message=message(44, location={"latitude": 55.753544, "longitude": 37.621202, "live_period": 900})
    ),
    update(
        174114374,
        message=message(
            45, contact={"phone_number": "79161234567", "first_name": "Вера", "user_id": 5012345678}, text=None
        ),
    ),
    update(174114375, message=message(46, text="/start dXRtX3NvdXJjZT12aw")),
    update(174114376, edited_message=message(41, text="Здравствуйте, сколько стоит?", edit_date=DATE + 5)),
    update(174114377, callback_query=PRESS),
    update(174114378, my_chat_member=BLOCKED),
    update(
        174114379,
        message=message(7, GROUP, text="@shop_bot когда замер?", message_thread_id=3, is_topic_message=True),
    ),
    update(
        174114380,
        business_message=message(
            12, text="Есть белая?", business_connection_id="Jq5mAKd0uEtkFAAAG", reply_to_message=message(11)
        ),
    ),
    update(174114381, inline_query={"id": "1", "from": VERA, "query": "", "offset": ""}),
]
REQUESTS = [request(one) for one in UPDATES]
