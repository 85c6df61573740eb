from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from channels.contract import Button, ParseContext
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
from channels.slack import Slack
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Changed, Claim, Event, Incoming, Problem, Trust
from tests.channels.payloads import NOW, slack
from tests.channels.payloads.slack import STAMP, event, form, message, signed
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
TOKEN = slack.SETTINGS["bot_token"]
POSTED = {"ok": True, "channel": "D024BE91L", "ts": "1503435956.000247"}


@pytest.fixture
def channel(provider) -> Slack:
    return Slack(Slack.Settings(**slack.SETTINGS, base_url=provider.url))


def parse(request: RawRequest) -> list[Event]:
    return list(Slack(Slack.Settings(**slack.SETTINGS)).parse(request, CONTEXT))


# --- genuine or not ---

DOCUMENTED = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
    b"803a0bc887a14d10d2c447fce8b6703c"
)
AS_DOCUMENTED = RawRequest(
    DOCUMENTED,
    headers={
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    },
)


def test_the_signature_of_slack_s_own_documentation_is_accepted(channel):
    channel.verify(AS_DOCUMENTED, datetime.fromtimestamp(1531420618, UTC))
    with pytest.raises(BadSignature):
        channel.verify(replace(AS_DOCUMENTED, body=DOCUMENTED + b"&x=1"), datetime.fromtimestamp(1531420618, UTC))


@pytest.mark.parametrize(
    ("seconds", "is_fresh"), [(0, True), (299, True), (300, True), (301, False), (-300, True), (-301, False)]
)
def test_a_signature_is_good_for_five_minutes(channel, seconds, is_fresh):
    later = NOW + timedelta(seconds=seconds)
    if is_fresh:
        channel.verify(message(), later)
    else:
        with pytest.raises(BadSignature, match="five minutes"):
            channel.verify(message(), later)


@pytest.mark.parametrize("stamp", ["", "soon", "-1", "١٢٣", "9" * 30, "1.5"])
def test_a_time_that_is_none_is_refused(channel, stamp):
    request = message()
    with pytest.raises(BadSignature):
        channel.verify(replace(request, headers={**request.headers, "x-slack-request-timestamp": stamp}), NOW)


def test_without_a_signing_secret_nothing_is_accepted():
    bare = Slack(Slack.Settings(signing_secret=SecretStr(""), bot_token=SecretStr("xoxb-1")))
    for request in (message(), signed(b'{"type":"url_verification","challenge":"c"}', "application/json", secret="")):
        with pytest.raises(NotConfigured, match="Enter it"):
            bare.verify(request, NOW)
    with pytest.raises(NotConfigured):
        bare.handshake(request)


