"""FreeSWITCH's event socket, seen from a client: frames, answers in their order, events, signs of life.

A frame is lines of `Name: value` up to an empty one, and where they say Content-Length so many bytes behind it. Answers
come in the order of what was asked and name nothing, so that a line on which one is missing is of no further use.

From FreeSWITCH's documentation of mod_event_socket. Never run against a real FreeSWITCH.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from channels.errors import Misconfigured, Temporary, Unauthorised
from channels.fields import Fields
from core.kernel.waiting import end

HEARTBEAT = "HEARTBEAT"

Take = Callable[[Sequence[bytes]], Awaitable[None]]
"""Makes events durable; what it raises ends the line."""

_LONGEST_LINE = 16_384
_MOST_LINES = 200
_LONGEST_BODY = 4 * 1024 * 1024
_MOST_WAITING = 1_000  # events; while more wait we read no further, and FreeSWITCH keeps them
_MOST_AT_ONCE = 100
_ANSWERS = ("command/reply", "api/response")


class Lost(Exception):
    """The line is down. `was_written`: what was asked may have been done all the same."""

    def __init__(self, reason: str, *, was_written: bool = False) -> None:
        super().__init__(reason)
        self.was_written = was_written


class Unanswered(Exception):
    """It was written, and no answer came in time."""


class Frame(NamedTuple):
    """What came at once. Names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def kind(self) -> str:
        """The content type."""
        return self.headers.get("content-type", "").strip().lower()

    @property
    def reply(self) -> str:
        """What an answer says: `+OK …`, `-ERR …` or the text of an API command."""
        return self.headers.get("reply-text", "") or self.body.decode("utf-8", "replace").strip()


def event_of(body: bytes) -> Fields:
    """Read an event; empty if it is none. FreeSWITCH passes on whatever bytes a caller's name has."""
    try:
        return Fields(msgspec.json.decode(body.decode("utf-8", "replace")))
    except (msgspec.DecodeError, RecursionError):
        return Fields(None)


