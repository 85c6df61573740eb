"""The first run in a real browser: the set-up link, the first form, its first request, and the form on another site."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from playwright.async_api import Browser, BrowserContext, Error, Page, Route, expect
from sqlalchemy import select

from core.people.contacts import Contact
from core.sales.leads import Lead
from core.staff.users import Role
from hub import auth, worker
from hub.app import Hub, open_hub
from hub.http import make_app
from hub.web.snippet import snippet
from tests.conftest import PASSWORD, add_webform
from tests.peers import chromium

pytestmark = pytest.mark.browser

expect.set_options(timeout=20_000)


@pytest.fixture
async def house(settings, database_url) -> AsyncIterator[Hub]:
    """The whole hub on a port of its own, with its workers and the real clock."""
    port = unused_port()
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(open_hub(settings, database_url, public_url=f"http://127.0.0.1:{port}"))
        await stack.enter_async_context(worker.running(hub))
        await stack.enter_async_context(TestServer(make_app(hub), port=port))
        yield hub


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium.running() as launched:
        yield launched


class Visitor:
    """Somebody with a browser, and everything it complained of."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self.complaints: list[str] = []

    async def page(self) -> Page:
        page = await self._context.new_page()
        page.on(
            "console", lambda line: self.complaints.append(line.text) if line.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page


@asynccontextmanager
async def visiting(browser: Browser, **options) -> AsyncIterator[Visitor]:
    context = await browser.new_context(**options)
    context.set_default_timeout(15_000)
    yield Visitor(context)
    await context.close()


@asynccontextmanager
async def site(body: str, *, language: str = "en", port: int | None = None) -> AsyncIterator[str]:
    """Somebody's own website with one page, on another origin than the hub's."""

    async def show(_request: web.Request) -> web.Response:
        page = (
            f'<!doctype html><html lang="{language}"><meta charset="utf-8"><link rel="icon" href="data:,">'
            f"<title>Windows</title><body><h1>Windows</h1>{body}"
        )
        return web.Response(text=page, content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", show)
    async with TestServer(app, port=port) as server:
        yield f"http://127.0.0.1:{server.port}"


async def settled(hub: Hub, page: Page, count: int) -> list[Lead]:
    """Wait until so many leads are there. The page's own clock does the waiting."""
    for _ in range(100):
        async with hub.database.reading() as session:
            leads = list(await session.scalars(select(Lead).order_by(Lead.id)))
        if len(leads) >= count:
            return leads
        await page.wait_for_timeout(50)
    raise AssertionError(f"{len(leads)} leads came, not {count}")


async def test_from_the_link_to_the_first_request_without_a_reload(house, browser):
    link = await auth.make_setup_link(house)
    async with (
        visiting(browser, locale="et-EE", timezone_id="Europe/Tallinn") as owner,
        visiting(browser, locale="ru-RU") as vera,
    ):
        page = await owner.page()
        await page.goto(f"{house.public_url}/")
        await expect(page.get_by_text("one-time link")).to_be_visible()
        await page.goto(link)
        await expect(page.get_by_label("Country", exact=True)).to_have_value("EE")
        await expect(page.get_by_label("Time zone")).to_have_value("Europe/Tallinn")
        await expect(page.get_by_label("Currency")).to_have_value("EUR")
        await page.get_by_label("Company").fill("Aknad OÜ")
        await page.get_by_label("Your name").fill("Olga Oja")
        await page.get_by_label("Your e-mail").fill("olga@example.com")
        await page.get_by_label("Password").fill("short")
        await page.get_by_role("button", name="Go on").click()
        await expect(page.locator("#password-error")).to_be_visible()
        await expect(page.get_by_label("Company")).to_have_value("Aknad OÜ")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Go on").click()
        await page.wait_for_url("**/setup/channel")
        await expect(page.get_by_text("Waiting for the first request")).to_be_visible()
        await page.evaluate("window.untouched = true")

        form = await vera.page()
        await form.goto(await page.locator("#form-url").inner_text() + "?utm_source=google")
        await form.get_by_role("button").click()
        await expect(form.locator("#phone-error")).to_be_visible()
        await form.locator("#name").fill("Вера Соколова")
        await form.locator("#phone").fill("5123 4567")
        await form.locator("#message").fill("Три окна")
        await form.get_by_role("button").click()
        await form.wait_for_url("**/thanks?reference=*")

        await expect(page.get_by_text("It works.")).to_be_visible()
        await expect(page.get_by_role("link", name="Вера Соколова")).to_be_visible()
        assert await page.evaluate("window.untouched")
        (lead,) = await settled(house, page, 1)
        assert lead.attribution["utm_source"] == "google"
        # a refused form is an answer of 422, of which Chromium tells in its console
        assert [text for text in (*owner.complaints, *vera.complaints) if "status of 422" not in text] == []


async def test_a_pasted_form_sends_from_a_listed_site_and_keeps_what_was_typed_when_it_cannot(house, browser):
    port = unused_port()
    elsewhere = f"http://127.0.0.1:{port}"
    connection = await add_webform(house, allowed_origins=[elsewhere])
    hook = f"{house.public_url}/hooks/{connection.key}"
    async with site(snippet(connection, house.public_url), port=port), visiting(browser) as vera:
        page = await vera.page()
        await page.goto(f"{elsewhere}/windows?utm_source=yandex")
        await page.get_by_label("Your name").fill("Vera")
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("alert")).to_have_text("Leave a phone or an e-mail, so that we can answer")
        await expect(page.get_by_label("Phone")).to_be_focused()
        await page.get_by_label("Phone").fill("8 916 123-45-67")
        await page.route(hook, lambda route: route.abort())
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("alert")).to_contain_text("What you typed is still here")
        await expect(page.get_by_label("Phone")).to_have_value("8 916 123-45-67")
        await page.unroute(hook)
        vera.complaints.clear()  # of the line that was cut
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("status")).to_contain_text("Thank you, it has arrived")
        (lead,) = await settled(house, page, 1)
        marks = {"utm_source": "yandex", "landing_page": f"{elsewhere}/windows?utm_source=yandex"}
        assert lead.attribution == marks
        assert vera.complaints == []


