from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from channels import registry
from channels.contract import ParseContext
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from core.kernel.envelopes import Incoming, Status
from tests.channels.payloads import NOW
from tests.channels.payloads import sms_smsc as payloads
from tests.channels.payloads.sms_smsc import DELIVERED, TEXT, posted
from tests.channels.provider import file, part, tools_for
from webhooks.errors import BadSignature

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)


def channel(**settings: Any) -> Any:
    return registry.build("sms_smsc", {**payloads.SETTINGS, **settings})


def read(form: dict[str, str], **more: str) -> list[Any]:
    return list(channel().parse(posted(form, **more), CONTEXT))


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_without_secrets_the_address_is_the_secret_and_with_one_it_has_to_come_along():
    channel().verify(posted(TEXT), NOW)
    guarded = channel(secret="s3cr3t-t0ken")
    guarded.verify(replace(posted(TEXT), query="token=s3cr3t-t0ken"), NOW)
    with pytest.raises(BadSignature):
        guarded.verify(posted(TEXT), NOW)


@pytest.mark.parametrize(
    ("form", "text"),
    [(DELIVERED, "77:79161234567:1:handler"), (TEXT, f"79161234567:{TEXT['mes']}:79167654321:handler")],
)
def test_with_a_handler_s_password_the_md5_is_checked(form, text):
    guarded = channel(callback_secret="handler")
    guarded.verify(posted({**form, "md5": md5(text).upper()}), NOW)
    for wrong in ({**form, "md5": md5("other")}, form, {**form, "phone": "7", "md5": md5(text)}):
        with pytest.raises(BadSignature):
            guarded.verify(posted(wrong), NOW)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_a_message_is_read_in_either_charset(encoding):
    (event,) = read(TEXT, encoding=encoding)
    assert isinstance(event, Incoming)
    assert (event.external_id, event.text, event.peer) == ("1048576", "Когда откроетесь? Ёлки нужны", "+79161234567")
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 29, tzinfo=UTC)


def test_a_stop_is_a_signal_as_well():
    assert [type(event).__name__ for event in read({**TEXT, "mes": "Стоп"})] == ["Incoming", "Signal"]


@pytest.mark.parametrize(
    ("state", "err", "expected"),
    [
        ("-1", "0", ("sent", "", True, False)),
        ("0", "0", ("sent", "", True, False)),
        ("1", "0", ("delivered", "", True, False)),
        ("2", "0", ("read", "", True, False)),
        ("3", "0", ("failed", "3", False, False)),
        ("20", "6", ("failed", "6", True, False)),
        ("22", "0", ("failed", "22", True, True)),
    ],
)
def test_reports_become_states(state, err, expected):
    (event,) = read({**DELIVERED, "status": state, "err": err})
    assert isinstance(event, Status)
    assert (event.status, event.error_code, event.is_final, event.is_dead) == expected
    assert (event.external_id, event.peer) == ("77", "+79161234567")
    assert event.occurred_at == datetime(2026, 11, 20, 8, 59, 41, tzinfo=UTC)


@pytest.mark.parametrize("form", [{"a": "b"}, {"id": "1", "status": "-3"}, {"status": "1"}, {"mes": "x"}])
def test_what_says_nothing_makes_no_event(form):
    assert read(form) == []


def test_every_phone_s_state_is_a_request_of_its_own():
    keys = {
        channel().route(posted({**DELIVERED, **change})).dedupe_key for change in ({}, {"phone": "7"}, {"status": "2"})
    }
    assert len(keys) == 3


async def test_a_text_goes_in_utf_8(provider, tools):
    provider.answers("POST", "/sys/send.php", json={"id": 77, "cnt": 2})
    receipt = await channel(base_url=provider.url).send(part("Ждём!", peer="+79161234567", files=(file(),)), tools)
    assert receipt.external_ids == ("77",)
    assert provider.asked[0].form == {
        "login": "shop",
        "psw": "pa55w0rd-smsc",
        "phones": "79161234567",
        "mes": "Ждём!\nhttps://hub.example/files/abc",
        "charset": "utf-8",
        "fmt": "3",
        "sender": "SHOP",
    }


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (1, Undeliverable),
        (2, Unauthorised),
        (3, Misconfigured),
        (4, Misconfigured),
        (6, Undeliverable),
        (7, RecipientGone),
        (8, Undeliverable),
        (9, Throttled),
        (10, Temporary),
    ],
)
async def test_an_error_inside_a_success_says_what_happens_next(provider, tools, code, error):
    provider.answers("POST", "/sys/send.php", json={"error": "why", "error_code": code})
    with pytest.raises(error, match="why") as raised:
        await channel(base_url=provider.url).send(part("x", peer="+79161234567"), tools)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(503, "", Temporary), (429, "", Throttled), (200, "<html>", Uncertain), (200, "{}", Uncertain)],
)
async def test_other_answers(provider, tools, status, body, error):
    provider.answers("POST", "/sys/send.php", status=status, body=body, headers={"Retry-After": "2"})
    with pytest.raises(error) as raised:
        await channel(base_url=provider.url).send(part("x", peer="+79161234567"), tools)
    assert status != 429 or raised.value.retry_after == 2


async def test_a_cut_connection_leaves_it_uncertain_and_no_secret_is_noted(provider):
    provider.breaks("POST", "/sys/send.php")
    provider.answers("POST", "/sys/balance.php", json={"balance": "100.50", "currency": "RUR"})
    async with tools_for(provider.url, secrets=("pa55w0rd-smsc",)) as (tools, exchanges):
        with pytest.raises(Uncertain):
            await channel(base_url=provider.url).send(part("x", peer="+79161234567"), tools)
        assert (await channel(base_url=provider.url).check(tools)).facts == {"balance": "100.50 RUR"}
    assert len(exchanges) == 2
    assert "pa55w0rd-smsc" not in repr(exchanges)


async def test_a_check_says_what_is_wrong(provider, tools):
    provider.answers("POST", "/sys/balance.php", json={"error": "authorise error", "error_code": 2})
    with pytest.raises(Unauthorised, match="password"):
        await channel(base_url=provider.url).check(tools)
