"""The connections as this node runs them: each with its channel, built anew when somebody changes one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import structlog
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from sqlalchemy.ext.asyncio import AsyncSession

from channels import registry
from channels.contract import Channel, ParseContext, Profiler, Receiver, Sender, Telephone
from core import connections
from core.connections import Connection
from core.intake import Source
from core.kernel import jobs
from core.kernel.db import json_text
from core.kernel.errors import HubError
from core.kernel.secrets import Vault
from core.staff import workspace
from core.work.calling import Line
from hub.database import Database
from hub.i18n import translator_for
from hub.web.words import N_

SETUP = "connection.setup"
"""The job that registers our hook with the provider, and looks whether the account works."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Live:
    """A connection in use. `tokens` and `refilled_at` are its rate limit's bucket on this node.

    `trusted` are the addresses its settings name, `secrets` what must be masked wherever it turns up, `line` is what
    calling needs of it if it carries calls.
    """

    id: int
    key: str
    slug: str | None
    title: str
    kind: str
    channel: Channel
    receiver: Receiver | None
    sender: Sender | None
    source: Source
    default_country: str
    time_zone: str
    rate_per_minute: int
    paused_because: str | None
    made_of: tuple[str, str | None, bytes | None] = field(default=("", None, None), repr=False)
    account: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    trusted: tuple[str, ...] = ()
    health: str = "active"
    reply_through: int | None = None
    line: Line | None = None
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

    def masked(self, text: str) -> str:
        """Return a text without this connection's secrets."""
        for secret in self.secrets:
            if len(secret) > 4:
                text = text.replace(secret, "•••").replace(quote(secret, safe=""), "•••")
        return text

    def masked_bytes(self, content: bytes) -> bytes:
        """Return bytes without this connection's secrets: some providers put them into the body."""
        for secret in self.secrets:
            if len(secret) > 4:
                content = content.replace(secret.encode(), "•••".encode())
        return content

    def context(self, received_at: datetime) -> ParseContext:
        """Return what the channel may know while it reads a delivery."""
        return ParseContext(self.default_country, self.time_zone, received_at)


class Switchboard:
    """All connections of the workspace, by key, by slug and by id.

    `base_urls` are providers' addresses, by kind, for connections that name none themselves.
    """

    def __init__(self, database: Database, vault: Vault, *, base_urls: Mapping[str, str] | None = None) -> None:
        self._database = database
        self._vault = vault
        self._base_urls = dict(base_urls or {})
        self._by_key: dict[str, Live] = {}
        self._by_slug: dict[str, Live] = {}
        self._by_id: dict[int, Live] = {}
        self._by_account: dict[str, Live] = {}

    def by_account(self, account: str) -> Live | None:
        """Return the connection of a provider's account (`whatsapp:1065…`); None if it is none of ours."""
        return self._by_account.get(account)

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
                    built.append(self.build(row, company))
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
        self._by_account = {live.account: live for live in reversed(built) if live.account}

    def build(self, row: Connection, company: workspace.Workspace) -> Live:
        """Make a connection usable as it is stored.

        Raises:
            HubError: its secrets cannot be opened, or its settings are not right.
        """
        opened = self._vault.open(row.sealed, belongs_to=f"connection:{row.key}")
        before = self._by_id.get(row.id)
        made_of = (row.kind, json_text(row.settings), row.sealed)
        # the same object as long as its settings are the same: a listener and a sender may share its open line
        same = before is not None and before.made_of == made_of
        given = {**row.settings, **opened}
        if not given.get("base_url") and row.kind in self._base_urls:
            given["base_url"] = self._base_urls[row.kind]
        channel = before.channel if before and same else registry.build(row.kind, given)
        return Live(
            id=row.id,
            key=row.key,
            slug=row.slug,
            title=row.title,
            kind=row.kind,
            channel=channel,
            # Asked here and not each time: a check against a protocol costs 10 µs.
            receiver=channel if isinstance(channel, Receiver) else None,
            sender=channel if isinstance(channel, Sender) else None,
            source=Source(
                id=row.id,
                kind=row.kind,
                title=row.title,
                pipeline_id=row.pipeline_id,
                team_id=row.team_id,
                owner_id=row.owner_id,
                make_lead=row.make_lead,
                make_deal=row.make_deal,
                has_profiles=isinstance(channel, Profiler),
            ),
            default_country=row.default_country or company.country,
            time_zone=row.time_zone or company.time_zone,
            rate_per_minute=row.rate_per_minute,
            paused_because=row.paused_because,
            made_of=made_of,
            account=channel.account,
            secrets=tuple(str(value) for value in opened.values() if value),
            trusted=tuple(url for url in given.values() if isinstance(url, str) and url.startswith("http")),
            health=row.health,
            reply_through=row.reply_through,
            line=_line(row, channel, company),
        )


def _line(row: Connection, channel: Channel, company: workspace.Workspace) -> Line | None:
    if not isinstance(channel, Telephone):
        return None
    say = translator_for(company.language)
    return Line(
        id=row.id,
        kind=row.kind,
        title=row.title,
        rules=channel.rules,
        country=row.default_country or company.country,
        pipeline_id=row.pipeline_id,
        team_id=row.team_id,
        owner_id=row.owner_id,
        make_lead=row.make_lead,
        make_deal=row.make_deal,
        call_back=say(N_("Call back")),
        rang_in_vain=say(N_("Rang in vain")),
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
    plain, secret = split_secrets(kind, completed(kind, settings))
    connection = await connections.add(
        session, kind=kind, title=title, at=at, settings=plain, actor_id=actor_id, **common
    )
    connection.sealed = vault.seal(secret, belongs_to=f"connection:{connection.key}")
    await wish_set_up(session, connection, at=at)
    return connection


def completed(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kind's settings with those secrets made at random that are ours to choose and nobody gave."""
    made = {
        name: secrets.token_urlsafe(24)
        for name, field in registry.settings_class(kind).model_fields.items()
        if not settings.get(name) and is_made(field)
    }
    return {**settings, **made}


def is_made(field: FieldInfo) -> bool:
    """Whether a setting is a secret that we choose and the provider repeats."""
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("made"))


async def wish_set_up(session: AsyncSession, connection: Connection, *, at: datetime) -> None:
    """Have a connection set up with its provider once the caller's transaction commits."""
    await jobs.enqueue(
        session,
        SETUP,
        at=at,
        lane=f"setup:{connection.id}",
        unique_key=f"{SETUP}:{connection.id}:{connection.version}",
        connection_id=connection.id,
    )


def trouble(vault: Vault, connection: Connection) -> str | None:
    """Return why a connection could not be used as it is stored; None if it could: secrets open, settings are right."""
    try:
        opened = vault.open(connection.sealed, belongs_to=f"connection:{connection.key}")
        registry.build(connection.kind, {**connection.settings, **opened})
    except HubError as error:
        return str(error)
    return None
