from __future__ import annotations

from typing import Any

import pytest

from channels import registry
from channels.contract import ParseContext, Profile, Unit
from channels.errors import Undeliverable, WindowClosed
from channels.instagram import Instagram
from channels.messenger import messages
from core.kernel.addresses import Address
from core.kernel.envelopes import Changed, Incoming, Status
from tests.channels.payloads import NOW
from tests.channels.payloads.instagram import ACCOUNT, REQUESTS, SETTINGS
from tests.channels.payloads.messenger import document, item
from tests.channels.payloads.whatsapp import signed
from tests.channels.provider import file, part

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
SENT = {"recipient_id": "42", "message_id": "aWdf_new"}


def channel(**more: Any) -> Instagram:
    built = registry.build("instagram", {**SETTINGS, **more})
    assert isinstance(built, Instagram)
    return built


def read(*items: Any) -> list[Any]:
    return list(channel().parse(signed(document(*items, about="instagram", page=ACCOUNT)), CONTEXT))


def test_a_message_has_the_account_and_the_address_of_instagram():
    [found] = channel().parse(REQUESTS[0], CONTEXT)
    assert (found.account, found.peer) == (f"instagram:{ACCOUNT}", "5678")
    assert isinstance(found, Incoming)
    assert str(found.claims[0].address) == f"instagram:{ACCOUNT}:5678"
    assert found.text == "Привет"


def test_a_like_an_unsent_message_and_a_read_mark_come_out_of_one_request():
    message, deleted, status = channel().parse(REQUESTS[1], CONTEXT)
    assert isinstance(message, Incoming)
    assert (message.text, len(message.attachments)) == ("❤️", 1)
    assert isinstance(deleted, Changed)
    assert (deleted.change, deleted.external_id) == ("deleted", "aWdf_1")
    assert isinstance(status, Status)
    assert (status.status, status.external_id, status.up_to) == ("read", "aWdf_out", False)


@pytest.mark.parametrize(
    ("attachment", "text"),
    [
        ({"type": "story_mention", "payload": {"url": "https://story-url"}}, "[story mention] https://story-url"),
        (
            {"type": "ig_reel", "payload": {"url": "/reel/1/", "title": "R"}},
            "[ig reel] R https://www.instagram.com/reel/1/",
        ),
        ({"type": "share", "payload": {"url": "https://cdn.example/p"}}, "[share] https://cdn.example/p"),
    ],
)
def test_what_is_shared_is_told_with_its_link(attachment, text):
    [found] = read(item(page=ACCOUNT, message={"mid": "m", "attachments": [attachment]}))
    assert (found.text, found.attachments) == (text, ())


def test_an_answer_to_a_story_quotes_it():
    story = {"mid": "m", "text": "Nice", "reply_to": {"story": {"url": "https://cdn.example/s", "id": "1"}}}
    [found] = read(item(page=ACCOUNT, message=story))
    assert (found.text, found.quoted) == ("Nice", "Story: https://cdn.example/s")


def test_a_question_to_start_with_is_a_message():
    [found] = read(item(page=ACCOUNT, postback={"title": "What is the price?", "payload": "get_started"}))
    assert isinstance(found, Incoming)
    assert found.text == "What is the price?"


def test_what_was_written_in_the_app_is_ours():
    echo = item("17841405822304914", "5678", message={"mid": "m", "is_echo": True, "text": "From the app"})
    [found] = read(echo)
    assert (found.is_ours, found.peer) == (True, "5678")


def test_the_console_s_tests_come_as_changes():
    value = {"sender": {"id": "12334"}, "recipient": {"id": ACCOUNT}, "timestamp": "1795165200"}
    change = {"field": "messages", "value": {**value, "message": {"mid": "random_mid", "text": "random_text"}}}
    request = signed({"object": "instagram", "entry": [{"id": ACCOUNT, "time": 1, "changes": [change]}]})
    [found] = channel().parse(request, CONTEXT)
    assert (found.peer, found.occurred_at) == ("12334", NOW)


async def test_a_text_is_asked_for_as_documented(provider, tools):
    provider.answers("POST", "/v25.0/me/messages", json=SENT)
    receipt = await channel(base_url=provider.url).send(part("Привет"), tools)
    assert receipt.external_ids == ("aWdf_new",)
    assert provider.asked[0].json == {
        "messaging_type": "RESPONSE",
        "recipient": {"id": "42"},
        "message": {"text": "Привет"},
    }


def test_texts_are_counted_in_bytes():
    assert (channel().sending.text, channel().sending.unit) == (1000, Unit.BYTES)
    pieces = [message["text"] for message in messages(part("слово " * 300), [], channel().sending)]
    assert all(len(piece.encode()) <= 1000 for piece in pieces)
    assert " ".join(pieces).split() == ["слово"] * 300


async def test_a_file_goes_by_its_address_and_is_uploaded_without_one(provider, tools):
    provider.answers("POST", "/v25.0/me/messages", json=SENT)
    provider.answers("POST", "/v25.0/me/message_attachments", json={"attachment_id": "7"})
    built = channel(base_url=provider.url)
    await built.send(part(files=(file(kind="voice", url="https://hub.example/files/a"),)), tools)
    await built.send(part(files=(file(kind="image", url=""),)), tools)
    linked, upload, uploaded = provider.asked
    assert linked.json["message"]["attachment"] == {"type": "audio", "payload": {"url": "https://hub.example/files/a"}}
    assert b'name="platform"\r\n\r\ninstagram' in upload.body
    assert uploaded.json["message"]["attachment"] == {"type": "image", "payload": {"attachment_id": "7"}}


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ({"code": 10, "error_subcode": 2534022, "message": "outside of allowed window"}, WindowClosed),
        ({"code": 100, "error_subcode": 2534014, "message": "The requested user cannot be found"}, Undeliverable),
    ],
)
async def test_instagram_s_own_errors_are_understood(provider, tools, error, meaning):
    provider.answers("POST", ".*", status=400, json={"error": error})
    with pytest.raises(meaning):
        await channel(base_url=provider.url).send(part("x"), tools)


@pytest.mark.parametrize(
    ("answer", "profile"),
    [
        ({"name": "Вера", "username": "vera"}, Profile("Вера")),
        ({"username": "vera"}, Profile("vera")),
        ({}, None),
    ],
)
async def test_a_name_is_asked_for(provider, tools, answer, profile):
    provider.answers("GET", "/v25.0/5678", json=answer)
    assert await channel(base_url=provider.url).profile("5678", tools) == profile


async def test_a_name_that_is_refused_is_none(provider, tools):
    provider.answers("GET", ".*", status=400, json={"error": {"code": 230, "message": "User consent is required"}})
    assert await channel(base_url=provider.url).profile("5678", tools) is None


@pytest.mark.parametrize(("token", "path"), [("EAAG1", f"/v25.0/{ACCOUNT}"), ("IGAA1", "/v25.0/me")])
async def test_a_check_asks_as_the_token_allows(provider, tools, token, path):
    provider.answers("GET", path, json={"id": ACCOUNT, "username": "shop"})
    found = await channel(base_url=provider.url, access_token=token).check(tools)
    assert found.facts == {"account": "shop"}


def test_peers_and_addresses_agree():
    built = channel()
    assert built.address_of("5678") == Address("instagram", f"{ACCOUNT}:5678")
    assert built.peer_of(built.address_of("5678")) == "5678"
