"""When nobody acts: reminder, deadline, the next one, the head; each once, by the working-hours clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from core.kernel import events
from core.kernel.errors import Rejected
from core.sales.pipelines import StageRule
from core.staff import absences
from core.staff.teams import TeamMember
from core.staff.users import Role, User
from core.staff.workspace import Workspace
from core.work import escalation, tasks
from core.work.notifications import Notification
from core.work.tasks import EscalationStep, Task
from hub.worker import run_deadlines
from tests.conftest import VERA

OFFICE = {
    "time_zone": "Europe/Moscow",
    "week": {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")},
    "holidays_country": "RU",
}
LADDER = [{"after": 0, "to": "head"}, {"after": 10, "to": "next"}, {"after": 20, "to": "head"}]


async def _told(hub):
    async with hub.database.reading() as session:
        rows = await session.execute(select(Notification.user_id, Notification.kind).order_by(Notification.id))
        return [tuple(row) for row in rows if row.kind.startswith("task.")]


async def _task(hub):
    async with hub.database.reading() as session:
        (task,) = list(await session.scalars(select(Task)))
        return task


async def _minutes(clock, drain, count):
    for _ in range(count):
        clock.advance(timedelta(minutes=1))
        await drain()


@pytest.fixture
async def ladder(hub):
    async with hub.database.transaction() as session:
        await session.execute(update(StageRule).values(escalation=LADDER))


async def test_each_step_is_told_once_and_in_its_time(client, hub, webform, take_on, drain, clock, ladder):
    anna, boris, head = await take_on("Anna"), await take_on("Boris"), await take_on("Kirill", Role.HEAD)
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    expected = {
        10: (anna.id, "task.reminder"),
        15: (anna.id, "task.overdue"),
        25: (boris.id, "task.escalated"),
    }
    told = []
    for minute in range(1, 60):
        await _minutes(clock, drain, 1)
        now = await _told(hub)
        new, told = now[len(told) :], now
        if minute == 15:
            assert sorted(new) == sorted([(anna.id, "task.overdue"), (head.id, "task.escalated")])
        else:
            assert new == ([expected[minute]] if minute in expected else []), minute
    task = await _task(hub)
    assert (task.breached_at, task.assignee_id, task.escalated_to) == (task.due_at, boris.id, [head.id, boris.id])


async def test_two_workers_at_once_do_each_step_once(client, hub, webform, take_on, drain, clock):
    for name in ("Anna", "Boris"):
        await take_on(name)
    await take_on("Kirill", Role.HEAD)
    for number in range(15):
        await client.post(f"/hooks/{webform.key}", data={"email": f"p{number}@example.com"})
    await drain()
    clock.advance(timedelta(hours=1))
    while sum(await asyncio.gather(*(run_deadlines(hub) for _ in range(3)))):
        pass
    async with hub.database.reading() as session:
        lines = list(
            await session.execute(
                text("SELECT kind, task_id, user_id FROM events WHERE kind LIKE 'task.%' AND kind <> 'task.created'")
            )
        )
        left = await session.scalar(text("SELECT count(*) FROM escalation_steps WHERE due_at IS NOT NULL"))
    assert len(lines) == len(set(lines)) == 45
    assert left == 0


async def test_a_worker_that_dies_in_the_middle_leaves_the_steps_to_the_next(
    client, hub, webform, take_on, drain, clock
):
    anna = await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    clock.advance(timedelta(minutes=12))
    with pytest.raises(ZeroDivisionError):
        async with hub.database.transaction() as session:
            assert await escalation.run_due(session, now=clock.now()) == 1
            raise ZeroDivisionError
    await drain()
    await drain()
    assert await _told(hub) == [(anna.id, "task.reminder")]


@pytest.mark.parametrize("end", ["complete", "cancel"])
async def test_a_task_that_is_over_troubles_nobody(client, hub, webform, take_on, drain, clock, end):
    anna = await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    async with hub.database.transaction() as session:
        task = await tasks.get(session, (await _task(hub)).id)
        await getattr(tasks, end)(session, task, at=clock.now(), actor_id=anna.id)
    await _minutes(clock, drain, 30)
    assert await _told(hub) == []
    assert (await _task(hub)).breached_at is None


async def test_a_task_that_is_being_finished_just_then_is_let_be(client, hub, webform, take_on, drain, clock):
    anna = await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    clock.advance(timedelta(minutes=30))
    async with hub.database.reading() as session:
        task = await session.get(Task, (await _task(hub)).id, with_for_update=True)
        assert await asyncio.wait_for(run_deadlines(hub), 5) == 0
        await tasks.complete(session, task, at=clock.now(), actor_id=anna.id)
        await session.commit()
    assert await run_deadlines(hub) == 0
    assert await _told(hub) == []


async def test_postponing_moves_what_has_not_happened(client, hub, webform, take_on, drain, clock):
    anna = await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    async with hub.database.transaction() as session:
        task = await tasks.get(session, (await _task(hub)).id)
        await tasks.postpone(session, task, to=clock.now() + timedelta(minutes=45), at=clock.now(), actor_id=anna.id)
    await _minutes(clock, drain, 39)
    assert await _told(hub) == []
    await _minutes(clock, drain, 2)
    assert await _told(hub) == [(anna.id, "task.reminder")]
    await _minutes(clock, drain, 5)
    assert (anna.id, "task.overdue") in await _told(hub)


async def test_postponing_a_missed_task_keeps_the_miss_and_watches_the_new_time(
    client, hub, webform, take_on, drain, clock
):
    anna = await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    await _minutes(clock, drain, 16)
    missed = (await _task(hub)).breached_at
    async with hub.database.transaction() as session:
        task = await tasks.get(session, (await _task(hub)).id)
        with pytest.raises(Rejected):
            await tasks.postpone(session, task, to=clock.now(), at=clock.now(), actor_id=anna.id)
        await tasks.postpone(session, task, to=clock.now() + timedelta(minutes=5), at=clock.now(), actor_id=anna.id)
    assert not (await _task(hub)).is_overdue(clock.now())
    await _minutes(clock, drain, 6)
    assert (await _told(hub)).count((anna.id, "task.overdue")) == 2
    assert (await _task(hub)).breached_at == missed


@pytest.mark.parametrize("heads", ["team's leader", "head", "owner"])
async def test_of_a_task_nobody_has_the_heads_hear(client, hub, webform, take_on, drain, clock, heads):
    anna, owner = await take_on("Anna"), await take_on("Olga", Role.OWNER)
    hearing = owner
    if heads != "owner":
        hearing = await take_on("Kirill", Role.HEAD)
    async with hub.database.transaction() as session:
        if heads == "team's leader":
            await session.execute(update(TeamMember).values(leads=False))
            session.add(
                TeamMember(team_id=(await session.scalar(text("SELECT id FROM teams"))), user_id=owner.id, leads=True)
            )
            hearing = owner
        await absences.add(
            session, user_id=anna.id, starts_at=clock.now(), ends_at=clock.now() + timedelta(days=9), at=clock.now()
        )
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    await _minutes(clock, drain, 20)
    told = await _told(hub)
    assert told.count((hearing.id, "task.reminder")) == 1
    assert told.count((hearing.id, "task.escalated")) == 1
    assert {user_id for user_id, _ in told} == {hearing.id}


async def test_of_a_missed_task_without_a_ladder_that_nobody_has_the_heads_hear_too(hub, take_on, drain, clock):
    head = await take_on("Kirill", Role.HEAD)
    async with hub.database.transaction() as session:
        await tasks.add(session, title="Call", at=clock.now(), due_at=clock.now() + timedelta(minutes=5))
    await _minutes(clock, drain, 7)
    assert await _told(hub) == [(head.id, "task.overdue")]


async def test_the_next_one_is_somebody_there_who_was_not_asked_before(client, hub, webform, take_on, drain, clock):
    async with hub.database.transaction() as session:
        await session.execute(update(StageRule).values(escalation=[{"after": n, "to": "next"} for n in (1, 2, 3)]))
    _, boris, clara = [await take_on(name) for name in ("Anna", "Boris", "Clara")]
    async with hub.database.transaction() as session:
        await absences.add(
            session, user_id=boris.id, starts_at=clock.now(), ends_at=clock.now() + timedelta(days=9), at=clock.now()
        )
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    await _minutes(clock, drain, 25)
    escalated = [user_id for user_id, kind in await _told(hub) if kind == "task.escalated"]
    assert escalated[0] == clara.id
    assert boris.id not in escalated
    assert escalated.count(clara.id) == 1


@pytest.mark.parametrize(
    ("came", "due"),
    [
        (datetime(2026, 11, 27, 14, 55, tzinfo=UTC), datetime(2026, 11, 30, 6, 10, tzinfo=UTC)),  # Friday 17:55
        (datetime(2026, 11, 28, 10, 0, tzinfo=UTC), datetime(2026, 11, 30, 6, 15, tzinfo=UTC)),  # Saturday
        (datetime(2026, 11, 3, 14, 55, tzinfo=UTC), datetime(2026, 11, 5, 6, 10, tzinfo=UTC)),  # the 4th is a holiday
        (datetime(2026, 11, 30, 7, 0, tzinfo=UTC), datetime(2026, 11, 30, 7, 15, tzinfo=UTC)),
    ],
)
async def test_the_deadline_is_counted_in_working_minutes(client, hub, webform, take_on, drain, clock, came, due):
    anna = await take_on("Anna")
    async with hub.database.transaction() as session:
        await session.execute(update(Workspace).values(schedule=OFFICE))
        await session.execute(update(User).values(schedule={"always_open": True, "time_zone": "UTC"}))
    clock.set(came)
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    task = await _task(hub)
    assert task.due_at == due
    async with hub.database.reading() as session:
        steps = dict((await session.execute(select(EscalationStep.action, EscalationStep.due_at))).all())
    assert steps["breach"] == steps["head"] == due
    assert came < steps["remind"] < due
    clock.set(due - timedelta(seconds=1))
    await drain()
    assert await _told(hub) == [(anna.id, "task.reminder")]
    clock.set(due)
    await drain()
    assert (anna.id, "task.overdue") in await _told(hub)


async def test_a_step_whose_task_is_gone_disappears(hub, clock):
    async with hub.database.transaction() as session:
        session.add(EscalationStep(task_id=987654, position=0, action="breach", due_at=clock.now()))
    assert await run_deadlines(hub) == 1
    assert await run_deadlines(hub) == 0
    async with hub.database.transaction() as session:
        assert await events.take(session, "test") == ([], False)
