"""Who calls the API and what their token allows: scopes narrow a user's rights, they never widen them.

    *                       everything the user may do
    read, write             every resource but the administrative ones; write includes read
    admin                   everything, the administrative resources included
    deals:read, deals:write one resource, administrative or not; write includes read

A token without scopes, and a browser session, may do all that its user may. Which *records* somebody sees is decided
elsewhere, by `core.staff.access`, and the same for everybody.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel.errors import Rejected
from core.staff.access import Rights
from hub.api.problems import Problem

CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD"})

_EVERYTHING = frozenset({"*", "admin"})
_SCOPE = re.compile(r"\*|admin|read|write|([a-z][a-z-]*):(?:read|write)")


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf a request is made.

    user        the user's record
    rights      which records they see and what they may do with them
    caller      names the token or session, for rate limits and idempotency keys, such as `token:17`
    scopes      what the token allows; empty: all that the user may do
    csrf_token  what a browser session must send in X-CSRF-Token to change anything; None for a token
    """

    user: Any
    caller: str
    scopes: frozenset[str] = frozenset()
    csrf_token: str | None = None
    rights: Rights | None = None


class Authenticate(Protocol):
    """Finds out who calls. Given by the composition root."""

    async def __call__(self, request: web.Request, session: AsyncSession) -> Actor:
        """Return the caller.

        Raises:
            Problem: 401, nobody we know (`problems.unauthenticated`).
        """
        ...


def allows(scopes: frozenset[str], resource: str, *, write: bool, administrative: bool = False) -> bool:
    """Tell whether scopes allow reading or changing a resource."""
    if not scopes or scopes & _EVERYTHING:
        return True
    enough = {f"{resource}:write"} if write else {f"{resource}:read", f"{resource}:write"}
    if not administrative:
        enough |= {"write"} if write else {"read", "write"}
    return not enough.isdisjoint(scopes)


def check(actor: Actor, request: web.Request, *, resource: str, write: bool, administrative: bool) -> None:
    """Let the caller through, or not: the one place where scopes and CSRF are looked at.

    Raises:
        Problem: 403.
    """
    if actor.csrf_token is not None and request.method not in SAFE_METHODS:
        sent = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(sent.encode(), actor.csrf_token.encode()):
            raise Problem(403, "csrf", f"A browser session must send its {CSRF_HEADER} to change anything.")
    if not allows(actor.scopes, resource, write=write, administrative=administrative):
        needed = f"{resource}:{'write' if write else 'read'}"
        raise Problem(
            403,
            "scope",
            f"This token lacks the scope {needed}.",
            headers={"WWW-Authenticate": f'Bearer realm="Switchyard", error="insufficient_scope", scope="{needed}"'},
        )


def includes(having: frozenset[str], wanted: frozenset[str]) -> bool:
    """Tell whether all that these scopes allow is allowed by those somebody has. No scopes at all are all of them."""
    if not having or having & _EVERYTHING:
        return True
    if not wanted:
        return False
    return all(scope in having or _is_within(scope, having) for scope in wanted)


def _is_within(scope: str, having: frozenset[str]) -> bool:
    if scope == "read":
        return "write" in having
    resource, _, right = scope.partition(":")
    return right == "read" and f"{resource}:write" in having


def read_scopes(scopes: Iterable[str], resources: Iterable[str]) -> frozenset[str]:
    """Check the scopes somebody wants to give a token.

    Raises:
        Rejected: one of them is none, or names a resource there is not.
    """
    known = set(resources)
    wanted = frozenset(scopes)
    for scope in sorted(wanted):
        match = _SCOPE.fullmatch(scope)
        if match is None or (match.group(1) and match.group(1) not in known):
            raise Rejected(
                f"{scope!r} is not a scope. Scopes are *, read, write, admin, and <resource>:read or :write",
                field="scopes",
            )
    return wanted
