from __future__ import annotations

from typing import Any

from tests.channels.payloads import NOW
from tests.channels.payloads.messenger import PAGE
from tests.channels.payloads.whatsapp import APP_SECRET, signed

IS_SIGNED = True
SETTINGS = {
    "app_secret": APP_SECRET,
    "verify_token": "verify-me-please",
    "access_token": "EAAG-token-of-the-page",
    "page_id": PAGE,
}
AT = int(NOW.timestamp())


def lead(number: str | int, page: str | int = PAGE) -> dict[str, Any]:
    value = {"leadgen_id": number, "page_id": page, "form_id": "555", "ad_id": "777", "created_time": AT}
    return {"field": "leadgen", "value": value}


def document(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"object": "page", "entry": [{"id": PAGE, "time": AT, "changes": list(changes)}]}


REQUESTS = [
    signed(document(lead("444"))),
    signed(document(lead("444"), lead(445), lead("446", "4321"), {"field": "feed", "value": {"item": "comment"}})),
]
