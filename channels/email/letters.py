"""A letter off the wire, read into plain values. Any bytes are a letter: what cannot be read is left out.

Which of its parts is the text (RFC 2046): of alternatives the plain one, unless it only says that there is a better;
of pieces one after another (Apple's, mailing lists' footers) all. A part with a file's name, or put as an attachment,
is a file; so are invitations, forwarded letters and `winmail.dat`.

Charsets are believed as far as the bytes allow (`webhooks.charsets`): letters declared ASCII or Latin-1 hold UTF-8 or
Windows-1251 all the same.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import NamedTuple

from channels.email import headers, html, mime
from channels.email.headers import Mailbox
from channels.email.mime import Part
from webhooks import charsets

__all__ = ["Enclosure", "Letter", "Mailbox", "read", "read_part"]

LONGEST_TEXT = 500_000
LONGEST_SUBJECT = 500
_LONGEST_HTML = 2_000_000
_LONGEST_FILE_NAME = 150
_DELIVERED = ("delivered-to", "x-original-to", "x-forwarded-to", "envelope-to", "x-envelope-to", "x-delivered-to")

_BODIES = ("text/plain", "text/html")
# Further versions of the same words, which nobody misses.
_VERSIONS = ("text/x-amp-html", "text/watch-html", "text/enriched", "text/richtext")
_STUB = re.compile(
    r"\b(?:html|browser|view (?:this|it)|web version|веб-версия|браузер\w*|просмотр\w*|brauser\w*|brskalnik\w*)\b",
    re.IGNORECASE,
)
_PASSED_ON = re.compile(r"'(.+)' via .+")  # what Google's groups write into From
_EXTENSIONS = {
    "text/calendar": "invite.ics",
    "message/rfc822": "letter.eml",
    "message/delivery-status": "report.txt",
    "application/ms-tnef": "winmail.dat",
    "text/rfc822-headers": "headers.txt",
    "text/plain": "text.txt",
    "text/html": "page.html",
    "image/jpeg": "image.jpg",
}
_TYPES = mimetypes.MimeTypes()  # the built-in ones only: not what the machine happens to know


_NOBODY = Mailbox()


class Enclosure(NamedTuple):
    """A file in a letter; `part` is its number for `read_part`.

    content_id  without its angle brackets; "" where it has none
    is_inline   the letter's HTML shows it by its `cid:`
    """

    name: str
    content_type: str
    size: int
    part: int
    content_id: str = ""
    is_inline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a letter says.

    identity     the Message-ID, or where it has none a hash of what it says: never ""
    message_id   with its angle brackets; "" where it has none
    sender       From (else Sender, else Return-Path); address "" where nobody can be told
    reply_to     where Reply-To asks answers to go, and the name there; "" where it does not or cannot be read
    original     X-Original-Sender: who wrote to a Google group that passed it on; ""
    delivered    Delivered-To, X-Original-To, X-Forwarded-To, Envelope-To …
    subject      on one line, at most 500 characters
    date         UTC; None where it is missing or absurd
    text         the words in plain text, quotes included (see `quotes.fold`)
    html         as written, untrusted (see `html.safe`); "" for a plain letter
    headers      every header in lower case → its values on one line, encoded words as they stand
    """

    identity: str
    message_id: str = ""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    sender: Mailbox = _NOBODY
    reply_to: str = ""
    reply_to_name: str = ""
    original: str = ""
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    delivered: tuple[str, ...] = ()
    subject: str = ""
    date: datetime | None = None
    text: str = ""
    html: str = ""
    attachments: tuple[Enclosure, ...] = ()
    content_type: str = "text/plain"
    report_type: str = ""
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """Return the first header of a name (in lower case); "" where there is none."""
        return next(iter(self.headers.get(name, ())), "")

    @property
    def author(self) -> Mailbox:
        """Who is to be known as its author: Reply-To, else the one a group passes on, else the sender."""
        address = self.reply_to or self.original or self.sender.address
        if address == self.sender.address:
            return self.sender
        passed_on = _PASSED_ON.match(self.sender.name)
        return Mailbox(address, self.reply_to_name or (passed_on[1] if passed_on else ""))


