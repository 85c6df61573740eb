"""Files that a form's answers only name by their address.

The address was typed, or could have been: so it is fetched through the guard of `channels.http`, which refuses the own
network, and it stays visible among the fields for whoever cannot wait for the file or finds it gone.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from channels.contract import Fetched, Tools
from channels.errors import Undeliverable
from core.kernel.envelopes import Attachment, MediaKind
from webhooks import charsets

_MOST = 30
_LONGEST = 2_000
_URL = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_BETWEEN = re.compile(r"[,;|\s]+(?=https?://)", re.IGNORECASE)
# What people attach to forms. A page (`.html`, `.php`) is a link and no file.
_EXTENSIONS = frozenset(
    (
        *("jpg", "jpeg", "png", "gif", "webp", "heic", "heif", "svg", "bmp", "tif", "tiff", "psd", "ai", "eps"),
        *("pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp", "rtf", "txt", "csv", "pages"),
        *("zip", "rar", "7z", "dwg", "dxf", "eml", "vcf"),
        *("mp3", "m4a", "ogg", "oga", "opus", "wav", "amr", "aac", "mp4", "mov", "avi", "webm", "mkv", "3gp"),
    )
)


def addresses_in(value: str) -> list[str]:
    """Return the addresses a value consists of; none if there is anything else in it."""
    pieces = _BETWEEN.split(value.strip()[: _MOST * _LONGEST])
    fine = all(len(piece) <= _LONGEST and _URL.fullmatch(piece) for piece in pieces)
    return pieces[:_MOST] if fine else []


def linked(values: Iterable[str], *, surely: bool = False) -> tuple[Attachment, ...]:
    """Return the files that values are addresses of.

    `surely`: the builder says that they are files; else only an address that ends like a file's is one.
    """
    found: dict[str, Attachment] = {}
    for value in values:
        for address in addresses_in(value) if "://" in value[:_LONGEST] else ():
            if len(found) < _MOST and (surely or _extension(address) in _EXTENSIONS):
                found.setdefault(address, _attachment(address))
    return tuple(found.values())


async def fetch(reference: str, tools: Tools) -> Fetched:
    """Open a file that `linked` found.

    Raises:
        Temporary: try again. Undeliverable: it is gone, or its address is none that may be fetched.
    """
    if not _URL.fullmatch(reference):
        raise Undeliverable("This is no address of a file that can be fetched")
    chunks, content_type, size = await tools.http.stream(reference)
    return Fetched(chunks, content_type, size, _name(reference))


def _attachment(address: str) -> Attachment:
    name = _name(address)
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    kinds: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}
    kind = kinds.get(content_type.partition("/")[0], "file")
    return Attachment(name, content_type, 0, reference=address, kind=kind)


def _name(address: str) -> str:
    """Return the last part of an address's path, as a file's name."""
    try:
        path = urlsplit(address).path
    except ValueError:
        return "file"
    name = charsets.clean(unquote(path.rpartition("/")[2], errors="replace"))
    return re.sub(r"[/\\\s]+", " ", name).strip(" .")[-200:] or "file"


def _extension(address: str) -> str:
    stem, dot, extension = _name(address).rpartition(".")
    return extension.lower() if stem and dot else ""
