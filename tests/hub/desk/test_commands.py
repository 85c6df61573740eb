"""Commands and questions of the desk, done as they come from a messenger, on a real database."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from channels import registry
from channels.desk_contract import Card, DeskPressed, DeskSaid
from core.people.contacts import Contact
from core.sales import leads as lead_rules
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import LostReason
from core.staff import membership
from core.staff.teams import TeamMember
from core.staff.users import Role, User
from core.talk import canned
from core.talk.conversations import Conversation, Message
from core.work import tasks
from core.work.tasks import OPEN_STATUSES, Task
from hub import connections
from hub.desk import cards, commands, hearing, presses
from hub.desk.cards import Desk
from hub.desk.reader import Reader, reader_for
from hub.desk.records import DeskLink, DeskPost, DeskTeamChat, DeskTopic, name_post
from tests.conftest import MONDAY_TEN as NOW
from tests.conftest import VERA

GROUP = "-100"
MOSCOW = ZoneInfo("Europe/Moscow")
IGOR = {"name": "Игорь Орлов", "phone": "+79031112233", "message": "a door"}


class AtDesk:
    """A colleague at the desk: says and presses things, and sees what is to be posted in answer."""

    def __init__(self, hub: Any, live: Any, user: User) -> None:
        self.hub, self.live, self.user = hub, live, user
        self.posts: list[DeskPost] = []
        self._numbers = itertools.count(1)

    async def says(self, text: str, *, to: DeskPost | None = None, chat: str = "", thread: str = "") -> list[Card]:
        ref = f"{self.user.id}-{next(self._numbers)}"
        event = DeskSaid(
            key=ref,
            ref=ref,
            peer=chat or self.chat,
            person=self.chat,
            is_private=not chat,
            thread=thread,
            text=text,
            reply_to="" if to is None else to.refs[0],
        )
        return await self._done(event)

    async def presses(self, data: str, *, under: DeskPost | None = None) -> tuple[hearing.Answer, list[Card]]:
        ref = "" if under is None else under.refs[0]
        key = f"press-{next(self._numbers)}"
        event = DeskPressed(key=key, ref=ref, peer=self.chat, person=self.chat, data=data)
        shown = await self._done(event)
        return self.answer, shown

    @property
    def chat(self) -> str:
        return f"chat-{self.user.id}"

    async def _done(self, event: Any) -> list[Card]:
        async with self.hub.database.transaction() as session:
            last = await session.scalar(select(func.max(DeskPost.id))) or 0
            self.answer = await hearing.do(session, self.hub, self.live, event)
            rows = await session.scalars(select(DeskPost).where(DeskPost.id > last).order_by(DeskPost.id))
            self.posts = [row for row in rows if row.purpose != "theirs"]
            for row in self.posts:
                await name_post(session, row, [f"ref-{row.id}"])
                row.posted_at, row.due_at = self.hub.clock.now(), None
            return [await self._shown(session, row) for row in self.posts]

    async def _shown(self, session: Any, row: DeskPost) -> Card:
        desk = Desk(session, self.hub, await reader_for(session, self.user, now=self.hub.clock.now()))
        shown = await cards.MAKERS[row.purpose](desk, row)
        assert shown is not None
        return shown.card

    async def sees(self, purpose: str, **subjects: Any) -> DeskPost:
        """Have a card posted to them, as the diary would."""
        async with self.hub.database.transaction() as session:
            row = DeskPost(
                lane="test", connection_id=self.live.id, chat=self.chat, purpose=purpose, user_id=self.user.id,
                created_at=NOW, posted_at=NOW, **subjects,
            )  # fmt: skip
            session.add(row)
            await session.flush()
            await name_post(session, row, [f"ref-{row.id}"])
        return row


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, name in (("desk_console", "ConsoleDesk"), ("desk_plain", "PlainDesk")):
        monkeypatch.setitem(registry.KINDS, kind, f"tests.hub.desk.console:{name}")  # type: ignore[arg-type]


@pytest.fixture
async def at_desk(hub):
    """Has a colleague work at the desk: `await at_desk(anna)`."""
    made: dict[str, Any] = {}

    async def seat(user: User, kind: str = "desk_console") -> AtDesk:
        async with hub.database.transaction() as session:
            if kind not in made:
                row = await connections.create(session, hub.vault, kind=kind, title=kind, settings={}, at=NOW)
                made[kind] = row.id
            session.add(
                DeskLink(
                    connection_id=made[kind], user_id=user.id, person=f"chat-{user.id}", chat=f"chat-{user.id}",
                    created_at=NOW,
                )
            )  # fmt: skip
        await hub.switchboard.refresh()
        return AtDesk(hub, hub.switchboard.by_id(made[kind]), user)

    return seat


@pytest.fixture
async def anna(take_on) -> User:
    return await take_on("Anna", extension="101")


@pytest.fixture
async def desk(anna, at_desk) -> AtDesk:
    return await at_desk(anna)


@pytest.fixture
async def asked(anna, client, webform, drain) -> None:
    """Vera has asked for windows, and Anna looks after her."""
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()


@pytest.fixture
async def read(hub) -> AsyncIterator[Any]:
    """Reads one record as it is stored now."""

    async def one(model: Any, *conditions: Any) -> Any:
        async with hub.database.reading() as session:
            return await session.scalar(select(model).where(*conditions).order_by(model.id.desc()).limit(1))

    yield one


@pytest.fixture
async def lead_card(desk, asked, read) -> DeskPost:
    lead, talk = await read(Lead), await read(Conversation)
    return await desk.sees("lead", lead_id=lead.id, deal_id=lead.deal_id, conversation_id=talk.id)


def _keys(card: Card) -> list[str]:
    return [key.data for row in card.keys for key in row]


async def test_an_unknown_command_sends_nothing_and_shows_what_there_is(desk, asked, read):
    (card,) = await desk.says("/frobnicate now")
    assert "/frobnicate" in card.title
    assert any(line.startswith("/tasks") for line in card.lines)
    assert await read(Message, Message.author_id == desk.user.id) is None


async def test_commands_are_known_by_any_capitals_by_the_bot_s_name_and_in_russian(desk, asked):
    lists = [await desk.says(text) for text in ("/tasks", "/TASKS@switchyard_bot", "/задачи", "/Задачи  ")]
    assert all(shown == lists[0] for shown in lists)
    assert lists[0][0].title.startswith("☑️")


async def test_every_alias_stands_for_a_command(hub):
    assert set(commands._ALIASES.values()) <= set(commands.COMMANDS)
    assert not set(commands._ALIASES) & set(commands.COMMANDS)


async def test_conversations_are_listed_whoever_waits_longest_first(desk, client, webform, asked, drain, clock, read):
    clock.advance(timedelta(minutes=40))
    await client.post(f"/hooks/{webform.key}", data=IGOR)
    await drain()
    (card,) = await desk.says("/mine")
    assert [line[:8] for line in card.lines] == ["1. Вера ", "2. Игорь"]
    assert "40 min" in card.lines[0]
    talk = await read(Conversation, Conversation.contact_id == (await read(Contact, Contact.name == IGOR["name"])).id)
    assert f"show:{talk.id}" in _keys(card)


async def test_a_conversation_that_is_shown_again_can_be_answered(desk, asked, read):
    talk = await read(Conversation)
    cards_ = await desk.says(f"/show {talk.id}")
    assert cards_[0].words == VERA["message"]
    assert (desk.posts[0].purpose, desk.posts[0].conversation_id) == ("message", talk.id)


async def test_tasks_show_what_is_late_first_at_most_ten_and_how_many_more(desk, hub, anna):
    async with hub.database.transaction() as session:
        for number in range(13):
            due = NOW + timedelta(hours=number - 1)
            await tasks.add(session, title=f"Task {number}", due_at=due, at=NOW, assignee_id=anna.id)
    (card,) = await desk.says("/tasks")
    assert card.lines[0].startswith("1. Task 0 · 🔴")
    assert len(card.lines) == 11
    assert card.lines[-1] == "… and 3 more"
    assert [key.split(":")[0] for key in _keys(card)[:2]] == ["done", "snz"]


async def test_a_task_of_the_list_is_done_by_its_button_once(desk, asked, read):
    (card,) = await desk.says("/tasks")
    done = next(key for key in _keys(card) if key.startswith("done:"))
    answer, _ = await desk.presses(done)
    assert answer.text == "✅ Done"
    answer, _ = await desk.presses(done)
    assert "Done already by Anna" in answer.text


async def test_where_nothing_can_be_pressed_a_list_says_what_to_type(anna, at_desk, asked, read):
    plain = await at_desk(anna, "desk_plain")
    (card,) = await plain.says("/tasks")
    task = await read(Task, Task.assignee_id == anna.id)
    assert f"!done {task.id}" in card.lines[0]
    await plain.says(f"/done {task.id}")
    assert (await read(Task, Task.id == task.id)).status == "done"


async def test_where_nothing_can_be_pressed_stages_are_named(anna, at_desk, asked, read):
    plain = await at_desk(anna, "desk_plain")
    lead = await read(Lead)
    post = await plain.sees("lead", lead_id=lead.id, deal_id=lead.deal_id)
    (card,) = await plain.says("/stage", to=post)
    assert card.lines[0].startswith("Write /stage and one of: ")


async def test_open_deals_are_listed_with_stage_and_amount(desk, asked, lead_card, read):
    await desk.says("/amount 120k", to=lead_card)
    (card,) = await desk.says("/deals")
    deal = await read(Deal)
    assert "120,000" in card.lines[0]
    assert _keys(card) == [f"deal:{deal.id}"]


async def test_people_are_found_by_words_and_by_number_among_those_one_may_see(desk, take_on, at_desk, asked, read):
    vera = await read(Contact)
    for words in ("соколова", "8 916 123-45-67", "vera@example.com"):
        (card,) = await desk.says(f"/find {words}")
        assert "Вера Соколова" in card.lines[0]
        assert f"call:{vera.id}" in _keys(card)
        assert f"deal:{(await read(Deal)).id}" in _keys(card)
    boris = await at_desk(await take_on("Boris"))
    (card,) = await boris.says("/find соколова")
    assert "Nobody is found" in card.title


async def test_find_without_words_asks_whom(desk, asked):
    await desk.says("/find")
    (card,) = await desk.says("вера", to=desk.posts[0])
    assert "Вера Соколова" in card.lines[0]


async def test_the_day_counts_what_waits_and_shows_the_most_urgent(desk, asked, clock, drain):
    clock.advance(timedelta(hours=2))
    await drain()
    (card,) = await desk.says("/today")
    assert "💬 People waiting for an answer: 1" in card.lines
    assert "🔴 Late tasks: 1" in card.lines
    assert "🆕 New leads of yours: 1" in card.lines
    assert sorted(key.split(":")[0] for key in _keys(card)) == ["done", "show", "snz"]


async def test_a_day_without_work_says_so(desk):
    (card,) = await desk.says("/today")
    assert card.title == "☀️ Nothing waits for you"


@pytest.mark.parametrize(
    ("words", "title", "kind", "due"),
    [
        ("tomorrow 10:00 call", "call", "call", datetime(2026, 11, 24, 10, tzinfo=MOSCOW)),
        ("завтра в 10 встреча в офисе", "встреча в офисе", "meeting", datetime(2026, 11, 24, 10, tzinfo=MOSCOW)),
        ("отправить договор через 2 часа", "отправить договор", "document", NOW + timedelta(hours=2)),
    ],
)
async def test_a_task_of_words_and_a_time_is_on_the_card_s_deal(desk, lead_card, read, words, title, kind, due):
    (card,) = await desk.says(f"/task {words}", to=lead_card)
    task = await read(Task)
    lead = await read(Lead)
    assert (task.title, task.kind, task.due_at) == (title, kind, due)
    assert (task.deal_id, task.contact_id, task.assignee_id) == (lead.deal_id, lead.contact_id, desk.user.id)
    assert title in card.title


async def test_a_task_without_a_time_asks_for_it_and_takes_the_answer_once(desk, lead_card, read):
    await desk.says("/task measure the windows", to=lead_card)
    question = desk.posts[0]
    assert await read(Task, Task.title == "measure the windows") is None
    (card,) = await desk.says("when I like", to=question)
    assert card.title.startswith("⏰ When?")
    await desk.says("завтра в 11", to=desk.posts[0])
    made = await read(Task, Task.title == "measure the windows")
    assert made.due_at == datetime(2026, 11, 24, 11, tzinfo=MOSCOW)
    assert made.deal_id is not None


async def test_a_task_of_one_s_own_needs_no_card(desk, read):
    await desk.says("/task buy paper tomorrow")
    task = await read(Task)
    assert (task.title, task.contact_id, task.due_at) == ("buy paper", None, datetime(2026, 11, 24, 9, tzinfo=MOSCOW))


async def test_what_needs_a_card_says_so_where_there_is_none(desk):
    for text in (
        "/won",
        "/lost",
        "/stage",
        "/amount 5",
        "/take",
        "/hand",
        "/junk",
        "/call",
        "/note x",
        "/reply x",
        "/done",
    ):
        (card,) = await desk.says(text)
        assert card.title == "🚫 Not done", text
        assert "in answer to" in card.lines[0], text


async def test_a_deal_is_won_and_cannot_be_lost_then(desk, lead_card, read):
    (card,) = await desk.says("/won", to=lead_card)
    assert card.title == "🏆 Won"
    assert (await read(Deal)).outcome == "won"
    (card,) = await desk.says("/lost price", to=lead_card)
    assert card.title == "🚫 Not done"
    assert (await read(Deal)).outcome == "won"


async def test_a_reason_is_the_company_s_if_words_name_one_and_one_s_own_otherwise(desk, hub, lead_card, read):
    reason = await read(LostReason)
    await desk.says(f"/lost {reason.name.upper()}", to=lead_card)
    assert (await read(Deal)).lost_reason == reason.name


async def test_why_a_deal_is_lost_is_asked_once(desk, lead_card, read):
    await desk.says("/lost", to=lead_card)
    question = desk.posts[0]
    await desk.says("their cousin makes windows", to=question)
    assert (await read(Deal)).lost_reason == "their cousin makes windows"
    (card,) = await desk.says("something else", to=question)
    assert "answered already" in card.title
    assert (await read(Deal)).lost_reason == "their cousin makes windows"


async def test_a_stage_is_found_by_a_part_of_its_name(desk, lead_card, read, hub):
    await desk.says("/stage", to=lead_card)
    names = [row[0].text.removeprefix("• ") for row in (await desk.says("/stage", to=lead_card))[0].keys]
    (card,) = await desk.says(f"/stage {names[1][:5].lower()}", to=lead_card)
    assert card.title == f"📊 Moved to {names[1]}"
    (card,) = await desk.says("/stage nowhere", to=lead_card)
    assert names[0] in card.lines[0]


@pytest.mark.parametrize(("words", "minor"), [("120 000", 12_000_000), ("120k", 12_000_000), ("1,5 млн", 150_000_000)])
async def test_an_amount_is_read_as_people_write_it(desk, lead_card, read, words, minor):
    await desk.says(f"/amount {words}", to=lead_card)
    assert (await read(Deal)).amount == minor


async def test_an_answer_without_an_amount_is_asked_again_and_nothing_is_changed(desk, lead_card, read):
    await desk.says("/amount", to=lead_card)
    (card,) = await desk.says("a lot", to=desk.posts[0])
    assert "no amount" in card.title
    assert (await read(Deal)).amount is None
    await desk.says("1.200,50", to=desk.posts[0])
    assert (await read(Deal)).amount == 120_050


async def test_a_lead_is_taken_and_handed_over_by_name(desk, take_on, at_desk, lead_card, read):
    boris = await take_on("Boris")
    (card,) = await desk.says("/hand bor", to=lead_card)
    assert card.title == "➡️ Boris has it now"
    assert (await read(Lead)).owner_id == boris.id
    (card,) = await desk.says("/take", to=lead_card)
    assert card.title == "🚫 Not done"  # it is none of hers any more


async def test_a_name_nobody_has_hands_nothing_over(desk, lead_card, read):
    (card,) = await desk.says("/hand Zoe", to=lead_card)
    assert "Nobody here is called “Zoe”" in card.lines[0]
    assert (await read(Lead)).owner_id == desk.user.id


async def test_a_lead_is_closed_as_none(desk, lead_card, read):
    await desk.says("/junk", to=lead_card)
    assert (await read(Lead)).status not in lead_rules.OPEN_STATUSES


async def test_another_s_lead_is_none_of_one_s_business(take_on, at_desk, lead_card, asked, read):
    boris = await at_desk(await take_on("Boris"))
    lead = await read(Lead)
    post = await boris.sees(
        "lead", lead_id=lead.id, deal_id=lead.deal_id, conversation_id=(await read(Conversation)).id
    )
    for text in ("/won", "/lost x", "/amount 5", "/junk", "/take", "/done", "/note hi", "/task tomorrow call"):
        (card,) = await boris.says(text, to=post)
        assert card.title == "🚫 Not done", text
    assert ((await read(Deal)).outcome, (await read(Deal)).amount) == ("open", None)
    assert await read(Task, Task.assignee_id == boris.user.id) is None


async def test_whoever_may_only_look_changes_nothing(take_on, at_desk, asked, read):
    viewer = await at_desk(await take_on("Vic", Role.VIEWER))
    lead = await read(Lead)
    post = await viewer.sees("lead", lead_id=lead.id, deal_id=lead.deal_id)
    for text in ("/won", "/junk", "/task tomorrow call"):
        (card,) = await viewer.says(text, to=post)
        assert card.title == "🚫 Not done", text
    assert (await read(Deal)).outcome == "open"


async def test_a_task_is_put_off_by_an_hour_or_until_a_time(desk, asked, read):
    task = await read(Task, Task.assignee_id == desk.user.id)
    post = await desk.sees("task", task_id=task.id)
    await desk.says("/snooze", to=post)
    assert (await read(Task, Task.id == task.id)).due_at == NOW + timedelta(hours=1)
    await desk.says("/snooze завтра в 11", to=post)
    assert (await read(Task, Task.id == task.id)).due_at == datetime(2026, 11, 24, 11, tzinfo=MOSCOW)
    await desk.says("/snooze 2 часа", to=post)
    assert (await read(Task, Task.id == task.id)).due_at == NOW + timedelta(hours=2)
    (card,) = await desk.says("/snooze whenever", to=post)
    assert "cannot read that time" in card.lines[0]


async def test_a_conversation_is_put_aside_and_ended(desk, asked, read):
    talk = await read(Conversation)
    post = await desk.sees("message", conversation_id=talk.id, message_id=(await read(Message)).id)
    await desk.says("/snooze 30", to=post)
    assert (await read(Conversation)).snoozed_until == NOW + timedelta(minutes=30)
    await desk.says("/done", to=post)
    assert (await read(Conversation)).status == "resolved"


async def test_done_in_answer_to_a_lead_does_what_is_next_about_it(desk, lead_card, read):
    await desk.says("/done", to=lead_card)
    assert await read(Task, Task.status.in_(OPEN_STATUSES)) is None


async def test_a_note_stays_among_colleagues(desk, lead_card, read):
    await desk.says("/note haggles", to=lead_card)
    noted = await read(Message)
    assert (noted.text, noted.private) == ("haggles", True)
    await desk.says("/note", to=lead_card)
    await desk.says("likes blue", to=desk.posts[0])
    assert (await read(Message)).text == "likes blue"


async def test_a_canned_reply_that_is_not_there_is_not_sent(desk, hub, lead_card, read):
    async with hub.database.transaction() as session:
        await canned.add(session, shortcut="hi", text="Hello {name}", at=NOW, actor_id=None)
    (card,) = await desk.says("/reply nope", to=lead_card)
    assert "no canned reply “nope”" in card.lines[0]
    (card,) = await desk.says("/reply", to=lead_card)
    assert card.lines == ("/hi: Hello {name}",)


async def test_a_call_without_a_telephone_says_what_is_missing(desk, lead_card):
    (card,) = await desk.says("/call", to=lead_card)
    assert "No telephone is connected" in card.lines[0]


async def test_away_until_a_time_ends_by_itself_and_back_ends_it_at_once(desk, hub, read, anna):
    await desk.says("/away until 15:00")
    gone = await read(User)
    assert (gone.presence, gone.presence_until) == ("away", datetime(2026, 11, 23, 15, tzinfo=MOSCOW))
    await desk.says("/back")
    here = await read(User)
    assert (here.presence, here.presence_until) == ("available", None)


async def test_away_without_a_time_lasts_until_back(desk, read):
    await desk.says("/away")
    assert (await read(User)).presence == "away"
    await desk.says("/back")
    assert (await read(User)).presence == "available"


async def test_settings_say_what_one_is_told_and_when_quietly(desk, hub, read):
    async with hub.database.transaction() as session:
        link = await session.scalar(select(DeskLink).where(DeskLink.user_id == desk.user.id))
        link.settings = {"events": {"calls": False}, "quiet": ["22:00", "08:00"]}
    (card,) = await desk.says("/settings")
    assert "🔕 Calls" in card.lines
    assert "🔔 New leads" in card.lines
    assert "🌙 Quiet from 22:00 to 08:00" in card.lines


async def test_unlinking_is_done_once_it_is_meant(desk, read):
    await desk.says("/unlink")
    assert await read(DeskLink) is not None
    await desk.says("/unlink yes")
    assert await read(DeskLink) is None


@pytest.fixture
async def sales(hub, anna):
    async with hub.database.transaction() as session:
        return await membership.add_team(session, name="Windows", at=NOW, members={anna.id: False}, actor_id=None)


async def test_a_team_s_head_and_nobody_else_of_it_decides_where_it_works(desk, hub, anna, sales, read):
    (card,) = await desk.says("/team Windows", chat=GROUP)
    assert card.title == "🚫 Not done"
    async with hub.database.transaction() as session:
        place = await session.get(TeamMember, (sales.id, anna.id))
        place.leads = True
    (card,) = await desk.says("/team windows", chat=GROUP)
    assert "that of Windows" in card.title
    assert (await read(DeskTeamChat)).team_id == sales.id
    (card,) = await desk.says("/team", chat=GROUP)
    assert card.title == "🚫 Not done"  # all teams are not hers to lead
    await desk.says("/team off", chat=GROUP)
    assert await read(DeskTeamChat) is None


async def test_a_team_works_in_no_private_chat_and_in_no_group_without_topics(take_on, at_desk):
    olga = await take_on("Olga", Role.OWNER)
    plain, console = await at_desk(olga, "desk_plain"), await at_desk(olga)
    (card,) = await plain.says("/team", chat=GROUP)
    assert "no topics" in card.lines[0]
    (card,) = await console.says("/team")
    assert "in the team's group" in card.lines[0]


async def test_in_a_conversation_s_topic_commands_are_about_it(desk, hub, asked, read):
    talk = await read(Conversation)
    async with hub.database.transaction() as session:
        topic = DeskTopic(
            connection_id=desk.live.id, chat=GROUP, thread="7", conversation_id=talk.id, name="Vera", created_at=NOW
        )
        session.add(topic)
    await desk.says("/amount 5000", chat=GROUP, thread="7")
    assert (await read(Deal)).amount == 500_000
    assert desk.posts[0].topic_id == topic.id


async def test_in_a_group_lists_go_to_the_colleague_alone(desk, asked):
    shown = await desk.says("/tasks", chat=GROUP)
    assert [post.chat for post in desk.posts] == [desk.chat, GROUP]
    assert "Sent to you privately" in shown[1].footer


async def test_in_a_group_of_nobody_s_an_unknown_command_is_another_bot_s(desk):
    assert await desk.says("/ban spammer", chat=GROUP) == []


async def test_greeting_and_help_speak_the_reader_s_language(hub, take_on, at_desk):
    desk = await at_desk(await take_on("Vera", language="ru"))
    (card,) = await desk.says("/start")
    assert "Vera" in card.title
    (card,) = await desk.says("/помощь")
    assert any("/today" in line for line in card.lines)


async def test_a_refusal_speaks_the_reader_s_language(at_desk, take_on, asked, read):
    vera = await at_desk(await take_on("Vera", language="ru"))
    (card,) = await vera.says(f"/show {(await read(Conversation)).id}")
    assert card.lines == ("Этого больше нет, или это не для вас",)


def test_why_a_message_was_not_delivered_is_said_in_the_reader_s_language():
    message = Message(status="failed", error_text="They have asked not to be written to here")
    words, _keys = cards.state_of(Reader(NOW, language="ru"), message)
    assert words == "⚠️ Не доставлено: Человек просил сюда не писать"


async def test_the_buttons_of_the_greeting_show_what_waits_and_nothing_else(desk, asked, monkeypatch):
    for verb, does in commands.EXTRA_VERBS.items():
        monkeypatch.setitem(presses.VERBS, verb, does)
    (card,) = await desk.says("/start")
    for data in _keys(card):
        _answer, shown = await desk.presses(data, under=desk.posts[0] if desk.posts else None)
        assert len(shown) == 1, data
    answer, shown = await desk.presses("run:unlink")
    assert answer.is_alert
    assert shown == []


async def test_another_s_conversation_is_not_shown(take_on, at_desk, asked, read):
    boris = await at_desk(await take_on("Boris"))
    (card,) = await boris.says(f"/show {(await read(Conversation)).id}")
    assert card.title == "🚫 Not done"
