"""The chat widget: a conversation on the company's own pages.

Reaches   visitors who have written there before, in the browser they did it in
Set up    paste the script tag into the site, and list the site's address below "Sites it may stand on"
Calls us  the widget's script: words over its WebSocket, which the hub makes into requests of the method WIDGET; files
          by POST /w/<connection>/files, multipart, the same record as its field `message`
Checks    every visitor has a pass that we gave them: a random id and an HMAC of it under a secret of the connection, as
          `Authorization: Bearer`. `allowed_origins` keeps other people's pages out
Repeats   each message has an id that the browser made; the same visitor's same id is the same message, for ever
Quirks    nobody has to take what we send: it is sent once it is stored, and the visitor's browser shows it when it is
          there (hub.widget_line). What a visitor types into the fields for a name, an e-mail or a phone is their word
          alone; only the pass says who they are
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Literal

import msgspec
from pydantic import Field, SecretStr, field_validator

from channels import form_answers, form_fields, origins
from channels.contract import (
    Capability,
    ChannelSettings,
    Group,
    Media,
    ParseContext,
    Part,
    Receipt,
    Routed,
    Sending,
    Tools,
)
from channels.fields import Fields
from channels.form_fields import Answer
from channels.shared_secret import same
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Attribution, Claim, Event, Trust
from webhooks import charsets, forms, multiparts
from webhooks.errors import BadSignature, Malformed, NotConfigured, Refused, TooLarge
from webhooks.forms import File
from webhooks.request import RawRequest, Reply

METHOD = "WIDGET"
"""What the hub calls the method of a request that came over a visitor's WebSocket."""

LONGEST_TEXT = 4_000
MOST_FILES = 10
MOST_FILE_BYTES = 10 * 1024 * 1024
"""All files of one message together."""

