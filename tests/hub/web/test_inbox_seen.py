"""The inbox as somebody sees it: in a real browser that may not complain, on a page that is never reloaded."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import expect

from core.staff.users import Role
from core.talk import canned, conversations, viewings
from core.talk.conversations import Conversation, Message
from tests.hub.web.test_inbox import Talks, talks
from tests.scenarios.test_a_request_seen import _sign_in, address, page

__all__ = ["address", "page", "talks"]  # fixtures

pytestmark = pytest.mark.browser


@pytest.fixture
async def anna(take_on):
    return await take_on("Anna", password=True)


@pytest.fixture
async def opened(hub, talks, anna, address, page):
    """Vera's conversation, open before Anna."""
    talk = await talks.begin("Vera", assignee=anna, words="Do you have white windows?")
    talks.provider.answers(
        "POST",
        "/bot.*/sendMessage",
        json={"ok": True, "result": {"message_id": 7, "date": 1, "chat": {"id": 5012345678, "type": "private"}}},
    )
    await _sign_in(page, hub, address, anna)
    async with page.expect_response("**/live*"):
        await page.goto(f"{address}/conversations/{talk.id}")
    await page.evaluate("window.neverReloaded = true")
    return talk


async def _say(hub: Any, talks: Talks, talk: Conversation, words: str) -> None:
    """Have the customer write, as intake does."""
    from core.kernel import events

    message = await talks.write(talk, words)
    async with hub.database.transaction() as session:
        found = await session.get_one(Conversation, talk.id)
        found.unread += 1
        found.last_message_text, found.last_message_at = words, hub.clock.now()
        found.version += 1
        await events.record(
            session,
            "message.received",
            hub.clock.now(),
            contact_id=talk.contact_id,
            conversation_id=talk.id,
            message_id=message.id,
            user_id=talk.assignee_id,
        )


async def test_what_the_customer_writes_appears_while_the_answer_is_being_typed_and_the_answer_shows_its_ticks(
    hub, talks, opened, page
):
    await page.locator("#text").fill("Yes, and in three")
    await _say(hub, talks, opened, "Or grey ones?")
    await expect(page.locator("#thread")).to_contain_text("Or grey ones?")
    await expect(page.locator("#text")).to_have_value("Yes, and in three")
    await expect(page.locator(f"#conversation-{opened.id}")).to_contain_text("Or grey ones?")
    await page.locator("#text").press("End")
    await page.keyboard.type(" shades of grey")
    await page.keyboard.press("Control+Enter")
    ours = page.locator("#thread .bubble.ours")
    await expect(ours).to_contain_text("Yes, and in three shades of grey")
    await expect(page.locator("#text")).to_have_value("")
    await expect(ours.locator(".tick-state.sent")).to_be_visible()
    assert await page.evaluate("window.neverReloaded") is True


async def test_opening_marks_it_read(hub, opened, address, page):
    await expect(page.locator(f"#conversation-{opened.id}.is-unread")).to_have_count(0)
    async with hub.database.reading() as session:
        assert (await session.get_one(Conversation, opened.id)).unread == 0


async def test_a_draft_survives_going_elsewhere_and_reloading(hub, talks, opened, anna, page):
    other = await talks.begin("Petr", assignee=anna, peer="77", words="Hm")
    await page.locator("#text").fill("Half a thought")
    await page.reload()
    await expect(page.locator("#text")).to_have_value("Half a thought")
    await page.evaluate("window.neverReloaded = true")
    await page.locator(f"#conversation-{other.id} a").click()
    await expect(page.locator(".talk-head h2")).to_have_text("Petr")
    await expect(page).to_have_url(re.compile(f"/conversations/{other.id}$"))
    await expect(page.locator("#text")).to_have_value("")
    await page.go_back()
    await expect(page.locator(".talk-head h2")).to_have_text("Vera")
    await expect(page.locator("#text")).to_have_value("Half a thought")
    assert await page.evaluate("window.neverReloaded") is True


async def test_a_canned_reply_is_chosen_by_the_keyboard(hub, opened, page, anna):
    async with hub.database.transaction() as session:
        for shortcut, text in (("bye", "Goodbye"), ("hi", "{name}, hello"), ("hours", "We are open from nine")):
            await canned.add(session, shortcut=shortcut, text=text, at=hub.clock.now(), actor_id=anna.id)
    await page.keyboard.press("r")
    await expect(page.locator("#text")).to_be_focused()
    await page.keyboard.type("Well, /h")
    await expect(page.locator("#canned [role=option]")).to_have_count(2)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator("#text")).to_have_value("Well, We are open from nine")


async def test_keys_write_a_note_and_resolve(hub, opened, page):
    await page.keyboard.press("n")
    await page.keyboard.type("She is in a hurry")
    await expect(page.locator("#composer")).to_have_class(re.compile("is-note"))
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#thread .bubble.note")).to_contain_text("She is in a hurry")
    await page.keyboard.press("Escape")
    await page.keyboard.press("e")
    await expect(page.locator(".talk-head")).to_contain_text("Resolved")
    await expect(page.locator("#thread .system-line")).to_contain_text("Resolved")
    await page.locator("#toasts [data-undo]").click()
    await expect(page.locator(".talk-head")).not_to_contain_text("Resolved")


async def test_a_refused_answer_keeps_what_was_typed_and_says_why(hub, opened, page):
    await page.locator("#text").fill("In the past")
    await page.locator("#later summary").click()
    await page.locator("#send_at").fill("2020-01-01T10:00")
    await page.locator("#send").click()
    await expect(page.locator("#send_at-error")).to_contain_text("Choose a time from now on")
    await expect(page.locator("#text")).to_have_value("In the past")


