"""The settings of a channel as somebody types them: KEY=VALUE, common ones and the kind's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels import registry
from core.connections import Connection
from core.kernel.errors import NotFound, Rejected
from core.sales.pipelines import Pipeline
from core.staff import teams, users
from hub import channel_forms
from hub.channel_forms import KindForm

COMMON = {
    "default_country": "country of phones written without one, such as RU (the workspace's)",
    "time_zone": "such as Europe/Moscow (the workspace's)",
    "pipeline": "where its deals go: name or id (the default one)",
    "team": "who shares its requests: name or id (as routing says)",
    "owner": "who gets its requests: e-mail address or id (as routing says)",
    "make_lead": "whether a request becomes a lead: true or false (true)",
    "make_deal": "whether a lead becomes a deal at once: true or false (true)",
    "rate_per_minute": "how many requests it takes a minute, 0 for no limit (0)",
    "reply_through": "id of the channel through which to answer",
}
"""The settings every connection has, each with what it says."""

_WORDS = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


def checked_names(kind: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the settings given by their names.

    Raises:
        NotFound: there is no such kind. Rejected: a setting is none of this kind's, or was given twice.
    """
    own = [field.name for field in channel_forms.form_of(kind).fields]
    known = [*own, *COMMON, *(name for name in registry.settings_class(kind).model_fields if name not in own)]
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise Rejected(f"{kind} has no setting {name}.{hint} There are: {', '.join(known)}", field=name)
        if name in given:
            raise Rejected(f"{name} was given twice; write several values with commas", field=name)
        given[name] = value
    return given


def described(form: KindForm) -> list[dict[str, Any]]:
    """Describe a kind's own settings, as `connection kinds --json` prints them."""
    return [
        {
            "name": field.name,
            "title": field.title,
            "description": field.description,
            "type": field.kind,
            "secret": field.kind == "secret",
            "required": field.is_required,
            "made": field.is_made,
            "advanced": field.is_advanced,
            "default": field.default,
            "choices": list(field.choices),
        }
        for field in form.fields
    ]


def read(kind: str, own: dict[str, str]) -> dict[str, Any]:
    """Return a kind's own settings as its class takes them: lists from what stands between commas."""
    fields = {field.name: field for field in channel_forms.fields_of(registry.settings_class(kind))}
    return {name: channel_forms.from_text(fields[name], typed) for name, typed in own.items()}


async def split(session: AsyncSession, given: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Take the settings every connection has out of those given; return them, read, and the kind's own.

    A pipeline or team may be named by id or name, an owner by id or e-mail address. An empty value stands for none.

    Raises:
        Rejected, NotFound: a value makes no sense or names nothing.
    """
    own = {name: value for name, value in given.items() if name not in COMMON}
    common: dict[str, Any] = {}
    for name in COMMON:
        if given.get(name, "") != "":
            key, value = await _READERS[name](session, name, given[name].strip())
            common[key] = value
    return common, own


async def _country(_: AsyncSession, name: str, code: str) -> tuple[str, str]:
    import phonenumbers

    if code.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise Rejected(f"{code!r} is no country code such as RU or EE (ISO 3166)", field=name)
    return name, code.upper()


async def _zone(_: AsyncSession, name: str, zone: str) -> tuple[str, str]:
    from zoneinfo import available_timezones

    if zone not in available_timezones():
        near = get_close_matches(zone, available_timezones(), n=1)
        hint = f"; did you mean {near[0]}?" if near else " such as Europe/Moscow"
        raise Rejected(f"{zone!r} is no time zone{hint}", field=name)
    return name, zone


async def _pipeline(session: AsyncSession, _: str, name: str) -> tuple[str, int]:
    rows = list(await session.execute(select(Pipeline.id, Pipeline.name).order_by(Pipeline.id)))
    for row in rows:
        if row.name.casefold() == name.casefold() or str(row.id) == name:
            return "pipeline_id", row.id
    raise NotFound(f"pipeline {name!r} (there is: {', '.join(row.name for row in rows) or 'none'})")


async def _team(session: AsyncSession, _: str, name: str) -> tuple[str, int]:
    if name.isdigit() and await session.get(teams.Team, int(name)) is not None:
        return "team_id", int(name)
    return "team_id", (await teams.by_name(session, name)).id


async def _owner(session: AsyncSession, _: str, name: str) -> tuple[str, int]:
    user = await users.get(session, int(name)) if name.isdigit() else await users.by_email(session, name)
    if user is None:
        raise NotFound("user with the address", name)
    if not user.is_active:
        raise Rejected(f"{user.name} is dismissed and can own nothing new", field="owner")
    return "owner_id", user.id


async def _flag(_: AsyncSession, name: str, word: str) -> tuple[str, bool]:
    if word.lower() not in _WORDS:
        raise Rejected(f"{name} is true or false, not {word!r}", field=name)
    return name, _WORDS[word.lower()]


async def _rate(_: AsyncSession, name: str, rate: str) -> tuple[str, int]:
    if not (rate.isascii() and rate.isdigit()) or int(rate) > 1_000_000:
        raise Rejected(f"{name} is a number of requests, 0 for no limit", field=name)
    return name, int(rate)


async def _reply_through(session: AsyncSession, name: str, through: str) -> tuple[str, int]:
    if not through.isdigit() or await session.get(Connection, int(through)) is None:
        raise NotFound("connection", through)
    return name, int(through)


_READERS: dict[str, Callable[[AsyncSession, str, str], Awaitable[tuple[str, Any]]]] = {
    "default_country": _country,
    "time_zone": _zone,
    "pipeline": _pipeline,
    "team": _team,
    "owner": _owner,
    "make_lead": _flag,
    "make_deal": _flag,
    "rate_per_minute": _rate,
    "reply_through": _reply_through,
}
