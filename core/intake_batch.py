"""What intake knows before it decides a batch, and what it writes after: one statement per table, whatever the size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.kernel.db import Base, insert_rows, reserve_ids
from core.people.contacts import Contact, ContactIdentity, DuplicateCandidate
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Category, Pipeline, Stage, StageRule
from core.staff import workspace
from core.talk.conversations import Conversation, Episode, Message
from core.work import hours_json
from core.work.hours import Schedule
from core.work.tasks import EscalationStep, Task


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


class FirstStage(NamedTuple):
    """Where a new deal of a pipeline begins."""

    pipeline_id: int
    stage_id: int
    rules: tuple[StageRule, ...]


class House(NamedTuple):
    """The company's own ways, read once for a batch."""

    currency: str
    schedule: Schedule
    first_stages: Mapping[int, FirstStage]
    default_pipeline_id: int | None

    @classmethod
    async def load(cls, session: AsyncSession) -> House:
        """Read the company, its pipelines and the rules of their first stages."""
        company = await workspace.get(session)
        stages = list(
            await session.execute(
                select(Stage.id, Stage.pipeline_id, Pipeline.is_default)
                .join(Pipeline, Pipeline.id == Stage.pipeline_id)
                .where(Stage.category == Category.OPEN)
                .order_by(Stage.pipeline_id, Stage.position, Stage.id)
            )
        )
        first: dict[int, int] = {}
        default: int | None = None
        for stage in stages:
            first.setdefault(stage.pipeline_id, stage.id)
            if stage.is_default:
                default = stage.pipeline_id
        rules = await session.scalars(
            select(StageRule).where(StageRule.stage_id.in_(first.values())).order_by(StageRule.id)
        )
        by_stage: dict[int, list[StageRule]] = {}
        for rule in rules:
            by_stage.setdefault(rule.stage_id, []).append(rule)
        return cls(
            currency=company.currency,
            schedule=hours_json.from_json(company.schedule),
            first_stages={
                pipeline: FirstStage(pipeline, stage, tuple(by_stage.get(stage, ())))
                for pipeline, stage in first.items()
            },
            default_pipeline_id=default if default is not None else next(iter(first), None),
        )

    def first_stage(self, pipeline_id: int | None) -> FirstStage | None:
        """Return where a deal of this pipeline begins; of the default one if it has gone; None if there is none."""
        found = self.first_stages.get(pipeline_id) if pipeline_id is not None else None
        if found is None and self.default_pipeline_id is not None:
            found = self.first_stages.get(self.default_pipeline_id)
        return found


_LOCK = "SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS k"

_IDENTITIES = """
SELECT i.scheme, i.value, i.contact_id
FROM unnest($1::text[], $2::text[]) AS a(scheme, value)
JOIN identities i ON i.scheme = a.scheme AND i.value = a.value
"""

_MESSAGES = """
SELECT m.connection_id, m.external_id, m.id, m.contact_id, m.conversation_id
FROM unnest($1::bigint[], $2::text[]) AS e(connection_id, external_id)
JOIN messages m ON m.connection_id = e.connection_id AND m.external_id = e.external_id
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
SELECT c.id, c.contact_id, c.connection_id, c.thread, c.status, c.assignee_id,
       (SELECT e.id FROM episodes e WHERE e.conversation_id = c.id AND e.resolved_at IS NULL) AS episode_id
FROM conversations c WHERE c.contact_id = ANY($1)
"""


