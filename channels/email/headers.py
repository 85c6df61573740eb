"""Headers of letters as they come: unfolded, decoded, split into addresses, ids, parameters and dates.

The standard library's own readers of structured headers raise on letters people really send (a Group in To, unknown
charsets, `Reply-To: <"">`), differ between Python versions, and decode each encoded word by itself, which tears letters
that a careless mailer cut in two. These here take anything.

Sources: RFC 5322 (addresses, ids, dates), RFC 2047 (encoded words; also where they must not be: inside quotes, beside
other letters), RFC 2231 (parameters in pieces and charsets), RFC 6532 (plain UTF-8).

A header's value comes as text in which every byte beyond ASCII is a surrogate (`surrogateescape`), so nothing is lost
before its charset is known.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from core.kernel import addresses
from webhooks import charsets

_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|\((?:[^()\\]|\\.)*\)?|<[^<>]*>?|[,;:]|[^"(<,;:]+|[^,;:]', re.DOTALL)
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_PIECE = re.compile(r"(.+?)(?:\*(\d{1,3}))?(\*)?", re.DOTALL)
_IDENTIFIER = re.compile(r"<([^<>]{1,2000})>")
_LOOSE_ADDRESS = re.compile(r"[^\s@<>\",;:()]{1,64}@[^\s@<>\",;:()]+\.[^\s@<>\",;:()]+")

# A charset with one byte per letter is valid for any bytes; what is valid UTF-8 as well is UTF-8.
_SINGLE_BYTE = re.compile(r"(?:windows|cp|iso|koi8|mac|ibm|tis|dos|latin)", re.IGNORECASE)

_LONGEST_ID = 250
_LONGEST_NAME = 300
_MOST_ADDRESSES = 500
_MOST_IDS = 200
_LONGEST_STRUCTURED = 65_536
_OLDEST, _NEWEST = 1990, 2100


class Mailbox(NamedTuple):
    """An address as `core.kernel.addresses.email` spells it, and the name beside it; "" where there is none."""

    address: str = ""
    name: str = ""


def decode_bytes(data: bytes, declared: str = "") -> str:
    """Decode text that is said to be in a charset, and often is not."""
    if data.isascii() and b"\x1b" not in data and not declared.lower().startswith(("utf-16", "utf-32", "utf-7", "hz")):
        return data.decode("ascii")
    charset = charsets.known(declared) if declared else None
    if charset and charset.startswith(("utf-16", "utf-32")):
        return data.decode(charset, "replace")  # base64 only, and then it is said rightly
    if declared.lower() in ("utf-7", "unicode-1-1-utf-7"):
        return data.decode("utf-7", "replace")
    if (charset == "utf-8" or not declared) and (text := _mostly_utf8(data)):
        return text
    charset = charsets.choose(data, "utf-8" if not declared or _SINGLE_BYTE.match(declared) else "", declared)
    # what is declared ISO 8859-1 is Windows-1252 with its quotes and dashes (WHATWG Encoding Standard §4.2)
    return data.decode("cp1252" if charset == "iso8859-1" else charset, "replace")


def _mostly_utf8(data: bytes) -> str:
    """Decode UTF-8 that was cut in the middle of a letter, or has a stray byte; "" for anything else."""
    text = data.decode("utf-8", "replace")
    lost = text.count("\ufffd")
    whole = sum(1 for character in text[:10_000] if character > "\x7f") - lost if lost else 0
    return text if lost and whole >= 2 and lost <= 1 + whole // 10 else ""


def _bytes(value: str) -> bytes:
    """Return the bytes a value came as; what is decoded already comes as UTF-8."""
    return value.encode("utf-8", "surrogateescape")


def plain(value: str) -> str:
    """Put a value on one line and decode the bytes in it; encoded words stay as they are."""
    text = value if value.isascii() else decode_bytes(_bytes(value))
    return " ".join(charsets.clean(text).split())


def decode(value: str) -> str:
    """Decode a value for people, on one line."""
    if "=?" not in value:
        return plain(value)
    pieces: list[str] = []
    end = 0
    charset, pending = "", b""
    for word in _WORD.finditer(value):
        between = value[end : word.start()]
        data = _word_bytes(word)
        named = word[1].partition("*")[0].lower()
        if pending and named == charset and not between.strip():
            pending += data  # of one charset: they may part in the middle of a letter
        else:
            if pending or end:
                pieces.append(decode_bytes(pending, charset))
            if between.strip() or not end:
                pieces.append(_as_text(between))
            charset, pending = named, data
        end = word.end()
    pieces += [decode_bytes(pending, charset), _as_text(value[end:])]
    return " ".join(charsets.clean("".join(pieces)).split())


def mailboxes(value: str) -> list[Mailbox]:
    """Read a list of addresses; what has none is left out, but for a name that stands alone (`From: Vera`)."""
    found: list[Mailbox] = []
    words: list[str] = []
    comment = angled = ""
    has_angle = False
    value = value[:_LONGEST_STRUCTURED]
    has_groups = ";" in value

    def take(is_last: bool) -> None:
        nonlocal comment, angled, has_angle
        said = " ".join(" ".join(words).split()).strip("<> ")
        if has_angle:
            found.append(_mailbox(angled, said or comment))
        elif "@" in said:
            address = next(word for word in said.split(" ") if "@" in word)
            found.append(_mailbox(address, comment or said.replace(address, "", 1).strip()))
        elif "=?" in said and "@" in (decoded := decode(said)) and "=?" not in decoded:
            found.extend(mailboxes(decoded))  # the whole of `Vera <vera@…>` in one encoded word
        elif said and not is_last:
            return  # `Ivanova, Vera <…>`: a comma in a name without quotes
        elif said:
            found.append(Mailbox("", _name(said)))
        words.clear()
        comment = angled = ""
        has_angle = False

    for token in _TOKEN.finditer(value):
        text = token[0]
        match text[0]:
            case '"':
                words.append(re.sub(r"\\(.)", r"\1", text[1:-1] if len(text) > 1 and text.endswith('"') else text[1:]))
            case "(":
                comment = text[1:].rstrip(")")
            case "<":
                angled, has_angle = text.strip("<>"), True
            case ",":
                take(False)
            case ";":
                take(True)
            case ":" if has_groups and not has_angle:
                words.clear()  # the name of a group
            case _:
                words.append(text)
        if len(found) >= _MOST_ADDRESSES:
            break
    take(True)
    return found


def identifiers(value: str) -> tuple[str, ...]:
    """Read Message-IDs with their brackets, each once, in order; they may be many, folded, or without brackets."""
    text = plain(value[: _LONGEST_STRUCTURED * 4])
    found = ["".join(each.split()) for each in _IDENTIFIER.findall(text)]
    if not found:
        found = [each.strip("<>\"'") for each in text.split() if "@" in each]
    identified = list(dict.fromkeys(f"<{each[: _LONGEST_ID - 2]}>" for each in found if each))
    if len(identified) > _MOST_IDS:
        identified = identified[:1] + identified[1 - _MOST_IDS :]  # the root tells the conversation
    return tuple(identified)


def date(value: str) -> datetime | None:
    """Read a date in UTC; None for none, and for what no clock of a mail server says."""
    try:
        found = parsedate_to_datetime(plain(value[:200]))
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return found if _OLDEST <= found.year <= _NEWEST else None


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """Part `text/plain; charset=…` into its main word, in lower case, and its decoded parameters."""
    value = value[:_LONGEST_STRUCTURED]
    main = value.partition(";")[0].partition("(")[0].strip().lower()
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for name, text in _PARAMETER.findall(value):
        text = text.strip()
        if len(text) > 1 and text[0] == text[-1] == '"':
            # Windows paths have backslashes that escape nothing
            text = re.sub(r'\\(["\\])', r"\1", text[1:-1])
        if found := _PIECE.fullmatch(name.lower()):
            pieces.setdefault(found[1], []).append((int(found[2] or 0), bool(found[3]), text))
    return main, {name: _joined(parts) for name, parts in pieces.items()}


def _joined(parts: list[tuple[int, bool, str]]) -> str:
    """Join the pieces of a parameter (RFC 2231 §3) and decode them by the charset the first one names."""
    if len(parts) == 1 and not parts[0][1]:
        return decode(parts[0][2])
    extended = [part for part in parts if part[1]]
    if len(extended) == 1 and len({number for number, _, _ in parts}) == 1:
        parts = extended  # `filename=` and `filename*=` side by side: the second is the better
    parts = sorted(parts, key=lambda part: part[0])
    charset, data = "", b""
    for position, (_, is_extended, text) in enumerate(parts):
        if is_extended and position == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        raw = _bytes(text)
        data += unquote_to_bytes(raw) if is_extended else raw
    if not charset and b"=?" in data and data.isascii():
        return decode(data.decode("ascii"))
    return " ".join(charsets.clean(decode_bytes(data, charset)).split())


def _word_bytes(word: re.Match[str]) -> bytes:
    """Decode the transfer encoding of one encoded word."""
    data = _bytes(word[3])
    if word[2] in "bB":
        return from_base64(data)
    return binascii.a2b_qp(data.replace(b"\n", b"").replace(b"\r", b""), header=True)


def from_base64(data: bytes) -> bytes:
    """Decode base64 whatever its state: cut short, with strange characters, or several pieces one after another."""
    decoded = b""
    for piece in _pieces(data):
        try:
            decoded += binascii.a2b_base64(piece)
        except binascii.Error:
            letters = re.sub(rb"[^A-Za-z0-9+/]", b"", piece)
            letters = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
            decoded += binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    return decoded


def _pieces(data: bytes) -> Iterator[bytes]:
    """Part base64 after its padding, where more of it follows; a mailing list's footer is none."""
    padding = data.find(b"=")
    if padding >= 0 and re.fullmatch(rb"[A-Za-z0-9+/=\s]*", rest := data[padding:]) and rest.strip(b"=\r\n\t "):
        yield from (piece + b"==" for piece in re.split(rb"=[=\s]*", data) if piece)
    else:
        yield data


def _as_text(value: str) -> str:
    """Decode the bytes in a piece of a value, its blanks kept."""
    return value if value.isascii() else decode_bytes(_bytes(value))


def _mailbox(address: str, name: str) -> Mailbox:
    canonical = _address(plain(address))
    shown = _name(name)
    if "=?" in address and not canonical:
        canonical = _address(decode(address))
    return Mailbox(canonical, "" if shown.lower() == canonical else shown)


def _address(raw: str) -> str:
    """Spell an address canonically, and one that only some hosts allow (`a..b@docomo.ne.jp`) in lower case."""
    if "@" not in raw:
        return ""
    found = addresses.email(raw)
    if found is None and len(raw) <= 254 and (loose := _LOOSE_ADDRESS.fullmatch(raw.strip().strip("\"'"))):
        found = loose[0].lower() if "\ufffd" not in loose[0] else None
    return found or ""


def _name(raw: str) -> str:
    name = decode(raw).strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1].strip()
    return name[:_LONGEST_NAME]
