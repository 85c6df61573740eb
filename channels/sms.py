"""What all SMS providers have in common: who a sender is, what a STOP does, how a form of theirs is read.

Within the hub a peer is a number in E.164 with its plus, a short code or a sender's name; every channel writes it as
its provider wants it. Who comes with a number is known by it (`phone`), for the networks vouch for it; short codes and
names (`MyBank`) are addresses of their own (`sms_sender`), which nobody can be called at.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from pydantic import Field

from channels import sms_text
from channels.contract import ParseContext, Part, Tools
from channels.errors import Undeliverable
from channels.fields import Fields
from core.kernel import addresses
from core.kernel.addresses import PHONE, Address
from core.kernel.envelopes import Attachment, Claim, Event, Incoming, MediaKind, Signal, Trust
from webhooks import charsets, urlencoded
from webhooks.errors import Malformed
from webhooks.request import RawRequest, Reply

SENDER = "sms_sender"
"""Scheme of senders that are no phone: short codes, names."""

_LONGEST_SENDER = 60
_NUMBER = re.compile(r"\+?[0-9\s().\-/\u00a0]+")
_SHORT_CODE = 6  # digits; the shortest numbers with a country have more
_MMS = ("+1", "+61")  # where SMS providers carry MMS: North America, Australia


# --- who ---


def sender(raw: str, country: str = "", *, is_international: bool = True) -> Address | None:
    """Return the address of whom a provider names as sender or recipient; None for nobody.

    `is_international`: the provider writes the country's code first, with or without a plus.
    """
    text = " ".join(charsets.clean(raw[:200]).split())[:_LONGEST_SENDER]
    if not text:
        return None
    digits = re.sub(r"[^0-9]", "", text)
    if _NUMBER.fullmatch(text) and len(digits) > _SHORT_CODE:
        number = addresses.phone("+" + digits, "") if is_international or text.startswith("+") else None
        number = number or addresses.phone(text, country)
        if number:
            return Address(PHONE, number)
    return Address(SENDER, text)


def peer_named(raw: str) -> str:
    """Return what to call somebody whom a report names, as their messages do; "" for nobody."""
    found = sender(raw)
    return found.value if found else ""


def peer_key(raw: str) -> str:
    """Return what tells peers apart before the country is known: the same for every spelling with a country's code."""
    digits = re.sub(r"[^0-9]", "", raw[:200])
    return digits[-15:] if len(digits) > _SHORT_CODE else " ".join(charsets.clean(raw[:200]).split())[:_LONGEST_SENDER]


def per_second(usual: float) -> Any:
    """Return the field of settings for how fast the account may send; `usual` is what any account of theirs may."""
    return Field(
        usual,
        title="Messages a second",
        description="No more go out, however many wait. What your account may is in your contract or their console.",
        gt=0,
        le=1000,
        json_schema_extra={"advanced": True},
    )


class SmsPeers:
    """Which addresses an SMS channel can write to, and how peers are called: the half of `Sender` they share."""

    def peer_of(self, address: Address) -> str | None:
        """Return the number in E.164, or a short code; names take no answers."""
        if address.scheme == PHONE:
            return address.value
        return address.value if address.scheme == SENDER and address.value.isdecimal() else None

    def address_of(self, peer: str) -> Address:
        """Return the phone, or the short code or name it is."""
        return sender(peer) or Address(SENDER, peer)


def digits_of(peer: str) -> str:
    """Return a number as most providers want it: digits, country first, no plus."""
    return peer.removeprefix("+")


# --- what they said ---


def received(
    said: str,
    text: str,
    context: ParseContext,
    *,
    external_id: str,
    is_international: bool = True,
    occurred_at: datetime | None = None,
    attachments: Sequence[Attachment] = (),
    group: str = "",
    piece: tuple[str, str] = ("", ""),
    claims: Sequence[Claim] = (),
    peer: str = "",
    **more: Any,
) -> list[Event]:
    """Return the message of a sender, and the signal it is as well if it says STOP or START.

    `said` is the sender as the provider writes it. `piece` is the number of a part of a long SMS and how many there
    are, `group` what all of them share: the hub joins them. `claims` and `peer` go before what `said` gives.
    """
    if not claims and (found := sender(said, context.default_country, is_international=is_international)):
        claims = [Claim(found, said[:_LONGEST_SENDER], Trust.ATTESTED)]
        peer = peer or found.value
    part, parts = piece
    events: list[Event] = [
        Incoming(
            external_id=external_id,
            peer=peer,
            occurred_at=occurred_at,
            claims=tuple(claims),
            text=text,
            attachments=tuple(attachments),
            group=group,
            context={"concat_part": part, "concat_parts": parts} if group and part else {},
            **more,
        )
    ]
    signal = "opted_out" if sms_text.is_stop(text) else "opted_in" if sms_text.is_start(text) else ""
    if signal and claims and not group:
        events.append(Signal(kind=signal, peer=peer, occurred_at=occurred_at, claims=tuple(claims)))  # type: ignore[arg-type]
    return events


def opted_out(said: str, occurred_at: datetime | None = None) -> list[Event]:
    """Return the signal that somebody wants nothing from us, as a status report of the provider says it."""
    found = sender(said)
    if found is None:
        return []
    claims = (Claim(found, said[:_LONGEST_SENDER], Trust.ATTESTED),)
    return [Signal(kind="opted_out", peer=found.value, occurred_at=occurred_at, claims=claims)]


