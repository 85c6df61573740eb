"""Presses: what each button of a card does. The same press twice, or of two people at once, is done once.

`Answer.text` tells the one who was too late who was first; the card itself is shown anew by the diary.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from channels.desk_contract import Card
from core.kernel.errors import Conflict, NotFound, Rejected
from core.people.contacts import Contact
from core.sales import leads, pipelines
from core.sales.deals import Deal, Outcome
from core.sales.leads import Lead, LeadStatus
from core.sales.pipelines import Category, LostReason
from core.staff import users
from core.staff.teams import TeamMember
from core.staff.users import User
from core.talk import canned, conversations, outbox
from core.talk.canned import CannedReply
from core.talk.conversations import Conversation, Message
from core.work import progress, routing, tasks
from core.work.tasks import OPEN_STATUSES, Task
from hub import telephony
from hub.desk import answering, deal_cards, times
from hub.desk.cards import key
from hub.desk.doing import Answer, Doing, Verb

_MOST_KEYS = 20


async def press(doing: Doing, data: str) -> Answer:
    """Do what a button says.

    Raises:
        DomainError: it cannot be done; the message may be shown.
    """
    verb, *parts = data.split(":")
    found = VERBS.get(verb)
    if found is None:
        return Answer(doing.text("This button does nothing any more"), is_alert=True)
    try:
        return await found(doing, parts)
    except (ValueError, IndexError):
        return Answer(doing.text("This button does nothing any more"), is_alert=True)


def _id(parts: list[str], place: int = 0) -> int:
    value = int(parts[place])
    if not 0 < value < 2**63:
        raise ValueError(parts[place])
    return value


# --- leads ---


async def take(doing: Doing, parts: list[str]) -> Answer:
    """Take a lead that is nobody's. Of two at once one wins, and the other is told who."""
    lead = await doing.fetch(Lead, _id(parts))
    if lead.owner_id == doing.user.id:
        return Answer(doing.text("It is yours already"))
    if lead.owner_id is not None:
        names = await users.names(doing.session, {lead.owner_id})
        return Answer(doing.text("%(name)s was first", name=names.get(lead.owner_id, "?")), is_alert=True)
    if lead.status not in leads.OPEN_STATUSES:
        return Answer(doing.text("It is closed already"), is_alert=True)
    await routing.take(doing.session, lead, user_id=doing.user.id, at=doing.now, actor_id=doing.user.id)
    return Answer("✅ " + doing.text("It is yours"))


async def hand(doing: Doing, parts: list[str]) -> Answer:
    """Ask to whom a lead is handed over."""
    lead = await doing.fetch(Lead, _id(parts))
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
    lead = await doing.fetch(Lead, _id(parts))
    doing.rights.require_assign(lead.owner_id)
    to = await users.for_work(doing.session, _id(parts, 1), field="user")
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
    lead = await doing.fetch(Lead, _id(parts))
    if lead.status not in leads.OPEN_STATUSES:
        return Answer(doing.text("It is closed already"))
    await progress.disqualify(
        doing.session, lead, at=doing.now, status=LeadStatus.JUNK, reason="", actor_id=doing.user.id
    )
    return Answer("🗑 " + doing.text("Closed as not a lead"))


# --- tasks ---


async def done(doing: Doing, parts: list[str]) -> Answer:
    """Finish a task."""
    task = await doing.fetch(Task, _id(parts))
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
    task = await (_next_of_lead(doing, _id(parts, 1)) if parts[0] == "l" else doing.fetch(Task, _id(parts, 1)))
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
    task = await doing.fetch(Task, _id(parts))
    to = times.morning(doing.now, doing.reader.zone, days=1)
    await tasks.postpone(doing.session, task, to=to, at=doing.now, actor_id=doing.user.id)
    return Answer("💤 " + doing.text("Put off until %(time)s", time=doing.reader.when(to)))


