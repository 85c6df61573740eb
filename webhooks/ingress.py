"""Ingress: nothing is acknowledged before it is durable, and all that waits becomes durable together.

Requests that arrive while one write is under way are written by the next one, as a single multi-row INSERT: group
commit without a timer. With one client that is a commit per request, with sixty-four about thirty requests per commit.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import msgspec

from core.kernel.clock import Clock
from core.kernel.errors import HubError
from core.kernel.jobs import WAKE
from webhooks.errors import Malformed
from webhooks.request import RawRequest

_NOT_KEPT = frozenset({"authorization", "cookie", "proxy-authorization"})
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_ROWS_AT_ONCE = 500
_BYTES_AT_ONCE = 16 * 1024 * 1024


class Overloaded(HubError):
    """More waits than we hold, or the database is away: 503, nothing stored. Try again in `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Accepted(NamedTuple):
    """A request that is durable. A repeat has the reference of the request it repeats."""

    reference: str
    is_repeat: bool


class Rows(Protocol):
    """The part of an asyncpg connection that ingress uses: one statement is one transaction."""

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """Run a statement and return its rows."""
        ...


Connect = Callable[[], AbstractAsyncContextManager[Rows]]
"""Lends a database connection for one write."""


class _Draft(NamedTuple):
    connection_id: int
    dedupe_key: str
    repeat_until: datetime | None
    reference: str
    lane: str
    received_at: datetime
    request: str
    body: bytes
    done: asyncio.Future[Accepted]


_INSERT = f"""
WITH stored AS (
    INSERT INTO deliveries
        (connection_id, dedupe_key, repeat_until, reference, lane, received_at, due_at, request, body)
    SELECT c, k, u, r, l, a, a, q::jsonb, b
    FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::timestamptz[],
                $7::text[], $8::bytea[]) AS _(c, k, u, r, l, a, q, b)
    ON CONFLICT (connection_id, dedupe_key) DO NOTHING
    RETURNING reference
)
SELECT reference, (SELECT pg_notify('{WAKE}', 'deliveries')) FROM stored
"""  # noqa: S608 - the channel's name is our own

_RELEASE = """
UPDATE deliveries d SET dedupe_key = d.dedupe_key || '#' || d.id, repeat_until = NULL
FROM unnest($1::bigint[], $2::text[]) AS _(c, k)
WHERE d.connection_id = c AND d.dedupe_key = k AND d.repeat_until <= $3
RETURNING d.id
"""

_EARLIER = """
SELECT d.connection_id, d.dedupe_key, d.reference
FROM unnest($1::bigint[], $2::text[]) AS _(c, k)
JOIN deliveries d ON d.connection_id = c AND d.dedupe_key = k
"""

_encode = msgspec.json.Encoder().encode


class _References:
    """Unguessable names for requests: 80 random bits each, fetched and spelled for many at once."""

    def __init__(self) -> None:
        self._spelled = ""

    def next(self) -> str:
        if not self._spelled:
            self._spelled = base64.b32encode(os.urandom(10 * 256)).decode()
        taken, self._spelled = self._spelled[:16], self._spelled[16:]
        return taken


class Ingress:
    """The buffer between the door and the database; one per process.

    `on_stored` is called after each write, so that a worker in the same process need not wait for the notification.
    """

    def __init__(
        self,
        connect: Connect,
        clock: Clock,
        *,
        most_requests: int,
        most_bytes: int,
        on_stored: Callable[[], None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._on_stored = on_stored
        self._waiting: list[_Draft] = []
        self._taken = 0
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._references = _References()
        self._running_loop: asyncio.AbstractEventLoop | None = None

    def _loop(self) -> asyncio.AbstractEventLoop:
        # Kept, since asking for the running loop asks the kernel for our process id every time.
        if self._running_loop is None:
            self._running_loop = asyncio.get_running_loop()
        return self._running_loop

    @property
    def taken(self) -> int:
        """How many requests have come to this buffer so far; tells how busy the door is."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many requests are not durable yet."""
        return len(self._waiting)

    async def accept(
        self,
        connection_id: int,
        request: RawRequest,
        *,
        dedupe_key: str,
        repeat_within: timedelta | None = None,
        peer: str = "",
    ) -> Accepted:
        """Make a checked request durable and return its reference.

        Raises:
            Overloaded: the buffer is full or the database is away; the sender should come again.
            Malformed: the database refuses this very request.
        """
        if len(self._waiting) >= self._most_requests or self._bytes + len(request.body) > self._most_bytes:
            raise Overloaded("Too many requests are waiting to be stored", retry_after=2)
        now = self._clock.now()
        reference = self._references.next()
        draft = _Draft(
            connection_id,
            dedupe_key,
            None if repeat_within is None else now + repeat_within,
            reference,
            f"{connection_id}:{peer}" if peer else f"{connection_id}::{reference}",
            now,
            _describe(request),
            request.body,
            self._loop().create_future(),
        )
        self._waiting.append(draft)
        self._taken += 1
        self._bytes += len(request.body)
        if self._writer is None:
            self._writer = self._loop().create_task(self._write_all())
        return await draft.done

    async def close(self) -> None:
        """Wait until all that was taken is durable."""
        if self._writer is not None:
            await self._writer

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                try:
                    await self._write(batch)
                except Exception as error:  # whoever waits must hear of it, whatever it was
                    await self._write_again(batch, error)
                self._on_stored()
        finally:
            self._writer = None

    def _next_batch(self) -> list[_Draft]:
        size = count = 0
        for draft in self._waiting[:_ROWS_AT_ONCE]:
            size += len(draft.body)
            count += 1
            if size > _BYTES_AT_ONCE:
                break
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._bytes -= size
        return batch

    async def _write(self, batch: Sequence[_Draft]) -> None:
        async with self._connect() as rows:
            stored = await _insert(rows, batch)
            repeats = [draft for draft in batch if draft.reference not in stored]
            for draft in batch:
                if draft.reference in stored:
                    _settle(draft, Accepted(draft.reference, is_repeat=False))
            if repeats:
                await self._answer_repeats(rows, repeats)

    async def _answer_repeats(self, rows: Rows, repeats: Sequence[_Draft]) -> None:
        """Give up keys whose time has passed and store those anew; the others get the first one's reference.

        A key that another node has just given up and not taken again yet belongs to nobody: whoever finds it so stores
        the request. So none is ever told of a reference that is not there.
        """
        while repeats:
            connections = [draft.connection_id for draft in repeats]
            keys = [draft.dedupe_key for draft in repeats]
            await rows.fetch(_RELEASE, connections, keys, self._clock.now())
            earlier = {(row[0], row[1]): row[2] for row in await rows.fetch(_EARLIER, connections, keys)}
            unknown: list[_Draft] = []
            for draft in repeats:
                reference = earlier.get((draft.connection_id, draft.dedupe_key))
                if reference is None:
                    unknown.append(draft)
                else:
                    _settle(draft, Accepted(reference, is_repeat=True))
            stored = await _insert(rows, unknown) if unknown else set()
            for draft in unknown:
                if draft.reference in stored:
                    _settle(draft, Accepted(draft.reference, is_repeat=False))
            repeats = [draft for draft in unknown if draft.reference not in stored]

    async def _write_again(self, batch: Sequence[_Draft], error: Exception) -> None:
        """Write a batch once more that only stood in another node's way, as when both were sent the same requests."""
        if not _is_about_the_moment(error):
            await self._write_one_by_one(batch, error)
            return
        try:
            await self._write([draft for draft in batch if not draft.done.done()])
        except Exception as again:
            await self._write_one_by_one(batch, again)

    async def _write_one_by_one(self, batch: Sequence[_Draft], error: Exception) -> None:
        """One poisoned request must not refuse its neighbours; a database that is away refuses all at once.

        Nor do requests that are written alone stand crosswise in another node's way: each waits for one key at most.
        """
        alone_it_may_pass = _is_about_the_data(error) or _is_about_the_moment(error)
        if not alone_it_may_pass or len(batch) == 1:
            problem = (
                Malformed("The request holds something that cannot be stored")
                if _is_about_the_data(error)
                else Overloaded("The request could not be stored just now", retry_after=5)
            )
            problem.__cause__ = error
            for draft in batch:
                if not draft.done.done():
                    draft.done.set_exception(problem)
            return
        for draft in batch:
            if draft.done.done():
                continue
            try:
                await self._write([draft])
            except Exception as own:
                await self._write_one_by_one([draft], own)


def _settle(draft: _Draft, accepted: Accepted) -> None:
    if not draft.done.done():  # the client may have gone meanwhile
        draft.done.set_result(accepted)


async def _insert(rows: Rows, batch: Sequence[_Draft]) -> set[str]:
    columns = list(zip(*(draft[:8] for draft in batch), strict=True))
    return {row[0] for row in await rows.fetch(_INSERT, *columns)}


def _is_about_the_data(error: Exception) -> bool:
    """Whether PostgreSQL blames the values (SQLSTATE class 22, 23 or 54) rather than itself."""
    return str(getattr(error, "sqlstate", "") or "")[:2] in {"22", "23", "54"}


def _is_about_the_moment(error: Exception) -> bool:
    """Whether PostgreSQL undid it for the sake of another transaction: a deadlock or the like (SQLSTATE class 40)."""
    return str(getattr(error, "sqlstate", "") or "")[:2] == "40"


def _describe(request: RawRequest) -> str:
    kept = {
        "method": request.method,
        "headers": {name: value for name, value in request.headers.items() if name not in _NOT_KEPT},
        "path": request.path,
        "query": request.query,
        "suffix": request.suffix,
        "url": request.url,
        "client": request.client,
    }
    text = _encode(kept).decode()
    if "\\u0000" in text:  # what PostgreSQL cannot keep; a backslash that somebody sent is doubled, and stays
        text = _NUL.sub(r"\1", text)
    return text


class Found(NamedTuple):
    """Something a listener found, on its way to be made durable. See `Routed` of the channels for its fields."""

    request: RawRequest
    dedupe_key: str
    peer: str = ""


async def keep(rows: Rows, connection_id: int, found: Sequence[Found], *, now: datetime) -> int:
    """Store what a listener found, in the caller's transaction; return how much of it is new.

    What was stored before changes nothing.
    """
    references = _References()
    nobody: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
    nobody.cancel()
    drafts = []
    for item in found:
        reference = references.next()
        lane = f"{connection_id}:{item.peer}" if item.peer else f"{connection_id}::{reference}"
        drafts.append(
            _Draft(
                connection_id,
                item.dedupe_key,
                None,
                reference,
                lane,
                now,
                _describe(item.request),
                item.request.body,
                nobody,
            )
        )
    return len(await _insert(rows, drafts)) if drafts else 0
