from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from channels import registry
from channels.contract import Button, ParseContext, Profile
from channels.errors import Misconfigured, RecipientGone, Temporary, Unauthorised, Uncertain, WindowClosed
from channels.messenger import Messenger
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Attribution, Changed, Incoming, Problem, Signal, Status, Trust
from tests.channels.payloads import NOW
from tests.channels.payloads.messenger import AT, PAGE, PERSON, PICTURE, REQUESTS, SETTINGS, document, item
from tests.channels.payloads.whatsapp import signed
from tests.channels.provider import file, part

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
SENT = {"recipient_id": "42", "message_id": "m_new"}
SITE = "https://www.facebook.com"


def channel(**more: Any) -> Messenger:
    built = registry.build("messenger", {**SETTINGS, **more})
    assert isinstance(built, Messenger)
    return built


def read(*items: Any, **more: Any) -> list[Any]:
    return list(channel().parse(signed(document(*items, **more)), CONTEXT))


def only(**happening: Any) -> Any:
    [event] = read(item(**happening))
    return event


# --- what comes in ---


def test_a_text_comes_out_whole():
    [found] = channel().parse(REQUESTS[0], CONTEXT)
    assert isinstance(found, Incoming)
    assert (found.account, found.peer, found.external_id) == (f"messenger:{PAGE}", PERSON, "m_1")
    assert (found.text, found.occurred_at) == ("Здравствуйте 👋", NOW)
    assert found.replies_until == NOW + timedelta(hours=24)
    [claim] = found.claims
    assert (str(claim.address), claim.trust) == (f"messenger:{PAGE}:{PERSON}", Trust.ATTESTED)
    assert channel().account == found.account


def test_every_happening_of_a_request_comes_out():
    found = channel().parse(REQUESTS[1], CONTEXT)
    assert [(type(event), event.peer) for event in found] == [
        (Incoming, PERSON),
        (Incoming, "999"),
        (Status, PERSON),
        (Status, PERSON),
        (Status, PERSON),
    ]


def test_what_another_app_is_in_charge_of_is_read_too():
    assert [event.external_id for event in channel().parse(REQUESTS[4], CONTEXT)] == ["m_5"]


@pytest.mark.parametrize("bad", [None, 3, {}, {"sender": 3, "message": {}}, item(message=[]), item(message={"mid": 1})])
def test_one_odd_happening_does_not_cost_the_others(bad):
    assert [event.text for event in read(bad, item(message={"mid": "m", "text": "still here"}))] == ["still here"]


def test_the_same_message_twice_in_one_request_is_one():
    assert len(read(item(message={"mid": "m", "text": "x"}), item(message={"mid": "m", "text": "x"}))) == 1


def test_what_is_for_another_page_has_that_page_s_account():
    [found] = read(item(page="1235", message={"mid": "m", "text": "x"}))
    assert (found.account, found.peer) == ("messenger:1235", PERSON)


