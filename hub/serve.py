"""Serving: the database, the hub, its loops and its port, opened in order and closed in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from hub import revision
from hub.database import open_database
from hub.settings import Settings

ROLES = ("web", "worker", "listener")
Say = Callable[[str], None]
_ADDRESS = "address"


@asynccontextmanager
async def database_for(settings: Settings, say: Say) -> AsyncIterator[str]:
    """Yield the address of the database: the configured one, or the embedded server, started if it does not run."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    from hub import embedded

    async with embedded.running(
        settings.state_dir, port=settings.pg_port, bindir=settings.pg_bindir, user=settings.pg_user, say=say
    ) as url:
        yield url


async def migrated(url: str, say: Say) -> None:
    """Bring the database up to date; costs one query where it is."""
    async with open_database(url, pool_size=2) as database:
        present, needed = await revision.present(database.engine), revision.needed()
        if present == needed:
            return
        say("Preparing the database…" if present is None else f"Updating the database from {present} to {needed}…")
        from hub import migrate

        await migrate.upgrade(database.engine)


async def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    roles: Sequence[str] = ROLES,
    processes: int = 1,
    spawns: bool = True,
    say: Say = print,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way and stop.

    With more than one process the port is shared; the first one `spawns` the others.
    """
    # Loaded here, so that the commands which only need the database start in half the time.
    from aiohttp import web

    from hub import auth, worker
    from hub.app import open_hub
    from hub.desk import configured

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database_for(settings, say))
        await migrated(url, say)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        public_url = settings.public_url or f"http://{shown}:{port}"
        hub = await stack.enter_async_context(open_hub(settings, url, public_url=public_url))
        await configured.connect(hub)
        await stack.enter_async_context(worker.running(hub, works="worker" in roles, listens="listener" in roles))
        if "web" in roles:
            from hub.http import make_app

            # Without a handler per signal: we stop in our own order.
            runner = web.AppRunner(
                make_app(hub), access_log=None, handle_signals=False, keepalive_timeout=75, shutdown_timeout=5
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, host, port, reuse_port=processes > 1 or None, backlog=1024).start()
            _note_address(settings, public_url)
            say(f"Switchyard serves {public_url}")
            link = await auth.make_setup_link(hub)
            if link is not None:
                say(f"Nobody has an account yet. Set the workspace up here, once: {link}")
        else:
            say("Switchyard works without a port: " + ", ".join(roles))
        # What is loaded by now stays; collecting it again and again cost a fifth of the CPU of intake.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        siblings = _start_siblings(processes - 1 if spawns else 0, host, port, roles, url)
        try:
            await stop.wait()
        finally:
            say("Stopping…")
            for sibling in siblings:
                sibling.terminate()
            for sibling in siblings:
                await asyncio.to_thread(sibling.wait)


def _note_address(settings: Settings, address: str) -> None:
    """Leave word of where we listen, so that commands can name addresses that work."""
    with contextlib.suppress(OSError):  # a read-only state folder is no reason not to serve
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        (settings.state_dir / _ADDRESS).write_text(address)


def last_address(settings: Settings) -> str | None:
    """Return where a hub with this state folder last listened, without a final slash; None if none ever did."""
    try:
        return (settings.state_dir / _ADDRESS).read_text().strip() or None
    except OSError:
        return None


def _start_siblings(count: int, host: str, port: int, roles: Sequence[str], url: str) -> list[subprocess.Popen[bytes]]:
    """Start further processes on the same port and database; the kernel spreads the connections."""
    if count < 1:
        return []
    command = [sys.executable, "-m", "hub", "serve", "--host", host, "--port", str(port), "--shared-port"]
    for role in roles:
        command += ["--role", role]
    environment = {**os.environ, "SWITCHYARD_DATABASE_URL": url}
    return [subprocess.Popen(command, env=environment) for _ in range(count)]
