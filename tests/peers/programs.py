"""Servers that tests start on this machine: free ports, and an end by their own process numbers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path


def needed(program: str, package: str, *places: str) -> str:
    """Return where a program is; fail with what to install where it is nowhere."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", *places]))
    if found is None:
        raise RuntimeError(
            f"This test runs against a real {package}, and {program} is not there. Install it: "
            f"apt-get install --no-install-recommends {package}"
        )
    return found


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def await_port(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 20) -> None:
    """Wait until a server answers on its port; fail with what it wrote where it does not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    said = log.read_text(errors="replace")[-2_000:] if log.exists() else ""
    raise RuntimeError(f"{process.args!r} does not answer on port {port}: {said}")


def end(process: subprocess.Popen[bytes] | None, how: signal.Signals = signal.SIGTERM) -> None:
    """End a server and all it started; return when it is gone. It was started as the leader of a group of its own."""
    if process is None or process.returncode is not None:
        return
    family = _descendants(process.pid)
    process.send_signal(how)
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)  # a server may wait for its last clients
    for pid in [process.pid, *family]:
        if process.returncode is None or _is_child_of_nobody(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started while it was ending
    process.wait(10)
    until = time.monotonic() + 10
    while any(map(_is_child_of_nobody, family)) and time.monotonic() < until:
        time.sleep(0.01)  # a process that was killed still closes its sockets


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parent = int(status.read_text(errors="replace").rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(status.parent.name))
    found, known = [], [pid]
    while known:
        children = parents.get(known.pop(), [])
        found += children
        known += children
    return found


def _is_child_of_nobody(pid: int) -> bool:
    """Tell whether it outlived the server that started it."""
    with suppress(OSError, ValueError, IndexError):
        state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
        return state != "Z" and int(parent) == 1
    return False