def read(raw: bytes) -> Letter:
    """Read a letter; any bytes make one."""
    whole = mime.read(raw)
    fields = whole.fields
    slots, files = _sorted_out(whole)
    words, markup = _bodies(slots)
    subject = headers.decode(whole.first("subject"))[:LONGEST_SUBJECT].rstrip()
    sender = _sender(fields)
    answers = _first(fields.get("reply-to", ()))
    enclosures = tuple(_enclosures(files, markup))
    message_id = next(iter(headers.identifiers(whole.first("message-id"))), "")
    return Letter(
        identity=message_id or _hash(sender.address, whole.first("date"), subject, words, enclosures),
        message_id=message_id,
        in_reply_to=headers.identifiers(" ".join(fields.get("in-reply-to", ()))),
        references=headers.identifiers(" ".join(fields.get("references", ()))),
        sender=sender,
        reply_to=answers.address,
        reply_to_name=answers.name,
        original=_first(fields.get("x-original-sender", ())).address,
        to=_all(fields.get("to", ())),
        cc=_all(fields.get("cc", ())),
        delivered=tuple(dict.fromkeys(box.address for name in _DELIVERED for box in _all(fields.get(name, ())))),
        subject=subject,
        date=headers.date(whole.first("date")),
        text=words,
        html=markup,
        attachments=enclosures,
        content_type=whole.content_type,
        report_type=whole.parameters.get("report-type", "").lower(),
        headers={name: tuple(headers.plain(value) for value in values) for name, values in fields.items()},
    )


def read_part(raw: bytes, part: int) -> bytes | None:
    """Return the file that `Enclosure.part` names; None if there is no such part."""
    return next((leaf.content for leaf in mime.read(raw).leaves() if leaf.number == part), None)


# --- who ---


def _sender(fields: Mapping[str, Sequence[str]]) -> Mailbox:
    named = Mailbox()
    for name in ("from", "sender", "return-path"):
        for box in _all(fields.get(name, ()), only_addresses=False):
            if box.address:
                return box if box.name else Mailbox(box.address, named.name)
            named = named if named.name else box
    return named


def _first(values: Sequence[str]) -> Mailbox:
    return next(iter(_all(values)), _NOBODY)


def _all(values: Sequence[str], only_addresses: bool = True) -> tuple[Mailbox, ...]:
    return tuple(box for value in values for box in headers.mailboxes(value) if box.address or not only_addresses)


def _hash(sender: str, date: str, subject: str, words: str, files: Sequence[Enclosure]) -> str:
    """Stand for a letter without an id: the same when it comes again, by whatever way."""
    said = repr((sender, date.split(), subject, words.split(), [file.name for file in files]))
    return "hash:" + hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=16).hexdigest()


# --- which parts are the words ---


class _Slot(NamedTuple):
    """A place in the text, in its versions; None where there is no such version."""

    plain: str | None
    html: str | None


def _sorted_out(whole: Part) -> tuple[list[_Slot], list[Part]]:
    """Part a letter's words from its files."""
    files: list[Part] = []
    slots = _slots(whole, files)
    if not slots:
        # text with a file's name and nothing else: it is shown as words and kept as a file
        named = next((file for file in files if file.content_type in _BODIES and not _is_attached(file)), None)
        slots = [_slot(named)] if named else []
    return slots, files


def _slots(part: Part, files: list[Part]) -> list[_Slot]:
    if not part.children:
        if part.content_type in _BODIES and not _is_file(part):
            return [_slot(part)]
        files.append(part)
        return []
    if part.content_type != "multipart/alternative":
        return [slot for child in part.children for slot in _slots(child, files)]
    versions = [slot for child in part.children if child.content_type not in _VERSIONS for slot in _slots(child, files)]
    words = [slot.plain for slot in versions if slot.plain is not None]
    markup = [slot.html for slot in versions if slot.html is not None]
    if not versions:
        return []
    return [_Slot("\n\n".join(words) if words else None, "\n".join(markup) if markup else None)]


def _slot(part: Part) -> _Slot:
    text = _text(part)
    if part.content_type == "text/html" or re.match(r"\s*<(?:!doctype html|html)\b", text[:200], re.IGNORECASE):
        return _Slot(None, text)
    if part.parameters.get("format", "").lower() == "flowed":
        text = _unwrapped(text, part.parameters.get("delsp", "").lower() == "yes")
    return _Slot(text, None)


