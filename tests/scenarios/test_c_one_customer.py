"""Scenario C, one customer over several channels: Vera writes in Telegram and by SMS, shares her phone, and Anna
answers from the one thread, on the channel Vera used last or on another.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.people.contacts import Contact, ContactIdentity
from core.talk.conversations import Conversation, Message
from hub import connections
from tests.channels.payloads.telegram import PRIVATE, SECRET, TOKEN, VERA
from tests.channels.provider import Provider, playing
from tests.hub.web.conftest import all_of, browser_of

__all__ = ["all_of", "browser_of"]  # fixtures

PHONE = "+79161234567"
SMS_TOKEN = "t0kent0kent0ken"


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """Telegram and an SMS gateway, as far as they are asked."""
    async with playing() as found:
        ids = iter(range(500, 600))
        found.does("POST", "/bot.*/sendMessage", lambda _: _sent(next(ids)))
        found.answers("POST", "/bot.*", json={"ok": True, "result": True})
        found.answers("*", "/sms", body="0: Accepted for delivery")
        yield found


def _sent(number: int) -> Any:
    from aiohttp import web

    return web.json_response({"ok": True, "result": {"message_id": number, "date": 1, "chat": PRIVATE}})


@pytest.fixture
async def channels(hub, provider) -> dict[str, Any]:
    """The company's Telegram bot and its SMS number, by kind."""
    settings: dict[str, dict[str, Any]] = {
        "telegram": {"token": TOKEN, "secret_token": SECRET, "base_url": provider.url},
        "sms_http": {
            "send_url": f"{provider.url}/sms",
            "user": "hub",
            "password": "kpass-kpass",
            "token": SMS_TOKEN,
            "sender": "24453",
        },
    }
    found = {}
    async with hub.database.transaction() as session:
        for kind, own in settings.items():
            found[kind] = await connections.create(
                session,
                hub.vault,
                kind=kind,
                title={"telegram": "Telegram", "sms_http": "SMS"}[kind],
                settings=own,
                at=hub.clock.now(),
                default_country="RU",
            )
    await hub.switchboard.refresh()
    return found


@pytest.fixture
async def vera(client, channels, drain):
    """What Vera does: `telegram(text=…)` and `sms(words)`."""

    class Vera:
        numbers = iter(range(100, 200))

        async def telegram(self, **what: Any) -> None:
            number = next(self.numbers)
            message = {"message_id": number, "from": VERA, "chat": PRIVATE, "date": 1795168800, **what}
            answer = await client.post(
                f"/hooks/{channels['telegram'].key}",
                data=json.dumps({"update_id": number, "message": message}),
                headers={"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": SECRET},
            )
            assert answer.status == 200
            await drain()

        async def sms(self, words: str) -> None:
            query = {"token": SMS_TOKEN, "from": PHONE, "to": "24453", "text": words, "id": f"sms-{next(self.numbers)}"}
            answer = await client.get(f"/hooks/{channels['sms_http'].key}", params=query)
            assert answer.status == 200, await answer.text()
            await drain()

    return Vera()


async def test_one_customer_several_channels_one_thread(
    hub, provider, channels, vera, take_on, browser_of, drain, all_of, clock
):
    anna = await take_on("Anna", password=True)

    await vera.telegram(text="Hello, do you make windows?")
    (talk,) = await all_of(Conversation)
    assert talk.assignee_id == anna.id

    # She shares her phone with the button; what comes from that phone later is hers.
    await vera.telegram(contact={"phone_number": PHONE, "first_name": "Вера", "user_id": VERA["id"]})
    async with hub.database.reading() as session:
        schemes = set(await session.scalars(select(ContactIdentity.scheme)))
    assert schemes == {"telegram", "phone"}
    clock.advance(timedelta(minutes=5))
    await vera.sms("It is me, by SMS now")
    assert len(await all_of(Contact)) == 1

    browser = await browser_of(anna)
    page = await browser.part(f"/conversations/{talk.id}/thread")
    assert page.text.index("Hello, do you make windows?") < page.text.index("It is me, by SMS now")
    assert "Telegram" in page.text and "SMS" in page.text

    # An answer goes where she wrote last, unless Anna picks another channel.
    await browser.post(f"/conversations/{talk.id}/messages", text="By SMS", channel=str(channels["sms_http"].id))
    await browser.post(f"/conversations/{talk.id}/messages", text="By Telegram", channel=str(channels["telegram"].id))
    await drain()
    ways = await browser.part(f"/conversations/{talk.id}/ways")
    assert ways.text.index(f'value="{channels["sms_http"].id}"') < ways.text.index(f'value="{channels["telegram"].id}"')
    by_sms = [asked for asked in provider.asked if asked.path == "/sms"]
    by_telegram = [asked for asked in provider.asked if asked.path.endswith("/sendMessage")]
    assert len(by_sms) == 1 and len(by_telegram) == 1
    assert by_telegram[0].form["text"] == "By Telegram"

    # What became of each stands on it.
    statuses = {message.text: message.status for message in await all_of(Message)}
    assert statuses["By Telegram"] == statuses["By SMS"] == "sent"
    thread = await browser.part(f"/conversations/{talk.id}/thread")
    assert thread.text.count('tick-state sent"') == 2


async def test_what_telegram_refuses_for_good_is_shown_with_its_reason_and_goes_again_when_asked(
    provider, vera, take_on, browser_of, drain, all_of
):
    anna = await take_on("Anna", password=True)
    await vera.telegram(text="Hello")
    (talk,) = await all_of(Conversation)
    refusal = {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}
    provider.answers("POST", "/bot.*/sendMessage", status=403, json=refusal, once=True)
    browser = await browser_of(anna)
    await browser.post(f"/conversations/{talk.id}/messages", text="Good day")
    await drain()
    failed = (await all_of(Message))[-1]
    thread = await browser.part(f"/conversations/{talk.id}/thread")
    assert failed.status == "failed" and failed.error_text
    assert f'action="/messages/{failed.id}/retry"' in thread.text and "Not delivered" in thread.text
    assert (await browser.post(f"/messages/{failed.id}/retry")).status == 204
    await drain()
    assert (await all_of(Message))[-1].status in ("sent", "failed")
