"""The desk in Mattermost against a double of our own: no server of theirs can be had here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from channels.contract import ParseContext
from channels.desk_contract import Card, DeskGone, DeskPressed, DeskSaid, DeskStarted, Key, Place, PlaceGone
from channels.desk_mattermost import MattermostDesk
from channels.desk_mattermost_posts import escaped
from channels.desk_mattermost_posts import route as routing
from channels.errors import ChannelError, Misconfigured, RecipientGone, Unauthorised, Uncertain, Undeliverable
from channels.mattermost_posts import item
from core.kernel.envelopes import Attachment
from tests.channels.payloads import NOW, desk_mattermost, mattermost
from tests.channels.payloads.desk_mattermost import TOKEN, pressed
from tests.channels.payloads.mattermost import BOB, DIRECT, MOMENT, POST, TOWN, US, post, said
from tests.channels.provider import file, tools_for
from tests.channels.test_mattermost import AT, ME, Playing, playing, running, until
from webhooks.errors import BadSignature
from webhooks.request import RawRequest

__all__ = ["playing"]  # fixtures

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
ROOT = "r" * 26
FORBIDDEN = {"id": "api.context.permissions.app_error"}
MISSING = {"id": "app.post.get.app_error"}


def make(**more: Any) -> MattermostDesk:
    return MattermostDesk(MattermostDesk.Settings(**{**desk_mattermost.SETTINGS, **more}))


@pytest.fixture
def channel(provider) -> MattermostDesk:
    return make(base_url=provider.url)


def parse(heard: dict[str, Any]) -> list[Any]:
    made = item(heard["event"], US, heard["data"], heard["broadcast"]["channel_id"], routing=routing)
    return list(make().parse(made.request, CONTEXT))


# --- what is pressed ---


def test_a_pressed_button_brings_back_its_data():
    make().verify(pressed(), NOW)
    [press] = make().parse(pressed(), CONTEXT)
    assert isinstance(press, DeskPressed)
    assert press == DeskPressed(
        peer=DIRECT,
        key=press.key,
        person=BOB,
        name="bob",
        handle="bob",
        is_private=True,
        ref=POST,
        data="take:17",
        press=f"{DIRECT} {BOB}",
    )
    [other] = make().parse(pressed(trigger_id="another"), CONTEXT)
    assert other.key != press.key
    [within] = make().parse(pressed(thread=ROOT, channel=TOWN), CONTEXT)
    assert (within.thread, within.is_private, within.press) == (ROOT, False, f"{TOWN} {BOB} {ROOT}")


def changed(request: RawRequest, **more: Any) -> RawRequest:
    return RawRequest(json.dumps({**json.loads(request.body), **more}).encode())


def test_a_forged_press_is_refused():
    context = json.loads(pressed().body)["context"]
    forged = [
        changed(pressed(), context={**context, "data": "take:18"}),
        changed(pressed(), context={**context, "thread": ROOT}),
        changed(pressed(), context={**context, "proof": ""}),
        changed(pressed(), context={**context, "proof": 7}),
        changed(pressed(), channel_id=TOWN),
        changed(pressed(), context={}),
        changed(pressed(), event="posted", data={"post": post()}),
        RawRequest(json.dumps(mattermost.PRESSED).encode()),
        item("posted", US, said(post())["data"]).request,
    ]
    for request in forged:
        with pytest.raises(BadSignature):
            make().verify(request, NOW)
    with pytest.raises(BadSignature):
        make(token="another-token-of-another-bot").verify(pressed(), NOW)


def test_a_thread_of_a_channel_of_many_keeps_its_order_and_a_direct_chat_as_a_whole():
    press = make().route(pressed(channel=TOWN, post_id=ROOT))
    answer = item("posted", US, said(post(channel_id=TOWN, root_id=ROOT), where="O")["data"], routing=routing)
    assert press.peer == answer.routed.peer == f"{TOWN}:{ROOT}"
    alone = item("posted", US, said(post(root_id=ROOT))["data"], routing=routing)
    assert alone.routed.peer == make().route(pressed(thread=ROOT)).peer == DIRECT


# --- what is heard ---


def test_a_post_says_who_what_and_where():
    assert parse(said(post(root_id=ROOT))) == [
        DeskSaid(
            peer=DIRECT,
            occurred_at=AT,
            key=f"said:{POST}",
            person=BOB,
            name="bob",
            handle="bob",
            thread=ROOT,
            is_private=True,
            ref=POST,
            text="Здравствуйте! Сколько стоит торт? 😀",
            reply_to=ROOT,
        )
    ]


def test_an_edit_is_the_new_wording_and_files_are_given_to_be_fetched():
    [edit] = parse(said(post("Два", edit_at=MOMENT, update_at=MOMENT), event="post_edited"))
    assert (edit.ref, edit.text, edit.is_edit, edit.key) == (POST, "Два", True, f"edit:{POST}:{MOMENT}")
    [found] = parse(said(post("", metadata=mattermost.FILES)))
    assert found.attachments[0] == Attachment("торт.png", "image/png", 31037, reference="f" * 26, kind="image")


def test_the_word_that_links_is_told_in_a_private_chat_only():
    [started] = parse(said(post("link abcdefgh-12345678")))
    assert isinstance(started, DeskStarted)
    assert (started.ticket, started.person, started.peer, started.handle) == ("abcdefgh-12345678", BOB, DIRECT, "bob")
    for where, root in (("O", ""), ("G", ""), ("D", ROOT)):
        [found] = parse(said(post("link abcdefgh-12345678", root_id=root), where=where))
        assert isinstance(found, DeskSaid)


@pytest.mark.parametrize(
    "found",
    [
        post(user_id=US),
        post(props={"from_bot": "true"}),
        post(props={"from_webhook": "true"}),
        post(type="system_join_channel"),
        post(""),
        post(id=""),
    ],
)
def test_what_our_people_did_not_say_is_nothing(found):
    assert parse(said(found)) == []
    assert parse(said(post(), event="post_deleted")) == []


@asynccontextmanager
async def listening(
    playing: tuple[Playing, str], cursor: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[Playing, Callable[[], list[Any]]]]:
    """Let the desk listen for the length of the block; return the server and what was heard."""
    played, url = playing
    channel = make(url=url)
    async with running(channel, url, cursor) as hearing:

        def heard() -> list[Any]:
            return [event for found in hearing.kept.values() for event in channel.parse(found.request, CONTEXT)]

        yield played, heard


async def test_in_a_channel_of_many_all_is_heard_except_ourselves(playing):
    async with listening(playing) as (played, heard):
        await played.says(said(post("Наше", id="1", channel_id=TOWN, user_id=US), where="O"))
        await played.says(said(post("Обед?", id="2", channel_id=TOWN, root_id=ROOT), where="O"))
        await played.says(said(post("Обед!", id="2", channel_id=TOWN, update_at=MOMENT), event="post_edited"))
        await played.says(said(post("Лично", id="3"), where="D"))
        edit = said(post("Лично!", id="3", update_at=MOMENT), event="post_edited")
        del edit["data"]["channel_type"]
        await played.says(edit)
        await until(lambda: len(heard()) == 4)
        assert [(event.text, event.is_private, event.is_edit) for event in heard()] == [
            ("Обед?", False, False),
            ("Обед!", False, True),
            ("Лично", True, False),
            ("Лично!", True, True),
        ]


async def test_what_was_missed_is_fetched_with_the_sort_of_its_channel(playing):
    played, _ = playing
    since = MOMENT - 3_600_000
    played.has(
        (DIRECT, "D", [post("лично", id="1", create_at=since + 8, update_at=since + 8)]),
        (TOWN, "O", [post("всем", id="2", channel_id=TOWN, create_at=since + 9, update_at=since + 9)]),
    )
    async with listening(playing, {"since": since}) as (_, heard):
        assert [(event.text, event.is_private) for event in heard()] == [("лично", True), ("всем", False)]


async def test_being_put_out_of_a_channel_is_told_each_time(playing):
    removed = {"event": "user_removed", "data": {"channel_id": TOWN, "remover_id": BOB}, "broadcast": {"user_id": US}}
    other = {"event": "user_removed", "data": {"user_id": BOB}, "broadcast": {"channel_id": TOWN}}
    async with listening(playing) as (played, heard):
        await played.says(other)
        await played.says(removed)
        await until(lambda: bool(heard()))
        [gone] = heard()
        assert isinstance(gone, DeskGone)
        assert (gone.peer, gone.occurred_at) == (TOWN, NOW)


# --- what goes out ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*жирно* _a_ `b`", r"\*жирно\* \_a\_ \`b\`"),
        ("# Заголовок\n- раз\n1. два", "\\# Заголовок\n\\- раз\n1\\. два"),
        ("@all и @channel, bob@shop.example", "@\u2060all и @\u2060channel, bob@shop\\.example"),
        ("https://a.example/x_y?z=*1* да", "https://a.example/x_y?z=*1* да"),
        ("Цена\n===", "Цена\n\u2060==="),
        ("[тут](https://evil.example)", r"\[тут\]\(https://evil.example\)"),
    ],
)
def test_words_are_shown_as_they_are_and_call_nobody(text, shown):
    assert escaped(text) == shown


async def test_a_card_is_markdown_with_signed_buttons(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "p1"})
    card = Card(
        title="Новая *заявка*",
        words="Здравствуйте",
        keys=((Key("Взять", "take:1"), Key("Отложить", "snooze:1")), (Key("Открыть", url="https://hub.example/d(1)"),)),
    )
    assert await channel.post(Place(TOWN, ROOT), card, tools) == ("p1",)
    [asked] = provider.asked
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    found = asked.json
    assert (found["channel_id"], found["root_id"]) == (TOWN, ROOT)
    assert found["message"] == "**Новая \\*заявка\\***\n\nЗдравствуйте"
    row, links = found["props"]["attachments"]
    assert [action["name"] for action in row["actions"]] == ["Взять", "Отложить"]
    assert all(action["id"].isalnum() for action in row["actions"])
    assert links == {"fallback": "Открыть", "text": "[Открыть](https://hub.example/d%281%29)"}
    sent = row["actions"][0]["integration"]
    assert sent["url"] == tools.hook_url
    press = changed(pressed(channel=TOWN), context=sent["context"])
    channel.verify(press, NOW)
    [event] = channel.parse(press, CONTEXT)
    assert (event.data, event.thread) == ("take:1", ROOT)


async def test_without_an_address_of_ours_there_are_no_buttons(channel, provider):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "p1"})
    provider.answers("GET", "/api/v4/users/me", json=ME)
    async with tools_for(provider.url, hook_url="/hooks/k") as (tools, _):
        await channel.post(Place(TOWN), Card(title="Т", keys=((Key("Взять", "take:1"),),)), tools)
        assert provider.asked[0].json["props"] == {"attachments": []}
        checked = await channel.check(tools)
        assert "no buttons" in checked.detail
        assert next(iter(checked.facts.values())) == "@hub"


async def test_long_words_become_several_posts_with_the_buttons_under_the_last(channel, provider, tools):
    ids = iter(["p1", "p2", "p3"])
    provider.does("POST", "/api/v4/posts", lambda _: web.json_response({"id": next(ids)}))
    words = "слово * " * 2_000
    refs = await channel.post(Place(TOWN), Card(title="Т", words=words, keys=((Key("Да", "y"),),)), tools)
    assert refs == ("p1", "p2", "p3")
    posts = [asked.json for asked in provider.asked]
    assert "".join(found["message"] for found in posts).replace("\\", "") == f"**Т**\n\n{words}"
    assert all(len(found["message"]) <= 16_383 for found in posts)
    assert [bool(found["props"]["attachments"]) for found in posts] == [False, False, True]
    assert len({found["pending_post_id"] for found in posts}) == 3


async def test_a_lost_answer_is_asked_for_again_under_the_same_number(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "p1"})
    provider.breaks("POST", "/api/v4/posts", once=True)
    assert await channel.post(Place(TOWN), Card(words="да"), tools) == ("p1",)
    first, again = [asked.json for asked in provider.asked]
    assert first == again
    provider.breaks("POST", "/api/v4/posts")
    with pytest.raises(Uncertain):
        await channel.post(Place(TOWN), Card(words="да"), tools)


async def test_files_follow_the_words(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "p1"})
    provider.answers("POST", "/api/v4/files", status=201, json={"file_infos": [{"id": "f1"}]})
    refs = await channel.post(Place(TOWN, ROOT), Card(words="Счёт"), tools, files=(file(),))
    assert refs == ("p1", "p1")
    upload, words, files = provider.asked
    assert upload.query == {"channel_id": TOWN, "filename": "offer.pdf"}
    assert (words.json["message"], files.json["file_ids"], files.json["root_id"]) == ("Счёт", ["f1"], ROOT)


async def test_an_answer_stands_in_the_thread_of_what_it_answers_if_that_is_there(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "p1"})
    provider.answers("GET", f"/api/v4/posts/{POST}", json={"id": POST, "root_id": ROOT})
    provider.answers("GET", "/api/v4/posts/gone", status=404, json=MISSING)
    await channel.post(Place(TOWN), Card(words="да"), tools, reply_to=POST)
    await channel.post(Place(TOWN), Card(words="да"), tools, reply_to="gone")
    assert [asked.json["root_id"] for asked in provider.asked if asked.method == "POST"] == [ROOT, ""]


async def test_a_place_within_a_thread_is_that_thread(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "p1"})
    no_root = {"id": "api.post.create_post.root_id.app_error"}
    provider.answers("POST", "/api/v4/posts", status=400, json=no_root, once=True)
    provider.answers("GET", f"/api/v4/posts/{POST}", json={"id": POST, "root_id": ROOT})
    assert await channel.post(Place(TOWN, POST), Card(words="да"), tools) == ("p1",)
    assert [asked.json["root_id"] for asked in provider.asked if asked.method == "POST"] == [POST, ROOT]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "api.post.create_post.root_id.app_error", PlaceGone),
        (403, "api.context.permissions.app_error", RecipientGone),
        (404, "app.channel.get.existing.app_error", RecipientGone),
        (400, "api.post.create_post.can_not_post_to_deleted.error", RecipientGone),
        (401, "api.context.session_expired.app_error", Unauthorised),
        (404, "", Misconfigured),
        (413, "api.context.invalid_body_param.app_error", Undeliverable),
    ],
)
async def test_a_refusal_tells_what_happens_next(channel, provider, tools, status, code, error):
    provider.answers("POST", "/api/v4/posts", status=status, json={"id": code} if code else None, body="<html>")
    provider.answers("GET", f"/api/v4/posts/{ROOT}", status=404, json=MISSING)
    with pytest.raises(ChannelError) as caught:
        await channel.post(Place(TOWN, ROOT), Card(words="да"), tools)
    assert type(caught.value) is error


async def test_a_post_is_edited_and_one_that_is_gone_is_no_matter(channel, provider, tools):
    patch = f"/api/v4/posts/{POST}/patch"
    provider.answers("PUT", patch, json={"id": POST})
    await channel.edit(Place(TOWN), POST, Card(title="Взял Иван"), tools)
    assert provider.asked[0].json == {"message": "**Взял Иван**", "props": {"attachments": []}}
    provider.answers("PUT", patch, status=403, json=FORBIDDEN)
    provider.answers("GET", f"/api/v4/posts/{POST}", status=404, json=MISSING)
    await channel.edit(Place(TOWN), POST, Card(title="x"), tools)
    provider.answers("GET", f"/api/v4/posts/{POST}", json={"id": POST})
    with pytest.raises(RecipientGone):
        await channel.edit(Place(TOWN), POST, Card(title="x"), tools)


async def test_a_press_is_confirmed_to_whoever_pressed_alone(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts/ephemeral", status=201, json={"id": "e1"})
    await channel.confirm(f"{TOWN} {BOB} {ROOT}", tools)
    assert provider.asked == []
    await channel.confirm(f"{TOWN} {BOB} {ROOT}", tools, text="Уже взял Иван")
    assert provider.asked[0].json == {
        "user_id": BOB,
        "post": {"channel_id": TOWN, "message": "Уже взял Иван", "root_id": ROOT},
    }


async def test_a_bot_without_rights_says_only_what_must_be_read_and_directly(channel, provider, tools):
    provider.answers("POST", "/api/v4/posts/ephemeral", status=403, json=FORBIDDEN)
    await channel.confirm(f"{TOWN} {BOB}", tools, text="Взято")
    assert [asked.path for asked in provider.asked] == ["/api/v4/posts/ephemeral"]
    provider.answers("GET", "/api/v4/users/me", json=ME)
    provider.answers("POST", "/api/v4/channels/direct", status=201, json={"id": DIRECT})
    provider.answers("POST", "/api/v4/posts", status=201, json={"id": "p1"})
    await channel.confirm(f"{TOWN} {BOB}", tools, text="Уже взял Иван", is_alert=True)
    said_to = provider.asked[-1].json
    assert (said_to["channel_id"], said_to["message"]) == (DIRECT, "Уже взял Иван")


async def test_a_file_is_fetched_with_the_token(channel, provider, tools):
    provider.answers("GET", f"/api/v4/files/{'f' * 26}", body=b"%PDF", content_type="application/pdf")
    fetched = await channel.fetch_media("f" * 26, tools)
    assert b"".join([piece async for piece in fetched.chunks]) == b"%PDF"
    assert provider.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
