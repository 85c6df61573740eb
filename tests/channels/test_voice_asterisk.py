"""Asterisk: what it says of real calls is read as those calls; the line, calls placed and recordings, by a real one."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from channels import asterisk_events, asterisk_recordings, registry
from channels import voice_asterisk as voice_asterisk_channel
from channels.asterisk_calls import Calls
from channels.asterisk_channels import Plan, plan
from channels.contract import Advice, Dial, ParseContext
from channels.errors import Misconfigured, Temporary, Unauthorised, Undeliverable
from channels.voice_asterisk import AsteriskVoice
from core.kernel.envelopes import CallEvent
from core.talk.call_folding import Heard, Picture, fold
from tests.channels.payloads import NOW, voice_asterisk
from tests.channels.payloads.voice_asterisk import CALLS, HEARD, LOGS, requests_of
from tests.channels.provider import tools_for
from tests.peers import asterisk, programs
from tests.peers.asterisk import Asterisk
from webhooks.errors import BadSignature, Malformed, Refused, Unsupported
from webhooks.request import RawRequest

VERA = "79161234567"
PLAN = plan("trunk", 5, "https://hub.example/hooks/k")


def channel(**changed: Any) -> AsteriskVoice:
    built = registry.build("voice_asterisk", {**voice_asterisk.SETTINGS, **changed})
    assert isinstance(built, AsteriskVoice)
    return built


def read(requests: list[RawRequest]) -> list[CallEvent]:
    found = [event for each in requests for event in channel().parse(each, ParseContext("RU", "Europe/Moscow", NOW))]
    assert all(isinstance(event, CallEvent) for event in found)
    return found  # type: ignore[return-value]


def folded(events: list[CallEvent]) -> Picture:
    heard = [Heard(event, NOW + timedelta(milliseconds=number)) for number, event in enumerate(events)]
    return fold(heard, is_internal=lambda number: number.isdecimal() and len(number) <= 5)


def pictures(name: str) -> dict[str, Picture]:
    events = read(CALLS[name])
    ids = dict.fromkeys(event.call_id for event in events)
    return {call_id: folded([event for event in events if event.call_id == call_id]) for call_id in ids}


def phases(events: list[CallEvent], *wanted: str) -> list[tuple[str, str, str]]:
    return [(e.phase, e.extension, e.detail) for e in events if e.phase in wanted]


# --- whole calls, as they really were ---

Seen = tuple[str, str, str, str, tuple[str, ...], str, int]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        # direction, status, who answered, who talked last, whose phones rang, the other side, recordings
        ("answered", ("inbound", "completed", "101", "101", ("101",), VERA, 1)),
        ("group", ("inbound", "completed", "102", "102", ("101", "102"), VERA, 1)),
        ("queue", ("inbound", "completed", "102", "102", ("101", "102"), VERA, 1)),
        ("queue_abandoned", ("inbound", "missed", "", "", ("101", "102"), VERA, 0)),
        ("menu", ("inbound", "completed", "101", "101", ("101",), VERA, 1)),
        ("missed", ("inbound", "missed", "", "", ("101",), VERA, 0)),
        ("busy", ("inbound", "missed", "", "", ("101",), VERA, 0)),
        ("declined", ("inbound", "missed", "", "", ("101",), VERA, 0)),
        ("unanswered_group", ("inbound", "missed", "", "", ("101", "102"), VERA, 0)),
        ("answering_machine", ("inbound", "voicemail", "", "", ("101",), VERA, 1)),
        ("voicemail", ("inbound", "voicemail", "", "", ("101",), VERA, 0)),
        ("blind_transfer", ("inbound", "completed", "101", "102", ("101", "102"), VERA, 1)),
        ("attended_transfer", ("inbound", "completed", "101", "102", ("101", "102"), VERA, 1)),
        ("attended_transfer_refer", ("inbound", "completed", "101", "102", ("101",), VERA, 1)),
        ("calls_joined", ("inbound", "completed", "101", "102", ("101",), VERA, 1)),
        ("outbound", ("outbound", "completed", "101", "101", (), "79161234560", 1)),
        ("outbound_busy", ("outbound", "busy", "", "", (), "79161234561", 0)),
        ("outbound_unanswered", ("outbound", "canceled", "", "", (), "79161234562", 0)),
        ("outbound_congestion", ("outbound", "failed", "", "", (), "79161234563", 0)),
        ("outbound_blind_transfer", ("outbound", "completed", "101", "102", ("102",), "79161234560", 1)),
        ("click_to_call", ("outbound", "completed", "101", "101", (), "79161234560", 1)),
        ("click_to_call_busy", ("outbound", "busy", "", "", (), "79161234561", 0)),
        ("click_to_call_declined", ("outbound", "missed", "", "", (), "", 0)),
        ("click_to_call_unanswered", ("outbound", "missed", "", "", (), "", 0)),
        ("internal", ("internal", "completed", "102", "102", ("102",), "101", 1)),
    ],
)
def test_a_real_call_is_read_as_what_it_was(name: str, seen: Seen):
    call_id, picture = next(iter(pictures(name).items()))
    assert call_id == LOGS[name][0]["Linkedid"]
    assert picture.is_over and not picture.is_lost
    assert seen == (
        picture.direction,
        picture.status,
        picture.answered_by,
        picture.talks,
        picture.rang,
        picture.number,
        len(picture.recordings),
    )
    if picture.status == "completed":
        began, ended = float(LOGS[name][0]["Timestamp"]), float(LOGS[name][-1]["Timestamp"])
        assert picture.talk_seconds is not None and 0 < picture.talk_seconds <= round(ended - began)
    else:
        assert picture.talk_seconds == 0


def test_every_recorded_call_is_looked_at():
    assert set(LOGS) == set(CALLS)
    assert len(LOGS) == 25


def test_a_call_to_ask_a_colleague_is_one_of_its_own_that_ends_where_they_are_joined():
    for name in ("attended_transfer_refer", "calls_joined"):
        first, second = pictures(name).values()
        assert (second.direction, second.status, second.caller) == ("internal", "completed", "101")
        assert first.ended_at > second.ended_at


def test_the_first_event_says_who_calls_and_whom():
    first = read(CALLS["answered"])[0]
    assert first == CallEvent(
        call_id="1796003307.0",
        key="started::1:1796003307.963791",
        phase="started",
        seq=1,
        occurred_at=datetime.fromtimestamp(1796003307.963791, UTC),
        direction="inbound",
        caller=VERA,
        callee="74951000101",
        line="74951000101",
    )


def test_steps_in_between_are_told():
    assert phases(read(CALLS["queue"]), "queued") == [("queued", "", "sales")]
    assert phases(read(CALLS["blind_transfer"]), "transferred") == [("transferred", "102", "")]
    told = phases(read(CALLS["attended_transfer"]), "held", "transferred", "answered", "resumed")
    assert told == [("answered", "101", ""), ("held", "101", ""), ("answered", "102", ""), ("transferred", "102", "")]
    rest = phases(read(CALLS["group"]), "left")
    assert ("left", "101", "cancel") in rest
    assert phases(read(CALLS["voicemail"]), "voicemail", "answered") == [("voicemail", "", "")]


def test_the_line_of_an_outbound_call_is_the_number_it_shows():
    for name in ("outbound", "click_to_call"):
        (picture,) = pictures(name).values()
        assert (picture.line, picture.caller) == ("74951000100", "101")


@pytest.mark.parametrize("name", LOGS)
def test_in_any_order_and_however_often_it_is_the_same_call(name: str):
    events = read(CALLS[name])
    assert len({(event.call_id, event.key) for event in events}) == len(events), "every event has a key of its own"
    chance = random.Random(name)
    for _ in range(10):
        mixed = events * 2
        chance.shuffle(mixed)
        for call_id, picture in pictures(name).items():
            once: dict[str, CallEvent] = {}
            for event in mixed:
                if event.call_id == call_id:
                    once.setdefault(event.key, event)
            assert folded(list(once.values())) == picture


@pytest.mark.parametrize("name", LOGS)
def test_another_process_that_takes_over_in_mid_call_understands_the_rest(name: str):
    whole = [request.body for request in CALLS[name]]
    for cut in range(1, len(LOGS[name])):
        first = Calls(PLAN)
        before = requests_of(LOGS[name][:cut], first)
        second = Calls(PLAN, json.loads(json.dumps(first.keep())))
        after = [{"Event": "Padding"}] * cut + LOGS[name][cut:]
        assert [request.body for request in before + requests_of(after, second)] == whole
        assert not second.are_any


def test_two_calls_at_once_are_kept_apart():
    one, other = LOGS["answered"], LOGS["missed"]
    mixed = [event for pair in zip(one, other, strict=False) for event in pair]
    mixed += one[len(other) :] or other[len(one) :]
    events = read(requests_of(mixed))
    for name in ("answered", "missed"):
        (call_id,) = pictures(name)
        found = folded([event for event in events if event.call_id == call_id])
        assert found.status == pictures(name)[call_id].status


def test_a_bare_event_is_kept_word_for_word():
    body = json.loads(CALLS["answered"][0].body)
    assert {name: value for name, value in body.items() if not name.startswith("Switchyard-")} == LOGS["answered"][0]


# --- menus, messages, hidden numbers, what is nobody ---


def ringing_in(**changed: str) -> dict[str, str]:
    return {**LOGS["answered"][0], **changed}


def test_keys_pressed_in_a_menu_are_told_and_not_those_of_a_conversation():
    start = LOGS["menu"][0]
    its = {name: start[name] for name in ("Channel", "Uniqueid", "Linkedid")}
    menu = {"Event": "Newexten", **its, "Context": "menu", "Application": "BackGround"}
    key = {"Event": "DTMFEnd", **its, "Digit": "1", "Direction": "Received"}
    up = next(number for number, event in enumerate(LOGS["menu"]) if event["Event"] == "BridgeLeave")
    events = [
        start,
        menu,
        menu,
        {**key, "Direction": "Sent"},
        *[key] * 15,
        *LOGS["menu"][1:up],
        key,
        *LOGS["menu"][up:],
    ]
    told = phases(read(requests_of(events)), "menu")
    assert told == [("menu", "", "menu"), *[("menu", "", "1")] * 10]


@pytest.mark.parametrize("number", ["anonymous", "<unknown>", ""])
def test_who_hides_their_number_still_calls(number: str):
    (started,) = read(requests_of([ringing_in(CallerIDNum=number)]))
    assert started.direction == "inbound"
    assert started.caller == (number if number == "anonymous" else "")


@pytest.mark.parametrize(
    "name", ["Local/102@internal-00000000;1", "Snoop/1-2", "CBAnn/1-00000000;1", "Message/ast_msg_queue"]
)
def test_channels_that_are_nobody_are_no_call(name: str):
    events = [ringing_in(Channel=name, Exten="s")]
    events.append({**events[0], "Event": "Hangup", "Cause": "16", "Cause-txt": "Normal Clearing"})
    assert requests_of(events) == []


@pytest.mark.parametrize(
    ("trunk", "name", "number", "state", "role", "extension"),
    [
        ("trunk", "PJSIP/trunk-0000000a", VERA, "Ring", "outside", ""),
        ("PJSIP/trunk, other", "PJSIP/other-0000000a", "", "Down", "outside", ""),
        ("DAHDI", "DAHDI/i1/74951234567-1", VERA, "Ring", "outside", ""),
        ("trunk", "PJSIP/101-0000000a", "101", "Ring", "phone", "101"),
        ("", "SIP/101-0000000a", "74951000100", "Up", "phone", "101"),
        ("", "PJSIP/anna-0000000a", "101", "Ring", "phone", "101"),
        ("trunk", "PJSIP/anna-0000000a", "", "Ring", "phone", "anna"),
        ("", "PJSIP/provider-0000000a", VERA, "Ring", "outside", ""),
        ("", "PJSIP/provider-0000000a", "anonymous", "Ring", "outside", ""),
        ("", "PJSIP/74951234567-0000000a", "", "Ring", "outside", ""),
        ("", "Local/101@from-queue-0000000a;1", "", "Down", "", ""),
    ],
)
def test_a_phone_is_told_from_a_line_to_the_outside(trunk, name, number, state, role, extension):
    found = plan(trunk, 5, "").channel({"Channel": name, "CallerIDNum": number, "ChannelStateDesc": state})
    assert (found.role, found.extension) == (role, extension)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("79161234567@trunk", VERA),
        ("PJSIP/79161234567@trunk", VERA),
        ("trunk/79161234567", VERA),
        ("trunk/sip:+79161234567@host:5060", "+79161234567"),
        ("101", ""),
        ("PJSIP/101", ""),
        ("", ""),
    ],
)
def test_the_number_is_found_in_what_was_dialled(written: str, number: str):
    assert PLAN.number_in(written) == number


def test_a_call_forwarded_to_a_mobile_phone_is_answered_there():
    trunk = "PJSIP/trunk-00000001"
    leg = {"DestChannel": trunk, "DestUniqueid": "1796003307.1", "DestLinkedid": "1796003307.0"}
    text = json.dumps(LOGS["answered"]).replace("PJSIP/101-00000001", trunk)
    events: list[dict[str, str]] = json.loads(text)
    for event in events:
        if event["Event"] == "DialBegin":
            event.update(leg, DialString="79039876543@trunk")
    picture = folded(read(requests_of(events)))
    assert (picture.direction, picture.status, picture.answered_by) == ("inbound", "completed", "79039876543")


# --- calls we asked for ---


def ours(name: str, mark: str = PLAN.mark) -> list[CallEvent]:
    text = json.dumps(LOGS[name]).replace(LOGS[name][0]["Linkedid"], f"switchyard-{mark}-dial-42")
    return read(requests_of(json.loads(text)))


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("click_to_call", "completed"),
        ("click_to_call_busy", "busy"),
        ("click_to_call_unanswered", "canceled"),
        ("click_to_call_declined", "failed"),
    ],
)
def test_events_of_a_call_we_asked_for_name_it(name: str, status: str):
    events = ours(name)
    assert {event.our_id for event in events} == {"dial-42"}
    picture = folded(events)
    assert (picture.direction, picture.caller, picture.status) == ("outbound", "101", status)
    assert picture.rang == (), "a colleague's phone that rings for their own call is no call to take"


def test_another_hub_at_the_same_asterisk_is_told_apart():
    assert {event.our_id for event in ours("click_to_call", "00000000")} == {""}
    assert plan("", 5, "https://hub.example/hooks/a").mark != plan("", 5, "https://hub.example/hooks/b").mark


def test_a_phone_that_cannot_be_rung_ends_the_call_that_never_was():
    failure = next(event for event in LOGS["click_to_call_declined"] if event["Event"] == "OriginateResponse")
    events = read(requests_of([{**failure, "Channel": "PJSIP/999", "Uniqueid": PLAN.own_id("dial-7")}]))
    picture = folded(events)
    assert (picture.status, picture.caller, picture.callee) == ("failed", "999", "79161234560")
    assert {event.our_id for event in events} == {"dial-7"}


# --- after a time without events ---

TALKING = [
    {"Channel": "PJSIP/101-00000001", "ChannelStateDesc": "Up", "CallerIDNum": "101", "Uniqueid": "1796003307.1"},
    {"Channel": "PJSIP/trunk-00000000", "ChannelStateDesc": "Up", "CallerIDNum": VERA, "Uniqueid": "1796003307.0"},
]
for number, each in enumerate(TALKING):
    each |= {
        "Linkedid": "1796003307.0",
        "Application": ("AppDial", "Dial")[number],
        "Exten": ("", "74951000101")[number],
        "Duration": "00:01:30",
        "BridgeId": "b1",
    }
LATER, LOST = HEARD + timedelta(minutes=2), HEARD + timedelta(minutes=1)


def compared(calls: Calls, channels: list[dict[str, str]]) -> list[CallEvent]:
    requests = [
        asterisk_events.kept("CoreShowChannel", fields, notes, number=1000 + number, now=LATER, host="pbx")
        for number, (fields, notes) in enumerate(calls.compare(channels, now=LATER, lost_at=LOST))
    ]
    return read(requests)


def followed(name: str, until: str) -> tuple[Calls, list[CallEvent]]:
    calls = Calls(PLAN)
    place = next(number for number, event in enumerate(LOGS[name]) if event["Event"] == until)
    return calls, read(requests_of(LOGS[name][:place], calls))


def test_a_call_that_ended_meanwhile_is_said_to_have_ended_when_the_line_broke():
    calls, before = followed("answered", "HangupRequest")
    after = compared(calls, [])
    picture = folded(before + after)
    assert (picture.status, picture.answered_by, picture.ended_at) == ("completed", "101", LOST)
    assert [event.phase for event in after] == ["ended", "recorded"] or "left" in {event.phase for event in after}
    assert "while the line" in next(event.detail for event in after if event.phase == "ended")
    assert not calls.are_any
    assert compared(calls, []) == [], "once"


def test_a_call_that_lives_on_is_left_alone():
    calls, _ = followed("answered", "HangupRequest")
    assert compared(calls, TALKING) == []
    assert calls.are_any


def test_what_happened_meanwhile_to_a_call_that_lives_on_is_found():
    calls, before = followed("answered", "DialEnd")
    assert folded(before).rings == ("101",)
    after = compared(calls, TALKING)
    assert phases(after, "answered") == [("answered", "101", "")]
    assert folded(before + after).rings == ()


def test_a_call_that_began_meanwhile_is_taken_up_since_when_asterisk_says():
    calls = Calls(PLAN)
    picture = folded(compared(calls, TALKING))
    assert (picture.status, picture.caller, picture.line) == ("in_progress", VERA, "74951000101")
    assert picture.started_at == LATER - timedelta(seconds=90)
    assert (picture.answered_by, picture.answered_at) == ("101", LATER)
    assert compared(calls, TALKING) == [], "once"
    rings = {**TALKING[0], "ChannelStateDesc": "Ringing", "BridgeId": ""}
    assert folded(compared(Calls(PLAN), [rings, {**TALKING[1], "BridgeId": ""}])).rings == ("101",)


def test_events_that_were_under_way_while_it_was_compared_change_nothing_twice():
    calls = Calls(PLAN)
    compared(calls, TALKING)
    again = read(requests_of(LOGS["answered"][:-3], calls))
    assert phases(again, "started", "answered", "ended") == []
    calls = Calls(PLAN)
    compared(calls, [])
    assert folded(read(requests_of(LOGS["answered"], calls))).status == "completed"


def test_a_cursor_that_cannot_be_read_is_no_call():
    for kept in (None, "x", [1, {"id": 5}, {"id": "a", "channels": {"b": None}}], {"id": "a"}):
        assert not Calls(PLAN, kept).are_any


# --- at the door ---


def test_asterisk_posts_nothing_so_what_is_posted_is_refused():
    with pytest.raises(Refused, match="posts nothing"):
        channel().verify(RawRequest(CALLS["answered"][0].body, method="POST"), NOW)
    channel().verify(CALLS["answered"][0], NOW)


def test_the_dialplan_may_ask_who_rings():
    asked = RawRequest(method="GET", suffix="lookup", query="number=+79161234567&token=asks-who-rings&format=plain")
    channel().verify(asked, NOW)
    assert (channel().asked(asked), channel().is_question(asked)) == ("+79161234567", True)
    said = channel().advise(asked, Advice(is_known=True, name="Вера|S", extension="102", manager="Boris"))
    assert said.body.decode() == "102|Вера S|Boris||"
    with pytest.raises(BadSignature):
        channel().verify(RawRequest(method="GET", suffix="lookup", query="number=1&token=guessed"), NOW)


def test_what_the_listener_never_makes_is_refused():
    for body in (b"[]", b"x", b"{}", b'{"Switchyard-Notes": 1}'):
        with pytest.raises(Malformed):
            channel().parse(RawRequest(body, method="AMI"), ParseContext("RU", "UTC", NOW))
    for notes in ([], [1], [{"means": "x", "call_id": "1"}], [{"means": "ended"}]):
        with pytest.raises(Unsupported):
            read([RawRequest(json.dumps({"Switchyard-Notes": notes}).encode(), method="AMI")])


def test_events_without_a_time_of_asterisk_s_have_ours():
    first = {name: value for name, value in LOGS["answered"][0].items() if name != "Timestamp"}
    (event,) = read(requests_of([first]))
    assert event.occurred_at == HEARD


@pytest.mark.parametrize(
    "settings",
    [{"originate_context": "a b"}, {"ari_url": "pbx:8088"}, {"recordings_dir": "monitor"}, {"ami_port": 0}],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]):
    with pytest.raises(ValueError, match=r"begins with|from the root|A context is|greater than"):
        AsteriskVoice.Settings(**{**voice_asterisk.SETTINGS, **settings})


def test_what_is_to_be_pasted_asks_at_our_address_and_a_name_is_never_taken_apart():
    manager, dialplan = voice_asterisk_channel.templates("https://hub.example/hooks/k?token=a%20b")
    assert (manager.name, dialplan.name) == ("manager.conf", "extensions.conf")
    assert "CURL(https://hub.example/hooks/k/lookup?format=plain&token=a%20b&number=" in dialplan.body
    uses = [line.strip() for line in dialplan.body.splitlines() if "${WHO}" in line]
    assert uses == ["same => n,GotoIf($[${LEN(${WHO})} = 0]?done)", "same => n,Set(CALLERID(name)=${WHO})"]


# --- recordings ---

WAV = b"RIFF" + struct.pack("<I", 36 + 2000) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
WAV += b"data" + struct.pack("<I", 2000) + b"\1\0" * 1000


@pytest.mark.parametrize(
    ("path", "folder", "has_ari", "reference"),
    [
        ("/var/spool/asterisk/monitor/2026/11/a.wav", "/var/spool/asterisk/monitor", False, "2026/11/a.wav"),
        ("/var/spool/asterisk/monitor/2026/11/a.wav", "/mnt/calls/", False, "2026/11/a.wav"),
        ("/elsewhere/a.wav", "/mnt/calls", True, "a.wav"),
        ("/var/spool/asterisk/voicemail/default/101/INBOX/msg0000", "/mnt/calls", False, ""),
        ("/var/spool/asterisk/voicemail/default/1/msg0", "/var/spool/asterisk", False, "voicemail/default/1/msg0"),
        ("/var/spool/asterisk/recording/b/a.wav", "", True, "ari:b/a"),
        ("/var/spool/asterisk/recording/1796003307.0", "", True, "ari:1796003307.0"),
        ("/var/spool/asterisk/monitor/a.wav", "", False, ""),
        ("", "/mnt", False, ""),
    ],
)
def test_a_recording_is_named_so_that_it_can_be_found(path, folder, has_ari, reference):
    assert asterisk_recordings.reference_of(path, folder, has_ari=has_ari) == reference


async def content(fetched: Any) -> bytes:
    return b"".join([piece async for piece in fetched.chunks])


async def test_a_recording_is_read_from_the_folder(tmp_path: Path, tools):
    (tmp_path / "2026").mkdir()
    (tmp_path / "2026" / "a.wav").write_bytes(WAV)
    pbx = channel(recordings_dir=str(tmp_path))
    for reference in ("2026/a.wav", "2026/a"):
        fetched = await pbx.fetch_media(reference, tools)
        assert (fetched.content_type, fetched.size, fetched.name) == ("audio/wav", len(WAV), "a.wav")
        assert await content(fetched) == WAV


async def test_one_that_asterisk_did_not_close_since_it_was_killed_can_be_played(tmp_path: Path, tools):
    broken = WAV[:4] + bytes(4) + WAV[8:40] + bytes(4) + WAV[44:]
    (tmp_path / "a.wav").write_bytes(broken)
    assert await content(await channel(recordings_dir=str(tmp_path)).fetch_media("a.wav", tools)) == WAV


async def test_nothing_but_the_folder_is_read(tmp_path: Path, tools):
    folder, outside = tmp_path / "calls", tmp_path / "secret.wav"
    folder.mkdir()
    outside.write_bytes(WAV)
    (folder / "link.wav").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    names = (
        "../secret.wav",
        str(outside),
        "link.wav",
        "up/secret.wav",
        "loop.wav",
        "folder.wav",
        "pipe.wav",
        "a\0",
        "",
    )
    for reference in names:
        with pytest.raises(Undeliverable):
            await channel(recordings_dir=str(folder)).fetch_media(reference, tools)


async def test_one_that_is_not_there_yet_is_waited_for_and_an_empty_one_is_not(tmp_path: Path, tools):
    pbx = channel(recordings_dir=str(tmp_path))
    with pytest.raises(Temporary) as raised:
        await pbx.fetch_media("a.wav", tools)
    assert raised.value.retry_after == 20
    (tmp_path / "a.wav").write_bytes(WAV[:44])
    with pytest.raises(Undeliverable, match="Nothing was recorded"):
        await pbx.fetch_media("a.wav", tools)
    with pytest.raises(Misconfigured, match="no folder"):
        await channel(recordings_dir=str(tmp_path / "none")).fetch_media("a.wav", tools)
    with pytest.raises(Misconfigured, match="Enter the folder"):
        await channel(recordings_dir="").fetch_media("a.wav", tools)
    with pytest.raises(Misconfigured, match="address of ARI"):
        await channel(ari_url="").fetch_media("ari:a", tools)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, Unauthorised), (404, Temporary), (429, Temporary), (503, Temporary), (400, Undeliverable)],
)
async def test_what_ari_refuses_ends_as_it_should(provider, tools, status, expected):
    provider.answers("GET", r"/ari/recordings/stored/.+", status=status, json={"message": "no"})
    with pytest.raises(expected):
        await channel(ari_url=provider.url).fetch_media("ari:b/a", tools)
    assert provider.asked[0].headers["authorization"].startswith("Basic ")


# --- by a real Asterisk ---


@pytest.fixture(scope="module")
def exchange() -> Iterator[Asterisk]:
    with asterisk.running() as one:
        yield one


def at(exchange: Asterisk, **changed: Any) -> AsteriskVoice:
    return channel(
        **{
            "ami_port": exchange.ami_port,
            "ami_secret": asterisk.SECRET,
            "ari_url": f"http://127.0.0.1:{exchange.http_port}",
            "ari_password": asterisk.SECRET,
            "recordings_dir": str(exchange.recordings),
            **changed,
        }
    )


async def test_a_check_says_what_it_found(exchange, tools):
    checked = await at(exchange).check(tools)
    assert checked.detail.startswith("Asterisk 16.")
    assert checked.facts["ari"].startswith("16.")
    assert checked.facts["recordings"] == str(exchange.recordings)
    private = at(exchange, ami_port=exchange.ami_tls_port, tls=True, certificate=exchange.certificate)
    assert (await private.check(tools)).facts["calls"] == "0"


async def test_a_check_says_what_is_wrong(exchange, tools):
    for changed, error in (
        ({"ami_secret": "wrong"}, Unauthorised),
        ({"ami_port": programs.free_ports(1)[0]}, Temporary),
        ({"ari_password": "wrong"}, Unauthorised),
        ({"recordings_dir": "/nowhere/at/all"}, Misconfigured),
        ({"tls": True, "ami_port": exchange.ami_tls_port}, Temporary),
        ({"tls": True, "certificate": "none"}, Misconfigured),
    ):
        with pytest.raises(error):
            await at(exchange, **changed).check(tools)


async def test_a_call_is_placed_over_the_trunk_where_no_context_is_named(exchange, tools):
    exchange.desk("101", "answers")
    dialled = await at(exchange, originate_context="").dial(Dial("dial-1", "101", "+79161234562"), tools)
    assert dialled.call_id == PLAN.own_id("dial-1")
    assert "101" in exchange.command("core show channels concise")
    exchange.hang_up()


@pytest.mark.parametrize(
    ("dial", "changed", "error", "said"),
    [
        (Dial("dial-2", "999", "+79161234567"), {}, Undeliverable, "cannot be rung"),
        (Dial("dial-3", "101\r\nAction: Logoff", "+79161234567"), {}, Undeliverable, "no extension"),
        (Dial("dial-4", "101", "7916,System(id)"), {}, Undeliverable, "no number"),
        (Dial("dial-5", "101", "+79161234567"), {"ami_user": "reader"}, Misconfigured, "Permission denied"),
        (Dial("dial-6", "101", "+79161234567"), {"ami_secret": "wrong"}, Unauthorised, "let us in"),
        (Dial("dial-7", "101", "+79161234567"), {"originate_context": "", "trunk": ""}, Misconfigured, "context"),
    ],
)
async def test_a_call_that_cannot_be_placed_says_why(exchange, tools, dial, changed, error, said):
    with pytest.raises(error, match=said):
        await at(exchange, **changed).dial(dial, tools)


async def test_a_recording_comes_from_ari(exchange):
    stored = exchange.recordings.parent / "spool" / "recording" / "2026"
    stored.mkdir(exist_ok=True)
    (stored / "a.wav").write_bytes(WAV)
    (stored / "empty.wav").write_bytes(WAV[:44])
    pbx = at(exchange, recordings_dir="")
    async with tools_for(f"http://127.0.0.1:{exchange.http_port}") as (tools, _):
        fetched = await pbx.fetch_media("ari:2026/a", tools)
        assert (fetched.content_type, fetched.name) == ("audio/wav", "a.wav")
        assert await content(fetched) == WAV
        with pytest.raises(Undeliverable, match="Nothing was recorded"):
            await pbx.fetch_media("ari:2026/empty", tools)
        with pytest.raises(Temporary):
            await pbx.fetch_media("ari:2026/none", tools)


def test_the_plan_is_what_settings_say():
    assert plan(" PJSIP/a, b;c ", 4, "x") == Plan(frozenset("abc"), 4, plan("", 4, "x").mark)
