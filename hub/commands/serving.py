"""`switchyard serve` and `switchyard migrate`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from sqlalchemy import Connection, event

from hub import logs, revision
from hub import serve as serving
from hub.commands.failures import cannot_listen
from hub.commands.workplace import say
from hub.database import open_database
from hub.settings import Settings, misspelt


async def serve(settings: Settings, options: argparse.Namespace) -> int:
    """Run the hub until it is told to stop."""
    logs.configure(settings.log_format)
    for sentence in misspelt(os.environ):
        say(sentence)
    try:
        await serving.serve(
            settings,
            host=options.host,
            port=options.port,
            roles=options.role or serving.ROLES,
            processes=max(options.processes, 2) if options.shared_port else options.processes,
            spawns=not options.shared_port,
            say=lambda message: print(message, flush=True),
        )
    except OSError as error:
        if (refusal := cannot_listen(error, options.host, options.port)) is not None:
            raise refusal from error
        raise
    return 0


async def migrate(settings: Settings, options: argparse.Namespace) -> int:
    """Bring the database up to date, or show how that would be done."""
    async with serving.database_for(settings, say) as url:
        if options.dry_run:
            await _show_sql(url)
        else:
            await serving.migrated(url, say)
            say("The database is up to date")
    return 0


async def _show_sql(url: str) -> None:
    """Print what the missing migrations do: they are run, and undone."""
    async with open_database(url, pool_size=2) as database:
        if await revision.present(database.engine) == revision.needed():
            say("The database is up to date")
            return
        async with database.engine.connect() as connection:
            transaction = await connection.begin()  # else Alembic would begin one, and commit it
            await connection.run_sync(_tried)
            await transaction.rollback()
    say("That is what would be done. Nothing was changed")


def _tried(connection: Connection) -> None:
    from alembic import command

    from hub import migrate as migrations
    from hub import schema

    def write(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.lstrip().upper().startswith("SELECT"):
            print(f"{statement.strip()};")
            if parameters:
                print(f"-- with {parameters}")

    schema.load()
    event.listen(connection, "before_cursor_execute", write)
    configuration = migrations.config()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")
