from __future__ import annotations

from dataclasses import replace

import pytest

from channels import registry
from channels.contract import MANY, ParseContext
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
    WindowClosed,
)
from channels.meta import MetaApp
from core.kernel.envelopes import Incoming, Pending, Problem
from tests.channels.payloads import NOW, forms_meta, instagram, messenger, whatsapp
from tests.channels.payloads.whatsapp import signed
from tests.channels.provider import part, tools_for
from webhooks.errors import BadSignature, Malformed, NotConfigured, Refused
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
KINDS = {"whatsapp": whatsapp, "messenger": messenger, "instagram": instagram, "forms_meta": forms_meta}


def build(kind: str, **more: object) -> MetaApp:
    channel = registry.build(kind, {**KINDS[kind].SETTINGS, **more})
    assert isinstance(channel, MetaApp)
    return channel


@pytest.fixture(params=KINDS)
def app(request) -> MetaApp:
    return build(request.param)


def with_signature(body: bytes, signature: str) -> RawRequest:
    return RawRequest(body, headers={"x-hub-signature-256": signature})


def test_the_known_vector_is_genuine(app):
    signature = "sha256=5d0e5788f775eb342b54c3614d555983d0245e3125a99cee765575fc6f2446c3"
    app.verify(with_signature(b'{"object":"page","entry":[]}', signature), NOW)


ESCAPED = "sha256=e2fa06e0592af346af65b5721a89d32cfeccefe11e1a0ae14e60dd4717728ba2"
DECODED = "sha256=6c38d2b6bd64978082ca6d3352359673ad195ed91dc56525666a884521c45f02"


def test_the_bytes_are_signed_and_not_what_they_mean(app):
    escaped, letter = b'{"t":"\\u041f"}', '{"t":"П"}'.encode()
    assert len(escaped) == 14
    app.verify(with_signature(escaped, ESCAPED), NOW)
    app.verify(with_signature(letter, DECODED), NOW)
    for body, signature in ((escaped, DECODED), (letter, ESCAPED)):
        with pytest.raises(BadSignature):
            app.verify(with_signature(body, signature), NOW)


@pytest.mark.parametrize("signature", ["", "sha256=", ESCAPED.removeprefix("sha256="), "sha1=" + "0" * 40, "é" * 64])
def test_a_signature_that_is_missing_or_of_another_shape_is_refused(app, signature):
    with pytest.raises(BadSignature):
        app.verify(with_signature(b'{"t":"\\u041f"}', signature), NOW)


def test_without_an_app_secret_nothing_is_accepted():
    app = build("whatsapp", app_secret="")
    with pytest.raises(NotConfigured, match="app secret"):
        app.verify(whatsapp.REQUESTS[0], NOW)


def asking(query: str, method: str = "GET") -> RawRequest:
    return RawRequest(method=method, query=query)


def test_the_challenge_is_given_back_bare(app):
    reply = app.handshake(asking("hub.mode=subscribe&hub.verify_token=verify-me-please&hub.challenge=yarchallenge"))
    assert reply is not None
    assert (reply.status, reply.body, reply.content_type) == (200, b"yarchallenge", "text/plain")


@pytest.mark.parametrize("query", ["hub.mode=subscribe", "hub.mode=subscribe&hub.verify_token=blah&hub.challenge=1"])
def test_a_wrong_verify_token_is_refused(app, query):
    with pytest.raises(Refused, match="verify token"):
        app.handshake(asking(query))


def test_without_a_verify_token_no_challenge_is_answered():
    with pytest.raises(NotConfigured):
        build("messenger", verify_token="").handshake(asking("hub.mode=subscribe&hub.challenge=1"))


@pytest.mark.parametrize(("query", "method"), [("", "GET"), ("hub.mode=x", "GET"), ("hub.mode=subscribe", "POST")])
def test_what_is_no_challenge_is_none(app, query, method):
    assert app.handshake(asking(query, method)) is None


def test_channels_of_one_app_know_each_other_and_those_of_another_do_not():
    one, same, other = build("whatsapp"), build("messenger"), build("instagram", app_secret="another-app-secret")
    assert one.app == same.app != other.app
    assert build("whatsapp", app_secret="").app == ""


