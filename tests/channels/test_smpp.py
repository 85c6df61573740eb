from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from channels import smpp_units
from channels.contract import Item, ParseContext, Tools
from channels.errors import (
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.smpp import Smpp
from channels.smpp_ids import Ids
from core.kernel.addresses import Address
from core.kernel.envelopes import Incoming, Signal, Status
from tests.channels.payloads import NOW
from tests.channels.payloads.smpp import SETTINGS, brought, receipt
from tests.channels.provider import part, tools_for
from tests.peers import certificates
from tests.peers import smsc as smscs
from tests.peers.smsc import Smsc
from webhooks.errors import Malformed, Refused
from webhooks.request import RawRequest

CONTEXT = ParseContext("RU", "Europe/Moscow", NOW)
SMPP = Smpp(Smpp.Settings(**SETTINGS))
PEER = "+79160000001"
DELIVERED = (
    "id:{id} sub:001 dlvrd:001 submit date:2611200900 done date:2611200901 stat:DELIVRD err:000 text:stat:REJECTD"
)


def read(request, channel=SMPP):
    return list(channel.parse(request, CONTEXT))


def ucs2(text):
    return text.encode("utf-16-be").hex()


# --- reading ---


def test_a_message_is_from_a_phone_its_network_vouches_for():
    (event,) = read(brought(text="Hello", data="48656c6c6f"))
    assert isinstance(event, Incoming)
    assert (event.text, event.peer, event.external_id) == ("Hello", "+79161234567", "")
    assert event.claims[0].address == Address("phone", "+79161234567")
    assert event.claims[0].trust == "attested"
    assert SMPP.address_of(event.peer) == event.claims[0].address
    assert SMPP.peer_of(event.claims[0].address) == event.peer


@pytest.mark.parametrize(
    ("source", "kind", "scheme", "value"),
    [
        ("79161234567", 0, "phone", "+79161234567"),
        ("9161234567", 2, "phone", "+79161234567"),
        ("7000", 3, "sms_sender", "7000"),
        ("MyBank", 5, "sms_sender", "MyBank"),
    ],
)
def test_senders_are_numbers_short_codes_and_names(source, kind, scheme, value):
    (event,) = read(brought(source=source, source_kind=kind, text="x", data="78"))
    assert event.claims[0].address == Address(scheme, value)


@pytest.mark.parametrize(
    ("data", "coding", "text"),
    [
        ("1b651b3c1b3e40", 0, "€[]¡"),
        ("e9", 3, "é"),
        ("48692041", 1, "Hi A"),
        (ucs2("Привет 👍"), 8, "Привет 👍"),
        ("bfe0d8", 6, "При"),
        (ucs2("Вспышка"), 0x18, "Вспышка"),
        ("1b65", 0xF0, "€"),
        ("0102ff", 4, "(3 bytes: 01 02 ff)"),
        ("0102ff", 0xF5, "(3 bytes: 01 02 ff)"),
        ("d8", 8, "\ufffd"),
    ],
)
def test_every_data_coding_is_read(data, coding, text):
    (event,) = read(brought(text="?", data=data, data_coding=coding))
    assert event.text == text


def test_the_default_alphabet_is_the_settings():
    latin = Smpp(Smpp.Settings(**SETTINGS, encoding="latin1"))
    (event,) = read(brought(text="?", data="40e9"), latin)
    assert event.text == "@é"
    (event,) = read(brought(text="?", data="40e9"))
    assert event.text != "@é"


def test_a_stop_is_a_message_and_a_signal():
    message, signal = read(brought(text="STOP", data="53544f50"))
    assert isinstance(message, Incoming)
    assert isinstance(signal, Signal)
    assert (signal.kind, signal.peer) == ("opted_out", "+79161234567")


def test_parts_of_a_long_message_share_their_group():
    def a_part(number, **more):
        joining = {"reference": 7, "part": number, "parts": 2}
        return brought(text=f"часть {number}", data=ucs2(f"часть {number}"), data_coding=8, joining=joining, **more)

    (first,), (second,), (other,) = (
        read(request) for request in (a_part(1), a_part(2), a_part(1, source="7916765432"))
    )
    assert first.group == second.group != other.group
    assert (first.context["concat_part"], second.context["concat_part"]) == ("1", "2")
    assert SMPP.route(a_part(1)).dedupe_key != SMPP.route(a_part(2)).dedupe_key
    assert SMPP.route(a_part(1)).peer == SMPP.route(a_part(2)).peer


def test_a_delivery_that_comes_again_is_a_repeat_for_a_while():
    routed = SMPP.route(brought(text="Да", data=ucs2("Да"), data_coding=8))
    assert routed == SMPP.route(brought(text="Да", data=ucs2("Да"), data_coding=8))
    assert routed.repeat_within is not None
    assert 60 <= routed.repeat_within.total_seconds() <= 300
    assert SMPP.route(receipt("m-1")).repeat_within is None


@pytest.mark.parametrize(
    ("state", "status"),
    [(1, "sent"), (2, "delivered"), (3, "failed"), (4, "failed"), (5, "failed"), (6, "sent"), (8, "failed")],
)
def test_a_receipt_is_a_status(state, status):
    (event,) = read(receipt("m-1", state, error="011"))
    assert isinstance(event, Status)
    assert (event.external_id, event.status, event.peer) == ("m-1", status, "+79161234567")
    assert (event.error_code, bool(event.error_text)) == (("011", True) if status == "failed" else ("", False))


@pytest.mark.parametrize("state", [0, 7, 99])
def test_a_receipt_that_knows_nothing_says_nothing(state):
    assert read(receipt("m-1", state)) == []


def test_a_message_that_cannot_be_read_is_kept_for_somebody_to_look_at():
    with pytest.raises(Malformed, match="00ff"):
        read(brought(source="", text="", unreadable="00ff"))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_is_taken_by_http(method):
    SMPP.verify(brought(text="x"), NOW)
    with pytest.raises(Refused):
        SMPP.verify(RawRequest(brought(text="x").body, method=method), NOW)


# --- units ---


def deliver_sm(data, *, esm_class=0, coding=0, parameters=b""):
    start = b"\0" + b"\1\1" + b"79161234567\0" + b"\0\1" + b"7000\0"
    rest = bytes((esm_class, 0, 0)) + b"\0\0" + bytes((0, 0, coding, 0, len(data))) + data + parameters
    return smpp_units.Unit(smpp_units.Command.DELIVER_SM, 0, 1, start + rest)


def parameter(tag, value):
    return tag.to_bytes(2) + len(value).to_bytes(2) + value


@pytest.mark.parametrize(
    ("unit", "joining", "data"),
    [
        (deliver_sm(b"\5\0\3\7\2\1Hi", esm_class=0x40), (7, 1, 2), b"Hi"),
        (deliver_sm(b"\6\x08\4\1\2\3\2Hi", esm_class=0x40), (0x102, 2, 3), b"Hi"),
        (deliver_sm(b"\x0b\5\4\0\0\0\0\0\3\7\2\1Hi", esm_class=0x40), (7, 1, 2), b"Hi"),
        (deliver_sm(b"\5\0\3\7\1\1Hi", esm_class=0x40), None, b"Hi"),
        (deliver_sm(b"\5\0\3\7\2\3Hi", esm_class=0x40), None, b"Hi"),
        (deliver_sm(b"\xff\0", esm_class=0x40), None, b""),
        (
            deliver_sm(b"Hi", parameters=parameter(0x20C, b"\0\7") + parameter(0x20E, b"\2") + parameter(0x20F, b"\1")),
            (7, 1, 2),
            b"Hi",
        ),
        (deliver_sm(b"", parameters=parameter(0x424, b"long")), None, b"long"),
        (deliver_sm(b"Hi", parameters=b"\4\x24\0\xff"), None, b"Hi"),
    ],
    ids=["8 bit", "16 bit", "with ports", "alone", "beyond", "broken", "sar", "payload", "cut parameter"],
)
def test_parts_are_told_by_their_header_or_parameters(unit, joining, data):
    found = smpp_units.delivered(unit)
    assert (found.joining, found.data) == (joining, data)


@pytest.mark.parametrize("length", [0, 1, 5, 20, 30])
def test_a_unit_that_is_cut_short_is_unreadable(length):
    unit = deliver_sm(b"Hello")
    with pytest.raises(smpp_units.Unreadable):
        smpp_units.delivered(unit._replace(body=unit.body[:length]))


@pytest.mark.parametrize(
    ("text", "parameters", "told"),
    [
        (b"id:0A1F sub:001 dlvrd:001 stat:DELIVRD err:00A text:stat:EXPIRED id:9", b"", ("0A1F", 2, "00A")),
        (b"stat:UNDELIV id:5 err:011", b"", ("5", 5, "011")),
        (b"ID:5 STAT:undeliverable", b"", ("5", 5, "")),
        (b"", parameter(0x1E, b"77\0") + parameter(0x427, b"\2"), ("77", 2, "")),
        (b"id:5 stat:ENROUTE", parameter(0x1E, b"77\0") + parameter(0x427, b"\x08"), ("77", 8, "")),
        (b"", parameter(0x1E, b"77\0") + parameter(0x427, b"\5") + parameter(0x423, b"\3\0\x0b"), ("77", 5, "11")),
        (b"nonsense", b"", ("", 0, "")),
    ],
)
def test_a_receipt_is_read_from_its_parameters_or_its_text(text, parameters, told):
    found = smpp_units.delivered(deliver_sm(text, esm_class=4, parameters=parameters))
    assert found.is_receipt
    assert smpp_units.told(found) == told


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("+79161234567", b"\1\x0179161234567\0"),
        ("79161234567", b"\1\x0179161234567\0"),
        ("7000", b"\0\x017000\0"),
        ("MyShop", b"\5\0MyShop\0"),
        ("", b"\0\0\0"),
    ],
)
def test_addresses_carry_their_type_and_plan(address, written):
    assert written in smpp_units.submit(address, "+7", b"x", 0, has_header=False)


