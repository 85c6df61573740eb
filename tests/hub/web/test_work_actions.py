"""What people do on pages changes the database, once, and only for those who may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.kernel.events import TimelineEvent
from core.people.contacts import Contact, DuplicateCandidate
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Stage
from core.staff import users
from core.staff.users import Role
from core.talk.conversations import Conversation, Message
from core.work.tasks import EscalationStep, Task
from hub.web import typed
from tests.conftest import VERA


@pytest.fixture
async def work(client, webform, take_on, drain):
    """Vera's request, with Anna as its manager."""
    await take_on("Anna", password=True)
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()


@pytest.fixture
async def anna(work, hub, browser_of):
    async with hub.database.reading() as session:
        user = await users.by_email(session, "anna@example.com")
    return await browser_of(user)


@pytest.fixture
async def one(all_of, work):
    """Reads the only record of a kind: `await one(Task)`."""

    async def read(model: Any) -> Any:
        (found,) = await all_of(model)
        return found

    return read


async def _stages(hub):
    async with hub.database.reading() as session:
        return {stage.name: stage for stage in await session.scalars(select(Stage))}


async def test_a_task_is_ticked_off_and_the_tick_is_taken_back_with_all_that_would_have_followed(
    anna, one, all_of, hub, drain, clock, take_on
):
    await take_on("Kirill", Role.HEAD)
    task = await one(Task)
    before = [(step.action, step.due_at) for step in await all_of(EscalationStep)]
    done = await anna.post(f"/tasks/{task.id}/completion")
    assert done.status == 204
    assert done.told["toast"]["undo"] == f"/tasks/{task.id}/reopening"
    assert (await one(Task)).status == "done"
    assert (await one(Lead)).status == "working"
    assert not any(step.due_at for step in await all_of(EscalationStep))

    await anna.post(done.told["toast"]["undo"])
    assert ((await one(Task)).status, (await one(Task)).completed_at) == ("todo", None)
    assert [(step.action, step.due_at) for step in await all_of(EscalationStep)] == before
    clock.advance(timedelta(minutes=20))
    await drain()
    assert (await one(Task)).breached_at is not None


async def test_a_task_is_moved_to_tomorrow_and_canceled(anna, one):
    task = await one(Task)
    await anna.post(f"/tasks/{task.id}/postponement", until="tomorrow")
    # the company never closes: ten in the morning of Anna's tomorrow in Moscow
    assert (await one(Task)).due_at == datetime(2026, 11, 24, 7, 0, tzinfo=UTC)
    await anna.post(f"/tasks/{task.id}/cancellation")
    assert (await one(Task)).status == "canceled"


async def test_a_task_is_added_on_a_deal_and_changed_in_the_reader_s_own_time(anna, one, all_of):
    deal = await one(Deal)
    form = {"kind": "visit", "priority": "high", "note": "", "deal_id": str(deal.id), "assignee_id": str(deal.owner_id)}
    answer = await anna.post("/tasks", title="Замер", due_at="2026-11-24T12:30", **form)
    assert answer.status == 204
    added = (await all_of(Task))[-1]
    assert (added.title, added.deal_id, added.contact_id) == ("Замер", deal.id, deal.contact_id)
    assert added.due_at == datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    await anna.post(f"/tasks/{added.id}", title="Замер окон", due_at="2026-11-24T12:30", version=added.version, **form)
    changed = (await all_of(Task))[-1]
    assert (changed.title, changed.due_at) == ("Замер окон", added.due_at)
    stale = await anna.post(f"/tasks/{added.id}", title="Поздно", due_at="", version=added.version, **form)
    assert "Somebody changed this meanwhile" in stale.text and "Поздно" in stale.text
    assert (await all_of(Task))[-1].title == "Замер окон"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"title": ""}, "title"),
        ({"due_at": "yesterday"}, "due_at"),
        ({"kind": "x"}, "kind"),
        ({"assignee_id": "999"}, "assignee_id"),
    ],
)
async def test_a_refused_task_names_the_field_and_keeps_what_was_typed(anna, all_of, form, field):
    whole = {"title": "Замер", "kind": "call", "priority": "normal", "assignee_id": "", "due_at": "", "note": "важно"}
    answer = await anna.post("/tasks", **whole | form)
    assert f'id="{field}-error"' in answer.text and "важно" in answer.text
    assert len(await all_of(Task)) == 1
    assert (await anna.post_plainly("/tasks", **whole | form)).status == 422


