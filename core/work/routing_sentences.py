"""Why somebody got a request, in sentences: what the page shows under “Why Anna?”.

An explanation is kept as ids and codes (`routing_choice.Explanation`), so that it stays small and can be told in any
language and with today's names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What the ids of an explanation are called; an id that is missing (deleted since) is told as its number."""

    users: Mapping[int, str] = {}
    teams: Mapping[int, str] = {}
    rules: Mapping[int, str] = {}
    connections: Mapping[int, str] = {}


def users_in(explanation: Mapping[str, Any]) -> set[int]:
    """Return the ids of all users an explanation speaks of, to look their names up in one go."""
    ids = {entry if isinstance(entry, int) else entry[0] for entry in explanation.get("order", ())}
    ids |= {entry[1] for entry in explanation.get("skipped", ())}
    ids |= {explanation[key][0] for key in ("owner", "first_back") if key in explanation}
    ids |= {explanation[key] for key in ("user", "by_user") if explanation.get(key) is not None}
    return ids


def sentences(
    explanation: Mapping[str, Any],
    *,
    names: Names | None = None,
    show_time: Callable[[datetime], str] = lambda moment: moment.strftime("%Y-%m-%d %H:%M UTC"),
    translate: Callable[[str], str] = lambda text: text,
) -> list[str]:
    """Return the explanation in sentences: the decision, then what led to it, then why the others were not chosen.

    An empty explanation, as of a record that was imported with its owner, has no sentences.

    translate   gettext: takes the English text with its placeholders (`%(name)s`) and returns it in another language.
                The texts are the first arguments of `say`, for the extractor
    show_time   writes a moment (aware, UTC) for the reader's time zone
    """
    return _Telling(explanation, names or Names(), show_time, translate).lines() if explanation else []


