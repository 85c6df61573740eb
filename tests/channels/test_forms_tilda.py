from __future__ import annotations

import pytest

from channels.contract import ParseContext
from channels.errors import Undeliverable
from channels.forms_tilda import TildaForms
from core.kernel.addresses import Address
from tests.channels.payloads import NOW
from tests.channels.payloads.forms_tilda import BRACKETS, LEAD, PAID, SETTINGS, tilda
from webhooks.errors import BadSignature, Malformed, NotConfigured, Unsupported
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
TILDA = TildaForms(TildaForms.Settings(**SETTINGS))


def read(request):
    (event,) = TILDA.parse(request, CONTEXT)
    return event


def test_a_form_becomes_a_person_with_their_words_and_where_they_came_from():
    event = read(tilda(LEAD))
    assert event.external_id == "1234567:890123"
    assert [claim.address for claim in event.claims] == [
        Address("phone", "+79161234567"),
        Address("email", "vera@example.com"),
    ]
    assert (event.name, event.text, event.is_form) == ("Вера Орлова", "Хочу кухню", True)
    assert (event.attribution.utm_source, event.attribution.utm_medium) == ("yandex", "cpc")
    assert event.attribution.ga == "GA1.2.111.222"
    assert event.fields == {"formid": "form99887766", "formname": "Заявка с главной", "_ym_uid": "1600"}


def test_the_form_s_name_never_becomes_the_person():
    event = read(tilda({"formname": "Иван Петров", "Phone": "89161234567", "tranid": "1:2"}))
    assert event.name == ""


def test_marks_of_the_form_itself_go_before_those_of_the_cookies():
    event = read(tilda({**LEAD, "utm_source": "vk"}))
    assert (event.attribution.utm_source, event.attribution.utm_medium) == ("vk", "cpc")


def test_cookies_cannot_smuggle_in_what_a_database_cannot_keep():
    event = read(tilda({**LEAD, "COOKIES": "TILDAUTM=utm_source%3Da%00b%7C%7C%7Cutm_term%3D%ff; roistat_visit=7"}))
    assert event.attribution.utm_source == "ab"
    assert event.fields["roistat_visit"] == "7"


def test_the_test_of_a_new_webhook_is_answered_and_kept_nowhere():
    reply = TILDA.handshake(tilda({"test": "test"}))
    assert reply is not None
    assert (reply.status, reply.body) == (200, b"ok")


@pytest.mark.parametrize("fields", [LEAD, {**LEAD, "test": "test"}, {"test": "1"}])
def test_a_form_is_no_test(fields):
    assert TILDA.handshake(tilda(fields)) is None


def test_the_test_has_to_know_the_token_too():
    with pytest.raises(BadSignature):
        TILDA.handshake(tilda({"test": "test"}, "token=another"))


@pytest.mark.parametrize(
    "request_",
    [
        tilda(LEAD),
        tilda(LEAD, "", token="tilda-token-1"),
        tilda({**LEAD, "Token": "tilda-token-1"}, ""),
        RawRequest(tilda(LEAD).body, headers=tilda(LEAD).headers, suffix="tilda-token-1"),
    ],
    ids=["query", "header", "field", "path"],
)
def test_the_token_is_taken_from_wherever_tilda_was_told_to_put_it(request_):
    TILDA.verify(request_, NOW)


@pytest.mark.parametrize("request_", [tilda(LEAD, ""), tilda(LEAD, "token=x"), tilda({**LEAD, "token": "x"}, "")])
def test_a_request_without_the_token_is_refused(request_):
    with pytest.raises(BadSignature):
        TILDA.verify(request_, NOW)


def test_without_a_token_of_our_own_nothing_is_accepted():
    with pytest.raises(NotConfigured):
        TildaForms(TildaForms.Settings()).verify(tilda({**LEAD, "token": ""}, "token="), NOW)


def test_the_token_is_not_shown_among_the_fields():
    event = read(tilda({**LEAD, "token": "tilda-token-1"}, ""))
    assert "tilda-token-1" not in repr(event)


