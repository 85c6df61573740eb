"""Pages of one's own account, of the first run, and for the public."""

from __future__ import annotations

from aiohttp import web

from hub.web import signing_in
from hub.web.visits import inside, outside


def add_routes(app: web.Application) -> None:
    """Add the pages."""
    app.router.add_get("/sign-in", outside(signing_in.sign_in))
    app.router.add_post("/sign-in", outside(signing_in.sign_in))
    app.router.add_post("/sign-out", inside(signing_in.sign_out))
