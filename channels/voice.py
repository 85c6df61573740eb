"""What all telephony channels have in common: the rules of their calls, the question who rings, how numbers are read.

A number is passed on as the provider writes it; the core reads it, for only it knows the country and the extensions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from pydantic import Field, SecretStr

from channels import shared_secret
from channels.contract import Advice, ChannelSettings
from channels.fields import Fields
from core.kernel.envelopes import CallRules
from webhooks import charsets, urlencoded
from webhooks.errors import BadSignature, Malformed
from webhooks.request import RawRequest, Reply

LOOKUP = "lookup"
"""The end of the hook's path at which a PBX asks who rings."""

_LONGEST = 200  # letters of a number, an extension or an id that are kept
_TECHNOLOGY = re.compile(r"^(?:PJSIP|SIP|IAX2|Local|DAHDI|sofia/[^/]+|user|loopback)/", re.IGNORECASE)
_SIP = re.compile(r"^sips?:([^@;>]+)(?:@.*)?$", re.IGNORECASE)


class VoiceSettings(ChannelSettings):
    """What an administrator decides for any telephony connection."""

    secret: SecretStr = Field(
        SecretStr(""),
        title="Secret for questions who rings",
        description="Your PBX carries it as the query's `token` when it asks at the hook's address, ended by /lookup.",
        json_schema_extra={"made": True, "advanced": True},
    )
    call_back_minutes: int = Field(
        15,
        title="Call back within, minutes",
        description="Working minutes within which somebody who rang in vain has to be called.",
        ge=1,
        le=10_000,
        json_schema_extra={"advanced": True},
    )
    proof_seconds: int = Field(
        20,
        title="A conversation counts from, seconds",
        description="An answered call of at least this length shows that a task to call was done.",
        ge=0,
        le=3600,
        json_schema_extra={"advanced": True},
    )
    internal_digits: int = Field(
        5,
        title="Longest extension, digits",
        description="Shorter numbers are colleagues or services: no contact is made of them.",
        ge=2,
        le=7,
        json_schema_extra={"advanced": True},
    )
    after_hours_text: str = Field(
        "",
        title="SMS after hours",
        description="Sent to whoever rings while you are closed, through the channel chosen for answers. {time} is "
        "when you open. Leave empty to send nothing.",
        max_length=600,
        json_schema_extra={"advanced": True},
    )
    keep_recordings_days: int = Field(
        0,
        title="Keep recordings, days",
        description="Older ones are deleted; 0 keeps them for ever.",
        ge=0,
        le=3650,
        json_schema_extra={"advanced": True},
    )

    @property
    def rules(self) -> CallRules:
        """The same as the core wants it."""
        return CallRules(
            self.call_back_minutes,
            self.proof_seconds,
            self.internal_digits,
            self.after_hours_text.strip(),
            self.keep_recordings_days,
        )


class Consulted:
    """Answers the question who rings, for any PBX that can call an address while it rings: half of `Consulter`.

    `GET /hooks/{key}/lookup?number=…&token=…` gives JSON; with `format=plain` one line, its fields set apart by `|`:
    extension, name, manager, language, number of the contact. All are empty for somebody unknown.
    """

    _secret: SecretStr
    can_dial: bool = True

    def asked(self, request: RawRequest) -> str | None:
        """Return the number a request asks about; None for one that asks nothing."""
        if not self.is_question(request):
            return None
        query = _query(request)
        return next((query[name] for name in ("number", "from", "caller", "phone") if query.get(name)), "")

    def is_question(self, request: RawRequest) -> bool:
        """Whether the request only asks."""
        return request.suffix.strip("/").rpartition("/")[2] == LOOKUP

    def check_question(self, request: RawRequest) -> bool:
        """Check the secret of a question; False for a request that is none.

        Raises:
            BadSignature, NotConfigured: it does not carry it.
        """
        if not self.is_question(request):
            return False
        shared_secret.check(request, self._secret)
        return True

    def advise(self, request: RawRequest, advice: Advice) -> Reply:
        """Say what we know."""
        if _query(request).get("format") == "plain":
            said = (advice.extension, advice.name, advice.manager, advice.language, advice.contact_id)
            line = "|".join(" ".join(part.replace("|", " ").split()) for part in said)
            return Reply(line.encode(), content_type="text/plain; charset=utf-8")
        return Reply(
            msgspec.json.encode(
                {
                    "known": advice.is_known,
                    "name": advice.name,
                    "extension": advice.extension,
                    "manager": advice.manager,
                    "language": advice.language,
                    "contact_id": advice.contact_id or None,
                    "url": advice.url,
                }
            )
        )


