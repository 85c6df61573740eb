"""Pages for the public: the hosted form and its thanks, the script of a pasted form or chat, what crawlers are told."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from channels import form_fields
from channels.contract import Receiver
from channels.form_fields import Meant
from channels.webform import WebForm
from channels.widget import Widget
from core.kernel import addresses
from core.kernel.errors import NotFound
from core.staff import workspace
from hub import hooks
from hub.connections import Live
from hub.hooks import HUB
from hub.i18n import translator_for
from hub.web import widget_script
from hub.web.rendering import Viewer
from hub.web.visits import SAFE, shown
from hub.web.words import N_
from webhooks import forms
from webhooks.errors import Malformed

TYPED = ("name", "phone", "email", "message")
MARKS = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "gclid", "yclid", "fbclid")
HIDDEN = (*MARKS, "referrer", "landing_page", "submission_id")
_LONGEST = 2_000  # characters of a hidden field

_REFUSALS = {
    400: N_("Nothing that can be read was sent. Fill in the form and send it again."),
    413: N_("That is more than the form takes, and nothing was sent. Make it shorter, please."),
    429: N_("Too many are sending at the moment. What you typed is still here: try again in a minute."),
    503: N_("The form cannot take anything right now. What you typed is still here: try again in a few minutes."),
}
_REFUSED = N_("That could not be sent. What you typed is still here: look it over and try again.")
_CLOSED = N_("This form is closed for the moment. Come back later, please.")

SCRIPT = Path(__file__).with_name("webform.js")


async def hosted_form(request: web.Request, viewer: Viewer) -> web.StreamResponse:
    """Show a web form as a page of ours, or take it: through the same door as any hook, so thanks mean durable."""
    hub = request.app[HUB]
    live, channel = await _form_of(request)
    if request.method in SAFE:
        if live.paused_because is not None:
            said = translator_for(viewer.language)(_CLOSED)
            page = shown(request, viewer, "error.html", status=503, what=503, reference=None, detail=said)
            page.headers["Retry-After"] = "300"
            return page
        return await _page(request, viewer, live, {}, _marks(request))
    try:
        body = await request.read()
        form = forms.decode(body, request.headers.get("Content-Type", ""))
    except web.HTTPRequestEntityTooLarge:
        return await _page(request, viewer, live, {}, _marks(request), status=413)
    except Malformed:
        return await _page(request, viewer, live, {}, _marks(request), status=400)
    values = {name: form.first(name).strip() for name in TYPED}
    hidden = {name: form.first(name)[:_LONGEST] for name in HIDDEN}
    meant = form_fields.understand(form)
    errors = {} if "trap" in meant.known else _errors(meant, live.default_country)
    if errors:
        return await _page(request, viewer, live, values, hidden, status=422, errors=errors)
    answer = await hooks.take(request, hub, live, channel)
    if answer.status not in (200, 303):
        page = await _page(request, viewer, live, values, hidden, status=answer.status)
        page.headers.update({name: answer.headers[name] for name in ("Retry-After",) if name in answer.headers})
        return page
    return web.Response(status=303, headers={"Location": _next(answer, live), "Cache-Control": "no-store"})


async def _form_of(request: web.Request) -> tuple[Live, Receiver]:
    hub = request.app[HUB]
    live = await hooks.find(hub, hub.switchboard.by_slug, request.match_info["slug"])
    if live is None or live.kind != WebForm.kind or live.receiver is None:
        raise NotFound("form")
    return live, live.receiver


def _next(answer: web.Response, live: Live) -> str:
    """Return where the visitor goes: the page the form names, if it is allowed, else this form's thanks."""
    location = answer.headers.get("Location")
    if location is None:
        assert isinstance(answer.body, bytes)
        location = f"/f/thanks?reference={msgspec.json.decode(answer.body)['reference']}"
    return f"/f/{live.slug}{location[2:]}" if location.startswith("/f/thanks") else location


def _marks(request: web.Request) -> dict[str, str]:
    """Return where the visitor came from, as far as the server sees it; the page's script fills in what is empty."""
    marks = {name: request.query.get(name, "")[:_LONGEST] for name in (*MARKS, "referrer", "landing_page")}
    marks["referrer"] = marks["referrer"] or request.headers.get("Referer", "")[:_LONGEST]
    marks["landing_page"] = marks["landing_page"] or f"{request.app[HUB].public_url}{request.path_qs}"[:_LONGEST]
    return marks


