"""How Vonage proves that a request is its own.

Its SMS API adds `sig` to the parameters (developer.vonage.com, "Signing messages"): MD5 of `&name=value…`, sorted,
with `&` and `=` in values made `_`, and the secret behind; or an HMAC of the same. Its newer APIs send a Bearer token,
signed with the same secret, whose claim `payload_hash` is the SHA-256 of the body.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from channels import shared_secret, signed_tokens, sms
from channels.fields import Fields
from webhooks.errors import BadSignature
from webhooks.request import RawRequest

Method = Literal["md5hash", "md5", "sha1", "sha256", "sha512"]

_OLDEST_SIGNATURE = timedelta(hours=25)  # a repeat may carry the timestamp of the first attempt, a day ago
_OLDEST_TOKEN = timedelta(minutes=5)
_AHEAD = timedelta(minutes=5)


def check(request: RawRequest, secret: str, method: Method, now: datetime) -> None:
    """Check the token of a request, or else its `sig`.

    Raises:
        BadSignature: it is missing, old or another's. Malformed: the request cannot be read.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.count(".") == 2:
        _check_token(request, token, secret, now)
        return
    given = dict(sms.parameters(request))
    signature = given.pop("sig", "").strip().lower()
    if not signature:
        raise BadSignature("The request is not signed. Turn on signed webhooks in Vonage's dashboard")
    if not shared_secret.same(signature, _signature(given, secret, method)):
        raise BadSignature(
            "The signature is not that of this account. Check the signature secret and the signature method, which "
            "must be the one of the dashboard. Nothing was stored"
        )
    _check_age(Fields(given.get("timestamp")).moment(), now, _OLDEST_SIGNATURE)


def _signature(given: Mapping[str, str], secret: str, method: Method) -> str:
    written = "".join(
        f"&{name}={value.replace('&', '_').replace('=', '_')}" for name, value in sorted(given.items())
    ).encode("utf-8", "replace")
    if method == "md5hash":
        return hashlib.md5(written + secret.encode()).hexdigest()  # noqa: S324 (the provider's choice)
    return hmac.new(secret.encode(), written, method).hexdigest()


def _check_token(request: RawRequest, token: str, secret: str, now: datetime) -> None:
    claims = signed_tokens.read(token, secret, algorithms=("HS256",))
    expected = claims.text("payload_hash").lower()
    if (request.body or expected) and not shared_secret.same(expected, hashlib.sha256(request.body).hexdigest()):
        raise BadSignature("The request's token is not for this body. Nothing was stored")
    _check_age(claims.moment("iat"), now, _OLDEST_TOKEN)


def _check_age(made: datetime | None, now: datetime, oldest: timedelta) -> None:
    if made is None or not -_AHEAD <= now - made <= oldest:
        raise BadSignature("The request was signed too long ago, or our clock is wrong. Nothing was stored")