def test_the_challenge_is_answered_word_for_word_if_it_is_signed(channel):
    body = json.dumps(
        {"token": "x", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", "type": "url_verification"}
    )
    reply = channel.handshake(signed(body.encode(), "application/json"))
    assert (reply.body, reply.content_type, reply.status) == (
        b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P",
        "text/plain",
        200,
    )
    with pytest.raises(BadSignature):
        channel.handshake(signed(body.encode(), "application/json", secret="another"))
    assert channel.handshake(message()) is None


def test_a_certificate_check_is_answered_and_not_kept(channel):
    assert channel.handshake(RawRequest(b"ssl_check=1&token=x")).status == 200


# --- what is said ---


def test_a_direct_message_says_who_what_and_where():
    assert parse(message()) == [
        Incoming(
            peer="D024BE91L",
            occurred_at=NOW - timedelta(seconds=2) + timedelta(microseconds=200),
            external_id=f"D024BE91L:{STAMP}",
            claims=(Claim(Address("slack", "T123ABC456:U2147483697"), "U2147483697", Trust.ATTESTED),),
            text="Здравствуйте! Цена < 100 & доставка? тут (https://shop.example/a?b=1)",
        )
    ]


def test_files_are_kept_by_where_they_lie_and_links_are_shown():
    [said] = parse(slack.REQUESTS[1])
    assert isinstance(said, Incoming)
    assert said.text == "https://docs.example/d/1"
    assert said.attachments == (
        Attachment(
            "договор №5.pdf",
            "application/pdf",
            144538,
            reference="https://files.slack.com/files-pri/T123ABC456-F0S43P1CZ/download/dogovor.pdf",
        ),
        Attachment(
            "audio_message.m4a",
            "audio/mp4",
            9000,
            reference="https://files.slack.com/files-tmb/T123ABC456-F0S43P1D0/audio_message.m4a",
            kind="voice",
        ),
        Attachment("F0S43P1D1", "", 0, reference="file:F0S43P1D1"),
    )


@pytest.mark.parametrize(
    ("kind", "thread_ts", "thread", "reply_to"),
    [
        ("im", "1482960137.003543", "", "D024BE91L:1482960137.003543"),
        ("channel", "1482960137.003543", "1482960137.003543", "D024BE91L:1482960137.003543"),
        ("mpim", "1482960137.003543", "1482960137.003543", "D024BE91L:1482960137.003543"),
        ("channel", STAMP, STAMP, ""),
        ("channel", "", "", ""),
    ],
)
def test_a_thread_is_a_conversation_of_its_own_except_in_direct_messages(kind, thread_ts, thread, reply_to):
    [said] = parse(message(channel_type=kind, thread_ts=thread_ts))
    assert isinstance(said, Incoming)
    assert (said.thread, said.reply_to) == (thread, reply_to)


def test_calling_our_bot_by_name_is_not_part_of_what_is_said():
    [said] = parse(
        event({"type": "app_mention", "channel": "C1", "user": "U1", "ts": STAMP, "text": " <@U0BOT>: цена?"})
    )
    assert isinstance(said, Incoming)
    assert said.text == "цена?"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("<@U1|vera> и <@U2>", "@vera и @U2"),
        ("<#C1|general> <!here> <!subteam^S1|@sales>", "#general @here @sales"),
        (
            "<mailto:a@b.example|a@b.example> <tel:+79161234567|+7 916 123-45-67>",
            "a@b.example +7 916 123-45-67 (+79161234567)",
        ),
        ("<https://x.example>", "https://x.example"),
        ("&amp;lt; &lt;b&gt;", "&lt; <b>"),
    ],
)
def test_marks_are_shown_as_people_read_them(sent, shown):
    [said] = parse(message(text=sent))
    assert isinstance(said, Incoming)
    assert said.text == shown


@pytest.mark.parametrize(
    "inner",
    [
        {"bot_id": "B1"},
        {"user": "U0BOT"},
        {"user": None},
        {"subtype": "bot_message"},
        {"subtype": "channel_join"},
        {"channel": None},
        {"text": ""},
        {"type": "team_join"},
    ],
)
def test_what_nobody_said_to_us_makes_no_event(inner):
    assert parse(message(**inner)) == []


@pytest.mark.parametrize(
    ("inner", "external_id"),
    [
        ({"ts": None, "event_ts": "1795165200.000009"}, "D024BE91L:1795165200.000009"),
        ({"ts": None, "event_ts": None}, "Ev08MFMKH6"),
    ],
)
def test_a_message_without_a_stamp_is_known_by_what_else_tells_it_apart(inner, external_id):
    (found,) = parse(message(**inner))
    assert (found.external_id, found.occurred_at is None) == (external_id, False)


def test_edits_and_deletions_name_the_message():
    assert parse(event(slack.CHANGED)) == [
        Changed(
            peer="D024BE91L",
            occurred_at=NOW - timedelta(seconds=2) + timedelta(microseconds=200),
            external_id="D024BE91L:1652635099.971779",
            change="edited",
            text="Goodbye & thanks",
        )
    ]
    [deleted] = parse(event(slack.DELETED))
    assert isinstance(deleted, Changed)
    assert (deleted.change, deleted.external_id) == ("deleted", "D024BE91L:1652635099.971779")
    tombstone = {**slack.CHANGED, "message": {**slack.CHANGED["message"], "subtype": "tombstone"}}
    [deleted] = parse(event(tombstone))
    assert isinstance(deleted, Changed)
    assert deleted.change == "deleted"


def test_a_preview_added_by_slack_and_an_edit_of_our_own_are_no_changes():
    said: dict[str, Any] = slack.CHANGED["previous_message"]
    unfurled = {**slack.CHANGED, "message": {**said, "attachments": [{"title": "a page"}]}}
    ours = {**slack.CHANGED, "message": {**slack.CHANGED["message"], "bot_id": "B1"}}
    assert parse(event(unfurled)) == parse(event(ours)) == []
    assert parse(event({**slack.DELETED, "previous_message": {"bot_id": "B1"}})) == []


