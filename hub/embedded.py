"""A PostgreSQL server of our own in the state folder, for installations that name no other.

`running` starts it, or joins the one that another process of the same installation has started; the last process to
leave stops it. What lies on disk, and how the server is found and started there, is `hub.cluster`.

Who does what is settled by two locks of the operating system, which vanish with the process that holds them:
`<state>/postgres.lock` is held while the server is being started or stopped, and every process that uses the server
holds a share of `users.lock`. A hub that was killed therefore leaves a server without users, and the next process to
join it becomes responsible for stopping it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import asyncpg

from core.kernel.waiting import end
from hub.cluster import HOST, OWNER, SUPERUSER, Cluster
from hub.programs import ServerNotStarted
from hub.settings import prepare_state_dir

DATABASE = "switchyard"
PROGRESS_EVERY = 3.0
"""Seconds between two words about what is being waited for."""
LOOK_EVERY = 1.0
"""Seconds between two looks at whether the server is still there."""
ORPHANS_TRIES = 100
"""How often a start is tried again while processes of a killed server are still ending; 0.2 s apart."""

NOT_YET = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TooManyConnectionsError,
)
NOT_FURNISHED = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
)

Say = Callable[[str], None]


def _silent(_: str) -> None:
    """Tell nobody."""


@contextlib.asynccontextmanager
async def running(
    state_dir: Path,
    *,
    port: int = 0,
    bindir: Path | None = None,
    user: str | None = None,
    options: Mapping[str, str] | None = None,
    shelter: Path = Path("/var/lib/switchyard"),
    say: Say = _silent,
) -> AsyncIterator[str]:
    """Have the server running, and yield the URL of the database `switchyard` for SQLAlchemy.

    While the context is open, a server that ends for whatever reason is started again at the same address. Whoever
    opened the context last stops it; a caller must not fork inside.

    Args:
        port: on 127.0.0.1; 0 for the one used last, or a free one. A server that already runs keeps its own.
        bindir: the folder with `postgres` and `initdb`; None to look for them (see `hub.cluster.find_programs`).
        user: whom the server runs as when we are root; None for `nobody`, or the owner of the data that exists.
        options: further settings of PostgreSQL for this start.
        shelter: where root keeps the data of a state folder that `user` cannot reach.
        say: is told, in sentences for the person in front of it, what takes long or is out of the ordinary.

    Raises:
        ServerNotStarted: it cannot be had; the message says why and what to do.
    """
    try:
        await asyncio.to_thread(prepare_state_dir, state_dir)
        async with _alone(state_dir, say):
            cluster = await asyncio.to_thread(
                Cluster.open,
                state_dir,
                port=port,
                bindir=bindir,
                user=user,
                options=dict(options or {}),
                shelter=shelter,
                say=say,
            )
            users = _share(cluster)
    except OSError as error:
        raise ServerNotStarted(
            f"The embedded PostgreSQL cannot keep its files in {state_dir}: {error}. "
            "Let this user write there, or set SWITCHYARD_STATE_DIR or SWITCHYARD_DATABASE_URL."
        ) from error
    try:
        async with _alone(state_dir, say):
            await _bring_up(cluster, say)
        watch = asyncio.create_task(_keep_up(state_dir, cluster, say))
        try:
            yield _url(cluster)
        finally:
            await end(watch)
    finally:
        async with _alone(state_dir, say):
            try:
                if _sole_user(users):
                    await _bring_down(cluster, say)
            finally:
                os.close(users)


@contextlib.contextmanager
def running_in_background(
    state_dir: Path,
    *,
    bindir: Path | None = None,
    options: Mapping[str, str] | None = None,
    say: Say = _silent,
) -> Iterator[str]:
    """Do what `running` does for a caller without an event loop, such as a fixture of a whole test session.

    Processes that use the same `state_dir` share one server.
    """
    ready: Future[str] = Future()
    enough = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def hold() -> None:
        try:
            async with running(state_dir, bindir=bindir, options=options, say=say) as url:
                ready.set_result(url)
                await enough.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=loop.run_until_complete, args=(hold(),), name="embedded-postgres")
    thread.start()
    try:
        yield ready.result()
    finally:
        if thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                loop.call_soon_threadsafe(enough.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _url(cluster: Cluster) -> str:
    # Without ssl=disable the driver looks for certificates in $HOME, which may be another user's.
    return f"postgresql+asyncpg://{OWNER}:{cluster.password(OWNER)}@{HOST}:{cluster.port}/{DATABASE}?ssl=disable"


async def _bring_up(cluster: Cluster, say: Say) -> None:
    """Return once the server answers. Never give up while it lives: recovery after a crash can take minutes."""
    joined = cluster.server()
    server = joined or await _launch(cluster)
    progress = _Progress(say, "PostgreSQL is starting")
    pause, tries = 0.01, 0
    while True:
        try:
            await _answer(cluster)
            return
        except NOT_YET:
            if not cluster.is_server(server):
                tries += 1
                # One that we joined was on its way out. One of ours may have met what a killed one left behind.
                if server != joined and not (tries < ORPHANS_TRIES and cluster.met_orphans()):
                    raise ServerNotStarted(
                        f"PostgreSQL ended while it was starting. The data is untouched in {cluster.home}. "
                        f"The end of {cluster.log}:\n{cluster.last_words(12)}"
                    ) from None
                server, pause = await _launch(cluster), 0.2
        progress.wait_for(cluster.last_words(1))
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.25)


async def _launch(cluster: Cluster) -> int:
    """Start the server. Being cancelled waits for the end of it, lest a server appear after everybody has left."""
    launch = asyncio.ensure_future(asyncio.to_thread(cluster.launch))
    try:
        return await asyncio.shield(launch)
    except asyncio.CancelledError:
        await asyncio.wait([launch])
        raise


async def _bring_down(cluster: Cluster, say: Say) -> None:
    """Stop the server and return when it is gone; sessions that are still open are cut, and roll back."""
    server = cluster.server()
    if server is None:
        return
    progress = _Progress(say, "PostgreSQL is writing everything down before it stops")
    tries = 0
    while cluster.is_server(server):
        if tries % 50 == 0:  # again and again: one that is just being started ignores it for a moment
            cluster.interrupt(server)
        tries += 1
        progress.wait_for(cluster.last_words(1))
        await asyncio.sleep(0.01)


async def _keep_up(state_dir: Path, cluster: Cluster, say: Say) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if cluster.server() is not None:
            continue
        try:
            async with _alone(state_dir, say):
                if cluster.server() is None:
                    say("PostgreSQL has ended unexpectedly; starting it again.")
                    await _bring_up(cluster, say)
        except (ServerNotStarted, OSError) as error:
            say(f"{error}\nTrying again.")


async def _answer(cluster: Cluster) -> None:
    """Log in to our database, which is made if this is the first time."""
    try:
        session = await _connect(cluster, OWNER, DATABASE)
    except NOT_FURNISHED:
        await _furnish(cluster)
        session = await _connect(cluster, OWNER, DATABASE)
    await session.close()


async def _furnish(cluster: Cluster) -> None:
    """Make the role and the database; what is there already, after a start that was cut short, is kept."""
    try:
        session = await _connect(cluster, SUPERUSER, "postgres")
    except NOT_FURNISHED as error:
        raise ServerNotStarted(
            f"The password kept in {cluster.home} does not fit the data there ({error}). "
            "Restore the whole folder from one backup."
        ) from error
    try:
        password = cluster.password(OWNER)  # letters, digits, - and _: safe between quotes
        if not await session.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", OWNER):
            await session.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB")
        await session.execute(f"ALTER ROLE {OWNER} PASSWORD '{password}'")
        await session.execute(f"GRANT pg_monitor, pg_checkpoint, pg_signal_backend TO {OWNER}")
        if not await session.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await session.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    finally:
        await session.close()


async def _connect(cluster: Cluster, role: str, database: str) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=HOST,
        port=cluster.port,
        user=role,
        password=cluster.password(role),
        database=database,
        ssl=False,
        timeout=5,
    )


@contextlib.asynccontextmanager
async def _alone(state_dir: Path, say: Say) -> AsyncIterator[None]:
    """Be the only process of this installation that starts or stops the server."""
    descriptor = _open_lock(state_dir / "postgres.lock")
    try:
        progress = _Progress(say, "Another process is starting or stopping PostgreSQL")
        while not _taken(descriptor, fcntl.LOCK_EX):
            progress.wait_for("")
            await asyncio.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _share(cluster: Cluster) -> int:
    """Become one of the server's users. Called while `_alone`, so it never has to wait."""
    descriptor = _open_lock(cluster.home / "users.lock")
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _sole_user(users: int) -> bool:
    return _taken(users, fcntl.LOCK_EX)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _taken(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Progress:
    """Says every few seconds that, and for how long, something has been waited for."""

    def __init__(self, say: Say, what: str) -> None:
        self._say = say
        self._what = what
        self._began = asyncio.get_running_loop().time()
        self._said = self._began

    def wait_for(self, detail: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said >= PROGRESS_EVERY:
            self._said = now
            self._say(f"{self._what} ({now - self._began:.0f} s){': ' + detail if detail else ''}")
