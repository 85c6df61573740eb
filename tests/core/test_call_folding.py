"""A call is one picture, in whatever order its events are heard and however often."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.kernel.envelopes import CallEvent
from core.talk.call_folding import LOST, Heard, Picture, fold

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
VERA, LINE = "+79161234567", "+74951112233"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def event(phase: Any, seconds: float | None, key: str = "", **more: Any) -> CallEvent:
    return CallEvent(
        call_id="c1",
        key=key or f"{phase}:{more.get('extension', '')}:{seconds}",
        phase=phase,
        occurred_at=None if seconds is None else at(seconds),
        **more,
    )


def picture_of(*events: CallEvent, direction: str = "") -> Picture:
    heard = [Heard(each, at(100 + number)) for number, each in enumerate(events)]
    return fold(heard, is_internal=lambda number: number in ("101", "102", "103"), direction=direction)


INBOUND = {"caller": VERA, "callee": LINE, "line": LINE}
ANSWERED = (
    event("started", 0, **INBOUND),
    event("queued", 1, detail="sales"),
    event("ringing", 2, extension="101", leg_id="a"),
    event("ringing", 2, extension="102", leg_id="b"),
    event("answered", 8, extension="102", leg_id="b"),
    event("left", 8, extension="101", leg_id="a"),
    event("recorded", 70, recording="r1", recording_seconds=60),
    event("ended", 68),
)
MISSED = (
    event("started", 0, **INBOUND),
    event("ringing", 1, extension="101", leg_id="a"),
    event("left", 20, extension="101", leg_id="a"),
    event("ended", 20),
)
TRANSFERRED = (
    *ANSWERED[:5],
    event("transferred", 30, extension="103"),
    event("ringing", 31, extension="103", leg_id="c"),
    event("answered", 34, extension="103", leg_id="c"),
    event("ended", 94),
)
OUTBOUND = (
    event("started", 0, caller="101", callee=VERA),
    event("answered", 9, extension="101"),
    event("ended", 50),
)
MENU = (event("started", 0, **INBOUND), event("menu", 1, detail="2"), event("ended", 9))
SUMMED_UP = (
    event("started", 0, **INBOUND),
    event("answered", 3, extension="101"),  # the menu, which this PBX calls an answer
    event("ended", 20),
    event("summary", 21, outcome="missed", wait_seconds=20, talk_seconds=0, ended_at=at(20)),
)
TIMELESS = tuple(
    CallEvent(call_id="c1", key=str(number), phase=phase, seq=number, **more)
    for number, (phase, more) in enumerate(
        (
            ("started", INBOUND),
            ("ringing", {"extension": "101"}),
            ("answered", {"extension": "101"}),
            ("ended", {"talk_seconds": 33}),
        )
    )
)


@pytest.mark.parametrize(
    ("events", "status", "direction", "talk", "wait", "talks"),
    [
        (ANSWERED, "completed", "inbound", 60, 8, "102"),
        (MISSED, "missed", "inbound", 0, 20, ""),
        (TRANSFERRED, "completed", "inbound", 86, 8, "103"),
        (OUTBOUND, "completed", "outbound", 41, 9, "101"),
        (MENU, "missed", "inbound", 0, 9, ""),
        (SUMMED_UP, "missed", "inbound", 0, 20, "101"),
        ((*MISSED, event("voicemail", 19)), "voicemail", "inbound", 0, 20, ""),
        ((*MISSED[:2], event("ended", 5, outcome="busy")), "missed", "inbound", 0, 5, ""),
        ((OUTBOUND[0], event("ended", 12, outcome="busy")), "busy", "outbound", 0, 12, ""),
        ((OUTBOUND[0], event("ended", 12)), "missed", "outbound", 0, 12, ""),
        ((event("started", 0, caller="101", callee="102"), event("ended", 4)), "missed", "internal", 0, 4, ""),
        ((*ANSWERED[:5], event("ended", 500, LOST)), "completed", "inbound", None, 8, "102"),
        ((*ANSWERED, event("ended", 500, LOST)), "completed", "inbound", 60, 8, "102"),
        (ANSWERED[:4], "ringing", "inbound", None, None, ""),
        (ANSWERED[:5], "in_progress", "inbound", None, 8, "102"),
        ((event("summary", 60, outcome="answered", talk_seconds=40, extension="101", **INBOUND),), "completed",
         "inbound", 40, 0, "101"),
    ],
)  # fmt: skip
def test_what_became_of_a_call(events, status, direction, talk, wait, talks):
    found = picture_of(*events)
    assert (found.status, found.direction, found.talk_seconds, found.wait_seconds, found.talks) == (
        status,
        direction,
        talk,
        wait,
        talks,
    )


def test_who_rings_is_told_until_somebody_answers():
    assert picture_of(*ANSWERED[:4]).rings == ("101", "102")
    assert picture_of(*ANSWERED[:5]).rings == ()
    assert picture_of(*TRANSFERRED[:7]).rings == ("103",)
    assert picture_of(*MISSED).rings == ()
    assert picture_of(*ANSWERED).rang == ("101", "102")


def test_a_call_that_we_asked_for_goes_out_whatever_the_pbx_says_of_its_legs():
    asked = picture_of(event("started", 0, caller=VERA, callee="101", direction="inbound"), direction="outbound")
    assert asked.direction == "outbound"


def test_a_summary_says_whose_numbers_they_were():
    late = event("summary", 30, outcome="answered", caller=VERA, callee=LINE, direction="inbound")
    found = picture_of(event("started", 0, caller="anonymous"), late)
    assert (found.number, found.line) == (VERA, LINE)


def test_what_is_recorded_is_told_once_for_each():
    again = event("recorded", 71, recording="r1", recording_seconds=60)
    other = event("recorded", 72, recording="https://pbx.example/2", recording_id="2")
    assert [one.reference for one in picture_of(*ANSWERED, again, other).recordings] == ["r1", "https://pbx.example/2"]


def test_the_steps_of_a_call_are_in_order_whenever_they_were_heard():
    steps = picture_of(*reversed(TRANSFERRED)).steps
    assert [(step["phase"], step["extension"]) for step in steps] == [
        ("queued", ""),
        ("ringing", "101"),
        ("ringing", "102"),
        ("answered", "102"),
        ("transferred", "103"),
        ("ringing", "103"),
        ("answered", "103"),
    ]


@given(
    events=st.sampled_from((ANSWERED, MISSED, TRANSFERRED, OUTBOUND, MENU, SUMMED_UP, TIMELESS)),
    seed=st.integers(0, 10**9),
)
def test_order_and_repeats_change_nothing(events, seed):
    shuffled = [*events, *events]
    random.Random(seed).shuffle(shuffled)
    expected, found = picture_of(*events), picture_of(*shuffled)
    if any(each.occurred_at is None for each in events):  # when it was heard is all that is known of times
        assert (found.status, found.talks, found.talk_seconds) == (expected.status, expected.talks, 33)
        return
    assert found == expected


@given(
    st.lists(st.sampled_from((*ANSWERED, *MISSED, *TRANSFERRED, *OUTBOUND, *MENU, *SUMMED_UP, *TIMELESS)), min_size=1)
)
def test_any_pieces_give_some_picture(events):
    found = picture_of(*events)
    assert found.talk_seconds is None or found.talk_seconds >= 0
    assert found.wait_seconds is None or found.wait_seconds >= 0
    assert found.ended_at is None or found.ended_at >= found.started_at
    assert not (found.is_over and found.rings)
