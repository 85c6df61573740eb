from __future__ import annotations

import json
from urllib.parse import urlencode

from webhooks.request import RawRequest

SETTINGS = {"token": "tilda-token-1"}

URLENCODED = "application/x-www-form-urlencoded; charset=UTF-8"
LEAD = {
    "Name": "Вера Орлова",
    "Phone": "+7 (916) 123-45-67",
    "Email": "vera@example.com",
    "Textarea": "Хочу кухню",
    "tranid": "1234567:890123",
    "formid": "form99887766",
    "formname": "Заявка с главной",
    "COOKIES": "_ga=GA1.2.111.222; _ym_uid=1600; TILDAUTM=utm_source%3Dyandex%7C%7C%7Cutm_medium%3Dcpc%7C%7C%7C; x=y",
}
PAID = {
    **LEAD,
    "payment": json.dumps(
        {
            "sys": "yookassa",
            "systranid": "2d5e",
            "orderid": "1500000001",
            "products": [{"name": "Стол", "quantity": 2, "amount": 10000, "price": "5000"}],
            "amount": "10000",
            "promocode": "ОСЕНЬ",
        }
    ),
}
BRACKETS = {
    **LEAD,
    "payment[orderid]": "1500000001",
    "payment[products][0]": "Стол - 2x5000 = 10000",
    "payment[amount]": "10000",
}


def tilda(fields: dict[str, str], query: str = "token=tilda-token-1", **headers: str) -> RawRequest:
    return RawRequest(urlencode(fields).encode(), headers={"content-type": URLENCODED, **headers}, query=query)


REQUESTS = [
    tilda(LEAD),
    tilda(PAID),
    tilda(BRACKETS),
    tilda({**LEAD, "token": "tilda-token-1"}, ""),
    tilda({**LEAD, "File": "https://upload.tildacdn.com/a/b/Проект.pdf"}, "", token="tilda-token-1"),
]
