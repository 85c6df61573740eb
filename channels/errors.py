"""What goes wrong with a provider, by what happens next: the only vocabulary the hub knows.

ChannelError
├── Temporary            not done; tried again, later and later
│   └── Throttled        … and the whole connection waits
├── Uncertain            may have been done; tried again only where the provider tells repeats
├── Undeliverable        this message never; its author is told
│   ├── RecipientGone    … nor any other to this person
│   └── WindowClosed     … only a template can go now
├── PeerMoved            sent again, to the new address
└── Misconfigured        the connection waits for an administrator
    └── Unauthorised     … who has to enter its credentials again
"""

from __future__ import annotations

from core.kernel.errors import HubError


class ChannelError(HubError):
    """A provider let us down. `code` is the provider's own, for the log and the message."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Temporary(ChannelError):
    """It was not done. Try again, in `retry_after` seconds if the provider said so."""

    def __init__(self, message: str, retry_after: float | None = None, *, code: str = "") -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Throttled(Temporary):
    """It was not done, since we are too fast: the whole connection waits, not only this message."""


class Uncertain(ChannelError):
    """It may have been done: the connection broke after the request was written, or the answer makes no sense."""


class Undeliverable(ChannelError):
    """This message never; tell its author. Others may go."""


class RecipientGone(Undeliverable):
    """Nothing to this person any more: they blocked us, left, or the address does not exist.

    `opted_out`: they said that they want nothing from us.
    """

    def __init__(self, message: str, *, code: str = "", opted_out: bool = False) -> None:
        super().__init__(message, code=code)
        self.opted_out = opted_out


class WindowClosed(Undeliverable):
    """The time in which we may answer freely is over: only a template can go."""


class PeerMoved(ChannelError):
    """The peer has another address now: note it and send there."""

    def __init__(self, message: str, *, new_peer: str) -> None:
        super().__init__(message)
        self.new_peer = new_peer


class Misconfigured(ChannelError):
    """Nothing works until an administrator changes something: the connection waits, and they are told."""


class Unauthorised(Misconfigured):
    """The provider does not take our credentials (any more): they have to be entered again."""
