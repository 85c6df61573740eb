"""Why Anna? The explanation of a choice, kept small, and told in sentences of any language."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from core.work.routing_choice import Candidate, Decision, Router, Rule, Team
from core.work.routing_conditions import Request, conditions_from_json
from core.work.routing_sentences import Names, sentences, users_in

NOON = datetime(2026, 6, 15, 9, 0, tzinfo=UTC)
MONDAY = NOON + timedelta(days=7)
ANNA, BORIS, KIRILL = 1, 2, 3
NAMES = Names(users={ANNA: "Anna", BORIS: "Boris", KIRILL: "Kirill"})
ON_HOLIDAY: dict[str, Any] = {"absent": True, "absent_until": MONDAY, "opens_at": MONDAY}
REQUEST = Request(connection_id=5, kind="webform", at=NOON)


def route(*members: Candidate) -> Decision:
    return Router([], [Team(id=10, members=members)], default_team_id=10).choose(REQUEST)


def test_an_explanation_is_small_however_large_the_team() -> None:
    rule = Rule(id=9, position=1, conditions=conditions_from_json({"kind": "webform"}), team_id=10)

    def size(people: int) -> int:
        members = [Candidate(user_id=100_000 + n, turn=n, **(ON_HOLIDAY if n % 3 == 0 else {})) for n in range(people)]
        decision = Router([rule], [Team(id=10, members=tuple(members))]).choose(REQUEST)
        return len(json.dumps(decision.explanation, separators=(",", ":")))

    assert size(10) < 320
    assert size(200) < 400


def test_a_large_team_is_told_in_part_with_the_rest_counted() -> None:
    decision = route(*(Candidate(user_id=n, turn=n, **(ON_HOLIDAY if n < 20 else {})) for n in range(30)))
    assert decision.user_id == 20
    assert sentences(decision.explanation)[-1] == "18 more were looked at."


def test_the_users_of_an_explanation_are_known_before_it_is_told() -> None:
    rule = Rule(id=8, position=1, user_id=KIRILL)
    team = Team(id=10, members=(Candidate(user_id=ANNA, working=False),))
    router = Router([rule], [team], people=[Candidate(user_id=KIRILL, **ON_HOLIDAY)], default_team_id=10)
    decision = router.choose(REQUEST, Candidate(user_id=BORIS, is_active=False))
    assert users_in(json.loads(json.dumps(decision.explanation))) == {ANNA, BORIS, KIRILL}
    assert users_in({"reason": "taken", "user": ANNA, "by_user": BORIS}) == {ANNA, BORIS}
    assert users_in({}) == set()


def test_a_lead_taken_by_hand_or_brought_along_is_told_too() -> None:
    assert sentences({"reason": "taken", "user": ANNA, "by_user": ANNA}, names=NAMES) == ["Anna took it."]
    assert sentences({"reason": "taken", "user": ANNA, "by_user": BORIS}, names=NAMES) == ["Anna got it from Boris."]
    assert sentences({}) == []


def test_a_name_that_is_gone_is_told_as_its_number() -> None:
    assert sentences({"reason": "owner", "user": 77}) == ["#77 is this customer's manager."]


def test_why_anna_is_told_in_russian_too() -> None:
    russian = {
        "%(name)s is next in turn in the team %(team)s.": "%(name)s: очередь в команде «%(team)s».",
        "No rule applies; the team %(team)s takes all other requests.": "Правил нет, команда «%(team)s».",
        "%(name)s: %(why)s.": "%(name)s — %(why)s.",
        "absent until %(time)s": "нет до %(time)s",
        "%(name)s: later in turn.": "%(name)s — позже.",
    }
    names = Names(users={ANNA: "Анна 100%", BORIS: "Борис", KIRILL: "Кирилл"}, teams={10: "Продажи"})
    boris, anna, kirill = Candidate(user_id=BORIS, **ON_HOLIDAY), Candidate(user_id=ANNA), Candidate(user_id=KIRILL)
    assert sentences(route(boris, anna, kirill).explanation, names=names, translate=russian.__getitem__) == [
        "Анна 100%: очередь в команде «Продажи».",
        "Правил нет, команда «Продажи».",
        "Борис — нет до 2026-06-22 09:00 UTC.",
        "Кирилл — позже.",
    ]
