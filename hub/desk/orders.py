"""Orders: commands that do something about the lead, deal, task or person they are written in answer to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import or_, select

from channels.desk_contract import Card
from core.kernel.errors import Rejected
from core.people.contacts import Contact, folded
from core.sales import deals, pipelines
from core.sales.deals import Deal, Outcome
from core.sales.pipelines import Category, LostReason
from core.staff.users import Role, User
from core.talk import canned, conversations, notes
from core.work import progress, tasks
from hub import telephony
from hub.desk import amounts, answering, context, deal_cards, deal_presses, lists, planning, presses, times
from hub.desk.cards import key
from hub.desk.doing import Answer, Doing
from hub.desk.planning import About

_HOUR = timedelta(hours=1)
_MOST_KEYS = 20


def _nowhere(doing: Doing) -> Rejected:
    return Rejected(doing.text("Write this in answer to a card, or in a customer's topic"))


def tell(doing: Doing, answer: Answer) -> None:
    """Say what came of something, where it was said."""
    if answer.text:
        doing.say(Card(title=answer.text, is_quiet=True))


def _number(words: str) -> str | None:
    return words if words.isascii() and words.isdigit() and len(words) < 19 and int(words) else None


# --- leads ---


async def take(doing: Doing, words: str) -> None:
    """Take the lead, or what else is nobody's here."""
    lead = await context.lead_here(doing)
    if lead is not None:
        tell(doing, await presses.take(doing, [str(lead.id)]))
        return
    if doing.about is not None and doing.about.task_id is not None:
        tell(doing, await presses.take_task(doing, [str(doing.about.task_id)]))
        return
    conversation = await context.conversation_here(doing)
    if conversation is None:
        raise _nowhere(doing)
    if conversation.assignee_id == doing.user.id:
        tell(doing, Answer(doing.text("It is yours already")))
        return
    doing.rights.require_assign(conversation.assignee_id)
    await conversations.assign(doing.session, conversation, to=doing.user.id, at=doing.now, actor_id=doing.user.id)
    tell(doing, Answer("✅ " + doing.text("It is yours")))


async def hand(doing: Doing, words: str) -> None:
    """Hand the lead over, with its deal, tasks and conversations; else the conversation alone."""
    lead = await context.lead_here(doing)
    conversation = None if lead is not None else await context.conversation_here(doing)
    if lead is None and conversation is None:
        raise _nowhere(doing)
    if not words and lead is not None and lists.has_buttons(doing):
        tell(doing, await presses.hand(doing, [str(lead.id)]))
        return
    if not words:
        raise Rejected(doing.text("Say to whom: /hand and the colleague's name"))
    found = await _colleagues(doing, words)
    if len(found) > 1 and lead is not None:
        keys = tuple((key(user.name, "give", lead.id, user.id),) for user in found[:_MOST_KEYS])
        doing.say(Card(title="➡️ " + doing.text("Which of them?"), lines=tuple(u.name for u in found), keys=keys))
        return
    if len(found) > 1:
        raise Rejected(doing.text("There are several: %(names)s", names=", ".join(user.name for user in found)))
    if lead is not None:
        tell(doing, await presses.give(doing, [str(lead.id), str(found[0].id)]))
        return
    assert conversation is not None
    doing.rights.require_assign(conversation.assignee_id)
    await conversations.assign(doing.session, conversation, to=found[0].id, at=doing.now, actor_id=doing.user.id)
    tell(doing, Answer("➡️ " + doing.text("%(name)s has it now", name=found[0].name)))


async def _colleagues(doing: Doing, words: str) -> list[User]:
    """Return the colleagues a name may mean; one who is called exactly so alone.

    Raises:
        Rejected: nobody is called so.
    """
    wanted = folded(words).removeprefix("@")
    everybody = await doing.session.scalars(
        select(User).where(User.is_active, User.role != Role.VIEWER).order_by(User.name, User.id)
    )
    found = [user for user in everybody if wanted in folded(user.name)]
    exactly = [user for user in found if folded(user.name) == wanted]
    if not found:
        raise Rejected(doing.text("Nobody here is called “%(name)s”", name=words[:60]))
    return exactly if len(exactly) == 1 else found


async def junk(doing: Doing, words: str) -> None:
    """Close the lead as none."""
    lead = await context.lead_here(doing)
    if lead is None:
        raise Rejected(doing.text("Write this in answer to a lead's card, or in the person's topic"))
    tell(doing, await presses.junk(doing, [str(lead.id)]))


# --- tasks ---


async def done(doing: Doing, words: str) -> None:
    """Finish the task, or the one of this number; else say that all is said in the conversation."""
    if words:
        number = _number(words.removeprefix("#"))
        if number is None:
            raise Rejected(doing.text("Write /done in answer to a task, or with its number"))
        tell(doing, await presses.done(doing, [number]))
        return
    task = await context.task_here(doing)
    if task is not None:
        tell(doing, await presses.done(doing, [str(task.id)]))
        return
    if doing.conversation_id is None:
        raise Rejected(doing.text("Write this in answer to a task or a customer's words, or in a customer's topic"))
    tell(doing, await presses.resolve(doing, [str(doing.conversation_id)]))


