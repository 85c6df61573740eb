"""Where a mailbox's servers are, how the way to them is kept safe, and why they could not be reached.

Encryption is what the settings say and nothing less: a server that does not offer it is refused, never talked to in
the clear instead. `none` is for servers on the same machine or in the same closed network.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal

from channels.contract import Tools
from channels.email.oauth import Tokens
from channels.errors import ChannelError, Misconfigured, Temporary

Security = Literal["tls", "starttls", "none"]

_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED: the provider will see to it, nobody here has to


@dataclass(frozen=True, slots=True)
class Server:
    """An IMAP or SMTP server. `certificate` is in PEM, of an authority the system does not know."""

    host: str
    port: int
    security: Security
    certificate: str = ""

    def tls(self) -> ssl.SSLContext:
        """Return how to encrypt and whom to believe.

        Raises:
            Misconfigured: the certificate of the settings is none.
        """
        try:
            return ssl.create_default_context(cadata=self.certificate or None)
        except (ssl.SSLError, ValueError) as error:
            raise Misconfigured("The certificate in the settings cannot be read. Paste it in PEM, or none") from error

    def unreached(self, error: BaseException) -> ChannelError:
        """Say why no connection came about; nothing was done by then."""
        where = f"{self.host}:{self.port}"
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            said = f"The certificate of {where} is not to be trusted: {cause.verify_message or cause}"
            if cause.verify_code == _EXPIRED:
                return Temporary(f"{said}. Its owner has to renew it", code="certificate")
            return Misconfigured(
                f"{said}. Check the server's name; if it is right, enter its certificate in the settings",
                code="certificate",
            )
        if isinstance(cause, ssl.SSLError):
            return Temporary(
                f"No encrypted connection to {where} came about ({cause.reason or cause}). If it never does, check "
                "the port and the kind of encryption in the settings",
                code="tls",
            )
        if isinstance(error, TimeoutError):
            return Temporary(f"{where} does not answer", code="unreachable")
        return Temporary(f"{where} cannot be reached: {str(error)[:200] or type(error).__name__}", code="unreachable")


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a server. `tokens` are there where it wants XOAUTH2 rather than a password."""

    user: str
    password: str = field(repr=False, default="")
    tokens: Tokens | None = None

    async def token(self, tools: Tools, *, fresh: bool = False) -> str:
        """Return the access token for XOAUTH2; `fresh`: not the one we hold, which was refused.

        Raises:
            Temporary, Unauthorised: there is none to be had.
        """
        if self.tokens is None:
            raise Misconfigured("The settings say password, so there is no token")
        return await self.tokens.access(tools, fresh=fresh)
