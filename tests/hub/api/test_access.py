"""Whose records somebody sees and may change, over every address of the API."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from core.people.contacts import Contact, ContactIdentity
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import teams
from core.staff.teams import TeamMember
from core.staff.users import Role, User
from core.talk.calls import Call as Telephoned
from core.talk.conversations import Conversation, Message
from core.work.notifications import Notification
from core.work.tasks import Task
from hub import connections
from hub.api.mount import ENDPOINTS
from tests.conftest import VERA
from tests.hub.api.conftest import Caller
from webhooks.deliveries import Delivery

READ = [endpoint for endpoint in ENDPOINTS if endpoint.method == "GET"]
CHANGE = [endpoint for endpoint in ENDPOINTS if endpoint.method != "GET"]
RECORDS = {
    "contact_id": Contact,
    "identity_id": ContactIdentity,
    "lead_id": Lead,
    "deal_id": Deal,
    "task_id": Task,
    "conversation_id": Conversation,
    "message_id": Message,
    "notification_id": Notification,
    "delivery_id": Delivery,
    "call_id": Telephoned,
}
NO_RECORDS = {"/connections/kinds"}
"""What names no record at all: numbers there are settings, and may look like an id."""
OWN_PROFILE = {
    "/me",
    "/me/desk",
    "/me/desk/links",
    "/me/desk/links/{link_id}",
    "/notifications/read",
    "/notifications/{notification_id}/read",
}


@dataclass
class House:
    """Anna has a request of Vera's and a company; Boris has nothing of it. `ids`: one record of Anna's by parameter."""

    anna: User
    boris: User
    ids: dict[str, str]
    every_id: set[str]
    as_anna: Caller


@pytest.fixture
async def house(api, client, hub, webform, take_on, drain) -> House:
    anna = await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    async with hub.database.transaction() as session:
        pbx = await connections.create(
            session,
            hub.vault,
            kind="voice_http",
            title="Phones",
            settings={"token": "t0ken-of-the-pbx"},
            at=hub.clock.now(),
            default_country="RU",
        )
    await hub.switchboard.refresh()
    for event in ("started", "ended"):
        rang = {"event": event, "call_id": "c1", "from": VERA["phone"], "to": "+74951112233", "direction": "inbound"}
        assert (await client.post(f"/hooks/{pbx.key}?token=t0ken-of-the-pbx", json=rang)).status == 200
    await drain()
    boris = await take_on("Boris")
    as_anna = await api(anna)
    made = await as_anna.post("/companies", {"name": "Vera Windows"})
    ids, every = {"company_id": made["id"]}, {made["id"]}
    async with hub.database.reading() as session:
        for name, model in RECORDS.items():
            found = [str(each) for each in await session.scalars(select(model.id).order_by(model.id))]
            assert found, name
            ids[name] = found[0]
            every |= set(found)
        for name, model in (("team_id", teams.Team), ("user_id", User)):
            ids[name] = str(await session.scalar(select(model.id).order_by(model.id).limit(1)))
    return House(anna, boris, ids, every, as_anna)


def fill(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda found: ids.get(found[1], "0" if found[1] == "number" else "1"), path)


def texts_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {text for name, each in value.items() for text in texts_in(each) | {name}}
    if isinstance(value, list):
        return {text for each in value for text in texts_in(each)}
    return {str(value)}


async def test_a_manager_sees_nothing_of_another_managers_at_any_address(house: House, api):
    boris = await api(house.boris)
    queries = {"/search": ["?q=Вера", "?q=8 (916) 123-45-67", "?q=windows", "?q=vera@example.com"]}
    seen_by_anna = set()
    for endpoint in READ:
        about_anna = any(name in RECORDS or name == "company_id" for name in endpoint.shape.ids)
        for query in queries.get(endpoint.path, [""]):
            path = fill(endpoint.path, house.ids) + query
            answer = await boris.send("GET", path)
            assert answer.status < 500, path
            if about_anna and not endpoint.administrative:
                assert answer.status == 404, path
            told = texts_in(answer.json)
            if answer.status < 300 and endpoint.path not in NO_RECORDS:
                assert not told & house.every_id, path
            assert not any(part in text for text in told for part in ("+7916", "Вера", "vera@", "quote please")), path
            hers = await house.as_anna.send("GET", path)
            if hers.status == 200 and endpoint.path.count("/") == 1:
                seen_by_anna |= texts_in(hers.json) & house.every_id
    assert house.ids["lead_id"] in seen_by_anna
    assert house.ids["conversation_id"] in seen_by_anna


@pytest.mark.parametrize("filters", ["", "?owner_id={}", "?contact_id={contact_id}"])
@pytest.mark.parametrize("path", ["/leads", "/deals", "/tasks", "/conversations", "/contacts", "/identities"])
async def test_filters_open_no_way_around(house: House, api, path, filters):
    boris = await api(house.boris)
    wanted = path + filters.replace("{}", str(house.anna.id)).format(**house.ids)
    answer = await boris.send("GET", wanted)
    assert answer.status in (200, 422)
    assert answer.status == 422 or answer.json["items"] == []


@pytest.mark.parametrize("role", [Role.MANAGER, Role.SPECIALIST])
async def test_what_somebody_does_not_see_they_cannot_change_and_is_not_there(house: House, api, take_on, role):
    somebody = await api(await take_on("Gleb", role))
    for endpoint in CHANGE:
        if not set(endpoint.shape.ids) & RECORDS.keys() or endpoint.administrative:
            continue
        body = None if endpoint.shape.body is None else _body_for(endpoint, house)
        answer = await somebody.send(endpoint.method, fill(endpoint.path, house.ids), body)
        assert answer.status == 404, (endpoint.method, endpoint.path, answer.body)


async def test_a_viewer_sees_all_and_changes_nothing(house: House, api, take_on):
    viewer = await api(await take_on("Olga", Role.VIEWER))
    assert [each["id"] for each in await viewer.items("/leads")] == [house.ids["lead_id"]]
    for endpoint in CHANGE:
        if endpoint.path in OWN_PROFILE:
            continue
        body = None if endpoint.shape.body is None else _body_for(endpoint, house)
        answer = await viewer.send(endpoint.method, fill(endpoint.path, house.ids), body)
        assert answer.status == 403, (endpoint.method, endpoint.path, answer.body)
    before = await house.as_anna.get(f"/deals/{house.ids['deal_id']}")
    assert (before["outcome"], before["version"]) == ("open", 1)


@pytest.mark.parametrize("path", ["/deliveries", "/connections", "/routing-rules", "/audit-log"])
async def test_the_settings_are_for_those_who_manage(house: House, api, take_on, path):
    assert (await house.as_anna.send("GET", path)).status == 403
    assert (await (await api(await take_on("Oleg", Role.ADMIN))).send("GET", path)).status == 200


async def test_a_head_sees_the_teams_they_lead_and_no_other(house: House, api, hub, take_on):
    async with hub.database.transaction() as session:
        other = teams.Team(name="Partners", created_at=hub.clock.now())
        session.add(other)
        await session.flush()
        sales = await teams.by_name(session, "Sales")
    of_sales, of_partners = await take_on("Kirill", Role.HEAD), await take_on("Pavel", Role.HEAD)
    async with hub.database.transaction() as session:
        session.add(TeamMember(team_id=sales.id, user_id=of_sales.id, leads=True))
        session.add(TeamMember(team_id=other.id, user_id=of_partners.id, leads=True))
    kirill, pavel = await api(of_sales), await api(of_partners)
    for path in ("/leads", "/deals", "/tasks", "/contacts", "/conversations"):
        assert len(await kirill.items(path)) == 1, path
        assert await pavel.items(path) == [], path
    given = await kirill.post(f"/deals/{house.ids['deal_id']}/assignment", {"owner_id": str(house.boris.id)})
    assert given["owner_id"] == str(house.boris.id)
    boris = await api(house.boris)
    assert [task["assignee_id"] for task in await boris.items("/tasks")] == [str(house.boris.id)]


async def test_a_specialist_sees_what_they_have_a_task_on(house: House, api, take_on):
    fitter = await take_on("Fedor", Role.SPECIALIST)
    as_fitter = await api(fitter)
    assert await as_fitter.items("/deals") == []
    task = {"title": "Measure", "kind": "visit", "assignee_id": str(fitter.id), "deal_id": house.ids["deal_id"]}
    await house.as_anna.post("/tasks", task)
    assert [each["id"] for each in await as_fitter.items("/deals")] == [house.ids["deal_id"]]
    assert [each["title"] for each in await as_fitter.items("/tasks")] == ["Measure"]
    taken = await as_fitter.send("POST", f"/deals/{house.ids['deal_id']}/assignment", {"owner_id": str(fitter.id)})
    assert taken.status == 403


async def test_a_manager_takes_what_nobody_has_and_hands_over_what_is_theirs(house: House, api):
    boris = await api(house.boris)
    deal = f"/deals/{house.ids['deal_id']}"
    assert (await house.as_anna.post(f"{deal}/assignment", {"owner_id": None}))["owner_id"] is None
    taken = await boris.post(f"{deal}/assignment", {"owner_id": str(house.boris.id)})
    assert taken["owner_id"] == str(house.boris.id)
    back = await boris.post(f"{deal}/assignment", {"owner_id": str(house.anna.id)})
    assert back["owner_id"] == str(house.anna.id)
    assert (await boris.send("GET", deal)).status == 404


async def test_work_goes_only_to_people_who_work_here(house: House, api, take_on):
    owner = await api(await take_on("Olga", Role.OWNER))
    await owner.patch(f"/users/{house.boris.id}", {"is_active": False})
    for path, field in (
        (f"/leads/{house.ids['lead_id']}", "owner_id"),
        (f"/deals/{house.ids['deal_id']}", "owner_id"),
        (f"/tasks/{house.ids['task_id']}", "assignee_id"),
        (f"/conversations/{house.ids['conversation_id']}", "assignee_id"),
    ):
        for nobody in (str(house.boris.id), "999999"):
            refused = await owner.send("POST", f"{path}/assignment", {field: nobody})
            assert (refused.status, refused.json["errors"][0]["field"]) == (422, field)


def _body_for(endpoint: Any, house: House) -> dict[str, Any]:
    """The least body that is well formed, so that a refusal is about rights."""
    user = str(house.boris.id)
    later = "2027-01-01T00:00:00Z"
    known: dict[str, Any] = {
        "owner_id": user,
        "assignee_id": user,
        "user_id": user,
        "contact_id": house.ids["contact_id"],
        "other_id": house.ids["contact_id"],
        "stage_id": "1",
        "title": "x",
        "name": "x",
        "text": "x",
        "reason": "x",
        "kind": "webform",
        "scheme": "email",
        "value": "x@example.com",
        "email": "x@example.com",
        "role": "manager",
        "starts_at": later,
        "ends_at": "2027-01-02T00:00:00Z",
        "due_at": later,
        "until": later,
        "shortcut": "x",
        "due_minutes": 5,
    }
    fields = msgspec.structs.fields(endpoint.shape.body)
    body = {field.name: known[field.name] for field in fields if field.required}
    return body | ({"kind": "call"} if "due_minutes" in body else {})
