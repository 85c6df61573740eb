"""What tests stand on: a real PostgreSQL, a fresh migrated database, the real hub on it, and a clock that is moved."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import structlog
import uvloop
from aiohttp.test_utils import TestClient, TestServer
from argon2 import PasswordHasher
from sqlalchemy.ext.asyncio import AsyncSession

from core.connections import Connection
from core.kernel.clock import MovableClock
from core.staff import tokens, users
from core.staff.users import Role, User
from hub import connections, embedded, migrate, schema, worker
from hub.app import Hub, open_hub
from hub.database import Database, open_database, plain_url
from hub.http import make_app
from hub.settings import Settings
from tests.hanging import pytest_runtest_protocol as pytest_runtest_protocol
from tests.peers import dovecot as dovecots
from tests.peers import postfix as postfixes
from tests.peers.dovecot import Dovecot
from tests.peers.postfix import Postfix

MONDAY_TEN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"


def _named(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


def pytest_configure() -> None:
    """Have errors logged without their variables, which takes seconds each."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests on the loop that the hub runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what lives until the end out of every garbage collection: it was a tenth of the time of all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


_MEMORY = Path("/dev/shm")
_ROOM = 2_000_000_000
"""Bytes that have to be free in memory for the databases of tests to lie there."""


def _place_of_databases() -> Path:
    """Return where databases that nobody will miss are made and dropped fastest: 700 files each, thousands of times."""
    if os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        return _MEMORY
    return Path(tempfile.gettempdir())


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The PostgreSQL server of this worker of pytest, made of the programs that CI names or of the embedded ones.

    Each worker has its own: the diary shows what every older transaction of the *server* has finished before, so a
    neighbour's CREATE DATABASE would hold back what a test is waiting for.
    """
    bindir = os.environ.get("SWITCHYARD_TEST_PG_BINDIR")
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    folder = _place_of_databases() / f"switchyard-tests-{run}-{worker}"
    # Tests may lose their database with the machine: only they run without fsync.
    options = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "max_connections": "300"}
    try:
        with embedded.running_in_background(folder, bindir=Path(bindir) if bindir else None, options=options) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database that others are copied from."""
    name = f"template_{os.getpid()}"
    schema.load()

    async def make() -> None:
        await _execute(server_url, f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}"')
        async with open_database(_named(server_url, name), pool_size=2) as database:
            await migrate.upgrade(database.engine)

    asyncio.run(make())
    yield name
    asyncio.run(_execute(server_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


_numbers = iter(range(1_000_000))


@pytest.fixture
async def database_url(server_url: str, template: str) -> AsyncIterator[str]:
    """A fresh database as `switchyard migrate` leaves it."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    await _execute(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    yield _named(server_url, name)
    await _execute(server_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, pool_size=5) as opened:
        yield opened


@pytest.fixture
async def session(database: Database) -> AsyncIterator[AsyncSession]:
    """A session on the fresh database; what a test wants others to see it commits."""
    async with database.reading() as opened:
        yield opened


@pytest.fixture
def clock() -> MovableClock:
    """Monday, 23 November 2026, ten o'clock UTC (one in the afternoon in Moscow)."""
    return MovableClock(MONDAY_TEN)


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled templates are kept from one test to the next."""
    return tmp_path_factory.mktemp("templates")


@pytest.fixture
def settings(tmp_path: Path, database_url: str, compiled_templates: Path) -> Settings:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "templates").symlink_to(compiled_templates)
    return Settings(state_dir=tmp_path / "state", database_url=database_url)


@pytest.fixture
async def hub(settings: Settings, database_url: str, clock: MovableClock) -> AsyncIterator[Hub]:
    """The real hub. Its loops do not run: a test calls `drain` when a worker would have worked."""
    async with open_hub(settings, database_url, clock=clock, public_url="http://127.0.0.1:8080") as opened:
        yield opened


@pytest.fixture
async def drain(hub: Hub) -> Callable[[], Awaitable[None]]:
    """Does all that is due by the clock, as workers would."""

    async def run() -> None:
        await worker.drain(hub)

    return run


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[TestClient[Any, Any]]:
    """A browser without a session, or any program outside."""
    async with TestClient(TestServer(make_app(hub))) as opened:
        yield opened


_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""Of PASSWORD, in a way that takes no time: real ones are meant to be slow."""


@pytest.fixture
async def take_on(hub: Hub) -> Callable[..., Awaitable[User]]:
    """Takes somebody on: `anna = await take_on("Anna")`."""

    async def add(name: str, role: Role = Role.MANAGER, *, password: bool = False, **more: Any) -> User:
        password_hash = _HASH if password else None
        async with hub.database.transaction() as session:
            return await users.add(
                session,
                email=f"{name.lower()}@example.com",
                name=name,
                role=role,
                at=hub.clock.now(),
                password_hash=password_hash,
                **more,
            )

    return add


@pytest.fixture
async def token_of(hub: Hub) -> Callable[..., Awaitable[dict[str, str]]]:
    """Gives the headers with which somebody calls the API: `await token_of(anna)`."""

    async def make(user: User, *scopes: str) -> dict[str, str]:
        async with hub.database.transaction() as session:
            _, secret = await tokens.create(session, user_id=user.id, at=hub.clock.now(), scopes=scopes)
        return {"Authorization": f"Bearer {secret}"}

    return make


@pytest.fixture
async def webform(hub: Hub) -> Connection:
    """A website form whose phones are Russian."""
    return await add_webform(hub)


async def add_webform(hub: Hub, **common: Any) -> Connection:
    """Connect a website form."""
    own = {name: common.pop(name) for name in ("allowed_origins", "redirects") if name in common}
    async with hub.database.transaction() as session:
        connection = await connections.create(
            session,
            hub.vault,
            kind="webform",
            title="Website",
            settings=own,
            at=hub.clock.now(),
            **{"default_country": "RU", **common},
        )
    await hub.switchboard.refresh()
    return connection


VERA = {
    "name": "Вера Соколова",
    "phone": "8 (916) 123-45-67",
    "email": "vera@example.com",
    "message": "3 windows, quote please",
    "utm_source": "google",
    "utm_campaign": "spring",
}


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    """A real IMAP server, for the tests of one file."""
    with dovecots.running() as server:
        yield server


@pytest.fixture(scope="module")
def postfix(dovecot: Dovecot) -> Iterator[Postfix]:
    """A real SMTP server before it, for the tests of one file."""
    with postfixes.running(dovecot) as server:
        yield server
