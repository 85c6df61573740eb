"""The door for visitors of chat widgets: a WebSocket for words, a POST for files, earlier messages, and files to fetch.

    GET  /w/{key}/socket          frames of JSON, named by `t`; see below
    POST /w/{key}/files           a message with files: multipart, its record in the field `message`
    GET  /w/{key}/history?before= the fifty messages before one
    GET  /w/{key}/files/{ticket}  a file of the conversation; /preview: a small picture of it

A window says `hello` with its pass and the messages it has, and is told `welcome`: a pass, whether somebody is here,
and the messages it lacks. Then it may `say` something, tell what it `got` and `read`, that its visitor is `typing`,
and `ping`; it hears `ack` once what it said is durable, `wait` or `refused` if it was not taken, `message`, `state`,
`seen` and `typing`. Whatever else comes in is passed over, and too much of it ends the line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec
import structlog
from aiohttp import WSMsgType, web
from sqlalchemy import select

from channels.fields import Fields
from channels.widget import METHOD, Widget
from core.kernel.events import CHANNEL as DIARY
from core.kernel.waiting import end
from core.talk.attachments import Attachment, StoredFile
from core.talk.conversations import Message
from hub import files_door, hooks, metrics
from hub.app import Hub
from hub.connections import Live
from hub.hooks import HUB
from hub.widget_line import Line, Lines
from hub.widget_messages import Reader, Visitor, is_seen
from webhooks.errors import BadSignature, NotConfigured, WebhookError
from webhooks.ingress import Overloaded
from webhooks.request import RawRequest

log = structlog.get_logger(__name__)

LINES: web.AppKey[Lines] = web.AppKey("widget_lines", Lines)

LONGEST_FRAME = 48 * 1024
_SAYS_HELLO_WITHIN = 15.0  # seconds
_HEARTBEAT = 25.0
_MOST_FRAMES, _FRAMES_WITHIN = 100, 10.0
_MOST_IDS = 200
_KEPT = ("id", "text", "name", "email", "phone", "page", "language", "redirect")
_MOST_MARKS = 20
_PAUSED = "This chat is closed for the moment"

_encode = msgspec.json.Encoder().encode


class Chat(NamedTuple):
    """A widget's connection."""

    live: Live
    channel: Widget


def add_routes(app: web.Application) -> None:
    """Add the door to an application that holds the hub under `HUB`."""
    hub = app[HUB]
    lines = app[LINES] = Lines(hub)
    # The hub listens to the diary already, so one more may be told of it at any time.
    hub.signals.on(DIARY, lines.wake)
    app.cleanup_ctx.append(_following)
    app.on_shutdown.append(_hang_up)
    app.router.add_get("/w/{key}/socket", socket)
    app.router.add_post("/w/{key}/files", take_files)
    app.router.add_get("/w/{key}/history", history)
    app.router.add_route("OPTIONS", "/w/{key}/{what:files|history}", preflight)
    app.router.add_get("/w/{key}/files/{ticket}", show_file)
    app.router.add_get("/w/{key}/files/{ticket}/preview", show_preview)


async def _following(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[LINES].run())
    yield
    await end(task)


async def _hang_up(app: web.Application) -> None:
    await app[LINES].hang_up()


async def _chat(request: web.Request) -> Chat | None:
    """Return the widget at an address; None if there is none."""
    hub = request.app[HUB]
    live = await hooks.find(hub, hub.switchboard.by_key, request.match_info["key"])
    if live is None or not isinstance(live.channel, Widget):
        return None
    return Chat(live, live.channel)


# --- the line ---


async def socket(request: web.Request) -> web.StreamResponse:
    """Talk with one window of a visitor for as long as it is open."""
    hub, lines = request.app[HUB], request.app[LINES]
    found = await _chat(request)
    if found is None:
        return _refusal(404, "There is no chat at this address any more")
    asked = hooks.describe(request, b"", hub.settings)
    if not found.channel.admits(request.headers.get("Origin", ""), asked.url):
        return _refusal(403, "This chat does not stand on that site. Add it to the channel's sites")
    if found.live.paused_because is not None:
        return _refusal(503, _PAUSED)
    if not lines.has_room(asked.client):
        return _refusal(429, "Too many windows are open")
    # not compressed: that would cost each open window more memory than all the rest of it
    socket = web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=LONGEST_FRAME, timeout=5.0, compress=False)
    if not socket.can_prepare(request).ok:
        return _refusal(426, "This address is for WebSockets")
    await socket.prepare(request)
    async with lines.counted(asked.client):
        window = _Window(hub, lines, found, asked, socket)
        try:
            await window.talk()
        except ConnectionError:
            log.debug("widget_visitor_left")
        except Exception:  # the window comes back by itself, and what it said and was not told is safe waits there
            log.exception("widget_window_failed")
            await socket.close(code=1011)
        else:
            await socket.close()
    return socket