def _errors(meant: Meant, country: str) -> dict[str, str]:
    """Return what has to be put right before anybody could get in touch, by field, in English.

    A phone that cannot be read does not stop a form that has a good e-mail address: it is kept as it was typed.
    """
    errors: dict[str, str] = {}
    typed_phones, typed_emails = meant.values("phone"), meant.values("email")
    has_phone = any(addresses.phones(value, country) for value in typed_phones)
    has_email = any(addresses.email(value) for value in typed_emails)
    if typed_emails and not has_email:
        errors["email"] = N_("This does not look like an e-mail address. Is it complete?")
    if typed_phones and not has_phone and not has_email:
        errors["phone"] = N_("This does not look like a phone number. Is it complete?")
    if not typed_phones and not typed_emails:
        errors["phone"] = N_("Leave a phone or an e-mail, so that we can answer")
    return errors


async def _page(
    request: web.Request,
    viewer: Viewer,
    live: Live,
    values: Mapping[str, str],
    hidden: Mapping[str, str],
    *,
    status: int = 200,
    errors: Mapping[str, str] | None = None,
) -> web.Response:
    translate = translator_for(viewer.language)
    said = "" if errors or status == 200 else translate(_REFUSALS.get(status, _REFUSED))
    return shown(
        request,
        viewer,
        "public/form.html",
        status=status,
        connection=live,
        company=await _company(request),
        values={name: values.get(name, "") for name in TYPED},
        errors={name: translate(text) for name, text in (errors or {}).items()},
        form_error=said,
        hidden={name: hidden.get(name, "") for name in HIDDEN}
        | {"submission_id": hidden.get("submission_id") or secrets.token_urlsafe(12)},
        consent_text=None,
    )


async def _company(request: web.Request) -> str:
    async with request.app[HUB].database.reading() as session:
        return (await workspace.get(session)).name


async def thanks(request: web.Request, viewer: Viewer) -> web.StreamResponse:
    """Say that a request has arrived, with its number."""
    reference = request.query.get("reference", "")
    if not (reference.isascii() and reference.replace("-", "").replace("_", "").isalnum() and len(reference) <= 64):
        reference = ""
    slug = request.match_info.get("slug")
    if slug is not None:
        await _form_of(request)
    page = shown(
        request,
        viewer,
        "public/thanks.html",
        company=await _company(request),
        reference=reference or None,
        back_url=f"/f/{slug}" if slug else None,
    )
    page.headers["X-Robots-Tag"] = "noindex"
    return page


async def script(request: web.Request) -> web.StreamResponse:
    """Serve the script of a pasted form or of a chat widget. Any site may load it; the door decides whose words it
    takes.
    """
    hub = request.app[HUB]
    live = await hooks.find(hub, hub.switchboard.by_key, request.match_info["key"])
    if live is not None and isinstance(live.channel, Widget):
        text = widget_script.script(live.channel)
    elif live is not None and isinstance(live.channel, WebForm):
        settings = {"origins": sorted(live.channel.allowed_origins)}
        text = _source().replace("SETTINGS", msgspec.json.encode(settings).decode())
    else:
        headers = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "cross-origin"}
        text = "console.warn('Switchyard: there is no form or chat at this address any more')\n"
        return web.Response(status=404, text=text, content_type="text/javascript", headers=headers)
    tag = hashlib.sha256(text.encode()).hexdigest()[:20]
    headers = CIMultiDict(
        {
            "Cache-Control": "public, max-age=300",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Access-Control-Allow-Origin": "*",
            "ETag": f'"{tag}"',
        }
    )
    if any(given.value in (tag, "*") for given in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(text=text, content_type="text/javascript", headers=headers)


@lru_cache(maxsize=1)
def _source() -> str:
    """Return the script without what only its authors need."""
    lines = (line.strip() for line in SCRIPT.read_text("utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//")) + "\n"


async def robots(_request: web.Request) -> web.StreamResponse:
    """Keep crawlers to what is public (RFC 9309)."""
    text = "User-agent: *\nAllow: /f/\nAllow: /w/\nAllow: /static/\nDisallow: /f/thanks\nDisallow: /\n"
    return web.Response(text=text, headers={"Cache-Control": "public, max-age=86400"})


async def favicon(_request: web.Request) -> web.StreamResponse:
    """Answer browsers that ask for the icon without having read a page, as for a JSON answer."""
    headers = {"Location": "/static/mark.svg", "Cache-Control": "public, max-age=86400"}
    return web.Response(status=301, headers=headers)
