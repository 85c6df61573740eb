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
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import Field, field_validator

from channels import form_fields, origins
from channels.contract import ChannelSettings, Group, ParseContext, Routed
from channels.form_fields import Meant
from core.kernel import addresses
from core.kernel.addresses import EMAIL, PHONE, Address
from core.kernel.envelopes import Attachment, Attribution, Claim, Event, Incoming, Trust
from webhooks import charsets, forms, multiparts
from webhooks.errors import Malformed, Refused, Unsupported
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
        peer = _peer(meant)
        submission = meant.first("submission_id")
        if submission:
            short = (
                submission
                if len(submission) <= 200
                else hashlib.blake2b(submission.encode(), digest_size=16).hexdigest()
            )
            return Routed(f"id:{short}", None, peer)
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
        if "trap" in meant.known:
            raise Unsupported("The honeypot was filled in: a program did it, not a person. No lead was made.")
        claims, others = _claims(meant, context.default_country)
        name, left_over = _name(meant)
        return [
            Incoming(
                external_id=meant.first("submission_id")[:200],
                claims=claims,
                name=name,
                company=meant.joined("company"),
                text=meant.joined("message", "\n"),
                subject=meant.joined("subject"),
                language=_language(meant, request),
                fields=_fields([*others, *left_over]),
                attachments=tuple(
                    Attachment(file.filename, file.content_type, file.size, file.part) for file in form.files
                ),
                attribution=_attribution(meant, request),
                consent=meant.joined("consent") or None,
                is_form=True,
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


def _peer(meant: Meant) -> str:
    """Name the person cheaply, whatever the spelling; wrong only for numbers that share their last ten digits."""
    for value in meant.values("phone", "either"):
        digits = "".join(character for character in value[:100] if character.isdecimal())
        if len(digits) >= 7:
            return f"{PHONE}:{digits[-10:]}"
    for value in meant.values("email", "either", "phone"):
        if "@" in value:
            return f"{EMAIL}:{value.lower()[:200]}"
    return ""


def _claims(meant: Meant, country: str) -> tuple[tuple[Claim, ...], list[tuple[str, str]]]:
    """Find the addresses, each value by its shape rather than its field, and what is left to be shown as it is."""
    claims: dict[Address, Claim] = {}
    unread: list[tuple[str, str]] = []
    for label, value in (pair for what in ("phone", "email", "either") for pair in meant.known.get(what, ())):
        found = _addresses(value, country) if len(claims) < _MOST_CLAIMS else []
        for address in found[: _MOST_CLAIMS - len(claims)]:
            claims.setdefault(address, Claim(address, value, Trust.TYPED))
        if not claims.keys() & found:
            unread.append((label, value))
    if not claims:
        # a builder's nameless fields (`text-583`): only what cannot be anything else is taken for an address
        for _, value in meant.others:
            if evident := _evident(value, country):
                claims.setdefault(evident, Claim(evident, value, Trust.TYPED))
    ordered = sorted(claims.values(), key=lambda claim: claim.address.scheme != PHONE)
    return tuple(ordered), [*meant.others, *unread]


def _addresses(value: str, country: str) -> list[Address]:
    """Read the phones and e-mails in what was typed into a field for either."""
    if len(value) > _LONGEST_ADDRESSES:
        return []
    if "@" not in value:
        return [Address(PHONE, number) for number in addresses.phones(value, country)]
    found = []
    for piece in [value] if value.count("@") == 1 and not re.search(r"[,;\s]", value) else re.split(r"[,;\s]+", value):
        if "@" in piece and (mail := addresses.email(piece)):
            found.append(Address(EMAIL, mail))
    rest = re.sub(r"\S*@\S*", " ", value)
    return [Address(PHONE, number) for number in addresses.phones(rest, country)] + found


def _evident(value: str, country: str) -> Address | None:
    """Read an address that says by itself that it is one: an e-mail, or a whole number written as phones are."""
    if len(value) > 100:
        return None
    if "@" in value:
        mail = addresses.email(value)
        return Address(EMAIL, mail) if mail else None
    if not re.fullmatch(r"\+\d[\d\s().-]{8,22}|\d[\d\s.-]*\(\d+\)[\d\s.-]{5,}", value):
        return None
    number = addresses.phone(value, country)
    return Address(PHONE, number) if number else None


def _name(meant: Meant) -> tuple[str, list[tuple[str, str]]]:
    """Make one name of what there is, and tell what other names were given."""
    names = meant.known.get("name", [])
    parts = [meant.first(part) for part in ("first_name", "middle_name", "last_name")]
    if not names:
        return _one_line(" ".join(part for part in parts if part)), []
    name = names[0][1]
    if not parts[0] and parts[2] and parts[2].casefold() not in name.casefold():
        # "Имя" and "Фамилия" side by side: the first of them is only the given name
        name = " ".join(part for part in (name, parts[1], parts[2]) if part)
    left_over = [pair for pair in names[1:] if pair[1].casefold() not in name.casefold()]
    return _one_line(name), left_over


def _one_line(text: str) -> str:
    """Put a name on one line and keep it to what is a name."""
    return " ".join(text.split())[:300]


def _fields(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Keep the other fields in order, repeats joined."""
    fields: dict[str, Any] = {}
    for label, value in pairs:
        if not fields.get(label):
            fields[label] = value
        elif value:
            fields[label] = f"{fields[label]}, {value}"
    return fields


def _attribution(meant: Meant, request: RawRequest) -> Attribution:
    """Read where the visitor came from; marks that no field holds are looked for in the page's own address."""
    marks = {mark: meant.first(mark)[:2_000] for mark in _MARKS if mark in meant.known}
    if "landing_page" not in marks and (page := request.headers.get("referer", "")):
        marks["landing_page"] = charsets.clean(page[:2_000])
    if not any(mark.startswith("utm_") for mark in marks):
        for page in (marks.get("landing_page", ""), marks.get("referrer", "")):
            if "?" not in page:
                continue
            for name, value in _query(page):
                mark = form_fields.meaning(name)
                if mark in _MARKS and mark not in ("referrer", "landing_page") and value.strip():
                    marks.setdefault(mark, charsets.clean(value.strip()))
    return Attribution(**marks)


def _query(page: str) -> list[tuple[str, str]]:
    """Return the names and values in the query of an address, none of a broken one."""
    try:
        return parse_qsl(urlsplit(page).query, max_num_fields=100)
    except ValueError:
        return []


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