async def test_a_card_is_dragged_and_its_next_stage_asks_for_its_work(anna, one, hub):
    deal, stages = await one(Deal), await _stages(hub)
    answer = await anna.post(f"/deals/{deal.id}/stage", stage_id=stages["Qualified"].id, version=deal.version)
    assert answer.status == 204
    moved = await one(Deal)
    assert (moved.stage_id, moved.outcome) == (stages["Qualified"].id, "open")
    assert (await one(Lead)).status == "converted"


async def test_a_card_somebody_else_moved_goes_back_with_a_reason(anna, one, hub):
    deal, stages = await one(Deal), await _stages(hub)
    await anna.post(f"/deals/{deal.id}/stage", stage_id=stages["Qualified"].id, version=deal.version)
    moved = await one(Deal)
    stale = await anna.post(f"/deals/{deal.id}/stage", stage_id=stages["Proposal"].id, version=deal.version)
    assert stale.status == 412
    assert "meanwhile" in stale.text
    again = await one(Deal)
    assert (again.stage_id, again.version) == (moved.stage_id, moved.version)


async def test_a_lost_deal_wants_a_reason_first(anna, one, hub):
    deal, stages = await one(Deal), await _stages(hub)
    asked = await anna.post(f"/deals/{deal.id}/stage", stage_id=stages["Lost"].id, version=deal.version)
    assert asked.told == {"open-sheet": {"url": f"/deals/{deal.id}/lose"}}
    assert (await one(Deal)).outcome == "open"
    assert 'role="alert"' in (await anna.post(f"/deals/{deal.id}/loss")).text
    assert (await one(Deal)).outcome == "open"
    await anna.post(f"/deals/{deal.id}/loss", reason="Too expensive", other_reason="Нашли дешевле")
    lost = await one(Deal)
    assert (lost.outcome, lost.lost_reason) == ("lost", "Нашли дешевле")
    assert (await one(Task)).status == "canceled"
    assert "Нашли дешевле" in (await anna.get(f"/deals/{deal.id}")).text


async def test_a_deal_is_won_and_stands_in_its_column(anna, one):
    deal = await one(Deal)
    await anna.post(f"/deals/{deal.id}/win")
    assert (await one(Deal)).outcome == "won"
    board = await anna.part("/deals")
    assert f'id="deal-{deal.id}"' in board.text.split('class="column won"')[1]


async def test_the_amount_of_a_deal_is_read_as_it_is_written_here(anna, one):
    deal = await one(Deal)
    await anna.post(f"/deals/{deal.id}", title="Три окна", amount="120 000,50", version=deal.version)
    changed = await one(Deal)
    assert (changed.title, changed.amount, changed.currency) == ("Три окна", 12_000_050, "RUB")
    refused = await anna.post(f"/deals/{deal.id}", title="Три окна", amount="дорого", version=changed.version)
    assert 'id="amount-error"' in refused.text and "дорого" in refused.text
    assert (await one(Deal)).amount == 12_000_050
    board = await anna.part("/deals")
    assert "120" in board.text.split('class="sum"')[1][:40]


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("", None),
        ("0", 0),
        ("1250", 125_000),
        ("1250.5", 125_050),
        ("1 250,50", 125_050),
        ("1,250.50", 125_050),
        ("1.250,50", 125_050),
        ("1,250", 125_000),
        ("1'250'000", 125_000_000),
        ("1\u00a0250\u202f000", 125_000_000),
        (".5", 50),
    ],
)
def test_amounts_are_read_in_every_way_of_writing_them(text, minor):
    assert typed.amount(text, "RUB") == minor


@pytest.mark.parametrize("text", ["-1", "много", "1e5", "1.2345", "NaN", "Infinity", "9" * 30, "--", "."])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(typed.Rejected):
        typed.amount(text, "RUB")


