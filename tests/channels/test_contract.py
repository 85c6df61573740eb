"""What every channel must bear: any bytes, from anybody, in any state of repair."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from channels import registry
from channels.contract import Channel, ParseContext, Receiver, Sender, Unit
from core.kernel.envelopes import Event, Incoming
from core.kernel.errors import NotFound
from hub.connections import split_secrets
from tests.channels.payloads import NOW
from webhooks.errors import BadSignature, WebhookError
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)


def payloads(kind: str) -> Any:
    return import_module(f"tests.channels.payloads.{kind}")


def build(kind: str) -> Channel:
    return registry.build(kind, payloads(kind).SETTINGS)


def receivers() -> list[str]:
    return [kind for kind in registry.KINDS if isinstance(build(kind), Receiver)]


def senders() -> list[str]:
    return [kind for kind in registry.KINDS if isinstance(build(kind), Sender)]


def receiver(kind: str) -> Receiver:
    channel = build(kind)
    assert isinstance(channel, Receiver)
    return channel


def go_through(kind: str, request: RawRequest) -> None:
    """Do what the hub does with a request, and read it even where it was refused: anything but the contract's errors
    fails the test.
    """
    channel = receiver(kind)
    greet = getattr(channel, "handshake", None)
    for step in (greet, lambda asked: channel.verify(asked, NOW)):
        try:
            if step is not None:
                step(request)
        except WebhookError as refusal:
            assert str(refusal)
            str(refusal).encode()
    try:
        routed = channel.route(request)
    except WebhookError as refusal:
        str(refusal).encode()
    else:
        assert routed == channel.route(request), "the same request is always routed the same"
        assert 0 < len(routed.dedupe_key) <= 255
        assert len(routed.peer) <= 255
        (routed.dedupe_key + routed.peer).encode()
        assert "\x00" not in routed.dedupe_key + routed.peer
    try:
        reply = channel.acknowledge(request, "r1")
    except WebhookError as refusal:
        str(refusal).encode()
    else:
        assert reply.status < 400, "what was accepted is not refused afterwards"
        assert all("\n" not in value and "\r" not in value for value in reply.headers.values())
    try:
        events = channel.parse(request, CONTEXT)
    except WebhookError as refusal:
        str(refusal).encode()
        return
    for event in events:
        assert isinstance(event, Event)
        assert b"\\u0000" not in msgspec.json.encode(event)
        assert event.occurred_at is None or event.occurred_at.tzinfo is not None
        if isinstance(event, Incoming):
            assert len(event.external_id) <= 255
            assert not any(claim.address.value == "" for claim in event.claims)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_kind_is_what_it_says_and_has_samples(kind):
    channel = build(kind)
    assert channel.kind == kind
    assert channel.title
    assert channel.group in ("form", "chat", "messenger", "sms", "email", "telephony", "desk")
    assert channel.account == "" or ":" in channel.account
    assert registry.settings_class(kind) is channel.Settings
    assert payloads(kind).REQUESTS or kind not in receivers()


@pytest.mark.parametrize("kind", registry.KINDS)
def test_settings_say_what_they_are_to_whoever_fills_them_in(kind):
    for name, field in registry.settings_class(kind).model_fields.items():
        assert field.title, f"{kind}.{name} has no title"
        assert name == name.lower()


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_secret_is_sealed_and_never_printed(kind):
    given = payloads(kind).SETTINGS
    channel_settings = registry.settings_class(kind)
    plain, secret = split_secrets(kind, given)
    for name, field in channel_settings.model_fields.items():
        is_secret = "SecretStr" in str(field.annotation)
        assert (name in secret) == is_secret
        assert not (is_secret and name in plain)
    checked = channel_settings.model_validate(given)
    shown = f"{checked!r} {checked} {checked.model_dump()} {checked.model_dump_json()} {build(kind)!r}"
    for name in secret:
        value = getattr(checked, name)
        assert isinstance(value, SecretStr)
        if len(value.get_secret_value()) > 4:
            assert value.get_secret_value() not in shown


@pytest.mark.parametrize("kind", receivers())
def test_samples_are_genuine_and_understood(kind):
    channel = receiver(kind)
    understood = 0
    for request in payloads(kind).REQUESTS:
        channel.verify(request, NOW)
        channel.route(request)
        assert channel.acknowledge(request, "r1").status < 300
        understood += bool(channel.parse(request, CONTEXT))
    assert understood, "of all samples some say something"


@pytest.mark.parametrize("kind", senders())
def test_what_can_be_sent_is_declared(kind):
    channel = build(kind)
    assert isinstance(channel, Sender)
    sending = channel.sending
    assert sending.text > 0
    assert sending.unit in Unit
    assert 0 <= sending.caption <= sending.text
    assert sending.album >= 1
    assert all(rule.most_bytes > 0 for rule in sending.media.values())
    assert sending.per_second >= 0 and sending.per_peer >= 0


@pytest.mark.parametrize("kind", [kind for kind in senders() if build(kind).group == "sms"])
def test_how_fast_an_sms_account_may_send_is_a_setting(kind):
    settings = registry.settings_class(kind)
    usual = build(kind).sending.per_second
    assert usual == settings.model_fields["per_second"].default > 0
    channel = registry.channel_class(kind)(settings.model_validate({**payloads(kind).SETTINGS, "per_second": 100}))
    assert channel.sending.per_second == 100
    assert build(kind).sending.per_second == usual


@st.composite
def requests(draw: st.DrawFn, kind: str) -> RawRequest:
    """A real request that was cut, flipped, doubled, mixed up, or nothing like one."""
    sample: RawRequest = draw(st.sampled_from(payloads(kind).REQUESTS))
    place = draw(st.sampled_from(["body", "query"])) if sample.query else "body"
    body = sample.body if place == "body" else sample.query.encode()
    damage = draw(st.sampled_from(["truncate", "flip", "drop", "double", "insert", "replace", "swap", "nothing"]))
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 60)))
    if damage == "truncate":
        body = body[:start]
    elif damage == "flip" and start < len(body):
        body = body[:start] + bytes([body[start] ^ (1 << draw(st.integers(0, 7)))]) + body[start + 1 :]
    elif damage == "drop":
        body = body[:start] + body[end:]
    elif damage == "double":
        body = body[:end] + body[start:]
    elif damage == "insert":
        body = body[:start] + draw(st.binary(max_size=20)) + body[start:]
    elif damage == "replace":
        body = draw(st.binary(max_size=100))
    elif damage == "swap":
        body = _with_odd_values(draw, body)
    names = st.sampled_from(["origin", "referer", "accept", "accept-language", "user-agent", "authorization", "x-a"])
    values = st.text(st.characters(exclude_characters="\r\n"), max_size=30) | st.sampled_from(
        [
            "text/html",
            "Basic 0",
            "Bearer a.b.c",
            "https://shop.example",
            "null",
            "https://x.example/?utm_source=%D0%AF%00",
        ]
    )
    headers = {**sample.headers, **draw(st.dictionaries(names, values, max_size=3))}
    for name in draw(st.lists(st.sampled_from([*headers, "none"]), max_size=2)):
        if damage == "nothing":
            headers[name] = draw(values)
        else:
            headers.pop(name, None)
    declared = draw(
        st.sampled_from([None, "", "application/json", "multipart/form-data", "text/plain; charset=koi8-r"])
    )
    if declared is not None:
        headers["content-type"] = declared
    method = draw(st.sampled_from([sample.method, sample.method, "POST", "GET", "PUT"]))
    client = draw(st.sampled_from(["", "::1"]))
    if place == "query":
        return replace(sample, query=body.decode("latin-1"), method=method, headers=headers, client=client)
    query = draw(st.sampled_from([sample.query, ""]) | st.text(max_size=20))
    return replace(sample, body=body, method=method, headers=headers, query=query, client=client)


_ODD = [
    None,
    True,
    -1,
    0,
    2**63,
    2**70,
    1e308,
    "",
    "\x00",
    "😀" * 300,
    [],
    {},
    [None],
    [[]],
    {"id": None},
    ["a", 1, {}],
]


def _with_odd_values(draw: st.DrawFn, body: bytes) -> bytes:
    """Put something of another type at some place of a JSON document, or drop it; other bodies stay as they are."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    found = document
    for _ in range(draw(st.integers(1, 9))):
        if not isinstance(found, dict | list) or not found:
            break
        step = draw(st.sampled_from(list(found) if isinstance(found, dict) else list(range(len(found)))))
        if draw(st.integers(0, 3)) == 0 or not isinstance(found[step], dict | list) or not found[step]:
            if draw(st.booleans()) and isinstance(found, dict):
                del found[step]
            else:
                found[step] = draw(st.sampled_from(_ODD))
            break
        found = found[step]
    return msgspec.json.encode(document)


