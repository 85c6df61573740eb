from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydantic import ValidationError

from channels.contract import MANY, Button, Item, ParseContext, Tools
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.max import Max
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Attribution, Changed, Claim, Incoming, Signal, Trust
from tests.channels import provider as playing
from tests.channels.payloads import NOW
from tests.channels.payloads.max import (
    BOT,
    DIALOG,
    GROUP,
    IMAGE,
    PERSON,
    PRESSED,
    SECRET,
    SETTINGS,
    TOKEN,
    VERA,
    contact,
    message,
    posted,
    update,
)
from tests.channels.provider import Provider
from webhooks.errors import BadSignature, NotConfigured

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
PEER, MID = str(VERA), "mid.000000000adf429c019d47d58f2b3d9e"
CLAIM = Claim(Address("max", PEER), PEER, Trust.ATTESTED)
SENT = {"message": {"recipient": DIALOG, "timestamp": 1, "body": {"mid": "mid.77", "seq": 7, "text": "x"}}}


def max_(**settings):
    return Max(Max.Settings(**{**SETTINGS, **settings}))


def read(sample):
    (found,) = max_().parse(posted(sample), CONTEXT)
    return found


@pytest.fixture
def channel(provider: Provider) -> Max:
    return max_(base_url=provider.url)


def test_an_update_carries_the_secret_in_its_header():
    max_().verify(posted(message("x")), NOW)
    for secret in ("", SECRET[:-1], SECRET + "0"):
        with pytest.raises(BadSignature):
            max_().verify(posted(message("x"), secret=secret), NOW)
    with pytest.raises(NotConfigured):
        max_(secret="").verify(posted(message("x"), secret=""), NOW)


@pytest.mark.parametrize("secret", ["abcd", "с кириллицей", "a" * 257, "a b c d e"])
def test_a_secret_that_max_would_not_take_is_refused(secret):
    with pytest.raises(ValidationError, match="Latin"):
        max_(secret=secret)


def test_a_text_says_who_wrote_what_and_when():
    assert read(message("Добрый день")) == Incoming(
        external_id=MID,
        peer=PEER,
        occurred_at=NOW,
        claims=(CLAIM,),
        name="Вера Петрова",
        text="Добрый день",
        language="ru",
    )


@pytest.mark.parametrize(
    ("attachment", "expected"),
    [
        (IMAGE, Attachment("", "", 0, reference="https://i.oneme.ru/i?r=1", kind="image")),
        (
            {"type": "video", "payload": {"url": "https://m.ok.ru/v", "token": "vt"}},
            Attachment("", "", 0, reference="video:vt", kind="video"),
        ),
        (
            {"type": "audio", "payload": {"url": "https://a/a", "token": "at"}},
            Attachment("", "", 0, reference="https://a/a", kind="voice"),
        ),
        (
            {"type": "file", "filename": "счёт.pdf", "size": 9, "payload": {"url": "https://f/f", "token": "ft"}},
            Attachment("счёт.pdf", "", 9, reference="https://f/f"),
        ),
        (
            {"type": "sticker", "payload": {"url": "https://s/s.png", "code": "c1"}},
            Attachment("", "", 0, reference="https://s/s.png", kind="sticker"),
        ),
    ],
)
def test_files_come_by_reference(attachment, expected):
    found = read(message(None, attachment))
    assert (found.attachments, found.text) == ((expected,), "")


@pytest.mark.parametrize(
    ("attachment", "text"),
    [
        ({"type": "location", "latitude": 56.85, "longitude": 35.9}, "https://maps.google.com/?q=56.85,35.9"),
        ({"type": "share", "title": "Сайт", "payload": {"url": "https://shop.example"}}, "Сайт\nhttps://shop.example"),
        ({"type": "audio", "payload": {}, "transcription": "перезвоните"}, "перезвоните"),
        ({"type": "hologram"}, "[hologram]"),
        (contact(), "Вера Петрова: 79161234567"),
    ],
)
def test_what_is_no_file_reads_as_text(attachment, text):
    assert read(message(None, attachment)).text == text


OTHER = {**PERSON, "user_id": 5}


@pytest.mark.parametrize(
    ("card", "trust"),
    [
        (contact(), Trust.ATTESTED),
        (contact(whose=None), Trust.ATTESTED),
        (contact(proof="0" * 64), Trust.TYPED),
        (contact(proof=""), Trust.TYPED),
        (contact(whose=None, proof=""), None),
        (contact(whose=OTHER), None),
        (contact(phone="не скажу"), None),
    ],
)
def test_only_the_sender_s_own_phone_is_theirs_and_max_s_proof_makes_it_sure(card, trust):
    found = read(message(None, card)).claims
    assert found[0] == CLAIM
    assert [(claim.address, claim.trust) for claim in found[1:]] == (
        [] if trust is None else [(Address("phone", "+79161234567"), trust)]
    )


