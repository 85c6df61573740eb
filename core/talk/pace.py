"""How fast a connection may send, for all nodes together: an allowance that fills evenly, and rests when it has to."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Integer, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base


class Pace(Base):
    """How fast a connection may send, for all nodes together: a bucket that fills evenly, and a pause.

    failures   how often in a row the provider could not be reached, or did not take our credentials
    """

    __tablename__ = "paces"

    connection_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    tokens: Mapped[float] = mapped_column(default=1.0, server_default="1")
    filled_at: Mapped[datetime]
    paused_until: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, default=0, server_default="0")


_LOOK = "SELECT tokens, filled_at, paused_until FROM paces WHERE connection_id = $1"
_LOCK = f"{_LOOK} FOR UPDATE"


async def take_turns(
    session: AsyncSession, connection_id: int, count: int, *, per_second: float, now: datetime
) -> tuple[int, float]:
    """Take the turns of so many parts off a connection's allowance, or of as many as it has.

    Returns how many may go now, and after how many seconds the next of them may. `per_second` 0 knows no limit but a
    pause. Whatever else goes over the connection waits until the caller commits.
    """
    most = max(1.0, per_second)
    connection = await session.connection()
    row = None
    while row is None:
        found = await connection.exec_driver_sql(_LOCK if per_second > 0 else _LOOK, (connection_id,))
        row = found.first()
        if row is None:
            await connection.exec_driver_sql(
                "INSERT INTO paces (connection_id, tokens, filled_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                (connection_id, most, now),
            )
    if row.paused_until is not None and row.paused_until > now:
        return 0, float((row.paused_until - now).total_seconds())
    if per_second <= 0:
        return count, 0.0
    tokens = min(most, row.tokens + max(0.0, (now - row.filled_at).total_seconds()) * per_second)
    granted = min(count, int(tokens + 1e-6))
    if granted:
        await connection.exec_driver_sql(
            "UPDATE paces SET tokens = $2, filled_at = $3 WHERE connection_id = $1",
            (connection_id, tokens - granted, now),
        )
    return granted, max(0.0, 1 - (tokens - granted)) / per_second


async def pause(session: AsyncSession, connection_id: int, *, until: datetime) -> None:
    """Let nothing of a connection go before a moment, as when the provider says we are too fast."""
    await session.execute(
        text(
            "INSERT INTO paces (connection_id, filled_at, paused_until) VALUES (:id, :until, :until) "
            "ON CONFLICT (connection_id) DO UPDATE SET paused_until = greatest(paces.paused_until, :until)"
        ),
        {"id": connection_id, "until": until},
    )


async def count_failure(session: AsyncSession, connection_id: int, *, now: datetime) -> int:
    """Count that a connection failed once more in a row; return how often by now."""
    failures = await session.scalar(
        text(
            "INSERT INTO paces (connection_id, filled_at, failures) VALUES (:id, :now, 1) "
            "ON CONFLICT (connection_id) DO UPDATE SET failures = paces.failures + 1 RETURNING failures"
        ),
        {"id": connection_id, "now": now},
    )
    return int(failures or 0)


async def count_success(session: AsyncSession, connection_id: int) -> bool:
    """Forget the failures of a connection; return whether there were any."""
    found = await session.execute(
        text(
            "UPDATE paces SET failures = 0, paused_until = NULL WHERE connection_id = :id AND failures > 0 "
            "RETURNING connection_id"
        ),
        {"id": connection_id},
    )
    return found.first() is not None
