"""Mounts the REST API under /api: all its resources, and who calls it by which token or session."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.staff import access, sessions, tokens
from core.staff.tokens import ApiToken
from hub.api.actors import Actor, Authenticate
from hub.api.dispatch import Surroundings, make_api
from hub.api.endpoints import Endpoint
from hub.api.problems import unauthenticated
from hub.api.resources import (
    absences,
    audit_log,
    calls,
    canned_replies,
    companies,
    connections,
    contacts,
    conversations,
    deals,
    deliveries,
    desk,
    leads,
    lost_reasons,
    me,
    merges,
    messages,
    notifications,
    pipelines,
    reports,
    routing_rules,
    search,
    stage_rules,
    tasks,
    teams,
    users,
    workspace,
)
from hub.api.resources import tokens as token_resource
from hub.api.throttling import Throttle
from hub.app import Hub
from hub.auth import COOKIE
from hub.hooks import client_of

ENDPOINTS: Final[tuple[Endpoint, ...]] = tuple(
    endpoint
    for module in (
        contacts,
        merges,
        companies,
        conversations,
        messages,
        calls,
        canned_replies,
        leads,
        deals,
        tasks,
        pipelines,
        stage_rules,
        lost_reasons,
        users,
        teams,
        absences,
        workspace,
        routing_rules,
        connections,
        deliveries,
        notifications,
        token_resource,
        audit_log,
        reports,
        search,
        me,
        desk,
    )
    for endpoint in module.ENDPOINTS
)

RESOURCES: Final = frozenset(endpoint.resource for endpoint in ENDPOINTS)
"""What scopes may name."""

_NOTED_EVERY = timedelta(minutes=1)


def add(app: web.Application, hub: Hub) -> None:
    """Add the REST API to the application."""
    around = Surroundings(
        authenticate=authenticator(hub),
        transaction=hub.database.transaction,
        clock=hub.clock,
        hub=hub,
        throttle=Throttle(hub.clock),
        client_of=lambda request: client_of(request, hub.settings),
    )
    app.add_subapp("/api", make_api(ENDPOINTS, around))


def authenticator(hub: Hub) -> Authenticate:
    """Return what tells by token or session who calls."""

    async def authenticate(request: web.Request, session: AsyncSession) -> Actor:
        now = hub.clock.now()
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme:
            if scheme.lower() != "bearer":
                raise unauthenticated("Show a token as Authorization: Bearer swy_…")
            return await _by_token(session, secret.strip(), now)
        if cookie := request.cookies.get(COOKIE):
            found = await sessions.resume(session, cookie, at=now)
            if found is not None:
                browser, user = found
                return Actor(
                    user=user,
                    caller=f"session:{browser.id}",
                    csrf_token=browser.csrf_token,
                    rights=await access.of(session, user),
                )
        raise unauthenticated("Show a token as Authorization: Bearer swy_…, or sign in.")

    return authenticate


async def _by_token(session: AsyncSession, secret: str, now: datetime) -> Actor:
    found = await tokens.authenticate(session, secret)
    if found is None:
        raise unauthenticated("This token is not known, or was revoked.", error="invalid_token")
    token, user = found
    if token.last_used_at is None or now - token.last_used_at >= _NOTED_EVERY:
        await _note_use(session, token.id, now)
    return Actor(
        user=user,
        caller=f"token:{token.id}",
        scopes=frozenset(token.scopes),
        rights=await access.of(session, user),
    )


async def _note_use(session: AsyncSession, token_id: int, now: datetime) -> None:
    """Note when a token was used, once a minute, and never wait for another request that notes the same."""
    stale = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - _NOTED_EVERY)
    free = select(ApiToken.id).where(ApiToken.id == token_id, stale).with_for_update(skip_locked=True)
    await session.execute(
        update(ApiToken)
        .where(ApiToken.id.in_(free.scalar_subquery()))
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )
