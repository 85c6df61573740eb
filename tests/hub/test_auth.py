"""Signing in: who gets in, who does not, how often one may guess, and the link with which it all begins."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from core.kernel.errors import Forbidden, NotFound, Rejected
from core.staff import sessions, tokens, users
from core.staff.audit import AuditEntry
from core.staff.sessions import LASTS, TRIES, TRIES_WITHIN, FailedSignIn, Session
from core.staff.users import Role, User
from hub import auth
from hub.auth import SignInRefused, TooManyTries
from tests.conftest import PASSWORD


@pytest.fixture
async def anna(take_on):
    return await take_on("Anna", password=True)


async def _sign_in(hub, email="anna@example.com", password=PASSWORD, client="10.0.0.1", agent="test"):
    return await auth.sign_in(hub, email=email, password=password, client=client, agent=agent)


async def _resume(hub, token):
    async with hub.database.transaction() as session:
        return await sessions.resume(session, token, at=hub.clock.now())


async def _count(hub, model):
    async with hub.database.reading() as session:
        return await session.scalar(select(func.count()).select_from(model))


async def test_the_right_password_opens_a_session_of_which_only_a_hash_is_kept(hub, anna):
    token = await _sign_in(hub, email=" Anna@Example.COM ")
    found, user = await _resume(hub, token)
    assert user.id == anna.id
    assert token.encode() not in found.token_hash
    async with hub.database.reading() as session:
        stored = str(list((await session.execute(text("SELECT * FROM sessions"))).mappings()))
        password_hash = (await session.get(User, anna.id)).password_hash
    assert token not in stored
    assert password_hash.startswith("$argon2id$") and PASSWORD not in password_hash


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("anna@example.com", "wrong password"),
        ("anna@example.com", ""),
        ("nobody@example.com", PASSWORD),
        ("no address", PASSWORD),
        ("an\x00na@example.com", PASSWORD + "x"),
        ("anna@example.com", "\ud800 broken"),
        ("\ud800@example.com", PASSWORD),
        ("x" * 5000, "y" * 5000),
    ],
)
async def test_anything_else_is_refused_in_the_same_words(hub, anna, email, password):
    with pytest.raises(SignInRefused, match="The e-mail address or the password is wrong"):
        await _sign_in(hub, email=email, password=password, agent="odd \x00 \udcff agent")
    assert await _count(hub, Session) == 0
    async with hub.database.reading() as session:
        assert (await session.scalars(select(AuditEntry.action))).all() == ["session.refused"]


async def test_an_odd_browser_may_sign_in(hub, anna):
    assert await _resume(hub, await _sign_in(hub, agent="odd \x00 \udcff agent"))


async def test_nobody_without_a_password_or_dismissed_gets_in(hub, take_on):
    await take_on("Boris")
    await take_on("Anna", password=True)
    async with hub.database.transaction() as session:
        await session.execute(text("UPDATE users SET is_active = false WHERE name = 'Anna'"))
    for email, password in (("boris@example.com", ""), ("anna@example.com", PASSWORD)):
        with pytest.raises(SignInRefused):
            await _sign_in(hub, email=email, password=password)


async def test_the_time_to_answer_does_not_tell_which_addresses_exist(hub, anna):
    async def took(email):
        began = time.perf_counter()
        with pytest.raises(SignInRefused):
            await _sign_in(hub, email=email, password="wrong password", client=email)
        return time.perf_counter() - began

    known = min([await took("anna@example.com") for _ in range(3)])
    unknown = min([await took("nobody@example.com") for _ in range(3)])
    assert unknown > known / 2


async def test_an_address_is_guessed_at_a_few_times_and_free_again_later(hub, anna, clock):
    for _ in range(TRIES):
        with pytest.raises(SignInRefused):
            await _sign_in(hub, password="wrong password", client="1.1.1.1")
    with pytest.raises(TooManyTries) as waits:
        await _sign_in(hub, email="ANNA@example.com", client="2.2.2.2")
    assert 0 < waits.value.wait <= TRIES_WITHIN.total_seconds() + 1
    clock.advance(timedelta(seconds=waits.value.wait))
    assert await _sign_in(hub)


async def test_a_machine_guesses_a_few_times_whatever_the_address(hub, anna, clock):
    async with hub.database.transaction() as session:
        for number in range(TRIES * 4):
            await sessions.note_failure(session, email=f"u{number}@x.com", client="6.6.6.6", at=clock.now())
    with pytest.raises(TooManyTries):
        await _sign_in(hub, client="6.6.6.6")
    assert await _sign_in(hub, client="7.7.7.7")


async def test_guessing_many_at_once_gains_nothing(hub, anna):
    outcomes = await asyncio.gather(
        *(_sign_in(hub, password=f"wrong password {n}") for n in range(20)), return_exceptions=True
    )
    tried = sum(isinstance(outcome, SignInRefused) for outcome in outcomes)
    assert TRIES <= tried <= TRIES + 1  # two are looked at side by side
    assert sum(isinstance(outcome, TooManyTries) for outcome in outcomes) == 20 - tried


async def test_old_failures_are_forgotten(hub, clock):
    async with hub.database.transaction() as session:
        await sessions.note_failure(session, email="a@x.com", client="c", at=clock.now())
    clock.advance(3 * TRIES_WITHIN)
    async with hub.database.transaction() as session:
        await sessions.note_failure(session, email="b@x.com", client="c", at=clock.now())
    assert await _count(hub, FailedSignIn) == 2


# --- sessions ---


async def test_a_session_lasts_while_it_is_used(hub, anna, clock):
    token = await _sign_in(hub)
    for _ in range(5):
        clock.advance(LASTS - timedelta(seconds=1))
        assert await _resume(hub, token)
    clock.advance(LASTS)
    assert await _resume(hub, token) is None


async def test_reading_pages_does_not_write(hub, anna, clock):
    token = await _sign_in(hub)
    clock.advance(timedelta(minutes=59))
    (found, _) = await _resume(hub, token)
    assert found.expires_at == clock.now() + LASTS - timedelta(minutes=59)


async def test_a_session_ends_at_once_when_it_is_revoked_or_its_owner_dismissed(hub, anna, take_on):
    boris = await take_on("Boris", password=True)
    first, second = await _sign_in(hub), await _sign_in(hub)
    his = await _sign_in(hub, email="boris@example.com")
    (found, _) = await _resume(hub, first)
    async with hub.database.transaction() as session:
        with pytest.raises(NotFound):
            await sessions.end(session, found.id, user_id=boris.id)
        await sessions.end(session, found.id, user_id=anna.id)
    assert await _resume(hub, first) is None
    assert await _resume(hub, second)
    async with hub.database.transaction() as session:
        await users.dismiss(session, await users.get(session, anna.id), at=hub.clock.now())
    assert await _resume(hub, second) is None
    assert await _resume(hub, his)
    async with hub.database.transaction() as session:
        await sessions.end_all(session, boris.id)
    assert await _resume(hub, his) is None


async def test_an_unknown_cookie_is_nobodys(hub, anna):
    await _sign_in(hub)
    assert await _resume(hub, "made up") is None


def test_a_page_that_is_not_ours_cannot_change_anything():
    auth.check_csrf("right", "right")
    for given in ("", "wrong", "right ", "прав"):
        with pytest.raises(Forbidden):
            auth.check_csrf(given, "right")


@pytest.mark.parametrize("password", ["short", "x" * 9, "x" * 1001])
async def test_a_password_has_a_sensible_length(password):
    with pytest.raises(Rejected) as refused:
        await auth.hash_password(password)
    assert refused.value.field == "password"


# --- tokens ---


async def test_a_token_opens_until_it_is_revoked_or_its_owner_dismissed(hub, anna):
    async with hub.database.transaction() as session:
        token, secret = await tokens.create(session, user_id=anna.id, at=hub.clock.now())
        _, other = await tokens.create(session, user_id=anna.id, at=hub.clock.now())
        assert (await tokens.authenticate(session, secret))[1].id == anna.id
        assert secret.startswith(tokens.PREFIX) and secret.encode() not in token.token_hash
        await tokens.revoke(session, token.id, at=hub.clock.now())
        assert await tokens.authenticate(session, secret) is None
        assert await tokens.authenticate(session, other)
        await users.dismiss(session, await users.get(session, anna.id), at=hub.clock.now())
        await session.flush()
        assert await tokens.authenticate(session, other) is None
        assert await tokens.authenticate(session, "swy_made_up") is None


# --- the link with which it all begins ---

OWNER = {"email": "olga@example.com", "name": "Olga", "password": PASSWORD, "client": "c", "agent": "a"}


async def _link(hub):
    link = await auth.make_setup_link(hub)
    return link.partition("token=")[2]


async def test_the_link_makes_the_owner_once(hub):
    token = await _link(hub)
    cookie = await auth.set_up(hub, token=token, company={"name": "Windows Ltd"}, **OWNER)
    assert (await _resume(hub, cookie))[1].role == Role.OWNER
    with pytest.raises(Forbidden):
        await auth.set_up(hub, token=token, company={}, **OWNER | {"email": "second@example.com"})
    assert await auth.make_setup_link(hub) is None
    assert await _count(hub, User) == 1


async def test_of_two_at_once_one_becomes_the_owner(hub):
    token = await _link(hub)
    outcomes = await asyncio.gather(
        *(auth.set_up(hub, token=token, company={}, **OWNER | {"email": f"o{n}@example.com"}) for n in range(2)),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Forbidden", "str"]
    assert await _count(hub, User) == 1


@pytest.mark.parametrize("why", ["expired", "made up", "replaced", "somebody is there"])
async def test_a_link_that_is_not_good_makes_nobody(hub, clock, take_on, why):
    token = await _link(hub)
    if why == "expired":
        clock.advance(auth.SETUP_LINK_LASTS + timedelta(seconds=1))
    elif why == "replaced":
        assert await _link(hub) != token
    elif why == "somebody is there":
        await take_on("Anna")
    else:
        token = "made up"
    before = await _count(hub, User)
    with pytest.raises(Forbidden):
        await auth.set_up(hub, token=token, company={}, **OWNER)
    assert await _count(hub, User) == before


async def test_a_mistake_while_setting_up_does_not_use_the_link_up(hub):
    token = await _link(hub)
    for wrong in ({"email": "no address"}, {"password": "short"}, {"name": " "}):
        with pytest.raises(Rejected):
            await auth.set_up(hub, token=token, company={}, **OWNER | wrong)
    await auth.set_up(hub, token=token, company={}, **OWNER)