@pytest.mark.parametrize("text", ["€" * 100, "€[x]", "Ω" * 71])
def test_what_latin_1_lacks_goes_as_ucs_2(text):
    pieces, coding = smpp_units.pieces(text, "latin1")
    assert coding == 8
    assert b"".join(pieces).decode("utf-16-be") == text
    assert all(len(piece) <= (140 if len(pieces) == 1 else 134) for piece in pieces)


# --- ids ---


@pytest.mark.parametrize(
    ("answered", "reported"),
    [("1A2B", "6699"), ("6699", "1a2b"), ("000012", "12"), ("M-7", "m-7"), ("0x", "0X"), ("00000000001A2B", "6699")],
)
def test_an_id_is_recognised_in_every_spelling(answered, reported):
    ids = Ids()
    kept = ids.sent(answered)
    assert ids.knows(reported)
    assert ids.named(reported) == [kept]


def test_what_was_learned_of_the_spelling_is_kept_for_the_next_process():
    ids = Ids()
    ids.sent("1A2B")
    ids.named("6699")
    after = Ids()
    after.recall(ids.learned() or {})
    assert after.named("16") == ["10"]


def test_while_nothing_is_learned_every_reading_is_offered():
    assert Ids().named("16") == ["16", "10", "22"]
    assert Ids().named("m-16") == ["m-16"]
    assert Ids().named("") == []
    assert Ids().learned() is None


