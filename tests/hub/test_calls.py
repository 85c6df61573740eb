"""Calls as a PBX tells of them, through the real door, and what becomes of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from core.connections import Connection
from core.kernel.events import TimelineEvent
from core.people.contacts import Contact, ContactIdentity
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import workspace
from core.staff.users import Role, User
from core.talk import calls
from core.talk.attachments import StoredFile
from core.talk.calls import Call, CallRecording
from core.talk.conversations import Message
from core.work import hours_json
from core.work.hours import Schedule
from core.work.notifications import Notification
from core.work.tasks import Task
from hub import connections, files, telephony
from hub.telephony import advise
from hub.worker import offer_waiting
from tests.channels.provider import playing

TOKEN = "t0ken-of-the-pbx"
VERA, IGOR, LINE = "+79161234567", "+79031112233", "+74951112233"
STARTS = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.fixture
async def pbx(hub) -> Connection:
    """A PBX that can post, whose numbers are Russian."""
    return await connect_pbx(hub)


async def connect_pbx(hub, *, settings: dict[str, Any] | None = None, **common: Any) -> Connection:
    async with hub.database.transaction() as session:
        connection = await connections.create(
            session,
            hub.vault,
            kind="voice_http",
            title="Office phones",
            settings={"token": TOKEN, **(settings or {})},
            at=hub.clock.now(),
            **{"default_country": "RU", **common},
        )
    await hub.switchboard.refresh()
    return connection


@pytest.fixture
def ring(client, pbx, drain):
    """Posts what happens to a call, one request each, and lets it be understood."""

    async def post(*told: dict[str, Any], call_id: str = "c1", connection: Connection | None = None) -> None:
        key = (connection or pbx).key
        for number, each in enumerate(told):
            body = {"call_id": call_id, "id": f"{call_id}-{number}-{each['event']}", **each}
            answer = await client.post(f"/hooks/{key}", params={"token": TOKEN}, json=body)
            assert answer.status == 200, await answer.text()
        await drain()

    return post


def moment(seconds: float, start: datetime = STARTS) -> str:
    return (start + timedelta(seconds=seconds)).isoformat()


def incoming(number: str = VERA, *, extension: str = "101", start: datetime = STARTS) -> list[dict[str, Any]]:
    return [
        {"event": "started", "from": number, "to": LINE, "line": LINE, "direction": "inbound", "at": moment(0, start)},
        {"event": "ringing", "extension": extension, "at": moment(1, start)},
    ]


def answered(number: str = VERA, *, talk: int = 60, **more: Any) -> list[dict[str, Any]]:
    start = more.get("start", STARTS)
    extension = more.get("extension", "101")
    return [
        *incoming(number, **more),
        {"event": "answered", "extension": extension, "at": moment(6, start)},
        {"event": "ended", "at": moment(6 + talk, start)},
    ]


def missed(number: str = VERA, **more: Any) -> list[dict[str, Any]]:
    return [*incoming(number, **more), {"event": "ended", "at": moment(20, more.get("start", STARTS))}]


def outgoing(number: str = VERA, *, talk: int = 60, start: datetime = STARTS) -> list[dict[str, Any]]:
    return [
        {"event": "started", "direction": "outbound", "from": "101", "to": number, "at": moment(0, start)},
        {"event": "answered", "extension": "101", "at": moment(10, start)},
        {"event": "ended", "at": moment(10 + talk, start)},
    ]


async def all_of(session, model) -> list[Any]:
    return list(await session.scalars(select(model).order_by(model.id).execution_options(populate_existing=True)))


async def told(session, kind: str) -> list[TimelineEvent]:
    return list(
        await session.scalars(select(TimelineEvent).where(TimelineEvent.kind == kind).order_by(TimelineEvent.id))
    )


async def test_an_unknown_number_that_rings_is_somebody_with_a_lead_and_a_deal(ring, session, take_on):
    anna = await take_on("Anna", extension="101")
    await ring(*incoming("8 (916) 123-45-67"))
    [contact] = await all_of(session, Contact)
    [identity] = await all_of(session, ContactIdentity)
    [lead] = await all_of(session, Lead)
    [deal] = await all_of(session, Deal)
    [call] = await all_of(session, Call)
    assert (identity.value, lead.contact_id, deal.lead_id) == (VERA, contact.id, lead.id)
    assert (call.status, call.number, call.contact_id, call.deal_id) == ("ringing", VERA, contact.id, deal.id)
    assert call.ringing == [anna.id], "her phone rings"
    assert [line.user_id for line in await told(session, "call.ringing")] == [anna.id]
    assert lead.owner_id is None, "it is nobody's before somebody answers"


async def test_who_answers_looks_after_the_caller_from_then_on(ring, session, take_on, hub, clock):
    await take_on("Anna", extension="101")
    boris = await take_on("Boris", extension="102")
    await ring(*answered(extension="102")[:3])
    assert await offer_waiting(hub) == 0
    [contact], [lead], [deal] = await all_of(session, Contact), await all_of(session, Lead), await all_of(session, Deal)
    assert (contact.owner_id, lead.owner_id, deal.owner_id) == (boris.id, boris.id, boris.id)
    assert lead.status == "working"
    await ring(*answered(extension="102"))
    [call] = await all_of(session, Call)
    assert (call.status, call.user_id, call.talk_seconds, call.wait_seconds) == ("completed", boris.id, 60, 6)
    assert await all_of(session, Task) == [], "they have talked: nobody has to call"


async def test_nobody_is_given_a_caller_while_they_ring(ring, session, take_on, hub):
    await take_on("Anna", extension="101")
    await ring(*incoming())
    assert await offer_waiting(hub) == 0
    await ring(*missed())
    [lead] = await all_of(session, Lead)
    assert lead.owner_id is not None, "once nobody answered, somebody is"


async def test_a_missed_call_is_one_task_however_often_they_rang(ring, session, take_on):
    anna = await take_on("Anna", extension="101")
    for number in range(3):
        await ring(*missed(start=STARTS + timedelta(minutes=number)), call_id=f"c{number}")
    [task] = await all_of(session, Task)
    assert (task.title, task.kind, task.assignee_id) == ("Call back", "call", anna.id)
    assert task.due_at == STARTS + timedelta(seconds=20, minutes=15)
    assert task.note.count("Rang in vain") == 3
    assert len(await all_of(session, Call)) == 3
    assert len(await all_of(session, Lead)) == 1
    assert [line.kind for line in await told(session, "call.missed")] == ["call.missed"] * 3


async def test_a_task_to_call_back_is_in_the_company_s_language_and_its_time(ring, session, take_on, hub):
    await take_on("Anna", extension="101")
    async with hub.database.transaction() as changed:
        company = await workspace.get(changed)
        company.language, company.time_zone = "ru", "Asia/Omsk"
    await hub.switchboard.refresh()
    await ring(*missed())
    [task] = await all_of(session, Task)
    assert task.title == "Перезвонить"
    assert task.note.startswith(f"Звонок без ответа {STARTS + timedelta(hours=6):%Y-%m-%d %H:%M}")


async def test_the_contact_s_own_manager_has_to_call_back(ring, session, take_on, hub):
    await take_on("Anna", extension="101")
    boris = await take_on("Boris", extension="102")
    await ring(*answered(extension="102"))
    await ring(*missed(start=STARTS + timedelta(hours=1)), call_id="c2")
    [task] = await all_of(session, Task)
    assert task.assignee_id == boris.id
    notices = [row for row in await all_of(session, Notification) if row.task_id == task.id]
    assert [row.user_id for row in notices] == [boris.id], "he is told, once"


async def test_calling_back_closes_the_task_as_proof(ring, session, take_on):
    anna = await take_on("Anna", extension="101")
    await ring(*missed())
    await ring(*outgoing(talk=5, start=STARTS + timedelta(minutes=2)), call_id="c2")
    [task] = await all_of(session, Task)
    assert task.status == "todo", "five seconds prove nothing"
    await ring(*outgoing(talk=45, start=STARTS + timedelta(minutes=3)), call_id="c3")
    [task] = await all_of(session, Task)
    calls = {call.external_id: call for call in await all_of(session, Call)}
    assert (task.status, task.completed_by, task.completed_by_proof) == ("done", anna.id, f"call:{calls['c3'].id}")
    assert calls["c1"].called_back_by == calls["c3"].id
    assert calls["c1"].called_back_at == STARTS + timedelta(minutes=3, seconds=10)
    assert calls["c2"].called_back_by is None


async def test_nobody_acts_and_the_head_hears_of_it(ring, session, take_on, clock, drain):
    kirill = await take_on("Kirill", Role.OWNER)
    await take_on("Anna", extension="101")
    await ring(*missed())
    clock.advance(timedelta(minutes=16))
    await drain()
    [task] = await all_of(session, Task)
    assert task.breached_at is not None
    assert task.escalated_to == [kirill.id]


@pytest.mark.parametrize("number", ["anonymous", "", "112", "sip:vera@example.com", "vera@example.com", "Unknown"])
async def test_who_cannot_be_called_makes_nobody(ring, session, take_on, number):
    await take_on("Anna", extension="101")
    await ring(*missed(number))
    assert (await all_of(session, Contact), await all_of(session, Lead), await all_of(session, Task)) == ([], [], [])
    [call] = await all_of(session, Call)
    assert call.status == "missed"


async def test_colleagues_calling_each_other_make_nothing(ring, session, take_on):
    await take_on("Anna", extension="101")
    await take_on("Boris", extension="102")
    told_ = [
        {"event": "started", "from": "101", "to": "102", "at": moment(0)},
        {"event": "ringing", "extension": "102", "at": moment(1)},
        {"event": "ended", "at": moment(9)},
    ]
    await ring(*told_)
    assert (await all_of(session, Contact), await all_of(session, Task)) == ([], [])
    [call] = await all_of(session, Call)
    assert call.direction == "internal"


async def test_somebody_we_call_is_known_from_then_on_but_is_no_lead(ring, session, take_on):
    anna = await take_on("Anna", extension="101")
    await ring(*outgoing("8 916 123-45-67"))
    [contact] = await all_of(session, Contact)
    assert contact.owner_id == anna.id
    assert await all_of(session, Lead) == []


async def test_without_leads_by_the_connection_s_rules_there_is_a_contact_and_a_task(
    client, hub, drain, session, take_on
):
    anna = await take_on("Anna", extension="101")
    quiet = await connect_pbx(hub, make_lead=False)
    for number, each in enumerate(missed()):
        body = {"call_id": "c1", "id": str(number), **each}
        assert (await client.post(f"/hooks/{quiet.key}", params={"token": TOKEN}, json=body)).status == 200
    await drain()
    assert (len(await all_of(session, Contact)), await all_of(session, Lead), await all_of(session, Deal)) == (
        1,
        [],
        [],
    )
    [task] = await all_of(session, Task)
    assert task.assignee_id == anna.id


@pytest.mark.parametrize("seed", range(8))
async def test_events_shuffled_and_doubled_come_to_the_same(client, pbx, hub, drain, session, take_on, seed):
    """Whatever was made of a wrong first impression is taken back."""
    anna = await take_on("Anna", extension="101")
    posts = [
        {"call_id": name, "id": f"{name}-{number}", **each}
        for name, events_ in (("c1", answered(VERA)), ("c2", missed(IGOR)))
        for number, each in enumerate(events_)
    ] * 2
    random.Random(seed).shuffle(posts)
    for body in posts:
        assert (await client.post(f"/hooks/{pbx.key}", params={"token": TOKEN}, json=body)).status == 200
        await drain()
    calls = {call.external_id: call for call in await all_of(session, Call)}
    assert (calls["c1"].status, calls["c1"].talk_seconds, calls["c1"].user_id) == ("completed", 60, anna.id)
    assert (calls["c2"].status, calls["c2"].number) == ("missed", IGOR)
    assert len(await all_of(session, Contact)) == 2
    assert len(await all_of(session, Lead)) == 2
    open_tasks = [task for task in await all_of(session, Task) if task.status == "todo"]
    assert [(task.title, task.contact_id) for task in open_tasks] == [("Call back", calls["c2"].contact_id)]


async def test_a_call_whose_end_was_never_heard_is_ended_hours_later(ring, session, take_on, hub, clock):
    await take_on("Anna", extension="101")
    await ring(*answered()[:3])
    clock.advance(timedelta(hours=3))
    assert await telephony.end_silent(hub) == 0
    clock.advance(timedelta(hours=2))
    assert await telephony.end_silent(hub) == 1
    assert await telephony.end_silent(hub) == 0
    [call] = await all_of(session, Call)
    assert (call.status, call.is_lost, call.talk_seconds) == ("completed", True, None)
    await ring({"event": "ended", "at": moment(66)})
    [call] = await all_of(session, Call)
    assert (call.status, call.is_lost, call.talk_seconds) == ("completed", False, 60)


async def close_on_weekdays_at_six(hub) -> None:
    async with hub.database.transaction() as session:
        company = await workspace.get(session)
        day = ((9 * 60, 18 * 60),)
        company.schedule = hours_json.to_json(Schedule("UTC", week=(day, day, day, day, day, (), ())))


async def test_after_hours_they_are_told_when_we_call_and_the_task_is_for_the_morning(
    client, hub, drain, session, take_on, clock
):
    anna = await take_on("Anna", extension="101")
    await close_on_weekdays_at_six(hub)
    async with playing() as sms:
        accepted = {"messages": [{"messageId": "m1", "status": {"groupName": "PENDING"}}]}
        sms.answers("POST", "/.*", json=accepted)
        async with hub.database.transaction() as opened:
            gate = await connections.create(
                opened,
                hub.vault,
                kind="sms_infobip",
                title="SMS",
                settings={"api_key": "key-key-key", "sender": "Windows", "base_url": sms.url},
                at=clock.now(),
                default_country="RU",
            )
        pbx = await connect_pbx(
            hub, settings={"after_hours_text": "We will call you at {time}"}, reply_through=gate.id, time_zone="UTC"
        )
        evening = STARTS.replace(hour=21)
        clock.set(evening)
        for call_id in ("c1", "c2"):
            for number, each in enumerate(missed(start=evening)):
                body = {"call_id": call_id, "id": f"{call_id}-{number}", **each}
                assert (await client.post(f"/hooks/{pbx.key}", params={"token": TOKEN}, json=body)).status == 200
        await drain()
    [task] = await all_of(session, Task)
    morning = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    assert (task.due_at, task.assignee_id) == (morning, None), "nobody is there now"
    clock.set(morning)
    assert await offer_waiting(hub) == 1
    assert [task.assignee_id for task in await all_of(session, Task)] == [anna.id]
    [message] = [row for row in await all_of(session, Message) if row.direction == "outbound"]
    assert (message.text, message.is_automatic) == ("We will call you at 09:00", True), "told once, however often"
    assert [asked.method for asked in sms.asked].count("POST") == 1
    assert (await all_of(session, Call))[0].after_hours


async def test_a_recording_is_fetched_once_and_forgotten_when_its_time_is_over(
    client, hub, drain, session, clock, take_on
):
    await take_on("Anna", extension="101")
    pbx = await connect_pbx(hub, settings={"keep_recordings_days": 30})
    sound = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64)
    async with playing() as provider:
        provider.answers("GET", "/.*", body=sound, content_type="audio/wav")
        for number, each in enumerate(
            [*answered(), {"event": "recorded", "recording_url": f"{provider.url}/r/1.wav", "at": moment(70)}] * 2
        ):
            body = {"call_id": "c1", "id": f"{number % 5}", **each}
            assert (await client.post(f"/hooks/{pbx.key}", params={"token": TOKEN}, json=body)).status == 200
        await drain()
        [recording] = await all_of(session, CallRecording)
    assert recording.expires_at == clock.now() + timedelta(days=30)
    assert (recording.state, provider.asked) == ("failed", [])


async def test_who_rings_is_looked_up_by_the_pbx(client, pbx, ring, hub, take_on, session):
    anna = await take_on("Anna", extension="101")
    await ring(*answered())
    url = f"/hooks/{pbx.key}/lookup"
    answer = await client.get(url, params={"token": TOKEN, "number": "89161234567"})
    body = await answer.json()
    assert (body["known"], body["extension"], body["manager"]) == (True, "101", "Anna")
    plain = await client.get(url, params={"token": TOKEN, "number": VERA, "format": "plain"})
    assert (await plain.text()).startswith("101||Anna|")
    unknown = await client.get(url, params={"token": TOKEN, "number": IGOR})
    assert (await unknown.json())["known"] is False
    assert (await client.get(url, params={"token": "wrong", "number": VERA})).status == 401
    async with hub.database.transaction() as opened:
        (await opened.get_one(User, anna.id)).presence = "away"
    assert (await advise(hub, hub.switchboard.by_id(pbx.id), VERA)).extension == "", "she is not there"
    assert await session.scalar(select(func.count()).select_from(Call)) == 1, "asking makes no call"


async def test_click_to_call_rings_the_colleague_and_is_one_call_with_what_the_pbx_tells(
    client, hub, drain, session, take_on, ring, clock
):
    anna = await take_on("Anna", extension="101")
    async with playing() as pbx:
        pbx.answers("POST", "/dial", json={"call_id": "pbx-77"})
        line = await connect_pbx(hub, settings={"dial_url": f"{pbx.url}/dial"})
        async with hub.database.transaction() as opened:
            placed = await telephony.call_up(opened, hub, anna, number="8 916 123 45 67", connection_id=line.id)
        [before] = await all_of(session, Call)
        assert (before.status, before.direction, before.number) == ("ringing", "outbound", VERA)
        assert [row.contact_id for row in await told(session, "call.dialled")] == [before.contact_id]
        await drain()
        [asked] = pbx.asked
    assert asked.json == {"id": f"dial-{placed.id}", "extension": "101", "number": VERA, "line": ""}
    await ring(*outgoing(), call_id="pbx-77", connection=line)
    [call] = await all_of(session, Call)
    assert (call.id, call.status, call.talk_seconds, call.user_id) == (placed.id, "completed", 60, anna.id)


async def test_a_call_the_pbx_refuses_says_why(hub, drain, session, take_on):
    anna = await take_on("Anna", extension="101")
    async with playing() as pbx:
        pbx.answers("POST", "/dial", status=403, json={"error": "no outgoing line"})
        line = await connect_pbx(hub, settings={"dial_url": f"{pbx.url}/dial"})
        async with hub.database.transaction() as opened:
            await telephony.call_up(opened, hub, anna, number=VERA, connection_id=line.id)
        await drain()
    [call] = await all_of(session, Call)
    assert call.status == "failed"
    assert call.trouble


async def test_an_outcome_is_noted_with_the_call(ring, session, take_on, hub, clock):
    anna = await take_on("Anna", extension="101")
    await ring(*answered())
    async with hub.database.transaction() as opened:
        call = await opened.scalar(select(Call))
        await calls.conclude(opened, call, at=clock.now(), actor_id=anna.id, outcome="interested", note="Three windows")
    [call] = await all_of(session, Call)
    assert (call.outcome, call.note) == ("interested", "Three windows")
    assert len(await told(session, "call.concluded")) == 1


async def test_a_recording_is_deleted_when_its_time_is_over_and_not_before(ring, session, take_on, hub, clock):
    await take_on("Anna", extension="101")
    await ring(*answered())
    [call] = await all_of(session, Call)
    kept = await hub.files.keep(files.once(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64)), name="call.wav")
    async with hub.database.transaction() as opened:
        stored = await files.note(opened, kept, at=clock.now())
        opened.add(
            CallRecording(
                call_id=call.id,
                external_id="r1",
                reference="r1",
                state="stored",
                file_id=stored.id,
                created_at=clock.now(),
                expires_at=clock.now() + timedelta(days=30),
            )
        )
    for days, state in ((29, "stored"), (2, "deleted")):
        clock.advance(timedelta(days=days))
        async with hub.database.transaction() as opened:
            forgotten = await telephony.forget_recordings(opened, now=clock.now())
        [recording] = await all_of(session, CallRecording)
        assert (recording.state, forgotten) == (state, [kept.path] if state == "deleted" else [])
    assert await session.scalar(select(func.count()).select_from(StoredFile)) == 0
