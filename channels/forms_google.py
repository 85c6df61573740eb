"""Lead forms of Google Ads.

Reaches   nobody: it only receives
Set up    in Google Ads: the lead form → Export leads from Google Ads → Other data integration options → Webhook: the
          hook's address and the key, then "Send test data"
Calls us  POST /hooks/<connection>: JSON, one lead a call. A 5xx is tried again, a 4xx is not
Checks    `google_key` in the body is the key that was entered there
Repeats   the same `lead_id`
Quirks    `column_name` may be missing, so answers are known by `column_id`; answers to questions of one's own have ids
          of words. Ids of campaigns are 64-bit numbers in JSON, kept as text. Test leads (`is_test`) are shown like any
          other, with the field `test`
Source    Google's "Webhook integration for lead form extensions" (Google Ads developer pages)
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field, SecretStr

from channels import form_answers, form_fields, shared_secret
from channels.contract import ChannelSettings, Group, ParseContext, Routed
from channels.fields import Fields, object_of
from channels.form_fields import Answer, Meant
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest, Reply

_COLUMNS = {
    "FULL_NAME": "name",
    "FIRST_NAME": "first_name",
    "LAST_NAME": "last_name",
    "EMAIL": "email",
    "WORK_EMAIL": "email",
    "PHONE_NUMBER": "phone",
    "WORK_PHONE": "phone",
    "COMPANY_NAME": "company",
}
_FACTS = ("form_id", "campaign_id", "adgroup_id", "creative_id", "asset_group_id")


class GoogleLeadForms:
    """Receives leads of Google Ads."""

    kind: ClassVar[str] = "forms_google"
    title: ClassVar[str] = "Google Ads lead form"
    group: ClassVar[Group] = "form"
    account = ""

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        google_key: SecretStr = Field(
            SecretStr(""),
            title="Key",
            description="The same is entered in Google Ads, below the webhook's address.",
            json_schema_extra={"made": True},
        )

    def __init__(self, settings: Settings) -> None:
        self._key = settings.google_key

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the key in the body.

        Raises:
            BadSignature: it is another. NotConfigured: we have none. Malformed: no JSON object.
        """
        key = self._key.get_secret_value()
        if not key:
            raise NotConfigured("This channel has no key yet, so nothing is accepted. Enter one here and in Google Ads")
        found = object_of(request).at("google_key").value
        if not (isinstance(found, str) and shared_secret.same(found, key)):
            raise BadSignature(
                "The lead does not carry this channel's key. Nothing was stored. Enter the key in Google Ads, below "
                "the webhook's address"
            )

    def route(self, request: RawRequest) -> Routed:
        """Tell what makes two calls the same: the id of the lead.

        Raises:
            Malformed: it cannot be read.
        """
        body = object_of(request)
        return form_answers.routed(_meant(body), body.id("lead_id"), body.id("form_id"))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the lead.

        Raises:
            Malformed: it cannot be read.
        """
        body = object_of(request)
        if not body.at("user_column_data").value:
            return []
        facts: dict[str, Any] = {name: value for name in _FACTS if (value := body.id(name))}
        if body.flag("is_test"):
            facts["test"] = True
        return [
            form_answers.incoming(
                _meant(body),
                context.default_country,
                external_id=body.id("lead_id"),
                occurred_at=body.moment("lead_submit_time"),
                marks={"gclid": body.text("gcl_id"), "ad": body.id("creative_id")},
                more=facts,
            )
        ]

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer the empty object that Google wants."""
        return Reply(b"{}")


def _meant(body: Fields) -> Meant:
    answers = []
    for column in body.items("user_column_data"):
        name = column.text("column_id") or column.text("column_name")
        label = (column.text("column_name") or name)[:300]
        hint = _COLUMNS.get(name.upper(), "")
        answers.append(Answer("" if hint else name, label, column.text("string_value"), hint))
    return form_fields.sort(answers)
