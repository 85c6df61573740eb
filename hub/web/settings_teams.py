"""Teams: who works together and who leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.staff import access, membership
from core.staff.teams import Team, TeamMember
from core.staff.users import User
from hub.web.settings_forms import Fields, Refused, note, require_version, saved, sheet, tried
from hub.web.visits import Visit
from hub.web.words import N_

HERE = "/settings/users"


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a team."""

    id: int
    name: str
    leads: bool


@dataclass(frozen=True, slots=True)
class ShownTeam:
    """A team with who is in it."""

    id: int
    name: str
    members: list[Member]


async def shown(visit: Visit) -> list[ShownTeam]:
    """Return all teams by name, with those of their members who work here."""
    rows = await visit.session.execute(
        select(TeamMember.team_id, User.id, User.name, TeamMember.leads)
        .join(User, User.id == TeamMember.user_id)
        .where(User.is_active.is_(True))
        .order_by(TeamMember.leads.desc(), User.name)
    )
    members: dict[int, list[Member]] = {}
    for row in rows:
        members.setdefault(row.team_id, []).append(Member(row.id, row.name, row.leads))
    found = await visit.session.scalars(select(Team).order_by(Team.name))
    return [ShownTeam(team.id, team.name, members.get(team.id, [])) for team in found]


async def blank(visit: Visit) -> web.StreamResponse:
    """Show the form for a new team."""
    return await _form(visit, None, {"name": "", "member_ids": [], "leader_ids": []})


async def show(visit: Visit, team_id: int) -> web.StreamResponse:
    """Show a team as a form."""
    team = await access.fetch(visit.session, visit.rights, Team, team_id)
    places = list(await visit.session.scalars(select(TeamMember).where(TeamMember.team_id == team.id)))
    values = {
        "name": team.name,
        "member_ids": [place.user_id for place in places],
        "leader_ids": [place.user_id for place in places if place.leads],
    }
    return await _form(visit, team, values)


async def add(visit: Visit) -> web.StreamResponse:
    """Make a team."""
    try:
        name, members = _read(visit)
        made = membership.add_team(
            visit.session, name=name, members=members, at=visit.hub.clock.now(), actor_id=visit.user.id
        )
        team = await tried(visit, made, conflict="name")
    except Refused as refused:
        return await _form(visit, None, _typed(visit), refused)
    note(visit, "team.added", "team", team.id)
    return saved(visit, HERE, N_("Saved"))


async def change(visit: Visit, team_id: int) -> web.StreamResponse:
    """Change a team."""
    team = await access.fetch(visit.session, visit.rights, Team, team_id, change=True, lock=True)

    async def put() -> None:
        require_version(visit, team)
        now = visit.hub.clock.now()
        kept = await _who_left(visit, team)
        await membership.change_team(
            visit.session, team, name=name, members=kept | members, at=now, actor_id=visit.user.id
        )

    try:
        name, members = _read(visit)
        await tried(visit, put(), conflict="name")
    except Refused as refused:
        await visit.session.refresh(team)
        return await _form(visit, team, _typed(visit), refused)
    note(visit, "team.changed", "team", team.id)
    return saved(visit, HERE, N_("Saved"))


async def _who_left(visit: Visit, team: Team) -> dict[int, bool]:
    """Return the members who do not work here now: the form does not show them, so they keep their place."""
    rows = await visit.session.execute(
        select(TeamMember.user_id, TeamMember.leads)
        .join(User, User.id == TeamMember.user_id)
        .where(TeamMember.team_id == team.id, User.is_active.is_(False))
    )
    return {row.user_id: row.leads for row in rows}


def _read(visit: Visit) -> tuple[str, dict[int, bool]]:
    """Return the name and who is in it, by id whether they lead; whoever leads is in it.

    Raises:
        Refused: something is wrong.
    """
    fields = Fields(visit)
    name = fields.text("name", most=100, required=True)
    leaders = fields.record_ids("leader_ids")
    members = {user_id: user_id in leaders for user_id in [*fields.record_ids("member_ids"), *leaders]}
    fields.check()
    return name, members


def _typed(visit: Visit) -> dict[str, Any]:
    fields = Fields(visit)
    return {
        "name": visit.field("name"),
        "member_ids": fields.record_ids("member_ids"),
        "leader_ids": fields.record_ids("leader_ids"),
    }


async def _form(
    visit: Visit, team: Team | None, values: dict[str, Any], refused: Refused | None = None
) -> web.Response:
    rows = await visit.session.execute(
        select(User.id, User.name).where(User.is_active.is_(True)).order_by(User.name, User.id)
    )
    return sheet(
        visit,
        "settings/_team.html",
        N_("Team") if team else N_("New team"),
        refused=refused,
        team=team,
        values=values,
        users=[tuple(row) for row in rows],
    )
