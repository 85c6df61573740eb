"""Two contacts who are one person: put together, and taken apart after a day's work, each row back where it was."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import delete, event, select, text

from core import intake
from core.intake import Received, Source
from core.kernel.addresses import Address
from core.kernel.db import Base
from core.kernel.envelopes import Claim, Incoming, Trust
from core.kernel.errors import Conflict, NotFound, Rejected
from core.people import companies, contacts, merging, moving
from core.people.contacts import Contact, ContactIdentity, DuplicateCandidate
from core.people.merging import MergedRow
from core.sales import deals
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Stage
from core.staff import workspace
from core.talk import conversations, notes
from core.talk.conversations import Conversation, Message
from core.work import tasks
from core.work.notifications import Notification
from core.work.tasks import Task
from hub import connections
from tests.conftest import MONDAY_TEN, add_webform

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
TABLES = ("identities", "conversations", "messages", "leads", "deals", "tasks", "notifications", "events")


@pytest.fixture
async def shop(hub, take_on):
    """A company with a bot and a form, and Anna who works there."""
    anna = await take_on("Anna")
    async with hub.database.transaction() as session:
        bot = await connections.create(
            session,
            hub.vault,
            kind="telegram",
            title="Bot",
            settings={"token": TOKEN, "secret_token": "s", "base_url": "http://127.0.0.1:9"},
            at=hub.clock.now(),
        )
    form = await add_webform(hub)
    return Shop(hub, anna, bot.id, form.id)


class Shop:
    """What people do there, in a word each."""

    def __init__(self, hub, anna, bot, form):
        self.hub, self.anna, self.bot, self.form = hub, anna, bot, form
        self.number = 0

    def said(self, scheme, value, words="Hello", *, name="", more=()):
        """What somebody says: over the bot if by `telegram`, else over the form."""
        self.number += 1
        claims = tuple(
            Claim(Address(kind, each), each, Trust.ATTESTED if kind == "telegram" else Trust.TYPED)
            for kind, each in ((scheme, value), *more)
        )
        over_bot = scheme == "telegram"
        return Received(
            self.number,
            self.hub.clock.now(),
            Source(self.bot if over_bot else self.form, "telegram" if over_bot else "webform", "Bot"),
            Incoming(
                claims=claims,
                text=words,
                name=name,
                external_id=f"m{self.number}",
                peer=value if over_bot else "",
            ),
        )

    async def hear(self, *received):
        async with self.hub.database.transaction() as session:
            return await intake.receive(session, list(received), now=self.hub.clock.now())

    async def says(self, scheme, value, words="Hello", **more):
        """Somebody writes; return whose contact it is."""
        (result,) = await self.hear(self.said(scheme, value, words, **more))
        return result

    async def merge(self, kept_id, gone_id, reason="by_hand"):
        async with self.hub.database.transaction() as session:
            kept, gone = await contacts.get(session, kept_id), await contacts.get(session, gone_id)
            record = await merging.merge(
                session, kept, gone, reason=reason, at=self.hub.clock.now(), actor_id=self.anna.id
            )
            return record.id

    async def undo(self, merge_id):
        async with self.hub.database.transaction() as session:
            record = await merging.get(session, merge_id)
            gone = await merging.undo(session, record, at=self.hub.clock.now(), actor_id=self.anna.id)
            return gone.id

    async def move(self, conversation_id, to, address=None):
        async with self.hub.database.transaction() as session:
            contact = await contacts.get(session, to)
            await moving.reassign(
                session, conversation_id, to=contact, at=self.hub.clock.now(), actor_id=self.anna.id, address=address
            )

    async def all(self, model, **of):
        async with self.hub.database.reading() as session:
            return list(await session.scalars(select(model).filter_by(**of).order_by(model.id)))

    async def look(self, contact_id):
        async with self.hub.database.reading() as session:
            return await session.get(Contact, contact_id)

    async def whose(self):
        """Return whose each row is: (table, id) → contact, and for conversations the thread."""
        found = {}
        async with self.hub.database.reading() as session:
            for table in TABLES:
                thread = "thread" if table == "conversations" else "''"
                for row in await session.execute(text(f"SELECT id, contact_id, {thread} FROM {table}")):
                    found[(table, row[0])] = (row[1], row[2])
        return found

    async def rows(self):
        """Return every row of every table as JSON, without versions."""
        found = {}
        async with self.hub.database.reading() as session:
            for table in (*TABLES, "contacts", "duplicate_candidates", "episodes", "message_ids", "attachments"):
                key = "external_id" if table == "message_ids" else "id"
                for row in await session.execute(text(f"SELECT {key}, to_jsonb(t) - 'version' AS row FROM {table} t")):
                    found[(table, row[0])] = row[1]
        return found

    async def two(self):
        """Vera by the form and Vera by the bot, each with a request of her own."""
        form = await self.says("phone", "+79161234567", "Windows, please", name="Вера Соколова")
        bot = await self.says("telegram", "1:77", "And doors?", name="vera_s")
        assert form.contact_id != bot.contact_id
        return form, bot


def _others(rows, *merged):
    """Leave out what merging itself writes: its lines of the diary, and that those who were merged are two people."""
    pairs = [set(pair) for pair in merged]
    return {
        key: row
        for key, row in rows.items()
        if not (key[0] == "events" and row["kind"] in ("contact.merged", "contact.unmerged"))
        and not (key[0] == "duplicate_candidates" and {row["contact_id"], row["other_id"]} in pairs)
    }


def test_every_table_that_names_a_contact_is_thought_of():
    named = {table.name for table in Base.metadata.tables.values() if "contact_id" in table.columns}
    assert named == {*moving.MOVED, "conversations", "duplicate_candidates"}


async def test_all_that_was_two_people_is_one(shop, drain):
    form, bot = await shop.two()
    await drain()
    merge_id = await shop.merge(form.contact_id, bot.contact_id)
    assert {contact_id for contact_id, _ in (await shop.whose()).values() if contact_id} == {form.contact_id}
    (vera,) = await shop.all(Contact)
    assert vera.name == "Вера Соколова"
    assert "1:77" in vera.search
    assert len(await shop.all(Deal)) == 2, "both requests are still there to be answered"
    assert [line.name for line in await _lines(shop, "contact.merged")] == ["vera_s"]
    async with shop.hub.database.reading() as session:
        assert await merging.now_part_of(session, bot.contact_id) == form.contact_id
        assert [record.id for record in await merging.of_contact(session, form.contact_id)] == [merge_id]


async def _lines(shop, kind):
    async with shop.hub.database.reading() as session:
        return list(
            await session.execute(
                text("SELECT contact_id, details->>'name' AS name FROM events WHERE kind = :kind ORDER BY id"),
                {"kind": kind},
            )
        )


async def test_undone_at_once_nothing_has_changed(shop, drain):
    form, bot = await shop.two()
    await drain()
    before = await shop.rows()
    await shop.undo(await shop.merge(form.contact_id, bot.contact_id))
    assert _others(await shop.rows(), (form.contact_id, bot.contact_id)) == _others(before)
    assert await shop.all(MergedRow) == []


async def test_what_is_missing_is_taken_over_and_given_back(shop):
    form, bot = await shop.two()
    async with shop.hub.database.transaction() as session:
        company = await companies.add(session, name="Окна", at=MONDAY_TEN)
        gone, kept = await contacts.get(session, bot.contact_id), await contacts.get(session, form.contact_id)
        kept.owner_id = kept.team_id = None
        gone.created_at = kept.created_at - timedelta(days=1)
        gone.first_source = "google"
        common = {"at": MONDAY_TEN, "actor_id": None}
        await contacts.change(session, kept, tags=["vip"], custom={"size": "L"}, **common)
        await contacts.change(
            session,
            gone,
            company_id=company.id,
            language="ru",
            tags=["vip", "doors"],
            custom={"size": "M", "floor": 3},
            **common,
        )
    merge_id = await shop.merge(form.contact_id, bot.contact_id)
    vera = await shop.look(form.contact_id)
    assert (vera.name, vera.company_id, vera.language, vera.owner_id) == (
        "Вера Соколова",
        company.id,
        "ru",
        shop.anna.id,
    )
    assert (vera.tags, vera.custom, vera.first_source) == (["vip", "doors"], {"size": "L", "floor": 3}, "google")
    assert "окна" in vera.search

    async with shop.hub.database.transaction() as session:
        kept = await contacts.get(session, form.contact_id)
        await contacts.change(
            session, kept, tags=["vip", "doors", "new"], custom={**kept.custom, "door": "red"}, language="et", **common
        )
    await shop.undo(merge_id)
    vera = await shop.look(form.contact_id)
    assert (vera.tags, vera.custom, vera.first_source) == (["vip", "new"], {"size": "L", "door": "red"}, "webform")
    assert (vera.company_id, vera.owner_id, vera.language) == (None, None, "et"), "what somebody chose since stays"
    assert "окна" not in vera.search
    assert (await shop.look(bot.contact_id)).custom == {"size": "M", "floor": 3}


async def test_a_contact_comes_back_without_a_company_that_is_no_more(shop):
    form, bot = await shop.two()
    async with shop.hub.database.transaction() as session:
        company = await companies.add(session, name="Окна", at=MONDAY_TEN)
        gone = await contacts.get(session, bot.contact_id)
        await contacts.change(session, gone, company_id=company.id, at=MONDAY_TEN, actor_id=None)
    merge_id = await shop.merge(form.contact_id, bot.contact_id)
    async with shop.hub.database.transaction() as session:
        await session.execute(delete(contacts.Company))
    await shop.undo(merge_id)
    assert (await shop.look(bot.contact_id)).company_id is None


async def test_after_a_full_day_of_work_each_row_goes_back_where_it_was(shop, drain, clock):
    form, bot = await shop.two()
    await drain()
    before = await shop.whose()
    merge_id = await shop.merge(form.contact_id, bot.contact_id)
    clock.advance(timedelta(hours=1))

    by_form = await shop.says("phone", "+79161234567", "Any news?")
    by_bot = await shop.says("telegram", "1:77", "Here too!")
    assert (by_form.contact_id, by_form.conversation_id) == (form.contact_id, form.conversation_id)
    assert (by_bot.contact_id, by_bot.conversation_id) == (form.contact_id, bot.conversation_id)
    await drain()
    common = {"at": clock.now(), "actor_id": shop.anna.id}
    async with shop.hub.database.transaction() as session:
        vera = await contacts.get(session, form.contact_id)
        (task, *_) = (await session.scalars(select(Task).where(Task.deal_id == bot.deal_id))).all()
        await tasks.complete(session, task, **common)
        stage = await session.get(Stage, (await deals.get(session, form.deal_id)).stage_id)
        balcony = await deals.add(session, title="Balcony", contact_id=vera.id, stage=stage, currency="RUB", **common)
        on_bot = await tasks.add(
            session, title="Ask her", contact_id=vera.id, conversation_id=bot.conversation_id, **common
        )
        on_deal = await tasks.add(session, title="Measure", contact_id=vera.id, deal_id=bot.deal_id, **common)
        alone = await tasks.add(session, title="Congratulate", contact_id=vera.id, **common)
        talk = await session.get(Conversation, bot.conversation_id)
        await conversations.note(session, talk, text="Likes red", at=clock.now(), author_id=shop.anna.id)
        await conversations.resolve(session, talk, **common)
        await notes.add(session, text="Two dogs", contact_id=vera.id, at=clock.now(), author_id=shop.anna.id)
        address = await contacts.add_identity(session, vera, scheme="email", raw="vera@example.com", **common)
        await contacts.change(session, vera, name="Вера Ильина", **common)
        on_deal_id, on_bot_id, alone_id = on_deal.id, on_bot.id, alone.id
        balcony_id, address_id = balcony.id, address.id
    await shop.says("telegram", "1:77", "Still there?")
    await drain()

    assert await shop.undo(merge_id) == bot.contact_id
    after = await shop.whose()
    assert {key: after[key] for key in before} == before
    vera, other = await shop.look(form.contact_id), await shop.look(bot.contact_id)
    assert (vera.name, other.name) == ("Вера Ильина", "vera_s")
    # what hangs on hers goes with it; the rest stays
    assert after[("tasks", on_deal_id)][0] == after[("tasks", on_bot_id)][0] == other.id
    assert after[("tasks", alone_id)][0] == after[("deals", balcony_id)][0] == vera.id
    assert after[("identities", address_id)][0] == vera.id
    said = {message.text: message.contact_id for message in await shop.all(Message)}
    assert said == {
        "Windows, please": vera.id,
        "Any news?": vera.id,
        "And doors?": other.id,
        "Here too!": other.id,
        "Likes red": other.id,
        "Still there?": other.id,
    }
    lines = Counter((line.contact_id) for line in await _lines(shop, "message.received"))
    assert lines == {vera.id: 2, other.id: 3}
    assert {(row.contact_id, row.kind) for row in await shop.all(Notification) if row.kind == "message.received"} == {
        (vera.id, "message.received"),
        (other.id, "message.received"),
    }
    # and each goes on as if nothing had been
    assert (await shop.says("telegram", "1:77")).contact_id == other.id
    assert (await shop.says("email", "vera@example.com")).contact_id == vera.id


async def test_what_was_asked_for_in_her_conversation_goes_back_with_it(shop, drain):
    form, bot = await shop.two()
    async with shop.hub.database.transaction() as session:
        for deal_id in (form.deal_id, bot.deal_id):
            deal = await deals.get(session, deal_id)
            await deals.win(session, deal, at=MONDAY_TEN, actor_id=None)
    merge_id = await shop.merge(form.contact_id, bot.contact_id)
    again = await shop.says("telegram", "1:77", "Now a gate")
    assert again.lead_id is not None and again.lead_id != bot.lead_id
    await drain()
    await shop.undo(merge_id)
    assert [lead.contact_id for lead in await shop.all(Lead, id=again.lead_id)] == [bot.contact_id]
    assert [deal.contact_id for deal in await shop.all(Deal, id=again.deal_id)] == [bot.contact_id]
    assert {task.contact_id for task in await shop.all(Task, deal_id=again.deal_id)} == {bot.contact_id}
    created = [row.contact_id for row in await shop.all(Notification, lead_id=again.lead_id)]
    assert created and set(created) == {bot.contact_id}


async def test_with_an_open_deal_on_both_sides_a_further_request_joins_one_and_that_deal_stays_whose_it_is(shop):
    form, bot = await shop.two()
    merge_id = await shop.merge(form.contact_id, bot.contact_id)
    joined = await shop.says("telegram", "1:77", "Hurry")
    assert joined.deal_id in (form.deal_id, bot.deal_id)
    assert joined.is_repeat is False
    await shop.undo(merge_id)
    owners = {deal.id: deal.contact_id for deal in await shop.all(Deal)}
    assert owners == {form.deal_id: form.contact_id, bot.deal_id: bot.contact_id}
    for task in await shop.all(Task):
        assert task.contact_id == owners[task.deal_id], "a task is never on another person's deal"


async def test_two_accounts_on_one_bot_go_on_each_with_its_own_other_side(shop):
    one, other = await shop.says("telegram", "1:77", "One"), await shop.says("telegram", "1:88", "Other")
    merge_id = await shop.merge(one.contact_id, other.contact_id)
    threads = {talk.id: talk.thread for talk in await shop.all(Conversation)}
    assert threads == {one.conversation_id: "", other.conversation_id: f"~{other.conversation_id}"}
    again = await shop.hear(shop.said("telegram", "1:88", "b"), shop.said("telegram", "1:77", "a"))
    assert [each.conversation_id for each in again] == [other.conversation_id, one.conversation_id]
    peers = {talk.id: talk.peer for talk in await shop.all(Conversation)}
    assert peers == {one.conversation_id: "1:77", other.conversation_id: "1:88"}
    await shop.undo(merge_id)
    assert {talk.id: talk.thread for talk in await shop.all(Conversation)} == dict.fromkeys(threads, "")
    again = await shop.hear(shop.said("telegram", "1:88", "d"), shop.said("telegram", "1:77", "c"))
    assert [each.conversation_id for each in again] == [other.conversation_id, one.conversation_id]


@pytest.mark.parametrize("thread", ["", "<a~b@example.com>", "<a~12@example.com>", "1700000000.000100", "~", "a~"])
def test_a_thread_set_apart_is_known_by_its_channel_as_before(thread):
    assert moving.plain_thread(moving.apart(thread, 17)) == thread
    assert moving.plain_thread(thread) == thread


async def test_merges_of_merges_are_undone_in_the_other_order_only(shop):
    a, b = await shop.two()
    c = await shop.says("phone", "+79160000003", "Third")
    before = await shop.rows()
    first = await shop.merge(a.contact_id, b.contact_id)
    second = await shop.merge(c.contact_id, a.contact_id)
    async with shop.hub.database.reading() as session:
        assert await merging.now_part_of(session, b.contact_id) == c.contact_id
    with pytest.raises(Conflict, match="merged with another one since"):
        await shop.undo(first)
    await shop.undo(second)
    assert {person.id for person in await shop.all(Contact)} == {a.contact_id, c.contact_id}
    await shop.undo(first)
    ids = (a.contact_id, b.contact_id, c.contact_id)
    assert _others(await shop.rows(), ids[:2], (ids[0], ids[2])) == before
    for record in (first, second):
        with pytest.raises(Conflict, match="undone already"):
            await shop.undo(record)


async def test_two_merges_into_one_are_undone_in_any_order(shop):
    a, b = await shop.two()
    c = await shop.says("phone", "+79160000003", "Third")
    await shop.hear(shop.said("telegram", "1:77", more=[("phone", "+79160000003")]))  # b looks like c
    before = await shop.rows()
    assert len(await shop.all(DuplicateCandidate)) == 1
    first = await shop.merge(a.contact_id, b.contact_id)
    second = await shop.merge(a.contact_id, c.contact_id)
    assert await shop.all(DuplicateCandidate) == []
    await shop.undo(first)
    await shop.undo(second)
    pairs = ((a.contact_id, b.contact_id), (a.contact_id, c.contact_id))
    assert _others(await shop.rows(), *pairs) == before


async def test_who_looked_like_the_one_that_went_looks_like_the_one_that_stays(shop):
    a, b = await shop.two()
    c = await shop.says("phone", "+79160000003", "Third")
    await shop.hear(shop.said("telegram", "1:77", more=[("phone", "+79160000003")]))
    (pair,) = await shop.all(DuplicateCandidate)
    merge_id = await shop.merge(a.contact_id, b.contact_id)
    (moved,) = await shop.all(DuplicateCandidate)
    assert (moved.contact_id, moved.other_id, moved.reason) == (a.contact_id, c.contact_id, "shared_request")
    await shop.undo(merge_id)
    back = {
        (row.contact_id, row.other_id, row.reason, row.dismissed, row.id) for row in await shop.all(DuplicateCandidate)
    }
    assert (b.contact_id, c.contact_id, "shared_request", False, pair.id) in back
    assert {row[:4] for row in back if row[4] != pair.id} == {(a.contact_id, b.contact_id, "merged_before", True)}


async def test_whom_somebody_took_apart_nobody_merges_again_by_a_rule(shop, drain):
    await _switch_on(shop)
    form, bot = await shop.two()
    await shop.undo(await shop.merge(form.contact_id, bot.contact_id))
    await shop.hear(_shares(shop, "1:77", "+79161234567"))
    await drain()
    assert len(await shop.all(Contact)) == 2


def _shares(shop, account, phone):
    received = shop.said("telegram", account, "", more=[("phone", phone)])
    claims = tuple(Claim(claim.address, claim.raw, Trust.ATTESTED) for claim in received.event.claims)
    event = Incoming(claims=claims, text="", external_id=received.event.external_id, peer=account)
    return received._replace(event=event)


async def _switch_on(shop):
    async with shop.hub.database.transaction() as session:
        (await workspace.get(session)).merges_attested = True


async def test_an_attested_number_merges_at_once_only_where_the_company_wants_that(shop, drain):
    form, bot = await shop.two()
    await shop.hear(_shares(shop, "1:77", "+79161234567"))
    await drain()
    (pair,) = await shop.all(DuplicateCandidate)
    assert ({pair.contact_id, pair.other_id}, pair.dismissed) == ({form.contact_id, bot.contact_id}, False)
    assert len(await shop.all(Contact)) == 2
    await _switch_on(shop)
    await shop.hear(_shares(shop, "1:77", "+79161234567"))
    await drain()
    assert [person.id for person in await shop.all(Contact)] == [form.contact_id]
    async with shop.hub.database.reading() as session:
        (record,) = await merging.of_contact(session, form.contact_id)
    assert (record.reason, record.actor_id) == ("attested", None)
    await shop.undo(record.id)
    assert len(await shop.all(Contact)) == 2


async def test_addresses_somebody_typed_never_merge_two_people(shop, drain):
    await _switch_on(shop)
    form, bot = await shop.two()
    await shop.hear(shop.said("telegram", "1:77", more=[("phone", "+79161234567")]))
    await drain()
    assert {person.id for person in await shop.all(Contact)} == {form.contact_id, bot.contact_id}
    assert len(await shop.all(DuplicateCandidate)) == 1


async def test_what_cannot_be_merged_says_so(shop):
    form, bot = await shop.two()
    async with shop.hub.database.transaction() as session:
        vera = await contacts.get(session, form.contact_id)
        with pytest.raises(Rejected, match="same contact"):
            await merging.merge(session, vera, vera, reason="by_hand", at=MONDAY_TEN, actor_id=None)
        with pytest.raises(NotFound):
            await merging.get(session, 1)
    async with shop.hub.database.reading() as stale:
        kept, gone = await contacts.get(stale, form.contact_id), await contacts.get(stale, bot.contact_id)
        await shop.merge(form.contact_id, bot.contact_id)
        with pytest.raises(Conflict, match="meanwhile"):
            await merging.merge(stale, kept, gone, reason="by_hand", at=MONDAY_TEN, actor_id=None)


@contextmanager
def _counting(database):
    statements = []

    def note(connection, cursor, statement, *_):
        statements.append(statement)

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def test_ten_thousand_messages_cost_no_more_statements_than_one(shop):
    form, bot = await shop.two()
    with _counting(shop.hub.database) as few:
        merge_id = await shop.merge(form.contact_id, bot.contact_id)
    with _counting(shop.hub.database) as few_back:
        await shop.undo(merge_id)
    async with shop.hub.database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO messages (conversation_id, contact_id, connection_id, direction, text, occurred_at, "
                "created_at) SELECT :talk, :contact, :bot, 'inbound', 'x', :at, :at FROM generate_series(1, 9999)"
            ),
            {"talk": bot.conversation_id, "contact": bot.contact_id, "bot": shop.bot, "at": MONDAY_TEN},
        )
    with _counting(shop.hub.database) as many:
        merge_id = await shop.merge(form.contact_id, bot.contact_id)
    assert {message.contact_id for message in await shop.all(Message)} == {form.contact_id}
    with _counting(shop.hub.database) as many_back:
        await shop.undo(merge_id)
    assert (len(many), len(many_back)) == (len(few), len(few_back))
    assert len(many) < 40
    assert len(await shop.all(Message, contact_id=bot.contact_id)) == 10_000


async def test_a_conversation_goes_to_another_person_with_what_was_said_and_asked_in_it(shop, drain):
    form, bot = await shop.two()
    await drain()
    await shop.move(bot.conversation_id, form.contact_id, address=("telegram", "1:77"))
    whose = await shop.whose()
    for table, row_id in (("conversations", bot.conversation_id), ("messages", bot.message_id)):
        assert whose[(table, row_id)][0] == form.contact_id
    assert whose[("leads", bot.lead_id)][0] == whose[("deals", bot.deal_id)][0] == form.contact_id
    assert {task.contact_id for task in await shop.all(Task)} == {form.contact_id}
    assert "1:77" in (await shop.look(form.contact_id)).search
    assert "1:77" not in (await shop.look(bot.contact_id)).search
    again = await shop.says("telegram", "1:77", "Me again")
    assert (again.contact_id, again.conversation_id) == (form.contact_id, bot.conversation_id)
    assert Counter(line.contact_id for line in await _lines(shop, "conversation.moved")) == {
        form.contact_id: 1,
        bot.contact_id: 1,
    }
    with pytest.raises(Rejected, match="theirs already"):
        await shop.move(bot.conversation_id, form.contact_id)
    with pytest.raises(NotFound):
        await shop.move(1, form.contact_id)


async def test_a_conversation_that_goes_without_its_address_leaves_the_next_word_where_it_was(shop):
    form, bot = await shop.two()
    await shop.move(bot.conversation_id, form.contact_id)
    again = await shop.says("telegram", "1:77", "Me again")
    assert again.contact_id == bot.contact_id
    assert again.conversation_id != bot.conversation_id


async def test_a_conversation_that_was_given_to_a_third_person_stays_there_when_a_merge_is_undone(shop):
    form, bot = await shop.two()
    third = await shop.says("phone", "+79160000003", "Third")
    merge_id = await shop.merge(form.contact_id, bot.contact_id)
    await shop.move(bot.conversation_id, third.contact_id, address=("telegram", "1:77"))
    await shop.undo(merge_id)
    whose = await shop.whose()
    assert whose[("conversations", bot.conversation_id)][0] == third.contact_id
    assert whose[("messages", bot.message_id)][0] == third.contact_id
    assert [row.contact_id for row in await shop.all(ContactIdentity, scheme="telegram")] == [third.contact_id]


async def test_both_write_while_they_are_merged_and_taken_apart_and_nothing_is_lost_or_doubled(shop):
    form, bot = await shop.two()
    sent = Counter()

    async def write(scheme, value):
        for number in range(25):
            words = f"{value} {number}"
            sent[words] += 1
            await shop.says(scheme, value, words)

    async def merge_and_undo():
        for _ in range(6):
            merge_id = await shop.merge(form.contact_id, bot.contact_id)
            await asyncio.sleep(0)
            await shop.undo(merge_id)

    async with asyncio.timeout(60):
        await asyncio.gather(write("phone", "+79161234567"), write("telegram", "1:77"), merge_and_undo())
    said = Counter(message.text for message in await shop.all(Message))
    assert said == sent + Counter(["Windows, please", "And doors?"])
    assert [person.id for person in await shop.all(Contact)] == [form.contact_id, bot.contact_id]
    owners = {talk.id: talk.contact_id for talk in await shop.all(Conversation)}
    assert set(owners.values()) == {form.contact_id, bot.contact_id}
    for message in await shop.all(Message):
        assert message.contact_id == owners[message.conversation_id]
    assert Counter(message.contact_id for message in await shop.all(Message)) == {
        form.contact_id: 26,
        bot.contact_id: 26,
    }


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_was_there_and_whatever_was_done_since_each_row_goes_back(shop, drain, clock, seed):
    chance = random.Random(seed)
    people = [[("phone", f"+7916000000{n}"), ("telegram", f"1:{n}")] for n in range(4)]
    ids = []
    for addresses in people:
        used = chance.sample(addresses, chance.randint(1, 2))
        first = await shop.says(*used[0], "first", name=chance.choice(["", "Вера"]), more=used[1:])
        ids.append(first.contact_id)
        for _ in range(chance.randint(0, 4)):
            await shop.says(*chance.choice(used), "more")
        people[len(ids) - 1] = used
    for _ in range(chance.randint(0, 2)):  # some look alike
        one, other = chance.sample(people, 2)
        await shop.says(*one[0], "mixed", more=[other[0]])
    await drain()

    merges = []
    before = []
    pairs = []
    left = list(ids)
    for _ in range(chance.randint(1, 3)):
        kept, gone = chance.sample(left, 2)
        left.remove(gone)
        pairs.append((kept, gone))
        before.append(await shop.rows())
        merges.append(await shop.merge(kept, gone))
        await _work(shop, chance, left, people, clock)
        await drain()

    for merge_id, was in zip(reversed(merges), reversed(before), strict=True):
        await shop.undo(merge_id)
        now = await shop.rows()
        for (table, row_id), row in _others(was, *pairs).items():
            found = now[(table, row_id)]
            assert found.get("contact_id") == row.get("contact_id"), (table, row)
            assert found.get("thread") == row.get("thread"), (table, row)
            if table == "duplicate_candidates":
                assert found == row
        talks = {key[1]: row["contact_id"] for key, row in now.items() if key[0] == "conversations"}
        owners = {key[1]: row["contact_id"] for key, row in now.items() if key[0] == "deals"}
        there = {key[1] for key in now if key[0] == "contacts"}
        for (table, _), row in now.items():
            if table == "messages":
                assert row["contact_id"] == talks[row["conversation_id"]]
            elif table in ("tasks", "leads") and row["deal_id"]:
                assert row["contact_id"] == owners[row["deal_id"]]
            if row.get("contact_id"):
                assert row["contact_id"] in there
    for number, used in enumerate(people):
        for address in used:
            assert (await shop.says(*address, "at last")).contact_id == ids[number]


async def _work(shop, chance, left, people, clock):
    """Do anything people do, at random."""
    clock.advance(timedelta(minutes=chance.randint(1, 90)))
    common = {"at": clock.now(), "actor_id": shop.anna.id}
    for _ in range(chance.randint(1, 8)):
        what = chance.choice(["write", "write", "task", "done", "win", "note", "name", "tags", "deal"])
        if what == "write":
            await shop.says(*chance.choice(chance.choice(people)), "later")
            continue
        async with shop.hub.database.transaction() as session:
            contact = await contacts.get(session, chance.choice(left))
            open_tasks = list(await session.scalars(select(Task).where(Task.completed_at.is_(None)).order_by(Task.id)))
            open_deals = list(await deals.open_of(session, contact.id))
            if what == "task":
                deal_id = chance.choice(open_deals).id if open_deals else None
                await tasks.add(session, title="t", contact_id=contact.id, deal_id=deal_id, **common)
            elif what == "done" and open_tasks:
                await tasks.complete(session, chance.choice(open_tasks), **common)
            elif what == "win" and open_deals:
                await deals.win(session, chance.choice(open_deals), **common)
            elif what == "note":
                await notes.add(session, text="n", contact_id=contact.id, at=clock.now(), author_id=shop.anna.id)
            elif what == "name":
                await contacts.change(session, contact, name=f"N{chance.randint(0, 9)}", **common)
            elif what == "tags":
                await contacts.change(session, contact, tags=[f"t{chance.randint(0, 3)}"], **common)
            elif what == "deal":
                stage = await session.scalar(select(Stage).where(Stage.category == "open").order_by(Stage.position))
                await deals.add(session, title="d", contact_id=contact.id, stage=stage, currency="RUB", **common)
