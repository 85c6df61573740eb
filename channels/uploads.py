"""A file as a part of a form (RFC 7578), streamed: for providers that want the bytes themselves.

The length of the whole request is known beforehand, since most upload servers refuse a body without one, and the name
goes as browsers write it, in UTF-8: percent-escaped it would be shown to the customer so.
"""

from __future__ import annotations

import aiohttp
from aiohttp.payload import AsyncIterablePayload

from channels.contract import OutgoingFile


class _Streamed(AsyncIterablePayload):
    """The bytes of a file whose size is known."""

    def __init__(self, file: OutgoingFile, content_type: str) -> None:
        super().__init__(file.read(), content_type=content_type, headers={"Content-Type": content_type})
        self._size = file.size


def form_with(file: OutgoingFile, field: str) -> aiohttp.FormData:
    """Return a form that holds a file under the name of a field."""
    content_type = file.content_type if file.content_type.isascii() and "/" in file.content_type else ""
    name = "".join(character for character in file.name if character.isprintable() and character not in '"\\')
    form = aiohttp.FormData(quote_fields=False)
    form.add_field(field, _Streamed(file, content_type or "application/octet-stream"), filename=name or "file")
    return form