async def take_task(doing: Doing, parts: list[str]) -> Answer:
    """Take a task that is nobody's."""
    task = await doing.fetch(Task, _id(parts))
    if task.assignee_id is not None and task.assignee_id != doing.user.id:
        names = await users.names(doing.session, {task.assignee_id})
        return Answer(doing.text("%(name)s was first", name=names.get(task.assignee_id, "?")), is_alert=True)
    await tasks.assign(doing.session, task, to=doing.user.id, at=doing.now, actor_id=doing.user.id)
    return Answer("✅ " + doing.text("It is yours"))


# --- people and conversations ---


async def call(doing: Doing, parts: list[str]) -> Answer:
    """Have the colleague's phone ring, and then the contact's."""
    contact = await doing.fetch(Contact, _id(parts), change=False, lock=False)
    placed = await telephony.call_up(doing.session, doing.hub, doing.user, contact_id=contact.id)
    number = doing.reader.address("phone", placed.number)
    return Answer(
        doing.text("Your phone %(extension)s rings, then %(number)s", extension=doing.user.extension, number=number)
    )


async def resolve(doing: Doing, parts: list[str]) -> Answer:
    """End a conversation for now."""
    found = await doing.fetch(Conversation, _id(parts))
    if not await conversations.resolve(doing.session, found, at=doing.now, actor_id=doing.user.id):
        return Answer(doing.text("It is resolved already"))
    return Answer("✅ " + doing.text("Resolved"))


async def put_aside(doing: Doing, parts: list[str]) -> Answer:
    """Put a conversation aside for some minutes."""
    found = await doing.fetch(Conversation, _id(parts))
    until = doing.now + timedelta(minutes=max(1, min(int(parts[1]), 60 * 24 * 31)))
    await conversations.snooze(doing.session, found, until=until, at=doing.now, actor_id=doing.user.id)
    return Answer("💤 " + doing.text("Comes back %(time)s", time=doing.reader.when(until)))


async def offer_wordings(doing: Doing, parts: list[str]) -> Answer:
    """Offer the canned replies for a conversation."""
    found = await doing.fetch(Conversation, _id(parts), lock=False)
    offered = await canned.offered(doing.session, team_ids=list(doing.rights.team_ids))
    if not offered:
        return Answer(doing.text("There are no canned replies yet: add some in the settings"), is_alert=True)
    keys = tuple((key(f"/{row.shortcut}", "cr", found.id, row.id),) for row in offered[:_MOST_KEYS])
    lines = tuple(f"/{row.shortcut}: {' '.join(row.text.split())[:80]}" for row in offered[:_MOST_KEYS])
    doing.say(Card(title="⚡ " + doing.text("Reply with which?"), lines=lines, keys=keys), conversation_id=found.id)
    return Answer()


async def reply_canned(doing: Doing, parts: list[str]) -> Answer:
    """Send a canned reply."""
    found = await doing.fetch(Conversation, _id(parts))
    wording = await doing.session.get(CannedReply, _id(parts, 1))
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
        await answering.send_kept(doing, _id(parts))
    except NotFound:
        return Answer(doing.text("It was sent already"))
    return Answer("📨 " + doing.text("On its way"))


async def send_correction(doing: Doing, parts: list[str]) -> Answer:
    """Send the new wording of a message that had gone already."""
    message = await doing.fetch(Message, _id(parts), lock=False)
    return await send_to(doing, [str(message.conversation_id)])


async def retry(doing: Doing, parts: list[str]) -> Answer:
    """Send a message that failed once more."""
    message = await doing.fetch(Message, _id(parts))
    try:
        await outbox.retry(doing.session, message, at=doing.now)
    except Conflict:
        return Answer(doing.text("It is on its way already"))
    return Answer("🔁 " + doing.text("It is tried again"))


async def ask_note(doing: Doing, parts: list[str]) -> Answer:
    """Ask for the words of a note: `c` on a contact, `v` in a conversation."""
    if parts[0] == "v":
        await doing.fetch(Conversation, _id(parts, 1), lock=False)
    else:
        await doing.fetch(Contact, _id(parts, 1), lock=False)
    doing.ask("📝 " + doing.text("Answer to this with the note"), "note", parts[0], _id(parts, 1))
    return Answer()


