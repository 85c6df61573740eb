"""What administrators do to a connection, the same from pages, REST and the command line."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import connections
from core.connections import Connection, Health
from core.kernel.errors import Conflict, HubError, NotFound, Rejected
from core.kernel.secrets import Vault
from core.sales.leads import Lead
from core.talk import outbox
from core.talk.conversations import Conversation
from hub import channel_forms
from hub import connections as configured
from webhooks.deliveries import Delivery

_ILL = (Health.DEGRADED, Health.REAUTHORISE)


def opened(vault: Vault, connection: Connection) -> dict[str, Any]:
    """Return the secrets of a connection.

    Raises:
        HubError: they were sealed under another key.
    """
    found: dict[str, Any] = vault.open(connection.sealed, belongs_to=f"connection:{connection.key}")
    return found


async def changed(session: AsyncSession, connection: Connection, *, at: datetime, actor_id: int | None) -> None:
    """Have a connection whose settings were changed taken up anew: by every node, and by its provider.

    Whatever was wrong with it is thought mended until the provider says otherwise.
    """
    if connection.health in _ILL:
        await connections.note_well(session, connection, at=at)
    await connections.changed(session, connection, at=at, actor_id=actor_id)
    await configured.wish_set_up(session, connection, at=at)
    await outbox.hurry(session, connection.id, at=at)


async def resume(
    session: AsyncSession, vault: Vault, connection: Connection, *, at: datetime, actor_id: int | None
) -> None:
    """Let a connection take and send again, and send what waited for it.

    Raises:
        Rejected: it could not be used as it is stored; the message says why.
    """
    if (reason := configured.trouble(vault, connection)) is not None:
        raise Rejected(reason)
    await connections.resume(session, connection)
    await changed(session, connection, at=at, actor_id=actor_id)


def merged(vault: Vault, connection: Connection, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a connection as they would be with some of them changed; None stands for the default.

    Secrets that cannot be opened any more count as missing: whoever enters them again has mended the connection. Those
    of our own choice are made anew then.
    """
    try:
        secret = opened(vault, connection)
    except HubError:
        secret = {}
        settings = configured.completed(connection.kind, settings)
    together = {**connection.settings, **secret, **settings}
    return {name: value for name, value in together.items() if value is not None}


def reconfigure(vault: Vault, connection: Connection, settings: Mapping[str, Any]) -> None:
    """Put new settings of its kind into a connection; those not named stay, secrets included, None is the default.

    Raises:
        Rejected: a setting is wrong.
    """
    plain, secret = configured.split_secrets(connection.kind, merged(vault, connection, settings))
    connection.settings = plain
    connection.sealed = vault.seal(secret, belongs_to=f"connection:{connection.key}")


async def renew_secret(
    session: AsyncSession, vault: Vault, connection: Connection, name: str, *, at: datetime, actor_id: int | None
) -> str:
    """Make a secret of our choice anew and return it. The old one opens nothing from now on.

    Raises:
        NotFound: the kind has no such secret of our choice.
    """
    field = channel_forms.form_of(connection.kind).field(name)
    if field is None or not field.is_made:
        raise NotFound("secret of this channel")
    made = secrets.token_urlsafe(24)
    reconfigure(vault, connection, {name: made})
    await changed(session, connection, at=at, actor_id=actor_id)
    return made


async def remove(session: AsyncSession, connection: Connection) -> None:
    """Remove a connection over which nothing came and nothing was said yet.

    Raises:
        Conflict: it was used; pausing it loses nothing.
    """
    used = or_(
        exists().where(Delivery.connection_id == connection.id),
        exists().where(Conversation.connection_id == connection.id),
        exists().where(Lead.connection_id == connection.id),
    )
    if await session.scalar(select(used)):
        raise Conflict("Something came over this channel, which would lose where it came from. Pause it instead")
    await session.delete(connection)
    await connections.announce(session)
