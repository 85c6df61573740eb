"""Signing in and out, and one's own profile."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.staff import audit, sessions
from core.staff.users import Role, User
from hub import auth
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
