"""Hands a letter to a mail server (RFC 5321, over aiosmtplib), step by step, so that it is known what was done.

Until the letter's text is on its way nothing has been sent, whatever breaks; once it is, silence may mean anything.
What an answer means is told by its code, and more exactly by the enhanced one (RFC 3463) where there is one:

    535, 534, 530       the credentials            454, 4xx at AUTH   not just now
    5.1.x, 5.2.1        there is no such mailbox   4xx                try again (greylisting says so too)
    552, 5.3.4, 5.2.3   too large                  other 5xx          never
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

import aiosmtplib

from channels.contract import Tools
from channels.email.outgoing import Composed
from channels.email.servers import Login, Server
from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)

_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")
_TOO_FAST = re.compile(
    r"rate.?limit|too many (?:messages|connections|e-?mails|letters|login)|(?:sending|sender|daily|hourly)\b.*\b"
    r"(?:limit|quota)|throttl",
    re.IGNORECASE,
)
_DOT = re.compile(rb"^\.", re.MULTILINE)  # RFC 5321 §4.5.2; pieces begin with a line
_GREYLISTED = re.compile(r"gr[ea]y.?list", re.IGNORECASE)
_NO_RELAY = re.compile(r"\brelay", re.IGNORECASE)
_NO_MAILBOX = re.compile(
    r"(?:no such|unknown|invalid) (?:user|mailbox|recipient|address)|(?:user|mailbox|recipient|address)\b.{0,40}"
    r"(?:unknown|not found|does ?n[o']t exist|rejected: no)",
    re.IGNORECASE,
)
_GONE = ("5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1")
_TOO_LARGE = ("5.3.4", "5.2.3")
_WAIT_GREYLISTED = 300.0  # five minutes are what most greylists ask for
_WAIT_TOO_FAST = 600.0
_BUFFER = 256 * 1024


class Post:
    """Sends letters by one server. `patience` is for any answer, `acceptance` for the last one (RFC 5321 §4.5.3.2)."""

    def __init__(self, server: Server, login: Login, *, patience: float = 30, acceptance: float = 300) -> None:
        self._server, self._login = server, login
        self._patience, self._acceptance = patience, acceptance

    async def send(self, letter: Composed, sender: str, recipient: str, tools: Tools) -> str:
        """Hand a letter over and return what the server said when it took it.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        started = time.monotonic()
        status: int | None = None
        said = ""
        try:
            async with self._signed_in(sender, tools) as client:
                reply = await self._hand_over(client, letter, sender, recipient)
                status, said = reply.code, reply.message
                return said
        except ChannelError as error:
            cause, said = error.__cause__, str(error)
            status = cause.code if isinstance(cause, aiosmtplib.SMTPResponseException) and cause.code > 0 else None
            raise
        finally:
            tools.http.note(
                "SMTP",
                f"smtp://{self._server.host}:{self._server.port}",
                f"MAIL FROM:<{sender}>\nRCPT TO:<{recipient}>\n\n{letter.head}",
                status=status,
                answered=said,
                took=int((time.monotonic() - started) * 1000),
            )

    async def check(self, sender: str, tools: Tools) -> int:
        """Sign in and send nothing; return the size of the largest letter the server takes, 0 if it does not say.

        Raises:
            ChannelError: it does not let us in.
        """
        async with self._signed_in(sender, tools) as client:
            size = client.esmtp_extensions.get("size", "")
            return int(size) if size.isdigit() else 0

    @asynccontextmanager
    async def _signed_in(self, sender: str, tools: Tools) -> AsyncIterator[aiosmtplib.SMTP]:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=sender.rpartition("@")[2] or "localhost",
            use_tls=server.security == "tls",
            start_tls=False,
            tls_context=server.tls(),
            timeout=self._patience,
        )
        try:
            await self._connect(client)
            await self._sign_in(client, tools)
            yield client
            with suppress(aiosmtplib.SMTPException):
                await client.quit(timeout=5)
        finally:
            if (transport := _writable(client)) is not None:
                transport.abort()  # to close it would wait for the server to take leave of TLS too
            client.close()

    async def _connect(self, client: aiosmtplib.SMTP) -> None:
        server = self._server
        try:
            await client.connect()
            await client.ehlo()
            if server.security == "starttls":
                if not client.supports_extension("starttls"):
                    raise Misconfigured(
                        f"{server.host}:{server.port} offers no encryption by STARTTLS, so no password was sent to it. "
                        "Choose TLS with its port (465 as a rule)",
                        code="starttls",
                    )
                await client.starttls()
                await client.ehlo()
        except aiosmtplib.SMTPResponseException as error:
            raise Temporary(
                f"{server.host} does not talk to us: {_words(error)}", _wait(error.message), code=str(error.code)
            ) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise server.unreached(error) from error

    async def _sign_in(self, client: aiosmtplib.SMTP, tools: Tools) -> None:
        login, offered = self._login, set(client.server_auth_methods)
        if not offered and self._server.security == "none" and login.tokens is None:
            return  # a relay in our own network that knows us by our address
        method = next((name for name in ("plain", "login", "cram-md5") if name in offered), "")
        if login.tokens is not None:
            method = "xoauth2" if "xoauth2" in offered else ""
        if not method:
            raise Misconfigured(
                f"{self._server.host} offers no way to sign in that the settings allow"
                f" ({', '.join(sorted(offered)) or 'none at all'}). Check port and encryption",
                code="auth",
            )
        try:
            # one way only: trying all three would lock an account three times as fast
            if login.tokens is not None:
                try:
                    await client.auth_xoauth2(login.user, await login.token(tools))
                except aiosmtplib.SMTPAuthenticationError as error:
                    if not login.tokens.is_renewable or error.code < 500:
                        raise
                    await client.auth_xoauth2(login.user, await login.token(tools, fresh=True))
            elif method == "plain":
                await client.auth_plain(login.user, login.password)
            elif method == "login":
                await client.auth_login(login.user, login.password)
            else:
                await client.auth_crammd5(login.user, login.password)
        except aiosmtplib.SMTPResponseException as error:
            raise self._sign_in_refused(error) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise self._broken(error) from error

    async def _hand_over(
        self, client: aiosmtplib.SMTP, letter: Composed, sender: str, recipient: str
    ) -> aiosmtplib.SMTPResponse:
        options = [f"SIZE={letter.size}"] if client.supports_extension("size") else []
        encoding = "ascii"
        if letter.needs_utf8:
            if not client.supports_extension("smtputf8"):
                raise Undeliverable(
                    f"{self._server.host} cannot write to {recipient}: it takes addresses in Latin letters only",
                    code="smtputf8",
                )
            options, encoding = [*options, "SMTPUTF8"], "utf-8"
        try:
            await client.mail(sender, options=options, encoding=encoding)
            await client.rcpt(recipient, encoding=encoding)
        except aiosmtplib.SMTPSenderRefused as error:
            raise self._sender_refused(error) from error
        except aiosmtplib.SMTPRecipientRefused as error:
            raise self._recipient_refused(error, recipient) from error
        except aiosmtplib.SMTPResponseException as error:
            raise self._refused(error) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise self._broken(error) from error
        except ValueError as error:
            raise Undeliverable(f"{recipient!r} is no address a letter could go to", code="address") from error
        try:
            await self._write(client, letter)
        except aiosmtplib.SMTPResponseException as error:
            raise self._refused(error) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise self._broken(error) from error  # without its end it is not taken
        try:
            reply = await client.execute_command(b".", timeout=self._acceptance)
            if reply.code != 250:
                raise aiosmtplib.SMTPDataError(reply.code, reply.message)
            return reply
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            if isinstance(error, aiosmtplib.SMTPResponseException) and 400 <= error.code < 600:
                raise self._refused(error) from error
            raise Uncertain(
                f"{self._server.host} did not say clearly whether it takes the letter, so it may have gone. Look into "
                "the mailbox of sent letters, or ask the recipient, before you send it again",
                code="broken",
            ) from error

    async def _write(self, client: aiosmtplib.SMTP, letter: Composed) -> None:
        """Write a letter piece by piece, no faster than it is taken, all but the dot that ends it."""
        reply = await client.execute_command(b"DATA", timeout=self._patience)
        if reply.code != 354:
            raise aiosmtplib.SMTPDataError(reply.code, reply.message)
        protocol, transport = client.protocol, _writable(client)
        if protocol is None or transport is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        for piece in letter.read():
            protocol.write(_DOT.sub(b"..", piece))
            async with asyncio.timeout(self._patience):
                while transport.get_write_buffer_size() > _BUFFER and not transport.is_closing():
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0)
        if not client.is_connected:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")

    def _sign_in_refused(self, error: aiosmtplib.SMTPResponseException) -> ChannelError:
        said = f"{self._server.host} does not let us sign in: {_words(error)}"
        if error.code < 500:
            return _soft(said, error)
        if error.code in (534, 535, 530, 550, 554):
            return Unauthorised(
                f"{said}. Check user and password; some providers want a password of its own for other programs",
                code=str(error.code),
            )
        return Misconfigured(f"{said}. Check port and encryption", code=str(error.code))

    def _sender_refused(self, error: aiosmtplib.SMTPSenderRefused) -> ChannelError:
        if error.code == 530:
            return Unauthorised(f"{self._server.host} wants us to sign in: {_words(error)}", code="530")
        if error.code >= 500 and error.code != 552 and _code(error) not in _TOO_LARGE and not _is_too_fast(error):
            return Misconfigured(
                f"{self._server.host} does not let us write as {error.sender}: {_words(error)}. The address in the "
                "settings has to be the mailbox's own",
                code=_code(error),
            )
        return self._refused(error)

    def _recipient_refused(self, error: aiosmtplib.SMTPRecipientRefused, recipient: str) -> ChannelError:
        if error.code >= 500:
            code = _code(error)
            if code in _GONE or ("." not in code and (error.code == 551 or _NO_MAILBOX.search(error.message))):
                return RecipientGone(f"There is no mailbox {recipient}: {_words(error)}", code=code)
            if error.code == 530 or _NO_RELAY.search(error.message):
                return Misconfigured(
                    f"{self._server.host} takes no letters from us for others: {_words(error)}. Check that it is the "
                    "server for sending, its port and the user",
                    code=code,
                )
        return self._refused(error)

    def _refused(self, error: aiosmtplib.SMTPResponseException) -> ChannelError:
        said = f"{self._server.host} does not take the letter: {_words(error)}"
        code = _code(error)
        if error.code < 500 or _is_too_fast(error):
            return _soft(said, error)
        if error.code == 552 or code in _TOO_LARGE:
            return Undeliverable(f"{said}. It is too large, or the mailbox it is for is full", code=code)
        return Undeliverable(said, code=code)

    def _broken(self, error: BaseException) -> Temporary:
        return Temporary(
            f"{self._server.host} broke off before it had the letter: {str(error)[:200] or type(error).__name__}",
            code="broken",
        )


def _writable(client: aiosmtplib.SMTP) -> asyncio.WriteTransport | None:
    # not by its class: uvloop's transports have the methods of asyncio's, and another ancestry
    return cast("asyncio.WriteTransport | None", client.transport)


def _soft(said: str, error: aiosmtplib.SMTPResponseException) -> Temporary:
    if _is_too_fast(error):
        return Throttled(said, _WAIT_TOO_FAST, code=_code(error))
    return Temporary(said, _wait(error.message), code=_code(error))


def _wait(message: str) -> float | None:
    return _WAIT_GREYLISTED if _GREYLISTED.search(message) else None


def _is_too_fast(error: aiosmtplib.SMTPResponseException) -> bool:
    return error.code != 552 and (_TOO_FAST.search(error.message) is not None or _code(error) in ("5.4.5", "4.4.5"))


def _code(error: aiosmtplib.SMTPResponseException) -> str:
    """Return the enhanced code where it has one, else the plain one."""
    enhanced = _ENHANCED.match(error.message)
    return enhanced[1] if enhanced else str(error.code)


def _words(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {' '.join(error.message.split())[:300]}".strip()
