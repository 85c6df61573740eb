"""Mounts the REST API under /api."""

from __future__ import annotations

from aiohttp import web

from hub.app import Hub


def add(app: web.Application, hub: Hub) -> None:
    """Add the REST API to the application."""
