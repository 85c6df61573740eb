from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from tests.channels.payloads import NOW
from webhooks.request import RawRequest

IS_SIGNED = True
APP_SECRET = "fb_app_secret"
SETTINGS = {
    "app_secret": APP_SECRET,
    "verify_token": "verify-me-please",
    "access_token": "EAAG-token-of-a-system-user",
    "phone_number_id": "106540352242922",
    "business_account_id": "102290129340398",
}
AT = str(int(NOW.timestamp()))


def signed(document: Any, secret: str = APP_SECRET) -> RawRequest:
    """Sign a document as Meta does: over its bytes, in which non-ASCII letters are escaped."""
    body = json.dumps(document).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return RawRequest(body, headers={"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"})


def change(number: str = "106540352242922", **value: Any) -> dict[str, Any]:
    metadata = {"display_phone_number": "15550783881", "phone_number_id": number}
    return {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}


def document(*changes: dict[str, Any]) -> dict[str, Any]:
    entry = [{"id": "102290129340398", "changes": [one]} for one in changes]
    return {"object": "whatsapp_business_account", "entry": entry}


def message(
    kind: str, content: Any, wamid: str = "wamid.A", sender: str = "79161234567", **more: Any
) -> dict[str, Any]:
    return {"from": sender, "id": wamid, "timestamp": AT, "type": kind, kind: content, **more}


CONTACT = {"profile": {"name": "Вера Ильина"}, "wa_id": "79161234567"}
TEXT = message("text", {"body": "Здравствуйте 😀"})
IMAGE = message(
    "image", {"id": "1003383421387256", "mime_type": "image/jpeg", "sha256": "0aB=", "caption": "Ещё"}, "wamid.B"
)
STATUS = {"id": "wamid.OUT", "status": "delivered", "timestamp": AT, "recipient_id": "79161234567"}
FAILED = {
    **STATUS,
    "id": "wamid.OUT2",
    "status": "failed",
    "errors": [{"code": 131047, "title": "Re-engagement message", "error_data": {"details": "More than 24 hours"}}],
}
OTHER = message("text", {"body": "hello"}, "wamid.C", "14155550100")

DOCUMENTS = [
    document(change(contacts=[CONTACT], messages=[TEXT])),
    document(change(contacts=[CONTACT], messages=[TEXT, IMAGE]), change("999", messages=[OTHER])),
    document(change(statuses=[STATUS, FAILED])),
    document(change(messages=[message("location", {"latitude": 55.75, "longitude": 37.61, "name": "Кремль"})])),
    document(
        change(messages=[message("contacts", [{"name": {"formatted_name": "A"}, "phones": [{"phone": "+7 1"}]}])])
    ),
    document({"field": "account_update", "value": {"event": "DISABLED_UPDATE"}}),
]
REQUESTS = [signed(one) for one in DOCUMENTS]
