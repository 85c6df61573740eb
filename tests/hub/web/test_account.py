"""Signing in and out, one's own profile, and the first run."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import select

from core.connections import Connection
from core.sales.leads import Lead
from core.sales.pipelines import LostReason, Stage, StageRule
from core.staff import access, audit, sessions, users, workspace
from core.staff.users import Role, User
from hub import auth
from hub.app import open_hub
from hub.http import make_app
from hub.web import places
from hub.web.account import browser_name
from hub.web.visits import local_path
from tests.conftest import PASSWORD

HTML = {"Accept": "text/html"}


async def sign_in(client, email="anna@example.com", password=PASSWORD, **more: Any):
    form = {"email": email, "password": password, **more.pop("form", {})}
    return await client.post("/sign-in", data=form, allow_redirects=False, headers=HTML | more.pop("headers", {}))


def cookie_of(answer) -> Any:
    return answer.cookies[auth.COOKIE]


async def test_the_start_page_of_an_empty_database_tells_about_the_set_up_link(client):
    answer = await client.get("/profile", headers=HTML, allow_redirects=True)
    assert str(answer.url.path) == "/"
    text = await answer.text()
    assert "one-time link" in text and "Restart Switchyard" in text


async def test_nobody_is_sent_to_the_sign_in_and_comes_back(client, take_on):
    await take_on("Anna", password=True)
    start = await client.get("/profile?a=1", headers=HTML, allow_redirects=False)
    assert (start.status, start.headers["Location"]) == (303, "/sign-in?next=%2Fprofile%3Fa%3D1")
    page = await client.get(start.headers["Location"], headers=HTML)
    assert 'name="next" value="/profile?a=1"' in await page.text()
    answer = await sign_in(client, form={"next": "/profile?a=1"})
    assert (answer.status, answer.headers["Location"]) == (303, "/profile?a=1")
    assert (await client.get("/profile", headers=HTML)).status == 200
    assert (await client.get("/sign-in", headers=HTML, allow_redirects=False)).headers["Location"] == "/"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/deals/7?tab=notes", "/deals/7?tab=notes"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
        ("\\\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("//[", "/"),
        ("", "/"),
    ],
)
async def test_only_our_own_addresses_are_gone_back_to(given, kept, client, take_on):
    assert local_path(given) == kept
    await take_on("Anna", password=True)
    assert (await sign_in(client, form={"next": given})).headers["Location"] == kept


async def test_a_wrong_password_is_told_and_the_address_kept(client, take_on):
    await take_on("Anna", password=True)
    for email in ("anna@example.com", "nobody@example.com"):
        answer = await sign_in(client, email=email, password="wrong wrong wrong")
        text = await answer.text()
        assert answer.status == 401
        assert auth.COOKIE not in answer.cookies
        assert "The e-mail address or the password is wrong" in text
        assert f'value="{email}"' in text
        assert "wrong wrong" not in text


async def test_russian_browsers_get_the_form_in_russian(client, take_on):
    await take_on("Anna", password=True)
    page = await client.get("/sign-in", headers=HTML | {"Accept-Language": "ru-RU,ru;q=0.9,en;q=0.8"})
    assert '<html lang="ru"' in await page.text()


async def test_guessing_is_slowed_down(client, take_on, clock):
    await take_on("Anna", password=True)
    for _ in range(sessions.TRIES):
        assert (await sign_in(client, password="wrong wrong wrong")).status == 401
    answer = await sign_in(client)
    assert answer.status == 429
    assert answer.headers["Retry-After"] == str(int(sessions.TRIES_WITHIN.total_seconds()) + 1)
    assert "Try again in 15 min" in await answer.text()
    clock.advance(sessions.TRIES_WITHIN + timedelta(seconds=2))
    assert (await sign_in(client)).status == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8080"}, 303),
        ({"Referer": "https://evil.example/x"}, 403),
        ({"Referer": "http://127.0.0.1:8080/sign-in"}, 303),
    ],
)
async def test_another_site_cannot_sign_a_visitor_in(headers, status, client, take_on):
    await take_on("Anna", password=True)
    answer = await sign_in(client, headers=headers)
    assert answer.status == status
    assert (auth.COOKIE in answer.cookies) == (status == 303)


async def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(client, take_on):
    await take_on("Anna", password=True)
    cookie = cookie_of(await sign_in(client))
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Lax", "/", "")


@pytest.fixture
async def secure_client(settings, database_url, clock):
    async with (
        open_hub(settings, database_url, clock=clock, public_url="https://crm.example.com") as hub,
        TestClient(TestServer(make_app(hub))) as opened,
    ):
        yield opened


async def test_where_the_workspace_is_on_https_the_cookie_insists_on_it(secure_client, take_on):
    await take_on("Anna", password=True)
    assert cookie_of(await sign_in(secure_client))["secure"] is True


async def csrf(client, path="/profile") -> str:
    found = re.search(r'data-csrf="([^"]+)"', await (await client.get(path, headers=HTML)).text())
    assert found, path
    return found[1]


async def test_signing_out_ends_the_session_for_good(client, hub, take_on):
    await take_on("Anna", password=True)
    token = cookie_of(await sign_in(client)).value
    refused = await client.post("/sign-out", headers=HTML)
    assert refused.status == 403
    answer = await client.post(
        "/sign-out", data={"csrf_token": await csrf(client)}, headers=HTML, allow_redirects=False
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in")
    client.session.cookie_jar.update_cookies({auth.COOKIE: token})
    assert (await client.get("/profile", headers=HTML, allow_redirects=False)).status == 303
    async with hub.database.reading() as session:
        actions = list(await session.scalars(select(audit.AuditEntry.action)))
    assert actions.count("session.created") == actions.count("session.ended") == 1


async def test_a_profile_is_changed_and_the_next_page_is_in_the_new_language(client, hub, take_on):
    anna = await take_on("Anna", password=True)
    await sign_in(client)
    form = {"name": "Анна", "language": "ru", "time_zone": "Asia/Omsk", "csrf_token": await csrf(client)}
    answer = await client.post("/profile", data=form, headers=HTML)
    assert (answer.status, '<html lang="ru"' in await answer.text()) == (200, True)
    async with hub.database.reading() as session:
        user = await session.get(User, anna.id)
    assert (user.name, user.language, user.time_zone, user.settings["mail"]) == ("Анна", "ru", "Asia/Omsk", False)


async def test_what_is_wrong_in_a_profile_is_told_by_field_and_nothing_is_changed(client, hub, take_on):
    anna = await take_on("Anna", password=True)
    await sign_in(client)
    form = {"name": " ", "language": "xx", "time_zone": "Mars/Olympus", "csrf_token": await csrf(client)}
    answer = await client.post("/profile", data=form, headers=HTML)
    text = await answer.text()
    assert answer.status == 422
    assert all(f'id="{name}-error"' in text for name in ("name", "language", "time_zone"))
    async with hub.database.reading() as session:
        assert (await session.get(User, anna.id)).name == "Anna"


async def test_a_theme_is_remembered(client, take_on):
    await take_on("Anna", password=True)
    await sign_in(client)
    headers = {"X-CSRF-Token": await csrf(client), "HX-Request": "true"}
    assert (await client.post("/profile/theme", data={"theme": "dark"}, headers=headers)).status == 204
    assert 'data-theme="dark"' in await (await client.get("/profile", headers=HTML)).text()
    assert (await client.post("/profile/theme", data={"theme": "pink"}, headers=headers)).status == 422


async def test_another_browser_is_signed_out_from_the_profile_but_nobody_elses(client, hub, take_on):
    anna, boris = await take_on("Anna", password=True), await take_on("Boris", password=True)
    await sign_in(client)
    async with hub.database.transaction() as session:
        other, other_token = await sessions.start(
            session, anna, at=hub.clock.now(), client="10.0.0.7", agent="Firefox/130"
        )
        foreign, _ = await sessions.start(session, boris, at=hub.clock.now(), client="10.0.0.8", agent="")
    form = {"csrf_token": await csrf(client)}
    page = await client.post(f"/profile/sessions/{other.id}/revocation", data=form, headers=HTML)
    text = await page.text()
    assert page.status == 200
    assert text.count("/revocation") == 0
    assert (await client.post(f"/profile/sessions/{foreign.id}/revocation", data=form, headers=HTML)).status == 404
    async with hub.database.reading() as session:
        assert await sessions.resume(session, other_token, at=hub.clock.now()) is None
        assert [kept.id for kept in await sessions.of_user(session, boris.id)] == [foreign.id]


async def change_password(client, old: str, new: str):
    form = {"current_password": old, "new_password": new, "csrf_token": await csrf(client)}
    return await client.post("/profile/password", data=form, headers=HTML)


async def test_a_new_password_ends_the_other_sessions_and_the_old_password(client, hub, take_on):
    anna = await take_on("Anna", password=True)
    await sign_in(client)
    async with hub.database.transaction() as session:
        _, other = await sessions.start(session, anna, at=hub.clock.now(), client="10.0.0.7", agent="")
    answer = await change_password(client, PASSWORD, "another long one")
    assert answer.status == 200
    assert "Your password is changed" in await answer.text()
    async with hub.database.reading() as session:
        assert await sessions.resume(session, other, at=hub.clock.now()) is None
    client.session.cookie_jar.clear()
    assert (await sign_in(client)).status == 401
    assert (await sign_in(client, password="another long one")).status == 303


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [("wrong wrong wrong", "another long one", "current_password"), (PASSWORD, "short", "new_password")],
)
async def test_a_password_that_may_not_be_changed_stays(old, new, field, client, take_on):
    await take_on("Anna", password=True)
    await sign_in(client)
    answer = await change_password(client, old, new)
    assert answer.status == 422
    assert f'id="{field}-error"' in await answer.text()
    client.session.cookie_jar.clear()
    assert (await sign_in(client)).status == 303


async def test_the_present_password_cannot_be_guessed_from_a_browser_left_open(client, take_on):
    await take_on("Anna", password=True)
    await sign_in(client)
    for _ in range(sessions.TRIES):
        assert (await change_password(client, "wrong wrong wrong", "another long one")).status == 422
    answer = await change_password(client, PASSWORD, "another long one")
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari, iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", ""),
    ],
)
def test_browsers_are_called_as_people_call_them(agent, name):
    assert browser_name(agent) == name


OWNER = {
    "company": "Окна плюс",
    "name": "Olga",
    "email": "olga@example.com",
    "password": PASSWORD,
    "country": "EE",
    "time_zone": "",
    "currency": "",
    "language": "en",
}


async def setup_token(hub) -> str:
    link = await auth.make_setup_link(hub)
    assert link is not None
    return link.partition("token=")[2]


async def test_the_set_up_link_makes_the_owner_and_leads_to_the_first_channel(client, hub):
    token = await setup_token(hub)
    page = await client.get(f"/setup?token={token}", headers=HTML)
    assert page.status == 200
    assert f'name="token" value="{token}"' in await page.text()
    answer = await client.post("/setup", data=OWNER | {"token": token}, headers=HTML, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/setup/channel")
    async with hub.database.reading() as session:
        company = await workspace.get(session)
        (owner,) = list(await session.scalars(select(User)))
        rights = await access.of(session, owner)
    assert (company.name, company.country, company.time_zone, company.currency) == (
        "Окна плюс",
        "EE",
        "Europe/Tallinn",
        "EUR",
    )
    assert (owner.role, len(rights.team_ids), rights.led_team_ids) == (Role.OWNER, 1, ())
    channel = await client.get("/setup/channel", headers=HTML)
    text = await channel.text()
    again = await (await client.get("/setup/channel", headers=HTML)).text()
    form_url = re.search(r"http://127\.0\.0\.1:8080/f/[0-9a-f]+", text)
    assert form_url and form_url[0] in again
    assert 'data-live="lead"' in text and "Waiting for the first request" in text
    async with hub.database.reading() as session:
        (connection,) = list(await session.scalars(select(Connection)))
    assert (connection.kind, connection.rate_per_minute, connection.default_country) == ("webform", 600, "EE")


async def test_what_the_workspace_begins_with_is_in_the_company_s_language(client, hub):
    async with hub.database.transaction() as session:
        stage = await session.scalar(select(Stage).where(Stage.name == "Payment"))
        stage.name = "Invoice"
    form = OWNER | {"language": "ru", "token": await setup_token(hub)}
    await client.post("/setup", data=form, headers=HTML, allow_redirects=False)
    async with hub.database.reading() as session:
        stages = list(await session.scalars(select(Stage.name).order_by(Stage.position)))
        (rule,) = list(await session.scalars(select(StageRule.title)))
        reasons = list(await session.scalars(select(LostReason.name).order_by(LostReason.position)))
    assert stages[0] == "Первый звонок" and stages[-2:] == ["Выиграна", "Проиграна"]
    assert "Invoice" in stages, "what somebody has called it themselves stays"
    assert (rule, reasons[0]) == ("Перезвонить", "Дорого")


async def test_a_refusal_is_in_the_reader_s_language_with_its_values(client, hub, take_on):
    await take_on("Anna", Role.OWNER, password=True, language="ru")
    await sign_in(client)
    form = {"current_password": PASSWORD, "new_password": "short", "csrf_token": await csrf(client)}
    answer = await client.post("/profile/password", data=form, headers=HTML)
    assert "В пароле должно быть не меньше 10 знаков" in await answer.text()


async def test_the_first_request_goes_to_the_owner_and_shows_on_the_page_of_the_first_channel(client, hub, drain):
    await client.post("/setup", data=OWNER | {"token": await setup_token(hub)}, headers=HTML, allow_redirects=False)
    await client.get("/setup/channel", headers=HTML)
    async with hub.database.reading() as session:
        slug = await session.scalar(select(Connection.slug))
    await hub.switchboard.refresh()
    sent = await client.post(f"/f/{slug}", data={"name": "Vera", "phone": "5123 4567"}, headers=HTML)
    assert sent.status == 200
    await drain()
    part = await client.get("/setup/channel", headers={"HX-Request": "true"})
    text = await part.text()
    assert text.lstrip().startswith('<div id="first-request"')
    assert "It works." in text and "Vera" in text
    async with hub.database.reading() as session:
        assert await session.scalar(select(Lead.owner_id)) == await session.scalar(select(User.id))


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"company": " "}, ["company"]),
        ({"name": "", "email": "olga"}, ["name", "email"]),
        ({"password": "short"}, ["password"]),
        ({"country": "XX", "time_zone": "Mars/Olympus", "currency": "???", "language": "xx"},
         ["country", "time_zone", "currency", "language"]),
    ],
)  # fmt: skip
async def test_what_is_wrong_in_the_set_up_is_told_by_field_and_the_rest_kept(wrong, fields, client, hub):
    token = await setup_token(hub)
    answer = await client.post("/setup", data=OWNER | wrong | {"token": token}, headers=HTML)
    text = await answer.text()
    assert answer.status == 422
    for field in fields:
        assert f'id="{field}-error"' in text
    assert text.count('class="error"') == len(fields)
    assert PASSWORD not in text
    for name in {"company", "name", "email"} - wrong.keys():
        assert f'value="{OWNER[name]}"' in text
    async with hub.database.reading() as session:
        assert await users.count(session) == 0


async def test_two_who_open_the_link_at_once_make_one_owner(client, hub):
    token = await setup_token(hub)
    posts = [
        client.post("/setup", data=OWNER | {"token": token, "email": f"o{n}@example.com"}, allow_redirects=False)
        for n in range(2)
    ]
    assert sorted([answer.status for answer in await asyncio.gather(*posts)]) == [303, 410]
    async with hub.database.reading() as session:
        assert await users.count(session) == 1


@pytest.mark.parametrize("case", ["wrong", "none", "expired", "used"])
async def test_a_link_that_does_not_work_says_so(case, client, hub, clock, take_on):
    token = await setup_token(hub)
    if case == "expired":
        clock.advance(auth.SETUP_LINK_LASTS + timedelta(seconds=1))
    elif case == "used":
        await take_on("Anna")
    asked = {"wrong": "nonsense", "none": "", "expired": token, "used": token}[case]
    for answer in (
        await client.get("/setup", params={"token": asked}, headers=HTML),
        await client.post("/setup", data=OWNER | {"token": asked}, headers=HTML),
    ):
        text = await answer.text()
        assert answer.status == 410
        assert ("Somebody has set this workspace up already" if case == "used" else "it prints a fresh link") in text
    async with hub.database.reading() as session:
        assert await users.count(session) == (1 if case == "used" else 0)


async def test_only_those_who_manage_make_the_first_channel(client, take_on):
    await take_on("Anna", password=True)
    await sign_in(client)
    assert (await client.get("/setup/channel", headers=HTML)).status == 403


@pytest.mark.parametrize(
    ("country", "zone", "currency"),
    [
        ("RU", "Europe/Moscow", "RUB"),
        ("AM", "Asia/Yerevan", "AMD"),
        ("SI", "Europe/Ljubljana", "EUR"),
        ("XX", "UTC", "EUR"),
    ],
)
def test_a_country_proposes_its_time_zone_and_currency(country, zone, currency):
    assert (places.zone_of(country), places.currency_of(country)) == (zone, currency)


@pytest.mark.parametrize(
    ("languages", "country"),
    [("ru-EE,ru;q=0.9", "EE"), ("ru,en-US;q=0.8", "US"), ("en", ""), ("zh-Hant", ""), ("", "")],
)
def test_a_browser_names_its_country_by_its_languages(languages, country):
    assert places.country_of(languages) == country