@pytest.mark.parametrize("stamp", [AT, AT // 1000, str(AT)])
def test_moments_come_in_seconds_or_milliseconds(stamp):
    [found] = read({**item(message={"mid": "m", "text": "x"}), "timestamp": stamp})
    assert found.occurred_at == NOW


def test_a_chosen_answer_is_its_words_and_its_payload():
    found = only(message={"mid": "m", "text": "Да", "quick_reply": {"payload": "YES"}})
    assert (found.text, found.fields) == ("Да", {"payload": "YES"})


def test_a_reply_names_what_it_answers():
    assert only(message={"mid": "m", "text": "x", "reply_to": {"mid": "m_out"}}).reply_to == "m_out"


ATTACHED: list[tuple[dict[str, Any], str, list[Attachment]]] = [
    (
        PICTURE,
        "",
        [Attachment("picture.jpg", "", 0, -1, "https://scontent.example/v/t1/picture.jpg?oh=1", "image")],
    ),
    (
        {"type": "file", "payload": {"url": "https://cdn.example/x/%D0%A1%D1%87%D1%91%D1%82.pdf?a=1"}},
        "",
        [Attachment("Счёт.pdf", "", 0, -1, "https://cdn.example/x/%D0%A1%D1%87%D1%91%D1%82.pdf?a=1", "file")],
    ),
    (
        {"type": "audio", "payload": {"url": "https://cdn.example/"}},
        "",
        [Attachment("audio", "", 0, -1, "https://cdn.example/", "audio")],
    ),
    (
        {"type": "video", "payload": {"url": "https://cdn.example/a.mp4"}},
        "",
        [Attachment("a.mp4", "", 0, -1, "https://cdn.example/a.mp4", "video")],
    ),
    (
        {"type": "image", "payload": {"url": "https://cdn.example/s.png", "sticker_id": 369239263222822}},
        "👍",
        [Attachment("s.png", "", 0, -1, "https://cdn.example/s.png", "sticker")],
    ),
    (
        {"type": "image", "payload": {"url": "https://cdn.example/s.png", "sticker_id": 1}},
        "",
        [Attachment("s.png", "", 0, -1, "https://cdn.example/s.png", "sticker")],
    ),
    (
        {"type": "location", "title": "Here", "payload": {"coordinates": {"lat": 1.2, "long": -1.3}}},
        "📍 Here\nhttps://www.google.com/maps?q=1.2,-1.3",
        [],
    ),
    ({"type": "fallback", "payload": {"url": "https://x.example/a", "title": "A"}}, "A https://x.example/a", []),
    ({"type": "fallback", "title": "A", "url": "https://x.example/a"}, "A https://x.example/a", []),
    ({"type": "ig_reel", "payload": {"url": "/reel/1234/"}}, f"[ig reel] {SITE}/reel/1234/", []),
    ({"type": "template", "payload": {"title": "T"}}, "[template] T", []),
    ({"type": "share", "payload": {"url": "https://x.example/p"}}, "[share] https://x.example/p", []),
    ({"type": "like_heart"}, "❤️", []),
]


@pytest.mark.parametrize(("attachment", "text", "files"), ATTACHED, ids=lambda value: str(value)[:30])
def test_each_kind_of_attachment_is_a_file_or_words_with_a_link(attachment, text, files):
    found = only(message={"mid": "m", "attachments": [attachment]})
    assert (found.text, list(found.attachments)) == (text, files)


def test_ten_pictures_of_one_message_are_ten_files_in_order():
    urls = [f"https://cdn.example/{number}.jpg" for number in range(10)]
    found = only(message={"mid": "m", "attachments": [{"type": "image", "payload": {"url": url}} for url in urls]})
    assert [attachment.reference for attachment in found.attachments] == urls


def test_a_message_of_a_kind_that_is_not_told_says_so():
    assert "unsupported" in only(message={"mid": "m", "is_unsupported": True}).text


def test_a_pressed_button_is_a_message_of_its_words():
    [found] = channel().parse(REQUESTS[2], CONTEXT)
    assert (found.text, found.external_id, found.fields) == ("Цена", "m_4", {"payload": "PRICE"})


def test_a_button_without_an_id_gets_the_same_one_at_every_reading():
    first, again = only(postback={"title": "A", "payload": "B"}), only(postback={"title": "A", "payload": "B"})
    assert first.external_id == again.external_id != only(postback={"title": "A", "payload": "C"}).external_id


def test_get_started_opens_the_chat_and_keeps_where_from():
    referral = {"ref": "postback ref", "source": "ADS", "type": "OPEN_THREAD", "ad_id": "ad id"}
    found = only(postback={"title": "Get started", "payload": "get_started", "referral": referral})
    assert isinstance(found, Signal)
    assert (found.kind, found.attribution) == ("started", Attribution(reference="postback ref", ad="adid"))


@pytest.mark.parametrize(
    "happening",
    [
        {"referral": {"ref": "spring", "ad_id": "7", "referer_uri": "https://shop.example/"}},
        {"optin": {"ref": "spring"}},
    ],
)
def test_a_link_opens_the_chat_and_keeps_where_from(happening):
    found = only(**happening)
    assert (type(found), found.kind, found.attribution.reference) == (Signal, "started", "spring")
    assert str(found.claims[0].address) == f"messenger:{PAGE}:{PERSON}"


def test_a_link_inside_a_message_is_kept_with_it():
    referral = {"ref": "spring", "ad_id": "7", "ads_context_data": {"ad_title": "Sale"}}
    found = only(message={"mid": "m", "text": "x", "referral": referral})
    assert found.attribution == Attribution(reference="spring", ad="7")
    assert found.fields == {"ad_title": "Sale"}


def test_a_subscription_to_newsletters_is_no_event():
    assert read(item(optin={"type": "notification_messages", "payload": "3456"})) == []


def test_delivery_names_its_messages():
    found = read(item(delivery={"mids": ["a", "b"], "watermark": AT}))
    assert [(one.external_id, one.status, one.up_to) for one in found] == [
        ("a", "delivered", False),
        ("b", "delivered", False),
    ]


@pytest.mark.parametrize(("name", "status"), [("read", "read"), ("delivery", "delivered")])
def test_a_watermark_marks_all_that_went_before_it(name, status):
    assert only(**{name: {"watermark": AT - 5_000}}) == Status(
        account=f"messenger:{PAGE}",
        peer=PERSON,
        occurred_at=NOW - timedelta(seconds=5),
        status=status,
        up_to=True,
    )


@pytest.mark.parametrize(
    ("reaction", "text"),
    [
        ({"action": "react", "reaction": "love", "emoji": "❤"}, "❤"),
        ({"action": "react", "reaction": "smile"}, "😆"),
        ({"action": "unreact", "reaction": "love", "emoji": "❤"}, ""),
    ],
)
def test_a_reaction_changes_the_message_it_is_about(reaction, text):
    found = only(reaction={"mid": "m_out", **reaction})
    assert (type(found), found.change, found.external_id, found.text) == (Changed, "reaction", "m_out", text)


def test_a_message_can_be_edited_and_taken_back():
    edited = only(message_edit={"mid": "m", "text": "new", "num_edit": 1})
    assert (edited.change, edited.external_id, edited.text) == ("edited", "m", "new")
    deleted = only(message={"mid": "m", "is_deleted": True})
    assert (deleted.change, deleted.external_id) == ("deleted", "m")


def echo(**message: Any) -> dict[str, Any]:
    return {**item(person=PAGE, page=PERSON), "message": {"mid": "m_out", "is_echo": True, **message}}


def test_what_was_written_in_the_business_suite_is_ours():
    [found] = read(echo(text="From the phone", app_id=26390203743090))
    assert (found.is_ours, found.peer, found.external_id, found.text) == (True, PERSON, "m_out", "From the phone")
    assert (found.account, found.replies_until) == (f"messenger:{PAGE}", None)


def test_the_echo_of_what_we_sent_tells_that_it_went():
    [found] = read(echo(text="Hello", metadata="switchyard:184467.0"))
    assert isinstance(found, Status)
    assert (found.status, found.external_id, found.our_id) == ("sent", "m_out", "184467.0")


def test_nobody_can_pretend_that_we_sent_something():
    found = only(message={"mid": "m", "text": "x", "metadata": "switchyard:184467.0"})
    assert isinstance(found, Incoming)
    assert not found.is_ours


def test_trouble_with_the_page_is_a_problem():
    found = only(policy_enforcement={"action": "block", "reason": "Spam"})
    assert (type(found), found.account, found.detail) == (Problem, f"messenger:{PAGE}", "block Spam")


# --- what goes out ---


@pytest.fixture
def graph(provider):
    provider.answers("POST", "/v25.0/me/messages", json=SENT)
    provider.answers("POST", "/v25.0/me/message_attachments", json={"attachment_id": "777"})
    return provider


def said(provider: Any) -> list[Any]:
    return [asked.json for asked in provider.asked if asked.path.endswith("/messages")]


async def test_a_text_is_asked_for_as_documented(graph, tools):
    receipt = await channel(base_url=graph.url).send(part("Здравствуйте"), tools)
    assert receipt.external_ids == ("m_new",)
    assert said(graph) == [
        {
            "messaging_type": "RESPONSE",
            "recipient": {"id": "42"},
            "message": {"text": "Здравствуйте", "metadata": "switchyard:184467.0"},
        }
    ]


async def test_answers_to_choose_from_go_with_the_text(graph, tools):
    buttons = (Button("Да", "yes"), Button("A title that is much too long"))
    await channel(base_url=graph.url).send(part("Едем?", buttons=buttons), tools)
    assert said(graph)[0]["message"]["quick_replies"] == [
        {"content_type": "text", "title": "Да", "payload": "yes"},
        {"content_type": "text", "title": "A title that is much", "payload": "A title that is much too long"},
    ]


async def test_too_many_answers_are_numbered_lines(graph, tools):
    await channel(base_url=graph.url).send(part("?", buttons=tuple(Button(str(n)) for n in range(14))), tools)
    [body] = said(graph)
    assert body["message"]["text"].startswith("?\n\n1. 0\n2. 1")
    assert "quick_replies" not in body["message"]


async def test_a_file_is_uploaded_and_sent_by_its_id(graph, tools):
    sent = file(b"BYTES", name="a.png", content_type="image/png", kind="image", url="")
    await channel(base_url=graph.url).send(part(files=(sent,)), tools)
    upload = graph.asked[0]
    assert upload.path == "/v25.0/me/message_attachments"
    assert b"BYTES" in upload.body and b'name="filedata"' in upload.body
    assert int(upload.headers["content-length"]) == len(upload.body)
    form = upload.body.split(b'name="message"\r\n\r\n')[1].split(b"\r\n")[0]
    assert json.loads(form) == {"attachment": {"type": "image", "payload": {"is_reusable": True}}}
    assert said(graph)[0]["message"]["attachment"] == {"type": "image", "payload": {"attachment_id": "777"}}


async def test_files_go_before_the_text_and_all_ids_are_kept(graph, tools):
    answers = iter(["m_1", "m_2"])
    graph.answers("POST", "/v25.0/me/messages", json={"message_id": "m_2"})
    graph.answers("POST", "/v25.0/me/messages", json={"message_id": next(answers)}, once=True)
    receipt = await channel(base_url=graph.url).send(part("x", files=(file(),), buttons=(Button("A"),)), tools)
    assert receipt.external_ids == ("m_1", "m_2")
    first, second = said(graph)
    assert "attachment" in first["message"]
    assert (second["message"]["text"], len(second["message"]["quick_replies"])) == ("x", 1)


CLOSED = {"error": {"code": 10, "error_subcode": 2018278, "message": "outside of allowed window"}}


async def test_a_closed_window_is_said(provider, tools):
    provider.answers("POST", ".*", status=400, json=CLOSED)
    with pytest.raises(WindowClosed):
        await channel(base_url=provider.url).send(part("x"), tools)
    assert len(provider.asked) == 1


async def test_a_human_agent_may_answer_for_a_week(graph, tools):
    graph.answers("POST", "/v25.0/me/messages", status=400, json=CLOSED, once=True)
    built = channel(base_url=graph.url, human_agent=True)
    await built.send(part("x"), tools)
    assert [(body["messaging_type"], body.get("tag")) for body in said(graph)] == [
        ("RESPONSE", None),
        ("MESSAGE_TAG", "HUMAN_AGENT"),
    ]
    [found] = built.parse(REQUESTS[0], CONTEXT)
    assert isinstance(found, Incoming)
    assert found.replies_until == NOW + timedelta(days=7)


async def test_a_program_may_not_answer_as_a_human(provider, tools):
    provider.answers("POST", ".*", status=400, json=CLOSED)
    with pytest.raises(WindowClosed):
        await channel(base_url=provider.url, human_agent=True).send(part("x", is_automatic=True), tools)
    assert len(provider.asked) == 1


async def test_somebody_who_left_is_gone(provider, tools):
    answer = {"error": {"code": 551, "error_subcode": 1545041, "message": "This person isn't available right now"}}
    provider.answers("POST", ".*", status=400, json=answer)
    with pytest.raises(RecipientGone):
        await channel(base_url=provider.url).send(part("x"), tools)


async def test_a_broken_connection_leaves_it_open_whether_it_went(provider, tools):
    provider.breaks("POST", ".*")
    with pytest.raises(Uncertain):
        await channel(base_url=provider.url).send(part("x"), tools)
    with pytest.raises(Temporary):  # nothing was sent yet
        await channel(base_url=provider.url).send(part(files=(file(),)), tools)


@pytest.mark.parametrize("answer", [{}, {"recipient_id": "42"}, {"attachment_id": ""}])
async def test_an_answer_without_an_id_leaves_it_open(provider, tools, answer):
    provider.answers("POST", ".*", json=answer)
    with pytest.raises(Uncertain):
        await channel(base_url=provider.url).send(part("x"), tools)
    with pytest.raises(Temporary):  # the file only: nothing was sent yet
        await channel(base_url=provider.url).send(part(files=(file(),)), tools)


def test_peers_and_addresses_agree():
    built = channel()
    assert built.address_of("5678") == Address("messenger", f"{PAGE}:5678")
    assert built.peer_of(built.address_of("5678")) == "5678"
    for address in (Address("messenger", "999:5678"), Address("phone", "+79161234567"), Address("messenger", PAGE)):
        assert built.peer_of(address) is None


# --- who somebody is, files, check ---


async def test_a_name_is_asked_for(provider, tools):
    provider.answers("GET", "/v25.0/5678", json={"first_name": "Вера", "last_name": "Ильина", "id": "5678"})
    assert await channel(base_url=provider.url).profile("5678", tools) == Profile("Вера Ильина")
    assert provider.asked[0].query == {"fields": "first_name,last_name,name"}


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, {"error": {"code": 100, "error_subcode": 33, "message": "Object does not exist"}}),
        (403, {"error": {"code": 230, "message": "User consent is required"}}),
        (200, {"id": "5678"}),
    ],
)
async def test_a_name_that_is_refused_is_none(provider, tools, status, answer):
    provider.answers("GET", ".*", status=status, json=answer)
    assert await channel(base_url=provider.url).profile("5678", tools) is None


