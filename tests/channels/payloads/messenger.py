from __future__ import annotations

from typing import Any

from tests.channels.payloads import NOW
from tests.channels.payloads.whatsapp import APP_SECRET, signed

IS_SIGNED = True
PAGE = "1234567890"
PERSON = "5678"
SETTINGS = {
    "app_secret": APP_SECRET,
    "verify_token": "verify-me-please",
    "access_token": "EAAG-token-of-the-page",
    "page_id": PAGE,
}
AT = int(NOW.timestamp() * 1000)


def item(person: str = PERSON, page: str = PAGE, **happening: Any) -> dict[str, Any]:
    return {"sender": {"id": person}, "recipient": {"id": page}, "timestamp": AT, **happening}


def document(*items: dict[str, Any], about: str = "page", page: str = PAGE, name: str = "messaging") -> dict[str, Any]:
    return {"object": about, "entry": [{"id": page, "time": AT, name: list(items)}]}


PICTURE = {"type": "image", "payload": {"url": "https://scontent.example/v/t1/picture.jpg?oh=1"}}
DOCUMENTS = [
    document(item(message={"mid": "m_1", "text": "Здравствуйте 👋"})),
    document(
        item(message={"mid": "m_2", "attachments": [PICTURE]}),
        item("999", message={"mid": "m_3", "text": "and me"}),
        item(delivery={"mids": ["m_out1", "m_out2"], "watermark": AT}),
        item(read={"watermark": AT}),
    ),
    document(item(postback={"title": "Цена", "payload": "PRICE", "mid": "m_4"})),
    document(item(referral={"ref": "spring", "source": "SHORTLINK", "type": "OPEN_THREAD"})),
    document(item(message={"mid": "m_5", "text": "x"}), name="standby"),
]
REQUESTS = [signed(one) for one in DOCUMENTS]
