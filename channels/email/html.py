"""Letters' HTML, which anybody may have written: made safe to show, and made into plain text.

Safe: nh3 (ammonia, an HTML5 parser) with an allow-list; there is no script, style sheet, form, frame or drawing that
could run or load anything. Pictures that lie elsewhere tell their sender when they are looked at, so they come without
`src`, with their address in `data-src`: a page that is asked to can put it back. `cid:` pictures are files of the
letter itself. It must be shown under a Content-Security-Policy all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape, unescape

import nh3


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


_BLOCKS = _names(
    "address article aside blockquote center dd details div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 "
    "header hr li main nav ol p pre section table tbody td tfoot th thead tr ul summary caption"
)
_INLINE = _names(
    "a abbr b bdi bdo big br cite code col colgroup data del dfn em font i img ins kbd mark q rp rt ruby s samp "
    "small span strike strong sub sup time tt u var wbr"
)
_DROPPED_WHOLE = _names("script style title template noembed noframes xmp svg math object")
_ATTRIBUTES = {
    "*": {"dir", "lang", "title", "align", "valign", "bgcolor", "width", "height", "style"},
    "a": {"href", "name"},
    "img": {"src", "alt", "border", "hspace", "vspace"},
    "font": {"color", "face", "size"},
    "table": {"border", "cellpadding", "cellspacing"},
    "td": {"colspan", "rowspan", "nowrap"},
    "th": {"colspan", "rowspan", "nowrap", "scope"},
    "col": {"span"},
    "colgroup": {"span"},
    "ol": {"start", "type", "reversed"},
    "ul": {"type"},
    "li": {"value"},
    "time": {"datetime"},
}
# Looks only: nothing that loads, moves out of its place, or lies over the page around it.
_STYLES = _names(
    "color background-color font font-family font-size font-style font-weight line-height text-align text-decoration "
    "text-indent text-transform vertical-align white-space word-break overflow-wrap word-spacing letter-spacing "
    "direction width max-width min-width height max-height min-height padding padding-top padding-right padding-bottom "
    "padding-left margin margin-top margin-right margin-bottom margin-left border border-top border-right "
    "border-bottom border-left border-color border-style border-width border-collapse border-spacing border-radius "
    "display list-style-type"
)
_FUNCTION = re.compile(r"(?<!rgb)(?<!rgba)(?<!hsl)(?<!hsla)\(", re.IGNORECASE)
_PICTURE_DATA = re.compile(r"data:image/(?:png|jpe?g|gif|webp|bmp|avif);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE)

# What nh3 writes is regular: lower case, attributes in double quotes, no stray angle brackets outside of them.
_IMAGE = re.compile(r'<img((?: [\w-]+="[^"]*")*)>')
_ATTRIBUTE = re.compile(r' ([\w-]+)="([^"]*)"')
_TAG = re.compile(r'<(/?)([a-z][a-z0-9]*)((?: [\w-]+="[^"]*")*)>')
_HIDDEN = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all|visibility\s*:\s*hidden", re.IGNORECASE)
_LONGEST_LINK = 300

# An HTML5 parser opens what was not closed again in every block, unless it is the same three times over (§13.2.4.3),
# and looks through all open elements at each tag: a letter made for it takes gigabytes and minutes. People's letters
# hardly come near these numbers, and lose no more than colours by it.
_MOST_FORMATTED = 1_000_000  # formatting tags times others
_MOST_OPENED = 30_000
_MOST_NESTED = 10_000
_MOST_ENTITIES = 50_000  # in one run of text
_FORMATS = r"</?(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)"
_FORMATTING = re.compile(_FORMATS + r"(?=[\s/>])", re.IGNORECASE)
_WITH_ATTRIBUTES = re.compile(_FORMATS + r"(?=[\s/])", re.IGNORECASE)
_OPENED = re.compile(r"<[a-z]", re.IGNORECASE)
_NESTING = re.compile(
    r"(</?)(?!(?:a|p|li|td|tr|th|br|img|hr|wbr|col|dd|dt|meta|link|input|style|script|title)[\s/>])([a-z][^\s/<>]{0,50})",
    re.IGNORECASE,
)
_EMPTY = frozenset(("br", "img", "hr", "col", "wbr"))


def safe(html: str, images: Mapping[str, str] | None = None) -> str:
    """Return HTML that can be shown.

    `images`: content id (no brackets) → address to show it from; others stay `src="cid:…"`. Remote pictures come out as
    `<img data-src="https://…">` without `src`.
    """
    cleaned = nh3.clean(
        _tamed(html),
        tags=set(_BLOCKS - {"form"} | _INLINE),
        clean_content_tags=set(_DROPPED_WHOLE),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        attribute_filter=_filtered,
        url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        filter_style_properties=set(_STYLES),
        strip_comments=True,
    )
    known = images or {}
    return _IMAGE.sub(lambda found: _image(found[1], known), cleaned)


def _filtered(tag: str, attribute: str, value: str) -> str | None:
    """Decide on one attribute; None drops it."""
    if attribute == "style":
        return "; ".join(each for each in value.split(";") if not _FUNCTION.search(each)) or None
    if attribute == "href":
        return None if value.strip().lower().startswith(("cid:", "data:")) else value
    if tag == "img" and attribute == "src":
        address = value.strip()
        if address.startswith("//"):
            return "https:" + address
        if address.lower().startswith(("http://", "https://", "cid:")) or _PICTURE_DATA.fullmatch(address):
            return address
        return None
    return value


def _image(attributes: str, known: Mapping[str, str]) -> str:
    """Write a picture's tag anew: what lies elsewhere does not load by itself."""
    written = []
    for name, value in _ATTRIBUTE.findall(attributes):
        address = unescape(value)
        if name != "src" or address.lower().startswith("data:"):
            written.append(f'{name}="{value}"')
        elif address.lower().startswith("cid:"):
            written.append(f'src="{escape(known.get(address[4:], address))}"')
        else:
            written.append(f'data-src="{value}"')
    return "<img" + "".join(" " + each for each in written) + ">"


