"""What holds for a whole batch of intake, and what is written after it is decided: one statement per table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.intake_known import Known
from core.kernel import events, jobs
from core.kernel.db import Base, insert_rows, json_text, reserve_ids
from core.people.contacts import Contact, ContactIdentity, DuplicateCandidate
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Category, Pipeline, Stage, StageRule
from core.staff import workspace
from core.talk.attachments import Attachment
from core.talk.conversations import Conversation, Episode, Message, MessageId
from core.work import hours_json
from core.work.hours import Schedule
from core.work.tasks import EscalationStep, Task


class FirstStage(NamedTuple):
    """Where a new deal of a pipeline begins."""

    pipeline_id: int
    stage_id: int
    rules: tuple[StageRule, ...]


class House(NamedTuple):
    """The company's own ways, read once for a batch."""

    currency: str
    merges_attested: bool
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
            merges_attested=company.merges_attested,
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


_CHANGE_CONTACTS = """
UPDATE contacts c SET name = v.name, owner_id = v.owner_id, team_id = v.team_id, search = v.search,
       version = c.version + 1
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[]) AS v(id, name, owner_id, team_id, search)
WHERE c.id = v.id
"""

_CONTINUE_TALKS = """
UPDATE conversations c SET status = CASE WHEN v.is_quiet THEN c.status ELSE 'open' END,
       snoozed_until = CASE WHEN v.is_quiet THEN c.snoozed_until END,
       unread = c.unread + v.count, last_message_at = v.at, last_message_text = v.said,
       waiting_since = CASE WHEN v.is_answered THEN NULL ELSE coalesce(c.waiting_since, v.since) END,
       last_inbound_at = coalesce(v.inbound_at, c.last_inbound_at),
       peer = coalesce(nullif(v.peer, ''), c.peer), context = coalesce(v.context::jsonb, c.context),
       replies_until = greatest(v.replies_until, c.replies_until),
       assignee_id = coalesce(c.assignee_id, v.assignee_id), version = c.version + 1
FROM unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::text[], $5::bigint[], $6::timestamptz[], $7::bool[],
            $8::bool[], $9::timestamptz[], $10::text[], $11::text[], $12::timestamptz[])
     AS v(id, count, at, said, assignee_id, since, is_quiet, is_answered, inbound_at, peer, context, replies_until)
WHERE c.id = v.id
"""

_GROW_GROUPS = """
UPDATE messages m SET text = v.text, pieces = v.pieces::jsonb
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS v(id, text, pieces) WHERE m.id = v.id
"""


@dataclass(slots=True)
class Continued:
    """What is new in a conversation that was there before the batch.

    waiting_since  when the customer began to wait, None if what came makes nobody wait
    is_answered    our own side said the last word
    is_quiet       nothing came that anybody has to look at: the conversation stays as it was, resolved or snoozed
    """

    conversation_id: int
    at: datetime
    said: str
    assignee_id: int | None
    count: int = 0
    waiting_since: datetime | None = None
    is_answered: bool = False
    is_quiet: bool = True
    inbound_at: datetime | None = None
    peer: str = ""
    context: dict[str, str] | None = None
    replies_until: datetime | None = None


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
            MessageId: [],
            Attachment: [],
            Lead: [],
            Deal: [],
            Task: [],
            EscalationStep: [],
        }
    )
    continued: dict[int, Continued] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)

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
            suffix = "ON CONFLICT DO NOTHING" if model in (DuplicateCandidate, MessageId) else ""
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
            talks = list(self.continued.values())
            await connection.exec_driver_sql(
                _CONTINUE_TALKS,
                (
                    [talk.conversation_id for talk in talks],
                    [talk.count for talk in talks],
                    [talk.at for talk in talks],
                    [talk.said for talk in talks],
                    [talk.assignee_id for talk in talks],
                    [talk.waiting_since for talk in talks],
                    [talk.is_quiet for talk in talks],
                    [talk.is_answered for talk in talks],
                    [talk.inbound_at for talk in talks],
                    [talk.peer for talk in talks],
                    [json_text(talk.context) for talk in talks],
                    [talk.replies_until for talk in talks],
                ),
            )
        grown = [group for group in known.groups.values() if group.is_changed and group.row is None]
        if grown:
            await connection.exec_driver_sql(
                _GROW_GROUPS,
                (
                    [group.message_id for group in grown],
                    [group.text for group in grown],
                    [json_text(group.pieces or None) for group in grown],
                ),
            )
        await jobs.enqueue_many(session, self.jobs)
        await events.write(session, self.lines)
