"""The first run: the owner's account and the company, then the first channel with its first request arriving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from sqlalchemy import select

from core.connections import Connection
from core.kernel.addresses import email as canonical_email
from core.kernel.errors import Forbidden, Rejected
from core.sales.leads import Lead
from core.staff import audit, users, workspace
from hub import auth, connections
from hub.hooks import HUB, client_of
from hub.i18n import LANGUAGES, translator_for
from hub.web import places
from hub.web.rendering import Viewer
from hub.web.shown import ShownLead, lead_rows, leads_of
from hub.web.signing_in import is_https
from hub.web.snippet import snippet
from hub.web.visits import SAFE, Visit, shown
from hub.web.words import N_

FIRST_FORM_RATE = 600  # requests a minute: no honest site has more, and a flood stops here

_TYPED = ("company", "name", "email", "country", "time_zone", "currency", "language")


async def first_step(request: web.Request, viewer: Viewer) -> web.StreamResponse:
    """Show the form behind the set-up link, or take it: the owner is signed in and goes on to the first channel."""
    hub = request.app[HUB]
    form: Mapping[str, Any] = {} if request.method in SAFE else await request.post()
    token = str(form.get("token") or request.query.get("token", ""))
    async with hub.database.reading() as session:
        if not await auth.may_set_up(session, hub, token):
            return _expired(request, viewer, was_used=bool(await users.count(session)))
    if request.method in SAFE:
        return _form(request, viewer, token, _proposed(request, viewer))
    values = {name: str(form.get(name, "")).strip() for name in _TYPED}
    password = str(form.get("password", ""))
    values["time_zone"] = values["time_zone"] or places.zone_of(values["country"])
    values["currency"] = values["currency"] or places.currency_of(values["country"])
    errors = _checked(values, password)
    if errors:
        return _form(request, viewer, token, values, errors=errors)
    try:
        secret = await auth.set_up(
            hub,
            token=token,
            email=values["email"],
            name=values["name"],
            password=password,
            client=client_of(request, hub.settings),
            agent=request.headers.get("User-Agent", ""),
            company={
                "name": values["company"],
                **{name: values[name] for name in ("country", "currency", "time_zone", "language")},
            },
        )
    except Forbidden:
        return _expired(request, viewer, was_used=True)
    except Rejected as error:
        return _form(
            request, viewer, token, values, errors={error.field or "email": error.said(translator_for(viewer.language))}
        )
    response = web.Response(status=303, headers={"Location": "/setup/channel", "Cache-Control": "no-store"})
    auth.set_cookie(response, secret, secure=is_https(hub.public_url))
    return response


def _expired(request: web.Request, viewer: Viewer, *, was_used: bool) -> web.Response:
    said = N_("Somebody has set this workspace up already. If it was you, sign in.")
    detail = translator_for(viewer.language)(said) if was_used else None
    return shown(request, viewer, "error.html", status=410, what="expired", reference=None, detail=detail)


def _proposed(request: web.Request, viewer: Viewer) -> dict[str, str]:
    """Return what the browser's languages let us guess; its clock corrects that (static/setup.js)."""
    country = places.country_of(request.headers.get("Accept-Language", ""))
    country = country or {"ru": "RU", "sl": "SI", "et": "EE", "hy": "AM"}.get(viewer.language, "")
    return {
        "company": "",
        "name": "",
        "email": "",
        "country": country,
        "time_zone": places.zone_of(country) if country else "",
        "currency": places.currency_of(country) if country else "",
        "language": viewer.language,
    }


def _checked(values: Mapping[str, str], password: str) -> dict[str, str]:
    """Return what is wrong by field, in English."""
    errors: dict[str, str] = {}
    for name, said in (("company", N_("What is the company called?")), ("name", N_("A name is needed"))):
        if not values[name]:
            errors[name] = said
        elif len(values[name]) > 200:
            errors[name] = N_("That is too long")
    if canonical_email(values["email"]) is None:
        errors["email"] = N_("Write an e-mail address such as name@example.com")
    if len(password) < auth.SHORTEST_PASSWORD:
        errors["password"] = N_("A password has at least 10 characters")
    elif len(password) > 1000:
        errors["password"] = N_("A password has at most 1000 characters")
    lists = {
        "country": places.countries("en"),
        "time_zone": places.time_zones(),
        "currency": places.currencies("en"),
        "language": list(LANGUAGES.items()),
    }
    for name, choices in lists.items():
        if values[name] not in dict(choices):
            errors[name] = N_("Choose one of the list")
    return errors


def _form(
    request: web.Request,
    viewer: Viewer,
    token: str,
    values: Mapping[str, str],
    *,
    errors: Mapping[str, str] | None = None,
) -> web.Response:
    translate = translator_for(viewer.language)
    return shown(
        request,
        viewer,
        "account/setup.html",
        status=422 if errors else 200,
        token=token,
        values=values,
        errors={name: translate(said) for name, said in (errors or {}).items()},
        form_error="",
        countries=places.countries(viewer.language),
        time_zones=places.time_zones(),
        currencies=places.currencies(viewer.language),
        proposals=places.proposals(),
    )


async def second_step(visit: Visit) -> web.StreamResponse:
    """Show the first web form, made here if there is none, and its first request as soon as it is there."""
    connection = await _first_form(visit)
    lead = await _first_request(visit, connection.id)
    if visit.is_partial:
        return visit.page("account/_first_request.html", lead=lead)
    public_url = visit.hub.public_url
    return visit.page(
        "account/setup_channel.html",
        connection=connection,
        form_url=f"{public_url}/f/{connection.slug}",
        snippet=snippet(connection, public_url),
        lead=lead,
    )


async def _first_form(visit: Visit) -> Connection:
    """Return the oldest web form; a first one is made under the company's lock, so that two tabs make one."""
    oldest = select(Connection).where(Connection.kind == "webform").order_by(Connection.id).limit(1)
    found: Connection | None = await visit.session.scalar(oldest)
    if found is not None:
        return found
    await visit.session.get(workspace.Workspace, 1, with_for_update=True)
    found = await visit.session.scalar(oldest)
    if found is not None:
        return found
    now = visit.hub.clock.now()
    made = await connections.create(
        visit.session,
        visit.hub.vault,
        kind="webform",
        title=visit.translate(N_("Website")),
        settings={},
        at=now,
        actor_id=visit.user.id,
        rate_per_minute=FIRST_FORM_RATE,
        default_country=visit.company.country,
    )
    audit.note(
        visit.session,
        "connection.added",
        at=now,
        user_id=visit.user.id,
        entity="connection",
        entity_id=made.id,
        client=visit.client,
    )
    return made


async def _first_request(visit: Visit, connection_id: int) -> ShownLead | None:
    """Return the first lead of a connection; None if there is none yet."""
    statement = leads_of(visit.rights, with_due=True).where(Lead.connection_id == connection_id)
    rows = (await visit.session.execute(statement.order_by(Lead.id).limit(1))).all()
    return next(iter(await lead_rows(visit.session, rows)), None)
