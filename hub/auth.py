"""Signing in: passwords, browser sessions, the set-up link, and who a request is from."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.ext.asyncio import AsyncSession

from core import connections
from core.kernel.errors import DomainError, Forbidden, Rejected
from core.staff import access, audit, sessions, users, workspace
from core.staff.access import Rights
from core.staff.sessions import Session
from core.staff.teams import default_teams
from core.staff.users import Role, User
from hub import first_content
from hub.app import Hub

COOKIE = "switchyard_session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
SHORTEST_PASSWORD = 10
SETUP_LINK_LASTS = timedelta(hours=24)

_hasher = PasswordHasher()  # argon2id with RFC 9106's low-memory parameters, about 50 to 120 ms
_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@lru_cache(maxsize=1)
def _nobody() -> str:
    """Return a hash to check when nobody has the address, so that the time to answer does not tell which exist."""
    return _hasher.hash(secrets.token_hex(16))


class SignInRefused(DomainError):
    """The address or the password is wrong; which one is not said."""


class TooManyTries(DomainError):
    """Too many wrong passwords; `wait` seconds until another may be tried."""

    def __init__(self, wait: int) -> None:
        super().__init__(f"Too many wrong passwords. Try again in {(wait + 59) // 60} min")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who uses a browser: the person, their rights now, and the browser's session."""

    user: User
    rights: Rights
    session: Session


def _hashing() -> asyncio.Semaphore:
    """Return the gate of this event loop: two at a time, since each takes a core and 64 MB."""
    return _gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(2))


async def hash_password(password: str) -> str:
    """Return the argon2id hash of a password, worked out beside the event loop.

    Raises:
        Rejected: it is too short.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise Rejected("A password has at least %(least)s characters", least=SHORTEST_PASSWORD, field="password")
    if len(password) > 1000:
        raise Rejected("A password has at most 1000 characters", field="password")
    async with _hashing():
        return await asyncio.to_thread(_hasher.hash, password)


def _matches(known: str | None, password: str) -> bool:
    try:
        return _hasher.verify(known or _nobody(), password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


async def sign_in(hub: Hub, *, email: str, password: str, client: str, agent: str) -> str:
    """Check a password and start a session; return the secret for its cookie.

    Raises:
        SignInRefused: the address or the password is wrong.
        TooManyTries: somebody has guessed too often.
    """
    now = hub.clock.now()
    async with _hashing():  # the look at earlier tries too, so that trying many at once gains nobody more of them
        async with hub.database.reading() as session:
            wait = await sessions.wait_before_trying(session, email=email, client=client, at=now)
            user = None if wait else await users.by_email(session, email)
        if wait:
            raise TooManyTries(wait)
        usable = user is not None and user.is_active and user.password_hash is not None
        known = user.password_hash if user is not None and usable else None
        matches = await asyncio.to_thread(_matches, known, password[:1000])
        if user is None or not usable or not matches:
            async with hub.database.transaction() as session:
                await sessions.note_failure(session, email=email, client=client, at=now)
                details = {"email": sessions.printable(email)[:200]}
                audit.note(session, "session.refused", at=now, client=client, details=details)
            raise SignInRefused("The e-mail address or the password is wrong")
    async with hub.database.transaction() as session:
        _, token = await sessions.start(session, user, at=now, client=client, agent=agent)
        audit.note(session, "session.created", at=now, user_id=user.id, client=client)
    return token


async def change_password(session: AsyncSession, hub: Hub, *, who: SignedIn, old: str, new: str, client: str) -> None:
    """Give somebody another password, for which the old one is asked, and sign them out in their other browsers.

    A wrong one counts as a try: commit the session whether this succeeds or raises.

    Raises:
        Rejected: the old password is wrong, or the new one too short; `field` says which.
        TooManyTries: somebody has guessed too often.
    """
    now = hub.clock.now()
    user = who.user
    if wait := await sessions.wait_before_trying(session, email=user.email, client=client, at=now):
        raise TooManyTries(wait)
    async with _hashing():
        matches = await asyncio.to_thread(_matches, user.password_hash, old[:1000])
    if not matches:
        await sessions.note_failure(session, email=user.email, client=client, at=now)
        raise Rejected("That is not your present password", field="current_password")
    try:
        user.password_hash = await hash_password(new)
    except Rejected as error:
        raise error.about("new_password") from error
    user.version += 1
    await sessions.end_others(session, who.session)
    audit.note(
        session, "user.password_changed", at=now, user_id=user.id, entity="user", entity_id=user.id, client=client
    )


async def signed_in(session: AsyncSession, hub: Hub, request: web.Request) -> SignedIn | None:
    """Return who uses the browser a request comes from; None if nobody is signed in."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    found = await sessions.resume(session, token, at=hub.clock.now())
    if found is None:
        return None
    return SignedIn(found[1], await access.of(session, found[1]), found[0])


