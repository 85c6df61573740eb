from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from channels import registry
from channels.contract import Button, Capability, KnownTemplate, ParseContext, Template
from channels.errors import (
    Misconfigured,
    Temporary,
    Unauthorised,
    Uncertain,
    Undeliverable,
    WindowClosed,
)
from channels.whatsapp import CloudWhatsApp
from channels.whatsapp_360dialog import DialogWhatsApp
from core.kernel.addresses import Address
from core.kernel.envelopes import (
    Attachment,
    Attribution,
    Changed,
    IdentityChanged,
    Incoming,
    Problem,
    Signal,
    Status,
    Trust,
)
from tests.channels.payloads import NOW, whatsapp_360dialog
from tests.channels.payloads.whatsapp import (
    AT,
    REQUESTS,
    SETTINGS,
    change,
    document,
    message,
    signed,
)
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
NUMBER = "106540352242922"
SENT = {"messaging_product": "whatsapp", "contacts": [{"wa_id": "42"}], "messages": [{"id": "wamid.NEW"}]}


def channel(**more: Any) -> CloudWhatsApp:
    built = registry.build("whatsapp", {**SETTINGS, **more})
    assert isinstance(built, CloudWhatsApp)
    return built


def dialog(**more: Any) -> DialogWhatsApp:
    built = registry.build("whatsapp_360dialog", {**whatsapp_360dialog.SETTINGS, **more})
    assert isinstance(built, DialogWhatsApp)
    return built


def read(*messages: dict[str, Any], **more: Any) -> list[Any]:
    return list(channel().parse(signed(document(change(messages=list(messages), **more))), CONTEXT))


def only(*messages: dict[str, Any], **more: Any) -> Any:
    [event] = read(*messages, **more)
    return event


# --- what comes in ---


def test_a_text_comes_out_whole():
    [found] = channel().parse(REQUESTS[0], CONTEXT)
    assert isinstance(found, Incoming)
    assert (found.account, found.peer, found.external_id) == (f"whatsapp:{NUMBER}", "79161234567", "wamid.A")
    assert (found.text, found.name, found.occurred_at) == ("Здравствуйте 😀", "Вера Ильина", NOW)
    assert [(str(claim.address), claim.trust) for claim in found.claims] == [
        ("whatsapp:79161234567", Trust.ATTESTED),
        ("phone:+79161234567", Trust.ATTESTED),
    ]
    assert found.replies_until == NOW + timedelta(hours=24)
    assert channel().account == found.account


def test_every_message_of_every_change_comes_out_with_its_account():
    found = channel().parse(REQUESTS[1], CONTEXT)
    assert [(event.account, event.external_id) for event in found] == [
        (f"whatsapp:{NUMBER}", "wamid.A"),
        (f"whatsapp:{NUMBER}", "wamid.B"),
        ("whatsapp:999", "wamid.C"),
    ]


def test_a_message_that_comes_twice_in_one_request_is_one():
    text = message("text", {"body": "x"})
    assert len(read(text, text)) == 1


@pytest.mark.parametrize("bad", [None, 3, "x", {}, {"from": {}, "type": []}, {"from": "1", "type": "text", "text": 5}])
def test_one_odd_message_does_not_cost_the_others(bad):
    assert read(bad, message("text", {"body": "still here"}))[-1].text == "still here"


@pytest.mark.parametrize(
    ("sender", "peer", "addresses"),
    [
        ({"from_user_id": "US.1234"}, "US.1234", ["whatsapp:US.1234"]),
        ({"from": "US.1234", "from_user_id": "US.1234"}, "US.1234", ["whatsapp:US.1234"]),
        (
            {"from": "14155550100", "from_user_id": "US.1234"},
            "14155550100",
            ["whatsapp:14155550100", "phone:+14155550100", "whatsapp:US.1234"],
        ),
        ({"from": "5678"}, "5678", ["whatsapp:5678"]),
    ],
)
def test_somebody_may_have_a_number_an_id_within_our_business_or_both(sender, peer, addresses):
    contact = {"profile": {"name": "Kerry"}, "user_id": "US.1234", "wa_id": "5678"}
    raw = {"id": "wamid.A", "timestamp": AT, "type": "text", "text": {"body": "x"}, **sender}
    found = only(raw, contacts=[contact])
    assert found.peer == peer
    assert [str(claim.address) for claim in found.claims] == addresses


