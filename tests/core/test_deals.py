"""Deals and leads: moved, won, lost, reopened and given away, each with its line in the diary."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from core.kernel.errors import NotFound, Rejected
from core.kernel.events import TimelineEvent
from core.people.contacts import Contact
from core.sales import deals, leads, pipelines
from core.sales.deals import Deal, Outcome
from core.sales.leads import Lead, LeadStatus
from core.sales.pipelines import Pipeline, Stage
from core.work import stage_tasks
from core.work.tasks import EscalationStep, Task
from tests.conftest import MONDAY_TEN as NOW


@pytest.fixture
async def stages(session):
    pipeline = await pipelines.default(session)
    return {stage.name: stage for stage in await pipelines.stages_of(session, pipeline.id)}


@pytest.fixture
async def deal(session, stages):
    session.add(contact := Contact(name="Vera", created_at=NOW))
    await session.flush()
    session.add(lead := Lead(contact_id=contact.id, source="webform", created_at=NOW))
    await session.flush()
    first = stages["First call"]
    session.add(
        made := Deal(
            title="Windows", contact_id=contact.id, lead_id=lead.id, pipeline_id=first.pipeline_id, stage_id=first.id,
            currency="RUB", stage_entered_at=NOW, created_at=NOW,
        )
    )  # fmt: skip
    await session.flush()
    return made


async def _diary(session):
    return list(await session.scalars(select(TimelineEvent.kind).order_by(TimelineEvent.id)))


async def test_a_move_is_noted_and_takes_the_lead_along(session, deal, stages):
    later = NOW + timedelta(hours=1)
    assert await deals.move(session, deal, stages["Qualified"], at=later, actor_id=None)
    assert (deal.stage_id, deal.stage_entered_at, deal.version) == (stages["Qualified"].id, later, 2)
    assert await _diary(session) == ["deal.stage_changed", "lead.converted"]
    assert (await leads.get(session, deal.lead_id)).status == LeadStatus.CONVERTED
    assert not await deals.move(session, deal, stages["Qualified"], at=later, actor_id=None)
    assert len(await _diary(session)) == 2


async def test_a_won_deal_is_closed_and_one_moved_back_is_open_again(session, deal, stages):
    await deals.win(session, deal, at=NOW, actor_id=None)
    assert (deal.outcome, deal.closed_at, deal.is_open) == (Outcome.WON, NOW, False)
    with pytest.raises(Rejected):
        await deals.win(session, deal, at=NOW, actor_id=None)
    with pytest.raises(Rejected):
        await deals.lose(session, deal, at=NOW, reason="no", actor_id=None)
    await deals.move(session, deal, stages["Proposal"], at=NOW, actor_id=None)
    assert (deal.outcome, deal.closed_at) == (Outcome.OPEN, None)
    assert "deal.won" in await _diary(session) and "deal.reopened" in await _diary(session)


async def test_losing_needs_a_reason_and_keeps_it(session, deal):
    with pytest.raises(Rejected) as refused:
        await deals.lose(session, deal, at=NOW, reason="  ", actor_id=None)
    assert refused.value.field == "reason"
    assert deal.is_open
    await deals.lose(session, deal, at=NOW, reason=" Too expensive ", actor_id=None)
    assert (deal.outcome, deal.lost_reason) == (Outcome.LOST, "Too expensive")
    assert await deals.open_of(session, deal.contact_id) == []


async def test_a_stage_of_another_pipeline_is_refused(session, deal):
    session.add(pipeline := Pipeline(name="Repairs", created_at=NOW))
    await session.flush()
    session.add(stage := Stage(pipeline_id=pipeline.id, name="Asked", position=0, created_at=NOW))
    await session.flush()
    with pytest.raises(Rejected):
        await deals.move(session, deal, stage, at=NOW, actor_id=None)
    deal.pipeline_id, deal.stage_id = pipeline.id, stage.id
    with pytest.raises(Rejected, match="no stage"):
        await deals.win(session, deal, at=NOW, actor_id=None)


@pytest.mark.parametrize("values", [{"amount": -1}, {"outcome": "won"}, {"closed_at": NOW}])
async def test_the_database_itself_refuses_what_cannot_be(session, deal, values):
    for name, value in values.items():
        setattr(deal, name, value)
    with pytest.raises(IntegrityError):
        await session.flush()


@pytest.mark.parametrize("status", [LeadStatus.JUNK, LeadStatus.UNQUALIFIED])
async def test_a_lead_is_closed_once_and_for_a_reason(session, deal, status):
    lead = await leads.get(session, deal.lead_id)
    with pytest.raises(Rejected):
        await leads.disqualify(session, lead, at=NOW, status=LeadStatus.CONVERTED, reason="x", actor_id=None)
    await leads.disqualify(session, lead, at=NOW, status=status, reason=" spam ", actor_id=None)
    assert (lead.status, lead.closed_at, lead.closed_because) == (status, NOW, "spam")
    with pytest.raises(Rejected):
        await leads.disqualify(session, lead, at=NOW, status=status, reason="again", actor_id=None)
    with pytest.raises(Rejected):
        await leads.convert(session, lead, at=NOW, deal_id=deal.id, actor_id=None)


async def test_entering_a_stage_gives_its_tasks_with_deadlines_and_steps(session, deal, stages):
    deal.owner_id = None
    (task_id,) = await stage_tasks.enter(session, deal, stages["First call"], at=NOW)
    task = await session.get(Task, task_id)
    steps = (
        await session.execute(select(EscalationStep.action, EscalationStep.due_at).order_by(EscalationStep.position))
    ).all()
    assert (task.title, task.due_at) == ("Call back", NOW + timedelta(minutes=15))
    assert [tuple(step) for step in steps] == [
        ("remind", NOW + timedelta(minutes=10)),
        ("breach", NOW + timedelta(minutes=15)),
        ("head", NOW + timedelta(minutes=15)),
    ]
    assert await stage_tasks.enter(session, deal, stages["Qualified"], at=NOW) == []


@pytest.mark.parametrize("get", [deals.get, leads.get, pipelines.stage])
async def test_what_is_not_there_is_not_found(session, get):
    with pytest.raises(NotFound):
        await get(session, 999_999)
