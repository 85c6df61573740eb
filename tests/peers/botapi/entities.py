"""Text and its entities: found by themselves, read from HTML, and written as HTML for whoever looks.

Offsets and lengths are UTF-16 code units: https://core.telegram.org/bots/api#messageentity and #formatting-options.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

from tests.peers.botapi.errors import Refused, bad

Entity = dict[str, Any]

_TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "a": "text_link",
    "tg-emoji": "custom_emoji",
    "span": "spoiler",
}
_OPENING = re.compile(r"<([a-zA-Z0-9-]+)((?:\s+[a-zA-Z-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'>]+))?)*)\s*>")
_CLOSING = re.compile(r"</([a-zA-Z0-9-]*)\s*>")
_ATTRIBUTE = re.compile(r"([a-zA-Z-]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")
_REFERENCE = re.compile(r"&(?:lt|gt|amp|quot|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});")
_FOUND = (
    (
        "url",
        re.compile(
            r"(?<![\w@])(?:https?://[^\s<>\"]+[^\s<>\".,;:!?)\]]|(?:[a-z0-9-]+\.)+(?:com|org|net|ru|am|me)\b"
            r"(?:/[^\s<>\"]*[^\s<>\".,;:!?)\]])?)(?!@)",
            re.IGNORECASE,
        ),
    ),
    ("email", re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.ASCII)),
    ("bot_command", re.compile(r"(?<![\w/<>])/[a-zA-Z0-9_]{1,64}(?:@[a-zA-Z0-9_]{3,32})?(?![\w/])")),
    ("mention", re.compile(r"(?<!\w)@[a-zA-Z][a-zA-Z0-9_]{3,31}(?!\w)")),
    ("hashtag", re.compile(r"(?<!\w)#(?=\w*[^\W\d])\w{1,256}")),
    ("cashtag", re.compile(r"(?<!\w)\$[A-Z]{1,8}(?!\w)")),
)


def units(text: str) -> int:
    """Return a text's length in UTF-16 code units, which is what Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def entity(kind: str, text: str, start: int, end: int, **more: Any) -> Entity:
    """Make an entity that covers `text[start:end]`."""
    return {"offset": units(text[:start]), "length": units(text[start:end]), "type": kind, **more}


def link(given: str) -> str:
    """Return an address as Telegram writes it, with a path at least; nothing if it is none."""
    if re.match(r"(tg|ton)://|mailto:|tel:", given):
        return given
    found = re.match(r"(https?://)?([^\s/?#.]+(?:\.[^\s/?#.]+)+(?::[0-9]+)?)(/?)(\S*)$", given)
    return f"{found[1] or 'http://'}{found[2]}/{found[4]}" if found else ""


def unparsable(why: str) -> Refused:
    """Make Telegram's answer to markup that is wrong."""
    return bad(f"can't parse entities: {why}")


def from_html(markup: str) -> tuple[str, list[Entity]]:
    """Read a text with tags: https://core.telegram.org/bots/api#html-style.

    Raises:
        Refused: a tag is unknown, or not closed.
    """
    text, found, open_tags = "", list[Entity](), list[tuple[str, int, dict[str, str]]]()
    at = 0

    def offset() -> int:
        return len(markup[:at].encode())

    while at < len(markup):
        if markup[at] == "&" and (reference := _REFERENCE.match(markup, at)):
            text += unescape(reference[0])
            at = reference.end()
        elif markup.startswith("</", at):
            closing = _CLOSING.match(markup, at)
            if not closing:
                raise unparsable(f"Unclosed end tag at byte offset {offset()}")
            if not open_tags:
                raise unparsable(f"Unexpected end tag at byte offset {offset()}")
            name, start, attributes = open_tags.pop()
            if closing[1] and closing[1].lower() != name:
                raise unparsable(
                    f'Unmatched end tag at byte offset {offset()}, expected "</{name}>", found "{closing[0]}"'
                )
            if made := _of_tag(name, attributes, text, start, bool(open_tags) and open_tags[-1][0] == "pre", found):
                found.append(made)
            at = closing.end()
        elif markup[at] == "<":
            opening = _OPENING.match(markup, at)
            if not opening:
                name = (re.match(r"<([a-zA-Z0-9-]*)", markup[at:]) or [""] * 2)[1].lower()
                if ">" in markup[at:] or name not in _TAGS:
                    raise unparsable(f'Unsupported start tag "{name}" at byte offset {offset()}')
                raise unparsable(f"Unclosed start tag at byte offset {offset()}")
            name = opening[1].lower()
            attributes = {key.lower(): unescape(a or b or c) for key, a, b, c in _ATTRIBUTE.findall(opening[2])}
            if name not in _TAGS:
                raise unparsable(f'Unsupported start tag "{name}" at byte offset {offset()}')
            if name == "span" and attributes.get("class") != "tg-spoiler":
                raise unparsable(f'Tag "span" must have class "tg-spoiler" at byte offset {offset()}')
            open_tags.append((name, len(text), attributes))
            at = opening.end()
        else:
            text += markup[at]
            at += 1
    if open_tags:
        raise unparsable(f'Can\'t find end tag corresponding to start tag "{open_tags[-1][0]}"')
    return text, found


