"""One connection to a mailbox, over aioimaplib: it cannot hang, and says what went wrong in the words of the contract.

What aioimaplib 2.0.3 leaves to its caller, and is done here:
 - a connection that breaks wakes nobody who waits: every wait is raced against the connection's end
 - it knows no STARTTLS, and quotes neither the user nor the folder, whose name is modified UTF-7 (RFC 3501 §5.1.3)
 - a refused XOAUTH2 waits for an empty line that it does not send
 - NO and BAD are results, not errors
 - news of letters (`* 5 EXISTS`) that come amid another command's answer are dropped: they are counted
 - each line of an answer costs a level of recursion, so that no command may have hundreds of them
 - its log prints whole letters
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from aioimaplib import aioimaplib

from channels.contract import Tools
from channels.email.imap_syntax import Found, found, from_utf7, in_utf7, quoted, said
from channels.email.oauth import xoauth2
from channels.email.servers import Login, Server
from channels.errors import ChannelError, Misconfigured, Temporary, Unauthorised

logging.getLogger(aioimaplib.__name__).setLevel(logging.WARNING)

MOST_AT_ONCE = 100
"""Letters one command may ask about (see recursion above)."""

Answered = TypeVar("Answered")

_EXISTS = re.compile(rb"\* \d+ EXISTS", re.IGNORECASE)
_LISTED = re.compile(rb'\) (?:"(?:\\.|[^"])*"|NIL) (?:"((?:\\.|[^"])*)"|([^" {]+))$')
_BUSY = re.compile(r"too many|temporar|try again|unavailable|later|limit|in use|busy|internal", re.IGNORECASE)
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 60_000))


class Folder(NamedTuple):
    """A selected folder. `uid_next` is 0 where the server does not say."""

    uid_validity: int
    uid_next: int
    letters: int


class _Protocol(aioimaplib.IMAP4ClientProtocol):  # type: ignore[misc]
    """Tells of its end, and counts the news."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.lost: asyncio.Future[None] = loop.create_future()
        self.news = 0
        self.refused = ""

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if not self.lost.done():
            self.lost.set_result(None)

    async def welcome(self, line: bytes) -> None:
        try:
            await super().welcome(line)
        except (aioimaplib.AioImapException, ValueError, IndexError) as error:
            self.refused = str(error)[:200]
            self.transport.abort()

    def _untagged_response(self, line: bytes) -> Any:
        if _EXISTS.match(line):
            self.news += 1
        return super()._untagged_response(line)


class _Authenticate(aioimaplib.Command):  # type: ignore[misc]
    """Answers the challenge by which a server says why it refuses a token."""

    transport: asyncio.WriteTransport

    def append_to_resp(self, line: bytes, result: str = "Pending") -> None:
        super().append_to_resp(line, result)
        if line.startswith(b"+"):
            self.transport.write(b"\r\n")


