"""People: who works here, taking somebody on, changing their account, letting them go and handing their work over.

Somebody new gets a first password from whoever takes them on and changes it in their profile; there is no link by
e-mail, since a company may run without a mail server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.kernel import addresses
from core.kernel.errors import Forbidden, Rejected
from core.staff import absences, access, membership, sessions, users
from core.staff.absences import Absence
from core.staff.teams import Team, TeamMember
from core.staff.users import Role, User
from core.work import handover
from hub import auth
from hub.web import account_desk, settings_teams
from hub.web.settings_forms import Fields, Refused, note, require_version, saved, sheet, tried
from hub.web.visits import Visit
from hub.web.words import N_

HERE = "/settings/users"
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_TERRITORY = re.compile(r"[A-Z]{2}|\+[0-9]{1,15}")
_LAST_OWNER = N_("This is the last owner: make somebody else an owner first")
_TAKEN = N_("Somebody has this address already")
_TYPED = ("name", "email", "role", "extension", "capacity", "languages", "territories", "hand_over_to")


@dataclass(frozen=True, slots=True)
class ShownUser:
    """Somebody in the list."""

    id: int
    name: str
    email: str
    role: str
    is_active: bool
    presence: str
    extension: str | None
    teams: list[str]
    absence: Absence | None
    version: int


async def index(visit: Visit) -> web.StreamResponse:
    """List the people and the teams."""
    found = list(await visit.session.scalars(select(User).order_by(User.is_active.desc(), User.name, User.id)))
    away = await absences.current(visit.session, [user.id for user in found], visit.hub.clock.now())
    teams = await settings_teams.shown(visit)
    shown = [
        ShownUser(
            id=user.id,
            name=user.name,
            email=user.email,
            role=str(user.role),
            is_active=user.is_active,
            presence=str(user.presence),
            extension=user.extension,
            teams=[team.name for team in teams if any(member.id == user.id for member in team.members)],
            absence=away.get(user.id),
            version=user.version,
        )
        for user in found
    ]
    return visit.page("settings/users.html", users=shown, teams=teams)


async def blank(visit: Visit) -> web.StreamResponse:
    """Show the form for somebody new."""
    values: dict[str, Any] = dict.fromkeys(_TYPED, "") | {"role": "manager", "team_ids": []}
    return await _form(visit, None, values)


async def show(visit: Visit, user_id: int) -> web.StreamResponse:
    """Show somebody's account as a form."""
    user = await access.fetch(visit.session, visit.rights, User, user_id)
    teams = await visit.session.scalars(select(TeamMember.team_id).where(TeamMember.user_id == user.id))
    values = {
        "name": user.name,
        "email": user.email,
        "role": str(user.role),
        "extension": user.extension or "",
        "capacity": "" if user.capacity is None else user.capacity,
        "languages": ", ".join(user.languages),
        "territories": ", ".join(user.territories),
        "hand_over_to": "",
        "team_ids": list(teams),
    }
    return await _form(visit, user, values)


async def add(visit: Visit) -> web.StreamResponse:
    """Take somebody on."""

    async def take_on() -> User:
        _require_may_set(visit, Role(values["role"]))
        password_hash = await auth.hash_password(password)
        added = await users.add(
            visit.session,
            email=values["email"],
            name=values["name"],
            role=Role(values["role"]),
            at=visit.hub.clock.now(),
            password_hash=password_hash,
            team_ids=team_ids or None,
            extension=values["extension"],
            actor_id=visit.user.id,
        )
        added.capacity, added.languages, added.territories = (
            values["capacity"],
            values["languages"],
            values["territories"],
        )
        return added

    try:
        values, team_ids = await _read(visit)
        password = str(visit.form.get("password", ""))
        user = await tried(visit, take_on(), conflict="email", taken=_TAKEN)
    except Refused as refused:
        return await _form(visit, None, _typed(visit), refused)
    note(visit, "user.added", "user", user.id, {"role": values["role"]})
    return saved(visit, HERE, N_("They can sign in now with the password you chose"))


async def change(visit: Visit, user_id: int) -> web.StreamResponse:
    """Change somebody's account; let them go or take them back; hand over what they have open."""
    user = await access.fetch(visit.session, visit.rights, User, user_id, change=True, lock=True)
    now, actor_id = visit.hub.clock.now(), visit.user.id
    fields: list[str] = []

    async def put() -> None:
        require_version(visit, user)
        if user.role == Role.OWNER and user.id != visit.user.id:
            _require_may_set(visit, Role.OWNER)
        if values["role"] != user.role:
            _require_may_set(visit, Role(values["role"]))
        if user.role == Role.OWNER and values["role"] != Role.OWNER and await users.is_last_owner(visit.session, user):
            raise Rejected(visit.translate(_LAST_OWNER), field="role")
        wanted: dict[str, Any] = values | {"role": Role(values["role"])}
        if password:
            wanted["password_hash"] = await auth.hash_password(password)
        fields.extend(sorted(name for name, value in wanted.items() if getattr(user, name) != value))
        await users.change(visit.session, user, at=now, actor_id=actor_id, **wanted)
        if await membership.set_teams(visit.session, user, team_ids, at=now, actor_id=actor_id):
            fields.append("teams")
        await _come_or_go(visit, user, works_here=bool(visit.field("is_active")))
        if password or not user.is_active:
            await sessions.end_all(visit.session, user.id)
        if hand_over_to is not None:
            successor = await users.for_work(visit.session, hand_over_to, field="hand_over_to")
            await handover.hand_over_all(visit.session, user.id, to=successor.id, at=now, actor_id=actor_id)

    try:
        values, team_ids = await _read(visit)
        hand_over_to = _successor(visit, user)
        password = str(visit.form.get("password", ""))
        await tried(visit, put(), conflict="email", taken=_TAKEN)
    except Refused as refused:
        await visit.session.refresh(user)
        return await _form(visit, user, _typed(visit), refused)
    note(visit, "user.changed", "user", user.id, {"fields": fields})
    if hand_over_to is not None:
        note(visit, "user.handed_over", "user", user.id, {"to": hand_over_to})
    return saved(visit, HERE, N_("Saved"))