def test_reactions_are_put_on_and_taken_back():
    put, taken = parse(event(slack.REACTION)), parse(event({**slack.REACTION, "type": "reaction_removed"}))
    assert [(e.change, e.external_id, e.text) for e in (*put, *taken) if isinstance(e, Changed)] == [
        ("reaction", "D024BE91L:1652635099.971779", ":thumbsup:"),
        ("reaction", "D024BE91L:1652635099.971779", ""),
    ]


def test_a_pressed_button_is_an_answer():
    [pressed] = parse(form({"payload": json.dumps(slack.PRESSED)}))
    assert isinstance(pressed, Incoming)
    assert (pressed.text, pressed.fields, pressed.name) == ("Да, верно", {"payload": "confirm:17"}, "vera")
    assert (pressed.external_id, pressed.reply_to) == (f"D024BE91L:{STAMP}", "D024BE91L:1548261231.000200")
    assert pressed.claims[0].address == Address("slack", "T123ABC456:U2147483697")


def test_a_slash_command_is_answered_to_the_person_for_our_bot_may_not_be_there(channel):
    [said] = parse(form(slack.COMMAND))
    assert isinstance(said, Incoming)
    assert (said.peer, said.text, said.name) == ("T123ABC456:U2147483697", "/order два торта & чай", "vera")
    assert channel.acknowledge(form(slack.COMMAND), "r1").body == b""


def test_a_revoked_token_is_told():
    [problem] = parse(event({"type": "tokens_revoked", "tokens": {"bot": ["U0BOT"]}}))
    assert isinstance(problem, Problem)
    assert problem.kind == "auth"


def test_a_retry_is_a_repeat_and_another_event_is_not(channel):
    request = message()
    retried = replace(
        request, headers={**request.headers, "x-slack-retry-num": "1", "x-slack-retry-reason": "http_timeout"}
    )
    assert channel.route(request) == channel.route(retried)
    assert channel.route(request).peer == "D024BE91L"
    other = event({"type": "message", "channel": "D024BE91L"}, event_id="Ev2")
    assert channel.route(other).dedupe_key != channel.route(request).dedupe_key


# --- what goes out ---


async def test_a_text_is_sent_as_it_is_written(channel, provider, tools):
    provider.answers("POST", "/chat.postMessage", json=POSTED)
    receipt = await channel.send(part("Цена <100> & *скидка*", peer="D024BE91L"), tools)
    assert receipt.external_ids == ("D024BE91L:1503435956.000247",)
    [asked] = provider.asked
    assert asked.json == {"channel": "D024BE91L", "text": "Цена &lt;100&gt; &amp; *скидка*", "mrkdwn": False}
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("more", "thread"),
    [
        ({"thread": "1482960137.003543"}, "1482960137.003543"),
        ({"reply_to": "D024BE91L:1482960137.003543"}, "1482960137.003543"),
        ({"reply_to": "D024BE91L:1482960137.003543", "is_first": False}, None),
        ({}, None),
    ],
)
async def test_an_answer_goes_where_it_was_asked(channel, provider, tools, more, thread):
    provider.answers("POST", "/chat.postMessage", json=POSTED)
    await channel.send(part("да", peer="C1", **more), tools)
    assert provider.asked[0].json.get("thread_ts") == thread


async def test_writing_first_opens_the_direct_message(channel, provider, tools):
    provider.answers("POST", "/conversations.open", json={"ok": True, "channel": {"id": "D024BE91L"}})
    provider.answers("POST", "/chat.postMessage", json=POSTED)
    address = Address("slack", "T123ABC456:U2147483697")
    peer = channel.peer_of(address)
    assert channel.address_of(peer) == address
    assert channel.peer_of(Address("phone", "+79161234567")) is None
    await channel.send(part("Здравствуйте", peer=peer), tools)
    assert [(asked.path, asked.json.get("users", asked.json.get("channel"))) for asked in provider.asked] == [
        ("/conversations.open", "U2147483697"),
        ("/chat.postMessage", "D024BE91L"),
    ]


