"""How IMAP writes things down (RFC 3501): names of folders, quoted strings, the pieces of a FETCH."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_ITEM = re.compile(rb"\d+ FETCH ")
_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
_DATE = re.compile(rb'\bINTERNALDATE "([^"]*)"')


class Found(NamedTuple):
    """A letter, or what was asked of it. `body` is None where the server has it no more."""

    uid: int
    size: int
    date: str
    body: bytes | None


def in_utf7(name: str) -> str:
    """Spell a folder's name as IMAP does: `Входящие` is `&BBIERQQ+BDQETwRJBDgENQ-` (RFC 3501 §5.1.3)."""

    def spelled(run: re.Match[str]) -> str:
        return "&" + base64.b64encode(run[0].encode("utf-16-be"), b"+,").decode().rstrip("=") + "-"

    return re.sub(r"[^\x20-\x7e]+", spelled, name.replace("&", "&-"))


def from_utf7(name: str) -> str:
    """Read a folder's name; one that is spelled wrongly is returned as it is."""

    def meant(run: re.Match[str]) -> str:
        if not run[1]:
            return "&"
        return base64.b64decode(run[1] + "=" * (-len(run[1]) % 4), b"+,").decode("utf-16-be")

    try:
        return re.sub(r"&([^-]*)-", meant, name)
    except (ValueError, UnicodeDecodeError):
        return name


def quoted(text: str) -> str:
    """Write a string of ASCII as one word."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def said(answer: Any) -> str:
    """Return a server's own words, on one line."""
    last = answer.lines[-1] if answer.lines else b""
    return " ".join(bytes(last).decode("utf-8", "replace").split())[:200] or str(answer.result)


def found(lines: Sequence[bytes | bytearray]) -> list[Found]:
    """Put the lines of a FETCH together again, letter by letter."""
    items: list[tuple[list[bytes], list[bytes]]] = []
    for line in lines:
        if isinstance(line, bytearray):
            if items:
                items[-1][1].append(bytes(line))
        elif _ITEM.match(line):
            items.append(([line], []))
        elif items:
            items[-1][0].append(line)
    letters = []
    for texts, literals in items:
        text = b" ".join(texts)
        if uid := _UID.search(text):
            size, date = _SIZE.search(text), _DATE.search(text)
            body = literals[0] if literals else b"" if re.search(rb'BODY\[[^]]*\](?:<0>)? ""', text) else None
            day = date[1].decode("ascii", "replace") if date else ""
            letters.append(Found(int(uid[1]), int(size[1]) if size else 0, day, body))
    return letters
