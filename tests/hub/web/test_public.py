"""The hosted form, its thanks, the script of a pasted form, and pages for what went wrong."""

from __future__ import annotations

import asyncio
import html
import io
import re
from typing import Any

import pytest
from sqlalchemy import select

from core import connections as stored
from core.connections import Connection
from core.people.contacts import Contact
from core.sales.leads import Lead
from hub.web.snippet import snippet
from tests.conftest import add_webform
from webhooks.deliveries import Delivery

HTML = {"Accept": "text/html,application/xhtml+xml"}


async def _all(hub, model) -> list[Any]:
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def opened(client, form: Connection, query: str = "", **headers: str) -> dict[str, str]:
    """Open the hosted form and return its hidden fields, as a browser without scripts would send them."""
    page = await client.get(f"/f/{form.slug}{query}", headers=HTML | headers)
    assert page.status == 200
    return hidden_of(await page.text())


def hidden_of(text: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', text)
    return {name: html.unescape(value) for name, value in found}


async def send(client, form: Connection, values: dict[str, str], **more: Any):
    return await client.post(f"/f/{form.slug}", data=values, headers=HTML, allow_redirects=False, **more)


async def test_a_form_is_filled_in_without_scripts_and_its_marks_are_kept(client, hub, webform, take_on, drain):
    await take_on("Anna")
    hidden = await opened(
        client, webform, "?utm_source=google&utm_campaign=spring", Referer="https://blog.example/post"
    )
    answer = await send(client, webform, hidden | {"name": "Вера", "phone": "8 (916) 123-45-67", "message": "Окна"})
    assert answer.status == 303
    assert answer.headers["Location"].startswith(f"/f/{webform.slug}/thanks?reference=")
    page = await client.get(answer.headers["Location"], headers=HTML)
    assert (page.status, page.headers["X-Robots-Tag"]) == (200, "noindex")
    assert answer.headers["Location"].partition("reference=")[2] in await page.text()
    await drain()
    (lead,) = await _all(hub, Lead)
    assert lead.message == "Окна"
    assert lead.attribution == {
        "utm_source": "google",
        "utm_campaign": "spring",
        "referrer": "https://blog.example/post",
        "landing_page": f"http://127.0.0.1:8080/f/{webform.slug}?utm_source=google&utm_campaign=spring",
    }


async def test_a_double_click_is_one_request_even_much_later(client, hub, webform, take_on, drain, clock):
    await take_on("Anna")
    values = await opened(client, webform) | {"name": "Vera", "email": "vera@example.com"}
    twice = await asyncio.gather(send(client, webform, values), send(client, webform, values))
    assert len({answer.headers["Location"] for answer in twice}) == 1
    await drain()
    assert len(await _all(hub, Lead)) == len(await _all(hub, Delivery)) == 1


async def test_every_page_view_is_another_request(client, webform):
    assert (await opened(client, webform))["submission_id"] != (await opened(client, webform))["submission_id"]


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"name": "Vera", "message": "Hello"}, ["phone"]),
        ({"name": "Vera", "phone": "12"}, ["phone"]),
        ({"name": "Vera", "email": "vera@"}, ["email"]),
        ({"name": "Vera", "email": "vera@", "phone": "12"}, ["phone", "email"]),
        ({"name": "Vera", "email": "vera@", "phone": "8 916 123-45-67"}, ["email"]),
    ],
)
async def test_a_form_nobody_could_answer_comes_back_as_it_was_typed(values, wrong, client, hub, webform):
    hidden = await opened(client, webform, "?utm_source=google")
    answer = await send(client, webform, hidden | values)
    text = await answer.text()
    assert answer.status == 422
    assert [name for name in ("name", "phone", "email", "message") if f'id="{name}-error"' in text] == wrong
    assert hidden_of(text) == hidden
    for name in ("name", "phone", "email"):
        if values.get(name):
            assert (
                f'name="{name}" type="{ {"phone": "tel", "email": "email"}.get(name, "text") }" value="{values[name]}"'
                in text
            )
    assert values.get("message", "") in text
    assert await _all(hub, Delivery) == []


