"""Requests from outside that are refused, by what the sender is told."""

from __future__ import annotations

from core.kernel.errors import HubError


class WebhookError(HubError):
    """An HTTP request we refuse. The message is written for whoever set up the sender."""


class BadSignature(WebhookError):
    """Not who it says it is: 401, nothing stored."""


class NotConfigured(WebhookError):
    """The connection lacks the secret it needs to check requests: 401, nothing stored, never accepted."""


class Malformed(WebhookError):
    """Unreadable. At the door: 400, nothing stored. Later: noted on the delivery, for somebody to look at."""


class TooLarge(WebhookError):
    """More than we take: 413, nothing stored."""


class Refused(WebhookError):
    """Well-formed, but against the connection's rules (a foreign origin, say): 403, nothing stored."""


class Unsupported(WebhookError):
    """Genuine, but of no use to us: noted on the delivery as ignored."""
