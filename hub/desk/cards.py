"""Cards: what a lead, a message, a task or a call looks like in a messenger, made anew each time it is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import Card, Key
from core.kernel import addresses
from core.people.contacts import Contact, ContactIdentity
from core.sales import leads as lead_rules
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.sales.pipelines import Stage
from core.staff import users
from core.talk.attachments import Attachment
from core.talk.calls import Call
from core.talk.conversations import Conversation, Direction, Message
from core.work.tasks import OPEN_STATUSES, Task, TaskKind
from hub.app import Hub
from hub.desk.reader import Reader
from hub.desk.records import DeskPost

LONGEST_IN_CARD = 2500
"""Letters of a request that its card shows; a longer one follows whole, as a message."""

TICKS = {
    "scheduled": "🗓",
    "queued": "🕓",
    "sending": "🕓",
    "sent": "✓",
    "delivered": "✓✓",
    "read": "👁 ✓✓",
    "failed": "⚠️",
    "canceled": "✖",
}


class Shown(NamedTuple):
    """A card, and the attachments that go with it."""

    card: Card
    files: tuple[Attachment, ...] = ()


class Desk(NamedTuple):
    """What making a card needs: where it reads, for whom, and the address of the workspace."""

    session: AsyncSession
    hub: Hub
    reader: Reader

    def url(self, path: str) -> str:
        """Return the address of a page of the workspace; "" where the hub has none that others reach."""
        return f"{self.hub.public_url}{path}" if self.hub.settings.public_url else ""


def key(text: str, verb: str, *parts: Any) -> Key:
    """Make a button that does something: `verb` is one of hub.desk.presses."""
    return Key(text, ":".join((verb, *(str(part) for part in parts))))


def link_row(desk: Desk, path: str) -> tuple[tuple[Key, ...], ...]:
    """Return a row with a button that opens a page of the workspace, if it has an address."""
    url = desk.url(path)
    return ((Key(desk.reader.text("Open in Switchyard"), url=url),),) if url else ()


async def name_of(desk: Desk, contact: Contact) -> str:
    """Return what a contact is called: their name, else their number or address."""
    if contact.name:
        return contact.name
    found = (
        await desk.session.execute(
            select(ContactIdentity.scheme, ContactIdentity.value, ContactIdentity.raw)
            .where(ContactIdentity.contact_id == contact.id)
            .order_by(ContactIdentity.scheme.in_((addresses.PHONE, addresses.EMAIL)).desc(), ContactIdentity.id)
            .limit(1)
        )
    ).first()
    if found is None:
        return desk.reader.text("Somebody without a name")
    return desk.reader.address(found.scheme, found.value) if found.scheme in ("phone", "email") else found.raw


async def _addresses(desk: Desk, contact_id: int) -> str:
    rows = await desk.session.execute(
        select(ContactIdentity.scheme, ContactIdentity.value)
        .where(
            ContactIdentity.contact_id == contact_id,
            ContactIdentity.scheme.in_((addresses.PHONE, addresses.EMAIL)),
        )
        .order_by(ContactIdentity.scheme.desc(), ContactIdentity.id)
        .limit(4)
    )
    return " · ".join(desk.reader.address(row.scheme, row.value) for row in rows)


async def files_of(session: AsyncSession, message_id: int) -> tuple[Attachment, ...]:
    """Return the files of a message, in order."""
    rows = await session.scalars(
        select(Attachment).where(Attachment.message_id == message_id).order_by(Attachment.position)
    )
    return tuple(rows)


async def first_words(session: AsyncSession, lead: Lead) -> Message | None:
    """Return the message a lead began with; None for one that began otherwise."""
    found: Message | None = await session.scalar(
        select(Message)
        .where(
            Message.contact_id == lead.contact_id,
            Message.connection_id == lead.connection_id,
            Message.direction == Direction.INBOUND,
            Message.created_at == lead.created_at,
        )
        .order_by(Message.id)
        .limit(1)
    )
    return found


def is_whole(message: Message | None) -> bool:
    """Whether a lead's card says all that its first message does, so that it need not follow by itself."""
    return message is None or len(message.text) <= LONGEST_IN_CARD


