"""The command `switchyard`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 wrongly used."""
    from hub.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
