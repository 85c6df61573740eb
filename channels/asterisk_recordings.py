"""Recordings of Asterisk: files in a folder that this machine can read, or ARI's stored recordings, by HTTP."""

from __future__ import annotations

import asyncio
import os
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from channels.contract import Fetched
from channels.errors import Misconfigured, Temporary, Undeliverable

ARI = "ari:"
"""What a reference begins with that names a recording ARI has."""

_HEADER = 44  # bytes of a WAV file in which nothing was said
_PIECE = 65_536
_NOT_YET = 20.0  # seconds
_FOLDERS = ("/monitor/", "/recording/")
_ENDINGS = (".wav", ".WAV", ".wav49", ".gsm", ".mp3", ".ogg")
_TYPES = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".gsm": "audio/x-gsm",
    ".wav49": "audio/x-wav",
}


def reference_of(path: str, folder: str, *, has_ari: bool) -> str:
    """Return by what a recording can be had that Asterisk wrote to `path`; "" where there is no way.

    `folder` may be where another machine sees Asterisk's: what follows `/monitor/` is the same in both.
    """
    path = path.strip()
    if not path or "\x00" in path or len(path) > 400:
        return ""
    if folder:
        root = folder.rstrip("/") + "/"
        if path.startswith(root):
            return path.removeprefix(root).lstrip("/")
        return "" if "/voicemail/" in path else _tail(path)
    if not has_ari:
        return ""
    tail = path.rpartition("/recording/")[2] if "/recording/" in path else _tail(path)
    return ARI + str(PurePosixPath(tail).with_suffix("") if PurePosixPath(tail).suffix in _ENDINGS else tail)


def _tail(path: str) -> str:
    for folder in _FOLDERS:
        if folder in path:
            return path.partition(folder)[2].lstrip("/")
    return path.rpartition("/")[2]


async def open_file(folder: str, reference: str) -> Fetched:
    """Open a recording in the folder.

    Raises:
        Temporary: it is not there yet. Undeliverable: nothing was recorded, or it lies elsewhere. Misconfigured: the
        folder is not to be read.
    """
    return await asyncio.to_thread(_open, folder, reference)


def _open(folder: str, reference: str) -> Fetched:
    root = check_folder(folder)
    named = PurePosixPath(reference)
    if not reference or named.is_absolute() or ".." in named.parts or "\x00" in reference:
        raise Undeliverable("This is no name of a file in the folder of recordings")
    given = root / named
    names = [given] if named.suffix in _TYPES else [given, *(given.with_name(given.name + end) for end in _ENDINGS)]
    for each in names:
        try:
            path = each.resolve(strict=True)
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError) as error:
            raise Undeliverable(f"The recording cannot be read: {error}") from error
        if not path.is_relative_to(root):
            raise Undeliverable("The recording lies outside the folder of recordings")
        return _opened(path)
    raise Temporary("The recording is not in the folder of recordings yet", _NOT_YET)


def _opened(path: Path) -> Fetched:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError as error:
        raise Misconfigured(f"The hub may not read {path.name}: give its user access to the recordings") from error
    except OSError as error:
        raise Temporary(f"The recording cannot be read just now: {error.strerror}", _NOT_YET) from error
    found = os.fstat(descriptor)
    is_wav = path.suffix.lower() == ".wav"
    is_file = stat.S_ISREG(found.st_mode)
    if not is_file or found.st_size <= (_HEADER if is_wav else 0):
        os.close(descriptor)
        raise Undeliverable("Nothing was recorded" if is_file else "The recording is no file")
    kind = _TYPES.get(path.suffix.lower(), "application/octet-stream")
    chunks = _pieces(os.fdopen(descriptor, "rb"), found.st_size, is_wav=is_wav)
    return Fetched(chunks, kind, found.st_size, path.name)


async def _pieces(file: BinaryIO, size: int, *, is_wav: bool) -> AsyncIterator[bytes]:
    with file:
        piece = await asyncio.to_thread(file.read, _PIECE)
        if is_wav:
            piece = _closed(piece, size)
        while piece:
            yield piece
            piece = await asyncio.to_thread(file.read, _PIECE)


def _closed(piece: bytes, size: int) -> bytes:
    """Write the length into the header of a file that Asterisk did not close, since it was killed: it says 0 there."""
    if piece[:4] != b"RIFF" or piece[36:40] != b"data" or piece[40:44] != bytes(4):
        return piece
    return piece[:4] + struct.pack("<I", size - 8) + piece[8:40] + struct.pack("<I", size - _HEADER) + piece[44:]


def check_folder(folder: str) -> Path:
    """Return the folder of recordings.

    Raises:
        Misconfigured: it is not there, or not to be read.
    """
    try:
        root = Path(folder).resolve(strict=True)
        if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
            raise Misconfigured(f"The hub may not read the folder of recordings, {folder}")
    except (OSError, RuntimeError, ValueError) as error:
        raise Misconfigured(f"There is no folder of recordings at {folder}") from error
    return root
