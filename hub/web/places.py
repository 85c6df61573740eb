"""Countries, time zones and currencies to choose from, and which of them go together.

Names come from the Unicode CLDR (babel), zones by country from the IANA time zone database (`zone.tab`).
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

Choices = list[tuple[str, str]]

_BUSIEST = {
    "AR": "America/Argentina/Buenos_Aires",
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "CD": "Africa/Kinshasa",
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "DE": "Europe/Berlin",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "ID": "Asia/Jakarta",
    "KZ": "Asia/Almaty",
    "MN": "Asia/Ulaanbaatar",
    "MX": "America/Mexico_City",
    "MY": "Asia/Kuala_Lumpur",
    "NZ": "Pacific/Auckland",
    "PT": "Europe/Lisbon",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
    "US": "America/New_York",
    "UZ": "Asia/Tashkent",
}
"""Where most of a country's companies are, for countries of several zones; elsewhere the first one is."""


@lru_cache(maxsize=8)
def countries(language: str) -> Choices:
    """Return (ISO code, name) of every country that has phone numbers, by name as the language sorts it roughly."""
    import phonenumbers
    from babel import Locale

    names = Locale.parse(language).territories
    found = [(code, str(names[code])) for code in phonenumbers.SUPPORTED_REGIONS if code in names]
    return sorted(found, key=lambda choice: choice[1].casefold())


@lru_cache(maxsize=8)
def currencies(language: str) -> Choices:
    """Return (ISO code, "code · name") of every currency that is money somewhere today."""
    from babel import Locale
    from babel.numbers import get_territory_currencies

    names = Locale.parse(language).currencies
    codes = {code for country, _ in countries("en") for code in get_territory_currencies(country)}
    return sorted((code, f"{code} · {names.get(code, code)}") for code in codes)


@lru_cache(maxsize=1)
def _zones_by_country() -> dict[str, tuple[str, ...]]:
    """Read zone.tab: code, coordinates, zone and a comment, separated by tabs."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (files("tzdata") / "zoneinfo" / "zone.tab").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            found[country] = (*found.get(country, ()), zone)
    return found


@lru_cache(maxsize=8)
def time_zones(chosen: str = "") -> Choices:
    """Return (zone, zone as people read it) of every place that has one, and UTC; first what was chosen by an alias."""
    names = sorted({zone for zones in _zones_by_country().values() for zone in zones})
    names.append("UTC")
    if chosen and chosen not in names:
        names.insert(0, chosen)
    return [(name, name.replace("_", " ")) for name in names]


def zone_of(country: str) -> str:
    """Return the time zone to propose for a country; UTC where it has none."""
    return _BUSIEST.get(country) or _zones_by_country().get(country, ("UTC",))[0]


def currency_of(country: str) -> str:
    """Return the currency to propose for a country; EUR where it has none of its own."""
    from babel.numbers import get_territory_currencies

    found = get_territory_currencies(country)
    return str(found[0]) if found else "EUR"


def country_of(accept_language: str) -> str:
    """Return the first country that a browser's languages name (`ru-EE` names Estonia); "" if none does."""
    known = {code for code, _ in countries("en")}
    for part in accept_language[:500].split(","):
        region = part.partition(";")[0].strip().rpartition("-")[2]
        if region.isupper() and region in known:
            return region
    return ""


@lru_cache(maxsize=1)
def proposals() -> dict[str, dict[str, object]]:
    """Return what a page needs to propose one from the other: by country its zone and currency, by zone its country."""
    zones = _zones_by_country()
    return {
        "countries": {code: [zone_of(code), currency_of(code)] for code, _ in countries("en")},
        "zones": {zone: country for country, found in zones.items() for zone in found},
    }
