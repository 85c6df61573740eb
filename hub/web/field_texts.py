"""For `make catalogues`: finds the words of channels' settings, which stand as plain arguments of their fields, those
of the desk, which are given to `doing.text` and `reader.text`, and those with which something is refused.

Channels and core know nothing of languages (they are below the hub), so that nothing in them is marked for translation.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any

from babel.messages.extract import extract_python

_SPEAKERS = ("doing", "reader", "self")
_REFUSALS = ("Conflict", "Forbidden", "Rejected", "Stale")  # of core.kernel.errors


def extract(
    source: IO[bytes], keywords: Mapping[str, Any], comment_tags: Collection[str], options: Any
) -> Iterator[Any]:
    """Yield what Babel finds in Python, the titles and descriptions of channels' settings and of channels, and what
    the desk says.
    """
    content = source.read()
    yield from extract_python(io.BytesIO(content), keywords, comment_tags, options)
    if b"core.kernel.errors" in content:
        for text, line in _refused(ast.parse(content)):
            yield line, None, text, []
    if b".text(" in content and b"hub.desk" in content:
        for text, line in _said(ast.parse(content)):
            yield line, None, text, []
    has_fields = b"Field(" in content and (b"Settings(" in content or b"json_schema_extra" in content)
    if has_fields or b"title: ClassVar" in content:
        for text, line in sorted(_texts(ast.parse(content)), key=lambda found: found[1]):
            yield line, None, text, []


def _texts(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
            for argument in node.keywords:
                if argument.arg in ("title", "description") and (text := _constant(argument.value)):
                    yield text, argument.value.lineno
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "title":
            text = "" if node.value is None else _constant(node.value)
            if text:
                yield text, node.lineno


def _refused(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _REFUSALS and node.args:
            message = node.args[0]
            for part in (message.body, message.orelse) if isinstance(message, ast.IfExp) else (message,):
                if text := _constant(part):
                    yield text, part.lineno


def _said(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "text"):
            continue
        owner = node.func.value
        name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        if name in _SPEAKERS and node.args and (text := _constant(node.args[0])):
            yield text, node.lineno


def _constant(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
