"""A local server that speaks FreeSWITCH's event socket as it is documented, and can break its rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Answering = Callable[["Peer", str], Awaitable[None]]


@dataclass
class Peer:
    """One client's line, seen from the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def write(self, content: bytes | str) -> None:
        self.writer.write(content.encode() if isinstance(content, str) else content)
        with suppress(ConnectionError):
            await self.writer.drain()

    async def frame(self, kind: str, body: bytes | str = b"", **headers: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        lines = [f"Content-Type: {kind}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        if content:
            lines.insert(0, f"Content-Length: {len(content)}")
        await self.write("\n".join(lines).encode() + b"\n\n" + content)

    async def reply(self, text: str) -> None:
        await self.frame("command/reply", Reply_Text=text)

    async def tell(self, event: dict[str, Any] | bytes) -> None:
        body = event if isinstance(event, bytes) else json.dumps(event, ensure_ascii=False).encode()
        await self.frame("text/event-json", body)


@dataclass
class EslServer:
    """Knows a password, answers commands, keeps what it was told. `does` sets what a command has happen instead."""

    password: str = "ClueCon-0123"
    greeting: bytes = b"Content-Type: auth/request\n\n"
    told: list[str] = field(default_factory=list)
    peers: asyncio.Queue[Peer] = field(default_factory=asyncio.Queue)
    port: int = 0
    _rules: dict[str, Answering] = field(default_factory=dict)
    _lines: list[Peer] = field(default_factory=list)

    def does(self, command: str, answering: Answering) -> None:
        self._rules[command] = answering

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._lines.append(peer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await peer.write(self.greeting)
            while True:
                command = (await reader.readuntil(b"\n\n")).decode().strip()
                self.told.append(command)
                await self._answer(peer, command)
        writer.close()

    async def _answer(self, peer: Peer, command: str) -> None:
        name = command.partition(" ")[0]
        if name in self._rules:
            await self._rules[name](peer, command)
        elif name == "auth":
            if command != f"auth {self.password}":
                await peer.reply("-ERR invalid")
                await peer.frame("text/disconnect-notice", "Disconnected, goodbye.\n")
                peer.writer.close()
            else:
                await peer.reply("+OK accepted")
        elif name == "event":
            await peer.reply("+OK event listener enabled json")
            self.peers.put_nowait(peer)
        elif name == "api":
            await peer.frame("api/response", "UP 0 years, 3 days, 1 hour\nFreeSWITCH (Version 1.10.12) is ready\n")
        else:
            await peer.reply("-ERR command not found")

    def hang_up(self) -> None:
        for peer in self._lines:
            peer.writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[EslServer]:
    """Serve for the length of the block, on a free port of 127.0.0.1."""
    played = EslServer()
    server = await asyncio.start_server(played.handle, "127.0.0.1", 0)
    played.port = server.sockets[0].getsockname()[1]
    try:
        yield played
    finally:
        server.close()
        played.hang_up()
        await server.wait_closed()
