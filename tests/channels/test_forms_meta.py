from __future__ import annotations

from typing import Any

import pytest

from channels import registry
from channels.contract import ParseContext
from channels.errors import Misconfigured, Temporary, Throttled, Unauthorised, Undeliverable
from channels.forms_meta import MetaLeads
from core.kernel.envelopes import Attribution, Incoming, Pending, Trust
from tests.channels.payloads import NOW
from tests.channels.payloads.forms_meta import AT, REQUESTS, SETTINGS
from tests.channels.payloads.messenger import PAGE

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
LEAD = {
    "id": "444",
    "created_time": "2026-11-20T08:59:00+0000",
    "form_id": "555",
    "ad_id": "777",
    "ad_name": "Video 2",
    "campaign_id": "1",
    "campaign_name": "Spring",
    "is_organic": False,
    "platform": "ig",
    "field_data": [
        {"name": "full_name", "values": ["Вера Ильина"]},
        {"name": "phone_number", "values": ["8 916 123-45-67"]},
        {"name": "email", "values": ["Vera@Example.com"]},
        {"name": "what_size?", "values": ["M", "L"]},
        {"name": "trap", "values": ["a question of this name"]},
    ],
    "custom_disclaimer_responses": [
        {"checkbox_key": "newsletter", "is_checked": "1"},
        {"checkbox_key": "calls", "is_checked": ""},
    ],
}


def channel(**more: Any) -> MetaLeads:
    built = registry.build("forms_meta", {**SETTINGS, **more})
    assert isinstance(built, MetaLeads)
    return built


def pending() -> Pending:
    [found] = channel().parse(REQUESTS[0], CONTEXT)
    assert isinstance(found, Pending)
    return found


def test_a_lead_is_told_by_its_id_and_has_to_be_asked_for():
    assert pending() == Pending(
        account=f"forms_meta:{PAGE}",
        occurred_at=NOW,
        external_id="444",
        reference="444",
        hints={"form_id": "555", "ad_id": "777", "page_id": PAGE, "created_time": str(AT)},
    )


def test_every_lead_of_a_request_comes_out_for_its_page():
    found = channel().parse(REQUESTS[1], CONTEXT)
    assert [(event.account, event.reference) for event in found if isinstance(event, Pending)] == [
        (f"forms_meta:{PAGE}", "444"),
        (f"forms_meta:{PAGE}", "445"),
        ("forms_meta:4321", "446"),
    ]
    assert len(found) == 3, "a comment on a post is no event"


async def enriched(provider: Any, tools: Any, lead: Any) -> Incoming:
    provider.answers("GET", "/v25.0/444", json=lead)
    [found] = await channel(base_url=provider.url).enrich(pending(), tools)
    assert isinstance(found, Incoming)
    return found


async def test_what_was_answered_becomes_a_form(provider, tools):
    found = await enriched(provider, tools, LEAD)
    assert (found.external_id, found.account, found.is_form) == ("444", f"forms_meta:{PAGE}", True)
    assert found.name == "Вера Ильина"
    assert [(str(claim.address), claim.trust) for claim in found.claims] == [
        ("phone:+79161234567", Trust.TYPED),
        ("email:vera@example.com", Trust.TYPED),
    ]
    assert found.attribution == Attribution(
        ad="777", utm_source="instagram", utm_campaign="Spring", utm_content="Video 2"
    )
    assert found.fields == {"what size?": "M, L", "trap?": "a question of this name", "form_id": "555"}
    assert found.consent == "newsletter"
    assert found.occurred_at is not None and found.occurred_at.isoformat() == "2026-11-20T08:59:00+00:00"
    [asked] = provider.asked
    assert {"field_data", "campaign_name", "platform"} <= set(asked.query["fields"].split(","))
    assert asked.headers["authorization"] == f"Bearer {SETTINGS['access_token']}"


async def test_what_the_lead_does_not_say_is_taken_from_the_call(provider, tools):
    found = await enriched(provider, tools, {"field_data": [{"name": "email", "values": ["a@example.com"]}]})
    assert (found.attribution.ad, found.occurred_at, found.fields) == ("777", NOW, {"form_id": "555"})


@pytest.mark.parametrize("odd", [{}, {"field_data": "x"}, {"field_data": [None, {"name": 1}, {"values": ["x"]}]}])
async def test_a_lead_of_another_shape_is_still_a_lead(provider, tools, odd):
    assert (await enriched(provider, tools, odd)).external_id == "444"


async def test_a_lead_of_the_test_tool_is_shown_and_nobody_s(provider, tools):
    names = ("full_name", "phone_number", "email")
    data = [{"name": name, "values": [f"<test lead: dummy data for {name}>"]} for name in names]
    found = await enriched(provider, tools, {**LEAD, "field_data": data})
    assert (found.claims, found.name) == ((), "")
    assert found.fields["test"] == "yes"
    assert found.fields["email"] == "<test lead: dummy data for email>"


@pytest.mark.parametrize(
    ("status", "error", "meaning"),
    [
        (400, {"code": 100, "error_subcode": 33, "message": "Unsupported get request"}, Undeliverable),
        (401, {"code": 190, "message": "expired"}, Unauthorised),
        (400, {"code": 200, "message": "Requires leads_retrieval"}, Unauthorised),
        (429, {"code": 4, "message": "limit"}, Throttled),
        (500, {"code": 2, "message": "busy"}, Temporary),
        (200, {"code": 190, "message": "expired"}, Unauthorised),
    ],
)
async def test_a_lead_that_cannot_be_had_says_why(provider, tools, status, error, meaning):
    provider.answers("GET", ".*", status=status, json={"error": error})
    with pytest.raises(meaning) as raised:
        await channel(base_url=provider.url).enrich(pending(), tools)
    assert type(raised.value) is meaning


async def test_a_broken_connection_is_tried_again(provider, tools):
    provider.breaks("GET", ".*")
    with pytest.raises(Temporary):
        await channel(base_url=provider.url).enrich(pending(), tools)


async def test_an_answer_nobody_can_read_is_asked_for_again(provider, tools):
    provider.answers("GET", ".*", body="<html>")
    with pytest.raises(Temporary):
        await channel(base_url=provider.url).enrich(pending(), tools)


async def test_a_check_tells_whose_the_token_is(provider, tools):
    provider.answers("GET", "/v25.0/me", json={"id": PAGE, "name": "Shop"})
    assert "Shop" in (await channel(base_url=provider.url).check(tools)).detail
    provider.answers("GET", "/v25.0/me", json={"id": "1", "name": "A person"})
    with pytest.raises(Misconfigured, match="Page"):
        await channel(base_url=provider.url).check(tools)
