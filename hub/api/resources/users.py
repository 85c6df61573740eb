"""Users: the people who work here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import exists, or_, select

from core.kernel import addresses
from core.kernel.errors import Conflict, Forbidden, Rejected
from core.staff import access, sessions, users
from core.staff.teams import Team, TeamMember
from core.staff.users import Role, User
from core.work import hours_json
from hub import auth
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Body, Id, Language, Moment, Page, View

RoleName = Literal["owner", "admin", "head", "manager", "specialist", "viewer"]
Presence = Literal["available", "busy", "away", "off_shift", "on_leave"]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Email = Annotated[str, Meta(min_length=3, max_length=320)]
Extension = Annotated[str, Meta(pattern="^[0-9*#+]{1,20}$")]
Password = Annotated[str, Meta(min_length=auth.SHORTEST_PASSWORD, max_length=1000)]
TimeZone = Annotated[str, Meta(max_length=60, examples=["Europe/Moscow"])]
Capacity = Annotated[int, Meta(ge=0, le=1_000_000, description="Open deals they can carry; null: any number.")]
Languages = Annotated[tuple[Language, ...], Meta(max_length=50)]
Territories = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^([A-Z]{2}|\+[0-9]{1,15})$")], ...],
    Meta(max_length=300, description="Countries (`RU`) or beginnings of numbers (`+7495`); none: everywhere."),
]


class UserView(View):
    """Somebody who works here. `schedule` is their own working hours, null: the company's."""

    id: Id
    email: str
    name: str
    role: RoleName
    is_active: bool
    extension: str | None
    language: str | None
    time_zone: str | None
    presence: Presence
    capacity: int | None
    languages: list[str]
    territories: list[str]
    schedule: dict[str, Any] | None
    team_ids: list[Id]
    leads_team_ids: list[Id]
    created_at: Moment
    version: int


class NewUser(Body):
    """Somebody new. Without `team_ids` they join the team of their role; without a password they cannot sign in yet."""

    email: Email
    name: Name
    role: RoleName
    team_ids: Annotated[tuple[Id, ...], Meta(max_length=100)] | None = None
    password: Password | None = None
    extension: Extension | None = None
    language: Language | None = None
    time_zone: TimeZone | None = None
    capacity: Capacity | None = None
    languages: Languages = ()
    territories: Territories = ()


class UserChange(Body):
    """What is to change; what is left out stays. Teams are changed at /teams."""

    email: Email | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    role: RoleName | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    extension: Extension | UnsetType | None = UNSET
    language: Language | UnsetType | None = UNSET
    time_zone: TimeZone | UnsetType | None = UNSET
    presence: Presence | UnsetType = UNSET
    capacity: Capacity | UnsetType | None = UNSET
    languages: Languages | UnsetType = UNSET
    territories: Territories | UnsetType = UNSET
    schedule: dict[str, Any] | UnsetType | None = UNSET


USERS = Listing(
    "users",
    unique=User.id,
    sorts={"name": User.name, "created_at": User.created_at},
    default="name",
    filters={
        "q": paging.matching(
            str,
            lambda text: or_(User.name.icontains(text, autoescape=True), User.email.icontains(text, autoescape=True)),
            "Part of the name or address.",
        ),
        "role": paging.one_of(User.role, RoleName),
        "is_active": paging.flag(lambda: User.is_active.is_(True), "Whether they work here now."),
        "team_id": paging.matching(
            list[Id],
            lambda ids: exists(
                select(TeamMember.user_id).where(
                    TeamMember.user_id == User.id, TeamMember.team_id.in_([int(each) for each in ids])
                )
            ),
            "Of any of these teams.",
        ),
        "extension": paging.one_of(User.extension),
    },
)


async def views(call: Call, rows: Sequence[User]) -> list[UserView]:
    """Make the views of a page; the teams of all of them are read at once."""
    found = await call.session.execute(
        select(TeamMember.user_id, TeamMember.team_id, TeamMember.leads)
        .where(TeamMember.user_id.in_([row.id for row in rows]))
        .order_by(TeamMember.team_id)
    )
    teams: dict[int, list[Id]] = {}
    led: dict[int, list[Id]] = {}
    for member in found:
        teams.setdefault(member.user_id, []).append(Id(member.team_id))
        if member.leads:
            led.setdefault(member.user_id, []).append(Id(member.team_id))
    return [
        UserView(
            id=Id(row.id),
            email=row.email,
            name=row.name,
            role=str(row.role),  # type: ignore[arg-type]
            is_active=row.is_active,
            extension=row.extension,
            language=row.language,
            time_zone=row.time_zone,
            presence=str(row.presence),  # type: ignore[arg-type]
            capacity=row.capacity,
            languages=list(row.languages),
            territories=list(row.territories),
            schedule=row.schedule,
            team_ids=teams.get(row.id, []),
            leads_team_ids=led.get(row.id, []),
            created_at=row.created_at,
            version=row.version,
        )
        for row in rows
    ]


