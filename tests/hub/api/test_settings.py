"""Settings, people, tokens and channels through the API; and who may call it at all."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web
from sqlalchemy import select

from channels import registry
from core.connections import Connection
from core.kernel.jobs import Job
from core.staff.audit import AuditEntry
from core.staff.sessions import Session
from core.staff.tokens import ApiToken
from core.staff.users import Role
from hub.auth import COOKIE, CSRF_HEADER, sign_in
from tests.channels.provider import Asked, playing
from tests.conftest import PASSWORD, VERA


@pytest.fixture
async def olga(api, take_on):
    return await api(await take_on("Olga", Role.OWNER))


async def test_somebody_taken_on_joins_the_team_of_their_role(olga, hub):
    made = await olga.post(
        "/users",
        {"email": "Anna@Example.com", "name": "Anna", "role": "manager", "extension": "101", "languages": ["ru"]},
    )
    (team,) = await olga.items("/teams")
    assert (made["email"], made["team_ids"], made["extension"]) == ("anna@example.com", [team["id"]], "101")
    changed = await olga.patch(
        f"/users/{made['id']}", {"extension": "102", "capacity": 20, "territories": ["RU", "+7"]}
    )
    assert (changed["extension"], changed["capacity"], changed["territories"]) == ("102", 20, ["RU", "+7"])
    twice = await olga.send("POST", "/users", {"email": "anna@example.com", "name": "A", "role": "viewer"})
    assert twice.status == 409
    async with hub.database.reading() as session:
        noted = list(await session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))
    assert noted == ["user.added", "user.changed"]


async def test_the_last_owner_cannot_leave_and_an_admin_makes_no_owners(api, take_on, olga):
    me = await olga.get("/me")
    for change in ({"is_active": False}, {"role": "admin"}):
        assert (await olga.send("PATCH", f"/users/{me['id']}", change)).status == 422
    admin = await api(await take_on("Oleg", Role.ADMIN))
    new = {"email": "x@example.com", "name": "X", "role": "owner"}
    assert (await admin.send("POST", "/users", new)).status == 403
    assert (await admin.send("PATCH", f"/users/{me['id']}", {"password": "a" * 12})).status == 403
    assert (await admin.send("POST", "/tokens", {"user_id": me["id"]})).status == 403


async def test_a_token_is_shown_once_and_is_useless_when_revoked_or_its_user_leaves(api, client, take_on, olga):
    anna = await take_on("Anna")
    made = await olga.post("/tokens", {"user_id": str(anna.id), "scopes": ["deals:read"], "name": "reports"})
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await client.get("/api/v1/deals", headers=headers)).status == 200
    assert (await client.get("/api/v1/tasks", headers=headers)).status == 403
    assert made["token"] not in str(await olga.get(f"/tokens/{made['id']}"))
    assert (await olga.send("DELETE", f"/tokens/{made['id']}")).status == 204
    assert (await client.get("/api/v1/deals", headers=headers)).status == 401
    theirs = await api(anna)
    await olga.patch(f"/users/{anna.id}", {"is_active": False})
    assert (await theirs.send("GET", "/me")).status == 401


async def test_a_narrow_token_cannot_make_a_wide_one(api, take_on):
    narrow = await api(await take_on("Oleg", Role.ADMIN), "tokens:write", "deals:read")
    for scopes in ([], ["*"], ["tasks:read"], ["deals:write"]):
        assert (await narrow.send("POST", "/tokens", {"scopes": scopes})).status == 403
    assert (await narrow.send("POST", "/tokens", {"scopes": ["deals:read"]})).status == 201
    assert (await narrow.send("POST", "/tokens", {"scopes": ["dogs:read"]})).status == 422


async def test_the_use_of_a_token_is_noted_once_a_minute(api, take_on, hub, clock):
    anna = await api(await take_on("Anna"))

    async def used():
        async with hub.database.reading() as session:
            return await session.scalar(select(ApiToken.last_used_at))

    await asyncio.gather(*(anna.get("/me") for _ in range(5)))
    first = await used()
    assert first == clock.now()
    clock.advance(timedelta(seconds=59))
    await anna.get("/me")
    assert await used() == first
    clock.advance(timedelta(seconds=1))
    await anna.get("/me")
    assert await used() == clock.now()


async def test_a_browser_session_calls_with_its_cookie_and_changes_with_its_csrf_token(client, hub, take_on):
    await take_on("Anna", password=True)
    secret = await sign_in(hub, email="anna@example.com", password=PASSWORD, client="127.0.0.1", agent="test")
    cookie = {"Cookie": f"{COOKIE}={secret}"}
    me = await client.get("/api/v1/me", headers=cookie)
    assert (await me.json())["name"] == "Anna"
    body = {"presence": "busy"}
    assert (await client.patch("/api/v1/me", headers=cookie, json=body)).status == 403
    async with hub.database.reading() as session:
        csrf = await session.scalar(select(Session.csrf_token))
    done = await client.patch("/api/v1/me", headers=cookie | {CSRF_HEADER: csrf}, json=body)
    assert (done.status, (await done.json())["presence"]) == (200, "busy")
    assert (await client.get("/api/v1/me")).status == 401


async def test_a_channel_is_made_checked_paused_and_resumed(olga, client, hub, drain, take_on):
    await take_on("Anna")
    made = await olga.post(
        "/connections",
        {"kind": "webform", "title": "Site", "settings": {"allowed_origins": ["https://example.com"]}},
    )
    assert made["hook_url"].endswith(f"/hooks/{made['key']}")
    assert made["settings"]["allowed_origins"] == ["https://example.com"]
    assert (await olga.post(f"/connections/{made['id']}/check"))["ok"] is True
    await olga.patch(f"/connections/{made['id']}", {"paused": True})
    await hub.switchboard.refresh()
    assert (await client.post(f"/hooks/{made['key']}", data=VERA)).status == 503
    assert (await olga.post(f"/connections/{made['id']}/check"))["ok"] is False
    changed = await olga.patch(f"/connections/{made['id']}", {"paused": False, "settings": {"allowed_origins": []}})
    assert (changed["health"], changed["settings"]["allowed_origins"]) == ("active", [])
    await hub.switchboard.refresh()
    assert (await client.post(f"/hooks/{made['key']}", data=VERA)).status == 200
    await drain()
    assert (await olga.send("DELETE", f"/connections/{made['id']}")).status == 409
    wrong = await olga.send("POST", "/connections", {"kind": "webform", "title": "x", "settings": {"colour": 1}})
    assert (wrong.status, wrong.json["errors"][0]["field"]) == (422, "colour")


async def test_kinds_tell_what_they_ask_for(olga):
    kinds = {each["kind"]: each for each in await olga.items("/connections/kinds")}
    assert set(kinds) == set(registry.KINDS)
    whatsapp = {each["name"]: each for each in kinds["whatsapp"]["settings"]}
    assert (kinds["whatsapp"]["title"], kinds["whatsapp"]["group"]) == ("WhatsApp", "messenger")
    assert whatsapp["verify_token"] | {"description": ""} == {
        "name": "verify_token",
        "title": "Verify token",
        "description": "",
        "type": "secret",
        "secret": True,
        "required": False,
        "made": True,
        "advanced": False,
        "default": None,
        "choices": [],
    }
    assert whatsapp["api_version"]["advanced"] and whatsapp["app_secret"]["required"]
    (mode,) = [each for each in kinds["telegram"]["settings"] if each["name"] == "mode"]
    assert (mode["type"], mode["choices"]) == ("choice", ["webhook", "polling"])


async def test_a_check_asks_the_provider_and_notes_what_it_says(olga, hub):
    async with playing() as provider:
        settings = {"signing_secret": "hunter2", "bot_token": "xoxb-hunter3", "base_url": f"{provider.url}/api"}
        made = await olga.post("/connections", {"kind": "slack", "title": "Slack", "settings": settings})
        provider.answers("POST", "/api/auth.test", json={"ok": True, "team": "Glass House", "user": "hub"})
        check = f"/connections/{made['id']}/check"
        well = await olga.post(check)
        assert (well["ok"], well["health"], well["facts"]["workspace"]) == (True, "active", "Glass House")
        shown = await olga.get(f"/connections/{made['id']}")
        assert shown["account"].startswith("Glass House") and shown["checked_at"] and shown["trouble"] is None

        provider.answers("POST", "/api/auth.test", json={"ok": False, "error": "invalid_auth"})
        for _ in range(2):  # a key to be done once changes nothing: asking twice does no harm
            ill = (await olga.send("POST", check, **{"Idempotency-Key": "k1"})).json
            assert (ill["ok"], ill["health"]) == (False, "reauthorise")
    shown = await olga.get(f"/connections/{made['id']}")
    assert (shown["health"], shown["trouble"]) == ("reauthorise", ill["detail"])
    assert shown["secrets"] == ["bot_token", "signing_secret"]
    assert "hunter" not in str([made, well, ill, shown])

    renewed = await olga.patch(f"/connections/{made['id']}", {"settings": {"bot_token": "xoxb-hunter4"}})
    assert (renewed["health"], renewed["trouble"]) == ("active", None)
    async with hub.database.reading() as session:
        wished = list(await session.scalars(select(Job.unique_key).where(Job.kind == "connection.setup")))
    assert len(wished) == 2


async def test_no_transaction_waits_while_a_provider_is_asked(olga, hub):
    """A provider that takes its time must not keep a connection to the database, nor locks, from others."""
    held = []

    def say_who(_: Asked) -> web.Response:
        held.append(hub.database.engine.pool.checkedout())
        return web.json_response({"ok": True, "team": "Glass House", "user": "hub"})

    async with playing() as provider:
        settings = {"signing_secret": "s", "bot_token": "xoxb-1", "base_url": f"{provider.url}/api"}
        made = await olga.post("/connections", {"kind": "slack", "title": "Slack", "settings": settings})
        provider.does("POST", "/api/auth.test", say_who)
        assert (await olga.post(f"/connections/{made['id']}/check"))["ok"] is True
    assert held == [0]


async def test_a_channel_that_was_never_used_is_removed_and_its_hook_taken_back(olga, hub):
    async with playing() as provider:
        provider.answers("POST", "/bot123456789:[^/]+/deleteWebhook", json={"ok": True, "result": True})
        token = "123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"
        settings = {"token": token, "base_url": provider.url}
        made = await olga.post("/connections", {"kind": "telegram", "title": "Bot", "settings": settings})
        ours = {"url": made["hook_url"], "has_custom_certificate": False, "pending_update_count": 0}
        provider.answers("POST", "/bot123456789:[^/]+/getWebhookInfo", json={"ok": True, "result": ours})
        await hub.switchboard.refresh()
        assert (await olga.send("DELETE", f"/connections/{made['id']}")).status == 204
        assert [asked.path.rpartition("/")[2] for asked in provider.asked] == ["getWebhookInfo", "deleteWebhook"]
    assert (await olga.send("GET", f"/connections/{made['id']}")).status == 404


async def test_secrets_of_a_channel_are_never_told(olga, hub, webform):
    async with hub.database.transaction() as session:
        row = await session.get(Connection, webform.id)
        row.sealed = hub.vault.seal({"token": "hunter2"}, belongs_to=f"connection:{row.key}")
    shown = await olga.get(f"/connections/{webform.id}")
    assert shown["secrets"] == ["token"]
    assert "hunter2" not in str(shown)


async def test_a_delivery_is_replayed_and_makes_nothing_twice(olga, client, webform, drain, take_on):
    await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    (delivery,) = await olga.items("/deliveries?state=received")
    assert (await olga.send("POST", f"/deliveries/{delivery['id']}/replay")).status == 409
    await drain()
    again = await olga.post(f"/deliveries/{delivery['id']}/replay")
    assert (again["state"], again["attempts"]) == ("received", 0)
    await drain()
    assert (await olga.get(f"/deliveries/{delivery['id']}"))["state"] == "processed"
    assert len(await olga.items("/leads")) == 1
    assert [each["action"] for each in await olga.items("/audit-log")] == ["delivery.replayed"]


async def test_business_hours_move_the_deadlines_of_what_comes_next(olga, client, webform, drain, take_on, clock):
    await take_on("Anna")
    week = {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
    before = await olga.send("GET", "/business-hours")
    body = {"time_zone": "Europe/Moscow", "week": week, "holidays_country": "RU"}
    put = await olga.send("PUT", "/business-hours", body, **{"If-Match": before.headers["ETag"]})
    assert (put.status, put.json["week"]["mon"], put.json["week"]["sun"]) == (200, [["09:00", "18:00"]], [])
    assert (await olga.send("PUT", "/business-hours", body, **{"If-Match": before.headers["ETag"]})).status == 412
    wrong = await olga.send("PUT", "/business-hours", {"week": {"mon": [["9", "18:00"]]}})
    assert (wrong.status, wrong.json["errors"][0]["field"]) == (422, "week.mon")
    clock.advance(timedelta(hours=8))  # nine in the evening in Moscow
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    assert [task["due_at"] for task in await olga.items("/tasks")] == ["2026-11-24T06:15:00Z"]


async def test_a_routing_rule_decides_who_gets_a_request(olga, client, webform, drain, take_on):
    await take_on("Anna")
    boris = await take_on("Boris")
    rule = {"title": "Google to Boris", "conditions": {"source": "google"}, "user_id": str(boris.id)}
    made = await olga.post("/routing-rules", rule)
    assert made["conditions"] == {"source": ["google"]}
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    (lead,) = await olga.items("/leads")
    assert lead["owner_id"] == str(boris.id)
    assert any("Google to Boris" in sentence for sentence in lead["routing"]["sentences"])
    for wrong in ({"conditions": {"moon": "full"}}, {"team_id": "1", "user_id": "2"}, {"user_id": "999999"}):
        assert (await olga.send("PATCH", f"/routing-rules/{made['id']}", wrong)).status == 422
    assert (await olga.send("DELETE", f"/routing-rules/{made['id']}")).status == 204


async def test_a_pipeline_is_made_with_its_stages_and_their_rules(olga):
    stages = [{"name": "Measure"}, {"name": "Done", "category": "won"}, {"name": "Off", "category": "lost"}]
    pipeline = await olga.post("/pipelines", {"name": "Repairs", "stages": stages})
    first = pipeline["stages"][0]["id"]
    rule = {"stage_id": first, "title": "Go and look", "kind": "visit", "due_minutes": 60, "reminder_minutes": 30}
    await olga.post("/stage-rules", rule | {"escalation": [{"to": "next", "after": 10}, {"to": "head", "after": 20}]})
    assert (await olga.send("POST", "/stage-rules", rule | {"reminder_minutes": 60})).status == 422
    contact = await olga.post(
        "/contacts", {"name": "Vera", "identities": [{"scheme": "phone", "value": "8 916 1234567"}]}
    )
    assert contact["identities"][0]["value"] == "+79161234567"
    deal = await olga.post(
        "/deals", {"title": "Roof", "contact_id": contact["id"], "pipeline_id": pipeline["id"], "custom": {"m2": 40}}
    )
    assert (deal["stage"]["name"], deal["custom"]) == ("Measure", {"m2": 40})
    assert [task["title"] for task in await olga.items(f"/tasks?deal_id={deal['id']}")] == ["Go and look"]
    stage = f"/pipelines/{pipeline['id']}/stages/{first}"
    assert (await olga.send("DELETE", stage)).status == 409
    assert (await olga.patch(stage, {"name": "Look"}))["name"] == "Look"
    lost = await olga.post(f"/deals/{deal['id']}/loss", {"reason": "Too expensive"})
    assert (lost["outcome"], lost["lost_reason"]) == ("lost", "Too expensive")
    assert "Too expensive" in [each["name"] for each in await olga.items("/lost-reasons")]


async def test_a_deal_is_opened_once_and_edited_by_one_at_a_time(olga):
    contact = await olga.post("/contacts", {"name": "Vera"})
    new = {"title": "Windows", "contact_id": contact["id"]}
    answers = await asyncio.gather(*(olga.send("POST", "/deals", new, **{"Idempotency-Key": "k1"}) for _ in range(5)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    (deal,) = await olga.items("/deals")
    path = f"/deals/{deal['id']}"
    assert answers[0].headers["Location"] == f"/api/v1{path}"
    tag = (await olga.send("GET", path)).headers["ETag"]
    edits = [olga.send("PATCH", path, {"title": f"Edit {n}"}, **{"If-Match": tag}) for n in range(4)]
    assert sorted(answer.status for answer in await asyncio.gather(*edits)) == [200, 412, 412, 412]
    (task,) = await olga.items("/tasks")
    stale = {"If-Match": f'"v{task["version"] + 1}"'}
    assert (await olga.send("POST", f"/tasks/{task['id']}/completion", **stale)).status == 412


async def test_an_address_belongs_to_one_contact_and_search_follows_it(olga):
    vera = await olga.post(
        "/contacts", {"name": "Вера", "identities": [{"scheme": "email", "value": "Vera@Example.com"}]}
    )
    other = await olga.post("/contacts", {"name": "Pavel", "tags": ["vip", "vip "]})
    assert other["tags"] == ["vip"]
    taken = {"contact_id": other["id"], "scheme": "email", "value": "vera@example.com"}
    assert (await olga.send("POST", "/identities", taken)).status == 409
    phone = await olga.post("/identities", {"contact_id": other["id"], "scheme": "phone", "value": "8 (916) 123-45-67"})
    for query in ("/contacts?q=8 (916) 123-45-67", "/contacts?phone=%2B79161234567", "/contacts?tag=vip"):
        assert [each["id"] for each in await olga.items(query)] == [other["id"]], query
    assert [each["id"] for each in await olga.items("/search?q=vera example")] == [vera["id"]]
    assert (await olga.send("DELETE", f"/identities/{phone['id']}")).status == 204
    assert await olga.items("/contacts?q=916123") == []
    company = await olga.post("/companies", {"name": "Glass House"})
    await olga.patch(f"/contacts/{other['id']}", {"company_id": company["id"], "name": "Pavel II"})
    assert [each["name"] for each in await olga.items("/contacts?q=glass pavel")] == ["Pavel II"]


async def test_a_note_is_for_colleagues_and_a_conversation_is_resolved_and_taken_up(
    olga, client, webform, drain, take_on
):
    await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    (conversation,) = await olga.items("/conversations?waiting=true")
    path = f"/conversations/{conversation['id']}"
    note = await olga.post(f"{path}/notes", {"text": "calls back at six"})
    assert (note["private"], note["author"]["name"]) == (True, "Olga")
    assert [each["text"] for each in await olga.items(f"{path}/messages?private=true")] == ["calls back at six"]
    resolved = await olga.post(f"{path}/resolution")
    assert (resolved["status"], resolved["waiting_since"], resolved["unread"]) == ("resolved", None, 0)
    assert (await olga.send("DELETE", f"{path}/resolution")).json["status"] == "open"


async def test_absences_are_noted_by_themselves_or_their_head(api, olga, take_on):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    as_anna = await api(anna)
    away = {"starts_at": "2026-11-24T00:00:00Z", "ends_at": "2026-12-01T00:00:00+03:00", "reason": "leave"}
    made = await as_anna.post("/absences", away)
    assert (made["user_id"], made["ends_at"]) == (str(anna.id), "2026-11-30T21:00:00Z")
    assert (await as_anna.send("POST", "/absences", away | {"user_id": str(boris.id)})).status == 403
    assert (await olga.send("POST", "/absences", away | {"user_id": str(boris.id)})).status == 201
    assert (await as_anna.send("DELETE", f"/absences/{made['id']}")).status == 204
