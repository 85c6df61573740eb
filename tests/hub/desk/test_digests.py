"""Digests: what waits in the morning, what was missed in the evening; once a day, on days of work, of what is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from channels.desk_contract import DeskPressed, DeskStarted
from core.connections import Connection
from core.people.contacts import Contact
from core.staff import absences, teams, users
from core.staff.users import Presence, Role, User
from core.talk.calls import Call
from core.work import tasks
from core.work.tasks import Task
from hub import connections, worker
from hub.app import open_hub
from hub.desk import choices, digests, hearing, linking
from hub.desk.cards import Desk
from hub.desk.digest_cards import Digest, Item
from hub.desk.reader import Reader
from hub.desk.records import DeskDigest, DeskLink
from hub.settings import Settings
from tests.conftest import VERA
from tests.peers.botapi.double import BotApi
from tests.peers.botapi.seen import Seen

TUESDAY_NINE = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)  # by the company's clock, which is Moscow's
TOKEN = "220:desk-token-of-windows-and-doors"


@pytest.fixture
async def telegram() -> AsyncIterator[BotApi]:
    async with BotApi().running() as played:
        played.add_bot(TOKEN, "desk_bot", "Our desk")
        yield played


@pytest.fixture
def settings(tmp_path, database_url, telegram) -> Settings:
    return Settings(state_dir=tmp_path / "state", database_url=database_url, telegram_api=telegram.url)


@pytest.fixture
async def bot(hub) -> Connection:
    async with hub.database.transaction() as session:
        row = await connections.create(
            session, hub.vault, kind="desk_telegram", title="Desk", settings={"token": TOKEN}, at=hub.clock.now()
        )
    await hub.switchboard.refresh()
    return row


@pytest.fixture
def link(hub, bot, telegram) -> Callable[[User], Awaitable[Any]]:
    """Links somebody's account, as of now by the clock."""

    async def do(user: User) -> Any:
        account = telegram.add_user(user.name, username=user.name.lower())
        telegram.start(account, "desk_bot")
        event = DeskStarted(key=f"s{account.id}", peer=str(account.id), person=str(account.id), name=user.name)
        async with hub.database.transaction() as session:
            ticket = await linking.make_ticket(session, user.id, at=hub.clock.now())
            assert await linking.redeem(session, ticket, event, connection_id=bot.id, at=hub.clock.now()) is not None
        return account

    return do


@pytest.fixture
def seen(telegram) -> Callable[[Any, str], list[Seen]]:
    """Returns the posts in somebody's chat that have these words."""

    def look(account: Any, words: str) -> list[Seen]:
        return [one for one in telegram.messages("desk_bot", user=account) if one.is_bot and words in one.text]

    return look


async def add_task(hub: Any, user: User, title: str, due_at: datetime) -> Task:
    async with hub.database.transaction() as session:
        return await tasks.add(session, title=title, assignee_id=user.id, due_at=due_at, at=hub.clock.now())


async def count(hub: Any, model: Any) -> int:
    async with hub.database.reading() as session:
        return int(await session.scalar(select(func.count()).select_from(model)) or 0)


async def choose(hub: Any, user: User, **values: Any) -> None:
    async with hub.database.transaction() as session:
        await choices.change(session, user.id, **values)


async def test_in_the_morning_somebody_is_told_what_waits_and_can_do_it_there(
    hub, clock, client, webform, drain, take_on, link, seen, bot, telegram
):
    anna = await take_on("Anna")
    account = await link(anna)
    await client.post(f"/hooks/{webform.key}", data=VERA)
    late = await add_task(hub, anna, "Send the offer", clock.now() + timedelta(hours=2))
    await add_task(hub, anna, "Order the glass", TUESDAY_NINE + timedelta(hours=5))
    await add_task(hub, anna, "Next week's", TUESDAY_NINE + timedelta(days=7))
    await drain()
    clock.set(TUESDAY_NINE - timedelta(seconds=1))
    await drain()
    assert seen(account, "Good morning") == []
    clock.set(TUESDAY_NINE)
    await drain()
    (digest,) = seen(account, "Good morning, Anna")
    assert "People waiting for an answer: 1" in digest.text
    assert "New leads of yours: 1" in digest.text
    assert "Still to do today: 1" in digest.text
    assert "Вера Соколова · waits 20 h" in digest.text
    assert "Send the offer · 🔴 18 h late" in digest.text
    assert "Order the glass · ⏰ 14:00" in digest.text
    assert "Next week's" not in digest.text
    labels = [label for row in digest.buttons for label in row]
    assert any("💬 1. Вера Соколова" in label for label in labels)
    press = next(
        button["callback_data"]
        for row in digest.data["reply_markup"]["inline_keyboard"]
        for button in row
        if "Send the offer" in button["text"]
    )
    event = DeskPressed(
        key="p", peer=str(account.id), person=str(account.id), ref=str(digest.id), data=press, press="1"
    )
    live = hub.switchboard.by_id(bot.id)
    async with hub.database.transaction() as session:
        await hearing.do(session, hub, live, event)
    async with hub.database.reading() as session:
        assert (await session.get_one(Task, late.id)).status == "done"