async def _come_or_go(visit: Visit, user: User, *, works_here: bool) -> None:
    if works_here == user.is_active:
        return
    now, actor_id = visit.hub.clock.now(), visit.user.id
    if works_here:
        await users.take_back(visit.session, user, at=now, actor_id=actor_id)
        note(visit, "user.taken_back", "user", user.id)
        return
    if user.role == Role.OWNER and await users.is_last_owner(visit.session, user):
        raise Refused({}, visit.translate(_LAST_OWNER), 422)
    if user.id == actor_id:
        raise Refused({}, visit.translate(N_("You cannot let yourself go: ask another administrator")), 422)
    await users.dismiss(visit.session, user, at=now, actor_id=actor_id)
    note(visit, "user.dismissed", "user", user.id)


def _require_may_set(visit: Visit, role: Role) -> None:
    if role is Role.OWNER and visit.rights.role is not Role.OWNER:
        raise Forbidden(visit.translate(N_("Only an owner may make somebody an owner or change an owner's account")))


def _successor(visit: Visit, user: User) -> int | None:
    fields = Fields(visit)
    successor = fields.record_id("hand_over_to")
    if successor == user.id:
        fields.wrong("hand_over_to", N_("Choose somebody else"))
    fields.check()
    return successor


async def _read(visit: Visit) -> tuple[dict[str, Any], list[int]]:
    """Return the columns that were typed, and the teams that were ticked.

    Raises:
        Refused: something is wrong.
    """
    fields = Fields(visit)
    extension = fields.text("extension", most=20)
    if extension and not re.fullmatch(r"[0-9*#+]+", extension):
        fields.wrong("extension", N_("An extension is digits, such as 101"))
    languages = fields.words("languages")
    if not all(_LANGUAGE.fullmatch(language) for language in languages):
        fields.wrong("languages", N_("Write languages as codes with commas: ru, en"))
    territories = [word.upper() for word in fields.words("territories", most=300)]
    if not all(_TERRITORY.fullmatch(territory) for territory in territories):
        fields.wrong("territories", N_("Write countries or beginnings of numbers with commas: RU, +7495"))
    email = fields.text("email", most=320, required=True)
    if email and addresses.email(email) is None:
        fields.wrong("email", N_("This is not an e-mail address"))
    values = {
        "name": fields.text("name", required=True),
        "email": addresses.email(email) or email,
        "role": fields.one_of("role", tuple(role.value for role in Role)),
        "extension": extension or None,
        "capacity": fields.number("capacity", most=1_000_000),
        "languages": languages,
        "territories": territories,
    }
    team_ids = fields.record_ids("team_ids")
    known = set(await visit.session.scalars(select(Team.id).where(Team.id.in_(team_ids))))
    if set(team_ids) - known:
        fields.wrong("team_ids", N_("Choose one of the list"))
    fields.check()
    return values, team_ids


def _typed(visit: Visit) -> dict[str, Any]:
    return {name: visit.field(name) for name in _TYPED} | {
        "team_ids": Fields(visit).record_ids("team_ids"),
        "is_active": bool(visit.field("is_active")),
    }


async def _form(
    visit: Visit, user: User | None, values: dict[str, Any], refused: Refused | None = None
) -> web.Response:
    teams = await visit.session.execute(select(Team.id, Team.name).order_by(Team.name))
    people: list[tuple[int, str]] = []
    sets_owners = visit.rights.role is Role.OWNER or values["role"] == "owner"
    open_work = None
    if user is not None:
        values = {"is_active": user.is_active} | values
        open_work = await handover.open_work(visit.session, user.id)
        rows = await visit.session.execute(
            select(User.id, User.name).where(User.is_active.is_(True), User.id != user.id).order_by(User.name)
        )
        people = [(row.id, row.name) for row in rows]
    return sheet(
        visit,
        "settings/_user.html",
        N_("Person") if user else N_("Add a person"),
        refused=refused,
        user=user,
        values=values,
        roles=[role.value for role in Role if role is not Role.OWNER or sets_owners],
        teams=[tuple(row) for row in teams],
        people=people,
        open_work=open_work,
        desk_links=[] if user is None else await account_desk.links(visit, user.id),
    )