def test_names_are_found_by_the_number_and_by_the_id_within_our_business():
    contacts = [{"profile": {"name": "By id"}, "user_id": "US.1"}, {"profile": {"username": "kf"}, "wa_id": "5"}]
    raw = {"id": "a", "timestamp": AT, "type": "text", "text": {"body": "x"}}
    found = read({**raw, "from_user_id": "US.1"}, {**raw, "id": "b", "from": "5"}, contacts=contacts)
    assert [one.name for one in found] == ["By id", "kf"]


@pytest.mark.parametrize(
    ("kind", "content", "attachment"),
    [
        ("image", {"id": "1", "mime_type": "image/jpeg"}, Attachment("image.jpg", "image/jpeg", 0, -1, "1", "image")),
        ("video", {"id": "2", "mime_type": "video/mp4"}, Attachment("video.mp4", "video/mp4", 0, -1, "2", "video")),
        ("audio", {"id": "3", "mime_type": "audio/mpeg"}, Attachment("audio.mp3", "audio/mpeg", 0, -1, "3", "audio")),
        (
            "audio",
            {"id": "4", "mime_type": "audio/ogg; codecs=opus", "voice": True},
            Attachment("audio.ogg", "audio/ogg; codecs=opus", 0, -1, "4", "voice"),
        ),
        ("voice", {"id": "5", "mime_type": "audio/ogg"}, Attachment("voice.ogg", "audio/ogg", 0, -1, "5", "voice")),
        (
            "document",
            {"id": "6", "mime_type": "application/pdf", "filename": "Счёт.pdf", "caption": "See"},
            Attachment("Счёт.pdf", "application/pdf", 0, -1, "6", "file"),
        ),
        (
            "sticker",
            {"id": "7", "mime_type": "image/webp", "animated": False},
            Attachment("sticker.webp", "image/webp", 0, -1, "7", "sticker"),
        ),
    ],
)
def test_each_kind_of_file_is_named_by_its_id(kind, content, attachment):
    found = only(message(kind, content))
    assert found.attachments == (attachment,)
    assert found.text == content.get("caption", "")


