"""Benchmarks of the hub, each against a floor that does only what cannot be avoided, side by side in the same run.

    python -m tests.bench [NAMES…] [--rounds 3] [--seconds 4] [--leads 20000] [--posts 500] [--profile]

Results go to standard output, one JSON object a line: {"name", "value", "unit", "ratio_to", "ratio"}; progress goes to
standard error. Without names everything is measured. A name selects its whole group:

    P1 P2   posts a second acknowledged at 64 clients ÷ bare server with commit per request, ÷ with group commit;
            P1_repeat the same with each request coming 20 times, which must make one of everything
    P3      leads stored end to end a second ÷ pgbench, 7 statements per lead, 8 clients (its default protocol;
            P3_prepared: ÷ the same with prepared statements)
    P4      messages of known people stored end to end a second ÷ pgbench, 4 statements per message, 8 clients
    P5      CPU of hub and PostgreSQL per lead, until all it sets off is done ÷ pgbench and its PostgreSQL
    P7      answers sent to a provider on this machine a second ÷ a bare aiohttp client
    P9      memory of the hub's processes (PSS) at rest ÷ a bare server; P9_loaded under P3, the peak
    P6      post → task in the manager's browser at 50 posts/s: p50 (P6_p99: p99) ÷ bare server with server-sent events
    P10     start on an existing database until /readyz ÷ a bare server's start

How it measures. Hub, floors and load run on one machine and one PostgreSQL server, which the bench starts itself (or
finds in SWITCHYARD_DATABASE_URL, if that server runs on this machine), each on a database of its own. Rounds are
interleaved, floor, hub, floor, hub, and what is printed is the median; the ratio is the median of the rounds' ratios. A
CHECKPOINT precedes each load. The hub is a black box: `switchyard serve` after `migrate`, `user add` and `connection
add webform`; a lead is stored when `select count(*) from leads` says so. Everything it does, it does during the
measure too: what it acknowledges it also works on. Afterwards every acknowledged request must be exactly one lead,
contact, deal and task, or the run fails. Rates depend on the machine; trust the ratios.

With --profile the hub runs under py-spy, if there is one on the PATH, else under cProfile, through one round of P3
alone; what takes the most time goes to standard error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import asyncpg
import playwright.async_api
import uvloop

from tests.bench import acknowledging, appearing, postgres, profiling, starting, storing, talking
from tests.bench.results import print_results, progress
from tests.bench.stand import Options, prepared

DEFAULTS = Options()
FAILURES = (RuntimeError, OSError, asyncpg.PostgresError, playwright.async_api.Error)
"""What ends the measuring of one group; the others go on."""

GROUPS = {
    ("P1", "P2"): acknowledging.measure,
    ("P3", "P5", "P9"): storing.measure,
    ("P4", "P7"): talking.measure,
    ("P6",): appearing.measure,
    ("P10",): starting.measure,
}


async def run(names: set[str], options: Options) -> bool:
    """Measure the groups that these names belong to; say whether all went well."""
    well = True
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as folder:
        place = Path(folder)
        # PostgreSQL may run as another user
        place.chmod(0o711)
        async with postgres.running(place / "postgres") as server, prepared(server, place, options, ()) as stand:
            for group, measure in GROUPS.items():
                if names and not names & set(group):
                    continue
                try:
                    print_results(await measure(stand))
                except FAILURES as error:
                    progress(f"{', '.join(group)}: {error}")
                    progress(stand.hub.last_words())
                    well = False
    return well


def main() -> None:
    """Run the benchmarks named on the command line."""
    known = [name for group in GROUPS for name in group]
    parser = argparse.ArgumentParser(prog="tests.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(known)}; all without")
    parser.add_argument("--rounds", type=int, default=DEFAULTS.rounds)
    parser.add_argument("--seconds", type=float, default=DEFAULTS.seconds, help="of each load")
    parser.add_argument("--leads", type=int, default=DEFAULTS.leads, help="stored in each round of P3")
    parser.add_argument("--posts", type=int, default=DEFAULTS.posts, help="in each round of P6")
    parser.add_argument("--profile", action="store_true", help="show where P3 spends its time instead of measuring")
    given = parser.parse_args()
    unknown = set(given.names) - set(known)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    options = Options(given.rounds, given.seconds, given.leads, given.posts)
    well = uvloop.run(profiling.run(options) if given.profile else run(set(given.names), options))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
