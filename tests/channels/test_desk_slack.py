"""The desk in Slack against a local server that speaks the documented contract."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from channels.contract import ParseContext
from channels.desk_contract import Card, DeskGone, DeskPressed, DeskSaid, DeskStarted, Key, Place, PlaceGone
from channels.desk_slack import SlackDesk
from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from core.kernel.envelopes import Attachment
from tests.channels.payloads import NOW, desk_slack, slack
from tests.channels.payloads.desk_slack import CARD, PRESSED, pressed
from tests.channels.payloads.slack import STAMP, event, form, message
from tests.channels.provider import Asked, file, tools_for
from webhooks.errors import BadSignature
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
TOKEN = slack.SETTINGS["bot_token"]
CHAT = "D024BE91L"
POSTED = {"ok": True, "channel": CHAT, "ts": "1503435956.000247"}
AT = NOW - timedelta(seconds=2) + timedelta(microseconds=200)


def make(**more: Any) -> SlackDesk:
    return SlackDesk(SlackDesk.Settings(**{**desk_slack.SETTINGS, **more}))


@pytest.fixture
def channel(provider) -> SlackDesk:
    return make(base_url=provider.url)


def parse(request: RawRequest) -> list[Any]:
    return list(make().parse(request, CONTEXT))


# --- what comes in ---


def test_a_post_in_the_thread_of_a_card_says_who_what_and_where():
    assert parse(desk_slack.REQUESTS[0]) == [
        DeskSaid(
            peer=CHAT,
            occurred_at=AT,
            key=f"said:{CHAT}:{STAMP}",
            person="U2147483697",
            thread=CARD,
            is_private=True,
            ref=STAMP,
            text="Здравствуйте! Цена < 100 & доставка? тут (https://shop.example/a?b=1)",
            reply_to=CARD,
        )
    ]


def test_forged_and_old_requests_are_refused():
    genuine = pressed()
    make().verify(genuine, NOW)
    with pytest.raises(BadSignature):
        make().verify(replace(genuine, body=genuine.body.replace(b"take", b"lose")), NOW)
    with pytest.raises(BadSignature, match="five minutes"):
        make().verify(genuine, NOW + timedelta(minutes=6))


def test_a_retry_is_the_same_and_a_chat_of_many_keeps_order_by_thread():
    first = message(channel="C1", channel_type="channel", thread_ts=CARD)
    again = replace(first, headers={**first.headers, "x-slack-retry-num": "1", "x-slack-retry-reason": "http_timeout"})
    assert make().route(first) == make().route(again)
    under = pressed(channel={"id": "C1"}, message={"ts": CARD})
    assert make().route(first).peer == make().route(under).peer == f"C1:{CARD}"
    assert make().route(message(channel="C1", channel_type="channel")).peer == "C1"
    assert make().route(message(thread_ts=CARD)).peer == make().route(pressed()).peer == CHAT
    assert make().route(pressed()).dedupe_key != make().route(pressed(trigger_id="1.2.3")).dedupe_key


def test_the_word_that_links_is_told_in_a_private_chat_only():
    [started] = parse(message(text="Link  abcdefgh-12345678 "))
    assert started == DeskStarted(
        peer=CHAT, occurred_at=AT, key=f"said:{CHAT}:{STAMP}", person="U2147483697", ticket="abcdefgh-12345678"
    )
    for request in (
        message(text="link abcdefgh-12345678", channel="C1", channel_type="channel"),
        message(text="link abcdefgh-12345678", thread_ts=CARD),
        message(text="link short"),
        message(text="link abcdefgh-12345678 please"),
    ):
        [said] = parse(request)
        assert isinstance(said, DeskSaid)
    assert make().link("abcdefgh-12345678", "@desk") == "link abcdefgh-12345678"


def test_files_are_given_to_be_fetched():
    [said] = parse(desk_slack.REQUESTS[1])
    assert said.attachments[1] == Attachment(
        "audio_message.m4a",
        "audio/mp4",
        9000,
        reference="https://files.slack.com/files-tmb/T123ABC456-F0S43P1D0/audio_message.m4a",
        kind="voice",
    )
    assert (said.text, said.thread) == ("https://docs.example/d/1", CARD)


def test_an_edit_is_the_new_wording_of_its_post():
    [edit] = parse(event(desk_slack.CHANGED))
    assert (edit.ref, edit.text, edit.thread, edit.is_edit) == ("1652635099.971779", "Goodbye & thanks", CARD, True)
    preview = {**desk_slack.CHANGED, "previous_message": desk_slack.CHANGED["message"]}
    assert parse(event(preview)) == []


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("!take", "/take"),
        ("!snooze завтра в 10", "/snooze завтра в 10"),
        ("!Да", "!Да"),
        ("!!", "!!"),
        ("цена!", "цена!"),
    ],
)
def test_a_command_may_begin_with_an_exclamation_mark(typed, read):
    assert [said.text for said in parse(message(text=typed, thread_ts=CARD))] == [read]


def test_a_slash_command_of_the_app_is_read_as_typed():
    [said] = parse(form(slack.COMMAND))
    assert (said.text, said.person, said.is_private) == ("/order два торта & чай", "U2147483697", False)


@pytest.mark.parametrize(
    "inner",
    [
        {"bot_id": "B1"},
        {"user": "U0BOT"},
        {"subtype": "channel_join"},
        {"subtype": "message_deleted"},
        {"text": ""},
        {"channel": ""},
        {"type": "reaction_added"},
    ],
)
def test_what_our_people_did_not_say_is_nothing(inner):
    assert parse(message(**inner)) == []


def test_being_put_out_of_a_channel_is_told_and_others_leaving_is_not():
    left = {"type": "member_left_channel", "user": "U0BOT", "channel": "C1", "event_ts": STAMP}
    archived = {"type": "channel_archive", "channel": "C1", "user": "U1", "event_ts": STAMP}
    for inner in (left, archived):
        [gone] = parse(event(inner))
        assert isinstance(gone, DeskGone)
        assert (gone.peer, gone.is_private) == ("C1", False)
    assert parse(event({**left, "user": "U1"})) == []


def test_a_pressed_button_brings_back_its_data():
    [press] = parse(pressed())
    assert press == DeskPressed(
        peer=CHAT,
        occurred_at=AT,
        key=f"press:{CHAT}:{STAMP}:0",
        person="U2147483697",
        name="vera",
        handle="vera",
        ref=CARD,
        data="take:17",
        press=f"{CHAT} U2147483697",
    )
    [within] = parse(pressed(message={"ts": STAMP, "thread_ts": CARD}))
    assert (within.thread, within.press) == (CARD, f"{CHAT} U2147483697 {CARD}")
    opened = {name: value for name, value in PRESSED["actions"][0].items() if name != "value"}
    assert parse(pressed(actions=[opened])) == [], "a button that opens an address brings back nothing"


# --- what goes out ---


async def test_a_card_is_rich_text_with_buttons_and_nothing_in_it_is_markup(channel, provider, tools):
    provider.answers("POST", "/chat.postMessage", json=POSTED)
    card = Card(
        title="Новая заявка",
        lines=("Вера",),
        words="*Цена* <!channel> & https://a.example/x?y=1.",
        footer="Иван",
        keys=(
            (Key("Взять", "take:1"), Key("Открыть", url="https://hub.example/deals/1")),
            (Key("Позвонить", url="tel:+79161234567"),),
        ),
    )
    assert await channel.post(Place(CHAT, CARD), card, tools) == ("1503435956.000247",)
    [asked] = provider.asked
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    said = asked.json
    assert (said["channel"], said["thread_ts"], said["unfurl_links"]) == (CHAT, CARD, False)
    assert "&lt;!channel&gt; &amp; " in said["text"]
    [words, row] = said["blocks"]
    assert words == {
        "type": "rich_text",
        "elements": [
            {
                "type": "rich_text_section",
                "elements": [
                    {"type": "text", "text": "Новая заявка", "style": {"bold": True}},
                    {"type": "text", "text": "\nВера\n\n*Цена* <!channel> & "},
                    {"type": "link", "url": "https://a.example/x?y=1"},
                    {"type": "text", "text": ".\nИван\nПозвонить: tel:+79161234567"},
                ],
            }
        ],
    }
    assert row["type"] == "actions"
    assert [(key["text"]["text"], key.get("value"), key.get("url")) for key in row["elements"]] == [
        ("Взять", "take:1", None),
        ("Открыть", None, "https://hub.example/deals/1"),
    ]


async def test_long_words_become_several_posts_with_the_buttons_under_the_last(channel, provider, tools):
    stamps = iter(range(10))

    def answer(_: Asked) -> web.Response:
        return web.json_response({**POSTED, "ts": f"150.{next(stamps)}"})

    provider.does("POST", "/chat.postMessage", answer)
    words = "слово & " * 1_000
    refs = await channel.post(Place(CHAT), Card(title="Т", words=words, keys=((Key("Да", "y"),),)), tools)
    assert refs == ("150.0", "150.1", "150.2")
    shown = [asked.json["blocks"] for asked in provider.asked]
    texts = ["".join(run["text"] for run in blocks[0]["elements"][0]["elements"]) for blocks in shown]
    assert "".join(texts) == f"Т\n\n{words}"
    assert all(len(text) <= 3_000 for text in texts)
    assert [len(blocks) for blocks in shown] == [1, 1, 2]


async def test_when_slack_wants_us_to_wait_in_the_middle_nothing_is_posted_twice(channel, provider, tools):
    provider.answers("POST", "/chat.postMessage", json=POSTED)
    provider.answers("POST", "/chat.postMessage", status=429, headers={"Retry-After": "0"}, once=True)
    with pytest.raises(Throttled):
        await channel.post(Place(CHAT), Card(words="а"), tools)
    answers = iter([web.json_response(POSTED), web.Response(status=429, headers={"Retry-After": "0"})])
    provider.does("POST", "/chat.postMessage", lambda _: next(answers, None) or web.json_response(POSTED))
    provider.asked.clear()
    assert len(await channel.post(Place(CHAT), Card(words="слово " * 900), tools)) == 2
    first, refused, second = [asked.json["text"] for asked in provider.asked]
    assert refused == second != first


async def test_what_stays_refused_in_the_middle_is_uncertain(channel, provider, tools):
    answers = iter([web.json_response(POSTED)])
    slow = {"Retry-After": "600"}
    provider.does("POST", "/chat.postMessage", lambda _: next(answers, None) or web.Response(status=429, headers=slow))
    with pytest.raises(Uncertain, match="Only the beginning was posted"):
        await channel.post(Place(CHAT), Card(words="слово " * 900), tools)


async def test_files_follow_the_words_into_the_thread(channel, provider, tools):
    provider.answers("POST", "/chat.postMessage", json=POSTED)
    place = {"ok": True, "upload_url": f"{provider.url}/up", "file_id": "F1"}
    provider.answers("POST", "/files.getUploadURLExternal", json=place)
    provider.answers("POST", "/up")
    provider.answers("POST", "/files.completeUploadExternal", json={"ok": True})
    shares = {"private": {CHAT: [{"ts": "150.7"}]}}
    provider.answers("POST", "/files.info", json={"ok": True, "file": {"shares": shares}})
    refs = await channel.post(Place(CHAT, CARD), Card(words="Счёт"), tools, files=(file(b"123"), file(b"4")))
    assert refs == (POSTED["ts"], "150.7")
    paths = [asked.path for asked in provider.asked]
    assert paths.index("/chat.postMessage") > max(n for n, path in enumerate(paths) if path == "/up")
    shared = next(asked.json for asked in provider.asked if asked.path == "/files.completeUploadExternal")
    assert (shared["channel_id"], shared["thread_ts"], len(shared["files"])) == (CHAT, CARD, 2)
    assert await channel.post(Place(CHAT), Card(), tools, files=(file(b"123"),)) == ("150.7",)


async def test_an_answer_stands_under_what_it_answers_or_alone_if_that_is_gone(channel, provider, tools):
    provider.answers("POST", "/chat.postMessage", json=POSTED)
    provider.answers("POST", "/chat.postMessage", json={"ok": False, "error": "thread_not_found"}, once=True)
    assert await channel.post(Place(CHAT), Card(words="да"), tools, reply_to=CARD) == (POSTED["ts"],)
    assert [asked.json.get("thread_ts") for asked in provider.asked] == [CARD, None]
    provider.answers("POST", "/chat.postMessage", json={"ok": False, "error": "thread_not_found"})
    with pytest.raises(PlaceGone):
        await channel.post(Place(CHAT, CARD), Card(words="да"), tools)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("channel_not_found", RecipientGone),
        ("is_archived", RecipientGone),
        ("not_in_channel", Undeliverable),
        ("invalid_auth", Unauthorised),
        ("missing_scope", Misconfigured),
        ("fatal_error", Uncertain),
        ("invalid_blocks", Undeliverable),
    ],
)
async def test_a_refusal_tells_what_happens_next(channel, provider, tools, code, error):
    provider.answers("POST", "/chat.postMessage", json={"ok": False, "error": code})
    with pytest.raises(ChannelError) as caught:
        await channel.post(Place(CHAT), Card(words="да"), tools)
    assert type(caught.value) is error


async def test_a_cut_connection_leaves_us_uncertain_and_no_secret_is_noted(channel, provider):
    provider.breaks("POST", "/chat.postMessage")
    async with tools_for(provider.url, secrets=(TOKEN,)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel.post(Place(CHAT), Card(words="да"), tools)
    assert TOKEN not in repr(exchanges)


async def test_a_post_is_edited_and_one_that_is_gone_is_no_matter(channel, provider, tools):
    provider.answers("POST", "/chat.update", json={"ok": True})
    await channel.edit(Place(CHAT, CARD), "150.1", Card(title="Взял Иван", keys=((Key("Отдать", "give:1"),),)), tools)
    asked = provider.asked[0].json
    assert (asked["channel"], asked["ts"], asked["text"]) == (CHAT, "150.1", "Взял Иван")
    assert [block["type"] for block in asked["blocks"]] == ["rich_text", "actions"]
    provider.answers("POST", "/chat.update", json={"ok": False, "error": "message_not_found"})
    await channel.edit(Place(CHAT), "150.1", Card(title="x"), tools)
    provider.answers("POST", "/chat.update", json={"ok": False, "error": "cant_update_message"})
    with pytest.raises(Undeliverable):
        await channel.edit(Place(CHAT), "150.1", Card(title="x"), tools)


async def test_a_press_is_confirmed_to_whoever_pressed_alone(channel, provider, tools):
    provider.answers("POST", "/chat.postEphemeral", json={"ok": True})
    [press] = parse(pressed(message={"ts": STAMP, "thread_ts": CARD}))
    await channel.confirm(press.press, tools)
    assert provider.asked == []
    await channel.confirm(press.press, tools, text="Уже взял <Иван>", is_alert=True)
    assert provider.asked[0].json == {
        "channel": CHAT,
        "user": "U2147483697",
        "thread_ts": CARD,
        "text": "Уже взял &lt;Иван&gt;",
    }


async def test_the_check_names_the_bot_first(channel, provider, tools):
    answer = {"ok": True, "team": "Shop", "user": "desk", "url": "https://shop.slack.com/"}
    provider.answers("POST", "/auth.test", json=answer, headers={"X-OAuth-Scopes": "chat:write,im:history"})
    checked = await channel.check(tools)
    assert next(iter(checked.facts.values())) == "@desk"
    provider.answers("POST", "/auth.test", json=answer, headers={"X-OAuth-Scopes": "im:history"})
    with pytest.raises(Misconfigured, match="chat:write"):
        await channel.check(tools)


async def test_a_file_of_ours_is_fetched_with_the_token(channel, provider, tools):
    provider.answers("GET", "/files/a.pdf", body=b"%PDF", content_type="application/pdf")
    fetched = await channel.fetch_media(f"{provider.url}/files/a.pdf", tools)
    assert b"".join([piece async for piece in fetched.chunks]) == b"%PDF"
    assert provider.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_the_challenge_is_answered():
    body = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
    reply = make().handshake(slack.signed(body, "application/json"))
    assert reply is not None
    assert reply.body == b"abc"