class Imap:
    """A connection that is signed in. Made by `signed_in`."""

    def __init__(self, server: Server, patience: float) -> None:
        self._server = server
        self._patience = patience
        self._protocol = _Protocol(asyncio.get_running_loop())

    @property
    def has_idle(self) -> bool:
        """Whether the server tells of new letters by itself (RFC 2177)."""
        return "IDLE" in self._protocol.capabilities

    @property
    def news(self) -> int:
        """How often the server has said that there are letters; it grows with each time."""
        return self._protocol.news

    async def connect(self) -> None:
        """Connect, encrypted as the settings say.

        Raises:
            Temporary, Misconfigured: it did not come about.
        """
        server, protocol = self._server, self._protocol
        context = server.tls()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience):
                await loop.create_connection(
                    lambda: protocol, server.host, server.port, ssl=context if server.security == "tls" else None
                )
        except (OSError, TimeoutError, UnicodeError) as error:
            raise server.unreached(error) from error
        _keep_alive(protocol.transport.get_extra_info("socket"))
        await self._answer(protocol.wait("AUTH|NONAUTH"))
        if server.security != "starttls":
            return
        if "STARTTLS" not in protocol.capabilities or protocol.state != aioimaplib.NONAUTH:
            raise Misconfigured(
                f"{server.host}:{server.port} offers no encryption by STARTTLS, so no password was sent to it. Choose "
                "TLS with its port (993 as a rule)",
                code="starttls",
            )
        self._demand(await self._command("STARTTLS"), "start encryption")
        try:
            async with asyncio.timeout(self._patience):
                protocol.transport = await loop.start_tls(
                    protocol.transport, protocol, context, server_hostname=server.host
                )
        except (OSError, TimeoutError) as error:
            raise server.unreached(error) from error
        protocol.incomplete_line = b""  # what came before the encryption may be anybody's (CVE-2011-0411)
        await self._answer(protocol.capability())

    async def sign_in(self, login: Login, tools: Tools) -> None:
        """Sign in; a token that is refused is renewed once.

        Raises:
            Unauthorised: the credentials are not taken. Misconfigured: not in this way. Temporary: not just now.
        """
        if login.tokens is not None:
            answer = await self._xoauth2(login.user, await login.token(tools))
            if answer.result != "OK" and login.tokens.is_renewable:
                answer = await self._xoauth2(login.user, await login.token(tools, fresh=True))
        elif "LOGINDISABLED" in self._protocol.capabilities:
            raise Misconfigured(
                f"{self._server.host} takes no password over this connection. Choose encryption in the settings",
                code="LOGINDISABLED",
            )
        elif login.user.isascii() and login.password.isascii():
            answer = await self._command("LOGIN", quoted(login.user), quoted(login.password), scrub=login.password)
        else:  # a quoted string is ASCII (RFC 3501 §9), base64 can say anything
            word = base64.b64encode(f"\0{login.user}\0{login.password}".encode()).decode()
            answer = await self._command("AUTHENTICATE", "PLAIN", word, scrub=word)
        if answer.result != "OK":
            raise _sign_in_refused(self._server.host, said(answer))
        self._protocol.state = aioimaplib.AUTH
        await self._answer(self._protocol.capability())

    async def _xoauth2(self, user: str, token: str) -> Any:
        word = xoauth2(user, token)
        command = _Authenticate("AUTHENTICATE", self._protocol.new_tag(), "XOAUTH2", word)
        command.transport = self._protocol.transport
        return await self._answer(self._protocol.execute(command, scrub=word))

    async def select(self, folder: str) -> Folder:
        """Open a folder.

        Raises:
            Misconfigured: there is no such folder; the message names those there are.
        """
        answer = await self._answer(self._protocol.select(quoted(in_utf7(folder))))
        if answer.result != "OK":
            names = await self.folders()
            if folder not in names and folder.upper() != "INBOX":
                raise Misconfigured(
                    f"There is no folder {folder!r} in the mailbox. There are: {', '.join(names[:30])}", code="folder"
                )
            self._demand(answer, f"open the folder {folder!r}")
        text = b"\n".join(line for line in answer.lines if isinstance(line, bytes))
        validity = re.search(rb"UIDVALIDITY (\d+)", text)
        following = re.search(rb"UIDNEXT (\d+)", text)
        letters = re.search(rb"(\d+) EXISTS", text)
        return Folder(
            int(validity[1]) if validity else 0,
            int(following[1]) if following else 0,
            int(letters[1]) if letters else 0,
        )

    async def folders(self) -> list[str]:
        """Return the names of all folders."""
        answer = await self._answer(self._protocol.simple_command("LIST", '""', '"*"'))
        names = []
        for line in answer.lines[:-1]:
            if isinstance(line, bytearray):
                names.append(bytes(line))
            elif named := _LISTED.search(line):
                names.append(named[2] if named[1] is None else re.sub(rb"\\(.)", rb"\1", named[1]))
        return [from_utf7(name.decode("utf-8", "replace")) for name in names]

    async def search(self, criteria: str) -> list[int]:
        """Return the UIDs of the letters that fit, smallest first."""
        # no charset: some servers answer BADCHARSET to the one the library would name
        answer = await self._answer(self._protocol.search(criteria, charset=None, by_uid=True))
        self._demand(answer, "search")
        return sorted({int(uid) for line in answer.lines[:-1] for uid in line.split() if uid.isdigit()})

    async def look(self, uids: Sequence[int]) -> list[Found]:
        """Return size and date of at most `MOST_AT_ONCE` letters."""
        return await self._fetch(uids, "(UID RFC822.SIZE INTERNALDATE)")

    async def read(self, uids: Sequence[int], section: str = "BODY.PEEK[]") -> list[Found]:
        """Return letters word for word, or that section of them, unread as they are.

        Raises:
            Temporary: the server will not, or the connection broke.
        """
        return await self._fetch(uids, f"(UID INTERNALDATE {section})")

    async def _fetch(self, uids: Sequence[int], what: str) -> list[Found]:
        which = ",".join(map(str, uids))
        # the library starts this time-out anew with each piece that arrives: large letters may take long
        asked = self._protocol.fetch(which, what, by_uid=True, timeout=self._patience)
        answer = await self._answer(asked, None)
        self._demand(answer, f"give the letters {which[:60]}")
        return [letter for letter in found(answer.lines[:-1]) if letter.uid in set(uids)]

    async def noop(self) -> None:
        """Ask for nothing, so that the server may tell news."""
        self._demand(await self._answer(self._protocol.simple_command("NOOP")), "answer")

    async def idle(self, seconds: float) -> None:
        """Wait until the server tells of letters, at most so long.

        Raises:
            Temporary: the connection is gone, or the server does not answer when asked to end.
        """
        protocol = self._protocol
        while not protocol.idle_queue.empty():
            protocol.idle_queue.get_nowait()
        command = asyncio.ensure_future(protocol.idle())
        begun = asyncio.ensure_future(protocol.wait_for_idle_response())
        push: asyncio.Future[Any] | None = None
        lost: asyncio.Future[Any] = protocol.lost
        started: set[asyncio.Future[Any]] = {command, begun, lost}
        try:
            await asyncio.wait(started, timeout=self._patience, return_when="FIRST_COMPLETED")
            if command.done() and not lost.done():
                raise Temporary(f"{self._server.host} does not let us wait for letters", code="idle")
            if not begun.done() or lost.done():
                raise self._gone()
            until = asyncio.get_running_loop().time() + seconds
            while (left := until - asyncio.get_running_loop().time()) > 0:
                push = asyncio.ensure_future(protocol.idle_queue.get())
                await asyncio.wait({push, lost}, timeout=left, return_when="FIRST_COMPLETED")
                if lost.done():
                    raise self._gone()
                if not push.done() or any(b"EXISTS" in line for line in push.result()):
                    break
            protocol.idle_done()
            self._demand(await self._answer(command), "end waiting")
        except BaseException:
            self.drop()
            raise
        finally:
            for task in (command, begun, push):
                if task is not None:
                    task.cancel()

    async def append(self, folder: str, letter: bytes) -> None:
        """Put a letter we wrote into a folder, as read; the folder is made where it is missing.

        Raises:
            Temporary: the server will not.
        """
        name = quoted(in_utf7(folder))
        for attempt in (1, 2):
            asked = self._protocol.append(letter, name, "\\Seen", timeout=self._patience)
            answer = await self._answer(asked, None)
            if answer.result == "OK" or attempt == 2 or "TRYCREATE" not in said(answer):
                break
            self._demand(await self._answer(self._protocol.simple_command("CREATE", name)), "make a folder")
        self._demand(answer, f"keep the letter in {folder!r}")

    def drop(self) -> None:
        """End the connection at once; nothing is said on it any more."""
        if self._protocol.transport is not None:
            self._protocol.transport.abort()

    async def log_out(self) -> None:
        """Take leave and end the connection."""
        if not self._protocol.lost.done() and self._protocol.pending_sync_command is None:
            with suppress(ChannelError):
                await self._answer(self._protocol.logout(), 1.0)
        self.drop()

    async def _command(self, name: str, *arguments: str, scrub: str = "") -> Any:
        try:
            command = aioimaplib.Command(name, self._protocol.new_tag(), *arguments)
        except ValueError as error:  # it would be read as a second command
            raise Misconfigured("The user or the password has a line break in it. Enter it again") from error
        return await self._answer(self._protocol.execute(command, scrub=scrub or None))

    async def _answer(self, asked: Awaitable[Answered], seconds: float | None = -1) -> Answered:
        """Wait for an answer, no longer than the connection lives; where none comes the connection is done with."""
        task = asyncio.ensure_future(asked)
        either: set[asyncio.Future[Any]] = {task, self._protocol.lost}
        try:
            await asyncio.wait(
                either,
                timeout=self._patience if seconds == -1 else seconds,
                return_when="FIRST_COMPLETED",
            )
            if not task.done():
                raise self._gone()
            return task.result()
        except (aioimaplib.AioImapException, ValueError, IndexError) as error:
            self.drop()
            raise self._gone(type(error).__name__) from error
        except BaseException:
            self.drop()
            raise
        finally:
            task.cancel()

    def _gone(self, why: str = "") -> Temporary:
        said = self._protocol.refused or why
        if self._protocol.lost.done():
            return Temporary(f"{self._server.host} closed the connection{said and f': {said}'}", code="broken")
        return Temporary(f"{self._server.host} does not answer{said and f' ({said})'}", code="silent")

    def _demand(self, answer: Any, what: str) -> None:
        if answer.result != "OK":
            raise Temporary(f"{self._server.host} did not {what}: {said(answer)}", code=answer.result)


