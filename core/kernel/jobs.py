"""The lane queue: work that is a row, done in order within its lane, by whichever worker claims it first.

Any table with the columns `id, lane, due_at, attempts` is a queue: a row is waiting while `due_at` is set, can be
claimed once that has passed, and is claimed by moving `due_at` to the end of a lease. A worker that dies lets the
lease run out (or is found dead, see `recover`) and the row falls due again, so work is done at least once; it becomes
*exactly* once where the result and the settling are one transaction, guarded by `attempts` as the fencing token.

`deliveries` is such a queue, and so is `jobs`, which holds everything else: mail to send, timers, sweeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, insert_rows

WAKE = "switchyard_work"
"""The NOTIFY channel that wakes idle workers; what it says is the name of the queue, or nothing for all of them."""

WORKER_LOCKS = 0x5357
"""The first key of the advisory locks by which living workers are told from dead ones; the second is the worker's id.
"""

_CLAIM_LOCKS = 0x5358
_WINDOW = 5  # how many times the batch to look at, so that a lane which is being worked on does not hide the others
_SHARE = 4  # a lane has at most this part of a batch while others wait

BACK_OFF = (5, 30, 120, 600, 1800, 3600, 3 * 3600)
"""Seconds to wait after each failed attempt; after the last the row is dead."""


class Job(Base):
    """Something to do later, or outside the transaction that calls for it. Finished jobs are deleted."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_jobs_lane", "lane", "id", postgresql_where=text("due_at IS NOT NULL")),
        Index("uq_jobs_unique_key", "unique_key", unique=True),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    lane: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    args: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    error: Mapped[str | None]
    unique_key: Mapped[str | None]
    created_at: Mapped[datetime]


class Claimed(Base):
    """What a worker has in hand, so that others can free it if the worker dies."""

    __tablename__ = "claims"

    worker_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class Lost(Exception):
    """A claimed row is no longer ours: its lease ran out and another worker took it. Roll back and forget it."""


async def enqueue(
    session: AsyncSession,
    kind: str,
    *,
    at: datetime,
    lane: str | None = None,
    due_at: datetime | None = None,
    unique_key: str | None = None,
    **args: Any,
) -> None:
    """Have `kind` called with `args` once the caller's transaction commits, not before `due_at`.

    Jobs of one lane run one after another in the order they were queued. While a job with the same `unique_key` waits,
    nothing is added.
    """
    await enqueue_many(session, [new_job(kind, at=at, lane=lane, due_at=due_at, unique_key=unique_key, **args)])


def new_job(
    kind: str,
    *,
    at: datetime,
    lane: str | None = None,
    due_at: datetime | None = None,
    unique_key: str | None = None,
    **args: Any,
) -> dict[str, Any]:
    """Make a row for `enqueue_many`."""
    return {
        "kind": kind,
        "lane": lane or kind,
        "due_at": due_at or at,
        "unique_key": unique_key,
        "args": args,
        "created_at": at,
    }


