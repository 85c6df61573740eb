"""Lead forms of advertisements on Facebook and Instagram.

Reaches   nobody: it only receives
Set up    as `channels.meta` says, for the object `page`: the field leadgen. Subscribe the Page to the app. The access
          token is the Page's, with leads_retrieval and pages_manage_metadata; in Business Suite the app needs access to
          the leads (Integrations → Leads access)
Calls us  POST with the ids of leads, several in one request; what people answered has to be asked for
Checks    see `channels.meta`
Repeats   the lead's id
Quirks    Meta's test tool fills its fields with `<test lead: dummy data for …>`: such a lead is shown and nobody's.
          Leads are kept for 90 days
Source    Meta, "Lead Ads: Retrieving leads"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec
from pydantic import Field

from channels import form_answers, form_fields
from channels.contract import Checked, Group, Tools
from channels.errors import Misconfigured, Undeliverable
from channels.fields import Fields
from channels.form_fields import Answer
from channels.messenger_events import LEADS
from channels.meta import MetaApp, MetaSettings, check_page, part_of_path
from core.kernel.envelopes import Event, Pending

_ASKED = (
    "created_time,field_data,form_id,ad_id,ad_name,campaign_id,campaign_name,is_organic,platform,"
    "custom_disclaimer_responses"
)
_PLATFORMS = {"fb": "facebook", "ig": "instagram", "wa": "whatsapp", "msg": "messenger"}
_DUMMY = "<test lead:"


class MetaLeads(MetaApp):
    """Receives lead forms of a Page."""

    kind: ClassVar[str] = LEADS
    title: ClassVar[str] = "Facebook and Instagram lead forms"
    group: ClassVar[Group] = "form"

    class Settings(MetaSettings):
        """What an administrator fills in."""

        page_id: str = Field(
            min_length=1, title="Page ID", description="Of the Page whose advertisements have the forms."
        )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._page = settings.page_id
        self.account = f"{LEADS}:{settings.page_id}"

    async def enrich(self, event: Pending, tools: Tools) -> Sequence[Event]:
        """Ask what somebody answered.

        Raises:
            Undeliverable: the lead is gone, or not ours to read. ChannelError: anything else Meta said.
        """
        try:
            lead = await self.graph("GET", part_of_path(event.reference), tools, query={"fields": _ASKED})
        except Misconfigured as error:
            if error.code != "100/33":
                raise
            raise Undeliverable(
                f"Meta does not show the lead {event.reference}: it is deleted, older than 90 days, or the app has no "
                "access to the Page's leads (Business Suite → Integrations → Leads access)",
                code=error.code,
            ) from error
        return [_read(lead, event, tools.default_country)]

    async def check(self, tools: Tools) -> Checked:
        """Ask Meta whose token it is.

        Raises:
            ChannelError: it is not the Page's, or no good.
        """
        return await check_page(self, self._page, tools)


def _read(lead: Fields, event: Pending, country: str) -> Event:
    """Make the form of a lead and what was known of it before."""
    form = lead.id("form_id") or event.hints.get("form_id", "")
    ad = lead.id("ad_id") or event.hints.get("ad_id", "")
    platform = lead.text("platform").lower()
    marks = {
        "ad": ad,
        "utm_source": _PLATFORMS.get(platform, platform),
        "utm_campaign": lead.text("campaign_name"),
        "utm_content": lead.text("ad_name"),
    }
    answers = list(_answers(lead))
    more: dict[str, Any] = {"form_id": form} if form else {}
    dummies = [answer for answer in answers if answer.value.startswith(_DUMMY)]
    if dummies:
        # what Meta's tool made up is nobody's name, phone or e-mail
        more = {**{answer.label: answer.value for answer in answers}, **more, "test": "yes"}
        answers = []
    found = form_answers.incoming(
        form_fields.sort(answers),
        country,
        external_id=event.external_id,
        occurred_at=lead.moment("created_time") or event.occurred_at,
        marks={name: value for name, value in marks.items() if value},
        more=more,
    )
    agreed = [
        answer.text("checkbox_key") for answer in lead.items("custom_disclaimer_responses") if answer.flag("is_checked")
    ]
    consent = ", ".join(dict.fromkeys(key for key in agreed if key)) or found.consent
    return msgspec.structs.replace(found, account=event.account, peer=event.peer, consent=consent)


def _answers(lead: Fields) -> Iterator[Answer]:
    """Yield the questions and what was answered; `trap` and `redirect` mean nothing here."""
    for item in lead.items("field_data"):
        name = item.text("name").strip()[:300]
        values = [value.text() for value in item.items("values")] or [item.text("values")]
        value = ", ".join(value for value in values if value)
        if name and value:
            label = name.replace("_", " ")
            yield Answer(f"{name}?", f"{label}?", value) if name in ("trap", "redirect") else Answer(name, label, value)
