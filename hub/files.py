"""Files: kept once by their content, in the state folder or an S3 bucket, streamed in and out.

A file is what its bytes are, never what somebody said of them: the type is sniffed while it comes in. Pictures get a
small preview, made anew from their pixels, so that nothing hidden in a file ever reaches a page.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import re
import tempfile
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple

import obstore
import puremagic
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store
from PIL import Image, ImageOps, UnidentifiedImageError
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import Temporary, Undeliverable
from core.kernel.envelopes import MediaKind
from core.talk.attachments import Attachment, FileState, StoredFile
from hub.settings import Settings

MOST_BYTES = 100 * 1024 * 1024
"""Larger files are not taken, from whomever they come."""

SHOWN_IN_PLACE = frozenset(
    {
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "audio/mpeg",
        "audio/ogg",
        "audio/mp4",
        "audio/wav",
        "audio/x-wav",
        "audio/aac",
        "video/mp4",
        "video/webm",
    }
)
"""What a browser may show or play; anything else is only ever saved."""

_DOCUMENTS = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
}
"""What a ZIP archive is by its name; nothing but an office opens it as that."""

_WAVE = re.compile(rb"RIFF....WAVE", re.DOTALL)
_MPEG = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]")
"""The header of a frame of MPEG audio, layer III (ISO 11172-3 §2.4.1.3): what an MP3 without tags begins with."""
_IN_OGG = (b"OpusHead", b"\x01vorbis", b"Speex   ")

_PIECE = 1024 * 1024
_HEAD = 4096
_PREVIEW = (480, 480)
_MOST_PIXELS = 50_000_000


class Kept(NamedTuple):
    """A file that came in: what it is, and where it lies."""

    sha256: str
    size: int
    content_type: str
    path: str
    preview: str | None
    width: int | None
    height: int | None


class TooBig(Undeliverable):
    """More bytes than we take."""


class Files:
    """The store of all files."""

    def __init__(self, store: Any, secret_key: bytes) -> None:
        self._store = store
        self._key = hmac.new(secret_key, b"switchyard files", hashlib.sha256).digest()

    async def keep(
        self, chunks: AsyncIterator[bytes], *, name: str = "", declared: str = "", most: int = MOST_BYTES
    ) -> Kept:
        """Take a file in, piece by piece; the same content twice is kept once.

        `name` and `declared` help only where the bytes do not tell (text, CSV).

        Raises:
            TooBig: it has more than `most` bytes. Temporary: the store does not take it just now.
        """
        digest, size, head = hashlib.sha256(), 0, b""
        with tempfile.SpooledTemporaryFile(max_size=4 * _PIECE) as spooled:
            async for chunk in chunks:
                size += len(chunk)
                if size > most:
                    raise TooBig(f"The file is larger than the {most // 1_000_000} MB that are kept")
                if len(head) < _HEAD:
                    head += chunk[: _HEAD - len(head)]
                digest.update(chunk)
                await asyncio.to_thread(spooled.write, chunk)
            sha256 = digest.hexdigest()
            path = f"{sha256[:2]}/{sha256}"
            content_type = sniffed(head, name, declared)
            shown = await asyncio.to_thread(_preview, spooled) if content_type.startswith("image/") else None
            spooled.seek(0)
            try:
                await obstore.put_async(self._store, path, spooled)
                if shown is not None:
                    await obstore.put_async(self._store, f"{path}.preview", shown.content)
            except (BaseError, OSError) as error:
                raise Temporary(f"The file store does not take files just now: {str(error)[:200]}") from error
        return Kept(
            sha256,
            size,
            content_type,
            path,
            f"{path}.preview" if shown else None,
            shown.width if shown else None,
            shown.height if shown else None,
        )

    async def read(self, path: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes of a file from `start` up to, not including, `end`.

        Raises:
            Temporary: it cannot be had just now.
        """
        try:
            if start or end is not None:
                last = end if end is not None else (await obstore.head_async(self._store, path))["size"]
                while start < last:
                    upto = min(last, start + 4 * _PIECE)
                    yield bytes(await obstore.get_range_async(self._store, path, start=start, end=upto))
                    start = upto
                return
            found = await obstore.get_async(self._store, path)
            async for piece in found.stream(min_chunk_size=_PIECE):
                yield bytes(piece)
        except (BaseError, OSError) as error:
            raise Temporary(f"The file store does not give files just now: {str(error)[:200]}") from error

    async def whole(self, path: str) -> bytes:
        """Return all bytes of a small file."""
        return b"".join([piece async for piece in self.read(path)])

    async def forget(self, path: str) -> None:
        """Delete a file; one that is not there is no matter."""
        for which in (path, f"{path}.preview"):
            with suppress(BaseError, OSError):
                await obstore.delete_async(self._store, which)

    async def check(self) -> None:
        """Write and read a few bytes.

        Raises:
            Temporary: that did not work; the message says why.
        """
        try:
            await obstore.put_async(self._store, "check", b"ok")
        except (BaseError, OSError) as error:
            raise Temporary(f"The file store cannot be written to: {str(error)[:300]}") from error

    def ticket(self, attachment_id: int, *, until: datetime) -> str:
        """Return what lets anybody fetch one attachment for a while, for providers and customers."""
        expires = int(until.timestamp())
        said = f"{attachment_id}.{expires}"
        return f"{said}.{self._mark(said)}"

    def admitted(self, ticket: str, *, now: datetime) -> int | None:
        """Return the attachment a ticket is for; None if it is forged or has expired."""
        said, _, mark = ticket.rpartition(".")
        if not hmac.compare_digest(mark.encode("utf-8", "replace"), self._mark(said).encode()):
            return None
        attachment_id, _, expires = said.partition(".")
        if datetime.fromtimestamp(int(expires), UTC) < now:
            return None
        return int(attachment_id)

    def _mark(self, said: str) -> str:
        digest = hmac.new(self._key, said.encode("utf-8", "replace"), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:18]).decode()