def check_csrf(given: str, expected: str) -> None:
    """Refuse a change that does not come from one of our own pages.

    Raises:
        Forbidden: the token is missing or wrong.
    """
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise Forbidden("The page is too old or the request does not come from it: reload the page and try again")


def set_cookie(response: web.StreamResponse, token: str, *, secure: bool) -> None:
    """Give the browser its session."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(sessions.LASTS.total_seconds()),
        httponly=True,
        samesite="Lax",
        secure=secure,
        path="/",
    )


async def make_setup_link(hub: Hub) -> str | None:
    """Return a fresh one-time link to set the workspace up; None once somebody has.

    A new link makes the old one useless, so the last one printed is the one that works.
    """
    async with hub.database.transaction() as session:
        if await users.count(session):
            return None
        company = await workspace.get(session)
        token = secrets.token_urlsafe(24)
        company.setup_token_hash = hashlib.sha256(token.encode()).digest()
        company.setup_token_expires_at = hub.clock.now() + SETUP_LINK_LASTS
    return f"{hub.public_url}/setup?token={token}"


async def may_set_up(session: AsyncSession, hub: Hub, token: str) -> bool:
    """Whether this link may still make the owner's account."""
    company = await workspace.get(session)
    if company.setup_token_hash is None or await users.count(session):
        return False
    expires = company.setup_token_expires_at
    if expires is None or expires < hub.clock.now():
        return False
    return hmac.compare_digest(company.setup_token_hash, hashlib.sha256(token.encode()).digest())


async def set_up(
    hub: Hub, *, token: str, email: str, name: str, password: str, client: str, agent: str, company: dict[str, Any]
) -> str:
    """Make the owner's account and the company's choices, and sign the owner in; return the cookie's secret.

    `company` may hold name, country, currency, time_zone, language, all checked by the caller.

    Raises:
        Forbidden: the link was used or has expired. Rejected: something typed is wrong.
    """
    password_hash = await hash_password(password)
    now = hub.clock.now()
    async with hub.database.transaction() as session:
        found = await session.get(workspace.Workspace, 1, with_for_update=True)
        if found is None or not await may_set_up(session, hub, token):
            raise Forbidden("This link was used already or has expired. Start the hub again to get a new one")
        workspace.change(found, **company)
        await connections.announce(session)  # they read phones and write tasks as the company says
        found.setup_token_hash = found.setup_token_expires_at = None
        await first_content.translate(session, found.language)
        user = await users.add(
            session,
            email=email,
            name=name,
            role=Role.OWNER,
            at=now,
            password_hash=password_hash,
            language=found.language,
            time_zone=found.time_zone,
            # until there is somebody else, the first requests go to the owner
            team_ids=await default_teams(session, Role.MANAGER),
        )
        audit.note(session, "workspace.set_up", at=now, user_id=user.id, client=client)
        _, secret = await sessions.start(session, user, at=now, client=client, agent=agent)
    return secret