def test_a_card_whose_ends_of_lines_are_escaped_is_proved_all_the_same():
    card = contact()
    card["payload"]["vcf_info"] = card["payload"]["vcf_info"].replace("\r\n", "\\r\\n")
    assert read(message(None, card)).claims[1].trust is Trust.ATTESTED


def test_a_forwarded_message_is_quoted_and_its_files_kept():
    link = {"type": "forward", "message": {"mid": "mid.1", "text": "раз", "attachments": [IMAGE]}}
    found = read(message("см.", link=link))
    assert (found.text, found.quoted, len(found.attachments), found.reply_to) == ("см.", "раз", 1, "")


def test_an_answer_names_the_message_it_answers():
    assert read(message("да", link={"type": "reply", "message": {"mid": "mid.2"}})).reply_to == "mid.2"


def test_a_group_is_a_conversation_of_its_own_and_answered_there():
    found = read(message("всем", recipient=GROUP))
    assert (found.peer, found.thread, found.claims) == ("chat:-70801090403050", "chat:-70801090403050", (CLAIM,))
    assert read(message("я бот", recipient=GROUP, sender=BOT)).is_automatic


def test_what_the_bot_itself_wrote_is_ours():
    found = read(message("Да", sender=BOT, recipient={**DIALOG, "user_id": VERA}))
    assert (found.is_ours, found.peer, found.claims, found.name) == (True, PEER, (CLAIM,), "")


def test_a_button_says_what_stood_on_it_and_what_it_held():
    assert read(PRESSED) == Incoming(
        external_id="f9LHodD0cOJf4_DkJGeq8BkD",
        peer=PEER,
        occurred_at=NOW,
        claims=(CLAIM,),
        name="Вера Петрова",
        text="Да",
        language="ru",
        reply_to=MID,
        fields={"payload": "yes"},
    )


def test_a_button_of_a_message_that_is_gone_says_what_it_held():
    found = read({**PRESSED, "message": None})
    assert (found.text, found.peer, found.fields, found.reply_to) == ("yes", PEER, {}, "")


def test_edits_and_deletions_name_the_message():
    assert read(message("исправлено", kind="message_edited")) == Changed(
        external_id=MID, change="edited", text="исправлено", peer=PEER, occurred_at=NOW
    )
    removed = update("message_removed", message_id="mid.1", chat_id=182182182, user_id=VERA)
    assert read(removed) == Changed(external_id="mid.1", change="deleted", peer=PEER, occurred_at=NOW)
    assert read({**removed, "chat_id": -5}).peer == "chat:-5"


def test_the_deep_link_that_started_the_bot_is_kept():
    assert read(update("bot_started", chat_id=182182182, user=PERSON, payload="spring")) == Signal(
        kind="started",
        peer=PEER,
        occurred_at=NOW,
        claims=(CLAIM,),
        name="Вера Петрова",
        attribution=Attribution(reference="spring"),
    )


@pytest.mark.parametrize(
    ("kind", "chat", "peer", "claims"),
    [
        ("bot_stopped", 182182182, PEER, (CLAIM,)),
        ("dialog_removed", 182182182, PEER, (CLAIM,)),
        ("bot_removed", -7, "chat:-7", ()),
    ],
)
def test_going_is_a_signal(kind, chat, peer, claims):
    found = read(update(kind, chat_id=chat, user=PERSON))
    assert (found.kind, found.peer, found.claims) == ("gone", peer, claims)


@pytest.mark.parametrize(
    "sample",
    [
        update("dialog_muted", chat_id=1, user=PERSON),
        update("chat_title_changed", chat_id=-1, title="x", user=PERSON),
        update("message_created"),
        update("message_edited", message={"sender": PERSON, "recipient": DIALOG}),
        message("пост", recipient={"chat_id": -9, "chat_type": "channel"}),
        message(None),
        {},
        {"updates": None},
    ],
)
def test_what_says_nothing_is_no_event(sample):
    assert max_().parse(posted(sample), CONTEXT) == []
    assert max_().acknowledge(posted(sample), "r").status == 200


