"""The desk over the API: one's accounts, what one is told there, and links for one more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from channels.desk_contract import DeskStarted
from core.connections import Connection
from core.staff.users import User
from hub import connections
from hub.desk import linking
from hub.desk.records import DeskLink

NOTHING = {
    "links": [],
    "events": {"leads": True, "messages": True, "tasks": True, "calls": True, "handed": True, "trouble": True},
    "quiet_from": None,
    "quiet_until": None,
    "morning": "09:00",
    "evening": "18:00",
    "tells_of_nothing": False,
}


@pytest.fixture
async def telegram(hub) -> Connection:
    settings = {"token": "220:desk-token-of-windows-and-doors"}
    async with hub.database.transaction() as session:
        row = await connections.create(
            session, hub.vault, kind="desk_telegram", title="Our Telegram", settings=settings, at=hub.clock.now()
        )
        row.account = "@our_desk_bot, Our desk"
    await hub.switchboard.refresh()
    return row


async def redeem(hub: Any, connection: Connection, ticket: str, person: str = "500") -> User | None:
    event = DeskStarted(key=f"s{person}", peer=person, person=person, name="Anna K.", handle="@annak")
    async with hub.database.transaction() as session:
        return await linking.redeem(session, ticket, event, connection_id=connection.id, at=hub.clock.now())


async def test_an_account_is_linked_by_a_link_made_over_the_api_and_unlinked(hub, telegram, take_on, api, clock):
    anna = await take_on("Anna")
    me = await api(anna)
    assert await me.get("/me/desk") == NOTHING
    made = await me.send("POST", "/me/desk/links")
    assert made.status == 201
    ((invitation,), _next) = made.json["items"], made.json["next"]
    link = invitation.pop("link")
    assert invitation == {
        "connection_id": str(telegram.id),
        "kind": "desk_telegram",
        "title": "Our Telegram",
        "expires_at": (clock.now() + timedelta(minutes=30)).isoformat().replace("+00:00", "Z"),
    }
    base, _, ticket = link.partition("=")
    assert base == "https://t.me/our_desk_bot?start"
    assert (await redeem(hub, telegram, ticket)).id == anna.id
    (shown,) = (await me.get("/me/desk"))["links"]
    link_id = shown.pop("id")
    shown.pop("linked_at")
    assert shown == {
        "connection_id": str(telegram.id),
        "kind": "desk_telegram",
        "title": "Our Telegram",
        "name": "Anna K.",
        "handle": "@annak",
        "is_reachable": True,
    }
    boris = await api(await take_on("Boris"))
    assert (await boris.send("DELETE", f"/me/desk/links/{link_id}")).status == 404
    assert (await me.send("DELETE", f"/me/desk/links/{link_id}")).status == 204
    assert (await me.get("/me/desk"))["links"] == []
    assert (await me.send("DELETE", f"/me/desk/links/{link_id}")).status == 404


async def test_a_link_is_of_no_use_once_it_is_old(hub, telegram, take_on, api, clock):
    me = await api(await take_on("Anna"))
    ticket = (await me.post("/me/desk/links"))["items"][0]["link"].partition("=")[2]
    clock.advance(timedelta(minutes=30))
    assert await redeem(hub, telegram, ticket) is None


async def test_a_token_with_scopes_cannot_make_itself_a_person(telegram, take_on, api):
    anna = await take_on("Anna")
    narrow = await api(anna, "me:write", "deals:read")
    assert (await narrow.get("/me/desk"))["links"] == []
    answer = await narrow.send("POST", "/me/desk/links")
    assert answer.status == 403 and b"t.me" not in answer.body
    everything = await api(anna, "*")
    assert len((await everything.post("/me/desk/links"))["items"]) == 1


async def test_where_no_messenger_is_connected_there_are_no_links(take_on, api):
    me = await api(await take_on("Anna"))
    assert (await me.post("/me/desk/links"))["items"] == []


async def test_what_one_is_told_is_changed_bit_by_bit_for_all_accounts(hub, telegram, take_on, api):
    anna = await take_on("Anna")
    me = await api(anna)
    refused = await me.send("PATCH", "/me/desk", {"morning": "08:00"})
    assert refused.status == 409, "they are linked nowhere"
    ticket = (await me.post("/me/desk/links"))["items"][0]["link"].partition("=")[2]
    await redeem(hub, telegram, ticket)
    changed = await me.patch("/me/desk", {"morning": "08:00", "evening": None, "events": {"calls": False}})
    assert (changed["morning"], changed["evening"]) == ("08:00", None)
    assert changed["events"] == {**NOTHING["events"], "calls": False}
    changed = await me.patch("/me/desk", {"quiet_from": "22:00", "quiet_until": "08:00", "events": {"leads": False}})
    assert (changed["quiet_from"], changed["quiet_until"], changed["morning"]) == ("22:00", "08:00", "08:00")
    assert changed["events"] == {**NOTHING["events"], "calls": False, "leads": False}
    assert (await me.patch("/me/desk", {"quiet_until": "07:00"}))["quiet_from"] == "22:00"
    changed = await me.patch("/me/desk", {"quiet_from": None, "quiet_until": None, "tells_of_nothing": True})
    assert (changed["quiet_from"], changed["tells_of_nothing"]) == (None, True)
    async with hub.database.reading() as session:
        link = await session.scalar(select(DeskLink))
    assert link.settings["events"] == {"calls": False, "leads": False}


@pytest.mark.parametrize(
    "body",
    [
        {"morning": "9:00"},
        {"morning": "24:00"},
        {"quiet_from": "22:00"},
        {"quiet_from": "22:00", "quiet_until": "22:00"},
        {"events": {"weather": True}},
        {"events": {"leads": "yes"}},
        {"quiet": ["22:00", "08:00"]},
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(hub, telegram, take_on, api, body):
    me = await api(await take_on("Anna"))
    ticket = (await me.post("/me/desk/links"))["items"][0]["link"].partition("=")[2]
    await redeem(hub, telegram, ticket)
    assert (await me.send("PATCH", "/me/desk", body)).status == 422
    assert {**await me.get("/me/desk"), "links": []} == NOTHING
