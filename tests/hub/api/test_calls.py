"""Telephone calls over the API: heard, listed, concluded, listened to, and placed by a click."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_args

import pytest
from aiohttp.test_utils import TestClient
from sqlalchemy import event, select

from core.connections import Connection
from core.kernel.clock import MovableClock
from core.staff import sessions, teams
from core.staff.audit import AuditEntry
from core.staff.teams import TeamMember
from core.staff.users import Role, User
from core.talk import calls as telephoned
from hub import auth, connections
from hub.api.resources import calls
from hub.app import Hub
from tests.channels.provider import Provider, playing
from tests.hub.api.conftest import Caller

TOKEN = "t0ken-of-the-pbx"
VERA = "+79161234567"
LINE = "+74950000001"


def sound() -> bytes:
    """A second of silence, as a telephone records it."""
    kept = io.BytesIO()
    with wave.open(kept, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\0" * 8000)
    return kept.getvalue()


SOUND = sound()


@dataclass
class House:
    """A PBX that rings Anna at 101 and Boris at 102, and everybody who may ask what became of it."""

    pbx: Connection
    provider: Provider
    anna: User
    boris: User
    client: TestClient[Any, Any]
    drain: Callable[[], Awaitable[None]]

    async def happens(self, *events: dict[str, Any]) -> None:
        """Post what the PBX tells, and let it be understood."""
        answer = await self.client.post(f"/hooks/{self.pbx.key}?token={TOKEN}", json={"events": list(events)})
        assert answer.status == 200, await answer.text()
        await self.drain()

    async def is_talked(self, call_id: str = "c1", *, number: str = VERA, recording: str = "") -> None:
        """Somebody rings, and Anna talks with them for a minute and a half."""
        said = {"call_id": call_id, "from": number, "to": LINE, "direction": "inbound"}
        recorded = {"recording_url": f"{self.provider.url}{recording}"} if recording else {}
        await self.happens(
            {**said, "event": "ringing", "extension": "101", "at": "2026-11-23T09:50:00Z"},
            {**said, "event": "answered", "extension": "101", "at": "2026-11-23T09:50:12Z"},
            {**said, "event": "ended", "outcome": "answered", "at": "2026-11-23T09:51:42Z", **recorded},
        )

    async def is_missed(self, call_id: str = "m1", *, number: str = VERA) -> None:
        """Somebody rings for half a minute, and nobody takes it."""
        said = {"call_id": call_id, "from": number, "to": LINE, "direction": "inbound"}
        await self.happens(
            {**said, "event": "ringing", "extension": "101", "at": "2026-11-23T09:40:00Z"},
            {**said, "event": "ended", "outcome": "missed", "at": "2026-11-23T09:40:30Z"},
        )


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with playing() as played:
        played.answers("GET", "/r1.wav", body=SOUND, content_type="audio/wav")
        yield played


@pytest.fixture
async def house(hub: Hub, client, take_on, drain, provider: Provider) -> House:
    async with hub.database.transaction() as session:
        pbx = await connections.create(
            session,
            hub.vault,
            kind="voice_http",
            title="PBX",
            settings={"token": TOKEN, "dial_url": f"{provider.url}/dial"},
            at=hub.clock.now(),
            default_country="RU",
        )
    await hub.switchboard.refresh()
    anna = await take_on("Anna", extension="101")
    return House(pbx, provider, anna, await take_on("Boris", extension="102"), client, drain)


async def listenings(hub: Hub) -> list[AuditEntry]:
    async with hub.database.reading() as session:
        wanted = select(AuditEntry).where(AuditEntry.action == "call.listened").order_by(AuditEntry.id)
        return list(await session.scalars(wanted))


async def test_a_call_that_was_heard_of_is_shown_as_it_went(house: House, api):
    me = await api(house.anna)
    await house.is_talked()
    (call,) = await me.items("/calls")
    (contact,) = await me.items("/contacts")
    (lead,) = await me.items("/leads")
    assert call == await me.get(f"/calls/{call['id']}")
    assert set(call) >= {"connection_id", "contact_id", "deal_id", "direction", "from", "to", "line", "user_id"}
    assert (call["direction"], call["status"], call["from"], call["to"]) == ("inbound", "completed", VERA, LINE)
    assert (call["number"], call["line"], call["user_id"]) == (VERA, LINE, str(house.anna.id))
    assert (call["contact_id"], call["lead_id"], call["deal_id"]) == (contact["id"], lead["id"], lead["deal_id"])
    assert (call["started_at"], call["answered_at"]) == ("2026-11-23T09:50:00Z", "2026-11-23T09:50:12Z")
    assert (call["ended_at"], call["wait_seconds"], call["talk_seconds"]) == ("2026-11-23T09:51:42Z", 12, 90)
    assert call["recording"] == {"available": False, "url": None}
    assert [(step["phase"], step["user_id"]) for step in call["steps"]] == [
        ("ringing", str(house.anna.id)),
        ("answered", str(house.anna.id)),
    ]
    assert (call["is_lost"], call["trouble"], call["outcome"], call["note"]) == (False, None, None, "")


async def test_calls_are_found_by_what_they_are(house: House, api, take_on):
    me = await api(await take_on("Olga", Role.OWNER))
    await house.is_missed()
    await house.is_talked("c2", number="+79160000002")
    inside = {"call_id": "i1", "from": "101", "to": "102", "direction": "internal", "extension": "102"}
    await house.happens({**inside, "event": "ringing"}, {**inside, "event": "ended"})
    every = await me.items("/calls")
    assert [call["status"] for call in every] == ["completed", "missed"]
    talked, missed = every

    async def ids(query: str) -> list[str]:
        return [call["id"] for call in await me.items(f"/calls?{query}")]

    assert await ids("sort=started_at") == [missed["id"], talked["id"]]
    assert await ids("status=missed&status=voicemail") == [missed["id"]]
    assert await ids(f"contact_id={talked['contact_id']}") == [talked["id"]]
    assert await ids(f"deal_id={missed['deal_id']}") == [missed["id"]]
    assert await ids(f"lead_id={missed['lead_id']}") == [missed["id"]]
    assert await ids(f"connection_id={house.pbx.id}&user_id={house.anna.id}") == [talked["id"]]
    assert await ids("user_id=null&called_back=false&after_hours=false") == [missed["id"]]
    assert await ids("called_back=true") == []
    assert await ids("started_at_from=2026-11-23T09:45:00Z&started_at_to=2026-11-23T10:00:00Z") == [talked["id"]]
    assert await ids("ended_at_to=2026-11-23T09:45:00Z") == [missed["id"]]
    assert await ids("line=%2B74950000001&outcome=null") == [talked["id"], missed["id"]]
    assert await ids("direction=outbound") == []
    (internal,) = await me.items("/calls?direction=internal")
    assert (internal["from"], internal["to"], internal["direction"]) == ("101", "102", "internal")
    assert (await me.send("GET", "/calls?status=gone")).status == 422


async def test_a_page_of_calls_takes_no_more_questions_than_one_call(house: House, api, hub, take_on):
    me = await api(await take_on("Olga", Role.OWNER))
    asked: list[str] = []
    event.listen(
        hub.database.engine.sync_engine, "before_cursor_execute", lambda _c, _k, statement, *_: asked.append(statement)
    )

    async def questions() -> tuple[int, int]:
        asked.clear()
        return len(await me.items("/calls")), len(asked)

    await house.is_talked("c0")
    await questions()  # the first use of a token is noted
    few, before = await questions()
    for number in range(1, 4):
        await house.is_talked(f"c{number}", number=f"+7916000000{number}")
    many, after = await questions()
    assert (few, many, after) == (1, 4, before)


async def test_one_says_what_a_call_came_to_and_takes_it_back(house: House, api):
    me = await api(house.anna)
    await house.is_talked()
    (call,) = await me.items("/calls")
    path = f"/calls/{call['id']}"
    tag = (await me.send("GET", path)).headers["ETag"]
    said = await me.send("PATCH", path, {"outcome": "call_later", "note": " On Friday "}, **{"If-Match": tag})
    assert (said.status, said.json["outcome"], said.json["note"]) == (200, "call_later", "On Friday")
    assert said.json["version"] == call["version"] + 1
    assert [each["id"] for each in await me.items("/calls?outcome=call_later&outcome=solved")] == [call["id"]]
    stale = await me.send("PATCH", path, {"note": "x"}, **{"If-Match": tag})
    assert (stale.status, (await me.get(path))["note"]) == (412, "On Friday")
    kept = await me.patch(path, {"outcome": None})
    assert (kept["outcome"], kept["note"]) == (None, "On Friday")
    for wrong in ({"outcome": "sold"}, {"note": "x" * 5001}, {"status": "missed"}):
        assert (await me.send("PATCH", path, wrong)).status == 422
    lines = await me.items(f"/contacts/{call['contact_id']}/timeline")
    assert [line["actor"]["name"] for line in lines if line["kind"] == "call.concluded"] == ["Anna", "Anna"]


def test_the_outcomes_of_the_api_are_those_of_the_core():
    assert get_args(calls.Outcome) == telephoned.OUTCOMES
    assert set(get_args(calls.Status)) == {status.value for status in telephoned.CallStatus}


async def test_a_call_of_somebody_elses_is_not_there(house: House, api, take_on):
    await house.is_talked()
    (call,) = await (await api(house.anna)).items("/calls")
    boris = await api(house.boris)
    assert await boris.items("/calls") == []
    assert await boris.items(f"/calls?contact_id={call['contact_id']}&user_id={house.anna.id}") == []
    for method, path, body in (
        ("GET", f"/calls/{call['id']}", None),
        ("PATCH", f"/calls/{call['id']}", {"note": "mine"}),
        ("GET", f"/calls/{call['id']}/recording", None),
        ("POST", "/calls", {"contact_id": call["contact_id"]}),
        ("POST", "/calls", {"deal_id": call["deal_id"]}),
    ):
        assert (await boris.send(method, path, body)).status == 404, (method, path)
    viewer = await api(await take_on("Viktor", Role.VIEWER))
    assert len(await viewer.items("/calls")) == 1
    assert (await viewer.send("PATCH", f"/calls/{call['id']}", {"note": "x"})).status == 403
    assert (await viewer.send("POST", "/calls", {"to": VERA})).status == 403
    assert house.provider.asked == []


async def test_a_token_needs_the_scope_of_calls(house: House, api):
    await house.is_talked()
    reader = await api(house.anna, "calls:read")
    (call,) = await reader.items("/calls")
    assert (await reader.send("PATCH", f"/calls/{call['id']}", {"note": "x"})).status == 403
    other = await api(house.anna, "tasks:read")
    assert (await other.send("GET", "/calls")).status == 403
    assert (await other.send("GET", f"/calls/{call['id']}/recording")).status == 403


# --- recordings ---


@pytest.fixture
async def recorded(house: House, api) -> dict[str, Any]:
    """A call of Anna's that was recorded, as she sees it."""
    await house.is_talked(recording="/r1.wav")
    (call,) = await (await api(house.anna)).items("/calls")
    return call


