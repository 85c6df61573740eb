"""The snippet: what somebody pastes into their own site to have a web form or the chat widget there."""

from __future__ import annotations

from typing import Protocol

from markupsafe import escape


class Pasted(Protocol):
    """What of a connection the snippet needs; both the stored one and the live one have it."""

    @property
    def kind(self) -> str:
        """Which kind of channel it is."""
        ...

    @property
    def key(self) -> str:
        """The unguessable part of its hook's address."""
        ...

    @property
    def slug(self) -> str | None:
        """The readable part of its hosted form's address; None if it has none."""
        ...

    @property
    def title(self) -> str:
        """What visitors see it called."""
        ...


def snippet(form: Pasted, public_url: str) -> str:
    """Return the HTML to paste: a form appears where the tag stands, and visitors without scripts get a link to it; a
    chat widget stands in the corner of every page that has the tag.
    """
    base = public_url.rstrip("/")
    tag = f'<script src="{escape(base)}/w/{form.key}.js" async></script>'
    if form.slug is None or form.kind == "widget":
        return tag
    return f'{tag}\n<noscript><a href="{escape(base)}/f/{form.slug}">{escape(form.title)}</a></noscript>'


def allowances(public_url: str) -> str:
    """Return what a site has to add to its Content-Security-Policy, if it has one, for what is pasted to work there."""
    base = public_url.rstrip("/")
    socket = f"ws{base.removeprefix('http')}"
    return f"script-src {base}; connect-src {base} {socket}; img-src {base}"
