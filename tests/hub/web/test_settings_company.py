"""The company's own page: what everybody's defaults are, changed by those who may."""

from __future__ import annotations

import asyncio

import pytest

from core.staff import workspace
from core.staff.audit import AuditEntry
from core.staff.users import Role

HERE = "/settings/company"
FORM = {
    "name": "Окна плюс",
    "country": "EE",
    "currency": "EUR",
    "time_zone": "Europe/Tallinn",
    "language": "ru",
}


@pytest.fixture
async def owner(take_on, browser_of):
    return await browser_of(await take_on("Elena", Role.OWNER, password=True))


@pytest.fixture
async def company(hub):
    async def read() -> workspace.Workspace:
        async with hub.database.reading() as session:
            return await workspace.get(session)

    return read


async def test_what_is_changed_holds_and_is_written_down_once(owner, company, all_of):
    assert 'value="RU" selected' in (await owner.get(HERE)).text
    for _ in range(2):
        answer = await owner.post_plainly(HERE, **FORM, merges_attested="yes")
        assert (answer.status, answer.headers["Location"]) == (303, f"{HERE}?saved=yes")
    found = await company()
    assert {name: getattr(found, name) for name in FORM} == FORM
    assert found.merges_attested
    assert found.schedule["time_zone"] == "Europe/Tallinn", "hours that were counted in the old time zone follow it"
    [entry] = [entry for entry in await all_of(AuditEntry) if entry.action == "workspace.changed"]
    assert entry.details["fields"] == sorted([*FORM, "merges_attested"])
    assert "Saved" in (await owner.get(f"{HERE}?saved=yes")).text


async def test_phones_are_read_as_of_the_new_country_at_once(owner, hub, webform):
    assert hub.switchboard.by_id(webform.id).time_zone != FORM["time_zone"]
    hub.connections_changed.clear()
    await owner.post_plainly(HERE, **FORM)
    async with asyncio.timeout(20):
        await hub.connections_changed.wait()
    await hub.switchboard.refresh()  # what the worker does, being told so
    assert hub.switchboard.by_id(webform.id).time_zone == FORM["time_zone"]


async def test_hours_of_another_time_zone_stay_in_it(owner, company, hub):
    async with hub.database.transaction() as session:
        found = await workspace.get(session)
        found.schedule = {**found.schedule, "time_zone": "Asia/Omsk"}
    await owner.post_plainly(HERE, **FORM)
    assert (await company()).schedule["time_zone"] == "Asia/Omsk"


async def test_what_is_wrong_is_told_by_field_and_what_was_typed_stays(owner, company):
    answer = await owner.post_plainly(HERE, **{**FORM, "name": " ", "country": "XX", "currency": "???"})
    assert answer.status == 422
    assert all(f'id="{name}-error"' in answer.text for name in ("name", "country", "currency"))
    assert 'value="Europe/Tallinn" selected' in answer.text
    assert (await company()).country == "RU"


async def test_of_two_who_change_it_the_second_is_told(owner, company):
    version = (await company()).version
    await owner.post_plainly(HERE, **FORM, version=str(version))
    answer = await owner.post_plainly(HERE, **{**FORM, "name": "Двери"}, version=str(version))
    assert (answer.status, (await company()).name) == (412, FORM["name"])
    assert "Somebody changed this meanwhile" in answer.text


async def test_it_is_for_those_who_manage(take_on, browser_of, company):
    anna = await browser_of(await take_on("Anna", password=True))
    assert (await anna.get(HERE)).status == 403
    assert (await anna.post_plainly(HERE, **FORM)).status == 403
    assert (await company()).name == ""


async def test_where_one_is_in_the_settings_is_marked(owner):
    for place in ("channels", "users", "company", "hours", "routing", "pipelines", "deliveries", "tokens", "audit"):
        page = (await owner.get(f"/settings/{place}")).text
        assert f'<a href="/settings/{place}" aria-current="page">' in page, place