_OURS = 50 * 1024 * 1024  # bytes of a file that we send
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_VISITOR = re.compile(r"[A-Za-z0-9_-]{16,40}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_MARKS = tuple(Attribution.__struct_fields__)
_LONGEST_MARK = 2_000
_LONGEST_CONTACT = 300

Language = Literal["", "en", "ru", "sl", "et", "hy"]


class Widget:
    """Talks with visitors of the company's pages."""

    kind: ClassVar[str] = "widget"
    title: ClassVar[str] = "Chat widget"
    group: ClassVar[Group] = "chat"
    account = ""
    sending: ClassVar[Sending] = Sending(
        text=8_000,
        caption=8_000,
        media={kind: Media(_OURS) for kind in ("image", "audio", "voice", "video", "file")},
        album=20,
        capabilities=frozenset({Capability.DELIVERY_RECEIPTS, Capability.READ_RECEIPTS}),
        retries_safely=True,
    )

    class Settings(ChannelSettings):
        """What an administrator fills in.

        allowed_origins  sites whose pages may show the widget, `https://www.example.com`; empty or `*`: any
        redirects        pages that the script tag's `data-redirect` may send a visitor to who left a message while
                         nobody was there
        secret           what visitors' passes are made with: a new one, and all are strangers again
        """

        allowed_origins: tuple[str, ...] = Field(
            (),
            title="Sites it may stand on",
            description="One a line, such as https://www.example.com. Empty: any page may show it.",
        )
        title: str = Field(
            "", max_length=50, title="Heading", description="Stands above the chat. Empty: the company's name."
        )
        greeting: str = Field(
            "",
            max_length=300,
            title="Greeting",
            description="The first thing a visitor reads. Empty: a few words in their language.",
        )
        colour: str = Field(
            "", title="Colour", description="Of the button and the visitor's words, such as #3b5bdb. Empty: blue."
        )
        position: Literal["right", "left"] = Field("right", title="Corner of the page")
        theme: Literal["auto", "light", "dark"] = Field(
            "auto", title="Light or dark", description="`auto` follows the visitor's own choice."
        )
        language: Language = Field(
            "",
            title="Language",
            description="Empty: that of the page it stands on, else English.",
        )
        ask_for: Literal["nothing", "name", "email", "phone"] = Field(
            "nothing",
            title="Ask before the first message",
            description="Fewer people write when they are asked. Outside working hours an e-mail or a phone is asked "
            "for in any case.",
        )
        offline_hint: str = Field(
            "",
            max_length=300,
            title="What to say outside working hours",
            description="Empty: that you will answer when you are back, in the visitor's language.",
        )
        shows_names: bool = Field(
            True, title="Show who answers", description="The first name of whoever wrote the answer stands beside it."
        )
        redirects: tuple[str, ...] = Field(
            (),
            title="Pages to send visitors to",
            description="One a line. The script tag's `data-redirect` may name one of them, or a page below it, to be "
            "opened once a message was left outside working hours.",
            json_schema_extra={"advanced": True},
        )
        secret: SecretStr = Field(
            SecretStr(""),
            title="Key of the visitors' passes",
            description="A new one makes every visitor a stranger: their browsers begin again with an empty chat.",
            json_schema_extra={"made": True, "advanced": True},
        )

        @field_validator("allowed_origins", mode="before")
        @classmethod
        def _read_origins(cls, setting: object) -> tuple[str, ...]:
            return origins.origins(setting)

        @field_validator("redirects", mode="before")
        @classmethod
        def _read_redirects(cls, setting: object) -> tuple[str, ...]:
            return origins.pages(setting)

        @field_validator("colour")
        @classmethod
        def _read_colour(cls, setting: str) -> str:
            if setting and not re.fullmatch(r"#[0-9A-Fa-f]{6}", setting):
                raise ValueError("write it as # and six digits, such as #3b5bdb")
            return setting.lower()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._origins = frozenset(settings.allowed_origins)
        self._secret = settings.secret.get_secret_value()

    # --- visitors ---

    def pass_of(self, visitor: str) -> str:
        """Return what a visitor's browser proves itself by."""
        digest = hmac.new(self._secret.encode(), b"visitor:" + visitor.encode(), hashlib.sha256).digest()
        return f"{visitor}.{base64.urlsafe_b64encode(digest[:24]).decode()}"

    def visitor_of(self, given: str) -> str | None:
        """Return whose pass it is; None if it is none of ours.

        Raises:
            NotConfigured: the connection has no secret to make passes with.
        """
        if not self._secret:
            raise NotConfigured("This chat has no key for its visitors yet. Save its settings once to have one made")
        visitor = given.partition(".")[0]
        is_ours = bool(_VISITOR.fullmatch(visitor)) and same(given, self.pass_of(visitor))
        return visitor if is_ours else None

    def admits(self, origin: str, own: str = "") -> bool:
        """Tell whether the widget may stand on pages of an origin; `own` is an address of the hub itself."""
        if not self._origins or origins.ANY in self._origins:
            return True
        canonical = origins.origin_of(origin)
        return canonical is not None and (canonical in self._origins or canonical == origins.origin_of(own))

    # --- what comes in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the pass, the page, and that something was said that we can take.

        Raises:
            NotConfigured, BadSignature, Refused, Malformed, TooLarge: it is not taken; nothing is stored.
        """
        visitor = self.visitor_of(request.headers.get("authorization", "").removeprefix("Bearer ").strip())
        if visitor is None:
            raise BadSignature("This is no pass of ours. Reload the page to get a new one")
        origin = request.headers.get("origin", "")
        if origin and not self.admits(origin, request.url):
            raise Refused(
                f"This chat does not stand on pages of {charsets.clean(origin[:200])}. "
                "Add that address to the channel's sites."
            )
        said, files = _read(request)
        if not same(said.text("visitor"), visitor):
            raise BadSignature("The message is another visitor's than the pass")
        if not _ID.fullmatch(said.text("id")):
            raise Malformed("A message needs an id of 8 to 64 letters and digits")
        if len(said.text("text")) > LONGEST_TEXT:
            raise TooLarge(f"A message has at most {LONGEST_TEXT} characters")
        if len(files) > MOST_FILES or sum(file.size for file in files) > MOST_FILE_BYTES:
            raise TooLarge(f"Send at most {MOST_FILES} files of {MOST_FILE_BYTES // 1_048_576} MB together")
        if not said.text("text").strip() and not any(file.size for file in files):
            raise Malformed("Nothing was said")

    def route(self, request: RawRequest) -> Routed:
        """Tell what makes two messages the same and whose they are.

        Raises:
            Malformed: it cannot be read.
        """
        said, _ = _read(request)
        visitor = said.id("visitor")[:40]
        return Routed(f"{visitor}:{said.id('id')[:64]}", None, visitor)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a message of a visitor.

        Raises:
            Malformed: it cannot be read.
        """
        said, files = _read(request)
        visitor, message = said.id("visitor")[:40], said.id("id")[:64]
        if not visitor or not message:
            raise Malformed("The message does not say whose it is")
        typed = [Answer(name, name, said.text(name)[:_LONGEST_CONTACT]) for name in ("name", "email", "phone")]
        marks = {mark: said.text("marks", mark)[:_LONGEST_MARK] for mark in _MARKS}
        page = said.text("page")[:_LONGEST_MARK]
        left = form_answers.incoming(
            form_fields.sort(typed),
            context.default_country,
            external_id=f"{visitor}:{message}",
            language=_language(said.text("language")),
            attachments=[_enclosed(file) for file in files],
            page=page,
            marks=marks,
            more={"page": page} if page and page != marks["landing_page"] else {},
        )
        address = self.address_of(visitor)
        known = Claim(address, visitor, Trust.VERIFIED)
        return [
            msgspec.structs.replace(
                left, peer=visitor, claims=(known, *left.claims), text=said.text("text").strip(), is_form=False
            )
        ]

    def read_part(self, request: RawRequest, part: int) -> bytes | None:
        """Return a file of a message; None if there is no such part."""
        return multiparts.read_part(request.body, request.headers.get("content-type", ""), part)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Tell the browser that the message is safe, and where to go then if the page asked for that and may."""
        body = {"ok": True, "reference": reference}
        try:
            said, _ = _read(request)
        except Malformed:
            said = Fields(None)
        body |= {"id": said.id("id")[:64]}
        target = said.text("redirect")
        if target and origins.permitted(target, self.settings.redirects):
            body["redirect"] = target
        return Reply(json.dumps(body).encode(), headers=self.cors_headers(request))

    def cors_headers(self, request: RawRequest) -> Mapping[str, str]:
        """Return what lets a page the widget stands on read the answer (Fetch Standard §3.2)."""
        origin = request.headers.get("origin", "")
        if not self._origins or origins.ANY in self._origins:
            return {"Access-Control-Allow-Origin": "*"}
        if origin and origin.isascii() and self.admits(origin, request.url):
            return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return {"Vary": "Origin"}

    def preflight(self, request: RawRequest) -> Reply:
        """Answer OPTIONS: 204 with what is allowed to a page it may stand on, 403 to any other."""
        allowed = self.cors_headers(request)
        if "Access-Control-Allow-Origin" not in allowed:
            body = json.dumps({"ok": False, "error": "This site is not on the channel's list."}).encode()
            return Reply(body, 403, headers=allowed)
        more = {
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": "7200",
        }
        return Reply(b"", 204, "text/plain", {**allowed, **more})

    # --- what goes out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Say that the part is sent: it is stored, and the visitor's browser will fetch or be pushed it."""
        return Receipt((part.id,))

    def peer_of(self, address: Address) -> str | None:
        """Return a visitor's id, which is how they are known."""
        return address.value if address.scheme == self.kind else None

    def address_of(self, peer: str) -> Address:
        """Return the address of a visitor. Their id is random, so it is no other connection's."""
        return Address(self.kind, peer)


# --- reading ---


def _read(request: RawRequest) -> tuple[Fields, tuple[File, ...]]:
    """Read the record of a message, and the files that came with it.

    Raises:
        Malformed: it cannot be read.
    """
    body, files = request.body, tuple[File, ...]()
    if request.content_type.startswith("multipart/"):
        form = forms.decode(request.body, request.headers.get("content-type", ""))
        body, files = form.first("message").encode("utf-8", "replace"), form.files
    try:
        said = Fields(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The message is no JSON: {str(error)[:200]}") from error
    if not isinstance(said.value, dict):
        raise Malformed("The message is JSON, but no object")
    return said, tuple(file for file in files if file.size)


def _enclosed(file: File) -> Attachment:
    family = file.content_type.partition("/")[0]
    kind: Literal["image", "audio", "video", "file"] = "file"
    if family in ("image", "audio", "video"):
        kind = family  # type: ignore[assignment]
    return Attachment(file.filename, file.content_type, file.size, file.part, kind=kind)


def _language(said: str) -> str:
    return said.replace("_", "-")[:20] if len(said) <= 40 and _LANGUAGE.fullmatch(said) else ""