@asynccontextmanager
async def signed_in(server: Server, login: Login, tools: Tools, patience: float = 30.0) -> AsyncIterator[Imap]:
    """Open a connection for the length of the block. `patience` is for how long any answer is waited.

    Raises:
        Temporary, Unauthorised, Misconfigured: as `Imap.connect` and `Imap.sign_in`.
    """
    imap = Imap(server, patience)
    try:
        await imap.connect()
        await imap.sign_in(login, tools)
        yield imap
        await imap.log_out()
    finally:
        imap.drop()


def _sign_in_refused(host: str, words: str) -> ChannelError:
    """Tell a wrong password from a server that is busy (RFC 5530); where it does not say, it is the password."""
    coded = re.match(r"\[([A-Za-z]+)", words)
    code = coded[1].upper() if coded else ""
    if code in ("UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG") or (not code and _BUSY.search(words)):
        return Temporary(f"{host} does not let us in just now: {words}", code=code)
    return Unauthorised(
        f"{host} does not take the user and password: {words}. Check both; some providers want a password of its own "
        "for other programs, or that IMAP is switched on",
        code=code or "NO",
    )


def _keep_alive(connection: socket.socket | None) -> None:
    """Let the system notice a line that is dead without a word: routers forget idle ones within minutes."""
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
