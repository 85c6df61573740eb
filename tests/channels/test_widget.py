from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from channels.contract import ParseContext, Part, Tools
from channels.widget import LONGEST_TEXT, MOST_FILE_BYTES, Widget
from core.kernel.addresses import Address
from core.kernel.envelopes import Attribution, Claim, Incoming, Trust
from tests.channels.payloads import NOW
from tests.channels.payloads.widget import PASS, SAID, SECRET, VISITOR, enclosed, said
from webhooks.errors import BadSignature, Malformed, NotConfigured, Refused, TooLarge, WebhookError
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
SITE = "https://shop.example"


def widget(**settings) -> Widget:
    return Widget(Widget.Settings(**{"allowed_origins": SITE, "secret": SECRET, **settings}))


def read(request: RawRequest) -> Incoming:
    (found,) = widget().parse(request, CONTEXT)
    assert isinstance(found, Incoming)
    return found


def test_a_message_is_read_with_who_it_is_from_and_where_they_came_from():
    found = read(said())
    assert found.text == "Есть ли доставка в Тверь?"
    assert (found.peer, found.external_id) == (VISITOR, f"{VISITOR}:{SAID['id']}")
    assert found.claims == (Claim(Address("widget", VISITOR), VISITOR, Trust.VERIFIED),)
    assert found.language == "ru"
    assert found.attribution == Attribution(
        utm_source="google",
        utm_medium="cpc",
        referrer="https://g.example",
        landing_page="https://shop.example/?utm_source=google&utm_medium=cpc",
    )
    assert found.fields == {"page": "https://shop.example/windows"}
    assert not found.is_form


def test_what_was_typed_into_the_fields_is_their_word_alone():
    found = read(said(name=" Вера  Соколова ", phone="8 916 123-45-67", email="Vera@Example.com"))
    assert found.name == "Вера Соколова"
    assert [(str(claim.address), claim.trust) for claim in found.claims] == [
        (f"widget:{VISITOR}", Trust.VERIFIED),
        ("phone:+79161234567", Trust.TYPED),
        ("email:vera@example.com", Trust.TYPED),
    ]


def test_what_is_no_address_is_shown_as_it_was_typed():
    assert read(said(phone="ask Peter")).fields["phone"] == "ask Peter"


def test_an_address_in_the_words_is_no_claim():
    assert len(read(said(text="write to vera@example.com")).claims) == 1


def test_files_lie_in_the_request():
    request = enclosed(("план.pdf", "application/pdf", b"%PDF-1.7"), ("a.png", "image/png", b"\x89PNG"), text="Вот")
    widget().verify(request, NOW)
    found = read(request)
    assert found.text == "Вот"
    assert [(file.name, file.size, file.kind) for file in found.attachments] == [
        ("план.pdf", 8, "file"),
        ("a.png", 4, "image"),
    ]
    assert widget().read_part(request, found.attachments[1].part) == b"\x89PNG"
    assert widget().read_part(request, 17) is None


def test_a_repeat_is_known_by_the_visitor_and_the_id_and_a_visitor_s_messages_keep_their_order():
    channel = widget()
    assert channel.route(said()) == channel.route(said(text="other words"))
    assert channel.route(said()).peer == VISITOR
    assert channel.route(said()).repeat_within is None
    assert channel.route(said()).dedupe_key != channel.route(said(visitor="another-visitor-1234")).dedupe_key


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (replace(said(), headers={}), BadSignature),
        (replace(said(), headers={"authorization": "Bearer " + PASS[:-1]}), BadSignature),
        (replace(said(), headers={"authorization": f"Bearer {VISITOR}."}), BadSignature),
        (said(visitor="somebody-elses-visitor"), BadSignature),
        (said(visitor=None), BadSignature),
        (replace(said(), headers={**said().headers, "origin": "https://evil.example"}), Refused),
        (replace(said(), headers={**said().headers, "origin": "null"}), Refused),
        (said(id="short"), Malformed),
        (said(id="../../etc/passwd"), Malformed),
        (said(text=" \n "), Malformed),
        (said(text=["a"]), Malformed),
        (replace(said(), body=b"[1]"), Malformed),
        (replace(said(), body=b"[" * 100_000), Malformed),
        (said(text="я" * (LONGEST_TEXT + 1)), TooLarge),
        (enclosed(("a.bin", "", b"x" * (MOST_FILE_BYTES + 1))), TooLarge),
        (enclosed(*[("a.bin", "text/plain", b"x")] * 11), TooLarge),
        (enclosed(("empty.txt", "text/plain", b"")), Malformed),
    ],
)
def test_what_is_not_taken_says_why(request_, error):
    with pytest.raises(error):
        widget().verify(request_, NOW)


def test_a_message_of_four_thousand_letters_is_taken():
    widget().verify(said(text="я" * LONGEST_TEXT), NOW)


def test_a_pass_is_of_one_connection_alone():
    other = widget(secret="another-key-for-passes")
    assert widget().visitor_of(PASS) == VISITOR
    assert other.visitor_of(PASS) is None
    with pytest.raises(WebhookError):
        other.verify(said(), NOW)


def test_without_a_key_nobody_is_taken_for_anybody():
    channel = widget(secret="")
    with pytest.raises(NotConfigured, match="Save its settings"):
        channel.visitor_of(channel.pass_of(VISITOR))


@pytest.mark.parametrize(
    ("allowed", "origin", "may"),
    [
        ("", "https://any.example", True),
        ("*", "null", True),
        (SITE, SITE, True),
        (SITE, "https://SHOP.example:443", True),
        (SITE, "https://shop.example.evil.example", False),
        (SITE, "http://shop.example", False),
        (SITE, "", False),
        (SITE, "null", False),
        (SITE, "https://hub.example", True),  # our own pages
    ],
)
def test_it_stands_only_where_it_may(allowed, origin, may):
    assert widget(allowed_origins=allowed).admits(origin, "https://hub.example/w/k/socket") is may


def test_a_page_that_may_not_is_not_told_anything():
    channel = widget()
    foreign = replace(said(), headers={"origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in channel.cors_headers(foreign)
    assert channel.preflight(foreign).status == 403
    assert channel.preflight(said()).headers["Access-Control-Allow-Origin"] == SITE
    assert widget(allowed_origins="").cors_headers(foreign)["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        (f"{SITE}/thanks", True),
        (f"{SITE}/thanks/soon?x=1", True),
        (f"{SITE}/other", False),
        ("https://evil.example/thanks", False),
        ("javascript:alert(1)", False),
    ],
)
def test_a_visitor_is_sent_on_only_to_pages_of_the_list(target, goes):
    answer = json.loads(widget(redirects=f"{SITE}/thanks").acknowledge(said(redirect=target), "r1").body)
    assert answer["id"] == SAID["id"]
    assert answer.get("redirect") == (target if goes else None)


async def test_sending_needs_nobody_since_the_visitor_fetches_it(tools: Tools):
    receipt = await widget().send(Part(id="17.0", number=17, message_id=17, peer=VISITOR, text="Да"), tools)
    assert (receipt.external_ids, receipt.status) == (("17.0",), "sent")


def test_a_visitor_s_address_and_their_id_agree():
    channel = widget()
    assert channel.peer_of(channel.address_of(VISITOR)) == VISITOR
    assert channel.peer_of(Address("email", "vera@example.com")) is None


@pytest.mark.parametrize("colour", ["red", "#12", "#1234567", "#3b5bdg", "url(x)"])
def test_a_colour_is_six_digits(colour):
    with pytest.raises(ValidationError, match="six digits"):
        widget(colour=colour)
