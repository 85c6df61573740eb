"""Who gets a request: the choice itself, made from values alone, with the reason for it.

Asked in this order, the first answer counts:

1. **The owner of a known contact.** Customers want the person they know, so the owner keeps them even with a full
   plate (capacity limits new customers, not one's own). Somebody who has left or is absent does not. Somebody who is
   merely off shift keeps the customer when back within `owner_patience`, or when no colleague is at work either;
   otherwise a colleague stands in, since the deadline runs on the company's hours and not on the owner's.
2. **The rules, by position.** A rule that names a team ends the search: if nobody there is available, the request waits
   in that team's queue. A rule that names one person is passed over while that person cannot take it.
3. **The connection's own person, then its own team, then the company's default team.**

In a team the turn goes to whoever was chosen longest ago. So shares stay equal, and somebody back from holiday is next
once and is not flooded. Owners' returning customers and rules that name a person cost nobody their turn. A colleague
who is away from the desk is passed over, and keeps the turn, while somebody else is there.

Language and territory bind as long as anybody in the team who is not absent meets them, even if that one is off shift
now: then the request waits. Where nobody does, first the territory is waived and then the language, because a request
that nobody fits must still be answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from core.kernel.errors import Rejected
from core.work.routing_conditions import Conditions, Facts, Request, Test, territory

Explanation = dict[str, Any]
"""Why it was so, ready for JSON and made of ids and codes; `routing_sentences.sentences` puts it into words.

reason     the code of the decision; `user` and `team` whom it chose (absent for nobody)
by         what led to the team: "rule", "connection" or "default"; `rule` its id, `matched` the facts that met it
order      who was looked at, in order of turn: an id (the chosen one, or later in turn), or [id, code, …] with the
           reason against; `more` counts those beyond the first twelve
