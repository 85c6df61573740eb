"""JSON Web Tokens (RFC 7519) signed with a shared secret (HMAC), as some providers send them with their requests.

Only HS256, HS384 and HS512 are taken, and only those the caller allows: `none` and public-key algorithms in the
header of a token never decide how it is checked (RFC 8725 §3.1).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection

import msgspec

from channels.fields import Fields
from webhooks.errors import BadSignature

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
_LONGEST = 16_384


def read(token: str, secret: str, *, algorithms: Collection[str] = tuple(_HASHES)) -> Fields:
    """Check a token's signature and return its claims; times and contents are the caller's to check.

    Raises:
        BadSignature: it is no token, of an algorithm that is not taken, or signed with another secret.
    """
    signed, _, signature = token.strip().rpartition(".")
    header, _, payload = signed.partition(".")
    if len(token) > _LONGEST or not header or not payload or "." in payload:
        raise BadSignature("The request's token cannot be read. Nothing was stored")
    algorithm = Fields(_decoded(header)).text("alg")
    if algorithm not in _HASHES or algorithm not in algorithms:
        raise BadSignature(f"The request's token is of an algorithm that is not taken: {algorithm[:20]!r}")
    expected = hmac.new(secret.encode(), signed.encode("ascii", "replace"), _HASHES[algorithm]).digest()
    if not hmac.compare_digest(_bytes(signature), expected):
        raise BadSignature("The request's token was not signed with this connection's secret. Nothing was stored")
    claims = _decoded(payload)
    if not isinstance(claims, dict):
        raise BadSignature("The request's token says nothing")
    return Fields(claims)


def _decoded(part: str) -> object:
    try:
        found: object = msgspec.json.decode(_bytes(part))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found


def _bytes(part: str) -> bytes:
    try:
        return base64.b64decode(part.encode("ascii") + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        return b""
