"""Settings pages: who may open them, channels, and what came in and was not understood."""

from __future__ import annotations

import html
import re

import pytest
from sqlalchemy import select, update

from core.connections import Connection
from core.sales.leads import Lead
from core.staff.audit import AuditEntry
from core.staff.users import Role
from tests.conftest import VERA, add_webform
from webhooks.deliveries import Delivery

HOSTILE = '"><script>alert(1)</script>'

PAGES = [
    "/settings/channels",
    "/settings/channels/new",
    "/settings/channels/new/webform",
    "/settings/deliveries",
    "/settings/users",
    "/settings/users/new",
    "/settings/teams/new",
    "/settings/hours",
    "/settings/routing",
    "/settings/routing/new",
    "/settings/pipelines",
    "/settings/pipelines/new",
    "/settings/tokens",
    "/settings/audit",
]


@pytest.fixture
async def owner(take_on, browser_of):
    return await browser_of(await take_on("Olga", Role.OWNER, password=True))


@pytest.mark.parametrize("path", PAGES)
async def test_an_owner_sees_the_page_and_a_manager_does_not(owner, take_on, browser_of, path):
    assert (await owner.get(path)).status == 200
    anna = await browser_of(await take_on("Anna", password=True))
    assert (await anna.get(path)).status == 403


async def test_settings_lead_to_the_channels(owner):
    answer = await owner.get("/settings")
    assert (answer.status, answer.headers["Location"]) == (303, "/settings/channels")


async def test_a_web_form_added_by_the_page_takes_a_request_at_once(owner, client, all_of, drain):
    answer = await owner.post_plainly(
        "/settings/channels",
        title="Windows",
        default_country="RU",
        rate_per_minute="600",
        allowed_origins="https://www.example.com",
        redirects="https://www.example.com/thanks",
    )
    assert answer.status == 303, answer.text[:3000]
    page = await owner.get(answer.headers["Location"])
    (connection,) = await all_of(Connection)
    assert f"/hooks/{connection.key}" in page.text
    assert f"/f/{connection.slug}" in page.text
    assert html.escape(f"/w/{connection.key}.js") in page.text
    assert (connection.rate_per_minute, connection.default_country) == (600, "RU")
    assert connection.settings["allowed_origins"] == ["https://www.example.com"]

    sent = await owner.client.post(f"/hooks/{connection.key}", data=VERA)
    assert sent.status == 200
    await drain()
    assert len(await all_of(Lead)) == 1
    shown = (await owner.get(f"/settings/channels/{connection.id}")).text
    assert "Вера Соколова" in shown and "Understood" in shown
    listed = (await owner.get("/settings/channels")).text
    assert "1 lead today" in listed
    assert [entry.action for entry in await all_of(AuditEntry)][-1] == "connection.added"


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"title": " "}, "title"),
        ({"allowed_origins": "ftp://files.example"}, "allowed_origins"),
        ({"redirects": "/thanks"}, "redirects"),
        ({"default_country": "XX"}, "default_country"),
        ({"pipeline_id": "999999"}, "pipeline_id"),
        ({"team_id": "abc"}, "team_id"),
        ({"rate_per_minute": "-5"}, "rate_per_minute"),
        ({"owner_id": "999999"}, "owner_id"),
        ({"time_zone": "Europe/Moskow"}, "time_zone"),
        ({"becomes": "nothing"}, "becomes"),
        ({"reply_through": "1"}, "reply_through"),
    ],
)
async def test_a_wrong_field_is_told_at_the_field_and_what_was_typed_stays(owner, all_of, typed, field):
    answer = await owner.post_plainly("/settings/channels", **({"title": "Windows & doors"} | typed))
    assert answer.status == 422
    assert f'id="{field}-error"' in answer.text
    assert (typed.get("title") is not None) or "Windows &amp; doors" in answer.text
    assert await all_of(Connection) == []


async def test_a_channel_is_edited_and_a_stale_edit_is_told(owner, hub, webform, all_of):
    path = f"/settings/channels/{webform.id}"
    form = (await owner.get(f"{path}/edit")).text
    assert 'name="version" value="1"' in form
    answer = await owner.post_plainly(path, title=HOSTILE, version="1", rate_per_minute="7", default_country="EE")
    assert answer.status == 303
    (connection,) = await all_of(Connection)
    assert (connection.title, connection.rate_per_minute, connection.version) == (HOSTILE, 7, 2)
    for page in ("/settings/channels", path, f"{path}/edit", "/settings/audit", "/settings/routing/new"):
        assert "<script>alert" not in (await owner.get(page)).text

    late = await owner.post_plainly(path, title="Mine", version="1")
    assert late.status == 412
    assert 'value="Mine"' in late.text and 'name="version" value="2"' in late.text
    assert (await all_of(Connection))[0].title == HOSTILE


