"""Turns a template and values into a page, in the words, time zone and number formats of whoever looks at it.

One Jinja2 environment serves everybody; what differs between two people is in the `Viewer` that every template gets.
Babel and phonenumbers are imported when the first page needs them: the API and the worker never do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from hub import i18n
from hub.web import formats, words

if TYPE_CHECKING:
    from babel import Locale

WEB = Path(__file__).parent


@dataclass(frozen=True)
class Viewer:
    """Who looks at a page, and everything about them that changes how it reads.

    now         the moment the page is made, UTC; every relative time on it is counted from here
    user        id, name, email, role of who is signed in; None outside
    rights      what they may do that not everybody may: "settings", "audit", "export", …; and what the company can:
                "calls": there is a telephone, "dial": one that places calls
    theme       "light", "dark" or "system"
    path        the path and query of the page, for links that come back to it
    live_after  the place in the diary the page was read at; live updates start there, so none falls in between
    """

    now: datetime
    language: str = "en"
    country: str = ""
    time_zone: str = "UTC"
    currency: str = "EUR"
    theme: str = "system"
    csrf_token: str = ""
    path: str = "/"
    user: Any = None
    rights: frozenset[str] = frozenset()
    unread: int = 0
    live_after: str = ""
    workspace_name: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)

    def may(self, right: str) -> bool:
        """Tell whether they have a right that not everybody has."""
        return right in self.rights


class Renderer:
    """Renders templates. Made once, in the composition root; safe to share, keeps nothing of a request.

    bytecode  a folder in which compiled templates survive a restart; None: they are compiled anew in every process
    static    the folder the static files are served from
    """

    def __init__(self, *, bytecode: Path | None = None, static: Path = WEB / "static") -> None:
        self._static = static
        self._static_urls: dict[str, str] = {}
        cache = None
        if bytecode is not None:
            bytecode.mkdir(parents=True, exist_ok=True, mode=0o700)
            cache = FileSystemBytecodeCache(str(bytecode))
        self.environment = Environment(
            loader=FileSystemLoader(WEB / "templates"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            bytecode_cache=cache,
            cache_size=-1,
            extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
        )
        self.environment.install_gettext_callables(  # type: ignore[attr-defined]  # added by the i18n extension
            self._gettext, self._ngettext, newstyle=True
        )
        self.environment.globals.update(
            icon=self.icon,
            static=self.static_url,
            avatar=self._avatar,
            label=self._label,
            tone=lambda state: words.TONES.get(str(state), ""),
            kind_icon=lambda kind: words.icon_of(str(kind)),
            ago=self._ago,
            lasting=self._lasting,
            deadline=self._deadline,
            languages=i18n.LANGUAGES,
        )
        self.environment.filters.update(
            money=self._money,
            phone=formats.phone,
            moment=self._moment,
            day=self._day,
            clock=self._clock,
            full_day=self._full_day,
            amount_value=amount_value,
            number=self._number,
            filesize=self._filesize,
            address=self._address,
            local_input=self._local_input,
        )

    def render(self, template: str, viewer: Viewer, **values: Any) -> str:
        """Return a page, or a partial of one, as HTML.

        Raises:
            jinja2.TemplateNotFound, jinja2.UndefinedError: the page's code and its template do not fit together.
        """
        return self.environment.get_template(template).render(viewer=viewer, **values)

    def moment(self, viewer: Viewer, value: datetime) -> str:
        """Write an exact moment for somebody, for sentences that are put together outside of a template."""
        return str(self.environment.filters["moment"]({"viewer": viewer}, value))

    # static files and icons

    def static_url(self, name: str) -> str:
        """Return the URL of a static file, with a hash of its content, so that browsers may keep it for ever."""
        found = self._static_urls.get(name)
        if found is None:
            try:
                digest = hashlib.sha256((self._static / name).read_bytes()).hexdigest()[:10]
            except FileNotFoundError:
                digest = "missing"  # browser assets not fetched yet; the page still reads
            found = self._static_urls[name] = f"/static/{name}?v={digest}"
        return found

    def icon(self, name: str, title: str = "", classes: str = "") -> Markup:
        """Return a lucide icon. Without a title it is decoration and screen readers skip it."""
        look = f"icon {classes}".strip()
        spoken = Markup('role="img" aria-label="{}"').format(title) if title else Markup('aria-hidden="true"')
        return Markup('<svg class="{}" {}><use href="{}#{}"></use></svg>').format(
            look, spoken, self.static_url("vendor/icons.svg"), name
        )

    # words

    @pass_context
    def _gettext(self, context: Context, message: str) -> str:
        return i18n.catalogue(context["viewer"].language).gettext(message)

    @pass_context
    def _ngettext(self, context: Context, singular: str, plural: str, number: int) -> str:
        return i18n.catalogue(context["viewer"].language).ngettext(singular, plural, number)

    @pass_context
    def _label(self, context: Context, vocabulary: str, value: Any) -> str:
        text = words.LABELS[vocabulary].get(str(value))
        return str(value) if text is None else self._gettext(context, text)

    # people

    @pass_context
    def _avatar(self, context: Context, person: Any, size: str = "", titled: bool = True) -> Markup:
        """Draw a person: initials on a colour from the id; nobody is an empty circle."""
        if person is None:
            title = self._gettext(context, words.N_("Nobody yet"))
            return Markup('<span class="avatar nobody {}" title="{}">{}</span>').format(size, title, self.icon("user"))
        name = str(_of(person, "name") or "")
        shown = escape(formats.initials(name)) or self.icon("user")
        hint = Markup(' title="{}"').format(name) if name and titled else ""
        return Markup('<span class="avatar {} hue-{}" aria-hidden="true"{}>{}</span>').format(
            size, formats.hue(_of(person, "id")), hint, shown
        )

    # times

    @staticmethod
    @pass_context
    def _moment(context: Context, value: datetime) -> str:
        """Write an exact moment: date and time."""
        from babel.dates import format_date, format_time

        local, locale = _local(context["viewer"], value), _locale(context["viewer"])
        return f"{format_date(local, 'medium', locale=locale)}, {format_time(local, 'short', locale=locale)}"

    @staticmethod
    @pass_context
    def _clock(context: Context, value: datetime) -> str:
        """Write the time of day."""
        from babel.dates import format_time

        return str(format_time(_local(context["viewer"], value), "short", locale=_locale(context["viewer"])))

    @pass_context
    def _day(self, context: Context, value: datetime | date) -> str:
        """Write a day: today, yesterday, tomorrow, or its date (with the year when it is another)."""
        from babel.dates import format_skeleton

        viewer = context["viewer"]
        that = _local(viewer, value).date() if isinstance(value, datetime) else value
        today = _local(viewer, viewer.now).date()
        near = {0: words.N_("Today"), -1: words.N_("Yesterday"), 1: words.N_("Tomorrow")}.get((that - today).days)
        if near:
            return self._gettext(context, near)
        skeleton = "MMMEd" if that.year == today.year else "yMMMd"
        text = format_skeleton(skeleton, datetime(that.year, that.month, that.day), locale=_locale(viewer))
        return str(text[:1].upper() + text[1:])

    @staticmethod
    @pass_context
    def _full_day(context: Context, value: datetime) -> str:
        """Write a day with its weekday, without the year."""
        from babel.dates import format_date, format_skeleton

        local = _local(context["viewer"], value)
        locale = _locale(context["viewer"])
        text = f"{format_date(local, 'EEEE', locale=locale)}, {format_skeleton('MMMMd', local, locale=locale)}"
        return str(text[:1].upper() + text[1:])

    @staticmethod
    @pass_context
    def _local_input(context: Context, value: datetime | None) -> str:
        """Write a moment as `<input type="datetime-local">` wants it, in the viewer's time zone."""
        return "" if value is None else _local(context["viewer"], value).strftime("%Y-%m-%dT%H:%M")

    @pass_context
    def _ago(self, context: Context, value: datetime | None) -> Markup:
        """Write a moment relative to now; the exact one is its title, and the browser keeps it ticking."""
        if value is None:
            return Markup("")
        seconds = (context["viewer"].now - value).total_seconds()
        if seconds > 7 * 86400:
            text = self._day(context, value)
        elif abs(seconds) < 60:
            text = self._gettext(context, words.N_("just now"))
        else:
            pattern = words.N_("{duration} ago") if seconds > 0 else words.N_("in {duration}")
            text = self._in_words(context, pattern, seconds)
        return Markup('<time datetime="{}" data-relative title="{}">{}</time>').format(
            _machine(value), self._moment(context, value), text
        )

    @pass_context
    def _lasting(self, context: Context, since: datetime | None) -> Markup:
        """Write for how long something lasts by now; when it began is its title, and the browser keeps it ticking."""
        if since is None:
            return Markup("")
        text = self._in_words(context, "{duration}", (context["viewer"].now - since).total_seconds())
        return Markup('<time datetime="{}" data-lasting title="{}">{}</time>').format(
            _machine(since), self._moment(context, since), text
        )

    @pass_context
    def _deadline(self, context: Context, due_at: datetime | None, since: datetime | None = None) -> Markup:
        """Draw a deadline: quiet, amber from a quarter of its time before, red when late, and the words for each."""
        if due_at is None:
            return Markup("")
        viewer = context["viewer"]
        left = (due_at - viewer.now).total_seconds()
        state, pattern = "", words.N_("in {duration}")
        if left < 0:
            state, pattern = "is-late", words.N_("{duration} late")
        elif left <= formats.soon_seconds(due_at, since):
            state = "is-soon"
        if abs(left) < 60:
            pattern = words.N_("due now")
        text = self._in_words(context, pattern, left)
        start = Markup(' data-since="{}"').format(_machine(since)) if since else ""
        return Markup(
            '<time class="deadline {}" datetime="{}"{} data-deadline title="{}">{}{}<span>{}</span></time>'
        ).format(
            state,
            _machine(due_at),
            start,
            self._moment(context, due_at),
            self.icon("clock", classes="clock-icon"),
            self.icon("circle-alert", classes="late-icon"),
            text,
        )

    def _in_words(self, context: Context, pattern: str, seconds: float) -> str:
        from babel.units import format_unit

        count, unit, length = formats.duration(seconds)
        amount = format_unit(count, f"duration-{unit}", length, locale=context["viewer"].language)
        return self._gettext(context, pattern).replace("{duration}", str(amount))

    # numbers and addresses

    @staticmethod
    @pass_context
    def _money(context: Context, value: Any, currency: str | None = None) -> str:
        """Write an amount: minor units with a currency, or {"amount", "currency"}. Whole amounts lose their zeros."""
        from babel.numbers import format_currency, get_currency_precision

        if value is None:
            return ""
        if not isinstance(value, int):
            value, currency = _of(value, "amount"), _of(value, "currency")
            if value is None:
                return ""
        viewer = context["viewer"]
        locale, code = _locale(viewer), currency or viewer.currency
        digits = get_currency_precision(code)
        pattern = locale.currency_formats["standard"].pattern
        if digits == 0 or value % 10**digits == 0:
            pattern = pattern.replace(".00", "")
        amount = Decimal(value).scaleb(-digits)
        return str(format_currency(amount, code, format=pattern, locale=locale, currency_digits=False))

    @staticmethod
    @pass_context
    def _number(context: Context, value: int | float | Decimal) -> str:
        from babel.numbers import format_decimal

        return str(format_decimal(value, locale=_locale(context["viewer"])))

    @staticmethod
    @pass_context
    def _filesize(context: Context, size: int) -> str:
        from babel.units import format_unit

        for unit, step in (("megabyte", 1_000_000), ("kilobyte", 1_000)):
            if size >= step:
                return str(format_unit(round(size / step, 1), unit, "short", locale=_locale(context["viewer"])))
        return str(format_unit(size, "byte", "short", locale=_locale(context["viewer"])))

    @staticmethod
    @pass_context
    def _address(context: Context, identity: Any) -> str:
        """Write an address the way people read it."""
        value = str(_of(identity, "value"))
        return formats.phone(value) if _of(identity, "scheme") == "phone" else value


def local_date(viewer: Viewer, value: datetime) -> date:
    """Return the day a moment falls on where the viewer is."""
    return _local(viewer, value).date()


def day_begins(viewer: Viewer, *, days: int = 0) -> datetime:
    """Return the moment (UTC) at which the viewer's today begins, or the day so many days after it."""
    today = _local(viewer, viewer.now).date() + timedelta(days=days)
    return datetime(today.year, today.month, today.day, tzinfo=_zone(viewer.time_zone)).astimezone(UTC)


def amount_value(value: Any) -> str:
    """Write an amount for an `<input>`: major units with a point, nothing for None."""
    from babel.numbers import get_currency_precision

    amount = None if value is None else _of(value, "amount")
    if amount is None:
        return ""
    text = f"{Decimal(amount).scaleb(-get_currency_precision(_of(value, 'currency') or 'EUR')):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _of(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _machine(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _local(viewer: Viewer, value: datetime) -> datetime:
    return value.astimezone(_zone(viewer.time_zone))


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _locale(viewer: Viewer) -> Locale:
    return formats.parsed_locale(viewer.language, viewer.country)
