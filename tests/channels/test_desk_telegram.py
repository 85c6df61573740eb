from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from channels import registry
from channels.contract import Checker, Fetcher, Installer, Item, Listener, ParseContext, Receiver, Sender, Tools
from channels.desk_contract import (
    Card,
    DeskGone,
    DeskMoved,
    DeskPressed,
    DeskSaid,
    DeskStarted,
    Key,
    Messenger,
    Place,
    PlaceGone,
    Topics,
)
from channels.desk_telegram import COMMANDS, TelegramDesk
from channels.errors import (
    ChannelError,
    Misconfigured,
    PeerMoved,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.http import Exchange
from core.kernel.envelopes import Event
from core.kernel.errors import Rejected
from tests.channels.payloads import NOW
from tests.channels.payloads.desk_telegram import BEGINNING, HANDLE, IN_TOPIC, PRESS, SECRET, SETTINGS, TOKEN, request
from tests.channels.payloads.telegram import BLOCKED, BOT, DATE, DOCUMENT, GROUP, PHOTO, PRIVATE, message, update
from tests.channels.provider import file, tools_for
from tests.channels.test_telegram import Ears, running
from tests.peers.botapi.chats import Chat
from tests.peers.botapi.double import BotApi
from tests.peers.botapi.seen import Seen
from tests.peers.botapi.world import Bot
from webhooks.errors import BadSignature
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
VERA = 42
OWNER = 7


class Impatient(TelegramDesk):
    pause = 0.01


def desk(url: str = "", **settings: Any) -> TelegramDesk:
    return Impatient(TelegramDesk.Settings(**{**SETTINGS, "base_url": url, **settings}))


def read(body: dict[str, Any], handle: str = HANDLE) -> Sequence[Event]:
    return desk().parse(request(body, handle=handle), CONTEXT)


def only(body: dict[str, Any]) -> Any:
    (found,) = read(body)
    return found


@pytest.fixture
async def telegram() -> AsyncIterator[BotApi]:
    async with BotApi(now=lambda: NOW.timestamp()).running() as played:
        played.add_bot(TOKEN, HANDLE, "Shop")
        played.add_user("Вера", "Ильина", "vera_i", "ru", id=VERA)
        played.add_user("Owner", id=OWNER)
        yield played


@pytest.fixture
async def noted(telegram: BotApi) -> AsyncIterator[tuple[Tools, list[Exchange]]]:
    async with tools_for(telegram.url, secrets=(TOKEN, SECRET)) as made:
        yield made


@pytest.fixture
def tools(noted: tuple[Tools, list[Exchange]]) -> Tools:
    return noted[0]


@pytest.fixture
def bot(telegram: BotApi) -> Bot:
    return telegram.bot(HANDLE)


@pytest.fixture
def channel(telegram: BotApi) -> TelegramDesk:
    return desk(telegram.url)


@pytest.fixture
def private(telegram: BotApi) -> Chat:
    return telegram.start(VERA, HANDLE).chat


@pytest.fixture
def forum(telegram: BotApi, bot: Bot) -> Chat:
    """A group with topics, in which the bot is an administrator."""
    made = telegram.create_group("Продажи", OWNER, is_forum=True)
    telegram.add_member(made, VERA)
    telegram.promotes(made, bot)
    return made


def here(chat: Chat, thread: str = "") -> Place:
    return Place(str(chat.id), thread)


def posted(telegram: BotApi, chat: Chat, thread: int | None = None) -> list[Seen]:
    return [one for one in telegram.messages(chat, thread) if one.is_bot and not one.is_service]


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(made, "PNG")
    return made.getvalue()


def photo(name: str = "p.png") -> Any:
    return file(picture(), name=name, content_type="image/png", kind="image")


# --- what it is ---


def test_it_is_a_desk_and_no_way_to_customers():
    made = registry.build("desk_telegram", SETTINGS)
    assert isinstance(made, TelegramDesk)
    for protocol in (Receiver, Listener, Fetcher, Checker, Installer, Messenger, Topics):
        assert isinstance(made, protocol)
    assert not isinstance(made, Sender)
    assert made.abilities == (4096, True, True, False, True)


def test_it_fetches_unless_somebody_says_otherwise():
    assert TelegramDesk.Settings(**SETTINGS).mode == "polling"
    with pytest.raises(Rejected, match="@BotFather"):
        registry.build("desk_telegram", {"token": "AAH"})


def test_only_the_secret_opens_the_door():
    body = update(message=message(text="hi"))
    desk().verify(request(body), NOW)
    for wrong in (None, "", SECRET.upper()):
        with pytest.raises(BadSignature):
            desk().verify(request(body, wrong), NOW)


@pytest.mark.parametrize(
    ("body", "lane"),
    [
        (update(7, message=message(text="a")), str(PRIVATE["id"])),
        (update(7, message=message(1, GROUP, text="a", **IN_TOPIC)), "-1001987654321:3"),
        (update(7, message=message(1, GROUP, text="a", message_thread_id=40)), "-1001987654321"),
        (update(7, edited_message=message(1, GROUP, text="a", **IN_TOPIC)), "-1001987654321:3"),
        (update(7, callback_query=PRESS), "-1001987654321:3"),
        (update(7, my_chat_member=BLOCKED), str(PRIVATE["id"])),
        (update(7), ""),
    ],
)
def test_events_of_one_topic_keep_their_order(body, lane):
    routed = desk().route(request(body))
    assert (routed.dedupe_key, routed.peer) == ("update:7", lane)


def test_the_acknowledgement_leaves_a_press_to_whoever_knows_what_it_came_to():
    assert desk().acknowledge(request(update(callback_query=PRESS)), "r1").body == b"{}"


# --- reading ---


def test_words_tell_who_wrote_what_and_where():
    found = only(update(9, message=message(43, GROUP, text="Добрый день 👋", **IN_TOPIC)))
    assert found == DeskSaid(
        key="update:9",
        peer="-1001987654321",
        occurred_at=NOW,
        person="5012345678",
        name="Вера Ильина",
        handle="vera_i",
        thread="3",
        is_private=False,
        ref="43",
        text="Добрый день 👋",
    )
    assert only(update(message=message(text="a"))).is_private


@pytest.mark.parametrize(
    ("more", "reply_to", "thread"),
    [
        ({"reply_to_message": BEGINNING, **IN_TOPIC}, "", "3"),
        ({"reply_to_message": {"message_id": 3, "date": 0}, **IN_TOPIC}, "", "3"),
        ({"reply_to_message": {"message_id": 40, "date": DATE}, **IN_TOPIC}, "40", "3"),
        ({"reply_to_message": {"message_id": 40, "date": DATE}, "message_thread_id": 40}, "40", ""),
        ({}, "", ""),
    ],
)
def test_an_answer_is_to_a_post_and_never_to_the_beginning_of_its_topic(more, reply_to, thread):
    found = only(update(message=message(43, GROUP, text="a", **more)))
    assert (found.reply_to, found.thread) == (reply_to, thread)


@pytest.mark.parametrize(
    ("what", "text", "kinds"),
    [
        ({"photo": PHOTO, "caption": "Кухня"}, "Кухня", ["image"]),
        ({"document": DOCUMENT}, "", ["file"]),
        ({"voice": {"file_id": "AwAC", "duration": 3}}, "", ["voice"]),
        ({"location": {"latitude": 55.75, "longitude": 37.62}}, "https://maps.google.com/?q=55.75,37.62", []),
        ({"contact": {"phone_number": "+79161234567", "first_name": "Ян"}}, "Ян (+79161234567)", []),
        ({"sticker": {"file_id": "CAAC", "emoji": "👍"}}, "", ["sticker"]),
        ({"sticker": {"file_id": "CAAC", "emoji": "👍", "is_animated": True}}, "👍", []),
        ({"sticker": {"file_id": "CAAC", "is_video": True}}, "", ["sticker"]),
    ],
)
def test_whatever_is_sent_becomes_words_or_files(what, text, kinds):
    found = only(update(message=message(**what)))
    assert (found.text, [one.kind for one in found.attachments]) == (text, kinds)
    assert all(one.reference for one in found.attachments)


def test_pieces_of_an_album_share_a_group():
    pieces = [only(update(n, message=message(n, photo=PHOTO, media_group_id="13520"))) for n in (1, 2)]
    assert {piece.group for piece in pieces} == {"13520"}


def test_a_new_wording_is_told_with_the_same_post():
    found = only(update(edited_message=message(41, text="Иначе", edit_date=DATE + 9)))
    assert (found.ref, found.text, found.is_edit) == ("41", "Иначе", True)
    assert (found.occurred_at - NOW).total_seconds() == 9


@pytest.mark.parametrize(
    ("text", "chat", "ticket"),
    [
        ("/start", PRIVATE, ""),
        ("/start aB3_-xyz90", PRIVATE, "aB3_-xyz90"),
        ("/start@shop_bot aB3_-xyz90", PRIVATE, "aB3_-xyz90"),
        ("/start привет", PRIVATE, ""),
        (f"/start {'x' * 65}", PRIVATE, ""),
        ("/start@shop_bot", GROUP, ""),
    ],
)
def test_opening_the_bot_brings_the_ticket(text, chat, ticket):
    found = only(update(message=message(41, chat, text=text)))
    assert isinstance(found, DeskStarted)
    assert (found.ticket, found.is_private, found.person) == (ticket, chat is PRIVATE, "5012345678")


def test_a_ticket_counts_only_where_nobody_else_reads_it():
    found = only(update(message=message(41, GROUP, text="/start aB3_-xyz90")))
    assert isinstance(found, DeskSaid)
    assert found.text == "/start aB3_-xyz90"


@pytest.mark.parametrize(
    ("text", "chat", "handle", "is_ours"),
    [
        ("/won@shop_bot 500", GROUP, HANDLE, True),
        ("/won@Shop_Bot", GROUP, HANDLE, True),
        ("/won", GROUP, HANDLE, True),
        ("/won@other_bot", GROUP, HANDLE, False),
        ("/start@other_bot", GROUP, HANDLE, False),
        ("/won@other_bot", GROUP, "", True),
        ("/won@other_bot", PRIVATE, HANDLE, True),
        ("ask @other_bot", GROUP, HANDLE, True),
    ],
)
def test_orders_to_another_bot_are_not_ours(text, chat, handle, is_ours):
    found = read(update(message=message(41, chat, text=text)), handle)
    assert [event.text for event in found if isinstance(event, DeskSaid)] == ([text] if is_ours else [])


@pytest.mark.parametrize(
    "body",
    [
        update(message=message(text="a", **{"from": BOT})),
        update(message=message(text="a", is_automatic_forward=True)),
        update(message=message(9, GROUP, forum_topic_created={"name": "x"}, **IN_TOPIC)),
        update(message=message(9, GROUP, new_chat_members=[BOT])),
        update(message=message(9, GROUP, migrate_from_chat_id=-4001)),
        update(message=message(9, GROUP, pinned_message={"message_id": 3, "text": "a"})),
        update(edited_message=message(location={"latitude": 1.0, "longitude": 2.0}, edit_date=DATE)),
        update(callback_query={**PRESS, "data": ""}),
        update(callback_query={**PRESS, "message": None, "inline_message_id": "q"}),
        update(my_chat_member={**BLOCKED, "new_chat_member": {"status": "administrator"}}),
        update(my_chat_member={**BLOCKED, "chat": {"id": -1005, "type": "channel"}}),
        update(channel_post=message(text="a")),
    ],
)
def test_what_nobody_of_us_did_is_nothing(body):
    assert read(body) == []


def test_a_press_tells_its_post_and_how_to_answer_it():
    found = only(update(9, callback_query=PRESS))
    assert found == DeskPressed(
        key="update:9",
        peer="-1001987654321",
        person="5012345678",
        name="Вера Ильина",
        handle="vera_i",
        thread="3",
        is_private=False,
        ref="140",
        data="take:17",
        press="4382bfdwdsb323b2d9",
    )


def test_a_press_under_a_post_too_old_to_be_shown_is_told_all_the_same():
    old = {"chat": PRIVATE, "message_id": 5, "date": 0}
    found = only(update(callback_query={**PRESS, "message": old}))
    assert (found.peer, found.ref, found.is_private) == ("5012345678", "5", True)


def test_who_blocked_the_bot_or_put_it_out_is_told():
    found = only(update(my_chat_member=BLOCKED))
    assert isinstance(found, DeskGone) and found.is_private and found.person == found.peer
    for status in ("left", "kicked"):
        out = only(update(my_chat_member={**BLOCKED, "chat": GROUP, "new_chat_member": {"status": status}}))
        assert isinstance(out, DeskGone) and out.peer == "-1001987654321" and not out.is_private


def test_a_group_that_became_a_supergroup_is_told_once():
    found = only(update(message=message(9, {"id": -4001, "type": "group"}, migrate_to_chat_id=-1004001)))
    assert isinstance(found, DeskMoved)
    assert (found.peer, found.new_chat) == ("-4001", "-1004001")


# --- posting ---

CARD = Card(
    title="🔥 Новый лид: <Вера> & Co",
    lines=("Telegram · реклама", "Сделка №17"),
    words="  *Здравствуйте*, 1 < 2 && _цена_?\n\nhttps://evil.example/",
    footer="✓ доставлено",
    keys=(
        (Key("Взять", "take:17"), Key("Открыть", url="https://crm.example/deals/17")),
        (Key("Отложить", "later:17"),),
    ),
)


async def test_a_card_reads_as_written_with_its_title_bold(telegram, channel, tools, private):
    (ref,) = await channel.post(here(private), CARD, tools)
    (shown,) = posted(telegram, private)
    assert str(shown.id) == ref
    assert shown.text == CARD.plain()
    styles = {one["type"]: (one["offset"], one["length"]) for one in shown.entities}
    utf16 = shown.text.encode("utf-16-le")
    start, size = styles["bold"]
    assert utf16[start * 2 : (start + size) * 2].decode("utf-16-le") == CARD.title
    start, size = styles["italic"]
    assert utf16[start * 2 : (start + size) * 2].decode("utf-16-le") == CARD.footer
    assert shown.buttons == [["Взять", "Открыть"], ["Отложить"]]
    assert shown.data["link_preview_options"] == {"is_disabled": True}


async def test_a_long_card_becomes_several_posts_and_loses_no_word(telegram, channel, tools, private):
    words = "\n".join(f"{number} 😀 слово слово слово слово" for number in range(400))
    card = Card(title="Письмо", words=words, footer="конец", keys=((Key("Ответить", "r"),),))
    refs = await channel.post(here(private), card, tools)
    shown = posted(telegram, private)
    assert [str(one.id) for one in shown] == list(refs)
    assert len(shown) > 2
    assert all(len(one.text.encode("utf-16-le")) <= 8192 for one in shown)
    assert " ".join(one.text for one in shown).split() == card.plain().split()
    assert [one.buttons for one in shown] == [[]] * (len(shown) - 1) + [[["Ответить"]]]
    assert shown[0].html.startswith("<b>Письмо</b>") and shown[-1].html.endswith("<i>конец</i>")
    quiet = [asked.arguments.get("disable_notification") for asked in telegram.calls("sendMessage")]
    assert [bool(one) for one in quiet] == [False] + [True] * (len(shown) - 1)


async def test_a_quiet_card_makes_no_sound(telegram, channel, tools, private):
    await channel.post(here(private), Card(title="a", is_quiet=True), tools)
    assert telegram.calls("sendMessage")[0].arguments["disable_notification"]


async def test_files_follow_the_words_each_as_what_it_is(telegram, channel, tools, private):
    files = [
        photo("a.png"),
        photo("b.png"),
        file(b"OggS", name="v.ogg", content_type="audio/ogg", kind="voice"),
        file(b"%PDF", name="смета.pdf"),
    ]
    refs = await channel.post(here(private), CARD, tools, files=files)
    text, first, second, voice, document = posted(telegram, private)
    assert [str(one.id) for one in (text, first, second, voice, document)] == list(refs)
    assert [one.kind for one in (first, second, voice, document)] == ["photo", "photo", "voice", "document"]
    assert first.data["media_group_id"] == second.data["media_group_id"]
    assert (first.text, document.content, document.files[0].name) == ("", b"%PDF", "смета.pdf")
    assert text.buttons and not document.buttons


async def test_files_without_words_bear_the_buttons_under_the_last(telegram, channel, tools, private):
    await channel.post(here(private), Card(keys=((Key("Да", "y"),),)), tools, files=[photo(), photo()])
    assert [one.buttons for one in posted(telegram, private)] == [[], [["Да"]]]


async def test_a_file_telegram_does_not_take_is_named_with_where_it_is(telegram, channel, tools, private):
    huge = file(b"x", name="фильм.mov", content_type="video/quicktime")._replace(size=80 * 2**20)
    await channel.post(here(private), Card(title="Файлы"), tools, files=[file(b"1"), huge, file(b"2")])
    _, one, said, two = posted(telegram, private)
    assert said.text == "фильм.mov (80.0 MB)\nhttps://hub.example/files/abc"
    assert (one.content, two.content) == (b"1", b"2")


async def test_an_album_telegram_refuses_goes_one_by_one(telegram, channel, tools, private):
    telegram.fail_next("sendMediaGroup", 400, "Bad Request: failed to get HTTP URL content")
    telegram.fail_next("sendDocument", 400, "Bad Request: file must be non-empty")
    await channel.post(here(private), Card(title="Файлы"), tools, files=[file(b"1"), file(b"2")])
    _, said, sent = posted(telegram, private)
    assert said.text == "offer.pdf (0.0 KB)\nhttps://hub.example/files/abc"
    assert sent.content == b"2"


async def test_nothing_to_post_is_refused_before_telegram_is_asked(telegram, channel, tools, private):
    with pytest.raises(Undeliverable, match="nothing to post"):
        await channel.post(here(private), Card(words=" \n"), tools)
    assert telegram.calls("sendMessage") == []


async def test_an_answer_stands_under_its_post_or_without_it_if_that_is_gone(telegram, channel, tools, private):
    asked = telegram.says(VERA, private, "Где?")
    await channel.post(here(private), Card(title="Там"), tools, reply_to=str(asked.id))
    telegram.deletes(VERA, private, asked)
    await channel.post(here(private), Card(title="Тут"), tools, reply_to=str(asked.id))
    assert [one.reply_to for one in posted(telegram, private)] == [asked.id, None]


@pytest.mark.parametrize("address", ["http://localhost:8080/deals/17", "http://crm/deals", "crm.example", "http://[::"])
async def test_an_address_telegram_puts_under_no_button_is_written_out(telegram, channel, tools, private, address):
    await channel.post(here(private), Card(title="Сделка", keys=((Key("Открыть", url=address),),)), tools)
    (shown,) = posted(telegram, private)
    assert (shown.text, shown.buttons) == (f"Сделка\nОткрыть: {address}", [])


@pytest.mark.parametrize(
    ("code", "words", "parameters", "error"),
    [
        (429, "Too Many Requests: retry after 3", {"retry_after": 3}, Throttled),
        (401, "Unauthorized", None, Unauthorised),
        (502, "Bad Gateway", None, Temporary),
        (403, "Forbidden: bot was kicked from the supergroup chat", None, RecipientGone),
        (400, "Bad Request: chat not found", None, RecipientGone),
        (400, "Bad Request: message is too long", None, Undeliverable),
        (400, "Bad Request: TOPIC_DELETED", None, PlaceGone),
    ],
)
async def test_what_telegram_refuses_is_told_apart(telegram, channel, tools, private, code, words, parameters, error):
    telegram.fail_next("sendMessage", code, words, parameters)
    with pytest.raises(ChannelError) as refused:
        await channel.post(here(private), CARD, tools)
    assert type(refused.value) is error
    if isinstance(refused.value, Throttled):
        assert refused.value.retry_after == 3


async def test_a_line_cut_after_the_words_were_sent_leaves_it_open(telegram, channel, tools, private):
    telegram.drop_next("sendMessage", after_processing=True)
    with pytest.raises(Uncertain):
        await channel.post(here(private), CARD, tools)


async def test_a_post_of_which_some_went_is_not_said_to_have_failed(telegram, channel, tools, private):
    telegram.fail_next("sendDocument", 429, "Too Many Requests: retry after 3", {"retry_after": 3})
    with pytest.raises(Uncertain, match="1 messages of it were posted"):
        await channel.post(here(private), CARD, tools, files=[file()])


async def test_who_blocked_the_bot_is_gone(telegram, channel, tools, private):
    telegram.blocks(VERA, HANDLE)
    with pytest.raises(RecipientGone) as refused:
        await channel.post(here(private), CARD, tools)
    assert refused.value.opted_out


async def test_a_group_that_moved_says_where_to(telegram, channel, tools, bot):
    group = telegram.create_group("Мы", OWNER, kind="group")
    telegram.add_member(group, bot)
    moved = telegram.migrates(group)
    with pytest.raises(PeerMoved) as refused:
        await channel.post(here(group), CARD, tools)
    assert refused.value.new_peer == str(moved.id)


async def test_no_secret_stands_in_what_is_noted(telegram, channel, noted, private):
    tools, exchanges = noted
    await channel.post(here(private), CARD, tools, files=[file()])
    telegram.fail_next("getMe", 400, f"Bad Request: no bot {TOKEN}")
    with pytest.raises(Undeliverable) as refused:
        await channel.check(tools)
    assert len(exchanges) == 3
    assert TOKEN not in f"{exchanges} {refused.value} {channel!r}"


# --- changing, answering ---


async def test_a_post_is_changed_with_its_buttons(telegram, channel, tools, private):
    (ref,) = await channel.post(here(private), CARD, tools)
    changed = Card(title="Взято", footer="Вера", keys=((Key("Вернуть", "back:17"),),))
    await channel.edit(here(private), ref, changed, tools)
    (shown,) = posted(telegram, private)
    assert (shown.html, shown.buttons) == ("<b>Взято</b>\n<i>Вера</i>", [["Вернуть"]])
    await channel.edit(here(private), ref, changed, tools)  # it reads so already
    await channel.edit(here(private), ref, Card(title="Всё"), tools)
    (shown,) = posted(telegram, private)
    assert (shown.html, shown.buttons) == ("<b>Всё</b>", [])


async def test_changing_a_post_that_was_deleted_is_no_matter(telegram, channel, tools, private):
    (ref,) = await channel.post(here(private), CARD, tools)
    telegram.deletes(VERA, private, int(ref))
    await channel.edit(here(private), ref, Card(title="b"), tools)
    assert telegram.calls("editMessageText")[-1].error == 400


async def test_what_is_not_ours_is_not_changed(telegram, channel, tools, private):
    theirs = telegram.says(VERA, private, "моё")
    with pytest.raises(Undeliverable, match="can't be edited"):
        await channel.edit(here(private), str(theirs.id), Card(title="b"), tools)


async def test_a_change_too_long_for_one_post_shows_its_beginning_and_all_buttons(telegram, channel, tools, private):
    card = Card(title="Письмо", words="слово " * 2000, keys=((Key("Ответить", "r"),),))
    first, *_ = await channel.post(here(private), card, tools)
    await channel.edit(here(private), first, replace(card, title="Взято"), tools)
    shown = posted(telegram, private)[0]
    assert shown.text.startswith("Взято\n\nслово") and shown.buttons == [["Ответить"]]


async def test_a_press_is_answered_once_and_in_words(telegram, channel, tools, private):
    (ref,) = await channel.post(here(private), CARD, tools)
    press = telegram.presses(VERA, private, int(ref), data="take:17")
    await channel.confirm(press.id, tools, text="Ваше " * 60, is_alert=True)
    answer = await telegram.answer(press)
    assert answer["show_alert"] is True
    assert answer["text"].startswith("Ваше Ваше") and len(answer["text"]) <= 200
    silent = telegram.presses(VERA, private, int(ref), data="later:17")
    await channel.confirm(silent.id, tools)
    assert await telegram.answer(silent) == {"show_alert": False}


async def test_a_press_too_old_to_be_answered_is_undeliverable(telegram, channel, tools):
    with pytest.raises(Undeliverable, match="too old"):
        await channel.confirm("4382bfdwdsb323b2d9", tools, text="a")


def test_the_link_opens_the_bot_with_the_ticket():
    assert desk().link("aB3_-xyz90", "@our_desk_bot") == "https://t.me/our_desk_bot?start=aB3_-xyz90"
    assert desk().link("aB3_-xyz90", "") == "/start aB3_-xyz90"


# --- topics ---


async def test_a_topic_is_made_and_posted_into(telegram, channel, tools, forum):
    topic = await channel.open_topic(str(forum.id), "Вера Ильина", tools)
    (ref,) = await channel.post(here(forum, topic), CARD, tools)
    (shown,) = posted(telegram, forum, int(topic))
    assert str(shown.id) == ref
    await channel.post(here(forum), Card(title="Всем"), tools)
    assert [one.text for one in posted(telegram, forum, 1)] == ["Всем"]


@pytest.mark.parametrize("name", ["", "имя\nи ещё", "😀" * 200, "слово " * 50])
async def test_any_name_becomes_one_telegram_takes(telegram, channel, tools, forum, name):
    topic = await channel.open_topic(str(forum.id), name, tools)
    made = forum.topics[int(topic)].name
    assert made and "\n" not in made and len(made.encode("utf-16-le")) <= 256


async def test_a_group_without_topics_says_how_to_get_them(telegram, channel, tools, bot):
    group = telegram.create_group("Мы", OWNER)
    telegram.promotes(group, bot)
    with pytest.raises(Undeliverable, match="no topics"):
        await channel.open_topic(str(group.id), "Вера", tools)


async def test_a_bot_that_may_not_manage_topics_says_what_it_needs(telegram, channel, tools, forum, bot):
    telegram.demotes(forum, bot)
    with pytest.raises(Undeliverable, match="administrator"):
        await channel.open_topic(str(forum.id), "Вера", tools)


async def test_a_topic_that_may_have_been_made_is_not_made_again(telegram, channel, tools, forum):
    telegram.drop_next("createForumTopic", after_processing=True)
    with pytest.raises(Uncertain):
        await channel.open_topic(str(forum.id), "Вера", tools)


async def test_a_topic_is_renamed_closed_and_opened_again(telegram, channel, tools, forum):
    number = await channel.open_topic(str(forum.id), "Вера", tools)
    place, topic = here(forum, number), forum.topics[int(number)]
    for _ in range(2):  # the second time it is so already
        await channel.change_topic(place, tools, name="✅ Вера", is_open=False)
        assert (topic.name, topic.is_closed) == ("✅ Вера", True)
    await channel.change_topic(place, tools, is_open=True)
    assert (topic.name, topic.is_closed) == ("✅ Вера", False)


async def test_a_deleted_topic_is_gone(telegram, channel, tools, forum):
    topic = await channel.open_topic(str(forum.id), "Вера", tools)
    telegram.deletes_topic(OWNER, forum, int(topic))
    with pytest.raises(PlaceGone):
        await channel.post(here(forum, topic), CARD, tools)
    with pytest.raises(PlaceGone):
        await channel.post(here(forum, topic), Card(), tools, files=[file()])
    with pytest.raises(PlaceGone):
        await channel.change_topic(here(forum, topic), tools, name="x")


async def test_a_closed_topic_is_opened_again_for_a_post(telegram, channel, tools, forum):
    topic = await channel.open_topic(str(forum.id), "Вера", tools)
    telegram.closes_topic(OWNER, forum, int(topic))
    telegram.fail_next("sendMessage", 400, "Bad Request: TOPIC_CLOSED")
    refs = await channel.post(here(forum, topic), CARD, tools)
    assert len(refs) == len(posted(telegram, forum, int(topic))) == 1
    assert not forum.topics[int(topic)].is_closed


async def test_a_topic_that_stays_closed_is_told_with_what_the_bot_needs(telegram, channel, tools, forum, bot):
    topic = telegram.create_topic(OWNER, forum, "Вера").id
    telegram.closes_topic(OWNER, forum, topic)
    telegram.demotes(forum, bot)
    with pytest.raises(Undeliverable, match="administrator"):
        await channel.post(here(forum, str(topic)), CARD, tools)
    assert posted(telegram, forum) == []


# --- set up and check ---


async def test_commands_are_offered_in_both_languages(telegram, channel, tools):
    assert "English and Russian" in await channel.setup(tools)
    offered = telegram.commands(HANDLE)
    assert [one["command"] for one in offered["default"]] == list(COMMANDS)
    assert [one["description"] for one in offered["default/ru"]] == [russian for _, russian in COMMANDS.values()]
    await channel.setup(tools)
    assert telegram.commands(HANDLE) == offered


async def test_a_hook_in_the_way_of_fetching_is_taken_away(telegram, channel, tools):
    await desk(telegram.url, mode="webhook").setup(tools)
    await channel.setup(tools)
    assert telegram.calls("deleteWebhook")
    assert "this hub fetches" in (await channel.check(tools)).detail


async def test_a_hook_names_the_bot_and_is_known_as_ours(telegram, tools):
    hooked = desk(telegram.url, mode="webhook")
    with pytest.raises(Misconfigured, match="calls nobody"):
        await hooked.check(tools)
    assert f"https://hub.example/hooks/k/{HANDLE}" in await hooked.setup(tools)
    asked = telegram.calls("setWebhook")[0].arguments
    assert asked["secret_token"] == SECRET
    allowed = asked["allowed_updates"]
    assert (json.loads(allowed) if isinstance(allowed, str) else allowed) == [
        "message",
        "edited_message",
        "callback_query",
        "my_chat_member",
    ]
    assert "brings its messages here" in (await hooked.check(tools)).detail
    await hooked.teardown(replace(tools, hook_url="https://hub.example/hooks/other"))
    assert not telegram.calls("deleteWebhook")
    await hooked.teardown(tools)
    assert telegram.calls("deleteWebhook")


@pytest.mark.parametrize(
    ("reads_all", "may_join", "says"), [(True, True, "reads all"), (False, True, "commands"), (False, False, "setjoin")]
)
async def test_a_check_tells_the_name_first_and_what_the_bot_may(
    telegram, channel, tools, bot, reads_all, may_join, says
):
    bot.reads_all, bot.can_join_groups = reads_all, may_join
    found = await channel.check(tools)
    assert next(iter(found.facts.values())) == f"@{HANDLE}"
    assert says in found.detail
    assert found.facts["reads all of a group"] == ("yes" if reads_all else "no")
    assert "manages topics" in found.facts


async def test_a_revoked_token_is_a_failed_check(telegram, tools):
    with pytest.raises(Unauthorised, match="@BotFather"):
        await desk(telegram.url, token="110201543:other").check(tools)


# --- what comes, all the way ---


def understood(channel: TelegramDesk, items: Sequence[Item]) -> list[Event]:
    return [event for item in items for event in channel.parse(item.request, CONTEXT)]


async def test_what_was_fetched_is_read_and_its_press_left_to_answer(telegram, channel, tools, private, forum):
    (ref,) = await channel.post(here(private), CARD, tools)
    ears = Ears(tools)
    async with running(channel, ears):
        await ears.until(lambda: ears.well)
        await telegram.settled(HANDLE)
        ears.delivered.clear()
        telegram.start(VERA, HANDLE, "aB3_-xyz90")
        press = telegram.presses(VERA, private, int(ref), data="take:17")
        telegram.says(VERA, forum, "/won@other_bot")
        telegram.says(VERA, forum, f"/won@{HANDLE}")
        telegram.blocks(VERA, HANDLE)
        await ears.until(lambda: len(ears.delivered) == 5)
        await telegram.settled(HANDLE)
    started, pressed, won, gone = understood(channel, ears.delivered)
    assert isinstance(started, DeskStarted) and started.ticket == "aB3_-xyz90"
    assert isinstance(pressed, DeskPressed) and (pressed.ref, pressed.data) == (ref, "take:17")
    assert isinstance(won, DeskSaid) and won.text == "/won@shop_bot" and won.peer == str(forum.id)
    assert isinstance(gone, DeskGone) and gone.peer == str(VERA)
    assert press.answer is None
    await channel.confirm(pressed.press, tools, text="Ваше")
    assert (await telegram.answer(press))["text"] == "Ваше"


async def test_what_telegram_brings_is_read_as_what_was_fetched(telegram, forum):
    came: list[RawRequest] = []

    async def take(asked: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        came.append(RawRequest(await asked.read(), headers=headers, suffix=asked.match_info["suffix"]))
        return web.Response(body=hooked.acknowledge(came[-1], "r1").body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/hooks/k/{suffix}", take)
    hooked = desk(telegram.url, mode="webhook")
    async with (
        TestServer(app) as server,
        tools_for(telegram.url, hook_url=str(server.make_url("/hooks/k"))) as (tools, _),
    ):
        await hooked.setup(tools)
        topic = await hooked.open_topic(str(forum.id), "Вера", tools)
        (ref,) = await hooked.post(here(forum, topic), CARD, tools)
        telegram.says(VERA, forum, "Беру", thread=int(topic))
        telegram.says(VERA, forum, "Отвечаю", reply_to=int(ref))
        telegram.says(VERA, forum, "/won@other_bot")
        press = telegram.presses(VERA, forum, int(ref), data="take:17")
        await telegram.sends_album(VERA, forum, [{"kind": "photo", "content": picture()}] * 2, thread=int(topic))
        await telegram.settled(HANDLE)
        await hooked.teardown(tools)
        for one in came:
            hooked.verify(one, NOW)
        events = [event for one in came for event in hooked.parse(one, CONTEXT)]
        said = [event for event in events if isinstance(event, DeskSaid)]
        assert [(one.text, one.reply_to, one.thread) for one in said[:2]] == [
            ("Беру", "", topic),
            ("Отвечаю", ref, topic),
        ]
        pieces = said[2:]
        assert len(pieces) == 2 and len({piece.group for piece in pieces}) == 1
        fetched = await hooked.fetch_media(pieces[0].attachments[0].reference, tools)
        assert b"".join([chunk async for chunk in fetched.chunks]) == picture()
        assert [event.data for event in events if isinstance(event, DeskPressed)] == ["take:17"]
        assert press.answer is None
