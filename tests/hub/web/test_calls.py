"""Calls over HTTP: whose phone rings sees who it is, numbers are called by a click, few may hear recordings."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.people.contacts import Contact, ContactIdentity
from core.staff.audit import AuditEntry
from core.staff.users import Role, User
from core.talk import calls
from core.talk.calls import Call, CallRecording, RecordingState
from core.work.tasks import Task
from hub import files
from tests.channels.provider import Provider, playing
from tests.hub.test_calls import LINE, TOKEN, VERA, answered, connect_pbx, incoming, missed, moment, outgoing, pbx, ring
from tests.hub.web.test_inbox import Talks

__all__ = ["pbx", "ring"]  # fixtures

SPOKEN = "+7 916 123-45-67"


@pytest.fixture
async def anna(take_on) -> User:
    return await take_on("Anna", password=True, extension="101")


@pytest.fixture
async def annas(anna, browser_of):
    """Anna's browser."""
    return await browser_of(anna)


@pytest.fixture
async def dialling(hub) -> AsyncIterator[Provider]:
    """A PBX that is asked to place calls, connected."""
    async with playing() as provider:
        provider.answers("POST", "/dial", json={"call_id": "out-1"})
        await connect_pbx(hub, settings={"dial_url": f"{provider.url}/dial"})
        yield provider


async def name_vera(hub: Any, name: str = "Vera Sokolova") -> Contact:
    """Give whoever rang a name."""
    async with hub.database.transaction() as session:
        contact = await session.scalar(
            select(Contact)
            .join(ContactIdentity, ContactIdentity.contact_id == Contact.id)
            .where(ContactIdentity.value == VERA)
        )
        contact.name = name
        return contact


async def only_call(hub: Any) -> Call:
    async with hub.database.reading() as session:
        return (await session.scalars(select(Call))).one()


def tones(seconds: int = 2) -> bytes:
    """Return a recording: silence as a WAV file."""
    content = io.BytesIO()
    with wave.open(content, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8000)
        written.writeframes(b"\0\0" * 8000 * seconds)
    return content.getvalue()


async def record(hub: Any, call_id: int, content: bytes | None = None) -> None:
    """Have a call recorded, and the recording here."""
    content = content or tones()

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    kept = await hub.files.keep(chunks(), name="call.wav", declared="audio/wav", most=len(content))
    async with hub.database.transaction() as session:
        stored = await files.note(session, kept, at=hub.clock.now())
        session.add(
            CallRecording(
                call_id=call_id,
                external_id="r1",
                reference="r1",
                seconds=2,
                state=RecordingState.STORED,
                file_id=stored.id,
                created_at=hub.clock.now(),
            )
        )


# --- what rings ---


async def test_whose_phone_rings_sees_who_it_is_and_what_was_said_last_and_nobody_else_does(
    ring, hub, annas, take_on, browser_of
):
    boris = await browser_of(await take_on("Boris", Role.OWNER, password=True, extension="102"))
    await ring(*answered(start=hub.clock.now() - timedelta(hours=1)), call_id="c0")
    vera = await name_vera(hub)
    await annas.post(f"/contacts/{vera.id}/notes", text="Wants it before the frost")
    await annas.post(f"/calls/{(await only_call(hub)).id}/putting-away")
    await ring(*incoming())
    card = (await annas.part("/calls/ringing")).text
    assert 'data-state="rings"' in card and "Vera Sokolova" in card and SPOKEN in card
    assert "line +7 495 111-22-33" in card and "Talked 1:00" in card and "Wants it before the frost" in card
    assert f'href="/contacts/{vera.id}"' in card and "Open deal" in card and "looked after by Anna" in card
    assert 'role="status"' in card and "Vera Sokolova rings" in card
    assert "ring-" not in (await boris.part("/calls/ringing")).text


async def test_a_card_goes_when_somebody_else_answers_or_the_caller_gives_up(ring, annas, take_on, hub):
    await take_on("Boris", extension="102")
    told = [*incoming(), {"event": "ringing", "extension": "102", "at": moment(1)}]
    await ring(*told)
    assert 'data-state="rings"' in (await annas.part("/calls/ringing")).text
    await ring(*told, {"event": "answered", "extension": "102", "at": moment(5)})
    assert "data-state" not in (await annas.part("/calls/ringing")).text
    await ring(*missed("+79031112233"), call_id="c2")
    assert "data-state" not in (await annas.part("/calls/ringing")).text


