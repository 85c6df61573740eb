"""Scenario D: the manager lives in the messenger. Customers and managers are real clients of a played Telegram."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import absences
from core.staff.users import Role, User
from core.talk.conversations import Message
from core.work.tasks import Task
from hub.desk import linking
from tests.peers.botapi.double import BotApi
from tests.scenarios.messenger import DESK, SHOP, Messenger, working


@pytest.fixture
async def telegram() -> AsyncIterator[BotApi]:
    async with BotApi().running() as played:
        played.add_bot(SHOP, "shop_bot", "Windows")
        played.add_bot(DESK, "desk_bot", "Our desk")
        yield played


@pytest.fixture
async def desk(tmp_path, database_url, telegram) -> AsyncIterator[Messenger]:
    async with working(tmp_path / "state", database_url, telegram) as messenger:
        yield messenger


async def test_a_lead_reaches_the_manager_and_her_answer_reaches_the_customer(desk):
    anna = await desk.take_on("Anna")
    vera = desk.customer("Vera")
    desk.writes(vera, "Three windows <b>please</b> & a door")
    card = await desk.card(anna, "New lead:")
    assert "Vera" in card.text
    assert "Three windows <b>please</b> & a door" in card.text, "her words, word for word"
    labels = [label for row in card.buttons for label in row]
    assert any("Snooze 15 min" in label for label in labels)
    assert any("Not a lead" in label for label in labels)
    said = desk.answers(anna, card, "Hello Vera! *Which* size? <3")
    await desk.until(lambda: desk.got(vera) == ["Hello Vera! *Which* size? <3"])
    ticks = await desk.card(anna, "✓")
    assert ticks.reply_to == said.id, "the ticks come back onto her message"
    desk.writes(vera, "140 x 150")
    shown = await desk.card(anna, "140 x 150")
    assert shown.reply_to is not None, "in the same thread"
    desk.answers(anna, shown, "Thank you")
    await desk.until(lambda: desk.got(vera)[-1:] == ["Thank you"])


async def test_of_two_who_take_at_once_one_wins_and_the_other_is_told_who(desk):
    anna = await desk.take_on("Anna")
    boris = await desk.take_on("Boris")
    now = desk.hub.clock.now()
    async with desk.hub.database.transaction() as session:
        for user in (anna, boris):  # nobody is routed to
            await absences.add(
                session, user_id=user.id, starts_at=now - timedelta(days=1), ends_at=now + timedelta(days=1), at=now
            )
    vera = desk.customer("Vera")
    desk.writes(vera, "Hello")
    first, second = await desk.card(anna, "New lead:"), await desk.card(boris, "New lead:")
    said = await asyncio.gather(desk.press(anna, first, "Take"), desk.press(boris, second, "Take"))
    won = [text for text in said if "yours" in text]
    lost = [text for text in said if "was first" in text]
    assert (len(won), len(lost)) == (1, 1)
    async with desk.hub.database.reading() as session:
        lead = await session.scalar(select(Lead))
        owner = await session.get(User, lead.owner_id)
    assert owner.name in lost[0]
    await desk.until(lambda: all("Looked after by" in desk.seen_by(user)[-1].text for user in (anna, boris)))


async def test_files_go_both_ways(desk, telegram):
    anna = await desk.take_on("Anna")
    vera = desk.customer("Vera")
    desk.writes(vera, "Hello")
    card = await desk.card(anna, "New lead:")
    await telegram.sends(vera, "shop_bot", "document", b"%PDF-1.4 plan", name="plan.pdf", caption="The plan")
    await desk.until(lambda: any(one.files for one in desk.seen_by(anna)))
    got = next(one for one in desk.seen_by(anna) if one.files)
    assert got.content == b"%PDF-1.4 plan"
    await telegram.sends(
        desk.accounts[anna.id], "desk_bot", "voice", b"OggS" + bytes(200), mime_type="audio/ogg", reply_to=card.id
    )
    await desk.until(lambda: any(one.files and one.is_bot for one in telegram.messages("shop_bot", user=vera)))
    sent = next(one for one in telegram.messages("shop_bot", user=vera) if one.files and one.is_bot)
    assert (sent.kind, sent.content) == ("voice", b"OggS" + bytes(200))


async def test_a_failure_comes_back_with_the_reason_and_can_be_tried_again(desk, telegram):
    anna = await desk.take_on("Anna")
    vera = desk.customer("Vera")
    desk.writes(vera, "Hello")
    card = await desk.card(anna, "New lead:")
    telegram.blocks(vera, "shop_bot")
    desk.answers(anna, card, "Good day")
    failed = await desk.card(anna, "Not delivered")
    assert "blocked" in failed.text
    telegram.unblocks(vera, "shop_bot")
    await desk.quiet()
    assert "tried again" in await desk.press(anna, failed, "Try again")
    await desk.until(lambda: desk.got(vera) == ["Good day"])
    await desk.until(lambda: "✓" in next(one for one in desk.seen_by(anna) if one.id == failed.id).text)


async def test_who_is_not_linked_gets_nothing_and_is_told_how(desk, telegram):
    anna = await desk.take_on("Anna")
    stranger = telegram.add_user("Mallory")
    telegram.start(stranger, "desk_bot")
    await telegram.wait_for_messages("desk_bot", user=stranger, text="not linked")
    vera = desk.customer("Vera")
    desk.writes(vera, "Hello")
    await desk.card(anna, "New lead:")
    telegram.says(stranger, "desk_bot", "/mine")
    await telegram.wait_for_messages("desk_bot", user=stranger, text="not linked", count=2)
    assert not any("Vera" in one.text for one in telegram.messages("desk_bot", user=stranger))


async def test_a_link_works_once(desk, telegram):
    anna = await desk.take_on("Anna", linked=False)
    async with desk.hub.database.transaction() as session:
        ticket = await linking.make_ticket(session, anna.id, at=desk.hub.clock.now())
    telegram.start(desk.accounts[anna.id], "desk_bot", ticket)
    await desk.card(anna, "Anna")
    mallory = telegram.add_user("Mallory")
    telegram.start(mallory, "desk_bot", ticket)
    await telegram.wait_for_messages("desk_bot", user=mallory, text="does not work")


async def test_a_lost_phone_is_unlinked_at_once(desk):
    anna = await desk.take_on("Anna")
    vera = desk.customer("Vera")
    desk.writes(vera, "Hello")
    card = await desk.card(anna, "New lead:")
    async with desk.hub.database.transaction() as session:
        [link] = await linking.of_user(session, anna.id)
        await linking.unlink(session, link, at=desk.hub.clock.now(), actor_id=anna.id)
    desk.answers(anna, card, "I stole this phone")
    await desk.card(anna, "not linked")
    desk.writes(vera, "Are you there?")
    await desk.quiet()
    assert desk.got(vera) == []
    assert not any("Are you there?" in one.text for one in desk.seen_by(anna))


async def test_the_same_press_twice_is_done_once_and_a_dismissed_person_gets_nothing(desk):
    kirill = await desk.take_on("Kirill", Role.OWNER)
    anna = await desk.take_on("Anna")
    vera = desk.customer("Vera")
    desk.writes(vera, "Hello")
    card = await desk.card(anna, "New lead:")
    assert "not a lead" in await desk.press(anna, card, "Not a lead")
    await desk.until(lambda: not any("Not a lead" in b for row in _now(desk, anna, card).buttons for b in row))
    async with desk.hub.database.transaction() as session:
        row = await session.get(User, anna.id)
        row.is_active = False
    desk.writes(vera, "Once more")
    desk.answers(anna, card, "Hello?")
    await desk.card(anna, "not linked")
    await desk.quiet()
    assert desk.got(vera) == []
    assert kirill.id != anna.id


def _now(desk, user, post):
    return next(one for one in desk.seen_by(user) if one.id == post.id)


async def test_a_note_stays_inside_and_what_is_for_nobody_is_asked_about(desk):
    anna = await desk.take_on("Anna")
    vera = desk.customer("Vera")
    desk.writes(vera, "Hello")
    card = await desk.card(anna, "New lead:")
    desk.answers(anna, card, "//She is in a hurry")
    await desk.card(anna, "Noted")
    desk.telegram.says(desk.accounts[anna.id], "desk_bot", "We call you at ten")
    asked = await desk.card(anna, "Whom is this for")
    assert desk.got(vera) == []
    assert "On its way" in await desk.press(anna, asked, "Vera")
    await desk.until(lambda: desk.got(vera) == ["We call you at ten"])
    assert "already" in await desk.press(anna, asked, "Vera")
    async with desk.hub.database.reading() as session:
        private = list(await session.scalars(select(Message.text).where(Message.private)))
    assert private == ["She is in a hurry"]


async def test_what_a_manager_may_not_see_does_not_exist_for_them_in_the_messenger(desk):
    anna = await desk.take_on("Anna")
    vera = desk.customer("Vera", last_name="Sokolova")
    desk.writes(vera, "Hello")
    await desk.card(anna, "Vera Sokolova")
    boris = await desk.take_on("Boris")
    for user in (boris, anna):
        desk.telegram.says(desk.accounts[user.id], "desk_bot", "/find Vera")
    await desk.card(anna, "Vera Sokolova", count=2)
    await desk.quiet()
    assert "Sokolova" not in repr([(one.text, one.buttons) for one in desk.seen_by(boris)])


async def test_what_is_changed_after_it_was_said_is_changed_on_the_other_side_or_offered(desk, telegram):
    anna = await desk.take_on("Anna")
    vera = desk.customer("Vera")
    desk.writes(vera, "Hello")
    card = await desk.card(anna, "New lead:")
    asked = desk.writes(vera, "Tree windows")
    shown = await desk.card(anna, "Tree windows")
    telegram.edits(vera, "shop_bot", asked, "Three windows")
    await desk.until(lambda: "Three windows" in _now(desk, anna, shown).text)
    said = desk.answers(anna, card, "It costs 500")
    await desk.until(lambda: desk.got(vera) == ["It costs 500"])
    await desk.card(anna, "✓")
    telegram.edits(desk.accounts[anna.id], "desk_bot", said, "It costs 5000")
    offered = await desk.card(anna, "sent already")
    await desk.press(anna, offered, "Send the new wording")
    await desk.until(lambda: desk.got(vera) == ["It costs 500", "It costs 5000"])
    assert "already" in await desk.press(anna, offered, "Send the new wording")


async def test_a_manager_works_off_a_deal_by_commands(desk):
    anna = await desk.take_on("Anna")
    vera = desk.customer("Vera")
    desk.writes(vera, "Three windows")
    card = await desk.card(anna, "New lead:")
    for words, told in (
        ("/task tomorrow 10:00 call", "10:00"),
        ("/amount 120 000", "120,000"),
        ("/stage Proposal", "Proposal"),
        ("/deals", "Proposal"),
        ("/won", "Won"),
    ):
        before = len(desk.seen_by(anna))
        desk.answers(anna, card, words)
        await desk.until(lambda before=before, told=told: any(told in one.text for one in desk.seen_by(anna)[before:]))
    async with desk.hub.database.reading() as session:
        deal = await session.scalar(select(Deal))
        tasks = list(await session.scalars(select(Task).where(Task.due_at > desk.hub.clock.now())))
    assert (deal.outcome, deal.amount) == ("won", 12_000_000)
    assert any(task.kind == "call" for task in tasks)


async def test_both_sides_read_the_same_words_in_the_same_order_through_429s_and_a_restart(
    tmp_path, database_url, telegram
):
    """Many conversations at once, Telegram that wants quiet now and then, and a hub that is stopped in the middle."""
    many = 12
    async with working(tmp_path / "state", database_url, telegram) as desk:
        anna = await desk.take_on("Anna")
        account = desk.accounts[anna.id]
        customers = [desk.customer(f"Customer{number}") for number in range(many)]
        telegram.rate_limit(15, 1, bot="desk_bot")
        for number, customer in enumerate(customers):
            desk.writes(customer, f"question {number}.0")
        await telegram.wait_for_messages("desk_bot", user=account, text="New lead:", count=many, timeout=60)
        for turn in (1, 2):
            for number, customer in enumerate(customers):
                desk.writes(customer, f"question {number}.{turn}")
    async with working(tmp_path / "state", database_url, telegram) as desk:
        desk.accounts[anna.id] = account
        await telegram.wait_for_messages("desk_bot", user=account, text=".2", count=many, timeout=60)
        for number in range(many):
            post = next(one for one in desk.seen_by(anna) if one.is_bot and f"question {number}.2" in one.text)
            for turn in range(3):
                desk.answers(anna, post, f"answer {number}.{turn}")
        await desk.until(
            lambda: all(
                desk.got(customer) == [f"answer {number}.{turn}" for turn in range(3)]
                for number, customer in enumerate(customers)
            ),
            timeout=90,
        )
        await desk.quiet()
        telegram.lift_limits()
        for number in range(many):
            heard = [
                words
                for one in desk.seen_by(anna)
                if one.is_bot
                for words in (f"question {number}.0", f"question {number}.1", f"question {number}.2")
                if words in one.text.splitlines()
            ]
            assert heard == [f"question {number}.{turn}" for turn in range(3)], "each once, in order"