LINK_LASTS = timedelta(days=30)
"""How long a link that a customer is sent instead of a file works."""

FETCH_LASTS = timedelta(hours=6)
"""How long a provider may fetch a file we told it of."""


def open_files(settings: Settings) -> Files:
    """Open the store of the settings: `s3://bucket/prefix` (credentials and endpoint from the usual AWS_… variables),
    `file:///folder`, or the state folder.
    """
    key = settings.secret_key()
    url = settings.files_url.get_secret_value() if settings.files_url is not None else ""
    if url.startswith("s3://"):
        # plain HTTP only where somebody names such an endpoint himself
        return Files(S3Store.from_url(url, client_options={"allow_http": True, "timeout": "30s"}), key)
    folder = Path(url.removeprefix("file://")) if url else settings.state_dir / "files"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Files(LocalStore(prefix=folder), key)


def sniffed(head: bytes, name: str = "", declared: str = "") -> str:
    """Return what a file is, by its first bytes; text and the like by its name. Never anything a browser would run."""
    if not head:
        return "application/octet-stream"
    if sound := _sound(head):
        return sound
    ending = Path(name).suffix.lower()
    found = ""
    with suppress(puremagic.PureError, ValueError, OSError):
        found = puremagic.from_string(head, mime=True)
    if head.startswith(b"PK\x03\x04"):
        return _DOCUMENTS.get(ending, "application/zip")
    if found and not found.startswith("text/"):
        return _harmless(found)
    if b"\x00" in head:
        return "application/octet-stream"
    if "html" in found or b"<script" in head.lower() or b"<html" in head.lower() or b"<svg" in head.lower():
        return "application/octet-stream"
    return "text/csv" if ending == ".csv" or declared.startswith("text/csv") else "text/plain"


def _sound(head: bytes) -> str:
    """Return what sound a file is, as browsers call it; "" if it is none. The library knows little of what telephones
    record.
    """
    if _WAVE.match(head):
        return "audio/wav"
    if head.startswith(b"ID3") or _MPEG.match(head):
        return "audio/mpeg"
    if head.startswith(b"OggS") and any(codec in head[:64] for codec in _IN_OGG):
        return "audio/ogg"
    return "audio/mp4" if head[4:12] in (b"ftypM4A ", b"ftypM4B ") else ""


def _harmless(content_type: str) -> str:
    risky = ("html", "xml", "svg", "javascript", "ecmascript")
    return "application/octet-stream" if any(word in content_type for word in risky) else content_type


def kind_of(content_type: str) -> MediaKind:
    """Return what sort of file a content type is, as channels tell them apart."""
    if content_type in ("image/jpeg", "image/png", "image/webp", "image/gif"):
        return "image"
    if content_type.startswith("audio/"):
        return "audio"
    if content_type in ("video/mp4", "video/3gpp", "video/quicktime", "video/webm"):
        return "video"
    return "file"


class _Preview(NamedTuple):
    content: bytes
    width: int
    height: int


def _preview(source: IO[bytes]) -> _Preview | None:
    """Make a small picture of a picture; None of one that cannot be read or is a bomb."""
    source.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    return None
                width, height = picture.size
                picture.draft("RGB", (_PREVIEW[0] * 2, _PREVIEW[1] * 2))
                upright = ImageOps.exif_transpose(picture)
                upright.thumbnail(_PREVIEW)
                has_alpha = "A" in upright.getbands() or "transparency" in upright.info
                small = upright.convert("RGBA" if has_alpha else "RGB")
                written = io.BytesIO()
                small.save(written, "WEBP", quality=80)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning):
        return None
    return _Preview(written.getvalue(), width, height)


async def note(session: AsyncSession, kept: Kept, *, at: datetime) -> StoredFile:
    """Return the row of a file that was taken in, a new one or that of the same content."""
    await session.execute(
        insert(StoredFile).values(**kept._asdict(), created_at=at).on_conflict_do_nothing(index_elements=["sha256"])
    )
    found = await session.scalar(select(StoredFile).where(StoredFile.sha256 == kept.sha256))
    assert found is not None
    return found


async def uploaded(
    session: AsyncSession, kept: Sequence[tuple[str, str, Kept]], *, author_id: int, at: datetime
) -> list[Attachment]:
    """Make files that a colleague sent from elsewhere ready to go with a message: name, kind and content of each."""
    rows = []
    for name, kind, found in kept:
        stored = await note(session, found, at=at)
        row = Attachment(
            author_id=author_id,
            name=name[:255],
            content_type=stored.content_type,
            size=stored.size,
            kind=kind if kind != "file" else kind_of(stored.content_type),
            state=FileState.STORED,
            file_id=stored.id,
            created_at=at,
        )
        session.add(row)
        await session.flush()
        rows.append(row)
    return rows


async def once(content: bytes) -> AsyncIterator[bytes]:
    """Yield bytes that are there already."""
    yield content
