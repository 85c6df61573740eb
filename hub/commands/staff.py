"""`switchyard user` and `switchyard token`."""

from __future__ import annotations

import argparse
import sys

from core.kernel.errors import NotFound
from core.staff import audit, teams, tokens, users
from core.staff.users import Role
from hub import auth
from hub.commands.workplace import CLOCK, show, workplace
from hub.settings import Settings


async def add_user(settings: Settings, options: argparse.Namespace) -> int:
    """Take somebody on; without a password they get one from whoever invites them."""
    password_hash = None
    if options.password_stdin:
        password_hash = await auth.hash_password(sys.stdin.readline().rstrip("\r\n"))
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
        audit.note(session, "user.added", at=CLOCK.now(), entity="user", entity_id=user.id, client="command line")
        added = {"id": str(user.id), "email": user.email, "name": user.name, "role": user.role}
    if options.json:
        show(added)
    else:
        print(f"{added['name']} <{added['email']}> is {added['role']} (id {added['id']})")
    return 0


async def create_token(settings: Settings, options: argparse.Namespace) -> int:
    """Make a token and print it alone, so that a script can keep it."""
    async with workplace(settings) as database, database.transaction() as session:
        user = await users.by_email(session, options.user)
        if user is None:
            raise NotFound("user with the address", options.user)
        token, secret = await tokens.create(
            session, user_id=user.id, at=CLOCK.now(), name=options.name, scopes=options.scope or ()
        )
        audit.note(session, "token.created", at=CLOCK.now(), user_id=user.id, entity="token", entity_id=token.id)
        token_id = token.id
    if options.json:
        show({"id": str(token_id), "token": secret})
    else:
        print(secret)
    return 0
