"""The parts of a multipart/form-data body (RFC 7578), from browsers and from those who try to imitate them.

The parsing is the `multipart` library's. Around it lies what real senders need: a boundary that differs from the
declared one (Zadarma), bare line feeds, a missing last boundary, `filename*=` (RFC 5987, forbidden by RFC 7578 §4.2
and sent by Python's aiohttp and urllib3 all the same), names in any charset.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from webhooks import charsets
from webhooks.errors import Malformed

# What stands at the start of a line, of at most the 70 characters of RFC 2046 §5.1.1 and some more for the careless.
_BOUNDARY_LINE = re.compile(rb"(?:^|\r?\n)--([^\r\n]{1,200}?)[ \t]*\r?\n(?=[^\r\n]*content-)", re.IGNORECASE)
_EXTENDED = re.compile(r";\s*(name|filename)\*\s*=\s*\"?([\w.:-]+)'[^']*'([^;\"]*)", re.IGNORECASE)


class Part(NamedTuple):
    """One part; the names are bytes, as their charset is decided with the whole form. `filename` is None for text."""

    name: bytes
    filename: bytes | None
    content_type: str
    charset: str
    content: bytes


def boundary_in(body: bytes, declared: str) -> bytes:
    """Return the boundary that the body really uses; b"" when there is none to be seen."""
    boundary = declared.encode("latin-1", "replace")
    if boundary and re.search(b"--" + re.escape(boundary) + rb"(?:--|[ \t]*\r?\n)", body):
        return boundary
    found = _BOUNDARY_LINE.search(body, 0, 65_536)
    return found[1] if found else b""


def parts_of(body: bytes, boundary: bytes, limit: int) -> list[Part]:
    """Take a body apart.

    Raises:
        Malformed: it cannot be, or has more than `limit` parts.
    """
    parser = PushMultipartParser(boundary, header_charset="latin-1", max_segment_count=limit)
    parts: list[Part] = []
    segment: MultipartSegment | None = None
    content: list[bytes] = []
    try:
        with parser:
            for event in parser.parse(_repaired(body, boundary)):
                if isinstance(event, MultipartSegment):
                    segment, content = event, []
                elif event:
                    content.append(bytes(event))
                elif segment is not None:
                    parts.append(_part(segment, b"".join(content)))
    except ParserLimitReached as error:
        raise Malformed(f"The multipart body has too many or too large parts: {limit} are taken.") from error
    except (MultipartError, UnicodeError) as error:
        raise Malformed(f"The multipart body cannot be read: {error.args[0] if error.args else error}.") from error
    return parts


def read_part(body: bytes, content_type: str, number: int) -> bytes | None:
    """Return the content of part `number` of a body, counted as in `forms.File.part`; None when there is none."""
    declared = str(parse_options_header(content_type)[1].get("boundary", ""))
    boundary = boundary_in(body, declared)
    try:
        parts = parts_of(body, boundary, 10_000) if boundary else []
    except Malformed:
        return None
    return parts[number].content if 0 <= number < len(parts) else None


def _repaired(body: bytes, boundary: bytes) -> bytes:
    """Bring the frame of a body to what the standard asks for; contents are left alone.

    A body without its last boundary is taken as it is: that it was not cut short is what Content-Length is for.
    """
    delimiter = b"--" + boundary
    start = max(body.find(delimiter), 0)
    if body[start + len(delimiter) :][:2] not in (b"\r\n", b"--"):
        mark = re.escape(delimiter)
        body = re.sub(
            rb"(?:^|\r?\n)" + mark + rb"[ \t]*\r?\n((?:[^\r\n]{1,4096}\r?\n){0,8})\r?\n",
            lambda found: b"\r\n" + delimiter + b"\r\n" + re.sub(rb"\r?\n", b"\r\n", found[1]) + b"\r\n",
            body,
        )
        body = re.sub(rb"\r?\n" + mark + b"--", lambda _: b"\r\n" + delimiter + b"--", body)
        start = max(body.find(delimiter), 0)
    body = body[start:] if start else body
    if body[len(delimiter) :][:2] != b"--" and b"\r\n" + delimiter + b"--" not in body:
        body += b"\r\n" + delimiter + b"--\r\n"
    return body


def _part(segment: MultipartSegment, content: bytes) -> Part:
    """Read the headers of a part."""
    name: bytes = (segment.name or "").encode("latin-1", "replace")
    filename = None if segment.filename is None else segment.filename.encode("latin-1", "replace")
    disposition = str(segment.header("Content-Disposition", ""))
    if "*" in disposition:
        for which, charset, escaped in _EXTENDED.findall(disposition):
            text = unquote_to_bytes(escaped).decode(charsets.known(charset) or "utf-8", "replace")
            if which.lower() == "name":
                name = text.encode("utf-8", "replace")
            else:
                filename = text.encode("utf-8", "replace")
    kind = (segment.content_type or "").strip()
    kind = kind if re.fullmatch(r"[\w.+-]{1,100}/[\w.+-]{1,100}", kind, re.ASCII) else ""
    return Part(name, filename, kind or "application/octet-stream", segment.charset or "", content)
