"""HTTP below the handlers: request ids, bodies within their limit, and every failure answered as a problem document."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMessage, PayloadEncodingError

from hub.api import versions
from hub.api.problems import Problem, from_error

REQUEST_ID: Final = web.RequestKey("request_id", str)
REQUEST_ID_HEADER: Final = "X-Request-Id"

_is_request_id = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
_is_json = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json", re.IGNORECASE).fullmatch

log = structlog.get_logger("hub.api")


class Answer(NamedTuple):
    """What is sent when all went well; `write` is given where somebody else sends it."""

    status: int
    headers: dict[str, str]
    body: bytes | AsyncIterator[bytes]
    content_type: str = "application/json"
    write: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None


@web.middleware
async def answer_in_kind(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give the request its id, and turn whatever is raised into a problem document."""
    request_id = request[REQUEST_ID] = _request_id(request)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        try:
            response = await handler(request)
        except web.HTTPRedirection:
            raise
        except Exception as error:
            response = _refuse(request, error)
    response.headers.setdefault(REQUEST_ID_HEADER, request_id)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _request_id(request: web.Request) -> str:
    """Take the caller's id of the request if it is sane, else make one."""
    sent = request.headers.get(REQUEST_ID_HEADER, "")
    return sent if _is_request_id(sent) else uuid.uuid4().hex


def _refuse(request: web.Request, error: Exception) -> web.Response:
    problem = from_error(error)
    if problem is None:
        log.exception("request failed", method=request.method, path=request.path)
        detail = "Something went wrong on our side; it is in the log under this request_id. Nothing was changed."
        problem = Problem(500, "internal", detail)
    elif problem.status >= 500:
        log.warning("request not served", method=request.method, path=request.path, error=repr(error))
    return problem.response(request[REQUEST_ID])


async def read(request: web.Request, limit: int) -> bytes:
    """Read the body.

    Raises:
        Problem: 413, it is larger than `limit` bytes, before or after decompression; 400, it cannot be read.
    """
    too_large = Problem(413, "too-large", f"The body is larger than the {limit} bytes this address takes.")
    if (request.content_length or 0) > limit:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise too_large
    except (BadHttpMessage, PayloadEncodingError, web.RequestPayloadError) as error:
        detail = "The body did not arrive whole, or its encoding is broken."
        raise Problem(400, "malformed", detail, headers={hdrs.CONNECTION: "close"}) from error
    return bytes(body)


def check_type(request: web.Request) -> None:
    """Take JSON in UTF-8 and nothing else; `application/merge-patch+json` and its like are JSON.

    Raises:
        Problem: 415.
    """
    declared = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip()
    charset = (request.charset or "utf-8").lower().replace("_", "-")
    if not _is_json(declared) or charset not in ("utf-8", "utf8"):
        detail = "Send JSON in UTF-8, with Content-Type: application/json."
        raise Problem(415, "unsupported-media-type", detail, headers={"Accept": "application/json"})


async def expect(request: web.Request) -> web.StreamResponse | None:
    """Answer an Expect header (RFC 9110 §10.1.1)."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # aiohttp counts what was written as part of the answer
        request.writer.output_size = 0
        return None
    problem = Problem(417, "expectation-failed", "Only Expect: 100-continue is understood.")
    return problem.response(_request_id(request))


def respond(request: web.Request, answer: Answer) -> web.Response:
    """Send an answer, or 304 to somebody who has it already."""
    headers = dict(answer.headers)
    etag = headers.get(hdrs.ETAG)
    if etag is not None and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        headers[hdrs.CACHE_CONTROL] = "private, no-cache"
        if versions.is_known(request.headers.get(hdrs.IF_NONE_MATCH, ""), etag):
            return web.Response(status=304, headers=headers)
    if not isinstance(answer.body, bytes):
        # aiohttp streams what an asynchronous iterator gives
        return web.Response(status=answer.status, headers=headers, body=answer.body, content_type=answer.content_type)
    if not answer.body:
        return web.Response(status=answer.status, headers=headers)
    return web.Response(status=answer.status, headers=headers, body=answer.body, content_type=answer.content_type)
