"""What comes over an SMPP line, as it is kept and as it is read.

A delivery is kept as JSON: what it says in words, for people, and its bytes, so that another alphabet in the settings
makes a replay right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from channels import smpp_ids, smpp_units, sms
from channels.fields import Fields
from core.kernel.envelopes import Event, Status
from webhooks import charsets

_STATUSES: Mapping[int, Literal["sent", "delivered", "failed"]] = {
    **dict.fromkeys((1, 6), "sent"),
    2: "delivered",
    **dict.fromkeys((3, 4, 5, 8), "failed"),
}
_WORDS = {3: "It expired before the phone was reached", 4: "It was deleted", 5: "It could not be delivered"}


def described(unit: smpp_units.Unit, alphabet: str) -> dict[str, Any]:
    """Return a deliver_sm as it is kept. One that cannot be read is kept as the bytes it is."""
    try:
        found = smpp_units.delivered(unit)
    except smpp_units.Unreadable:
        return {"source": "", "text": "", "unreadable": unit.body.hex()}
    body: dict[str, Any] = {
        "source": charsets.clean(found.source),
        "source_kind": found.source_kind,
        "destination": charsets.clean(found.destination),
        "esm_class": found.esm_class,
        "data_coding": found.data_coding,
        "text": charsets.clean(smpp_units.decoded(found.data, found.data_coding, alphabet)),
        "data": found.data.hex(),
    }
    if found.joining:
        body["joining"] = dict(zip(("reference", "part", "parts"), found.joining, strict=True))
    if found.is_receipt:
        told = smpp_units.told(found)
        body["receipt"] = {
            "id": charsets.clean(told.message_id),
            "state": told.state,
            "error": charsets.clean(told.error),
        }
    return body


def text(body: Fields, alphabet: str) -> str:
    """Return the words of a message."""
    try:
        data = bytes.fromhex(body.text("data"))
    except ValueError:
        data = b""
    if not data:
        return body.text("text")
    return charsets.clean(smpp_units.decoded(data, body.whole("data_coding") or 0, alphabet))


def statuses(body: Fields) -> list[Event]:
    """Read a receipt: one status for each way in which the message may have been named."""
    state = body.whole("receipt", "state") or 0
    status = _STATUSES.get(state)
    names = [name.id() for name in body.items("receipt", "ids")] or smpp_ids.spellings(body.id("receipt", "id"))
    if status is None:
        return []
    is_failure = status == "failed"
    error = body.text("receipt", "error")
    return [
        Status(
            status=status,
            external_id=name,
            peer=sms.peer_named(body.text("source")),
            error_code=error[:50] if is_failure else "",
            error_text=_WORDS.get(state, "It was rejected") if is_failure else "",
        )
        for name in names
        if name
    ]
