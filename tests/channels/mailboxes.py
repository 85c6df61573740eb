"""What the tests of e-mail share: a hub that listens, a line that can go dead, servers that say what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from channels.contract import Item, Listener, ParseContext, Tools
from channels.email.channel import Email
from channels.email.mailbox import Pace
from tests.channels.payloads import NOW
from tests.channels.provider import tools_for
from tests.peers.dovecot import PASSWORDS, Dovecot
from webhooks.request import RawRequest

QUICK = Pace(renew=300, poll=0.2, patience=10, acceptance=10, shortest=0.02, longest=0.2)
USER = "support@hub.test"
CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)


def letter(number: int | str = 1, *, subject: str = "Hello", body: str = "Good day", identified: bool = True) -> bytes:
    identity = f"Message-ID: <{number}@example.com>\r\n" if identified else ""
    return (
        f"From: Vera <vera@example.com>\r\nTo: {USER}\r\nSubject: {subject}\r\n{identity}"
        f"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body} {number}\r\n"
    ).encode()


@dataclass
class Heard:
    """What a listener brings. Like the hub, it lets what it knows change nothing."""

    tools: Tools
    cursor: Mapping[str, Any] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    letters: list[RawRequest] = field(default_factory=list)
    states: list[tuple[bool, str]] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        for item in items:
            self.items.append(item)
            if item.routed.dedupe_key not in self._known:
                self._known.add(item.routed.dedupe_key)
                self.letters.append(item.request)
        if cursor is not None:
            self.cursor = cursor
        self._changed.set()

    def is_well(self, detail: str = "") -> None:
        self.states.append((True, detail))
        self._changed.set()

    def is_ill(self, detail: str) -> None:
        self.states.append((False, detail))
        self._changed.set()

    async def until(self, fits: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until something is so; fail with what was heard instead."""
        try:
            async with asyncio.timeout(seconds):
                while not fits():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{len(self.letters)} letters, {self.cursor}, {self.states[-5:]}") from None

    @property
    def wells(self) -> int:
        return sum(well for well, _ in self.states)


@asynccontextmanager
async def listening(listener: Listener, heard: Heard) -> AsyncIterator[asyncio.Task[None]]:
    """Run a listener for the length of the block; what it raises is raised here."""
    task = asyncio.create_task(listener.run(heard))
    try:
        yield task
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    if not task.cancelled():
        task.result()


@asynccontextmanager
async def hearing(**more: Any) -> AsyncIterator[Heard]:
    async with tools_for("http://127.0.0.1") as (tools, _):
        yield Heard(tools, **more)


def email(dovecot: Dovecot | None = None, *, pace: Pace = QUICK, **settings: Any) -> Email:
    """Make the channel of a mailbox on a server of this machine."""
    values: dict[str, Any] = {
        "address": USER,
        "imap_host": "localhost",
        "smtp_host": "localhost",
        "password": PASSWORDS[USER],
        "secret": "a secret of ours",
    }
    if dovecot is not None:
        values |= {"imap_port": dovecot.imaps, "certificate": dovecot.certificate}
    return Email(Email.Settings(**{**values, **settings}), pace)


class Line:
    """A line to a server that can stop carrying anything, without anybody being told."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._target = port
        self._is_dead: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.opened = 0

    def go_dead(self) -> None:
        """Let what is open now hang; what is opened later works."""
        for dead in self._is_dead:
            dead.set()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        dead = asyncio.Event()
        self._is_dead.append(dead)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._carry(source, target, dead))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, dead: asyncio.Event) -> None:
        with suppress(ConnectionError):
            while piece := await source.read(65_536):
                if dead.is_set():
                    await asyncio.Event().wait()
                target.write(piece)
                await target.drain()
        if not dead.is_set():
            target.close()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Line]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for writer in self._writers:
                writer.transport.abort()


Saying = Callable[[str], str | bytes | None]


@asynccontextmanager
async def saying(greeting: str, answer: Saying) -> AsyncIterator[int]:
    """Be a server of lines on a port: greet, and answer each line with what `answer` makes of it; None hangs up."""
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.CancelledError):
            writer.write(f"{greeting}\r\n".encode())
            while line := await reader.readline():
                said = answer(line.decode("utf-8", "replace").rstrip("\r\n"))
                if said is None:
                    break
                writer.write(said if isinstance(said, bytes) else said.encode())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
