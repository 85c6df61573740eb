"""The units of SMPP 3.4, byte by byte: what of the protocol a messaging client needs.

Own rather than a library's, since a line that must not lose a message has to decide itself when a delivery is
acknowledged, bear status codes and data codings that the specification does not name, and speak TLS.

Source    "Short Message Peer to Peer Protocol Specification v3.4", Issue 1.2: §3.2 layout, §4 units, §5.1 fields,
          §5.2.12 esm_class, §5.2.19 data_coding, §5.3 optional parameters; Appendix B, delivery receipts; the user data
          header: 3GPP TS 23.040 §9.2.3.24
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from channels import sms_text

_HEADER = struct.Struct("!IIII")
HEADER_SIZE = _HEADER.size
MOST_BYTES = 70_000
"""Of one unit: a message_payload holds up to 64 kB."""

VERSION = 0x34
RESPONSE = 0x8000_0000

UDH_INDICATOR = 0x40
_KIND_OF_MESSAGE = 0x3C
_RECEIPTS = (0x04, 0x20)  # of the outcome, and of how it stands

# Optional parameters.
MESSAGE_PAYLOAD = 0x0424
RECEIPTED_MESSAGE_ID = 0x001E
MESSAGE_STATE = 0x0427
NETWORK_ERROR_CODE = 0x0423
_SAR_REFERENCE, _SAR_PARTS, _SAR_PART = 0x020C, 0x020E, 0x020F


class Command(IntEnum):
    """What a unit asks for. Its answer has the same number with the highest bit set."""

    BIND_TRANSMITTER = 0x02
    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    ENQUIRE_LINK = 0x15
    ALERT_NOTIFICATION = 0x0102
    DATA_SM = 0x0103
    GENERIC_NACK = 0x8000_0000


class Unit(NamedTuple):
    """One unit, either way."""

    command: int
    status: int
    sequence: int
    body: bytes = b""

    @property
    def is_response(self) -> bool:
        """Whether it answers a unit of ours."""
        return self.command >= RESPONSE

    def packed(self) -> bytes:
        """Return it as it goes over the line."""
        return _HEADER.pack(HEADER_SIZE + len(self.body), self.command, self.status, self.sequence) + self.body

    def answer(self, status: int = 0, body: bytes = b"") -> Unit:
        """Return the answer to it."""
        return Unit(self.command | RESPONSE, status, self.sequence, body)


class Unreadable(Exception):
    """What came is no SMPP, or is cut short."""


def unpack_header(header: bytes) -> tuple[int, Unit]:
    """Return how many bytes of body follow a header, and the unit without them.

    Raises:
        Unreadable: no unit is that long.
    """
    length, command, status, sequence = _HEADER.unpack(header)
    if not HEADER_SIZE <= length <= MOST_BYTES:
        raise Unreadable(f"a unit of {length} bytes")
    return length - HEADER_SIZE, Unit(command, status, sequence)


def bind(system_id: str, password: str, system_type: str) -> bytes:
    """Return the body of a bind."""
    return _text(system_id) + _text(password) + _text(system_type) + bytes((VERSION, 0, 0)) + _text("")


def submit(source: str, destination: str, data: bytes, data_coding: int, *, has_header: bool) -> bytes:
    """Return the body of a submit_sm that asks for a receipt of the final outcome."""
    return (
        _text("")
        + _address(source)
        + _address(destination)
        + bytes((UDH_INDICATOR if has_header else 0, 0, 0))
        + _text("")
        + _text("")
        + bytes((1, 0, data_coding, 0, len(data)))
        + data
    )


def pieces(text: str, default: str = "gsm") -> tuple[list[bytes], int]:
    """Return a text as the data of one message, or of several that are to be joined, and their data coding.

    `default` is what the other side takes data coding 0 for: `gsm`, or `latin1`, which lacks some of the alphabet.
    """
    if sms_text.is_gsm(text):
        if default == "gsm":
            return [sms_text.to_gsm(piece) for piece in sms_text.split(text)], 0
        try:
            return [piece.encode("latin-1") for piece in sms_text.split(text)], 0
        except UnicodeEncodeError:
            if len(text) > sms_text.UCS2_SINGLE:
                return [piece.encode("utf-16-be") for piece in sms_text.split(text, sms_text.UCS2_JOINED)], 8
            return [text.encode("utf-16-be")], 8
    return [piece.encode("utf-16-be", "replace") for piece in sms_text.split(text)], 8


def joining(reference: int, part: int, parts: int) -> bytes:
    """Return the user data header by which a phone joins the parts of a long message."""
    return bytes((5, 0, 3, reference & 0xFF, parts, part))


def message_id(body: bytes) -> str:
    """Return the id in an answer to submit_sm, as it is written there."""
    return body.partition(b"\0")[0].decode("latin-1").strip()


class Delivered(NamedTuple):
    """A deliver_sm (or data_sm), read.

    data       the message without its user data header, still encoded
    joining    reference, number of the part, number of parts; None for a message that is whole
    parameters the optional ones, by their tag
    """

    source: str
    source_kind: int
    destination: str
    esm_class: int
    data_coding: int
    data: bytes
    joining: tuple[int, int, int] | None
    parameters: Mapping[int, bytes]

    @property
    def is_receipt(self) -> bool:
        """Whether it tells what became of a message of ours."""
        return self.esm_class & _KIND_OF_MESSAGE in _RECEIPTS or RECEIPTED_MESSAGE_ID in self.parameters


def delivered(unit: Unit) -> Delivered:
    """Read a deliver_sm or a data_sm.

    Raises:
        Unreadable: it is cut short.
    """
    reader = _Reader(unit.body)
    reader.text()  # service_type
    source_kind, _, source = reader.byte(), reader.byte(), reader.text()
    _, _, destination = reader.byte(), reader.byte(), reader.text()
    esm_class = reader.byte()
    data = b""
    if unit.command == Command.DATA_SM:
        reader.byte()  # registered_delivery
        data_coding = reader.byte()
    else:
        reader.take(2)  # protocol_id, priority_flag
        reader.text(), reader.text()  # schedule_delivery_time, validity_period
        reader.take(2)  # registered_delivery, replace_if_present_flag
        data_coding = reader.byte()
        reader.byte()  # sm_default_msg_id
        data = reader.take(reader.byte())
    parameters = reader.parameters()
    data = data or parameters.get(MESSAGE_PAYLOAD, b"")
    part = None
    if esm_class & UDH_INDICATOR and data:
        part, data = _without_header(data)
    elif _SAR_REFERENCE in parameters:
        reference, number, parts = (
            int.from_bytes(parameters.get(tag, b"")) for tag in (_SAR_REFERENCE, _SAR_PART, _SAR_PARTS)
        )
        part = (reference, number, parts) if 1 <= number <= parts and parts > 1 else None
    return Delivered(source, source_kind, destination, esm_class, data_coding, data, part, parameters)


def decoded(data: bytes, data_coding: int, default: str = "gsm") -> str:
    """Return the text of a message. What SMPP reserves is read as the GSM scheme it stands for (TS 23.038 §4)."""
    named = {1: "ascii", 3: "latin-1", 5: "shift_jis", 6: "iso8859-5", 7: "iso8859-8", 8: "utf-16-be", 14: "euc_kr"}
    if data_coding in named:
        return data.decode(named[data_coding], "replace")
    if data_coding in (2, 4) or (data_coding >= 0xF0 and data_coding & 0x04):
        return f"({len(data)} bytes: {data[:200].hex(' ')})" if data else ""
    if data_coding < 0x80 and data_coding & 0x0C == 0x08:
        return data.decode("utf-16-be", "replace")
    return data.decode("latin-1") if default == "latin1" else sms_text.from_gsm(data)


class Told(NamedTuple):
    """What a receipt tells. `state` is the number of message_state (§5.2.28), 0 where nothing says it."""

    message_id: str
    state: int
    error: str


_STATES = {
    "ENROUTE": 1,
    "DELIVRD": 2,
    "DELIVERED": 2,
    "EXPIRED": 3,
    "DELETED": 4,
    "UNDELIV": 5,
    "UNDELIVERABLE": 5,
    "FAILED": 5,
    "ACCEPTD": 6,
    "ACCEPTED": 6,
    "UNKNOWN": 7,
    "REJECTD": 8,
    "REJECTED": 8,
}
_RECEIPT_TEXT = re.compile(r"\b(id|stat|err) *: *([^\s:]+)", re.IGNORECASE)


def told(found: Delivered) -> Told:
    """Read a receipt: its optional parameters, else its text, whose format is each provider's own."""
    said: dict[str, str] = {}
    written = found.data.decode("latin-1")[:1_000]
    for name, value in _RECEIPT_TEXT.findall(re.split(r"\btext *:", written, flags=re.IGNORECASE)[0]):
        said.setdefault(name.lower(), value)
    named = found.parameters.get(RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0").decode("latin-1").strip()
    state = int.from_bytes(found.parameters.get(MESSAGE_STATE, b"")[:1])
    error = found.parameters.get(NETWORK_ERROR_CODE, b"")
    return Told(
        (named or said.get("id", ""))[:100],
        state or _STATES.get(said.get("stat", "").upper(), 0),
        said.get("err", "") or (str(int.from_bytes(error[1:3])) if len(error) == 3 else ""),
    )


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._place = 0

    def take(self, count: int) -> bytes:
        found = self._body[self._place : self._place + count]
        if len(found) < count:
            raise Unreadable("a unit that is cut short")
        self._place += count
        return found

    def byte(self) -> int:
        return self.take(1)[0]

    def text(self) -> str:
        end = self._body.find(b"\0", self._place)
        if end < 0:
            raise Unreadable("a text without an end")
        return self.take(end - self._place + 1)[:-1].decode("latin-1")

    def parameters(self) -> dict[int, bytes]:
        """Read the optional parameters; what is broken among them ends them."""
        found: dict[int, bytes] = {}
        while self._place + 4 <= len(self._body):
            tag, length = struct.unpack("!HH", self.take(4))
            found.setdefault(tag, self._body[self._place : self._place + length])
            self._place += length
        return found


def _without_header(data: bytes) -> tuple[tuple[int, int, int] | None, bytes]:
    """Take the user data header off; return what it says of joining, and the rest."""
    header, rest = data[1 : 1 + data[0]], data[1 + data[0] :]
    place = 0
    part = None
    while place + 2 <= len(header):
        kind, length = header[place], header[place + 1]
        element = header[place + 2 : place + 2 + length]
        place += 2 + length
        if kind == 0 and len(element) == 3:
            part = (element[0], element[2], element[1])
        elif kind == 8 and len(element) == 4:
            part = (int.from_bytes(element[:2]), element[3], element[2])
    return (part if part and 1 <= part[1] <= part[2] and part[2] > 1 else None), rest


def _text(value: str) -> bytes:
    return value.replace("\0", "").encode("latin-1", "replace") + b"\0"


def _address(value: str) -> bytes:
    """Write an address with its type and plan: a number with its country, a short code, or a name."""
    if not value:
        return bytes((0, 0)) + _text("")
    if value.startswith("+") and value[1:].isdecimal():
        return bytes((1, 1)) + _text(value[1:])
    if value.isdecimal():
        return bytes((1, 1) if len(value) > 8 else (0, 1)) + _text(value)
    return bytes((5, 0)) + _text(value)