class _Window:
    """One open window, from its `hello` on."""

    def __init__(self, hub: Hub, lines: Lines, chat: Chat, asked: RawRequest, socket: web.WebSocketResponse) -> None:
        self._hub = hub
        self._lines = lines
        self._chat = chat
        self._asked = asked
        self._socket = socket
        self._pass = ""
        self._frames = 0
        self._since = time.monotonic()

    async def talk(self) -> None:
        """Hear the window out until it leaves."""
        hello = await self._frame(within=_SAYS_HELLO_WITHIN)
        if hello is None or hello.text("t") != "hello":
            await self._socket.close(code=1008, message=b"say hello first")
            return
        try:
            peer = self._chat.channel.visitor_of(hello.text("pass")) or secrets.token_urlsafe(16)
        except NotConfigured as refusal:
            await self._socket.send_str(_encode({"t": "refused", "error": str(refusal)}).decode())
            return
        self._pass = self._chat.channel.pass_of(peer)
        visitor = Visitor(self._chat.live.id, peer)
        line = Line(self._socket, visitor, shows_names=self._chat.channel.settings.shows_names)
        async with self._lines.open(line):
            await self._welcome(line, _ids(hello.at("have")))
            serving = asyncio.create_task(self._lines.serve(line))
            try:
                while (frame := await self._frame()) is not None:
                    await self._heed(line, frame)
            finally:
                await end(serving)

    async def _frame(self, *, within: float | None = None) -> Fields | None:
        """Return the next frame; None once the window has left, or sends what none of ours would."""
        while True:
            try:
                message = await self._socket.receive(timeout=within)
            except TimeoutError:
                return None
            if message.type is not WSMsgType.TEXT:
                return None
            now = time.monotonic()
            if now - self._since > _FRAMES_WITHIN:
                self._frames, self._since = 0, now
            self._frames += 1
            if self._frames > _MOST_FRAMES:
                await self._socket.close(code=1008, message=b"too much at once")
                return None
            # not msgspec, which refuses the half of an emoji that a browser may cut a text at
            with contextlib.suppress(ValueError, RecursionError):
                frame = Fields(json.loads(message.data))
                if isinstance(frame.value, dict):
                    return frame

    async def _welcome(self, line: Line, have: list[int]) -> None:
        hub = self._hub
        async with hub.database.reading() as session:
            reader = Reader(session, hub.files, now=hub.clock.now(), shows_names=line.shows_names)
            batch = await reader.missed(line.visitor, have)
            seen = await is_seen(session, line.visitor)
        line.take(batch.messages)
        await line.tell(
            "welcome",
            **{"pass": self._pass, "here": await self._lines.here(), "seen": seen},
            messages=batch.messages,
            whole=batch.is_whole,
            more=batch.has_more,
        )

    async def _heed(self, line: Line, frame: Fields) -> None:
        what = frame.text("t")
        if what == "say":
            await self._take(line, frame)
        elif what in ("got", "read"):
            self._lines.receive(line.visitor, _ids(frame.at("ids")), "read" if what == "read" else "delivered")
        elif what == "typing":
            await self._lines.note_writing(line.visitor, is_writing=frame.flag("on"))
        elif what == "ping":
            await line.tell("pong", here=await self._lines.here())

    async def _take(self, line: Line, frame: Fields) -> None:
        """Make something the visitor said durable, and only then say so."""
        hub, name = self._hub, frame.id("id")[:64]
        live = hub.switchboard.by_id(line.visitor.connection_id)
        if live is None or not isinstance(live.channel, Widget):
            await line.tell("refused", id=name, error="This chat is no more")
            return
        if live.paused_because is not None:
            await line.tell("wait", id=name, seconds=60)
            return
        wait = self._lines.admits(line.visitor)
        if wait or not live.admits(time.monotonic()):
            await line.tell("wait", id=name, seconds=round(wait or 30.0, 1))
            return
        marks = {mark: frame.text("marks", mark) for mark in frame.at("marks").keys()[:_MOST_MARKS]}
        said = {key: frame.text(key) for key in _KEPT if key in frame} | {"visitor": line.visitor.peer, "marks": marks}
        kept = ("origin", "user-agent", "accept-language")
        headers = {key: value for key, value in self._asked.headers.items() if key in kept}
        asked = self._asked
        raw = RawRequest(
            body=_encode(said),
            method=METHOD,
            headers={**headers, "content-type": "application/json", "authorization": f"Bearer {self._pass}"},
            path=asked.path,
            url=asked.url,
            client=asked.client,
        )
        try:
            live.channel.verify(raw, hub.clock.now())
            routed = live.channel.route(raw)
            accepted = await hub.ingress.accept(
                live.id, hooks.without_secrets(raw, live), dedupe_key=routed.dedupe_key, peer=routed.peer
            )
        except BadSignature:  # the key was changed meanwhile: the window comes back and is given a new pass
            await line.hang_up()
            return
        except WebhookError as refusal:
            metrics.HOOKS.labels(live.kind, 422).inc()
            await line.tell("refused", id=name, error=str(refusal))
            return
        except Overloaded as busy:
            metrics.HOOKS.labels(live.kind, 503).inc()
            await line.tell("wait", id=name, seconds=busy.retry_after)
            return
        metrics.HOOKS.labels(live.kind, 200).inc()
        answer = json.loads(live.channel.acknowledge(raw, accepted.reference).body)
        await line.tell("ack", **{key: answer[key] for key in ("id", "reference", "redirect") if key in answer})
        await self._lines.note_writing(line.visitor, is_writing=False)


