"""How the Bot API says no: its numbers, its wording, its parameters.

Shapes: https://core.telegram.org/bots/api#making-requests and `ResponseParameters`. The documentation leaves the
wording to the server; it is given here as api.telegram.org is known to word it (tdlib/telegram-bot-api, `Client.cpp`).
"""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """An answer `{"ok": false}`."""

    def __init__(self, code: int, description: str, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters or {}

    def json(self) -> dict[str, Any]:
        """Return the body of the answer."""
        body: dict[str, Any] = {"ok": False, "error_code": self.code, "description": self.description}
        return {**body, "parameters": self.parameters} if self.parameters else body


class Misused(Exception):
    """The test itself asked for something that people in Telegram cannot do."""


def bad(words: str) -> Refused:
    """Make a 400."""
    return Refused(400, f"Bad Request: {words}")


def forbidden(words: str) -> Refused:
    """Make a 403."""
    return Refused(403, f"Forbidden: {words}")


def conflict(words: str) -> Refused:
    """Make a 409."""
    return Refused(409, f"Conflict: {words}")


def too_many(seconds: int) -> Refused:
    """Make a 429. `seconds` are whole ones."""
    return Refused(429, f"Too Many Requests: retry after {seconds}", {"retry_after": seconds})


def moved(new_id: int) -> Refused:
    """Make the answer of a group that became a supergroup."""
    return Refused(400, "Bad Request: group chat was upgraded to a supergroup chat", {"migrate_to_chat_id": new_id})


def unplayed(what: str) -> Refused:
    """Make the answer to what the real API can do and this double cannot. It is in our own words."""
    return Refused(501, f"Not Implemented: {what} exists in the Bot API, but this double does not play it")
