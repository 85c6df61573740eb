"""Lists: what a colleague looks after and has to do, as posts with a button for each row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from channels.desk_contract import Card, Key, Place
from core.kernel import addresses
from core.kernel.errors import Rejected
from core.people import contacts
from core.people.contacts import Contact
from core.sales import leads
from core.sales.deals import Deal, Outcome
from core.sales.leads import Lead, LeadStatus
from core.sales.pipelines import Stage
from core.staff import access
from core.talk.conversations import Conversation, ConversationStatus, Direction, Message
from core.work.tasks import OPEN_STATUSES, Task, TaskKind
from hub.desk import posts, times
from hub.desk.cards import key
from hub.desk.doing import Answer, Doing
from hub.web.calls import missed_of

MOST = 10
"""Rows of a list; of more it says how many."""

_MOST_FOUND = 8
_MOST_URGENT = 5
_COUNTED = 1000  # a count stops here: nobody needs to know by how many more
_MOST_SHOWN = 5  # messages of a conversation that is shown again
_LONGEST_LABEL = 32


def typed(commands: str) -> str:
    """Return commands as they are typed where there are no buttons: those messengers keep what begins with / to
    themselves.
    """
    return commands.replace("/", "!")


class Row(NamedTuple):
    """A row of a list: what it says, its buttons, and what is typed instead where there are none."""

    text: str
    keys: tuple[Key, ...]
    typed: str = ""


def show_list(doing: Doing, title: str, rows: Sequence[Row], *, more: int = 0, head: Sequence[str] = ()) -> None:
    """Post a list, privately: what somebody looks after is no business of a whole group.

    Raises:
        Rejected: they cannot be written to privately.
    """
    can_press = has_buttons(doing)
    lines = list(head)
    for number, row in enumerate(rows, 1):
        lines.append(f"{number}. {row.text}" + (f" → {typed(row.typed)}" if row.typed and not can_press else ""))
    if more > 0:
        lines.append("… " + doing.text("and %(count)s more", count=f"{more}+" if more >= _COUNTED else more))
    privately(doing, Card(title=title, lines=tuple(lines), keys=tuple(row.keys for row in rows if row.keys)))


def privately(doing: Doing, card: Card) -> None:
    """Say something to the colleague alone; in a group it only says that it did.

    Raises:
        Rejected: they cannot be written to privately.
    """
    if doing.event.is_private:
        doing.say(card, conversation_id=None)
        return
    if not doing.link.is_reachable:
        raise Rejected(
            doing.text("This is for you alone, and I cannot write to you privately: write to me there first")
        )
    place = Place(doing.link.chat)
    doing.posts.append(posts.said(doing.live.id, place, card, at=doing.now, user_id=doing.user.id))
    doing.say(Card(footer="📨 " + doing.text("Sent to you privately"), is_quiet=True))


def has_buttons(doing: Doing) -> bool:
    """Whether people can press something here; where they cannot, they are told what to type."""
    abilities = getattr(doing.live.channel, "abilities", None)
    return abilities is None or bool(abilities.buttons)


def _label(sign: str, number: int, text: str) -> str:
    short = text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1].rstrip() + "…"
    return f"{sign} {number}. {short}"


def _called(doing: Doing, called: str | None) -> str:
    """Return what a contact is called, a bare number as people write it."""
    if not called:
        return doing.text("Somebody without a name")
    return doing.reader.address(addresses.PHONE, called) if called.startswith("+") else called


async def _count(doing: Doing, statement: Any, column: Any) -> int:
    part = statement.with_only_columns(column).order_by(None).limit(_COUNTED)
    return int(await doing.session.scalar(select(func.count()).select_from(part.subquery())) or 0)


# --- conversations ---


def _conversations(doing: Doing) -> Select[Any]:
    mine = Conversation.assignee_id == doing.user.id
    is_open = Conversation.status.in_((ConversationStatus.OPEN, ConversationStatus.PENDING))
    return access.narrow(select(Conversation).where(mine, is_open), doing.rights, Conversation)


async def mine(doing: Doing, words: str) -> None:
    """List the conversations somebody looks after, whoever waits longest first."""
    statement = _conversations(doing)
    rows = await doing.session.execute(
        statement.join(Contact, Contact.id == Conversation.contact_id)
        .add_columns(contacts.called().label("called"))
        .order_by(Conversation.waiting_since.nulls_last(), Conversation.last_message_at.desc(), Conversation.id)
        .limit(MOST)
    )
    found = [_conversation_row(doing, number, row[0], row.called) for number, row in enumerate(rows, 1)]
    if not found:
        privately(doing, Card(title="💬 " + doing.text("Nobody talks with you just now")))
        return
    more = 0 if len(found) < MOST else await _count(doing, statement, Conversation.id) - MOST
    show_list(doing, "💬 " + doing.text("Conversations you look after"), found, more=more)


def _conversation_row(doing: Doing, number: int, row: Conversation, called: str | None) -> Row:
    name = _called(doing, called)
    parts = [name]
    if row.waiting_since is not None:
        parts.append("🔴 " + doing.text("waits %(span)s", span=_since(doing, row.waiting_since)))
    if row.last_message_text:
        parts.append(" ".join(row.last_message_text.split())[:60])
    return Row(" · ".join(parts), (key(_label("💬", number, name), "show", row.id),), f"/show {row.id}")


def _since(doing: Doing, moment: datetime) -> str:
    return doing.reader.span(max(0, round((doing.now - moment).total_seconds() / 60)))


async def show(doing: Doing, parts: list[str]) -> Answer:
    """Post the last messages of a conversation again, each as a card that can be answered."""
    conversation = await doing.fetch(Conversation, int(parts[0]), change=False, lock=False)
    if not doing.link.is_reachable:
        raise Rejected(
            doing.text("This is for you alone, and I cannot write to you privately: write to me there first")
        )
    newest = await doing.session.execute(
        select(Message.id, Message.direction)
        .where(Message.conversation_id == conversation.id, Message.direction != Direction.SYSTEM)
        .order_by(Message.id.desc())
        .limit(_MOST_SHOWN)
    )
    found = list(newest)
    if not found:
        return Answer(doing.text("Nothing has been said there yet"), is_alert=True)
    for message_id, direction in reversed(found):
        purpose = "message" if direction == Direction.INBOUND else "mirror"
        subjects = {"conversation_id": conversation.id, "message_id": message_id}
        doing.posts.append(posts.to_link(doing.link, purpose, at=doing.now, **subjects))
    return Answer()


# --- tasks ---


def _tasks(doing: Doing) -> Select[Any]:
    statement = select(Task).where(Task.assignee_id == doing.user.id, Task.status.in_(OPEN_STATUSES))
    return access.narrow(statement, doing.rights, Task)


def _with_names(statement: Select[Any]) -> Select[Any]:
    return statement.outerjoin(Contact, Contact.id == Task.contact_id).add_columns(contacts.called().label("called"))


async def tasks(doing: Doing, words: str) -> None:
    """List what somebody has to do: what is late and what is for today come first."""
    statement = _tasks(doing)
    ordered = _with_names(statement).order_by(Task.due_at.nulls_last(), Task.id).limit(MOST)
    found = [
        _task_row(doing, number, row[0], row.called)
        for number, row in enumerate(await doing.session.execute(ordered), 1)
    ]
    if not found:
        privately(doing, Card(title="☑️ " + doing.text("You have nothing to do")))
        return
    more = 0 if len(found) < MOST else await _count(doing, statement, Task.id) - MOST
    show_list(doing, "☑️ " + doing.text("What you have to do"), found, more=more)


def _task_row(doing: Doing, number: int, row: Task, called: str | None) -> Row:
    title = doing.text(row.title)
    parts = [("📞 " if row.kind == TaskKind.CALL else "") + title]
    if called is not None and row.contact_id is not None:
        parts.append(_called(doing, called))
    if row.due_at is not None:
        is_late = row.is_overdue(doing.now)
        due = doing.reader.deadline(row.due_at) if is_late else doing.reader.when(row.due_at)
        parts.append(("🔴 " if is_late else "⏰ ") + due)
    keys = (key(_label("✅", number, title), "done", row.id), key(f"💤 {number}", "snz", "t", row.id, 60))
    return Row(" · ".join(parts), keys, f"/done {row.id}")


# --- deals ---


async def deals(doing: Doing, words: str) -> None:
    """List the open deals somebody looks after; with a number, show that deal."""
    statement = access.narrow(
        select(Deal).where(Deal.owner_id == doing.user.id, Deal.outcome == Outcome.OPEN), doing.rights, Deal
    )
    rows = await doing.session.execute(
        statement.join(Stage, Stage.id == Deal.stage_id)
        .join(Contact, Contact.id == Deal.contact_id)
        .add_columns(Stage.name.label("stage"), contacts.called().label("called"))
        .order_by(Stage.position.desc(), Deal.amount.desc().nulls_last(), Deal.id.desc())
        .limit(MOST)
    )
    found = []
    for number, row in enumerate(rows, 1):
        deal = row[0]
        parts = [deal.title, doing.text(row.stage)]
        if deal.amount is not None:
            parts.append(doing.reader.money(deal.amount, deal.currency))
        if (name := _called(doing, row.called)) not in deal.title:
            parts.insert(1, name)
        keys = (key(_label("📁", number, deal.title), "deal", deal.id),)
        found.append(Row(" · ".join(parts), keys, f"/deal {deal.id}"))
    if not found:
        privately(doing, Card(title="📊 " + doing.text("You have no open deals")))
        return
    more = 0 if len(found) < MOST else await _count(doing, statement, Deal.id) - MOST
    show_list(doing, "📊 " + doing.text("Your open deals"), found, more=more)


# --- people ---


async def find(doing: Doing, words: str) -> None:
    """Find people by what is known of them, among those somebody may see."""
    if not words:
        doing.ask("🔎 " + doing.text("Whom are you looking for? Answer with a name, a number or an address"), "find")
        return
    statement = access.narrow(
        select(Contact.id, Contact.company_name, contacts.called().label("called")).where(
            contacts.found_by(words[:200], doing.reader.country)
        ),
        doing.rights,
        Contact,
    )
    rows = list(await doing.session.execute(statement.order_by(Contact.id.desc()).limit(_MOST_FOUND)))
    if not rows:
        privately(doing, Card(title="🔎 " + doing.text("Nobody is found by “%(words)s”", words=words[:60])))
        return
    ids = [row.id for row in rows]
    talks = await _newest(doing, Conversation, ids, Conversation.last_message_at.desc())
    open_deals = await _newest(doing, Deal, ids, Deal.id.desc(), Deal.outcome == Outcome.OPEN)
    phones = {
        identity.contact_id: identity.value
        for identity in reversed(await contacts.identities_of(doing.session, ids))
        if identity.scheme == addresses.PHONE
    }
    found = []
    for number, row in enumerate(rows, 1):
        name = _called(doing, row.called)
        parts = [
            name,
            row.company_name,
            doing.reader.address(addresses.PHONE, phones[row.id]) if row.id in phones else "",
        ]
        keys: list[Key] = []
        if row.id in talks:
            keys.append(key(_label("💬", number, name), "show", talks[row.id]))
        if row.id in phones:
            keys.append(key(f"📞 {number}", "call", row.id))
        if row.id in open_deals:
            keys.append(key(f"📊 {number}", "deal", open_deals[row.id]))
        typed = [f"/show {talks[row.id]}"] if row.id in talks else []
        typed += [f"/deal {open_deals[row.id]}"] if row.id in open_deals else []
        found.append(Row(" · ".join(dict.fromkeys(part for part in parts if part)), tuple(keys), " ".join(typed)))
    more = 0 if len(found) < _MOST_FOUND else await _count(doing, statement, Contact.id) - _MOST_FOUND
    show_list(doing, "🔎 " + doing.text("Found"), found, more=more)


async def _newest(
    doing: Doing, model: type[Conversation | Deal], contact_ids: Sequence[int], order: Any, *more: ColumnElement[bool]
) -> dict[int, int]:
    """Return for each contact the first record in an order, of those somebody may see."""
    statement = select(model.contact_id, model.id).where(model.contact_id.in_(contact_ids), *more)
    first = (
        access.narrow(statement, doing.rights, model)
        .ext(distinct_on(model.contact_id))
        .order_by(model.contact_id, order)
    )
    return {contact_id: record_id for contact_id, record_id in await doing.session.execute(first)}


# --- the day ---


async def today(doing: Doing, words: str) -> None:
    """Say what waits for somebody: how much of each, and the most urgent of it."""
    _ = doing.text
    now = doing.now
    midnight = times.morning(now, doing.reader.zone, days=1, at=time(0))
    waiting = _conversations(doing).where(Conversation.waiting_since.is_not(None))
    own = access.narrow(select(Lead), doing.rights, Lead)
    counted = (
        waiting.with_only_columns(Conversation.id),
        _tasks(doing).where(Task.due_at <= now).with_only_columns(Task.id),
        _tasks(doing).where(Task.due_at > now, Task.due_at < midnight).with_only_columns(Task.id),
        missed_of(doing.user.id),
        own.where(Lead.owner_id == doing.user.id, Lead.status == LeadStatus.NEW).with_only_columns(Lead.id),
        own.where(Lead.owner_id.is_(None), Lead.status.in_(leads.OPEN_STATUSES)).with_only_columns(Lead.id),
    )
    counts = [select(func.count()).select_from(part.limit(_COUNTED).subquery()).scalar_subquery() for part in counted]
    waits, late, due, missed, new, nobodys = (await doing.session.execute(select(*counts))).one()
    said = (
        (waits, "💬 " + _("People waiting for an answer: %(count)s", count=waits)),
        (late, "🔴 " + _("Late tasks: %(count)s", count=late)),
        (due, "☑️ " + _("Still to do today: %(count)s", count=due)),
        (missed, "📞 " + _("Missed calls to return: %(count)s", count=missed)),
        (new, "🆕 " + _("New leads of yours: %(count)s", count=new)),
        (nobodys, "✋ " + _("Leads that are nobody's: %(count)s", count=nobodys)),
    )
    head = [line for count, line in said if count]
    if not head:
        privately(doing, Card(title="☀️ " + _("Nothing waits for you")))
        return
    show_list(doing, "☀️ " + _("Your day"), await _urgent(doing, waiting, midnight), head=head)


async def _urgent(doing: Doing, waiting: Select[Any], midnight: datetime) -> list[Row]:
    """Return what comes first of people who wait and tasks of the day, by since when or until when."""
    people = await doing.session.execute(
        waiting.join(Contact, Contact.id == Conversation.contact_id)
        .add_columns(contacts.called().label("called"))
        .order_by(Conversation.waiting_since, Conversation.id)
        .limit(_MOST_URGENT)
    )
    to_do = await doing.session.execute(
        _with_names(_tasks(doing).where(Task.due_at < midnight)).order_by(Task.due_at, Task.id).limit(_MOST_URGENT)
    )
    both: list[tuple[datetime, Any, str | None]] = []
    both += [(row[0].waiting_since, row[0], row.called) for row in people]
    both += [(row[0].due_at, row[0], row.called) for row in to_do]
    both.sort(key=lambda item: item[0])
    return [
        (_task_row if isinstance(record, Task) else _conversation_row)(doing, number, record, called)
        for number, (_when, record, called) in enumerate(both[:_MOST_URGENT], 1)
    ]
