"""Absences: administrators note them for everybody, heads for those they lead, everybody for themselves."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import exists, select

from core.kernel.errors import Forbidden, Rejected
from core.staff import absences, access, users
from core.staff.absences import Absence
from core.staff.access import Reach
from core.staff.teams import TeamMember
from core.staff.users import User
from hub.web import typed
from hub.web.settings_forms import Fields, Refused, note, saved, sheet, tried
from hub.web.visits import Visit
from hub.web.words import N_


async def show(visit: Visit, user_id: int) -> web.StreamResponse:
    """Show somebody's absences, and the form for one more."""
    user = await _manageable(visit, user_id)
    return await _form(visit, user)


async def add(visit: Visit, user_id: int) -> web.StreamResponse:
    """Note an absence."""
    user = await _manageable(visit, user_id)
    try:
        fields = Fields(visit)
        moments = {}
        for name in ("starts_at", "ends_at"):
            fields.text(name, required=True)
            try:
                moments[name] = typed.moment(visit.field(name), visit.viewer.time_zone, field=name)
            except Rejected as error:
                fields.wrong(name, str(error))
        reason = fields.text("reason", most=500)
        fields.check()
        starts_at, ends_at = moments["starts_at"], moments["ends_at"]
        assert starts_at is not None and ends_at is not None  # both were required
        absence = await tried(
            visit,
            absences.add(
                visit.session,
                user_id=user.id,
                starts_at=starts_at,
                ends_at=ends_at,
                reason=reason,
                at=visit.hub.clock.now(),
                actor_id=visit.user.id,
            ),
        )
    except Refused as refused:
        return await _form(visit, user, refused)
    note(visit, "absence.added", "absence", absence.id, {"user_id": user.id})
    return saved(visit, _back(visit), N_("Noted: no new work goes to them meanwhile"))


async def cancel(visit: Visit, absence_id: int) -> web.StreamResponse:
    """Forget an absence."""
    absence = await access.fetch(visit.session, visit.rights, Absence, absence_id)
    await _manageable(visit, absence.user_id)
    note(visit, "absence.canceled", "absence", absence.id, {"user_id": absence.user_id})
    await absences.cancel(visit.session, absence.id, at=visit.hub.clock.now(), actor_id=visit.user.id)
    return visit.done(_back(visit), N_("Removed: they are given work again"))


def _back(visit: Visit) -> str:
    return "/settings/users" if visit.rights.may_manage else "/"


async def _manageable(visit: Visit, user_id: int) -> User:
    """Return somebody whose absences this person may note.

    Raises:
        Forbidden: it is none of their business. NotFound: there is nobody with this id.
    """
    visit.rights.require_change()
    allowed = user_id == visit.user.id or visit.rights.reach is Reach.ALL
    if not allowed and visit.rights.led_team_ids:
        led = exists().where(TeamMember.user_id == user_id, TeamMember.team_id.in_(visit.rights.led_team_ids))
        allowed = bool(await visit.session.scalar(select(led)))
    if not allowed:
        raise Forbidden(
            visit.translate(N_("Only they themselves, their head or an administrator may note somebody's absence"))
        )
    return await users.get(visit.session, user_id)


async def _form(visit: Visit, user: User, refused: Refused | None = None) -> web.Response:
    now = visit.hub.clock.now()
    ahead = await visit.session.scalars(
        select(Absence).where(Absence.user_id == user.id, Absence.ends_at > now).order_by(Absence.starts_at)
    )
    return sheet(
        visit,
        "settings/_absence.html",
        N_("Absence"),
        refused=refused,
        user=user,
        absences=list(ahead),
        values={name: visit.field(name) for name in ("starts_at", "ends_at", "reason")},
    )
