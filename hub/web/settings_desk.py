"""The desk on a channel's page: the groups in which teams work."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web
from sqlalchemy import func, select

from channels.desk_contract import Messenger
from core.connections import Connection
from core.kernel.errors import NotFound
from core.staff import access
from core.staff.teams import Team
from hub.desk import topics
from hub.desk.records import DeskLink, DeskTeamChat
from hub.web.settings_forms import note
from hub.web.visits import Visit


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """A group. `team` is whose conversations are its topics, "" for those of all teams without one of their own."""

    id: int
    title: str
    team: str
    trouble: str


@dataclass(frozen=True, slots=True)
class ShownDesk:
    """What a channel's page shows of the desk. `groups` None: this messenger's groups have no topics."""

    linked: int
    unreachable: int
    groups: list[ShownGroup] | None


async def shown(visit: Visit, connection: Connection) -> ShownDesk | None:
    """Return what is to be shown of a desk's connection; None for a channel of customers."""
    live = visit.hub.switchboard.by_id(connection.id)
    if live is None or not isinstance(live.channel, Messenger):
        return None
    counted = await visit.session.execute(
        select(DeskLink.is_reachable, func.count())
        .where(DeskLink.connection_id == connection.id)
        .group_by(DeskLink.is_reachable)
    )
    numbers = {is_reachable: number for is_reachable, number in counted}
    groups = None
    if live.channel.abilities.topics:
        rows = await visit.session.execute(
            select(DeskTeamChat, Team.name)
            .outerjoin(Team, Team.id == DeskTeamChat.team_id)
            .where(DeskTeamChat.connection_id == connection.id)
            .order_by(DeskTeamChat.id)
        )
        groups = [
            ShownGroup(
                chat.id, chat.title or chat.chat, name or "", visit.translate(chat.trouble) if chat.trouble else ""
            )
            for chat, name in rows
        ]
    return ShownDesk(sum(numbers.values()), numbers.get(False, 0), groups)


async def forget(visit: Visit, connection_id: int, group_id: int) -> web.StreamResponse:
    """Work in a group no more; its topics stay as they are."""
    await access.fetch(visit.session, visit.rights, Connection, connection_id, change=True)
    chat = await visit.session.get(DeskTeamChat, group_id, with_for_update=True)
    if chat is None or chat.connection_id != connection_id:
        raise NotFound("group", group_id)
    note(visit, "desk.group_forgotten", "connection", connection_id, {"title": chat.title})
    await topics.forget(visit.session, connection_id, chat.chat, at=visit.viewer.now)
    return visit.go(f"/settings/channels/{connection_id}")