# --- over a real line ---


@pytest.fixture(scope="module")
def server() -> Iterator[Smsc]:
    with smscs.running() as running:
        yield running


@pytest.fixture
def centre(server: Smsc) -> Smsc:
    server.forget()
    return server


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    async with tools_for("http://127.0.0.1:1") as (made, _):
        yield made


@dataclass
class Kept:
    """What the hub would do for a listener."""

    tools: Any = None
    cursor: Mapping[str, Any] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    refuses: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        if self.refuses:
            raise RuntimeError("the database is away")
        async with self.changed:
            self.items += items
            self.cursor = cursor if cursor is not None else self.cursor
            self.changed.notify_all()

    def is_well(self, detail: str = "") -> None:
        self.said.append("well")
        asyncio.get_running_loop().create_task(self._tell())

    def is_ill(self, detail: str) -> None:
        self.said.append(detail)
        asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)

    async def events(self, count: int, channel: Smpp = SMPP) -> list[Any]:
        await self.until(lambda: len(self.items) >= count)
        return [event for item in self.items for event in channel.parse(item.request, CONTEXT)]


def channel_to(centre: Smsc, **settings: Any) -> Smpp:
    given = {**SETTINGS, "port": centre.port, "password": smscs.PASSWORD, **settings}
    return Smpp(Smpp.Settings(**given))


