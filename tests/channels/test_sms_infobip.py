from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from channels import registry
from channels.contract import MANY, ParseContext
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from core.kernel.envelopes import Incoming, Status
from tests.channels.payloads import NOW
from tests.channels.payloads import sms_infobip as payloads
from tests.channels.payloads.sms_infobip import DELIVERED, EXPIRED, MEDIA, TEXT, posted
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature, Malformed
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)


def channel(**settings: Any) -> Any:
    return registry.build("sms_infobip", {**payloads.SETTINGS, **settings})


def read(*results: Any) -> list[Any]:
    return list(channel().parse(posted(*results), CONTEXT))


def test_a_shared_secret_is_asked_for_where_there_is_one():
    request = posted(TEXT)
    channel().verify(request, NOW)
    guarded = channel(secret="s3cr3t-t0ken")
    guarded.verify(replace(request, query="token=s3cr3t-t0ken"), NOW)
    guarded.verify(replace(request, headers={"authorization": "Basic aHViOnMzY3IzdC10MGtlbg=="}), NOW)
    with pytest.raises(BadSignature):
        guarded.verify(request, NOW)


def test_every_message_of_a_request_is_read():
    text, media = read(TEXT, {"odd": 1}, None, MEDIA)
    assert isinstance(text, Incoming)
    assert (text.external_id, text.text, text.peer) == (
        "817790313235066447",
        "QUIZ Точный ответ: Париж 🗼",
        "+385916242493",
    )
    assert text.occurred_at == datetime(2026, 11, 20, 8, 59, 39, 220_000, tzinfo=UTC)
    assert media.text == "Вот фото"
    assert [(found.kind, found.reference) for found in media.attachments] == [
        ("image", "https://api.infobip.com/mms/1/media/1")
    ]


def test_messages_and_reports_in_one_request_are_told_apart_by_content():
    assert [type(event).__name__ for event in read(TEXT, DELIVERED, {**TEXT, "messageId": "2", "text": "СТОП"})] == [
        "Incoming",
        "Status",
        "Incoming",
        "Signal",
    ]


def test_a_report_gives_our_id_back():
    (event,) = read(DELIVERED)
    assert isinstance(event, Status)
    assert (event.status, event.external_id, event.our_id, event.peer) == (
        "delivered",
        "184467.0-0a1b2c3d",
        "184467.0",
        "+385916242493",
    )
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 41, 220_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (EXPIRED, ("failed", "EC_ABSENT_SUBSCRIBER", False, False)),
        ({"messageId": "1", "status": {"groupName": "EXPIRED"}}, ("failed", "", True, False)),
        ({"messageId": "1", "status": {"groupName": "PENDING"}}, ("sent", "", True, False)),
        (
            {"messageId": "1", "status": {"groupId": 2, "name": "UNDELIVERABLE_X"}},
            ("failed", "UNDELIVERABLE_X", True, False),
        ),
        (
            {
                "messageId": "1",
                "status": {"groupName": "UNDELIVERABLE"},
                "error": {"id": 1, "name": "EC_UNKNOWN_SUBSCRIBER", "permanent": True},
            },
            ("failed", "EC_UNKNOWN_SUBSCRIBER", True, True),
        ),
        ({"messageId": "1", "seenAt": "2026-11-20T08:59:41.220+0000"}, ("read", "", True, False)),
    ],
)
def test_reports_become_states(report, expected):
    (event,) = read(report)
    assert (event.status, event.error_code, event.is_final, event.is_dead) == expected


def test_a_do_not_disturb_is_a_signal_too():
    status, signal = read({**DELIVERED, "status": {"groupId": 5, "name": "REJECTED_DND"}, "error": {}})
    assert (status.status, signal.kind, signal.peer) == ("failed", "opted_out", "+385916242493")


def test_what_says_nothing_makes_no_event():
    assert read() == []
    assert read({"messageId": "1", "status": {"groupName": "UNEXPECTED"}}, {"messageId": "2"}) == []
    with pytest.raises(Malformed):
        channel().parse(RawRequest(b"Invalid"), CONTEXT)


def test_requests_are_told_by_their_results_and_their_peers():
    route = channel().route
    assert route(posted(TEXT)) == route(posted(TEXT, pendingMessageCount=3))
    assert route(posted(TEXT)).peer == "385916242493"
    assert route(posted(DELIVERED, EXPIRED)).peer == MANY
    pending = {**DELIVERED, "status": {"groupName": "PENDING"}}
    assert route(posted(DELIVERED)).dedupe_key != route(posted(pending)).dedupe_key


