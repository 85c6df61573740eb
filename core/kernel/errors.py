"""Every way the core can refuse, arranged by what happens next.

    HubError
    ├── DomainError      the request cannot be done; the message may be shown to a user
    │   ├── NotFound         404
    │   ├── Conflict         409
    │   ├── Stale            412  somebody changed the record meanwhile
    │   ├── Rejected         422  a business rule said no
    │   └── Forbidden        403
    ├── ChannelError     a provider let us down             (channels/contract.py)
    └── WebhookError     an HTTP request we refuse          (webhooks/errors.py)

A new class is justified only when somebody *reacts* differently to it.
"""

from __future__ import annotations


class HubError(Exception):
    """Anything the hub knows how to react to."""


class DomainError(HubError):
    """The request cannot be done; the message is written for the person who asked."""


class NotFound(DomainError):
    """There is no such thing, or it is none of this person's business."""

    def __init__(self, noun: str, key: object = None) -> None:
        super().__init__(f"There is no such {noun}" if key is None else f"There is no {noun} {key}")
        self.noun = noun


class Conflict(DomainError):
    """It clashes with what is there already."""


class Stale(DomainError):
    """The record was changed by somebody else since it was read."""


class Forbidden(DomainError):
    """This person may see it but not do that."""


class Rejected(DomainError):
    """A business rule says no.

    `field` names what the person typed that has to change, if it was one thing.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
