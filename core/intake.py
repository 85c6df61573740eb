"""Intake: somebody got in touch, and it becomes work for somebody inside. The main job, read top to bottom.

A batch of requests is one transaction: what is known is looked up once for all of them, each request is then decided in
plain Python, and what was decided is written with one statement per table. An ORM flush per request was measured at
fifteen times the CPU.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from core.intake_batch import House, Written
from core.intake_known import Known, OpenDeal, OpenLead, Person, Talk
from core.intake_messages import Received, Saying, Source, answered_ids, external_id_of
from core.kernel import addresses, jobs, locks
from core.kernel.envelopes import Trust
from core.people.contacts import Contact, ContactIdentity, DuplicateCandidate, folded
from core.people.merging import MERGE_ATTESTED
from core.sales.deals import Deal, Outcome
from core.sales.leads import Lead, LeadStatus
from core.sales.pipelines import StageRule
from core.talk import changes
from core.work import routing, stage_tasks
from core.work.routing_conditions import Request
from core.work.tasks import EscalationStep, Task

__all__ = ["Received", "Result", "Source", "receive"]

_FURTHER_REQUEST = "Answer the new request"
_TAKE_BREATH = 50


class Result(NamedTuple):
    """What became of an event; `is_repeat` if it was known already and nothing changed."""

    contact_id: int
    conversation_id: int
    message_id: int
    lead_id: int | None = None
    deal_id: int | None = None
    is_repeat: bool = False


async def receive(session: AsyncSession, batch: Sequence[Received], *, now: datetime) -> list[Result]:
    """Turn what came in into contacts, conversations, leads, deals and tasks; return what became of each, in order.

    For each event: identify the person, resume or open the conversation, append the message (a repeat changes nothing),
    and, unless a lead or deal of theirs is open, route it to an owner, open the lead and the deal and make the first
    stage's tasks. A request of somebody whose deal is open joins it; if nobody has a task on that deal, somebody gets
    one.

    Addresses that lead to different people are never merged here: the one known longest gets the request, and the pair
    is noted as possible duplicates.

    Safe to call from several nodes at once: whoever shares an address with the batch waits until it is committed.
    """
    house = await House.load(session)
    known = await Known.load(
        session,
        lock_keys=locks.keys_of(str(c.address) for received in batch for c in received.event.claims),
        addresses=[(c.address.scheme, c.address.value) for received in batch for c in received.event.claims],
        messages=[(received.source.id, name) for received in batch for name in _names(received)],
        groups=[
            (received.source.id, f"{received.event.peer}:{received.event.group}")
            for received in batch
            if received.event.group
        ],
        echoes=[(received.source.id, received.event.peer) for received in batch if received.event.is_ours],
        peers=[
            (received.source.id, received.event.peer)
            for received in batch
            if received.event.peer and not received.event.is_ours
        ],
        now=now,
    )
    most_rules = max((len(stage.rules) for stage in house.first_stages.values()), default=0)
    files = sum(len(received.event.attachments) for received in batch)
    writing = await Written.begin(session, len(batch) * (6 + max(1, most_rules)) + files)
    router = await routing.open_router(session, at=now)
    results: list[Result] = []
    for number, received in enumerate(batch, 1):
        results.append(_Decision(received, house, known, writing, router, now).make())
        if number % _TAKE_BREATH == 0:
            await asyncio.sleep(0)  # others share this event loop
    await router.close(session)
    await writing.flush(session, known)
    for received, result in zip(batch, results, strict=True):
        spoke = received.event.claims[0].address if received.event.claims else None
        if spoke is None or (spoke.scheme, spoke.value) not in known.blocked:
            continue
        if not (result.is_repeat or received.event.is_ours or received.event.is_automatic):
            await changes.heard_from(session, spoke, at=received.received_at, now=now)
    return results


def _names(received: Received) -> list[str]:
    """Return the ids of messages that a decision may ask for: its own, and that of the one it answers."""
    return [external_id_of(received), *received.event.more_ids, *answered_ids(received.event)]


class _Decision(Saying):
    """One event being decided: who it is from, what is said, and what work it makes."""

    __slots__ = ()

    def make(self) -> Result:
        if (repeated := self.repeated()) is not None:
            message_id, contact_id, conversation_id = repeated
            return Result(contact_id, conversation_id, message_id, is_repeat=True)
        if (group := self.join_group()) is not None:
            self.tell(
                "message.grown",
                contact_id=group.contact_id,
                conversation_id=group.conversation_id,
                message_id=group.message_id,
            )
            return Result(group.contact_id, group.conversation_id, group.message_id)
        if self.event.only_known and not self.knows_anybody():
            return Result(0, 0, 0, is_repeat=True)
        person = self.addressee() if self.event.is_ours and not self.event.claims else self.identify()
        if person is None:
            return Result(0, 0, 0, is_repeat=True)
        talk = self.resume(person)
        message_id = self.append(person, talk)
        self.ask_who(person)
        if self.is_quiet:
            kind = "message.echoed" if self.event.is_ours else "message.automatic"
            self.tell(kind, contact_id=person.id, conversation_id=talk.id, message_id=message_id)
            return Result(person.id, talk.id, message_id)
        deal, lead = self.open_work_of(person)
        if deal is not None:
            self.join(person, talk, message_id, deal)
            return Result(person.id, talk.id, message_id, deal.lead_id, deal.id)
        if lead is not None:
            self.tell_of_message(person, talk, message_id, owner_id=lead.owner_id, lead_id=lead.id)
            return Result(person.id, talk.id, message_id, lead.id)
        if not self.source.make_lead:
            self.tell_of_message(person, talk, message_id, owner_id=person.owner_id)
            return Result(person.id, talk.id, message_id)
        return self.open_work(person, talk, message_id)

    def knows_anybody(self) -> bool:
        """Whether one of the addresses is somebody's already."""
        return any((claim.address.scheme, claim.address.value) in self.known.addresses for claim in self.event.claims)

    def identify(self) -> Person:
        """Find the person behind the addresses, or meet them. Of several people, the one known longest."""
        found = sorted(
            {
                contact_id
                for claim in self.event.claims
                if (contact_id := self.known.addresses.get((claim.address.scheme, claim.address.value))) is not None
            }
        )
        if found:
            person = self.known.people[found[0]]
            if self.event.name and not person.name:
                self.learn_name(person)
        else:
            person = self.meet()
        self.attach_addresses(person)
        for other in found[1:]:
            self.writing.add(
                DuplicateCandidate,
                contact_id=person.id,
                other_id=other,
                reason="shared_request",
                details={"delivery_id": self.received.delivery_id},
                created_at=self.now,
            )
            if self.house.merges_attested and self.is_attested(person.id, other):
                self.writing.jobs.append(
                    jobs.new_job(
                        MERGE_ATTESTED,
                        at=self.now,
                        unique_key=f"{MERGE_ATTESTED}:{person.id}:{other}",
                        kept_id=person.id,
                        gone_id=other,
                    )
                )
        return person

    def addressee(self) -> Person | None:
        """Return whom our own side wrote to where the event does not say; None for somebody we never heard of."""
        contact_id = self.known.peers.get((self.source.id, self.event.peer))
        return None if contact_id is None else self.known.people[contact_id]

    def is_attested(self, one: int, other: int) -> bool:
        """Whether a provider vouches that the addresses of two contacts are one person's."""
        vouched = {
            self.known.addresses.get((claim.address.scheme, claim.address.value))
            for claim in self.event.claims
            if claim.trust.rank >= Trust.VERIFIED.rank
        }
        return {one, other} <= vouched

    def meet(self) -> Person:
        event, contact_id = self.event, self.writing.next_id()
        search = folded(event.name, event.company)
        row = self.writing.add(
            Contact,
            id=contact_id,
            name=event.name,
            owner_id=None,
            team_id=None,
            company_name=event.company,
            language=event.language or None,
            first_source=self.source_name(),
            search=search,
            created_at=self.now,
        )
        person = Person(contact_id, event.name, None, None, search, row)
        self.known.people[contact_id] = person
        self.tell("contact.created", contact_id=contact_id)
        return person

    def learn_name(self, person: Person) -> None:
        person.name, person.is_changed = self.event.name, True
        person.search = f"{folded(self.event.name)} {person.search}".strip()
        if person.row is not None:
            person.row["name"], person.row["search"] = person.name, person.search

    def attach_addresses(self, person: Person) -> None:
        for claim in self.event.claims:
            key = (claim.address.scheme, claim.address.value)
            if key in self.known.addresses:
                continue
            self.known.addresses[key] = person.id
            self.writing.add(
                ContactIdentity,
                contact_id=person.id,
                scheme=claim.address.scheme,
                value=claim.address.value,
                raw=claim.raw,
                trust=claim.trust.value,
                connection_id=self.source.id,
                created_at=self.now,
            )
            person.search = f"{person.search} {folded(claim.address.value)}".strip()
            person.is_changed = True
            if person.row is not None:
                person.row["search"] = person.search

    def open_work_of(self, person: Person) -> tuple[OpenDeal | None, OpenLead | None]:
        """Return what a further request of this person joins: an open deal of this pipeline, else an open lead."""
        first = self.house.first_stage(self.source.pipeline_id)
        for deal in self.known.deals.get(person.id, ()):
            if first is None or deal.pipeline_id == first.pipeline_id:
                return deal, None
        return None, self.known.leads.get(person.id)

    def join(self, person: Person, talk: Talk, message_id: int, deal: OpenDeal) -> None:
        """Add a request to an open deal. If nobody has anything to do on it, somebody now has."""
        first = self.house.first_stage(deal.pipeline_id)
        rules = first.rules[:1] if first is not None and not deal.has_task else ()
        user_id = deal.owner_id
        if user_id is not None and (rules or not self.router.works_here(user_id)):
            user_id = self.router.choose(self.request(), contact_owner_id=user_id).user_id or user_id
        self.tell_of_message(person, talk, message_id, owner_id=user_id, deal_id=deal.id, lead_id=deal.lead_id)
        for rule in rules:
            self.make_task(rule, person, talk, deal.id, deal.lead_id, user_id, deal.team_id, title=_FURTHER_REQUEST)
            deal.has_task = True

    def open_work(self, person: Person, talk: Talk, message_id: int) -> Result:
        """Choose who looks after it, open the lead and the deal, and give them the first stage's tasks."""
        event, source = self.event, self.source
        attribution = {
            **self.known.referrals.get((source.id, event.peer), {}),
            **msgspec.to_builtins(event.attribution),
        }
        chosen = self.router.choose(self.request(), contact_owner_id=person.owner_id)
        owner_id, team_id = chosen.user_id, chosen.team_id
        self.give(person, talk, owner_id, team_id)
        first = self.house.first_stage(source.pipeline_id) if source.make_deal else None
        lead_id = self.writing.next_id()
        deal_id = None if first is None else self.writing.next_id()
        self.writing.add(
            Lead,
            id=lead_id,
            contact_id=person.id,
            connection_id=source.id,
            status=LeadStatus.NEW.value,
            source=self.source_name(),
            attribution=attribution,
            fields=dict(event.fields),
            message=event.text,
            consent=event.consent,
            owner_id=owner_id,
            team_id=team_id,
            deal_id=deal_id,
            routing=chosen.explanation,
            created_at=self.now,
        )
        self.tell_of_message(
            person, talk, message_id, owner_id=owner_id, deal_id=deal_id, lead_id=lead_id, is_first=True
        )
        self.tell(
            "lead.created",
            contact_id=person.id,
            lead_id=lead_id,
            deal_id=deal_id,
            conversation_id=talk.id,
            user_id=owner_id,
            details={
                "name": person.name,
                "text": self.preview(),
                "source": self.source_name(),
                "connection": source.title,
                "team_id": team_id,
                "reason": chosen.reason,
            },
        )
        if first is None or deal_id is None:
            self.known.leads[person.id] = OpenLead(lead_id, owner_id, team_id)
            return Result(person.id, talk.id, message_id, lead_id)
        self.writing.add(
            Deal,
            id=deal_id,
            title=self.title(person),
            contact_id=person.id,
            lead_id=lead_id,
            pipeline_id=first.pipeline_id,
            stage_id=first.stage_id,
            outcome=Outcome.OPEN.value,
            currency=self.house.currency,
            owner_id=owner_id,
            team_id=team_id,
            source=self.source_name(),
            stage_entered_at=self.now,
            created_at=self.now,
        )
        self.tell(
            "deal.created",
            contact_id=person.id,
            deal_id=deal_id,
            lead_id=lead_id,
            user_id=owner_id,
            details={"stage_id": first.stage_id},
        )
        for rule in first.rules:
            self.make_task(rule, person, talk, deal_id, lead_id, rule.assignee_id or owner_id, team_id)
        self.known.deals.setdefault(person.id, []).append(
            OpenDeal(deal_id, first.pipeline_id, owner_id, team_id, lead_id, bool(first.rules))
        )
        return Result(person.id, talk.id, message_id, lead_id, deal_id)

    def request(self) -> Request:
        """Return what routing may know of this event."""
        return Request(
            connection_id=self.source.id,
            kind=self.source.kind,
            source=self.source_name(),
            language=self.event.language,
            country=self.country(),
            phone=self.phone(),
            fields=self.event.fields,
            at=self.now,
            in_hours=self.router.in_hours,
            user_id=self.source.owner_id,
            team_id=self.source.team_id,
        )

    def give(self, person: Person, talk: Talk, owner_id: int | None, team_id: int | None) -> None:
        """The first to look after a contact is their owner from then on; a later stand-in is not."""
        if person.owner_id is None and (person.owner_id, person.team_id) != (owner_id, team_id):
            person.owner_id, person.team_id, person.is_changed = owner_id, team_id, True
            if person.row is not None:
                person.row["owner_id"], person.row["team_id"] = owner_id, team_id
        if talk.row is not None and talk.assignee_id is None:
            talk.assignee_id = talk.row["assignee_id"] = owner_id
            talk.row["team_id"] = team_id

    def make_task(
        self,
        rule: StageRule,
        person: Person,
        talk: Talk,
        deal_id: int,
        lead_id: int | None,
        assignee_id: int | None,
        team_id: int | None,
        *,
        title: str | None = None,
    ) -> None:
        row = stage_tasks.task_row(
            rule,
            self.house.schedule,
            task_id=self.writing.next_id(),
            at=self.at,  # the customer waits since then, even if we were down
            assignee_id=assignee_id,
            team_id=team_id,
            contact_id=person.id,
            deal_id=deal_id,
            lead_id=lead_id,
            conversation_id=talk.id,
            title=title,
        )
        self.writing.rows[Task].append(row)
        self.writing.rows[EscalationStep].extend(
            stage_tasks.step_rows(rule, self.house.schedule, task_id=row["id"], at=self.at, due_at=row["due_at"])
        )
        self.writing.lines.append(stage_tasks.created_line(row))

    def tell_of_message(
        self,
        person: Person,
        talk: Talk,
        message_id: int,
        *,
        owner_id: int | None,
        deal_id: int | None = None,
        lead_id: int | None = None,
        is_first: bool = False,
    ) -> None:
        details: dict[str, Any] = {"text": self.preview(), "connection": self.source.title, "is_first": is_first}
        if self.event.attribution.landing_page:
            details["page"] = self.event.attribution.landing_page[:300]
        self.tell(
            "message.received",
            contact_id=person.id,
            conversation_id=talk.id,
            message_id=message_id,
            deal_id=deal_id,
            lead_id=lead_id,
            user_id=owner_id,
            details=details,
        )

    def source_name(self) -> str:
        return self.event.attribution.utm_source or self.source.kind

    def country(self) -> str:
        if not self.router.needs_country:
            return ""
        return addresses.country(self.phone()) or ""

    def phone(self) -> str:
        return next((c.address.value for c in self.event.claims if c.address.scheme == "phone"), "")

    def title(self, person: Person) -> str:
        who = person.name or next((c.raw for c in self.event.claims), "") or "?"
        return f"{who}: {self.preview()[:60] or self.source.title}"
