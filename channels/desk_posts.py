"""What messengers of the desk do alike: a card's text cut into posts, and the words that link an account."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from channels.contract import Unit
from channels.desk_contract import Card, Key
from channels.errors import ChannelError, Temporary, Uncertain
from channels.rendering import is_boundary, length

T = TypeVar("T")

LONGEST_PAUSE = 30.0
"""Seconds waited at most before what belongs to a post that went already is tried again."""

_ATTEMPTS = 4
_ASKING = re.compile(r"/?link\s+([A-Za-z0-9_-]{8,64})", re.IGNORECASE)
_COMMAND = re.compile(r"\s*!(?=[a-z]+(?:\s|$))")
_ADDRESS = re.compile(r"https?://[^\s<>\"]+")
_AFTER_ADDRESS = ".,:;!?)]}'»"


class Piece(NamedTuple):
    """What goes into one post; its first `bold` characters belong to the title."""

    text: str
    bold: int = 0


def pieces(card: Card, most: int, *, more: str = "") -> list[Piece]:
    """Cut a card's text, and `more` on lines below it, into pieces of at most `most` UTF-16 units.

    It is cut behind a line's or else a word's end. Joined, the pieces are the text; one of blanks alone is left out.
    """
    text = "\n".join(part for part in (card.plain(), more) if part)
    found, start = [], 0
    while start < len(text):
        end = _end(text, start, most)
        if piece := text[start:end]:
            found.append(Piece(piece, max(0, min(len(card.title) - start, end - start))))
        start = end
    return [piece for piece in found if piece.text.strip()]


def addresses(keys: Sequence[Sequence[Key]], *, is_web: bool | None = None) -> str:
    """Return the addresses that keys open, one a line with what the key says; for messengers that cannot open them.

    `is_web`: those of pages alone, or (False) all others alone.
    """
    opened = [key for row in keys for key in row if key.url and is_web in (None, is_page(key.url))]
    return "\n".join(f"{key.text}: {key.url}" for key in opened)


def is_page(url: str) -> bool:
    """Tell whether an address is a page's, and not a telephone number or the like."""
    return url.lower().startswith(("https://", "http://"))


def runs(text: str) -> Iterator[tuple[str, bool]]:
    """Yield a text by runs, each with whether it is the address of a page."""
    start = 0
    for found in _ADDRESS.finditer(text):
        address = found[0].rstrip(_AFTER_ADDRESS)
        if found.start() > start:
            yield text[start : found.start()], False
        yield address, True
        start = found.start() + len(address)
    if start < len(text):
        yield text[start:], False


def ticket_of(text: str) -> str:
    """Return the one-time word in `link <word>`; "" if a text says something else."""
    found = _ASKING.fullmatch(text.strip())
    return found[1] if found else ""


def commanding(text: str) -> str:
    """Return a text in which a command is written with `/`: where programs keep that to themselves people type `!`."""
    return _COMMAND.sub("/", text, count=1) if _COMMAND.match(text) else text


def asking(ticket: str) -> str:
    """Return what `ticket_of` understands."""
    return f"link {ticket}"


async def patiently(say: Callable[[], Awaitable[T]]) -> T:
    """Post what belongs to something that was posted already, waiting where the messenger is busy.

    Raises:
        Uncertain: it stayed busy. What went before stands there, so that all of it must not be posted again.
        ChannelError: it was refused.
    """
    pause = 1.0
    for attempt in range(_ATTEMPTS):
        try:
            return await say()
        except Temporary as error:
            wait = pause if error.retry_after is None else error.retry_after
            if attempt == _ATTEMPTS - 1 or wait > LONGEST_PAUSE:
                raise Uncertain(f"Only the beginning was posted: {error}", code=error.code) from error
            await asyncio.sleep(wait)
            pause *= 2
    raise ChannelError("It was tried often enough")


def _end(text: str, start: int, most: int) -> int:
    """Return where to cut: the longest piece that fits, shortened to a line's or a word's end in its second half."""
    end = min(len(text), start + most)
    while length(text[start:end], Unit.UTF16) > most:
        end -= max(1, (length(text[start:end], Unit.UTF16) - most) // 2)
    if end == len(text):
        return end
    middle = start + (end - start) // 2
    for mark in ("\n", " "):
        found = text.rfind(mark, middle, end)
        if found >= 0:
            return found + 1
    cut = end
    while cut > middle and not is_boundary(text, cut):
        cut -= 1
    return cut if cut > middle else end
