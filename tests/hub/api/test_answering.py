"""Answering over REST: what is said, where it goes, what became of it; putting aside; canned replies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.channels.provider import Provider, playing
from tests.conftest import VERA
from tests.hub.test_sending import MESSAGES, SENT, TOKEN, add_sms


@pytest.fixture
async def twilio() -> AsyncIterator[Provider]:
    async with playing() as provider:
        provider.answers("POST", MESSAGES, status=201, json=SENT)
        yield provider


@pytest.fixture
async def anna(api: Any, client: Any, webform: Any, take_on: Any, drain: Any, hub: Any, twilio: Provider) -> Any:
    """Anna, whose customer Vera has filled in a form; an SMS channel reaches her."""
    caller = await api(await take_on("Anna"))
    await add_sms(hub, twilio)
    assert (await client.post(f"/hooks/{webform.key}", data=VERA)).status == 200
    await drain()
    return caller


async def conversation_of(anna: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await anna.items("/conversations"))[0]
    return found


async def test_what_is_said_goes_out_and_tells_how_far_it_has_come(anna, twilio, drain):
    conversation = await conversation_of(anna)
    said = await anna.post(f"/conversations/{conversation['id']}/messages", {"text": "Good morning"})
    assert (said["status"], said["direction"], said["author"]["name"]) == ("queued", "outbound", "Anna")
    await drain()
    message = await anna.get(f"/messages/{said['id']}")
    assert (message["status"], message["external_ids"], message["error"]) == ("sent", ["SM1"], None)
    assert message["sent_at"]
    exchanges = await anna.items(f"/messages/{said['id']}/exchanges")
    assert [(one["method"], one["status"]) for one in exchanges] == [("POST", 201)]
    assert TOKEN not in json.dumps(exchanges)


async def test_the_ways_to_answer_are_told(anna):
    conversation = await conversation_of(anna)
    (way,) = await anna.items(f"/conversations/{conversation['id']}/channels")
    assert (way["kind"], way["problem"], way["unit"], way["needs_template"]) == ("sms_twilio", "", "sms", False)


async def test_the_same_key_says_it_once(anna, twilio, drain):
    conversation = await conversation_of(anna)
    path = f"/conversations/{conversation['id']}/messages"
    first = await anna.send("POST", path, {"text": "x"}, **{"Idempotency-Key": "once"})
    again = await anna.send("POST", path, {"text": "x"}, **{"Idempotency-Key": "once"})
    assert first.json["id"] == again.json["id"]
    await drain()
    assert len([one for one in twilio.asked if one.method == "POST"]) == 1


async def test_what_cannot_be_said_is_refused_by_its_field(anna):
    conversation = await conversation_of(anna)
    path = f"/conversations/{conversation['id']}/messages"
    for body, field in (
        ({"text": "  "}, "text"),
        ({"text": "x", "send_at": "2020-01-01T00:00:00Z"}, "send_at"),
        ({"text": "x", "template": {"name": "no_such"}}, None),
        ({"text": "x", "attachment_ids": ["999"]}, None),
        ({"text": "x", "connection_id": "999"}, None),
    ):
        answer = await anna.send("POST", path, body)
        assert answer.status in (404, 422), body
        if field:
            assert field in json.dumps(answer.json)


async def test_a_message_for_later_can_be_taken_back(anna, twilio, drain, clock):
    conversation = await conversation_of(anna)
    later = (clock.now() + timedelta(hours=1)).isoformat()
    path = f"/conversations/{conversation['id']}/messages"
    said = await anna.post(path, {"text": "x", "send_at": later})
    assert said["status"] == "scheduled"
    canceled = await anna.post(f"/messages/{said['id']}/cancellation", {})
    assert canceled["status"] == "canceled"
    clock.advance(timedelta(hours=2))
    await drain()
    assert [one for one in twilio.asked if one.method == "POST"] == []
    assert (await anna.send("POST", f"/messages/{said['id']}/retry", {})).status == 409


async def test_a_conversation_put_aside_comes_back_by_itself(anna, drain, clock):
    conversation = await conversation_of(anna)
    until = (clock.now() + timedelta(hours=3)).isoformat()
    path = f"/conversations/{conversation['id']}"
    assert (await anna.post(f"{path}/snooze", {"until": until}))["status"] == "snoozed"
    await drain()
    assert (await anna.get(path))["status"] == "snoozed"
    clock.advance(timedelta(hours=3, seconds=1))
    await drain()
    back = await anna.get(path)
    assert (back["status"], back["snoozed_until"]) == ("open", None)


async def test_a_conversation_put_aside_comes_back_when_the_customer_writes(anna, client, webform, drain, clock):
    conversation = await conversation_of(anna)
    path = f"/conversations/{conversation['id']}"
    await anna.post(f"{path}/snooze", {"until": (clock.now() + timedelta(days=3)).isoformat()})
    await client.post(f"/hooks/{webform.key}", data={**VERA, "message": "One more thing"})
    await drain()
    assert (await anna.get(path))["status"] == "open"


async def test_canned_replies_are_kept_changed_and_forgotten(anna):
    reply = await anna.post("/canned-replies", {"shortcut": "/Hello", "text": "Hello {name}, I am {me}"})
    assert (reply["shortcut"], reply["team_id"]) == ("hello", None)
    taken = await anna.send("POST", "/canned-replies", {"shortcut": "hello", "text": "x"})
    assert taken.status == 409
    changed = await anna.send("PATCH", f"/canned-replies/{reply['id']}", {"text": "Hi"})
    assert (changed.json["text"], changed.json["version"]) == ("Hi", 2)
    assert [one["shortcut"] for one in await anna.items("/canned-replies")] == ["hello"]
    assert (await anna.send("DELETE", f"/canned-replies/{reply['id']}")).status == 204
    assert await anna.items("/canned-replies") == []
    assert (await anna.send("POST", "/canned-replies", {"shortcut": "two words", "text": "x"})).status == 422