@pytest.mark.parametrize(
    ("kind", "content", "text", "fields"),
    [
        ("button", {"text": "Да", "payload": "YES"}, "Да", {"payload": "YES"}),
        ("button", {"text": "Да", "payload": "Да"}, "Да", {}),
        (
            "interactive",
            {"type": "button_reply", "button_reply": {"id": "b1", "title": "Да"}},
            "Да",
            {"payload": "b1"},
        ),
        (
            "interactive",
            {"type": "list_reply", "list_reply": {"id": "r1", "title": "Row", "description": "more"}},
            "Row",
            {"payload": "r1"},
        ),
        (
            "interactive",
            {
                "type": "nfm_reply",
                "nfm_reply": {"body": "Sent", "response_json": '{"city": "Тверь", "n": 2, "flow_token": "t"}'},
            },
            "Sent",
            {"city": "Тверь", "n": "2"},
        ),
        ("interactive", {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": "[nope"}}, "Sent", {}),
        (
            "location",
            {"latitude": 55.75, "longitude": 37.61, "name": "Кремль", "address": "Москва"},
            "📍 Кремль\nМосква\nhttps://www.google.com/maps?q=55.75,37.61",
            {},
        ),
        (
            "contacts",
            [{"name": {"formatted_name": "Anna"}, "phones": [{"phone": "+7 916"}], "emails": [{"email": "a@x.y"}]}],
            "👤 Anna\n+7 916\na@x.y",
            {},
        ),
        (
            "order",
            {
                "catalog_id": "1",
                "text": "Please",
                "product_items": [
                    {"product_retailer_id": "SKU1", "quantity": 2, "item_price": 10.5, "currency": "EUR"}
                ],
            },
            "Please\n🛒 2 × SKU1 10.5 EUR",
            {},
        ),
    ],
)
def test_what_is_no_plain_text_reads_as_one(kind, content, text, fields):
    found = only(message(kind, content))
    assert (found.text, found.fields) == (text, fields)


@pytest.mark.parametrize("kind", ["unsupported", "unknown", "poll", ""])
def test_what_cannot_be_shown_says_so(kind):
    errors = [{"code": 131051, "title": "Message type unknown"}]
    found = only({"from": "5", "id": "w", "timestamp": AT, "type": kind, "errors": errors})
    assert found.text.startswith("[unsupported ")
    assert "131051 Message type unknown" in found.text


def test_a_reply_names_what_it_answers():
    assert only(message("text", {"body": "x"}, context={"id": "wamid.OUT", "from": "1"})).reply_to == "wamid.OUT"


@pytest.mark.parametrize("emoji", ["👍", ""])
def test_a_reaction_changes_the_message_it_is_about(emoji):
    found = only(message("reaction", {"message_id": "wamid.OUT", "emoji": emoji}))
    assert found == Changed(
        account=f"whatsapp:{NUMBER}",
        peer="79161234567",
        occurred_at=NOW,
        external_id="wamid.OUT",
        change="reaction",
        text=emoji,
    )


def test_messages_are_edited_and_taken_back():
    edit = message("edit", {"original_message_id": "w1", "message": {"type": "text", "text": {"body": "new"}}})
    found = read(edit, message("revoke", {"original_message_id": "w2"}, "wamid.Z"))
    assert [(one.change, one.external_id, one.text) for one in found] == [
        ("edited", "w1", "new"),
        ("deleted", "w2", ""),
    ]


@pytest.mark.parametrize(
    ("system", "old", "new"),
    [
        ({"type": "user_changed_number", "wa_id": "79990000000"}, "whatsapp:79161234567", "whatsapp:79990000000"),
        (
            {"type": "user_changed_user_id", "previous_user_id": "IN.OLD", "user_id": "IN.NEW"},
            "whatsapp:IN.OLD",
            "whatsapp:IN.NEW",
        ),
    ],
)
def test_a_changed_number_is_another_identity_of_the_same_person(system, old, new):
    found = only(message("system", system))
    assert isinstance(found, IdentityChanged)
    assert (str(found.old.address), str(found.new.address)) == (old, new)
    assert found.new_peer == new.partition(":")[2]


def test_other_news_of_the_system_is_no_event():
    assert read(message("system", {"type": "customer_identity_changed", "body": "x"})) == []


def test_an_advertisement_leaves_its_mark_and_opens_a_longer_window():
    referral = {
        "source_url": "https://fb.me/x",
        "source_id": "120210",
        "source_type": "ad",
        "headline": "Spring sale",
        "ctwa_clid": "ARAkLk",
    }
    found = only(message("text", {"body": "x"}, referral=referral))
    assert found.attribution == Attribution(ad="120210", reference="ARAkLk", referrer="https://fb.me/x")
    assert found.fields == {"ad_title": "Spring sale"}
    assert found.replies_until == NOW + timedelta(hours=72)


def test_opening_the_chat_is_a_signal():
    found = only({"from": "5678", "id": "w", "timestamp": AT, "type": "request_welcome"})
    assert isinstance(found, Signal)
    assert found.kind == "started"


def test_messages_of_groups_are_left_out():
    assert read(message("text", {"body": "x"}, group_id="Y2FwaV9ncm91cA")) == []


def test_what_was_written_on_the_phone_is_ours():
    echo = {"from": "15550783881", "to": "79161234567", "id": "w", "timestamp": AT, "type": "text"}
    [found] = channel().parse(
        signed(document({**change(message_echoes=[{**echo, "text": {"body": "I'm here"}}])})), CONTEXT
    )
    assert (found.is_ours, found.peer, found.text, found.replies_until) == (True, "79161234567", "I'm here", None)


@pytest.mark.parametrize("moment", ["x", "", None, -1])
def test_without_a_moment_the_window_counts_from_when_it_came(moment):
    found = only({**message("text", {"body": "x"}), "timestamp": moment})
    assert found.occurred_at is None
    assert found.replies_until == NOW + timedelta(hours=24)


def test_a_moment_in_milliseconds_is_the_same_moment():
    assert only({**message("text", {"body": "x"}), "timestamp": AT + "000"}).occurred_at == NOW


def statuses(*given: dict[str, Any]) -> list[Any]:
    return list(channel().parse(signed(document(change(statuses=list(given)))), CONTEXT))


def status(name: str, **more: Any) -> dict[str, Any]:
    return {"id": "wamid.OUT", "status": name, "timestamp": AT, "recipient_id": "79161234567", **more}


@pytest.mark.parametrize(
    ("name", "meaning"), [("sent", "sent"), ("delivered", "delivered"), ("read", "read"), ("played", "read")]
)
def test_what_became_of_a_message_is_told(name, meaning):
    assert statuses(status(name, biz_opaque_callback_data="switchyard:184467.0")) == [
        Status(
            account=f"whatsapp:{NUMBER}",
            peer="79161234567",
            occurred_at=NOW,
            status=meaning,
            external_id="wamid.OUT",
            our_id="184467.0",
        )
    ]


def test_a_mark_of_another_system_is_not_ours():
    assert statuses(status("sent", biz_opaque_callback_data="campaign 7"))[0].our_id == ""


@pytest.mark.parametrize("name", ["deleted", "warning", "", "novelty"])
def test_statuses_that_say_nothing_of_use_are_left_out(name):
    assert statuses(status(name)) == []


@pytest.mark.parametrize(
    ("code", "is_final", "is_dead"),
    [(131047, True, False), (131026, True, True), (131053, False, False), (131056, False, False), (1, False, False)],
)
def test_a_failure_tells_its_code_and_whether_it_is_final(code, is_final, is_dead):
    details = {"details": "Message failed to send"}
    [found] = statuses(status("failed", errors=[{"code": code, "title": "Title", "error_data": details}]))
    assert (found.status, found.error_code, found.is_final, found.is_dead) == ("failed", str(code), is_final, is_dead)
    assert found.error_text == f"{code} Title. Message failed to send"


def test_a_failure_that_is_the_account_s_is_a_problem_too():
    found = statuses(status("failed", errors=[{"code": 131042, "title": "Payment issue"}]))
    assert [type(one) for one in found] == [Status, Problem]


# --- what goes out ---


@pytest.fixture
def graph(provider):
    provider.answers("POST", f"/v25.0/{NUMBER}/messages", json=SENT)
    provider.answers("POST", f"/v25.0/{NUMBER}/media", json={"id": "MEDIA1"})
    return provider


def said(provider: Any) -> list[Any]:
    return [asked.json for asked in provider.asked if asked.path.endswith("/messages")]


async def test_a_text_is_asked_for_as_documented(graph, tools):
    receipt = await channel(base_url=graph.url).send(part("Здравствуйте", reply_to="wamid.IN"), tools)
    assert receipt.external_ids == ("wamid.NEW",)
    [asked] = graph.asked
    assert asked.headers["authorization"] == f"Bearer {SETTINGS['access_token']}"
    assert asked.json == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "42",
        "biz_opaque_callback_data": "switchyard:184467.0",
        "type": "text",
        "text": {"body": "Здравствуйте", "preview_url": False},
        "context": {"message_id": "wamid.IN"},
    }


async def test_another_version_of_the_api_can_be_chosen(provider, tools):
    provider.answers("POST", f"/v99.1/{NUMBER}/messages", json=SENT)
    await channel(base_url=provider.url + "/", api_version="v99.1").send(part("x"), tools)


async def test_somebody_without_a_number_is_the_recipient(graph, tools):
    await channel(base_url=graph.url).send(part("x", peer="US.1234"), tools)
    [body] = said(graph)
    assert body["recipient"] == "US.1234"
    assert "to" not in body


@pytest.mark.parametrize(
    ("kind", "name", "content_type", "expected"),
    [
        ("image", "a.png", "image/png", {"image": {"id": "MEDIA1", "caption": "Вот"}}),
        ("video", "a.mp4", "video/mp4", {"video": {"id": "MEDIA1", "caption": "Вот"}}),
        (
            "file",
            "Счёт.pdf",
            "application/pdf",
            {"document": {"id": "MEDIA1", "filename": "Счёт.pdf", "caption": "Вот"}},
        ),
    ],
)
async def test_a_file_is_uploaded_and_sent_by_its_id_with_its_caption(graph, tools, kind, name, content_type, expected):
    sent = file(b"BYTES", name=name, content_type=content_type, kind=kind, url="")
    await channel(base_url=graph.url).send(part("Вот", files=(sent,)), tools)
    upload, _ = graph.asked
    assert upload.path.endswith("/media")
    assert upload.headers["content-type"].startswith("multipart/form-data")
    assert int(upload.headers["content-length"]) == len(upload.body)
    for piece in (b"BYTES", b'name="messaging_product"\r\n\r\nwhatsapp', content_type.encode(), name.encode()):
        assert piece in upload.body
    [body] = said(graph)
    assert {key: body[key] for key in expected} == expected


@pytest.mark.parametrize("kind", ["audio", "voice", "sticker"])
async def test_words_with_a_sound_or_a_sticker_go_as_a_message_of_their_own(graph, tools, kind):
    answers = iter(["wamid.1", "wamid.2"])
    graph.does("POST", f"/v25.0/{NUMBER}/messages", lambda _: web.json_response({"messages": [{"id": next(answers)}]}))
    sent = file(b"OGG", name="a", content_type="audio/ogg", kind=kind)
    receipt = await channel(base_url=graph.url).send(part("Вот", files=(sent,)), tools)
    assert receipt.external_ids == ("wamid.1", "wamid.2")
    assert [body["type"] for body in said(graph)] == ["sticker" if kind == "sticker" else "audio", "text"]


async def test_half_of_a_part_that_went_is_never_sent_again_by_itself(graph, tools):
    graph.answers("POST", f"/v25.0/{NUMBER}/messages", status=503, json={"error": {"code": 2, "message": "busy"}})
    graph.answers("POST", f"/v25.0/{NUMBER}/messages", json=SENT, once=True)
    with pytest.raises(Uncertain, match="The first 1 of the messages"):
        await channel(base_url=graph.url).send(part("Вот", files=(file(kind="voice"),)), tools)


async def test_up_to_three_short_answers_are_buttons(graph, tools):
    buttons = (Button("Да", "yes"), Button("Нет"))
    await channel(base_url=graph.url).send(part("Едем?", buttons=buttons), tools)
    [body] = said(graph)
    assert body["interactive"] == {
        "type": "button",
        "body": {"text": "Едем?"},
        "action": {
            "buttons": [
                {"type": "reply", "reply": {"id": "yes", "title": "Да"}},
                {"type": "reply", "reply": {"id": "Нет", "title": "Нет"}},
            ]
        },
    }


async def test_more_answers_or_longer_ones_are_a_list(graph, tools):
    buttons = tuple(Button(f"Answer number {number} of the list") for number in range(4))
    await channel(base_url=graph.url).send(part("Which?", buttons=buttons), tools)
    [body] = said(graph)
    rows = body["interactive"]["action"]["sections"][0]["rows"]
    assert (body["interactive"]["type"], len(rows)) == ("list", 4)
    assert rows[0] == {
        "id": "Answer number 0 of the list",
        "title": "Answer number 0 of the…",
        "description": "Answer number 0 of the list",
    }
    assert 0 < len(body["interactive"]["action"]["button"]) <= 20


async def test_answers_with_one_payload_get_different_ids(graph, tools):
    await channel(base_url=graph.url).send(part("?", buttons=(Button("A", "x"), Button("B", "x"))), tools)
    [body] = said(graph)
    assert [one["reply"]["id"] for one in body["interactive"]["action"]["buttons"]] == ["x", "x 2"]


async def test_too_many_answers_are_numbered_lines(graph, tools):
    buttons = tuple(Button(str(number)) for number in range(11))
    await channel(base_url=graph.url).send(part("Which?", buttons=buttons), tools)
    [body] = said(graph)
    assert body["text"]["body"].startswith("Which?\n\n1. 0\n2. 1\n")


async def test_a_picture_stands_on_top_of_its_buttons(graph, tools):
    picture = file(content_type="image/png", kind="image")
    await channel(base_url=graph.url).send(part("This?", files=(picture,), buttons=(Button("Yes"),)), tools)
    [body] = said(graph)
    assert body["interactive"]["header"] == {"type": "image", "image": {"id": "MEDIA1"}}


async def test_a_picture_with_a_list_goes_before_it(graph, tools):
    picture, buttons = file(content_type="image/png", kind="image"), tuple(Button(str(n)) for n in range(4))
    await channel(base_url=graph.url).send(part("This?", files=(picture,), buttons=buttons), tools)
    assert [body["type"] for body in said(graph)] == ["image", "interactive"]


async def test_long_words_over_buttons_go_before_the_last_of_them(graph, tools):
    text = " ".join(f"Sentence number {number}." for number in range(100))
    await channel(base_url=graph.url).send(part(text, buttons=(Button("Yes"),)), tools)
    first, last = said(graph)
    assert len(last["interactive"]["body"]["text"]) <= 1024
    assert f"{first['text']['body']} {last['interactive']['body']['text']}" == text


async def test_a_template_gets_its_values_in_order_on_one_line(graph, tools):
    template = Template("order_ready", "pt-BR", ("Вера", "two\n lines"))
    await channel(base_url=graph.url).send(part(template=template, reply_to="wamid.IN"), tools)
    [body] = said(graph)
    assert body["type"] == "template"
    assert body["template"] == {
        "name": "order_ready",
        "language": {"policy": "deterministic", "code": "pt_BR"},
        "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Вера"}, {"type": "text", "text": "two lines"}]}
        ],
    }
    assert "context" not in body


