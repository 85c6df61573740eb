"""Scenario A as Anna sees it: in a real browser, on a page she never reloads."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Locator, Page, expect
from sqlalchemy import select

from core.staff.users import User
from core.work.tasks import Task
from hub import auth, worker
from hub.http import make_app
from tests.conftest import PASSWORD, VERA
from tests.peers import chromium

pytestmark = pytest.mark.browser


@pytest.fixture
async def address(hub: Any) -> AsyncIterator[str]:
    """Where the whole hub answers, its loops running."""
    server = TestServer(make_app(hub), host="127.0.0.1")
    await server.start_server()
    async with worker.running(hub):
        yield str(server.make_url("")).rstrip("/")
    await server.close()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a real browser that may not complain."""
    complaints: list[str] = []
    async with chromium.running() as browser:
        opened = await browser.new_page(viewport={"width": 1900, "height": 900})
        opened.set_default_timeout(15_000)
        opened.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        yield opened
    assert not complaints


async def test_anna_sees_the_request_come_grow_late_and_be_done_without_a_reload(
    address, page, client, hub, webform, take_on, clock
):
    anna = await take_on("Anna", password=True)
    await _sign_in(page, hub, address, anna)
    async with page.expect_response("**/live*"):
        await page.goto(address)
    await page.evaluate("window.neverReloaded = true")
    await expect(page.locator("#day-queue")).to_contain_text("Nothing waits for you")

    await client.post(f"/hooks/{webform.key}", data=VERA)
    await expect(page.locator("#day-leads")).to_contain_text("Вера Соколова")
    task = page.locator("#day-today .item")
    await expect(task).to_contain_text("Call back")
    await expect(task.locator(".deadline")).to_contain_text(re.compile("in 1[345] min"))  # the browser's clock runs
    await expect(page.locator("#bell .count")).to_have_text("1")

    clock.advance(timedelta(minutes=16))
    await expect(page.locator("#day-overdue .item")).to_contain_text("Call back")
    await expect(page.locator("#day-counters .bad")).to_have_text("1")

    await page.locator("#day-overdue .tick").click()
    await expect(page.locator("#toasts")).to_contain_text("Done")
    await expect(page.locator("#day-overdue")).to_have_count(0)
    await expect(page.locator("#day-leads section")).to_have_count(0)
    async with hub.database.reading() as session:
        done = await session.scalar(select(Task))
        assert (done.status, done.completed_by) == ("done", anna.id)

    await page.locator("#toasts [data-undo]").click()
    await expect(page.locator("#day-overdue .item")).to_have_count(1)
    assert await page.evaluate("window.neverReloaded") is True


async def test_a_card_is_moved_by_keyboard_and_by_hand_and_a_lost_one_asks_why(
    address, page, client, hub, webform, take_on
):
    await _sign_in(page, hub, address, await take_on("Anna", password=True))
    await page.goto(f"{address}/deals")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    card = page.locator(".deal-card")
    await card.locator(".title").focus()
    for key in (" ", "ArrowRight", " "):
        await page.keyboard.press(key)
    await expect(page.locator(".column[data-name=Qualified] .deal-card")).to_have_attribute("data-row", "2")

    await _drag(page, card, page.locator(".column[data-name=Proposal]"))
    await expect(page.locator(".column[data-name=Proposal] .deal-card")).to_have_attribute("data-row", "3")

    await _drag(page, card, page.locator(".column.lost"))
    await expect(page.locator("#sheet")).to_contain_text("Why was it lost?")
    await page.locator("#sheet input[type=radio]").first.check()
    await page.locator("#sheet button.danger").click()
    await expect(page.locator(".column.lost .deal-card")).to_have_count(1)


async def _sign_in(page: Page, hub: Any, address: str, user: User) -> None:
    token = await auth.sign_in(hub, email=user.email, password=PASSWORD, client="127.0.0.1", agent="test")
    await page.context.add_cookies([{"name": auth.COOKIE, "value": token, "url": address}])


async def _drag(page: Page, what: Locator, onto: Locator) -> None:
    """Drag as a hand does: press beside the words, move in small steps, let go."""
    start, end = await what.bounding_box(), await onto.bounding_box()
    assert start and end
    await page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] - 8)
    await page.mouse.down()
    await page.mouse.move(end["x"] + end["width"] / 2, end["y"] + 70, steps=15)
    await page.mouse.up()
