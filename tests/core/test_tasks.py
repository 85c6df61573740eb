"""Tasks: given, done by word or proof, dropped, postponed, each once and with its line in the diary."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from core.kernel.errors import NotFound, Rejected
from core.kernel.events import TimelineEvent
from core.work import tasks
from core.work.tasks import EscalationStep, TaskKind, TaskStatus
from tests.conftest import MONDAY_TEN as NOW

DUE = NOW + timedelta(minutes=15)


@pytest.fixture
async def task(session):
    return await tasks.add(session, title=" Call Vera ", at=NOW, due_at=DUE, kind=TaskKind.CALL)


async def _steps(session):
    rows = await session.execute(select(EscalationStep.action, EscalationStep.due_at).order_by(EscalationStep.position))
    return [tuple(row) for row in rows]


async def _diary(session):
    return list(await session.scalars(select(TimelineEvent.kind).order_by(TimelineEvent.id)))


async def test_a_deadline_brings_the_step_that_notes_when_it_is_missed(session, task):
    assert task.title == "Call Vera"
    await session.flush()
    assert await _steps(session) == [("breach", DUE)]
    await tasks.add(session, title="Whenever", at=NOW)
    assert len(await _steps(session)) == 1
    with pytest.raises(Rejected):
        await tasks.add(session, title="  ", at=NOW)


@pytest.mark.parametrize(("after", "overdue"), [(-1, False), (0, True), (60, True)])
async def test_overdue_is_derived(session, task, after, overdue):
    assert task.is_overdue(DUE + timedelta(seconds=after)) is overdue
    await tasks.complete(session, task, at=DUE, actor_id=None)
    assert not task.is_overdue(DUE + timedelta(hours=1))


async def test_it_is_done_once_and_says_by_what_proof(session, task):
    assert await tasks.complete(session, task, at=NOW, actor_id=None, proof="call:17")
    assert not await tasks.complete(session, task, at=DUE, actor_id=None)
    assert (task.status, task.completed_at, task.completed_by_proof) == (TaskStatus.DONE, NOW, "call:17")
    assert await _steps(session) == [("breach", None)]
    assert (await _diary(session)).count("task.completed") == 1
    with pytest.raises(Rejected):
        await tasks.postpone(session, task, to=DUE, at=NOW, actor_id=None)


async def test_what_was_dropped_is_not_done(session, task):
    await tasks.cancel(session, task, at=NOW, actor_id=None)
    await tasks.cancel(session, task, at=DUE, actor_id=None)
    assert (task.status, task.completed_at) == (TaskStatus.CANCELED, NOW)
    assert (await _diary(session)).count("task.canceled") == 1
    with pytest.raises(Rejected):
        await tasks.complete(session, task, at=NOW, actor_id=None)


async def test_postponing_is_for_later_alone(session, task):
    for wrong in (NOW, NOW - timedelta(seconds=1)):
        with pytest.raises(Rejected):
            await tasks.postpone(session, task, to=wrong, at=NOW, actor_id=None)
    await tasks.postpone(session, task, to=DUE + timedelta(hours=1), at=NOW, actor_id=None)
    assert await _steps(session) == [("breach", DUE + timedelta(hours=1))]
    assert task.version == 2


async def test_a_task_without_a_deadline_gets_one_by_postponing(session):
    task = await tasks.add(session, title="Whenever", at=NOW)
    await tasks.postpone(session, task, to=DUE, at=NOW, actor_id=None)
    await session.flush()
    assert await _steps(session) == [("breach", DUE)]


async def test_open_calls_to_somebody_are_what_an_answered_call_proves(session):
    for kind, due in ((TaskKind.CALL, DUE), (TaskKind.CALL, NOW), (TaskKind.MESSAGE, NOW)):
        await tasks.add(session, title=f"{kind} {due}", kind=kind, at=NOW, due_at=due, contact_id=5)
    done = await tasks.add(session, title="done", kind=TaskKind.CALL, at=NOW, due_at=NOW, contact_id=5)
    await tasks.complete(session, done, at=NOW, actor_id=None)
    assert [task.due_at for task in await tasks.open_calls_to(session, 5)] == [NOW, DUE]
    assert await tasks.open_calls_to(session, 6) == []


async def test_what_is_not_there_is_not_found(session):
    with pytest.raises(NotFound):
        await tasks.get(session, 999_999)
