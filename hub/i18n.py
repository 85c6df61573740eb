"""Languages: the catalogue of each, read when it is first needed."""

from __future__ import annotations

import gettext
import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

LOCALES = Path(__file__).parent / "locale"
LANGUAGES = {"en": "English", "ru": "Русский"}
"""The languages people can choose, each in its own words."""


@lru_cache(maxsize=16)
def catalogue(language: str) -> gettext.NullTranslations:
    """Return a language's translations; English, and any language without a catalogue, is the source itself.

    Where the source is newer than the compiled file it is compiled here: a checkout needs no extra step.
    """
    folder = LOCALES / language / "LC_MESSAGES"
    source, compiled = folder / "switchyard.po", folder / "switchyard.mo"
    if language not in LANGUAGES or (not source.exists() and not compiled.exists()):
        return gettext.NullTranslations()
    if compiled.exists() and (not source.exists() or compiled.stat().st_mtime >= source.stat().st_mtime):
        with compiled.open("rb") as file:
            return gettext.GNUTranslations(file)
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with source.open("rb") as file:
        read = read_po(file, locale=language)
    made = io.BytesIO()
    write_mo(made, read)
    made.seek(0)
    return gettext.GNUTranslations(made)


def translator_for(language: str | None) -> Callable[[str], str]:
    """Return the function that puts a message into a language; None means English."""
    return catalogue(language or "en").gettext
