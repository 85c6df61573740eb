"""WordPress: Elementor, Contact Form 7, Gravity Forms, WPForms, and whatever else a plugin posts.

Reaches   nobody: it only receives
Set up    Elementor Pro: the form → Actions after submit → Webhook, the hook's address with `?token=…` at its end.
          Contact Form 7: a plugin such as "CF7 to Webhook", the same address. Gravity Forms: the Webhooks add-on, all
          fields, the same address or a header `Authorization: Bearer <token>`. WPForms: the Webhooks add-on, likewise
Calls us  POST /hooks/<connection>: urlencoded, multipart or JSON, each plugin in its own way
Checks    the token, in the address or as a Bearer token: none of them signs
Repeats   Gravity's and WPForms' id of the entry; else the same answers to the same form within 10 minutes
Quirks    Elementor shows its visitor an error unless the answer is 2xx, and has two shapes: with "advanced data"
          `fields[<id>][value]` and so on, without it `<label>: value`, a field without a label being
          `No Label <id>`, and the marks of the visit under names in the site's language. Its dates are in the site's
          language too: the arrival counts. Gravity Forms numbers its fields: `1.3` is the given, `1.6` the family
          name. The name of the form never becomes the person's
Source    bodies as the plugins send them; Gravity Forms' documentation "Webhooks Add-On" and "Entry Object"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from pydantic import Field, SecretStr

from channels import form_answers, form_fields, form_files, shared_secret
from channels.contract import ChannelSettings, Fetched, Group, ParseContext, Routed, Tools
from channels.fields import moment_of
from channels.form_fields import Answer
from core.kernel.envelopes import Event
from webhooks import forms, multiparts
from webhooks.forms import FormData, Pair
from webhooks.request import RawRequest, Reply

# What Elementor adds of the visit, and what Contact Form 7 and WordPress add of themselves.
_NOT_ASKED = re.compile(
    r"meta\[(?:date|time|user_agent|remote_ip|credit)\]\[\w+\]"
    r"|_wp\w*|posted_data_hash|_?wpnonce|action|g-recaptcha-response|cf-turnstile-response"
)
_NO_LABEL = re.compile(r"No Label +(?=\S)", re.IGNORECASE)
_IP = re.compile(r"[0-9a-fA-F:.]{3,45}(?:, *[0-9a-fA-F:.]{3,45})*")
_DATE_OR_TIME = re.compile(r"(?=.*\d).{3,40}")
# fields[1][name], fields[1][value], fields[1][type]: WPForms, Ninja Forms
_GROUPED = re.compile(r"(?:\w+\[fields\]|fields)\[([^\[\]]+)\]\[([^\[\]]+)\]")
_HINTS = {
    "email": "email",
    "phone": "phone",
    "tel": "phone",
    "name": "name",
    "textarea": "message",
    "gdpr-checkbox": "consent",
}
_LONGEST = 2_000
_NUMBERED = re.compile(r"(\d{1,4})(?:\.(\d{1,2}))?")
_NAME_PARTS = {"3": "first_name", "4": "middle_name", "6": "last_name"}
_NAME_KEYS = {"2", "3", "4", "6", "8"}  # an address or a list of boxes has a first part
_GRAVITY_OWN = frozenset(
    (
        *("id", "form_id", "date_created", "date_updated", "is_starred", "is_read", "ip", "source_url", "user_agent"),
        *("currency", "payment_status", "payment_date", "payment_amount", "payment_method", "transaction_id", "status"),
        *("is_fulfilled", "created_by", "transaction_type", "post_id", "source_id", "is_approved"),
    )
)
_MONEY = ("payment_status", "payment_amount", "currency")
_LOOKS_LIKE_A_PHONE = re.compile(r"\+?[\d\s().-]{9,24}")


class WordPressForms:
    """Receives forms of WordPress sites."""

    kind: ClassVar[str] = "forms_wordpress"
    title: ClassVar[str] = "WordPress forms"
    group: ClassVar[Group] = "form"
    account = ""

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        token: SecretStr = Field(
            SecretStr(""),
            title="Token",
            description="At the end of the webhook's address (`?token=…`), or as `Authorization: Bearer …` where the "
            "plugin can send headers.",
            json_schema_extra={"made": True},
        )

    def __init__(self, settings: Settings) -> None:
        self._token = settings.token

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the token and that the body is a form.

        Raises:
            BadSignature, NotConfigured: the token is wrong, or there is none to compare with. Malformed: no form.
        """
        shared_secret.check(request, self._token)
        _decoded(request)

    def route(self, request: RawRequest) -> Routed:
        """Tell what makes two calls the same: the plugin's id of the entry, else the form and the answers.

        Raises:
            Malformed: it cannot be read.
        """
        form = _decoded(request)
        meant = form_fields.sort(_answers(form))
        return form_answers.routed(meant, _submission(form), form.first("form_id"))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the form.

        Raises:
            Malformed: it cannot be read. Unsupported: a program filled it in.
        """
        form = _decoded(request)
        meant = form_fields.sort(_answers(form))
        return [
            form_answers.incoming(
                meant,
                context.default_country,
                external_id=form_answers.short(_submission(form)),
                occurred_at=_moment(form),
                attachments=(
                    *form_answers.enclosed(form),
                    *form_files.linked(value for _, value in meant.others),
                ),
            )
        ]

    def read_part(self, request: RawRequest, part: int) -> bytes | None:
        """Return a file of the form; None if there is no such part."""
        return multiparts.read_part(request.body, request.headers.get("content-type", ""), part)

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file that was uploaded with the form.

        Raises:
            Temporary, Undeliverable: as `form_files.fetch`.
        """
        return await form_files.fetch(reference, tools)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say that it is here."""
        return Reply(b'{"ok": true}')


def _decoded(request: RawRequest) -> FormData:
    return forms.decode(request.body, request.headers.get("content-type", ""))


def _submission(form: FormData) -> str:
    """Return the plugin's id of the entry, with its form's where both are counted from 1; "" where there is none."""
    if _is_gravity(form):
        return f"{form.first('form_id')}:{form.first('id')}" if form.first("id") else ""
    entry = form.first("submission_id") or form.first("entry_id")
    form_id = form.first("form_id") or form.first("form_data[id]")
    return (f"{form_id}:{entry}" if form_id else entry) if entry not in ("", "0") else ""


def _moment(form: FormData) -> datetime | None:
    """Return when Gravity Forms says it was sent: UTC without saying so. The others' dates are not to be read."""
    return moment_of(form.first("date_created")) if _is_gravity(form) else None


