"""How Twilio proves that a request is its own, for messages and calls alike.

`X-Twilio-Signature` is base64 of an HMAC over the URL and the sorted parameters of the body: SHA-1 with the account's
auth token, or SHA-256 with the shared key where `X-Twilio-Webhooks-Signature-Settings` says so. Of a JSON body the URL
holds the hash, `bodySHA256`. As twilio.com/docs/usage/webhooks/webhooks-security tells it, and Twilio's own libraries
do it: with and without the port, a repeated name's values sorted and once each. Others sign them as they come.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from channels import sms
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest


def check(request: RawRequest, auth_token: SecretStr, shared_key: SecretStr) -> None:
    """Check a request's signature.

    Raises:
        BadSignature: it is missing or another's. NotConfigured: the secret it was made with is not entered.
        Malformed: the body cannot be read.
    """
    signature = request.headers.get("x-twilio-signature", "")
    if not signature:
        raise BadSignature("The request carries no X-Twilio-Signature. Nothing was stored")
    is_shared = "hmac_sha256" in request.headers.get("x-twilio-webhooks-signature-settings", "").lower()
    secret = (shared_key if is_shared else auth_token).get_secret_value()
    if not secret:
        what = "shared key" if is_shared else "auth token"
        raise NotConfigured(f"This channel has no {what} to check Twilio's signatures with. Enter it in its settings")
    make = hashlib.sha256 if is_shared else hashlib.sha1
    pairs: list[tuple[str, str]] = []
    if body_hash := _query_value(request.query, "bodySHA256"):
        found = hashlib.sha256(request.body).hexdigest().encode()
        if not hmac.compare_digest(found, body_hash.lower().encode("utf-8", "replace")):
            raise BadSignature("The body is not the one that Twilio signed. Nothing was stored")
    else:
        pairs = sms.body_parameters(request)
    for url in _spellings(request.url):
        for written in _orders(pairs):
            found = hmac.new(secret.encode(), (url + written).encode("utf-8", "replace"), make).digest()
            if hmac.compare_digest(base64.b64encode(found), signature.strip().encode("utf-8", "replace")):
                return
    raise BadSignature(
        "The signature is not that of this account. Check the auth token, and that Twilio calls the very address "
        "shown in the connection's settings. Nothing was stored"
    )


def _query_value(query: str, name: str) -> str:
    return next((pair.partition("=")[2] for pair in query.split("&") if pair.partition("=")[0] == name), "")


def _spellings(url: str) -> Iterator[str]:
    """Yield an address as it is, without its port, and with the usual one: Twilio signs one or the other."""
    yield url
    try:
        parts = urlsplit(url)
        if parts.port is not None:
            yield urlunsplit(parts._replace(netloc=parts.netloc.rpartition(":")[0]))
        elif parts.hostname:
            port = 80 if parts.scheme == "http" else 443
            yield urlunsplit(parts._replace(netloc=f"{parts.netloc}:{port}"))
    except ValueError:
        return


def _orders(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the parameters as they are signed: a repeated name's values sorted and once each, or as they came."""
    yield "".join(name + value for name, value in sorted(set(pairs)))
    if len({name for name, _ in pairs}) < len(pairs):
        yield "".join(name + value for name, value in sorted(pairs, key=lambda pair: pair[0]))
