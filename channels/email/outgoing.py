"""Makes a part into a letter that mail programs file where it belongs.

A letter has the same Message-ID at every attempt, made of the part's id: whoever gets it twice can tell. What it
answers stands in In-Reply-To and References (RFC 5322 §3.6.4), of which the first and the last are kept where there are
many. A letter a program wrote says so (RFC 3834), lest another program answers it.
"""

from __future__ import annotations

import base64
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.errors import HeaderParseError
from email.header import Header
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.utils import format_datetime
from typing import IO

from channels.contract import OutgoingFile, Part
from channels.email import html, threads
from channels.errors import Undeliverable

MOST_BYTES = 25 * 1024 * 1024
"""All files of a letter together: what the large providers take, before base64 makes a third more of it."""

_MOST_REFERENCES = 20
_LONGEST_ID = 900  # a line has at most 998 characters, and an identifier cannot be broken
_LONGEST_SUBJECT = 250
_IN_MEMORY = 1_000_000  # larger files wait on the disk
_AT_ONCE = 57 * 1024  # 57 bytes make a line of base64
_SHOWN = 1_500
_REPLY = re.compile(r"^(?:(?:re|aw|antw|sv|vs|odp|ha|отв|ответ)(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,100}")
_IDENTIFIER = re.compile(r"<[^<>\s]+>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A letter ready to go; its files lie on the disk meanwhile. Close it when it is sent.

    context      what the next letter of the conversation has to know
    needs_utf8   an address in it can only be written in UTF-8 (RFC 6531)
    head         its beginning, to be shown
    size         in bytes
    """

    message_id: str
    context: Mapping[str, str]
    needs_utf8: bool
    head: str
    size: int
    pieces: tuple[bytes | IO[bytes], ...]

    def read(self) -> Iterator[bytes]:
        """Return the letter in pieces of whole lines."""
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            piece.seek(0)
            while raw := piece.read(_AT_ONCE):
                yield base64.encodebytes(raw).replace(b"\n", b"\r\n")

    def whole(self) -> bytes:
        """Return the letter."""
        return b"".join(self.read())

    def close(self) -> None:
        """Let go of the files."""
        for piece in self.pieces:
            if not isinstance(piece, bytes):
                piece.close()


async def compose(
    part: Part, *, address: str, name: str, key: bytes, now: datetime, replies_by_plus: bool = False
) -> Composed:
    """Make a letter of a part.

    Raises:
        Undeliverable: an address is none, or the files are more than a letter can carry.
    """
    files: list[IO[bytes]] = []
    try:
        left = MOST_BYTES
        for file in part.files:
            files.append(await _kept(file, left))
            left -= files[-1].tell()
        return _compose(part, files, address, name, key, now, replies_by_plus)
    except BaseException:
        for kept in files:
            kept.close()
        raise


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
    files: list[IO[bytes]],
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
    letter["Date"] = format_datetime(now)
    if part.is_automatic:
        letter["Auto-Submitted"] = "auto-replied" if part.context.get("message_id") else "auto-generated"
        letter["X-Auto-Response-Suppress"] = "All"
    text = part.text or (html.to_text(part.html) if part.html else "")
    letter.set_content(_clean(text))
    if part.html:
        letter.add_alternative(_clean(part.html), subtype="html")
    marks = [secrets.token_bytes(33) for _ in files]  # each is one line of base64, where its file is to be put
    for file, mark in zip(part.files, marks, strict=True):
        kind = file.content_type.partition(";")[0].strip().lower()
        if not _TYPE.fullmatch(kind) or kind.startswith(("message/", "multipart/")):
            kind = "application/octet-stream"
        main, _, sub = kind.partition("/")
        letter.add_attachment(mark, maintype=main, subtype=sub, filename=one_line(file.name, 150) or "file")
    message_id = threads.message_id(key, part.id, address.rpartition("@")[2], part.thread)
    context = answering(message_id, _references(part), subject)
    # written by hand: the library folds long identifiers into encoded words, which no mail program reads
    # and loses blanks between the encoded words of a long subject
    encoded = Header(subject, None if subject.isascii() else "utf-8", header_name="Subject").encode(linesep="\r\n")
    head = [f"Message-ID: {message_id}", f"Subject: {encoded}"]
    if answered := _answered(part):
        head.append(f"In-Reply-To: {answered}")
    if known := _references(part):
        head.append("References: " + "\r\n ".join(known))
    rest = "\r\n".join([*head, ""]).encode("ascii") + letter.as_bytes()
    pieces: list[bytes | IO[bytes]] = []
    for mark, kept in zip(marks, files, strict=True):
        before, _, rest = rest.partition(base64.b64encode(mark) + b"\r\n")
        pieces += [before, kept]
    pieces.append(rest if rest.endswith(b"\r\n") else rest + b"\r\n")
    return Composed(
        message_id=message_id,
        context=context,
        needs_utf8=needs_utf8,
        head=next(piece for piece in pieces if isinstance(piece, bytes))[:_SHOWN].decode("utf-8", "replace"),
        size=sum(len(piece) if isinstance(piece, bytes) else _encoded_size(piece) for piece in pieces),
        pieces=tuple(pieces),
    )


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


async def _kept(file: OutgoingFile, most: int) -> IO[bytes]:
    """Keep a file at hand, on the disk if it is large; it is left at its end."""
    kept = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  it is closed with the letter
    try:
        async for piece in file.read():
            kept.write(piece)
            if kept.tell() > most:
                raise Undeliverable(
                    f"The files are more than the {MOST_BYTES // 2**20} MB a letter can carry. Send a link instead",
                    code="size",
                )
    except BaseException:
        kept.close()
        raise
    return kept


def _encoded_size(file: IO[bytes]) -> int:
    """Return how long a file is in base64, in lines of 76 characters."""
    size = file.seek(0, 2) or file.tell()
    return (size + 2) // 3 * 4 + 2 * ((size + 56) // 57)
