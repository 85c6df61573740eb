"""The fields of a posted form byte for byte, for signatures that are made over them.

`channels.voice.form_of` gives what can be kept; a signature wants what was sent.
"""

from __future__ import annotations

from webhooks import multiparts, urlencoded
from webhooks.errors import Malformed
from webhooks.request import RawRequest


def exact(request: RawRequest) -> dict[str, bytes]:
    """Read a form, urlencoded or multipart whatever its header says: the first value of each name, as it was sent.

    Raises:
        Malformed: it is none.
    """
    body = request.body
    found: dict[str, bytes] = {}
    if body.lstrip()[:2] == b"--":
        boundary = multiparts.boundary_in(body, "")
        if not boundary:
            raise Malformed("The multipart body has no boundary")
        for part in multiparts.parts_of(body, boundary, urlencoded.MOST_FIELDS):
            found.setdefault(part.name.decode("utf-8", "surrogateescape"), part.content)
        return found
    for name, value in urlencoded.pairs(body.decode("utf-8", "surrogateescape"), errors="surrogateescape"):
        found.setdefault(name, value.encode("utf-8", "surrogateescape"))
    return found
