"""Makes a part into a letter that mail programs file where it belongs.

A letter has the same Message-ID at every attempt, made of the part's id: whoever gets it twice can tell. What it
answers stands in In-Reply-To and References (RFC 5322 §3.6.4), of which the first and the last are kept where there are
many. A letter a program wrote says so (RFC 3834), lest another program answers it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from email import policy
from email.errors import HeaderParseError
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.utils import format_datetime
from typing import NamedTuple

from channels.contract import OutgoingFile, Part
from channels.email import html, threads
from channels.errors import Undeliverable

MOST_BYTES = 25 * 1024 * 1024
"""All files of a letter together: what the large providers take, before base64 makes a third more of it."""

_MOST_REFERENCES = 20
_LONGEST_ID = 900  # a line has at most 998 characters, and an identifier cannot be broken
_LONGEST_SUBJECT = 250
_THREADED = 100_000  # from so many bytes on base64 would hold up everybody else
_REPLY = re.compile(r"^(?:(?:re|aw|antw|sv|vs|odp|ha|отв|ответ)(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,100}")
_IDENTIFIER = re.compile(r"<[^<>\s]+>")


class Composed(NamedTuple):
    """A letter ready to go. `needs_utf8`: an address in it can only be written in UTF-8 (RFC 6531)."""

    content: bytes
    message_id: str
    context: Mapping[str, str]
    needs_utf8: bool


async def compose(
    part: Part, *, address: str, name: str, key: bytes, now: datetime, replies_by_plus: bool = False
) -> Composed:
    """Make a letter of a part.

    Raises:
        Undeliverable: an address is none, or the files are more than a letter can carry.
    """
    files = [(file, await _read(file)) for file in part.files]
    if sum(len(content) for _, content in files) > MOST_BYTES:
        raise Undeliverable(
            f"The files are more than the {MOST_BYTES // 2**20} MB a letter can carry. Send a link instead", code="size"
        )
    if sum(len(content) for _, content in files) + len(part.text) + len(part.html) > _THREADED:
        return await asyncio.to_thread(_compose, part, files, address, name, key, now, replies_by_plus)
    return _compose(part, files, address, name, key, now, replies_by_plus)


def answering(message_id: str, references: tuple[str, ...], subject: str) -> dict[str, str]:
    """Return what the next letter of a conversation has to know of this one."""
    known = list(dict.fromkeys([*references, message_id] if message_id else references))
    known = [identifier for identifier in known if _IDENTIFIER.fullmatch(identifier) and len(identifier) <= _LONGEST_ID]
    if len(known) > _MOST_REFERENCES:
        known = [known[0], *known[-_MOST_REFERENCES + 1 :]]
    context = {"message_id": message_id, "references": " ".join(known), "subject": one_line(subject)}
    return {name: value for name, value in context.items() if value}


def one_line(text: str, longest: int = _LONGEST_SUBJECT) -> str:
    """Bring a text into the shape of a header's value: no line breaks, nothing that cannot be seen."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.encode("utf-8", "replace").decode().split())[:longest]


def _compose(
    part: Part,
    files: list[tuple[OutgoingFile, bytes]],
    address: str,
    name: str,
    key: bytes,
    now: datetime,
    replies_by_plus: bool,
) -> Composed:
    needs_utf8 = not (address.isascii() and part.peer.isascii())
    # 7 bits only: what goes through servers that change letters changes signatures over them too
    letter = EmailMessage(policy.SMTP.clone(cte_type="7bit", utf8=needs_utf8))
    subject = _subject(part)
    letter["From"] = _mailbox(address, name)
    letter["To"] = _mailbox(part.peer)
    if replies_by_plus:
        letter["Reply-To"] = _mailbox(threads.plus_address(key, address, part.thread), name)
    letter["Subject"] = subject
    letter["Date"] = format_datetime(now)
    if part.is_automatic:
        letter["Auto-Submitted"] = "auto-replied" if part.context.get("message_id") else "auto-generated"
        letter["X-Auto-Response-Suppress"] = "All"
    text = part.text or (html.to_text(part.html) if part.html else "")
    letter.set_content(_clean(text))
    if part.html:
        letter.add_alternative(_clean(part.html), subtype="html")
    for file, content in files:
        kind = file.content_type.partition(";")[0].strip().lower()
        if not _TYPE.fullmatch(kind) or kind.startswith(("message/", "multipart/")):
            kind = "application/octet-stream"
        main, _, sub = kind.partition("/")
        letter.add_attachment(content, maintype=main, subtype=sub, filename=one_line(file.name, 150) or "file")
    message_id = threads.message_id(key, part.id, address.rpartition("@")[2], part.thread)
    context = answering(message_id, _references(part), subject)
    # written by hand: the library folds long identifiers into encoded words, which no mail program reads
    head = [f"Message-ID: {message_id}"]
    if answered := _answered(part):
        head.append(f"In-Reply-To: {answered}")
    if known := _references(part):
        head.append("References: " + "\r\n ".join(known))
    content = "\r\n".join([*head, ""]).encode("ascii") + letter.as_bytes()
    return Composed(content, message_id, context, needs_utf8)


def _answered(part: Part) -> str:
    """Return the Message-ID of the letter that is answered: the one a person chose, else the conversation's last."""
    for identifier in (f"<{part.reply_to}>", part.context.get("message_id", "")):
        if _is_identifier(identifier) and "@" in identifier:
            return identifier
    return ""


def _references(part: Part) -> tuple[str, ...]:
    known = [found for found in part.context.get("references", "").split() if _is_identifier(found)]
    answered = _answered(part)
    if answered in known:
        known.remove(answered)
    known += [answered] if answered else []
    if len(known) > _MOST_REFERENCES:
        known = [known[0], *known[-_MOST_REFERENCES + 1 :]]
    return tuple(known)


def _is_identifier(text: str) -> bool:
    return text.isascii() and len(text) <= _LONGEST_ID and _IDENTIFIER.fullmatch(text) is not None


def _subject(part: Part) -> str:
    said = one_line(part.subject)
    if said:
        return said
    earlier = one_line(part.context.get("subject", ""))
    if earlier:
        return f"Re: {_REPLY.sub('', earlier)}"
    return one_line(part.text, 60) or one_line(part.files[0].name if part.files else "", 60)


def _mailbox(address: str, name: str = "") -> Mailbox:
    """Put an address and a name together, the domain in ASCII.

    Raises:
        Undeliverable: it is no address.
    """
    local, at, domain = address.rpartition("@")
    try:
        if not at:
            raise ValueError("no @")
        spelled = domain if domain.isascii() else domain.encode("idna").decode()
        return Mailbox(display_name=one_line(name, 100), username=local, domain=spelled)
    except (ValueError, HeaderParseError, IndexError) as error:
        raise Undeliverable(f"{address!r} is no e-mail address", code="address") from error


def _clean(text: str) -> str:
    """Drop what no letter may have in it."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")


async def _read(file: OutgoingFile) -> bytes:
    content = bytearray()
    async for piece in file.read():
        content += piece
        if len(content) > MOST_BYTES:
            break
    return bytes(content)
