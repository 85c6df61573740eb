"""Scenario D in a team's group: every conversation is a topic; whoever answers first takes it."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from core.sales import pipelines
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff.users import Role, User
from core.talk import conversations
from core.talk.conversations import Conversation
from core.work import progress
from hub import replies
from hub.desk.records import DeskTeamChat
from tests.peers.botapi.double import BotApi
from tests.scenarios.messenger import DESK, SHOP, Messenger, working


@pytest.fixture
async def telegram():
    async with BotApi().running() as played:
        played.add_bot(SHOP, "shop_bot", "Windows")
        played.add_bot(DESK, "desk_bot", "Our desk")
        yield played


@pytest.fixture
async def desk(tmp_path, database_url, telegram):
    async with working(tmp_path / "state", database_url, telegram) as messenger:
        yield messenger


class Team:
    """A group with topics in which Kirill, Anna and Boris work."""

    def __init__(self, desk: Messenger, kirill: User, anna: User, boris: User) -> None:
        self.desk, self.kirill, self.anna, self.boris = desk, kirill, anna, boris
        telegram = desk.telegram
        self.bot = telegram.bot("desk_bot")
        self.group = telegram.create_group("Sales", desk.accounts[kirill.id], is_forum=True)
        for user in (anna, boris):
            telegram.add_member(self.group, desk.accounts[user.id])
        telegram.promotes(self.group, self.bot)

    async def settle_in(self) -> None:
        self.desk.telegram.says(self.desk.accounts[self.kirill.id], self.group, "/team")
        await self.desk.telegram.wait_for_messages(self.group, timeout=60)

    def threads(self) -> dict[str, int]:
        """Return the topics that people see, by name."""
        chat = self.desk.telegram.chat(self.group)
        return {topic.name: topic.id for topic in chat.topics.values() if topic.id != 1}

    def words(self, thread: int) -> list[str]:
        """Return what a topic shows, service messages left out."""
        return [one.text for one in self.desk.telegram.messages(self.group, thread) if not one.is_service]

    async def topic_of(self, name: str) -> int:
        """Return the topic of somebody, once it is there."""
        await self.desk.until(lambda: any(name in title for title in self.threads()), timeout=60)
        return next(number for title, number in self.threads().items() if name in title)


@pytest.fixture
async def team(desk) -> Team:
    kirill = await desk.take_on("Kirill", Role.OWNER)
    anna, boris = await desk.take_on("Anna"), await desk.take_on("Boris")
    made = Team(desk, kirill, anna, boris)
    await made.settle_in()
    return made


async def test_every_conversation_is_a_topic_and_what_is_written_there_goes_to_the_customer(desk, team):
    vera, igor = desk.customer("Vera"), desk.customer("Igor")
    desk.writes(vera, "Three windows")
    desk.writes(igor, "A door")
    of_vera, of_igor = await team.topic_of("Vera"), await team.topic_of("Igor")
    assert of_vera != of_igor
    await desk.until(lambda: any("Three windows" in text for text in team.words(of_vera)))
    said = desk.telegram.says(desk.accounts[team.kirill.id], team.group, "Which size?", thread=of_vera)
    await desk.until(lambda: desk.got(vera) == ["Which size?"])
    assert desk.got(igor) == []
    desk.writes(vera, "140 x 150")
    await desk.until(lambda: "140 x 150" in team.words(of_vera))

    def ticks() -> list[str]:
        seen = desk.telegram.messages(team.group, of_vera)
        return [one.text for one in seen if one.reply_to == said.id and "✓" in one.text]

    await desk.until(ticks)
    async with desk.hub.database.reading() as session:
        leads = {lead.message: lead.owner_id for lead in await session.scalars(select(Lead))}
    assert leads["Three windows"] is not None


async def test_a_topic_that_somebody_deleted_is_made_again_and_nothing_is_lost(desk, team):
    vera = desk.customer("Vera")
    desk.writes(vera, "one")
    first = await team.topic_of("Vera")
    await desk.quiet()
    desk.telegram.deletes_topic(desk.accounts[team.kirill.id], team.group, first)
    desk.writes(vera, "two")
    desk.writes(vera, "three")
    await desk.until(lambda: any("Vera" in title for title in team.threads()), timeout=60)
    second = await team.topic_of("Vera")
    assert second != first
    await desk.until(lambda: [text for text in team.words(second) if text in ("two", "three")] == ["two", "three"])
    desk.telegram.says(desk.accounts[team.kirill.id], team.group, "Still here", thread=second)
    await desk.until(lambda: desk.got(vera) == ["Still here"])


async def test_who_may_not_answer_is_told_whose_conversation_it_is(desk, team):
    vera = desk.customer("Vera")
    desk.writes(vera, "one")
    thread = await team.topic_of("Vera")
    async with desk.hub.database.reading() as session:
        lead = await session.scalar(select(Lead))
    other = team.boris if lead.owner_id == team.anna.id else team.anna
    desk.telegram.says(desk.accounts[other.id], team.group, "I answer, too", thread=thread)
    await desk.until(lambda: any("looks after this conversation" in text for text in team.words(thread)))
    assert desk.got(vera) == []


async def test_a_topic_is_named_after_how_things_stand_and_closed_with_its_conversation(desk, team):
    vera = desk.customer("Vera")
    desk.writes(vera, "one")
    await desk.until(lambda: any("First call" in title for title in team.threads()), timeout=60)
    hub = desk.hub
    async with hub.database.transaction() as session:
        deal = await session.scalar(select(Deal))
        stages = await pipelines.stages_of(session, deal.pipeline_id)
        await progress.move(session, deal, stages[1], at=hub.clock.now(), actor_id=team.kirill.id)
    await desk.until(lambda: any("Qualified" in title for title in team.threads()))
    async with hub.database.transaction() as session:
        conversation = await session.scalar(select(Conversation))
        await conversations.resolve(session, conversation, at=hub.clock.now(), actor_id=team.kirill.id)
    thread = await team.topic_of("Vera")
    chat = desk.telegram.chat(team.group)
    await desk.until(lambda: chat.topics[thread].is_closed)
    desk.writes(vera, "One more thing")
    await desk.until(lambda: "One more thing" in team.words(thread))
    await desk.until(lambda: not chat.topics[thread].is_closed)


async def test_what_is_said_from_the_workspace_stands_in_the_topic_too(desk, team):
    vera = desk.customer("Vera")
    desk.writes(vera, "one")
    thread = await team.topic_of("Vera")
    await desk.quiet()
    async with desk.hub.database.transaction() as session:
        conversation = await session.scalar(select(Conversation))
        await replies.reply(session, desk.hub, conversation, author_id=team.anna.id, text="From my desk")
    await desk.until(lambda: any("From my desk" in text and "Anna" in text for text in team.words(thread)))


async def test_a_group_that_throws_the_bot_out_costs_nobody_a_message(desk, team):
    vera = desk.customer("Vera")
    desk.writes(vera, "one")
    await team.topic_of("Vera")
    await desk.quiet()
    desk.telegram.removes(team.group, team.bot)
    desk.writes(vera, "two, are you there?")
    everybody = (team.kirill, team.anna, team.boris)
    await desk.until(
        lambda: any("two, are you there?" in one.text for user in everybody for one in desk.seen_by(user)), timeout=60
    )


async def test_people_who_are_not_linked_write_to_nobody(desk, team):
    vera = desk.customer("Vera")
    desk.writes(vera, "one")
    thread = await team.topic_of("Vera")
    await desk.quiet()
    mallory = desk.telegram.add_user("Mallory")
    desk.telegram.add_member(team.group, mallory)
    desk.telegram.says(mallory, team.group, "I am the boss", thread=thread)
    desk.telegram.says(mallory, team.group, "I really am", thread=thread)
    await desk.until(lambda: any("not linked" in text for text in team.words(thread)))
    await desk.quiet()
    assert desk.got(vera) == []
    assert sum("not linked" in text for text in team.words(thread)) == 1


async def test_chat_in_the_general_topic_stays_among_colleagues(desk, team):
    vera = desk.customer("Vera")
    desk.writes(vera, "one")
    await team.topic_of("Vera")
    desk.telegram.says(desk.accounts[team.anna.id], team.group, "Lunch?")
    await desk.quiet()
    assert desk.got(vera) == []
    async with desk.hub.database.reading() as session:
        assert (await session.scalar(select(DeskTeamChat))) is not None
