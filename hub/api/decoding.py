"""Reading what was sent: JSON bodies and query strings into Structs, with everything that is wrong told at once.

msgspec stops at the first mistake. So the fast way is taken first, and only what it refuses is read again, field by
field.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UnsetType
from multidict import MultiMapping

from hub.api.problems import FieldError, Problem, invalid
from hub.api.wire import Id, decode_hook

T = TypeVar("T")


class BodyReader(Generic[T]):
    """Reads JSON bodies of one Struct."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self._decode = msgspec.json.Decoder(kind, dec_hook=decode_hook).decode
        self.optional = all(f.default is not NODEFAULT or f.default_factory is not NODEFAULT for f in _fields(kind))
        """Whether nothing at all may be sent, as every member has a default."""

    def read(self, body: bytes) -> T:
        """Read a body.

        Raises:
            Problem: 400, it is not JSON; 422, with all the fields that are wrong.
        """
        if not body and self.optional:
            return self.kind()
        try:
            value = self._decode(body)
        except msgspec.ValidationError as error:
            raise self._explained(body, error) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _not_json(error) from None
        if b"\\u0000" in body and (zeros := list(_zeros(msgspec.json.decode(body), ""))):
            raise invalid(zeros)
        _to_utc(value, "")
        return value

    def _explained(self, body: bytes, error: msgspec.ValidationError) -> Problem:
        try:
            raw = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
            return _not_json(broken)
        errors = list(_mistakes(raw, self.kind, ""))
        return invalid(errors or [_field_error(error, "")])


class QueryReader(Generic[T]):
    """Reads query strings into one Struct. A list member may be given any number of times, others once."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self._fields = {
            field.encode_name: (field.name, field.type, _is_list(field.type), _mentions(field.type, datetime))
            for field in _fields(kind)
        }

    def read(self, query: MultiMapping[str]) -> T:
        """Read a query.

        Raises:
            Problem: 422, with all the parameters that are wrong or unknown.
        """
        if not query:
            return self.kind()
        values: dict[str, Any] = {}
        errors: list[FieldError] = []
        for key in dict.fromkeys(query):
            if key not in self._fields:
                errors.append(FieldError(key, "There is no such parameter here"))
                continue
            name, kind, many, strict = self._fields[key]
            given: Any = query.getall(key)
            if not many:
                if len(given) > 1:
                    errors.append(FieldError(key, "Given more than once"))
                    continue
                given = given[0]
            if zeros := list(_zeros(given, key)):
                errors += zeros
                continue
            try:
                values[name] = _convert_query(given, kind, many=many, strict=strict)
            except msgspec.ValidationError as error:
                errors.append(_field_error(error, key))
        if errors:
            raise invalid(errors)
        value = self.kind(**values)
        _to_utc(value, "")
        return value


def _convert_query(given: Any, kind: Any, *, many: bool, strict: bool) -> Any:
    if many and _mentions(kind, Id):
        given = [None if text == "null" else text for text in given]
    # not lax for times: it would take bare numbers for Unix timestamps
    return msgspec.convert(given, kind, strict=strict, dec_hook=decode_hook)


def _fields(kind: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _mistakes(value: Any, kind: Any, path: str) -> Iterator[FieldError]:
    """Find all that is wrong with a decoded value, member by member."""
    try:
        msgspec.convert(value, kind, dec_hook=decode_hook)
        return
    except msgspec.ValidationError as error:
        whole = _field_error(error, path)
    parts = list(_mistakes_inside(value, kind, path))
    yield from parts or [whole]


def _mistakes_inside(value: Any, kind: Any, path: str) -> Iterator[FieldError]:
    if isinstance(value, dict) and (struct := _struct_in(kind)):
        known = {field.encode_name: field for field in _fields(struct)}
        if struct.__struct_config__.forbid_unknown_fields:
            for name in value.keys() - known.keys():
                yield FieldError(_join(path, name), "There is no such member here")
        for name, field in known.items():
            if name in value:
                yield from _mistakes(value[name], field.type, _join(path, name))
            elif field.required:
                yield FieldError(_join(path, name), "Is needed")
    elif isinstance(value, list) and (item := _item_of(kind)) is not None:
        for number, member in enumerate(value):
            yield from _mistakes(member, item, f"{path}[{number}]")


def _branches(kind: Any) -> tuple[Any, ...]:
    """Return what a type may be, without its constraints and without null and unset."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        rest = [arg for arg in get_args(kind) if arg not in (type(None), UnsetType)]
        return tuple(branch for arg in rest for branch in _branches(arg))
    return (kind,)


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    found = [b for b in _branches(kind) if isinstance(b, type) and issubclass(b, msgspec.Struct)]
    return found[0] if len(found) == 1 else None


def _item_of(kind: Any) -> Any:
    for branch in _branches(kind):
        if get_origin(branch) in (list, set, frozenset):
            return get_args(branch)[0]
        if get_origin(branch) is tuple and get_args(branch)[1:] == (...,):
            return get_args(branch)[0]
    return None


def _is_list(kind: Any) -> bool:
    return _item_of(kind) is not None


def _mentions(kind: Any, wanted: type) -> bool:
    return any(b is wanted or any(_mentions(arg, wanted) for arg in get_args(b)) for b in _branches(kind))


def _to_utc(value: Any, path: str) -> None:
    """Turn the times of a Struct into UTC, in place."""
    for name in value.__struct_fields__:
        member = getattr(value, name)
        if isinstance(member, datetime):
            if member.tzinfo is not UTC:
                try:
                    msgspec.structs.force_setattr(value, name, member.astimezone(UTC))
                except OverflowError:
                    raise invalid([FieldError(_join(path, name), "Is out of range")]) from None
        elif isinstance(member, msgspec.Struct):
            _to_utc(member, _join(path, name))
        elif isinstance(member, list):
            for number, part in enumerate(member):
                if isinstance(part, msgspec.Struct):
                    _to_utc(part, f"{_join(path, name)}[{number}]")


def _zeros(value: Any, path: str) -> Iterator[FieldError]:
    """Find the zero characters, which no text column of PostgreSQL can hold."""
    if isinstance(value, str):
        if "\0" in value:
            yield FieldError(path, "Holds a zero character (U+0000), which cannot be stored")
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _zeros(name, path or "the body")
            yield from _zeros(member, _join(path, name))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _zeros(member, f"{path}[{number}]")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _field_error(error: msgspec.ValidationError, path: str) -> FieldError:
    """Split msgspec's `… - at `$.a.b`` into a path and plain words."""
    text, _, place = str(error).partition(" - at `")
    if place.startswith("key in "):
        place, text = place.removeprefix("key in "), f"A name: {text}"
    inner = place.rstrip("`").removeprefix("$").removeprefix(".")
    glue = "" if not path or not inner or inner.startswith("[") else "."
    return FieldError(f"{path}{glue}{inner}" or "the body", text.replace("`", ""))


def _not_json(error: Exception) -> Problem:
    if isinstance(error, RecursionError):
        return Problem(400, "malformed", "The body is nested too deeply.")
    return Problem(400, "malformed", f"The body is not JSON in UTF-8: {error}")
