"""Asterisk's channels told apart: a colleague's phone, a line to the outside, or a step in between that is nobody.

A channel is called `Technology/endpoint-0000002a`; what an endpoint is stands in Asterisk's configuration only. So
those that an administrator names are lines to the outside, a short number is a phone, and the rest is judged by the
numbers it shows and is called with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from channels import voice

Note = dict[str, str]
"""What an event means for one call: `call_id`, `means` (a phase), and what is known of leg, numbers, time, file."""

_NOBODY = re.compile(
    r"(?:Local|Surrogate|CBAnn|CBRec|Announcer|Recorder|Snoop|Message|MulticastRTP|UnicastRTP|AudioSocket|WebSocket"
    r"|AsyncGoto|Bridge|Parked|Null|NBScat|Console)/",
    re.IGNORECASE,
)
_ENDS = re.compile(r"-[0-9a-f]{4,8}(;[12])?$")
_CALLED = frozenset(("Down", "Rsrvd", "Dialing", "Ringing", "OffHook"))
_OURS = re.compile(r"switchyard-([0-9a-f]{8})-(dial-[0-9]{1,18})")
_ABSENT = frozenset(("<unknown>", "<null>", "(null)"))


class Channel(msgspec.Struct, omit_defaults=True):
    """One party of a call.

    role       "phone", "outside", or "" for what is nobody
    extension  the phone's, or the number called outside
    is_called  it was rung, rather than calling by itself
    entered    its place among all who entered a bridge · rings: the hub was told that it rings
    """

    name: str
    role: str = ""
    extension: str = ""
    is_called: bool = False
    bridge: str = ""
    entered: int = 0
    rings: bool = False
    holds: bool = False


class Call(msgspec.Struct, omit_defaults=True):
    """A call under way.

    first    its first channel that is somebody's · is_told: the hub has heard of the call
    dialled  the number that `first` asked for, as long as nobody was told · talker: the channel that talked last
    """

    id: str
    channels: dict[str, Channel] = {}
    direction: str = ""
    first: str = ""
    dialled: str = ""
    is_told: bool = False
    is_answered: bool = False
    talker: str = ""
    outcome: str = ""
    detail: str = ""
    menu: str = ""
    digits: int = 0
    files: list[str] = []
    messages: list[str] = []

    @property
    def awaits_somebody(self) -> bool:
        """Whether somebody outside calls, and talks with nobody yet."""
        return self.direction == "inbound" and not self.is_answered


class Plan(NamedTuple):
    """What is known of an Asterisk's numbers: `trunks` are names of lines to the outside, longer numbers than
    `internal_digits` are customers', `mark` is in the ids of the calls that this hub asks for.
    """

    trunks: frozenset[str]
    internal_digits: int
    mark: str

    def channel(self, fields: Mapping[str, str]) -> Channel:
        """Return a channel as Newchannel or CoreShowChannels tells of it."""
        name, number = said(fields, "Channel"), said(fields, "CallerIDNum")
        is_called = said(fields, "ChannelStateDesc") in _CALLED or said(fields, "Application").startswith("App")
        role = self._role(name, number, is_called=is_called)
        return Channel(name, role, self.extension(name, number) if role == "phone" else "", is_called)

    def rename(self, channel: Channel, name: str) -> None:
        """Note that a channel has been taken over by another phone (pick-up)."""
        role = self._role(name, "", is_called=channel.is_called)
        if self._endpoint(name) != self._endpoint(channel.name) and role == "phone":
            channel.role, channel.extension = role, self.extension(name, "")
        channel.name = name

    def extension(self, name: str, number: str) -> str:
        """Return the extension of a phone: its endpoint's name, or its own number where that is no number."""
        endpoint = self._endpoint(name)
        digits = voice.number_of(number)
        is_own = digits.isdecimal() and not self.is_long(digits)
        return endpoint if endpoint.isdecimal() or not is_own else digits

    def is_long(self, number: str) -> bool:
        """Whether a number is too long for an extension."""
        return sum(letter.isdigit() for letter in number) > self.internal_digits

    def number_in(self, dial_string: str) -> str:
        """Return the number in what Dial was given: `7916…@trunk`, `PJSIP/7916…@trunk`, `trunk/7916…`; "" if none."""
        text = dial_string.partition(",")[0]
        if "@" in text:
            return text.partition("@")[0].rpartition("/")[2].rpartition(":")[2]
        before, slash, tail = text.rpartition("/")
        return tail if slash and before and self.is_long(tail) else ""

    def own_id(self, dial_id: str) -> str:
        """Return how a call that we ask for is called by Asterisk: unlike any other hub's."""
        return f"switchyard-{self.mark}-{dial_id}"

    def ours(self, call_id: str) -> str:
        """Return our id of a call that we asked for; "" for any other."""
        found = _OURS.fullmatch(call_id)
        return found[2] if found is not None and found[1] == self.mark else ""

    def note(self, call: Call, means: str, **more: str) -> Note:
        """Return the note that something happened to a call."""
        note = {"call_id": call.id[:200], "means": means}
        if ours := self.ours(call.id):
            note["our_id"] = ours
        return note | {name: value[:500] for name, value in more.items() if value}

    def _role(self, name: str, number: str, *, is_called: bool) -> str:
        if not name or _NOBODY.match(name):
            return ""
        endpoint = self._endpoint(name)
        if endpoint in self.trunks or name.partition("/")[0] in self.trunks:
            return "outside"
        if endpoint.isdecimal():
            return "outside" if self.is_long(endpoint) else "phone"
        if number.isdecimal() and not self.is_long(number):
            return "phone"
        if self.is_long(number):
            return "outside"
        # none is shown: by a phone without one, a line about to be dialled (DialBegin will tell), or one who hides it
        return "phone" if self.trunks or is_called else "outside"

    @staticmethod
    def _endpoint(name: str) -> str:
        return _ENDS.sub("", name.partition("/")[2]).partition("@")[0]


def plan(trunk: str, internal_digits: int, hook_url: str) -> Plan:
    """Return the plan that settings give; `hook_url` tells this connection from all others."""
    names = re.split(r"[\s,;]+", trunk.strip())
    return Plan(
        frozenset(re.sub(r"^[A-Za-z0-9]+/", "", name) for name in names if name),
        internal_digits,
        voice.digest(hook_url.rpartition("/")[2])[:8],
    )


def said(fields: Mapping[str, str], name: str) -> str:
    """Return what an event says; "" for nothing and for what Asterisk writes in its place."""
    value = fields.get(name, "").strip()
    return "" if value in _ABSENT else value


def calls_of(kept: Any) -> list[Call]:
    """Read calls that were written down; what cannot be read is left out."""
    found = []
    for each in kept if isinstance(kept, list) else []:
        try:
            call = msgspec.convert(each, Call)
        except (msgspec.ValidationError, RecursionError):
            continue
        if call.id and call.channels:
            found.append(call)
    return found


def duration_of(written: str) -> timedelta:
    """Read how long a channel has been there, as CoreShowChannels tells it: `00:01:30`."""
    parts = written.split(":")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 7 for part in parts):
        return timedelta()
    hours, minutes, seconds = (int(part) for part in parts)
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)