def _query(request: RawRequest) -> dict[str, str]:
    """Read the query; a `+` that a dialplan did not escape stays a plus, for numbers have no blanks worth keeping."""
    try:
        pairs = parse_qsl(request.query.replace("+", "%2B"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return {}
    return {name: charsets.clean(value)[:_LONGEST] for name, value in pairs}


def signed_hex(found: str, expected: str) -> None:
    """Compare a signature that was sent with the right one.

    Raises:
        BadSignature: they differ.
    """
    if not shared_secret.same(found.strip().lower(), expected):
        raise BadSignature("The signature is not right. Nothing was stored")


def extension_of(written: str) -> str:
    """Return the extension in what a PBX calls a phone: `PJSIP/101-0000002a`, `sip:101@pbx`, `101`; "" for nothing."""
    text = " ".join(charsets.clean(written[:_LONGEST]).split())
    text = _TECHNOLOGY.sub("", text)
    if found := _SIP.match(text):
        text = found[1]
    text = text.partition("@")[0]
    stem, dash, tail = text.rpartition("-")
    if dash and re.fullmatch(r"[0-9a-f]{8}", tail):
        text = stem
    return text.strip()


def number_of(written: str) -> str:
    """Return a number as it is kept: without what a database cannot keep, and not longer than numbers are."""
    return " ".join(charsets.clean(written[:_LONGEST]).split())


def digest(*parts: str | bytes) -> str:
    """Return a short fingerprint of texts, in order: the key of an event that has no id of its own."""
    made = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        made.update(len(content).to_bytes(8, "big") + content)
    return made.hexdigest()[:32]


def form_of(request: RawRequest) -> dict[str, str]:
    """Read a posted form, urlencoded or multipart whatever its header says, the first value of each name.

    Raises:
        Malformed: it is none.
    """
    body = request.body
    if body.lstrip()[:2] == b"--":
        return _multipart(body)
    found: dict[str, str] = {}
    for name, value in urlencoded.pairs(body.decode("utf-8", "replace")):
        found.setdefault(charsets.clean(name), charsets.clean(value))
    return found


def _multipart(body: bytes) -> dict[str, str]:
    """Read a multipart form by the boundary that is really there: Zadarma's header names another one."""
    boundary = body.lstrip().split(b"\n", 1)[0].strip()
    found: dict[str, str] = {}
    for piece in body.split(boundary)[1 : urlencoded.MOST_FIELDS]:
        head, blank, content = piece.strip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")
        name = re.search(rb'name="([^"]*)"', head)
        if blank and name:
            found.setdefault(
                charsets.clean(name[1].decode("utf-8", "replace")), charsets.clean(content.decode("utf-8", "replace"))
            )
    if not found:
        raise Malformed("The multipart body has no fields")
    return found


def local_moment(written: str, time_zone: str) -> datetime | None:
    """Read a moment that names no zone, `2026-10-20 11:15:30`, as one of the connection's time zone."""
    try:
        found = datetime.fromisoformat(written.strip())
    except ValueError:
        return None
    if found.tzinfo is None:
        try:
            found = found.replace(tzinfo=ZoneInfo(time_zone or "UTC"))
        except (ZoneInfoNotFoundError, ValueError):
            return None
    try:
        return found.astimezone(UTC) if 2000 <= found.year <= 2100 else None
    except OverflowError:
        return None


def first(fields: Fields, names: Sequence[str]) -> str:
    """Return the first text among several spellings of a name."""
    return next((found for name in names if (found := fields.text(name).strip())), "")


def ok() -> Reply:
    """Say nothing that a PBX could take for a command."""
    return Reply(b"", content_type="text/plain; charset=utf-8")


def compact(value: Mapping[str, Any]) -> str:
    """Write JSON without blanks: what is signed is what is sent."""
    return msgspec.json.encode(value).decode()
