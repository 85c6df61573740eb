"""Membership: making teams, and who is in which. Whoever stays in a team keeps their turn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.kernel.errors import Conflict, Rejected
from core.staff.teams import Team, TeamMember
from core.staff.users import Role, User


async def add_team(
    session: AsyncSession, *, name: str, members: Mapping[int, bool], at: datetime, actor_id: int | None
) -> Team:
    """Make a team. `members` maps a user's id to whether they lead it.

    Raises:
        Rejected: the name is empty, or there is nobody with one of the ids.
        Conflict: there is a team of this name.
    """
    team = Team(name=await _free_name(session, name, None), created_at=at)
    session.add(team)
    await session.flush()
    await _set_members(session, team, members)
    await events.record(session, "user.teams_changed", at, actor_id=actor_id, details={"team_id": team.id})
    return team


async def change_team(
    session: AsyncSession, team: Team, *, name: str, members: Mapping[int, bool], at: datetime, actor_id: int | None
) -> None:
    """Rename a team and set who is in it; who is not among `members` leaves.

    Raises:
        Rejected, Conflict: as `add_team`.
    """
    team.name = await _free_name(session, name, team.id)
    await _set_members(session, team, members)
    team.version += 1
    await session.flush()
    await events.record(session, "user.teams_changed", at, actor_id=actor_id, details={"team_id": team.id})


async def set_teams(
    session: AsyncSession, user: User, team_ids: Collection[int], *, at: datetime, actor_id: int | None
) -> bool:
    """Set which teams somebody is in; return whether that changed anything. A head leads the teams they join.

    Raises:
        Rejected: there is no such team.
    """
    wanted = set(team_ids)
    before = set(await session.scalars(select(TeamMember.team_id).where(TeamMember.user_id == user.id)))
    if wanted == before:
        return False
    if wanted - set(await session.scalars(select(Team.id).where(Team.id.in_(wanted)))):
        raise Rejected("There is no such team", field="team_ids")
    await session.execute(delete(TeamMember).where(TeamMember.user_id == user.id, TeamMember.team_id.not_in(wanted)))
    for team_id in sorted(wanted - before):
        session.add(TeamMember(team_id=team_id, user_id=user.id, leads=user.role == Role.HEAD))
    user.version += 1
    await session.flush()
    await events.record(session, "user.teams_changed", at, user_id=user.id, actor_id=actor_id)
    return True


async def _set_members(session: AsyncSession, team: Team, members: Mapping[int, bool]) -> None:
    known = set(await session.scalars(select(User.id).where(User.id.in_(list(members)))))
    if members.keys() - known:
        raise Rejected("There is nobody with this id", field="member_ids")
    await session.execute(
        delete(TeamMember).where(TeamMember.team_id == team.id, TeamMember.user_id.not_in(list(members)))
    )
    rows = await session.scalars(select(TeamMember).where(TeamMember.team_id == team.id))
    places = {place.user_id: place for place in rows}
    for user_id, leads in members.items():
        if user_id in places:
            places[user_id].leads = leads
        else:
            session.add(TeamMember(team_id=team.id, user_id=user_id, leads=leads))
    await session.flush()


async def _free_name(session: AsyncSession, name: str, own_id: int | None) -> str:
    name = name.strip()
    if not name:
        raise Rejected("A name is needed", field="name")
    if await session.scalar(select(Team.id).where(Team.name == name, Team.id.is_distinct_from(own_id))) is not None:
        raise Conflict("There is already a team called %(name)s", name=name)
    return name
