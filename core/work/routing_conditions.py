"""When a routing rule applies: conditions on a request, read from their written form and tested without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from core.kernel.errors import Rejected

_MOST_VALUES = 500
_LONGEST_SHOWN = 60
_KEYS = ("connection_id", "kind", "source", "language", "country", "fields", "hours")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about somebody who got in touch when it is decided who shall answer.

    at             the moment, aware, in UTC
    source         utm_source or the like; "" means that the kind of the channel is the source
    language       BCP 47 tag such as `ru` or `en-GB`; "" is unknown and anybody's
    country        ISO 3166 code of the phone's country; "" is unknown
    phone          E.164, for territories given as a prefix such as +7495; "" is unknown
    in_hours       whether the company's working hours cover `at`
    team_id        the connection's own team, asked when no rule applies
    user_id        the connection's own person, asked before that team
    """

    connection_id: int
    kind: str
    at: datetime
    source: str = ""
    language: str = ""
    country: str = ""
    phone: str = ""
    fields: Mapping[str, Any] = {}
    in_hours: bool = True
    team_id: int | None = None
    user_id: int | None = None


class Territory(msgspec.Struct, frozen=True):
    """Countries and beginnings of phone numbers, made by `territory`."""

    countries: frozenset[str]
    prefixes: tuple[str, ...]

    def covers(self, country: str, phone: str) -> bool:
        """Say whether the country is in it, or the phone begins with one of its prefixes."""
        return country in self.countries or (bool(self.prefixes) and phone.startswith(self.prefixes))


class Conditions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every condition given must hold; each lists the values it accepts, and an empty one is not asked.

    Case does not matter. `ru` accepts `ru-RU`. A country is an ISO code or the beginning of a number such as +7495.
    `hours` is "in" for within the company's working hours and "after" for outside of them.
    """

    connection_id: tuple[int, ...] = ()
    kind: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    country: tuple[str, ...] = ()
    fields: dict[str, tuple[str, ...]] = {}
    hours: str = ""


class Facts:
    """A request as the conditions see it: spelled one way, worked out once for all rules."""

    __slots__ = ("connection_id", "country", "fields", "hours", "kind", "language", "phone", "primary", "source")

    def __init__(self, request: Request) -> None:
        """Read the request."""
        self.connection_id = request.connection_id
        self.kind = request.kind.casefold()
        self.source = request.source.strip().casefold() or self.kind
        self.language = request.language.replace("_", "-").casefold()
        self.primary = self.language.partition("-")[0]
        self.country = request.country.upper()
        self.phone = request.phone
        self.fields = request.fields
        self.hours = "in" if request.in_hours else "after"


class Test:
    """Conditions made ready to be tested many times."""

    __test__ = False  # not a test of pytest

    def __init__(self, conditions: Conditions) -> None:
        """Prepare the values for look-up."""
        self._connections = frozenset(conditions.connection_id)
        self._kinds = frozenset(value.casefold() for value in conditions.kind)
        self._sources = frozenset(value.strip().casefold() for value in conditions.source)
        self._languages = frozenset(value.replace("_", "-").casefold() for value in conditions.language)
        self._territory = territory(conditions.country) if conditions.country else None
        self._fields = [(name, frozenset(map(_plain, values))) for name, values in conditions.fields.items()]
        self._hours = conditions.hours

    def __call__(self, facts: Facts) -> dict[str, Any] | None:
        """Return the facts that met the conditions, which may be none at all; None if the conditions do not hold."""
        met: dict[str, Any] = {}
        if self._connections:
            if facts.connection_id not in self._connections:
                return None
            met["connection_id"] = facts.connection_id
        if self._kinds:
            if facts.kind not in self._kinds:
                return None
            met["kind"] = facts.kind
        if self._sources:
            if facts.source not in self._sources:
                return None
            met["source"] = facts.source[:_LONGEST_SHOWN]
        if self._languages:
            if facts.language not in self._languages and facts.primary not in self._languages:
                return None
            met["language"] = facts.language
        if self._territory is not None:
            if not self._territory.covers(facts.country, facts.phone):
                return None
            met["country"] = facts.country or facts.phone[:5]
        if self._hours:
            if facts.hours != self._hours:
                return None
            met["hours"] = facts.hours
        for name, accepted in self._fields:
            value = _first_accepted(facts.fields.get(name), accepted)
            if value is None:
                return None
            met.setdefault("fields", {})[name] = value[:_LONGEST_SHOWN]
        return met


def territory(values: Sequence[str]) -> Territory:
    """Return the territory made of ISO country codes and beginnings of phone numbers with their plus sign."""
    return Territory(
        frozenset(value.strip().upper() for value in values if not value.startswith("+")),
        tuple(value for value in values if value.startswith("+")),
    )


def conditions_from_json(data: object) -> Conditions:
    """Read conditions as the API and the database write them; a single value may stand without its list.

        {"kind": ["webform"], "country": ["RU", "+374"], "fields": {"city": ["Tallinn"]}, "hours": "after"}

    Raises:
        Rejected: something is wrong with them; `field` says where.
    """
    given = _mapping(data, "conditions")
    if unknown := set(given) - set(_KEYS):
        raise Rejected("Rules know no condition “%(name)s”", name=min(unknown), field=min(unknown))
    hours = given.get("hours") or ""
    if hours not in ("", "in", "after"):
        raise Rejected("Say “in” for working hours or “after” for all other times", field="hours")
    fields = _mapping(given.get("fields"), "fields")
    countries = _texts(given.get("country"), "country")
    for country in countries:
        code = country.removeprefix("+")
        if not (code.isascii() and code.isdigit() if country != code else len(code) == 2 and code.isalpha()):
            raise Rejected(
                "“%(country)s” is neither a country such as RU nor a prefix such as +7495",
                country=country,
                field="country",
            )
    return Conditions(
        connection_id=tuple(_number(value) for value in _texts(given.get("connection_id"), "connection_id")),
        kind=_texts(given.get("kind"), "kind"),
        source=_texts(given.get("source"), "source"),
        language=_texts(given.get("language"), "language"),
        country=countries,
        fields={name: _texts(values, f"fields.{name}") for name, values in fields.items()},
        hours=hours,
    )


def conditions_to_json(conditions: Conditions) -> dict[str, Any]:
    """Write conditions in the form that `conditions_from_json` reads; those not asked are left out."""
    written: dict[str, Any] = msgspec.to_builtins(conditions)
    return written


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise Rejected("An object is expected here", field=name)
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    values = value if isinstance(value, list | tuple) else [value]
    if len(values) > _MOST_VALUES:
        raise Rejected("A condition lists at most %(most)s values", most=_MOST_VALUES, field=name)
    if any(isinstance(item, bool) or not isinstance(item, str | int) or not str(item).strip() for item in values):
        raise Rejected("A list of texts is expected here", field=name)
    return tuple(str(item).strip() for item in values)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise Rejected("“%(text)s” is not the number of a channel", text=text, field="connection_id")
    return int(text)


def _plain(value: object) -> str:
    return str(value).strip().casefold()


def _first_accepted(value: object, accepted: frozenset[str]) -> str | None:
    """Return the value, or the first item of a list of them, that is accepted; None if there is none."""
    items = value if isinstance(value, list | tuple) else (value,)
    return next((plain for item in items if item is not None and (plain := _plain(item)) in accepted), None)
