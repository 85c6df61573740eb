"""The desk on pages: linking and unlinking accounts, what one is told, the groups of teams."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from playwright.async_api import expect
from sqlalchemy import select

from channels.desk_contract import DeskStarted
from core import connections as core_connections
from core.connections import Connection
from core.staff import teams
from core.staff.audit import AuditEntry
from core.staff.users import Role, User
from hub import connections
from hub.desk import choices, linking
from hub.desk.records import DeskLink, DeskTeamChat, DeskTicket
from tests.scenarios.test_a_request_seen import _sign_in, address, page

__all__ = ["address", "page"]  # fixtures

MATRIX = {"homeserver": "http://127.0.0.1:9", "user_id": "@desk:example.com", "access_token": "t"}
TELEGRAM = {"token": "220:desk-token-of-windows-and-doors"}


async def add(hub: Any, kind: str, title: str, settings: dict[str, Any], account: str | None = None) -> Connection:
    async with hub.database.transaction() as session:
        row = await connections.create(
            session, hub.vault, kind=kind, title=title, settings=settings, at=hub.clock.now()
        )
        row.account = account
    await hub.switchboard.refresh()
    return row


@pytest.fixture
async def telegram(hub) -> Connection:
    return await add(hub, "desk_telegram", "Our Telegram", TELEGRAM, "@our_desk_bot, Our desk, 220, no")


@pytest.fixture
async def anna(take_on) -> User:
    return await take_on("Anna", password=True)


async def redeem(hub: Any, connection: Connection, ticket: str, person: str = "500", name: str = "Anna K.") -> Any:
    event = DeskStarted(key=f"s{person}", peer=person, person=person, name=name, handle="@annak")
    async with hub.database.transaction() as session:
        return await linking.redeem(session, ticket, event, connection_id=connection.id, at=hub.clock.now())


async def link(hub: Any, connection: Connection, user: User, person: str = "500") -> DeskLink:
    async with hub.database.transaction() as session:
        ticket = await linking.make_ticket(session, user.id, at=hub.clock.now())
    assert await redeem(hub, connection, ticket, person) is not None
    async with hub.database.reading() as session:
        return await session.scalar(select(DeskLink).where(DeskLink.person == person))


def ticket_in(text: str) -> str:
    found = re.search(r'href="https://t\.me/our_desk_bot\?start=([\w-]+)"', text)
    assert found, text
    return found[1]


async def test_the_profile_shows_a_link_that_links_whoever_follows_it_once(hub, telegram, anna, browser_of):
    browser = await browser_of(anna)
    page = (await browser.get("/profile")).text
    ticket = ticket_in(page)
    assert "Link Our Telegram" in page and "@our_desk_bot; press Start" in page
    assert f'<code id="desk-words-{telegram.id}">https://t.me/our_desk_bot?start={ticket}</code>' in page
    assert "What you are told there" not in page, "there is nothing to choose yet"
    assert (await redeem(hub, telegram, ticket)).id == anna.id
    assert await redeem(hub, telegram, ticket, "666") is None
    page = (await browser.get("/profile")).text
    assert "Anna K." in page and "@annak" in page and "Unlink" in page
    assert "https://t.me/" not in page, "it is linked, and needs no link"
    assert "What you are told there" in page


async def test_as_long_as_the_name_of_a_bot_is_unknown_the_profile_says_what_to_write(hub, anna, browser_of):
    await add(hub, "desk_telegram", "Our Telegram", TELEGRAM)
    await add(hub, "desk_matrix", "Our Matrix", MATRIX, "@desk:example.com, v1.13")
    page = html.unescape((await (await browser_of(anna)).get("/profile")).text)
    assert re.search(r"Write this to the bot, in a chat of your own with it:.*?/start [\w-]+<", page, re.DOTALL)
    assert re.search(r"Write this to @desk:example.com, in a chat .*?link [\w-]+<", page, re.DOTALL)


async def test_without_a_messenger_administrators_are_told_where_to_connect_one(hub, take_on, anna, browser_of):
    olga = await browser_of(await take_on("Olga", Role.OWNER, password=True))
    assert 'href="/settings/channels/new?q=desk"' in (await olga.get("/profile")).text
    offered = (await olga.get("/settings/channels/new?q=desk")).text
    for kind in ("desk_telegram", "desk_slack", "desk_mattermost", "desk_matrix"):
        assert f"/settings/channels/new/{kind}" in offered
    page = (await (await browser_of(anna)).get("/profile")).text
    assert "An administrator connects one" in page and "channels/new" not in page
    async with hub.database.reading() as session:
        assert await session.scalar(select(DeskTicket)) is None, "where nothing can be linked, no word is made"


async def test_a_paused_messenger_is_not_offered(hub, telegram, anna, browser_of):
    async with hub.database.transaction() as session:
        await core_connections.pause(session, await session.get_one(Connection, telegram.id), "later")
    await hub.switchboard.refresh()
    assert "https://t.me/" not in (await (await browser_of(anna)).get("/profile")).text


async def test_somebody_who_lost_their_phone_unlinks_it_at_once(hub, telegram, anna, take_on, browser_of, all_of):
    theirs = await link(hub, telegram, anna)
    browser = await browser_of(anna)
    answer = await browser.post(f"/profile/desk/{theirs.id}/removal")
    assert answer.told["toast"]["text"].startswith("Unlinked")
    assert await all_of(DeskLink) == []
    assert "https://t.me/" in (await browser.get("/profile")).text
    assert [entry.action for entry in await all_of(AuditEntry) if entry.action.startswith("desk.")] == [
        "desk.linked",
        "desk.unlinked",
    ]
    again = await link(hub, telegram, anna)
    boris = await browser_of(await take_on("Boris", password=True))
    assert (await boris.post(f"/profile/desk/{again.id}/removal")).status == 404
    assert len(await all_of(DeskLink)) == 1


async def test_an_administrator_unlinks_somebody_elses_and_nobody_else_can(
    hub, telegram, anna, take_on, browser_of, all_of
):
    theirs = await link(hub, telegram, anna)
    where = f"/settings/users/{anna.id}/desk/{theirs.id}/removal"
    boris = await browser_of(await take_on("Boris", password=True))
    assert (await boris.post(where)).status == 403
    owner = await take_on("Olga", Role.OWNER, password=True)
    olga = await browser_of(owner)
    assert where in (await olga.get(f"/settings/users/{anna.id}")).text
    assert (await olga.post(f"/settings/users/{owner.id}/desk/{theirs.id}/removal")).status == 404
    assert len(await all_of(DeskLink)) == 1
    assert (await olga.post(where)).status == 204
    assert await all_of(DeskLink) == []


async def test_whoever_blocked_the_bot_is_told_and_gets_a_link_again(hub, telegram, anna, browser_of):
    await link(hub, telegram, anna)
    async with hub.database.transaction() as session:
        await linking.reach(session, telegram.id, "500", is_reachable=False)
    page = (await (await browser_of(anna)).get("/profile")).text
    assert "You blocked the bot" in page and "not reachable" in page
    ticket_in(page)


async def test_what_somebody_is_told_holds_for_all_their_messengers(hub, telegram, anna, browser_of, all_of):
    matrix = await add(hub, "desk_matrix", "Our Matrix", MATRIX)
    await link(hub, telegram, anna)
    await link(hub, matrix, anna, "@anna:example.com")
    browser = await browser_of(anna)
    form = {
        "told": ["messages", "tasks"],
        "quiet": "yes",
        "quiet_from": "21:30",
        "quiet_until": "07:45",
        "morning": "yes",
        "morning_at": "08:15",
        "tells_of_nothing": "yes",
    }
    answer = await browser.post_plainly("/profile/desk", **form)
    assert (answer.status, answer.headers["Location"]) == (303, "/profile?done=desk")
    for each in await all_of(DeskLink):
        chosen = choices.read(each.settings)
        assert [group for group, is_told in chosen.events.items() if is_told] == ["messages", "tasks", "trouble"]
        assert each.settings["quiet"] == ["21:30", "07:45"]
        assert (f"{chosen.morning:%H:%M}", chosen.tells_of_nothing) == ("08:15", True)
        assert chosen.evening == choices.EVENING, "only heads are asked for it"
    page = (await browser.get("/profile")).text
    assert 'value="21:30"' in page and 'value="08:15"' in page and "Evening digest" not in page
    await browser.post_plainly("/profile/desk", morning_at="08:15", quiet_from="", quiet_until="")
    first = choices.read((await all_of(DeskLink))[0].settings)
    assert (first.morning, first.quiet, first.tells_of_nothing) == (None, None, False)
    await hub.switchboard.refresh()
    slack = await add(hub, "desk_slack", "Our Slack", {"signing_secret": "s", "bot_token": "xoxb-1"})
    third = await link(hub, slack, anna, "U1")
    assert choices.read(third.settings) == first, "what was chosen holds for one that is linked later"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"quiet": "yes", "quiet_from": "25:00"}, "quiet_from"),
        ({"quiet": "yes", "quiet_from": "08:00"}, "quiet_until"),
        ({"morning_at": "nine"}, "morning_at"),
        ({"evening": "yes", "evening_at": ""}, "evening_at"),
    ],
)
async def test_what_cannot_be_is_said_at_its_field_and_nothing_is_changed(
    hub, telegram, take_on, browser_of, all_of, wrong, field
):
    kirill = await take_on("Kirill", Role.HEAD, password=True)
    await link(hub, telegram, kirill)
    form = {"quiet_from": "22:00", "quiet_until": "08:00", "morning": "yes", "morning_at": "09:00"}
    answer = await (await browser_of(kirill)).post_plainly("/profile/desk", **{**form, **wrong})
    assert answer.status == 422
    assert f'id="{field}-error"' in answer.text
    assert (await all_of(DeskLink))[0].settings == {}


async def test_without_an_account_there_is_nothing_to_choose(hub, telegram, anna, browser_of):
    browser = await browser_of(anna)
    answer = await browser.post_plainly("/profile/desk", morning="yes", morning_at="09:00")
    assert answer.status == 422


async def test_on_the_channels_page_groups_are_shown_with_their_trouble_and_forgotten(
    hub, telegram, take_on, anna, browser_of, all_of
):
    async with hub.database.transaction() as session:
        sales = await teams.by_name(session, "Sales")
        for chat, title, team_id, trouble in (
            ("-1001", "Windows, sales", sales.id, None),
            ("-1002", "", None, "The group has no topics"),
        ):
            session.add(
                DeskTeamChat(
                    connection_id=telegram.id,
                    chat=chat,
                    title=title,
                    team_id=team_id,
                    trouble=trouble,
                    created_at=hub.clock.now(),
                )
            )
    await link(hub, telegram, anna)
    olga = await browser_of(await take_on("Olga", Role.OWNER, password=True))
    here = f"/settings/channels/{telegram.id}"
    page = (await olga.get(here)).text
    assert "1 person is linked" in page and "write /team there" in page
    assert "Windows, sales" in page and ">Sales<" in page
    assert "-1002" in page and "The group has no topics" in page
    first, second = await all_of(DeskTeamChat)
    matrix = await add(hub, "desk_matrix", "Our Matrix", MATRIX)
    other = await olga.post_plainly(f"/settings/channels/{matrix.id}/groups/{first.id}/removal")
    assert other.status == 404
    assert (await olga.post_plainly(f"{here}/groups/{first.id}/removal")).status == 303
    assert [chat.id for chat in await all_of(DeskTeamChat)] == [second.id]
    page = (await olga.get(f"/settings/channels/{matrix.id}")).text
    assert "0 people are linked" in page and "/team" not in page
    browser = await browser_of(anna)
    assert (await browser.post_plainly(f"{here}/groups/{second.id}/removal")).status == 403


@pytest.mark.browser
async def test_the_open_profile_shows_that_an_account_was_linked_and_unlinked(hub, anna, address, page):
    matrix = await add(hub, "desk_matrix", "Our Matrix", MATRIX)
    await _sign_in(page, hub, address, anna)
    async with page.expect_response("**/live*"):
        await page.goto(f"{address}/profile")
    await page.evaluate("window.neverReloaded = true")
    desk = page.locator("#desk")
    words = await page.locator(f"#desk-words-{matrix.id}").inner_text()
    assert await redeem(hub, matrix, words.removeprefix("link ")) is not None
    await expect(desk).to_contain_text("Anna K.", timeout=15_000)
    await expect(desk).to_contain_text("What you are told there")
    page.once("dialog", lambda dialog: dialog.accept())
    await desk.get_by_role("button", name="Unlink").click()
    await expect(desk).to_contain_text("Link Our Matrix", timeout=15_000)
    await expect(desk).not_to_contain_text("Anna K.")
    assert await page.evaluate("window.neverReloaded")