async def snooze(doing: Doing, words: str) -> None:
    """Put the task off, or the conversation aside: for an hour, or until the time that is said.

    Raises:
        Rejected: the time cannot be read, or there is nothing to put off.
    """
    until = doing.now + _HOUR
    if words:
        read = times.lenient(words, now=doing.now, zone=doing.reader.zone)
        if read is None:
            raise Rejected(
                doing.text("I cannot read that time. For example: /snooze tomorrow 10:00, or /snooze 2 hours")
            )
        until = read.at
    when = doing.reader.when(until)
    task = await context.task_here(doing)
    if task is not None:
        await tasks.postpone(doing.session, task, to=until, at=doing.now, actor_id=doing.user.id)
        tell(doing, Answer("💤 " + doing.text("Put off until %(time)s", time=when)))
        return
    conversation = await context.conversation_here(doing)
    if conversation is None:
        raise Rejected(doing.text("Write this in answer to a task or a customer's words, or in a customer's topic"))
    await conversations.snooze(doing.session, conversation, until=until, at=doing.now, actor_id=doing.user.id)
    tell(doing, Answer("💤 " + doing.text("Comes back %(time)s", time=when)))


async def task(doing: Doing, words: str) -> None:
    """Make a task of words with a time, about whatever it is written in answer to."""
    lead = await context.lead_here(doing)
    contact = await context.contact_here(doing)
    deal_id = doing.about.deal_id if doing.about is not None else None
    if deal_id is None and lead is not None:
        deal_id = lead.deal_id
    if deal_id is None and contact is not None:
        deal_id = next((deal.id for deal in await deals.open_of(doing.session, contact.id)), None)
    about = About(
        deal_id,
        None if contact is None else contact.id,
        None if lead is None else lead.id,
        doing.conversation_id,
    )
    if not words:
        hint = doing.text("For example: tomorrow 10:00 call")
        question = "☑️ " + doing.text("Answer to this with what to do, and when")
        doing.ask(question, "plan", "", "", *("" if part is None else part for part in about), hint=hint)
        return
    await planning.plan(doing, words, await planning.allowed(doing, about))


# --- deals ---


async def deal(doing: Doing, words: str) -> None:
    """Show the deal, or the one of this number."""
    number = _number(words.removeprefix("#")) if words else None
    if number is not None:
        await deal_presses.show_deal(doing, [number])
        return
    found = await context.deal_here(doing)
    doing.say(await deal_cards.deal(doing, found), deal_id=found.id)


async def won(doing: Doing, words: str) -> None:
    """Close the deal as won."""
    tell(doing, await deal_presses.win(doing, [str((await context.deal_here(doing)).id)]))


async def lost(doing: Doing, words: str) -> None:
    """Close the deal as lost, for the reason that is said; ask for one where none is."""
    found = await context.deal_here(doing)
    if not words and found.outcome != Outcome.LOST:
        await offer_reasons(doing, found)
        return
    tell(doing, await lose(doing, found, words))


async def offer_reasons(doing: Doing, row: Deal) -> None:
    """Ask why a deal is lost; where nothing can be pressed, name the company's reasons."""
    if lists.has_buttons(doing):
        await deal_presses.offer_reasons(doing, [str(row.id)])
        return
    known = await doing.session.scalars(select(LostReason.name).order_by(LostReason.position, LostReason.id))
    names = ", ".join(doing.text(name) for name in known)
    hint = doing.text("Answer to this with one of: %(names)s; or in your own words.", names=names) if names else ""
    doing.ask("✖ " + doing.text("Why is it lost?"), "lost", row.id, hint=hint)


async def lose(doing: Doing, row: Deal, words: str) -> Answer:
    """Close a deal as lost for one of the company's reasons that these words name, else in these words.

    Raises:
        Rejected: it is won, or no reason is given.
    """
    if row.outcome == Outcome.LOST:
        return Answer(doing.text("It is lost already"))
    known = list(await doing.session.scalars(select(LostReason.name).order_by(LostReason.position, LostReason.id)))
    named = _named(doing, known, words)
    reason = " ".join(words.split())[:300] if named is None else known[named]
    await progress.lose(doing.session, row, at=doing.now, reason=reason, actor_id=doing.user.id)
    return Answer("✖ " + doing.text("Lost"))