def _answers(form: FormData) -> list[Answer]:
    pairs = [pair for pair in form.fields if not _NOT_ASKED.fullmatch(pair[0])]
    form = FormData(tuple(pairs), form.files, form.charset)
    if _is_gravity(form):
        return _of_gravity(pairs)
    if form.first("form_name") and any(value.strip() == "Elementor" for _, value in pairs):
        return _of_elementor(pairs)
    if groups := _groups(pairs):
        return _of_groups(pairs, groups)
    return form_fields.answers(form)


# --- Elementor without advanced data ---


def _of_elementor(pairs: Sequence[Pair]) -> list[Answer]:
    """Read `label: value`, and the visit by what its values look like, since its names are translated.

    Elementor puts date, time, page, browser, address and its own name, in this order, before the form's id and name.
    """
    end = max(place for place, (_, value) in enumerate(pairs) if value.strip() == "Elementor")
    visit: dict[int, str] = {end: ""}
    shapes = (
        ("", _IP.fullmatch),
        ("", re.compile(r"\S+/[\d.]+.*").fullmatch),
        ("landing_page", re.compile(r"https?://\S+").fullmatch),
        ("", _DATE_OR_TIME.fullmatch),
        ("", _DATE_OR_TIME.fullmatch),
    )
    place = end
    for meaning, fits in shapes:  # any of them may be switched off
        if place > 0 and fits(pairs[place - 1][1].strip()[:_LONGEST]):
            place -= 1
            visit[place] = meaning
    answers = []
    for place, (label, value) in enumerate(pairs):
        if place in visit:
            if visit[place]:
                answers.append(Answer(visit[place], label, value))
        else:
            plain = _NO_LABEL.sub("", label, count=1)
            answers.append(Answer(plain, plain, value))
    return answers


