"""What crosses the border between channels and the core: plain values, no database, no provider.

A channel turns a raw request into a list of these events; `core.intake` turns the events into work for somebody.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from core.kernel.addresses import Address


class Trust(StrEnum):
    """How sure we are that an address belongs to the person, weakest first."""

    GUESSED = "guessed"
    TYPED = "typed"  # typed by a visitor
    VERIFIED = "verified"  # verified by us
    ATTESTED = "attested"  # attested by the provider

    @property
    def rank(self) -> int:
        """Position from weakest (0) to strongest."""
        return _RANKS[self]


_RANKS = {trust: rank for rank, trust in enumerate(Trust)}


class Claim(msgspec.Struct, frozen=True):
    """An address somebody is said to have.

    `raw` is what was typed or sent; the canonical `address` is made of it by `core.kernel.addresses`.
    """

    address: Address
    raw: str
    trust: Trust


class Attachment(msgspec.Struct, frozen=True):
    """A file that came with a message and still lies inside the delivery, as its part number `part`."""

    name: str
    content_type: str
    size: int
    part: int


class Attribution(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a request came from, as the visitor's browser told it."""

    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_content: str | None = None
    utm_term: str | None = None
    gclid: str | None = None
    yclid: str | None = None
    fbclid: str | None = None
    ga: str | None = None
    referrer: str | None = None
    landing_page: str | None = None


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody got in touch: a message, or a form filled in.

    external_id   the provider's id of it; unique within the connection, so a repeat is recognised
    claims        the addresses by which the sender is known; empty for somebody who left none
    thread        distinguishes conversations of the same person on the same connection; "" is the usual one
    fields        what a form said beyond the known fields, in its order: name → value
    consent       the words the person agreed to, or what the box sent; None where nothing was asked
    """

    external_id: str
    claims: tuple[Claim, ...] = ()
    name: str = ""
    company: str = ""
    text: str = ""
    subject: str = ""
    thread: str = ""
    language: str = ""
    occurred_at: datetime | None = None
    fields: dict[str, Any] = {}
    attachments: tuple[Attachment, ...] = ()
    attribution: Attribution = Attribution()
    consent: str | None = None
    is_form: bool = False


Event = Incoming
"""Everything a channel may report. Later channels add statuses and calls."""
