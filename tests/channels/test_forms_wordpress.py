from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from channels.contract import ParseContext
from channels.forms_wordpress import WordPressForms
from core.kernel.addresses import Address
from tests.channels.payloads import NOW
from tests.channels.payloads.forms_wordpress import (
    CONTACT_FORM_7,
    ELEMENTOR,
    ELEMENTOR_ADVANCED,
    GRAVITY,
    SETTINGS,
    WPFORMS,
    posted,
    sent,
)
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
WORDPRESS = WordPressForms(WordPressForms.Settings(**SETTINGS))


def read(request):
    (event,) = WORDPRESS.parse(request, CONTEXT)
    return event


@pytest.mark.parametrize(
    "request_",
    [posted(ELEMENTOR), posted(ELEMENTOR_ADVANCED), sent(CONTACT_FORM_7), sent(GRAVITY), sent(WPFORMS)],
    ids=["elementor", "elementor advanced", "contact form 7", "gravity", "wpforms"],
)
def test_every_plugin_s_form_becomes_the_same_person(request_):
    event = read(request_)
    assert event.name == "Вера Орлова"
    assert sorted(claim.address for claim in event.claims) == [
        Address("email", "vera@example.com"),
        Address("phone", "+79161234567"),
    ]
    assert event.is_form


def test_elementor_s_marks_of_the_visit_are_known_in_any_language():
    event = read(posted(ELEMENTOR))
    assert event.attribution.utm_source == "yandex"
    assert event.attribution.landing_page == ELEMENTOR["URL страницы"]
    assert event.fields == {"field_9c1": "Кухня", "form_id": "3f2a", "form_name": "Иван Форма"}


def test_elementor_without_some_of_the_marks_loses_no_answer():
    kept = {name: value for name, value in ELEMENTOR.items() if name not in ("Дата", "Время", "URL страницы")}
    event = read(posted(kept))
    assert event.name == "Вера Орлова"
    assert event.fields == {"field_9c1": "Кухня", "form_id": "3f2a", "form_name": "Иван Форма"}


def test_elementor_with_advanced_data_tells_more():
    event = read(posted(ELEMENTOR_ADVANCED))
    assert event.text == "Кухня"
    assert event.consent == "on"
    assert (event.attribution.utm_source, event.attribution.utm_medium) == ("yandex", "cpc")
    (file,) = event.attachments
    assert file.name == "План.pdf"
    assert event.fields == {"form[id]": "3f2a", "form[name]": "New Form", "План": file.reference}


def test_contact_form_7_is_read_by_its_tags():
    event = read(sent(CONTACT_FORM_7))
    assert (event.subject, event.text, event.consent) == ("Кухня", "Перезвоните", "1")
    assert event.fields["checkbox-7"] == "Стол, Стул"
    assert not [name for name in event.fields if name.startswith("_wp") or name == "posted_data_hash"]
    assert [file.kind for file in event.attachments] == ["image"]


def test_gravity_s_numbers_are_understood():
    event = read(sent(GRAVITY))
    assert event.external_id == "2:417"
    assert event.occurred_at == datetime(2026, 11, 20, 8, 58, tzinfo=UTC)
    assert event.text == "Кухня\nи стол"
    assert event.consent == "Согласна на обработку"
    assert event.attribution.utm_source == "vk"
    assert event.fields == {
        "form_id": "2",
        "5.1": "Тверская, 1",
        "5.3": "Москва",
        "5.5": "125009",
        "5.6": "Россия",
        "7": "Угловая",
    }


def test_gravity_s_address_is_no_name():
    entry = {name: value for name, value in GRAVITY.items() if not name.startswith("1.")}
    event = read(sent(entry))
    assert event.name == ""
    assert event.fields["5.3"] == "Москва"


def test_gravity_s_payment_is_shown_once_there_is_one():
    event = read(sent({**GRAVITY, "payment_status": "Paid", "payment_amount": "100.00"}))
    assert (event.fields["payment_status"], event.fields["payment_amount"]) == ("Paid", "100.00")


def test_wpforms_is_read_by_its_labels_and_types():
    event = read(sent(WPFORMS))
    assert event.external_id == "9:55"
    assert event.fields["Размер"] == "12"


@pytest.mark.parametrize(
    ("request_", "key"),
    [(sent(GRAVITY), "id:2:417"), (sent(WPFORMS), "id:9:55"), (sent({"submission_id": "77", "a": "b"}), "id:77")],
)
def test_a_repeat_is_known_by_the_id_of_the_entry(request_, key):
    assert WORDPRESS.route(request_).dedupe_key == key
    assert WORDPRESS.route(request_).repeat_within is None


@pytest.mark.parametrize("entry", [0, "", None])
def test_an_entry_that_was_not_kept_has_no_id(entry):
    routed = WORDPRESS.route(sent({**WPFORMS, "entry_id": entry}))
    assert routed.repeat_within == timedelta(minutes=10)


def test_the_same_answers_a_minute_later_are_a_repeat_and_others_are_none():
    first = WORDPRESS.route(posted(ELEMENTOR))
    assert first.repeat_within == timedelta(minutes=10)
    assert first == WORDPRESS.route(posted({**ELEMENTOR, "Время": "12:01"}))
    assert first != WORDPRESS.route(posted({**ELEMENTOR, "No Label field_9c1": "Стол"}))
    assert first != WORDPRESS.route(posted({**ELEMENTOR, "form_id": "4"}))
    advanced = WORDPRESS.route(posted(ELEMENTOR_ADVANCED))
    assert advanced == WORDPRESS.route(posted({**ELEMENTOR_ADVANCED, "meta[time][value]": "12:01"}))


def test_the_form_s_name_never_becomes_the_person():
    for request in (
        posted({"form_name": "Иван Петров", "form_id": "1", "Email": "a@b.example", "Powered by": "Elementor"}),
        posted({"form[name]": "Иван Петров", "fields[e][id]": "e", "fields[e][value]": "a@b.example"}),
        sent({"form_name": "Иван Петров", "form_title": "Иван", "email": "a@b.example"}),
    ):
        assert read(request).name == ""


@pytest.mark.parametrize(
    "request_",
    [
        posted(ELEMENTOR),
        sent(GRAVITY),
        RawRequest(posted(ELEMENTOR).body, headers=posted(ELEMENTOR).headers, suffix="wordpress-token-1"),
    ],
    ids=["query", "bearer", "path"],
)
def test_the_token_is_taken_from_the_address_or_a_header(request_):
    WORDPRESS.verify(request_, NOW)


@pytest.mark.parametrize("request_", [posted(ELEMENTOR, ""), sent(GRAVITY, authorization="Bearer x")])
def test_a_request_without_the_token_is_refused(request_):
    with pytest.raises(BadSignature):
        WORDPRESS.verify(request_, NOW)


def test_without_a_token_of_our_own_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        WordPressForms(WordPressForms.Settings()).verify(posted(ELEMENTOR, "token="), NOW)


def test_files_in_the_body_can_be_had_again():
    body = (
        b'--b\r\nContent-Disposition: form-data; name="your-name"\r\n\r\nVera\r\n'
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.pdf"\r\n'
        b"Content-Type: application/pdf\r\n\r\n%PDF\r\n--b--\r\n"
    )
    request = RawRequest(body, headers={"content-type": "multipart/form-data; boundary=b"})
    (file,) = read(request).attachments
    assert (file.name, file.content_type, file.size) == ("a.pdf", "application/pdf", 4)
    assert WORDPRESS.read_part(request, file.part) == b"%PDF"
