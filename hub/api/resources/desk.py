"""The desk of whoever calls: their accounts in messengers, what they are told there, and links for one more."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from core.kernel.errors import Forbidden, NotFound, Rejected
from hub.api.endpoints import Call, Endpoint
from hub.api.wire import Body, Id, Moment, Page, View
from hub.desk import choices, invitations, linking
from hub.desk.records import DeskLink
from hub.desk.telling import KINDS

Clock = Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["09:00"])]
"""A time of day on the person's own clock."""

Events = Annotated[
    dict[str, bool], Meta(description=f"By sort, whether one is told at once: {', '.join(KINDS)}.", max_length=20)
]


class DeskLinkView(View):
    """An account in a messenger. `is_reachable` false: nothing reaches them there, they blocked the bot."""

    id: Id
    connection_id: Id
    kind: str
    title: str
    name: str
    handle: str
    is_reachable: bool
    linked_at: Moment


class DeskView(View):
    """One's messengers. Nothing makes a sound from `quiet_from` until `quiet_until`; null: there are no quiet hours.

    `morning` and `evening` are when the digests come, null: not at all; the evening's is for heads.
    `tells_of_nothing`: they come even if there is nothing to say.
    """

    links: list[DeskLinkView]
    events: Events
    quiet_from: Clock | None
    quiet_until: Clock | None
    morning: Clock | None
    evening: Clock | None
    tells_of_nothing: bool


class DeskChange(Body):
    """What is to change; what is left out stays. It holds for all of one's messengers. Quiet hours need both times."""

    events: Events | UnsetType = UNSET
    quiet_from: Clock | UnsetType | None = UNSET
    quiet_until: Clock | UnsetType | None = UNSET
    morning: Clock | UnsetType | None = UNSET
    evening: Clock | UnsetType | None = UNSET
    tells_of_nothing: bool | UnsetType = UNSET


class DeskInvitationView(View):
    """How an account is linked in a messenger: `link` is an address to open, or else what to write to the bot."""

    connection_id: Id
    kind: str
    title: str
    link: str
    expires_at: Moment


async def _view(call: Call) -> DeskView:
    links = await linking.of_user(call.session, call.user_id)
    chosen = choices.of(links)
    begins, ends = chosen.quiet or (None, None)
    return DeskView(
        links=[_link(call, link) for link in links],
        events=dict(chosen.events),
        quiet_from=_written(begins),
        quiet_until=_written(ends),
        morning=_written(chosen.morning),
        evening=_written(chosen.evening),
        tells_of_nothing=chosen.tells_of_nothing,
    )


def _link(call: Call, link: DeskLink) -> DeskLinkView:
    live = call.hub.switchboard.by_id(link.connection_id)
    return DeskLinkView(
        id=Id(link.id),
        connection_id=Id(link.connection_id),
        kind="" if live is None else live.kind,
        title="" if live is None else live.title,
        name=link.name,
        handle=link.handle,
        is_reachable=link.is_reachable,
        linked_at=link.created_at,
    )


def _written(at: time | None) -> str | None:
    return None if at is None else f"{at:%H:%M}"


async def show(call: Call) -> DeskView:
    """Show one's messengers and what one is told there."""
    return await _view(call)


async def change(call: Call, body: DeskChange) -> DeskView:
    """Change what one is told in messengers, and when. There has to be one that is linked."""
    values: dict[str, Any] = {}
    if body.events is not UNSET:
        values["events"] = body.events
    for name in ("morning", "evening"):
        if (given := getattr(body, name)) is not UNSET:
            values[name] = choices.clock(given)
    if body.tells_of_nothing is not UNSET:
        values["tells_of_nothing"] = body.tells_of_nothing
    if body.quiet_from is not UNSET or body.quiet_until is not UNSET:
        before = choices.of(await linking.of_user(call.session, call.user_id)).quiet or (None, None)
        begins = before[0] if body.quiet_from is UNSET else choices.clock(body.quiet_from)
        ends = before[1] if body.quiet_until is UNSET else choices.clock(body.quiet_until)
        if (begins is None) != (ends is None):
            raise Rejected("Quiet hours have a beginning and an end", field="quiet_until")
        values["quiet"] = None if begins is None or ends is None else (begins, ends)
    await choices.change(call.session, call.user_id, **values)
    return await _view(call)


async def invite(call: Call) -> Page[DeskInvitationView]:
    """Make links for one's account, one for each messenger that is connected.

    All of them work once between them, and for half an hour. Whoever uses one acts as the caller from then on, so a
    token that is narrowed by scopes gets none.
    """
    if call.actor.scopes and "*" not in call.actor.scopes:
        raise Forbidden("Whoever is linked may do all that you may, so a token with fewer rights cannot make a link")
    invited = await invitations.invite(call.session, call.hub, call.user_id, at=call.now)
    items = [
        DeskInvitationView(
            connection_id=Id(each.live.id),
            kind=each.live.kind,
            title=each.live.title,
            link=each.words,
            expires_at=each.expires_at,
        )
        for each in invited
    ]
    return Page(items=items, next=None)


async def unlink(call: Call, link_id: Id) -> None:
    """Unlink an account of one's own, at once. What is written there from then on is not done."""
    link = await call.session.get(DeskLink, int(link_id), with_for_update=True)
    if link is None or link.user_id != call.user_id:
        raise NotFound("link", int(link_id))
    await linking.unlink(call.session, link, at=call.now, actor_id=call.user_id)


ENDPOINTS = (
    Endpoint("GET", "/me/desk", show),
    Endpoint("PATCH", "/me/desk", change, refuses=(409,)),
    Endpoint("POST", "/me/desk/links", invite, status=201, secret=True),
    Endpoint("DELETE", "/me/desk/links/{link_id}", unlink),
)