async def test_another_id_of_the_number_is_worth_telling(graph, tools):
    answer = {"contacts": [{"input": "5511987654321", "wa_id": "551187654321"}], "messages": [{"id": "w"}]}
    graph.answers("POST", f"/v25.0/{NUMBER}/messages", json=answer)
    receipt = await channel(base_url=graph.url).send(part("x", peer="5511987654321"), tools)
    assert "551187654321" in receipt.detail


async def test_a_broken_connection_leaves_it_open_whether_it_went(provider, tools):
    provider.breaks("POST", ".*")
    with pytest.raises(Uncertain):
        await channel(base_url=provider.url).send(part("x"), tools)


async def test_a_broken_upload_is_tried_again(provider, tools):
    provider.breaks("POST", ".*/media")
    with pytest.raises(Temporary):
        await channel(base_url=provider.url).send(part("x", files=(file(),)), tools)


async def test_an_answer_without_an_id_leaves_it_open(provider, tools):
    provider.answers("POST", ".*", json={"messages": []})
    with pytest.raises(Uncertain):
        await channel(base_url=provider.url).send(part("x"), tools)
    with pytest.raises(Temporary):  # the file only: nothing was sent yet
        await channel(base_url=provider.url).send(part("x", files=(file(),)), tools)


async def test_an_error_inside_an_answer_of_success_is_an_error(provider, tools):
    provider.answers("POST", ".*", json={"error": {"code": 131047, "message": "Re-engagement message"}})
    with pytest.raises(WindowClosed, match="template"):
        await channel(base_url=provider.url).send(part("x"), tools)


