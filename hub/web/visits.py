"""Visits: one request of a person at a page, with who they are, what they may see, and how what they get is rendered.

A page is `async def page(visit, **ids) -> web.StreamResponse`, wrapped by `inside` (signed in) or `outside` (anybody)
and named in `hub.web.urls`. It runs in one transaction, which is committed after it returns and undone by whatever it
raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web
from multidict import MultiDict, MultiMapping
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.kernel.errors import Conflict, DomainError, Forbidden, NotFound, Rejected, Stale
from core.staff import users, workspace
from core.staff.access import Rights
from core.staff.sessions import Session
from core.staff.users import User
from core.work import notifications
from hub import auth, telephony
from hub.app import Hub
from hub.auth import SignInRefused, TooManyTries
from hub.hooks import HUB, client_of
from hub.i18n import LANGUAGES, translator_for
from hub.web.rendering import Renderer, Viewer

RENDERER: web.AppKey[Renderer] = web.AppKey("renderer", Renderer)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LARGEST_FORM = 1024 * 1024  # bytes; pages send no files yet
_STATUS: dict[type[DomainError], int] = {
    NotFound: 404,
    Forbidden: 403,
    Conflict: 409,
    Stale: 412,
    Rejected: 422,
    SignInRefused: 401,
    TooManyTries: 429,
}


@dataclass(frozen=True)
class Visit:
    """A signed-in person's request. `form` is empty for GET; `browser` is their session in this browser."""

    request: web.Request
    hub: Hub
    session: AsyncSession
    user: User
    rights: Rights
    browser: Session
    company: workspace.Workspace
    viewer: Viewer
    form: MultiMapping[Any]

    @property
    def is_partial(self) -> bool:
        """Whether htmx asks for a part of a page and not for a whole one."""
        return self.request.headers.get("HX-Request") == "true"

    @property
    def client(self) -> str:
        """The IP address the request came from, for the audit log."""
        return client_of(self.request, self.hub.settings)

    def translate(self, message: str) -> str:
        """Put a message into the person's language."""
        return translator_for(self.viewer.language)(message)

    def field(self, name: str) -> str:
        """Return what was typed into a field, without the spaces around it; "" if there is no such field."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        """Render a page or partial for this person."""
        text = self.request.app[RENDERER].render(template, self.viewer, **values)
        return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})

    def sheet(self, partial: str, title: str, **values: Any) -> web.Response:
        """Render a form: alone for the side sheet, else as a page of its own.

        A refused form without scripts is told by its status; with them the browser would note an error in its console.
        """
        if self.is_partial:
            return self.page(partial, title=title, **values)
        refused = bool(values.get("errors") or values.get("form_error"))
        return self.page("sheet.html", status=422 if refused else 200, partial=partial, title=title, **values)

    def done(self, to: str, message: str = "", *, undo: str = "") -> web.Response:
        """Answer a change that worked: with scripts a toast and a closed sheet, without them the page it belongs to.

        `message` is English and is translated here; `undo` is an address to post to.
        """
        if not self.is_partial and "application/problem+json" not in self.request.headers.get("Accept", ""):
            return web.Response(status=303, headers={"Location": to})
        told: dict[str, Any] = {"close-sheet": {}}
        if message:
            told["toast"] = {"text": self.translate(message), "undo": undo}
        # ASCII only: a header must not hold anything else
        return web.Response(status=204, headers={"HX-Trigger": ascii_json(told)})

    def refuse(self, message: str, *, link: str = "", link_text: str = "") -> web.Response:
        """Refuse what a button asked for, in a sentence in the person's language, with the way out of it.

        Raises:
            Rejected: there are no scripts that could show a toast.
        """
        if not self.is_partial:
            raise Rejected(message)
        told = {"text": message, "tone": "bad", "link": link, "link_text": link_text}
        # Not by its status: the browser would note an error in its console for what is said to the person already.
        return web.Response(status=204, headers={"HX-Trigger": ascii_json({"toast": told})})

    def ask(self, sheet: str) -> web.Response:
        """Answer a change that needs to know more first: with scripts open a sheet, without them go to its page."""
        if not self.is_partial and "application/problem+json" not in self.request.headers.get("Accept", ""):
            return web.Response(status=303, headers={"Location": sheet})
        return web.Response(status=204, headers={"HX-Trigger": ascii_json({"open-sheet": {"url": sheet}})})

    def go(self, to: str) -> web.Response:
        """Send the browser to another page, with scripts or without."""
        if self.is_partial:
            return web.Response(status=204, headers={"HX-Redirect": to})
        return web.Response(status=303, headers={"Location": to})


def ascii_json(value: Any) -> str:
    """Write JSON that fits into a header."""
    text = msgspec.json.encode(value).decode()
    return "".join(c if ord(c) < 128 else "".join(f"\\u{u:04x}" for u in _utf16(c)) for c in text)


def _utf16(character: str) -> list[int]:
    encoded = character.encode("utf-16-be")
    return [int.from_bytes(encoded[i : i + 2], "big") for i in range(0, len(encoded), 2)]


Page = Callable[..., Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def inside(page: Page, *, manages: bool = False) -> Handler:
    """Make a handler of a page for people who are signed in; with `manages`, for those who may touch the settings.

    Ids in the address are given to the page as integers by their names.
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        hub = request.app[HUB]
        viewer = guest(request)
        try:
            form: MultiMapping[Any] = MultiDict()
            if request.method not in SAFE:
                form = await _form(request)
            async with hub.database.transaction() as session:
                who = await auth.signed_in(session, hub, request)
                if who is None:
                    return await _to_sign_in(session, request, viewer)
                company = await workspace.get(session)
                viewer = await _viewer(session, request, who, company)
                if request.method not in SAFE:
                    given = request.headers.get(auth.CSRF_HEADER) or form.get(auth.CSRF_FIELD) or ""
                    auth.check_csrf(given if isinstance(given, str) else "", who.session.csrf_token)
                if manages:
                    who.rights.require_manage()
                visit = Visit(request, hub, session, who.user, who.rights, who.session, company, viewer, form)
                return await page(visit, **_ids(request))
        except DomainError as error:
            return problem(request, viewer, error)

    return serve