async def test_missed_calls_are_told_with_a_button_to_call_back(hub, clock, drain, take_on, link, seen):
    anna = await take_on("Anna")
    account = await link(anna)
    async with hub.database.transaction() as session:
        line = await connections.create(
            session, hub.vault, kind="webform", title="Line", settings={}, at=clock.now(), default_country="RU"
        )
        contact = Contact(name="Igor", owner_id=anna.id, created_at=clock.now())
        session.add(contact)
        await session.flush()
        task = await tasks.add(
            session, title="Call back", assignee_id=anna.id, contact_id=contact.id, due_at=clock.now(), at=clock.now()
        )
        session.add(
            Call(
                connection_id=line.id,
                external_id="c1",
                contact_id=contact.id,
                number="+79031112233",
                status="missed",
                started_at=clock.now(),
                heard_at=clock.now(),
                ended_at=clock.now(),
                settled_at=clock.now(),
                task_id=task.id,
                created_at=clock.now(),
            )
        )
    await drain()
    clock.set(TUESDAY_NINE)
    await drain()
    (digest,) = seen(account, "Good morning")
    assert "Missed calls to return: 1" in digest.text
    assert digest.text.count("Igor") == 1, "the call once, and not as a task besides"
    assert any("📞 1. Igor" in label for row in digest.buttons for label in row)


async def test_a_digest_is_given_once_however_many_look_and_whoever_starts_anew(
    hub, settings, database_url, clock, drain, take_on, link, seen
):
    anna = await take_on("Anna")
    account = await link(anna)
    await add_task(hub, anna, "Send the offer", clock.now() + timedelta(hours=2))
    clock.set(TUESDAY_NINE)
    async with open_hub(settings, database_url, clock=clock) as other:
        await asyncio.gather(*(digests.give_due(one) for one in (hub, other, hub, other)))
    await drain()
    clock.advance(timedelta(hours=1))
    async with open_hub(settings, database_url, clock=clock) as restarted:
        await worker.drain(restarted)
    assert len(seen(account, "Good morning")) == 1
    await choose(hub, anna, morning=time(10, 30))
    clock.advance(timedelta(minutes=45))
    await drain()
    assert len(seen(account, "Good morning")) == 1, "another time holds from the next day on"
    clock.set(TUESDAY_NINE + timedelta(days=1, hours=1, minutes=30))
    await drain()
    assert len(seen(account, "Good morning")) == 2


async def test_of_nothing_nothing_is_said_unless_somebody_wants_to_hear_it(hub, clock, drain, take_on, link, seen):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    of_anna, of_boris = await link(anna), await link(boris)
    await choose(hub, boris, tells_of_nothing=True)
    clock.set(TUESDAY_NINE)
    await drain()
    assert seen(of_anna, "Good morning") == []
    assert seen(of_boris, "Good morning, Boris. Nothing waits for you") != []
    await add_task(hub, anna, "Late", clock.now() + timedelta(minutes=1))
    clock.advance(timedelta(minutes=30))
    await drain()
    assert seen(of_anna, "Good morning") == [], "it was her time, and there was nothing to say"


async def test_each_digest_comes_by_the_own_clock_and_at_the_time_that_was_chosen(
    hub, clock, drain, take_on, link, seen
):
    near, far, off = await take_on("Near"), await take_on("Far", time_zone="Asia/Yekaterinburg"), await take_on("Off")
    of_near, of_far, of_off = await link(near), await link(far), await link(off)
    for user in (near, far, off):
        await choose(hub, user, tells_of_nothing=True)
    await choose(hub, near, morning=time(11, 15))
    await choose(hub, off, morning=None)
    clock.set(TUESDAY_NINE - timedelta(hours=2))
    await drain()
    assert (len(seen(of_near, "Good")), len(seen(of_far, "Good"))) == (0, 1)
    clock.set(TUESDAY_NINE + timedelta(hours=2, minutes=15))
    await drain()
    assert (len(seen(of_near, "Good")), len(seen(of_far, "Good")), len(seen(of_off, "Good"))) == (1, 1, 0)


