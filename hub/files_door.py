"""The door for files: pages upload what is to be sent and show what came; providers and customers follow signed links.

Whatever a file claims to be, it is served as what its bytes are, sandboxed, and shown in place only where a browser
can do nothing with it but show it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import structlog
from aiohttp import BodyPartReader, web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import ChannelError, Undeliverable
from core.kernel.errors import DomainError, NotFound, Rejected
from core.staff import access
from core.staff.access import Rights
from core.talk.attachments import MOST_FILES, Attachment, FileState, StoredFile
from core.talk.conversations import Message
from hub import auth, files
from hub.app import Hub
from hub.files import SHOWN_IN_PLACE
from hub.hooks import HUB

log = structlog.get_logger(__name__)

MOST_UPLOAD = 50 * 1024 * 1024
"""Bytes one uploaded file may have."""

_RANGE = re.compile(r"bytes=(\d{1,15})?-(\d{1,15})?")
_SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; sandbox"


def add_routes(app: web.Application) -> None:
    """Add the door; before the REST API, part of whose addresses it answers."""
    app.router.add_post("/files", upload)
    app.router.add_post("/api/v1/files", upload)
    app.router.add_get("/files/shared/{ticket}", shared)
    app.router.add_get("/files/{attachment_id:[0-9]{1,18}}", show)
    app.router.add_get("/files/{attachment_id:[0-9]{1,18}}/preview", preview)


class Seen(NamedTuple):
    """An attachment somebody may fetch, and its content if that is kept already."""

    attachment: Attachment
    stored: StoredFile | None


async def find(session: AsyncSession, rights: Rights, attachment_id: int) -> Seen:
    """Return an attachment that somebody may see: their own upload, or part of a message they may see.

    Raises:
        NotFound: there is none, or it is none of their business.
    """
    row = await session.get(Attachment, attachment_id)
    if row is None:
        raise NotFound("file")
    if row.message_id is None:
        if row.author_id != rights.user_id:
            raise NotFound("file")
    else:
        await access.fetch(session, rights, Message, row.message_id)
    return Seen(row, await session.get(StoredFile, row.file_id) if row.file_id is not None else None)


async def upload(request: web.Request) -> web.StreamResponse:
    """Take files that are to be sent: multipart/form-data, each part with a file name. Answers what a message then
    names: `[{"id", "name", "content_type", "size", "kind"}]`, and for one file that object itself under `id`.
    """
    hub = request.app[HUB]
    try:
        user_id = await _who(request, hub)
        kept = [item async for item in _parts(request, hub, user_id)]
    except DomainError as error:
        from hub.http import STATUS

        return _problem(next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 422), str(error))
    except Undeliverable as error:
        return _problem(413, f"{error}. Nothing was kept")
    except ChannelError as error:
        return _problem(503, str(error))
    if not kept:
        return _problem(422, "Send at least one file, as multipart/form-data")
    body: Any = {**kept[0], "items": kept}
    return web.Response(status=201, body=msgspec.json.encode(body), content_type="application/json")


async def _who(request: web.Request, hub: Hub) -> int:
    """Return who uploads: by a token with the scope to write messages, or in a browser with its CSRF token."""
    from hub.api import actors
    from hub.api.mount import authenticator
    from hub.api.problems import Problem

    async with hub.database.transaction() as session:
        try:
            actor = await authenticator(hub)(request, session)
            if request.headers.get("Authorization"):
                actors.check(actor, request, resource="messages", write=True, administrative=False)
            else:
                auth.check_csrf(request.headers.get(auth.CSRF_HEADER, ""), actor.csrf_token or "")
        except Problem as problem:
            raise NotFound("file") from problem
        assert actor.rights is not None
        if not actor.rights.may_change:
            raise Rejected("You may look, but not send anything")
        return actor.rights.user_id


async def _parts(request: web.Request, hub: Hub, user_id: int) -> AsyncIterator[dict[str, Any]]:
    """Keep the files of a form one after the other, each as it comes in."""
    if not request.content_type.startswith("multipart/"):
        raise Rejected("Send files as multipart/form-data")
    count = 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.filename is None:
            continue
        count += 1
        if count > MOST_FILES:
            raise Rejected("At most %(most)s files at once", most=MOST_FILES)
        name = _tidy(part.filename)
        kept = await hub.files.keep(
            _chunks(part), name=name, declared=part.headers.get("Content-Type", ""), most=MOST_UPLOAD
        )
        async with hub.database.transaction() as session:
            stored = await files.note(session, kept, at=hub.clock.now())
            row = Attachment(
                author_id=user_id,
                name=name,
                content_type=stored.content_type,
                size=stored.size,
                kind=files.kind_of(stored.content_type),
                state=FileState.STORED,
                file_id=stored.id,
                created_at=hub.clock.now(),
            )
            session.add(row)
            await session.flush()
            yield {
                "id": str(row.id),
                "name": row.name,
                "content_type": row.content_type,
                "size": row.size,
                "kind": row.kind,
            }


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(262_144):
        yield part.decode(chunk) if part.headers.get("Content-Transfer-Encoding") else chunk


def _tidy(name: str) -> str:
    plain = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in plain if c.isprintable()).strip()[:255] or "file"


async def show(request: web.Request) -> web.StreamResponse:
    """Show or save a file, for whoever may see its message."""
    return await _serve(request, wants_preview=False)


async def preview(request: web.Request) -> web.StreamResponse:
    """Show the small picture of a file."""
    return await _serve(request, wants_preview=True)


async def _serve(request: web.Request, *, wants_preview: bool) -> web.StreamResponse:
    hub = request.app[HUB]
    async with hub.database.transaction() as session:
        who = await auth.signed_in(session, hub, request)
        if who is None:
            return _problem(401, "Sign in to see this file")
        try:
            found = await find(session, who.rights, int(request.match_info["attachment_id"]))
        except DomainError:
            return _problem(404, "There is no such file")
    if found.stored is None:
        return _problem(404, found.attachment.error or "The file is still on its way; try again in a moment")
    if wants_preview:
        if found.stored.preview is None:
            return _problem(404, "There is no preview of this file")
        content = await hub.files.whole(found.stored.preview)
        return web.Response(body=content, content_type="image/webp", headers=_headers(cached=True))
    return await stream(request, hub, found.stored, found.attachment.name)


async def shared(request: web.Request) -> web.StreamResponse:
    """Give a file to whoever holds a link to it that has not expired."""
    hub = request.app[HUB]
    attachment_id = hub.files.admitted(request.match_info["ticket"], now=hub.clock.now())
    if attachment_id is None:
        return _problem(404, "This link is not valid any more. Ask whoever sent it for a new one")
    async with hub.database.reading() as session:
        row = await session.get(Attachment, attachment_id)
        stored = (
            await session.scalar(select(StoredFile).where(StoredFile.id == row.file_id)) if row is not None else None
        )
    if row is None or stored is None:
        return _problem(404, "This file is not there any more")
    return await stream(request, hub, stored, row.name)


async def stream(request: web.Request, hub: Hub, stored: StoredFile, name: str) -> web.StreamResponse:
    """Stream a file, or the part of it that a player asks for (RFC 9110 §14)."""
    start, end = 0, stored.size
    status = 200
    headers = _headers(cached=False)
    if (asked := request.headers.get("Range")) and (found := _RANGE.fullmatch(asked.strip())):
        first, last = found[1], found[2]
        if first is not None:
            start, end = int(first), min(stored.size, int(last) + 1 if last else stored.size)
        elif last:
            start = max(0, stored.size - int(last))
        if start >= end:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{stored.size}"})
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
    is_shown = stored.content_type in SHOWN_IN_PLACE and "download" not in request.query
    disposition = "inline" if is_shown else "attachment"
    response = web.StreamResponse(
        status=status,
        headers={
            **headers,
            "Accept-Ranges": "bytes",
            "Content-Length": str(end - start),
            "Content-Type": stored.content_type if is_shown else "application/octet-stream",
            "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name or 'file', safe='')}",
        },
    )
    pieces = hub.files.read(stored.path, start=start, end=end)
    try:
        first_piece = await anext(pieces, b"")
    except ChannelError as error:
        log.warning("file_not_read", path=stored.path, error=str(error))
        return _problem(503, str(error))
    await response.prepare(request)
    try:
        if request.method != "HEAD":
            await response.write(first_piece)
            async for piece in pieces:
                await response.write(piece)
        await response.write_eof()
    except ConnectionError:  # a player that has heard enough hangs up
        log.debug("file_not_wanted_to_its_end", path=stored.path)
    except ChannelError as error:  # what is short must not look whole
        log.warning("file_not_read_to_its_end", path=stored.path, error=str(error))
        if request.transport is not None:
            request.transport.abort()
    return response


def _headers(*, cached: bool) -> dict[str, str]:
    return {
        "Content-Security-Policy": _SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "private, max-age=86400" if cached else "private, no-cache",
    }


def _problem(status: int, detail: str) -> web.Response:
    body = msgspec.json.encode({"type": "about:blank", "title": "Not done", "status": status, "detail": detail})
    return web.Response(status=status, body=body, content_type="application/problem+json")
