"""What the doctor says of the desk."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from channels.desk_contract import Card, DeskStarted, Place
from hub import connections
from hub.commands import checkup_desk
from hub.commands.checkup import Finding
from hub.desk import linking, posts

MATRIX = {"homeserver": "http://127.0.0.1:9", "user_id": "@desk:example.com", "access_token": "t"}


async def findings(hub: Any) -> list[Finding]:
    async with hub.database.reading() as session:
        return [finding async for finding in checkup_desk.examine(session, hub.clock.now())]


async def test_the_doctor_says_who_is_reached_at_the_desk_and_what_is_stuck(hub, clock, take_on, webform):
    assert await findings(hub) == [], "no messenger is connected"
    anna = await take_on("Anna")
    async with hub.database.transaction() as session:
        row = await connections.create(
            session, hub.vault, kind="desk_matrix", title="Ours", settings=MATRIX, at=clock.now()
        )
    (found,) = await findings(hub)
    assert (found.verdict.value, found.text) == ("warn", "Ours: nobody is linked")
    async with hub.database.transaction() as session:
        event = DeskStarted(key="s", peer="!room", person="@anna:example.com")
        ticket = await linking.make_ticket(session, anna.id, at=clock.now())
        await linking.redeem(session, ticket, event, connection_id=row.id, at=clock.now())
    (found,) = await findings(hub)
    assert (found.verdict.value, found.text) == ("ok", "Ours: 1 linked; the messenger was not asked yet")
    async with hub.database.transaction() as session:
        await linking.reach(session, row.id, "!room", is_reachable=False)
    (found,) = await findings(hub)
    assert found.verdict.value == "warn" and "1 of them blocked the bot" in found.text
    async with hub.database.transaction() as session:
        await posts.add(session, [posts.said(row.id, Place("!room"), Card("Hello"), at=clock.now())])
    clock.advance(timedelta(minutes=11))
    (found,) = await findings(hub)
    assert found.verdict.value == "fail" and "waited for 11 min" in found.text