async def index(call: Call, query: ListQuery) -> Page[UserView]:
    """List the people who work here."""
    found = await USERS.page(call.session, access.narrow(select(User), call.rights, User), query)
    return Page(items=await views(call, found.rows), next=found.next)


async def show(call: Call, user_id: Id) -> UserView:
    """Show somebody who works here."""
    return (await views(call, [await records.seen(call, User, user_id)]))[0]


async def add(call: Call, body: NewUser) -> UserView:
    """Take somebody on."""
    call.rights.require_manage()
    _may_set_role(call, Role(body.role))
    if body.team_ids is not None:
        await _check_teams(call, body.team_ids)
    _check_zone(body.time_zone)
    password_hash = await auth.hash_password(body.password) if body.password else None
    user = await users.add(
        call.session,
        email=body.email,
        name=body.name,
        role=Role(body.role),
        at=call.now,
        password_hash=password_hash,
        team_ids=None if body.team_ids is None else [int(each) for each in dict.fromkeys(body.team_ids)],
        extension=body.extension,
        language=body.language,
        time_zone=body.time_zone,
        actor_id=call.user_id,
    )
    user.capacity, user.languages, user.territories = body.capacity, list(body.languages), list(body.territories)
    records.note(call, "user.added", "user", user.id, {"role": body.role})
    await call.session.flush()
    return (await views(call, [user]))[0]


async def change(call: Call, user_id: Id, body: UserChange) -> UserView:
    """Change somebody's account. Who is not active any more is signed out everywhere at once."""
    user = await records.managing(call, User, user_id)
    values = records.given(body)
    if user.role == Role.OWNER and user.id != call.user_id:
        _may_set_role(call, Role.OWNER)
    await _check_owner_stays(call, user, values)
    if "role" in values:
        _may_set_role(call, Role(values["role"]))
        values["role"] = Role(values["role"])
    if "email" in values:
        values["email"] = await _free_address(call, user, values["email"])
    await take(call, user, values)
    records.note(call, "user.changed", "user", user.id, {"fields": sorted(values)})
    return (await views(call, [user]))[0]


async def take(call: Call, user: User, values: dict[str, Any]) -> None:
    """Take over what is to change of an account, checked; also for people's own profile.

    Raises:
        Rejected: something is wrong with it.
    """
    if "name" in values:
        values["name"] = values["name"].strip()
        if not values["name"]:
            raise Rejected("A name is needed", field="name")
    _check_zone(values.get("time_zone"))
    if values.get("schedule") is not None:
        values["schedule"] = hours_json.to_json(hours_json.from_json(values["schedule"]))
    values |= {name: list(values[name]) for name in ("languages", "territories") if name in values}
    if "presence" in values:
        values["presence_until"] = None  # what was said last counts (core.staff.presence)
    if "password" in values:
        user.password_hash = await auth.hash_password(values.pop("password"))
        await sessions.end_all(call.session, user.id)
    if values.get("is_active") is False:
        await sessions.end_all(call.session, user.id)
    for name, value in values.items():
        setattr(user, name, value)
    user.version += 1
    await call.session.flush()


def _may_set_role(call: Call, role: Role) -> None:
    if role is Role.OWNER and call.rights.role is not Role.OWNER:
        raise Forbidden("Only an owner may make somebody an owner or change an owner's account")


async def _check_owner_stays(call: Call, user: User, values: dict[str, Any]) -> None:
    leaves = values.get("is_active") is False or values.get("role", "owner") != "owner"
    if user.role != Role.OWNER or not leaves:
        return
    others = select(User.id).where(User.role == Role.OWNER, User.is_active.is_(True), User.id != user.id)
    if await call.session.scalar(others.limit(1)) is None:
        raise Rejected("This is the only owner. Make somebody else an owner first")


async def _free_address(call: Call, user: User, email: str) -> str:
    address = addresses.email(email)
    if address is None:
        raise Rejected(f"{email!r} is not an e-mail address", field="email")
    taken = await users.by_email(call.session, address)
    if taken is not None and taken.id != user.id:
        raise Conflict(f"There is already a user with the address {address}")
    return address


async def _check_teams(call: Call, team_ids: Sequence[Id]) -> None:
    for team_id in team_ids:
        if await call.session.get(Team, int(team_id)) is None:
            raise Rejected("There is no such team", field="team_ids")


def _check_zone(name: str | None) -> None:
    if name is not None:
        hours_json.from_json({"always_open": True, "time_zone": name or "?"})


ENDPOINTS = (
    Endpoint("GET", "/users", index, listing=USERS),
    Endpoint("POST", "/users", add, status=201, administrative=True, refuses=(409,)),
    Endpoint("GET", "/users/{user_id}", show),
    Endpoint("PATCH", "/users/{user_id}", change, administrative=True, refuses=(409,)),
)
