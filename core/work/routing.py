"""Routing: reads who works here and how things stand, and lets `routing_choice` choose; then keeps the turns.

While a router is open the teams are locked, so that two workers never give the same turn away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.connections import Connection
from core.kernel import addresses, events
from core.people.contacts import Contact, ContactIdentity
from core.sales.deals import Deal, Outcome
from core.sales.leads import OPEN_STATUSES as OPEN_LEADS
from core.sales.leads import Lead
from core.staff import absences, workspace
from core.staff.teams import Team, TeamMember
from core.staff.users import User
from core.talk.calls import Call
from core.work import hours, hours_json, routing_conditions
from core.work.routing_choice import Candidate, Decision, Router, Rule
from core.work.routing_choice import Team as Rotation
from core.work.routing_conditions import Request
from core.work.routing_rules import RoutingRule
from core.work.tasks import OPEN_STATUSES as OPEN_TASKS
from core.work.tasks import Task


class OpenRouter:
    """A router over the people as they are now. Close it in the same transaction."""

    def __init__(
        self,
        router: Router,
        people: Mapping[int, Candidate],
        home_teams: Mapping[int, int],
        *,
        needs_country: bool,
        in_hours: bool,
    ) -> None:
        self._router = router
        self._people = people
        self._home_teams = home_teams
        self.needs_country = needs_country
        """Whether anybody or any rule asks for the country, which takes a look at the phone number."""
        self.in_hours = in_hours

    def choose(self, request: Request, *, contact_owner_id: int | None) -> Decision:
        """Return who gets the request. A person chosen outside of a rotation brings the team they are in."""
        owner = None if contact_owner_id is None else self._people.get(contact_owner_id)
        decision = self._router.choose(request, owner)
        if decision.team_id is None and decision.user_id is not None:
            return Decision(
                user_id=decision.user_id,
                team_id=self._home_teams.get(decision.user_id),
                rule_id=decision.rule_id,
                reason=decision.reason,
                explanation=decision.explanation,
            )
        return decision

    def works_here(self, user_id: int) -> bool:
        """Whether somebody has not left."""
        return (person := self._people.get(user_id)) is not None and person.is_active

    async def close(self, session: AsyncSession) -> None:
        """Keep the turns that were given away."""
        for team_id, turns in self._router.changed_turns().items():
            await session.execute(
                text(
                    "UPDATE team_members m SET turn = v.turn "
                    "FROM unnest(CAST(:users AS bigint[]), CAST(:turns AS bigint[])) AS v(user_id, turn) "
                    "WHERE m.team_id = :team_id AND m.user_id = v.user_id"
                ),
                {"users": list(turns), "turns": list(turns.values()), "team_id": team_id},
            )


async def open_router(session: AsyncSession, *, at: datetime) -> OpenRouter:
    """Lock the teams and read rules, people, absences, hours and loads, for any number of choices.

    Only members who do not lead take turns, unless everybody in a team leads.
    """
    teams = list(await session.execute(select(Team.id).order_by(Team.id).with_for_update()))
    users = list(await session.scalars(select(User).order_by(User.id)))
    company = await workspace.get(session)
    company_hours = hours_json.from_json(company.schedule)
    away = await absences.current(session, [user.id for user in users], at)
    loads: dict[int, int] = {}
    if any(user.capacity is not None for user in users):
        rows = await session.execute(
            select(Deal.owner_id, func.count())
            .where(Deal.outcome == Outcome.OPEN, Deal.owner_id.in_([u.id for u in users if u.capacity is not None]))
            .group_by(Deal.owner_id)
        )
        loads = {owner_id: count for owner_id, count in rows if owner_id is not None}
    people = {user.id: _candidate(user, company_hours, away.get(user.id), loads.get(user.id, 0), at) for user in users}
    members = list(
        await session.execute(select(TeamMember.team_id, TeamMember.user_id, TeamMember.leads, TeamMember.turn))
    )
    rotations = []
    home_teams: dict[int, int] = {}
    for (team_id,) in teams:
        inside = [row for row in members if row.team_id == team_id]
        for row in inside:
            home_teams.setdefault(row.user_id, team_id)
        taking = [row for row in inside if not row.leads] or inside
        seats = tuple(_seated(people[row.user_id], row.turn) for row in taking if row.user_id in people)
        rotations.append(Rotation(id=team_id, members=seats))
    rules = [
        Rule(
            id=row.id,
            position=row.position,
            title=row.title,
            conditions=routing_conditions.conditions_from_json(row.conditions),
            team_id=row.team_id,
            user_id=row.user_id,
        )
        for row in await session.scalars(select(RoutingRule).where(RoutingRule.is_active.is_(True)))
    ]
    return OpenRouter(
        Router(rules, rotations, people=people.values(), default_team_id=teams[0][0] if teams else None),
        people,
        home_teams,
        needs_country=any(user.territories for user in users) or any(rule.conditions.country for rule in rules),
        in_hours=company_hours.is_open(at),
    )


def _candidate(
    user: User, company_hours: hours.Schedule, absence: absences.Absence | None, load: int, at: datetime
) -> Candidate:
    schedule = company_hours if user.schedule is None else hours_json.from_json(user.schedule)
    spans = [] if absence is None else [(absence.starts_at, absence.ends_at)]
    working = hours.is_working(schedule, spans, at)
    return Candidate(
        user_id=user.id,
        name=user.name,
        is_active=user.is_active,
        absent=absence is not None,
        absent_until=None if absence is None else absence.ends_at,
        working=working or schedule.is_open(at),
        opens_at=None if working else hours.available_from(schedule, spans, at),
        presence=user.presence,
        open_load=load,
        capacity=user.capacity,
        languages=tuple(user.languages),
        territories=tuple(user.territories),
    )


def _seated(candidate: Candidate, turn: int) -> Candidate:
    values: dict[str, Any] = {name: getattr(candidate, name) for name in candidate.__struct_fields__}
    return Candidate(**{**values, "turn": turn})


async def offer_waiting(session: AsyncSession, *, at: datetime, limit: int = 100) -> int:
    """Give the leads that nobody was there for to whoever is there now, oldest first; return how many were given.

    Their deadline has been running all the while. Their deal, open tasks, conversation and contact go with them. Leads
    for whom there is still nobody do not stand in the way of those behind them.
    """
    router: OpenRouter | None = None
    given = last = 0
    while given < limit:
        waiting = list(
            await session.scalars(
                select(Lead)
                .where(Lead.owner_id.is_(None), Lead.status.in_(OPEN_LEADS), Lead.id > last, ~_still_on_the_phone())
                .order_by(Lead.id)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
        )
        if not waiting:
            break
        router = router or await open_router(session, at=at)
        requests = await _asked_again(session, waiting, router, at)
        for lead in waiting:
            last = lead.id
            request, contact_owner_id = requests[lead.id]
            decision = router.choose(request, contact_owner_id=contact_owner_id)
            if decision.user_id is not None:
                given += 1
                await take(
                    session, lead, user_id=decision.user_id, at=at, actor_id=None, explanation=decision.explanation
                )
    if router is not None:
        await router.close(session)
    return given


def _still_on_the_phone() -> ColumnElement[bool]:
    """Whether a lead's caller still rings or talks: whoever answers gets it, and if nobody does, it is routed then."""
    return exists(select(Call.id).where(Call.lead_id == Lead.id, Call.settled_at.is_(None)))


