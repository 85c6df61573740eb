"""The door for requests from outside: `/hooks/{key}`. Checked, made durable, acknowledged; nothing else."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote

import msgspec
import structlog
from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from channels.contract import Advice, Consulter, Greeter, Receiver
from hub import metrics, telephony
from hub.app import Hub
from hub.connections import Live
from hub.settings import Settings
from webhooks.errors import BadSignature, Malformed, NotConfigured, Refused, TooLarge, Unsupported, WebhookError
from webhooks.ingress import Overloaded
from webhooks.request import RawRequest, Reply

log = structlog.get_logger(__name__)

_ADVISES_WITHIN = 1.5  # seconds

HUB: web.AppKey[Hub] = web.AppKey("hub", Hub)

_STATUS: dict[type[WebhookError], int] = {
    BadSignature: 401,
    NotConfigured: 401,
    Refused: 403,
    Malformed: 400,
    TooLarge: 413,
    Unsupported: 422,
}


def add_routes(app: web.Application) -> None:
    """Add the door to an application that holds the hub under `HUB`."""
    for path in ("/hooks/{key}", "/hooks/{key}/{suffix:.*}"):
        app.router.add_route("*", path, receive)


async def receive(request: web.Request) -> web.StreamResponse:
    """Take one request from outside; 2xx only once it is durable."""
    hub = request.app[HUB]
    live = await find(hub, hub.switchboard.by_key, request.match_info["key"])
    if live is None or live.receiver is None:
        return _refuse(None, 404, "There is no channel at this address. Was it deleted, or the address cut short?")
    return await take(request, hub, live, live.receiver)


async def find(hub: Hub, look_up: Callable[[str], Live | None], name: str) -> Live | None:
    """Return a connection by its key or slug, one added a moment ago elsewhere too; None if there is none."""
    live = look_up(name)
    if live is None and hub.connections_changed.is_set():
        await hub.switchboard.refresh()
        live = look_up(name)
    return live


async def take(request: web.Request, hub: Hub, live: Live, channel: Receiver) -> web.Response:
    """Check a request, make it durable and acknowledge it; the answer says why where it is refused."""
    response = await _take(request, hub, live, channel)
    _count(live.kind, response.status)
    return response


_counters: dict[tuple[str, int], Callable[[], None]] = {}  # finding a counter by its labels takes a lock each time


def _count(kind: str, status: int) -> None:
    count = _counters.get((kind, status))
    if count is None:
        count = _counters[(kind, status)] = metrics.HOOKS.labels(kind, status).inc
    count()


async def _take(request: web.Request, hub: Hub, live: Live, channel: Receiver) -> web.Response:
    if request.method == "OPTIONS":
        preflight = getattr(channel, "preflight", None)
        if preflight is not None:
            return _answer(preflight(describe(request, b"", hub.settings)))
    greeter = channel if isinstance(channel, Greeter) else None
    if (refusal := _not_now(request, hub, live, any_method=greeter is not None)) is not None:
        return refusal
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return _refuse(live, 413, _too_large(hub.settings.max_body_bytes), request=describe(request, b"", hub.settings))
    raw = describe(request, body, hub.settings)
    try:
        if greeter is not None and (reply := greeter.handshake(raw)) is not None:
            return _answer(reply)
        if request.method not in ("POST", "PUT") and not raw.query:
            return _refuse(live, 405, "Send it with POST", {"Allow": "GET, POST"}, request=raw)
        channel.verify(raw, hub.clock.now())
        asks = channel if isinstance(channel, Consulter) and channel.asked(raw) is not None else None
        if asks is not None and asks.is_question(raw):
            return _answer(asks.advise(raw, await _advice(hub, live, asks, raw)))
        routed = channel.route(raw)
        accepted = await hub.ingress.accept(
            live.id,
            without_secrets(raw, live),
            dedupe_key=routed.dedupe_key,
            repeat_within=routed.repeat_within,
            peer=routed.peer,
        )
    except WebhookError as error:
        return _refuse(live, _STATUS.get(type(error), 400), str(error), request=raw)
    except Overloaded as error:
        return _refuse(
            live, 503, f"{error}. Nothing was stored; try again", {"Retry-After": str(error.retry_after)}, request=raw
        )
    if asks is not None:
        return _answer(asks.advise(raw, await _advice(hub, live, asks, raw)))
    return _answer(channel.acknowledge(raw, accepted.reference))


async def _advice(hub: Hub, live: Live, channel: Consulter, request: RawRequest) -> Advice:
    """Return what we know of who rings; nothing where that takes too long: the caller hears silence meanwhile."""
    try:
        async with asyncio.timeout(_ADVISES_WITHIN):
            return await telephony.advise(hub, live, channel.asked(request) or "")
    except (TimeoutError, SQLAlchemyError, OSError):
        log.warning("caller_not_looked_up", connection_id=live.id, exc_info=True)
        return Advice()


def without_secrets(request: RawRequest, live: Live) -> RawRequest:
    """Return a request as it is kept: the connection's own secrets, which it carried to be let in, masked."""
    if not live.secrets:
        return request
    said = "\n".join((request.query, request.suffix, request.path, request.url, *request.headers.values()))
    if live.masked(unquote(said)) == unquote(said):
        return request
    return replace(
        request,
        query=live.masked(request.query),
        suffix=live.masked(request.suffix),
        path=live.masked(request.path),
        url=live.masked(request.url),
        headers={name: live.masked(value) for name, value in request.headers.items()},
    )


