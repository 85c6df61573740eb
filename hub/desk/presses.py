"""Presses: what each button of a card does. The same press twice, or of two people at once, is done once.

`Answer.text` tells the one who was too late who was first; the card itself is shown anew by the diary.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import select

from channels.desk_contract import Card
from core.kernel.errors import Conflict, NotFound, Rejected
from core.people.contacts import Contact
from core.sales import leads
from core.sales.leads import Lead, LeadStatus
from core.staff import users
from core.staff.teams import TeamMember
from core.staff.users import User
from core.talk import canned, conversations, outbox
from core.talk.canned import CannedReply
from core.talk.conversations import Conversation, Message
from core.work import progress, routing, tasks
from core.work.tasks import OPEN_STATUSES, Task
from hub import telephony
from hub.desk import answering, deal_presses, times
from hub.desk.cards import key
from hub.desk.doing import Answer, Doing, Verb, id_at

_MOST_KEYS = 20


async def press(doing: Doing, data: str, *, more: Mapping[str, Verb] | None = None) -> Answer:
    """Do what a button says. `more` are verbs beside those of here: lists asked for by a button.

    Raises:
        DomainError: it cannot be done; the message may be shown.
    """
    verb, *parts = data.split(":")
    found = VERBS.get(verb) or (more or {}).get(verb)
    if found is None:
        return Answer(doing.text("This button does nothing any more"), is_alert=True)
    try:
        return await found(doing, parts)
    except (ValueError, IndexError):
        return Answer(doing.text("This button does nothing any more"), is_alert=True)


# --- leads ---


async def take(doing: Doing, parts: list[str]) -> Answer:
    """Take a lead that is nobody's. Of two at once one wins, and the other is told who."""
    try:
        lead = await doing.fetch(Lead, id_at(parts))
    except NotFound:
        if (owner := await _who_was_first(doing, id_at(parts))) is None:
            raise
        return Answer(doing.text("%(name)s was first", name=owner), is_alert=True)
    if lead.owner_id == doing.user.id:
        return Answer(doing.text("It is yours already"))
    if lead.owner_id is not None:
        names = await users.names(doing.session, {lead.owner_id})
        return Answer(doing.text("%(name)s was first", name=names.get(lead.owner_id, "?")), is_alert=True)
    if lead.status not in leads.OPEN_STATUSES:
        return Answer(doing.text("It is closed already"), is_alert=True)
    await routing.take(doing.session, lead, user_id=doing.user.id, at=doing.now, actor_id=doing.user.id)
    return Answer("✅ " + doing.text("It is yours"))


async def _who_was_first(doing: Doing, lead_id: int) -> str | None:
    """Return who has a lead by now whose card this colleague was shown; None for one they never saw."""
    if doing.about is None or doing.about.lead_id != lead_id or doing.about.user_id != doing.user.id:
        return None
    lead = await doing.session.get(Lead, lead_id)
    if lead is None or lead.owner_id is None:
        return None
    return (await users.names(doing.session, {lead.owner_id})).get(lead.owner_id)


async def hand(doing: Doing, parts: list[str]) -> Answer:
    """Ask to whom a lead is handed over."""
    lead = await doing.fetch(Lead, id_at(parts))
    doing.rights.require_assign(lead.owner_id)
    members = select(TeamMember.user_id).where(TeamMember.team_id == lead.team_id)
    colleagues = list(
        await doing.session.scalars(
            select(User)
            .where(User.is_active, User.id != (lead.owner_id or 0), User.role != "viewer")
            .order_by(User.id.in_(members).desc(), User.name)
            .limit(_MOST_KEYS)
        )
    )
    keys = tuple((key(user.name, "give", lead.id, user.id),) for user in colleagues)
    doing.say(Card(title="➡️ " + doing.text("Hand over to whom?"), keys=keys), lead_id=None)
    return Answer()


async def give(doing: Doing, parts: list[str]) -> Answer:
    """Hand a lead, its deal and its tasks over to a colleague."""
    lead = await doing.fetch(Lead, id_at(parts))
    doing.rights.require_assign(lead.owner_id)
    to = await users.for_work(doing.session, id_at(parts, 1), field="user")
    if lead.owner_id == to.id:
        return Answer(doing.text("%(name)s has it already", name=to.name))
    before = lead.owner_id
    await routing.take(doing.session, lead, user_id=to.id, at=doing.now, actor_id=doing.user.id)
    for conversation in await doing.session.scalars(
        select(Conversation)
        .where(Conversation.contact_id == lead.contact_id, Conversation.assignee_id.is_not_distinct_from(before))
        .with_for_update()
    ):
        await conversations.assign(doing.session, conversation, to=to.id, at=doing.now, actor_id=doing.user.id)
    return Answer("➡️ " + doing.text("%(name)s has it now", name=to.name))