@asynccontextmanager
async def listening(channel: Smpp, **more: Any) -> AsyncIterator[Kept]:
    kept = Kept(**more)
    running = asyncio.create_task(channel.run(kept))
    try:
        bound = asyncio.create_task(kept.until(lambda: "well" in kept.said))
        await asyncio.wait([running, bound], return_when=asyncio.FIRST_COMPLETED)
        bound.cancel()
        if running.done():
            running.result()
        yield kept
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def submitted(centre: Smsc, count: int) -> list[dict[str, Any]]:
    log = await asyncio.to_thread(centre.log, count + 1)
    return [entry for entry in log if entry["event"] == "submitted"]


async def test_it_binds_and_says_goodbye(centre):
    async with listening(channel_to(centre, system_type="WWW")):
        pass
    bound, unbound = await asyncio.to_thread(centre.log, 2)
    assert bound == {"event": "bound", "how": "bind_transceiver", "system_id": "hub", "system_type": "WWW"}
    assert unbound == {"event": "unbound"}


async def test_a_wrong_password_stops_the_line(centre):
    with pytest.raises(Unauthorised, match="password") as caught:
        async with listening(channel_to(centre, password="another")):
            pass
    assert caught.value.code == "0x0000000E"


@pytest.mark.parametrize("status", [0x05, 0x08, 0x64])
async def test_a_bind_that_fails_for_other_reasons_is_tried_again(centre, status):
    await asyncio.to_thread(centre.behave, {"bind": status})
    kept = Kept()
    running = asyncio.create_task(channel_to(centre).run(kept))
    await kept.until(lambda: kept.said)
    assert f"0x{status:08X}" in kept.said[0]
    await asyncio.to_thread(centre.behave, {})
    await kept.until(lambda: "well" in kept.said)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("text", "parts", "coding"),
    [
        ("Hello", 1, 0),
        ("Price €5 [x] {y} ~ \\ | ^ @ £ Ω", 1, 0),
        ("Привет, мир", 1, 8),
        ("ok 👍", 1, 8),
        ("Длинное " * 25, 3, 8),
        ("👍" * 60, 2, 8),
        ("€" * 100, 2, 0),
        ("x" * 459, 3, 0),
        ("“Quoted” – plain", 1, 0),
    ],
)
async def test_a_text_arrives_whole(centre, tools, text, parts, coding):
    channel = channel_to(centre)
    async with listening(channel):
        got = await channel.send(part(text, peer=PEER), tools)
        units = await submitted(centre, parts)
    assert len(units) == len(got.external_ids) == len(set(got.external_ids)) == parts
    expected = text if coding or "“" not in text else '"Quoted" - plain'
    assert "".join(unit["text"] for unit in units) == expected
    assert {unit["data_coding"] for unit in units} == {coding}
    assert {unit["registered_delivery"] for unit in units} == {1}
    assert units[0]["source"] == ["79990000000", 1, 1]
    assert units[0]["destination"] == ["79160000001", 1, 1]
    headers = [unit["udh"] for unit in units]
    if parts == 1:
        assert headers == [[]]
    else:
        assert {unit["esm_class"] for unit in units} == {0x40}
        references = {header[0][4:6] for header in headers}
        assert len(references) == 1
        assert [header[0][6:] for header in headers] == [f"{parts:02x}{number:02x}" for number in range(1, parts + 1)]


