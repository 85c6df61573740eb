from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import urlencode

from webhooks.request import RawRequest

TOKEN = "5f2c6a1e9b7d4c38a0e1f2d3c4b5a697"
URL = "https://hub.example/hooks/k3y"
SETTINGS = {"account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": TOKEN, "sender": "+14155550199"}
IS_SIGNED = True


def signed(form: dict[str, str], *, suffix: str = "", query: str = "", token: str = TOKEN) -> RawRequest:
    url = URL + (f"/{suffix}" if suffix else "") + (f"?{query}" if query else "")
    text = url + "".join(name + form[name] for name in sorted(form))
    signature = base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()
    return RawRequest(
        urlencode(form).encode(),
        headers={"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature},
        query=query,
        suffix=suffix,
        url=url,
    )


TEXT = {
    "ToCountry": "US",
    "SmsMessageSid": "SM0123456789abcdef0123456789abcdef",
    "NumMedia": "0",
    "SmsSid": "SM0123456789abcdef0123456789abcdef",
    "SmsStatus": "received",
    "Body": "Добрый день, есть ли доставка? 🚚",
    "FromCountry": "RU",
    "To": "+14155550199",
    "NumSegments": "1",
    "MessageSid": "SM0123456789abcdef0123456789abcdef",
    "AccountSid": SETTINGS["account_sid"],
    "From": "+79161234567",
    "ApiVersion": "2010-04-01",
}
MEDIA = {
    **TEXT,
    "MessageSid": "MM00000000000000000000000000000001",
    "Body": "",
    "NumMedia": "2",
    "MediaUrl0": "https://api.twilio.com/2010-04-01/Accounts/AC01/Messages/MM01/Media/ME01",
    "MediaContentType0": "image/jpeg",
    "MediaUrl1": "https://api.twilio.com/2010-04-01/Accounts/AC01/Messages/MM01/Media/ME02",
    "MediaContentType1": "application/pdf",
}
WHATSAPP = {
    **TEXT,
    "MessageSid": "SM00000000000000000000000000000002",
    "From": "whatsapp:+37255512345",
    "To": "whatsapp:+14155550199",
    "WaId": "37255512345",
    "ProfileName": "Õnne Mägi",
    "Body": "Tere!",
    "ExternalUserId": "whatsapp:EE.1234",
    "OriginalRepliedMessageSid": "SM00000000000000000000000000000001",
}
DELIVERED = {
    "SmsSid": "SM0000000000000000000000000000000a",
    "SmsStatus": "delivered",
    "MessageStatus": "delivered",
    "To": "+79161234567",
    "MessageSid": "SM0000000000000000000000000000000a",
    "AccountSid": SETTINGS["account_sid"],
    "From": "+14155550199",
    "RawDlrDoneDate": "2611200858",
}

REQUESTS = [
    signed(TEXT),
    signed(MEDIA),
    signed(WHATSAPP, suffix="receive"),
    signed(DELIVERED, suffix="status", query="part=184467.0"),
]
