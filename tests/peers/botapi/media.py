"""Files in messages: taken from an upload, an id or an address, checked, and shown as each kind is.

https://core.telegram.org/bots/api#sending-files.
"""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import aiohttp
from PIL import Image, UnidentifiedImageError

from tests.peers.botapi.arguments import Upload, address
from tests.peers.botapi.calls import Call
from tests.peers.botapi.chats import Json, StoredFile
from tests.peers.botapi.errors import Refused, bad
from tests.peers.botapi.world import World

MOST_UPLOAD = 50 * 1024 * 1024
MOST_PHOTO = 10 * 1024 * 1024
MOST_DOWNLOAD = 20 * 1024 * 1024
MOST_BY_URL = {"photo": 5 * 1024 * 1024}
_NAMES = {
    "photo": "Photo",
    "document": "Document",
    "voice": "VoiceNote",
    "audio": "Audio",
    "video": "Video",
    "video_note": "VideoNote",
    "sticker": "Sticker",
    "animation": "Animation",
}
KINDS = tuple(_NAMES)
_MIME = {"voice": "audio/ogg", "audio": "audio/mpeg", "video": "video/mp4", "animation": "video/mp4"}
_THUMBNAIL = 320


async def given(call: Call, kind: str, value: Any = None) -> StoredFile:
    """Return the file an argument names: an upload, `attach://name`, a file id, or an address on 127.0.0.1.

    Raises:
        Refused: there is none, or Telegram would not take it as this kind.
    """
    upload = call.arguments.uploads.get(kind) if value is None else None
    said = call.arguments.text(kind) if value is None else str(value or "")
    if said.startswith("attach://"):
        upload = call.arguments.uploads.get(said[9:])
        if upload is None:
            raise bad(f'can\'t parse InputMedia: attached file "{said[9:]}" not found')
    if upload is not None:
        return await stored(call.world, kind, upload)
    if not said:
        raise bad(f"there is no {kind.replace('_', ' ')} in the request")
    if re.match(r"https?://", said):
        return await stored(call.world, kind, await _fetched(call.session, kind, said), is_url=True)
    found = call.world.file_by(call.bot, said)
    if found is None:
        raise bad("wrong file identifier/HTTP URL specified")
    if found.kind != kind:
        raise bad(f"can't use file of type {_NAMES[found.kind]} as {_NAMES[kind]}")
    return found


async def _fetched(session: aiohttp.ClientSession, kind: str, url: str) -> Upload:
    parts = address(url)
    if parts is None or parts.hostname not in ("127.0.0.1", "localhost"):
        raise bad("failed to get HTTP URL content")  # the double calls nobody outside this machine
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(20)) as answer:
            if answer.status != 200:
                raise bad("failed to get HTTP URL content")
            most = MOST_BY_URL.get(kind, MOST_DOWNLOAD)
            content = b""
            async for piece in answer.content.iter_chunked(65536):
                content += piece
                if len(content) > most:
                    raise bad("failed to get HTTP URL content")
            return Upload(parts.path.rpartition("/")[2] or "file", answer.content_type, content)
    except (aiohttp.ClientError, TimeoutError):
        raise bad("failed to get HTTP URL content") from None


async def stored(world: World, kind: str, upload: Upload, *, is_url: bool = False) -> StoredFile:
    """Keep a file as a kind.

    Raises:
        Refused: it is empty, too large, or not what it should be.
    """
    size = len(upload.content)
    if size == 0:
        raise bad("file must be non-empty")
    if size > MOST_UPLOAD:
        raise Refused(413, "Request Entity Too Large")
    if kind == "photo":
        if size > MOST_PHOTO:
            raise bad(f"file of size {size} bytes is too big for a photo; the maximum size is {MOST_PHOTO} bytes")
        details = await asyncio.to_thread(_photo, upload.content)
        made = world.keep(kind, upload.content, "photo.jpg", "image/jpeg", **details)
        if thumbnail := details.get("thumbnail"):
            small = world.keep("photo", thumbnail["content"], "photo.jpg", "image/jpeg")
            made.details["small"] = {
                "file_id": small.unique_id,
                "file_unique_id": small.unique_id,
                "file_size": len(small.content),
                "width": thumbnail["width"],
                "height": thumbnail["height"],
            }
        made.details.pop("thumbnail", None)
        return made
    return world.keep(kind, upload.content, upload.name, _MIME.get(kind) or upload.content_type)


def _photo(content: bytes) -> Json:
    """Measure a picture. The bytes stay as they were, where Telegram would compress them."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if width + height > 10_000 or max(width, height) > 20 * min(width, height):
                raise bad("PHOTO_INVALID_DIMENSIONS")
            details: Json = {"width": width, "height": height}
            if max(width, height) > _THUMBNAIL:
                image.thumbnail((_THUMBNAIL, _THUMBNAIL))
                small = io.BytesIO()
                image.convert("RGB").save(small, "JPEG")
                details["thumbnail"] = {"content": small.getvalue(), "width": image.width, "height": image.height}
            return details
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, ValueError):
        raise bad("IMAGE_PROCESS_FAILED") from None


def shown(file: StoredFile, said: Json | None = None) -> Json:
    """Return what a message says of a file. `said` is what the sender tells of it: duration, width, title, …"""
    told = said or {}
    found: Json = {
        "file_id": file.unique_id,
        "file_unique_id": file.unique_id,
        "file_size": len(file.content),
    }
    if file.kind == "photo":
        large = {**found, "width": file.details["width"], "height": file.details["height"]}
        return {"photo": [*([dict(file.details["small"])] if "small" in file.details else []), large]}
    numbers = {
        "voice": ("duration",),
        "audio": ("duration",),
        "video": ("width", "height", "duration"),
        "animation": ("width", "height", "duration"),
        "video_note": ("length", "duration"),
    }.get(file.kind, ())
    for name in numbers:
        file.details[name] = _number(told.get(name)) or file.details.get(name, 0 if name == "duration" else 240)
        found[name] = file.details[name]
    if file.kind == "audio":
        found |= {name: str(told[name]) for name in ("performer", "title") if told.get(name)}
    if file.kind == "sticker":
        found |= {"type": "regular", "width": 512, "height": 512, "is_animated": False, "is_video": False}
        return {"sticker": {**found, **({"emoji": str(told["emoji"])} if told.get("emoji") else {})}}
    if file.name and file.kind not in ("voice", "video_note"):
        found["file_name"] = file.name
    if file.mime_type and file.kind != "video_note":
        found["mime_type"] = file.mime_type
    if file.kind == "animation":
        return {"animation": found, "document": {k: v for k, v in found.items() if k not in numbers}}
    return {file.kind: found}


def _number(value: Any) -> int:
    return int(value) if str(value or "").isdecimal() else 0
