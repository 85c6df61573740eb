"""Forms of Webflow sites.

Reaches   nobody: it only receives
Set up    by hand: in Webflow: Site settings → Apps & integrations → Webhooks → Form submission, the hook's address with
          `?token=…` at its end, since webhooks made there are not signed; leave the client secret empty. With a
          signature: make the webhook `form_submission` through Webflow's API or an app, and enter its secret here
Calls us  POST /hooks/<connection>: JSON, one form a call; tried again after anything but 2xx
Checks    `x-webflow-signature`: hex HMAC-SHA256(client secret, `x-webflow-timestamp` ":" raw body), not older than
          5 minutes; or, where no client secret is entered, the shared secret in the address
Repeats   the same `payload.id` (`_id` of the old format); else the same answers within 10 minutes
Quirks    the timestamp is in milliseconds. Numbers are sent as numbers, phones too. `name` is the form's name.
          Version 1 has the same without `payload`
Source    Webflow's developer pages: "Working with webhooks", event `form_submission`
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from pydantic import Field, SecretStr

from channels import form_answers, form_fields, form_files, shared_secret
from channels.contract import ChannelSettings, Fetched, Group, ParseContext, Routed, Tools
from channels.fields import Fields, object_of
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature
from webhooks.request import RawRequest, Reply

WINDOW = 5 * 60
"""Seconds for which a signature is good."""


class WebflowForms:
    """Receives forms of Webflow sites."""

    kind: ClassVar[str] = "forms_webflow"
    title: ClassVar[str] = "Webflow"
    group: ClassVar[Group] = "form"
    account = ""

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        client_secret: SecretStr = Field(
            SecretStr(""),
            title="Client secret",
            description="Of the Webflow app, or of the webhook if it was made through the API. Leave empty for a "
            "webhook made on Webflow's own pages: these are not signed, and carry the shared secret instead.",
        )
        secret: SecretStr = Field(
            SecretStr(""),
            title="Shared secret",
            description="Stands at the end of the webhook's address (`?token=…`) where there is no client secret.",
            json_schema_extra={"made": True},
        )

    def __init__(self, settings: Settings) -> None:
        self._client_secret = settings.client_secret
        self._secret = settings.secret

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature, or the shared secret where there is none to check it with.

        Raises:
            BadSignature: neither fits, or the signature is old. NotConfigured: we have no secret at all.
            Malformed: no JSON object.
        """
        if self._client_secret.get_secret_value():
            self._check_signature(request, now)
        else:
            shared_secret.check(request, self._secret)
        object_of(request)

    def route(self, request: RawRequest) -> Routed:
        """Tell what makes two calls the same: the id of the submission, else the form and the answers.

        Raises:
            Malformed: it cannot be read.
        """
        body, payload = _read(request)
        meant = form_fields.sort(form_answers.named(payload.at("data")))
        return form_answers.routed(meant, _submission(body, payload), payload.id("formId") or payload.text("name"))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the form; other triggers than a submission say nothing.

        Raises:
            Malformed: it cannot be read. Unsupported: a program filled it in.
        """
        body, payload = _read(request)
        if body.text("triggerType") not in ("", "form_submission") or not payload.at("data"):
            return []
        meant = form_fields.sort(form_answers.named(payload.at("data")))
        uploads = {
            field.text("fieldName") for field in payload.items("schema") if "Upload" in field.text("fieldType")
        } - {""}
        told = (("form", payload.text("name")), ("form_id", payload.id("formId")))
        return [
            form_answers.incoming(
                meant,
                context.default_country,
                external_id=_submission(body, payload),
                occurred_at=payload.moment("submittedAt") or payload.moment("d"),
                attachments=(
                    *form_files.linked((value for label, value in meant.others if label in uploads), surely=True),
                    *form_files.linked(value for label, value in meant.others if label not in uploads),
                ),
                page=payload.text("pageUrl"),
                more={name: value for name, value in told if value},
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

    def _check_signature(self, request: RawRequest, now: datetime) -> None:
        stamp = request.headers.get("x-webflow-timestamp", "").strip()
        found = request.headers.get("x-webflow-signature", "").strip().lower()
        secret = self._client_secret.get_secret_value().encode()
        expected = hmac.digest(secret, stamp.encode("utf-8", "surrogatepass") + b":" + request.body, hashlib.sha256)
        if not shared_secret.same(found, expected.hex()):
            raise BadSignature(
                "Webflow's signature is missing or was made with another secret. Nothing was stored. Webhooks made on "
                "Webflow's own pages are not signed: for these leave the client secret empty"
            )
        if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 15):
            raise BadSignature("The time of Webflow's signature cannot be read. Nothing was stored")
        if abs(now.timestamp() - int(stamp) / 1000) > WINDOW:
            raise BadSignature("Webflow's signature is older than 5 minutes. Nothing was stored")


def _read(request: RawRequest) -> tuple[Fields, Fields]:
    """Return the body and what of it is the submission: all of it in version 1."""
    body = object_of(request)
    payload = body.at("payload")
    return body, payload if isinstance(payload.value, dict) else body


def _submission(body: Fields, payload: Fields) -> str:
    return payload.id("id") or payload.id("_id") or body.id("_id")