async def test_who_answered_has_the_call_before_them_until_they_put_it_away(ring, annas, hub):
    await ring(*answered()[:3])
    talked = (await annas.part("/calls/ringing")).text
    assert 'data-state="talks"' in talked and "On the phone with" in talked and "Put away" not in talked
    await ring(*answered(talk=42))
    hub.clock.advance(timedelta(seconds=60))
    over = (await annas.part("/calls/ringing")).text
    call = await only_call(hub)
    assert 'data-state="over"' in over and "Talked 0:42" in over

    assert (await annas.post(f"/calls/{call.id}/outcome", outcome="interested")).told["toast"]["text"] == "Noted"
    assert (await annas.post(f"/calls/{call.id}/outcome", note="Three windows")).status == 204
    over = (await annas.part("/calls/ringing")).text
    assert 'value="" aria-pressed="true">Interested' in over and "Three windows</textarea>" in over
    call = await only_call(hub)
    assert (call.outcome, call.note) == ("interested", "Three windows")

    assert (await annas.post(f"/calls/{call.id}/putting-away")).status == 204
    assert "data-state" not in (await annas.part("/calls/ringing")).text
    assert (await annas.post(f"/calls/{call.id}/outcome", outcome="")).status == 204
    assert (await only_call(hub)).outcome is None
    assert (await annas.post(f"/calls/{call.id}/outcome", outcome="married")).status == 422


async def test_a_call_that_ended_long_ago_is_not_before_anybody_any_more(ring, annas, hub):
    await ring(*answered())
    assert "data-state" in (await annas.part("/calls/ringing")).text
    hub.clock.advance(timedelta(hours=1))
    assert "data-state" not in (await annas.part("/calls/ringing")).text


async def test_a_note_that_is_being_written_keeps_its_card_whoever_answers(ring, annas, take_on, browser_of, hub):
    stranger = await browser_of(await take_on("Sasha", password=True, extension="103"))
    await take_on("Boris", extension="102")
    told = [*incoming(), {"event": "ringing", "extension": "102", "at": moment(1)}]
    await ring(*told, {"event": "answered", "extension": "102", "at": moment(5)})
    call = await only_call(hub)
    kept = (await annas.part(f"/calls/ringing?keep={call.id}&keep=x&keep=99")).text
    assert 'data-state="elsewhere"' in kept and "Boris answered" in kept and "</textarea>" in kept
    assert (await annas.post(f"/calls/{call.id}/outcome", note="She asked for Boris")).status == 204
    assert (await only_call(hub)).note == "She asked for Boris"
    assert "data-state" not in (await stranger.part(f"/calls/ringing?keep={call.id}")).text
    assert (await stranger.post(f"/calls/{call.id}/outcome", note="Mine")).status == 404
    assert (await stranger.post(f"/calls/{call.id}/putting-away")).status == 404


async def test_a_hidden_number_rings_as_well(ring, annas):
    await ring(*incoming("anonymous"))
    card = (await annas.part("/calls/ringing")).text
    assert 'data-state="rings"' in card and "Open contact" not in card


async def test_pages_ask_for_calls_only_where_a_telephone_is_connected(annas, hub):
    assert "/calls/ringing" not in (await annas.get("/")).text
    await connect_pbx(hub)
    page = (await annas.get("/")).text
    assert 'id="calls" class="calls" data-live="call" hx-get="/calls/ringing"' in page and "missed calls" in page


# --- click to call ---


async def test_a_number_is_called_by_a_click_and_by_two_clicks_once(dialling, annas, anna, hub, drain, ring, all_of):
    await ring(*answered(), {"event": "ended", "at": moment(70)})
    vera = await name_vera(hub)
    page = (await annas.get(f"/contacts/{vera.id}")).text
    assert f'<input type="hidden" name="number" value="{VERA}">' in page and "tel:" not in page
    for _ in range(2):
        answer = await annas.post("/calls", number=VERA, contact_id=str(vera.id))
        assert answer.told["toast"]["text"] == f"Your phone 101 rings, then we call {SPOKEN}"
    await drain()
    [request] = dialling.asked
    assert (request.json["extension"], request.json["number"]) == ("101", VERA)
    call = (await all_of(Call))[-1]
    assert (call.user_id, call.contact_id, call.direction) == (anna.id, vera.id, "outbound")
    dials = (await annas.part("/calls/ringing")).text
    assert 'data-state="dials"' in dials and "Calling" in dials


