from __future__ import annotations

from urllib.parse import urlencode

from webhooks.request import RawRequest

SETTINGS = {"login": "shop", "password": "pa55w0rd-smsc", "sender": "SHOP"}


def posted(form: dict[str, str], *, encoding: str = "utf-8") -> RawRequest:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return RawRequest(urlencode(form, encoding=encoding).encode(), headers=headers)


TEXT = {
    "sms_id": "1048576",
    "phone": "79161234567",
    "mes": "Когда откроетесь? Ёлки нужны",
    "to": "79167654321",
    "smsc": "79168999100",
    "time": "1795165169",
}
DELIVERED = {
    "id": "77",
    "phone": "79161234567",
    "status": "1",
    "time": "20.11.2026 11:59:41",
    "ts": "1795165181",
    "err": "0",
    "cnt": "2",
    "type": "0",
}

REQUESTS = [posted(TEXT), posted(TEXT, encoding="cp1251"), posted(DELIVERED)]
