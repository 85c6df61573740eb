"""Invitations: the messengers that are connected, and how somebody links their account in each."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import Messenger
from core.connections import Connection
from hub.app import Hub
from hub.connections import Live
from hub.desk import linking


class Invitation(NamedTuple):
    """How an account is linked in one messenger: `words` is an address to open, or else what to write to the bot.

    `account` is what the bot is called there, as checked; "" as long as that is not known.
    """

    live: Live
    account: str
    words: str
    expires_at: datetime

    @property
    def is_address(self) -> bool:
        """Whether it can be opened."""
        return self.words.startswith(("https://", "http://"))


def messengers(hub: Hub) -> list[Live]:
    """Return the messengers our people can work in now, oldest first."""
    found = [live for live in hub.switchboard.live() if isinstance(live.channel, Messenger)]
    return sorted((live for live in found if live.paused_because is None), key=lambda live: live.id)


async def invite(session: AsyncSession, hub: Hub, user_id: int, *, at: datetime) -> list[Invitation]:
    """Return an invitation to each messenger, all with the same new word, which works once and for half an hour."""
    found = messengers(hub)
    if not found:
        return []
    rows = await session.execute(
        select(Connection.id, Connection.account).where(Connection.id.in_([live.id for live in found]))
    )
    # what a check found out, with commas: what the bot is called stands first (hub.care, Messenger.check)
    accounts = {row.id: (row.account or "").partition(",")[0].strip() for row in rows}
    ticket = await linking.make_ticket(session, user_id, at=at)
    return [
        Invitation(
            live,
            accounts.get(live.id, ""),
            live.channel.link(ticket, accounts.get(live.id, "")),
            at + linking.LASTS,
        )
        for live in found
        if isinstance(live.channel, Messenger)
    ]