@pytest.mark.parametrize("because", ["day off", "absent", "on leave", "left", "blocked", "hub away", "linked later"])
async def test_no_digest_comes(hub, clock, drain, take_on, link, seen, because):
    anna = await take_on("Anna")
    if because == "linked later":
        clock.set(TUESDAY_NINE + timedelta(minutes=10))
    account = await link(anna)
    await choose(hub, anna, tells_of_nothing=True)
    async with hub.database.transaction() as session:
        user = await session.get_one(User, anna.id)
        if because == "day off":
            user.schedule = {"time_zone": "Europe/Moscow", "week": {"mon": [["09:00", "18:00"]]}}
        elif because == "absent":
            for days in (0, 1):  # one after the other cover the day
                begins = TUESDAY_NINE + timedelta(hours=12 * days - 12)
                await absences.add(
                    session, user_id=anna.id, starts_at=begins, ends_at=begins + timedelta(hours=13), at=clock.now()
                )
            await absences.add(
                session,
                user_id=anna.id,
                starts_at=TUESDAY_NINE,
                ends_at=TUESDAY_NINE + timedelta(hours=20),
                at=clock.now(),
            )
        elif because == "on leave":
            user.presence = Presence.ON_LEAVE
        elif because == "left":
            await users.dismiss(session, user, at=clock.now())
        elif because == "blocked":
            await linking.reach(session, (await session.scalar(select(DeskLink))).connection_id, str(account.id),
                                is_reachable=False)  # fmt: skip
    clock.set(TUESDAY_NINE + (timedelta(hours=3) if because == "hub away" else timedelta(minutes=15)))
    await drain()
    assert seen(account, "Good morning") == []
    assert await count(hub, DeskDigest) == 0


async def test_whoever_is_absent_in_the_morning_alone_works_that_day(hub, clock, drain, take_on, link, seen):
    anna = await take_on("Anna")
    account = await link(anna)
    await choose(hub, anna, tells_of_nothing=True)
    async with hub.database.transaction() as session:
        starts_at, ends_at = TUESDAY_NINE - timedelta(hours=12), TUESDAY_NINE + timedelta(hours=3)
        await absences.add(session, user_id=anna.id, starts_at=starts_at, ends_at=ends_at, at=clock.now())
    clock.set(TUESDAY_NINE)
    await drain()
    assert len(seen(account, "Good morning")) == 1


async def test_nobody_is_told_of_what_is_none_of_their_business(
    hub, clock, client, webform, drain, take_on, link, seen
):
    await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    boris = await take_on("Boris")
    account = await link(boris)
    await choose(hub, boris, tells_of_nothing=True)
    clock.set(TUESDAY_NINE)
    await drain()
    (digest,) = seen(account, "Good morning")
    assert "Nothing waits" in digest.text and "Вера" not in digest.text


async def test_in_the_evening_a_head_is_told_what_was_missed_and_by_whom(
    hub, clock, client, webform, drain, take_on, link, seen
):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    kirill, olga = await take_on("Kirill", Role.HEAD), await take_on("Olga", Role.OWNER)
    of_kirill, of_olga, of_anna = await link(kirill), await link(olga), await link(anna)
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    async with hub.database.transaction() as session:
        for user in await session.scalars(select(User).where(User.role == Role.MANAGER)):
            user.presence = Presence.OFF_SHIFT
    await client.post(f"/hooks/{webform.key}", data={"name": "Igor", "phone": "+79031112233", "message": "a door"})
    await drain()
    await add_task(hub, anna, "Send the offer", clock.now() + timedelta(hours=1))
    await add_task(hub, boris, "Order the glass", clock.now() + timedelta(hours=2))
    await add_task(hub, boris, "Call the fitter", clock.now() + timedelta(hours=3))
    clock.advance(timedelta(hours=5))  # 18:00 in Moscow
    await drain()
    (digest,) = seen(of_kirill, "What was missed")
    assert "Anna: " in digest.text and "Boris: 2 · the oldest 3 h" in digest.text
    assert "People waiting for an answer: 2" in digest.text
    assert "Вера Соколова · waits 5 h · Anna" in digest.text
    assert "Igor · waits 5 h · nobody" in digest.text
    assert "Leads that nobody took: 1" in digest.text
    assert any("✋" in label and "Igor" in label for row in digest.buttons for label in row)
    assert seen(of_olga, "What was missed") == [], "there is a head"
    assert seen(of_anna, "What was missed") == []


