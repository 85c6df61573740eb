"""`switchyard connection`: adding, listing, testing and pausing channels."""

from __future__ import annotations

import argparse
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.connections import Connection
from core.kernel.errors import NotFound, Rejected
from core.kernel.secrets import Vault
from core.sales.pipelines import Pipeline
from core.staff import audit, teams, users
from hub import connections
from hub.commands.workplace import CLOCK, show, workplace
from hub.settings import Settings

_WORDS = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


async def add(settings: Settings, options: argparse.Namespace) -> int:
    """Connect a channel and print its id, key and hook URL as JSON."""
    given: dict[str, str] = {}
    for pair in options.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise Rejected(f"--set takes KEY=VALUE, not {pair!r}")
        given[name.strip()] = value
    async with workplace(settings) as database, database.transaction() as session:
        common, own = await common_settings(session, given)
        connection = await connections.create(
            session,
            Vault(settings.secret_key()),
            kind=options.kind,
            title=options.title,
            settings=own,
            at=CLOCK.now(),
            **common,
        )
        audit.note(session, "connection.added", at=CLOCK.now(), entity="connection", entity_id=connection.id)
        shown = described(connection, settings)
    show(shown)
    return 0


def described(connection: Connection, settings: Settings) -> dict[str, str]:
    """Return what somebody needs to point a sender at a connection."""
    base = settings.public_url or "http://127.0.0.1:8080"
    return {"id": str(connection.id), "key": connection.key, "hook_url": f"{base}/hooks/{connection.key}"}


async def common_settings(session: AsyncSession, given: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Take the settings every connection has out of those given; return them and the kind's own.

    A pipeline, team or owner may be named by id, by name, or by e-mail address.

    Raises:
        Rejected, NotFound: a value makes no sense or names nothing.
    """
    own = dict(given)
    common: dict[str, Any] = {}
    if country := own.pop("default_country", ""):
        common["default_country"] = _country(country)
    if zone := own.pop("time_zone", ""):
        common["time_zone"] = _zone(zone)
    if name := own.pop("pipeline", ""):
        common["pipeline_id"] = await _pipeline(session, name)
    if name := own.pop("team", ""):
        common["team_id"] = int(name) if name.isdigit() else (await teams.by_name(session, name)).id
    if name := own.pop("owner", ""):
        user = await users.get(session, int(name)) if name.isdigit() else await users.by_email(session, name)
        if user is None:
            raise NotFound("user with the address", name)
        common["owner_id"] = user.id
    for flag in ("make_lead", "make_deal"):
        if (word := own.pop(flag, "")) != "":
            if word.lower() not in _WORDS:
                raise Rejected(f"{flag} is true or false, not {word!r}", field=flag)
            common[flag] = _WORDS[word.lower()]
    if (rate := own.pop("rate_per_minute", "")) != "":
        if not rate.isdigit():
            raise Rejected("rate_per_minute is a number of requests, 0 for no limit", field="rate_per_minute")
        common["rate_per_minute"] = int(rate)
    if (through := own.pop("reply_through", "")) != "":
        if not through.isdigit() or await session.get(Connection, int(through)) is None:
            raise NotFound("connection", through)
        common["reply_through"] = int(through)
    return common, own


def _country(code: str) -> str:
    import phonenumbers

    if code.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise Rejected(f"{code!r} is no country code such as RU or EE (ISO 3166)", field="default_country")
    return code.upper()


def _zone(name: str) -> str:
    from zoneinfo import available_timezones

    if name not in available_timezones():
        raise Rejected(f"{name!r} is no time zone such as Europe/Moscow", field="time_zone")
    return name


async def _pipeline(session: AsyncSession, name: str) -> int:
    statement = select(Pipeline.id).where(Pipeline.id == int(name) if name.isdigit() else Pipeline.name == name)
    found = await session.scalar(statement)
    if found is None:
        raise NotFound("pipeline", name)
    return int(found)
