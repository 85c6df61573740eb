"""Reading of form bodies: whatever a browser, curl, a CMS or a script posts becomes ordered names and values.

The declared content type is a hint, not a fact: curl sends JSON as urlencoded, beacons send urlencoded as text, and
some send nothing at all. So the declared type counts where the body bears it out; otherwise the body is looked at.

Nested JSON is flattened to the names that PHP and jQuery give the same structure, `address[city]`; a list of plain
values becomes the name repeated. Numbers keep the digits they were sent with; null becomes "".

Nothing here does I/O or knows what a field means; see `channels.webform` for that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from webhooks import charsets
from webhooks.errors import Malformed
from webhooks.multiparts import Part, boundary_in, parts_of

MAX_FIELDS = 500
MAX_TEXT = 65_536
"""Characters in one value. A longer one is refused, not cut: half an order is worse than none."""
_MAX_NAME = 1_000
_MAX_DEPTH = 20

Pair = tuple[str, str]


class File(NamedTuple):
    """A file in a form. `part` is its number in the body, for `multiparts.read_part`; `size` is in bytes."""

    name: str
    filename: str
    content_type: str
    size: int
    part: int


@dataclass(frozen=True, slots=True)
class FormData:
    """What a form said: names and values in the order sent, repeats included, and the files.

    `charset` is the one that was decided on, by Python's name.
    """

    fields: tuple[Pair, ...]
    files: tuple[File, ...] = ()
    charset: str = "utf-8"

    def first(self, name: str) -> str:
        """Return the first value of a name that is not blank, or ""."""
        return next((value for key, value in self.fields if key == name and value.strip()), "")


def decode(body: bytes, content_type: str, query: str = "", prefer: str = "") -> FormData:
    """Read a body.

    Args:
        body: as received.
        content_type: the whole header, parameters included; "" when there was none.
        query: the raw query string; its fields follow those of the body.
        prefer: the charset this sender uses when it does not say.

    Raises:
        Malformed: nothing was sent, it cannot be read, or it is more than a form has.
    """
    if not body.strip():
        if not query:
            raise Malformed("Nothing was sent: the request has an empty body. Post the form's fields in the body.")
        form = _urlencoded(query.encode("utf-8", "replace"), "", prefer)
    else:
        form = _read(body, content_type, prefer)
        if query:
            asked = _urlencoded(query.encode("utf-8", "replace"), "", prefer)
            form = FormData(form.fields + asked.fields, form.files, form.charset)
    return _within_limits(form)


def _read(body: bytes, content_type: str, prefer: str) -> FormData:
    """Read a body that is not empty by what it is said to be, if it looks like it, else by what it looks like."""
    declared, _, parameters = content_type.partition(";")
    declared = declared.strip().lower()
    charset = _parameter(parameters, "charset") if parameters else ""
    if not declared.startswith("multipart/"):
        body = _unwrapped(body)
    start = body[:64].lstrip()[:2]

    if declared.startswith("multipart/") or start == b"--":
        boundary = boundary_in(body, _parameter(parameters, "boundary"))
        if boundary:
            return _multipart(body, boundary, charset, prefer)
        if declared.startswith("multipart/"):
            raise Malformed(
                "The multipart body cannot be read: no boundary was found in it. "
                "Let the browser or the library set the Content-Type header itself."
            )
    if start[:1] in (b"{", b"["):
        try:
            return _json(body, charset, prefer)
        except Malformed:
            # a field's name may well begin with a bracket
            if declared in ("application/json", "text/json") or b"=" not in body:
                raise
    elif declared.endswith(("/json", "+json")) and b"=" not in body:
        return _json(body, charset, prefer)
    if declared in ("application/xml", "text/xml", "application/soap+xml") or start == b"<?":
        raise Malformed("XML is not understood here. Send the form urlencoded, as multipart/form-data or as JSON.")
    if declared == "application/x-www-form-urlencoded":
        return _urlencoded(body, charset, prefer)
    return _plain(body, charset, prefer)


def _unwrapped(body: bytes) -> bytes:
    """Take off a byte order mark, and turn UTF-16 and UTF-32 into UTF-8."""
    if body.startswith(b"\xef\xbb\xbf"):
        return body[3:]
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or (b"\0" in body[:4] and body[:4].strip(b"\0")[:1] in (b"{", b"[")):
        encoding = json.detect_encoding(body)
        if encoding != "utf-8":
            return body.decode(encoding, "replace").encode("utf-8", "replace")
    return body


def _parameter(parameters: str, name: str) -> str:
    """Read a parameter of a Content-Type header, quoted or not (RFC 9110 §5.6.6); "" when absent."""
    found = re.search(rf'(?:^|[;\s]){name}\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', parameters, re.IGNORECASE)
    if not found:
        return ""
    return re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2]


# --- application/x-www-form-urlencoded (WHATWG URL Standard §5.1) ---

_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")


def _unescaped(found: re.Match[bytes]) -> bytes:
    """Turn a run of `%D0%92` into its bytes."""
    return bytes.fromhex(found[0].replace(b"%", b"").decode("ascii"))


def _urlencoded(body: bytes, charset: str, prefer: str) -> FormData:
    """Read names and values; percent-escapes become bytes first and text afterwards, all in one charset."""
    body = body.strip(b" \r\n\t&?").replace(b"+", b" ")
    pairs = body.split(b"&", MAX_FIELDS + 1)
    if len(pairs) > MAX_FIELDS:
        raise _too_many()
    pieces: list[bytes] = []
    for pair in pairs:
        if not pair:
            continue
        name, _, value = pair.partition(b"=")
        pieces.append(_ESCAPES.sub(_unescaped, name) if b"%" in name else name)
        pieces.append(_ESCAPES.sub(_unescaped, value) if b"%" in value else value)
    return _decoded(pieces, (), charset, prefer)


def _decoded(pieces: list[bytes], files: tuple[File, ...], charset: str, prefer: str) -> FormData:
    """Decode alternating names and values by one decision, and clean them, in one go each.

    The pieces are joined by NUL, which is text in no charset of forms and must not be stored anyhow.
    """
    joined = b"\0".join(pieces)
    if joined.count(b"\0") != len(pieces) - 1:
        pieces = [piece.replace(b"\0", b"") for piece in pieces]
        joined = b"\0".join(pieces)
    decided = "utf-8"
    try:
        if charset and charset.lower() not in ("utf-8", "utf8"):
            raise UnicodeError  # decided below
        text = joined.decode()
    except UnicodeError:
        decided = charsets.choose(joined, charset, _named_charset(pieces), prefer=prefer)
        text = joined.decode(decided, "replace")
    else:
        if b"_charset_" in joined and (named := charsets.known(_named_charset(pieces))) not in (None, "utf-8"):
            decided = charsets.choose(joined, named or "", prefer=prefer)
            text = joined.decode(decided, "replace")
    if not joined:
        return FormData((), files, decided)
    texts = text.split("\0")
    if len(texts) != len(pieces):
        # a broken multi-byte character swallowed the separator
        texts = [piece.decode(decided, "replace").replace("\0", "") for piece in pieces]
    values = [charsets.clean(value) for value in texts]
    return FormData(tuple(zip(values[::2], values[1::2], strict=False)), files, decided)


def _named_charset(pieces: list[bytes]) -> str:
    """Return what the `_charset_` field says (HTML Standard, "constructing the entry list"), or ""."""
    names = iter(pieces)
    return next(
        (value.decode("ascii", "replace") for name, value in zip(names, names, strict=False) if name == b"_charset_"),
        "",
    )


# --- multipart/form-data ---


def _multipart(body: bytes, boundary: bytes, charset: str, prefer: str) -> FormData:
    """Read the parts; those with a file name are files, the others text."""
    parts = parts_of(body, boundary, MAX_FIELDS)
    pieces: list[bytes] = []
    named: list[tuple[int, Part]] = []
    for number, part in enumerate(parts):
        if part.filename is None:
            content = part.content
            own = charsets.known(part.charset) if part.charset else None
            if own and own not in ("utf-8", "ascii"):
                # a part that says its own charset is taken at its word, and joins the others as UTF-8
                content = content.decode(own, "replace").encode("utf-8", "replace")
            pieces += (part.name, content)
        elif part.filename or part.content:
            named.append((number, part))
            # their names belong to the same decision about the charset
            pieces += (part.name, part.filename)
    form = _decoded(pieces, (), charset, prefer)
    texts: list[Pair] = []
    files: list[File] = []
    pairs = iter(form.fields)
    waiting = {number: part for number, part in named}
    for number, part in enumerate(parts):
        if part.filename is None:
            texts.append(next(pairs))
        elif number in waiting:
            name, filename = next(pairs)
            files.append(File(name, _safe_name(filename), part.content_type, len(part.content), number))
    return FormData(tuple(texts), tuple(files), form.charset)


def _safe_name(filename: str) -> str:
    """Keep the last part of a path, as old browsers send it whole and hostile ones send `../`."""
    name = re.split(r"[/\\]", filename)[-1].replace("\n", " ").replace("\t", " ").strip(" .")
    return name[-200:] or "file"


# --- application/json ---

# An object becomes a tuple of pairs, so that repeated keys survive and a list stays distinguishable.
_JSON = json.JSONDecoder(object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=str, strict=False)


def _json(body: bytes, charset: str, prefer: str) -> FormData:
    """Read a JSON object, or a list of `{"name": …, "value": …}` as jQuery's serializeArray makes it."""
    try:
        text, decided = body.decode(), "utf-8"
    except UnicodeDecodeError:
        decided = charsets.choose(body, charset, prefer=prefer)
        text = body.decode(decided, "replace")
    try:
        value = _JSON.decode(text.strip("\0 \t\r\n\ufeff"))
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        reason = str(error).partition(":")[0] if isinstance(error, json.JSONDecodeError) else "a number is too long"
        raise Malformed(f"The JSON body cannot be read: {reason}.") from None
    pairs: list[Pair] = []
    if isinstance(value, tuple):
        _flatten("", value, pairs, 0)
    elif isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        for item in value:
            said = dict(item)
            if not isinstance(said.get("name"), str) or "value" not in said:
                raise _no_object()
            _flatten(said["name"], said["value"], pairs, 1)
    else:
        raise _no_object()
    return FormData(tuple((charsets.clean(name), charsets.clean(said)) for name, said in pairs), (), decided)