async def test_what_is_in_the_way_of_a_call_is_said_with_the_way_out(dialling, take_on, browser_of, hub):
    olga = await browser_of(await take_on("Olga", Role.OWNER, password=True))
    told = (await olga.post("/calls", number=VERA)).told["toast"]
    assert told["tone"] == "bad" and "your extension" in told["text"] and told["link"] == "/profile#extension"
    assert (await olga.post_plainly("/calls", number=VERA)).status == 422

    form = {"name": "Olga", "language": "en", "time_zone": ""}
    assert (await olga.post_plainly("/profile", **form, extension="abc")).status == 422
    await take_on("Boris", extension="105")
    assert "A colleague has this extension" in (await olga.post_plainly("/profile", **form, extension="105")).text
    assert (await olga.post_plainly("/profile", **form, extension="104")).status == 303
    assert "Your phone 104 rings" in (await olga.post("/calls", number=VERA)).told["toast"]["text"]

    assert "cannot be read" in (await olga.post("/calls", number="12")).told["toast"]["text"]
    assert (await olga.post("/calls", number=VERA, contact_id="77")).status == 404
    for live in hub.switchboard.live():
        async with hub.database.transaction() as session:
            from core import connections

            await connections.pause(session, await connections.get(session, live.id), "Paused")
    await hub.switchboard.refresh()
    told = (await olga.post("/calls", number="+79161234568")).told["toast"]
    assert told["link"].startswith("/settings/channels/new")


async def test_without_a_telephone_numbers_are_links_and_a_viewer_calls_nobody(hub, annas, anna, take_on, browser_of):
    async with hub.database.transaction() as session:
        contact = Contact(name="Vera", search="vera", owner_id=anna.id, created_at=hub.clock.now())
        session.add(contact)
        await session.flush()
        session.add(
            ContactIdentity(
                contact_id=contact.id, scheme="phone", value=VERA, raw=VERA, trust="typed", created_at=hub.clock.now()
            )
        )
    for path in (f"/contacts/{contact.id}", "/contacts"):
        text = (await annas.get(path)).text
        assert f'href="tel:{VERA}"' in text and 'action="/calls"' not in text
    viewer = await browser_of(await take_on("Vlad", Role.VIEWER, password=True))
    await connect_pbx(hub)
    assert 'action="/calls"' not in (await annas.get(f"/contacts/{contact.id}")).text, "it places no calls"
    await connect_pbx(hub, settings={"dial_url": "http://127.0.0.1:9/dial"})
    assert 'action="/calls"' in (await annas.get(f"/contacts/{contact.id}")).text
    assert 'action="/calls"' not in (await viewer.get(f"/contacts/{contact.id}")).text
    assert (await viewer.post("/calls", number=VERA)).status == 403


# --- timelines and threads ---


async def test_a_call_is_one_entry_of_the_timeline_whatever_happened_on_the_way(ring, annas, hub, take_on):
    await take_on("Boris", extension="102")
    await ring(
        *incoming(),
        {"event": "queued", "detail": "Sales", "at": moment(2)},
        {"event": "answered", "extension": "101", "at": moment(6)},
        {"event": "transferred", "extension": "102", "at": moment(30)},
        {"event": "answered", "extension": "102", "at": moment(33)},
        {"event": "ended", "at": moment(66)},
    )
    call, vera = await only_call(hub), await name_vera(hub)
    for path in (f"/contacts/{vera.id}", f"/deals/{call.deal_id}", f"/leads/{call.lead_id}"):
        text = (await annas.get(path)).text
        assert text.count(f'id="call-{call.id}"') == 1, path
        assert "Talked 1:00" in text and "Waited in the queue Sales" in text and "Put through to Boris" in text
        assert not re.search(r"call\.[a-z]+", re.sub(r"<script.*?>|<use.*?>|<link.*?>", "", text))
    assert (await annas.get(f"/calls/{call.id}")).headers["Location"] == f"/contacts/{vera.id}#call-{call.id}"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (missed(), "Missed after 20 s"),
        (
            [*incoming(), {"event": "voicemail", "at": moment(9)}, {"event": "ended", "at": moment(20)}],
            "Left a message",
        ),
        (outgoing(talk=192), "Talked 3:12"),
        ([outgoing()[0], {"event": "ended", "outcome": "busy", "at": moment(9)}], "Was busy"),
        ([outgoing()[0], {"event": "ended", "outcome": "missed", "at": moment(9)}], "No answer"),
        (answered()[:3], "Talking now"),
    ],
)
async def test_how_a_call_ended_is_said_in_words(ring, annas, hub, take_on, browser_of, told, words):
    olga = await browser_of(await take_on("Olga", Role.OWNER, password=True))
    await ring(*told)
    call = await only_call(hub)
    assert words in (await olga.get(f"/contacts/{call.contact_id}")).text
    assert words in (await olga.get("/calls?show=all")).text


