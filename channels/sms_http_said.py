"""What any gateway's requests say: fields of many names, and texts in whatever coding they came over the air.

Gateways hand on the bytes as the network gave them: Kannel's `%b` is raw UTF-16 for coding 2, Jasmin's `content` is the
GSM alphabet for coding 0. So values stay bytes until their coding is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from channels import sms, sms_text
from channels.fields import Fields
from webhooks import charsets, multiparts, urlencoded
from webhooks.request import RawRequest

State = Literal["sent", "delivered", "read", "failed"]

FROM = ("from", "sender", "phone", "msisdn", "source", "source_addr", "originator", "mobile", "number")
TO = ("to", "receiver", "recipient", "destination", "shortcode", "short_code")
TEXT = ("text", "message", "content", "msg", "body", "mes", "sms")
ID = ("id", "message_id", "messageid", "msgid", "sms_id", "mid", "uuid", "message-id", "smsid")
STATUS = ("status", "message_status", "dlr_status", "dlr", "state", "delivery_status", "stat")
TIME = ("ts", "time", "timestamp", "date", "received_at")

STATES: Mapping[str, State] = {
    # Kannel's bits (Kannel user's guide, "DLR", type)
    "1": "delivered",
    "2": "failed",
    "4": "sent",
    "8": "sent",
    "16": "failed",
    # SMPP's words (SMPP 3.4 appendix B), as Jasmin hands them on, and what others say
    **dict.fromkeys(("delivrd", "delivered", "success", "dlvrd"), "delivered"),
    **dict.fromkeys(("acceptd", "accepted", "enroute", "sent", "queued", "buffered", "submitted", "esme_rok"), "sent"),
    **dict.fromkeys(("undeliv", "undelivered", "undeliverable", "failed", "fail", "error"), "failed"),
    **dict.fromkeys(("rejectd", "rejected", "expired", "deleted", "blocked"), "failed"),
    **dict.fromkeys(("read", "seen"), "read"),
}

_GSM_CONTROLS = frozenset(range(32)) - {9, 10, 13}
_WIDE = ("2", "8")  # Kannel's and SMPP's number for UCS-2
_WORDS = re.compile(rb"[A-Za-z0-9 .,:;!?'\"()/+\n\r-]*")
_UTF16 = ("utf-16be", "utf-16", "ucs-2", "ucs2", "ucs-2be", "iso-10646-ucs-2", "utf16be", "utf16")


class Raw:
    """A request's values by name, whatever its case, still in bytes; of a repeated name the last counts."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        self._values = {name.lower(): value for name, value in pairs}

    def bytes(self, *names: str) -> bytes:
        """Return the first of these that says something, as it came."""
        return next((value for name in names if (value := self._values.get(name.lower(), b""))), b"")

    def has(self, *names: str) -> bool:
        """Tell whether one of these is there, be it empty."""
        return any(name.lower() in self._values for name in names)

    def text(self, *names: str) -> str:
        """Return the first of these that says something, taken for UTF-8."""
        return charsets.clean(self.bytes(*names).decode("utf-8", "replace"))

    def id(self, *names: str) -> str:
        """Return the first of these as an id."""
        return Fields(self.text(*names)).id()


def read(request: RawRequest) -> Raw:
    """Read the query, and a body that is urlencoded, a form or a flat JSON object.

    Raises:
        Malformed: it cannot be read.
    """
    pairs = _bytes(request.query.encode("utf-8", "replace"))
    body = request.body
    if request.content_type == "multipart/form-data":
        boundary = multiparts.boundary_in(body, "")
        parts = multiparts.parts_of(body, boundary, urlencoded.MOST_FIELDS) if boundary else []
        return Raw([*pairs, *((part.name.decode("utf-8", "replace"), part.content) for part in parts)])
    if body[:64].lstrip()[:1] in (b"{", b"["):
        sent = sms.body_parameters(request)
        return Raw([*pairs, *((name, value.encode("utf-8", "replace")) for name, value in sent)])
    return Raw([*pairs, *_bytes(body)])


def _bytes(written: bytes) -> list[tuple[str, bytes]]:
    found = urlencoded.pairs(written.decode("latin-1"), encoding="latin-1")
    return [(name, value.encode("latin-1", "replace")) for name, value in found]


def text_of(raw: Raw, names: tuple[str, ...], alphabet: str = "") -> str:
    """Return the words of a message, by what the request says of their coding, or else by what they look like.

    `alphabet` is the charset of what is not UCS-2, where the gateway always sends one: `gsm`, or a usual name.
    """
    data = raw.bytes(*names)
    if not data and (written := raw.text("hex-content", "binary")):
        try:
            data = bytes.fromhex(written)
        except ValueError:
            return ""
    coding, declared = raw.text("coding", "dcs", "data_coding"), raw.text("charset").strip().lower()
    if declared in _UTF16 or coding in _WIDE:
        known = charsets.known(declared) if declared and declared not in _UTF16 else None
        return charsets.clean(data.decode(known, "replace") if known else _wide(data))
    return charsets.clean(_narrow(data, coding, alphabet.strip().lower() or declared))


def _wide(data: bytes) -> str:
    """Read UTF-16 without a mark, big end first; a gateway may have made UTF-8 of it already.

    Where the bytes could be either, words of plain letters are what was meant: as UTF-16 they would be odd Chinese.
    """
    if len(data) % 2 == 0 and not (_is_readable(data) and (not data.isascii() or _WORDS.fullmatch(data))):
        return data.decode("utf-16-be", "replace")
    return data.decode("utf-8", "replace")


def _narrow(data: bytes, coding: str, alphabet: str) -> str:
    if alphabet in ("gsm", "gsm7", "gsm-7", "gsm 03.38", "gsm0338"):
        return sms_text.from_gsm(data)
    if known := charsets.known(alphabet) if alphabet else None:
        return data.decode(known, "replace")
    if _is_readable(data):
        return data.decode("utf-8", "replace")
    if coding == "0" and max(data) < 128:
        return sms_text.from_gsm(data)
    return data.decode(charsets.choose(data, "latin-1" if coding in ("1", "3") else ""), "replace")


def _is_readable(data: bytes) -> bool:
    """Tell whether it is UTF-8 that people could have written: `@` and `$` of GSM are control characters there."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return not _GSM_CONTROLS.intersection(data)


def piece_of(header: bytes) -> tuple[str, str, str]:
    """Read a user data header: the reference of a long SMS, the number of this part and of all; "" where it has none.

    TS 23.040 §9.2.3.24: information element 00 has a reference of one byte, 08 of two.
    """
    data = header[1:]
    while len(data) >= 2:
        kind, length = data[0], data[1]
        value = data[2 : 2 + length]
        if kind in (0x00, 0x08) and len(value) == length == (3 if kind == 0 else 4):
            reference, parts, part = int.from_bytes(value[:-2], "big"), value[-2], value[-1]
            return (str(reference), str(part), str(parts)) if 0 < part <= parts else ("", "", "")
        data = data[2 + length :]
    return "", "", ""
