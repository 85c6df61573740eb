from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from tests.channels.payloads import NOW
from webhooks.request import RawRequest

SETTINGS = {"client_secret": "webflow_client_secret"}
IS_SIGNED = True

SUBMISSION: dict[str, Any] = {
    "triggerType": "form_submission",
    "payload": {
        "name": "Contact Us",
        "siteId": "65427cf400e02b306eaa049c",
        "data": {
            "First Name": "Вера",
            "Last Name": "Орлова",
            "email": "vera@example.com",
            "Phone Number": 79161234567,
            "Plan": "https://uploads-ssl.webflow.com/form/x/plan",
            "Subscribe": True,
            "utm_source": "bing",
        },
        "schema": [
            {"fieldName": "First Name", "fieldType": "FormTextInput", "fieldElementId": "285042f7"},
            {"fieldName": "Plan", "fieldType": "FormFileUploadInput", "fieldElementId": "285042f8"},
        ],
        "submittedAt": "2026-11-20T08:59:30.000Z",
        "id": "6321ca84df3949bfc6752327",
        "formId": "65429eadebe8a9f3a30f62d0",
        "formElementId": "4e038d2c",
        "pageId": "6542",
    },
}
VERSION_1: dict[str, Any] = {
    "name": "Sample Form",
    "site": "62749158efef318abc8d5a0f",
    "data": {"name": "Вера", "email": "vera@example.com"},
    "d": "2026-11-20T08:59:31.000Z",
    "_id": "6321ca84df3949bfc6752328",
}


def webflow(body: Any, secret: str = "webflow_client_secret", stamp: int = 0) -> RawRequest:
    raw = json.dumps(body).encode()
    written = str(stamp or int(NOW.timestamp() * 1000))
    signature = hmac.digest(secret.encode(), written.encode() + b":" + raw, hashlib.sha256).hex()
    headers = {
        "content-type": "application/json",
        "x-webflow-timestamp": written,
        "x-webflow-signature": signature,
    }
    return RawRequest(raw, headers=headers)


REQUESTS = [webflow(SUBMISSION), webflow(VERSION_1), webflow({"triggerType": "site_publish", "payload": {"id": "1"}})]
