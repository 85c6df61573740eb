"""The desk on Matrix against a real homeserver: what Synapse tells is heard once, and what we post is seen."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from pydantic import SecretStr

from channels.contract import Item, ParseContext, Tools
from channels.desk_contract import Card, DeskEvent, DeskGone, DeskSaid, DeskStarted, Key, Place, PlaceGone
from channels.desk_matrix import MatrixDesk
from channels.errors import Misconfigured, RecipientGone, Unauthorised
from tests.channels.payloads import NOW
from tests.channels.provider import file, tools_for
from tests.peers import synapse
from tests.peers.synapse import Person, Synapse

pytestmark = pytest.mark.asyncio(loop_scope="module")
E = TypeVar("E", bound=DeskEvent)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
NO_SERVICE = (
    "{id: none, as_token: as-0123456789, hs_token: hs-0123456789, sender_localpart: none, url: null, "
    "namespaces: {users: [], aliases: [], rooms: []}}"
)
NUMBERS = itertools.count(1)
PRIVATE = {"preset": "private_chat", "is_direct": False}


@dataclass
class Hearing:
    """What the hub hands a listener: it keeps each item once, and the cursor with it."""

    channel: MatrixDesk
    tools: Tools
    cursor: Mapping[str, Any] = field(default_factory=dict)
    kept: dict[str, Item] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        for found in items:
            self.channel.verify(found.request, NOW)
            self.kept.setdefault(found.routed.dedupe_key, found)
        if cursor is not None:
            self.cursor = cursor

    def is_well(self, detail: str = "") -> None:
        self.states.append("well")

    def is_ill(self, detail: str) -> None:
        self.states.append(detail)

    @property
    def events(self) -> list[Any]:
        context = ParseContext("RU", "Europe/Moscow", NOW)
        return [event for found in self.kept.values() for event in self.channel.parse(found.request, context)]

    def of(self, kind: type[E], room: str) -> list[E]:
        return [event for event in self.events if isinstance(event, kind) and event.peer == room]

    async def hears(self, kind: type[E], fits: Callable[[E], bool]) -> E:
        """Wait for an event."""
        async with asyncio.timeout(30):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and fits(event):
                        return event
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Let the channel listen for the length of the block, from where it had come to."""
        self.states.clear()
        task = asyncio.create_task(self.channel.run(self))
        try:
            async with asyncio.timeout(30):
                while "well" not in self.states and not task.done():
                    await asyncio.sleep(0.02)
            yield
        finally:
            if not task.done():
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@dataclass
class Stand:
    """A homeserver, the desk and two of our people."""

    url: str
    channel: MatrixDesk
    tools: Tools
    bot: Person
    vera: Person
    ivan: Person

    def hearing(self, cursor: Mapping[str, Any] | None = None) -> Hearing:
        return Hearing(self.channel, self.tools, cursor or {})

    async def joins(self, person: Person, room: str) -> None:
        await person.asks("POST", f"/_matrix/client/v3/join/{quote(room)}", json={})

    async def meets(self, **more: Any) -> str:
        """Return a room that vera and the bot are in."""
        room = await self.vera.makes_room(invite=self.bot.user, **more)
        await self.joins(self.bot, room)
        return room


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def homeserver(tmp_path_factory) -> AsyncIterator[tuple[Synapse, Tools, Person, Person]]:
    async with (
        synapse.running(tmp_path_factory.mktemp("synapse"), NO_SERVICE) as server,
        aiohttp.ClientSession() as session,
        tools_for(server.url) as (tools, _),
    ):
        vera = await synapse.person(server, session, "vera", "Вера Орлова")
        yield server, tools, vera, await synapse.person(server, session, "ivan")


@pytest_asyncio.fixture(loop_scope="module")
async def stand(homeserver) -> Stand:
    """A bot of its own for each test: Synapse gives a first answer to `/sync` again for two minutes."""
    server, tools, vera, ivan = homeserver
    bot = await synapse.person(server, vera.session, f"desk{next(NUMBERS)}", "Switchyard")
    settings = MatrixDesk.Settings(homeserver=server.url, user_id=bot.user, access_token=SecretStr(bot.token))
    return Stand(server.url, MatrixDesk(settings), tools, bot, vera, ivan)


