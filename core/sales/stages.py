"""Editing pipelines: their stages, in which order, and what each stage asks for on entry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.kernel.errors import Conflict, NotFound, Rejected
from core.sales import pipelines
from core.sales.deals import Deal
from core.sales.pipelines import Category, Pipeline, Stage, StageRule
from core.staff import users


class Wanted(NamedTuple):
    """A stage as it shall be; without an id it is a new one."""

    name: str
    category: Category = Category.OPEN
    id: int | None = None


async def add_pipeline(
    session: AsyncSession,
    *,
    name: str,
    stages: Sequence[Wanted],
    at: datetime,
    is_default: bool = False,
    actor_id: int | None = None,
) -> Pipeline:
    """Make a pipeline with its stages in order.

    Raises:
        Rejected: a name is empty or given twice, or there is not an open, a won and a lost stage.
        Conflict: there is a pipeline of this name.
    """
    pipeline = Pipeline(name=await _free_name(session, name, None), is_default=False, created_at=at)
    session.add(pipeline)
    await session.flush()
    await _arrange(session, pipeline, stages, at=at)
    if is_default:
        await _make_default(session, pipeline)
    await _tell(session, "pipeline.added", pipeline.id, at=at, actor_id=actor_id)
    return pipeline


async def change_pipeline(
    session: AsyncSession,
    pipeline: Pipeline,
    *,
    name: str,
    stages: Sequence[Wanted],
    at: datetime,
    is_default: bool = False,
    actor_id: int | None = None,
) -> None:
    """Rename a pipeline and set its stages in order; a stage not among them is removed with its rules.

    The default pipeline stays the default until another one is made it.

    Raises:
        Rejected: as `add_pipeline`.
        Conflict: there is a pipeline of this name; or a stage with deals would go or change its category.
        NotFound: a stage is none of this pipeline's.
    """
    pipeline.name = await _free_name(session, name, pipeline.id)
    await _arrange(session, pipeline, stages, at=at)
    if is_default and not pipeline.is_default:
        await _make_default(session, pipeline)
    pipeline.version += 1
    await session.flush()
    await _tell(session, "pipeline.changed", pipeline.id, at=at, actor_id=actor_id)


async def _arrange(session: AsyncSession, pipeline: Pipeline, wanted: Sequence[Wanted], *, at: datetime) -> None:
    _check(wanted)
    present = {stage.id: stage for stage in await pipelines.stages_of(session, pipeline.id)}
    kept = {each.id for each in wanted if each.id is not None}
    if strange := kept - present.keys():
        raise NotFound("stage", min(strange))
    for stage_id, stage in present.items():
        if stage_id not in kept:
            await _require_empty(session, stage)
            await session.delete(stage)
    for position, each in enumerate(wanted):
        if each.id is None:
            session.add(
                Stage(
                    pipeline_id=pipeline.id,
                    name=each.name.strip(),
                    category=each.category.value,
                    position=position,
                    created_at=at,
                )
            )
            continue
        stage = present[each.id]
        if stage.category != each.category:
            await _require_empty(session, stage)
        if (stage.name, stage.category, stage.position) != (each.name.strip(), each.category, position):
            stage.name, stage.category, stage.position = each.name.strip(), each.category.value, position
            stage.version += 1
    await session.flush()


def _check(wanted: Sequence[Wanted]) -> None:
    names = [each.name.strip().casefold() for each in wanted]
    if not all(names):
        raise Rejected("A name is needed", field="stages")
    if len(set(names)) < len(names):
        raise Rejected("Two stages have the same name", field="stages")
    if {each.category for each in wanted} != set(Category):
        raise Rejected("A pipeline needs an open stage, one for won deals and one for lost ones", field="stages")


async def _require_empty(session: AsyncSession, stage: Stage) -> None:
    if await session.scalar(select(exists().where(Deal.stage_id == stage.id))):
        raise Conflict("There are deals in a stage that would go or end them; move them to another one first")


async def _make_default(session: AsyncSession, pipeline: Pipeline) -> None:
    await session.execute(
        update(Pipeline).where(Pipeline.is_default).values(is_default=False, version=Pipeline.version + 1)
    )
    pipeline.is_default = True
    await session.flush()


async def _free_name(session: AsyncSession, name: str, own_id: int | None) -> str:
    name = name.strip()
    if not name:
        raise Rejected("A name is needed", field="name")
    taken = select(Pipeline.id).where(Pipeline.name == name, Pipeline.id.is_distinct_from(own_id))
    if await session.scalar(taken) is not None:
        raise Conflict("There is already a pipeline called %(name)s", name=name)
    return name


async def add_rule(
    session: AsyncSession, stage: Stage, *, at: datetime, actor_id: int | None, **values: Any
) -> StageRule:
    """Have a stage ask for a task on entry. `values` are the columns of StageRule.

    Raises:
        Rejected: the title is empty, a number of minutes makes no sense, or the assignee does not work here.
    """
    await _check_rule(session, values)
    rule = StageRule(stage_id=stage.id, created_at=at, **values)
    session.add(rule)
    await session.flush()
    await _tell(session, "pipeline.changed", stage.pipeline_id, at=at, actor_id=actor_id)
    return rule


async def change_rule(
    session: AsyncSession, rule: StageRule, *, at: datetime, actor_id: int | None, **values: Any
) -> None:
    """Change what a stage asks for. Tasks that exist keep their deadlines.

    Raises:
        Rejected: as `add_rule`.
    """
    await _check_rule(session, values)
    for name, value in values.items():
        setattr(rule, name, value)
    await session.flush()
    stage = await pipelines.stage(session, rule.stage_id)
    await _tell(session, "pipeline.changed", stage.pipeline_id, at=at, actor_id=actor_id)


async def remove_rule(session: AsyncSession, rule: StageRule, *, at: datetime, actor_id: int | None) -> None:
    """Have a stage ask for it no more. Tasks that exist stay."""
    stage = await pipelines.stage(session, rule.stage_id)
    await session.delete(rule)
    await session.flush()
    await _tell(session, "pipeline.changed", stage.pipeline_id, at=at, actor_id=actor_id)


async def _check_rule(session: AsyncSession, values: dict[str, Any]) -> None:
    values["title"] = str(values["title"]).strip()
    if not values["title"]:
        raise Rejected("A title is needed", field="title")
    due, reminder = values["due_minutes"], values.get("reminder_minutes")
    if due < 1:
        raise Rejected("A task needs at least one minute", field="due_minutes")
    if reminder is not None and reminder >= due:
        raise Rejected("The reminder must come before the deadline", field="reminder_minutes")
    if values.get("assignee_id") is not None:
        await users.for_work(session, values["assignee_id"], field="assignee_id")


async def _tell(session: AsyncSession, kind: str, pipeline_id: int, *, at: datetime, actor_id: int | None) -> None:
    await events.record(session, kind, at, actor_id=actor_id, details={"pipeline_id": pipeline_id})
