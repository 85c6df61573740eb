"""The pages that describe the API: openapi.json for programs, /api/docs for people (Swagger UI under a strict CSP)."""

from __future__ import annotations

import hashlib
from html import escape
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere and nothing inline. Swagger UI brings its icons as data: URLs."""

_SCRIPT = Path(__file__).with_name("docs.js")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{assets}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui" data-description="{description}"></div>
<noscript>This page needs JavaScript. The description itself is at <a href="{description}">{description}</a>.</noscript>
<script src="{assets}/swagger-ui-bundle.js"></script>
<script src="docs.js"></script>
</body>
</html>
"""


def add_pages(app: web.Application, prefix: str, description: dict[str, Any], assets_url: str) -> None:
    """Serve the description and its viewer; nobody needs to sign in to read them."""
    text = msgspec.json.encode(description)
    etag = f'"{hashlib.blake2b(text, digest_size=8).hexdigest()}"'
    address = f"{description['servers'][0]['url']}/openapi.json"
    page = _PAGE.format(title=escape(description["info"]["title"]), assets=escape(assets_url), description=address)
    script = _SCRIPT.read_bytes()

    async def show_description(request: web.Request) -> web.Response:
        headers = {hdrs.ETAG: etag, hdrs.CACHE_CONTROL: "no-cache"}
        if etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=text, content_type="application/json", headers=headers)

    async def show_page(_: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": CSP, "Referrer-Policy": "no-referrer"}
        return web.Response(text=page, content_type="text/html", headers=headers)

    async def show_script(_: web.Request) -> web.Response:
        return web.Response(body=script, content_type="text/javascript", headers={hdrs.CACHE_CONTROL: "no-cache"})

    app.router.add_get(f"{prefix}/openapi.json", show_description)
    app.router.add_get("/docs", show_page)
    app.router.add_get("/docs.js", show_script)