async def enqueue_many(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Queue many jobs with one statement. See `enqueue` and `new_job`."""
    if not rows:
        return
    if keys := [row["unique_key"] for row in rows if row["unique_key"] is not None]:
        # a job that was given up stays to be seen, but not in the way
        await session.execute(
            text("UPDATE jobs SET unique_key = NULL WHERE unique_key = ANY(:keys) AND due_at IS NULL"), {"keys": keys}
        )
    await insert_rows(session, Job, rows, suffix="ON CONFLICT (unique_key) DO NOTHING")
    await wake(session, Job.__tablename__)


async def wake(session: AsyncSession, queue: str) -> None:
    """Wake the idle workers of a queue, on every node, once this transaction commits. `queue` is the table's name."""
    await (await session.connection()).exec_driver_sql(f"SELECT pg_notify('{WAKE}', $1)", (queue,))


class Failure(NamedTuple):
    """A claimed row whose work failed. `retry_after` overrides the back-off; `is_final` gives up at once."""

    id: int
    attempts: int
    error: str
    retry_after: float | None = None
    is_final: bool = False


class LaneQueue:
    """A table worked off lane by lane."""

    def __init__(self, table: Table, columns: Sequence[str], *, lease: timedelta) -> None:
        self.name = table.name
        self.lease = lease
        returned = ", ".join(f"q.{name}" for name in ("id", "lane", "attempts", *columns))
        # Each lane's waiting rows from its head up to the first that may not be taken. The lateral scan yields them in
        # order, so that a LIMIT can cut a lane's tail but never its head. What was settled meanwhile is left alone
        # ("IS TRUE" keeps the planner from reading all that is due for that).
        heads = f"""
            heads AS (
                SELECT row.id FROM lanes CROSS JOIN LATERAL (
                    SELECT id, bool_and(due_at <= $1) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS free
                    FROM {self.name} WHERE lane = lanes.lane AND due_at IS NOT NULL ORDER BY id LIMIT lanes.most
                ) row WHERE row.free LIMIT $3::int
            )
            UPDATE {self.name} q SET due_at = $2, attempts = q.attempts + 1
            FROM heads WHERE q.id = heads.id AND (q.due_at <= $1) IS TRUE RETURNING {returned}
        """  # noqa: S608 - the names are our own
        self._claim = f"""
            WITH due AS MATERIALIZED (
                SELECT lane, due_at FROM {self.name} WHERE due_at <= $1 ORDER BY due_at LIMIT $3::int * {_WINDOW}
            ), lanes AS (
                SELECT lane, CASE WHEN (SELECT count(*) FROM due) < $3::int * {_WINDOW} THEN $3::int
                             ELSE greatest(1, $3::int / {_SHARE}, $3::int / (count(*) OVER ())) END AS most
                FROM due GROUP BY lane ORDER BY min(due_at)
            ), {heads}, (SELECT count(*) FROM due) AS seen
        """  # noqa: S608 - the names are our own
        self._claim_of = f"""
            WITH lanes AS (SELECT lane, greatest(1, $3::int / {_SHARE}) AS most FROM unnest($4::text[]) AS _(lane)),
            {heads}
        """  # noqa: S608 - the names are our own
        self._lanes_after = f"""
            WITH RECURSIVE found AS (
                (SELECT lane FROM {self.name} WHERE lane > $1 AND due_at IS NOT NULL ORDER BY lane LIMIT 1)
                UNION ALL
                SELECT (SELECT q.lane FROM {self.name} q WHERE q.lane > found.lane AND q.due_at IS NOT NULL
                        ORDER BY q.lane LIMIT 1) FROM found WHERE found.lane IS NOT NULL
            )
            SELECT lane FROM found WHERE lane IS NOT NULL LIMIT $2::int
        """  # noqa: S608 - the names are our own
        self._looked_up_to = ""

    async def claim(
        self, session: AsyncSession, *, worker_id: int, now: datetime, limit: int, in_hand: Iterable[int] = ()
    ) -> list[Any]:
        """Take up to `limit` due rows for the length of the lease, in order within each lane. Commit before working.

        The oldest go first. Where more waits than can be looked at, no lane has more than a quarter of a batch while
        others wait, and up to a quarter more is taken from the lanes beyond, in rotation: neither a crowd in one lane
        nor a hundred lanes that are stuck hide the others.

        Claims are made one at a time (an advisory lock for a millisecond), since two snapshots taken at once could each
        see the head of a lane as free and the rest of it too.
        """
        connection = await session.connection()
        await connection.exec_driver_sql(
            "SELECT pg_advisory_xact_lock($1::int, hashtext($2))", (_CLAIM_LOCKS, self.name)
        )
        until, window = now + self.lease, limit * _WINDOW
        rows = list(await connection.exec_driver_sql(self._claim, (now, until, limit)))
        seen = rows[0].seen if rows else await self._count_due(session, now, window)
        if seen >= window:
            rows += await self._claim_beyond(session, now, max(1, limit // _SHARE))
        if rows:
            ids = [*in_hand, *(row.id for row in rows)]
            await connection.exec_driver_sql(
                "INSERT INTO claims (worker_id, queue, ids) VALUES ($1, $2, $3) "
                "ON CONFLICT (worker_id, queue) DO UPDATE SET ids = excluded.ids",
                (worker_id, self.name, ids),
            )
        return sorted(rows, key=lambda row: row.id)

    async def _count_due(self, session: AsyncSession, now: datetime, most: int) -> int:
        found = await (await session.connection()).exec_driver_sql(
            f"SELECT count(*) FROM (SELECT FROM {self.name} WHERE due_at <= $1 LIMIT $2) _",  # noqa: S608 - our own table
            (now, most),
        )
        return int(found.scalar_one())

    async def _claim_beyond(self, session: AsyncSession, now: datetime, limit: int) -> list[Any]:
        """Take a few rows of lanes that the oldest due rows hide; each time of the next lanes by name."""
        connection = await session.connection()
        most = limit * _SHARE * 4
        lanes = [row[0] for row in await connection.exec_driver_sql(self._lanes_after, (self._looked_up_to, most))]
        self._looked_up_to = lanes[-1] if len(lanes) == most else ""
        return list(await connection.exec_driver_sql(self._claim_of, (now, now + self.lease, limit, lanes)))

    async def fail(self, session: AsyncSession, failures: Sequence[Failure], *, now: datetime) -> list[int]:
        """Put failed rows back for later, or give them up; return the ids of those given up.

        What waits behind a postponed row in its lane is postponed with it, so that it does not crowd out other lanes.
        """
        given_up: list[int] = []
        for failure in failures:
            wait = BACK_OFF[failure.attempts - 1] if failure.attempts <= len(BACK_OFF) else None
            if failure.retry_after is not None and wait is not None:
                wait = max(1, int(failure.retry_after))
            dead = failure.is_final or wait is None
            due_at = None if dead else now + timedelta(seconds=wait or 0)
            ours = await session.execute(
                text(
                    f"UPDATE {self.name} SET due_at = :due_at, error = :error "  # noqa: S608 - our own table
                    "WHERE id = :id AND attempts = :attempts AND due_at IS NOT NULL RETURNING id"
                ),
                {"id": failure.id, "attempts": failure.attempts, "error": failure.error[:2000], "due_at": due_at},
            )
            if ours.first() is None:
                continue  # the lease ran out and another worker has it
            if due_at is None:
                given_up.append(failure.id)
            else:
                await session.execute(
                    text(
                        f"UPDATE {self.name} w SET due_at = :due_at FROM {self.name} f "  # noqa: S608 - our own table
                        "WHERE f.id = :id AND w.lane = f.lane AND w.id > f.id AND w.due_at < :due_at"
                    ),
                    {"id": failure.id, "due_at": due_at},
                )
        return given_up

    async def next_due(self, session: AsyncSession) -> datetime | None:
        """Return when the next row falls due; None if nothing waits."""
        found: datetime | None = await session.scalar(
            text(f"SELECT min(due_at) FROM {self.name} WHERE due_at IS NOT NULL")  # noqa: S608 - our own table
        )
        return found

    async def release(self, session: AsyncSession, rows: Sequence[Any], *, now: datetime) -> None:
        """Give claimed rows back untouched, as when a worker stops before it began on them.

        Before `fail`, where it is because the head of their lane failed: they are postponed with it then.
        """
        await session.execute(
            text(
                f"UPDATE {self.name} q SET due_at = :now, attempts = q.attempts - 1 "  # noqa: S608 - our own table
                "FROM unnest(CAST(:ids AS bigint[]), CAST(:attempts AS int[])) AS v(id, attempts) "
                "WHERE q.id = v.id AND q.attempts = v.attempts AND q.due_at IS NOT NULL"
            ),
            {"ids": [row.id for row in rows], "attempts": [row.attempts for row in rows], "now": now},
        )

    async def recover(self, session: AsyncSession, *, now: datetime) -> int:
        """Free what dead workers had in hand; return how many rows that was.

        A worker is dead when nobody holds its advisory lock: PostgreSQL drops it with the worker's connection, within
        moments of a `kill -9`, long before the lease runs out.
        """
        freed = await session.execute(
            text(
                f"""
                WITH dead AS (
                    DELETE FROM claims WHERE queue = :queue AND NOT EXISTS (
                        SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
                        AND classid = CAST(:locks AS int)::oid AND objid = (worker_id % 2147483647)::int::oid
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    ) RETURNING ids
                )
                UPDATE {self.name} SET due_at = :now
                WHERE id IN (SELECT unnest(ids) FROM dead) AND due_at > :now
                RETURNING id
                """  # noqa: S608 - our own table
            ),
            {"queue": self.name, "locks": WORKER_LOCKS, "now": now},
        )
        return len(list(freed))


def jobs_queue() -> LaneQueue:
    """Return the queue of `jobs`. Five minutes is longer than any provider is waited for."""
    table = Job.__table__
    assert isinstance(table, Table)
    return LaneQueue(table, ("kind", "args"), lease=timedelta(minutes=5))


async def finish(session: AsyncSession, job_id: int, attempts: int) -> None:
    """Delete a job that was done.

    Raises:
        Lost: another worker has taken it meanwhile.
    """
    done = await session.execute(
        text("DELETE FROM jobs WHERE id = :id AND attempts = :attempts RETURNING id"),
        {"id": job_id, "attempts": attempts},
    )
    if done.first() is None:
        raise Lost(f"job {job_id}")
