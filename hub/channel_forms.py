"""What a kind of channel asks for, drawn from its settings class: one description for pages, REST and the command line.

The class says what a setting is called and may be (`channels.contract.ChannelSettings`); here it becomes fields of a
form, what somebody typed becomes values for the class, and what is wrong with them becomes a sentence for each field.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin
from urllib.parse import quote

import structlog
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from channels import registry
from channels.contract import Channel, ChannelSettings, Checker, Enricher, Group, Installer, Sender
from hub.connections import is_made

log = structlog.get_logger(__name__)

FieldKind = Literal["text", "secret", "choice", "box", "lines", "number"]

GROUPS: tuple[Group, ...] = ("form", "chat", "messenger", "email", "sms", "telephony", "desk")
"""The groups of kinds, in the order in which people look for them."""

_WITHOUT_API = frozenset({"desk_matrix", "desk_mattermost", "email", "matrix", "mattermost", "sms_http", "smpp"})
"""Kinds that say in settings of their own where the provider is, so that `base_url` is of no use to them."""
_WITH_SHARED_SECRET = frozenset({"sms_infobip", "sms_smsc", "sms_vonage", "whatsapp_360dialog"})
"""Kinds that look for the secret every connection may have; others sign, or name their secret in their own way."""
_TOKEN_IN_ADDRESS = {"forms_webflow": "secret"}
"""The setting that stands in the hook's address as its token, where it is not called `token`."""
_OF_SEVERAL_LINES = ("body", "certificate")
_LONG = 400
"""From so many characters on a text is typed in a field of several lines."""


@dataclass(frozen=True, slots=True)
class FormField:
    """A setting as somebody fills it in.

    kind         text, secret, choice (of `choices`), box (true or false), lines (several texts) or number
    is_required  that there is no form without it; a secret that is made at random is not
    is_made      that it is a secret of our choice, made at random where none is given
    is_advanced  that few people need it
    is_long      that it may have several lines
    default      what it is if nobody says; None for secrets and for what is required
    """

    name: str
    title: str
    description: str
    kind: FieldKind
    is_required: bool
    is_made: bool
    is_advanced: bool
    is_long: bool
    default: Any
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KindForm:
    """A kind of channel with the settings it asks for."""

    kind: str
    title: str
    group: Group
    fields: tuple[FormField, ...]

    def field(self, name: str) -> FormField | None:
        """Return a field by its name; None if it is none of this kind's."""
        return next((field for field in self.fields if field.name == name), None)


@lru_cache(maxsize=100)
def form_of(kind: str) -> KindForm:
    """Return the form of a kind.

    Raises:
        NotFound: there is no such kind.
    """
    found = registry.channel_class(kind)
    return KindForm(kind, found.title, found.group, fields_of(found.Settings, leave_out=_useless(found)))


def all_forms() -> list[KindForm]:
    """Return the forms of all kinds, by group and title. One whose libraries are missing is left out.

    The first call imports every kind, which takes seconds: let a thread do it where others wait.
    """
    forms = []
    for kind in registry.KINDS:
        try:
            forms.append(form_of(kind))
        except (ImportError, AttributeError, SyntaxError) as error:
            log.warning("kind_left_out", kind=kind, error=str(error))
    return sorted(forms, key=lambda form: (GROUPS.index(form.group), form.kind != "webform", form.title.casefold()))


def fields_of(settings: type[ChannelSettings], *, leave_out: Iterable[str] = ()) -> tuple[FormField, ...]:
    """Return the fields of a settings class: first what is needed, then what may be given, last what few need."""
    unwanted = set(leave_out)
    fields = [_field(name, field) for name, field in settings.model_fields.items() if name not in unwanted]
    own = inspect.get_annotations(settings)
    return tuple(sorted(fields, key=lambda field: (field.is_advanced, field.name not in own, field.is_made)))


def _useless(found: type[Channel]) -> set[str]:
    """Return which of the settings that every kind inherits this one has no use for."""
    asks = any(_can(found, ability) for ability in (Sender, Checker, Installer, Enricher))
    useless = set()
    if not asks or found.kind in _WITHOUT_API:
        useless.add("base_url")
    if found.kind not in _WITH_SHARED_SECRET:
        useless.add("secret")
    inherited = ChannelSettings.model_fields
    own = found.Settings.model_fields
    return {name for name in useless if own[name].description == inherited[name].description}


