"""How somebody came to a chat before they said anything: kept for their first words, whose attribution it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base

KEEPS = timedelta(days=30)


class Referral(Base):
    """The last deep link or advertisement through which a peer opened a chat."""

    __tablename__ = "referrals"

    connection_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    peer: Mapped[str] = mapped_column(Text, primary_key=True)
    attribution: Mapped[dict[str, Any]]
    at: Mapped[datetime]


async def keep(session: AsyncSession, connection_id: int, peer: str, attribution: dict[str, Any], at: datetime) -> None:
    """Note how a peer came."""
    row = await session.get(Referral, (connection_id, peer))
    if row is None:
        session.add(Referral(connection_id=connection_id, peer=peer, attribution=attribution, at=at))
    else:
        row.attribution, row.at = attribution, at
    await session.flush()


_TAKE = """
DELETE FROM referrals r USING unnest($1::bigint[], $2::text[]) AS p(connection_id, peer)
WHERE r.connection_id = p.connection_id AND r.peer = p.peer RETURNING r.connection_id, r.peer, r.attribution, r.at
"""


async def take(
    session: AsyncSession, peers: Sequence[tuple[int, str]], *, now: datetime
) -> dict[tuple[int, str], dict[str, Any]]:
    """Return how these peers came, and forget it; what is older than a month counts no more."""
    if not peers:
        return {}
    rows = await (await session.connection()).exec_driver_sql(
        _TAKE, ([connection_id for connection_id, _ in peers], [peer for _, peer in peers])
    )
    return {(row.connection_id, row.peer): row.attribution for row in rows if row.at > now - KEEPS}