async def junk(doing: Doing, parts: list[str]) -> Answer:
    """Close a lead as none."""
    lead = await doing.fetch(Lead, id_at(parts))
    if lead.status not in leads.OPEN_STATUSES:
        return Answer(doing.text("It is closed already"))
    await progress.disqualify(
        doing.session, lead, at=doing.now, status=LeadStatus.JUNK, reason="", actor_id=doing.user.id
    )
    return Answer("🗑 " + doing.text("Closed as not a lead"))


# --- tasks ---


async def done(doing: Doing, parts: list[str]) -> Answer:
    """Finish a task."""
    task = await doing.fetch(Task, id_at(parts))
    if not await tasks.complete(doing.session, task, at=doing.now, actor_id=doing.user.id):
        names = await users.names(doing.session, {task.completed_by})
        who = names.get(task.completed_by or 0, "")
        return Answer(doing.text("Done already by %(name)s", name=who) if who else doing.text("Done already"))
    return Answer("✅ " + doing.text("Done"))


async def snooze(doing: Doing, parts: list[str]) -> Answer:
    """Put a task off by some minutes from now: `t` a task, `l` what is next to do about a lead."""
    minutes = int(parts[2])
    if not 0 < minutes <= 60 * 24 * 31:
        raise ValueError(parts[2])
    task = await (_next_of_lead(doing, id_at(parts, 1)) if parts[0] == "l" else doing.fetch(Task, id_at(parts, 1)))
    to = doing.now + timedelta(minutes=minutes)
    if task.due_at is not None and task.due_at > to:
        to = task.due_at + timedelta(minutes=minutes)
    await tasks.postpone(doing.session, task, to=to, at=doing.now, actor_id=doing.user.id)
    return Answer("💤 " + doing.text("Put off until %(time)s", time=doing.reader.when(to)))


async def _next_of_lead(doing: Doing, lead_id: int) -> Task:
    lead = await doing.fetch(Lead, lead_id)
    found = await doing.session.scalar(
        select(Task)
        .where((Task.lead_id == lead.id) | (Task.deal_id == lead.deal_id), Task.status.in_(OPEN_STATUSES))
        .order_by(Task.due_at.nulls_last(), Task.id)
        .limit(1)
        .with_for_update()
    )
    if found is None:
        raise Rejected("Nothing is to be done about it just now")
    return found


async def tomorrow(doing: Doing, parts: list[str]) -> Answer:
    """Put a task off until tomorrow morning."""
    task = await doing.fetch(Task, id_at(parts))
    to = times.morning(doing.now, doing.reader.zone, days=1)
    await tasks.postpone(doing.session, task, to=to, at=doing.now, actor_id=doing.user.id)
    return Answer("💤 " + doing.text("Put off until %(time)s", time=doing.reader.when(to)))


async def take_task(doing: Doing, parts: list[str]) -> Answer:
    """Take a task that is nobody's."""
    task = await doing.fetch(Task, id_at(parts))
    if task.assignee_id is not None and task.assignee_id != doing.user.id:
        names = await users.names(doing.session, {task.assignee_id})
        return Answer(doing.text("%(name)s was first", name=names.get(task.assignee_id, "?")), is_alert=True)
    await tasks.assign(doing.session, task, to=doing.user.id, at=doing.now, actor_id=doing.user.id)
    return Answer("✅ " + doing.text("It is yours"))


# --- people and conversations ---


async def call(doing: Doing, parts: list[str]) -> Answer:
    """Have the colleague's phone ring, and then the contact's."""
    contact = await doing.fetch(Contact, id_at(parts), change=False, lock=False)
    placed = await telephony.call_up(doing.session, doing.hub, doing.user, contact_id=contact.id)
    number = doing.reader.address("phone", placed.number)
    return Answer(
        doing.text("Your phone %(extension)s rings, then %(number)s", extension=doing.user.extension, number=number)
    )


