"""A real Asterisk as the telephone exchange of a small office, and a second one as everybody it talks to.

Both speak SIP and RTP with each other on free ports of this machine, so that events and recordings are those of real
calls: the second one is the people behind the trunk and the phones on the desks 101, 102 and 103. What the office has
is in `asterisk/office.conf`; the numbers and what they ring are listed at `from-trunk`.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from tests.peers import certificates, programs

SECRET = "a secret of the exchange"
"""Of the AMI and ARI user `hub`, who may do everything, and of the AMI user `reader`, who may not originate."""

DESK_101, DESK_102, DESK_103 = "74951000101", "74951000102", "74951000103"
GROUP, QUEUE, MENU, MACHINE, STASIS = "74951000110", "74951000120", "74951000130", "74951000140", "74951000150"

Behaviour = Literal["answers", "hesitates", "rings", "busy", "declines", "transfers", "consults", "introduces"]
"""What a phone on a desk does: `hesitates` answers after two seconds; `transfers` answers and passes the call on to
102, by REFER; `consults` asks 102 first, by the exchange's code *2; `introduces` asks as well, by a second call of its
own and a REFER that names it."""

_FOLDER = Path(__file__).with_suffix("")
_MODULES = ("/usr/lib/asterisk/modules", "/usr/lib/x86_64-linux-gnu/asterisk/modules")
_PACKAGES = "asterisk asterisk-core-sounds-en"


class _Server:
    """One Asterisk with its folder."""

    def __init__(self, root: Path, templates: str, values: dict[str, object]) -> None:
        self.root = root
        self._program = programs.needed("asterisk", _PACKAGES)
        modules = next((path for path in _MODULES if Path(path).is_dir()), _MODULES[0])
        for name in ("etc", "lib", "run", "log", "agi", "spool/outgoing", "spool/tmp", "spool/recording", "recordings"):
            (root / name).mkdir(parents=True)
        (root / "lib" / "documentation").symlink_to("/usr/share/asterisk/documentation")
        for name in ("both.conf", templates):
            for file, text in re.findall(r"^=== (\S+)\n(.*?)(?=^===|\Z)", (_FOLDER / name).read_text(), re.M | re.S):
                for key, value in {**values, "root": root, "modules": modules}.items():
                    text = text.replace(f"{{{key}}}", str(value))
                (root / "etc" / file).write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it, without waiting for it."""
        (self.root / "run" / "asterisk.ctl").unlink(missing_ok=True)  # of one that was killed
        with (self.root / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, "-f", "-C", str(self.root / "etc" / "asterisk.conf")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def await_booted(self) -> None:
        """Wait until it takes calls; fail with what it wrote where it does not."""
        until = time.monotonic() + 20
        while time.monotonic() < until and self._process is not None and self._process.poll() is None:
            if (self.root / "run" / "asterisk.ctl").exists() and self._ask("core waitfullybooted").returncode == 0:
                return
            time.sleep(0.02)
        raise RuntimeError(f"Asterisk does not start: {(self.root / 'output').read_text(errors='replace')[-2_000:]}")

    def command(self, text: str) -> str:
        """Give a command of its command line, and return what it says."""
        done = self._ask(text)
        if done.returncode:
            raise RuntimeError(f"Asterisk does not take {text!r}: {done.stderr}")
        return done.stdout

    def end(self, how: signal.Signals) -> None:
        programs.end(self._process, how)
        self._process = None

    def _ask(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, "-C", str(self.root / "etc" / "asterisk.conf"), "-rx", text],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
        )


class Asterisk:
    """The office, with its people. Its methods block, none longer than a start takes.

    `ami_port` and `ami_tls_port`, `http_port` of ARI; `recordings` holds `<Linkedid>.wav` of whatever was answered.
    `lookup_url` is asked for the caller's name, with the number at its end, where there is one.
    """

    def __init__(self, root: Path, *, lookup_url: str = "") -> None:
        self.ami_port, self.ami_tls_port, self.http_port = programs.free_ports(3)
        office, outside = _free_udp_ports(2)
        self.certificate, key = certificates.for_localhost()
        values = {
            "ami": self.ami_port,
            "ami_tls": self.ami_tls_port,
            "http": self.http_port,
            "secret": SECRET,
            "lookup": lookup_url,
        }
        self._office = _Server(root / "office", "office.conf", {**values, "sip": office, "other_sip": outside})
        self._outside = _Server(root / "outside", "outside.conf", {"sip": outside, "other_sip": office})
        (root / "office" / "etc" / "certificate.pem").write_text(self.certificate)
        (root / "office" / "etc" / "key.pem").write_text(key)
        self.recordings = root / "office" / "recordings"
        self._calls = 0

    def start(self) -> None:
        for server in (self._office, self._outside):
            server.launch()
        for server in (self._office, self._outside):
            server.await_booted()

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        for server in (self._office, self._outside):
            server.end(how)

    def end_office(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the exchange, and leave its people where they are."""
        self._office.end(how)

    def restart(self, *, kill: bool = False) -> None:
        """End the exchange, politely or not, and start it anew on the same ports."""
        self._office.end(signal.SIGKILL if kill else signal.SIGTERM)
        self._office.launch()
        self._office.await_booted()

    def desk(self, number: Literal["101", "102", "103"], does: Behaviour) -> None:
        """Say what the phone on a desk does when it is called, from now on."""
        self._outside.command(f"dialplan set global DESK{number} {does}")

    def call(
        self,
        number: str,
        *,
        caller: str = "79161234567",
        name: str = "",
        seconds: float = 1,
        digits: str = "",
        gives_up_after: int = 30,
    ) -> None:
        """Have somebody call the office: a customer through the trunk, or a desk where `caller` is one.

        They talk for some `seconds`, from when the office picks up, be it only its queue or menu, and hang up, having
        pressed `digits`; they let it ring for `gives_up_after` whole seconds.
        """
        self._calls += 1
        spool = self._outside.root / "spool"
        path = spool / "tmp" / f"{self._calls}.call"
        path.write_text(
            f'Channel: PJSIP/{number}@office\nCallerid: "{name}" <{caller}>\nWaitTime: {gives_up_after}\n'
            f"MaxRetries: 0\nContext: caller\nExtension: talks\nPriority: 1\n"
            f"Setvar: SECONDS={seconds}\nSetvar: DIGITS={digits}\n"
        )
        path.rename(spool / "outgoing" / path.name)  # it is read as soon as it is there

    def hang_up(self) -> None:
        """Have everybody outside hang up, callers and phones."""
        self._outside.command("channel request hangup all")

    def command(self, text: str) -> str:
        """Give a command of the exchange's command line, and return what it says."""
        return self._office.command(text)

    def log(self) -> str:
        path = self._office.root / "log" / "full"
        return path.read_text(errors="replace") if path.exists() else ""


def _free_udp_ports(count: int) -> list[int]:
    sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def running(*, lookup_url: str = "") -> Iterator[Asterisk]:
    """Run an exchange and those it talks to for the length of the block."""
    root = Path(tempfile.mkdtemp(prefix="asterisk-"))
    server = Asterisk(root, lookup_url=lookup_url)
    try:
        server.start()
        yield server
    finally:
        with suppress(subprocess.SubprocessError):
            server.end()
        shutil.rmtree(root, ignore_errors=True)