async def lead(desk: Desk, post: DeskPost) -> Shown | None:
    """Show a lead: who, what was asked, whence; and what can be done about it."""
    row = await desk.session.get(Lead, post.lead_id)
    if row is None:
        return None
    _ = desk.reader.text
    contact = await desk.session.get_one(Contact, row.contact_id)
    said = await first_words(desk.session, row)
    staff = await users.names(desk.session, {row.owner_id})
    lines = [line for line in (contact.company_name, await _addresses(desk, contact.id)) if line]
    source = row.attribution.get("utm_source") or row.source
    campaign = row.attribution.get("utm_campaign")
    live = desk.hub.switchboard.by_id(row.connection_id or 0)
    came = " · ".join(part for part in (live.title if live else "", source, campaign) if part)
    if came:
        lines.append(_("From: %(source)s", source=came))
    keys: list[tuple[Key, ...]] = []
    footer = ""
    if row.status in lead_rules.OPEN_STATUSES:
        call = (key("📞 " + _("Call"), "call", contact.id),) if await _has_phone(desk, contact.id) else ()
        if row.owner_id is None:
            keys.append((key("✋ " + _("Take"), "take", row.id), *call))
        else:
            keys.append((*call, key("➡️ " + _("Hand over"), "hand", row.id)))
        keys.append(
            (key("💤 " + _("Snooze 15 min"), "snz", "l", row.id, 15), key("🗑 " + _("Not a lead"), "junk", row.id))
        )
        if row.deal_id is not None:
            keys.append((key("📊 " + _("Deal"), "deal", row.deal_id), key("💬 " + _("Note"), "note", "c", contact.id)))
        if row.owner_id is not None:
            footer = _("Looked after by %(name)s", name=staff.get(row.owner_id, "?"))
    elif row.status == "converted":
        footer = "✅ " + _("Became a deal")
    else:
        footer = "🗑 " + _("Closed: %(reason)s", reason=row.closed_because or _("not a lead"))
    words = (said.text if said is not None else row.message) or ""
    files = await files_of(desk.session, said.id) if said is not None else ()
    card = Card(
        title="🆕 " + _("New lead: %(name)s", name=await name_of(desk, contact)),
        lines=tuple(lines),
        words=words if is_whole(said) else words[:LONGEST_IN_CARD].rstrip() + "…",
        footer=footer,
        keys=(*keys, *link_row(desk, f"/leads/{row.id}")),
    )
    return Shown(card, files)


async def _has_phone(desk: Desk, contact_id: int) -> bool:
    theirs = ContactIdentity.contact_id == contact_id, ContactIdentity.scheme == addresses.PHONE
    return await desk.session.scalar(select(ContactIdentity.id).where(*theirs).limit(1)) is not None


async def message(desk: Desk, post: DeskPost) -> Shown | None:
    """Show what a customer said. In a topic there are their words alone; elsewhere who says it, and where."""
    row = await desk.session.get(Message, post.message_id)
    if row is None:
        return None
    _ = desk.reader.text
    files = await files_of(desk.session, row.id)
    words = row.text or (_("(sent a file)") if files else "")
    footer = ""
    if row.deleted_at is not None:
        footer = _("They deleted this message")
    elif row.edited_at is not None:
        footer = _("edited")
    if row.reactions:
        footer = " · ".join(part for part in (footer, " ".join(row.reactions)) if part)
    title = row.subject if row.subject and (row.text or files) else ""
    if post.topic_id is not None:
        return Shown(Card(title=title, words=words, footer=footer), files)
    contact = await desk.session.get_one(Contact, row.contact_id)
    live = desk.hub.switchboard.by_id(row.connection_id)
    head = f"💬 {await name_of(desk, contact)}" + (f" · {live.title}" if live is not None else "")
    keys = (
        (
            key("💤 " + _("Snooze"), "snc", row.conversation_id, 60),
            key("✅ " + _("Done"), "res", row.conversation_id),
            key("⚡ " + _("Reply with…"), "can", row.conversation_id),
        ),
    )
    card = Card(title=head, lines=(title,) if title else (), words=words, footer=footer, keys=keys)
    return Shown(card, files)


