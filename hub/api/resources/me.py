"""Me: who calls, what they may do, and their own profile."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select

from core.kernel.errors import NotFound
from core.staff.users import User
from core.work import notifications
from hub.api import records
from hub.api.endpoints import Call, Endpoint
from hub.api.resources import users
from hub.api.wire import Body, Language, View


class RightsView(View):
    """What the caller may do. `reach`: which records they see; see the roles."""

    reach: Literal["all", "team", "own", "tasks"]
    may_change: bool
    may_export: bool
    may_manage: bool


class MeView(users.UserView):
    """Who calls."""

    rights: RightsView
    scopes: Annotated[list[str], Meta(description="What the token is narrowed to; none: nothing.")]
    unread_notifications: int
    mail: Annotated[bool, Meta(description="Whether notifications are sent by e-mail, too.")]


class MeChange(Body):
    """What is to change of one's own profile; what is left out stays."""

    name: users.Name | UnsetType = UNSET
    language: Language | UnsetType | None = UNSET
    time_zone: users.TimeZone | UnsetType | None = UNSET
    presence: users.Presence | UnsetType = UNSET
    mail: bool | UnsetType = UNSET


async def _view(call: Call, user: User) -> MeView:
    (view,) = await users.views(call, [user])
    rights = call.rights
    return MeView(
        **{name: getattr(view, name) for name in view.__struct_fields__},
        rights=RightsView(
            reach=rights.reach.value,
            may_change=rights.may_change,
            may_export=rights.may_export,
            may_manage=rights.may_manage,
        ),
        scopes=sorted(call.actor.scopes),
        unread_notifications=await notifications.unread_count(call.session, user.id),
        mail=bool(user.settings.get("mail", True)),
    )


async def show(call: Call) -> MeView:
    """Show who calls."""
    return await _view(call, call.actor.user)


async def change(call: Call, body: MeChange) -> MeView:
    """Change one's own profile."""
    user = await call.session.scalar(select(User).where(User.id == call.user_id).with_for_update())
    if user is None:
        raise NotFound("user", call.user_id)
    call.expects(user)
    values = records.given(body)
    if "mail" in values:
        user.settings = {**user.settings, "mail": values.pop("mail")}
    await users.take(call, user, values)
    return await _view(call, user)


ENDPOINTS = (
    Endpoint("GET", "/me", show),
    Endpoint("PATCH", "/me", change),
)
