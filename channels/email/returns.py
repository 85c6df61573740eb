"""What mail servers say of letters of ours: bounces, delays, deliveries, and complaints of those who got them.

RFC 3464 is read here, per recipient, with its code (RFC 3463); Gmail leaves that part empty and says
`X-Failed-Recipients`; servers that never heard of the standard are left to the detectors of flufl.bounce. Where there
is no code, the words tell whether an address is dead: a full mailbox is not. Complaints: RFC 5965 (ARF).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from typing import NamedTuple

from flufl.bounce import all_failures

from channels.email import headers, html, mime
from channels.email.mime import Part

# The detectors go line by line, and what they look for stands before the letter that came back.
_MOST_FOR_DETECTORS = 131_072
_LONGEST_DIAGNOSTIC = 500
_MOST_RECIPIENTS = 200

logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)  # it tells of every detector, with whole tracebacks


class Bounce(NamedTuple):
    """What a mail server says of one recipient of a letter.

    recipient   in lower case
    action      failed | delayed | delivered | relayed | expanded
    status      `5.1.1`; "" where it is not told
    is_final    it is given up
    is_dead     the address does not exist or takes nothing from anybody
    diagnostic  what the server said, on one line
    message_id  of the letter it is about, with angle brackets; "" where that cannot be told
    """

    recipient: str
    action: str
    status: str
    is_final: bool
    is_dead: bool
    diagnostic: str
    message_id: str


class Complaint(NamedTuple):
    """Somebody pressed "this is spam". Each is "" where it is not told; `feedback` is `abuse`, `fraud`, …"""

    recipient: str
    feedback: str
    message_id: str


# --- bounces ---

_ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")
_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_TOLD = re.compile(r"(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.]*\d)")
_REPLY_CODE = re.compile(r"\b([45])\d\d\b[ -]")
# Where servers put the letter itself, or what is left of it.
_COPY = re.compile(
    r"^[ \t>|*-]*(?:-{2,}\s*)?(?:below (?:this|the next) line|(?:the )?original (?:message|mail)|old message:|"
    r"message (?:header|text|headers) follow|(?:returned|unsent) (?:mail|message)|(?:this is )?a copy of the|"
    r"forwarded message|(?:received|return-path|message-id):\s)",
    re.IGNORECASE | re.MULTILINE,
)
_BLANK_LINES = re.compile(rb"(?:\r?\n[ \t]*){2,}")
_MESSAGE_ID = re.compile(rb"^[ \t>]*Message-ID:[ \t]*(?:\r?\n[ \t]+)?(<[^<>\s]{3,250}>)", re.IGNORECASE | re.MULTILINE)

# RFC 3463: no such mailbox, no such domain, bad syntax, moved, null MX (RFC 7505), mailbox disabled
_DEAD = frozenset(("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"))
# Codes that say nothing by themselves; then the words are asked.
_VAGUE = frozenset(("", "5.0.0", "5.1.0", "5.3.0", "5.4.1", "5.5.0"))
_DEAD_WORDS = re.compile(
    r"user unknown|unknown (?:user|recipient|address)|no such (?:user|recipient|mailbox|address|person)|"
    r"(?:user|mailbox|account|recipient|address)\b[^.;]{0,60}(?:does ?n.t exist|does not exist|not found|is unknown|"
    r"(?:has been |is |was )?(?:disabled|deactivated|discontinued))|(?:doesn.t|does not) have an? \S+ account|"
    r"no mailbox (?:here )?by that name|invalid (?:recipient|mailbox|address)|not a valid (?:mailbox|user|recipient)|"
    r"(?:recipient name is )not recogni[sz]ed|addressee unknown|"
    r"recipient address rejected: (?:access denied|user|undeliverable)|unrouteable address|not listed in",
    re.IGNORECASE,
)


def bounces(raw: bytes) -> list[Bounce]:
    """Return what a bounce says, one per recipient; [] where nothing can be told."""
    whole = mime.read(raw)
    parts = list(whole.leaves())
    about = _returned_id(raw, whole, parts)
    found = [
        bounce
        for part in parts
        if part.content_type == "message/delivery-status"
        for bounce in _dsn(part, parts, about)
    ]
    if not found:
        found = _failed_recipients(whole, parts, about)
    if not found:
        found = _detected(raw, parts, about)
    kept: dict[str, Bounce] = {}
    for bounce in found:
        kept.setdefault(bounce.recipient, bounce)
    return list(kept.values())[:_MOST_RECIPIENTS]


def _dsn(part: Part, parts: Sequence[Part], about: str) -> Iterator[Bounce]:
    """Read a delivery status (RFC 3464 §2): blocks of headers, the first about the letter, one for each recipient."""
    said = ""
    for block in _BLANK_LINES.split(part.content)[: _MOST_RECIPIENTS * 2]:
        fields = {name: headers.plain(values[0]) for name, values in mime.read_head(block).items()}
        recipient = _recipient(fields.get("original-recipient", "")) or _recipient(fields.get("final-recipient", ""))
        action = fields.get("action", "").lower()
        # OpenSMTPD says `error`; others add a comment
        action = "failed" if action.startswith(("fail", "error")) else action
        action = next((each for each in _ACTIONS if action.startswith(each)), "")
        if not recipient or not action:
            continue
        if diagnostic := _said(fields.get("diagnostic-code", "")):
            yield _bounce(recipient, action, fields.get("status", ""), diagnostic, about)
        else:
            said = said or _words(parts)
            yield _bounce(recipient, action, fields.get("status", ""), _near(recipient, said, ()), about)


def _recipient(value: str) -> str:
    """Read `rfc822; vera@example.com`, whatever stands around it."""
    kind, semicolon, address = value.partition(";")
    if semicolon and kind.strip().lower() not in ("rfc822", "utf-8", "smtp", "x-local", ""):
        return ""
    boxes = headers.mailboxes(address if semicolon else kind)
    return next((box.address for box in boxes if box.address), "")


def _said(diagnostic: str) -> str:
    kind, semicolon, said = diagnostic.partition(";")
    return (said if semicolon and re.fullmatch(r"[\w-]{1,30}", kind.strip()) else diagnostic).strip()


def _failed_recipients(whole: Part, parts: Sequence[Part], about: str) -> list[Bounce]:
    """Read Gmail's and Exim's header, and the code out of their words."""
    named = whole.first("x-failed-recipients")
    if not named:
        return []
    failed = [box.address for box in headers.mailboxes(named) if box.address]
    said = _words(parts)
    return [_bounce(each, "failed", "", _near(each, said, failed), about) for each in failed]


def _detected(raw: bytes, parts: Sequence[Part], about: str) -> list[Bounce]:
    """Ask the detectors of flufl.bounce, which know how some twenty servers write."""
    try:
        delayed, failed = all_failures(message_from_bytes(raw[:_MOST_FOR_DETECTORS]))
    except Exception:  # made for whole letters of known servers, they raise anything over others
        return []
    actions = {**{_known(each): "delayed" for each in delayed}, **{_known(each): "failed" for each in failed}}
    said = _words(parts)
    named = sorted(each for each in actions if each)
    return [_bounce(each, actions[each], "", _near(each, said, named), about) for each in named]


def _known(address: bytes) -> str:
    return next((box.address for box in headers.mailboxes(address.decode("ascii", "replace"))), "")


def _near(recipient: str, said: str, named: Sequence[str]) -> str:
    """Return what the words say of a recipient: what follows the address up to the next one, else around a code."""
    lower = said.lower()
    at = lower.find(recipient)
    if at >= 0:
        ends = (lower.find(each, at + len(recipient)) for each in named if each != recipient)
        near = said[at : min((end for end in ends if end >= 0), default=len(said))][:_LONGEST_DIAGNOSTIC]
        if _TOLD.search(near) or _REPLY_CODE.search(near) or len(named) > 1:
            return near
    told = _TOLD.search(said)
    if told:
        return said[max(told.start() - 100, 0) : told.end() + 200]
    return near if at >= 0 else said[:_LONGEST_DIAGNOSTIC]


def _bounce(recipient: str, action: str, status: str, said: str, about: str) -> Bounce:
    told = _STATUS.search(status) or _TOLD.search(said)
    code = told[0] if told else ""
    # the standard's code may be vaguer than the server's own: `5.0.0`, and in the words `550 5.1.1`
    if code in _VAGUE and (better := _TOLD.search(said)):
        code = better[0]
    is_final = action == "failed"
    is_dead = is_final and (code in _DEAD or (code in _VAGUE and _DEAD_WORDS.search(said) is not None))
    return Bounce(recipient, action, code, is_final, is_dead, " ".join(said.split())[:_LONGEST_DIAGNOSTIC], about)


def _words(parts: Sequence[Part]) -> str:
    """Return what a bounce says in words, without the letter it returns."""
    said = ""
    for part in parts[:5]:
        if part.content_type in ("text/plain", "text/html") and len(said) < 20_000:
            text = headers.decode_bytes(part.content[:100_000], part.parameters.get("charset", ""))
            text = html.to_text(text) if part.content_type == "text/html" else text
            copy = _COPY.search(text, 100)  # the first lines may speak of it
            said += text[: copy.start() if copy else len(text)] + "\n"
    return said[:20_000]


def _returned_id(raw: bytes, whole: Part, parts: Sequence[Part]) -> str:
    """Find the Message-ID of the letter that came back: in its part, else in any copy below the bounce's own head."""
    for part in parts:
        if part.content_type in ("message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers"):
            for identifier in headers.identifiers(mime.read_head(part.content).get("message-id", [""])[0]):
                return identifier
    own = headers.identifiers(whole.first("message-id"))
    for found in _MESSAGE_ID.finditer(raw):
        identifier = found[1].decode("ascii", "replace")
        if identifier not in own:
            return identifier
    return next(iter(headers.identifiers(whole.first("in-reply-to"))), "")


# --- complaints ---


def complaint(raw: bytes) -> Complaint | None:
    """Return what a spam complaint says; None if it is none."""
    whole = mime.read(raw)
    parts = list(whole.leaves())
    report = next((part for part in parts if part.content_type == "message/feedback-report"), None)
    if report is None:
        return None
    fields = {name: headers.plain(values[0]) for name, values in mime.read_head(report.content).items()}
    named = [fields.get("original-rcpt-to", ""), fields.get("removal-recipient", "")]
    for part in parts:
        if part.content_type in ("message/rfc822", "text/rfc822-headers"):
            named += mime.read_head(part.content).get("to", [])[:1]
    recipients = (box.address for value in named for box in headers.mailboxes(value) if box.address)
    return Complaint(
        next(recipients, ""), fields.get("feedback-type", "").lower()[:60], _returned_id(raw, whole, parts)
    )