async def resolve(doing: Doing, parts: list[str]) -> Answer:
    """End a conversation for now."""
    found = await doing.fetch(Conversation, id_at(parts))
    if not await conversations.resolve(doing.session, found, at=doing.now, actor_id=doing.user.id):
        return Answer(doing.text("It is resolved already"))
    return Answer("✅ " + doing.text("Resolved"))


async def put_aside(doing: Doing, parts: list[str]) -> Answer:
    """Put a conversation aside for some minutes."""
    found = await doing.fetch(Conversation, id_at(parts))
    until = doing.now + timedelta(minutes=max(1, min(int(parts[1]), 60 * 24 * 31)))
    await conversations.snooze(doing.session, found, until=until, at=doing.now, actor_id=doing.user.id)
    return Answer("💤 " + doing.text("Comes back %(time)s", time=doing.reader.when(until)))


async def offer_wordings(doing: Doing, parts: list[str]) -> Answer:
    """Offer the canned replies for a conversation."""
    found = await doing.fetch(Conversation, id_at(parts), lock=False)
    offered = await canned.offered(doing.session, team_ids=list(doing.rights.team_ids))
    if not offered:
        return Answer(doing.text("There are no canned replies yet: add some in the settings"), is_alert=True)
    keys = tuple((key(f"/{row.shortcut}", "cr", found.id, row.id),) for row in offered[:_MOST_KEYS])
    lines = tuple(f"/{row.shortcut}: {' '.join(row.text.split())[:80]}" for row in offered[:_MOST_KEYS])
    doing.say(Card(title="⚡ " + doing.text("Reply with which?"), lines=lines, keys=keys), conversation_id=found.id)
    return Answer()


async def reply_canned(doing: Doing, parts: list[str]) -> Answer:
    """Send a canned reply."""
    found = await doing.fetch(Conversation, id_at(parts))
    wording = await doing.session.get(CannedReply, id_at(parts, 1))
    if wording is None or not (wording.team_id is None or wording.team_id in doing.rights.team_ids):
        raise NotFound("canned reply")
    if doing.about is not None and doing.about.what.get("sent"):
        return Answer(doing.text("It was sent already"))
    contact = await doing.session.get_one(Contact, found.contact_id)
    text = canned.filled(wording.text, contact_name=contact.name, user_name=doing.user.name)
    if doing.about is not None:
        doing.about.what = {**doing.about.what, "sent": True}
        doing.about = None
    await answering.send(doing, found, text, ref=getattr(doing.event, "ref", ""))
    return Answer("📨 " + doing.text("On its way"))


async def send_to(doing: Doing, parts: list[str]) -> Answer:
    """Send what was written before to this conversation."""
    try:
        await answering.send_kept(doing, id_at(parts))
    except NotFound:
        return Answer(doing.text("It was sent already"))
    return Answer("📨 " + doing.text("On its way"))


async def send_correction(doing: Doing, parts: list[str]) -> Answer:
    """Send the new wording of a message that had gone already."""
    message = await doing.fetch(Message, id_at(parts), lock=False)
    return await send_to(doing, [str(message.conversation_id)])


async def retry(doing: Doing, parts: list[str]) -> Answer:
    """Send a message that failed once more."""
    message = await doing.fetch(Message, id_at(parts))
    try:
        await outbox.retry(doing.session, message, at=doing.now)
    except Conflict:
        return Answer(doing.text("It is on its way already"))
    return Answer("🔁 " + doing.text("It is tried again"))


async def ask_note(doing: Doing, parts: list[str]) -> Answer:
    """Ask for the words of a note: `c` on a contact, `v` in a conversation."""
    if parts[0] == "v":
        await doing.fetch(Conversation, id_at(parts, 1), lock=False)
    else:
        await doing.fetch(Contact, id_at(parts, 1), lock=False)
    doing.ask("📝 " + doing.text("Answer to this with the note"), "note", parts[0], id_at(parts, 1))
    return Answer()


VERBS: dict[str, Verb] = {
    "take": take,
    "hand": hand,
    "give": give,
    "junk": junk,
    "done": done,
    "snz": snooze,
    "tom": tomorrow,
    "taket": take_task,
    "call": call,
    "res": resolve,
    "snc": put_aside,
    "can": offer_wordings,
    "cr": reply_canned,
    "to": send_to,
    "fix": send_correction,
    "retry": retry,
    "note": ask_note,
    **deal_presses.VERBS,
}
"""What each button does, by the word it brings back. Buttons of old cards live on: a word is never given another
meaning.
"""
