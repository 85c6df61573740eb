from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import urlencode

from webhooks.request import RawRequest

TOKEN = "ZmM3ZjE0YjU5OGRhNDY1YzhlMjQ1YmQ0NzY3OTAx"
URL = "https://hub.example/hooks/k3y"
NONCE = "05429567804466091622"
SETTINGS = {"auth_id": "MAMZA4ZDFJ0123456789", "auth_token": TOKEN, "sender": "+14155550199"}
IS_SIGNED = True


def signed(form: dict[str, str], *, suffix: str = "", query: str = "") -> RawRequest:
    address = URL + (f"/{suffix}" if suffix else "")
    text = f"{address}?{query}{'.' if query else ''}" + "".join(name + form[name] for name in sorted(form))
    made = hmac.new(TOKEN.encode(), f"{text}.{NONCE}".encode(), hashlib.sha256).digest()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-plivo-signature-v3": f"{base64.b64encode(b'of a subaccount').decode()},{base64.b64encode(made).decode()}",
        "x-plivo-signature-v3-nonce": NONCE,
    }
    url = address + (f"?{query}" if query else "")
    return RawRequest(urlencode(form).encode(), headers=headers, query=query, suffix=suffix, url=url)


TEXT = {
    "To": "14155550199",
    "From": "37255512345",
    "TotalRate": "0",
    "Units": "1",
    "Text": "Kas homme sobib? Õhtul",
    "TotalAmount": "0",
    "Type": "sms",
    "MessageUUID": "7a242edc-2f57-11e7-98c9-06ab0bf64327",
}
MEDIA = {
    **TEXT,
    "From": "14133881111",
    "Type": "mms",
    "MessageUUID": "8b242edc-2f57-11e7-98c9-06ab0bf64327",
    "Media0": "https://api.plivo.com/v1/Account/MA/Message/m/Media/1",
    "MediaContentType0": "image/png",
}
DELIVERED = {
    "To": "37255512345",
    "From": "14155550199",
    "Status": "delivered",
    "MessageUUID": "part-2",
    "ParentMessageUUID": "db3ce55a-7f1d-11e1-8ea7-1231380bc196",
    "PartInfo": "2 of 2",
    "ErrorCode": "000",
}

REQUESTS = [signed(TEXT), signed(MEDIA), signed(DELIVERED, suffix="status", query="part=184467.0")]
