"""The stream by which an open page hears that something it shows has changed."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from core.kernel.events import Position
from hub import auth
from hub.hooks import HUB

_LASTS = 300.0  # seconds


def add_routes(app: web.Application) -> None:
    """Add the stream."""
    app.router.add_get("/live", live)


async def live(request: web.Request) -> web.StreamResponse:
    """Send server-sent events until the browser leaves. `after` is the place in the diary its page was read at.

    A stream ends after five minutes and the browser opens another, so that rights which were taken away are gone.
    """
    hub = request.app[HUB]
    async with hub.database.transaction() as session:
        who = await auth.signed_in(session, hub, request)
    if who is None:
        return web.Response(status=401, text="Sign in first\n")
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    given = request.query.get("after", "")
    after = Position(int(given), 0) if given.isascii() and given.isdigit() and len(given) < 19 else None
    async with hub.live.stream(who.rights, after) as stream:
        until = asyncio.get_running_loop().time() + _LASTS
        with contextlib.suppress(ConnectionResetError):  # the browser has left
            async for frame in stream.frames():
                await response.write(frame)
                if asyncio.get_running_loop().time() > until:
                    break
    return response
