"""Looking after connections: telling providers where to call us, asking whether all is well, fetching templates."""

from __future__ import annotations

from typing import NamedTuple

import structlog

from channels.contract import Checker, Installer, TemplateSource, Tools
from channels.errors import ChannelError, Temporary, Unauthorised
from core import connections
from core.connections import Health
from core.talk import outbox, templates
from hub.app import Hub
from hub.connections import Live
from hub.web_client import tools_for

log = structlog.get_logger(__name__)


class Finding(NamedTuple):
    """What a check found. `facts` are worth showing: the bot's name, the balance, …"""

    is_well: bool
    detail: str
    facts: dict[str, str]
    health: Health


async def set_up(hub: Hub, *, connection_id: int) -> None:
    """Register our hook with the provider of a connection, if it has to be, and note how it does.

    Raises:
        Temporary: the provider cannot be reached just now.
    """
    live = hub.switchboard.by_id(connection_id)
    if live is None or live.paused_because is not None:
        await hub.switchboard.refresh()
        live = hub.switchboard.by_id(connection_id)
        if live is None or live.paused_because is not None:
            return
    tools = tools_for(hub.web, live, now=hub.clock.now, public_url=hub.public_url)
    try:
        if isinstance(live.channel, Installer):
            log.info("connection_set_up", connection_id=live.id, done=await live.channel.setup(tools))
    except Temporary as error:
        await _note(hub, live, Finding(False, str(error), {}, Health.DEGRADED))
        raise
    except ChannelError as error:
        await _note(hub, live, Finding(False, str(error), {}, _health_of(error)))
        return
    await look_at(hub, live)


async def look_at(hub: Hub, live: Live) -> Finding:
    """Ask the provider of a connection whether all is well, and note what it says."""
    tools = tools_for(hub.web, live, now=hub.clock.now, public_url=hub.public_url)
    finding = await asked(live, tools)
    await _note(hub, live, finding)
    if finding.is_well and isinstance(live.channel, TemplateSource):
        try:
            found = await live.channel.templates(tools)
        except ChannelError as error:
            log.info("templates_refused", connection_id=live.id, error=live.masked(str(error))[:200])
        else:
            async with hub.database.transaction() as session:
                rows = [template._asdict() for template in found]
                await templates.replace(session, live.id, rows, at=hub.clock.now())
    return finding


async def asked(live: Live, tools: Tools) -> Finding:
    """Ask the provider of a connection whether all is well; nothing is stored."""
    if not isinstance(live.channel, Checker):
        return Finding(True, "Ready. Its provider cannot be asked: send something to see it work", {}, Health.ACTIVE)
    try:
        checked = await live.channel.check(tools)
    except ChannelError as error:
        return Finding(False, live.masked(str(error)), {}, _health_of(error))
    except Exception as error:
        log.exception("check_failed", connection_id=live.id, kind=live.kind)
        return Finding(False, f"The check itself failed ({type(error).__name__})", {}, Health.DEGRADED)
    return Finding(True, checked.detail, dict(checked.facts), Health.ACTIVE)


def _health_of(error: ChannelError) -> Health:
    return Health.REAUTHORISE if isinstance(error, Unauthorised) else Health.DEGRADED


async def _note(hub: Hub, live: Live, finding: Finding) -> None:
    now = hub.clock.now()
    async with hub.database.transaction() as session:
        row = await connections.get(session, live.id)
        row.checked_at = now
        if finding.facts:
            row.account = ", ".join(value for value in finding.facts.values() if value)[:300]
        if finding.is_well:
            await connections.note_well(session, row, at=now)
            await outbox.hurry(session, row.id, at=now)
        else:
            await connections.note_trouble(session, row, live.masked(finding.detail), health=finding.health, at=now)


async def say_farewell(hub: Hub, live: Live) -> None:
    """Take our hook back from a provider, before a connection is removed. What it says to that is no matter."""
    if not isinstance(live.channel, Installer):
        return
    tools = tools_for(hub.web, live, now=hub.clock.now, public_url=hub.public_url)
    try:
        await live.channel.teardown(tools)
    except ChannelError as error:
        log.info("teardown_refused", connection_id=live.id, error=live.masked(str(error))[:200])
