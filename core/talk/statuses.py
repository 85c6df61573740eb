"""What became of what we sent, as providers report it: late, twice, out of order, or before we know the id ourselves.

A status only moves forward. A failure ends it, unless the message arrives after all: some providers report both where a
person has several devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Index, Text, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, insert_rows
from core.kernel.envelopes import Status
from core.talk.conversations import MessageId

RANKS = {"queued": 0, "sending": 1, "sent": 2, "failed": 3, "delivered": 4, "read": 5}
"""The order in which statuses go: what has a higher rank replaces what has a lower."""

KEEPS_EARLY = timedelta(days=2)


class EarlyStatus(Base):
    """A status of something we do not know yet: it came before the provider's answer to our call."""

    __tablename__ = "early_statuses"
    __table_args__ = (
        Index("ix_early_statuses_external_id", "connection_id", "external_id"),
        Index("ix_early_statuses_received_at", "received_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    connection_id: Mapped[int]
    external_id: Mapped[str]
    status: Mapped[str]
    error_code: Mapped[str] = mapped_column(Text, default="", server_default="")
    error_text: Mapped[str] = mapped_column(Text, default="", server_default="")
    is_dead: Mapped[bool]
    at: Mapped[datetime]
    received_at: Mapped[datetime]


class Reported(NamedTuple):
    """A status and the connection it came over."""

    connection_id: int
    status: Status
    received_at: datetime


_KNOWN = """
SELECT i.connection_id, i.external_id, i.message_id
FROM unnest($1::bigint[], $2::text[]) AS s(connection_id, external_id)
JOIN message_ids i ON i.connection_id = s.connection_id AND i.external_id = s.external_id
JOIN messages m ON m.id = i.message_id AND m.direction = 'outbound'
"""

_OURS = "SELECT id, connection_id FROM messages WHERE id = ANY($1) AND direction = 'outbound'"

_RANK = "(CASE {0} WHEN 'read' THEN 5 WHEN 'delivered' THEN 4 WHEN 'failed' THEN 3 WHEN 'sent' THEN 2 ELSE 1 END)"

_MOVE = f"""
UPDATE message_ids i SET status = v.status
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS v(connection_id, external_id, status)
WHERE i.connection_id = v.connection_id AND i.external_id = v.external_id
  AND {_RANK.format("v.status")} > {_RANK.format("i.status")}
RETURNING i.message_id
"""  # noqa: S608 - our own words

# The message is as far as the least of its parts; one that failed fails it.
_SETTLE = f"""
WITH parts AS (
    SELECT i.message_id, min({_RANK.format("i.status")}) AS least, bool_or(i.status = 'failed') AS failed
    FROM message_ids i WHERE i.message_id = ANY($1) GROUP BY i.message_id
), pending AS (
    SELECT p.message_id, bool_or(p.state IN ('waiting', 'sending')) AS waits
    FROM message_parts p WHERE p.message_id = ANY($1) GROUP BY p.message_id
), said AS (
    SELECT * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::timestamptz[]) AS v(message_id, code, text, at)
), next AS (
    SELECT parts.message_id, CASE WHEN failed THEN 'failed' WHEN least = 5 THEN 'read'
           WHEN least = 4 THEN 'delivered' ELSE 'sent' END AS status
    FROM parts LEFT JOIN pending USING (message_id) WHERE NOT coalesce(pending.waits, false)
)
UPDATE messages m SET status = next.status, uncertain = false,
       error_code = CASE WHEN next.status = 'failed' THEN coalesce(said.code, m.error_code) END,
       error_text = CASE WHEN next.status = 'failed' THEN coalesce(said.text, m.error_text) END,
       delivered_at = CASE WHEN next.status IN ('delivered', 'read') THEN coalesce(m.delivered_at, said.at, $6)
                      ELSE m.delivered_at END,
       read_at = CASE WHEN next.status = 'read' THEN coalesce(m.read_at, said.at, $6) ELSE m.read_at END
FROM next LEFT JOIN said ON said.message_id = next.message_id
WHERE m.id = next.message_id AND {_RANK.format("next.status")} > {_RANK.format("m.status")}
RETURNING m.id, m.status, m.contact_id, m.conversation_id, m.author_id, m.error_text, m.text
"""  # noqa: S608 - our own words

_UP_TO = """
UPDATE message_ids i SET status = $4
FROM messages m JOIN conversations c ON c.id = m.conversation_id
WHERE i.message_id = m.id AND c.connection_id = $1 AND c.peer = $2 AND m.direction = 'outbound'
  AND m.sent_at <= $3 AND i.status IN ('sent', 'delivered') AND i.status <> $4
RETURNING i.message_id
"""


async def apply(session: AsyncSession, reported: Sequence[Reported], *, now: datetime) -> int:
    """Bring messages to where their providers say they are; return how many statuses were about ours.

    One that is about nothing we know is kept for a while: see `take_early`.
    """
    if not reported:
        return 0
    connection = await session.connection()
    by_id = [item for item in reported if item.status.external_id]
    known: dict[tuple[Any, Any], Any] = {}
    if by_id:
        rows = await connection.exec_driver_sql(
            _KNOWN, ([item.connection_id for item in by_id], [item.status.external_id for item in by_id])
        )
        known = {(row.connection_id, row.external_id): row.message_id for row in rows}
    await _learn_ids(session, reported, known)
    matched: list[Reported] = []
    early: list[dict[str, Any]] = []
    for item in reported:
        if item.status.up_to:
            continue
        if (item.connection_id, item.status.external_id) in known:
            matched.append(item)
        elif item.status.external_id:
            early.append(_early(item))
    await insert_rows(session, EarlyStatus, early)
    touched = set()
    if matched:
        best: dict[tuple[int, str], Reported] = {}
        for item in matched:
            key = (item.connection_id, item.status.external_id)
            if key not in best or RANKS[item.status.status] > RANKS[best[key].status.status]:
                best[key] = item
        rows = await connection.exec_driver_sql(
            _MOVE,
            (
                [key[0] for key in best],
                [key[1] for key in best],
                [item.status.status for item in best.values()],
            ),
        )
        touched = {row.message_id for row in rows}
    for item in reported:
        if item.status.up_to and item.status.peer:
            rows = await connection.exec_driver_sql(
                _UP_TO,
                (
                    item.connection_id,
                    item.status.peer,
                    item.status.occurred_at or item.received_at,
                    item.status.status,
                ),
            )
            touched |= {row.message_id for row in rows}
    said = {
        known[(item.connection_id, item.status.external_id)]: item
        for item in sorted(matched, key=lambda found: RANKS[found.status.status])
    }
    await settle(session, touched, said=said, now=now)
    return len(matched)


async def _learn_ids(session: AsyncSession, reported: Sequence[Reported], known: dict[tuple[Any, Any], Any]) -> None:
    """Match statuses that name our own id of a part, and note the provider's id they come with."""
    named: dict[tuple[int, str], tuple[int, int]] = {}
    for item in reported:
        message_id, _, position = item.status.our_id.partition(".")
        if not (message_id.isdecimal() and position.isdecimal() and len(message_id) < 19 and len(position) < 5):
            continue
        external_id = item.status.external_id or f"our:{item.status.our_id}"
        if (item.connection_id, external_id) not in known:
            named[(item.connection_id, external_id)] = (int(message_id), int(position))
    if not named:
        return
    connection = await session.connection()
    rows = await connection.exec_driver_sql(_OURS, ([message_id for message_id, _ in named.values()],))
    ours = {(row.connection_id, row.id) for row in rows}
    found = [
        {
            "connection_id": key[0],
            "external_id": key[1],
            "message_id": message_id,
            "position": position,
            "status": "sent",
        }
        for key, (message_id, position) in named.items()
        if (key[0], message_id) in ours
    ]
    await insert_rows(session, MessageId, found, suffix="ON CONFLICT DO NOTHING")
    known |= {(row["connection_id"], row["external_id"]): row["message_id"] for row in found}


def _early(item: Reported) -> dict[str, Any]:
    return {
        "connection_id": item.connection_id,
        "external_id": item.status.external_id,
        "status": item.status.status,
        "error_code": item.status.error_code,
        "error_text": item.status.error_text,
        "is_dead": item.status.is_dead,
        "at": item.status.occurred_at or item.received_at,
        "received_at": item.received_at,
    }


async def settle(
    session: AsyncSession, message_ids: Iterable[int], *, said: dict[int, Reported], now: datetime
) -> None:
    """Bring messages to where their parts are, and tell of those that changed."""
    ids = sorted(set(message_ids))
    if not ids:
        return
    reasons = [(number, said[number]) for number in ids if number in said]
    rows = await (await session.connection()).exec_driver_sql(
        _SETTLE,
        (
            ids,
            [number for number, _ in reasons],
            [item.status.error_code or None for _, item in reasons],
            [item.status.error_text or None for _, item in reasons],
            [item.status.occurred_at or item.received_at for _, item in reasons],
            now,
        ),
    )
    await events.write(
        session,
        [
            events.line(
                f"message.{row.status}",
                now,
                contact_id=row.contact_id,
                conversation_id=row.conversation_id,
                message_id=row.id,
                user_id=row.author_id,
                details={"text": " ".join(row.text.split())[:160], "error": row.error_text},
            )
            for row in rows
        ],
    )


async def take_early(session: AsyncSession, connection_id: int, external_ids: Sequence[str], *, now: datetime) -> None:
    """Apply the statuses that came before we knew these ids."""
    rows = await (await session.connection()).exec_driver_sql(
        "DELETE FROM early_statuses WHERE connection_id = $1 AND external_id = ANY($2) "
        "RETURNING external_id, status, error_code, error_text, is_dead, at, received_at",
        (connection_id, list(external_ids)),
    )
    found = [
        Reported(
            connection_id,
            Status(
                status=row.status,
                external_id=row.external_id,
                error_code=row.error_code,
                error_text=row.error_text,
                is_dead=row.is_dead,
                occurred_at=row.at,
            ),
            row.received_at,
        )
        for row in rows
    ]
    await apply(session, found, now=now)


async def forget_early(session: AsyncSession, *, now: datetime) -> None:
    """Drop the statuses of what was never ours."""
    await session.execute(text("DELETE FROM early_statuses WHERE received_at < :before"), {"before": now - KEEPS_EARLY})