def _can(found: type[Channel], ability: type) -> bool:
    """Whether a class has a protocol's methods; the class alone is looked at, nothing is built."""
    methods = [name for name, member in vars(ability).items() if callable(member) and not name.startswith("_")]
    return all(hasattr(found, name) for name in methods)


def _field(name: str, field: FieldInfo) -> FormField:
    kind, choices = _kind(field)
    given = None if field.is_required() or kind == "secret" else field.get_default(call_default_factory=True)
    longest = next((limit.max_length for limit in field.metadata if hasattr(limit, "max_length")), 0)
    return FormField(
        name=name,
        title=field.title or name.replace("_", " ").capitalize(),
        description=field.description or "",
        kind=kind,
        is_required=field.is_required() and not is_made(field),
        is_made=is_made(field),
        is_advanced=_marked(field, "advanced"),
        is_long=kind == "text" and ((longest or 0) >= _LONG or name in _OF_SEVERAL_LINES),
        default=list(given) if isinstance(given, tuple | frozenset) else given,
        choices=choices,
    )


def _kind(field: FieldInfo) -> tuple[FieldKind, tuple[str, ...]]:
    annotation = field.annotation
    parts = (annotation, *get_args(annotation))
    if get_origin(annotation) is Literal:
        return "choice", tuple(str(choice) for choice in get_args(annotation))
    if SecretStr in parts:
        return "secret", ()
    if bool in parts:
        return "box", ()
    if get_origin(annotation) in (tuple, list, frozenset):
        return "lines", ()
    if int in parts or float in parts:
        return "number", ()
    return "text", ()


def _marked(field: FieldInfo, mark: str) -> bool:
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get(mark))


# --- what somebody typed ---


def from_text(field: FormField, typed: str) -> Any:
    """Return what a text means for a field: several values stand one a line, or with commas between them."""
    if field.kind == "lines":
        return [part.strip() for part in re.split(r"[\n,]" if "\n" not in typed else r"\n", typed) if part.strip()]
    if field.kind == "number":
        return re.sub(r"\s", "", typed)
    return typed if field.kind == "secret" or field.is_long else typed.strip()


class Wrong(dict[str, tuple[str, dict[str, Any]]]):
    """What is wrong with settings: by field, a sentence that can be translated, and the values to put into it."""


def wrongs(settings: type[ChannelSettings], values: Mapping[str, Any]) -> Wrong:
    """Return what is wrong with values for a settings class, all of it; nothing if they are right."""
    try:
        settings.model_validate(dict(values))
    except ValidationError as error:
        found = Wrong()
        for each in error.errors(include_url=False, include_input=False):
            field = str(each["loc"][0]) if each["loc"] else ""
            found.setdefault(field, (_sentence(each["type"], each["msg"]), dict(each.get("ctx") or {})))
        return found
    return Wrong()


NEEDED = "This is needed"
_SENTENCES = {
    "missing": NEEDED,
    "string_too_short": NEEDED,
    "too_short": NEEDED,
    "string_too_long": "That is too long",
    "too_long": "That is too long",
    "literal_error": "Choose one of the list",
    "string_pattern_mismatch": "This is not written as it should be",
    "int_parsing": "Write a number",
    "int_from_float": "Write a number",
    "float_parsing": "Write a number",
    "greater_than_equal": "Write a number from %(ge)s on",
    "greater_than": "Write a number above %(gt)s",
    "less_than_equal": "Write a number up to %(le)s",
    "less_than": "Write a number below %(lt)s",
}


def _sentence(kind: str, message: str) -> str:
    return _SENTENCES.get(kind) or message.removeprefix("Value error, ")


# --- secrets of our own choice ---


def made_at_random(form: KindForm, given: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, str]:
    """Return the secrets of a new connection that nobody gave and somebody may have to enter at the provider.

    given  what was typed; kept: all settings of the connection, secrets included
    """
    return {
        field.name: str(kept[field.name])
        for field in form.fields
        if field.is_made and not field.is_advanced and not given.get(field.name) and kept.get(field.name)
    }


def hook_with_token(form: KindForm, hook_url: str, shown: Mapping[str, str]) -> str | None:
    """Return the hook's address with its token, while that is shown, for a kind that carries it there; else None."""
    name = _TOKEN_IN_ADDRESS.get(form.kind, "token")
    field = form.field(name)
    if field is None or not field.is_made or not shown.get(name):
        return None
    return f"{hook_url}?token={quote(shown[name], safe='')}"
