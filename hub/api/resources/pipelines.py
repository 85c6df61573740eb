"""Pipelines with their stages."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import exists, func, select, update

from core.kernel.errors import Conflict, NotFound, Rejected
from core.sales import pipelines
from core.sales.deals import Deal
from core.sales.pipelines import Pipeline, Stage
from core.staff import access
from hub.api import records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Body, Id, Moment, Page, View

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Category = Literal["open", "won", "lost"]
Position = Annotated[int, Meta(ge=0, le=1_000_000)]


class StageView(View):
    """A step of a pipeline."""

    id: Id
    pipeline_id: Id
    name: str
    position: int
    category: Category
    version: int


class PipelineView(View):
    """A way of selling, with its stages in order."""

    id: Id
    name: str
    is_default: bool
    stages: list[StageView]
    created_at: Moment
    version: int


class NewStage(Body):
    """A stage. Without a position it comes last."""

    name: Name
    category: Category = "open"
    position: Position | None = None


class StageChange(Body):
    """What is to change; what is left out stays."""

    name: Name | UnsetType = UNSET
    category: Category | UnsetType = UNSET
    position: Position | UnsetType = UNSET


class NewPipeline(Body):
    """A pipeline with its stages in order. Without stages it has one open, one won and one lost."""

    name: Name
    stages: Annotated[tuple[NewStage, ...], Meta(max_length=50)] = ()


class PipelineChange(Body):
    """What is to change. There is always one default: making another one the default takes it from the former."""

    name: Name | UnsetType = UNSET
    is_default: Literal[True] | UnsetType = UNSET


PIPELINES = Listing("pipelines", unique=Pipeline.id, sorts={"id": Pipeline.id, "name": Pipeline.name}, default="id")


def _stage_view(stage: Stage) -> StageView:
    return StageView(
        id=Id(stage.id),
        pipeline_id=Id(stage.pipeline_id),
        name=stage.name,
        position=stage.position,
        category=stage.category,  # type: ignore[arg-type]
        version=stage.version,
    )


async def _views(call: Call, rows: list[Pipeline]) -> list[PipelineView]:
    found = await call.session.scalars(
        select(Stage).where(Stage.pipeline_id.in_([row.id for row in rows])).order_by(Stage.position, Stage.id)
    )
    stages: dict[int, list[StageView]] = {}
    for stage in found:
        stages.setdefault(stage.pipeline_id, []).append(_stage_view(stage))
    return [
        PipelineView(
            id=Id(row.id),
            name=row.name,
            is_default=row.is_default,
            stages=stages.get(row.id, []),
            created_at=row.created_at,
            version=row.version,
        )
        for row in rows
    ]


async def index(call: Call, query: ListQuery) -> Page[PipelineView]:
    """List pipelines."""
    found = await PIPELINES.page(call.session, access.narrow(select(Pipeline), call.rights, Pipeline), query)
    return Page(items=await _views(call, found.rows), next=found.next)


async def show(call: Call, pipeline_id: Id) -> PipelineView:
    """Show a pipeline."""
    return (await _views(call, [await records.seen(call, Pipeline, pipeline_id)]))[0]


async def add(call: Call, body: NewPipeline) -> PipelineView:
    """Add a pipeline."""
    call.rights.require_manage()
    await _check_name(call, body.name)
    pipeline = Pipeline(name=body.name.strip(), is_default=False, created_at=call.now)
    call.session.add(pipeline)
    await call.session.flush()
    chosen = body.stages or (
        NewStage(name="New"),
        NewStage(name="Won", category="won"),
        NewStage(name="Lost", category="lost"),
    )
    for position, stage in enumerate(chosen):
        call.session.add(_new_stage(call, pipeline.id, stage, position))
    await call.session.flush()
    records.note(call, "pipeline.added", "pipeline", pipeline.id)
    return (await _views(call, [pipeline]))[0]


async def change(call: Call, pipeline_id: Id, body: PipelineChange) -> PipelineView:
    """Change a pipeline."""
    pipeline = await records.managing(call, Pipeline, pipeline_id)
    if body.name is not UNSET and body.name.strip() != pipeline.name:
        await _check_name(call, body.name)
        pipeline.name = body.name.strip()
    if body.is_default is not UNSET and not pipeline.is_default:
        await call.session.execute(
            update(Pipeline).where(Pipeline.is_default).values(is_default=False, version=Pipeline.version + 1)
        )
        pipeline.is_default = True
    pipeline.version += 1
    records.note(call, "pipeline.changed", "pipeline", pipeline.id)
    await call.session.flush()
    return (await _views(call, [pipeline]))[0]


async def _check_name(call: Call, name: str) -> None:
    if not name.strip():
        raise Rejected("A name is needed", field="name")
    if await call.session.scalar(select(exists().where(Pipeline.name == name.strip()))):
        raise Conflict(f"There is already a pipeline called {name.strip()}")


def _new_stage(call: Call, pipeline_id: int, stage: NewStage, last: int) -> Stage:
    if not stage.name.strip():
        raise Rejected("A name is needed", field="name")
    return Stage(
        pipeline_id=pipeline_id,
        name=stage.name.strip(),
        category=stage.category,
        position=last if stage.position is None else stage.position,
        created_at=call.now,
    )


async def list_stages(call: Call, pipeline_id: Id) -> Page[StageView]:
    """List the stages of a pipeline, in order."""
    pipeline = await records.seen(call, Pipeline, pipeline_id)
    return Page(items=[_stage_view(stage) for stage in await pipelines.stages_of(call.session, pipeline.id)], next=None)


async def show_stage(call: Call, pipeline_id: Id, stage_id: Id) -> StageView:
    """Show a stage."""
    return _stage_view(await _stage(call, pipeline_id, stage_id))


async def add_stage(call: Call, pipeline_id: Id, body: NewStage) -> StageView:
    """Add a stage to a pipeline."""
    pipeline = await records.managing(call, Pipeline, pipeline_id)
    last = await call.session.scalar(select(func.max(Stage.position)).where(Stage.pipeline_id == pipeline.id))
    stage = _new_stage(call, pipeline.id, body, 0 if last is None else last + 1)
    call.session.add(stage)
    await call.session.flush()
    records.note(call, "stage.added", "stage", stage.id)
    return _stage_view(stage)


async def change_stage(call: Call, pipeline_id: Id, stage_id: Id, body: StageChange) -> StageView:
    """Change a stage. Its category can change only while no deal is in it."""
    call.rights.require_manage()
    await _stage(call, pipeline_id, stage_id)
    stage = await records.managing(call, Stage, stage_id)
    values = records.given(body)
    if values.get("category", stage.category) != stage.category and await _has_deals(call, stage):
        raise Conflict("There are deals in this stage; move them to another one first")
    for name, value in values.items():
        setattr(stage, name, value)
    stage.version += 1
    records.note(call, "stage.changed", "stage", stage.id, {"fields": sorted(values)})
    return _stage_view(stage)


async def remove_stage(call: Call, pipeline_id: Id, stage_id: Id) -> None:
    """Remove a stage that no deal is in, with its rules."""
    call.rights.require_manage()
    await _stage(call, pipeline_id, stage_id)
    stage = await records.managing(call, Stage, stage_id)
    if await _has_deals(call, stage):
        raise Conflict("There are deals in this stage; move them to another one first")
    await call.session.delete(stage)
    records.note(call, "stage.removed", "stage", stage.id)


async def _stage(call: Call, pipeline_id: int, stage_id: int) -> Stage:
    stage = await records.seen(call, Stage, stage_id)
    if stage.pipeline_id != pipeline_id:
        raise NotFound("stage", stage_id)
    return stage


async def _has_deals(call: Call, stage: Stage) -> bool:
    return bool(await call.session.scalar(select(exists().where(Deal.stage_id == stage.id))))


ENDPOINTS = (
    Endpoint("GET", "/pipelines", index, listing=PIPELINES),
    Endpoint("POST", "/pipelines", add, status=201, refuses=(409,)),
    Endpoint("GET", "/pipelines/{pipeline_id}", show),
    Endpoint("PATCH", "/pipelines/{pipeline_id}", change, refuses=(409,)),
    Endpoint("GET", "/pipelines/{pipeline_id}/stages", list_stages),
    Endpoint("POST", "/pipelines/{pipeline_id}/stages", add_stage, status=201),
    Endpoint("GET", "/pipelines/{pipeline_id}/stages/{stage_id}", show_stage),
    Endpoint("PATCH", "/pipelines/{pipeline_id}/stages/{stage_id}", change_stage, refuses=(409,)),
    Endpoint("DELETE", "/pipelines/{pipeline_id}/stages/{stage_id}", remove_stage, refuses=(409,)),
)
