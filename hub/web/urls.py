"""Which page answers which address."""

from __future__ import annotations

from aiohttp import web

from hub.app import Hub


def add_routes(app: web.Application, hub: Hub) -> None:
    """Add every page to the application."""
