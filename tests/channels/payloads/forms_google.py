from __future__ import annotations

import json
from typing import Any

from webhooks.request import RawRequest

SETTINGS = {"google_key": "google-key-1"}

LEAD: dict[str, Any] = {
    "lead_id": "TeSter-123-ABCDEFGHIJKLMNOPQRSTUVWXYZ-abcdefghijklmnopqrstuvwxyz-0123456789-AaBbCcDdEeFfGg",
    "user_column_data": [
        {"column_name": "Full Name", "string_value": "Вера Орлова", "column_id": "FULL_NAME"},
        {"string_value": "vera@example.com", "column_id": "EMAIL"},
        {"column_name": "User Phone", "string_value": "+79161234567", "column_id": "PHONE_NUMBER"},
        {"column_name": "Company", "string_value": "Орлова и Ко", "column_id": "COMPANY_NAME"},
        {"column_name": "City", "string_value": "Тверь", "column_id": "CITY"},
        {"column_name": "Which vehicle?", "string_value": "Van", "column_id": "what_vehicle"},
    ],
    "api_version": "1.0",
    "form_id": 40000000001,
    "campaign_id": 9223372036854775807,
    "adgroup_id": 20000000003,
    "creative_id": 30000000004,
    "google_key": "google-key-1",
    "gcl_id": "Cj0KCQ",
}


def google(body: Any) -> RawRequest:
    return RawRequest(json.dumps(body).encode(), headers={"content-type": "application/json"})


REQUESTS = [google(LEAD), google({**LEAD, "is_test": True, "lead_id": "t-2"})]
