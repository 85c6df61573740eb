"""The one way to the database: an engine and transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine


class Database:
    """An engine and what is opened on it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a session whose changes are committed at the end, or undone if anything is raised."""
        async with self._sessions() as session, session.begin():
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session for reading alone; nothing is committed."""
        async with self._sessions() as session:
            yield session


def plain_url(url: str) -> str:
    """Return the address as asyncpg itself wants it: no driver's name, and `sslmode` where SQLAlchemy says `ssl`."""
    return engine_url(url).replace("postgresql+asyncpg://", "postgresql://", 1).replace("?ssl=", "?sslmode=")


def engine_url(url: str) -> str:
    """Return the address as SQLAlchemy wants it, whichever way the operator wrote it."""
    for scheme in ("postgres://", "postgresql://", "postgresql+asyncpg://"):
        if url.startswith(scheme):
            return "postgresql+asyncpg://" + url.removeprefix(scheme)
    return url


@asynccontextmanager
async def open_database(url: str, *, pool_size: int = 10) -> AsyncIterator[Database]:
    """Open the database for the length of the block."""
    engine = create_async_engine(
        engine_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=False,
        connect_args={"server_settings": {"application_name": "switchyard", "jit": "off"}},
    )
    try:
        yield Database(engine)
    finally:
        await engine.dispose()