def test_a_repeat_has_the_key_of_the_first_delivery_and_nothing_else_has():
    samples = [
        message("x"),
        message("x", mid="mid.2"),
        message("y", kind="message_edited"),
        {**message("z", kind="message_edited"), "timestamp": 1},
        PRESSED,
        update("bot_started", chat_id=1, user=PERSON),
        update("bot_stopped", chat_id=1, user=PERSON),
    ]
    keys = [max_().route(posted(sample)).dedupe_key for sample in samples]
    assert len(set(keys)) == len(samples)
    assert max_().route(posted(message("later", timestamp=5))).dedupe_key == keys[0]
    two = {"updates": [message("x"), message("x", sender=OTHER, mid="mid.3")]}
    assert max_().route(posted(two)).peer == MANY


@dataclass
class Ear:
    """Stands in for the hub: keeps what a listener brings, and says when there is enough."""

    tools: Tools
    cursor: Mapping[str, Any] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        self.items += items
        self.cursor = cursor or self.cursor
        if self.items:
            self.enough.set()

    def is_well(self, detail: str = "") -> None:
        self.said.append("well")

    def is_ill(self, detail: str) -> None:
        self.said.append(detail)


async def hear(channel: Max, ear: Ear) -> None:
    task = asyncio.create_task(channel.run(ear))
    waiting = asyncio.create_task(ear.enough.wait())
    done, _ = await asyncio.wait({task, waiting}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    for one in (task, waiting):
        one.cancel()
    await asyncio.gather(task, waiting, return_exceptions=True)
    for one in done:
        one.result()


async def test_polling_brings_updates_as_the_hook_would_and_remembers_where_it_was(provider, tools):
    provider.answers("GET", "/updates", json={"updates": [], "marker": 102})
    provider.answers(
        "GET",
        "/updates",
        json={"updates": [message("раз"), None, message("два", mid="mid.2")], "marker": 102},
        once=True,
    )
    provider.answers("GET", "/updates", status=503, headers={"Retry-After": "0"}, once=True)
    channel = max_(base_url=provider.url, mode="polling")
    ear = Ear(tools, {"marker": 100})
    await hear(channel, ear)
    assert ear.cursor == {"marker": 102}
    assert [channel.parse(item.request, CONTEXT)[0].text for item in ear.items] == ["раз", "два"]
    assert [item.routed for item in ear.items] == [
        max_().route(posted(message("раз"))),
        max_().route(posted(message("два", mid="mid.2"))),
    ]
    first, again = provider.asked[:2]
    assert first.query["marker"] == again.query["marker"] == "100"
    assert first.headers["authorization"] == TOKEN
    assert "503" in ear.said[0]


async def test_polling_gives_up_when_the_token_is_refused(provider, tools):
    provider.answers("GET", "/updates", status=401, json={"code": "verify.token", "message": "Invalid access_token"})
    with pytest.raises(Unauthorised):
        await max_(base_url=provider.url, mode="polling").run(Ear(tools))


async def test_where_max_calls_us_nothing_is_asked_for(provider, tools, channel):
    ear = Ear(tools)
    asyncio.get_running_loop().call_later(0.05, ear.enough.set)
    await hear(channel, ear)
    assert provider.asked == []


async def test_a_text_is_sent_to_a_person_with_its_buttons(provider, tools, channel):
    provider.answers("POST", "/messages", json=SENT)
    part = playing.part("Подойдёт?", peer=PEER, buttons=(Button("Да", "yes"), Button("Нет")), reply_to="mid.5")
    assert (await channel.send(part, tools)).external_ids == ("mid.77",)
    (asked,) = provider.asked
    assert (asked.query, asked.headers["authorization"]) == ({"user_id": PEER}, TOKEN)
    rows = [[{"type": "callback", "text": "Да", "payload": "yes"}], [{"type": "message", "text": "Нет"}]]
    assert asked.json == {
        "text": "Подойдёт?",
        "attachments": [{"type": "inline_keyboard", "payload": {"buttons": rows}}],
        "link": {"type": "reply", "mid": "mid.5"},
    }


async def test_a_group_is_written_to_by_its_chat(provider, tools, channel):
    provider.answers("POST", "/messages", json=SENT)
    await channel.send(playing.part("x", peer="chat:-70801090403050"), tools)
    assert provider.asked[0].query == {"chat_id": "-70801090403050"}


@pytest.mark.parametrize(
    ("file", "place", "uploaded", "attachment"),
    [
        (
            {"kind": "image", "name": "a.jpg", "content_type": "image/jpeg"},
            {},
            {"json": {"photos": {"k": {"token": "pt"}}}},
            {"type": "image", "payload": {"photos": {"k": {"token": "pt"}}}},
        ),
        (
            {"kind": "voice", "name": "a.ogg", "content_type": "audio/ogg"},
            {"token": "at"},
            {"body": "<retval>1</retval>"},
            {"type": "audio", "payload": {"token": "at"}},
        ),
        (
            {"kind": "video", "name": "a.mp4", "content_type": "video/mp4"},
            {"token": "vt"},
            {"body": "<retval>1</retval>"},
            {"type": "video", "payload": {"token": "vt"}},
        ),
        (
            {"name": "счёт.pdf"},
            {},
            {"json": {"fileId": 1, "token": "ft"}},
            {"type": "file", "payload": {"token": "ft"}},
        ),
    ],
)
async def test_a_file_is_uploaded_and_attached(provider, tools, channel, file, place, uploaded, attachment):
    provider.answers("POST", "/uploads", json={"url": f"{provider.url}/up?sig=1", **place})
    provider.answers("POST", "/up", **uploaded)
    provider.answers("POST", "/messages", json=SENT)
    await channel.send(playing.part("вот", peer=PEER, files=(playing.file(b"bytes", **file),)), tools)
    ask, upload, send = provider.asked
    assert ask.query == {"type": attachment["type"]}
    assert "authorization" not in upload.headers, "another host gets no token"
    assert int(upload.headers["content-length"]) == len(upload.body)
    assert f'name="data"; filename="{file["name"]}"'.encode() in upload.body
    assert b"\r\n\r\nbytes\r\n" in upload.body
    assert send.json == {"text": "вот", "attachments": [attachment]}


async def test_a_file_that_is_not_ready_is_sent_later_without_uploading_it_again(provider, tools, channel):
    provider.answers("POST", "/uploads", json={"url": f"{provider.url}/up"})
    provider.answers("POST", "/up", json={"token": "ft"})
    provider.answers("POST", "/messages", json=SENT)
    not_ready = {"code": "attachment.not.ready", "message": "Key: errors.process.attachment.file.not.processed"}
    provider.answers("POST", "/messages", status=400, json=not_ready, once=True)
    part = playing.part(peer=PEER, files=(playing.file(),))
    with pytest.raises(Temporary) as caught:
        await channel.send(part, tools)
    assert caught.value.retry_after is not None and caught.value.retry_after <= 5
    await channel.send(part, tools)
    assert [asked.path for asked in provider.asked] == ["/uploads", "/up", "/messages", "/messages"]
    await channel.send(replace(part, id="184468.0"), tools)
    assert [asked.path for asked in provider.asked[4:]] == ["/uploads", "/up", "/messages"]


@pytest.mark.parametrize(("status", "expected"), [(415, Undeliverable), (500, Temporary)])
async def test_a_file_that_cannot_be_uploaded_is_not_sent(provider, tools, channel, status, expected):
    provider.answers("POST", "/uploads", json={"url": f"{provider.url}/up"})
    provider.answers("POST", "/up", status=status, body="File extension is forbidden")
    with pytest.raises(expected, match="offer"):
        await channel.send(playing.part("вот", peer=PEER, files=(playing.file(),)), tools)
    assert all(asked.path != "/messages" for asked in provider.asked)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": 401, "json": {"code": "verify.token", "message": "Invalid access_token"}}, Unauthorised),
        ({"status": 403, "json": {"code": "verify.token", "message": "Invalid access_token"}}, Unauthorised),
        ({"status": 403, "json": {"code": "chat.denied", "message": "error.dialog.suspended"}}, RecipientGone),
        ({"status": 403, "json": {"code": "access.denied", "message": "no"}}, Undeliverable),
        ({"status": 404, "json": {"code": "dialog.not.found", "message": "Dialog not found"}}, RecipientGone),
        ({"status": 400, "json": {"code": "proto.payload", "message": "text: size must be <= 4000"}}, Undeliverable),
        ({"status": 429, "headers": {"Retry-After": "2"}}, Throttled),
        ({"status": 503, "json": {"code": "service.unavailable", "message": ""}}, Temporary),
        ({"json": {"success": False, "message": "because"}}, Undeliverable),
        ({"json": {}}, Uncertain),
        ({"body": "<html>"}, Uncertain),
    ],
)
async def test_refusals_say_what_happens_next(provider, tools, channel, answer, expected):
    provider.answers("POST", "/messages", **answer)
    with pytest.raises(expected) as caught:
        await channel.send(playing.part("x", peer=PEER), tools)
    assert type(caught.value) is expected
    assert getattr(caught.value, "opted_out", False) == ("suspended" in str(answer))
    if expected is Throttled:
        assert caught.value.retry_after == 2


