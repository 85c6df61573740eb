from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from channels.contract import ParseContext
from channels.forms_webflow import WebflowForms
from core.kernel.addresses import Address
from tests.channels.payloads import NOW
from tests.channels.payloads.forms_webflow import SETTINGS, SUBMISSION, VERSION_1, webflow
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
WEBFLOW = WebflowForms(WebflowForms.Settings(**SETTINGS))
UNSIGNED = WebflowForms(WebflowForms.Settings(secret="webflow-token-1"))


def read(body):
    (event,) = WEBFLOW.parse(webflow(body), CONTEXT)
    return event


def vector(signature="302d9bc8c7c8a5f289ffca72256246985de46ad5ea596d49d8da451a8c4868d1", stamp="1760948130000"):
    headers = {"x-webflow-timestamp": stamp, "x-webflow-signature": signature}
    return RawRequest(b'{"triggerType":"form_submission"}', headers=headers)


SIGNED_AT = datetime.fromtimestamp(1_760_948_130, UTC)


def test_the_signature_of_the_vector_is_accepted():
    WEBFLOW.verify(vector(), SIGNED_AT)


@pytest.mark.parametrize(
    "request_",
    [
        vector(""),
        vector("302d9bc8c7c8a5f289ffca72256246985de46ad5ea596d49d8da451a8c4868d2"),
        vector(stamp="1760948130001"),
        vector(stamp=""),
    ],
)
def test_any_other_signature_is_refused(request_):
    with pytest.raises(BadSignature):
        WEBFLOW.verify(request_, SIGNED_AT)


@pytest.mark.parametrize("late", [timedelta(minutes=5, seconds=1), -timedelta(minutes=5, seconds=1)])
def test_a_signature_is_good_for_five_minutes(late):
    WEBFLOW.verify(vector(), SIGNED_AT + late * 0.99)
    with pytest.raises(BadSignature, match="older"):
        WEBFLOW.verify(vector(), SIGNED_AT + late)


@pytest.mark.parametrize("stamp", ["soon", "-1", "", "1e12", "9" * 40])
def test_a_signed_time_that_is_none_is_refused(stamp):
    body = b"{}"
    signature = hmac.digest(b"webflow_client_secret", stamp.encode() + b":" + body, hashlib.sha256).hex()
    headers = {"x-webflow-timestamp": stamp, "x-webflow-signature": signature}
    with pytest.raises(BadSignature, match="time"):
        WEBFLOW.verify(RawRequest(body, headers=headers), NOW)


def test_a_webhook_made_by_hand_carries_the_shared_secret_instead():
    body = webflow(SUBMISSION).body
    UNSIGNED.verify(RawRequest(body, query="token=webflow-token-1"), NOW)
    UNSIGNED.verify(RawRequest(body, suffix="webflow-token-1"), NOW)
    for request in (RawRequest(body), RawRequest(body, query="token=x"), webflow(SUBMISSION)):
        with pytest.raises(BadSignature):
            UNSIGNED.verify(request, NOW)


def test_where_a_signature_is_expected_the_shared_secret_does_not_replace_it():
    both = WebflowForms(WebflowForms.Settings(client_secret="webflow_client_secret", secret="webflow-token-1"))
    with pytest.raises(BadSignature):
        both.verify(RawRequest(b"{}", query="token=webflow-token-1"), NOW)


def test_without_any_secret_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        WebflowForms(WebflowForms.Settings()).verify(webflow(SUBMISSION, secret=""), NOW)


def test_a_submission_becomes_a_person():
    event = read(SUBMISSION)
    assert event.external_id == "6321ca84df3949bfc6752327"
    assert event.name == "Вера Орлова"
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 30, tzinfo=UTC)
    assert [claim.address for claim in event.claims] == [
        Address("phone", "+79161234567"),
        Address("email", "vera@example.com"),
    ]
    assert event.attribution.utm_source == "bing"
    assert event.fields["Subscribe"] == "true"
    assert event.fields["form"] == "Contact Us"


@pytest.mark.parametrize("number", [79161234567, 79161234567.0, "8 916 123-45-67"])
def test_a_phone_may_come_as_a_number(number):
    event = read({**SUBMISSION, "payload": {**SUBMISSION["payload"], "data": {"Phone": number}}})
    assert [claim.address.value for claim in event.claims] == ["+79161234567"]


def test_an_upload_is_a_file_though_its_address_does_not_end_like_one():
    (file,) = read(SUBMISSION).attachments
    assert file.reference == "https://uploads-ssl.webflow.com/form/x/plan"


def test_the_old_format_is_read_alike():
    event = read(VERSION_1)
    assert (event.external_id, event.name, event.fields["form"]) == ("6321ca84df3949bfc6752328", "Вера", "Sample Form")
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 31, tzinfo=UTC)


def test_the_form_s_name_never_becomes_the_person():
    assert read({"name": "Иван Петров", "_id": "1", "data": {"email": "a@b.example"}}).name == ""


def test_other_triggers_say_nothing():
    assert WEBFLOW.parse(webflow({"triggerType": "site_publish", "payload": {"data": {"a": "b"}}}), CONTEXT) == []


def test_a_repeat_is_known_by_its_id_or_else_by_the_answers():
    assert WEBFLOW.route(webflow(SUBMISSION)).dedupe_key == "id:6321ca84df3949bfc6752327"
    bare = {**VERSION_1, "_id": None}
    assert WEBFLOW.route(webflow(bare)).repeat_within == timedelta(minutes=10)
    assert WEBFLOW.route(webflow(bare)) == WEBFLOW.route(webflow(bare, stamp=1))
    assert WEBFLOW.route(webflow(bare)) != WEBFLOW.route(webflow({**bare, "name": "Another form"}))