async def test_an_invitation_is_accepted_and_what_was_written_meanwhile_is_heard(stand):
    hearing = stand.hearing()
    async with hearing.listening():
        room = await stand.vera.makes_room()
        await stand.vera.says(room, "до приглашения")
        await stand.vera.asks("POST", f"/_matrix/client/v3/rooms/{room}/invite", json={"user_id": stand.bot.user})
        early = await stand.vera.says(room, "link abcdefgh-12345678")
        started = await hearing.hears(DeskStarted, lambda event: event.peer == room and event.ticket != "")
        assert (started.ticket, started.person, started.is_private) == ("abcdefgh-12345678", stand.vera.user, True)
        [met] = [event for event in hearing.of(DeskStarted, room) if not event.ticket]
        assert (met.ticket, met.person, met.name, met.is_private) == ("", stand.vera.user, "Вера Орлова", True)
        name = await stand.vera.says(room, "Мои задачи 😀")
        said = await hearing.hears(DeskSaid, lambda event: event.ref == name)
        assert said == DeskSaid(
            peer=room,
            occurred_at=said.occurred_at,
            key=f"said:{name}",
            person=stand.vera.user,
            name="Вера Орлова",
            handle=stand.vera.user,
            is_private=True,
            ref=name,
            text="Мои задачи 😀",
        )
        assert said.occurred_at is not None
        assert [event.text for event in hearing.of(DeskSaid, room)] == ["Мои задачи 😀"]
        assert started.key == f"said:{early}"


async def test_an_invitation_made_before_the_desk_was_connected_is_accepted(stand):
    room = await stand.vera.makes_room(invite=stand.bot.user)
    hearing = stand.hearing()
    async with hearing.listening():
        await hearing.hears(DeskStarted, lambda event: event.peer == room)
    assert "invited" not in hearing.cursor


async def test_an_invitation_that_was_withdrawn_is_forgotten(stand):
    hearing = stand.hearing({"user": stand.bot.user, "invited": {"!gone:hub.test": [stand.vera.user, 0]}})
    async with hearing.listening():
        room = await stand.meets()
        await hearing.hears(DeskSaid, await _said(stand, room, "слышно"))
    assert "invited" not in hearing.cursor


async def _said(stand: Stand, room: str, text: str) -> Callable[[DeskSaid], bool]:
    name = await stand.vera.says(room, text)
    return lambda event: event.ref == name


async def test_what_was_said_before_the_desk_was_connected_is_not_heard(stand):
    room = await stand.meets()
    await stand.vera.says(room, "давно")
    hearing = stand.hearing()
    async with hearing.listening():
        await hearing.hears(DeskSaid, await _said(stand, room, "теперь"))
        assert [event.text for event in hearing.of(DeskSaid, room)] == ["теперь"]


async def test_what_was_said_while_nobody_listened_is_heard_whole_in_order_and_once(stand):
    room = await stand.meets()
    hearing = stand.hearing()
    async with hearing.listening():
        await hearing.hears(DeskSaid, await _said(stand, room, "0"))
    for number in range(1, 61):
        await stand.vera.says(room, str(number))
    again = stand.hearing(hearing.cursor)
    async with again.listening():
        await again.hears(DeskSaid, await _said(stand, room, "61"))
    assert [event.text for event in again.of(DeskSaid, room)] == [str(number) for number in range(1, 62)]
    third = stand.hearing(again.cursor)
    async with third.listening():
        await third.hears(DeskSaid, await _said(stand, room, "62"))
    assert [event.text for event in third.of(DeskSaid, room)] == ["62"]


async def test_a_place_the_homeserver_does_not_know_any_more_begins_anew(stand):
    room = await stand.meets()
    hearing = stand.hearing({"user": stand.bot.user, "since": "s0_never"})
    async with hearing.listening():
        await hearing.hears(DeskSaid, await _said(stand, room, "снова"))
    assert "The homeserver does not know any more where we had come to, so we begin anew" in hearing.states


async def test_a_room_of_many_is_told_from_one_with_one_person(stand):
    room = await stand.meets(**PRIVATE)
    hearing = stand.hearing()
    async with hearing.listening():
        alone = await hearing.hears(DeskSaid, await _said(stand, room, "пока вдвоём"))
        assert alone.is_private
        await stand.vera.asks("POST", f"/_matrix/client/v3/rooms/{room}/invite", json={"user_id": stand.ivan.user})
        await stand.joins(stand.ivan, room)
        name = await stand.ivan.says(room, "link abcdefgh-12345678")
        said = await hearing.hears(DeskSaid, lambda event: event.ref == name)
        assert (said.is_private, said.person, said.text) == (False, stand.ivan.user, "link abcdefgh-12345678")


