"""The inbox over HTTP: what it lists, what a thread shows, what can be done, and who may do it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.people.contacts import Contact, ContactIdentity
from core.staff.users import Role, User
from core.talk import conversations, viewings
from core.talk.attachments import Attachment
from core.talk.conversations import Conversation, Episode, Message
from core.talk.outbox import Outgoing, ProviderExchange
from core.talk.templates import MessageTemplate
from hub import connections
from tests.channels.provider import Provider, playing

TELEGRAM = {"token": "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"}
WHATSAPP = {
    "app_secret": "fb_app_secret",
    "verify_token": "verify-me-please",
    "access_token": "EAAG-token",
    "phone_number_id": "106540352242922",
    "business_account_id": "102290129340398",
}
SMS = {"user": "hub", "password": "kpass-kpass", "token": "t0kent0kent0ken", "sender": "24453"}


class Talks:
    """Makes conversations as intake would leave them."""

    def __init__(self, hub: Any, provider: Provider) -> None:
        self.hub = hub
        self.provider = provider
        self.ids: dict[str, int] = {}

    async def connect(self, kind: str, **settings: Any) -> int:
        given = {"telegram": TELEGRAM, "whatsapp": WHATSAPP, "sms_http": SMS}[kind]
        name = "send_url" if kind == "sms_http" else "base_url"
        async with self.hub.database.transaction() as session:
            connection = await connections.create(
                session,
                self.hub.vault,
                kind=kind,
                title=f"Our {kind}",
                settings={**given, name: f"{self.provider.url}/{kind}" if kind == "sms_http" else self.provider.url},
                at=self.hub.clock.now(),
            )
            self.ids[kind] = connection.id
        await self.hub.switchboard.refresh()
        return self.ids[kind]

    async def begin(
        self,
        name: str,
        kind: str = "telegram",
        *,
        assignee: User | None = None,
        words: str = "Hello",
        ago: timedelta = timedelta(minutes=5),
        contact_id: int | None = None,
        **more: Any,
    ) -> Conversation:
        at: datetime = self.hub.clock.now() - ago
        connection_id = self.ids.get(kind) or await self.connect(kind)
        async with self.hub.database.transaction() as session:
            if contact_id is None:
                contact = Contact(name=name, search=name.lower(), created_at=at)
                session.add(contact)
                await session.flush()
                contact_id = contact.id
            values: dict[str, Any] = {
                "thread": "",
                "peer": "5012345678",
                "context": {},
                "last_inbound_at": at,
                "last_message_at": at,
                "last_message_text": words,
                "waiting_since": at,
                "unread": 1,
                "created_at": at,
                **more,
            }
            conversation = Conversation(
                contact_id=contact_id,
                connection_id=connection_id,
                assignee_id=None if assignee is None else assignee.id,
                **values,
            )
            session.add(conversation)
            await session.flush()
            session.add(Episode(conversation_id=conversation.id, opened_at=at))
            await session.commit()
        await self.write(conversation, words, at=at)
        return conversation

    async def write(
        self,
        conversation: Conversation,
        words: str,
        *,
        direction: str = "inbound",
        at: datetime | None = None,
        **more: Any,
    ) -> Message:
        when = at or self.hub.clock.now()
        async with self.hub.database.transaction() as session:
            message = Message(
                conversation_id=conversation.id,
                contact_id=conversation.contact_id,
                connection_id=conversation.connection_id,
                direction=direction,
                text=words,
                occurred_at=when,
                created_at=when,
                **more,
            )
            session.add(message)
            await session.flush()
            return message


@pytest.fixture
async def talks(hub) -> AsyncIterator[Talks]:
    async with playing() as provider:
        yield Talks(hub, provider)


@pytest.fixture
async def anna(take_on) -> User:
    return await take_on("Anna", password=True)


@pytest.fixture
async def reload(hub):
    async def load(model: Any, record_id: int) -> Any:
        async with hub.database.reading() as session:
            return await session.get(model, record_id)

    return load


# --- the list ---


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ("mine", ["Hers"]),
        ("unassigned", ["Free"]),
        ("open", ["Hers", "Free", "Boris's"]),
        ("waiting", ["Free", "Hers"]),
        ("snoozed", ["Asleep"]),
        ("resolved", ["Done"]),
        ("no-such-view", ["Hers", "Free", "Boris's"]),
    ],
)
async def test_a_tab_lists_its_conversations_in_its_order(hub, talks, take_on, browser_of, view, shown):
    boss = await take_on("Anna", Role.OWNER, password=True)
    boris = await take_on("Boris")
    minute = timedelta(minutes=1)
    await talks.begin("Hers", assignee=boss, ago=minute)
    await talks.begin("Free", ago=2 * minute)
    await talks.begin("Boris's", assignee=boris, ago=3 * minute, waiting_since=None)
    await talks.begin("Done", status="resolved", waiting_since=None)
    tomorrow = hub.clock.now() + timedelta(days=1)
    await talks.begin("Asleep", status="snoozed", waiting_since=None, snoozed_until=tomorrow)
    page = await (await browser_of(boss)).get(f"/inbox?view={view}")
    assert re.findall(r'class="talk-name cut">([^<]+)<', page.text) == [name.replace("'", "&#39;") for name in shown]
    numbers = re.findall(
        r'>(Mine|Unassigned|All open|Unanswered|On hold)(?: <span class="number">(\d+)</span>)?<', page.text
    )
    assert dict(numbers) == {"Mine": "1", "Unassigned": "1", "All open": "3", "Unanswered": "2", "On hold": "1"}


async def test_a_list_is_narrowed_to_a_channel_and_searched_by_whom_one_looks_for(talks, take_on, browser_of):
    boss = await browser_of(await take_on("Anna", Role.OWNER, password=True))
    await talks.begin("Vera")
    await talks.begin("Petr", "sms_http", status="resolved", peer="+79161234567")
    assert (await boss.get(f"/inbox?channel={talks.ids['telegram']}")).rows == [
        row for row in (await boss.get("/inbox?q=vera")).rows
    ]
    found = await boss.get("/inbox?q=petr")
    assert 'talk-name cut">Petr<' in found.text and 'talk-name cut">Vera<' not in found.text
    assert "Nobody found" in (await boss.get("/inbox?q=nobody")).text


async def test_a_long_list_grows_in_place_and_then_goes_on_by_cursor(hub, talks, take_on, browser_of):
    boss = await browser_of(await take_on("Anna", Role.OWNER, password=True))
    first = await talks.begin("Vera", thread="first")
    async with hub.database.transaction() as session:
        session.add_all(
            Conversation(
                contact_id=first.contact_id,
                connection_id=first.connection_id,
                thread=str(number),
                last_message_at=hub.clock.now() - timedelta(hours=number),
                created_at=hub.clock.now(),
            )
            for number in range(1, 231)
        )
    page = await boss.get("/inbox")
    assert len(page.rows) == 50 and "/inbox?shown=100" in page.text
    whole = await boss.part("/inbox/rows?shown=200")
    assert len(whole.rows) == 200
    rest = re.search(r'href="(/inbox\?cursor=[^"]+)"', whole.text)
    assert rest
    last = await boss.get(rest[1].replace("&amp;", "&"))
    assert len(last.rows) == 31 and not set(last.rows) & set(whole.rows)


async def test_what_belongs_to_a_colleague_is_not_there(talks, anna, take_on, browser_of):
    theirs = await talks.begin("Vera", assignee=anna)
    message = await talks.write(theirs, "A letter", html="<p>secret</p>")
    boris = await browser_of(await take_on("Boris", password=True))
    assert not (await boris.get("/inbox")).rows
    for place in ("", "/head", "/thread", "/ways", "/contact", "/canned"):
        assert (await boris.part(f"/conversations/{theirs.id}{place}")).status == 404
    for action in ("messages", "assignment", "resolution", "reopening", "snooze", "reading", "presence"):
        assert (await boris.post(f"/conversations/{theirs.id}/{action}", text="x", user_id="me")).status == 404
    assert (await boris.get(f"/messages/{message.id}/letter")).status == 404
    assert (await boris.post(f"/messages/{message.id}/retry")).status == 404


async def test_a_viewer_sees_the_thread_but_nothing_to_write_or_press(talks, anna, take_on, browser_of, reload):
    talk = await talks.begin("Vera", assignee=anna)
    viewer = await browser_of(await take_on("Vik", Role.VIEWER, password=True))
    page = await viewer.get(f"/conversations/{talk.id}")
    assert page.status == 200 and "Hello" in page.text and 'id="composer"' not in page.text
    assert (await viewer.post(f"/conversations/{talk.id}/messages", text="x")).status == 403
    assert (await viewer.post(f"/conversations/{talk.id}/reading")).status == 204
    assert (await reload(Conversation, talk.id)).unread == 1


# --- the thread ---


async def test_the_thread_holds_all_that_was_said_with_the_contact_over_every_channel_in_order(
    hub, talks, anna, browser_of
):
    talk = await talks.begin("Vera", assignee=anna, words="By Telegram", ago=timedelta(hours=3))
    other = await talks.begin(
        "Vera",
        "sms_http",
        assignee=anna,
        words="By SMS",
        contact_id=talk.contact_id,
        ago=timedelta(hours=2),
        peer="+7916",
    )
    await talks.write(talk, "A note", direction="outbound", private=True, author_id=anna.id)
    async with hub.database.transaction() as session:
        await conversations.resolve(
            session, await session.get(Conversation, other.id), at=hub.clock.now(), actor_id=anna.id
        )
    page = await (await browser_of(anna)).part(f"/conversations/{talk.id}/thread")
    places = [page.text.index(words) for words in ("By Telegram", "By SMS", "A note")]
    assert places == sorted(places)
    assert page.text.count("Our telegram") == 1 and page.text.count("Our sms_http") == 1  # named where it changes
    assert "bubble note" in page.text and re.search(r'class="system-line"[^>]*>Resolved', page.text)


async def test_only_the_last_200_are_shown_with_a_way_to_the_earlier_ones(hub, talks, anna, browser_of):
    talk = await talks.begin("Vera", assignee=anna, words="number 0.")
    async with hub.database.transaction() as session:
        for number in range(1, 251):
            session.add(
                Message(
                    conversation_id=talk.id,
                    contact_id=talk.contact_id,
                    connection_id=talk.connection_id,
                    direction="inbound",
                    text=f"number {number}.",
                    occurred_at=hub.clock.now(),
                    created_at=hub.clock.now(),
                )
            )
    browser = await browser_of(anna)
    page = await browser.get(f"/conversations/{talk.id}")
    assert (
        page.text.count('<article class="bubble') == 200 and "number 51." in page.text and "number 50." not in page.text
    )
    earlier = re.search(r'hx-get="(/conversations/\d+/thread\?before=\d+)"', page.text)
    assert earlier
    before = await browser.part(earlier[1])
    assert before.text.count('<article class="bubble') == 51 and "thread?before=" not in before.text
    live = re.search(r'hx-get="(/conversations/\d+/thread\?from=\d+&amp;unread=\d+)"', page.text)
    assert live
    await talks.write(talk, "number 251.")
    again = await browser.part(live[1].replace("&amp;", "&"))
    assert again.text.count('<article class="bubble') == 201  # nothing falls out above while the page is open


async def test_the_first_unread_message_is_marked(hub, talks, anna, browser_of):
    talk = await talks.begin("Vera", assignee=anna, unread=2, words="old")
    await talks.write(talk, "our answer", direction="outbound", author_id=anna.id)
    first, second = await talks.write(talk, "new one"), await talks.write(talk, "newest")
    page = await (await browser_of(anna)).get(f"/conversations/{talk.id}")
    mark, one = page.text.index('id="unread"'), page.text.index(f'id="message-{first.id}"')
    assert mark < one < page.text.index(f'id="message-{second.id}"')
    assert page.text.index("our answer") < mark


async def test_what_became_of_a_message_is_said_in_words(hub, talks, anna, browser_of):
    talk = await talks.begin("Vera", assignee=anna, words="The first wording")
    ours: dict[str, Any] = {"direction": "outbound", "author_id": anna.id}
    failed = await talks.write(talk, "one", **ours, status="failed", error_text="They blocked <b>us</b>")
    unsure = await talks.write(talk, "two", **ours, status="sent", uncertain=True)
    later = await talks.write(talk, "three", **ours, status="scheduled", send_at=hub.clock.now() + timedelta(hours=2))
    await talks.write(talk, "four", **ours, status="read", read_at=hub.clock.now(), dropped=["Buttons were left out"])
    await talks.write(talk, "gone words", deleted_at=hub.clock.now())
    await talks.write(talk, "five", earlier=[{"text": "fiwe"}], edited_at=hub.clock.now(), reactions={"👍": 2})
    text = (await (await browser_of(anna)).part(f"/conversations/{talk.id}/thread")).text
    for words in (
        "They blocked &lt;b&gt;us",
        "Buttons were left out",
        "Deleted by them",
        "fiwe",
        "👍 2",
        "Read, 23 Nov",
    ):
        assert words in text
    assert "Nobody knows whether it arrived" in text
    assert f'action="/messages/{failed.id}/retry"' in text and f'action="/messages/{unsure.id}/retry"' in text
    assert f'action="/messages/{later.id}/cancellation"' in text
    assert text.count('/retry"') == 4  # each form once for scripts and once without


async def test_a_letter_is_shown_in_a_sandbox_with_its_own_pictures_and_none_from_elsewhere(
    hub, talks, anna, browser_of
):
    talk = await talks.begin("Vera", assignee=anna)
    html = '<p style="color:red">Hi</p><img src="cid:logo@x"><img data-src="https://tracker.example/p.gif">'
    letter = await talks.write(talk, "Hi", html=html)
    async with hub.database.transaction() as session:
        row = Attachment(
            message_id=letter.id,
            name="logo.png",
            content_type="image/png",
            size=3,
            kind="image",
            content_id="logo@x",
            state="stored",
            created_at=hub.clock.now(),
        )
        session.add(row)
        await session.flush()
        logo = row.id
    browser = await browser_of(anna)
    thread = await browser.part(f"/conversations/{talk.id}/thread")
    assert "color:red" not in thread.text and 'sandbox="allow-same-origin allow-popups' in thread.text
    assert "allow-scripts" not in thread.text and "logo.png" not in thread.text
    shown = await browser.get(f"/messages/{letter.id}/letter")
    assert f'src="/files/{logo}"' in shown.text and 'data-src="https://tracker' in shown.text
    policy = shown.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "https:" not in policy
    assert "script" not in policy and shown.headers["Referrer-Policy"] == "no-referrer"
    asked = await browser.get(f"/messages/{letter.id}/letter?pictures=1")
    assert ' src="https://tracker.example/p.gif"' in asked.text and "https:" in asked.headers["Content-Security-Policy"]
    assert (await browser.get(f"/messages/{(await talks.write(talk, 'plain')).id}/letter")).status == 404


async def test_what_was_said_to_the_provider_is_for_those_who_manage_channels(hub, talks, anna, take_on, browser_of):
    talk = await talks.begin("Vera", assignee=anna)
    message = await talks.write(talk, "x", direction="outbound", author_id=anna.id, status="failed")
    async with hub.database.transaction() as session:
        session.add(
            ProviderExchange(
                connection_id=talk.connection_id,
                message_id=message.id,
                at=hub.clock.now(),
                method="POST",
                url="https://api.example/<send>",
                sent="{}",
                status=400,
                answered="bad chat",
                problem="",
                took=12,
            )
        )
    place = f"/messages/{message.id}/exchanges"
    boss = await browser_of(await take_on("Elena", Role.OWNER, password=True))
    page = await boss.part(place)
    assert "bad chat" in page.text and "&lt;send&gt;" in page.text
    browser = await browser_of(anna)
    assert (await browser.get(place)).status == 403
    assert place not in (await browser.part(f"/conversations/{talk.id}/thread")).text


# --- answering ---


async def test_an_answer_goes_out_over_the_channel_they_wrote_on_last(hub, talks, anna, browser_of, drain, all_of):
    talk = await talks.begin("Vera", assignee=anna, ago=timedelta(hours=2))
    await talks.begin("Vera", "sms_http", contact_id=talk.contact_id, assignee=anna, peer="+79161234567")
    talks.provider.answers("GET", "/sms_http.*", body="0: Accepted for delivery")
    browser = await browser_of(anna)
    page = await browser.get(f"/conversations/{talk.id}")
    first = re.search(r'<option value="(\d+)" data-facts', page.text)
    assert first and int(first[1]) == talks.ids["sms_http"]
    answer = await browser.post(f"/conversations/{talk.id}/messages", text="On my way", channel=first[1])
    assert answer.status == 204
    await drain()
    sent = (await all_of(Message))[-1]
    assert (sent.text, sent.connection_id, sent.author_id) == ("On my way", talks.ids["sms_http"], anna.id)
    (asked,) = [asked for asked in talks.provider.asked if asked.path == "/sms_http"]
    assert (asked.query.get("text") or asked.form.get("text")) == "On my way"


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"text": "  "}, "text"),
        ({"text": "x" * 20_001}, "text"),
        ({"text": "words", "send_at": "2020-01-01T10:00"}, "send_at"),
        ({"text": "words", "send_at": "tomorrow"}, "send_at"),
        ({"text": "words", "channel": "not-one"}, "channel"),
        ({"text": "words", "attachment_ids": "x"}, "attachments"),
        ({"mode": "note", "text": ""}, "text"),
    ],
)
async def test_what_is_refused_is_said_by_its_field_and_nothing_is_sent(talks, anna, browser_of, all_of, typed, field):
    talk = await talks.begin("Vera", assignee=anna)
    browser = await browser_of(anna)
    place = f"/conversations/{talk.id}/messages"
    headers = {"Accept": "application/json", "X-CSRF-Token": browser.csrf}
    told = await (await browser.client.post(place, data=typed, headers=headers)).json()
    assert list(told["errors"]) == [field] and told["errors"][field]
    assert not await all_of(Outgoing)


async def test_without_scripts_a_refused_answer_comes_back_as_it_was_typed(talks, anna, browser_of):
    talk = await talks.begin("Vera", assignee=anna)
    browser = await browser_of(anna)
    page = await browser.post_plainly(
        f"/conversations/{talk.id}/messages", text="Half a <thought>", send_at="2020-01-01T10:00"
    )
    assert page.status == 422 and "Half a &lt;thought&gt;</textarea>" in page.text
    assert "Choose a time from now on" in page.text
    sent = await browser.post_plainly(f"/conversations/{talk.id}/messages", text="A whole one", mode="reply")
    assert sent.status == 303 and sent.headers["Location"] == f"/conversations/{talk.id}"


async def test_when_the_window_is_closed_only_a_template_goes(hub, talks, anna, browser_of, all_of):
    closed = hub.clock.now() - timedelta(hours=1)
    talk = await talks.begin("Vera", "whatsapp", assignee=anna, replies_until=closed, peer="79161234567")
    async with hub.database.transaction() as session:
        session.add(
            MessageTemplate(
                connection_id=talk.connection_id,
                name="reminder",
                language="ru",
                body="Hello {{1}}, see you {{2}}",
                category="UTILITY",
                created_at=hub.clock.now(),
            )
        )
    browser = await browser_of(anna)
    page = await browser.get(f"/conversations/{talk.id}")
    assert "templates only" in page.text and "Hello {{1}}, see you {{2}}" in page.text
    headers = {"Accept": "application/json", "X-CSRF-Token": browser.csrf}
    place = f"/conversations/{talk.id}/messages"
    refused = await (await browser.client.post(place, data={"text": "free words"}, headers=headers)).json()
    assert list(refused["errors"]) == ["template"]
    form = [("template", "reminder|ru"), ("value", "Vera"), ("value", "at six")]
    sent = await (await browser.client.post(place, data=form, headers=headers)).json()
    assert sent["status"] == "queued"
    assert (await all_of(Message))[-1].text == "Hello Vera, see you at six"


async def test_a_note_is_for_the_team_and_goes_nowhere(talks, anna, browser_of, all_of):
    talk = await talks.begin("Vera", assignee=anna)
    browser = await browser_of(anna)
    await browser.post(f"/conversations/{talk.id}/messages", mode="note", text="She wants a discount")
    note = (await all_of(Message))[-1]
    assert (note.private, note.text, note.author_id) == (True, "She wants a discount", anna.id)
    assert not await all_of(Outgoing)


async def test_an_answer_to_a_message_of_somebody_else_is_refused(talks, anna, browser_of, all_of):
    talk, other = await talks.begin("Vera", assignee=anna), await talks.begin("Petr", assignee=anna, peer="77")
    foreign = await talks.write(other, "x")
    browser = await browser_of(anna)
    headers = {"Accept": "application/json", "X-CSRF-Token": browser.csrf}
    place = f"/conversations/{talk.id}/messages"
    told = await (
        await browser.client.post(place, data={"text": "a", "reply_to_id": foreign.id}, headers=headers)
    ).json()
    assert told["form_error"] and not await all_of(Outgoing)


async def test_a_message_is_sent_later_or_taken_back_and_one_that_failed_goes_again(
    talks, anna, browser_of, all_of, reload
):
    talk = await talks.begin("Vera", assignee=anna)
    browser = await browser_of(anna)
    await browser.post(f"/conversations/{talk.id}/messages", text="In the morning", send_at="2026-11-24T09:00")
    later = (await all_of(Message))[-1]
    assert later.status == "scheduled"
    assert (await browser.post(f"/messages/{later.id}/cancellation")).told["toast"]["text"] == "It will not be sent"
    assert (await reload(Message, later.id)).status == "canceled"
    assert (await browser.post(f"/messages/{later.id}/retry")).status == 409
    failed = await talks.write(talk, "x", direction="outbound", author_id=anna.id, status="failed")
    assert (await browser.post(f"/messages/{failed.id}/retry")).status == 204
    assert (await reload(Message, failed.id)).status == "queued"


async def test_canned_replies_come_filled_in(hub, talks, anna, browser_of):
    from core.talk import canned

    talk = await talks.begin("Вера Соколова", assignee=anna)
    async with hub.database.transaction() as session:
        await canned.add(session, shortcut="hi", text="{name}, hello from {me}", at=hub.clock.now(), actor_id=anna.id)
    browser = await browser_of(anna)
    told = await (await browser.client.get(f"/conversations/{talk.id}/canned")).json()
    assert told["items"] == [{"shortcut": "hi", "title": "", "text": "Вера, hello from Anna"}]


# --- what else is done with it ---


async def test_it_is_taken_given_away_resolved_and_reopened(talks, take_on, browser_of, reload):
    boss = await take_on("Elena", Role.OWNER, password=True)
    boris = await take_on("Boris")
    talk = await talks.begin("Vera")
    browser = await browser_of(boss)
    assert (await browser.post(f"/conversations/{talk.id}/assignment", user_id="me")).told["toast"]["text"]
    assert (await reload(Conversation, talk.id)).assignee_id == boss.id
    await browser.post(f"/conversations/{talk.id}/assignment", user_id=str(boris.id))
    assert (await reload(Conversation, talk.id)).assignee_id == boris.id
    done = await browser.post(f"/conversations/{talk.id}/resolution")
    assert done.told["toast"]["undo"] == f"/conversations/{talk.id}/reopening"
    assert (await reload(Conversation, talk.id)).status == "resolved"
    await browser.post(f"/conversations/{talk.id}/reopening")
    assert (await reload(Conversation, talk.id)).status == "open"


async def test_whoever_gives_away_what_they_no_longer_see_goes_back_to_the_list(talks, anna, take_on, browser_of):
    boris = await take_on("Boris")
    talk = await talks.begin("Vera", assignee=anna)
    answer = await (await browser_of(anna)).post(f"/conversations/{talk.id}/assignment", user_id=str(boris.id))
    assert answer.headers["HX-Redirect"] == "/inbox"


@pytest.mark.parametrize(
    ("form", "until"),
    [
        ({"until": "hour"}, "2026-11-23T11:00"),
        ({"until": "tomorrow"}, "2026-11-24T06:00"),  # nine in Moscow
        ({"until": "monday"}, "2026-11-30T06:00"),
        ({"at": "2026-11-25T12:30"}, "2026-11-25T09:30"),
    ],
)
async def test_it_is_put_aside_until_a_moment_of_the_readers_day(talks, take_on, browser_of, reload, form, until):
    anna = await take_on("Anna", password=True, time_zone="Europe/Moscow")
    talk = await talks.begin("Vera", assignee=anna)
    assert (await (await browser_of(anna)).post(f"/conversations/{talk.id}/snooze", **form)).status == 204
    found = await reload(Conversation, talk.id)
    assert (found.status, f"{found.snoozed_until:%Y-%m-%dT%H:%M}") == ("snoozed", until)


@pytest.mark.parametrize("form", [{}, {"at": "2020-01-01T10:00"}, {"at": "soon"}])
async def test_a_moment_that_is_none_puts_nothing_aside(talks, anna, browser_of, reload, form):
    talk = await talks.begin("Vera", assignee=anna)
    assert (await (await browser_of(anna)).post(f"/conversations/{talk.id}/snooze", **form)).status == 422
    assert (await reload(Conversation, talk.id)).status == "open"


async def test_looking_changes_nothing_and_only_who_looks_after_it_has_read_it(
    talks, anna, take_on, browser_of, reload
):
    boss = await browser_of(await take_on("Elena", Role.OWNER, password=True))
    talk = await talks.begin("Vera", assignee=anna)
    browser = await browser_of(anna)
    await browser.get(f"/conversations/{talk.id}")
    await boss.post(f"/conversations/{talk.id}/reading")
    assert (await reload(Conversation, talk.id)).unread == 1
    await browser.post(f"/conversations/{talk.id}/reading")
    assert (await reload(Conversation, talk.id)).unread == 0


async def test_who_else_is_here_is_told_until_they_leave(hub, talks, anna, take_on, browser_of):
    talk = await talks.begin("Vera", assignee=anna)
    elena = await take_on("Elena", Role.OWNER, password=True)
    boss, browser = await browser_of(elena), await browser_of(anna)
    await boss.post(f"/conversations/{talk.id}/presence", writing="1")
    assert "Elena is writing" in (await browser.post(f"/conversations/{talk.id}/presence")).text
    assert "Anna is here too" in (await boss.post(f"/conversations/{talk.id}/presence")).text
    await boss.post(f"/conversations/{talk.id}/presence", left="1")
    assert "Elena" not in (await browser.post(f"/conversations/{talk.id}/presence")).text
    async with hub.database.reading() as session:
        assert list(await session.scalars(select(viewings.Viewing.user_id))) == [anna.id]


async def test_the_contact_stands_beside_with_what_cannot_be_reached(hub, talks, anna, browser_of):
    talk = await talks.begin("Vera", assignee=anna)
    async with hub.database.transaction() as session:
        session.add(
            ContactIdentity(
                contact_id=talk.contact_id,
                scheme="email",
                value="vera@example.com",
                raw="vera@example.com",
                trust="typed",
                blocked_at=hub.clock.now(),
                blocked_because="dead",
                created_at=hub.clock.now(),
            )
        )
    page = await (await browser_of(anna)).part(f"/conversations/{talk.id}/contact")
    assert "vera@example.com" in page.text and "takes nothing" in page.text


async def test_leads_are_a_place_of_the_inbox_and_keep_their_address(talks, anna, browser_of):
    browser = await browser_of(anna)
    for place in ("/inbox", "/leads"):
        page = await browser.get(place)
        assert re.search(r'class="rail-link" href="/inbox"[^>]*aria-current="page"', page.text)
        assert 'href="/leads"' in page.text