owner      [id, code, until] when the customer's own manager could not take it at once
skipped    [[rule id or null, user id, code, …], …]: rules that name somebody who cannot take it now
waived     "language", "territory": what nobody in the team could offer
language, country   what was asked for, where somebody was passed over for it or it was waived
first_back [id, time] of whoever will be at work first
by_user    who gave it to `user` by hand; the reason is then "taken"
"""

_MOST_NAMED = 12
_NEVER = -1


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that meet the conditions go to a team or to one person; the lowest position is asked first.

    Raises:
        Rejected: it names both a team and a person, or neither.
    """

    id: int
    position: int
    title: str = ""
    conditions: Conditions = Conditions()
    team_id: int | None = None
    user_id: int | None = None

    def __post_init__(self) -> None:
        """Refuse a rule without one clear target."""
        if (self.team_id is None) == (self.user_id is None):
            raise Rejected("A rule gives requests either to a team or to one person", field="team_id")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may be chosen, as things stand now.

    turn           the team's counter when last chosen there; -1 for never
    absent_until   aware, UTC; None with `absent` means nobody knows. Why they are absent is nobody's business here
    working        whether their working hours cover this moment
    opens_at       when they will be at work again, absences considered (`hours.available_from`); None if not known
    presence       "away" comes after all others; "off_shift" and "on_leave" are taken at their word
    open_load      open requests they have; `capacity` how many they may have, None for any number
    languages      BCP 47 tags; none means any language. `territories` likewise: ISO codes or prefixes such as +7495
    """

    user_id: int
    name: str = ""
    turn: int = _NEVER
    is_active: bool = True
    absent: bool = False
    absent_until: datetime | None = None
    working: bool = True
    opens_at: datetime | None = None
    presence: str = "available"
    open_load: int = 0
    capacity: int | None = None
    languages: tuple[str, ...] = ()
    territories: tuple[str, ...] = ()


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A team and those who take turns in it."""

    id: int
    members: tuple[Candidate, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets the request, and why.

    user_id      None: nobody for now, it waits in the queue of `team_id` (None: of nobody in particular)
    reason       owner, owner_back_soon, owner_anyway, rule_person, connection_person, next_in_turn, only_available,
                 nobody_available, no_team
    turn         the chosen one's new turn in that team; None when the choice cost no turn
    first_back_id, back_at   who will be at work first and when, if nobody was chosen and it is known
    """

    user_id: int | None
    team_id: int | None
    rule_id: int | None
    reason: str
    explanation: Explanation
    turn: int | None = None
    first_back_id: int | None = None
    back_at: datetime | None = None


class _Person:
    """A candidate with the load that grows while a batch is routed."""

    __slots__ = ("against", "back_at", "capacity", "id", "is_absent", "is_away", "languages", "load", "territory")

    def __init__(self, candidate: Candidate) -> None:
        self.id = candidate.user_id
        self.load = candidate.open_load
        self.capacity = candidate.capacity
        self.is_away = candidate.presence == "away"
        self.is_absent = candidate.absent or candidate.presence == "on_leave" or not candidate.is_active
        self.languages = frozenset(tag.replace("_", "-").partition("-")[0].casefold() for tag in candidate.languages)
        self.territory = territory(candidate.territories) if candidate.territories else None
        self.back_at: datetime | None = None
        # Why not, as far as it cannot change within a batch; shared by many explanations and never changed.
        self.against: list[Any] | None = None
        if not candidate.is_active:
            self.against = [self.id, "inactive"]
        elif self.is_absent:
            known = [moment for moment in (candidate.absent_until, candidate.opens_at) if moment is not None]
            self.back_at = max(known, default=None)
            self.against = [self.id, "absent", *_written(candidate.absent_until or self.back_at)]
        elif not candidate.working or candidate.presence == "off_shift":
            self.back_at = candidate.opens_at
            self.against = [self.id, "off_shift", *_written(self.back_at)]

    def obstacle(self) -> list[Any] | None:
        """Return [id, code, …] for why this person cannot take a new request now; None if nothing is against it."""
        if self.against is None and self.capacity is not None and self.load >= self.capacity:
            return [self.id, "full", self.load, self.capacity]
        return self.against


class _Seat:
    """A person's place in the rotation of one team."""

    __slots__ = ("person", "turn")

    def __init__(self, person: _Person, turn: int) -> None:
        self.person = person
        self.turn = turn


class _Rotation:
    """A team's seats, always in order of turn: whoever is chosen goes to the end."""

    __slots__ = ("changed", "counter", "has_demands", "id", "seats")

    def __init__(self, team_id: int, seats: list[_Seat]) -> None:
        self.id = team_id
        self.seats = sorted(seats, key=lambda seat: (seat.turn, seat.person.id))
        self.counter = max((seat.turn for seat in seats), default=_NEVER)
        self.has_demands = any(seat.person.languages or seat.person.territory for seat in seats)
        self.changed: dict[int, int] = {}

    def take_turn(self, seat: _Seat) -> int:
        self.counter += 1
        seat.turn = self.changed[seat.person.id] = self.counter
        self.seats.remove(seat)
        self.seats.append(seat)
        return self.counter

    def binding(self, facts: Facts) -> tuple[bool, bool, list[str]]:
        """Return whether language and territory bind here, and the names of those that had to be waived."""
        asks_language, asks_territory = bool(facts.primary), bool(facts.country or facts.phone)
        language = territory = both = False
        for seat in self.seats:
            if not seat.person.is_absent:
                speaks, covers = _speaks(seat.person, facts), _covers(seat.person, facts)
                language, territory, both = language or speaks, territory or covers, both or (speaks and covers)
        if both:
            return asks_language, asks_territory, []
        if language:
            return asks_language, False, ["territory"]
        if territory:
            return False, asks_territory, ["language"]
        return (
            False,
            False,
            [name for name, asks in (("language", asks_language), ("territory", asks_territory)) if asks],
        )


class Router:
    """Routes the requests of one batch one after another; turns and loads move with every choice.

    It sees the world as it was when it was made. Whoever makes it holds the lock on the teams until the changed turns
    are stored, or two workers choose the same person twice.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        teams: Iterable[Team],
        *,
        people: Iterable[Candidate] = (),
        default_team_id: int | None = None,
        owner_patience: timedelta = timedelta(hours=1),
    ) -> None:
        """Take the rules and teams; `people` are those whom rules or connections name and who are in no team."""
        self._people: dict[int, _Person] = {}
        self._teams = {
            team.id: _Rotation(team.id, [_Seat(self._meet(member), member.turn) for member in team.members])
            for team in teams
        }
        for candidate in people:
            self._meet(candidate)
        self._rules = [
            (rule, Test(rule.conditions)) for rule in sorted(rules, key=lambda rule: (rule.position, rule.id))
        ]
        self._default_team_id = default_team_id
        self._owner_patience = owner_patience

    def choose(self, request: Request, owner: Candidate | None = None) -> Decision:
        """Return who gets the request; `owner` is the manager of the contact, if the contact is known and has one."""
        explanation: Explanation = {}
        waiting: _Person | None = None
        if owner is not None:
            person = self._meet(owner)
            if person.against is None:
                return self._give(person, "owner", explanation)
            explanation["owner"] = person.against
            if not person.is_absent:
                if person.back_at is not None and person.back_at - request.at <= self._owner_patience:
                    return self._give(person, "owner_back_soon", explanation)
                waiting = person

        facts = Facts(request)
        rotation: _Rotation | None = None
        rule_id: int | None = None
        for rule, test in self._rules:
            matched = test(facts)
            if matched is None:
                continue
            if rule.user_id is not None:
                if (named := self._named(rule.user_id, rule.id, explanation)) is not None:
                    explanation |= {"by": "rule", "rule": rule.id, "matched": matched}
                    return self._give(named, "rule_person", explanation, rule_id=rule.id)
            elif rule.team_id in self._teams:
                rotation, rule_id = self._teams[rule.team_id], rule.id
                explanation |= {"by": "rule", "rule": rule.id, "matched": matched}
                break
        if rotation is None:
            named = None if request.user_id is None else self._named(request.user_id, None, explanation)
            if named is not None:
                return self._give(named, "connection_person", explanation)
            rotation = self._fallback(request, explanation)

        decision = self._choose_in(rotation, facts, rule_id, explanation) if rotation is not None else None
        if decision is not None and decision.user_id is not None:
            return decision
        if waiting is not None:
            explanation.pop("first_back", None)
            return self._give(waiting, "owner_anyway", explanation, rule_id=rule_id)
        if decision is not None:
            return decision
        explanation["reason"] = "no_team"
        return Decision(user_id=None, team_id=None, rule_id=None, reason="no_team", explanation=explanation)

    def changed_turns(self) -> dict[int, dict[int, int]]:
        """Return the new turns to be stored: team id → user id → turn. Teams where nobody was chosen are left out."""
        return {rotation.id: dict(rotation.changed) for rotation in self._teams.values() if rotation.changed}

    def _meet(self, candidate: Candidate) -> _Person:
        """Return the one person behind all mentions of a user, so that all teams see the same load."""
        person = self._people.get(candidate.user_id)
        if person is None:
            person = self._people[candidate.user_id] = _Person(candidate)
        return person

    def _named(self, user_id: int, rule_id: int | None, explanation: Explanation) -> _Person | None:
        """Return the person whom a rule or connection names, if they can take it; else note why not."""
        person = self._people.get(user_id)
        obstacle = [user_id, "inactive"] if person is None else person.obstacle()
        if obstacle is None:
            return person
        explanation.setdefault("skipped", []).append([rule_id, *obstacle])
        return None

    def _fallback(self, request: Request, explanation: Explanation) -> _Rotation | None:
        for by, team_id in (("connection", request.team_id), ("default", self._default_team_id)):
            if team_id is not None and (rotation := self._teams.get(team_id)) is not None:
                explanation["by"] = by
                return rotation
        return None

    def _give(self, person: _Person, reason: str, explanation: Explanation, *, rule_id: int | None = None) -> Decision:
        """Decide for a person outside of the rotation."""
        person.load += 1
        explanation |= {"reason": reason, "user": person.id}
        return Decision(user_id=person.id, team_id=None, rule_id=rule_id, reason=reason, explanation=explanation)

    def _choose_in(self, rotation: _Rotation, facts: Facts, rule_id: int | None, explanation: Explanation) -> Decision:
        """Decide for whoever is next in turn in a team, or for nobody."""
        language = territory = False
        if rotation.has_demands:
            language, territory, waived = rotation.binding(facts)
            if waived:
                explanation["waived"] = waived
        order: list[Any] = []
        chosen: _Seat | None = None
        resting: tuple[_Seat, int] | None = None  # the first who is away from the desk, and the place in `order`
        back: _Person | None = None
        available = 0
        for seat in rotation.seats:
            person = seat.person
            if language and not _speaks(person, facts):
                order.append([person.id, "language"])
            elif territory and not _covers(person, facts):
                order.append([person.id, "territory"])
            elif (obstacle := person.obstacle()) is not None:
                order.append(obstacle)
                if person.back_at is not None and (back is None or person.back_at < (back.back_at or person.back_at)):
                    back = person
            elif person.is_away:
                resting = resting or (seat, len(order))
                order.append([person.id, "away"])
            else:
                chosen = chosen or seat
                available += 1
                order.append(person.id)
        if chosen is None and resting is not None:
            chosen, place = resting
            order[place] = chosen.person.id
            available = sum(1 for entry in order if isinstance(entry, int) or entry[1] == "away")
        if rotation.has_demands:
            _note_demands(order, facts, explanation)
        if len(order) > _MOST_NAMED:
            explanation["more"] = len(order) - _MOST_NAMED
            del order[_MOST_NAMED:]
        explanation |= {"team": rotation.id, "order": order}
        if chosen is None:
            return self._leave(rotation.id, rule_id, back, explanation)
        reason = "only_available" if available == 1 else "next_in_turn"
        explanation |= {"reason": reason, "user": chosen.person.id}
        chosen.person.load += 1
        return Decision(
            user_id=chosen.person.id,
            team_id=rotation.id,
            rule_id=rule_id,
            reason=reason,
            explanation=explanation,
            turn=rotation.take_turn(chosen),
        )

    def _leave(self, team_id: int, rule_id: int | None, back: _Person | None, explanation: Explanation) -> Decision:
        """Decide for nobody: the request waits in the team's queue."""
        reason = explanation["reason"] = "nobody_available"
        decision = Decision(user_id=None, team_id=team_id, rule_id=rule_id, reason=reason, explanation=explanation)
        if back is None:
            return decision
        explanation["first_back"] = [back.id, *_written(back.back_at)]
        return msgspec.structs.replace(decision, first_back_id=back.id, back_at=back.back_at)


def _speaks(person: _Person, facts: Facts) -> bool:
    return not person.languages or not facts.primary or facts.primary in person.languages


def _covers(person: _Person, facts: Facts) -> bool:
    known = facts.country or facts.phone
    return person.territory is None or not known or person.territory.covers(facts.country, facts.phone)


def _note_demands(order: list[Any], facts: Facts, explanation: Explanation) -> None:
    named = {*explanation.get("waived", ()), *(entry[1] for entry in order if isinstance(entry, list))}
    if "language" in named:
        explanation["language"] = facts.primary
    if "territory" in named:
        explanation["country"] = facts.country or facts.phone[:5]


def _written(moment: datetime | None) -> list[str]:
    """Return the moment for an explanation, to the minute, in UTC; an empty list for none."""
    return [] if moment is None else [moment.strftime("%Y-%m-%dT%H:%MZ")]