def test_a_hook_of_any_kind_reads_what_is_for_others_of_its_app(app):
    both = [
        *whatsapp.REQUESTS[:1],
        *messenger.REQUESTS[:1],
        *instagram.REQUESTS[:1],
        *forms_meta.REQUESTS[:1],
    ]
    found = [event for request in both for event in app.parse(request, CONTEXT)]
    assert [(type(event), event.account) for event in found] == [
        (Incoming, "whatsapp:106540352242922"),
        (Incoming, "messenger:1234567890"),
        (Incoming, "instagram:17841405822304914"),
        (Pending, "forms_meta:1234567890"),
    ]


@pytest.mark.parametrize(
    "document",
    [
        {"object": "notpage", "entry": [{}]},
        {"object": "page", "entry": []},
        {"object": "page", "entry": [{"id": "1"}, {"id": "1", "messaging": [{}]}, None, 3]},
        {"object": "whatsapp_business_account", "entry": [{"changes": [{"field": "novelty", "value": {}}]}]},
        {},
    ],
)
def test_what_nobody_knows_is_no_event(app, document):
    request = signed(document)
    app.verify(request, NOW)
    assert app.parse(request, CONTEXT) == []
    assert app.acknowledge(request, "r").status == 200


def test_what_is_no_object_cannot_be_read(app):
    with pytest.raises(Malformed):
        app.parse(RawRequest(b"not JSON"), CONTEXT)
    with pytest.raises(Malformed):
        app.route(RawRequest(b"[]"))


@pytest.mark.parametrize(
    ("request_", "peer"),
    [
        (whatsapp.REQUESTS[0], "79161234567"),
        (whatsapp.REQUESTS[1], MANY),
        (whatsapp.REQUESTS[2], "79161234567"),
        (whatsapp.REQUESTS[5], ""),
        (messenger.REQUESTS[0], "5678"),
        (messenger.REQUESTS[1], MANY),
        (messenger.REQUESTS[4], "5678"),
        (instagram.REQUESTS[1], "5678"),
        (forms_meta.REQUESTS[1], MANY),
    ],
)
def test_a_request_belongs_to_its_one_peer_or_to_many(request_, peer):
    assert build("messenger").route(request_).peer == peer


def test_the_same_bytes_are_a_repeat_and_others_are_not(app):
    first, second = whatsapp.REQUESTS[:2]
    assert app.route(first).dedupe_key == app.route(replace(first, headers={})).dedupe_key
    assert app.route(first).dedupe_key != app.route(second).dedupe_key


ERRORS = [
    (400, {"code": 131047, "message": "Re-engagement message"}, WindowClosed),
    (400, {"code": 10, "error_subcode": 2018278, "message": "outside of allowed window"}, WindowClosed),
    (400, {"code": 10, "error_subcode": 2534022, "message": "outside of allowed window"}, WindowClosed),
    (400, {"code": 10, "message": "Application does not have permission"}, Unauthorised),
    (401, {"code": 190, "message": "Error validating access token"}, Unauthorised),
    (400, {"code": 0, "message": "AuthException"}, Unauthorised),
    (403, {"code": 200, "message": "Requires pages_messaging"}, Unauthorised),
    (403, {"code": 131005, "message": "Access denied"}, Unauthorised),
    (400, {"code": 551, "message": "This person isn't available right now"}, RecipientGone),
    (400, {"code": 100, "error_subcode": 2018001, "message": "No matching user found"}, RecipientGone),
    (400, {"code": 131026, "message": "Message undeliverable"}, RecipientGone),
    (429, {"code": 130429, "message": "Rate limit hit"}, Throttled),
    (400, {"code": 4, "message": "Application request limit reached"}, Throttled),
    (400, {"code": 80007, "message": "Rate limit"}, Throttled),
    (400, {"code": 613, "message": "Calls to this api have exceeded the rate limit"}, Throttled),
    (400, {"code": 131048, "message": "Spam rate limit hit"}, Throttled),
    (500, {"code": 1, "message": "An unknown error occurred"}, Temporary),
    (503, {"code": 2, "message": "Service temporarily unavailable"}, Temporary),
    (400, {"code": 131016, "message": "Service unavailable"}, Temporary),
    (400, {"code": 98765, "message": "Never heard of", "is_transient": True}, Temporary),
    (400, {"code": 368, "message": "Temporarily blocked for policies violations"}, Misconfigured),
    (400, {"code": 131042, "message": "Business eligibility payment issue"}, Misconfigured),
    (400, {"code": 100, "error_subcode": 33, "message": "Unsupported post request"}, Misconfigured),
    (400, {"code": 100, "message": "Invalid parameter"}, Undeliverable),
    (400, {"code": 132001, "message": "Template does not exist"}, Undeliverable),
    (400, {"code": 131050, "message": "User opted out of marketing"}, Undeliverable),
    (403, {"code": 131999, "message": "Something new about one message"}, Undeliverable),
    (403, {"code": 77, "message": "Something new about the token"}, Unauthorised),
    (200, {"code": 131047, "message": "An error inside a 200"}, WindowClosed),
]


