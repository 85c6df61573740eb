"""`switchyard serve` and `switchyard migrate`."""

from __future__ import annotations

import argparse

from core.kernel.errors import HubError
from hub import logs
from hub import serve as serving
from hub.commands.workplace import say
from hub.database import open_database
from hub.settings import Settings


class PortTaken(HubError):
    """Something else listens there."""


async def serve(settings: Settings, options: argparse.Namespace) -> int:
    """Run the hub until it is told to stop."""
    logs.configure(settings.log_format)
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
        if error.errno == 98:
            raise PortTaken(
                f"Port {options.port} is taken by another program. Choose one with --port (make run PORT=8081)"
            ) from error
        raise
    return 0


async def migrate(settings: Settings, options: argparse.Namespace) -> int:
    """Bring the database up to date, or show how that would be done."""
    async with serving.database_for(settings, say) as url:
        if options.dry_run:
            from alembic import command

            from hub import migrate as migrations
            from hub import revision

            async with open_database(url, pool_size=2) as database:
                present = await revision.present(database.engine) or "base"
            if present == revision.needed():
                say("The database is up to date")
            else:
                command.upgrade(migrations.config(), f"{present}:head", sql=True)
        else:
            await serving.migrated(url, say)
            say("The database is up to date")
    return 0
