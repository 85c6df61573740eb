"""Which page answers which address: one list, read from top to bottom."""

from __future__ import annotations

from aiohttp import web

from hub.app import Hub
from hub.web import pages_account, pages_live, pages_settings, pages_work
from hub.web.rendering import Renderer
from hub.web.visits import RENDERER


def add_routes(app: web.Application, hub: Hub) -> None:
    """Add every page to the application."""
    app[RENDERER] = Renderer(bytecode=hub.settings.state_dir / "templates")
    pages_live.add_routes(app)
    pages_account.add_routes(app)
    pages_work.add_routes(app)
    pages_settings.add_routes(app)
