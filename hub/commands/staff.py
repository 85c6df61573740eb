"""`switchyard user` and `switchyard token`."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel.errors import NotFound, Rejected
from core.staff import audit, sessions, teams, tokens, users
from core.staff.teams import Team, TeamMember
from core.staff.tokens import ApiToken
from core.staff.users import Role, User
from hub.commands.workplace import CLIENT, CLOCK, moment, say, show, table, workplace
from hub.settings import Settings


async def add_user(settings: Settings, options: argparse.Namespace) -> int:
    """Take somebody on; without a password they cannot sign in before one is set."""
    password_hash = await _hashed(_first_line()) if options.password_stdin else None
    async with workplace(settings) as database, database.transaction() as session:
        named = [(await teams.by_name(session, name)).id for name in options.team or ()]
        user = await users.add(
            session,
            email=options.email,
            name=options.name,
            role=Role(options.role),
            at=CLOCK.now(),
            password_hash=password_hash,
            team_ids=named or None,
            extension=options.extension,
        )
        _note(session, "user.added", "user", user.id)
        added = {"id": str(user.id), "email": user.email, "name": user.name, "role": user.role}
    if options.json:
        show(added)
    else:
        print(f"{added['name']} <{added['email']}> is {added['role']} (id {added['id']})")
    if password_hash is None:
        say(f"They have no password yet and cannot sign in. Set one with: switchyard user password {added['email']}")
    return 0


async def list_users(settings: Settings, options: argparse.Namespace) -> int:
    """Show who works here."""
    async with workplace(settings) as database, database.reading() as session:
        found = list(await session.scalars(select(User).order_by(User.id)))
        rows = await session.execute(
            select(TeamMember.user_id, TeamMember.leads, Team.name)
            .join(Team, Team.id == TeamMember.team_id)
            .order_by(Team.name)
        )
        memberships = list(rows)
    listed: list[dict[str, Any]] = [
        {
            "id": str(user.id),
            "email": user.email,
            "name": user.name,
            "role": user.role,
            "active": user.is_active,
            "has_password": user.password_hash is not None,
            "extension": user.extension,
            "teams": [row.name for row in memberships if row.user_id == user.id],
            "leads": [row.name for row in memberships if row.user_id == user.id and row.leads],
        }
        for user in found
    ]
    if options.json:
        show(listed)
        return 0
    table(
        ("ID", "NAME", "E-MAIL", "ROLE", "TEAMS", ""),
        [
            (user["id"], user["name"], user["email"], user["role"], ", ".join(user["teams"]), _remark(user))
            for user in listed
        ],
        nothing="Nobody works here yet. Take somebody on: switchyard user add EMAIL --name NAME --role owner",
    )
    return 0


def _remark(user: dict[str, Any]) -> str:
    if not user["active"]:
        return "dismissed"
    return "" if user["has_password"] else "no password"


async def set_password(settings: Settings, options: argparse.Namespace) -> int:
    """Give somebody a new password; whoever was signed in as them is signed out."""
    password_hash = await _hashed(_first_line() if options.password_stdin else _asked())
    async with workplace(settings) as database, database.transaction() as session:
        user = await _somebody(session, options.email)
        user.password_hash = password_hash
        user.version += 1
        await sessions.end_all(session, user.id)
        _note(session, "user.password_set", "user", user.id)
        name = user.name
        is_active = user.is_active
    print(f"{name} has a new password and is signed out everywhere")
    if not is_active:
        say(f"{name} is dismissed and cannot sign in all the same")
    return 0


async def deactivate_user(settings: Settings, options: argparse.Namespace) -> int:
    """Dismiss somebody; what they own stays theirs until somebody else is given it."""
    async with workplace(settings) as database, database.transaction() as session:
        user = await _somebody(session, options.email)
        await users.dismiss(session, user, at=CLOCK.now())
        await sessions.end_all(session, user.id)
        _note(session, "user.dismissed", "user", user.id)
        name = user.name
    print(f"{name} is dismissed: they cannot sign in, their tokens open nothing, and they are given no new work")
    return 0


async def create_token(settings: Settings, options: argparse.Namespace) -> int:
    """Make a token and print it alone, so that a script can keep it."""
    scopes = _checked(options.scope or ())
    async with workplace(settings) as database, database.transaction() as session:
        user = await _somebody(session, options.user)
        if not user.is_active:
            raise Rejected(f"{user.name} is dismissed: a token of theirs would open nothing")
        token, secret = await tokens.create(session, user_id=user.id, at=CLOCK.now(), name=options.name, scopes=scopes)
        _note(session, "token.created", "token", token.id)
        token_id = token.id
    if options.json:
        show({"id": str(token_id), "token": secret})
    else:
        print(secret)
    return 0


async def list_tokens(settings: Settings, options: argparse.Namespace) -> int:
    """Show the tokens there are; the tokens themselves are not kept."""
    async with workplace(settings) as database, database.reading() as session:
        rows = await session.execute(
            select(ApiToken, User.email).join(User, User.id == ApiToken.user_id).order_by(ApiToken.id)
        )
        listed: list[dict[str, Any]] = [
            {
                "id": str(token.id),
                "name": token.name,
                "user": email,
                "scopes": list(token.scopes),
                "created_at": token.created_at,
                "last_used_at": token.last_used_at,
                "revoked_at": token.revoked_at,
            }
            for token, email in rows
        ]
    if options.json:
        show(listed)
        return 0
    table(
        ("ID", "NAME", "USER", "SCOPES", "MADE", "LAST USED", ""),
        [
            (
                token["id"],
                token["name"],
                token["user"],
                ", ".join(token["scopes"]) or "all",
                moment(token["created_at"]),
                moment(token["last_used_at"]) or "never",
                f"revoked {moment(token['revoked_at'])}" if token["revoked_at"] else "",
            )
            for token in listed
        ],
        nothing="There are no tokens. Make one: switchyard token create --user EMAIL",
    )
    return 0


async def revoke_token(settings: Settings, options: argparse.Namespace) -> int:
    """Make a token useless at once."""
    async with workplace(settings) as database, database.transaction() as session:
        await tokens.revoke(session, options.id, at=CLOCK.now())
        _note(session, "token.revoked", "token", options.id)
    print(f"Token {options.id} opens nothing any more")
    return 0


def _checked(scopes: Sequence[str]) -> frozenset[str]:
    if not scopes:
        return frozenset()
    from hub.api import actors, mount  # brings the whole API, which tokens without scopes do without

    return actors.read_scopes(scopes, {endpoint.resource for endpoint in mount.ENDPOINTS})


def _note(session: AsyncSession, action: str, entity: str, entity_id: int) -> None:
    audit.note(session, action, at=CLOCK.now(), entity=entity, entity_id=entity_id, client=CLIENT)


async def _somebody(session: AsyncSession, email: str) -> User:
    user = await users.by_email(session, email)
    if user is None:
        raise NotFound("user with the address", email)
    return user


def _first_line() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _asked() -> str:
    """Ask for a password twice, without showing it.

    Raises:
        Rejected: nobody is there to be asked, or the two differ.
    """
    if not sys.stdin.isatty():
        raise Rejected("Nobody can be asked for the password here: pipe it in with --password-stdin")
    password = getpass.getpass("New password: ")
    if getpass.getpass("Once more: ") != password:
        raise Rejected("The two passwords differ. Nothing was changed")
    return password


async def _hashed(password: str) -> str:
    from hub import auth  # brings the web server, which other commands do without

    return await auth.hash_password(password)
