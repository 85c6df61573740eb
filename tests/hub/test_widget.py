"""The chat widget's door: what a visitor says is durable before it is acknowledged, and what we say reaches their
windows, once and in order, whatever happens to the line.
"""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, FormData, WSMsgType
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image
from sqlalchemy import select, update

from core.connections import Connection
from core.people.contacts import ContactIdentity
from core.staff import workspace
from core.talk import conversations, viewings
from core.talk.attachments import Attachment
from core.talk.conversations import Conversation, Message
from core.talk.viewings import Viewing
from hub import connections, files, replies
from hub.app import Hub
from hub.http import make_app
from hub.web.snippet import allowances, snippet
from hub.web.widget_script import MOST_BYTES
from hub.web.widget_texts import LANGUAGES, TEXTS
from hub.widget_line import CUSTOMER
from webhooks.deliveries import Delivery

SITE = "https://shop.example"


@pytest.fixture
async def widget(hub: Hub) -> Connection:
    """A chat widget on the company's site."""
    return await add_widget(hub, allowed_origins=SITE)


async def add_widget(hub: Hub, *, slug: str | None = None, **settings: Any) -> Connection:
    async with hub.database.transaction() as session:
        connection = await connections.create(
            session,
            hub.vault,
            kind="widget",
            title="Chat",
            settings=settings,
            at=hub.clock.now(),
            default_country="RU",
        )
    await hub.switchboard.refresh()
    return connection