async def _asked_again(
    session: AsyncSession, leads: Sequence[Lead], router: OpenRouter, at: datetime
) -> dict[int, tuple[Request, int | None]]:
    """Return the request that each lead came from, as routing was asked then, and who owns its contact by now."""
    contact_ids = {lead.contact_id for lead in leads}
    channels = {
        row.id: row
        for row in await session.execute(
            select(Connection.id, Connection.kind, Connection.team_id, Connection.owner_id).where(
                Connection.id.in_({lead.connection_id for lead in leads})
            )
        )
    }
    contacts = {
        row.id: row
        for row in await session.execute(
            select(Contact.id, Contact.language, Contact.owner_id).where(Contact.id.in_(contact_ids))
        )
    }
    phones: dict[int, str] = {}
    for row in await session.execute(
        select(ContactIdentity.contact_id, ContactIdentity.value)
        .where(ContactIdentity.contact_id.in_(contact_ids), ContactIdentity.scheme == addresses.PHONE)
        .order_by(ContactIdentity.id)
    ):
        phones.setdefault(row.contact_id, row.value)
    asked: dict[int, tuple[Request, int | None]] = {}
    for lead in leads:
        channel, contact = channels.get(lead.connection_id), contacts.get(lead.contact_id)
        phone = phones.get(lead.contact_id, "")
        request = Request(
            connection_id=lead.connection_id or 0,
            kind=channel.kind if channel is not None else "",
            source=lead.source,
            language=(contact.language or "") if contact is not None else "",
            country=(addresses.country(phone) or "") if phone and router.needs_country else "",
            phone=phone,
            fields=lead.fields,
            at=at,
            in_hours=router.in_hours,
            user_id=channel.owner_id if channel is not None else None,
            team_id=lead.team_id or (channel.team_id if channel is not None else None),
        )
        asked[lead.id] = (request, contact.owner_id if contact is not None else None)
    return asked


async def take(
    session: AsyncSession,
    lead: Lead,
    *,
    user_id: int,
    at: datetime,
    actor_id: int | None,
    explanation: dict[str, Any] | None = None,
) -> None:
    """Give a lead to somebody, with all that hangs on it and has no owner or had the lead's: deal, tasks, contact."""
    before = lead.owner_id
    lead.owner_id = user_id
    lead.version += 1
    lead.routing = explanation or {"reason": "taken", "user": user_id, "by_user": actor_id}
    await session.flush()
    if lead.deal_id is not None:
        await session.execute(
            update(Deal)
            .where(Deal.id == lead.deal_id, Deal.owner_id.is_not_distinct_from(before), Deal.outcome == Outcome.OPEN)
            .values(owner_id=user_id, version=Deal.version + 1)
        )
    await session.execute(
        update(Task)
        .where(Task.lead_id == lead.id, Task.assignee_id.is_not_distinct_from(before), Task.status.in_(OPEN_TASKS))
        .values(assignee_id=user_id, version=Task.version + 1)
    )
    for table, person in (("contacts", "owner_id"), ("conversations", "assignee_id")):
        link = "id" if table == "contacts" else "contact_id"
        await session.execute(
            text(
                f"UPDATE {table} SET {person} = :user_id, version = version + 1 "  # noqa: S608 - our own names
                f"WHERE {link} = :contact_id AND {person} IS NULL"
            ),
            {"user_id": user_id, "contact_id": lead.contact_id},
        )
    await events.record(
        session,
        "lead.assigned",
        at,
        lead_id=lead.id,
        contact_id=lead.contact_id,
        deal_id=lead.deal_id,
        user_id=user_id,
        actor_id=actor_id,
        details={"from": before, "text": lead.message[:160]},
    )