async def test_a_card_is_shown_as_it_is_and_answered_in_its_thread(stand):
    room = await stand.meets()
    hearing = stand.hearing()
    card = Card(
        title="Новая заявка <b>",
        lines=("Вера & Ко",),
        words="*Здравствуйте*  @room <script>\nhttps://a.example/?a=1&b=2",
        footer="Иван · 12:00",
        keys=((Key("Взять", "take:1"), Key("Открыть", url="https://hub.example/deals/1")),),
    )
    async with hearing.listening():
        [ref] = await stand.channel.post(Place(room), card, stand.tools)
        [seen] = await stand.vera.sees(room)
        content = seen["content"]
        assert seen["event_id"] == ref
        assert content["body"] == card.plain() + "\nОткрыть: https://hub.example/deals/1"
        assert content["formatted_body"].startswith(
            "<strong>Новая заявка &lt;b&gt;</strong><br>Вера &amp; Ко<br><br>*Здравствуйте* \u00a0@room &lt;script&gt;"
        )
        assert (content["msgtype"], content["m.mentions"]) == ("m.text", {})
        relation = {"rel_type": "m.thread", "event_id": ref, "is_falling_back": True}
        name = await stand.vera.says(
            room,
            {
                "msgtype": "m.text",
                "body": "!take",
                "m.relates_to": {**relation, "m.in_reply_to": {"event_id": ref}},
            },
        )
        said = await hearing.hears(DeskSaid, lambda event: event.ref == name)
        assert (said.text, said.thread, said.reply_to) == ("/take", ref, ref)
        answer = {
            "msgtype": "m.text",
            "body": "> <@desk> x\n\nда",
            "m.relates_to": {"m.in_reply_to": {"event_id": ref}},
        }
        name = await stand.vera.says(room, answer)
        said = await hearing.hears(DeskSaid, lambda event: event.ref == name)
        assert (said.text, said.thread, said.reply_to) == ("да", "", ref)


async def test_what_is_posted_in_a_thread_stands_in_it_and_a_quiet_card_is_a_notice(stand):
    room = await stand.meets()
    [root] = await stand.channel.post(Place(room), Card(title="Карточка"), stand.tools)
    [first] = await stand.channel.post(Place(room, root), Card(words="в треде", is_quiet=True), stand.tools)
    [second] = await stand.channel.post(Place(room, root), Card(words="ответ"), stand.tools, reply_to=first)
    [third] = await stand.channel.post(Place(room), Card(words="под первой"), stand.tools, reply_to=root)
    [fourth] = await stand.channel.post(Place(room), Card(words="туда же"), stand.tools, reply_to=first)
    seen = {event["event_id"]: event["content"] for event in await stand.vera.sees(room)}
    ties = {ref: seen[ref]["m.relates_to"] for ref in (first, second, third, fourth)}
    assert all((tie["rel_type"], tie["event_id"]) == ("m.thread", root) for tie in ties.values())
    answered = {ref: (tie["m.in_reply_to"]["event_id"], tie["is_falling_back"]) for ref, tie in ties.items()}
    assert answered == {first: (root, True), second: (first, False), third: (root, True), fourth: (first, False)}
    [fifth] = await stand.channel.post(Place(room, second), Card(words="в тот же"), stand.tools)
    reply = await stand.vera.says(
        room, {"msgtype": "m.text", "body": "да", "m.relates_to": {"m.in_reply_to": {"event_id": root}}}
    )
    [sixth] = await stand.channel.post(Place(room), Card(words="под ответом"), stand.tools, reply_to=reply)
    latest = {event["event_id"]: event["content"] for event in await stand.vera.sees(room)}
    assert latest[fifth]["m.relates_to"]["event_id"] == root
    assert latest[sixth]["m.relates_to"]["event_id"] == reply
    assert (seen[first]["msgtype"], seen[second]["msgtype"]) == ("m.notice", "m.text")
    assert "formatted_body" not in seen[first]


