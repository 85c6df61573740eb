"""Digest cards: what a digest says, in numbers, and the most urgent of it with a button for each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select

from channels.desk_contract import Card, Key
from core.kernel import addresses
from core.people import contacts
from core.people.contacts import Contact
from core.sales.leads import OPEN_STATUSES as OPEN_LEADS
from core.sales.leads import Lead, LeadStatus
from core.staff import access, users
from core.staff.access import Rights
from core.staff.users import User
from core.talk.calls import Call
from core.talk.conversations import Conversation, ConversationStatus
from core.work.tasks import OPEN_STATUSES, Task, TaskKind
from hub.desk import cards, lists, times
from hub.desk.cards import Desk, key
from hub.web.calls import missed_of, waits

_MOST_OF_A_SORT = 3
_MOST_PEOPLE = 10
_COUNTED = 1000  # a count stops here: nobody needs to know by how many more
_LONGEST_LABEL = 32


class Item(NamedTuple):
    """Something urgent: what it says, its buttons, and what is typed instead where there are none."""

    text: str
    keys: tuple[Key, ...]
    typed: str = ""


class Digest(NamedTuple):
    """A digest. `greeting` is its title, `nothing` the title where there is nothing to say."""

    greeting: str
    nothing: str
    lines: Sequence[str]
    items: Sequence[Item]
    path: str

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return not self.lines

    def card(self, desk: Desk, *, has_buttons: bool) -> Card:
        """Return it as a card; where nothing can be pressed it says what to type."""
        if self.is_empty:
            return Card(title=self.nothing)
        numbered = [
            f"{number}. {item.text}" + (f" → {lists.typed(item.typed)}" if item.typed and not has_buttons else "")
            for number, item in enumerate(self.items, 1)
        ]
        keys = tuple(item.keys for item in self.items if item.keys)
        lines = (*self.lines, *(("", *numbered) if numbered else ()))
        return Card(title=self.greeting, lines=lines, keys=(*keys, *cards.link_row(desk, self.path)))


async def morning(desk: Desk, user: User, rights: Rights) -> Digest:
    """Say what waits for somebody and what is due today."""
    _, now = desk.reader.text, desk.reader.now
    midnight = times.morning(now, desk.reader.zone, days=1, at=time())
    waiting = _waiting(rights).where(Conversation.assignee_id == user.id)
    tasks = _narrow(select(Task), rights, Task).where(Task.assignee_id == user.id, Task.status.in_(OPEN_STATUSES))
    late, today = tasks.where(Task.due_at <= now), tasks.where(Task.due_at > now, Task.due_at < midnight)
    leads = _narrow(select(Lead), rights, Lead)
    new = leads.where(Lead.owner_id == user.id, Lead.status == LeadStatus.NEW)
    nobodys = leads.where(Lead.owner_id.is_(None), Lead.status.in_(OPEN_LEADS))
    missed = missed_of(user.id)
    counted = await _counts(
        desk,
        waiting.with_only_columns(Conversation.id),
        late.with_only_columns(Task.id),
        today.with_only_columns(Task.id),
        missed,
        new.with_only_columns(Lead.id),
        nobodys.with_only_columns(Lead.id),
    )
    said = (
        "💬 " + _("People waiting for an answer: %(count)s", count=counted[0]),
        "🔴 " + _("Late tasks: %(count)s", count=counted[1]),
        "☑️ " + _("Still to do today: %(count)s", count=counted[2]),
        "📞 " + _("Missed calls to return: %(count)s", count=counted[3]),
        "🆕 " + _("New leads of yours: %(count)s", count=counted[4]),
        "✋ " + _("Leads that are nobody's: %(count)s", count=counted[5]),
    )
    to_return = select(Call.task_id).where(Call.id.in_(missed), Call.task_id.is_not(None))
    others = tasks.where(Task.due_at < midnight, Task.id.not_in(to_return))
    items: list[Item] = []
    items += [_talk(desk, len(items) + n, *row) for n, row in enumerate(await _rows(desk, waiting, Conversation), 1)]
    calls = select(Call).where(Call.id.in_(missed))
    items += [_call(desk, len(items) + n, *row) for n, row in enumerate(await _rows(desk, calls, Call), 1)]
    items += [_task(desk, len(items) + n, *row) for n, row in enumerate(await _rows(desk, others, Task), 1)]
    items += [_lead(desk, len(items) + n, *row) for n, row in enumerate(await _rows(desk, nobodys, Lead), 1)]
    items += [_lead(desk, len(items) + n, *row) for n, row in enumerate(await _rows(desk, new, Lead), 1)]
    name = user.name.split()[0] if user.name.split() else user.name
    return Digest(
        greeting="☀️ " + _("Good morning, %(name)s", name=name),
        nothing="☀️ " + _("Good morning, %(name)s. Nothing waits for you", name=name),
        lines=[line for count, line in zip(counted, said, strict=True) if count],
        items=items,
        path="/",
    )


async def evening(desk: Desk, user: User, rights: Rights) -> Digest:
    """Say what was missed, and by whom, of what somebody may see."""
    _, now = desk.reader.text, desk.reader.now
    overdue = _narrow(
        select(Task.assignee_id, func.count(), func.min(Task.due_at))
        .where(Task.status.in_(OPEN_STATUSES), Task.due_at <= now)
        .group_by(Task.assignee_id),
        rights,
        Task,
    )
    unanswered = _waiting(rights)
    to_return = _narrow(
        select(Task.assignee_id, func.count(), func.min(Call.started_at))
        .select_from(Call)
        .outerjoin(Task, Task.id == Call.task_id)
        .where(*waits())
        .group_by(Task.assignee_id),
        rights,
        Call,
    )
    untaken = _narrow(
        select(Lead).where(Lead.owner_id.is_(None), Lead.status.in_(OPEN_LEADS)),
        rights,
        Lead,
    )
    late = [tuple(row) for row in await desk.session.execute(overdue)]
    missed = [tuple(row) for row in await desk.session.execute(to_return)]
    waiting, nobodys = await _counts(
        desk, unanswered.with_only_columns(Conversation.id), untaken.with_only_columns(Lead.id)
    )
    talks = await _rows(desk, unanswered, Conversation)
    staff = await users.names(
        desk.session, {row[0] for row in (*late, *missed)} | {talk.assignee_id for talk, _called in talks}
    )
    lines: list[str] = []
    if late:
        lines.append("🔴 " + _("Late tasks: %(count)s", count=sum(row[1] for row in late)))
        lines += _by_person(desk, late, staff)
    if waiting:
        lines.append("💬 " + _("People waiting for an answer: %(count)s", count=waiting))
    if missed:
        lines.append("📞 " + _("Missed calls to return: %(count)s", count=sum(row[1] for row in missed)))
        lines += _by_person(desk, missed, staff)
    if nobodys:
        lines.append("✋ " + _("Leads that nobody took: %(count)s", count=nobodys))
    items = [
        _talk(desk, number, talk, called, whose=_whose(desk, staff, talk.assignee_id))
        for number, (talk, called) in enumerate(talks, 1)
    ]
    items += [_lead(desk, len(items) + n, *row) for n, row in enumerate(await _rows(desk, untaken, Lead), 1)]
    return Digest(
        greeting="🌇 " + _("What was missed, and by whom"),
        nothing="🌇 " + _("Nothing was missed today"),
        lines=lines,
        items=items,
        path="/tasks?due=overdue&who=all",
    )


# --- what is looked at ---


def _narrow(statement: Any, rights: Rights, model: Any) -> Select[Any]:
    narrowed: Select[Any] = access.narrow(statement, rights, model)
    return narrowed


def _waiting(rights: Rights) -> Select[Any]:
    is_open = Conversation.status.in_((ConversationStatus.OPEN, ConversationStatus.PENDING))
    return _narrow(select(Conversation), rights, Conversation).where(is_open, Conversation.waiting_since.is_not(None))


async def _counts(desk: Desk, *parts: Select[Any]) -> list[int]:
    counts = [select(func.count()).select_from(part.limit(_COUNTED).subquery()).scalar_subquery() for part in parts]
    return list((await desk.session.execute(select(*counts))).one())


async def _rows(desk: Desk, statement: Select[Any], model: Any) -> list[Any]:
    """Return the first records, those first that have waited longest, each with what its contact is called."""
    order = {Conversation: Conversation.waiting_since, Task: Task.due_at, Call: Call.started_at, Lead: Lead.created_at}
    return list(
        await desk.session.execute(
            statement.outerjoin(Contact, Contact.id == model.contact_id)
            .add_columns(contacts.called().label("called"))
            .order_by(order[model], model.id)
            .limit(_MOST_OF_A_SORT)
        )
    )


# --- what is said of it ---


def _by_person(desk: Desk, rows: Sequence[Any], staff: dict[int, str]) -> list[str]:
    """Return a line for each person: how many, and since when the oldest."""
    _ = desk.reader.text
    ordered = sorted(rows, key=lambda row: (-row[1], row[2]))
    return [
        f"    {_whose(desk, staff, user_id)}: {count} · " + _("the oldest %(span)s", span=_since(desk, oldest))
        for user_id, count, oldest in ordered[:_MOST_PEOPLE]
    ]


def _whose(desk: Desk, staff: dict[int, str], user_id: int | None) -> str:
    _ = desk.reader.text
    return _("nobody") if user_id is None else staff.get(user_id, "?")


def _since(desk: Desk, moment: datetime) -> str:
    return desk.reader.span(max(0, round((desk.reader.now - moment).total_seconds() / 60)))


def _called(desk: Desk, called: str | None) -> str:
    _ = desk.reader.text
    if not called:
        return _("Somebody without a name")
    return desk.reader.address(addresses.PHONE, called) if called.startswith("+") else called


def _label(sign: str, number: int, words: str) -> str:
    short = words if len(words) <= _LONGEST_LABEL else words[: _LONGEST_LABEL - 1].rstrip() + "…"
    return f"{sign} {number}. {short}"


def _talk(desk: Desk, number: int, row: Conversation, called: str | None, *, whose: str = "") -> Item:
    _ = desk.reader.text
    name = _called(desk, called)
    assert row.waiting_since is not None
    parts = [f"💬 {name}", _("waits %(span)s", span=_since(desk, row.waiting_since)), whose]
    if not whose:
        parts.append(" ".join(row.last_message_text.split())[:60])
    text = " · ".join(part for part in parts if part)
    return Item(text, (key(_label("💬", number, name), "show", row.id),), f"/show {row.id}")


def _call(desk: Desk, number: int, row: Call, called: str | None) -> Item:
    _ = desk.reader.text
    name = _called(desk, called or row.number)
    text = f"📞 {name} · " + _("rang %(when)s", when=desk.reader.when(row.started_at))
    keys = [key(_label("📞", number, name), "call", row.contact_id)] if row.contact_id is not None else []
    if row.task_id is not None:
        keys.append(key(f"✅ {number}", "done", row.task_id))
    return Item(text, tuple(keys), f"/done {row.task_id}" if row.task_id is not None else "")


def _task(desk: Desk, number: int, row: Task, called: str | None) -> Item:
    _ = desk.reader.text
    title = _(row.title)
    parts = [("📞 " if row.kind == TaskKind.CALL else "☑️ ") + title]
    if row.contact_id is not None and called:
        parts.append(_called(desk, called))
    if row.due_at is not None:
        is_late = row.is_overdue(desk.reader.now)
        parts.append("🔴 " + desk.reader.deadline(row.due_at) if is_late else "⏰ " + desk.reader.when(row.due_at))
    keys = (key(_label("✅", number, title), "done", row.id), key(f"💤 {number}", "snz", "t", row.id, 60))
    return Item(" · ".join(parts), keys, f"/done {row.id}")


def _lead(desk: Desk, number: int, row: Lead, called: str | None) -> Item:
    name = _called(desk, called)
    text = f"🆕 {name} · {_since(desk, row.created_at)}"
    if row.owner_id is None:
        return Item(text, (key(_label("✋", number, name), "take", row.id),))
    keys = (key(_label("📊", number, name), "deal", row.deal_id),) if row.deal_id is not None else ()
    return Item(text, keys, f"/deal {row.deal_id}" if row.deal_id is not None else "")