async def test_a_phone_nobody_can_read_does_not_stop_a_good_address(client, hub, webform, take_on, drain):
    await take_on("Anna")
    values = await opened(client, webform) | {"name": "Vera", "phone": "ask at the gate", "email": "vera@example.com"}
    assert (await send(client, webform, values)).status == 303
    await drain()
    (lead,) = await _all(hub, Lead)
    assert lead.fields == {"phone": "ask at the gate"}


async def test_a_program_that_fills_in_the_trap_is_thanked_and_forgotten(client, hub, webform, take_on, drain):
    await take_on("Anna")
    page = await (await client.get(f"/f/{webform.slug}", headers=HTML)).text()
    assert re.search(r'<div class="trap" aria-hidden="true">.*name="trap" tabindex="-1"', page)
    values = await opened(client, webform) | {"name": "Bot", "phone": "+79161234567", "trap": "http://spam.example"}
    assert (await send(client, webform, values)).status == 303
    await drain()
    assert await _all(hub, Contact) == []


@pytest.mark.parametrize(("asked", "language"), [("ru,en;q=0.5", "ru"), ("en-GB,en", "en"), ("xx", "en"), ("", "en")])
async def test_the_form_speaks_the_visitors_language(asked, language, client, webform):
    page = await client.get(f"/f/{webform.slug}", headers=HTML | {"Accept-Language": asked})
    assert f'<html lang="{language}"' in await page.text()


async def test_a_paused_form_says_so_and_keeps_what_was_typed(client, hub, webform):
    hidden = await opened(client, webform)
    async with hub.database.transaction() as session:
        await stored.pause(session, await stored.get(session, webform.id), "Holidays")
    await hub.switchboard.refresh()
    page = await client.get(f"/f/{webform.slug}", headers=HTML)
    assert (page.status, page.headers["Retry-After"]) == (503, "300")
    assert "Holidays" not in await page.text()
    answer = await send(client, webform, hidden | {"name": "Vera", "email": "vera@example.com"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "300")
    assert 'value="vera@example.com"' in await answer.text()


async def test_a_flood_is_stopped_and_nothing_is_lost_by_the_visitor(client, hub):
    form = await add_webform(hub, rate_per_minute=1)
    values = {"name": "Vera", "email": "vera@example.com"}
    assert (await send(client, form, await opened(client, form) | values)).status == 303
    answer = await send(client, form, await opened(client, form) | values)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "60")
    assert 'value="vera@example.com"' in await answer.text()


async def test_our_own_form_is_taken_whatever_sites_are_listed_and_others_are_not(client, hub, settings):
    form = await add_webform(hub, allowed_origins=["https://shop.example"])
    values = await opened(client, form) | {"name": "Vera", "email": "vera@example.com"}
    own = str(client.make_url("")).rstrip("/")
    url = f"/f/{form.slug}"
    evil = await client.post(url, data=values, headers=HTML | {"Origin": "https://evil.example"}, allow_redirects=False)
    assert evil.status == 403
    good = await client.post(url, data=values, headers=HTML | {"Origin": own}, allow_redirects=False)
    assert good.status == 303


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"{", b"\x00\xff"])
@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"]
)
async def test_nonsense_gets_the_form_again_and_never_a_fault(body, content_type, client, webform):
    headers = HTML | {"Content-Type": content_type}
    answer = await client.post(f"/f/{webform.slug}", data=body, headers=headers, allow_redirects=False)
    assert answer.status in (400, 422)
    assert "data-public" in await answer.text()