async def stage(doing: Doing, words: str) -> None:
    """Take the deal to another stage; without a name, ask which."""
    found = await context.deal_here(doing)
    if not words and lists.has_buttons(doing):
        await deal_presses.offer_stages(doing, [str(found.id)])
        return
    stages = [
        each for each in await pipelines.stages_of(doing.session, found.pipeline_id) if each.category == Category.OPEN
    ]
    names = ", ".join(doing.text(each.name) for each in stages)
    if not words:
        line = doing.text("Write /stage and one of: %(names)s", names=names)
        doing.say(Card(title="📊 " + doing.text("Move to which stage?"), lines=(line,)), deal_id=found.id)
        return
    named = _named(doing, [each.name for each in stages], words)
    if named is None:
        raise Rejected(doing.text("There is no such stage. There are: %(names)s", names=names))
    tell(doing, await deal_presses.move_deal(doing, [str(found.id), str(stages[named].id)]))


def _named(doing: Doing, names: Sequence[str], words: str) -> int | None:
    """Return the place of the name that some words mean: all of it, else the only one that begins with or holds them.

    Names are known in English and in the colleague's language; fewer than three letters have to be all of it.
    """
    wanted = folded(words)
    spelled = [{folded(name), folded(doing.text(name))} for name in names]
    for fits in (str.__eq__, str.startswith, str.__contains__):
        found = [place for place, known in enumerate(spelled) if any(fits(name, wanted) for name in known)]
        if len(found) == 1:
            return found[0]
        if len(wanted) < 3:
            return None
    return None


async def amount(doing: Doing, words: str) -> None:
    """Note the deal's amount; without one, ask for it."""
    found = await context.deal_here(doing)
    if not words:
        await deal_presses.ask_amount(doing, [str(found.id)])
        return
    if not await set_amount(doing, found, words):
        raise Rejected(doing.text("I find no amount in that. For example: /amount 120 000, or /amount 120k"))


async def set_amount(doing: Doing, row: Deal, words: str) -> bool:
    """Note a deal's amount and say so; False if there is none in the words."""
    minor = amounts.read(words)
    if minor is None:
        return False
    await deals.change(doing.session, row, at=doing.now, actor_id=doing.user.id, amount=minor)
    tell(doing, Answer("💰 " + doing.text("Amount: %(amount)s", amount=doing.reader.money(minor, row.currency))))
    return True


# --- people and conversations ---


async def call(doing: Doing, words: str) -> None:
    """Have the colleague's phone ring, and then the person's, or another number."""
    if words:
        placed = await telephony.call_up(doing.session, doing.hub, doing.user, number=words[:60])
        number = doing.reader.address("phone", placed.number)
        said = doing.text(
            "Your phone %(extension)s rings, then %(number)s", extension=doing.user.extension, number=number
        )
        tell(doing, Answer("📞 " + said))
        return
    contact = await context.contact_here(doing)
    if contact is None:
        raise Rejected(doing.text("Write this in answer to a card or in a customer's topic, or with a number"))
    tell(doing, await presses.call(doing, [str(contact.id)]))


async def note(doing: Doing, words: str) -> None:
    """Write down something for colleagues only; without words, ask for them."""
    conversation = await context.conversation_here(doing)
    if conversation is not None:
        if words:
            await answering.note(doing, conversation, words)
        else:
            await presses.ask_note(doing, ["v", str(conversation.id)])
        return
    contact = await context.contact_here(doing)
    if contact is None:
        raise _nowhere(doing)
    if not words:
        await presses.ask_note(doing, ["c", str(contact.id)])
        return
    await note_on(doing, contact.id, words, deal_id=doing.about.deal_id if doing.about is not None else None)


async def note_on(doing: Doing, contact_id: int, words: str, *, deal_id: int | None = None) -> None:
    """Write a note about a person.

    Raises:
        Rejected: there is no text, or too much of it. Forbidden: they may only look.
    """
    doing.rights.require_change()
    await notes.add(
        doing.session, text=words, contact_id=contact_id, deal_id=deal_id, at=doing.now, author_id=doing.user.id
    )
    doing.say(Card(footer="📝 " + doing.text("Noted, for colleagues only"), is_quiet=True))


async def reply(doing: Doing, words: str) -> None:
    """Send a canned reply; without its shortcut, offer them."""
    conversation = await context.conversation_here(doing)
    if conversation is None:
        raise Rejected(doing.text("Write this in answer to a customer's words, or in a customer's topic"))
    if not words:
        tell(doing, await presses.offer_wordings(doing, [str(conversation.id)]))
        return
    wording = await doing.session.scalar(
        select(canned.CannedReply).where(
            canned.CannedReply.shortcut == words.lstrip("/").casefold(),
            or_(canned.CannedReply.team_id.is_(None), canned.CannedReply.team_id.in_(doing.rights.team_ids)),
        )
    )
    if wording is None:
        raise Rejected(doing.text("There is no canned reply “%(shortcut)s”", shortcut=words[:60]))
    contact = await doing.session.get_one(Contact, conversation.contact_id)
    text = canned.filled(wording.text, contact_name=contact.name, user_name=doing.user.name)
    await answering.send(doing, conversation, text, ref=getattr(doing.event, "ref", ""))