@pytest.mark.parametrize("kind", receivers())
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_requests_raise_only_the_contract_s_errors(kind, data):
    go_through(kind, data.draw(requests(kind)))


@pytest.mark.parametrize("kind", receivers())
@pytest.mark.parametrize(
    "unit",
    [
        b"\x00",
        b"\xff",
        b"[",
        b'{"a":',
        b"&",
        b"a=1&",
        b"%",
        b"9",
        b"\r\n--b",
        b"--b\r\n",
        b"--b\n",
        b"a=\n",
        b"@",
        b"_",
        b"\xcf ",
    ],
)
def test_huge_requests_raise_only_the_contract_s_errors(kind, unit):
    body = unit * (1_000_000 // len(unit))
    first = payloads(kind).REQUESTS[0]
    go_through(kind, replace(first, body=body))
    go_through(kind, replace(first, body=first.body + body))


@pytest.mark.parametrize("kind", receivers())
def test_reading_twice_gives_the_same(kind):
    for request in payloads(kind).REQUESTS:
        again = replace(request, body=bytes(bytearray(request.body)))
        assert list(receiver(kind).parse(request, CONTEXT)) == list(build(kind).parse(again, CONTEXT))


@pytest.mark.parametrize("kind", [kind for kind in receivers() if getattr(payloads(kind), "IS_SIGNED", False)])
def test_what_was_forged_is_refused(kind):
    """A signature over other bytes, and none at all. Kinds that sign say so with IS_SIGNED."""
    for request in payloads(kind).REQUESTS:
        if request.body:
            with pytest.raises(BadSignature):
                receiver(kind).verify(replace(request, body=request.body + b" "), NOW)
        with pytest.raises(WebhookError):
            receiver(kind).verify(replace(request, headers={"content-type": request.content_type}, query=""), NOW)


def test_an_unknown_kind_is_not_found():
    with pytest.raises(NotFound, match="webform"):
        registry.channel_class("carrier-pigeon")


def test_naming_the_kinds_imports_no_channel():
    code = (
        "import sys, channels.registry as r; list(r.KINDS);"
        "print(sorted(m for m in sys.modules if m.startswith('channels.')))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['channels.contract', 'channels.errors', 'channels.http', 'channels.registry']"
