"""One's messenger: the links by which accounts are linked, those that are, and what one is told there and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Final

from aiohttp import web

from core.kernel.errors import Conflict, NotFound, Rejected
from core.staff import access
from core.staff.users import User
from hub.desk import choices, digests, invitations, linking
from hub.desk.choices import Choices
from hub.desk.records import DeskLink
from hub.desk.telling import KINDS
from hub.web.visits import Visit
from hub.web.words import N_

EVENTS: Final[Mapping[str, str]] = {
    "leads": N_("New requests, and those given to me"),
    "messages": N_("What customers write"),
    "tasks": N_("Tasks: new, soon due, overdue, and those nobody did"),
    "calls": N_("My phone rings"),
    "handed": N_("Conversations given to me, or come back"),
    "trouble": N_("A channel has trouble"),
}
"""The groups of telling.KINDS in words."""

_SAID_BELOW = (N_("Link a messenger first"), N_("Quiet hours that end when they begin are none"))
"""What the desk refuses with, for the catalogues."""
_UNLINKED = N_("Unlinked: nothing is done any more of what comes from there")


@dataclass(frozen=True, slots=True)
class ShownLink:
    """An account that is linked."""

    id: int
    kind: str
    messenger: str
    name: str
    handle: str
    is_reachable: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class ShownInvitation:
    """How an account is linked. `bot` is what the bot is called, "" where that is not known."""

    id: int
    kind: str
    messenger: str
    bot: str
    words: str
    is_address: bool
    is_linked: bool
    expires_at: datetime


async def links(visit: Visit, user_id: int) -> list[ShownLink]:
    """Return the accounts of a colleague."""
    titles = {live.id: (live.kind, live.title) for live in visit.hub.switchboard.live()}
    shown = []
    for link in await linking.of_user(visit.session, user_id):
        kind, title = titles.get(link.connection_id, ("", ""))
        shown.append(ShownLink(link.id, kind, title, link.name, link.handle, link.is_reachable, link.created_at))
    return shown


async def section(
    visit: Visit, *, typed: Mapping[str, Any] | None = None, errors: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what the part of the profile about messengers needs; each time with links that work anew."""
    found = await linking.of_user(visit.session, visit.user.id)
    reached = {link.connection_id for link in found if link.is_reachable}
    invited = await invitations.invite(visit.session, visit.hub, visit.user.id, at=visit.hub.clock.now())
    chosen = choices.of(found)
    return {
        "desk_links": await links(visit, visit.user.id),
        "desk_invitations": [
            ShownInvitation(
                id=each.live.id,
                kind=each.live.kind,
                messenger=each.live.title,
                bot=each.account,
                words=each.words,
                is_address=each.is_address,
                is_linked=each.live.id in reached,
                expires_at=each.expires_at,
            )
            for each in invited
        ],
        "desk_values": typed or _values(chosen),
        "desk_errors": errors or {},
        "desk_events": _offered(visit),
        "desk_heads": visit.user.id in await digests.heads(visit.session),
    }


def _offered(visit: Visit) -> list[tuple[str, str]]:
    groups: Sequence[str] = [group for group in KINDS if group != "trouble" or visit.rights.may_manage]
    return [(group, visit.translate(EVENTS[group])) for group in groups]


def _values(chosen: Choices) -> dict[str, Any]:
    begins, ends = chosen.quiet or (time(22), time(8))
    return {
        "told": [group for group, is_told in chosen.events.items() if is_told],
        "quiet": chosen.quiet is not None,
        "quiet_from": f"{begins:%H:%M}",
        "quiet_until": f"{ends:%H:%M}",
        "morning": chosen.morning is not None,
        "morning_at": f"{chosen.morning or choices.MORNING:%H:%M}",
        "evening": chosen.evening is not None,
        "evening_at": f"{chosen.evening or choices.EVENING:%H:%M}",
        "tells_of_nothing": chosen.tells_of_nothing,
    }


async def show(visit: Visit) -> web.StreamResponse:
    """Show the part of the profile about messengers anew."""
    if not visit.is_partial:
        return visit.go("/profile#desk")
    return visit.page("account/_desk.html", **await section(visit))


async def take(visit: Visit) -> tuple[dict[str, Any], dict[str, str]]:
    """Take what somebody wants to be told, when it is to be quiet, and which digests they get.

    Returns what was typed, and what is wrong with it by field; if anything is, nothing was changed.
    """
    typed: dict[str, Any] = {
        "told": [str(value) for value in visit.form.getall("told", [])],
        **{name: bool(visit.field(name)) for name in ("quiet", "morning", "evening", "tells_of_nothing")},
        **{name: visit.field(name) for name in ("quiet_from", "quiet_until", "morning_at", "evening_at")},
    }
    errors: dict[str, str] = {}

    def at(name: str) -> time:
        found = choices.clock(typed[name])
        if found is None:
            errors[name] = visit.translate(N_("Write a time such as 09:00"))
        return found or time()

    values: dict[str, Any] = {
        "events": {group: group in typed["told"] for group, _ in _offered(visit)},
        "quiet": (at("quiet_from"), at("quiet_until")) if typed["quiet"] else None,
        "morning": at("morning_at") if typed["morning"] else None,
        "tells_of_nothing": typed["tells_of_nothing"],
    }
    if "evening_at" in visit.form:
        values["evening"] = at("evening_at") if typed["evening"] else None
    if not errors:
        try:
            await choices.change(visit.session, visit.user.id, **values)
        except (Conflict, Rejected) as error:
            errors["quiet_until" if getattr(error, "field", "") == "quiet" else "told"] = error.said(visit.translate)
    return typed, errors


async def unlink(visit: Visit, link_id: int) -> web.StreamResponse:
    """Take one's own account away, at once."""
    await _unlink(visit, link_id, visit.user.id)
    return visit.done("/profile", _UNLINKED)


async def unlink_of(visit: Visit, user_id: int, link_id: int) -> web.StreamResponse:
    """Take somebody else's account away, at once."""
    user = await access.fetch(visit.session, visit.rights, User, user_id, change=True)
    await _unlink(visit, link_id, user.id)
    return visit.done("/settings/users", _UNLINKED)


async def _unlink(visit: Visit, link_id: int, user_id: int) -> None:
    link = await visit.session.get(DeskLink, link_id, with_for_update=True)
    if link is None or link.user_id != user_id:
        raise NotFound("link", link_id)
    await linking.unlink(visit.session, link, at=visit.hub.clock.now(), actor_id=visit.user.id)
