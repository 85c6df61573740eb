"""A real Dovecot 2.3 on free ports of this machine, with its mailboxes in a folder of its own."""

from __future__ import annotations

import grp
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.peers import certificates, programs

PASSWORDS = {"sales@hub.test": "sales pass", "support@hub.test": "support pass"}
_PACKAGES = "dovecot-imapd dovecot-lmtpd"
_OWNER = 5000  # of the letters; no such user has to exist

_CONFIGURATION = """
base_dir = {root}/base
state_dir = {root}/state
log_path = {root}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = {ssl}
ssl_cert = <{root}/certificate.pem
ssl_key = <{root}/key.pem
auth_mechanisms = plain login xoauth2
auth_failure_delay = 0
mail_location = maildir:{root}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
mail_max_userip_connections = 100
mail_fsync = never
mailbox_idle_check_interval = 1 secs
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
postmaster_address = postmaster@hub.test
hostname = mx.hub.test
{users}
{capability}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {root}/users
  mechanisms = plain login
}}
{oauth}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}/mail/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  chroot =
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service anvil {{
  chroot =
  # no penalty: it would let whoever comes after a wrong password wait
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service auth {{
  chroot =
  inet_listener {{
    address = 127.0.0.1
    port = {auth}
  }}
}}
"""


class Dovecot:
    """The server. It can be ended and started anew on the same ports and letters."""

    def __init__(
        self, root: Path, *, introspection_url: str = "", without_idle: bool = False, without_tls: bool = False
    ) -> None:
        self.program = programs.needed("dovecot", _PACKAGES)
        self.root = root
        self.imap, self.imaps, self.lmtp, self.auth = programs.free_ports(4)
        self.certificate, key = certificates.for_localhost()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        is_root = os.geteuid() == 0
        uid, gid = (_OWNER, _OWNER) if is_root else (os.geteuid(), os.getegid())
        me = pwd.getpwuid(os.geteuid()).pw_name
        mine = grp.getgrgid(os.getegid()).gr_name
        users = f"default_internal_user = {me}\ndefault_login_user = {me}\ndefault_internal_group = {mine}"
        for name in ("base", "state", "mail"):
            (root / name).mkdir()
        os.chown(root / "mail", uid, gid)
        (root / "certificate.pem").write_text(self.certificate)
        (root / "key.pem").write_text(key)
        (root / "users").write_text("".join(f"{user}:{word}\n" for user, word in PASSWORDS.items()))
        oauth = ""
        if introspection_url:
            (root / "oauth").write_text(
                f"introspection_url = {introspection_url}\nintrospection_mode = post\nactive_attribute = active\n"
                "active_value = true\nusername_attribute = username\nusername_format = %u\n"
            )
            oauth = f"passdb {{\n  driver = oauth2\n  mechanisms = xoauth2\n  args = {root}/oauth\n}}"
        capability = "imap_capability = IMAP4rev1 SASL-IR LITERAL+ UIDPLUS" if without_idle else ""
        (root / "configuration").write_text(
            _CONFIGURATION.format(
                root=root,
                uid=uid,
                gid=gid,
                users="" if is_root else users,
                oauth=oauth,
                capability=capability,
                ssl="no" if without_tls else "yes",
                imap=self.imap,
                imaps=self.imaps,
                lmtp=self.lmtp,
                auth=self.auth,
            )
        )

    def start(self) -> None:
        (self.root / "base" / "master.pid").unlink(missing_ok=True)  # of one that was killed
        with (self.root / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self.program, "-F", "-c", str(self.root / "configuration")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        programs.await_port(self.imap, self._process, self.root / "output")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        programs.end(self._process, how)
        self._process = None

    def put(self, user: str, letter: bytes, folder: str = "", *, at: float | None = None) -> None:
        """Put a letter into a mailbox, as a mail server would (maildir: complete, then moved). `at`: when it came."""
        box = self.box(user, folder)
        for name in ("tmp", "new", "cur"):
            self._make(box / name)
        came = at if at is not None else time.time()
        name = f"{came:.6f}.M{next(self._numbers)}P{os.getpid()}.test"
        path = box / "tmp" / name
        path.write_bytes(letter)
        os.utime(path, (came, came))
        with suppress(PermissionError):
            os.chown(path, *self._owner())
        path.rename(box / "new" / name)

    def letters(self, user: str, folder: str = "") -> list[bytes]:
        """Return what lies in a mailbox, in no order."""
        box = self.box(user, folder)
        return [path.read_bytes() for name in ("new", "cur") for path in (box / name).glob("*")]

    def box(self, user: str, folder: str = "") -> Path:
        return self.root / "mail" / user / (f".{folder}" if folder else "")

    def forget_uids(self, user: str) -> None:
        """Lose the numbers of all letters: they get others, under another UIDVALIDITY."""
        numbers = self.box(user) / "dovecot-uidlist"
        validity = int(numbers.read_text().split()[1].removeprefix("V"))
        for path in self.box(user).glob("dovecot*"):
            if path != numbers:
                path.unlink()
        numbers.write_text(f"3 V{validity + 1} N1000\n")

    def log(self) -> str:
        path = self.root / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _make(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            with suppress(PermissionError):
                os.chown(path, *self._owner())

    def _owner(self) -> tuple[int, int]:
        owner = (self.root / "mail").stat()
        return owner.st_uid, owner.st_gid


@contextmanager
def running(*, introspection_url: str = "", without_idle: bool = False, without_tls: bool = False) -> Iterator[Dovecot]:
    """Run a Dovecot for the length of the block."""
    root = Path(tempfile.mkdtemp(prefix="dovecot-"))
    root.chmod(0o755)  # its processes are other users
    server = Dovecot(root, introspection_url=introspection_url, without_idle=without_idle, without_tls=without_tls)
    try:
        server.start()
        yield server
    finally:
        server.end(signal.SIGKILL)
        shutil.rmtree(root, ignore_errors=True)
