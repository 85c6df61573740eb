"""The demo company at work: who does what when, done with the functions everybody uses."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Receiver
from core.people.contacts import Contact
from core.sales import deals, leads, pipelines
from core.sales.deals import Deal, Outcome
from core.sales.leads import LeadStatus
from core.sales.pipelines import Stage, StageRule
from core.staff import absences, audit, teams, users, workspace
from core.talk import conversations
from core.talk.conversations import Conversation
from core.work import hours_json, notifications, stage_tasks, tasks
from core.work.hours import Schedule
from core.work.tasks import EscalationStep, Task
from hub import connections, worker
from hub.app import Hub
from hub.commands import demo_company as company
from hub.commands.demo_calls import Phones
from hub.commands.demo_company import Inquiry
from hub.commands.workplace import CLIENT
from webhooks.request import RawRequest

_ZONE = ZoneInfo(company.SCHEDULE["time_zone"])
_WORKING_DAY = 840  # minutes
_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

Act = Callable[[], Awaitable[None]]


@dataclass(order=True)
class Step:
    """Something that happens at a moment."""

    at: datetime
    number: int
    act: Act = field(compare=False)


@dataclass
class Customer:
    """Somebody who asks for windows, and what is to become of it."""

    inquiry: Inquiry
    phone: str
    email: str
    contact_id: int = 0


class Play:
    """The company, its customers and what is still to happen."""

    def __init__(self, hub: Hub, clock: Any, now: datetime, *, seed: int) -> None:
        self.hub, self.clock, self.now = hub, clock, now
        self.planned: list[Step] = []
        self._numbers = itertools.count()
        self._seed = seed
        self._random = random.Random(seed)  # the same company every time
        self._people: dict[str, int] = {}
        self._stages: dict[str, Stage] = {}
        self._schedule: Schedule = hours_json.from_json(company.SCHEDULE)
        self._connection_id = 0
        self._today = now.astimezone(_ZONE).date()

    # --- the company ---

    async def prepare(self, password: str) -> None:
        """Found the company two weeks ago and plan what will happen."""
        from hub import auth

        founded = self._at(15, "10:00")
        self.clock.set(founded)
        password_hash = await auth.hash_password(password)
        async with self.hub.database.transaction() as session:
            house = await workspace.get(session)
            house.name, house.schedule, house.time_zone = company.NAME, company.SCHEDULE, company.SCHEDULE["time_zone"]
            house.country, house.currency = "RU", "RUB"
            sales = await teams.by_name(session, "Sales")
            for person in company.PEOPLE:
                user = await users.add(
                    session,
                    email=f"{person.key}@example.com",
                    name=person.name,
                    role=person.role,
                    at=founded,
                    password_hash=password_hash,
                    team_ids=[sales.id] if person.key == "kirill" else None,
                    extension=person.extension,
                )
                self._people[person.key] = user.id
            pipeline = await pipelines.default(session)
            self._stages = {stage.name: stage for stage in await pipelines.stages_of(session, pipeline.id)}
            for rule in company.RULES:
                session.add(self._rule(rule, founded))
            connection = await connections.create(
                session,
                self.hub.vault,
                kind="webform",
                title="Website",
                settings={"allowed_origins": company.SITE},
                at=founded,
                actor_id=self._people["elena"],
                default_country="RU",
            )
            self._connection_id = connection.id
            self.phones = Phones(self.hub, self.clock, self._people, seed=self._seed)
            await self.phones.connect(session, at=founded, actor_id=self._people["elena"])
            audit.note(session, "workspace.demo", at=founded, client=CLIENT)
            await self._absences(session, founded)
        await self.hub.switchboard.refresh()
        self._plan_inquiries()

    def _rule(self, rule: company.Rule, at: datetime) -> StageRule:
        return StageRule(
            stage_id=self._stages[rule.stage].id,
            title=rule.title,
            kind=rule.kind,
            due_minutes=rule.due_minutes,
            assignee_id=None if rule.to is None else self._people[rule.to],
            created_at=at,
        )

    async def _absences(self, session: AsyncSession, at: datetime) -> None:
        """Boris is on holiday from a week ago until four days from now; Anna was at the dentist's the day before."""
        away = (
            ("boris", self._at(6, "09:00"), self._at(-4, "09:00"), "Holiday"),
            ("anna", self._at(2, "13:00"), self._at(2, "13:45"), "Dentist"),
        )
        for key, starts_at, ends_at, reason in away:
            await absences.add(
                session, user_id=self._people[key], starts_at=starts_at, ends_at=ends_at, at=at, reason=reason
            )
        self.plan(self._at(2, "13:46"), self._offer)
        for days_ago in range(14, -1, -1):  # what came in at night is waiting for whoever begins the day
            self.plan(self._at(days_ago, "08:00"), self._offer)

    async def _offer(self) -> None:
        await worker.offer_waiting(self.hub)

    # --- time ---

    def plan(self, at: datetime, act: Act) -> None:
        """Have something happen at a moment."""
        heapq.heappush(self.planned, Step(at, next(self._numbers), act))

    async def pass_time(self, until: datetime) -> None:
        """Move the clock to a moment, stopping wherever a deadline falls due on the way."""
        while True:
            async with self.hub.database.reading() as session:
                due = await session.scalar(select(func.min(EscalationStep.due_at)))
            if due is None or due > until:
                break
            self.clock.set(max(due, self.clock.now()))
            await worker.run_deadlines(self.hub)
            await worker.take_notices(self.hub)
        self.clock.set(max(until, self.clock.now()))

    async def settle(self) -> None:
        """Have everything understood and told that has just happened."""
        await worker.drain(self.hub)

    def _at(self, days_ago: int, clock: str) -> datetime:
        day: date = self._today - timedelta(days=days_ago)
        hour, minute = (int(part) for part in clock.split(":"))
        return datetime(day.year, day.month, day.day, hour, minute, self._random.randrange(60), tzinfo=_ZONE)

    def _after(self, start: datetime, least: float, most: float) -> datetime:
        """Return a moment some working minutes later."""
        return self._schedule.add(start, self._random.uniform(least, most))

    # --- the customers ---

    def _plan_inquiries(self) -> None:
        timed = [(self._at(inquiry.days_ago, inquiry.clock), inquiry) for inquiry in company.INQUIRIES]
        timed += [(self.now - timedelta(minutes=minutes), inquiry) for minutes, inquiry in company.TODAY]
        customers = [self._customer(number, inquiry) for number, (_, inquiry) in enumerate(timed)]
        for (at, _), customer in zip(timed, customers, strict=True):
            self._plan_inquiry(at, customer)
        numbers = {customer.inquiry.name: customer.phone for customer in customers}
        for place, ring in enumerate(company.RINGS):
            rang = self.now - timedelta(minutes=ring.minutes_ago)
            number = numbers.get(ring.who, f"8 (900) 000-99-{10 + place}")
            self.plan(rang, lambda ring=ring, number=number, rang=rang: self.phones.ring(ring, number, rang))  # type: ignore[misc]
        for days_ago in range(13, 0, -1):
            self.plan(self._at(days_ago, "09:05"), self._read_notifications)

    def _customer(self, number: int, inquiry: Inquiry) -> Customer:
        if inquiry.language == "en":
            phone = f"+44 20 7946 0{100 + number}"
        else:
            spellings = ("8 (900) 000-{}-{}", "+7 900 000 {} {}", "8900000{}{}", "+7(900)000-{}-{}")
            phone = spellings[number % len(spellings)].format(f"{10 + number}", f"{self._random.randrange(10, 99)}")
        mail = inquiry.email or f"customer{number + 1}@example.{('com', 'org', 'net')[number % 3]}"
        return Customer(inquiry, phone, mail)

    def _plan_inquiry(self, at: datetime, customer: Customer) -> None:
        self.plan(at, lambda: self._ask(customer, customer.inquiry.text))
        fate = customer.inquiry.fate
        if self._random.random() < 0.15:  # a double click
            self.plan(at + timedelta(seconds=2), lambda: self._ask(customer, customer.inquiry.text))
        if fate.asks_again:
            again = at + timedelta(days=fate.asks_again, minutes=self._random.randrange(200))
            answered = self._after(again, 3, 13)
            self.plan(again, lambda: self._ask(customer, "И ещё одно окно в ванную, пожалуйста"))
            self.plan(answered, lambda: self._call(customer, answered))
        if fate.called is None:
            return
        called = self._after(at, 3, 13) if fate.called else self._after(at, 25, 95)
        self.plan(called, lambda: self._call(customer, called))

    async def _ask(self, customer: Customer, message: str) -> None:
        """Post the form of the website."""
        live = self.hub.switchboard.by_id(self._connection_id)
        assert live is not None and isinstance(live.channel, Receiver)
        inquiry = customer.inquiry
        fields = {"name": inquiry.name, "phone": customer.phone, "email": customer.email, "message": message}
        fields |= {"company": inquiry.company} if inquiry.company else {}
        fields |= {"landing_page": f"{company.SITE}/{'en/' if inquiry.language == 'en' else ''}windows"}
        if inquiry.source:
            fields |= {"utm_source": inquiry.source, "utm_medium": "cpc", "utm_campaign": "autumn"}
        language = "en-GB,en" if inquiry.language == "en" else "ru-RU,ru"
        path = f"/hooks/{live.key}"
        request = RawRequest(
            body=urlencode(fields).encode(),
            headers={
                "content-type": "application/x-www-form-urlencoded",
                "origin": company.SITE,
                "user-agent": _AGENT,
                "accept-language": language,
            },
            path=path,
            url=f"{self.hub.public_url}{path}",
            client=f"192.0.2.{1 + sum(customer.phone.encode()) % 250}",  # TEST-NET-1, RFC 5737
        )
        live.channel.verify(request, self.clock.now())
        routed = live.channel.route(request)
        await self.hub.ingress.accept(
            live.id, request, dedupe_key=routed.dedupe_key, repeat_within=routed.repeat_within, peer=routed.peer
        )

    # --- the colleagues ---

    async def _actor(self, session: AsyncSession, owner_id: int | None) -> int:
        """Return who acts: the owner, or Kirill where there is none or they are away."""
        if owner_id is None or await absences.current(session, [owner_id], self.clock.now()):
            return self._people["kirill"]
        return owner_id

    async def _deal_of(self, session: AsyncSession, customer: Customer) -> Deal | None:
        deal: Deal | None = await session.scalar(
            select(Deal)
            .join(Contact, Contact.id == Deal.contact_id)
            .where(Contact.name == customer.inquiry.name, Deal.outcome == Outcome.OPEN)
            .order_by(Deal.id)
        )
        return deal

    async def _call(self, customer: Customer, at: datetime) -> None:
        """Call the customer: the task is done, the lead is worth something or is not."""
        async with self.hub.database.transaction() as session:
            deal = await self._deal_of(session, customer)
            if deal is None:
                return
            actor = await self._actor(session, deal.owner_id)
            for task in await tasks.open_calls_to(session, deal.contact_id):
                await tasks.complete(session, task, at=at, actor_id=actor)
            if customer.inquiry.fate.end == "junk":
                await self._throw_away(session, deal, at, actor)
                return
            await self._note(session, deal, at, actor)
            await self._enter(session, deal, "Qualified", at, actor)
            contact_id = deal.contact_id
        await self.phones.call(customer.phone, actor, at)
        await self.phones.conclude(contact_id, "interested", "", at=at, actor_id=actor)
        if customer.inquiry.fate.end == "Qualified":
            return
        measured = self._after(at, 400, 1000)
        self.plan(measured, lambda: self._propose(customer, measured))

    async def _throw_away(self, session: AsyncSession, deal: Deal, at: datetime, actor: int) -> None:
        if deal.lead_id is not None:
            lead = await leads.get(session, deal.lead_id)
            await leads.disqualify(session, lead, at=at, status=LeadStatus.JUNK, reason="Advertising", actor_id=actor)
        await deals.lose(session, deal, at=at, reason="Other", actor_id=actor)

    async def _note(self, session: AsyncSession, deal: Deal, at: datetime, actor: int) -> None:
        talk = await session.scalar(
            select(Conversation).where(Conversation.contact_id == deal.contact_id).order_by(Conversation.id)
        )
        if talk is not None:
            await conversations.note(session, talk, text=self._random.choice(company.NOTES), at=at, author_id=actor)

    async def _enter(self, session: AsyncSession, deal: Deal, stage: str, at: datetime, actor: int) -> None:
        """Take the deal to a stage: what the stage before asked for is done, and the new one asks for something."""
        await self._finish(session, deal, at, actor)
        if await deals.move(session, deal, self._stages[stage], at=at, actor_id=actor):
            await stage_tasks.enter(session, deal, self._stages[stage], at=at, actor_id=actor)

    async def _finish(self, session: AsyncSession, deal: Deal, at: datetime, actor: int) -> None:
        """Note the open tasks of a deal as done, each by whose it was."""
        found = await session.scalars(
            select(Task).where(Task.deal_id == deal.id, Task.status.in_(tasks.OPEN_STATUSES)).order_by(Task.id)
        )
        for task in found:
            await tasks.complete(session, task, at=at, actor_id=task.assignee_id or actor)

    async def _propose(self, customer: Customer, at: datetime) -> None:
        """Maks has measured: now there is a price, and after it an answer."""
        fate = customer.inquiry.fate
        async with self.hub.database.transaction() as session:
            deal = await self._deal_of(session, customer)
            if deal is None:
                return
            actor = await self._actor(session, deal.owner_id)
            if fate.end == "lost" and not fate.amount:
                await self._lose(session, deal, fate.reason, at, actor)
                return
            await deals.change(session, deal, at=at, actor_id=actor, amount=fate.amount * 100)
            await self._enter(session, deal, "Proposal", at, actor)
        sent = self._after(at, 40, 200)
        self.plan(sent, lambda: self._send(customer, sent))

    async def _send(self, customer: Customer, at: datetime) -> None:
        """The proposal is sent; a day or two later the customer decides."""
        async with self.hub.database.transaction() as session:
            deal = await self._deal_of(session, customer)
            if deal is None:
                return
            actor = await self._actor(session, deal.owner_id)
            await self._finish(session, deal, at, actor)
            if self._random.random() < 0.5:
                await self._note(session, deal, at, actor)
        if customer.inquiry.fate.end != "Proposal":
            decided = self._after(at, 0.6 * _WORKING_DAY, 1.5 * _WORKING_DAY)
            self.plan(decided, lambda: self._decide(customer, decided))

    async def _decide(self, customer: Customer, at: datetime) -> None:
        """The customer says yes or no."""
        async with self.hub.database.transaction() as session:
            deal = await self._deal_of(session, customer)
            if deal is None:
                return
            actor = await self._actor(session, deal.owner_id)
            if customer.inquiry.fate.end == "lost":
                await self._lose(session, deal, customer.inquiry.fate.reason, at, actor)
                return
            await self._enter(session, deal, "Payment", at, actor)
        if customer.inquiry.fate.end == "Payment":
            return
        paid = self._after(at, 0.4 * _WORKING_DAY, 1.2 * _WORKING_DAY)
        self.plan(paid, lambda: self._pay(customer, paid))

    async def _pay(self, customer: Customer, at: datetime) -> None:
        """The money is there: the deal is won, and Igor has windows to install."""
        async with self.hub.database.transaction() as session:
            deal = await self._deal_of(session, customer)
            if deal is None:
                return
            actor = await self._actor(session, deal.owner_id)
            await self._enter(session, deal, "Won", at, actor)
            deal_id = deal.id
        installed = self._after(at, 3 * _WORKING_DAY, 7.5 * _WORKING_DAY)
        self.plan(installed, lambda: self._install(deal_id, installed))

    async def _install(self, deal_id: int, at: datetime) -> None:
        """Igor has put the windows in."""
        async with self.hub.database.transaction() as session:
            await self._finish(session, await deals.get(session, deal_id), at, self._people["igor"])

    async def _lose(self, session: AsyncSession, deal: Deal, reason: str, at: datetime, actor: int) -> None:
        found = await session.scalars(
            select(Task).where(Task.deal_id == deal.id, Task.status.in_(tasks.OPEN_STATUSES)).order_by(Task.id)
        )
        for task in found:
            await tasks.cancel(session, task, at=at, actor_id=actor)
        await deals.lose(session, deal, at=at, reason=reason, actor_id=actor)

    async def _read_notifications(self) -> None:
        """Everybody who is there reads in the morning what they were told the day before."""
        now = self.clock.now()
        async with self.hub.database.transaction() as session:
            away = await absences.current(session, self._people.values(), now)
            for user_id in self._people.values():
                if user_id not in away:
                    await notifications.mark_read(session, user_id, at=now)
