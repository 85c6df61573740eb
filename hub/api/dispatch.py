"""The REST API as an aiohttp application: read the request, call the handler in a transaction, write the answer.

Everything between the socket and a handler happens here, in this order: request id, body limit, authentication, CSRF
and scopes, rate, path, query and body, idempotency, the handler, If-Match, ETag, the commit. Everything refused is a
problem document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final
from urllib.parse import quote

import msgspec
from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel.clock import Clock
from hub.api import actors, documentation, idempotency, transport, versions
from hub.api.actors import Authenticate
from hub.api.decoding import BodyReader, QueryReader
from hub.api.endpoints import Call, Download, Endpoint, Playback
from hub.api.openapi import describe
from hub.api.problems import Problem, is_clash
from hub.api.throttling import Throttle
from hub.api.transport import Answer
from hub.api.wire import encode, parse_id

VERSION_PREFIX: Final = "/v1"
ATTEMPTS: Final = 3
"""How often a transaction that clashes with others is tried before the caller is told to come again."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the API needs of the application around it.

    transaction   opens a session in a transaction that is committed at the end, and undone by an exception
    hub           handed to the handlers as `call.hub`
    throttle      None: no limit of calls
    client_of     the caller's network address, proxies taken into account
    assets_url    where the files of npm's swagger-ui-dist are served
    """

    authenticate: Authenticate
    transaction: Callable[[], AbstractAsyncContextManager[AsyncSession]]
    clock: Clock
    hub: Any = None
    throttle: Throttle | None = None
    assets_url: str = "/static/vendor"
    client_of: Callable[[web.Request], str] = lambda request: request.remote or ""
    version: str = "1"


def make_api(endpoints: Sequence[Endpoint], around: Surroundings) -> web.Application:
    """Make the application to be mounted at /api (`app.add_subapp("/api", …)`)."""
    app = web.Application(middlewares=[transport.answer_in_kind])
    items = {_shape_of(endpoint.path) for endpoint in endpoints if endpoint.method == "GET"}
    resources = frozenset(endpoint.resource for endpoint in endpoints)
    for endpoint in endpoints:
        route = _Route(endpoint, around, is_located=_shape_of(endpoint.path) + "/{}" in items, resources=resources)
        path = VERSION_PREFIX + endpoint.path
        app.router.add_route(endpoint.method, path, route.answer, expect_handler=transport.expect)
        if endpoint.method == "GET":
            app.router.add_route("HEAD", path, route.answer, expect_handler=transport.expect)
    documentation.add_pages(app, VERSION_PREFIX, _described(tuple(endpoints), around.version), around.assets_url)
    return app


@lru_cache(maxsize=8)
def _described(endpoints: tuple[Endpoint, ...], version: str) -> dict[str, Any]:
    """Return the description, which takes a quarter of a second to make, once a process."""
    return describe(endpoints, server="/api" + VERSION_PREFIX, version=version)


@cache
def _body_reader(shape: type[msgspec.Struct]) -> BodyReader[msgspec.Struct]:
    return BodyReader(shape)


@cache
def _query_reader(shape: type[msgspec.Struct]) -> QueryReader[msgspec.Struct]:
    return QueryReader(shape)


class _Nothing(msgspec.Struct):
    """The query of an endpoint that takes none."""


class _Route:
    """One endpoint with all that is prepared for it."""

    def __init__(
        self, endpoint: Endpoint, around: Surroundings, *, is_located: bool, resources: frozenset[str]
    ) -> None:
        self._endpoint = endpoint
        self._resources = resources
        self._around = around
        self._is_located = is_located
        shape = endpoint.shape
        self._body = _body_reader(shape.body) if shape.body else None
        self._query = _query_reader(shape.query or _Nothing)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, trying again while its transaction clashes with others."""
        body = b""
        if self._endpoint.writes:
            body = await transport.read(request, self._endpoint.limit)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._around.transaction() as session:
                    answer = await self._perform(request, session, body)
                break
            except Exception as error:
                if attempt == ATTEMPTS or not is_clash(error):
                    raise
        return await answer.write(request) if answer.write is not None else transport.respond(request, answer)

    async def _perform(self, request: web.Request, session: AsyncSession, body: bytes) -> Answer:
        endpoint, around = self._endpoint, self._around
        actor = await around.authenticate(request, session)
        actors.check(
            actor,
            request,
            resource=endpoint.resource,
            write=endpoint.writes,
            administrative=endpoint.administrative,
        )
        if around.throttle is not None and (wait := around.throttle.take(actor.caller)):
            detail = "Too many requests; wait as long as Retry-After says."
            raise Problem(429, "too-many-requests", detail, headers={"Retry-After": str(math.ceil(wait))})
        arguments = self._arguments(request, body)
        call = Call(
            session=session,
            actor=actor,
            now=around.clock.now(),
            hub=around.hub,
            request_id=request[transport.REQUEST_ID],
            client=around.client_of(request),
            resources=self._resources,
            if_match=request.headers.get(hdrs.IF_MATCH) if endpoint.writes else None,
            method=request.method,
            piece=request.headers.get(hdrs.RANGE, ""),
        )
        is_kept = endpoint.method == "POST" and not endpoint.commits
        key = request.headers.get(idempotency.HEADER) if is_kept else None
        if key is None:
            return await self._call(request, call, arguments)
        return await self._call_once(request, call, arguments, key, body)

    def _arguments(self, request: web.Request, body: bytes) -> dict[str, Any]:
        shape = self._endpoint.shape
        arguments: dict[str, Any] = {}
        for name in shape.ids:
            if (found := parse_id(request.match_info[name])) is None:
                raise Problem(404, "not-found", f"There is no {name.removesuffix('_id')} with this id")
            arguments[name] = found
        for name in shape.texts:
            text = request.match_info[name]
            if "\0" in text or len(text) > 200:
                raise Problem(404, "not-found", f"There is no such {name}")
            arguments[name] = text
        query = self._query.read(request.query)
        if shape.query is not None:
            arguments["query"] = query
        if self._body is not None:
            if body:
                transport.check_type(request)
            arguments["body"] = self._body.read(body)
        return arguments

    async def _call(self, request: web.Request, call: Call, arguments: dict[str, Any]) -> Answer:
        endpoint = self._endpoint
        value = await endpoint.handler(call, **arguments)
        await call.session.flush()  # what the database refuses must be known before the answer is made
        if call.if_match not in (None, "*") and not call.compared:
            raise Problem(412, "stale", "This address has no versions to compare If-Match with; nothing was changed.")
        if isinstance(value, Download):
            return _file(value)
        if isinstance(value, Playback):
            return Answer(200, {}, b"", write=value.write)
        headers: dict[str, str] = {}
        body = b"" if value is None else encode(value)
        if isinstance(version := getattr(value, "version", None), int):
            headers[hdrs.ETAG] = versions.tag(version, body)
        if endpoint.status == 201 and self._is_located:
            headers[hdrs.LOCATION] = f"{request.path}/{int(value.id)}"
        return Answer(endpoint.status, headers, body)

    async def _call_once(
        self, request: web.Request, call: Call, arguments: dict[str, Any], key: str, body: bytes
    ) -> Answer:
        idempotency.check_key(key)
        caller = call.actor.caller
        earlier = await idempotency.claim(
            call.session,
            caller=caller,
            key=key,
            fingerprint=idempotency.fingerprint(request.method, request.path_qs, body),
            now=call.now,
        )
        if earlier is not None:
            headers = {**(earlier.headers or {}), idempotency.REPLAYED_HEADER: "true"}
            return Answer(earlier.status or 200, headers, earlier.body or b"")
        answer = await self._call(request, call, arguments)
        await idempotency.keep(
            call.session,
            caller=caller,
            key=key,
            status=answer.status,
            headers=answer.headers,
            body=None if self._endpoint.secret or not isinstance(answer.body, bytes) else answer.body,
        )
        return answer


def _file(file: Download) -> Answer:
    """Answer with a file from outside: to be saved, not shown, whatever it claims to be (RFC 6266, RFC 8187)."""
    headers = {
        hdrs.CONTENT_DISPOSITION: f"attachment; filename*=UTF-8''{quote(file.name or 'file', safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Answer(200, headers, file.content, "application/octet-stream")


def _shape_of(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)
