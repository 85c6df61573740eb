"""Matrix without a homeserver: what is hard to make a real one do. The rest is in test_matrix_synapse."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from pydantic import SecretStr, ValidationError

from channels.contract import MANY, ParseContext
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
from channels.matrix import Matrix
from channels.matrix_events import UNREADABLE
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Changed, Claim, Event, Incoming, Pending, Signal, Status, Trust
from tests.channels.payloads import NOW, matrix
from tests.channels.payloads.matrix import BOB, BOT, MOMENT, ROOM, event, message, transaction
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
AT = datetime.fromtimestamp(MOMENT / 1000, UTC)
AS_TOKEN = matrix.SETTINGS["as_token"]
SEND = r"/_matrix/client/v3/rooms/!636q39766251:example\.com/send/m\.room\.message/184467\.0"
WHOAMI = "/_matrix/client/v3/account/whoami"


def make(**more: Any) -> Matrix:
    return Matrix(Matrix.Settings(**{**matrix.SETTINGS, **more}))


@pytest.fixture
def channel(provider) -> Matrix:
    return make(base_url=provider.url)


def parse(*events: dict[str, Any], **more: Any) -> list[Event]:
    return list(make().parse(transaction(*events, **more), CONTEXT))


def said(*events: dict[str, Any]) -> Incoming:
    [found] = parse(*events)
    assert isinstance(found, Incoming)
    return found


# --- genuine or not ---


@pytest.mark.parametrize(
    ("headers", "query", "is_genuine"),
    [
        ({"authorization": f"Bearer {matrix.HS_TOKEN}"}, "", True),
        ({"authorization": f"bearer  {matrix.HS_TOKEN} "}, "", True),
        ({}, f"access_token={matrix.HS_TOKEN}", True),
        ({}, "", False),
        ({"authorization": f"Basic {matrix.HS_TOKEN}"}, "", False),
        ({"authorization": f"Bearer {AS_TOKEN}"}, "access_token=", False),
        ({}, "&".join("a=1" for _ in range(100)), False),
    ],
)
def test_only_our_homeserver_is_believed(headers, query, is_genuine):
    channel = make()
    request = replace(transaction(message()), headers=headers, query=query)
    ping = replace(request, method="POST", suffix="_matrix/app/v1/ping", body=b"{}")
    if is_genuine:
        channel.verify(request, NOW)
        assert channel.handshake(ping) is not None
    else:
        for ask in (lambda: channel.verify(request, NOW), lambda: channel.handshake(ping)):
            with pytest.raises(BadSignature):
                ask()


def test_without_a_token_nothing_is_accepted():
    request = replace(transaction(message()), headers={"authorization": "Bearer "})
    with pytest.raises(NotConfigured):
        make(hs_token=SecretStr("")).verify(request, NOW)


@pytest.mark.parametrize(
    ("method", "suffix", "body", "status"),
    [
        ("GET", "_matrix/app/v1/users/%40switchyard_x%3Aexample.com", b"", 404),
        ("GET", "users/@nobody:example.com", b"", 404),
        ("GET", "_matrix/app/v1/rooms/%23sales%3Aexample.com", b"", 404),
        ("GET", "_matrix/app/v1/thirdparty/protocol/irc", b"", 404),
        ("POST", "_matrix/app/v1/ping", b'{"transaction_id":"1"}', 200),
        ("PUT", "_matrix/app/v1/transactions/1", b'{"events":[]}', 200),
        ("PUT", "_matrix/app/v1/transactions/1", b'{"events":[],"ephemeral":[{"type":"m.presence"}]}', 200),
        ("PUT", "_matrix/app/v1/transactions/1", b'{"events":[],"ephemeral":[{"type":"m.receipt"}]}', None),
        ("PUT", "transactions/1", b'{"events":[{}]}', None),
        ("PUT", "transactions/1", b"[", None),
        ("POST", "", b"{}", None),
    ],
)
def test_questions_are_answered_and_kept_nowhere(method, suffix, body, status):
    request = replace(transaction(), method=method, suffix=suffix, body=body)
    reply = make().handshake(request)
    assert (reply.status if reply else None) == status
    assert reply is None or isinstance(json.loads(reply.body), dict)


def test_a_repeat_is_known_though_its_age_has_changed():
    channel = make()
    first, again = transaction(message()), transaction({**message(), "age": 9_000, "unsigned": {"age": 9_000}})
    assert channel.route(first) == channel.route(again)
    assert channel.route(first).peer == ROOM
    others = [
        transaction(message(), number="36"),
        transaction(message(name="$other")),
        transaction(message(), message(name="$other")),
    ]
    assert len({channel.route(request).dedupe_key for request in [first, *others]}) == 4
    assert channel.route(replace(first, suffix="transactions/35")) == channel.route(first)
    assert channel.route(matrix.REQUESTS[-1]).peer == MANY


# --- what is said ---


def test_a_message_says_who_what_and_where():
    assert said(message()) == Incoming(
        peer=ROOM,
        occurred_at=AT,
        external_id="$143273582443PhrSn",
        claims=(Claim(Address("matrix", BOB), BOB, Trust.ATTESTED),),
        text="Здравствуйте! Сколько стоит торт? 😀",
    )


def test_every_event_of_every_room_is_read_whatever_stands_beside_it():
    found = parse(
        message(name="$a"),
        {"type": "m.room.message"},
        {**message(name="$b"), "content": "?"},
        {**message(name="$c"), "room_id": "!other:example.com"},
        {**message(name="$d"), "origin_server_ts": "soon"},
        event("m.room.topic", {"topic": "торты"}),
    )
    assert [(event.external_id, event.peer) for event in found if isinstance(event, Incoming)] == [
        ("$a", ROOM),
        ("$c", "!other:example.com"),
        ("$d", ROOM),
    ]


@pytest.mark.parametrize(
    ("sent", "text", "attachments"),
    [
        (
            matrix.IMAGE,
            "Такой, пожалуйста",
            (
                Attachment(
                    "торт.png", "image/png", 31037, reference="mxc://other.example/JWEIFJgwEIhweiWJE", kind="image"
                ),
            ),
        ),
        (
            matrix.VOICE,
            "",
            (
                Attachment(
                    "Voice message",
                    "audio/ogg",
                    9000,
                    reference="mxc://other.example/ffed755USFFxlgbQYZGtryd",
                    kind="voice",
                ),
            ),
        ),
        (
            event("m.sticker", {"body": "ура", "url": "mxc://a.example/b", "info": {"mimetype": "image/webp"}}),
            "",
            (Attachment("ура", "image/webp", 0, reference="mxc://a.example/b", kind="sticker"),),
        ),
        (message("a.pdf", msgtype="m.file", url="https://evil.example/a.pdf"), None, ()),
        (
            message("a.pdf", msgtype="m.file", file={"url": "mxc://a.example/b", "key": {}}),
            "(A file that is encrypted end to end, so it cannot be opened here: a.pdf)",
            (),
        ),
        (message("Офис", msgtype="m.location", geo_uri="geo:55.75,37.61"), "Офис\ngeo:55.75,37.61", ()),
        (message("пожимает плечами", msgtype="m.emote"), "пожимает плечами", ()),
        (matrix.ENCRYPTED, UNREADABLE, ()),
    ],
)
def test_every_sort_of_message_is_read(sent, text, attachments):
    found = parse(sent)
    if text is None:
        assert found == []
    else:
        [read] = found
        assert isinstance(read, Incoming)
        assert (read.text, read.attachments) == (text, attachments)


@pytest.mark.parametrize(
    ("relation", "thread", "reply_to", "text"),
    [
        ({"m.in_reply_to": {"event_id": "$q"}}, "", "$q", "да"),
        (
            {
                "rel_type": "m.thread",
                "event_id": "$root",
                "is_falling_back": True,
                "m.in_reply_to": {"event_id": "$last"},
            },
            "$root",
            "",
            "да",
        ),
        ({"rel_type": "m.thread", "event_id": "$root", "m.in_reply_to": {"event_id": "$q"}}, "$root", "$q", "да"),
        ({}, "", "", "> <@switchyard:example.com> Верно?\n> Точно?\n\nда"),
    ],
)
def test_an_answer_names_what_it_answers_and_does_not_repeat_it(relation, thread, reply_to, text):
    body = "> <@switchyard:example.com> Верно?\n> Точно?\n\nда"
    read = said(message(body, **{"m.relates_to": relation}))
    assert (read.thread, read.reply_to, read.text) == (thread, reply_to, text)


@pytest.mark.parametrize(
    ("settings", "sender", "is_ours"),
    [
        ({}, "@switchyard:example.com", True),
        ({}, "@switchyard_shop:example.com", True),
        ({}, "@switchyards:example.com", False),
        ({}, "@switchyard:evil.example", False),
        ({}, "@bob:example.com", False),
        ({"user_prefix": "@hub"}, "@hubert:example.com", True),
        ({"homeserver": "https://element.example"}, "@switchyard:example.com", False),
        ({"homeserver": "https://element.example", "server_name": "example.com"}, "@switchyard:example.com", True),
        ({"homeserver": "http://127.0.0.1:8008"}, "@switchyard:hub.test", True),
        ({"homeserver": "http://synapse:8008"}, "@switchyard:hub.test", True),
    ],
)
def test_our_own_users_are_known_by_name_and_server(settings, sender, is_ours):
    [read] = make(**settings).parse(transaction({**message(), "sender": sender}), CONTEXT)
    assert isinstance(read, Incoming)
    assert read.is_ours is is_ours
    assert bool(read.claims) is not is_ours


async def test_what_we_wrote_is_known_under_any_name(channel, provider, tools):
    provider.answers("PUT", SEND, json={"event_id": "$ours"})
    await channel.send(part("да", peer=ROOM), tools)
    content = provider.asked[0].json
    written = event("m.room.message", content, sender="@hubbot:example.com")
    assert channel.parse(transaction(written), CONTEXT) == []
    forged = {**content, "io.switchyard.sent": "184467.1 " + content["io.switchyard.sent"].partition(" ")[2]}
    assert len(channel.parse(transaction({**written, "content": forged}), CONTEXT)) == 1


def test_a_program_s_notice_makes_nobody_wait():
    assert said(message("Сборка прошла", msgtype="m.notice")).is_automatic


def test_an_invitation_has_to_be_looked_into():
    assert parse(matrix.INVITE) == [
        Pending(peer=ROOM, occurred_at=AT, external_id="$invite", reference=ROOM, hints={"invited": BOT, "by": BOB})
    ]
    ours = {**matrix.INVITE, "sender": BOT, "state_key": BOB}
    assert parse(ours) == []


@pytest.mark.parametrize(
    ("sender", "user", "membership", "is_told"),
    [
        (BOB, BOB, "leave", True),
        (BOB, BOT, "leave", True),
        (BOB, BOT, "ban", True),
        (BOB, "@carol:other.example", "leave", False),
        (BOT, BOT, "leave", False),
        (BOB, BOB, "join", False),
    ],
)
def test_who_left_is_told(sender, user, membership, is_told):
    found = parse(event("m.room.member", {"membership": membership}, sender=sender, state_key=user))
    assert [event.kind for event in found if isinstance(event, Signal)] == (["gone"] if is_told else [])


def test_changes_name_the_message():
    found = parse(matrix.EDIT, matrix.REACTION, matrix.REDACTION)
    assert [(e.external_id, e.change, e.text) for e in found if isinstance(e, Changed)] == [
        ("$143273582443PhrSn", "edited", "Сколько стоят два?"),
        ("$ours", "reaction", "👍"),
        ("$143273582443PhrSn", "deleted", ""),
    ]
    newer = event("m.room.redaction", {"redacts": "$x"})
    ours = [{**changed, "sender": BOT} for changed in (matrix.EDIT, matrix.REACTION, matrix.REDACTION)]
    assert [e.external_id for e in parse(newer, *ours) if isinstance(e, Changed)] == ["$x"]


@pytest.mark.parametrize("name", ["ephemeral", "de.sorunome.msc2409.ephemeral"])
def test_reading_and_typing_are_told(name):
    ours = {"type": "m.receipt", "room_id": ROOM, "content": {"$a": {"m.read": {BOT: {"ts": MOMENT}}}}}
    assert parse(**{name: [matrix.RECEIPT, matrix.TYPING, ours, {"type": "m.presence"}]}) == [
        Status(peer=ROOM, occurred_at=AT, status="read", up_to=True),
        Signal(peer=ROOM, kind="typing", claims=(Claim(Address("matrix", BOB), BOB, Trust.ATTESTED),)),
    ]


# --- what goes out ---


async def test_a_message_is_sent_under_the_number_of_its_part(channel, provider, tools):
    provider.answers("PUT", SEND, json={"event_id": "$sent"})
    receipt = await channel.send(part("Добрый день!", peer=ROOM, thread="$root"), tools)
    assert receipt.external_ids == ("$sent",)
    [asked] = provider.asked
    assert asked.headers["authorization"] == f"Bearer {AS_TOKEN}"
    assert {name: value for name, value in asked.json.items() if name != "io.switchyard.sent"} == {
        "msgtype": "m.text",
        "body": "Добрый день!",
        "m.relates_to": {
            "rel_type": "m.thread",
            "event_id": "$root",
            "is_falling_back": True,
            "m.in_reply_to": {"event_id": "$root"},
        },
    }


@pytest.mark.parametrize(
    ("kind", "msgtype"), [("image", "m.image"), ("voice", "m.audio"), ("video", "m.video"), ("file", "m.file")]
)
async def test_a_file_is_uploaded_and_named(channel, provider, tools, kind, msgtype):
    provider.answers("POST", "/_matrix/media/v3/upload", json={"content_uri": "mxc://example.com/abc"})
    provider.answers("PUT", SEND, json={"event_id": "$sent"})
    sent = file(b"12345", name="торт.bin", content_type="image/png", kind=kind)
    await channel.send(part("Вот", peer=ROOM, files=(sent,)), tools)
    upload, asked = provider.asked
    assert (upload.query, upload.body, upload.headers["content-type"]) == (
        {"filename": "торт.bin"},
        b"12345",
        "image/png",
    )
    content = asked.json
    assert (content["msgtype"], content["body"], content["filename"]) == (msgtype, "Вот", "торт.bin")
    assert (content["url"], content["info"]) == ("mxc://example.com/abc", {"mimetype": "image/png", "size": 5})
    assert ("org.matrix.msc3245.voice" in content) == (kind == "voice")


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Unrecognised access token"}, Unauthorised),
        (403, {"errcode": "M_FORBIDDEN", "error": "User @switchyard:example.com not in room !a"}, RecipientGone),
        (403, {"errcode": "M_FORBIDDEN", "error": "You don't have permission to post that to the room"}, Undeliverable),
        (404, {"errcode": "M_NOT_FOUND", "error": "Unknown room"}, RecipientGone),
        (403, {"errcode": "M_RESOURCE_LIMIT_EXCEEDED"}, Misconfigured),
        (404, {"errcode": "M_UNRECOGNIZED"}, Misconfigured),
        (404, "<html>nginx</html>", Misconfigured),
        (413, {"errcode": "M_TOO_LARGE"}, Undeliverable),
        (502, "<html>Bad gateway</html>", Temporary),
        (200, {}, Uncertain),
        (200, "<html>", Uncertain),
    ],
)
async def test_a_refusal_tells_what_happens_next(channel, provider, tools, status, answer, error):
    body = answer if isinstance(answer, str) else json.dumps(answer)
    provider.answers("PUT", SEND, status=status, body=body)
    with pytest.raises(ChannelError) as caught:
        await channel.send(part("да", peer=ROOM), tools)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2_500}, {}, 2.5),
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2_500}, {"Retry-After": "3"}, 3),
        ({"errcode": "M_LIMIT_EXCEEDED"}, {}, None),
    ],
)
async def test_too_fast_says_for_how_long(channel, provider, tools, body, headers, seconds):
    provider.answers("PUT", SEND, status=429, json=body, headers=headers)
    with pytest.raises(Throttled) as caught:
        await channel.send(part("да", peer=ROOM), tools)
    assert caught.value.retry_after == seconds


async def test_a_cut_connection_may_be_tried_again_since_the_number_is_known(channel, provider, tools):
    assert channel.sending.retries_safely
    provider.breaks("PUT", SEND)
    with pytest.raises(Temporary):
        await channel.send(part("да", peer=ROOM), tools)
    assert provider.asked


async def test_writing_first_makes_a_room_once_and_keeps_what_else_is_noted(channel, provider, tools):
    noted = {"@carol:example.com": ["!c:example.com"]}
    data = f"/_matrix/client/v3/user/{BOT}/account_data/m.direct"
    provider.answers("GET", WHOAMI, json={"user_id": BOT})
    provider.answers("GET", data, json=noted)
    provider.answers("POST", "/_matrix/client/v3/createRoom", json={"room_id": ROOM})
    provider.answers("PUT", data, json={})
    provider.answers("PUT", SEND, json={"event_id": "$sent"})
    await channel.send(part("да", peer=BOB), tools)
    kept = next(asked.json for asked in provider.asked if asked.method == "PUT" and asked.path == data)
    assert kept == {**noted, BOB: [ROOM]}
    created = next(asked.json for asked in provider.asked if asked.path.endswith("createRoom"))
    assert created == {"invite": [BOB], "is_direct": True, "preset": "trusted_private_chat"}
    provider.asked.clear()
    provider.answers("GET", data, json=kept)
    await channel.send(part("да", peer=BOB), tools)
    assert [asked.path.rpartition("/")[2] for asked in provider.asked] == ["whoami", "m.direct", "184467.0"]


async def test_our_token_is_in_no_exchange(provider):
    provider.answers("PUT", SEND, status=400, json={"errcode": f"M_{AS_TOKEN}", "error": AS_TOKEN})
    async with tools_for(provider.url, secrets=(AS_TOKEN,)) as (tools, exchanges):
        with pytest.raises(Undeliverable) as caught:
            await make(base_url=provider.url).send(part("да", peer=ROOM), tools)
    assert len(exchanges) == 1
    assert AS_TOKEN not in repr(exchanges) + str(caught.value)


# --- what can be asked ---


async def test_an_invitation_that_was_withdrawn_comes_to_nothing(channel, provider, tools):
    provider.answers("GET", WHOAMI, json={"user_id": BOT})
    gone = {"errcode": "M_FORBIDDEN", "error": "You are not invited to this room."}
    provider.answers("POST", f"/_matrix/client/v3/join/{ROOM}", status=403, json=gone)
    [invitation] = parse(matrix.INVITE)
    assert isinstance(invitation, Pending)
    assert await channel.enrich(invitation, tools) == []
    assert provider.asked[-1].query == {"via": "other.example", "server_name": "other.example"}


async def test_only_what_was_said_since_the_invitation_is_fetched(channel, provider, tools):
    provider.answers("GET", WHOAMI, json={"user_id": BOT})
    provider.answers("POST", f"/_matrix/client/v3/join/{ROOM}", json={"room_id": ROOM})
    provider.answers(
        "GET", f"/_matrix/client/v3/profile/{BOB}/displayname", status=403, json={"errcode": "M_FORBIDDEN"}
    )
    chunk = [
        event("m.room.member", {"membership": "join"}, sender=BOT, state_key=BOT),
        {**message("второе", "$2"), "origin_server_ts": MOMENT + 2},
        {**message("первое", "$1"), "origin_server_ts": MOMENT + 1},
        "?",
        matrix.INVITE,
        {**message("прошлогоднее", "$0"), "origin_server_ts": MOMENT - 1},
    ]
    for found in chunk:
        if isinstance(found, dict):
            found.pop("room_id", None)
    provider.answers("GET", f"/_matrix/client/v3/rooms/{ROOM}/messages", json={"chunk": chunk})
    invitation = Pending(
        peer=ROOM, occurred_at=AT, external_id="$invite", reference=ROOM, hints={"invited": BOT, "by": BOB}
    )
    started, *missed = await channel.enrich(invitation, tools)
    assert isinstance(started, Signal)
    assert started.name == ""
    assert [(event.external_id, event.peer) for event in missed if isinstance(event, Incoming)] == [
        ("$1", ROOM),
        ("$2", ROOM),
    ]


async def test_a_file_is_fetched_from_old_homeservers_too(channel, provider, tools):
    provider.answers("GET", "/_matrix/media/v3/download/other.example/abc", body=b"x", content_type="image/png")
    fetched = await channel.fetch_media("mxc://other.example/abc", tools)
    assert [piece async for piece in fetched.chunks] == [b"x"]
    newer, older = provider.asked
    assert newer.path == "/_matrix/client/v1/media/download/other.example/abc"
    assert newer.headers["authorization"] == f"Bearer {AS_TOKEN}"
    assert "authorization" not in older.headers
    provider.answers("GET", "/_matrix/client/v1/.*", status=403)
    with pytest.raises(Undeliverable):
        await channel.fetch_media("mxc://other.example/abc", tools)
    with pytest.raises(Undeliverable, match="no address"):
        await channel.fetch_media("mxc://other.example/../whoami", tools)


@pytest.mark.parametrize(
    ("members", "profile"),
    [
        ({BOT: {}, BOB: {"display_name": "Боб"}}, ("Боб", "")),
        ({BOT: {}, BOB: {}, "@c:d.example": {}}, None),
        ({}, None),
    ],
)
async def test_a_room_of_two_tells_who_the_other_is(channel, provider, tools, members, profile):
    provider.answers("GET", WHOAMI, json={"user_id": BOT})
    provider.answers("GET", f"/_matrix/client/v3/rooms/{ROOM}/joined_members", json={"joined": members})
    assert await channel.profile(ROOM, tools) == profile


@pytest.mark.parametrize(
    ("status", "answer", "found"),
    [
        (200, {"duration_ms": 12}, "and reaches us"),
        (404, {"errcode": "M_UNRECOGNIZED"}, "the first message will show"),
        (403, {"errcode": "M_FORBIDDEN"}, "the first message will show"),
        (502, {"errcode": "M_BAD_STATUS", "status": 401}, None),
        (400, {"errcode": "M_URL_NOT_SET"}, None),
    ],
)
async def test_the_check_says_whether_we_are_known_and_reached(channel, provider, tools, status, answer, found):
    provider.answers("GET", "/_matrix/client/versions", json={"versions": ["v1.1", "v1.13"]})
    provider.answers("GET", WHOAMI, json={"user_id": BOT})
    provider.answers("POST", "/_matrix/client/v1/appservice/switchyard-switchyard/ping", status=status, json=answer)
    if found is None:
        with pytest.raises(Misconfigured, match=r"https://hub\.example/hooks/k"):
            await channel.check(tools)
    else:
        checked = await channel.check(tools)
        assert found in checked.detail
        assert checked.facts == {"bot": BOT, "version": "v1.13"}


def test_the_registration_is_what_a_homeserver_reads():
    found = yaml.safe_load(make(user_prefix="@shop.").registration("https://hub.example/hooks/key/"))
    assert found == {
        "id": "switchyard-shop",
        "url": "https://hub.example/hooks/key",
        "as_token": AS_TOKEN,
        "hs_token": matrix.HS_TOKEN,
        "sender_localpart": "shop",
        "rate_limited": False,
        "protocols": [],
        "receive_ephemeral": True,
        "de.sorunome.msc2409.push_ephemeral": True,
        "namespaces": {"users": [{"exclusive": True, "regex": r"@shop\..*"}], "rooms": [], "aliases": []},
    }


@pytest.mark.parametrize("homeserver", ["matrix.example.com", "https://", "ftp://x", "https://u:p@x", "https://x/?a=1"])
def test_a_homeserver_s_address_that_is_none_is_told_at_once(homeserver):
    with pytest.raises(ValidationError, match="it is no address"):
        make(homeserver=homeserver)


def test_an_address_is_a_peer_that_can_be_written_to():
    channel = make()
    assert channel.peer_of(Address("matrix", BOB)) == BOB
    assert channel.address_of(BOB) == Address("matrix", BOB)
    assert channel.peer_of(Address("phone", "+79161234567")) is None


def test_what_is_no_transaction_is_read_as_nothing():
    assert make().parse(RawRequest(b"{}", "PUT"), CONTEXT) == []