def test_a_body_that_is_no_form_is_refused_but_tells_strangers_nothing():
    with pytest.raises(Malformed):
        TILDA.verify(RawRequest(b"", query="token=tilda-token-1"), NOW)
    with pytest.raises(BadSignature):
        TILDA.verify(RawRequest(b""), NOW)


def test_a_repeat_is_known_by_its_id_whatever_else_changed():
    again = {**LEAD, "COOKIES": ""}
    assert TILDA.route(tilda(LEAD)) == TILDA.route(tilda(again))
    assert TILDA.route(tilda(LEAD)).repeat_within is None


def test_the_second_call_after_payment_is_news_and_its_own_repeat_is_none():
    first, paid = tilda(LEAD), tilda(PAID)
    assert TILDA.route(first).dedupe_key != TILDA.route(paid).dedupe_key
    assert TILDA.route(paid) == TILDA.route(tilda(PAID))
    assert TILDA.route(first).peer == TILDA.route(paid).peer
    assert read(first).external_id != read(paid).external_id == read(tilda(PAID)).external_id
    assert read(first).claims == read(paid).claims


def test_a_payment_reads_the_same_as_json_and_as_fields():
    fields = read(tilda(PAID)).fields
    assert fields["payment[amount]"] == read(tilda(BRACKETS)).fields["payment[amount]"] == "10000"
    assert fields["payment[orderid]"] == "1500000001"
    assert fields["payment[systranid]"] == "2d5e"
    assert fields["payment[promocode]"] == "ОСЕНЬ"
    assert fields["payment[products][0][name]"] == "Стол"
    assert read(tilda(BRACKETS)).fields["payment[products][0]"] == "Стол - 2x5000 = 10000"


def test_a_payment_that_is_no_json_is_shown_as_it_is():
    assert read(tilda({**LEAD, "payment": "{cash"})).fields["payment"] == "{cash"


def test_names_that_were_repeated_come_joined_and_are_read_apart():
    event = read(tilda({"Phone": "8 916 123-45-67; 8 916 765-43-21", "tranid": "1:3"}))
    assert [claim.address.value for claim in event.claims] == ["+79161234567", "+79167654321"]


def test_without_an_id_the_same_answers_are_a_repeat_for_ten_minutes():
    bare = {name: value for name, value in LEAD.items() if name != "tranid"}
    routed = TILDA.route(tilda(bare))
    assert routed == TILDA.route(tilda(dict(reversed(bare.items()))))
    assert routed.repeat_within is not None
    assert routed.repeat_within.total_seconds() == 600
    assert routed.dedupe_key != TILDA.route(tilda({**bare, "Name": "Анна"})).dedupe_key
    assert routed.dedupe_key != TILDA.route(tilda({**bare, "formid": "form1"})).dedupe_key


def test_an_upload_is_a_file_and_stays_visible_as_a_field():
    event = read(tilda({**LEAD, "File": "https://upload.tildacdn.com/a/%D0%AF.pdf", "Site": "https://vera.example/"}))
    (file,) = event.attachments
    assert (file.name, file.content_type, file.kind) == ("Я.pdf", "application/pdf", "file")
    assert file.reference == event.fields["File"]


def test_a_honeypot_makes_no_lead():
    with pytest.raises(Unsupported):
        TILDA.parse(tilda({**LEAD, "trap": "http://spam"}), CONTEXT)


def test_tilda_hears_ok():
    assert TILDA.acknowledge(tilda(LEAD), "r1").body == b"ok"


async def test_an_upload_is_fetched(provider, tools):
    provider.answers("GET", "/a/plan.pdf", body=b"%PDF-1.7", content_type="application/pdf")
    fetched = await TILDA.fetch_media(f"{provider.url}/a/plan.pdf", tools)
    assert b"".join([piece async for piece in fetched.chunks]) == b"%PDF-1.7"
    assert (fetched.name, fetched.content_type, fetched.size) == ("plan.pdf", "application/pdf", 8)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x.pdf", "file:///etc/passwd", "", "http://[::1/x.pdf"])
async def test_an_address_inside_the_own_network_is_not_fetched(tools, address):
    with pytest.raises(Undeliverable):
        await TILDA.fetch_media(address, tools)