class _Telling:
    """One explanation being told to one reader."""

    def __init__(
        self,
        explanation: Mapping[str, Any],
        names: Names,
        show_time: Callable[[datetime], str],
        translate: Callable[[str], str],
    ) -> None:
        self._told = explanation
        self._names = names
        self._show_time = show_time
        self._translate = translate

    def lines(self) -> list[str]:
        told = self._told
        lines = [self._decision()]
        if "owner" in told and told["reason"] == "owner_back_soon":
            lines[0] = self._owner_back_soon()
        elif "owner" in told and told["reason"] != "owner_anyway":
            lines.append(self._owner_passed_over())
        lines += [self._skipped(entry) for entry in told.get("skipped", ())]
        lines += self._way()
        lines += [self._waived(name) for name in told.get("waived", ())]
        lines += [self._candidate(entry) for entry in told.get("order", ()) if entry != told.get("user")]
        if "more" in told:
            lines.append(self._say("%(count)s more were looked at.", count=told["more"]))
        if "first_back" in told:
            lines.append(self._first_back(told["first_back"]))
        return lines

    def _decision(self) -> str:
        say, told = self._say, self._told
        name, team = self._user(told.get("user")), _called(self._names.teams, told.get("team"))
        match told["reason"]:
            case "owner":
                return say("%(name)s is this customer's manager.", name=name)
            case "owner_anyway":
                return say("%(name)s is this customer's manager, and no colleague is available now.", name=name)
            case "rule_person":
                return say("%(name)s is named by the rule for such requests.", name=name)
            case "connection_person":
                return say("%(name)s gets the requests of this channel.", name=name)
            case "next_in_turn":
                return say("%(name)s is next in turn in the team %(team)s.", name=name, team=team)
            case "only_available":
                return say("%(name)s is the only one available in the team %(team)s.", name=name, team=team)
            case "nobody_available":
                return say("Nobody is available in the team %(team)s; the request waits in its queue.", team=team)
            case "taken":
                giver = told.get("by_user")
                if giver is None or giver == told.get("user"):
                    return say("%(name)s took it.", name=name)
                return say("%(name)s got it from %(giver)s.", name=name, giver=self._user(giver))
            case _:
                return say("No rule and no team leads to somebody who could take it; the request waits for anybody.")

    def _owner_back_soon(self) -> str:
        name, times = self._user(self._told["owner"][0]), self._times(self._told["owner"][2:])
        return self._say("%(name)s is this customer's manager and is back soon, at %(time)s.", name=name, time=times)

    def _owner_passed_over(self) -> str:
        name, why = self._user(self._told["owner"][0]), self._why(self._told["owner"][1:])
        return self._say("This customer's manager is %(name)s: %(why)s.", name=name, why=why)

    def _skipped(self, entry: list[Any]) -> str:
        rule_id, user_id, *code = entry
        name, why = self._user(user_id), self._why(code)
        if rule_id is None:
            return self._say("This channel's requests are for %(name)s: %(why)s.", name=name, why=why)
        rule = _called(self._names.rules, rule_id)
        return self._say("The rule “%(rule)s” names %(name)s: %(why)s.", rule=rule, name=name, why=why)

    def _way(self) -> list[str]:
        say, told = self._say, self._told
        match told.get("by"):
            case "rule":
                rule = _called(self._names.rules, told["rule"])
                facts = "; ".join(self._facts(told.get("matched", {})))
                if facts:
                    return [say("The rule “%(rule)s” applies: %(facts)s.", rule=rule, facts=facts)]
                return [say("The rule “%(rule)s” applies to every request.", rule=rule)]
            case "connection":
                team = _called(self._names.teams, told.get("team"))
                return [say("No rule applies; this channel belongs to the team %(team)s.", team=team)]
            case "default":
                team = _called(self._names.teams, told.get("team"))
                return [say("No rule applies; the team %(team)s takes all other requests.", team=team)]
        return []

    def _facts(self, matched: Mapping[str, Any]) -> list[str]:
        say, facts = self._say, []
        for name, value in matched.items():
            match name:
                case "connection_id":
                    facts.append(say("the channel is %(value)s", value=_called(self._names.connections, value)))
                case "kind":
                    facts.append(say("the kind of channel is %(value)s", value=value))
                case "source":
                    facts.append(say("the source is %(value)s", value=value))
                case "language":
                    facts.append(say("the language is %(value)s", value=value))
                case "country":
                    facts.append(say("the phone is from %(value)s", value=value))
                case "hours":
                    text = say("it came in working hours") if value == "in" else say("it came after hours")
                    facts.append(text)
                case "fields":
                    facts += [say("%(field)s is %(value)s", field=field, value=text) for field, text in value.items()]
        return facts

    def _waived(self, name: str) -> str:
        told = self._told
        if name == "language":
            return self._say("Nobody in the team speaks %(language)s.", language=told.get("language", ""))
        return self._say("Nobody in the team has the territory %(country)s.", country=told.get("country", ""))

    def _candidate(self, entry: int | list[Any]) -> str:
        if isinstance(entry, int):
            return self._say("%(name)s: later in turn.", name=self._user(entry))
        return self._say("%(name)s: %(why)s.", name=self._user(entry[0]), why=self._why(entry[1:]))

    def _why(self, code: list[Any]) -> str:
        say, times = self._say, self._times(code[1:])
        match code[0]:
            case "absent":
                return say("absent until %(time)s", time=times) if times else say("absent")
            case "off_shift":
                return say("off shift until %(time)s", time=times) if times else say("off shift")
            case "full":
                return say("has %(load)s open requests of at most %(capacity)s", load=code[1], capacity=code[2])
            case "language":
                return say("does not speak %(language)s", language=self._told.get("language", ""))
            case "territory":
                return say("works with other territories than %(country)s", country=self._told.get("country", ""))
            case "away":
                return say("away from the desk")
            case _:
                return say("no longer works here")

    def _first_back(self, entry: list[Any]) -> str:
        name, time = self._user(entry[0]), self._times(entry[1:])
        return self._say("%(name)s is back first, at %(time)s.", name=name, time=time)

    def _say(self, text: str, **values: object) -> str:
        return self._translate(text) % values

    def _user(self, user_id: int | None) -> str:
        return _called(self._names.users, user_id)

    def _times(self, rest: list[Any]) -> str:
        """Return the moment behind a code for the reader; "" if there is none."""
        if not rest or not isinstance(rest[0], str):
            return ""
        return self._show_time(datetime.fromisoformat(rest[0]))


def _called(names: Mapping[int, str], key: int | None) -> str:
    return names.get(key, f"#{key}") if key is not None else ""
