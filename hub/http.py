"""The web application: the door for hooks, the workspace, the REST API, health, and what holds for every answer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web
from sqlalchemy import text

from core.kernel import jobs
from core.kernel.errors import Conflict, DomainError, Forbidden, NotFound, Rejected, Stale
from core.talk import outbox
from hub import files_door, hooks, metrics, revision, widget_door
from hub.app import Hub
from hub.auth import SignInRefused, TooManyTries
from hub.hooks import HUB

log = structlog.get_logger(__name__)

STATIC = Path(__file__).parent / "web" / "static"

STATUS: dict[type[DomainError], int] = {
    NotFound: 404,
    Conflict: 409,
    Stale: 412,
    Rejected: 422,
    Forbidden: 403,
    SignInRefused: 401,
    TooManyTries: 429,
}

_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _everywhere(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every answer its headers, every request its id, and every fault a line in the log and none on the page."""
    if request.path.startswith("/hooks/"):
        return await handler(request)  # the hot path: no headers for browsers, its own answers
    given = request.headers.get("X-Request-Id", "")
    request_id = given if given.isascii() and given.isalnum() and len(given) <= 64 else secrets.token_hex(8)
    structlog.contextvars.bind_contextvars(request_id=request_id)
    began = time.perf_counter()
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = _worded(request, error) if error.status in (404, 405) else error
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        response = _broken(request, request_id)
    finally:
        structlog.contextvars.unbind_contextvars("request_id")
    if not response.prepared:
        for name, value in _SECURITY.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("X-Request-Id", request_id)
    area = "api" if request.path.startswith("/api/") else "workspace"
    metrics.REQUESTS.labels(area).observe(time.perf_counter() - began)
    if isinstance(response, web.HTTPException):
        raise response
    return response


def _worded(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """Say that there is no such page in the way the browser asked; the API says it in its own."""
    from hub.web import visits

    if request.path.startswith("/api/"):
        return error
    if visits.wants_page(request):
        page = visits.failed(request, error.status)
    else:
        page = visits.problem_document(error.status, (error.text or error.reason).strip())
    if "Allow" in error.headers:
        page.headers["Allow"] = error.headers["Allow"]
    return page


def _broken(request: web.Request, request_id: str) -> web.Response:
    """Say that it was our fault, and how to find the line in the log."""
    from hub.web import visits

    said = f"Something went wrong on our side. It was noted as {request_id}"
    if not visits.wants_page(request):
        return visits.problem_document(500, said)
    try:
        return visits.failed(request, 500, reference=request_id)
    except Exception:
        log.exception("page_failed", path=request.path)
        return web.Response(status=500, text=f"{said}\n")


async def healthz(_request: web.Request) -> web.Response:
    """Say that the process is alive. Asks nothing of anybody."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Say whether this node can do its work: the database answers, is migrated, and the queue is not stuck."""
    hub = request.app[HUB]
    checks: dict[str, object] = {}
    try:
        async with hub.database.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            checks["database"] = "ok"
            found, needed = await revision.present(hub.database.engine), revision.needed()
            checks["migrations"] = "ok" if found == needed else f"the database is at {found}, {needed} is needed"
            oldest = await connection.scalar(text("SELECT min(due_at) FROM deliveries WHERE due_at IS NOT NULL"))
            age = max(0.0, (hub.clock.now() - oldest).total_seconds()) if oldest else 0.0
            checks["queue_age_seconds"] = round(age, 1)
    except Exception as error:
        checks["database"] = f"not reachable ({type(error).__name__})"
    ready = checks.get("database") == "ok" and checks.get("migrations") == "ok"
    return web.json_response({"status": "ready" if ready else "not ready", **checks}, status=200 if ready else 503)


async def measured(request: web.Request) -> web.Response:
    """Return the counters for Prometheus."""
    hub = request.app[HUB]
    metrics.WAITING.set(hub.ingress.waiting)
    async with hub.database.reading() as session:
        for queue in ("deliveries", jobs.Job.__tablename__, outbox.Outgoing.__tablename__):
            oldest = await session.scalar(text(f"SELECT min(due_at) FROM {queue} WHERE due_at IS NOT NULL"))  # noqa: S608
            age = (hub.clock.now() - oldest).total_seconds() if oldest else 0.0
            metrics.QUEUE_AGE.labels(queue).set(max(0.0, age))
    return web.Response(body=metrics.page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def static_file(request: web.Request) -> web.StreamResponse:
    """Serve a file of the workspace; one asked for by its content's hash may be kept for ever."""
    root = STATIC.resolve()
    path = (root / request.match_info["path"]).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise web.HTTPNotFound(text="No such file\n")
    response = web.FileResponse(path)
    forever = "v" in request.query or path.suffix in {".woff2"}
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if forever else "public, max-age=300"
    return response


def make_app(hub: Hub) -> web.Application:
    """Make the application of one node."""
    from hub.api import mount
    from hub.web import urls

    app = web.Application(middlewares=[_everywhere], client_max_size=hub.settings.max_body_bytes)
    app[HUB] = hub
    hooks.add_routes(app)
    files_door.add_routes(app)
    widget_door.add_routes(app)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", measured)
    app.router.add_get("/static/{path:.+}", static_file)
    mount.add(app, hub)
    urls.add_routes(app, hub)
    return app