# --- deals ---


async def show_deal(doing: Doing, parts: list[str]) -> Answer:
    """Show a deal with what can be done about it."""
    deal = await doing.fetch(Deal, _id(parts), change=False, lock=False)
    doing.say(await deal_cards.deal(doing, deal), deal_id=deal.id)
    return Answer()


async def offer_stages(doing: Doing, parts: list[str]) -> Answer:
    """Ask into which stage a deal goes."""
    deal = await doing.fetch(Deal, _id(parts), lock=False)
    stages = await pipelines.stages_of(doing.session, deal.pipeline_id)
    keys = tuple(
        (key(("• " if stage.id == deal.stage_id else "") + doing.text(stage.name), "st", deal.id, stage.id),)
        for stage in stages
        if stage.category == Category.OPEN
    )
    doing.say(Card(title="📊 " + doing.text("Move to which stage?"), keys=keys), deal_id=deal.id)
    return Answer()


async def move_deal(doing: Doing, parts: list[str]) -> Answer:
    """Take a deal to another stage."""
    deal = await doing.fetch(Deal, _id(parts))
    stage = await pipelines.stage(doing.session, _id(parts, 1))
    name = doing.text(stage.name)
    if not await progress.move(doing.session, deal, stage, at=doing.now, actor_id=doing.user.id):
        return Answer(doing.text("It is in %(stage)s already", stage=name))
    return Answer("📊 " + doing.text("Moved to %(stage)s", stage=name))


async def win(doing: Doing, parts: list[str]) -> Answer:
    """Close a deal as won."""
    deal = await doing.fetch(Deal, _id(parts))
    if deal.outcome == Outcome.WON:
        return Answer(doing.text("It is won already"))
    await progress.win(doing.session, deal, at=doing.now, actor_id=doing.user.id)
    return Answer("🏆 " + doing.text("Won"))


async def offer_reasons(doing: Doing, parts: list[str]) -> Answer:
    """Ask why a deal is lost."""
    deal = await doing.fetch(Deal, _id(parts), lock=False)
    reasons = list(await doing.session.scalars(select(LostReason).order_by(LostReason.position, LostReason.id)))
    keys = tuple((key(doing.text(reason.name), "lr", deal.id, reason.id),) for reason in reasons[:_MOST_KEYS])
    doing.ask(
        "✖ " + doing.text("Why is it lost?"),
        "lost",
        deal.id,
        hint=doing.text("Choose, or answer to this in your own words."),
        keys=keys,
    )
    return Answer()


async def lose(doing: Doing, parts: list[str]) -> Answer:
    """Close a deal as lost, for one of the company's reasons."""
    deal = await doing.fetch(Deal, _id(parts))
    reason = await doing.session.get(LostReason, _id(parts, 1))
    if reason is None:
        raise NotFound("reason")
    if deal.outcome == Outcome.LOST:
        return Answer(doing.text("It is lost already"))
    await progress.lose(doing.session, deal, at=doing.now, reason=reason.name, actor_id=doing.user.id)
    return Answer("✖ " + doing.text("Lost"))


async def ask_amount(doing: Doing, parts: list[str]) -> Answer:
    """Ask for a deal's amount."""
    deal = await doing.fetch(Deal, _id(parts), lock=False)
    doing.ask("💰 " + doing.text("Answer to this with the amount"), "amount", deal.id)
    return Answer()


async def ask_task(doing: Doing, parts: list[str]) -> Answer:
    """Ask what is to be done on a deal, and when."""
    deal = await doing.fetch(Deal, _id(parts), lock=False)
    hint = doing.text("For example: tomorrow 10:00 call")
    doing.ask("☑️ " + doing.text("Answer to this with what to do, and when"), "task", deal.id, hint=hint)
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
    "deal": show_deal,
    "stage": offer_stages,
    "st": move_deal,
    "won": win,
    "lost": offer_reasons,
    "lr": lose,
    "amt": ask_amount,
    "ntask": ask_task,
}
"""What each button does, by the word it brings back. Buttons of old cards live on: a word is never given another
meaning.
"""