async def mirror(desk: Desk, post: DeskPost) -> Shown | None:
    """Show what a colleague said to the customer elsewhere, with how far it has come."""
    row = await desk.session.get(Message, post.message_id)
    if row is None:
        return None
    _ = desk.reader.text
    staff = await users.names(desk.session, {row.author_id})
    who = staff.get(row.author_id or 0) or _("Switchyard")
    if row.private:
        return Shown(Card(title="📝 " + _("Note of %(name)s", name=who), words=row.text, is_quiet=True))
    footer, keys = state_of(desk.reader, row)
    card = Card(title=f"↗️ {who}", words=row.text, footer=footer, keys=keys, is_quiet=True)
    return Shown(card, await files_of(desk.session, row.id))


def state_of(reader: Reader, row: Message) -> tuple[str, tuple[tuple[Key, ...], ...]]:
    """Return how far a message of ours has come, in a few words, and what can be done where it failed."""
    _ = reader.text
    words = {
        "scheduled": _("Will go %(time)s", time=reader.when(row.send_at)) if row.send_at else _("Scheduled"),
        "queued": _("On its way"),
        "sending": _("On its way"),
        "sent": _("Sent"),
        "delivered": _("Delivered"),
        "read": _("Read"),
        "canceled": _("Taken back"),
        "failed": _("Not delivered"),
    }.get(row.status, row.status)
    ticks = TICKS.get(row.status, "")
    keys: tuple[tuple[Key, ...], ...] = ()
    why = _(row.error_text) if row.error_text else ""
    if row.status == "failed":
        words = _("Not delivered: %(reason)s", reason=(why or _("no reason was given"))[:300])
        keys = ((key("🔁 " + _("Try again"), "retry", row.id),),)
    elif row.uncertain:
        ticks, words = "❓", _("May not have arrived: %(reason)s", reason=why[:300])
        keys = ((key("🔁 " + _("Send again"), "retry", row.id),),)
    elif why and row.status in ("queued", "sending"):
        words = _("Waits: %(reason)s", reason=why[:300])
    if row.dropped:
        words = f"{words} · {'; '.join(str(item) for item in row.dropped)}"
    return f"{ticks} {words}".strip(), keys


async def state(desk: Desk, post: DeskPost) -> Shown | None:
    """Show how far an answer that was given in the messenger has come: ticks, or why it failed."""
    row = await desk.session.get(Message, post.message_id)
    if row is None:
        return None
    words, keys = state_of(desk.reader, row)
    via = desk.hub.switchboard.by_id(row.connection_id)
    has_other_way = post.what.get("connection_id") not in (None, row.connection_id)
    lines = (desk.reader.text("by %(channel)s", channel=via.title),) if via is not None and has_other_way else ()
    return Shown(Card(title="", lines=lines, words="", footer=words, keys=keys, is_quiet=row.status != "failed"))


