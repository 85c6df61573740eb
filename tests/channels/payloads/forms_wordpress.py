from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from webhooks.request import RawRequest

SETTINGS = {"token": "wordpress-token-1"}

ELEMENTOR = {
    "Ваше имя": "Вера Орлова",
    "Телефон": "8 (916) 123-45-67",
    "No Label email": "vera@example.com",
    "No Label field_9c1": "Кухня",
    "Дата": "20 ноября, 2026",
    "Время": "12:00",
    "URL страницы": "https://shop.example/kitchen/?utm_source=yandex&utm_medium=cpc",
    "User Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0",
    "Удалённый IP": "198.51.100.7",
    "Технология": "Elementor",
    "form_id": "3f2a",
    "form_name": "Иван Форма",
}
ELEMENTOR_ADVANCED = {
    "form[id]": "3f2a",
    "form[name]": "New Form",
    **{
        f"fields[{name}][{what}]": value
        for name, kind, title, said, raw in (
            ("name", "text", "Имя", "Вера Орлова", "Вера Орлова"),
            ("field_1", "tel", "", "8 (916) 123-45-67", "8 (916) 123-45-67"),
            ("field_2", "email", "Куда писать", "vera@example.com", "vera@example.com"),
            ("field_3", "textarea", "Что нужно", "Кухня", "Кухня"),
            ("field_4", "upload", "План", "", "https://shop.example/wp-content/uploads/elementor/forms/План.pdf"),
            ("field_5", "acceptance", "Согласен", "on", "on"),
        )
        for what, value in (
            *(("id", name), ("type", kind), ("title", title), ("value", said), ("raw_value", raw)),
            ("required", "0"),
        )
    },
    "meta[date][title]": "Date",
    "meta[date][value]": "20 ноября, 2026",
    "meta[time][title]": "Time",
    "meta[time][value]": "12:00",
    "meta[page_url][title]": "Page URL",
    "meta[page_url][value]": "https://shop.example/kitchen/?utm_source=yandex&utm_medium=cpc",
    "meta[user_agent][title]": "User Agent",
    "meta[user_agent][value]": "Mozilla/5.0",
    "meta[remote_ip][title]": "Remote IP",
    "meta[remote_ip][value]": "198.51.100.7",
    "meta[credit][title]": "Powered by",
    "meta[credit][value]": "Elementor",
}
CONTACT_FORM_7 = {
    "_wpcf7": "12",
    "_wpcf7_unit_tag": "wpcf7-f12-p34-o1",
    "your-name": "Вера Орлова",
    "your-email": "vera@example.com",
    "tel-583": "8 (916) 123-45-67",
    "your-subject": "Кухня",
    "your-message": "Перезвоните",
    "checkbox-7": ["Стол", "Стул"],
    "acceptance-1": "1",
    "file-3": "https://shop.example/wp-content/uploads/wpcf7/plan.jpg",
    "posted_data_hash": "aa11",
}
GRAVITY = {
    "id": "417",
    "form_id": "2",
    "post_id": None,
    "date_created": "2026-11-20 08:58:00",
    "date_updated": "2026-11-20 08:58:00",
    "is_starred": "0",
    "is_read": "0",
    "ip": "198.51.100.7",
    "source_url": "https://shop.example/?utm_source=vk",
    "user_agent": "Mozilla/5.0",
    "currency": "USD",
    "payment_status": None,
    "created_by": None,
    "status": "active",
    "1.2": "",
    "1.3": "Вера",
    "1.4": "",
    "1.6": "Орлова",
    "1.8": "",
    "2": "vera@example.com",
    "3": "89161234567",
    "4": "Кухня\nи стол",
    "5.1": "Тверская, 1",
    "5.2": "",
    "5.3": "Москва",
    "5.4": "",
    "5.5": "125009",
    "5.6": "Россия",
    "6.1": "1",
    "6.2": "Согласна на обработку",
    "6.3": "8",
    "7": "Угловая",
}
WPFORMS = {
    "form_id": 9,
    "entry_id": 55,
    "fields": {
        "1": {"name": "Имя", "value": "Вера Орлова", "id": 1, "type": "name", "first": "Вера", "last": "Орлова"},
        "2": {"name": "Куда писать", "value": "vera@example.com", "id": 2, "type": "email"},
        "3": {"name": "Контактный номер", "value": "8 (916) 123-45-67", "id": 3, "type": "phone"},
        "4": {"name": "Размер", "value": "12", "id": 4, "type": "number"},
    },
}


def posted(fields: dict[str, str], query: str = "token=wordpress-token-1") -> RawRequest:
    return RawRequest(
        urlencode(fields).encode(), headers={"content-type": "application/x-www-form-urlencoded"}, query=query
    )


def sent(body: Any, query: str = "", authorization: str = "Bearer wordpress-token-1") -> RawRequest:
    headers = {"content-type": "application/json", "authorization": authorization}
    return RawRequest(json.dumps(body).encode(), headers=headers, query=query)


REQUESTS = [
    posted(ELEMENTOR),
    posted(ELEMENTOR_ADVANCED),
    sent(CONTACT_FORM_7),
    sent(GRAVITY),
    sent(WPFORMS),
    sent({"name": "Вера", "phone": "+79161234567"}),
]
