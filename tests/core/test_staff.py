"""Those who work here: taken on, in a team, away, let go, and who hears of what nobody did."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from core.kernel.errors import Conflict, NotFound, Rejected
from core.staff import absences, users, workspace
from core.staff.teams import TeamMember
from core.staff.users import Role
from tests.conftest import MONDAY_TEN as NOW


async def _add(session, name, role=Role.MANAGER, **more):
    return await users.add(session, email=f"{name.lower()}@example.com", name=name, role=role, at=NOW, **more)


async def test_a_manager_joins_the_team_of_their_role_and_a_head_none(session):
    anna, head = await _add(session, "Anna"), await _add(session, "Kirill", Role.HEAD)
    members = list(await session.scalars(select(TeamMember.user_id)))
    assert members == [anna.id]
    assert head.is_active


@pytest.mark.parametrize(("email", "name", "error"), [
    ("ANNA@Example.com ", "Anna", Conflict),
    ("no address", "Boris", Rejected),
    ("boris@example.com", "  ", Rejected),
])  # fmt: skip
async def test_somebody_is_taken_on_once_and_with_an_address_and_a_name(session, email, name, error):
    await _add(session, "Anna")
    with pytest.raises(error):
        await users.add(session, email=email, name=name, role=Role.MANAGER, at=NOW)
    assert await users.count(session) == 1


async def test_an_address_is_found_however_it_is_written(session):
    anna = await _add(session, "Anna")
    assert (await users.by_email(session, " aNNa@EXAMPLE.com")).id == anna.id
    assert await users.by_email(session, "nobody") is None
    assert await users.names(session, [anna.id, None, 999_999]) == {anna.id: "Anna"}
    with pytest.raises(NotFound):
        await users.get(session, 999_999)


async def test_those_who_hear_are_the_leaders_else_the_heads_else_the_owners(session):
    anna = await _add(session, "Anna")
    team_id = (await session.scalars(select(TeamMember.team_id))).one()
    assert await users.heads_for(session, team_id) == []
    owner = await _add(session, "Olga", Role.OWNER)
    assert await users.heads_for(session, team_id) == [owner.id]
    head = await _add(session, "Kirill", Role.HEAD)
    assert await users.heads_for(session, team_id) == await users.heads_for(session, None) == [head.id]
    leader = await _add(session, "Lev", Role.HEAD, team_ids=[team_id])
    assert await users.heads_for(session, team_id) == [leader.id]
    leader.is_active = False
    await session.flush()
    assert await users.heads_for(session, team_id) == [head.id]
    assert anna.id not in await users.heads_for(session, None)


async def test_an_absence_holds_from_its_beginning_to_before_its_end(session):
    anna = await _add(session, "Anna")
    end = NOW + timedelta(days=1)
    with pytest.raises(Rejected):
        await absences.add(session, user_id=anna.id, starts_at=NOW, ends_at=NOW, at=NOW)
    absence = await absences.add(session, user_id=anna.id, starts_at=NOW, ends_at=end, at=NOW)
    await absences.add(session, user_id=anna.id, starts_at=NOW, ends_at=NOW + timedelta(hours=1), at=NOW)

    async def away(at):
        return set(await absences.current(session, [anna.id], at))

    assert await away(NOW - timedelta(seconds=1)) == set()
    assert await away(NOW) == await away(end - timedelta(seconds=1)) == {anna.id}
    assert await away(end) == set()
    assert (await absences.current(session, [anna.id], NOW))[anna.id].id == absence.id  # the one that ends last
    await absences.cancel(session, absence.id, at=NOW)
    await session.flush()
    assert await away(NOW + timedelta(hours=2)) == set()
    with pytest.raises(NotFound):
        await absences.cancel(session, absence.id, at=NOW)


async def test_the_last_owner_cannot_be_let_go(session):
    olga = await _add(session, "Olga", Role.OWNER)
    with pytest.raises(Rejected):
        await users.dismiss(session, olga, at=NOW)
    with pytest.raises(Rejected):
        await users.change(session, olga, at=NOW, actor_id=None, role=Role.MANAGER)
    await _add(session, "Oleg", Role.OWNER)
    await users.dismiss(session, olga, at=NOW)
    assert not olga.is_active
    await users.take_back(session, olga, at=NOW)
    assert olga.is_active


async def test_a_company_without_migrations_says_what_to_do(session):
    assert (await workspace.get(session)).currency == "RUB"
    await session.delete(await workspace.get(session))
    await session.flush()
    with pytest.raises(NotFound, match="migrate"):
        await workspace.get(session)
