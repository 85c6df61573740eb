"""What a program outside sees: a post to a form, and everything that came of it, through the REST API alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from aiohttp import FormData

from core.staff.users import Role
from tests.conftest import VERA, add_webform


async def test_a_form_post_is_seen_as_one_contact_lead_deal_and_task(api, client, webform, take_on, drain, clock):
    anna = await take_on("Anna")
    me = await api(await take_on("Olga", Role.OWNER))
    for _ in range(2):
        await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()

    (contact,) = await me.items("/contacts")
    (lead,) = await me.items("/leads")
    (deal,) = await me.items("/deals")
    (task,) = await me.items("/tasks")
    addresses = {(each["scheme"], each["value"], each["trust"]) for each in contact["identities"]}
    assert ("phone", "+79161234567", "typed") in addresses
    assert (contact["name"], contact["owner_id"], contact["first_source"]) == ("Вера Соколова", str(anna.id), "google")
    assert lead["attribution"] == {"utm_source": "google", "utm_campaign": "spring"}
    assert (lead["status"], lead["source"], lead["message"]) == ("new", "google", "3 windows, quote please")
    assert lead["routing"]["sentences"][0].startswith("Anna")
    assert (deal["outcome"], deal["stage"], deal["amount"]) == (
        "open",
        {"name": "First call", "category": "open"},
        None,
    )
    assert {deal["lead_id"], lead["deal_id"]} == {lead["id"], deal["id"]}
    assert (task["kind"], task["title"], task["assignee_id"]) == ("call", "Call back", str(anna.id))
    assert (task["due_at"], task["overdue"]) == ("2026-11-23T10:15:00Z", False)
    assert {deal["contact_id"], lead["contact_id"], task["contact_id"]} == {contact["id"]}

    (conversation,) = await me.items("/conversations")
    (message,) = await me.items(f"/conversations/{conversation['id']}/messages")
    assert (conversation["kind"], conversation["unread"], conversation["deal_ids"]) == ("webform", 1, [deal["id"]])
    assert (message["text"], message["direction"], message["private"]) == (VERA["message"], "inbound", False)
    assert message["author"] == {"kind": "contact", "id": contact["id"], "name": contact["name"]}
    (delivery,) = await me.items("/deliveries?state=processed")
    assert {event["lead_id"] for event in delivery["events"]} == {lead["id"]}
    raw = (await me.get(f"/deliveries/{delivery['id']}"))["request"]
    assert ("utm_source=google" in raw["body"], raw["method"]) == (True, "POST")
    kinds = {event["kind"] for event in await me.items(f"/contacts/{contact['id']}/timeline")}
    assert {"contact.created", "lead.created", "deal.created", "task.created", "message.received"} <= kinds


async def test_the_task_done_the_lead_is_worked_on_and_the_deal_can_be_won(api, client, webform, take_on, drain):
    anna = await api(await take_on("Anna"))
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    (task,) = await anna.items("/tasks?status=todo")
    (deal,) = await anna.items("/deals")
    done = await anna.post(f"/tasks/{task['id']}/completion")
    assert (done["status"], done["completed_by_proof"]) == ("done", None)
    assert [lead["status"] for lead in await anna.items("/leads?status=working")] == ["working"]

    pipeline = await anna.get(f"/pipelines/{deal['pipeline_id']}")
    stages = {stage["name"]: stage["id"] for stage in pipeline["stages"]}
    moved = await anna.post(f"/deals/{deal['id']}/stage", {"stage_id": stages["Proposal"]})
    assert moved["stage"] == {"name": "Proposal", "category": "open"}
    assert [lead["status"] for lead in await anna.items("/leads")] == ["converted"]
    worth = {"amount": 4_500_000, "currency": "RUB"}
    assert (await anna.patch(f"/deals/{deal['id']}", {"amount": worth}))["amount"] == worth
    won = await anna.post(f"/deals/{deal['id']}/win")
    assert (won["outcome"], won["stage"]["category"], won["closed_at"]) == ("won", "won", "2026-11-23T10:00:00Z")
    again = await anna.send("POST", f"/deals/{deal['id']}/win")
    assert (again.status, again.json["type"]) == (422, "urn:switchyard:problem:rejected")


async def test_an_overdue_task_says_so_and_to_whom_it_was_taken(api, client, webform, take_on, drain, clock):
    await take_on("Anna")
    kirill = await take_on("Kirill", Role.HEAD)
    head = await api(kirill)
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    assert await head.items("/tasks?overdue=true") == []
    clock.advance(timedelta(minutes=16))
    await drain()
    (task,) = await head.items("/tasks?overdue=true")
    assert (task["overdue"], task["breached_at"]) == (True, "2026-11-23T10:15:00Z")
    assert task["escalated_to"] == [str(kirill.id)]
    told = await head.items("/notifications?unread=true")
    assert [each["kind"] for each in told] == ["task.escalated"]
    await head.post(f"/notifications/{told[0]['id']}/read")
    assert await head.items("/notifications?unread=true") == []
    later = await head.post(f"/tasks/{task['id']}/postponement", {"due_at": "2026-11-23T12:00:00Z"})
    assert (later["overdue"], later["breached_at"]) == (False, "2026-11-23T10:15:00Z")
    assert await head.items("/tasks?overdue=true") == []


async def test_twenty_posts_at_once_are_one_of_each(api, client, webform, take_on, drain):
    await take_on("Anna")
    me = await api(await take_on("Olga", Role.OWNER))
    posts = [client.post(f"/hooks/{webform.key}", data=VERA | {"message": f"window {n}"}) for n in range(20)]
    await asyncio.gather(*posts)
    await drain()
    counts = [len(await me.items(path)) for path in ("/contacts", "/leads", "/deals", "/tasks", "/deliveries")]
    assert counts == [1, 1, 1, 1, 20]


async def test_a_disqualified_lead_takes_its_deal_and_its_task_along(api, client, webform, take_on, drain):
    anna = await api(await take_on("Anna"))
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    (lead,) = await anna.items("/leads")
    closed = await anna.post(f"/leads/{lead['id']}/disqualification", {"status": "junk", "reason": "an advert"})
    assert (closed["status"], closed["closed_because"]) == ("junk", "an advert")
    (deal,) = await anna.items("/deals")
    assert (deal["outcome"], deal["lost_reason"]) == ("lost", "an advert")
    assert [task["status"] for task in await anna.items("/tasks")] == ["canceled"]


async def test_a_lead_without_a_deal_is_given_one_when_it_is_converted(api, hub, client, take_on, drain):
    anna = await api(await take_on("Anna"))
    form = await add_webform(hub, make_deal=False)
    await client.post(f"/hooks/{form.key}", data=VERA)
    await drain()
    (lead,) = await anna.items("/leads?deal_id=null")
    converted = await anna.post(f"/leads/{lead['id']}/conversion", {"title": "Windows"})
    (deal,) = await anna.items("/deals")
    assert (converted["status"], converted["deal_id"]) == ("converted", deal["id"])
    assert (deal["title"], deal["lead_id"], deal["owner_id"]) == ("Windows", lead["id"], lead["owner_id"])
    assert [task["deal_id"] for task in await anna.items("/tasks")] == [deal["id"]]


async def test_a_file_from_a_form_is_served_only_to_be_saved(api, client, webform, take_on, drain):
    anna = await api(await take_on("Anna"))
    form = FormData(quote_fields=False)
    form.add_field("phone", VERA["phone"])
    form.add_field("plan", b"<script>alert(1)</script>", filename="план.html", content_type="text/html")
    assert (await client.post(f"/hooks/{webform.key}", data=form)).status == 200
    await drain()
    (conversation,) = await anna.items("/conversations")
    (message,) = await anna.items(f"/conversations/{conversation['id']}/messages")
    (file,) = message["attachments"]
    assert (file["name"], file["size"]) == ("план.html", 25)
    saved = await anna.send("GET", file["url"].removeprefix("/api/v1"))
    assert (saved.status, saved.body, saved.headers["Content-Type"]) == (
        200,
        b"<script>alert(1)</script>",
        "application/octet-stream",
    )
    assert saved.headers["Content-Disposition"].startswith("attachment;")
    assert saved.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in saved.headers["Content-Security-Policy"]
    missing: Any = await anna.send("GET", file["url"].removeprefix("/api/v1").replace("/0", "/1"))
    assert missing.status == 404
