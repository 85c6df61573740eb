"""A request from outside, word for word, as ingress hands it to a channel and as deliveries keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RawRequest:
    """What came in, before anybody made sense of it.

    headers    names in lower case; a repeated header is joined by ", " as RFC 9110 §5.3 says
    path       as sent, still percent-encoded, without the query
    query      the raw query string, still percent-encoded
    suffix     what follows the key in `/hooks/{key}/{suffix}`
    url        the public address the provider called, for signatures over the URL
    client     the sender's IP address, proxies taken into account
    """

    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    query: str = ""
    suffix: str = ""
    url: str = ""
    client: str = ""

    @property
    def content_type(self) -> str:
        """The declared media type in lower case, without parameters; "" when none was declared."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the sender is answered."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
