from __future__ import annotations

import pytest

from channels.contract import ParseContext
from channels.forms_google import GoogleLeadForms
from core.kernel.addresses import Address
from tests.channels.payloads import NOW
from tests.channels.payloads.forms_google import LEAD, SETTINGS, google
from webhooks.errors import BadSignature, Malformed, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
GOOGLE = GoogleLeadForms(GoogleLeadForms.Settings(**SETTINGS))


def read(body):
    (event,) = GOOGLE.parse(google(body), CONTEXT)
    return event


def columns(*pairs):
    return {**LEAD, "user_column_data": [{"column_id": name, "string_value": value} for name, value in pairs]}


def test_a_lead_becomes_a_person():
    event = read(LEAD)
    assert event.external_id == LEAD["lead_id"]
    assert (event.name, event.company) == ("Вера Орлова", "Орлова и Ко")
    assert [claim.address for claim in event.claims] == [
        Address("phone", "+79161234567"),
        Address("email", "vera@example.com"),
    ]
    assert (event.attribution.gclid, event.attribution.ad) == ("Cj0KCQ", "30000000004")
    assert event.fields["City"] == "Тверь"
    assert event.fields["Which vehicle?"] == "Van"


def test_columns_are_known_by_their_id_when_the_name_is_missing():
    event = read(
        columns(
            *(("FIRST_NAME", "Vera"), ("LAST_NAME", "Orlova"), ("WORK_EMAIL", "v@work.example")),
            *(("WORK_PHONE", "+79161234567"), ("POSTAL_CODE", "170100"), ("what_vehicle", "Van")),
        )
    )
    assert event.name == "Vera Orlova"
    assert [claim.address.value for claim in event.claims] == ["+79161234567", "v@work.example"]
    assert (event.fields["POSTAL_CODE"], event.fields["what_vehicle"]) == ("170100", "Van")


def test_long_numbers_are_kept_to_the_last_digit():
    assert read(LEAD).fields["campaign_id"] == "9223372036854775807"


def test_a_test_lead_is_shown_and_recognisable():
    event = read({**LEAD, "is_test": True})
    assert event.is_form
    assert event.fields["test"] is True
    assert event.name == "Вера Орлова"
    assert "test" not in read(LEAD).fields


@pytest.mark.parametrize("key", ["", "google-key-2", None, 1, ["google-key-1"], "google-key-1 "])
def test_a_lead_without_the_key_is_refused(key):
    with pytest.raises(BadSignature):
        GOOGLE.verify(google({**LEAD, "google_key": key}), NOW)


def test_the_key_is_accepted_and_shown_nowhere():
    GOOGLE.verify(google(LEAD), NOW)
    assert "google-key-1" not in repr(read(LEAD))


def test_without_a_key_of_our_own_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        GoogleLeadForms(GoogleLeadForms.Settings()).verify(google({**LEAD, "google_key": ""}), NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"google_key=google-key-1"])
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(Malformed):
        GOOGLE.verify(RawRequest(body), NOW)


def test_a_repeat_is_known_by_the_id_of_the_lead():
    assert GOOGLE.route(google(LEAD)).dedupe_key == f"id:{LEAD['lead_id']}"
    assert GOOGLE.route(google(LEAD)).repeat_within is None


def test_a_call_without_answers_says_nothing():
    assert GOOGLE.parse(google({"google_key": "google-key-1", "lead_id": "1"}), CONTEXT) == []


def test_google_hears_an_empty_object():
    reply = GOOGLE.acknowledge(google(LEAD), "r1")
    assert (reply.status, reply.body) == (200, b"{}")
