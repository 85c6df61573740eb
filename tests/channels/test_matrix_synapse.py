"""Matrix against a real homeserver: what Synapse pushes is understood, and what we send arrives, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr

from channels.contract import ParseContext, Tools
from channels.errors import RecipientGone, Unauthorised
from channels.matrix import Matrix
from channels.matrix_events import UNREADABLE
from core.kernel.addresses import Address
from core.kernel.envelopes import Changed, Event, Incoming, Pending, Signal, Status
from tests.channels.payloads import NOW
from tests.channels.provider import file, part, tools_for
from tests.peers import programs, synapse
from tests.peers.synapse import Person
from webhooks.errors import WebhookError
from webhooks.request import RawRequest

pytestmark = pytest.mark.asyncio(loop_scope="module")
E = TypeVar("E", bound=Event)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@dataclass
class Door:
    """What the hub does with a request, as far as the channel is concerned; it fails as often as it is told."""

    channel: Matrix
    kept: list[tuple[str, RawRequest]] = field(default_factory=list)
    refused: list[tuple[str, RawRequest]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    failures: int = 0
    refusals: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        raw = RawRequest(
            await request.read(),
            request.method,
            {name.lower(): value for name, value in request.headers.items()},
            request.path,
            request.query_string,
            request.match_info["suffix"],
        )
        try:
            if (reply := self.channel.handshake(raw)) is None:
                self.channel.verify(raw, NOW)
                routed = self.channel.route(raw)
                if self.failures:
                    self.failures -= 1
                    self.refused.append((routed.dedupe_key, raw))
                    return web.Response(status=500)
                self.kept.append((routed.dedupe_key, raw))
                self.events += self.channel.parse(raw, ParseContext("RU", "Europe/Moscow", NOW))
                reply = self.channel.acknowledge(raw, "r1")
        except WebhookError as error:
            self.refusals.append(str(error))
            return web.Response(status=401)
        return web.Response(body=reply.body, status=reply.status, content_type=reply.content_type)

    async def hears(self, kind: type[E], fits: Callable[[E], bool]) -> E:
        """Wait for an event."""
        async with asyncio.timeout(30):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and fits(event):
                        return event
                await asyncio.sleep(0.02)

    def heard(self, kind: type[E], peer: str) -> list[E]:
        return [event for event in self.events if isinstance(event, kind) and event.peer == peer]


@dataclass
class Stand:
    """A homeserver, the channel, the door it pushes to, and a customer."""

    channel: Matrix
    door: Door
    tools: Tools
    bob: Person
    bot: str = f"@switchyard:{synapse.SERVER}"

    async def meets(self, **more: Any) -> str:
        """Let bob invite the bot, which accepts; return their room."""
        room = await self.bob.makes_room(invite=self.bot, **more)
        invitation = await self.door.hears(Pending, lambda event: event.peer == room)
        await self.channel.enrich(invitation, self.tools)
        return room

    async def is_told(self, room: str, content: Any, kind: str = "m.room.message") -> Incoming:
        """Let bob say something, and return what came of it."""
        name = await self.bob.says(room, content, kind)
        return await self.door.hears(Incoming, lambda event: event.external_id == name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory) -> AsyncIterator[Stand]:
    settings = Matrix.Settings(
        homeserver="http://127.0.0.1:1", as_token=SecretStr("as-0123456789"), hs_token=SecretStr("hs-0123456789")
    )
    [port] = programs.free_ports(1)
    hook = f"http://127.0.0.1:{port}/hooks/key"
    app = web.Application()
    door = Door(Matrix(settings))
    app.router.add_route("*", "/hooks/key/{suffix:.*}", door.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    registration = door.channel.registration(hook)
    try:
        async with (
            synapse.running(tmp_path_factory.mktemp("synapse"), registration) as server,
            aiohttp.ClientSession() as session,
            tools_for(server.url, hook_url=hook) as (tools, _),
        ):
            door.channel = Matrix(settings.model_copy(update={"homeserver": server.url}))
            bob = await synapse.person(server, session, "bob", "Боб Орлов")
            yield Stand(door.channel, door, tools, bob)
    finally:
        await runner.cleanup()


async def test_an_invitation_is_accepted_and_what_was_said_meanwhile_is_heard(stand):
    room = await stand.bob.makes_room(invite=stand.bot)
    first = await stand.bob.says(room, "Здравствуйте! Есть кто?")
    second = await stand.bob.says(room, "Хочу заказать")
    invitation = await stand.door.hears(Pending, lambda event: event.peer == room)
    started, *missed = await stand.channel.enrich(invitation, stand.tools)
    assert isinstance(started, Signal)
    assert (started.kind, started.name, started.peer) == ("started", "Боб Орлов", room)
    assert started.claims[0].address == Address("matrix", "@bob:hub.test")
    assert [(said.external_id, said.text) for said in missed if isinstance(said, Incoming)] == [
        (first, "Здравствуйте! Есть кто?"),
        (second, "Хочу заказать"),
    ]
    assert [said.peer for said in missed] == [room, room]
    heard = await stand.is_told(room, "И торт 😀")
    assert (heard.text, heard.peer, heard.claims[0].address.value) == ("И торт 😀", room, "@bob:hub.test")
    assert heard.occurred_at is not None
    assert await stand.channel.enrich(invitation, stand.tools), "accepting again does no harm"


async def test_somebody_else_s_invitation_is_none_of_our_business(stand):
    room = await stand.meets()
    await stand.bob.asks("POST", f"/_matrix/client/v3/rooms/{room}/invite", json={"user_id": "@carol:hub.test"})
    other = await stand.door.hears(Pending, lambda event: event.hints["invited"] == "@carol:hub.test")
    assert list(await stand.channel.enrich(other, stand.tools)) == []


async def test_what_was_not_acknowledged_comes_again_as_the_same(stand):
    room = await stand.meets()
    await stand.is_told(room, "до перебоя")
    stand.door.failures = 1
    said = await stand.is_told(room, "во время перебоя")
    refused, raw = stand.door.refused[-1]
    again = next(kept for key, kept in stand.door.kept if key == refused)
    assert raw.suffix == again.suffix
    assert said.external_id in raw.body.decode()
    assert sum(1 for event in stand.door.heard(Incoming, room) if event.external_id == said.external_id) == 1


async def test_a_message_sent_twice_under_one_number_arrives_once(stand):
    room = await stand.meets()
    asked = await stand.is_told(room, "Сколько стоит?")
    answer = part("100 рублей & <скидка>", peer=room, reply_to=asked.external_id)
    first, again = [await stand.channel.send(answer, stand.tools) for _ in range(2)]
    assert first == again
    seen = [event for event in await stand.bob.sees(room) if event["sender"] == stand.bot]
    assert [(event["event_id"], event["content"]["body"]) for event in seen] == [
        (first.external_ids[0], "100 рублей & <скидка>")
    ]
    assert seen[0]["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": asked.external_id}}
    echo = await stand.door.hears(Incoming, lambda event: event.external_id == first.external_ids[0])
    assert echo.is_ours


@pytest.mark.parametrize("text", ["ы" * 16_000, '"' * 32_000, "😀\n" * 6_400])
async def test_the_longest_text_goes_through(stand, text):
    room = await stand.meets()
    assert len(text.encode()) == stand.channel.sending.text
    await stand.channel.send(part(text, peer=room, thread=await stand.bob.says(room, "?")), stand.tools)
    assert (await stand.bob.sees(room))[-1]["content"]["body"] == text


async def test_files_go_both_ways(stand):
    room = await stand.meets()
    address = await stand.bob.uploads(PNG, "торт.png", "image/png")
    info = {"mimetype": "image/png", "size": len(PNG)}
    content = {"msgtype": "m.image", "body": "Такой хочу", "filename": "торт.png", "url": address, "info": info}
    said = await stand.is_told(room, content)
    [attached] = said.attachments
    assert (said.text, attached.name, attached.kind, attached.size) == ("Такой хочу", "торт.png", "image", len(PNG))
    fetched = await stand.channel.fetch_media(attached.reference, stand.tools)
    assert b"".join([piece async for piece in fetched.chunks]) == PNG
    assert fetched.content_type == "image/png"

    answer = part("Счёт", peer=room, files=(file(b"%PDF-1.7 x", name="счёт.pdf"),))
    first, again = [await stand.channel.send(answer, stand.tools) for _ in range(2)]
    assert first == again
    [seen] = [event for event in await stand.bob.sees(room) if event["sender"] == stand.bot]
    assert (seen["content"]["msgtype"], seen["content"]["body"], seen["content"]["filename"]) == (
        "m.file",
        "Счёт",
        "счёт.pdf",
    )
    assert await stand.bob.downloads(seen["content"]["url"]) == b"%PDF-1.7 x"


async def test_edits_reactions_and_deletions_are_told(stand):
    room = await stand.meets()
    said = await stand.is_told(room, "Хочу торт")
    name = said.external_id
    await stand.bob.says(
        room,
        {
            "msgtype": "m.text",
            "body": "* Хочу два торта",
            "m.new_content": {"msgtype": "m.text", "body": "Хочу два торта"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": name},
        },
    )
    annotation = {"rel_type": "m.annotation", "event_id": name, "key": "👍"}
    await stand.bob.says(room, {"m.relates_to": annotation}, "m.reaction")
    await stand.bob.asks("PUT", f"/_matrix/client/v3/rooms/{room}/redact/{name}/1", json={})
    await stand.door.hears(Changed, lambda event: event.peer == room and event.change == "deleted")
    changes = stand.door.heard(Changed, room)
    assert [(event.external_id, event.change, event.text) for event in changes] == [
        (name, "edited", "Хочу два торта"),
        (name, "reaction", "👍"),
        (name, "deleted", ""),
    ]


async def test_who_is_typing_and_what_was_read_is_told(stand):
    room = await stand.meets()
    sent = await stand.channel.send(part("Добрый день", peer=room), stand.tools)
    await stand.bob.asks(
        "PUT", f"/_matrix/client/v3/rooms/{room}/typing/{stand.bob.user}", json={"typing": True, "timeout": 5000}
    )
    await stand.bob.asks("POST", f"/_matrix/client/v3/rooms/{room}/receipt/m.read/{sent.external_ids[0]}", json={})
    typing = await stand.door.hears(Signal, lambda event: event.peer == room and event.kind == "typing")
    assert typing.claims[0].address == Address("matrix", "@bob:hub.test")
    read = await stand.door.hears(Status, lambda event: event.peer == room)
    assert (read.status, read.up_to) == ("read", True)


async def test_what_is_encrypted_is_kept_as_that(stand):
    room = await stand.meets()
    secret = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgAEnAC", "session_id": "x"}
    said = await stand.is_told(room, secret, "m.room.encrypted")
    assert said.text == UNREADABLE


async def test_we_may_write_first_and_then_again_in_the_same_room(stand):
    peer = stand.channel.peer_of(Address("matrix", stand.bob.user))
    assert peer is not None
    first = await stand.channel.send(part("Ваш заказ готов", peer=peer), stand.tools)
    found = await stand.bob.asks("GET", "/_matrix/client/v3/sync", params={"timeout": "0"})
    [room] = found["rooms"]["invite"]
    await stand.bob.asks("POST", f"/_matrix/client/v3/join/{room}", json={})
    again = await stand.channel.send(part("Ваш заказ готов", peer=peer), stand.tools)
    assert first == again, "the number of the part was the same"
    assert [event["content"]["body"] for event in await stand.bob.sees(room)] == ["Ваш заказ готов"]


async def test_a_room_we_were_taken_out_of_is_told_and_cannot_be_written_to(stand):
    room = await stand.meets(preset="private_chat")  # where bob alone has a say
    await stand.bob.asks("POST", f"/_matrix/client/v3/rooms/{room}/kick", json={"user_id": stand.bot})
    await stand.door.hears(Signal, lambda event: event.peer == room and event.kind == "gone")
    with pytest.raises(RecipientGone):
        await stand.channel.send(part("Вы здесь?", peer=room), stand.tools)


async def test_the_check_finds_that_the_homeserver_knows_and_reaches_us(stand):
    checked = await stand.channel.check(stand.tools)
    assert checked.detail == "The homeserver knows us as @switchyard:hub.test, and reaches us"
    room = await stand.meets()
    assert await stand.channel.profile(room, stand.tools) == ("Боб Орлов", "")
    settings = Matrix.Settings(
        homeserver=stand.bob.url, as_token=SecretStr("another-token"), hs_token=SecretStr("hs-0123456789")
    )
    with pytest.raises(Unauthorised, match="Add the registration"):
        await Matrix(settings).check(stand.tools)


async def test_nothing_the_homeserver_pushed_was_refused(stand):
    room = await stand.meets()
    await stand.is_told(room, "Всё?")
    assert stand.door.refusals == []