@dataclass(slots=True)
class Known:
    """What the database knows of the people in a batch; grows as the batch is decided."""

    addresses: dict[tuple[str, str], int] = field(default_factory=dict)
    people: dict[int, Person] = field(default_factory=dict)
    deals: dict[int, list[OpenDeal]] = field(default_factory=dict)
    leads: dict[int, OpenLead] = field(default_factory=dict)
    talks: dict[tuple[int, int, str], Talk] = field(default_factory=dict)
    messages: dict[tuple[int, str], tuple[int, int, int]] = field(default_factory=dict)

    @classmethod
    async def load(
        cls,
        session: AsyncSession,
        *,
        lock_keys: Sequence[int],
        addresses: Sequence[tuple[str, str]],
        messages: Sequence[tuple[int, str]],
    ) -> Known:
        """Lock the addresses, and whom they belong to, for the length of the transaction; then look everything up,
        once.

        Both, since one person may write to two nodes at once from two of their addresses.
        """
        known = cls()
        connection = await session.connection()
        if lock_keys:
            await connection.exec_driver_sql(_LOCK, (list(lock_keys),))
        pairs = list(dict.fromkeys(addresses))
        if pairs:
            found = await connection.exec_driver_sql(_IDENTITIES, ([p[0] for p in pairs], [p[1] for p in pairs]))
            known.addresses = {(row.scheme, row.value): row.contact_id for row in found}
        if messages:
            found = await connection.exec_driver_sql(_MESSAGES, ([m[0] for m in messages], [m[1] for m in messages]))
            known.messages = {
                (row.connection_id, row.external_id): (row.id, row.contact_id, row.conversation_id) for row in found
            }
        ids = sorted(set(known.addresses.values()))
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
            known.talks[(row.contact_id, row.connection_id, row.thread)] = Talk(
                row.id, row.status, row.episode_id, row.assignee_id
            )
        return known


_CHANGE_CONTACTS = """
UPDATE contacts c SET name = v.name, owner_id = v.owner_id, team_id = v.team_id, search = v.search,
       version = c.version + 1
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[]) AS v(id, name, owner_id, team_id, search)
WHERE c.id = v.id
"""

_CONTINUE_TALKS = """
UPDATE conversations c SET status = 'open', unread = c.unread + v.count, last_message_at = v.at,
       last_message_text = v.said, waiting_since = coalesce(c.waiting_since, v.since),
       assignee_id = coalesce(c.assignee_id, v.assignee_id), version = c.version + 1
FROM unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::text[], $5::bigint[], $6::timestamptz[])
     AS v(id, count, at, said, assignee_id, since)
WHERE c.id = v.id
"""


class Continued(NamedTuple):
    """A message in a conversation that was there before the batch."""

    conversation_id: int
    at: datetime
    said: str
    assignee_id: int | None


@dataclass(slots=True)
class Written:
    """The rows a batch comes to."""

    ids: Iterator[int]
    rows: dict[type[Base], list[dict[str, Any]]] = field(
        default_factory=lambda: {
            Contact: [],
            ContactIdentity: [],
            DuplicateCandidate: [],
            Conversation: [],
            Episode: [],
            Message: [],
            Lead: [],
            Deal: [],
            Task: [],
            EscalationStep: [],
        }
    )
    continued: list[Continued] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    async def begin(cls, session: AsyncSession, most_ids: int) -> Written:
        """Reserve ids for all rows that others must name."""
        return cls(ids=iter(await reserve_ids(session, most_ids)))

    def next_id(self) -> int:
        """Return a fresh record id."""
        return next(self.ids)

    def add(self, model: type[Base], **values: Any) -> dict[str, Any]:
        """Note a row to write; it may still be changed until `flush`."""
        self.rows[model].append(values)
        return values

    async def flush(self, session: AsyncSession, known: Known) -> None:
        """Write everything, parents first."""
        for model, rows in self.rows.items():
            suffix = "ON CONFLICT DO NOTHING" if model is DuplicateCandidate else ""
            await insert_rows(session, model, rows, suffix=suffix)
        connection = await session.connection()
        changed = [person for person in known.people.values() if person.is_changed and person.row is None]
        if changed:
            await connection.exec_driver_sql(
                _CHANGE_CONTACTS,
                (
                    [person.id for person in changed],
                    [person.name for person in changed],
                    [person.owner_id for person in changed],
                    [person.team_id for person in changed],
                    [person.search for person in changed],
                ),
            )
        if self.continued:
            last: dict[int, Continued] = {}
            counts: dict[int, int] = {}
            since: dict[int, datetime] = {}
            for item in self.continued:
                last[item.conversation_id] = item
                since.setdefault(item.conversation_id, item.at)
                counts[item.conversation_id] = counts.get(item.conversation_id, 0) + 1
            await connection.exec_driver_sql(
                _CONTINUE_TALKS,
                (
                    list(last),
                    [counts[i] for i in last],
                    [item.at for item in last.values()],
                    [item.said for item in last.values()],
                    [item.assignee_id for item in last.values()],
                    [since[i] for i in last],
                ),
            )
        await events.write(session, self.lines)
