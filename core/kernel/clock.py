"""What time it is. The only place that asks the operating system.

Deadlines, leases and windows are all compared with this clock and never with the database's `now()`,
so a test that moves the clock moves everything, and so does an operator who runs the hub under a shifted clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time; handed to whoever needs it."""

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        ...


class SystemClock:
    """The clock on the wall."""

    def now(self) -> datetime:
        """Return the operating system's time in UTC."""
        return datetime.now(UTC)


class MovableClock:
    """A clock that stands still until it is moved. For tests and for the demo company's past."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the moment it was last moved to."""
        return self._now

    def advance(self, step: timedelta) -> None:
        """Move forward."""
        self._now += step

    def set(self, moment: datetime) -> None:
        """Move to a moment, aware, in UTC."""
        self._now = moment