async def test_a_paused_channel_sends_senders_away_until_it_is_resumed(owner, hub, webform):
    path = f"/settings/channels/{webform.id}"
    assert (await owner.post(f"{path}/pause")).status == 204
    await hub.switchboard.refresh()
    assert (await owner.client.post(f"/hooks/{webform.key}", data=VERA)).status == 503
    page = (await owner.get(path)).text
    assert "Paused by Olga" in page and f"{path}/resumption" in page
    assert "It is paused" in (await owner.post(f"{path}/test")).text
    assert (await owner.post(f"{path}/resumption")).status == 204
    await hub.switchboard.refresh()
    assert (await owner.client.post(f"/hooks/{webform.key}", data=VERA)).status == 200
    for answer in (await owner.post(f"{path}/test"), await owner.post_plainly(f"{path}/test")):
        assert answer.status == 200 and "send something to see it work" in answer.text


async def _broken(owner, hub, webform, drain, **form) -> int:
    """Have a request come in and die, as it did when the channel could not be used."""
    await owner.client.post(f"/hooks/{webform.key}", data=VERA | form)
    async with hub.database.transaction() as session:
        delivery_id = await session.scalar(select(Delivery.id).order_by(Delivery.id.desc()).limit(1))
        await session.execute(
            update(Delivery)
            .where(Delivery.id == delivery_id)
            .values(state="dead", due_at=None, error="The channel was removed or cannot be used")
        )
    return delivery_id


async def test_a_dead_delivery_is_shown_word_for_word_and_its_replay_makes_the_lead(owner, hub, webform, drain, all_of):
    delivery_id = await _broken(owner, hub, webform, drain, message=HOSTILE)
    listed = (await owner.get("/settings/deliveries")).text
    assert f'id="delivery-{delivery_id}"' in listed and "The channel was removed" in listed
    page = (await owner.get(f"/settings/deliveries/{delivery_id}")).text
    assert f"POST /hooks/{webform.key}" in page
    assert "<script>alert" not in page
    assert await all_of(Lead) == []

    assert (await owner.post(f"/settings/deliveries/{delivery_id}/replay")).status == 204
    assert (await owner.post(f"/settings/deliveries/{delivery_id}/replay")).status == 409
    await drain()
    (lead,) = await all_of(Lead)
    assert lead.message == HOSTILE
    assert f'href="/leads/{lead.id}"' in (await owner.get(f"/settings/deliveries/{delivery_id}")).text
    assert "Everything was understood" in (await owner.get("/settings/deliveries")).text


async def test_all_dead_deliveries_are_replayed_at_once(owner, hub, webform, drain, all_of):
    for number in range(3):
        await _broken(owner, hub, webform, drain, phone=f"8 916 000-00-0{number}", email=f"a{number}@example.com")
    assert (await owner.post_plainly("/settings/deliveries/replay")).status == 303
    await drain()
    assert len(await all_of(Lead)) == 3
    assert (await all_of(AuditEntry))[-1].details == {"count": 3}


async def test_dead_deliveries_are_paged(owner, hub, webform):
    async with hub.database.transaction() as session:
        for number in range(60):
            session.add(
                Delivery(
                    connection_id=webform.id,
                    dedupe_key=f"k{number}",
                    reference=f"r{number}",
                    lane="1",
                    state="dead",
                    received_at=hub.clock.now(),
                    attempts=1,
                    request={"method": "POST", "headers": {"content-type": "application/json"}},
                    body=b'{"name": "Vera \xff\x00"}',
                )
            )
    first = (await owner.get("/settings/deliveries")).text
    (following,) = re.findall(r'href="(/settings/deliveries\?cursor=\d+)"', first)
    second = (await owner.get(following)).text
    ids = re.compile(r'id="delivery-(\d+)"')
    assert len(ids.findall(first)) == 50 and len(ids.findall(second)) == 10
    assert not set(ids.findall(first)) & set(ids.findall(second))
    assert (await owner.get(f"/settings/deliveries/{ids.findall(second)[0]}")).status == 200


async def test_the_pages_of_what_is_not_there_are_missing(owner, hub):
    await add_webform(hub)
    for path in ("channels/999999", "channels/x", "deliveries/1", "channels/new/fax"):
        assert (await owner.get(f"/settings/{path}")).status == 404
