"""Pages of one's own account, of the first run, and for the public."""

from __future__ import annotations

from aiohttp import web

from hub.web import account, account_desk, public, setup, signing_in
from hub.web.visits import inside, outside


def add_routes(app: web.Application) -> None:
    """Add the pages."""
    app.router.add_get("/sign-in", outside(signing_in.sign_in))
    app.router.add_post("/sign-in", outside(signing_in.sign_in))
    app.router.add_post("/sign-out", inside(signing_in.sign_out))
    app.router.add_get("/profile", inside(account.show))
    app.router.add_post("/profile", inside(account.save))
    app.router.add_post("/profile/theme", inside(account.save_theme))
    app.router.add_post("/profile/password", inside(account.save_password))
    app.router.add_post("/profile/sessions/{session_id}/revocation", inside(account.revoke))
    app.router.add_get("/profile/desk", inside(account_desk.show))
    app.router.add_post("/profile/desk", inside(account.save_desk))
    app.router.add_post("/profile/desk/{link_id}/removal", inside(account_desk.unlink))
    app.router.add_get("/setup", outside(setup.first_step))
    app.router.add_post("/setup", outside(setup.first_step))
    app.router.add_get("/setup/channel", inside(setup.second_step, manages=True))
    app.router.add_get("/f/thanks", outside(public.thanks))
    app.router.add_get("/f/{slug}", outside(public.hosted_form))
    app.router.add_post("/f/{slug}", outside(public.hosted_form))
    app.router.add_get("/f/{slug}/thanks", outside(public.thanks))
    app.router.add_get("/w/{key:[A-Za-z0-9_-]+}.js", public.script)
    app.router.add_get("/robots.txt", public.robots)
    app.router.add_get("/favicon.ico", public.favicon)
