from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import sms
from channels.contract import ParseContext
from channels.errors import Undeliverable
from core.kernel.addresses import Address
from tests.channels.payloads import NOW
from tests.channels.provider import file, part
from webhooks.errors import Malformed
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)


@pytest.mark.parametrize(
    ("raw", "country", "is_international", "address"),
    [
        ("79161234567", "", True, ("phone", "+79161234567")),
        ("+7 916 123-45-67", "", True, ("phone", "+79161234567")),
        ("37491123456", "RU", True, ("phone", "+37491123456")),
        ("38640123456", "EE", True, ("phone", "+38640123456")),
        ("89161234567", "RU", False, ("phone", "+79161234567")),
        ("0501234567", "UA", False, ("phone", "+380501234567")),
        ("+37255512345", "RU", False, ("phone", "+37255512345")),
        ("2020", "RU", True, ("sms_sender", "2020")),
        ("900", "RU", False, ("sms_sender", "900")),
        ("MyBank", "RU", True, ("sms_sender", "MyBank")),
        ("Tele2 8800", "RU", True, ("sms_sender", "Tele2 8800")),
        ("1-800-FLOWERS", "US", True, ("sms_sender", "1-800-FLOWERS")),
        ("+999999999999999", "RU", True, ("sms_sender", "+999999999999999")),
        ("  ", "RU", True, None),
        ("", "RU", True, None),
    ],
)
def test_a_sender_is_a_phone_a_short_code_or_a_name(raw, country, is_international, address):
    assert sms.sender(raw, country, is_international=is_international) == address


@given(st.text(max_size=80))
def test_any_sender_is_an_address_that_its_peer_gives_again(raw):
    found = sms.sender(raw, "RU")
    if found is not None:
        assert found.value
        assert sms.SmsPeers().address_of(found.value) == found


def test_numbers_and_short_codes_can_be_written_to_and_names_cannot():
    peers = sms.SmsPeers()
    assert peers.peer_of(Address("phone", "+79161234567")) == "+79161234567"
    assert peers.peer_of(Address("sms_sender", "2020")) == "2020"
    assert peers.peer_of(Address("sms_sender", "MyBank")) is None
    assert peers.peer_of(Address("email", "vera@example.com")) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("+79161234567", "7 (916) 123-45-67", True), ("MyBank", " MyBank ", True), ("2020", "2021", False)],
)
def test_spellings_of_one_sender_keep_their_order_together(one, other, same):
    assert (sms.peer_key(one) == sms.peer_key(other)) == same


def test_a_stop_in_a_piece_of_a_longer_text_is_none():
    whole = sms.received("79161234567", "stop", CONTEXT, external_id="1")
    piece = sms.received("79161234567", "stop", CONTEXT, external_id="1", group="concat:1", piece=("1", "2"))
    assert [type(event).__name__ for event in whole] == ["Incoming", "Signal"]
    assert [type(event).__name__ for event in piece] == ["Incoming"]


def test_a_stop_from_nobody_is_no_signal():
    assert [type(event).__name__ for event in sms.received("", "stop", CONTEXT, external_id="1")] == ["Incoming"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (RawRequest(b"a=1&b=%D1%8F+x&a=2", query="q=0"), [("q", "0"), ("a", "1"), ("b", "я x"), ("a", "2")]),
        (RawRequest(b'{"a": 1, "b": null, "c": [1], "d": "x"}'), [("a", "1"), ("b", ""), ("c", ""), ("d", "x")]),
        (RawRequest(b" "), []),
    ],
)
def test_fields_are_read_as_they_were_sent(request_, expected):
    assert sms.parameters(request_) == expected


@pytest.mark.parametrize("body", [b"&".join([b"a=1"] * 501), b'{"a"', b"{" * 100_000])
def test_what_cannot_be_read_is_malformed(body):
    with pytest.raises(Malformed):
        sms.parameters(RawRequest(body))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2026-11-20 09:00:00", 0),
        ("2026-11-20T12:00:00+03:00", 0),
        ("2026-11-20T12:00:00 03:00", 0),  # a plus that was not escaped
        ("1795165200", 0),
        ("1795165200000", 0),
        ("yesterday", None),
        ("", None),
    ],
)
def test_moments_are_read_in_every_way_they_are_written(written, seconds):
    found = sms.Said([("When", written)]).moment("when")
    assert (found - NOW).total_seconds() == seconds if found else seconds is None


@pytest.mark.parametrize(
    ("written", "shown"), [("2611200859", "2026-11-20T08:59"), ("261120085930", "2026-11-20T08:59")]
)
def test_short_moments_of_networks_are_read(written, shown):
    found = sms.short_moment(written)
    assert found is not None
    assert found.isoformat().startswith(shown)


@pytest.mark.parametrize("written", ["", "soon", "9999999999", "26112"])
def test_short_moments_that_are_none_are_none(written):
    assert sms.short_moment(written) is None


def test_an_sms_says_something():
    assert sms.words(part("“Да”")) == "“Да”"
    assert sms.words(part("“Yes”", files=(file(),)), with_links=True) == '"Yes"\nhttps://hub.example/files/abc'
    with pytest.raises(Undeliverable, match="nothing to send"):
        sms.words(part(" "))