def _flatten(name: str, value: Any, pairs: list[Pair], depth: int) -> None:
    """Append what a JSON value says under a name."""
    if isinstance(value, str):
        pairs.append((name, value))
    elif value is None:
        pairs.append((name, ""))
    elif isinstance(value, bool):
        pairs.append((name, "true" if value else "false"))
    elif depth > _MAX_DEPTH:
        raise _too_deep()
    elif isinstance(value, tuple):
        for key, item in value:
            _flatten(f"{name}[{key}]" if name else key, item, pairs, depth + 1)
    else:
        for index, item in enumerate(value):
            _flatten(f"{name}[{index}]" if isinstance(item, tuple | list) else name, item, pairs, depth + 1)
    if len(pairs) > MAX_FIELDS:
        raise _too_many()


def _no_object() -> Malformed:
    return Malformed('The JSON body must be an object of fields, or a list of {"name": …, "value": …}.')


def _too_deep() -> Malformed:
    return Malformed(f"The JSON body is nested too deeply: {_MAX_DEPTH} levels are taken.")


# --- text/plain and the undeclared ---

_LINE = re.compile(rb"[^=&\r\n]{1,200}=")


def _plain(body: bytes, charset: str, prefer: str) -> FormData:
    """Read lines of `name=value` (HTML's enctype text/plain), urlencoded pairs, or just what somebody wrote."""
    first, *others = body.strip(b"\r\n\t \0").splitlines() or [b""]
    if b"\0" in body and not charset and body.count(b"\0") * 4 > len(body):
        raise Malformed("The body is no form: it holds binary data. Send the form urlencoded, as multipart or as JSON.")
    if not _LINE.match(first):
        return _decoded([b"message", body], (), charset, prefer)
    if not others or b"&" in first:
        return _urlencoded(body, charset, prefer)
    pieces: list[bytes] = []
    said: list[bytes] = []
    for line in (first, *others):
        if _LINE.match(line):
            if said:
                pieces.append(b"\n".join(said))
            name, _, value = line.partition(b"=")
            pieces.append(name)
            said = [value]
        else:
            said.append(line)
    return _decoded([*pieces, b"\n".join(said)], (), charset, prefer)


# --- limits ---


def _within_limits(form: FormData) -> FormData:
    """Refuse what no honest form sends.

    Raises:
        Malformed: too many fields, or a name or a value that is too long.
    """
    if len(form.fields) + len(form.files) > MAX_FIELDS:
        raise _too_many()
    for name, value in form.fields:
        if len(value) > MAX_TEXT:
            raise Malformed(
                f'The field "{name[:60]}" is too long: {len(value):,} characters, and {MAX_TEXT:,} are taken. '
                "Send long texts as a file."
            )
        if len(name) > _MAX_NAME:
            raise Malformed(f"A field's name is too long: {len(name):,} characters, and {_MAX_NAME:,} are taken.")
    return form


def _too_many() -> Malformed:
    return Malformed(f"The form has too many fields: {MAX_FIELDS} are taken.")
