"""Which schema this release needs and which one a database has, told without loading Alembic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine


def needed() -> str:
    """Return the newest migration's number: they are named `0001_what_it_does.py` and applied in that order."""
    versions = (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py")
    return max(path.name.partition("_")[0] for path in versions)


async def present(engine: AsyncEngine) -> str | None:
    """Return the database's revision; None for an empty database."""
    try:
        async with engine.connect() as connection:
            found: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
            return found
    except ProgrammingError:
        return None
