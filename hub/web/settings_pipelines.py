"""Pipelines: their stages in order, and the tasks that stages give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web
from sqlalchemy import func, select

from core.sales import pipelines, stages
from core.sales.deals import Deal
from core.sales.pipelines import Category, Pipeline, Stage, StageRule
from core.sales.stages import Wanted
from core.staff import access, users
from hub.web.settings_forms import Fields, Refused, note, require_version, saved, sheet, tried
from hub.web.shown import Person
from hub.web.visits import Visit
from hub.web.words import N_

HERE = "/settings/pipelines"


@dataclass(frozen=True, slots=True)
class ShownRule:
    """A task that a stage gives."""

    id: int
    title: str
    kind: str
    due_minutes: int
    reminder_minutes: int | None
    escalation_text: str
    assignee: Person | None


@dataclass(frozen=True, slots=True)
class ShownStage:
    """A stage with its tasks."""

    id: int
    name: str
    category: str
    rules: list[ShownRule]


@dataclass(frozen=True, slots=True)
class ShownPipeline:
    """A pipeline with its stages."""

    id: int
    name: str
    is_default: bool
    stages: list[ShownStage]


async def index(visit: Visit) -> web.StreamResponse:
    """List the pipelines."""
    rules = list(await visit.session.scalars(select(StageRule).order_by(StageRule.id)))
    names = await users.names(visit.session, [rule.assignee_id for rule in rules])
    by_stage: dict[int, list[ShownRule]] = {}
    for rule in rules:
        assignee = None if rule.assignee_id is None else Person(rule.assignee_id, names.get(rule.assignee_id, ""))
        by_stage.setdefault(rule.stage_id, []).append(
            ShownRule(
                id=rule.id,
                title=rule.title,
                kind=rule.kind,
                due_minutes=rule.due_minutes,
                reminder_minutes=rule.reminder_minutes,
                escalation_text=_escalation(visit, rule.escalation),
                assignee=assignee,
            )
        )
    by_pipeline: dict[int, list[ShownStage]] = {}
    for stage in await visit.session.scalars(select(Stage).order_by(Stage.position, Stage.id)):
        by_pipeline.setdefault(stage.pipeline_id, []).append(
            ShownStage(stage.id, stage.name, stage.category, by_stage.get(stage.id, []))
        )
    found = await visit.session.scalars(select(Pipeline).order_by(Pipeline.is_default.desc(), Pipeline.id))
    shown = [ShownPipeline(row.id, row.name, row.is_default, by_pipeline.get(row.id, [])) for row in found]
    return visit.page("settings/pipelines.html", pipelines=shown)


def _escalation(visit: Visit, steps: list[dict[str, Any]]) -> str:
    said = []
    for step in steps:
        late = int(step.get("after", 0))
        if step.get("to") == "next":
            pattern = N_("then the next in the team") if late == 0 else N_("the next in the team after %(minutes)s min")
        else:
            pattern = N_("then the head") if late == 0 else N_("the head after %(minutes)s min")
        said.append(visit.translate(pattern) % {"minutes": late})
    return ", ".join(said)


async def blank(visit: Visit) -> web.StreamResponse:
    """Show the form for a new pipeline."""
    return await _form(visit, None, {"name": "", "stages": "", "is_default": False, "rows": []})


async def show(visit: Visit, pipeline_id: int) -> web.StreamResponse:
    """Show a pipeline as a form."""
    pipeline = await access.fetch(visit.session, visit.rights, Pipeline, pipeline_id)
    rows = [
        {"id": stage.id, "name": stage.name, "category": stage.category, "place": place}
        for place, stage in enumerate(await pipelines.stages_of(visit.session, pipeline.id), 1)
    ]
    values = {"name": pipeline.name, "stages": "", "is_default": pipeline.is_default, "rows": rows}
    return await _form(visit, pipeline, values)


async def add(visit: Visit) -> web.StreamResponse:
    """Make a pipeline; a stage for won deals and one for lost ones come by themselves."""
    try:
        fields = Fields(visit)
        name = fields.text("name", most=100, required=True)
        opened = fields.lines("stages", most=50)
        if not opened:
            fields.wrong("stages", N_("Name at least one stage"))
        fields.check()
        wanted = [
            *(Wanted(line) for line in opened),
            Wanted(visit.translate(N_("Won")), Category.WON),
            Wanted(visit.translate(N_("Lost")), Category.LOST),
        ]
        made = stages.add_pipeline(
            visit.session,
            name=name,
            stages=wanted,
            is_default=fields.ticked("is_default"),
            at=visit.hub.clock.now(),
            actor_id=visit.user.id,
        )
        pipeline = await tried(visit, made, conflict="name")
    except Refused as refused:
        return await _form(visit, None, _typed(visit, []), refused)
    note(visit, "pipeline.added", "pipeline", pipeline.id)
    return saved(visit, HERE, N_("Saved"))


async def change(visit: Visit, pipeline_id: int) -> web.StreamResponse:
    """Rename a pipeline; rename, order, add and take away stages."""
    pipeline = await access.fetch(visit.session, visit.rights, Pipeline, pipeline_id, change=True, lock=True)
    present = [stage.id for stage in await pipelines.stages_of(visit.session, pipeline.id)]

    async def put() -> None:
        require_version(visit, pipeline)
        await stages.change_pipeline(
            visit.session,
            pipeline,
            name=name,
            stages=wanted,
            is_default=fields.ticked("is_default"),
            at=visit.hub.clock.now(),
            actor_id=visit.user.id,
        )

    try:
        fields = Fields(visit)
        name = fields.text("name", most=100, required=True)
        wanted = _wanted(fields, visit, present)
        fields.check()
        await tried(visit, put())
    except Refused as refused:
        await visit.session.refresh(pipeline)
        return await _form(visit, pipeline, _typed(visit, present), refused)
    note(visit, "pipeline.changed", "pipeline", pipeline.id)
    return saved(visit, HERE, N_("Saved"))


def _wanted(fields: Fields, visit: Visit, present: list[int]) -> list[Wanted]:
    """Return the stages in the order of their numbers. One without a name goes; new ones follow the last open one."""
    placed: list[tuple[int, int, Wanted]] = []
    for index, stage_id in enumerate(present):
        if f"name_{stage_id}" not in visit.form:
            fields.wrong("stages", N_("A stage was added meanwhile. Reload the page and look"))
            continue
        name = fields.text(f"name_{stage_id}", most=100)
        place = fields.number(f"place_{stage_id}", most=1000)
        category = Category(fields.one_of(f"category_{stage_id}", tuple(each.value for each in Category)))
        if name:
            placed.append((index + 1 if place is None else place, index, Wanted(name, category, stage_id)))
    ordered = [wanted for _, _, wanted in sorted(placed)]
    last_open = max((n for n, each in enumerate(ordered, 1) if each.category is Category.OPEN), default=0)
    return ordered[:last_open] + [Wanted(line[:100]) for line in fields.lines("stages", most=50)] + ordered[last_open:]


def _typed(visit: Visit, present: list[int]) -> dict[str, Any]:
    return {
        "name": visit.field("name"),
        "stages": visit.field("stages"),
        "is_default": bool(visit.field("is_default")),
        "rows": [
            {
                "id": stage_id,
                "name": visit.field(f"name_{stage_id}"),
                "category": visit.field(f"category_{stage_id}"),
                "place": visit.field(f"place_{stage_id}"),
            }
            for stage_id in present
        ],
    }


async def _form(
    visit: Visit, pipeline: Pipeline | None, values: dict[str, Any], refused: Refused | None = None
) -> web.Response:
    ids = [row["id"] for row in values["rows"]]
    counted = await visit.session.execute(
        select(Deal.stage_id, func.count()).where(Deal.stage_id.in_(ids)).group_by(Deal.stage_id)
    )
    return sheet(
        visit,
        "settings/_pipeline.html",
        N_("Pipeline") if pipeline else N_("New pipeline"),
        refused=refused,
        pipeline=pipeline,
        values=values,
        deals={row[0]: row[1] for row in counted},
    )
