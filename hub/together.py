"""Together: what several ask for at the same time is done in one transaction, since most of its cost is the same for
one as for fifty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession

from hub.database import Database, finished

log = structlog.get_logger(__name__)

_Asked = TypeVar("_Asked")
_Done = TypeVar("_Done")

_MOST = 50  # in one transaction


class Together(Generic[_Asked, _Done]):
    """Has things done in transactions that are shared: `await together(one)` returns what became of `one`, committed.

    What comes while a transaction is under way goes into the next. Where one fails, each thing is done in a transaction
    of its own, so that nobody fails for another; unless the database is away, which each would have to find out.

    do   does several things in the transaction it is given; returns what became of each, in their order. What is an
         exception among that is raised where that one thing was asked for; all else is committed
    """

    def __init__(
        self, database: Database, do: Callable[[AsyncSession, Sequence[_Asked]], Awaitable[Sequence[_Done | Exception]]]
    ) -> None:
        self._database, self._do = database, do
        self._waiting: list[tuple[_Asked, asyncio.Future[_Done]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, asked: _Asked) -> _Done:
        """Have one thing done."""
        done: asyncio.Future[_Done] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, done))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await done

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                try:
                    await self._commit(batch)
                except Exception as error:
                    await self._one_by_one(batch, error)
        finally:
            self._working = None

    async def _one_by_one(self, batch: Sequence[tuple[_Asked, asyncio.Future[_Done]]], error: Exception) -> None:
        """Do again alone what could not be done together."""
        if len(batch) == 1 or _is_away(error):
            for _, done in batch:
                _tell(done, error)
            return
        log.warning("done_one_by_one", error=f"{type(error).__name__}: {error}"[:300])
        for one in batch:
            try:
                await self._commit([one])
            except Exception as own:
                _tell(one[1], own)

    async def _commit(self, batch: Sequence[tuple[_Asked, asyncio.Future[_Done]]]) -> None:
        async with self._database.transaction() as session:
            results = await finished(self._do(session, [asked for asked, _ in batch]))
        for (_, done), result in zip(batch, results, strict=True):
            _tell(done, result)


def _is_away(error: Exception) -> bool:
    return isinstance(error, OSError | PoolTimeout) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def _tell(done: asyncio.Future[_Done], result: _Done | Exception) -> None:
    if done.done():  # whoever asked was canceled meanwhile
        return
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)