async def task(desk: Desk, post: DeskPost) -> Shown | None:
    """Show something to do, by when, and what can be done about it."""
    row = await desk.session.get(Task, post.task_id)
    if row is None:
        return None
    _ = desk.reader.text
    contact = None if row.contact_id is None else await desk.session.get(Contact, row.contact_id)
    who = await name_of(desk, contact) if contact is not None else ""
    staff = await users.names(desk.session, {row.assignee_id})
    sign = "📞" if row.kind == TaskKind.CALL else "☑️"
    lines = [who] if who else []
    if contact is not None and (reached := await _addresses(desk, contact.id)):
        lines.append(reached)
    keys: list[tuple[Key, ...]] = []
    footer = ""
    if row.status in OPEN_STATUSES:
        if row.due_at is not None:
            is_late = row.due_at <= desk.reader.now
            lines.append(
                ("🔴 " if is_late else "⏰ ")
                + _("Due %(when)s (%(left)s)", when=desk.reader.when(row.due_at), left=desk.reader.deadline(row.due_at))
            )
        first = [key("✅ " + _("Done"), "done", row.id)]
        if contact is not None and await _has_phone(desk, contact.id):
            first.append(key("📞 " + _("Call"), "call", contact.id))
        keys.append(tuple(first))
        keys.append(
            (
                key("💤 " + _("15 min"), "snz", "t", row.id, 15),
                key("💤 " + _("1 hour"), "snz", "t", row.id, 60),
                key("💤 " + _("Tomorrow"), "tom", row.id),
            )
        )
        if row.assignee_id is not None and row.assignee_id != post.user_id:
            footer = _("For %(name)s", name=staff.get(row.assignee_id, "?"))
        elif row.assignee_id is None:
            keys.append((key("✋ " + _("Take"), "taket", row.id),))
    elif row.status == "done":
        who_did = (await users.names(desk.session, {row.completed_by})).get(row.completed_by or 0, "")
        footer = "✅ " + (_("Done by %(name)s", name=who_did) if who_did else _("Done"))
    else:
        footer = "✖ " + _("Canceled")
    note = "\n".join(row.note.splitlines()[-5:])[:600]
    title = {
        "task.overdue": "🔴 " + _("Overdue: %(title)s", title=_(row.title)),
        "task.escalated": "🔴 " + _("Nobody acted: %(title)s", title=_(row.title)),
        "task.reminder": "⏰ " + _("Soon due: %(title)s", title=_(row.title)),
    }.get(str(post.what.get("because")), f"{sign} {_(row.title)}")
    card = Card(
        title=title, lines=tuple(lines), words=note, footer=footer,
        keys=(*keys, *link_row(desk, f"/tasks/{row.id}")),
    )  # fmt: skip
    return Shown(card)


async def call(desk: Desk, post: DeskPost) -> Shown | None:
    """Show a call that rings, is talked, or is over."""
    row = await desk.session.get(Call, post.call_id)
    if row is None:
        return None
    _ = desk.reader.text
    contact = None if row.contact_id is None else await desk.session.get(Contact, row.contact_id)
    number = desk.reader.address("phone", row.number) if row.number else row.caller or _("hidden number")
    who = await name_of(desk, contact) if contact is not None else number
    lines = [number] if who != number else []
    if row.deal_id is not None and (deal := await desk.session.get(Deal, row.deal_id)) is not None:
        stage = await desk.session.get(Stage, deal.stage_id)
        lines.append(f"{deal.title} · {_(stage.name) if stage is not None else ''}".rstrip(" ·"))
    minutes, seconds = divmod(row.talk_seconds or 0, 60)
    state = {
        "ringing": "🔔 " + _("Rings"),
        "in_progress": "🗣 " + _("Talking"),
        "completed": "✅ " + _("Talked %(time)s", time=f"{minutes}:{seconds:02}"),
        "missed": "❗ " + _("Missed"),
        "voicemail": "📼 " + _("Left a message"),
    }.get(row.status, row.status)
    sign = "📲" if row.direction == "inbound" else "📞"
    return Shown(Card(title=f"{sign} {who}", lines=tuple(lines), footer=state, is_quiet=row.is_over))


async def handed(desk: Desk, post: DeskPost) -> Shown | None:
    """Show that a conversation was given to somebody, with the last that was said in it."""
    conversation = await desk.session.get(Conversation, post.conversation_id)
    if conversation is None:
        return None
    _ = desk.reader.text
    contact = await desk.session.get_one(Contact, conversation.contact_id)
    return Shown(
        Card(
            title="➡️ " + _("%(name)s is yours now", name=await name_of(desk, contact)),
            words=conversation.last_message_text,
            keys=link_row(desk, f"/conversations/{conversation.id}"),
        )
    )


async def said(desk: Desk, post: DeskPost) -> Shown | None:
    """Show words that were known when the post was decided on."""
    given = post.what["card"]
    return Shown(
        Card(
            title=given["title"],
            lines=tuple(given["lines"]),
            words=given["words"],
            footer=given["footer"],
            keys=tuple(tuple(Key(*item) for item in row) for row in given["keys"]),
            is_quiet=given["is_quiet"],
        )
    )


MAKERS: dict[str, Callable[[Desk, DeskPost], Awaitable[Shown | None]]] = {
    "lead": lead,
    "message": message,
    "mirror": mirror,
    "state": state,
    "task": task,
    "call": call,
    "handed": handed,
    "said": said,
}
"""How each purpose of a post is shown; None: what it was about is no more."""
