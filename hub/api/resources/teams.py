"""Teams: who works together and who leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import delete, exists, select

from core.kernel.errors import Conflict, Rejected
from core.staff import access
from core.staff.teams import Team, TeamMember
from core.staff.users import User
from hub.api import records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.resources.users import RoleName
from hub.api.wire import Body, Id, Moment, Page, View

Name = Annotated[str, Meta(min_length=1, max_length=100)]


class Member(Body):
    """Somebody's place in a team."""

    user_id: Id
    leads: bool = False


Members = Annotated[tuple[Member, ...], Meta(max_length=1000)]


class TeamView(View):
    """People who share a queue of work. New users of the role `joined_by_role` join it by themselves."""

    id: Id
    name: str
    joined_by_role: RoleName | None
    members: list[Member]
    created_at: Moment
    version: int


class NewTeam(Body):
    """A team."""

    name: Name
    joined_by_role: RoleName | None = None
    members: Members = ()


class TeamChange(Body):
    """What is to change; what is left out stays. `members` are all of them: who is not named leaves."""

    name: Name | UnsetType = UNSET
    joined_by_role: RoleName | UnsetType | None = UNSET
    members: Members | UnsetType = UNSET


TEAMS = Listing("teams", unique=Team.id, sorts={"name": Team.name, "created_at": Team.created_at}, default="name")


async def _views(call: Call, rows: Sequence[Team]) -> list[TeamView]:
    found = await call.session.execute(
        select(TeamMember.team_id, TeamMember.user_id, TeamMember.leads)
        .where(TeamMember.team_id.in_([row.id for row in rows]))
        .order_by(TeamMember.user_id)
    )
    members: dict[int, list[Member]] = {}
    for row in found:
        members.setdefault(row.team_id, []).append(Member(user_id=Id(row.user_id), leads=row.leads))
    return [
        TeamView(
            id=Id(row.id),
            name=row.name,
            joined_by_role=row.joined_by_role,  # type: ignore[arg-type]
            members=members.get(row.id, []),
            created_at=row.created_at,
            version=row.version,
        )
        for row in rows
    ]


async def index(call: Call, query: ListQuery) -> Page[TeamView]:
    """List teams."""
    found = await TEAMS.page(call.session, access.narrow(select(Team), call.rights, Team), query)
    return Page(items=await _views(call, found.rows), next=found.next)


async def show(call: Call, team_id: Id) -> TeamView:
    """Show a team."""
    return (await _views(call, [await records.seen(call, Team, team_id)]))[0]


async def add(call: Call, body: NewTeam) -> TeamView:
    """Add a team."""
    call.rights.require_manage()
    team = Team(name=await _free_name(call, body.name), joined_by_role=body.joined_by_role, created_at=call.now)
    call.session.add(team)
    await call.session.flush()
    await _set_members(call, team, body.members)
    records.note(call, "team.added", "team", team.id)
    return (await _views(call, [team]))[0]


async def change(call: Call, team_id: Id, body: TeamChange) -> TeamView:
    """Change a team. Whoever stays keeps their turn."""
    team = await records.managing(call, Team, team_id)
    if body.name is not UNSET and body.name.strip() != team.name:
        team.name = await _free_name(call, body.name)
    if body.joined_by_role is not UNSET:
        team.joined_by_role = body.joined_by_role
    if body.members is not UNSET:
        await _set_members(call, team, body.members)
    team.version += 1
    records.note(call, "team.changed", "team", team.id)
    return (await _views(call, [team]))[0]


async def _free_name(call: Call, name: str) -> str:
    if not name.strip():
        raise Rejected("A name is needed", field="name")
    if await call.session.scalar(select(exists().where(Team.name == name.strip()))):
        raise Conflict(f"There is already a team called {name.strip()}")
    return name.strip()


async def _set_members(call: Call, team: Team, members: Sequence[Member]) -> None:
    wanted = {int(member.user_id): member.leads for member in members}
    known = set(await call.session.scalars(select(User.id).where(User.id.in_(wanted))))
    if missing := wanted.keys() - known:
        raise Rejected(f"There is nobody with the id {min(missing)}", field="members")
    await call.session.execute(
        delete(TeamMember).where(TeamMember.team_id == team.id, TeamMember.user_id.not_in(wanted))
    )
    places = {
        place.user_id: place
        for place in await call.session.scalars(select(TeamMember).where(TeamMember.team_id == team.id))
    }
    for user_id, leads in wanted.items():
        if user_id in places:
            places[user_id].leads = leads
        else:
            call.session.add(TeamMember(team_id=team.id, user_id=user_id, leads=leads))
    await call.session.flush()


ENDPOINTS = (
    Endpoint("GET", "/teams", index, listing=TEAMS),
    Endpoint("POST", "/teams", add, status=201, administrative=True, refuses=(409,)),
    Endpoint("GET", "/teams/{team_id}", show),
    Endpoint("PATCH", "/teams/{team_id}", change, administrative=True, refuses=(409,)),
)
