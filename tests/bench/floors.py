"""Bare servers that do only what cannot be avoided: the floors that the hub is measured against.

    commit   one INSERT and one commit for each request, 16 database connections
    group    all requests that arrived meanwhile in one multi-row INSERT, one flush in flight
    empty    no database at all: what the load generator and aiohttp manage
    provider takes what is sent to it, and counts
    notice   commit, then NOTIFY → LISTEN → server-sent events → a page that lists the names

Run as `python -m tests.bench.floors KIND PORT DATABASE_URL`.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs

import asyncpg
import uvloop
from aiohttp import web

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    key bytea PRIMARY KEY,
    body bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
)
"""

POOL_SIZE = 16

PAGE = """<!doctype html><title>Floor</title><ul id="list"></ul><script>
new EventSource("/events").onmessage = event => {
  const item = document.createElement("li");
  item.textContent = event.data;
  document.getElementById("list").prepend(item);
};
</script>"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Row = tuple[bytes, bytes]


def key_of(body: bytes) -> bytes:
    """Return what tells a repeat: a digest of the body."""
    return hashlib.blake2b(body, digest_size=16).digest()


def acknowledgement() -> web.Response:
    """Answer as a hook does."""
    return web.Response(body=b'{"ok": true}', content_type="application/json")


async def accept_without_database(request: web.Request) -> web.Response:
    """Read the request and forget it."""
    await request.read()
    return acknowledgement()


def committing(pool: asyncpg.Pool[asyncpg.Record]) -> Handler:
    """Return a handler that stores each request in a transaction of its own."""

    async def accept(request: web.Request) -> web.Response:
        body = await request.read()
        await pool.execute("INSERT INTO requests (key, body) VALUES ($1, $2)", key_of(body), body)
        return acknowledgement()

    return accept


class Group:
    """Stores all requests that wait with one statement; one flush is in flight."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def accept(self, request: web.Request) -> web.Response:
        """Answer when the request is durable."""
        body = await request.read()
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append(((key_of(body), body), durable))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await durable
        return acknowledgement()

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self._pool.execute(
                "INSERT INTO requests (key, body) SELECT * FROM unnest($1::bytea[], $2::bytea[]) "
                "ON CONFLICT DO NOTHING",
                [key for (key, _), _ in batch],
                [body for (_, body), _ in batch],
            )
            for _, durable in batch:
                durable.set_result(None)
        self._flushing = None


class Notices:
    """Stores a request, and tells every open page the name in it."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._readers: set[asyncio.Queue[str]] = set()

    async def accept(self, request: web.Request) -> web.Response:
        """Store and announce in one transaction."""
        body = await request.read()
        name = parse_qs(body.decode())["name"][0]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("INSERT INTO requests (key, body) VALUES ($1, $2)", key_of(body), body)
            await connection.execute("SELECT pg_notify('floor', $1)", name)
        return acknowledgement()

    def heard(self, _connection: object, _process: int, _channel: str, name: object) -> None:
        """Pass a notification on to every page."""
        for reader in self._readers:
            reader.put_nowait(str(name))

    async def page(self, _request: web.Request) -> web.Response:
        """Return the page that lists the names."""
        return web.Response(text=PAGE, content_type="text/html")

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send the names as they come."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        reader: asyncio.Queue[str] = asyncio.Queue()
        self._readers.add(reader)
        try:
            while True:
                await response.write(f"data: {await reader.get()}\n\n".encode())
        except ConnectionError:
            return response
        finally:
            self._readers.discard(reader)


class Provider:
    """Answers as a provider of SMS does; says how much came, and the moments of the first and the last of it."""

    def __init__(self) -> None:
        self._count = self._ids = 0
        self._first = self._last = 0.0

    async def send(self, _request: web.Request) -> web.Response:
        """Take a message."""
        self._last = time.perf_counter()
        self._count += 1
        self._ids += 1
        if self._count == 1:
            self._first = self._last
        return web.Response(text=f'Success "{self._ids}"')

    async def count(self, _request: web.Request) -> web.Response:
        """Say what came."""
        return web.json_response({"count": self._count, "first": self._first, "last": self._last})

    async def forget(self, _request: web.Request) -> web.Response:
        """Count anew. Ids go on."""
        self._count = 0
        return web.Response()


async def ready(_request: web.Request) -> web.Response:
    """Say that the server listens."""
    return web.Response(text="ready")


def application(kind: str, database_url: str) -> web.Application:
    """Make the bare server of this kind."""
    app = web.Application()
    app.router.add_get("/readyz", ready)
    if kind == "provider":
        provider = Provider()
        app.router.add_get("/send", provider.send)
        app.router.add_get("/count", provider.count)
        app.router.add_post("/count", provider.forget)
        return app
    if kind == "empty":
        app.router.add_post("/hooks", accept_without_database)
        return app

    async def with_database(app: web.Application) -> AsyncIterator[None]:
        async with asyncpg.create_pool(database_url, min_size=POOL_SIZE, max_size=POOL_SIZE, ssl=False) as pool:
            await pool.execute(SCHEMA)
            if kind == "notice":
                notices = Notices(pool)
                listening = await asyncpg.connect(database_url, ssl=False)
                await listening.add_listener("floor", notices.heard)
                app[NOTICES] = notices
                yield
                await listening.close()
            else:
                app[ACCEPT] = Group(pool).accept if kind == "group" else committing(pool)
                yield

    app.cleanup_ctx.append(with_database)
    if kind == "notice":
        app.router.add_get("/", lambda request: request.app[NOTICES].page(request))
        app.router.add_get("/events", lambda request: request.app[NOTICES].events(request))
        app.router.add_post("/hooks", lambda request: request.app[NOTICES].accept(request))
    else:
        app.router.add_post("/hooks", lambda request: request.app[ACCEPT](request))
    return app


ACCEPT: web.AppKey[Handler] = web.AppKey("accept")
NOTICES: web.AppKey[Notices] = web.AppKey("notices", Notices)


def main() -> None:
    """Serve until interrupted."""
    kind, port, database_url = sys.argv[1:4]
    uvloop.install()
    app = application(kind, database_url)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=lambda *_: None, shutdown_timeout=1)


if __name__ == "__main__":
    main()