async def test_its_owner_hears_a_recording_piece_by_piece_and_that_is_one_listening(
    house: House, hub, api, recorded: dict[str, Any]
):
    me = await api(house.anna)
    path = f"/calls/{recorded['id']}/recording"
    assert recorded["recording"] == {"available": True, "url": f"/api/v1{path}"}
    whole = await me.send("GET", path)
    assert (whole.status, whole.body, whole.headers["Accept-Ranges"]) == (200, SOUND, "bytes")
    piece = await me.send("GET", path, Range="bytes=1000-1999")
    assert (piece.status, piece.body) == (206, SOUND[1000:2000])
    assert piece.headers["Content-Range"] == f"bytes 1000-1999/{len(SOUND)}"
    rest = await me.send("GET", path, Range="bytes=-100")
    assert (rest.status, rest.body) == (206, SOUND[-100:])
    assert (await me.send("GET", path, Range="bytes=999999-")).status == 416
    head = await me.send("HEAD", path)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(SOUND)))
    (line,) = await listenings(hub)
    assert (line.user_id, line.entity, line.entity_id) == (house.anna.id, "call", int(recorded["id"]))
    assert line.details == {"number": VERA}
    await me.send("GET", path, Range="bytes=0-")
    assert len(await listenings(hub)) == 2


