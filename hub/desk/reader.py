"""Reader: in which words, time zone and spelling of numbers somebody reads a card."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import addresses
from core.kernel.addresses import Address
from core.staff import workspace
from core.staff.users import User
from hub import i18n


@dataclass(frozen=True)
class Reader:
    """Whoever looks at a card. `now` is the moment it is made, UTC; `currency` the company's."""

    now: datetime
    language: str = "en"
    time_zone: str = "UTC"
    country: str = ""
    currency: str = "EUR"

    def text(self, message: str, **values: object) -> str:
        """Return a message in their language, its placeholders filled."""
        translated = i18n.translator_for(self.language)(message)
        return translated % values if values else translated

    @cached_property
    def zone(self) -> ZoneInfo:
        """Their time zone."""
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            return ZoneInfo("UTC")

    def when(self, moment: datetime) -> str:
        """Return a moment as they would say it: the time today, with the day otherwise."""
        local, today = moment.astimezone(self.zone), self.now.astimezone(self.zone).date()
        _ = self.text
        clock = f"{local:%H:%M}"
        if local.date() == today:
            return clock
        if local.date() == today + timedelta(days=1):
            return _("tomorrow %(time)s", time=clock)
        if local.date() == today - timedelta(days=1):
            return _("yesterday %(time)s", time=clock)
        return f"{local:%d.%m.%Y} {clock}" if self.language == "ru" else f"{local:%d %b %Y} {clock}"

    def deadline(self, moment: datetime) -> str:
        """Return how much time is left, or how late it is."""
        _ = self.text
        minutes = round((moment - self.now).total_seconds() / 60)
        span = self.span(abs(minutes))
        return _("in %(span)s", span=span) if minutes >= 0 else _("%(span)s late", span=span)

    def span(self, minutes: int) -> str:
        """Return a length of time in its largest unit."""
        _ = self.text
        if minutes < 60:
            return _("%(count)s min", count=minutes)
        if minutes < 60 * 48:
            return _("%(count)s h", count=round(minutes / 60))
        return _("%(count)s days", count=round(minutes / 1440))

    def address(self, scheme: str, value: str) -> str:
        """Return an address as people write it."""
        return addresses.display(Address(scheme, value), self.country)

    def money(self, amount: int | None, currency: str) -> str:
        """Return an amount in minor units as people write it; "" for none."""
        if amount is None:
            return ""
        from babel.numbers import format_currency

        return format_currency(amount / 100, currency, locale="ru" if self.language == "ru" else "en")


async def reader_for(session: AsyncSession, user: User | None, *, now: datetime) -> Reader:
    """Return how a colleague reads; None is a group, which reads as the company does."""
    company = await workspace.get(session)
    return Reader(
        now=now,
        language=(user.language if user is not None else None) or company.language or "en",
        time_zone=(user.time_zone if user is not None else None) or company.time_zone,
        country=company.country,
        currency=company.currency,
    )