async def test_too_much_is_refused_in_words(client, hub, webform):
    body = io.BytesIO(b"email=vera%40example.com&message=" + b"x" * hub.settings.max_body_bytes)
    headers = HTML | {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await client.post(f"/f/{webform.slug}", data=body, headers=headers, allow_redirects=False)
    assert answer.status == 413
    assert "Make it shorter" in await answer.text()


@pytest.mark.parametrize("reference", ["<script>", "a" * 65, "", "../x", "имя"])
async def test_the_thanks_show_nothing_that_is_no_reference(reference, client):
    page = await client.get("/f/thanks", params={"reference": reference}, headers=HTML)
    text = await page.text()
    assert page.status == 200
    assert "Your request:" not in text
    assert "<script>" not in text


@pytest.mark.parametrize("path", ["/f/nothing", "/f/nothing/thanks"])
async def test_a_form_that_is_gone_is_a_page_without_a_way_into_the_workspace(path, client):
    page = await client.get(path, headers=HTML)
    text = await page.text()
    assert page.status == 404
    assert "There is no such page" in text and 'href="/"' not in text


async def test_public_pages_run_no_foreign_script_and_stand_in_no_frame(client, webform):
    page = await client.get(f"/f/{webform.slug}", headers=HTML)
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?![^>]*src=)| style=|javascript:| on[a-z]+=", await page.text())


# the pasted form


def test_the_snippet_is_one_tag_and_a_link_for_those_without_scripts():
    form = Connection(key="k-1", slug="abc", title='Ours & "theirs"')
    assert snippet(form, "https://crm.example.com/") == (
        '<script src="https://crm.example.com/w/k-1.js" async></script>\n'
        '<noscript><a href="https://crm.example.com/f/abc">Ours &amp; &#34;theirs&#34;</a></noscript>'
    )


async def test_any_site_may_load_the_script_and_keep_it_for_a_while(client, hub):
    form = await add_webform(hub, allowed_origins=["https://shop.example"])
    answer = await client.get(f"/w/{form.key}.js", headers={"Origin": "https://shop.example"})
    text = await answer.text()
    assert (answer.status, answer.content_type) == (200, "text/javascript")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert '"origins":["https://shop.example"]' in text and "SETTINGS" not in text
    assert len(text.encode()) < 8192
    again = await client.get(f"/w/{form.key}.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert (await client.head(f"/w/{form.key}.js")).status == 200


async def test_the_script_of_a_form_that_is_gone_breaks_no_page(client):
    answer = await client.get("/w/nothing.js")
    assert (answer.status, answer.content_type) == (404, "text/javascript")


# what went wrong, and what crawlers ask


async def test_a_missing_page_is_a_page_for_people_and_a_problem_for_programs(client):
    page = await client.get("/no/such/page", headers=HTML | {"Accept-Language": "ru"})
    assert (page.status, page.content_type) == (404, "text/html")
    assert '<html lang="ru"' in await page.text()
    problem = await client.get("/no/such/page")
    assert (problem.status, problem.content_type) == (404, "application/problem+json")
    wrong = await client.put("/robots.txt")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET,HEAD")


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_a_fault_of_ours_shows_its_number_and_nothing_else(accept, client, hub, webform):
    await hub.database.engine.dispose()
    async with hub.database.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE workspace RENAME TO hidden_workspace")
    answer = await client.get("/f/thanks", headers={"Accept": accept, "X-Request-Id": "abc123"})
    text = await answer.text()
    assert answer.status == 500
    assert "abc123" in text and "hidden_workspace" not in text and "sqlalchemy" not in text.lower()
    assert answer.content_type == {"text/html": "text/html"}.get(accept, "application/problem+json")


async def test_crawlers_are_kept_to_what_is_public(client):
    answer = await client.get("/robots.txt")
    assert (answer.status, answer.content_type) == (200, "text/plain")
    assert "Disallow: /\n" in await answer.text()


async def test_the_icon_is_there_for_those_who_guess_its_address(client):
    answer = await client.get("/favicon.ico")
    assert (answer.status, answer.content_type) == (200, "image/svg+xml")


@pytest.mark.parametrize("path", ["/sign-in", "/f/thanks", "/robots.txt", "/static/app.css"])
async def test_head_answers_like_get_without_the_page(path, client, take_on):
    await take_on("Anna")
    answer = await client.head(path, headers=HTML)
    assert (answer.status, await answer.read()) == (200, b"")
