"""How a text counts, is cut and is read as SMS.

An SMS holds 140 bytes: 160 characters of the GSM alphabet (3GPP TS 23.038 §6.2.1), seven bits each, or 70 UTF-16 units
of UCS-2 as soon as one character is not in that alphabet. What is longer goes in several, each of which loses six bytes
to the header that joins them again (TS 23.040 §9.2.3.24): 153 or 67 then. Ten characters of the GSM alphabet (`€`, `[`,
…) take an escape and so count twice; neither such a pair, nor a surrogate pair, nor what people see as one character
is ever cut in two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple

Encoding = Literal["gsm", "ucs2"]

GSM_SINGLE, GSM_JOINED = 160, 153
UCS2_SINGLE, UCS2_JOINED = 70, 67

_ESCAPE = "\x1b"
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
_CODES: dict[str, bytes] = {
    **{character: bytes([code]) for code, character in enumerate(_BASIC) if character != _ESCAPE},
    **{character: bytes([0x1B, code]) for code, character in _EXTENDED.items()},
}
_COST = {character: len(code) for character, code in _CODES.items()}

# What looks the same, or nearly, in the GSM alphabet. Letters are left alone: another letter is another word.
_PLAINER = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′´`ʼʹ‹›", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−⁃", "-"),
        **dict.fromkeys(
            "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f", " "
        ),
        **dict.fromkeys("\u3000\t", " "),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff", ""),
        **dict.fromkeys("•·∙", "*"),
        "…": "...",
        "⁄": "/",
        "\u2028": "\n",
        "\u2029": "\n",
    }
)


class Measure(NamedTuple):
    """How a text counts: its encoding, its length in units of it, and how many SMS that makes."""

    encoding: Encoding
    units: int
    parts: int


def is_gsm(text: str) -> bool:
    """Tell whether every character is in the GSM alphabet."""
    return all(character in _COST for character in text)


def units(text: str) -> Measure:
    """Count a text as it stands; see `plain` for what can be done to make it count less. An empty text is one part."""
    if is_gsm(text):
        total = sum(_COST[character] for character in text)
        return Measure("gsm", total, 1 if total <= GSM_SINGLE else len(split(text)))
    total = _utf16(text)
    return Measure("ucs2", total, 1 if total <= UCS2_SINGLE else len(split(text)))


def split(text: str, most: int = 0, *, at_words: bool = False) -> list[str]:
    """Cut a text into pieces that give it again when joined; an empty text is one empty piece.

    Without `most` the pieces are the SMS of one long message, whose phone joins them: one piece if it fits one. With it
    each piece counts at most so many units, by itself and as part of the whole. `at_words` cuts behind a blank or a
    line's end where there is one in the second half of a piece.
    """
    gsm = is_gsm(text)
    if not most:
        single, joined = (GSM_SINGLE, GSM_JOINED) if gsm else (UCS2_SINGLE, UCS2_JOINED)
        total = sum(_COST[character] for character in text) if gsm else _utf16(text)
        if total <= single:
            return [text]
        return list(_pieces(text, joined, gsm, at_words, alone=False))
    return list(_pieces(text, most, gsm, at_words, alone=True))


def plain(text: str) -> str:
    """Replace curly quotes, dashes, odd blanks and the like, if that brings the whole text into the GSM alphabet.

    A text that stays UCS-2 anyhow (Cyrillic, emoji) is returned as it was.
    """
    if is_gsm(text):
        return text
    plainer = unicodedata.normalize("NFC", text).translate(_PLAINER)
    return plainer if is_gsm(plainer) else text


def to_gsm(text: str) -> bytes:
    """Return a text in the GSM alphabet, one byte a septet, unpacked.

    Raises:
        ValueError: a character is not in it.
    """
    try:
        return b"".join(_CODES[character] for character in text)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is not in the GSM alphabet") from None


def from_gsm(data: bytes) -> str:
    """Read unpacked GSM bytes; an unknown extension reads as the basic character (TS 23.038 §6.2.1.1)."""
    found: list[str] = []
    escaped = False
    for byte in data:
        if escaped:
            found.append(_EXTENDED.get(byte) or (_BASIC[byte] if byte < 128 and byte != 0x1B else " "))
            escaped = False
        elif byte == 0x1B:
            escaped = True
        else:
            found.append(_BASIC[byte] if byte < 128 else "\ufffd")
    return "".join(found)


# --- cutting ---


def _pieces(text: str, most: int, gsm: bool, at_words: bool, *, alone: bool) -> Iterator[str]:
    piece: list[str] = []
    used = 0
    for cluster in _fitting(text, most, gsm, alone):
        cost = _cost(cluster, gsm, alone)
        if used + cost > most and piece:
            kept = _last_word(piece) if at_words else len(piece)
            yield "".join(piece[:kept])
            piece = piece[kept:]
            used = sum(_cost(left, gsm, alone) for left in piece)
        piece.append(cluster)
        used += cost
    if piece or not text:
        yield "".join(piece)


def _fitting(text: str, most: int, gsm: bool, alone: bool) -> Iterator[str]:
    """Yield what must not be cut; only what is longer than a whole piece falls apart into its characters."""
    for cluster in graphemes(text):
        if _cost(cluster, gsm, alone) > most:
            yield from cluster
        else:
            yield cluster


def _last_word(piece: list[str]) -> int:
    """Return behind which cluster to cut: the last blank of the second half, else the end."""
    for place in range(len(piece) - 1, len(piece) // 2, -1):
        if piece[place].isspace():
            return place + 1
    return len(piece)


def _cost(cluster: str, gsm: bool, alone: bool) -> int:
    """Count a cluster. `alone`: its piece goes by itself, and may turn out GSM though the whole is not."""
    if gsm:
        return sum(_COST[character] for character in cluster)
    wide = _utf16(cluster)
    return max(wide, sum(_COST.get(character, 1) for character in cluster)) if alone else wide


def _utf16(text: str) -> int:
    return len(text) + sum(1 for character in text if character > "\uffff")


def graphemes(text: str) -> Iterator[str]:
    """Yield what people see as one character: a letter with its accents, a flag, a family of emoji (after UAX #29)."""
    if text.isascii() and "\r" not in text:
        yield from text
        return
    cluster = ""
    flags = 0
    for character in text:
        is_flag = "\U0001f1e6" <= character <= "\U0001f1ff"
        if cluster and (_joins(cluster, character) or (is_flag and flags == 1)):
            cluster += character
        else:
            if cluster:
                yield cluster
            cluster, flags = character, 0
        flags = flags + 1 if is_flag else 0
    if cluster:
        yield cluster


def _joins(cluster: str, character: str) -> bool:
    """Tell whether a character belongs to what stands before it."""
    if cluster[-1] == "\r":
        return character == "\n"
    if cluster[-1] in "\n\f":
        return False
    if character < "\u0300":
        return False
    if cluster[-1] == "\u200d":
        return character >= "\u2190"  # a joiner joins symbols; letters keep their own
    if character == "\u200d" or "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f":
        return True  # joiner, skin tone, the letters of a region's flag
    if "\u1160" <= character <= "\u11ff":
        return "\u1100" <= cluster[-1] <= "\u11ff" or "\uac00" <= cluster[-1] <= "\ud7a3"
    return unicodedata.category(character) in ("Mn", "Me", "Mc")


# --- STOP and START ---

_STOP = """
stop|stopall|stop all|stop sms|unsubscribe|cancel|end|quit|revoke|optout|opt out|unsub|remove me
стоп|стоп смс|отписка|отписаться|отпишите|отпишите меня|отписать|не беспокоить|прекратить
ստոպ|կանգ|դադար|դադարեցնել|դադարեցրու|դադարեցրեք|stop կանգ
stopp|lõpeta|loobu|loobun|katkesta|tühista
ustavi|odjava|odjavi|odjavi me|prekliči|konec|stop odjava
"""
_START = """
start|unstop|subscribe|opt in|optin|resume
старт|подписка|подписаться|возобновить
ստարտ|սկսել|սկսիր|սկսեք|բաժանորդագրվել
alusta|liitu|liitun|jätka
začni|prijava|prijavi|prijavi me|nadaljuj
"""
_LONGEST_WORD = 60
_LOOK_ALIKE = str.maketrans("aceopxyktmhbi", "асеорхуктмнві")


def is_stop(text: str) -> bool:
    """Tell whether a message, as a whole, asks to be left alone, in any of our languages."""
    return _folded(text) in _STOPS


def is_start(text: str) -> bool:
    """Tell whether a message, as a whole, takes a STOP back. A mere "yes" does not: it answers something else."""
    return _folded(text) in _STARTS


def _folded(text: str) -> str:
    """Bring spellings of a word together: case, accents, punctuation, Latin letters in a Cyrillic word."""
    if len(text) > _LONGEST_WORD:
        return ""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if unicodedata.category(c) != "Mn")
    bare = " ".join(re.sub(r"[\W_]+", " ", bare).split())
    return bare.translate(_LOOK_ALIKE) if re.search("[а-я]", bare) else bare


_STOPS = frozenset(_folded(word) for line in _STOP.split("\n") for word in line.split("|") if word)
_STARTS = frozenset(_folded(word) for line in _START.split("\n") for word in line.split("|") if word)
