"""What every channel must bear: any bytes, from anybody, in any state of repair."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels import registry
from channels.contract import Channel, ParseContext, Receiver
from core.kernel.envelopes import Incoming
from core.kernel.errors import NotFound
from webhooks.errors import WebhookError
from webhooks.request import RawRequest

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)

# For each kind: settings that work, and requests as its provider really sends them.
_FORM = {"name": "Вера", "phone": "8 (916) 123-45-67", "email": "vera@example.com", "city": "Тверь", "utm_source": "g"}
_PARTS = "".join(f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in _FORM.items())
_FILE = '--b\r\nContent-Disposition: form-data; name="f"; filename="я.pdf"\r\n\r\n%PDF\r\n--b--\r\n'
SAMPLES: dict[str, tuple[dict[str, object], list[tuple[bytes, str]]]] = {
    "webform": (
        {"allowed_origins": "https://shop.example", "redirects": "https://shop.example/thanks"},
        [
            (urlencode(_FORM).encode(), "application/x-www-form-urlencoded"),
            (urlencode(_FORM, encoding="cp1251").encode(), "application/x-www-form-urlencoded"),
            ((_PARTS + _FILE).encode(), "multipart/form-data; boundary=b"),
            (json.dumps({**_FORM, "x": [{"y": None}]}).encode(), "application/json"),
        ],
    ),
}


def receivers() -> list[str]:
    return [kind for kind in registry.KINDS if isinstance(build(kind), Receiver)]


def build(kind: str) -> Channel:
    return registry.build(kind, SAMPLES[kind][0])


def receiver(kind: str) -> Receiver:
    channel = build(kind)
    assert isinstance(channel, Receiver)
    return channel


def go_through(kind: str, request: RawRequest) -> None:
    """Do what the hub does with a request; anything but the contract's errors fails the test."""
    channel = receiver(kind)
    try:
        channel.verify(request, NOW)
        routed = channel.route(request)
    except WebhookError as refusal:
        assert str(refusal)
        str(refusal).encode()
        return
    assert routed == channel.route(request), "the same request is always routed the same"
    assert 0 < len(routed.dedupe_key) <= 255
    assert len(routed.peer) <= 255
    (routed.dedupe_key + routed.peer).encode()
    reply = channel.acknowledge(request, "r1")
    assert reply.status < 400, "what was accepted is not refused afterwards"
    assert all("\n" not in value and "\r" not in value for value in reply.headers.values())
    try:
        events = channel.parse(request, CONTEXT)
    except WebhookError as refusal:
        str(refusal).encode()
        return
    for event in events:
        assert isinstance(event, Incoming)
        written = msgspec.json.encode(event)
        assert b"\\u0000" not in written


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_kind_is_what_it_says_and_has_samples(kind):
    channel = build(kind)
    assert channel.kind == kind
    assert channel.title
    assert registry.settings_class(kind) is channel.Settings
    assert SAMPLES[kind][1] or kind not in receivers()


@pytest.mark.parametrize("kind", receivers())
def test_samples_are_understood(kind):
    channel = receiver(kind)
    for body, content_type in SAMPLES[kind][1]:
        request = RawRequest(body, headers={"content-type": content_type})
        channel.verify(request, NOW)
        assert channel.parse(request, CONTEXT)


@st.composite
def requests(draw: st.DrawFn, kind: str) -> RawRequest:
    """A real request that was cut, flipped, doubled, mixed up, or nothing like one."""
    body, content_type = draw(st.sampled_from(SAMPLES[kind][1]))
    damage = draw(st.sampled_from(["truncate", "flip", "drop", "double", "insert", "replace", "nothing"]))
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
    names = st.sampled_from(["origin", "referer", "accept", "accept-language", "user-agent", "sec-fetch-mode", "x-a"])
    values = st.text(st.characters(exclude_characters="\r\n"), max_size=30) | st.sampled_from(
        ["text/html", "navigate", "https://shop.example", "null", "https://x.example/?utm_source=%D0%AF%00"]
    )
    headers = draw(st.dictionaries(names, values, max_size=4))
    types = [None, "", "application/json", "multipart/form-data", "text/plain; charset=koi8-r", content_type]
    declared = draw(st.sampled_from([content_type, *types]))
    if declared is not None:
        headers["content-type"] = declared
    query = draw(st.text(max_size=20))
    method = draw(st.sampled_from(["POST", "GET", "PUT"]))
    client = draw(st.sampled_from(["", "::1"]))
    return RawRequest(body, method=method, headers=headers, query=query, client=client)


@pytest.mark.parametrize("kind", receivers())
@settings(max_examples=300, deadline=None)
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
    body = unit * (2_000_000 // len(unit))
    for _, content_type in SAMPLES[kind][1]:
        go_through(kind, RawRequest(body, headers={"content-type": content_type}))
    head, content_type = SAMPLES[kind][1][0]
    go_through(kind, RawRequest(head + body, headers={"content-type": content_type}))


@pytest.mark.parametrize("kind", receivers())
def test_reading_twice_gives_the_same(kind):
    for body, content_type in SAMPLES[kind][1]:
        request = RawRequest(body, headers={"content-type": content_type})
        again = RawRequest(bytes(bytearray(body)), headers={"content-type": content_type})
        assert list(receiver(kind).parse(request, CONTEXT)) == list(receiver(kind).parse(again, CONTEXT))


def test_an_unknown_kind_is_not_found():
    with pytest.raises(NotFound, match="webform"):
        registry.channel_class("carrier-pigeon")


def test_naming_the_kinds_imports_no_channel():
    code = (
        "import sys, channels.registry as r; list(r.KINDS);"
        "print(sorted(m for m in sys.modules if m.startswith('channels.')))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['channels.contract', 'channels.registry']"
