"""Scenario F as Anna sees it: her phone rings while she writes, and the page she works on tells her who it is."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.hub.test_calls import TOKEN, VERA, connect_pbx, moment
from tests.hub.web.test_calls import dialling, name_vera, record, tones
from tests.scenarios.test_a_request_seen import _sign_in, address, page

__all__ = ["address", "dialling", "page"]  # fixtures

pytestmark = pytest.mark.browser
expect.set_options(timeout=20_000)

LINE = "+74951112233"


@pytest.fixture
async def anna(take_on):
    return await take_on("Anna", password=True, extension="101")


@pytest.fixture
def tell(client, hub):
    """Posts what happens to a call, one thing at a time."""

    async def post(event: str, *, call_id: str = "c1", **more) -> None:
        live = next(live for live in hub.switchboard.live() if live.line is not None)
        body = {"call_id": call_id, "event": event, "direction": "inbound", "from": VERA, "to": LINE, **more}
        answer = await client.post(f"/hooks/{live.key}", params={"token": TOKEN}, json=body)
        assert answer.status == 200

    return post


async def test_whose_phone_rings_sees_who_it_is_while_what_is_being_written_stays(
    address, page, hub, anna, tell, take_on
):
    await connect_pbx(hub)
    await take_on("Boris", extension="102")
    await _sign_in(page, hub, address, anna)
    async with page.expect_response("**/live*"):
        await page.goto(f"{address}/profile")
    await page.evaluate("window.neverReloaded = true")
    await page.locator("#name").fill("Anna, half a na")

    await tell("ringing", extension="101", at=moment(0))
    card = page.locator("#calls .ring.rings")
    await expect(card).to_contain_text("+7 916 123-45-67")
    await expect(page.locator("#calls-said")).to_contain_text("rings")
    await expect(page.locator("#name")).to_be_focused()
    await page.keyboard.type("me")
    await expect(page.locator("#name")).to_have_value("Anna, half a name")

    await tell("ringing", extension="102", at=moment(1))
    await tell("answered", extension="102", at=moment(2))
    await expect(card).to_have_count(0)

    await tell("ringing", call_id="c2", extension="101", at=moment(30))
    await expect(card).to_contain_text("+7 916 123-45-67")
    await name_vera(hub)
    await card.get_by_role("button", name="Add note").click()
    await page.keyboard.type("Wants it")
    await tell("answered", call_id="c2", extension="101", at=moment(31))
    bar = page.locator("#calls .ring.talks")
    await expect(bar).to_contain_text("On the phone with")
    await expect(bar.locator("time")).to_have_text(re.compile(r"\d+:\d\d"))
    note = page.locator("#calls textarea")
    await expect(note).to_be_focused()
    await page.keyboard.type(" before the frost")
    await bar.get_by_role("button", name="Interested", exact=True).click()
    await expect(bar.locator("[aria-pressed=true]")).to_have_text("Interested")
    await tell("ended", call_id="c2", at=moment(60))
    over = page.locator("#calls .ring.over")
    await expect(over).to_contain_text("Talked")
    await expect(note).to_have_value("Wants it before the frost")
    await over.get_by_role("button", name="Save the note").click()
    await expect(page.locator("#toasts")).to_contain_text("Noted")
    await over.get_by_role("button", name=re.compile("Put away")).click()
    await expect(page.locator("#calls .ring")).to_have_count(0)
    await expect(page.locator("#name")).to_have_value("Anna, half a name")
    assert await page.evaluate("window.neverReloaded") is True


async def test_several_calls_stack_and_come_along_into_a_side_sheet(address, page, hub, anna, tell):
    await connect_pbx(hub)
    await _sign_in(page, hub, address, anna)
    async with page.expect_response("**/live*"):
        await page.goto(f"{address}/tasks")
    await page.locator("a[href='/tasks/new']").click()
    await page.locator("#sheet #title").fill("Order gl")
    await tell("ringing", extension="101", at=moment(0))
    await tell("ringing", call_id="c2", **{"from": "+79031112233"}, extension="101", at=moment(1))
    cards = page.locator("#sheet #calls .ring")
    await expect(cards).to_have_count(2)
    await expect(page.locator("#sheet #title")).to_be_focused()
    await page.keyboard.type("ass")
    await expect(page.locator("#sheet #title")).to_have_value("Order glass")
    await page.keyboard.press("Escape")
    await expect(page.locator("body > #calls .ring")).to_have_count(2)


async def test_a_recording_is_played_sought_in_and_played_faster(address, page, hub, anna, tell):
    await connect_pbx(hub)
    await tell("answered", extension="101", at=moment(0))
    await _sign_in(page, hub, address, anna)
    async with page.expect_response("**/live*"):
        await page.goto(f"{address}/calls?show=all")
    row = page.locator("#call-rows tr")
    await expect(row).to_have_count(1)
    await record(hub, int((await row.get_attribute("id") or "").removeprefix("call-")), tones(20))
    await tell("ended", at=moment(30))
    audio = row.locator("audio")
    await expect(audio).to_have_count(1)
    length = await audio.evaluate(
        """async (audio) => {
          audio.muted = true;
          await audio.play();
          audio.pause();
          audio.currentTime = 15;
          await new Promise((done) => audio.addEventListener("seeked", done, { once: true }));
          return [audio.duration, audio.currentTime];
        }"""
    )
    assert length == [20, 15]
    speed = row.locator("[data-speed]")
    for words, rate in (("1.5×", 1.5), ("2×", 2), ("1×", 1)):
        await speed.click()
        await expect(speed).to_have_text(words)
        assert await audio.evaluate("audio => audio.playbackRate") == rate


async def test_a_number_is_called_by_a_click_and_the_page_says_what_happens_now(
    address, page, hub, anna, dialling, tell
):
    await tell("answered", extension="101", at=moment(0))
    await tell("ended", at=moment(40))
    await _sign_in(page, hub, address, anna)
    async with page.expect_response("**/live*"):
        await page.goto(f"{address}/contacts")
    await page.locator("#contact-rows .dial button").click()
    await expect(page.locator("#toasts")).to_contain_text("Your phone 101 rings, then we call +7 916 123-45-67")
    await expect(page.locator("#calls .ring.dials")).to_contain_text("Calling")