async def test_an_owner_is_told_in_the_evening_where_there_is_no_head(hub, clock, drain, take_on, link, seen):
    anna, olga = await take_on("Anna"), await take_on("Olga", Role.OWNER)
    account = await link(olga)
    await add_task(hub, anna, "Send the offer", clock.now() + timedelta(hours=1))
    clock.advance(timedelta(hours=5))
    await drain()
    assert len(seen(account, "What was missed")) == 1


async def test_a_head_of_one_team_is_told_of_that_team(hub, clock, drain, take_on, link, seen):
    async with hub.database.transaction() as session:
        partners = teams.Team(name="Partners", created_at=hub.clock.now())
        session.add(partners)
        await session.flush()
        sales = await teams.by_name(session, "Sales")
    anna = await take_on("Anna")
    boris = await take_on("Boris", team_ids=[partners.id])
    kirill = await take_on("Kirill", Role.HEAD, team_ids=[sales.id])
    account = await link(kirill)
    await add_task(hub, anna, "Send the offer", clock.now() + timedelta(hours=1))
    await add_task(hub, boris, "Order the glass", clock.now() + timedelta(hours=1))
    clock.advance(timedelta(hours=5))
    await drain()
    (digest,) = seen(account, "What was missed")
    assert "Anna: 1" in digest.text and "Boris" not in digest.text


async def test_an_evening_that_ends_after_midnight_is_given_for_the_day_it_belongs_to(
    hub, clock, drain, take_on, link, seen
):
    olga = await take_on("Olga", Role.OWNER)
    account = await link(olga)
    await choose(hub, olga, evening=time(23, 30), tells_of_nothing=True, morning=None)
    clock.set(datetime(2026, 11, 23, 21, 15, tzinfo=UTC))  # a quarter past midnight in Moscow
    await drain()
    await drain()
    assert len(seen(account, "Nothing was missed today")) == 1
    async with hub.database.reading() as session:
        assert str(await session.scalar(select(DeskDigest.day))) == "2026-11-23"


async def test_one_whose_digest_cannot_be_made_holds_up_nobody_and_is_given_theirs_once_it_can(
    hub, clock, drain, take_on, link, seen, sql
):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    of_anna, of_boris = await link(anna), await link(boris)
    for user in (anna, boris):
        await choose(hub, user, tells_of_nothing=True)
    await sql(
        "DO $$ BEGIN CREATE FUNCTION refuse() RETURNS trigger AS 'BEGIN IF NEW.user_id = "
        f"{anna.id} THEN RAISE EXCEPTION ''not now''; END IF; RETURN NEW; END' LANGUAGE plpgsql; "
        "CREATE TRIGGER refuse BEFORE INSERT ON desk_posts FOR EACH ROW EXECUTE FUNCTION refuse(); END $$"
    )
    clock.set(TUESDAY_NINE)
    await digests.give_due(hub)
    await drain()
    assert (len(seen(of_anna, "Good")), len(seen(of_boris, "Good"))) == (0, 1)
    await sql("DROP TRIGGER refuse ON desk_posts")
    await drain()
    assert (len(seen(of_anna, "Good")), len(seen(of_boris, "Good"))) == (1, 1)


async def test_old_marks_are_forgotten(hub, clock, drain, take_on, link):
    anna = await take_on("Anna")
    await link(anna)
    clock.set(TUESDAY_NINE)
    await drain()
    assert await count(hub, DeskDigest) == 1
    async with hub.database.transaction() as session:
        await digests.forget_old(session, now=clock.now() + timedelta(days=31))
    assert await count(hub, DeskDigest) == 0


async def test_where_nothing_can_be_pressed_a_digest_says_what_to_type(hub):
    async with hub.database.reading() as session:
        desk = Desk(session, hub, Reader(now=hub.clock.now()))
        digest = Digest("Hello", "Nothing", ["Late: 1"], [Item("Send it", (), "!done 7")], "/")
        assert digest.card(desk, has_buttons=False).lines == ("Late: 1", "", "1. Send it → !done 7")
        assert digest.card(desk, has_buttons=True).lines == ("Late: 1", "", "1. Send it")
        assert Digest("Hello", "Nothing", [], [], "/").card(desk, has_buttons=True).title == "Nothing"