def _of_tag(
    name: str, attributes: dict[str, str], text: str, start: int, in_pre: bool, found: list[Entity]
) -> Entity | None:
    if start == len(text):
        return None
    kind, more = _TAGS[name], dict[str, Any]()
    if name == "a":
        href = attributes.get("href") or text[start:]
        if mention := re.fullmatch(r"tg://user\?id=([0-9]+)", href):
            return entity("text_mention", text, start, len(text), user_id=int(mention[1]))
        if not (url := link(href)):
            return None
        more["url"] = url
    elif name == "tg-emoji":
        if not attributes.get("emoji-id", "").isdecimal():
            raise unparsable("Invalid custom emoji identifier specified")
        more["custom_emoji_id"] = attributes["emoji-id"]
    elif name == "blockquote" and "expandable" in attributes:
        kind = "expandable_blockquote"
    elif name == "code" and in_pre and attributes.get("class", "").startswith("language-"):
        return entity("code", text, start, len(text), language=attributes["class"][9:])
    made = entity(kind, text, start, len(text), **more)
    if name == "pre":
        inner = [one for one in found if one["type"] == "code" and "language" in one]
        if inner and (inner[-1]["offset"], inner[-1]["length"]) == (made["offset"], made["length"]):
            found.remove(inner[-1])
            made["language"] = inner[-1]["language"]
    return made


def with_found(text: str, given: list[Entity]) -> list[Entity]:
    """Add the entities that Telegram finds by itself, where none was given, in the order Telegram gives them."""
    taken = [(one["offset"], one["offset"] + one["length"]) for one in given if one["type"] in _CLOSED]
    result = list(given)
    for kind, pattern in _FOUND:
        for match in pattern.finditer(text):
            made = entity(kind, text, *match.span())
            start, end = made["offset"], made["offset"] + made["length"]
            if all(end <= other or start >= until for other, until in taken):
                taken.append((start, end))
                result.append(made)
    for one in result:
        if one["type"] == "code":
            one.pop("language", None)
    return sorted(result, key=lambda one: (one["offset"], -one["length"]))


_CLOSED = ("code", "pre", "text_link", "text_mention", "url", "email", "bot_command", "mention", "hashtag", "cashtag")


def trimmed(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Take blanks away from both ends, as Telegram does, and keep the entities where their words are."""
    left = units(text[: len(text) - len(text.lstrip())])
    text = text.strip()
    whole, kept = units(text), []
    for one in entities:
        start = max(one["offset"] - left, 0)
        end = min(one["offset"] + one["length"] - left, whole)
        if end > start:
            kept.append({**one, "offset": start, "length": end - start})
    return text, kept


def to_html(text: str, entities: list[Entity]) -> str:
    """Write a text as people see it, in the HTML `from_html` reads."""
    opens: dict[int, list[Entity]] = {}
    for one in sorted(entities, key=lambda one: (one["offset"], -one["length"])):
        opens.setdefault(one["offset"], []).append(one)
    written, ends, at = list[str](), list[tuple[int, str]](), 0
    for letter in [*text, ""]:
        while ends and ends[-1][0] <= at:
            written.append(ends.pop()[1])
        for one in opens.get(at, ()) if letter else ():
            opening, closing = _tags(one)
            if opening:
                written.append(opening)
                ends.append((one["offset"] + one["length"], closing))
        written.append(escape(letter, quote=False))
        at += units(letter)
    return "".join(written) + "".join(closing for _, closing in reversed(ends))


def _tags(one: Entity) -> tuple[str, str]:
    kind = one["type"]
    if kind == "text_link":
        return f'<a href="{escape(one["url"])}">', "</a>"
    if kind == "text_mention":
        return f'<a href="tg://user?id={one["user"]["id"]}">', "</a>"
    if kind == "custom_emoji":
        return f'<tg-emoji emoji-id="{one["custom_emoji_id"]}">', "</tg-emoji>"
    if kind == "expandable_blockquote":
        return "<blockquote expandable>", "</blockquote>"
    if kind == "pre" and one.get("language"):
        return f'<pre><code class="language-{escape(one["language"])}">', "</code></pre>"
    names = {"bold": "b", "italic": "i", "underline": "u", "strikethrough": "s", "spoiler": "tg-spoiler"}
    name = names.get(kind) or (kind if kind in ("code", "pre", "blockquote") else "")
    return (f"<{name}>", f"</{name}>") if name else ("", "")
