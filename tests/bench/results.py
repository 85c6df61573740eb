"""What a benchmark hands in: numbers, what they are compared with, and the lines they are printed as."""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec


class Result(msgspec.Struct, frozen=True):
    """One printed line. `ratio` is value ÷ the floor's value; None where nothing is compared."""

    name: str
    value: float
    unit: str
    ratio_to: str | None = None
    ratio: float | None = None


@dataclass(slots=True)
class Rounds:
    """Numbers of several rounds, by name; what is reported is their median."""

    samples: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, value: float) -> None:
        """Keep the number of one round and tell whoever watches."""
        self.samples[name].append(value)
        progress(f"  {name:<28}{value:>12,.3f}")

    def result(self, name: str, unit: str, floor: str = "", ratio_to: str = "") -> Result:
        """Return the median of `name`, and of its ratio to `floor` taken round by round.

        Round by round, because a neighbour on the machine slows both halves of one round alike.
        """
        values = self.samples[name]
        ratio = None
        if floor:
            pairs = zip(values, self.samples[floor], strict=True)
            ratio = round(statistics.median(ours / theirs for ours, theirs in pairs), 3)
        return Result(name, round(statistics.median(values), 3), unit, ratio_to or None, ratio)


def progress(text: str) -> None:
    """Tell the person who waits; standard output is for results alone."""
    print(text, file=sys.stderr, flush=True)


def print_results(results: Sequence[Result]) -> None:
    """Print one JSON object a line."""
    for result in results:
        print(msgspec.json.encode(result).decode(), flush=True)