def media_kind(content_type: str) -> MediaKind:
    """Return the kind a file's type makes it."""
    main = content_type.partition("/")[0].strip().lower()
    return main if main in ("image", "audio", "video") else "file"  # type: ignore[return-value]


# --- reading requests ---


def parameters(request: RawRequest) -> list[tuple[str, str]]:
    """Return names and values of the query, then of the body (urlencoded, or a flat JSON object), as they were sent.

    Values are not cleaned, since signatures are made over them.

    Raises:
        Malformed: they cannot be read.
    """
    return [*urlencoded.pairs(request.query), *body_parameters(request)]


def body_parameters(request: RawRequest) -> list[tuple[str, str]]:
    """Return names and values of the body alone.

    Raises:
        Malformed: they cannot be read.
    """
    if not request.body.strip():
        return []
    if request.body[:64].lstrip()[:1] in (b"{", b"["):
        try:
            found = Fields(msgspec.json.decode(request.body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"The body looks like JSON, but cannot be read: {str(error)[:200]}") from error
        if len(found.keys()) > urlencoded.MOST_FIELDS:
            raise Malformed(f"The request has too many fields: {urlencoded.MOST_FIELDS} are taken")
        return [(name, _written(found.at(name))) for name in found.keys()]  # noqa: SIM118
    return urlencoded.pairs(request.body.decode("utf-8", "replace"))


def _written(value: Fields) -> str:
    return value.value if isinstance(value.value, str) else value.text()


class Said:
    """A provider's flat request to be read by names, whatever their case. Of a repeated name the last value counts."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values = {name.lower(): value for name, value in pairs}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def text(self, *names: str) -> str:
        """Return the first of these that says something, cleaned; "" where none does."""
        for name in names:
            if value := self._values.get(name.lower(), ""):
                return charsets.clean(value)
        return ""

    def id(self, *names: str) -> str:
        """Return the first of these as an id: on one line, cut to what an id may be."""
        return Fields(self.text(*names)).id()

    def whole(self, *names: str) -> int | None:
        """Return the first of these as a whole number."""
        return Fields(self.text(*names)).whole()

    def moment(self, *names: str) -> datetime | None:
        """Return the first of these as a moment: seconds since 1970, or written out (UTC where it names no zone)."""
        return Fields(re.sub(r"(?<=\d) (?=\d\d:?\d\d$)", "+", self.text(*names))).moment()


def said(request: RawRequest) -> Said:
    """Read a request.

    Raises:
        Malformed: it cannot be read.
    """
    return Said(parameters(request))


def short_moment(written: str) -> datetime | None:
    """Read `YYMMDDhhmm[ss]`, as networks write when they were done (SMPP 3.4 appendix B), taken for UTC."""
    try:
        return datetime.strptime(written[:10], "%y%m%d%H%M").replace(tzinfo=UTC) if written.isdecimal() else None
    except ValueError:
        return None


def digest(*content: str | bytes) -> str:
    """Return a short stand-in for content that has no id."""
    found = hashlib.blake2b(digest_size=16)
    for piece in content:
        found.update(piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace"))
        found.update(b"\0")
    return found.hexdigest()


PLAIN_OK = Reply(b"", 200, "text/plain")
"""What a provider that wants nothing in particular is told."""


# --- sending ---


def status_url(tools: Tools, part: Part, **more: str) -> str:
    """Return where the provider is to report on a part: it names the part, so that a report may come before our
    request has been answered. "" where the hub has no public address.
    """
    if not tools.hook_url:
        return ""
    extra = "".join(f"&{name}={value}" for name, value in more.items())
    return f"{tools.hook_url}/status?part={quote(part.id, safe='')}{extra}"


def our_part(request: RawRequest) -> str:
    """Return the id of the part a report is about, as `status_url` put it into the query."""
    try:
        found = dict(urlencoded.pairs(request.query)).get("part", "")
    except ValueError:
        return ""
    return Fields(found).id()


def carries_media(peer: str) -> bool:
    """Tell whether MMS goes to a number at all."""
    return peer.startswith(_MMS)


def words(part: Part, *, with_links: bool = False) -> str:
    """Return the text to send, typographic characters made plain where that saves parts.

    `with_links`: files go as addresses below it.

    Raises:
        Undeliverable: a file has no public address, or there is nothing to say.
    """
    lines = [part.text] if part.text else []
    if with_links:
        lines += media_urls(part)
    text = "\n".join(lines)
    if not text.strip() and not part.files:
        raise Undeliverable("There is nothing to send: an SMS needs a text", code="empty")
    return sms_text.plain(text)


def media_urls(part: Part) -> list[str]:
    """Return the addresses of a part's files, for providers that fetch them.

    Raises:
        Undeliverable: the hub has no public address, so that nobody can fetch them.
    """
    if any(not file.url for file in part.files):
        raise Undeliverable(
            "The file cannot be sent: the provider fetches files, and the hub has no public address. "
            "Set SWITCHYARD_PUBLIC_URL, or send the text alone",
            code="no_public_url",
        )
    return [file.url for file in part.files]


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of HTTP basic authentication; aiohttp takes it off again where it is sent to another host."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def without_empty(fields: Mapping[str, str]) -> dict[str, str]:
    """Return a form without the fields that say nothing."""
    return {name: value for name, value in fields.items() if value}
