"""The parts of a letter (RFC 2045, 2046), from bytes.

The standard library's parser recurses with the nesting of the letter and goes line by line; a letter made for it takes
its stack or a minute of its time. This one looks for boundaries in the whole body at once, goes `DEEPEST` levels down,
takes `MOST_PARTS` parts, and leaves what lies beyond as one opaque part. It takes what mailers get wrong: a missing
last boundary, a boundary other than declared, text before the blank line, bare line feeds, mbox's `From ` line.

Parts that hold no others are numbered in the order they stand in; that number is `Attachment.part`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from channels.email import headers
from webhooks import multiparts

DEEPEST = 40
MOST_PARTS = 1_000
_MOST_HEADERS = 2_000

_EOL = rb"(?:\r\n|\n|\r)"
_HEADER = re.compile(rb"([!-9;-~]{1,200})[ \t]*:([^\r\n]*(?:" + _EOL + rb"[ \t][^\r\n]*)*)(?:" + _EOL + rb"|\Z)")
_LINE = re.compile(rb"([^\r\n]*)(?:" + _EOL + rb"|\Z)")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r)[ \t]*(?:\r\n|\n|\r)")
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*(?:\r\n|\n|\r|\Z)")
_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+*-]{1,100}", re.ASCII)


@dataclass(slots=True)
class Part:
    """A part of a letter, or the letter itself.

    number  of a part that holds no others; -1 for one that does
    """

    fields: dict[str, list[str]]
    content_type: str
    parameters: dict[str, str]
    body: bytes
    children: list[Part] = field(default_factory=list)
    number: int = -1

    def first(self, name: str) -> str:
        """Return the first header of a name, raw; "" where there is none."""
        return self.fields.get(name, [""])[0]

    @property
    def content(self) -> bytes:
        """The bytes of the part, its transfer encoding undone."""
        encoding = headers.plain(self.first("content-transfer-encoding")).lower().partition(";")[0].strip(" \"'")
        if encoding == "base64":
            return headers.from_base64(self.body)
        if encoding == "quoted-printable":
            return binascii.a2b_qp(self.body)
        if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
            return _from_uuencode(self.body)
        return self.body

    def leaves(self) -> Iterator[Part]:
        """All parts that hold no others, in order."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            if part.children:
                waiting.extend(reversed(part.children))
            else:
                yield part


def read(raw: bytes) -> Part:
    """Take a letter apart; any bytes are one."""
    counted = [0]
    return _part(raw.lstrip(b"\r\n\x00\xef\xbb\xbf"), counted, 0, "text/plain")


def read_head(raw: bytes) -> dict[str, list[str]]:
    """Read only the headers of a letter, or of a block of such lines."""
    return _head(raw.lstrip(b"\r\n"))[0]


def _part(data: bytes, counted: list[int], depth: int, usual_type: str) -> Part:
    fields, start = _head(data)
    kind, parameters = headers.parameters(fields.get("content-type", [usual_type])[0])
    kind = kind if _TYPE.fullmatch(kind) else "text/plain"
    part = Part(fields, kind, parameters, data[start:])
    if kind.startswith("multipart/") and depth < DEEPEST:
        usual = "message/rfc822" if kind == "multipart/digest" else "text/plain"
        part.children = [
            _part(piece, counted, depth + 1, usual)
            for piece in _pieces(part.body, parameters.get("boundary", ""), MOST_PARTS - counted[0])
            if counted[0] < MOST_PARTS
        ]
        if part.children:
            part.body = b""
            return part
        # nothing to be parted: it is read as the text it looks like
        part.content_type = "text/plain"
    part.number = counted[0]
    counted[0] += 1
    return part


def _head(data: bytes) -> tuple[dict[str, list[str]], int]:
    """Read headers; return them and where the body starts."""
    fields: dict[str, list[str]] = {}
    position = count = 0
    last: list[str] = []
    if data.startswith((b"From ", b">From ")):
        first = _LINE.match(data)
        position = first.end() if first else 0
    while position < len(data):
        if found := _HEADER.match(data, position):
            last = fields.setdefault(found[1].decode("ascii").lower(), [])
            last.append(found[2].decode("ascii", "surrogateescape"))
            position = found.end()
            count += 1
            if count >= _MOST_HEADERS:
                end = _BLANK_LINE.search(data, position - 1)
                return fields, end.end() if end else len(data)
            continue
        line = _LINE.match(data, position)
        if line is None or not line[1].strip():
            return fields, line.end() if line else position
        if not (last and _HEADER.match(data, line.end())):
            return fields, position  # the body starts without a blank line
        last[-1] += " " + line[1].decode("ascii", "surrogateescape")  # folded, but not indented
        position = line.end()
    return fields, position


def _pieces(body: bytes, declared: str, most: int) -> list[bytes]:
    """Part a body at its boundary; [] where it has none."""
    pieces = _split(body, declared.encode("utf-8", "replace"), most)
    if not pieces and (used := multiparts.boundary_in(body, "")):
        pieces = _split(body, used, most)
    return pieces


def _split(body: bytes, boundary: bytes, most: int) -> list[bytes]:
    delimiter = b"--" + boundary
    pieces: list[bytes] = []
    start = -1
    position = 0
    while boundary and len(pieces) < most and (at := body.find(delimiter, position)) >= 0:
        position = at + len(delimiter)
        line = _AFTER_BOUNDARY.match(body, position)
        if line is None or (at and body[at - 1] not in b"\r\n"):
            continue
        if start >= 0:
            pieces.append(_without_last_eol(body[start:at]))
        start = -1 if line[1] else line.end()
        if line[1]:
            break
    if start >= 0:
        pieces.append(body[start:])
    return pieces


def _without_last_eol(data: bytes) -> bytes:
    """Drop the line end that belongs to the boundary after it (RFC 2046 §5.1.1)."""
    if data.endswith(b"\r\n"):
        return data[:-2]
    return data[:-1] if data.endswith((b"\n", b"\r")) else data


def _from_uuencode(data: bytes) -> bytes:
    decoded: list[bytes] = []
    is_inside = False
    for line in data.splitlines():
        if not is_inside:
            is_inside = re.match(rb"begin [0-7]{3,4} ", line) is not None
        elif line.strip() == b"end":
            break
        elif line:
            # some pad a line with more than its length says
            with suppress(binascii.Error):
                decoded.append(binascii.a2b_uu(line[: 1 + (((line[0] - 32) & 63) + 2) // 3 * 4]))
    return b"".join(decoded)
