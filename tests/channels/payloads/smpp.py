from __future__ import annotations

import json
from typing import Any

from webhooks.request import RawRequest

SETTINGS = {"host": "127.0.0.1", "system_id": "hub", "password": "smpp-password", "sender": "+79990000000"}


def brought(**body: Any) -> RawRequest:
    given = {"source": "79161234567", "source_kind": 1, "destination": "7000", "esm_class": 0, "data_coding": 0}
    return RawRequest(
        json.dumps({**given, **body}).encode(), method="SMPP", headers={"content-type": "application/json"}
    )


def receipt(name: str, state: int = 2, **more: Any) -> RawRequest:
    return brought(esm_class=4, receipt={"id": name, "ids": [name], "state": state, "error": "000", **more})


REQUESTS = [
    brought(text="Hello", data="48656c6c6f"),
    brought(text="Привет 👍", data="Привет 👍".encode("utf-16-be").hex(), data_coding=8),
    brought(
        text="Часть ",
        data="Часть ".encode("utf-16-be").hex(),
        data_coding=8,
        joining={"reference": 7, "part": 1, "parts": 2},
    ),
    brought(text="STOP", data="53544f50"),
    brought(source="MyBank", source_kind=5, text="Code 1", data="436f64652031"),
    receipt("m-1"),
    receipt("m-2", 5, error="011"),
]