@pytest.mark.parametrize(("status", "error", "meaning"), ERRORS, ids=lambda value: str(value)[:40])
async def test_each_error_of_the_graph_says_what_happens_next(provider, tools, status, error, meaning):
    provider.answers("POST", ".*", status=status, json={"error": {**error, "fbtrace_id": "A"}})
    channel = build("whatsapp", base_url=provider.url)
    with pytest.raises(meaning) as raised:
        await channel.graph("POST", "1/messages", tools, json={})
    assert type(raised.value) is meaning
    assert raised.value.code.startswith(str(error["code"]))
    assert str(error["message"]) in str(raised.value)


async def test_too_much_to_one_person_makes_only_them_wait(provider, tools):
    provider.answers("POST", ".*", status=400, json={"error": {"code": 131056, "message": "pair rate limit"}})
    with pytest.raises(Temporary) as raised:
        await build("whatsapp", base_url=provider.url).graph("POST", "x", tools, json={})
    assert not isinstance(raised.value, Throttled)
    assert raised.value.retry_after == 60


async def test_retry_after_is_heeded(provider, tools):
    provider.answers("POST", ".*", status=429, json={"error": {"code": 4}}, headers={"Retry-After": "17"})
    with pytest.raises(Throttled) as raised:
        await build("messenger", base_url=provider.url).graph("POST", "x", tools, json={})
    assert raised.value.retry_after == 17


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (502, "<html>Bad gateway</html>", Temporary),
        (429, "", Throttled),
        (404, "nothing here", Undeliverable),
        (401, "{}", Unauthorised),
        (200, "fine, thank you", Uncertain),
        (200, "[]", Uncertain),
    ],
)
async def test_answers_that_are_not_the_graph_s_are_judged_by_their_status(provider, tools, status, body, meaning):
    provider.answers("POST", ".*", status=status, body=body)
    with pytest.raises(meaning):
        await build("messenger", base_url=provider.url).graph("POST", "x", tools, json={})


async def test_the_token_is_in_the_header_and_nowhere_else(provider):
    token = messenger.SETTINGS["access_token"]
    provider.answers("POST", ".*", status=400, json={"error": {"code": 190, "message": f"Bad token {token}"}})
    channel = registry.build("messenger", {**messenger.SETTINGS, "base_url": provider.url})
    async with tools_for(provider.url, secrets=(token,)) as (made, exchanges):
        with pytest.raises(Unauthorised) as raised:
            await channel.send(part("x"), made)  # type: ignore[attr-defined]
    assert provider.asked[0].headers["authorization"] == f"Bearer {token}"
    assert provider.asked[0].query == {}
    assert token not in str(raised.value)
    assert token not in repr(exchanges)
    assert exchanges


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (("account_update", {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}), "other"),
        (("account_alerts", {"alert_severity": "CRITICAL", "alert_description": "Bill unpaid"}), "other"),
        (("phone_number_quality_update", {"event": "FLAGGED", "current_limit": "TIER_1K"}), "quota"),
        (
            (
                "message_template_status_update",
                {"event": "REJECTED", "message_template_name": "hi", "message_template_language": "ru"},
            ),
            "template",
        ),
        (("message_template_quality_update", {"new_quality_score": "RED", "message_template_name": "hi"}), "template"),
        (("messages", {"errors": [{"code": 130429, "title": "Rate limit hit"}]}), "other"),
        (("messages", {"errors": [{"code": 0, "title": "We were unable to authenticate the app user"}]}), "auth"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_trouble_with_the_account_is_a_problem(event, kind):
    field, value = event
    found = build("whatsapp").parse(signed(whatsapp.document({"field": field, "value": value})), CONTEXT)
    assert [(type(one), one.kind) for one in found] == [(Problem, kind)]
    assert found[0].detail.strip()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account_update", {"event": "VERIFIED_ACCOUNT"}),
        ("phone_number_quality_update", {"event": "UPGRADE"}),
        ("message_template_status_update", {"event": "APPROVED"}),
    ],
)
def test_good_news_of_the_account_is_no_problem(field, value):
    assert build("whatsapp").parse(signed(whatsapp.document({"field": field, "value": value})), CONTEXT) == []
