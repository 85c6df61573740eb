"""The chat widget as a visitor sees it: on somebody else's page, in a real browser, whatever becomes of the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from playwright.async_api import BrowserContext, Page, expect
from sqlalchemy import func, select

from core.connections import Connection
from core.people.contacts import ContactIdentity
from core.sales.leads import Lead
from core.staff import workspace
from core.talk import conversations
from core.talk.conversations import Conversation, Message
from hub import connections, replies, worker
from hub.app import Hub
from hub.http import make_app
from tests.peers import chromium

pytestmark = pytest.mark.browser

LOST = "WebSocket connection to"
"""What Chromium says of a server that is away; no script can keep it from that."""


class Door:
    """The hub's web side on one port, which can be taken away and brought back."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._port = unused_port()
        self._server: TestServer | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._server = TestServer(make_app(self._hub), host="127.0.0.1", port=self._port)
        await self._server.start_server(shutdown_timeout=0.1)

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()
        self._server = None


@pytest.fixture
async def door(hub: Hub) -> AsyncIterator[Door]:
    opened = Door(hub)
    await opened.open()
    async with worker.running(hub):
        yield opened
    await opened.close()


@pytest.fixture
async def widget(hub: Hub) -> Connection:
    async with hub.database.transaction() as session:
        connection = await connections.create(
            session, hub.vault, kind="widget", title="Chat", settings={"colour": "#2f9e44"}, at=hub.clock.now()
        )
    await hub.switchboard.refresh()
    return connection