def _ids(given: Fields) -> list[int]:
    """Return the numbers of messages in a frame."""
    found = (item.whole() for item in given.items())
    return [number for number in found if number is not None and 0 < number < 2**62][:_MOST_IDS]


# --- the rest ---


async def take_files(request: web.Request) -> web.StreamResponse:
    """Take a message with files: through the same door as any hook, so that an answer means durable."""
    hub = request.app[HUB]
    found = await _chat(request)
    if found is None:
        return _refusal(404, "There is no chat at this address any more")
    visitor = _visitor(request, found)
    if visitor is not None and (wait := request.app[LINES].admits(visitor)):
        answer = _refusal(429, "That was a lot at once. Nothing was stored; try again in a moment")
        answer.headers["Retry-After"] = str(int(wait) + 1)
        return _readable(request, found, answer)
    return await hooks.take(request, hub, found.live, found.channel)


async def preflight(request: web.Request) -> web.StreamResponse:
    """Tell a browser whether a page may call us (Fetch Standard §3.2.2)."""
    found = await _chat(request)
    if found is None:
        return _refusal(404, "There is no chat at this address any more")
    reply = found.channel.preflight(hooks.describe(request, b"", request.app[HUB].settings))
    return web.Response(
        body=reply.body, status=reply.status, headers={**reply.headers, "Content-Type": reply.content_type}
    )


async def history(request: web.Request) -> web.StreamResponse:
    """Give the messages before one, to a visitor who scrolls up."""
    hub = request.app[HUB]
    found = await _chat(request)
    if found is None:
        return _refusal(404, "There is no chat at this address any more")
    visitor = _visitor(request, found)
    if visitor is None:
        return _readable(request, found, _refusal(401, "This is no pass of ours"))
    asked = request.query.get("before", "")
    before = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else None
    async with hub.database.reading() as session:
        shows_names = found.channel.settings.shows_names
        reader = Reader(session, hub.files, now=hub.clock.now(), shows_names=shows_names)
        batch = await reader.latest(visitor, before=before)
    body = _encode({"messages": batch.messages, "more": batch.has_more})
    answer = web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})
    return _readable(request, found, answer)


def _visitor(request: web.Request, chat: Chat) -> Visitor | None:
    """Return whose pass a request carries; None if it carries none of ours."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    with contextlib.suppress(NotConfigured):
        if (peer := chat.channel.visitor_of(given)) is not None:
            return Visitor(chat.live.id, peer)
    return None


async def show_file(request: web.Request) -> web.StreamResponse:
    """Give a file of a conversation to whoever holds its ticket, which only the visitor is told."""
    found = await _file(request)
    if found is None:
        return _refusal(404, "This link is not valid any more. Open the chat again for a new one")
    row, stored = found
    return await files_door.stream(request, request.app[HUB], stored, row.name)


async def show_preview(request: web.Request) -> web.StreamResponse:
    """Give the small picture of a file, to be shown within the page the widget stands on."""
    found = await _file(request)
    if found is None or found[1].preview is None:
        return _refusal(404, "There is no preview of this file")
    content = await request.app[HUB].files.whole(found[1].preview)
    headers = {
        "Cache-Control": "private, max-age=86400",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return web.Response(body=content, content_type="image/webp", headers=headers)


async def _file(request: web.Request) -> tuple[Attachment, StoredFile] | None:
    hub = request.app[HUB]
    chat = await _chat(request)
    attachment_id = hub.files.admitted(request.match_info["ticket"], now=hub.clock.now())
    if chat is None or attachment_id is None:
        return None
    async with hub.database.reading() as session:
        row = (
            await session.execute(
                select(Attachment, StoredFile)
                .join(StoredFile, StoredFile.id == Attachment.file_id)
                .join(Message, Message.id == Attachment.message_id)
                .where(
                    Attachment.id == attachment_id,
                    Message.connection_id == chat.live.id,
                    Message.private.is_(False),
                    Message.deleted_at.is_(None),
                )
            )
        ).first()
    return None if row is None else (row[0], row[1])


def _refusal(status: int, said: str) -> web.Response:
    return web.Response(
        status=status,
        body=_encode({"ok": False, "error": said}),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _readable(request: web.Request, chat: Chat, answer: web.Response) -> web.Response:
    """Let the page that asked read the answer."""
    answer.headers.update(chat.channel.cors_headers(hooks.describe(request, b"", request.app[HUB].settings)))
    return answer