def _not_now(request: web.Request, hub: Hub, live: Live, *, any_method: bool = False) -> web.Response | None:
    """Return the refusal of what need not even be read; None if there is nothing against it."""
    limit = hub.settings.max_body_bytes
    more: dict[str, str] = {}
    is_usual = request.method == "POST" or (request.method == "GET" and bool(request.query_string))
    if not is_usual and not any_method:
        status, message, more = 405, "Send the form with POST", {"Allow": "GET, POST, OPTIONS"}
    elif live.paused_because is not None:
        status, message, more = 503, "This channel is paused. Nothing was stored", {"Retry-After": "300"}
    elif live.rate_per_minute and not live.admits(time.monotonic()):
        message = "Too many requests for this channel. Nothing was stored; try again in a minute"
        status, more = 429, {"Retry-After": "60"}
    elif (request.content_length or 0) > limit:
        status, message = 413, _too_large(limit)
    else:
        return None
    return _refuse(live, status, message, more, request=describe(request, b"", hub.settings))


def _too_large(limit: int) -> str:
    return f"The request is larger than {limit // 1024} KiB. Nothing was stored; send smaller files"


def describe(request: web.Request, body: bytes, settings: Settings) -> RawRequest:
    """Return a request as channels see it."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        if not value.isascii():
            value = _text(value)
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    path, _, query = request.raw_path.partition("?")
    suffix = request.match_info.get("suffix") or ""
    base = settings.public_url or f"{request.scheme}://{headers.get('host', '')}"
    return RawRequest(
        body=body,
        method=request.method,
        headers=headers,
        path=path,
        query=query,
        suffix=suffix,
        url=base + request.raw_path,
        client=client_of(request, settings),
    )


def _text(value: str) -> str:
    """Return a header's value as text. What is not UTF-8 comes as lone surrogates; each byte is then taken for its
    letter in ISO-8859-1, which RFC 9110 §5.5 calls the historical charset of headers, so that none is lost.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value


def client_of(request: web.Request, settings: Settings) -> str:
    """Return the sender's IP address: the last one not ours, where a trusted proxy tells it."""
    peer = request.remote or ""
    if not settings.trusted_proxies or not _is_trusted(peer, settings):
        return peer
    told = [part.strip() for part in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",") if part.strip()]
    for address in reversed(told):
        if not _is_trusted(address, settings):
            return address[:64]
    return told[0][:64] if told else peer


def _is_trusted(address: str, settings: Settings) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in settings.trusted_proxies)


def _answer(reply: Reply) -> web.Response:
    return web.Response(
        body=reply.body, status=reply.status, headers={**reply.headers, "Content-Type": reply.content_type}
    )


def _refuse(
    live: Live | None,
    status: int,
    message: str,
    headers: dict[str, str] | None = None,
    *,
    request: RawRequest | None = None,
) -> web.Response:
    body = msgspec.json.encode({"ok": False, "error": message})
    allowed = getattr(live.channel, "cors_headers", None) if live is not None and request is not None else None
    cors = dict(allowed(request)) if allowed is not None else {}
    return web.Response(
        body=body, status=status, headers={**(headers or {}), **cors, "Content-Type": "application/json; charset=utf-8"}
    )