async def test_files_are_uploaded_sent_and_shown(hub, talks, opened, page):
    from PIL import Image

    talks.provider.answers(
        "POST",
        "/bot.*/sendPhoto",
        json={"ok": True, "result": {"message_id": 8, "date": 1, "chat": {"id": 5012345678, "type": "private"}}},
    )
    content = io.BytesIO()
    Image.new("RGB", (40, 30), (10, 120, 200)).save(content, "PNG")
    await page.locator("#files").set_input_files(
        [
            {"name": "plan.png", "mimeType": "image/png", "buffer": content.getvalue()},
            {"name": "x.txt", "mimeType": "text/plain", "buffer": b"x"},
        ]
    )
    await expect(page.locator("#attached input[name=attachment_ids]")).to_have_count(2)
    await page.locator("#attached li", has_text="x.txt").get_by_role("button").click()
    await page.locator("#send").click()
    await expect(page.locator("#thread .bubble.ours .picture img")).to_be_visible()
    await expect(page.locator("#attached li")).to_have_count(0)
    await page.locator("#thread .picture").click()
    await expect(page.locator("#viewer img")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#viewer")).to_be_hidden()


async def test_a_letter_is_as_high_as_what_is_in_it_and_its_remote_pictures_wait_to_be_asked_for(
    hub, talks, anna, address, page
):
    talk = await talks.begin("Vera", assignee=anna)
    asked: list[str] = []
    talks.provider.does("GET", "/tracker.png", lambda request: asked.append(request.path) or _picture())
    html = (
        f'<div style="height:700px;background-color:#eee">Tall</div><img data-src="{talks.provider.url}/tracker.png">'
    )
    await talks.write(talk, "Tall", html=html)
    await _sign_in(page, hub, address, anna)
    await page.goto(f"{address}/conversations/{talk.id}")
    picture = page.frame_locator("iframe.letter").locator("img")
    await expect(picture).to_be_attached()
    height = await page.evaluate(
        """async () => {
          const frame = document.querySelector("iframe.letter");
          if (frame.clientHeight < 700) await new Promise((done) => frame.addEventListener("load", done));
          return frame.clientHeight;
        }"""
    )
    assert height > 700 and not asked
    await page.get_by_role("link", name="Show pictures").click()
    await expect(picture).to_have_js_property("naturalWidth", 1)
    assert asked == ["/tracker.png"]


def _picture() -> Any:
    from aiohttp import web
    from PIL import Image

    content = io.BytesIO()
    Image.new("RGB", (1, 1)).save(content, "PNG")
    return web.Response(body=content.getvalue(), content_type="image/png")


async def test_one_message_of_many_is_answered(opened, page):
    bubble = page.locator("#thread .bubble").first
    await bubble.hover()
    await bubble.get_by_role("button", name="Answer this message").click()
    await expect(page.locator("#answered-to")).to_contain_text("white windows")
    await page.keyboard.type("We do")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#thread .bubble.ours .answers")).to_contain_text("white windows")
    await expect(page.locator("#answered-to")).to_be_hidden()


async def test_who_else_writes_here_is_seen(hub, talks, opened, take_on, page):
    boris = await take_on("Boris", Role.OWNER)
    async with hub.database.transaction() as session:
        await viewings.note(session, opened.id, boris.id, is_writing=True, at=hub.clock.now())
    await page.locator("#text").fill("x")
    await expect(page.locator("#present")).to_contain_text("Boris is writing")


async def test_earlier_messages_are_put_above_and_the_reader_stays_where_they_were(hub, talks, anna, address, page):
    talk = await talks.begin("Vera", assignee=anna, words="number 0.")
    async with hub.database.transaction() as session:
        session.add_all(
            Message(
                conversation_id=talk.id,
                contact_id=talk.contact_id,
                connection_id=talk.connection_id,
                direction="inbound",
                text=f"number {number}.",
                occurred_at=hub.clock.now() + timedelta(seconds=number),
                created_at=hub.clock.now(),
            )
            for number in range(1, 251)
        )
    await _sign_in(page, hub, address, anna)
    await page.goto(f"{address}/conversations/{talk.id}")
    await expect(page.locator("#thread .bubble").last).to_be_in_viewport()
    await page.locator("#earlier a").click()
    await expect(page.locator(".earlier-part .bubble")).to_have_count(51)
    await expect(page.locator("#earlier")).to_have_count(0)
    await _say(hub, talks, talk, "the newest")
    await expect(page.locator("#thread")).to_contain_text("the newest")
    await expect(page.locator(".earlier-part .bubble")).to_have_count(51)


async def test_on_a_phone_one_pane_shows_at_a_time(hub, opened, address, page):
    await page.set_viewport_size({"width": 360, "height": 740})
    await expect(page.locator("#inbox-list")).to_be_hidden()
    await page.locator(".show-contact").click()
    await expect(page.locator("#contact-card")).to_be_in_viewport()
    await page.locator(".pane-back").click()
    await expect(page.locator("#contact-card")).to_be_hidden()
    await page.locator(".list-back").click()
    await expect(page.locator("#inbox-list")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.locator(f"#conversation-{opened.id} a").click()
    await expect(page.locator("#composer")).to_be_in_viewport()


async def test_a_conversation_that_comes_appears_in_the_list_and_one_that_was_resolved_leaves_it(
    hub, talks, opened, anna, page
):
    async with hub.database.transaction() as session:
        found = await session.get_one(Conversation, opened.id)
        await conversations.resolve(session, found, at=hub.clock.now(), actor_id=anna.id)
    await expect(page.locator(f"#conversation-{opened.id}")).to_have_count(0)
    await expect(page.locator(".talk-head h2")).to_have_text("Vera")  # whoever reads it goes on reading
