"""One's own profile: name, language, time zone, theme, mail, password, messengers, and where one is signed in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.kernel.errors import Rejected
from core.staff import audit, sessions
from core.staff.users import User
from hub import auth
from hub.auth import SignedIn, TooManyTries
from hub.i18n import LANGUAGES
from hub.web import account_desk, places
from hub.web.signing_in import TOO_MANY
from hub.web.visits import Visit
from hub.web.words import N_

THEMES = frozenset({"system", "light", "dark"})
EXTENSION = re.compile(r"[0-9*#+]{1,20}")
_DONE = {
    "profile": N_("Saved"),
    "desk": N_("Saved"),
    "password": N_("Your password is changed. Other browsers were signed out"),
}


async def show(visit: Visit) -> web.StreamResponse:
    """Show the profile."""
    return await _page(visit)


async def _page(
    visit: Visit,
    *,
    status: int = 200,
    values: Mapping[str, Any] | None = None,
    errors: Mapping[str, str] | None = None,
    password_errors: Mapping[str, str] | None = None,
    password_error: str = "",
    desk: Mapping[str, Any] | None = None,
) -> web.Response:
    user = visit.user
    done = _DONE.get(visit.request.query.get("done", ""))
    browsers = [
        {
            "id": browser.id,
            "agent": browser_name(browser.agent),
            "client": browser.client,
            "seen_at": browser.seen_at,
            "current": browser.id == visit.browser.id,
        }
        for browser in await sessions.of_user(visit.session, user.id)
    ]
    return visit.page(
        "account/profile.html",
        status=status,
        user=user,
        values=values
        or {
            "name": user.name,
            "language": visit.viewer.language,
            "time_zone": user.time_zone or "",
            "extension": user.extension or "",
            "notify_email": bool(user.settings.get("mail", True)),
        },
        errors=errors or {},
        form_error="",
        password_errors=password_errors or {},
        password_error=password_error,
        time_zones=places.time_zones(),
        sessions=browsers,
        **(desk or await account_desk.section(visit)),
        toasts=[{"text": visit.translate(done)}] if done and status == 200 else [],
    )


async def save(visit: Visit) -> web.StreamResponse:
    """Take the part about the person."""
    values = {name: visit.field(name) for name in ("name", "language", "time_zone", "extension")}
    errors: dict[str, str] = {}
    if not values["name"]:
        errors["name"] = visit.translate(N_("A name is needed"))
    elif len(values["name"]) > 200:
        errors["name"] = visit.translate(N_("That is too long"))
    if values["language"] not in LANGUAGES:
        errors["language"] = visit.translate(N_("Choose one of the list"))
    if values["time_zone"] and values["time_zone"] not in dict(places.time_zones()):
        errors["time_zone"] = visit.translate(N_("Choose one of the list"))
    if values["extension"] and not EXTENSION.fullmatch(values["extension"]):
        errors["extension"] = visit.translate(N_("An extension is digits, such as 101"))
    elif values["extension"] != (visit.user.extension or "") and await _has_somebody(visit, values["extension"]):
        errors["extension"] = visit.translate(N_("A colleague has this extension: ask an administrator"))
    mail = bool(visit.field("notify_email"))
    if errors:
        return await _page(visit, status=422, values={**values, "notify_email": mail}, errors=errors)
    user = visit.user
    user.name, user.language, user.time_zone = values["name"], values["language"], values["time_zone"] or None
    if "extension" in visit.form:
        user.extension = values["extension"] or None
    user.settings = {**user.settings, "mail": mail}
    user.version += 1
    return visit.go("/profile?done=profile")


async def _has_somebody(visit: Visit, extension: str) -> bool:
    """Whether an extension is a colleague's: their calls are not for somebody else to see."""
    theirs = User.extension == extension, User.id != visit.user.id, User.is_active.is_(True)
    return bool(extension) and await visit.session.scalar(select(User.id).where(*theirs).limit(1)) is not None


async def save_theme(visit: Visit) -> web.StreamResponse:
    """Take the choice between light and dark."""
    theme = visit.field("theme")
    if theme not in THEMES:
        raise Rejected("Choose one of the list", field="theme")
    visit.user.settings = {**visit.user.settings, "theme": theme}
    return visit.done("/profile")


async def save_password(visit: Visit) -> web.StreamResponse:
    """Take a new password, if the present one is right."""
    # passwords keep the spaces around them
    old, new = (str(visit.form.get(name, "")) for name in ("current_password", "new_password"))
    try:
        await auth.change_password(
            visit.session,
            visit.hub,
            who=SignedIn(visit.user, visit.rights, visit.browser),
            old=old,
            new=new,
            client=visit.client,
        )
    except TooManyTries as error:
        said = visit.translate(TOO_MANY) % {"minutes": max(1, round(error.wait / 60))}
        page = await _page(visit, status=429, password_error=said)
        page.headers["Retry-After"] = str(error.wait)
        return page
    except Rejected as error:
        said = error.said(visit.translate)
        return await _page(visit, status=422, password_errors={error.field or "new_password": said})
    return visit.go("/profile?done=password")


async def save_desk(visit: Visit) -> web.StreamResponse:
    """Take what the person wants to be told in their messengers, and when."""
    typed, errors = await account_desk.take(visit)
    if errors:
        return await _page(visit, status=422, desk=await account_desk.section(visit, typed=typed, errors=errors))
    return visit.go("/profile?done=desk")


async def revoke(visit: Visit, session_id: int) -> web.StreamResponse:
    """Sign another browser of the person's out."""
    await sessions.end(visit.session, session_id, user_id=visit.user.id)
    audit.note(
        visit.session,
        "session.ended",
        at=visit.hub.clock.now(),
        user_id=visit.user.id,
        entity="session",
        entity_id=session_id,
        client=visit.client,
    )
    return visit.go("/profile")


_BROWSERS = (  # the more particular first: nearly all of them also say Chrome and Safari
    ("YaBrowser/", "Yandex Browser"),
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(agent: str) -> str:
    """Return a User-Agent as people say it ("Firefox, Windows"); its beginning where it is none we know."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return ", ".join(part for part in (browser, system) if part) or agent[:60]