async def test_a_player_that_tries_first_whether_it_may_skip_is_noted_once(
    house: House, hub, api, recorded: dict[str, Any]
):
    me = await api(house.anna)
    path = f"/calls/{recorded['id']}/recording"
    assert (await me.send("GET", path, Range="bytes=0-1")).body == SOUND[:2]
    assert await listenings(hub) == []
    await me.send("GET", path, Range=f"bytes=0-{len(SOUND) - 1}")
    assert len(await listenings(hub)) == 1


async def test_nobody_hears_the_middle_of_a_recording_unnoticed(
    house: House, hub, api, clock: MovableClock, recorded: dict[str, Any]
):
    me = await api(house.anna)
    path = f"/calls/{recorded['id']}/recording"
    for _ in range(2):
        assert (await me.send("GET", path, Range="bytes=20-")).body == SOUND[20:]
    assert len(await listenings(hub)) == 1
    clock.advance(timedelta(days=1))
    await me.send("GET", path, Range="bytes=20-")
    assert len(await listenings(hub)) == 2


async def test_a_recording_is_heard_by_who_talked_and_by_who_leads_them_and_by_nobody_else(
    house: House, hub, api, take_on, recorded: dict[str, Any]
):
    async with hub.database.transaction() as session:
        other = teams.Team(name="Partners", created_at=hub.clock.now())
        session.add(other)
        await session.flush()
        sales = await teams.by_name(session, "Sales")
    hers, others = await take_on("Kirill", Role.HEAD), await take_on("Pavel", Role.HEAD)
    async with hub.database.transaction() as session:
        session.add(TeamMember(team_id=sales.id, user_id=hers.id, leads=True))
        session.add(TeamMember(team_id=other.id, user_id=others.id, leads=True))
    path = f"/calls/{recorded['id']}"
    for hearer in (hers, await take_on("Olga", Role.OWNER)):
        caller = await api(hearer)
        assert (await caller.get(path))["recording"]["available"] is True
        assert (await caller.send("GET", f"{path}/recording")).body == SOUND
    for stranger in (house.boris, others, await take_on("Fedor", Role.SPECIALIST)):
        assert (await (await api(stranger)).send("GET", f"{path}/recording")).status == 404
    viewer = await api(await take_on("Viktor", Role.VIEWER))
    assert (await viewer.get(path))["recording"] == {"available": False, "url": None}
    refused = await viewer.send("GET", f"{path}/recording")
    assert (refused.status, refused.json["type"]) == (404, "urn:switchyard:problem:not-found")
    heard_by = [line.user_id for line in await listenings(hub)]
    assert (heard_by[0], len(heard_by)) == (hers.id, 2)


