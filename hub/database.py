"""The one way to the database: an engine and transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

_FINISHES_WITHIN = 5.0  # seconds

_Done = TypeVar("_Done")


async def finished(work: Awaitable[_Done]) -> _Done:
    """Do a piece of work to its end, for a few seconds even when canceled: a transaction cut in two costs its
    connection, and what was sent within a job is not noted.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait({task}, timeout=_FINISHES_WITHIN)
        if not task.cancel() and not task.cancelled():
            task.exception()  # looked at, so that nobody complains of it; whoever stops has no use for it
        raise


class Database:
    """An engine and what is opened on it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a session whose changes are committed at the end, or undone if anything is raised."""
        session = self._sessions()
        try:
            yield session
            await finished(session.commit())
        finally:
            await finished(session.close())

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session for reading alone; nothing is committed."""
        session = self._sessions()
        try:
            yield session
        finally:
            await finished(session.close())


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
