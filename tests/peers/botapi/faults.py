"""What goes wrong on purpose: refusals, cut connections, limits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.peers.botapi.chats import Chat, Json
from tests.peers.botapi.errors import Refused, too_many
from tests.peers.botapi.world import Bot

_COUNTED = ("send", "copy", "forward", "edit", "createforumtopic")


@dataclass
class Limit:
    """So many calls within so many seconds, over a sliding window."""

    count: int
    per: float
    calls: deque[float] = field(default_factory=deque)

    def wait(self, now: float) -> float:
        """Return how many seconds to wait before one more; 0 for none."""
        while self.calls and self.calls[0] <= now - self.per:
            self.calls.popleft()
        return 0.0 if len(self.calls) < self.count else (self.calls[0] + self.per - now if self.calls else self.per)


@dataclass
class Drop:
    """A connection that will be cut."""

    method: str
    after_processing: bool


class Faults:
    """Decides before each call whether it comes to pass."""

    def __init__(self, now: Callable[[], float], *, has_flood_limits: bool) -> None:
        self._now = now
        self._has_flood_limits = has_flood_limits
        self._refusals: list[tuple[str, Refused]] = []
        self._drops: list[Drop] = []
        self._limits: dict[tuple[int, int], Limit] = {}  # of a bot (0: any) in a chat (0: any)
        self._flood: dict[tuple[int, int], Limit] = {}

    def rate_limit(self, bot: Bot | None, chat: Chat | None, count: int, per: float) -> None:
        """Allow a bot, a chat, or a bot in a chat only so many messages within `per` seconds; none if `count` is 0."""
        self._limits[bot.id if bot else 0, chat.id if chat else 0] = Limit(count, per)

    def lift_limits(self) -> None:
        """Take all limits away that `rate_limit` set."""
        self._limits.clear()

    def fail_next(self, method: str, code: int, description: str, parameters: Json | None = None) -> None:
        """Refuse the next call of a method, `*` for any."""
        self._refusals.append((method.lower(), Refused(code, description, parameters)))

    def drop_next(self, method: str, after_processing: bool) -> None:
        """Cut the connection of the next call of a method instead of an answer; with or without doing what it asks."""
        self._drops.append(Drop(method.lower(), after_processing))

    def drop(self, method: str) -> Drop | None:
        """Return how this call is to be cut."""
        found = next((one for one in self._drops if one.method in (method, "*")), None)
        if found:
            self._drops.remove(found)
        return found

    def check(self, method: str, bot: Bot, chat: Chat | None) -> None:
        """Let a call through.

        Raises:
            Refused: as was told, or 429 with the whole seconds to wait.
        """
        for one in self._refusals:
            if one[0] in (method, "*"):
                self._refusals.remove(one)
                raise one[1]
        if not method.startswith(_COUNTED) or method == "sendchataction":
            return
        limits = self._of(bot, chat)
        now = self._now()
        if wait := max((limit.wait(now) for limit in limits), default=0.0):
            raise too_many(max(1, math.ceil(wait)))
        for limit in limits:
            limit.calls.append(now)

    def _of(self, bot: Bot, chat: Chat | None) -> list[Limit]:
        where = chat.id if chat else 0
        keys: set[tuple[int, int]] = {(bot.id, 0), (0, where), (bot.id, where)}
        found = [self._limits[key] for key in keys if key in self._limits]
        if self._has_flood_limits:  # https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
            found.append(self._flood.setdefault((bot.id, 0), Limit(30, 1.0)))
            if chat:
                usual = Limit(1, 1.0) if chat.is_private else Limit(20, 60.0)
                found.append(self._flood.setdefault((bot.id, chat.id), usual))
        return found
