"""Fitting what a person wrote to what a channel can carry: texts cut at a word, files put together or into links,
buttons into numbered lines. What could not be carried is said in words, so that nobody finds out later.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from channels import sms_text
from channels.contract import Button, Capability, Sending, Template, Unit
from core.kernel.envelopes import MediaKind
from core.kernel.errors import Rejected


class FileToSend(NamedTuple):
    """A file of a message, by its id. `link` is where the customer can fetch it, "" where the hub has no address."""

    id: int
    name: str
    content_type: str
    size: int
    kind: MediaKind
    link: str = ""


class PlannedPart(NamedTuple):
    """A part as `send` will be given it, files by their ids."""

    text: str = ""
    html: str = ""
    subject: str = ""
    file_ids: tuple[int, ...] = ()
    buttons: tuple[Button, ...] = ()
    template: Template | None = None


class Rendered(NamedTuple):
    """What will be sent, in order, and what could not be carried, in words."""

    parts: tuple[PlannedPart, ...]
    dropped: tuple[str, ...] = ()


def render(
    sending: Sending,
    *,
    text: str = "",
    html: str = "",
    subject: str = "",
    files: Sequence[FileToSend] = (),
    buttons: Sequence[Button] = (),
    template: Template | None = None,
) -> Rendered:
    """Plan the parts of a message.

    Files go before the text, as customers expect, unless the text fits under one of them.

    Raises:
        Rejected: a file cannot go and there is no address to link to; or the channel knows no templates.
    """
    dropped: list[str] = []
    if template is not None:
        if Capability.TEMPLATES not in sending.capabilities:
            raise Rejected("This channel has no templates", field="template")
        return Rendered((PlannedPart(text=text, template=template),))
    text = text.strip()
    if subject and Capability.SUBJECT not in sending.capabilities:
        dropped.append(f"Subject: {subject}")
        subject = ""
    if html and Capability.HTML not in sending.capabilities:
        html = ""
    if buttons and Capability.BUTTONS not in sending.capabilities:
        lines = "\n".join(f"{number}. {button.text}" for number, button in enumerate(buttons, 1))
        text, buttons = f"{text}\n\n{lines}".strip(), ()
        dropped.append("Buttons, written out as numbered lines")
    carried: list[FileToSend] = []
    for file in files:
        if (reason := _refusal(sending, file)) is None:
            carried.append(file)
            continue
        if not file.link:
            raise Rejected(
                "%(name)s: %(reason)s, and without SWITCHYARD_PUBLIC_URL no link can be sent instead",
                name=file.name,
                reason=reason,
            )
        text = f"{text}\n{file.name}: {file.link}".strip()
        dropped.append(f"{file.name}: {reason}, sent as a link")
    groups = _albums(sending, carried)
    if buttons and not text and groups:
        dropped.append("Buttons: without any words they cannot go with files")
    parts: list[PlannedPart] = []
    under = _caption_fits(sending, text, groups, buttons)
    for number, group in enumerate(groups):
        has_text = under and number == 0
        parts.append(
            PlannedPart(
                text=text if has_text else "",
                html=html if has_text else "",
                subject=subject if has_text else "",
                file_ids=tuple(file.id for file in group),
                buttons=tuple(buttons) if has_text else (),
            )
        )
    if text and not under:
        pieces = split(text, sending)
        for number, piece in enumerate(pieces):
            is_last = number == len(pieces) - 1
            parts.append(
                PlannedPart(
                    text=piece,
                    html=html if len(pieces) == 1 else "",
                    subject=subject,
                    buttons=tuple(buttons) if is_last else (),
                )
            )
    return Rendered(tuple(parts), tuple(dropped))


def _refusal(sending: Sending, file: FileToSend) -> str | None:
    """Return why a channel cannot carry a file, None if it can."""
    own = sending.media.get(file.kind)
    if own is not None and file.size > own.most_bytes and (not own.types or file.content_type in own.types):
        as_file = sending.media.get("file")
        if as_file is None or (as_file.types and file.content_type not in as_file.types):
            return f"it is larger than the {own.most_bytes // 1_000_000 or 1} MB this channel takes"
    rule = sending.media.get(_kind(sending, file))
    if rule is None:
        return "this channel carries no such files"
    if rule.types and file.content_type not in rule.types:
        return f"this channel does not take {file.content_type}"
    if file.size > rule.most_bytes:
        return f"it is larger than the {rule.most_bytes // 1_000_000 or 1} MB this channel takes"
    return None


def kind_for(sending: Sending, kind: MediaKind, content_type: str, size: int) -> MediaKind:
    """Return as what a file is sent: a picture that is too large for one goes as a file, where files go."""
    return _kind(sending, FileToSend(0, "", content_type, size, kind))


def _kind(sending: Sending, file: FileToSend) -> MediaKind:
    rule = sending.media.get(file.kind)
    fits = rule is not None and file.size <= rule.most_bytes and (not rule.types or file.content_type in rule.types)
    return file.kind if fits or "file" not in sending.media else "file"


def _albums(sending: Sending, files: Sequence[FileToSend]) -> list[list[FileToSend]]:
    """Put files together as far as the channel takes several in one part, pictures and films apart from the rest."""
    groups: list[list[FileToSend]] = []
    sorts: list[str] = []
    for file in files:
        kind = _kind(sending, file)
        sort = "seen" if kind in ("image", "video") else kind
        if groups and sorts[-1] == sort and len(groups[-1]) < sending.album:
            groups[-1].append(file)
        else:
            groups.append([file])
            sorts.append(sort)
    return groups


def _caption_fits(
    sending: Sending, text: str, groups: Sequence[Sequence[FileToSend]], buttons: Sequence[Button]
) -> bool:
    if not text or len(groups) != 1 or (buttons and len(groups[0]) > 1):
        return False
    kinds = {_kind(sending, file) for file in groups[0]}
    if kinds & {"voice", "sticker"}:
        return False
    limits = [rule.caption for kind in kinds if (rule := sending.media.get(kind)) is not None]
    most = min(sending.caption if limit is None else limit for limit in limits)
    return length(text, sending.unit) <= most


def length(text: str, unit: Unit) -> int:
    """Return the length of a text as a provider counts it."""
    if unit is Unit.UTF16:
        return len(text.encode("utf-16-le", "surrogatepass")) // 2
    if unit is Unit.BYTES:
        return len(text.encode("utf-8", "surrogatepass"))
    if unit is Unit.SMS:
        return sms_text.units(text).units
    return len(text)


def split(text: str, sending: Sending) -> list[str]:
    """Cut a text into pieces no longer than the channel takes: at a paragraph, else a line, a sentence, a word, and
    never inside a character as people see it (UAX #29, as far as combining marks, joiners and flags go).
    """
    pieces: list[str] = []
    rest = text
    while length(rest, sending.unit) > sending.text:
        cut = _cut(rest, sending)
        pieces.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [piece for piece in [*pieces, rest] if piece]


def _cut(text: str, sending: Sending) -> int:
    low, high = 1, min(len(text), sending.text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if length(text[:middle], sending.unit) <= sending.text:
            low = middle
        else:
            high = middle - 1
    most = low
    for mark in ("\n\n", "\n", ". ", "! ", "? ", "… ", " "):
        found = text.rfind(mark, most // 2, most + (1 if mark == " " else 0))
        if found > 0:
            return min(found + len(mark), most) if mark.strip() else found
    while most > 1 and not is_boundary(text, most):
        most -= 1
    return most


def is_boundary(text: str, place: int) -> bool:
    """Whether a text may be cut here without tearing a character apart."""
    if place >= len(text):
        return True
    before, after = text[place - 1], text[place]
    if unicodedata.combining(after) or after in "\u200d\ufe0e\ufe0f\u20e3" or before == "\u200d":
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return False  # skin tones, and the letters of subdivision flags
    if _is_flag_letter(before) and _is_flag_letter(after):
        start = place
        while start > 0 and _is_flag_letter(text[start - 1]):
            start -= 1
        return (place - start) % 2 == 0
    return not ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


class Measure(NamedTuple):
    """What a composer shows while somebody writes: length so far, the most of one part, and how many there will be.

    `encoding` is `gsm` or `ucs2` for SMS, "" elsewhere; `segments` what the SMS will be charged as.
    """

    length: int
    most: int
    parts: int
    encoding: str = ""
    segments: int = 0


def measure(text: str, sending: Sending) -> Measure:
    """Measure a text as it would be sent."""
    stripped = text.strip()
    parts = len(split(stripped, sending))
    found = length(stripped, sending.unit)
    if sending.unit is Unit.SMS:
        counted = sms_text.units(stripped)
        return Measure(found, sending.text, parts, counted.encoding, counted.parts)
    return Measure(found, sending.text, parts)