@pytest.mark.parametrize(("code", "meaning"), [(190, Unauthorised), (2, Temporary), (4, Temporary)])
async def test_a_name_that_could_be_had_later_is_not_none(provider, tools, code, meaning):
    provider.answers("GET", ".*", status=400, json={"error": {"code": code, "message": "x"}})
    with pytest.raises(meaning):
        await channel(base_url=provider.url).profile("5678", tools)


async def test_a_file_is_fetched_without_the_token(provider, tools):
    provider.answers("GET", "/picture.jpg", body=b"BYTES", content_type="image/jpeg")
    found = await channel().fetch_media(f"{provider.url}/picture.jpg?oh=1", tools)
    assert b"".join([piece async for piece in found.chunks]) == b"BYTES"
    assert found.content_type == "image/jpeg"
    assert "authorization" not in provider.asked[0].headers


async def test_a_check_tells_whose_the_token_is(provider, tools):
    provider.answers("GET", "/v25.0/me", json={"id": PAGE, "name": "Shop"})
    assert "Shop" in (await channel(base_url=provider.url).check(tools)).detail
    provider.answers("GET", "/v25.0/me", json={"id": "1", "name": "A person"})
    with pytest.raises(Misconfigured, match="A person"):
        await channel(base_url=provider.url).check(tools)
