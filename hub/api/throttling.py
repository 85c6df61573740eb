"""How often one token may call: a token bucket for each, in this process."""

from __future__ import annotations

from collections import OrderedDict

from core.kernel.clock import Clock


class Throttle:
    """Lets every caller do `per_minute` calls a minute on average, and `burst` at once.

    Kept in memory: several processes each allow this much. Callers not heard of for longest are forgotten first, when
    more than `remember` are known; by then their bucket is full again in all but an attack.
    """

    def __init__(self, clock: Clock, *, per_minute: float = 1200, burst: int = 200, remember: int = 10_000) -> None:
        self._clock = clock
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._remember = remember
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Count one call; return 0.0 if it may go on, else after how many seconds the next one may."""
        now = self._clock.now().timestamp()
        tokens, at = self._buckets.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - at) * self._per_second)
        # a hair less than one is one: whoever waited as long as they were told must not be refused for rounding
        wait = 0.0 if tokens > 1 - 1e-6 else (1 - tokens) / self._per_second
        self._buckets[caller] = (tokens if wait else tokens - 1, now)
        if len(self._buckets) > self._remember:
            self._buckets.popitem(last=False)
        return wait