async def test_calls_stand_between_the_messages_in_their_place_in_time(ring, annas, anna, hub):
    await ring(*answered())
    call = await only_call(hub)
    async with playing() as provider:
        talks = Talks(hub, provider)
        talk = await talks.begin("Vera", assignee=anna, contact_id=call.contact_id, words="Before the call")
        hub.clock.advance(timedelta(minutes=5))
        await talks.write(talk, "After the call")
        text = (await annas.get(f"/conversations/{talk.id}")).text
    thread = text[text.index('id="thread"') :]
    places = [thread.index(each) for each in ("Before the call", f'id="call-{call.id}"', "After the call")]
    assert places == sorted(places) and 'data-live="message conversation call"' in thread


async def test_a_line_of_the_diary_about_calls_never_breaks_a_page(ring, annas, hub):
    await ring(*answered())
    call = await only_call(hub)
    async with hub.database.transaction() as session:
        await calls.conclude(session, call, at=hub.clock.now(), actor_id=None, outcome="solved", note="Fine")
        from core.kernel import events

        for kind in ("call.new_of_tomorrow", "call.started"):
            await events.record(session, kind, hub.clock.now(), contact_id=call.contact_id, details={})
    assert (await annas.get(f"/contacts/{call.contact_id}")).status == 200


# --- the list ---


async def test_the_list_begins_with_whom_to_call_back_and_the_day_counts_them(ring, annas, anna, hub, all_of):
    await ring(*missed(), call_id="c1")
    await ring(*answered("+79031112233"), call_id="c2")
    await ring(*missed("anonymous"), call_id="c3")
    waiting, talked, _ = await all_of(Call)
    page = await annas.get("/calls")
    assert (
        page.rows == [f"call-{waiting.id}"] and f'href="/contacts/{waiting.contact_id}#call-{waiting.id}"' in page.text
    )
    assert (await annas.get("/calls?show=in&who=me")).rows == [f"call-{talked.id}", f"call-{waiting.id}"]
    assert (await annas.get("/calls?show=out")).rows == []
    assert "No calls here" in (await annas.get("/calls?show=out")).text
    assert '<span class="value number bad">1</span><span>missed calls</span>' in (await annas.get("/day/counters")).text

    [task] = [task for task in await all_of(Task) if task.id == waiting.task_id]
    assert task.assignee_id == anna.id and "Call back" in (await annas.get("/day/queue")).text
    await annas.post(f"/tasks/{task.id}/completion")
    assert "Nobody waits for a call back" in (await annas.get("/calls")).text
    assert '<span class="value number">0</span><span>missed calls</span>' in (await annas.get("/day/counters")).text


async def test_a_head_looks_at_the_calls_of_one_colleague_and_of_some_days(ring, hub, take_on, browser_of, anna, clock):
    olga = await browser_of(await take_on("Olga", Role.OWNER, password=True))
    boris = await take_on("Boris", extension="102")
    await ring(*answered(), call_id="c1")
    clock.advance(timedelta(days=3))
    await ring(*answered("+79031112233", extension="102", start=clock.now()), call_id="c2")
    assert len((await olga.get("/calls?show=all")).rows) == 2
    theirs = await olga.get(f"/calls?show=all&who={boris.id}")
    assert len(theirs.rows) == 1 and f'<option value="{boris.id}" selected>Boris' in theirs.text
    assert len((await olga.get("/calls?show=all&period=today")).rows) == 1
    assert len((await olga.get("/calls?show=all&period=week")).rows) == 2
    for nonsense in ("/calls?who=%27&show=x&period=y", "/calls?who=99999999999999999999"):
        assert (await olga.get(nonsense)).status == 200
    assert (await olga.get("/calls?cursor=x")).status == 422


