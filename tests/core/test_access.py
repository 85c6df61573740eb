"""Who sees what: every role against every table, on one populated company. Another's record does not exist."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from core.connections import Connection
from core.kernel import events
from core.kernel.db import Base
from core.kernel.errors import Forbidden, NotFound
from core.kernel.events import TimelineEvent
from core.people.contacts import Company, Contact, ContactIdentity, DuplicateCandidate
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Pipeline, Stage
from core.staff import access, users
from core.staff.audit import AuditEntry
from core.staff.teams import Team, TeamMember
from core.staff.tokens import ApiToken
from core.staff.users import Role, User
from core.talk.calls import Call, CallRecording
from core.talk.conversations import Conversation, Episode, Message
from core.work.notifications import Notification
from core.work.tasks import EscalationStep, Task
from hub import schema
from tests.conftest import MONDAY_TEN as NOW

PEOPLE = ("owner", "admin", "viewer", "head", "leader", "anna", "boris", "peter", "olga")
EVERYBODY_SEES_ALL = ("owner", "admin", "viewer", "head")
OWNERS = ("anna", "boris", "peter", "unassigned in sales", "unassigned in repairs", "nobody's")
MODELS = (
    Contact, Company, ContactIdentity, DuplicateCandidate, Lead, Deal, Task, EscalationStep, Conversation, Message,
    Episode, Call, CallRecording, TimelineEvent,
)  # fmt: skip

# Whose sets of records (one of each model for each of OWNERS) somebody sees. `leader` leads sales, where Anna and Boris
# are; Peter is in repairs; Olga, a specialist, has a task on what is Boris's.
SEES = {
    **{name: set(OWNERS) for name in EVERYBODY_SEES_ALL},
    "leader": {"anna", "boris", "unassigned in sales"},
    "anna": {"anna", "unassigned in sales"},
    "boris": {"boris", "unassigned in sales"},
    "peter": {"peter", "unassigned in repairs"},
    "olga": {"boris"},
}


@pytest.fixture
async def company(database):
    """People, and one record of each kind for each owner; {"people": {…}, "records": {model: {owner: id}}}."""
    schema.load()
    people: dict[str, User] = {}
    records: dict[type[Base], dict[str, int]] = {model: {} for model in MODELS}
    roles = {
        "owner": Role.OWNER, "admin": Role.ADMIN, "viewer": Role.VIEWER, "head": Role.HEAD, "leader": Role.HEAD,
        "olga": Role.SPECIALIST,
    }  # fmt: skip
    async with database.transaction() as session:
        sales = await session.scalar(select(Team.id))
        session.add(repairs := Team(name="Repairs", created_at=NOW))
        session.add(connection := Connection(kind="webform", title="W", key="k", created_at=NOW))
        pipeline, stage = await session.scalar(select(Pipeline.id)), await session.scalar(select(Stage.id))
        await session.flush()
        for name in PEOPLE:
            team_ids = {"peter": [repairs.id], "leader": [sales], "anna": [sales], "boris": [sales]}.get(name, [])
            people[name] = await users.add(
                session, email=f"{name}@example.com", name=name, role=roles.get(name, Role.MANAGER), at=NOW,
                team_ids=team_ids,
            )  # fmt: skip
        for number, owner in enumerate(OWNERS):
            person = people[owner].id if owner in people else None
            team = {"anna": sales, "boris": sales, "unassigned in sales": sales, "nobody's": None}.get(
                owner, repairs.id
            )
            common = {"owner_id": person, "team_id": team, "created_at": NOW}
            session.add(firm := Company(name=owner, **common))
            await session.flush()
            session.add(contact := Contact(name=owner, company_id=firm.id, **common))
            session.add(other := Contact(name=f"double of {owner}", **common))
            await session.flush()
            of = {"contact_id": contact.id}
            session.add(
                identity := ContactIdentity(
                    scheme="email", value=f"{number}@x.com", raw="", trust="typed", created_at=NOW, **of
                )
            )
            session.add(double := DuplicateCandidate(other_id=other.id, reason="", created_at=NOW, **of))
            session.add(lead := Lead(source="webform", connection_id=connection.id, **of, **common))
            session.add(
                deal := Deal(
                    title=owner,
                    pipeline_id=pipeline,
                    stage_id=stage,
                    currency="RUB",
                    stage_entered_at=NOW,
                    **of,
                    **common,
                )
            )
            session.add(
                talk := Conversation(
                    connection_id=connection.id,
                    last_message_at=NOW,
                    assignee_id=person,
                    team_id=team,
                    created_at=NOW,
                    **of,
                )
            )
            await session.flush()
            session.add(
                message := Message(
                    conversation_id=talk.id, connection_id=connection.id, direction="inbound", text="hi",
                    occurred_at=NOW, created_at=NOW, **of,
                )
            )  # fmt: skip
            session.add(episode := Episode(conversation_id=talk.id, opened_at=NOW))
            session.add(
                task := Task(
                    title="Call",
                    assignee_id=person,
                    team_id=team,
                    deal_id=deal.id,
                    lead_id=lead.id,
                    created_at=NOW,
                    **of,
                )
            )
            session.add(
                call := Call(
                    connection_id=connection.id,
                    user_id=person,
                    team_id=team,
                    started_at=NOW,
                    heard_at=NOW,
                    created_at=NOW,
                    **of,
                )
            )
            await session.flush()
            session.add(recording := CallRecording(call_id=call.id, external_id="r", reference="r", created_at=NOW))
            session.add(step := EscalationStep(task_id=task.id, position=0, action="breach", due_at=NOW))
            await events.record(
                session, f"deal.created.{owner}", NOW, deal_id=deal.id, lead_id=lead.id, task_id=task.id, **of
            )
            if owner == "boris":
                session.add(
                    olgas := Task(
                        title="Measure",
                        assignee_id=people["olga"].id,
                        deal_id=deal.id,
                        lead_id=lead.id,
                        created_at=NOW,
                        **of,
                    )
                )
            await session.flush()
            line = await session.scalar(select(TimelineEvent.id).where(TimelineEvent.deal_id == deal.id))
            found = (contact, firm, identity, double, lead, deal, task, step, talk, message, episode, call, recording)
            for model, record in zip(MODELS, found, strict=False):
                records[model][owner] = record.id
            records[TimelineEvent][owner] = line
        session.add(Notification(user_id=people["anna"].id, event_id=1, kind="x", created_at=NOW))
    return {"people": people, "records": records, "olgas": olgas.id}


async def _rights(database, person):
    async with database.reading() as session:
        return await access.of(session, await users.get(session, person.id))


def test_every_table_with_a_rule_of_its_own_is_in_the_matrix():
    assert {model.__tablename__ for model in MODELS} == set(access._CLAUSES)


@pytest.mark.parametrize("name", PEOPLE)
async def test_everybody_sees_what_they_should_and_nothing_else_in_lists_counts_and_items(database, company, name):
    rights = await _rights(database, company["people"][name])
    wrong = []
    for model in MODELS:
        ids = company["records"][model]
        expected = {owner for owner in OWNERS if owner in SEES[name]}
        if name == "olga":
            if model in (Task, EscalationStep, TimelineEvent):
                expected = set()  # her own task only, not Boris's
            if model is DuplicateCandidate:
                expected = set()  # its other half is none of her business
        async with database.reading() as session:
            listed = set(await session.scalars(access.narrow(select(model.__table__.c.id), rights, model)))
            counted = await session.scalar(access.narrow(select(func.count()).select_from(model), rights, model))
            got = set()
            for owner, record_id in ids.items():
                try:
                    await access.fetch(session, rights, model, record_id)
                except NotFound:
                    continue
                got.add(owner)
        seen = {owner for owner, record_id in ids.items() if record_id in listed}
        if not (seen == got == expected and counted == len(listed)):
            wrong.append((model.__tablename__, sorted(seen ^ expected), sorted(got ^ expected)))
    assert wrong == []


async def test_a_specialist_sees_their_own_task_until_it_is_done(database, company):
    rights = await _rights(database, company["people"]["olga"])
    async with database.transaction() as session:
        task = await access.fetch(session, rights, Task, company["olgas"], change=True)
        deal_id = company["records"][Deal]["boris"]
        await access.fetch(session, rights, Deal, deal_id)
        task.status = "done"
        await session.flush()
        with pytest.raises(NotFound):
            await access.fetch(session, rights, Deal, deal_id)


@pytest.mark.parametrize("model", [Contact, Deal, Lead, Task, Conversation, Company])
async def test_a_viewer_may_look_and_not_touch_and_a_stranger_learns_nothing(database, company, model):
    viewer = await _rights(database, company["people"]["viewer"])
    anna = await _rights(database, company["people"]["anna"])
    boris = company["records"][model]["boris"]
    async with database.reading() as session:
        await access.fetch(session, viewer, model, boris)
        with pytest.raises(Forbidden):
            await access.fetch(session, viewer, model, boris, change=True)
        with pytest.raises(NotFound) as hidden:
            await access.fetch(session, anna, model, boris, change=True)
        with pytest.raises(NotFound) as absent:
            await access.fetch(session, anna, model, 999_999_999)
        assert str(hidden.value).replace(str(boris), "#") == str(absent.value).replace("999999999", "#")
        await access.fetch(session, anna, model, company["records"][model]["anna"], change=True, lock=True)


async def test_a_contact_is_ones_own_with_anything_open_of_it(database, company):
    people, records = company["people"], company["records"]
    anna = await _rights(database, people["anna"])
    contact_id = records[Contact]["peter"]
    async with database.reading() as session:
        with pytest.raises(NotFound):
            await access.fetch(session, anna, Contact, contact_id)
        deal = await session.get(Deal, records[Deal]["peter"])
        deal.owner_id = people["anna"].id
        await session.flush()
        await access.fetch(session, anna, Contact, contact_id)
        deal.outcome, deal.closed_at = "won", NOW
        await session.flush()
        with pytest.raises(NotFound):
            await access.fetch(session, anna, Contact, contact_id)


@pytest.mark.parametrize("name", PEOPLE)
async def test_the_settings_are_for_those_who_manage_and_notifications_for_their_reader(database, company, name):
    rights = await _rights(database, company["people"][name])
    async with database.reading() as session:
        for model in (Connection, AuditEntry, ApiToken):
            count = await session.scalar(access.narrow(select(func.count()).select_from(model), rights, model))
            total = await session.scalar(select(func.count()).select_from(model))
            assert count == (total if name in ("owner", "admin") else 0)
        told = await session.scalar(access.narrow(select(func.count()).select_from(Notification), rights, Notification))
        assert told == (name == "anna")


async def test_of_a_table_nobody_thought_of_nothing_is_shown(database, company):
    rights = await _rights(database, company["people"]["anna"])
    for table in Base.metadata.tables.values():
        known = access._CLAUSES.keys() | access._OPEN_TO_ALL | {"notifications"}
        if table.name in known:
            continue
        model = type("Unknown", (), {"__table__": table})
        assert str(access.visible(rights, model)) == "false"


async def test_rights_follow_the_role_and_the_teams_at_once(database, company):
    anna = company["people"]["anna"]
    records = company["records"][Deal]
    async with database.transaction() as session:
        member = await session.scalar(select(TeamMember).where(TeamMember.user_id == anna.id))
        await session.delete(member)
    rights = await _rights(database, anna)
    async with database.reading() as session:
        seen = set(await session.scalars(access.narrow(select(Deal.id), rights, Deal)))
    assert seen == {records["anna"]}
    assert (rights.may_manage, rights.may_export, rights.may_change) == (False, False, True)
