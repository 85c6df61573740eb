from __future__ import annotations

import pytest

from channels.contract import ParseContext
from channels.forms_jotform import JotForms
from core.kernel.addresses import Address
from tests.channels.payloads import NOW
from tests.channels.payloads.forms_jotform import SETTINGS, jotform
from webhooks.errors import BadSignature, Malformed, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
JOTFORM = JotForms(JotForms.Settings(**SETTINGS))


def read(request):
    (event,) = JOTFORM.parse(request, CONTEXT)
    return event


def test_a_submission_becomes_a_person():
    event = read(jotform())
    assert event.external_id == "5001002003004005006"
    assert event.name == "Mrs. Вера Орлова"
    assert [claim.address for claim in event.claims] == [
        Address("phone", "+79161234567"),
        Address("email", "vera@example.com"),
    ]
    assert event.text == "Привет, мир"
    assert (event.attribution.utm_source, event.attribution.utm_campaign) == ("fb", "autumn")
    assert event.fields == {
        "fileUpload": "https://www.jotform.com/uploads/vera/240001/5001/plan.pdf",
        "address6": "Тверская, 1, Москва",
        "date": "2026-12-01",
        "input8": "Стол, Стул",
        "Город": "Тверь",
        "form": "Имя формы",
        "form_id": "240001",
    }


def test_questions_are_known_by_their_name_whatever_their_number():
    answers = {"q3_fullName": "Vera", "q41_phoneNumber": {"area": "916", "phone": "123-45-67"}}
    moved = {"q8_fullName": "Vera", "q2_phoneNumber": {"area": "916", "phone": "123-45-67"}}
    for given in (answers, moved):
        event = read(jotform(given, pretty=""))
        assert event.name == "Vera"
        assert [claim.address.value for claim in event.claims] == ["+79161234567"]


@pytest.mark.parametrize(
    "phone",
    [
        {"full": "+7 916 123-45-67"},
        {"country": "7", "area": "916", "phone": "1234567"},
        {"country": "+7", "area": "916", "phone": "123-45-67"},
        "8 (916) 123 45 67",
    ],
)
def test_a_phone_comes_whole_or_in_pieces(phone):
    event = read(jotform({"q5_phoneNumber": phone}, pretty=""))
    assert [claim.address.value for claim in event.claims] == ["+79161234567"]


def test_a_question_s_wording_is_found_in_what_is_meant_for_people():
    answers = {"q1_input1": "Вера", "q2_input2": "до 5, не больше", "q3_input3": "Вера: да", "q4_input4": "нет"}
    event = read(jotform(answers, pretty="Ваше имя:Вера, Бюджет:до 5, не больше, Ещё:Вера: да"))
    assert event.name == "Вера"
    assert event.fields["Бюджет"] == "до 5, не больше"
    assert event.fields["Ещё"] == "Вера: да"
    assert event.fields["input4"] == "нет"


def test_the_account_and_the_form_never_become_the_person():
    assert read(jotform({"q4_email": "a@b.example"}, formTitle="Иван Петров")).name == ""


def test_what_jotform_adds_for_itself_is_not_shown():
    shown = read(jotform()).fields
    assert not {"slug", "path", "uploadServerUrl", "jsExecutionTracker", "parentURL", "username"} & shown.keys()


def test_an_upload_is_a_file():
    (file,) = read(jotform()).attachments
    assert (file.name, file.content_type) == ("plan.pdf", "application/pdf")


def test_answers_without_the_raw_request_are_read_from_the_body():
    body = b"submissionID=9&formID=1&q3_name[first]=Vera&q3_name[last]=Orlova&q4_email=vera%40example.com"
    event = read(RawRequest(body, headers={"content-type": "application/x-www-form-urlencoded"}))
    assert (event.external_id, event.name) == ("9", "Vera Orlova")


def test_a_raw_request_that_cannot_be_read_is_kept_for_somebody_to_look_at():
    JOTFORM.verify(jotform("{broken"), NOW)
    with pytest.raises(Malformed):
        JOTFORM.parse(jotform("{broken"), CONTEXT)


def test_a_repeat_is_known_by_the_id_of_the_submission():
    assert JOTFORM.route(jotform()).dedupe_key == "id:5001002003004005006"
    assert JOTFORM.route(jotform({"q4_email": "x@y.example"})).dedupe_key == "id:5001002003004005006"


@pytest.mark.parametrize("query", ["", "token=x", "other=jotform-token-1"])
def test_a_request_without_the_token_is_refused(query):
    JOTFORM.verify(jotform(), NOW)
    with pytest.raises(BadSignature):
        JOTFORM.verify(jotform(query=query), NOW)


def test_without_a_token_of_our_own_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        JotForms(JotForms.Settings()).verify(jotform(query="token="), NOW)
