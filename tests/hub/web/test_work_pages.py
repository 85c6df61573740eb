"""Every page people work on opens for everybody who may see it, with whatever customers have sent."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from core.people import contacts
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import users
from core.staff.users import Role
from core.talk.conversations import Conversation
from core.work import tasks
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
    async with hub.database.reading() as session:
        return await browser_of(await users.by_email(session, "anna@example.com"))


async def test_a_page_opens_for_its_manager_and_hostile_text_stays_text(anna, requests):
    for place in PLACES:
        answer = await anna.get(place.format(**requests))
        assert answer.status == 200, place
        for tag in ("<script>alert", "<img src=x", "<b>google", "<i>2×3"):
            assert tag not in answer.text, place
        assert (await anna.part(place.format(**requests))).status == 200, place


async def test_the_record_of_a_colleague_is_not_there(requests, browser_of, take_on):
    boris = await browser_of(await take_on("Boris", password=True))
    for place in ("/leads/{lead}", "/deals/{deal}", "/contacts/{contact}", "/tasks/{task}"):
        assert (await boris.get(place.format(**requests))).status == 404, place
        assert (await boris.part(place.format(**requests))).status == 404, place


async def test_the_lists_of_a_colleague_show_and_count_nothing_of_anna(requests, browser_of, take_on):
    boris = await browser_of(await take_on("Boris", password=True))
    for place in (
        *("/", "/leads?status=all", "/deals", "/deals?view=table", "/contacts", "/tasks?who=all"),
        "/search?q=916",
    ):
        answer = await boris.get(place)
        assert answer.status == 200, place
        assert "Соколова" not in answer.text and "evil" not in answer.text, place
        assert not answer.rows, place
        assert set(re.findall(r'class="quiet small number">(\d+)<', answer.text)) <= {"0"}, place


async def test_the_owner_sees_all_of_it(requests, browser_of, take_on):
    elena = await browser_of(await take_on("Elena", Role.OWNER, password=True))
    for place in (
        *("/", "/leads", "/deals", "/contacts", "/tasks?who=all"),
        *("/leads/{lead}", "/deals/{deal}", "/contacts/{contact}"),
    ):
        assert (await elena.get(place.format(**requests))).status == 200, place
    assert "Соколова" in (await elena.get("/leads")).text


async def test_a_viewer_looks_and_finds_nothing_to_press(requests, browser_of, take_on):
    viewer = await browser_of(await take_on("Vik", Role.VIEWER, password=True))
    for place in PLACES:
        answer = await viewer.get(place.format(**requests))
        if place.endswith(("/new", "/edit", "/lose")) or "/new?" in place:
            assert answer.status == 403, place
            continue
        assert answer.status == 200, place
        actions = set(re.findall(r'action="([^"]+)"', answer.text))
        assert actions <= {"/search", "/inbox", "/contacts", "/notifications/reading"}, place


async def test_my_day_shows_what_waits_with_its_clock_and_nothing_twice(anna, requests, clock):
    day = await anna.get("/")
    leads = await anna.part("/day/leads")
    assert "Вера Соколова" in leads.text and "data-deadline" in leads.text
    assert len(leads.rows) == 2
    assert len(day.rows) == len(set(day.rows)) == 4
    clock.advance(timedelta(hours=1))
    assert "is-late" in (await anna.part("/day/queue")).text
    assert "day-overdue" in (await anna.part("/day/queue")).text


async def test_a_section_of_my_day_ends_somewhere_and_leads_to_the_rest(anna, requests, hub, all_of):
    (user,) = [task.assignee_id for task in await all_of(Task)][:1]
    async with hub.database.transaction() as session:
        for number in range(30):
            await tasks.add(
                session,
                title=f"Задача {number}",
                at=hub.clock.now(),
                due_at=hub.clock.now() + timedelta(hours=1),
                assignee_id=user,
            )
    queue = await anna.part("/day/queue")
    assert len(queue.rows) == 20
    assert 'href="/tasks?due=today"' in queue.text
    assert len((await anna.get("/tasks?due=today")).rows) == 32


async def test_a_long_list_goes_on_where_its_page_ended(anna, hub, all_of, requests):
    user = (await all_of(Task))[0].assignee_id
    async with hub.database.transaction() as session:
        for number in range(120):
            await contacts.add(
                session, at=hub.clock.now() + timedelta(seconds=number % 7), name=f"Н{number}", owner_id=user
            )
    seen: list[str] = []
    place = "/contacts"
    for _ in range(4):
        answer = await anna.get(place)
        seen += answer.rows
        found = re.search(r'href="([^"]+cursor=[^"]+)"', answer.text)
        if not found:
            break
        place = html.unescape(found[1])
    assert len(seen) == len(set(seen)) == 122


async def test_a_cursor_of_nowhere_is_refused_in_words(anna):
    assert (await anna.get("/leads?cursor=nonsense")).status == 422


async def test_a_person_is_found_however_they_are_typed(anna):
    numbers = ("8 (916) 123-45-67", "+7 916 123 45 67", "123-45-67", "4567")
    for typed in (*numbers, "соколова", "Вера", "VERA@EXAMPLE.COM"):
        answer = await anna.get(f"/search?{urlencode({'q': typed})}")
        assert "Вера Соколова" in answer.text, typed
        assert len((await anna.get(f"/contacts?{urlencode({'q': typed})}")).rows) >= 1, typed


async def test_notifications_are_in_the_reader_s_language_and_are_read_once_followed(anna, requests, all_of):
    first = (await all_of(Notification))[0]
    answer = await anna.get("/notifications")
    assert "Вера Соколова" in answer.text
    assert "New request" not in answer.text
    followed = await anna.get(f"/notifications/{first.id}")
    assert followed.status == 303 and followed.headers["Location"].startswith("/deals/")
    assert (await all_of(Notification))[0].read_at is not None
    assert 'data-count="1"' in (await anna.part("/notifications/bell")).text
    await anna.post("/notifications/reading")
    assert all(note.read_at for note in await all_of(Notification))


async def test_the_lead_says_why_it_went_to_anna(anna, requests):
    answer = await anna.get(f"/leads/{requests['lead']}")
    assert "Anna" in answer.text.split('class="why"')[0]