async def test_a_lead_is_taken_once(client, webform, hub, take_on, browser_of, drain, all_of):
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    anna, boris = await take_on("Anna", password=True), await take_on("Boris", password=True)
    (lead,) = await all_of(Lead)
    assert lead.owner_id is None
    first, second = await browser_of(anna), await browser_of(boris)
    assert "Вера" in (await first.part("/day/leads")).text
    assert (await first.post(f"/leads/{lead.id}/assignment", user_id="me")).status == 204
    assert (await second.post(f"/leads/{lead.id}/assignment", user_id="me")).status == 404
    (lead,), (task,), (deal,) = await all_of(Lead), await all_of(Task), await all_of(Deal)
    assert lead.owner_id == task.assignee_id == deal.owner_id == anna.id
    assert "Вера" not in (await second.part("/day/leads")).text


async def test_a_lead_goes_to_a_colleague_and_out_of_sight(anna, one, take_on):
    boris = await take_on("Boris")
    lead = await one(Lead)
    given = await anna.post(f"/leads/{lead.id}/assignment", user_id=boris.id)
    assert given.status == 204
    assert (await one(Lead)).owner_id == (await one(Task)).assignee_id == boris.id


async def test_a_lead_is_no_lead(anna, one):
    lead = await one(Lead)
    await anna.post(f"/leads/{lead.id}/disqualification", status="junk")
    assert ((await one(Lead)).status, (await one(Deal)).outcome, (await one(Task)).status) == (
        "junk",
        "lost",
        "canceled",
    )
    assert (await anna.post(f"/leads/{lead.id}/disqualification", status="new")).status == 422


async def test_a_lead_becomes_a_deal(anna, one):
    lead, deal = await one(Lead), await one(Deal)
    answer = await anna.post(f"/leads/{lead.id}/conversion")
    assert answer.headers["HX-Redirect"] == f"/deals/{deal.id}"
    assert (await one(Lead)).status == "converted"


async def test_a_call_that_came_some_other_way_is_entered_with_its_task(anna, one, all_of):
    await anna.post("/leads", name="Пётр", phone="8 916 000-00-01", email="", message="Балкон")
    lead, deal, task = (await all_of(Lead))[-1], (await all_of(Deal))[-1], (await all_of(Task))[-1]
    assert (lead.source, lead.message, lead.deal_id) == ("manual", "Балкон", deal.id)
    assert (task.deal_id, task.title) == (deal.id, "Call back")
    page = await anna.get(f"/leads/{lead.id}")
    assert page.status == 200 and "Пётр" in page.text


async def test_somebody_known_is_recognised_in_a_new_deal(anna, one, all_of):
    contact = await one(Contact)
    await anna.post(
        "/deals", title="Ещё окно", phone="+79161234567", contact_name="", email="", amount="", stage_id="", owner_id=""
    )
    assert [deal.contact_id for deal in await all_of(Deal)] == [contact.id, contact.id]


async def test_a_colleague_s_customer_is_not_shown_by_typing_the_number(work, browser_of, take_on, all_of):
    boris = await browser_of(await take_on("Boris", password=True))
    answer = await boris.post("/leads", name="", phone="+79161234567", email="", message="")
    assert 'id="phone-error"' in answer.text and "Соколова" not in answer.text
    assert len(await all_of(Lead)) == 1


async def test_a_contact_is_changed_and_a_stale_form_is_not_saved(anna, one):
    contact = await one(Contact)
    form = {"company_name": "Окна", "tags": "vip, vip, дача", "owner_id": str(contact.owner_id)}
    await anna.post(f"/contacts/{contact.id}", name="Вера Петрова", version=contact.version, **form)
    changed = await one(Contact)
    assert (changed.name, changed.company_name, changed.tags) == ("Вера Петрова", "Окна", ["vip", "дача"])
    stale = await anna.post(f"/contacts/{contact.id}", name="Другая", version=contact.version, **form)
    assert 'role="alert"' in stale.text
    assert (await one(Contact)).name == "Вера Петрова"


