"""JotForm.

Reaches   nobody: it only receives
Set up    in JotForm: the form → Settings → Integrations → Webhooks, the hook's address with `?token=…` at its end
Calls us  POST /hooks/<connection>: multipart, one submission a call. `rawRequest` is JSON of the answers, `pretty` the
          same for people
Checks    the token in the address: JotForm signs nothing
Repeats   the same `submissionID`
Quirks    an answer is named `q<number>_<name>`, and the number changes when the form is edited, so the name counts;
          what the question was called stands in `pretty` only. Names, phones, dates and addresses come in pieces.
          Uploads are addresses; JotForm hands them out only if the account's privacy settings do not ask for a login
Source    JotForm's help, "How to setup a webhook with Jotform", and bodies as they are sent
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from pydantic import Field, SecretStr

from channels import form_answers, form_fields, form_files, shared_secret
from channels.contract import ChannelSettings, Fetched, Group, ParseContext, Routed, Tools
from channels.form_fields import Answer
from core.kernel.envelopes import Event
from webhooks import forms, multiparts
from webhooks.forms import FormData
from webhooks.request import RawRequest, Reply

_QUESTION = re.compile(r"q(\d{1,6})_([^\[\]]{1,200})((?:\[[^\[\]]*\])*)")
_NAME_PARTS = ("prefix", "first", "middle", "last", "suffix")
_PAGES = ("parentURL", "referer", "referrer")
_HINTS_OF_PARTS = {"full": "phone", "phone": "phone", "first": "name", "last": "name"}


class JotForms:
    """Receives submissions of JotForm."""

    kind: ClassVar[str] = "forms_jotform"
    title: ClassVar[str] = "JotForm"
    group: ClassVar[Group] = "form"
    account = ""

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        token: SecretStr = Field(
            SecretStr(""),
            title="Token",
            description="At the end of the webhook's address: `?token=…`.",
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
        """Tell what makes two calls the same: the id of the submission.

        Raises:
            Malformed: it cannot be read.
        """
        form = _decoded(request)
        meant = form_fields.sort(_answers(form))
        return form_answers.routed(meant, form.first("submissionID"), form.first("formID"))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the submission.

        Raises:
            Malformed: it cannot be read. Unsupported: a program filled it in.
        """
        form = _decoded(request)
        meant = form_fields.sort(_answers(form))
        given = (("form", form.first("formTitle")), ("form_id", form.first("formID")))
        return [
            form_answers.incoming(
                meant,
                context.default_country,
                external_id=form_answers.short(form.first("submissionID")),
                attachments=(
                    *form_answers.enclosed(form),
                    *form_files.linked(value for _, value in meant.others),
                ),
                more={name: value for name, value in given if value},
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


def _answers(form: FormData) -> list[Answer]:
    """Put each question's pieces together, in the order of the form.

    Raises:
        Malformed: `rawRequest` is not what it should be.
    """
    raw = form.first("rawRequest")
    pairs = forms.decode(raw.encode(), "application/json").fields if raw else form.fields
    pretty = form.first("pretty")
    questions: dict[str, dict[str, list[str]]] = {}
    answers: list[Answer] = []
    for name, value in pairs:
        if found := _QUESTION.fullmatch(name):
            pieces = questions.setdefault(f"q{found[1]}_{found[2]}", {})
            pieces.setdefault(found[3].strip("[]"), []).append(value.strip())
        elif name in _PAGES:
            answers.append(Answer("landing_page", name, value))
        elif form_files.linked([value]):
            answers.append(Answer(name, name, value))  # an upload goes by the bare name of its question
    for question, pieces in questions.items():
        value, hint = _together(pieces)
        name = question.partition("_")[2]
        answers.append(Answer(name, _label(pretty, value) or name, value, hint))
    return answers


def _together(pieces: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Make one text of an answer's pieces, and tell what it is where the pieces show it."""
    plain = {name: ", ".join(value for value in values if value) for name, values in pieces.items()}
    hint = next((_HINTS_OF_PARTS[name] for name in plain if name in _HINTS_OF_PARTS), "")
    if hint == "name":
        return " ".join(plain[part] for part in _NAME_PARTS if plain.get(part)), hint
    if hint == "phone":
        country = "+" + plain["country"].lstrip("+") if plain.get("country") else ""
        area = f"({plain['area']})" if plain.get("area") else ""
        number = plain.get("full") or plain.get("phone", "")
        return " ".join(part for part in (country, area, number) if part) if number else "", hint
    if {"year", "month", "day"} <= plain.keys():
        day = "-".join(plain[part] for part in ("year", "month", "day") if plain[part])
        time = ":".join(plain[part] for part in ("hour", "min") if plain.get(part))
        return " ".join(part for part in (day, time, plain.get("ampm", "")) if part), ""
    return ", ".join(value for value in plain.values() if value), ""


def _label(pretty: str, value: str) -> str:
    """Find what the question was called in `Name:Vera Orlova, City:Tver`; "" where that cannot be told."""
    if not value or len(value) > 1_000:
        return ""
    end = f":{value}"
    place = pretty.find(end)
    while place >= 0:
        after = pretty[place + len(end) :]
        if not after.strip() or after.startswith(", "):
            label = pretty[:place].rpartition(", ")[2]
            return label.strip()[:300] if ":" not in label else ""
        place = pretty.find(end, place + 1)
    return ""