def _text(part: Part) -> str:
    content = part.content[: _LONGEST_HTML * 2]
    declared = part.parameters.get("charset", "")
    if not charsets.known(declared) and (meta := re.search(rb"<meta[^>]+charset=[\"']?([\w-]{2,30})", content[:4096])):
        declared = meta[1].decode("ascii")
    return charsets.clean(headers.decode_bytes(content, declared).removeprefix("\ufeff"))[:_LONGEST_HTML]


def _bodies(slots: list[_Slot]) -> tuple[str, str]:
    """Return the words as plain text and as HTML."""
    words: list[str] = []
    for slot in slots:
        said = (slot.plain or "").strip("\n").rstrip()
        if slot.html is not None and _says_nothing(said, slot.html):
            said = html.to_text(slot.html) or said
        if said:
            words.append(said)
    has_html = any(slot.html is not None for slot in slots)
    markup = "\n".join(slot.html if slot.html is not None else _as_html(slot.plain or "") for slot in slots)
    text = "\n\n".join(words)
    return text[:LONGEST_TEXT], markup[:_LONGEST_HTML] if has_html else ""


def _says_nothing(words: str, markup: str) -> bool:
    """Tell whether the plain version only sends people to the other."""
    return not words.strip() or (len(words) < 300 and len(markup) > 3 * len(words) and bool(_STUB.search(words)))


def _as_html(words: str) -> str:
    return "<div>" + escape(words.strip("\n")).replace("\n", "<br>\n") + "</div>" if words.strip() else ""


def _unwrapped(text: str, drops_space: bool) -> str:
    """Join lines that were only wrapped (RFC 3676 §4): those that end in a blank, within one depth of quotes."""
    lines: list[list[str]] = []
    depth_before = -1
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        if depth != depth_before or content == "-- ":
            lines.append([">" * depth + (" " if depth else "")])
        goes_on = content.endswith(" ") and content != "-- "
        lines[-1].append(content[:-1] if goes_on and drops_space else content)
        depth_before = depth if goes_on else -1
    return "\n".join("".join(pieces) for pieces in lines)


# --- files ---


def _is_attached(part: Part) -> bool:
    return headers.parameters(part.first("content-disposition"))[0] == "attachment"


def _is_file(part: Part) -> bool:
    return _is_attached(part) or bool(_given_name(part))


def _given_name(part: Part) -> str:
    return headers.parameters(part.first("content-disposition"))[1].get("filename") or part.parameters.get("name", "")


def _enclosures(files: list[Part], markup: str) -> Iterator[Enclosure]:
    taken: set[str] = set()
    shown = set(re.findall(r"cid:([^\"'\s>)]{1,250})", markup, re.IGNORECASE))
    for part in files:
        content_id = headers.plain(part.first("content-id")).strip("<> ")[:250]
        kind = part.content_type if part.content_type.isascii() else "application/octet-stream"
        name = _free(_safe(_given_name(part)) or _made_name(part), taken)
        yield Enclosure(name, kind, len(part.content), part.number, content_id, content_id in shown)


def _safe(name: str) -> str:
    """Keep the last part of a path, without what file systems or people cannot read."""
    last = re.split(r"[/\\]", name)[-1]
    seen = "".join(character for character in last if character.isprintable() and character not in '<>:"|?*')
    stem, dot, extension = seen.strip(" .").rpartition(".")
    if not dot or len(extension) > 20:
        return seen.strip(" .")[:_LONGEST_FILE_NAME]
    return f"{stem[: _LONGEST_FILE_NAME - len(extension)]}.{extension}"


def _made_name(part: Part) -> str:
    if part.content_type == "message/rfc822":
        subject = headers.decode(mime.read_head(part.content).get("subject", [""])[0])
        return _safe(re.sub(r"[/\\]", "-", subject)[:100] + ".eml") if subject else _EXTENSIONS["message/rfc822"]
    if part.content_type in _EXTENSIONS:
        return _EXTENSIONS[part.content_type]
    return part.content_type.partition("/")[0] + (_TYPES.guess_extension(part.content_type) or ".bin")


def _free(name: str, taken: set[str]) -> str:
    """Make a name that no other file of the letter has."""
    stem, dot, extension = name.rpartition(".")
    stem, tail = (stem, dot + extension) if stem else (name, "")
    free, number = name, 2
    while free.lower() in taken:
        free, number = f"{stem} ({number}){tail}", number + 1
    taken.add(free.lower())
    return free
