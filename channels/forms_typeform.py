"""Typeform.

Reaches   nobody: it only receives
Set up    in Typeform: the form → Connect → Webhooks → Add a webhook, the hook's address; edit it, enter the secret, and
          switch it on: a new webhook is off
Calls us  POST /hooks/<connection>: JSON, one finished form a call. Typeform tries again after anything but 2xx, and
          switches the webhook off after 404, 410, or many failures
Checks    `Typeform-Signature: sha256=` and the base64 of HMAC-SHA256(secret, raw body)
Repeats   the same `event_id`; the answers are one message by `form_response.token`
Quirks    questions that were skipped are absent. The questions' wording stands in `definition`, apart from the answers.
          `form_response_partial` is somebody who has not finished: noted, and no lead
Source    Typeform's developer pages: "Webhooks", "Example payload", "Secure your webhooks"
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import ClassVar

from pydantic import Field, SecretStr

from channels import form_answers, form_fields, form_files, shared_secret
from channels.contract import ChannelSettings, Fetched, Group, ParseContext, Routed, Tools
from channels.fields import Fields, object_of
from channels.form_fields import Answer, Meant
from core.kernel.envelopes import Attachment, Event
from webhooks.errors import BadSignature, NotConfigured, Unsupported
from webhooks.request import RawRequest, Reply

_HINTS = {"email": "email", "phone_number": "phone"}
_WORDS = ("text", "email", "phone_number", "url", "file_url", "date", "number", "boolean")


class TypeformForms:
    """Receives what people answered in Typeform."""

    kind: ClassVar[str] = "forms_typeform"
    title: ClassVar[str] = "Typeform"
    group: ClassVar[Group] = "form"
    account = ""

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        secret: SecretStr = Field(
            SecretStr(""),
            title="Secret",
            description="The same is entered in Typeform: Connect → Webhooks → Edit → Secret.",
            json_schema_extra={"made": True},
        )

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.secret

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature.

        Raises:
            BadSignature: it is not the one of this body. NotConfigured: there is no secret. Malformed: no JSON object.
        """
        secret = self._secret.get_secret_value()
        if not secret:
            raise NotConfigured("This channel has no secret yet, so nothing is accepted. Enter one, also in Typeform")
        expected = base64.b64encode(hmac.digest(secret.encode(), request.body, hashlib.sha256)).decode()
        if not shared_secret.same(request.headers.get("typeform-signature", "").strip(), f"sha256={expected}"):
            raise BadSignature(
                "Typeform's signature is missing or was made with another secret. Nothing was stored. Enter this "
                "channel's secret in Typeform: Connect → Webhooks → Edit"
            )
        object_of(request)

    def route(self, request: RawRequest) -> Routed:
        """Tell what makes two calls the same: the id of the event.

        Raises:
            Malformed: it cannot be read.
        """
        body = object_of(request)
        answers = _meant(body.at("form_response"))
        event = body.id("event_id")
        return form_answers.routed(answers, event, f"{body.id('event_type')}:{body.id('form_response', 'token')}")

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the answers.

        Raises:
            Malformed: it cannot be read. Unsupported: the form is not finished.
        """
        body = object_of(request)
        event = body.text("event_type")
        if event == "form_response_partial":
            raise Unsupported("Somebody has begun the form and not finished it. Their answers are kept here only.")
        response = body.at("form_response")
        if event not in ("form_response", "") or not response:
            return []
        return [
            form_answers.incoming(
                _meant(response),
                context.default_country,
                external_id=response.id("token") or body.id("event_id"),
                occurred_at=response.moment("submitted_at"),
                attachments=_files(response),
                more=_facts(response),
            )
        ]

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file that was uploaded with the form.

        Raises:
            Temporary, Undeliverable: as `form_files.fetch`.
        """
        return await form_files.fetch(reference, tools)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say that it is here."""
        return Reply(b'{"ok": true}')


def _meant(response: Fields) -> Meant:
    """Sort the answers and the hidden fields; a single long text is what the person has to say."""
    titles = {field.id("id"): field.text("title").strip() for field in response.items("definition", "fields")}
    kinds = {field.id("id"): field.text("type") for field in response.items("definition", "fields")}
    answers: list[Answer] = []
    unnamed_texts: list[int] = []
    for answer in response.items("answers"):
        field, kind = answer.id("field", "id"), answer.text("type")
        name = answer.text("field", "ref") or field
        label = (titles.get(field) or name)[:300]
        value = ", ".join(said for said in _values(answer) if said)
        asked = answer.text("field", "type") or kinds.get(field, "")
        hint = _HINTS.get(kind, "")
        if kind == "boolean" and asked == "legal" and answer.flag("boolean"):
            name, value, hint = field, label, "consent"  # the words that were agreed to
        if asked == "long_text" and not (form_fields.meaning(name) or form_fields.meaning(label)):
            unnamed_texts.append(len(answers))
        answers.append(Answer(name, label, value, hint))
    if len(unnamed_texts) == 1:
        answers[unnamed_texts[0]] = answers[unnamed_texts[0]]._replace(hint="message")
    answers += form_answers.named(response.at("hidden"))
    return form_fields.sort(answers)


def _values(answer: Fields) -> Iterator[str]:
    """Give what was answered as texts, whatever the type of the question."""
    kind = answer.text("type")
    said = answer.at(kind)
    if kind == "boolean":
        yield "true" if said.flag() else "false"
    elif kind in _WORDS:
        yield said.text()
    elif kind == "choice":
        yield said.text("label") or said.text("other")
    elif kind == "choices":
        yield from (label.text() for label in said.items("labels"))
        yield said.text("other")
    elif kind == "payment":
        yield said.text("amount")
        yield "paid" if said.flag("success") else "not paid"
        yield said.text("name")
        if last := said.text("last4"):
            yield f"•••• {last}"
    else:  # a recording, a ranking, a matrix
        yield form_answers.as_text(said)


def _files(response: Fields) -> tuple[Attachment, ...]:
    return form_files.linked(
        (said for answer in response.items("answers") if answer.text("type") == "file_url" for said in _values(answer)),
        surely=True,
    )


def _facts(response: Fields) -> dict[str, str]:
    """Return what Typeform worked out of the answers, and which form it was."""
    facts: dict[str, str] = {}
    for variable in response.items("variables"):
        key = variable.text("key")
        value = variable.text(variable.text("type")) or variable.text("number") or variable.text("text")
        if key and value:
            facts[key[:100]] = value
    if score := response.text("calculated", "score"):
        facts.setdefault("score", score)
    facts |= {
        name: value
        for name, value in (("form", response.text("definition", "title")), ("form_id", response.id("form_id")))
        if value
    }
    return facts
