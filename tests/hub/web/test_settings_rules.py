"""Settings pages of working hours, routing rules, pipelines and the tasks of stages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Pipeline, Stage, StageRule
from core.staff.teams import Team
from core.staff.users import Role
from core.staff.workspace import Workspace
from core.work.routing_rules import RoutingRule
from core.work.tasks import Task
from tests.conftest import VERA

HOSTILE = "<b onmouseover=alert(1)>"
WEEK = {f"week_{day}": "09:00-18:00" for day in range(5)}


@pytest.fixture
async def owner(take_on, browser_of):
    return await browser_of(await take_on("Olga", Role.OWNER, password=True, team_ids=[]))


async def _tasks_due(owner, webform, drain, all_of) -> datetime:
    await owner.client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    (task,) = await all_of(Task)
    return task.due_at


async def test_hours_set_by_the_page_move_the_next_deadline(owner, hub, webform, take_on, drain, all_of, clock):
    await take_on("Anna")
    clock.set(datetime(2026, 11, 27, 14, 55, tzinfo=UTC))  # a Friday, 17:55 in Moscow
    page = (await owner.get("/settings/hours")).text
    assert 'value="09:00-18:00"' in page
    answer = await owner.post_plainly(
        "/settings/hours",
        time_zone="Europe/Moscow",
        holidays_country="RU",
        days="2026-11-30\n2026-12-01 10-14:30",
        version="1",
        **WEEK,
    )
    assert answer.status == 303, answer.text
    assert "Saved" in (await owner.get(answer.headers["Location"])).text
    due_at = await _tasks_due(owner, webform, drain, all_of)
    # five minutes on Friday, Monday is off, ten minutes from ten o'clock on Tuesday
    assert due_at == datetime(2026, 12, 1, 7, 10, tzinfo=UTC)
    shown = (await owner.get("/settings/hours")).text
    assert "2026-12-01 10:00-14:30" in shown and "2026-11-30" in shown
    assert "Next holidays" in shown


async def test_without_hours_every_minute_counts(owner, webform, take_on, drain, all_of, clock):
    await take_on("Anna")
    assert await _tasks_due(owner, webform, drain, all_of) == clock.now() + timedelta(minutes=15)


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"week_1": "nine to five"}, "week_1"),
        ({"week_6": "09:00-25:00"}, "week_6"),
        ({"week_2": "09:00-13:00, 12:00-18:00"}, "week_2"),
        ({"days": "31.12.2026 09:00-14:00"}, "days"),
        ({"days": "2026-02-30"}, "days"),
        ({"time_zone": "Mars/Base"}, "time_zone"),
        ({"holidays_country": "ZZ"}, "holidays_country"),
        ({f"week_{day}": "" for day in range(5)}, "week_0"),
    ],
)
async def test_wrong_hours_are_told_at_the_field_and_kept_as_typed(owner, all_of, hub, typed, field):
    answer = await owner.post_plainly("/settings/hours", **({"time_zone": "Europe/Moscow"} | WEEK | typed))
    assert answer.status == 422
    assert f'id="{field}-error"' in answer.text
    if field != "holidays_country":  # a list cannot show what is not on it
        assert next(iter(typed.values())) in answer.text
    async with hub.database.reading() as session:
        assert (await session.get(Workspace, 1)).version == 1


async def test_stale_hours_are_not_saved_over_newer_ones(owner, hub):
    form = {"time_zone": "Europe/Moscow", **WEEK}
    assert (await owner.post_plainly("/settings/hours", **form, version=1)).status == 303
    stale = await owner.post_plainly("/settings/hours", **form | {"week_0": "10:00-11:00"}, version=1)
    assert stale.status == 412 and 'value="10:00-11:00"' in stale.text


async def test_a_rule_made_by_the_page_routes_the_next_lead(owner, hub, webform, take_on, drain, all_of):
    await take_on("Anna")
    boris = await take_on("Boris", team_ids=[])
    answer = await owner.post(
        "/settings/routing",
        title="Google",
        source="google, bing",
        country="ru",
        connection_id=webform.id,
        hours="in",
        field_name="city",
        field_value="Tallinn, Tartu",
        target=f"user:{boris.id}",
        is_active="yes",
    )
    assert answer.status == 204, answer.text
    (rule,) = await all_of(RoutingRule)
    assert rule.conditions == {
        "connection_id": [webform.id],
        "source": ["google", "bing"],
        "country": ["RU"],
        "fields": {"city": ["Tallinn", "Tartu"]},
        "hours": "in",
    }
    page = (await owner.get("/settings/routing")).text
    for said in ("over Website", "google or bing", "phone from RU", "city is Tallinn or Tartu", "in working hours"):
        assert said in page
    await owner.client.post(f"/hooks/{webform.key}", data=VERA | {"city": "Tartu"})
    await drain()
    (lead,) = await all_of(Lead)
    assert lead.owner_id == boris.id


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"title": ""}, "title"),
        ({"country": "Russia"}, "country"),
        ({"hours": "sometimes"}, "hours"),
        ({"field_name": "city"}, "field_value"),
        ({"field_value": "Tartu"}, "field_name"),
        ({"target": ""}, "target"),
        ({"target": "team:999999"}, "target"),
        ({"connection_id": "999999"}, "connection_id"),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_at_its_field(owner, all_of, typed, field):
    (team, *_) = await all_of(Team)
    answer = await owner.post("/settings/routing", **({"title": "Rule", "target": f"team:{team.id}"} | typed))
    assert answer.status == 422, answer.text
    assert f'id="{field}-error"' in answer.text
    assert await all_of(RoutingRule) == []


async def test_rules_are_ordered_switched_off_and_removed(owner, hub, all_of):
    (team, *_) = await all_of(Team)
    for title in ("First", "Second", HOSTILE):
        await owner.post("/settings/routing", title=title, target=f"team:{team.id}", is_active="yes")
    first, _, third = await all_of(RoutingRule)
    assert (await owner.post(f"/settings/routing/{third.id}/position", by=-1)).status == 204
    assert (await owner.post(f"/settings/routing/{first.id}/position", by=-1)).status == 204
    assert (await owner.post(f"/settings/routing/{first.id}/position", by=7)).status == 422
    page = (await owner.get("/settings/routing")).text
    assert HOSTILE not in page
    assert page.index("First") < page.index("onmouseover") < page.index("Second")
    path = f"/settings/routing/{first.id}"
    off = await owner.post(path, title="First", target=f"team:{team.id}", version=first.version)
    assert off.status == 204
    assert not (await all_of(RoutingRule))[0].is_active
    assert (await owner.post(path, title="x", target=f"team:{team.id}", version=first.version)).status == 412
    assert (await owner.post(f"{path}/removal")).status == 204
    assert len(await all_of(RoutingRule)) == 2


async def test_what_the_form_cannot_show_of_a_rule_is_kept(owner, hub, webform, all_of):
    (team, *_) = await all_of(Team)
    conditions = {"kind": ["webform"], "fields": {"city": ["Tartu"], "size": ["big"]}, "connection_id": [webform.id, 5]}
    async with hub.database.transaction() as session:
        rule = RoutingRule(
            title="Big", position=1, conditions=conditions, team_id=team.id, is_active=True, created_at=hub.clock.now()
        )
        session.add(rule)
    answer = await owner.post(
        f"/settings/routing/{rule.id}",
        title="Bigger",
        connection_id=webform.id,
        field_name="city",
        field_value="Narva",
        target=f"team:{team.id}",
    )
    assert answer.status == 204
    (rule,) = await all_of(RoutingRule)
    assert rule.conditions == conditions | {"fields": {"city": ["Narva"], "size": ["big"]}}


async def test_a_pipeline_is_made_with_won_and_lost_at_its_end(owner, all_of):
    answer = await owner.post("/settings/pipelines", name="Repairs", stages="Call\n\n Visit \nRepair")
    assert answer.status == 204
    pipeline = (await all_of(Pipeline))[-1]
    stages = sorted((s for s in await all_of(Stage) if s.pipeline_id == pipeline.id), key=lambda s: s.position)
    assert [(s.name, s.category) for s in stages] == [
        ("Call", "open"), ("Visit", "open"), ("Repair", "open"), ("Won", "won"), ("Lost", "lost")
    ]  # fmt: skip
    assert "Repairs" in (await owner.get("/settings/pipelines")).text
    again = await owner.post("/settings/pipelines", name="Repairs", stages="Call")
    assert again.status == 409 and 'id="name-error"' in again.text
    empty = await owner.post("/settings/pipelines", name="", stages="")
    assert 'id="name-error"' in empty.text and 'id="stages-error"' in empty.text


def _rows(stages, **changes):
    form = {}
    for place, stage in enumerate(stages, 1):
        form |= {f"name_{stage.id}": stage.name, f"place_{stage.id}": place, f"category_{stage.id}": stage.category}
    return form | changes


async def test_stages_are_renamed_ordered_added_and_taken_away_but_not_with_deals(
    owner, hub, webform, take_on, drain, all_of
):
    await take_on("Anna")
    await owner.client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    (deal,) = await all_of(Deal)
    (pipeline,) = await all_of(Pipeline)
    stages = sorted(await all_of(Stage), key=lambda s: s.position)
    first, second = stages[0], stages[1]
    path = f"/settings/pipelines/{pipeline.id}"
    assert f'name="name_{first.id}"' in (await owner.part(path)).text
    changes = {f"name_{first.id}": HOSTILE, f"place_{first.id}": 2, f"place_{second.id}": 1}
    answer = await owner.post(path, name="Sales", stages="Extra", version=1, **_rows(stages, **changes))
    assert answer.status == 204, answer.text
    after = sorted(await all_of(Stage), key=lambda s: s.position)
    names = [s.name for s in after]
    assert names[:2] == [second.name, HOSTILE]
    assert names[-3:] == ["Extra", "Won", "Lost"]
    assert HOSTILE not in (await owner.get("/settings/pipelines")).text
    (deal,) = await all_of(Deal)
    assert deal.stage_id == first.id

    taken = await owner.post(path, name="Sales", **_rows(after, **{f"name_{first.id}": ""}))
    assert taken.status == 409 and "There are deals" in taken.text
    closed = await owner.post(path, name="Sales", **_rows(after, **{f"category_{first.id}": "won"}))
    assert closed.status == 409
    gone = await owner.post(path, name="Sales", **_rows(after, **{f"name_{second.id}": ""}))
    assert gone.status == 204
    assert second.id not in [s.id for s in await all_of(Stage)]
    assert (await owner.post(path, name="Sales", version=1, **_rows(await all_of(Stage)))).status == 412


async def test_a_stage_rule_made_by_the_page_gives_the_task(owner, hub, webform, take_on, drain, all_of, clock):
    anna = await take_on("Anna")
    stage = min(await all_of(Stage), key=lambda s: s.position)
    assert (await owner.part(f"/settings/stage-rules/new?stage={stage.id}")).status == 200
    form = {"stage_id": stage.id, "title": "Measure", "kind": "visit", "due_minutes": "120", "reminder_minutes": "60"}
    answer = await owner.post(
        "/settings/stage-rules", **form, escalate_next="30", escalate_head="0", assignee_id=anna.id
    )
    assert answer.status == 204, answer.text
    rule = (await all_of(StageRule))[-1]
    assert rule.escalation == [{"after": 0, "to": "head"}, {"after": 30, "to": "next"}]
    page = (await owner.get("/settings/pipelines")).text
    assert "Measure" in page and "the next in the team after 30 min" in page
    await owner.client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    task = next(task for task in await all_of(Task) if task.title == "Measure")
    assert (task.kind, task.due_at) == ("visit", clock.now() + timedelta(minutes=120))

    path = f"/settings/stage-rules/{rule.id}"
    late = await owner.post(path, title="Measure", kind="visit", due_minutes="60", reminder_minutes="60")
    assert late.status == 422 and 'id="reminder_minutes-error"' in late.text
    assert (await owner.post(path, title="Measure", kind="visit", due_minutes="90")).status == 204
    assert (await all_of(StageRule))[-1].escalation == []
    assert (await owner.post(f"{path}/removal")).status == 204
    assert rule.id not in [r.id for r in await all_of(StageRule)]


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"title": ""}, "title"),
        ({"due_minutes": ""}, "due_minutes"),
        ({"due_minutes": "0"}, "due_minutes"),
        ({"escalate_head": "soon"}, "escalate_head"),
        ({"kind": "dance"}, "kind"),
        ({"assignee_id": "999999"}, "assignee_id"),
    ],
)
async def test_a_stage_rule_that_makes_no_sense_is_refused_at_its_field(owner, all_of, typed, field):
    stage, rules = (await all_of(Stage))[0], await all_of(StageRule)
    form = {"stage_id": stage.id, "title": "Measure", "kind": "visit", "due_minutes": "120"}
    answer = await owner.post("/settings/stage-rules", **(form | typed))
    assert answer.status == 422
    assert f'id="{field}-error"' in answer.text
    assert len(await all_of(StageRule)) == len(rules)
