"""Where the hub spends its time while it stores leads: one round of P3 under a profiler."""

from __future__ import annotations

import asyncio
import pstats
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.bench import postgres
from tests.bench.load import Plan
from tests.bench.results import progress
from tests.bench.stand import Options, prepared

SHOWN = 45


async def run(options: Options) -> bool:
    """Store leads under py-spy, or else cProfile, and print the hot spots to standard error."""
    py_spy = shutil.which("py-spy")
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as folder:
        place = Path(folder)
        place.chmod(0o711)
        kept = place / "profile"
        wrapper = () if py_spy else (sys.executable, "-m", "cProfile", "-o", str(kept))
        async with (
            postgres.running(place / "postgres") as server,
            prepared(server, place, options, wrapper) as stand,
        ):
            await stand.start_hub()
            async with sampling(py_spy, stand.hub.pid, kept):
                report = await stand.post(Plan(stand.hub.hook_url, requests=options.leads))
                seconds = await stand.hub.stored("leads", options.leads) - report.began
                await stand.quiet()
            progress(f"{options.leads} leads in {seconds:.1f} s under the profiler")
            await stand.hub.stop()
        if py_spy:
            show_samples(kept)
        else:
            show_calls(kept)
    return True


@asynccontextmanager
async def sampling(py_spy: str | None, process: int, kept: Path) -> AsyncIterator[None]:
    """Have py-spy watch a process while the block runs; without py-spy, just run it."""
    if py_spy is None:
        yield
        return
    arguments = ("record", "-p", str(process), "-r", "250", "-d", "3600", "-f", "raw", "-F", "-o", str(kept))
    watching = await asyncio.create_subprocess_exec(py_spy, *arguments, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield
    finally:
        # what it saw is written when it is interrupted
        watching.send_signal(signal.SIGINT)
        await watching.wait()


def show_calls(kept: Path) -> None:
    """Print what cProfile counted, by own time."""
    # pstats prints where it is told to
    pstats.Stats(str(kept), stream=sys.stderr).sort_stats("tottime").print_stats(SHOWN)
    pstats.Stats(str(kept), stream=sys.stderr).sort_stats("cumtime").print_stats(SHOWN)


def show_samples(kept: Path) -> None:
    """Print py-spy's samples: by function alone, and by function with everything it calls."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in kept.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    total = sum(own.values()) or 1
    for title, counts in (("own time", own), ("with what it calls", whole)):
        progress(f"\n{title}, share of {total} samples")
        for frame, samples in counts.most_common(SHOWN):
            progress(f"{100 * samples / total:6.1f} %  {frame}")
