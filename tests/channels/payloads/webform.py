from __future__ import annotations

import json
from urllib.parse import urlencode

from webhooks.request import RawRequest

SETTINGS = {"allowed_origins": "https://shop.example", "redirects": "https://shop.example/thanks"}

_FORM = {"name": "Вера", "phone": "8 (916) 123-45-67", "email": "vera@example.com", "city": "Тверь", "utm_source": "g"}
_PARTS = "".join(f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in _FORM.items())
_FILE = '--b\r\nContent-Disposition: form-data; name="f"; filename="я.pdf"\r\n\r\n%PDF\r\n--b--\r\n'

REQUESTS = [
    RawRequest(body, headers={"content-type": content_type})
    for body, content_type in (
        (urlencode(_FORM).encode(), "application/x-www-form-urlencoded"),
        (urlencode(_FORM, encoding="cp1251").encode(), "application/x-www-form-urlencoded"),
        ((_PARTS + _FILE).encode(), "multipart/form-data; boundary=b"),
        (json.dumps({**_FORM, "x": [{"y": None}]}).encode(), "application/json"),
    )
]
