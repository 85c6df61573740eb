"""Text with MarkdownV2: https://core.telegram.org/bots/api#markdownv2-style."""

from __future__ import annotations

import re

from tests.peers.botapi.entities import Entity, entity, link, unparsable

_RESERVED = "_*[]()~`>#+-=|{}.!"
_MARKS = {"*": "bold", "_": "italic", "__": "underline", "~": "strikethrough", "||": "spoiler"}
_NAMES = {"bold": "Bold", "italic": "Italic", "underline": "Underline", "strikethrough": "Strikethrough"}


class Reader:
    """Reads one text."""

    def __init__(self, markup: str) -> None:
        self._markup = markup
        self._at = 0
        self._text = ""
        self._found: list[Entity] = []
        self._open: list[tuple[str, int, int]] = []  # mark, where in the text, byte offset in the markup
        self._quote: tuple[int, bool] | None = None  # where it starts, whether it folds

    def read(self) -> tuple[str, list[Entity]]:
        """Return the text and its entities.

        Raises:
            Refused: something is not closed, or a reserved character stands without a backslash.
        """
        while self._at < len(self._markup):
            if self._at == 0 or self._markup[self._at - 1] == "\n":
                self._begin_line()
                if self._at >= len(self._markup):
                    break
            self._step()
        self._end_quote()
        if self._open:
            mark, _, offset = self._open[-1]
            name = _NAMES.get(_MARKS.get(mark, ""), "Spoiler" if mark == "||" else "TextUrl")
            raise unparsable(f"Can't find end of {name} entity at byte offset {offset}")
        return self._text, self._found

    def _offset(self) -> int:
        return len(self._markup[: self._at].encode())

    def _begin_line(self) -> None:
        rest = self._markup[self._at :]
        if rest.startswith("**>"):
            self._end_quote()
            self._quote = (len(self._text), True)
            self._at += 3
        elif rest.startswith(">"):
            self._quote = self._quote or (len(self._text), False)
            self._at += 1
        else:
            self._end_quote()

    def _end_quote(self) -> None:
        if self._quote and len(self._text) > self._quote[0]:
            start, folds = self._quote
            end = len(self._text.rstrip("\n")) if self._at < len(self._markup) else len(self._text)
            kind = "expandable_blockquote" if folds else "blockquote"
            self._found.append(entity(kind, self._text, start, end))
        self._quote = None

    def _step(self) -> None:
        markup, at = self._markup, self._at
        letter = markup[at]
        if letter == "\\" and at + 1 < len(markup) and 0 < ord(markup[at + 1]) < 127:
            self._text += markup[at + 1]
            self._at += 2
        elif letter == "`":
            self._code()
        elif letter == "[" or markup.startswith("![", at):
            self._open.append(("![" if letter == "!" else "[", len(self._text), self._offset()))
            self._at += 2 if letter == "!" else 1
        elif letter == "]" and self._open and self._open[-1][0] in ("[", "!["):
            self._link()
        elif mark := next((one for one in ("__", "||", "_", "*", "~") if markup.startswith(one, at)), ""):
            self._mark(mark)
        elif letter in _RESERVED:
            raise unparsable(f"Character '{letter}' is reserved and must be escaped with the preceding '\\'")
        else:
            self._text += letter
            self._at += 1

    def _mark(self, mark: str) -> None:
        is_open = [one for one, _, _ in self._open]
        if mark == "||" and "||" not in is_open and self._quote:
            rest = self._markup[self._at + 2 :]
            if not rest or rest.startswith("\n"):  # the end of a quotation that folds
                self._quote = (self._quote[0], True)
                self._at += 2
                return
        if mark in is_open:
            if is_open[-1] != mark:
                name = _NAMES.get(_MARKS.get(is_open[-1], ""), "Spoiler")
                raise unparsable(f"Can't find end of {name} entity at byte offset {self._open[-1][2]}")
            _, start, _ = self._open.pop()
            if start < len(self._text):
                self._found.append(entity(_MARKS[mark], self._text, start, len(self._text)))
        else:
            self._open.append((mark, len(self._text), self._offset()))
        self._at += len(mark)

    def _code(self) -> None:
        fence = "```" if self._markup.startswith("```", self._at) else "`"
        start, offset, language = len(self._text), self._offset(), ""
        self._at += len(fence)
        if fence == "```" and (said := re.match(r"([^\s`]+)\n", self._markup[self._at :])):
            language = said[1]
            self._at += said.end()
        elif fence == "```" and self._markup.startswith("\n", self._at):
            self._at += 1
        while not self._markup.startswith(fence, self._at):
            if self._at >= len(self._markup):
                raise unparsable(
                    f"Can't find end of {'Pre' if fence == '```' else 'Code'} entity at byte offset {offset}"
                )
            if self._markup[self._at] == "\\" and self._at + 1 < len(self._markup):
                self._at += 1
            self._text += self._markup[self._at]
            self._at += 1
        self._at += len(fence)
        if len(self._text) > start:
            more = {"language": language} if language else {}
            kind = "pre" if fence == "```" else "code"
            self._found.append(entity(kind, self._text, start, len(self._text), **more))

    def _link(self) -> None:
        mark, start, offset = self._open.pop()
        self._at += 1
        target = re.match(r"\(((?:\\.|[^\\)])*)\)", self._markup[self._at :], re.DOTALL)
        if not target:
            if mark == "![" or self._markup.startswith("(", self._at):
                raise unparsable(f"Can't find end of a URL at byte offset {offset}")
            return
        self._at += target.end()
        url = re.sub(r"\\(.)", r"\1", target[1])
        if start == len(self._text):
            return
        if custom := re.fullmatch(r"tg://emoji\?id=([0-9]+)", url):
            made = entity("custom_emoji", self._text, start, len(self._text), custom_emoji_id=custom[1])
        elif mention := re.fullmatch(r"tg://user\?id=([0-9]+)", url):
            made = entity("text_mention", self._text, start, len(self._text), user_id=int(mention[1]))
        elif address := link(url):
            made = entity("text_link", self._text, start, len(self._text), url=address)
        else:
            return
        self._found.append(made)


def from_markdown(markup: str) -> tuple[str, list[Entity]]:
    """Read a text in MarkdownV2.

    Raises:
        Refused: it is not well formed.
    """
    return Reader(markup).read()
