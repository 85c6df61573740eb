"""A local server that plays a provider: it answers as told, keeps what it was sent, and can break in every way."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from channels.contract import OutgoingFile, Part, Tools
from channels.http import Exchange, Http
from tests.channels.payloads import NOW
from webhooks.guard import guarded_connector


@dataclass
class Asked:
    """A request the provider was sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


Answering = Callable[[Asked], web.StreamResponse]


@dataclass
class Provider:
    """Answers the first of its rules that fits; a rule given with `once` is used up. Unasked-for paths are 404."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    _rules: list[tuple[str, re.Pattern[str], Answering | None, bool]] = field(default_factory=list)

    def answers(
        self,
        method: str,
        path: str,
        *,
        status: int = 200,
        json: Any = None,
        body: bytes | str = b"",
        headers: dict[str, str] | None = None,
        content_type: str = "application/json",
        once: bool = False,
    ) -> None:
        """Answer requests whose path matches the pattern `path` whole. A later rule goes before an earlier one."""
        content = msgjson(json) if json is not None else body.encode() if isinstance(body, str) else body

        def make(_: Asked) -> web.StreamResponse:
            return web.Response(status=status, body=content, headers={"Content-Type": content_type, **(headers or {})})

        self._rules.insert(0, (method, re.compile(path), make, once))

    def does(self, method: str, path: str, answering: Answering, *, once: bool = False) -> None:
        """Answer with what a function makes of the request."""
        self._rules.insert(0, (method, re.compile(path), answering, once))

    def breaks(self, method: str, path: str, *, once: bool = False) -> None:
        """Cut the connection once the request has been read, without an answer."""
        self._rules.insert(0, (method, re.compile(path), None, once))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(
            request.method,
            request.path,
            dict(request.query),
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        self.asked.append(asked)
        for rule in self._rules:
            method, path, answering, once = rule
            if method in (request.method, "*") and path.fullmatch(request.path):
                if once:
                    self._rules.remove(rule)
                if answering is None:
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response()
                return answering(asked)
        return web.json_response({"error": f"no rule for {request.method} {request.path}"}, status=404)


def msgjson(value: Any) -> bytes:
    return json.dumps(value).encode()


@asynccontextmanager
async def playing() -> AsyncIterator[Provider]:
    """Play a provider for the length of the block, at `provider.url`."""
    provider = Provider()
    app = web.Application(client_max_size=200 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", provider.handle)
    async with TestServer(app) as server:
        provider.url = str(server.make_url("")).rstrip("/")
        yield provider


@asynccontextmanager
async def tools_for(
    provider_url: str, *, secrets: tuple[str, ...] = (), hook_url: str = "https://hub.example/hooks/k"
) -> AsyncIterator[tuple[Tools, list[Exchange]]]:
    """Make the tools a channel is handed, and the list its exchanges are noted in."""
    exchanges: list[Exchange] = []
    async with (
        aiohttp.ClientSession() as session,
        aiohttp.ClientSession(connector=guarded_connector()) as guarded,
    ):
        http = Http(session, guarded, secrets=secrets, trusted=[provider_url], note=exchanges.append)
        yield Tools(http=http, now=lambda: NOW, hook_url=hook_url, default_country="RU"), exchanges


def part(text: str = "", *, peer: str = "42", **more: Any) -> Part:
    """Make a part as the hub would."""
    return Part(id="184467.0", number=8_123_456_789_012_345, message_id=184467, peer=peer, text=text, **more)


def file(
    content: bytes = b"%PDF-1.7 x", *, name: str = "offer.pdf", content_type: str = "application/pdf", **more: Any
) -> OutgoingFile:
    """Make a file as the hub would."""

    async def read() -> AsyncIterator[bytes]:
        yield content

    values: dict[str, Any] = {"kind": "file", "url": "https://hub.example/files/abc", **more}
    return OutgoingFile(name=name, content_type=content_type, size=len(content), read=read, **values)