# --- sending ---

OK = {"messages": [{"messageId": "theirs", "status": {"groupId": 1, "groupName": "PENDING"}}]}


def answer(**status: Any) -> dict[str, Any]:
    return {"messages": [{"messageId": "theirs", "status": status}]}


async def test_a_text_goes_under_an_id_of_ours(provider, tools):
    provider.answers("POST", "/sms/3/messages", json=OK)
    sender = channel(base_url=provider.url)
    receipt = await sender.send(part("Привет ☺", peer="+385916242493", files=(file(),)), tools)
    assert receipt.external_ids == ("theirs",)
    (asked,) = provider.asked
    (message,) = asked.json["messages"]
    our_id = message["destinations"][0].pop("messageId")
    assert our_id.startswith("184467.0-")
    assert message == {
        "sender": "447700900000",
        "destinations": [{"to": "385916242493"}],
        "content": {"text": "Привет ☺\nhttps://hub.example/files/abc"},
        "webhooks": {
            "delivery": {
                "url": "https://hub.example/hooks/k/status",
                "intermediateReport": True,
                "contentType": "application/json",
            }
        },
    }
    assert asked.headers["authorization"] == f"App {payloads.SETTINGS['api_key']}"
    (event,) = read({**DELIVERED, "messageId": our_id})
    assert event.our_id == "184467.0"


async def test_a_part_sent_again_is_known_to_be_the_same(provider, tools):
    rejected = {"groupId": 5, "groupName": "REJECTED", "name": "REJECTED_DUPLICATE_MESSAGE_ID"}
    provider.answers("POST", "/sms/3/messages", json={"messages": [{"messageId": "", "status": rejected}]})
    provider.breaks("POST", "/sms/3/messages", once=True)
    sender = channel(base_url=provider.url)
    assert sender.sending.retries_safely
    with pytest.raises(Uncertain):
        await sender.send(part("x", peer="+385916242493"), tools)
    receipt = await sender.send(part("x", peer="+385916242493"), tools)
    first, second = (asked.json["messages"][0]["destinations"][0]["messageId"] for asked in provider.asked)
    assert receipt.external_ids == (first,) == (second,)


@pytest.mark.parametrize(
    ("name", "group", "error"),
    [
        ("REJECTED_DND", 5, RecipientGone),
        ("REJECTED_DESTINATION", 5, RecipientGone),
        ("REJECTED_NOT_ENOUGH_CREDITS", 5, Misconfigured),
        ("REJECTED_SENDER", 5, Misconfigured),
        ("REJECTED_SYSTEM_ERROR", 5, Temporary),
        ("UNDELIVERABLE_REJECTED_OPERATOR", 2, Undeliverable),
        ("EXPIRED_EXPIRED", 4, Undeliverable),
        ("", 0, Uncertain),
    ],
)
async def test_a_rejection_inside_a_success_says_what_happens_next(provider, tools, name, group, error):
    provider.answers("POST", "/sms/3/messages", json=answer(groupId=group, name=name, description="why"))
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).send(part("x", peer="+385916242493"), tools)
    assert type(raised.value) is error
    assert getattr(raised.value, "opted_out", False) == (name == "REJECTED_DND")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"requestError": {"serviceException": {"messageId": "UNAUTHORIZED", "text": "why"}}}, Unauthorised),
        (400, {"errorCode": "E400", "description": "why"}, Undeliverable),
        (429, {"errorCode": "E429", "description": "why"}, Throttled),
        (500, {"description": "why"}, Temporary),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, status, body, error):
    provider.answers("POST", "/sms/3/messages", status=status, json=body, headers={"Retry-After": "2"})
    with pytest.raises(error, match="why") as raised:
        await channel(base_url=provider.url).send(part("x", peer="+385916242493"), tools)
    assert status != 429 or raised.value.retry_after == 2


async def test_a_check_shows_the_balance_and_no_secret_is_noted(provider):
    secret = payloads.SETTINGS["api_key"]
    async with tools_for(provider.url, secrets=(secret,)) as (tools, exchanges):
        provider.answers("GET", "/account/1/balance", json={"balance": 47.79, "currency": "EUR"})
        assert (await channel(base_url=provider.url).check(tools)).facts == {"balance": "47.79 EUR"}
        provider.answers("GET", "/1", body=b"JPEG")
        await channel(base_url=provider.url).fetch_media(f"{provider.url}/1", tools)
    assert provider.asked[1].headers["authorization"] == f"App {secret}"
    assert exchanges
    assert secret not in repr(exchanges)
