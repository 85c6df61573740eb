"""Any form on the company's website, posted straight to us.

Reaches   nobody: it only receives
Set up    paste the snippet, or point a form's `action` at the hook's address
Calls us  POST /hooks/<connection>: urlencoded, multipart or JSON; a GET with the fields in the query works too
Checks    nothing secret is on a public page, so anybody who can read it can post. `allowed_origins` keeps other
          people's pages out: a request whose Origin header is not on the list is refused. A request without one is
          taken: servers, curl and old browsers send none. With an empty list any page may post, so that a pasted form
          works at once, but only listed origins get CORS headers, without which a script cannot read the answer or
          post JSON across origins.
Repeats   the same `submission_id` is one request for ever; without it, the same content from the same client within
          60 seconds is
Quirks    a filled honeypot (`trap`) is acknowledged like any request and then ignored, so that a bot learns nothing
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from typing import ClassVar
from urllib.parse import quote

from pydantic import Field, field_validator

from channels import form_answers, form_fields, origins
from channels.contract import ChannelSettings, Group, ParseContext, Routed
from channels.form_fields import Meant
from core.kernel.envelopes import Attribution, Event
from webhooks import charsets, forms, multiparts
from webhooks.errors import Malformed, Refused
from webhooks.forms import FormData
from webhooks.request import RawRequest, Reply

REPEAT_WITHIN = timedelta(seconds=60)
_SMALL = 16_384
_MIDDLING = 1_048_576
_LONGEST_ADDRESSES = 1_000
_MOST_CLAIMS = 10  # nobody has more; what is beyond is shown as a field
_NOT_CONTENT = frozenset({"trap", "redirect", "_charset_"})
_MARKS = tuple(Attribution.__struct_fields__)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")


class WebForm:
    """Receives website forms."""

    kind: ClassVar[str] = "webform"
    title: ClassVar[str] = "Website form"
    group: ClassVar[Group] = "form"
    account = ""

    class Settings(ChannelSettings):
        """What an administrator fills in.

        allowed_origins  sites whose pages may post, `https://www.example.com`; empty: any; `*`: any, with CORS
        redirects        pages that a form's `redirect` field may send its visitor to, or what lies below them
        """

        allowed_origins: tuple[str, ...] = Field(
            (),
            title="Sites that may post",
            description="One a line, such as https://www.example.com. Empty: any page may post, but no script may read "
            "the answer.",
        )
        redirects: tuple[str, ...] = Field(
            (),
            title="Pages to send visitors to",
            description="One a line. A form's field `redirect` may name one of them, or a page below it.",
        )

        @field_validator("allowed_origins", mode="before")
        @classmethod
        def _read_origins(cls, setting: object) -> tuple[str, ...]:
            return origins.origins(setting)

        @field_validator("redirects", mode="before")
        @classmethod
        def _read_redirects(cls, setting: object) -> tuple[str, ...]:
            return origins.pages(setting)

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(settings.allowed_origins)
        self._redirects = settings.redirects

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The sites whose pages may post and read the answer; empty: any may post, none may read."""
        return self._origins

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check that the page may post here and that the body can be read and says something.

        Raises:
            Refused: the page is not on the list. Malformed: the body is empty, unreadable or says nothing.
        """
        origin = request.headers.get("origin")
        if origin and self._origins and not self._may_post(origin, request):
            raise Refused(
                f"This form is not accepted from pages of {charsets.clean(origin[:200])}. "
                "Add that address to the connection's allowed origins."
                + (" A page with Referrer-Policy: no-referrer hides its own: relax that." if origin == "null" else "")
            )
        form, meant = _read(request)
        useful = form.files or any(value for _, value in meant.others)
        if not useful and form_fields.SERVICE.issuperset(meant.known) and "trap" not in meant.known:
            raise Malformed("Nothing was sent: no field of the form is filled in.")

    def route(self, request: RawRequest) -> Routed:
        """Tell what makes two requests the same and whose they are.

        Raises:
            Malformed: as in `verify`.
        """
        form, meant = _read(request)
        peer = form_answers.peer(meant)
        submission = meant.first("submission_id")
        if submission:
            return Routed(f"id:{form_answers.short(submission)}", None, peer)
        said = sorted(pair for pair in form.fields if pair[0] not in _NOT_CONTENT)
        sent = [(file.name, file.filename, file.size) for file in form.files]
        content = repr((said, sent, request.client, request.headers.get("user-agent", "")))
        return Routed("content:" + hashlib.blake2b(content.encode(), digest_size=16).hexdigest(), REPEAT_WITHIN, peer)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a form into the one event it is.

        `external_id` is the form's own submission id, or "" where it has none: the caller then takes the delivery's id,
        which a replay of that delivery has again.

        Raises:
            Unsupported: the honeypot was filled in, so a program did it. Malformed: as in `verify`.
        """
        form, meant = _read(request)
        return [
            form_answers.incoming(
                meant,
                context.default_country,
                external_id=meant.first("submission_id"),
                language=_language(meant, request),
                attachments=form_answers.enclosed(form),
                page=request.headers.get("referer", ""),
            )
        ]

    def read_part(self, request: RawRequest, part: int) -> bytes | None:
        """Return a file of the form; None if there is no such part."""
        return multiparts.read_part(request.body, request.headers.get("content-type", ""), part)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer a script in JSON, and a browser that is on its way with the page to go to.

        That page is the form's `redirect` if the connection allows it, else the hub's `/f/thanks`.
        """
        if not _is_navigation(request):
            body = json.dumps({"ok": True, "reference": reference}).encode()
            return Reply(body, headers=self.cors_headers(request))
        target = ""
        with suppress(Malformed):  # what cannot be read names no page
            target = _read(request)[1].first("redirect")
        if not (target and origins.permitted(target, self._redirects)):
            target = f"/f/thanks?reference={quote(reference, safe='')}"
        return Reply(b"", 303, "text/plain", {"Location": target, "Cache-Control": "no-store"})

    def cors_headers(self, request: RawRequest) -> Mapping[str, str]:
        """Return what lets a page of a listed origin read the answer, errors included (Fetch Standard §3.2)."""
        origin = request.headers.get("origin", "")
        if not self._origins:
            return {}
        if not origin or not self._is_listed(origin):
            return {"Vary": "Origin"}
        if origins.ANY in self._origins:
            return {"Access-Control-Allow-Origin": "*"}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}

    def preflight(self, request: RawRequest) -> Reply:
        """Answer OPTIONS: 204 with what is allowed to a listed origin, 403 to any other."""
        allowed = self.cors_headers(request)
        if "Access-Control-Allow-Origin" not in allowed:
            body = json.dumps({"ok": False, "error": "This origin is not on the connection's list."}).encode()
            return Reply(body, 403, headers=allowed)
        return Reply(
            b"",
            204,
            "text/plain",
            {
                **allowed,
                "Access-Control-Allow-Methods": "POST, GET, OPTIONS",
                "Access-Control-Allow-Headers": "Content-Type, X-Requested-With, Idempotency-Key",
                "Access-Control-Max-Age": "86400",
            },
        )

    def _is_listed(self, origin: str) -> bool:
        return origins.ANY in self._origins or origin in self._origins or origins.origin_of(origin) in self._origins

    def _may_post(self, origin: str, request: RawRequest) -> bool:
        """Tell whether it is a listed origin, or our own hosted form."""
        return self._is_listed(origin) or (
            bool(request.url) and origins.origin_of(request.url) == (origins.origin_of(origin) or "-")
        )


# --- reading ---


def _read(request: RawRequest) -> tuple[FormData, Meant]:
    """Read a request, once for `verify`, `route`, `parse` and `acknowledge` together where it is small.

    Raises:
        Malformed: it cannot be read.
    """
    content_type = request.headers.get("content-type", "")
    if len(request.body) <= _SMALL:
        return _remembered(request.body, content_type, request.query)
    if len(request.body) <= _MIDDLING:
        return _just_read(request.body, content_type, request.query)
    return _reading(request.body, content_type, request.query)


def _reading(body: bytes, content_type: str, query: str) -> tuple[FormData, Meant]:
    form = forms.decode(body, content_type, query)
    return form, form_fields.understand(form)


# Bounded in bytes too: 256 of 16 kB, and the last two of 1 MB. What is larger is read each time.
_remembered = lru_cache(maxsize=256)(_reading)
_just_read = lru_cache(maxsize=2)(_reading)


def _language(meant: Meant, request: RawRequest) -> str:
    """Return the language of the person: the form's, else the first their browser asks for; "" when neither says."""
    said = meant.first("language") or request.headers.get("accept-language", "").partition(",")[0].partition(";")[0]
    found = _LANGUAGE.fullmatch(said.strip())
    return found[0].replace("_", "-")[:20] if found else ""


def _is_navigation(request: RawRequest) -> bool:
    """Tell whether a browser will show our answer as a page (Fetch Metadata), rather than hand it to a script."""
    mode = request.headers.get("sec-fetch-mode", "").lower()
    if mode:
        return mode == "navigate"
    if "x-requested-with" in request.headers or request.content_type.endswith("json"):
        return False
    accept = request.headers.get("accept", "").lower()
    return "text/html" in accept and not accept.startswith("application/json")
