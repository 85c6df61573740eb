"""Signing in and out."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from core.kernel.errors import Forbidden
from core.staff import audit, sessions, users, workspace
from hub import auth
from hub.auth import SignInRefused, TooManyTries
from hub.hooks import HUB, client_of
from hub.i18n import translator_for
from hub.web.rendering import Viewer
from hub.web.visits import SAFE, Visit, local_path, shown
from hub.web.words import N_

TOO_MANY = N_("Too many wrong passwords. Try again in %(minutes)d min")
REFUSED = N_("The e-mail address or the password is wrong")


def require_own_page(request: web.Request, public_url: str) -> None:
    """Refuse a form that another site sent: it would sign the visitor in as somebody else (login CSRF).

    There is no session yet to hold a token, so the browser's own word counts: Sec-Fetch-Site, or else Origin, or else
    Referer. Browsers send at least one of them with every POST (Fetch Standard §3.2); what sends none is no browser,
    and carries nobody's cookies.

    Raises:
        Forbidden: it comes from elsewhere.
    """
    site = request.headers.get("Sec-Fetch-Site", "")
    if site:
        own = site in ("same-origin", "none")
    else:
        told = request.headers.get("Origin") or request.headers.get("Referer")
        own = not told or urlsplit(told).netloc in (request.host, urlsplit(public_url).netloc)
    if not own:
        raise Forbidden("The form was sent from another site. Open the page here and try again")


async def sign_in(request: web.Request, viewer: Viewer) -> web.StreamResponse:
    """Show the form, or take it: a session for the right password, the form with a word of why for a wrong one."""
    hub = request.app[HUB]
    to = local_path(request.query.get("next", "/"))
    if request.method in SAFE:
        async with hub.database.transaction() as session:
            if not await users.count(session):
                return _go("/")
            if await auth.signed_in(session, hub, request) is not None:
                return _go(to)
        return await _form(request, viewer, email="", to=to)
    require_own_page(request, hub.public_url)
    form = await request.post()
    to = local_path(str(form.get("next", to)))
    email, password = str(form.get("email", "")).strip()[:320], str(form.get("password", ""))
    translate = translator_for(viewer.language)
    try:
        token = await auth.sign_in(
            hub,
            email=email,
            password=password,
            client=client_of(request, hub.settings),
            agent=request.headers.get("User-Agent", ""),
        )
    except SignInRefused:
        return await _form(request, viewer, email=email, to=to, status=401, said=translate(REFUSED))
    except TooManyTries as error:
        said = translate(TOO_MANY) % {"minutes": max(1, round(error.wait / 60))}
        response = await _form(request, viewer, email=email, to=to, status=429, said=said)
        response.headers["Retry-After"] = str(error.wait)
        return response
    response = _go(to)
    auth.set_cookie(response, token, secure=is_https(hub.public_url))
    return response


def is_https(public_url: str) -> bool:
    """Whether the workspace is reached by https, so that its cookies may insist on it."""
    return public_url.startswith("https://")


def _go(to: str) -> web.Response:
    return web.Response(status=303, headers={"Location": to, "Cache-Control": "no-store"})


async def _form(
    request: web.Request, viewer: Viewer, *, email: str, to: str, status: int = 200, said: str = ""
) -> web.Response:
    async with request.app[HUB].database.reading() as session:
        company = (await workspace.get(session)).name
    return shown(
        request,
        viewer,
        "account/sign_in.html",
        status=status,
        values={"email": email, "next": to},
        form_error=said,
        company=company,
    )


async def sign_out(visit: Visit) -> web.StreamResponse:
    """End this browser's session."""
    await sessions.end(visit.session, visit.browser.id, user_id=visit.user.id)
    audit.note(visit.session, "session.ended", at=visit.hub.clock.now(), user_id=visit.user.id, client=visit.client)
    response = visit.go("/sign-in")
    response.del_cookie(auth.COOKIE, path="/")
    return response