def to_text(html: str) -> str:
    """Return what HTML says, as plain text people can read: quotes as `> `, lists with dashes, links in brackets."""
    cleaned = nh3.clean(
        _tamed(html),
        tags=set(_BLOCKS | _INLINE),
        clean_content_tags=set(_DROPPED_WHOLE),
        attributes={"*": {"style", "hidden"}, "a": {"href"}, "img": {"alt"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto", "tel"},
        link_rel=None,
        strip_comments=True,
    )
    writing = _Writing()
    position = 0
    for tag in _TAG.finditer(cleaned):
        writing.text(cleaned[position : tag.start()])
        if tag[1]:
            writing.close(tag[2])
        else:
            writing.open(tag[2], dict(_ATTRIBUTE.findall(tag[3])))
        position = tag.end()
    writing.text(cleaned[position:])
    return writing.done()


def _tamed(html: str) -> str:
    """Take the looks, never the words, from HTML that no mailer wrote."""
    if len(html) > 100_000 and html.count("&") + html.count("\u00a0") > _MOST_ENTITIES:
        html = "<".join(_without_entities(piece) for piece in html.split("<"))
    opened = len(_OPENED.findall(html)) if html.count("<") > 1_000 else 0
    if opened > 1_000:
        formatted = len(_FORMATTING.findall(html))
        if formatted * opened > _MOST_FORMATTED:
            # what they are stays, unless there is too much of it, and their attributes go to an element of no content
            html = (
                _WITH_ATTRIBUTES.sub(r"\g<0>><wbr", html) if opened <= _MOST_OPENED else _FORMATTING.sub("<wbr", html)
            )
        if opened > _MOST_NESTED and sum(1 for tag in _NESTING.finditer(html) if tag[1] == "<") > _MOST_NESTED:
            html = _NESTING.sub(lambda tag: tag[1] + ("br" if tag[2].lower() in _BLOCKS else "wbr"), html)
    return html


def _without_entities(piece: str) -> str:
    if piece.count("&") + piece.count("\u00a0") <= _MOST_ENTITIES:
        return piece
    return re.sub("[&<>]", " ", unescape(piece)).replace("\u00a0", " ")


class _Writing:
    """Plain text in the making, line by line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []  # pieces of the line being written
        self._depth = 0  # of quotes
        self._hidden: list[str] = []  # open elements, from the hidden one inwards
        self._preformatted = 0
        self._lists: list[int] = []  # the number of the next point; -1 for dashes
        self._links: list[tuple[str, int, int]] = []  # address, and where in the text it began
        self._ends_in_blank = True

    def text(self, markup: str) -> None:
        if self._hidden or not markup:
            return
        words = unescape(markup)
        if self._preformatted:
            first, *others = words.split("\n")
            self._add(first)
            for other in others:
                self._break()
                self._add(other)
            return
        words = re.sub(r"[ \t\r\n\f]+", " ", words.replace("\u200b", "").replace("\u200c", "").replace("\u00ad", ""))
        if self._ends_in_blank:
            words = words.lstrip(" ")
        self._add(words)

    def open(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._hidden or _HIDDEN.search(attributes.get("style", "")) or "hidden" in attributes:
            if tag not in _EMPTY:
                self._hidden.append(tag)
            return
        if tag == "br":
            self._break()
        elif tag == "img":
            alt = " ".join(unescape(attributes.get("alt", "")).split())
            # an emoji as a picture is its own words
            self._add(f"[{alt[:200]}]" if len(alt) > 4 or alt.isalnum() else alt)
        elif tag == "hr":
            self._end_line()
            self._add("—" * 10)
            self._end_line()
        elif tag == "a":
            self._links.append((unescape(attributes.get("href", "")), len(self._lines), len(self._line)))
        elif tag in ("td", "th"):
            if self._line and not self._ends_in_blank:
                self._add(" ")
        elif tag in _BLOCKS:
            self._end_line()
            if tag in ("p", "h1", "h2", "h3", "h4", "h5", "h6", "pre"):
                self._blank_line()
            self._open_block(tag, attributes)

    def _open_block(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "blockquote":
            self._depth += 1
        elif tag == "pre":
            self._preformatted += 1
        elif tag in ("ol", "ul"):
            start = attributes.get("start", "1")
            self._lists.append(-1 if tag == "ul" else int(start) if re.fullmatch(r"\d{1,6}", start, re.ASCII) else 1)
        elif tag == "li":
            number = self._lists[-1] if self._lists else -1
            self._add("  " * (min(len(self._lists), 10) - 1) + ("- " if number < 0 else f"{number}. "))
            self._ends_in_blank = True
            if number >= 0:
                self._lists[-1] += 1

    def close(self, tag: str) -> None:
        if self._hidden:
            self._hidden.pop()
            return
        if tag == "a" and self._links:
            self._close_link(*self._links.pop())
        elif tag in _BLOCKS and tag not in ("td", "th"):
            self._end_line()
            if tag in ("p", "h1", "h2", "h3", "h4", "h5", "h6", "pre"):
                self._blank_line()
            if tag == "blockquote":
                self._depth = max(self._depth - 1, 0)
            elif tag == "pre":
                self._preformatted = max(self._preformatted - 1, 0)
            elif tag in ("ol", "ul") and self._lists:
                self._lists.pop()

    def _close_link(self, address: str, line: int, piece: int) -> None:
        """Say where a link leads, unless its words say it or it is too long to be read."""
        said = "".join(self._line[piece:] if line == len(self._lines) else self._line).strip()
        shown = address.removeprefix("mailto:").removeprefix("tel:")
        plain = re.sub(r"^https?://(?:www\.)?", "", shown).rstrip("/")
        if said and shown and len(shown) <= _LONGEST_LINK and plain.lower() not in said.lower():
            self._add(f" <{shown}>")

    def _add(self, words: str) -> None:
        if words:
            self._line.append(words)
            self._ends_in_blank = words.endswith(" ")

    def _break(self) -> None:
        line = "".join(self._line).rstrip()
        self._lines.append(self._quoted(line))
        self._line = []
        self._ends_in_blank = True

    def _end_line(self) -> None:
        if any(piece.strip() for piece in self._line):
            self._break()
        self._line = []
        self._ends_in_blank = True

    def _blank_line(self) -> None:
        if self._lines and self._lines[-1].strip("> "):
            self._lines.append(self._quoted(""))

    def _quoted(self, line: str) -> str:
        return (("> " * min(self._depth, 20)) + line).rstrip() if self._depth else line

    def done(self) -> str:
        self._end_line()
        text = "\n".join(self._lines).replace("\u00a0", " ")
        return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip("\n").rstrip()
