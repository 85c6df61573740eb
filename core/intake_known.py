"""What the database knows of the people in a batch, looked up once before it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from core.people.moving import HOLD_STILL, plain_thread
from core.talk import referrals

GROUPS_LAST = timedelta(hours=1)
"""How long pieces join. References of long SMS have 256 values and come again: later ones are another message's."""


@dataclass(slots=True)
class Person:
    """A contact, known or just met. `row` is what will be written for one just met."""

    id: int
    name: str
    owner_id: int | None
    team_id: int | None
    search: str
    row: dict[str, Any] | None = None
    is_changed: bool = False


@dataclass(slots=True)
class Talk:
    """A conversation, known or just begun."""

    id: int
    status: str
    episode_id: int | None
    assignee_id: int | None
    row: dict[str, Any] | None = None
    contact_id: int = 0
    connection_id: int = 0


@dataclass(slots=True)
class OpenDeal:
    """A deal that a further request joins."""

    id: int
    pipeline_id: int
    owner_id: int | None
    team_id: int | None
    lead_id: int | None
    has_task: bool


@dataclass(slots=True)
class OpenLead:
    """A lead without a deal that a further request joins."""

    id: int
    owner_id: int | None
    team_id: int | None


@dataclass(slots=True)
class Grouped:
    """A message that several of the provider's make up: an album, a long SMS. `row` is what will be written for one
    that is new.
    """

    message_id: int
    contact_id: int
    conversation_id: int
    text: str
    pieces: dict[str, str]
    files: int
    row: dict[str, Any] | None = None
    is_changed: bool = False


_LOCK = "SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS k"
_HOLD_STILL_AND_LOCK = f"{HOLD_STILL} UNION ALL {_LOCK}"  # in this order, in one round trip

_IDENTITIES = """
SELECT i.scheme, i.value, i.contact_id, i.blocked_at
FROM unnest($1::text[], $2::text[]) AS a(scheme, value)
JOIN identities i ON i.scheme = a.scheme AND i.value = a.value
"""

_MESSAGES = """
SELECT m.connection_id, m.external_id, m.id, m.contact_id, m.conversation_id
FROM unnest($1::bigint[], $2::text[]) AS e(connection_id, external_id)
JOIN messages m ON m.connection_id = e.connection_id AND m.external_id = e.external_id
UNION ALL
SELECT i.connection_id, i.external_id, m.id, m.contact_id, m.conversation_id
FROM unnest($1::bigint[], $2::text[]) AS e(connection_id, external_id)
JOIN message_ids i ON i.connection_id = e.connection_id AND i.external_id = e.external_id
JOIN messages m ON m.id = i.message_id
"""

_GROUPS = """
SELECT m.connection_id, m.group_key, m.id, m.contact_id, m.conversation_id, m.text, m.pieces,
       (SELECT count(*) FROM attachments a WHERE a.message_id = m.id) AS files
FROM unnest($1::bigint[], $2::text[]) AS g(connection_id, group_key)
JOIN messages m ON m.connection_id = g.connection_id AND m.group_key = g.group_key AND m.created_at > $3
ORDER BY m.id
"""

# Whom our own side wrote to: such events do not say whose the other side is.
_PEERS = """
SELECT DISTINCT ON (c.connection_id, c.peer) c.connection_id, c.peer, c.contact_id
FROM unnest($1::bigint[], $2::text[]) AS e(connection_id, peer)
JOIN conversations c ON c.connection_id = e.connection_id AND c.peer = e.peer
ORDER BY c.connection_id, c.peer, c.last_message_at DESC
"""

# What our own side said and the provider tells us of before it has answered our call.
_ON_THEIR_WAY = """
SELECT c.connection_id, c.peer, m.id, m.contact_id, m.conversation_id, p.position, p.content->>'text' AS said
FROM unnest($1::bigint[], $2::text[]) AS e(connection_id, peer)
JOIN conversations c ON c.connection_id = e.connection_id AND c.peer = e.peer
JOIN messages m ON m.conversation_id = c.id AND m.status = 'sending'
JOIN message_parts p ON p.message_id = m.id AND p.state = 'sending'
"""

_CONTACTS = "SELECT id, name, owner_id, team_id, search FROM contacts WHERE id = ANY($1)"

_DEALS = """
SELECT d.id, d.contact_id, d.pipeline_id, d.owner_id, d.team_id, d.lead_id,
       EXISTS (SELECT FROM tasks t WHERE t.deal_id = d.id AND t.status IN ('todo', 'in_progress')) AS has_task
FROM deals d WHERE d.contact_id = ANY($1) AND d.outcome = 'open' ORDER BY d.id
"""

_LEADS = """
SELECT id, contact_id, owner_id, team_id FROM leads
WHERE contact_id = ANY($1) AND status IN ('new', 'working') AND deal_id IS NULL ORDER BY id
"""

_TALKS = """
SELECT c.id, c.contact_id, c.connection_id, c.thread, c.peer, c.status, c.assignee_id,
       (SELECT e.id FROM episodes e WHERE e.conversation_id = c.id AND e.resolved_at IS NULL) AS episode_id
FROM conversations c WHERE c.contact_id = ANY($1) ORDER BY c.id DESC
"""