async def test_a_manager_who_sees_the_contact_but_did_not_talk_does_not_hear(
    house: House, hub, api, take_on, recorded: dict[str, Any]
):
    me = await api(house.anna)
    task = {"title": "Call", "kind": "call", "assignee_id": str(house.boris.id), "contact_id": recorded["contact_id"]}
    await me.post("/tasks", task)
    boris = await api(house.boris)
    assert (await boris.get(f"/calls/{recorded['id']}"))["recording"] == {"available": False, "url": None}
    assert (await boris.send("GET", f"/calls/{recorded['id']}/recording")).status == 404
    assert await listenings(hub) == []


async def test_a_recording_is_heard_in_a_browser_that_is_signed_in_and_not_without(
    house: House, hub, client, recorded: dict[str, Any]
):
    url = recorded["recording"]["url"]
    assert (await client.get(url)).status == 401
    async with hub.database.transaction() as session:
        _, cookie = await sessions.start(session, house.anna, at=hub.clock.now(), client="127.0.0.1", agent="Firefox")
    answer = await client.get(url, headers={"Cookie": f"{auth.COOKIE}={cookie}", "Range": "bytes=0-99"})
    assert (answer.status, await answer.read()) == (206, SOUND[:100])
    assert answer.headers["Cache-Control"].startswith("private")