async def test_a_receipt_names_the_part_that_was_sent(centre, tools):
    reported = {"text": DELIVERED}
    await asyncio.to_thread(centre.behave, {PEER[1:]: {"receipt": reported}})
    channel = channel_to(centre)
    async with listening(channel) as kept:
        got = await channel.send(part("Длинное " * 10, peer=PEER), tools)
        statuses = await kept.events(2)
    assert {status.external_id for status in statuses} == set(got.external_ids)
    assert {status.status for status in statuses} == {"delivered"}
    assert len(got.external_ids) == 2


@pytest.mark.parametrize(("answered", "reported"), [("1A2B3C", "1715004"), ("1715004", "1A2B3C"), ("0042", "42")])
async def test_a_receipt_may_spell_the_id_in_another_way_and_come_before_the_answer(centre, tools, answered, reported):
    told = {"receipted_message_id": reported, "message_state": 5, "text": "err:011"}
    await asyncio.to_thread(centre.behave, {PEER[1:]: {"id": answered, "receipt": told, "early": True}})
    channel = channel_to(centre)
    async with listening(channel) as kept:
        got = await channel.send(part("Hello", peer=PEER), tools)
        (status,) = await kept.events(1)
    assert (status.external_id,) == got.external_ids
    assert (status.status, status.error_code, status.peer) == ("failed", "011", PEER)
    assert kept.cursor["ids"] in ("same", "decimal", "hexadecimal")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (0x58, Throttled),
        (0x14, Throttled),
        (0x08, Temporary),
        (0x64, Temporary),
        (0x04, Temporary),
        (0x0A, Misconfigured),
        (0x0B, RecipientGone),
        (0x45, Undeliverable),
        (0x61, Undeliverable),
        (0x0E, Unauthorised),
        (0x0455, Undeliverable),
    ],
)
async def test_a_refusal_says_what_happens_next(centre, tools, status, error):
    await asyncio.to_thread(centre.behave, {PEER[1:]: {"status": status}})
    channel = channel_to(centre)
    async with listening(channel):
        with pytest.raises(error) as caught:
            await channel.send(part("Hello", peer=PEER), tools)
    assert type(caught.value) is error
    assert caught.value.code == f"0x{status:08X}"


async def test_a_further_part_that_is_throttled_is_sent_again(centre, tools):
    await asyncio.to_thread(centre.behave, {PEER[1:]: {"status": 0x58, "after": 1, "times": 1}})
    channel = channel_to(centre)
    async with listening(channel):
        got = await channel.send(part("x" * 200, peer=PEER), tools)
        units = await submitted(centre, 3)
    assert len(got.external_ids) == 2
    assert [unit["udh"][0][6:] for unit in units] == ["0201", "0202", "0202"]


async def test_a_further_part_that_is_refused_leaves_half_a_message(centre, tools):
    await asyncio.to_thread(centre.behave, {PEER[1:]: {"status": 0x45, "after": 1}})
    channel = channel_to(centre)
    async with listening(channel):
        with pytest.raises(Uncertain, match="1 of 2 parts went") as caught:
            await channel.send(part("x" * 200, peer=PEER), tools)
    assert caught.value.code == "0x00000045"


async def test_no_answer_may_mean_that_it_went(centre, tools):
    await asyncio.to_thread(centre.behave, {PEER[1:]: {"silent": True}})
    channel = channel_to(centre, answer_within=0.2)
    async with listening(channel):
        with pytest.raises(Uncertain) as caught:
            await channel.send(part("Hello", peer=PEER), tools)
    assert caught.value.code == "unanswered"


