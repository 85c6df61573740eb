"""The stream by which an open page hears that something it shows has changed."""

from __future__ import annotations

import contextlib

from aiohttp import web

from core.kernel.events import Position
from hub import auth
from hub.hooks import HUB


def add_routes(app: web.Application) -> None:
    """Add the stream."""
    app.router.add_get("/live", live)


async def live(request: web.Request) -> web.StreamResponse:
    """Send server-sent events until the browser leaves. `after` is the place in the diary its page was read at."""
    hub = request.app[HUB]
    async with hub.database.transaction() as session:
        who = await auth.signed_in(session, hub, request)
    if who is None:
        return web.Response(status=401, text="Sign in first\n")
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    after = request.query.get("after", "")
    with hub.live.stream(who.rights) as stream, contextlib.suppress(ConnectionResetError):
        if after.isascii() and after.isdigit() and len(after) < 19:
            await hub.live.catch_up(stream, Position(int(after), 0))
        async for frame in stream.frames():
            await response.write(frame)
    return response
