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

from collections.abc import Callable


def _(message: str) -> str:
    """Mark a message for the translators' files."""
    return message


_GONE = _("It is not there any more, or it is not for you")


class HubError(Exception):
    """Anything the hub knows how to react to."""


class DomainError(HubError):
    """The request cannot be done; the message is written for the person who asked.

    It names its `values` as `%(name)s`, so that it can be put into their language before those are filled in.
    """

    def __init__(self, message: str = "", **values: object) -> None:
        super().__init__(message % values if values else message)
        self.message = message
        self.values = values

    def said(self, translate: Callable[[str], str]) -> str:
        """Return the message in a language, given what looks a message up in its catalogue."""
        said = translate(self.message) if self.message else ""
        return said % self.values if self.values else said


class NotFound(DomainError):
    """There is no such thing, or it is none of this person's business."""

    def __init__(self, noun: str, key: object = None) -> None:
        if key is None:
            super().__init__("There is no such %(noun)s", noun=noun)
        else:
            super().__init__("There is no %(noun)s %(key)s", noun=noun, key=key)
        self.noun = noun

    def said(self, translate: Callable[[str], str]) -> str:
        """Return the message in a language. What is missing is named in English only: elsewhere nouns have cases."""
        said = translate(_GONE)
        return str(self) if said == _GONE else said


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

    def __init__(self, message: str, *, field: str | None = None, **values: object) -> None:
        super().__init__(message, **values)
        self.field = field

    def about(self, field: str | None) -> Rejected:
        """Return the same refusal of what the person knows by another name."""
        return Rejected(self.message, field=field, **self.values)
