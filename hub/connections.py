"""The connections as this node runs them: each with its channel, built anew when somebody changes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from channels import registry
from channels.contract import Channel, ParseContext, Receiver
from core import connections
from core.connections import Connection
from core.intake import Source
from core.kernel.errors import HubError
from core.kernel.secrets import Vault
from core.staff import workspace
from hub.database import Database

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Live:
    """A connection in use. `tokens` and `refilled_at` are its rate limit's bucket on this node."""

    id: int
    key: str
    slug: str | None
    title: str
    kind: str
    channel: Channel
    receiver: Receiver | None
    source: Source
    default_country: str
    time_zone: str
    rate_per_minute: int
    paused_because: str | None
    tokens: float = 0.0
    refilled_at: float = field(default=0.0)

    def admits(self, now: float) -> bool:
        """Take one request off the minute's allowance; False if it is used up. `now` is in monotonic seconds.

        A bucket of one minute's allowance that fills evenly; each node counts for itself.
        """
        if not self.rate_per_minute:
            return True
        if self.refilled_at == 0.0:
            self.tokens = float(self.rate_per_minute)
        else:
            grown = (now - self.refilled_at) * self.rate_per_minute / 60
            self.tokens = min(float(self.rate_per_minute), self.tokens + grown)
        self.refilled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def context(self, received_at: datetime) -> ParseContext:
        """Return what the channel may know while it reads a delivery."""
        return ParseContext(self.default_country, self.time_zone, received_at)


class Switchboard:
    """All connections of the workspace, by key, by slug and by id."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._by_key: dict[str, Live] = {}
        self._by_slug: dict[str, Live] = {}
        self._by_id: dict[int, Live] = {}

    def by_key(self, key: str) -> Live | None:
        """Return the connection a hook URL names; None if there is none."""
        return self._by_key.get(key)

    def by_slug(self, slug: str) -> Live | None:
        """Return the connection a hosted form belongs to; None if there is none."""
        return self._by_slug.get(slug)

    def by_id(self, connection_id: int) -> Live | None:
        """Return a connection; None if there is none or it cannot be built."""
        return self._by_id.get(connection_id)

    def live(self) -> list[Live]:
        """Return all connections that could be built."""
        return list(self._by_id.values())

    async def refresh(self) -> None:
        """Read the connections again and swap them in at once; a bad one is paused and does not stop the others."""
        built: list[Live] = []
        async with self._database.transaction() as session:
            company = await workspace.get(session)
            for row in await connections.all_of(session):
                try:
                    built.append(self._build(row, company))
                except HubError as error:
                    if row.paused_because is None:
                        log.warning("connection_paused", connection_id=row.id, kind=row.kind, reason=str(error))
                        await connections.pause(session, row, str(error))
        for live in built:
            before = self._by_id.get(live.id)
            if before is not None and before.rate_per_minute == live.rate_per_minute:
                live.tokens, live.refilled_at = before.tokens, before.refilled_at
        # No await from here on: nobody sees a gap.
        self._by_key = {live.key: live for live in built}
        self._by_slug = {live.slug: live for live in built if live.slug}
        self._by_id = {live.id: live for live in built}

    def _build(self, row: Connection, company: workspace.Workspace) -> Live:
        secrets = self._vault.open(row.sealed, belongs_to=f"connection:{row.key}")
        channel = registry.build(row.kind, {**row.settings, **secrets})
        return Live(
            id=row.id,
            key=row.key,
            slug=row.slug,
            title=row.title,
            kind=row.kind,
            channel=channel,
            # Asked here and not per request: a check against a protocol costs 10 µs.
            receiver=channel if isinstance(channel, Receiver) else None,
            source=Source(
                id=row.id,
                kind=row.kind,
                title=row.title,
                pipeline_id=row.pipeline_id,
                team_id=row.team_id,
                owner_id=row.owner_id,
                make_lead=row.make_lead,
                make_deal=row.make_deal,
            ),
            default_country=row.default_country or company.country,
            time_zone=row.time_zone or company.time_zone,
            rate_per_minute=row.rate_per_minute,
            paused_because=row.paused_because,
        )


def split_secrets(kind: str, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check a kind's settings and return them apart: what may be stored as it is, and what has to be sealed.

    Raises:
        Rejected, NotFound: the kind is unknown or a setting is wrong; the message says which and how.
    """
    channel = registry.build(kind, settings)
    checked = channel.Settings.model_validate(dict(settings))
    plain: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    for name in type(checked).model_fields:
        value = getattr(checked, name)
        if isinstance(value, SecretStr):
            secret[name] = value.get_secret_value()
        else:
            plain[name] = checked.model_dump(mode="json", include={name})[name]
    return plain, secret


async def create(
    session: AsyncSession,
    vault: Vault,
    *,
    kind: str,
    title: str,
    settings: Mapping[str, Any],
    at: datetime,
    actor_id: int | None = None,
    **common: Any,
) -> Connection:
    """Check, seal and store a new connection.

    Raises:
        Rejected, NotFound: as `split_secrets`; or the title is empty.
    """
    plain, secret = split_secrets(kind, settings)
    connection = await connections.add(
        session, kind=kind, title=title, at=at, settings=plain, actor_id=actor_id, **common
    )
    connection.sealed = vault.seal(secret, belongs_to=f"connection:{connection.key}")
    return connection


def trouble(vault: Vault, connection: Connection) -> str | None:
    """Return why a connection could not be used as it is stored; None if it could: secrets open, settings are right."""
    try:
        secrets = vault.open(connection.sealed, belongs_to=f"connection:{connection.key}")
        registry.build(connection.kind, {**connection.settings, **secrets})
    except HubError as error:
        return str(error)
    return None


def reconfigure(vault: Vault, connection: Connection, settings: Mapping[str, Any]) -> None:
    """Put new settings of its kind into a connection; those not named stay, secrets included, None is the default.

    Raises:
        Rejected: a setting is wrong.
    """
    belongs_to = f"connection:{connection.key}"
    merged = {**connection.settings, **vault.open(connection.sealed, belongs_to=belongs_to), **settings}
    plain, secret = split_secrets(connection.kind, {name: value for name, value in merged.items() if value is not None})
    connection.settings = plain
    connection.sealed = vault.seal(secret, belongs_to=belongs_to)
