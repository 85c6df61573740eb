from __future__ import annotations

import json

from tests.channels.payloads.whatsapp import DOCUMENTS
from webhooks.request import RawRequest

SETTINGS = {"api_key": "key-of-the-number", "phone_number_id": "106540352242922"}
REQUESTS = [RawRequest(json.dumps(one).encode(), headers={"content-type": "application/json"}) for one in DOCUMENTS]
