"""`switchyard backup` and `switchyard restore`: the whole database in one file, by PostgreSQL's own programs."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from sqlalchemy.exc import ProgrammingError

from core.kernel.errors import Conflict, HubError, Rejected
from core.staff import audit, users
from hub import revision
from hub.commands.workplace import CLIENT, CLOCK, opened_url, require_no_hub, say, workplace
from hub.database import open_database
from hub.programs import find_programs
from hub.serve import database_for
from hub.settings import KEY_FILE, Settings, libpq_url

_MAGIC = b"PGDMP"  # how pg_dump's custom format begins


_EMPTY = """
DO $$ DECLARE found record; BEGIN
FOR found IN SELECT c.relname, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
ORDER BY c.relkind = 'S'
LOOP EXECUTE format('DROP %s IF EXISTS public.%I CASCADE', found.kind, found.relname); END LOOP;
END $$
"""
"""Takes away what is in the way, in the transaction that puts the backup there."""


class NotBackedUp(HubError):
    """PostgreSQL's program failed; its words are in the message."""


async def backup(settings: Settings, options: argparse.Namespace) -> int:
    """Write the database to a file of which nobody ever sees half."""
    target = _path(options.file)
    if target.exists() and not options.force:
        raise Conflict(f"{target} is there already. Nothing was written; --force replaces it")
    if not target.parent.is_dir():
        raise Rejected(f"There is no folder {target.parent}")
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    async with opened_url(settings) as url:
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            quiet = ("--no-owner", "--no-acl", "--no-comments")
            where = (f"--dbname={_without_password(url)}", f"--file={draft}")
            await _run("pg_dump", settings, url, "--format=custom", *quiet, *where)
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        async with open_database(url, pool_size=2) as database, database.transaction() as session:
            audit.note(session, "database.backed_up", at=CLOCK.now(), client=CLIENT, details={"file": str(target)})
    print(f"{target} holds the whole database ({target.stat().st_size / 1024:.0f} KiB)")
    say(f"Keep the secret key apart from it, and keep it: {_key(settings)} opens the channels' secrets inside")
    return 0


async def restore(settings: Settings, options: argparse.Namespace) -> int:
    """Put a backup into a database, all of it or nothing."""
    source = _path(options.file)
    with source.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise Rejected(f"{source} is no backup made by `switchyard backup`. Nothing was changed")
    async with database_for(settings, say) as url:
        if not options.force and (holds := await _content(url)):
            raise Conflict(f"The database {holds}. Nothing was changed; --force replaces all of it by the backup")
        async with open_database(url, pool_size=2) as database, database.reading() as session:
            await require_no_hub(session)
        with tempfile.TemporaryDirectory(prefix="switchyard-restore-") as folder:
            script = Path(folder) / "restore.sql"
            await _run("pg_restore", settings, url, "--no-owner", "--no-acl", f"--file={script}", str(source))
            await asyncio.to_thread(_for_any_server, script)
            await _run(
                "psql",
                settings,
                url,
                "--no-psqlrc",
                "--quiet",
                "--single-transaction",
                "--set=ON_ERROR_STOP=1",
                f"--dbname={_without_password(url)}",
                f"--command={_EMPTY}",
                f"--file={script}",
            )
    async with workplace(settings) as database, database.transaction() as session:
        count = await users.count(session)
        audit.note(session, "database.restored", at=CLOCK.now(), client=CLIENT, details={"file": str(source)})
    print(f"The database is as it was when {source.name} was written ({count} users)")
    say(f"Its secrets need the key of that time: {_key(settings)}. `switchyard doctor` tells whether it fits")
    return 0


def _for_any_server(script: Path) -> None:
    """Leave out the settings that older servers refuse: a backup made by version 18 goes into version 15 as well."""
    draft = script.with_suffix(".draft")
    with script.open("rb") as read, draft.open("wb") as written:
        written.writelines(line for line in read if line != b"SET transaction_timeout = 0;\n")
    draft.replace(script)


def _path(name: str) -> Path:
    return Path(name).expanduser().absolute()


def _key(settings: Settings) -> str:
    if settings.configured_secret_key is not None:
        return "SWITCHYARD_SECRET_KEY"
    return str(settings.state_dir / KEY_FILE)


async def _content(url: str) -> str:
    """Say what a database holds; "" for an empty one or one nobody works in."""
    async with open_database(url, pool_size=2) as database:
        if await revision.present(database.engine) is None:
            return ""
        try:
            async with database.reading() as session:
                count = await users.count(session)
        except ProgrammingError:
            return "holds the tables of another release"
    return f"is in use: it has {count} users" if count else ""


def _without_password(url: str) -> str:
    parts = urlsplit(libpq_url(url))
    return urlunsplit(parts._replace(netloc=_host(parts.netloc)))


def _host(netloc: str) -> str:
    credentials, at, host = netloc.rpartition("@")
    return f"{credentials.partition(':')[0]}{at}{host}"


async def _run(program: str, settings: Settings, url: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs; the password goes by the environment, where `ps` does not show it.

    Raises:
        NotBackedUp: it failed. ServerNotStarted: it is not here.
    """
    path = (await asyncio.to_thread(find_programs, settings.pg_bindir)).bindir / program
    password = unquote(urlsplit(url).password or "")
    environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=error"}
    if password:
        environment["PGPASSWORD"] = password
    process = await asyncio.create_subprocess_exec(
        path, *arguments, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise NotBackedUp(f"{program} failed: " + ("\n".join(lines[-8:]) or f"it ended with {process.returncode}"))