def outside(page: Callable[[web.Request, Viewer], Awaitable[web.StreamResponse]]) -> Handler:
    """Make a handler of a page for anybody. It opens its own transactions and checks its own forms."""

    async def serve(request: web.Request) -> web.StreamResponse:
        viewer = guest(request)
        try:
            return await page(request, viewer)
        except DomainError as error:
            return problem(request, viewer, error)

    return serve


async def _form(request: web.Request) -> MultiMapping[Any]:
    if (request.content_length or 0) > LARGEST_FORM:
        raise Rejected("That is more than a page may send. Nothing was changed")
    try:
        return await request.post()
    except (ValueError, web.HTTPException) as error:
        raise Rejected("What was sent cannot be read. Nothing was changed; reload the page and try again") from error


def _ids(request: web.Request) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in request.match_info.items():
        if not name.endswith("_id"):
            found[name] = value
        elif value.isascii() and value.isdigit() and len(value) < 19:
            found[name] = int(value)
        else:
            raise NotFound("page")
    return found


def guest(request: web.Request) -> Viewer:
    """Return the viewer of somebody who is not signed in: their browser's language, nobody's rights."""
    hub = request.app[HUB]
    return Viewer(now=hub.clock.now(), language=preferred_language(request), path=request.path_qs)


def preferred_language(request: web.Request) -> str:
    """Return the first language of the browser's that we speak; English if there is none."""
    weighed: list[tuple[float, str]] = []
    for part in request.headers.get("Accept-Language", "")[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            weighed.append((-float(weight or 1), tag.strip().partition("-")[0].lower()))
        except ValueError:
            continue
    return next((language for _, language in sorted(weighed, key=lambda w: w[0]) if language in LANGUAGES), "en")


async def _viewer(
    session: AsyncSession, request: web.Request, who: auth.SignedIn, company: workspace.Workspace
) -> Viewer:
    user, rights, hub = who.user, who.rights, request.app[HUB]
    granted = {
        name
        for name, has in (
            ("settings", rights.may_manage),
            ("audit", rights.may_manage),
            ("export", rights.may_export),
            ("change", rights.may_change),
            ("dial", rights.may_change and bool(telephony.diallers(hub))),
            ("calls", any(live.line is not None for live in hub.switchboard.live())),
        )
        if has
    }
    base = guest(request)
    whole = request.method in SAFE and request.headers.get("HX-Request") != "true"
    return replace(
        base,
        language=user.language if user.language in LANGUAGES else base.language,
        country=company.country,
        time_zone=user.time_zone or company.time_zone,
        currency=company.currency,
        theme=str(user.settings.get("theme", "system")),
        csrf_token=who.session.csrf_token,
        user=user,
        rights=frozenset(granted),
        unread=await notifications.unread_count(session, user.id),
        live_after=str((await events.end(session)).transaction) if whole else "",
        workspace_name=company.name,
    )


async def _to_sign_in(session: AsyncSession, request: web.Request, viewer: Viewer) -> web.Response:
    """Send nobody to the sign-in; while nobody has an account, tell at the start page about the set-up link."""
    if request.headers.get("HX-Request") == "true":
        return web.Response(status=204, headers={"HX-Redirect": "/sign-in"})
    target = "/sign-in"
    if request.path == "/":
        if request.method in SAFE and not await users.count(session):
            return shown(request, viewer, "account/first_run.html")
    elif request.method in SAFE:
        target += f"?next={quote(request.path_qs, safe='')}"
    return web.Response(status=303, headers={"Location": target, "Cache-Control": "no-store"})


def local_path(address: str) -> str:
    """Return an address of our own to go back to; "/" for anything that could lead elsewhere.

    Browsers take a backslash for a slash and skip tabs and line breaks (WHATWG URL §4.4), so none of them may be in it.
    """
    if not address.startswith("/") or address.startswith("//") or "\\" in address or not address.isprintable():
        return "/"
    return address


def shown(request: web.Request, viewer: Viewer, template: str, *, status: int = 200, **values: Any) -> web.Response:
    """Render a page for somebody who need not be signed in."""
    text = request.app[RENDERER].render(template, viewer, **values)
    return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


def wants_page(request: web.Request) -> bool:
    """Whether a person will look at the answer, rather than a script."""
    return "text/html" in request.headers.get("Accept", "") and request.headers.get("HX-Request") != "true"


def problem(request: web.Request, viewer: Viewer, error: DomainError) -> web.Response:
    """Answer a refusal in the way the browser asked: a problem document for scripts, else a page."""
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 422)
    said = error.said(translator_for(viewer.language))
    if wants_page(request):
        detail = None if status == 404 else said
        response = shown(request, viewer, "error.html", status=status, what=status, reference=None, detail=detail)
    else:
        response = problem_document(status, said)
    if isinstance(error, TooManyTries):
        response.headers["Retry-After"] = str(error.wait)
    return response


def failed(request: web.Request, status: int, *, reference: str | None = None) -> web.Response:
    """Tell a person that there is no page here, or that it could not be made; `reference` finds the line in the log."""
    return shown(request, guest(request), "error.html", status=status, what=status, reference=reference, detail=None)


def problem_document(status: int, title: str) -> web.Response:
    """Answer a script with what went wrong (RFC 9457)."""
    body = msgspec.json.encode({"type": "about:blank", "title": title, "status": status, "detail": title})
    return web.Response(
        body=body, status=status, content_type="application/problem+json", headers={"Cache-Control": "no-store"}
    )


def form_errors(error: DomainError | None, translate: Callable[[str], str]) -> tuple[Mapping[str, str], str]:
    """Return a refusal as forms show it: by field where it names one, else above the form; nothing of None."""
    if error is None:
        return {}, ""
    name = getattr(error, "field", None)
    return ({name: error.said(translate)}, "") if name else ({}, error.said(translate))