async def test_a_pasted_form_with_no_site_listed_goes_to_our_thanks(house, browser):
    connection = await add_webform(house)
    async with site(snippet(connection, house.public_url), language="hy") as elsewhere, visiting(browser) as vera:
        page = await vera.page()
        await page.goto(elsewhere)
        await page.get_by_label("Հեռախոս").fill("+37491234567")
        await page.get_by_label("Ձեր անունը").fill("Անի")
        await page.get_by_role("button", name="Ուղարկել").click()
        await page.wait_for_url(f"{house.public_url}/f/thanks?reference=*")
        await settled(house, page, 1)
        async with house.database.reading() as session:
            contact = await session.scalar(select(Contact))
        assert (contact.name, contact.language) == ("Անի", "hy")
        assert vera.complaints == []


async def _loaded(page: Page, name: str) -> None:
    """Wait until a script has given itself a name. Not by `wait_for_function`, which the pages' policy forbids."""
    async with asyncio.timeout(30):
        while True:
            with suppress(Error):  # the page before is still being left
                if await page.evaluate(f"Boolean(window.{name})"):
                    return
            await asyncio.sleep(0.02)


async def test_a_page_is_live_even_when_its_streams_script_comes_late(house, browser, take_on):
    await take_on("Olga", Role.OWNER, password=True)
    async with visiting(browser) as owner:
        page = await owner.page()
        await page.goto(f"{house.public_url}/sign-in?next=/setup/channel")
        await page.get_by_label("E-mail").fill("olga@example.com")
        await page.get_by_label("Password").fill(PASSWORD)
        htmx_began = asyncio.Event()

        async def late(route: Route) -> None:
            await htmx_began.wait()
            await route.continue_()

        await page.route("**/hx-sse.min.js*", late)
        async with page.expect_request("**/live?after=*"):
            await page.get_by_role("button", name="Sign in").click(no_wait_after=True)
            await page.wait_for_url("**/setup/channel", wait_until="commit")
            await _loaded(page, "htmx")
            await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            htmx_began.set()
        assert owner.complaints == []