class Window:
    """An open chat window. `pass_` is what its browser keeps."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.pass_ = ""

    async def send(self, kind: str, **more: Any) -> None:
        await self.socket.send_str(json.dumps({"t": kind, **more}))

    async def hear(self, *kinds: str, within: float = 5.0) -> dict[str, Any]:
        """Return the next frame, of one of some kinds if any are named."""
        while True:
            frame = json.loads(await self.socket.receive_str(timeout=within))
            if not kinds or frame["t"] in kinds:
                return frame

    async def hello(self, pass_: str = "", have: list[int] | None = None) -> dict[str, Any]:
        await self.send("hello", **{"pass": pass_}, have=have or [])
        welcome = await self.hear("welcome")
        self.pass_ = welcome["pass"]
        return welcome

    async def say(self, text: str, key: str = "0000000000000001", **more: Any) -> dict[str, Any]:
        await self.send("say", id=key, text=text, **more)
        return await self.hear("ack", "wait", "refused")

    async def silent(self, seconds: float = 0.5) -> bool:
        """Whether nothing comes for a while but answers to our own question."""
        await self.send("ping")
        frame = await self.hear(within=seconds)
        return frame["t"] == "pong"


@pytest.fixture
async def open_window(client: Any, widget: Connection) -> AsyncIterator[Callable[..., Awaitable[Window]]]:
    """Opens a chat window: `window = await open_window()`."""
    opened: list[Window] = []

    async def make(at: Any = None, origin: str = SITE, key: str = widget.key) -> Window:
        socket = await (at or client).ws_connect(f"/w/{key}/socket", headers={"Origin": origin})
        opened.append(Window(socket))
        return opened[-1]

    yield make
    for window in opened:
        await window.socket.close()


@pytest.fixture
async def answer(hub: Hub, drain: Any, take_on: Any) -> Callable[..., Awaitable[int]]:
    """Answers the one conversation there is, as Anna in the inbox would."""
    anna = await take_on("Anna")

    async def write(text: str, *, sends: bool = True, **more: Any) -> int:
        async with hub.database.transaction() as session:
            conversation = await session.scalar(select(Conversation))
            message = await replies.reply(session, hub, conversation, author_id=anna.id, text=text, **more)
        if sends:
            await drain()
        return message.id

    return write


async def rows_of(hub: Hub, model: Any) -> list[Any]:
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model)))


# --- words in ---


async def test_what_a_visitor_says_is_durable_before_it_is_acknowledged_and_then_becomes_work(
    hub, widget, open_window, drain
):
    window = await open_window()
    welcome = await window.hello()
    assert welcome["messages"] == [] and welcome["whole"] and not welcome["more"]
    assert welcome["here"]["open"] is True, "Monday, ten o'clock"
    assert await rows_of(hub, Delivery) == [], "opening the chat leaves no trace"

    ack = await window.say(
        "Сколько стоит окно?",
        marks={"landing_page": f"{SITE}/?utm_source=google&utm_campaign=spring", "referrer": "https://g.example"},
        page=f"{SITE}/windows",
        language="ru",
        phone="8 916 123-45-67",
        name="Вера",
    )
    assert ack["id"] == "0000000000000001" and ack["reference"]
    (delivery,) = await rows_of(hub, Delivery)
    assert delivery.reference == ack["reference"]
    assert window.pass_ not in json.dumps(delivery.request) + delivery.body.decode()

    await drain()
    (message,) = await rows_of(hub, Message)
    visitor = window.pass_.partition(".")[0]
    assert (message.text, message.external_id) == ("Сколько стоит окно?", f"{visitor}:0000000000000001")
    identities = {(row.scheme, row.value, row.trust) for row in await rows_of(hub, ContactIdentity)}
    assert identities == {("widget", visitor, "verified"), ("phone", "+79161234567", "typed")}
    shown = (await window.hear("message"))["message"]
    assert (shown["id"], shown["key"], shown["ours"]) == (message.id, "0000000000000001", False)


async def test_the_same_message_sent_again_is_one(hub, open_window, drain):
    window = await open_window()
    await window.hello()
    first = await window.say("Hello")
    assert await window.say("Hello") == first
    await window.socket.close()
    again = await open_window()
    await again.hello(window.pass_)
    assert await again.say("Hello") == first
    await drain()
    assert len(await rows_of(hub, Message)) == 1


async def test_another_visitor_s_message_of_the_same_id_is_another_one(hub, open_window, drain):
    for _ in range(2):
        window = await open_window()
        await window.hello()
        await window.say("Hello")
    await drain()
    assert len(await rows_of(hub, Message)) == len(await rows_of(hub, Conversation)) == 2


@pytest.mark.parametrize("forged", ["", "x", "Zm9vYmFyYmF6cXV4MTIzNA.AAAA", "é" * 30, "a" * 5_000])
async def test_a_pass_that_is_none_of_ours_makes_a_stranger(open_window, forged):
    window = await open_window()
    welcome = await window.hello(forged)
    assert welcome["pass"] != forged
    assert len({welcome["pass"], (await (await open_window()).hello())["pass"]}) == 2


async def test_ten_messages_in_ten_seconds_are_enough_and_the_next_is_told_when_to_come(hub, open_window):
    window = await open_window()
    await window.hello()
    for number in range(10):
        assert (await window.say("!", f"message-{number}"))["t"] == "ack"
    told = await window.say("!", "message-10")
    assert told["t"] == "wait" and 0 < told["seconds"] <= 10
    assert len(await rows_of(hub, Delivery)) == 10


@pytest.mark.parametrize(
    "record",
    [
        {"text": "x" * 4_001, "id": "long-enough"},
        {"text": "  ", "id": "long-enough"},
        {"text": {"a": 1}, "id": "long-enough"},
        {"text": "no id"},
        {"text": "an odd one", "id": "../../etc/passwd"},
        {"text": "an odd one", "id": ["x"]},
    ],
)
async def test_what_cannot_be_taken_is_refused_and_the_line_stays(hub, open_window, record):
    window = await open_window()
    await window.hello()
    await window.send("say", **record)
    assert (await window.hear())["t"] == "refused"
    assert await rows_of(hub, Delivery) == []
    assert (await window.say("Still here", "another-one"))["t"] == "ack"


async def test_a_text_that_was_cut_in_the_middle_of_an_emoji_is_taken(hub, open_window, drain):
    window = await open_window()
    await window.hello()
    await window.say("Fine \ud83d\ude00, half \ud83d")
    await drain()
    (message,) = await rows_of(hub, Message)
    assert message.text == "Fine \N{GRINNING FACE}, half \N{REPLACEMENT CHARACTER}"


HOSTILE = ["", "{", "[]", "null", '"hello"', "[" * 20_000, '{"t":{}}', '{"t":"nothing we know"}', '{"t":"got"}']


@pytest.mark.parametrize("frame", [*HOSTILE, '{"t":"read","ids":[null,"x",-1,1e400,9223372036854775808,{}]}'])
async def test_hostile_frames_are_passed_over(open_window, frame):
    window = await open_window()
    await window.hello()
    await window.socket.send_str(frame)
    assert (await window.say("Still here"))["t"] == "ack"


@pytest.mark.parametrize("first", [*HOSTILE, '{"t":"say","id":"long-enough","text":"x"}', '{"t":"hello","pass":7}'])
async def test_a_hostile_first_frame_ends_the_line_or_makes_a_stranger(hub, open_window, first):
    window = await open_window()
    await window.socket.send_str(first)
    if first in ("", "{", "[]", "null", '"hello"') or first.startswith("[["):
        assert (await window.hello())["pass"]
        return
    message = await window.socket.receive(timeout=5)
    if message.type is WSMsgType.TEXT:
        assert json.loads(message.data)["t"] == "welcome"
    else:
        assert message.type is WSMsgType.CLOSE
    assert await rows_of(hub, Delivery) == []


async def test_binary_and_endless_frames_and_a_flood_end_the_line(open_window):
    window = await open_window()
    await window.hello()
    await window.socket.send_bytes(b"\x00\xff")
    assert (await window.socket.receive(timeout=5)).type is WSMsgType.CLOSE

    window = await open_window()
    await window.hello()
    await window.socket.send_str("x" * 60_000)
    assert (await window.socket.receive(timeout=5)).type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)

    window = await open_window()
    await window.hello()
    for _ in range(120):
        await window.socket.send_str("{}")
    assert (await window.socket.receive(timeout=5)).type is WSMsgType.CLOSE


# --- who may ---


async def test_only_sites_on_the_list_may_show_the_widget(client, widget, hub):
    for origin, status in (
        (SITE, 101),
        ("https://evil.example", 403),
        ("null", 403),
        (str(client.make_url(""))[:-1], 403),
    ):
        refused = await client.get(
            f"/w/{widget.key}/socket",
            headers={
                "Origin": origin,
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )
        assert refused.status == status, origin
        refused.close()
    everywhere = await add_widget(hub)
    socket = await client.ws_connect(f"/w/{everywhere.key}/socket", headers={"Origin": "https://any.example"})
    await socket.close()


async def test_an_unknown_or_paused_chat_and_one_too_many_windows_are_refused(
    client, widget, hub, webform, open_window
):
    assert (await client.get("/w/nothing/socket")).status == 404
    assert (await client.get(f"/w/{webform.key}/socket")).status == 404
    assert (await client.get(f"/w/{widget.key}/socket", headers={"Origin": SITE})).status == 426
    for _ in range(40):
        await open_window()
    assert (await client.get(f"/w/{widget.key}/socket", headers={"Origin": SITE})).status == 429
    async with hub.database.transaction() as session:
        await session.execute(update(Connection).values(paused_because="Holidays"))
    await hub.switchboard.refresh()
    assert (await client.get(f"/w/{widget.key}/socket", headers={"Origin": SITE})).status == 503


async def test_the_usual_hook_takes_nothing_without_a_pass(client, widget, hub):
    record = {"visitor": "Zm9vYmFyYmF6cXV4MTIzNA", "id": "long-enough", "text": "I am somebody else"}
    assert (await client.post(f"/hooks/{widget.key}", json=record)).status == 401
    assert await rows_of(hub, Delivery) == []


# --- answers out ---


async def test_an_answer_reaches_every_window_once_and_is_known_to_be_delivered_and_read(
    hub, open_window, drain, answer
):
    window = await open_window()
    await window.hello()
    await window.say("Hello?")
    await drain()
    other = await open_window()
    assert [m["text"] for m in (await other.hello(window.pass_))["messages"]] == ["Hello?"]

    number = await answer("Good morning! https://shop.example/prices")
    for each in (window, other):
        shown = (await each.hear("message"))["message"]
        while shown["id"] != number:
            shown = (await each.hear("message"))["message"]
        assert (shown["text"], shown["name"]) == ("Good morning! https://shop.example/prices", "Anna")
        assert (shown["ours"], shown["state"]) == (True, "sent")

    await window.send("got", ids=[number])
    assert (await other.hear())["state"] == "delivered"
    await other.send("read", ids=[number])
    assert (await window.hear("state"))["state"] == "delivered"
    assert (await window.hear("state"))["state"] == "read"
    async with hub.database.reading() as session:
        message = await session.get(Message, number)
    assert message.status == "read" and message.delivered_at and message.read_at


async def test_a_window_that_was_away_is_told_what_it_missed_in_order_and_nothing_twice(
    hub, open_window, drain, answer, client
):
    window = await open_window()
    await window.hello()
    await window.say("Hello?")
    await drain()
    mine = (await window.hear("message"))["message"]["id"]
    first = await answer("One")
    await window.hear("message")
    await window.socket.close()
    second, third = await answer("Two"), await answer("Three")

    async with TestClient(TestServer(make_app(hub))) as another_node:
        back = await open_window(another_node)
        welcome = await back.hello(window.pass_, have=[mine, first])
        assert [m["id"] for m in welcome["messages"]] == [second, third]
        assert not welcome["whole"]
        fourth = await answer("Four")
        assert (await back.hear("message"))["message"]["id"] == fourth
        assert await back.silent()
        await back.socket.close()


async def test_a_message_that_was_written_for_later_comes_when_its_time_has_come(
    hub, open_window, drain, answer, clock
):
    window = await open_window()
    await window.hello()
    await window.say("Hello?")
    await drain()
    mine = (await window.hear("message"))["message"]["id"]
    later = await answer("Later", send_at=clock.now() + timedelta(hours=1))
    now = await answer("Now")
    assert (await window.hear("message"))["message"]["id"] == now
    assert await window.silent()
    await window.socket.close()
    clock.advance(timedelta(hours=1, seconds=1))
    await drain()
    back = await open_window()
    welcome = await back.hello(window.pass_, have=[mine, now])
    assert [m["id"] for m in welcome["messages"]] == [later], "though its number is lower"


async def test_notes_other_people_s_words_and_what_has_not_gone_are_never_shown(
    hub, open_window, drain, answer, take_on
):
    window = await open_window()
    await window.hello()
    await window.say("Hello?")
    await drain()
    await window.hear("message")
    boris = await take_on("Boris")
    async with hub.database.transaction() as session:
        conversation = await session.scalar(select(Conversation))
        await conversations.note(session, conversation, text="A difficult one", at=hub.clock.now(), author_id=boris.id)
    await answer("Not yet", sends=False)
    stranger = await open_window()
    assert (await stranger.hello())["messages"] == []
    assert await window.silent()
    back = await open_window()
    assert [m["text"] for m in (await back.hello(window.pass_))["messages"]] == ["Hello?"]


async def test_receipts_for_another_visitor_s_messages_change_nothing(hub, open_window, drain, answer):
    window = await open_window()
    await window.hello()
    await window.say("Hello?")
    await drain()
    number = await answer("Only for you")
    stranger = await open_window()
    await stranger.hello()
    await stranger.send("read", ids=[number])
    await window.send("got", ids=[number])
    while (frame := await window.hear("state", "message"))["t"] != "state":
        pass
    assert frame["state"] == "delivered"


async def test_a_visitor_sees_that_they_were_read_and_that_somebody_writes(hub, open_window, drain, take_on):
    anna = await take_on("Anna")
    window = await open_window()
    await window.hello()
    await window.say("Hello?")
    await drain()
    async with hub.database.transaction() as session:
        conversation = await session.scalar(select(Conversation))
        assert await conversations.read(session, conversation, at=hub.clock.now(), actor_id=anna.id)
        await viewings.note(session, conversation.id, anna.id, is_writing=True, at=hub.clock.now())
    await window.hear("seen")
    assert (await window.hear("typing"))["on"] is True
    assert (await (await open_window()).hello(window.pass_))["seen"] is True

    await window.send("typing", on=True)
    await window.send("ping")
    await window.hear("pong")
    assert [row.is_writing for row in await rows_of(hub, Viewing) if row.user_id == CUSTOMER] == [True]


async def test_outside_working_hours_the_window_is_told_when_somebody_is_back(hub, open_window, clock):
    async with hub.database.transaction() as session:
        company = await workspace.get(session)
        company.schedule = {"time_zone": "UTC", "week": {"mon": [["09:00", "18:00"]], "tue": [["09:00", "18:00"]]}}
    assert (await (await open_window()).hello())["here"]["open"] is True
    clock.advance(timedelta(hours=12))
    here = (await (await open_window()).hello())["here"]
    assert here["open"] is False and here["online"] is False
    assert here["opens"].startswith("2026-11-24")


async def test_long_conversations_come_a_page_at_a_time(hub, open_window, drain, client, widget):
    window = await open_window()
    await window.hello()
    await window.say("Number 0")
    await drain()
    async with hub.database.transaction() as session:
        first = await session.scalar(select(Message))
        for number in range(1, 70):
            session.add(
                Message(
                    conversation_id=first.conversation_id,
                    contact_id=first.contact_id,
                    connection_id=first.connection_id,
                    direction="inbound",
                    text=f"Number {number}",
                    occurred_at=hub.clock.now(),
                    created_at=hub.clock.now() + timedelta(seconds=number),
                )
            )
    back = await open_window()
    welcome = await back.hello(window.pass_)
    assert [m["text"] for m in welcome["messages"]] == [f"Number {number}" for number in range(20, 70)]
    assert welcome["more"] is True
    headers = {"Authorization": f"Bearer {window.pass_}", "Origin": SITE}
    path = f"/w/{widget.key}/history?before={welcome['messages'][0]['id']}"
    answer = await client.get(path, headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    told = await answer.json()
    assert [m["text"] for m in told["messages"]] == [f"Number {number}" for number in range(20)]
    assert told["more"] is False
    assert (await client.get(path, headers={"Origin": SITE})).status == 401


# --- files ---


def picture() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(written, "PNG")
    return written.getvalue()


async def test_files_go_both_ways(hub, client, widget, open_window, drain, take_on):
    anna = await take_on("Anna")
    window = await open_window()
    await window.hello()
    visitor = window.pass_.partition(".")[0]
    form = FormData(quote_fields=False)
    form.add_field("message", json.dumps({"visitor": visitor, "id": "with-a-file", "text": "Вот план"}))
    form.add_field("file", picture(), filename="план.png", content_type="image/png")
    headers = {"Authorization": f"Bearer {window.pass_}", "Origin": SITE}
    taken = await client.post(f"/w/{widget.key}/files", data=form, headers=headers)
    assert (taken.status, taken.headers["Access-Control-Allow-Origin"]) == (200, SITE)
    assert (await taken.json())["id"] == "with-a-file"
    await drain()
    shown = (await window.hear("message"))["message"]
    while shown["files"][0]["state"] != "stored":
        shown = (await window.hear("message"))["message"]
    (file,) = shown["files"]
    assert (file["name"], file["width"], file["height"]) == ("план.png", 40, 30)
    got = await client.get(f"/w/{widget.key}/files/{file['ticket']}")
    assert (got.status, await got.read()) == (200, picture())
    small = await client.get(f"/w/{widget.key}/files/{file['ticket']}/preview")
    assert (small.content_type, small.headers["Cross-Origin-Resource-Policy"]) == ("image/webp", "cross-origin")
    assert (await client.get(f"/w/{widget.key}/files/{file['ticket'][:-2]}xx")).status == 404

    async with hub.database.transaction() as session:
        kept = await hub.files.keep(files.once(b"%PDF-1.7 price list"), name="prices.pdf")
        stored = await files.note(session, kept, at=hub.clock.now())
        row = Attachment(
            author_id=anna.id, name="prices.pdf", content_type=stored.content_type, size=stored.size, kind="file",
            state="stored", file_id=stored.id, created_at=hub.clock.now(),
        )  # fmt: skip
        session.add(row)
        await session.flush()
        conversation = await session.scalar(select(Conversation))
        sent = await replies.reply(
            session, hub, conversation, author_id=anna.id, text="Here they are", attachment_ids=[row.id]
        )
    await drain()
    while (shown := (await window.hear("message"))["message"])["id"] != sent.id:
        pass
    assert [file["name"] for file in shown["files"]] == ["prices.pdf"]
    assert shown["text"] == "Here they are"


async def test_files_without_a_pass_or_too_large_are_refused_and_the_page_may_read_why(
    client, widget, open_window, hub
):
    window = await open_window()
    await window.hello()
    visitor = window.pass_.partition(".")[0]
    for authorization, size, status in (("", 10, 401), (window.pass_, 11 * 1024 * 1024, 413), (window.pass_, 0, 400)):
        form = FormData()
        form.add_field("message", json.dumps({"visitor": visitor, "id": "with-a-file"}))
        form.add_field("file", io.BytesIO(b"x" * size), filename="x.bin", content_type="application/octet-stream")
        headers = {"Authorization": f"Bearer {authorization}", "Origin": SITE}
        refused = await client.post(f"/w/{widget.key}/files", data=form, headers=headers)
        assert refused.status == status
        assert refused.headers["Access-Control-Allow-Origin"] == SITE
    assert await rows_of(hub, Delivery) == []
    asked = await client.options(f"/w/{widget.key}/files", headers={"Origin": SITE})
    assert (asked.status, asked.headers["Access-Control-Allow-Headers"]) == (204, "Authorization, Content-Type")
    assert (await client.options(f"/w/{widget.key}/files", headers={"Origin": "https://evil.example"})).status == 403


# --- the script ---


async def test_the_script_is_small_cached_and_loads_on_other_people_s_pages(client, hub):
    long = {"title": "Ж" * 50, "greeting": "Ж" * 300, "offline_hint": "Ж" * 300, "colour": "#2f9e44"}
    for settings in ({}, long, {"language": "hy"}):
        widget = await add_widget(hub, **settings)
        answer = await client.get(f"/w/{widget.key}.js")
        body = await answer.read()
        assert answer.status == 200
        assert len(body) < MOST_BYTES
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert answer.content_type == "text/javascript"
        again = await client.get(f"/w/{widget.key}.js", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304


def test_what_is_pasted_is_one_tag_and_a_strict_site_is_told_what_to_allow():
    chat = Connection(kind="widget", key="k-1", slug="abc", title="Chat")
    assert snippet(chat, "https://crm.example.com/") == '<script src="https://crm.example.com/w/k-1.js" async></script>'
    assert allowances("https://crm.example.com") == (
        "script-src https://crm.example.com; connect-src https://crm.example.com wss://crm.example.com; "
        "img-src https://crm.example.com"
    )


def test_every_language_says_everything_with_the_same_values():
    for key, texts in TEXTS.items():
        assert len(texts) == len(LANGUAGES) and all(text.strip() for text in texts), key
        assert len({text.count("%s") for text in texts}) == 1, key


async def test_nothing_secret_is_in_the_script(client, widget, hub):
    live = hub.switchboard.by_key(widget.key)
    assert live.secrets
    script = await (await client.get(f"/w/{widget.key}.js")).text()
    assert not any(secret in script for secret in live.secrets)