async def test_the_window_bounds_how_many_wait_for_their_answer(centre, tools):
    await asyncio.to_thread(centre.behave, {PEER[1:]: {"silent": True}})
    channel = channel_to(centre, window=1, answer_within=0.3)
    async with listening(channel):
        first, second = await asyncio.gather(
            channel.send(part("first", peer=PEER), tools),
            channel.send(part("second", peer="+79160000002"), tools),
            return_exceptions=True,
        )
        log = await asyncio.to_thread(centre.log, 3)
    assert isinstance(first, Uncertain)
    assert len(second.external_ids) == 1
    assert [entry["text"] for entry in log if entry["event"] == "submitted"] == ["first", "second"]


async def test_messages_of_many_go_side_by_side(centre, tools):
    channel = channel_to(centre)
    async with listening(channel):
        sent = await asyncio.gather(*(channel.send(part("x", peer=f"+7916000{n:04}"), tools) for n in range(200)))
    assert len({got.external_ids for got in sent}) == 200


async def test_a_line_that_breaks_before_the_answer_may_have_carried_it(centre, tools):
    await asyncio.to_thread(centre.behave, {PEER[1:]: {"silent": True}})
    channel = channel_to(centre)
    async with listening(channel):
        sending = asyncio.create_task(channel.send(part("Hello", peer=PEER), tools))
        await submitted(centre, 1)
        await asyncio.to_thread(centre.drop)
        with pytest.raises(Uncertain) as caught:
            await sending
    assert caught.value.code == "broken"


async def test_without_a_line_nothing_went(centre, tools):
    with pytest.raises(Temporary) as caught:
        await channel_to(centre).send(part("Hello", peer=PEER), tools)
    assert caught.value.code == "unbound"


@pytest.mark.parametrize("how", ["drop", "unbind"])
async def test_a_line_that_broke_is_bound_again(centre, tools, how):
    channel = channel_to(centre)
    async with listening(channel) as kept:
        await asyncio.to_thread(getattr(centre, how))
        await kept.until(lambda: kept.said.count("well") == 2)
        assert len((await channel.send(part("after", peer=PEER), tools)).external_ids) == 1
    assert kept.said[0] == kept.said[2] == "well"
    assert "broke" in kept.said[1]


async def test_a_provider_that_gives_no_sign_of_life_is_hung_up_on(centre):
    await asyncio.to_thread(centre.behave, {"deaf": True})
    async with listening(channel_to(centre, enquire_link=0.1, answer_within=0.2)) as kept:
        await kept.until(lambda: kept.said.count("well") == 2)
    assert "no sign of life" in kept.said[1]


async def test_signs_of_life_are_given(centre):
    await asyncio.to_thread(centre.behave, {"note_enquiries": True})
    async with listening(channel_to(centre, enquire_link=0.05)):
        log = await asyncio.to_thread(centre.log, 3)
    assert [entry["event"] for entry in log] == ["bound", "enquired", "enquired"]


async def test_a_message_is_acknowledged_once_it_is_kept(centre):
    async with listening(channel_to(centre)) as kept:
        await asyncio.to_thread(
            centre.deliver,
            source_addr="79161234567",
            source_addr_ton=1,
            destination_addr="7000",
            data_coding=8,
            data=ucs2("Привет 👍"),
        )
        (event,) = await kept.events(1)
        log = await asyncio.to_thread(centre.log, 2)
    assert (event.text, event.peer) == ("Привет 👍", "+79161234567")
    assert log[1] == {"event": "delivery_answered", "status": 0}
    assert kept.items[0].routed.peer == "79161234567"