async def test_a_recording_that_could_not_be_had_is_none(house: House, api):
    await house.is_talked(recording="/gone.wav")
    me = await api(house.anna)
    (call,) = await me.items("/calls")
    assert call["recording"] == {"available": False, "url": None}
    assert (await me.send("GET", f"/calls/{call['id']}/recording")).status == 404


# --- click to call ---


@pytest.fixture
async def vera(house: House, api) -> dict[str, Any]:
    """A contact of Anna's, with a deal."""
    me = await api(house.anna)
    made = await me.post("/contacts", {"name": "Vera", "identities": [{"scheme": "phone", "value": VERA}]})
    return made


async def test_a_click_rings_the_own_phone_and_is_on_the_list_before_it_ends(house: House, api, vera: dict[str, Any]):
    house.provider.answers("POST", "/dial", json={"call_id": "pbx-7"})
    me = await api(house.anna)
    answer = await me.send("POST", "/calls", {"contact_id": vera["id"]})
    call = answer.json
    assert (answer.status, answer.headers["Location"]) == (201, f"/api/v1/calls/{call['id']}")
    assert (call["status"], call["direction"], call["from"], call["to"]) == ("ringing", "outbound", "101", VERA)
    assert (call["contact_id"], call["user_id"]) == (vera["id"], str(house.anna.id))
    assert [(each["id"], each["status"]) for each in await me.items("/calls")] == [(call["id"], "ringing")]
    assert house.provider.asked == []
    await house.drain()
    (asked,) = house.provider.asked
    assert asked.json == {"id": f"dial-{call['id']}", "extension": "101", "number": VERA, "line": ""}
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    said = {"call_id": "pbx-7", "direction": "outbound", "from": "101", "to": VERA, "extension": "101"}
    await house.happens({**said, "event": "answered", "at": "2026-11-23T10:00:05Z"})
    assert (await me.get(f"/calls/{call['id']}"))["status"] == "in_progress"
    await house.happens({**said, "event": "ended", "outcome": "answered", "at": "2026-11-23T10:01:05Z"})
    (ended,) = await me.items("/calls")
    assert (ended["id"], ended["status"], ended["talk_seconds"]) == (call["id"], "completed", 60)


async def test_a_call_the_pbx_refuses_fails_and_says_why(house: House, api):
    house.provider.answers("POST", "/dial", status=403, json={"error": "no such trunk"})
    me = await api(house.anna)
    placed = await me.post("/calls", {"to": "8 (916) 765-43-21"})
    assert (placed["to"], placed["status"]) == ("+79167654321", "ringing")
    await house.drain()
    failed = await me.get(f"/calls/{placed['id']}")
    assert (failed["status"], failed["talk_seconds"]) == ("failed", 0)
    assert failed["trouble"]
    assert [each["id"] for each in await me.items("/calls?status=failed")] == [placed["id"]]


async def test_the_same_key_rings_once(house: House, api, vera: dict[str, Any]):
    house.provider.answers("POST", "/dial", json={"call_id": "pbx-7"})
    me = await api(house.anna)
    first = await me.send("POST", "/calls", {"contact_id": vera["id"]}, **{"Idempotency-Key": "click-1"})
    again = await me.send("POST", "/calls", {"contact_id": vera["id"]}, **{"Idempotency-Key": "click-1"})
    assert (first.status, again.status, again.json) == (201, 201, first.json)
    await house.drain()
    assert (len(house.provider.asked), len(await me.items("/calls"))) == (1, 1)