async def test_buttons_stand_below_the_text(channel, provider, tools):
    provider.answers("POST", "/chat.postMessage", json=POSTED)
    await channel.send(part("ы" * 3_001, peer="D1", buttons=(Button("Да", "yes"), Button("Н" * 80))), tools)
    *sections, row = provider.asked[0].json["blocks"]
    assert [len(section["text"]["text"]) for section in sections] == [3_000, 1]
    assert {section["text"]["type"] for section in sections} == {"plain_text"}
    assert [(b["text"]["text"], b["value"]) for b in row["elements"]] == [("Да", "yes"), ("Н" * 75, "Н" * 80)]


async def test_files_are_uploaded_and_shared_with_their_caption(channel, provider, tools):
    place = {"ok": True, "upload_url": f"{provider.url}/upload/v1/ABC", "file_id": "F1"}
    provider.answers("POST", "/files.getUploadURLExternal", json=place)
    provider.answers("POST", "/upload/v1/ABC", body="OK - 10", content_type="text/plain")
    provider.answers("POST", "/files.completeUploadExternal", json={"ok": True, "files": [{"id": "F1"}]})
    shares = {"private": {"D1": [{"ts": "1503435956.000248"}]}}
    provider.answers("POST", "/files.info", json={"ok": True, "file": {"id": "F1", "shares": shares}})
    receipt = await channel.send(part("Счёт & акт", peer="D1", thread="1.2", files=(file(b"%PDF-1.7 x"),)), tools)
    assert receipt.external_ids == ("D1:1503435956.000248",)
    place_asked, upload, complete, _ = provider.asked
    assert place_asked.form == {"filename": "offer.pdf", "length": "10"}
    assert upload.body == b"%PDF-1.7 x"
    assert "authorization" not in upload.headers
    assert complete.json == {
        "files": [{"id": "F1", "title": "offer.pdf"}],
        "channel_id": "D1",
        "initial_comment": "Счёт &amp; акт",
        "thread_ts": "1.2",
    }


async def test_files_that_slack_has_not_shown_yet_are_named_by_themselves(channel, provider, tools):
    place = {"ok": True, "upload_url": f"{provider.url}/upload", "file_id": "F1"}
    provider.answers("POST", "/files.getUploadURLExternal", json=place)
    provider.answers("POST", "/upload", body="OK", content_type="text/plain")
    provider.answers("POST", "/files.completeUploadExternal", json={"ok": True})
    provider.answers("POST", "/files.info", json={"ok": True, "file": {"id": "F1", "shares": {}}})
    provider.answers("POST", "/chat.postMessage", json={"ok": False, "error": "invalid_blocks"})
    receipt = await channel.send(part(peer="D1", files=(file(),), buttons=(Button("Да"),)), tools)
    assert receipt.external_ids == ("D1:F1",)
    assert "buttons did not" in receipt.detail


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (200, {"ok": False, "error": "invalid_auth"}, Unauthorised),
        (200, {"ok": False, "error": "token_revoked"}, Unauthorised),
        (200, {"ok": False, "error": "missing_scope", "needed": "chat:write"}, Misconfigured),
        (200, {"ok": False, "error": "channel_not_found"}, RecipientGone),
        (200, {"ok": False, "error": "is_archived"}, RecipientGone),
        (200, {"ok": False, "error": "not_in_channel"}, Undeliverable),
        (200, {"ok": False, "error": "msg_too_long"}, Undeliverable),
        (200, {"ok": False, "error": "ratelimited"}, Throttled),
        (200, {"ok": False, "error": "service_unavailable"}, Temporary),
        (200, {"ok": False, "error": "fatal_error"}, Uncertain),
        (200, {"ok": True}, Uncertain),
        (200, ["ok"], Uncertain),
        (503, {"ok": False, "error": "service_unavailable"}, Temporary),
    ],
)
async def test_a_refusal_tells_what_happens_next(channel, provider, tools, status, answer, error):
    provider.answers("POST", "/chat.postMessage", status=status, json=answer)
    with pytest.raises(ChannelError) as caught:
        await channel.send(part("да", peer="D1"), tools)
    assert type(caught.value) is error
    assert TOKEN not in str(caught.value)


async def test_too_fast_says_for_how_long(channel, provider, tools):
    answer = {"ok": False, "error": "ratelimited"}
    provider.answers("POST", "/chat.postMessage", status=429, json=answer, headers={"Retry-After": "30"})
    with pytest.raises(Throttled) as caught:
        await channel.send(part("да", peer="D1"), tools)
    assert caught.value.retry_after == 30