async def test_receipts_of_an_earlier_process_do_not_wait_for_one_that_is_never_answered(centre, tools):
    await asyncio.to_thread(centre.behave, {PEER[1:]: {"silent": True}})
    channel = channel_to(centre, answer_within=0.5)
    async with listening(channel, cursor={"ids": "hexadecimal"}) as kept:
        unanswered = asyncio.create_task(channel.send(part("Hello", peer=PEER), tools))
        await submitted(centre, 1)
        for number in (10, 11):
            await asyncio.to_thread(
                centre.deliver,
                source_addr="79161234567",
                destination_addr="7000",
                esm_class=4,
                data=f"id:{number} stat:DELIVRD err:000".encode().hex(),
            )
        statuses = await kept.events(2)
        with pytest.raises(Uncertain):
            await unanswered
    assert [status.external_id for status in statuses] == ["16", "17"]


async def test_a_message_that_could_not_be_kept_is_to_come_again(centre):
    channel = channel_to(centre)
    kept = Kept(refuses=True)
    running = asyncio.create_task(channel.run(kept))
    await kept.until(lambda: "well" in kept.said)
    await asyncio.to_thread(centre.deliver, source_addr="79161234567", destination_addr="7000", data=b"Hello".hex())
    with pytest.raises(RuntimeError, match="database"):
        await running
    log = await asyncio.to_thread(centre.log, 2)
    assert {"event": "delivery_answered", "status": 0x64} in log


async def test_every_part_of_a_long_message_is_kept_by_itself(centre):
    async with listening(channel_to(centre)) as kept:
        for number, text in enumerate(("Часть один, ", "часть два 👍"), 1):
            await asyncio.to_thread(
                centre.deliver,
                source_addr="79161234567",
                destination_addr="7000",
                esm_class=0x40,
                data_coding=8,
                udh=f"05000309020{number}",
                data=ucs2(text),
            )
            events = await kept.events(number)
    assert [event.text for event in events] == ["Часть один, ", "часть два 👍"]
    assert len({event.group for event in events}) == 1
    assert [event.context["concat_part"] for event in events] == ["1", "2"]
    assert len({item.routed.dedupe_key for item in kept.items}) == 2


async def test_checking_the_line_sends_nothing(centre, tools):
    channel = channel_to(centre)
    assert "password" in (await channel.check(tools)).detail
    async with listening(channel):
        assert "stands" in (await channel.check(tools)).detail
    with pytest.raises(Unauthorised):
        await channel_to(centre, password="another").check(tools)
    await asyncio.to_thread(centre.behave, {"bind": 0x05})
    assert "already" in (await channel.check(tools)).detail
    with pytest.raises(Temporary):
        await channel_to(centre, port=1).check(tools)
    events = {entry["event"] for entry in await asyncio.to_thread(centre.log)}
    assert "submitted" not in events


@asynccontextmanager
async def behind_tls(centre: Smsc, folder: Path) -> AsyncIterator[int]:
    """Put an encrypted door before the SMS centre."""
    certified = certificates.for_localhost()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(certified.certificate)
    key.write_text(certified.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(4096):
                writer.write(piece)
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", centre.port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_the_line_may_be_encrypted(centre, tools, tmp_path, monkeypatch):
    async with behind_tls(centre, tmp_path) as port:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        channel = channel_to(centre, port=port, tls=True)
        async with listening(channel):
            got = await channel.send(part("Hello", peer=PEER), tools)
    assert len(got.external_ids) == 1


async def test_a_certificate_nobody_vouches_for_is_not_believed(centre, tools, tmp_path):
    async with behind_tls(centre, tmp_path) as port:
        with pytest.raises(Temporary, match="certificate") as caught:
            await channel_to(centre, port=port, tls=True).check(tools)
    assert caught.value.code == "tls"
    assert await asyncio.to_thread(centre.log) == []


async def test_what_was_sent_is_noted_without_the_password(centre):
    channel = channel_to(centre)
    async with tools_for("http://127.0.0.1:1", secrets=(smscs.PASSWORD,)) as (tools, exchanges), listening(channel):
        await channel.send(part("Hello", peer=PEER), tools)
    (exchange,) = exchanges
    assert (exchange.method, exchange.status) == ("SUBMIT_SM", 0)
    assert PEER in exchange.sent
    assert smscs.PASSWORD not in repr(exchanges) + repr(channel)