def test_peers_and_addresses_agree():
    built = channel()
    assert built.address_of("79161234567") == Address("whatsapp", "79161234567")
    assert built.peer_of(built.address_of("US.1234")) == "US.1234"
    assert built.peer_of(Address("phone", "+79161234567")) == "79161234567"
    assert built.peer_of(Address("email", "a@x.y")) is None
    assert Capability.START in built.sending.capabilities
    assert built.sending.addresses == ("phone",)


# --- files, templates, check ---


async def test_a_file_is_looked_up_and_fetched_with_the_token(provider, tools):
    url = f"{provider.url}/whatsapp_business/attachments/?mid=1&hash=x"
    provider.answers("GET", "/v25.0/MEDIA1", json={"url": url, "mime_type": "image/jpeg", "file_size": 5})
    provider.answers("GET", "/whatsapp_business/attachments/", body=b"BYTES", content_type="application/octet-stream")
    found = await channel(base_url=provider.url).fetch_media("MEDIA1", tools)
    assert b"".join([piece async for piece in found.chunks]) == b"BYTES"
    assert (found.content_type, found.size) == ("image/jpeg", 5)
    for asked in provider.asked:
        assert asked.headers["authorization"] == f"Bearer {SETTINGS['access_token']}"
    assert provider.asked[1].query == {"mid": "1", "hash": "x"}