async def test_a_thread_whose_first_message_was_deleted_is_gone(stand):
    room = await stand.meets()
    root = await stand.vera.says(room, "удалю")
    await stand.vera.asks("PUT", f"/_matrix/client/v3/rooms/{room}/redact/{root}/1", json={})
    with pytest.raises(PlaceGone):
        await stand.channel.post(Place(room, root), Card(words="в тред"), stand.tools)
    with pytest.raises(PlaceGone):
        await stand.channel.post(Place(room, "$nothing"), Card(words="в тред"), stand.tools)
    [ref] = await stand.channel.post(Place(room), Card(words="ответ"), stand.tools, reply_to=root)
    seen = {event["event_id"]: event["content"] for event in await stand.vera.sees(room)}
    assert "m.relates_to" not in seen[ref], "what is gone is not answered to, but the answer goes"


@pytest.mark.parametrize("words", ["слово " * 2_000, '"&<' * 3_000, "😀" * 5_000, "строка\n" * 1_500])
async def test_long_words_become_several_posts_that_are_the_original_together(stand, words):
    room = await stand.meets()
    refs = await stand.channel.post(Place(room), Card(title="Длинное", words=words), stand.tools)
    seen = {event["event_id"]: event["content"]["body"] for event in await stand.vera.sees(room)}
    assert len(refs) > 1
    assert "".join(seen[ref] for ref in refs) == f"Длинное\n\n{words}"


async def test_a_post_is_edited_however_long_it_is_and_one_that_is_gone_is_no_matter(stand):
    room = await stand.meets()
    [ref] = await stand.channel.post(Place(room), Card(title="Было"), stand.tools)
    await stand.channel.edit(Place(room), ref, Card(title="Стало", words="&" * 3_900), stand.tools)
    newest = (await stand.vera.sees(room))[-1]["content"]
    assert newest["m.relates_to"] == {"rel_type": "m.replace", "event_id": ref}
    assert newest["m.new_content"]["body"] == "Стало\n\n" + "&" * 3_900
    await stand.bot.asks("PUT", f"/_matrix/client/v3/rooms/{room}/redact/{ref}/1", json={})
    await stand.channel.edit(Place(room), ref, Card(title="Ещё раз"), stand.tools)


async def test_an_edit_of_somebody_s_is_their_words_anew(stand):
    room = await stand.meets()
    hearing = stand.hearing()
    async with hearing.listening():
        name = await stand.vera.says(room, "Завтра")
        fresh = {"msgtype": "m.text", "body": "Послезавтра"}
        tie = {"rel_type": "m.replace", "event_id": name}
        await stand.vera.says(room, {**fresh, "body": "* Послезавтра", "m.new_content": fresh, "m.relates_to": tie})
        edit = await hearing.hears(DeskSaid, lambda event: event.is_edit)
        assert (edit.ref, edit.text) == (name, "Послезавтра")


async def test_files_go_both_ways(stand):
    room = await stand.meets()
    hearing = stand.hearing()
    async with hearing.listening():
        address = await stand.vera.uploads(PNG, "торт.png", "image/png")
        content = {"msgtype": "m.image", "body": "Вот", "filename": "торт.png", "url": address}
        name = await stand.vera.says(room, {**content, "info": {"mimetype": "image/png", "size": len(PNG)}})
        said = await hearing.hears(DeskSaid, lambda event: event.ref == name)
    [attached] = said.attachments
    assert (said.text, attached.name, attached.kind, attached.size) == ("Вот", "торт.png", "image", len(PNG))
    fetched = await stand.channel.fetch_media(attached.reference, stand.tools)
    assert b"".join([piece async for piece in fetched.chunks]) == PNG
    sent = (file(b"%PDF-1.7 x", name="счёт.pdf"), file(PNG, name="a.png", content_type="image/png", kind="image"))
    refs = await stand.channel.post(Place(room), Card(words="Счёт"), stand.tools, files=sent)
    seen = {event["event_id"]: event["content"] for event in await stand.vera.sees(room)}
    assert [seen[ref]["msgtype"] for ref in refs] == ["m.text", "m.file", "m.image"]
    assert await stand.vera.downloads(seen[refs[1]]["url"]) == b"%PDF-1.7 x"