async def test_a_connection_cut_after_the_request_leaves_it_uncertain(channel, provider, tools):
    provider.breaks("POST", "/chat.postMessage")
    with pytest.raises(Uncertain):
        await channel.send(part("да", peer="D1"), tools)
    provider.breaks("POST", "/conversations.open")
    with pytest.raises(Temporary):
        await channel.send(part("да", peer="T1:U1"), tools)


async def test_the_token_is_in_no_exchange(channel, provider):
    provider.answers("POST", "/chat.postMessage", json={"ok": False, "error": f"what is {TOKEN}?"})
    async with tools_for(provider.url, secrets=(TOKEN,)) as (tools, exchanges):
        with pytest.raises(Undeliverable) as caught:
            await channel.send(part("да", peer="D1"), tools)
    assert len(exchanges) == 1
    assert TOKEN not in repr(exchanges) + str(caught.value)


# --- what can be asked ---


async def test_a_file_is_fetched_with_the_token(channel, provider, tools):
    provider.answers("GET", "/files-pri/T1-F1/a.png", body=b"\x89PNG", content_type="image/png")
    fetched = await channel.fetch_media(f"{provider.url}/files-pri/T1-F1/a.png", tools)
    assert b"".join([piece async for piece in fetched.chunks]) == b"\x89PNG"
    assert (fetched.content_type, fetched.size, fetched.name) == ("image/png", 4, "a.png")
    assert provider.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_file_of_another_workspace_is_looked_up_first(channel, provider, tools):
    where = {"ok": True, "file": {"url_private_download": f"{provider.url}/download/a.png"}}
    provider.answers("POST", "/files.info", json=where)
    provider.answers("GET", "/download/a.png", body=b"\x89PNG", content_type="image/png")
    fetched = await channel.fetch_media("file:F1", tools)
    assert b"".join([piece async for piece in fetched.chunks]) == b"\x89PNG"
    assert provider.asked[0].form == {"file": "F1"}


async def test_the_token_is_not_taken_to_another_host(provider):
    elsewhere = Slack(Slack.Settings(**slack.SETTINGS))
    provider.answers("GET", "/a.png", body=b"x", content_type="image/png")
    async with tools_for(provider.url) as (tools, _):
        fetched = await elsewhere.fetch_media(f"{provider.url}/a.png", tools)
        assert [piece async for piece in fetched.chunks] == [b"x"]
    assert "authorization" not in provider.asked[0].headers


async def test_the_sign_in_page_is_not_taken_for_a_file(channel, provider, tools):
    provider.answers("GET", "/a.png", body="<html>Sign in</html>", content_type="text/html")
    with pytest.raises(Undeliverable, match="files:read"):
        await channel.fetch_media(f"{provider.url}/a.png", tools)


async def test_who_somebody_is_can_be_asked(channel, provider, tools):
    user = {"id": "U1", "name": "vera", "locale": "ru-RU", "profile": {"real_name": "Вера Орлова"}}
    provider.answers("POST", "/users.info", json={"ok": True, "user": user})
    provider.answers("POST", "/conversations.info", json={"ok": True, "channel": {"id": "D1", "user": "U1"}}, once=True)
    assert await channel.profile("D1", tools) == ("Вера Орлова", "ru-RU")
    assert await channel.profile("T1:U1", tools) == ("Вера Орлова", "ru-RU")
    assert provider.asked[1].form == {"user": "U1", "include_locale": "true"}
    provider.answers("POST", "/conversations.info", json={"ok": True, "channel": {"id": "C1"}})
    assert await channel.profile("C1", tools) is None


async def test_the_check_says_whose_bot_it_is(channel, provider, tools):
    who = {"ok": True, "url": "https://shop.slack.com/", "team": "Shop", "user": "hub"}
    provider.answers("POST", "/auth.test", json=who, headers={"X-OAuth-Scopes": "chat:write,im:history"})
    checked = await channel.check(tools)
    assert "hub in Shop" in checked.detail
    assert checked.facts["scopes"] == "chat:write,im:history"
    provider.answers("POST", "/auth.test", json=who, headers={"X-OAuth-Scopes": "im:history"})
    with pytest.raises(Misconfigured, match="chat:write"):
        await channel.check(tools)
    provider.answers("POST", "/auth.test", json={"ok": False, "error": "invalid_auth"})
    with pytest.raises(Unauthorised, match="Enter it again"):
        await channel.check(tools)