@pytest.mark.parametrize(
    ("answer", "status", "meaning"),
    [
        ({"error": {"code": 100, "error_subcode": 33, "message": "does not exist"}}, 400, Undeliverable),
        ({"id": "MEDIA1"}, 200, Undeliverable),
        ({"error": {"code": 190, "message": "expired"}}, 401, Unauthorised),
        ({"error": {"code": 2, "message": "busy"}}, 500, Temporary),
    ],
)
async def test_a_file_that_cannot_be_had_says_why(provider, tools, answer, status, meaning):
    provider.answers("GET", ".*", json=answer, status=status)
    with pytest.raises(meaning):
        await channel(base_url=provider.url).fetch_media("MEDIA1", tools)


async def test_a_reference_cannot_leave_its_place(provider, tools):
    provider.answers("GET", ".*", json={})
    with pytest.raises(Undeliverable):
        await channel(base_url=provider.url).fetch_media("../me?x=1", tools)
    assert provider.asked[0].query == {}


TEMPLATES = [
    {
        "name": "order_ready",
        "language": "ru",
        "status": "APPROVED",
        "category": "UTILITY",
        "components": [{"type": "HEADER", "format": "TEXT", "text": "Hi"}, {"type": "BODY", "text": "{{1}}, готово"}],
    },
    {"name": "pending", "language": "en_US", "status": "PENDING", "components": [{"type": "BODY", "text": "x"}]},
    {"name": "film", "language": "ru", "status": "APPROVED", "components": [{"type": "HEADER", "format": "VIDEO"}]},
    {"name": "named", "language": "ru", "status": "APPROVED", "parameter_format": "NAMED", "components": []},
    {
        "name": "link",
        "language": "ru",
        "status": "approved",
        "components": [{"type": "BUTTONS", "buttons": [{"type": "URL", "url": "https://x.y/{{1}}"}]}],
    },
]