async def test_a_connection_cut_after_the_request_leaves_it_uncertain(provider, tools, channel):
    provider.breaks("POST", "/messages")
    with pytest.raises(Uncertain):
        await channel.send(playing.part("x", peer=PEER), tools)


async def test_the_token_is_in_no_exchange_and_no_error(provider):
    provider.answers("POST", "/messages", status=401, json={"code": "verify.token", "message": f"bad {TOKEN}"})
    async with playing.tools_for(provider.url, secrets=(TOKEN, SECRET)) as (tools, exchanges):
        with pytest.raises(Unauthorised) as caught:
            await max_(base_url=provider.url).send(playing.part("x", peer=PEER), tools)
    assert TOKEN not in f"{exchanges} {caught.value}"


async def test_a_picture_is_fetched_from_where_it_lies_and_a_video_is_asked_for_first(provider, tools, channel):
    provider.answers("GET", "/i", body=b"jpeg", content_type="image/jpeg")
    fetched = await channel.fetch_media(f"{provider.url}/i?r=1", tools)
    assert (b"".join([chunk async for chunk in fetched.chunks]), fetched.content_type) == (b"jpeg", "image/jpeg")
    assert "authorization" not in provider.asked[0].headers
    urls = {"mp4_1080": None, "mp4_480": f"{provider.url}/v480", "mp4_144": f"{provider.url}/v144"}
    provider.answers("GET", "/videos/v-t", json={"token": "v-t", "urls": urls})
    provider.answers("GET", "/v480", body=b"mp4")
    fetched = await channel.fetch_media("video:v-t", tools)
    assert b"".join([chunk async for chunk in fetched.chunks]) == b"mp4"
    provider.answers("GET", "/videos/v-t", json={"token": "v-t", "urls": None})
    with pytest.raises(Undeliverable):
        await channel.fetch_media("video:v-t", tools)


