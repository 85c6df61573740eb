"""Runs a command with a fresh PostgreSQL at hand, made of the programs in a given folder.

Usage: python tools/with_postgres.py BINDIR COMMAND… . The command finds it by SWITCHYARD_TEST_DATABASE_URL, whose user
may create databases and is no superuser, as in a well-kept installation.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hub import embedded


def main() -> int:
    """Return the command's exit code."""
    bindir, *command = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="switchyard-postgres-") as folder:
        Path(folder).chmod(0o711)
        with embedded.running_in_background(Path(folder) / "state", bindir=Path(bindir), say=print) as url:
            return subprocess.run(command, env={**os.environ, "SWITCHYARD_TEST_DATABASE_URL": url}).returncode


if __name__ == "__main__":
    sys.exit(main())
