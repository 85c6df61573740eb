"""A real Postfix on free ports of this machine. It asks Dovecot who may sign in and hands it the letters for hub.test;
a domain bounce.test refuses everybody, so that real bounces come back.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers import certificates, programs
from tests.peers.dovecot import Dovecot

_MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
multi_instance_enable = yes
multi_instance_name = postfix-{name}
myhostname = mx.hub.test
mydomain = hub.test
myorigin = hub.test
mydestination =
mynetworks = 127.0.0.2/32
alias_maps =
alias_database =
maillog_file = {root}/maillog
maillog_file_prefixes = {root}
virtual_mailbox_domains = hub.test
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
transport_maps = inline:{{ {{bounce.test = smtp:[127.0.0.1]:{refusing}}} }}
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{gone@hub.test=550 5.1.1 no such user here}},
    {{full@hub.test=552 5.2.2 mailbox full}}, {{policy@hub.test=554 5.7.1 refused by policy}},
    {{grey@hub.test=451 4.7.1 greylisted, try again}} }}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{auth}
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = {root}/certificate.pem
smtpd_tls_key_file = {root}/key.pem
smtp_tls_security_level = none
smtputf8_enable = yes
message_size_limit = 1000000
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0
"""

_MASTER = """
127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       5       1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


class Postfix:
    """The server: STARTTLS on `smtp`, TLS from the start on `smtps`."""

    def __init__(self, root: Path, dovecot: Dovecot) -> None:
        self._program = programs.needed("postfix", "postfix")
        self._sink_program = programs.needed("smtp-sink", "postfix")
        if os.geteuid() != 0:
            raise RuntimeError("Postfix can only be started by root: run this test as root, in a container")
        self.root = root
        self.smtp, self.smtps, self._refusing = programs.free_ports(3)
        self.certificate, key = certificates.for_localhost()
        self._processes: list[subprocess.Popen[bytes]] = []
        for name in ("etc", "queue", "data"):
            (root / name).mkdir()
        shutil.chown(root / "data", "postfix")
        (root / "certificate.pem").write_text(self.certificate)
        (root / "key.pem").write_text(key)
        values = {
            "root": root,
            "name": root.name,
            "lmtp": dovecot.lmtp,
            "auth": dovecot.auth,
            "refusing": self._refusing,
            "smtp": self.smtp,
            "smtps": self.smtps,
        }
        (root / "etc" / "main.cf").write_text(_MAIN.format(**values))
        (root / "etc" / "master.cf").write_text(_MASTER.format(**values))

    def start(self) -> None:
        sink = [self._sink_program, "-u", "postfix", "-f", "RCPT", f"127.0.0.1:{self._refusing}", "10"]
        self._run(sink, self._refusing)
        self._run([self._program, "-c", str(self.root / "etc"), "start-fg"], self.smtp)

    def end(self) -> None:
        while self._processes:
            programs.end(self._processes.pop(), signal.SIGKILL)

    def log(self) -> str:
        path = self.root / "maillog"
        return path.read_text(errors="replace") if path.exists() else ""

    def _run(self, command: list[str], port: int) -> None:
        with (self.root / "output").open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._processes.append(process)
        programs.await_port(port, process, self.root / "output")


@contextmanager
def running(dovecot: Dovecot) -> Iterator[Postfix]:
    """Run a Postfix beside a Dovecot for the length of the block."""
    root = Path(tempfile.mkdtemp(prefix="postfix-"))
    root.chmod(0o755)
    server = Postfix(root, dovecot)
    try:
        server.start()
        yield server
    finally:
        server.end()
        shutil.rmtree(root, ignore_errors=True)
