"""What the statuses of SMPP mean for a message (specification v3.4, §5.1.3)."""

from __future__ import annotations

from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Undeliverable,
)

ALREADY_BOUND = "0x00000005"

_WORDS = {
    0x01: "the message is too long",
    0x04: "the line is not bound for sending",
    0x05: "somebody is bound with this system id already",
    0x08: "the provider's system has an error",
    0x0A: "the sender is not allowed: change it in the settings",
    0x0B: "there is no such number",
    0x0D: "the bind failed",
    0x0E: "the password is wrong",
    0x0F: "the system id is unknown",
    0x14: "the provider's queue is full",
    0x33: "the number of recipients is not right",
    0x34: "there is no such distribution list",
    0x45: "the provider did not take the message",
    0x48: "the type of the sender's address is not allowed",
    0x49: "the plan of the sender's address is not allowed",
    0x50: "the type of the recipient's address is not right",
    0x51: "the plan of the recipient's address is not right",
    0x53: "the system type is not right: change it in the settings",
    0x58: "we send faster than the provider allows",
    0x61: "the time of sending is not right",
    0x62: "the time it is good for is not right",
    0x64: "the provider cannot take it just now",
    0x65: "the provider does not want it for good",
    0xFF: "the provider has an error it does not name",
}
_BIND = frozenset({0x0D, 0x0E, 0x0F})
_THROTTLED = frozenset({0x14, 0x58})
_TEMPORARY = frozenset({0x04, 0x05, 0x08, 0x64, 0xFF})
_RECIPIENT = frozenset({0x0B, 0x50, 0x51})
_SETTINGS = frozenset({0x0A, 0x48, 0x49, 0x53})
_PAUSE = 5.0


def words(status: int) -> str:
    """Return what a status says, for people."""
    return f"{_WORDS.get(status, 'a reason of the provider’s own')} ({code(status)})"


def code(status: int) -> str:
    """Return a status as the provider's documentation names it."""
    return f"0x{status:08X}"


def of_submit(status: int) -> ChannelError:
    """Return what the answer to a message means."""
    said = f"The message was refused: {words(status)}"
    if status in _THROTTLED:
        return Throttled(said, _PAUSE, code=code(status))
    if status in _TEMPORARY:
        return Temporary(said, code=code(status))
    if status in _BIND:
        return Unauthorised(said, code=code(status))
    if status in _SETTINGS:
        return Misconfigured(said, code=code(status))
    if status in _RECIPIENT:
        return RecipientGone(said, code=code(status))
    return Undeliverable(said, code=code(status))


def of_bind(status: int, where: str) -> ChannelError:
    """Return what the answer to a bind means: only what has to do with credentials needs somebody."""
    said = f"{where} does not let us in: {words(status)}"
    if status in _BIND:
        return Unauthorised(f"{said}. Enter the system id and the password again", code=code(status))
    return Temporary(said, code=code(status))
