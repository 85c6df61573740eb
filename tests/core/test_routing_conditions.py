"""When a routing rule applies, and how conditions are written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from core.kernel.errors import Rejected
from core.work.routing_choice import Candidate, Decision, Router, Rule, Team
from core.work.routing_conditions import Conditions, Request, conditions_from_json, conditions_to_json
from core.work.routing_sentences import Names, sentences

ANNA, DINA = 1, 4
NAMES = Names(rules={9: "Everything"}, connections={5: "Website"})


def choose(conditions: dict[str, Any], facts: dict[str, Any]) -> Decision:
    """Route a request by one rule for Dina's team; whatever it does not catch goes to Anna's."""
    request = Request(**{"connection_id": 5, "kind": "webform", "at": datetime(2026, 6, 15, 9, 0, tzinfo=UTC), **facts})
    rule = Rule(id=9, position=1, conditions=conditions_from_json(conditions), team_id=20)
    teams = [Team(id=10, members=(Candidate(user_id=ANNA),)), Team(id=20, members=(Candidate(user_id=DINA),))]
    return Router([rule], teams, default_team_id=10).choose(request)


@pytest.mark.parametrize(
    ("conditions", "facts", "sentence"),
    [
        ({}, {}, "The rule “Everything” applies to every request."),
        ({"connection_id": ["5"]}, {}, "The rule “Everything” applies: the channel is Website."),
        ({"connection_id": [4, 5]}, {}, "The rule “Everything” applies: the channel is Website."),
        ({"kind": ["telegram", "WebForm"]}, {}, "The rule “Everything” applies: the kind of channel is webform."),
        ({"source": ["google"]}, {"source": "Google "}, "The rule “Everything” applies: the source is google."),
        ({"source": ["webform"]}, {"source": ""}, "The rule “Everything” applies: the source is webform."),
        ({"language": "hy"}, {"language": "hy-AM"}, "The rule “Everything” applies: the language is hy-am."),
        ({"language": ["en_GB"]}, {"language": "en-gb"}, "The rule “Everything” applies: the language is en-gb."),
        ({"country": ["am"]}, {"country": "AM"}, "The rule “Everything” applies: the phone is from AM."),
        (
            {"country": ["+7495", "+374"]},
            {"phone": "+37410123456"},
            "The rule “Everything” applies: the phone is from +3741.",
        ),
        ({"hours": "after"}, {"in_hours": False}, "The rule “Everything” applies: it came after hours."),
        ({"hours": "in"}, {"in_hours": True}, "The rule “Everything” applies: it came in working hours."),
        (
            {"fields": {"city": ["Yerevan", "Gyumri"]}},
            {"fields": {"city": " GYUMRI"}},
            "The rule “Everything” applies: city is gyumri.",
        ),
        (
            {"fields": {"windows": ["3"]}},
            {"fields": {"windows": [2, 3]}},
            "The rule “Everything” applies: windows is 3.",
        ),
        (
            {"kind": ["webform"], "country": ["AM"]},
            {"country": "AM"},
            "The rule “Everything” applies: the kind of channel is webform; the phone is from AM.",
        ),
    ],
)
def test_a_rule_applies_when_all_its_conditions_hold(
    conditions: dict[str, Any], facts: dict[str, Any], sentence: str
) -> None:
    decision = choose(conditions, facts)
    assert (decision.user_id, decision.team_id, decision.rule_id) == (DINA, 20, 9)
    assert sentences(decision.explanation, names=NAMES)[1] == sentence


@pytest.mark.parametrize(
    ("conditions", "facts"),
    [
        ({"connection_id": ["6"]}, {}),
        ({"kind": ["telegram"]}, {}),
        ({"source": ["google"]}, {"source": "bing"}),
        ({"source": ["webform"]}, {"source": "google"}),
        ({"language": ["hy"]}, {"language": "ru"}),
        ({"language": ["hy"]}, {}),
        ({"language": ["en-GB"]}, {"language": "en"}),
        ({"country": ["AM"]}, {"country": "RU", "phone": "+37410123456"}),
        ({"country": ["+7495"]}, {"phone": "+79161234567", "country": "RU"}),
        ({"country": ["AM"]}, {}),
        ({"hours": "after"}, {}),
        ({"fields": {"city": ["Yerevan"]}}, {"fields": {"city": None}}),
        ({"fields": {"city": ["Yerevan"]}}, {"fields": {"town": "Yerevan"}}),
        ({"fields": {"city": ["Yerevan"], "size": ["big"]}}, {"fields": {"city": "Yerevan", "size": "small"}}),
        ({"kind": ["webform"], "country": ["AM"]}, {"country": "RU"}),
    ],
)
def test_a_rule_does_not_apply_when_one_condition_fails(conditions: dict[str, Any], facts: dict[str, Any]) -> None:
    decision = choose(conditions, facts)
    assert (decision.user_id, decision.rule_id) == (ANNA, None)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ([], "conditions"),
        ({"weather": ["rain"]}, "weather"),
        ({"connection_id": ["site"]}, "connection_id"),
        ({"kind": [""]}, "kind"),
        ({"kind": {"a": 1}}, "kind"),
        ({"language": [None]}, "language"),
        ({"source": [True]}, "source"),
        ({"source": ["x"] * 501}, "source"),
        ({"country": ["Russia"]}, "country"),
        ({"country": ["+7a"]}, "country"),
        ({"country": ["+"]}, "country"),
        ({"country": ["77"]}, "country"),
        ({"hours": "night"}, "hours"),
        ({"hours": ["in"]}, "hours"),
        ({"fields": ["city"]}, "fields"),
        ({"fields": {"city": [[]]}}, "fields.city"),
    ],
)
def test_bad_conditions_are_refused_with_the_name_of_the_field(data: Any, field: str) -> None:
    with pytest.raises(Rejected) as refusal:
        conditions_from_json(data)
    assert refusal.value.field == field


def test_conditions_survive_being_written_and_read() -> None:
    data = {
        "connection_id": [5],
        "kind": ["webform"],
        "country": ["RU", "+374"],
        "fields": {"city": ["Tallinn"]},
        "hours": "after",
    }
    stored = json.loads(json.dumps(conditions_to_json(conditions_from_json(data))))
    assert stored == data
    assert conditions_from_json(stored) == conditions_from_json(data)
    assert conditions_from_json({}) == conditions_from_json(None) == Conditions()