async def test_the_check_names_the_bot_and_who_is_called(provider, tools, channel):
    provider.answers("GET", "/me", json=BOT)
    provider.answers("GET", "/subscriptions", json={"subscriptions": [{"url": tools.hook_url, "time": 1}]})
    checked = await channel.check(tools)
    assert checked.facts == {
        "name": "Шторы",
        "username": "shtory_bot",
        "id": "229229229",
        "webhook": tools.hook_url,
    }
    assert "But" not in checked.detail
    assert "polling gets nothing" in (await max_(base_url=provider.url, mode="polling").check(tools)).detail
    provider.answers("GET", "/subscriptions", json={"subscriptions": []})
    assert "does not call us" in (await channel.check(tools)).detail
    assert "But" not in (await max_(base_url=provider.url, mode="polling").check(tools)).detail


async def test_setting_up_registers_the_hook_with_its_secret(provider, tools, channel):
    others = [{"url": tools.hook_url}, {"url": "https://old.example/"}]
    provider.answers("GET", "/subscriptions", json={"subscriptions": others})
    provider.answers("POST", "/subscriptions", json={"success": True})
    said = await channel.setup(tools)
    assert tools.hook_url in said
    assert "https://old.example/" in said
    asked = provider.asked[0].json
    assert (asked["url"], asked["secret"]) == (tools.hook_url, SECRET)
    assert {"message_created", "message_callback", "bot_started", "dialog_removed"} <= set(asked["update_types"])
    provider.answers("POST", "/subscriptions", json={"success": False, "message": "bad url"})
    with pytest.raises(Misconfigured, match="bad url"):
        await channel.setup(tools)
    with pytest.raises(Misconfigured, match="SWITCHYARD_PUBLIC_URL"):
        await channel.setup(replace(tools, hook_url="http://hub.example/"))


async def test_taking_down_removes_only_our_hook_and_so_does_setting_up_to_poll(provider, tools, channel):
    provider.answers("GET", "/subscriptions", json={"subscriptions": [{"url": "https://other.example/"}]})
    await channel.teardown(tools)
    assert len(provider.asked) == 1
    provider.answers("GET", "/subscriptions", json={"subscriptions": [{"url": tools.hook_url}]})
    provider.answers("DELETE", "/subscriptions", json={"success": True})
    await channel.teardown(tools)
    assert "asks" in await max_(base_url=provider.url, mode="polling").setup(tools)
    assert [asked.query for asked in provider.asked if asked.method == "DELETE"] == [{"url": tools.hook_url}] * 2


def test_addresses_and_peers_agree():
    assert max_().address_of(PEER) == Address("max", PEER)
    assert max_().peer_of(Address("max", PEER)) == PEER
    assert max_().peer_of(Address("phone", "+79161234567")) is None
