"""The desk on Matrix without a homeserver: what is hard to make a real one do. The rest is with Synapse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from channels.contract import Item, ParseContext, Tools
from channels.desk_contract import Card, DeskGone, DeskSaid, DeskStarted, Place
from channels.desk_matrix import MatrixDesk
from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from core.kernel.envelopes import Attachment
from tests.channels.payloads import NOW, desk_matrix
from tests.channels.payloads.desk_matrix import BOT, EDIT, IMAGE, IN_THREAD, ROOM, TOKEN, VERA, brought, event, message
from tests.channels.provider import Asked, tools_for
from webhooks.errors import Refused
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
SEND = r"/_matrix/client/v3/rooms/[^/]+/send/m\.room\.message/[0-9a-f]{32}"
SYNC = "/_matrix/client/v3/sync"
MEMBERS = r"/_matrix/client/v3/rooms/[^/]+/joined_members"
MESSAGES = r"/_matrix/client/v3/rooms/[^/]+/messages"
JOIN = r"/_matrix/client/v3/join/[^/]+"


def make(**more: Any) -> MatrixDesk:
    return MatrixDesk(MatrixDesk.Settings(**{**desk_matrix.SETTINGS, **more}))


@pytest.fixture
def channel(provider) -> MatrixDesk:
    return make(base_url=provider.url)


def parse(request: RawRequest) -> list[Any]:
    return list(make().parse(request, CONTEXT))


# --- what comes in ---


def test_nothing_is_taken_at_the_hook():
    genuine = brought(message())
    make().verify(genuine, NOW)
    for more in ({"method": "POST"}, {"path": "/hooks/k"}, {"client": "10.0.0.1"}, {"url": "https://hub.example"}):
        with pytest.raises(Refused):
            make().verify(replace(genuine, **more), NOW)


def test_a_thread_of_a_room_of_many_keeps_its_order_and_a_private_room_as_a_whole():
    assert make().route(brought(IMAGE, is_private=False)) == ("event:$image", None, f"{ROOM}:$card")
    assert make().route(brought(IMAGE)).peer == ROOM
    assert make().route(brought(message(), is_private=False)).peer == ROOM


def test_what_is_said_in_a_thread_answers_its_first_message():
    [said] = parse(brought(IMAGE, is_private=False))
    assert (said.text, said.thread, said.reply_to, said.is_private) == ("Вот такой", "$card", "$card", False)
    assert said.attachments == (
        Attachment("торт.png", "image/png", 31037, reference="mxc://example.com/JWEIFJgwEIhweiWJE", kind="image"),
    )
    within = {**IN_THREAD, "is_falling_back": False}
    [said] = parse(brought(message(**{"m.relates_to": within})))
    assert (said.thread, said.reply_to) == ("$card", "$last")


def test_the_word_that_links_is_told_in_a_private_room_only():
    asked = message("link abcdefgh-12345678")
    [started] = parse(brought(asked))
    assert isinstance(started, DeskStarted)
    assert (started.ticket, started.person, started.name) == ("abcdefgh-12345678", VERA, "Вера")
    [said] = parse(brought(asked, is_private=False))
    assert isinstance(said, DeskSaid)


@pytest.mark.parametrize(
    "found",
    [
        {**message(), "sender": BOT},
        message(msgtype="m.notice"),
        message(""),
        event("m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$a", "key": "👍"}}),
        event("m.room.encrypted", {"ciphertext": "x"}),
        {**message(), "event_id": ""},
    ],
)
def test_what_our_people_did_not_say_is_nothing(found):
    assert parse(brought(found)) == []


def test_an_edit_and_a_place_are_read():
    [edit] = parse(brought(EDIT))
    assert (edit.ref, edit.text, edit.is_edit) == ("$143273582443PhrSn", "Послезавтра", True)
    [place] = parse(brought(message("Офис", msgtype="m.location", geo_uri="geo:55.75,37.61")))
    assert place.text == "Офис\ngeo:55.75,37.61"
    assert isinstance(parse(desk_matrix.REQUESTS[-1])[0], DeskGone)


@pytest.mark.parametrize(
    "wrong",
    [{"user_id": "desk"}, {"user_id": "@desk"}, {"user_id": "@a b:c"}, {"homeserver": "matrix.example.com"}],
)
def test_settings_that_cannot_be_right_are_refused(wrong):
    with pytest.raises(ValidationError):
        make(**wrong)


# --- what goes out ---


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, {"errcode": "M_UNKNOWN_TOKEN"}, Unauthorised),
        (403, {"errcode": "M_FORBIDDEN", "error": "User @desk:example.com not in room !a"}, RecipientGone),
        (403, {"errcode": "M_FORBIDDEN", "error": "You don't have permission to post that to the room"}, Undeliverable),
        (403, {"errcode": "M_RESOURCE_LIMIT_EXCEEDED"}, Misconfigured),
        (404, "<html>nginx</html>", Misconfigured),
        (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2_500}, Throttled),
        (502, "<html>Bad gateway</html>", Temporary),
        (200, {}, Uncertain),
        (200, "<html>", Uncertain),
    ],
)
async def test_a_refusal_tells_what_happens_next(channel, provider, tools, status, answer, error):
    provider.answers("PUT", SEND, status=status, body=answer if isinstance(answer, str) else json.dumps(answer))
    with pytest.raises(ChannelError) as caught:
        await channel.post(Place(ROOM), Card(words="да"), tools)
    assert type(caught.value) is error


async def test_a_lost_answer_is_asked_for_again_under_the_same_number(channel, provider):
    provider.answers("PUT", SEND, json={"event_id": "$sent"})
    provider.breaks("PUT", SEND, once=True)
    async with tools_for(provider.url, secrets=(TOKEN,)) as (tools, exchanges):
        assert await channel.post(Place(ROOM), Card(words="да"), tools) == ("$sent",)
        first, again = provider.asked
        assert (first.path, first.body) == (again.path, again.body)
        await channel.post(Place(ROOM), Card(words="да"), tools)
        assert provider.asked[-1].path != first.path
        provider.breaks("PUT", SEND)
        with pytest.raises(Uncertain):
            await channel.post(Place(ROOM), Card(words="да"), tools)
    assert TOKEN not in repr(exchanges)


async def test_nothing_can_have_been_pressed(channel, tools):
    with pytest.raises(Undeliverable):
        await channel.confirm("press", tools, text="да")
    assert not channel.abilities.buttons


# --- the line ---


@dataclass
class Hearing:
    """What the hub hands a listener."""

    tools: Tools
    cursor: Mapping[str, Any] = field(default_factory=dict)
    kept: list[Item] = field(default_factory=list)
    cursors: list[Any] = field(default_factory=list)
    states: list[str] = field(default_factory=list)

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        self.kept += items
        self.cursors.append(cursor)

    def is_well(self, detail: str = "") -> None:
        self.states.append("well")

    def is_ill(self, detail: str) -> None:
        self.states.append(detail)

    @property
    def texts(self) -> list[str]:
        return [found.text for kept in self.kept for found in parse(kept.request) if isinstance(found, DeskSaid)]


async def listen(channel: MatrixDesk, hearing: Hearing, until: Callable[[], bool]) -> None:
    """Let the desk listen until something holds."""
    task = asyncio.create_task(channel.run(hearing))
    try:
        async with asyncio.timeout(20):
            while not until() and not task.done():
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert until()


def joined(*events: dict[str, Any], limited: bool = False, **more: Any) -> dict[str, Any]:
    return {"join": {ROOM: {"timeline": {"events": list(events), "limited": limited, "prev_batch": "p0", **more}}}}


def says(provider: Any, *answers: dict[str, Any]) -> None:
    """Let the homeserver answer `/sync` with these rooms, one after the other, and then hold."""
    left = list(answers)
    given = iter(range(1, 100))

    def answer(asked: Asked) -> web.StreamResponse:
        rooms = left.pop(0) if left else {}
        return web.json_response({"next_batch": f"s{next(given)}", "rooms": rooms})

    provider.does("GET", SYNC, answer)
    provider.answers("GET", "/_matrix/client/v3/account/whoami", json={"user_id": BOT})
    provider.answers("GET", MEMBERS, json={"joined": {BOT: {}, VERA: {"display_name": "Вера"}}})


async def test_what_an_answer_left_out_is_asked_for_page_by_page(channel, provider, tools):
    says(provider, joined(message("4", "$4"), limited=True))
    pages = {"p0": (["3", "2"], "p1"), "p1": (["1"], "p2"), "p2": ([], "")}

    def page(asked: Asked) -> web.StreamResponse:
        texts, end = pages[asked.query["from"]]
        assert (asked.query["dir"], asked.query["to"]) == ("b", "s0")
        return web.json_response(
            {"chunk": [message(text, f"${text}") for text in texts], **({"end": end} if end else {})}
        )

    provider.does("GET", MESSAGES, page)
    hearing = Hearing(tools, {"user": BOT, "since": "s0"})
    await listen(channel, hearing, lambda: bool(hearing.kept))
    assert hearing.texts == ["1", "2", "3", "4"]
    assert hearing.cursors[0] == {"user": BOT, "since": "s1"}


async def test_a_round_that_failed_half_way_is_done_again_from_where_it_began(channel, provider, tools):
    says(provider, joined(message("1", "$1")), joined(message("1", "$1")))
    provider.answers("GET", MEMBERS, status=503, once=True)
    hearing = Hearing(tools, {"user": BOT, "since": "s0"})
    await listen(channel, hearing, lambda: bool(hearing.kept))
    asked = [found.query.get("since") for found in provider.asked if found.path == SYNC]
    assert asked[:2] == ["s0", "s0"]
    assert hearing.states[0].startswith("The homeserver is in trouble")
    assert hearing.texts == ["1"]


async def test_an_invitation_that_cannot_be_accepted_just_now_is_kept_and_tried_again(channel, provider, tools):
    state = {"type": "m.room.member", "state_key": BOT, "sender": VERA, "content": {"membership": "invite"}}
    says(provider, {"invite": {ROOM: {"invite_state": {"events": [state]}}}})
    provider.answers("POST", JOIN, json={"room_id": ROOM})
    provider.answers("POST", JOIN, status=502, once=True)
    provider.answers("GET", r"/_matrix/client/v3/rooms/[^/]+/state/.*", status=404, json={"errcode": "M_NOT_FOUND"})
    hearing = Hearing(tools, {"user": BOT, "since": "s0"})
    await listen(channel, hearing, lambda: bool(hearing.cursors) and "invited" not in hearing.cursors[-1])
    invited = [cursor.get("invited") for cursor in hearing.cursors]
    assert invited[:2] == [{ROOM: [VERA, 0]}, {ROOM: [VERA, 1]}]
    assert [found.query["server_name"] for found in provider.asked if found.method == "POST"] == ["example.com"] * 2


async def test_a_cursor_of_another_user_is_not_taken_over(channel, provider, tools):
    says(provider, {})
    hearing = Hearing(tools, {"user": "@old:example.com", "since": "s77"})
    await listen(channel, hearing, lambda: "well" in hearing.states)
    first = next(found for found in provider.asked if found.path == SYNC)
    assert "since" not in first.query
    assert hearing.cursors[0] == {"user": BOT, "since": "s1"}


async def test_odd_answers_of_the_homeserver_lose_nothing_else(channel, provider, tools):
    odd = joined({"type": 7}, {}, {**message(), "sender": None}, message("да", "$1"))
    odd["join"]["!odd:example.com"] = None
    odd["leave"] = {"!left:example.com": {"timeline": {"events": "?"}}}
    odd["invite"] = []
    says(provider, odd)
    hearing = Hearing(tools, {"user": BOT, "since": "s0", "invited": "?"})
    await listen(channel, hearing, lambda: bool(hearing.kept))
    assert hearing.texts == ["да"]
