"""Who gets a request, told in the words of a sales team: Anna, Boris who goes on holiday, Kirill, Dina."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.kernel.errors import Rejected
from core.work.routing_choice import Candidate, Decision, Router, Rule, Team
from core.work.routing_conditions import Request, conditions_from_json
from core.work.routing_sentences import Names, sentences

NOON = datetime(2026, 6, 15, 9, 0, tzinfo=UTC)
EVENING = NOON + timedelta(hours=9)
TOMORROW = NOON + timedelta(hours=21)
MONDAY = NOON + timedelta(days=7)

ANNA, BORIS, KIRILL, DINA = 1, 2, 3, 4
NAMES = Names(
    users={ANNA: "Anna", BORIS: "Boris", KIRILL: "Kirill", DINA: "Dina"},
    teams={10: "Sales", 20: "Yerevan"},
    rules={7: "Armenia", 8: "Big fish", 9: "Everything"},
    connections={5: "Website"},
)


def anna(**more: Any) -> Candidate:
    return Candidate(**{"user_id": ANNA, "turn": 1, **more})


def boris(**more: Any) -> Candidate:
    return Candidate(**{"user_id": BORIS, "turn": 2, **more})


def kirill(**more: Any) -> Candidate:
    return Candidate(**{"user_id": KIRILL, "turn": 3, **more})


ON_HOLIDAY: dict[str, Any] = {"absent": True, "absent_until": MONDAY, "opens_at": MONDAY}
OFF_SHIFT: dict[str, Any] = {"working": False, "opens_at": TOMORROW}


def sales(*members: Candidate) -> Team:
    return Team(id=10, members=members)


def request(**more: Any) -> Request:
    return Request(**{"connection_id": 5, "kind": "webform", "at": NOON, **more})


def route(*members: Candidate, owner: Candidate | None = None, **more: Any) -> Decision:
    return Router([], [sales(*members)], default_team_id=10).choose(request(**more), owner)


def told(decision: Decision) -> list[str]:
    """The sentences of a decision as they are shown later: after the explanation was stored as JSON."""
    stored = json.loads(json.dumps(decision.explanation))
    return sentences(stored, names=NAMES, show_time=lambda moment: f"{moment:%d.%m. %H:%M}")


def test_boris_is_on_holiday_so_anna_is_next_though_it_was_his_turn() -> None:
    decision = route(boris(turn=0, **ON_HOLIDAY), anna(), kirill())
    assert (decision.user_id, decision.team_id, decision.reason, decision.turn) == (ANNA, 10, "next_in_turn", 4)
    assert told(decision) == [
        "Anna is next in turn in the team Sales.",
        "No rule applies; the team Sales takes all other requests.",
        "Boris: absent until 22.06. 09:00.",
        "Kirill: later in turn.",
    ]


@pytest.mark.parametrize(
    ("obstacle", "sentence"),
    [
        ({"is_active": False}, "Boris: no longer works here."),
        (ON_HOLIDAY, "Boris: absent until 22.06. 09:00."),
        ({"absent": True}, "Boris: absent."),
        ({"presence": "on_leave"}, "Boris: absent."),
        (OFF_SHIFT, "Boris: off shift until 16.06. 06:00."),
        ({"presence": "off_shift"}, "Boris: off shift."),
        ({"capacity": 5, "open_load": 5}, "Boris: has 5 open requests of at most 5."),
        ({"capacity": 0}, "Boris: has 0 open requests of at most 0."),
        ({"presence": "away"}, "Boris: away from the desk."),
        ({"languages": ("en", "hy")}, "Boris: does not speak ru."),
        ({"territories": ("AM", "+7495")}, "Boris: works with other territories than RU."),
    ],
)
def test_whoever_cannot_take_it_is_passed_over_and_the_reason_is_told(obstacle: dict[str, Any], sentence: str) -> None:
    decision = route(boris(turn=0, **obstacle), anna(), kirill(), language="ru-RU", country="RU", phone="+79161234567")
    assert decision.user_id == ANNA
    assert sentence in told(decision)


@pytest.mark.parametrize(
    "free",
    [
        {"presence": "busy"},
        {"capacity": 5, "open_load": 4},
        {"languages": ("ru-RU",)},
        {"territories": ("ru",)},
        {"territories": ("AM", "+7916")},
    ],
)
def test_whoever_can_take_it_keeps_the_turn(free: dict[str, Any]) -> None:
    assert route(boris(turn=0, **free), anna(), language="ru", country="RU", phone="+79161234567").user_id == BORIS


def test_the_only_one_there_is_called_so() -> None:
    decision = route(anna(), boris(**ON_HOLIDAY), kirill(**OFF_SHIFT))
    assert decision.reason == "only_available"
    assert told(decision)[0] == "Anna is the only one available in the team Sales."


def test_somebody_away_from_the_desk_gets_it_when_nobody_else_is_there() -> None:
    decision = route(boris(presence="away"), anna(presence="away"), kirill(**OFF_SHIFT))
    assert (decision.user_id, decision.reason) == (ANNA, "next_in_turn")
    assert told(decision)[2:] == ["Boris: away from the desk.", "Kirill: off shift until 16.06. 06:00."]


def test_newcomers_come_first_and_among_equals_the_lower_id() -> None:
    team = sales(kirill(turn=-1), boris(turn=-1), anna(turn=5))
    router = Router([], [team], default_team_id=10)
    assert [router.choose(request()).user_id for _ in range(4)] == [BORIS, KIRILL, ANNA, BORIS]
    assert router.changed_turns() == {10: {BORIS: 9, KIRILL: 7, ANNA: 8}}


def test_when_nobody_is_available_it_waits_in_the_queue_and_the_first_back_is_named() -> None:
    decision = route(anna(**ON_HOLIDAY), boris(**OFF_SHIFT), kirill(is_active=False))
    assert (decision.user_id, decision.team_id, decision.reason) == (None, 10, "nobody_available")
    assert (decision.first_back_id, decision.back_at, decision.turn) == (BORIS, TOMORROW, None)
    assert told(decision)[0] == "Nobody is available in the team Sales; the request waits in its queue."
    assert told(decision)[-1] == "Boris is back first, at 16.06. 06:00."


def test_a_leave_that_ends_at_night_counts_till_the_morning_after() -> None:
    decision = route(anna(absent=True, absent_until=EVENING, opens_at=TOMORROW), boris(working=False, opens_at=MONDAY))
    assert (decision.first_back_id, decision.back_at) == (ANNA, TOMORROW)


def test_when_everybody_is_full_nobody_is_promised_to_be_back() -> None:
    decision = route(anna(capacity=1, open_load=1), boris(capacity=0))
    assert (decision.reason, decision.first_back_id, decision.back_at) == ("nobody_available", None, None)


def test_an_empty_team_and_no_team_at_all_are_told_apart() -> None:
    assert route().reason == "nobody_available"
    nowhere = Router([], []).choose(request())
    assert (nowhere.reason, nowhere.user_id, nowhere.team_id) == ("no_team", None, None)
    assert told(nowhere) == ["No rule and no team leads to somebody who could take it; the request waits for anybody."]


# The owner of a known contact


def test_a_known_customer_goes_to_their_own_manager_and_costs_nobody_a_turn() -> None:
    router = Router([], [sales(anna(), boris())], default_team_id=10)
    decision = router.choose(request(), boris())
    assert (decision.user_id, decision.reason, decision.turn) == (BORIS, "owner", None)
    assert told(decision) == ["Boris is this customer's manager."]
    assert router.changed_turns() == {}


def test_the_owner_keeps_the_customer_with_a_full_plate_and_away_from_the_desk() -> None:
    assert route(anna(), owner=boris(capacity=1, open_load=9, presence="away")).user_id == BORIS


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        (ON_HOLIDAY, "This customer's manager is Boris: absent until 22.06. 09:00."),
        ({"is_active": False}, "This customer's manager is Boris: no longer works here."),
        (OFF_SHIFT, "This customer's manager is Boris: off shift until 16.06. 06:00."),
    ],
)
def test_a_colleague_stands_in_for_an_owner_who_is_gone(gone: dict[str, Any], sentence: str) -> None:
    decision = route(anna(), kirill(), owner=boris(**gone))
    assert (decision.user_id, decision.reason) == (ANNA, "next_in_turn")
    assert told(decision)[1] == sentence


def test_an_owner_who_is_back_within_the_hour_is_waited_for() -> None:
    decision = route(anna(), owner=boris(working=False, opens_at=NOON + timedelta(hours=1)))
    assert (decision.user_id, decision.reason) == (BORIS, "owner_back_soon")
    assert told(decision) == ["Boris is this customer's manager and is back soon, at 15.06. 10:00."]


def test_at_night_the_owner_keeps_the_customer_because_nobody_else_is_there_either() -> None:
    decision = route(anna(working=False, opens_at=EVENING), owner=boris(**OFF_SHIFT))
    assert (decision.user_id, decision.reason, decision.turn) == (BORIS, "owner_anyway", None)
    assert told(decision)[0] == "Boris is this customer's manager, and no colleague is available now."
    assert "first_back" not in decision.explanation


def test_an_absent_owner_is_not_waited_for_at_night_either() -> None:
    decision = route(anna(**OFF_SHIFT), owner=boris(**ON_HOLIDAY))
    assert (decision.user_id, decision.first_back_id) == (None, ANNA)


# Rules


def rule(id: int = 9, *, position: int = 1, team_id: int | None = 20, user_id: int | None = None, **given: Any) -> Rule:
    target = {"user_id": user_id} if user_id is not None else {"team_id": team_id}
    return Rule(id=id, position=position, conditions=conditions_from_json(given), **target)


YEREVAN = Team(id=20, members=(Candidate(user_id=DINA),))


def test_rules_are_asked_by_position_and_the_first_ends_the_search() -> None:
    rules = [rule(9, position=2, team_id=10), rule(7, position=1, country=["AM"])]
    router = Router(rules, [sales(anna()), Team(id=20, members=(Candidate(user_id=DINA, **OFF_SHIFT),))])
    assert router.choose(request(country="RU")).rule_id == 9
    waiting = router.choose(request(country="AM"))
    assert (waiting.user_id, waiting.team_id, waiting.rule_id, waiting.first_back_id) == (None, 20, 7, DINA)


def test_a_rule_that_names_a_person_costs_no_turn() -> None:
    router = Router([rule(8, user_id=KIRILL)], [sales(anna(), kirill())], default_team_id=10)
    decision = router.choose(request())
    assert (decision.user_id, decision.rule_id, decision.reason) == (KIRILL, 8, "rule_person")
    assert told(decision) == [
        "Kirill is named by the rule for such requests.",
        "The rule “Big fish” applies to every request.",
    ]
    assert router.changed_turns() == {}


@pytest.mark.parametrize("gone", [ON_HOLIDAY, OFF_SHIFT, {"is_active": False}, {"capacity": 2, "open_load": 2}])
def test_a_rule_that_names_somebody_who_cannot_take_it_is_passed_over(gone: dict[str, Any]) -> None:
    router = Router([rule(8, user_id=KIRILL), rule(9, position=2)], [sales(anna()), YEREVAN], people=[kirill(**gone)])
    decision = router.choose(request())
    assert (decision.user_id, decision.rule_id) == (DINA, 9)
    assert told(decision)[1].startswith("The rule “Big fish” names Kirill: ")


def test_a_rule_for_a_deleted_person_or_team_is_passed_over() -> None:
    router = Router([rule(8, user_id=99), rule(9, team_id=77)], [sales(anna())], default_team_id=10)
    assert router.choose(request()).user_id == ANNA


def test_the_connections_own_person_comes_before_its_team_and_that_before_the_default() -> None:
    def choose(*members: Candidate, **more: Any) -> Decision:
        return Router([], [sales(*members), YEREVAN], default_team_id=10).choose(request(**more))

    assert choose(anna(), boris(), user_id=BORIS, team_id=20).reason == "connection_person"
    stand_in = choose(anna(), boris(**ON_HOLIDAY), user_id=BORIS, team_id=20)
    assert stand_in.user_id == DINA
    assert told(stand_in)[1:3] == [
        "This channel's requests are for Boris: absent until 22.06. 09:00.",
        "No rule applies; this channel belongs to the team Yerevan.",
    ]
    assert choose(anna(), team_id=77).user_id == ANNA


def test_a_rule_gives_requests_to_a_team_or_to_a_person_and_not_to_both() -> None:
    for team_id, user_id in ((None, None), (1, 2)):
        with pytest.raises(Rejected, match="either to a team or to one person"):
            Rule(id=1, position=1, team_id=team_id, user_id=user_id)


# Language and territory


def test_a_request_waits_for_the_colleague_who_speaks_its_language_and_is_off_shift() -> None:
    decision = route(anna(languages=("ru",)), boris(languages=("hy",), **OFF_SHIFT), language="hy")
    assert (decision.user_id, decision.first_back_id) == (None, BORIS)


def test_nobody_waits_for_the_only_speaker_while_that_one_is_on_holiday() -> None:
    decision = route(anna(languages=("ru",)), boris(languages=("hy",), **ON_HOLIDAY), language="hy")
    assert decision.user_id == ANNA
    assert "Nobody in the team speaks hy." in told(decision)


@pytest.mark.parametrize(
    ("members", "chosen", "waived"),
    [
        # one has both
        ([anna(languages=("hy",), territories=("RU",)), boris(languages=("hy",), territories=("AM",))], BORIS, None),
        # each has one of them: the language counts more
        (
            [anna(languages=("ru",), territories=("AM",)), boris(languages=("hy",), territories=("RU",))],
            BORIS,
            "Nobody in the team has the territory AM.",
        ),
        # nobody speaks it, one has the territory
        (
            [anna(languages=("ru",), territories=("RU",)), boris(languages=("ru",), territories=("AM",))],
            BORIS,
            "Nobody in the team speaks hy.",
        ),
        # nobody has either: it must be answered all the same
        (
            [anna(languages=("ru",), territories=("RU",)), boris(languages=("en",), territories=("RU",))],
            ANNA,
            "Nobody in the team speaks hy.",
        ),
    ],
)
def test_what_nobody_can_offer_is_waived_territory_before_language(
    members: list[Candidate], chosen: int, waived: str | None
) -> None:
    decision = route(*members, language="hy", country="AM", phone="+37410123456")
    assert decision.user_id == chosen
    assert ("waived" in decision.explanation) is (waived is not None)
    if waived is not None:
        assert waived in told(decision)


def test_a_request_of_unknown_language_and_country_is_anybodys() -> None:
    decision = route(anna(languages=("hy",), territories=("AM",)), boris())
    assert decision.user_id == ANNA
    assert "waived" not in decision.explanation


# A batch


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1, 30), min_size=1, max_size=8), st.integers(0, 60))
def test_with_everybody_there_the_shares_differ_by_one_at_most(turns: list[int], requests: int) -> None:
    members = tuple(Candidate(user_id=n, turn=turn) for n, turn in enumerate(turns))
    router = Router([], [Team(id=10, members=members)], default_team_id=10)
    shares = Counter({n: 0 for n in range(len(turns))})
    shares.update(router.choose(request()).user_id or 0 for _ in range(requests))
    assert max(shares.values()) - min(shares.values()) <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.lists(st.integers(1, 7), max_size=8))
def test_batches_with_stored_turns_choose_as_one_long_batch(size: int, batches: list[int]) -> None:
    turns = dict.fromkeys(range(size), 0)

    def router() -> Router:
        members = tuple(Candidate(user_id=n, turn=turn) for n, turn in turns.items())
        return Router([], [Team(id=10, members=members)], default_team_id=10)

    whole = router()
    expected = [whole.choose(request()).user_id for _ in range(sum(batches))]
    chosen = []
    for length in batches:
        part = router()
        chosen += [part.choose(request()).user_id for _ in range(length)]
        turns.update(part.changed_turns()[10])
    assert chosen == expected
    assert turns == turns | whole.changed_turns().get(10, {})


def test_somebody_back_from_a_long_holiday_is_next_once_and_not_flooded() -> None:
    router = Router([], [sales(anna(turn=500), boris(turn=12), kirill(turn=501))], default_team_id=10)
    assert [router.choose(request()).user_id for _ in range(6)] == [BORIS, ANNA, KIRILL, BORIS, ANNA, KIRILL]


def test_capacity_holds_within_a_batch_and_across_teams() -> None:
    both = Candidate(user_id=DINA, capacity=3, open_load=1)
    router = Router(
        [rule(7, country=["AM"])], [sales(both, anna(capacity=1)), Team(id=20, members=(both,))], default_team_id=10
    )
    chosen = [router.choose(request(country=country)).user_id for country in ("AM", "RU", "RU", "RU", "AM")]
    assert chosen == [DINA, DINA, ANNA, None, None]


def test_own_customers_fill_the_plate_for_new_ones() -> None:
    router = Router([], [sales(anna(capacity=1), boris(turn=9))], default_team_id=10)
    assert router.choose(request(), anna(capacity=1)).user_id == ANNA
    assert router.choose(request()).user_id == BORIS


def test_a_decision_does_not_change_when_later_ones_are_made() -> None:
    router = Router([rule(9, team_id=10)], [sales(anna(**ON_HOLIDAY), boris(), kirill())])
    first = router.choose(request())
    before = json.dumps(first.explanation)
    for _ in range(5):
        router.choose(request(), anna(**ON_HOLIDAY))
    assert json.dumps(first.explanation) == before
