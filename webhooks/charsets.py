"""Which charset a body is in, when its sender lies about it or says nothing.

One decision is made for a whole body: its fields were typed on one page. In order: the declared charset if the bytes
are valid in it, UTF-8 if they are valid UTF-8, the caller's preference, then the likeliest of the legacy charsets.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

import charset_normalizer

# What a browser can send (WHATWG Encoding Standard §4.2) under Python's names. An allow-list, because Python also
# has codecs that are no charsets (`unicode_escape`, `idna`, `rot13`).
_TEXT = re.compile(
    r"(?:ascii|utf-8|utf-8-sig|utf-16|utf-16-le|utf-16-be|utf-32|iso8859-\d+|cp1250|cp125[1-8]|cp866|cp855|cp437|cp850|"
    r"cp852|cp874|koi8-[rut]|mac-(?:cyrillic|roman|greek|turkish|latin2)|gb2312|gbk|gb18030|hz|big5(?:hkscs)?|cp932|"
    r"cp949|cp950|shift_jis|euc_jp|euc_kr|iso2022_jp|tis-620|ptcp154)"
)
# Declared by servers out of habit, and valid for any bytes at all: UTF-8, which is not, wins over them.
_MEANINGLESS = ("iso8859-1", "cp1252", "ascii")

# Never what percent-escapes or parts stand for; a body that is UTF-16 as a whole is seen by its first bytes.
_WIDE = ("utf-16", "utf-32")

# The second is how much likelier it is to be sent at all, which decides about words of a letter or two.
_CYRILLIC = {"cp1251": 0.15, "koi8-r": 0.0, "cp866": -0.1}
_OTHER = ["cp1252", "cp1250", "cp1253", "cp1254", "iso8859-2", "gb18030", "big5", "shift_jis", "euc_kr"]
_FREQUENT = frozenset("оеаинтсрвлкмдпуОЕАИНТСРВЛКМДПУ")
_WORD = re.compile(r"[^\W\d_]+")
_LETTERS = bytes(byte if byte > 0x40 else 0x20 for byte in range(256))
_SAMPLE = 4096
_GOOD_ENOUGH = 0.75

# C0 and C1 controls but for tab, line feed and carriage return; surrogates and non-characters go another way.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BROKEN = re.compile("[\ud800-\udfff\ufffe\uffff]")


def known(name: str) -> str | None:
    """Return Python's name of a charset that may hold a form, or None for an unknown one."""
    try:
        found = codecs.lookup(name.strip().strip("\"'").strip()).name if name.isascii() and "\0" not in name else ""
    except (LookupError, ValueError):
        return None
    return found if _TEXT.fullmatch(found) else None


def choose(data: bytes, *declared: str, prefer: str = "") -> str:
    """Choose the charset of `data`, which holds all the text of a body.

    `declared` are the names given by the sender, the most trustworthy first; `prefer` is what this sender usually uses.
    """
    is_utf8 = _decodes(data, "utf-8")
    for name in declared:
        charset = known(name) if name else None
        if charset and charset.startswith(_WIDE):
            continue
        if charset in _MEANINGLESS and (is_utf8 or charset == "ascii"):
            continue
        if charset and _decodes(data, charset):
            return charset
    if is_utf8:
        return "utf-8"
    preferred = known(prefer) if prefer else None
    if preferred and _decodes(data, preferred):
        return preferred
    return _likeliest(data)


def clean(text: str) -> str:
    """Make text that PostgreSQL, JSON and people can take: NFC, no control characters, no broken surrogates."""
    if not text.isprintable():
        text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        text = _BROKEN.sub("\ufffd", text)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _decodes(data: bytes, charset: str) -> bool:
    """Tell whether the bytes are valid in a charset."""
    try:
        data.decode(charset)
    except (UnicodeError, LookupError):
        return False
    return True


def _likeliest(data: bytes) -> str:
    """Guess a legacy charset.

    Statistics need more text than a form has, and take a Russian name for Greek; so Cyrillic is weighed by how words
    look, and only what does not look Cyrillic is left to charset-normalizer.
    """
    words = [word for word in data.translate(_LETTERS).split() if not word.isascii()]
    sample = b" ".join(words)[:_SAMPLE]
    best = max(_CYRILLIC, key=lambda charset: _looks_cyrillic(sample, charset) + _CYRILLIC[charset])
    if _looks_cyrillic(sample, best) >= _GOOD_ENOUGH:
        return best
    if _looks_western(sample):
        return "cp1252"
    guess = charset_normalizer.from_bytes(sample, cp_isolation=_OTHER, threshold=0.4).best()
    return (known(guess.encoding) if guess else None) or "cp1252"


def _looks_cyrillic(sample: bytes, charset: str) -> float:
    """Weigh, from below 0 to 1.3, how well bytes beyond ASCII read as Russian words in a charset."""
    text = sample.decode(charset, "replace")
    beyond = sum(1 for character in text if character > "\x7f")
    if not beyond:
        return 0.0
    weight = 0.0
    for match in _WORD.finditer(text):
        word = match[0]
        cyrillic = sum(1 for character in word if "\u0400" <= character <= "\u045f")
        if not cyrillic:
            continue
        if cyrillic < len(word) or not (word.islower() or word.isupper() or word[1:].islower()):
            weight -= cyrillic  # letters of two scripts, or capitals inside a word: read in a wrong charset
        else:
            weight += cyrillic + 0.3 * sum(1 for character in word if character in _FREQUENT)
    return weight / beyond


def _looks_western(sample: bytes) -> bool:
    """Tell whether single accented letters stand among ASCII ones, as in `José`."""
    text = sample.decode("cp1252", "replace")
    accented = sum(1 for character in text if "\u00c0" <= character <= "\u00ff")
    beyond = sum(1 for character in text if character > "\x7f")
    ascii_letters = sum(1 for character in text if character.isascii() and character.isalpha())
    return beyond > 0 and accented / beyond > 0.6 and ascii_letters >= accented