@dataclass(slots=True)
class Known:
    """What the database knows of the people in a batch; grows as the batch is decided."""

    addresses: dict[tuple[str, str], int] = field(default_factory=dict)
    blocked: set[tuple[str, str]] = field(default_factory=set)
    people: dict[int, Person] = field(default_factory=dict)
    deals: dict[int, list[OpenDeal]] = field(default_factory=dict)
    leads: dict[int, OpenLead] = field(default_factory=dict)
    talks: dict[tuple[int, int, str], Talk] = field(default_factory=dict)
    talks_by_id: dict[int, Talk] = field(default_factory=dict)
    talks_by_peer: dict[tuple[int, int, str, str], Talk] = field(default_factory=dict)
    messages: dict[tuple[int, str], tuple[int, int, int]] = field(default_factory=dict)
    groups: dict[tuple[int, str], Grouped] = field(default_factory=dict)
    on_their_way: dict[tuple[int, str], list[Any]] = field(default_factory=dict)
    referrals: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)
    peers: dict[tuple[int, str], int] = field(default_factory=dict)

    @classmethod
    async def load(
        cls,
        session: AsyncSession,
        *,
        lock_keys: Sequence[int],
        addresses: Sequence[tuple[str, str]],
        messages: Sequence[tuple[int, str]],
        groups: Sequence[tuple[int, str]] = (),
        echoes: Sequence[tuple[int, str]] = (),
        peers: Sequence[tuple[int, str]] = (),
        now: datetime,
    ) -> Known:
        """Lock the addresses, and whom they belong to, for the length of the transaction; then look everything up,
        once.

        Both, since one person may write to two nodes at once from two of their addresses.
        """
        known = cls()
        connection = await session.connection()
        await connection.exec_driver_sql(_HOLD_STILL_AND_LOCK, (list(lock_keys),))
        pairs = list(dict.fromkeys(addresses))
        if pairs:
            found = await connection.exec_driver_sql(_IDENTITIES, ([p[0] for p in pairs], [p[1] for p in pairs]))
            for row in found:
                known.addresses[(row.scheme, row.value)] = row.contact_id
                if row.blocked_at is not None:
                    known.blocked.add((row.scheme, row.value))
        if messages:
            found = await connection.exec_driver_sql(_MESSAGES, ([m[0] for m in messages], [m[1] for m in messages]))
            known.messages = {
                (row.connection_id, row.external_id): (row.id, row.contact_id, row.conversation_id) for row in found
            }
        if groups:
            wanted = list(dict.fromkeys(groups))
            columns = ([g[0] for g in wanted], [g[1] for g in wanted], now - GROUPS_LAST)
            for row in await connection.exec_driver_sql(_GROUPS, columns):
                known.groups[(row.connection_id, row.group_key)] = Grouped(
                    row.id, row.contact_id, row.conversation_id, row.text, dict(row.pieces or {}), row.files
                )
        if echoes:
            wanted = list(dict.fromkeys(echoes))
            for row in await connection.exec_driver_sql(
                _ON_THEIR_WAY, ([e[0] for e in wanted], [e[1] for e in wanted])
            ):
                known.on_their_way.setdefault((row.connection_id, row.peer), []).append(row)
            for row in await connection.exec_driver_sql(_PEERS, ([e[0] for e in wanted], [e[1] for e in wanted])):
                known.peers[(row.connection_id, row.peer)] = row.contact_id
        known.referrals = await referrals.take(session, list(dict.fromkeys(peers)), now=now)
        ids = sorted({*known.addresses.values(), *known.peers.values()})
        if not ids:
            return known
        await connection.exec_driver_sql(_LOCK, (ids,))
        for row in await connection.exec_driver_sql(_CONTACTS, (ids,)):
            known.people[row.id] = Person(row.id, row.name, row.owner_id, row.team_id, row.search)
        for row in await connection.exec_driver_sql(_DEALS, (ids,)):
            known.deals.setdefault(row.contact_id, []).append(
                OpenDeal(row.id, row.pipeline_id, row.owner_id, row.team_id, row.lead_id, row.has_task)
            )
        for row in await connection.exec_driver_sql(_LEADS, (ids,)):
            known.leads[row.contact_id] = OpenLead(row.id, row.owner_id, row.team_id)
        for row in await connection.exec_driver_sql(_TALKS, (ids,)):
            talk = Talk(
                row.id,
                row.status,
                row.episode_id,
                row.assignee_id,
                contact_id=row.contact_id,
                connection_id=row.connection_id,
            )
            if row.peer:
                # of two that a merge has put side by side, each goes on with its own other side; of two with the same
                # other side, the one that began first: it is whoever's that other side is
                known.talks_by_peer[(row.contact_id, row.connection_id, plain_thread(row.thread), row.peer)] = talk
            known.talks[(row.contact_id, row.connection_id, row.thread)] = known.talks_by_id[row.id] = talk
        return known
