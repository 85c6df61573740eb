"""Every page people work on opens for everybody who may see it, with whatever customers have sent."""

from __future__ import annotations

import pytest

from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff.users import Role
from core.talk.conversations import Conversation
from core.work.notifications import Notification
from core.work.tasks import Task
from tests.conftest import VERA

HOSTILE = {
    "name": "<script>alert(1)</script>",
    "phone": "+7 916 765-43-21",
    "email": "evil@example.com",
    "message": "<img src=x onerror=alert(2)> \" ' &",
    "utm_source": "<b>google</b>",
    "размер": "<i>2×3</i>",
}
PLACES = [
    "/",
    "/day/counters",
    "/day/leads",
    "/day/queue",
    "/leads",
    "/leads?status=all",
    "/leads?status=closed&owner=me",
    "/leads?owner=nobody",
    "/leads/new",
    "/leads/{lead}",
    "/deals",
    "/deals?view=table&outcome=all",
    "/deals?owner=me",
    "/deals/new",
    "/deals/{deal}",
    "/deals/{deal}/edit",
    "/deals/{deal}/lose",
    "/contacts",
    "/contacts?q=соко",
    "/contacts/new",
    "/contacts/{contact}",
    "/contacts/{contact}/edit",
    "/tasks",
    "/tasks?due=overdue&who=all",
    "/tasks?due=today",
    "/tasks?due=whenever",
    "/tasks?due=done&who=all",
    "/tasks/new?deal={deal}",
    "/tasks/new?contact={contact}",
    "/tasks/{task}",
    "/conversations/{conversation}",
    "/notifications",
    "/notifications/bell",
    "/search",
    "/search?q=916",
    "/search?q=script",
]


@pytest.fixture
async def requests(client, webform, take_on, drain, all_of):
    """Two requests of Anna's: Vera's and a hostile one. Returns the ids of what the last one became."""
    await take_on("Anna", password=True, language="ru")
    for fields in (VERA, HOSTILE):
        assert (await client.post(f"/hooks/{webform.key}", data=fields)).status == 200
        await drain()
    models = {"lead": Lead, "deal": Deal, "contact": Contact, "task": Task, "conversation": Conversation}
    return {name: (await all_of(model))[-1].id for name, model in models.items()}


@pytest.fixture
async def anna(requests, hub, browser_of):
    from core.staff import users

    async with hub.database.reading() as session:
        return await browser_of(await users.by_email(session, "anna@example.com"))


@pytest.mark.parametrize("place", PLACES)
async def test_a_page_opens_for_its_manager_and_hostile_text_stays_text(anna, requests, place):
    answer = await anna.get(place.format(**requests))
    assert answer.status == 200
    for tag in ("<script>alert", "<img src=x", "<b>google", "<i>2×3"):
        assert tag not in answer.text
    assert (await anna.part(place.format(**requests))).status == 200
