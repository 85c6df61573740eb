"""Writes the next migration: what the models say against what the migrations have made so far.

Usage: python tools/migration.py "what changes". The comparison runs on an embedded PostgreSQL of its own; read and
correct what comes out, since renamed columns and moved data cannot be guessed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from hub import embedded, migrate, revision


async def write(what: str, folder: Path) -> None:
    """Make the file beside the others, numbered one higher."""
    number = f"{int(revision.needed()) + 1:04}"
    async with embedded.running(folder / "state", options={"fsync": "off"}) as url:
        engine = create_async_engine(url)
        await migrate.upgrade(engine)

        def compare(connection: Connection) -> None:
            configuration = migrate.config()
            configuration.attributes["connection"] = connection
            command.revision(configuration, what, autogenerate=True, rev_id=number)

        async with engine.begin() as connection:
            await connection.run_sync(compare)
        await engine.dispose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="switchyard-migration-") as scratch:
        Path(scratch).chmod(0o711)
        asyncio.run(write(sys.argv[1], Path(scratch)))