async def test_who_invites_us_into_an_encrypted_room_is_invited_into_another(stand):
    hearing = stand.hearing()
    sealed = [{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
    async with hearing.listening():
        room = await stand.vera.makes_room(invite=stand.bot.user, initial_state=sealed)
        other = await _invited(stand.vera)
        await stand.joins(stand.vera, other)
        met = await hearing.hears(DeskStarted, lambda event: event.peer == other)
        assert (met.person, met.is_private) == (stand.vera.user, True)
        await hearing.hears(DeskSaid, await _said(stand, other, "слышно"))
        [notice] = await stand.vera.sees(room)
        assert "I have invited you" in notice["content"]["body"]
        await stand.vera.asks("POST", f"/_matrix/client/v3/rooms/{other}/leave", json={})
        await hearing.hears(DeskGone, lambda event: event.peer == other)
        await stand.vera.makes_room(invite=stand.bot.user, initial_state=sealed)
        assert await _invited(stand.vera) == other
        await stand.joins(stand.vera, other)
    assert hearing.of(DeskStarted, room) == []


async def test_a_room_that_is_encrypted_later_is_left_for_another(stand):
    room = await stand.meets()
    hearing = stand.hearing()
    async with hearing.listening():
        await hearing.hears(DeskSaid, await _said(stand, room, "открыто"))
        await stand.vera.says(room, {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "A"}, "m.room.encrypted")
        other = await _invited(stand.vera)
        assert other != room
        await stand.joins(stand.vera, other)
        await hearing.hears(DeskStarted, lambda event: event.peer == other)


async def _invited(person: Person) -> str:
    """Wait until somebody is invited, and return the room."""
    since: dict[str, str] = {}
    async with asyncio.timeout(30):
        while True:
            found = await person.asks(
                "GET", "/_matrix/client/v3/sync", params={"timeout": str(1_000 + next(NUMBERS)), **since}
            )
            for room in found.get("rooms", {}).get("invite", {}):
                return str(room)
            since = {"since": found["next_batch"]}


async def test_a_room_we_were_put_out_of_is_told_and_cannot_be_written_to(stand):
    room = await stand.meets(**PRIVATE)
    hearing = stand.hearing()
    async with hearing.listening():
        await stand.vera.asks("POST", f"/_matrix/client/v3/rooms/{room}/kick", json={"user_id": stand.bot.user})
        gone = await hearing.hears(DeskGone, lambda event: event.peer == room)
        assert gone.key.startswith("gone:$")
    with pytest.raises(RecipientGone):
        await stand.channel.post(Place(room), Card(words="Вы здесь?"), stand.tools)


async def test_who_leaves_the_room_with_the_bot_is_gone(stand):
    room = await stand.meets()
    hearing = stand.hearing()
    async with hearing.listening():
        await stand.vera.asks("POST", f"/_matrix/client/v3/rooms/{room}/leave", json={})
        gone = await hearing.hears(DeskGone, lambda event: event.peer == room)
        assert (gone.person, gone.is_private) == (stand.vera.user, True)


async def test_our_own_posts_and_those_of_programs_are_not_heard(stand):
    room = await stand.meets()
    hearing = stand.hearing()
    async with hearing.listening():
        await stand.channel.post(Place(room), Card(title="Карточка"), stand.tools)
        await stand.vera.says(room, {"msgtype": "m.notice", "body": "Сборка прошла"})
        await hearing.hears(DeskSaid, await _said(stand, room, "человек"))
        assert [event.text for event in hearing.of(DeskSaid, room)] == ["человек"]


async def test_the_check_finds_whose_token_it_is(stand):
    checked = await stand.channel.check(stand.tools)
    assert next(iter(checked.facts.values())) == stand.bot.user
    wrong = {"homeserver": stand.url, "user_id": "@other:hub.test", "access_token": SecretStr(stand.bot.token)}
    other = MatrixDesk(MatrixDesk.Settings(**wrong))
    with pytest.raises(Misconfigured, match="not of @other"):
        await other.check(stand.tools)
    with pytest.raises(Misconfigured, match="not that of @other"):
        await other.run(Hearing(other, stand.tools))
    forged = MatrixDesk(MatrixDesk.Settings(**{**wrong, "access_token": SecretStr("syt_another")}))
    with pytest.raises(Unauthorised, match="Log in as the bot again"):
        await forged.run(Hearing(forged, stand.tools))
