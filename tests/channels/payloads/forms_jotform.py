from __future__ import annotations

import json
from typing import Any

from webhooks.request import RawRequest

SETTINGS = {"token": "jotform-token-1"}

ANSWERS: dict[str, Any] = {
    "slug": "submit/240001/",
    "jsExecutionTracker": "build-date",
    "event_id": "1700000000000_240001_abc",
    "timeToSubmit": "15",
    "path": "/submit/240001",
    "uploadServerUrl": "https://upload.jotform.com/upload",
    "parentURL": "https://shop.example/contact?utm_source=fb&utm_campaign=autumn",
    "q3_input3": {"prefix": "Mrs.", "first": "Вера", "last": "Орлова"},
    "q4_email": "vera@example.com",
    "q5_input5": {"full": "(916) 123-45-67"},
    "q6_address6": {"addr_line1": "Тверская, 1", "addr_line2": "", "city": "Москва"},
    "q7_date": {"month": "12", "day": "01", "year": "2026"},
    "q8_input8": ["Стол", "Стул"],
    "q9_message": "Привет, мир",
    "q10_input10": "Тверь",
    "fileUpload": ["https://www.jotform.com/uploads/vera/240001/5001/plan.pdf"],
}
PRETTY = (
    "Как вас зовут:Mrs. Вера Орлова, Email:vera@example.com, Номер:(916) 123-45-67, Message:Привет, мир, Город:Тверь"
)


def jotform(answers: Any = ANSWERS, query: str = "token=jotform-token-1", **more: str) -> RawRequest:
    fields = {
        "action": "",
        "webhookURL": "https://hub.example/hooks/k",
        "username": "orlov_account",
        "formID": "240001",
        "type": "WEB",
        "customParams": "",
        "formTitle": "Имя формы",
        "customTitle": "",
        "submissionID": "5001002003004005006",
        "event": "",
        "rawRequest": answers if isinstance(answers, str) else json.dumps(answers),
        "ip": "198.51.100.7",
        "isSilent": "",
        "fromTable": "false",
        "pretty": PRETTY,
        **more,
    }
    body = "".join(f'--x1\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
    return RawRequest(
        (body + "--x1--\r\n").encode(), headers={"content-type": "multipart/form-data; boundary=x1"}, query=query
    )


REQUESTS = [
    jotform(),
    jotform({"q3_name": {"first": "Vera", "last": "Orlova"}, "q5_phoneNumber": {"area": "916", "phone": "1234567"}}),
]
