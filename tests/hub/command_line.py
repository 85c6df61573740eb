"""The real command, run as a program of its own from a folder that is not the checkout's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

COMMAND = (sys.executable, "-W", "error", "-m", "hub")
PATIENCE = 30.0


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what it printed, having succeeded."""
        assert self.code == 0, self.err
        return json.loads(self.out)


class Switchyard:
    """The command with its settings in the environment."""

    def __init__(self, folder: Path, database_url: str | None, **settings: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "SWITCHYARD_STATE_DIR": str(folder / "state"),
            **({"SWITCHYARD_DATABASE_URL": database_url} if database_url else {}),
            **settings,
        }

    def __call__(self, *arguments: str, given: str = "", **settings: str) -> Ended:
        """Run it to its end."""
        ended = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment | settings,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    @contextmanager
    def serving(self, *arguments: str, ready: str, **settings: str) -> Iterator[Server]:
        """Have it serve for the length of the block; `ready` is what it says once it does."""
        with (self.folder / f"serve-{time.monotonic_ns()}.log").open("w+") as log:
            process = subprocess.Popen(
                [*COMMAND, "serve", *arguments],
                cwd=self.folder,
                env=self.environment | settings,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            server = Server(process, Path(log.name))
            try:
                server.wait_for(ready)
                yield server
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()


class Server:
    """A hub that runs."""

    def __init__(self, process: subprocess.Popen[str] | subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        """All it has printed so far."""
        return self._log.read_text()

    def wait_for(self, words: str) -> None:
        """Return once it has said these words."""
        until(lambda: words in self.said or self.process.poll() is not None)
        assert words in self.said, self.said

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def until(condition: Any) -> None:
    """Wait until something holds that another process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def free_port() -> int:
    """Return a port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def post(url: str, fields: Mapping[str, str]) -> int:
    """Send a form as a browser without JavaScript would, and return the status."""
    try:
        with urllib.request.urlopen(url, urlencode(fields).encode(), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
