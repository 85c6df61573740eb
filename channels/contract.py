"""The whole contract between the hub and a channel, on one page.

A channel is made from its settings and knows nothing of the database. The inbound half is pure: `verify`, `parse`,
`route` and `acknowledge` take bytes and give values. What a channel cannot do it simply does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from core.kernel.envelopes import Event
from core.kernel.errors import HubError
from webhooks.request import RawRequest, Reply


class ChannelSettings(BaseModel):
    """What an administrator fills in for any connection; each kind adds its own.

    Fields typed `SecretStr` are sealed at rest and never shown again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Routed(NamedTuple):
    """What must be known about a request before it is stored.

    dedupe_key     the same for a repeat of the same request within the connection
    repeat_within  for how long an equal key means a repeat; None: for ever
    peer           who sent it, where that can be told; requests of one peer keep their order
    """

    dedupe_key: str
    repeat_within: timedelta | None = None
    peer: str = ""


class ParseContext(NamedTuple):
    """What a channel may know about the connection while it reads a delivery."""

    default_country: str  # ISO 3166 code, for phones written without a country
    time_zone: str
    received_at: datetime


class Channel(Protocol):
    """What every kind has."""

    kind: ClassVar[str]
    title: ClassVar[str]
    Settings: ClassVar[type[ChannelSettings]]


@runtime_checkable
class Receiver(Protocol):
    """A channel whose provider calls us."""

    kind: ClassVar[str]

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check that the request is genuine and allowed.

        Raises:
            BadSignature, NotConfigured, Refused, Malformed, TooLarge: it is not; nothing is stored.
        """
        ...

    def route(self, request: RawRequest) -> Routed:
        """Tell what the request is a repeat of and whose it is, as cheaply as can be."""
        ...

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the request; an empty list means there is nothing to do.

        Raises:
            Malformed: it cannot be read. Unsupported: it is of no use to us.
        """
        ...

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say what the provider wants to hear once the request is durable."""
        ...


class ChannelError(HubError):
    """A provider let us down."""


class Temporary(ChannelError):
    """Try again later, in `retry_after` seconds if the provider said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Undeliverable(ChannelError):
    """This message never; tell the author."""


class Misconfigured(ChannelError):
    """Pause the connection and tell an administrator."""