async def test_a_click_that_cannot_work_says_what_is_missing(house: House, hub, api, take_on, vera: dict[str, Any]):
    me = await api(house.anna)
    nobody = await me.post("/contacts", {"name": "Lev", "identities": [{"scheme": "email", "value": "l@example.com"}]})
    stranger = await me.post(
        "/contacts", {"name": "Zoya", "identities": [{"scheme": "phone", "value": "+79167000000"}]}
    )
    deal = await me.post("/deals", {"title": "Windows", "contact_id": vera["id"]})
    plain = await api(await take_on("Fedor"))
    for caller, body, field in (
        (me, {}, "to"),
        (me, {"to": "  "}, "to"),
        (me, {"to": "not a number"}, "to"),
        (me, {"contact_id": nobody["id"]}, "to"),
        (me, {"contact_id": stranger["id"], "deal_id": deal["id"]}, "contact_id"),
        (me, {"to": VERA, "user_id": "999999"}, "user_id"),
        (plain, {"to": VERA}, "user_id"),
    ):
        refused = await caller.send("POST", "/calls", body)
        assert (refused.status, refused.json["errors"][0]["field"]) == (422, field), body
    assert (await me.send("POST", "/calls", {"to": VERA, "connection_id": "999999"})).status == 404
    assert (await me.send("POST", "/calls", {"contact_id": "999999"})).status == 404
    async with hub.database.transaction() as session:
        row = await session.get_one(Connection, house.pbx.id)
        row.paused_because = "Somebody pulled the plug"
    await hub.switchboard.refresh()
    refused = await me.send("POST", "/calls", {"to": VERA})
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "connection_id")
    assert await me.items("/calls") == []


async def test_a_deal_is_called_at_its_contacts_number(house: House, api, vera: dict[str, Any]):
    me = await api(house.anna)
    deal = await me.post("/deals", {"title": "Windows", "contact_id": vera["id"]})
    call = await me.post("/calls", {"deal_id": deal["id"], "connection_id": str(house.pbx.id)})
    assert (call["contact_id"], call["deal_id"], call["number"]) == (vera["id"], deal["id"], VERA)


async def test_only_who_leads_somebody_has_their_phone_call(house: House, hub, api, take_on):
    async def call_with(caller: Caller, user: User) -> int:
        return (await caller.send("POST", "/calls", {"to": VERA, "user_id": str(user.id)})).status

    async with hub.database.transaction() as session:
        other = teams.Team(name="Partners", created_at=hub.clock.now())
        session.add(other)
        await session.flush()
        sales = await teams.by_name(session, "Sales")
    hers, others = await take_on("Kirill", Role.HEAD), await take_on("Pavel", Role.HEAD)
    async with hub.database.transaction() as session:
        session.add(TeamMember(team_id=sales.id, user_id=hers.id, leads=True))
        session.add(TeamMember(team_id=other.id, user_id=others.id, leads=True))
    assert await call_with(await api(house.boris), house.anna) == 403
    assert await call_with(await api(others), house.anna) == 403
    assert await call_with(await api(house.anna), house.anna) == 201
    assert await call_with(await api(hers), house.anna) == 201
    admin = await api(await take_on("Oleg", Role.ADMIN))
    assert await call_with(admin, house.anna) == 201
    assert {each["user_id"] for each in await admin.items("/calls")} == {str(house.anna.id)}


# --- the connection ---


async def test_a_telephone_shows_its_settings_and_never_its_secrets(house: House, api, take_on):
    admin = await api(await take_on("Oleg", Role.ADMIN))
    path = f"/connections/{house.pbx.id}"
    changed = await admin.patch(path, {"settings": {"call_back_minutes": 30, "secret": "s1gning-secret"}})
    shown = await admin.send("GET", path)
    assert changed == shown.json
    assert shown.json["settings"]["call_back_minutes"] == 30
    assert shown.json["settings"]["dial_url"] == f"{house.provider.url}/dial"
    assert set(shown.json["secrets"]) == {"token", "secret"}
    listed = await admin.send("GET", "/connections")
    assert not any(secret in shown.body + listed.body for secret in (TOKEN.encode(), b"s1gning-secret"))
    kinds = {kind["kind"]: kind for kind in await admin.items("/connections/kinds")}
    told = {setting["name"]: setting for setting in kinds["voice_http"]["settings"]}
    assert (told["token"]["secret"], told["call_back_minutes"]["default"]) == (True, 15)
    wrong = await admin.send("PATCH", path, {"settings": {"call_back_minutes": 0}})
    assert wrong.status == 422