async def test_templates_are_listed_page_by_page_and_only_those_we_can_fill_are_usable(provider, tools):
    def answer(asked: Any) -> Any:
        if "after" in asked.query:
            return web.json_response({"data": TEMPLATES[1:]})
        return web.json_response({"data": TEMPLATES[:1], "paging": {"cursors": {"after": "Q"}, "next": "https://x"}})

    provider.does("GET", "/v25.0/102290129340398/message_templates", answer)
    found = await channel(base_url=provider.url).templates(tools)
    assert found[0] == KnownTemplate("order_ready", "ru", "{{1}}, готово", "utility", True)
    assert [one.is_usable for one in found] == [True, False, False, False, False]


async def test_without_the_business_account_no_templates_can_be_listed(tools):
    with pytest.raises(Misconfigured, match="Business account ID"):
        await channel(business_account_id="").templates(tools)


async def test_a_check_names_the_number(provider, tools):
    answer = {"verified_name": "Shop", "display_phone_number": "+1 555-078-3881", "quality_rating": "GREEN"}
    provider.answers("GET", f"/v25.0/{NUMBER}", json=answer)
    found = await channel(base_url=provider.url).check(tools)
    assert "+1 555-078-3881" in found.detail
    assert found.facts == {"number": "+1 555-078-3881", "name": "Shop", "quality": "GREEN"}


async def test_a_check_with_a_bad_token_says_so(provider, tools):
    provider.answers("GET", ".*", status=401, json={"error": {"code": 190, "message": "expired"}})
    with pytest.raises(Unauthorised, match="access token"):
        await channel(base_url=provider.url).check(tools)


# --- 360dialog ---


def test_360dialog_brings_the_same_events_under_its_own_account():
    own = [event for request in whatsapp_360dialog.REQUESTS for event in dialog().parse(request, CONTEXT)]
    metas = [event for request in REQUESTS for event in channel().parse(request, CONTEXT)]
    assert [(type(event), event.peer) for event in own] == [(type(event), event.peer) for event in metas]
    assert own[0].account == dialog().account == f"whatsapp_360dialog:{NUMBER}"


def test_without_the_number_s_id_all_events_are_the_hook_s_own():
    [found] = dialog(phone_number_id="").parse(whatsapp_360dialog.REQUESTS[0], CONTEXT)
    assert (found.account, dialog(phone_number_id="").account) == ("", "")