class Line:
    """A line to an event socket. Times are in seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer_within: float) -> None:
        self._reader = reader
        self._writer = writer
        self._answer_within = answer_within
        self._waiting: deque[asyncio.Future[Frame]] = deque()
        self._events: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self._greeting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._heard = asyncio.get_running_loop().time()
        self._lost = ""
        self._reading = asyncio.create_task(self._read(), name="freeswitch reader")

    async def authenticate(self, password: str) -> None:
        """Wait to be asked for the password, and say it.

        Raises:
            Unauthorised: it is wrong. Misconfigured: FreeSWITCH does not talk to our address.
            Lost, Unanswered: there is nobody who would ask.
        """
        try:
            async with asyncio.timeout(self._answer_within):
                greeting = await asyncio.shield(self._greeting)
        except TimeoutError:
            raise Unanswered("it does not ask for the password, as an event socket would") from None
        if greeting == "text/rude-rejection":
            raise Misconfigured(
                "FreeSWITCH does not talk to our address: allow it by apply-inbound-acl in event_socket.conf.xml"
            )
        try:
            answer = await self.ask(f"auth {password}")
        except ValueError as error:
            raise Misconfigured("The password has more than one line") from error
        if not answer.reply.startswith("+OK"):
            raise Unauthorised("FreeSWITCH does not take the password of its event socket", code="auth")

    async def ask(self, command: str) -> Frame:
        """Send a command and return its answer.

        Raises:
            ValueError: it is more than one line. Lost: the line is down. Unanswered: no answer came in time, so that
            later ones could not be told apart, and the line is given up.
        """
        if any(character in command for character in "\r\n\0"):
            raise ValueError("a command is one line")
        if self._lost:
            raise Lost(self._lost)
        answered: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting.append(answered)
        self._writer.write(command.encode() + b"\n\n")
        try:
            async with asyncio.timeout(self._answer_within):
                return await answered
        except TimeoutError:
            reason = f"no answer within {self._answer_within:g} seconds"
            self._end(reason)
            raise Unanswered(reason) from None

    async def event(self) -> bytes:
        """Return the next event.

        Raises:
            Lost: the line is down, and there is none left of what it brought.
        """
        if not self._events.empty():
            return self._events.get_nowait()
        getting = asyncio.create_task(self._events.get())
        try:
            await asyncio.wait({getting, self._reading}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            raise Lost(self._lost or "the line was closed")
        finally:
            getting.cancel()

    async def follow(self, take: Take, *, silence: float) -> None:
        """Take events until the line breaks; after so many seconds of silence ask whether anybody is there.

        Raises:
            Lost: it broke, and why. Whatever `take` raises.
        """
        taking = asyncio.create_task(self._take(take), name="freeswitch events")
        watching = asyncio.create_task(self._keep_alive(silence), name="freeswitch signs of life")
        try:
            await asyncio.wait({taking, watching}, return_when=asyncio.FIRST_COMPLETED)
            # What has come is kept, though nothing more will.
            self._reading.cancel()
            await taking
        finally:
            await end(taking, watching)

    async def close(self) -> None:
        """Hang up."""
        await end(self._reading)
        self._end("the line was closed")
        self._greeting.cancel()
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._writer.wait_closed()

    # --- within ---

    async def _read(self) -> None:
        try:
            while True:
                frame = await self._frame()
                self._heard = asyncio.get_running_loop().time()
                if frame.kind in ("auth/request", "text/rude-rejection"):
                    if not self._greeting.done():
                        self._greeting.set_result(frame.kind)
                elif frame.kind in _ANSWERS:
                    if self._waiting and not (waiting := self._waiting.popleft()).done():
                        waiting.set_result(frame)
                elif frame.kind == "text/event-json":
                    await self._events.put(frame.body)
                elif frame.kind == "text/disconnect-notice":
                    if frame.headers.get("content-disposition", "").strip().lower() != "linger":
                        self._end("FreeSWITCH ended the session")
                        return
                elif not self._greeting.done():
                    self._end(f"what answers there is no event socket: {frame.kind[:60] or 'a frame without a type'}")
                    return
        except asyncio.IncompleteReadError:
            self._end("FreeSWITCH closed the connection")
        except (ValueError, asyncio.LimitOverrunError) as error:
            self._end(f"what came is no frame of an event socket: {str(error)[:100]}")
        except (OSError, EOFError) as error:
            self._end(str(error) or type(error).__name__)

    async def _frame(self) -> Frame:
        """Read a frame.

        Raises:
            ValueError: it is none, or larger than any. asyncio.IncompleteReadError: the line ended.
        """
        headers: dict[str, str] = {}
        for _ in range(_MOST_LINES):
            try:
                raw = await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError:
                raise ValueError(f"a line of more than {_LONGEST_LINE} bytes") from None
            line = raw.strip(b"\r\n")
            if not line:
                if headers:
                    break
                continue
            name, colon, value = line.decode("utf-8", "replace").partition(":")
            if not colon:
                raise ValueError(f"a line without a colon: {name[:40]!r}")
            headers.setdefault(name.strip().lower(), unquote(value.strip()))
        else:
            raise ValueError(f"more than {_MOST_LINES} lines of headers")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal() and len(length) < 10 and int(length) <= _LONGEST_BODY):
            raise ValueError(f"a body of {length[:20]!r} bytes")
        return Frame(headers, await self._reader.readexactly(int(length)))

    async def _take(self, take: Take) -> None:
        while True:
            found = [await self.event()]
            while not self._events.empty() and len(found) < _MOST_AT_ONCE:
                found.append(self._events.get_nowait())
            await take(found)

    async def _keep_alive(self, silence: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.0, self._heard + silence - loop.time()))
            if loop.time() < self._heard + silence:
                continue
            if self._events.full():  # the silence is our own doing
                self._heard = loop.time()
                continue
            await self.ask("api status")

    def _end(self, reason: str) -> None:
        self._lost = self._lost or reason
        if not self._greeting.done():
            self._greeting.set_exception(Lost(self._lost))
            self._greeting.exception()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(Lost(self._lost, was_written=True))
        self._waiting.clear()


@asynccontextmanager
async def opened(host: str, port: int, password: str, *, answer_within: float) -> AsyncIterator[Line]:
    """Open a line for the length of the block.

    Raises:
        Unauthorised, Misconfigured: we are not let in. Temporary: not just now; so it is too where the line breaks
        within the block, unless the block says otherwise.
    """
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(answer_within):
            reader, writer = await asyncio.open_connection(host, port, limit=_LONGEST_LINE)
    except (OSError, TimeoutError) as error:
        raise Temporary(
            f"{where} cannot be reached: {str(error) or 'no answer in time'}", code="unreachable"
        ) from error
    line = Line(reader, writer, answer_within=answer_within)
    try:
        await line.authenticate(password)
        yield line
    except (Lost, Unanswered) as error:
        raise Temporary(f"The line to {where} broke: {error}", code="broken") from error
    finally:
        await line.close()