async def test_two_people_are_kept_apart(anna, one, all_of, hub):
    vera = await one(Contact)
    await anna.post("/contacts", name="Вера", company_name="", phone="", email="", tags="", owner_id=str(vera.owner_id))
    other = (await all_of(Contact))[-1]
    async with hub.database.transaction() as session:
        session.add(
            DuplicateCandidate(
                contact_id=vera.id, other_id=other.id, reason="shared_request", created_at=hub.clock.now()
            )
        )
    (candidate,) = await all_of(DuplicateCandidate)
    assert f"/duplicates/{candidate.id}/dismissal" in (await anna.get(f"/contacts/{vera.id}")).text
    await anna.post(f"/duplicates/{candidate.id}/dismissal")
    assert f"/duplicates/{candidate.id}" not in (await anna.get(f"/contacts/{vera.id}")).text


async def test_notes_stand_on_the_timelines_of_what_they_are_about(anna, one):
    lead, deal, contact, talk = await one(Lead), await one(Deal), await one(Contact), await one(Conversation)
    for place in (f"/leads/{lead.id}", f"/deals/{deal.id}", f"/contacts/{contact.id}", f"/conversations/{talk.id}"):
        answer = await anna.post(f"{place}/notes", text=f"Заметка о <b>{place}</b>")
        assert answer.status == 204
        page = await anna.get(place)
        assert f"Заметка о &lt;b&gt;{place}" in page.text and "Anna" in page.text
        assert (await anna.post(f"{place}/notes", text="  ")).status == 422


async def test_a_deal_is_handed_over_with_its_task(anna, one, take_on):
    boris = await take_on("Boris")
    deal = await one(Deal)
    await anna.post(f"/deals/{deal.id}/assignment", user_id=boris.id)
    assert (await one(Deal)).owner_id == (await one(Task)).assignee_id == boris.id


CHANGES = [
    ("/leads", {}),
    ("/leads/{lead}/assignment", {"user_id": "me"}),
    ("/leads/{lead}/conversion", {}),
    ("/leads/{lead}/disqualification", {"status": "junk"}),
    ("/leads/{lead}/notes", {"text": "x"}),
    ("/deals", {"title": "x"}),
    ("/deals/{deal}", {"title": "x"}),
    ("/deals/{deal}/stage", {"stage_id": "1"}),
    ("/deals/{deal}/win", {}),
    ("/deals/{deal}/loss", {"reason": "x"}),
    ("/deals/{deal}/assignment", {"user_id": "me"}),
    ("/deals/{deal}/notes", {"text": "x"}),
    ("/contacts", {"name": "x"}),
    ("/contacts/{contact}", {"name": "x"}),
    ("/contacts/{contact}/notes", {"text": "x"}),
    ("/tasks", {"title": "x"}),
    ("/tasks/{task}", {"title": "x"}),
    ("/tasks/{task}/completion", {}),
    ("/tasks/{task}/cancellation", {}),
    ("/tasks/{task}/postponement", {"until": "tomorrow"}),
    ("/conversations/{conversation}/notes", {"text": "x"}),
]


async def _everything(hub):
    async with hub.database.reading() as session:
        found = []
        for model in (Lead, Deal, Contact, Task, Message):
            found += [
                (model.__name__, row.id, getattr(row, "version", 0)) for row in await session.scalars(select(model))
            ]
        return sorted(found), len(list(await session.scalars(select(TimelineEvent.id))))


async def test_nobody_changes_anything_who_may_not(anna, work, one, hub, browser_of, take_on):
    names = {"lead": Lead, "deal": Deal, "contact": Contact, "task": Task, "conversation": Conversation}
    ids = {name: (await one(model)).id for name, model in names.items()}
    viewer = await browser_of(await take_on("Vik", Role.VIEWER, password=True))
    boris = await browser_of(await take_on("Boris", password=True))
    before = await _everything(hub)
    for path, form in CHANGES:
        place = path.format(**ids)
        assert (await viewer.post(place, **form)).status == 403, place
        assert (await anna.post(place, csrf="forged", **form)).status == 403, place
        if "{" in path:
            assert (await boris.post(place, **form)).status == 404, place
    assert await _everything(hub) == before
