"""The chat widget's script as it is served: one file with its settings, its words and its looks in it."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import msgspec

from channels.widget import Widget
from hub.web.widget_texts import LANGUAGES, TEXTS

MOST_BYTES = 30_000
"""What a page may be asked to load, uncompressed."""

# What is left as it is: texts, templates, and regular expressions, which begin where no value can be divided.
_VERBATIM = re.compile(
    r"""("(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`|[(,=:!&|?]\ ?/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/)"""
)
_BLANK = re.compile(r" *([^\w\s$]) *")
_LINE_END = re.compile(r"(?<=[{(,;])\n")

_SCRIPT = Path(__file__).with_name("widget.js")
_STYLE = Path(__file__).with_name("widget.css")


def script(channel: Widget) -> str:
    """Return the script of one widget."""
    settings = channel.settings
    chosen = {
        "title": settings.title,
        "greeting": settings.greeting,
        "hint": settings.offline_hint,
        "colour": settings.colour,
        "position": settings.position,
        "theme": settings.theme,
        "language": settings.language,
        "ask": settings.ask_for,
    }
    # nobody needs the usual words where there are others, nor other languages where one is chosen
    given = {"title": settings.title, "greeting": settings.greeting, "closed": settings.offline_hint}
    words = {
        language: ["" if given.get(key) else texts[number] for key, texts in TEXTS.items()]
        for number, language in enumerate(LANGUAGES)
        if settings.language in ("", language)
    }
    return f"{_source()}({_literal(chosen)},{_literal(list(TEXTS))},{_literal(words)},{_literal(_style())});\n"


@lru_cache(maxsize=1)
def _source() -> str:
    """Return what is the same for every widget, without what only its authors need."""
    lines = (re.sub(r" // .*", "", line).strip() for line in _SCRIPT.read_text("utf-8").splitlines())
    source = "\n".join(line for line in lines if line and not line.startswith("//"))
    return _squeezed(source).rpartition("(SETTINGS,")[0]


def _squeezed(source: str) -> str:
    """Return a script without blanks that mean nothing."""
    pieces = _VERBATIM.split(source)
    pieces[::2] = [_BLANK.sub(r"\1", piece) for piece in pieces[::2]]
    return _LINE_END.sub("", "".join(pieces))


@lru_cache(maxsize=1)
def _style() -> str:
    """Return the style sheet on one line."""
    plain = re.sub(r"/\*.*?\*/", "", _STYLE.read_text("utf-8"), flags=re.DOTALL)
    plain = re.sub(r"\s+", " ", plain)
    return re.sub(r" ?([{};,>]) ?|(?<=[a-z]): ", lambda found: found[1] or ":", plain).replace(";}", "}").strip()


def _literal(value: object) -> str:
    """Return a value as JavaScript reads it. JSON has two line ends that are none there."""
    written = msgspec.json.encode(value).decode()
    return written.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("</", "<\\/")
