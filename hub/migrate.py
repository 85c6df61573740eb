"""Bringing a database up to the schema this release needs."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

_FOLDER = Path(__file__).parent / "migrations"


def config() -> Config:
    """Return Alembic's configuration; there is no ini file."""
    configuration = Config()
    configuration.set_main_option("script_location", str(_FOLDER))
    configuration.set_main_option("path_separator", "os")
    return configuration


async def upgrade(engine: AsyncEngine, target: str = "head") -> None:
    """Run the missing migrations, in one transaction, one process at a time."""

    def run(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(5357, 1)"))
        configuration = config()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, target)

    async with engine.begin() as connection:
        await connection.run_sync(run)


async def downgrade(engine: AsyncEngine, target: str) -> None:
    """Take migrations back as far as `target`; `base` empties the database."""

    def run(connection: Connection) -> None:
        configuration = config()
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, target)

    async with engine.begin() as connection:
        await connection.run_sync(run)
