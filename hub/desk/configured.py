"""The desk's Telegram bot as the installation's settings name it: a connection that is there because of a variable."""

from __future__ import annotations

import structlog
from sqlalchemy import select, text

from core import connections as core_connections
from core.connections import Connection
from core.kernel.errors import HubError
from hub import connections
from hub.app import Hub

log = structlog.get_logger(__name__)

SLUG = "desk-telegram"
"""What tells this connection from those that people make; unique, so that two processes make one."""

_GONE = "SWITCHYARD_DESK_TELEGRAM_TOKEN is not set any more"
_LOCK = 0x535B


async def connect(hub: Hub) -> None:
    """Have a connection for the bot of `SWITCHYARD_DESK_TELEGRAM_TOKEN`, with the token as it is now; pause it where
    the variable is gone. A token that cannot be one is said in the log, and stops nothing else.
    """
    token = hub.settings.desk_telegram_token
    now = hub.clock.now()
    async with hub.database.transaction() as session:
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        row = await session.scalar(select(Connection).where(Connection.slug == SLUG).with_for_update())
        if token is None:
            if row is not None and row.paused_because is None:
                await core_connections.pause(session, row, _GONE)
            return
        try:
            if row is None:
                given = {"token": token.get_secret_value(), "mode": "polling"}
                row = await connections.create(
                    session, hub.vault, kind="desk_telegram", title="Telegram desk", settings=given, at=now
                )
                row.slug = SLUG
            else:
                opened = hub.vault.open(row.sealed, belongs_to=f"connection:{row.key}")
                if opened.get("token") != token.get_secret_value():
                    given = {**row.settings, **opened, "token": token.get_secret_value()}
                    plain, secret = connections.split_secrets("desk_telegram", given)
                    row.settings = plain
                    row.sealed = hub.vault.seal(secret, belongs_to=f"connection:{row.key}")
                    row.cursor = {}
                    await core_connections.changed(session, row, at=now, actor_id=None)
                    await connections.wish_set_up(session, row, at=now)
                if row.paused_because == _GONE:
                    await core_connections.resume(session, row)
        except HubError as error:
            log.error("desk_bot_not_connected", reason=str(error))
            return
    await hub.switchboard.refresh()
