"""The people who work here: their account, role, language and whether they can be given work now."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, Index, Text, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.addresses import email as canonical_email
from core.kernel.db import Base, Edited, Record
from core.kernel.errors import Conflict, NotFound, Rejected
from core.staff.teams import TeamMember, default_teams


class Role(StrEnum):
    """What somebody is here for; decides the default rights (core.staff.access)."""

    OWNER = "owner"
    ADMIN = "admin"
    HEAD = "head"
    MANAGER = "manager"
    SPECIALIST = "specialist"
    VIEWER = "viewer"


class Presence(StrEnum):
    """What somebody says of themselves; absences and working hours are known apart from it."""

    AVAILABLE = "available"
    BUSY = "busy"
    AWAY = "away"
    OFF_SHIFT = "off_shift"
    ON_LEAVE = "on_leave"


class User(Base, Record, Edited):
    """Somebody who works here.

    `password_hash` is argon2id and None for somebody who was not given a password yet; `schedule` is their own working
    hours as `core.work.hours` reads them, None for the company's; `settings` keeps personal choices (theme,
    notification switches).
    """

    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_email", "email", unique=True),
        Index("ix_users_presence_until", "presence_until", postgresql_where=text("presence_until IS NOT NULL")),
    )

    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[Role] = mapped_column(Text)
    password_hash: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(Boolean, default=True, server_default=text("true"))
    extension: Mapped[str | None]
    language: Mapped[str | None]
    time_zone: Mapped[str | None]
    presence: Mapped[str] = mapped_column(Text, default=Presence.AVAILABLE, server_default="available")
    presence_until: Mapped[datetime | None]
    """When they are available again by themselves (core.staff.presence); None: when they say so."""
    capacity: Mapped[int | None]
    """How many open deals they can carry; None: any number."""
    languages: Mapped[list[str]] = mapped_column(default=list, server_default="{}")
    territories: Mapped[list[str]] = mapped_column(default=list, server_default="{}")
    """ISO country codes they work; empty: all."""
    schedule: Mapped[dict[str, Any] | None]
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")


async def add(
    session: AsyncSession,
    *,
    email: str,
    name: str,
    role: Role,
    at: datetime,
    password_hash: str | None = None,
    team_ids: Iterable[int] | None = None,
    extension: str | None = None,
    language: str | None = None,
    time_zone: str | None = None,
    actor_id: int | None = None,
) -> User:
    """Take somebody on. Without `team_ids` they join the team of their role, if there is one.

    Raises:
        Rejected: the address is no e-mail address, or the name is empty.
        Conflict: somebody has this address already.
    """
    address = canonical_email(email)
    if address is None:
        raise Rejected("“%(email)s” is not an e-mail address", email=email, field="email")
    if not name.strip():
        raise Rejected("A name is needed", field="name")
    if await session.scalar(select(User.id).where(User.email == address)) is not None:
        raise Conflict("There is already a user with the address %(address)s", address=address)
    user = User(
        email=address,
        name=name.strip(),
        role=Role(role),
        password_hash=password_hash,
        extension=extension,
        language=language,
        time_zone=time_zone,
        created_at=at,
    )
    session.add(user)
    await session.flush()  # members need the id
    joined = list(team_ids) if team_ids is not None else await default_teams(session, user.role)
    for team_id in joined:
        session.add(TeamMember(team_id=team_id, user_id=user.id, leads=user.role == Role.HEAD and team_ids is not None))
    await session.flush()
    await events.record(session, "user.added", at, user_id=user.id, actor_id=actor_id, details={"role": user.role})
    return user


async def get(session: AsyncSession, user_id: int) -> User:
    """Return somebody by id.

    Raises:
        NotFound: nobody has it.
    """
    user = await session.get(User, user_id)
    if user is None:
        raise NotFound("user", user_id)
    return user


async def for_work(session: AsyncSession, user_id: int, *, field: str) -> User:
    """Return somebody who is about to be given work.

    Raises:
        Rejected: there is nobody with this id, or they do not work here any more; `field` is where it was asked for.
    """
    user = await session.get(User, user_id)
    if user is None:
        raise Rejected("There is nobody with this id", field=field)
    if not user.is_active:
        raise Rejected("%(name)s does not work here any more; choose somebody else", name=user.name, field=field)
    return user


async def by_email(session: AsyncSession, email: str) -> User | None:
    """Return who has this address, however its capitals are written; None if nobody does."""
    found: User | None = await session.scalar(select(User).where(User.email == (canonical_email(email) or "")))
    return found


async def dismiss(session: AsyncSession, user: User, *, at: datetime, actor_id: int | None = None) -> None:
    """Let somebody go: they cannot sign in, their tokens open nothing, they are given no work and told nothing.

    What they own stays theirs until it is given to somebody else; their browsers are the caller's to sign out
    (core.staff.sessions.end_all).

    Raises:
        Rejected: they are the last owner, without whom nobody could change the settings.
    """
    if not user.is_active:
        return
    if user.role == Role.OWNER:
        await _require_another_owner(session, user)
    user.is_active = False
    user.version += 1
    await events.record(session, "user.dismissed", at, user_id=user.id, actor_id=actor_id)


async def change(session: AsyncSession, user: User, *, at: datetime, actor_id: int | None, **values: Any) -> None:
    """Change somebody's account: any of its columns but `is_active`, which `dismiss` and `take_back` are for.

    Raises:
        Rejected: the name is empty, the address is none, or the last owner would be one no more.
        Conflict: somebody else has this address.
    """
    if "name" in values:
        values["name"] = values["name"].strip()
        if not values["name"]:
            raise Rejected("A name is needed", field="name")
    if "email" in values:
        values["email"] = await _free_address(session, user, values["email"])
    if "presence" in values:
        values.setdefault("presence_until", None)
    if user.role == Role.OWNER and user.is_active and values.get("role", Role.OWNER) != Role.OWNER:
        await _require_another_owner(session, user)
    changed = sorted(name for name, value in values.items() if getattr(user, name) != value)
    if not changed:
        return
    for name in changed:
        setattr(user, name, values[name])
    user.version += 1
    await session.flush()
    told = [name for name in changed if name != "password_hash"]
    await events.record(session, "user.changed", at, user_id=user.id, actor_id=actor_id, details={"fields": told})


async def take_back(session: AsyncSession, user: User, *, at: datetime, actor_id: int | None = None) -> None:
    """Let somebody who had left work here again."""
    if user.is_active:
        return
    user.is_active = True
    user.version += 1
    await events.record(session, "user.taken_back", at, user_id=user.id, actor_id=actor_id)


async def _free_address(session: AsyncSession, user: User, email: str) -> str:
    address = canonical_email(email)
    if address is None:
        raise Rejected("“%(email)s” is not an e-mail address", email=email, field="email")
    if await session.scalar(select(User.id).where(User.email == address, User.id != user.id)) is not None:
        raise Conflict("There is already a user with the address %(address)s", address=address)
    return address


async def is_last_owner(session: AsyncSession, user: User) -> bool:
    """Whether nobody else who works here is an owner."""
    others = select(func.count()).where(User.role == Role.OWNER, User.is_active.is_(True), User.id != user.id)
    return not await session.scalar(others)


async def _require_another_owner(session: AsyncSession, user: User) -> None:
    if await is_last_owner(session, user):
        raise Rejected("%(name)s is the last owner: make somebody else an owner first", name=user.name)


async def names(session: AsyncSession, ids: Iterable[int | None]) -> dict[int, str]:
    """Return the names of several people at once."""
    wanted = {i for i in ids if i is not None}
    if not wanted:
        return {}
    rows = await session.execute(select(User.id, User.name).where(User.id.in_(wanted)))
    return {row.id: row.name for row in rows}


async def count(session: AsyncSession) -> int:
    """Return how many people there are; 0 means that the workspace is still to be set up."""
    return int(await session.scalar(select(func.count()).select_from(User)) or 0)


async def administrators(session: AsyncSession) -> list[int]:
    """Return who hears of what is wrong with the installation: owners and administrators."""
    found = await session.scalars(
        select(User.id).where(User.role.in_((Role.OWNER, Role.ADMIN)), User.is_active.is_(True)).order_by(User.id)
    )
    return list(found)


async def heads_for(session: AsyncSession, team_id: int | None) -> list[int]:
    """Return who hears of what nobody did: the team's leaders, else every head, else the owners."""
    active = User.is_active.is_(True)
    if team_id is not None:
        leaders = await session.scalars(
            select(User.id)
            .join(TeamMember, TeamMember.user_id == User.id)
            .where(TeamMember.team_id == team_id, TeamMember.leads.is_(True), active)
            .order_by(User.id)
        )
        if found := list(leaders):
            return found
    for role in (Role.HEAD, Role.OWNER):
        if found := list(await session.scalars(select(User.id).where(User.role == role, active).order_by(User.id))):
            return found
    return []
