from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime

import pytest

from channels.contract import ParseContext
from channels.forms_typeform import TypeformForms
from core.kernel.addresses import Address
from tests.channels.payloads import NOW
from tests.channels.payloads.forms_typeform import RESPONSE, SETTINGS, typeform
from webhooks.errors import BadSignature, NotConfigured, Unsupported
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
TYPEFORM = TypeformForms(TypeformForms.Settings(**SETTINGS))


def read(body):
    (event,) = TYPEFORM.parse(typeform(body), CONTEXT)
    return event


def with_answers(*answers, fields=()):
    response = {"token": "t1", "definition": {"title": "A form", "fields": list(fields)}, "answers": list(answers)}
    return {"event_id": "e1", "event_type": "form_response", "form_response": response}


def test_the_signature_of_the_vector_is_accepted():
    body = b'{"event_id":"1","event_type":"form_response"}'
    signature = "sha256=+xvx1O8OSi5bsLKp2I7RK1VBKw3Hldfgga8bqW8bXzc="
    TYPEFORM.verify(RawRequest(body, headers={"typeform-signature": signature}), NOW)


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=AAAA", "+xvx1O8OSi5bsLKp2I7RK1VBKw3Hldfgga8bqW8bXzc="])
def test_any_other_signature_is_refused(signature):
    body = b'{"event_id":"1","event_type":"form_response"}'
    with pytest.raises(BadSignature):
        TYPEFORM.verify(RawRequest(body, headers={"typeform-signature": signature}), NOW)


def test_without_a_secret_nothing_is_accepted():
    channel = TypeformForms(TypeformForms.Settings())
    with pytest.raises(NotConfigured):
        channel.verify(typeform(RESPONSE, secret=""), NOW)


def test_the_person_is_read_from_the_questions():
    event = read(RESPONSE)
    assert event.external_id == "a3a12ec67a1365927098a606107fac15"
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 50, tzinfo=UTC)
    assert event.name == "Vera Орлова"
    assert [claim.address for claim in event.claims] == [
        Address("phone", "+79161234567"),
        Address("email", "vera@example.com"),
    ]
    assert event.text == "Кухня, 12 м²\nи стол"
    assert event.consent == "I agree to be called"
    assert (event.attribution.utm_source, event.attribution.gclid) == ("newsletter", "g-1")


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("How many rooms?", "3"),
        ("New house?", "true"),
        ("When?", "2026-12-01"),
        ("Your site", "https://vera.example/page.pdf"),
        ("Plan", "https://api.typeform.com/forms/x/files/plan%20a.png"),
        ("Style", "Loft"),
        ("Colour", "зелёный"),
        ("Parts", "Table, Shelf, Lamp"),
        ("Deposit", "$10.00, paid, V ORLOVA, •••• 4242"),
        ("Say it", "https://x.example/v"),
        ("plan", "pro"),
        ("winning", "Loft"),
        ("sum", "5"),
        ("score", "9"),
        ("form", "Vera Ltd. contact form"),
    ],
)
def test_every_type_of_answer_is_shown_under_its_question(label, value):
    assert read(RESPONSE).fields[label] == value


def test_only_uploads_are_files():
    (file,) = read(RESPONSE).attachments
    assert (file.name, file.kind) == ("plan a.png", "image")


@pytest.mark.parametrize("title", ["What's your name?", "What is your full name?", "Как вас зовут?", "*Your name*"])
def test_a_question_after_the_name_is_recognised(title):
    answer = {"type": "text", "text": "Vera Orlova", "field": {"id": "1", "ref": "01aa-bb"}}
    assert read(with_answers(answer, fields=[{"id": "1", "title": title}])).name == "Vera Orlova"


def test_the_form_s_title_never_becomes_the_person():
    assert read(with_answers({"type": "email", "email": "a@b.example", "field": {"id": "1"}})).name == ""


def test_the_name_on_a_card_never_becomes_the_person():
    payment = {"type": "payment", "payment": {"amount": "5", "name": "IVAN", "success": False}, "field": {"id": "1"}}
    event = read(with_answers(payment, fields=[{"id": "1", "title": "Payment"}]))
    assert event.name == ""
    assert event.fields["Payment"] == "5, not paid, IVAN"


def test_two_long_texts_keep_their_questions():
    fields = [{"id": name, "type": "long_text", "title": f"Question {name}"} for name in "ab"]
    answers = [{"type": "text", "text": f"said {name}", "field": {"id": name, "ref": name}} for name in "ab"]
    event = read(with_answers(*answers, fields=fields))
    assert event.text == ""
    assert event.fields["Question a"] == "said a"
    assert event.fields["Question b"] == "said b"


def test_who_did_not_agree_gave_no_consent():
    answer = {"type": "boolean", "boolean": False, "field": {"id": "1", "type": "legal"}}
    event = read(with_answers(answer, fields=[{"id": "1", "title": "I agree"}]))
    assert event.consent is None
    assert event.fields["I agree"] == "false"


def test_a_form_that_is_not_finished_makes_no_lead():
    with pytest.raises(Unsupported):
        TYPEFORM.parse(typeform({**RESPONSE, "event_type": "form_response_partial"}), CONTEXT)


def test_an_event_unknown_here_says_nothing():
    assert TYPEFORM.parse(typeform({"event_id": "1", "event_type": "workspace_renamed"}), CONTEXT) == []


def test_a_repeat_is_known_by_the_id_of_the_event():
    other = deepcopy(RESPONSE)
    other["form_response"]["answers"] = []
    assert TYPEFORM.route(typeform(RESPONSE)).dedupe_key == TYPEFORM.route(typeform(other)).dedupe_key
    assert TYPEFORM.route(typeform({**RESPONSE, "event_id": "e2"})).dedupe_key == "id:e2"


def test_one_broken_answer_does_not_lose_the_others():
    body = with_answers(None, 7, {"type": ["x"]}, {"type": "email", "email": "vera@example.com", "field": None})
    assert [claim.address.value for claim in read(body).claims] == ["vera@example.com"]


def test_the_answer_is_one_of_success():
    reply = TYPEFORM.acknowledge(typeform(RESPONSE), "r")
    assert reply.status == 200
    assert json.loads(reply.body) == {"ok": True}