# --- WPForms, Ninja Forms ---


def _groups(pairs: Sequence[Pair]) -> dict[str, dict[str, list[str]]]:
    """Gather what is said of each field; Elementor's fields, which have a title, are read elsewhere."""
    groups: dict[str, dict[str, list[str]]] = {}
    for name, value in pairs:
        if found := _GROUPED.fullmatch(name):
            groups.setdefault(found[1], {}).setdefault(found[2], []).append(value)
    return {
        key: said
        for key, said in groups.items()
        if "value" in said and "title" not in said and ("name" in said or "label" in said)
    }


def _of_groups(pairs: Sequence[Pair], groups: dict[str, dict[str, list[str]]]) -> list[Answer]:
    answers: list[Answer] = []
    seen: set[str] = set()
    for name, value in pairs:
        found = _GROUPED.fullmatch(name)
        if found is None or found[1] not in groups:
            answers.append(Answer(name, name, value))
        elif found[1] not in seen:
            seen.add(found[1])
            said = groups[found[1]]
            label = (said.get("label") or said.get("name") or [""])[0].strip() or found[1]
            hint = _HINTS.get((said.get("type") or [""])[0].strip(), "")
            answered = ", ".join(piece.strip() for piece in said["value"] if piece.strip())
            if hint == "name":
                parts = (" ".join(said.get(part, [])).strip() for part in ("first", "middle", "last"))
                answered = " ".join(part for part in parts if part) or answered
            answers.append(Answer(label, label, answered, hint))
    return answers


# --- Gravity Forms ---


def _is_gravity(form: FormData) -> bool:
    names = {name for name, _ in form.fields}
    return (
        "form_id" in names
        and bool(names & {"date_created", "source_url", "created_by"})
        and any(_NUMBERED.fullmatch(name) for name in names)
    )


def _of_gravity(pairs: Sequence[Pair]) -> list[Answer]:
    """Read an entry, whose fields have numbers only: a name and a consent show by their parts, the rest by its look."""
    parts: dict[str, dict[str, str]] = {}
    for name, value in pairs:
        if found := _NUMBERED.fullmatch(name):
            parts.setdefault(found[1], {})[found[2] or ""] = value.strip()
    name_key = next((key for key, said in parts.items() if said.keys() & {"3", "6"} and said.keys() <= _NAME_KEYS), "")
    consents = {key for key, said in parts.items() if said.keys() == {"1", "2", "3"} and said["1"] == "1" != said["2"]}
    answers: list[Answer] = []
    for name, value in pairs:
        found = _NUMBERED.fullmatch(name)
        if found is None:
            if name == "source_url":
                answers.append(Answer("landing_page", name, value))
            elif name not in _GRAVITY_OWN or (name in _MONEY and value and _is_paid(pairs)):
                answers.append(Answer(name, name, value))
            elif name == "form_id":
                answers.append(Answer("", name, value))
        elif found[1] == name_key:
            if what := _NAME_PARTS.get(found[2] or ""):
                answers.append(Answer("", name, value, what))
        elif found[1] in consents:
            if found[2] == "2":
                answers.append(Answer("", name, value, "consent"))
        elif value.strip():
            answers.append(Answer("", name, value, _look(value)))
    return answers


def _is_paid(pairs: Sequence[Pair]) -> bool:
    return any(name == "payment_status" and value.strip() for name, value in pairs)


def _look(value: str) -> str:
    """Tell what an answer without a name looks like."""
    value = value.strip()
    if len(value) <= 320 and "@" in value and not re.search(r"\s", value):
        return "email"
    if _LOOKS_LIKE_A_PHONE.fullmatch(value) and 10 <= sum(character.isdecimal() for character in value) <= 13:
        return "phone"
    return "message" if "\n" in value else ""
