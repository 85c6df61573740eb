"""API keys: making one, whose secret is shown this once, and making one useless."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.kernel.errors import Rejected
from core.staff import tokens, users
from core.staff.tokens import ApiToken
from hub.api import actors
from hub.api.mount import RESOURCES
from hub.web.settings_forms import Fields, Refused, note, tried
from hub.web.shown import Person
from hub.web.visits import Visit
from hub.web.words import N_

HERE = "/settings/tokens"
_OFFERED = ("read", "write", "admin")


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A key in the list, without its secret, which nobody has kept."""

    id: int
    name: str
    user: Person
    scopes: list[str]
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


async def index(visit: Visit) -> web.StreamResponse:
    """List the keys, and offer to make one."""
    return await _page(visit, {"name": "", "scopes": [], "more_scopes": ""})


async def add(visit: Visit) -> web.StreamResponse:
    """Make a key of one's own and show its secret, this once."""
    typed = {
        "name": visit.field("name"),
        "scopes": [str(value) for value in visit.form.getall("scopes", [])],
        "more_scopes": visit.field("more_scopes"),
    }
    try:
        fields = Fields(visit)
        name = fields.text("name", required=True)
        wanted = {scope for scope in typed["scopes"] if scope in _OFFERED} | set(fields.words("more_scopes", most=100))
        try:
            scopes = actors.read_scopes(wanted, RESOURCES)
        except Rejected:
            fields.wrong("more_scopes", N_("Write scopes as leads:read or leads:write, with commas"))
        fields.check()
        made = tokens.create(
            visit.session,
            user_id=visit.user.id,
            at=visit.hub.clock.now(),
            name=name,
            scopes=scopes,
            actor_id=visit.user.id,
        )
        token, secret = await tried(visit, made)
    except Refused as refused:
        return await _page(visit, typed, refused=refused)
    note(visit, "token.created", "token", token.id, {"name": name, "scopes": sorted(scopes)})
    return await _page(visit, {"name": "", "scopes": [], "more_scopes": ""}, secret=secret)


async def revoke(visit: Visit, token_id: int) -> web.StreamResponse:
    """Make a key useless at once."""
    visit.rights.require_manage()
    await tokens.revoke(visit.session, token_id, at=visit.hub.clock.now(), actor_id=visit.user.id)
    note(visit, "token.revoked", "token", token_id)
    return visit.done(HERE, N_("The key opens nothing any more"))


async def _page(
    visit: Visit, values: dict[str, Any], *, refused: Refused | None = None, secret: str | None = None
) -> web.Response:
    rows = list(
        await visit.session.scalars(select(ApiToken).order_by(ApiToken.revoked_at.is_not(None), ApiToken.id.desc()))
    )
    names = await users.names(visit.session, [row.user_id for row in rows])
    shown = [
        ShownToken(
            id=row.id,
            name=row.name,
            user=Person(row.user_id, names.get(row.user_id, "")),
            scopes=list(row.scopes),
            last_used_at=row.last_used_at,
            revoked_at=row.revoked_at,
            created_at=row.created_at,
        )
        for row in rows
    ]
    return visit.page(
        "settings/tokens.html",
        status=refused.status if refused else 200,
        tokens=shown,
        secret=secret,
        values=values,
        errors=refused.errors if refused else {},
        form_error=refused.said if refused else "",
        scopes=list(_OFFERED),
    )
