"""Alembic's entry: runs migrations on the connection that `hub.migrate` or the command line gives it."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from hub import schema

metadata = schema.load()


def run(connection: Connection) -> None:
    """Run what is to be run on this connection, in its transaction."""
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=False)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:

    async def on_own_engine() -> None:
        """Open the configured database: only `make migration` comes this way."""
        engine = create_async_engine(context.config.attributes["url"])
        async with engine.begin() as connection:
            await connection.run_sync(run)
        await engine.dispose()

    asyncio.run(on_own_engine())
