"""Mattermost against a double of our own: no server of theirs can be had here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import WSCloseCode, web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr, ValidationError

from channels.contract import Button, Item, Listener, ParseContext, Tools
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
from channels.mattermost import Mattermost
from channels.mattermost_posts import item, proof
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Changed, Claim, Event, Incoming, Trust
from tests.channels.payloads import NOW, mattermost
from tests.channels.payloads.mattermost import BOB, DIRECT, MOMENT, POST, SECRET, TOWN, US, hook, post, said
from tests.channels.provider import Provider, file, part, tools_for
from webhooks.errors import BadSignature, NotConfigured, WebhookError
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
TOKEN = mattermost.SETTINGS["token"]
AT = NOW.replace(hour=8, minute=59, second=58, microsecond=500_000)
ME = {"id": US, "username": "hub", "is_bot": True}


def make(**more: Any) -> Mattermost:
    return Mattermost(Mattermost.Settings(**{**mattermost.SETTINGS, **more}))


@pytest.fixture
def channel(provider) -> Mattermost:
    return make(base_url=provider.url)


def parse(heard: dict[str, Any]) -> list[Event]:
    made = item(heard["event"], US, heard["data"], heard["broadcast"]["channel_id"])
    return list(make().parse(made.request, CONTEXT))


def heard_as(heard: dict[str, Any]) -> Incoming:
    [found] = parse(heard)
    assert isinstance(found, Incoming)
    return found


# --- webhooks ---


@pytest.mark.parametrize("is_json", [True, False])
def test_an_outgoing_webhook_is_known_by_its_token(is_json):
    channel = make()
    channel.verify(hook(mattermost.HOOKED, is_json=is_json), NOW)
    for token in ("", "another", TOKEN):
        with pytest.raises(BadSignature):
            channel.verify(hook({**mattermost.HOOKED, "token": token}, is_json=is_json), NOW)
    with pytest.raises(NotConfigured, match="listens by itself"):
        make(secret=SecretStr("")).verify(hook({**mattermost.HOOKED, "token": ""}, is_json=is_json), NOW)


@pytest.mark.parametrize("is_json", [True, False])
def test_an_outgoing_webhook_says_who_what_and_where(is_json):
    assert make().parse(hook(mattermost.HOOKED, is_json=is_json), CONTEXT) == [
        Incoming(
            peer=TOWN,
            occurred_at=AT,
            external_id=POST,
            claims=(Claim(Address("mattermost", BOB), BOB, Trust.ATTESTED),),
            name="bob",
            text="#заказ два торта & чай",
            attachments=(
                Attachment("f" * 26, "", 0, reference="f" * 26),
                Attachment("g" * 26, "", 0, reference="g" * 26),
            ),
        )
    ]


def test_a_post_is_the_same_whichever_way_it_comes():
    by_hook = make().route(hook(mattermost.HOOKED))
    assert item("posted", US, said(post(channel_id=TOWN))["data"]).routed == by_hook
    assert by_hook.peer == TOWN


def test_a_pressed_button_is_an_answer_if_it_is_ours():
    channel = make()
    pressed = RawRequest(json.dumps(mattermost.PRESSED).encode())
    channel.verify(pressed, NOW)
    [answer] = channel.parse(pressed, CONTEXT)
    assert isinstance(answer, Incoming)
    assert (answer.text, answer.fields, answer.reply_to) == ("Да, верно", {"payload": "confirm:17"}, POST)
    assert channel.route(pressed) != channel.route(RawRequest(pressed.body.replace(b"bWd0", b"cWd0")))
    forged = {**mattermost.PRESSED["context"], "payload": "confirm:18"}
    with pytest.raises(BadSignature):
        channel.verify(RawRequest(json.dumps({**mattermost.PRESSED, "context": forged}).encode()), NOW)


def test_what_the_line_says_cannot_be_posted_by_others():
    heard = item("posted", US, said(post())["data"]).request
    mixed = json.dumps({**json.loads(heard.body), "context": mattermost.PRESSED["context"]}).encode()
    for body in (heard.body, mixed):
        with pytest.raises(BadSignature):
            make().verify(RawRequest(body), NOW)


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff", b"{", b"[]", b"a=1&" * 150_000])
def test_what_is_not_from_mattermost_is_refused(body):
    with pytest.raises(WebhookError):
        make().verify(RawRequest(body), NOW)


def test_the_answer_to_a_webhook_says_nothing():
    assert make().acknowledge(hook(mattermost.HOOKED), "r1").body == b"{}"


# --- what is heard ---


def test_a_direct_message_says_who_what_and_where():
    assert heard_as(said(post())) == Incoming(
        peer=DIRECT,
        occurred_at=AT,
        external_id=POST,
        claims=(Claim(Address("mattermost", BOB), BOB, Trust.ATTESTED),),
        text="Здравствуйте! Сколько стоит торт? 😀",
    )


@pytest.mark.parametrize(("where", "thread"), [("D", ""), ("G", "root"), ("O", "root"), ("P", "root")])
def test_a_thread_is_a_conversation_of_its_own_except_in_direct_messages(where, thread):
    read = heard_as(said(post(root_id="root"), where=where))
    assert (read.thread, read.reply_to) == (thread, "root")


def test_files_are_described_or_at_least_named():
    read = heard_as(said(post("", metadata=mattermost.FILES, file_ids=["f" * 26, "g" * 26])))
    assert read.attachments == (
        Attachment("торт.png", "image/png", 31037, reference="f" * 26, kind="image"),
        Attachment("голос.ogg", "audio/ogg", 9000, reference="g" * 26, kind="audio"),
    )
    assert heard_as(said(post("", file_ids=["f" * 26]))).attachments == (
        Attachment("f" * 26, "", 0, reference="f" * 26),
    )


@pytest.mark.parametrize(
    ("more", "is_ours", "is_automatic"),
    [
        ({}, False, False),
        ({"user_id": US}, True, False),
        ({"props": {"from_bot": "true"}}, False, True),
        ({"props": {"from_webhook": "true"}}, False, True),
    ],
)
def test_who_wrote_it_is_told(more, is_ours, is_automatic):
    read = heard_as(said(post(**more)))
    assert (read.is_ours, read.is_automatic, bool(read.claims)) == (is_ours, is_automatic, not is_ours)


@pytest.mark.parametrize(
    "found", [post(type="system_join_channel"), post(""), post(id=""), post(user_id=None), post(channel_id="")]
)
def test_what_nobody_said_makes_no_event(found):
    assert parse(said(found)) == []


@pytest.mark.parametrize("broken", ["{", '"x"', "[" * 100_000, None, 7])
def test_a_post_that_cannot_be_read_makes_no_event(broken):
    assert parse({"event": "posted", "data": {"post": broken}, "broadcast": {"channel_id": DIRECT}}) == []


def test_changes_name_the_post():
    edited = said(post("Два", edit_at=MOMENT, update_at=MOMENT), event="post_edited")
    deleted = said(post("Два", delete_at=MOMENT), event="post_deleted")
    reaction = {"user_id": BOB, "post_id": POST, "emoji_name": "thumbsup", "create_at": MOMENT}
    put, taken = (
        {"event": name, "data": {"reaction": json.dumps(reaction)}, "broadcast": {"channel_id": DIRECT}}
        for name in ("reaction_added", "reaction_removed")
    )
    ours = {**put, "data": {"reaction": json.dumps({**reaction, "user_id": US})}}
    found = [event for heard in (edited, deleted, put, taken, ours) for event in parse(heard)]
    assert found == [
        Changed(peer=DIRECT, occurred_at=AT, external_id=POST, change="edited", text="Два"),
        Changed(peer=DIRECT, occurred_at=AT, external_id=POST, change="deleted"),
        Changed(peer=DIRECT, occurred_at=AT, external_id=POST, change="reaction", text=":thumbsup:"),
        Changed(peer=DIRECT, occurred_at=AT, external_id=POST, change="reaction", text=""),
    ]
    assert parse(said(post(user_id=US), event="post_edited")) == []


# --- the line ---


@dataclass
class Playing:
    """A server that plays Mattermost: REST by `rest`, and its WebSocket."""

    rest: Provider
    lines: list[web.WebSocketResponse] = field(default_factory=list)
    challenges: list[Any] = field(default_factory=list)
    takes_token: bool = True
    seq: int = 0

    async def line(self, request: web.Request) -> web.WebSocketResponse:
        line = web.WebSocketResponse()
        await line.prepare(request)
        self.seq = 0
        challenge = await line.receive_json()
        self.challenges.append(challenge)
        await self._tell(line, {"event": "hello", "data": {"server_version": "10.5.0"}, "broadcast": {}})
        answer = {"status": "OK"} if self.takes_token else {"status": "FAIL", "error": {"id": "api.web_socket_router"}}
        await line.send_json({**answer, "seq_reply": challenge["seq"]})
        self.lines.append(line)
        async for _ in line:
            pass
        return line

    async def says(self, heard: dict[str, Any]) -> None:
        await self._tell(self.lines[-1], heard)

    async def _tell(self, line: web.WebSocketResponse, heard: dict[str, Any]) -> None:
        await line.send_json({**heard, "seq": self.seq})
        self.seq += 1

    def has(self, *channels: tuple[str, str, list[dict[str, Any]]]) -> None:
        """Let there be channels: id, type, posts."""
        self.rest.answers(
            "GET",
            "/api/v4/users/me/channels",
            json=[
                {"id": name, "type": where, "last_post_at": max((p["create_at"] for p in posts), default=0)}
                for name, where, posts in channels
            ],
        )
        for name, _, posts in channels:
            order = [found["id"] for found in reversed(posts)]
            self.rest.answers(
                "GET",
                f"/api/v4/channels/{name}/posts",
                json={"order": order, "posts": {found["id"]: found for found in posts}},
            )


@dataclass
class Hearing:
    """What the hub hands a listener: it keeps each item once, and the cursor with it."""

    tools: Tools
    cursor: Mapping[str, Any] = field(default_factory=dict)
    kept: dict[str, Item] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    cursors: list[Any] = field(default_factory=list)

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        for found in items:
            self.kept.setdefault(found.routed.dedupe_key, found)
        if cursor is not None:
            self.cursor = cursor
            self.cursors.append(cursor["since"])

    def is_well(self, detail: str = "") -> None:
        self.states.append("well")

    def is_ill(self, detail: str) -> None:
        self.states.append(f"ill: {detail}")

    @property
    def events(self) -> list[Event]:
        return [event for found in self.kept.values() for event in make().parse(found.request, CONTEXT)]

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Incoming)]


@pytest.fixture
async def playing() -> AsyncIterator[tuple[Playing, str]]:
    played = Playing(Provider())
    app = web.Application()
    app.router.add_get("/api/v4/websocket", played.line)
    app.router.add_route("*", "/{path:.*}", played.rest.handle)
    played.rest.answers("GET", "/api/v4/users/me", json=ME)
    played.has()
    async with TestServer(app) as server:
        yield played, str(server.make_url("")).rstrip("/")
        for line in played.lines:
            await line.close()


@asynccontextmanager
async def running(channel: Listener, url: str, cursor: Mapping[str, Any] | None = None) -> AsyncIterator[Hearing]:
    """Let a channel or a desk listen for the length of the block."""
    async with tools_for(url) as (tools, _):
        hearing = Hearing(tools, cursor or {})
        task = asyncio.create_task(channel.run(hearing))
        try:
            await until(lambda: "well" in hearing.states or task.done())
            yield hearing
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def listening(
    playing: tuple[Playing, str], cursor: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[Playing, Hearing]]:
    """Let our channel listen to the server for the length of the block."""
    played, url = playing
    async with running(make(url=url), url, cursor) as hearing:
        yield played, hearing


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def test_what_is_posted_is_heard_and_the_cursor_follows(playing):
    async with listening(playing) as (played, hearing):
        assert played.challenges == [{"seq": 1, "action": "authentication_challenge", "data": {"token": TOKEN}}]
        assert hearing.cursor == {"since": int(NOW.timestamp() * 1000)}
        await played.says(said(post(create_at=MOMENT + 9_000, update_at=MOMENT + 9_000)))
        await until(lambda: bool(hearing.kept))
        assert hearing.texts == ["Здравствуйте! Сколько стоит торт? 😀"]
        assert hearing.cursor == {"since": MOMENT + 9_000}
        [found] = hearing.kept.values()
        assert found.routed.peer == DIRECT


async def test_in_a_channel_of_many_only_what_is_meant_for_us_is_heard(playing):
    async with listening(playing) as (played, hearing):
        await played.says(said(post("Обед?", id="1", channel_id=TOWN), where="O"))
        await played.says(said(post("@hub, торт!", id="2", channel_id=TOWN), where="O", mentions=json.dumps([US])))
        await played.says(said(post("Спросите @hub.", id="3", channel_id=TOWN), where="P"))
        await played.says(said(post("hub", id="4", channel_id=TOWN), where="P", mentions=json.dumps([BOB])))
        await played.says(said(post("Торт без орехов", id="2", channel_id=TOWN), event="post_edited"))
        await played.says(said(post("последнее", id="5"), where="D"))
        await until(lambda: "последнее" in hearing.texts)
        assert hearing.texts == ["@hub, торт!", "Спросите @hub.", "последнее"]
        assert [event.text for event in hearing.events if isinstance(event, Changed)] == ["Торт без орехов"]


async def test_what_was_missed_is_fetched_once_in_order_whatever_became_of_it(playing):
    played, _ = playing
    since = MOMENT - 3_600_000
    posts = [
        post("старое, исправлено", id="1", create_at=since - 100_000, edit_at=since + 5, update_at=since + 5),
        post("старое, удалено", id="2", create_at=since - 90_000, delete_at=since + 6, update_at=since + 6),
        post("старое, с реакцией", id="3", create_at=since - 80_000, update_at=since + 7),
        post("новое", id="4", create_at=since + 8, update_at=since + 8),
        post("новое, удалено", id="5", create_at=since + 9, delete_at=since + 10, update_at=since + 10),
        post("наше", id="6", create_at=since + 11, update_at=since + 11, user_id=US),
    ]
    others = [post("Обед?", id="7", channel_id=TOWN), post("@hub торт", id="8", channel_id=TOWN)]
    played.has((DIRECT, "D", posts), (TOWN, "O", others), ("q" * 26, "D", []))
    async with listening(playing, {"since": since}) as (_, hearing):
        await played.says(said(posts[3]))
        await played.says(said(post("дальше", id="9")))
        await until(lambda: "дальше" in hearing.texts)
        changes = [(event.external_id, event.change) for event in hearing.events if isinstance(event, Changed)]
        assert changes == [("1", "edited"), ("2", "deleted")]
        assert hearing.texts == ["новое", "наше", "@hub торт", "дальше"]
        asked = [found for found in played.rest.asked if found.path.endswith("/posts")]
        assert {(found.path.split("/")[4], found.query["since"]) for found in asked} == {
            (DIRECT, str(since - 60_000)),
            (TOWN, str(since - 60_000)),
        }
        assert hearing.cursor == {"since": MOMENT}


async def test_the_cursor_waits_for_the_last_channel(playing):
    played, _ = playing
    since = MOMENT - 10
    played.has((DIRECT, "D", [post("раз", id="1")]), (TOWN, "D", [post("два", id="2", channel_id=TOWN)]))
    played.rest.answers("GET", f"/api/v4/channels/{TOWN}/posts", status=503, once=True)
    async with listening(playing, {"since": since}) as (_, hearing):
        assert hearing.texts == ["раз", "два"]
        assert hearing.cursors == [since, since, since, MOMENT]
        assert hearing.states == ["ill: Mattermost is in trouble: 503", "well"]


async def test_a_channel_we_were_taken_out_of_does_not_keep_the_others_from_being_heard(playing):
    played, _ = playing
    played.has((TOWN, "D", [post("недоступно", channel_id=TOWN)]), (DIRECT, "D", [post("слышно")]))
    gone = {"id": "api.context.permissions.app_error"}
    played.rest.answers("GET", f"/api/v4/channels/{TOWN}/posts", status=403, json=gone)
    async with listening(playing, {"since": MOMENT - 10}) as (_, hearing):
        assert hearing.texts == ["слышно"]


async def test_a_thousand_missed_posts_are_fetched_by_pages(playing):
    played, _ = playing
    since = MOMENT - 3_600_000
    posts = [post(f"{number}", id=f"{number:026}", create_at=since + number) for number in range(1, 1_101)]
    played.has((DIRECT, "D", posts))

    def answer(asked: Any) -> web.Response:
        newest = posts[::-1]
        if "since" in asked.query:
            chosen = newest[:1_000]
        else:
            start = int(asked.query["page"]) * int(asked.query["per_page"])
            chosen = newest[start : start + int(asked.query["per_page"])]
        return web.json_response({"order": [p["id"] for p in chosen], "posts": {p["id"]: p for p in chosen}})

    played.rest.does("GET", f"/api/v4/channels/{DIRECT}/posts", answer)
    async with listening(playing, {"since": since}) as (_, hearing):
        assert hearing.texts == [str(number) for number in range(1, 1_101)]


async def test_a_line_that_breaks_is_opened_again_and_what_was_said_meanwhile_fetched(playing):
    async with listening(playing) as (played, hearing):
        await played.says(said(post("до", id="1")))
        await until(lambda: hearing.texts == ["до"])
        played.has((DIRECT, "D", [post("до", id="1"), post("между", id="2", create_at=MOMENT + 5)]))
        await played.lines[-1].close(code=WSCloseCode.GOING_AWAY)
        await until(lambda: hearing.states.count("well") == 2)
        await played.says(said(post("после", id="3")))
        await until(lambda: "после" in hearing.texts)
        assert hearing.texts == ["до", "между", "после"]
        assert hearing.states == ["well", "ill: The line to Mattermost broke off; it is being opened again", "well"]


async def test_a_number_that_is_left_out_has_what_was_lost_fetched(playing):
    async with listening(playing) as (played, hearing):
        await played.says(said(post("один", id="1")))
        await until(lambda: hearing.texts == ["один"])
        played.has((DIRECT, "D", [post("два", id="2", create_at=MOMENT + 5)]))
        played.seq += 1
        await played.says(said(post("три", id="3", create_at=MOMENT + 9)))
        await until(lambda: "три" in hearing.texts)
        assert hearing.texts == ["один", "два", "три"]
        assert len(played.lines) == 1


async def test_noise_on_the_line_is_passed_over(playing):
    async with listening(playing) as (played, hearing):
        await played.lines[-1].send_str("{")
        await played.lines[-1].send_bytes(b"\xff")
        await played.lines[-1].send_json({"event": "posted", "data": None})
        await played.lines[-1].send_json({"event": "typing", "data": {"user_id": BOB}, "broadcast": {}})
        await played.lines[-1].send_json(["posted"])
        await played.says(said(post("слышно")))
        await until(lambda: bool(hearing.kept))
        assert hearing.texts == ["слышно"]


async def test_a_token_that_is_not_taken_ends_the_listening(playing):
    played, url = playing
    async with tools_for(url) as (tools, _):
        played.takes_token = False
        with pytest.raises(Unauthorised, match="WebSocket"):
            await make(url=url).run(Hearing(tools))
        expired = {"id": "api.context.session_expired.app_error", "message": TOKEN}
        played.rest.answers("GET", "/api/v4/users/me", status=401, json=expired)
        with pytest.raises(Unauthorised) as caught:
            await make(url=url).run(Hearing(tools))
        assert TOKEN not in str(caught.value)
        played.rest.answers("GET", "/api/v4/users/me", body="<html>", content_type="text/html")
        with pytest.raises(Misconfigured, match="Correct the address"):
            await make(url=url).run(Hearing(tools))


async def test_a_server_that_is_away_is_told_and_tried_again(playing):
    played, _ = playing
    played.rest.answers("GET", "/api/v4/users/me", status=503, body="restarting", once=True)
    async with listening(playing) as (_, hearing):
        assert hearing.states == ["ill: Mattermost is in trouble: 503", "well"]


# --- what goes out ---


async def test_a_text_is_posted_under_the_number_of_its_part(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "new"})
    receipt = await channel.send(part("Добрый день!", peer=DIRECT, thread="root"), tools)
    assert receipt.external_ids == ("new",)
    [asked] = provider.asked
    number = asked.json["pending_post_id"]
    assert asked.json == {
        "channel_id": DIRECT,
        "message": "Добрый день!",
        "pending_post_id": number,
        "root_id": "root",
    }
    assert number.endswith(":184467.0")
    assert TOKEN not in number
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("answered", "root"), [({"id": POST, "root_id": ""}, POST), ({"id": POST, "root_id": "root"}, "root"), (None, None)]
)
async def test_an_answer_is_tied_to_the_first_post_of_its_thread(channel, provider, tools, answered, root):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "new"})
    if answered is not None:
        provider.answers("GET", f"/api/v4/posts/{POST}", json=answered)
    await channel.send(part("да", peer=DIRECT, reply_to=POST), tools)
    assert provider.asked[-1].json.get("root_id") == root


async def test_writing_first_opens_the_direct_channel(channel, provider, tools):
    provider.answers("GET", "/api/v4/users/me", json=ME)
    provider.answers("POST", "/api/v4/channels/direct", status=201, json={"id": DIRECT})
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "new"})
    address = Address("mattermost", BOB)
    peer = channel.peer_of(address)
    assert channel.address_of(peer) == address
    assert channel.peer_of(Address("email", "a@b.example")) is None
    await channel.send(part("Здравствуйте", peer=peer), tools)
    _, opened, posted = provider.asked
    assert (opened.json, posted.json["channel_id"]) == ([US, BOB], DIRECT)


async def test_files_are_uploaded_and_posted_together(channel, provider, tools):
    provider.answers("POST", "/api/v4/files", status=201, json={"file_infos": [{"id": "f1"}]})
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "new"})
    both = (file(b"12345", name="счёт.pdf"), file(b"67", name="b.png", content_type="image/png"))
    await channel.send(part("Вот", peer=DIRECT, files=both), tools)
    first, second, posted = provider.asked
    assert (first.query, first.body) == ({"channel_id": DIRECT, "filename": "счёт.pdf"}, b"12345")
    assert (second.headers["content-type"], second.body) == ("image/png", b"67")
    assert posted.json["file_ids"] == ["f1", "f1"]


async def test_buttons_carry_a_proof_or_are_written_out(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "new"})
    asking = part("Верно?", peer=DIRECT, buttons=(Button("Да", "yes"), Button("Нет")))
    await channel.send(asking, tools)
    actions = provider.asked[0].json["props"]["attachments"][0]["actions"]
    assert [(action["name"], action["integration"]["url"]) for action in actions] == [
        ("Да", "https://hub.example/hooks/k"),
        ("Нет", "https://hub.example/hooks/k"),
    ]
    assert actions[0]["integration"]["context"] == {"text": "Да", "payload": "yes", "proof": proof(SECRET, "Да", "yes")}
    assert SECRET not in provider.asked[0].body.decode()
    await make(base_url=provider.url, secret=SecretStr("")).send(asking, tools)
    assert provider.asked[1].json["message"] == "Верно?\n\n• Да\n• Нет"


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, {"id": "api.context.session_expired.app_error"}, Unauthorised),
        (403, {"id": "api.context.permissions.app_error"}, Undeliverable),
        (404, {"id": "app.channel.get.existing.app_error"}, RecipientGone),
        (400, {"id": "api.post.create_post.can_not_post_to_deleted.error"}, RecipientGone),
        (400, {"id": "model.post.is_valid.msg.app_error"}, Undeliverable),
        (404, "<html>", Misconfigured),
        (500, {"id": "api.post.deduplicate_create_post.pending"}, Temporary),
        (502, "<html>", Temporary),
        (201, {}, Uncertain),
        (200, "<html>", Uncertain),
    ],
)
async def test_a_refusal_tells_what_happens_next(channel, provider, tools, status, answer, error):
    body = answer if isinstance(answer, str) else json.dumps(answer)
    provider.answers("POST", "/api/v4/posts", status=status, body=body)
    with pytest.raises(ChannelError) as caught:
        await channel.send(part("да", peer=DIRECT), tools)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "3"}, 3), ({"X-Ratelimit-Reset": "1"}, 1), ({}, None)]
)
async def test_too_fast_says_for_how_long(channel, provider, tools, headers, seconds):
    provider.answers("POST", "/api/v4/posts", status=429, body="limit exceeded", headers=headers)
    with pytest.raises(Throttled) as caught:
        await channel.send(part("да", peer=DIRECT), tools)
    assert caught.value.retry_after == seconds


async def test_a_lost_answer_is_asked_for_again_at_once_under_the_same_number(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "new"})
    provider.breaks("POST", "/api/v4/posts", once=True)
    receipt = await channel.send(part("да", peer=DIRECT), tools)
    assert receipt.external_ids == ("new",)
    assert len({asked.json["pending_post_id"] for asked in provider.asked}) == 1
    assert len(provider.asked) == 2


@pytest.mark.parametrize("status", [None, 503, 401, 400])
async def test_a_post_whose_answer_was_lost_stays_uncertain_whatever_is_answered_then(channel, provider, tools, status):
    assert not channel.sending.retries_safely
    if status is None:
        provider.breaks("POST", "/api/v4/posts")
    else:
        provider.answers("POST", "/api/v4/posts", status=status, json={"id": "x"})
        provider.breaks("POST", "/api/v4/posts", once=True)
    with pytest.raises(Uncertain):
        await channel.send(part("да", peer=DIRECT), tools)


async def test_the_token_is_in_no_exchange(provider):
    provider.answers("POST", "/api/v4/posts", status=400, json={"id": TOKEN, "message": TOKEN})
    async with tools_for(provider.url, secrets=(TOKEN,)) as (tools, exchanges):
        with pytest.raises(Undeliverable) as caught:
            await make(base_url=provider.url).send(part("да", peer=DIRECT), tools)
    assert len(exchanges) == 1
    assert TOKEN not in repr(exchanges) + str(caught.value) + caught.value.code


# --- what can be asked ---


async def test_a_file_is_fetched_with_the_token(channel, provider, tools):
    provider.answers("GET", f"/api/v4/files/{'f' * 26}", body=b"\x89PNG", content_type="image/png")
    fetched = await channel.fetch_media("f" * 26, tools)
    assert b"".join([piece async for piece in fetched.chunks]) == b"\x89PNG"
    assert (fetched.content_type, fetched.size) == ("image/png", 4)
    assert provider.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    provider.answers("GET", "/api/v4/files/.*", status=404)
    with pytest.raises(Undeliverable):
        await channel.fetch_media("../users/me", tools)
    assert provider.asked[-1].path == "/api/v4/files/../users/me", "its slashes were escaped"


@pytest.mark.parametrize(
    ("person", "profile"),
    [
        ({"first_name": "Боб", "last_name": "Орлов", "locale": "ru", "username": "bob"}, ("Боб Орлов", "ru")),
        ({"nickname": "Бобик", "username": "bob"}, ("Бобик", "")),
        ({"username": "bob"}, ("bob", "")),
    ],
)
async def test_who_somebody_is_can_be_asked(channel, provider, tools, person, profile):
    provider.answers("GET", "/api/v4/users/me", json=ME)
    provider.answers("GET", f"/api/v4/channels/{DIRECT}", json={"id": DIRECT, "type": "D", "name": f"{US}__{BOB}"})
    provider.answers("GET", f"/api/v4/users/{BOB}", json=person)
    assert await channel.profile(DIRECT, tools) == profile
    assert await channel.profile(f"@{BOB}", tools) == profile


async def test_nobody_in_particular_is_behind_a_channel_of_many(channel, provider, tools):
    provider.answers("GET", f"/api/v4/channels/{TOWN}", json={"id": TOWN, "type": "O", "name": "town-square"})
    assert await channel.profile(TOWN, tools) is None


async def test_the_check_says_whose_token_it_is(channel, provider, tools):
    provider.answers("GET", "/api/v4/users/me", json=ME)
    assert (await channel.check(tools)).detail == "Mattermost knows us as @hub, a bot"
    provider.answers("GET", "/api/v4/users/me", json={**ME, "is_bot": False})
    assert "not a bot" in (await channel.check(tools)).detail
    provider.answers("GET", "/api/v4/users/me", status=401, json={"id": "api.context.session_expired.app_error"})
    with pytest.raises(Unauthorised, match="Enter a new one"):
        await channel.check(tools)


@pytest.mark.parametrize("url", ["chat.example.com", "https://", "ftp://x", "https://u:p@x"])
def test_an_address_that_is_none_is_told_at_once(url):
    with pytest.raises(ValidationError, match="it is no address"):
        make(url=url)
