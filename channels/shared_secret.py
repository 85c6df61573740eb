"""The plainest proof there is: the request carries a secret that only the provider was told.

For providers that sign nothing. The secret may come as the query's `token` (or another name), as the end of the path,
as `Authorization: Bearer …`, as the password of HTTP basic authentication, or in a header of the channel's choice.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import parse_qsl, unquote

from pydantic import SecretStr

from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

NAMES = ("token", "secret", "key")


def check(
    request: RawRequest,
    expected: SecretStr,
    *,
    names: Sequence[str] = NAMES,
    header: str = "",
    optional: bool = False,
) -> None:
    """Check that a request carries the secret somewhere. `header` is a further place, in lower case.

    `optional`: without a secret in the settings any request passes; the hook's own address is the secret then.

    Raises:
        BadSignature: it does not. NotConfigured: the connection has no secret to compare with.
    """
    secret = expected.get_secret_value()
    if not secret:
        if optional:
            return
        raise NotConfigured("This channel has no secret yet, so nothing is accepted. Enter one in its settings")
    if not any(same(found, secret) for found in _carried(request, names, header)):
        raise BadSignature("The request does not carry this channel's secret. Nothing was stored")


def same(found: str, expected: str) -> bool:
    """Compare two secrets in a time that tells nothing of them."""
    return hmac.compare_digest(found.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def _carried(request: RawRequest, names: Sequence[str], header: str) -> Iterator[str]:
    with suppress(ValueError):
        yield from (value for name, value in parse_qsl(request.query, max_num_fields=200) if name in names)
    if request.suffix:
        yield unquote(request.suffix)
        yield unquote(request.suffix.rpartition("/")[2])
        yield unquote(request.suffix.partition("/")[0])
    if header and header in request.headers:
        yield request.headers[header].strip()
    authorization = request.headers.get("authorization", "")
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() in ("bearer", "token"):
        yield rest.strip()
    elif scheme.lower() == "basic":
        with suppress(binascii.Error, ValueError):
            yield base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