async def test_a_long_list_goes_on_where_it_ended(ring, hub, take_on, browser_of, pbx):
    olga = await browser_of(await take_on("Olga", Role.OWNER, password=True))
    async with hub.database.transaction() as session:
        for number in range(60):
            at = hub.clock.now() - timedelta(minutes=number)
            session.add(
                Call(
                    connection_id=pbx.id,
                    external_id=f"x{number}",
                    status="completed",
                    number="",
                    started_at=at,
                    heard_at=at,
                    created_at=at,
                )
            )
    first = await olga.get("/calls?show=all")
    following = re.search(r'href="(/calls\?[^"]*cursor=[^"]+)"', first.text)
    assert following and len(first.rows) == 50
    second = await olga.get(following[1].replace("&amp;", "&"))
    assert len(second.rows) == 10 and not set(first.rows) & set(second.rows)


async def test_somebody_elses_calls_are_not_there(ring, hub, annas, take_on, browser_of):
    sasha = await browser_of(await take_on("Sasha", password=True, extension="103"))
    await ring(*answered())
    call = await only_call(hub)
    assert (await sasha.get("/calls?show=all")).rows == []
    for path in (f"/calls/{call.id}", f"/calls/{call.id}/recording"):
        assert (await sasha.get(path)).status == 404


async def test_an_empty_list_says_what_to_do_next(take_on, browser_of, hub):
    olga = await browser_of(await take_on("Olga", Role.OWNER, password=True))
    assert "Connect a telephone" in (await olga.get("/calls")).text
    await connect_pbx(hub)
    assert "Nobody waits for a call back" in (await olga.get("/calls")).text


# --- recordings ---


async def test_a_recording_is_played_from_where_one_likes_and_listening_is_written_down_once(
    ring, annas, anna, hub, all_of, clock
):
    await ring(*answered())
    call, content = await only_call(hub), tones()
    await record(hub, call.id, content)
    assert f'src="/calls/{call.id}/recording"' in (await annas.get(f"/contacts/{call.contact_id}")).text
    assert f'src="/calls/{call.id}/recording"' in (await annas.get("/calls?show=all")).text
    path = f"/calls/{call.id}/recording"
    for asked, status, body in (
        ("bytes=0-", 206, content),
        ("bytes=100-199", 206, content[100:200]),
        ("bytes=99999999-", 416, b""),
    ):
        answer = await annas.client.get(path, headers={"Range": asked})
        assert answer.status == status and (status == 416 or await answer.read() == body)
    assert answer.headers["Content-Range"] == f"bytes */{len(content)}"
    assert (await annas.client.head(path)).headers["Content-Type"] == "audio/wav"

    def listened(rows: list[AuditEntry]) -> list[tuple[int | None, int | None]]:
        return [(row.user_id, row.entity_id) for row in rows if row.action == "call.listened"]

    assert listened(await all_of(AuditEntry)) == [(anna.id, call.id)]
    clock.advance(timedelta(hours=1))
    await annas.client.get(path, headers={"Range": "bytes=50-"})
    assert listened(await all_of(AuditEntry)) == [(anna.id, call.id)] * 2


async def test_who_may_not_listen_sees_the_call_without_its_player(ring, hub, annas, take_on, browser_of):
    viewer = await browser_of(await take_on("Vlad", Role.VIEWER, password=True))
    await ring(*answered())
    call = await only_call(hub)
    await record(hub, call.id)
    seen = await viewer.get("/calls?show=all")
    assert seen.rows == [f"call-{call.id}"] and "<audio" not in seen.text
    assert (await viewer.get(f"/calls/{call.id}/recording")).status == 404
    from aiohttp import ClientSession

    async with ClientSession() as nobody:
        answer = await nobody.get(annas.client.make_url(f"/calls/{call.id}/recording"))
        assert answer.status == 403


# --- settings ---


async def test_a_telephones_page_shows_how_to_tell_of_calls_and_where_to_ask_who_rings(take_on, browser_of, hub):
    olga = await browser_of(await take_on("Olga", Role.OWNER, password=True))
    made = await olga.post_plainly("/settings/channels", kind="voice_http", title="PBX")
    assert made.status == 200 and "/lookup?number=" in made.text
    async with hub.database.reading() as session:
        from core.connections import Connection

        connection = (await session.scalars(select(Connection))).one()
    page = (await olga.get(f"/settings/channels/{connection.id}")).text
    lookup = f"/hooks/{connection.key}/lookup?number=…&amp;token=…"
    assert lookup in page and "&#34;event&#34;: &#34;ringing&#34;" in page and "curl" in page
    assert TOKEN not in page and LINE not in page
