"""A provider's app calls one hook for several of our channels: events find theirs, and no app speaks for another's."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from sqlalchemy import select

from core import connections as stored
from core.talk.conversations import Message
from hub import connections
from webhooks.deliveries import Delivery

APP, OTHER = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"


@pytest.fixture
def whatsapp(hub):
    """Connects a number of an app."""

    async def connect(number: str, secret: str) -> stored.Connection:
        settings = {"app_secret": secret, "access_token": "EAAB", "phone_number_id": number}
        async with hub.database.transaction() as session:
            made = await connections.create(
                session, hub.vault, kind="whatsapp", title=number, settings=settings, at=hub.clock.now()
            )
        await hub.switchboard.refresh()
        return made

    return connect


@pytest.fixture
def post(hub, client, drain):
    """Posts a message to each of several numbers in one request, signed with an app's secret."""

    async def send(key: str, secret: str, *numbers: str) -> int:
        entries = [
            {
                "id": "1",
                "changes": [
                    {
                        "field": "messages",
                        "value": {
                            "metadata": {"phone_number_id": number},
                            "messages": [
                                {
                                    "from": "79160000001",
                                    "id": f"wamid.{number}",
                                    "type": "text",
                                    "text": {"body": f"to {number}"},
                                }
                            ],
                        },
                    }
                ],
            }
            for number in numbers
        ]
        body = json.dumps({"object": "whatsapp_business_account", "entry": entries}).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        answer = await client.post(f"/hooks/{key}", data=body, headers={"X-Hub-Signature-256": f"sha256={signature}"})
        await drain()
        return answer.status

    return send


async def said(hub) -> list[tuple[int, str]]:
    async with hub.database.reading() as session:
        rows = await session.execute(
            select(Message.connection_id, Message.text).where(Message.direction == "inbound").order_by(Message.id)
        )
        return [(row.connection_id, row.text) for row in rows]


async def test_events_for_several_numbers_of_an_app_find_theirs(hub, whatsapp, post):
    one, two = await whatsapp("1001", APP), await whatsapp("1002", APP)
    assert await post(one.key, APP, "1001", "1002", "1003") == 200
    assert await said(hub) == [(one.id, "to 1001"), (two.id, "to 1002")]


async def test_an_app_does_not_speak_for_the_number_of_another(hub, whatsapp, post):
    await whatsapp("1001", APP)
    other = await whatsapp("2001", OTHER)
    assert await post(other.key, OTHER, "1001") == 200
    assert await said(hub) == []
    async with hub.database.reading() as session:
        delivery = await session.scalar(select(Delivery))
    assert delivery is not None
    assert delivery.events == [{"kind": "unknown_account", "account": "whatsapp:1001"}]
