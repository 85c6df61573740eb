"""Vera, whom nobody knows, sends ten pictures at once: one contact, one conversation, one lead, ten files in order."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from core.people.contacts import Contact
from core.sales.leads import Lead
from core.talk.attachments import Attachment, StoredFile
from core.talk.conversations import Conversation, Message
from hub import connections
from hub.app import Hub
from tests.channels.provider import Provider, playing

SECRET = "told-to-telegram-alone"


@pytest.fixture
async def telegram() -> AsyncIterator[Provider]:
    """Plays the Bot API: every file it gives is a picture of its own size."""
    async with playing() as provider:
        provider.answers("POST", r"/bot123:ABC/setWebhook", json={"ok": True, "result": True})
        provider.answers("POST", r"/bot123:ABC/getMe", json={"ok": True, "result": {"id": 123, "is_bot": True}})
        provider.answers("POST", r"/bot123:ABC/getWebhookInfo", json={"ok": True, "result": {"url": "x"}})
        for number in range(10):
            written = io.BytesIO()
            Image.new("RGB", (100 + number, 50), (number * 20, 0, 0)).save(written, "PNG")
            path = f"photos/{number}.png"
            provider.answers("GET", rf"/file/bot123:ABC/{path}", body=written.getvalue(), content_type="image/png")
        from aiohttp import web

        def get_file(asked: Any) -> web.Response:
            wanted = asked.json["file_id"] if asked.body.startswith(b"{") else asked.form["file_id"]
            number = wanted.removeprefix("file")
            result = {"file_id": wanted, "file_unique_id": wanted, "file_path": f"photos/{number}.png"}
            return web.json_response({"ok": True, "result": result})

        provider.does("POST", r"/bot123:ABC/getFile", get_file)
        yield provider


def update(number: int, **more: Any) -> dict[str, Any]:
    vera = {"id": 777, "is_bot": False, "first_name": "Вера", "language_code": "ru"}
    sizes = [{"file_id": f"small{number}", "width": 9, "height": 5, "file_size": 90, "file_unique_id": f"s{number}"}]
    sizes.append(
        {"file_id": f"file{number}", "width": 900, "height": 500, "file_size": 9_000, "file_unique_id": f"f{number}"}
    )
    message = {
        "message_id": 100 + number,
        "from": vera,
        "chat": {"id": 777, "type": "private", "first_name": "Вера"},
        "date": 1_795_000_000 + number,
        "photo": sizes,
        **more,
    }
    return {"update_id": 5_000 + number, "message": message}


@pytest.mark.parametrize("is_album", [True, False], ids=["an album", "ten messages"])
async def test_ten_pictures_in_one_burst(hub: Hub, client: Any, take_on: Any, drain: Any, telegram, is_album):
    await take_on("Anna")
    async with hub.database.transaction() as session:
        connection = await connections.create(
            session,
            hub.vault,
            kind="telegram",
            title="Telegram",
            settings={"token": "123:ABC", "secret_token": SECRET, "base_url": telegram.url},
            at=hub.clock.now(),
        )
    await hub.switchboard.refresh()
    more: dict[str, Any] = {"media_group_id": "g1"} if is_album else {}
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    for number in range(10):
        caption = {"caption": "Вот окна"} if number == 0 else {}
        answer = await client.post(f"/hooks/{connection.key}", json=update(number, **more, **caption), headers=headers)
        assert answer.status == 200
        if number == 4:
            await drain()  # the others come while the first are understood already
    again = await client.post(f"/hooks/{connection.key}", json=update(3, **more), headers=headers)
    assert again.status == 200, "Telegram repeats what it thinks was not heard"
    await drain()
    async with hub.database.reading() as session:
        (contact,) = await session.scalars(select(Contact))
        (conversation,) = await session.scalars(select(Conversation))
        (lead,) = await session.scalars(select(Lead))
        messages = list(await session.scalars(select(Message).order_by(Message.id)))
        files = list(
            await session.execute(
                select(Attachment, StoredFile)
                .join(StoredFile, StoredFile.id == Attachment.file_id)
                .order_by(Attachment.message_id, Attachment.position)
            )
        )
    assert (contact.name, lead.contact_id, conversation.contact_id) == ("Вера", contact.id, contact.id)
    assert len(messages) == (1 if is_album else 10)
    assert messages[0].text == "Вот окна"
    assert [stored.width for _, stored in files] == [100 + number for number in range(10)]
    assert {attachment.state for attachment, _ in files} == {"stored"}
