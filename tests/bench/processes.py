"""What processes cost, read from Linux's /proc: CPU of a tree of processes, memory of one, and a peak over time.

See proc_pid_stat(5) and proc_pid_smaps_rollup(5).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
SAMPLE_EVERY = 0.25
MEBIBYTE = 1024.0


def stat(process: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; the state is the first of them.

    Raises:
        FileNotFoundError: there is no such process.
    """
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def parent(process: int) -> int:
    """Return the parent's id."""
    return int(stat(process)[1])


def tree(process: int) -> Iterator[int]:
    """Yield a process and everything below it."""
    yield process
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def cpu_seconds(process: int) -> float:
    """Return user and system time of a tree of processes so far, children that have ended included."""
    ticks = 0
    for member in tree(process):
        with suppress(FileNotFoundError, ProcessLookupError):
            ticks += sum(map(int, stat(member)[11:15]))
    return ticks / TICK


@dataclass(slots=True)
class Memory:
    """Memory of a tree of processes in MB: resident, and proportional (shared pages divided among their users)."""

    resident: float = 0.0
    proportional: float = 0.0


def memory(process: int) -> Memory:
    """Return the memory that a tree of processes holds now."""
    total = Memory()
    for member in tree(process):
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                name, _, size = line.partition(":")
                if name == "Rss":
                    total.resident += int(size.split()[0]) / MEBIBYTE
                elif name == "Pss":
                    total.proportional += int(size.split()[0]) / MEBIBYTE
    return total


@asynccontextmanager
async def peak_memory(process: int) -> AsyncIterator[Memory]:
    """Keep the greatest memory seen while the block runs, sampled four times a second."""
    peak = Memory()

    def sample() -> None:
        now = memory(process)
        peak.resident = max(peak.resident, now.resident)
        peak.proportional = max(peak.proportional, now.proportional)

    async def watch() -> None:
        while True:
            sample()
            await asyncio.sleep(SAMPLE_EVERY)

    watching = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        watching.cancel()
        sample()


async def stop(process: asyncio.subprocess.Process, patience: float = 20) -> None:
    """End a process politely; after `patience` seconds, not."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        process.kill()
        await process.wait()