def test_360dialog_signs_nothing_but_may_have_to_carry_a_secret():
    plain = RawRequest(b"{}")
    dialog().verify(plain, NOW)
    guarded = dialog(secret="long-enough-secret")
    with pytest.raises(BadSignature):
        guarded.verify(plain, NOW)
    guarded.verify(RawRequest(b"{}", query="token=long-enough-secret"), NOW)
    guarded.verify(RawRequest(b"{}", headers={"authorization": "Bearer long-enough-secret"}), NOW)


async def test_360dialog_is_asked_with_its_key_and_without_the_number(provider):
    provider.answers("POST", "/messages", json=SENT)
    provider.answers("POST", "/media", json={"id": "MEDIA1"})
    key = whatsapp_360dialog.SETTINGS["api_key"]
    async with tools_for(provider.url, secrets=(key,)) as (made, exchanges):
        receipt = await dialog(base_url=provider.url).send(part("x", files=(file(),)), made)
    assert receipt.external_ids == ("wamid.NEW",)
    assert [asked.path for asked in provider.asked] == ["/media", "/messages"]
    assert all(asked.headers["d360-api-key"] == key for asked in provider.asked)
    assert key not in repr(exchanges)


async def test_360dialog_gives_files_at_its_own_address(provider, tools):
    provider.answers("GET", "/MEDIA1", json={"url": "https://lookaside.fbsbx.com/wa/?mid=1&ext=2"})
    provider.answers("GET", "/wa/", body=b"BYTES", content_type="image/png")
    found = await dialog(base_url=provider.url).fetch_media("MEDIA1", tools)
    assert b"".join([piece async for piece in found.chunks]) == b"BYTES"
    assert found.content_type == "image/png"
    assert (provider.asked[1].query, provider.asked[1].headers["d360-api-key"]) == (
        {"mid": "1", "ext": "2"},
        "key-of-the-number",
    )


@pytest.mark.parametrize("name", ["data", "waba_templates"])
async def test_360dialog_lists_templates_in_either_shape(provider, tools, name):
    provider.answers("GET", "/message_templates", json={name: TEMPLATES})
    assert len(await dialog(base_url=provider.url).templates(tools)) == len(TEMPLATES)


async def test_360dialog_is_told_where_to_call_us(provider, tools):
    provider.answers("POST", "/v1/configs/webhook", json={"url": tools.hook_url})
    provider.answers("GET", "/v1/configs/webhook", json={"url": tools.hook_url})
    provider.answers("GET", "/v1/configs/webhook", json={"url": "https://elsewhere.example"}, once=True)
    provider.answers("GET", "/message_templates", json={"waba_templates": []})
    built = dialog(base_url=provider.url)
    assert "another address" in (await built.check(tools)).detail
    assert "now calls" in await dialog(base_url=provider.url, secret="long-enough-secret").setup(tools)
    assert provider.asked[-1].json == {
        "url": tools.hook_url,
        "headers": {"Authorization": "Bearer long-enough-secret"},
    }
    assert "already" in await built.setup(tools)
    assert "calls this channel's hook" in (await built.check(tools)).detail
    await built.teardown(tools)


@pytest.mark.parametrize(
    ("status", "answer", "meaning"),
    [
        (401, {"meta": {"developer_message": "Invalid api key", "success": False}}, Unauthorised),
        (403, {"detail": "Forbidden"}, Unauthorised),
        (400, {"error": {"code": 131047, "message": "Re-engagement message"}}, WindowClosed),
    ],
)
async def test_360dialog_s_own_refusals_are_understood(provider, tools, status, answer, meaning):
    provider.answers("POST", "/messages", status=status, json=answer)
    with pytest.raises(meaning):
        await dialog(base_url=provider.url).send(part("x"), tools)


async def test_360dialog_without_a_way_to_set_the_webhook_is_set_up_by_hand(provider, tools):
    provider.answers("GET", "/message_templates", json={"data": []})
    built = dialog(base_url=provider.url)
    assert "takes the key" in (await built.check(tools)).detail
    with pytest.raises(Misconfigured, match="360dialog's Hub"):
        await built.setup(tools)