@pytest.fixture
async def site(door: Door, widget: Connection) -> AsyncIterator[str]:
    """Somebody else's site: one tag on every page, a strict policy, and styles that mean no good."""

    async def page(request: web.Request) -> web.Response:
        policy = (
            f"default-src 'none'; script-src {door.url}; connect-src {door.url} {door.url.replace('http', 'ws')}; "
            f"img-src {door.url} data:; style-src 'self'; base-uri 'none'"
        )
        body = (
            f'<!doctype html><html lang="{request.query.get("lang", "en")}"><head><title>Windows and doors</title>'
            '<link rel="icon" href="data:,"><link rel="stylesheet" href="/site.css">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<script src="{door.url}/w/{widget.key}.js" async></script></head>'
            "<body><h1>Windows</h1><p>The best there are.</p></body></html>"
        )
        return web.Response(text=body, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def style(_request: web.Request) -> web.Response:
        text = "* { color: red !important; } div { display: none; } button { font-size: 90px; }"
        return web.Response(text=text, content_type="text/css")

    app = web.Application()
    app.router.add_get("/site.css", style)
    app.router.add_get("/{path:.*}", page)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


class Visitor:
    """A browser of somebody outside. `complaints` is what its console said."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.asked: set[str] = set()

    async def visit(self, address: str) -> Page:
        page = await self.context.new_page()
        page.set_default_timeout(10_000)
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.add(request.url.split("/")[2]))
        await page.goto(address)
        return page


@pytest.fixture
async def browse() -> AsyncIterator[Callable[..., Awaitable[Visitor]]]:
    """Opens a fresh browser: `visitor = await browse(width=360)`."""
    async with chromium.running() as browser:

        async def make(width: int = 1280, height: int = 800, **more: Any) -> Visitor:
            return Visitor(await browser.new_context(viewport={"width": width, "height": height}, **more))

        yield make


@pytest.fixture
async def answer(hub: Hub, take_on: Any) -> Callable[[str], Awaitable[None]]:
    """Answers the one conversation there is."""
    anna = await take_on("Anna")

    async def write(text: str) -> None:
        async with hub.database.transaction() as session:
            conversation = await session.scalar(select(Conversation))
            await replies.reply(session, hub, conversation, author_id=anna.id, text=text)
            await conversations.read(session, conversation, at=hub.clock.now(), actor_id=anna.id)

    return write


def launcher(page: Page) -> Any:
    return page.get_by_role("button", name="Open the chat")


async def say(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Write a message").fill(text)
    await page.keyboard.press("Enter")


async def texts(page: Page) -> list[str]:
    found = await page.locator(".list .bubble").all_inner_texts()
    return [text.partition(":")[2].strip() for text in found]


async def test_a_visitor_talks_in_two_tabs_reloads_and_loses_nothing_when_the_server_is_away(
    hub, door, site, browse, answer
):
    visitor = await browse()
    page = await visitor.visit(f"{site}/?utm_source=google")
    assert await page.evaluate("Object.keys(localStorage).length") == 0, "nothing is kept of who only looks"
    await launcher(page).click()
    await expect(page.get_by_role("dialog")).to_contain_text("What can we do for you?")
    await say(page, "Do you deliver <b>windows</b>?")
    await expect(page.locator(".mine .meta")).not_to_contain_text("sending")

    second = await visitor.visit(f"{site}/contacts")
    await expect(second.locator(".mine .bubble")).to_contain_text("Do you deliver <b>windows</b>?")
    assert await second.locator(".list b").count() == 0, "what people write is text"

    await answer("We do: https://shop.example/delivery. Where to?")
    for each in (page, second):
        await expect(each.locator(".ours")).to_have_count(1)
        link = each.locator(".ours a")
        await expect(link).to_have_attribute("href", "https://shop.example/delivery")
        assert "noopener" in (await link.get_attribute("rel") or "")
    await second.bring_to_front()
    await expect_status(hub, "read")

    await page.reload()
    await expect(page.locator(".list .bubble")).to_have_count(2)

    await door.close()
    await say(page, "To Tver")
    await say(page, "By Friday")
    await expect(page.locator(".meta", has_text="sending")).to_have_count(2)
    await second.close()
    await page.reload()  # what is written while there is no script to load waits in the browser
    await door.open()
    await page.reload()
    await expect(page.locator(".list .bubble")).to_have_count(4)
    await expect(page.locator(".meta", has_text="sending")).to_have_count(0)
    await expect_count(hub, Message, 4)
    await answer("Friday it is")
    await expect(page.locator(".ours")).to_have_count(2)
    await expect(page.locator(".seen")).to_have_count(0)
    assert await texts(page) == [
        "Do you deliver <b>windows</b>?",
        "We do: https://shop.example/delivery. Where to?",
        "To Tver",
        "By Friday",
        "Friday it is",
    ]
    await expect_count(hub, Message, 5)
    async with hub.database.reading() as session:
        lead = await session.scalar(select(Lead))
    assert lead.attribution["utm_source"] == "google"
    assert visitor.asked == {site.removeprefix("http://"), door.url.removeprefix("http://")}
    assert [said for said in visitor.complaints if LOST not in said and "ERR_CONNECTION" not in said] == []


async def test_the_line_comes_back_by_itself(hub, door, site, browse, answer):
    visitor = await browse()
    page = await visitor.visit(site)
    await launcher(page).click()
    await say(page, "One")
    await expect(page.locator(".mine .meta")).not_to_contain_text("sending")
    await door.close()
    await say(page, "Two")
    await expect(page.locator(".notice")).to_contain_text("No connection")
    await answer_when_there(hub, answer)
    await door.open()
    await expect(page.locator(".list .bubble")).to_have_count(3, timeout=40_000)
    await expect(page.locator(".meta", has_text="sending")).to_have_count(0)
    await expect(page.locator(".notice")).to_have_text("")
    await expect_count(hub, Message, 3)


async def answer_when_there(hub: Hub, answer: Any) -> None:
    await expect_count(hub, Conversation, 1)
    await answer("While you were away")


async def test_an_answer_to_a_closed_chat_is_counted_and_waits_for_its_reader(hub, door, site, browse, answer):
    visitor = await browse()
    page = await visitor.visit(site)
    await launcher(page).click()
    await say(page, "Hello?")
    await expect_count(hub, Conversation, 1)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(launcher(page)).to_be_focused()
    await answer("Here we are")
    await expect(page.locator(".badge")).to_have_text("1")
    await expect(page.get_by_role("button", name="Open the chat, unread: 1")).to_be_visible()
    await expect_status(hub, "delivered")
    await page.keyboard.press("Enter")
    await expect(page.locator(".ours .bubble")).to_be_visible()
    await expect_status(hub, "read")
    await expect(page.locator(".badge")).to_have_text("")
    assert visitor.complaints == []


async def test_a_phone_shows_it_whole_in_the_page_s_language_and_the_keyboard_stays_within(door, site, browse):
    visitor = await browse(360, 640, color_scheme="dark", reduced_motion="reduce")
    page = await visitor.visit(f"{site}/?lang=ru")
    await page.get_by_role("button", name="Открыть чат").click()
    panel = page.get_by_role("dialog")
    box = await panel.bounding_box()
    assert box and (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 360, 640)
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await expect(panel).to_contain_text("Чем мы можем помочь?")
    assert await panel.evaluate("node => getComputedStyle(node).animationName") == "none"
    for _ in range(8):
        await page.keyboard.press("Tab")
        assert await panel.evaluate("node => node.contains(node.getRootNode().activeElement)")
    await page.keyboard.press("Shift+Tab")
    assert await panel.evaluate("node => node.contains(node.getRootNode().activeElement)")
    assert visitor.complaints == []


async def test_outside_working_hours_it_asks_where_to_answer(hub, door, site, browse):
    async with hub.database.transaction() as session:
        (await workspace.get(session)).schedule = {"time_zone": "UTC", "week": {"sun": [["09:00", "10:00"]]}}
    visitor = await browse()
    page = await visitor.visit(site)
    await launcher(page).click()
    await expect(page.get_by_role("dialog")).to_contain_text("Back Sunday")
    await say(page, "Call me, please")
    await expect(page.get_by_role("alert")).to_contain_text("so that we can answer")
    await page.get_by_label("E-mail").fill("vera@example.com")
    await page.get_by_role("textbox", name="Write a message").press("Enter")
    await expect(page.locator(".mine .bubble")).to_contain_text("Call me, please")
    await expect_count(hub, Message, 1)
    async with hub.database.reading() as session:
        schemes = set(await session.scalars(select(ContactIdentity.scheme)))
    assert schemes == {"widget", "email"}
    await expect(page.get_by_label("E-mail")).to_be_hidden()
    assert visitor.complaints == []


async def test_a_picture_is_sent_and_shown(hub, door, site, browse):
    visitor = await browse()
    page = await visitor.visit(site)
    await launcher(page).click()
    picture = await page.screenshot()
    await page.locator(".picker").set_input_files([{"name": "plan.png", "mimeType": "image/png", "buffer": picture}])
    await expect(page.locator(".chosen")).to_contain_text("plan.png")
    await say(page, "Like this")
    shown = page.locator(".mine img")
    await expect(shown).to_have_attribute("alt", "plan.png")
    await expect(shown).to_have_js_property("complete", True)
    assert await shown.evaluate("picture => picture.naturalWidth") > 0
    assert visitor.complaints == []


async def expect_count(hub: Hub, model: Any, count: int) -> None:
    await _until(hub, select(func.count()).select_from(model), count)


async def expect_status(hub: Hub, status: str) -> None:
    newest = select(Message.status).where(Message.direction == "outbound").order_by(Message.id.desc()).limit(1)
    await _until(hub, newest, status)


async def _until(hub: Hub, question: Any, wanted: Any) -> None:
    """Ask the database until it says so."""
    async with asyncio.timeout(10):
        while True:
            async with hub.database.reading() as session:
                if await session.scalar(question) == wanted:
                    return
            await asyncio.sleep(0.05)
